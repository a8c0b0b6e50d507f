"""The options of the suites, and which checks they choose."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from tn_contract.judge.verdicts import BaseCheck


AnyCheck = TypeVar("AnyCheck", bound="BaseCheck")


OPTIONS = "tn-contract", "contract tests of delTradeOrder"


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


def refuse_idle_patterns(config: pytest.Config, checks: Mapping[str, BaseCheck]) -> None:
    """Raise `UsageError` for a pattern that matches no check."""
    from tn_contract.contract.errors import UsageError

    for pattern in (*config.getoption("tn_check"), *config.getoption("tn_exclude")):
        if not any(_matches(check, pattern) for check in checks.values()):
            raise UsageError(f"no check matches {pattern!r}: `tn-contract list` shows them all")


def refuse_lost_reports(config: pytest.Config) -> None:
    """Raise `UsageError` for a report that could not be written at the end."""
    from tn_contract.contract.errors import UsageError

    for option in ("tn_json", "tn_html", "tn_junit", "tn_save_journal"):
        path = config.getoption(option)
        if path and (not Path(path).parent.is_dir() or Path(path).is_dir()):
            raise UsageError(f"cannot write {path}: name a file in a folder that exists")


def _matches(check: BaseCheck, pattern: str) -> bool:
    return check.group == pattern or fnmatch.fnmatchcase(check.id, pattern)
