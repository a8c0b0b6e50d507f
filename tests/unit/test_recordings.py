"""Recordings: what a tool did to a request is said of the recording, and is no mistake of the client."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.broker import Broker
from tn_contract.cli.root import main
from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose, compose_v3, replace
from tn_contract.diagnosis.explain import Explainer, Explanation
from tn_contract.record.requestfile import read_recording, read_requests

PAIR = Credentials("tn-demo-key", Secret("tn-demo-secret"))
SIGNED = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"note": "é", "order_id": 5})
BODY = SIGNED.request.body
PLAIN = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"order_id": 5})
FORM = "Content-Type: application/x-www-form-urlencoded"
ADDRESS = "/api/v2/cmd/delTradeOrder"


def raw(*headers: str, body: bytes = PLAIN.request.body, signature: str = PLAIN.signature, end: str = "\r\n") -> bytes:
    lines = (f"POST {ADDRESS} HTTP/1.1", "Host: localhost", FORM, f"X-NtApi-Sig: {signature}", *headers, "", "")
    return end.join(lines).encode() + body


def explained(content: bytes) -> list[Explanation]:
    return Explainer(PAIR.secret, PAIR, at_ns=0).explain(read_recording(content))


def only(content: bytes) -> Explanation:
    [found] = explained(content)
    return found


LENGTH = f"Content-Length: {len(PLAIN.request.body)}"
CHUNKS = b"10\r\n" + PLAIN.request.body[:16] + b"\r\n%x\r\n" % len(PLAIN.request.body[16:]) + PLAIN.request.body[16:]
CHUNKS += b"\r\n0\r\n\r\n"

# ---- recordings from which the request can be known ------------------------------------------------------------

RIGHT = {
    "as it was sent": raw(LENGTH),
    "with LF": raw(LENGTH, end="\n"),
    "without a length": raw(),
    "a line end after the body": raw(LENGTH, body=PLAIN.request.body + b"\r\n"),
    "an editor's line end": raw(body=PLAIN.request.body + b"\n", end="\n"),
    "chunks": raw("Transfer-Encoding: chunked", body=CHUNKS),
    "chunks with LF": raw("Transfer-Encoding: chunked", body=CHUNKS.replace(b"\r\n", b"\n"), end="\n"),
    "joined chunks": raw("Transfer-Encoding: chunked"),
    "joined chunks with LF": raw("Transfer-Encoding: chunked", body=PLAIN.request.body + b"\n", end="\n"),
    "unpacked": raw("Content-Encoding: gzip"),
    "unpacked, with the packed length": raw("Content-Encoding: gzip", "Content-Length: 20"),
    "HTTP/2": raw(LENGTH).replace(b"HTTP/1.1", b"HTTP/2"),
    "lower-case names": raw(LENGTH).replace(b"X-NtApi-Sig", b"x-ntapi-sig"),
    "no host": raw().replace(b"Host: localhost\r\n", b""),
    "UTF-16": raw(end="\n").decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + raw(LENGTH),
    "a fence of Markdown": b"```http\n" + raw(end="\n") + b"\n```\n",
    "the reply after it": raw(LENGTH) + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "the reply after an empty line": raw(end="\n") + b"\n\nHTTP/1.1 200 OK\nContent-Type: a/b\n\n{}\n",
    "wrapped lines": raw(body=PLAIN.request.body.replace(b"&", b"\n&"), end="\n"),
    "wrapped and indented lines": raw(body=PLAIN.request.body.replace(b"&", b"&\n    "), end="\n"),
}
NOTED = {"joined chunks", "joined chunks with LF", "unpacked", "wrapped lines",
         "unpacked, with the packed length", "wrapped and indented lines"}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_request_is_right_however_it_was_recorded(name: str) -> None:
    found = only(RIGHT[name])
    assert (found.situation, found.right, found.diagnosis) == ("cancel-accepted", True, None)
    assert bool(found.recording) is (name in NOTED)


# ---- recordings from which it cannot -----------------------------------------------------------------------

OPEN = {
    "cut off": raw(LENGTH, body=PLAIN.request.body[:-5]),
    "cut off with LF": raw(LENGTH, body=PLAIN.request.body[:-5], end="\n"),
    "headers alone": raw(LENGTH, body=b""),
    "headers alone with LF": raw(LENGTH, body=b"", end="\n"),
    "joined chunks with a length": raw("Transfer-Encoding: chunked", LENGTH),
    "half of the chunks": raw("Transfer-Encoding: chunked", body=CHUNKS[:30]),
    "more than its length": raw("Content-Length: 20"),
    "a length of 0": raw("Content-Length: 0"),
    "a line end lost": raw(f"Content-Length: {len(PLAIN.request.body) + 1}"),
    "joined chunks, wrongly signed": raw("Transfer-Encoding: chunked", signature="ab" * 32),
    "unpacked, wrongly signed": raw("Content-Encoding: br", signature="ab" * 32),
}


@pytest.mark.parametrize("name", OPEN)
def test_a_contradiction_is_named_and_no_mistake_of_the_client(name: str) -> None:
    found = only(OPEN[name])
    assert (found.judged, found.right, found.diagnosis, found.situation) == (False, False, None, "recording")
    assert found.recording


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Content-Length: 20", "Content-Length is 20, but the recorded body has"),
        ("Transfer-Encoding: chunked", "the recording tool joined the chunks"),
        ("Content-Encoding: gzip", "Content-Encoding is gzip, but the recorded body is not compressed"),
    ],
)
def test_the_header_that_contradicts_is_named(header: str, told: str) -> None:
    assert told in only(raw(header)).recording[0]


def test_replies_between_requests_are_passed_over() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\r\n"
    found = explained(raw(LENGTH) + reply + raw(LENGTH, signature="ab" * 32) + reply)
    assert [each.situation for each in found] == ["cancel-accepted", "signature-invalid"]


def test_a_line_end_that_was_sent_is_a_mistake_of_the_client() -> None:
    found = only(raw(f"Content-Length: {len(PLAIN.request.body) + 1}", body=PLAIN.request.body + b"\n"))
    assert found.diagnosis
    assert found.diagnosis.mistakes == ("body-ends-otherwise",)
    assert r"'\n'" in found.diagnosis.told


def test_a_body_that_was_sent_compressed_is_a_mistake_of_the_client() -> None:
    packed = gzip.compress(PLAIN.request.body)
    found = only(raw("Content-Encoding: gzip", f"Content-Length: {len(packed)}", body=packed))
    assert found.diagnosis
    assert found.diagnosis.mistakes == ("body-compressed",)


def test_multipart_bodies_get_their_line_ends_back() -> None:
    sent = b'--b\r\nContent-Disposition: form-data; name="cmd"\r\n\r\nx\r\n--b--\r\n'
    content = raw(f"Content-Length: {len(sent)}", body=sent.replace(b"\r\n", b"\n"), end="\n")
    [request] = read_recording(content).requests
    assert [reading.request.body for reading in request.readings] == [sent]


# ---- .http files -------------------------------------------------------------------------------------------

HTTP_FILE = f"""@host = tradernet.com
### first
// a comment
# another
POST https://{{{{host}}}}{ADDRESS}
{FORM}
X-NtApi-Sig: {PLAIN.signature}

{PLAIN.request.body.decode()}

> {{%
    client.test("x")
%}}

### second
POST https://tradernet.com{ADDRESS} HTTP/1.1
{FORM}
X-NtApi-Sig: {PLAIN.signature}

{PLAIN.request.body.decode()}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_request_of_an_http_file_is_judged_by_itself(end: str) -> None:
    found = explained(HTTP_FILE.replace("\n", end).encode())
    assert [(each.name, each.right) for each in found] == [("request 1", True), ("request 2", True)]


def test_a_variable_without_a_value_leaves_open_what_was_sent() -> None:
    found = only(HTTP_FILE.replace("nonce=17", "nonce={{nonce}}").partition("### second")[0].encode())
    assert (found.judged, found.recording[0]) == (
        False, "'{{nonce}}' stands for something that the file does not hold"
    )  # fmt: skip


# ---- cURL --------------------------------------------------------------------------------------------------

URL = f"https://tradernet.com{ADDRESS}"
BODY_TEXT = PLAIN.request.body.decode()
ANSI = BODY_TEXT.replace("=5", r"=\u0035")
CURL = {
    "bash": f"curl '{URL}' \\\n  -H 'accept: */*' \\\n  -H 'x-ntapi-sig: {PLAIN.signature}' \\\n"
    f"  --data-raw '{BODY_TEXT}' \\\n  --compressed",
    "bash, ANSI": f"curl '{URL}' -H 'x-ntapi-sig: {PLAIN.signature}' --data-raw $'{ANSI}'",
    "bash, by hand": f'$ curl -sS -X POST "{URL}" -H "X-NtApi-Sig: {PLAIN.signature}" '
    + " ".join(f'-d "{field}"' for field in BODY_TEXT.split("&")),
    "cmd": f'curl ^"{URL}^" ^\r\n  -H ^"x-ntapi-sig: {PLAIN.signature}^" ^\r\n  --data-raw ^"'
    + BODY_TEXT.replace("&", "^&").replace("%", "^%") + '^"\r\n',
    "cmd, older": f'curl "{URL}" ^\r\n  -H "x-ntapi-sig: {PLAIN.signature}" ^\r\n  --data-raw "'
    + BODY_TEXT.replace("%", '"%"') + '" ^\r\n  --compressed\r\n',
    "fetch": f'fetch("{URL}", ' + json.dumps({
        "headers": {"content-type": "application/x-www-form-urlencoded", "x-ntapi-sig": PLAIN.signature},
        "body": BODY_TEXT, "method": "POST"}) + ");",
    "trace": f"== Info: x\n=> Send header, 99 bytes (0x63)\n0000: POST {ADDRESS} HTTP/1.1\n0010: Host: localhost\n"
    f"0020: {FORM}\n0030: X-NtApi-Sig: {PLAIN.signature}\n0040: Content-Length: {len(BODY_TEXT)}\n0050: \n"
    f"=> Send data, 84 bytes (0x54)\n0000: {BODY_TEXT[:64]}\n0040: {BODY_TEXT[64:]}\n<= Recv header, 1 bytes\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CURL)
def test_what_curl_and_browsers_give_is_read(name: str) -> None:
    found = only(CURL[name].encode())
    assert (found.situation, found.recording) == ("cancel-accepted", ())


def test_several_curl_commands_are_told_apart() -> None:
    found = explained(f"{CURL['bash']} ;\n{CURL['bash, ANSI'].replace('u0035', 'u0036')}".encode())
    assert [(each.name, each.right) for each in found] == [("request 1", True), ("request 2", False)]


def test_the_headers_that_curl_prints_hold_no_body() -> None:
    sent = (f"POST {ADDRESS} HTTP/1.1", "Host: x", FORM, "Content-Length: 84", "")
    dump = "*   Trying 127.0.0.1\n" + "".join(f"> {line}\n" for line in sent) + "< HTTP/1.1 200\n"
    found = only(dump.encode())
    assert (found.judged, found.recording) == (
        False, ("the recording does not hold the body: record it again, with the body",)
    )  # fmt: skip


# ---- HAR ---------------------------------------------------------------------------------------------------


def entry(post: Any, *, url: str = URL, method: str = "POST", size: int = -1, headers: Any = None) -> dict[str, Any]:
    own = [{"name": "Content-Type", "value": "application/x-www-form-urlencoded"},
           {"name": "X-NtApi-Sig", "value": PLAIN.signature}]  # fmt: skip
    request = {"method": method, "url": url, "headers": own if headers is None else headers, "bodySize": size}
    return {"request": request | ({"postData": post} if post is not None else {}), "startedDateTime": "2026-01-01"}


def har(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"log": {"entries": entries}}).encode()


PARAMS = [
    {"name": name, "value": value}
    for name, value in (
        ("apiKey", PAIR.api_key),
        ("cmd", "delTradeOrder"),
        ("nonce", "17000000000000"),
        ("params[order_id]", "5"),
    )
]
RAW_PARAMS = [{**each, "name": each["name"].replace("[", "%5B").replace("]", "%5D")} for each in PARAMS]
HARS = {
    "text": entry({"text": BODY_TEXT}, size=len(BODY_TEXT)),
    "no text": entry({"text": "", "params": PARAMS}),
    "raw params": entry({"params": RAW_PARAMS}),
    "base64": entry({"text": base64.b64encode(BODY_TEXT.encode()).decode(), "encoding": "base64"}),
    "base64, not said": entry({"text": base64.b64encode(BODY_TEXT.encode()).decode()}),
    "base64 said, but plain": entry({"text": BODY_TEXT + " ".strip(), "encoding": "base64"}),
    "another size": entry({"text": BODY_TEXT}, size=3),
    "a size of 0": entry({"text": BODY_TEXT}, size=0),
    "pseudo headers": entry({"text": BODY_TEXT}, headers=[
        {"name": ":method", "value": "POST"}, {"name": ":authority", "value": "tradernet.com"},
        {"name": "content-type", "value": "application/x-www-form-urlencoded"},
        {"name": "x-ntapi-sig", "value": PLAIN.signature}]),
}  # fmt: skip


@pytest.mark.parametrize("name", HARS)
def test_a_right_request_is_right_however_the_har_holds_it(name: str) -> None:
    found = only(har(HARS[name]))
    assert (found.situation, found.right) == ("cancel-accepted", True)
    assert bool(found.recording) is (name not in ("text", "base64", "pseudo headers"))


@pytest.mark.parametrize("post", [None, {"mimeType": "x"}])
def test_a_har_without_a_body_leaves_open_what_was_sent(post: Any) -> None:
    assert not only(har(entry(post))).judged


def test_a_har_that_says_that_nothing_was_sent_is_believed() -> None:
    found = only(har(entry(None, size=0)))
    assert found.diagnosis
    assert found.diagnosis.mistakes == ("empty-body",)


def test_a_har_whose_size_contradicts_a_wrong_request_is_not_judged() -> None:
    wrong = entry({"text": BODY_TEXT.replace("=5", "=6")}, size=3)
    assert not only(har(wrong)).judged


def test_requests_to_others_are_left_out_and_counted_and_the_rest_have_numbers() -> None:
    foreign = entry({"text": "v=1"}, url="https://mc.example/collect", headers=[])
    chat = entry({"text": "{}"}, url="https://chat.example/api/messages", headers=[])
    page = entry(None, url="https://tradernet.com/", method="GET", headers=[])
    preflight = entry(None, url=URL, method="OPTIONS", headers=[])
    recording = read_recording(har(foreign, page, preflight, entry({"text": BODY_TEXT}), chat))
    assert [each.name for each in recording.requests] == ["entry 4 of 5, 2026-01-01"]
    assert recording.left_out == 4
    with pytest.raises(UsageError, match="2 other requests"):
        read_recording(har(foreign, page))


def test_requests_with_a_header_of_the_api_are_judged_at_any_address() -> None:
    v3 = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 5}).request
    headers = [{"name": name, "value": value} for name, value in v3.headers]
    found = only(har(entry({"text": v3.body.decode()}, url="https://x.example/v3/cancel", headers=headers)))
    assert found.diagnosis
    assert found.diagnosis.mistakes == ("wrong-address",)
    assert "of v3 it is /api/delTradeOrder." in found.diagnosis.told


def test_a_nonce_that_two_entries_share_is_noticed() -> None:
    found = explained(har(entry({"text": BODY_TEXT}), entry({"text": BODY_TEXT})))
    assert [each.situation for each in found] == ["cancel-accepted", "nonce-replayed"]


# ---- journals ----------------------------------------------------------------------------------------------


def test_a_secret_that_a_journal_blanked_leaves_open_what_was_sent() -> None:
    line = {"line": f"POST {ADDRESS}", "headers": [["X-NtApi-Sig", PLAIN.signature]], "body": "apiKey=***&cmd=x"}
    found = only(json.dumps({"exchanges": [{"request": line}]}).encode())
    assert (found.judged, found.recording) == (False, ("the journal blanked a secret here",))


@pytest.mark.parametrize(
    "path", ["/api/v2/cmd/{command}", "/api/v2/a b", "/api/v2/100%", "/api/v2/\xe9", "/api/v2/a?b"]
)
def test_a_journal_gives_back_every_path(path: str) -> None:
    broker = Broker()
    request = replace(PLAIN.request, path=path, query="c=d")
    broker.handle(request)
    session = broker.session("tn-demo-key")
    assert session
    content = msgspec.json.encode({"exchanges": session.journal.exchanges()})
    [found] = read_requests(content)
    assert f"{found.path}?{found.query}" == f"{path}?c=d"


# ---- the verb ----------------------------------------------------------------------------------------------


def ran(content: bytes, folder: Path, *options: str) -> Any:
    file = folder / "recording"
    file.write_bytes(content)
    environment = {"TN_API_SECRET": "tn-demo-secret", "TN_API_KEY": ""}
    return CliRunner().invoke(main, ["explain-request", str(file), *options], env=environment)


def test_exit_codes_tell_right_refused_and_open(tmp_path: Path) -> None:
    assert ran(raw(LENGTH), tmp_path).exit_code == 0
    assert ran(raw(LENGTH, signature="ab" * 32), tmp_path).exit_code == 1
    assert ran(OPEN["cut off"], tmp_path).exit_code == 4


def test_entries_are_named_and_those_left_out_counted_in_the_output(tmp_path: Path) -> None:
    foreign = entry({"text": "v=1"}, url="https://mc.example/collect", headers=[])
    shown = ran(har(foreign, entry({"text": BODY_TEXT})), tmp_path).output
    assert f"entry 2 of 2, 2026-01-01: POST {ADDRESS}" in shown
    assert "1 requests to other addresses were left out" in shown


def test_no_character_of_a_recording_reaches_the_terminal_raw(tmp_path: Path) -> None:
    hostile = "\x1b[2J\x1b]52;c;aGk=\x07\u202e\u200b\x9b"
    body = f"api{hostile}Key=tn-demo-key&cmd={hostile}".encode()
    head = f"POST /api/v2/cmd/x HTTP/1.1\r\nHost: x\r\n{FORM}\r\nX-NtApi-Sig: a\r\n\r\n".encode()
    for content in (head + body, har(entry({"text": body.decode()}, url=f"https://x/api/v2/{hostile}"))):
        for options in ((), ("--json",)):
            shown = ran(content, tmp_path, *options).output
            assert all(line.isprintable() for line in shown.splitlines()), shown


_PIECES = st.sampled_from([
    b"POST /api/v2/cmd/delTradeOrder HTTP/1.1\r\n", b"POST /api/delTradeOrder HTTP/1.1\n", b"Host: x\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"5\r\nabcde\r\n0",
    FORM.encode() + b"\r\n", b"apiKey=k&cmd=delTradeOrder", b"X-NtApi-Sig: a\r\n", b"X-NtApi-Timestamp: 1\r\n",
    b"X-NtApi-PublicKey: k\r\n", b'{"log": {"entries": [', b'{"request": {"method": "POST", "url": "', b'"}}]}}',
    b"curl ", b"'", b'"', b"^", b"$'\\u", b"-d ", b"###\n", b"{{x}}", b"@a = b\n", b"> POST / HTTP/1.1\n",
    b"=> Send header\n0000: ", b'fetch("a", {})', b'{"exchanges": [{"request": {}}]}', b"&amp;", b"\x1f\x8b", b"%",
    b"\r\n\r\n", b"\n\n", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe",
])  # fmt: skip


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.lists(st.one_of(_PIECES, st.binary(max_size=6)), max_size=12).map(b"".join))
)
def test_any_file_ends_with_an_exit_code_and_printable_text(content: bytes) -> None:
    environment = {"TN_API_SECRET": "tn-demo-secret", "TN_API_KEY": ""}
    result = CliRunner().invoke(main, ["explain-request", "-"], input=content, env=environment)
    assert result.exit_code in (0, 1, 4), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert all(line.isprintable() for line in result.output.split("\n"))
    assert "Traceback" not in result.output
