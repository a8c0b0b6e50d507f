"""One order of the book: its record, its life, and its rows as the API shows them. Pure: the time is an argument.

What passes with time is not done by a clock but worked out when somebody looks: see `Order.at`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

CANCELLING, PLACED, EXECUTED, PARTLY_CANCELLED, CANCELLED, EXPIRED, PARTLY_EXPIRED = 2, 10, 21, 30, 31, 71, 72
PARTLY = (12, 20)
GOOD_TILL_CANCELLED = 3
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 # rows tell UTC without saying so
DAY = 24 * 3600 * 10**9  # an order of a day lives so long: ours, for exchanges have hours and calendars

# What a cancel may come to: executed after all, partially cancelled, cancelled, error of cancellation.
Ends = Literal[21, 30, 31, 75]


class Order(Struct, frozen=True, omit_defaults=True):
    """What the book keeps of an order; names as in the API's rows, times in ns since 1970.

    A cancel under way ends in `then` at `due`; `cancel_ends` is what a test wants it to end in.
    """

    order_id: int
    placed: int
    since: int
    instr: str = "AAPL.US"
    oper: int = 1
    type: int = 2
    p: float = 1
    stop: float = 0
    q: int = 1
    leaves_qty: int = 1
    exp: int = GOOD_TILL_CANCELLED
    user_order_id: str = ""
    stat: int = PLACED
    stat_prev: int = 1
    due: int = 0
    then: int = 0
    cancel_ends: Ends | None = None

    def moved(self, stat: int, at: int) -> Order:
        """Give it another status."""
        leaves = 0 if stat == EXECUTED else self.leaves_qty
        return structs.replace(self, stat=stat, stat_prev=self.stat, since=at, leaves_qty=leaves)

    def cancelling(self, at: int, delay: int) -> Order:
        """Set its cancel going, to end after `delay` nanoseconds."""
        then = self.cancel_ends or (PARTLY_CANCELLED if self.leaves_qty < self.q else CANCELLED)
        return structs.replace(self.moved(CANCELLING, at), due=at + delay, then=then)

    def at(self, now: int, working: Collection[int]) -> Order:
        """Return it as it is at `now`: what was due has happened. `working` are the statuses of what may expire."""
        order = self
        if order.stat == CANCELLING and now >= order.due:
            order = order.moved(order.then, order.due)
        if order.stat in working and order.exp != GOOD_TILL_CANCELLED and now >= order.placed + DAY:
            partly = order.leaves_qty < order.q
            order = order.moved(PARTLY_EXPIRED if partly else EXPIRED, max(order.since, order.placed + DAY))
        return order

    # ---- rows ----------------------------------------------------------------------------------------------

    def listed(self, login: str) -> dict[str, Any]:
        """Its row in getNotifyOrderJson: both `id` and `order_id`, as recorded."""
        return {
            "id": self.order_id,
            "order_id": self.order_id,
            "date": _moment(self.placed, "T", "milliseconds"),
            "stat": self.stat,
            "stat_orig": self.stat,
            "stat_d": _moment(self.since, "T", "milliseconds"),
            "instr": self.instr,
            "oper": self.oper,
            "type": self.type,
            "cur": "USD",
            "p": _number(self.p),
            "stop": _number(self.stop),
            "q": self.q,
            "leaves_qty": self.leaves_qty,
            "aon": 0,
            "exp": self.exp,
            "rep": 0,
            "fv": "0",
            "name": self.instr,
            "name2": self.instr,
            "stat_prev": self.stat_prev,
            "userOrderId": self.user_order_id,
            "user_order_id": self.user_order_id,
            "trailing": 0,
            "login": login,
            "auth_login": login,
            "instr_type": 1,
            "curr_q": 0,
            "safety_type_id": 14,
            "text": "",
        }

    def confirmed(self, login: str) -> dict[str, Any]:
        """Its nested description in the reply to putTradeOrder: with an empty `error` that is none."""
        at = _moment(self.placed, " ", "seconds")
        return {
            "auth_login": login,
            "user_id": 1,
            "order_id": self.order_id,
            "date": at,
            "stat": self.stat,
            "stat_orig": self.stat,
            "stat_d": at,
            "instr": self.instr,
            "instr_type": 1,
            "oper": self.oper,
            "type": self.type,
            "cur": "USD",
            "p": _number(self.p),
            "stop": _number(self.stop) or None,
            "q": self.q,
            "leaves_qty": self.leaves_qty,
            "exp": self.exp,
            "stat_prev": self.stat_prev,
            "user_order_id": self.user_order_id,
            "trades": "{}",
            "changetime": self.placed // 10**6,
            "profit": 0,
            "curr_q": 0,
            "trades_json": "[]",
            "error": "",
            "market_time": at,
            "creator_login": login,
            "owner_login": login,
            "safety_type_id": 14,
            "order_nb": None,
            "id": self.order_id,
        }

    def remembered(self, login: str) -> dict[str, Any]:
        """Its row in getOrdersHistory: `id` alone, and texts among the numbers."""
        return {
            "id": self.order_id,
            "date": _moment(self.placed, "T", "seconds"),
            "stat": self.stat,
            "stat_orig": self.stat,
            "stat_d": _moment(self.since, "T", "seconds"),
            "stat_prev": self.stat_prev,
            "instr": self.instr,
            "oper": self.oper,
            "type": self.type,
            "cur": "USD",
            "p": str(_number(self.p)),
            "stop": f"{self.stop:.8f}".removeprefix("0"),
            "q": self.q,
            "leaves_qty": self.leaves_qty,
            "aon": "0",
            "exp": self.exp,
            "userOrderId": self.user_order_id,
            "login": login,
        }


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _moment(at: int, separator: str, precision: str) -> str:
    # The one recorded pair of local time and epoch lies three hours apart; a mock does better in UTC.
    return (_EPOCH + timedelta(microseconds=at // 1000)).isoformat(separator, precision)


def as_json(value: object) -> str:
    """Write what fills a payload's `$name`."""
    return msgspec.json.encode(value).decode()
