"""The reference client, blocking and async: three outcomes of a cancel, and nothing sent twice."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mock_server.broker import Broker, Session
from mock_server.serve import RunningMock, running
from tn_contract.client.client import Accepted, AsyncClient, AuthInfo, Client, cancel_outcome, session_outcome
from tn_contract.contract import errors
from tn_contract.contract.corpus import Payload, load_corpus
from tn_contract.contract.errors import (
    CancelError,
    ConnectFailed,
    InvalidRequest,
    NonceRejected,
    NonceUnavailable,
    NotSent,
    OtherOrderEchoed,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    SignatureRejected,
)
from tn_contract.contract.nonce import NonceSource, shared_source
from tn_contract.contract.wire import Reply, nest, parse_fields
from tn_contract.judge.client.cases import NEIGHBOUR
from tn_contract.transport import Timeouts

CORPUS = load_corpus()
BASE = "http://client.test"
ORDER = 2929292929
PLANTED = "planted-5ecret-0123456789"
CLASS_OF = {kind.kind: getattr(errors, kind.class_name) for kind in CORPUS.errors}


# ---- both clients through one door -------------------------------------------------------------------------


def cancel_blocking(base_url: str, order_id: Any, key: str = "key", secret: str = "secret", **options: Any) -> Accepted:
    with Client(key, secret, base_url=base_url, **options) as client:
        return client.cancel_order(order_id)


def cancel_async(base_url: str, order_id: Any, key: str = "key", secret: str = "secret", **options: Any) -> Accepted:
    async def main() -> Accepted:
        async with AsyncClient(key, secret, base_url=base_url, **options) as client:
            return await client.cancel_order(order_id)

    return asyncio.run(main())


def session_blocking(base_url: str, key: str, secret: str) -> AuthInfo:
    with Client(key, secret, base_url=base_url) as client:
        return client.get_auth_info()


def session_async(base_url: str, key: str, secret: str) -> AuthInfo:
    async def main() -> AuthInfo:
        async with AsyncClient(key, secret, base_url=base_url) as client:
            return await client.get_auth_info()

    return asyncio.run(main())


Cancel = Callable[..., Accepted]
OpenSession = Callable[..., AuthInfo]
BOTH = pytest.mark.parametrize("cancel", [cancel_blocking, cancel_async], ids=["blocking", "async"])


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running() as started:
        yield started


@pytest.fixture
def session(mock: RunningMock) -> Session:
    return mock.broker.open_session()


def keys_of(session: Session) -> dict[str, str]:
    return {"key": session.credentials.api_key, "secret": session.credentials.secret.reveal()}


def situations(session: Session) -> list[str]:
    return [exchange.assessment.situation for exchange in session.journal.exchanges() if exchange.assessment]


# ---- every reply of the corpus -----------------------------------------------------------------------------

MAGIC = {payload: int(order_id) for payload, order_id in CORPUS.replies.items()}
REASONS = {
    "other-order": "other-order", "order-id-as-text": "no-evidence", "empty": "empty", "html": "not-json",
    "other-json": "no-evidence", "code-zero-alone": "no-evidence", "result-true": "no-evidence", "list": "not-object",
    "null": "not-object", "half-json": "not-json", "two-order-ids": "not-json", "two-order-ids-swapped": "not-json",
    "json-with-more": "not-json", "other-order-of-run": "other-order", "other-order-in-32-bits": "other-order",
    "http-500": "server-error", "http-503": "server-error", "http-504": "server-error", "http-404-success": "status",
    "http-500-success": "server-error", "http-502": "server-error", "http-403-html": "status", "http-307": "status",
    "http-302-success": "status", "other-order-zero": "other-order", "other-order-with-more-digits": "other-order",
    "other-order-below-zero": "other-order", "other-order-with-a-fraction": "no-evidence",
    "failure-in-list": "no-evidence", "several-order-ids": "no-evidence", "success-true": "no-evidence",
    "order-id-null": "no-evidence", "list-with-success": "not-object", "json-in-json": "not-object",
    "json-behind-html": "not-json", "byte-order-mark": "not-json", "http-204": "empty", "http-408": "status",
    "http-301-without-location": "status", "http-520-success": "server-error",
}  # fmt: skip


def test_every_payload_of_a_cancel_can_be_provoked_by_an_order_id() -> None:
    book = [each for name, each in CORPUS.situations.items() if name.startswith("book-")]
    reachable = set(MAGIC).union(*({each.payload, *each.also} for each in book))
    assert set(CORPUS.payloads) - reachable == {"session-opened", "v1-rejected", NEIGHBOUR}
    unclear = {payload.id for payload in CORPUS.payloads.values() if payload.outcome == "unknown"}
    assert set(REASONS) == unclear - {NEIGHBOUR}, "it answers any order, so tests of `judge` show it"


@BOTH
@pytest.mark.parametrize("payload", [CORPUS.payloads[name] for name in MAGIC], ids=lambda payload: payload.id)
def test_a_reply_of_the_corpus_has_the_outcome_that_the_corpus_says(
    payload: Payload, cancel: Cancel, mock: RunningMock, session: Session
) -> None:
    order_id = MAGIC[payload.id]
    if payload.outcome == "accepted":
        accepted = cancel(mock.base_url, order_id, **keys_of(session))
        assert accepted.order_id == order_id
        assert accepted.evidence == ("result" if "result" in payload.body else "order_id")
        assert accepted.members == json.loads(payload.fill(str(order_id)))
    else:
        with pytest.raises(CancelError) as caught:
            cancel(mock.base_url, order_id, **keys_of(session))
        error = caught.value
        if isinstance(error, Rejected):
            assert payload.kind
            assert type(error) is CLASS_OF[payload.kind]
            assert (error.kind, error.status, error.applied) == (payload.kind, payload.status, "no")
        else:
            assert isinstance(error, OutcomeUnknown)
            assert payload.outcome == "unknown"
            assert (error.reason, error.status, error.applied) == (REASONS[payload.id], payload.status, "unknown")
            assert error.body == payload.fill(str(order_id)).decode()[:200]
    assert situations(session) == ["cancel-accepted"]  # and sent once


@pytest.mark.parametrize("open_session", [session_blocking, session_async], ids=["blocking", "async"])
def test_a_session_is_opened_as_the_documented_flow_does(
    open_session: OpenSession, mock: RunningMock, session: Session
) -> None:
    info = open_session(mock.base_url, **keys_of(session))
    assert info.sess_id == "0" * 26
    assert "0" * 26 not in repr(info)
    assert situations(session) == ["session-opened"]


@BOTH
def test_a_server_that_refuses_by_itself_is_understood(cancel: Cancel, mock: RunningMock, session: Session) -> None:
    keys = keys_of(session)
    with pytest.raises(errors.AccessDenied):
        cancel(mock.base_url, ORDER, "unknown key")
    with pytest.raises(SignatureRejected):
        cancel(mock.base_url, ORDER, keys["key"], "wrong secret")
    cancel(mock.base_url, ORDER, **keys)
    with pytest.raises(NonceRejected):
        cancel(mock.base_url, ORDER, **keys, nonces=NonceSource(clock=lambda: 0))
    assert situations(session) == ["signature-invalid", "cancel-accepted", "nonce-stale"]


# ---- evidence ----------------------------------------------------------------------------------------------


def outcome(members: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Accepted:
    return cancel_outcome(ORDER, Reply(status, headers, json.dumps(members).encode()))


def test_the_order_id_or_an_integer_result_is_evidence() -> None:
    assert outcome({"order_id": ORDER}).evidence == "order_id"
    assert outcome({"order_id": ORDER, "result": 1}).evidence == "order_id"
    for result in (1, -1, 0):
        assert outcome({"result": result}).evidence == "result"
    assert outcome({"order_id": ORDER}, 204).evidence == "order_id"


@pytest.mark.parametrize(
    "members",
    [{}, {"code": 0}, {"result": True}, {"result": 1.0}, {"order_id": str(ORDER)}, {"order_id": None, "result": 1},
     {"order_id": float(ORDER)}, {"order_id": True}, {"order": {"order_id": ORDER}}, {"orderId": ORDER}],
)  # fmt: skip
def test_anything_else_is_no_evidence(members: Any) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        outcome(members)
    assert caught.value.reason == "no-evidence"


@pytest.mark.parametrize("members", [{"order_id": 1}, {"order_id": 1, "result": 1}, {"order_id": -ORDER}])
def test_an_echo_of_another_order_is_an_error_of_its_own(members: Any) -> None:
    with pytest.raises(OtherOrderEchoed, match=f"not {ORDER}") as caught:
        outcome(members)
    assert (caught.value.reason, caught.value.applied) == ("other-order", "unknown")


def test_a_failure_text_outweighs_any_evidence_but_not_a_broken_server() -> None:
    with pytest.raises(Rejected):
        outcome({"order_id": ORDER, "result": 1, "error": "x", "code": 0})
    with pytest.raises(OutcomeUnknown):
        outcome({"error": "x", "code": 12}, 500)
    with pytest.raises(Rejected):
        outcome({"error": "x", "code": 12}, 403)


def test_an_accepted_cancel_and_a_session_show_no_members() -> None:
    assert repr(outcome({"order_id": ORDER, "x": "personal"})) == f"Accepted(order_id={ORDER}, evidence='order_id')"
    assert repr(session_outcome(Reply(200, (), b'{"sess_id": "abc"}'))) == "AuthInfo()"


@pytest.mark.parametrize("body", [b"{}", b'{"sess_id": ""}', b'{"sess_id": 1}', b'{"sess_id": null}'])
def test_a_session_without_an_id_has_none(body: bytes) -> None:
    assert session_outcome(Reply(200, (), body)).sess_id is None


DATE = ("Date", "Wed, 21 Oct 2015 07:28:00 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        ((("Retry-After", "2"),), 2.0),
        ((("retry-after", " 120 "),), 120.0),
        ((("Retry-After", "0"),), 0.0),
        ((("Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"), DATE), 30.0),
        ((("Retry-After", "Wed, 21 Oct 2015 07:27:00 GMT"), DATE), 0.0),
        ((("Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"),), None),
        ((("Retry-After", "Wed, 21 Oct 2015 07:28:30 -0000"), DATE), None),
        ((("Retry-After", "Wed, 21 Oct 99999999999999999999 07:28:30 GMT"), DATE), None),
        ((("Retry-After", "9" * 400), DATE), None),
        ((("Retry-After", "-1"), DATE), None),
        ((("Retry-After", "1.5"), DATE), None),
        ((("Retry-After", "²"), DATE), None),
        ((("Retry-After", "soon"), DATE), None),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(headers: tuple[tuple[str, str], ...], seconds: float | None) -> None:
    with pytest.raises(RateLimited) as caught:
        outcome({}, 429, headers)
    assert caught.value.retry_after == seconds


# ---- any reply whatsoever ----------------------------------------------------------------------------------

json_bodies = st.dictionaries(
    st.sampled_from(["order_id", "result", "code", "error", "errMsg", "errorMsg", "sess_id"]),
    st.none() | st.booleans() | st.integers() | st.just(ORDER) | st.text() | st.lists(st.integers()),
).map(lambda members: json.dumps(members).encode())
bodies = json_bodies | st.binary()
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["Retry-After", "Date", "Location", "Set-Cookie", "Content-Type", "Content-Encoding", "Content-Length",
             "Transfer-Encoding", "Connection", "Upgrade", "WWW-Authenticate", "X"]
        ),
        header_values | st.sampled_from(
            ["0", "5", "gzip", "deflate", "chunked", "close", "a=b; Max-Age=x; Domain=.test", "mailto:x", "//[", "?",
             "Wed, 21 Oct 2015 07:28:00 GMT", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
        ),
    ),
    max_size=4,
)  # fmt: skip


@given(status=st.integers(100, 999), reply_headers=headers, body=bodies)
def test_any_reply_is_accepted_rejected_or_unknown(status: int, reply_headers: Any, body: bytes) -> None:
    for judge in (lambda reply: cancel_outcome(ORDER, reply), session_outcome):
        with suppress(Rejected, OutcomeUnknown):
            assert isinstance(judge(Reply(status, tuple(reply_headers), body)), Accepted | AuthInfo)
            assert 200 <= status < 300


@pytest.mark.parametrize("depth", [100, 500, 900, 940, 960, 980, 1000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_deeply_nested_failure_text_is_no_trap(depth: int, opening: str, closing: str) -> None:
    body = f'{{"error": {opening * depth}1{closing * depth}}}'.encode()
    with pytest.raises((Rejected, OutcomeUnknown)):
        cancel_outcome(ORDER, Reply(200, (), body))


def raw_reply(status: int, reply_headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in reply_headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@BOTH
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one server for all examples is meant
@given(reply=st.builds(raw_reply, st.integers(100, 999), headers, bodies) | st.binary())
def test_any_bytes_from_the_network_are_accepted_rejected_or_unknown(
    reply: bytes, cancel: Cancel, raw_server: Any
) -> None:
    raw_server.received.clear()
    raw_server.reply = reply
    with suppress(Rejected, OutcomeUnknown):
        assert cancel(raw_server.base_url, ORDER).order_id == ORDER
    assert len(raw_server.received) == 1


# ---- failures of the transport -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
def test_without_a_connection_nothing_was_sent(failure: type[httpx.RequestError], cancel: Cancel) -> None:
    with respx.mock(base_url=BASE) as router:
        router.route().mock(side_effect=failure)
        with pytest.raises(ConnectFailed) as caught:
            cancel(BASE, ORDER)
        assert router.calls.call_count == 1
    assert isinstance(caught.value, NotSent)
    assert caught.value.applied == "no"


@BOTH
@pytest.mark.parametrize(
    "failure", [httpx.WriteError, httpx.WriteTimeout, httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError]
)
def test_a_failure_after_that_leaves_the_outcome_unknown(failure: type[httpx.RequestError], cancel: Cancel) -> None:
    with respx.mock(base_url=BASE) as router:
        router.route().mock(side_effect=failure)
        with pytest.raises(OutcomeUnknown, match="look it up before anything else") as caught:
            cancel(BASE, ORDER)
        assert router.calls.call_count == 1
    assert (caught.value.reason, caught.value.status, caught.value.applied) == ("no-reply", None, "unknown")


@BOTH
def test_a_redirect_to_nowhere_leaves_the_outcome_unknown(cancel: Cancel, raw_server: Any) -> None:
    raw_server.reply = b"HTTP/1.1 307 Moved\r\nLocation: mailto:nobody\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(OutcomeUnknown):
        cancel(raw_server.base_url, ORDER)
    assert len(raw_server.received) == 1


@BOTH
@pytest.mark.parametrize(
    ("limits", "size", "reason"), [(Timeouts(total=-1), 10, "too-slow"), (Timeouts(), 2**20 + 1, "too-large")]
)
def test_a_reply_beyond_its_limits_leaves_the_outcome_unknown(
    limits: Timeouts, size: int, reason: str, cancel: Cancel, raw_server: Any
) -> None:
    raw_server.reply = raw_reply(200, [("Content-Length", str(size))], b"x" * size)
    with pytest.raises(OutcomeUnknown) as caught:
        cancel(raw_server.base_url, ORDER, timeouts=limits)
    assert caught.value.reason == reason


@BOTH
def test_after_a_failure_the_key_is_free_and_the_nonce_is_not_used_again(cancel: Cancel) -> None:
    nonces = NonceSource(clock=lambda: 0, wait=5)
    with respx.mock(base_url=BASE) as router:
        answers: list[Any] = [httpx.ReadTimeout, httpx.ConnectError, httpx.Response(200, json={"result": 1})]
        router.route().mock(side_effect=answers)
        for _ in range(2):
            with pytest.raises(CancelError):
                cancel(BASE, ORDER, nonces=nonces)
        assert cancel(BASE, ORDER, nonces=nonces).evidence == "result"
        sent = [nest(parse_fields(call.request.content))["nonce"] for call in router.calls]
    assert sent == ["1", "2", "3"]


# ---- what cannot be sent -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "order_id", [True, False, "5", 5.0, None, b"5", [5], 0, -1, 2**63, 10**5000], ids=lambda value: repr(value)[:8]
    if not isinstance(value, int) else f"{value.bit_length()} bits, {type(value).__name__}, {value > 0}",
)  # fmt: skip
def test_what_is_no_order_id_is_refused_and_nothing_is_sent(order_id: Any, cancel: Cancel, raw_server: Any) -> None:
    with pytest.raises(InvalidRequest, match="order_id is ") as caught:
        cancel(raw_server.base_url, order_id)
    assert caught.value.applied == "no"
    assert raw_server.received == []


@BOTH
@pytest.mark.parametrize("order_id", [1, 2**63 - 1])
def test_the_lowest_and_the_highest_order_id_are_sent(
    order_id: int, cancel: Cancel, mock: RunningMock, session: Session
) -> None:
    assert cancel(mock.base_url, order_id, **keys_of(session)) == Accepted(order_id, "order_id", {"order_id": order_id})


@BOTH
def test_a_key_that_has_no_utf_8_form_is_refused_and_nothing_is_sent(cancel: Cancel, raw_server: Any) -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="lone surrogate"):
            cancel(raw_server.base_url, ORDER, "\ud800", nonces=NonceSource(wait=5))
    assert raw_server.received == []


@BOTH
def test_without_a_nonce_nothing_is_sent(cancel: Cancel, raw_server: Any, tmp_path: Path) -> None:
    with pytest.raises(NonceUnavailable):
        cancel(raw_server.base_url, ORDER, nonces=NonceSource(tmp_path / "missing" / "nonces"))
    assert raw_server.received == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_there_is_no_default_address_and_a_bad_one_is_refused(kind: Any) -> None:
    with pytest.raises(errors.UsageError, match="name the server: base_url=…; there is no default"):
        kind("key", "secret")
    with pytest.raises(errors.UsageError):
        kind("key", "secret", base_url="https://tradernet.com/api")


# ---- many at once ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_threads_that_share_a_client_are_never_refused() -> None:
    with running(Broker(journal_size=5000)) as mock:
        session = mock.broker.open_session()
        keys = keys_of(session)
        with Client(keys["key"], keys["secret"], base_url=mock.base_url) as client, ThreadPoolExecutor(16) as pool:
            accepted = list(pool.map(client.cancel_order, range(1, 16 * 200 + 1)))
    assert [outcome.order_id for outcome in accepted] == list(range(1, 16 * 200 + 1))
    assert situations(session) == ["cancel-accepted"] * (16 * 200)


def test_two_clients_of_one_key_in_one_process_are_never_refused(mock: RunningMock, session: Session) -> None:
    keys = keys_of(session)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Client(keys["key"], keys["secret"], base_url=mock.base_url + slash))
            for slash in ("", "/")
        ]
        assert clients[0]._nonces is clients[1]._nonces is shared_source(keys["key"])
        pool = stack.enter_context(ThreadPoolExecutor(8))
        list(pool.map(lambda number: clients[number % 2].cancel_order(number), range(1, 201)))
    assert situations(session) == ["cancel-accepted"] * 200


def test_a_blocking_and_an_async_client_of_one_key_are_never_refused(mock: RunningMock, session: Session) -> None:
    keys = keys_of(session)

    async def cancel_many() -> None:
        async with AsyncClient(keys["key"], keys["secret"], base_url=mock.base_url) as client:
            await asyncio.gather(*(client.cancel_order(number) for number in range(1, 101)))

    with Client(keys["key"], keys["secret"], base_url=mock.base_url) as client, ThreadPoolExecutor(1) as pool:
        running_async = pool.submit(asyncio.run, cancel_many())
        for number in range(101, 201):
            client.cancel_order(number)
        running_async.result(60)
    assert situations(session) == ["cancel-accepted"] * 200


CANCEL_MANY = """
import os, sys
from tn_contract.client.client import Client
from tn_contract.contract.nonce import NonceSource
address, store, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
key, secret = os.environ["TN_API_KEY"], os.environ["TN_API_SECRET"]
with Client(key, secret, base_url=address, nonces=NonceSource(store)) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    for order_id in range(first, first + 50):
        client.cancel_order(order_id)
"""


@pytest.mark.slow
def test_processes_that_share_a_nonce_store_are_never_refused(
    mock: RunningMock, session: Session, tmp_path: Path
) -> None:
    keys = keys_of(session)
    environment = {**os.environ, "TN_API_KEY": keys["key"], "TN_API_SECRET": keys["secret"]}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CANCEL_MANY, mock.base_url, tmp_path / "nonces", str(1 + 50 * number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for number in range(8)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0] * 8
    assert situations(session) == ["cancel-accepted"] * 400


def test_one_request_of_a_key_is_under_way_at_a_time() -> None:
    under_way: list[int] = []
    most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal most
        under_way.append(1)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.pop()
        return httpx.Response(200, json={"result": 1})

    async def main() -> None:
        async with AsyncClient("key", "secret", base_url=BASE) as client:
            await asyncio.gather(*(client.cancel_order(ORDER) for _ in range(20)))

    with respx.mock(base_url=BASE) as router:
        router.route().mock(side_effect=answer)
        asyncio.run(main())
        sent = [int(str(nest(parse_fields(call.request.content))["nonce"])) for call in router.calls]
    assert most == 1
    assert len(sent) == 20
    assert sent == sorted(set(sent))


def test_a_task_cancelled_while_its_request_is_out_frees_the_key(raw_server: Any) -> None:
    async def main() -> None:
        raw_server.silent_until.clear()
        async with AsyncClient("key", "secret", base_url=raw_server.base_url, nonces=NonceSource(wait=20)) as client:
            task = asyncio.create_task(client.cancel_order(ORDER))
            await asyncio.to_thread(raw_server.arrived.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            raw_server.reply = raw_reply(200, [("Content-Length", "13"), ("Connection", "close")], b'{"result": 1}')
            raw_server.silent_until.set()
            assert (await client.cancel_order(ORDER)).evidence == "result"

    asyncio.run(main())
    assert len(raw_server.received) == 2


def test_a_thread_waits_while_the_request_of_another_is_out(raw_server: Any) -> None:
    raw_server.silent_until.clear()
    raw_server.reply = raw_reply(200, [("Content-Length", "13"), ("Connection", "close")], b'{"result": 1}')
    nonces = NonceSource(wait=0.01)
    with Client("key", "secret", base_url=raw_server.base_url, nonces=nonces) as client:
        first = threading.Thread(target=client.cancel_order, args=(ORDER,))
        first.start()
        raw_server.arrived.wait()
        with pytest.raises(NonceUnavailable, match="has been under way"):
            client.cancel_order(ORDER)
        raw_server.silent_until.set()
        first.join()
    assert len(raw_server.received) == 1


# ---- nothing shows the secret ------------------------------------------------------------------------------


def use_blocking(base_url: str, key: str, order_id: Any, nonces: NonceSource | None) -> str:
    with Client(key, PLANTED, base_url=base_url, nonces=nonces) as client:
        return f"{client} {client!r} {[client]} {client.cancel_order(order_id)}"


def use_async(base_url: str, key: str, order_id: Any, nonces: NonceSource | None) -> str:
    async def main() -> str:
        async with AsyncClient(key, PLANTED, base_url=base_url, nonces=nonces) as client:
            return f"{client} {client!r} {[client]} {await client.cancel_order(order_id)}"

    return asyncio.run(main())


def shown_by(use: Callable[..., str], base_url: str, key: str, order_id: Any, nonces: NonceSource | None) -> str:
    """Every word that a cancel leaves behind, be it a value or an exception with all local variables."""
    try:
        return use(base_url, key, order_id, nonces)
    except CancelError as error:
        chain = (error, error.__cause__, error.__context__)
        words = [f"{chained!r} {chained} {chained and vars(chained)!r}" for chained in chain]
        return "".join(words + list(traceback.TracebackException.from_exception(error, capture_locals=True).format()))


@pytest.mark.parametrize("use", [use_blocking, use_async], ids=["blocking", "async"])
def test_no_text_of_a_client_shows_the_secret(
    use: Callable[..., str], mock: RunningMock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    key = mock.broker.open_session(None, PLANTED).credentials.api_key
    shown = [shown_by(use, mock.base_url, key, order_id, None) for order_id in [ORDER, *MAGIC.values(), "no id"]]
    shown.append(shown_by(use, "http://127.0.0.1:1", key, ORDER, None))
    shown.append(shown_by(use, mock.base_url, key, ORDER, NonceSource(clock=lambda: 0)))
    assert any(f"{key!r} at {mock.base_url}" in text for text in shown)
    assert any("self = <" in text for text in shown)  # local variables were looked at
    assert "HTTP Request: POST" in caplog.text
    for text in [*shown, caplog.text, *(repr(vars(record)) for record in caplog.records)]:
        assert PLANTED not in text


def test_closing_a_client_closes_its_connections() -> None:
    with Client("key", "secret", base_url=BASE) as client:
        assert not client._transport._client.is_closed
    assert client._transport._client.is_closed

    async def main() -> None:
        async with AsyncClient("key", "secret", base_url=BASE) as client:
            assert not client._transport._client.is_closed
        assert client._transport._client.is_closed

    asyncio.run(main())
