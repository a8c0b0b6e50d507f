"""The command `tn-contract`. Heavy rooms are imported by the verb that needs them: start-up time is a feature."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shlex
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import click
from click.core import ParameterSource

from tn_contract import __version__
from tn_contract.cli.streams import OutputLost, harden
from tn_contract.contract.errors import TargetError, TargetRefused, TnContractError, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mock_server.serve import Entrance
    from tn_contract.contract.corpus import Evidence, MagicOrder, Payload
    from tn_contract.contract.files import ReadyFile
    from tn_contract.contract.signing import Secret
    from tn_contract.contract.wire import SignedRequest
    from tn_contract.diagnosis.explain import Explanation
    from tn_contract.judge.verdicts import BaseCheck

DEFAULT_PORT = 8787
NONCE_POLICIES = ("monotonic", "unique", "none")


def _debug(_ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        os.environ["TN_DEBUG"] = "1"


class _Group(click.Group):
    """Turns the kit's exceptions into one sentence and the documented exit codes; gives each command `--debug`."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        told = "Print the traceback of an unexpected error."
        cmd.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, callback=_debug, help=told))
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # noqa: BLE001 # here, for click gives a broken pipe the exit code 1
            _give_up(error)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        harden()
        try:
            try:
                return super().main(*args, **{**kwargs, "standalone_mode": False})
            finally:
                if sys.stdout:
                    sys.stdout.flush()  # now, for Python's own flush at the end has an exit code of its own
        except click.ClickException as error:
            error.show(shown := io.StringIO())
            _say(shown.getvalue().rstrip("\n"), err=True)
            sys.exit(4)
        except click.Abort:
            _fail("interrupted", 2)
        except Exception as error:  # noqa: BLE001 # the last place to catch it
            _give_up(error)


def _give_up(error: Exception) -> NoReturn:
    """Turn an exception into one sentence and an exit code."""
    if isinstance(error, OutputLost):
        _fail(f"the output cannot be written ({error.strerror})", 3)
    if isinstance(error, TnContractError) and not isinstance(error, TargetError | WorkerLost):
        _fail(str(error), 4)
    if isinstance(error, TnContractError):
        _fail(str(error), 4 if isinstance(error, TargetRefused) else 3)
    from tn_contract.report.crash import unexpected

    _fail(unexpected(error), 3)


class _Number(click.FloatRange):
    """A number within bounds, which NaN would slip through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to count with", param, ctx)
        return number


class _OrderId(click.ParamType[int]):
    """An order id, whose range would fill a line of the help."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
            self.fail(f"{text!r} is not an order id: a whole number from 1 to {2**63 - 1}", param, ctx)
        return int(text)


def _fail(sentence: str, code: int) -> NoReturn:
    _say(f"tn-contract: {sentence}", err=True)
    sys.exit(code)


def _say(text: str, *, err: bool = False, wrap: bool = True) -> None:
    """Print lines for people; what came from outside cannot control their terminal, which wraps between words."""
    from tn_contract.contract.text import escape

    text = escape(text, keep="\n")
    click.echo("\n".join(_on_a_terminal(text.split("\n"), err=err)) if wrap else text, err=err)


def _on_a_terminal(lines: list[str], *, err: bool = False) -> list[str]:
    """Wrap lines between words where they go to a terminal."""
    stream = sys.stderr if err else sys.stdout
    if not (stream and stream.isatty()):
        return lines
    import shutil

    return [_wrapped(line, shutil.get_terminal_size().columns) for line in lines]


def _wrapped(line: str, width: int) -> str:
    """Wrap a line; what follows stands under its text, not under its label (`fix       …`)."""
    if len(line) <= width:
        return line
    import textwrap

    label = re.match(r"\s*(?:\S+\s{2,})?", line)
    indent = " " * (label.end() if label and label.end() < width // 2 else 0)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tn-contract")
def main() -> None:
    """Contract tests, a mock server and signing help for the Tradernet command delTradeOrder.

    Exit codes: 0 judged, nothing failed; 1 a clause is broken; 2 interrupted; 3 the target, a control or the kit
    failed; 4 usage, or a refused target; 5 nothing was judged.
    """


# ---- serve -------------------------------------------------------------------------------------------------


@main.command()
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    metavar="PORT",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the connection details as JSON.")
@click.option(
    "--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Write them to this file when ready."
)
@click.option("--nonces", type=click.Choice(NONCE_POLICIES), default="monotonic", show_default=True, help="Nonce rule.")
@click.option("--strict-path", is_flag=True, help="Refuse a path that does not name the command.")
@click.option(
    "--timestamp-tolerance",
    type=_Number(0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How far a v3 timestamp may be from the clock; 0: any.",
)
@click.option("--reply", metavar="SITUATION=PAYLOAD", multiple=True, help="Answer a situation with another payload.")
@click.option(
    "--orders",
    type=click.Choice(("replay", "book")),
    default="replay",
    show_default=True,
    help="Replay replies, or keep an order book.",
)
@click.option(
    "--cancel-seconds",
    metavar="SECONDS",
    type=_Number(0, 10**9),
    default=2,
    show_default=True,
    help="How long a cancel takes in the book.",
)
@click.option("--seed", metavar="N", type=int, help="Make the keys of new sessions, and their order ids, repeatable.")
@click.option(
    "--scenario", type=click.Path(dir_okay=False, path_type=Path), help="Rules for faults and other replies (TOML)."
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append every exchange to this file, as JSON lines; full files are kept beside it.",
)
@click.option("--access-log", is_flag=True, help="Print a JSON line to stderr for each answer of the API.")
@click.option(
    "--control-token",
    envvar="TN_CONTROL_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="Ask for it on the control plane (default: this machine needs none, others a random one).",
)
@click.option(
    "--state",
    metavar="ENGINE",
    envvar="TN_STATE",
    show_envvar=True,
    default="memory",
    show_default=True,
    help="Where keys, nonces and orders are kept: memory, sqlite:PATH or redis://HOST:PORT.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that answer on the one port; several need a --state that they share.",
)
@click.option(
    "--tls",
    metavar="[HOST]",
    multiple=True,
    is_flag=False,
    flag_value="localhost",
    help="Speak HTTPS, also in the name of HOST, and open a tunnel for clients that have it in their code. Repeatable.",
)
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the certificate to trust, anew at each start (default: a folder removed at the end).",
)
def serve(
    host: str,
    port: int,
    as_json: bool,
    ready_file: Path | None,
    nonces: str,
    strict_path: bool,
    timestamp_tolerance: float,
    reply: tuple[str, ...],
    orders: str,
    cancel_seconds: float,
    seed: int | None,
    scenario: Path | None,
    journal: Path | None,
    access_log: bool,
    control_token: str | None,
    state: str,
    workers: int,
    tls: tuple[str, ...],
    ca_file: Path | None,
) -> None:
    """Run the mock until SIGTERM or Ctrl-C.

    Its demo key works at once; POST /__tn__/sessions opens more. `tn-contract list --replies` shows the magic
    orders and the situations.
    """
    from tn_contract.contract.files import ReadyFile
    from tn_contract.trial.embedded import load_mock, mock_options

    source = click.get_current_context().get_parameter_source("cancel_seconds")
    if orders != "book" and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--cancel-seconds speaks of the order book: add --orders book")
    server = load_mock()
    ready = ReadyFile(ready_file)
    ready.remove_stale()
    replies = dict(_pair(text, "--reply") for text in reply)
    options = mock_options(
        {
            "host": host,
            "port": port,
            "tls": tls,
            "ca_file": ca_file,
            "control_token": control_token,
            "scenario": scenario,
            "journal": journal,
            "nonces": nonces,
            "strict_path": strict_path,
            "timestamp_tolerance": timestamp_tolerance,
            "reply": replies,
            "orders": orders,
            "cancel_seconds": cancel_seconds,
            "seed": seed,
            "state": state,
        }
    )
    if access_log:
        options["log"] = partial(click.echo, err=True)
    announce = partial(_announce, workers=workers, token_given=bool(control_token), as_json=as_json, ready=ready)
    try:
        if workers > 1:
            server.run_workers(workers, announce, **options)
            return
        mock = server.listen(**options)
        try:
            server.run_until_stopped(mock, lambda: announce(mock, mock.broker.state.place))
            if unused := mock.broker.idle_rules():
                click.echo(f"these rules of scenarios hit nothing: {', '.join(unused)}", err=True)
        finally:
            mock.stop()
    finally:
        ready.remove()


def _announce(mock: Entrance, place: str, *, workers: int, token_given: bool, as_json: bool, ready: ReadyFile) -> None:
    demo = mock.demo
    facts: dict[str, Any] = {
        "base_url": mock.base_url,
        "control_url": mock.control_url,
        "api_key": demo.api_key,
        "api_secret": demo.secret.reveal(),
    }
    token = "" if token_given else mock.token  # whoever gave one knows it, and this line is kept in logs
    if token:
        facts["control_token"] = token
    if mock.certificates:
        facts |= {"ca_file": str(mock.certificates.ca_file), "environment": mock.environment}
    if place:
        facts["state"] = place
    if workers > 1:
        facts["workers"] = workers
    line = json.dumps(facts)
    ready.write(line + "\n", private=bool(token))
    sentence = (
        f"tn-contract mock at {mock.base_url} · key {demo.api_key} · secret {demo.secret.reveal()} · "
        f"control {mock.control_url}health · {f'{workers} workers · ' if workers > 1 else ''}Ctrl-C stops it"
    )
    if mock.token:
        sentence += f"\nthe control plane asks for Authorization: Bearer {token or 'and the token given'}"
    if mock.certificates:
        exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in mock.environment.items())
        sentence += f"\nlead a client here:\n{exports}\n  php {mock.certificates.php_options} …"
        sentence += "\n  Node before 24 has no proxy of its own: docs/tls.md"
    if place:
        sentence += f"\nkeys, nonces and orders are kept in {place}"
    click.echo(line if as_json else sentence)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name.strip("()"), value


# ---- verify ------------------------------------------------------------------------------------------------


class _ReportFile(click.Path):
    """A file to be written at the end of a run: its folder is looked at before."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if not os.access(Path(os.fsdecode(path)).parent, os.W_OK):
            self.fail(f"cannot write {value}: name a file in a folder that exists", param, ctx)
        return path


_FILE = _ReportFile()


@main.command()
@click.argument("url", required=False)
@click.option("--check", "checks", metavar="ID", multiple=True, help="Judge only this check, group or glob.")
@click.option("--exclude", metavar="ID", multiple=True, help="Leave this check, group or glob out.")
@click.option(
    "--effects",
    type=click.Choice(("none", "attempt", "cancel")),
    help="How far checks may go: none (no order named), attempt (must be refused), cancel.",
)
@click.option("--order-id", type=_OrderId(), multiple=True, help="An open order that may be cancelled. Repeatable.")
@click.option("--quick", is_flag=True, help="Judge one check of each clause, for a server that is slow.")
@click.option("--budget", metavar="N", type=click.IntRange(1), help="Most requests to send.")
@click.option("--pause", metavar="SECONDS", type=_Number(0), help="Pause between requests.")
@click.option("--allow-live", metavar="HOST", default="", help="Judge a host known to be live: name it a second time.")
@click.option(
    "--control-host",
    metavar="HOST",
    envvar="TN_CONTROL_HOST",
    show_envvar=True,
    help="Send TN_CONTROL_TOKEN to the mock on this host too; without it only to one on this machine.",
)
@click.option("--strict", is_flag=True, help="Let warnings fail.")
@click.option("--junit", type=_FILE, help="Write a JUnit report.")
@click.option("--json", "json_file", type=_FILE, help="Write the report as JSON, exchanges included.")
@click.option("--html", type=_FILE, help="Write the report as one HTML page.")
def verify(
    url: str | None,
    checks: tuple[str, ...],
    exclude: tuple[str, ...],
    effects: str | None,
    order_id: tuple[int, ...],
    quick: bool,
    budget: int | None,
    pause: float | None,
    allow_live: str,
    control_host: str | None,
    strict: bool,
    junit: str | None,
    json_file: str | None,
    html: str | None,
) -> None:
    """Judge the server at URL, or the embedded mock.

    Credentials come from TN_API_KEY and TN_API_SECRET; TN_API_KEY_2 and TN_API_SECRET_2 enable the checks that
    need two keys. A mock of this kit hands out its own; if it asks for a control token, TN_CONTROL_TOKEN is sent.
    On any other host than this machine only checks without any effect run unless --effects and --order-id say more.
    """
    arguments = [
        *_repeated("--tn-check", checks),
        *_repeated("--tn-exclude", exclude),
        *_repeated("--tn-order-id", order_id),
        *_given("--tn-target", url),
        *_given("--tn-effects", effects),
        *_given("--tn-budget", budget),
        *_given("--tn-pause", pause),
        *_given("--tn-allow-live", allow_live or None),
        *_given("--tn-control-host", control_host),
        *_given("--tn-json", json_file),
        *_given("--tn-html", html),
        *_given("--tn-junit", junit),
        *(["--tn-quick"] if quick else []),
        *(["--tn-strict"] if strict else []),
    ]
    sys.exit(_run_suite(arguments, "tn_contract.suite"))


# ---- judge -------------------------------------------------------------------------------------------------


@main.command(short_help="Judge a client: a program, or journals.")
@click.argument("journals", nargs=-1, metavar="[JOURNAL]...", type=click.Path(exists=True, dir_okay=False))
@click.option("--exec", "command", metavar="CMD", help="Program to try, such as 'node cancel.mjs'.")
@click.option("--agent", metavar="NAME", help="What the program is called in reports (default: CMD).")
@click.option("--tls", metavar="HOST", multiple=True, help="Speak HTTPS in the name of HOST, as `serve --tls` does.")
@click.option("--deadline", metavar="SECONDS", type=_Number(5), help="Time for each process (default: 20).")
@click.option("--jobs", metavar="N", type=click.IntRange(1), help="Cases to run at a time.")
@click.option("--check", "checks", metavar="ID", multiple=True, help="Judge only this check, group or glob.")
@click.option("--exclude", metavar="ID", multiple=True, help="Leave this check, group or glob out.")
@click.option("--strict", is_flag=True, help="Let warnings fail.")
@click.option("--journal", "save", type=_FILE, help="Write what the program did, to be judged again later.")
@click.option("--junit", type=_FILE, help="Write a JUnit report.")
@click.option("--json", "json_file", type=_FILE, help="Write the report as JSON.")
@click.option("--html", type=_FILE, help="Write the report as one HTML page.")
def judge(
    journals: tuple[str, ...],
    command: str | None,
    agent: str | None,
    tls: tuple[str, ...],
    deadline: float | None,
    jobs: int | None,
    checks: tuple[str, ...],
    exclude: tuple[str, ...],
    strict: bool,
    save: str | None,
    junit: str | None,
    json_file: str | None,
    html: str | None,
) -> None:
    """Judge a client: by trying a program against the mock (--exec), or by JOURNALs of what clients did.

    The program finds TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS (one or more, comma-separated) and TN_TIMEOUT
    (seconds to wait for a reply) in its environment, cancels these orders one after the other, and prints one JSON line
    for each: {"outcome": "accepted" | "rejected" | "unknown" | "not-sent"}. CMD is started without a shell; it may name
    $TN_BASE_URL, $TN_API_KEY, $TN_ORDER_IDS, $TN_TIMEOUT, $SSL_CERT_FILE and $HTTPS_PROXY. Several journals are shown
    side by side.
    """
    if not (command or journals):
        raise click.UsageError("name a program with --exec, or a journal: `tn-contract judge --exec 'node cancel.mjs'`")
    if save and not command:
        raise click.UsageError("--journal writes what --exec does: there is no program to try")
    arguments = [
        *_given("--tn-exec", command),
        *_repeated("--tn-journal", journals),
        *_given("--tn-agent", agent),
        *_repeated("--tn-tls", tls),
        *_given("--tn-deadline", deadline),
        *_given("--tn-jobs", jobs),
        *_given("--tn-save-journal", save),
        *_repeated("--tn-check", checks),
        *_repeated("--tn-exclude", exclude),
        *_given("--tn-json", json_file),
        *_given("--tn-html", html),
        *_given("--tn-junit", junit),
        *(["--tn-strict"] if strict else []),
    ]
    sys.exit(_run_suite(arguments, "tn_contract.client_suite"))


# ---- running a suite ---------------------------------------------------------------------------------------


def _given(option: str, value: object | None) -> list[str]:
    return [] if value is None else [f"{option}={value}"]


def _repeated(option: str, values: tuple[object, ...]) -> list[str]:
    return [f"{option}={value}" for value in values]


def _run_suite(arguments: list[str], suite: str) -> int:
    """Run pytest in this process on a suite alone: no project settings, no other plugins, no terminal output."""
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    face = _Face()
    quiet = [
        "--noconftest",
        "-p",
        "no:terminal",
        "-p",
        "no:cacheprovider",
        "-p",
        "tn_contract.pytest_plugin.plugin",
        "-c",
        os.devnull,
    ]
    status = pytest.main(["--pyargs", suite, "--rootdir", os.curdir, *quiet, *arguments], plugins=[face])
    return face.finish(int(status))


class _Heartbeat:
    """Says every few seconds how far a run is, where no bar can be drawn: in CI, in a pipe."""

    def __init__(self, every: float = 10.0) -> None:
        self._every = every
        self._started = time.monotonic()
        self._done = self._total = 0
        self._current = ""
        self._over = threading.Event()

    def start(self, total: int, requests: Callable[[], int]) -> None:
        """Begin to count to `total`; `requests` tells how many were sent so far."""
        self._total, self._started = total, time.monotonic()
        threading.Thread(target=self._run, args=(requests,), daemon=True).start()

    def begins(self, name: str) -> None:
        """Note what is being judged."""
        self._current = name

    def ends(self) -> None:
        """Count one that ended."""
        self._done += 1

    def stop(self) -> None:
        """Say no more."""
        self._over.set()

    def _run(self, requests: Callable[[], int]) -> None:
        while not self._over.wait(self._every):
            _say(self.line(requests()), err=True)

    def line(self, requests: int) -> str:
        """Say how far the run is; the time left is estimated from the checks that ended."""
        told = f"{self._done} of {self._total} checks, {requests} requests: {self._current}"
        if not self._done:
            return told
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"{told}, about {left:.0f} s left"


class _Face:
    """What `verify` and `judge` show while pytest runs, and in the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        bar = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*bar, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("judging")
        self._heartbeat = _Heartbeat()
        self._config: pytest.Config | None = None
        self._broken = ""  # what went wrong in the kit itself

    def pytest_configure(self, config: pytest.Config) -> None:
        from tn_contract.pytest_plugin.plugin import ON_TRIAL

        self._config = config
        config.stash[ON_TRIAL] = self.trying

    def trying(self, total: int) -> Callable[[str], None]:
        """Show a bar for the cases of a trial; return what each ended case calls."""
        self._progress.start()
        task = self._progress.add_task("trying", total=total)

        def done(case: str) -> None:
            self._progress.update(task, description=f"tried {case}", advance=1)

        return done

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        from tn_contract.pytest_plugin.plugin import requests_sent

        self._progress.update(self._task, total=len(session.items))
        self._progress.start()
        if self._progress.disable:
            self._heartbeat.start(len(session.items), lambda: requests_sent(session.config))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        name = nodeid.partition("[")[2].rstrip("]")
        self._progress.update(self._task, description=name)
        self._heartbeat.begins(name)

    def pytest_runtest_logfinish(self) -> None:
        self._progress.advance(self._task)
        self._heartbeat.ends()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        from tn_contract.report.crash import unexpected

        self._progress.stop()
        self._broken = unexpected(excinfo.value)
        return True  # which keeps pytest from printing its traceback

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken = f"the checks cannot be loaded: {report.longreprtext.strip()}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not hasattr(report, "tn_row"):
            self._broken = f"{report.nodeid.partition('[')[2].rstrip(']')}: {report.longreprtext.strip()}"

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._progress.stop()
        _say(f"tn-contract: {getattr(excinfo.value, 'msg', 'interrupted')}", err=True)

    def finish(self, status: int) -> int:
        from tn_contract.pytest_plugin.plugin import report_of
        from tn_contract.report.report import print_text

        self._progress.stop()
        self._heartbeat.stop()
        report = report_of(self._config) if self._config else None
        if report is not None:
            print_text(report)
        if self._broken:
            _say(f"tn-contract: {self._broken}", err=True)
            return status if report and report.exit_code == 1 else 3
        return status


# ---- list and explain --------------------------------------------------------------------------------------


@main.command("list", short_help="List checks, or what the mock can be made to answer.")
@click.option("--clients", is_flag=True, help="List the checks of clients instead of those of servers.")
@click.option("--replies", is_flag=True, help="List magic orders and situations instead of checks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(clients: bool, replies: bool, as_json: bool) -> None:
    """List the checks of servers, of clients, or with --replies what the mock can be made to answer."""
    rows = _reply_rows() if replies else _check_rows(clients)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from tn_contract.report.report import print_rows

    print_rows(rows, elastic="body" if replies else "title")


def _check_rows(clients: bool) -> list[dict[str, Any]]:
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge import client as client_checks
    from tn_contract.judge import server as checks

    clauses = load_corpus().clauses
    catalogue: dict[str, BaseCheck] = {**(client_checks if clients else checks).catalogue()}
    return [
        {
            "id": check.id,
            "title": check.title,
            "level": clauses[check.clause].level,
            "provenance": clauses[check.clause].provenance,
            **({} if clients else {"effect": check.effect}),
        }
        for check in catalogue.values()
    ]


def _reply_rows() -> list[dict[str, Any]]:
    from tn_contract.contract.corpus import Scheme, load_corpus

    corpus = load_corpus()

    def row(cause: str, payload: Payload) -> dict[str, Any]:
        return {
            "order_id": cause,
            "payload": payload.id,
            "http": payload.status,
            "outcome": payload.kind or payload.outcome,
            "provenance": payload.provenance,
            "body": " ".join(payload.body.split()) or "(empty)",
        }

    def spoilt(order: MagicOrder) -> dict[str, Any]:
        outcome = corpus.expected_report(order.order_id)[0]
        return {"http": order.fault, "outcome": outcome, "provenance": "synthetic", "body": order.told}

    magic = [
        {**row(order.order_id, corpus.payloads[order.payload]), **(spoilt(order) if order.fault else {})}
        for order in corpus.magic_orders.values()
    ]
    refusals = [
        row(f"({each.id})" + (" on v3" if scheme == "v3" else ""), corpus.payloads[each.payload_for(scheme)])
        for each in corpus.situations.values()
        for scheme in get_args(Scheme)
        if scheme == "v2" or each.payload_v3
    ]
    return [*magic, *refusals]


@main.command(short_help="Tell what a thing is and where it comes from.")
@click.argument("name", metavar="ID")
def explain(name: str) -> None:
    """Explain a check, clause, payload, situation, mistake, vector or magic order, and where it comes from."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge import client as client_checks
    from tn_contract.judge import server as checks

    corpus = load_corpus()
    catalogue: dict[str, BaseCheck] = {**checks.catalogue(), **client_checks.catalogue()}
    lines: list[str] = []
    magic = corpus.magic_orders.get(name)
    if magic and not magic.fault:
        lines.append(f"{name}: the mock answers a cancel of this order with")
        name = magic.payload
    if magic and magic.fault:
        lines += [f"magic order {name}: the mock spoils its reply", f"fault       {magic.fault}: {magic.told}"]
        lines += [f"outcome     {corpus.expected_report(name)[0]}, as the client must report", "provenance  synthetic"]
    elif name in catalogue:
        lines += _explain_check(catalogue[name])
        lines += ["", *_explain_clause(catalogue[name].clause)]
    elif name in corpus.clauses:
        judged_by = [check.id for check in catalogue.values() if check.clause == name]
        lines += [*_explain_clause(name), f"judged by   {', '.join(judged_by)}"]
    elif name.strip("()") in corpus.situations:
        situation = corpus.situations[name.strip("()")]
        lines += [f"situation {situation.id}: {situation.statement}", f"answered by {situation.payload} by default"]
        lines += [f"            {situation.payload_v3} on v3"] if situation.payload_v3 else []
        lines += [f"            or {', '.join(situation.also)}"] if situation.also else []
        lines += [f"choose      tn-contract serve --reply {situation.id}=PAYLOAD"]
    elif name in corpus.mistakes:
        mistake = corpus.mistakes[name]
        lines += [f"mistake {mistake.id}: {mistake.title}", f"fix         {mistake.fix}"]
        lines += [f"shown by    {', '.join(mistake.vectors) or 'its example in fixtures/mistakes.json'}"]
        lines += [f"provenance  {mistake.provenance}", *_explain_evidence(mistake.evidence)]
    elif name in corpus.payloads:
        payload = corpus.payloads[name]
        outcome = f"{payload.outcome}{f' ({payload.kind})' if payload.kind else ''}"
        lines += [f"payload {payload.id}: {payload.title}", f"outcome     {outcome}"]
        lines += [f"provenance  {payload.provenance}", *_explain_evidence(payload.evidence)]
        lines += [f"HTTP {payload.status} {payload.headers}", payload.body or "(empty body)"]
    else:
        group, vector = next(((g, v) for g, v in corpus.vectors if v.id == name), (None, None))
        if group is None or vector is None:
            raise click.UsageError(
                f"nothing is called {name!r}: see `tn-contract list` and `tn-contract list --replies`"
            )
        lines += [f"vector {vector.id}: {vector.comment} ({group.scheme}, {vector.result})"]
        lines += [f"key {group.credentials.api_key!r}"]
        lines += [f"secret {group.credentials.secret!r}", f"string to sign  {vector.string_to_sign!r}"]
        lines += [f"signature       {vector.signature}", f"body            {vector.body}"]
        lines += [f"provenance      {group.provenance}", *_explain_evidence(group.evidence)]
    _say("\n".join(lines))


def _explain_check(check: BaseCheck) -> list[str]:
    from tn_contract.judge.client import ClientCheck
    from tn_contract.judge.server import Check

    lines = [f"check {check.id}: {check.title}", f"does        {check.does}"]
    if isinstance(check, Check):
        lines.append(f"effect      {check.effect}")
        lines += [f"requires    {', '.join(check.requires)}"] if check.requires else []
        lines.append(f"repeat      tn-contract verify [URL] --check {check.id}")
    if isinstance(check, ClientCheck):
        lines.append(f"cases       {', '.join(check.cases) if len(check.cases) < 12 else f'{len(check.cases)} cases'}")
        lines.append(f"repeat      tn-contract judge --exec CMD --check {check.id}")
    return lines


def _explain_clause(clause_id: str) -> list[str]:
    from tn_contract.contract.corpus import load_corpus

    clause = load_corpus().clauses[clause_id]
    return [
        f"clause {clause.id}: {clause.statement}",
        f"level       {clause.level}",
        f"scheme      {'v2 and v3' if clause.scheme == 'any' else clause.scheme}",
        f"provenance  {clause.provenance}",
        *_explain_evidence(clause.evidence),
        *([f"open        {clause.open_question}"] if clause.open_question else []),
    ]


def _explain_evidence(evidence: list[Evidence]) -> list[str]:
    from tn_contract.contract.corpus import load_corpus

    lines = []
    for each in evidence:
        source = load_corpus().sources[each.source]
        told = " · ".join(part for part in (each.locator, each.quote and f"“{each.quote}”", each.note) if part)
        lines += [f"  {source.provenance}: {source.title}, {source.publisher}", f"    {told}"]
        if source.provenance != "synthetic":
            lines.append(f"    {source.url}")
    return lines


# ---- replay --------------------------------------------------------------------------------------------------


@main.command(short_help="Send a journal's requests again, and compare the replies.")
@click.argument("journal", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each request.")
@click.option("--pauses/--no-pauses", default=True, help="Wait between requests as recorded?  [default: pauses]")
def replay(journal: Path, url: str, as_json: bool, pauses: bool) -> None:
    """Send the requests of a JOURNAL again, in order, to a mock at URL, and compare the replies.

    A mock that begins as the recorded one did (same keys, --seed and --scenario) answers the same. URL must be on this
    machine, for a recorded cancel is a cancel. Exit code 0 when all replies are the same, 1 when one differs, 5 when
    nothing could be sent.
    """
    import msgspec

    from tn_contract.client.transport import TransportFailure
    from tn_contract.contract.text import escape
    from tn_contract.trial.playback import play_back, read_journal

    counts = {"same": 0, "differs": 0, "not sent": 0}
    try:
        recorded = read_journal(journal.read_bytes(), str(journal))
        for number in recorded.halves:
            _say(f"{journal}, line {number} breaks off, and is left out", err=True)
        for played in play_back(recorded.exchanges, url, pauses=pauses):
            counts[played.verdict] += 1
            if as_json:
                click.echo(json.dumps(msgspec.to_builtins(played)))
            elif played.verdict != "same":
                _say(f"{played.seq:5} {escape(played.line)}")
                _say(f"      recorded  {escape(played.recorded)}\n      now       {escape(played.now)}")
                if played.hint:
                    _say(f"      hint      {played.hint}")
    except TransportFailure as failure:
        untrusted = "let SSL_CERT_FILE name the file of `serve --ca-file`"
        advice = untrusted if "CERTIFICATE_VERIFY_FAILED" in str(failure) else "start the mock first"
        _fail(f"{url} cannot be reached ({failure}): {advice}", 3)
    click.echo(" · ".join(f"{count} {verdict}" for verdict, count in counts.items()), err=as_json)
    sys.exit(1 if counts["differs"] else 0 if counts["same"] else 5)


# ---- explain-request -----------------------------------------------------------------------------------------


@main.command("explain-request", short_help="Name what a client did wrong in a saved request.")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_request(file: Any, as_json: bool) -> None:
    """Judge saved requests: are they right, and if not, what did the client do wrong?

    FILE (- for standard input) is raw HTTP, an .http file, a "copy as cURL" command, a HAR file (only requests to the
    API are judged) or a journal of the mock. The secret comes from TN_API_SECRET, the key from TN_API_KEY, else from
    the request. Exit code 0 when every request is right, 1 when one would be refused, 4 when a recording leaves open
    what was sent.
    """
    from tn_contract.contract.signing import Credentials, Secret
    from tn_contract.diagnosis.explain import Explainer
    from tn_contract.record.requestfile import read_recording

    secret, key = os.environ.get("TN_API_SECRET"), os.environ.get("TN_API_KEY")
    if not secret:
        raise click.UsageError("set TN_API_SECRET: the secret is never an option, for process lists show those")
    pair = Credentials(key, Secret(secret)) if key else None
    recording = read_recording(file.read())
    explained = Explainer(Secret(secret), pair, at_ns=time.time_ns()).explain(recording)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(explained), indent=2))
    else:
        named = len(explained) + recording.left_out > 1
        for number, each in enumerate(explained):
            lines, compared = _explanation_lines(each, named=named)
            click.echo("\n" * bool(number) + "\n".join([*_on_a_terminal(lines), *compared]))
    if recording.left_out:
        click.echo(f"{recording.left_out} requests to other addresses were left out", err=as_json)
    refused = any(each.judged and not each.right for each in explained)
    sys.exit(1 if refused else 0 if all(each.judged for each in explained) else 4)


def _explanation_lines(explained: Explanation, *, named: bool) -> tuple[list[str], list[str]]:
    """The lines to read, and those to compare, one above the other."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.contract.text import escape
    from tn_contract.contract.validation import UNANSWERED
    from tn_contract.record.journal import comparison

    situation = explained.situation
    statement = UNANSWERED.get(situation) or load_corpus().situations[situation].statement
    verdict = click.style("right", fg="green") if explained.right else click.style("refused", fg="red")
    if not explained.judged:
        verdict = click.style("not judged", fg="yellow")
    lines = [f"{explained.name}: {explained.line}" if named else explained.line]
    lines += [f"recording {note}" for note in explained.recording]
    lines.append(f"verdict   {verdict} ({situation}): {statement}")
    if explained.reason:
        lines.append(f"reason    {explained.reason}")
    diagnosis = explained.diagnosis
    if diagnosis is None:
        return lines, []
    if diagnosis.mistakes:
        lines += [
            f"mistake   {', '.join(diagnosis.mistakes)}",
            f"          {diagnosis.told}",
            f"fix       {diagnosis.fix}",
        ]
    else:
        lines.append("mistake   none that is known gives this")
    if diagnosis.hint:
        lines.append(f"hint      {diagnosis.hint}")
    if diagnosis.expected and not diagnosis.signed and not diagnosis.mistakes:
        lines.append(f"wanted    '{escape(diagnosis.expected)}'")
    if compared := comparison(diagnosis):
        signed, expected, mark = compared
        at = mark.index("^")
        coloured = ((signed, "red"), (expected, "green"))
        marked = [text[:at] + click.style(text[at:], fg=colour) for text, colour in coloured]
        return lines, [*marked, mark]
    return lines, []


# ---- sign --------------------------------------------------------------------------------------------------


@main.command(short_help="Show every stage of a signature.")
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--scheme", type=click.Choice(("v2", "v3")), default="v2", show_default=True, help="Form or JSON.")
@click.option("--command", "cmd", default="delTradeOrder", show_default=True, help="The command.")
@click.option("--key", envvar="TN_API_KEY", help="The public key (default: TN_API_KEY).")
@click.option("--nonce", help="v2: the field nonce (default: a fresh one of the documented unit).")
@click.option("--timestamp", help="v3: X-NtApi-Timestamp (default: the time in Unix seconds).")
@click.option("--param", metavar="NAME=VALUE", multiple=True, help="One of params, such as order_id=2929292929.")
@click.option(
    "--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Server for the curl command."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sign(
    file: Any,
    scheme: str,
    cmd: str,
    key: str | None,
    nonce: str | None,
    timestamp: str | None,
    param: tuple[str, ...],
    url: str,
    as_json: bool,
) -> None:
    """Show every stage of a signature, for people who write a client in another language.

    The secret comes from TN_API_SECRET only. With v2, FILE (- for standard input) holds the form's fields as a JSON
    object instead of the options, nested maps included; numbers in it are signed as their digits. With v3, FILE is
    the body, byte for byte; a --param of digits alone becomes a JSON number.
    """
    from tn_contract.contract.signing import Secret

    if not os.environ.get("TN_API_SECRET"):
        raise click.UsageError("set TN_API_SECRET: the secret is never an option, for process lists show those")
    if (nonce if scheme == "v3" else timestamp) is not None:
        raise click.UsageError("v2 signs a --nonce, v3 a --timestamp: choose the one of your --scheme")
    if not key and not (file and scheme == "v2"):
        raise click.UsageError("name the key with --key or TN_API_KEY (the mock's demo key is tn-demo-key)")
    secret, params = Secret(os.environ["TN_API_SECRET"]), dict(_pair(text, "--param") for text in param)
    if scheme == "v3":
        signed = _sign_v3(file, str(key), secret, cmd, timestamp, params)
    else:
        signed = _sign_v2(file, str(key), secret, cmd, nonce, params)
    _show_stages(signed, url, as_json)


def _sign_v2(file: Any, key: str, secret: Secret, cmd: str, nonce: str | None, params: dict[str, str]) -> SignedRequest:
    from tn_contract.contract.nonce import NonceSource
    from tn_contract.contract.signing import sign as compute
    from tn_contract.contract.wire import SignedRequest, dress

    fields: dict[str, Any] = (
        _fields_from(file) if file else {"apiKey": key, "cmd": cmd, "nonce": nonce or str(NonceSource().next())}
    )
    if params and not file:
        fields["params"] = params
    computed = compute(fields, secret)
    request = dress(str(fields.get("cmd", cmd)), fields, computed.signature)
    return SignedRequest(fields, computed.string_to_sign, computed.signature, request)


def _sign_v3(
    file: Any, key: str, secret: Secret, cmd: str, timestamp: str | None, params: dict[str, str]
) -> SignedRequest:
    from tn_contract.contract.signing import Credentials
    from tn_contract.contract.wire import encode_json, sign_body

    typed = {name: int(value) if value.isascii() and value.isdigit() else value for name, value in params.items()}
    body = file.read() if file else encode_json(typed)
    return sign_body(Credentials(key, secret), cmd, timestamp or int(time.time()), body)


def _show_stages(signed: SignedRequest, url: str, as_json: bool) -> None:
    import shlex

    from tn_contract.contract.signing import legible
    from tn_contract.contract.text import escape
    from tn_contract.contract.wire import FORM_TYPE, SIGNATURE_HEADER

    request = signed.request
    body = request.body.decode("utf-8", "backslashreplace")
    # curl declares a form by itself.
    headers = [f"{name}: {value}" for name, value in request.headers if value != FORM_TYPE]
    curl = ["curl", url + request.path, *(part for header in headers for part in ("-H", header)), "--data-raw", body]
    stages = {
        "string_to_sign": legible(signed.string_to_sign),
        "signature": signed.signature,
        "method": request.method,
        "path": request.path,
        "headers": dict(request.headers),
        "body": body,
        "curl": shlex.join(curl),
    }
    if as_json:
        click.echo(json.dumps(stages, indent=2))
        return
    others = [header for header in headers if not header.startswith(f"{SIGNATURE_HEADER}:")]
    lines = [
        f"1 string to sign   {stages['string_to_sign']}",
        f"2 signature        {signed.signature}   (lower-case hex HMAC-SHA256 of 1 under the secret)",
        f"3 header           {SIGNATURE_HEADER}: {signed.signature}",
        *(f"                   {header}" for header in others),
        f"4 body             {body}",
        f"5 request          POST {request.path}",
        f"6 try it           {stages['curl']}",
    ]
    for line in lines:
        _say(escape(line), wrap=False)  # to be copied


def _fields_from(file: Any) -> dict[str, Any]:
    from tn_contract.contract.text import utf8
    from tn_contract.contract.wire import read_body

    reading = read_body(utf8(file.read()))
    if reading.form != "object":
        raise click.UsageError(f'{file.name} holds no JSON object: write {{"apiKey": …, "cmd": …, "nonce": …}}')
    return reading.members


# ---- lint --------------------------------------------------------------------------------------------------


@main.command("lint", short_help="Check the corpus.")
def lint_() -> None:
    """Check the corpus: schemas, ids, digests, sources, and that clauses and checks belong together."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge.server import catalogue
    from tn_contract.lint import lint

    started = time.perf_counter()
    corpus = load_corpus()
    problems = lint(corpus)
    for problem in problems:
        _say(problem)
    if problems:
        _fail(f"{len(problems)} problems in the corpus", 1)
    from tn_contract.judge import client as client_checks

    provenance: dict[str, int] = {}
    for payload in corpus.payloads.values():
        provenance[payload.provenance] = provenance.get(payload.provenance, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in provenance.items())
    click.echo(
        f"corpus {corpus.manifest.version}: {len(corpus.clauses)} clauses, {len(catalogue())} checks of servers, "
        f"{len(client_checks.catalogue())} of clients, "
        f"{len(corpus.payloads)} payloads ({told}), {len(corpus.vectors)} vectors, "
        f"{len(corpus.nonces.sequences)} nonce sequences, no problem found in {time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
