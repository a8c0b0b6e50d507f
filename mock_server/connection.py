"""One client: its requests are answered one after the other, over TLS too, and faults are played on its replies.

A connection takes turns with all others. In a turn it parses a slice of what it has read and answers at most one
request; the rest waits for the next iteration of the loop, and meanwhile nothing more is read. So what a client can
make the mock hold is one read, one slice's requests and one reply beyond the write buffer's limit, whatever it sends
and however little it reads.
"""

from __future__ import annotations

import socket
import struct
from asyncio import BaseTransport, Future, TimerHandle
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from mock_server.broker import Answer
from mock_server.faults import Close, Hang, Keep, Reset, Send, Step, Wait, script
from mock_server.harness import failed, refused
from mock_server.server import Server, Visitor
from tn_contract.contract.wire import Headers, Reply, Request, replace, status_line
from tn_contract.record.http_reader import Reader, Refusal, ends_early

if TYPE_CHECKING:
    import ssl

    from mock_server.tls import Tls

BODY_SECONDS = 30.0
IDLE_SECONDS = 10.0
SLICE = 1024  # bytes that are parsed at a time: some sixty of the smallest requests
PARTS = 128  # of a body, after which others have their turn
CONNECTIONS_MOST = 16_384  # of one process
_TOLD_WHY = 1024  # of those beyond: the others are closed without a reply
HELD_LIMIT = 64 * 1024 * 1024  # bytes of unfinished requests, of all connections together
LINGER_SECONDS = 2.0  # who was refused while still sending has this long to read why


class Connection(Visitor):
    """Takes turns with a client: reads ahead no further than a slice, and writes when it is read."""

    __slots__ = (
        "_answering", "_clogged", "_context", "_dismissed", "_done", "_due", "_ended", "_feeding", "_held", "_plain",
        "_playing", "_reader", "_scheduled", "_served", "_silent", "_timer", "_tls", "_unread", "_unsent", "_waiting",
    )  # fmt: skip

    def __init__(self, server: Server, context: ssl.SSLContext | None = None) -> None:
        super().__init__(server)
        self._context = context
        self._tls: Tls | None = None
        self._plain = False  # though the port speaks TLS
        self._silent = "closed by the client"  # why it ended without a request, until one begins
        self._reader = Reader(self)
        self._unread = b""  # was received, and not parsed yet
        self._waiting: deque[tuple[Request, str] | Reply] = deque()  # was parsed before its turn came
        self._feeding = False  # the reader is at work, so more requests may come in this slice
        self._served = False  # a request was answered in this turn
        self._scheduled = False  # another turn comes
        self._held = 0  # bytes of an unfinished request, as counted in the server's sum
        self._timer: TimerHandle | None = None
        self._playing: tuple[Iterator[Step], str] | None = None  # what the timer goes on with
        self._due = 0.0  # when the step of a fault comes that the timer waits for
        self._answering = False
        self._clogged = False  # the client does not read as fast as it is answered
        self._unsent = inf
        self._ended = False  # the client has said all
        self._dismissed = False  # the server stops: what has begun is answered, and no more
        self._done = False  # we have said all, and wait for it to leave

    # ---- the network ---------------------------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, with a handshake if it takes one."""
        super().connection_made(transport)
        if self._context:
            from mock_server.tls import Tls

            self._tls = Tls(self._context, self.transport)
        beyond = len(self.server.visitors) - CONNECTIONS_MOST
        if beyond > 0 and (self._tls or beyond > _TOLD_WHY):
            self._silent = "too many connections"
            self.abort()
        elif beyond > 0:
            reason = f"there are more than {CONNECTIONS_MOST} connections"
            self.refuse(Refusal(reason, 503, "close idle connections, or use them again; then try again"))

    def take(self, data: bytes) -> None:
        """Take what the client said."""
        if self._reader.deaf:
            return
        self._served = False
        if self._tls is None:
            self._read(data)
            return
        from mock_server.tls import NotTls

        try:
            said, ended = self._tls.read(data)
        except NotTls as error:
            self._tls = None
            self._silent = str(error)
            if not error.plain_text:
                self.transport.close()
                return
            self._plain = True
            said, ended = error.plain_text, False
        if said:
            self._read(said)
        if ended:
            self.eof_received()

    def _read(self, data: bytes) -> None:
        self._silent = ""
        self._unread = self._unread + data if self._unread else data
        if not (self._busy() or self._scheduled):
            self._parse()
        elif not self._ended:
            self.transport.pause_reading()

    def _parse(self) -> None:
        """Parse slice by slice until a request is there to be answered."""
        reader = self._reader
        self._feeding = True
        most = reader.parts + PARTS
        while self._unread and reader.parts < most and not (reader.deaf or self._served or self._busy()):
            data, self._unread = self._unread[:SLICE], self._unread[SLICE:]
            reader.feed(data)
        self._feeding = False
        self._count_held(reader.held)
        if reader.deaf:
            self._unread = b""
        if self._unread or self._waiting:
            if not (self._ended or reader.deaf):
                self.transport.pause_reading()
            self._look_for_more()
        elif self._ended or self.server.stopping:
            self._look_for_more()

    def _count_held(self, held: int) -> None:
        self.server.held += held - self._held
        grown, self._held = held > self._held, held
        if grown and self.server.held > HELD_LIMIT:
            reason = f"unfinished requests of all clients hold more than {HELD_LIMIT // 2**20} MiB"
            self.refuse(Refusal(reason, 503, "close idle connections, or send requests whole; then try again"))

    def eof_received(self) -> bool:
        """Answer what has come whole, for the client may still listen."""
        if not self._ended:
            self._ended = True
            if not self._unread:
                self._end()
        return True

    def _end(self) -> None:
        """Take note that nothing more comes, and that all was parsed."""
        if self._reader.within and not self._reader.deaf:
            self.refuse(ends_early(self._reader.within))
        elif self._done or not (self._answering or self._waiting):
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was to come."""
        super().connection_lost(exc)
        if self._context and self._silent:
            self.server.turned_away.append(self._silent)
        self._reader.stop()
        self._unread = b""
        self._waiting.clear()
        self._count_held(0)
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Answer no more until the client reads."""
        self._clogged = True
        self.allow(IDLE_SECONDS)

    def resume_writing(self) -> None:
        """Go on."""
        self._clogged, self._unsent = False, inf
        if not self._answering:
            self._look_for_more()

    def expire(self) -> None:
        """Leave, unless the client still reads; say why, if it was saying something."""
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self.allow(IDLE_SECONDS)
        elif unsent or self._done:
            self.abort()
        elif self._answering or self._scheduled:
            self.deadline = inf
        elif self._reader.within:
            self.refuse(Refusal("the request takes too long", 408))
        else:
            self._close()

    def dismiss(self) -> None:
        """Leave, or do so when what has begun to come is answered: at once, however late a fault wanted it."""
        self._dismissed = True
        if self._done or not (self._answering or self._more()):
            self._close()
        elif self._timer and self._playing:
            self._timer.cancel()
            self._play(*self._playing)

    def _write(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._tls is None:
            self.send(data)
        else:
            self._tls.write(data)

    def _close(self) -> None:
        if self.transport.is_closing():
            return
        self._reader.deaf = self._done = True
        self._unread = b""
        self.allow(LINGER_SECONDS)
        if self._tls:
            self._tls.say_goodbye()
        self.flush()
        self.transport.close()

    # ---- what the reader tells -----------------------------------------------------------------------------

    def _busy(self) -> bool:
        """Say if it is our turn, or the client's to read: those have time limits of their own."""
        return bool(self._answering or self._waiting or self._clogged)

    def _more(self) -> bool:
        """Say if there is more to answer, part of it yet to come perhaps."""
        return bool(self._waiting or self._unread or self._reader.within)

    def request_begins(self) -> None:
        """Give the client time for headers."""
        if self._dismissed:
            self._reader.stop()
        elif not self._busy():
            self.expect_head()

    def body_begins(self) -> None:
        """Give the client time for a body, and ask for it if it waits for that."""
        if not self._busy():
            self._expect_body()

    def _expect_body(self) -> None:
        self.allow(BODY_SECONDS)
        if self._reader.uninvited:
            self._reader.uninvited = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_came(self, request: Request, connection: str) -> None:
        """Answer the request, or let it wait for its turn."""
        if self._plain:  # then it was meant for another address, as whoever answers shall see
            request = replace(request, path=f"http://{request.header('Host') or ''}{request.path}")
            connection = "close"
        # While the server stops, which reply is the last can be known only when all is parsed.
        if self._served or self._busy() or self.server.stopping:
            self._waiting.append((request, connection))
        else:
            self._answer(request, connection)

    def refuse(self, refusal: Refusal) -> None:
        """Answer what is no request, in its turn."""
        self._reader.stop()
        reply = refused(refusal)
        if self._busy():
            self._waiting.append(reply)
        else:
            self._say_last(reply)

    # ---- replies -------------------------------------------------------------------------------------------

    def _answer(self, request: Request, connection: str) -> None:
        self._answering = self._served = True
        self.deadline = inf
        if self.server.offload(request.path):

            def answered(future: Future[Answer]) -> None:
                self._deliver(future.result(), request, connection)

            self.server.answer_aside(request).add_done_callback(answered)
        else:
            self._deliver(self.server.answer(request), request, connection)

    def _deliver(self, answer: Answer, request: Request, connection: str) -> None:
        if self.server.stopping and not self._more():
            connection = "close"
        head_only = request.method == "HEAD"
        try:
            rendered = _rendered(self.server.stamp, answer.reply, connection, head_only)
        except ValueError as error:
            rendered = _rendered(self.server.stamp, failed(error), connection, head_only)
        self._due = 0.0
        if answer.fault:
            self._play(iter(script(answer.fault, rendered)), connection)
        else:
            self._write(rendered)
            self._finish(connection)

    def _play(self, steps: Iterator[Step], connection: str) -> None:
        for step in steps:
            match step:
                case Send(data):
                    self._write(data)
                case Wait(seconds) if not self.server.stopping:
                    self._playing = steps, connection
                    self._due = (self._due or self.loop.time()) + seconds  # so that many waits add up to no more
                    self._timer = self.loop.call_at(self._due, self._play, steps, connection)
                    return
                case Keep():
                    self._finish(connection)
                case Close():
                    self._close()
                case Reset():
                    self.flush()
                    # With nothing to linger for, closing sends RST instead of FIN.
                    client = self.transport.get_extra_info("socket")
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.abort()
                case Hang(seconds):
                    self._reader.deaf = self._done = True
                    if self._ended or self.server.stopping:
                        self._close()
                    else:
                        self.transport.resume_reading()  # to see the client leave
                        self._timer = self.loop.call_later(seconds, self._close)

    def _finish(self, connection: str) -> None:
        self._answering = False
        if connection == "close":
            self._close()
        elif self._feeding:  # `_parse` goes on
            self.allow(IDLE_SECONDS)
        else:
            self._look_for_more()

    def _look_for_more(self) -> None:
        """Be ready for the next request."""
        if self._waiting or self._unread:
            if not (self._scheduled or self._answering or self._clogged):
                self._scheduled = True
                self.loop.call_soon(self._turn)
        elif self._ended:
            self._end()
        elif self._reader.within:
            self._expect_body()
        elif self.server.stopping:
            self._close()
        else:
            self.allow(IDLE_SECONDS)

    def _turn(self) -> None:
        """Answer one request that waits, or parse on."""
        self._scheduled = self._served = False
        if self._answering or self._clogged:
            return
        if not self._waiting:
            self._parse()
        else:
            first = self._waiting.popleft()
            if isinstance(first, Reply):
                self._say_last(first)
            else:
                self._answer(*first)
        if not (self._waiting or self._unread or self._ended):
            self.transport.resume_reading()

    def _say_last(self, reply: Reply) -> None:
        self._write(_rendered(self.server.stamp, reply, "close"))
        if self._ended or self.server.stopping:
            self._close()
            return
        # Closing now would reset the connection of a client that still sends, and take its reply from it.
        self._done = True
        self.allow(LINGER_SECONDS)
        if self._tls:
            self._tls.say_goodbye()
        self.flush()
        try:
            self.transport.write_eof()
        except OSError:  # it has left already, and with a reset
            self.abort()


@lru_cache(256)
def _head(status: int, headers: Headers, connection: str) -> tuple[str, str, str]:
    """Write what stands before the stamp and after it, and the length that the headers tell, if they do.

    Raises `ValueError` for a header that would be two.
    """
    lines, length = [f"Connection: {connection}\r\n"] if connection else [], ""
    for name, value in headers:
        if "\n" in value or "\r" in value:
            raise ValueError(f"a line break in {name}")
        if name.lower() == "content-length":
            length = value
        else:
            lines.append(f"{name}: {value}\r\n")
    return f"HTTP/1.1 {status_line(status)}\r\n", "".join(lines), length


def _rendered(stamp: str, reply: Reply, connection: str, head_only: bool = False) -> bytes:
    """Write a reply as it goes over the wire. Raises `ValueError` for headers that cannot be written."""
    first, lines, promised = _head(reply.status, reply.headers, connection)
    if reply.status < 200 or reply.status in (204, 304):
        return f"{first}{stamp}{lines}\r\n".encode("latin-1")
    length = promised if head_only and promised else len(reply.body)
    head = f"{first}{stamp}{lines}Content-Length: {length}\r\n\r\n".encode("latin-1")
    return head if head_only else head + reply.body
