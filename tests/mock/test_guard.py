"""Who may use the control plane, and what is told to logs and metrics."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from mock_server.guard import Guard, is_loopback
from mock_server.serve import RunningMock, running
from tn_contract import Client
from tn_contract.contract import address
from tn_contract.contract.errors import OutcomeUnknown, TargetUnreachable, UsageError
from tn_contract.judge.server.target import Target, TargetOptions

TOKEN = "planted-token"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def local(lines: list[str]) -> Iterator[RunningMock]:
    with running(log=lines.append) as mock:
        yield mock


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[RunningMock]:
    with running(host="0.0.0.0", token=TOKEN) as mock:
        yield mock


def asked(mock: RunningMock, **headers: str) -> int:
    port = int(mock.base_url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/__tn__/reset", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:80", "127.0.0.2:9", "localhost."])
def test_a_local_mock_lets_in_who_names_this_machine(local: RunningMock, host: str) -> None:
    assert asked(local, Host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_a_name_of_somebody_elses_that_leads_here_is_refused(local: RunningMock, host: str) -> None:
    assert asked(local, Host=host) == 403


@pytest.mark.parametrize("host", ["[::1", "localhost@evil.example"])
def test_what_is_no_host_is_refused_before_the_control_plane_sees_it(local: RunningMock, host: str) -> None:
    assert asked(local, Host=host) == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_another_sites_page_is_refused(local: RunningMock, origin: str) -> None:
    assert asked(local, Host="localhost", Origin=origin) == 403


def test_its_own_page_is_let_in(local: RunningMock) -> None:
    assert asked(local, Host="localhost:80", Origin="http://localhost:80") == 200


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "bearer " + TOKEN, "Bearer " + TOKEN + "x", "ÿ"])
def test_beyond_this_machine_the_token_is_asked_for(open_to_all: RunningMock, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    assert asked(open_to_all, **headers) == 401


def test_who_has_the_token_comes_in_by_any_name(open_to_all: RunningMock) -> None:
    assert asked(open_to_all, Authorization=f"Bearer {TOKEN}", Host="mock.internal") == 200


def test_the_api_asks_for_no_token(open_to_all: RunningMock) -> None:
    port = open_to_all.base_url.rpartition(":")[2]
    assert httpx.post(f"http://127.0.0.1:{port}/api/v2/cmd/delTradeOrder").status_code == 200


def test_beyond_this_machine_there_always_is_a_token() -> None:
    with running(host="0.0.0.0") as mock:
        assert len(mock.token) > 30
        assert asked(mock) == 401
        assert asked(mock, Authorization=f"Bearer {mock.token}") == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("mock.internal", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_a_guard_knows_the_hosts_of_its_certificate() -> None:
    guard = Guard(hosts=frozenset({"tradernet.com"}))
    assert guard.refusal({"HTTP_HOST": "tradernet.com"}) is None
    assert guard.refusal({"HTTP_HOST": "tradernet.example"}) is not None


def test_the_access_log_tells_what_became_of_a_request_and_no_secret(local: RunningMock, lines: list[str]) -> None:
    lines.clear()
    session = local.broker.open_session("planted-key", "planted-secret").credentials
    with Client(session.api_key, session.secret.reveal(), base_url=local.base_url) as client:
        client.cancel_order(2929292929)
    httpx.post(f"{local.base_url}/planted-secret?planted-secret", headers={"X": "planted-secret"})
    httpx.post(f"{local.base_url}/api/v2/planted-secret", content=b"planted-secret")
    httpx.get(f"{local.base_url}/__tn__/health")
    told = [json.loads(line) for line in lines]
    assert [line["status"] for line in told] == [200, 599, 200]
    assert told[0]["situation"] == "cancel-accepted"
    assert (told[0]["order_id"], told[0]["effect"]) == ("2929292929", "cancelled")
    assert "planted" not in "".join(lines)


def test_metrics_count_what_became_of_requests(local: RunningMock) -> None:
    session = local.broker.open_session().credentials
    with Client(session.api_key, session.secret.reveal(), base_url=local.base_url) as client:
        client.cancel_order(2929292929)
    shown = httpx.get(f"{local.control_url}metrics")
    assert shown.headers["Content-Type"].startswith("text/plain")
    assert 'tn_mock_requests_total{scheme="v2",situation="cancel-accepted"}' in shown.text
    assert "process_resident_memory_bytes" in shown.text
    assert session.secret.reveal() not in shown.text


def test_a_mock_is_ready_while_its_state_can_be_asked(tmp_path: Path) -> None:
    database = tmp_path / "state.db"
    with running(state=f"sqlite:{database}") as mock:
        ready = f"{mock.control_url}ready"
        assert httpx.get(ready).json() == {"ready": True, "sessions": 1}
        with sqlite3.connect(database) as connection:
            connection.execute("ALTER TABLE pair RENAME TO elsewhere")
        connection.close()
        gone = httpx.get(ready)
        assert gone.status_code == 599
        assert gone.headers["X-Tn-Mock"] == "harness-error"
        assert httpx.get(f"{mock.control_url}health").json()["sessions"] is None, "but alive"
        with Client("tn-demo-key", "tn-demo-secret", base_url=mock.base_url) as client, pytest.raises(OutcomeUnknown):
            client.cancel_order(1)
        metrics = httpx.get(f"{mock.control_url}metrics")
        assert 'tn_mock_requests_total{scheme="v2",situation="state-unavailable"} 1.0' in metrics.text


def test_a_command_that_the_state_left_halfway_is_recorded_and_not_said_to_be_undone(tmp_path: Path) -> None:
    database = tmp_path / "state.db"
    with running(state=f"sqlite:{database}", orders="book") as mock:
        demo = mock.broker.demo
        with Client(demo.api_key, demo.secret.reveal(), base_url=mock.base_url) as client:
            client.orders()
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("ALTER TABLE document RENAME TO elsewhere")
            with pytest.raises(OutcomeUnknown):
                client.cancel_order(1)
        last = mock.broker.session(demo.api_key).journal.exchanges()[-1]  # type: ignore[union-attr]
    assert last.assessment.situation == "state-unavailable"  # type: ignore[union-attr]
    assert "the command was begun" in last.reply.body  # type: ignore[union-attr]


def test_verify_brings_the_token_of_a_mock_that_asks_for_it(
    open_to_all: RunningMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{open_to_all.base_url.rpartition(':')[2]}"
    monkeypatch.delenv("TN_CONTROL_TOKEN", raising=False)
    with closing(Target(TargetOptions(url))) as target:
        assert target.is_kit_mock
        with pytest.raises(TargetUnreachable, match="set TN_CONTROL_TOKEN"):
            target.new_credentials()
        monkeypatch.setenv("TN_CONTROL_TOKEN", TOKEN)
        assert target.new_credentials() is not None


@pytest.mark.parametrize(("named", "sent"), [("", False), ("other.example", False), ("127.0.0.1", True)])
def test_the_token_leaves_this_machine_only_for_the_host_that_the_user_names(
    named: str, sent: bool, open_to_all: RunningMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{open_to_all.base_url.rpartition(':')[2]}"
    monkeypatch.setattr(address, "is_loopback", lambda _host: False)  # as if it were on another machine
    for name in ("TN_API_KEY", "TN_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TN_CONTROL_TOKEN", TOKEN)
    with closing(Target(TargetOptions(url, control_host=named))) as target:
        assert target.is_kit_mock
        if sent:
            assert target.new_credentials() is not None
        else:
            with pytest.raises(TargetUnreachable, match=r"--control-host 127\.0\.0\.1"):
                target.new_credentials()


@pytest.mark.parametrize("path", ["health", "ready"])
def test_probes_need_no_token(open_to_all: RunningMock, path: str) -> None:
    port = open_to_all.base_url.rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/__tn__/{path}").status_code == 200


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(UsageError, match="other characters than ASCII"):
        Guard("ключ")


def test_the_token_shows_in_no_repr(open_to_all: RunningMock) -> None:
    assert TOKEN not in repr(open_to_all)
    assert TOKEN not in repr(Guard(TOKEN))
