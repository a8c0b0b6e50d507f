"""Magic orders that lose the reply: what the client sees on its socket, and what the mock says that it did."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import get_args

import httpx
import pytest

from mock_server import create_app
from mock_server.broker import DEMO, Broker
from mock_server.faults import Kind
from mock_server.inprocess import mock_router
from mock_server.serve import RunningMock, running
from tn_contract.client.client import Client
from tn_contract.contract.corpus import MagicOrder, load_corpus
from tn_contract.contract.errors import OutcomeUnknown
from tn_contract.contract.wire import Request, compose
from tn_contract.record.journal import Exchange
from tn_contract.transport import Timeouts

pytestmark = [pytest.mark.slow, pytest.mark.timed]

FAULTS = {order.order_id: order for order in load_corpus().magic_orders.values() if order.fault}
LOST = [order for order in FAULTS.values() if order.loses_reply]
SOON = Timeouts(connect=2, send=2, receive=0.5, total=5)


def ordered(fault: str) -> str:
    return next(order.order_id for order in FAULTS.values() if order.fault == fault)


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running() as mock:
        yield mock


@pytest.fixture
def client(mock: RunningMock) -> Iterator[Client]:
    mock.broker.reset()
    with Client(DEMO.api_key, DEMO.secret.reveal(), base_url=mock.base_url, timeouts=SOON) as client:
        yield client


def last_exchange(broker: Broker) -> Exchange:
    session = broker.session(DEMO.api_key)
    assert session
    return session.journal.exchanges()[-1]


def raw(mock: RunningMock, order_id: str) -> socket.socket:
    """Send a valid cancel on a bare socket."""
    request = compose(DEMO, "delTradeOrder", time.time_ns(), {"order_id": order_id}).request
    host, port = mock.base_url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    head = f"POST {request.path} HTTP/1.1\r\nHost: mock\r\nContent-Length: {len(request.body)}\r\n{headers}\r\n"
    connection.sendall(head.encode() + request.body)
    return connection


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(4096):
        received += part
    return received


@pytest.mark.parametrize("order", LOST, ids=lambda order: f"{order.fault}-{'applied' if order.applied else 'lost'}")
def test_a_lost_reply_leaves_the_outcome_unknown_and_the_journal_says_what_happened(
    mock: RunningMock, client: Client, order: MagicOrder
) -> None:
    with pytest.raises(OutcomeUnknown) as unknown:
        client.cancel_order(int(order.order_id))
    assert unknown.value.reason == "no-reply"
    exchange = last_exchange(mock.broker)
    assert exchange.reply is None
    assert exchange.failure == f"the mock's fault: {order.fault}"
    assert exchange.assessment
    assert exchange.assessment.effect == ("cancelled" if order.applied else "none")


def test_every_fault_of_a_scenario_has_a_magic_order() -> None:
    assert {order.fault for order in FAULTS.values()} == set(get_args(Kind))


def test_both_kinds_of_loss_exist_with_and_without_the_cancel_applied() -> None:
    for fault in ("drop", "silence"):
        assert {order.applied for order in FAULTS.values() if order.fault == fault} == {True, False}


@pytest.mark.parametrize("order", LOST, ids=lambda order: order.order_id)
def test_the_next_request_is_answered_as_if_nothing_had_happened(client: Client, order: MagicOrder) -> None:
    with pytest.raises(OutcomeUnknown):
        client.cancel_order(int(order.order_id))
    assert client.cancel_order(2929292929).order_id == 2929292929


def test_a_delayed_reply_is_whole_and_a_second_late(mock: RunningMock) -> None:
    started = time.monotonic()
    with Client(DEMO.api_key, DEMO.secret.reveal(), base_url=mock.base_url) as client:
        assert client.cancel_order(int(ordered("delay"))).evidence == "order_id"
    assert time.monotonic() - started >= 1
    assert last_exchange(mock.broker).reply


def test_drop_ends_the_connection_in_order_and_without_a_byte(mock: RunningMock) -> None:
    with raw(mock, ordered("drop")) as connection:
        assert read_all(connection) == b""


def test_reset_breaks_the_connection(mock: RunningMock) -> None:
    with raw(mock, ordered("reset")) as connection, pytest.raises(ConnectionResetError):
        read_all(connection)


def test_cut_off_promises_more_than_it_sends(mock: RunningMock) -> None:
    with raw(mock, ordered("cut-off")) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    promised = int(head.rpartition(b": ")[2])
    assert 0 < len(body) < promised


def test_garbage_is_no_http(mock: RunningMock) -> None:
    with raw(mock, ordered("garbage")) as connection:
        received = read_all(connection)
    assert received
    assert not received.startswith(b"HTTP/")


def test_a_dribbled_reply_comes_in_pieces_and_whole(mock: RunningMock) -> None:
    pieces: list[bytes] = []
    with raw(mock, ordered("dribble")) as connection:
        while not b"".join(pieces).endswith(b"\n}"):
            pieces.append(connection.recv(4096))
    assert len(pieces) > 3
    assert b"".join(pieces).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_client_waits_for_a_dribbled_reply(mock: RunningMock, client: Client) -> None:
    order_id = int(ordered("dribble"))
    for _ in range(2):  # on the same connection
        assert client.cancel_order(order_id).order_id == order_id
    assert last_exchange(mock.broker).reply


def test_a_reply_that_dribbles_beyond_the_clients_deadline_leaves_the_outcome_unknown(mock: RunningMock) -> None:
    mock.broker.reset()
    hasty = Timeouts(connect=2, send=2, receive=0.5, total=0.6)
    with (
        Client(DEMO.api_key, DEMO.secret.reveal(), base_url=mock.base_url, timeouts=hasty) as client,
        pytest.raises(OutcomeUnknown) as unknown,
    ):
        client.cancel_order(int(ordered("dribble")))
    assert unknown.value.reason == "too-slow"


def test_a_wrong_length_promises_more_than_comes(mock: RunningMock) -> None:
    with raw(mock, ordered("wrong-length")) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert body == b'{\n    "order_id" : %s\n}' % ordered("wrong-length").encode()
    assert int(head.rpartition(b": ")[2]) > len(body)


def test_silence_ends_when_the_mock_stops() -> None:
    with running() as mock:
        connection = raw(mock, ordered("silence"))
        time.sleep(0.3)
        started = time.monotonic()
    with connection:
        assert read_all(connection) == b""
    assert time.monotonic() - started < 3


def test_a_silent_connection_is_let_go_when_the_client_leaves(mock: RunningMock) -> None:
    mock.broker.reset()
    for _ in range(40):
        raw(mock, ordered("silence")).close()
    arrived = mock.broker.session(DEMO.api_key).journal
    deadline = time.monotonic() + 20
    while len(arrived) < 40:  # one that is read after the reset would use up a nonce
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with Client(DEMO.api_key, DEMO.secret.reveal(), base_url=mock.base_url) as client:
        mock.broker.reset()
        assert client.cancel_order(2929292929)


@pytest.mark.parametrize("order", LOST, ids=lambda order: order.order_id)
def test_the_in_process_door_raises_what_httpx_raises_for_a_lost_reply(order: MagicOrder) -> None:
    with (
        mock_router() as router,
        Client(DEMO.api_key, DEMO.secret.reveal(), base_url="https://tradernet.com") as client,
    ):
        with pytest.raises(OutcomeUnknown) as unknown:
            client.cancel_order(int(order.order_id))
        assert router.calls.call_count == 1
    assert isinstance(unknown.value.__cause__, Exception)
    assert isinstance(unknown.value.__cause__.__cause__, httpx.TransportError)


def test_a_door_without_a_connection_says_that_it_cannot_lose_a_reply() -> None:
    request: Request = compose(DEMO, "delTradeOrder", 1, {"order_id": ordered("drop")}).request
    with create_app().test_client() as door:
        reply = door.post(request.path, data=request.body, headers=list(request.headers))
    assert (reply.status_code, reply.headers["X-Tn-Mock"]) == (599, "harness-error")
    assert "serve" in reply.get_json()["hint"]
