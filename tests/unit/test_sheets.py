"""Sheets hold the same texts as the grammar writes for each request, under the same names."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

import pytest

from tn_contract.contract.signing import Credentials, Secret
from tn_contract.diagnosis import candidates
from tn_contract.diagnosis.sheets import WHOLE, Blank, Row, Sheet, Texts
from tn_contract.diagnosis.signers import Case, encoded, stamps_of
from tn_contract.diagnosis.signers.wraps import additions


def names(raws: Iterable[bytes], mistakes: Iterable[str]) -> dict[bytes, str]:
    """Map each text to the name that comes first."""
    found: dict[bytes, str] = {}
    for raw, mistake in zip(raws, mistakes, strict=True):
        found.setdefault(raw, mistake)
    return found


def named(texts: Texts) -> dict[bytes, str]:
    return names(texts.raws, [meta[0] for meta in texts.metas])


def written(rows: Iterable[Row]) -> dict[bytes, str]:
    kept = [(encoded(text), mistakes) for mistakes, _grade, text, _how in rows if text is not None]
    return names([raw for raw, _ in kept], [mistakes for _, mistakes in kept])


def cases() -> Iterator[Case]:
    rng = random.Random(4)
    for order_id in (10**8, 2929292929, 2**63 - 1):
        for _ in range(2):
            key, secret = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(160):040X}"
            fields = {"nonce": str(rng.randrange(10**16, 10**17)), "cmd": "delTradeOrder", "apiKey": key}
            yield case_of({**fields, "params": {"order_id": str(order_id)}}, secret)
    yield case_of(
        {"cmd": "delTradeOrder", "apiKey": "short", "nonce": "7", "params": {"order_id": "7"}}, "tn-demo-secret"
    )
    yield case_of({"cmd": "getAuthInfo", "apiKey": "ключ-ключ", "nonce": "1700000000"}, "two words and = & more")


def case_of(fields: dict[str, object], secret: str) -> Case:
    pair = Credentials(str(fields["apiKey"]), Secret(secret))
    return Case(fields, pair, stamps=stamps_of(fields), at_ns=1_700_000_000 * 10**9)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [candidates._forms, lambda case: candidates._pairs_of_forms(case, 4)], ids=["1", "2"])
@pytest.mark.parametrize("case", list(cases()))
def test_filled_sheet_holds_what_is_written_for_the_request(rows: Callable[[Case], Iterable[Row]], case: Case) -> None:
    blank = Blank(case)
    sheet = Sheet(rows(blank.case), blank.marks)
    assert named(sheet.texts(blank.values)) == written(rows(case))


@pytest.mark.parametrize("case", list(cases()))
def test_filled_sheet_of_additions_holds_what_is_written_for_the_request(case: Case) -> None:
    blank, right = Blank(case), case.expected
    sheet = candidates._additions(blank)
    texts = sheet.texts({**blank.values, encoded(WHOLE): encoded(right)})
    rows = ((mistake, grade, add(right), how) for mistake, grade, add, how in additions(case))
    assert named(texts) == written(rows)


def test_requests_of_one_kind_share_a_sheet() -> None:
    first, second = list(cases())[:2]
    assert Blank(first) == Blank(second)
    assert Blank(first).values != Blank(second).values
