"""Random histories against the mock: the state machine that users get for their own servers."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from mock_server.broker import Broker
from mock_server.serve import RunningMock, running
from tn_contract.contract.errors import TargetRefused
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.strategies import cancel_session

# Ends at the first fault, so that a wrong server costs few of them whatever the seed is.
MANY = 2000


def _play(mock: RunningMock, examples: int | None = None) -> None:
    case = cancel_session(mock.base_url, lambda: mock.broker.open_session().credentials)
    # A found fault need not be made small here.
    case.settings = settings(
        case.settings, phases=(Phase.generate,), max_examples=examples or case.settings.max_examples
    )
    case("runTest").runTest()


def test_the_mock_keeps_the_contract_in_every_history(tn_mock: RunningMock) -> None:
    _play(tn_mock)


def test_key_pairs_may_take_turns(tn_mock: RunningMock) -> None:
    pairs = [tn_mock.broker.open_session().credentials for _ in range(2)]
    cancel_session(tn_mock.base_url, pairs)("runTest").runTest()


@pytest.mark.parametrize("policy", ["unique", "none"])
def test_a_server_with_another_nonce_rule_is_found(policy: str) -> None:
    with running(policy=policy) as mock, pytest.raises(AssertionError, match="must be refused"):
        _play(mock, MANY)


def test_a_server_that_accepts_forged_signatures_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broker, "_check_signature", staticmethod(lambda *_arguments: None))
    with running() as mock, pytest.raises(AssertionError, match=r"a forged signature|another order"):
        _play(mock, MANY)


def test_a_live_host_is_refused() -> None:
    with pytest.raises(TargetRefused, match=r"tradernet\.com"):
        cancel_session("https://tradernet.com", [Credentials("key", Secret("secret"))])


def test_a_sandbox_is_played_briefly_and_never_shrunk() -> None:
    played = cancel_session("https://sandbox.example", [Credentials("key", Secret("secret"))]).settings
    assert Phase.shrink not in played.phases
    assert played.max_examples * played.stateful_step_count <= 15
    assert played.database is None
