"""The search for what a wrong signer did: no wrong choice is tried, then one, then two, until the signature fits.

A hash cannot be run backwards, so every candidate costs one digest, and the order decides what is found in time:

1. The header is read in every way that it may have been written (`signers/writings.py`): that stage costs nothing. The
   number of bytes tells the hash.
2. One wrong choice: each wrong digest and each wrong key on the right string, then each wrong string.
3. Two wrong choices, in every pair of stages, as far as their grades add up to little: what is seen every day is
   tried with all that is not rare, what is seldom with what is seen every day.

Equal strings are tried once. A pair of key or digest with a string needs no new string. The search ends after
`_MOST` digests, not after a time, so that it finds the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from tn_contract.candidates import RARE, Texts, TextsV2, TextsV3, Written, beside
from tn_contract.digests import FAMILIES, Hmac, Mac, digests
from tn_contract.signers import Case, as_texts, encoded, stamps_of
from tn_contract.signers.keys import Key, secrets
from tn_contract.signers.writings import WRITINGS, Reading, read_signature
from tn_contract.signers_v3 import CaseV3
from tn_contract.signing import ENCODING, ERRORS, Credentials

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

# A digest under a key: the mistakes, sentences, the digest, and the strings to try it on.
Attempt: TypeAlias = "tuple[str, str, Mac, Iterable[Written]]"


class Finding(NamedTuple):
    """What was found: the mistakes, what was signed (the secret may stand in it), sentences with the particulars."""

    mistakes: tuple[str, ...]
    signed: str
    details: tuple[str, ...] = ()


class Search:
    """What one case's signer may have signed; what is alike with one wrong choice is listed once.

    `again`: texts with one wrong choice will be asked for more than once, so all are kept. Otherwise only those are
    that pairs are made of, because what is kept costs more than what is made.
    """

    def __init__(self, case: Case, most: int, *, again: bool = False) -> None:
        self.case = case
        self._keep = RARE + 1 if again else most
        self.right: Written = ("", "", 0, encoded(case.expected), "", "")
        self.tried = 0  # digests taken
        self._texts: Texts = TextsV3(case, most) if isinstance(case, CaseV3) else TextsV2(case, most)
        self._made: list[Written] = []
        self._making = self._new_singles()

    def _new_singles(self) -> Iterator[Written]:
        seen = {encoded(self.case.expected)}
        for first, second, grade, text, how, more in self._texts.singles():
            if text is not None:
                raw = text if type(text) is bytes else text.encode(ENCODING, ERRORS)  # type: ignore[union-attr]
                if raw not in seen:
                    seen.add(raw)
                    yield first, second, grade, raw, how, more

    def singles(self) -> Iterator[Written]:
        """Texts with one wrong choice, made when they are asked for."""
        yield from self._made
        for each in self._making:
            if each[2] < self._keep:
                self._made.append(each)
            yield each

    def pairs(self) -> Iterator[Written]:
        """Texts with two wrong choices; those with one are tried before."""
        return self._texts.pairs()


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
    again = len(groups) > 1 or any(group[0].size != 32 for group in groups)
    search = Search(case, depth.grades, again=again)
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


def _unkeyed() -> Any:
    raise AssertionError


def _find(search: Search, readings: list[Reading], depth: Depth) -> Finding | None:
    reading, tried = readings[0], search.tried
    matches, size = reading.matches, reading.size
    targets = {each.exact: each for each in reversed(readings) if each.exact}
    for mistakes, told, mac, texts in _attempts(search, size, depth.grades):
        # The loop that all the time goes into: an HMAC is taken and compared here, without a call.
        keyed = isinstance(mac, Hmac) and mac.size == size and bool(targets)
        inner, outer = (mac.inner, mac.outer) if isinstance(mac, Hmac) else (_unkeyed, _unkeyed)
        for first, second, _grade, text, how, more in texts:
            if text is None:
                continue
            tried += 1
            raw = text.encode(ENCODING, ERRORS) if isinstance(text, str) else text
            if keyed:
                once, twice = inner(), outer()
                once.update(raw)
                twice.update(once.digest())
                digest = twice.digest()
                fits = digest in targets
            else:
                digest = mac(raw)
                fits = digest in targets or matches(digest)
            if fits:
                reading = targets.get(digest, reading)
                search.tried = tried
                named = dict.fromkeys((*first.split(), *second.split(), *mistakes.split(), *reading.mistakes))
                details = dict.fromkeys(filter(None, (how, more, told)))
                return Finding(tuple(named), encoded(text).decode(ENCODING, ERRORS), tuple(details))
        if tried > depth.most:
            break
    search.tried = tried
    return None


def _attempts(search: Search, size: int, most: int) -> Iterator[Attempt]:
    """Digests under keys and the texts to try them on, first with one wrong choice, then with two."""
    case = search.case
    secret, api_key, right = encoded(case.secret), encoded(case.key), [search.right]
    macs = _hmacs(size, secret)
    for named, _name, mac in macs:
        yield named, "", mac, right
    wrong_digests = list(digests(size, secret, api_key))
    for mistake, _grade, digest, how in wrong_digests:
        yield mistake, how, digest, right
    keys: dict[bytes, Key] = {}
    source = secrets(case)
    # The usual keys, then all strings, then the other keys.
    for batch in (_USUAL_KEYS, None):
        fresh = {encoded(wrong.key): wrong for wrong in reversed(list(islice(source, batch)))}
        fresh = {key: wrong for key, wrong in reversed(fresh.items()) if key != secret and key not in keys}
        keys |= fresh
        for named, name, _mac_of_secret in macs:
            for key, wrong in fresh.items():
                yield f"{wrong.mistake} {named}", wrong.how, Hmac(name, key), right
        if batch:
            for named, _name, mac in macs:
                yield named, "", mac, search.singles()
    if not most or len(case.expected) > _LONG:
        return
    again = beside([(each[0], each[2], each) for each in search.singles()], most)
    strings = {grade: [each for _first, _grade, each in chosen] for grade, chosen in again.items()}
    common = {key: wrong for key, wrong in keys.items() if strings[wrong.grade]}
    for key, wrong in common.items():
        if wrong.grade < 3:
            for mistake, other, digest, more in digests(size, key, api_key, common=True):
                if other < 3:
                    yield f"{wrong.mistake} {mistake}", f"{wrong.how} {more}".strip(), digest, right
    for mistake, grade, digest, how in wrong_digests:
        if strings[grade]:
            yield mistake, how, digest, strings[grade]
    for named, name, _mac_of_secret in macs:
        for key, wrong in common.items():
            yield f"{wrong.mistake} {named}", wrong.how, Hmac(name, key), strings[wrong.grade]
    for named, _name, mac in macs:
        yield named, "", mac, search.pairs()
    if size == 16:  # v1 itself is without key and separators
        yield "v1-rule", "", lambda text: hashlib.md5(text + secret).digest(), search.pairs()  # noqa: S324 # its rule


def _hmacs(size: int, secret: bytes) -> list[tuple[str, str, Mac]]:
    """The HMACs that the length of a signature tells: the search goes on under them as if they were right."""
    name = FAMILIES.get(size, ("sha256",))[0]
    told = {name: "" if name == "sha256" else f"hmac-{name}"}
    if size < 32:
        told["sha256"] = "truncated"
    return [(named, each, Hmac(each, secret)) for each, named in told.items()]


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
        for mistake, _second, grade, text, _how, _more in Search(case, QUICK.grades).singles():
            if usual(mistake, grade):
                yield mistake, mac(encoded(text or "")).hex()
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
