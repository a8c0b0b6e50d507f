"""Reference client, sync and async, over one pure core: compose a request, judge a reply.

A cancel has three outcomes (DESIGN, "A cancel has three outcomes"): accepted is a value, rejected and unknown are
exceptions. Nothing is ever sent twice.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar

from tn_contract.contract import errors
from tn_contract.contract.corpus import Scheme, load_corpus
from tn_contract.contract.errors import (
    ConnectFailed,
    InvalidRequest,
    OtherOrderEchoed,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    UsageError,
)
from tn_contract.contract.nonce import NonceSource, shared_source
from tn_contract.contract.signing import Credentials, Parameters, Secret
from tn_contract.contract.wire import ORDER_ID_MAX, Form, Reading, Reply, Request, compose, compose_v3, read_body
from tn_contract.record.orders import Order, Unreadable, read_orders
from tn_contract.transport import AsyncTransport, Timeouts, Transport, TransportFailure

if TYPE_CHECKING:
    from types import TracebackType

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server accepted the cancel. Cancelling is asynchronous: accepted is not yet cancelled.

    `evidence` says what the reply proved it with: `order_id` (documented) or an integer `result` (attested).
    """

    order_id: int
    evidence: Literal["order_id", "result"]
    members: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthInfo:
    """The reply to getAuthInfo. `sess_id` is None when the server sent none; it never shows in `repr`."""

    sess_id: str | None = field(repr=False)
    members: dict[str, Any] = field(repr=False)


# ---- the pure core -----------------------------------------------------------------------------------------


def check_order_id(order_id: int) -> int:
    """Return the id. Raises `InvalidRequest` unless it is an int from 1 to 2^63-1 (seed: `order_id` (int))."""
    if isinstance(order_id, bool) or not isinstance(order_id, int):
        raise InvalidRequest(f"order_id is a {type(order_id).__name__}: pass an int, as the page says")
    if not 0 < order_id <= ORDER_ID_MAX:
        shown = order_id if abs(order_id) < 10**30 else "far too long"
        raise InvalidRequest(f"order_id is {shown}: it must be from 1 to {ORDER_ID_MAX}")
    return order_id


def cancel_outcome(order_id: int, reply: Reply) -> Accepted:
    """Judge the reply to a cancel. Raises `Rejected` or `OutcomeUnknown`."""
    reading = _settled(reply)
    if reading.order_id is not None and reading.order_id != order_id:
        raise OtherOrderEchoed(
            "other-order", f"the reply confirms order {reading.order_id}, not {order_id}", reply.status, _shown(reply)
        )
    if reading.order_id == order_id:
        return Accepted(order_id, "order_id", reading.members)
    if reading.result is not None and "order_id" not in reading.members:
        return Accepted(order_id, "result", reading.members)
    raise OutcomeUnknown(
        "no-evidence", "the reply has neither the order's id nor an integer result", reply.status, _shown(reply)
    )


def session_outcome(reply: Reply) -> AuthInfo:
    """Judge the reply to getAuthInfo. Raises `Rejected` or `OutcomeUnknown`."""
    members = _settled(reply).members
    sess_id = members.get("sess_id")
    return AuthInfo(sess_id if isinstance(sess_id, str) and sess_id else None, members)


def orders_outcome(reply: Reply) -> list[Order]:
    """Judge the reply to getNotifyOrderJson. Raises `Rejected` or `OutcomeUnknown`."""
    reading = _settled(reply, ("object", "other-json"))
    try:
        return read_orders(reading.members if reading.form == "object" else json.loads(reply.body))
    except Unreadable as error:
        raise OutcomeUnknown("no-evidence", str(error), reply.status, _shown(reply)) from error


def _settled(reply: Reply, forms: tuple[Form, ...] = ("object",)) -> Reading:
    """Let pass only a 2xx body of these forms without a failure text; raise what anything else means."""
    reading = read_body(reply.body)
    if reply.status >= 500:
        raise OutcomeUnknown("server-error", f"the server broke with HTTP {reply.status}", reply.status, _shown(reply))
    if reading.failed or reply.status == 429:
        raise _rejection(reading, reply)
    if not 200 <= reply.status < 300:
        raise OutcomeUnknown("status", f"HTTP {reply.status} without a failure text", reply.status, _shown(reply))
    if reading.form not in forms:
        reason, detail = {
            "empty": ("empty", "the reply is empty"),
            "not-json": ("not-json", "the reply is no JSON"),
            "other-json": ("not-object", "the reply is JSON, but no object"),
        }[reading.form]
        raise OutcomeUnknown(reason, detail, reply.status, _shown(reply))
    return reading


def _rejection(reading: Reading, reply: Reply) -> Rejected:
    kind = load_corpus().classify(reply.status, reading.code, reading.failure_keys)
    rejection: Rejected = getattr(errors, kind.class_name)(kind.kind, reading.code, reading.message, reply.status)
    if isinstance(rejection, RateLimited):
        rejection.retry_after = _retry_after(reply)
    return rejection


def _retry_after(reply: Reply) -> float | None:
    value = (reply.header("Retry-After") or "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        wanted, now = parsedate_to_datetime(value), parsedate_to_datetime(reply.header("Date") or "")
        return max(0.0, (wanted - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _shown(reply: Reply) -> str:
    return reply.body[:_SHOWN].decode("utf-8", "backslashreplace")


def _raise_failure(failure: TransportFailure) -> NoReturn:
    if failure.phase == "connect":
        raise ConnectFailed(f"no connection, so nothing was sent ({failure})") from failure
    reason = failure.kind if failure.kind in ("too-slow", "too-large") else "no-reply"
    raise OutcomeUnknown(reason, f"sent, but no complete reply came ({failure})") from failure


TransportT = TypeVar("TransportT", Transport, AsyncTransport)


class _Core(Generic[TransportT]):
    """What both clients share. `base_url` is the server's address without path."""

    _transport_type: type[TransportT]

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        base_url: str = "",
        scheme: Scheme = "v2",
        nonces: NonceSource | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        secret = Secret(api_secret)
        del api_secret  # no traceback through this frame may show it
        self._shown = f"<{type(self).__name__} of {api_key!r} at {base_url}>"  # first, for a traceback may ask for it
        if not base_url:
            raise UsageError("name the server: base_url=…; there is no default")
        self._credentials = Credentials(api_key, secret)
        self._nonces = _nonces_of(scheme, api_key, nonces)
        self.scheme: Scheme = scheme
        self._transport: TransportT = self._transport_type(base_url, timeouts)
        self.base_url: str = self._transport.base_url

    def __repr__(self) -> str:
        return self._shown

    def _compose(self, command: str, params: Parameters | None, nonce: int | None) -> Request:
        if nonce is None:
            return compose_v3(self._credentials, command, int(time.time()), params).request
        return compose(self._credentials, command, nonce, params).request


def _nonces_of(scheme: Scheme, api_key: str, nonces: NonceSource | None) -> NonceSource | None:
    if scheme == "v2":
        return nonces or shared_source(api_key)
    if scheme != "v3":
        raise UsageError(f"no generation of the protocol is called {scheme!r}: choose v2 or v3")
    if nonces is not None:
        raise UsageError("v3 requests carry a timestamp and no nonce: leave `nonces` out")
    return None


class Client(_Core[Transport]):
    """Cancels orders; with v2 one request per key at a time, for its nonces must arrive in order.

    `base_url` is the server's address without path (`https://tradernet.com`; there is no default, so that nobody
    cancels for real by accident). `scheme` is the generation of the protocol: v2 (form and nonce) or v3 (JSON and
    timestamp, so this machine's clock must be right). `nonces` is the key's source: pass `NonceSource(path)` when
    several processes share the key. Thread-safe.
    """

    _transport_type = Transport

    def cancel_order(self, order_id: int) -> Accepted:
        """Ask the server to cancel `order_id` (1 to 2^63-1); sent at most once.

        Raises `NotSent` (untouched), `Rejected` (refused) or `OutcomeUnknown` (look the order up).
        """
        params = {"order_id": check_order_id(order_id)}
        return cancel_outcome(order_id, self._exchange("delTradeOrder", params))

    def orders(self, *, active_only: bool = True) -> list[Order]:
        """List the key's orders, by default those that have not ended; one of status 2 still counts as active.

        Raises as `cancel_order`; here `OutcomeUnknown` says that the list is unknown, and asking again is harmless.
        """
        return orders_outcome(self._exchange("getNotifyOrderJson", {"active_only": int(active_only)}))

    def get_auth_info(self) -> AuthInfo:
        """Open a session as the documented flow does (seed, Examples). Raises as `cancel_order`."""
        return session_outcome(self._exchange("getAuthInfo"))

    def _exchange(self, command: str, params: Parameters | None = None) -> Reply:
        if self._nonces is None:
            return self._send(self._compose(command, params, None))
        with self._nonces.reserve() as nonce:
            return self._send(self._compose(command, params, nonce))

    def _send(self, request: Request) -> Reply:
        try:
            return self._transport.send(request)
        except TransportFailure as failure:
            _raise_failure(failure)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Core[AsyncTransport]):
    """`Client` for asyncio."""

    _transport_type = AsyncTransport

    async def cancel_order(self, order_id: int) -> Accepted:
        """Do as `Client.cancel_order`. A task cancelled while the request is out leaves the outcome unknown."""
        params = {"order_id": check_order_id(order_id)}
        return cancel_outcome(order_id, await self._exchange("delTradeOrder", params))

    async def orders(self, *, active_only: bool = True) -> list[Order]:
        """Do as `Client.orders`."""
        return orders_outcome(await self._exchange("getNotifyOrderJson", {"active_only": int(active_only)}))

    async def get_auth_info(self) -> AuthInfo:
        """Do as `Client.get_auth_info`."""
        return session_outcome(await self._exchange("getAuthInfo"))

    async def _exchange(self, command: str, params: Parameters | None = None) -> Reply:
        if self._nonces is None:
            return await self._send(self._compose(command, params, None))
        async with self._nonces.areserve() as nonce:
            return await self._send(self._compose(command, params, nonce))

    async def _send(self, request: Request) -> Reply:
        try:
            return await self._transport.send(request)
        except TransportFailure as failure:
            _raise_failure(failure)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
