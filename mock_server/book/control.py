"""The control plane of the order book: what tests do to orders that no client can."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, request
from msgspec import Struct

from mock_server.book.book import Book, Change, NewOrder
from mock_server.book.orders import Order
from mock_server.guard import CONTROL
from mock_server.web import Refused, as_json, mock, session_of
from tn_contract.contract.errors import UsageError

T = TypeVar("T")

book = Blueprint("book", __name__, url_prefix=f"{CONTROL}sessions/<path:api_key>")


class _Advance(Struct, forbid_unknown_fields=True):
    """How far the clock of a session's orders moves on."""

    advance: float


@book.get("/orders")
def list_orders(api_key: str) -> Response:
    """List the orders of a session."""
    return as_json({"orders": [_shown(order) for order in _book_of(api_key).orders(api_key)]})


@book.post("/orders")
def put_order(api_key: str) -> Response:
    """Put an order into the book, in any state."""
    orders = _book_of(api_key)
    wanted = _read(NewOrder, '{"stat": 12, "q": 10, "leaves_qty": 4}, or nothing for an active order')
    try:
        return as_json(_shown(orders.put(api_key, wanted)), 201)
    except UsageError as error:
        raise Refused(str(error), f"GET {CONTROL}sessions/{api_key}/orders lists what is there", 409) from error


@book.patch("/orders/<order_id>")
def change_order(api_key: str, order_id: str) -> Response:
    """Change the state of an order."""
    orders = _book_of(api_key)
    change = _read(Change, '{"stat": 21} or {"cancel_ends": 75}')
    try:
        order = orders.change(api_key, order_id, change)
    except UsageError as error:
        raise Refused(str(error), "docs/orders.md has the statuses", 409) from error
    if order is None:
        hint = f"GET {CONTROL}sessions/{api_key}/orders lists what is there"
        raise Refused(f"the session has no order {order_id}", hint, 404)
    return as_json(_shown(order))


@book.post("/clock")
def advance_clock(api_key: str) -> Response:
    """Move the clock of a session's orders on."""
    orders = _book_of(api_key)
    wanted = _read(_Advance, '{"advance": 2.5}')
    if not 0 <= wanted.advance <= 10**9:
        raise Refused("the clock only moves forward", "advance is a number of seconds from 0 to 10^9", 400)
    try:
        return as_json({"now": _time(orders.advance(api_key, wanted.advance))})
    except UsageError as error:
        hint = f"POST {CONTROL}sessions opens another session, whose clock is right"
        raise Refused(str(error), hint, 409) from error


def _book_of(api_key: str) -> Book:
    session_of(api_key)
    found = mock().book
    if found is None:
        raise Refused("this mock keeps no orders", "start it with --orders book", 409)
    return found


def _read(kind: type[T], example: str) -> T:
    try:
        return msgspec.json.decode(request.get_data() or b"{}", type=kind)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not understood ({error})", f"send such as {example}", 400) from error


def _shown(order: Order) -> dict[str, Any]:
    """Show an order as tests see it: what the API does not tell as well."""
    # An id as text, for many languages keep numbers as floats.
    kept = {**msgspec.structs.asdict(order), "order_id": str(order.order_id)}
    times = {name: _time(kept.pop(name)) for name in ("placed", "since")}
    under_way = {"then": kept.pop("then"), "due": _time(kept.pop("due"))}
    meaning = mock().corpus.statuses[order.stat].meaning
    return {**kept, **times, "meaning": meaning, **(under_way if order.due else {})}


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 10**9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
