"""The checks of clients on small evidence made by hand: what passes, what fails, what says nothing."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable
from contextlib import redirect_stdout
from fractions import Fraction
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import FORM_TYPE
from tn_contract.judge.client import GROUPS, ClientJudge, catalogue
from tn_contract.judge.client.cases import BEYOND_32_BITS, BEYOND_53_BITS, ORDINARY, CaseSpec, case_of, cases
from tn_contract.judge.client.clocks import clock_of
from tn_contract.judge.client.needs import followed
from tn_contract.judge.client.registry import client_check
from tn_contract.judge.verdicts import Result
from tn_contract.record.evidence import Case, Ended, Evidence, Process, Reported, Sent
from tn_contract.record.journal import PLAYED, Assessment, Exchange, Message
from tn_contract.report import html as report_html
from tn_contract.report import rows as report_rows
from tn_contract.report import text as report_text

CORPUS = load_corpus()
KEY = "a-key"
V2 = "POST /api/v2/cmd/delTradeOrder"
EXITED = Ended("exited", 0)


def magic(payload: str) -> str:
    return CORPUS.replies[payload]


def fault(name: str) -> str:
    return next(order.order_id for order in CORPUS.magic_orders.values() if order.fault == name)


def cancel(
    order_id: str = ORDINARY,
    nonce: str = "1",
    *,
    line: str = V2,
    body: str | None = None,
    second: float = 0,
    situation: str = "cancel-accepted",
    leaks: tuple[str, ...] = (),
    headers: Iterable[tuple[str, str]] = (("Content-Type", FORM_TYPE), ("X-NtApi-Sig", "s")),
    reply: str = "success",
) -> Sent:
    """A recorded cancel, as an honest client sends it."""
    body = f"apiKey={KEY}&cmd=delTradeOrder&nonce={nonce}&params[order_id]={order_id}" if body is None else body
    order = CORPUS.magic_orders.get(order_id)
    payload = CORPUS.payloads[order.payload if order else reply]
    message = Message([], payload.fill(order_id).decode(), status=payload.status)
    at = f"2026-01-01T00:00:{second:09.6f}Z"
    accepted = situation == "cancel-accepted"
    made_of_it = Assessment(situation, payload.id if accepted else situation, order_id=order_id)
    failure = f"{PLAYED}{order.fault}" if order and order.fault and accepted else ""
    given = None if failure and order and order.loses_reply else message
    return Sent(Exchange(1, at, KEY, Message(list(headers), body, line), given, failure, made_of_it, leaks=leaks))


def process(
    *sent: Sent, orders: Iterable[str] = (), reports: Iterable[Reported] = (), ended: Ended | None = EXITED
) -> Process:
    return Process(tuple(orders), list(sent), list(reports), ended)


def evidence(*processes: Process, case: str = "", skipped: str = "") -> Evidence:
    """One case: the one named, else that of the magic order which is cancelled, else the plain one."""
    asked = [str(sent.order_id) for each in processes for sent in each.sent] + [
        *sum((p.order_ids for p in processes), ())
    ]
    named = [order_id for order_id in asked if order_id in CORPUS.magic_orders]
    case = case or (case_of(named[0]) if named else "plain")
    return Evidence("by hand", [Case(case, list(processes), skipped)])


def judge(check_id: str, seen: Evidence) -> Result:
    return ClientJudge(seen, catalogue()).judge(check_id)


def verdict(check_id: str, *sent: Sent) -> str:
    return judge(check_id, evidence(process(*sent))).verdict


# ---- the catalogue -----------------------------------------------------------------------------------------


def test_the_catalogue_is_sorted_by_group_and_knows_its_clauses_and_cases() -> None:
    groups = [check.group for check in catalogue().values()]
    assert groups == sorted(groups, key=GROUPS.index)
    for check in catalogue().values():
        assert CORPUS.clauses[check.clause].side == "client"
        assert set(check.cases) <= set(cases())
        assert check.does


@pytest.mark.parametrize("check_id", ["sends/post", "no-group", "sends/Post"])
def test_a_check_id_that_is_taken_or_malformed_is_refused(check_id: str) -> None:
    with pytest.raises(UsageError, match="malformed or taken"):
        client_check(check_id, "", clause="client-sends-post")(lambda evidence: pytest.fail("never run"))


@pytest.mark.parametrize("check_id", catalogue())
def test_who_did_nothing_is_neither_praised_nor_blamed(check_id: str) -> None:
    assert judge(check_id, Evidence("nobody")).verdict == "skipped"


# ---- whatever comes ----------------------------------------------------------------------------------------

# As JSON has it: an escape may name half of a pair.
half_pairs = st.text(st.characters(), max_size=4)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | half_pairs,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(half_pairs | st.just("order_id"), inner, max_size=3),
    max_leaves=5,
)
forms = st.lists(
    st.tuples(st.binary(max_size=4) | st.just(b"params[order_id]") | st.just(b"nonce"), st.binary(max_size=4)),
    max_size=4,
).map(lambda pairs: "&".join(f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in pairs))
bodies = forms | trees.map(json.dumps) | st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "backslashreplace"))


@pytest.mark.slow
@given(body=bodies)
@example("cmd=delTradeOrder&%ff=1")
@example("cmd=delTradeOrder&nonce=%1b[2J&params[order_id]=%00")
@example('{"order_id":1,"\\ud800":1}')
@example('{"order_id":"\\ud800"}')
def test_no_text_of_a_client_breaks_a_report(body: str) -> None:
    sent = [cancel(body=body), cancel(body=body, headers=JSON, line="POST /api/delTradeOrder")]
    reports = [Reported(str(each.order_id).encode("utf-8", "replace").decode(), "accepted") for each in sent]
    told = process(*sent, orders=("1",), reports=reports)
    seen = Evidence("by hand", [Case(case_id, [told]) for case_id in ("plain", "restart", case_of(fault("drop")))])
    for evidence_of_it in (seen, Evidence("live", [Case(processes=[told])])):
        judged = ClientJudge(evidence_of_it, catalogue())
        results = [judged.judge(check_id) for check_id in catalogue()]
        assert [
            each.check.id for each in results if not f"{each.finding.expected}{each.finding.actual}".isprintable()
        ] == []
        rows = [report_rows.row_of(each, "by hand", "tn-contract judge") for each in results]
        built = report_rows.build(rows, report_rows.Subject("by hand", "client"), started="", elapsed=0, code=1)
        report_rows.to_json(built)
        report_html.to_html(built).encode()
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")):
            report_text.print_text(built)


# ---- sends -------------------------------------------------------------------------------------------------

JSON = [("Content-Type", "application/json"), ("X-NtApi-Timestamp", "1767225600")]


@pytest.mark.parametrize(
    ("check_id", "good", "bad"),
    [
        ("sends/post", {}, {"line": V2.replace("POST", "GET")}),
        ("sends/address", {"line": f"{V2}?a=b"}, {"line": "POST /api/v2"}),
        ("sends/address", {"line": "POST /api/delTradeOrder", "headers": JSON}, {"headers": JSON}),
        ("sends/content-type", {"headers": [("content-type", f"{FORM_TYPE}; charset=x")]}, {"headers": []}),
        ("sends/content-type", {"headers": [("CONTENT-TYPE", FORM_TYPE.upper())]}, {"headers": JSON[:1]}),
        ("sends/content-type", {"headers": JSON}, {"headers": [*JSON[1:], ("Content-Type", FORM_TYPE)]}),
        ("sends/fields", {}, {"body": "cmd=delTradeOrder"}),
        ("sends/fields", {}, {"body": "apiKey=k&cmd=delTradeOrder&nonce=1&params=5"}),
        ("sends/fields", {}, {"body": "apiKey=k&cmd=delTradeOrder&nonce=1&nonce=2&params[order_id]=5"}),
        ("sends/nothing-else", {}, {"body": "cmd=delTradeOrder&sid=1"}),
        ("sends/nothing-else", {}, {"body": "cmd=delTradeOrder&params[id]=1"}),
        ("sends/nothing-else", {"line": f"{V2}?order_id=5&params%5Border_id%5D=5"}, {"line": f"{V2}?force=1"}),
        ("sends/nothing-else", {"line": f"{V2}?apiKey={KEY}&k={KEY}"}, {"line": f"{V2}?params[force]=1"}),
        ("sends/nothing-else", {"line": f"{V2}?cmd=delTradeOrder"}, {"line": f"{V2}?%ff"}),
        ("signs/each-request", {}, {"situation": "signature-invalid"}),
        ("signs/each-request", {"situation": "nonce-missing"}, {"situation": "key-unknown"}),
        ("draws/whole-numbers", {"nonce": "9223372036854775807"}, {"nonce": "9223372036854775808"}),
        ("draws/whole-numbers", {"nonce": "0"}, {"nonce": "1.5"}),
        ("draws/timestamps-in-seconds", {"headers": JSON}, {"headers": [("X-NtApi-Timestamp", "1767225600000")]}),
        ("draws/timestamps-in-seconds", {"headers": JSON}, {"headers": [("X-NtApi-Timestamp", "now")]}),
        ("keeps/secret-out-of-body", {"leaks": ("address",)}, {"leaks": ("body",)}),
        ("keeps/secret-out-of-address", {"leaks": ("body",)}, {"leaks": ("address",)}),
        ("keeps/secret-out-of-headers", {"leaks": ("body", "address")}, {"leaks": ("Authorization",)}),
        ("keeps/key-out-of-address", {"line": f"{V2}?order=5"}, {"line": f"{V2}?k={KEY}"}),
        ("keeps/key-out-of-address", {"line": f"{V2}?key=5"}, {"line": f"{V2}?apiKey=other"}),
    ],
)
def test_what_a_request_says_on_its_face(check_id: str, good: dict[str, object], bad: dict[str, object]) -> None:
    broken = "fail" if CORPUS.clauses[catalogue()[check_id].clause].level == "must" else "warn"
    assert verdict(check_id, cancel(**good)) == "pass"  # type: ignore[arg-type]
    culprit = cancel(**bad)  # type: ignore[arg-type]
    result = judge(check_id, evidence(process(cancel(**good), culprit)))  # type: ignore[arg-type]
    assert result.verdict == broken
    assert result.exchanges == (culprit.exchange,)


@pytest.mark.parametrize("situation", ["address", "method"])
def test_what_was_never_verified_says_nothing_of_the_signature(situation: str) -> None:
    assert verdict("signs/each-request", cancel(situation=situation)) == "skipped"


@pytest.mark.parametrize("situation", CORPUS.situations)
def test_signature_passes_only_if_the_mock_verified_it(situation: str) -> None:
    unverified = ("v1", "method", "form", "key-", "signature-")
    assert (verdict("signs/each-request", cancel(situation=situation)) == "pass") != situation.startswith(unverified)


def test_what_was_asked_is_compared_in_order_and_repetitions_do_not_count() -> None:
    def found(*named: str) -> str:
        asked = process(*map(cancel, named), orders=("1", "2"))
        return judge("sends/what-was-asked", evidence(asked, case="restart")).verdict

    assert found("1", "2") == "pass"
    assert found("1", "1", "2") == "pass"
    assert {found("2", "1"), found("1"), found(), found("1", "3"), found("1", "2", "3")} == {"fail"}


@pytest.mark.parametrize(
    ("outcome", "found"),
    [("accepted", "fail"), ("rejected", "fail"), ("unknown", "pass"), ("not-sent", "pass"), (None, "pass")],
)
def test_what_is_settled_was_sent(outcome: str | None, found: str) -> None:
    reports = [Reported("1", "rejected"), *([Reported("2", outcome)] if outcome else [])]
    stops_early = process(cancel("1"), orders=("1", "2"), reports=reports)
    restart = Case("restart", [process(cancel("1"), orders=("1",), reports=[Reported("1", "accepted")])])
    seen = Evidence("by hand", [restart, Case(case_of(magic("html")), [stops_early])])
    assert judge("sends/what-was-asked", seen).verdict == found
    unreached = Evidence("by hand", [restart, Case("no-server", [stops_early])])
    assert judge("sends/what-was-asked", unreached).verdict == "pass", "there reports/not-sent speaks"


def test_what_an_earlier_process_settled_may_be_remembered_and_what_it_lost_may_not() -> None:
    restart = Case("restart", [process(cancel("1"), orders=("1",))])

    def found(before: str, after: str) -> str:
        first = process(cancel("1"), orders=("1",), reports=[Reported("1", before)])
        second = process(orders=("1",), reports=[Reported("1", after)])
        seen = Evidence("by hand", [restart, Case(case_of(fault("drop")), [first, second])])
        return judge("sends/what-was-asked", seen).verdict

    assert found("accepted", "accepted") == "pass"
    assert found("unknown", "accepted") == found("rejected", "accepted") == found("unknown", "rejected") == "fail"


def test_an_order_id_that_is_no_number_is_shown_as_what_it_is() -> None:
    sent = evidence(process(cancel(" 1"), orders=("1",)), case="restart")
    assert judge("sends/what-was-asked", sent).finding.actual.startswith("cancels of ' 1', in case")


def test_crash_elsewhere_does_not_explain_a_skipped_check() -> None:
    crashed = Ended("crashed", 1, "told")
    here, elsewhere = (Evidence("by hand", [Case(case, [process(ended=crashed)])]) for case in ("restart", "no-server"))
    assert "crashed: told" in judge("draws/rising-after-restart", here).finding.actual
    assert "crashed" not in judge("draws/rising-after-restart", elsewhere).finding.actual


def test_a_case_that_could_not_be_arranged_is_skipped_with_the_reason() -> None:
    result = judge("draws/rising-after-clock-step", evidence(case="clock-steps-back", skipped="no faketime"))
    assert (result.verdict, result.finding.actual) == ("skipped", "no faketime")


def test_an_ordinary_order_gets_one_request_each_time_it_is_asked_for() -> None:
    def found(orders: Iterable[str], *sent: Sent) -> str:
        return judge("sends/once", evidence(process(*sent, orders=orders))).verdict

    assert found(["5"], cancel("5")) == "pass"
    assert found(["5", "5"], cancel("5"), cancel("5")) == "pass"
    assert found(["5"], cancel("5"), cancel("5")) == "fail"
    assert found([], cancel("5"), cancel("5")) == "pass"  # a bare journal: nobody knows what was asked
    assert found([magic("html")], cancel(magic("html")), cancel(magic("html"))) == "skipped"


def test_order_ids_must_be_on_the_wire_digit_for_digit() -> None:
    assert verdict("sends/ids-beyond-32-bits", *map(cancel, BEYOND_32_BITS)) == "pass"
    assert verdict("sends/ids-beyond-32-bits", *map(cancel, BEYOND_32_BITS[:1])) == "fail"
    assert verdict("sends/ids-to-63-bits", *map(cancel, BEYOND_53_BITS)) == "pass"
    assert verdict("sends/ids-to-63-bits", cancel("9007199254740992"), cancel(BEYOND_53_BITS[1])) == "warn"


def redirected(then: Sent | None, payload: str = "http-307") -> Evidence:
    order_id = magic(payload)
    return evidence(process(cancel(order_id), *([then] if then else []), orders=[order_id]))


TARGET = f"{V2}?redirected=1"


def test_redirect_is_followed_with_a_body_or_without() -> None:
    order_id = magic("http-307")
    get = cancel(order_id, line=TARGET.replace("POST", "GET"), body="", situation="method")
    signed_query = cancel(order_id, line=f"GET {TARGET[5:]}&params[order_id]={order_id}", body="", situation="method")
    for then, *verdicts in (
        (None, "pass", "pass"),
        (cancel(order_id, line=TARGET), "fail", "pass"),
        (signed_query, "fail", "pass"),
        (get, "pass", "warn"),
    ):
        seen = redirected(then)
        results = [judge(f"sends/{slug}-after-redirects", seen) for slug in ("nothing", "no-get")]
        assert [result.verdict for result in results] == verdicts
        shown = [exchange for result in results for exchange in result.exchanges]
        assert shown == ([then.exchange] if then else []), "the offending request is shown"


def test_outcome_after_a_redirect_is_that_of_the_second_reply() -> None:
    order_id = magic("http-307")
    seen = redirected(cancel(order_id, line=TARGET))
    [one] = seen.processes
    one.reports.append(Reported(order_id, "accepted"))
    assert judge("reports/odd-statuses", seen).verdict == "skipped"
    refusal = cancel(order_id, line=TARGET.replace("POST", "GET"), body="", situation="method").exchange
    reply = Message([], '{"code": 5, "errMsg": "no"}', status=200)
    seen = redirected(Sent(structs.replace(refusal, reply=reply)))
    seen.processes[0].reports.append(Reported(order_id, "rejected", code=5))
    error = magic("common-error")
    asked = process(cancel(error), orders=[error], reports=[Reported(error, "rejected", code=2)])
    seen.cases += evidence(asked).cases
    assert judge("reports/codes-as-sent", seen).verdict == "pass"


@pytest.mark.parametrize(("plain", "slow", "found"), [
    ("unknown", "unknown", "skipped"), ("rejected", "rejected", "skipped"),
    ("accepted", "unknown", "warn"), ("accepted", "rejected", "fail"), ("unknown", "rejected", "fail"),
])  # fmt: skip
def test_slow_reply_is_not_held_against_who_misreads_the_quick_one_alike(plain: str, slow: str, found: str) -> None:
    runs = [
        Case(case_of(order), [process(cancel(order), orders=[order], reports=[Reported(order, said)])])
        for order, said in ((magic("success"), plain), (fault("delay"), slow), (fault("dribble"), slow))
    ]
    assert judge("reports/slow-replies", Evidence("by hand", runs)).verdict == found


@pytest.mark.parametrize(
    ("situation", "outcome", "found"),
    [
        ("signature-invalid", "accepted", "fail"),
        ("signature-invalid", "rejected", "pass"),
        ("signature-invalid", "unknown", "pass"),
        ("command-unknown", "accepted", "fail"),
        ("nonce-replayed", "accepted", "fail"),
        ("address", "accepted", "fail"),
        ("cancel-accepted", "accepted", "pass"),
        ("cancel-accepted", "unknown", "pass"),
        ("cancel-accepted", "rejected", "fail"),
        ("cancel-accepted", "not-sent", "fail"),
    ],
)
def test_outcome_is_compared_with_the_reply_that_came(situation: str, outcome: str, found: str) -> None:
    one = process(cancel(situation=situation), orders=[ORDINARY], reports=[Reported(ORDINARY, outcome)])
    result = judge("reports/refused-requests", evidence(one))
    assert result.verdict == found
    assert found == "pass" or result.exchanges == (one.sent[0].exchange,)


def test_request_without_an_order_does_not_make_it_accepted() -> None:
    asked = process(cancel(body="q=x", situation="key-missing"), orders=["7"], reports=[Reported("7", "accepted")])
    assert judge("reports/refused-requests", evidence(asked)).verdict == "fail"
    again = process(cancel("7", situation="nonce-replayed"), orders=["7"], reports=[Reported("7", "accepted")])
    remembered = evidence(process(cancel("7"), orders=["7"]), again, case="restart")
    assert judge("reports/refused-requests", remembered).verdict == "pass"


# ---- nonces ------------------------------------------------------------------------------------------------


def test_nonces_rise_within_a_process() -> None:
    assert verdict("draws/rising", cancel(nonce="1"), cancel(nonce="2")) == "pass"
    assert verdict("draws/rising", cancel(nonce="2"), cancel(nonce="2")) == "fail"
    assert verdict("draws/rising", cancel(nonce="2"), cancel(nonce="1")) == "fail"
    assert verdict("draws/rising", cancel(nonce="2"), cancel(nonce="x")) == "skipped"


@pytest.mark.parametrize(("case", "verdict"), [("clock-steps-back", "skipped"), (case_of(magic("html")), "fail")])
def test_falling_nonces_are_held_against_the_client_unless_its_clock_was_set_back(case: str, verdict: str) -> None:
    falling = process(cancel(nonce="2"), cancel(nonce="1"))
    assert judge("draws/rising", evidence(falling, case=case)).verdict == verdict


def test_nonces_rise_from_process_to_process() -> None:
    def found(first: str, second: str) -> str:
        pair = process(cancel(nonce="1"), cancel(nonce=first)), process(cancel(nonce=second), cancel(nonce="1"))
        return judge("draws/rising-after-restart", evidence(*pair, case="restart")).verdict

    assert found("5", "6") == "pass"
    assert found("5", "5") == found("5", "4") == "fail"


# ---- what nonces count ---------------------------------------------------------------------------------------

START = 1767225600  # of 2026, as the requests made by hand


def drawn(*nonces: int, gap: float = 0.004, case: str = "plain") -> Case:
    sent = [cancel(nonce=str(nonce), second=0.04 + gap * place) for place, nonce in enumerate(nonces)]
    return Case(case, [process(*sent)])


def read_from(unit: float, *, gap: float = 0.004, case: str = "plain", count: int = 6) -> Case:
    """Nonces read from a clock in this unit."""
    times = [START * 10**9 + 37_123_457 + int(gap * 1e9) * place + 1_237 * place for place in range(count)]
    return drawn(
        *(int(at * Fraction(1, 10**9) / Fraction(unit).limit_denominator(10**9)) for at in times), gap=gap, case=case
    )


def draws(check: str, *run: Case) -> tuple[str, str]:
    result = judge(f"draws/{check}", Evidence("by hand", list(run)))
    return result.verdict, result.finding.actual


@pytest.mark.parametrize(
    ("unit", "grain"),
    [(1, 1), (0.1, 0.1), (1e-3, 1e-3), (1e-4, 1e-4), (1e-6, 1e-6), (1e-7, 1e-7), (1e-9, 1e-9)],
)
def test_unit_of_a_clock_is_recognised(unit: float, grain: float) -> None:
    clock = clock_of(Evidence("by hand", [read_from(unit, gap=1.0371)]))
    assert clock
    assert (clock.unit, clock.grain) == (pytest.approx(unit), pytest.approx(grain))


@pytest.mark.parametrize(
    "nonces",
    [
        [(START * 1000 + 37 * place) * 10_000 for place in range(6)],
        [(START * 1000 + 37 * place) * 10_000 + 621_355_968_000_000_000 for place in range(6)],
        [(START * 1000 + 37 * place) * 10_000 + 77 for place in range(6)],
    ],
)
def test_milliseconds_are_recognised_in_finer_units_and_other_epochs(nonces: list[int]) -> None:
    clock = clock_of(Evidence("by hand", [drawn(*nonces, gap=0.037)]))
    assert clock
    assert clock.told == "milliseconds"


def test_clock_of_an_epoch_of_its_own_is_recognised_by_its_speed() -> None:
    clock = clock_of(Evidence("by hand", [drawn(*(12_345_000 + 1500 * place for place in range(6)), gap=1.5)]))
    assert clock
    assert clock.unit == pytest.approx(1e-3)


@pytest.mark.parametrize("nonces", [[1, 2, 3, 4, 5], [5, 5, 5], [7], [2**60, 3, 2**61, 77], []])
def test_counted_and_random_nonces_are_no_clock(nonces: list[int]) -> None:
    assert clock_of(Evidence("by hand", [drawn(*nonces, gap=2)])) is None


def test_coarse_unit_fails_or_is_not_judged_but_never_passes_by_luck() -> None:
    lucky = read_from(1e-3)
    assert draws("rising", lucky)[0] == "skipped"
    assert draws("anew-after-refusals", lucky)[0] == "skipped"
    same = drawn(*[(START - 60) * 1000] * 8, case="clock-stands-still")
    assert draws("rising", lucky, same)[0] == "fail"
    stopped = drawn((START - 60) * 1000 - 1, *[(START - 60) * 1000] * 7, case="clock-stands-still")
    assert draws("rising", lucky, stopped)[0] == "fail"
    assert draws("anew-after-refusals", lucky, stopped)[0] == "skipped", "before it was stopped it went on"
    counting = drawn(*((START - 60) * 1000 + place for place in range(8)), case="clock-stands-still")
    assert draws("rising", lucky, counting)[0] == "pass"
    unheld = read_from(1e-3, case="clock-stands-still")
    verdict, why = draws("rising", lucky, unheld)
    assert verdict == "skipped"
    assert "milliseconds" in why
    assert "cannot be held" in why


def test_coarse_unit_passes_where_the_client_counts_on_or_waits() -> None:
    ahead = drawn(*(START * 1000 + 40 + place for place in range(8)), gap=0.0003)
    assert draws("rising", ahead)[0] == "pass"
    assert draws("rising", read_from(1, gap=1.1))[0] == "pass"
    held = drawn(*[START - 60] * 8, case="clock-stands-still", gap=1.1)
    assert draws("rising", read_from(1, gap=1.1), held)[0] == "pass", "in its own time it waits"


@pytest.mark.parametrize("unit", [1e-6, 1e-7, 1e-9])
def test_fine_unit_needs_no_held_clock(unit: float) -> None:
    assert draws("rising", read_from(unit))[0] == "pass"


def test_restarts_within_one_second_are_not_held_against_seconds_twice() -> None:
    assert draws("rising-after-restart", read_from(1, gap=1.1), Case("restart", [process(cancel())]))[0] == "skipped"


@pytest.mark.parametrize(
    ("offsets", "found"),
    [
        ((0, -3600, 30), "warn"),  # read from the clock
        ((0, 1e-7, 30), "pass"),  # counts on
        ((0, -3600), "warn"),
        ((0, 1.5, 3.0), "skipped"),  # a clock that was not reached, or one that only runs on
        ((0, 1e-7, 2e-7), "skipped"),  # counted from a start
        ((0,), "skipped"),
    ],
)
def test_clock_step_is_judged_where_the_clock_was_reached(offsets: tuple[float, ...], found: str) -> None:
    stepped = drawn(
        *(START * 10**7 + 400_000 + round(off * 10**7) for off in offsets), gap=1.5, case="clock-steps-back"
    )
    assert draws("rising-after-clock-step", read_from(1e-7), stepped)[0] == found


def test_clock_step_shows_nothing_of_counted_nonces() -> None:
    stepped = drawn(1, 2, 3, gap=1.5, case="clock-steps-back")
    assert draws("rising-after-clock-step", drawn(1, 2, 3, 4, 5, gap=1), stepped)[0] == "skipped"


@pytest.mark.parametrize(
    ("check_id", "order_id"),
    [
        ("draws/anew-after-refusals", magic("method-error")),
        ("draws/anew-after-lost-replies", fault("drop")),
        ("draws/anew-after-unclear-replies", magic("http-500")),
    ],
)
def test_a_nonce_is_not_used_again_whatever_came_of_it(check_id: str, order_id: str) -> None:
    assert verdict(check_id, cancel(order_id, "5"), cancel(nonce="6")) == "pass"
    assert verdict(check_id, cancel(order_id, "5"), cancel(nonce="5")) == "fail"
    assert verdict(check_id, cancel(order_id, "5"), cancel(nonce="6"), cancel(nonce="5")) == "fail"
    assert verdict(check_id, cancel(order_id, "5")) == "skipped"
    assert verdict(check_id, cancel(nonce="5"), cancel(nonce="5")) == "skipped"


def test_deadline_of_the_judge_hides_nothing_of_other_losses() -> None:
    silent = process(cancel(fault("silence"), "5"), ended=Ended("unfinished", limit=20))
    dropped = process(cancel(fault("drop"), "5"), cancel(nonce="6"))
    seen = [Case(case_of(fault(name)), [run]) for name, run in (("silence", silent), ("drop", dropped))]
    assert judge("draws/anew-after-lost-replies", Evidence("by hand", seen)).verdict == "pass"
    assert judge("draws/anew-after-lost-replies", Evidence("by hand", seen[:1])).verdict == "skipped"


def test_a_nonce_that_lost_its_reply_is_not_used_again_by_the_next_process() -> None:
    def found(*nonces: str) -> str:
        runs = [process(cancel(fault("drop"), nonce)) for nonce in nonces]
        return judge("draws/anew-after-lost-replies", evidence(*runs, case=case_of(fault("drop")))).verdict

    assert (found("5", "6", "7"), found("5", "6", "6"), found("5", "6", "5")) == ("pass", "fail", "fail")


def test_a_nonce_of_another_case_is_a_nonce_of_another_key() -> None:
    lost = Case(case_of(fault("drop")), [process(cancel(fault("drop"), "5"), cancel(nonce="6"))])
    seen = Evidence("by hand", [lost, Case("restart", [process(cancel(nonce="5"))])])
    assert judge("draws/anew-after-lost-replies", seen).verdict == "pass"


def test_whoever_remembers_a_nonce_only_after_a_success_meets_its_memory() -> None:
    for name in ("drop", "reset"):
        asked = cases()[case_of(fault(name))].processes
        assert ((fault(name),), (ORDINARY, fault(name))) == asked[1:], "one ends with the loss, and another follows"


def test_no_way_of_sorting_the_restarted_orders_keeps_them() -> None:
    asked = list(cases()["restart"].processes[0])
    for way in (int, str, len, lambda order_id: order_id[::-1]):
        for backwards in (False, True):
            assert sorted(asked, key=way, reverse=backwards) != asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (None, "SID=of-the-reply", "warn"),
        ("mine=1", "mine=1", "pass"),
        ("mine=1", "mine=2", "pass"),
        ("mine=1; b=2", "b=2;mine=1", "pass"),
        ("mine=1", "mine=1; SID=of-the-reply", "warn"),
        ("mine=1", "mine=1; other=3", "warn"),
        ("SID=mine", "SID=mine", "pass"),
        ("SID=mine", "SID=of-the-reply", "warn"),
    ],
)
def test_a_cookie_of_the_client_s_own_never_came_back(before: str | None, after: str, found: str) -> None:
    order_id = magic("success-with-cookie")
    first = cancel(order_id, headers=[("Cookie", before)] if before else [])
    reply = first.exchange.reply
    assert reply
    reply.headers.append(("set-cookie", "SID=of-the-reply; Path=/"))
    assert verdict("keeps/no-cookies", first, cancel(headers=[("cookie", after)])) == found


def test_a_cookie_must_not_come_back() -> None:
    order_id = magic("success-with-cookie")
    with_cookie = cancel(headers=[("Cookie", "SID=1")])
    assert verdict("keeps/no-cookies", cancel(order_id), cancel()) == "pass"
    assert verdict("keeps/no-cookies", cancel(order_id), with_cookie) == "warn"
    assert verdict("keeps/no-cookies", with_cookie, cancel(order_id)) == "skipped"


@pytest.mark.parametrize(
    ("ended", "found"),
    [(EXITED, "pass"), (Ended("exited", 0, leaked=True), "warn"), (Ended("crashed", 1, leaked=True), "warn"),
     (None, "skipped")],
)  # fmt: skip
def test_a_secret_in_the_output_is_warned_of(ended: Ended | None, found: str) -> None:
    assert judge("keeps/secret-out-of-output", evidence(process(cancel(), ended=ended))).verdict == found


def test_codes_of_what_was_never_sent_are_not_compared() -> None:
    invented = process(orders=["5"], reports=[Reported("5", "rejected", "common-error", 2)])
    assert judge("reports/codes-as-sent", evidence(invented)).verdict == "skipped"


# ---- reports -----------------------------------------------------------------------------------------------


def reported(check_id: str, order_id: str, outcome: str | None, **more: object) -> Result:
    """Judge a client that says `outcome` of an order that it cancelled."""
    reports = [Reported(order_id, outcome)] if outcome else []
    ended = more.get("ended", EXITED)
    situation = str(more.get("situation", "cancel-accepted"))
    tried = process(cancel(order_id, situation=situation), orders=[order_id], reports=reports, ended=ended)  # type: ignore[arg-type]
    talker = process(orders=["1"], reports=[Reported("1", "accepted")])
    return judge(check_id, Evidence("by hand", [Case(case_of(order_id), [tried]), Case("plain", [talker])]))


# What these expect is not the outcome of a magic order's own reply alone: see test_client_flow.py.
OF_MORE = {
    f"reports/{slug}"
    for slug in ("codes-as-sent", "not-sent", "refused-requests", "nested-failures", "stalled-connect",
                 "stalled-handshake", "stalled-header", "stalled-body", "each-order-for-itself", "long-ids")
}  # fmt: skip
OF_REPLIES = [
    (check.id, case_id.removeprefix("order-"))
    for check in catalogue().values()
    if check.group == "reports" and check.id not in OF_MORE
    for case_id in check.cases
    if check.id == "reports/success" or case_id != case_of(CORPUS.replies["success"])  # elsewhere a control
]


@pytest.mark.parametrize(("check_id", "order_id"), OF_REPLIES)
def test_a_report_is_compared_with_what_the_corpus_expects(check_id: str, order_id: str) -> None:
    expected = CORPUS.expected_report(order_id)[0]
    observed = CORPUS.clauses[catalogue()[check_id].clause].level == "observed"
    assert reported(check_id, order_id, expected).verdict == "pass"
    for outcome in {"accepted", "rejected", "not-sent", "maybe", None} - {expected}:
        found = reported(check_id, order_id, outcome)
        assert found.verdict == ("info" if observed else "fail" if _is_must(check_id) else "warn"), outcome
        assert found.exchanges


def _is_must(check_id: str) -> bool:
    return CORPUS.clauses[catalogue()[check_id].clause].level == "must"


@pytest.mark.parametrize(
    ("check_id", "payload", "found"),
    [
        ("reports/success", "success", "fail"),
        ("reports/method-error", "method-error", "fail"),
        ("reports/success-by-result", "success-result-1", "warn"),
        ("reports/refusals", "nonce-rejected", "warn"),
    ],
)
def test_doubt_where_the_reply_settles_is_a_warning_unless_it_is_documented(
    check_id: str, payload: str, found: str
) -> None:
    assert reported(check_id, magic(payload), "unknown").verdict == found


def test_a_reply_that_never_came_blocks_the_judgement() -> None:
    order_id = magic("html")
    refused = reported("reports/html", order_id, "unknown", situation="signature-invalid")
    assert refused.verdict == "blocked"
    assert "signature-invalid" in refused.finding.actual
    crashed = process(orders=[order_id], ended=Ended("crashed", 1, "no such file"))
    talker = process(orders=["1"], reports=[Reported("1", "accepted")])
    idle = judge("reports/html", Evidence("by hand", [Case(case_of(order_id), [crashed]), Case("plain", [talker])]))
    assert idle.verdict == "blocked"
    assert "it crashed: no such file" in idle.finding.actual


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended("hung"), "still waiting when its time was up"),
        (Ended("crashed", 1, "TypeError"), "nothing (it crashed: TypeError)"),
        (Ended("crashed", 1), "nothing (it crashed)"),
        (EXITED, "nothing"),
    ],
)
def test_silence_is_told_with_how_the_program_ended(ended: Ended, words: str) -> None:
    result = reported("reports/html", magic("html"), None, ended=ended)
    assert result.verdict == "fail"
    assert words in result.finding.actual


def test_a_word_that_is_no_outcome_is_told_as_it_was_printed() -> None:
    assert (
        "'cancelled', which is no outcome" in reported("reports/success", magic("success"), "cancelled").finding.actual
    )


@pytest.mark.parametrize("check_id", [check_id for check_id, _ in OF_REPLIES])
def test_a_client_that_says_nothing_is_not_judged_by_what_it_says(check_id: str) -> None:
    order_id = catalogue()[check_id].cases[0].removeprefix("order-")
    mute = evidence(process(cancel(order_id), orders=[order_id]), case=case_of(order_id))
    assert judge(check_id, mute).verdict == "skipped"


def test_a_silent_server_must_be_given_up_even_by_who_says_nothing() -> None:
    order_id = fault("silence")
    hung = process(cancel(order_id), orders=[order_id], ended=Ended("hung"))
    assert judge("reports/silence", evidence(hung, case=case_of(order_id))).verdict == "fail"


@pytest.mark.parametrize(
    ("outcome", "found"),
    [("not-sent", "pass"), ("unknown", "warn"), ("rejected", "fail"), ("accepted", "fail"), (None, "fail")],
)
def test_a_refused_connection_means_not_sent(outcome: str | None, found: str) -> None:
    reports = [Reported(ORDINARY, outcome)] if outcome else [Reported("another", "accepted")]
    tried = evidence(process(orders=[ORDINARY], reports=reports), case="no-server")
    assert judge("reports/not-sent", tried).verdict == found


def test_a_mute_client_without_a_server_is_not_judged() -> None:
    assert judge("reports/not-sent", evidence(process(orders=[ORDINARY]), case="no-server")).verdict == "skipped"


@pytest.mark.parametrize(
    ("payload", "code", "kind", "found"),
    [
        ("common-error", 2, "common-error", "pass"),
        ("common-error", "2", None, "pass"),
        ("common-error", None, "a-kind-of-its-own", "skipped"),
        ("common-error", 200, None, "warn"),
        ("common-error", 2, "method-error", "warn"),
        ("method-error", 0, None, "pass"),
        ("insufficient-rights", None, "access-denied", "pass"),
    ],
)
def test_codes_and_kinds_are_those_of_the_reply(
    payload: str, code: int | str | None, kind: str | None, found: str
) -> None:
    order_id = magic(payload)
    report = Reported(order_id, "rejected", kind, code)
    tried = evidence(process(cancel(order_id), orders=[order_id], reports=[report]), case=case_of(order_id))
    assert judge("reports/codes-as-sent", tried).verdict == found


def test_client_with_a_longer_limit_of_its_own_is_not_judged() -> None:
    order_id = fault("silence")
    waiting = process(cancel(order_id), orders=[order_id], ended=Ended("unfinished", limit=20))
    talker = process(cancel("1"), orders=["1"], reports=[Reported("1", "accepted")])
    seen = Evidence("by hand", [Case(case_of(order_id), [waiting]), Case("plain", [talker])])
    silence = judge("reports/silence", seen)
    assert silence.verdict == "skipped"
    assert "--deadline 120 --check reports/silence" in silence.finding.actual
    assert judge("runs/to-the-end", seen).verdict == "pass"
    dropped = process(cancel(fault("drop")), orders=[fault("drop")], ended=Ended("unfinished", limit=20))
    seen.cases.append(Case(case_of(fault("drop")), [dropped]))
    assert judge("runs/to-the-end", seen).verdict == "skipped"
    assert judge("reports/lost-replies", seen).verdict == "skipped"


# ---- resends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check_id", "order_id"),
    [
        ("resends/nothing-after-lost-replies", fault("reset")),
        ("resends/nothing-after-server-errors", magic("http-502")),
        ("resends/nothing-after-unclear-replies", magic("empty")),
    ],
)
def test_what_may_have_been_done_is_not_sent_again(check_id: str, order_id: str) -> None:
    def found(orders: int, *sent: Sent) -> str:
        return judge(check_id, evidence(process(*sent, orders=[order_id] * orders))).verdict

    once = cancel(order_id)
    assert found(1, once) == "pass"
    assert found(1, once, cancel()) == "pass"
    assert found(1, once, once) == "fail"
    assert found(2, once, once) == "pass"
    assert found(1) == "blocked"
    assert found(1, cancel(order_id, situation="nonce-too-low")) == "blocked"


@pytest.mark.parametrize(
    "check_id",
    [
        "draws/anew-after-unclear-replies",
        "draws/rising",
        "sends/nothing-else",
        "resends/nothing-after-unclear-replies",
        "sends/address",
        "signs/each-request",
    ],
)
def test_what_follows_a_redirect_has_a_check_of_its_own(check_id: str) -> None:
    order_id = magic("http-307")
    elsewhere = cancel(order_id, line="POST /elsewhere?redirected=1", situation="signature-invalid")
    followed = process(cancel(order_id), elsewhere, cancel(nonce="2"), orders=[order_id, ORDINARY])
    case = next(case for case in (case_of(order_id), "plain") if case in catalogue()[check_id].cases)
    assert judge(check_id, evidence(followed, case=case)).verdict == "pass"


@pytest.mark.parametrize(
    ("check_id", "payload", "pause"),
    [("resends/after-429", "rate-limited-http-429-bare", 1), ("resends/after-retry-after", "rate-limited-http-429", 2)],
)
def test_after_429_the_pause_is_kept(check_id: str, payload: str, pause: float) -> None:
    order_id = magic(payload)

    def found(*seconds: float) -> str:
        return verdict(check_id, *(cancel(order_id, second=second) for second in seconds))

    assert found(0) == "pass"
    assert found(0, pause) == "pass"
    assert found(0, pause * 0.95) == "pass", "timers may fire a little early"
    assert found(0, pause * 0.85) == "warn"
    assert found(0, pause, pause + 0.1) == "warn"
    assert found() == "skipped"


# ---- runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "found"),
    [(EXITED, "pass"), (Ended("exited", 3), "pass"), (Ended("crashed", 1, "boom"), "fail"), (Ended("hung"), "fail"),
     (None, "skipped")],
)  # fmt: skip
def test_a_program_ends_by_itself(ended: Ended | None, found: str) -> None:
    result = judge("runs/to-the-end", evidence(process(cancel(), ended=ended)))
    assert result.verdict == found
    assert found != "fail" or "in case plain" in result.finding.actual


def test_who_hangs_on_a_silent_server_fails_another_check() -> None:
    order_id = fault("silence")
    hung = process(cancel(order_id), orders=[order_id], ended=Ended("hung"))
    assert judge("runs/to-the-end", evidence(hung)).verdict == "pass"
    crashed = process(cancel(order_id), orders=[order_id], ended=Ended("crashed", 1))
    assert judge("runs/to-the-end", evidence(crashed)).verdict == "fail"


@pytest.mark.parametrize(
    ("outcomes", "found"),
    [
        ({"1": "accepted", "2": "unknown"}, "pass"),
        ({"2": "unknown", "1": "accepted"}, "pass"),
        ({"1": "accepted"}, "fail"),
        ({"1": "accepted", "2": "unknown", "3": "accepted"}, "fail"),
        ({"1": "accepted", "2": "done"}, "fail"),
        ({}, "skipped"),
    ],
)
def test_each_order_is_reported_once(outcomes: dict[str, str], found: str) -> None:
    reports = [Reported(*each) for each in outcomes.items()]
    told = evidence(process(cancel(), orders=["1", "2"], reports=reports))
    assert judge("runs/reports-each-order", told).verdict == found


def test_a_crash_where_the_clock_was_set_back_by_force_is_nobody_s_fault() -> None:
    crashed = process(ended=Ended("crashed", 1, "OSError: [Errno 22] Invalid argument"))
    assert judge("runs/to-the-end", evidence(crashed, case="clock-steps-back")).verdict == "skipped"


def test_who_did_not_end_by_itself_owes_no_report() -> None:
    hung = process(orders=["1"], reports=[Reported("2", "accepted")], ended=Ended("hung"))
    assert judge("runs/reports-each-order", evidence(hung)).verdict == "skipped"


# ---- nothing passes that was not exercised -------------------------------------------------------------------

FACE = {"reports/refused-requests",
        "sends/post", "sends/address", "sends/content-type", "sends/fields", "sends/nothing-else",
        "sends/what-was-asked", "sends/ids-beyond-32-bits", "sends/ids-to-63-bits", "draws/whole-numbers",
        "draws/rising", "keeps/secret-out-of-body", "keeps/secret-out-of-address", "keeps/secret-out-of-headers",
        "keeps/key-out-of-address"}  # fmt: skip
# What is judged where nothing can be sent, because requests came elsewhere.
BY_CONTROL = {
    "reports/not-sent", "keeps/to-trusted-servers", "reports/stalled-connect", "reports/stalled-handshake",
}  # fmt: skip


def _said_by_honest(spec: CaseSpec, order_id: str, refused: str) -> str:
    if spec.unreachable:
        return "not-sent"
    if refused:
        return "rejected"
    return CORPUS.expected_report(order_id)[0] if spec.reply == "success" else "unknown"


def honest(refused: str = "", first_alone: bool = False, live: bool = False) -> Evidence:
    """What an honest client does in every case; all its requests `refused`, or only the first of each run sent."""
    nonces = itertools.count(17_672_256_000_000_000, 10_001)
    run: list[Case] = []
    for spec in cases().values():
        runs = []
        for order_ids in spec.processes:
            asked = () if spec.unreachable else order_ids[:1] if first_alone else order_ids
            ahead = [0, 0, 30 * 10**7] if spec.clock == "steps-back" else [0] * len(asked)  # its clock was set
            sent = [
                cancel(each, str(next(nonces) + off), situation=refused or "cancel-accepted", reply=spec.reply)
                for each, off in zip(asked, ahead, strict=False)
            ]
            outcomes = {each: _said_by_honest(spec, each, refused) for each in order_ids[: len(asked) or None]}
            runs.append(process(*sent, orders=order_ids, reports=[Reported(*each) for each in outcomes.items()]))
        run.append(Case(spec.id, runs))
    if not live:
        return Evidence("by hand", run)
    everything = [each for case in run for each in case.processes]
    sent = [each for one in everything for each in one.sent]
    reports = [each for one in everything for each in one.reports if each.outcome != "not-sent"]
    return Evidence("live", [Case(processes=[Process((), sent, reports)])])


def passing(seen: Evidence) -> set[str]:
    return {check_id for check_id in catalogue() if judge(check_id, seen).verdict == "pass"}


@pytest.mark.parametrize("live", [False, True])
def test_refused_client_passes_only_what_its_requests_show_by_themselves(live: bool) -> None:
    assert passing(honest(refused="signature-invalid", live=live)) - FACE <= BY_CONTROL


@pytest.mark.parametrize("live", [False, True])
def test_client_that_sends_nothing_passes_nothing(live: bool) -> None:
    seen = honest(live=live)
    for one in seen.processes:
        one.sent.clear()
    assert passing(seen) == set()


def test_client_that_stops_after_its_first_request_passes_nothing_that_needs_another() -> None:
    seen = honest(first_alone=True)
    after = {each.id for each in catalogue().values() if each.needs is followed}
    assert len(after) == 4
    assert passing(seen) & (after | {"draws/rising", "draws/rising-after-clock-step"}) == set()
    for one in seen.processes[1:]:
        one.sent.clear()
    assert passing(seen) <= FACE | BY_CONTROL | {"signs/each-request"}


def test_honest_client_passes_what_it_was_tried_in() -> None:
    # None of its requests came late, and all were cancels.
    assert set(catalogue()) - passing(honest()) == {
        "draws/timestamps-in-seconds", "reports/codes-as-sent", "sends/one-at-a-time", "sends/other-requests",
    }  # fmt: skip


@given(data=st.data())
def test_no_check_passes_without_the_replies_of_its_cases(data: st.DataObject) -> None:
    """Cut every process of an honest client off somewhere, or let its requests be refused from there on."""
    seen = honest()
    refuse = data.draw(st.booleans())
    for one in seen.processes:
        kept = data.draw(st.integers(0, len(one.sent)))
        refused = [
            cancel(str(sent.order_id), str(sent.nonce), situation="signature-invalid") for sent in one.sent[kept:]
        ]
        one.sent[kept:] = refused if refuse else []
    whole = {case_of(order_id) for order_id in CORPUS.magic_orders}
    reached = {
        case.id
        for case in seen.cases
        if all(
            any(each.accepted and f"order-{each.order_id}" == case.id for each in one.sent)
            for one in case.processes
            if case.id.removeprefix("order-") in one.order_ids
        )
    }
    for check_id in passing(seen) - {"sends/what-was-asked"}:
        assert set(catalogue()[check_id].cases) & whole <= reached, check_id


def test_a_control_that_failed_makes_its_twins_say_nothing() -> None:
    seen = honest()
    assert judge("keeps/to-trusted-servers", seen).verdict == "pass"
    trusted = seen.case("trusted")
    assert trusted
    trusted.processes[0].sent.clear()
    result = judge("keeps/to-trusted-servers", seen)
    assert (result.verdict, result.finding.actual[:9]) == ("skipped", "not tried")
