"""What a client says of the replies that it really got, whichever they were: refusals of its own making above all."""

from __future__ import annotations

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client.cases import ORDINARY, case_of
from tn_contract.judge.client.needs import gave, replies_to, requested
from tn_contract.judge.client.registry import Seen, client_check, diagnosed
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed
from tn_contract.record.evidence import Case, Evidence, Process, Reported, Sent

SUCCESS = load_corpus().replies["success"]


@client_check(
    "reports/refused-requests", "does not report a refused request as accepted", clause="client-reports-refusals",
    cases=("plain", "restart", case_of(SUCCESS)), needs=requested,
)  # fmt: skip
def reports_refused_requests(evidence: Evidence) -> Finding:
    """Compare every outcome with the replies that came: what was never accepted is not accepted, nor the reverse."""
    compared = 0
    for case in evidence.cases:
        for process in case.processes:
            for report in process.reports:
                compared += _compare(evidence, case, process, report)
    if not compared:
        raise NotApplicable("the client reported no outcome of a request that was answered")
    return passed("no outcome that the replies contradict", f"so {compared} times")


def _compare(evidence: Evidence, case: Case, process: Process, report: Reported) -> int:
    order_id = report.order_id
    answered = replies_to(process, order_id)
    # What an earlier process settled may be remembered.
    so_far = [sent for each in case.processes[: case.processes.index(process) + 1] for sent in each.sent]
    acted = [sent for sent in so_far if sent.order_id == order_id and not _refused(sent)]
    if report.outcome == "accepted" and not acted:
        refused = [sent for sent in answered or process.sent if _refused(sent)]
        if not refused:
            return 0
        found = f"accepted for order {order_id}, answered with {_shown(refused[-1])}{diagnosed(refused[-1], '')}"
        raise Seen(failed("accepted only after a cancel that was accepted", found), *refused)
    # Larger ids may be misread for their size, and magic orders have checks of their own.
    settled = order_id == ORDINARY and answered and answered[-1].accepted and answered[-1].payload == "success"
    if settled and report.outcome in ("rejected", "not-sent") and not _misreads_success(evidence):
        found = f"{report.outcome} for order {order_id}, answered with {_shown(answered[-1])}"
        raise Seen(failed("accepted, as the reply says", found), answered[-1])
    return bool(answered)


def _refused(sent: Sent) -> bool:
    """Whether the mock refused it by itself; what a scenario or a magic order answers is another matter."""
    return sent.situation not in ("cancel-accepted", "scenario")


def _misreads_success(evidence: Evidence) -> bool:
    said = [(each.report(SUCCESS), gave(each, SUCCESS)) for each in evidence.cancelling(SUCCESS)]
    return any(given and (report is None or report.outcome != "accepted") for report, given in said)


def _shown(sent: Sent) -> str:
    reply = sent.exchange.reply
    return f"{sent.situation}: {reply.body[:80]}" if reply else sent.situation
