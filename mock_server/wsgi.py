"""A WSGI server in one thread: strict about HTTP, patient with slow clients, and free to spoil a reply.

Connections cost no thread, so thousands may stay half open. What is no HTTP is refused in the mock's own words
and never reaches the app, nor does a request whose body has not come whole.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
import time
from asyncio import AbstractEventLoop, BaseTransport, Future, Protocol, TimerHandle, Transport
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from mock_server.broker import DISTURB, READ_LIMIT, TOO_LARGE, failed, harness_error, no_address
from mock_server.faults import Close, Fault, Hang, Keep, Reset, Send, Step, Wait, script
from tn_contract.wire import Reply

if TYPE_CHECKING:
    import ssl

    from mock_server.tls import Tls

HEADER_LIMIT = 32 * 1024
HEADER_SECONDS = 10.0  # for a request line and headers, and for a TLS handshake
BODY_SECONDS = 30.0
IDLE_SECONDS = 10.0
LINGER_SECONDS = 2.0  # who was refused while still sending has this long to read why
STOP_SECONDS = 1.0
SLOW_THREADS = 4
_BACKLOG = 4096
_TICK = 0.5  # how often limits are looked after
_ROUNDS = 5  # of the loop, until it has accepted and heard who was there before the stop
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MEND = "the request never reached the API: mend the HTTP"
_BODILESS = ("1", "204", "304")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server:
    """Serves a WSGI app on a listening socket, until it is stopped.

    Requests for a path that `offload` calls slow are answered in a few threads, all others in the loop itself.
    """

    def __init__(
        self,
        app: App,
        listening: socket.socket,
        *,
        context: ssl.SSLContext | None = None,
        offload: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        self.app, self.context, self.offload = app, context, offload
        self.visitors: set[Visitor] = set()
        self.stopping = False
        self.stamp = ""
        host, port, *_ = listening.getsockname()
        self.environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if context else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SCRIPT_NAME": "",
        }
        self._doors: list[tuple[socket.socket, Callable[[], Protocol]]] = [(listening, self.connection)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._told_to_stop, self._somebody_left = asyncio.Event(), asyncio.Event()
        self._over = threading.Event()

    def connection(self) -> Connection:
        """Return the protocol for a new connection."""
        return Connection(self)

    def add_door(self, listening: socket.socket, protocol: Callable[[], Protocol]) -> None:
        """Listen on another socket too, in the same loop. Only before `serve`."""
        self._doors.append((listening, protocol))

    def serve(self) -> None:
        """Answer requests in this thread until `stop` is called; at once over when it was called before."""
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        finally:
            if self._pool:
                self._pool.shutdown()
            self._over.set()

    def stop(self) -> None:
        """Take no more requests, answer those under way for up to `STOP_SECONDS`, and return when all is over.

        Not to be called in the thread that serves.
        """
        with self._lock:
            unused = not (self.stopping or self._loop)
            self.stopping = True
            if self._loop:
                self._loop.call_soon_threadsafe(self._told_to_stop.set)
        if unused:
            for listening, _ in self._doors:
                listening.close()
            self._over.set()
        self._over.wait(2 * STOP_SECONDS)

    def run_aside(self, work: Callable[[App], None], then: Callable[[Future[None]], None]) -> None:
        """Run slow work in a thread, and `then` in the loop."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(SLOW_THREADS, "tn-mock-slow")
        asyncio.get_running_loop().run_in_executor(self._pool, work, self.app).add_done_callback(then)

    def leave(self, visitor: Visitor) -> None:
        """Forget a connection that is closed."""
        self.visitors.discard(visitor)
        self._somebody_left.set()

    async def _live(self) -> None:
        loop, doors = asyncio.get_running_loop(), []
        with self._lock:
            if self.stopping:
                return
            self._loop = loop
        try:
            for listening, protocol in self._doors:
                doors.append(await loop.create_server(protocol, sock=listening, backlog=_BACKLOG))
            self._tick(loop)
            await self._told_to_stop.wait()
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

    def _tick(self, loop: AbstractEventLoop) -> None:
        year, month, day, hour, minute, second, weekday, *_ = time.gmtime()
        date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
        self.stamp = f"Server: tn-contract-mock\r\nDate: {date}\r\n"
        now = loop.time()
        for visitor in [visitor for visitor in self.visitors if visitor.deadline < now]:
            visitor.expire()
        loop.call_later(_TICK, self._tick, loop)


class Visitor(Protocol):
    """A connection that its server knows of: it is sent away when its time is up, or when the server stops."""

    __slots__ = ("deadline", "loop", "server", "transport")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = inf

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self.transport = cast("Transport", transport)
        self.loop = asyncio.get_running_loop()
        self.allow(HEADER_SECONDS)
        self.server.visitors.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """End."""
        self.server.leave(self)

    def allow(self, seconds: float) -> None:
        """Set the time for what comes next."""
        self.deadline = self.loop.time() + seconds

    def expire(self) -> None:
        """Leave, for the time is up."""
        self.transport.close()

    def dismiss(self) -> None:
        """Leave when what is under way is done."""
        self.transport.close()

    def abort(self) -> None:
        """Leave at once."""
        self.transport.abort()


class Connection(Visitor):
    """One client: its bytes go through the parser, and its requests are answered one after the other."""

    __slots__ = (
        "_answering", "_body", "_clogged", "_continue_owed", "_deaf", "_done", "_ended", "_environ", "_fed",
        "_in_head", "_keep", "_parser", "_size", "_target", "_timer", "_tls", "_unsent", "_waiting",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._parser = HttpRequestParser(self)
        self._tls: Tls | None = None
        # The request that is being read.
        self._environ: dict[str, Any] | None = None
        self._target = b""
        self._body: list[bytes] = []
        self._in_head = False
        self._size = 0  # of the headers, then of the body
        self._fed = 0  # bytes since the block it began in, framing and all
        self._keep = True
        self._continue_owed = False
        # The connection.
        self._waiting: deque[tuple[dict[str, Any], bool] | Reply] = deque()  # was read before its turn came
        self._timer: TimerHandle | None = None
        self._answering = False
        self._clogged = False  # the client does not read as fast as it is answered
        self._unsent = inf
        self._ended = False  # the client has said all
        self._deaf = False  # what it says is thrown away
        self._done = False  # we have said all, and wait for it to leave

    # ---- the network ---------------------------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, with a handshake if it takes one."""
        super().connection_made(transport)
        if self.server.context:
            from mock_server.tls import Tls

            self._tls = Tls(self.server.context, self.transport)

    def data_received(self, data: bytes) -> None:
        """Take what the client says."""
        if self._deaf:
            return
        if self._tls is None:
            self._feed(data)
            return
        from mock_server.tls import NotTls

        try:
            said, ended = self._tls.read(data)
        except NotTls as error:
            self._tls = None
            if error.is_http:
                self._refuse(harness_error("this port speaks TLS only", "write https:// instead of http://", 400))
            else:
                self.transport.close()
            return
        if said:
            self._feed(said)
        if ended:
            self.eof_received()

    def _feed(self, data: bytes) -> None:
        reading = self._environ
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._feed_body(data[upgrade.args[0] :])
        except HttpParserError as error:
            if not self._deaf:  # or else it comes after the last request, which concerns nobody
                self._refuse(_complaint(error))
        if reading is not None and reading is self._environ:
            self._fed += len(data)
            if self._fed > (HEADER_LIMIT if self._in_head else 8 * READ_LIMIT):  # chunks count with their framing
                self._refuse(_refused("the request is too large", 431 if self._in_head else 413))

    def _feed_body(self, data: bytes) -> None:
        """Read on where the parser stopped, because the client offers to change to another protocol."""
        if self._environ is not None:
            chunked = "HTTP_TRANSFER_ENCODING" in self._environ
            length = self._environ.get("CONTENT_LENGTH", "0")
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
            self._parser = HttpRequestParser(_BodyOnly(self))
            self._feed(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("ascii") + data)

    def eof_received(self) -> bool:
        """Answer what has come whole, for the client may still listen."""
        if self._ended:
            return True
        self._ended = True
        if self._environ is not None and not self._deaf:
            part = "request" if self._in_head else "body"
            self._refuse(_refused(f"the {part} ends early", hint="mend Content-Length or the chunks"))
        elif self._done or not (self._answering or self._waiting):
            self._close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was to come."""
        super().connection_lost(exc)
        self._deaf = True
        self._environ = None
        self._waiting.clear()
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
        elif self._answering:
            self.deadline = inf
        elif self._environ is not None:
            self._refuse(_refused("the request takes too long", 408))
        else:
            self._close()

    def dismiss(self) -> None:
        """Leave, or do so after the reply that is under way."""
        if self._done or not self._answering:
            self._close()

    def _write(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._tls is None:
            self.transport.write(data)
        else:
            self._tls.write(data)

    def _close(self) -> None:
        if self.transport.is_closing():
            return
        self._deaf = self._done = True
        self.allow(LINGER_SECONDS)
        if self._tls:
            self._tls.say_goodbye()
        self.transport.close()

    # ---- the parser's callbacks ----------------------------------------------------------------------------

    def _expect_more(self, seconds: float) -> None:
        """Give the client time to go on, unless it is our turn, or the client's to read: those have limits too."""
        if not (self._answering or self._waiting or self._clogged):
            self.allow(seconds)

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._deaf:
            self._environ = self.server.environ.copy()
            self._target, self._body, self._in_head = b"", [], True
            self._size = self._fed = 0
            self._expect_more(HEADER_SECONDS)

    def on_url(self, part: bytes) -> None:
        """Take the address, or a part of it."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Those after a chunked body mean nothing here."""
        environ = self._environ
        if environ is None or not self._in_head:
            return
        self._size += len(name) + len(value)
        if key := _key(name):
            text = value.decode("latin-1").strip(" \t")
            environ[key] = f"{environ[key]}, {text}" if key in environ else text

    def on_headers_complete(self) -> None:
        """Check what the parser lets pass, and say that the body may come."""
        environ, parser = self._environ, self._parser
        if environ is None:
            return
        self._in_head = False
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise _Refusal(_refused(f"HTTP/{version} is not spoken here", 505))
        if self._size + len(self._target) > HEADER_LIMIT:
            raise _Refusal(_refused("the request line and the headers are too large", 431))
        target = self._target.decode("latin-1")
        path, _, query = target.partition("?")
        if path[:1] != "/" or "#" in target:
            raise _Refusal(_refused(f"{target[:200]} is no path: an address here begins with a slash"))
        if path[:2] == "//":  # a base URL with one slash too many, not the proxy request it looks like
            raise _Refusal(no_address(path))
        method = parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise _Refusal(_refused("CONNECT was refused: this is no proxy"))
        environ["REQUEST_METHOD"] = method
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        if "HTTP_TRANSFER_ENCODING" in environ and (
            environ["HTTP_TRANSFER_ENCODING"].lower() != "chunked" or version == "1.0"
        ):
            raise _Refusal(_refused("Transfer-Encoding can only be chunked, and only in HTTP/1.1", 501))
        if int(environ.get("CONTENT_LENGTH", 0)) > READ_LIMIT:
            raise _Refusal(TOO_LARGE)
        self._keep = parser.should_keep_alive() and not parser.should_upgrade()
        self._size = 0
        self._expect_more(BODY_SECONDS)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue" and version == "1.1":
            self._continue_owed = True
            if not (self._answering or self._waiting):
                self._invite_body()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if self._environ is not None:
            self._size += len(part)
            if self._size > READ_LIMIT:
                raise _Refusal(TOO_LARGE)
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for its turn."""
        environ = self._environ
        if environ is None or (not self._keep and self._parser.should_upgrade()):  # then the body is yet to come
            return
        self._environ, self._continue_owed = None, False
        environ["wsgi.input"] = BytesIO(b"".join(self._body))
        self._deaf = not self._keep
        if self._answering or self._waiting or self._clogged:
            self._wait(environ, self._keep)
        else:
            self._answer(environ, self._keep)

    # ---- replies -------------------------------------------------------------------------------------------

    def _invite_body(self) -> None:
        self._continue_owed = False
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _wait(self, environ: dict[str, Any], keep: bool) -> None:
        self._waiting.append((environ, keep))
        if not self._ended:
            self.transport.pause_reading()

    def _answer(self, environ: dict[str, Any], keep: bool) -> None:
        self._answering = True
        self.deadline = inf
        exchange = _Exchange(self.server, environ, keep)
        if self.server.offload(environ["PATH_INFO"]):
            self.server.run_aside(exchange.run, lambda _done: self._deliver(exchange))
        else:
            exchange.run(self.server.app)
            self._deliver(exchange)

    def _deliver(self, exchange: _Exchange) -> None:
        if exchange.fault:
            self._play(iter(script(exchange.fault, exchange.reply)), exchange.keep)
        else:
            self._write(exchange.reply)
            self._finish(exchange.keep)

    def _play(self, steps: Iterator[Step], keep: bool) -> None:
        for step in steps:
            match step:
                case Send(data):
                    self._write(data)
                case Wait(seconds):
                    self._timer = self.loop.call_later(seconds, self._play, steps, keep)
                    return
                case Keep():
                    self._finish(keep)
                case Close():
                    self._close()
                case Reset():
                    # With nothing to linger for, closing sends RST instead of FIN.
                    client = self.transport.get_extra_info("socket")
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.abort()
                case Hang(seconds):
                    self._deaf = self._done = True
                    if self._ended or self.server.stopping:
                        self._close()
                    else:
                        self.transport.resume_reading()  # to see the client leave
                        self._timer = self.loop.call_later(seconds, self._close)

    def _finish(self, keep: bool) -> None:
        self._answering = False
        if keep and not self.server.stopping:
            self._look_for_more()
        else:
            self._close()

    def _look_for_more(self) -> None:
        """Be ready for the next request."""
        if self._waiting:
            self.loop.call_soon(self._answer_waiting)  # not at once, for fairness
        elif self._ended:
            self._close()
        elif self._environ is None:
            self.allow(IDLE_SECONDS)
        else:
            self.allow(BODY_SECONDS)
            if self._continue_owed:
                self._invite_body()

    def _answer_waiting(self) -> None:
        if self._answering or self._clogged or not self._waiting:
            return
        first = self._waiting.popleft()
        if not self._waiting and not self._ended:
            self.transport.resume_reading()
        if isinstance(first, Reply):
            self._say_last(first)
        else:
            self._answer(*first)

    def _refuse(self, reply: Reply) -> None:
        """Answer what is no request, in its turn; nothing after it can be understood."""
        self._deaf = True
        self._environ = None
        if self._answering or self._waiting or self._clogged:
            self._waiting.append(reply)
        else:
            self._say_last(reply)

    def _say_last(self, reply: Reply) -> None:
        self._write(_rendered(self.server.stamp, _status(reply), reply.headers, reply.body, connection="close"))
        if self._ended or self.server.stopping:
            self._close()
            return
        # Closing now would reset the connection of a client that still sends, and take its reply from it.
        self._done = True
        self.allow(LINGER_SECONDS)
        if self._tls:
            self._tls.say_goodbye()
        self.transport.write_eof()


class _BodyOnly:
    """Takes from a parser what follows a head that was read before."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


class _Exchange:
    """One call of the app."""

    __slots__ = ("_environ", "_headers", "_server", "_status", "_written", "fault", "keep", "reply")

    def __init__(self, server: Server, environ: dict[str, Any], keep: bool) -> None:
        self._server, self._environ, self.keep = server, environ, keep
        self._status = ""
        self._headers: Sequence[tuple[str, str]] = ()
        self._written: list[bytes] = []
        self.fault: Fault | None = None
        self.reply = b""

    def run(self, app: App) -> None:
        """Let the app answer; whatever it does, there is a reply."""
        self._environ[DISTURB] = self._disturb
        try:
            parts = app(self._environ, self._start)
            try:
                self._written += parts
            finally:
                if close := getattr(parts, "close", None):
                    close()
            if not self._status:
                raise RuntimeError("the app said nothing")
            if self.fault is None:
                self.reply = self._render(self._status, self._headers, b"".join(self._written))
        except Exception as error:  # noqa: BLE001 # nobody else would answer
            if self.fault is None:
                self._set(failed(error))

    def _start(self, status: str, headers: Sequence[tuple[str, str]], _error: Any = None) -> Callable[[bytes], None]:
        self._status, self._headers = status, headers
        return self._written.append

    def _disturb(self, fault: Fault, reply: Reply) -> None:
        """Let `fault` happen to `reply`; the app's own comes to nothing."""
        self._set(reply)
        self.fault = fault

    def _set(self, reply: Reply) -> None:
        self.reply = self._render(_status(reply), reply.headers, reply.body)

    def _render(self, status: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        if not self.keep or self._server.stopping:
            connection = "close"
        else:
            connection = "keep-alive" if self._environ["SERVER_PROTOCOL"] == "HTTP/1.0" else ""
        headless = self._environ["REQUEST_METHOD"] == "HEAD"
        return _rendered(self._server.stamp, status, headers, body, connection=connection, head_only=headless)


class _Refusal(Exception):
    """Comes out of the parser's callbacks for what the parser itself would let pass."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def _refused(reason: str, status: int = 400, hint: str = _MEND) -> Reply:
    return harness_error(reason, hint, status)


def _complaint(error: HttpParserError) -> Reply:
    """Put the parser's complaint, or ours, into words."""
    cause = error.__context__
    if isinstance(cause, _Refusal):
        return cause.reply
    if isinstance(error, HttpParserCallbackError) and cause:
        return failed(cause)
    return _refused(f"this is no HTTP: {error}")


@lru_cache(1024)
def _key(name: bytes) -> str:
    """Where WSGI wants a header; nowhere if `_` is in its name.

    WSGI could not tell `X_NtApi_Sig` from `X-NtApi-Sig`, and a usual PHP server never sees the former.
    """
    if b"_" in name:
        return ""
    key = name.decode("ascii").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


@lru_cache(64)
def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _status(reply: Reply) -> str:
    return _status_line(reply.status)


def _rendered(
    stamp: str,
    status: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    connection: str = "",
    head_only: bool = False,
) -> bytes:
    """Write a reply as it goes over the wire. Raises `ValueError` for a header that would be two."""
    lines = [f"HTTP/1.1 {status}\r\n{stamp}"]
    if connection:
        lines.append(f"Connection: {connection}\r\n")
    length = str(len(body))
    for name, value in headers:
        if "\n" in value or "\r" in value:
            raise ValueError(f"a line break in {name}")
        if name.lower() != "content-length":
            lines.append(f"{name}: {value}\r\n")
        elif head_only:
            length = value
    if status.startswith(_BODILESS):
        return ("".join(lines) + "\r\n").encode("latin-1")
    lines.append(f"Content-Length: {length}\r\n\r\n")
    head = "".join(lines).encode("latin-1")
    return head if head_only else head + body
