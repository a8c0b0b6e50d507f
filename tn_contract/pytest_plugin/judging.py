"""Judges in a pytest run: who is judged, one result for each test of a suite, the report at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Container, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tn_contract.pytest_plugin.fixtures import MockSession, journal_told
from tn_contract.pytest_plugin.options import refuse_idle_patterns, refuse_lost_reports, selected_checks

if TYPE_CHECKING:
    from tn_contract.judge.client import ClientJudge
    from tn_contract.judge.server import Judge
    from tn_contract.judge.verdicts import BaseCheck, Result
    from tn_contract.record.evidence import Evidence
    from tn_contract.report.rows import Report, Row, Subject
    from tn_contract.trial.trial import Trial


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the collector of rows."""
    run = config.stash[_RUN] = Run()
    config.pluginmanager.register(run, "tn_contract_run")
    config.addinivalue_line("markers", "tn_check(id): the contract check that this test judges")
    config.addinivalue_line("markers", "tn_effect(effect): the worst that this test may do to an account")
    config.addinivalue_line("markers", "tn_scenario(*rules, seed=0): what befalls the commands of tn_session")


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
        refuse_idle_patterns(session.config, checks)
        refuse_lost_reports(session.config)
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
        report.sections.append(("what the mock saw", journal_told(session)))
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
