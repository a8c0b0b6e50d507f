"""The mock as a server: a real socket, HTTP that is no HTTP, starting and stopping."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server import serve
from mock_server import server as server_room
from mock_server.broker import DEMO, Answer, Broker
from mock_server.serve import RunningMock, listen, running
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import FORM_TYPE, Request, compose
from tn_contract.record.http_reader import HEADER_LIMIT, MAX_BODY, READ_LIMIT

pytestmark = [pytest.mark.slow, pytest.mark.timed]

PATIENCE = 8  # seconds: below the server's own idle limit, so that no test passes by waiting
SUCCESS = b'{\n    "order_id" : 2929292929\n}'


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running(Broker(policy="none")) as mock:
        yield mock


def address(mock: RunningMock) -> tuple[str, int]:
    host, port = mock.base_url.removeprefix("http://").split(":")
    return host, int(port)


def cancel(nonce: int = 1) -> Request:
    return compose(DEMO, "delTradeOrder", nonce, {"order_id": 2929292929}).request


def ask(connection: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    connection.request(request.method, request.path, request.body, dict(request.headers))
    reply = connection.getresponse()
    return reply.status, reply.read()


def assert_still_answers(mock: RunningMock) -> None:
    connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
    try:
        assert ask(connection, cancel()) == (200, SUCCESS)
    finally:
        connection.close()


def say(mock: RunningMock, data: bytes) -> bytes:
    """Send bytes, close our side, and return all that comes back; a hang is a failure."""
    with socket.create_connection(address(mock), timeout=PATIENCE) as sock:
        received = b""
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                received += chunk
        except OSError as error:
            # Closed on us, which is allowed.
            assert error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)  # noqa: PT017 # a hang has no errno
    return received


def replies(received: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Split what came back into replies; fails where it is no sequence of HTTP replies."""
    found = []
    while received:
        head, separator, received = received.partition(b"\r\n\r\n")
        assert separator, head
        status, *lines = head.decode("latin-1").split("\r\n")
        version, code, _ = status.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if code in ("100", "204") else int(headers["Content-Length"])
        found.append((int(code), headers, received[:length]))
        assert len(received) >= length
        received = received[length:]
    return found


def raw(*lines: str, body: bytes = b"") -> bytes:
    if lines[0].endswith("HTTP/1.1"):
        lines = (lines[0], "Host: localhost", *lines[1:])
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


# ---- good requests -----------------------------------------------------------------------------------------


def test_one_connection_serves_many_requests(mock: RunningMock) -> None:
    connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
    try:
        assert ask(connection, cancel()) == (200, SUCCESS)
        first = connection.sock
        for _ in range(20):
            assert ask(connection, cancel()) == (200, SUCCESS)
        assert connection.sock is first
    finally:
        connection.close()


def test_requests_may_be_sent_ahead_of_the_replies(mock: RunningMock) -> None:
    body = cancel().body
    one = raw(
        "POST /api/v2/cmd/delTradeOrder HTTP/1.1",
        *(f"{name}: {value}" for name, value in cancel().headers),
        f"Content-Length: {len(body)}",
        body=body,
    )
    assert [body for _, _, body in replies(say(mock, one * 5))] == [SUCCESS] * 5


def test_a_chunked_body_is_read(mock: RunningMock) -> None:
    request = cancel()
    connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
    try:
        for _ in range(2):
            pieces = (request.body[at : at + 7] for at in range(0, len(request.body), 7))
            headers = dict(request.headers)
            connection.request("POST", request.path, pieces, headers, encode_chunked=True)
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, SUCCESS)
    finally:
        connection.close()


def test_a_client_that_asks_before_it_sends_is_told_to_continue(mock: RunningMock) -> None:
    body = cancel().body
    head = raw(
        "POST /api/v2/cmd/delTradeOrder HTTP/1.1",
        "Expect: 100-continue",
        *(f"{name}: {value}" for name, value in cancel().headers),
        f"Content-Length: {len(body)}",
    )
    found = replies(say(mock, head + body))
    assert [status for status, _, _ in found] == [100, 200]
    assert found[1][2] == SUCCESS


def test_http_1_0_is_answered_and_closed(mock: RunningMock) -> None:
    [(status, headers, _)] = replies(say(mock, raw("GET /api/v2 HTTP/1.0")))
    assert status == 200
    assert "X-Tn-Mock" not in headers


@pytest.mark.parametrize("size", [MAX_BODY + 1, READ_LIMIT])
def test_a_client_that_sends_too_much_gets_to_read_why(mock: RunningMock, size: int) -> None:
    connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
    try:
        connection.request("POST", "/api/v2", b"x" * size, {"Content-Type": FORM_TYPE})
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("X-Tn-Mock")) == (413, "harness-error")
        assert json.loads(reply.read())["reason"] == "the body is too large"
    finally:
        connection.close()
    assert_still_answers(mock)


def test_a_header_with_an_underscore_is_not_the_one_with_a_hyphen(mock: RunningMock) -> None:
    request = cancel()
    headers = {name.replace("X-NtApi-Sig", "X_NtApi_Sig"): value for name, value in request.headers}
    connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
    try:
        connection.request("POST", request.path, request.body, headers)
        assert b"Invalid signature" in connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("first", [True, False])
def test_two_signatures_are_none_even_if_one_is_right(mock: RunningMock, first: bool) -> None:
    request = cancel()
    right, wrong = f"X-NtApi-Sig: {request.header('X-NtApi-Sig')}", f"X-NtApi-Sig: {'0' * 64}"
    signatures = (right, wrong) if first else (wrong, right)
    data = raw(
        "POST /api/v2/cmd/delTradeOrder HTTP/1.1",
        f"Content-Type: {FORM_TYPE}",
        *signatures,
        f"Content-Length: {len(request.body)}",
        body=request.body,
    )
    [(_, _, body)] = replies(say(mock, data))
    assert b"Invalid signature" in body


# ---- HTTP that is no HTTP ----------------------------------------------------------------------------------

POST = "POST /api/v2 HTTP/1.1"
FORM = f"Content-Type: {FORM_TYPE}"
CHUNKED = "Transfer-Encoding: chunked"
NONSENSE = {
    "nothing": b"",
    "empty lines": b"\r\n\r\n\r\n\r\n",
    "zeros": b"\0" * 500,
    "no text": bytes(range(256)) * 4,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "one word": raw("GET"),
    "no version": raw("GET /api/v2"),
    "half a request line": b"POST /api/v2 HT",
    "half a header": b"POST /api/v2 HTTP/1.1\r\nContent-Ty",
    "no empty line after the headers": b"POST /api/v2 HTTP/1.1\r\nHost: x\r\n",
    "lines without CR": b"POST /api/v2 HTTP/1.1\nHost: x\n\n",
    "headers without CR": b"POST /api/v2 HTTP/1.1\r\nHost: x\n\r\n",
    "four words": raw("GET /api v2 HTTP/1.1"),
    "another protocol": raw("GET /api/v2 FTP/1.1"),
    "HTTP/9.9": raw("POST /api/v2 HTTP/9.9"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": raw("GET /api/v2 HTTP/0.9"),
    "a version in letters": raw("GET /api/v2 HTTP/one.one"),
    "a lower-case method": raw("post /api/v2 HTTP/1.1"),
    "an absolute address without host": raw("POST http:///api/v2 HTTP/1.1"),
    "an address without a slash": raw("POST api/v2 HTTP/1.1"),
    "two slashes": raw("POST //api/v2 HTTP/1.1"),
    "a broken IPv6 host": raw("POST //[ HTTP/1.1"),
    "a fragment": raw("POST /api/v2#x HTTP/1.1"),
    "an address beyond ASCII": raw("POST /api/v2/\xff HTTP/1.1"),
    "a tunnel": raw("CONNECT tradernet.example:443 HTTP/1.1"),
    "options of everything": raw("OPTIONS * HTTP/1.1"),
    "a header without colon": raw(POST, "Host x"),
    "a header without name": raw(POST, ": x"),
    "a space before the colon": raw(POST, "Content-Length : 5", body=b"12345"),
    "a folded header": raw(POST, "X-A: 1", " 2"),
    "a long address": raw(f"POST /api/v2/{'x' * HEADER_LIMIT} HTTP/1.1"),
    "a long header": raw(POST, f"X-A: {'x' * HEADER_LIMIT}"),
    "a flood of headers": raw(POST, *(f"X-{number}: 1" for number in range(HEADER_LIMIT // 6))),
    "a negative length": raw(POST, FORM, "Content-Length: -5", body=b"a=b"),
    "a length in letters": raw(POST, FORM, "Content-Length: five", body=b"a=b"),
    "a length with a sign": raw(POST, FORM, "Content-Length: +3", body=b"a=b"),
    "a length with an underscore": raw(POST, FORM, "Content-Length: 0_3", body=b"a=b"),
    "an empty length": raw(POST, FORM, "Content-Length:", body=b"a=b"),
    "two lengths": raw(POST, FORM, "Content-Length: 3", "Content-Length: 5", body=b"a=b"),
    "a body shorter than its length": raw(POST, FORM, "Content-Length: 50", body=b"a=b"),
    "no body at all": raw(POST, FORM, "Content-Length: 50"),
    "a huge length": raw(POST, FORM, f"Content-Length: {10**15}", body=b"a=b"),
    "a length without end": raw(POST, FORM, f"Content-Length: {'9' * 5000}", body=b"a=b"),
    "a body that is sent though too large": raw(
        POST, FORM, f"Content-Length: {10 * READ_LIMIT}", body=b"x" * READ_LIMIT
    ),
    "an unknown encoding": raw(POST, FORM, "Transfer-Encoding: gzip", body=b"a=b"),
    "a chunk without size": raw(POST, FORM, CHUNKED, body=b"xyz\r\na=b\r\n0\r\n\r\n"),
    "a chunk that breaks off": raw(POST, FORM, CHUNKED, body=b"50\r\na=b"),
    "chunks without end": raw(POST, FORM, CHUNKED, body=b"3\r\na=b\r\n"),
    "a chunk longer than it says": raw(POST, FORM, CHUNKED, body=b"1\r\na=b\r\n0\r\n\r\n"),
    "a huge chunk": raw(POST, FORM, CHUNKED, body=b"ffffffffffff\r\na=b\r\n0\r\n\r\n"),
    "too many chunks": raw(POST, FORM, CHUNKED, body=(b"1000\r\n" + b"x" * 4096 + b"\r\n") * 300),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_request_is_answered_in_our_own_words_or_not_at_all(
    mock: RunningMock, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    started = time.monotonic()
    for status, headers, body in replies(say(mock, NONSENSE[name])):
        assert status >= 400
        assert headers["X-Tn-Mock"] == "harness-error"
        assert headers["Content-Type"] == "application/json"
        assert set(json.loads(body)) == {"tn_mock", "reason", "hint"}
    assert time.monotonic() - started < 3
    assert_still_answers(mock)
    assert capfd.readouterr().err == ""


def test_a_body_cut_off_by_its_client_is_not_taken_for_a_request(mock: RunningMock) -> None:
    seen = len(mock.broker.unmatched)
    [(status, headers, _)] = replies(say(mock, NONSENSE["a body shorter than its length"]))
    assert (status, headers["X-Tn-Mock"]) == (400, "harness-error")
    assert len(mock.broker.unmatched) == seen


def test_a_slash_too_many_is_named_as_such(mock: RunningMock) -> None:
    seen = len(mock.broker.unmatched)
    [(status, _, body)] = replies(say(mock, NONSENSE["two slashes"]))
    assert status == 599
    assert json.loads(body)["reason"] == "//api/v2 is no address of the API"
    assert [each.request.line for each in mock.broker.unmatched.exchanges()[seen:]] == ["POST //api/v2"]


def test_a_client_that_goes_away_does_no_harm(mock: RunningMock, capfd: pytest.CaptureFixture[str]) -> None:
    data = raw(POST, FORM, "Content-Length: 50", body=b"a=b")
    for _ in range(40):
        with socket.create_connection(address(mock), timeout=PATIENCE) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, not a polite end
            sock.sendall(data)
    assert_still_answers(mock)
    assert capfd.readouterr().err == ""


@settings(max_examples=3 * settings().max_examples)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [b"POST ", b"/api/v2", b" HTTP/1.1", b"\r\n", b"Content-Length: ", b"5", b": ", b"chunked", b"\n"]
        )
        | st.sampled_from(
            [b"Transfer-Encoding: ", b"\r\n\r\n", b"GET", b" ", b"0\r\n\r\n", b"Expect: 100-continue\r\n"]
        )
        | st.binary(max_size=3),
        max_size=25,
    ).map(b"".join)
)
def test_no_bytes_whatsoever_get_an_unmarked_answer_that_is_not_the_apis(mock: RunningMock, data: bytes) -> None:
    api = {(payload.status, payload.body) for payload in mock.broker.corpus.payloads.values()}
    for status, headers, body in replies(say(mock, data)):
        assert status == 100 or headers.get("X-Tn-Mock") == "harness-error" or (status, body.decode()) in api


# ---- starting and stopping ---------------------------------------------------------------------------------


def test_a_port_in_use_is_a_usage_error_that_says_what_to_do(mock: RunningMock) -> None:
    host, port = address(mock)
    with pytest.raises(UsageError, match=rf"cannot listen on {host}:{port} .*in use.*choose another --port, or 0"):
        listen(port=port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_a_usage_error(port: int) -> None:
    with pytest.raises(UsageError, match="choose another --port"):
        listen(port=port)


@pytest.mark.parametrize("host", ["999.1.1.1", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_a_usage_error_that_says_what_to_do(host: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot listen on {host}:0 .*: choose another --host, such as 127\.0\.0\.1"):
        listen(host=host)


def test_no_host_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"choose 127\.0\.0\.1"):
        listen(host="")


def test_two_mocks_side_by_side_share_nothing() -> None:
    with running() as one, running() as two:
        assert one.base_url != two.base_url
        for mock in (one, two):
            assert_still_answers(mock)  # the same nonce twice, once for each
        assert [len(mock.broker.session(DEMO.api_key).journal) for mock in (one, two)] == [1, 1]  # type: ignore[union-attr]


def test_a_stopped_mock_frees_its_port() -> None:
    with running() as mock:
        _, port = address(mock)
    with running(port=port) as again:
        assert_still_answers(again)


def test_stopping_twice_is_stopping_once() -> None:
    with running() as mock:
        mock.stop()
        mock.stop()


def test_a_mock_that_never_served_can_be_stopped() -> None:
    listen().stop()


def test_stopping_answers_the_request_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    entered, leave = threading.Event(), threading.Event()
    handle = broker.handle

    def slow(request: Request) -> Answer:
        entered.set()
        assert leave.wait(PATIENCE)
        return handle(request)

    monkeypatch.setattr(broker, "handle", slow)
    found: list[tuple[int, bytes]] = []
    with running(broker) as mock:
        connection = http.client.HTTPConnection(*address(mock), timeout=PATIENCE)
        client = threading.Thread(target=lambda: found.append(ask(connection, cancel())))
        client.start()
        assert entered.wait(PATIENCE)
        stopping = threading.Thread(target=mock.stop)
        stopping.start()
        leave.set()
        stopping.join(PATIENCE)
        client.join(PATIENCE)
        connection.close()
    assert found == [(200, SUCCESS)]


def test_what_the_loop_waits_for_has_its_state_and_its_sockets_until_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_room, "STOP_SECONDS", 0.05)
    broker = Broker()
    entered, leave, shut = threading.Event(), threading.Event(), threading.Event()

    def slow(_request: Request) -> Answer:
        entered.set()
        assert leave.wait(PATIENCE)
        assert not shut.is_set()
        raise ZeroDivisionError

    monkeypatch.setattr(broker, "handle", slow)
    monkeypatch.setattr(broker.state, "shut", shut.set)
    with running(broker) as mock, socket.create_connection(address(mock), timeout=PATIENCE) as client:
        client.sendall(raw("GET /api/v2 HTTP/1.1"))
        assert entered.wait(PATIENCE)
        stopping = [threading.Thread(target=mock.stop) for _ in range(2)]
        for thread in stopping:
            thread.start()
        assert not shut.wait(0.5)
        assert all(thread.is_alive() for thread in stopping)
        leave.set()
        for thread in stopping:
            thread.join(PATIENCE)
        assert shut.is_set()


def test_a_probe_is_answered_however_many_journals_are_judged() -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(_evidence: object) -> list[dict[str, object]]:
        entered.release()
        leave.wait(PATIENCE)
        return []

    with ExitStack() as opened:
        mock = opened.enter_context(running(Broker(policy="none"), judge=slow))
        clients = [opened.enter_context(socket.create_connection(address(mock), PATIENCE)) for _ in range(10)]
        for client in clients:
            client.sendall(raw(f"GET /__tn__/sessions/{DEMO.api_key}/verdicts HTTP/1.1"))
        for _ in range(serve.JOURNAL_THREADS):
            assert entered.acquire(timeout=PATIENCE)
        for probe in ("health", "ready"):
            started = time.monotonic()
            [(status, _, _)] = replies(say(mock, raw(f"GET /__tn__/{probe} HTTP/1.1")))
            assert (status, time.monotonic() - started < 1) == (200, True)
        assert not entered.acquire(timeout=0.1)  # the others wait
        leave.set()
        assert [client.recv(12) for client in clients] == [b"HTTP/1.1 200"] * 10


def test_a_process_does_not_wait_for_who_computes_when_it_stops() -> None:
    child = CHILD.replace("listen()", "listen(judge=lambda _: time.sleep(30))").replace("import", "import time, ", 1)
    with subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            host, port = read_line(process.stdout).removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), PATIENCE) as client:
                client.sendall(raw(f"GET /__tn__/sessions/{DEMO.api_key}/verdicts HTTP/1.1"))
                time.sleep(0.5)
                started = time.monotonic()
                process.terminate()
                output, errors = process.communicate(timeout=PATIENCE)
                assert time.monotonic() - started < server_room.STOP_SECONDS + 1
                assert (process.returncode, output, errors) == (0, "", "")
        finally:
            process.kill()


CHILD = """
import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves outlive a terminal
from mock_server.serve import listen, run_until_stopped
mock = listen()
print(mock.base_url, flush=True)
run_until_stopped(mock)
"""

WORKERS = """
import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)
from mock_server.serve import run_workers
run_workers({workers}, lambda entrance, _: print(entrance.base_url, flush=True), state="{state}")
"""


def read_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


@pytest.mark.parametrize("opened", ["no connection", "idle connection", "silent connection"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda how: how.name)
def test_a_signal_stops_the_process_cleanly_within_two_seconds(how: signal.Signals, opened: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            host, port = read_line(process.stdout).removeprefix("http://").split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            assert ask(connection, cancel()) == (200, SUCCESS)  # so the signal handlers are there
            silent = socket.create_connection((host, int(port)), PATIENCE) if opened == "silent connection" else None
            if opened == "no connection":
                connection.close()
            started = time.monotonic()
            process.send_signal(how)
            output, errors = process.communicate(timeout=PATIENCE)
            assert time.monotonic() - started < 2
            assert (process.returncode, output, errors) == (0, "", "")
            connection.close()
            if silent:
                silent.close()
        finally:
            process.kill()


def test_more_signals_change_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            host, port = read_line(process.stdout).removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), PATIENCE) as half:
                half.sendall(b"POST / HT")
                connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
                assert ask(connection, cancel()) == (200, SUCCESS)  # so the signal handlers are there
                while process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.send_signal(signal.SIGTERM)
                    time.sleep(0.005)
                connection.close()
            output, errors = process.communicate(timeout=PATIENCE)
            assert (process.returncode, output, errors) == (0, "", "")
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda how: how.name)
def test_a_signal_lets_the_request_under_way_be_answered(how: signal.Signals) -> None:
    late = next(order.order_id for order in load_corpus().magic_orders.values() if order.fault == "delay")
    child = CHILD.replace("mock = ", "from mock_server import faults; faults.DELAY_SECONDS = 0.5; mock = ")
    with subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            host, port = read_line(process.stdout).removeprefix("http://").split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            assert ask(connection, cancel(1)) == (200, SUCCESS)  # so the signal handlers are there
            request = compose(DEMO, "delTradeOrder", 2, {"order_id": int(late)}).request
            connection.request(request.method, request.path, request.body, dict(request.headers))
            time.sleep(0.2)
            process.send_signal(how)
            reply = connection.getresponse()
            assert (reply.status, json.loads(reply.read())) == (200, {"order_id": int(late)})
            assert reply.getheader("Connection") == "close" or process.wait(PATIENCE) == 0
            assert (*process.communicate(timeout=PATIENCE), process.returncode) == ("", "", 0)
            connection.close()
        finally:
            process.kill()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_stops_all_processes_unless_they_shall_outlive_it(
    tmp_path: Path, workers: int, ignored: bool
) -> None:
    child = CHILD if workers == 1 else WORKERS.format(workers=workers, state=f"sqlite:{tmp_path / 'state.db'}")
    with subprocess.Popen(
        [sys.executable, "-c", child.replace("SIG_DFL", "SIG_IGN") if ignored else child],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            host, port = read_line(process.stdout).removeprefix("http://").split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            assert ask(connection, cancel(1)) == (200, SUCCESS)  # so the signal handlers are there
            time.sleep(0.2)
            os.killpg(process.pid, signal.SIGHUP)
            if ignored:
                time.sleep(0.3)
                assert ask(connection, cancel(2)) == (200, SUCCESS)
                process.terminate()
            assert (*process.communicate(timeout=PATIENCE), process.returncode) == ("", "", 0)
            connection.close()
        finally:
            process.kill()
