"""A report on the terminal, and in logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tn_contract.contract.text import escape
from tn_contract.judge.verdicts import Verdict
from tn_contract.record.journal import comparison
from tn_contract.report.rows import Report, Row, summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


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
        _print_beside(_mark("blocked"), blocked_in_short(rows, several), console)


def blocked_in_short(rows: list[Row], several: bool) -> str:
    """Say of many blocked checks what the first one waits for."""
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
