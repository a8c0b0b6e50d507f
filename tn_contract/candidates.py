"""The strings that a wrong signer may have signed, by number of wrong choices: stages put together.

What is cheap comes first: a part of a text is replaced where that is enough (numbers, params), and only what changes
fields, names or order is written from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from tn_contract import signers_v3
from tn_contract.signers import Case, Text, gap_of, sorted_tree, written
from tn_contract.signers.fields import NAMES_CHANGED, changes, orders
from tn_contract.signers.numbers import numbers_changed
from tn_contract.signers.text import AS_SENT, FORMS, INNER_FORMS, messages
from tn_contract.signers.wraps import wrappings
from tn_contract.signers_v3 import CaseV3
from tn_contract.wire import Nested

# The grade of what is hardly ever seen.
RARE = 4

# A string that may have been signed: one or two mistakes ("" where there is one; ids joined by blanks), their grade
# (0: a pair), the text, None where it cannot be, and sentences with the particulars of each. Flat and of plain texts,
# so that thousands of them do not keep the garbage collector busy.
Written: TypeAlias = "tuple[str, str, int, Text | None, str, str]"


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
        for choice in wrappings(case):
            mistake, grade, wrap, how = choice
            if grade < self._most:
                self._wraps.append(choice)
            yield mistake, "", grade, wrap(right), how, ""

    def _inner(self) -> Iterator[tuple[str, str, list[tuple[str, int, str, str]]]]:
        """Write params otherwise: a part of the text that is replaced, as numbers are."""
        params = self._case.fields.get("params")
        if isinstance(params, dict) and params:
            ordered = sorted_tree(params)
            forms = [(mistake, grade, form(ordered), how) for mistake, grade, form, how in INNER_FORMS]
            yield "params=", written(ordered), forms

    def _first_stages(self) -> Iterator[Written]:
        """Change fields, order or form."""
        case = self._case
        tree, inner = case.fields, sorted_tree(case.fields)
        self._changes = changes(case)
        for mistake, grade, change, how in self._changes:
            changed = change(tree)
            if changed is not None:
                ordered = sorted_tree(changed)
                if grade < self._most:
                    self._trees.append((mistake, grade, changed, ordered, how))
                yield mistake, "", grade, written(ordered), how, ""
        # Changed when all was sorted already, as where a field is put behind the others.
        for mistake, grade, change, how in self._changes:
            changed = change(inner) if mistake in NAMES_CHANGED else None
            if changed is not None:
                yield mistake, "", max(grade, 3), written(changed), how, ""
        self._orders = orders(case)
        for mistake, grade, arrange, how in self._orders:
            arranged = arrange(tree)
            if arranged is not None:
                yield mistake, "", grade, written(arranged), how, ""
        self._forms = [*FORMS, *messages(case)]
        for mistake, grade, form, how in self._forms:
            yield mistake, "", grade, form(inner), how, ""
        # The body as it is sent has two mistakes, and yet is what comes to mind first.
        yield "unsorted", "percent-encoded", 1, AS_SENT(tree), "", ""

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
        other_changes, arrangements = (beside(each, most - 1) for each in (self._changes, self._orders))
        for wrong, grade, given, ordered, how in self._trees:
            for mistake, _grade, form, more in forms[grade]:
                yield wrong, mistake, 0, form(ordered), how, more
            for mistake, _grade, arrange, more in arrangements[grade]:
                arranged = arrange(given)
                if arranged is not None:
                    yield wrong, mistake, 0, written(arranged), how, more
            for mistake, _grade, change, more in other_changes[grade]:
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
            if grade == RARE and mistake.startswith("request-"):
                yield "unsorted", mistake, 0, form(self._case.fields), how, ""

    def _of_swaps(self, most: int) -> Iterator[Written]:
        wraps = beside(self._wraps, most)
        for index, (name, part, choices) in enumerate(self._swaps):
            gap = gap_of(self._case.expected, name, part) or ("", "")
            later = [
                (other_name, other, beside(others, most)) for other_name, other, others in self._swaps[index + 1 :]
            ]
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
        self._joins, self._wraps = list(signers_v3.joins(case)), list(wrappings(case))
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
        # Each stage of v3 has many common choices.
        stamps, joins, wraps = (beside(each, self._most - 1) for each in (self._stamps, self._joins, self._wraps))
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
