"""Names what a client did wrong when its request is refused: the mistakes of `fixtures/mistakes.json`.

Nothing is guessed: a signature mistake is named only when it gives the very signature that came, the others only
when they stand in the request. Secrets are blanked before a diagnosis leaves this room.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple
from urllib.parse import parse_qsl

from tn_contract.contract.corpus import Scheme, load_corpus
from tn_contract.contract.envelopes import holds_v1, multipart_fields
from tn_contract.contract.errors import InvalidRequest
from tn_contract.contract.nonce import NONCE_MAX, Ledger, NonceLedger, parse_nonce
from tn_contract.contract.redaction import blank
from tn_contract.contract.signing import (
    ENCODING,
    ERRORS,
    Credentials,
    Secret,
    canonical_string,
    canonical_string_v3,
    verify,
)
from tn_contract.contract.text import escape, quoted
from tn_contract.contract.validation import Account, Findings, Rules, address_of, outcome_of, validate
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    FORM_TYPE,
    ORDER_ID_MAX,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Nested,
    Request,
    nest,
    parse_fields,
    read_body,
    scheme_of,
)
from tn_contract.diagnosis.search import QUICK, THOROUGH, Depth, Finding, find
from tn_contract.diagnosis.signers import Case, as_texts, from_json, stamps_of
from tn_contract.diagnosis.signers.writings import read_signature
from tn_contract.diagnosis.signers_v3 import CaseV3
from tn_contract.diagnosis.transport_mistakes import Repaired, find_repairs
from tn_contract.record.journal import Diagnosis

ACCEPTED = ("cancel-accepted", "session-opened")
COMMANDS = ("delTradeOrder", "getAuthInfo")

# Where a request may end because another body arrived than was signed.
_ON_THE_WAY = {"form", "key-missing", "key-unknown", "signature-invalid", "body-malformed"}

# Nanoseconds in one step of the clocks that nonces are taken from.
_UNITS = {
    "seconds": 10**9,
    "milliseconds": 10**6,
    "ticks of 0.1 ms": 10**5,
    "microseconds": 10**3,
    "ticks of 100 ns": 100,
    "nanoseconds": 1,
}
# Nonces so close together (ns) come from requests under way at the same time; clocks differ by more.
_CLOSE_NS = 5 * 10**9
# No counter that began near zero comes so far.
_COUNTED = 10**9
# Longer texts are not shown: nobody would compare them by eye.
_SHOWN = 4000

_ORDER_ID = re.compile(r"[1-9][0-9]{0,18}")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,18}")
_PLACEHOLDER = re.compile(
    r"<.*>|\$\{?\w*\}?|undefined|null|none|nan|your[_ -].*|\[object .*|\[B@.*|System\..*|.* object at .*",
    re.IGNORECASE,
)
_STANDARD_HEADERS = {"content-type", "content-length", "host", "accept", "user-agent", "accept-encoding", "connection",
                     "x-ntapi-publickey", "x-ntapi-timestamp", "cookie", "origin", "referer"}  # fmt: skip
_FIELD_NAMES = ("apiKey", "cmd", "nonce", "params")


class _Found(NamedTuple):
    """Findings before they are put into words."""

    mistakes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    signed: str | None = None
    expected: str = ""
    hint: str = ""


class _Read(NamedTuple):
    """A request as the server reads it: one of v3 has the `fields` that it would have in v2."""

    request: Request
    scheme: Scheme
    pairs: tuple[tuple[str, str], ...]
    fields: Nested
    is_form: bool
    content_type: str
    at_ns: int = 0  # when it came
    depth: Depth = QUICK  # how far to search for what was signed

    @property
    def key(self) -> str:
        key = self.fields.get("apiKey", self.request.header(PUBLIC_KEY_HEADER))
        return key if isinstance(key, str) else ""

    @property
    def timestamp(self) -> str:
        """The timestamp of v3, "" when there is none."""
        return self.request.header(TIMESTAMP_HEADER) or ""

    def string_to_sign(self, fields: Nested | None = None) -> str:
        """What the signature must cover, of v2 perhaps with other fields."""
        if self.scheme == "v3":
            return canonical_string_v3(self.request.body, self.timestamp)
        return canonical_string(self.fields if fields is None else fields)


def _read(request: Request) -> _Read:
    content_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if scheme_of(request.path) == "v3":
        members = {name: value for name, value in read_body(request.body).members.items() if value is not None}
        # As they came: 2.9e9 is not 2900000000.0.
        written = from_json(request.body.decode(ENCODING, ERRORS)) or as_texts(members)
        params: Nested = {name: value for name, value in written.items() if name in members}
        tree: Nested = {"cmd": request.path.removeprefix(COMMAND_PATH_V3)}
        tree |= {"apiKey": key} if (key := request.header(PUBLIC_KEY_HEADER)) else {}
        tree |= {"params": params} if params else {}
        texts = tuple((name, value) for name, value in members.items() if isinstance(value, str))
        return _Read(request, "v3", texts, tree, False, content_type)
    pairs = tuple(parse_fields(request.body)) if content_type == FORM_TYPE else ()
    return _Read(request, "v2", pairs, nest(pairs), content_type == FORM_TYPE, content_type)


class _Known:
    """The one key pair that a saved request is judged under, with the nonces that it used before."""

    def __init__(self, credentials: Credentials, ledger: Ledger) -> None:
        self.credentials, self.ledger = credentials, ledger


def situation_of(request: Request, credentials: Credentials | None, ledger: Ledger | None = None) -> str:
    """Return the situation of `fixtures/situations.json` that a request ends in.

    `credentials` are the key pair that the server knows; None when it knows none. Without a `ledger` no nonce was used
    before. No clock is compared with a timestamp.
    """
    known = _Known(credentials, ledger or NonceLedger()) if credentials else None

    def admit(api_key: str, check: Callable[[Account], str]) -> str:
        return check(known) if known and known.credentials.api_key == api_key else "key-unknown"

    scheme = address_of(request)
    if scheme == "v1" or not scheme:
        return scheme or "address"
    rules = Rules(timestamp_tolerance=None)
    situation, asked = validate(request, scheme, admit, Findings(), rules, time.time_ns)
    return outcome_of(asked)[0] if asked else situation


def diagnose(
    request: Request,
    situation: str,
    credentials: Credentials | None,
    *,
    at_ns: int,
    last_nonce: str | None = None,
    earlier: Sequence[Request] = (),
    others: Sequence[Credentials] = (),
    thorough: bool = False,
) -> Diagnosis | None:
    """Name the mistake behind a refusal, or None when there is nothing to name.

    `situation` is why the server refused, `credentials` the key pair of the request (None: the key is unknown),
    `at_ns` when it came (ns since 1970), `last_nonce` the last one accepted, `earlier` requests with the same key,
    `others` further key pairs that it may have been meant for. `thorough` searches on for rare pairs of signing
    mistakes, for half a second instead of a hundredth of one.
    """
    if situation in ACCEPTED or situation.startswith("book-"):  # what an order book says is nobody's mistake
        return None
    read = _read(request)._replace(at_ns=at_ns, depth=THOROUGH if thorough else QUICK)
    pairs = (*([credentials] if credentials else ()), *others)
    if holds_v1(request):
        signed = situation == "signature-invalid" and credentials
        found = _signature(read, signed, earlier, others) if signed else None
        if found is None or "v1-envelope" not in found.mistakes:
            found = _Found(("v1-envelope",))
    elif situation == "address":
        found = _address(request)
    elif situation in _ON_THE_WAY and (repaired := _repairs(request, pairs)):
        found = _repaired(read, situation, repaired, pairs, earlier)
    elif situation == "signature-invalid":
        found = _signature(read, credentials, earlier, others) if credentials else None
    elif situation == "signature-missing":
        found = _missing_signature(read, credentials, earlier, others)
    elif situation in ("form", "key-missing"):
        found = _unread_body(read, situation, others) if read.scheme == "v2" else _no_key_header(read)
    elif situation == "key-unknown":
        found = _unknown_key(read, others)
    elif situation.startswith("nonce-"):
        found = _nonce(read, at_ns, last_nonce, earlier) if read.scheme == "v2" else None
    elif situation.startswith("timestamp-"):
        found = _timestamp(read, at_ns) if read.scheme == "v3" else None
    elif situation == "body-malformed":
        found = _malformed_body(read) if read.scheme == "v3" else None
    elif situation == "method":
        found = None if request.method == "POST" else _Found(("wrong-method",), (f"It came as {request.method}.",))
    else:
        found = _contents(read)
    if found is None:
        return None
    return _in_words(found, pairs, read.scheme)


# ---- the way from client to server ---------------------------------------------------------------------------


def _repairs(request: Request, pairs: Sequence[Credentials]) -> Repaired | None:
    secrets: dict[str, list[Secret]] = {}  # a key may have been closed and opened with another secret
    for pair in pairs:
        secrets.setdefault(pair.api_key, []).append(pair.secret)

    def passes(each: Request) -> bool:
        read, signature = _read(each), each.header(SIGNATURE_HEADER)
        known = secrets.get(read.key, ())
        return bool(signature) and any(verify(read.string_to_sign(), secret, signature or "") for secret in known)

    return find_repairs(request, passes)


def _repaired(
    read: _Read, situation: str, repaired: Repaired, pairs: Sequence[Credentials], earlier: Sequence[Request]
) -> _Found:
    """Name what happened on the way, and what else is wrong with the request as it was meant."""
    mistakes, details = repaired.mistakes, repaired.details
    meant = _read(repaired.request)._replace(at_ns=read.at_ns, depth=read.depth)
    if repaired.proven:
        differ = situation == "signature-invalid"
        strings = (meant.string_to_sign(), read.string_to_sign()) if differ else (None, "")
        return _Found(mistakes, details, *strings)
    pair = next((pair for pair in pairs if pair.api_key == meant.key), None)
    if pair and situation != "body-malformed" and meant.request.body and meant.request.header(SIGNATURE_HEADER):
        more = _signature(meant, pair, earlier, pairs)
        if more:
            return more._replace(mistakes=(*mistakes, *more.mistakes), details=(*details, *more.details))
    return _Found(mistakes, details)


def _address(request: Request) -> _Found:
    """Name the address that was meant, by the generation that the headers and the body are of."""
    read = _read(request)
    is_v3 = request.header(TIMESTAMP_HEADER) or (request.header(PUBLIC_KEY_HEADER) and not read.is_form)
    command = next((name for name in COMMANDS if name.lower() in request.path.lower()), COMMANDS[0])
    given = read.fields.get("cmd")
    if not is_v3 and isinstance(given, str) and given in COMMANDS:
        command = given
    told = f"It went to {quoted(request.path, 120)}; of {'v3' if is_v3 else 'v2'} it is "
    return _Found(("wrong-address",), (f"{told}{COMMAND_PATH_V3 if is_v3 else COMMAND_PATH}{command}.",))


def meant_key(request: Request) -> str:
    """Return the key of a request; where it has none, the one in a body that is no form, or in the query."""
    if key := _read(request).key:
        return key
    found = re.search(
        rb'"apiKey":\s*"([^"]+)"|(?:^|&)api_?key=([^&]+)',
        request.body or request.query.encode(ENCODING, ERRORS),
        re.IGNORECASE,
    )
    if found:
        return (found[1] or found[2]).decode(ENCODING, ERRORS)
    repaired = find_repairs(request, lambda _: False)
    return _read(repaired.request).key if repaired else ""


def _in_words(found: _Found, pairs: Iterable[Credentials], scheme: Scheme) -> Diagnosis:
    secrets = [pair.secret for pair in pairs]
    catalogue = load_corpus().mistakes
    named = [catalogue[mistake] for mistake in found.mistakes]
    signed, expected = (blank(text or "", secrets) for text in (found.signed, found.expected))
    difference = -1
    details = found.details
    if found.signed is not None and found.signed == found.expected:
        details = (*details, *_right_stages(kind.group for kind in named))
    if found.signed is not None and signed != expected:
        shorter = min(len(signed), len(expected))
        difference = next((at for at in range(shorter) if signed[at] != expected[at]), shorter)
    return Diagnosis(
        found.mistakes,
        " ".join([*(kind.title for kind in named), *(escape(blank(detail, secrets)) for detail in details)]),
        " ".join(dict.fromkeys(kind.fix_for(scheme) for kind in named)),
        _legible(signed),
        _legible(expected),
        difference,
        escape(blank(found.hint, secrets)),
    )


def _right_stages(groups: Iterable[str]) -> tuple[str, ...]:
    """Say which stages are right, where the string is: a developer need not compare it."""
    wrong = set(groups)
    if wrong == {"writing"}:
        return ("String, key and digest are right; how the digest is written is not.",)
    if wrong and wrong <= {"secret", "digest", "writing"}:
        what = {"secret": "the key", "digest": "the digest", "writing": "how the digest is written"}
        named = " and ".join(text for group, text in what.items() if group in wrong)
        return (f"The string that was signed is right; {named} {'are' if ' and ' in named else 'is'} not.",)
    return ()


def _legible(text: str) -> str:
    shown = text.encode(ENCODING, ERRORS).decode("utf-8", "backslashreplace")
    return shown if len(shown) <= _SHOWN else f"({len(shown)} characters: too long to show)"


# ---- signatures ------------------------------------------------------------------------------------------------


def _case(read: _Read, fields: Nested, credentials: Credentials, earlier: Sequence[Request],
          others: Sequence[Credentials]) -> Case:  # fmt: skip
    request = read.request
    pairs = tuple(pair for pair in others if pair != credentials)[:16]
    host = request.header("Host") or "tradernet.com"
    if read.scheme == "v3":
        sent = [CaseV3(fields, credentials, body=each.body, timestamp=_read(each).timestamp) for each in earlier[-4:]]
        return CaseV3(
            fields,
            credentials,
            method=request.method,
            path=request.path,
            host=host,
            others=pairs,
            body=request.body,
            timestamp=read.timestamp,
            stamps=(read.timestamp,),
            at_ns=read.at_ns,
            before=tuple((case.text, case.stamp) for case in sent),
        )
    before = [_read(each).fields for each in earlier[-4:]]
    return Case(
        fields,
        credentials,
        read.pairs,
        request.method,
        request.path,
        host,
        tuple(tree for tree in before if tree and tree != fields),
        pairs,
        stamps_of(fields, request.header(TIMESTAMP_HEADER) or ""),
        tuple(parse_fields(request.query.encode(ENCODING, ERRORS))),
        read.at_ns,
    )


def _signature(
    read: _Read, credentials: Credentials, earlier: Sequence[Request], others: Sequence[Credentials]
) -> _Found | None:
    received = read.request.header(SIGNATURE_HEADER) or ""
    expected = read.string_to_sign()
    if verify(expected, credentials.secret, received):
        return None
    if read.scheme == "v2" and not read.fields and not read.is_form:
        return _unread_body(read, "form", others)  # the key alone was found, in a header
    if read.scheme == "v3" and (strange := _of_v2(read) or _lost_timestamp(read, credentials)):
        return strange
    case = _case(read, read.fields, credentials, earlier, others)
    found = find(case, received, read.depth)
    if found:
        return _borne_out(found, case, expected)
    if _PLACEHOLDER.fullmatch(received.strip()):
        return _Found(("signature-placeholder",), (f"It came as {received.strip()[:40]}.",), None, expected)
    for each in earlier[-16:]:
        if each.header(SIGNATURE_HEADER) == received:
            return _Found(("signature-sent-again",), (), _read(each).string_to_sign(), expected)
    return _Found((), (), None, expected, _shape(received, case))


def _borne_out(found: Finding, case: Case, expected: str) -> _Found:
    """Take back the names of writings that the search came upon, where a name was lost before anything was written."""
    mistakes, hint = found.mistakes, ""
    if isinstance(case, CaseV3) and (name := _lost_twin(case.text, found.signed)):
        # Written from what was read, which holds each name once, so that no writing is to blame.
        mistakes = tuple(each for each in mistakes if not each.startswith("json-"))
        hint = f"the body was sent with the name {name[:40]} twice, and signed with it once"
    return _Found(mistakes, found.details, found.signed, expected, hint)


def _lost_twin(body: str, signed: str) -> str:
    """Find a name that a body has twice, where the signed text has it once; "" when there is none."""
    names = Counter(re.findall(r'"([^"\\]*)"\s*:', body))
    kept = Counter(re.findall(r'"([^"\\]*)"\s*:', signed))
    return next((name for name, count in names.items() if count > 1 == kept[name]), "")


_ODD_EDGES = " \t\r\n\"'\ufeff\0"
_HASHES = {16: "MD5", 20: "SHA-1", 28: "SHA-224", 32: "SHA-256", 48: "SHA-384", 64: "SHA-512"}


def _shape(received: str, case: Case) -> str:
    """Say what the signature tells where nothing was found: which stages may be right."""
    text = received.strip()
    parts = [_told_by_digits(text)]
    if case.secret.strip(_ODD_EDGES) != case.secret:
        parts.append("the secret configured here has white space or quotation marks around it: check TN_API_SECRET")
    if not isinstance(case, CaseV3) and "params" not in case.fields and case.command == "delTradeOrder":
        parts.append("the body holds no params: if they were signed, send them")
    return "; ".join(parts)


def _told_by_digits(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]+", text):
        told = f"{len(text)} characters that are no hex digits; HMAC-SHA256 is 64 lower-case hex digits"
        sizes = [reading.size for reading in read_signature(text) if reading.size in _HASHES]
        return f"{told}. They decode to {sizes[0]} bytes, as {_HASHES[sizes[0]]} gives" if sizes else told
    if len(text) == 64:
        return (
            "64 hex digits, the right shape: how the digest is written is right. "
            "No known wrong key or digest gives it over the right string, "
            "and no known wrong string gives it under the right secret. "
            "Compare the string that you sign with the expected one first, byte by byte"
        )
    made = {2 * size: f", as {name} gives" for size, name in _HASHES.items()}
    return f"{len(text)} hex digits{made.get(len(text), '')}; HMAC-SHA256 has 64"


def _missing_signature(
    read: _Read, credentials: Credentials | None, earlier: Sequence[Request], others: Sequence[Credentials]
) -> _Found | None:
    """Look for the signature in other places, and for what is wrong with it there."""
    if read.request.header(SIGNATURE_HEADER):
        return None
    for mistake, place, name, text in _places(read):
        fields = {
            field: value for field, value in read.fields.items() if mistake != "signature-in-body" or field != name
        }
        if credentials and read_signature(text):
            expected = read.string_to_sign(fields)
            if verify(expected, credentials.secret, text):
                return _Found((mistake,), (place,), None, expected)
            case = _case(read, fields, credentials, earlier, others)
            found = find(case, text, read.depth)
            if found:
                # `Authorization: Bearer …` is one mistake, not two.
                more = [
                    each
                    for each in found.mistakes
                    if each != "signature-prefixed" or mistake != "signature-in-authorization"
                ]
                return _Found((mistake, *more), (place, *found.details), found.signed, expected)
    for mistake, place, name, _text in _places(read):
        if re.search("sig|hash|hmac", name, re.IGNORECASE):
            return _Found((mistake,), (place,))
    empty = read.request.header(SIGNATURE_HEADER) is not None
    return _Found(("signature-empty" if empty else "no-signature",))


def _places(read: _Read) -> Iterator[tuple[str, str, str, str]]:
    """Where else a signature may stand: the mistake, the place in words, name and text."""
    for name, value in read.request.headers:
        if name.lower() == "authorization":
            yield "signature-in-authorization", "It came in the header Authorization.", name, value
        elif name.lower() not in _STANDARD_HEADERS and name.lower() != SIGNATURE_HEADER.lower():
            yield "header-misspelt", f"It came in the header {name}.", name, value
    for name, value in parse_qsl(read.request.query):
        if name not in _FIELD_NAMES:
            yield "signature-in-query", f"It came as {name} in the query.", name, value
    for name, value in read.pairs:
        if name not in _FIELD_NAMES and not name.startswith("params"):
            yield "signature-in-body", f"It came as the field {name}.", name, value


# ---- bodies ----------------------------------------------------------------------------------------------------


def _unread_body(read: _Read, situation: str, others: Sequence[Credentials]) -> _Found | None:
    """Say why no key was found in a body."""
    request, body = read.request, read.request.body.strip()
    fields = from_json(body.decode(ENCODING, "replace")) if body[:1] == b"{" else None
    if fields is not None:
        if request.header(TIMESTAMP_HEADER):
            return _Found(("v3-request",))
        return _with_signature(read, fields, "json-body", others)
    if b"form-data; name=" in body or read.content_type == "multipart/form-data":
        text = multipart_fields(request.body)
        return _with_signature(read, nest(text), "multipart-body", others)
    if not body:
        query = nest(parse_fields(request.query.encode(ENCODING, ERRORS)))
        mistake = "fields-in-query" if "apiKey" in query or "cmd" in query else "empty-body"
        return _with_signature(read, query, mistake, others)
    fields = nest(parse_fields(request.body))
    if situation == "form":
        return _with_signature(read, fields, "wrong-content-type" if read.content_type else "no-content-type", others)
    near = _near("apiKey", fields) or _near("apiKey", fields, ("api_key", "publicKey", "public_key", "key", "token"))
    if near:
        meant: Nested = {"apiKey" if name == near else name: value for name, value in fields.items()}
        return _with_signature(read, meant, "key-misspelt", others, f"It came as {near}.")
    if any("%" in name for name in fields):
        return _Found(("names-encoded-twice",))
    return _Found(("no-key",))


def _with_signature(
    read: _Read, fields: Nested, mistake: str, others: Sequence[Credentials], detail: str = ""
) -> _Found:
    """Judge the signature too, over the fields that were meant, if their key is known."""
    details = (detail,) if detail else ()
    received = read.request.header(SIGNATURE_HEADER)
    key = fields.get("apiKey", read.request.header(PUBLIC_KEY_HEADER))
    pair = next((pair for pair in others if pair.api_key == key), None)
    if pair is None or not received:
        return _Found((mistake,), details)
    try:
        expected = canonical_string(fields)
        right = verify(expected, pair.secret, received)
    except InvalidRequest:  # JSON holds more than can be signed
        return _Found((mistake,), details)
    if right:
        return _Found((mistake,), details)
    found = find(_case(read, fields, pair, (), others), received, read.depth)
    if not found:
        return _Found((mistake,), details)
    named = tuple(dict.fromkeys((mistake, *found.mistakes)))
    return _Found(named, (*details, *found.details), found.signed, expected)


def _near(wanted: str, names: Iterable[str], also: Sequence[str] = ()) -> str:
    """Find the name that was meant to be `wanted`, or is one of `also`; "" when there is none."""
    lower = {name.lower(): name for name in names if name != wanted and name not in _FIELD_NAMES}
    listed = next((lower[name.lower()] for name in also if name.lower() in lower), "")
    close = get_close_matches(wanted.lower(), lower, 1, 0.75)
    return listed or (lower[close[0]] if close else "")


# ---- v3: headers and JSON --------------------------------------------------------------------------------------


def _of_v2(read: _Read) -> _Found | None:
    """Notice a request of v2 at an address of v3."""
    fields = nest(parse_fields(read.request.body))
    return _Found(("v2-request",)) if "apiKey" in fields and "cmd" in fields else None


def _no_key_header(read: _Read) -> _Found:
    near = _near_header(read, PUBLIC_KEY_HEADER, ("X-Api-Key", "apiKey", "Api-Key", "X-NtApi-Key", "Authorization"))
    if near:
        return _Found(("key-header-misspelt",), (f"It came as {near}.",))
    return _of_v2(read) or _envelope(read) or _Found(("no-key-header",))


def _envelope(read: _Read) -> _Found | None:
    """Notice params that are wrapped as in v2."""
    params = read.fields.get("params")
    around = [name for name in _FIELD_NAMES if isinstance(params, dict) and name in params]
    return _Found(("envelope-in-body",), (f"The body holds {', '.join(around)}.",)) if around else None


def _near_header(read: _Read, wanted: str, also: Sequence[str]) -> str:
    names = [name for name, value in read.request.headers if value]
    return _near(wanted, [name for name in names if name.lower() not in _STANDARD_HEADERS], also)


def _lost_timestamp(read: _Read, credentials: Credentials) -> _Found | None:
    """Look for a timestamp in other headers when it is missing: it may have been signed nevertheless."""
    if read.timestamp:
        return None
    received = read.request.header(SIGNATURE_HEADER) or ""
    for name, value in read.request.headers:
        signed = canonical_string_v3(read.request.body, value)
        if verify(signed, credentials.secret, received):
            return _Found(("timestamp-misspelt",), (f"It came as {name}.",), signed, read.string_to_sign())
    return _Found(("no-timestamp-sent",))


def _timestamp(read: _Read, at_ns: int) -> _Found | None:
    text = read.timestamp
    if not text:
        near = _near_header(read, TIMESTAMP_HEADER, ("X-Timestamp", "Timestamp"))
        return _Found(("timestamp-misspelt",), (f"It came as {near}.",)) if near else _Found(("no-timestamp-sent",))
    if not _TIMESTAMP.fullmatch(text):
        kind = "as-float" if _kind_of_number(text) == "as-float" else "as-text"
        return _Found((f"timestamp-sent-{kind}",), (f"It came as {quoted(text)}.",))
    unit = _unit(int(text), at_ns)
    if unit not in ("", "seconds"):
        return _Found(("timestamp-sent-in-other-unit",), (f"It counts {unit}.",))
    seconds = int(text) - at_ns // 10**9
    if not seconds:
        return None
    told = (f"It is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the clock here.",)
    return _Found(("timestamp-ahead" if seconds > 0 else "timestamp-behind",), told)


def _malformed_body(read: _Read) -> _Found | None:
    body = read.request.body.strip()
    reading = read_body(body)
    if reading.form in ("object", "empty"):
        return None
    if reading.form == "other-json":
        return _Found(("body-no-object",))
    if body[:1] == b"{":
        return _Found(("body-as-repr" if re.match(rb"\{\s*'|\{\w+=", body) else "body-no-json",))
    is_form = re.match(rb"[^=&\s]+=", body)
    return _of_v2(read) or _Found(("form-body" if is_form else "body-no-json",))


def _unknown_key(read: _Read, others: Sequence[Credentials]) -> _Found:
    key = read.key
    if any(pair.secret.reveal() == key for pair in others):
        return _Found(("key-and-secret-swapped",))
    if _PLACEHOLDER.fullmatch(key):
        return _Found(("placeholder-key",), (f"It came as {key[:40]}.",))
    bare = key.strip(" \t\r\n\"'<>").lower()
    if any(pair.api_key.lower() == bare for pair in others):
        return _Found(("key-altered",), (f"It came as {quoted(key, 80)}.",))
    if any(pair.api_key.strip(_ODD_EDGES) == key for pair in others):
        return _Found(hint="the key configured here has white space or quotation marks around it: check TN_API_KEY")
    return _Found((), (), None, "", "no key pair here has this key: it belongs to another server, or was mistyped")


def _contents(read: _Read) -> _Found | None:
    """Say what is wrong with the command or the order id."""
    fields, path = read.fields, read.request.path
    command, params = fields.get("cmd"), fields.get("params")
    if not isinstance(command, str) or not command:
        near = _near("cmd", fields, ("command", "method", "action"))
        if near:
            return _Found(("cmd-misspelt",), (f"It came as {near}.",))
        return _Found(("cmd-only-in-path",) if path.startswith(COMMAND_PATH) else ("no-cmd-sent",))
    if command not in ("delTradeOrder", "getAuthInfo"):
        return _Found(("command-respelt",), (f"It came as {command[:60]}.",))
    if read.scheme == "v2" and path != COMMAND_PATH + command:
        wrong_path = _Found(("path-without-command",), (f"It went to {path[:120]}.",))
    else:
        wrong_path = None
    if command == "getAuthInfo":
        return wrong_path
    order_id = params.get("order_id") if isinstance(params, dict) else None
    if order_id is None:
        return (_envelope(read) if read.scheme == "v3" else None) or _missing_order(read)
    if isinstance(order_id, dict):
        return _Found(("order-id-nested",))
    if _ORDER_ID.fullmatch(order_id) and int(order_id) <= ORDER_ID_MAX:
        return wrong_path
    return _Found((f"order-id-sent-{_kind_of_number(order_id)}",), (f"It came as {quoted(order_id)}.",))


def _missing_order(read: _Read) -> _Found:
    fields, params = read.fields, read.fields.get("params")
    if isinstance(params, str):
        return _Found(("params-sent-as-json",) if params.lstrip()[:1] in ("{", "[") else ("params-sent-as-text",))
    if any("%5b" in name.lower() for name in fields):
        return _Found(("names-encoded-twice",))
    if any(name.startswith("params.") for name, _value in read.pairs):
        return _Found(("dotted-name-sent",))
    if "order_id" in fields:
        return _Found(("params-sent-lifted",))
    inner = params or next((v for k, v in fields.items() if isinstance(v, dict) and k not in _FIELD_NAMES), {})
    if not params and inner:
        near = next(name for name, value in fields.items() if value is inner)
        return _Found(("params-misspelt",), (f"It came as {near}.",))
    if any(isinstance(value, dict) and "order_id" in value for value in inner.values()):
        return _Found(("order-id-too-deep",))
    spelled = ("orderId", "order", "id", "orderid", "order-id")
    near = _near("order_id", inner, spelled) or _near("order_id", fields, spelled)
    return _Found(("order-id-misspelt",), (f"It came as {near}.",)) if near else _Found(("no-order-id",))


def _kind_of_number(text: str) -> str:
    """Name how a text fails to be a whole number above zero in plain digits."""
    bare = text.strip()
    if bare.lower() in ("", "none", "null", "undefined", "nan"):
        return "empty"
    if re.fullmatch(r"[+-]?[0-9]+\.[0-9]*|[+-]?\.[0-9]+", bare):
        return "as-float"
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]+", bare):
        return "in-exponent"
    if re.fullmatch(r"""(["']).*\1""", bare):
        return "quoted"
    if re.fullmatch("-[0-9]+", bare) or bare == "0":
        return "negative"
    if re.fullmatch(r"[+]?[0-9]+[Ln]?", bare):
        return "padded" if int(bare.strip("+Ln")[:40]) <= NONCE_MAX else "too-great"
    return "as-text"


# ---- nonces ----------------------------------------------------------------------------------------------------


def _nonce(read: _Read, at_ns: int, last_nonce: str | None, earlier: Sequence[Request]) -> _Found | None:
    text = read.fields.get("nonce")
    if text is None:
        near = _near("nonce", read.fields, ("timestamp", "time", "ts", "nounce"))
        return _Found(("nonce-misspelt",), (f"It came as {near}.",)) if near else _Found(("no-nonce-sent",))
    if isinstance(text, dict):
        return _Found(("nonce-sent-nested",))
    nonce = parse_nonce(text)
    if nonce is None:
        return _Found((f"nonce-sent-{_kind_of_number(text)}",), (f"It came as {quoted(text)}.",))
    last = parse_nonce(last_nonce) if last_nonce else None
    same = [each for each in earlier if _read(each).fields.get("nonce") == text]
    if any(each.body == read.request.body for each in same):
        return _Found(("request-sent-again",))
    if same or nonce == last:
        return _Found(("nonce-used-twice",))
    if last is None or nonce > last:
        return None
    return _stale(nonce, last, at_ns)


def _unit(nonce: int, at_ns: int, *, oldest: float = 0.5) -> str:
    """Name the unit that makes a nonce a time of about now; "" when none does.

    `oldest` is the part of the years since 1970 that must have passed: half of them for a clock that was never set.
    """
    # Not far ahead lie 2^31 seconds, and dates whose digits are read as one number.
    return next((name for name, ns in _UNITS.items() if at_ns * oldest < nonce * ns < at_ns * 1.1), "")


def _stale(nonce: int, last: int, at_ns: int) -> _Found:
    unit, before = _unit(nonce, at_ns), _unit(last, at_ns, oldest=0.9)
    if not before and not unit and nonce < 10**6 and last < _COUNTED:
        return _Found(("counter-restarted" if nonce <= 10 < last or nonce * 4 < last else "nonces-out-of-order",))
    if not before or (not unit and nonce >= _COUNTED):
        told = (
            f"{nonce} counts {unit}, and {last} is no time of about now; with a new key pair nonces begin anew"
            if unit
            else "not both are times in a known unit; what is drawn at random, hashed, cut or wrapped does not rise"
        )
        return _Found(hint=f"{nonce} is below {last}, the last one accepted, in a way not known: {told}")
    if not unit:
        return _Found(("nonce-from-counter",), (f"{last} was taken from a clock, {nonce} was not.",))
    if unit != before:
        return _Found(("nonce-unit-changed",), (f"{last} counts {before}, {nonce} counts {unit}.",))
    behind_ns = (last - nonce) * _UNITS[unit]
    told = f"It is {behind_ns / 1e9:.6g} s behind the last one."
    if last * _UNITS[unit] > at_ns + _CLOSE_NS:
        return _Found(("nonce-ran-ahead",), (f"The last one accepted is {last}.", told))
    if behind_ns <= _CLOSE_NS:
        return _Found(("nonces-out-of-order",), (told,))
    return _Found(("clock-behind",), (told,))
