"""One request goes out once; a failure says in which phase it happened."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx

from mock_server.broker import DEMO
from mock_server.serve import running
from tn_contract import transport as transport_module
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Reply, Request, compose
from tn_contract.transport import (
    REPLY_LIMIT,
    USER_AGENT,
    AsyncTransport,
    Timeouts,
    Transport,
    TransportFailure,
)

BASE = "http://transport.test"
REQUEST = Request("POST", "/api/v2/cmd/x", (("Content-Type", "text/plain"), ("X-Own", "1")), b"a=b", "q=%20")
CANCEL = compose(DEMO, "delTradeOrder", 1, {"order_id": 2929292929}).request
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

Send = Callable[..., list[Reply]]


def send_blocking(base_url: str, *requests: Request, timeouts: Timeouts | None = None) -> list[Reply]:
    transport = Transport(base_url, timeouts)
    try:
        return [transport.send(request) for request in requests]
    finally:
        transport.close()


def send_async(base_url: str, *requests: Request, timeouts: Timeouts | None = None) -> list[Reply]:
    async def main() -> list[Reply]:
        transport = AsyncTransport(base_url, timeouts)
        try:
            return [await transport.send(request) for request in requests]
        finally:
            await transport.close()

    return asyncio.run(main())


@pytest.fixture(params=[send_blocking, send_async], ids=["blocking", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Send requests, one after the other, with one of the two transports."""
    chosen: Send = request.param
    return chosen


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# ---- phases ------------------------------------------------------------------------------------------------

EARLY: dict[type[httpx.RequestError], str] = {
    httpx.ConnectError: "connect",
    httpx.ConnectTimeout: "connect",
    httpx.PoolTimeout: "connect",
    httpx.UnsupportedProtocol: "connect",
    httpx.ProxyError: "connect",
    httpx.WriteError: "send",
    httpx.WriteTimeout: "send",
}
EVERY_ERROR = sorted(
    (member for member in vars(httpx).values() if isinstance(member, type) and issubclass(member, httpx.RequestError)),
    key=lambda member: member.__name__,
)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
def test_an_error_tells_its_phase_and_all_but_the_early_ones_may_have_touched_the_order(
    error: type[httpx.RequestError], send: Send
) -> None:
    with respx.mock(base_url=BASE) as router:
        router.route().mock(side_effect=error)
        with pytest.raises(TransportFailure) as caught:
            send(BASE, REQUEST)
        assert router.calls.call_count == 1
    assert caught.value.phase == EARLY.get(error, "receive")
    assert caught.value.kind == error.__name__
    assert isinstance(caught.value.__cause__, error)


def test_a_closed_port_is_a_failure_to_connect(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportFailure) as caught:
        send(f"http://127.0.0.1:{port}", REQUEST)
    assert (caught.value.phase, caught.value.kind) == ("connect", "ConnectError")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", "RemoteProtocolError"),
        (b"this is no HTTP\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "DecodingError"),
    ],
)
def test_a_broken_reply_is_a_failure_to_receive(reply: bytes, kind: str, raw_server: Any, send: Send) -> None:
    raw_server.reply = reply
    with pytest.raises(TransportFailure) as caught:
        send(raw_server.base_url, REQUEST)
    assert (caught.value.phase, caught.value.kind) == ("receive", kind)
    assert len(raw_server.received) == 1


def test_silence_is_a_failure_to_receive(raw_server: Any, send: Send) -> None:
    raw_server.silent_until.clear()
    with pytest.raises(TransportFailure) as caught:
        send(raw_server.base_url, REQUEST, timeouts=Timeouts(receive=0.05))
    assert (caught.value.phase, caught.value.kind) == ("receive", "ReadTimeout")
    assert len(raw_server.received) == 1


@pytest.mark.parametrize(
    "request_",
    [Request("POST", "/\0"), Request("POST", "/" + "a" * 70_000), Request("POST", "/", (("X", "é"),))],
    ids=["zero byte", "long", "header"],
)
def test_what_cannot_be_put_into_a_request_was_never_sent(request_: Request, raw_server: Any, send: Send) -> None:
    with pytest.raises(TransportFailure) as caught:
        send(raw_server.base_url, request_)
    assert caught.value.phase == "connect"
    assert raw_server.received == []


# ---- what goes out -----------------------------------------------------------------------------------------


def test_a_request_goes_out_once_with_each_header_once(raw_server: Any, send: Send) -> None:
    raw_server.reply = OK
    (reply,) = send(raw_server.base_url, REQUEST)
    assert reply == Reply(200, (("Content-Length", "2"), ("Connection", "close")), b"ok")
    (received,) = raw_server.received
    head, _, body = received.partition(b"\r\n\r\n")
    line, *headers = head.decode("ascii").split("\r\n")
    assert line == "POST /api/v2/cmd/x?q=%20 HTTP/1.1"
    assert body == b"a=b"
    assert dict(header.split(": ", 1) for header in headers) == {
        "Host": raw_server.address,
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "keep-alive",
        "Content-Type": "text/plain",
        "X-Own": "1",
        "Content-Length": "3",
    }
    assert len(headers) == 8


def test_a_header_of_the_request_replaces_the_usual_one(raw_server: Any, send: Send) -> None:
    raw_server.reply = OK
    send(raw_server.base_url, Request("POST", "/", (("user-agent", "own"),)))
    assert raw_server.received[0].lower().count(b"user-agent: ") == 1
    assert b"user-agent: own\r\n" in raw_server.received[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_reply_and_not_followed(status: int, raw_server: Any, send: Send) -> None:
    raw_server.reply = (
        f"HTTP/1.1 {status} Moved\r\nLocation: {raw_server.base_url}/other\r\nContent-Length: 0\r\n\r\n".encode()
    )
    (reply,) = send(raw_server.base_url, REQUEST)
    assert (reply.status, reply.header("Location")) == (status, f"{raw_server.base_url}/other")
    assert len(raw_server.received) == 1


@pytest.mark.parametrize("location", ["mailto:someone", "x:y", "http://[::1", "/" + "a" * 65_530])
def test_a_redirect_to_nowhere_never_counts_as_not_sent(location: str, raw_server: Any, send: Send) -> None:
    raw_server.reply = f"HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(TransportFailure) as caught:
        send(raw_server.base_url, REQUEST)
    assert caught.value.phase == "receive"
    assert len(raw_server.received) == 1


def test_a_cookie_is_neither_kept_nor_sent(raw_server: Any, send: Send) -> None:
    raw_server.reply = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\nSet-Cookie: b=2\r\n\r\n")
    replies = send(raw_server.base_url, REQUEST, REQUEST)
    assert all(reply.header("Set-Cookie") == "session=1; Path=/" for reply in replies)
    assert len(raw_server.received) == 2
    assert not any(b"\r\ncookie:" in received.lower() for received in raw_server.received)


# ---- limits ------------------------------------------------------------------------------------------------


def of_size(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size + b"x" * size


def test_a_reply_up_to_the_limit_is_read(raw_server: Any, send: Send) -> None:
    raw_server.reply = of_size(REPLY_LIMIT)
    (reply,) = send(raw_server.base_url, REQUEST)
    assert len(reply.body) == REPLY_LIMIT


def test_a_larger_reply_is_a_failure_to_receive(raw_server: Any, send: Send) -> None:
    raw_server.reply = of_size(REPLY_LIMIT + 1)
    with pytest.raises(TransportFailure) as caught:
        send(raw_server.base_url, REQUEST)
    assert (caught.value.phase, caught.value.kind) == ("receive", "too-large")


class Dribble(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A reply of five parts, with a pause of some seconds before each."""

    def __init__(self, pause: float) -> None:
        self.now, self._pause = 0.0, pause

    def monotonic(self) -> float:
        return self.now

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(5):
            self.now += self._pause
            yield b"x"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


@pytest.mark.parametrize(("pause", "in_time"), [(6.0, True), (6.1, False)])
def test_a_reply_must_be_complete_within_the_time_for_the_whole(
    pause: float, in_time: bool, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    dribble = Dribble(pause)
    monkeypatch.setattr(transport_module, "time", SimpleNamespace(monotonic=dribble.monotonic))
    with respx.mock(base_url=BASE) as router:
        router.route().mock(side_effect=lambda _: httpx.Response(200, stream=dribble))
        if in_time:
            assert send(BASE, REQUEST, timeouts=Timeouts(total=30)) == [Reply(200, (), b"xxxxx")]
            return
        with pytest.raises(TransportFailure) as caught:
            send(BASE, REQUEST, timeouts=Timeouts(total=30))
    assert (caught.value.phase, caught.value.kind) == ("receive", "too-slow")


def test_the_timeouts_reach_the_http_client() -> None:
    transport = Transport(BASE, Timeouts(connect=1, send=2, receive=3, total=4))
    assert transport._client.timeout == httpx.Timeout(connect=1, write=2, read=3, pool=1)
    transport.close()


# ---- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Transport, AsyncTransport])
def test_a_transport_checks_its_address_first(kind: type[Transport | AsyncTransport]) -> None:
    with pytest.raises(UsageError):
        kind("tradernet.com")


@pytest.mark.parametrize("name", ["localhost", "any.name.localhost", "LOCALHOST."])
def test_a_name_of_this_machine_leads_here_whatever_a_resolver_says(
    name: str, raw_server: Any, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.reply = OK
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def hostile(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host if isinstance(host, str) else host.decode())
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hostile)
    port = raw_server.address.partition(":")[2]
    send(f"http://{name}:{port}", REQUEST)
    assert {host.lower() for host in asked} <= {"127.0.0.1", "::1"}, "the name itself is never looked up"
    assert f"\r\nHost: {name.lower()}:{port}\r\n".encode() in raw_server.received[0]


def test_the_second_address_of_this_machine_is_tried_where_the_first_refuses(send: Send) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listener:
        thread = threading.Thread(target=_answer_once, args=[listener])
        thread.start()
        (reply,) = send(f"http://localhost:{listener.getsockname()[1]}", REQUEST)
        thread.join()
    assert reply.body == b"ok"


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(OK)


def test_a_name_where_nothing_listens_is_a_failure_to_connect(send: Send) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransportFailure) as caught:
            send(f"http://localhost:{taken.getsockname()[1]}", REQUEST)
    assert caught.value.phase == "connect"


# ---- proxies and TLS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_system_proxy_is_ignored_for_this_machine(
    name: str, raw_server: Any, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.reply = OK
    monkeypatch.setenv(name, raw_server.base_url)
    with running() as mock:
        (reply,) = send(mock.base_url, Request("POST", "/api/v2/cmd/x"))
    assert reply.header("Content-Type") == "application/json"
    assert raw_server.received == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_system_proxy_is_used_for_any_other_host(
    name: str, raw_server: Any, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.reply = OK
    monkeypatch.setenv(name, raw_server.base_url)
    send(BASE, REQUEST)
    (received,) = raw_server.received
    assert received.startswith(b"POST http://transport.test/api/v2/cmd/x?q=%20 HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["http://tradernet.com:8080", "tradernet.com", "http://user:word@WSS.Freedom24.com."])
def test_a_proxy_that_is_a_live_host_is_refused(name: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(UsageError, match="which is known to be live: unset ") as caught:
        Transport(BASE)
    assert "word" not in str(caught.value)
    Transport("http://127.0.0.1:1").close()  # no proxy counts for this machine


def test_a_certificate_that_nobody_vouches_for_is_a_failure_to_connect(send: Send) -> None:
    with running(tls=["localhost"]) as mock:
        with pytest.raises(TransportFailure, match="certificate verify failed") as caught:
            send(mock.base_url, CANCEL)
        session = mock.broker.session(DEMO.api_key)
        assert session is not None
        assert len(session.journal) == 0
    assert (caught.value.phase, caught.value.kind) == ("connect", "ConnectError")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_named_by_the_environment_is_trusted_also_on_this_machine(
    host: str, send: Send, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tls=["localhost"]) as mock:
        monkeypatch.setenv("SSL_CERT_FILE", mock.environment["SSL_CERT_FILE"])
        monkeypatch.setenv("HTTPS_PROXY", raw_server.base_url)
        (reply,) = send(mock.base_url.replace("127.0.0.1", host), CANCEL)
    assert reply.status == 200
    assert raw_server.received == [], "a proxy is still ignored for this machine"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(
    content: str | None, tmp_path: Path, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        send(BASE, REQUEST)
