"""The page about published clients says what was recorded; recording anew is `make realworld`."""

from __future__ import annotations

import json

from tests.realworld.recording import FINDINGS, PAGE, SEEN, findings, whole_page

RECORDED = json.loads(SEEN.read_text("utf-8"))


def test_the_page_is_made_of_what_was_recorded() -> None:
    page = PAGE.read_text("utf-8")
    assert whole_page(page, RECORDED) == page, "run `make realworld-seen`"


def test_every_finding_is_in_some_client() -> None:
    found = {name for client in RECORDED["clients"].values() for name in findings(client)}
    assert found == set(FINDINGS), "a finding that nobody has is not found in the wild"


def test_a_client_that_does_all_well_has_no_findings() -> None:
    request = {"line": "POST /api/v2/cmd/delTradeOrder", "query": "", "situation": "cancel-accepted"}
    well = {"requests": [request], "nonces": "17 digits, increasing", "outcomes": ["accepted"]}
    assert findings({**well, "misread": {}, "sent_again": {}}) == {}
