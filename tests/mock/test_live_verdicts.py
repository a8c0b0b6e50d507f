"""While the mock runs, it judges what each session's client has done so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from mock_server import create_app
from mock_server.broker import DEMO, Broker
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import Request, compose
from tn_contract.judge.client import catalogue, live_verdicts
from tn_contract.record.evidence import from_lines

SESSION = f"/__tn__/sessions/{DEMO.api_key}"
METHOD_ERROR = load_corpus().replies["method-error"]


@pytest.fixture
def door() -> Iterator[FlaskClient]:
    with create_app(Broker(policy="none"), judge=live_verdicts).test_client() as door:
        yield door


def send(door: FlaskClient, request: Request) -> None:
    query = f"?{request.query}" if request.query else ""
    door.open(request.path + query, method=request.method, headers=list(request.headers), data=request.body)


def cancel(nonce: int, order_id: str = "1") -> Request:
    return compose(DEMO, "delTradeOrder", nonce, {"order_id": order_id}).request


def verdicts(door: FlaskClient) -> dict[str, dict[str, Any]]:
    told = door.get(f"{SESSION}/verdicts").get_json()
    assert sum(told["counts"].values()) == len(told["verdicts"])
    return {each["check"]: each for each in told["verdicts"]}


def test_every_check_of_clients_has_a_verdict_at_any_time(door: FlaskClient) -> None:
    assert list(verdicts(door)) == list(catalogue())
    assert {each["verdict"] for each in verdicts(door).values()} == {"skipped"}


def test_a_right_request_passes_and_a_wrong_one_is_found_at_once(door: FlaskClient) -> None:
    send(door, cancel(2))
    assert verdicts(door)["signs/each-request"]["verdict"] == "pass"
    unsigned = cancel(3)
    send(door, Request(unsigned.method, unsigned.path, unsigned.headers[:1], unsigned.body))
    found = verdicts(door)["signs/each-request"]
    assert (found["verdict"], found["requests"]) == ("fail", [2])
    assert "no X-NtApi-Sig" in found["actual"]


def test_the_secret_on_the_wire_is_a_finding_and_is_not_repeated(door: FlaskClient) -> None:
    request = cancel(1)
    send(door, Request(request.method, request.path, request.headers, request.body, f"s={DEMO.secret.reveal()}"))
    assert verdicts(door)["keeps/secret-out-of-address"]["verdict"] == "fail"
    assert DEMO.secret.reveal() not in door.get(f"{SESSION}/verdicts").text


def test_a_tests_own_report_lets_the_outcomes_be_judged(door: FlaskClient) -> None:
    send(door, cancel(1, METHOD_ERROR))
    assert verdicts(door)["reports/method-error"]["verdict"] == "skipped"
    assert door.post(f"{SESSION}/reports", json={"order_id": METHOD_ERROR, "outcome": "accepted"}).status_code == 201
    assert verdicts(door)["reports/method-error"]["verdict"] == "fail"


def test_a_right_report_passes(door: FlaskClient) -> None:
    send(door, cancel(1, METHOD_ERROR))
    door.post(f"{SESSION}/reports", json={"order_id": int(METHOD_ERROR), "outcome": "rejected", "code": 0})
    assert verdicts(door)["reports/method-error"]["verdict"] == "pass"
    assert verdicts(door)["reports/codes-as-sent"]["verdict"] == "pass"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"outcome": "accepted"}', b'{"order_id": 1, "outcome": "fine"}'])
def test_a_report_that_says_nothing_is_a_marked_400(door: FlaskClient, body: bytes) -> None:
    refused = door.post(f"{SESSION}/reports", data=body)
    assert (refused.status_code, refused.headers["X-Tn-Mock"]) == (400, "harness-error")
    assert "not-sent" in refused.get_json()["hint"]


def test_requests_without_a_known_key_belong_to_no_session_but_are_counted(door: FlaskClient) -> None:
    door.post("/api/v2/cmd/delTradeOrder", data=b"cmd=delTradeOrder")
    assert door.get(f"{SESSION}/verdicts").get_json()["unmatched"] == 1


def test_the_journal_as_lines_is_a_file_that_judge_reads(door: FlaskClient) -> None:
    send(door, cancel(1))
    evidence = from_lines(door.get(f"{SESSION}/journal.jsonl").data, "journal")
    assert (evidence.agent, [sent.order_id for sent in evidence.cancels]) == (DEMO.api_key, ["1"])


@pytest.mark.parametrize(("method", "tail"), [("GET", "verdicts"), ("GET", "journal.jsonl"), ("POST", "reports")])
def test_an_unknown_key_is_a_marked_404(door: FlaskClient, method: str, tail: str) -> None:
    assert door.open(f"/__tn__/sessions/nobody/{tail}", method=method).status_code == 404
