"""Verdicts in text, JSON and HTML."""

from __future__ import annotations

import json

import pytest

from tn_contract import report as reports
from tn_contract.checks import catalogue
from tn_contract.journal import Exchange, Message
from tn_contract.report import Report, Row, TargetFacts
from tn_contract.verdicts import Finding, Result

FACTS = TargetFacts("http://127.0.0.1:8787", "loopback", disposable=True, effects="cancel", requests=7)
CHECK = catalogue()["signature/refuses-absent"]


def _row(verdict: str, **changes: str) -> Row:
    exchange = Exchange(
        1,
        "2026-01-01T00:00:00Z",
        "key",
        Message([("Accept", "*/*")], "a=<b>&c", "POST /x"),
        Message([], "<i>", status=200),
    )
    lost = Exchange(2, "2026-01-01T00:00:01Z", "key", Message([], "", "POST /x"), failure="ReadTimeout")
    finding = Finding(verdict, changes.get("expected", "refused"), changes.get("actual", "HTTP 200"))  # type: ignore[arg-type] # a parameter of the test
    return reports.row_of(Result(CHECK, finding, (exchange, lost), 0.0123), FACTS, embedded=False)


def _report(*verdicts: str, code: int = 0) -> Report:
    rows = [_row(verdict) for verdict in verdicts]
    return reports.build(rows, FACTS, started="2026-01-01T00:00:00Z", elapsed=1.5, code=code)


@pytest.mark.parametrize(
    ("verdicts", "lenient", "strict"),
    [
        (["pass", "info"], 0, 0),
        (["info"], 0, 0),
        (["pass", "warn"], 0, 1),
        (["pass", "fail"], 1, 1),
        (["pass", "blocked"], 3, 3),
        (["pass", "error"], 3, 3),
        (["fail", "error", "blocked"], 1, 1),
        (["skipped", "skipped"], 5, 5),
        ([], 5, 5),
    ],
)
def test_the_exit_code_tells_broken_from_unjudgeable(verdicts: list[str], lenient: int, strict: int) -> None:
    rows = [_row(verdict) for verdict in verdicts]
    assert reports.exit_code(rows, strict=False) == lenient
    assert reports.exit_code(rows, strict=True) == strict


def test_the_text_shows_each_verdict_and_details_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    reports.print_text(_report("pass", "fail", "warn", "blocked", "error", "info", "skipped"))
    shown = capsys.readouterr().out
    for verdict in ("pass", "fail", "warn", "blocked", "error", "info", "skipped"):
        assert f" {verdict} " in shown
    assert shown.count("repeat") == 4
    assert "tn-contract verify http://127.0.0.1:8787 --check signature/refuses-absent" in shown
    assert "clause   signature-required (must, official)" in shown
    assert "http://127.0.0.1:8787: 1 error · 1 fail · 1 blocked · 1 warn · 1 pass · 1 info · 1 skipped" in shown
    assert "7 requests in 1.5 s" in shown


def test_a_narrow_terminal_still_shows_whole_check_ids(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    reports.print_text(_report("pass"))
    shown = capsys.readouterr().out
    assert "signature/refuses-absent" in shown
    assert "provenance" not in shown


def test_an_empty_report_says_so() -> None:
    assert reports.summary(_report()).startswith("nothing judged")


def test_json_holds_the_rows_with_their_evidence() -> None:
    told = json.loads(reports.to_json(_report("fail", code=1)))
    assert told["exit_code"] == 1
    assert told["counts"] == {"fail": 1}
    [row] = told["checks"]
    assert (row["clause"], row["level"], row["provenance"]) == ("signature-required", "must", "official")
    assert [exchange.get("failure", "") for exchange in row["exchanges"]] == ["", "ReadTimeout"]


def test_html_escapes_what_strangers_sent() -> None:
    page = reports.to_html(_report("fail", "pass"))
    assert "a=&lt;b&gt;&amp;c" in page
    assert "<b>" not in page
    assert "→ ReadTimeout" in page


def test_the_embedded_mock_needs_no_address_to_repeat_a_check() -> None:
    row = reports.row_of(Result(CHECK, Finding("pass", "", ""), (), 0.0), FACTS, embedded=True)
    assert row.repeat == "tn-contract verify --check signature/refuses-absent"
