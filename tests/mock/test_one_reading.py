"""The mock's socket and `explain-request` read alike: the same bytes end in the same situation and diagnosis."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mock_server.broker import Broker
from mock_server.serve import RunningMock, running
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    Request,
    SignedRequest,
    compose,
    compose_v3,
    replace,
    with_header,
    with_signature,
)
from tn_contract.diagnosis.explain import Explainer, Explanation
from tn_contract.judge.server import spoils
from tn_contract.judge.server.target import Spoil
from tn_contract.record.journal import Exchange
from tn_contract.record.requestfile import read_recording, read_requests
from tn_contract.strategies import faulty_cancels

pytestmark = pytest.mark.slow  # some 750 requests over a socket

CORPUS = load_corpus()
PAIR = Credentials("public", Secret("secret"))
NOW = 1_700_000_000_000_000_000
PATIENCE = 20  # seconds
Found = list[tuple[str, tuple[str, ...]]]


@pytest.fixture(scope="module")
def mock() -> Iterator[RunningMock]:
    with running(Broker(clock=lambda: NOW, timestamp_tolerance=None)) as mock:
        yield mock


def on_wire(request: Request) -> bytes:
    target = request.path + (f"?{request.query}" if request.query else "")
    headers = [("Host", "localhost"), *request.headers, ("Content-Length", str(len(request.body)))]
    head = "".join(f"{line}\r\n" for line in (f"{request.method} {target} HTTP/1.1", *map(": ".join, headers), ""))
    return head.encode("utf-8", "surrogateescape") + request.body


def by_the_mock(mock: RunningMock, data: bytes, pair: Credentials) -> tuple[Found, bytes]:
    """Send bytes to the mock; return what its journals say, in order, and what it replied."""
    broker = mock.broker
    broker.reset()
    session = broker.session(pair.api_key) or broker.open_session(pair.api_key, pair.secret.reveal())
    with socket.create_connection(mock.listening.getsockname()[:2], timeout=PATIENCE) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(65536):
            received += part
    return [seen(each) for each in (*session.journal.exchanges(), *broker.unmatched.exchanges())], received


def seen(exchange: Exchange) -> tuple[str, tuple[str, ...]]:
    assert exchange.assessment
    return exchange.assessment.situation, exchange.diagnosis.mistakes if exchange.diagnosis else ()


def by_explaining(data: bytes, pair: Credentials) -> list[Explanation]:
    return Explainer(pair.secret, pair, at_ns=NOW, thorough=0).explain(read_recording(data))


def found_by_explaining(data: bytes, pair: Credentials) -> Found:
    return [(each.situation, each.diagnosis.mistakes if each.diagnosis else ()) for each in by_explaining(data, pair)]


def assert_same(mock: RunningMock, data: bytes, pair: Credentials = PAIR) -> Found:
    found, _ = by_the_mock(mock, data, pair)
    assert found_by_explaining(data, pair) == found
    return found


# ---- the corpus --------------------------------------------------------------------------------------------

VECTORS = [(vector.id, group, vector) for group, vector in CORPUS.vectors if vector.body or group.scheme == "v3"]


@pytest.mark.parametrize(("group", "vector"), [each[1:] for each in VECTORS], ids=[each[0] for each in VECTORS])
def test_every_vector_is_read_alike(mock: RunningMock, group: Any, vector: Any) -> None:
    pair = Credentials(group.credentials.api_key, Secret(group.credentials.secret))
    path = (COMMAND_PATH if group.scheme == "v2" else COMMAND_PATH_V3) + "delTradeOrder"
    body = vector.body.encode("utf-8", "surrogateescape")
    request = Request("POST", path, tuple(vector.headers.items()), body)
    [(situation, _)] = assert_same(mock, on_wire(request), pair)
    assert (situation == "signature-invalid") is (vector.result == "invalid")


EXAMPLES = [mistake for mistake in CORPUS.mistakes.values() if mistake.example]


@pytest.mark.parametrize("mistake", EXAMPLES, ids=lambda mistake: mistake.id)
def test_every_example_of_a_mistake_is_read_alike(mock: RunningMock, mistake: Any) -> None:
    [request] = read_requests(mistake.example.request.encode())
    request = replace(
        request, headers=tuple(pair for pair in request.headers if pair[0] not in ("Host", "Content-Length"))
    )
    assert_same(mock, on_wire(request))


# ---- mutations ---------------------------------------------------------------------------------------------

V2 = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"order_id": 2929292929})
V3 = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 2929292929})


class _Probe:
    """What a mutation asks of the check that it belongs to."""

    credentials = PAIR


SIGNATURES: dict[str, Spoil] = {
    **spoils.UNSIGNED,
    **spoils.OTHER_WRITINGS,
    **spoils.OTHER_DIGESTS,
    "by nobody": spoils.signed_by(spoils.NOBODY),
    **spoils.signed_by_other(Credentials("other", Secret("other-secret"))),
    **{f"digit {place}": spoils.other_digit(place) for place in (0, 63)},
}


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("valid", [V2, V3], ids=["v2", "v3"])
def test_every_wrong_signature_is_read_alike(mock: RunningMock, valid: SignedRequest, name: str) -> None:
    request = SIGNATURES[name](_Probe(), valid)  # type: ignore[arg-type] # of which it asks the credentials only
    [(situation, _)] = assert_same(mock, on_wire(request))
    assert situation.startswith("signature-")


NUMBERS = {
    **spoils.NO_INTEGERS, **spoils.RARE_NO_INTEGERS, **spoils.NO_ORDERS, **spoils.OTHER_INTEGERS,
    **spoils.HARMFUL_INTEGERS,
}  # fmt: skip


# A journal keeps no body of that length, so the mock has nothing to diagnose.
_TOO_LONG = "5000 zeros"


@pytest.mark.parametrize("field", ["nonce", "order_id"])
@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - {_TOO_LONG}))
def test_every_number_is_read_alike(mock: RunningMock, name: str, field: str) -> None:
    text = NUMBERS[name].format(17_000_000_000_000)
    params = {"order_id": text if field == "order_id" else "5"}
    request = compose(PAIR, "delTradeOrder", text if field == "nonce" else 17_000_000_000_000, params).request
    assert_same(mock, on_wire(request))
    if field == "order_id":
        assert_same(mock, on_wire(compose_v3(PAIR, "delTradeOrder", 1_700_000_000, params).request))


@pytest.mark.parametrize("params", spoils.misplaced(2929292929), ids=str)
def test_every_misplaced_order_is_read_alike(mock: RunningMock, params: Any) -> None:
    assert_same(mock, on_wire(compose(PAIR, "delTradeOrder", 17_000_000_000_000, params).request))
    assert_same(mock, on_wire(compose_v3(PAIR, "delTradeOrder", 1_700_000_000, params).request))


@pytest.mark.parametrize("command", [*spoils.BAD_COMMANDS, *spoils.ALIKE_COMMANDS, "", "getAuthInfo"])
def test_every_command_is_read_alike(mock: RunningMock, command: str) -> None:
    assert_same(mock, on_wire(compose(PAIR, command, 17_000_000_000_000).request))
    assert_same(mock, on_wire(compose_v3(PAIR, command, 1_700_000_000).request))


@pytest.mark.parametrize("key", spoils.keys_like("public", disposable=True))
def test_every_unknown_key_is_read_alike(mock: RunningMock, key: str) -> None:
    request = compose(Credentials(key, PAIR.secret), "delTradeOrder", 17_000_000_000_000, {"order_id": 5}).request
    assert assert_same(mock, on_wire(request))[0][0] == "key-unknown"


PATHS = [
    "/api/v2", "/api/v2/", "/api/v2/cmd/", "/api/v2/cmd/delTradeOrder/", "/api/v3/cmd/delTradeOrder", "/api/", "/api",
    "//api/v2/cmd/delTradeOrder", "/api//delTradeOrder", "/api/delTradeOrder/", "/API/delTradeOrder", "/delTradeOrder",
    "/api/delTradeOrde%72", "/api/v2/cmd/delTradeOrde%72", "/api%2FdelTradeOrder", "/", "/api/delTradeOrder;x",
    "/api/v2/cmd/%7Bcommand%7D", "/api/../api/delTradeOrder", "/api/delTradeOrder%00", "/api/%D0%BF",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("valid", [V2, V3], ids=["v2", "v3"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_every_address_and_method_is_read_alike(
    mock: RunningMock, valid: SignedRequest, path: str, method: str
) -> None:
    assert_same(mock, on_wire(replace(valid.request, method=method, path=path)))


HEADERS = [
    ("Content-Type", None), ("Content-Type", "text/plain"), ("Content-Type", "multipart/form-data; boundary=b"),
    ("Content-Type", "APPLICATION/X-WWW-FORM-URLENCODED ; charset=utf-8"), ("X-NtApi-PublicKey", ""),
    ("X-NtApi-PublicKey", None), ("X-NtApi-Timestamp", None), ("X-NtApi-Timestamp", "1700000000000"),
    ("X-NtApi-Timestamp", "1.7e9"), ("X_NtApi_Sig", "a"), ("X-NtApi-Sig", "é"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HEADERS)
@pytest.mark.parametrize("valid", [V2, V3], ids=["v2", "v3"])
def test_every_header_is_read_alike(mock: RunningMock, valid: SignedRequest, name: str, value: str | None) -> None:
    assert_same(mock, on_wire(with_header(valid.request, name, value)))


@pytest.mark.parametrize("valid", [V2, V3], ids=["v2", "v3"])
def test_a_header_sent_twice_is_read_alike(mock: RunningMock, valid: SignedRequest) -> None:
    for header in valid.request.headers:
        request = replace(valid.request, headers=(*valid.request.headers, header))
        [(_, mistakes)] = assert_same(mock, on_wire(request))
        assert mistakes in ((), ("header-sent-twice",))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faulty=faulty_cancels(PAIR))
def test_every_faulty_request_is_read_alike(mock: RunningMock, faulty: Any) -> None:
    assert_same(mock, on_wire(faulty.request))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60), cut=st.integers(0, 80), valid=st.sampled_from([V2.request, V3.request]))
def test_every_broken_body_is_read_alike(mock: RunningMock, body: bytes, cut: int, valid: Request) -> None:
    assert_same(mock, on_wire(replace(valid, body=valid.body[:cut] + body + valid.body[cut:])))


# ---- several requests on one connection ----------------------------------------------------------------------


def test_requests_that_follow_each_other_are_read_alike(mock: RunningMock) -> None:
    wrong = with_signature(compose(PAIR, "delTradeOrder", 17_000_000_000_001, {"order_id": 1}).request, V2.signature)
    stale = compose(PAIR, "delTradeOrder", 16_999_999_999_999, {"order_id": 1}).request
    found = assert_same(mock, b"".join(map(on_wire, (V2.request, wrong, V2.request, stale))))
    assert [situation for situation, _ in found] == [
        "cancel-accepted", "signature-invalid", "nonce-replayed", "nonce-stale",
    ]  # fmt: skip


def test_what_is_no_request_ends_both_readings(mock: RunningMock) -> None:
    data = on_wire(V2.request) + b"POST / HTTP/9\r\n\r\n" + on_wire(V2.request)
    found, received = by_the_mock(mock, data, PAIR)
    assert found == [("cancel-accepted", ())]
    assert b"X-Tn-Mock: harness-error" in received
    explained = by_explaining(data, PAIR)
    assert [each.situation for each in explained] == ["cancel-accepted", "http"]


# ---- hostile framing around a right request --------------------------------------------------------------------

_LENGTH = f"Content-Length: {len(V2.request.body)}".encode()
HOSTILE = {
    "two lengths": (_LENGTH, _LENGTH + b"\r\n" + _LENGTH),
    "a list of lengths": (_LENGTH, _LENGTH + b", 92"),
    "a length with a sign": (b"Length: ", b"Length: +"),
    "an encoding": (_LENGTH, b"Transfer-Encoding: gzip"),
    "chunks and a length": (_LENGTH, _LENGTH + b"\r\nTransfer-Encoding: chunked"),
    "a folded header": (b"\r\nX-NtApi-Sig: ", b"\r\nX-NtApi-Sig:\r\n "),
    "a bare LF": (b"\r\nX-NtApi", b"\nX-NtApi"),
    "a space before the colon": (b"X-NtApi-Sig:", b"X-NtApi-Sig :"),
    "a NUL in a value": (b"Host: localhost", b"Host: local\0host"),
    "two hosts": (b"Host: localhost", b"Host: localhost\r\nHost: other"),
    "HTTP/2.0": (b"HTTP/1.1", b"HTTP/2.0"),
    "no version": (b" HTTP/1.1", b""),
    "a method in lower case": (b"POST /", b"post /"),
    "a fragment": (b"delTradeOrder HTTP", b"delTradeOrder#a HTTP"),
    "a space in the address": (b"delTradeOrder HTTP", b"del TradeOrder HTTP"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_right_request_in_hostile_framing_is_right_for_neither(mock: RunningMock, name: str) -> None:
    old, new = HOSTILE[name]
    data = on_wire(V2.request)
    assert old in data
    data = data.replace(old, new, 1)
    found, received = by_the_mock(mock, data, PAIR)
    assert (found, b"X-Tn-Mock: harness-error" in received) == ([], True)
    try:
        explained = by_explaining(data, PAIR)
    except UsageError:
        return
    assert explained[0].situation in ("http", "recording")
    assert not any(each.right for each in explained)
