"""Orders as the server lists them: one typed record for every spelling that a list was seen or documented in.

Recorded (2022 and 2026): `{"result": {"orders": {"key": …, "order": […]}}}`, without `order` where there is none.
Documented: a bare array. A single object instead of an array is met too, for a client is known that copes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import ORDER_ID_MAX


@dataclass(frozen=True, slots=True)
class Order:
    """One order as the server tells of it. `status` is its `stat`; `members` is the whole row.

    `quantity`, `remaining` and `user_order_id` are None where the row does not say.
    """

    order_id: int
    status: int
    instrument: str
    quantity: Decimal | None = None
    remaining: Decimal | None = None
    user_order_id: str | None = None
    members: dict[str, Any] = field(repr=False, default_factory=dict)

    @property
    def meaning(self) -> str:
        """What the status means, in the vendor's words; "unknown status" for a number in no public table."""
        known = load_corpus().statuses.get(self.status)
        return known.meaning if known else "unknown status"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it; False for an unknown status, for then nobody knows."""
        known = load_corpus().statuses.get(self.status)
        return known is not None and known.ended


class Unreadable(Exception):
    """What came is no list of orders."""


def read_orders(value: Any) -> list[Order]:
    """Read the decoded reply to getNotifyOrderJson. Raises `Unreadable`, also for a row without id or status.

    A row that is passed over would be an order that nobody looks after.
    """
    if isinstance(value, Mapping):
        result = value.get("result", value)
        value = result.get("orders") if isinstance(result, Mapping) else None
        if isinstance(value, Mapping):
            value = value.get("order") or []
    rows = [value] if isinstance(value, Mapping) else value
    if not isinstance(rows, list):
        raise Unreadable("the reply has no list of orders")
    return [_order(row) for row in rows]


def _order(row: Any) -> Order:
    if not isinstance(row, Mapping):
        raise Unreadable("an order is no object")
    ids = {_integer(row[name]) for name in ("id", "order_id") if row.get(name) is not None}
    status = _integer(row.get("stat"))
    if len(ids) != 1 or (order_id := ids.pop()) is None or not 0 < order_id <= ORDER_ID_MAX:
        raise Unreadable("an order has no id, or two of them")
    if status is None:
        raise Unreadable(f"order {order_id} has no status")
    instrument, own = row.get("instr"), row.get("user_order_id", row.get("userOrderId"))
    return Order(
        order_id,
        status,
        instrument if isinstance(instrument, str) else "",
        _decimal(row.get("q")),
        _decimal(row.get("leaves_qty")),
        None if own in (None, "") else str(own),
        dict(row),
    )


def _integer(value: Any) -> int | None:
    """Read an integer, or its digits: the vendor mixes numbers with texts."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
