"""Saved requests: raw HTTP in any line ends, and HAR files."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mock_server.broker import DEMO, Broker
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Request, compose
from tn_contract.record.evidence import of_session, to_lines
from tn_contract.record.requestfile import read_requests

RAW = "POST /api/v2/cmd/delTradeOrder?a=b HTTP/1.1\nHost: localhost\nX-NtApi-Sig: abc\n\napiKey=k&nonce=1"
EXPECTED = Request(
    "POST",
    "/api/v2/cmd/delTradeOrder",
    (("Host", "localhost"), ("X-NtApi-Sig", "abc")),
    b"apiKey=k&nonce=1",
    "a=b",
)


@pytest.mark.parametrize(
    "text",
    [
        RAW,
        RAW.replace("\n", "\r\n"),
        RAW + "\n",
        "\n" + RAW + "\r\n",
        "\ufeff" + RAW,
        RAW.replace(" HTTP/1.1", ""),
        RAW.replace("POST /", "post https://localhost/").replace("Host: localhost\n", "Host: localhost\n"),
    ],
)
def test_a_request_is_read_whatever_its_line_ends(text: str) -> None:
    assert read_requests(text.encode()) == [EXPECTED]


def test_a_whole_url_gives_the_host() -> None:
    (request,) = read_requests(b"POST https://tradernet.com/api/v2/cmd/x HTTP/1.1\n\n")
    assert request == Request("POST", "/api/v2/cmd/x", (("Host", "tradernet.com"),))


def test_the_content_length_decides_where_the_body_ends() -> None:
    (request,) = read_requests(b"POST /x HTTP/1.1\nContent-Length: 4\n\na=1\n\n")
    assert request.body == b"a=1\n"


def test_a_body_of_several_lines_is_kept() -> None:
    (request,) = read_requests(b"POST /x HTTP/1.1\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n")
    assert request.body == b"--b\r\n\r\nx\r\n--b--\r\n"


def entry(**post: Any) -> dict[str, Any]:
    headers = [{"name": "X-NtApi-Sig", "value": "abc"}, {"name": ":method", "value": "POST"}]
    return {"request": {"method": "POST", "url": "https://h/api/v2/cmd/x?q=1", "headers": headers, "postData": post}}


@pytest.mark.parametrize(
    "har",
    [
        {"log": {"entries": [{"request": {"method": "GET", "url": "https://h/"}}, entry(text="a=%20b")]}},
        entry(text="a=%20b"),
        [entry(text="a=%20b")],
    ],
)
def test_each_post_of_a_har_is_read(har: Any) -> None:
    expected = Request("POST", "/api/v2/cmd/x", (("X-NtApi-Sig", "abc"), ("Host", "h")), b"a=%20b", "q=1")
    assert read_requests(json.dumps(har).encode()) == [expected]


def test_the_params_of_a_har_make_a_form() -> None:
    har = entry(mimeType="application/x-www-form-urlencoded", params=[{"name": "params[a]", "value": "x y"}])
    (request,) = read_requests(json.dumps(har).encode())
    assert request.body == b"params%5Ba%5D=x+y"
    assert request.header("Content-Type") == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin with a request line"),
        (b"hello\n\nbody", "does not begin with a request line"),
        (b"POST /x HTTP/1.1\nno header\n\n", "is no header"),
        (b"POST http://[ HTTP/1.1\n\n", "is no URL"),
        (b'{"log": ', "looks like JSON"),
        (b'{"log": {"entries": [1]}}', "no HAR"),
        (b"[[]]", "no HAR"),
        (b'{"log": {"entries": []}}', "holds no POST"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_requests(content)


@pytest.mark.parametrize("form", ["document", "lines"])
def test_a_journal_of_the_mock_is_read_as_its_requests(form: str) -> None:
    broker = Broker()
    sent = compose(DEMO, "delTradeOrder", 5, {"order_id": "1"}).request
    broker.handle(sent)
    session = broker.session(DEMO.api_key)
    assert session
    exchanges = session.journal.exchanges()
    document = msgspec.json.encode({"exchanges": exchanges})
    content = document if form == "document" else b"".join(to_lines(of_session("me", exchanges)))
    assert read_requests(content) == [sent]
