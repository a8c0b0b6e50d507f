r"""Finds secrets in text, in whatever way they are spelled there, at a cost that does not depend on how many there are.

**Views.** A text is read in several ways: as it is; with its escapes undone (percent, backslash, HTML entities, all in
one pass, so partly and differently escaped spellings are one case), up to three times for escapes of escapes; and as
hex digits and Base64 at each alignment, whole, with every foreign character read as zero bits. Line breaks are left out
before that, and between hex digits also what separates them. A decoded view is read in these ways again, once. So any
chain of two encodings is undone. Base32 is not looked for inside hex or Base64. Of UTF-16 the
zero bytes are left out; a secret that is not ASCII is searched for in that form too. A match is led back to the
characters it came from.

**Look-up.** Of each secret the windows that start at its first bytes are in a set: eight windows of eight bytes, or
four of four when it is short. Of a view only the words at multiples of eight (four) are looked up, because every
occurrence holds one of them whole. A word that is found is then compared. Few secrets are searched for one by one,
which is quicker.

**Short secrets.** One of fewer than `SHORT` bytes is taken for a secret only where no letter or digit stands beside it;
otherwise `test` would blank half of every text.
"""

from __future__ import annotations

import re
import sys
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from html.entities import html5

from tn_contract.contract.signing import ENCODING, ERRORS, Secret

SHORT = 8
_LONG = 15  # bytes, from which on every occurrence holds eight bytes at a multiple of eight
_SHORT_IN_CODE = 4  # shorter ones are found by chance in what Base64 and hex make of other text
_FEW = 4  # forms that are searched for one by one
_ESCAPED = 3  # how often escapes are undone
_NESTED = 10  # Base64 digits and separators in a row; with fewer, a decoded view holds no further encoding
_BREAKS = re.compile(rb"[\r\n]+[ \t]*")  # no other space, which may be a plus sign
_BETWEEN_HEX = b" :,+-\t\r\n"
_NOT_HEX = re.compile(rb"[ :,+\t\r\n-]+")
_ZEROS = re.compile(rb"\0+")
MARK = "***"

Span = tuple[int, int]
_Back = Callable[[int, int], Span]  # leads a span of a view back to the text
_Find = Callable[[bytes], list[Span]]

_PERCENT = re.compile(rb"%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_BACKSLASH = re.compile(
    rb"\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}"
    rb"|x[0-9A-Fa-f]{2}|U[0-9A-Fa-f]{8}|[0-7]{3}|[\"'\\/bfnrt])"
)
_ENTITY = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ANY_ESCAPE = re.compile(b"|".join(pattern.pattern for pattern in (_PERCENT, _BACKSLASH, _ENTITY)))
_SIMPLE = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}

_DIGITS = b"0123456789ABCDEFabcdef"
_CODE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CODE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PLUS_IS_SPACE = bytes.maketrans(b"+", b" ")
_AS_HEX = bytes(byte if byte in _DIGITS else ord("0") for byte in range(256))
_AS_BASE64 = bytes(
    ord({"-": "+", "_": "/", " ": "+"}.get(chr(byte), chr(byte))) if chr(byte).encode("latin-1") in _CODE
    or chr(byte) in "-_ " else ord("A")
    for byte in range(256)
)  # fmt: skip
_IS_ZERO = bytes((0, *[1] * 255))
_WIDE = b"\1\0" * 7  # ASCII in UTF-16
# Base32 has one case, so that ordinary words are not read as it. 12 digits make 7 bytes.
_BASE32 = re.compile(rb"[A-Z2-7]{12,}|[a-z2-7]{12,}")
_AS_BASE32 = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[max(0, _CODE32.find(bytes((byte,)).upper()))] for byte in range(256)
)
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in _CODE + b"-_ :,\t\r\n")
_IS_CODE = bytes(ord("A") if byte in _CODE + b"_" + _BETWEEN_HEX else ord(" ") for byte in range(256))


class Matcher:
    """Finds any number of secrets. Secrets can be added; threads may share it."""

    __slots__ = ("_forms", "_lengths", "_middle_words", "_short", "_short_lengths", "_words", "version")

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._forms: set[bytes] = set()
        self._lengths: tuple[int, ...] = ()
        self._words: set[int] = set()
        self._middle_words: set[int] = set()
        self._short: set[bytes] = set()
        self._short_lengths: tuple[int, ...] = ()
        self.version = 0  # changes when a secret is added
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Find this one, too."""
        self.version += 1
        for form in _forms(secret):
            length = len(form)
            if length < SHORT:
                self._short.add(form)
                self._short_lengths = tuple(sorted({*self._short_lengths, length}, reverse=True))
                continue
            size, words = (8, self._words) if length >= _LONG else (4, self._middle_words)
            for at in range(size):
                words.add(int.from_bytes(form[at : at + size], sys.byteorder))
            if length not in self._lengths:
                self._lengths = tuple(sorted({*self._lengths, length}, reverse=True))
            self._forms.add(form)

    def __bool__(self) -> bool:
        return bool(self._forms or self._short)

    def spans(self, data: bytes) -> list[Span]:
        """Return where secrets are, in order and without overlaps."""
        return merged(self._search(data, depth=2)) if self else []

    def _search(
        self, data: bytes, depth: int, escaped: int = _ESCAPED, *, decoded: bool = False, decode: bool = True
    ) -> list[Span]:
        found = self._present(data.translate(_PLUS_IS_SPACE), decoded=decoded)
        if escaped and _has_escapes(data):
            view = _ANY_ESCAPE.sub(_unescape, data)
            # Where no escape stands for a digit of Base64, the view holds no more Base64 or hex than `data`.
            digits = any(_character(escape).strip(_NO_DIGITS) for escape in set(_ANY_ESCAPE.findall(data)))
            if inner := self._search(view, depth, escaped - 1, decoded=decoded, decode=decode and digits):
                origin = _origins(data)
                found += [origin(start, end) for start, end in inner]
        if b"\0" in data and _WIDE in data.translate(_IS_ZERO):
            view = data.replace(b"\0", b"")
            origin = _kept(data, view, _ZEROS)
            found += [origin(start, end) for start, end in self._search(view, depth, escaped, decoded=decoded)]
        if decode and depth and (not decoded or b"A" * _NESTED in data.translate(_IS_CODE)):
            for view, origin in _decodings(data):
                if inner := self._search(view, depth - 1, escaped, decoded=True):
                    found += [origin(start, end) for start, end in inner]
            if not decoded:
                for view, origin in _base32(data):
                    if inner := self._search(view, 0, escaped, decoded=True):
                        found += [origin(start, end) for start, end in inner]
        return found

    def _present(self, data: bytes, *, decoded: bool) -> list[Span]:
        """Return where secrets stand in a view as they are."""
        found: list[Span] = []
        if len(self._forms) <= _FEW:
            for form in self._forms:
                at = data.find(form)
                while at >= 0:
                    found.append((at, at + len(form)))
                    at = data.find(form, at + 1)
        else:
            self._look_up(data, 8, "Q", self._words, found)
            self._look_up(data, 4, "I", self._middle_words, found)
        if self._short:
            found += self._standing_alone(data, _SHORT_IN_CODE if decoded else 1)
        return found

    def _look_up(self, data: bytes, size: int, kind: str, words: set[int], found: list[Span]) -> None:
        if not words:
            return
        view = memoryview(data)[: len(data) // size * size].cast(kind)  # type: ignore[call-overload] # not a literal
        if words.isdisjoint(view):
            return
        for number, word in enumerate(view):
            if word in words:
                for start in range(max(0, (number - 1) * size + 1), number * size + 1):
                    ends = (start + length for length in self._lengths)
                    found += [(start, end) for end in ends if end <= len(data) and data[start:end] in self._forms]

    def _standing_alone(self, data: bytes, shortest: int) -> Iterator[Span]:
        for match in _EDGE.finditer(data):
            start = match.start()
            for length in self._short_lengths:
                end = start + length
                beside = data[end : end + 1]
                if shortest <= length <= len(data) - start and data[start:end] in self._short and not beside.isalnum():
                    yield start, end


_EDGE = re.compile(rb"(?<![0-9A-Za-z])")


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that overlap or touch as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _forms(secret: Secret) -> set[bytes]:
    """List the bytes that a secret may be when all encodings are undone: perhaps more were undone than were done."""
    raw = secret.reveal().encode(ENCODING, ERRORS)
    forms = {raw}
    if not raw.isascii():  # a header's bytes are read as Latin-1, and some programs write it
        text = raw.decode(ENCODING, "replace")
        forms |= {raw.decode("latin-1").encode(), text.encode("latin-1", "ignore")}
    for _ in range(_ESCAPED):
        forms |= {_ANY_ESCAPE.sub(_unescape, form) for form in forms if _has_escapes(form)}
    if not raw.isascii() and len(raw) >= SHORT:
        text = raw.decode(ENCODING, "replace")
        forms |= {text.encode("utf-16-le"), text.encode("utf-16-be")}
    return {form.translate(_PLUS_IS_SPACE) for form in forms} - {b""}


def _has_escapes(data: bytes) -> bool:
    return bool(
        (b"%" in data and _PERCENT.search(data))
        or (b"\\" in data and _BACKSLASH.search(data))
        or (b"&" in data and _ENTITY.search(data))
    )


def _unescape(match: re.Match[bytes]) -> bytes:
    return _character(match[0])


@lru_cache(maxsize=1024)
def _character(escape: bytes) -> bytes:
    """Undo one escape; one that stands for no character stays."""
    kind, rest = escape[:1], escape[1:]
    try:
        if kind == b"&":
            name = rest[:-1].decode("ascii")
            if name[0] != "#":
                return html5.get(f"{name};", escape.decode("ascii")).encode()
            return chr(int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])).encode("utf-8", "surrogatepass")
        if kind == b"%" and rest[:1] != b"u":
            return bytes((int(rest, 16),))
        if rest[:1] == b"x":
            return bytes((int(rest[1:], 16),))
        if rest[:1] in (b"u", b"U"):
            units = [int(unit.strip(b"{}"), 16) for unit in rest[1:].split(b"\\u")]
            if len(units) == 2:
                return chr(0x10000 + ((units[0] & 0x3FF) << 10) + (units[1] & 0x3FF)).encode()
            return chr(units[0]).encode("utf-8", "surrogatepass")
        if rest.isdigit():
            return bytes((int(rest, 8) & 0xFF,))
    except (ValueError, OverflowError):
        return escape
    return _SIMPLE.get(rest, rest)


def _origins(data: bytes) -> Callable[[int, int], Span]:
    """Return what leads a span of the view without escapes back to `data`."""
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _ANY_ESCAPE.finditer(data):
        starts += range(at, match.start())
        ends += range(at + 1, match.start() + 1)
        at = match.end()
        length = len(_character(match[0]))
        starts += [match.start()] * length
        ends += [at] * length
    starts += range(at, len(data))
    ends += range(at + 1, len(data) + 1)
    return lambda start, end: (starts[start], ends[end - 1])


def _decodings(data: bytes) -> Iterator[tuple[bytes, _Back]]:
    """Yield what the text is as hex digits and as Base64, at each alignment, with what leads a span back."""
    joined = data.translate(None, _BETWEEN_HEX)
    origin = _kept(data, joined, _NOT_HEX)
    digits = joined.translate(_AS_HEX)
    for shift in range(2):
        if (size := (len(digits) - shift) & ~1) > 0:
            yield unhexlify(digits[shift : shift + size]), _scaled(origin, len(joined), shift, 2, 1)
    joined, origin = _in_one_line(data)
    code = joined.translate(_AS_BASE64) + b"AAA"
    for shift in range(4):
        if (size := (len(joined) - shift + 3) & ~3) > 0:
            yield a2b_base64(code[shift : shift + size]), _scaled(origin, len(joined), shift, 8, 6)


def _base32(data: bytes) -> Iterator[tuple[bytes, _Back]]:
    """Yield what the whole text is as Base32, at each alignment, if a run of its letters is long enough."""
    joined, origin = _in_one_line(data)
    if not _BASE32.search(joined):
        return
    number, bits = int(joined.translate(_AS_BASE32), 32), 5 * len(joined)
    for cut in range(8):  # bits after the last whole byte
        size = (bits - cut) // 8
        view = (number >> cut & (1 << 8 * size) - 1).to_bytes(size, "big")
        yield view, _scaled(origin, len(joined), 0, 8, 5, (bits - cut) % 8)


def _in_one_line(data: bytes) -> tuple[bytes, _Back]:
    joined = _BREAKS.sub(b"", data) if b"\n" in data or b"\r" in data else data
    return joined, _kept(data, joined, _BREAKS)


def _kept(data: bytes, left: bytes, dropped: re.Pattern[bytes]) -> _Back:
    """Return what leads a span of what is `left` without the dropped bytes back to `data`."""
    if len(left) == len(data):
        return lambda start, end: (start, end)
    kept: list[int] = []

    def origin(start: int, end: int) -> Span:
        if not kept:
            at = 0
            for match in dropped.finditer(data):
                kept.extend(range(at, match.start()))
                at = match.end()
            kept.extend(range(at, len(data)))
        return kept[start], kept[end - 1] + 1

    return origin


def _scaled(origin: _Back, length: int, shift: int, up: int, down: int, bits: int = 0) -> _Back:
    """Lead a span of bytes back to characters: `down` bits (or bytes) a character, from `shift` and `bits` on."""

    def back(start: int, end: int) -> Span:
        first, last = start * up + bits, end * up + bits
        return origin(shift + first // down, min(length, shift - (-last // down)))

    return back


def encoded(text: str) -> tuple[bytes, str]:
    """Return text as bytes, and the error handler that turns them into the same text again."""
    try:
        return text.encode(ENCODING, ERRORS), ERRORS
    except UnicodeEncodeError:
        return text.encode(ENCODING, "surrogatepass"), "surrogatepass"


def replaced(text: str, marked: Iterable[tuple[_Find, str]], limit: int | None = None) -> str:
    """Write a mark for whatever is found, and of the rest only what is in the first `limit` characters.

    Where several find something at one place, the first one's mark is written.
    """
    data, errors = encoded(text)
    spans = [(start, -rank, end, mark) for rank, (find, mark) in enumerate(marked)
             for start, end in find(data)]  # fmt: skip
    if not spans:
        return text if limit is None else text[:limit]
    stop = len(data) if limit is None else len(encoded(text[:limit])[0])
    parts: list[str] = []
    at, ranked = 0, -sys.maxsize
    for start, rank, end, mark in sorted(spans, key=lambda span: (span[0], -span[2])):
        first, last = _whole_characters(data, start, end)
        if first >= stop:
            break
        if first < at:  # one thing with the match before it
            if rank > ranked:
                parts[-1], ranked = mark, rank
        else:
            parts += [data[at:first].decode(ENCODING, errors), mark]
            ranked = rank
        at = max(at, last)
    return "".join(parts) + data[at : max(at, stop)].decode(ENCODING, errors)


def _whole_characters(data: bytes, start: int, end: int) -> Span:
    while start and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return start, end


@lru_cache(maxsize=64)
def _matcher(secrets: tuple[Secret, ...]) -> Matcher:
    return Matcher(secrets)


def matcher_of(secrets: Matcher | Iterable[Secret]) -> Matcher:
    """Return a matcher of these secrets, made once for the same ones."""
    return secrets if isinstance(secrets, Matcher) else _matcher(tuple(secrets))


def blank(text: str, secrets: Matcher | Iterable[Secret]) -> str:
    """Write *** for every secret in a text, in whatever way it is spelled there."""
    return replaced(text, ((matcher_of(secrets).spans, MARK),))
