"""Several threads at once: a nonce is accepted once, sessions are distinct, nothing is lost."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from mock_server.broker import DEMO, Broker
from mock_server.serve import RunningMock, running
from tn_contract.contract.errors import UsageError
from tn_contract.contract.nonce import NonceLedger, Policy
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request, compose

pytestmark = [pytest.mark.slow, pytest.mark.timed]

THREADS = 8
ROUNDS = 100


class SlowLedger(NonceLedger):
    """Lets other threads run wherever the last nonce is read or written: a missing lock shows at once."""

    _last: int | None = None

    @property
    def last(self) -> int | None:
        value = self._last
        time.sleep(0.0002)
        return value

    @last.setter
    def last(self, value: int | None) -> None:
        time.sleep(0.0002)
        self._last = value


@pytest.fixture
def slow_ledgers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_server.state.memory.NonceLedger", SlowLedger)


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running(Broker(journal_size=THREADS * ROUNDS)) as mock:
        yield mock


@pytest.fixture(autouse=True)
def _start_afresh(mock: RunningMock) -> None:
    mock.broker.reset()


def connect(mock: RunningMock) -> http.client.HTTPConnection:
    host, port = mock.base_url.removeprefix("http://").split(":")
    return http.client.HTTPConnection(host, int(port), timeout=10)


def ask(connection: http.client.HTTPConnection, request: Request) -> dict[str, Any]:
    connection.request(request.method, request.path, request.body, dict(request.headers))
    read: dict[str, Any] = json.loads(connection.getresponse().read())
    return read


def cancel(nonce: int, credentials: Credentials = DEMO) -> Request:
    return compose(credentials, "delTradeOrder", nonce, {"order_id": 2929292929}).request


def all_at_once(work: Callable[[int], Any]) -> list[Any]:
    """Call `work` in each thread with the thread's number; fails if one of them fails."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def test_of_equal_requests_that_race_exactly_one_is_accepted(mock: RunningMock) -> None:
    gate = threading.Barrier(THREADS, timeout=10)

    def race(_thread: int) -> list[bool]:
        connection = connect(mock)
        accepted = []
        try:
            for nonce in range(1, ROUNDS + 1):
                gate.wait()
                accepted.append("order_id" in ask(connection, cancel(nonce)))
        finally:
            connection.close()
        return accepted

    accepted = all_at_once(race)
    assert [sum(round_) for round_ in zip(*accepted, strict=True)] == [1] * ROUNDS
    session = mock.broker.session(DEMO.api_key)
    assert session is not None
    exchanges = session.journal.exchanges()
    assert [exchange.seq for exchange in exchanges] == list(range(1, THREADS * ROUNDS + 1))
    assert Counter(exchange.assessment.situation for exchange in exchanges if exchange.assessment) == {
        "cancel-accepted": ROUNDS,
        "nonce-replayed": (THREADS - 1) * ROUNDS,
    }


@pytest.mark.usefixtures("slow_ledgers")
@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_a_nonce_is_judged_and_kept_in_one_step(policy: Policy) -> None:
    broker = Broker(policy=policy)
    gate = threading.Barrier(THREADS, timeout=10)

    def race(_thread: int) -> list[bool]:
        accepted = []
        for nonce in range(1, 21):
            gate.wait()
            accepted.append(b"order_id" in broker.handle(cancel(nonce)).reply.body)
        return accepted

    assert [sum(round_) for round_ in zip(*all_at_once(race), strict=True)] == [1] * 20


@pytest.mark.usefixtures("slow_ledgers")
def test_a_key_is_looked_up_and_taken_in_one_step() -> None:
    broker = Broker()
    gate = threading.Barrier(THREADS, timeout=10)

    def claim(thread: int) -> bool:
        gate.wait()
        try:
            return broker.open_session("wanted", str(thread)) is broker.session("wanted")
        except UsageError:
            return False

    assert Counter(all_at_once(claim)) == {True: 1, False: THREADS - 1}


def test_of_rising_nonces_that_race_the_highest_is_always_accepted_and_kept(mock: RunningMock) -> None:
    gate = threading.Barrier(THREADS, timeout=10)

    def race(thread: int) -> list[bool]:
        accepted = []
        for round_ in range(ROUNDS):
            gate.wait()
            answer = mock.broker.handle(cancel(1 + round_ * THREADS + thread))
            accepted.append(b"order_id" in answer.reply.body)
        return accepted

    accepted = all_at_once(race)
    assert accepted[-1] == [True] * ROUNDS
    session = mock.broker.session(DEMO.api_key)
    assert session is not None
    assert session.ledger.last == THREADS * ROUNDS


def test_sessions_opened_at_the_same_time_are_distinct_and_work(mock: RunningMock) -> None:
    gate = threading.Barrier(THREADS, timeout=10)

    def open_and_use(_thread: int) -> list[str]:
        connection = connect(mock)
        keys = []
        try:
            for _ in range(10):
                gate.wait()
                connection.request("POST", "/__tn__/sessions")
                opened = json.loads(connection.getresponse().read())
                credentials = Credentials(opened["api_key"], Secret(opened["api_secret"]))
                assert ask(connection, cancel(1, credentials)) == {"order_id": 2929292929}
                keys.append(opened["api_key"])
        finally:
            connection.close()
        return keys

    keys = list(chain.from_iterable(all_at_once(open_and_use)))
    assert len(set(keys)) == THREADS * 10
    assert set(mock.broker.keys) == {DEMO.api_key, *keys}


def test_one_key_that_many_want_is_given_once(mock: RunningMock) -> None:
    gate = threading.Barrier(THREADS, timeout=10)

    def claim(thread: int) -> int:
        connection = connect(mock)
        try:
            gate.wait()
            connection.request("POST", "/__tn__/sessions", json.dumps({"api_key": "wanted", "api_secret": str(thread)}))
            reply = connection.getresponse()
            reply.read()
            return reply.status
        finally:
            connection.close()

    assert Counter(all_at_once(claim)) == {201: 1, 409: THREADS - 1}


def test_resetting_under_load_leaves_the_demo_session_in_place(mock: RunningMock) -> None:
    def load(thread: int) -> None:
        for nonce in range(1, 200):
            if thread == 0:
                mock.broker.reset()
            else:
                mock.broker.handle(cancel(nonce))
                mock.broker.unmatched.exchanges()

    all_at_once(load)
    mock.broker.reset()
    assert mock.broker.keys == [DEMO.api_key]
    assert b"order_id" in mock.broker.handle(cancel(1)).reply.body
