"""Verdicts and their evidence → text, JSON, HTML. The three show the same rows."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from tn_contract import __version__
from tn_contract.corpus import load_corpus
from tn_contract.journal import Exchange, comparison
from tn_contract.verdicts import Result, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tn_contract.checks.target import Target

# From harmless to grave; a report as a whole is as grave as its gravest row.
ORDER: tuple[Verdict, ...] = ("skipped", "info", "pass", "warn", "blocked", "fail", "error")
MARKS = {"pass": "✔", "info": "·", "warn": "!", "fail": "✘", "blocked": "◌", "skipped": "-", "error": "✘"}
COLOURS = {
    "pass": "green", "info": "cyan", "warn": "yellow", "fail": "bold red", "blocked": "magenta",
    "skipped": "dim", "error": "bold red",
}  # fmt: skip

BLOCKED_SHOWN = 3

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
    exchanges: tuple[Exchange, ...]


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
    if seen & {"error", "blocked"}:
        return EXIT_ERROR
    return EXIT_OK if seen - {"skipped"} else EXIT_NOTHING


def build(rows: list[Row], subject: Subject, *, started: str, elapsed: float, code: int, unjudged: int = 0) -> Report:
    """Gather the rows of a run; `unjudged` checks were chosen but not reached."""
    counts = Counter(row.verdict for row in rows)
    return Report(
        __version__,
        load_corpus().manifest.version,
        started,
        round(elapsed, 3),
        subject,
        code,
        unjudged,
        {verdict: counts[verdict] for verdict in reversed(ORDER) if counts[verdict]},
        rows,
    )


def summary(report: Report) -> str:
    """One line of counts."""
    counts = " · ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    broken_off = f"INTERRUPTED, {report.unjudged} not judged · " if report.unjudged else ""
    return f"{broken_off}{counts or 'nothing judged'} · {report.subject.requests} requests in {report.elapsed:.1f} s"


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
    from rich.text import Text

    console = _console()
    several = len(report.names) > 1
    console.print(_matrix(report) if several else _table(report, wide=console.width >= 130))
    told = [row for row in report.checks if row.verdict in ("info", "skipped")]
    if told:
        console.print()
    for row in told:
        console.print(_mark(row.verdict), Text(f"{_whose(row, several)}{row.id}: {row.actual}"), soft_wrap=True)
    for row in report.checks:
        if row.verdict in ("fail", "error", "warn"):
            _print_detail(row, console, _whose(row, several))
    _print_blocked([row for row in report.checks if row.verdict == "blocked"], console, several)
    console.print()
    console.print(Text(f"{report.subject.name}: {summary(report)}", style="bold"))


def _print_blocked(rows: list[Row], console: Console, several: bool) -> None:
    """Few in full; of many only what they wait for, for that is to be mended first."""
    from rich.text import Text

    if len(rows) <= BLOCKED_SHOWN:
        for row in rows:
            _print_detail(row, console, _whose(row, several))
    else:
        told = f"{len(rows)} checks, for what they wait for did not come; the first: "
        console.print()
        console.print(_mark("blocked"), Text(f" {told}{_whose(rows[0], several)}{rows[0].id}: {rows[0].actual}"))


def _whose(row: Row, several: bool) -> str:
    return f"{row.subject}: " if several else ""


def _table(report: Report, *, wide: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("the client …" if report.subject.kind == "client" else "the target …", no_wrap=True,
                     overflow="ellipsis")  # fmt: skip
    if wide:
        table.add_column("level", no_wrap=True)
        table.add_column("provenance", no_wrap=True)
    for row in report.checks:
        cells = [_mark(row.verdict), *map(Text, (row.id, row.title, row.level, row.provenance))]
        table.add_row(*(cells if wide else cells[:3]))
    return table


def _matrix(report: Report) -> Table:
    """One row for each check, one column for each subject."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    for name in report.names:
        table.add_column(name, no_wrap=True, max_width=24, overflow="ellipsis")
    verdicts = {(row.id, row.subject): row.verdict for row in report.checks}
    for check_id in dict.fromkeys(row.id for row in report.checks):
        found = (verdicts.get((check_id, name)) for name in report.names)
        table.add_row(Text(check_id), *(_mark(verdict) if verdict else Text("") for verdict in found))
    return table


def _print_detail(row: Row, console: Console, whose: str) -> None:
    from rich.text import Text

    console.print()
    console.print(_mark(row.verdict), Text(f" {whose}{row.id}", style="bold"))
    lines = [
        ("clause", f"{row.clause} ({row.level}, {row.provenance}): {row.statement}"),
        ("expected", row.expected),
        ("actual", row.actual),
        ("repeat", row.repeat),
    ]
    for name, value in lines:
        console.print(Text(f"  {name:9}", style="dim") + Text(value), soft_wrap=True)
    diagnoses = (each.diagnosis for each in row.exchanges if each.diagnosis)
    told = next((diagnosis for diagnosis in diagnoses if diagnosis.told in row.actual), None)
    for line in comparison(told) if told else ():
        console.print(Text(f"  {line}"), soft_wrap=True)


def to_json(report: Report) -> bytes:
    """Write the report as JSON, two-space indent."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def to_html(report: Report) -> str:
    """Write the report as one HTML page without remote parts."""
    from jinja2 import Environment

    template = resources.files("tn_contract").joinpath("templates/report.html").read_text("utf-8")
    page: Any = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    rendered: str = page.render(
        report=report,
        marks=MARKS,
        comparison=comparison,
        summary=summary(report),
        several=len(report.names) > 1,
        ids=list(dict.fromkeys(row.id for row in report.checks)),
        verdicts={(row.id, row.subject): row.verdict for row in report.checks},
        counts={name: Counter(row.verdict for row in report.of(name)) for name in report.names},
        blocked_shown=BLOCKED_SHOWN,
    )
    return rendered
