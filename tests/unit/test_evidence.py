"""What a client did, as objects and as JSON lines: nothing is lost, and damage is refused in a sentence."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_contract.contract.errors import UsageError
from tn_contract.record.evidence import (
    OUTCOMES,
    Case,
    Ended,
    Evidence,
    Footer,
    Process,
    Reported,
    Sent,
    from_lines,
    of_session,
    rising,
    to_lines,
)
from tn_contract.record.journal import Assessment, Exchange, Message, timestamp

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.builds(
    Message, headers=st.lists(st.tuples(TEXT, TEXT), max_size=2), body=TEXT, line=TEXT, status=st.integers(0, 599)
)
EXCHANGES = st.builds(
    Exchange,
    seq=st.integers(1, 2**31),
    at=st.integers(0, 4 * 10**18).map(timestamp),
    session=TEXT,
    request=MESSAGES,
    reply=st.none() | MESSAGES,
    failure=TEXT,
    assessment=st.none() | st.builds(Assessment, situation=TEXT, order_id=TEXT, scheme=st.sampled_from(["v2", "v3"])),
    leaks=st.lists(TEXT, max_size=2).map(tuple),
)
REPORTS = st.builds(
    Reported,
    order_id=TEXT,
    outcome=st.sampled_from(OUTCOMES) | TEXT,
    kind=st.none() | TEXT,
    code=st.none() | TEXT | st.integers(-(2**63), 2**63),
)
ENDS = st.builds(
    Ended,
    how=st.sampled_from(["exited", "crashed", "hung"]),
    status=st.none() | st.integers(-64, 255),
    told=TEXT,
    leaked=st.booleans(),
)
PROCESSES = st.builds(
    Process,
    order_ids=st.lists(TEXT, max_size=3).map(tuple),
    sent=st.lists(EXCHANGES.map(Sent), max_size=3),
    reports=st.lists(REPORTS, max_size=3),
    ended=st.none() | ENDS,
)
CASES = st.builds(Case, id=TEXT, processes=st.lists(PROCESSES, max_size=2), skipped=TEXT)
EVIDENCE = st.builds(Evidence, agent=TEXT, cases=st.lists(CASES, max_size=3), started=TEXT)


def request(fields: str = "", line: str = "POST /api/v2/cmd/delTradeOrder", **headers: str) -> Sent:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Sent(Exchange(1, "2026-01-01T00:00:00.000000Z", "key", Message(named, fields, line)))


def written() -> bytes:
    process = Process(("1",), [request("cmd=delTradeOrder")], [Reported("1", "accepted")], Ended("exited", 0))
    return b"".join(to_lines(Evidence("a client", [Case("plain", [process]), Case("clock", skipped="no")], "now")))


# ---- round trip --------------------------------------------------------------------------------------------


@given(EVIDENCE)
def test_what_is_written_is_read_again(evidence: Evidence) -> None:
    assert from_lines(b"".join(to_lines(evidence)), "file") == evidence


@given(st.lists(EXCHANGES, max_size=4))
def test_a_session_s_own_journal_is_one_nameless_case(exchanges: list[Exchange]) -> None:
    evidence = of_session("somebody", exchanges)
    assert [sent.exchange for sent in evidence.sent] == exchanges
    assert [case.id for case in evidence.cases] == [""]
    assert not evidence.speaks
    assert from_lines(b"".join(to_lines(evidence)), "file").sent == evidence.sent


def test_the_last_line_end_may_be_missing() -> None:
    assert from_lines(written().removesuffix(b"\n"), "file") == from_lines(written(), "file")


# ---- damage ------------------------------------------------------------------------------------------------


def refused(content: bytes) -> str:
    with pytest.raises(UsageError) as refusal:
        from_lines(content, "client.jsonl")
    sentence = str(refusal.value)
    assert sentence.startswith("client.jsonl")
    return sentence


def test_an_empty_file_is_refused() -> None:
    assert "is empty" in refused(b"")


@given(EVIDENCE, st.data())
def test_a_file_that_breaks_off_anywhere_is_refused(evidence: Evidence, data: st.DataObject) -> None:
    content = b"".join(to_lines(evidence))
    refused(content[: data.draw(st.integers(0, len(content) - 2))])  # the last byte is a line end, which may be missing


def test_every_byte_at_which_it_may_break_off_is_told_clearly() -> None:
    content = written()
    for end in range(1, len(content) - 1):
        assert any(word in refused(content[:end]) for word in ("breaks off", "no end line", "no line of a journal"))


@given(EVIDENCE, st.data())
def test_a_file_that_lacks_a_line_is_refused(evidence: Evidence, data: st.DataObject) -> None:
    lines = list(to_lines(evidence))
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    refused(b"".join(lines))


@given(st.binary(max_size=60))
def test_anything_else_is_refused(content: bytes) -> None:
    refused(content)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"line":"verdict"}', "no line of a journal"),
        (b'{"no":"line"}', "no line of a journal"),
        (b"[]", "no line of a journal"),
        (b"", "no line of a journal"),
        (b"\xff", "no line of a journal"),
        (b"[" * 100_000, "no line of a journal"),
        (b'{"line":"ended","how":"vanished"}', "no line of a journal"),
        (b'{"line":"end","lines":3}', "a Footer cannot stand here"),
        (b'{"line":"journal","agent":"a","started":"b"}', "a Header cannot stand here"),
    ],
)
def test_an_unknown_line_is_named_by_its_number(line: bytes, words: str) -> None:
    lines = written().splitlines()
    lines[1:1] = [line]
    lines[-1] = msgspec.json.encode(Footer(len(lines) - 1))
    sentence = refused(b"\n".join(lines))
    assert "line 2" in sentence
    assert words in sentence


@pytest.mark.parametrize("at", ["", "yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_that_the_checks_cannot_compare_is_refused(at: str) -> None:
    strange = written().replace(b"2026-01-01T00:00:00.000000Z", at.encode())
    assert "line 4" in refused(strange)


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 3, 1, 2), (0, 1, 3, 2)])
def test_lines_in_a_wrong_order_are_refused(order: tuple[int, ...]) -> None:
    *lines, _ = written().splitlines()
    chosen = [lines[place] for place in order]
    content = b"\n".join([*chosen, msgspec.json.encode(Footer(len(chosen)))])
    if order == (0, 1, 3, 2):
        assert "ExchangeLine cannot stand here" in refused(content)
    else:
        assert "cannot stand here" in refused(content)


def test_a_report_of_another_format_is_refused() -> None:
    assert "line 1" in refused(json.dumps({"line": "journal", "agent": "a", "started": "", "format": 2}).encode())


def test_what_does_not_begin_with_a_header_is_refused() -> None:
    assert "header" in refused(b"".join(list(to_lines(Evidence("a", [Case("x")])))[1:]))


# ---- one request -------------------------------------------------------------------------------------------


def test_a_request_tells_its_parts() -> None:
    sent = request(
        "apiKey=k&cmd=delTradeOrder&nonce=7&params%5Border_id%5D=5", "POST /api/v2/cmd/x?a=b", X_NtApi_Sig="s"
    )
    assert (sent.method, sent.path, sent.query, sent.header("x-ntapi-sig")) == ("POST", "/api/v2/cmd/x", "a=b", "s")
    assert (sent.command, sent.order_id, sent.nonce, sent.is_cancel, sent.scheme) == (
        "delTradeOrder", "5", "7", True, "v2",
    )  # fmt: skip


@pytest.mark.parametrize("fields", ["", "params=5", "params[order_id][]=5", "nonce[]=1", "cmd[]=x", "\udcff=\udcff"])
def test_what_is_not_there_is_none(fields: str) -> None:
    sent = request(fields, "POST /api/v2/cmd/delTradeOrder/")
    assert (sent.order_id, sent.nonce, sent.command) == (None, None, "delTradeOrder")
    assert not sent.accepted


def test_a_timestamp_header_makes_it_the_newer_generation() -> None:
    sent = request('{"order_id": 4982349829328}', "POST /api/delTradeOrder", X_NtApi_Timestamp="1")
    assert (sent.scheme, sent.order_id, sent.command) == ("v3", "4982349829328", "delTradeOrder")


@given(st.lists(st.integers(0, 9), max_size=6))
def test_rising_finds_the_first_neighbours_that_do_not_rise(nonces: list[int]) -> None:
    sent = [request(f"nonce={nonce}") for nonce in nonces]
    falls = [place for place in range(len(nonces) - 1) if nonces[place + 1] <= nonces[place]]
    pair = rising(sent)
    assert (pair is None) == (not falls)
    if pair:
        assert pair == (sent[falls[0]], sent[falls[0] + 1])


def test_rising_passes_over_what_is_no_nonce() -> None:
    assert rising([request("nonce=5"), request("nonce=x"), request(""), request("nonce=6")]) is None
