"""The pure broker: what `Broker.handle` answers, and why. No sockets here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mock_server import broker as broker_module
from mock_server.broker import DEMO, Answer, Broker
from mock_server.faults import Fault
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import (
    COMMAND_PATH,
    FORM_TYPE,
    Reply,
    Request,
    compose,
    encode_fields,
    nest,
    parse_fields,
    replace,
)
from tn_contract.judge.client.cases import NEIGHBOUR
from tn_contract.record.http_reader import MAX_BODY
from tn_contract.record.journal import Journal

CORPUS = load_corpus()
ORDER = "2929292929"
FIELDS = {"apiKey": DEMO.api_key, "cmd": "delTradeOrder", "nonce": "1000", "params[order_id]": ORDER}


def hmac_hex(text: str, secret: str = "tn-demo-secret") -> str:
    return hmac.new(secret.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def plain_string(fields: Mapping[str, str]) -> str:
    """Write the string to sign of flat fields and at most one parameter, without the kit's own signer."""
    names = {"params[order_id]": "params=order_id"}
    return "&".join(f"{names.get(name, name)}={fields[name]}" for name in sorted(fields))


def post(
    fields: Mapping[str, str] | Iterable[tuple[str, str]],
    signature: str | None = None,
    *,
    path: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    query: str = "",
) -> Request:
    """POST `fields`, signed as they are unless a signature is given (an empty one leaves the header out)."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
    last = dict(pairs)
    signature = hmac_hex(plain_string(last)) if signature is None else signature
    sent = [("Content-Type", FORM_TYPE), *headers]
    if signature:
        sent.append(("X-NtApi-Sig", signature))
    path = f"/api/v2/cmd/{last.get('cmd', 'delTradeOrder')}" if path is None else path
    return Request("POST", path, tuple(sent), encode_fields(pairs), query)


def cancel(nonce: int = 1000, order_id: str = ORDER) -> Request:
    return post({**FIELDS, "nonce": str(nonce), "params[order_id]": order_id})


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in FIELDS.items() if key != name}


def with_type(request: Request, content_type: str) -> Request:
    kept = tuple(header for header in request.headers if header[0] != "Content-Type")
    return replace(request, headers=(*kept, ("Content-Type", content_type)))


def situation(answer: Answer) -> str:
    assert answer.assessment is not None
    return answer.assessment.situation


def written(journal: Journal) -> str:
    """Return everything that a reader of the journal can see."""
    return msgspec.json.encode(journal.exchanges()).decode()


def demo_journal(broker: Broker) -> Journal:
    session = broker.session(DEMO.api_key)
    assert session is not None
    return session.journal


def demo_last(broker: Broker) -> int | None:
    session = broker.session(DEMO.api_key)
    assert session is not None
    return session.ledger.last


def assert_is(reply: Reply, payload_id: str, order_id: str = ORDER) -> None:
    """Compare with the file itself, not with the loader's records."""
    entry = raw_payloads()[payload_id]
    assert reply.status == entry.get("status", 200)
    assert dict(reply.headers) == entry.get("headers", {"Content-Type": "application/json"})
    assert reply.body == entry["body"].replace("$order_id", order_id).encode()


def raw_payloads() -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in json.loads(Path(CORPUS.root, "payloads.json").read_text("utf-8"))}


@pytest.fixture
def broker() -> Broker:
    return Broker()


# ---- each situation is one step away from an accepted request ----------------------------------------------

SITUATIONS: dict[str, Callable[[], list[Request]]] = {
    "cancel-accepted": lambda: [cancel()],
    "method": lambda: [replace(cancel(), method="PUT")],
    "form": lambda: [with_type(cancel(), "application/json")],
    "key-missing": lambda: [post(without("apiKey"))],
    "key-unknown": lambda: [post({**FIELDS, "apiKey": "tn-demo-kez"})],
    "signature-missing": lambda: [post(FIELDS, "")],
    "signature-invalid": lambda: [post(FIELDS, "0" * 64)],
    "nonce-missing": lambda: [post(without("nonce"))],
    "nonce-malformed": lambda: [post({**FIELDS, "nonce": "1000.0"})],
    "nonce-replayed": lambda: [cancel(), cancel()],
    "nonce-stale": lambda: [cancel(1001), cancel(1000)],
    "command-missing": lambda: [post(without("cmd"))],
    "command-unknown": lambda: [post({**FIELDS, "cmd": "delTradeOrders"})],
    "order-id-missing": lambda: [post(without("params[order_id]"))],
    "order-id-malformed": lambda: [post({**FIELDS, "params[order_id]": "2929292929.0"})],
    "session-opened": lambda: [post({**FIELDS, "cmd": "getAuthInfo"})],
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_answers_the_payload_that_the_corpus_names(broker: Broker, name: str) -> None:
    *before, request = SITUATIONS[name]()
    for earlier in before:
        assert situation(broker.handle(earlier)) == "cancel-accepted"
    answer = broker.handle(request)
    assert situation(answer) == name
    assert_is(answer.reply, CORPUS.situations[name].payload)
    assert answer.assessment is not None
    assert answer.assessment.payload == CORPUS.situations[name].payload
    assert answer.assessment.effect == ("cancelled" if name == "cancel-accepted" else "none")


def test_no_situation_is_left_out_here() -> None:
    elsewhere = {
        name for name, each in CORPUS.situations.items() if each.statement.startswith(("(v1)", "(v3)", "(book)"))
    }
    elsewhere.add("scenario")
    assert set(SITUATIONS) == set(CORPUS.situations) - elsewhere


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "", "ПОСТ"])
def test_only_post_is_a_query_method(broker: Broker, method: str) -> None:
    answer = broker.handle(replace(cancel(), method=method))
    assert situation(answer) == "method"
    assert demo_last(broker) is None


@pytest.mark.parametrize(
    "content_type", [FORM_TYPE, f"{FORM_TYPE}; charset=UTF-8", "Application/X-WWW-Form-URLencoded", f"  {FORM_TYPE} ;x"]
)
def test_a_form_is_recognised_by_its_media_type_alone(broker: Broker, content_type: str) -> None:
    assert situation(broker.handle(with_type(cancel(), content_type))) == "cancel-accepted"


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", f"{FORM_TYPE}x"])
def test_anything_else_holds_no_fields_and_the_journal_says_so(broker: Broker, content_type: str) -> None:
    answer = broker.handle(with_type(cancel(), content_type))
    assert situation(answer) == "form"
    assert answer.assessment is not None
    assert "Content-Type" in answer.assessment.notes[0]
    assert (content_type.partition(";")[0] or "missing") in answer.assessment.notes[0]


@pytest.mark.parametrize(
    "order_id",
    [
        "",
        "0",
        "-1",
        "+1",
        "01",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x10",
        "1_0",
        "٣",
        "9223372036854775808",
        "1" * 5000,
        "null",
    ],
)
def test_an_order_id_is_an_integer_from_1_to_63_bits_in_plain_digits(broker: Broker, order_id: str) -> None:
    assert situation(broker.handle(cancel(order_id=order_id))) == "order-id-malformed"


@pytest.mark.parametrize("order_id", ["1", "9007199254740993", "9223372036854775807"])
def test_big_order_ids_come_back_digit_by_digit(broker: Broker, order_id: str) -> None:
    answer = broker.handle(cancel(order_id=order_id))
    assert answer.reply.body == b'{\n    "order_id" : %s\n}' % order_id.encode()


@pytest.mark.parametrize("rule", [{"latency": {"median": 0.1, "p99": 0.2}}, {"fault": "delay"}, {"fault": "drop"}])
def test_an_order_that_loses_its_reply_loses_it_under_a_scenario_too(broker: Broker, rule: dict[str, object]) -> None:
    broker.play({"rule": [rule]})
    for nonce, (order_id, magic) in enumerate(CORPUS.magic_orders.items(), 1):
        if magic.fault and Fault(magic.fault).loses_reply:
            fault = broker.handle(compose(DEMO, "delTradeOrder", nonce, {"order_id": int(order_id)}).request).fault
            assert fault
            assert fault.loses_reply


@pytest.mark.parametrize("name", ["params", "params[order_id][0]", "params[orderId]", "order_id", "params[order_id"])
def test_an_order_id_elsewhere_is_missing_or_malformed(broker: Broker, name: str) -> None:
    pairs = [*without("params[order_id]").items(), (name, ORDER)]
    signed = plain_string(without("params[order_id]"))
    head, tail = {
        "params": ("", f"&params={ORDER}"),
        "params[order_id][0]": ("", f"&params=order_id=0={ORDER}"),
        "params[orderId]": ("", f"&params=orderId={ORDER}"),
        "order_id": ("", f"&order_id={ORDER}"),
        "params[order_id": ("", f"&params_order_id={ORDER}"),
    }[name]
    answer = broker.handle(post(pairs, hmac_hex(head + signed + tail)))
    assert situation(answer) == ("order-id-malformed" if name == "params[order_id][0]" else "order-id-missing")


# ---- two things wrong at once ------------------------------------------------------------------------------

STEPS = ("method", "form", "key", "signature", "nonce", "command", "parameters", "order")
NAMES = {
    "method": "method",
    "form": "form",
    "key": "key-unknown",
    "signature": "signature-invalid",
    "nonce": "nonce-malformed",
    "command": "command-unknown",
    "parameters": "order-id-malformed",
}


def wrong_in(*faults: str) -> Request:
    fields = dict(FIELDS)
    if "order" in faults:
        fields["params[order_id]"] = "9900000008"
    if "parameters" in faults:
        fields["params[order_id]"] = f"0{fields['params[order_id]']}"
    if "command" in faults:
        fields["cmd"] = "noSuchCommand"
    if "nonce" in faults:
        fields["nonce"] = "x"
    if "key" in faults:
        fields["apiKey"] = "nobody"
    request = post(fields, "f" * 64 if "signature" in faults else None)
    if "form" in faults:
        request = with_type(request, "application/json")
    return replace(request, method="GET") if "method" in faults else request


@pytest.mark.parametrize(("earlier", "later"), list(itertools.combinations(STEPS, 2)))
def test_of_two_faults_the_earlier_step_wins(broker: Broker, earlier: str, later: str) -> None:
    answer = broker.handle(wrong_in(earlier, later))
    assert situation(answer) == NAMES[earlier]
    assert_is(answer.reply, CORPUS.situations[NAMES[earlier]].payload)


def test_the_order_itself_is_judged_last(broker: Broker) -> None:
    assert_is(broker.handle(wrong_in("order")).reply, "order-not-found")


def test_everything_wrong_is_a_wrong_method(broker: Broker) -> None:
    assert situation(broker.handle(wrong_in(*STEPS))) == "method"


# ---- success and the magic orders --------------------------------------------------------------------------


def test_the_documented_success_replays_the_order_that_was_asked(broker: Broker) -> None:
    reply = broker.handle(cancel(order_id="2929292929")).reply
    assert (reply.status, reply.headers) == (200, (("Content-Type", "application/json"),))
    assert reply.body == b'{\n    "order_id" : 2929292929\n}'


@pytest.mark.parametrize(
    ("order_id", "payload_id"), [(order_id, payload) for payload, order_id in CORPUS.replies.items()]
)
def test_each_magic_order_gives_its_payload_byte_for_byte(broker: Broker, order_id: str, payload_id: str) -> None:
    answer = broker.handle(cancel(order_id=order_id))
    assert_is(answer.reply, payload_id, order_id)
    assert situation(answer) == "cancel-accepted"
    assert answer.assessment is not None
    accepted = raw_payloads()[payload_id]["outcome"] == "accepted"
    assert answer.assessment.effect == ("cancelled" if accepted else "none")


def test_every_payload_of_a_cancel_can_be_provoked_by_an_order_id() -> None:
    book = [each for name, each in CORPUS.situations.items() if name.startswith("book-")]
    reachable = set(CORPUS.replies).union(*({each.payload, *each.also} for each in book))
    by_replies = {NEIGHBOUR}  # it speaks of an order that is told from its neighbour, so it has no magic order
    assert set(raw_payloads()) - reachable - by_replies == {"session-opened", "v1-rejected"}


def test_a_magic_order_does_not_outdo_a_refusal(broker: Broker) -> None:
    request = post({**FIELDS, "params[order_id]": "9900000200"}, "0" * 64)
    assert_is(broker.handle(request).reply, "signature-rejected")


def test_get_auth_info_opens_a_session_with_and_without_params(broker: Broker) -> None:
    for nonce, params in ((1, None), (2, {"order_id": "9900000500"})):
        assert_is(broker.handle(compose(DEMO, "getAuthInfo", nonce, params).request).reply, "session-opened")


# ---- nonces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", CORPUS.nonces.sequences, ids=lambda sequence: sequence.id)
def test_the_default_policy_is_the_corpus_nonce_sequences(sequence: Any) -> None:
    broker = Broker()
    for step in sequence.steps:
        key = f"key-{step.key}"
        if broker.session(key) is None:
            broker.open_session(key, "tn-demo-secret")
        fields = {**FIELDS, "apiKey": key, "nonce": step.nonce}
        fields = {name: value for name, value in fields.items() if value is not None}
        found = situation(broker.handle(post(fields, "0" * 64 if step.signature == "invalid" else None)))
        expected = {"accepted": "cancel-accepted", "signature": "signature-invalid"}.get(step.expect, step.expect)
        assert found == expected


def test_policy_unique_takes_lower_nonces_but_none_twice() -> None:
    broker = Broker(policy="unique")
    found = [situation(broker.handle(cancel(nonce))) for nonce in (5, 3, 4, 3, 5)]
    assert found == ["cancel-accepted"] * 3 + ["nonce-replayed"] * 2


def test_policy_none_does_not_look_at_nonces() -> None:
    broker = Broker(policy="none")
    requests = [cancel(5), cancel(5), cancel(1), post({**FIELDS, "nonce": "abc"}), post(without("nonce"))]
    assert {situation(broker.handle(request)) for request in requests} == {"cancel-accepted"}


@pytest.mark.parametrize("policy", ["monotonic", "unique", "none"])
def test_a_nonce_that_is_a_map_is_malformed_under_every_policy(policy: Any) -> None:
    pairs = [("apiKey", DEMO.api_key), ("cmd", "delTradeOrder"), ("nonce[a]", "1"), ("params[order_id]", ORDER)]
    signature = hmac_hex(f"apiKey={DEMO.api_key}&cmd=delTradeOrder&nonce=a=1&params=order_id={ORDER}")
    assert situation(Broker(policy=policy).handle(post(pairs, signature))) == "nonce-malformed"


@pytest.mark.parametrize(
    "refused",
    [
        post({**FIELDS, "nonce": "9223372036854775807"}, "0" * 64),
        post({**FIELDS, "nonce": "9223372036854775807"}, ""),
        replace(post({**FIELDS, "nonce": "9223372036854775807"}), method="GET"),
        with_type(post({**FIELDS, "nonce": "9223372036854775807"}), "text/plain"),
        post({**FIELDS, "nonce": "9223372036854775807", "apiKey": "nobody"}),
    ],
    ids=["signature wrong", "signature missing", "not POST", "no form", "unknown key"],
)
def test_what_is_not_validly_signed_cannot_burn_a_key(broker: Broker, refused: Request) -> None:
    broker.handle(refused)
    assert demo_last(broker) is None
    assert situation(broker.handle(cancel(1))) == "cancel-accepted"


def test_a_signed_request_uses_up_its_nonce_even_if_the_command_is_refused(broker: Broker) -> None:
    assert situation(broker.handle(post({**FIELDS, "cmd": "noSuchCommand"}))) == "command-unknown"
    assert situation(broker.handle(cancel())) == "nonce-replayed"


# ---- what the signature covers -----------------------------------------------------------------------------


def test_of_duplicate_fields_the_last_counts_and_is_what_is_signed(broker: Broker) -> None:
    twice = [*FIELDS.items(), ("nonce", "1001")]
    signed_last = hmac_hex(plain_string({**FIELDS, "nonce": "1001"}))
    signed_first = hmac_hex(plain_string(FIELDS))
    assert situation(broker.handle(post(twice, signed_first))) == "signature-invalid"
    answer = broker.handle(post(twice, signed_last))
    assert situation(answer) == "cancel-accepted"
    assert answer.assessment is not None
    assert answer.assessment.notes == ("a field was sent twice: the last one counts",)
    assert demo_last(broker) == 1001


def test_the_query_string_is_ignored_and_noted(broker: Broker) -> None:
    request = replace(cancel(), query="nonce=1&apiKey=nobody&params[order_id]=1")
    answer = broker.handle(request)
    assert situation(answer) == "cancel-accepted"
    assert answer.assessment is not None
    assert answer.assessment.notes == ("the query string is ignored",)
    assert answer.assessment.order_id == ORDER


def test_fields_in_the_query_string_alone_do_not_count(broker: Broker) -> None:
    request = replace(cancel(), query=cancel().body.decode(), body=b"")
    assert situation(broker.handle(request)) == "key-missing"


@pytest.mark.parametrize("path", ["/api/v2", "/api/v2/", "/api/v2/cmd/", "/api/v2/cmd/getAuthInfo", "/api/v2/x/y"])
def test_another_path_tail_is_tolerated_and_noted(broker: Broker, path: str) -> None:
    answer = broker.handle(replace(cancel(), path=path))
    assert situation(answer) == "cancel-accepted"
    assert answer.assessment is not None
    assert answer.assessment.notes == (
        "the path does not name the command: /api/v2/cmd/delTradeOrder does",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v2", "/api/v2/cmd/", "/api/v2/cmd/getAuthInfo", "/api/v2/cmd/delTradeOrder/"])
def test_strict_paths_refuse_another_path_tail(path: str) -> None:
    broker = Broker(strict_path=True)
    assert situation(broker.handle(replace(cancel(1), path=path))) == "command-unknown"
    assert situation(broker.handle(cancel(2))) == "cancel-accepted"


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/v1/cmd/delTradeOrder", "/api/", "/API/v2/", "api/v2", "*"])
def test_other_addresses_are_marked_as_not_the_apis_words(broker: Broker, path: str) -> None:
    answer = broker.handle(replace(cancel(), path=path))
    assert (answer.assessment, answer.reply.status) == (None, 599)
    assert answer.reply.header("X-Tn-Mock") == "harness-error"
    assert set(json.loads(answer.reply.body)) == {"tn_mock", "reason", "hint"}
    assert demo_last(broker) is None


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_may_be_64_kilobytes_long(broker: Broker, excess: int) -> None:
    fields = {**FIELDS, "zzz": ""}
    fields["zzz"] = "z" * (MAX_BODY + excess - len(encode_fields(list(fields.items()))))
    answer = broker.handle(post(fields))
    if excess:
        assert (answer.assessment, answer.reply.status) == (None, 413)
        assert answer.reply.header("X-Tn-Mock") == "harness-error"
        assert demo_last(broker) is None
    else:
        assert situation(answer) == "cancel-accepted"


def test_the_key_may_come_in_the_public_key_header(broker: Broker) -> None:
    request = post(without("apiKey"), headers=[("x-ntapi-publickey", DEMO.api_key)])
    assert situation(broker.handle(request)) == "cancel-accepted"


def test_a_key_in_the_form_outdoes_the_header(broker: Broker) -> None:
    request = post({**FIELDS, "apiKey": "nobody"}, headers=[("X-NtApi-PublicKey", DEMO.api_key)])
    assert situation(broker.handle(request)) == "key-unknown"


@pytest.mark.parametrize("spelling", ["X-NtApi-Sig", "x-ntapi-sig", "X-NTAPI-SIG"])
def test_header_names_have_no_case(broker: Broker, spelling: str) -> None:
    request = post(FIELDS, "", headers=[(spelling, hmac_hex(plain_string(FIELDS)))])
    assert situation(broker.handle(request)) == "cancel-accepted"


@pytest.mark.parametrize("change", [str.upper, " {}".format, "{}\n".format, "{:.32}".format])
def test_the_signature_is_exactly_64_lower_case_hex_digits(broker: Broker, change: Callable[[str], str]) -> None:
    request = post(FIELDS, change(hmac_hex(plain_string(FIELDS))))
    assert situation(broker.handle(request)) == "signature-invalid"


def test_a_signature_that_no_bytes_can_spell_is_merely_wrong(broker: Broker) -> None:
    assert situation(broker.handle(post(FIELDS, "\ud800\udcff€"))) == "signature-invalid"


# ---- other replies for a situation -------------------------------------------------------------------------


def test_a_situation_can_be_answered_with_another_payload() -> None:
    broker = Broker(replies={"signature-invalid": "signature-rejected-http-403", "cancel-accepted": "success-result-1"})
    assert_is(broker.handle(post(FIELDS, "0" * 64)).reply, "signature-rejected-http-403")
    assert_is(broker.handle(cancel()).reply, "success-result-1")
    assert_is(broker.handle(cancel(1001, "9900000500")).reply, "http-500")


def test_an_unknown_situation_is_a_usage_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no situation is called 'bad-sig': choose from .*signature-invalid"):
        Broker(replies={"bad-sig": "success"})


def test_an_unknown_payload_is_a_usage_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no payload is called 'bad': choose from .*signature-rejected-http-403"):
        Broker(replies={"signature-invalid": "bad"})


# ---- sessions ----------------------------------------------------------------------------------------------


def test_sessions_share_neither_nonces_nor_secrets_nor_journals(broker: Broker) -> None:
    one, two = broker.open_session(), broker.open_session()
    assert situation(broker.handle(compose(one.credentials, "delTradeOrder", 9, {"order_id": 1}).request)) == (
        "cancel-accepted"
    )
    assert situation(broker.handle(compose(two.credentials, "delTradeOrder", 3, {"order_id": 1}).request)) == (
        "cancel-accepted"
    )
    stolen = Credentials(two.credentials.api_key, one.credentials.secret)
    assert situation(broker.handle(compose(stolen, "delTradeOrder", 99, {"order_id": 1}).request)) == (
        "signature-invalid"
    )
    assert (one.ledger.last, two.ledger.last) == (9, 3)
    assert (len(one.journal), len(two.journal), len(demo_journal(broker))) == (1, 2, 0)


def test_new_keys_have_the_real_shape_and_differ(broker: Broker) -> None:
    sessions = [broker.open_session() for _ in range(50)]
    keys = {session.credentials.api_key for session in sessions}
    assert len(keys) == 50
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    assert all(len(session.credentials.secret.reveal()) == 40 for session in sessions)


def test_a_seed_makes_new_keys_repeatable() -> None:
    def keys(seed: int) -> list[Credentials]:
        broker = Broker(seed=seed)
        return [broker.open_session().credentials for _ in range(3)]

    assert keys(7) == keys(7)
    assert keys(7) != keys(8)


def test_a_key_can_be_chosen_but_not_twice(broker: Broker) -> None:
    broker.open_session("mine", "my secret")
    with pytest.raises(UsageError, match="'mine' exists already"):
        broker.open_session("mine", "another")
    session = broker.session("mine")
    assert session is not None
    assert session.credentials.secret == Secret("my secret")


def test_a_closed_session_is_an_unknown_key(broker: Broker) -> None:
    assert broker.close_session(DEMO.api_key) is True
    assert broker.close_session(DEMO.api_key) is False
    assert situation(broker.handle(cancel())) == "key-unknown"


def test_of_many_sessions_those_with_a_scenario_are_not_forgotten(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "SESSIONS_KEPT", 4)
    sessions = [broker.open_session(f"key {number}", "secret") for number in range(4)]
    nonces = itertools.count()

    def statuses() -> list[int]:
        asked = [
            compose(session.credentials, "delTradeOrder", next(nonces), {"order_id": ORDER}) for session in sessions
        ]
        return [broker.handle(composed.request).reply.status for composed in asked]

    def play(*keys: str) -> None:
        for key in keys:
            broker.play({"rule": [{"payload": "http-502"}]}, broker.session(key))

    play("key 0", "key 1")
    assert statuses() == [502, 502, 200, 200]
    broker.open_session("key 4", "secret")
    assert [broker.session(f"key {number}") is sessions[number] for number in (0, 1, 3, 2)] == [True, True, True, False]
    assert statuses() == [502, 502, 200, 200]
    play("key 2", "key 3")
    for number in range(5, 10):
        broker.open_session(f"key {number}", "secret")
    assert statuses() == [502] * 4


def test_reset_forgets_sessions_nonces_and_journals(broker: Broker) -> None:
    extra = broker.open_session()
    broker.handle(cancel())
    broker.handle(post({**FIELDS, "apiKey": "nobody"}))
    broker.reset()
    assert broker.keys == [DEMO.api_key]
    assert broker.session(extra.credentials.api_key) is None
    assert (len(demo_journal(broker)), len(broker.unmatched), demo_last(broker)) == (0, 0, None)
    assert situation(broker.handle(cancel())) == "cancel-accepted"
    assert demo_journal(broker).exchanges()[0].seq == 1


# ---- the journal -------------------------------------------------------------------------------------------


def test_the_journal_tells_the_time_of_the_injected_clock() -> None:
    broker = Broker(clock=iter([0, 1_700_000_000_000_001_000]).__next__)
    broker.handle(cancel(1))
    broker.handle(cancel(2))
    times = [exchange.at for exchange in demo_journal(broker).exchanges()]
    assert times == ["1970-01-01T00:00:00.000000Z", "2023-11-14T22:13:20.000001Z"]


def test_the_journal_says_what_would_have_been_accepted(broker: Broker) -> None:
    broker.handle(cancel(1000))
    broker.handle(cancel(999))
    broker.handle(post(FIELDS, "0" * 64))
    _, stale, unsigned = (exchange.assessment for exchange in demo_journal(broker).exchanges())
    string = f"apiKey=tn-demo-key&cmd=delTradeOrder&nonce=999&params=order_id={ORDER}"
    assert stale is not None
    assert (stale.situation, stale.string_to_sign, stale.last_nonce) == ("nonce-stale", string, "1000")
    assert unsigned is not None
    assert unsigned.situation == "signature-invalid"
    assert unsigned.expected_signature == hmac_hex(plain_string(FIELDS))


def test_the_journal_holds_request_and_reply_as_they_were(broker: Broker) -> None:
    broker.handle(replace(cancel(), query="a=1"))
    [exchange] = demo_journal(broker).exchanges()
    assert exchange.request.line == "POST /api/v2/cmd/delTradeOrder?a=1"
    assert exchange.request.body == cancel().body.decode()
    assert ("Content-Type", FORM_TYPE) in exchange.request.headers
    assert exchange.reply is not None
    assert (exchange.reply.status, exchange.reply.body) == (200, f'{{\n    "order_id" : {ORDER}\n}}')


def test_requests_without_a_session_are_unmatched(broker: Broker) -> None:
    broker.handle(post({**FIELDS, "apiKey": "nobody"}))
    broker.handle(replace(cancel(), method="GET"))
    assert len(demo_journal(broker)) == 0
    found = [exchange.assessment.situation for exchange in broker.unmatched.exchanges() if exchange.assessment]
    assert found == ["key-unknown", "method"]


def test_a_request_to_no_address_of_the_api_is_unmatched(broker: Broker) -> None:
    """Whoever builds a wrong address finds there what was sent."""
    answer = broker.handle(replace(cancel(), path="/cmd/delTradeOrder"))
    assert answer.reply.status == 599
    [exchange] = broker.unmatched.exchanges()
    assert exchange.assessment
    assert exchange.assessment.situation == "address"
    assert exchange.request.line == "POST /cmd/delTradeOrder"


_V1 = '{"cmd":"delTradeOrder","params":{"order_id":2929292929},"nonce":1,"sig":"ab"}'
_V1_FORM = f"q={quote(_V1)}"
_V1_PART = f'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\n{_V1}\r\n--b--\r\n'


@pytest.mark.parametrize("path", ["/api", "/api/"])
@pytest.mark.parametrize(
    ("method", "query", "content_type", "body"),
    [
        ("POST", "", FORM_TYPE, _V1_FORM),
        ("POST", "", "multipart/form-data; boundary=b", _V1_PART),
        ("GET", _V1_FORM, "", ""),
        ("POST", _V1_FORM, "", ""),
        ("POST", "", "application/json", _V1),
    ],
    ids=["form", "multipart", "query", "query-of-post", "json"],
)
def test_v1_is_answered_as_recorded_and_named(
    broker: Broker, path: str, method: str, query: str, content_type: str, body: str
) -> None:
    headers = (("Content-Type", content_type),) if content_type else ()
    answer = broker.handle(Request(method, path, headers, body.encode(), query))
    assert (answer.reply.status, json.loads(answer.reply.body)) == (200, {"code": 5, "errMsg": "Invalid 'q' provided"})
    [exchange] = broker.unmatched.exchanges()
    assert exchange.assessment
    assert exchange.assessment.situation == "v1"
    assert exchange.diagnosis
    assert exchange.diagnosis.mistakes == ("v1-envelope",)


@pytest.mark.parametrize(
    ("method", "path", "headers", "query"),
    [
        ("POST", COMMAND_PATH + "delTradeOrder", (), ""),
        ("POST", COMMAND_PATH + "delTradeOrder", (("X-NtApi-PublicKey", DEMO.api_key),), ""),
        ("GET", "/api/v2", (), _V1_FORM),
        ("POST", "/", (), ""),
    ],
)
def test_v1_is_named_at_every_address(
    broker: Broker, method: str, path: str, headers: tuple[tuple[str, str], ...], query: str
) -> None:
    body = b"" if query else _V1_FORM.encode()
    broker.handle(Request(method, path, (("Content-Type", FORM_TYPE), *headers), body, query))
    kept = [*broker.unmatched.exchanges(), *demo_journal(broker).exchanges()]
    assert [each.diagnosis.mistakes for each in kept if each.diagnosis] == [("v1-envelope",)]


def test_an_empty_request_to_the_address_of_v1_is_none_of_v1(broker: Broker) -> None:
    request = Request("POST", "/api/", (("Content-Type", "application/json"),), b"{}")
    assert broker.handle(request).reply.status == 599


def test_a_journal_keeps_the_last_requests_only() -> None:
    broker = Broker(journal_size=3)
    for nonce in range(1, 6):
        broker.handle(cancel(nonce))
        broker.handle(post({**FIELDS, "apiKey": "nobody"}))
    assert [exchange.seq for exchange in demo_journal(broker).exchanges()] == [3, 4, 5]
    assert [exchange.seq for exchange in broker.unmatched.exchanges()] == [3, 4, 5]


def test_a_journal_keeps_little_of_a_long_request(broker: Broker) -> None:
    broker.handle(post({**FIELDS, "zzz": "z" * 60_000}, "0" * 64))
    assert len(written(demo_journal(broker))) < 20_000


@pytest.mark.parametrize("body", [b"\xff\xfe", b"apiKey=tn-demo-key&cmd=%ff&nonce=1", b"apiKey=tn-demo-key&%ff[%fe]"])
def test_a_journal_can_be_written_down_whatever_bytes_came(broker: Broker, body: bytes) -> None:
    broker.handle(replace(cancel(), body=body))
    signature = hmac_hex("apiKey=tn-demo-key&cmd=\udcff&nonce=1")
    broker.handle(replace(cancel(), body=body, headers=(("Content-Type", FORM_TYPE), ("X-NtApi-Sig", signature))))
    assert json.loads(written(demo_journal(broker))) + json.loads(written(broker.unmatched))


# Slash, plus, percent, a space and a letter beyond ASCII: every encoding changes this one.
SECRET = "s3cr/t+%41 é&=x~"
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "form-encoded": quote_plus,
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "basic authorization": lambda secret: base64.b64encode(f"{'k' * 32}:{secret}".encode()).decode(),
}


def places(key: str, spelled: str) -> dict[str, Request]:
    """List the places where a confused client may put its secret."""
    fields = {**FIELDS, "apiKey": key}
    raw = f"&x={spelled}".encode()
    accepted = post(fields, hmac_hex(plain_string({**fields, "nonce": "1"}), SECRET))
    return {
        "field": replace(accepted, body=accepted.body + raw),
        "field name": replace(accepted, body=accepted.body + b"&" + raw[3:] + b"=1"),
        "order id": post({**fields, "params[order_id]": spelled}, "0" * 64),
        "command": post(
            {**fields, "cmd": spelled}, hmac_hex(plain_string({**fields, "cmd": spelled}), SECRET), path="/api/v2"
        ),
        "signature": post(fields, spelled.encode().decode("latin-1")),
        "authorization": post(fields, headers=[("Authorization", f"Bearer {spelled.encode().decode('latin-1')}")]),
        "query": replace(accepted, query=f"secret={spelled}"),
        "path": replace(accepted, path=f"/api/v2/cmd/{spelled}"),
        "content type": with_type(
            post(without("apiKey"), headers=[("X-NtApi-PublicKey", key)]), spelled.encode().decode("latin-1")
        ),
        "instead of the key": post({**fields, "apiKey": spelled}),
        "origin": post(fields, headers=[("Origin", f"https://{spelled}")]),
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", places("", ""))
def test_a_secret_never_gets_into_a_journal(broker: Broker, place: str, spelling: str) -> None:
    key = "k" * 32
    session = broker.open_session(key, SECRET)
    spelled = SPELLINGS[spelling](SECRET)
    answer = broker.handle(places(key, spelled)[place])
    assert answer.assessment is not None
    shown = written(session.journal) + written(broker.unmatched)
    assert len(session.journal) + len(broker.unmatched) == 1
    assert spelled not in shown
    assert SECRET not in shown
    assert SECRET not in unquote_plus(shown)


@pytest.mark.parametrize(
    "spelled",
    [
        "".join(f"%{byte:02x}" for byte in SECRET.encode()),
        base64.b64encode(f"{'k' * 31}:{SECRET}".encode()).decode(),
    ],
    ids=["every byte escaped", "basic authorization with an odd key"],
)
def test_a_secret_in_an_unusual_spelling_does_not_get_into_a_journal_either(broker: Broker, spelled: str) -> None:
    key = "k" * 31
    session = broker.open_session(key, SECRET)
    broker.handle(post({**FIELDS, "apiKey": key}, headers=[("Authorization", f"Basic {spelled}")]))
    assert spelled not in written(session.journal)


def test_a_secret_that_was_sent_as_the_key_stays_hidden_when_its_session_is_closed(broker: Broker) -> None:
    broker.open_session("mine", "my-own-secret")
    broker.handle(post({**FIELDS, "apiKey": "my-own-secret"}))
    broker.close_session("mine")
    assert "my-own-secret" not in written(broker.unmatched)


# ---- properties --------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(max_codepoint=255), max_size=20)
NAME = st.sampled_from(["Content-Type", "X-NtApi-Sig", "X-NtApi-PublicKey", "Origin", "Access-Control-Request-Method"])
VALUE = st.sampled_from([FORM_TYPE, DEMO.api_key, "0" * 64, "", "null"])
FORM_BYTES = st.lists(
    st.sampled_from([b"apiKey=tn-demo-key", b"&", b"=", b"[", b"]", b"[]", b"cmd=delTradeOrder", b"nonce=1", b"params"])
    | st.sampled_from([b"params[order_id]=2929292929", b"%", b"%00", b"%ff", b"+", b"9223372036854775807", b"\xff"])
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["POST", "POST", "POST", "GET", "OPTIONS", "HEAD"]) | st.text(max_size=10),
    st.sampled_from(["/api/v2/cmd/delTradeOrder", "/api/v2", "/"]) | TEXT | TEXT.map("/api/v2/".__add__),
    st.lists(st.tuples(NAME | TEXT, VALUE | TEXT), max_size=6).map(
        lambda headers: (*headers, ("Content-Type", FORM_TYPE))
    ),
    FORM_BYTES | st.binary(max_size=200),
    TEXT,
)


@settings(max_examples=8 * settings().max_examples)
@given(REQUESTS)
@example(Request("POST", "/api/v2", (("Content-Type", FORM_TYPE),), b"apiKey=tn-demo-key" + b"&a[][b]" * 1500))
@example(Request("POST", "/api/v2", (("Content-Type", FORM_TYPE),), b"apiKey=tn-demo-key&a" + b"[b]" * 9000))
def test_no_request_whatsoever_breaks_the_broker_or_is_accepted_unsigned(request_: Request) -> None:
    broker = Broker()
    answer = broker.handle(request_)
    assert demo_last(broker) is None
    if answer.assessment is None:
        assert answer.reply.header("X-Tn-Mock") == "harness-error" or answer.reply.status == 204
    else:
        assert answer.assessment.effect == "none"
        assert situation(answer) not in ("cancel-accepted", "session-opened")
        assert_is(
            Reply(
                answer.reply.status,
                tuple(header for header in answer.reply.headers if header[0] in ("Content-Type", "Location")),
                answer.reply.body,
            ),
            answer.assessment.payload,
        )
    assert written(demo_journal(broker))
    assert written(broker.unmatched)


ACCEPTED = cancel()
CHANGES = st.tuples(st.sampled_from(["replace", "insert", "delete"]), st.integers(0, 10_000), st.integers(0, 255))


def changed(data: bytes, change: tuple[str, int, int]) -> bytes:
    kind, where, byte = change
    at = where % (len(data) + (kind == "insert")) if data or kind == "insert" else 0
    return data[:at] + (b"" if kind == "delete" else bytes([byte])) + data[at + (kind != "insert") :]


def assert_refused(request: Request) -> None:
    broker = Broker()
    answer = broker.handle(request)
    assert demo_last(broker) is None
    assert answer.assessment is None or answer.assessment.effect == "none"


@settings(max_examples=8 * settings().max_examples)
@given(CHANGES)
def test_a_signed_body_with_one_byte_changed_is_refused_unless_it_means_the_same(change: tuple[str, int, int]) -> None:
    body = changed(ACCEPTED.body, change)
    assume(nest(parse_fields(body)) != nest(parse_fields(ACCEPTED.body)))
    assert_refused(replace(ACCEPTED, body=body))


@settings(max_examples=8 * settings().max_examples)
@given(CHANGES, st.integers(0, 3), st.integers(0, 1))
def test_a_signed_field_with_one_byte_changed_is_refused(change: tuple[str, int, int], field: int, part: int) -> None:
    pairs = [[name.encode(), value.encode()] for name, value in parse_fields(ACCEPTED.body)]
    pairs[field][part] = changed(pairs[field][part], change)
    body = b"&".join(b"=".join(quote(text, safe="").encode() for text in pair) for pair in pairs)
    assume(nest(parse_fields(body)) != nest(parse_fields(ACCEPTED.body)))
    assert_refused(replace(ACCEPTED, body=body))


@settings(max_examples=4 * settings().max_examples)
@given(CHANGES)
def test_a_signature_with_one_byte_changed_is_refused(change: tuple[str, int, int]) -> None:
    good = ACCEPTED.header("X-NtApi-Sig")
    assert good is not None
    signature = changed(good.encode(), change).decode("latin-1")
    assume(signature != good)
    assert_refused(post(FIELDS, signature))


@settings(max_examples=2 * settings().max_examples)
@given(st.permutations(list(FIELDS.items())), st.booleans())
def test_the_order_and_the_escaping_of_fields_on_the_wire_do_not_matter(
    pairs: list[tuple[str, str]], escape_all: bool
) -> None:
    def escaped(text: str) -> str:
        return "".join(f"%{byte:02x}" for byte in text.encode()) if escape_all else text

    body = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in pairs).encode()
    assert situation(Broker().handle(replace(ACCEPTED, body=body))) == "cancel-accepted"
