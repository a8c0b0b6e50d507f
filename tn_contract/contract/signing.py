"""Request → string to sign → signature: the lower-case hex HMAC-SHA256 of the string under the secret.

v2 (official, the vendor's API-key page and PHP client): sort the parameters' keys at each level, write `key=value`
joined by `&`, a nested map as `name=` and its own string; values are raw, never percent-encoded.
v3 (official, the vendor's PHP and Python SDKs): the body as it is sent, then the timestamp as it is sent.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from tn_contract.contract.errors import InvalidRequest, UsageError

if TYPE_CHECKING:
    _Keyed: TypeAlias = tuple[hashlib._Hash, hashlib._Hash]  # noqa: SLF001 # they have no other name

Value: TypeAlias = "str | int | Mapping[str, Value] | list[Value] | tuple[Value, ...]"
Parameters: TypeAlias = Mapping[str, Value]

# Bytes of a body that are no UTF-8 travel through str unharmed and are signed as they came.
ENCODING, ERRORS = "utf-8", "surrogateescape"
_BLOCK = 64  # bytes that SHA-256 works on at a time
_INNER_PAD, _OUTER_PAD = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Secret:
    """A secret that cannot leak by being printed: only `reveal()` gives it away."""

    __slots__ = ("_keyed", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._keyed: _Keyed | None = None

    def reveal(self) -> str:
        """Return the secret itself. Never keep it in a variable that a traceback could show."""
        return self._text

    def mac(self, message: bytes) -> str:
        """Lower-case hex HMAC-SHA256 of a message. Raises `UsageError` when the secret has no UTF-8 form."""
        inner, outer = self._keyed or self._key()
        inner, outer = inner.copy(), outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()

    def _key(self) -> _Keyed:
        """Hash both pads of RFC 2104 once: that is half of the work, and `hmac`'s own copies cost twice as much."""
        # Searched and not tried, for the exception of a failed encode() holds the text.
        if _LONE_SURROGATE.search(self._text):
            raise UsageError("the API secret holds a lone surrogate, which has no UTF-8 form")
        key = self._text.encode(ENCODING, ERRORS)
        key = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._keyed = hashlib.sha256(key.translate(_INNER_PAD)), hashlib.sha256(key.translate(_OUTER_PAD))
        return self._keyed

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._text,)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.mac(b""), other.mac(b""))

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair; the secret never shows in `repr`. Raises `UsageError` when one of the two is empty."""

    api_key: str
    secret: Secret

    def __post_init__(self) -> None:
        if not self.api_key:
            raise UsageError("the API key is empty: pass the public key of the pair")
        if not self.secret.reveal():
            raise UsageError("the API secret is empty: pass the secret key of the pair")
        self.secret.mac(b"")  # raises now rather than at the first signature

    @classmethod
    def from_environment(cls, suffix: str = "") -> Credentials | None:
        """Read TN_API_KEY and TN_API_SECRET (with `suffix`, the second pair); None when neither is set."""
        key_name, secret_name = f"TN_API_KEY{suffix}", f"TN_API_SECRET{suffix}"
        present = [name for name in (key_name, secret_name) if os.environ.get(name)]
        if not present:
            return None
        if len(present) == 1:
            raise UsageError(f"only {present[0]} is set: set both {key_name} and {secret_name}")
        return cls(os.environ[key_name], Secret(os.environ[secret_name]))


class Signed(Struct, frozen=True):
    """Every stage of one signature."""

    parameters: Parameters
    string_to_sign: str
    signature: str


def _is_list_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and (key == "0" or key[0] != "0")


def key_order(keys: Iterable[str]) -> list[str]:
    """Sort the names of one level: by their bytes, the indexes of a list as numbers."""
    try:
        names = sorted(keys)
        joined = "".join(names)
    except TypeError:
        odd = next(name for name in keys if type(name) is not str)
        raise InvalidRequest(f"the parameter name {odd!r} is no text: names are str") from None
    if joined[:1].isdigit() and all(map(_is_list_index, names)):
        names.sort(key=int)  # a list's indexes sort as numbers: 9 before 10
    elif not joined.isascii():
        names.sort(key=_bytes)
    return names


def _bytes(text: str) -> bytes:
    try:
        return text.encode(ENCODING, ERRORS)
    except UnicodeEncodeError as error:
        raise InvalidRequest("a parameter holds a lone surrogate, which has no UTF-8 form") from error


def _text(value: Value, path: tuple[str, ...]) -> str:
    if isinstance(value, (list, tuple)):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        if not value:
            raise InvalidRequest(f"{_shown(path)} is empty: leave it out (an empty map is signed but never sent)")
        return canonical_string(value, path)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequest(
            f"{_shown(path)} is a {type(value).__name__}: send a str, an int, or a map or list of these "
            "(true, false, null and floats have no text that client and server agree on)"
        )
    try:
        return str(value)
    except ValueError as error:
        raise InvalidRequest(f"{_shown(path)} is an int of too many digits") from error


def _shown(path: tuple[str, ...]) -> str:
    return path[0] + "".join(f"[{key}]" for key in path[1:])


def canonical_string(parameters: Parameters, _path: tuple[str, ...] = ()) -> str:
    """Write the string to sign.

    Raises `InvalidRequest` for values without an agreed text: bool, None, float, empty maps and lists.
    """
    parts = []
    for key in key_order(parameters):
        value = parameters[key]
        if type(value) is dict and value:  # the usual kinds first: it is quicker
            value = canonical_string(value, (*_path, key))
        elif type(value) is not str:
            value = _text(value, (*_path, key))
        parts.append(f"{key}={value}")
    return "&".join(parts)


def canonical_string_v3(body: bytes, timestamp: str) -> str:
    """Write the string to sign of v3: nothing is sorted or encoded anew. Bytes that are no UTF-8 stay recoverable."""
    # A header's text stands for its bytes, one each (latin-1): those are what was signed.
    return (body + timestamp.encode("latin-1", "replace")).decode(ENCODING, ERRORS)


def legible(text: str) -> str:
    """Write out the bytes of a string to sign that were no UTF-8."""
    return text if text.isascii() else text.encode(ENCODING, ERRORS).decode("utf-8", "backslashreplace")


def signature_of(string_to_sign: str, secret: Secret) -> str:
    """Lower-case hex HMAC-SHA256. Raises `InvalidRequest` for text that has no UTF-8 form."""
    return secret.mac(_bytes(string_to_sign))


def sign(parameters: Parameters, secret: Secret | str) -> Signed:
    """Sign `parameters` and return every stage. Raises `InvalidRequest` for values that cannot be signed."""
    secret = secret if isinstance(secret, Secret) else Secret(secret)
    string_to_sign = canonical_string(parameters)
    return Signed(parameters, string_to_sign, signature_of(string_to_sign, secret))


def verify(string_to_sign: str, secret: Secret, signature: str) -> bool:
    """Say in constant time if `signature` is the one over `string_to_sign`."""
    expected = signature_of(string_to_sign, secret)
    return hmac.compare_digest(expected.encode("ascii"), signature.encode(ENCODING, "replace"))
