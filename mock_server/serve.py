"""The process, or several: a port, a server on it, a clean stop. Also the server thread inside a test run."""

from __future__ import annotations

import errno
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mock_server.answering import answered
from mock_server.aside import Aside
from mock_server.broker import DEMO, Answer, Broker
from mock_server.connection import Connection
from mock_server.guard import CONTROL, Guard, is_loopback
from mock_server.journalfile import JournalFile
from mock_server.scenario import read_scenario
from mock_server.server import Server, Visitor
from mock_server.signals import stop_signals
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Reply, Request

if TYPE_CHECKING:
    from flask import Flask

    from mock_server.certificates import Certificates, Flaw
    from mock_server.web import Judge
    from tn_contract.contract.signing import Credentials

CONTROL_THREADS = 16
JOURNAL_THREADS = 4  # for what may go through a whole journal: more would only slow down the API
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """Where clients come in: sockets that listen, and what clients need to know. Processes may share it.

    With TLS, `certificates` has the file to trust, and `environment` the variables that lead a client here. With a
    `token`, the control plane asks for it.
    """

    base_url: str
    listening: socket.socket
    token: str = field(default="", repr=False)
    tls: tuple[str, ...] = ()
    certificates: Certificates | None = None
    environment: dict[str, str] = field(default_factory=dict)
    tunnel: socket.socket | None = None

    @property
    def demo(self) -> Credentials:
        """The key pair that works at once."""
        return DEMO

    @property
    def control_url(self) -> str:
        """Where the control plane is."""
        return f"{self.base_url}{CONTROL}"

    def leave(self) -> None:
        """Close the sockets in this process; others may go on with theirs."""
        self.listening.close()
        if self.tunnel:
            self.tunnel.close()


@dataclass(frozen=True, kw_only=True)
class RunningMock(Entrance):
    """A mock that listens."""

    broker: Broker
    stop: Callable[[], None]
    serve: Callable[[], None]
    turned_away: Collection[str]  # why TLS connections ended without a request


@contextmanager
def open_entrance(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: Sequence[str] = (),
    ca_file: Path | None = None,
    certified: Sequence[str] = (),
    flaw: Flaw = "",
    token: str = "",
) -> Iterator[Entrance]:
    """Bind a port (0: any free one), until the block ends. Clients may connect; they wait for who answers.

    With `tls`, names of hosts, HTTPS is spoken in their names and in this machine's, and a tunnel leads clients here
    that have one of them in their code. `certified` are the names in the certificate, if it shall have others; it can
    have a `flaw` besides. Raises `UsageError` when the address cannot be bound, or when there can be no certificate.
    """
    if not host:
        raise UsageError("no host to listen on: choose 127.0.0.1, or 0.0.0.0 for all interfaces")
    if ca_file and not tls:
        raise UsageError("a CA file belongs to TLS: name a host too, such as --tls tradernet.com")
    token = token or ("" if is_loopback(host) else secrets.token_urlsafe())
    with ExitStack() as opened:
        listening = opened.enter_context(_bound(host, port))
        if not tls:
            yield Entrance(base_url=f"http://{_address(listening)}", listening=listening, token=token)
            return
        from mock_server.certificates import issue

        certificates = opened.enter_context(issue(certified or (*tls, host, *_LOCAL), ca_file, flaw))
        tunnel = opened.enter_context(_bound(host, 0))
        environment = certificates.environment
        for name, value in (("HTTPS_PROXY", f"http://{_address(tunnel)}"), ("NO_PROXY", "localhost,127.0.0.1,::1")):
            environment |= {name: value, name.lower(): value}  # curl and others read only one of the spellings
        yield Entrance(
            base_url=f"https://{_address(listening)}",
            listening=listening,
            token=token,
            tls=tuple(tls),
            certificates=certificates,
            environment=environment,
            tunnel=tunnel,
        )


def listen(
    broker: Broker | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: Sequence[str] = (),
    ca_file: Path | None = None,
    certified: Sequence[str] = (),
    flaw: Flaw = "",
    token: str = "",
    **options: Any,
) -> RunningMock:
    """Open an entrance, as `open_entrance` does, with a mock behind it; requests are answered once `serve()` runs.

    The options are those of `_behind` and of `Broker`.
    """
    with ExitStack() as started:
        entrance = open_entrance(host, port, tls=tls, ca_file=ca_file, certified=certified, flaw=flaw, token=token)
        mock = _behind(started.enter_context(entrance), broker, **options)
        started.callback(mock.stop)
        return replace(mock, stop=_closing(started.pop_all()))


def _behind(
    entrance: Entrance,
    broker: Broker | None = None,
    *,
    control: bool = True,
    log: Callable[[str], object] | None = None,
    scenario_file: Path | None = None,
    journal_file: Path | None = None,
    workers: int = 1,
    judge: Judge | None = None,
    **options: Any,
) -> RunningMock:
    """Make what answers in this process.

    `control` gives it a control plane, for this machine alone or for who has the entrance's token; beyond this machine
    there always is one. `log` is given a line of JSON for each answer of the API. `broker` is used as it is, or made
    with `options`. `scenario_file` has rules for what befalls commands; every exchange is appended to `journal_file`.
    `workers` says how many processes answer here; `judge` gives the control plane its verdicts on clients.
    """
    with ExitStack() as started:
        if scenario_file:
            options["scenario"] = read_scenario(scenario_file, load_corpus())
        if journal_file:
            journal = JournalFile(journal_file)
            started.callback(journal.close)
            aside = Aside()
            started.callback(aside.close)
            options |= {"sink": journal.write, "aside": aside, "probe": journal.probe}
        broker = broker or Broker(**options)
        started.callback(broker.state.shut)
        certificates = entrance.certificates
        guard = Guard(entrance.token, frozenset(entrance.tls))
        flask = _LateFlask(broker, entrance.base_url, control=control, guard=guard, workers=workers, judge=judge)

        def answer(request: Request) -> Answer:
            if not request.path.startswith(CONTROL):
                return answered(broker, request, log)
            return flask.answer(request)

        server = Server(answer, offload=_threads)
        started.callback(server.stop)

        def connection() -> Visitor:
            return Connection(server, certificates.context if certificates else None)

        server.add_door(entrance.listening, connection)
        if entrance.tunnel:
            from mock_server.tunnel import Tunnel

            server.add_door(entrance.tunnel, lambda: Tunnel(server, connection, entrance.tls))
        return RunningMock(
            **vars(entrance),
            broker=broker,
            stop=_closing(started.pop_all()),
            serve=server.serve,
            turned_away=server.turned_away,
        )


def _threads(path: str) -> int:
    """Say how many threads may be busy with such requests: what the control plane computes must not hold up the API."""
    if path.startswith((f"{CONTROL}sessions/", f"{CONTROL}unmatched")):
        return JOURNAL_THREADS
    return CONTROL_THREADS if path.startswith(CONTROL) else 0


def _closing(opened: ExitStack) -> Callable[[], None]:
    """Return what closes everything in its order; who calls it meanwhile waits until all is closed."""
    lock = threading.Lock()

    def close() -> None:
        with lock:
            opened.close()

    return close


class _LateFlask:
    """Flask, imported and built when somebody asks for more than the API: that takes longer than all else."""

    def __init__(self, broker: Broker, base_url: str, **options: Any) -> None:
        self._broker, self._base_url, self._options = broker, base_url, options
        self._lock = threading.Lock()
        self._app: Flask | None = None

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        with self._lock:
            if self._app is None:
                from mock_server.app import create_app

                self._app = create_app(self._broker, **self._options)
        from werkzeug.test import EnvironBuilder, run_wsgi_app

        builder = EnvironBuilder(
            base_url=self._base_url, method=request.method, headers=list(request.headers), data=request.body
        )
        # As they came: the builder would decode them once more.
        environ = {**builder.get_environ(), "PATH_INFO": request.path, "QUERY_STRING": request.query}
        body, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        return Answer(Reply(int(status[:3]), tuple(headers), b"".join(body)), None)


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
        unnamed = isinstance(error, socket.gaierror) and error.errno != socket.EAI_SERVICE
        elsewhere = isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL
        advice = "--host, such as 127.0.0.1" if unnamed or elsewhere else "--port, or 0 for any"
        raise UsageError(f"cannot listen on {host}:{port} ({reason}): choose another {advice}") from error
    return listening


def _address(listening: socket.socket) -> str:
    """Return where a client on this machine reaches a listener: the address of all interfaces is none to connect to."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 # compared, and not bound
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


def run_until_stopped(mock: RunningMock, announce: Callable[[], object] = lambda: None) -> None:
    """Serve in the foreground until SIGTERM, SIGINT or SIGHUP; a request under way is answered first.

    SIGHUP stays ignored if it is, as by `nohup`. `announce` is called when signals are heeded: who waited for it may
    send one at once.
    """
    signals = stop_signals()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=mock.stop).start()

    def heed(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        for name in signals:
            signal.signal(name, handler)

    heed(stop)
    _allow_many_connections()
    announce()
    mock.serve()
    heed(signal.SIG_IGN)  # one that comes now does not change how the process ends


def run_workers(
    count: int,
    announce: Callable[[Entrance, str], object],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Sequence[str] = (),
    ca_file: Path | None = None,
    token: str = "",
    state: str = "memory",
    seed: int | None = None,
    scenario_file: Path | None = None,
    journal_file: Path | None = None,
    **options: Any,
) -> None:
    """Serve in the foreground by `count` processes that share the entrance and the state, until a signal.

    `announce` is given the entrance and the place of the state once all can answer. Each worker appends to a journal
    of its own, whose name ends in the worker's number. Raises `UsageError` for what only one process can do.
    """
    from mock_server.workers import SharedSocket, run

    if state == "memory":
        raise UsageError(
            f"{count} workers with memories of their own would accept the same nonce {count} times: "
            "keep the state where they share it, --state sqlite:PATH or redis://HOST:PORT"
        )
    for option, value in (("scenario", scenario_file), ("seed", seed)):
        if value is not None:
            raise UsageError(
                f"--{option} goes by the order of requests, and {count} workers each see only theirs: "
                "start the mock with one worker"
            )
    with open_entrance(host, port, tls=tls, ca_file=ca_file, token=token) as entrance:

        def work(number: int, ready: Callable[[str], object]) -> None:
            own = journal_file and journal_file.with_stem(f"{journal_file.stem}-{number}")
            shared = replace(entrance, listening=SharedSocket(fileno=entrance.listening.detach()))
            mock = _behind(shared, journal_file=own, workers=count, state=state, **options)
            try:
                run_until_stopped(mock, lambda: ready(mock.broker.state.place))
            finally:
                mock.stop()

        def tell(place: str) -> None:
            entrance.leave()  # so that the port is free as soon as the workers are gone
            announce(entrance, place)

        run(count, work, tell)


def _allow_many_connections() -> None:
    """Take as many files as the system grants: each client needs one, and the usual 1024 are soon held by slow ones."""
    with suppress(ImportError, OSError, ValueError):  # not everywhere, and never more than a kindness
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
