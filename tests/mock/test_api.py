"""The documented endpoint in Flask, and `tn-contract serve` without it: both answer with the same bytes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import httpx
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app

from mock_server.answering import answered
from mock_server.app import create_app
from mock_server.broker import Broker
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import Reply, Request, compose, compose_v3, replace
from tn_contract.record.http_reader import READ_LIMIT

NONCE = 17_953_797_860_021_223
NOW = 1_795_379_786
ORDERS = ["2929292929", *load_corpus().magic_orders]


class TwoWays:
    """The same mock twice: one is asked as `serve` asks it, the other through Flask."""

    def __init__(self) -> None:
        self.brokers = [Broker(clock=lambda: NOW * 10**9) for _ in range(2)]
        self.app = create_app(self.brokers[1])

    def afresh(self) -> TwoWays:
        for broker in self.brokers:
            broker.reset()
        return self

    def ask(self, request: Request) -> Reply:
        # As WSGI has them: no empty Content-Type.
        headers = [(name.title(), value) for name, value in request.headers if value or name != "Content-Type"]
        request = replace(request, headers=tuple(headers))
        answer = answered(self.brokers[0], request)
        reply = through_flask(self.app, request)
        if answer.fault and answer.fault.loses_reply:
            assert reply.status == 599, "Flask has no connection to lose the reply on, and says so"
        else:
            assert reply == answer.reply
        journals = [
            [broker.session("tn-demo-key").journal.exchanges(), broker.unmatched.exchanges()]  # type: ignore[union-attr]
            for broker in self.brokers
        ]
        assert journals[0] == journals[1]
        return answer.reply


def through_flask(app: Flask, request: Request) -> Reply:
    """Ask the WSGI app, and return what it writes but for the length that Flask adds."""
    environ = EnvironBuilder(method=request.method, data=request.body).get_environ()
    for name in ("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE"):  # only what the request has, in its order
        environ.pop(name, None)
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    environ |= {"PATH_INFO": request.path, "QUERY_STRING": request.query}
    environ["wsgi.input_terminated"] = True
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    told = tuple((name, value) for name, value in headers if name != "Content-Length")
    return Reply(int(status[:3]), told, b"".join(body))


WAYS = TwoWays()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_server.faults.DELAY_SECONDS", 0)


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
        ways.ask(signed.request)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
requests = st.builds(
    Request,
    st.sampled_from(["POST", "GET", "HEAD", "OPTIONS", "PUT", "BREW"]),
    st.sampled_from(["/api/v2/cmd/delTradeOrder", "/api/delTradeOrder", "/api/", "/", "/elsewhere", "/api/v2"]),
    st.dictionaries(
        st.sampled_from(
            ["Content-Type", "X-Ntapi-Sig", "X-Ntapi-Publickey", "X-Ntapi-Timestamp", "Origin", "Cookie",
             "Access-Control-Request-Method", "Access-Control-Request-Headers"]
        ),
        st.one_of(texts, st.sampled_from(["application/x-www-form-urlencoded", "tn-demo-key", "0", "7", "null"])),
        max_size=6,
    ).map(lambda headers: tuple(headers.items())),
    st.one_of(st.binary(max_size=60), st.just(b"apiKey=tn-demo-key&cmd=delTradeOrder&nonce=1&params[order_id]=7")),
    texts,
)  # fmt: skip


@given(st.lists(requests, min_size=1, max_size=4))
def test_any_request_is_answered_alike(asked: list[Request]) -> None:
    ways = WAYS.afresh()
    for request in asked:
        if request.method == "HEAD":
            continue  # of which Flask sends no body: see test_head_has_no_body
        ways.ask(request)


@pytest.mark.parametrize("length", [READ_LIMIT - 1, READ_LIMIT, 64 * 1024, 64 * 1024 + 1])
def test_large_bodies_are_answered_alike(length: int) -> None:
    WAYS.afresh().ask(Request("POST", "/api/v2/cmd/delTradeOrder", (), b"x" * length))


def test_flask_run_answers_a_cancel() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flask", "--app", "mock_server", "run", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            signed = compose(Broker.demo, "delTradeOrder", NONCE, {"order_id": 2929292929}).request
            reply = _posted(f"http://127.0.0.1:{port}{signed.path}", signed)
            assert (reply.status_code, reply.json()["order_id"]) == (200, 2929292929)
        finally:
            process.terminate()


def _posted(url: str, request: Request) -> httpx.Response:
    for _again in range(100):
        try:
            return httpx.post(url, content=request.body, headers=list(request.headers), trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("flask does not start")


def test_the_documented_addresses_are_routes() -> None:
    rules = {rule.rule for rule in create_app().url_map.iter_rules()}
    assert {"/api/v2/cmd/<command>", "/api/<command>"} <= rules


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


def test_the_mocks_own_failure_is_marked_and_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a planted-secret")

    monkeypatch.setattr(Broker, "handle", fail)
    reply = WAYS.afresh().ask(Request("POST", "/api/v2/cmd/delTradeOrder"))
    assert reply.status == 599
    assert ("X-Tn-Mock", "harness-error") in reply.headers
    assert b"planted" not in reply.body
