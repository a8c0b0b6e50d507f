"""The order book: real orders for each session, kept in the mock's state so that several mocks can share them.

Every change is a swap of one document: whoever comes second looks again. `docs/orders.md` tells what of it is
documented, what was recorded, and what is ours.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from mock_server.book.orders import (
    CANCELLED,
    CANCELLING,
    EXECUTED,
    EXPIRED,
    PARTLY,
    PARTLY_CANCELLED,
    PARTLY_EXPIRED,
    PLACED,
    Ends,
    Order,
    as_json,
)
from mock_server.commands import Call, Done
from mock_server.replay import Replay
from mock_server.state import Documents, State
from tn_contract.contract.corpus import Corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.validation import order_asked
from tn_contract.contract.wire import ORDER_ID_MAX

CANCEL_SECONDS = 2.0  # ours: three recorded cancels took from nine seconds to days

ORDERS_KEPT = 10_000  # of one session; a mock that is left running must not grow for ever

_AHEAD = 10**10 * 10**9  # how far a session's clock may be moved: dates end with the year 9999
_DESK = "desk"  # the document beside the orders
_NAME_LENGTH = 100  # option names are the longest, and much shorter; nobody shall fill the mock with longer ones
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_ANY = range(-(10**18) + 1, 10**18)  # what that many digits can say
_PRICE = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_REFUSED = {
    CANCELLING: "book-order-cancelling",
    CANCELLED: "book-order-cancelled",
    PARTLY_CANCELLED: "book-order-cancelled",
    EXECUTED: "book-order-executed",
    EXPIRED: "book-order-expired",
    PARTLY_EXPIRED: "book-order-expired",
}


class NewOrder(Struct, forbid_unknown_fields=True):
    """An order that a test puts into the book, with whatever status; names as in the API's rows."""

    order_id: str | int | None = None
    stat: int = PLACED
    instr: str = "AAPL.US"
    oper: int = 1
    type: int = 2
    p: float = 1
    stop: float = 0
    q: int = 1
    leaves_qty: int | None = None
    exp: int = 3
    user_order_id: str | int = ""
    cancel_ends: Ends | None = None


class Change(Struct, forbid_unknown_fields=True):
    """What a test makes of an order: another status, what is left of it, what its cancel shall come to."""

    stat: int | None = None
    leaves_qty: int | None = None
    cancel_ends: Ends | None = None


class _Desk(Struct, frozen=True, omit_defaults=True):
    """What the book keeps of a session besides its orders.

    `ahead`: how far its clock is ahead, in ns; `last`: the id to go on from; `kept`: how many orders there are at most.
    """

    ahead: int = 0
    last: int = 0
    kept: int = 0


class _Refused(Exception):
    """A field of putTradeOrder is not as documented."""

    def __init__(self, situation: str, field: str = "") -> None:
        super().__init__(situation, field)
        self.done = Done(situation, values={"field": field})


class Book:
    """Keeps orders and carries out what the API can do to them. Safe to call from several threads.

    Magic orders keep their replies (`replay`). `clock` gives nanoseconds since 1970, `seed` makes ids repeatable,
    `cancel_seconds` is how long a cancel takes.
    """

    def __init__(
        self,
        corpus: Corpus,
        state: State,
        replay: Replay,
        *,
        clock: Callable[[], int],
        seed: int,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        self._statuses = corpus.statuses
        self._state, self._replay = state, replay
        self._clock, self._seed = clock, seed
        self._delay = int(cancel_seconds * 10**9)
        self._working = {status.status for status in corpus.statuses.values() if not status.ended} - {CANCELLING}
        self._commands: dict[str, Callable[[Call, Documents], Done]] = {
            "putTradeOrder": self._place,
            "getNotifyOrderJson": self._list,
            "getOrdersHistory": self._history,
            "delTradeOrder": self._cancel,
        }

    def answer(self, call: Call) -> Done:
        """Carry out a command on the caller's orders."""
        command = self._commands.get(call.command)
        if command is None:
            return self._replay.answer(call)
        return command(call, self._state.orders(call.api_key))

    # ---- commands ------------------------------------------------------------------------------------------

    def _place(self, call: Call, documents: Documents) -> Done:
        now = self._now(documents)
        try:
            fields = _fields(call.params)
        except _Refused as refused:
            return refused.done
        if not self._has_room(documents):
            return Done("book-full")
        wanted = Order(order_id=0, placed=now, since=now, leaves_qty=fields["q"], **fields)
        order = self._add(call.api_key, documents, wanted)
        if order is None:
            return Done("key-unknown")  # closed meanwhile
        values = {"order": as_json(order.confirmed(call.api_key))}
        return Done("book-placed", str(order.order_id), values=values)

    def _list(self, call: Call, documents: Documents) -> Done:
        active_only = call.params.get("active_only", call.params.get("active"))
        orders = self._orders(documents)
        if active_only not in (None, False, 0, "", "0"):  # falsy as PHP sees it
            orders = [order for order in orders if not self._statuses[order.stat].ended]
        return _listed("book-listed", call.api_key, [order.listed(call.api_key) for order in orders])

    def _history(self, call: Call, documents: Documents) -> Done:
        try:
            since = _instant(call.params.get("from"), -math.inf)
            till = _instant(call.params.get("till"), math.inf)
        except ValueError:
            return Done("book-period-malformed")
        # `till` has no fraction: it means its whole second.
        orders = [order for order in self._orders(documents) if since <= order.placed < till + 10**9]
        return _listed("book-history", call.api_key, [order.remembered(call.api_key) for order in orders])

    def _cancel(self, call: Call, documents: Documents) -> Done:
        replayed = self._replay.answer(call)
        if replayed.payload or replayed.fault or replayed.situation != "cancel-accepted":
            return self._magic(replayed, documents)
        name = replayed.order_id
        situation = self._try_to_cancel(name, documents)
        if situation == "book-order-unknown" and documents.elsewhere(name):
            situation = "book-order-foreign"
        return Done(situation, name, cancelled=situation == "cancel-accepted")

    def _magic(self, replayed: Done, documents: Documents) -> Done:
        """A magic order answers as ever; if it is in the book too, what its reply hides happens there."""
        if not replayed.cancelled:
            return replayed
        situation = self._try_to_cancel(replayed.order_id, documents)
        return structs.replace(replayed, cancelled=situation in ("cancel-accepted", "book-order-unknown"))

    def _try_to_cancel(self, name: str, documents: Documents) -> str:
        while True:
            now = self._now(documents)
            order, old = self._current(name, documents, now)
            if order is None:
                return "book-order-unknown"
            if order.stat not in self._working:
                return _REFUSED.get(order.stat, "book-order-refused")
            if documents.swap(name, old, _encode(order.cancelling(now, self._delay))):
                return "cancel-accepted"

    # ---- what tests do to the book -------------------------------------------------------------------------

    def orders(self, api_key: str) -> list[Order]:
        """Every order of a session, the oldest first."""
        return self._orders(self._state.orders(api_key))

    def put(self, api_key: str, wanted: NewOrder) -> Order:
        """Add an order of any status. Raises `UsageError` when it cannot be one, its id is taken, or the book full."""
        documents = self._state.orders(api_key)
        now = self._now(documents)
        order = Order(
            order_id=0, placed=now, since=now, instr=wanted.instr, oper=wanted.oper,
            type=wanted.type, p=wanted.p, stop=wanted.stop, q=wanted.q, leaves_qty=wanted.q, exp=wanted.exp,
            user_order_id=str(wanted.user_order_id), cancel_ends=wanted.cancel_ends,
        )  # fmt: skip
        stat = None if wanted.stat == PLACED else wanted.stat
        order = self._changed(order, Change(stat, wanted.leaves_qty), now)
        if not self._has_room(documents):
            raise UsageError(f"the book is full: {ORDERS_KEPT} orders of {api_key!r} have not ended; end some of them")
        if wanted.order_id is not None:
            refused, name = order_asked({"order_id": wanted.order_id})
            if refused:
                raise UsageError(f"order_id is {wanted.order_id}: choose one from 1 to {ORDER_ID_MAX}")
            order = structs.replace(order, order_id=int(name))
            if not documents.swap(name, None, _encode(order)):
                raise UsageError(f"the session has an order {name} already: change it with PATCH")
            first = self._first_id(api_key)
            self._write_down(
                documents,
                lambda desk: _Desk(desk.ahead, max(desk.last or first - 1, order.order_id), desk.kept + 1),
            )
            return order
        added = self._add(api_key, documents, order)
        if added is None:
            raise UsageError(f"the session {api_key!r} is closed")
        return added

    def change(self, api_key: str, order_id: str, change: Change) -> Order | None:
        """Change an order, whatever its status is; None when there is none. Raises `UsageError`."""
        documents = self._state.orders(api_key)
        while True:
            now = self._now(documents)
            order, old = self._current(order_id, documents, now)
            if order is None:
                return None
            changed = self._changed(order, change, now)
            if documents.swap(order_id, old, _encode(changed)):
                return changed

    def advance(self, api_key: str, seconds: float) -> int:
        """Move the clock of a session's orders on, for this session alone; return the time it shows then (ns).

        Raises `UsageError` when it would be beyond what dates can tell, or the session was closed meanwhile.
        """

        def moved(desk: _Desk) -> _Desk:
            ahead = desk.ahead + int(seconds * 10**9)
            if ahead > _AHEAD:
                raise UsageError(f"the clock of {api_key!r} would be more than 10^10 seconds ahead, some 300 years")
            return structs.replace(desk, ahead=ahead)

        desk = self._write_down(self._state.orders(api_key), moved)
        if desk is None:
            raise UsageError(f"the session {api_key!r} is closed")
        return self._clock() + desk.ahead

    def _changed(self, order: Order, change: Change, now: int) -> Order:
        if change.stat is not None and change.stat not in self._statuses:
            raise UsageError(
                f"no order has the status {change.stat}: choose from {', '.join(map(str, self._statuses))}"
            )
        leaves = order.leaves_qty if change.leaves_qty is None else change.leaves_qty
        order = structs.replace(order, leaves_qty=leaves, cancel_ends=change.cancel_ends or order.cancel_ends)
        if change.stat == CANCELLING:
            order = order.cancelling(now, self._delay)
        elif change.stat is not None:
            order = order.moved(change.stat, now)
        if not (order.q > 0 and 0 <= order.leaves_qty <= order.q):
            raise UsageError(f"{order.leaves_qty} of {order.q} are left: leaves_qty is from 0 to q, and q at least 1")
        if order.stat in PARTLY and not 0 < order.leaves_qty < order.q:
            raise UsageError(f"status {order.stat} means partly executed: say with leaves_qty how many of q are left")
        return order

    # ---- documents -----------------------------------------------------------------------------------------

    def _now(self, documents: Documents) -> int:
        return self._clock() + _desk(documents.get(_DESK)).ahead

    def _write_down(self, documents: Documents, change: Callable[[_Desk], _Desk]) -> _Desk | None:
        """Change what is kept besides the orders; None when the session is closed."""
        while True:
            old = documents.get(_DESK)
            new = change(_desk(old))
            if documents.swap(_DESK, old, msgspec.json.encode(new)):
                return new
            if documents.get(_DESK) is None:  # it is never removed but with its session
                return None

    def _orders(self, documents: Documents) -> list[Order]:
        """Return every order as it is now; what was due is written down in one step, however much it is."""
        while True:
            kept = documents.all()
            now = self._clock() + _desk(kept.pop(_DESK, None)).ahead
            orders, due = [], {}
            for name, document in kept.items():
                before = msgspec.json.decode(document, type=Order)
                order = before.at(now, self._working)
                orders.append(order)
                if order is not before:
                    due[name] = document, _encode(order)
            if not due or documents.swap_all(due):
                return orders

    def _current(self, name: str, documents: Documents, now: int) -> tuple[Order | None, bytes | None]:
        """Return an order as it is at `now`, and its document.

        What was due is written down, so that no clock that steps back, and no second mock, sees it undone.
        """
        while True:
            old = documents.get(name) if name != _DESK else None
            if old is None:
                return None, None
            kept = msgspec.json.decode(old, type=Order)
            order = kept.at(now, self._working)
            if order is kept:
                return order, old
            new = _encode(order)
            if documents.swap(name, old, new):
                return order, new

    def _has_room(self, documents: Documents) -> bool:
        """Say if one more order may be kept, and let the oldest that have ended give way."""
        while _desk(documents.get(_DESK)).kept >= ORDERS_KEPT:
            if not self._make_room(documents):
                return False
        return True

    def _make_room(self, documents: Documents) -> bool:
        """Remove a tenth at once, for looking at all takes time; False when the book is full and none has ended."""
        orders, now = documents.all(), self._now(documents)
        orders.pop(_DESK, None)
        ended = [
            (name, document)
            for name, document in orders.items()
            if self._statuses[msgspec.json.decode(document, type=Order).at(now, self._working).stat].ended
        ]
        for name, document in ended[: max(0, len(orders) - ORDERS_KEPT * 9 // 10)]:
            documents.remove(name, document)
        left = len(documents.all()) - 1  # counted anew, for others place orders and make room meanwhile
        self._write_down(documents, lambda desk: structs.replace(desk, kept=left))
        return bool(ended) or left < ORDERS_KEPT

    def _add(self, api_key: str, documents: Documents, order: Order) -> Order | None:
        """Keep an order under an id that the session never had; None when the session is closed."""
        first = self._first_id(api_key)
        while True:
            desk = self._write_down(
                documents,
                lambda desk: _Desk(desk.ahead, desk.last + 1 if 0 < desk.last < ORDER_ID_MAX else first, desk.kept + 1),
            )
            if desk is None:
                return None
            order = structs.replace(order, order_id=desk.last)
            if documents.swap(str(desk.last), None, _encode(order)):
                return order  # otherwise a test has put one there

    def _first_id(self, api_key: str) -> int:
        """Where the ids of a session begin: beyond the magic ones, below 2^53, for JavaScript keeps those."""
        digest = hashlib.sha256(f"{self._seed}:{api_key}".encode()).digest()
        return 2**40 + int.from_bytes(digest[:6])


def _desk(document: bytes | None) -> _Desk:
    return msgspec.json.decode(document, type=_Desk) if document else _Desk()


def _encode(order: Order) -> bytes:
    return msgspec.json.encode(order)


def _listed(situation: str, api_key: str, rows: list[dict[str, Any]]) -> Done:
    orders = as_json(rows)
    # One payload shows a single order without its list.
    first = as_json(rows[0]) if len(rows) == 1 else orders
    values = {"key": as_json(f"%{api_key}"), "orders": orders, "first": first}
    return Done(situation if rows else f"{situation}-none", values=values)


def _fields(params: Mapping[str, object]) -> dict[str, Any]:
    """Read the documented fields of putTradeOrder into those of an order. Raises `_Refused`."""
    instr = _given(params, "instr_name")
    if not (isinstance(instr, str) and instr.isprintable() and len(instr) <= _NAME_LENGTH):
        raise _Refused("book-field-malformed", "instr_name")
    oper = _integer(params, "action_id")
    if oper not in range(1, 5):
        raise _Refused("book-action-unknown")
    kind = _integer(params, "order_type_id", range(1, 5))
    return {
        "instr": instr,
        "oper": oper,
        "type": kind,
        "q": _integer(params, "qty", range(1, 10**18)),
        "p": _price(params, "limit_price", needed=kind in (2, 4)),
        "stop": _price(params, "stop_price", needed=kind in (3, 4)),
        "exp": _integer(params, "expiration_id", range(1, 4)),
        "user_order_id": str(_integer(params, "user_order_id")) if _is_given(params, "user_order_id") else "",
    }


def _is_given(params: Mapping[str, object], name: str) -> bool:
    return params.get(name) not in (None, "")


def _given(params: Mapping[str, object], name: str) -> object:
    if not _is_given(params, name):
        raise _Refused("book-field-missing", name)
    return params[name]


def _integer(params: Mapping[str, object], name: str, allowed: range = _ANY) -> int:
    """Read an integer, or its digits: v2 knows texts only."""
    value = _given(params, name)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if type(value) is not int or value not in allowed:  # true is no integer here
        raise _Refused("book-field-malformed", name)
    return value


def _price(params: Mapping[str, object], name: str, *, needed: bool) -> float:
    """Read a price; 0 stands for none, as on the vendor's page."""
    value = _given(params, name) if needed else params.get(name) or 0
    if isinstance(value, str) and _PRICE.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**15:
        raise _Refused("book-field-malformed", name)
    if needed and not value:
        raise _Refused("book-field-missing", name)
    return value


def _instant(text: object, default: float) -> float:
    """Read `YYYY-MM-DDThh:mm:ss`, taken for UTC, as ns since 1970. Raises `ValueError`."""
    if text in (None, ""):
        return default
    if not isinstance(text, str):
        raise ValueError(text)
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9
