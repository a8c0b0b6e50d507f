"""How requests follow each other: one at a time, each order's outcome for itself, and what else a client sends."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import COMMAND_PATH
from tn_contract.judge.client.cases import BEYOND_53_BITS, NEIGHBOUR, REPLY_TIMEOUT, ROUNDED, case_of, cases
from tn_contract.judge.client.needs import gave
from tn_contract.judge.client.outcomes import NEARLY, SPEECHLESS, is_faulty
from tn_contract.judge.client.registry import Seen, client_check, none_of
from tn_contract.judge.client.wire import ADDRESSES, CONTENT_TYPES, misshapen
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed

if TYPE_CHECKING:
    from tn_contract.record.evidence import Case, Evidence, Process, Sent

# Of a delay, the part in which no other request may come: clocks of the two sides of the mock may differ a little.
_FIRMLY_LATE = 0.9
_LATE = [case_of(order_id) for order_id in is_faulty("delay", "dribble")]
_MAGIC = load_corpus().magic_orders
_HEADER = "x-ntapi-"


@client_check(
    "sends/one-at-a-time", "must send no request before the reply to the one before",
    clause="client-one-in-flight", cases=("in-turn", *_LATE),
)  # fmt: skip
def sends_one_at_a_time(evidence: Evidence) -> Finding:
    """Let replies come late, and look for requests that come sooner; a reply that was given up counts as come."""
    expected, count = "no request while another waits for its reply", 0
    for process in evidence.processes:
        for place, sent in enumerate(process.sent):
            late = sent.exchange.assessment.late if sent.exchange.assessment else 0
            report = process.report(sent.order_id or "")
            if not late or (report and report.outcome == "unknown"):
                continue
            due = _time(sent) + timedelta(seconds=late * _FIRMLY_LATE)
            for other in process.sent[place + 1 :]:
                count += 1
                if _time(other) < due:
                    gap = (_time(other) - _time(sent)).total_seconds()
                    raise Seen(failed(expected, f"the next one after {gap:.3f} s: {other.told}"), sent, other)
    if not count:
        raise NotApplicable("no request followed a late reply")
    return passed(expected, f"all {count} requests after late replies waited")


def _time(sent: Sent) -> datetime:
    return datetime.fromisoformat(sent.exchange.at)


@client_check(
    "reports/each-order-for-itself", "must report each order by its own reply",
    clause="client-outcomes-independent", cases=(spec.id for spec in cases().values() if not spec.unreachable),
)  # fmt: skip
def reports_each_order_for_itself(evidence: Evidence) -> Finding:
    """Cancel an ordinary order beside each magic one, and compare what is said of both with their own replies."""
    if not evidence.speaks:
        raise NotApplicable(SPEECHLESS)
    if not _knows_a_success(evidence):
        raise NotApplicable("the client reports no ordinary success as accepted: see reports/success")
    expected, count, late = "accepted, as the order's own reply says", 0, 0
    for case in evidence.cases:
        for process in case.processes:
            for sent in _confirmed(process):
                report = process.report(sent.order_id or "")
                if report is None:
                    continue
                if _timed_out(process, sent):
                    late += 1
                    continue
                count += 1
                if report.outcome != "accepted":
                    told = f"{report.outcome} for order {sent.order_id}{_beside(case, process)}"
                    raise Seen(failed(expected, told), *process.sent)
    after = evidence.case("accepted-first")
    alike = sum(_reported_as_alone(evidence, process) for process in after.processes) if after else 0
    for order_id in is_faulty("closing"):
        for process in evidence.cancelling(order_id):
            _sent_anew(process, order_id)
    if late:
        raise NotApplicable(
            f"the client gave up {late} ordinary orders after its time limit: this machine may have been late with the "
            "replies. Repeat it when the machine is idle"
        )
    if not count:
        raise NotApplicable("no ordinary order was accepted and reported")
    if not (alike or evidence.case("")):
        raise NotApplicable("no reply was reported both alone and after another one (case accepted-first)")
    return passed(expected, f"all {count} ordinary orders")


def _timed_out(process: Process, sent: Sent) -> bool:
    """Whether the client doubts after it waited as long as it was asked to: that depends on the machine's load."""
    report = process.report(sent.order_id or "")
    return bool(report and report.outcome == "unknown" and process.waited(sent) >= REPLY_TIMEOUT * NEARLY)


def _reported_as_alone(evidence: Evidence, process: Process) -> int:
    """Count the replies that are reported as in their own case, in which they come first; raise `Seen` at another."""
    first, *later = process.order_ids
    alike = 0
    for order_id in later:
        alone = evidence.case(case_of(order_id))
        report = process.report(order_id)
        before = alone.processes[0].report(order_id) if alone and alone.processes else None
        if not (report and before and alone):
            continue
        pair = [(each, gave(each, order_id)) for each in (process, alone.processes[0])]
        if any(sent is None or _timed_out(each, sent) for each, sent in pair):
            continue
        if report.outcome != before.outcome:
            told = f"{report.outcome} for order {order_id}, after order {first}"
            raise Seen(failed(f"{before.outcome}, as without an order before", told), *process.sent)
        alike += 1
    return alike


def _sent_anew(process: Process, closing: str) -> None:
    """Raise `Seen` where what follows on a connection that the server closed never came."""
    if not any(sent.accepted for sent in process.cancels(closing)):
        return
    for report in process.reports:
        if (
            report.outcome == "unknown"
            and report.order_id in process.order_ids
            and not process.cancels(report.order_id)
        ):
            told = f"unknown for order {report.order_id}, whose request never came"
            raise Seen(failed("a new connection, after the server closed one", told), *process.sent)


def _knows_a_success(evidence: Evidence) -> bool:
    """Whether any ordinary order that came first in its process was reported as accepted."""
    return any(
        report.outcome == "accepted"
        for process in evidence.processes
        for sent in _confirmed(process)[:1]
        if sent is process.sent[0] or not process.order_ids
        for report in [process.report(sent.order_id or "")]
        if report
    )


def _confirmed(process: Process) -> list[Sent]:
    """Return the only cancels of ordinary orders that were answered with the documented success."""
    return [
        sent
        for sent in process.cancels()
        if sent.accepted
        and sent.exchange.reply
        and sent.order_id not in _MAGIC
        and sent.order_id not in BEYOND_53_BITS
        and len(process.cancels(sent.order_id)) == 1
        and not sent.follows_redirect
    ]


def _beside(case: Case, process: Process) -> str:
    others = [order_id for order_id in process.order_ids if order_id in _MAGIC]
    return f", beside order {', '.join(others)}" if others else f" in case {case.id}" * bool(case.id)


@client_check(
    "reports/long-ids", "must tell ids up to 2^63-1 apart and report their successes", clause="client-reads-long-ids",
    cases=("plain", "neighbour"),
)  # fmt: skip
def reports_long_ids(evidence: Evidence) -> Finding:
    """Answer cancels of orders 2^53+1 and 2^63-1 with their own ids, and one of 2^53+1 with order 2^53."""
    case = evidence.case("plain")
    if case is None or not evidence.speaks:
        raise NotApplicable(SPEECHLESS if case else "the case plain was not run")
    if not _knows_a_success(evidence):
        raise NotApplicable("the client reports no ordinary success as accepted: see reports/success")
    expected, count = "accepted", 0
    for process in case.processes:
        for order_id in BEYOND_53_BITS:
            report = process.report(order_id)
            if report and any(sent.accepted for sent in process.cancels(order_id)):
                count += 1
                if report.outcome != expected:
                    raise Seen(failed(expected, f"{report.outcome} for order {order_id}"), *process.cancels(order_id))
    if not count:
        raise NotApplicable("no order with such an id was accepted and reported")
    _tells_neighbours_apart(evidence)
    return passed(expected, f"both orders, {' and '.join(BEYOND_53_BITS)}")


def _tells_neighbours_apart(evidence: Evidence) -> None:
    """Raise `Seen` where a success that names the neighbour of the order is reported as accepted.

    Raises `NotApplicable` where no such success was given and reported.
    """
    other = load_corpus().replies["other-order"]
    if any(report.outcome == "accepted" for process in evidence.cancelling(other) if (report := process.report(other))):
        return  # whoever accepts any other id is judged by reports/other-order
    case = evidence.case("neighbour")
    answered = False
    for process in case.processes if case else ():
        report = process.report(ROUNDED)
        sent = [each for each in process.cancels(ROUNDED) if each.payload == NEIGHBOUR]
        answered = answered or bool(sent and report)
        if sent and report and report.outcome == "accepted":
            told = f"accepted for order {ROUNDED}, although the reply names its neighbour"
            raise Seen(failed("unknown: the reply names another order", told), *sent)
    if not answered:
        raise NotApplicable("no reply that names the order's neighbour was reported (case neighbour)")


@client_check("sends/other-requests", "must send its other requests like its cancels", clause="client-other-requests")
def sends_other_requests_alike(evidence: Evidence) -> Finding:
    """Look at method, address, declared type and fields of each request with a key that is not a cancel."""
    others = [sent for sent in evidence.sent if (_is_keyed(sent) and not sent.is_cancel) or _is_astray(sent)]
    if not others:
        raise NotApplicable("the client sends nothing but cancels")
    return none_of(others, "POST to the command's address, with the documented fields", _unlike_a_cancel)


def _is_astray(sent: Sent) -> bool:
    """Whether the body has another command than the address of a cancel."""
    return sent.method != "OPTIONS" and sent.path == ADDRESSES["v2"] and not sent.is_cancel


def _is_keyed(sent: Sent) -> bool:
    """Whether it carries a key or a signature, so that it speaks to the API in the user's name."""
    if sent.method == "OPTIONS":  # browsers send it before a request to another origin
        return False
    names = {name.partition("[")[0].strip().lower() for name, _ in (*sent.fields, *sent.query_fields)}
    headers = {name.lower() for name, _ in sent.exchange.request.headers}
    return bool(sent.exchange.session) or "apikey" in names or any(name.startswith(_HEADER) for name in headers)


def _unlike_a_cancel(sent: Sent) -> str:
    if sent.method != "POST":
        return f"sent by {sent.method}"
    declared = (sent.header("content-type") or "").partition(";")[0].strip().lower()
    if declared != CONTENT_TYPES[sent.scheme]:
        return f"Content-Type is {declared or 'missing'}"
    if sent.scheme == "v3":
        return "" if re.fullmatch(r"/api/\w+", sent.path) else "another address than /api/ and the command"
    if sent.path != COMMAND_PATH + sent.command:
        return f"another address than {COMMAND_PATH}{sent.command}"
    if wrong := misshapen(sent, ("apiKey", "cmd", "nonce")):
        return wrong
    extra = sorted({name.partition("[")[0] for name, _ in sent.fields} - {"apiKey", "cmd", "nonce", "params"})
    return f"also {', '.join(extra)}" if extra else ""
