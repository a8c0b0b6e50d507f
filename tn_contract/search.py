"""The search for what a wrong signer did: no wrong choice is tried, then one, then two, until the signature fits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from tn_contract import signers, signers_v3
from tn_contract.digests import SIZES, WRITINGS, Mac, Reading, digests, mac_of, read_signature, secrets
from tn_contract.signers import Case, as_texts, encoded, gap_of, stamps_of, written
from tn_contract.signers_v3 import CaseV3
from tn_contract.signing import ENCODING, ERRORS, Credentials
from tn_contract.wire import Nested

# Two wrong choices are tried together when their grades add up to no more than this: a search that finds nothing
# takes about 5 ms then.
_GRADES = 4
# Fewer with other keys and digests, and in v3, where each stage has many common choices.
_FEWER = 3
# A longer string is searched for single mistakes only: each try costs its length.
_LONG = 2000

# A string that may have been signed: the mistakes, their grade (0: a pair), the text, None where it cannot be.
Written: TypeAlias = "tuple[tuple[str, ...], int, signers.Text | None]"
# The same as bytes.
Signed: TypeAlias = "tuple[tuple[str, ...], int, bytes]"


class Finding(NamedTuple):
    """What was found: the mistakes and what was signed (the secret may stand in it)."""

    mistakes: tuple[str, ...]
    signed: str


class Texts(Protocol):
    """The strings that a wrong signer may have signed, by number of wrong choices."""

    def singles(self) -> Iterator[Written]:
        """Strings with one wrong choice, None where that cannot apply."""

    def pairs(self) -> Iterator[Written]:
        """Strings with two wrong choices; asked for when all singles are made."""


def beside(choices: Iterable[Any], most: int = _GRADES) -> dict[int, list[Any]]:
    """For each grade, the choices that are tried together with one of it."""
    known = list(choices)
    return {grade: [choice for choice in known if choice[1] + grade <= most] for grade in (1, 2, 3, 4)}


class TextsV2:
    """The strings of a v2 request: fields → order → form → numbers → wrapping."""

    def __init__(self, case: Case) -> None:
        self._case = case
        # What pairs start from: changed fields (as they came, and sorted), and texts before numbers and wrapping.
        self._trees: list[tuple[str, int, Nested, Nested]] = []
        self._formed: list[tuple[tuple[str, ...], int, str]] = []

    def singles(self) -> Iterator[Written]:
        """Change one stage."""
        case = self._case
        tree, right = case.fields, case.expected
        self._changes = signers.changes(case)
        seen = {right}

        def formed(mistakes: tuple[str, ...], grade: int, text: str | None) -> str | None:
            if text is None or text in seen:
                return None
            seen.add(text)
            self._formed.append((mistakes, grade, text))
            return text

        for mistake, grade, change in self._changes:
            changed = change(tree)
            if changed is not None:
                ordered = signers.sorted_tree(changed)
                self._trees.append((mistake, grade, changed, ordered))
                yield (mistake,), grade, formed((mistake,), grade, written(ordered))
        self._orders = signers.orders(case)
        for mistake, grade, arrange in self._orders:
            yield (mistake,), grade, formed((mistake,), grade, written(arrange(tree)))
        inner = signers.sorted_tree(tree)
        self._forms = [*signers.FORMS, *signers.messages(case)]
        for mistake, grade, form in self._forms:
            yield (mistake,), grade, formed((mistake,), grade, form(inner))
        # The body as it is sent has two mistakes, and yet is what comes to mind first.
        both = ("unsorted", "percent-encoded")
        yield both, 1, formed(both, 1, signers.AS_SENT(tree))
        self._swaps = list(signers.numbers_changed(case))
        for name, number, others in self._swaps:
            if gap := gap_of(right, name, number):
                for mistake, grade, text in others:
                    yield (mistake,), grade, gap[0] + text + gap[1]
        self._wraps = list(signers.wrappings(case))
        for mistake, grade, wrap in self._wraps:
            yield (mistake,), grade, wrap(right)

    def pairs(self) -> Iterator[Written]:
        """Change two stages."""
        tree = self._case.fields
        changes, orders, forms, wraps = map(beside, (self._changes, self._orders, self._forms, self._wraps))
        swaps = [(name, number, beside(others)) for name, number, others in self._swaps]
        for wrong, grade, given, ordered in self._trees:
            for mistake, _grade, form in forms[grade]:
                yield (wrong, mistake), 0, form(ordered)
            for mistake, _grade, arrange in orders[grade]:
                yield (wrong, mistake), 0, written(arrange(given))
            for mistake, _grade, change in changes[grade]:
                changed = change(given) if mistake > wrong else None
                if changed is not None:
                    yield (wrong, mistake), 0, written(signers.sorted_tree(changed))
        for wrong, grade, arrange in self._orders:
            if forms[grade]:
                ordered = arrange(tree)
                for mistake, _grade, form in forms[grade]:
                    yield (wrong, mistake), 0, form(ordered)
        for wrongs, grade, text in self._formed:
            for name, number, others in swaps:
                if others[grade] and (gap := gap_of(text, name, number)):
                    for mistake, _grade, other in others[grade]:
                        yield (*wrongs, mistake), 0, gap[0] + other + gap[1]
            for mistake, _grade, wrap in wraps[grade]:
                yield (*wrongs, mistake), 0, wrap(text)
        right = self._case.expected
        for index, (name, number, choices) in enumerate(self._swaps):
            gap = gap_of(right, name, number) or ("", "")
            for wrong, grade, changed_number in choices:
                if wraps[grade]:
                    text = gap[0] + changed_number + gap[1]
                    for mistake, _grade, wrap in wraps[grade]:
                        yield (wrong, mistake), 0, wrap(text)
                    for name, number, others in swaps[index + 1 :]:
                        if second := gap_of(text, name, number):
                            for mistake, _grade, other in others[grade]:
                                yield (wrong, mistake), 0, second[0] + other + second[1]
        for wrong, grade, wrap in self._wraps:
            for mistake, _grade, again in wraps[grade]:
                once = wrap(right) if mistake != wrong else None
                if isinstance(once, str):
                    yield (wrong, mistake), 0, again(once)


class TextsV3:
    """The strings of a v3 request: body, timestamp → join → wrapping."""

    def __init__(self, case: CaseV3) -> None:
        self._case = case

    def singles(self) -> Iterator[Written]:
        """Change one stage."""
        case = self._case
        body, stamp = case.text, case.stamp
        self._bodies, self._stamps = list(signers_v3.bodies(case)), list(signers_v3.stamps(case))
        self._joins, self._wraps = list(signers_v3.joins(case)), list(signers.wrappings(case))
        self._formed = [(wrong, grade, join(body, stamp)) for wrong, grade, join in self._joins]
        self._formed += [(wrong, grade, other + stamp) for wrong, grade, other in self._bodies]
        self._formed += [(wrong, grade, body + other) for wrong, grade, other in self._stamps]
        self._formed += signers_v3.wholes(case)
        yield from self._formed
        for mistake, grade, wrap in self._wraps:
            yield (mistake,), grade, wrap(case.expected)

    def pairs(self) -> Iterator[Written]:
        """Change two stages."""
        case = self._case
        stamps, joins, wraps = (beside(each, _FEWER) for each in (self._stamps, self._joins, self._wraps))
        for wrong, grade, body in self._bodies:
            for second, _grade, stamp in stamps[grade]:
                yield (*wrong, *second), 0, body + stamp
            for second, _grade, join in joins[grade]:
                yield (*wrong, *second), 0, join(body, case.stamp)
        for wrong, grade, stamp in self._stamps:
            for second, _grade, join in joins[grade]:
                yield (*wrong, *second), 0, join(case.text, stamp)
        for wrong, grade, text in self._formed:
            for mistake, _grade, wrap in wraps[grade]:
                yield (*wrong, mistake), 0, wrap(text)
        for text in signers_v3.in_any_millisecond(case):
            yield ("timestamp-in-other-unit",), 0, text


class Search:
    """What one case's signer may have signed, as bytes; what is alike is listed once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.right: Signed = ((), 0, encoded(case.expected))
        self._texts: Texts = TextsV3(case) if isinstance(case, CaseV3) else TextsV2(case)
        self._seen = {self.right[2]}
        self._made: list[Signed] = []
        self._making = self._new(self._texts.singles())

    def _new(self, texts: Iterable[Written]) -> Iterator[Signed]:
        seen = self._seen
        for mistakes, grade, text in texts:
            if text is not None:
                raw = text if type(text) is bytes else text.encode(ENCODING, ERRORS)  # type: ignore[union-attr]
                if raw not in seen:
                    seen.add(raw)
                    yield mistakes, grade, raw

    def singles(self) -> Iterator[Signed]:
        """Texts with one wrong choice, made when they are asked for."""
        yield from self._made
        for each in self._making:
            self._made.append(each)
            yield each

    def pairs(self) -> Iterator[Signed]:
        """Texts with two wrong choices; those with one are tried before. To be asked for once."""
        return self._new(self._texts.pairs())


def find(case: Case, received: str) -> Finding | None:
    """Find what the client signed, and how: None when no wrong choice, nor any two, give what was received.

    A right signature that is written wrongly has the mistakes of its writing.
    """
    readings = read_signature(received)
    right = mac_of("sha256", encoded(case.secret))(encoded(case.expected))
    for reading in readings:
        if reading.matches(right):
            cut = ("truncated",) if reading.size < 32 else ()
            return Finding(tuple(dict.fromkeys((*reading.mistakes, *cut))), case.expected)
    if _damaged(received.strip(), right.hex()):
        return Finding(("signature-damaged",), case.expected)
    search = Search(case)
    for number, reading in enumerate(readings):
        # The first reading is the likely one: only under it two wrong choices are tried.
        found = None if reading.doubtful else _find(search, reading, 1 if number else 2)
        if found:
            return found
    return None


def _damaged(received: str, right: str) -> bool:
    """A few digits differ, or one is missing or too many: no digest gives that by chance."""
    if len(received) == len(right):
        return 0 < sum(map(str.__ne__, received, right)) <= 4
    begin = next((at for at, (a, b) in enumerate(zip(received, right, strict=False)) if a != b), len(received))
    longer, shorter = sorted((received, right), key=len, reverse=True)
    return len(longer) - len(shorter) == 1 and begin < len(shorter) and longer[begin + 1 :] == shorter[begin:]


def _find(search: Search, reading: Reading, most: int) -> Finding | None:
    matches = reading.matches
    for mistakes, mac, texts in _attempts(search, reading.size, most):
        for wrong, _grade, text in texts:
            if matches(mac(text)):
                named = dict.fromkeys((*wrong, *mistakes, *reading.mistakes))
                return Finding(tuple(named), text.decode(ENCODING, ERRORS))
    return None


def _attempts(search: Search, size: int, most: int) -> Iterator[tuple[tuple[str, ...], Mac, Iterable[Signed]]]:
    """Digests under keys and the texts to try them on, first with one wrong choice, then with two."""
    case = search.case
    secret, right = encoded(case.secret), [search.right]
    # The length tells the digest, so the search goes on under it as if it were the right one.
    name = SIZES.get(size, "sha256")
    told: dict[str, tuple[str, ...]] = {name: () if name == "sha256" else (f"hmac-{name}",)}
    if size < 32:
        told["sha256"] = ("truncated",)
    macs = [(named, name, mac_of(name, secret)) for name, named in told.items()]
    for named, _name, mac in macs:
        yield named, mac, right
    wrong_digests = list(digests(size, secret))
    for mistake, _grade, digest in wrong_digests:
        yield (mistake,), digest, right
    keys: dict[bytes, tuple[str, int]] = {}
    for mistake, grade, wrong in secrets(case):
        if wrong is not None and (key := encoded(wrong)) != secret:
            keys.setdefault(key, (mistake, grade))
    under = {(key, name): mac_of(name, key) for key in keys for name in told}
    for named, name, mac in macs:
        for key, (mistake, _grade) in keys.items():
            yield (mistake, *named), under[key, name], right
        yield named, mac, search.singles()
    if most == 1 or len(search.right[2]) > _LONG:
        return
    again = beside(search.singles(), _FEWER if isinstance(case, CaseV3) else _GRADES)
    for key, (mistake, grade) in keys.items():
        if grade < 3:
            for wrong_digest, other, digest in digests(size, key):
                if other == 2:
                    yield (mistake, wrong_digest), digest, right
    for mistake, grade, digest in wrong_digests:
        yield (mistake,), digest, again[grade]
    for named, name, _mac_of_secret in macs:
        for key, (mistake, grade) in keys.items():
            if again[grade]:
                yield (mistake, *named), under[key, name], again[grade]
    pairs = list(search.pairs()) if len(macs) > 1 or size == 16 else search.pairs()  # MD5's
    for named, _name, mac in macs:
        yield named, mac, pairs
    if size == 16:  # v1 itself is without key and separators
        yield ("v1-rule",), lambda text: hashlib.md5(text + secret).digest(), pairs  # noqa: S324 # its rule


def wrong_signatures(fields: Mapping[str, Any], credentials: Credentials) -> Iterator[tuple[str, str]]:
    """What each single mistake makes of a v2 request: its id and the signature that a client would send.

    An id comes once for each of its variants; whatever gives the right signature is left out.
    """
    yield from _wrong_signatures(Case(as_texts(dict(fields)), credentials, stamps=stamps_of(fields)))


def _wrong_signatures(case: Case) -> Iterator[tuple[str, str]]:
    secret, message = encoded(case.secret), encoded(case.expected)
    mac = mac_of("sha256", secret)

    def candidates() -> Iterator[tuple[str, str]]:
        for mistakes, _grade, text in Search(case).singles():
            yield mistakes[0], mac(text).hex()
        for mistake, _grade, key in secrets(case):
            if key is not None:
                yield mistake, mac_of("sha256", encoded(key))(message).hex()
        for size in SIZES:
            for mistake, _grade, digest in digests(size, secret):
                yield mistake, digest(message).hex()
        for mistake, write in WRITINGS.items():
            yield mistake, write(mac(message))

    seen = {mac(message).hex()}
    for mistake, signature in candidates():
        if signature not in seen:
            seen.add(signature)
            yield mistake, signature
