"""Journals played back: the same mock answers the same, another one does not, and nobody else is asked."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from mock_server.serve import RunningMock, running
from tn_contract import Client, OutcomeUnknown, Rejected
from tn_contract.cli.root import main
from tn_contract.contract.corpus import Scheme
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Request, compose, compose_v3
from tn_contract.transport import Timeouts
from tn_contract.trial import playback
from tn_contract.trial.playback import play_back, read_journal

pytestmark = pytest.mark.slow

STORM = """
seed = 4
[[rule]]
fault = "drop"
chance = 0.3
[[rule]]
payload = "method-error"
chance = 0.3
"""


@pytest.fixture
def storm(tmp_path: Path) -> Path:
    path = tmp_path / "storm.toml"
    path.write_text(STORM)
    return path


@pytest.fixture
def journal(tmp_path: Path, storm: Path) -> Path:
    """What a mock wrote in a storm: v2 and v3, refusals, lost replies, strangers."""
    path = tmp_path / "journal.jsonl"
    with running(scenario_file=storm, journal_file=path) as mock:
        demo = mock.broker.demo
        for scheme in ("v2", "v3"):
            with Client(demo.api_key, demo.secret.reveal(), base_url=mock.base_url, scheme=scheme) as client:
                for order_id in (1, 2, 3, 9900000012, 9900000013, 6, 7, 8):
                    with contextlib.suppress(OutcomeUnknown, Rejected):
                        client.cancel_order(order_id)
        httpx.post(f"{mock.base_url}/api/v2/cmd/delTradeOrder", data={"apiKey": "größe", "x": "a b"})
        httpx.get(f"{mock.base_url}/elsewhere?a=b")
    return path


def replayed(*arguments: str | Path) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["replay", *map(str, arguments)])
    return ran.exit_code, ran.output


def test_a_mock_that_begins_alike_answers_alike(journal: Path, storm: Path) -> None:
    with running(scenario_file=storm) as mock:
        code, output = replayed(journal, mock.base_url)
    assert output == "18 same · 0 differs · 0 not sent\n"
    assert code == 0


def recorded(tmp_path: Path, act: Callable[[RunningMock], None], **options: Any) -> Path:
    path = tmp_path / "journal.jsonl"
    with running(journal_file=path, **options) as mock:
        act(mock)
    return path


def scene(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scene.toml"
    path.write_text(text)
    return path


def cancel(mock: RunningMock, *order_ids: int, scheme: Scheme = "v2", pause: float = 0) -> None:
    demo = mock.broker.demo
    with Client(demo.api_key, demo.secret.reveal(), base_url=mock.base_url, scheme=scheme) as client:
        for order_id in order_ids:
            with contextlib.suppress(OutcomeUnknown, Rejected):
                client.cancel_order(order_id)
            time.sleep(pause)


@pytest.mark.parametrize("scheme", ["v2", "v3"])
def test_what_was_delivered_twice_is_sent_once(tmp_path: Path, scheme: Scheme) -> None:
    twice = scene(tmp_path, "[[rule]]\ntwice = true\nskip = 1\ntimes = 1\n")
    journal = recorded(tmp_path, lambda mock: cancel(mock, 1, 2, 3, scheme=scheme), scenario_file=twice)
    assert len(journal.read_text().splitlines()) == 4
    with running(scenario_file=twice) as mock:
        assert replayed(journal, mock.base_url) == (0, "3 same · 0 differs · 0 not sent\n")


def test_a_delivery_whose_second_is_not_there_is_sent_all_the_same(tmp_path: Path) -> None:
    twice = scene(tmp_path, "[[rule]]\ntwice = true\n")
    journal = recorded(tmp_path, lambda mock: cancel(mock, 1), scenario_file=twice)
    first, _second = journal.read_text().splitlines()
    journal.write_text(first)
    with running() as mock:
        assert replayed(journal, mock.base_url) == (0, "1 same · 0 differs · 0 not sent\n")


BUCKET = """
[[rule]]
rate = { per_second = 2, burst = 1 }
payload = "rate-limited"
"""


def test_the_pauses_are_kept_so_a_token_bucket_fills_as_it_did(tmp_path: Path) -> None:
    bucket = scene(tmp_path, BUCKET)
    journal = recorded(tmp_path, lambda mock: cancel(mock, 1, 2, 3, 4, 5, pause=0.35), scenario_file=bucket)
    with running(scenario_file=bucket) as mock:
        assert replayed(journal, mock.base_url) == (0, "5 same · 0 differs · 0 not sent\n")


def test_pauses_may_be_left_out(tmp_path: Path) -> None:
    journal = recorded(tmp_path, lambda mock: cancel(mock, 1, 2, pause=1.5))
    began = time.monotonic()
    with running() as mock:
        assert replayed(journal, mock.base_url, "--no-pauses") == (0, "2 same · 0 differs · 0 not sent\n")
    assert time.monotonic() - began < 1.5


def place(mock: RunningMock, *rows: int) -> None:
    demo = mock.broker.demo
    for nonce, _ in enumerate(rows, 1):
        order = {"instr_name": "AAPL.US", "action_id": 1, "order_type_id": 2, "qty": 1, "limit_price": 1,
                 "expiration_id": 3}  # fmt: skip
        send(mock, compose(demo, "putTradeOrder", nonce, order).request)
    send(mock, compose(demo, "getNotifyOrderJson", 1000).request)


def send(mock: RunningMock, request: Request) -> None:
    httpx.post(mock.base_url + request.path, content=request.body, headers=list(request.headers))


@pytest.mark.parametrize("orders", [1, 12], ids=["short", "longer than a journal keeps"])
def test_a_book_answers_alike_but_for_the_time(tmp_path: Path, orders: int) -> None:
    journal = recorded(tmp_path, lambda mock: place(mock, *range(orders)), orders="book", seed=1)
    with running(orders="book", seed=1) as mock:
        assert replayed(journal, mock.base_url) == (0, f"{orders + 1} same · 0 differs · 0 not sent\n")


def test_a_reply_that_came_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "BRIEF", Timeouts(receive=0.2))
    late = scene(tmp_path, '[[rule]]\nfault = "delay"\nseconds = 0.5\ntimes = 1\n[[rule]]\nfault = "silence"\n')
    journal = recorded(tmp_path, lambda mock: cancel_hastily(mock), scenario_file=late)
    began = time.monotonic()
    with running(scenario_file=late) as mock:
        assert replayed(journal, mock.base_url) == (0, "2 same · 0 differs · 0 not sent\n")
    assert time.monotonic() - began < 10, "silence is not waited for"


def cancel_hastily(mock: RunningMock) -> None:
    for nonce in (1, 2):
        with contextlib.suppress(httpx.ReadTimeout):
            request = compose(mock.broker.demo, "delTradeOrder", nonce, {"order_id": 1}).request
            url = mock.base_url + request.path
            httpx.post(url, content=request.body, headers=list(request.headers), timeout=1)


def test_old_timestamps_and_unknown_keys_are_told_with_what_to_do(tmp_path: Path) -> None:
    def act(mock: RunningMock) -> None:
        session = mock.broker.open_session("other")
        send(mock, compose_v3(mock.broker.demo, "delTradeOrder", 1_700_000_000, {"order_id": 1}).request)
        send(mock, compose(session.credentials, "delTradeOrder", 1, {"order_id": 1}).request)

    journal = recorded(tmp_path, act, timestamp_tolerance=0)
    with running() as mock:
        code, output = replayed(journal, mock.base_url)
    assert code == 1
    assert "--timestamp-tolerance 0" in output
    assert "/__tn__/sessions" in output


def test_a_journal_without_times_is_refused_where_they_are_needed(tmp_path: Path) -> None:
    journal = recorded(tmp_path, lambda mock: cancel(mock, 1))
    line = json.loads(journal.read_text())
    line["exchange"]["at"] = "yesterday"
    journal.write_text(json.dumps(line))
    with running() as mock:
        code, output = replayed(journal, mock.base_url)
        assert code == 4
        assert "exchange 1 came at 'yesterday'" in output
        assert replayed(journal, mock.base_url, "--no-pauses")[0] == 0


def test_a_mock_without_the_storm_answers_otherwise(journal: Path) -> None:
    with running() as mock:
        code, output = replayed(journal, mock.base_url, "--json")
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert code == 1
    assert {line["verdict"] for line in lines} == {"same", "differs"}
    assert any(line["recorded"] == "no whole reply" and line["now"].startswith("200 ") for line in lines)


def test_a_nonce_is_not_accepted_again(journal: Path, storm: Path) -> None:
    with running(scenario_file=storm) as mock:
        replayed(journal, mock.base_url)
        code, output = replayed(journal, mock.base_url)
    assert code == 1
    assert "nonce" in output


@pytest.mark.parametrize("kind", ["journal", "journal.jsonl"])
def test_a_sessions_own_journal_is_played_too(kind: str, tmp_path: Path) -> None:
    with running() as mock:
        demo = mock.broker.demo
        with Client(demo.api_key, demo.secret.reveal(), base_url=mock.base_url) as client:
            client.cancel_order(5)
        content = httpx.get(f"{mock.control_url}sessions/{demo.api_key}/{kind}").content
    with running() as mock:
        assert [each.verdict for each in play_back(read_journal(content, "it").exchanges, mock.base_url)] == ["same"]


def test_what_a_journal_does_not_hold_whole_is_not_sent(tmp_path: Path) -> None:
    def send(mock: RunningMock) -> bytes:
        demo = mock.broker.demo
        url = f"{mock.base_url}/api/v2/cmd/delTradeOrder"
        httpx.post(url, data={"apiKey": demo.api_key, "secret": demo.secret.reveal()})
        httpx.post(url, data={"apiKey": demo.api_key, "x": "y" * 5000})
        return httpx.get(f"{mock.control_url}sessions/{demo.api_key}/journal").content

    with running() as mock:
        played = list(play_back(read_journal(send(mock), "it").exchanges, mock.base_url))
    assert [each.now for each in played] == [
        "it held the secret, which no journal has",
        "its body was too long for the journal",
    ]


def edited(journal: Path, old: str, new: str) -> Path:
    journal.write_text(journal.read_text().replace(old, new))
    return journal


def test_a_path_that_would_be_part_of_the_host_goes_nowhere(journal: Path, storm: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, running(scenario_file=storm) as mock:
        elsewhere.settimeout(0.1)
        path = f"@127.0.0.1:{elsewhere.getsockname()[1]}/api/v2"
        code, output = replayed(edited(journal, "POST /api/v2", f"POST {path}"), mock.base_url)
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    assert code == 1
    assert "it is no request: ValueError" in output


def test_a_path_that_would_be_tidied_on_the_way_is_not_sent(journal: Path, storm: Path) -> None:
    with running(scenario_file=storm) as mock:
        _, output = replayed(edited(journal, "GET /elsewhere", "GET /x/../elsewhere"), mock.base_url)
    assert "its path would be another on the way" in output
    assert "1 not sent" in output


def test_what_cannot_be_written_as_a_request_keeps_no_other_from_being_sent(journal: Path, storm: Path) -> None:
    first, *others = journal.read_text().splitlines()
    header = '"headers":[["User-Agent","caf\u00e9"],'
    journal.write_text("\n".join([first.replace('"headers":[', header, 1), *others]))
    with running(scenario_file=storm) as mock:
        _, output = replayed(journal, mock.base_url)
    assert "it is no request: UnicodeEncodeError" in output
    assert output.endswith("1 not sent\n")


def test_a_line_that_breaks_off_is_left_out_and_named(journal: Path, storm: Path) -> None:
    first, *others = journal.read_text().splitlines()
    journal.write_text("\n".join([first, others[0][:-9], *others, others[-1][:99]]))
    with running(scenario_file=storm) as mock:
        code, output = replayed(journal, mock.base_url)
    assert (code, output.splitlines()) == (
        0,
        [f"{journal}, line {number} breaks off, and is left out" for number in (2, 20)]
        + ["18 same · 0 differs · 0 not sent"],
    )


def test_a_reply_to_head_is_compared_without_the_body_that_it_cannot_have(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with running(journal_file=path) as mock:
        httpx.head(f"{mock.base_url}/elsewhere")
    with running() as mock:
        assert replayed(path, mock.base_url) == (0, "1 same · 0 differs · 0 not sent\n")


def test_a_rule_that_is_called_like_a_second_delivery_delivers_none(tmp_path: Path) -> None:
    rules, path = tmp_path / "named.toml", tmp_path / "journal.jsonl"
    rules.write_text('[[rule]]\nname = "x, delivered twice"\npayload = "method-error"\n')
    with running(scenario_file=rules, journal_file=path) as mock:
        request = compose(mock.broker.demo, "delTradeOrder", 5, {"order_id": 5}).request
        for _ in range(2):
            httpx.post(f"{mock.base_url}{request.path}", content=request.body, headers=list(request.headers))
    with running(scenario_file=rules) as mock:
        assert replayed(path, mock.base_url) == (0, "2 same · 0 differs · 0 not sent\n")


def test_only_this_machine_is_asked(journal: Path) -> None:
    code, output = replayed(journal, "https://tradernet.com")
    assert code == 4
    assert "mocks only" in output


def test_a_mock_that_is_not_there_is_no_difference(journal: Path) -> None:
    with running() as mock:
        gone = mock.base_url
    code, output = replayed(journal, gone)
    assert code == 3
    assert "start the mock first" in output


@pytest.mark.parametrize(
    ("content", "told"), [(b"hello", "line 1"), (b"", "no exchange"), (b'{"line": "end", "lines": 3}', "no exchange")]
)
def test_what_is_no_journal_is_a_usage_error(content: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_journal(content, "it")
