"""How a digest was written into the header: every way of writing is undone once, and the search sees bytes only."""

from __future__ import annotations

import ast
import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

from tn_contract.diagnosis.digests import SIZES

# Fewer bytes of a cut digest would prove nothing.
_LEAST = 8
_LONGEST = 1000

_Matches: TypeAlias = Callable[[bytes], bool]


class Reading(NamedTuple):
    """One way to read a received signature: what is wrong with its writing, its bytes, and how they compare."""

    mistakes: tuple[str, ...]
    size: int
    matches: _Matches

    @property
    def exact(self) -> bytes:
        """The whole digest where it is known, else empty."""
        return self.matches.raw if isinstance(self.matches, _Begins) and len(self.matches.raw) in SIZES else b""

    @property
    def doubtful(self) -> bool:
        """Every digest can be read so: only the right one, read so, tells anything."""
        return "bytes-reversed" in self.mistakes


_HEX = re.compile(r"[0-9a-fA-F]+")
_BASED = re.compile(r"[0-9A-Za-z+/_-]+={0,3}")
_BASE32 = re.compile(r"[A-Z2-7]+=*|[a-z2-7]+=*")
_SIGN_EXTENDED = re.compile(r"(?:ffffff[89a-f][0-9a-f]|[0-7]?[0-9a-f])+")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LATIN = ("latin-1", "cp1252", "cp1251", "koi8-r", "cp437", "cp866")


def read_signature(text: str) -> list[Reading]:
    """Decode what came in the header, in each way that it may have been written; empty when it is no digest."""
    found: list[Reading] = []
    for mistakes, core in _unwrapped(text[:_LONGEST]):
        if isinstance(core, bytes):
            found.append(Reading(mistakes, len(core), _equals(core)))
        else:
            found += [Reading((*mistakes, *more), size, matches) for more, size, matches in _decoded(core)]
    found += list(_as_text(text))
    return found


# ---- what is around the digest -----------------------------------------------------------------------------------


def _unwrapped(text: str) -> Iterator[tuple[tuple[str, ...], str | bytes]]:
    mistakes: list[str] = []
    if text != text.strip():
        text, mistakes = text.strip(), ["signature-prefixed"]
    if len(printed := _literal(text)) in SIZES and not printed.isalnum():
        yield (*mistakes, "signature-as-numbers"), printed
        return
    if re.search("%[0-9a-fA-F]{2}", text):
        raw = unquote_to_bytes(text)
        if len(raw) in SIZES and not raw.isascii():
            yield (*mistakes, "signature-encoded"), raw
        for _ in range(3):
            text = unquote(text).strip()
        mistakes.append("signature-encoded")
    if "&" in text and html.unescape(text) != text:
        text = html.unescape(text)
        mistakes.append("signature-encoded")
    for raw in _numbers(text):
        yield (*mistakes, "signature-as-numbers"), raw
    literal = re.fullmatch(r"b(['\"])(.*)\1", text)
    quoted = text[:1] in "\"'<[({`\\" and not text[-1:].isalnum()
    bare = literal[2] if literal else text.strip("\"'<>[](){}` \\nrt") if quoted else text
    if bare != text:
        text = bare
        mistakes.append("signature-quoted")
    if text.endswith(("\\n", "\\r")):
        text = re.sub(r"(\\[nr])+$", "", text)
        mistakes.append("signature-prefixed")
    grouped = re.sub(r"[:\s.,_|-]", "", text)
    if grouped != text and re.fullmatch(r"(?:[0-9a-fA-F]{2,16}[:\s.,_|-]+)+[0-9a-fA-F]{1,16}", text):
        yield (*mistakes, "signature-grouped"), grouped
    based = re.sub(r"\s", "", text)
    if based != text and _BASED.fullmatch(based) and not _HEX.fullmatch(based):
        yield (*mistakes, "signature-grouped"), based
    each = re.findall(r"0x([0-9a-fA-F]{1,2})\b", text)
    if len(each) >= 16:
        yield (*mistakes, "signature-as-numbers"), "".join(digits.zfill(2) for digits in each)
    if "\\x" in text or "\\u" in text or re.search(r"\\[0-7]{1,3}", text):
        raw_text = text.encode("latin-1", "replace").decode("unicode_escape", "replace")
        yield (*mistakes, "signature-as-numbers"), raw_text.encode("latin-1", "replace").hex()
    cut = re.fullmatch(r"([0-9a-fA-F]{16,})(?:\.{2,}|\u2026|\*+)", text)
    if cut:
        yield (*mistakes, "truncated"), cut[1]
        return
    # A prefix ends before the digest does: `sha256=…`, `Bearer …`, `key:…`, 0x….
    prefix = re.fullmatch(r"(0[xX]|.*[\s:=,;|\"'.&@/?#](?=.))?([0-9A-Za-z+/_-]{16,}={0,2})", text, re.DOTALL)
    if prefix and prefix[1]:
        yield (*mistakes, "signature-prefixed"), prefix[2]
    suffix = re.fullmatch(r"([0-9A-Za-z+/_-]{16,}={0,2})[\s:,;|&.\"'].*", text, re.DOTALL)
    if suffix:
        yield (*mistakes, "signature-prefixed"), suffix[1]
    inside = re.search(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{64}(?![0-9a-zA-Z])", text)
    if inside and len(inside[0]) < len(text):
        yield (*mistakes, "signature-prefixed"), inside[0]
    for token in re.findall(r"(?<![0-9A-Za-z+/_-])[0-9A-Za-z+/_-]{40,}={0,2}(?![0-9A-Za-z+/_=-])", text):
        if token != text:
            yield (*mistakes, "signature-prefixed"), token
    ended = re.fullmatch(r"(?:[a-zA-Z$]{1,8}[0-9]{0,3}[_-]?|v[0-9])([0-9a-f]{64}|[0-9A-F]{64})", text)
    if ended:
        yield (*mistakes, "signature-prefixed"), ended[1]
    if (not (prefix and prefix[1]) and not suffix) or re.search("[-_/]", text):
        yield tuple(mistakes), text


def _literal(text: str) -> bytes:
    """Read bytes as Python prints them; empty when it is something else."""
    if not re.fullmatch(r"b(['\"]).*\1", text, re.DOTALL):
        return b""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return b""
    return value if isinstance(value, bytes) else b""


def _numbers(text: str) -> Iterator[bytes]:
    """Read a list of numbers: bytes with and without sign, or words of 32 bits."""
    if len(text) > _LONGEST or len(re.findall("[a-zA-Z]", text)) > 60:
        return
    listed = [int(number) for number in re.findall(r"-?\d+", re.sub(r"[a-zA-Z_]+\d*", "", text))]
    if re.search(r"\d[,\s;:.|_-]+-?\d", text):
        for numbers in (listed, listed[:-1]):
            if len(numbers) in SIZES and all(-128 <= number < 256 for number in numbers):
                yield bytes(number % 256 for number in numbers)
            if len(numbers) in (4, 5, 8, 16) and all(-(2**31) <= number < 2**32 for number in numbers):
                yield b"".join((number % 2**32).to_bytes(4, "big") for number in numbers)
                yield b"".join((number % 2**32).to_bytes(4, "little") for number in numbers)
            if len(numbers) == 4 and all(-(2**63) <= number < 2**64 for number in numbers):
                yield b"".join((number % 2**64).to_bytes(8, "big") for number in numbers)
    octal = re.fullmatch(r"(?:\\?[0-7]{3}[\s,]?){16,64}", text)
    if octal:
        yield bytes(int(digits, 8) % 256 for digits in re.findall("[0-7]{3}", text))


def _as_text(text: str) -> Iterator[Reading]:
    """Read bytes that were taken for characters: compared as text, because some were lost."""
    if text.isascii() and not re.search("[\x00-\x1f]", text):
        return
    for charset in _LATIN:
        try:
            raw = text.encode(charset)
        except UnicodeEncodeError:
            continue
        if len(raw) in SIZES:
            yield Reading(("signature-as-numbers",), len(raw), _equals(raw))
    # A header's text stands for its bytes: what was UTF-8 came as Latin-1.
    try:
        text = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    else:
        for charset in _LATIN:
            try:
                raw = text.encode(charset)
            except UnicodeEncodeError:
                continue
            if len(raw) in SIZES:
                yield Reading(("signature-as-numbers",), len(raw), _equals(raw))
    if "\ufffd" in text:
        yield Reading(("signature-as-numbers",), 32, lambda digest: digest.decode("utf-8", "replace") == text)


# ---- the digits --------------------------------------------------------------------------------------------------


def _unpadded(digest: bytes) -> str:
    return "".join([f"{byte:x}" for byte in digest])


class _Begins:
    """Whether a digest begins with known bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __call__(self, digest: bytes) -> bool:
        return digest.startswith(self.raw)


def _equals(raw: bytes) -> _Matches:
    return _Begins(raw)


def _decoded(text: str, nested: bool = False) -> Iterator[tuple[tuple[str, ...], int, _Matches]]:
    if not text.isascii() or len(text) > _LONGEST:
        return
    if _HEX.fullmatch(text):
        yield from _in_hex(text, nested)
    elif re.fullmatch(r"-[0-9a-fA-F]{60,64}", text):
        number = -int(text[1:], 16) % 2**256
        yield ("signature-in-other-base",), 32, _equals(number.to_bytes(32, "big"))
    elif _BASED.fullmatch(text):
        yield from _in_base64(text, nested)
    if text.isdigit() and 74 <= len(text) <= 78 and int(text) < 2**256:
        yield ("signature-in-other-base",), 32, _equals(int(text).to_bytes(32, "big"))
        yield ("signature-in-other-base", "bytes-reversed"), 32, _equals(int(text).to_bytes(32, "little"))
    if re.fullmatch(r"-\d{70,77}", text):
        yield ("signature-in-other-base",), 32, _equals((int(text) % 2**256).to_bytes(32, "big"))
    if len(text) in (256, 255, 254) and not text.strip("01"):
        yield ("signature-in-other-base",), 32, _equals(int(text, 2).to_bytes(32, "big"))
    if re.fullmatch("[0-7]{83,86}", text) and int(text, 8) < 2**256:
        yield ("signature-in-other-base",), 32, _equals(int(text, 8).to_bytes(32, "big"))
    if 60 <= len(text) <= 96 and text.isdigit():
        yield ("signature-as-numbers",), 32, lambda digest: "".join(map(str, digest)) == text
        yield ("signature-as-numbers",), 32, lambda digest: "".join(f"{byte:03d}" for byte in digest) == text
    yield from _in_other_bases(text)


def _in_hex(text: str, nested: bool) -> Iterator[tuple[tuple[str, ...], int, _Matches]]:
    case: tuple[str, ...] = () if text == text.lower() else ("upper-case-hex",)
    length, text = len(text), text.lower()
    raw = bytes.fromhex(text[: length // 2 * 2])
    whole = length % 2 == 0 and len(raw) in SIZES
    if whole:
        yield case, len(raw), _equals(raw)
    inner = raw.decode("ascii", "replace").strip()
    if not nested and len(raw) > 32 and (_HEX.fullmatch(inner) or _BASED.fullmatch(inner)):
        for more, size, match in _decoded(inner, True):
            yield ("signature-encoded-twice", *(each for each in more if each != "base64")), size, match
    if length % 2 == 0 and len(raw) >= _LEAST and not whole:
        yield (*case, "truncated"), len(raw), _equals(raw)
    if length == 128 and text[:64] == text[64:]:
        yield (*case, "signature-too-long"), 32, _equals(raw[:32])
    if length > 64 and length != 128:
        yield (*case, "signature-too-long"), 32, _equals(raw[:32])
        yield (*case, "signature-too-long"), 32, _equals(bytes.fromhex(text[-64:]))
    for size in SIZES:
        if 0 < 2 * size - length <= 3:
            yield (*case, "leading-zero-dropped"), size, _equals(bytes.fromhex(text.zfill(2 * size)))
    if length < 64 and length >= 2 * _LEAST:
        yield (*case, "truncated"), 32, lambda digest: digest.hex().endswith(text)
        if length in (16, 32, 40):
            middle = (64 - length) // 2
            yield (*case, "truncated"), 32, lambda digest: digest.hex()[middle : middle + length] == text
    if 48 <= length < 64:
        yield (*case, "bytes-unpadded"), 32, lambda digest: text[0] == f"{digest[0]:x}"[0] and _unpadded(digest) == text
    if length % 2 and len(raw) >= _LEAST:
        yield (*case, "truncated"), len(raw), _equals(raw)
    if "ffffff" in text and length > 64 and _SIGN_EXTENDED.fullmatch(text):
        short = re.sub("ffffff(?=[89a-f][0-9a-f])", "", text)
        yield (*case, "bytes-unpadded"), 32, lambda digest: digest.hex() == short or _unpadded(digest) == short
    if len(raw) in SIZES:
        yield (*case, "bytes-reversed"), len(raw), _equals(raw[::-1])
        yield (*case, "bytes-reversed"), len(raw), _equals(bytes.fromhex(text[::-1]))
        swapped = "".join(text[at + 1] + text[at] for at in range(0, length - 1, 2))
        yield (*case, "bytes-reversed"), len(raw), _equals(bytes.fromhex(swapped))
        for width in (4, 8):
            words = b"".join(raw[at : at + width][::-1] for at in range(0, len(raw), width))
            yield (*case, "bytes-reversed"), len(raw), _equals(words)


def _in_base64(text: str, nested: bool) -> Iterator[tuple[tuple[str, ...], int, _Matches]]:
    safe = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    kept = safe if len(safe) % 4 != 1 else safe[:-1]
    raw = base64.b64decode(kept + "=" * (-len(kept) % 4))
    inner = raw.decode("ascii", "replace")
    bare = inner.strip()
    if _HEX.fullmatch(bare) and not nested:
        for more, size, match in _decoded(bare, True):
            yield ("base64-of-hex", *more), size, match
    elif _BASED.fullmatch(bare) and not nested:
        for more, size, match in _decoded(bare, True):
            yield ("signature-encoded-twice", *(each for each in more if each != "base64")), size, match
    elif len(raw) >= _LEAST:
        yield ("base64", *(() if len(raw) in SIZES else ("truncated",))), len(raw), _equals(raw)
        if len(raw) in SIZES:
            yield ("base64", "bytes-reversed"), len(raw), _equals(raw[::-1])
        if (text != text.lower() and not re.search("[a-z]", text)) or not re.search("[A-Z]", text):
            lost = text.lower()
            yield (
                ("signature-in-other-case",),
                32,
                lambda digest: base64.b64encode(digest).decode().rstrip("=").lower() == lost.rstrip("="),
            )


def _in_other_bases(text: str) -> Iterator[tuple[tuple[str, ...], int, _Matches]]:
    other = ("signature-in-other-base",)
    if 48 <= len(text.rstrip("=")) <= 56 and _BASE32.fullmatch(text):
        bare = text.rstrip("=").upper()
        yield other, 32, lambda digest: base64.b32encode(digest).decode().rstrip("=") == bare
    if 48 <= len(text.rstrip("=")) <= 56 and re.fullmatch("[0-9a-vA-V]+=*", text):
        bare_hex = text.rstrip("=").upper()
        yield other, 32, lambda digest: base64.b32hexencode(digest).decode().rstrip("=") == bare_hex
    if 40 <= len(text) <= 45 and not set(text) - set(_BASE58):
        number = 0
        for character in text:
            number = number * 58 + _BASE58.index(character)
        if number < 2**256:
            yield other, 32, _equals(number.to_bytes(32, "big"))
    if 48 <= len(text) <= 52 and re.fullmatch("[0-9a-z]+|[0-9A-Z]+", text) and int(text, 36) < 2**256:
        yield other, 32, _equals(int(text, 36).to_bytes(32, "big"))
    if 40 <= len(text) <= 46:
        yield other, 32, lambda digest: base64.b85encode(digest).decode() == text
        bare_ascii = text.removeprefix("<~").removesuffix("~>")
        yield other, 32, lambda digest: base64.a85encode(digest).decode() == bare_ascii
    if 44 <= len(text) <= 46 and text[:1] == "@":  # one line of uuencode
        yield other, 32, lambda digest: _uuencoded(digest) == text.strip()


def _uuencoded(digest: bytes) -> str:
    return binascii.b2a_uu(digest).decode().strip()


WRITINGS: dict[str, Callable[[bytes], str]] = {
    "upper-case-hex": lambda digest: digest.hex().upper(),
    "base64": lambda digest: base64.b64encode(digest).decode(),
    "base64-of-hex": lambda digest: base64.b64encode(digest.hex().encode()).decode(),
    "truncated": lambda digest: digest.hex()[:32],
    "signature-prefixed": lambda digest: f"sha256={digest.hex()}",
    "signature-quoted": lambda digest: f'"{digest.hex()}"',
    "signature-encoded-twice": lambda digest: digest.hex().encode().hex(),
    "bytes-reversed": lambda digest: digest[::-1].hex(),
}
