"""The search for what a wrong signer did: no wrong choice is tried, then one, then two, until the signature fits.

A hash cannot be run backwards, so every candidate costs one digest, and the order decides what is found in time:

1. The header is read in every way that it may have been written (`signers/writings.py`): that stage costs nothing. The
   number of bytes tells the hash.
2. One wrong choice: each wrong digest and each wrong key on the right string, then each wrong string.
3. Two wrong choices, in every pair of stages, as far as their grades add up to little: what is seen every day is
   tried with all that is not rare, what is seldom with what is seen every day.

Strings that differ only in values are written once for all requests (`sheets.py`). A pair of key or digest with a
string needs no new string. The search ends after a number of digests, not after a time, so that it finds the same on
every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from tn_contract.contract.signing import ENCODING, ERRORS, Credentials
from tn_contract.diagnosis.candidates import RARE, Strings, StringsV2, StringsV3
from tn_contract.diagnosis.digests import FAMILIES, Hmac, Mac, digests
from tn_contract.diagnosis.sheets import Meta, Texts
from tn_contract.diagnosis.signers import Case, as_texts, encoded, stamps_of
from tn_contract.diagnosis.signers.keys import Key, secrets
from tn_contract.diagnosis.signers.writings import WRITINGS, Reading, read_signature
from tn_contract.diagnosis.signers_v3 import CaseV3

# Of the wrong keys, how many are tried before wrong strings are.
_USUAL_KEYS = 100
# A longer string is searched for single mistakes only: each try costs its length.
_LONG = 2000


class Depth(NamedTuple):
    """How far a search goes: what the grades of two mistakes may add up to, and how many digests it may take."""

    grades: int
    most: int


# While a mock answers, and when a developer asks about one request.
QUICK, THOROUGH = Depth(4, 16_000), Depth(6, 600_000)

# A digest under a key: the mistakes (ids joined by blanks), a sentence, the digest, and the strings to try it on.
Attempt: TypeAlias = "tuple[tuple[str, ...], str, Mac, Iterable[Texts]]"


class Finding(NamedTuple):
    """What was found: the mistakes, what was signed (the secret may stand in it), sentences with the particulars."""

    mistakes: tuple[str, ...]
    signed: str
    details: tuple[str, ...] = ()


class Search:
    """What one case's signer may have signed."""

    def __init__(self, case: Case, most: int) -> None:
        self.case = case
        self.right = [Texts([encoded(case.expected)], [("", 0, "")])]
        self.tried = 0  # digests taken
        self._most = most - 1
        self._strings: Strings = StringsV3(case, most) if isinstance(case, CaseV3) else StringsV2(case, most)
        self._made: list[Texts] = []
        self._making = self._strings.singles()
        self._common: list[tuple[bytes, Meta]] = []

    def singles(self) -> Iterator[Texts]:
        """Strings with one wrong choice, made when they are asked for."""
        yield from self._made
        for texts in self._making:
            self._made.append(texts)
            yield texts

    def common(self, grade: int) -> Texts:
        """Strings with one wrong choice, up to a grade."""
        if not self._common:
            for texts in self.singles():
                self._common += [pair for pair in zip(texts.raws, texts.metas, strict=True) if pair[1][1] <= self._most]
        kept = [pair for pair in self._common if pair[1][1] <= grade]
        return Texts([raw for raw, _ in kept], [meta for _, meta in kept])

    def pairs(self) -> Iterator[Texts]:
        """Strings with two wrong choices; those with one are tried before."""
        return self._strings.pairs()


def find(case: Case, received: str, depth: Depth = QUICK) -> Finding | None:
    """Find what the client signed, and how: None when no wrong choice, nor any two, give what was received.

    A right signature that is written wrongly has the mistakes of its writing.
    """
    return find_counted(case, received, depth)[0]


def find_counted(case: Case, received: str, depth: Depth = QUICK) -> tuple[Finding | None, int]:
    """Find what the client did, and count the digests that the search took."""
    readings = read_signature(received)
    right = Hmac("sha256", encoded(case.secret))(encoded(case.expected))
    for reading in readings:
        if reading.matches(right):
            cut = ("truncated",) if reading.size < 32 else ()
            return Finding(tuple(dict.fromkeys((*reading.mistakes, *cut))), case.expected), 1
    if _damaged(received.strip(), right.hex()):
        return Finding(("signature-damaged",), case.expected), 1
    groups = _together(readings)
    search = Search(case, depth.grades)
    for number, group in enumerate(groups):
        # The first reading is the likely one: the others are searched less far.
        found = _find(search, group, depth if not number else QUICK if depth is THOROUGH else Depth(0, depth.most))
        if found:
            return found, search.tried
    return None, search.tried


def _together(readings: list[Reading]) -> list[list[Reading]]:
    """Group the readings that one pass can look for: whole digests of one size, which a set holds."""
    groups: dict[object, list[Reading]] = {}
    for number, reading in enumerate(readings):
        groups.setdefault(reading.size if reading.exact else -number - 1, []).append(reading)
    return [group for group in groups.values() if not all(reading.doubtful for reading in group)]


def _damaged(received: str, right: str) -> bool:
    """A few digits differ, or one is missing or too many: no digest gives that by chance."""
    if len(received) == len(right):
        return 0 < sum(map(str.__ne__, received, right)) <= 4
    begin = next((at for at, (a, b) in enumerate(zip(received, right, strict=False)) if a != b), len(received))
    longer, shorter = sorted((received, right), key=len, reverse=True)
    return len(longer) - len(shorter) == 1 and begin < len(shorter) and longer[begin + 1 :] == shorter[begin:]


def _first_fit(raws: Sequence[bytes], mac: Hmac, targets: Container[bytes]) -> int | None:
    """Find the first text with one of these HMACs. All the time goes into this loop: it takes them without a call."""
    inner, outer = mac.inner, mac.outer
    for at, raw in enumerate(raws):
        once, twice = inner(), outer()
        once.update(raw)
        twice.update(once.digest())
        if twice.digest() in targets:
            return at
    return None


def _first_match(
    raws: Sequence[bytes], mac: Mac, targets: Container[bytes], matches: Callable[[bytes], bool]
) -> int | None:
    for at, raw in enumerate(raws):
        digest = mac(raw)
        if digest in targets or matches(digest):
            return at
    return None


def _find(search: Search, readings: list[Reading], depth: Depth) -> Finding | None:
    matches, size, before = readings[0].matches, readings[0].size, search.tried
    targets = {each.exact: each for each in reversed(readings) if each.exact}
    for mistakes, told, mac, strings in _attempts(search, size, depth.grades):
        keyed = mac if isinstance(mac, Hmac) and mac.size == size and targets else None
        for texts in strings:
            search.tried += len(texts.raws)
            at = _first_fit(texts.raws, keyed, targets) if keyed else _first_match(texts.raws, mac, targets, matches)
            if at is not None:
                digest = mac(texts.raws[at])
                search.tried += at + 1 - len(texts.raws)
                reading = targets.get(digest, readings[0])
                raw, (mistake, _grade, how) = texts.raws[at], texts.metas[at]
                named = dict.fromkeys((*" ".join((texts.wrong, mistake, *mistakes)).split(), *reading.mistakes))
                details = dict.fromkeys(filter(None, (*texts.how.split("\n"), *how.split("\n"), *told.split("\n"))))
                return Finding(tuple(named), raw.decode(ENCODING, ERRORS), tuple(details))
        if search.tried - before > depth.most:
            break
    return None


# Half of the keys are the same for every request, and most of the others for every request of one client.
_hmac = lru_cache(4096)(Hmac)


def _attempts(search: Search, size: int, most: int) -> Iterator[Attempt]:
    """Digests under keys and the texts to try them on, first with one wrong choice, then with two."""
    case = search.case
    secret, api_key, right = encoded(case.secret), encoded(case.key), search.right
    macs = _hmacs(size, secret)
    for named, _name, mac in macs:
        yield (named,), "", mac, right
    wrong_digests = digests(size, secret, api_key)
    for mistake, _grade, digest, how in wrong_digests:
        yield (mistake,), how, digest, right
    keys: dict[bytes, Key] = {}
    source = secrets(case)
    # The usual keys, then all strings, then the other keys.
    for batch in (_USUAL_KEYS, None):
        fresh = {encoded(wrong.key): wrong for wrong in reversed(list(islice(source, batch)))}
        fresh = {key: wrong for key, wrong in reversed(fresh.items()) if key != secret and key not in keys}
        keys |= fresh
        for named, name, _mac_of_secret in macs:
            for key, wrong in fresh.items():
                yield (wrong.mistake, named), wrong.how, _hmac(name, key), right
        if batch:
            for named, _name, mac in macs:
                yield (named,), "", mac, search.singles()
    if not most or len(case.expected) > _LONG:
        return
    strings = {grade: search.common(most - grade) for grade in range(1, RARE + 2)}
    common = {key: wrong for key, wrong in keys.items() if strings[wrong.grade].raws}
    for mistake, grade, digest, how in wrong_digests:
        if strings[grade].raws:
            yield (mistake,), how, digest, [strings[grade]]
    few = most <= QUICK.grades
    for key, wrong in common.items():
        if wrong.grade < 3 or not few:
            for mistake, other, digest, more in digests(size, key, api_key, common=few or wrong.grade > 2):
                if other + wrong.grade <= most:
                    yield (wrong.mistake, mistake), f"{wrong.how}\n{more}", digest, right
    for named, name, _mac_of_secret in macs:
        for key, wrong in common.items():
            yield (wrong.mistake, named), wrong.how, _hmac(name, key), [strings[wrong.grade]]
    for named, _name, mac in macs:
        yield (named,), "", mac, search.pairs()
    if size == 16:  # v1 itself is without key and separators
        yield ("v1-rule",), "", lambda text: hashlib.md5(text + secret).digest(), search.pairs()  # noqa: S324 # its rule


def _hmacs(size: int, secret: bytes) -> list[tuple[str, str, Mac]]:
    """The HMACs that the length of a signature tells: the search goes on under them as if they were right."""
    name = FAMILIES.get(size, ("sha256",))[0]
    told = {name: "" if name == "sha256" else f"hmac-{name}"}
    if size < 32:
        told["sha256"] = "truncated"
    return [(named, each, _hmac(each, secret)) for each, named in told.items()]


def wrong_signatures(fields: Mapping[str, Any], credentials: Credentials) -> Iterator[tuple[str, str]]:
    """What each single mistake makes of a v2 request: its id and the signature that a client would send.

    An id comes once for each of its variants that are not rare; whatever gives the right signature is left out.
    """
    yield from _wrong_signatures(Case(as_texts(dict(fields)), credentials, stamps=stamps_of(fields)))


def _wrong_signatures(case: Case) -> Iterator[tuple[str, str]]:
    secret, message = encoded(case.secret), encoded(case.expected)
    mac = Hmac("sha256", secret)
    given: set[str] = set()

    def usual(mistake: str, grade: int) -> bool:
        """Whether to take a variant: each request costs the server that is judged, so of the rare ones the first."""
        first = mistake not in given
        given.add(mistake)
        return first or grade < 4

    def candidates() -> Iterator[tuple[str, str]]:
        tried = {message}
        for texts in Search(case, QUICK.grades).singles():
            for raw, (mistakes, grade, _how) in zip(texts.raws, texts.metas, strict=True):
                if raw not in tried and usual(mistake := mistakes.split()[0], grade):
                    yield mistake, mac(raw).hex()
                tried.add(raw)
        for mistake, grade, key, _how in secrets(case):
            if usual(mistake, grade):
                yield mistake, Hmac("sha256", encoded(key))(message).hex()
        for size in FAMILIES:
            for mistake, grade, digest, _how in digests(size, secret):
                if usual(mistake, grade):
                    yield mistake, digest(message).hex()
        for mistake, write in WRITINGS.items():
            yield mistake, write(mac(message))

    seen = {mac(message).hex()}
    for mistake, signature in candidates():
        if signature not in seen:
            seen.add(signature)
            yield mistake, signature
