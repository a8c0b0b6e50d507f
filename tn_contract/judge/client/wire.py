"""What a client sends: address, fields, signature, nonces, secrets. Judged on every request that the mock saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.message import Message
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.nonce import parse_nonce
from tn_contract.contract.wire import COMMAND_PATHS, FORM_TYPE, nest
from tn_contract.judge.client.cases import BEYOND_32_BITS, BEYOND_53_BITS, case_of, cases
from tn_contract.judge.client.clocks import (
    COARSE,
    HELD,
    SECONDS_LIKE,
    SET_BACK_BY,
    Clock,
    clock_of,
    counts_on,
    is_paced,
    readings,
    steady,
    untried,
)
from tn_contract.judge.client.needs import accepted, answers, followed, requested, restarted, trusted
from tn_contract.judge.client.registry import Seen, client_check, diagnosed, none_of
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed
from tn_contract.record.evidence import Case, Evidence, Process, Sent, rising

ADDRESSES = {scheme: f"{path}delTradeOrder" for scheme, path in COMMAND_PATHS.items()}
CONTENT_TYPES = {"v2": FORM_TYPE, "v3": "application/json"}
FIELDS = {"apiKey", "cmd", "nonce", "params"}
_NAMES = ("apiKey", "cmd", "nonce", "params[order_id]")
_PARAMETER = re.compile(r"params\[[^\[\]]+\]")
# Where nothing can be sent, reports/not-sent judges what is said of it.
UNREACHED = [spec.id for spec in cases().values() if spec.unreachable]
# Certificates that are not to be trusted, by their cases.
UNTRUSTED = {
    "untrusted": "cannot be verified",
    "self-signed": "is its own authority",
    "misnamed": "is another host's",
    "expired": "has expired",
}
# A timestamp that is off by more than this is no reading of a clock that is set.
TIMESTAMP_SLACK = 300


def _orders(outcome: str, **more: object) -> list[str]:
    corpus = load_corpus()
    return [
        order_id
        for order_id, order in corpus.magic_orders.items()
        if corpus.expected_report(order_id)[0] == outcome
        and all(getattr(order, name) == value for name, value in more.items())
    ]


ACCEPTED = _orders("accepted")
REJECTED = _orders("rejected")
LOST = [order_id for order_id in _orders("unknown") if load_corpus().magic_orders[order_id].loses_reply]
REDIRECTED = [load_corpus().replies[payload] for payload in ("http-302-success", "http-307")]
UNCLEAR = [order_id for order_id in _orders("unknown") if order_id not in LOST]


def _cancels(evidence: Evidence, scheme: str = "") -> list[Sent]:
    return [sent for sent in evidence.cancels if scheme in ("", sent.scheme) and not sent.follows_redirect]


# ---- sends -------------------------------------------------------------------------------------------------


@client_check("sends/post", "cancels by POST", clause="client-sends-post")
def sends_post(evidence: Evidence) -> Finding:
    """Look at the method of every cancel."""
    return none_of(_cancels(evidence), "POST", lambda sent: "" if sent.method == "POST" else f"sent by {sent.method}")


@client_check("sends/address", "cancels at the documented address, each time anew", clause="client-address")
def sends_to_the_address(evidence: Evidence) -> Finding:
    """Look at the path of every cancel."""
    expected = " or ".join(ADDRESSES.values())
    return none_of(
        _cancels(evidence), expected, lambda sent: "" if sent.path == ADDRESSES[sent.scheme] else "another address"
    )


@client_check("sends/content-type", "declares the body as what it is", clause="client-content-type")
def sends_content_type(evidence: Evidence) -> Finding:
    """Look at the Content-Type of every cancel; parameters such as a charset are free."""

    def wrong(sent: Sent) -> str:
        declared = Message()
        declared["content-type"] = sent.header("content-type") or "nothing"
        if sent.header("content-type") is None or declared.get_content_type() != CONTENT_TYPES[sent.scheme]:
            return f"Content-Type is {sent.header('content-type') or 'missing'}"
        charset = declared.get_content_charset("utf-8")
        return "" if _reads_ascii(charset) else f"the charset is {charset}, in which the body reads otherwise"

    return none_of(_cancels(evidence), f"{CONTENT_TYPES['v2']} (v3: {CONTENT_TYPES['v3']})", wrong)


def _reads_ascii(charset: str) -> bool:
    try:
        return b"apiKey=1&%".decode(charset) == "apiKey=1&%"
    except LookupError:
        return True  # then nothing is known of it
    except ValueError:
        return False


@client_check("sends/fields", "sends the four documented fields, each once", clause="client-fields")
def sends_fields(evidence: Evidence) -> Finding:
    """Look for apiKey, cmd, nonce and params[order_id] in the body of every v2 cancel."""

    def wrong(sent: Sent) -> str:
        return misshapen(sent, _NAMES)

    return none_of(_cancels(evidence, "v2"), "apiKey, cmd, nonce and params[order_id], each once", wrong)


def misshapen(sent: Sent, wanted: Iterable[str]) -> str:
    """Say which of the wanted fields is missing, comes more than once, or comes as something else; or nothing.

    By the names as they are written, for what a list or a map is taken for differs from server to server.
    """
    names = [name for name, _ in sent.fields]
    missing = [name for name in wanted if name not in names]
    odd = [name for name in names if _root(name) in FIELDS and name not in _NAMES and not _PARAMETER.fullmatch(name)]
    if missing or odd:
        told = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(map(repr, odd))}"] * bool(odd)
        return " and ".join(told)
    twice = [name for name, count in Counter(names).items() if count > 1]
    return f"{', '.join(twice)} more than once" if twice else ""


def _root(name: str) -> str:
    return name.partition("[")[0].strip()


@client_check("sends/nothing-else", "sends no other fields", clause="client-nothing-else")
def sends_nothing_else(evidence: Evidence) -> Finding:
    """Look for names that the page does not show, in the body and in the query, which may repeat the body."""

    def wrong(sent: Sent) -> str:
        extra = _undocumented(sent.members)
        # The key has a check of its own, under whichever name it stands there.
        asked = [(name, value) for name, value in sent.query_fields if value != sent.exchange.session]
        beside = _undocumented({name: value for name, value in nest(asked).items() if name != "order_id"})
        told = [", ".join(extra)] * bool(extra) + [f"{', '.join(beside)} in the query"] * bool(beside)
        return f"also {'; '.join(told)}" if told else ""

    return none_of(_cancels(evidence), "nothing but the documented fields", wrong)


def _undocumented(tree: Mapping[str, Any]) -> list[str]:
    params = tree.get("params")
    return sorted(set(tree) - FIELDS) + sorted(f"params[{name}]" for name in _keys(params) - {"order_id"})


def _keys(value: object) -> set[str]:
    return set(value) if isinstance(value, dict) else set()


@client_check(
    "sends/what-was-asked",
    "cancels the orders asked for, in that order",
    clause="client-cancels-what-was-asked",
    cases=(spec.id for spec in cases().values() if len(spec.processes) > 1),
    needs=requested,
)
def sends_what_was_asked(evidence: Evidence) -> Finding:
    """Compare the orders asked for, or in a live session those reported, with the requests, repetitions aside.

    In other cases a program may end before its last order, but what it cancels keeps the order, and of what it never
    sent it reports nothing settled.
    """
    live = evidence.case("")
    if live and any(process.reports for process in live.processes):
        return _reported_orders_were_sent(live)
    restart = _case(evidence, "restart")
    for case in evidence.cases:
        settled: set[tuple[str, str]] = set()
        for process in case.processes if case.id not in ("plain", "neighbour") else ():  # long ids have their checks
            wanted = list(dict.fromkeys(process.order_ids))
            named = list(dict.fromkeys(sent.order_id for sent in process.cancels() if not sent.follows_redirect))
            if named != (wanted if case is restart else [each for each in wanted if each in named]):
                told = f"cancels of {_listed(named)}"
                raise Seen(failed(f"cancels of {', '.join(wanted)}", f"{told}, in case {case.id}"), *process.sent)
            if case.id in UNREACHED:
                continue
            # What an earlier process settled may be remembered: it was sent then.
            said = {
                (each.order_id, each.outcome) for each in process.reports if each.outcome in ("accepted", "rejected")
            }
            for order_id, outcome in sorted(said - settled):
                if order_id in wanted and order_id not in named:
                    told = f"a report that order {order_id} was {outcome}, and no cancel of it, in case {case.id}"
                    raise Seen(failed(f"a cancel of {order_id}", told), *process.sent)
            settled |= said
    return passed("the orders asked for, in that order", "so in every process")


def _listed(order_ids: Iterable[str | None]) -> str:
    """List them, and show what is no number as what it is."""
    return ", ".join(each if each and each.isdecimal() else repr(each) for each in order_ids) or "none"


def _reported_orders_were_sent(case: Case) -> Finding:
    for process in case.processes:
        for report in process.reports:
            if report.outcome != "not-sent" and not process.cancels(report.order_id):
                named = _listed(dict.fromkeys(sent.order_id for sent in process.cancels()))
                told = f"cancels of {named}, and a report that order {report.order_id} was {report.outcome}"
                raise Seen(failed(f"a cancel of {report.order_id}", told), *process.sent)
    return passed("a cancel of each order that was reported", "so it was")


@client_check(
    "sends/once",
    "sends one request for each cancel",
    clause="client-one-request",
    cases=("plain", "restart", *map(case_of, ACCEPTED)),
    needs=accepted,
)
def sends_once(evidence: Evidence) -> Finding:
    """Count the requests for each order that is accepted, at once or late: there is no reason for another."""
    expected = "one request for each cancel"
    others = load_corpus().magic_orders.keys() - set(ACCEPTED)
    count = 0
    for process in evidence.processes:
        for order_id in dict.fromkeys(sent.order_id for sent in process.cancels()):
            if order_id is None or order_id in others:
                continue
            sent = process.cancels(order_id)
            asked = process.order_ids.count(order_id) if process.order_ids else len(sent)
            count += 1
            if len(sent) > max(asked, 1):
                raise Seen(failed(expected, f"{len(sent)} requests for order {order_id}"), *sent)
    if not count:
        raise NotApplicable("no order was accepted")
    return passed(expected, f"{count} orders, one request each")


@client_check("sends/ids-beyond-32-bits", "sends ids beyond 2^31 and 2^32 exactly", clause="client-ids-exceed-32-bits")
def sends_ids_beyond_32_bits(evidence: Evidence) -> Finding:
    """Ask for orders of 10 and 13 digits, and look for them on the wire."""
    return _ids_on_the_wire(evidence, BEYOND_32_BITS)


@client_check("sends/ids-to-63-bits", "sends ids up to 2^63-1 exactly", clause="client-ids-exact-to-63-bits")
def sends_ids_to_63_bits(evidence: Evidence) -> Finding:
    """Ask for orders 2^53+1 and 2^63-1, and look for them on the wire."""
    return _ids_on_the_wire(evidence, BEYOND_53_BITS)


def _ids_on_the_wire(evidence: Evidence, wanted: tuple[str, ...]) -> Finding:
    case = _case(evidence, "plain")
    seen = [str(sent.order_id) for sent in case.sent if sent.is_cancel]
    missing = [order_id for order_id in wanted if order_id not in seen]
    if missing:
        rounded = [f"{order_id} as {int(float(order_id))}" for order_id in missing if str(int(float(order_id))) in seen]
        told = f"orders {', '.join(seen) or 'none'}" + (
            f"; rounded as a floating-point number is: {', '.join(rounded)}" if rounded else ""
        )
        raise Seen(failed(f"orders {', '.join(wanted)}", told), *case.sent)
    return passed(f"orders {', '.join(wanted)}", "all of them, digit for digit")


def _case(evidence: Evidence, case_id: str) -> Case:
    case = evidence.case(case_id)
    if case is None:
        raise NotApplicable(f"the case {case_id} was not run")
    if case.skipped:
        raise NotApplicable(case.skipped)
    return case


@client_check(
    "sends/nothing-after-redirects",
    "does not follow a redirect with a signed body",
    clause="client-no-redirects",
    cases=map(case_of, REDIRECTED),
)
def follows_no_redirect(evidence: Evidence) -> Finding:
    """Answer a cancel with HTTP 302 and 307, and look for a request with the order or a body to where they point."""
    return none_of(
        _redirected(evidence),
        "no signed body at the redirect's address",
        lambda sent: "the redirect was followed" if sent.follows_redirect and _carries_body(sent) else "",
    )


@client_check(
    "sends/no-get-after-redirects",
    "does not follow a redirect without the body either",
    clause="client-follows-no-redirect",
    cases=map(case_of, REDIRECTED),
)
def gets_no_redirect(evidence: Evidence) -> Finding:
    """Answer a cancel with HTTP 302 and 307, and look for a request without a body to where they point."""
    return none_of(
        _redirected(evidence),
        "no request at the redirect's address",
        lambda sent: (
            f"the redirect was followed by {sent.method}" if sent.follows_redirect and not _carries_body(sent) else ""
        ),
    )


def _redirected(evidence: Evidence) -> list[Sent]:
    return [sent for order_id in REDIRECTED for process in evidence.cancelling(order_id) for sent in process.sent]


def _carries_body(sent: Sent) -> bool:
    return bool(sent.exchange.request.body.strip()) or any("order_id" in name for name, _ in sent.query_fields)


# ---- signs -------------------------------------------------------------------------------------------------


@client_check("signs/each-request", "signs every request as the vendor's page says", clause="client-signs")
def signs_each_request(evidence: Evidence) -> Finding:
    """Look at what the mock made of each request's key and signature."""

    def wrong(sent: Sent) -> str:
        return {
            "v1": "a request of v1, which carries no signature of v2 or v3",
            "form": "no form, so nothing to verify",
            "key-missing": "no key",
            "key-unknown": "a key that is not the one given",
            "signature-missing": "no X-NtApi-Sig",
            "signature-invalid": "a signature that does not verify",
        }.get(sent.situation, "")

    # What ended before the key was looked at says nothing of the signature, nor does what was signed for elsewhere.
    looked_at = [
        sent for sent in evidence.sent if sent.situation not in ("address", "method") and not sent.follows_redirect
    ]
    return none_of(looked_at, "X-NtApi-Sig over the string to sign", wrong, "signature-", "key-", "form", "v1")


# ---- draws -------------------------------------------------------------------------------------------------


@client_check("draws/whole-numbers", "draws nonces that are whole numbers in digits", clause="client-nonce-is-integer")
def draws_whole_numbers(evidence: Evidence) -> Finding:
    """Read the nonce of every v2 request."""

    def wrong(sent: Sent) -> str:
        nonce = sent.members["nonce"]
        if not isinstance(nonce, str):
            return "the nonce is a list or a map"
        return "" if parse_nonce(nonce) is not None else f"the nonce is {nonce!r}"

    carrying = [sent for sent in evidence.sent if sent.scheme == "v2" and "nonce" in sent.members]
    return none_of(carrying, "plain digits, 0 to 2^63-1", wrong)


@client_check(
    "draws/rising", "draws a greater nonce for each request", clause="client-nonce-increases", cases=("plain", HELD)
)
def draws_rising(evidence: Evidence) -> Finding:
    """Compare neighbours within each process, also where the clock is held between two cancels.

    A clock in milliseconds gives two cancels in quick succession one nonce, however seldom that happens here.
    """
    clock = clock_of(evidence)
    held = [] if is_paced(evidence) else [case for case in evidence.cases if case.id == HELD]
    finding = _rising([process.sent for case in [*steady(evidence), *held] for process in case.processes])
    if reason := untried(evidence, clock):
        raise NotApplicable(reason)
    return finding


def _may_repeat(evidence: Evidence, clock: Clock) -> bool:
    """Whether a nonce may come twice for its coarse unit alone: one fault, which draws/rising judges."""
    return clock.grain >= COARSE and not (is_paced(evidence) or counts_on(evidence, clock))


def _rising(sequences: list[list[Sent]]) -> Finding:
    expected = "each nonce greater than the one before"
    # An HTTP library that follows a redirect sends the nonce again, and nobody drew it.
    drawn = [[sent for sent in sequence if not sent.follows_redirect] for sequence in sequences]
    read = [[sent for sent in sequence if parse_nonce(sent.nonce or "") is not None] for sequence in drawn]
    if not any(len(sequence) > 1 for sequence in read):
        raise NotApplicable("there are no two nonces to compare")
    for sequence in read:
        pair = rising(sequence)
        if pair:
            before, after = pair
            told = f"{after.nonce} after {before.nonce}: {after.told}{diagnosed(after, 'nonce-')}"
            raise Seen(failed(expected, told), before, after)
    return passed(expected, f"so for {sum(map(len, read))} requests")


@client_check(
    "draws/rising-after-restart", "goes on above the last nonce after a restart",
    clause="client-nonce-survives-restart", cases=("restart",), needs=restarted,
)  # fmt: skip
def draws_rising_after_restart(evidence: Evidence) -> Finding:
    """Run the program again and again with one key, and compare each last nonce with the next run's first one."""
    clock = clock_of(evidence)
    if clock and (clock.grain > SECONDS_LIKE or _may_repeat(evidence, clock)):
        raise NotApplicable(f"its nonces count {clock.told}: draws/rising judges that")
    runs = pairwise(_case(evidence, "restart").processes)
    return _rising([[*before.sent[-1:], *after.sent[:1]] for before, after in runs])


@client_check(
    "draws/rising-after-clock-step", "goes on above the last nonce when the clock steps back",
    clause="client-nonce-survives-clock-step", cases=("clock-steps-back", "plain"), needs=accepted,
)  # fmt: skip
def draws_rising_after_clock_step(evidence: Evidence) -> Finding:
    """Set the program's clock back by an hour while the first reply is awaited, and on again during the next one."""
    case = _case(evidence, "clock-steps-back")
    accepted(case, case.id)  # a refusal is no reply that is awaited while the clock is set
    sent = case.sent
    drawn = readings(sent)
    if len(drawn) < 2:
        raise NotApplicable("there are no two nonces to compare")
    clock = clock_of(evidence)
    if clock is None:
        raise NotApplicable("its nonces are not read from a clock, so they do not show that it was set back")
    if max(abs(clock.off(each) - clock.off(drawn[0])) for each in drawn) < SET_BACK_BY:
        raise NotApplicable("this program's clock cannot be set back: its nonces went on with the time")
    return _rising([sent])


@client_check(
    "draws/anew-after-refusals", "does not use a nonce again after a refusal",
    clause="client-nonce-after-failure", cases=map(case_of, REJECTED), needs=followed,
)  # fmt: skip
def draws_anew_after_refusals(evidence: Evidence) -> Finding:
    """Answer a cancel with each refusal, and compare its nonce with those that follow."""
    return _drawn_anew(evidence, REJECTED)


@client_check(
    "draws/anew-after-lost-replies", "does not use a nonce again after a lost reply",
    clause="client-nonce-after-lost-reply", cases=map(case_of, LOST), needs=followed,
)  # fmt: skip
def draws_anew_after_lost_replies(evidence: Evidence) -> Finding:
    """Lose the reply to a cancel in each way, and compare its nonce with those that follow."""
    return _drawn_anew(evidence, LOST)


@client_check(
    "draws/anew-after-unclear-replies", "does not use a nonce again after an unclear reply",
    clause="client-nonce-after-unclear-reply", cases=map(case_of, UNCLEAR), needs=followed,
)  # fmt: skip
def draws_anew_after_unclear_replies(evidence: Evidence) -> Finding:
    """Answer a cancel with what settles nothing, HTTP 5xx among it, and compare its nonce with those that follow."""
    return _drawn_anew(evidence, UNCLEAR)


def _drawn_anew(evidence: Evidence, order_ids: list[str]) -> Finding:
    expected, pairs = "another nonce for the next request", 0
    clock = clock_of(evidence)
    if clock and _may_repeat(evidence, clock):
        raise NotApplicable(f"its nonces count {clock.told}, and may come twice for that: draws/rising judges it")
    for case in evidence.cases:  # each with one key, whose nonces a new process must not take up again either
        for place, sent in enumerate(case.sent):
            if sent.order_id in order_ids and answers(sent, sent.order_id) and sent.nonce is not None:
                for later in [later for later in case.sent[place + 1 :] if not later.follows_redirect]:
                    pairs += 1
                    if later.nonce == sent.nonce:
                        told = f"nonce {sent.nonce} again: {later.told}{diagnosed(later, 'nonce-')}"
                        raise Seen(failed(expected, told), sent, later)
    if not pairs:
        raise NotApplicable("no request with a nonce followed such a reply")
    return passed(expected, f"so {pairs} times")


@client_check("draws/timestamps-in-seconds", "sends the present time in seconds", clause="client-timestamp-in-seconds")
def draws_timestamps(evidence: Evidence) -> Finding:
    """Compare X-NtApi-Timestamp of every v3 request with the mock's clock, unless the case set the client's back."""

    def wrong(sent: Sent) -> str:
        text = sent.header("x-ntapi-timestamp") or ""
        if not re.fullmatch(r"[0-9]{1,15}", text):
            return f"the timestamp is {text!r}"
        now = datetime.fromisoformat(sent.exchange.at).timestamp()
        return (
            "" if abs(int(text) - now) <= TIMESTAMP_SLACK else f"the timestamp {text} is {int(text) - now:+.0f} s off"
        )

    stamped = [sent for case in steady(evidence) for sent in case.sent if sent.scheme == "v3"]
    return none_of(stamped, "whole seconds since 1970, now", wrong)


# ---- keeps -------------------------------------------------------------------------------------------------


def _leak(part: str) -> None:
    @client_check(f"keeps/secret-out-of-{part}", f"keeps the secret out of the {part}", clause="client-hides-secret")
    def keeps_secret(evidence: Evidence) -> Finding:
        def wrong(sent: Sent) -> str:
            leaks = sent.exchange.leaks
            found = [leak for leak in leaks if leak == part or (part == "headers" and leak not in ("body", "address"))]
            return f"the secret is in {', '.join(found)}" if found else ""

        return none_of(evidence.sent, f"no secret in the {part}", wrong)

    keeps_secret.__doc__ = f"Look for the secret in the {part} of every request: plain, percent-encoded, hex, Base64."


for _part in ("body", "address", "headers"):
    _leak(_part)


@client_check("keeps/key-out-of-address", "keeps the API key out of the address", clause="client-key-not-in-url")
def keeps_key_out_of_the_address(evidence: Evidence) -> Finding:
    """Look for the API key in the address of every request."""

    # What belongs to no session may show the key of the others all the same.
    keys = {sent.exchange.session for sent in evidence.sent if sent.exchange.session}
    spellings = {spelling for key in keys for spelling in (key, quote(key, safe=""), quote_plus(key))}

    def wrong(sent: Sent) -> str:
        address = f"{sent.path}?{sent.query}"
        found = any(spelling in address for spelling in spellings)
        # A request without a key in its body belongs to no session, so only the name tells.
        named = any(name == "apiKey" for name, _ in sent.query_fields)
        return "the API key is in the address" if found or named else ""

    return none_of(evidence.sent, "no API key in the address", wrong)


@client_check("keeps/secret-out-of-output", "prints no secret", clause="client-prints-no-secret", cases=cases())
def keeps_the_secret_out_of_its_output(evidence: Evidence) -> Finding:
    """Look for the secret in all that the program prints: plain, percent-encoded, hex, Base64."""
    count = 0
    for case in evidence.cases:
        for process in case.processes:
            if process.ended is None:
                continue
            count += 1
            if process.ended.leaked:
                raise Seen(failed("no secret in the output", f"the secret, in case {case.id}"), *process.sent)
    if not count:
        raise NotApplicable("a journal does not tell what the program printed")
    return passed("no secret in the output", f"so in {count} processes")


@client_check(
    "keeps/no-cookies", "does not carry cookies from reply to request",
    clause="client-no-cookies", cases=(case_of(load_corpus().replies["success-with-cookie"]),),
    needs=followed,
)  # fmt: skip
def keeps_no_cookies(evidence: Evidence) -> Finding:
    """Set a session cookie in a reply, and look for it in the next request; what a client always sends is its own."""
    order_id = load_corpus().replies["success-with-cookie"]
    expected, count = "no cookie of a reply", 0
    for process in evidence.cancelling(order_id):
        after = _after(process, order_id)
        before = process.sent[: len(process.sent) - len(after)]
        given = {cookie for sent in before for cookie in _cookies_given(sent)}
        own = {name for sent in before for name, _value in _cookies(sent)}
        count += len(after)
        for sent in after:
            if any(cookie in given or cookie[0] not in own for cookie in _cookies(sent)):
                raise Seen(failed(expected, f"a cookie came back: {sent.told}"), sent)
    if not count:
        raise NotApplicable("the client sent no request that this speaks of")
    return passed(expected, f"so in {count} requests")


def _cookies(sent: Sent) -> list[tuple[str, str]]:
    """Read the names and values of its cookies."""
    return [
        _cookie(part)
        for name, value in sent.exchange.request.headers
        if name.lower() == "cookie"
        for part in value.split(";")
        if part.strip()
    ]


def _cookies_given(sent: Sent) -> list[tuple[str, str]]:
    """Read those that the reply to it set."""
    reply = sent.exchange.reply
    headers = reply.headers if reply else []
    return [_cookie(value.partition(";")[0]) for name, value in headers if name.lower() == "set-cookie"]


def _cookie(text: str) -> tuple[str, str]:
    name, _equals, value = text.strip().partition("=")
    return name, value


@client_check(
    "keeps/to-trusted-servers", "sends nothing to a server that it cannot trust",
    clause="client-verifies-certificates", cases=("trusted", *UNTRUSTED), needs=trusted,
)  # fmt: skip
def keeps_to_trusted_servers(evidence: Evidence) -> Finding:
    """Offer HTTPS with certificates that are wrong in one way each, and with a good one, to see that it would send."""
    for case_id, why in UNTRUSTED.items():
        case = evidence.case(case_id)
        if case and case.sent:
            expected = f"no request, for the certificate {why}"
            raise Seen(failed(expected, f"sent all the same: {case.sent[0].told}"), *case.sent)
    for case_id in UNTRUSTED:
        _case(evidence, case_id)
    return passed("no request, for no certificate is good", "none came, and one with a good certificate")


def _after(process: Process, order_id: str) -> list[Sent]:
    places = [place for place, sent in enumerate(process.sent) if sent.order_id == order_id and sent.accepted]
    return process.sent[places[0] + 1 :] if places else []
