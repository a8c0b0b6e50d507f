"""The mock over TLS: its certificates, the handshake, and the tunnel for clients with a host in their code."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from mock_server.broker import DEMO, Broker
from mock_server.serve import RunningMock, listen, running
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import compose

pytestmark = [pytest.mark.slow, pytest.mark.timed]

HOST = "tradernet.test"
PATIENCE = 8  # seconds: below the server's own idle limit, so that no test passes by waiting


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running(Broker(policy="none"), tls=[HOST, "Second.Test"]) as mock:
        yield mock


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def trusting(mock: RunningMock) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=mock.environment["SSL_CERT_FILE"])


def directly(mock: RunningMock, host: str = "127.0.0.1") -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host, port(mock.base_url), context=trusting(mock), timeout=PATIENCE)


def through_the_tunnel(mock: RunningMock, host: str = HOST, target: int = 443) -> http.client.HTTPSConnection:
    proxy = port(mock.environment["HTTPS_PROXY"])
    connection = http.client.HTTPSConnection("127.0.0.1", proxy, context=trusting(mock), timeout=PATIENCE)
    connection.set_tunnel(host, target)
    return connection


def cancel(connection: http.client.HTTPSConnection, order_id: int = 2929292929) -> int:
    """Cancel over a connection and return the order that the reply names."""
    request = compose(DEMO, "delTradeOrder", 1, {"order_id": order_id}).request
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        named: int = json.loads(connection.getresponse().read())["order_id"]
    finally:
        connection.close()
    return named


def raw(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(address)), timeout=PATIENCE)


def all_from(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


# ---- certificates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_vouched_for(host: str, mock: RunningMock) -> None:
    assert cancel(directly(mock, host)) == 2929292929


def test_only_who_knows_the_authority_trusts_it(mock: RunningMock) -> None:
    stranger = http.client.HTTPSConnection("127.0.0.1", port(mock.base_url), timeout=PATIENCE)
    with pytest.raises(ssl.SSLCertVerificationError):
        cancel(stranger)
    assert cancel(directly(mock)) == 2929292929


def test_nothing_but_the_public_certificate_is_written_and_that_is_removed() -> None:
    with running(tls=[HOST]) as mock:
        assert mock.certificates
        file = mock.certificates.ca_file
        assert {path.name for path in file.parent.iterdir()} == {file.name, "tn-contract.ini"}
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert not any("PRIVATE KEY" in path.read_text() for path in file.parent.iterdir())
    assert not file.parent.exists()


def test_every_start_has_an_authority_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    written = []
    for _ in range(2):
        with running(tls=[HOST], ca_file=file):
            written.append(file.read_text())
    assert file.exists()
    assert written[0] != written[1]


def test_the_environment_names_the_file_and_the_tunnel_in_both_spellings(mock: RunningMock) -> None:
    assert mock.certificates
    assert {name for name, value in mock.environment.items() if value == str(mock.certificates.ca_file)} == {
        "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    }  # fmt: skip
    assert mock.environment["https_proxy"] == mock.environment["HTTPS_PROXY"]
    assert mock.environment["no_proxy"] == mock.environment["NO_PROXY"]


@pytest.mark.parametrize("host", ["", "https://tradernet.com", "tradernet.com/api", "user@host", "a b", "x" * 300])
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(UsageError):
        listen(tls=[host])


def test_without_trustme_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(UsageError, match=r"pip install 'tn-contract\[tls\]'"):
        listen(tls=[HOST])


def test_a_mock_without_tls_has_no_environment() -> None:
    with running() as mock:
        assert (mock.certificates, mock.environment) == (None, {})
    with pytest.raises(UsageError, match="belongs to TLS"):
        listen(ca_file=Path("ca.pem"))


# ---- the handshake -----------------------------------------------------------------------------------------


def test_plain_http_is_told_to_use_https(mock: RunningMock) -> None:
    with raw(mock.base_url) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = all_from(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"X-Tn-Mock: harness-error" in head
    assert "https://" in json.loads(body)["hint"]


def test_what_was_sent_in_plain_text_is_kept_as_evidence(mock: RunningMock) -> None:
    mock.broker.unmatched.clear()
    post = b"POST /api/v2/cmd/delTradeOrder HTTP/1.1\r\nHost: mock\r\nContent-Length: 3\r\n\r\na=b"
    for piece in (1, len(post)):
        with raw(mock.base_url) as client:
            for at in range(0, len(post), piece):
                client.sendall(post[at : at + piece])
            assert all_from(client).startswith(b"HTTP/1.1 400 ")
    kept = [exchange.request for exchange in mock.broker.unmatched.exchanges()]
    assert [(each.line, each.body) for each in kept] == [("POST http://mock/api/v2/cmd/delTradeOrder", "a=b")] * 2


def test_a_certificate_may_have_the_names_of_others() -> None:
    with running(tls=[HOST], certified=["elsewhere.example"]) as mock:
        for connection in (directly(mock), through_the_tunnel(mock)):
            with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
                cancel(connection)


def test_clients_that_never_finish_the_handshake_hold_up_nobody(mock: RunningMock) -> None:
    silent = [raw(mock.base_url) for _ in range(200)]
    try:
        assert cancel(directly(mock)) == 2929292929
    finally:
        for client in silent:
            client.close()


@pytest.mark.parametrize("noise", [b"", b"\x16\x03\x01", os.urandom(500)], ids=["nothing", "half a hello", "noise"])
def test_a_client_that_breaks_off_the_handshake_harms_nobody(noise: bytes, mock: RunningMock) -> None:
    with raw(mock.base_url) as client:
        client.sendall(noise)
        with suppress(OSError):  # the mock may have hung up by now
            client.shutdown(socket.SHUT_WR)
            all_from(client)
    assert cancel(directly(mock)) == 2929292929


def test_a_connection_serves_several_requests(mock: RunningMock) -> None:
    connection = directly(mock)
    request = compose(DEMO, "delTradeOrder", 1, {"order_id": 5}).request
    for _ in range(3):
        connection.request(request.method, request.path, request.body, dict(request.headers))
        used = connection.sock
        assert json.loads(connection.getresponse().read()) == {"order_id": 5}
        assert connection.sock is used
    connection.close()


def test_many_clients_are_served_at_once(mock: RunningMock) -> None:
    with ThreadPoolExecutor(32) as pool:
        orders = range(1, 129)
        assert list(pool.map(lambda order: cancel(directly(mock), order), orders)) == list(orders)


# ---- the tunnel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, HOST.upper(), f"{HOST}.", "second.test"])
@pytest.mark.parametrize("target", [443, 8443])
def test_the_tunnel_leads_to_the_mock_in_the_name_of_its_hosts(host: str, target: int, mock: RunningMock) -> None:
    if host.endswith("."):  # a certificate has no trailing dot, so only the tunnel can be asked
        with raw(mock.environment["HTTPS_PROXY"]) as client:
            client.sendall(f"CONNECT {host}:{target} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    else:
        assert cancel(through_the_tunnel(mock, host, target)) == 2929292929


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT tradernet.com:443", f"CONNECT sub.{HOST}:443", f"CONNECT {HOST}.evil.test:443", f"CONNECT x{HOST}:443",
        f"CONNECT {HOST}", f"CONNECT {HOST}:", f"CONNECT {HOST}:https", f"CONNECT user@{HOST}:443", "CONNECT :443",
        "CONNECT", "CONNECT 127.0.0.1:443", f"GET http://{HOST}/", f"POST http://{HOST}/api", "nonsense", "",
    ],
)  # fmt: skip
def test_the_tunnel_refuses_everything_else_and_says_why(line: str, mock: RunningMock) -> None:
    with raw(mock.environment["HTTPS_PROXY"]) as client:
        client.sendall(f"{line} HTTP/1.1\r\n\r\n".encode())
        head, _, body = all_from(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"was refused: this tunnel" in body


def test_a_refusal_reaches_the_user_of_a_client(mock: RunningMock) -> None:
    with pytest.raises(OSError, match="403 Refused by the tn-contract tunnel"):
        cancel(through_the_tunnel(mock, "tradernet.com"))


def test_the_tunnel_connects_to_the_mock_and_to_nothing_else(
    mock: RunningMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lookup(*_arguments: object, **_named: object) -> None:
        raise AssertionError("a name was looked up")

    proxy = socket.create_connection(("127.0.0.1", port(mock.environment["HTTPS_PROXY"])), PATIENCE)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
    with proxy:
        proxy.sendall(b"CONNECT tradernet.com:443 HTTP/1.1\r\n\r\n")
        assert b" 403 " in all_from(proxy)


@pytest.mark.parametrize("said", [b"", b"CONN", b"CONNECT x:1 HTTP/1.1\r\n", b"x" * 70_000])
def test_a_client_that_never_says_where_to_is_let_go(said: bytes, mock: RunningMock) -> None:
    # It may be cut off while it still sends.
    with raw(mock.environment["HTTPS_PROXY"]) as client, suppress(ConnectionError):
        client.sendall(said)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        assert all_from(client) == b""
    assert cancel(through_the_tunnel(mock)) == 2929292929


def opened(mock: RunningMock) -> socket.socket:
    client = raw(mock.environment["HTTPS_PROXY"])
    client.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    return client


def test_a_client_that_has_said_all_still_hears_the_answer(mock: RunningMock) -> None:
    with opened(mock) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert all_from(client).startswith(b"HTTP/1.1 400 "), "the mock's word on plain HTTP"


def test_a_client_that_leaves_in_the_middle_harms_nobody(mock: RunningMock) -> None:
    for _ in range(20):
        opened(mock).close()
    assert cancel(through_the_tunnel(mock)) == 2929292929


@pytest.mark.parametrize("tunnelled", [False, True])
def test_a_connection_that_the_mock_breaks_off_is_broken_off_for_the_client(tunnelled: bool, mock: RunningMock) -> None:
    order = next(order.order_id for order in mock.broker.corpus.magic_orders.values() if order.fault == "reset")
    with pytest.raises(ConnectionResetError):
        cancel(through_the_tunnel(mock) if tunnelled else directly(mock), int(order))


def test_many_go_through_the_tunnel_at_once(mock: RunningMock) -> None:
    with ThreadPoolExecutor(32) as pool:
        orders = range(1, 129)
        assert list(pool.map(lambda order: cancel(through_the_tunnel(mock), order), orders)) == list(orders)


def test_nothing_is_left_when_the_mock_stops() -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with running(tls=[HOST]) as mock:
        idle, half = opened(mock), raw(mock.environment["HTTPS_PROXY"])
        half.sendall(b"CONN")
    with idle, half:
        with suppress(ConnectionResetError):  # both come to an end, TLS with a goodbye or without
            all_from(idle)
        assert all_from(half) == b""
    assert {thread.ident for thread in threading.enumerate()} == before
    with pytest.raises(ConnectionRefusedError):
        raw(mock.environment["HTTPS_PROXY"])
    mock.stop()
