"""The journal: exchanges in order, bounded, and without secrets."""

from __future__ import annotations

import base64
import json
import threading
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tn_contract.contract.signing import Secret
from tn_contract.contract.wire import Reply, Request, encode_form
from tn_contract.record.journal import BODY_KEPT, Assessment, Exchange, Journal, Redactor, timestamp

KEY = "public-key-of-the-pair"
REPLY = Reply(200, (("Content-Type", "application/json"),), b"{}")

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=0x4FF), min_size=8, max_size=40)
noise = st.text(st.sampled_from("xyz 0&=%+"), max_size=10)


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        raw.hex(),
        base64.b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
    ]


def rendered(exchange: Exchange) -> str:
    """Every word of a record, as it is written and as Python shows it, with JSON's escapes undone."""
    written = json.dumps(json.loads(msgspec.json.encode(exchange)), ensure_ascii=False)
    return written + repr(exchange) + "".join(every_text(msgspec.to_builtins(exchange)))


def every_text(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in every_text(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in every_text(item)]
    return [str(value)]


def add(journal: Journal, request: Request, reply: Reply = REPLY, *notes: str) -> None:
    journal.add(0, request, reply, Assessment("cancel-accepted", notes=notes))


# ---- redaction ---------------------------------------------------------------------------------------------


@given(secret=secrets, before=noise, after=noise, private=st.booleans())
@example(secret="expected", before="", after="", private=False)
def test_a_secret_never_appears_in_whatever_spelling_and_place(
    secret: str, before: str, after: str, private: bool
) -> None:
    redactor = Redactor((Secret(secret),), (KEY,), private)

    def record(text: str) -> str:
        everywhere = (("Content-Type", text), ("X-NtApi-Sig", text), ("X-Other", text), (text, "value"))
        exchange = redactor.record(
            1,
            0,
            "session",
            Request("POST", f"/api/{text}", everywhere, text.encode(), text),
            Reply(200, everywhere, text.encode()),
            text,
            Assessment("cancel-accepted", notes=(text,), string_to_sign=text),
        )
        return rendered(exchange)

    assume("*" not in secret)
    assume(secret not in record(""))  # a word of the record's own
    for spelling in spellings(secret):
        assert spelling not in record(before + spelling + after)


@given(secret=secrets)
def test_a_secret_sent_in_a_form_field_never_appears(secret: str) -> None:
    journal = Journal(KEY, lambda: [Secret(secret)])
    body = encode_form({"apiKey": KEY, "secret": secret, "params": {secret: "x"}})
    add(journal, Request("POST", "/", (), body, body.decode()))
    (exchange,) = journal.exchanges()
    assert not [spelling for spelling in spellings(secret) if spelling in exchange.request.body + exchange.request.line]
    assert exchange.request.body.startswith(f"apiKey={KEY}&secret=***&params%5B***%5D=x")


def test_what_is_no_secret_is_kept_as_it_was() -> None:
    journal = Journal(KEY, lambda: [Secret("planted secret")])
    journal.add(
        1_790_000_000_123_456_000,
        Request("POST", "/api/v2/cmd/delTradeOrder", (("X-NtApi-Sig", "ab" * 32), ("X-Own", "é")), b"a=b", "c=d"),
        Reply(403, (("Content-Type", "text/html"),), b"<p>"),
        Assessment("key-unknown", "key-rejected", ("a note",), "a=b", "cd" * 32, "17", "5"),
    )
    assert json.loads(msgspec.json.encode(journal.exchanges())) == [
        {
            "seq": 1,
            "at": "2026-09-21T14:13:20.123456Z",
            "session": KEY,
            "request": {
                "headers": [["X-NtApi-Sig", "ab" * 32], ["X-Own", "é"]],
                "body": "a=b",
                "line": "POST /api/v2/cmd/delTradeOrder?c=d",
            },
            "reply": {"headers": [["Content-Type", "text/html"]], "body": "<p>", "status": 403},
            "assessment": {
                "situation": "key-unknown",
                "payload": "key-rejected",
                "notes": ["a note"],
                "string_to_sign": "a=b",
                "expected_signature": "cd" * 32,
                "last_nonce": "17",
                "order_id": "5",
            },
        }
    ]


def test_a_failure_without_a_reply_is_recorded_too() -> None:
    exchange = Redactor((Secret("planted secret"),)).record(
        1, 0, "s", Request("POST", "/"), None, "no answer to planted%20secret"
    )
    assert exchange.reply is None
    assert exchange.assessment is None
    assert exchange.failure == "no answer to ***"


def test_bytes_that_are_no_text_are_shown_with_escapes() -> None:
    assert Redactor().body(b"\xff\x00a\xc3\xa9") == "\\xff\x00aé"


# ---- private records ---------------------------------------------------------------------------------------


def private(request: Request, reply: Reply = REPLY) -> Exchange:
    return Redactor((Secret("planted secret"),), (KEY, "a/b c"), private=True).record(1, 0, KEY, request, reply)


def test_a_private_record_drops_every_header_it_does_not_know() -> None:
    headers = (("Cookie", "a"), ("Authorization", "b"), ("Host", "c"), ("Set-Cookie", "d"), ("X-NtApi-PublicKey", KEY))
    harmless = (("CONTENT-TYPE", "e"), ("Retry-After", "2"), ("Date", "now"))
    exchange = private(Request("POST", "/", headers + harmless), Reply(200, headers + harmless))
    assert exchange.request.headers == list(harmless)
    assert exchange.reply
    assert exchange.reply.headers == list(harmless)


def test_a_private_record_keeps_no_signature_that_was_put_elsewhere() -> None:
    digest = "0123456789abcdef" * 4
    exchange = private(Request("POST", "/", (), f"sig={digest}".encode(), f"sign={digest}"))
    assert (exchange.request.line, exchange.request.body) == ("POST /?sign=<signature>", "sig=<signature>")


def test_a_private_record_keeps_the_shape_of_a_signature_only() -> None:
    exchange = private(Request("POST", "/", (("x-ntapi-sig", "0123456789abcdef" * 4),)))
    assert exchange.request.headers == [("x-ntapi-sig", "01234567… (64 characters)")]


@pytest.mark.parametrize("spelling", [KEY, "a/b c", "a%2Fb%20c", "a%2Fb+c"])
def test_a_private_record_names_no_key(spelling: str) -> None:
    body = f"apiKey={spelling}&cmd=x".encode()
    request = Request("POST", f"/{spelling}", (("Content-Type", spelling),), body, spelling)
    exchange = private(request, Reply(200, (), body))
    assert spelling not in rendered(exchange)
    assert exchange.session == "<api key>"
    assert exchange.request.line == "POST /<api key>?<api key>"
    assert exchange.request.body == "apiKey=<api key>&cmd=x"


def test_a_record_that_is_not_private_keeps_key_and_signature() -> None:
    request = Request("POST", "/", (("X-NtApi-Sig", "ab"),), KEY.encode())
    exchange = Redactor(()).record(1, 0, KEY, request, None)
    assert (exchange.session, exchange.request.body, exchange.request.headers) == (KEY, KEY, [("X-NtApi-Sig", "ab")])


# ---- size and order ----------------------------------------------------------------------------------------


def test_the_oldest_exchange_gives_way_and_the_numbers_go_on() -> None:
    journal = Journal(KEY, size=3)
    for number in range(5):
        add(journal, Request("POST", f"/{number}"))
    assert len(journal) == 3
    assert [(exchange.seq, exchange.request.line) for exchange in journal.exchanges()] == [
        (3, "POST /2"), (4, "POST /3"), (5, "POST /4"),
    ]  # fmt: skip


def test_a_cleared_journal_numbers_from_1_again() -> None:
    journal = Journal(KEY)
    add(journal, Request("POST", "/a"))
    journal.clear()
    assert (len(journal), journal.exchanges()) == (0, [])
    add(journal, Request("POST", "/b"))
    assert [exchange.seq for exchange in journal.exchanges()] == [1]


@given(st.sampled_from("aé\U0001f600\0"), st.integers(0, 3 * BODY_KEPT))
def test_a_body_is_cut_with_its_true_size_told(character: str, count: int) -> None:
    journal = Journal(KEY)
    body = (character * count).encode()
    add(journal, Request("POST", "/", (), body), Reply(200, (), body))
    (exchange,) = journal.exchanges()
    assert exchange.reply
    for message in (exchange.request, exchange.reply):
        assert len(message.body) <= BODY_KEPT
        if count <= BODY_KEPT:
            assert message.body == character * count
        else:
            assert message.body.startswith(character * (BODY_KEPT - 40))
            assert message.body.endswith(f"… ({len(body)} bytes)")


@given(st.integers(0, 60), st.sampled_from([1, 2]), st.integers(50, 400))
def test_no_part_of_a_secret_is_left_where_a_body_is_cut(offset: int, times: int, repeated: int) -> None:
    secret = "planted-0123456789-abcdefghij-klmnopqrst"
    journal = Journal(KEY, lambda: [Secret(secret)])
    body = b"x" * offset + secret.encode() * repeated + b"y" * (times * BODY_KEPT - offset - 20) + secret.encode() * 5
    add(journal, Request("POST", "/", (), body), Reply(200, (), body))
    (exchange,) = journal.exchanges()
    assert exchange.reply
    assert "planted" not in exchange.request.body + exchange.reply.body


def test_a_journal_holds_no_more_of_a_body_than_it_shows() -> None:
    journal = Journal(KEY)
    add(journal, Request("POST", "/", (), b"x" * 1_000_000))
    (entry,) = journal._entries
    assert len(entry.request.body) < 2 * BODY_KEPT


def test_threads_that_write_at_once_lose_nothing() -> None:
    journal, start = Journal(KEY, size=10_000), threading.Barrier(8)

    def write() -> None:
        start.wait()
        for _ in range(200):
            add(journal, Request("POST", "/"))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(exchange.seq for exchange in journal.exchanges()) == list(range(1, 8 * 200 + 1))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_790_000_000_000_001_000, "2026-09-21T14:13:20.000001Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_microseconds(nanoseconds: int, text: str) -> None:
    assert timestamp(nanoseconds) == text


@pytest.mark.parametrize(
    "spelled",
    [
        "p%2fl%2ba%25n%3dt%20e%26d%21%28s%29",
        "p%2Fl%2Ba%25n%3Dt%20e%26d!(s)",
        "p%2Fl%2Ba%25n%3Dt+e%26d%21%28s%29",
        "702F6C2B61256E3D742065266421287329",
    ],
    ids=["lower-case escapes", "as JavaScript escapes", "as forms escape", "upper-case hex"],
)
def test_a_secret_is_known_in_the_spellings_of_other_languages(spelled: str) -> None:
    redactor = Redactor((Secret("p/l+a%n=t e&d!(s)"),))
    assert redactor.text(f"before {spelled} after") == "before *** after"


def test_a_users_own_key_is_hidden_in_records_of_whatever_server() -> None:
    request = Request("POST", "/", (("X-NtApi-Sig", "ab"),), KEY.encode())
    exchange = Redactor((), (KEY,)).record(1, 0, KEY, request, None)
    assert (exchange.session, exchange.request.body) == ("<api key>", "<api key>")


def test_a_private_record_keeps_of_replies_only_the_members_of_the_contract() -> None:
    told = b'{"order_id": 5, "sess_id": "personal", "login": {"name": "personal"}, "error": "refused", "code": 7}'
    redactor = Redactor(private=True)
    shown = redactor.reply_body(told)
    assert json.loads(shown) == {"order_id": 5, "sess_id": "…", "login": "…", "error": "refused", "code": 7}
    assert len(redactor.reply_body(b"<html>" + b"x" * 5000)) == 200
    assert Redactor().reply_body(told) == told.decode()
