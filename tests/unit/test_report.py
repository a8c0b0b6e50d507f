"""Verdicts in text, JSON and HTML."""

from __future__ import annotations

import html
import json
import re

import pytest

from tn_contract.judge.server import catalogue
from tn_contract.judge.verdicts import Finding, Result, Verdict
from tn_contract.record.journal import Diagnosis, Exchange, Message
from tn_contract.record.requestfile import read_requests
from tn_contract.report import html as report_html
from tn_contract.report import rows as report_rows
from tn_contract.report import text as report_text
from tn_contract.report.rows import Report, Row, Subject

ADDRESS = "http://127.0.0.1:8787"
SUBJECT = Subject(ADDRESS, "loopback", "cancel", disposable=True, requests=7)
VERDICTS: dict[str, Verdict] = {"old": "fail", "new": "pass"}
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
    return report_rows.row_of(
        Result(CHECK, finding, (exchange, lost), 0.0123), ADDRESS, f"tn-contract verify {ADDRESS}"
    )


def _report(*verdicts: str, code: int = 0) -> Report:
    rows = [_row(verdict) for verdict in verdicts]
    return report_rows.build(rows, SUBJECT, started="2026-01-01T00:00:00Z", elapsed=1.5, code=code)


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
    assert report_rows.exit_code(rows, strict=False) == lenient
    assert report_rows.exit_code(rows, strict=True) == strict


def test_the_text_shows_each_verdict_and_details_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    report_text.print_text(_report("pass", "fail", "warn", "blocked", "error", "info", "skipped"))
    shown = capsys.readouterr().out
    for verdict in ("pass", "fail", "warn", "blocked", "error", "info", "skipped"):
        assert f" {verdict} " in shown
    assert shown.count("repeat") == 4
    assert "tn-contract verify http://127.0.0.1:8787 --check signature/refuses-absent" in shown
    assert "clause    signature-required (must, official)" in shown
    assert "✘ fail signature/refuses-absent\n" in shown
    assert "http://127.0.0.1:8787: 1 error · 1 fail · 1 blocked · 1 warn · 1 pass · 1 info · 1 skipped" in shown
    assert "7 requests in 1.5 s" in shown


def _on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize("columns", [40, 60, 80, 132, 139, 160])
def test_on_any_terminal_verdicts_and_ids_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    _on_a_terminal(monkeypatch, columns)
    finding = Finding("pass", "", "")
    rows = [report_rows.row_of(Result(check, finding, (), 0.0), ADDRESS, "") for check in catalogue().values()]
    report_text.print_text(report_rows.build(rows, SUBJECT, started="", elapsed=0, code=0))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for check in catalogue().values():
        assert re.search(rf"^✔ pass +{check.id}( |$)", shown, re.MULTILINE), shown
    assert ("the target …" in shown) == (columns >= 80)
    assert ("provenance" in shown) == (columns >= 132)
    if columns >= 80:
        assert max(map(len, shown.splitlines()[:-1])) <= columns


@pytest.mark.parametrize("columns", [40, 60, 80, 160])
def test_what_a_list_is_read_for_can_be_copied_from_any_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    _on_a_terminal(monkeypatch, columns)
    report_text.print_rows([{"id": "i" * 25, "title": "t" * 60, "level": "must"}], elastic="title")
    report_text.print_rows(
        [{"order_id": "o" * 25, "payload": "p" * 27, "http": 200, "body": "b" * 200}], elastic="body"
    )
    shown = capsys.readouterr().out
    assert "i" * 25 in shown
    assert "o" * 25 + "  " + "p" * 27 in shown
    assert ("must" in shown) == (columns >= 60)
    assert ("bb" in shown) == (columns > 80)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_matrix_of_several_clients_keeps_verdicts_and_ids_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    _on_a_terminal(monkeypatch, columns)
    names = [f"python client_{number}_of_several.py" for number in range(4)]
    rows = [report_rows.row_of(Result(CHECK, Finding("skipped", "", ""), (), 0.0), name, "") for name in names]
    report_text.print_text(report_rows.build(rows, Subject("four", "client"), started="", elapsed=0, code=0))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert re.search(rf"{CHECK.id}( +- skipped){{4}}", shown), shown


def test_what_was_skipped_for_one_reason_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for count, named in ((2, f"{CHECK.id}, {CHECK.id}"), (5, f"{CHECK.id} and 4 more")):
        rows = [_row("skipped", actual="no outcomes") for _ in range(count)]
        report_text.print_text(report_rows.build(rows, SUBJECT, started="", elapsed=0, code=0))
        assert f"- skipped {named}: no outcomes\n" in capsys.readouterr().out


def test_many_blocked_checks_are_one_unbroken_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row("blocked", actual="a b " * 60 + "c") for _ in range(4)]
    report_text.print_text(report_rows.build(rows, SUBJECT, started="", elapsed=0, code=3))
    assert re.search(r"^◌ blocked 4 checks, .* a b c$", capsys.readouterr().out, re.MULTILINE)


def test_the_strings_to_sign_are_aligned_with_the_other_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    diagnosis = Diagnosis(("unsorted",), "signed unsorted", "sort", "b&a", "a&b", 0)
    exchange = Exchange(1, "", "key", Message([], "", "POST /x"), diagnosis=diagnosis)
    result = Result(CHECK, Finding("fail", "refused", "signed unsorted"), (exchange,), 0.0)
    row = report_rows.row_of(result, ADDRESS, "tn-contract verify")
    report_text.print_text(report_rows.build([row], SUBJECT, started="", elapsed=0, code=1))
    lines = dict(re.findall(r"^  (\S[a-z]*)  +(\S.*)$", capsys.readouterr().out, re.MULTILINE))
    assert (lines["expected"], lines["signed"], lines["wanted"]) == ("refused", "'b&a'", "'a&b'")


def test_an_empty_report_says_so() -> None:
    assert report_rows.summary(_report()).startswith("nothing judged")


def test_json_holds_the_rows_with_their_evidence() -> None:
    told = json.loads(report_rows.to_json(_report("fail", code=1)))
    assert told["exit_code"] == 1
    assert told["counts"] == {"fail": 1}
    [row] = told["checks"]
    assert (row["clause"], row["level"], row["provenance"]) == ("signature-required", "must", "official")
    assert [exchange.get("failure", "") for exchange in row["exchanges"]] == ["", "ReadTimeout"]


def test_html_escapes_what_strangers_sent() -> None:
    page = report_html.to_html(_report("fail", "pass"))
    assert "a=&lt;b&gt;&amp;c" in page
    assert "<b>" not in page
    assert "→ ReadTimeout" in page


def _both() -> Report:
    rows = [
        report_rows.row_of(Result(CHECK, Finding(verdict, "", "HTTP 200"), (), 0.0), name, f"tn-contract judge {name}")
        for name, verdict in VERDICTS.items()
    ]
    return report_rows.build(rows, Subject("old, new", "client"), started="2026-01-01T00:00:00Z", elapsed=1.0, code=1)


def test_several_clients_are_shown_side_by_side_and_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    report_text.print_text(_both())
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()[:2]] == [
        ["check", "old", "new"],
        [CHECK.id, "✘", "fail", "✔", "pass"],
    ]
    assert f"old: {CHECK.id}" in shown
    assert f"tn-contract judge old --check {CHECK.id}" in shown


def test_a_page_of_several_clients_begins_with_their_matrix_and_links_to_each_row() -> None:
    page = report_html.to_html(_both())
    assert "<th>old</th><th>new</th>" in page
    for name in ("old", "new"):
        assert f'href="#{name}/{CHECK.id}"' in page
        assert f'id="{name}/{CHECK.id}"' in page


def test_a_request_copied_from_a_page_can_be_explained() -> None:
    body = "apiKey=key&cmd=delTradeOrder&nonce=5&params%5Border_id%5D=7"
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("X-NtApi-Sig", "0" * 64)]
    exchange = Exchange(1, "", "key", Message(headers, body, "POST /api/v2/cmd/delTradeOrder"), failure="ReadTimeout")
    row = report_rows.row_of(Result(CHECK, Finding("fail", "", ""), (exchange,), 0.0), ADDRESS, "")
    page = report_html.to_html(report_rows.build([row], SUBJECT, started="", elapsed=0, code=1))
    shown = html.unescape(page[page.index("<pre>") + 5 : page.index("\n\n→")])
    [request] = read_requests(shown.encode())
    assert (request.method, request.path) == ("POST", "/api/v2/cmd/delTradeOrder")
    assert list(request.headers) == headers
    assert request.body == body.encode()


@pytest.mark.parametrize(("exchanges", "told"), [(1, "1 exchange in"), (2, "2 exchanges in")])
def test_a_page_counts_exchanges(exchanges: int, told: str) -> None:
    sent = (Exchange(1, "", "key", Message([], "", "POST /x"), failure="ReadTimeout"),) * exchanges
    row = report_rows.row_of(Result(CHECK, Finding("pass", "", ""), sent, 0.0), ADDRESS, "")
    assert f"{told} 0 ms" in report_html.to_html(report_rows.build([row], SUBJECT, started="", elapsed=0, code=0))


def test_a_page_names_what_many_blocked_checks_wait_for() -> None:
    assert "4 checks, for what they wait for did not come" in report_html.to_html(_report(*["blocked"] * 4))
    assert "did not come" not in report_html.to_html(_report(*["blocked"] * 3))


def test_ids_of_a_page_hold_no_space_and_each_link_leads_to_one() -> None:
    names = ("python old.py", "node 'new' client.mjs")
    rows = [report_rows.row_of(Result(CHECK, Finding("fail", "", ""), (), 0.0), name, "") for name in names]
    page = report_html.to_html(report_rows.build(rows, Subject("both", "client"), started="", elapsed=0, code=1))
    ids = re.findall(r'id="([^"]*)"', page)
    assert len(set(ids)) == 2
    assert not any(re.search(r"\s", each) for each in ids)
    assert set(re.findall(r'href="#([^"]*)"', page)) == set(ids)


def test_a_page_counts_a_client_s_verdicts_from_grave_to_harmless() -> None:
    page = report_html.to_html(_of_two("skipped", "pass", "fail"))
    assert "1 fail · 1 pass · 1 skipped" in page.split("</tr>")[1]


def _of_two(*verdicts: Verdict) -> Report:
    rows = [
        report_rows.row_of(Result(CHECK, Finding(verdict, "", ""), (), 0.0), name, "")
        for name in VERDICTS
        for verdict in verdicts
    ]
    return report_rows.build(rows, Subject("old, new", "client"), started="", elapsed=0, code=1)
