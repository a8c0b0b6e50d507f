"""The pytest plugin: options, fixtures, markers, a summary.

It is loaded in every project that has this package installed, so it imports nothing but pytest until it is used.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import time
import warnings
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from mock_server.scenario import Scenario
    from mock_server.serve import RunningMock
    from tn_contract.client.client import Client
    from tn_contract.judge.client import ClientJudge
    from tn_contract.judge.server import Judge
    from tn_contract.judge.verdicts import BaseCheck, Result
    from tn_contract.record.evidence import Evidence
    from tn_contract.record.journal import Exchange
    from tn_contract.report.rows import Report, Row, Subject
    from tn_contract.trial.trial import Trial

AnyCheck = TypeVar("AnyCheck", bound="BaseCheck")
OPTIONS = "tn-contract", "contract tests of delTradeOrder"


# ---- options -----------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite. Credentials are never options: process lists and logs show them."""
    group = parser.getgroup(*OPTIONS)
    group.addoption("--tn-target", metavar="URL", default=None, help="server to judge (default: an embedded mock)")
    group.addoption("--tn-check", metavar="PATTERN", action="append", default=[], help="judge only these checks")
    group.addoption("--tn-exclude", metavar="PATTERN", action="append", default=[], help="leave these checks out")
    group.addoption(
        "--tn-effects",
        choices=("none", "attempt", "cancel"),
        default=None,
        help="worst effect allowed (default: cancel on a mock or this machine, none elsewhere)",
    )
    group.addoption(
        "--tn-order-id", metavar="ID", type=int, action="append", default=[], help="open order that may be cancelled"
    )
    group.addoption("--tn-budget", metavar="N", type=int, default=None, help="most requests to send")
    group.addoption("--tn-pause", metavar="SECONDS", type=float, default=None, help="pause between requests")
    group.addoption("--tn-allow-live", metavar="HOST", default="", help="name a live host again to judge it")
    group.addoption(
        "--tn-control-host", metavar="HOST", default="", help="host off this machine that may get TN_CONTROL_TOKEN"
    )
    group.addoption("--tn-quick", action="store_true", help="judge one check of each clause")
    group.addoption("--tn-strict", action="store_true", help="let warnings fail")
    group.addoption("--tn-exec", metavar="CMD", default=None, help="client program to try and judge")
    group.addoption("--tn-agent", metavar="NAME", default="", help="what that client is called (default: CMD)")
    group.addoption("--tn-tls", metavar="HOST", action="append", default=[], help="host to speak HTTPS for")
    group.addoption("--tn-journal", metavar="FILE", action="append", default=[], help="recorded client to judge")
    group.addoption("--tn-save-journal", metavar="FILE", default=None, help="write what the client did")
    group.addoption("--tn-deadline", metavar="SECONDS", type=float, default=None, help="time for each process")
    group.addoption("--tn-jobs", metavar="N", type=int, default=0, help="cases to run at a time")
    group.addoption("--tn-json", metavar="FILE", default=None, help="write the report as JSON")
    group.addoption("--tn-junit", metavar="FILE", default=None, help="write the report as JUnit XML")
    group.addoption("--tn-html", metavar="FILE", default=None, help="write the report as HTML")


def selected_checks(config: pytest.Config, checks: Mapping[str, AnyCheck]) -> list[AnyCheck]:
    """Choose checks by id, group or glob, and with --tn-quick the first of each clause among them."""
    wanted, unwanted = config.getoption("tn_check"), config.getoption("tn_exclude")
    chosen = [
        check
        for check in checks.values()
        if (not wanted or any(_matches(check, pattern) for pattern in wanted))
        and not any(_matches(check, pattern) for pattern in unwanted)
    ]
    if not config.getoption("tn_quick"):
        return chosen
    first: dict[str, AnyCheck] = {}
    for check in chosen:
        first.setdefault(check.clause, check)
    return list(first.values())


def _refuse_idle_patterns(config: pytest.Config, checks: Mapping[str, BaseCheck]) -> None:
    from tn_contract.contract.errors import UsageError

    for pattern in (*config.getoption("tn_check"), *config.getoption("tn_exclude")):
        if not any(_matches(check, pattern) for check in checks.values()):
            raise UsageError(f"no check matches {pattern!r}: `tn-contract list` shows them all")


def _refuse_lost_reports(config: pytest.Config) -> None:
    from tn_contract.contract.errors import UsageError

    for option in ("tn_json", "tn_html", "tn_junit", "tn_save_journal"):
        path = config.getoption(option)
        if path and (not Path(path).parent.is_dir() or Path(path).is_dir()):
            raise UsageError(f"cannot write {path}: name a file in a folder that exists")


def _matches(check: BaseCheck, pattern: str) -> bool:
    return check.group == pattern or fnmatch.fnmatchcase(check.id, pattern)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the collector of rows."""
    run = config.stash[_RUN] = Run()
    config.pluginmanager.register(run, "tn_contract_run")
    config.addinivalue_line("markers", "tn_check(id): the contract check that this test judges")
    config.addinivalue_line("markers", "tn_effect(effect): the worst that this test may do to an account")
    config.addinivalue_line("markers", "tn_scenario(*rules, seed=0): what befalls the commands of tn_session")


# ---- judging -----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Run:
    """The judging of one pytest run: the judge of a server or those of clients, and the rows as they come in."""

    judge: Judge | None = None
    embedded: bool = False
    recorded: dict[str, Evidence] = field(default_factory=dict)
    clients: dict[str, ClientJudge] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    resources: ExitStack = field(default_factory=ExitStack)
    subject: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the rows, from this process or from a worker."""
        if hasattr(report, "tn_row"):
            self.rows.append(report.tn_row)
            self.subject = report.tn_subject


_RUN = pytest.StashKey[Run]()
# Who wants to show progress puts in: total number of cases → what to call with each that has ended.
ON_TRIAL = pytest.StashKey[Callable[[int], Callable[[str], None]]]()
_ROW: pytest.StashKey[Row] = pytest.StashKey()


def requests_sent(config: pytest.Config) -> int:
    """How many requests this run has sent to a server so far."""
    judge = config.stash[_RUN].judge
    return judge.target.requests if judge else 0


def open_judge(config: pytest.Config) -> Judge:
    """Open the target of this run, once. Raises `TnContractError`."""
    run = config.stash[_RUN]
    if run.judge is None:
        from tn_contract.contract.errors import UsageError
        from tn_contract.judge.server import Judge, catalogue
        from tn_contract.judge.server.target import Target, TargetOptions
        from tn_contract.trial.embedded import load_mock

        url = config.getoption("tn_target")
        run.embedded = not url
        if run.embedded:
            url = run.resources.enter_context(load_mock().running()).base_url
        target = Target(
            TargetOptions(
                url,
                config.getoption("tn_effects"),
                tuple(config.getoption("tn_order_id")),
                config.getoption("tn_budget"),
                config.getoption("tn_pause"),
                config.getoption("tn_allow_live"),
                config.getoption("tn_control_host") or os.environ.get("TN_CONTROL_HOST", ""),
            )
        )
        if hasattr(config, "workerinput") and not target.is_kit_mock:
            target.close()
            raise UsageError("one key cannot be shared by several workers: run without -n on this target")
        run.resources.callback(target.close)
        run.judge = Judge(target, catalogue())
    return run.judge


def client_names(config: pytest.Config) -> list[str]:
    """The clients to judge: the one to try, and those of the journals, which are read here. Raises `UsageError`."""
    from tn_contract.contract.errors import UsageError
    from tn_contract.record.evidence import from_lines

    run = config.stash[_RUN]
    if not run.recorded:
        for path in config.getoption("tn_journal"):
            try:
                evidence = from_lines(Path(path).read_bytes(), path)
            except OSError as error:
                raise UsageError(f"cannot read {path} ({error.strerror})") from error
            name = evidence.agent if evidence.agent not in run.recorded else path
            run.recorded[name] = evidence
    tried = _trial(config)
    if not (tried or run.recorded):
        raise UsageError("no client to judge: --tn-exec CMD tries one, --tn-journal FILE reads what one did")
    return [*([tried.name] if tried else []), *run.recorded]


def _trial(config: pytest.Config) -> Trial | None:
    from tn_contract.trial.trial import DEADLINE, Trial

    command = config.getoption("tn_exec")
    if not command:
        return None
    deadline = config.getoption("tn_deadline") or DEADLINE
    tls = tuple(config.getoption("tn_tls"))
    return Trial(command, config.getoption("tn_agent"), deadline, config.getoption("tn_jobs"), tls)


def _no_progress(_total: int) -> Callable[[str], None]:
    return lambda _case: None


def open_clients(config: pytest.Config) -> dict[str, ClientJudge]:
    """Try the client of this run, once, and open the judges of all clients. Raises `TnContractError`."""
    run = config.stash[_RUN]
    if not run.clients:
        from tn_contract.contract.errors import UsageError
        from tn_contract.judge import client as client_checks
        from tn_contract.judge.client.cases import cases
        from tn_contract.record.evidence import to_lines

        names, evidence = client_names(config), dict(run.recorded)
        trial = _trial(config)
        if trial:
            if hasattr(config, "workerinput"):
                raise UsageError("a trial runs its cases side by side itself: run without -n")
            wanted = {case for check in selected_checks(config, client_checks.catalogue()) for case in check.cases}
            specs = [spec for spec in cases().values() if spec.id in wanted]
            done = config.stash.get(ON_TRIAL, _no_progress)(len(specs))
            evidence[trial.name] = tried = trial.run(specs, done)
            if path := config.getoption("tn_save_journal"):
                from tn_contract.contract.files import replace_file

                replace_file(path, b"".join(to_lines(tried)))
        run.clients = {name: client_checks.ClientJudge(evidence[name], client_checks.catalogue()) for name in names}
    return run.clients


def pytest_collection_finish(session: pytest.Session) -> None:
    """Open who is judged before the first check: a refused target is one sentence, not a failure of every check."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    sides = wanted & {"tn_result", "tn_client_result"}
    if session.config.getoption("collectonly") or not sides:
        return
    from tn_contract.contract.errors import TargetRefused, TnContractError, UsageError
    from tn_contract.contract.text import escape

    try:
        checks = _catalogue(sides)
        _refuse_idle_patterns(session.config, checks)
        _refuse_lost_reports(session.config)
        if not selected_checks(session.config, checks):
            pytest.exit("no check is left to judge: --exclude leaves out what --check chose", returncode=5)
        if "tn_result" in sides:
            open_judge(session.config)
        if "tn_client_result" in sides:
            open_clients(session.config)
    except (UsageError, TargetRefused) as error:
        pytest.exit(escape(str(error)), returncode=4)
    except TnContractError as error:
        pytest.exit(escape(str(error)), returncode=3)


def _catalogue(sides: Container[str]) -> dict[str, BaseCheck]:
    found: dict[str, BaseCheck] = {}
    if "tn_result" in sides:
        from tn_contract.judge import server as checks  # not otherwise: they bring the transport

        found |= checks.catalogue()
    if "tn_client_result" in sides:
        from tn_contract.judge import client as client_checks

        found |= client_checks.catalogue()
    return found


@pytest.fixture
def tn_result(request: pytest.FixtureRequest, tn_check_id: str) -> Result:
    """The result of the check of a server that this test is about. A verdict `error` is an error of set-up."""
    import shlex

    from tn_contract.contract.text import escape
    from tn_contract.judge.server import catalogue

    judge = open_judge(request.config)
    address = judge.target.base_url
    command = "tn-contract verify" + ("" if request.config.stash[_RUN].embedded else f" {shlex.quote(address)}")
    result = _judged(judge.judge, tn_check_id, catalogue())
    if result.verdict == "error" and not judge.target.answered:
        pytest.exit(escape(result.finding.actual), returncode=3)  # the other checks would say the same
    return _noted(result, address, command, request)


@pytest.fixture
def tn_client_result(request: pytest.FixtureRequest, tn_agent: str, tn_client_check_id: str) -> Result:
    """The result of the check of a client that this test is about."""
    import shlex

    from tn_contract.judge.client import catalogue

    config = request.config
    result = _judged(open_clients(config)[tn_agent].judge, tn_client_check_id, catalogue())
    trial = _trial(config)
    given = ["--exec", trial.command] if trial and trial.name == tn_agent else config.getoption("tn_journal")
    command = shlex.join(["tn-contract", "judge", *given])
    return _noted(result, tn_agent, command, request)


def _judged(judge: Callable[[str], Result], check_id: str, checks: Mapping[str, BaseCheck]) -> Result:
    """Judge, and turn a check that breaks into a verdict: the others still count."""
    try:
        return judge(check_id)
    except Exception as error:  # noqa: BLE001 # whatever a broken check raises
        from tn_contract.judge.verdicts import Finding, Result
        from tn_contract.report.crash import unexpected

        return Result(checks[check_id], Finding("error", "a kit that works", unexpected(error)), (), 0.0)


def _noted(result: Result, subject: str, command: str, request: pytest.FixtureRequest) -> Result:
    """Keep the row for the report."""
    from tn_contract.contract.text import escape
    from tn_contract.report.rows import row_of

    request.node.stash[_ROW] = row_of(result, subject, command)
    if result.verdict == "error":
        pytest.fail(escape(f"{result.finding.expected}: {result.finding.actual}"), pytrace=False)
    return result


def follow_verdict(result: Result, *, strict: bool) -> None:
    """Skip or fail the running test as the verdict says; `strict` lets warnings fail."""
    __tracebackhide__ = True
    from tn_contract.contract.text import escape

    check = result.check
    finding = replace(result.finding, expected=escape(result.finding.expected), actual=escape(result.finding.actual))
    if finding.verdict in ("skipped", "blocked"):
        pytest.skip(f"{finding.verdict}: {finding.actual}")
    if finding.verdict == "fail" or (finding.verdict == "warn" and strict):
        pytest.fail(
            f"{check.id} breaks clause {check.clause}\n  expected: {finding.expected}\n  actual:   {finding.actual}",
            pytrace=False,
        )


def _subject(config: pytest.Config) -> Subject:
    from tn_contract.report.rows import Subject, target_subject

    run = config.stash[_RUN]
    if run.judge:
        return target_subject(run.judge.target)
    requests = sum(len(judge.evidence.sent) for judge in run.clients.values())
    return Subject(", ".join(run.clients), "client", requests=requests)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Attach the row to the report of the phase that ended the check, so that it crosses process borders too."""
    report = yield
    session = getattr(item, "funcargs", {}).get("tn_session")
    if call.when == "call" and report.failed and isinstance(session, MockSession):
        report.sections.append(("what the mock saw", _told(session)))
    row = item.stash.get(_ROW, None)
    if row is not None and (call.when == "call" or (call.when == "setup" and report.failed)):
        import msgspec

        report.tn_row = msgspec.to_builtins(row, enc_hook=list)
        report.tn_subject = msgspec.to_builtins(_subject(item.config))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the reports and let the exit status tell apart broken, unjudgeable and not judged."""
    run = session.config.stash[_RUN]
    run.resources.close()
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        run.interrupted = True
    report = report_of(session.config)
    if report is None or hasattr(session.config, "workerinput"):
        return
    from tn_contract.contract.errors import UsageError
    from tn_contract.contract.files import write_whole
    from tn_contract.contract.text import escape
    from tn_contract.report.html import to_html
    from tn_contract.report.junit import to_junit
    from tn_contract.report.rows import to_json

    strict = session.config.getoption("tn_strict")
    writers: dict[str, Callable[[Report], bytes]] = {
        "tn_json": to_json,
        "tn_html": lambda it: to_html(it).encode(),
        "tn_junit": lambda it: to_junit(it, strict=strict),
    }
    for option, write in writers.items():
        if path := session.config.getoption(option):
            try:
                write_whole(path, write(report))
            except UsageError as error:
                sys.stderr.write(f"tn-contract: {escape(str(error))}\n")
                session.exitstatus = 3
                return
    others = len(run.rows) < session.testscollected
    if exitstatus in (0, 1, 5) and (report.exit_code in (1, 3) or (report.exit_code == 5 and not others)):
        session.exitstatus = report.exit_code


def report_of(config: pytest.Config) -> Report | None:
    """Build the report of this run; None when no check ran."""
    run = config.stash[_RUN]
    if not run.rows:
        return None
    import msgspec

    from tn_contract.record.journal import timestamp
    from tn_contract.report.rows import Row, Subject, build, exit_code

    subject = msgspec.convert(run.subject, Subject)
    names = list(dict.fromkeys(row["subject"] for row in run.rows))
    checks = _catalogue(("tn_client_result",) if subject.kind == "client" else ("tn_result",))
    places = {check_id: place for place, check_id in enumerate(checks)}
    rows = [msgspec.convert(row, Row) for row in run.rows]
    rows.sort(key=lambda row: (names.index(row.subject), places[row.id]))
    return build(
        rows,
        subject,
        started=timestamp(int(run.started * 1e9)),
        elapsed=time.time() - run.started,
        code=2 if run.interrupted else exit_code(rows, strict=config.getoption("tn_strict")),
        unjudged=len(names) * len(selected_checks(config, checks)) - len(rows) if run.interrupted else 0,
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell the verdicts that pytest's outcomes do not, and the counts."""
    report = report_of(config)
    if report is None:
        return
    from tn_contract.contract.text import escape
    from tn_contract.report.rows import summary

    terminalreporter.section("tn-contract")
    for row in report.checks:
        if row.verdict in ("warn", "info", "blocked", "error"):
            terminalreporter.line(f"{row.verdict:8} {row.id}: {escape(row.actual)}")
    terminalreporter.line(f"{escape(report.subject.name)}: {summary(report)}")


# ---- fixtures for users' own tests --------------------------------------------------------------------------


@dataclass(frozen=True)
class MockSession:
    """A key pair on the mock, with its own nonces and journal. The secret does not show in `repr`."""

    base_url: str
    api_key: str
    api_secret: str = field(repr=False)
    _mock: RunningMock = field(repr=False)

    def journal(self) -> list[Exchange]:
        """What was sent with this key and what the mock made of it, oldest first."""
        session = self._mock.broker.session(self.api_key)
        return session.journal.exchanges() if session else []

    def play(self, *rules: dict[str, Any], seed: int = 0) -> Scenario:
        """Let a scenario befall this key's commands (docs/scenarios.md); ask it for its `unused()` rules afterwards.

        Raises `UsageError` when a rule is not understood, or the session is closed.
        """
        session = self._mock.broker.session(self.api_key)
        if session is None:  # the mock's general scenario is not this session's to set
            from tn_contract.contract.errors import UsageError

            raise UsageError(
                f"the session {self.api_key} is closed, so no scenario can befall it: play rules while it "
                "is open, or open another with tn_new_session"
            )
        return self._mock.broker.play({"rule": list(rules), "seed": seed}, session)

    def cancelled(self) -> list[int]:
        """The orders that were cancelled with this key, in order."""
        return [
            int(exchange.assessment.order_id)
            for exchange in self.journal()
            if exchange.assessment and exchange.assessment.effect == "cancelled"
        ]


def _told(session: MockSession) -> str:
    import msgspec

    from tn_contract.contract.text import escape

    exchanges = session.journal()
    if not exchanges:
        return "no request with this test's key"
    texts = (msgspec.json.format(msgspec.json.encode(exchange), indent=2).decode() for exchange in exchanges)
    return escape("\n".join(texts), keep="\n")


NewSession = Callable[[], AbstractContextManager[MockSession]]


@pytest.fixture(scope="session")
def tn_mock_options() -> dict[str, Any]:
    """Override to configure the mock: the options of `tn-contract serve`, as in `{"nonces": "unique"}`."""
    return {}


@pytest.fixture(scope="session")
def tn_mock(tn_mock_options: dict[str, Any]) -> Iterator[RunningMock]:
    """A running mock for this test run: `base_url`, `broker`, `control_url`."""
    from tn_contract.contract.errors import UsageError
    from tn_contract.trial.embedded import judge, load_mock, mock_options

    with ExitStack() as opened:
        try:
            mock = opened.enter_context(load_mock().running(judge=judge, **mock_options(tn_mock_options)))
        except UsageError as error:
            pytest.fail(f"tn_mock_options is not understood: {error}", pytrace=False)
        _import_late_modules()
        yield mock


def _import_late_modules() -> None:
    """Cancel two orders on another mock, one wrongly signed, and read the journal.

    What is imported late is imported now, and not within the 200 ms that hypothesis allows for an example.
    """
    from tn_contract.client.client import Client
    from tn_contract.contract.errors import Rejected
    from tn_contract.trial.embedded import load_mock

    with load_mock().running() as mock:
        demo = mock.broker.demo
        for secret in (demo.secret.reveal(), "wrong"):
            with Client(demo.api_key, secret, base_url=mock.base_url) as client, suppress(Rejected):
                client.cancel_order(2929292929)
        mock.broker.session(demo.api_key).journal.exchanges()


@pytest.fixture(scope="session")
def tn_new_session(tn_mock: RunningMock) -> NewSession:
    """A factory of fresh key pairs, as context managers. Safe under `@given`: one for each example."""

    @contextmanager
    def new_session() -> Iterator[MockSession]:
        credentials = tn_mock.broker.open_session().credentials
        try:
            yield MockSession(tn_mock.base_url, credentials.api_key, credentials.secret.reveal(), tn_mock)
        finally:
            tn_mock.broker.close_session(credentials.api_key)

    return new_session


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker `tn_scenario` that would do nothing, or less than it says."""
    found = list(item.iter_markers_with_node("tn_scenario"))
    if not found:
        return
    nodes, marker = [node for node, _ in found], found[0][1]
    flaw = ""
    if "tn_session" not in getattr(item, "fixturenames", ()):
        if item not in nodes:  # it is its class's or module's, and meant for the others there
            return
        flaw = (
            "speaks of tn_session, which this test does not use: take it as an argument, or let session.play(…) do it"
        )
    elif len(set(nodes)) < len(nodes):
        flaw = "stands here twice: give all rules to one"
    elif unknown := set(marker.kwargs) - {"seed"}:
        names = ", ".join(sorted(unknown))
        flaw = f'does not know {names}: a rule is a dict, as in tn_scenario({{"fault": "drop"}}, seed=1)'
    elif not marker.args:
        flaw = 'has no rule: give it one, such as tn_scenario({"fault": "drop"})'
    if flaw:
        pytest.fail(f"the marker tn_scenario {flaw}", pytrace=False)


@pytest.fixture
def tn_session(tn_new_session: NewSession, request: pytest.FixtureRequest) -> Iterator[MockSession]:
    """A fresh key pair on the mock for this test, with the rules of its marker `tn_scenario`, if it has one."""
    from tn_contract.contract.errors import UsageError

    marker = request.node.get_closest_marker("tn_scenario")
    with tn_new_session() as session:
        try:
            scenario = session.play(*marker.args, **marker.kwargs) if marker else None
        except UsageError as error:
            pytest.fail(f"the marker tn_scenario is not understood: {error}", pytrace=False)
        yield session
    if scenario and (unused := scenario.unused()):
        warnings.warn(pytest.PytestWarning(f"tn_scenario: {', '.join(unused)} hit nothing"), stacklevel=1)


@pytest.fixture
def tn_client(tn_session: MockSession) -> Iterator[Client]:
    """The reference client with this test's key pair."""
    from tn_contract.client.client import Client

    with Client(tn_session.api_key, tn_session.api_secret, base_url=tn_session.base_url) as client:
        yield client
