"""The server by itself: what reaches who answers, what does not, who waits for whom."""

from __future__ import annotations

import json
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mock_server import connection
from mock_server import server as server_room
from mock_server.broker import Answer
from mock_server.connection import Connection
from mock_server.faults import Fault
from mock_server.server import Server
from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import Secret
from tn_contract.contract.wire import Reply, Request
from tn_contract.diagnosis.explain import Explainer
from tn_contract.record import http_reader as reader
from tn_contract.record.http_reader import READ_LIMIT
from tn_contract.record.requestfile import read_recording

pytestmark = [pytest.mark.slow, pytest.mark.timed]

PATIENCE = 8  # seconds
Seen = tuple[str, str, str, bytes]


class Recorder:
    """Remembers what reached it, and does what the path says."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        said = request.path.encode("latin-1")
        reply = Reply(200, (("Content-Type", "text/plain"), ("Content-Length", str(len(said)))), said)
        match request.path.strip("/").split("/"):
            case ["slow", *_]:
                self.entered.set()
                assert self.leave.wait(PATIENCE)
            case ["hold"]:
                self.entered.set()
                assert self.leave.wait(PATIENCE)
            case ["fail"]:
                raise ZeroDivisionError("a secret")
            case ["split"]:
                reply = Reply(200, (("X-A", "1\r\nX-B: 2"),))
            case ["none"]:
                reply = Reply(204)
            case ["large"]:
                reply = Reply(200, (), b"x" * 65536 * 128)
            case ["fault", kind, *seconds]:
                return Answer(reply, None, Fault(kind, *map(float, seconds)))  # type: ignore[arg-type] # as in the path
        return Answer(reply, None)


def listening_for(app: Recorder) -> tuple[Server, socket.socket]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app, offload=lambda path: 24 * path.startswith("/slow"))
    server.add_door(listening, lambda: Connection(server))
    return server, listening


@contextmanager
def serving(app: Recorder) -> Iterator[tuple[str, int]]:
    server, listening = listening_for(app)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def app() -> Recorder:
    return Recorder()


@pytest.fixture
def address(app: Recorder) -> Iterator[tuple[str, int]]:
    with serving(app) as address:
        yield address


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=PATIENCE)


def all_from(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def say(address: tuple[str, int], data: bytes) -> bytes:
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return all_from(client)


def bodies(received: bytes) -> list[bytes]:
    """The bodies of all replies."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(received[:length])
        received = received[length:]
    return found


def request(path: str = "/", *headers: str, method: str = "POST", version: str = "1.1", body: bytes = b"") -> bytes:
    lines = (f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1") + body


# ---- what reaches the app ----------------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (request("/a%2Fb%ff?x=%20"), ("POST", "/a/b\xff", "x=%20", b"")),
        (request("/a", "Content-Length: 3", body=b"abc"), ("POST", "/a", "", b"abc")),
        (
            request("/a", CHUNKED, body=b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX-Trailer: 1\r\n\r\n"),
            ("POST", "/a", "", b"abc"),
        ),
        (request("/?", method="OPTIONS"), ("OPTIONS", "/", "", b"")),
        (request("/x?a?b", method="GET", version="1.0"), ("GET", "/x", "a?b", b"")),
        (b"\r\n" + request("/"), ("POST", "/", "", b"")),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_request_reaches_the_app_as_it_was_meant(
    app: Recorder, address: tuple[str, int], data: bytes, seen: Seen, piece: int
) -> None:
    with connect(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), piece):
            client.sendall(data[at : at + piece])
        client.shutdown(socket.SHUT_WR)
        assert bodies(all_from(client)) == [seen[1].encode("latin-1")]
    [received] = app.requests
    assert (received.method, received.path, received.query, received.body) == seen
    assert received.header("X-Trailer") is None


def test_headers_are_joined_in_order_and_those_with_an_underscore_left_out(
    app: Recorder, address: tuple[str, int]
) -> None:
    say(address, request("/", "X-A: 1", "x_a: 2", "X-a:\t3 ", "Content_Length: 7", "Content-Type: a/b", "X-B: \xe9"))
    [received] = app.requests
    assert received.headers == (("Host", "localhost"), ("X-A", "1, 3"), ("Content-Type", "a/b"), ("X-B", "\xe9"))


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://tradernet.example/a?b", "/a", "b"),
        ("HTTPS://tradernet.example", "/", ""),
        ("http://tradernet.example?b", "/", "b"),
        ("http://tradernet.example//a", "//a", ""),
    ],
)
def test_a_whole_address_is_taken_as_rfc_9112_says(
    app: Recorder, address: tuple[str, int], target: str, path: str, query: str
) -> None:
    say(address, request(target))
    [received] = app.requests
    assert (received.path, received.query) == (path, query)
    assert received.header("Host") == "tradernet.example", "what it names outweighs Host"


@pytest.mark.parametrize("framing", ["Content-Length: 3", CHUNKED, None])
def test_an_offer_of_another_protocol_is_no_reason_to_lose_the_body(
    app: Recorder, address: tuple[str, int], framing: str | None
) -> None:
    """Java's HttpClient offers h2c with every request that goes without TLS."""
    headers = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    body = b"3\r\nabc\r\n0\r\n\r\n" if framing == CHUNKED else b"abc" if framing else b""
    data = request("/a", *headers, *([framing] if framing else []), body=body)
    assert b"\r\nConnection: close\r\n" in say(address, data)
    assert say(address, data[:-1]).startswith(b"HTTP/1.1 400 ")
    assert [received.body for received in app.requests] == [b"abc" if framing else b""]


def test_head_has_the_length_and_not_the_body(address: tuple[str, int]) -> None:
    head, _, body = say(address, request("/abc", method="HEAD")).partition(b"\r\n\r\n")
    assert (b"Content-Length: 4" in head, body) == (True, b"")


def test_no_content_has_no_length(address: tuple[str, int]) -> None:
    assert b"Content-Length" not in say(address, request("/none"))


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "X-A: 1", True),
        ("1.1", "Connection: close", False),
        ("1.0", "X-A: 1", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)
def test_connections_are_kept_as_the_client_wishes(
    address: tuple[str, int], version: str, header: str, kept: bool
) -> None:
    with connect(address) as client:
        client.sendall(request("/", header, version=version))
        reply = client.recv(65536)
        assert (b"Connection: close" in reply) is not kept
        assert (b"Connection: keep-alive" in reply) is (kept and version == "1.0")
        client.sendall(request("/", version=version) if kept else b"")
        assert bool(client.recv(65536)) is kept


def test_a_reply_says_who_and_when(address: tuple[str, int]) -> None:
    head = say(address, request("/")).partition(b"\r\n\r\n")[0].decode()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert headers["Server"] == "tn-contract-mock"
    assert (
        abs(time.mktime(time.strptime(headers["Date"], "%a, %d %b %Y %H:%M:%S GMT")) - time.mktime(time.gmtime())) < 5
    )


# ---- what does not reach it --------------------------------------------------------------------------------

INNER = request("/smuggled")
REFUSED = {
    "a length and chunks": request("/", "Content-Length: 3", CHUNKED, body=b"0\r\n\r\n" + INNER),
    "chunks and a length": request("/", CHUNKED, "Content-Length: 3", body=b"0\r\n\r\n" + INNER),
    "two lengths": request("/", "Content-Length: 0", f"Content-Length: {len(INNER)}", body=INNER),
    "the same length twice": request("/", "Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of lengths": request("/", "Content-Length: 3, 3", body=b"abc"),
    "a length in hex": request("/", "Content-Length: 0x3", body=b"abc"),
    "a length with a sign": request("/", "Content-Length: +3", body=b"abc"),
    "a length with a space": request("/", "Content-Length: 1 2", body=b"abc"),
    "a length beyond 64 bits": request("/", "Content-Length: 18446744073709551617", body=b"a" + INNER),
    "another encoding": request("/", "Transfer-Encoding: gzip", body=INNER),
    "an encoding before chunked": request("/", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + INNER),
    "an encoding after chunked": request("/", "Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n" + INNER),
    "chunked twice": request("/", CHUNKED, CHUNKED, body=b"0\r\n\r\n" + INNER),
    "chunked, almost": request("/", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + INNER),
    "chunked after a control character": request("/", "Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + INNER),
    "chunked in HTTP/1.0": request("/", CHUNKED, version="1.0", body=b"0\r\n\r\n" + INNER),
    "an empty encoding": request("/", "Transfer-Encoding:", body=INNER),
    "a chunk size that is none": request("/", CHUNKED, body=b"x\r\n" + INNER),
    "a chunk size with a sign": request("/", CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size in hex notation": request("/", CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a space": request("/", CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "a chunk size after a space": request("/", CHUNKED, body=b" 3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": request("/", CHUNKED, body=b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "an empty chunk size": request("/", CHUNKED, body=b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk size before a bare LF": request("/", CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"),
    "a chunk before a bare LF": request("/", CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"),
    "a chunk longer than its size": request("/", CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk shorter than its size": request("/", CHUNKED, body=b"5\r\nabc\r\n0\r\n\r\n"),
    "a bare LF after a header": request("/", "X-A: 1\nX-B: 2"),
    "a bare CR in a header": request("/", "X-A: 1\rX-B: 2"),
    "a bare LF at the end of the headers": b"POST / HTTP/1.1\r\nHost: x\r\n\n" + INNER,
    "a bare CR at the end of the headers": b"POST / HTTP/1.1\r\nHost: x\r\n\r" + INNER,
    "a folded header": request("/", "X-A: 1", " X-B: 2"),
    "a header folded with a tab": request("/", "X-A: 1", "\tX-B: 2"),
    "a folded first header": b"POST / HTTP/1.1\r\n X-A: 1\r\n\r\n",
    "a space before the colon": request("/", "Content-Length : 3", body=b"abc"),
    "a tab before the colon": request("/", "Content-Length\t: 3", body=b"abc"),
    "a space in a name": request("/", "Content Length: 3", body=b"abc"),
    "a name beyond ASCII": request("/", "X-\xe9: 1"),
    "a name with NUL": request("/", "X-A\0: 1"),
    "a value with NUL": request("/", "X-A: 1\0"),
    "a value with a control character": request("/", "X-A: \x01"),
    "no Host": b"POST / HTTP/1.1\r\nX-A: 1\r\n\r\n",
    "no Host beside a whole address": b"POST http://a/ HTTP/1.1\r\n\r\n",
    "two Hosts": request("/", "Host: localhost"),
    "two Hosts in HTTP/1.0": request("/", "Host: localhost", version="1.0"),
    "two Hosts, both empty": b"POST / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n",
    "a Host with a space": b"POST / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host with a path": b"POST / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"POST / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a Host with a scheme": b"POST / HTTP/1.1\r\nHost: http://a\r\n\r\n",
    "a Host with a port that is none": b"POST / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "a Host with an open bracket": b"POST / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a Host beyond ASCII": b"POST / HTTP/1.1\r\nHost: \xe9\r\n\r\n",
    "an absolute address with a user": request("http://a@b/"),
    "no name": request("/", ": 1"),
    "no colon": request("/", "X-A"),
    "an absolute address without host": request("http:///a"),
    "an address of another scheme": request("file:///etc"),
    "an asterisk": request("*", method="OPTIONS"),
    "no address": b"POST  HTTP/1.1\r\n\r\n",
    "an address with a space": request("/a b"),
    "an address with a tab": request("/a\tb"),
    "an address with NUL": request("/a\0b"),
    "an address beyond ASCII": request("/\xe9"),
    "an address with a fragment": request("/a#b"),
    "a tunnel": request("mock:443", method="CONNECT"),
    "a tunnel to a path": request("/", method="CONNECT"),
    "no version": b"POST /\r\n\r\n",
    "a version in lower case": b"POST / http/1.1\r\n\r\n",
    "HTTP/0.9": request("/", version="0.9"),
    "HTTP/1.2": request("/", version="1.2"),
    "HTTP/2.0": request("/", version="2.0"),
    "HTTP/11": request("/", version="11"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in lower case": request("/", method="post"),
    "a method that nobody knows": request("/", method="BREW"),
    "a method with a colon": request("/", method="POST:"),
    "a method with NUL": request("/", method="POST\0"),
    "a space before the method": b" POST / HTTP/1.1\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a body that ends early": request("/", "Content-Length: 4", body=b"abc"),
    "chunks that end early": request("/", CHUNKED, body=b"3\r\nabc\r\n"),
    "headers that end early": b"POST / HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("piece", [1, 100_000])
def test_what_is_no_request_is_refused_and_ends_the_connection(
    app: Recorder, address: tuple[str, int], name: str, piece: int
) -> None:
    data = REFUSED[name]
    with connect(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), piece):
            client.sendall(data[at : at + piece])
        client.shutdown(socket.SHUT_WR)
        received = all_from(client)
    assert app.requests == []
    assert b"\r\nX-Tn-Mock: harness-error\r\n" in received
    assert b"\r\nConnection: close\r\n" in received
    [body] = bodies(received)
    assert set(json.loads(body)) == {"tn_mock", "reason", "hint"}


@pytest.mark.parametrize("name", REFUSED)
def test_explain_request_refuses_it_as_well(name: str) -> None:
    try:
        recording = read_recording(REFUSED[name])
    except UsageError:
        return
    first, *_ = Explainer(Secret("s"), at_ns=0).explain(recording)
    assert first.situation in ("http", "recording")
    assert (first.right, first.diagnosis) == (False, None)


@pytest.mark.parametrize("name", REFUSED)
def test_what_came_before_it_is_answered_first(app: Recorder, address: tuple[str, int], name: str) -> None:
    first, second, refusal = bodies(say(address, request("/1") + request("/fault/delay/0.05") + REFUSED[name]))
    assert (first, second) == (b"/1", b"/fault/delay/0.05")
    assert json.loads(refusal)["tn_mock"] == "harness-error"
    assert len(app.requests) == 2


@settings(max_examples=4 * settings().max_examples)
@given(
    st.lists(st.sampled_from([*REFUSED.values(), request("/a"), request("/b", CHUNKED, body=b"1\r\nx\r\n0\r\n\r\n")])),
    st.lists(st.integers(1, 40), min_size=1),
)
@example([request("/a")], [1])
def test_it_does_not_matter_how_bytes_are_cut(parts: list[bytes], sizes: list[int]) -> None:
    def seen(pieces: Iterable[bytes]) -> tuple[list[Any], bytes]:
        app = Recorder()
        client = _Feeding(app)
        for piece in pieces:
            client.connection.take(piece)
            client.run()
        client.connection.eof_received()
        client.run()
        return [(received.path, received.body) for received in app.requests], client.said

    def cut(data: bytes) -> Iterator[bytes]:
        nth = 0
        while data:
            size = sizes[nth % len(sizes)]
            yield data[:size]
            data, nth = data[size:], nth + 1

    whole = b"".join(parts)
    reached, _ = seen([whole])
    assert seen(cut(whole))[0] == reached
    assert "/smuggled" not in {path for path, _body in reached}


class _Feeding:
    """A connection without a network."""

    said = b""

    def __init__(self, app: Recorder) -> None:
        self.connection = Connection(Server(app))
        self.connection.loop = self  # type: ignore[assignment] # of which only the clock is asked
        self.connection.transport = self  # type: ignore[assignment]
        self.closing = False
        self.called: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.called.append(call)

    def run(self) -> None:
        """Take all turns that are due."""
        while self.called:
            self.called.pop(0)()

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def time(self) -> float:
        return 0.0

    def write(self, data: bytes) -> None:
        self.said += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def write_eof(self) -> None:
        pass


@pytest.mark.parametrize(
    "host", ["a", "a.example:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "", "a_b", "xn--a", "a:", "%41"]
)
def test_every_host_that_may_be_one_is_answered(app: Recorder, address: tuple[str, int], host: str) -> None:
    assert say(address, f"POST /a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200 ")
    assert app.requests[0].header("Host") == host


def test_http_1_0_needs_no_host(address: tuple[str, int]) -> None:
    assert say(address, b"POST /a HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_the_number_of_headers_is_limited(address: tuple[str, int]) -> None:
    def sent(count: int) -> bytes:
        return say(address, request("/a", *(f"X-{number}: 1" for number in range(count))))

    assert sent(reader.HEADER_FIELDS - 1).startswith(b"HTTP/1.1 200 ")
    assert sent(reader.HEADER_FIELDS).startswith(b"HTTP/1.1 431 ")


def test_headers_may_be_no_larger_than_the_limit(app: Recorder, address: tuple[str, int]) -> None:
    fits, exceeds = "x" * (reader.HEADER_LIMIT - 100), "x" * reader.HEADER_LIMIT
    assert say(address, request("/", f"X-A: {fits}")).startswith(b"HTTP/1.1 200 ")
    assert say(address, request("/", f"X-A: {exceeds}")).startswith(b"HTTP/1.1 431 ")
    assert say(address, request(f"/{exceeds}")).startswith(b"HTTP/1.1 431 ")
    assert len(app.requests) == 1
    with connect(address) as client:  # a header without end
        client.sendall(b"GET / HTTP/1.1\r\nX-A: ")
        received = b""
        for _ in range(200):
            client.sendall(b"x" * 4096)
            time.sleep(0.0005)
            if _readable(client):
                received = client.recv(65536)
                break
    assert received.startswith(b"HTTP/1.1 431 ")


def test_what_strangers_call_their_headers_is_not_kept(app: Recorder) -> None:
    client = _Feeding(app)
    tracemalloc.start()
    try:
        for number in range(200):
            client.connection.take(request("/", f"X{number}{'a' * 20_000}: 1"))
            client.run()
            app.requests.clear()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def _readable(client: socket.socket) -> bool:
    import select

    return bool(select.select([client], [], [], 0)[0])


@pytest.mark.parametrize("chunked", [True, False])
def test_who_sends_too_much_gets_to_read_why_while_still_sending(
    app: Recorder, address: tuple[str, int], chunked: bool
) -> None:
    with connect(address) as client:
        if chunked:
            client.sendall(request("/", CHUNKED))
            block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        else:
            client.sendall(request("/", f"Content-Length: {4 * READ_LIMIT}"))
            block = b"x" * 65536
        for _ in range(4 * READ_LIMIT // 65536):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        received = all_from(client)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"the body is too large" in received
    assert app.requests == []


@pytest.mark.parametrize("path", ["/fail", "/split"])
def test_an_app_that_fails_is_answered_for(
    address: tuple[str, int], path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    received = say(address, request(path) + request("/next"))
    failed, following = bodies(received)
    assert json.loads(failed)["reason"].startswith("the mock itself failed")
    assert following == b"/next"
    assert b"secret" not in received
    assert b"X-B: 2" not in received
    assert capfd.readouterr().err == ""


# ---- who waits for whom ------------------------------------------------------------------------------------


def test_a_connection_that_fails_takes_no_other_with_it(
    app: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take = Connection.take

    def taken(self: Connection, data: bytes) -> None:
        if b"/trouble" in data:
            raise ZeroDivisionError
        if b"/long" in data:
            app.entered.set()
            assert app.leave.wait(PATIENCE)  # holds the loop up: who speaks meanwhile is heard in one round
        take(self, data)

    monkeypatch.setattr(Connection, "take", taken)
    with serving(app) as address, ExitStack() as opened:
        first, unlucky, *others = [opened.enter_context(connect(address)) for _ in range(5)]
        first.sendall(request("/long"))
        assert app.entered.wait(PATIENCE)
        unlucky.sendall(request("/trouble"))
        for client in others:
            client.sendall(request("/a"))
        app.leave.set()
        for client in (first, *others):
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert all_from(unlucky) == b""
    assert "a connection failed" in caplog.text


def test_who_leaves_in_the_middle_of_a_refusal_is_no_failure(
    app: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flush = Connection.flush

    def flushed(self: Connection) -> None:
        flush(self)
        app.entered.set()
        assert app.leave.wait(PATIENCE)

    monkeypatch.setattr(Connection, "flush", flushed)
    with serving(app) as address:
        with connect(address) as rude:
            rude.sendall(b"no HTTP")
            assert app.entered.wait(PATIENCE)  # the refusal is sent, its end is not
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        app.leave.set()
        assert say(address, request("/a")).startswith(b"HTTP/1.1 200 ")
    assert caplog.text == ""


def test_replies_keep_the_order_of_the_requests_even_if_one_is_late(address: tuple[str, int]) -> None:
    paths = ["/1", "/fault/delay/0.2", "/2", "/fault/delay/0.1", "/3"]
    started = time.monotonic()
    assert bodies(say(address, b"".join(map(request, paths)))) == [path.encode() for path in paths]
    assert time.monotonic() - started >= 0.3


def test_a_late_reply_holds_up_nobody_else(address: tuple[str, int]) -> None:
    with connect(address) as late:
        late.sendall(request("/fault/delay/0.5"))
        started = time.monotonic()
        assert bodies(say(address, request("/other"))) == [b"/other"]
        assert time.monotonic() - started < 0.5
        late.shutdown(socket.SHUT_WR)
        assert bodies(all_from(late)) == [b"/fault/delay/0.5"]


def test_slow_work_holds_up_nobody_else_and_stays_in_order(app: Recorder, address: tuple[str, int]) -> None:
    with connect(address) as client:
        client.sendall(request("/slow/1") + request("/2"))
        assert app.entered.wait(PATIENCE)
        assert bodies(say(address, request("/other"))) == [b"/other"]
        app.leave.set()
        client.shutdown(socket.SHUT_WR)
        assert bodies(all_from(client)) == [b"/slow/1", b"/2"]


def test_any_number_of_slow_requests_hold_up_no_other_slow_one(app: Recorder, address: tuple[str, int]) -> None:
    with ExitStack() as opened:
        for _ in range(20):
            opened.enter_context(connect(address)).sendall(request("/slow"))
        while len(app.requests) < 20:
            time.sleep(0.01)
        threading.Timer(0.2, app.leave.set).start()
        started = time.monotonic()
        assert bodies(say(address, request("/slower"))) == [b"/slower"]
        assert time.monotonic() - started < 0.2


def test_slow_requests_have_only_so_many_threads_and_are_all_answered(app: Recorder, address: tuple[str, int]) -> None:
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(address)) for _ in range(60)]
        for client in clients:
            client.sendall(request("/slow"))
        while len(app.requests) < 24:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(app.requests) == 24
        assert sum(thread.name == "tn-mock-slow" for thread in threading.enumerate()) == 24
        assert bodies(say(address, request("/other"))) == [b"/other"]
        app.leave.set()
        assert all(client.recv(65536).startswith(b"HTTP/1.1 200 ") for client in clients)


def test_a_slow_request_that_no_thread_is_left_for_is_answered(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert say(address, request("/slow")).startswith(b"HTTP/1.1 599 ")


def test_a_client_that_sends_many_requests_in_one_read_is_answered_one_in_a_turn(app: Recorder) -> None:
    """Counted in requests and not in seconds: how many of the many come before the one of another client."""
    ahead = b"".join(request(f"/many/{number}") for number in range(300))  # less than one read
    with serving(app) as address, ExitStack() as opened:
        first, greedy, modest = (opened.enter_context(connect(address)) for _ in range(3))
        first.sendall(request("/hold"))
        assert app.entered.wait(PATIENCE)  # the loop stands still, so all of this is read in its next iteration
        greedy.sendall(ahead)
        modest.sendall(request("/modest"))
        time.sleep(0.1)
        app.leave.set()
        assert modest.recv(65536).startswith(b"HTTP/1.1 200 ")
        received = b""
        while received.count(b"HTTP/1.1 200") < 300:
            received += greedy.recv(1 << 20)
    paths = [received.path for received in app.requests]
    assert paths.index("/modest") <= 3
    assert [path for path in paths if path.startswith("/many/")] == [f"/many/{number}" for number in range(300)]


def memory_of(process: subprocess.Popen[str]) -> int:
    """How many MiB a process holds."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("count", [40, 200])
def test_clients_that_ask_ahead_and_never_read_cost_little_and_hold_up_nobody(count: int) -> None:
    ahead = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 6_000  # 256 KB
    with (
        subprocess.Popen(
            [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ExitStack() as opened,
    ):
        try:
            assert process.stdout
            host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
            address = host, int(port)
            assert say(address, request("/api/v2")).startswith(b"HTTP/1.1 200 ")
            before = memory_of(process)
            for _ in range(count):
                client = opened.enter_context(connect(address))
                client.setblocking(False)
                with suppress(BlockingIOError):
                    while client.send(ahead):
                        pass
            for _ in range(5):
                assert say(address, request("/api/v2")).startswith(b"HTTP/1.1 200 ")
            assert memory_of(process) - before < 16 + count // 4
            process.terminate()
            _, errors = process.communicate(timeout=2 * PATIENCE)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


def test_unfinished_requests_of_all_clients_have_one_limit(
    app: Recorder, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HELD_LIMIT", 100_000)
    half = request("/", "Content-Length: 50000", body=b"x" * 40_000)
    with connect(address) as first, connect(address) as second, connect(address) as third:
        first.sendall(half)
        second.sendall(half)
        time.sleep(0.2)
        third.sendall(half)
        assert third.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert bodies(say(address, request("/small", "Content-Length: 3", body=b"abc"))) == [b"/small"]
        first.sendall(b"x" * 10_000)
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
    with connect(address) as again:  # what the others held is free
        again.sendall(half + b"x" * 10_000)
        assert again.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert len(app.requests) == 3


def test_a_body_in_tiny_chunks_is_held_as_bytes_and_not_as_chunks() -> None:
    client = _Feeding(Recorder())
    client.connection.take(request("/", CHUNKED))
    chunks = b"2\r\nxy\r\n" * 10_000
    tracemalloc.start()
    try:
        for _ in range(10):
            client.connection.take(chunks)
            client.run()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000  # for 200,000 bytes
    finally:
        tracemalloc.stop()


def test_a_body_in_tiny_chunks_takes_turns_with_others(app: Recorder) -> None:
    client = _Feeding(app)
    client.connection.take(request("/", CHUNKED) + b"2\r\nxy\r\n" * 2_000 + b"0\r\n\r\n")
    turns = 0
    while client.called:
        client.called.pop(0)()
        turns += 1
    assert turns >= 2_000 // 300
    assert [received.body for received in app.requests] == [b"xy" * 2_000]


def test_a_client_that_asks_ahead_and_reads_late_gets_everything_in_order(address: tuple[str, int]) -> None:
    count = 5000
    asked = b"".join(request(f"/{number}") for number in range(count))
    with connect(address) as client:
        sending = threading.Thread(target=client.sendall, args=(asked,))
        sending.start()
        time.sleep(0.3)
        assert bodies(say(address, request("/other"))) == [b"/other"]
        received = b""
        while received.count(b"HTTP/1.1 200") < count:
            received += client.recv(1 << 20)
        sending.join()
    assert [int(body[1:]) for body in bodies(received)] == list(range(count))


def test_a_slow_reader_gets_a_large_reply_whole(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.6)
    with connect(address) as client:
        client.sendall(request("/large", "Connection: close"))
        received = 0
        for _ in range(16):
            time.sleep(0.1)
            received += len(client.recv(1 << 19))
        received += len(all_from(client))
    assert received > 128 * 65536


def test_who_does_not_read_at_all_is_let_go(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.3)
    with connect(address) as client:
        client.sendall(request("/large") * 3)
        time.sleep(4)  # more than enough, also on a machine that is busy
        assert len(all_from(client)) < 3 * 128 * 65536


@pytest.mark.parametrize(
    ("limit", "data", "status"),
    [
        ("HEADER_SECONDS", b"", b""),
        ("HEADER_SECONDS", b"POST / HT", b"HTTP/1.1 408 "),
        ("HEADER_SECONDS", request("/")[:-2], b"HTTP/1.1 408 "),
        ("BODY_SECONDS", request("/", "Content-Length: 3", body=b"ab"), b"HTTP/1.1 408 "),
        ("BODY_SECONDS", request("/", CHUNKED, body=b"3\r\nab"), b"HTTP/1.1 408 "),
        ("IDLE_SECONDS", request("/"), b"HTTP/1.1 200 "),
    ],
)
def test_who_is_too_slow_is_let_go(
    app: Recorder, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, limit: str, data: bytes, status: bytes
) -> None:
    monkeypatch.setattr(server_room if limit == "HEADER_SECONDS" else connection, limit, 0.2)
    with connect(address) as client:
        client.sendall(data)
        started = time.monotonic()
        assert all_from(client)[:13] == status
        assert time.monotonic() - started < 4
    assert len(app.requests) == (status == b"HTTP/1.1 200 ")


def test_a_trickle_does_not_lengthen_the_time_for_a_request(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_room, "HEADER_SECONDS", 0.4)
    with connect(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nX-A: ")
        for _ in range(100):
            time.sleep(0.05)
            if _readable(client):
                break
            client.sendall(b"x")
        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


CHILD = """
from mock_server.serve import listen, run_until_stopped
mock = listen()
print(mock.base_url, flush=True)
run_until_stopped(mock)
"""


def test_ten_thousand_who_say_nothing_or_half_of_it_hold_up_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = hard if hard != resource.RLIM_INFINITY else 20_000
    count = min(10_000, files - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        with (
            subprocess.Popen(
                [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
            ExitStack() as opened,
        ):
            try:
                assert process.stdout
                host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
                said = (b"", b"POST / HT", b"POST / HTTP/1.1\r\nX-A: ", request("/", "Content-Length: 9", body=b"x"))
                for number in range(count):
                    client = opened.enter_context(connect((host, int(port))))
                    client.sendall(said[number % len(said)])
                    if number % 1000 == 999:
                        started = time.monotonic()
                        assert say((host, int(port)), request("/__tn__/health", method="GET")).startswith(
                            b"HTTP/1.1 200"
                        )
                        assert say((host, int(port)), request("/api/v2")).startswith(b"HTTP/1.1 200")
                        assert time.monotonic() - started < PATIENCE
                started = time.monotonic()
                process.terminate()
                output, errors = process.communicate(timeout=2 * PATIENCE)
                assert (process.returncode, output, errors) == (0, "", "")
                assert time.monotonic() - started < 4 + server_room.STOP_SECONDS  # for those who said half
            finally:
                process.kill()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("told", [0, 8])
def test_connections_beyond_the_limit_are_refused(
    address: tuple[str, int], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MOST", 4)
    monkeypatch.setattr(connection, "_TOLD_WHY", told)
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(address)) for _ in range(4)]
        for client in clients:
            client.sendall(request())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        with connect(address) as late:
            received = all_from(late)
            if told:
                assert received.startswith(b"HTTP/1.1 503 ")
                assert b"more than 4 connections" in received
            else:
                assert not received
        clients[0].sendall(request())
        assert clients[0].recv(65536).startswith(b"HTTP/1.1 200")
        clients[1].close()
        until = time.monotonic() + PATIENCE
        answered = False
        while not answered:
            assert time.monotonic() < until
            with suppress(OSError):  # the server may not have noticed yet
                answered = say(address, request()).startswith(b"HTTP/1.1 200")


CROWDED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
"""


def test_where_no_connection_can_be_accepted_those_that_are_go_on() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", CROWDED + CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ExitStack() as opened,
    ):
        try:
            assert process.stdout
            host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
            address = host, int(port)
            client = opened.enter_context(connect(address))
            client.sendall(request("/api/v2"))
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            with ExitStack() as crowd:
                for _ in range(200):
                    crowd.enter_context(connect(address))
                started = time.monotonic()
                for _ in range(20):
                    client.sendall(request("/api/v2"))
                    assert client.recv(65536).startswith(b"HTTP/1.1 200")
                    time.sleep(0.05)
                assert time.monotonic() - started < 2
            assert say(address, request("/api/v2")).startswith(b"HTTP/1.1 200")
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE)
            assert (process.returncode, len(errors.splitlines())) == (0, 1)
            assert "no connection can be accepted" in errors
        finally:
            process.kill()


# ---- the end -----------------------------------------------------------------------------------------------


def test_stopping_an_idle_server_takes_no_time(app: Recorder) -> None:
    with serving(app) as address, connect(address) as idle:
        idle.sendall(request("/"))
        assert idle.recv(65536)
        started = time.monotonic()
    assert time.monotonic() - started < 0.1


@pytest.mark.parametrize("path", ["/fault/delay/30", "/slow", "/fault/dribble/30"])
def test_stopping_answers_what_has_come_and_no_more(app: Recorder, path: str) -> None:
    with ExitStack() as later:
        with serving(app) as address:
            client = later.enter_context(connect(address))
            client.sendall(request(path) + request("/fault/delay/30") + request("/last"))
            while not app.requests:
                time.sleep(0.01)
            threading.Timer(0.2, app.leave.set).start()
        received = all_from(client)
    assert bodies(received) == [path.encode(), b"/fault/delay/30", b"/last"]
    assert received.count(b"Connection: close") == 1
    assert b"Connection: close" in received.rpartition(b"HTTP/1.1 200")[2]
    with pytest.raises(ConnectionRefusedError):
        connect(address)


@pytest.mark.parametrize("path", ["/fault/delay/30", "/fault/dribble/30"])
def test_a_reply_that_was_to_come_late_comes_at_the_stop(app: Recorder, path: str) -> None:
    with ExitStack() as later:
        with serving(app) as address:
            client = later.enter_context(connect(address))
            client.sendall(request(path))
            while not app.requests:
                time.sleep(0.01)
        assert bodies(all_from(client)) == [path.encode()]


@pytest.mark.parametrize("before", [b"", request("/before"), request("/fault/delay/30")])
@pytest.mark.parametrize("cut", [-1, -3, 10])
def test_what_has_come_in_part_may_come_whole_after_the_stop(app: Recorder, before: bytes, cut: int) -> None:
    said = request("/part", "Content-Length: 3", body=b"abc")
    with ExitStack() as later:
        with serving(app) as address:
            client = later.enter_context(connect(address))
            client.sendall(before + said[:cut])
            time.sleep(0.1)
            threading.Timer(0.3, lambda: client.sendall(said[cut:] + request("/late"))).start()
        received = all_from(client)
    assert [received.path for received in app.requests[-1:]] == ["/part"]
    assert bodies(received)[-1:] == [b"/part"]
    assert received.count(b"Connection: close") == 1


def test_what_never_comes_whole_is_not_waited_for_longer(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_room, "STOP_SECONDS", 0.2)
    with serving(app) as address, connect(address) as client:
        client.sendall(request("/part", "Content-Length: 3", body=b"ab"))
        time.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 0.5


def test_requests_that_come_together_during_the_stop_are_all_answered(
    app: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Connection.take

    def taken(self: Connection, data: bytes) -> None:
        self.server.stopping = True  # as if it had been told to stop just now
        take(self, data)

    monkeypatch.setattr(Connection, "take", taken)
    with serving(app) as address:
        received = say(address, request("/1") + request("/2") + request("/3"))
    assert bodies(received) == [b"/1", b"/2", b"/3"]
    assert received.count(b"Connection: close") == 1


def test_a_stop_between_requests_that_came_together_loses_none() -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/2":
            threading.Thread(target=server.stop).start()
            time.sleep(0.1)
        return Answer(Reply(200, (), request.path.encode()), None)

    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(answer)
    server.add_door(listening, lambda: Connection(server))
    serving = threading.Thread(target=server.serve)
    with connect(listening.getsockname()) as client:
        client.sendall(b"".join(map(request, ["/1", "/2", "/3", "/4"])))
        serving.start()
        assert bodies(all_from(client)) == [b"/1", b"/2", b"/3", b"/4"]
    serving.join()


def test_what_takes_too_long_is_cut_at_the_stop(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_room, "STOP_SECONDS", 0.2)
    with ExitStack() as later:
        with serving(app) as address:
            client = later.enter_context(connect(address))
            client.sendall(request("/slow"))
            while not app.requests:
                time.sleep(0.01)
            threading.Timer(1, app.leave.set).start()
        assert all_from(client) == b""


def test_no_stop_waits_for_what_is_computed_aside(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_room, "STOP_SECONDS", 0.2)
    with serving(app) as address, connect(address) as client:
        client.sendall(request("/slow"))
        assert app.entered.wait(PATIENCE)
        threading.Timer(2, app.leave.set).start()
        started = time.monotonic()
        client.shutdown(socket.SHUT_WR)
    assert time.monotonic() - started < 1


def test_who_connected_before_the_stop_is_heard() -> None:
    app = Recorder()
    with ExitStack() as later:
        with serving(app) as address:
            assert say(address, request("/"))  # so it does serve
            clients = [later.enter_context(connect(address)) for _ in range(50)]
            for client in clients:
                client.sendall(request("/"))
        assert [bodies(all_from(client)) for client in clients] == [[b"/"]] * 50
