"""The search for what a wrong signer did: no wrong choice is tried, then one, then two, until the signature fits.

A hash cannot be run backwards, so every candidate costs one digest, and the order decides what is found in time:

1. The header is read in every way that it may have been written (`signature_text`): that stage costs nothing. The
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
from typing import Any, NamedTuple, Protocol, TypeAlias

from tn_contract import signers_fields, signers_text, signers_v3, signers_wraps
from tn_contract.digests import FAMILIES, Hmac, Mac, digests
from tn_contract.signature_text import WRITINGS, Reading, read_signature
from tn_contract.signers import Case, Text, as_texts, encoded, gap_of, sorted_tree, stamps_of, written
from tn_contract.signers_keys import Key, secrets
from tn_contract.signers_numbers import numbers_changed
from tn_contract.signers_v3 import CaseV3
from tn_contract.signing import ENCODING, ERRORS, Credentials
from tn_contract.wire import Nested

# A longer string is searched for single mistakes only: each try costs its length.
_LONG = 2000
# The grade of what is hardly ever seen.
_RARE = 4


class Depth(NamedTuple):
    """How far a search goes: what the grades of two mistakes may add up to, and how many digests it may take."""

    grades: int
    most: int


# While a mock answers, and when a developer asks about one request.
QUICK, THOROUGH = Depth(4, 16_000), Depth(6, 600_000)

# A string that may have been signed: one or two mistakes ("" where there is one; ids joined by blanks), their grade
# (0: a pair), the text, None where it cannot be, and sentences with the particulars of each. Flat and of plain texts,
# so that thousands of them do not keep the garbage collector busy.
Written: TypeAlias = "tuple[str, str, int, Text | None, str, str]"
# A digest under a key: the mistakes, sentences, the digest, and the strings to try it on.
Attempt: TypeAlias = "tuple[str, str, Mac, Iterable[Written]]"


class Finding(NamedTuple):
    """What was found: the mistakes, what was signed (the secret may stand in it), sentences with the particulars."""

    mistakes: tuple[str, ...]
    signed: str
    details: tuple[str, ...] = ()


class Texts(Protocol):
    """The strings that a wrong signer may have signed, by number of wrong choices."""

    def singles(self) -> Iterator[Written]:
        """Strings with one wrong choice, None where that cannot apply."""

    def pairs(self) -> Iterator[Written]:
        """Strings with two wrong choices; asked for when all singles are made."""


def beside(choices: Iterable[Any], most: int) -> dict[int, list[Any]]:
    """For each grade, the choices that are tried together with one of it."""
    known = list(choices)
    return {grade: [choice for choice in known if choice[1] + grade <= most] for grade in (0, 1, 2, 3, 4)}


class TextsV2:
    """The strings of a v2 request: fields → order → form → numbers → wrapping."""

    def __init__(self, case: Case, most: int) -> None:
        self._case, self._most = case, most
        # What pairs start from: changed fields (as they came, and sorted), and texts before numbers and wrapping.
        self._trees: list[tuple[str, int, Nested, Nested, str]] = []
        self._formed: list[Written] = []

    def singles(self) -> Iterator[Written]:
        """Change one stage."""
        case = self._case
        right = case.expected
        seen = {right}
        for each in self._first_stages():
            text = each[3]
            if text is not None and text not in seen:
                seen.add(text)  # type: ignore[arg-type]
                if each[2] < self._most:
                    self._formed.append(each)
                yield each
        self._swaps = [*self._inner(), *((name, number, [(*other, "") for other in others])
                                         for name, number, others in numbers_changed(case))]  # fmt: skip
        for name, number, others in self._swaps:
            if gap := gap_of(right, name, number):
                before, after = gap
                for mistake, grade, text, how in others:
                    yield mistake, "", grade, before + text + after, how, ""
        self._wraps = []
        for choice in signers_wraps.wrappings(case):
            mistake, grade, wrap, how = choice
            if grade < self._most:
                self._wraps.append(choice)
            yield mistake, "", grade, wrap(right), how, ""

    def _inner(self) -> Iterator[tuple[str, str, list[tuple[str, int, str, str]]]]:
        """Write params otherwise: a part of the text that is replaced, as numbers are."""
        params = self._case.fields.get("params")
        if isinstance(params, dict) and params:
            ordered = sorted_tree(params)
            forms = [(mistake, grade, form(ordered), how) for mistake, grade, form, how in signers_text.INNER_FORMS]
            yield "params=", written(ordered), forms

    def _first_stages(self) -> Iterator[Written]:
        """Change fields, order or form."""
        case = self._case
        tree, inner = case.fields, sorted_tree(case.fields)
        self._changes = signers_fields.changes(case)
        for mistake, grade, change, how in self._changes:
            changed = change(tree)
            if changed is not None:
                ordered = sorted_tree(changed)
                if grade < self._most:
                    self._trees.append((mistake, grade, changed, ordered, how))
                yield mistake, "", grade, written(ordered), how, ""
        # Changed when all was sorted already, as where a field is put behind the others.
        for mistake, grade, change, how in self._changes:
            changed = change(inner) if mistake in signers_fields.NAMES_CHANGED else None
            if changed is not None:
                yield mistake, "", max(grade, 3), written(changed), how, ""
        self._orders = signers_fields.orders(case)
        for mistake, grade, arrange, how in self._orders:
            arranged = arrange(tree)
            if arranged is not None:
                yield mistake, "", grade, written(arranged), how, ""
        self._forms = [*signers_text.FORMS, *signers_text.messages(case)]
        for mistake, grade, form, how in self._forms:
            yield mistake, "", grade, form(inner), how, ""
        # The body as it is sent has two mistakes, and yet is what comes to mind first.
        yield "unsorted", "percent-encoded", 1, signers_text.AS_SENT(tree), "", ""

    def pairs(self) -> Iterator[Written]:
        """Change two stages."""
        most = self._most
        wraps = beside(self._wraps, most)
        yield from self._of_fields(most)
        yield from self._of_orders(most)
        swaps = [(name, part, beside(others, most)) for name, part, others in self._swaps]
        for first, second, grade, text, how, _more in self._formed:
            wrong = f"{first} {second}" if second else first
            for name, part, others in swaps:
                if others[grade] and (gap := gap_of(text, name, part)):  # type: ignore[arg-type]
                    before, after = gap
                    for mistake, _grade, other, more in others[grade]:
                        yield wrong, mistake, 0, before + other + after, how, more
            for mistake, _grade, wrap, more in wraps[grade]:
                yield wrong, mistake, 0, wrap(text), how, more
        yield from self._of_swaps(most)
        right = self._case.expected
        for wrong, grade, wrap, how in self._wraps:
            once = wrap(right) if wraps[grade] else None
            if isinstance(once, str):
                for mistake, _grade, again, more in wraps[grade]:
                    if mistake != wrong:
                        yield wrong, mistake, 0, again(once), how, more

    def _of_fields(self, most: int) -> Iterator[Written]:
        forms = beside(self._forms, most)
        # Two changes of the fields themselves are made together less often, and cost more.
        changes, orders = (beside(each, most - 1) for each in (self._changes, self._orders))
        for wrong, grade, given, ordered, how in self._trees:
            for mistake, _grade, form, more in forms[grade]:
                yield wrong, mistake, 0, form(ordered), how, more
            for mistake, _grade, arrange, more in orders[grade]:
                arranged = arrange(given)
                if arranged is not None:
                    yield wrong, mistake, 0, written(arranged), how, more
            for mistake, _grade, change, more in changes[grade]:
                changed = change(given) if mistake > wrong else None
                if changed is not None:
                    yield wrong, mistake, 0, written(sorted_tree(changed)), how, more

    def _of_orders(self, most: int) -> Iterator[Written]:
        forms = beside(self._forms, most)
        for wrong, grade, arrange, how in self._orders:
            if forms[grade] and (ordered := arrange(self._case.fields)) is not None:
                for mistake, _grade, form, more in forms[grade]:
                    yield wrong, mistake, 0, form(ordered), how, more
        # Maps are printed as they were built, the whole request too: rare forms come unsorted most often.
        for mistake, grade, form, how in self._forms:
            if grade == _RARE and mistake.startswith("request-"):
                yield "unsorted", mistake, 0, form(self._case.fields), how, ""

    def _of_swaps(self, most: int) -> Iterator[Written]:
        wraps = beside(self._wraps, most)
        for index, (name, part, choices) in enumerate(self._swaps):
            gap = gap_of(self._case.expected, name, part) or ("", "")
            later = [(other_name, other, beside(others, most)) for other_name, other, others in self._swaps[index + 1 :]]
            for wrong, grade, changed, how in choices:
                text = gap[0] + changed + gap[1] if wraps[grade] else ""
                for mistake, _grade, wrap, more in wraps[grade]:
                    yield wrong, mistake, 0, wrap(text), how, more
                for other_name, other, others in later:
                    text = gap[0] + changed + gap[1]
                    if others[grade] and (second := gap_of(text, other_name, other)):
                        for mistake, _grade, another, more in others[grade]:
                            yield wrong, mistake, 0, second[0] + another + second[1], how, more


class TextsV3:
    """The strings of a v3 request: body, timestamp → join → wrapping."""

    def __init__(self, case: CaseV3, most: int) -> None:
        self._case, self._most = case, most

    def singles(self) -> Iterator[Written]:
        """Change one stage."""
        case = self._case
        body, stamp = case.text, case.stamp
        self._bodies, self._stamps = list(signers_v3.bodies(case)), list(signers_v3.stamps(case))
        self._joins, self._wraps = list(signers_v3.joins(case)), list(signers_wraps.wrappings(case))
        self._formed = [(wrong, grade, join(body, stamp), how) for wrong, grade, join, how in self._joins]
        self._formed += [(wrong, grade, other + stamp, how) for wrong, grade, other, how in self._bodies]
        self._formed += [(wrong, grade, body + other, how) for wrong, grade, other, how in self._stamps]
        self._formed += signers_v3.wholes(case)
        # The simpler explanation first.
        self._formed.sort(key=lambda each: (" " in each[0], each[1]))
        for wrong, grade, text, how in self._formed:
            yield wrong, "", grade, text, how, ""
        for mistake, grade, wrap, how in self._wraps:
            yield mistake, "", grade, wrap(case.expected), how, ""

    def pairs(self) -> Iterator[Written]:
        """Change two stages."""
        case = self._case
        stamps, joins, wraps = (beside(each, self._most) for each in (self._stamps, self._joins, self._wraps))
        for wrong, grade, body, how in self._bodies:
            for second, _grade, stamp, more in stamps[grade]:
                yield wrong, second, 0, body + stamp, how, more
            for second, _grade, join, more in joins[grade]:
                yield wrong, second, 0, join(body, case.stamp), how, more
        for wrong, grade, stamp, how in self._stamps:
            for second, _grade, join, more in joins[grade]:
                yield wrong, second, 0, join(case.text, stamp), how, more
        for wrong, grade, text, how in self._formed:
            for mistake, _grade, wrap, more in wraps[grade]:
                yield wrong, mistake, 0, wrap(text), how, more
        for text in signers_v3.in_any_millisecond(case):
            yield "timestamp-in-other-unit", "", 0, text, "", ""


class Search:
    """What one case's signer may have signed; what is alike with one wrong choice is listed once.

    `again`: texts with one wrong choice will be asked for more than once, so all are kept. Otherwise only those are
    that pairs are made of, because what is kept costs more than what is made.
    """

    def __init__(self, case: Case, most: int, *, again: bool = False) -> None:
        self.case = case
        self._keep = _RARE + 1 if again else most
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
    several = sum(not reading.doubtful for reading in readings) > 1
    search = Search(case, depth.grades, again=several or any(reading.size != 32 for reading in readings))
    for number, reading in enumerate(readings):
        # The first reading is the likely one: only under it two wrong choices are tried.
        if not reading.doubtful:
            found = _find(search, reading, Depth(0, depth.most) if number else depth)
            if found:
                return found, search.tried
    return None, search.tried


def _damaged(received: str, right: str) -> bool:
    """A few digits differ, or one is missing or too many: no digest gives that by chance."""
    if len(received) == len(right):
        return 0 < sum(map(str.__ne__, received, right)) <= 4
    begin = next((at for at, (a, b) in enumerate(zip(received, right, strict=False)) if a != b), len(received))
    longer, shorter = sorted((received, right), key=len, reverse=True)
    return len(longer) - len(shorter) == 1 and begin < len(shorter) and longer[begin + 1 :] == shorter[begin:]


def _unkeyed() -> Any:
    raise AssertionError


def _find(search: Search, reading: Reading, depth: Depth) -> Finding | None:
    matches, tried = reading.matches, search.tried
    exact = reading.exact
    for mistakes, told, mac, texts in _attempts(search, reading.size, depth.grades):
        # The loop that all the time goes into: an HMAC is taken and compared here, without a call.
        keyed = isinstance(mac, Hmac) and mac.size == len(exact)
        inner, outer = (mac.inner, mac.outer) if isinstance(mac, Hmac) else (_unkeyed, _unkeyed)
        for first, second, _grade, text, how, more in texts:
            if text is None:
                continue
            tried += 1
            raw = text.encode(ENCODING, ERRORS) if type(text) is str else text
            if keyed:
                once, twice = inner(), outer()
                once.update(raw)
                twice.update(once.digest())
                fits = twice.digest() == exact
            else:
                fits = matches(mac(raw))
            if fits:
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
    for wrong in secrets(case):
        if (key := encoded(wrong.key)) != secret:
            keys.setdefault(key, wrong)
    for named, name, mac in macs:
        for key, wrong in keys.items():
            yield f"{wrong.mistake} {named}", wrong.how, Hmac(name, key), right
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
