"""The strings that a wrong signer may have signed, by number of wrong choices: stages put together.

What is cheap comes first: a part of a text is replaced where that is enough (numbers, params), what is only put beside
a text is filled into a sheet, and only what changes fields, names or order is written from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Protocol

from tn_contract.contract.signing import ENCODING, ERRORS
from tn_contract.diagnosis import signers_v3
from tn_contract.diagnosis.sheets import BODY, STAMP, WHOLE, Blank, Row, Sheet, Texts
from tn_contract.diagnosis.signers import Case, Choice, Text, encoded, gap_of, sorted_tree, written
from tn_contract.diagnosis.signers.fields import NAMES_CHANGED, changes, changes_by_request, orders, orders_by_value
from tn_contract.diagnosis.signers.numbers import numbers_changed
from tn_contract.diagnosis.signers.text import AS_SENT, DIGESTED_FORMS, FORMS, INNER_FORMS, WHOLE_FORMS, messages
from tn_contract.diagnosis.signers.wraps import additions, encodings
from tn_contract.diagnosis.signers_v3 import CaseV3

# The grade of what is hardly ever seen.
RARE = 4
# A deeper search is asked for once in a while: its pairs are written when they are tried.
_KEPT_UP_TO = 4
_AT_ONCE = 2000
_WHOLE, _BODY, _STAMP = map(encoded, (WHOLE, BODY, STAMP))


class Strings(Protocol):
    """The strings that a wrong signer may have signed, by number of wrong choices."""

    def singles(self) -> Iterator[Texts]:
        """Strings with one wrong choice."""

    def pairs(self) -> Iterator[Texts]:
        """Strings with two wrong choices; asked for when all singles are made."""


def _texts(rows: Iterable[Row], wrong: str = "", how: str = "") -> Texts:
    found = [(encoded(text), (mistake, grade, more)) for mistake, grade, text, more in rows if text is not None]
    return Texts([raw for raw, _ in found], [meta for _, meta in found], wrong, how)


def _both(first: str, second: str) -> str:
    return f"{first}\n{second}" if first and second else first or second


def _cut(rows: Iterable[Row]) -> Iterator[Texts]:
    rows = iter(rows)
    while part := list(islice(rows, _AT_ONCE)):
        yield _texts(part)


class _Stages:
    """What both generations share: what is put beside a finished string, and what is done to it."""

    def __init__(self, case: Case, most: int) -> None:
        self._most, self._blank = most, Blank(case)
        self._values = self._blank.values
        self._encodings = list(encodings(case))
        additions_of = _additions(self._blank)
        self._additions = {grade: additions_of.filled(self._values, grade) for grade in range(1, most)}
        self._all_additions = additions_of.filled(self._values)
        self._common_encodings = {
            grade: [choice for choice in self._encodings if choice.grade <= grade] for grade in range(1, most)
        }

    def around(self, expected: bytes) -> Iterator[Texts]:
        """Put one thing beside the right string, or do one thing to it."""
        yield self._all_additions.texts({_WHOLE: expected})
        yield self._encoded(expected, self._encodings)

    def _encoded(self, raw: bytes, choices: Iterable[Choice], wrong: str = "", how: str = "") -> Texts:
        text = raw.decode(ENCODING, ERRORS)
        return _texts(((mistake, grade, apply(text), more) for mistake, grade, apply, more in choices), wrong, how)

    def more_around(self, texts: Texts, *, less: int = 0) -> Iterator[Texts]:
        """Put one thing beside each text, or do one thing to it."""
        most = self._most - less
        for raw, (mistake, grade, how) in zip(texts.raws, texts.metas, strict=True):
            if 0 < most - grade < self._most:
                beside = self._additions[most - grade]
                wrong = f"{texts.wrong} {mistake}"
                yield beside.texts({_WHOLE: raw}, wrong, _both(texts.how, how))
                if usual := self._common_encodings[most - grade]:
                    yield self._encoded(raw, usual, wrong, _both(texts.how, how))


@lru_cache(32)
def _additions(blank: Blank) -> Sheet:
    return Sheet(((m, g, add(WHOLE), how) for m, g, add, how in additions(blank.case)), blank.marks)


class StringsV2(_Stages):
    """The strings of a v2 request: fields → order → form → numbers → what stands around."""

    def __init__(self, case: Case, most: int) -> None:
        super().__init__(case, most)
        self._case = case
        self._expected = encoded(case.expected)
        self._formed = _formed(self._blank)
        self._numbers = list(numbers_changed(case))
        self._own: Texts = Texts((), ())

    def singles(self) -> Iterator[Texts]:
        """Change one stage."""
        case = self._case
        self._own = _texts(_by_request(case))
        yield self._own
        yield self._formed.texts(self._values)
        for name, number, others in self._numbers:
            if gap := gap_of(case.expected, name, number):
                yield _texts((mistake, grade, gap[0] + text + gap[1], "") for mistake, grade, text in others)
        yield from self.around(self._expected)

    def pairs(self) -> Iterator[Texts]:
        """Change two stages."""
        most = self._most
        if most <= _KEPT_UP_TO:
            formed = _formed_twice(self._blank, most)
            yield formed.texts(self._values)
        else:
            yield from _cut(_pairs_of_forms(self._case, most))
        common = self._formed.below(most - 1)
        yield from _cut(self._of_request())
        for texts in (self._own, common.texts(self._values)):
            yield from self.more_around(texts)
        yield from self._of_numbers()
        for texts in self.around(self._expected):
            yield from self.more_around(texts)

    def _of_request(self) -> Iterator[Row]:
        case, most = self._case, self._most
        for wrong, grade, change, how in changes_by_request(case):
            if grade < most and (given := change(case.fields)) is not None:
                ordered = sorted_tree(given)
                for mistake, other, form, more in FORMS:
                    if grade + other <= most:
                        yield f"{wrong} {mistake}", 0, form(ordered), _both(how, more)
                for mistake, other, arrange, more in orders(case):
                    if grade + other <= most and (arranged := arrange(given)) is not None:
                        yield f"{wrong} {mistake}", 0, written(arranged), _both(how, more)

    def _of_numbers(self) -> Iterator[Texts]:
        most, case = self._most, self._case
        marks = self._blank.number_marks
        constant = {mark: self._values[mark] for mark in self._values if mark not in marks.values()}
        common = [self._formed.below(most - grade).filled(constant) for grade in range(most)]
        for index, (name, number, others) in enumerate(self._numbers):
            gap = gap_of(case.expected, name, number)
            mark = marks.get(name)
            for mistake, grade, text in others:
                if grade >= most or not gap:
                    continue
                whole = gap[0] + text + gap[1]
                changed = _texts([("", grade, whole, "")], mistake)
                yield from self.more_around(changed)
                for other_name, other, more in self._numbers[index + 1 :]:
                    second = gap_of(whole, other_name, other)
                    if second:
                        yield _texts(((m, 0, second[0] + t + second[1], "") for m, g, t in more if g + grade <= most),
                                     mistake)  # fmt: skip
                if mark is not None:
                    yield common[grade].texts({**self._values, mark: encoded(text)}, mistake)


def _by_request(case: Case) -> Iterator[Row]:
    for mistake, grade, change, how in changes_by_request(case):
        if (changed := change(case.fields)) is not None:
            yield mistake, grade, written(sorted_tree(changed)), how
    for mistake, grade, arrange, how in orders_by_value(case):
        yield mistake, grade, written(arrange(case.fields)), how
    for before, after, choices in _params(case, case.expected, RARE, DIGESTED_FORMS):
        for mistake, grade, text, how in choices:
            yield mistake, grade, before + text + after, how


@lru_cache(32)
def _formed(blank: Blank) -> Sheet:
    return Sheet(_forms(blank.case), blank.marks)


@lru_cache(32)
def _formed_twice(blank: Blank, most: int) -> Sheet:
    return Sheet(_pairs_of_forms(blank.case, most), blank.marks)


def _forms(case: Case) -> Iterator[Row]:
    """Change fields, order or form."""
    tree, inner = case.fields, sorted_tree(case.fields)
    every = changes(case)
    for mistake, grade, change, how in every:
        if (changed := change(tree)) is not None:
            yield mistake, grade, written(sorted_tree(changed)), how
    # Changed when all was sorted already, as where a field is put behind the others.
    for mistake, grade, change, how in every:
        if mistake in NAMES_CHANGED and (changed := change(inner)) is not None:
            yield mistake, RARE if mistake == "names-respelt" else max(grade, 3), written(changed), how
    for mistake, grade, arrange, how in orders(case):
        if (arranged := arrange(tree)) is not None:
            yield mistake, grade, written(arranged), how
    for mistake, grade, form, how in (*FORMS, *messages(case)):
        yield mistake, grade, form(inner), how
    # The body as it is sent has two mistakes, and yet is what comes to mind first.
    yield "unsorted percent-encoded", 1, AS_SENT(tree), ""
    for before, after, choices in _params(case, case.expected, RARE + 1):
        for mistake, grade, text, how in choices:
            yield mistake, grade, before + text + after, how


def _params(
    case: Case, text: str, most: int, forms: Iterable[Choice] = INNER_FORMS
) -> Iterator[tuple[str, str, list[tuple[str, int, str, str]]]]:
    """Write params otherwise: a part of the text that is replaced, as numbers are."""
    params = case.fields.get("params")
    if isinstance(params, dict) and params:
        ordered = sorted_tree(params)
        if gap := gap_of(text, "params=", written(ordered)):
            yield *gap, [(m, g, form(ordered), how) for m, g, form, how in forms if g <= most]


def _pairs_of_forms(case: Case, most: int) -> Iterator[Row]:
    """Change two of fields, order and form."""
    tree, inner = case.fields, sorted_tree(case.fields)
    every, arrangements, forms = changes(case), orders(case), [*FORMS, *messages(case)]
    params = next(_params(case, case.expected, most - 1), ("", "", []))[2]
    part = written(inner["params"]) if params else ""  # type: ignore[arg-type]

    def with_params(wrong: str, grade: int, text: Text | None, how: str) -> Iterator[Row]:
        if params and isinstance(text, str) and (gap := gap_of(text, "params=", part)):
            for mistake, other, form, more in params:
                if grade + other <= most:
                    yield f"{wrong} {mistake}", 0, gap[0] + form + gap[1], _both(how, more)

    for wrong, grade, change, how in every:
        if grade >= most or (given := change(tree)) is None:
            continue
        ordered = sorted_tree(given)
        for mistake, other, form, more in forms:
            # Of an empty value without its name only the joiner is left, which has a better name.
            if grade + other <= most and not (mistake == "values-only" and wrong.startswith("empty-")):
                yield f"{wrong} {mistake}", 0, form(ordered), _both(how, more)
        yield from with_params(wrong, grade, written(ordered), how)
        # Two changes of the fields themselves are made together less often, and cost more.
        for mistake, other, arrange, more in arrangements:
            if grade + other <= most and (arranged := arrange(given)) is not None:
                yield f"{wrong} {mistake}", 0, written(arranged), _both(how, more)
            if grade + other <= most and wrong in NAMES_CHANGED and (arranged := arrange(tree)) is not None:
                yield f"{wrong} {mistake}", 0, written(change(arranged)), _both(how, more)
        for mistake, other, again, more in every:
            if grade + other <= most and mistake > wrong and (changed := again(given)) is not None:
                yield f"{wrong} {mistake}", 0, written(sorted_tree(changed)), _both(how, more)
    for wrong, grade, arrange, how in arrangements:
        if grade < most and (ordered_so := arrange(tree)) is not None:
            for mistake, other, form, more in forms:
                if grade + other <= most:
                    yield f"{wrong} {mistake}", 0, form(ordered_so), _both(how, more)
            yield from with_params(wrong, grade, written(ordered_so), how)
    for wrong, grade, form, how in forms:
        if grade < most:
            yield from with_params(wrong, grade, form(inner), how)
    # Maps are printed as they were built, the whole request too: rare forms come unsorted most often.
    for mistake, grade, form, how in WHOLE_FORMS:
        if grade == RARE:
            yield f"unsorted {mistake}", 0, form(tree), how


class StringsV3(_Stages):
    """The strings of a v3 request: body, timestamp → join → what stands around."""

    def __init__(self, case: CaseV3, most: int) -> None:
        super().__init__(case, most)
        self._expected = encoded(case.expected)
        self._body, self._stamp = encoded(case.text), encoded(case.stamp)
        self._joins = {
            grade: [sheet.filled(self._values, grade) for sheet in _joins(self._blank)]
            for grade in (*range(1, most), 9)
        }
        self._bodies, self._stamps = list(signers_v3.bodies(case)), list(signers_v3.stamps(case))
        self._case = case

    def singles(self) -> Iterator[Texts]:
        """Change one stage, the simpler explanation first."""
        right = {_BODY: self._body, _STAMP: self._stamp}
        simple, several = self._joined(right, 9)
        yield simple
        yield from self._made()
        yield several
        yield from self.around(self._expected)
        yield _texts(("timestamp-in-other-unit", RARE, self._case.text + stamp, "")
                     for stamp in signers_v3.any_millisecond(self._case))  # fmt: skip

    def _made(self) -> Iterator[Texts]:
        case = self._case
        rows: list[Row] = [(m, g, other + case.stamp, how) for m, g, other, how in self._bodies]
        rows += [(m, g, case.text + other, how) for m, g, other, how in self._stamps]
        rows += signers_v3.wholes(case)
        rows.sort(key=lambda row: (" " in row[0], row[1]))
        yield _texts(rows)

    def pairs(self) -> Iterator[Texts]:
        """Change two stages."""
        # Each stage of v3 has many common choices.
        most, case = self._most - (self._most <= _KEPT_UP_TO), self._case
        for wrong, grade, body, how in self._bodies:
            raw = encoded(body)
            if grade < most:
                yield _texts(((m, 0, body + other, more) for m, g, other, more in self._stamps if g + grade <= most),
                             wrong, how)  # fmt: skip
                yield from self._joined({_BODY: raw, _STAMP: self._stamp}, most - grade, wrong, how)
        for wrong, grade, stamp, how in self._stamps:
            if grade < most:
                yield from self._joined({_BODY: self._body, _STAMP: encoded(stamp)}, most - grade, wrong, how)
        for texts in chain(self._joined({_BODY: self._body, _STAMP: self._stamp}, most - 1), self._made()):
            yield from self.more_around(texts, less=self._most - most)
        if self._most > _KEPT_UP_TO:
            for stamp in signers_v3.any_millisecond(case):
                yield from self._joined({_BODY: self._body, _STAMP: encoded(stamp)}, 2, "timestamp-in-other-unit")

    def _joined(self, holes: dict[bytes, bytes], grade: int, wrong: str = "", how: str = "") -> Iterator[Texts]:
        for sheet in self._joins[grade]:
            yield sheet.texts(holes, wrong, how)


@lru_cache(32)
def _joins(blank: Blank) -> tuple[Sheet, Sheet]:
    """Ways to put body and timestamp together: with one mistake, and with several."""
    case = blank.case
    assert isinstance(case, CaseV3)  # noqa: S101 # for the types
    rows = [(mistakes, grade, join(BODY, STAMP), how) for mistakes, grade, join, how in signers_v3.joins(case)]
    simple, more = ([row for row in rows if (" " in row[0]) is several] for several in (False, True))
    return Sheet(simple, blank.marks), Sheet(more, blank.marks)
