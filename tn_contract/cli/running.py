"""Runs a suite of checks by pytest in this process, and shows how far it is."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from tn_contract.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def given(option: str, value: object | None) -> list[str]:
    """Write an option for pytest, if it was given."""
    return [] if value is None else [f"{option}={value}"]


def repeated(option: str, values: tuple[object, ...]) -> list[str]:
    """Write an option once for each value."""
    return [f"{option}={value}" for value in values]


def run_suite(arguments: list[str], suite: str) -> int:
    """Run pytest in this process on a suite alone: no project settings, no other plugins, no terminal output."""
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    face = Progress()
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


class Heartbeat:
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
            say(self.line(requests()), err=True)

    def line(self, requests: int) -> str:
        """Say how far the run is; the time left is estimated from the checks that ended."""
        told = f"{self._done} of {self._total} checks, {requests} requests: {self._current}"
        if not self._done:
            return told
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"{told}, about {left:.0f} s left"


class Progress:
    """What `verify` and `judge` show while pytest runs, and in the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        bar = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*bar, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("judging")
        self._heartbeat = Heartbeat()
        self._config: pytest.Config | None = None
        self._broken = ""  # what went wrong in the kit itself

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the plugin show the cases of a trial."""
        from tn_contract.pytest_plugin.judging import ON_TRIAL

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
        """Begin to show how far the run is."""
        from tn_contract.pytest_plugin.judging import requests_sent

        self._progress.update(self._task, total=len(session.items))
        self._progress.start()
        if self._progress.disable:
            self._heartbeat.start(len(session.items), lambda: requests_sent(session.config))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show which check runs."""
        name = nodeid.partition("[")[2].rstrip("]")
        self._progress.update(self._task, description=name)
        self._heartbeat.begins(name)

    def pytest_runtest_logfinish(self) -> None:
        """Count a check."""
        self._progress.advance(self._task)
        self._heartbeat.ends()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """Remember what broke pytest, in one sentence."""
        from tn_contract.report.crash import unexpected

        self._progress.stop()
        self._broken = unexpected(excinfo.value)
        return True  # which keeps pytest from printing its traceback

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why checks could not be loaded."""
        if report.failed:
            self._broken = f"the checks cannot be loaded: {report.longreprtext.strip()}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember an error of the kit itself."""
        if report.failed and not hasattr(report, "tn_row"):
            self._broken = f"{report.nodeid.partition('[')[2].rstrip(']')}: {report.longreprtext.strip()}"

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Say what interrupted the run."""
        self._progress.stop()
        say(f"tn-contract: {getattr(excinfo.value, 'msg', 'interrupted')}", err=True)

    def finish(self, status: int) -> int:
        """Print the report, and return the exit code."""
        from tn_contract.pytest_plugin.judging import report_of
        from tn_contract.report.text import print_text

        self._progress.stop()
        self._heartbeat.stop()
        report = report_of(self._config) if self._config else None
        if report is not None:
            print_text(report)
        if self._broken:
            say(f"tn-contract: {self._broken}", err=True)
            return status if report and report.exit_code == 1 else 3
        return status
