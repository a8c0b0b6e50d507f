"""Both ways into the mock, past Flask and through it, answer every request with the same bytes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.app import create_app
from mock_server.broker import READ_LIMIT, Broker
from mock_server.door import Door, answered
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import Request, compose, compose_v3

NONCE = 17_953_797_860_021_223
NOW = 1_795_379_786
ORDERS = ["2929292929", *load_corpus().magic_orders]


def environ_of(request: Request) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ


def called(app: Any, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    started: list[Any] = []
    chunks = app(environ, lambda status, headers, _error=None: started.extend([status, headers]))
    body = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()
    return started[0], started[1], body


class TwoWays:
    """The same mock twice: one is asked past Flask, the other through it."""

    def __init__(self) -> None:
        self.brokers = [Broker(clock=lambda: NOW * 10**9) for _ in range(2)]
        past, through = map(create_app, self.brokers)
        assert isinstance(past.wsgi_app, Door)
        self.past, self.through = past.wsgi_app, through.wsgi_app._flask  # type: ignore[attr-defined]

    def afresh(self) -> TwoWays:
        for broker in self.brokers:
            broker.reset()
        return self

    def ask(self, request: Request) -> tuple[str, list[tuple[str, str]], bytes]:
        answer = called(self.past, environ_of(request))
        assert answer == called(self.through, environ_of(request))
        journals = [
            [broker.session("tn-demo-key").journal.exchanges(), broker.strays.exchanges()]  # type: ignore[union-attr]
            for broker in self.brokers
        ]
        assert journals[0] == journals[1]
        return answer


WAYS = TwoWays()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_server.faults.DELAY_SECONDS", 0)


def with_length(request: Request) -> Request:
    return Request(
        request.method,
        request.path,
        (*request.headers, ("Content-Length", str(len(request.body)))),
        request.body,
        request.query,
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["v2", "v3"])
def test_every_magic_order_is_answered_alike(scheme: str) -> None:
    ways = WAYS.afresh()
    for index, order in enumerate(ORDERS):
        signed = (
            compose(Broker.demo, "delTradeOrder", NONCE + index, {"order_id": order})
            if scheme == "v2"
            else compose_v3(Broker.demo, "delTradeOrder", NOW, {"order_id": int(order)})
        )
        ways.ask(with_length(signed.request))


texts = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
requests = st.builds(
    Request,
    st.sampled_from(["POST", "GET", "HEAD", "OPTIONS", "PUT", "BREW"]),
    st.sampled_from(["/api/v2/cmd/delTradeOrder", "/api/delTradeOrder", "/api/", "/", "/elsewhere", "/api/v2"]),
    st.dictionaries(
        st.sampled_from(
            ["Content-Type", "X-Ntapi-Sig", "X-Ntapi-Publickey", "X-Ntapi-Timestamp", "Origin", "Cookie",
             "Access-Control-Request-Method", "Access-Control-Request-Headers", "Content-Length"]
        ),
        st.one_of(texts, st.sampled_from(["application/x-www-form-urlencoded", "tn-demo-key", "0", "7", "null"])),
        max_size=6,
    ).map(lambda headers: tuple(headers.items())),
    st.one_of(st.binary(max_size=60), st.just(b"apiKey=tn-demo-key&cmd=delTradeOrder&nonce=1&params[order_id]=7")),
    texts,
)  # fmt: skip


@given(st.lists(requests, min_size=1, max_size=4), st.booleans())
def test_any_request_is_answered_alike(asked: list[Request], measured: bool) -> None:
    ways = WAYS.afresh()
    for request in asked:
        ways.ask(with_length(request) if measured else request)


@pytest.mark.parametrize("length", [READ_LIMIT - 1, READ_LIMIT, READ_LIMIT + 1, 64 * 1024, 64 * 1024 + 1])
def test_large_bodies_are_answered_alike(length: int) -> None:
    WAYS.afresh().ask(with_length(Request("POST", "/api/v2/cmd/delTradeOrder", (), b"x" * length)))


@pytest.mark.parametrize("promised", ["1", "99", "-1", "1e1", "\u0663", "x" * 30])
def test_a_body_of_another_length_than_promised_is_answered_alike(promised: str) -> None:
    headers = (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", promised))
    WAYS.afresh().ask(Request("POST", "/api/v2/cmd/delTradeOrder", headers, b"apiKey=x"))


def test_a_log_that_nobody_reads_keeps_no_client_from_its_reply() -> None:
    def gone(_line: str) -> None:
        raise BrokenPipeError

    request = compose(Broker.demo, "delTradeOrder", 1, {"order_id": 7}).request
    assert answered(Broker(), request, gone).reply.status == 200


def test_the_mocks_own_failure_is_logged_without_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Broker, "handle", fail)
    assert answered(Broker(), Request("POST", "/api/v2/cmd/planted-secret")).reply.status == 599
    assert "RuntimeError" in caplog.text
    assert "planted-secret" not in caplog.text


@pytest.mark.parametrize("way", ["past", "through"])
def test_the_mocks_own_failure_is_marked_and_tells_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a planted-secret")

    monkeypatch.setattr(Broker, "handle", fail)
    ways = WAYS.afresh()
    status, headers, body = called(getattr(ways, way), environ_of(Request("POST", "/api/v2/cmd/delTradeOrder")))
    assert status.startswith("599 ")
    assert ("X-Tn-Mock", "harness-error") in headers
    assert b"planted" not in body
