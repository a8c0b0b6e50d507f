"""A report as one HTML page."""

from __future__ import annotations

from importlib import resources
from typing import Any

from tn_contract.contract.text import escape
from tn_contract.record.journal import comparison
from tn_contract.report.rows import Report, counts_of, summary
from tn_contract.report.text import BLOCKED_SHOWN, MARKS, blocked_in_short


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
        counts={name: counts_of(report.of(name)) for name in report.names},
        blocked=blocked_in_short(blocked, several) if len(blocked) > BLOCKED_SHOWN else "",
    )
    return rendered
