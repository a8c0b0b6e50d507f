"""Scenarios on a real mock: what a client gets, what becomes of the order, the journal, and the control plane."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mock_server.broker import Broker
from mock_server.inprocess import mock_router
from mock_server.scenario import scenario_of
from mock_server.serve import RunningMock, running
from tn_contract import Client, NonceSource
from tn_contract.contract.corpus import Scheme, load_corpus
from tn_contract.contract.errors import OutcomeUnknown, Rejected
from tn_contract.contract.signing import Credentials
from tn_contract.contract.wire import compose
from tn_contract.record.journal import Exchange

pytestmark = [pytest.mark.slow, pytest.mark.timed]

ORDER = 2929292929


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running() as mock:
        yield mock


@pytest.fixture(autouse=True)
def _afresh(mock: RunningMock) -> None:
    mock.broker.scenario = None
    mock.broker.reset()


def play(mock: RunningMock, *rules: dict[str, Any], **more: Any) -> None:
    mock.broker.scenario = scenario_of({"rule": list(rules), **more}, load_corpus())


def client_of(credentials: Credentials, base_url: str, scheme: Scheme = "v2") -> Client:
    nonces = NonceSource() if scheme == "v2" else None
    return Client(credentials.api_key, credentials.secret.reveal(), base_url=base_url, nonces=nonces, scheme=scheme)


def outcome(mock: RunningMock, order_id: int = ORDER, scheme: Scheme = "v2") -> str:
    with client_of(mock.broker.demo, mock.base_url, scheme) as client:
        try:
            client.cancel_order(order_id)
        except Rejected:
            return "rejected"
        except OutcomeUnknown:
            return "unknown"
        return "accepted"


def journal(mock: RunningMock) -> list[Exchange]:
    session = mock.broker.session(mock.broker.demo.api_key)
    assert session is not None
    return session.journal.exchanges()


def effects(mock: RunningMock) -> list[str]:
    return [each.assessment.effect for each in journal(mock) if each.assessment]


@pytest.mark.parametrize("scheme", ["v2", "v3"])
@pytest.mark.parametrize("when", ["before-apply", "after-apply"])
@pytest.mark.parametrize("fault", ["drop", "reset", "cut-off", "wrong-length", "garbage"])
def test_a_lost_reply_leaves_the_client_in_doubt_and_the_order_as_the_rule_says(
    mock: RunningMock, fault: str, when: str, scheme: Scheme
) -> None:
    play(mock, {"order_id": ORDER, "fault": fault, "when": when, "times": 1})
    assert outcome(mock, scheme=scheme) == "unknown"
    assert outcome(mock, scheme=scheme) == "accepted"
    assert effects(mock) == ["cancelled" if when == "after-apply" else "none", "cancelled"]
    lost = journal(mock)[0]
    assert lost.reply is None
    assert lost.failure == f"the mock's fault: {fault}"
    assert lost.assessment is not None
    assert lost.assessment.situation == "scenario"
    assert lost.assessment.notes[-1].startswith("a scenario decides: rule 1")


def test_another_payload_comes_instead(mock: RunningMock) -> None:
    play(mock, {"payload": "method-error", "times": 1})
    assert outcome(mock) == "rejected"
    assert effects(mock) == ["none"]


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ({"payload": "success"}, {"order_id": None}),
        ({"payload": "orders-listed", "when": "after-apply"}, {"result": {"orders": {"key": None, "order": None}}}),
    ],
)
def test_a_payload_says_null_where_there_is_nothing_to_say(
    mock: RunningMock, rule: dict[str, Any], shown: dict[str, Any]
) -> None:
    play(mock, rule)
    request = compose(mock.broker.demo, "putTradeOrder", 1).request
    assert json.loads(mock.broker.handle(request).reply.body) == shown


@pytest.mark.parametrize("late", [{"fault": "delay", "seconds": 0.2}, {"fault": "dribble", "seconds": 0.2}])
def test_a_late_reply_is_a_reply(mock: RunningMock, late: dict[str, Any]) -> None:
    play(mock, late)
    started = time.monotonic()
    assert outcome(mock) == "accepted"
    assert time.monotonic() - started >= 0.2


def test_a_late_reply_holds_up_nobody_else(mock: RunningMock) -> None:
    play(mock, {"order_id": 1, "latency": {"median": 5.0, "p99": 5.1}})
    slow = threading.Thread(target=outcome, args=(mock, 1))
    slow.start()
    while not journal(mock):
        time.sleep(0.01)
        assert slow.is_alive()
    with client_of(mock.broker.open_session().credentials, mock.base_url) as client:
        client.cancel_order(ORDER)
    assert slow.is_alive()
    slow.join()


def test_what_is_delivered_twice_is_answered_as_the_second_deserves(mock: RunningMock) -> None:
    play(mock, {"twice": True, "times": 1})
    assert outcome(mock) == "rejected", "the first took the nonce"
    first, second = journal(mock)
    assert first.assessment is not None
    assert second.assessment is not None
    assert (first.assessment.effect, first.assessment.situation) == ("cancelled", "cancel-accepted")
    assert second.assessment.situation == "nonce-replayed"
    assert "delivered twice" in first.assessment.notes[-1]


def test_a_request_that_is_refused_uses_up_no_rule(mock: RunningMock) -> None:
    play(mock, {"fault": "drop", "times": 1})
    httpx.post(f"{mock.base_url}/api/v2/cmd/delTradeOrder", data={"apiKey": mock.broker.demo.api_key})
    assert outcome(mock) == "unknown"


def test_a_sessions_own_scenario_concerns_nobody_else(mock: RunningMock) -> None:
    session = mock.broker.open_session()
    session.scenario = scenario_of({"rule": [{"fault": "drop"}]}, load_corpus())
    assert outcome(mock) == "accepted"
    with client_of(session.credentials, mock.base_url) as client, pytest.raises(OutcomeUnknown):
        client.cancel_order(ORDER)


def test_the_same_seed_gives_the_same_storm(mock: RunningMock) -> None:
    storm = [{"fault": "drop", "chance": 0.4}, {"payload": "method-error", "chance": 0.4}]
    fates = []
    for seed in (5, 5, 6):
        play(mock, *storm, seed=seed)
        fates.append([outcome(mock) for _ in range(20)])
    assert fates[0] == fates[1] != fates[2]
    assert set(fates[0]) == {"unknown", "accepted", "rejected"}


def test_a_reset_begins_the_scenario_again(mock: RunningMock) -> None:
    play(mock, {"fault": "drop", "times": 1})
    assert outcome(mock) == "unknown"
    mock.broker.reset()
    assert outcome(mock) == "unknown"


def test_the_router_of_respx_plays_it_too() -> None:
    broker = Broker(scenario=scenario_of({"rule": [{"fault": "wrong-length", "times": 1}]}, load_corpus()))
    with mock_router(broker), client_of(broker.demo, "https://tradernet.com") as client:
        with pytest.raises(OutcomeUnknown):
            client.cancel_order(ORDER)
        client.cancel_order(ORDER)


# ---- the control plane -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["scenario", "sessions/tn-demo-key/scenario"])
def test_the_control_plane_sets_shows_and_ends_a_scenario(mock: RunningMock, place: str) -> None:
    url = mock.control_url + place
    rules = {"seed": 3, "rule": [{"name": "lose one", "fault": "drop", "times": 1}, {"order_id": 1, "fault": "reset"}]}
    assert httpx.put(url, json=rules).status_code == 200
    assert outcome(mock) == "unknown"
    assert httpx.get(url).json() == {
        "seed": 3,
        "rules": [{"rule": "lose one", "matched": 1, "hit": 1}, {"rule": "rule 2", "matched": 0, "hit": 0}],
        "unused": ["rule 2"],
    }
    assert httpx.delete(url).json() == {"rules": [], "unused": []}
    assert outcome(mock) == "accepted"


def test_a_scenario_may_be_sent_as_toml(mock: RunningMock) -> None:
    toml = {"Content-Type": "application/toml"}
    sent = httpx.put(f"{mock.control_url}scenario", content='[[rule]]\nfault = "drop"', headers=toml)
    assert sent.status_code == 200
    assert outcome(mock) == "unknown"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"rule": [{"fault": "explode"}]}', "rule 1, fault: Invalid enum value"),
        (b'{"rule": [{}]}', "nothing happens by it"),
        (b"{", "application/toml"),
        (b"[]", "Expected `object`"),
    ],
)
def test_a_wrong_scenario_is_refused_and_the_old_one_stays(mock: RunningMock, body: bytes, told: str) -> None:
    play(mock, {"fault": "drop"})
    refused = httpx.put(f"{mock.control_url}scenario", content=body)
    assert refused.status_code == 400
    assert told in refused.json()["reason"]
    assert outcome(mock) == "unknown"


def test_a_scenario_of_nobody_is_refused(mock: RunningMock) -> None:
    assert httpx.get(f"{mock.control_url}sessions/nobody/scenario").status_code == 404


# ---- files -------------------------------------------------------------------------------------------------


def test_a_mock_reads_its_scenario_and_writes_its_journal(tmp_path: Path) -> None:
    storm, written = tmp_path / "storm.toml", tmp_path / "journal.jsonl"
    storm.write_text('[[rule]]\nfault = "drop"\ntimes = 1\n')
    with running(scenario_file=storm, journal_file=written) as mock:
        assert outcome(mock) == "unknown"
        assert len(written.read_text().splitlines()) == 1
        assert outcome(mock) == "accepted"
    assert len(written.read_text().splitlines()) == 2
