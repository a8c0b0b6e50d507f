"""Verdicts and their evidence → text, JSON, HTML. The three show the same rows."""

from __future__ import annotations

import shlex
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tn_contract import __version__
from tn_contract.corpus import load_corpus
from tn_contract.journal import Exchange
from tn_contract.verdicts import Result, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tn_contract.checks.target import Target

# From harmless to grave; a report as a whole is as grave as its gravest row.
ORDER: tuple[Verdict, ...] = ("skipped", "info", "pass", "warn", "blocked", "fail", "error")
MARKS = {"pass": "✔", "info": "·", "warn": "!", "fail": "✘", "blocked": "◌", "skipped": "-", "error": "✘"}
COLOURS = {
    "pass": "green", "info": "cyan", "warn": "yellow", "fail": "bold red", "blocked": "magenta",
    "skipped": "dim", "error": "bold red",
}  # fmt: skip

EXIT_OK, EXIT_BROKEN, EXIT_ERROR, EXIT_USAGE, EXIT_NOTHING = 0, 1, 3, 4, 5


class TargetFacts(Struct, frozen=True):
    """What was judged, and what was allowed."""

    base_url: str
    target_class: str
    disposable: bool
    effects: str
    requests: int = 0


class Row(Struct, frozen=True):
    """One check with its verdict and evidence; `elapsed` in seconds."""

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
    exchanges: tuple[Exchange, ...]


class Report(Struct, frozen=True):
    """A whole run."""

    kit: str
    corpus: str
    started: str
    elapsed: float
    target: TargetFacts
    exit_code: int
    unjudged: int
    counts: dict[str, int]
    checks: list[Row]


def facts_of(target: Target) -> TargetFacts:
    """Describe a target."""
    return TargetFacts(target.base_url, target.target_class, target.disposable, target.effects, target.requests)


def row_of(result: Result, target: TargetFacts, embedded: bool) -> Row:
    """Put a result into words that stand alone."""
    check, finding = result.check, result.finding
    clause = load_corpus().clauses[check.clause]
    url = "" if embedded else f" {shlex.quote(target.base_url)}"
    return Row(
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
        f"tn-contract verify{url} --check {check.id}",
        result.exchanges,
    )


def exit_code(rows: list[Row], *, strict: bool) -> int:
    """Map verdicts to the exit code (pytest's own numbers)."""
    seen = {row.verdict for row in rows}
    if "fail" in seen or (strict and "warn" in seen):
        return EXIT_BROKEN  # first, for a broken clause often blocks or upsets the checks around it
    if seen & {"error", "blocked"}:
        return EXIT_ERROR
    return EXIT_OK if seen - {"skipped"} else EXIT_NOTHING


def build(
    rows: list[Row], target: TargetFacts, *, started: str, elapsed: float, code: int, unjudged: int = 0
) -> Report:
    """Gather the rows of a run; `unjudged` checks were chosen but not reached."""
    counts = Counter(row.verdict for row in rows)
    return Report(
        __version__,
        load_corpus().manifest.version,
        started,
        round(elapsed, 3),
        target,
        code,
        unjudged,
        {verdict: counts[verdict] for verdict in reversed(ORDER) if counts[verdict]},
        rows,
    )


def summary(report: Report) -> str:
    """One line of counts."""
    counts = " · ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    broken_off = f"INTERRUPTED, {report.unjudged} not judged · " if report.unjudged else ""
    return f"{broken_off}{counts or 'nothing judged'} · {report.target.requests} requests in {report.elapsed:.1f} s"


def _mark(verdict: str) -> Text:
    from rich.text import Text

    return Text(f"{MARKS[verdict]} {verdict}", style=COLOURS[verdict])


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a log has no edge to wrap at
    return console


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print equal dicts as a table, their keys as its heads."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    *short, last = rows[0]
    for name in short:
        widest = max(len(str(text)) for text in (name, *(row[name] for row in rows)))
        table.add_column(name.replace("_", " "), width=widest, no_wrap=True)
    table.add_column(last.replace("_", " "), no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    _console().print(table)


def print_text(report: Report) -> None:
    """Print the table of verdicts, then what needs attention, then the counts."""
    from rich.table import Table
    from rich.text import Text

    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    wide = console.width >= 130
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("the target …", no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("level", no_wrap=True)
        table.add_column("provenance", no_wrap=True)
    for row in report.checks:
        cells = [_mark(row.verdict), *map(Text, (row.id, row.title, row.level, row.provenance))]
        table.add_row(*(cells if wide else cells[:3]))
    console.print(table)
    told = [row for row in report.checks if row.verdict in ("info", "skipped")]
    if told:
        console.print()
    for row in told:
        console.print(_mark(row.verdict), Text(f"{row.id}: {row.actual}"), soft_wrap=True)
    for row in report.checks:
        if row.verdict in ("fail", "error", "warn", "blocked"):
            _print_detail(row, console)
    console.print()
    console.print(Text(f"{report.target.base_url}: {summary(report)}", style="bold"))


def _print_detail(row: Row, console: Console) -> None:
    from rich.text import Text

    console.print()
    console.print(_mark(row.verdict), Text(f" {row.id}", style="bold"))
    lines = [
        ("clause", f"{row.clause} ({row.level}, {row.provenance}): {row.statement}"),
        ("expected", row.expected),
        ("actual", row.actual),
        ("repeat", row.repeat),
    ]
    for name, value in lines:
        console.print(Text(f"  {name:9}", style="dim") + Text(value), soft_wrap=True)


def to_json(report: Report) -> bytes:
    """Write the report as JSON, two-space indent."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def to_html(report: Report) -> str:
    """Write the report as one HTML page without remote parts."""
    from jinja2 import Environment

    template = resources.files("tn_contract").joinpath("templates/report.html").read_text("utf-8")
    page: Any = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    rendered: str = page.render(report=report, marks=MARKS, summary=summary(report))
    return rendered
