"""Checks of flow, stalls and unusual replies on small evidence made by hand."""

from __future__ import annotations

import msgspec
import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import FORM_TYPE
from tn_contract.judge.client import ClientJudge, catalogue
from tn_contract.judge.client.cases import BEYOND_53_BITS, NEIGHBOUR, ORDINARY, ROUNDED, case_of
from tn_contract.record.evidence import Case, Ended, Evidence, Process, Reported, Sent
from tn_contract.report import rows as report_rows

from .test_client_checks import KEY, V2, cancel, fault, magic, process

FORM = [("Content-Type", FORM_TYPE), ("X-NtApi-Sig", "s")]
TALKED = Case("restart", [process(cancel(), orders=[ORDINARY], reports=[Reported(ORDINARY, "accepted")])])


def verdict(check_id: str, *cases: Case) -> str:
    return ClientJudge(Evidence("by hand", list(cases)), catalogue()).judge(check_id).verdict


REFUSED, UNCLEAR = magic("method-error"), magic("other-json")
ALONE = [
    Case(case_of(order_id), [process(cancel(order_id), orders=[order_id], reports=[Reported(order_id, outcome)])])
    for order_id, outcome in ((REFUSED, "rejected"), (UNCLEAR, "unknown"))
]


def after_a_success(outcome: str = "unknown") -> Case:
    """The unclear reply, reported so when an accepted order comes first."""
    reports = [Reported(ORDINARY, "accepted"), Reported(UNCLEAR, outcome)]
    tried = process(cancel(), cancel(UNCLEAR, second=1), orders=[ORDINARY, UNCLEAR], reports=reports)
    return Case("accepted-first", [tried])


def late(order_id: str, second: float = 0) -> Sent:
    exchange = cancel(order_id, second=second).exchange
    assert exchange.assessment
    delayed = msgspec.structs.replace(exchange.assessment, late=1.0)
    return Sent(msgspec.structs.replace(exchange, assessment=delayed))


# ---- one at a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "outcome", "found"),
    [
        (1.01, "accepted", "pass"),
        (0.01, "accepted", "fail"),
        (0.8, "accepted", "fail"),
        (0.01, None, "fail"),
        (0.5, "unknown", "skipped"),  # it was given up first
    ],
)
def test_a_request_that_comes_before_a_late_reply_is_one_too_many(
    second: float, outcome: str | None, found: str
) -> None:
    order_id = fault("delay")
    reports = [Reported(order_id, outcome)] if outcome else []
    tried = process(late(order_id), cancel(second=second), orders=[order_id, ORDINARY], reports=reports)
    assert verdict("sends/one-at-a-time", Case("in-turn", [tried])) == found


def test_of_replies_in_time_nothing_is_known() -> None:
    tried = process(cancel(second=0), cancel("1", second=0.001), orders=[ORDINARY, "1"])
    assert verdict("sends/one-at-a-time", Case("in-turn", [tried])) == "skipped"


# ---- each order for itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "unknown", "not-sent"])
def test_what_was_said_of_another_order_does_not_count(outcome: str) -> None:
    order_id = magic("method-error")
    reports = [Reported(order_id, "rejected"), Reported(ORDINARY, outcome)]
    tried = process(cancel(order_id), cancel(), orders=[order_id, ORDINARY], reports=reports)
    found = verdict(
        "reports/each-order-for-itself", TALKED, ALONE[1], after_a_success(), Case(case_of(order_id), [tried])
    )
    assert found == ("pass" if outcome == "accepted" else "fail")


@pytest.mark.parametrize(
    ("later", "found"),
    [([after_a_success()], "pass"), ([after_a_success("accepted")], "fail"), ([], "skipped"),
     ([Case("accepted-first", [process(orders=[ORDINARY, UNCLEAR])])], "skipped")],
)  # fmt: skip
def test_a_reply_is_reported_as_without_an_accepted_order_before_it(later: list[Case], found: str) -> None:
    assert verdict("reports/each-order-for-itself", TALKED, *ALONE, *later) == found


@pytest.mark.parametrize(("seconds", "found"), [(0.5, "fail"), (3.1, "skipped")])
def test_doubt_in_a_reply_that_was_waited_for_in_vain_is_the_machines(seconds: float, found: str) -> None:
    order_id = magic("method-error")
    ended = Ended("exited", 0, at=f"2026-01-01T00:00:{seconds:09.6f}Z")
    reports = [Reported(order_id, "rejected"), Reported(ORDINARY, "unknown")]
    tried = process(cancel(order_id), cancel(), orders=[order_id, ORDINARY], reports=reports, ended=ended)
    alike = [TALKED, ALONE[1], after_a_success()]
    assert verdict("reports/each-order-for-itself", *alike, Case(case_of(order_id), [tried])) == found


def test_who_never_reports_a_success_is_not_judged_by_later_ones() -> None:
    order_id = magic("method-error")
    tried = process(cancel(order_id), cancel(), orders=[order_id, ORDINARY], reports=[Reported(ORDINARY, "unknown")])
    assert verdict("reports/each-order-for-itself", Case(case_of(order_id), [tried])) == "skipped"


def test_what_follows_on_a_connection_that_was_closed_must_come() -> None:
    order_id = fault("closing")
    reports = [Reported(order_id, "accepted"), Reported(ORDINARY, "unknown")]
    tried = process(cancel(order_id), orders=[order_id, ORDINARY], reports=reports)
    assert verdict("reports/each-order-for-itself", TALKED, Case(case_of(order_id), [tried])) == "fail"


def neighbour(outcome: str = "unknown", payload: str = NEIGHBOUR) -> Case:
    """The cancel of an order that is answered for its neighbour, reported so."""
    tried = process(cancel(ROUNDED, reply=payload), orders=[ROUNDED], reports=[Reported(ROUNDED, outcome)])
    return Case("neighbour", [tried])


@pytest.mark.parametrize(
    ("outcome", "more", "found"),
    [("accepted", [neighbour()], "pass"), ("unknown", [neighbour()], "warn"),
     ("accepted", [neighbour("accepted")], "warn"),
     ("accepted", [], "skipped"), ("accepted", [neighbour(payload="success")], "skipped"),
     ("accepted", [Case("neighbour", [process(orders=[ROUNDED])])], "skipped")],
)  # fmt: skip
def test_long_ids_are_read_exactly(outcome: str, more: list[Case], found: str) -> None:
    reports = [Reported(ORDINARY, "accepted"), *(Reported(order_id, outcome) for order_id in BEYOND_53_BITS)]
    sent = [cancel(order_id) for order_id in (ORDINARY, *BEYOND_53_BITS)]
    tried = process(*sent, orders=(ORDINARY, *BEYOND_53_BITS), reports=reports)
    assert verdict("reports/long-ids", Case("plain", [tried]), *more) == found


@pytest.mark.parametrize(
    ("second", "outcome", "found"),
    [
        (1.1, "accepted", "pass"),
        (0.2, "unknown", "warn"),  # given up before it was due
        (1.1, "unknown", "skipped"),  # waited for it, but the machine may have been late
        (1.1, "rejected", "fail"),
    ],
)
def test_doubt_in_a_slow_reply_counts_if_it_came_before_the_reply_was_due(
    second: float, outcome: str, found: str
) -> None:
    cases = []
    for order_id in (fault("delay"), fault("dribble")):
        tried = process(late(order_id), cancel(second=second), orders=[order_id, ORDINARY],
                        reports=[Reported(order_id, outcome)])  # fmt: skip
        cases.append(Case(case_of(order_id), [tried]))
    assert verdict("reports/slow-replies", TALKED, *cases) == found


# ---- stalls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["stalled-connect", "stalled-handshake"])
@pytest.mark.parametrize(
    ("outcome", "found"),
    [("not-sent", "pass"), ("unknown", "pass"), ("accepted", "fail"), ("rejected", "fail"), (None, "fail")],
)
def test_before_the_request_is_sent_it_is_not_sent_or_unknown(phase: str, outcome: str | None, found: str) -> None:
    reports = [Reported(ORDINARY, outcome)] if outcome else []
    assert verdict(f"reports/{phase}", TALKED, Case(phase, [process(orders=[ORDINARY], reports=reports)])) == found


@pytest.mark.parametrize("phase", ["stalled-connect", "stalled-handshake"])
def test_a_stall_that_was_not_arranged_is_not_judged(phase: str) -> None:
    assert verdict(f"reports/{phase}", TALKED, Case(phase, skipped="no such thing here")) == "skipped"


@pytest.mark.parametrize(
    ("check_id", "name"),
    [
        ("reports/stalled-header", "stall-status"),
        ("reports/stalled-header", "stall-header"),
        ("reports/stalled-body", "stall-body"),
        ("reports/stalled-body", "stall-chunk"),
    ],
)
def test_who_waits_until_its_deadline_is_failed_even_without_words(check_id: str, name: str) -> None:
    order_id = fault(name)
    hung = process(cancel(order_id), orders=[order_id], ended=Ended("hung"))
    assert verdict(check_id, Case(case_of(order_id), [hung])) == "fail"


@pytest.mark.parametrize(
    ("waited", "found"),
    [(3, "fail"), (9, "fail"), (12, "skipped"), (None, "skipped")],
)
def test_who_gives_up_silence_in_time_has_a_time_limit_that_must_hold_in_each_phase(
    waited: float | None, found: str
) -> None:
    order_id, silent = fault("stall-body"), fault("silence")
    unfinished = process(cancel(order_id), orders=[order_id], ended=Ended("unfinished", limit=20))
    after = [cancel(second=waited)] if waited is not None else []
    silence = process(cancel(silent), *after, orders=[silent, ORDINARY])
    cases = [Case(case_of(order_id), [unfinished]), Case(case_of(silent), [silence])]
    assert verdict("reports/stalled-body", *cases) == found


@pytest.mark.parametrize("name", ["stall-status", "stall-header", "stall-body", "stall-chunk"])
def test_what_stalls_after_the_request_leaves_it_unknown(name: str) -> None:
    order_id = fault(name)
    check_id = "reports/stalled-body" if name in ("stall-body", "stall-chunk") else "reports/stalled-header"
    for outcome in ("accepted", "rejected", "not-sent"):
        tried = process(cancel(order_id), orders=[order_id], reports=[Reported(order_id, outcome)])
        assert verdict(check_id, Case(case_of(order_id), [tried])) == "fail"


def test_of_stalls_after_a_refusal_nothing_is_known() -> None:
    order_id = fault("stall-body")
    refused = process(cancel(order_id, situation="signature-invalid"), orders=[order_id],
                      reports=[Reported(order_id, "unknown")])  # fmt: skip
    assert verdict("reports/stalled-body", Case(case_of(order_id), [refused])) == "blocked"


# ---- other requests ------------------------------------------------------------------------------------------

AUTH = {"line": "POST /api/v2/cmd/getAuthInfo", "body": f"apiKey={KEY}&cmd=getAuthInfo&nonce=1", "headers": FORM}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, "pass"),
        ({"body": f"nonce=1&cmd=getAuthInfo&apiKey={KEY}&params[a]=1"}, "pass"),
        ({"line": f"GET /api/v2/cmd/getAuthInfo?apiKey={KEY}", "body": ""}, "fail"),
        ({"line": V2}, "fail"),
        ({"line": "POST /api/v2/cmd/"}, "fail"),
        ({"headers": [("Content-Type", "application/json")]}, "fail"),
        ({"body": f"apiKey={KEY}&cmd=getAuthInfo"}, "fail"),
        ({"body": f"apiKey={KEY}&cmd=getAuthInfo&nonce[]=1"}, "fail"),
        ({"body": f"apiKey={KEY}&cmd=getAuthInfo&nonce=1&version=2"}, "fail"),
        ({"line": "OPTIONS /api/v2/cmd/getAuthInfo", "body": ""}, "skipped"),
    ],
)
def test_other_requests_are_sent_like_cancels(changed: dict[str, object], found: str) -> None:
    sent = cancel(**{**AUTH, **changed})  # type: ignore[arg-type]
    assert verdict("sends/other-requests", Case("plain", [process(sent)])) == found


def test_requests_that_speak_in_nobodys_name_are_free() -> None:
    sent = cancel(line="GET /time", body="", headers=())
    bare = Sent(msgspec.structs.replace(sent.exchange, session=""))
    assert verdict("sends/other-requests", Case("plain", [process(bare)])) == "skipped"


# ---- shapes --------------------------------------------------------------------------------------------------

RIGHT = [("apiKey", KEY), ("cmd", "delTradeOrder"), ("nonce", "1"), ("params[order_id]", "5")]


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("nonce", "nonce[]"), ("nonce", "nonce[0]"), ("nonce", " nonce"), ("nonce", "NONCE"), ("apiKey", "apiKey[]"),
        ("cmd", "cmd[]"), ("params[order_id]", "params[order_id][]"), ("params[order_id]", "params[][order_id]"),
        ("params[order_id]", "params[order_id"), ("params[order_id]", "params.order_id"), ("apiKey", "\ufeffapiKey"),
    ],
)  # fmt: skip
def test_fields_have_their_exact_names(name: str, to: str) -> None:
    body = "&".join(f"{to if each == name else each}={value}" for each, value in RIGHT)
    assert verdict("sends/fields", Case("plain", [process(cancel("5", body=body))])) == "fail"


@pytest.mark.parametrize("name", ["nonce[]", "nonce[0]", "nonce[value]"])
def test_a_nonce_that_is_a_list_is_no_number(name: str) -> None:
    body = f"apiKey={KEY}&cmd=delTradeOrder&{name}=1&params[order_id]=5"
    assert verdict("draws/whole-numbers", Case("plain", [process(cancel("5", body=body))])) == "fail"


@pytest.mark.parametrize(("charset", "found"), [("utf-8", "pass"), ("koi8-r", "pass"), ("utf-16", "fail")])
def test_a_charset_in_which_the_body_reads_otherwise_is_not_what_was_sent(charset: str, found: str) -> None:
    headers = [("Content-Type", f"{FORM_TYPE}; charset={charset}"), ("X-NtApi-Sig", "s")]
    assert verdict("sends/content-type", Case("plain", [process(cancel(headers=headers))])) == found


# ---- replies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "found"), [("unknown", "pass"), ("rejected", "pass"), ("accepted", "fail")])
def test_an_id_inside_a_list_of_failures_is_no_success(outcome: str, found: str) -> None:
    order_id = load_corpus().replies["failure-in-list"]
    tried = process(cancel(order_id), orders=[order_id], reports=[Reported(order_id, outcome)])
    assert verdict("reports/nested-failures", Case(case_of(order_id), [tried])) == found


# ---- trust ---------------------------------------------------------------------------------------------------

WRONG = ("untrusted", "self-signed", "misnamed", "expired")


def tls(sent: str = "", *, trusted: bool = True, skipped: str = "") -> list[Case]:
    cases = [Case(name, [process(*[cancel()] * (name == sent))], skipped * (name == skipped)) for name in WRONG]
    return [*cases, Case("trusted", [process(*[cancel()] * trusted)])]


@pytest.mark.parametrize("name", WRONG)
def test_nothing_may_go_to_a_server_with_a_wrong_certificate(name: str) -> None:
    assert verdict("keeps/to-trusted-servers", *tls(name)) == "fail"
    assert verdict("keeps/to-trusted-servers", *tls(name, trusted=False)) == "fail"


def test_trust_passes_only_where_a_good_certificate_was_trusted() -> None:
    assert verdict("keeps/to-trusted-servers", *tls()) == "pass"
    assert verdict("keeps/to-trusted-servers", *tls(trusted=False)) == "skipped"
    assert verdict("keeps/to-trusted-servers", *tls(skipped="expired")) == "skipped"


def test_the_key_of_a_session_is_found_in_the_address_of_a_request_without_one() -> None:
    unmatched = cancel(line=f"GET /time?user={KEY}", body="", headers=())
    bare = Sent(msgspec.structs.replace(unmatched.exchange, session=""))
    seen = Case("plain", [Process(sent=[cancel(), bare])])
    assert verdict("keeps/key-out-of-address", seen) == "warn"


# ---- exit codes ----------------------------------------------------------------------------------------------


def test_what_is_blocked_by_the_clients_own_refusal_is_a_broken_clause_and_no_failure_of_the_kit() -> None:
    order_id = fault("drop")
    refused = process(cancel(order_id, situation="signature-invalid"), orders=[order_id])
    judge = ClientJudge(Evidence("by hand", [Case(case_of(order_id), [refused])]), catalogue())
    result = judge.judge("resends/nothing-after-lost-replies")
    row = report_rows.row_of(result, "by hand", "tn-contract judge")
    assert row.verdict == "blocked"
    assert report_rows.exit_code([row], strict=False) == 1
    skipped = report_rows.row_of(judge.judge("reports/not-sent"), "by hand", "tn-contract judge")
    assert report_rows.exit_code([skipped], strict=False) == 5
