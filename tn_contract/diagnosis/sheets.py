"""Thousands of texts in one piece of bytes, with holes for what differs from request to request.

Most strings of the grammar put the key, the nonce or the order id at other places, and change nothing in them. So the
grammar runs once for a *blank* request, whose values are marks; the texts are joined, and for each request the marks
are replaced in all of them together. That costs a fiftieth of writing each text.

A hole is safe where a value's characters do not matter: letters and digits, and for a number as many digits as before,
the first not 0. A text in which a mark was changed (its case, its bytes) keeps it, and then matches nothing. What
depends on the values themselves (rounding, hashes, an order by value) is written for each request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Nested
from tn_contract.diagnosis.signers import Case, Text, encoded
from tn_contract.diagnosis.signers_v3 import CaseV3

# What is said of a text: the mistakes (ids joined by blanks), their grade (0: a pair), sentences, one a line.
Meta: TypeAlias = "tuple[str, int, str]"
# A text that may have been signed: mistakes, grade, the text (None where it cannot be), a sentence.
Row: TypeAlias = "tuple[str, int, Text | None, str]"

# Bytes that no UTF-8 holds, as characters: a single byte is found quickest.
_SEPARATOR, WHOLE, BODY, STAMP = "\udcff\udcff", "\udcfe", "\udcfd", "\udcfc"
_MARKS = bytes((0xC0, 0xC1, *range(0xF5, 0xFC), *range(2, 8)))
_SPLIT = encoded(_SEPARATOR)
_HOLES = [bytes([each]) for each in (*_MARKS, 0xFC, 0xFD, 0xFE)]
_PLAIN = re.compile(r"[A-Za-z0-9._-]{8,200}")


class Texts(NamedTuple):
    """Texts to try, and what is said of each; `wrong` and `how` hold for all of them."""

    raws: Sequence[bytes]
    metas: Sequence[Meta]
    wrong: str = ""
    how: str = ""


class Sheet:
    """Texts with holes, each text once."""

    def __init__(self, rows: Iterable[Row], marks: Sequence[tuple[bytes, bytes]] = ()) -> None:
        found: dict[bytes, Meta] = {}
        for mistake, grade, text, how in rows:
            if text is not None:
                raw = encoded(text)
                # The first name explains most. What is seen often under another name is seen often.
                first, least, told = found.setdefault(raw, (mistake, grade, how))
                if grade < least:
                    found[raw] = (first, grade, told)
        data = _SPLIT.join(found)
        for probe, mark in marks:
            data = data.replace(probe, mark)
        self._hold(list(found.values()), data)

    def _hold(self, metas: list[Meta], data: bytes) -> Sheet:
        self.metas, self._data = metas, data
        self._holes = {mark for mark in _HOLES if mark in data}
        self._below: dict[int, Sheet] = {}
        return self

    def below(self, grade: int) -> Sheet:
        """Return the texts up to a grade, as a sheet."""
        if grade not in self._below:
            texts = self.texts({})
            kept = [pair for pair in zip(texts.metas, texts.raws, strict=True) if pair[0][1] <= grade]
            metas, raws = [meta for meta, _ in kept], [raw for _, raw in kept]
            self._below[grade] = Sheet(())._hold(metas, _SPLIT.join(raws))  # noqa: SLF001 # its own
        return self._below[grade]

    def filled(self, values: Mapping[bytes, bytes], grade: int = 9) -> Sheet:
        """Fill some of the holes of the texts up to a grade."""
        if grade < 9:
            return self.below(grade).filled(values)
        return Sheet(())._hold(self.metas, self._filled(values))  # noqa: SLF001 # its own

    def texts(self, values: Mapping[bytes, bytes], wrong: str = "", how: str = "") -> Texts:
        """Fill the holes; none where a value holds what stands between the texts."""
        raws = self._filled(values).split(_SPLIT)
        return Texts(raws, self.metas, wrong, how) if len(raws) == len(self.metas) else Texts((), ())

    def _filled(self, values: Mapping[bytes, bytes]) -> bytes:
        data = self._data
        for mark, value in values.items():
            if mark in self._holes:
                data = data.replace(mark, value)
        return data


class Blank:
    """A request with marks for its values: equal for all requests of one kind, so that sheets are kept for it."""

    def __init__(self, case: Case) -> None:
        self.values: dict[bytes, bytes] = {}
        self.marks: list[tuple[bytes, bytes]] = []
        credentials = Credentials(self._hole(case.key), Secret(self._hole(case.secret)))
        # The nonce and the order id of the fields may be signed otherwise; beside the string they are as sent.
        nonce, order_id = case.nonce, case.order[1]
        instead = {case.key: credentials.api_key, nonce: self._hole(nonce), order_id: self._hole(order_id)}
        signed = {instead[nonce]: "nonce", instead[order_id]: case.order[0]}
        self.number_marks = {signed[name]: mark for probe, mark in self.marks if (name := probe.decode()) in signed}
        now = str(case.at_ns // 10**9)
        others = {text: self._hole(text) for text in dict.fromkeys((nonce, order_id, *case.stamps, now, *case.dates))}
        beside = {"nonce": others[nonce], "order": (case.order[0], others[order_id]),
                  "dates": [others[date] for date in case.dates]}  # fmt: skip
        self.fields = _exchanged(case.fields, instead)
        self.case: Case
        stamps = tuple(others[each] for each in case.stamps)
        if isinstance(case, CaseV3):
            empty = case.text.strip() in ("{}", "", "[]", "null")
            self.case = CaseV3(self.fields, credentials, method=case.method, path=case.path, host=case.host,
                               stamps=stamps, body=b"" if empty else b"{0}", timestamp=BODY)  # fmt: skip
        else:
            self.case = Case(self.fields, credentials, (), case.method, case.path, case.host, stamps=stamps,
                             at_ns=int(others[now]) * 10**9)  # fmt: skip
        self.case.__dict__.update(beside)
        self.marks.sort(key=lambda pair: -len(pair[0]))
        self._id = repr((self.case, beside, credentials.api_key, credentials.secret.reveal()))

    def _hole(self, value: str) -> str:
        number = len(self.marks)
        if number == len(_MARKS) or not _PLAIN.fullmatch(value) or (value.isdigit() and value[0] == "0"):
            return value
        noise = hashlib.sha512(bytes([number])).digest() * 4
        # Letters in both cases: what changes their case is seen not to fit.
        probe = "".join("9731864275"[byte % 10] if value.isdigit() else "QxKzVjWq"[byte % 8] for byte in noise)
        self.marks.append((probe[: len(value)].encode(), _HOLES[number]))
        self.values[self.marks[-1][1]] = encoded(value)
        return probe[: len(value)]

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blank) and self._id == other._id


def _exchanged(tree: Nested, instead: Mapping[str, str]) -> Nested:
    return {
        name: _exchanged(value, instead) if isinstance(value, dict) else instead.get(value, value)
        for name, value in tree.items()
    }
