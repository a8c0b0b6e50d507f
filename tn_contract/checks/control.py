"""Positive controls: without them every refusal is a false green on a server that refuses all."""

from __future__ import annotations

from tn_contract.checks.registry import accepts, check
from tn_contract.checks.target import SESSION, Probe
from tn_contract.verdicts import Finding


@check("control/opens-session", "opens a session", clause="session-opens", requires=())
def opens_session(probe: Probe) -> Finding:
    """Send a valid getAuthInfo: key, secret, clock and canonical form are right."""
    return accepts("a valid getAuthInfo", probe.send(probe.compose(SESSION).request))


@check("control/accepts-cancel", "accepts a cancel", clause="cancel-accepted", effect="cancel", requires=())
def accepts_cancel(probe: Probe) -> Finding:
    """Send the documented delTradeOrder with a valid signature."""
    return accepts("a valid delTradeOrder", probe.target.cancel_once(probe))
