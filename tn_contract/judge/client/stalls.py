"""What a client makes of a server that stalls, phase by phase. Silence after the request is with the other outcomes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tn_contract.judge.client.cases import ORDINARY, case_of
from tn_contract.judge.client.needs import answers, gave, given, too_soon
from tn_contract.judge.client.outcomes import SPEECHLESS, is_faulty
from tn_contract.judge.client.registry import Seen, client_check
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tn_contract.record.evidence import Evidence, Process

# A wait of so many times its own time limit is no matter of load.
CLEARLY_LONGER = 2
SILENT = is_faulty("silence")
# Where no request can come, one must have come elsewhere: a client that sends nothing is not patient.
CONTROLS = ("plain", *map(case_of, SILENT))


def _gives_up(slug: str, phase: str, stalled: Iterable[tuple[str, str]], *outcomes: str) -> None:
    """Declare that the client gives up a server that stalls in a phase. `stalled`: cases, and their orders."""
    pairs = tuple(stalled)

    @client_check(
        f"reports/{slug}", f"must give up a server that stalls {phase}", clause="client-gives-up-stalls",
        cases=(*(case_id for case_id, _ in pairs), *CONTROLS),
    )  # fmt: skip
    def gives_up(evidence: Evidence) -> Finding:
        expected = f"gives up and reports {' or '.join(outcomes)}"
        asked = [(process, order_id) for case_id, order_id in pairs for process in _asked(evidence, case_id, order_id)]
        if not asked:
            raise NotApplicable("no case stalled so")
        for process, _order_id in asked:
            waited = _still_waiting(evidence, process, f"reports/{slug}")
            if waited:
                raise Seen(failed(expected, waited), *process.sent)
        if not evidence.speaks:
            raise NotApplicable(SPEECHLESS)
        for process, order_id in asked:
            report = process.report(order_id)
            if report is None or report.outcome not in outcomes:
                raise Seen(failed(expected, _said(process, report.outcome if report else "")), *process.sent)
        return passed(expected, f"{len(asked)} times")

    gives_up.__doc__ = f"Stall {phase}, and wait for the client to give up and to report {' or '.join(outcomes)}."


def _still_waiting(evidence: Evidence, process: Process, check_id: str) -> str:
    """Say that a process waited longer than it ever would; nothing if it ended. Raises `NotApplicable` in doubt.

    A client that gave up a silent server long before this one's deadline has a time limit, which does not hold here.
    """
    ended = process.ended
    if ended is None or ended.how not in ("hung", "unfinished"):
        return ""
    if ended.how == "hung":
        return "still waiting at the deadline"
    patience = _patience(evidence)
    if patience is None or patience * CLEARLY_LONGER > ended.limit:
        raise NotApplicable(too_soon(process, check_id))
    return f"still waiting after {ended.limit:g} s, though it gave up a silent server after {patience:.1f} s"


def _patience(evidence: Evidence) -> float | None:
    """How many seconds the client waited for a server that was silent after the request, where that is known."""
    for order_id in SILENT:
        for process in evidence.cancelling(order_id):
            for place, sent in enumerate(process.sent[:-1]):
                if answers(sent, order_id):
                    times = [datetime.fromisoformat(each.exchange.at) for each in process.sent[place : place + 2]]
                    return (times[1] - times[0]).total_seconds()
    return None


def _asked(evidence: Evidence, case_id: str, order_id: str) -> list[Process]:
    """Return the processes that the server stalled for. Raises `Blocked` or `NotApplicable` without any."""
    if case_id == case_of(order_id):
        tried = evidence.case("") or evidence.case(case_id)
        if tried:
            given(tried, case_id)
        return [process for process in evidence.cancelling(order_id) if gave(process, order_id)]
    case = evidence.case(case_id)
    if case and case.skipped:
        raise NotApplicable(case.skipped)
    return case.processes if case else []


def _said(process: Process, outcome: str) -> str:
    if process.ended and process.ended.how == "crashed":
        return f"nothing: it crashed ({process.ended.told})"
    return outcome or "nothing"


def _in(*faults: str) -> list[tuple[str, str]]:
    return [(case_of(order_id), order_id) for order_id in is_faulty(*faults)]


_gives_up("stalled-connect", "before the connection is made", [("stalled-connect", ORDINARY)], "not-sent", "unknown")
_gives_up("stalled-handshake", "in the TLS handshake", [("stalled-handshake", ORDINARY)], "not-sent", "unknown")
_gives_up("stalled-header", "in the status line or the headers", _in("stall-status", "stall-header"), "unknown")
_gives_up("stalled-body", "in the body or between chunks", _in("stall-body", "stall-chunk"), "unknown")
