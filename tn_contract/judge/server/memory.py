"""What was accepted long ago stays used up: the run's first requests are sent again at its end."""

from __future__ import annotations

from tn_contract.contract.signing import sign
from tn_contract.contract.wire import Request, dress
from tn_contract.judge.server.registry import check, judge_refusal
from tn_contract.judge.server.target import SESSION, Probe
from tn_contract.judge.verdicts import Blocked, Finding, passed

# A server that remembers the last so many nonces, or so many keys, has forgotten the first ones by then.
_ENOUGH, _ENOUGH_ELSEWHERE, _KEYS = 450, 30, 100


@check("memory/refuses-first-requests", "refuses the run's first requests at its end", clause="nonce-used-once")
def refuses_first_requests(probe: Probe) -> Finding:
    """Send what was accepted at the very beginning once more, after hundreds of requests of this and other keys."""
    target = probe.target
    if not target.first:
        raise Blocked("no request was accepted at the beginning")
    while target.requests < (_ENOUGH if target.disposable else _ENOUGH_ELSEWHERE):
        probe.send(probe.compose(SESSION).request)
    for place in range(_KEYS if target.disposable else 0):
        probe.send(_of_nobody(probe, place))
    for what, request in target.first.items():
        finding = judge_refusal(f"{what} that was accepted at the beginning", probe.send(request))
        if finding.verdict != "pass":
            return finding
    probe.control(SESSION)
    return passed(f"refused at the end: {', '.join(target.first)}", f"after {target.requests} requests")


def _of_nobody(probe: Probe, place: int) -> Request:
    """Name a key that nobody has: many of them may push others out of a memory that is too small."""
    fields = {**probe.compose(SESSION).fields, "apiKey": f"tn-contract-nobody-{place}"}
    return dress(SESSION, fields, sign(fields, probe.credentials.secret).signature)
