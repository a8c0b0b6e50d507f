"""Check, verdict, and the judge that runs checks in an order in which their controls come first."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from tn_contract.contract.corpus import Scheme, load_corpus
from tn_contract.contract.errors import TargetError, TnContractError, UsageError
from tn_contract.contract.wire import FAILURE_KEYS, Request, SignedRequest, with_signature
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe, Spoil, Target
from tn_contract.judge.verdicts import (
    BaseCheck,
    Blocked,
    Effect,
    Finding,
    NotApplicable,
    Result,
    Verdict,
    failed,
    passed,
    weigh,
)
from tn_contract.record.journal import Deferred, Exchange


@dataclass(frozen=True, slots=True)
class Check(BaseCheck):
    """Code that judges one clause against a server.

    `requires` are ids of controls that must pass first.
    """

    requires: tuple[str, ...] = ()

    @property
    def scheme(self) -> Scheme:
        """The generation of the protocol that it speaks."""
        return "v3" if self.group == "v3" else "v2"


REGISTRY: dict[str, Check] = {}

_ID = re.compile(r"[a-z][a-z0-9]*/[a-z0-9]+(-[a-z0-9]+)*")
OPENS, CANCELS = "control/opens-session", "control/accepts-cancel"
# What shows that a generation of the protocol works at all: a session, a cancel.
CONTROLS: dict[Scheme, tuple[str, str]] = {
    "v2": (OPENS, CANCELS),
    "v3": ("v3/opens-session", "v3/accepts-cancel"),
}

Run: TypeAlias = Callable[[Probe], Finding]


def check(
    id: str,  # noqa: A002 # the field's own word
    title: str,
    *,
    clause: str,
    effect: Effect = "none",
    requires: tuple[str, ...] | None = None,
) -> Callable[[Run], Run]:
    """Declare a check. By default it requires that the session (or the cancel, if it spends one) works at all."""

    def register(run: Run) -> Run:
        if not _ID.fullmatch(id) or id in REGISTRY:
            raise UsageError(f"the check id {id!r} is malformed or taken")
        declared = Check(id, title, clause, run, effect, requires or ())
        opens, cancels = CONTROLS[declared.scheme]
        needed = requires if requires is not None else (cancels if effect == "cancel" else opens,)
        REGISTRY[id] = replace(declared, requires=needed)
        return run

    return register


# ---- findings ----------------------------------------------------------------------------------------------


def refuses(
    probe: Probe, command: str, variants: Mapping[str, Spoil], soft: Mapping[str, Spoil] = MappingProxyType({})
) -> Finding:
    """Judge that the target refuses each variant of a request that differs in one thing from an accepted one.

    A valid request is accepted before and after, so that the refusal has no other reason. `soft` are variants that are
    loose but plain: whoever accepts those is warned, not failed.
    """
    probe.control(command)
    seen: list[str] = []
    for what, spoil in {**variants, **soft}.items():
        observed = probe.send(spoil(probe, probe.compose(command)))
        finding = judge_refusal(what, observed, probe)
        if finding.verdict != "pass":
            return replace(finding, verdict="warn") if what in soft else finding
        seen.append(f"{what}: {observed.told}")
    try:
        probe.control(command)
    except Blocked as blocked:
        raise Blocked(
            f"after the refusal a valid request is refused too, so it proves nothing ({blocked})"
        ) from blocked
    return passed(f"refused: {', '.join((*variants, *soft))}", "; ".join(seen))


def carries_out_none(probe: Probe, command: str, variants: Mapping[str, Spoil]) -> Finding:
    """Judge that the target carries out no variant; a page, a redirect or silence is as good as a refusal.

    A valid request is accepted before and after, as in `refuses`.
    """
    probe.control(command)
    for what, spoil in variants.items():
        observed = probe.send(spoil(probe, probe.compose(command)))
        if not _limits_the_rate(probe, observed) and observed.carried_out:
            return failed(f"not carried out: {what}", observed.told)
    probe.control(command)
    return passed(f"not carried out: {', '.join(variants)}", f"{len(variants)} requests")


def refuses_after_a_right_one(probe: Probe, what: str, wrong: Callable[[SignedRequest], Request]) -> Finding:
    """Judge that a wrong request (made after the right one is known) is refused on a connection that carried that."""
    right = probe.compose(SESSION)
    if not probe.send(right.request, keep=True).understood:
        raise Blocked(f"a valid {SESSION} on a connection that is kept was not accepted")
    observed = probe.send(wrong(right))
    what = f"{what} on a connection that has carried a right request"
    if observed.reply is None:
        return passed(f"a refusal of: {what}", "the connection was not kept")
    return judge_refusal(what, observed, probe)


def refuses_forgery_after_a_right_one(probe: Probe, command: str) -> Finding:
    """Judge that a bad signature is refused on the connection that has just carried a right one."""
    return refuses_after_a_right_one(
        probe, "a bad signature", lambda _right: with_signature(probe.compose(command).request, "0" * 64)
    )


def _limits_the_rate(probe: Probe, observed: Observation) -> bool:
    """Whether a reply is HTTP 429 although a valid session is accepted: that is how the target refuses.

    Raises `Blocked` when valid requests are limited as well, for then it says nothing.
    """
    if observed.rate_limited:
        probe.control(SESSION)
    return observed.rate_limited


def judge_refusal(what: str, observed: Observation, probe: Probe | None = None) -> Finding:
    """Judge that one reply refuses. Raises `Blocked` for a rate limit; a `probe` finds out if it is one."""
    expected = f"a refusal of: {what}"
    if observed.rate_limited and (probe is None or not _limits_the_rate(probe, observed)):
        raise Blocked(f"the target limits the rate: {observed.told}")
    return passed(expected, observed.told) if observed.denied else failed(expected, observed.told)


def accepts(what: str, observed: Observation) -> Finding:
    """Judge that one reply accepts."""
    if observed.rate_limited:
        raise Blocked(f"the target limits the rate: {observed.told}")
    expected = f"accepted: {what}"
    return passed(expected, observed.told) if observed.understood else failed(expected, observed.told)


def accepts_order(order_id: int, observed: Observation) -> Finding:
    """Judge that one reply accepts the cancel of an order and echoes it; an integer result (attested) will do."""
    finding = accepts(f"order {order_id}", observed)
    reading = observed.reading
    attested = "order_id" not in reading.members and reading.result is not None
    if finding.verdict == "pass" and reading.order_id != order_id and not attested:
        return failed(f"order_id {order_id} comes back", observed.told)
    return finding


def keeps_or_refuses(order_id: int, observed: Observation) -> Finding:
    """Judge that one reply refuses the cancel of an order, or names no other."""
    kept = observed.understood and observed.reading.order_id in (order_id, None)
    expected = f"refused, or the same order_id comes back: {order_id}"
    return passed(expected, observed.told) if kept or observed.denied else failed(expected, observed.told)


def asks_for_an_order(probe: Probe, finding: Finding, observed: Observation) -> Finding:
    """Where the documented order is refused, and not for its signature, say how to name another one."""
    if finding.verdict == "pass" or not observed.denied or probe.target.order_ids or not probe.target.free_orders:
        return finding
    forged = probe.send(with_signature(probe.compose(CANCEL).request, "0" * 64))
    if not forged.denied or forged.outcome == observed.outcome:
        return finding
    hint = "not for its signature: if this server knows real orders, name an open one with --order-id"
    return replace(finding, actual=f"{finding.actual}; {hint}")


def gives_away(valid: SignedRequest, observed: Observation) -> bool:
    """Whether a reply tells the secret, or the right signature of a request, in hex or in base64."""
    reply = observed.reply
    text = "" if reply is None else repr((reply.headers, reply.body.decode("utf-8", "backslashreplace")))
    in_base64 = base64.b64encode(bytes.fromhex(valid.signature)).decode().rstrip("=").replace("/", "_")
    return (
        observed.tells_secret
        or valid.signature in text.lower()
        or in_base64 in text.replace("\\", "").replace("/", "_")
    )


def refusals(probe: Probe, provoke: Callable[[Probe], Mapping[str, Request]]) -> dict[str, Observation]:
    """Provoke refusals of many kinds, once for each generation of the protocol; what is accepted is left out."""
    known = probe.target.refusals
    if probe.scheme in known:
        probe.records.extend(known[probe.scheme][1])
    else:
        probe.control(SESSION)
        answers = {what: probe.send(request) for what, request in provoke(probe).items()}
        for observed in answers.values():
            _limits_the_rate(probe, observed)
        refused = {what: observed for what, observed in answers.items() if not observed.succeeded}
        known[probe.scheme] = refused, list(probe.records)
    return known[probe.scheme][0]


def replies(probe: Probe, provoke: Callable[[Probe], Mapping[str, Request]]) -> dict[str, Observation]:
    """Replies of every kind: those refusals, and accepted requests, a cancel only where orders are free."""
    seen = dict(refusals(probe, provoke))
    for command in (SESSION, CANCEL) if probe.target.free_orders else (SESSION,):
        seen[f"a valid {command}"] = probe.send(probe.compose(command).request)
    return seen


# The only refusal here that the page shows: "Unsupported query method".
_DOCUMENTED = ("a GET",)


def names_failures(seen: Mapping[str, Observation]) -> Finding:
    """Judge that each refusal is a JSON object with a text; a page with HTTP 4xx is loose, for the page shows none."""

    def named(observed: Observation) -> bool:
        texts = [observed.reading.members[key] for key in observed.reading.failure_keys]
        return observed.refused and all(isinstance(text, str) for text in texts)

    expected = f"a JSON object with a text in {', '.join(FAILURE_KEYS)}"
    return _all_of(seen, expected, named, lambda observed: observed.denied and not observed.refused)


def gives_codes(seen: Mapping[str, Observation]) -> Finding:
    """Judge that each refusal has an integer code; what the page shows no refusal of is loose without one."""
    return _all_of(
        seen,
        "an integer code",
        lambda observed: type(observed.reading.members.get("code")) is int,
        lambda _observed: True,
    )


def _all_of(
    seen: Mapping[str, Observation],
    expected: str,
    right: Callable[[Observation], bool],
    loose: Callable[[Observation], bool],
) -> Finding:
    if not seen:
        raise Blocked("the target refuses nothing")
    finding = passed(expected, f"for {', '.join(seen)}")
    for what, observed in seen.items():
        if not right(observed):
            finding = failed(f"{expected}: {what}", observed.told)
            if what in _DOCUMENTED or not loose(observed):
                return finding
    return replace(finding, verdict="warn") if finding.verdict == "fail" else finding


def keeps_secret(seen: Mapping[str, Observation]) -> Finding:
    """Judge that no reply tells the secret."""
    for what, observed in seen.items():
        if observed.tells_secret:
            return failed("no secret in the reply", f"the reply to {what} tells it")
    return passed("no secret in the reply", f"no reply tells it: {', '.join(seen)}")


def all_pass(findings: Iterable[Finding]) -> Finding:
    """Return the first finding that is no pass, else the last one. Given a generator, it sends nothing after a flaw."""
    finding = passed("", "")
    for finding in findings:
        if finding.verdict != "pass":
            break
    return finding


def on_both_commands(
    slug: str, title: str, *, clause: str, twin_requires: tuple[str, ...] = ()
) -> Callable[[Callable[[Probe, str], Finding]], Callable[[Probe, str], Finding]]:
    """Declare a check of effect `none` on getAuthInfo, and its twin on delTradeOrder of effect `attempt`.

    A server may guard one command and forget the other.
    """

    def register(run: Callable[[Probe, str], Finding]) -> Callable[[Probe, str], Finding]:
        def on_session(probe: Probe) -> Finding:
            return run(probe, SESSION)

        def on_cancel(probe: Probe) -> Finding:
            return run(probe, CANCEL)

        on_session.__doc__ = on_cancel.__doc__ = run.__doc__
        check(slug, title, clause=clause)(on_session)
        # No accepted cancel required: the twin brings its own control, and its effect is less than a real cancel's.
        twin = check(
            f"{slug}-on-cancel", f"{title}, on a cancel", clause=clause, effect="attempt", requires=twin_requires
        )
        twin(on_cancel)
        return run

    return register


# ---- the judge ---------------------------------------------------------------------------------------------


class Judge:
    """Runs checks against one target; each check at most once, its controls before it."""

    def __init__(self, target: Target, checks: Mapping[str, Check]) -> None:
        self.target = target
        self._checks = checks
        self._clauses = load_corpus().clauses
        self._results: dict[str, Result] = {}

    def judge(self, check_id: str) -> Result:
        """Return the check's result, running what has not run yet."""
        if check_id not in self._results:
            self._results[check_id] = self._run(self._checks[check_id])
        return self._results[check_id]

    def _run(self, check: Check) -> Result:
        if not self.target.allows(check.effect):
            reason = f"effect {check.effect} is not allowed on this target: --effects {check.effect} allows it"
            return Result(check, Finding("skipped", "", reason), (), 0.0)
        if check.effect == "attempt" and not (self.target.disposable or self.target.order_ids):
            reason = "it names an order that the target must not cancel: name an open one with --order-id"
            return Result(check, Finding("skipped", "", reason), (), 0.0)
        if self.target.exhausted:
            return Result(check, Finding("skipped", "", "the request budget is used up"), (), 0.0)
        for control in check.requires:
            finding = self.judge(control).finding
            if finding.verdict == "skipped":
                return Result(check, Finding("skipped", "", f"{control} was skipped: {finding.actual}"), (), 0.0)
            if finding.verdict != "pass":
                return Result(check, Finding("blocked", f"{control} passes", f"{control}: {finding.verdict}"), (), 0.0)
        started = time.perf_counter()
        exchanges: Sequence[Exchange] = ()
        try:
            with self.target.probe(check.scheme) as probe:
                try:
                    finding = check.run(probe)
                except Blocked as blocked:
                    verdict: Verdict = "error" if check.id in CONTROLS[check.scheme] else "blocked"
                    finding = Finding(verdict, "a control that holds", str(blocked))
                except NotApplicable as reason:
                    finding = Finding("skipped", "", str(reason))
                finally:
                    exchanges = Deferred(probe.records)
        except TargetError as error:
            finding = Finding("error", "a target that can be judged", str(error))
        except TnContractError as error:
            finding = Finding("error", "a kit that works", str(error))
        return Result(check, self._weigh(check, finding), exchanges, time.perf_counter() - started)

    def _weigh(self, check: Check, finding: Finding) -> Finding:
        """Turn a broken clause into the verdict that its level and provenance deserve on this target."""
        if finding.verdict != "fail":
            return finding
        if check.id in CONTROLS[check.scheme]:
            # Wrong keys and a broken server look alike from here.
            return replace(finding, verdict="error")
        clause = self._clauses[check.clause]
        if clause.level != "observed" and clause.provenance in ("attested", "synthetic") and not self.target.disposable:
            # Our own rule binds our mock and whoever copies it, never the broker.
            return replace(
                finding, verdict="info", expected=f"({clause.provenance}, so no more than noted) {finding.expected}"
            )
        return weigh(finding, clause)

    def close(self) -> None:
        """Close the target."""
        self.target.close()
