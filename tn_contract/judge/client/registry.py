"""Check and judge of clients: each check reads the evidence, none sends anything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.judge.client.needs import Need, given, require
from tn_contract.judge.verdicts import BaseCheck, Blocked, Finding, NotApplicable, Result, failed, passed, weigh
from tn_contract.record.evidence import Evidence, Sent
from tn_contract.record.journal import Exchange

SHOWN = 20


@dataclass(frozen=True, slots=True)
class ClientCheck(BaseCheck):
    """Code that judges one clause against a client; `cases` are the ids of those that give the evidence.

    `needs` must be met in them before it may pass.
    """

    cases: tuple[str, ...] = ()
    needs: Need = given


Run: TypeAlias = Callable[[Evidence], Finding]

REGISTRY: dict[str, ClientCheck] = {}
_ID = re.compile(r"[a-z]+/[a-z0-9]+(-[a-z0-9]+)*")


def client_check(
    id: str,  # noqa: A002 # the field's own word
    title: str,
    *,
    clause: str,
    cases: Iterable[str] = ("plain",),
    needs: Need = given,
) -> Callable[[Run], Run]:
    """Declare a check of clients. It passes only where `needs` is met in its cases: see `needs.py`."""

    def register(run: Run) -> Run:
        if not _ID.fullmatch(id) or id in REGISTRY:
            raise UsageError(f"the check id {id!r} is malformed or taken")
        REGISTRY[id] = ClientCheck(id, title, clause, run, cases=tuple(cases), needs=needs)
        return run

    return register


# ---- findings ----------------------------------------------------------------------------------------------


class Seen(Exception):
    """Carries a finding together with the exchanges that show it."""

    def __init__(self, finding: Finding, *sent: Sent) -> None:
        super().__init__(finding.actual)
        self.finding = finding
        self.exchanges = tuple(each.exchange for each in sent)


def none_of(sent: list[Sent], expected: str, wrong: Callable[[Sent], str], *situations: str) -> Finding:
    """Judge that none of the requests is wrong; `wrong` says what is, or nothing. Raises `Seen` with the culprit.

    Its diagnosis is told too, if it was refused in one of the `situations`.
    """
    if not sent:
        raise NotApplicable("the client sent no request that this speaks of")
    for each in sent:
        complaint = wrong(each)
        if complaint:
            raise Seen(failed(expected, f"{complaint}: {each.told}{diagnosed(each, *situations)}"), each)
    return passed(expected, f"so in {len(sent)} requests")


def diagnosed(sent: Sent, *situations: str) -> str:
    """Say what the client did wrong and what to do about it, as the end of a sentence; "" when nothing is known.

    Only for a request that was refused in one of the `situations`: another mistake belongs to another check.
    """
    diagnosis = sent.exchange.diagnosis
    named = diagnosis and diagnosis.mistakes and sent.situation.startswith(situations)
    return f". {diagnosis.told} {diagnosis.fix}" if diagnosis and named else ""


# ---- the judge ---------------------------------------------------------------------------------------------


class ClientJudge:
    """Judges one client by its evidence."""

    def __init__(self, evidence: Evidence, checks: Mapping[str, ClientCheck]) -> None:
        self.evidence = evidence
        self._checks = checks
        self._clauses = load_corpus().clauses

    def judge(self, check_id: str) -> Result:
        """Return the result of one check."""
        check = self._checks[check_id]
        started = time.perf_counter()
        exchanges: tuple[Exchange, ...] = ()
        try:
            finding = check.run(self.evidence)
            if finding.verdict == "pass":
                require(self.evidence, check.cases, check.needs)
        except Seen as seen:
            finding, exchanges = seen.finding, seen.exchanges[:SHOWN]
        except Blocked as blocked:
            finding = Finding("blocked", "a request that reaches the reply in question", str(blocked))
            exchanges = tuple(sent.exchange for sent in self._refused(check)[:1])
        except NotApplicable as reason:
            finding = Finding("skipped", "", f"{reason}{self._crash(check)}")
        told = Finding(finding.verdict, _printable(finding.expected), _printable(finding.actual))
        return Result(check, weigh(told, self._clauses[check.clause]), exchanges, time.perf_counter() - started)

    def _refused(self, check: ClientCheck) -> list[Sent]:
        """Return the cancels of the check's cases that the mock refused."""
        cases = [case for case in self.evidence.cases if not case.id or case.id in check.cases]
        return [sent for case in cases for sent in case.sent if sent.is_cancel and not sent.accepted]

    def _crash(self, check: ClientCheck) -> str:
        """Say that the program crashed in one of the check's cases, which explains what did not come."""
        cases = [case for case in self.evidence.cases if not (case.id and check.cases) or case.id in check.cases]
        ended = [process.ended for case in cases for process in case.processes if process.ended]
        crashed = next((each for each in ended if each.how == "crashed"), None)
        return f" (the program crashed: {crashed.told})" if crashed else ""


def _printable(text: str) -> str:
    """Write out what no report can hold or show: findings quote clients, who may send half a pair, or an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
