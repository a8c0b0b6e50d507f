"""Lists of orders: every spelling that was recorded or documented, and what is none. And the clients that ask."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.book.book import Change, NewOrder
from mock_server.broker import Broker, Session
from mock_server.serve import RunningMock, running
from tn_contract.client.client import AsyncClient, Client, orders_outcome
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import OutcomeUnknown, Rejected
from tn_contract.contract.wire import Reply
from tn_contract.record.orders import Order, Unreadable, read_orders

pytestmark = pytest.mark.slow

CORPUS = load_corpus()
RECONCILE = Path(__file__).parent.parent.parent / "examples" / "reconcile.py"
ROW = {"id": 5, "order_id": 5, "stat": 2, "instr": "AMD.US", "q": 3, "leaves_qty": 2, "userOrderId": ""}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["result", "orders", "order", "id", "order_id", "stat", "q"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


# ---- reading -----------------------------------------------------------------------------------------------

ENVELOPES: dict[str, Callable[[Any], Any]] = {
    "recorded": lambda rows: {"result": {"orders": {"key": "%me", "order": rows}}},
    "the history's": lambda rows: {"orders": {"key": "ME", "order": rows}},
    "bare": lambda rows: rows,
    "a list of PHP": lambda rows: {"result": {"orders": rows}},
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_a_list_is_read_in_every_envelope(envelope: str) -> None:
    assert [order.order_id for order in read_orders(ENVELOPES[envelope]([ROW, {**ROW, "id": 6, "order_id": 6}]))] == [
        5,
        6,
    ]
    assert read_orders(ENVELOPES[envelope]([])) == []


def test_a_row_is_read_into_one_typed_record() -> None:
    (order,) = read_orders([ROW])
    assert order == Order(5, 2, "AMD.US", Decimal(3), Decimal(2), None, ROW)
    assert (order.meaning, order.ended) == ("processing the cancellation", False)
    assert "members" not in repr(order)


@pytest.mark.parametrize("envelope", ["recorded", "the history's"])
def test_a_single_order_may_be_an_object(envelope: str) -> None:
    assert [order.order_id for order in read_orders(ENVELOPES[envelope](ROW))] == [5]


@pytest.mark.parametrize("value", [{"result": {"orders": {"key": "%me"}}}, {"orders": {"key": "ME", "order": None}}])
def test_no_orders_are_no_orders(value: Any) -> None:
    assert read_orders(value) == []


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"id": None}, {"order_id": 5}),
        ({"order_id": None}, {"order_id": 5}),
        ({"id": "5"}, {"order_id": 5}),
        ({"id": 2**53 + 1, "order_id": 2**53 + 1}, {"order_id": 2**53 + 1}),
        ({"stat": "31"}, {"status": 31, "meaning": "canceled", "ended": True}),
        ({"stat": 99}, {"status": 99, "meaning": "unknown status", "ended": False}),
        ({"q": "0.5", "leaves_qty": 0.25}, {"quantity": Decimal("0.5"), "remaining": Decimal("0.25")}),
        ({"q": "many", "leaves_qty": None}, {"quantity": None, "remaining": None}),
        ({"q": True, "leaves_qty": "NaN"}, {"quantity": None, "remaining": None}),
        ({"userOrderId": "cps_21112"}, {"user_order_id": "cps_21112"}),
        ({"user_order_id": 146615630}, {"user_order_id": "146615630"}),
        ({"instr": None}, {"instrument": ""}),
    ],
    ids=str,
)
def test_the_vendors_mixture_of_kinds_is_read(change: dict[str, Any], read: dict[str, Any]) -> None:
    (order,) = read_orders([{**ROW, **change}])
    assert {name: getattr(order, name) for name in read} == read


@pytest.mark.parametrize(
    "value",
    [
        None, {}, {"result": 1}, {"result": {}}, {"result": {"orders": None}}, {"result": {"orders": "none"}}, "5", 5,
        [5], [None], [[]], [{}], {"orders": {"order": [5]}}, {"orders": {"order": "five"}},
        [{**ROW, "id": 6}], [{**ROW, "id": None, "order_id": None}], [{**ROW, "id": True, "order_id": None}],
        [{**ROW, "id": 0, "order_id": 0}], [{**ROW, "id": 2**63, "order_id": 2**63}], [{**ROW, "id": "x"}],
        [{**ROW, "stat": None}], [{**ROW, "stat": "active"}], [ROW, {**ROW, "stat": True}],
    ],
    ids=str,
)  # fmt: skip
def test_a_list_that_might_hide_an_order_is_none(value: Any) -> None:
    with pytest.raises(Unreadable):
        read_orders(value)


@given(JSON)
def test_whatever_comes_is_a_list_of_orders_or_unreadable(value: Any) -> None:
    try:
        orders = read_orders(value)
    except Unreadable:
        return
    assert all(0 < order.order_id < 2**63 and order.meaning for order in orders)


# ---- replies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"[]", "server-error"),
        (302, b"", "status"),
        (200, b"", "empty"),
        (200, b"<html>", "not-json"),
        (200, b'{"orders": {"order": []}, "orders": {}}', "not-json"),
        (200, b"null", "no-evidence"),
        (200, b'{"result": 1}', "no-evidence"),
        (200, b'{"result": {"orders": {"order": [{"id": 1}]}}}', "no-evidence"),
    ],
)
def test_a_reply_that_is_no_list_leaves_it_unknown(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(OutcomeUnknown) as unknown:
        orders_outcome(Reply(status, (), body))
    assert unknown.value.reason == reason


def test_a_refusal_is_a_refusal() -> None:
    with pytest.raises(Rejected) as refusal:
        orders_outcome(Reply(200, (), b'{"errMsg": "Unsupported query method", "code": 2}'))
    assert refusal.value.kind == "common-error"


def test_a_bare_array_is_a_list() -> None:
    assert orders_outcome(Reply(200, (), json.dumps([ROW]).encode()))[0].order_id == 5
    assert orders_outcome(Reply(200, (), b"[]")) == []


# ---- the clients and a book --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running(Broker(orders="book", cancel_seconds=0.2)) as mock:
        yield mock


@pytest.fixture
def account(mock: RunningMock) -> Session:
    return mock.broker.open_session()


Ask: TypeAlias = "Callable[[RunningMock, Session, bool], list[Order]]"


def ask_blocking(scheme: Any) -> Ask:
    def ask(mock: RunningMock, account: Session, active_only: bool) -> list[Order]:
        keys = account.credentials
        with Client(keys.api_key, keys.secret.reveal(), base_url=mock.base_url, scheme=scheme) as client:
            return client.orders(active_only=active_only)

    return ask


def ask_async(scheme: Any) -> Ask:
    def ask(mock: RunningMock, account: Session, active_only: bool) -> list[Order]:
        async def main() -> list[Order]:
            keys = account.credentials
            async with AsyncClient(keys.api_key, keys.secret.reveal(), base_url=mock.base_url, scheme=scheme) as client:
                return await client.orders(active_only=active_only)

        return asyncio.run(main())

    return ask


@pytest.mark.parametrize(
    "ask",
    [ask_blocking("v2"), ask_blocking("v3"), ask_async("v2"), ask_async("v3")],
    ids=["v2", "v3", "v2 async", "v3 async"],
)
def test_a_client_lists_its_orders(mock: RunningMock, account: Session, ask: Ask) -> None:
    assert mock.broker.book
    assert ask(mock, account, True) == []
    for stat in (10, 75, 31):
        mock.broker.book.put(account.credentials.api_key, NewOrder(stat=stat))
    assert [order.status for order in ask(mock, account, False)] == [10, 75, 31]
    assert [order.status for order in ask(mock, account, True)] == [10, 75]


@pytest.mark.parametrize("payload", [None, *CORPUS.situations["book-listed"].also])
def test_a_client_reads_every_list_that_the_book_can_be_made_to_write(payload: str | None) -> None:
    with running(Broker(orders="book", replies={"book-listed": payload} if payload else {})) as mock:
        account = mock.broker.open_session()
        assert mock.broker.book
        put = mock.broker.book.put(account.credentials.api_key, NewOrder(order_id=2**62 + 1))
        (order,) = ask_blocking("v2")(mock, account, True)
        assert (order.order_id, order.instrument, order.quantity) == (put.order_id, "AAPL.US", 1)


# ---- examples/reconcile.py ---------------------------------------------------------------------------------

LOST = next(order.order_id for order in CORPUS.magic_orders.values() if order.fault == "drop" and order.applied)
UNTOUCHED = next(
    order.order_id for order in CORPUS.magic_orders.values() if order.fault == "drop" and not order.applied
)


@pytest.mark.parametrize(
    ("order", "code", "told"),
    [
        ({}, 0, "accepted; status 31, canceled"),
        ({"order_id": LOST}, 0, "unknown: no-reply; status 31, canceled"),
        ({"order_id": LOST, "stat": 12, "q": 5, "leaves_qty": 2}, 0, "status 30, partially canceled, 2 of 5 left"),
        ({"order_id": LOST, "cancel_ends": 75}, 1, "unknown: no-reply; status 75, error of cancellation"),
        ({"order_id": LOST, "cancel_ends": 21}, 1, "unknown: no-reply; status 21, executed, 0 of 1 left"),
        ({"order_id": UNTOUCHED}, 1, "unknown: no-reply; status 10, active"),
        ({"stat": 31}, 0, "refused: synthetic: the order is cancelled already; status 31"),
        ({"stat": 21}, 1, "refused: synthetic: the order is executed already; status 21"),
        (None, 2, "refused: synthetic: order not found; the order is in no list"),
    ],
    ids=str,
)
def test_the_reconciling_example_looks_up_and_cancels_once(
    mock: RunningMock, account: Session, order: dict[str, Any] | None, code: int, told: str
) -> None:
    assert mock.broker.book
    key = account.credentials.api_key
    order_id = 7 if order is None else mock.broker.book.put(key, NewOrder(**order)).order_id
    environment = {
        **os.environ, "TN_BASE_URL": mock.base_url, "TN_API_KEY": key,
        "TN_API_SECRET": account.credentials.secret.reveal(), "TN_PATIENCE": "1", "TN_PAUSE": "0.05",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, str(RECONCILE), str(order_id)], env=environment, capture_output=True, text=True, timeout=30
    )
    assert told in ran.stdout
    assert (ran.returncode, ran.stderr) == (code, "")
    sent = [exchange.request.line for exchange in account.journal.exchanges()]
    assert sum(line.endswith("delTradeOrder") for line in sent) == 1


def test_the_reconciling_example_knows_when_a_cancel_is_still_under_way(mock: RunningMock, account: Session) -> None:
    assert mock.broker.book
    key = account.credentials.api_key
    order_id = mock.broker.book.put(key, NewOrder(stat=2)).order_id
    mock.broker.book.change(key, str(order_id), Change(cancel_ends=31))
    environment = {
        **os.environ, "TN_BASE_URL": mock.base_url, "TN_API_KEY": key,
        "TN_API_SECRET": account.credentials.secret.reveal(), "TN_PATIENCE": "5", "TN_PAUSE": "0.05",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, str(RECONCILE), str(order_id)], env=environment, capture_output=True, text=True, timeout=30
    )
    assert ran.stdout.endswith("status 31, canceled, 1 of 1 left\n")
    assert ran.returncode == 0


def test_the_reconciling_example_does_not_take_a_refused_list_for_an_order_that_was_not_cancelled(
    mock: RunningMock, account: Session
) -> None:
    assert mock.broker.book
    key = account.credentials.api_key
    order_id = mock.broker.book.put(key, NewOrder()).order_id
    mock.broker.play({"rule": [{"command": "getNotifyOrderJson", "payload": "rate-limited"}]}, mock.broker.session(key))
    environment = {
        **os.environ, "TN_BASE_URL": mock.base_url, "TN_API_KEY": key,
        "TN_API_SECRET": account.credentials.secret.reveal(), "TN_PATIENCE": "1", "TN_PAUSE": "0.05",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, str(RECONCILE), str(order_id)], env=environment, capture_output=True, text=True, timeout=30
    )
    assert ran.stderr.startswith("the list was refused: ")
    assert ran.returncode == 2


def test_the_reconciling_example_says_how_it_is_called() -> None:
    ran = subprocess.run([sys.executable, str(RECONCILE)], capture_output=True, text=True, timeout=30)
    assert "python reconcile.py ORDER_ID" in ran.stderr
    assert ran.returncode == 64
