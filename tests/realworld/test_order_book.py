"""The vendor's own SDK empties the order book: its `cancel_all` reads the list as the book writes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mock_server.book.book import NewOrder
from mock_server.broker import Broker, Session
from mock_server.serve import RunningMock, running

from .clients import HOSTS, NotAvailable, RealClient
from .recording import drive_at

VERSIONS = ("0.4.4", "1.3.0", "2.2.0")


def sdk(version: str) -> RealClient:
    client = RealClient(f"cancel-all-{version}", "drive_cancel_all.py", "", f"tradernet-sdk=={version}")
    unavailable = ""
    try:
        client.command()
    except NotAvailable as reason:
        unavailable = str(reason)
    if unavailable:
        pytest.fail(unavailable, pytrace=False)
    return client


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    # Without nonces, for version 1 sends none. A cancel takes longer than the test.
    with running(Broker(orders="book", policy="none", cancel_seconds=600), tls=HOSTS) as mock:
        yield mock


@pytest.fixture
def session(mock: RunningMock) -> Session:
    return mock.broker.open_session()


@pytest.mark.parametrize("version", VERSIONS)
def test_cancel_all_cancels_what_is_active_and_nothing_else(version: str, mock: RunningMock, session: Session) -> None:
    client, book, key = sdk(version), mock.broker.book, session.credentials.api_key
    assert book
    other = mock.broker.open_session().credentials.api_key
    for owner in (key, other):
        for stat in (10, 12, 21, 31):
            book.put(owner, NewOrder(stat=stat, q=2, leaves_qty=1))
    active = [order.order_id for order in book.orders(key)][:2]
    (line,) = drive_at(mock, session, client, ())
    assert line == {"replies": [{"order_id": order_id} for order_id in active]}
    assert [order.stat for order in book.orders(key)] == [2, 2, 21, 31]
    assert [order.stat for order in book.orders(other)] == [10, 12, 21, 31]


@pytest.mark.parametrize("version", VERSIONS)
def test_cancel_all_asks_for_nothing_when_nothing_is_there(version: str, mock: RunningMock, session: Session) -> None:
    assert drive_at(mock, session, sdk(version), ()) == [{"replies": []}]
    assert len(session.journal) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_cancel_all_cancels_again_what_is_being_cancelled(
    version: str, mock: RunningMock, session: Session
) -> None:
    client, book = sdk(version), mock.broker.book
    assert book
    book.put(session.credentials.api_key, NewOrder())
    drive_at(mock, session, client, ())
    (line,) = drive_at(mock, session, client, ())
    assert line == {"replies": [{"error": "synthetic: the order is being cancelled already", "code": 0}]}
