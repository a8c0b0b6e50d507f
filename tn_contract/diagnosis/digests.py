"""By which digest wrong signers sign: another hash, no HMAC, an HMAC of their own, a digest of a digest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

Mac: TypeAlias = Callable[[bytes], bytes]  # of the message


class Hmac:
    """An HMAC, keyed once: `inner` and `outer` copy the states behind both pads. Half the time of `hmac.HMAC.copy`."""

    __slots__ = ("inner", "outer", "size")

    def __init__(self, name: str, key: bytes, block: int = 0, pads: tuple[int, int] = (0x36, 0x5C)) -> None:
        start = hash_of(name)
        if start is None:
            raise ValueError(name)
        block = block or _BLOCKS.get(name, 64)
        key = (start(key).digest() if len(key) > block else key).ljust(block, b"\0")
        state = start(key.translate(_XOR[pads[0]]))
        self.size: int = state.digest_size
        self.inner = state.copy
        self.outer = start(key.translate(_XOR[pads[1]])).copy

    def __call__(self, message: bytes) -> bytes:
        """Return the HMAC of a message."""
        first, second = self.inner(), self.outer()
        first.update(message)
        second.update(first.digest())
        digest: bytes = second.digest()
        return digest


class Digest(NamedTuple):
    """A wrong digest; `how` is a sentence with the particulars."""

    mistake: str
    grade: int
    mac: Mac
    how: str = ""


# Hashes by the bytes that they give, the usual one first: the length of a signature tells which were taken.
FAMILIES: dict[int, tuple[str, ...]] = {
    16: ("md5",),
    20: ("sha1", "ripemd160"),
    28: ("sha224", "sha512_224", "sha3_224"),
    32: ("sha256", "sha512_256", "sha3_256", "blake2s", "blake2b_256", "sm3"),
    48: ("sha384", "sha3_384"),
    64: ("sha512", "sha3_512", "blake2b"),
}
SIZES = {size: names[0] for size, names in FAMILIES.items()}
_BLOCKS = {"sha384": 128, "sha512": 128, "sha512_256": 128, "sha512_224": 128, "sha3_224": 144, "sha3_256": 136,
           "sha3_384": 104, "sha3_512": 72, "blake2b": 128, "blake2b_256": 128}  # fmt: skip
_XOR = {value: bytes(byte ^ value for byte in range(256)) for value in (0x36, 0x5C)}
# What stands between a string and a secret that are hashed together.
_BETWEEN = (b"&", b":", b"|", b"\n", b".", b",", b" ", b";", b"-", b"_", b"&secret=", b"&key=")
_NAMED = {"md5", "sha1", "sha224", "sha384", "sha512"}  # have an id of their own


def hash_of(name: str) -> Callable[..., Any] | None:
    """Find a hash; None where this Python has none of the name."""
    if name == "blake2b_256":
        return partial(hashlib.blake2b, digest_size=32)
    if hasattr(hashlib, name):
        return getattr(hashlib, name)  # type: ignore[no-any-return]
    return partial(hashlib.new, name) if name in hashlib.algorithms_available else None


def shown(name: str) -> str:
    """Write a hash's name as its standard does."""
    for begin, written in (("sha3_", "SHA3-"), ("sha512_", "SHA-512/"), ("sha", "SHA-"), ("blake2", "BLAKE2")):
        if name.startswith(begin):
            return (written + name.removeprefix(begin)).replace("_", "-")
    return name.upper()


@lru_cache(128)
def digests(size: int, key: bytes, api_key: bytes = b"", *, common: bool = False) -> tuple[Digest, ...]:
    """List the wrong digests of at least `size` bytes, the usual first; `common`: no others."""
    return tuple(_digests(size, key, api_key, common))


def _digests(size: int, key: bytes, api_key: bytes, common: bool) -> Iterator[Digest]:
    exact = FAMILIES.get(size, ())[: 1 if common else None]
    longer: tuple[str, ...] = ("sha512", "sha384")
    if size <= 32:
        longer = ("sha256", "sha512", "sha384", "sha1", "md5", "sha224")
    longer = longer[:1] if common else longer
    for name in dict.fromkeys((*exact, *longer)):
        start = hash_of(name)
        if start is None or start().digest_size < size:
            continue
        usual = name in (*exact[:1], "sha256")
        # The length of a signature hides nothing: a longer digest was truncated.
        cut = " The digest is truncated." if start().digest_size > size else ""
        for digest in _of_hash(name, start, key, api_key, usual, common):
            if digest.mistake != "hmac-sha256":
                yield digest._replace(how=(digest.how + cut).strip()) if cut else digest
    if common:
        return
    if size <= 32:
        yield Digest("hmac-sha3", 4, lambda text: hashlib.blake2s(text, key=key[:32]).digest(), "It is keyed BLAKE2s.")
        yield Digest("hmac-sha3", 4, lambda text: hashlib.blake2b(text, key=key[:64], digest_size=32).digest(),
                     "It is keyed BLAKE2b.")  # fmt: skip
    if size <= 64:
        yield Digest("hmac-sha3", 4, lambda text: hashlib.blake2b(text, key=key[:64]).digest(), "It is keyed BLAKE2b.")


def _of_hash(
    name: str, start: Callable[..., Any], key: bytes, api_key: bytes, usual: bool, common: bool
) -> Iterator[Digest]:
    known = name in _NAMED or name == "sha256"
    told = f"It is {shown(name)}."
    yield Digest(f"hmac-{name}" if known else "hmac-sha3", 2 if usual else 3, Hmac(name, key), "" if known else told)
    hashed = "" if name == "sha256" else told
    grade = 2 if usual else 4
    yield Digest("plain-hash", 1 if usual else 4, lambda text: start(text).digest(), hashed)
    appended = "v1-rule" if name == "md5" else "secret-appended"
    places = [("", grade, b"", key), ("", grade, key, b""), ("", 3 if usual else 4, key, key)]
    if not common:
        for between in _BETWEEN if usual else ():
            told_between = f"{between.decode()!r} stands between."
            seen = between in (b"&", b":", b"|", b"&secret=", b"&key=")
            places.append((told_between, 2 if between == b"&" else 3 if seen else 4, b"", between + key))
            places.append((told_between, 3 if between in b"&:" else 4, key + between, b""))
        joined = (
            (b"", api_key + key), (api_key, key), (api_key + key, b""), (key + api_key, b""), (b"", key + api_key),
            (key, api_key),
        )  # fmt: skip
        places += [("The key is hashed too.", 4, *around) for around in (joined if usual else ())]
    for place, text_grade, before, after in places:
        mistake = appended if not before and after in (key, b"&" + key) else "secret-appended"
        how = " ".join(filter(None, (hashed, place)))
        yield Digest(mistake, text_grade, _hash_around(start, before, after), how)
    yield Digest("message-and-secret-swapped", grade, lambda text: Hmac(name, text)(key), hashed)
    if usual and not common:
        yield from _nested(name, start, key, hashed)
        yield from _of_their_own(name, start, key)


def _hash_around(start: Callable[..., Any], before: bytes, after: bytes) -> Mac:
    return lambda text: start(before + text + after).digest()


def _chain(first: Mac, form: Callable[[bytes], bytes], then: Mac) -> Mac:
    return lambda text: then(form(first(text)))


def _nested(name: str, start: Callable[..., Any], key: bytes, told: str) -> Iterator[Digest]:
    """Digests of digests."""
    mac, plain = Hmac(name, key), _hash_around(start, b"", b"")
    before, behind = _hash_around(start, key, b""), _hash_around(start, b"", key)
    forms: tuple[tuple[int, Callable[[bytes], bytes]], ...] = (
        (0, lambda digest: digest.hex().encode()), (1, bytes), (1, base64.b64encode),
        (2, lambda digest: digest.hex().upper().encode()))  # fmt: skip
    for grade, first in ((3, mac), (4, plain)):
        for more, form in forms:
            each = min(grade + more, 4)
            # An HMAC of a plain hash is `text-hashed-first`.
            thens = ((each, plain), (4, behind), (4, before), *(((each, mac),) if first is mac else ()))
            yield from (Digest("digest-twice", rare, _chain(first, form, then), told) for rare, then in thens)
    for other in ("sha256", "sha512", "sha1", "md5"):
        outer = hash_of(other)
        if other != name and outer is not None:
            for first, then in (
                (Hmac(other, key), plain),
                (_hash_around(outer, b"", b""), plain),
                (Hmac(other, key), mac),
            ):
                for _more, form in forms[:2]:
                    yield Digest("digest-twice", 4, _chain(first, form, then), told)


def _of_their_own(name: str, start: Callable[..., Any], key: bytes) -> Iterator[Digest]:
    """HMACs that are written by hand, and wrongly."""
    block = _BLOCKS.get(name, 64)
    short = key if len(key) <= block else start(key).digest()
    padded = short.ljust(block, b"\0")
    inner, outer = padded.translate(_XOR[0x36]), padded.translate(_XOR[0x5C])

    def made(inner: bytes, outer: bytes, in_hex: bool = False) -> Mac:
        def mac(text: bytes) -> bytes:
            first = start(inner + text)
            digest: bytes = start(outer + (first.hexdigest().encode() if in_hex else first.digest())).digest()
            return digest

        return mac

    for how, mac in (
        ("The inner digest is joined as hex text.", made(inner, outer, True)),
        ("Inner and outer pad are exchanged.", made(outer, inner)),
        ("The inner pad is used twice.", made(inner, inner)),
        ("The outer pad is used twice.", made(outer, outer)),
        ("The key is not padded.", made(short.translate(_XOR[0x36]), short.translate(_XOR[0x5C]))),
        ("The key is not padded, and the inner digest is joined as hex text.",
         made(short.translate(_XOR[0x36]), short.translate(_XOR[0x5C]), True)),
        ("The pads are left out.", made(padded, padded)),
        ("The pads are left out.", made(key, key)),
        ("The pads are left out.", made(key, key, True)),
        ("The outer hash is left out.", lambda text: start(inner + text).digest()),
        ("The pads stand behind.", lambda text: start(start(text + inner).digest() + outer).digest()),
        ("The block has the wrong size.", Hmac(name, key, 192 - block)),
        ("The block has the wrong size.", Hmac(name, key, 32) if len(key) <= 32 else Hmac(name, key, 136)),
    ):  # fmt: skip
        yield Digest("hmac-built-wrongly", 4, mac, how)
