"""A mock that runs for weeks stays as small as it was after its first hour."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from mock_server.book.book import NewOrder
from mock_server.broker import DEMO, Broker
from tn_contract.contract.wire import Request, compose, replace

pytestmark = pytest.mark.slow

WARM_UP = 2_000
REQUESTS = 20_000
MEBIBYTE = 1024 * 1024


def request(number: int) -> Request:
    """Mostly accepted cancels; in between refusals, unmatched, harness errors and long bodies."""
    good = compose(DEMO, "delTradeOrder", number + 1, {"order_id": number + 1}).request
    match number % 10:
        case 0:
            return replace(good, headers=good.headers[:1])
        case 1:
            return replace(good, body=b"apiKey=stranger%d" % number)
        case 2:
            return replace(good, path="/nowhere")
        case 3 if number % 100 == 3:
            return replace(good, body=good.body + b"&zzz=" + b"z" * 60_000)
        case 4 if number % 100 == 4:
            return replace(good, body=b"z" * 60_000)
    return good


@pytest.fixture
def broker() -> Broker:
    return Broker(journal_size=200)


@pytest.mark.full
def test_after_twenty_thousand_requests_journals_are_bounded_and_memory_is_flat(broker: Broker) -> None:
    tracemalloc.start()
    try:
        for number in range(WARM_UP):
            broker.handle(request(number))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(WARM_UP, REQUESTS):
            broker.handle(request(number))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    session = broker.session(DEMO.api_key)
    assert session is not None
    assert len(session.journal) == len(broker.unmatched) == 200
    assert session.journal.exchanges()[-1].seq > 10_000
    assert after - before < MEBIBYTE // 4


def test_long_lists_of_orders_are_not_kept_whole() -> None:
    broker = Broker(journal_size=200, orders="book", policy="none")
    assert broker.book
    for number in range(500):
        broker.book.put(DEMO.api_key, NewOrder(order_id=number + 1))
    list_orders = compose(DEMO, "getNotifyOrderJson", 1, {"active_only": 0}).request
    assert len(broker.handle(list_orders).reply.body) > 100_000
    tracemalloc.start()
    try:
        for _ in range(50):
            broker.handle(list_orders)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MEBIBYTE


def test_a_journal_full_of_long_requests_is_small(broker: Broker) -> None:
    tracemalloc.start()
    try:
        for number in range(400):
            broker.handle(request(100 * number + 3))
            broker.handle(request(100 * number + 4))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8 * MEBIBYTE  # two journals of 200, with about 8 KiB of each body
