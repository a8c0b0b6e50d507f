"""The order book behind the broker: what becomes of orders, and what the API says of them. No sockets here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from mock_server.book import book as book_module
from mock_server.book.book import ORDERS_KEPT, Book, Change, NewOrder
from mock_server.book.orders import Order
from mock_server.broker import DEMO, Answer, Broker
from mock_server.state.memory import MemoryDocuments, MemoryState
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import Credentials
from tn_contract.contract.wire import compose, compose_v3

CORPUS = load_corpus()
NOW = 1_795_402_277
DOCUMENTED = {
    "instr_name": "AAPL.US",
    "action_id": 1,
    "order_type_id": 2,
    "qty": 100,
    "limit_price": 40,
    "stop_price": 0,
    "expiration_id": 3,
    "user_order_id": 146615630,
}
ENDED = [number for number, status in CORPUS.statuses.items() if status.ended]
WORKING = [number for number, status in CORPUS.statuses.items() if not status.ended and number != 2]
REFUSED = {
    0: "book-order-refused", 21: "book-order-executed", 30: "book-order-cancelled", 31: "book-order-cancelled",
    70: "book-order-refused", 71: "book-order-expired", 72: "book-order-expired", 74: "book-order-refused",
}  # fmt: skip


class Account:
    """A key pair at a mock whose clock stands still, in either generation of the protocol."""

    nonces: Iterator[int] = itertools.count(1)

    def __init__(self, broker: Broker, keys: Credentials = DEMO, scheme: str = "v2") -> None:
        self.broker, self.keys, self.scheme = broker, keys, scheme

    def ask(self, command: str, params: Mapping[str, Any] | None = None) -> Answer:
        if self.scheme == "v3":
            return self.broker.handle(compose_v3(self.keys, command, NOW, dict(params or {})).request)
        texts = {name: str(value) for name, value in (params or {}).items()}
        return self.broker.handle(compose(self.keys, command, next(self.nonces), texts).request)

    def situation(self, command: str, params: Mapping[str, Any] | None = None) -> str:
        answer = self.ask(command, params)
        assert answer.assessment
        return answer.assessment.situation

    def told(self, command: str, params: Mapping[str, Any] | None = None) -> Any:
        return json.loads(self.ask(command, params).reply.body)

    def place(self, **changes: Any) -> int:
        reply = self.told("putTradeOrder", {**DOCUMENTED, **changes})
        assert isinstance(reply["order_id"], int)
        return int(reply["order_id"])

    def cancel(self, order_id: int) -> str:
        return self.situation("delTradeOrder", {"order_id": order_id})

    def rows(self, active_only: int | None = None) -> list[dict[str, Any]]:
        params = {} if active_only is None else {"active_only": active_only}
        orders = self.told("getNotifyOrderJson", params)["result"]["orders"]
        assert orders["key"] == f"%{self.keys.api_key}"
        rows: list[dict[str, Any]] = orders.get("order", [])
        return rows

    def stat(self, order_id: int) -> int:
        (row,) = (row for row in self.rows() if row["id"] == order_id)
        return int(row["stat"])

    @property
    def book(self) -> Book:
        assert self.broker.book
        return self.broker.book

    def put(self, **fields: Any) -> int:
        return self.book.put(self.keys.api_key, NewOrder(**fields)).order_id

    def wait(self, seconds: float) -> None:
        self.book.advance(self.keys.api_key, seconds)


def book_of(**options: Any) -> Broker:
    return Broker(orders="book", clock=lambda: NOW * 10**9, **options)


@pytest.fixture
def broker() -> Broker:
    return book_of(seed=1)


@pytest.fixture(params=["v2", "v3"])
def account(broker: Broker, request: pytest.FixtureRequest) -> Account:
    return Account(broker, scheme=request.param)


# ---- placing -----------------------------------------------------------------------------------------------


def test_a_placed_order_is_confirmed_as_recorded(account: Account) -> None:
    answer = account.ask("putTradeOrder", DOCUMENTED)
    assert answer.assessment
    assert (answer.assessment.situation, answer.assessment.payload) == ("book-placed", "order-placed")
    assert (answer.assessment.effect, answer.assessment.scheme) == ("none", account.scheme)
    reply = json.loads(answer.reply.body)
    assert list(reply) == ["order_id", "order", "warning"]
    assert reply["warning"] == ""
    order = reply["order"]
    assert answer.assessment.order_id == str(reply["order_id"])
    assert reply["order_id"] == order["order_id"] == order["id"]
    told = {"stat": 10, "stat_prev": 1, "error": "", "safety_type_id": 14, "p": 40, "stop": None, "q": 100}
    assert told.items() <= order.items()


def test_a_placed_order_can_be_confirmed_as_documented() -> None:
    account = Account(book_of(replies={"book-placed": "order-placed-bare"}))
    assert list(account.told("putTradeOrder", DOCUMENTED)) == ["order_id"]


def test_a_placed_order_is_listed(account: Account) -> None:
    order_id = account.place()
    (row,) = account.rows()
    told = {
        "id": order_id, "order_id": order_id, "stat": 10, "stat_prev": 1, "stat_orig": 10, "instr": "AAPL.US",
        "oper": 1, "type": 2, "p": 40, "stop": 0, "q": 100, "leaves_qty": 100, "exp": 3, "userOrderId": "146615630",
        "date": "2026-11-23T02:51:17.000",
    }  # fmt: skip
    assert told.items() <= row.items()


@pytest.mark.parametrize("name", ["instr_name", "action_id", "order_type_id", "qty", "limit_price", "expiration_id"])
@pytest.mark.parametrize("missing", [None, ""])
def test_a_mandatory_field_is_missed_by_name(account: Account, name: str, missing: Any) -> None:
    params = {key: value for key, value in DOCUMENTED.items() if key != name}
    if missing is not None:
        params[name] = missing
    assert account.situation("putTradeOrder", params) == "book-field-missing"
    assert account.told("putTradeOrder", params)["errMsg"] == f"No value specified in the mandatory field '{name}'"
    assert account.rows() == []


@pytest.mark.parametrize(
    "change",
    [
        {"order_type_id": 5}, {"order_type_id": "limit"}, {"qty": 0}, {"qty": -1}, {"qty": 1.5}, {"qty": "ten"},
        {"limit_price": "dear"}, {"limit_price": -1}, {"stop_price": "1e3"}, {"expiration_id": 0}, {"expiration_id": 4},
        {"user_order_id": "cps_21112"}, {"user_order_id": "+5"}, {"instr_name": "A" * 101}, {"instr_name": "A\n"},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_that_is_not_of_its_kind_is_refused(account: Account, change: dict[str, Any]) -> None:
    assert account.situation("putTradeOrder", {**DOCUMENTED, **change}) == "book-field-malformed"
    assert account.rows() == []


def test_bytes_that_are_no_text_name_no_instrument(broker: Broker) -> None:
    account = Account(broker)
    assert account.situation("putTradeOrder", {**DOCUMENTED, "instr_name": "\udcff"}) == "book-field-malformed"


def test_what_looks_like_a_name_of_the_corpus_is_not_filled_in(account: Account) -> None:
    account.place(instr_name="$order_id $orders")
    (row,) = account.rows()
    assert row["instr"] == "$order_id $orders"


@pytest.mark.parametrize(
    "params",
    [
        {"qty": True}, {"limit_price": True}, {"instr_name": 1},
        {"limit_price": 10**400}, {"limit_price": 10**15}, {"stop_price": 1e300}, {"user_order_id": 10**400},
    ],
    ids=lambda params: str(params)[:30],
)  # fmt: skip
def test_json_has_kinds_of_its_own(broker: Broker, params: dict[str, Any]) -> None:
    account = Account(broker, scheme="v3")
    assert account.situation("putTradeOrder", {**DOCUMENTED, **params}) == "book-field-malformed"


@pytest.mark.parametrize("action", [0, 5, -1])
def test_an_unknown_action_is_refused_in_the_vendors_words(account: Account, action: int) -> None:
    reply = account.told("putTradeOrder", {**DOCUMENTED, "action_id": action})
    assert reply == {"error": "Invalid transaction identifier, allowed values 1 - purchase, 3 - sale", "code": 0}


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("action", [1, 2, 3, 4])
def test_each_documented_kind_of_order_can_be_placed(account: Account, kind: int, action: int) -> None:
    prices = {"limit_price": 1.5 if kind in (2, 4) else 0, "stop_price": 0.25 if kind in (3, 4) else 0}
    order_id = account.place(order_type_id=kind, action_id=action, **prices)
    (row,) = account.rows()
    assert (row["id"], row["type"], row["oper"]) == (order_id, kind, action)
    assert {"p": prices["limit_price"], "stop": prices["stop_price"]}.items() <= row.items()


def test_a_v3_order_may_leave_out_what_may_be_null(broker: Broker) -> None:
    account = Account(broker, scheme="v3")
    nothing = {"limit_price": None, "stop_price": None, "user_order_id": None}
    account.place(order_type_id=1, **nothing)
    (row,) = account.rows()
    assert (row["p"], row["stop"], row["user_order_id"]) == (0, 0, "")


# ---- ids ---------------------------------------------------------------------------------------------------


def test_ids_are_repeatable_under_a_seed_and_differ_between_sessions() -> None:
    def ids(seed: int | None, key: str) -> list[int]:
        broker = book_of(seed=seed)
        account = Account(broker, broker.open_session(key, "x").credentials)
        return [account.place() for _ in range(3)]

    assert ids(1, "a") == ids(1, "a")
    assert len({*ids(1, "a"), *ids(1, "b"), *ids(2, "a"), *ids(None, "a")}) == 12
    assert all(2**32 < order_id < 2**53 for order_id in ids(1, "a"))


def test_ids_go_on_from_the_greatest_one_so_that_a_test_can_have_them_beyond_2_to_the_53(account: Account) -> None:
    account.put(order_id=2**60)
    assert account.place() == 2**60 + 1
    (_, row) = account.rows()
    assert row["id"] == 2**60 + 1


def test_after_the_last_id_there_are_others(account: Account) -> None:
    usual = account.place()
    account.put(order_id=2**63 - 1)
    assert account.place() == usual + 1


# ---- lists -------------------------------------------------------------------------------------------------


def test_an_empty_list_has_no_member_order(account: Account) -> None:
    assert account.told("getNotifyOrderJson") == {"result": {"orders": {"key": "%tn-demo-key"}}}


def test_of_the_active_orders_those_being_cancelled_are_part(account: Account) -> None:
    for stat in CORPUS.statuses:
        account.put(stat=stat, q=2, leaves_qty=1)
    assert [row["stat"] for row in account.rows(1)] == [stat for stat in CORPUS.statuses if stat not in ENDED]
    assert [row["stat"] for row in account.rows(0)] == list(CORPUS.statuses)
    assert account.rows() == account.rows(0)
    assert account.told("getNotifyOrderJson", {"active": 1}) == account.told("getNotifyOrderJson", {"active_only": 1})


def test_a_list_can_be_bare_as_documented() -> None:
    bare = {"book-listed": "orders-bare-list", "book-listed-none": "orders-bare-list"}
    account = Account(book_of(replies=bare))
    assert account.told("getNotifyOrderJson") == []
    order_id = account.place()
    assert [row["id"] for row in account.told("getNotifyOrderJson")] == [order_id]


def test_a_single_order_can_be_an_object() -> None:
    account = Account(book_of(replies={"book-listed": "orders-single"}))
    first = account.place()
    assert account.told("getNotifyOrderJson")["result"]["orders"]["order"]["id"] == first
    second = account.place()
    assert [row["id"] for row in account.told("getNotifyOrderJson")["result"]["orders"]["order"]] == [first, second]


def test_the_history_has_another_shape(account: Account) -> None:
    assert account.told("getOrdersHistory") == {"orders": {"key": "%tn-demo-key", "order": None}}
    order_id = account.place()
    (row,) = account.told("getOrdersHistory")["orders"]["order"]
    assert row["id"] == order_id
    assert "order_id" not in row
    assert (row["stop"], row["aon"], row["userOrderId"]) == (".00000000", "0", "146615630")


def test_a_period_is_honoured_to_the_second(account: Account) -> None:
    first = account.place()
    account.wait(10.5)
    second = account.place()

    def found(**period: str) -> list[int]:
        orders = account.told("getOrdersHistory", period)["orders"]["order"]
        return [row["id"] for row in orders or []]

    at = [f"2026-11-23T02:51:{second:02}" for second in range(60)]
    assert found() == [first, second]
    assert found(**{"from": at[17], "till": at[17]}) == [first]
    assert found(**{"from": at[18], "till": at[27]}) == [second]
    assert found(**{"from": at[18]}) == [second]
    assert found(till=at[16]) == []


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23", "2026-02-30T00:00:00", "2026-11-23 02:51:17"])
@pytest.mark.parametrize("name", ["from", "till"])
def test_a_period_that_is_none_is_refused(account: Account, name: str, text: str) -> None:
    assert account.situation("getOrdersHistory", {name: text}) == "book-period-malformed"


# ---- cancelling --------------------------------------------------------------------------------------------


def test_a_cancel_takes_its_time(account: Account) -> None:
    order_id = account.place()
    answer = account.ask("delTradeOrder", {"order_id": order_id})
    assert answer.assessment
    assert (answer.assessment.situation, answer.assessment.effect) == ("cancel-accepted", "cancelled")
    assert json.loads(answer.reply.body) == {"order_id": order_id}
    (row,) = account.rows(1)
    assert (row["stat"], row["stat_prev"]) == (2, 10)
    assert account.cancel(order_id) == "book-order-cancelling"
    account.wait(1.9)
    assert account.stat(order_id) == 2
    account.wait(0.1)
    assert account.rows(1) == []
    (row,) = account.rows()
    assert (row["stat"], row["stat_prev"], row["stat_d"]) == (31, 2, "2026-11-23T02:51:19.000")
    assert account.cancel(order_id) == "book-order-cancelled"


@pytest.mark.parametrize(
    ("fields", "stat", "left"),
    [
        ({}, 31, 5),
        ({"stat": 12, "leaves_qty": 2}, 30, 2),
        ({"cancel_ends": 75}, 75, 5),
        ({"cancel_ends": 21}, 21, 0),
        ({"cancel_ends": 30}, 30, 5),
    ],
    ids=str,
)
def test_what_a_cancel_comes_to(account: Account, fields: dict[str, Any], stat: int, left: int) -> None:
    order_id = account.put(q=5, **fields)
    assert account.cancel(order_id) == "cancel-accepted"
    account.wait(2)
    (row,) = account.rows()
    assert (row["stat"], row["stat_prev"], row["leaves_qty"]) == (stat, 2, left)


def test_after_an_error_of_cancellation_the_order_works_on_and_can_be_cancelled_again(account: Account) -> None:
    order_id = account.put(cancel_ends=75)
    account.cancel(order_id)
    account.wait(2)
    account.book.change(account.keys.api_key, str(order_id), Change(cancel_ends=31))
    assert account.cancel(order_id) == "cancel-accepted"
    account.wait(2)
    assert account.stat(order_id) == 31


def test_how_long_a_cancel_takes_is_an_option() -> None:
    account = Account(book_of(cancel_seconds=0))
    order_id = account.place()
    account.cancel(order_id)
    assert account.stat(order_id) == 31


@pytest.mark.parametrize("stat", WORKING)
def test_what_works_can_be_cancelled(account: Account, stat: int) -> None:
    assert account.cancel(account.put(stat=stat, q=2, leaves_qty=1)) == "cancel-accepted"


@pytest.mark.parametrize("stat", ENDED)
def test_what_has_ended_cannot_be_cancelled_and_stays_as_it_is(account: Account, stat: int) -> None:
    order_id = account.put(stat=stat, q=2, leaves_qty=1)
    before = account.rows()
    answer = account.ask("delTradeOrder", {"order_id": order_id})
    assert answer.assessment
    assert (answer.assessment.situation, answer.assessment.effect) == (REFUSED[stat], "none")
    assert account.rows() == before


def test_every_refusal_of_a_cancel_can_be_worded_otherwise() -> None:
    situations = {name for name in CORPUS.situations if name.startswith("book-order-")}
    assert situations == {*REFUSED.values(), "book-order-unknown", "book-order-foreign", "book-order-cancelling"}
    account = Account(book_of(replies=dict.fromkeys(situations, "insufficient-rights")))
    for order_id in (1, *(account.put(stat=stat) for stat in ENDED)):
        assert account.told("delTradeOrder", {"order_id": order_id})["code"] == 12


@pytest.mark.parametrize("payload", ["empty", "http-502", "success-result-1"])
def test_an_accepted_cancel_happens_whatever_is_said_of_it(payload: str) -> None:
    account = Account(book_of(replies={"cancel-accepted": payload}))
    order_id = account.place()
    assert account.cancel(order_id) == "cancel-accepted"
    assert account.stat(order_id) == 2


def test_nobody_cancels_an_order_of_somebody_else(broker: Broker, account: Account) -> None:
    mine = account.place()
    other = Account(broker, broker.open_session().credentials, account.scheme)
    answer = other.ask("delTradeOrder", {"order_id": mine})
    assert answer.assessment
    assert answer.assessment.situation == "book-order-foreign"
    assert (answer.assessment.payload, answer.assessment.effect) == ("insufficient-rights", "none")
    assert other.cancel(mine + 1) == "book-order-unknown"
    assert account.stat(mine) == 10
    assert other.rows() == []


@pytest.mark.parametrize("params", [{}, {"order_id": "abc"}, {"order_id": "clock"}, {"order_id": "0"}], ids=str)
def test_an_order_id_is_looked_at_as_ever(account: Account, params: dict[str, str]) -> None:
    assert account.situation("delTradeOrder", params) == ("order-id-malformed" if params else "order-id-missing")


# ---- magic orders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order_id", CORPUS.magic_orders)
def test_a_magic_order_answers_as_in_a_replay(account: Account, order_id: str) -> None:
    replayed = Account(Broker(clock=lambda: NOW * 10**9), scheme=account.scheme)
    one, other = (each.ask("delTradeOrder", {"order_id": order_id}) for each in (account, replayed))
    assert (one.reply, one.fault) == (other.reply, other.fault)
    assert one.assessment
    assert other.assessment
    assert (one.assessment.situation, one.assessment.effect) == (other.assessment.situation, other.assessment.effect)


@pytest.mark.parametrize("order_id", CORPUS.magic_orders)
def test_what_a_magic_orders_reply_hides_happens_in_the_book(account: Account, order_id: str) -> None:
    account.put(order_id=order_id)
    order = CORPUS.magic_orders[order_id]
    cancels = order.applied and CORPUS.payloads[order.payload].outcome == "accepted"
    answer = account.ask("delTradeOrder", {"order_id": order_id})
    assert answer.assessment
    assert answer.assessment.effect == ("cancelled" if cancels else "none")
    assert account.stat(int(order_id)) == (2 if cancels else 10)
    answer = account.ask("delTradeOrder", {"order_id": order_id})
    assert answer.assessment
    assert answer.assessment.effect == "none"


# ---- time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expiration", [1, 2])
@pytest.mark.parametrize(("left", "stat"), [(5, 71), (2, 72)])
def test_an_order_of_a_day_expires_after_a_day(account: Account, expiration: int, left: int, stat: int) -> None:
    order_id = account.put(q=5, leaves_qty=left, exp=expiration)
    account.wait(24 * 3600 - 1)
    assert account.stat(order_id) == 10
    account.wait(1)
    assert account.stat(order_id) == stat
    assert account.cancel(order_id) == "book-order-expired"


def test_an_order_without_end_never_expires(account: Account) -> None:
    order_id = account.place()
    account.wait(10**8)
    assert account.stat(order_id) == 10


def test_each_session_has_a_clock_of_its_own(broker: Broker) -> None:
    one, two = Account(broker), Account(broker, broker.open_session().credentials)
    first, second = one.place(), two.place()
    one.cancel(first)
    two.cancel(second)
    one.wait(5)
    assert (one.stat(first), two.stat(second)) == (31, 2)


def test_a_moved_clock_moves_no_timestamp(broker: Broker) -> None:
    account = Account(broker, scheme="v3")
    account.wait(10**6)
    assert account.situation("getAuthInfo") == "session-opened"


def test_what_happened_is_not_undone_by_a_clock_that_steps_back() -> None:
    times = [NOW * 10**9]
    account = Account(Broker(orders="book", clock=lambda: times[-1]))
    order_id = account.place()
    account.cancel(order_id)
    times.append((NOW + 2) * 10**9)
    assert account.stat(order_id) == 31
    times.append(NOW * 10**9)
    assert account.stat(order_id) == 31


def test_a_list_writes_down_whatever_was_due_in_one_step(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for order_id in [account.place() for _ in range(30)]:
        account.cancel(order_id)
    working = account.place()
    account.wait(2)
    steps: list[int] = []
    swap_all = MemoryDocuments.swap_all

    def counted(documents: MemoryDocuments, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        steps.append(len(changes))
        return swap_all(documents, changes)

    monkeypatch.setattr(MemoryDocuments, "swap_all", counted)
    monkeypatch.setattr(MemoryDocuments, "swap", None)
    for _ in range(2):
        assert [row["stat"] for row in account.rows()] == [31] * 30 + [10]
        assert [row["id"] for row in account.rows(active_only=1)] == [working]
    assert steps == [30]


def test_a_list_looks_again_where_somebody_was_quicker(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [account.place() for _ in range(3)]
    for order_id in orders:
        account.cancel(order_id)
    account.wait(2)
    swap_all = MemoryDocuments.swap_all

    def overtaken(documents: MemoryDocuments, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        monkeypatch.setattr(MemoryDocuments, "swap_all", swap_all)
        account.book.change(DEMO.api_key, str(orders[1]), Change(stat=75))
        return swap_all(documents, changes)

    monkeypatch.setattr(MemoryDocuments, "swap_all", overtaken)
    assert [row["stat"] for row in account.rows()] == [31, 75, 31]


# ---- what tests do -----------------------------------------------------------------------------------------


def test_an_order_can_be_executed_bit_by_bit(account: Account) -> None:
    order_id = account.place()
    book, key = account.book, account.keys.api_key
    partly = book.change(key, str(order_id), Change(stat=12, leaves_qty=40))
    assert partly
    assert (partly.stat, partly.stat_prev, partly.leaves_qty) == (12, 10, 40)
    wholly = book.change(key, str(order_id), Change(stat=21))
    assert wholly
    assert (wholly.stat, wholly.stat_prev, wholly.leaves_qty) == (21, 12, 0)


def test_a_test_can_begin_a_cancel_by_itself(account: Account) -> None:
    order_id = account.put(stat=2)
    account.wait(2)
    assert account.stat(order_id) == 31


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"stat": 3}, "no order has the status 3"),
        ({"stat": 12}, "leaves_qty how many"),
        ({"leaves_qty": 2}, "2 of 1 are left"),
        ({"leaves_qty": -1}, "-1 of 1 are left"),
        ({"q": 0}, "0 of 0 are left"),
        ({"order_id": 0}, "choose one from 1"),
        ({"order_id": 2**63}, "choose one from 1"),
        ({"order_id": "clock"}, "choose one from 1"),
    ],
    ids=str,
)
def test_an_order_that_cannot_be_is_not_put_into_the_book(account: Account, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        account.put(**fields)
    assert account.rows() == []


def test_a_taken_id_is_refused(account: Account) -> None:
    order_id = account.place()
    with pytest.raises(UsageError, match=f"has an order {order_id} already"):
        account.put(order_id=order_id)


@pytest.mark.parametrize("name", ["1", "desk", "abc"])
def test_what_is_not_there_cannot_be_changed(account: Account, name: str) -> None:
    account.wait(1)
    assert account.book.change(account.keys.api_key, name, Change(stat=21)) is None


# ---- how many ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book of twenty orders, of which two give way at once."""
    monkeypatch.setattr(book_module, "ORDERS_KEPT", 20)


@pytest.mark.usefixtures("small")
def test_the_oldest_orders_that_have_ended_give_way(account: Account) -> None:
    works = account.put()
    ended = [account.put(stat=21) for _ in range(19)]
    new = account.place()
    assert [row["id"] for row in account.rows()] == [works, *ended[2:], new]
    assert account.cancel(ended[0]) == "book-order-unknown"
    assert account.cancel(ended[2]) == "book-order-executed"


@pytest.mark.usefixtures("small")
def test_a_cancel_that_has_come_to_its_end_gives_way_too(account: Account) -> None:
    orders = [account.place() for _ in range(20)]
    account.cancel(orders[7])
    assert account.situation("putTradeOrder", DOCUMENTED) == "book-full"
    account.wait(2)
    new = account.place()
    assert [row["id"] for row in account.rows()] == [*orders[:7], *orders[8:], new]


@pytest.mark.usefixtures("small")
def test_no_order_that_works_gives_way(account: Account) -> None:
    orders = [account.place() for _ in range(20)]
    assert account.told("putTradeOrder", DOCUMENTED) == {
        "error": "synthetic: too many orders have not ended",
        "code": 0,
    }
    for fields in ({}, {"order_id": 5}):
        with pytest.raises(UsageError, match="the book is full: 20 orders of 'tn-demo-key' have not ended"):
            account.put(**fields)
    assert [row["id"] for row in account.rows()] == orders


@pytest.mark.usefixtures("small")
def test_a_long_life_keeps_the_book_small_and_uses_no_id_twice(account: Account) -> None:
    seen = set()
    for _ in range(200):
        seen.add(order_id := account.place())
        account.book.change(account.keys.api_key, str(order_id), Change(stat=31))
        assert len(account.book.orders(account.keys.api_key)) <= 20
    assert len(seen) == 200


def test_the_number_on_the_page_is_the_books() -> None:
    assert f"{ORDERS_KEPT:,} orders of the key" in CORPUS.situations["book-full"].statement


# ---- shared state ------------------------------------------------------------------------------------------


def test_two_mocks_share_a_book_and_its_clock() -> None:
    state = MemoryState()
    one, two = Account(book_of(state=state)), Account(book_of(state=state))
    order_id = one.place()
    assert two.cancel(order_id) == "cancel-accepted"
    assert one.cancel(order_id) == "book-order-cancelling"
    two.wait(2)
    assert one.stat(order_id) == two.stat(order_id) == 31
    assert len({order_id, two.place(), one.place(), two.place()}) == 4


def test_reset_and_closing_forget_orders_and_clock(broker: Broker) -> None:
    account = Account(broker)
    account.place()
    account.wait(10)
    broker.reset()
    assert account.rows() == []
    account.place()
    (row,) = account.rows()
    assert row["date"] == "2026-11-23T02:51:17.000"
    other = broker.open_session("mine", "x")
    Account(broker, other.credentials).place()
    broker.close_session("mine")
    again = Account(broker, broker.open_session("mine", "x").credentials)
    assert again.rows() == []


@pytest.mark.parametrize("turn", range(20))
def test_of_two_cancels_that_race_exactly_one_is_accepted(turn: int) -> None:
    state = MemoryState()
    accounts = [Account(book_of(state=state, policy="none")) for _ in range(4)]
    order_id = accounts[0].place()
    start = Barrier(len(accounts))

    def cancel(account: Account) -> str:
        start.wait()
        return account.cancel(order_id)

    with ThreadPoolExecutor(len(accounts)) as pool:
        found = sorted(pool.map(cancel, accounts))
    assert found == ["book-order-cancelling"] * (len(accounts) - 1) + ["cancel-accepted"]


def test_orders_that_are_placed_at_once_have_ids_of_their_own() -> None:
    account = Account(book_of(policy="none"))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: account.place(), range(80)))
    assert len(set(ids)) == 80
    assert sorted(row["id"] for row in account.rows()) == sorted(ids)


class Closed(MemoryDocuments):
    """What an engine gives for a session that another process closes at this moment."""

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        return False


def test_a_session_that_is_closed_meanwhile_keeps_nothing(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryState, "orders", lambda _state, _key: Closed())
    assert account.situation("putTradeOrder", DOCUMENTED) == "key-unknown"
    assert account.cancel(5) == "book-order-unknown"
    for attempt in (lambda: account.wait(1), lambda: account.put(), lambda: account.put(order_id=5)):
        with pytest.raises(UsageError):
            attempt()


# ---- corpus and options ------------------------------------------------------------------------------------


def test_the_statuses_of_the_corpus_are_those_that_orders_come_to() -> None:
    assert {2, 10, 12, 20, 21, 30, 31, 71, 72, 75} <= set(CORPUS.statuses)
    assert not CORPUS.statuses[Order(1, 0, 0).stat].ended


def test_every_situation_of_the_book_occurs(broker: Broker, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Account(broker, broker.open_session().credentials, account.scheme)
    seen = {account.situation(command) for command in ("getNotifyOrderJson", "getOrdersHistory", "putTradeOrder")}
    for change in ({"qty": 0}, {"action_id": 9}, {}):
        seen.add(account.situation("putTradeOrder", {**DOCUMENTED, **change}))
    seen |= {account.situation(command) for command in ("getNotifyOrderJson", "getOrdersHistory")}
    seen.add(account.situation("getOrdersHistory", {"from": "x"}))
    seen |= {account.cancel(account.put(stat=stat)) for stat in (*ENDED, 2)}
    seen |= {account.cancel(1), other.cancel(account.place())}
    monkeypatch.setattr(book_module, "ORDERS_KEPT", 1)
    other.place()
    seen.add(other.situation("putTradeOrder", DOCUMENTED))
    of_book = {name for name, each in CORPUS.situations.items() if each.statement.startswith("(book)")}
    assert seen == of_book == {name for name in CORPUS.situations if name.startswith("book-")}


def test_orders_are_replayed_or_kept() -> None:
    assert Broker().book is None
    assert Account(Broker(clock=lambda: NOW * 10**9)).situation("putTradeOrder", DOCUMENTED) == "command-unknown"
    with pytest.raises(UsageError, match="choose replay or book"):
        Broker(orders="ledger")  # type: ignore[arg-type] # what a caller may get wrong


def test_commands_that_the_book_does_not_know_are_the_replays(account: Account) -> None:
    assert account.situation("getAuthInfo") == "session-opened"
    assert account.situation("getPositionJson") == "command-unknown"
