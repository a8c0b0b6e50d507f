"""Shapes of success and failure, and the documented failures themselves."""

from __future__ import annotations

import json

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.signing import Parameters, Value, sign
from tn_contract.contract.wire import (
    FAILURE_KEYS,
    JSON_TYPE,
    Request,
    SignedRequest,
    compose,
    dress,
    encode_json,
    replace,
    with_header,
    with_signature,
)
from tn_contract.judge.server.registry import (
    CANCELS,
    check,
    gives_away,
    gives_codes,
    keeps_secret,
    names_failures,
    refusals,
    replies,
)
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe
from tn_contract.judge.verdicts import Blocked, Finding, NotApplicable, failed, noticed, passed


@check(
    "reply/success-is-json-object",
    "answers a cancel with a JSON object",
    clause="success-is-json-object",
    effect="cancel",
    requires=(),
)
def success_is_json_object(probe: Probe) -> Finding:
    """Send a valid cancel and read the reply as strict JSON."""
    observed = probe.target.cancel_once(probe)
    if observed.refused and observed.reading.order_id != probe.order_id:
        raise Blocked(f"the cancel was refused: {observed.told}")
    expected = "HTTP 2xx with a JSON object that has no failure text"
    return passed(expected, observed.told) if observed.understood else failed(expected, observed.told)


@check(
    "reply/success-echoes-order-id",
    "echoes the order id of a cancel",
    clause="success-echoes-order-id",
    effect="cancel",
)
def success_echoes_order_id(probe: Probe) -> Finding:
    """Send a valid cancel; order_id must come back as an integer, equal. An integer result (attested) is a warning."""
    observed = probe.target.cancel_once(probe)
    expected = f"order_id is the integer {probe.order_id}"
    if observed.refused:
        raise Blocked(f"the cancel was refused: {observed.told}")
    if observed.reading.order_id == probe.order_id:
        return passed(expected, observed.told)
    if "order_id" not in observed.reading.members and observed.reading.result is not None:
        return Finding("warn", expected, f"the attested form instead of the documented one: {observed.told}")
    return failed(expected, observed.told)


@check(
    "reply/echoes-own-order-in-a-race",
    "echoes each cancel's own order when several race",
    clause="success-echoes-order-id",
    effect="cancel",
)
def echoes_own_order_in_a_race(probe: Probe) -> Finding:
    """Send several cancels of different orders at once: no reply speaks of another request's order."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend several orders")
    accepted = 0
    for turn in range(10):
        order_ids = [probe.order_id + 6 * turn + runner for runner in range(6)]
        requests = [
            compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": order_id}).request
            for order_id in order_ids
        ]
        for order_id, observed in zip(order_ids, probe.race(requests), strict=True):
            accepted += observed.understood
            if observed.understood and observed.reading.order_id not in (order_id, None):
                return failed(f"order_id {order_id} comes back to who sent it", observed.told)
    if not accepted:
        raise Blocked("none of the cancels was accepted")
    return passed("each accepted cancel's own order_id", f"{accepted} accepted")


@check("reply/session-has-sess-id", "answers getAuthInfo with a sess_id", clause="session-opens", requires=())
def session_has_sess_id(probe: Probe) -> Finding:
    """Send a valid getAuthInfo; the browser sample goes on only if sess_id is there."""
    observed = probe.send(probe.compose(SESSION).request)
    expected = "a sess_id that is not empty, and no failure text"
    found = observed.reading.members.get("sess_id")
    if observed.denied and not found:
        raise Blocked(f"the session was refused: {observed.told}")
    return passed(expected, observed.told) if found and observed.understood else failed(expected, observed.told)


def _refusals(probe: Probe) -> dict[str, Observation]:
    """Provoke refusals of every kind, none of which names an order; what the target accepts is left out."""
    return refusals(probe, _refused)


def _refused(probe: Probe) -> dict[str, Request]:
    def session(**changed: str) -> Request:
        fields = {**probe.compose(SESSION).fields, **changed}
        kept: dict[str, Value] = {name: value for name, value in fields.items() if value}
        return dress(SESSION, kept, sign(kept, probe.credentials.secret).signature)

    def cancel(params: Parameters | None = None) -> Request:
        return compose(probe.credentials, CANCEL, probe.nonces.next(), params).request

    def as_json(valid: SignedRequest) -> Request:
        return replace(with_header(valid.request, "Content-Type", JSON_TYPE), body=encode_json(valid.fields))

    return {
        "a bad signature": with_signature(probe.compose(SESSION).request, "0" * 64),
        "no signature": with_signature(probe.compose(SESSION).request, None),
        "an unknown key": session(apiKey="tn-contract-nobodys-key"),
        "no key": session(apiKey=""),
        "a stale nonce": session(nonce="1"),
        "a malformed nonce": session(nonce="abc"),
        "no nonce": session(nonce=""),
        "an unknown command": compose(probe.credentials, "tnContractNoSuchCommand", probe.nonces.next()).request,
        "no command": session(cmd=""),
        "a cancel without order": cancel(),
        "a cancel of no integer": cancel({"order_id": "abc"}),
        "a cancel of an empty order_id": cancel({"order_id": ""}),
        "a cancel of a list": cancel({"order_id": ["abc"]}),
        "JSON instead of a form": as_json(probe.compose(SESSION)),
        "a bad signature on a cancel": with_signature(cancel(), "0" * 64),
        "a GET": replace(probe.compose(SESSION).request, method="GET"),
    }


@check("reply/failure-names-itself", "names a failure as documented", clause="failure-names-itself")
def failure_names_itself(probe: Probe) -> Finding:
    """Provoke refusals of every kind: each is a JSON object with a text in errMsg, error or errorMsg."""
    return names_failures(_refusals(probe))


@check("reply/failure-has-code", "gives a failure an integer code", clause="failure-code-integer")
def failure_has_code(probe: Probe) -> Finding:
    """Provoke refusals of every kind: that of GET, which the page shows, must have an integer code, others should."""
    return gives_codes(_refusals(probe))


@check("reply/failure-http-status", "which HTTP status a failure has", clause="failure-http-status")
def failure_http_status(probe: Probe) -> Finding:
    """Provoke refusals of every kind and list their HTTP statuses."""
    return noticed(
        ", ".join(f"{what}: {seen.reply.status if seen.reply else 'none'}" for what, seen in _refusals(probe).items())
    )


@check("reply/is-declared-json", "declares replies as JSON", clause="json-content-type")
def is_declared_json(probe: Probe) -> Finding:
    """Look at Content-Type of accepted requests and of refusals of every kind."""
    expected = "Content-Type application/json"
    seen = replies(probe, _refused)
    for what, observed in seen.items():
        actual = (observed.reply.header("Content-Type") or "none") if observed.reply else "no reply"
        if actual.partition(";")[0].strip().lower() not in ("application/json", "text/json"):
            return failed(f"{expected}: {what}", f"Content-Type {actual}")
    return passed(expected, f"for {', '.join(seen)}")


@check("reply/keeps-signature-secret", "does not tell the expected signature", clause="expected-signature-kept-secret")
def keeps_signature_secret(probe: Probe) -> Finding:
    """Send no signature and a bad one, on both commands; look for the right one, and in every reply for the secret."""
    expected = "neither the expected signature nor the secret in the reply"
    for command in (SESSION, CANCEL):
        for signature in (None, "0" * 64):
            valid = compose(probe.credentials, command, probe.nonces.next())
            observed = probe.send(with_signature(valid.request, signature))
            if gives_away(valid, observed):
                return failed(expected, f"a reply to {command} tells it")
    return keeps_secret(replies(probe, _refused))


# ---- the documented failures, provoked by magic orders -------------------------------------------------------


def _magic(probe: Probe, order_id: str) -> Observation:
    if not probe.target.magic_orders:
        raise NotApplicable("only a mock of this kit knows the magic orders")
    request = compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": order_id}).request
    return probe.send(request, patient=False)  # one of them answers HTTP 429


def _documented(probe: Probe, payload_id: str) -> Finding:
    corpus = load_corpus()
    expected = json.loads(corpus.payloads[payload_id].body)
    if not probe.target.is_kit_mock:
        return _documented_by_its_text(probe, expected)
    observed = _magic(probe, corpus.replies[payload_id])
    told = f"HTTP 200 and exactly {json.dumps(expected)}"
    same = observed.reading.members == expected and type(observed.reading.members["code"]) is int
    held = observed.reply is not None and observed.reply.status == 200 and same
    return passed(told, observed.told) if held else failed(told, observed.told)


def _documented_by_its_text(probe: Probe, expected: dict[str, str | int]) -> Finding:
    """Judge the refusals that carry a documented text. Its absence says nothing: texts are localised."""
    texts = {value for value in expected.values() if isinstance(value, str)}
    told, carrier = f"with its text goes {json.dumps(expected)}", None
    for observed in _refusals(probe).values():
        members = observed.reading.members
        if texts & {value for value in members.values() if isinstance(value, str)}:
            carrier = observed
            shape = {name: value for name, value in members.items() if name in ("code", *FAILURE_KEYS)}
            if shape != expected or type(shape["code"]) is not int:
                return failed(told, observed.told)
    if carrier is None:
        raise NotApplicable("no refusal carries the documented text")
    return passed(told, carrier.told)


@check(
    "reply/documented-common-error", "answers the documented common error", clause="common-error-shape", effect="cancel"
)
def documented_common_error(probe: Probe) -> Finding:
    """Cancel the magic order of the common error: errMsg, code 2. Elsewhere, look for its text in refusals."""
    return _documented(probe, "common-error")


@check(
    "reply/documented-method-error", "answers the documented method error", clause="method-error-shape", effect="cancel"
)
def documented_method_error(probe: Probe) -> Finding:
    """Cancel the magic order of the method error: error, code 0. Elsewhere, look for its text in refusals."""
    return _documented(probe, "method-error")


@check(
    "reply/documented-insufficient-rights",
    "answers the documented refusal for insufficient rights",
    clause="insufficient-rights-shape",
    effect="cancel",
)
def documented_insufficient_rights(probe: Probe) -> Finding:
    """Cancel the magic order of insufficient rights: errorMsg and error, code 12. Elsewhere, look for its text."""
    return _documented(probe, "insufficient-rights")


@check(
    "reply/replays-magic-orders",
    "answers each magic order with its payload",
    clause="magic-orders-replay",
    effect="cancel",
    requires=(CANCELS,),
)
def replays_magic_orders(probe: Probe) -> Finding:
    """Cancel every magic order that has no fault; status, declared headers and body are the corpus's own."""
    corpus = load_corpus()
    for payload_id, order_id in corpus.replies.items():
        payload = corpus.payloads[payload_id]
        observed = _magic(probe, order_id)
        reply = observed.reply
        expected = f"order {order_id} answers payload {payload.id}, HTTP {payload.status}"
        if reply is None or (reply.status, reply.body) != (payload.status, payload.fill(order_id)):
            return failed(expected, observed.told)
        wrong = [name for name, value in payload.headers.items() if reply.header(name) != value]
        if wrong:
            return failed(expected, f"header {wrong[0]} is {reply.header(wrong[0])!r}")
    return passed("every magic order answers its payload, byte for byte", f"{len(corpus.replies)} orders")
