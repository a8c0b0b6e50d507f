"""Fixtures for users' own tests: a running mock, and a key pair on it for each test."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_server.scenario import Scenario
    from mock_server.serve import RunningMock
    from tn_contract.client.client import Client
    from tn_contract.record.journal import Exchange


@dataclass(frozen=True)
class MockSession:
    """A key pair on the mock, with its own nonces and journal. The secret does not show in `repr`."""

    base_url: str
    api_key: str
    api_secret: str = field(repr=False)
    _mock: RunningMock = field(repr=False)

    def journal(self) -> list[Exchange]:
        """What was sent with this key and what the mock made of it, oldest first."""
        session = self._mock.broker.session(self.api_key)
        return session.journal.exchanges() if session else []

    def play(self, *rules: dict[str, Any], seed: int = 0) -> Scenario:
        """Let a scenario befall this key's commands (docs/scenarios.md); ask it for its `unused()` rules afterwards.

        Raises `UsageError` when a rule is not understood, or the session is closed.
        """
        session = self._mock.broker.session(self.api_key)
        if session is None:  # the mock's general scenario is not this session's to set
            from tn_contract.contract.errors import UsageError

            raise UsageError(
                f"the session {self.api_key} is closed, so no scenario can befall it: play rules while it "
                "is open, or open another with tn_new_session"
            )
        return self._mock.broker.play({"rule": list(rules), "seed": seed}, session)

    def cancelled(self) -> list[int]:
        """The orders that were cancelled with this key, in order."""
        return [
            int(exchange.assessment.order_id)
            for exchange in self.journal()
            if exchange.assessment and exchange.assessment.effect == "cancelled"
        ]


def journal_told(session: MockSession) -> str:
    """Write what the mock saw of a session, for the report of a test that failed."""
    import msgspec

    from tn_contract.contract.text import escape

    exchanges = session.journal()
    if not exchanges:
        return "no request with this test's key"
    texts = (msgspec.json.format(msgspec.json.encode(exchange), indent=2).decode() for exchange in exchanges)
    return escape("\n".join(texts), keep="\n")


NewSession = Callable[[], AbstractContextManager[MockSession]]


@pytest.fixture(scope="session")
def tn_mock_options() -> dict[str, Any]:
    """Override to configure the mock: the options of `tn-contract serve`, as in `{"nonces": "unique"}`."""
    return {}


@pytest.fixture(scope="session")
def tn_mock(tn_mock_options: dict[str, Any]) -> Iterator[RunningMock]:
    """A running mock for this test run: `base_url`, `broker`, `control_url`."""
    from tn_contract.contract.errors import UsageError
    from tn_contract.trial.embedded import judge, load_mock, mock_options

    with ExitStack() as opened:
        try:
            mock = opened.enter_context(load_mock().running(judge=judge, **mock_options(tn_mock_options)))
        except UsageError as error:
            pytest.fail(f"tn_mock_options is not understood: {error}", pytrace=False)
        _import_late_modules()
        yield mock


def _import_late_modules() -> None:
    """Cancel two orders on another mock, one wrongly signed, and read the journal.

    What is imported late is imported now, and not within the 200 ms that hypothesis allows for an example.
    """
    from tn_contract.client.client import Client
    from tn_contract.contract.errors import Rejected
    from tn_contract.trial.embedded import load_mock

    with load_mock().running() as mock:
        demo = mock.broker.demo
        for secret in (demo.secret.reveal(), "wrong"):
            with Client(demo.api_key, secret, base_url=mock.base_url) as client, suppress(Rejected):
                client.cancel_order(2929292929)
        mock.broker.session(demo.api_key).journal.exchanges()


@pytest.fixture(scope="session")
def tn_new_session(tn_mock: RunningMock) -> NewSession:
    """A factory of fresh key pairs, as context managers. Safe under `@given`: one for each example."""

    @contextmanager
    def new_session() -> Iterator[MockSession]:
        credentials = tn_mock.broker.open_session().credentials
        try:
            yield MockSession(tn_mock.base_url, credentials.api_key, credentials.secret.reveal(), tn_mock)
        finally:
            tn_mock.broker.close_session(credentials.api_key)

    return new_session


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker `tn_scenario` that would do nothing, or less than it says."""
    found = list(item.iter_markers_with_node("tn_scenario"))
    if not found:
        return
    nodes, marker = [node for node, _ in found], found[0][1]
    flaw = ""
    if "tn_session" not in getattr(item, "fixturenames", ()):
        if item not in nodes:  # it is its class's or module's, and meant for the others there
            return
        flaw = (
            "speaks of tn_session, which this test does not use: take it as an argument, or let session.play(…) do it"
        )
    elif len(set(nodes)) < len(nodes):
        flaw = "stands here twice: give all rules to one"
    elif unknown := set(marker.kwargs) - {"seed"}:
        names = ", ".join(sorted(unknown))
        flaw = f'does not know {names}: a rule is a dict, as in tn_scenario({{"fault": "drop"}}, seed=1)'
    elif not marker.args:
        flaw = 'has no rule: give it one, such as tn_scenario({"fault": "drop"})'
    if flaw:
        pytest.fail(f"the marker tn_scenario {flaw}", pytrace=False)


@pytest.fixture
def tn_session(tn_new_session: NewSession, request: pytest.FixtureRequest) -> Iterator[MockSession]:
    """A fresh key pair on the mock for this test, with the rules of its marker `tn_scenario`, if it has one."""
    from tn_contract.contract.errors import UsageError

    marker = request.node.get_closest_marker("tn_scenario")
    with tn_new_session() as session:
        try:
            scenario = session.play(*marker.args, **marker.kwargs) if marker else None
        except UsageError as error:
            pytest.fail(f"the marker tn_scenario is not understood: {error}", pytrace=False)
        yield session
    if scenario and (unused := scenario.unused()):
        warnings.warn(pytest.PytestWarning(f"tn_scenario: {', '.join(unused)} hit nothing"), stacklevel=1)


@pytest.fixture
def tn_client(tn_session: MockSession) -> Iterator[Client]:
    """The reference client with this test's key pair."""
    from tn_contract.client.client import Client

    with Client(tn_session.api_key, tn_session.api_secret, base_url=tn_session.base_url) as client:
        yield client
