"""What is read of a program's output: every spelling that leaves no doubt, and a reason for what does."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tn_contract.trial.reportlines import decoded, read_reports, why_unread

ORDERS = ("1", "2")
TWO = [{"outcome": "accepted"}, {"outcome": "rejected", "code": 12}]
LINES = "".join(json.dumps(each) + "\n" for each in TWO)


def outcomes(output: str) -> list[tuple[str, str, int | str | None]]:
    return [(each.order_id, each.outcome, each.code) for each in read_reports(output, ORDERS)]


RIGHT = [("1", "accepted", None), ("2", "rejected", 12)]


@pytest.mark.parametrize(
    "output",
    [
        LINES,
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\r"),
        LINES.replace("\n", " "),
        LINES.rstrip("\n"),
        "".join(f"   {line}\t\n" for line in LINES.splitlines()),
        "".join(f"\x1b[32m{line}\x1b[0m\n" for line in LINES.splitlines()),
        LINES.replace("accepted", "\x1b[1;32maccepted\x1b[0m"),
        "".join(f"2026-11-30 20:14:49,123 INFO client: {line}\n" for line in LINES.splitlines()),
        "".join(f"[{place}] {line} done\n" for place, line in enumerate(LINES.splitlines())),
        "".join(json.dumps(each, indent=2) + "\n" for each in TWO),
        json.dumps(TWO),
        json.dumps(TWO, indent=4),
        "".join(f"{each}\n" for each in TWO),
        "{ outcome: 'accepted' }\n{ outcome: 'rejected', code: 12 }\n",
        "{'outcome': 'accepted',}\n{outcome=rejected, code=12}\n",
        LINES.replace("outcome", "Outcome").replace("code", "Code"),
        LINES.replace("accepted", "ACCEPTED").replace("rejected", " Rejected "),
        "\0" + LINES + "\0",
        "not json { at all\n" + LINES,
        '{"event": "reply", "data": {"outcome": "unknown"}}\n' + LINES,
        '{"outcomes": 2}\n[1, 2]\n"outcome"\n{"outcome": null}\n' + LINES,
    ],
)
def test_spelling_that_leaves_no_doubt_is_read(output: str) -> None:
    assert outcomes(output) == RIGHT


@pytest.mark.parametrize("word", ["not-sent", "not_sent", "NOT SENT", "NotSent", "notSent"])
def test_outcome_of_two_words_is_known_in_every_case(word: str) -> None:
    assert outcomes(json.dumps({"outcome": word, "orderId": 7})) == [("7", "not-sent", None)]


@pytest.mark.parametrize(
    "raw",
    [
        codecs.BOM_UTF8 + LINES.encode(),
        ("\ufeff" + LINES).encode("utf-16-le"),
        ("\ufeff" + LINES).encode("utf-16-be"),
        LINES.encode("utf-16-le"),
        LINES.encode("utf-16-be"),
        ("\ufeff" + LINES).encode("utf-32-le"),
        "заявка снята\n".encode("cp1251") + LINES.encode(),
        b"\xff\xfe\xfd\n" + LINES.encode(),
    ],
)
def test_encoding_is_recognised(raw: bytes) -> None:
    assert outcomes(decoded(raw)) == RIGHT


@pytest.mark.parametrize(
    ("output", "errors", "reason"),
    [
        ("", LINES, "on standard error"),
        (json.dumps(json.dumps(TWO[0])), "", "JSON within a string"),
        ("outcome: accepted\n", "", "is no JSON object"),
        ('{"outcome": ["accepted"]}', "", "is no JSON object"),
        ('{"result": {"outcome": "accepted"}}', "", "is no JSON object"),
        ('{"outcome": "accep', "", "is no JSON object"),
        ('<outcome name="accepted"/>', "", "is no JSON object"),
        ("done\n", "some error\n", ""),
        ("", "", ""),
    ],
)
def test_output_that_speaks_of_outcomes_and_cannot_be_read_is_explained(output: str, errors: str, reason: str) -> None:
    assert read_reports(output, ORDERS) == []
    found = why_unread(output, errors, ORDERS)
    assert reason in found if reason else found == ""


@pytest.mark.slow
@pytest.mark.parametrize("output", ["{" * 200_000, '{"a":' * 100_000, "{'a':" * 100_000, "{outcome=" * 50_000])
def test_output_made_to_take_long_is_given_up(output: str) -> None:
    assert read_reports(output, ORDERS) == []


def test_more_reports_than_anybody_asked_for_are_not_kept() -> None:
    assert len(read_reports('{"outcome": "accepted"}\n' * 5000, ORDERS)) == 1002


@given(st.text(st.sampled_from("{}'\"\\:,=> \n\x1boutcme[]12"), max_size=60))
@example("{'outcome': 'a'")
def test_no_output_breaks_the_reader(output: str) -> None:
    read_reports(output, ORDERS)
    why_unread(output, output, ORDERS)
