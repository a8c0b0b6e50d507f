"""The mock gives the same answer over a socket, inside httpx and as a WSGI app."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import httpx
import pytest
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mock_server import create_app
from mock_server.broker import DEMO, Broker
from mock_server.inprocess import mock_router
from mock_server.serve import running
from tn_contract.client.client import Client
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import (
    FORM_TYPE,
    Headers,
    Request,
    compose,
    compose_v3,
    dress,
    replace,
    sign_body,
    with_header,
)
from tn_contract.record.http_reader import MAX_BODY
from tn_contract.record.journal import Assessment, Journal

CORPUS = load_corpus()
BASE = "https://tradernet.example"
COMPARED = ("content-type", "location", "retry-after", "set-cookie", "vary", "x-tn-mock")


@dataclass(frozen=True)
class Seen:
    """What a client can see of a reply, without what only concerns the connection."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, status: int, headers: Any, body: bytes) -> Seen:
        kept = ((name.lower(), value) for name, value in headers)
        return cls(
            status,
            frozenset((name, value) for name, value in kept if name in COMPARED or name.startswith("access-control-")),
            body,
        )


Way = Callable[[Request], Seen]


@dataclass(frozen=True)
class Ways:
    """The three doors, each with a broker of its own that has seen the same requests. Paths are as on the wire."""

    brokers: tuple[Broker, Broker, Broker]
    send: tuple[Way, Way, Way]

    def reset(self) -> None:
        for broker in self.brokers:
            broker.reset()

    def all(self, request: Request) -> list[Seen]:
        return [send(request) for send in self.send]

    def assessments(self) -> list[list[Assessment | None]]:
        def of(journal: Journal | None) -> list[Assessment | None]:
            assessed = [exchange.assessment for exchange in (journal.exchanges() if journal else [])]
            # An address with two slashes never reaches the app over a socket.
            return [each for each in assessed if each and each.situation != "address"]

        return [
            of(broker.unmatched) + of(session.journal if (session := broker.session(DEMO.api_key)) else None)
            for broker in self.brokers
        ]


def over_a_socket(connection: http.client.HTTPConnection) -> Way:
    def send(request: Request) -> Seen:
        connection.putrequest(request.method, target(request), skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value.encode("latin-1"))
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        reply = connection.getresponse()
        return Seen.of(reply.status, reply.getheaders(), reply.read())

    return send


def inside_httpx(client: httpx.Client) -> Way:
    def send(request: Request) -> Seen:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in request.headers]
        reply = client.request(request.method, BASE + target(request), headers=headers, content=request.body)
        return Seen.of(reply.status_code, reply.headers.multi_items(), reply.content)

    return send


def as_wsgi_app(client: FlaskClient) -> Way:
    def send(request: Request) -> Seen:
        # The path as PEP 3333 wants it from a server; the test client's own idea of addresses differs.
        path = unquote_to_bytes(request.path).decode("latin-1")
        environ = {"PATH_INFO": path, "QUERY_STRING": request.query}
        reply = client.open(
            "/", method=request.method, headers=list(request.headers), data=request.body, environ_overrides=environ
        )
        return Seen.of(reply.status_code, list(reply.headers), reply.data)

    return send


def target(request: Request) -> str:
    return request.path + (f"?{request.query}" if request.query else "")


NOW = 1_700_000_000


def clock() -> int:
    return NOW * 10**9


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    brokers = (Broker(clock=clock), Broker(clock=clock), Broker(clock=clock))
    with running(brokers[0]) as mock, mock_router(brokers[1], BASE), httpx.Client() as client:
        host, port = mock.base_url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        app = create_app(brokers[2])
        yield Ways(brokers, (over_a_socket(connection), inside_httpx(client), as_wsgi_app(app.test_client())))
        connection.close()


@pytest.fixture
def fresh(ways: Ways) -> Ways:
    ways.reset()
    return ways


def cancel(nonce: int = 5, order_id: int = 2929292929, credentials: Credentials = DEMO) -> Request:
    return compose(credentials, "delTradeOrder", nonce, {"order_id": order_id}).request


def fields(**changes: str | None) -> dict[str, Any]:
    given: dict[str, Any] = {"apiKey": DEMO.api_key, "cmd": "delTradeOrder", "nonce": "5", "params": {"order_id": "1"}}
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def signed(**changes: Any) -> Request:
    from tn_contract.contract.signing import sign

    chosen = fields(**changes)
    return dress("delTradeOrder", chosen, sign(chosen, DEMO.secret).signature)


def with_headers(*headers: tuple[str, str], request: Request | None = None) -> Request:
    request = request or cancel()
    return replace(request, headers=(*request.headers, *headers))


PREFLIGHT: Headers = (
    ("Origin", "https://shop.example"),
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "nt-jqp,x-ntapi-sig,x_requested_with"),
)
REQUESTS: dict[str, Request] = {
    "accepted": cancel(),
    "session opened": compose(DEMO, "getAuthInfo", 5).request,
    "method": replace(cancel(), method="PUT"),
    "form": Request("POST", "/api/v2/cmd/delTradeOrder", (("Content-Type", "application/json"),), b"{}"),
    "no content type": Request("POST", "/api/v2/cmd/delTradeOrder"),
    "key-missing": signed(apiKey=None),
    "key-unknown": cancel(credentials=Credentials("nobody", Secret("x"))),
    "key in the header": with_headers(("X-NtApi-PublicKey", DEMO.api_key), request=signed(apiKey=None)),
    "signature-missing": Request("POST", "/api/v2/cmd/delTradeOrder", (("Content-Type", FORM_TYPE),), cancel().body),
    "signature-invalid": cancel(credentials=Credentials(DEMO.api_key, Secret("x"))),
    "a second signature": with_headers(("X-NtApi-Sig", "0" * 64)),
    "a header beyond ASCII": with_headers(("X-NtApi-Publickey", "\xe9\xff")),
    "nonce-missing": signed(nonce=None),
    "nonce-malformed": signed(nonce="5.0"),
    "nonce-stale": cancel(0),
    "command-missing": signed(cmd=None),
    "command-unknown": signed(cmd="noSuchCommand"),
    "order-id-missing": signed(params=None),
    "order-id-malformed": signed(params={"order_id": "x"}),
    "GET": Request("GET", "/api/v2/cmd/delTradeOrder", query="order_id=1"),
    "HEAD": Request("HEAD", "/api/v2/cmd/delTradeOrder"),
    "HEAD elsewhere": Request("HEAD", "/nowhere"),
    "DELETE": Request("DELETE", "/api/v2/cmd/delTradeOrder"),
    "OPTIONS": Request("OPTIONS", "/api/v2/cmd/delTradeOrder"),
    "OPTIONS with an origin": Request("OPTIONS", "/api/v2/cmd/delTradeOrder", (PREFLIGHT[0],)),
    "preflight": Request("OPTIONS", "/api/v2/cmd/delTradeOrder", PREFLIGHT),
    "preflight of an escaped path": Request("OPTIONS", "/api%2fv2/cmd/x", PREFLIGHT),
    "preflight elsewhere": Request("OPTIONS", "/nowhere", PREFLIGHT),
    "a reply to a page": with_headers(PREFLIGHT[0]),
    "an unusual method": Request("PROPFIND", "/api/v2/cmd/delTradeOrder"),
    "a query": replace(cancel(), query="a=b&nonce=1&%ff=%"),
    "unknown path": replace(cancel(), path="/nowhere"),
    "the root": replace(cancel(), path="/"),
    "two slashes at first": replace(cancel(), path="//api/v2/cmd/delTradeOrder"),
    "two slashes": replace(cancel(), path="/api/v2//cmd//delTradeOrder"),
    "a slash at the end": replace(cancel(), path="/api/v2/cmd/delTradeOrder/"),
    "an escaped letter": replace(cancel(), path="/api/v2/cmd/%64elTradeOrder"),
    "an escaped slash": replace(cancel(), path="/api%2Fv2%2fcmd/delTradeOrder"),
    "an escaped question mark": replace(cancel(), path="/api/v2/cmd/delTradeOrder%3Fa=b"),
    "escaped bytes": replace(cancel(), path="/api/v2/%ff%00%0d%0a%c3%a9"),
    "escaped bytes elsewhere": replace(cancel(), path="/%ff%c3%a9"),
    "a lone percent sign": replace(cancel(), path="/api/v2/cmd/%25%zz"),
    "parameters in the path": replace(cancel(), path="/api/v2/cmd/delTradeOrder;a=b"),
    "the largest body": replace(cancel(), body=b"x" * MAX_BODY),
    "a body too large": replace(cancel(), body=b"x" * (MAX_BODY + 1)),
    "a body too large elsewhere": replace(cancel(), path="/nowhere", body=b"x" * (MAX_BODY + 1)),
    "a body too large with GET": replace(cancel(), method="GET", body=b"x" * (MAX_BODY + 1)),
    "a body that is no text": replace(cancel(), body=b"apiKey=tn-demo-key&%ff=\xfe\x00"),
}


def cancel_v3(timestamp: int | str = NOW, order_id: int = 2929292929, command: str = "delTradeOrder") -> Request:
    return compose_v3(DEMO, command, timestamp, {"order_id": order_id}).request


def body_v3(body: bytes) -> Request:
    return sign_body(DEMO, "delTradeOrder", NOW, body).request


REQUESTS |= {
    f"v3: {name}": request
    for name, request in {
        "accepted": cancel_v3(),
        "session opened": cancel_v3(command="getAuthInfo"),
        "no params": sign_body(DEMO, "getAuthInfo", NOW, b"").request,
        "method": replace(cancel_v3(), method="PUT"),
        "GET": replace(cancel_v3(), method="GET", body=b"", query="order_id=1"),
        "preflight": Request("OPTIONS", "/api/delTradeOrder", PREFLIGHT),
        "a reply to a page": with_headers(PREFLIGHT[0], request=cancel_v3()),
        "key-missing": with_header(cancel_v3(), "X-NtApi-PublicKey", None),
        "key-unknown": with_header(cancel_v3(), "X-NtApi-PublicKey", "nobody"),
        "a key beyond ASCII": with_header(cancel_v3(), "X-NtApi-PublicKey", "\xe9\xff"),
        "signature-missing": with_header(cancel_v3(), "X-NtApi-Sig", None),
        "signature-invalid": with_header(cancel_v3(), "X-NtApi-Sig", "0" * 64),
        "timestamp-missing": with_header(cancel_v3(""), "X-NtApi-Timestamp", None),
        "timestamp-malformed": cancel_v3("x"),
        "a timestamp beyond ASCII": with_header(cancel_v3("\xe9\xff"), "X-NtApi-Timestamp", "\xe9\xff"),
        "two timestamps": with_headers(("X-NtApi-Timestamp", str(NOW)), request=cancel_v3()),
        "timestamp-stale": cancel_v3(1),
        "timestamp-ahead": cancel_v3(NOW * 1000),
        "body-malformed": body_v3(b"{"),
        "a body that is no text": body_v3(b"\xff\x00"),
        "command-unknown": cancel_v3(command="noSuchCommand"),
        "order-id-missing": body_v3(b"{}"),
        "order-id-malformed": body_v3(b'{"order_id":1.5}'),
        "an escaped letter": replace(cancel_v3(), path="/api/%64elTradeOrder"),
        "on a v2 path": replace(cancel_v3(), path="/api/v2/cmd/delTradeOrder"),
        "on the path of early SDKs": replace(cancel_v3(), path="/api/v3/cmd/delTradeOrder"),
        "a slash at the end": replace(cancel_v3(), path="/api/delTradeOrder/"),
    }.items()
}


def assert_equal_answers(ways: Ways, request: Request) -> Seen:
    socket, inprocess, wsgi = ways.all(request)
    assert socket == inprocess
    assert socket == wsgi
    assert_equal_assessments(ways)
    return socket


def assert_equal_assessments(ways: Ways) -> None:
    socket, inprocess, wsgi = ways.assessments()
    assert socket == inprocess
    assert socket == wsgi


@pytest.mark.parametrize("name", REQUESTS)
def test_the_three_ways_answer_alike(fresh: Ways, name: str) -> None:
    before = fresh.all(cancel(1))
    assert before[0].body == b'{\n    "order_id" : 2929292929\n}'
    seen = assert_equal_answers(fresh, REQUESTS[name])
    assert bool(seen.body) is not (name.startswith("HEAD") or seen.status == 204)


@pytest.mark.parametrize(("payload_id", "order_id"), list(CORPUS.replies.items()))
def test_the_three_ways_give_the_same_payload_for_a_magic_order(fresh: Ways, payload_id: str, order_id: str) -> None:
    seen = assert_equal_answers(fresh, cancel(order_id=int(order_id)))
    payload = CORPUS.payloads[payload_id]
    assert (seen.status, seen.body) == (payload.status, payload.fill(order_id))
    assert seen.headers == {(name.lower(), value) for name, value in payload.headers.items()}


@settings(max_examples=2 * settings().max_examples)
@given(
    st.binary(max_size=30), st.text("0123456789.e -", max_size=12), st.sampled_from(["delTradeOrder", "getAuthInfo"])
)
def test_the_three_ways_answer_any_v3_body_alike(ways: Ways, body: bytes, timestamp: str, command: str) -> None:
    ways.reset()
    assert_equal_answers(ways, sign_body(DEMO, command, timestamp.strip(), body).request)


FORM = st.lists(
    st.tuples(
        st.sampled_from(["apiKey", "cmd", "nonce", "params[order_id]", "params", "params[]", "a[b]"])
        | st.text(max_size=5),
        st.sampled_from([DEMO.api_key, "delTradeOrder", "getAuthInfo", "1", "2929292929", ""]) | st.text(max_size=5),
    ),
    max_size=8,
).map(lambda pairs: "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs).encode())


@settings(max_examples=3 * settings().max_examples)
@given(FORM | st.binary(max_size=60), st.sampled_from([None, "0" * 64, "é"]), st.sampled_from(["POST", "PUT"]))
@example(b"apiKey=tn-demo-key&apiKey[]=x", "", "POST")
def test_the_three_ways_answer_any_form_alike(ways: Ways, body: bytes, signature: str | None, method: str) -> None:
    ways.reset()
    headers: Headers = (("Content-Type", FORM_TYPE),)
    if signature is not None:
        headers = (*headers, ("X-NtApi-Sig", signature))
    assert_equal_answers(ways, Request(method, "/api/v2/cmd/delTradeOrder", headers, body))


@settings(max_examples=3 * settings().max_examples)
@given(
    st.binary(max_size=20),
    st.sampled_from(["/", "/api/", "/api/v2/", "/api/v2"]),
    st.sampled_from(["POST", "GET", "OPTIONS"]),
)
def test_the_three_ways_answer_any_path_alike(ways: Ways, tail: bytes, root: str, method: str) -> None:
    ways.reset()
    path = root + "".join(f"%{byte:02X}" if byte < 65 or byte > 122 else chr(byte) for byte in tail)
    assert_equal_answers(ways, Request(method, quote(path, safe="/%"), (("Content-Type", FORM_TYPE),)))


def test_the_router_brings_a_broker_of_its_own() -> None:
    with mock_router(), Client(DEMO.api_key, DEMO.secret.reveal(), base_url="https://tradernet.com") as client:
        assert client.cancel_order(2929292929).order_id == 2929292929
