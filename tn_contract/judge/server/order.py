"""What nothing public settles: seen and told, never judged."""

from __future__ import annotations

from tn_contract.contract.signing import Value, sign
from tn_contract.contract.wire import Request, compose, dress, with_signature
from tn_contract.judge.server.registry import check
from tn_contract.judge.server.target import CANCEL, SESSION, Probe
from tn_contract.judge.verdicts import Finding, noticed


@check("order/repeated-cancel", "what a second cancel of one order answers", clause="repeated-cancel", effect="cancel")
def repeated_cancel(probe: Probe) -> Finding:
    """Cancel an order, then cancel it again with a fresh nonce."""
    probe.target.cancel_once(probe)
    again = compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": probe.order_id})
    return noticed(f"the second cancel: {probe.send(again.request).told}")


@check("order/of-validation", "which error wins when two things are wrong", clause="validation-order")
def of_validation(probe: Probe) -> Finding:
    """Send requests with two faults each, and requests with one, and tell which of the two replies came."""

    def unsigned(request: Request) -> Request:
        return with_signature(request, "0" * 64)

    def stale(command: str) -> Request:
        return compose(probe.credentials, command, 1).request

    probe.control(SESSION)  # a nonce is only stale once another was accepted
    stranger: dict[str, Value] = {**probe.compose(SESSION).fields, "apiKey": "tn-contract-nobodys-key"}
    unknown_key = dress(SESSION, stranger, sign(stranger, probe.credentials.secret).signature)
    command = "tnContractNoSuchCommand"
    bad_command = compose(probe.credentials, command, probe.nonces.next()).request
    single = {
        "key": probe.send(unknown_key).told,
        "signature": probe.send(unsigned(probe.compose(SESSION).request)).told,
        "nonce": probe.send(stale(SESSION)).told,
        "command": probe.send(bad_command).told,
    }
    double = {
        ("key", "signature"): probe.send(unsigned(unknown_key)).told,
        ("signature", "nonce"): probe.send(unsigned(stale(SESSION))).told,
        ("nonce", "command"): probe.send(stale(command)).told,
    }
    told = []
    for (first, second), reply in double.items():
        winners = [name for name in (first, second) if single[name] == reply]
        outcome = "cannot be told apart" if len(winners) != 1 else f"{winners[0]} wins"
        told.append(f"{first} and {second} wrong: {outcome}")
    return noticed("; ".join(told))
