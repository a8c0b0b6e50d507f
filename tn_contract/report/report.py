"""Verdicts and their evidence → text, JSON, HTML, JUnit. All show the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from tn_contract import __version__
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.text import escape
from tn_contract.judge.verdicts import Result, Verdict
from tn_contract.record.journal import Exchange, comparison

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tn_contract.judge.server.target import Target

# From harmless to grave; a report as a whole is as grave as its gravest row.
ORDER: tuple[Verdict, ...] = ("skipped", "info", "pass", "warn", "blocked", "fail", "error")
MARKS = {"pass": "✔", "info": "·", "warn": "!", "fail": "✘", "blocked": "◌", "skipped": "-", "error": "✘"}
COLOURS = {
    "pass": "green", "info": "cyan", "warn": "yellow", "fail": "bold red", "blocked": "magenta",
    "skipped": "dim", "error": "bold red",
}  # fmt: skip

BLOCKED_SHOWN = 3
NAMED = 3

VERDICT_WIDTH = 9
LOG_WIDTH = 10_000
GAP = 2  # rich's, between columns
ELASTIC_LEAST = 24  # a title that is shorter says nothing

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
        _counts(rows),
        rows,
    )


def _counts(rows: list[Row]) -> dict[str, int]:
    counts = Counter(row.verdict for row in rows)
    return {verdict: counts[verdict] for verdict in reversed(ORDER) if counts[verdict]}


def summary(report: Report) -> str:
    """One line of counts."""
    counts = " · ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    broken_off = f"INTERRUPTED, {report.unjudged} not judged · " if report.unjudged else ""
    return f"{broken_off}{counts or 'nothing judged'} · {report.subject.requests} requests in {report.elapsed:.1f} s"


def _mark(verdict: str) -> Text:
    from rich.text import Text

    return Text(f"{MARKS[verdict]} {verdict}", style=COLOURS[verdict])


def _text(text: str, style: str = "") -> Text:
    """Text for the terminal: what came from outside can neither control it nor break its lines."""
    from rich.text import Text

    return Text(escape(text), style=style)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH  # a log has no edge: one row, one line
    return console


def print_rows(rows: list[dict[str, Any]], *, elastic: str) -> None:
    """Print equal dicts as a table, their keys as its heads; on a narrow terminal the column `elastic` gives way."""
    console = _console()
    _print_table(_fitted(rows, elastic, console), console)


def _print_table(table: Table, console: Console) -> None:
    """Print a table; a log has no use for the spaces that fill its last column."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def _fitted(rows: list[dict[str, Any]], elastic: str, console: Console) -> Table:
    """Lay a table out so that nothing is cut: `elastic` wraps between words, and where that is not enough the last
    columns go.
    """
    from rich.table import Table
    from rich.text import Text

    names = list(rows[0])
    widths = {name: max(len(str(text)) for text in (name, *(row[name] for row in rows))) for name in names}
    wanted, widths[elastic] = widths[elastic], min(widths[elastic], ELASTIC_LEAST)
    while len(widths) > 2 and _across(widths) > console.width:
        widths.popitem()
    if elastic in widths:
        left = console.width - _across(widths) + widths[elastic]
        widths[elastic] = max(1, min(wanted, left))
    console.width = max(console.width, _across(widths))  # rich would cut; a terminal goes on in the next line
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in widths.items():
        table.add_column(name.replace("_", " "), width=width, no_wrap=name != elastic, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell := row[name], Text) else _text(str(cell)) for name in widths))
    return table


def _across(widths: dict[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def print_text(report: Report) -> None:
    """Print the table of verdicts, then what needs attention, then the counts."""

    console = _console()
    several = len(report.names) > 1
    if report.checks:
        _print_table((_matrix if several else _table)(report, console), console)
    told: dict[tuple[Verdict, str, str], list[str]] = {}
    for row in report.checks:
        if row.verdict in ("info", "skipped"):
            told.setdefault((row.verdict, _whose(row, several), row.actual), []).append(row.id)
    if told:
        console.print()
    for (verdict, whose, actual), ids in told.items():
        named = ", ".join(ids) if len(ids) <= NAMED else f"{ids[0]} and {len(ids) - 1} more"
        _print_beside(_mark(verdict), f"{whose}{named}: {actual}", console)
    for row in report.checks:
        if row.verdict in ("fail", "error", "warn"):
            _print_detail(row, console, _whose(row, several))
    _print_blocked([row for row in report.checks if row.verdict == "blocked"], console, several)
    console.print()
    _print_beside(None, f"{report.subject.name}: {summary(report)}", console, style="bold")


def _print_beside(label: Text | None, text: str, console: Console, style: str = "") -> None:
    """Print a label and a text; a terminal wraps it between words, and a log keeps it in one line."""
    from rich.table import Table

    shown = _text(text, style)
    if not console.is_terminal:
        console.print(*([label] if label else []), shown, soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 1))
    if label:
        grid.add_column(width=label.cell_len)
    grid.add_column(overflow="fold")
    grid.add_row(*([label] if label else []), shown)
    console.print(grid)


def _print_blocked(rows: list[Row], console: Console, several: bool) -> None:
    """Few in full; of many only what they wait for, for that is to be mended first."""
    if len(rows) <= BLOCKED_SHOWN:
        for row in rows:
            _print_detail(row, console, _whose(row, several))
    else:
        console.print()
        _print_beside(_mark("blocked"), _blocked(rows, several), console)


def _blocked(rows: list[Row], several: bool) -> str:
    told = f"{len(rows)} checks, for what they wait for did not come; the first: "
    return f"{told}{_whose(rows[0], several)}{rows[0].id}: {rows[0].actual}"


def _whose(row: Row, several: bool) -> str:
    return f"{row.subject}: " if several else ""


def _table(report: Report, console: Console) -> Table:
    title = "the client …" if report.subject.kind == "client" else "the target …"
    rows = [
        {
            "verdict": _mark(row.verdict),
            "check": row.id,
            title: row.title,
            "level": row.level,
            "provenance": row.provenance,
        }
        for row in report.checks
    ]
    return _fitted(rows, title, console)


def _matrix(report: Report, console: Console) -> Table:
    """One row for each check, one column for each subject."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    longest = max(len(row.id) for row in report.checks)
    share = max(VERDICT_WIDTH, min(24, (console.width - longest) // len(report.names) - GAP))
    console.width = max(console.width, longest + (share + GAP) * len(report.names))
    table.add_column("check", no_wrap=True)
    for name in report.names:
        table.add_column(_text(name), no_wrap=True, max_width=share, overflow="ellipsis")
    verdicts = {(row.id, row.subject): row.verdict for row in report.checks}
    for check_id in dict.fromkeys(row.id for row in report.checks):
        found = (verdicts.get((check_id, name)) for name in report.names)
        table.add_row(_text(check_id), *(_mark(verdict) if verdict else _text("") for verdict in found))
    return table


def _print_detail(row: Row, console: Console, whose: str) -> None:
    console.print()
    console.print(_mark(row.verdict), _text(f"{whose}{row.id}", style="bold"), soft_wrap=True)
    lines = [
        ("clause", f"{row.clause} ({row.level}, {row.provenance}): {row.statement}"),
        ("expected", row.expected),
        ("actual", row.actual),
    ]
    for name, value in lines:
        _print_beside(_text(f"  {name:9}", style="dim"), value, console)
    # To be copied, so it is one line however long it is.
    console.print(_text("  repeat   ", style="dim"), _text(row.repeat), soft_wrap=True)
    diagnoses = (each.diagnosis for each in row.exchanges if each.diagnosis)
    told = next((diagnosis for diagnosis in diagnoses if diagnosis.told in row.actual), None)
    for line in comparison(told) if told else ():
        console.print(_text(f"  {line}"), soft_wrap=True)


def to_json(report: Report) -> bytes:
    """Write the report as JSON, two-space indent."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=list), indent=2) + b"\n"


def to_html(report: Report) -> str:
    """Write the report as one HTML page without remote parts."""
    from jinja2 import Environment

    several = len(report.names) > 1
    blocked = [row for row in report.checks if row.verdict == "blocked"]
    template = resources.files("tn_contract").joinpath("templates/report.html").read_text("utf-8")

    def finalize(value: object) -> object:
        return escape(value, keep="\n") if isinstance(value, str) else value

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=finalize)
    page: Any = environment.from_string(template)
    rendered: str = page.render(
        report=report,
        marks=MARKS,
        comparison=comparison,
        summary=summary(report),
        several=several,
        ids=list(dict.fromkeys(row.id for row in report.checks)),
        verdicts={(row.id, row.subject): row.verdict for row in report.checks},
        counts={name: _counts(report.of(name)) for name in report.names},
        blocked=_blocked(blocked, several) if len(blocked) > BLOCKED_SHOWN else "",
    )
    return rendered


def to_junit(report: Report, *, strict: bool = False) -> bytes:
    """Write the report as JUnit XML, as Jenkins' strict schema takes it: one suite for each subject."""
    from xml.etree import ElementTree as ET

    verb = "judge" if report.subject.kind == "client" else "verify"
    root = ET.Element("testsuites")
    for name in report.names:
        rows = report.of(name)
        elements = [_junit_verdict(row, strict=strict) for row in rows]
        tags = Counter(tag for tag, _message, _text in elements)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=escape(f"tn-contract {verb} {name}"),
            tests=str(len(rows)),
            failures=str(tags["failure"]),
            errors=str(tags["error"]),
            skipped=str(tags["skipped"]),
            time=f"{sum(row.elapsed for row in rows):.3f}",
            timestamp=report.started.partition(".")[0].removesuffix("Z"),
        )
        for row, (tag, message, text) in zip(rows, elements, strict=True):
            group, _, slug = row.id.partition("/")
            case = ET.SubElement(
                suite, "testcase", classname=f"tn-contract.{verb}.{group}", name=slug, time=f"{row.elapsed:.3f}"
            )
            if tag:
                element = ET.SubElement(case, tag, {"message": escape(message)} if message else {})
                element.text = "\n".join(map(escape, text)) or None
    ET.indent(root)
    written: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return written + b"\n"


def _junit_verdict(row: Row, *, strict: bool) -> tuple[str, str, list[str]]:
    """The element that tells a verdict, its message, and the lines of its text."""
    detail = [
        f"{row.verdict}: {row.title}",
        f"clause {row.clause} ({row.level}, {row.provenance}): {row.statement}",
        f"expected: {row.expected}",
        f"actual: {row.actual}",
        f"repeat: {row.repeat}",
    ]
    if row.verdict in ("skipped", "blocked"):
        return "skipped", f"{row.verdict}: {row.actual}", []
    if row.verdict == "fail" or (row.verdict == "warn" and strict):
        return "failure", row.actual, detail
    if row.verdict == "error":
        return "error", row.actual, detail
    return ("", "", []) if row.verdict == "pass" else ("system-out", "", detail)
