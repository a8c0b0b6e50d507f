"""What a client makes of each reply: what it reports, and whether it sends again by itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import read_body
from tn_contract.judge.client.cases import ORDINARY, case_of, cases
from tn_contract.judge.client.clocks import steady
from tn_contract.judge.client.needs import gave, how_ended, replies_to, too_soon
from tn_contract.judge.client.registry import Seen, client_check
from tn_contract.judge.client.wire import LOST, REJECTED, UNCLEAR, UNTRUSTED
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed
from tn_contract.record.evidence import OUTCOMES, Evidence, Process, Reported, Sent

CORPUS = load_corpus()
# Timers may fire a little early, and a pause is no less kept for that.
NEARLY = 0.9
SPEECHLESS = "the client prints no outcomes, so it is judged on the wire alone"


def is_faulty(*faults: str) -> list[str]:
    """Return the magic orders with one of these faults."""
    return [order.order_id for order in CORPUS.magic_orders.values() if order.fault in faults]


def replies_of(*payloads: str) -> list[str]:
    """Return the magic orders with these payloads."""
    return [CORPUS.replies[payload] for payload in payloads]


BROKEN = replies_of("http-500", "http-500-success", "http-502", "http-503", "http-504", "http-520-success")


# ---- reports -----------------------------------------------------------------------------------------------


def reports_as_told(
    slug: str, title: str, clause: str, order_ids: Iterable[str], *, cautious: bool = True, plain: str = ""
) -> None:
    """Declare that the client reports of these orders what the corpus says.

    With `cautious`, unknown instead of a settled outcome is a warning: it errs on the safe side. Whoever misreads the
    payload `plain` in the same way is not judged: that mistake has a check of its own.
    """
    wanted = tuple(order_ids)
    twin = CORPUS.replies[plain] if plain else ""
    told = f"the reply to {', '.join(wanted)}" if len(wanted) < 4 else f"{len(wanted)} such replies"

    @client_check(f"reports/{slug}", title, clause=clause, cases=map(case_of, [*wanted, *filter(None, [twin])]))
    def reports(evidence: Evidence) -> Finding:
        return reported_as_expected(evidence, wanted, cautious, _misread(evidence, twin) if twin else "")

    weight = "a warning" if cautious else "a failure too"
    reports.__doc__ = f"Compare what the client says of {told} with the corpus; unknown is {weight}."


def _misread(evidence: Evidence, order_id: str) -> str:
    """What the client says of an order's reply, where that is wrong; else empty."""
    said = [_got(each.report(order_id), each) for each in evidence.cancelling(order_id) if gave(each, order_id)]
    return next((got for got in said if got != CORPUS.expected_report(order_id)[0]), "")


def reported_as_expected(evidence: Evidence, order_ids: tuple[str, ...], cautious: bool, misread: str = "") -> Finding:
    """Compare what is said of these orders with the corpus. Raises `Seen`, or `NotApplicable`."""
    asked = [
        (order_id, process)
        for order_id in order_ids
        for process in evidence.cancelling(order_id)
        if order_id in process.order_ids or not process.order_ids
    ]
    if not asked:
        raise NotApplicable("no case led to this reply")
    if not evidence.speaks:
        raise NotApplicable(SPEECHLESS)
    doubts: list[str] = []
    late: list[str] = []
    elsewhere = 0
    for order_id, process in asked:
        reached = gave(process, order_id)
        if reached is None:
            continue
        if replies_to(process, order_id)[-1].follows_redirect:
            elsewhere += 1  # what it says is of the other reply
            continue
        outcome, kind = CORPUS.expected_report(order_id)
        expected = f"{outcome}{f' ({kind})' if kind else ''} for {_described(order_id)}"
        report = process.report(order_id)
        if report is None and process.ended and process.ended.how == "unfinished":
            late.append(too_soon(process, "reports"))
            continue
        got = _got(report, process)
        if got == outcome:
            continue
        if got == "unknown" and (waited := _outwaited(process, reached)):
            late.append(
                f"the client doubts after {waited:.1f} s, when the reply was due: this machine may have been late with "
                f"it. Repeat it when the machine is idle"
            )
            continue
        if got == misread:
            raise NotApplicable(f"the client says {got} of the plain reply too: a check of its own judges that")
        if cautious and got == "unknown":
            doubts.append(_described(order_id))
            continue
        raise Seen(failed(expected, got), reached)
    if elsewhere == len(asked):
        raise NotApplicable("the client followed the redirect, so what it says is of another reply")
    if late:
        raise NotApplicable(late[0])
    if doubts:
        return Finding("warn", "a settled outcome", f"unknown, which is safe but needless, for {'; '.join(doubts)}")
    return passed(f"as the corpus says for {', '.join(order_ids)}", "so reported")


def _outwaited(process: Process, late: Sent) -> float:
    """How many seconds a client waited, if it was until a late reply was due: what came then depends on load."""
    due = late.exchange.assessment.late if late.exchange.assessment else 0
    waited = process.waited(late)
    return waited if due and waited >= due else 0.0


def _got(report: Reported | None, process: Process) -> str:
    if report:
        return report.outcome if report.outcome in OUTCOMES else f"{report.outcome!r}, which is no outcome"
    ended = process.ended
    if ended and ended.how == "hung":
        return "nothing: it was still waiting when its time was up"
    if ended and ended.how == "crashed":
        return f"nothing{how_ended(process)}"
    return "nothing"


def _described(order_id: str) -> str:
    order = CORPUS.magic_orders[order_id]
    return f"{order.fault or CORPUS.payloads[order.payload].title} (order {order_id})"


reports_as_told(
    "success", "reports the documented success as accepted", "client-reports-success",
    replies_of("success"), cautious=False,
)  # fmt: skip
reports_as_told(
    "success-by-result", "reports an integer result as accepted", "client-reports-result",
    replies_of("success-result-1", "success-result-minus-1"),
)  # fmt: skip
reports_as_told(
    "success-with-more", "is not misled by more members and a falsy error", "client-tolerates-more",
    replies_of(
        "success-with-falsy-error", "success-with-error-false", "success-with-error-zero", "success-with-cookie",
    ),
    cautious=False, plain="success",
)  # fmt: skip
reports_as_told(
    "common-error", "reports errMsg with code 2 as rejected", "client-reports-common-error",
    replies_of("common-error"), cautious=False,
)  # fmt: skip
reports_as_told(
    "method-error", "reports error with code 0 as rejected", "client-reports-method-error",
    replies_of("method-error"), cautious=False,
)  # fmt: skip
reports_as_told(
    "insufficient-rights", "reports errorMsg with code 12 as rejected", "client-reports-insufficient-rights",
    replies_of("insufficient-rights"), cautious=False,
)  # fmt: skip
reports_as_told(
    "errormsg-alone", "reports errorMsg alone as rejected", "client-reports-errormsg-alone", replies_of("errormsg-only")
)
reports_as_told(
    "unknown-codes", "reports a failure text with any code as rejected", "client-reports-unknown-codes",
    replies_of("unknown-code", "error-without-code", "code-as-text", "code-as-object", "failure-with-quotes"),
    cautious=False,
)  # fmt: skip
reports_as_told(
    "failure-beside-id", "reports a failure text beside the order's id or a result as rejected",
    "client-reports-failure-beside-id",
    replies_of("failure-with-order-id", "failure-with-result", "failure-object-with-order-id"),
)  # fmt: skip
reports_as_told(
    "refusals", "reports refused keys, signatures and parameters as rejected", "client-reports-refusals",
    replies_of(
        "command-missing", "command-unknown", "command-unknown-code-3", "key-missing", "key-rejected",
        "nonce-rejected", "order-id-malformed", "order-id-missing", "order-not-found", "signature-rejected",
        "signature-rejected-code-12",
    ),
)  # fmt: skip
reports_as_told(
    "http-failures", "reports a failure text with HTTP 403 or 404 as rejected", "client-reports-http-failures",
    replies_of("signature-rejected-http-403", "key-rejected-http-403", "session-required", "http-404", "http-401"),
)  # fmt: skip
reports_as_told(
    "rate-limits", "reports a rate limit as rejected", "client-reports-rate-limit",
    replies_of("rate-limited", "rate-limited-http-429", "rate-limited-http-429-bare", "rate-limited-http-429-date"),
)  # fmt: skip
reports_as_told(
    "other-order", "doubts a success that speaks of another order", "client-doubts-other-order",
    replies_of(
        "other-order", "other-order-of-run", "other-order-in-32-bits", "other-order-zero",
        "other-order-with-more-digits", "other-order-below-zero", "other-order-with-a-fraction",
    ),
)  # fmt: skip
reports_as_told("empty", "doubts an empty reply", "client-doubts-empty", replies_of("empty", "http-204"))
reports_as_told("html", "doubts HTML in place of JSON", "client-doubts-html", replies_of("html"))
reports_as_told(
    "other-json", "doubts JSON without evidence", "client-doubts-other-json",
    replies_of(
        "other-json", "code-zero-alone", "list", "null", "half-json", "json-with-more", "json-behind-html",
        "several-order-ids", "success-true", "order-id-null", "list-with-success", "json-in-json",
    ),
)  # fmt: skip
reports_as_told(
    "loose-types", "whether it doubts ids that are text and results that are none", "client-doubts-loose-types",
    replies_of("order-id-as-text", "result-true"),
)  # fmt: skip
reports_as_told(
    "two-ids", "whether it doubts a reply that names two ids", "client-doubts-two-ids",
    replies_of("two-order-ids", "two-order-ids-swapped"),
)  # fmt: skip
reports_as_told(
    "server-errors", "doubts HTTP 5xx, whatever its body says", "client-doubts-server-errors", BROKEN,
)  # fmt: skip
reports_as_told(
    "odd-statuses", "doubts a redirect, a firewall's page and a success with HTTP 404", "client-doubts-odd-status",
    replies_of(
        "http-307", "http-302-success", "http-301-without-location", "http-403-html", "http-404-success", "http-408",
    ),
)  # fmt: skip
reports_as_told(
    "lost-replies", "doubts a reply that is dropped, reset, cut off or garbled", "client-doubts-lost-reply",
    is_faulty("drop", "reset", "cut-off", "wrong-length", "garbage"),
)  # fmt: skip
reports_as_told(
    "slow-replies", "waits for a reply that takes a second", "client-waits-for-slow-replies",
    is_faulty("delay", "dribble"), plain="success",
)  # fmt: skip

SILENT = tuple(is_faulty("silence"))
STALLING = {*SILENT, *is_faulty("late", "stall-status", "stall-header", "stall-body", "stall-chunk")}


@client_check(
    "reports/silence", "gives up a silent server, and doubts", clause="client-doubts-silence",
    cases=map(case_of, SILENT),
)  # fmt: skip
def reports_silence(evidence: Evidence) -> Finding:
    """Never answer a cancel, and wait for the client to give up and to report unknown."""
    for order_id in SILENT:
        for process in evidence.cancelling(order_id):
            if process.ended and process.ended.how == "unfinished":
                raise NotApplicable(too_soon(process, "reports/silence"))
            if process.ended and process.ended.how == "hung" and gave(process, order_id):
                raise Seen(failed("gives up and reports unknown", "still waiting at the deadline"), *process.sent)
    return reported_as_expected(evidence, SILENT, cautious=True)


@client_check(
    "reports/not-sent", "reports a refused connection as not sent", clause="client-reports-not-sent",
    cases=("plain", "no-server", *UNTRUSTED),
)  # fmt: skip
def reports_not_sent(evidence: Evidence) -> Finding:
    """Let nothing listen at the address, or what has no good certificate; of that it may also be in doubt."""
    case = evidence.case("no-server")
    if case is None:
        raise NotApplicable("the case no-server was not run")
    if not evidence.speaks:
        raise NotApplicable(SPEECHLESS)
    for shown in filter(None, map(evidence.case, UNTRUSTED)):
        for process in shown.processes if not shown.sent else ():
            report = process.report(ORDINARY)
            if report and report.outcome not in ("not-sent", "unknown"):
                return failed("not-sent", f"{report.outcome}, in case {shown.id}, where nothing was sent")
    process = case.processes[0]
    report = process.report(ORDINARY)
    got = _got(report, process)
    if got == "unknown":
        return Finding("warn", "not-sent", "unknown, which is safe but needless: nothing had been sent")
    return passed("not-sent", got) if got == "not-sent" else failed("not-sent", got)


@client_check(
    "reports/codes-as-sent", "reports the code and the kind of the reply", clause="client-codes-as-sent",
    cases=map(case_of, replies_of("common-error", "method-error", "insufficient-rights")),
)  # fmt: skip
def reports_codes_as_sent(evidence: Evidence) -> Finding:
    """Compare each code and kind that the client prints with the reply. Kinds of its own are left alone."""
    kinds = {kind.kind for kind in CORPUS.errors}
    compared = 0
    for process in evidence.processes:
        for report in process.reports:
            sent = [each for each in replies_to(process, report.order_id) if each.exchange.reply]
            if not sent or report.outcome != "rejected":
                continue
            compared += _compare_code(report, sent[-1], kinds)
    if not compared:
        raise NotApplicable("the client prints no codes or kinds of rejections")
    return passed("the reply's own code, and the kind that errors.json makes of it", f"so {compared} times")


def _compare_code(report: Reported, sent: Sent, kinds: set[str]) -> int:
    reply = sent.exchange.reply
    assert reply  # noqa: S101 # the caller saw to it
    reading = read_body(reply.body.encode())
    if report.code is not None and str(report.code) != str(reading.code):
        raise Seen(failed(f"code {reading.code}", f"code {report.code} for order {report.order_id}"), sent)
    kind = CORPUS.classify(reply.status, reading.code, reading.failure_keys).kind
    if report.kind in kinds and report.kind != kind:
        raise Seen(failed(f"kind {kind}", f"kind {report.kind} for order {report.order_id}"), sent)
    return (report.code is not None) + (report.kind in kinds)


# ---- resends -----------------------------------------------------------------------------------------------


def _resends_nothing(slug: str, title: str, order_ids: Iterable[str], clause: str = "client-never-resends") -> None:
    """Declare that one cancel stays one request, whatever is answered."""
    wanted = tuple(sorted(order_ids))

    @client_check(f"resends/{slug}", title, clause=clause, cases=map(case_of, wanted))
    def resends_nothing(evidence: Evidence) -> Finding:
        expected, count = "one request, and none after it", 0
        for order_id in wanted:
            for process in evidence.cancelling(order_id):
                if gave(process, order_id) is None or (process.order_ids and order_id not in process.order_ids):
                    continue
                sent = [each for each in process.cancels(order_id) if not each.follows_redirect]
                asked = process.order_ids.count(order_id) if process.order_ids else 1
                count += 1
                if len(sent) > asked:
                    raise Seen(failed(expected, f"{len(sent)} requests after {_described(order_id)}"), *sent)
        return passed(expected, f"so {count} times")

    resends_nothing.__doc__ = "Count the requests for each order that is answered so."


_resends_nothing(
    "nothing-after-refusals", "sends nothing again after a refusal",
    {order_id for order_id in REJECTED if CORPUS.payloads[CORPUS.magic_orders[order_id].payload].status != 429},
    clause="client-one-request",
)  # fmt: skip
_resends_nothing("nothing-after-lost-replies", "sends nothing again after a lost reply", LOST)
_resends_nothing(
    "nothing-after-server-errors", "sends nothing again after HTTP 5xx",
    BROKEN,
)  # fmt: skip
_resends_nothing(
    "nothing-after-unclear-replies", "sends nothing again after an unclear reply",
    set(UNCLEAR).difference(BROKEN),
)  # fmt: skip


def _waits(slug: str, title: str, payload: str, default: float) -> None:
    order_id = CORPUS.replies[payload]

    @client_check(f"resends/{slug}", title, clause="client-waits-after-429", cases=(case_of(order_id),))
    def waits(evidence: Evidence) -> Finding:
        pause = float(CORPUS.payloads[payload].headers.get("Retry-After", default))
        expected = f"nothing for the same order within {pause:g} s"
        count = 0
        for process in evidence.cancelling(order_id):
            if gave(process, order_id) is None:
                continue
            count += 1
            sent = process.cancels(order_id)
            for before, after in pairwise(sent):
                gap = (_time(after) - _time(before)).total_seconds()
                if gap < pause * NEARLY:
                    raise Seen(failed(expected, f"again after {gap:.3f} s"), before, after)
        return passed(expected, f"so {count} times")

    waits.__doc__ = "Measure the time between the requests for an order that is answered with HTTP 429."


def _time(sent: Sent) -> datetime:
    return datetime.fromisoformat(sent.exchange.at)


_waits("after-retry-after", "waits as long as Retry-After says", "rate-limited-http-429", 1)
_waits("after-429", "waits a second after HTTP 429 without Retry-After", "rate-limited-http-429-bare", 1)


# ---- runs --------------------------------------------------------------------------------------------------


@client_check("runs/to-the-end", "ends by itself, whatever the server does", clause="client-ends", cases=cases())
def runs_to_the_end(evidence: Evidence) -> Finding:
    """Look for processes that crashed or were still running at their deadline (servers that stall have checks)."""
    # A clock that is set back by force can break a program that is right: its sleeps fail.
    firm = steady(evidence)
    expected, ended = "every process ends by itself", 0
    late: list[str] = []
    for case in firm:
        for process in case.processes:
            if process.ended is None:
                continue
            ended += 1
            # Of a server that stalls other checks speak.
            silent = case.id.startswith("stalled-") or not STALLING.isdisjoint(process.order_ids)
            if process.ended.how == "unfinished":
                late += [] if silent else [too_soon(process, "runs/to-the-end")]
            elif process.ended.how != "exited" and not (silent and process.ended.how == "hung"):
                told = f"in case {case.id} it {process.ended.how}{_words(process)}"
                raise Seen(failed(expected, told), *process.sent)
    if late:
        raise NotApplicable(late[0])
    if not ended:
        raise NotApplicable("a journal does not tell how the program ended")
    return passed(expected, f"{ended} processes")


def _words(process: Process) -> str:
    return f": {process.ended.told}" if process.ended and process.ended.told else ""


@client_check("runs/reports-each-order", "reports each order once", clause="client-reports-each-order", cases=cases())
def reports_each_order(evidence: Evidence) -> Finding:
    """Count the reports of each process that ended by itself, whatever the server answered."""
    for process in evidence.processes:
        if process.ended and process.ended.unread:
            expected = 'one JSON object a line on standard output, such as {"outcome": "accepted"}'
            raise Seen(failed(expected, process.ended.unread), *process.sent)
    if not evidence.speaks:
        raise NotApplicable(SPEECHLESS)
    count = 0
    for case in evidence.cases:
        for process in case.processes:
            if process.ended is None or process.ended.how != "exited":
                continue
            count += 1
            for report in process.reports:
                if report.outcome not in OUTCOMES:
                    expected = f"one of {', '.join(OUTCOMES)}"
                    raise Seen(failed(expected, f"the outcome {report.outcome!r} in case {case.id}"), *process.sent)
            told = [report.order_id for report in process.reports]
            if sorted(told) != sorted(process.order_ids):
                expected = f"one report each for {', '.join(process.order_ids)}"
                raise Seen(
                    failed(expected, f"reports for {', '.join(told) or 'none'} in case {case.id}"), *process.sent
                )
    if not count:
        raise NotApplicable("no process ended by itself")
    return passed("one report for each order", f"so in {count} processes")
