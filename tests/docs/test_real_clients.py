"""The page about published clients says what was recorded; recording anew is `make realworld`."""

from __future__ import annotations

import json

from tests.realworld.clients import CLIENTS
from tests.realworld.recording import FINDINGS, PAGE, SEEN, findings, whole_page
from tests.realworld.verdicts import REPLIES, SPECIAL, VERDICTS, differences
from tn_contract.judge.client import catalogue
from tn_contract.judge.client.cases import case_of

RECORDED = json.loads(SEEN.read_text("utf-8"))
JUDGED = json.loads(VERDICTS.read_text("utf-8"))


def test_the_page_is_made_of_what_was_recorded() -> None:
    page = PAGE.read_text("utf-8")
    assert whole_page(page, RECORDED, JUDGED) == page, "run `make realworld-seen`"


def test_every_client_is_judged_by_every_check() -> None:
    assert {name: set(verdicts) for name, verdicts in JUDGED.items()} == {name: set(catalogue()) for name in CLIENTS}


def test_every_check_has_evidence_among_the_cases() -> None:
    tried = {*SPECIAL, *map(case_of, map(str, REPLIES))}
    assert [name for name, check in catalogue().items() if tried.isdisjoint(check.cases)] == []


def test_a_new_verdict_is_a_difference_and_a_check_that_was_not_run_is_none() -> None:
    recorded = {"sends/post": "pass", "reports/html": "fail: accepted", "draws/rising-after-clock-step": "pass"}
    assert differences("it", recorded, {"sends/post": "pass", "reports/html": "fail: rejected", "new/one": "pass"}) == [
        "it, reports/html: fail: rejected (recorded: fail: accepted)",
        "it, new/one: pass (recorded: nothing)",
    ]


def test_every_finding_is_in_some_client() -> None:
    found = {name for client in RECORDED["clients"].values() for name in findings(client)}
    assert found == set(FINDINGS), "a finding that nobody has is not found in the wild"


def test_a_client_that_does_all_well_has_no_findings() -> None:
    request = {"line": "POST /api/v2/cmd/delTradeOrder", "query": "", "situation": "cancel-accepted"}
    well = {"requests": [request], "nonces": "17 digits, increasing", "outcomes": ["accepted"]}
    assert findings({**well, "misread": {}, "sent_again": {}}) == {}
