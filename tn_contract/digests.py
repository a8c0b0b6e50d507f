"""What wrong signers do to the finished string: other keys, other digests, other ways of writing the digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

from tn_contract.signers import Case, Text, percent_encoded
from tn_contract.signing import ENCODING, ERRORS

Mac: TypeAlias = Callable[..., bytes]  # of the message

# Fewer bytes of a cut digest would prove nothing.
_LEAST = 8

# ---- secrets ---------------------------------------------------------------------------------------------------


def _hexed(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _unbased(text: str) -> bytes | None:
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


_PLACEHOLDERS = (
    "<YOUR_API_SECRET_KEY>",
    "YOUR_API_SECRET_KEY",
    "YOUR_API_SECRET",
    "***",
    "Secret('***')",
    "None",
    "null",
    "undefined",
    "secret",
    "<hash>",
)  # fmt: skip


def secrets(case: Case) -> Iterator[tuple[str, int, Text | None]]:
    """The keys that a wrong signer may have used."""
    secret, key = case.secret, case.key
    raw = secret.encode(ENCODING, ERRORS)
    yield "key-as-secret", 2, key
    yield "secret-hex-decoded", 2, _hexed(secret)
    yield "secret-base64-decoded", 2, _unbased(secret)
    yield "secret-hashed", 2, hashlib.sha256(raw).hexdigest()
    yield "secret-hashed", 3, hashlib.sha256(raw).digest()
    yield "secret-hashed", 3, hashlib.md5(raw).hexdigest()  # noqa: S324 # what clients do
    yield "secret-hashed", 4, hashlib.md5(raw).digest()  # noqa: S324
    for name in ("sha1", "sha512"):
        yield "secret-hashed", 4, hashlib.new(name, raw).hexdigest()
        yield "secret-hashed", 4, hashlib.new(name, raw).digest()
    yield "secret-hashed", 4, hashlib.sha256(raw).hexdigest().upper()
    yield "secret-hashed", 4, base64.b64encode(hashlib.sha256(raw).digest())
    yield "secret-encoded", 3, base64.b64encode(raw)
    yield "secret-encoded", 3, raw.hex()
    yield "secret-encoded", 4, raw.hex().upper()
    yield "secret-encoded", 4, base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield "secret-encoded", 4, percent_encoded(secret)
    yield "secret-encoded", 4, unquote(secret, errors=ERRORS)
    yield "secret-encoded", 4, secret.encode("utf-16-le", "surrogatepass")
    yield "secret-upper-cased", 2, secret.upper()
    yield "secret-upper-cased", 2, secret.lower()
    yield "secret-upper-cased", 4, secret.swapcase()
    yield "secret-trimmed", 2, secret.strip()
    yield "secret-line-feed", 2, secret + "\n"
    yield "secret-line-feed", 3, secret + "\r\n"
    yield "secret-line-feed", 3, secret + " "
    yield "secret-line-feed", 4, " " + secret
    for odd in ("\t", "\0", "\r"):
        yield "secret-line-feed", 4, secret + odd
    yield "secret-line-feed", 4, "\ufeff" + secret
    yield "secret-quoted", 3, f'"{secret}"'
    yield "secret-quoted", 4, f"'{secret}'"
    yield "secret-quoted", 4, f"b'{secret}'"
    yield "secret-quoted", 4, f"<{secret}>"
    yield "secret-empty", 2, ""
    yield "key-and-secret-joined", 2, key + secret
    yield "key-and-secret-joined", 3, secret + key
    yield "key-and-secret-joined", 3, f"{key}:{secret}"
    for joined in (
        f"{secret}:{key}",
        f"{key}&{secret}",
        f"{secret}&{key}",
        f"{key}.{secret}",
        f"{key}|{secret}",
        f"{key},{secret}",
    ):
        yield "key-and-secret-joined", 4, joined
    yield "secret-with-more", 3, f"{secret}&"
    if case.nonce:
        yield "secret-with-more", 3, secret + case.nonce
        yield "secret-with-more", 4, case.nonce + secret
        yield "secret-with-more", 4, mac_of("sha256", raw)(case.nonce.encode(ENCODING, ERRORS))
        yield "secret-with-more", 4, case.nonce
    for length in (64, 32, 16, 20, 24, 40, 63, len(raw) - 1, len(raw) // 2):
        if 0 < length < len(raw):
            yield "secret-cut", 3 if length in (64, 32, len(raw) - 1) else 4, raw[:length]
    if len(raw) > 1:
        yield "secret-cut", 4, raw[1:]
        yield "secret-cut", 4, raw[::-1]
    for pair in case.others:
        yield "other-secret", 1, pair.secret.reveal()
    for text in _PLACEHOLDERS:
        yield "placeholder-secret", 4, text


# ---- digests ---------------------------------------------------------------------------------------------------

_BLOCKS = {"md5": 64, "sha1": 64, "sha224": 64, "sha256": 64, "sha384": 128, "sha512": 128, "sha3_256": 136,
           "sha3_512": 72, "blake2s": 64, "blake2b": 128}  # fmt: skip
SIZES = {16: "md5", 20: "sha1", 28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}
_XOR = {value: bytes(byte ^ value for byte in range(256)) for value in (0x36, 0x5C)}


def mac_of(name: str, key: bytes) -> Mac:
    """HMAC, keyed once: half the time of `hmac.HMAC.copy`."""
    start = getattr(hashlib, name)
    if len(key) > _BLOCKS[name]:
        key = start(key).digest()
    key = key.ljust(_BLOCKS[name], b"\0")
    inner, outer = start(key.translate(_XOR[0x36])).copy, start(key.translate(_XOR[0x5C])).copy

    def mac(message: bytes) -> bytes:
        first = inner()
        first.update(message)
        second = outer()
        second.update(first.digest())
        digest: bytes = second.digest()
        return digest

    return mac


def digests(size: int, key: bytes) -> Iterator[tuple[str, int, Mac]]:
    """The wrong digests of at least `size` bytes."""
    exact = SIZES.get(size)
    for name in dict.fromkeys(filter(None, (exact, "sha256", "sha512", "sha384", "sha1", "md5"))):
        start = getattr(hashlib, name)
        if start().digest_size < size:
            continue
        usual = name in (exact, "sha256")
        grade = 2 if usual else 4
        if name != "sha256":
            yield f"hmac-{name}", grade, lambda text, name=name: mac_of(name, key)(text)
        yield "plain-hash", grade, lambda text, start=start: start(text).digest()
        appended = "v1-rule" if name == "md5" else "secret-appended"
        yield appended, grade, lambda text, start=start: start(text + key).digest()
        yield "secret-appended", 2 if usual else 4, lambda text, start=start: start(key + text).digest()
        if usual:
            yield appended, 4, lambda text, start=start: start(text + b"&" + key).digest()
            yield "secret-appended", 4, lambda text, start=start: start(text + b":" + key).digest()
            yield "secret-appended", 4, lambda text, start=start: start(key + b"&" + text).digest()
            yield "secret-appended", 4, lambda text, start=start: start(key + text + key).digest()
            yield "message-and-secret-swapped", 2, lambda text, name=name: mac_of(name, text)(key)

            def once(text: bytes, name: str = name) -> bytes:
                return mac_of(name, key)(text)

            yield "digest-twice", 3, lambda text, once=once: once(once(text).hex().encode())
            yield "digest-twice", 4, lambda text, once=once: once(once(text))
            yield "digest-twice", 3, lambda text, once=once, start=start: start(once(text).hex().encode()).digest()
            yield "digest-twice", 4, lambda text, once=once, start=start: start(once(text)).digest()
            yield "digest-twice", 4, lambda text, start=start: start(start(text).digest()).digest()
            yield "digest-twice", 4, lambda text, start=start: start(start(text).hexdigest().encode()).digest()
            yield "digest-twice", 4, lambda text, once=once, start=start: once(start(text).digest())
            yield "digest-twice", 4, lambda text, start=start: start(start(text).hexdigest().encode() + key).digest()
    if size <= 32:
        yield "hmac-sha3", 3, lambda text: mac_of("sha3_256", key)(text)
        yield "hmac-sha3", 4, lambda text: mac_of("blake2s", key)(text)
        yield "plain-hash", 4, lambda text: hashlib.sha3_256(text).digest()
        yield "plain-hash", 4, lambda text: hashlib.blake2s(text).digest()
        yield "hmac-sha3", 4, lambda text: hashlib.blake2s(text, key=key[:32]).digest()
        yield "hmac-sha3", 4, lambda text: hashlib.blake2b(text, key=key[:64], digest_size=32).digest()
    if size <= 64:
        yield "hmac-sha3", 4, lambda text: mac_of("sha3_512", key)(text)
        yield "hmac-sha3", 4, lambda text: mac_of("blake2b", key)(text)


# ---- writing: how the digest was put into the header -----------------------------------------------------------


class Reading(NamedTuple):
    """One way to read a received signature: what is wrong with its writing, its bytes, and how they compare."""

    mistakes: tuple[str, ...]
    size: int
    matches: Callable[[bytes], bool]

    @property
    def doubtful(self) -> bool:
        """Every digest can be read so: only the right one, read so, tells anything."""
        return "bytes-reversed" in self.mistakes


_DIGEST = re.compile(r"[0-9a-fA-F]+")
_BASED = re.compile(r"[0-9A-Za-z+/_-]+={0,2}")
_SIGN_EXTENDED = re.compile(r"(?:ffffff[89a-f][0-9a-f]|[0-7]?[0-9a-f])+")


def _unpadded(digest: bytes) -> str:
    return "".join([f"{byte:x}" for byte in digest])


def _equals(raw: bytes) -> Callable[[bytes], bool]:
    size = len(raw)
    return lambda digest: digest[:size] == raw


def read_signature(text: str) -> list[Reading]:
    """Decode what came in the header, in each way that it may have been written; empty when it is no digest."""
    found: list[Reading] = []
    for mistakes, core in _unwrapped(text):
        found += [Reading((*mistakes, *more), size, matches) for more, size, matches in _decoded(core)]
    return found


def _unwrapped(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    mistakes: list[str] = []
    if text != text.strip():
        text, mistakes = text.strip(), ["signature-padded"]
    if "%" in text:
        text = unquote(text).strip()
        mistakes.append("signature-encoded")
    numbers = re.findall(r"-?\d+", text)
    if 16 <= len(numbers) <= 64 and "," in text:
        yield (*mistakes, "signature-as-numbers"), bytes(int(number) % 256 for number in numbers).hex()
    literal = re.fullmatch(r"b(['\"])(.*)\1", text)
    bare = text[2:-1] if literal else text.strip("\"'<>[](){} \\nrt") if text[:1] in "\"'<[({" else text
    if bare != text:
        text = bare
        mistakes.append("signature-quoted")
    grouped = re.sub(r"[:\s-]", "", text)
    if grouped != text and re.fullmatch(r"(?:[0-9a-fA-F]{2,8}[:\s-]+)+[0-9a-fA-F]{2,8}", text):
        yield (*mistakes, "signature-grouped"), grouped
    if "\\x" in text:
        raw = text.encode("latin-1", "replace").decode("unicode_escape", "replace").encode("latin-1", "replace")
        yield (*mistakes, "signature-as-numbers"), raw.hex()
    elif len(text) in SIZES and not text.isascii():
        yield (*mistakes, "signature-as-numbers"), text.encode("latin-1", "replace").hex()
    # A prefix ends before the digest does: `sha256=…`, `Bearer …`, `key:…`, 0x….
    prefix = re.fullmatch(r"(0x|.*[\s:=,;|\"'.](?=.))?([0-9A-Za-z+/_-]{16,}={0,2})", text, re.DOTALL)
    if prefix and prefix[1]:
        yield (*mistakes, "signature-prefixed"), prefix[2]
    suffix = re.fullmatch(r"([0-9A-Za-z+/_-]{16,}={0,2})[\s:,;|&.\"'].*", text, re.DOTALL)
    if suffix:
        yield (*mistakes, "signature-prefixed"), suffix[1]
    if not (prefix and prefix[1]) and not suffix:
        yield tuple(mistakes), text


def _decoded(text: str, nested: bool = False) -> Iterator[tuple[tuple[str, ...], int, Callable[[bytes], bool]]]:
    if not text.isascii() or len(text) > 1000:
        return
    if _DIGEST.fullmatch(text):
        case: tuple[str, ...] = () if text == text.lower() else ("upper-case-hex",)
        length, text = len(text), text.lower()
        raw = bytes.fromhex(text[: length // 2 * 2])
        if length % 2 == 0 and len(raw) >= _LEAST:
            yield (*case, *(() if len(raw) in SIZES else ("truncated",))), len(raw), _equals(raw)
            if len(raw) in SIZES and len(raw) > 32:
                inner = raw.decode("ascii", "replace")
                if not nested and _DIGEST.fullmatch(inner):
                    yield from (
                        (("signature-encoded-twice", *more), size, match) for more, size, match in _decoded(inner, True)
                    )
        for size in SIZES:
            if 0 < 2 * size - length <= 3:
                yield (*case, "leading-zero-dropped"), size, _equals(bytes.fromhex(text.zfill(2 * size)))
        if 48 <= length < 64:
            yield (
                (*case, "bytes-unpadded"),
                32,
                lambda digest: text[0] == f"{digest[0]:x}"[0] and _unpadded(digest) == text,
            )
        if length % 2 and len(raw) >= _LEAST:
            yield (*case, "truncated"), len(raw), _equals(raw)
        if "ffffff" in text and length > 64 and _SIGN_EXTENDED.fullmatch(text):
            short = re.sub("ffffff(?=[89a-f][0-9a-f])", "", text)
            yield (*case, "bytes-unpadded"), 32, lambda digest: digest.hex() == short or _unpadded(digest) == short
        elif length > 64 and len(raw) not in SIZES:
            yield (*case, "signature-too-long"), 32, _equals(raw[:32])
        if len(raw) == 32:
            yield (*case, "bytes-reversed"), 32, _equals(raw[::-1])
    elif _BASED.fullmatch(text):
        safe = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        kept = safe if len(safe) % 4 != 1 else safe[:-1]
        raw = base64.b64decode(kept + "=" * (-len(kept) % 4))
        inner = raw.decode("ascii", "replace")
        if _DIGEST.fullmatch(inner) and not nested:
            yield from ((("base64-of-hex", *more), size, match) for more, size, match in _decoded(inner, True))
        elif len(raw) >= _LEAST:
            yield ("base64", *(() if len(raw) in SIZES else ("truncated",))), len(raw), _equals(raw)


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
