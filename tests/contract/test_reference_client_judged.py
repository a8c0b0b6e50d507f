"""The reference client passes every check of clients, in both generations and both manners."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client import ClientJudge, catalogue
from tn_contract.judge.client.cases import CaseSpec, cases
from tn_contract.judge.verdicts import Result
from tn_contract.trial.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.costly]

PROGRAM = Path(__file__).with_name("reference_program.py")


@pytest.mark.full
@pytest.mark.timed
@pytest.mark.parametrize("manner", ["v2", "v3", "v2 async", "v3 async"])
def test_the_reference_client_is_right(manner: str) -> None:
    results = judged(manner, cases().values())
    assert complaints_of(results) == {}
    other = "v2" if "v3" in manner else "v3"
    skipped = {result.check.id for result in results if result.verdict == "skipped"}
    skipped.discard("sends/other-requests")  # it sends cancels only
    clauses = load_corpus().clauses
    assert {clauses[catalogue()[check_id].clause].scheme for check_id in skipped} <= {other}


def test_the_reference_client_is_right_where_no_reply_is_unusual() -> None:
    results = judged("v2", [spec for spec in cases().values() if not spec.id.startswith("order-")])
    assert complaints_of(results) == {}
    assert {"draws/rising", "reports/long-ids", "keeps/to-trusted-servers"} <= {
        result.check.id for result in results if result.verdict == "pass"
    }


def judged(manner: str, specs: Iterable[CaseSpec]) -> list[Result]:
    judge = ClientJudge(Trial(f"{sys.executable} {PROGRAM} {manner}").run(specs), catalogue())
    return [judge.judge(check_id) for check_id in catalogue()]


def complaints_of(results: list[Result]) -> dict[str, tuple[str, str, str]]:
    return {
        result.check.id: (result.verdict, result.finding.expected, result.finding.actual)
        for result in results
        if result.verdict not in ("pass", "skipped")
    }
