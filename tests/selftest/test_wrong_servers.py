"""A server that verifies signatures wrongly is told which mistake it makes."""

from __future__ import annotations

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server.target import TargetOptions

from .honest import PAIRS, Call, Server, canonical
from .judging import judge_of


class SortsDownwards(Server):
    def string_to_sign(self, call: Call) -> str:
        return "&".join(reversed(canonical(call.fields).split("&")))


class PercentEncodes(Server):
    def string_to_sign(self, call: Call) -> str:
        key, command, nonce, *params = canonical(call.fields).split("&")
        return "&".join(
            [key, command, nonce, *(f"params%5B{inner.removeprefix('params=')}" for inner in params)]
        ).replace("order_id=", "order_id%5D=")


class AnotherSecret(Server):
    def string_to_sign(self, call: Call) -> str:
        return f"who knows {canonical(call.fields)} what"


@pytest.fixture(autouse=True)
def key_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = next(iter(PAIRS.items()))
    monkeypatch.setenv("TN_API_KEY", key)
    monkeypatch.setenv("TN_API_SECRET", secret)


@pytest.mark.parametrize(
    ("server", "control", "mistake"),
    [
        (SortsDownwards, "control/opens-session", "reverse-sorted"),
        (SortsDownwards, "control/accepts-cancel", "reverse-sorted"),
        (PercentEncodes, "control/accepts-cancel", "percent-encoded"),
    ],
)
def test_the_control_names_the_mistake_of_a_server(server: type[Server], control: str, mistake: str) -> None:
    with judge_of(server()) as judge:
        result = judge.judge(control)
    assert result.verdict == "error"
    assert result.finding.actual.endswith(f"; it accepts a signature made so: {load_corpus().mistakes[mistake].title}")
    session_first = control == "control/accepts-cancel"
    assert len(result.exchanges) == 2 + session_first, "the refusal, and what was accepted instead"


def test_a_server_whose_mistake_is_unknown_is_only_said_to_refuse() -> None:
    with judge_of(AnotherSecret()) as judge:
        result = judge.judge("control/opens-session")
    assert result.verdict == "error"
    assert "it accepts" not in result.finding.actual
    assert len(result.exchanges) == 1


def test_the_search_keeps_to_the_budget_and_to_disposable_targets() -> None:
    with judge_of(AnotherSecret(), TargetOptions("http://127.0.0.1:1", budget=20)) as judge:
        assert judge.judge("control/opens-session").verdict == "error"
        assert judge.target.requests == 20
        assert not judge.target.exhausted
    with judge_of(AnotherSecret(), TargetOptions("https://sandbox.example", pause=0)) as judge:
        assert judge.judge("control/opens-session").verdict == "error"
        assert judge.target.requests == 1
