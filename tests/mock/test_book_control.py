"""The control plane of the order book, and the book over a socket: any language can do this."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from mock_server import create_app
from mock_server.broker import DEMO, Broker
from tn_contract.contract.wire import compose_v3
from tn_contract.judge.client import live_verdicts

ORDERS = "/__tn__/sessions/tn-demo-key/orders"
CLOCK = "/__tn__/sessions/tn-demo-key/clock"


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    with create_app(orders="book", seed=1).test_client() as client:
        yield client


def refused(reply: TestResponse, status: int) -> str:
    assert reply.status_code == status
    assert reply.headers["X-Tn-Mock"] == "harness-error"
    assert reply.json is not None
    assert reply.json["hint"]
    return str(reply.json["reason"])


def ask(client: FlaskClient, command: str, params: dict[str, Any]) -> Any:
    request = compose_v3(DEMO, command, int(time.time()), params).request
    return client.open(request.path, method="POST", headers=list(request.headers), data=request.body).json


def orders(client: FlaskClient) -> list[dict[str, Any]]:
    listed = client.get(ORDERS).json
    assert listed is not None
    return list(listed["orders"])


def test_health_says_whether_orders_are_kept(client: FlaskClient) -> None:
    health, other = client.get("/__tn__/health").json, create_app().test_client().get("/__tn__/health").json
    assert health is not None
    assert other is not None
    assert (health["orders"], other["orders"]) == ("book", "replay")
    assert f"GET|POST {ORDERS.replace('tn-demo-key', '<api_key>')}" in health["control"]


def test_an_order_is_put_changed_cancelled_and_seen_to_end(client: FlaskClient) -> None:
    put = client.post(ORDERS)
    assert put.status_code == 201
    assert put.json is not None
    order_id = put.json["order_id"]
    assert {"stat": 10, "meaning": "active", "q": 1, "leaves_qty": 1, "cancel_ends": None}.items() <= put.json.items()
    changed = client.patch(f"{ORDERS}/{order_id}", json={"cancel_ends": 75}).json
    assert changed is not None
    assert changed["cancel_ends"] == 75
    assert ask(client, "delTradeOrder", {"order_id": int(order_id)}) == {"order_id": int(order_id)}
    (order,) = orders(client)
    assert (order["stat"], order["meaning"], order["then"]) == (2, "processing the cancellation", 75)
    assert order["due"] > order["since"]
    moved = client.post(CLOCK, json={"advance": 2}).json
    assert moved is not None
    (order,) = orders(client)
    assert (order["stat"], order["stat_prev"], order["meaning"]) == (75, 2, "error of cancellation")
    assert moved["now"] >= order["since"]


def test_an_id_is_shown_as_text_and_taken_as_either(client: FlaskClient) -> None:
    for order_id in (2**53 + 1, str(2**63 - 1)):
        put = client.post(ORDERS, json={"order_id": order_id})
        assert put.json is not None
        assert put.json["order_id"] == str(order_id)


@pytest.mark.parametrize(
    ("method", "address", "body", "status", "reason"),
    [
        ("POST", ORDERS, "{", 400, "the body is not understood"),
        ("POST", ORDERS, "[]", 400, "Expected `object`"),
        ("POST", ORDERS, '{"status": 10}', 400, "unknown field `status`"),
        ("POST", ORDERS, '{"stat": "10"}', 400, "Expected `int`"),
        ("POST", ORDERS, '{"cancel_ends": 10}', 400, "Invalid enum value 10"),
        ("POST", ORDERS, '{"stat": 9}', 409, "no order has the status 9: choose from 0, 1, 2"),
        ("PATCH", f"{ORDERS}/1", '{"stat": 21}', 404, "the session has no order 1"),
        ("PATCH", f"{ORDERS}/clock", '{"stat": 21}', 404, "the session has no order clock"),
        ("PATCH", f"{ORDERS}/5", '{"leaves_qty": 7}', 409, "7 of 1 are left"),
        ("POST", CLOCK, "{}", 400, "missing required field `advance`"),
        ("POST", CLOCK, '{"advance": -1}', 400, "only moves forward"),
        ("POST", CLOCK, '{"advance": 1e10}', 400, "only moves forward"),
        ("GET", "/__tn__/sessions/nobody/orders", "", 404, "no session has the key 'nobody'"),
        ("POST", "/__tn__/sessions/nobody/clock", '{"advance": 1}', 404, "no session has the key 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said(
    client: FlaskClient, method: str, address: str, body: str, status: int, reason: str
) -> None:
    client.post(ORDERS, json={"order_id": 5})
    assert reason in refused(client.open(address, method=method, data=body), status)
    assert len(orders(client)) == 1


@pytest.mark.parametrize(
    ("method", "address"), [("GET", ORDERS), ("POST", ORDERS), ("PATCH", f"{ORDERS}/1"), ("POST", CLOCK)]
)
def test_a_mock_that_replays_says_that_it_keeps_no_orders(method: str, address: str) -> None:
    with create_app().test_client() as client:
        assert refused(client.open(address, method=method), 409) == "this mock keeps no orders"


def test_a_session_whose_key_has_slashes_has_orders_too(client: FlaskClient) -> None:
    client.post("/__tn__/sessions", json={"api_key": "a/orders/b", "api_secret": "x"})
    assert client.post("/__tn__/sessions/a/orders/b/orders").status_code == 201
    listed = client.get("/__tn__/sessions/a/orders/b/orders").json
    assert listed is not None
    assert len(listed["orders"]) == 1
    assert orders(client) == []


def test_what_a_client_did_with_its_orders_breaks_no_rule_for_clients() -> None:
    broker = Broker(orders="book", seed=1)
    with create_app(broker, judge=live_verdicts).test_client() as client:
        order_id = ask(client, "putTradeOrder", {
            "instr_name": "AAPL.US", "action_id": 1, "order_type_id": 1, "qty": 1, "expiration_id": 3,
        })["order_id"]  # fmt: skip
        ask(client, "delTradeOrder", {"order_id": order_id})
        ask(client, "getNotifyOrderJson", {"active_only": 0})
        ask(client, "delTradeOrder", {"order_id": order_id})
        judged = client.get("/__tn__/sessions/tn-demo-key/verdicts").json
    assert judged is not None
    assert [each["check"] for each in judged["verdicts"] if each["verdict"] in ("fail", "error")] == []
    session = broker.session(DEMO.api_key)
    assert session
    found = [exchange.assessment.effect for exchange in session.journal.exchanges() if exchange.assessment]
    assert found == ["none", "cancelled", "none", "none"]
    assert not any(exchange.diagnosis for exchange in session.journal.exchanges())


def test_the_clock_stays_within_the_calendar(client: FlaskClient) -> None:
    for _ in range(10):
        assert client.post(CLOCK, json={"advance": 10**9}).status_code == 200
    far = refused(client.post(CLOCK, json={"advance": 1}), 409)
    assert "10^10 seconds ahead" in far
    assert client.post(ORDERS).status_code == 201
    assert len(orders(client)) == 1
