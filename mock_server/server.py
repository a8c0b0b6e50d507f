"""One loop for all connections: it takes requests, has them answered, and stops without losing any.

Connections cost no thread, so thousands may stay half open.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from asyncio import AbstractEventLoop, BaseTransport, BufferedProtocol, Future, Transport
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any, cast

from mock_server.broker import Answer
from mock_server.harness import failed
from tn_contract.contract.wire import Request

HEADER_SECONDS = 10.0  # for a request line and headers, and for a TLS handshake
STOP_SECONDS = 1.0
_BACKLOG = 4096
_AT_ONCE = 128  # are accepted: where that fails, the loop tries and complains as often
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_COMPLAINT_SECONDS = 10.0  # between two complaints that nobody can be accepted
_READ = 16 * 1024  # bytes at a time: what every connection may have unparsed
_TICK = 0.5  # how often limits are looked after
_ROUNDS = 5 + _BACKLOG // _AT_ONCE  # of the loop, until it has accepted and heard who was there before the stop
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_log = logging.getLogger("mock_server")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Lane:
    """Slow requests that wait for a thread, and how many threads there are."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Request, Future[Answer]]] = deque()
        self.threads = 0


class Server:
    """Has requests answered that come in by its doors, until it is stopped.

    `offload` says by how many threads requests for a path are answered, because they take long; those with the same
    number share them. With 0 they are answered in the loop itself. `answer` may raise: that is answered for, too.
    """

    def __init__(self, answer: Callable[[Request], Answer], *, offload: Callable[[str], int] = lambda _path: 0) -> None:
        self._answer, self.offload = answer, offload
        self.visitors: set[Visitor] = set()
        self.stopping = False  # changes in the loop alone, never while something is taken
        self.stamp = ""
        self.turned_away: deque[str] = deque(maxlen=16)  # why TLS connections ended without a request
        self._lanes: dict[int, _Lane] = {}
        self.held = 0  # bytes of unfinished requests, of all connections
        self.buffer = memoryview(bytearray(_READ))  # one for all: what is read is copied out at once
        self._heard: list[tuple[Visitor, bytes]] = []
        self._written: list[Visitor] | None = None
        self._doors: list[tuple[socket.socket, Callable[[], Visitor]]] = []
        self._lock = threading.Lock()
        self._stopped = False
        self._loop: AbstractEventLoop | None = None
        self._told_to_stop, self._somebody_left = asyncio.Event(), asyncio.Event()
        self._over = threading.Event()
        self._complain_again = -inf

    def add_door(self, listening: socket.socket, newcomer: Callable[[], Visitor]) -> None:
        """Let in who connects to a listening socket: `newcomer` makes their protocol. Only before `serve`."""
        self._doors.append((listening, newcomer))

    def answer(self, request: Request) -> Answer:
        """Answer a request, whatever happens."""
        try:
            return self._answer(request)
        except Exception as error:  # noqa: BLE001 # nobody else would answer
            return Answer(failed(error), None)

    def serve(self) -> None:
        """Answer requests in this thread until `stop` is called; at once over when it was called before."""
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        finally:
            self._over.set()

    def stop(self) -> None:
        """Take no more requests, answer those under way for up to `STOP_SECONDS`, and return when all is over.

        What holds up the loop itself is waited for however long it takes: what is closed next is in its hands. Threads
        that still compute an answer are left to themselves, and do not keep the process from ending.
        Not to be called in the thread that serves.
        """
        with self._lock:
            unused = not (self._stopped or self._loop)
            self._stopped = True
            if self._loop:
                self._loop.call_soon_threadsafe(self._told_to_stop.set)
        if unused:
            for listening, _ in self._doors:
                listening.close()
            self._over.set()
        self._over.wait()

    def answer_aside(self, request: Request) -> Future[Answer]:
        """Answer a request that takes long, in a thread: it holds up no stop, and no request of another lane."""
        future: Future[Answer] = asyncio.get_running_loop().create_future()
        lane = self._lanes.setdefault(self.offload(request.path), _Lane())
        with self._lock:
            lane.waiting.append((request, future))
            enough = lane.threads >= self.offload(request.path)
            lane.threads += not enough
        if not enough:
            try:
                threading.Thread(target=self._work, args=(lane,), name="tn-mock-slow", daemon=True).start()
            except RuntimeError as error:  # the system grants no more threads
                with self._lock:
                    lane.threads -= 1
                    left = [] if lane.threads else list(lane.waiting)
                    if left:
                        lane.waiting.clear()
                for _, waiting in left:
                    waiting.set_result(Answer(failed(error), None))
        return future

    def _work(self, lane: _Lane) -> None:
        """Answer what waits in a lane, until nothing does."""
        while True:
            with self._lock:
                if not lane.waiting:
                    lane.threads -= 1
                    return
                request, future = lane.waiting.popleft()
            answer = self.answer(request)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(future.set_result, answer)

    def hear(self, visitor: Visitor, data: bytes) -> None:
        """Have `visitor` take what it said, together with all others who spoke in this round of the loop.

        Reading from all, then answering all, then writing to all takes a fifth less time than going to and fro
        between the kernel and the interpreter.
        """
        if not self._heard:
            visitor.loop.call_soon(self._take_heard)
        self._heard.append((visitor, data))

    def _take_heard(self) -> None:
        heard, self._heard, self._written = self._heard, [], []
        for visitor, data in heard:
            try:
                visitor.take(data)
            except Exception:  # noqa: BLE001 # one client's trouble is not the others'
                _log.exception("a connection failed")
                visitor.abort()
        written, self._written = self._written, None
        for visitor in written:
            visitor.flush()

    def flush_later(self, visitor: Visitor) -> bool:
        """Have `visitor` flushed at the end of the round; False outside of one."""
        if self._written is None:
            return False
        self._written.append(visitor)
        return True

    def leave(self, visitor: Visitor) -> None:
        """Forget a connection that is closed."""
        self.visitors.discard(visitor)
        self._somebody_left.set()

    async def _live(self) -> None:
        loop, doors = asyncio.get_running_loop(), []
        loop.set_exception_handler(self._complain)
        with self._lock:
            if self._stopped:
                return
            self._loop = loop
        try:
            for listening, newcomer in self._doors:
                doors.append(await loop.create_server(newcomer, sock=listening, backlog=_AT_ONCE))
                listening.listen(_BACKLOG)  # the kernel's queue is another matter
            self._tick(loop)
            await self._told_to_stop.wait()
            self.stopping = True
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            await self._say_goodbye(doors)
        finally:
            with self._lock:
                self._loop = None
            for door in doors:
                door.close()
            accepting = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*accepting, return_exceptions=True)
            for visitor in tuple(self.visitors):
                visitor.abort()
            await asyncio.sleep(0)  # closed transports let go of their sockets in the loop's next round

    async def _say_goodbye(self, doors: Iterable[asyncio.Server]) -> None:
        for door in doors:
            door.close()
        for visitor in tuple(self.visitors):
            visitor.dismiss()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self.visitors:
                    self._somebody_left.clear()
                    await self._somebody_left.wait()

    def _complain(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say what goes wrong in the loop; in one line, and not over and over, if it is that nobody can be accepted."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            if loop.time() >= self._complain_again:
                self._complain_again = loop.time() + _COMPLAINT_SECONDS
                _log.error("clients have to wait, for no connection can be accepted: %s", error.strerror)
        elif not (self.stopping and isinstance(error, ValueError)):  # it would try a door again that is closed by now
            loop.default_exception_handler(context)

    def _tick(self, loop: AbstractEventLoop) -> None:
        year, month, day, hour, minute, second, weekday, *_ = time.gmtime()
        date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
        self.stamp = f"Server: tn-contract-mock\r\nDate: {date}\r\n"
        now = loop.time()
        for visitor in [visitor for visitor in self.visitors if visitor.deadline < now]:
            visitor.expire()
        loop.call_later(_TICK, self._tick, loop)


class Visitor(BufferedProtocol):
    """A connection that its server knows of: it is sent away when its time is up, or when the server stops."""

    __slots__ = ("_outbox", "deadline", "loop", "server", "transport")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = inf
        self._outbox: list[bytes] = []

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self.transport = cast("Transport", transport)
        self.loop = asyncio.get_running_loop()
        self.server.visitors.add(self)
        self.expect_head()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """End."""
        self.server.leave(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # asyncio's signature
        """Return where to read to."""
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.data_received(bytes(self.server.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take what the client says, when it is its turn in this round."""
        self.server.hear(self, data)

    def take(self, data: bytes) -> None:
        """Take what the client said."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send something at the end of the round, or now if this is none."""
        if self._outbox or self.server.flush_later(self):
            self._outbox.append(data)
        else:
            self.transport.write(data)

    def flush(self) -> None:
        """Send now what there is to send."""
        if self._outbox:
            data = b"".join(self._outbox)
            self._outbox.clear()
            if not self.transport.is_closing():
                self.transport.write(data)

    def allow(self, seconds: float) -> None:
        """Set the time for what comes next."""
        self.deadline = self.loop.time() + seconds

    def expect_head(self) -> None:
        """Set the time for a request's head, or a handshake."""
        self.allow(HEADER_SECONDS)

    def expire(self) -> None:
        """Leave, for the time is up."""
        self.transport.close()

    def dismiss(self) -> None:
        """Leave when what is under way is done."""
        self.transport.close()

    def abort(self) -> None:
        """Leave at once."""
        self.transport.abort()
