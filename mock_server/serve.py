"""The process: a port, a kept WSGI server, a clean stop. Also the server thread inside a test run."""

from __future__ import annotations

import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cheroot import errors as cheroot_errors
from cheroot import server as cheroot
from cheroot import wsgi

from mock_server.broker import DISTURB, READ_LIMIT, Broker, harness_error, no_address
from tn_contract.errors import UsageError

if TYPE_CHECKING:
    from flask import Flask

    from tn_contract.corpus import Fault
    from tn_contract.wire import Reply

THREADS = 16
HEADER_LIMIT = 32 * 1024
IDLE_SECONDS = 10
SILENCE_SECONDS = 60
STOP_SECONDS = 1


class _StrictHeaders(cheroot.HeaderReader):
    """Joins repeated headers, refuses what is no header, and drops names with an underscore.

    WSGI could not tell `X_NtApi_Sig` from `X-NtApi-Sig`, and a usual PHP server never sees the former.
    """

    def __call__(self, rfile: Any, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        headers = {} if hdict is None else hdict
        while (line := rfile.readline()) != b"\r\n":
            if not line.endswith(b"\r\n"):
                raise ValueError("the headers end early, or a line does not end with CR LF")
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise ValueError("a header is not written as name: value")
            name, value = name.title(), value.strip()
            if b"_" not in name:
                headers[name] = headers[name] + b", " + value if name in headers else value
        if not headers.get(b"Content-Length", b"0").isdigit():
            raise ValueError("Content-Length is no number")
        return headers


class _MarkedRequest(cheroot.HTTPRequest):
    """Answers what is no HTTP with the mock's own mark instead of plain text."""

    uri = b""
    header_reader = _StrictHeaders()

    def read_request_line(self) -> bool:
        understood: bool = super().read_request_line()  # type: ignore[no-untyped-call]
        if understood:
            # The server leaves %2F as it is, and everything in OPTIONS; the API's paths are decoded throughout.
            self.path = unquote_to_bytes(self.uri.partition(b"?")[0])
        return understood

    def simple_response(self, status: str, msg: str = "") -> None:
        text = str(status)
        reply = harness_error(msg or text, "the request never reached the API: mend the HTTP", int(text[:3]))
        if self.uri.startswith(b"//"):  # a base URL with one slash too many, not the proxy request it looks like
            reply = no_address(self.uri.decode("latin-1").partition("?")[0])
            text = f"{reply.status} Unknown"
        self.close_connection = True
        lines = [
            f"HTTP/1.1 {text}",
            f"Content-Length: {len(reply.body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        try:
            self.conn.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body)
        except OSError as error:
            if error.args[0] not in cheroot_errors.socket_errors_to_ignore:
                raise


class _MarkedConnection(cheroot.HTTPConnection):
    RequestHandlerClass = _MarkedRequest
    reset = False

    def _close_kernel_socket(self) -> None:
        if self.reset:
            # Without a shutdown and with nothing to linger for, closing sends RST instead of FIN.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.raw.close()
        else:
            super()._close_kernel_socket()  # type: ignore[misc] # the stubs leave it out


class _DisturbingGateway(wsgi.Gateway_10):
    """Hands the app a way to spoil its own reply on the connection."""

    spoilt = False

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override] # the stubs say None
        return {**super().get_environ(), DISTURB: self._disturb}  # type: ignore[no-untyped-call]

    def write(self, chunk: bytes) -> None:
        if not self.spoilt:
            super().write(chunk)

    def _disturb(self, fault: Fault, reply: Reply) -> None:
        """Do what `fault` says, close the connection, and let the app's reply come to nothing."""
        request, connection = self.req, self.req.conn
        self.spoilt = request.sent_headers = request.close_connection = True
        match fault:
            case "silence":
                self._wait_for_the_client_to_leave(connection.socket)
            case "reset":
                connection.reset = True
            case "cut-off":
                head = f"HTTP/1.1 {reply.status} OK\r\nContent-Length: {len(reply.body)}\r\n\r\n".encode()
                connection.wfile.write(head + reply.body[: len(reply.body) // 2])
            case "garbage":
                connection.wfile.write(b"\x15\x03\x01\x00\x02\x02\x28 this is no HTTP\r\n")

    def _wait_for_the_client_to_leave(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + SILENCE_SECONDS
        while self.req.server.ready and time.monotonic() < deadline:
            if select.select([connection], [], [], 0.1)[0]:
                return


class _Server(wsgi.Server):
    ConnectionClass = _MarkedConnection

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except (OSError, OverflowError):
            socket_.close()
            raise
        return socket_


@dataclass(frozen=True)
class RunningMock:
    """A mock that listens."""

    base_url: str
    broker: Broker
    app: Flask
    stop: Callable[[], None]
    serve: Callable[[], None]

    @property
    def control_url(self) -> str:
        """Where the control plane is."""
        return f"{self.base_url}/__tn__/"


def listen(
    broker: Broker | None = None, host: str = "127.0.0.1", port: int = 0, threads: int = THREADS, **options: Any
) -> RunningMock:
    """Bind a port (0: any free one); requests are answered once `serve()` runs, `threads` at a time.

    Raises `UsageError` when the address cannot be bound.
    """
    from mock_server.app import create_app

    if not host:
        raise UsageError("no host to listen on: choose 127.0.0.1, or 0.0.0.0 for all interfaces")
    app = create_app(broker, **options)
    server = _Server(
        (host, port),
        app,
        numthreads=threads,
        request_queue_size=128,
        timeout=IDLE_SECONDS,
        shutdown_timeout=STOP_SECONDS,
    )
    server.gateway = _DisturbingGateway
    server.max_request_header_size = HEADER_LIMIT
    server.max_request_body_size = 8 * READ_LIMIT  # the app refuses less, but chunks count with their framing
    server.expiration_interval = 0.1  # also how long stopping takes
    server.server_name = "tn-contract-mock"
    server.error_log = lambda *_arguments, **_named: None  # type: ignore[method-assign] # the documented way to set it
    try:
        server.prepare()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if "already in use" in reason:  # said briefly, for the server adds the whole address list
            reason = "the address is already in use"
        raise UsageError(f"cannot listen on {host}:{port} ({reason}): choose another --port, or 0 for any") from error
    bound = server.bind_addr
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return RunningMock(f"http://{shown}:{bound[1]}", app.extensions["tn_broker"], app, server.stop, server.serve)


@contextmanager
def running(broker: Broker | None = None, **options: Any) -> Iterator[RunningMock]:
    """Run a mock in a thread of this process until the block ends."""
    mock = listen(broker, **options)
    thread = threading.Thread(target=mock.serve, name="tn-mock", daemon=True)
    thread.start()
    try:
        yield mock
    finally:
        mock.stop()
        thread.join()


def run_until_stopped(mock: RunningMock) -> None:
    """Serve in the foreground until SIGTERM or SIGINT; a request under way is answered first."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=mock.stop).start()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    mock.serve()
