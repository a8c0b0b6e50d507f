"""The control plane of the order book: what tests do to orders that no client can."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request
from msgspec import Struct

from mock_server.book.book import Book, Change, NewOrder
from mock_server.book.orders import Order
from mock_server.broker import Broker
from mock_server.door import CONTROL
from tn_contract.contract.errors import UsageError

SESSION = f"{CONTROL}sessions/<path:api_key>"
ADDRESSES = [
    f"GET|POST {CONTROL}sessions/<api_key>/orders",
    f"PATCH {CONTROL}sessions/<api_key>/orders/<order_id>",
    f"POST {CONTROL}sessions/<api_key>/clock",
]

Refuse = Callable[[str, str, int], Response]
T = TypeVar("T")


class _Advance(Struct, forbid_unknown_fields=True):
    """How far the clock of a session's orders moves on."""

    advance: float


class _NoBook(Exception):
    """The request cannot be met: a response says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def add_book_control(app: Flask, mock: Broker, refuse: Refuse, unknown: Callable[[str], Response]) -> None:
    """Add the addresses; where the mock keeps no book they say so. `unknown` answers for a key of no session."""

    def book_of(api_key: str) -> Book:
        if mock.session(api_key) is None:
            raise _NoBook(unknown(api_key))
        if mock.book is None:
            raise _NoBook(refuse("this mock keeps no orders", "start it with --orders book", 409))
        return mock.book

    def read(kind: type[T], example: str) -> T:
        try:
            return msgspec.json.decode(request.get_data() or b"{}", type=kind)
        except (ValueError, RecursionError) as error:
            raise _NoBook(refuse(f"the body is not understood ({error})", f"send such as {example}", 400)) from error

    def shown(order: Order) -> dict[str, Any]:
        """An order as tests see it: what the API does not tell as well."""
        # An id as text, for many languages keep numbers as floats.
        kept = {**msgspec.structs.asdict(order), "order_id": str(order.order_id)}
        times = {name: _time(kept.pop(name)) for name in ("placed", "since")}
        under_way = {"then": kept.pop("then"), "due": _time(kept.pop("due"))}
        meaning = mock.corpus.statuses[order.stat].meaning
        return {**kept, **times, "meaning": meaning, **(under_way if order.due else {})}

    @app.errorhandler(_NoBook)
    def answer(reason: _NoBook) -> Response:
        return reason.response

    @app.get(f"{SESSION}/orders")
    def list_orders(api_key: str) -> Response:
        return _json({"orders": [shown(order) for order in book_of(api_key).orders(api_key)]})

    @app.post(f"{SESSION}/orders")
    def put_order(api_key: str) -> Response:
        book = book_of(api_key)
        wanted = read(NewOrder, '{"stat": 12, "q": 10, "leaves_qty": 4}, or nothing for an active order')
        try:
            return _json(shown(book.put(api_key, wanted)), 201)
        except UsageError as error:
            return refuse(str(error), f"GET {CONTROL}sessions/{api_key}/orders lists what is there", 409)

    @app.patch(f"{SESSION}/orders/<order_id>")
    def change_order(api_key: str, order_id: str) -> Response:
        book = book_of(api_key)
        change = read(Change, '{"stat": 21} or {"cancel_ends": 75}')
        try:
            order = book.change(api_key, order_id, change)
        except UsageError as error:
            return refuse(str(error), "docs/orders.md has the statuses", 409)
        if order is None:
            hint = f"GET {CONTROL}sessions/{api_key}/orders lists what is there"
            return refuse(f"the session has no order {order_id}", hint, 404)
        return _json(shown(order))

    @app.post(f"{SESSION}/clock")
    def advance_clock(api_key: str) -> Response:
        book = book_of(api_key)
        wanted = read(_Advance, '{"advance": 2.5}')
        if not 0 <= wanted.advance <= 10**9:
            return refuse("the clock only moves forward", "advance is a number of seconds from 0 to 10^9", 400)
        try:
            return _json({"now": _time(book.advance(api_key, wanted.advance))})
        except UsageError as error:
            return refuse(str(error), f"POST {CONTROL}sessions opens another session, whose clock is right", 409)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 10**9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
