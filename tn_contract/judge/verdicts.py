"""Verdicts: what the judging of one clause can end with, and how grave a broken clause is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tn_contract.contract.corpus import Clause
from tn_contract.record.journal import Exchange

Verdict = Literal["pass", "info", "warn", "fail", "blocked", "skipped", "error"]
Effect = Literal["none", "attempt", "cancel"]


class Blocked(Exception):
    """A control did not hold, so the check says nothing."""


class NotApplicable(Exception):
    """The check cannot or must not run here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: a verdict, what it expected and what it saw."""

    verdict: Verdict
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class BaseCheck:
    """What checks of servers and of clients have in common: code that judges one clause.

    `effect` is the worst that it may do to an account.
    """

    id: str
    title: str
    clause: str
    run: Callable[[Any], Finding]
    effect: Effect = "none"

    @property
    def group(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def does(self) -> str:
        """What the check does, in the words of its docstring."""
        return " ".join((self.run.__doc__ or "").split())


@dataclass(frozen=True, slots=True)
class Result:
    """A finding with its check, the evidence and how long it took (seconds)."""

    check: BaseCheck
    finding: Finding
    exchanges: Sequence[Exchange]
    elapsed: float

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.finding.verdict


def passed(expected: str, actual: str) -> Finding:
    """The clause held."""
    return Finding("pass", expected, actual)


def failed(expected: str, actual: str) -> Finding:
    """The clause did not hold."""
    return Finding("fail", expected, actual)


def noticed(actual: str) -> Finding:
    """An observed clause: the value, no judgement."""
    return Finding("info", "nothing public settles this", actual)


def weigh(finding: Finding, clause: Clause) -> Finding:
    """Turn a broken clause into the verdict that its level deserves."""
    if finding.verdict != "fail" or clause.level == "must":
        return finding
    return replace(finding, verdict="warn" if clause.level == "should" else "info")
