"""Requests that belong to no session: they cost the same however many sessions there are, and hold up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mock_server.aside import Aside
from mock_server.broker import Broker
from mock_server.state import open_state
from tn_contract.contract.errors import JournalUnavailable
from tn_contract.contract.redaction import Matcher
from tn_contract.contract.wire import Request
from tn_contract.record.journal import Exchange

HEADERS = tuple((f"X-Header-{number}", f"value {number} of a stranger") for number in range(30))
UNMATCHED = {
    "icon": Request("GET", "/favicon.ico", HEADERS),
    "unknown key": Request(
        "POST", "/api/v2/cmd/delTradeOrder", HEADERS, b"apiKey=stranger&cmd=delTradeOrder&x=" + b"x%2dy" * 1000
    ),
}


def seconds(broker: Broker, request: Request) -> float:
    best = 1e9
    for _ in range(7):
        started = time.process_time()
        for _ in range(5):
            broker.handle(request)
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("journal", [True, False], ids=["with a journal", "without"])
@pytest.mark.parametrize("name", UNMATCHED)
def test_an_unmatched_request_costs_the_same_with_one_and_with_ten_thousand_sessions(name: str, journal: bool) -> None:
    def broker(sessions: int) -> Broker:
        written: list[Exchange] = []
        made = Broker(seed=1, sink=written.append if journal else None)
        for _ in range(sessions):
            made.open_session()
        return made

    few, many = broker(1), broker(10_000)
    assert seconds(many, UNMATCHED[name]) < 5 * seconds(few, UNMATCHED[name])


def test_each_secret_is_prepared_once_however_many_requests_come_between(monkeypatch: pytest.MonkeyPatch) -> None:
    added = []
    add = Matcher.add
    monkeypatch.setattr(Matcher, "add", lambda self, secret: added.append(secret) or add(self, secret))
    written: list[Exchange] = []
    broker = Broker(seed=1, sink=written.append)
    for _ in range(500):
        broker.open_session()
        broker.handle(UNMATCHED["icon"])
    assert len(added) <= 2 * 500 + 2  # once for all, once for its own journal if that is written


def test_secrets_of_sessions_that_other_processes_open_are_known(tmp_path: Path) -> None:
    here, there = (Broker(state=f"sqlite:{tmp_path / 'state'}") for _ in range(2))

    def shown(secret: str) -> str:
        here.handle(Request("GET", f"/{secret}"))
        return here.unmatched.exchanges()[-1].request.line

    first = [f"planted-secret-{number:04}" for number in range(40)]
    for number, secret in enumerate(first):
        there.open_session(f"key {number}", secret)
    assert shown(first[0]) == shown(first[39]) == "GET /***"
    there.close_session("key 39")  # the next one gets its row
    there.open_session("another", "another-secret-here")
    assert shown("another-secret-here") == shown(first[39]) == "GET /***"
    here.state.shut()
    there.state.shut()


def test_only_so_many_secrets_are_kept_and_the_last_ones_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from mock_server.sessions import KnownPairs
    from tn_contract.contract.signing import Credentials, Secret

    state = open_state("memory")
    known = KnownPairs(state, 10)
    for number in range(100):
        state.open(Credentials(f"key {number}", Secret(f"secret-of-{number:05}")))
        assert known.matcher().spans(f"secret-of-{number:05}".encode())
        assert len(known.pairs()) <= 20
    assert all(known.matcher().spans(f"secret-of-{number:05}".encode()) for number in range(90, 100))


def test_unmatched_requests_are_written_aside_and_only_so_many_wait() -> None:
    work: list[Callable[[], None]] = []
    written: list[Exchange] = []
    broker = Broker(sink=written.append, aside=work.append)
    broker.handle(UNMATCHED["icon"])
    assert (len(work), written) == (1, [])
    work.pop()()
    assert [exchange.request.line for exchange in written] == ["GET /favicon.ico"]


def test_what_cannot_wait_any_more_is_refused_and_what_waits_is_done_at_the_end() -> None:
    aside, go, done = Aside(size=3), threading.Event(), []
    aside(lambda: go.wait(8) and None)
    for number in range(3):
        while aside._waiting.qsize() > number:  # the first is under way
            time.sleep(0.01)
        aside(lambda number=number: done.append(number))  # type: ignore[misc] # bound now
    with pytest.raises(JournalUnavailable, match="3 unmatched requests wait"):
        aside(lambda: None)
    go.set()
    aside.close()
    assert done == [0, 1, 2]


def test_too_many_unmatched_requests_leave_the_mock_ready() -> None:
    def full(_work: Callable[[], None]) -> None:
        raise JournalUnavailable("256 wait")

    broker = Broker(sink=lambda _exchange: None, aside=full)
    reply = broker.handle(UNMATCHED["icon"]).reply
    assert b"no address of the API" in reply.body
    broker.ready()
    assert broker.left_out == 1


def test_a_failure_aside_makes_the_mock_unready() -> None:
    def fail(_exchange: Exchange) -> None:
        raise JournalUnavailable("the disk is full")

    broker = Broker(sink=fail, aside=lambda work: work())
    broker.handle(UNMATCHED["icon"])
    assert broker.missing == "the disk is full"
    broker._sink = None
    broker.unmatched._sink = lambda _exchange: None
    broker.handle(UNMATCHED["icon"])
    broker.ready()
