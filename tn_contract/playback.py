"""Plays a journal back: sends its requests again, in order, and compares what comes with what came.

Against a mock that begins as the recorded one did (same keys, seed and scenario) everything comes again; where it does
not, either side has changed. Only for mocks: a recorded cancel is a cancel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from tn_contract.errors import UsageError
from tn_contract.journal import Exchange
from tn_contract.transport import Timeouts, Transport, TransportFailure, is_loopback
from tn_contract.wire import Reply, Request

NOTHING = "no whole reply"
# Headers that belong to the connection, which is another one now.
_OF_CONNECTION = {"host", "content-length", "connection", "transfer-encoding", "expect", "accept-encoding"}


class Played(Struct, frozen=True):
    """One request sent again: what came the first time and now, or why it could not be sent."""

    seq: int
    line: str
    recorded: str
    now: str
    verdict: Literal["same", "differs", "not sent"]


class _Listed(Struct):
    """A journal as the control plane gives it."""

    exchanges: list[Exchange]


class _Line(Struct):
    """A line of a journal; lines of other kinds have no exchange."""

    exchange: Exchange | None = None


def read_exchanges(content: bytes, name: str) -> list[Exchange]:
    """Read a journal of any kind: what `serve --journal` writes, a session's, or one of `judge`.

    Raises `UsageError`, which tells the line, for anything else.
    """
    try:
        return msgspec.json.decode(content, type=_Listed).exchanges
    except (msgspec.DecodeError, RecursionError):
        pass
    found = []
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=_Line) if text.strip() else _Line()
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(f"{name}, line {number}: no line of a journal ({error})") from None
        if line.exchange:
            found.append(line.exchange)
    if not found:
        raise UsageError(f"{name} holds no exchange: give it what `serve --journal` wrote, or a session's journal")
    return found


def play_back(exchanges: Iterable[Exchange], base_url: str, timeouts: Timeouts | None = None) -> Iterator[Played]:
    """Send every request again. Raises `UsageError` when `base_url` is not on this machine."""
    if not is_loopback(base_url):
        raise UsageError(f"{base_url} is not on this machine: journals are played back to mocks only")
    transport = Transport(base_url, timeouts)
    try:
        for exchange in exchanges:
            yield _play(exchange, transport)
    finally:
        transport.close()


def _play(exchange: Exchange, transport: Transport) -> Played:
    line, recorded = exchange.request.line, _recorded(exchange)
    request = _request(exchange)
    if isinstance(request, str):
        return Played(exchange.seq, line, recorded, request, "not sent")
    try:
        now = _told(transport.send(request))
    except TransportFailure as failure:
        if failure.phase == "connect":
            raise
        now = NOTHING
    return Played(exchange.seq, line, recorded, now, "same" if now == recorded else "differs")


def _recorded(exchange: Exchange) -> str:
    reply = exchange.reply
    return NOTHING if reply is None else f"{reply.status} {reply.body}".rstrip()


def _told(reply: Reply) -> str:
    return f"{reply.status} {reply.body.decode('utf-8', 'backslashreplace')}".rstrip()


def _request(exchange: Exchange) -> Request | str:
    """Make the request again, or say why that cannot be."""
    recorded = exchange.request
    parts = [recorded.line, recorded.body, *(value for _, value in recorded.headers)]
    if any("***" in part for part in parts):
        return "it held the secret, which no journal has"
    if recorded.body.endswith(" bytes)") and "… (" in recorded.body:
        return "its body was too long for the journal"
    method, _, target = recorded.line.partition(" ")
    path, _, query = target.partition("?")
    headers = tuple(each for each in recorded.headers if each[0].lower() not in _OF_CONNECTION)
    return Request(method, path, headers, recorded.body.encode("utf-8", "surrogateescape"), query)
