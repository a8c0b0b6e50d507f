"""Plays a journal back: sends its requests again, one after the other, and compares what comes with what came.

Against a mock that begins as the recorded one did (same keys, seed and scenario) everything comes again but the dates;
where it does not, either side has changed. Only for mocks: a recorded cancel is a cancel.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Literal

import msgspec
from msgspec import Struct

from tn_contract.contract.address import parse_address
from tn_contract.contract.errors import UsageError
from tn_contract.contract.text import utf8
from tn_contract.contract.wire import Reply, Request
from tn_contract.record.journal import Exchange, Redactor
from tn_contract.transport import Timeouts, Transport, TransportFailure, Unsendable

NOTHING = "no whole reply"
BRIEF = Timeouts()
PATIENT = Timeouts(receive=86_400, total=86_400)  # what came once comes again, however late a scenario lets it be
# Headers that belong to the connection, which is another one now.
_OF_CONNECTION = {"host", "content-length", "connection", "transfer-encoding", "expect", "accept-encoding"}
# Dates in a book's rows, the last one perhaps cut off with its reply.
_TIME = re.compile(r'\d{4}-\d\d-\d\d[T ]?[\d:.]*|"changetime":\d+')
_KEY_UNKNOWN = "the mock does not know the key: POST it to /__tn__/sessions first, with its secret"
_HINTS = {
    "the timestamp is": "its timestamp is too old by now: start the mock with --timestamp-tolerance 0",
    "Invalid credentials": _KEY_UNKNOWN,
    "Invalid api key": _KEY_UNKNOWN,
}


class Played(Struct, frozen=True):
    """One request sent again: what came the first time and now, or why it could not be sent; perhaps what to do."""

    seq: int
    line: str
    recorded: str
    now: str
    verdict: Literal["same", "differs", "not sent"]
    hint: str = ""


class Journal(Struct):
    """What could be read of a journal, and the numbers of its lines that break off."""

    exchanges: list[Exchange]
    halves: list[int] = []


class _Line(Struct):
    """A line of a journal; lines of other kinds have no exchange."""

    exchange: Exchange | None = None


def read_journal(content: bytes, name: str) -> Journal:
    """Read a journal of any kind: what `serve --journal` writes, a session's, or one of `judge`.

    A line that breaks off is left out: it is being written, or was when the disk was full or the mock was killed.
    Raises `UsageError`, which tells the line, for anything else.
    """
    content = utf8(content)
    try:
        return msgspec.json.decode(content, type=Journal)
    except (ValueError, RecursionError):
        pass
    found = Journal([])
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=_Line) if text.strip() else _Line()
        except (ValueError, RecursionError) as error:
            if text.startswith(b'{"line":') and "truncated" in str(error):
                found.halves.append(number)
                continue
            raise UsageError(f"{name}, line {number}: no line of a journal ({error})") from None
        if line.exchange:
            found.exchanges.append(line.exchange)
    if not found.exchanges:
        raise UsageError(f"{name} holds no exchange: give it what `serve --journal` wrote, or a session's journal")
    return found


def play_back(exchanges: Sequence[Exchange], base_url: str, *, pauses: bool = True) -> Iterator[Played]:
    """Send every request again, with the recorded pauses or at once.

    Raises `UsageError` when `base_url` is not on this machine, or the time of an exchange cannot be read.
    """
    if parse_address(base_url).target_class != "loopback":
        raise UsageError(f"{base_url} is not on this machine: journals are played back to mocks only")
    exchanges = [each for number, each in enumerate(exchanges, 1) if not _comes_again(each, exchanges, number)]
    offsets = _offsets(exchanges) if pauses else [0.0] * len(exchanges)
    with closing(Transport(base_url, BRIEF)) as brief, closing(Transport(base_url, PATIENT)) as patient:
        began = time.monotonic()
        for exchange, offset in zip(exchanges, offsets, strict=True):
            time.sleep(max(0.0, began + offset - time.monotonic()))
            yield _play(exchange, patient if exchange.reply else brief)


def _comes_again(exchange: Exchange, exchanges: Sequence[Exchange], after: int) -> bool:
    """Say if a scenario delivered the request twice: the client got the second reply, and sent it once."""
    notes = exchange.assessment.notes if exchange.assessment else ()
    return (
        bool(notes)
        and notes[-1] == "delivered twice"
        and any(
            each.session == exchange.session and each.request == exchange.request
            for each in islice(exchanges, after, None)
        )
    )


def _offsets(exchanges: Sequence[Exchange]) -> list[float]:
    """Tell how many seconds after the first each one came."""
    moments = []
    for exchange in exchanges:
        try:
            moments.append(datetime.fromisoformat(exchange.at).timestamp())
        except ValueError:
            told = f"exchange {exchange.seq} came at {exchange.at!r}, which is no time"
            raise UsageError(f"{told}: leave the pauses out with --no-pauses") from None
    return [moment - moments[0] for moment in moments]


def _play(exchange: Exchange, transport: Transport) -> Played:
    line, recorded = exchange.request.line, _recorded(exchange)
    request = _request(exchange)
    if isinstance(request, str):
        return Played(exchange.seq, line, recorded, request, "not sent")
    try:
        now = _told(transport.send(request))
    except Unsendable as failure:
        return Played(exchange.seq, line, recorded, f"it is no request: {failure}", "not sent")
    except TransportFailure as failure:
        if failure.phase == "connect":
            raise
        now = NOTHING
    if _TIME.sub("", now) == _TIME.sub("", recorded):
        return Played(exchange.seq, line, recorded, now, "same")
    hint = next((hint for words, hint in _HINTS.items() if words in now and words not in recorded), "")
    return Played(exchange.seq, line, recorded, now, "differs", hint)


def _recorded(exchange: Exchange) -> str:
    reply = exchange.reply
    if reply is None:
        return NOTHING
    return f"{reply.status} {'' if exchange.request.line.startswith('HEAD ') else reply.body}".rstrip()


def _told(reply: Reply) -> str:
    return f"{reply.status} {Redactor().body(reply.body)}".rstrip()  # cut as the journal cuts


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
    if {".", ".."} & set(path.split("/")):
        return "its path would be another on the way"
    headers = tuple(each for each in recorded.headers if each[0].lower() not in _OF_CONNECTION)
    return Request(method, path, headers, recorded.body.encode("utf-8", "surrogateescape"), query)
