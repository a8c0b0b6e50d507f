"""What may come in from outside is bounded, read strictly, and refused with the limit and what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from mock_server.app import create_app
from mock_server.broker import REPORTS_KEPT, Broker
from mock_server.guard import Guard
from mock_server.scenario import RULES_MOST, SCENARIO_LARGEST, read_scenario, read_toml
from mock_server.serve import running
from mock_server.state import open_state
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.redislink import _read
from tn_contract.contract.wire import Request
from tn_contract.judge.client import live_verdicts
from tn_contract.record.journal import DIAGNOSED, IN_VAIN, Assessment, Diagnosis, Journal


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def client(broker: Broker) -> FlaskClient:
    return create_app(broker, guard=Guard(), judge=live_verdicts).test_client()


# ---- addresses of a state ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h?ssl_cert_reqs=none", "write rediss://"),
        ("rediss://h?ssl_cert_req=none", "did you mean ssl_cert_reqs?"),
        ("rediss://h?ssl_cert_reqs=no", "choose none or optional or required"),
        ("rediss://h?ssl_check_hostname=1", "choose true or false"),
        ("rediss://h?ssl_ca_certs=", "the name of a file"),
        ("redis://h?prefix=a&prefix=b", "twice"),
        ("redis://h?perfix=a", "did you mean prefix?"),
        ("redis://h?socket_timeout=1", "choose from prefix"),
        ("redis://h/one", "the database"),
        ("redis://h/\u0661", "the database"),
        ("redis://h#x", "the database"),
        ("redis://h:port", "no address"),
        ("unix://host/socket", "the database"),
    ],
)
def test_no_option_of_a_redis_is_passed_on_unread(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=r"Redis|state") as raised:
        _read(url)
    assert told in str(raised.value)


def test_options_for_tls_are_read() -> None:
    options, _place, prefix = _read("rediss://h:1/2?ssl_cert_reqs=none&ssl_ca_certs=/ca&prefix=x")
    assert options == {
        "db": 2, "host": "h", "port": 1, "secured": True,
        "ssl_cert_reqs": "none", "ssl_ca_certs": "/ca", "ssl_check_hostname": False,
    }  # fmt: skip
    assert prefix == "x"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite::memory:", "write --state memory"),
        ("sqlite:file:x?mode=memory", "no options"),
        ("sqlite:x?mode=ro", "no options"),
        ("sqlite://x", "no options"),
        ("sqlite:a\0b", "no options"),
        ("sqlit:x", "did you mean sqlite?"),
        ("memory:", "write memory"),
        ("\x1b[2J", "write memory"),
    ],
)
def test_an_address_of_a_state_is_read_strictly(
    url: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        open_state(url)
    assert told in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


# ---- scenarios ---------------------------------------------------------------------------------------------

DEEP = {
    "a key": "a." * 20_000 + "a=1",
    "a quoted key": '"a".' * 10_000 + "a=1",
    "spaces": "a . " * 10_000 + "a=1",
    "a table": "[" + "a." * 20_000 + "a]",
    "an inline table": "x={" + "a." * 20_000 + "a=1}",
    "many keys": ("a." * 2_000 + "a=1\n") * 20,
    "after a string": 's = "x"\n' + "a." * 20_000 + "a=1",
    "after a long string": 's = """\nx"y"\n"""\n' + "a." * 20_000 + "a=1",
}


@pytest.mark.parametrize("name", DEEP)
def test_a_scenario_with_deep_keys_is_refused_before_it_is_read(name: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="more than 8 parts"):
        read_toml(DEEP[name])
    assert time.process_time() - started < 1  # it took 8 s


@pytest.mark.parametrize(
    "text",
    [
        'a = "1.2.3.4.5.6.7.8.9.10"',
        "a = '''\n1.2.3.4.5.6.7.8.9.10\n'''  # 1.2.3.4.5.6.7.8.9.10",
        'a = "\\"1.2.3.4.5.6.7.8.9.10"',
        "a = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]",
        "[a.b.c]\nd.e = {f = 1.5, g.h = 2}",
    ],
)
def test_dots_in_values_are_no_depth(text: str) -> None:
    assert read_toml(text)


def test_a_scenario_has_a_largest_size_and_number_of_rules(tmp_path: Path, client: FlaskClient) -> None:
    large = "#" * (SCENARIO_LARGEST + 1)
    path = tmp_path / "scenario.toml"
    path.write_text(large)
    with pytest.raises(UsageError, match=f"at most {SCENARIO_LARGEST}"):
        read_scenario(path, load_corpus())
    put = client.put("/__tn__/scenario", data=large, content_type="application/toml")
    assert (put.status_code, f"at most {SCENARIO_LARGEST}" in put.get_data(as_text=True)) == (400, True)
    rules = [{"fault": "drop"}] * (RULES_MOST + 1)
    put = client.put("/__tn__/scenario", json={"rule": rules})
    assert (put.status_code, f"at most {RULES_MOST}" in put.get_data(as_text=True)) == (400, True)
    assert client.put("/__tn__/scenario", json={"rule": rules[1:]}).status_code == 200
    deep = client.put("/__tn__/scenario", data=DEEP["a key"], content_type="application/toml")
    assert (deep.status_code, "more than 8 parts" in deep.get_data(as_text=True)) == (400, True)


# ---- sessions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["/", "/a", "a/", "..", ".", "a/../b", "./a", "a/journal", "a/scenario", "a\n", "\0", "\ud800", "k" * 257],
)
def test_a_key_that_no_address_could_hold_opens_no_session(client: FlaskClient, broker: Broker, key: str) -> None:
    made = client.post("/__tn__/sessions", data=json.dumps({"api_key": key}))
    assert made.status_code in (400, 409)
    assert "address" in made.get_json()["reason"] or "not understood" in made.get_json()["reason"]
    assert broker.keys == ["tn-demo-key"]


@pytest.mark.parametrize(
    "key", ["a b", "é", "a?b", "a#b", "a%2Fb", "...", "journal", "k" * 256, "a;b", "&", "a/b", "a//b"]
)
def test_every_key_that_opens_a_session_has_an_address_that_closes_it(
    client: FlaskClient, broker: Broker, key: str
) -> None:
    made = client.post("/__tn__/sessions", json={"api_key": key})
    assert made.status_code == 201
    address = made.get_json()["control_url"]
    assert client.get(address).get_json()["api_key"] == key
    assert client.delete(address).status_code == 200
    assert broker.keys == ["tn-demo-key"]


def test_secrets_have_a_greatest_length(client: FlaskClient) -> None:
    made = client.post("/__tn__/sessions", json={"api_key": "a", "api_secret": "s" * 1025})
    assert (made.status_code, "at most 1024" in made.get_json()["reason"]) == (409, True)


def test_reports_of_a_session_are_bounded(client: FlaskClient, broker: Broker) -> None:
    address, report = "/__tn__/sessions/tn-demo-key/reports", {"order_id": "1", "outcome": "accepted"}
    assert client.post(address, json={**report, "kind": "x" * 100_000}).status_code == 400
    assert client.post(address, json={**report, "order_id": "1" * 100_000}).status_code == 400
    session = broker.session("tn-demo-key")
    assert session
    assert client.post(address, json=report).status_code == 201
    session.reports *= REPORTS_KEPT
    refused = client.post(address, json=report)
    assert (refused.status_code, str(REPORTS_KEPT) in refused.get_json()["reason"]) == (409, True)


def test_reading_a_journal_diagnoses_only_so_many_the_newest_first_and_each_once() -> None:
    diagnosed: list[str] = []

    def diagnose(request: Request, *_: Any) -> Diagnosis:
        diagnosed.append(request.path)
        return Diagnosis(("some-mistake",))

    journal = Journal("key", diagnose=diagnose)
    for number in range(DIAGNOSED + 50):
        journal.add(0, Request("POST", f"/{number}"), None, Assessment("signature-invalid"))
    shown = journal.exchanges()
    assert len(diagnosed) == DIAGNOSED
    assert [exchange.diagnosis is not None for exchange in shown] == [False] * 50 + [True] * DIAGNOSED
    assert all(exchange.diagnosis for exchange in journal.exchanges())
    journal.exchanges()
    assert sorted(diagnosed) == sorted(f"/{number}" for number in range(DIAGNOSED + 50))


def test_reading_a_journal_stops_after_a_few_searches_in_vain() -> None:
    diagnosed: list[str] = []

    def diagnose(request: Request, *_: Any) -> Diagnosis:
        diagnosed.append(request.path)
        return Diagnosis()

    journal = Journal("key", diagnose=diagnose)
    for number in range(3 * IN_VAIN):
        journal.add(0, Request("POST", f"/{number}"), None, Assessment("signature-invalid"))
    for times in (1, 2, 3):
        journal.exchanges()
        assert diagnosed == [f"/{number}" for number in reversed(range((3 - times) * IN_VAIN, 3 * IN_VAIN))]


@pytest.mark.parametrize("address", ["sessions", "sessions/tn-demo-key/reports", "scenario"])
@pytest.mark.parametrize("body", [b'"\xed\xa0\x80"', b"\xff", b"[" * 100_000, b'{"a":' * 50_000, b"\0", b"1" * 100_000])
def test_a_body_that_is_no_json_is_refused(client: FlaskClient, address: str, body: bytes) -> None:
    ask = client.put if address == "scenario" else client.post
    for kind in ("application/json", "application/toml"):
        assert ask(f"/__tn__/{address}", data=body, content_type=kind).status_code == 400


# ---- the control plane -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["health", "ready", "sessions", "sessions/tn-demo-key/verdicts", "unmatched"])
def test_a_page_of_another_site_cannot_make_the_mock_work(client: FlaskClient, path: str) -> None:
    def status(site: str | None) -> int:
        headers = {"Sec-Fetch-Site": site} if site else {}
        return client.get(f"/__tn__/{path}", headers=headers).status_code

    assert status("cross-site") == 403
    assert {status(site) for site in ("same-origin", "same-site", "none", None)} == {200}


def test_who_has_the_token_may_come_from_anywhere() -> None:
    client = create_app(Broker(), guard=Guard("planted-token")).test_client()
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/__tn__/sessions", headers=headers).status_code == 401
    assert client.get("/__tn__/health", headers=headers).status_code == 403
    headers["Authorization"] = "Bearer planted-token"
    assert client.get("/__tn__/sessions", headers=headers).status_code == 200


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_the_address_that_is_told_can_be_connected_to(host: str, shown: str) -> None:
    try:
        with running(host=host, token="planted-token") as mock:
            assert mock.base_url.startswith(f"http://{shown}:")
    except UsageError:
        pytest.skip("there is no IPv6 here")


def test_a_mock_whose_journal_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    import httpx

    for path, status in ((Path("/dev/full"), 503), (tmp_path / "journal.jsonl", 200)):
        with running(journal_file=path) as mock:
            assert httpx.get(f"{mock.control_url}ready").status_code == status
            assert httpx.get(f"{mock.control_url}health").status_code == 200
    assert [each.name for each in tmp_path.iterdir()] == ["journal.jsonl"]
