"""A report as JUnit XML."""

from __future__ import annotations

from collections import Counter

from tn_contract.contract.text import escape
from tn_contract.report.rows import Report, Row


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
