"""The pure broker on the v3 generation: JSON body, timestamp, and a signature over the two as they came."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mock_server.broker import DEMO, TIMESTAMP_TOLERANCE, Answer, Broker
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request, SignedRequest, compose, compose_v3, replace, with_header, with_signature
from tn_contract.record.journal import Assessment
from tn_contract.strategies import cancels_v3

CORPUS = load_corpus()
NOW = 1_700_000_000
ORDER = 2929292929
CANCEL = b'{"order_id":2929292929}'
KEYS = Credentials("v3-key", Secret("v3-secret"))


def hmac_hex(message: bytes, secret: str = "tn-demo-secret") -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def post(
    body: bytes = CANCEL,
    timestamp: str | None = str(NOW),
    signature: str | None = None,
    *,
    command: str = "delTradeOrder",
    key: str | None = DEMO.api_key,
    query: str = "",
    method: str = "POST",
) -> Request:
    """POST a body, signed as it is unless a signature is given; None leaves a header out. Not the kit's own signer."""
    headers = [("Content-Type", "application/json")]
    headers += [("X-NtApi-PublicKey", key)] if key is not None else []
    headers += [("X-NtApi-Timestamp", timestamp)] if timestamp is not None else []
    right = hmac_hex(body + (timestamp or "").encode("latin-1"))
    headers += [("X-NtApi-Sig", right if signature is None else signature)] if signature != "" else []
    return Request(method, f"/api/{command}", tuple(headers), body, query)


@pytest.fixture
def broker() -> Broker:
    return at(NOW)


def at(seconds: int, **options: Any) -> Broker:
    return Broker(clock=lambda: seconds * 10**9, **options)


def assessed(answer: Answer) -> Assessment:
    assert answer.assessment is not None
    assert answer.assessment.scheme == "v3"
    return answer.assessment


def situation(answer: Answer) -> str:
    return assessed(answer).situation


# ---- each situation is one step away from an accepted request ------------------------------------------------

SITUATIONS: dict[str, Callable[[], Request]] = {
    "cancel-accepted": post,
    "session-opened": lambda: post(b"{}", command="getAuthInfo"),
    "method": lambda: post(method="PUT"),
    "key-missing": lambda: post(key=None),
    "key-unknown": lambda: post(key="tn-demo-kez"),
    "signature-missing": lambda: post(signature=""),
    "signature-invalid": lambda: post(signature="0" * 64),
    "timestamp-missing": lambda: post(timestamp=None),
    "timestamp-malformed": lambda: post(timestamp=f"{NOW}.0"),
    "timestamp-stale": lambda: post(timestamp=str(NOW - TIMESTAMP_TOLERANCE - 1)),
    "timestamp-ahead": lambda: post(timestamp=str(NOW + TIMESTAMP_TOLERANCE + 1)),
    "body-malformed": lambda: post(b'{"order_id":2929292929'),
    "command-unknown": lambda: post(command="delTradeOrders"),
    "order-id-missing": lambda: post(b"{}"),
    "order-id-malformed": lambda: post(b'{"order_id":2929292929.0}'),
}
V2_ALONE = {"form", "nonce-missing", "nonce-malformed", "nonce-replayed", "nonce-stale", "command-missing"}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_answers_the_payload_that_the_corpus_names(broker: Broker, name: str) -> None:
    answer = broker.handle(SITUATIONS[name]())
    entry = next(each for each in json.loads((CORPUS.root / "situations.json").read_text()) if each["id"] == name)
    payload = CORPUS.payloads[entry.get("payload_v3", entry["payload"])]
    assert situation(answer) == name
    assert assessed(answer).payload == payload.id
    assert (answer.reply.status, answer.reply.body) == (payload.status, payload.fill(str(ORDER)))


def test_no_situation_is_left_out_here() -> None:
    elsewhere = {name for name, each in CORPUS.situations.items() if each.statement.startswith(("(v1)", "(book)"))} | {
        "scenario"
    }
    assert set(SITUATIONS) | V2_ALONE == set(CORPUS.situations) - elsewhere


@pytest.mark.parametrize("name", ["key-missing", "key-unknown", "signature-missing", "signature-invalid"])
def test_v3_refuses_authentication_by_403_and_v2_by_200(broker: Broker, name: str) -> None:
    assert broker.handle(SITUATIONS[name]()).reply.status == 403
    assert CORPUS.payloads[CORPUS.situations[name].payload_for("v2")].status == 200


@pytest.mark.parametrize("magic", list(CORPUS.magic_orders.values()), ids=lambda magic: magic.payload)
def test_magic_orders_work_over_v3(broker: Broker, magic: Any) -> None:
    answer = broker.handle(post(b'{"order_id":%s}' % magic.order_id.encode()))
    payload = CORPUS.payloads[magic.payload]
    assert (answer.reply.status, answer.reply.body) == (payload.status, payload.fill(magic.order_id))
    assert (answer.fault and answer.fault.kind) == magic.fault
    assert assessed(answer).effect == ("cancelled" if payload.outcome == "accepted" and magic.applied else "none")


def test_a_reply_that_is_named_for_a_situation_serves_both_generations() -> None:
    broker = at(NOW, replies={"signature-invalid": "signature-rejected-code-12"})
    body = CORPUS.payloads["signature-rejected-code-12"].fill("")
    assert broker.handle(SITUATIONS["signature-invalid"]()).reply.body == body
    v2 = compose(Credentials(DEMO.api_key, Secret("x")), "delTradeOrder", 5, {"order_id": 1}).request
    assert broker.handle(v2).reply.body == body


# ---- order of validation -------------------------------------------------------------------------------------

FAULTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "method": lambda wanted: wanted.update(method="GET"),
    "key-unknown": lambda wanted: wanted.update(key="nobody"),
    "signature-invalid": lambda wanted: wanted.update(signature="0" * 64),
    "timestamp-stale": lambda wanted: wanted.update(timestamp="1"),
    "body-malformed": lambda wanted: wanted.update(body=b"{"),
    "command-unknown": lambda wanted: wanted.update(command="noSuchCommand"),
    "order-id-missing": lambda wanted: wanted.setdefault("body", b"{}"),
}


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_earlier_of_all_faults_from_a_step_on_decides(broker: Broker, first: int) -> None:
    wanted: dict[str, Any] = {}
    for name in list(FAULTS)[first:]:
        FAULTS[name](wanted)
    assert situation(broker.handle(post(**wanted))) == list(FAULTS)[first]


# ---- signature -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"order_id": 2929292929}',
        b'{\r\n"order_id":2929292929}\n',
        b'{"order\\u005fid":2929292929}',
        b' {"order_id":"2929292929"} ',
    ],
)
def test_the_bytes_of_the_body_are_the_senders_choice(broker: Broker, body: bytes) -> None:
    assert situation(broker.handle(post(body))) == "cancel-accepted"


@pytest.mark.parametrize("body", [b"", b"{}", b"{ }\n"])
def test_no_params_are_an_empty_body_or_braces(broker: Broker, body: bytes) -> None:
    assert situation(broker.handle(post(body, command="getAuthInfo"))) == "session-opened"


@given(cancels_v3(KEYS), st.data())
def test_a_request_of_which_one_byte_was_changed_is_refused(valid: SignedRequest, data: st.DataObject) -> None:
    broker = at(int(valid.request.header("X-NtApi-Timestamp") or ""))
    broker.open_session(KEYS.api_key, KEYS.secret.reveal())
    assert situation(broker.handle(valid.request)) == "cancel-accepted"
    part = data.draw(st.sampled_from(["body", "X-NtApi-Timestamp", "X-NtApi-PublicKey", "X-NtApi-Sig"]))
    text = valid.request.body if part == "body" else (valid.request.header(part) or "").encode()
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0x21, 0x7E).filter(lambda byte: byte != text[place]))
    changed = text[:place] + bytes([byte]) + text[place + 1 :]
    request = (
        replace(valid.request, body=changed) if part == "body" else with_header(valid.request, part, changed.decode())
    )
    expected = {"X-NtApi-PublicKey": "key-unknown"}.get(part, "signature-invalid")
    assert situation(broker.handle(request)) == expected


def test_a_digit_that_moves_from_the_timestamp_into_the_body_is_refused_although_the_message_is_the_same() -> None:
    moved = post(b"{}1", "700000000", hmac_hex(b"{}1700000000"))
    assert situation(at(NOW).handle(moved)) == "timestamp-stale"
    assert situation(at(NOW, timestamp_tolerance=None).handle(moved)) == "body-malformed"


@pytest.mark.parametrize("spelling", ["X-NTAPI-SIG", "x-ntapi-sig"])
def test_header_names_have_no_case(broker: Broker, spelling: str) -> None:
    headers = tuple((name.swapcase(), value) for name, value in post(signature="").headers)
    request = replace(post(), headers=(*headers, (spelling, hmac_hex(CANCEL + str(NOW).encode()))))
    assert situation(broker.handle(request)) == "cancel-accepted"


def test_a_v3_request_on_a_v2_path_has_an_invalid_signature_as_the_real_server_says(broker: Broker) -> None:
    answer = broker.handle(replace(post(), path="/api/v2/cmd/delTradeOrder"))
    assert answer.assessment is not None
    assert (answer.assessment.situation, answer.assessment.scheme) == ("signature-invalid", "v2")
    assert b"Invalid signature provided" in answer.reply.body


def test_a_v2_request_on_a_v3_path_names_no_key(broker: Broker) -> None:
    v2 = compose(DEMO, "delTradeOrder", 5, {"order_id": ORDER}).request
    answer = broker.handle(replace(v2, path="/api/delTradeOrder"))
    assert situation(answer) == "key-missing"
    assert assessed(answer).notes == (
        "Content-Type is application/x-www-form-urlencoded: application/json is documented",
    )
    with_key = with_header(replace(v2, path="/api/delTradeOrder"), "X-NtApi-PublicKey", DEMO.api_key)
    assert situation(broker.handle(with_key)) == "signature-invalid"


# ---- timestamp -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [-TIMESTAMP_TOLERANCE, -1, 0, 1, TIMESTAMP_TOLERANCE])
def test_a_timestamp_within_the_tolerance_is_accepted_any_number_of_times(broker: Broker, away: int) -> None:
    request = post(timestamp=str(NOW + away))
    assert [situation(broker.handle(request)) for _ in range(3)] == ["cancel-accepted"] * 3


@pytest.mark.parametrize("off", [None, 0])
@pytest.mark.parametrize("stamp", ["0", "1", "99999999999999999"])
def test_without_a_tolerance_any_integer_is_a_timestamp(off: int | None, stamp: str) -> None:
    assert situation(at(NOW, timestamp_tolerance=off).handle(post(timestamp=stamp))) == "cancel-accepted"


@pytest.mark.parametrize(
    "stamp", ["abc", "-1", "+1700000000", " 1700000000", "01700000000", "1.7e9", "0x1", "1_0", "\xb2", "9" * 20]
)
def test_a_timestamp_is_a_plain_integer(broker: Broker, stamp: str) -> None:
    assert situation(broker.handle(post(timestamp=stamp))) == "timestamp-malformed"


def test_a_timestamp_in_milliseconds_is_ahead_and_the_note_says_how_far(broker: Broker) -> None:
    answer = broker.handle(post(timestamp=f"{NOW}000"))
    assert situation(answer) == "timestamp-ahead"
    assert assessed(answer).notes == (f"the timestamp is {NOW * 999} s ahead of the mock's clock",)


def test_v3_moves_no_nonce(broker: Broker) -> None:
    broker.handle(post())
    session = broker.session(DEMO.api_key)
    assert session is not None
    assert session.ledger.last is None
    assert len(session.journal) == 1


# ---- params --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order_id", [1, 2**31, 2**53 + 1, 2**63 - 1])
def test_order_ids_are_exact(broker: Broker, order_id: int) -> None:
    answer = broker.handle(post(b'{"order_id":%d}' % order_id))
    assert assessed(answer).order_id == str(order_id)
    assert json.loads(answer.reply.body) == {"order_id": order_id}


def test_an_order_id_of_digits_in_quotes_is_tolerated_and_noted(broker: Broker) -> None:
    answer = broker.handle(post(b'{"order_id":"2929292929"}'))
    assert situation(answer) == "cancel-accepted"
    assert assessed(answer).notes == ("order_id is a text: a JSON number is documented",)


@pytest.mark.parametrize(
    "value",
    ["true", "0", "-1", "1.0", "1e3", "[1]", '{"a":1}', '""', '"x"', '"01"', '" 1"', '"1.0"', str(2**63), f'"{2**63}"'],
)
def test_other_values_are_no_order_id(broker: Broker, value: str) -> None:
    assert situation(broker.handle(post(f'{{"order_id":{value}}}'.encode()))) == "order-id-malformed"


@pytest.mark.parametrize(
    "body",
    [b"{", b"x", b"[]", b"1", b'"x"', b"null", b"\xff", b'{"a":NaN}', b'{"order_id":1,"order_id":2}', b"order_id=1",
     b'{"order_id":%s}' % (b"9" * 5000), b"[" * 5000],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_malformed(broker: Broker, body: bytes) -> None:
    assert situation(broker.handle(post(body))) == "body-malformed"


def test_a_query_is_ignored_and_noted(broker: Broker) -> None:
    answer = broker.handle(post(b"{}", query="order_id=1"))
    assert situation(answer) == "order-id-missing"
    assert assessed(answer).notes == ("the query string is ignored",)


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/v3/cmd/delTradeOrder", "/api/v1/cmd/x", "/api/delTradeOrder/", "/API/delTradeOrder"],
)
def test_other_addresses_are_marked_as_not_the_apis_words(broker: Broker, path: str) -> None:
    answer = broker.handle(replace(post(), path=path))
    assert (answer.assessment, answer.reply.status) == (None, 599)
    assert "/api/delTradeOrder" in json.loads(answer.reply.body)["hint"]


# ---- journal -------------------------------------------------------------------------------------------------


def test_the_journal_shows_what_should_have_been_signed(broker: Broker) -> None:
    assessment = assessed(broker.handle(post(signature="0" * 64)))
    assert assessment.string_to_sign == f"{CANCEL.decode()}{NOW}"
    assert assessment.expected_signature == hmac_hex(CANCEL + str(NOW).encode())


@pytest.mark.parametrize("secret", ['pl"anted/\\secret', "geheim-é-секрет", "planted\nsecret"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_in_a_json_body_is_taken_out(secret: str, ascii_only: bool) -> None:
    broker = at(NOW)
    session = broker.open_session("k", secret)
    inner = json.dumps(secret, ensure_ascii=ascii_only)
    for body in (f'{{"note":{inner}}}', f'{{"note":{inner}}}'.replace("/", "\\/")):
        broker.handle(post(body.encode(), key="k", signature=hmac_hex(body.encode() + str(NOW).encode(), secret)))
    assert len(session.journal) == 2
    for exchange in session.journal.exchanges():
        assert exchange.assessment is not None
        assert exchange.assessment.situation == "order-id-missing"
        assert exchange.request.body == '{"note":"***"}'
        assert exchange.assessment.string_to_sign == f'{{"note":"***"}}{NOW}'


# ---- anything at all -----------------------------------------------------------------------------------------


@given(
    st.binary(max_size=40) | st.sampled_from([CANCEL, b"{}", b""]),
    st.text(max_size=12) | st.sampled_from([str(NOW), "\ud800", "é"]),
    st.sampled_from([None, "", "0" * 64, "é", "\ud800"]),
    st.sampled_from(["delTradeOrder", "getAuthInfo", "x", "é\udcff"]),
)
@example(CANCEL, "\ud800", None, "delTradeOrder")
@example(b"\xff", "\xff", None, "delTradeOrder")
def test_nothing_but_a_right_signature_is_accepted(
    body: bytes, timestamp: str, signature: str | None, command: str
) -> None:
    request = post(body, "1", signature or "0" * 64, command=command)
    answer = at(NOW).handle(with_header(request, "X-NtApi-Timestamp", timestamp))
    assume(answer.assessment is not None)
    assert situation(answer) in ("signature-invalid", "signature-missing")


def test_the_kits_own_composer_and_this_file_agree(broker: Broker) -> None:
    composed = compose_v3(DEMO, "delTradeOrder", NOW, {"order_id": ORDER})
    assert composed.request == post()
    assert situation(broker.handle(composed.request)) == "cancel-accepted"
    assert with_signature(composed.request, None) == post(signature="")


@pytest.mark.parametrize("scheme", ["v2", "v3"])
def test_redirect_points_to_its_own_generation_and_ends_there(scheme: str) -> None:
    order = CORPUS.replies["http-307"]
    broker = Broker(clock=lambda: NOW * 10**9, policy="none")
    signed = (
        post(f'{{"order_id":{order}}}'.encode())
        if scheme == "v3"
        else compose(DEMO, "delTradeOrder", 1, {"order_id": order}).request
    )
    first = broker.handle(signed).reply
    location = first.header("Location") or ""
    assert (first.status, location) == (307, f"{signed.path}?redirected=1")
    assert b'"order_id"' in broker.handle(replace(signed, query="redirected=1")).reply.body
