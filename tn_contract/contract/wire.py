"""Bytes ↔ request and reply: the same rules for the mock, the client and the checks.

v2 (seed, browser sample): `POST /api/v2/cmd/{cmd}`, form fields `apiKey, cmd, nonce, params[...]`, header
`X-NtApi-Sig`. Form bodies are read as PHP reads them: brackets nest, the last of two equal names wins.
v3 (official SDKs): `POST /api/{cmd}`, the body is the JSON of the params alone, headers `X-NtApi-PublicKey`,
`X-NtApi-Timestamp` (Unix seconds) and `X-NtApi-Sig`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import islice
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote_to_bytes, urlencode

from msgspec import Struct, structs

from tn_contract.contract.errors import InvalidRequest
from tn_contract.contract.signing import (
    ENCODING,
    ERRORS,
    Credentials,
    Parameters,
    Value,
    canonical_string_v3,
    sign,
    signature_of,
)

API_ROOT = "/api/v2"
COMMAND_PATH = f"{API_ROOT}/cmd/"
COMMAND_PATH_V3 = "/api/"
COMMAND_PATHS: dict[Literal["v2", "v3"], str] = {"v2": COMMAND_PATH, "v3": COMMAND_PATH_V3}
SIGNATURE_HEADER = "X-NtApi-Sig"
PUBLIC_KEY_HEADER = "X-NtApi-PublicKey"
TIMESTAMP_HEADER = "X-NtApi-Timestamp"
FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"
ORDER_ID_MAX = 2**63 - 1
FAILURE_KEYS = ("errMsg", "error", "errorMsg")

# PHP's own defaults, max_input_vars and max_input_nesting_level.
MAX_FIELDS = 1000
MAX_DEPTH = 64

# Longer names are not remembered: a stranger chooses them.
_USUAL_NAME = 64

Headers: TypeAlias = tuple[tuple[str, str], ...]
Nested: TypeAlias = "dict[str, str | Nested]"


def is_redirected(query: str) -> bool:
    """Whether a query is the one that the redirects among the payloads point to."""
    return "redirected=1" in query.split("&")


def scheme_of(path: str) -> Literal["v2", "v3"] | None:
    """Say which generation an address belongs to: `/api/v2…` is v2, `/api/{command}` is v3, others are neither.

    Neither are `/api/`, where v1 lives, and `/api/v3/cmd/…`: an early SDK sends something there, and no public
    source shows what is answered.
    """
    if path == API_ROOT or path.startswith(f"{API_ROOT}/"):
        return "v2"
    command = path.removeprefix(COMMAND_PATH_V3)
    return "v3" if command and command != path and "/" not in command else None


def decoded_path(path: bytes) -> str:
    """Decode the path of a request line as WSGI does: percent escapes become bytes, one character each."""
    return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")


# Records of the hot path are structs that the garbage collector need not follow, for they hold texts alone.
replace = structs.replace


def _header(self: Request | Reply, name: str) -> str | None:
    """Return the first header of that name, in whatever case, or None."""
    wanted = name.lower()
    for key, value in self.headers:
        if key.lower() == wanted:
            return value
    return None


class Request(Struct, frozen=True, gc=False):
    """One HTTP request: `path` without query, `query` without its question mark, `body` as it goes out."""

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    query: str = ""

    header = _header


class Reply(Struct, frozen=True, gc=False):
    """One HTTP reply."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    header = _header


# ---- form bodies -------------------------------------------------------------------------------------------


def _unescape(text: str) -> str:
    raw = text.replace("+", " ").encode(ENCODING, ERRORS)
    return unquote_to_bytes(raw).decode(ENCODING, ERRORS)


_unescape_usual = lru_cache(256)(_unescape)  # the same four names, over and over


def parse_fields(body: bytes) -> list[tuple[str, str]]:
    """Split a form body into decoded names and values, in order, duplicates kept, at most 1,000 of them."""
    fields = []
    for part in body.decode(ENCODING, ERRORS).split("&"):
        if part:
            name, _, value = part.partition("=")
            if "%" in name or "+" in name:
                name = _unescape_usual(name) if len(name) <= _USUAL_NAME else _unescape(name)
            if "%" in value or "+" in value:
                value = _unescape(value)
            fields.append((name, value))
            if len(fields) == MAX_FIELDS:
                break
    return fields


def _is_array_index(key: str) -> bool:
    digits = key.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and key != "0") or len(digits) > 19:
        return False
    return -(2**63) <= int(key) < 2**63


# Of an array met with `[]`, by its id: the array itself (so that the id stays its own), keys seen, the next index.
_Counts: TypeAlias = dict[int, tuple[Nested, int, int]]


def _next_index(array: Nested, counts: _Counts) -> str | None:
    _, seen, following = counts.get(id(array), (array, 0, 0))
    for key in islice(reversed(array), len(array) - seen):  # only what came since: keys never leave an inner array
        if _is_array_index(key):
            following = max(following, int(key) + 1)
    counts[id(array)] = array, len(array), following
    return str(following) if following < 2**63 else None


def _split(name: str) -> Sequence[str | None]:
    """Split `a[b][]` into ("a", "b", None); nothing for a name that PHP drops."""
    name = name.partition("\0")[0].lstrip(" ")
    head, bracket, rest = name.partition("[")
    head = head.replace(" ", "_").replace(".", "_")
    if not head:
        return []
    keys: list[str | None] = [head]
    while bracket:
        index, closing, after = rest.partition("]")
        if not closing:
            if len(keys) == 1:
                keys[0] = f"{head}_" + rest.translate({ord(char): "_" for char in " .["})
            break
        keys.append(None if index == "" or (len(index) == 1 and index in " \t\n\r\v\f") else index)
        bracket, rest = after[:1], after[1:]
        if bracket != "[":
            break
    return keys


_split_usual = lru_cache(256)(_split)


def nest(fields: Iterable[tuple[str, str]]) -> Nested:
    """Build PHP's nested arrays from bracketed names: the last of two equal names wins."""
    tree: Nested = {}
    counts: _Counts = {}
    for name, value in fields:
        keys = _split_usual(name) if len(name) <= _USUAL_NAME else _split(name)
        if not keys:
            continue
        if len(keys) > MAX_DEPTH + 1:
            tree.pop(str(keys[0]), None)
            continue
        if len(keys) == 1:  # the usual case
            tree[str(keys[0])] = value
            continue
        array = tree
        for key in keys[:-1]:
            slot = _next_index(array, counts) if key is None else key
            if slot is None:
                break
            inner = array.get(slot)
            if not isinstance(inner, dict):
                inner = array[slot] = {}
            array = inner
        else:
            last = _next_index(array, counts) if keys[-1] is None else keys[-1]
            if last is not None:
                array[last] = value
    return tree


def _flatten(parameters: Parameters, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in parameters.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, Mapping):
            yield from _flatten(value, name)
        elif isinstance(value, list | tuple):
            yield from _flatten({str(index): item for index, item in enumerate(value)}, name)
        else:
            yield name, str(value)


def encode_form(parameters: Parameters) -> bytes:
    """Write a form body, percent-encoded, brackets for nested names, in the order given."""
    return encode_fields(_flatten(parameters))


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write already flattened names and values as a form body; the inverse of `parse_fields`."""
    return urlencode(list(fields), encoding=ENCODING, errors=ERRORS).encode("ascii")


# ---- signed requests ---------------------------------------------------------------------------------------


class SignedRequest(Struct, frozen=True):
    """A request ready to be sent, with the stages of its signature.

    `fields` are what is sent: the form's fields (v2), or the params alone (v3).
    """

    fields: dict[str, Value]
    string_to_sign: str
    signature: str
    request: Request


def compose(
    credentials: Credentials, command: str, nonce: int | str, params: Parameters | None = None
) -> SignedRequest:
    """Sign a v2 command and put it on the wire.

    Raises `InvalidRequest` for parameters that cannot be signed. Empty `params` are left out of both the
    signature and the body: signed but not sent, they would not verify.
    """
    fields: dict[str, Value] = {"apiKey": credentials.api_key, "cmd": command, "nonce": str(nonce)}
    if params:
        fields["params"] = params
    signed = sign(fields, credentials.secret)
    return SignedRequest(fields, signed.string_to_sign, signed.signature, dress(command, fields, signed.signature))


def dress(command: str, fields: Parameters, signature: str) -> Request:
    """Put fields and a signature, right or wrong, into the documented request."""
    headers = (("Content-Type", FORM_TYPE), (SIGNATURE_HEADER, signature))
    return Request("POST", COMMAND_PATH + command, headers, encode_form(fields))


def compose_v3(
    credentials: Credentials, command: str, timestamp: int | str, params: Parameters | None = None
) -> SignedRequest:
    """Sign a v3 command and put it on the wire; `timestamp` is in Unix seconds. No params are sent as `{}`.

    Raises `InvalidRequest` for parameters that JSON cannot hold.
    """
    return replace(
        sign_body(credentials, command, timestamp, encode_json(params or {})),
        fields=dict(params or {}),
    )


def encode_json(params: Parameters) -> bytes:
    """Write a JSON body as the vendor's Python SDK does: compact, ASCII only, in the order given."""
    try:
        return json.dumps(params, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the params have no JSON text: {error}") from error


def sign_body(credentials: Credentials, command: str, timestamp: int | str, body: bytes) -> SignedRequest:
    """Sign a v3 body that is already written: these bytes are sent, and these are signed.

    Raises `InvalidRequest` for an API key that no header carries unchanged.
    """
    key = credentials.api_key
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise InvalidRequest("the API key has no place in a header: v3 needs printable ASCII without spaces around it")
    stamp = str(timestamp)
    string_to_sign = canonical_string_v3(body, stamp)
    signature = signature_of(string_to_sign, credentials.secret)
    headers = (
        ("Content-Type", JSON_TYPE),
        (PUBLIC_KEY_HEADER, key),
        (TIMESTAMP_HEADER, stamp),
        (SIGNATURE_HEADER, signature),
    )
    return SignedRequest({}, string_to_sign, signature, Request("POST", COMMAND_PATH_V3 + command, headers, body))


def with_signature(request: Request, signature: str | None) -> Request:
    """Return the request with another signature, or (None) without the header."""
    return with_header(request, SIGNATURE_HEADER, signature)


def with_header(request: Request, name: str, value: str | None) -> Request:
    """Return the request with another value of a header, or (None) without it."""
    headers = tuple(pair for pair in request.headers if pair[0] != name)
    return replace(request, headers=headers if value is None else (*headers, (name, value)))


# ---- replies -----------------------------------------------------------------------------------------------


@lru_cache(64)
def status_line(status: int) -> str:
    """Write a status with its reason; one that nobody has named is UNKNOWN, as werkzeug has it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} UNKNOWN"


Form = Literal["object", "other-json", "not-json", "empty"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a JSON body says, before anybody draws conclusions from it."""

    form: Form
    members: dict[str, Any]
    failure_keys: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """A non-falsy top-level `error`, `errMsg` or `errorMsg`: never `code` alone, never a nested one."""
        return bool(self.failure_keys)

    @property
    def message(self) -> str:
        """The first failure text, for people only: it is localised."""
        return str(self.members[self.failure_keys[0]]) if self.failure_keys else ""

    @property
    def code(self) -> int | str | None:
        """`code` as an int where it is one or spells one; else its text; None if absent or null."""
        code = self.members.get("code")
        if isinstance(code, bool) or not isinstance(code, int | str):
            return None
        if isinstance(code, str) and code.isascii() and code.removeprefix("-").isdigit() and len(code) < 10:
            return int(code)
        return code

    @property
    def order_id(self) -> int | None:
        """Top-level `order_id`, if it is an integer."""
        return self._integer("order_id")

    @property
    def result(self) -> int | None:
        """Top-level `result`, if it is an integer."""
        return self._integer("result")

    def _integer(self, name: str) -> int | None:
        value = self.members.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def _falsy(value: object) -> bool:
    # As PHP sees it: several real successes carry an empty, zero or false `error` (attested).
    return value is None or value == "" or value == "0" or value == 0 or value in ([], {})


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object, so the reply says two things")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_body(body: bytes) -> Reading:
    """Read a body as strict JSON: UTF-8, no NaN, no name twice in one object."""
    if not body.strip():
        return Reading("empty", {}, ())
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Reading("not-json", {}, ())
    if not isinstance(value, dict):
        return Reading("other-json", {}, ())
    return Reading("object", value, tuple(key for key in FAILURE_KEYS if not _falsy(value.get(key))))
