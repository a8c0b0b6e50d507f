"""What must have happened before a check may pass: the one place that rules out vacuous passes.

A check names its cases; each case is an instrument, and `given` says whether that instrument had its effect. A check
that needs more than that (a request *after* the reply, an accepted cancel, a clock that moved) names it as `needs`.
The judge asks after a check has passed: what is missing turns the pass into `blocked`, when the client prevented it
(it was refused, it sent nothing), or into `skipped`, when it was not tried or could not be arranged.
A failure needs no such proof: checks only hold against a client what is in the evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client.cases import case_of, cases
from tn_contract.judge.verdicts import Blocked, NotApplicable
from tn_contract.record.evidence import Case, Evidence, Process, Sent

# Takes a case and the id under which the check knows it (a live session plays every case in one). Returns normally
# when all is there; raises `Blocked` or `NotApplicable` with what is missing.
Need: TypeAlias = Callable[[Case, str], None]

# Whoever still waits after so many seconds waits for ever.
PATIENT = 120.0

_ORDERS = {case_of(order_id): order_id for order_id in load_corpus().magic_orders}


def require(evidence: Evidence, case_ids: tuple[str, ...], need: Need) -> None:
    """Raise `Blocked` or `NotApplicable` unless the cases of a check had their effect on this client."""
    live = evidence.case("")
    reasons: list[NotApplicable] = []
    met = 0
    for case_id in case_ids:
        case = live or evidence.case(case_id)
        if case is None or case.skipped:
            reasons.append(NotApplicable(case.skipped if case else f"the case {case_id} was not run"))
            continue
        try:
            need(case, case_id)
            met += 1
        except NotApplicable as reason:
            if not live:
                raise
            reasons.append(reason)
    if not met and reasons:
        raise reasons[0]


def requested(case: Case, _case_id: str) -> None:
    """Any request came, whatever the mock made of it: enough for what shows on the face of a request."""
    if not case.sent:
        raise _absent(case, f"the client sent no request{_where(case)}")


def accepted(case: Case, case_id: str) -> None:
    """A cancel was accepted (of the case's own order, where it has one)."""
    if case_id in _ORDERS:
        given(case, case_id)
        return
    requested(case, case_id)
    if not any(sent.is_cancel and sent.accepted for sent in case.sent):
        refused = case.sent[0].situation
        raise Blocked(f"the mock accepted no cancel{_where(case)} (the first request was refused: {refused})")


def given(case: Case, case_id: str) -> None:
    """The case had its effect: a magic order's own reply was given, with its fault; elsewhere a request came."""
    spec = cases().get(case_id)
    if spec and (spec.certificate or spec.unreachable):
        return  # an honest client may be unable to send there: `trusted` asks for the control
    order_id = _ORDERS.get(case_id)
    if order_id is None:
        requested(case, case_id)
        return
    asked = [process for process in case.processes if order_id in process.order_ids or process.cancels(order_id)]
    if not asked:
        raise NotApplicable(f"order {order_id} was not cancelled")
    settled = False
    for process in asked:
        if not (settled or gave(process, order_id)):
            raise Blocked(_ungiven(process, order_id))
        report = process.report(order_id)
        settled = settled or bool(report and report.outcome in ("accepted", "rejected"))


def trusted(case: Case, case_id: str) -> None:
    """Where a certificate is good, a request came: else none at a bad one shows nothing."""
    if case_id == "trusted" and not case.sent:
        raise NotApplicable(
            "not tried: the client sends nothing either where the certificate is good, to the authority that "
            "SSL_CERT_FILE, NODE_EXTRA_CA_CERTS and the like name"
        )


def followed(case: Case, case_id: str) -> None:
    """The case had its effect, and a request came after it, unless the judge's own deadline prevented that."""
    given(case, case_id)
    if any(process.ended and process.ended.how == "unfinished" for process in case.processes):
        return
    order_id = _ORDERS[case_id]
    places = [place for place, sent in enumerate(case.sent) if answers(sent, order_id)]
    if not any(not sent.follows_redirect for sent in case.sent[places[0] + 1 :]):
        raise NotApplicable(f"no request followed the reply to order {order_id}")


def restarted(case: Case, case_id: str) -> None:
    """The program ran several times, and the server took up each run's nonces."""
    requested(case, case_id)
    if len(case.processes) < 2:
        raise NotApplicable("the program was not started again")
    for process in case.processes:
        if not any(sent.accepted for sent in process.sent):
            raise Blocked(f"a run of the program had no request accepted{how_ended(process)}")


def answers(sent: Sent, order_id: str) -> bool:
    """Whether this is a cancel of a magic order that was answered with the order's own reply and fault."""
    order = load_corpus().magic_orders[order_id]
    if not (sent.is_cancel and sent.order_id == order_id and sent.accepted) or sent.follows_redirect:
        return False
    return sent.payload == order.payload and sent.fault == (order.fault or "")


def gave(process: Process, order_id: str) -> Sent | None:
    """Return the cancel that was answered with the order's own reply, or None."""
    return next((sent for sent in process.sent if answers(sent, order_id)), None)


def replies_to(process: Process, order_id: str) -> list[Sent]:
    """Return the requests that name an order, with those that followed a redirect from one, in order."""
    found: list[Sent] = []
    before: Sent | None = None
    for sent in process.sent:
        if sent.order_id == order_id or (sent.follows_redirect and found and before is found[-1]):
            found.append(sent)
        before = sent
    return found


def too_soon(process: Process, check_id: str) -> str:
    """Say how to judge a program that was still waiting when its time was up."""
    limit = process.ended.limit if process.ended else 0.0
    return (
        f"still waiting after {limit:g} s, when its time was up: it may have a longer limit of its own. Repeat with "
        f"--deadline {PATIENT:g} --check {check_id}, or let it respect TN_TIMEOUT"
    )


def how_ended(process: Process) -> str:
    """Say how a process ended that did not exit by itself, in brackets."""
    if process.ended is None or process.ended.how == "exited":
        return ""
    if process.ended.how == "unfinished":
        return f" (it was still waiting after {process.ended.limit:g} s)"
    return f" (it {process.ended.how}{': ' * bool(process.ended.told)}{process.ended.told})"


def _ungiven(process: Process, order_id: str) -> str:
    cancels = process.cancels(order_id)
    if not cancels:
        return f"the client sent no cancel of order {order_id}{how_ended(process)}"
    return f"the mock refused the cancel of order {order_id} ({cancels[0].situation}), so its reply never came"


def _where(case: Case) -> str:
    return f" in case {case.id}" if case.id else ""


def _absent(case: Case, told: str) -> Exception:
    ended = next((how_ended(process) for process in case.processes if how_ended(process)), "")
    return Blocked(told + ended) if case.id and case.processes else NotApplicable(told)
