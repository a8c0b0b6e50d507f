"""Nonces rise, for each key by itself, and only for requests that are really the key's.

No nonce is ever sent ahead of the clock to a target that is not disposable: it could lock the key. Where a check
needs a later nonce than another, it draws both first and sends them in its own order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from tn_contract.contract.signing import Value, sign
from tn_contract.contract.wire import (
    COMMAND_PATH_V3,
    FORM_TYPE,
    JSON_TYPE,
    PUBLIC_KEY_HEADER,
    Request,
    SignedRequest,
    compose,
    compose_v3,
    dress,
    encode_json,
    replace,
    with_header,
    with_signature,
)
from tn_contract.judge.server.copies import outside_the_body
from tn_contract.judge.server.registry import (
    accepts,
    all_pass,
    check,
    judge_refusal,
    on_both_commands,
    refuses,
)
from tn_contract.judge.server.spoils import (
    FALSE_LIKE,
    HARMFUL_INTEGERS,
    NO_INTEGERS,
    NOBODY,
    OTHER_INTEGERS,
    RARE_NO_INTEGERS,
    SOFT_INTEGERS,
)
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe, Spoil
from tn_contract.judge.verdicts import Blocked, Finding, NotApplicable, failed, noticed, passed

USED_ONCE, INCREASES = "nonce-used-once", "nonce-increases"
NONCE_NAMES = ("nonce", "params[nonce]", "timestamp", "ts")


def _accepted_first(probe: Probe, request: Request) -> None:
    observed = probe.send(request)
    if not observed.understood:
        raise Blocked(f"the request that goes before was not accepted: {observed.told}")


def _command_for_acceptance(probe: Probe, command: str) -> str:
    """An accepted cancel spends an order: where orders are scarce, the accepted request is a session's."""
    return command if probe.target.free_orders else SESSION


def _then_control(probe: Probe, command: str, finding: Finding) -> Finding:
    if finding.verdict == "pass":
        probe.control(command)
    return finding


@check("nonce/recovers-after-stale", "accepts a fresh nonce after a stale one", clause="session-opens")
def recovers_after_stale(probe: Probe) -> Finding:
    """Send a request, its replay, and a valid one with a fresh nonce."""
    first = probe.compose(SESSION).request
    _accepted_first(probe, first)
    probe.send(first)
    return accepts("a valid request after a replay", probe.send(probe.compose(SESSION).request))


@on_both_commands("nonce/refuses-replay", "refuses the same request a second time", clause=USED_ONCE)
def refuses_replay(probe: Probe, command: str) -> Finding:
    """Send an accepted request again, byte for byte: at once, after another one, after refusals, from elsewhere."""
    wanted = command
    command = _command_for_acceptance(probe, command)
    first = probe.compose(command).request
    _accepted_first(probe, first)
    finding = judge_refusal("a replayed request", probe.send(first))
    if finding.verdict != "pass":
        return finding
    probe.control(command)
    finding = judge_refusal("a request replayed after another one", probe.send(first))
    if finding.verdict == "pass":
        finding = judge_refusal("a request replayed from elsewhere, with other headers", probe.send(_elsewhere(first)))
    if finding.verdict == "pass" and wanted == SESSION:  # once is enough: who forgets a nonce forgets it for both
        finding = all_pass(_replays_after_refusals(probe, first))
    return _then_control(probe, command, finding)


def _elsewhere(request: Request) -> Request:
    """Look like another browser in another place."""
    headers = tuple(pair for pair in request.headers if pair[0] != "Content-Type")
    other = {"Content-Type": f"{FORM_TYPE}; charset=UTF-8", "User-Agent": "tn-contract-elsewhere"}
    other |= {"Origin": "https://elsewhere.example", "Referer": "https://elsewhere.example/"}
    other |= {"Accept": "application/json, */*;q=0.1", "Accept-Language": "ru", "Cookie": "tn_contract=elsewhere"}
    other |= {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
    return replace(request, headers=(*headers, *other.items()), query="v=2")


def _replays_after_refusals(probe: Probe, first: Request) -> Iterator[Finding]:
    def session(**changed: str) -> Request:
        fields: dict[str, Value] = {**probe.compose(SESSION).fields, **changed}
        return dress(SESSION, fields, sign(fields, probe.credentials.secret).signature)

    def cancel_of_none() -> Request:
        return compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": "abc"}).request

    refused: dict[str, Callable[[], Request]] = {
        "an unknown command": lambda: session(cmd="tnContractNoSuchCommand"),
        "a cancel of no order": cancel_of_none,
        "a malformed nonce": lambda: session(nonce="abc"),
        "an unknown key": lambda: session(apiKey="tn-contract-nobodys-key"),
        "a bad signature": lambda: with_signature(session(), "0" * 64),
        "no signature": lambda: with_signature(session(), None),
        "a GET": lambda: replace(session(), method="GET"),
        "an OPTIONS": lambda: replace(session(), method="OPTIONS"),
        "JSON": lambda: with_header(replace(session(), body=b"{}"), "Content-Type", JSON_TYPE),
        "no body": lambda: replace(session(), body=b""),
        "an unknown address": lambda: replace(session(), path="/tn-contract-no-such-address"),
        "a request of v3": lambda: compose_v3(probe.credentials, SESSION, int(time.time())).request,
        "a badly signed request of v3": lambda: with_signature(
            compose_v3(probe.credentials, SESSION, int(time.time())).request, "0" * 64
        ),
        "a session": session,
    }
    rare = () if probe.target.disposable else tuple(refused)[5:]  # their budget ends
    for what, request in refused.items():
        if what in rare:
            continue
        probe.send(request())
        yield judge_refusal(f"a request replayed after {what}", probe.send(first))
    with suppress(NotApplicable):
        other = probe.other()
        other.send(other.compose(SESSION).request)
        yield judge_refusal("a request replayed after one of another key", probe.send(first))


@on_both_commands("nonce/refuses-lower", "refuses a nonce lower than the last one", clause=INCREASES)
def refuses_lower(probe: Probe, command: str) -> Finding:
    """After a request was accepted, send lower nonces, each freshly signed: an unused earlier one, one less, and 1."""
    earlier, last = _accepted_last(probe, command)
    lower = {"an unused earlier one": earlier, "one less": last - 1, "1": 1}
    return _then_control(probe, command, all_pass(_refusals_of(probe, command, lower)))


@on_both_commands("nonce/compares-whole-numbers", "refuses lower nonces that only look greater", clause="nonce-exact")
def compares_whole_numbers(probe: Probe, command: str) -> Finding:
    """Where an unused earlier nonce is refused, send lower ones that look greater: as text, in their last digits."""
    earlier, last = _accepted_last(probe, command)
    rule = all_pass(_refusals_of(probe, command, {"an unused earlier one": earlier}))
    if rule.verdict != "pass":
        raise NotApplicable(f"lower nonces are accepted, so they are not compared: {rule.actual}")
    # All of them are lower than the clock's next ones, so no key is locked.
    lower = {
        "greater in its last 32 bits": last - 2**32 + 100,
        "greater in its last 12 digits": last - 10**12 + 100,
        "greater as text": last // 10 + 1,
        "one less": last - 1,
        "1": 1,
        "0": 0,
    }
    return _then_control(probe, command, all_pass(_refusals_of(probe, command, lower)))


def _accepted_last(probe: Probe, command: str) -> tuple[int, int]:
    """Draw two nonces, and have the second accepted."""
    earlier, last = probe.nonces.next(), probe.nonces.next()
    _accepted_first(probe, probe.compose(_command_for_acceptance(probe, command), last).request)
    return earlier, last


def _refusals_of(probe: Probe, command: str, nonces: Mapping[str, int]) -> Iterator[Finding]:
    for what, nonce in nonces.items():
        yield judge_refusal(f"a lower nonce ({what})", probe.send(probe.compose(command, nonce).request))


@check(
    "nonce/refuses-equal-of-other-command",
    "refuses a nonce that another command used",
    clause=USED_ONCE,
    effect="attempt",
    requires=(),
)
def refuses_equal_of_other_command(probe: Probe) -> Finding:
    """Open a session, then cancel with the same nonce and a signature of its own (as the browser sample does)."""
    nonce = probe.nonces.next()
    _accepted_first(probe, probe.compose(SESSION, nonce).request)
    observed = probe.send(probe.compose(CANCEL, nonce).request)
    return _then_control(probe, CANCEL, judge_refusal("the nonce of the session request", observed))


@on_both_commands(
    "nonce/refuses-replay-beside-fresh", "refuses a replay with a fresh nonce beside it", clause="signed-value-is-used"
)
def refuses_replay_beside_fresh(probe: Probe, command: str) -> Finding:
    """Send an accepted request again with a second nonce that nobody signed: before its own, after it, in the URL."""
    command = _command_for_acceptance(probe, command)
    first = probe.compose(command).request
    _accepted_first(probe, first)

    def fresh() -> bytes:
        return f"nonce={probe.nonces.next()}".encode()

    replays: dict[str, Callable[[], Request]] = {
        "after its own": lambda: replace(first, body=first.body + b"&" + fresh()),
        "before its own": lambda: replace(first, body=fresh() + b"&" + first.body),
    }
    finding = all_pass(
        judge_refusal(f"a replay with a fresh nonce {where}", probe.send(replay()), probe)
        for where, replay in replays.items()
    )
    # At some of these addresses there may be a page, or nothing.
    names = NONCE_NAMES if probe.target.disposable else NONCE_NAMES[:1]  # elsewhere no timestamp is ahead of the clock
    for where in outside_the_body(names, "") if finding.verdict == "pass" else ():
        place = outside_the_body(names, str(probe.nonces.next()))[where]
        observed = probe.send(place(first))
        if observed.carried_out:
            return failed(f"a refusal of: a replay with a fresh nonce {where}", observed.told)
    return _then_control(probe, command, finding)


@on_both_commands("nonce/refuses-missing", "refuses a request without a nonce", clause="nonce-required")
def refuses_missing(probe: Probe, command: str) -> Finding:
    """Leave the nonce out, or leave it empty; the signature is right for what is sent."""

    def signed(fields: dict[str, Value]) -> Request:
        return dress(command, fields, sign(fields, probe.credentials.secret).signature)

    def absent(_probe: Probe, valid: SignedRequest) -> Request:
        return signed({name: value for name, value in valid.fields.items() if name != "nonce"})

    def empty(_probe: Probe, valid: SignedRequest) -> Request:
        return signed({**valid.fields, "nonce": ""})

    return refuses(probe, command, {"no nonce": absent, "an empty nonce": empty})


@on_both_commands("nonce/refuses-malformed", "refuses a nonce that is no plain integer", clause="nonce-is-integer")
def refuses_malformed(probe: Probe, command: str) -> Finding:
    """Send fresh nonces in other writings, each with a right signature."""
    writings = NO_INTEGERS | OTHER_INTEGERS | {"letters": "abc{}", "NaN": "NaN"}
    if probe.target.disposable:
        # Some read them as what no clock ever reaches; and the rare ones would not fit into the budget of others.
        writings |= RARE_NO_INTEGERS | HARMFUL_INTEGERS

    def written(write: Callable[[int], str]) -> Spoil:
        return lambda inner, _valid: inner.compose(command, write(inner.nonces.next())).request

    def with_exponent(inner: Probe, _valid: SignedRequest) -> Request:
        digits = str(inner.nonces.next())
        return inner.compose(command, f"{digits[0]}.{digits[1:]}e{len(digits) - 1}").request

    variants: dict[str, Spoil] = {
        f"{what} ({pattern[:20]!r})": written(pattern.format) for what, pattern in writings.items()
    }
    variants["an exponent"] = with_exponent
    false_like = FALSE_LIKE if probe.target.disposable else FALSE_LIKE[:2]
    variants |= {f"the text {text!r}": written(lambda _nonce, text=text: text) for text in false_like}  # type: ignore[misc]

    def inside(wrap: Callable[[str], Value]) -> Spoil:
        def spoil(inner: Probe, valid: SignedRequest) -> Request:
            fields = {**valid.fields, "nonce": wrap(str(inner.nonces.next()))}
            return dress(command, fields, sign(fields, inner.credentials.secret).signature)

        return spoil

    variants |= {"a list": inside(lambda nonce: [nonce]), "a map": inside(lambda nonce: {"nonce": nonce})}
    return refuses(probe, command, variants, {what: written(write) for what, write in SOFT_INTEGERS.items()})


@check("nonce/accepts-jump", "accepts a nonce that jumps", clause="nonce-may-jump")
def accepts_jump(probe: Probe) -> Finding:
    """Let a tenth of a second pass, a million ticks of the documented unit, between two requests."""
    _accepted_first(probe, probe.compose(SESSION).request)
    time.sleep(0.12)
    return accepts(
        "a nonce more than a million greater", probe.send(probe.compose(SESSION, probe.nonces.skip(1_100_000)).request)
    )


@check("nonce/accepts-full-range", "accepts nonces of every magnitude in use", clause="nonce-exact")
def accepts_full_range(probe: Probe) -> Finding:
    """On a key of its own, send rising nonces from 1 over today's units up to 2^63-1."""
    if not probe.target.is_kit_mock:
        raise NotApplicable("it would lock the key: the target hands out no disposable keys")
    nonces = (1, 9, 10, 1_800_000_000_000, 18_000_000_000_000, 18_000_000_000_000_000, 2**63 - 2, 2**63 - 1)
    return all_pass(
        accepts(f"the nonce {nonce}", probe.send(probe.compose(SESSION, nonce).request)) for nonce in nonces
    )


@check("nonce/compares-exactly", "tells neighbouring nonces apart", clause="nonce-exact")
def compares_exactly(probe: Probe) -> Finding:
    """Send n, n+1, n+2, n+3 above 2^53, where floating-point numbers skip integers."""
    probe.control(SESSION)
    first = probe.nonces.next()
    time.sleep(0.001)  # so that all four are behind the clock
    return all_pass(
        accepts(f"{nonce} after {nonce - 1}", probe.send(probe.compose(SESSION, nonce).request))
        for nonce in range(first, first + 4)
    )


@check("nonce/is-per-key", "keeps each key's nonces apart", clause="nonce-per-key")
def is_per_key(probe: Probe) -> Finding:
    """Let one key send a nonce, then another key a lower one, both ways round; then let both send the same."""
    other = probe.other()
    low, high = other.nonces.next(), probe.nonces.next()
    lowest, highest = sorted((low, high))
    for first, second in ((probe, other), (other, probe)):
        _accepted_first(probe, first.compose(SESSION, highest).request)
        finding = accepts("a nonce lower than another key's", second.send(second.compose(SESSION, lowest).request))
        if finding.verdict != "pass":
            return finding
        lowest, highest = sorted((other.nonces.next(), probe.nonces.next()))
    _accepted_first(probe, probe.compose(SESSION, highest).request)
    return accepts("the very nonce of another key", other.send(other.compose(SESSION, highest).request))


@on_both_commands(
    "nonce/not-burned-by-bad-signature", "keeps the nonce of a request with a bad signature", clause="nonce-not-burned"
)
def not_burned_by_bad_signature(probe: Probe, command: str) -> Finding:
    """Send a later nonce in requests that nobody signed: as forms, JSON, by GET, over v3, for another key; then an
    earlier one properly."""
    probe.control(SESSION)
    another = NOBODY
    with suppress(NotApplicable):
        another = probe.other().credentials.secret
    forgeries: dict[str, Callable[[SignedRequest], Request]] = {
        "64 zeros": lambda valid: with_signature(valid.request, "0" * 64),
        "an empty signature": lambda valid: with_signature(valid.request, ""),
        "no signature": lambda valid: with_signature(valid.request, None),
        "no signature, by GET": lambda valid: replace(
            with_signature(valid.request, None), method="GET", query=valid.request.body.decode(), body=b""
        ),
        "no signature, as JSON": lambda valid: with_header(
            with_signature(replace(valid.request, body=encode_json(valid.fields)), None), "Content-Type", JSON_TYPE
        ),
        "no signature, as text": lambda valid: with_header(
            with_signature(valid.request, None), "Content-Type", "text/plain"
        ),
        "no signature, at an address of v3": lambda valid: replace(
            with_signature(valid.request, None), path=COMMAND_PATH_V3 + command
        ),
        "64 zeros, and the key in a header": lambda valid: with_header(
            with_signature(valid.request, "0" * 64), PUBLIC_KEY_HEADER, probe.credentials.api_key
        ),
        "64 zeros on an unknown command": lambda valid: dress(
            "tnContractNoSuchCommand", {**valid.fields, "cmd": "tnContractNoSuchCommand"}, "0" * 64
        ),
        "64 zeros, the nonce in the query string as well": lambda valid: replace(
            with_signature(valid.request, "0" * 64), query=f"nonce={valid.fields['nonce']}"
        ),
        "the signature of another secret": lambda valid: with_signature(
            valid.request, sign(valid.fields, another).signature
        ),
    }
    for what, forge in forgeries.items():
        earlier, later = probe.nonces.next(), probe.nonces.next()
        probe.send(forge(probe.compose(command, later)))
        finding = accepts(
            f"an earlier nonce, signed properly, after a later one with {what}",
            probe.send(probe.compose(SESSION, earlier).request),
        )
        if finding.verdict != "pass":
            return finding
    return finding


@check("nonce/accepted-once-in-a-race", "accepts one of several equal requests that race", clause="nonce-accepted-once")
def accepted_once(probe: Probe) -> Finding:
    """Send the same request several times at once, several times over: exactly one of each is accepted."""
    rounds, runners = (10, 6) if probe.target.disposable else (2, 2)
    return _race(probe, SESSION, rounds, runners)


@check(
    "nonce/accepted-once-in-a-race-on-cancel",
    "accepts one of several equal cancels that race",
    clause="nonce-accepted-once",
    effect="cancel",
)
def accepted_once_on_cancel(probe: Probe) -> Finding:
    """Send the same cancel several times at once, several times over: exactly one of each is accepted."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend several orders")
    return _race(probe, CANCEL, 10, 6)


def _race(probe: Probe, command: str, rounds: int, runners: int) -> Finding:
    expected = "exactly one of each accepted, the others refused"
    probe.control(command)
    for turn in range(1, rounds + 1):
        first = probe.compose(command)
        requests = [first.request] * runners
        if command == CANCEL and turn % 2:  # the same nonce, but orders and signatures of their own
            requests = [probe.compose(command, str(first.fields["nonce"])).request for _ in requests]
        observed: list[Observation] = probe.race(requests)
        accepted = sum(each.understood for each in observed)
        refused = sum(each.denied for each in observed)
        if accepted != 1 or refused != runners - 1:
            told = f"round {turn}: {accepted} accepted and {refused} refused of {runners}; {observed[0].told}"
            return Finding("fail", expected, told)
    return passed(expected, f"{rounds} rounds of {runners} requests")


@check("nonce/of-failed-command", "whether a failed command uses up its nonce", clause="nonce-of-failed-command")
def of_failed_command(probe: Probe) -> Finding:
    """Draw two nonces, send the later one with an unknown command, then the earlier one with a valid one."""
    earlier, later = probe.nonces.next(), probe.nonces.next()
    probe.send(compose(probe.credentials, "tnContractNoSuchCommand", later).request)
    observed = probe.send(probe.compose(SESSION, earlier).request)
    return noticed(f"a failed command {'leaves' if observed.understood else 'uses up'} its nonce: {observed.told}")
