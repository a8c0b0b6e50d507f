"""The reference client passes every check of clients, in both generations and both manners."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tn_contract.client_checks import ClientJudge, catalogue
from tn_contract.client_checks.cases import cases
from tn_contract.corpus import load_corpus
from tn_contract.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.costly]

PROGRAM = Path(__file__).with_name("reference_program.py")


FULL = [pytest.param(manner, marks=[pytest.mark.full, pytest.mark.timed]) for manner in ("v3", "v2 async", "v3 async")]


@pytest.mark.parametrize("manner", ["v2", *FULL])
def test_the_reference_client_is_right(manner: str) -> None:
    evidence = Trial(f"{sys.executable} {PROGRAM} {manner}").run(cases().values())
    judge = ClientJudge(evidence, catalogue())
    results = [judge.judge(check_id) for check_id in catalogue()]
    complaints = {
        result.check.id: (result.verdict, result.finding.expected, result.finding.actual)
        for result in results
        if result.verdict not in ("pass", "skipped")
    }
    assert complaints == {}
    other = "v2" if "v3" in manner else "v3"
    skipped = {result.check.id for result in results if result.verdict == "skipped"}
    skipped.discard("sends/other-requests")  # it sends cancels only
    clauses = load_corpus().clauses
    assert {clauses[catalogue()[check_id].clause].scheme for check_id in skipped} <= {other}
