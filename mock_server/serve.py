"""The process: a port, a server on it, a clean stop. Also the server thread inside a test run."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mock_server.bridge import call
from mock_server.broker import Answer, Broker
from mock_server.connection import Connection
from mock_server.door import CONTROL, answered
from mock_server.guard import Guard, is_loopback
from mock_server.journalfile import JournalFile
from mock_server.scenario import read_scenario
from mock_server.server import Server, Visitor
from tn_contract.corpus import load_corpus
from tn_contract.errors import UsageError
from tn_contract.wire import Request

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from mock_server.certificates import Certificates


@dataclass(frozen=True)
class RunningMock:
    """A mock that listens.

    With TLS, `certificates` has the file to trust, and `environment` the variables that lead a client here. With a
    `token`, the control plane asks for it.
    """

    base_url: str
    broker: Broker
    stop: Callable[[], None]
    serve: Callable[[], None]
    token: str = field(default="", repr=False)
    certificates: Certificates | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def control_url(self) -> str:
        """Where the control plane is."""
        return f"{self.base_url}{CONTROL}"


def listen(
    broker: Broker | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: Sequence[str] = (),
    ca_file: Path | None = None,
    control: bool = True,
    token: str = "",
    log: Callable[[str], object] | None = None,
    scenario_file: Path | None = None,
    journal_file: Path | None = None,
    **options: Any,
) -> RunningMock:
    """Bind a port (0: any free one); requests are answered once `serve()` runs.

    `control` gives it a control plane, for this machine alone or for who has the `token`; beyond this machine there
    always is one. `log` is given a line of JSON for each answer of the API. `broker` is used as it is, or made with
    `options`.

    With `tls`, names of hosts, it speaks HTTPS in their names and in this machine's, and a tunnel leads clients
    here that have one of them in their code. `scenario_file` has rules for what befalls commands; every exchange is
    appended to `journal_file`.

    Raises `UsageError` when the address cannot be bound, or when there can be no certificate.
    """
    if not host:
        raise UsageError("no host to listen on: choose 127.0.0.1, or 0.0.0.0 for all interfaces")
    if ca_file and not tls:
        raise UsageError("a CA file belongs to TLS: name a host too, such as --tls tradernet.com")
    token = token or ("" if is_loopback(host) else secrets.token_urlsafe())
    guard = Guard(token, frozenset(tls))
    with ExitStack() as started:
        if scenario_file:
            options["scenario"] = read_scenario(scenario_file, load_corpus())
        if journal_file:
            journal = JournalFile(journal_file)
            started.callback(journal.close)
            options["sink"] = journal.write
        broker = broker or Broker(**options)
        started.callback(broker.state.shut)
        listening = started.enter_context(_bound(host, port))
        scheme, context, certificates, environment = "http", None, None, {}
        if tls:
            from mock_server.certificates import issue

            certificates = started.enter_context(issue((*tls, host), ca_file))
            scheme, context, environment = "https", certificates.context, certificates.environment
        flask = _LateFlask(broker, control, guard, scheme, listening.getsockname()[:2])

        def answer(request: Request) -> Answer:
            return flask.answer(request) if request.path.startswith(CONTROL) else answered(broker, request, log)

        # What the control plane computes may take long, and must not hold up the API.
        server = Server(answer, offload=lambda path: path.startswith(CONTROL))
        started.callback(server.stop)

        def connection() -> Visitor:
            return Connection(server, context)

        server.add_door(listening, connection)
        if tls:
            proxy = _dig(server, connection, tls, host)
            for name, value in (("HTTPS_PROXY", f"http://{proxy}"), ("NO_PROXY", "localhost,127.0.0.1,::1")):
                environment |= {name: value, name.lower(): value}  # curl and others read only one of the spellings
        base_url = f"{scheme}://{_address(listening)}"
        stop = started.pop_all().close
    return RunningMock(base_url, broker, stop, server.serve, token, certificates, environment)


class _LateFlask:
    """Flask, imported and built when somebody asks for more than the API: that takes longer than all else."""

    def __init__(self, broker: Broker, control: bool, guard: Guard, scheme: str, address: tuple[str, int]) -> None:
        self._broker, self._control, self._guard = broker, control, guard
        self._scheme, self._address = scheme, address
        self._lock = threading.Lock()
        self._app: WSGIApplication | None = None

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        with self._lock:
            if self._app is None:
                from mock_server.app import create_app

                self._app = create_app(self._broker, control=self._control, guard=self._guard).wsgi_app
        return Answer(call(self._app, request, self._scheme, self._address), None)


def _dig(server: Server, connection: Callable[[], Visitor], hosts: Sequence[str], host: str) -> str:
    """Add a tunnel to the server, at any free port; return its address."""
    from mock_server.tunnel import Tunnel

    entrance = _bound(host, 0)
    server.add_door(entrance, lambda: Tunnel(server, connection, hosts))
    return _address(entrance)


def _bound(host: str, port: int) -> socket.socket:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for nth, (family, kind, protocol, _, address) in enumerate(places, 1):
            listening = socket.socket(family, kind, protocol)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((address[0], port, *address[2:]))  # a port too great would come back as another
                listening.listen()  # from now on clients may connect; they wait for `serve`
            except (OSError, OverflowError):
                listening.close()
                if nth == len(places):
                    raise
            else:
                break
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host}:{port} ({reason}): choose another --port, or 0 for any") from error
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
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
    _allow_many_connections()
    mock.serve()


def _allow_many_connections() -> None:
    """Take as many files as the system grants: each client needs one, and the usual 1024 are soon held by slow ones."""
    with suppress(ImportError, OSError, ValueError):  # not everywhere, and never more than a kindness
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
