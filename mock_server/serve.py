"""The process: a port, a kept WSGI server, a clean stop. Also the server thread inside a test run."""

from __future__ import annotations

import select
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cheroot import errors as cheroot_errors
from cheroot import server as cheroot
from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from mock_server.broker import DISTURB, READ_LIMIT, Broker, harness_error, no_address
from mock_server.certificates import Certificates, issue
from mock_server.tunnel import running_tunnel
from tn_contract.errors import UsageError
from tn_contract.wire import Reply

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
        try:
            self.conn.wfile.write(_last_words(text, reply))
        except OSError as error:
            if error.args[0] not in cheroot_errors.socket_errors_to_ignore:
                raise


def _last_words(status: str, reply: Reply) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(reply.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


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

    def communicate(self) -> bool:
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.version() is None:
            try:
                self.socket.do_handshake()
            except OSError as error:  # also when the client is silent, leaves, or does not trust us
                if getattr(error, "reason", "") == "HTTP_REQUEST":
                    self._ask_for_tls(self.socket)
                return False
        kept: bool = super().communicate()  # type: ignore[no-untyped-call]
        return kept

    @staticmethod
    def _ask_for_tls(client: ssl.SSLSocket) -> None:
        reply = harness_error("this port speaks TLS only", "write https:// instead of http://", 400)
        with suppress(OSError):
            socket.socket.sendall(client, _last_words("400 Bad Request", reply))  # past the TLS that never began


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


class _TlsAdapter(BuiltinSSLAdapter):
    """Leaves the handshake to the worker: in the accepting thread, one silent client would stop all others."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}


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
    """A mock that listens.

    With TLS, `certificates` has the file to trust, and `environment` the variables that lead a client here.
    """

    base_url: str
    broker: Broker
    app: Flask
    stop: Callable[[], None]
    serve: Callable[[], None]
    certificates: Certificates | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def control_url(self) -> str:
        """Where the control plane is."""
        return f"{self.base_url}/__tn__/"


def listen(
    broker: Broker | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    threads: int = THREADS,
    tls: Sequence[str] = (),
    ca_file: Path | None = None,
    **options: Any,
) -> RunningMock:
    """Bind a port (0: any free one); requests are answered once `serve()` runs, `threads` at a time.

    With `tls`, names of hosts, it speaks HTTPS in their names and in this machine's, and a tunnel leads clients
    here that have one of them in their code. `options` are those of `Broker`.

    Raises `UsageError` when the address cannot be bound, or when there can be no certificate.
    """
    from mock_server.app import create_app

    if not host:
        raise UsageError("no host to listen on: choose 127.0.0.1, or 0.0.0.0 for all interfaces")
    if ca_file and not tls:
        raise UsageError("a CA file belongs to TLS: name a host too, such as --tls tradernet.com")
    app = create_app(broker, **options)
    with ExitStack() as started:
        started.callback(app.extensions["tn_broker"].state.shut)
        server = _bound(app, host, port, threads)
        started.callback(server.stop)
        bound = server.bind_addr
        scheme, certificates, environment = "http", None, {}
        if tls:
            scheme, certificates = "https", started.enter_context(issue((*tls, host), ca_file))
            server.ssl_adapter = _TlsAdapter(certificates.context)
            proxy = _address(started.enter_context(running_tunnel(tls, bound[:2])))
            environment = certificates.environment
            for name, value in (("HTTPS_PROXY", f"http://{proxy}"), ("NO_PROXY", "localhost,127.0.0.1,::1")):
                environment |= {name: value, name.lower(): value}  # curl and others read only one of the spellings
            started.callback(server.stop)  # again, to come first: what is under way is answered before it is cut
        stop = started.pop_all().close
    mock = app.extensions["tn_broker"]
    return RunningMock(f"{scheme}://{_address(bound)}", mock, app, stop, server.serve, certificates, environment)


def _bound(app: Flask, host: str, port: int, threads: int) -> _Server:
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
    return server


def _address(bound: tuple[Any, ...]) -> str:
    host, port = bound[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
