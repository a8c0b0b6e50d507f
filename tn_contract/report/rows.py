"""Verdicts as rows that stand alone: what every form of a report shows, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from tn_contract import __version__
from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.verdicts import Result, Verdict
from tn_contract.record.journal import Exchange

if TYPE_CHECKING:
    from tn_contract.judge.server.target import Target


# From harmless to grave; a report as a whole is as grave as its gravest row.
ORDER: tuple[Verdict, ...] = ("skipped", "info", "pass", "warn", "blocked", "fail", "error")


EXIT_OK, EXIT_BROKEN, EXIT_ERROR, EXIT_USAGE, EXIT_NOTHING = 0, 1, 3, 4, 5


class Subject(Struct, frozen=True):
    """Who was judged: a server by its address, or clients by their names; and what was allowed."""

    name: str
    kind: Literal["loopback", "sandbox", "live", "client"]
    effects: str = "none"
    disposable: bool = True
    requests: int = 0


class Row(Struct, frozen=True):
    """One check of one `subject` with its verdict and evidence; `elapsed` in seconds."""

    subject: str
    id: str
    title: str
    verdict: Verdict
    clause: str
    statement: str
    level: str
    provenance: str
    effect: str
    expected: str
    actual: str
    elapsed: float
    repeat: str
    exchanges: Sequence[Exchange]


class Report(Struct, frozen=True):
    """A whole run."""

    kit: str
    corpus: str
    started: str
    elapsed: float
    subject: Subject
    exit_code: int
    unjudged: int
    counts: dict[str, int]
    checks: list[Row]

    @property
    def names(self) -> list[str]:
        """The subjects' names: several when journals of several clients were judged."""
        return list(dict.fromkeys(row.subject for row in self.checks))

    def of(self, name: str) -> list[Row]:
        """The rows of one subject."""
        return [row for row in self.checks if row.subject == name]


def target_subject(target: Target) -> Subject:
    """Describe a target."""
    return Subject(target.base_url, target.target_class, target.effects, target.disposable, target.requests)


def row_of(result: Result, subject: str, command: str) -> Row:
    """Put a result into words that stand alone; `command` judges the same subject again."""
    check, finding = result.check, result.finding
    clause = load_corpus().clauses[check.clause]
    return Row(
        subject,
        check.id,
        check.title,
        finding.verdict,
        clause.id,
        clause.statement,
        clause.level,
        clause.provenance,
        check.effect,
        finding.expected,
        finding.actual,
        round(result.elapsed, 4),
        f"{command} --check {check.id}",
        result.exchanges,
    )


def exit_code(rows: list[Row], *, strict: bool) -> int:
    """Map verdicts to the exit code (pytest's own numbers)."""
    seen = {row.verdict for row in rows}
    if "fail" in seen or (strict and "warn" in seen):
        return EXIT_BROKEN  # first, for a broken clause often blocks or upsets the checks around it
    # Blocked by a request that the mock refused for what the client did wrong.
    if any(row.verdict == "blocked" and row.exchanges and _judges_a_client(row) for row in rows):
        return EXIT_BROKEN
    if seen & {"error", "blocked"}:
        return EXIT_ERROR
    return EXIT_OK if seen - {"skipped"} else EXIT_NOTHING


def _judges_a_client(row: Row) -> bool:
    clause = load_corpus().clauses.get(row.clause)
    return clause is not None and clause.side == "client"


def build(rows: list[Row], subject: Subject, *, started: str, elapsed: float, code: int, unjudged: int = 0) -> Report:
    """Gather the rows of a run; `unjudged` checks were chosen but not reached."""
    return Report(
        __version__,
        load_corpus().manifest.version,
        started,
        round(elapsed, 3),
        subject,
        code,
        unjudged,
        counts_of(rows),
        rows,
    )


def counts_of(rows: list[Row]) -> dict[str, int]:
    """Count the verdicts, the gravest first."""
    counts = Counter(row.verdict for row in rows)
    return {verdict: counts[verdict] for verdict in reversed(ORDER) if counts[verdict]}


def summary(report: Report) -> str:
    """One line of counts."""
    counts = " · ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    broken_off = f"INTERRUPTED, {report.unjudged} not judged · " if report.unjudged else ""
    return f"{broken_off}{counts or 'nothing judged'} · {report.subject.requests} requests in {report.elapsed:.1f} s"


def to_json(report: Report) -> bytes:
    """Write the report as JSON, two-space indent."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=list), indent=2) + b"\n"
