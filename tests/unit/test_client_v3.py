"""The reference client on the v3 generation: the same outcomes, a timestamp instead of a nonce."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mock_server.broker import Broker, Session
from mock_server.serve import RunningMock, running
from tests.unit.conftest import RawServer
from tn_contract.client.client import Accepted, AsyncClient, AuthInfo, Client
from tn_contract.contract import errors
from tn_contract.contract.corpus import Payload, load_corpus
from tn_contract.contract.errors import AccessDenied, InvalidRequest, OutcomeUnknown, UsageError
from tn_contract.contract.nonce import NonceSource

CORPUS = load_corpus()
ORDER = 2929292929
PLANTED = "planted-5ecret-0123456789"
CLASS_OF = {kind.kind: getattr(errors, kind.class_name) for kind in CORPUS.errors}

Cancel = Callable[..., Accepted]


def cancel_blocking(base_url: str, order_id: int, key: str, secret: str) -> Accepted:
    with Client(key, secret, base_url=base_url, scheme="v3") as client:
        return client.cancel_order(order_id)


def cancel_async(base_url: str, order_id: int, key: str, secret: str) -> Accepted:
    async def main() -> Accepted:
        async with AsyncClient(key, secret, base_url=base_url, scheme="v3") as client:
            return await client.cancel_order(order_id)

    return asyncio.run(main())


both = pytest.mark.parametrize("cancel", [cancel_blocking, cancel_async])


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running() as running_mock:
        yield running_mock


@pytest.fixture
def session(mock: RunningMock) -> Iterator[Session]:
    opened = mock.broker.open_session()
    yield opened
    mock.broker.close_session(opened.credentials.api_key)


def keys_of(session: Session) -> tuple[str, str]:
    return session.credentials.api_key, session.credentials.secret.reveal()


@both
def test_a_cancel_is_accepted(mock: RunningMock, session: Session, cancel: Cancel) -> None:
    assert cancel(mock.base_url, ORDER, *keys_of(session)) == Accepted(ORDER, "order_id", {"order_id": ORDER})
    [exchange] = session.journal.exchanges()
    assert exchange.request.line == "POST /api/delTradeOrder"
    assert exchange.request.body == f'{{"order_id":{ORDER}}}'
    assert exchange.assessment is not None
    assert (exchange.assessment.situation, exchange.assessment.scheme) == ("cancel-accepted", "v3")


def test_a_session_is_opened(mock: RunningMock, session: Session) -> None:
    async def main() -> AuthInfo:
        async with AsyncClient(*keys_of(session), base_url=mock.base_url, scheme="v3") as client:
            return await client.get_auth_info()

    with Client(*keys_of(session), base_url=mock.base_url, scheme="v3") as client:
        assert client.get_auth_info() == asyncio.run(main())
    assert [exchange.request.body for exchange in session.journal.exchanges()] == ["{}", "{}"]


@both
@pytest.mark.parametrize(
    "magic", [CORPUS.magic_orders[order_id] for order_id in CORPUS.replies.values()], ids=lambda magic: magic.payload
)
def test_every_reply_means_what_it_means_over_v2(
    mock: RunningMock, session: Session, cancel: Cancel, magic: Any
) -> None:
    payload: Payload = CORPUS.payloads[magic.payload]
    order_id = int(magic.order_id)
    if payload.outcome == "accepted":
        assert cancel(mock.base_url, order_id, *keys_of(session)).order_id == order_id
    elif payload.outcome == "rejected":
        with pytest.raises(CLASS_OF[str(payload.kind)]):
            cancel(mock.base_url, order_id, *keys_of(session))
    else:
        with pytest.raises(OutcomeUnknown):
            cancel(mock.base_url, order_id, *keys_of(session))
    assert len(session.journal) == 1


@both
def test_a_403_whose_code_is_null_is_a_denial(mock: RunningMock, session: Session, cancel: Cancel) -> None:
    key, secret = keys_of(session)
    for wrong in ((f"{key}x", secret), (key, f"{secret}x")):
        with pytest.raises(AccessDenied) as denied:
            cancel(mock.base_url, ORDER, *wrong)
        assert (denied.value.status, denied.value.code) == (403, None)


@both
def test_the_request_is_the_documented_one_to_the_byte(
    raw_server: RawServer, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tn_contract.client.client.time.time", lambda: 1700000000.999)
    raw_server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + b'{"result":1}'
    assert cancel(raw_server.base_url, ORDER, "public", "secret").evidence == "result"
    [received] = raw_server.received
    head, _, body = received.decode().partition("\r\n\r\n")
    line, *lines = head.split("\r\n")
    headers = dict(each.lower().split(": ", 1) for each in lines)
    assert (line, body) == ("POST /api/delTradeOrder HTTP/1.1", '{"order_id":2929292929}')
    assert headers["content-type"] == "application/json"
    assert headers["x-ntapi-publickey"] == "public"
    assert headers["x-ntapi-timestamp"] == "1700000000"
    assert headers["x-ntapi-sig"] == "7d188036d889f8a318f324a7bf1d32cb7019c7d8c6701d2cf3bc0eaf92d80062"
    assert "cookie" not in headers


def test_a_clock_that_is_wrong_is_denied_and_the_journal_says_why(
    mock: RunningMock, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("tn_contract.client.client.time.time", lambda: now - 3600)
    with pytest.raises(AccessDenied):
        cancel_blocking(mock.base_url, ORDER, *keys_of(session))
    [exchange] = session.journal.exchanges()
    assert exchange.assessment is not None
    assert exchange.assessment.situation == "timestamp-stale"
    assert "behind the mock's clock" in exchange.assessment.notes[0]


def test_requests_of_one_key_need_not_wait_for_each_other(mock: RunningMock, session: Session) -> None:
    with Client(*keys_of(session), base_url=mock.base_url, scheme="v3") as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(client.cancel_order, range(1, 101)))
    assert {each.assessment.situation for each in session.journal.exchanges() if each.assessment} == {"cancel-accepted"}
    assert session.ledger.last is None


def test_v2_stays_the_default(mock: RunningMock, session: Session) -> None:
    with Client(*keys_of(session), base_url=mock.base_url) as client:
        client.cancel_order(ORDER)
        assert client.scheme == "v2"
    [exchange] = session.journal.exchanges()
    assert exchange.request.line == "POST /api/v2/cmd/delTradeOrder"


def test_a_nonce_source_or_another_scheme_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no nonce"):
        Client("key", PLANTED, base_url="http://127.0.0.1:9", scheme="v3", nonces=NonceSource())
    with pytest.raises(UsageError, match="choose v2 or v3"):
        Client("key", PLANTED, base_url="http://127.0.0.1:9", scheme="v4")  # type: ignore[arg-type] # the mistake


@pytest.mark.parametrize("key", ["ключ", "key\n", " key", "key\r\nX: y", "ke\x00y"])
def test_a_key_that_no_header_carries_is_not_sent(raw_server: RawServer, key: str) -> None:
    with pytest.raises(InvalidRequest, match="header") as refused:
        cancel_blocking(raw_server.base_url, ORDER, key, PLANTED)
    assert PLANTED not in str(refused.value)
    assert raw_server.received == []


def test_the_secret_is_in_no_repr_and_not_on_the_wire(raw_server: RawServer) -> None:
    raw_server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with Client("key", PLANTED, base_url=raw_server.base_url, scheme="v3") as client:
        with pytest.raises(OutcomeUnknown):
            client.cancel_order(ORDER)
        assert PLANTED not in repr(client) + repr(vars(client))
    assert PLANTED.encode() not in raw_server.received[0]


def test_the_broker_takes_what_the_client_sends_in_process() -> None:
    inprocess = pytest.importorskip("mock_server.inprocess")
    broker = Broker()
    with inprocess.mock_router(broker, "https://tradernet.com"):
        accepted = cancel_blocking("https://tradernet.com", ORDER, broker.demo.api_key, broker.demo.secret.reveal())
    assert json.loads(json.dumps(accepted.members)) == {"order_id": ORDER}
