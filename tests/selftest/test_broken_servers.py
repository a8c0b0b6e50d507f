"""Every broken server is found by the checks that its definition names; they run with their controls alone."""

from __future__ import annotations

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server import catalogue
from tn_contract.judge.server.registry import CONTROLS
from tn_contract.judge.verdicts import Verdict

from .judging import judged_by
from .servers import BROKEN, JUDGING, app_of, cover, kills_of

COVER = cover(BROKEN)
# A control cannot tell a broken server from wrong keys.
NEVER_A_FAIL = {control for pair in CONTROLS.values() for control in pair}


def verdict_expected_of(check_id: str) -> Verdict:
    if check_id in NEVER_A_FAIL:
        return "error"
    return "warn" if load_corpus().clauses[catalogue()[check_id].clause].level == "should" else "fail"


@pytest.mark.parametrize(
    "slug", [pytest.param(slug, marks=[pytest.mark.quick] if slug in COVER else []) for slug in BROKEN]
)
def test_a_broken_server_is_found_by_its_own_checks(slug: str) -> None:
    expected = {check_id: verdict_expected_of(check_id) for check_id in kills_of(slug)}
    assert {result.check.id: result.verdict for result in judged_by(app_of(slug), expected)} == expected


@pytest.mark.quick
def test_every_check_is_named_by_a_broken_server() -> None:
    assert {check_id for slug in BROKEN for check_id in kills_of(slug)} == JUDGING
