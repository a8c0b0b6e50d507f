"""Shapes of success and failure, and the documented failures themselves."""

from __future__ import annotations

import json
from dataclasses import replace

from tn_contract.checks.registry import CANCELS, Finding, check, failed, noticed, passed
from tn_contract.checks.target import CANCEL, SESSION, Blocked, NotApplicable, Observation, Probe
from tn_contract.corpus import load_corpus
from tn_contract.signing import sign
from tn_contract.wire import FAILURE_KEYS, SIGNATURE_HEADER, SignedRequest, compose, dress


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
    if observed.refused:
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
    if observed.reading.order_id == probe.order_id:
        return passed(expected, observed.told)
    if "order_id" not in observed.reading.members and observed.reading.result is not None:
        return Finding("warn", expected, f"the attested form instead of the documented one: {observed.told}")
    return failed(expected, observed.told)


@check("reply/session-has-sess-id", "answers getAuthInfo with a sess_id", clause="session-opens")
def session_has_sess_id(probe: Probe) -> Finding:
    """Send a valid getAuthInfo; the browser sample goes on only if sess_id is there."""
    observed = probe.send(probe.compose(SESSION).request)
    expected = "a sess_id that is not empty"
    return (
        passed(expected, observed.told) if observed.reading.members.get("sess_id") else failed(expected, observed.told)
    )


def _refusals(probe: Probe) -> dict[str, Observation]:
    """Provoke refusals of several kinds, none of which names an order."""
    probe.control(SESSION)
    bad = probe.compose(SESSION).request
    bad = replace(
        bad, headers=tuple((name, "0" * 64 if name == SIGNATURE_HEADER else value) for name, value in bad.headers)
    )
    nameless = compose(probe.credentials, CANCEL, probe.nonces.next())
    stranger = {**probe.compose(SESSION).fields, "apiKey": "tn-contract-nobodys-key"}
    requests = {
        "a bad signature": bad,
        "an unknown key": dress(SESSION, stranger, sign(stranger, probe.credentials.secret).signature),
        "an unknown command": compose(probe.credentials, "tnContractNoSuchCommand", probe.nonces.next()).request,
        "a cancel without order": nameless.request,
        "a GET": replace(probe.compose(SESSION).request, method="GET"),
    }
    return {what: probe.send(request) for what, request in requests.items()}


@check("reply/failure-names-itself", "names a failure as documented", clause="failure-names-itself")
def failure_names_itself(probe: Probe) -> Finding:
    """Provoke refusals of five kinds: each is a JSON object with a text in errMsg, error or errorMsg."""
    expected = f"a JSON object with a text in {', '.join(FAILURE_KEYS)}"
    for what, observed in _refusals(probe).items():
        members = observed.reading.members
        texts = [members[key] for key in observed.reading.failure_keys]
        if not observed.refused or not all(isinstance(text, str) for text in texts):
            return failed(f"{expected}: {what}", observed.told)
    return passed(expected, observed.told)


@check("reply/failure-has-code", "gives a failure an integer code", clause="failure-code-integer")
def failure_has_code(probe: Probe) -> Finding:
    """Provoke refusals of five kinds: each has an integer code."""
    expected = "an integer code"
    for what, observed in _refusals(probe).items():
        code = observed.reading.members.get("code")
        if not isinstance(code, int) or isinstance(code, bool):
            return failed(f"{expected}: {what}", observed.told)
    return passed(expected, observed.told)


@check("reply/failure-http-status", "which HTTP status a failure has", clause="failure-http-status")
def failure_http_status(probe: Probe) -> Finding:
    """Provoke refusals of five kinds and list their HTTP statuses."""
    return noticed(
        ", ".join(f"{what}: {seen.reply.status if seen.reply else 'none'}" for what, seen in _refusals(probe).items())
    )


@check("reply/is-declared-json", "declares replies as JSON", clause="json-content-type")
def is_declared_json(probe: Probe) -> Finding:
    """Look at Content-Type of an accepted and of a refused request."""
    expected = "Content-Type application/json"
    valid = probe.compose(SESSION).request
    for request in (valid, replace(valid, headers=())):
        reply = probe.send(request).reply
        actual = (reply.header("Content-Type") or "none") if reply else "no reply"
        if actual.partition(";")[0].strip().lower() not in ("application/json", "text/json"):
            return failed(expected, f"Content-Type {actual}")
    return passed(expected, actual)


@check("reply/keeps-signature-secret", "does not tell the expected signature", clause="expected-signature-kept-secret")
def keeps_signature_secret(probe: Probe) -> Finding:
    """Send a bad signature and look for the right one and for the secret in the reply."""
    valid: SignedRequest = probe.compose(SESSION)
    forged = tuple((name, "0" * 64 if name == SIGNATURE_HEADER else value) for name, value in valid.request.headers)
    reply = probe.send(replace(valid.request, headers=forged)).reply
    text = "" if reply is None else repr((reply.headers, reply.body.decode("utf-8", "backslashreplace")))
    expected = "neither the expected signature nor the secret in the reply"
    if valid.signature in text or probe.credentials.secret.reveal() in text:
        return failed(expected, "the reply tells it")
    return passed(expected, "the reply does not tell it")


# ---- the documented failures, provoked by magic orders -------------------------------------------------------


def _magic(probe: Probe, order_id: str) -> Observation:
    if not probe.target.is_kit_mock or not probe.target.free_orders:
        raise NotApplicable("only a mock of this kit knows the magic orders")
    return probe.send(compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": order_id}).request)


def _documented(probe: Probe, payload_id: str) -> Finding:
    corpus = load_corpus()
    order_id = next(order.order_id for order in corpus.magic_orders.values() if order.payload == payload_id)
    expected = json.loads(corpus.payloads[payload_id].body)
    observed = _magic(probe, order_id)
    told = f"HTTP 200 and exactly {json.dumps(expected)}"
    same = observed.reading.members == expected and type(observed.reading.members["code"]) is int
    held = observed.reply is not None and observed.reply.status == 200 and same
    return passed(told, observed.told) if held else failed(told, observed.told)


@check(
    "reply/documented-common-error", "answers the documented common error", clause="common-error-shape", effect="cancel"
)
def documented_common_error(probe: Probe) -> Finding:
    """Cancel the magic order of the common error: errMsg, code 2."""
    return _documented(probe, "common-error")


@check(
    "reply/documented-method-error", "answers the documented method error", clause="method-error-shape", effect="cancel"
)
def documented_method_error(probe: Probe) -> Finding:
    """Cancel the magic order of the method error: error, code 0."""
    return _documented(probe, "method-error")


@check(
    "reply/documented-insufficient-rights",
    "answers the documented refusal for insufficient rights",
    clause="insufficient-rights-shape",
    effect="cancel",
)
def documented_insufficient_rights(probe: Probe) -> Finding:
    """Cancel the magic order of insufficient rights: errorMsg and error, code 12."""
    return _documented(probe, "insufficient-rights")


@check(
    "reply/replays-magic-orders",
    "answers each magic order with its payload",
    clause="magic-orders-replay",
    effect="cancel",
    requires=(CANCELS,),
)
def replays_magic_orders(probe: Probe) -> Finding:
    """Cancel every magic order; status, declared headers and body are the corpus's own."""
    corpus = load_corpus()
    for order in corpus.magic_orders.values():
        payload = corpus.payloads[order.payload]
        observed = _magic(probe, order.order_id)
        reply = observed.reply
        expected = f"order {order.order_id} answers payload {payload.id}, HTTP {payload.status}"
        if reply is None or (reply.status, reply.body) != (payload.status, payload.fill(order.order_id)):
            return failed(expected, observed.told)
        wrong = [name for name, value in payload.headers.items() if reply.header(name) != value]
        if wrong:
            return failed(expected, f"header {wrong[0]} is {reply.header(wrong[0])!r}")
    return passed("every magic order answers its payload, byte for byte", f"{len(corpus.magic_orders)} orders")
