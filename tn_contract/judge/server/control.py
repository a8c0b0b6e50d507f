"""Positive controls: without them every refusal is a false green on a server that refuses all."""

from __future__ import annotations

from contextlib import suppress

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import with_signature
from tn_contract.diagnosis.search import wrong_signatures
from tn_contract.judge.server.registry import accepts, asks_for_an_order, check
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe
from tn_contract.judge.verdicts import Finding, NotApplicable


@check("control/opens-session", "opens a session", clause="session-opens", requires=())
def opens_session(probe: Probe) -> Finding:
    """Send a valid getAuthInfo: key, secret, clock and canonical form are right."""
    request = probe.compose(SESSION).request
    observed = probe.send(request)
    if observed.understood:
        probe.target.keep("a session", probe, request)
        with suppress(NotApplicable):
            other = probe.other()
            request = other.compose(SESSION).request
            if other.send(request).understood:
                probe.target.keep("a session of another key", other, request)
    return _explained(probe, SESSION, accepts("a valid getAuthInfo", observed), observed)


@check("control/accepts-cancel", "accepts a cancel", clause="cancel-accepted", effect="cancel", requires=())
def accepts_cancel(probe: Probe) -> Finding:
    """Open a session, then send the documented delTradeOrder with a valid signature."""
    probe.send(probe.compose(SESSION).request)  # so that no server passes only because this is its first request
    if probe.target.free_orders:
        request = probe.compose(CANCEL).request
        observed = probe.send(request)
        if observed.understood:
            probe.target.keep("a cancel", probe, request)
    else:
        observed = probe.target.cancel_once(probe)
    finding = _explained(probe, CANCEL, accepts("a valid delTradeOrder", observed), observed)
    return asks_for_an_order(probe, finding, observed) if finding.actual == observed.told else finding


def _explained(probe: Probe, command: str, finding: Finding, observed: Observation) -> Finding:
    """Where a server refuses what is valid, look for the wrong signature that it accepts instead."""
    # Hundreds of requests, and one of them may cancel: only where nothing real can be hurt.
    harmless = probe.target.disposable if command == SESSION else probe.target.free_orders
    if finding.verdict == "pass" or not observed.denied or not harmless:
        return finding
    mistake = _accepted_mistake(probe, command)
    if not mistake:
        return finding
    told = f"{finding.actual}; it accepts a signature made so: {load_corpus().mistakes[mistake].title}"
    return Finding(finding.verdict, finding.expected, told)


def _accepted_mistake(probe: Probe, command: str) -> str:
    """Find the single mistake whose signature the server accepts; "" when there is none, or the budget ends."""
    target, valid, shown = probe.target, probe.compose(command), len(probe.records)
    for mistake, signature in wrong_signatures(valid.fields, probe.credentials):
        del probe.records[shown:]  # hundreds of refusals would bury the one reply that matters
        if target.budget is not None and target.requests >= target.budget:
            break
        observed = probe.send(with_signature(valid.request, signature))
        if observed.understood:
            return mistake
        if observed.reply is None or observed.rate_limited:
            break
    del probe.records[shown:]
    return ""
