"""Replies of an unusual form: framing, declared types, statuses, failures that are no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tn_contract.judge.client.cases import case_of
from tn_contract.judge.client.outcomes import SPEECHLESS, is_faulty, replies_of, reports_as_told
from tn_contract.judge.client.registry import Seen, client_check
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed

if TYPE_CHECKING:
    from tn_contract.record.evidence import Evidence

reports_as_told(
    "framings", "must read replies however HTTP frames them", "client-reads-framings",
    is_faulty("chunked", "long", "closing"), plain="success",
)  # fmt: skip
reports_as_told(
    "other-types-of-content", "must read a success whatever its Content-Type", "client-reads-other-types",
    replies_of("success-as-html", "success-without-type", "success-in-unknown-charset"), plain="success",
)  # fmt: skip
reports_as_told(
    "other-statuses", "must report a success with HTTP 202 as accepted", "client-reports-other-statuses",
    replies_of("success-http-202"), plain="success",
)  # fmt: skip
reports_as_told(
    "failures-of-other-types", "must report failures that are not text as rejected", "client-reports-other-failures",
    replies_of("failure-as-list", "failure-as-true"),
)  # fmt: skip
reports_as_told(
    "byte-order-mark", "whether it doubts JSON behind a byte order mark", "client-doubts-byte-order-mark",
    replies_of("byte-order-mark"),
)  # fmt: skip

NESTED = replies_of("failure-in-list")


@client_check(
    "reports/nested-failures", "must not accept an order id inside a list of failures",
    clause="client-doubts-nested", cases=map(case_of, NESTED),
)  # fmt: skip
def reports_nested_failures(evidence: Evidence) -> Finding:
    """Answer with a list of failures that names the order; to report it as rejected is right as well."""
    if not evidence.speaks:
        raise NotApplicable(SPEECHLESS)
    said = [
        (report, process)
        for order_id in NESTED
        for process in evidence.cancelling(order_id)
        if any(sent.accepted for sent in process.cancels(order_id))
        for report in [process.report(order_id)]
        if report
    ]
    if not said:
        raise NotApplicable("no report of such a reply")
    for report, process in said:
        if report.outcome == "accepted":
            raise Seen(failed("unknown or rejected", "accepted"), *process.sent)
    return passed("unknown or rejected", said[0][0].outcome)
