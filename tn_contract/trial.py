"""Tries a client: runs its program against a mock, case by case, and gathers the evidence.

The line protocol (docs/judge.md): the program finds TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS and
TN_TIMEOUT in its environment and prints one JSON line for each order.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, get_args

import msgspec
from msgspec import Struct

from tn_contract.client_checks.cases import CaseSpec
from tn_contract.embedded import load_mock
from tn_contract.errors import UsageError
from tn_contract.evidence import Case, Ended, Evidence, Process, Reported, ReportedOutcome, Sent
from tn_contract.journal import Redactor, timestamp
from tn_contract.signing import Secret

if TYPE_CHECKING:
    from mock_server.serve import RunningMock

DEADLINE = 20.0
# What the client is asked to wait for a reply: more than the delayed one takes, less than the deadline.
REPLY_TIMEOUT = 3
KILL_AFTER = 1.0
OUTPUT_KEPT = 1024 * 1024
WORDS_KEPT = 200
_TICK = 0.02

# Routes are compiled with the ast module, which two threads must not use at a time (CPython 3.11).
_BUILDING = threading.Lock()

_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/*/faketime/libfaketimeMT.so.1", "/opt/*/lib/faketime/*MT*")
OUTCOMES = get_args(ReportedOutcome)


class _Spoken(Struct):
    """A line of the program's output that speaks the protocol."""

    outcome: str
    kind: str | None = None
    code: int | str | None = None
    order_id: int | str | None = None


@dataclass(frozen=True)
class Trial:
    """How to try a client: the command (as in a shell, but without one), and the limits.

    `deadline` is in seconds for each process; `jobs` is how many cases run at a time.
    """

    command: str
    agent: str = ""
    deadline: float = DEADLINE
    jobs: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` when the command cannot be started."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise UsageError(f"the command {self.command!r} cannot be read ({error}): mind its quotes") from error
        if not words or shutil.which(words[0]) is None:
            raise UsageError(f"there is no program {words[0] if words else ''!r} to start: check --exec and PATH")

    @property
    def name(self) -> str:
        """What the client is called in reports."""
        return self.agent or self.command

    def run(self, specs: Iterable[CaseSpec], done: Callable[[str], None] = lambda _case: None) -> Evidence:
        """Run the cases, several at a time, and return what the client did; `done` hears of each that has ended."""
        started = timestamp(time.time_ns())

        def run(spec: CaseSpec) -> Case:
            case = self._run_case(spec)
            done(spec.id)
            return case

        with ThreadPoolExecutor(self.jobs or min(8, 2 * (os.cpu_count() or 1))) as pool:
            cases = list(pool.map(run, specs))
        evidence = Evidence(self.name, cases, started)
        _find_crashes(evidence)
        return evidence

    def _run_case(self, spec: CaseSpec) -> Case:
        library = _find_faketime() if spec.clock_step else ""
        if spec.clock_step and not library:
            return Case(spec.id, skipped="the client's clock cannot be set back here: install faketime")
        # A mock of its own: what comes without a known key would belong to no case otherwise.
        with _mock() as mock, _Clock(library, spec.clock_step) as clock:
            session = mock.broker.open_session()
            credentials = session.credentials
            case = Case(spec.id)
            with _address(mock.base_url, spec.server) as base_url:
                for order_ids in spec.processes:
                    seen = len(case.sent)
                    environment = {
                        "TN_BASE_URL": base_url,
                        "TN_API_KEY": credentials.api_key,
                        "TN_API_SECRET": credentials.secret.reveal(),
                        "TN_ORDER_IDS": ",".join(order_ids),
                        "TN_TIMEOUT": str(REPLY_TIMEOUT),
                        **clock.environment,
                    }
                    process = self._run_process(
                        order_ids, environment, credentials.secret, lambda: clock.tick(len(session.journal))
                    )
                    exchanges = sorted(
                        [*session.journal.exchanges(), *mock.broker.strays.exchanges()], key=lambda each: each.at
                    )
                    process.sent = [Sent(exchange) for exchange in exchanges[seen:]]
                    case.processes.append(process)
        return case

    def _run_process(
        self, order_ids: tuple[str, ...], environment: dict[str, str], secret: Secret, tick: Callable[[], None]
    ) -> Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TN_")}
        local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                program = subprocess.Popen(  # noqa: S603 # to start the user's program is the purpose
                    shlex.split(self.command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env={**inherited, **local, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise UsageError(f"{self.command!r} cannot be started ({error.strerror})") from error
            status = self._wait(program, tick)
            redactor = Redactor((secret,))
            spoken = redactor.text(_tail(output))
            told = " ".join(redactor.text(_tail(errors)).split())[-WORDS_KEPT:]
        reports, strange = _parse(spoken, order_ids)
        ended = _ended(status, strange or told)
        return Process(order_ids, reports=reports, ended=ended)

    def _wait(self, program: subprocess.Popen[bytes], tick: Callable[[], None]) -> int | None:
        """Return the exit status, or None when the time was up; no process of the group is left."""
        deadline = time.monotonic() + self.deadline
        try:
            while time.monotonic() < deadline:
                tick()
                try:
                    return program.wait(_TICK)
                except subprocess.TimeoutExpired:
                    continue
            return None
        finally:
            _end_group(program)


def _end_group(program: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(program.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        deadline = time.monotonic() + KILL_AFTER
        while time.monotonic() < deadline and _group_lives(program):
            time.sleep(_TICK)
    program.wait()


def _group_lives(program: subprocess.Popen[bytes]) -> bool:
    program.poll()  # collects the leader, which would keep the group alive as a zombie
    try:
        os.killpg(program.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_KEPT))
    return file.read().decode("utf-8", "backslashreplace")


def _ended(status: int | None, told: str) -> Ended:
    if status is None:
        return Ended("hung", told=told)
    if status < 0:
        return Ended("crashed", status, f"ended by {signal.Signals(-status).name}; {told}".rstrip("; "))
    return Ended("exited", status, told)


def _parse(output: str, order_ids: tuple[str, ...]) -> tuple[list[Reported], str]:
    """Read the reports, the n-th for the n-th order unless it names one; and what is odd about the first odd line."""
    reports: list[Reported] = []
    strange = ""
    for line in output.splitlines():
        try:
            spoken = msgspec.json.decode(line, type=_Spoken)
        except (msgspec.DecodeError, RecursionError):
            continue
        if spoken.outcome not in OUTCOMES:
            strange = strange or f"it printed the outcome {spoken.outcome!r}: choose from {', '.join(OUTCOMES)}"
            continue
        place = order_ids[len(reports)] if len(reports) < len(order_ids) else "(one more than asked)"
        order_id = place if spoken.order_id is None else str(spoken.order_id)
        reports.append(Reported(order_id, spoken.outcome, spoken.kind, spoken.code))  # type: ignore[arg-type]
    return reports, strange


def _find_crashes(evidence: Evidence) -> None:
    """Tell a crash from an exit status that is the client's way to report a failure."""
    for case in evidence.cases:
        for process in case.processes:
            ended = process.ended
            if ended is None or ended.how != "exited" or not ended.status:
                continue
            ordinary = case.id in ("plain", "restart")
            if len(process.reports) < len(process.order_ids) and (evidence.speaks or ordinary):
                process.ended = Ended("crashed", ended.status, ended.told or f"exit status {ended.status}")


# ---- surroundings ------------------------------------------------------------------------------------------


@contextmanager
def _mock() -> Iterator[RunningMock]:
    # Whatever nonce comes, so that one fault does not hide the others: the checks compare the nonces themselves.
    mock = load_mock().running(policy="none")
    with _BUILDING:
        running = mock.__enter__()
    try:
        yield running
    finally:
        mock.__exit__(None, None, None)


@contextmanager
def _address(base_url: str, server: bool) -> Iterator[str]:
    """Yield the mock's address, or one at which nothing listens as long as the block lasts."""
    if server:
        yield base_url
        return
    with socket.socket() as taken:  # bound and not listening: connections are refused, and nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        yield f"{base_url.partition(':')[0]}://127.0.0.1:{taken.getsockname()[1]}"


def _find_faketime() -> str:
    root = Path("/")
    return next((str(path) for pattern in _FAKETIME for path in sorted(root.glob(pattern[1:]))), "")


class _Clock:
    """The client's clock: steps by `step` seconds once its first request has arrived. Does nothing without a step."""

    def __init__(self, library: str, step: int) -> None:
        self._step = step
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name, "clock")
        self.environment: dict[str, str] = {}
        if step:
            self._set(0)
            self.environment = {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    def _set(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)

    def tick(self, requests: int) -> None:
        """Step, if the time has come."""
        if self._step and requests:
            self._set(self._step)
            self._step = 0

    def __enter__(self) -> _Clock:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._folder.cleanup()
