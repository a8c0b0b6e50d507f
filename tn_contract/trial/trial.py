"""Tries a client: runs its program against a mock, case by case, and gathers the evidence.

The line protocol (docs/judge.md): the program finds TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS and
TN_TIMEOUT in its environment and prints one JSON line for each order.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from msgspec import structs

from tn_contract.contract.errors import TargetUnreachable, UsageError
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request
from tn_contract.diagnosis.diagnose import diagnose
from tn_contract.judge.client.cases import REPLY_TIMEOUT, CaseSpec
from tn_contract.judge.client.needs import PATIENT
from tn_contract.record.evidence import Case, Ended, Evidence, Process, Sent
from tn_contract.record.journal import Diagnosis, Exchange, Redactor, timestamp
from tn_contract.trial.embedded import load_mock
from tn_contract.trial.processes import adopting, end_left, running
from tn_contract.trial.reportlines import WORDS_KEPT, decoded, read_reports, why_unread
from tn_contract.trial.stalling import Stalling, stalling

if TYPE_CHECKING:
    from mock_server.serve import RunningMock

DEADLINE = 20.0
# How late slow replies come: far from the second that some clients wait, and from REPLY_TIMEOUT.
DELAY = 1.5
# How long after the time that a client is asked to wait the late reply comes.
LATER = 1.0
# A silent reply outlasts every deadline by so many seconds.
SILENT_ON = 30.0
KILL_AFTER = 1.0
# What the command may name as $NAME. The secret is no such thing: process lists show commands.
PLACEHOLDERS = ("TN_BASE_URL", "TN_API_KEY", "TN_ORDER_IDS", "TN_TIMEOUT", "SSL_CERT_FILE", "HTTPS_PROXY")
# Cases that wait for the server at a time: they hardly compute.
WAITING = 12
OUTPUT_KEPT = 1024 * 1024
OUTPUT_MOST = 64 * OUTPUT_KEPT
_TICK = 0.02

_ERROR_LINE = re.compile(r"(PHP )?Fatal error:|[\w.]*(Error|Exception)( \[\w+\])?(:|$)")
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/*/faketime/libfaketimeMT.so.1", "/opt/*/lib/faketime/*MT*")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended (`status` None: its time was up), and the last that it printed."""

    status: int | None
    output: str = ""
    errors: str = ""


class _Abandoned(Exception):
    """The trial was interrupted, so its processes are ended at once."""


@dataclass(frozen=True)
class Trial:
    """How to try a client: the command (as in a shell, but without one), and the limits.

    `deadline` is in seconds for each process; `jobs` is how many cases run at a time (0: a few, and besides them those
    that mostly wait). With `tls`, names of hosts, the mock speaks HTTPS in their names, and the program's environment
    leads it there.
    """

    command: str
    agent: str = ""
    deadline: float = DEADLINE
    jobs: int = 0
    tls: tuple[str, ...] = ()

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
        specs = list(specs)
        jobs = self.jobs or min(8, 2 * (os.cpu_count() or 1))
        abandoned = threading.Event()
        turned_away: list[Collection[str]] = []  # of each case; complete when its mock is closed
        naming = _Naming()
        with (
            adopting(),
            ThreadPoolExecutor(jobs) as pool,
            nullcontext(pool) if self.jobs else ThreadPoolExecutor(WAITING) as waiting,
            ThreadPoolExecutor(jobs) as closing,
        ):

            def run(spec: CaseSpec) -> Case:
                case = self._run_case(spec, closing, abandoned, turned_away, naming)
                done(spec.id)
                return case

            try:
                # Those that wait for the server begin first, so that the others run meanwhile.
                slow = waiting.map(run, [spec for spec in specs if spec.slow])
                quick = pool.map(run, [spec for spec in specs if not spec.slow])
                cases = {case.id: case for case in (*slow, *quick)}
            except BaseException:
                abandoned.set()
                raise
        reasons = [reason for each in turned_away for reason in each]
        if reasons and not any(case.sent for case in cases.values()):
            raise TargetUnreachable(_no_way_in(reasons))
        evidence = Evidence(self.name, [cases[spec.id] for spec in specs], started)
        _find_crashes(evidence)
        return evidence

    def _run_case(
        self,
        spec: CaseSpec,
        closing: Executor,
        abandoned: threading.Event,
        turned_away: list[Collection[str]],
        naming: _Naming,
    ) -> Case:
        library = _find_faketime() if spec.clock else ""
        if spec.clock and not library:
            return Case(spec.id, skipped="the client's clock cannot be set here: install faketime")
        if spec.certificate and find_spec("trustme") is None:
            return Case(spec.id, skipped="no certificate can be made here: pip install 'tn-contract[tls]'")
        tls = self.tls or (("localhost",) if spec.certificate else ())
        certified = ("elsewhere.example",) if spec.certificate == "misnamed" else ()
        flaw = spec.certificate if spec.certificate in ("expired", "self-signed") else ""
        # A mock of its own: what comes without a known key would belong to no case otherwise.
        stalls = ("silence", "stall-status", "stall-header", "stall-body", "stall-chunk")
        seconds = {"delay": DELAY, "dribble": DELAY, "late": REPLY_TIMEOUT + LATER}
        seconds |= dict.fromkeys(stalls, self.deadline + SILENT_ON)
        options: dict[str, Any] = {"tls": tls, "certified": certified, "flaw": flaw, "fault_seconds": seconds}
        options |= {"diagnose": naming, "replies": {"cancel-accepted": spec.reply}}
        with _Clock(library, spec) as clock, _mock(closing, sink=clock.heard, **options) as mock:
            session = mock.broker.open_session()
            credentials = session.credentials
            case = Case(spec.id)

            def tick() -> None:
                if abandoned.is_set():
                    raise _Abandoned
                clock.tick()

            with stalling(spec.stalls) as stalled, _way_to(mock, spec, stalled) as (base_url, way):
                if not stalled.works:
                    return Case(spec.id, skipped="a connection that is never made cannot be arranged here")
                for order_ids in spec.processes:
                    seen = len(case.sent)
                    environment = {
                        "TN_BASE_URL": base_url,
                        "TN_API_KEY": credentials.api_key,
                        "TN_API_SECRET": credentials.secret.reveal(),
                        "TN_ORDER_IDS": ",".join(order_ids),
                        "TN_TIMEOUT": str(REPLY_TIMEOUT),
                        **way,
                        **clock.environment,
                    }
                    ran = self._execute(_expanded(self.command, environment), environment, tick)
                    process = _process(order_ids, ran, credentials.secret)
                    exchanges = sorted(
                        [*session.journal.exchanges(), *mock.broker.unmatched.exchanges()], key=lambda each: each.at
                    )
                    process.sent = [Sent(exchange) for exchange in exchanges[seen:]]
                    process.ended = self._had_to_wait(process, spec)
                    case.processes.append(process)
                if spec.stalls == "handshake" and not stalled.heard:
                    return Case(spec.id, skipped="the program did not begin HTTPS")
            if not spec.unreachable:
                turned_away.append(mock.turned_away)
        return case

    def _had_to_wait(self, process: Process, spec: CaseSpec) -> Ended | None:
        """Tell a program that hung from one that waited, when its time was up, for what the mock owes it."""
        ended = process.ended
        if ended is None or ended.how != "hung":
            return ended
        owed = spec.slow or bool(process.sent and process.sent[-1].exchange.reply is None)
        patient = self.deadline >= PATIENT or not owed
        return structs.replace(ended, how="hung" if patient else "unfinished", limit=self.deadline)

    def _execute(self, words: list[str], environment: dict[str, str], tick: Callable[[], None]) -> Ran:
        """Run the program once, to its end or its deadline; `tick` is called all the while."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TN_")}
        local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        before = running()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                program = subprocess.Popen(  # noqa: S603 # to start the user's program is the purpose
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env={**inherited, **local, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise UsageError(f"{self.command!r} cannot be started ({error.strerror})") from error
            try:
                status = self._wait(program, tick, (output, errors))
            finally:
                end_left(program.pid, f"TN_API_KEY={environment['TN_API_KEY']}", before)
            return Ran(status, _tail(output), _tail(errors))

    def _wait(
        self, program: subprocess.Popen[bytes], tick: Callable[[], None], written: tuple[IO[bytes], ...]
    ) -> int | None:
        """Return the exit status, or None when the time was up; no process of the group is left."""
        deadline = time.monotonic() + self.deadline
        try:
            while time.monotonic() < deadline:
                tick()
                try:
                    return program.wait(_TICK)
                except subprocess.TimeoutExpired:
                    if any(os.fstat(file.fileno()).st_size > OUTPUT_MOST for file in written):
                        return -signal.SIGXFSZ  # as if a limit of the system's own had ended it
            return None
        finally:
            _end_group(program)


def _expanded(command: str, environment: dict[str, str]) -> list[str]:
    """Split a command, and put in the variables that the mock sets, such as $SSL_CERT_FILE: PHP reads no environment.

    One that this case has not (no certificate to trust) is empty; other dollars, and the secret, are left alone.
    """
    known = {name: environment.get(name, "") for name in PLACEHOLDERS}
    pattern = re.compile(rf"\$(?:\{{({'|'.join(known)})\}}|({'|'.join(known)})\b)")
    return [pattern.sub(lambda match: known[match[1] or match[2]], word) for word in shlex.split(command)]


def _no_way_in(reasons: list[str]) -> str:
    """Say why no request arrived, by the commonest reason."""
    (reason, _count), *_ = Counter(re.sub(r"\[SSL[^]]*\] | \(_ssl.*\)", "", reason) for reason in reasons).most_common(
        1
    )
    told = f"no request arrived; {len(reasons)} connections ended before one ({reason})"
    if "was refused" in reason:
        return told
    trust = "-d curl.cainfo=$SSL_CERT_FILE -d openssl.cafile=$SSL_CERT_FILE"
    return f"{told}. Let the program trust SSL_CERT_FILE, in PHP by options: --exec 'php {trust} …' (docs/tls.md)"


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
    with suppress(OSError):
        while os.waitpid(-program.pid, os.WNOHANG)[0]:  # collects those that were adopted
            pass
    try:
        os.killpg(program.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - OUTPUT_KEPT)
    file.seek(start - start % 4)  # where no character of UTF-16 or UTF-32 is cut
    return decoded(file.read())


def _process(order_ids: tuple[str, ...], ran: Ran, secret: Secret) -> Process:
    """Make evidence of what a program printed, without the secret."""
    redactor = Redactor((secret,))
    leaked = redactor.reveals(ran.output) or redactor.reveals(ran.errors)
    told = _last_words(redactor.text(ran.errors))
    output = redactor.text(ran.output)
    reports = read_reports(output, order_ids)
    ended = _ended(ran.status, told, leaked)
    unread = "" if reports else why_unread(output, redactor.text(ran.errors), order_ids)
    return Process(
        order_ids, reports=reports, ended=structs.replace(ended, unread=unread, at=timestamp(time.time_ns()))
    )


def _last_words(errors: str) -> str:
    """The line that names the error, where there is one (Node prints it first, Python last), else the end."""
    named = [line for line in errors.splitlines() if _ERROR_LINE.match(line.strip())]
    return " ".join(named[-1].split())[:WORDS_KEPT] if named else " ".join(errors.split())[-WORDS_KEPT:]


def _ended(status: int | None, told: str, leaked: bool) -> Ended:
    if status is None:
        return Ended("hung", told=told, leaked=leaked)
    if status < 0:
        return Ended("crashed", status, f"ended by {_signal_name(-status)}; {told}".rstrip("; "), leaked)
    return Ended("exited", status, told, leaked)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _find_crashes(evidence: Evidence) -> None:
    """Tell a crash from an exit status that is the client's way to report a failure."""
    for case in evidence.cases:
        for process in case.processes:
            ended = process.ended
            if ended is None or ended.how != "exited" or not ended.status:
                continue
            ordinary = case.id in ("plain", "restart")
            if len(process.reports) < len(process.order_ids) and (evidence.speaks or ordinary):
                told = ended.told or f"exit status {ended.status}"
                process.ended = Ended("crashed", ended.status, told, ended.leaked)


class _Naming:
    """Names mistakes, and searches no further signatures after eight with the same result: a client errs alike."""

    ALIKE = 8

    def __init__(self) -> None:
        self._last: tuple[str, ...] = ()
        self._alike = 0

    def __call__(
        self, request: Request, situation: str, credentials: Credentials | None, **known: Any
    ) -> Diagnosis | None:
        signature = situation == "signature-invalid"
        if signature and self._alike >= self.ALIKE:
            return None
        found = diagnose(request, situation, credentials, **known)
        if signature and found is not None:
            self._alike = self._alike + 1 if found.mistakes == self._last else 1
            self._last = found.mistakes
        return found


# ---- surroundings ------------------------------------------------------------------------------------------


@contextmanager
def _mock(closing: Executor, **options: Any) -> Iterator[RunningMock]:
    # Whatever nonce comes, so that one fault does not hide the others: the checks compare the nonces themselves.
    mock = load_mock().running(policy="none", control=False, **options)
    running = mock.__enter__()
    try:
        yield running
    finally:
        closing.submit(mock.__exit__, None, None, None)  # which may wait for a late reply: the next case need not


@contextmanager
def _way_to(mock: RunningMock, spec: CaseSpec, stalled: Stalling) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the mock's address and the variables that lead there, or those of a place where nothing answers."""
    way = dict(mock.environment)
    if spec.certificate in ("untrusted", "self-signed") and mock.certificates:
        way = {name: value for name, value in way.items() if name not in mock.certificates.environment}
    if spec.server and not spec.stalls:
        yield mock.base_url, way
        return
    proxied = [name for name in way if name.lower() == "https_proxy"]
    if spec.stalls:
        scheme = "https" if spec.stalls == "handshake" else mock.base_url.partition(":")[0]
        yield f"{scheme}://{stalled.address}", way | dict.fromkeys(proxied, f"http://{stalled.address}")
        return
    with socket.socket() as taken:  # bound and not listening: connections are refused, and nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        yield f"{mock.base_url.partition(':')[0]}://{nowhere}", way | dict.fromkeys(proxied, f"http://{nowhere}")


def _find_faketime() -> str:
    root = Path("/")
    return next((str(path) for pattern in _FAKETIME for path in sorted(root.glob(pattern[1:]))), "")


class _Clock:
    """The client's clock, set while the mock has a request in hand: no reply leaves before that is done.

    One that steps back is an hour behind from the first order's cancel on, and ahead from the second's on: the nonces
    then show whether the program's clock was reached at all. One that stands still is a minute behind, and held from
    the first cancel on; whoever waits for it to go on is not kept waiting for ever.
    """

    BACK, AHEAD, HELD = -3600, 30, -60
    STEP_NS = 120_000
    WAITS = 4.0

    def __init__(self, library: str, spec: CaseSpec) -> None:
        self._kind = spec.clock
        self._orders = spec.processes[0]
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name, "clock")
        self._seen: list[str] = []
        self._held = 0
        self._last = 0.0
        self.environment: dict[str, str] = {}
        if self._kind:
            self._set(f"{self.HELD if self._kind == 'stands-still' else 0:+d}")
            self.environment = {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it, Java waits for ever
            }

    def _set(self, offset: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._file)

    def heard(self, exchange: Exchange) -> None:
        """Set the clock, if this is the first cancel of an order for which it is to be set."""
        order_id = Sent(exchange).order_id if self._kind else None
        self._last = time.monotonic()
        if order_id not in self._orders or order_id in self._seen:
            return
        self._seen.append(order_id)
        if self._kind == "steps-back":
            if len(self._seen) < 3:
                self._set(f"{(self.BACK, self.AHEAD)[len(self._seen) - 1]:+d}")
            return
        if not self._held:  # just after the next whole millisecond, so that all steps stay within it
            self._held = (time.time_ns() // 1_000_000 + 1) * 1_000_000 + self.HELD * 10**9 + 50_000
        elif self._held > 0:
            self._held += self.STEP_NS
        if self._held > 0:
            seconds, nanoseconds = divmod(self._held, 10**9)
            self._set(f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}.{nanoseconds:09d}")  # noqa: DTZ006 # as faketime reads it

    def tick(self) -> None:
        """Let a clock that is held go on, if no request comes."""
        if self._held > 0 and time.monotonic() - self._last > self.WAITS:
            self._held = -1
            self._set(f"{self.HELD:+d}")

    def __enter__(self) -> _Clock:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._folder.cleanup()
