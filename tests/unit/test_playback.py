"""Journals played back: the same mock answers the same, another one does not, and nobody else is asked."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from mock_server.serve import RunningMock, running
from tn_contract import Client, OutcomeUnknown, Rejected
from tn_contract.cli import main
from tn_contract.errors import UsageError
from tn_contract.playback import play_back, read_exchanges

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
        assert [each.verdict for each in play_back(read_exchanges(content, "it"), mock.base_url)] == ["same"]


def test_what_a_journal_does_not_hold_whole_is_not_sent(tmp_path: Path) -> None:
    def send(mock: RunningMock) -> bytes:
        demo = mock.broker.demo
        url = f"{mock.base_url}/api/v2/cmd/delTradeOrder"
        httpx.post(url, data={"apiKey": demo.api_key, "secret": demo.secret.reveal()})
        httpx.post(url, data={"apiKey": demo.api_key, "x": "y" * 5000})
        return httpx.get(f"{mock.control_url}sessions/{demo.api_key}/journal").content

    with running() as mock:
        played = list(play_back(read_exchanges(send(mock), "it"), mock.base_url))
    assert [each.now for each in played] == [
        "it held the secret, which no journal has",
        "its body was too long for the journal",
    ]


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
        read_exchanges(content, "it")
