"""The diagnosis: each mistake of the catalogue is named, a right request never is, and no secret shows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.broker import Broker
from tn_contract.contract.corpus import NamedMistake, load_corpus
from tn_contract.contract.signing import Credentials, Secret, sign
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    FORM_TYPE,
    SIGNATURE_HEADER,
    Request,
    compose,
    compose_v3,
    dress,
    replace,
    with_signature,
)
from tn_contract.diagnosis.diagnose import diagnose, situation_of
from tn_contract.diagnosis.explain import explain
from tn_contract.diagnosis.search import QUICK, THOROUGH, find, find_counted, wrong_signatures
from tn_contract.diagnosis.signers import Case, as_texts
from tn_contract.judge.client import ClientJudge, catalogue
from tn_contract.record.evidence import of_session
from tn_contract.record.journal import Diagnosis
from tn_contract.record.requestfile import read_requests
from tn_contract.report import html as report_html
from tn_contract.report import rows as report_rows
from tn_contract.report import text as report_text

CORPUS = load_corpus()
PAIR = Credentials("public", Secret("secret"))
OTHER = Credentials("other", Secret("other-secret"))
FIELDS = {"cmd": "delTradeOrder", "apiKey": "public", "nonce": "17000000000000", "params": {"order_id": "2929292929"}}
VECTORS = {vector.id: (group, vector) for group, vector in CORPUS.vectors}

BY_VECTOR = [(name, mistake) for mistake in CORPUS.mistakes.values() for name in mistake.vectors]
BY_EXAMPLE = [mistake for mistake in CORPUS.mistakes.values() if mistake.example]
NO_KEY_KNOWN = ("form", "key-missing", "key-unknown")


def one(text: str) -> Request:
    (request,) = read_requests(text.encode())
    return request


def judge(request: Request, situation: str = "signature-invalid", pair: Credentials = PAIR) -> Diagnosis | None:
    return diagnose(request, situation, pair, at_ns=0)


def mistakes(request: Request, situation: str = "signature-invalid", pair: Credentials = PAIR) -> tuple[str, ...]:
    found = judge(request, situation, pair)
    assert found is not None
    return found.mistakes


# ---- the catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mistake"), BY_VECTOR, ids=[name for name, _ in BY_VECTOR])
def test_the_vector_of_a_mistake_is_diagnosed_as_it(name: str, mistake: NamedMistake) -> None:
    group, vector = VECTORS[name]
    pair = Credentials(group.credentials.api_key, Secret(group.credentials.secret))
    path = (COMMAND_PATH if group.scheme == "v2" else COMMAND_PATH_V3) + "delTradeOrder"
    request = Request("POST", path, tuple(vector.headers.items()), vector.body.encode())
    # The secret of another pair can be named only if that pair is known.
    found = diagnose(request, "signature-invalid", pair, at_ns=0, others=[OTHER])
    assert found is not None
    assert found.mistakes == (mistake.id,)


@pytest.mark.parametrize("mistake", BY_EXAMPLE, ids=lambda mistake: mistake.id)
def test_the_request_of_a_mistake_is_diagnosed_as_it(mistake: NamedMistake) -> None:
    example = mistake.example
    assert example is not None
    found = diagnose(
        one(example.request),
        example.situation,
        None if example.situation in NO_KEY_KNOWN else PAIR,
        at_ns=int(example.at or 0),
        last_nonce=example.last_nonce,
        earlier=[one(text) for text in example.earlier],
        others=[PAIR, OTHER],
    )
    assert found is not None
    assert found.mistakes == (mistake.id,)
    assert mistake.title in found.told
    assert found.fix in (mistake.fix, mistake.fix_v3)


@pytest.mark.parametrize("mistake", BY_EXAMPLE, ids=lambda mistake: mistake.id)
def test_the_mock_refuses_the_request_of_a_mistake_as_the_catalogue_says(mistake: NamedMistake) -> None:
    example = mistake.example
    assert example is not None
    broker = Broker(strict_path=True, clock=lambda: int(example.at or 0) or time.time_ns())
    broker.open_session("public", "secret")
    session = broker.session("public")
    assert session is not None
    if example.last_nonce:
        assert session.ledger.admit(example.last_nonce) is None
    broker.handle(one(example.request))
    [exchange] = [*broker.unmatched.exchanges(), *session.journal.exchanges()]
    assert exchange.assessment is not None
    assert exchange.assessment.situation == example.situation


def test_every_mistake_of_a_request_tells_what_to_do_in_whole_sentences() -> None:
    for mistake in CORPUS.mistakes.values():
        assert mistake.title.endswith("."), mistake.id
        assert mistake.fix.endswith((".", "?")), mistake.id
    assert len(CORPUS.mistakes) >= 50


# ---- what is right -----------------------------------------------------------------------------------------

texts = st.text(min_size=1, max_size=30)
params = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8), texts, max_size=4
)


@settings(deadline=None)
@given(key=texts, secret=texts, nonce=st.integers(0, 2**63 - 1), more=params)
def test_a_valid_request_never_gets_a_diagnosis(key: str, secret: str, nonce: int, more: dict[str, str]) -> None:
    pair = Credentials(key, Secret(secret))
    request = compose(pair, "delTradeOrder", nonce, {**more, "order_id": "5"}).request
    for situation in CORPUS.situations:
        if situation not in NO_KEY_KNOWN:
            assert diagnose(request, situation, pair, at_ns=time.time_ns(), last_nonce=None) is None
    assert explain(request, pair.secret, pair, at_ns=0).right


def test_a_valid_vector_is_never_diagnosed() -> None:
    for group, vector in CORPUS.vectors:
        if group.scheme == "v2" and vector.result == "valid" and vector.body:
            pair = Credentials(group.credentials.api_key, Secret(group.credentials.secret))
            request = Request("POST", COMMAND_PATH, tuple(vector.headers.items()), vector.body.encode())
            assert diagnose(request, "signature-invalid", pair, at_ns=0) is None


# ---- what is not found -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "hint"),
    [
        ("ab" * 32, "64 hex digits, the right shape"),
        ("ab" * 20, "40 hex digits, as SHA-1 gives; HMAC-SHA256 has 64"),
        ("ab" * 16, "32 hex digits, as MD5 gives"),
        ("ab" * 64, "128 hex digits, as SHA-512 gives"),
        ("hello", "5 characters that are no hex digits"),
    ],
)
def test_what_cannot_be_named_is_not_guessed(signature: str, hint: str) -> None:
    found = judge(with_signature(dress("delTradeOrder", FIELDS, ""), signature))
    assert found is not None
    assert (found.mistakes, found.told, found.fix, found.signed) == ((), "", "", "")
    assert found.hint.startswith(hint)


@given(body=st.binary(max_size=80), signature=texts, header=st.sampled_from([FORM_TYPE, "application/json", ""]))
def test_whatever_bytes_come_there_is_an_answer(body: bytes, signature: str, header: str) -> None:
    headers = (("Content-Type", header), (SIGNATURE_HEADER, signature), ("X-Own", "é" * 20))
    request = Request("POST", "/api/v2", headers, b"apiKey=public&" + body, "a=b&sig=%ff")
    for each in (request, Request("POST", "/api/v2", headers, body)):
        situation = situation_of(each, PAIR)
        found = diagnose(each, situation, PAIR, at_ns=0, last_nonce="5", earlier=[request], others=[OTHER])
        assert found is None or set(found.mistakes) <= set(CORPUS.mistakes)


# ---- two mistakes, details, secrets ------------------------------------------------------------------------


def test_two_mistakes_are_both_named_and_the_strings_compared() -> None:
    wrong = sign({"x": "1"}, Secret("public"))  # only for its shape
    assert len(wrong.signature) == 64
    text = "cmd=delTradeOrder&apiKey=public&nonce=17000000000000&params=order_id=2929292929"
    request = with_signature(dress("delTradeOrder", FIELDS, ""), Secret("public").mac(text.encode()))
    found = judge(request)
    assert found is not None
    assert set(found.mistakes) == {"unsorted", "key-as-secret"}
    assert found.signed == text
    assert found.expected.startswith("apiKey=public&cmd=")
    assert found.difference == 0


def test_a_mistake_in_writing_leaves_the_strings_equal() -> None:
    request = dress("delTradeOrder", FIELDS, sign(FIELDS, "secret").signature.upper())
    found = judge(request)
    assert found is not None
    assert found.mistakes == ("upper-case-hex",)
    assert found.signed == found.expected
    assert found.difference == -1


def test_a_wrong_signature_is_found_under_a_wrong_name_too() -> None:
    signature = Secret("secret").mac(b"cmd=delTradeOrder&apiKey=public&nonce=17000000000000&params=order_id=2929292929")
    request = with_signature(dress("delTradeOrder", FIELDS, ""), None)
    request = Request(request.method, request.path, (*request.headers, ("X-Nt-Sign", signature)), request.body)
    found = judge(request, "signature-missing")
    assert found is not None
    assert found.mistakes == ("header-misspelt", "unsorted")
    assert "X-Nt-Sign" in found.told


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=8, max_size=40))
def test_a_planted_secret_never_shows(secret: str) -> None:
    pair = Credentials("public", Secret(f"a{secret}b"))
    planted = pair.secret.reveal()
    expected = sign(FIELDS, pair.secret).string_to_sign
    for text in (expected + planted, f"{planted}&{expected}", f"{expected}&secret={planted}"):
        found = judge(dress("delTradeOrder", FIELDS, pair.secret.mac(text.encode())), pair=pair)
        assert found is not None
        assert found.mistakes
        assert "***" in found.signed
        assert planted not in repr(found)
    swapped = dress("delTradeOrder", {**FIELDS, "apiKey": planted}, "ab" * 32)
    unknown = diagnose(swapped, "key-unknown", None, at_ns=0, others=[pair])
    assert unknown is not None
    assert unknown.mistakes == ("key-and-secret-swapped",)
    assert planted not in repr(unknown)


@pytest.mark.slow
def test_each_wrong_signature_is_traced_back_to_a_mistake() -> None:
    wrong = list(wrong_signatures(FIELDS, PAIR))
    assert {mistake for mistake, _ in wrong} <= set(CORPUS.mistakes)
    assert len({mistake for mistake, _ in wrong}) > 60
    for mistake, signature in wrong:
        assert mistakes(dress("delTradeOrder", FIELDS, signature)), mistake


def test_params_without_their_name_are_no_map_as_it_is_printed() -> None:
    signed = PAIR.secret.mac(b"apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params=2929292929")
    assert mistakes(dress("delTradeOrder", FIELDS, signed)) == ("values-only",)
    printed = PAIR.secret.mac(b"apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params=[object Object]")
    assert mistakes(dress("delTradeOrder", FIELDS, printed)) == ("params-as-repr",)


@pytest.mark.parametrize("written", ['{"order_id":5}', '{"order_id": 5}'])
def test_a_name_sent_twice_and_signed_once_is_no_matter_of_white_space(written: str) -> None:
    right = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 5}).request
    twice = replace(right, body=b'{"order_id":7,"order_id":5}')
    found = judge(with_signature(twice, PAIR.secret.mac(f"{written}1700000000".encode())))
    assert found is not None
    assert (found.mistakes, found.told, found.fix) == ((), "", "")
    assert found.hint == "the body was sent with the name order_id twice, and signed with it once"
    assert found.signed == f"{written}1700000000"
    assert found.difference == 12
    stamp_first = judge(with_signature(twice, PAIR.secret.mac(f"1700000000{written}".encode())))
    assert stamp_first is not None
    assert stamp_first.mistakes == ("timestamp-first",)
    spaced = b'{"order_id": 7, "order_id":5}1700000000'
    assert mistakes(with_signature(replace(twice, body=spaced[:-10]), PAIR.secret.mac(spaced.replace(b" ", b"")))) == (
        "json-spacing",
    )


def test_an_earlier_request_tells_which_nonce_was_signed() -> None:
    earlier = dress("delTradeOrder", {**FIELDS, "nonce": "16123456789"}, "")
    wrong = sign({**FIELDS, "nonce": "16123456789"}, "secret").signature
    request = dress("delTradeOrder", FIELDS, wrong)
    assert mistakes(request) == ()
    found = diagnose(request, "signature-invalid", PAIR, at_ns=0, earlier=[earlier])
    assert found is not None
    assert found.mistakes == ("other-request-signed",)


# ---- bodies that differ from the signed string -----------------------------------------------------------------

RIGHT = "apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params=order_id=2929292929"
START = "apiKey=public&cmd=delTradeOrder&nonce=17000000000000"


def sent(body: str, signed: str, secret: str = "secret") -> Request:
    """A request whose body differs from what was signed."""
    headers = (("Content-Type", FORM_TYPE), (SIGNATURE_HEADER, Secret(secret).mac(signed.encode())))
    return Request("POST", COMMAND_PATH + "delTradeOrder", headers, body.encode())


@pytest.mark.parametrize(
    ("body", "signed", "named"),
    [
        (f"{START}&None%5Border_id%5D=2929292929", RIGHT, {"params-misspelt"}),
        (f"{START}&param%5Border_id%5D=2929292929", RIGHT, {"params-misspelt"}),
        (f"{START}&data%5Border_id%5D=2929292929", RIGHT, {"params-misspelt"}),
        (f"{START}&params%5BorderId%5D=2929292929", RIGHT, {"order-id-misspelt"}),
        (f"{START}&params%5Bid%5D=2929292929", RIGHT, {"order-id-misspelt"}),
        (f"{START}&params%5Border_id%5D%5B%5D=2929292929", RIGHT, {"order-id-nested"}),
        (f"{START}&order_id=2929292929", RIGHT, {"params-sent-lifted"}),
        (START, RIGHT, {"params-not-sent"}),
        (RIGHT.replace("nonce", "ts").replace("params=order_id", "params%5Border_id%5D"), RIGHT, {"nonce-misspelt"}),
        (RIGHT.replace("cmd", "command").replace("params=order_id", "params%5Border_id%5D"), RIGHT, {"cmd-misspelt"}),
        (
            "apiKey=public&nonce=17000000000000&params%5Border_id%5D=2929292929",
            RIGHT,
            {"cmd-only-in-path"},
        ),
        (
            'apiKey=public&cmd=delTradeOrder&q={"cmd":"delTradeOrder","params":{"order_id":5}}',
            "cmd=delTradeOrder&params=order_id=5",
            {"v1-envelope"},
        ),
        (f"{START}&None%5Border_id%5D=2929292929", RIGHT.replace("&", "|"), {"params-misspelt", "other-separators"}),
    ],
)
def test_a_body_that_differs_from_the_signed_string_is_named(body: str, signed: str, named: set[str]) -> None:
    found = judge(sent(body, signed))
    assert found is not None
    assert set(found.mistakes) == named
    assert found.signed == signed


def test_params_that_may_have_been_signed_and_are_not_sent_are_doubted() -> None:
    found = judge(sent(START, RIGHT.replace("2929292929", "77123")))
    assert found is not None
    assert not found.mistakes
    assert found.hint.endswith("the body holds no params: if they were signed, send them")


# ---- which stages are right ------------------------------------------------------------------------------------


@pytest.mark.parametrize("configured", ["secret\r", '"secret"', "'secret'", " secret", "secret\n", '"secret"\r\n'])
def test_the_secret_that_is_configured_here_is_doubted_before_the_client(configured: str) -> None:
    found = judge(
        sent(f"{START}&params%5Border_id%5D=2929292929", RIGHT), pair=Credentials("public", Secret(configured))
    )
    assert found is not None
    assert found.mistakes == ("secret-trimmed",)
    assert found.fix.startswith("Check TN_API_SECRET here first")


def test_an_odd_secret_is_doubted_where_nothing_is_found_too() -> None:
    request = sent(f"{START}&params%5Border_id%5D=2929292929", "something else")
    found = judge(request, pair=Credentials("public", Secret("secret\r")))
    assert found is not None
    assert found.hint.endswith("check TN_API_SECRET")
    unknown = diagnose(request, "key-unknown", None, at_ns=0, others=[Credentials('"public"', Secret("secret"))])
    assert unknown is not None
    assert unknown.hint.endswith("check TN_API_KEY")


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (Secret("secret\n").mac(RIGHT.encode()), "The string that was signed is right; the key is not."),
        (hashlib.sha256(RIGHT.encode()).hexdigest(), "The string that was signed is right; the digest is not."),
        (
            Secret("secret").mac(RIGHT.encode()).upper(),
            "String, key and digest are right; how the digest is written is not.",
        ),
        (
            hmac.digest(b"public", RIGHT.encode(), "sha1").hex(),
            "The string that was signed is right; the key and the digest are not.",
        ),
    ],
)
def test_equal_strings_are_said_to_be_right(signature: str, told: str) -> None:
    found = judge(with_signature(dress("delTradeOrder", FIELDS, ""), signature))
    assert found is not None
    assert found.told.endswith(told)
    assert found.difference == -1


def test_the_bytes_of_a_signature_in_base64_are_counted_where_nothing_is_found() -> None:
    found = judge(with_signature(dress("delTradeOrder", FIELDS, ""), base64.b64encode(b"\xab" * 20).decode()))
    assert found is not None
    assert found.hint.endswith("They decode to 20 bytes, as SHA-1 gives")


@pytest.mark.parametrize(
    "write",
    [
        lambda digest: digest[::-1].hex(),
        lambda digest: digest.hex()[::-1],
        lambda digest: str(list(digest)),
        lambda digest: "[" + " ".join(map(str, digest)) + "]",
        lambda digest: str(int.from_bytes(digest, "big")),
        lambda digest: base64.b32encode(digest).decode(),
        lambda digest: digest.hex(":"),
        lambda digest: digest.hex("-").upper(),
        lambda digest: base64.b64encode(digest).hex(),
        lambda digest: json.dumps({"type": "Buffer", "data": list(digest)}),
        lambda digest: f"(stdin)= {digest.hex()}",
        repr,
    ],
)
def test_how_a_digest_is_written_costs_the_search_nothing(write: Callable[[bytes], str]) -> None:
    """Another mistake is found beside it, because the writing is undone before the search."""
    unsorted = "cmd=delTradeOrder&apiKey=public&nonce=17000000000000&params=order_id=2929292929"
    digest = hmac.digest(b"public", unsorted.encode(), "sha256")
    found = mistakes(with_signature(dress("delTradeOrder", FIELDS, ""), write(digest)))
    assert {"unsorted", "key-as-secret"} < set(found)


@pytest.mark.costly
@pytest.mark.slow
def test_a_search_is_bounded_by_digests_and_goes_further_when_asked_to() -> None:
    case = Case(as_texts(FIELDS), PAIR)
    quick, thorough = find_counted(case, "ab" * 32, QUICK), find_counted(case, "ab" * 32, THOROUGH)
    assert quick[0] is thorough[0] is None
    assert 8_000 < quick[1] < 14_000
    assert 100_000 < thorough[1] < 600_000
    rare = RIGHT.replace("order_id=2929292929", "[AnyHashable(order_id)]")
    assert mistakes(with_signature(dress("delTradeOrder", FIELDS, ""), Secret("public").mac(rare.encode()))) == ()
    signed = Secret("your_secret_key").mac(RIGHT.replace("&", ";").encode())
    request = with_signature(dress("delTradeOrder", FIELDS, ""), signed)
    assert mistakes(request) == ()
    found = diagnose(request, "signature-invalid", PAIR, at_ns=0, thorough=True)
    assert found is not None
    assert set(found.mistakes) == {"other-separators", "placeholder-secret"}


# ---- nonces ------------------------------------------------------------------------------------------------

NOW = 1_790_000_000 * 10**9


@pytest.mark.parametrize(
    ("last", "nonce", "mistake"),
    [
        (NOW // 100, NOW // 10**6, "nonce-unit-changed"),
        (NOW // 10**6, NOW // 10**9, "nonce-unit-changed"),
        (NOW, NOW // 100, "nonce-unit-changed"),
        (NOW // 100, NOW // 100 - 7, "nonces-out-of-order"),
        (NOW // 10**6, NOW // 10**6 - 2000, "nonces-out-of-order"),
        (NOW // 100, NOW // 100 - 3600 * 10**7, "clock-behind"),
        (NOW // 100 + 3600 * 10**7, NOW // 100, "nonce-ran-ahead"),
        (NOW // 100 + 365 * 86400 * 10**7, NOW // 100, "nonce-ran-ahead"),
        (NOW // 100, 12, "nonce-from-counter"),
        (500, 1, "counter-restarted"),
        (500, 499, "nonces-out-of-order"),
    ],
)
def test_a_stale_nonce_is_explained_by_the_clock(last: int, nonce: int, mistake: str) -> None:
    request = compose(PAIR, "delTradeOrder", nonce, {"order_id": "5"}).request
    found = diagnose(request, "nonce-stale", PAIR, at_ns=NOW, last_nonce=str(last))
    assert found is not None
    assert found.mistakes == (mistake,)


@pytest.mark.parametrize(
    ("last", "nonce"),
    [
        (95_634_512_340_987_123, 13_345_612_987_654_321),
        (7_123_456_789_012_345_678, 3_141_592_653_589_793_238),
        (8_446_744_073_709_551, 1_446_744_073_709_551),
        (2**31 - 16, 15),
        (9_999_999_999_990, 12),
        (35_999_999_990, 125_000),
        (20_261_025_025_959_123, 20_261_025_020_000_001),
        (30_112_026_235_959_123, 1_122_026_000_000_001),
        (2_929_292_929, 1_000_001),
        (NOW // 100 + 621_355_968 * 10**9, NOW // 100),
        (2**63 - 1, NOW // 100),
        (NOW // 100, 3_000_000_000),
    ],
)
def test_a_stale_nonce_that_no_clock_explains_is_not_explained(last: int, nonce: int) -> None:
    request = compose(PAIR, "delTradeOrder", nonce, {"order_id": "5"}).request
    found = diagnose(request, "nonce-stale", PAIR, at_ns=NOW, last_nonce=str(last))
    assert found is not None
    assert (found.mistakes, found.told, found.fix) == ((), "", "")
    assert f"{nonce} is below {last}" in found.hint


# ---- in the journal ----------------------------------------------------------------------------------------


def test_the_journal_names_the_mistake_and_the_unmatched_too() -> None:
    broker = Broker(clock=lambda: NOW)
    demo = broker.demo
    right = compose(demo, "delTradeOrder", NOW // 100, {"order_id": "5"}).request
    broker.handle(right)
    broker.handle(right)
    broker.handle(
        with_signature(
            right,
            right.header(
                SIGNATURE_HEADER,
            )
            and "0" * 64,
        )
    )
    swapped = compose(Credentials(demo.secret.reveal(), Secret(demo.api_key)), "delTradeOrder", 1, {"order_id": "5"})
    broker.handle(swapped.request)
    session = broker.session(demo.api_key)
    assert session is not None
    first, again, third = session.journal.exchanges()
    assert first.diagnosis is None
    assert again.diagnosis is not None
    assert again.diagnosis.mistakes == ("request-sent-again",)
    assert third.diagnosis is not None
    assert third.diagnosis.hint.startswith("64 hex digits")
    (unmatched,) = broker.unmatched.exchanges()
    assert unmatched.diagnosis is not None
    assert unmatched.diagnosis.mistakes == ("key-and-secret-swapped",)
    assert session.journal.exchanges()[1].diagnosis is again.diagnosis, "found once, then kept"


def test_a_journal_is_diagnosed_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("tn_contract.diagnosis.diagnose.find", lambda *_: asked.append("find"))
    broker = Broker()
    broker.handle(with_signature(compose(broker.demo, "delTradeOrder", 1, {"order_id": "5"}).request, "ab" * 32))
    assert not asked
    session = broker.session(broker.demo.api_key)
    assert session is not None
    session.journal.exchanges()
    session.journal.exchanges()
    assert asked == ["find"]
    assert find is not None


# ---- in reports --------------------------------------------------------------------------------------------


def test_a_judged_client_is_told_its_mistake_and_shown_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    broker = Broker(clock=lambda: NOW)
    unsorted = "cmd=delTradeOrder&apiKey=tn-demo-key&nonce=5&params=order_id=7"
    right = compose(broker.demo, "delTradeOrder", 5, {"order_id": "7"}).request
    broker.handle(with_signature(right, broker.demo.secret.mac(unsorted.encode())))
    session = broker.session(broker.demo.api_key)
    assert session is not None
    judge = ClientJudge(of_session("a client", session.journal.exchanges()), catalogue())
    result = judge.judge("signs/each-request")
    mistake = CORPUS.mistakes["unsorted"]
    assert result.finding.verdict == "fail"
    assert result.finding.actual.endswith(f". {mistake.title} {mistake.fix}")
    row = report_rows.row_of(result, "a client", "tn-contract judge")
    built = report_rows.build([row], report_rows.Subject("a client", "client"), started="", elapsed=0, code=1)
    report_text.print_text(built)
    text = capsys.readouterr().out
    for shown in (text, report_html.to_html(built).replace("&amp;", "&").replace("&#39;", "'")):
        assert f"signed    '{unsorted}'" in shown
        assert "wanted    'apiKey=tn-demo-key&cmd=" in shown
        assert "           ^ differs from here" in shown


def test_a_nonce_used_twice_is_explained_where_it_is_judged() -> None:
    broker = Broker(clock=lambda: NOW)
    for order_id in ("7", "8"):
        broker.handle(compose(broker.demo, "delTradeOrder", 5, {"order_id": order_id}).request)
    session = broker.session(broker.demo.api_key)
    assert session is not None
    judge = ClientJudge(of_session("a client", session.journal.exchanges()), catalogue())
    assert judge.judge("draws/rising").finding.actual.endswith(CORPUS.mistakes["nonce-used-twice"].fix)


# ---- v3 ----------------------------------------------------------------------------------------------------


@given(ms=st.integers(1_700_000_000_000, 1_799_999_999_999), order_id=st.integers(1, 2**63 - 1))
def test_a_clock_in_milliseconds_is_found_whatever_its_last_digits_are(ms: int, order_id: int) -> None:
    request = compose_v3(PAIR, "delTradeOrder", ms // 1000, {"order_id": order_id}).request
    wrong = with_signature(request, PAIR.secret.mac(request.body + str(ms).encode()))
    assert mistakes(wrong) == ("timestamp-in-other-unit",)


@given(params=params, second=st.integers(10**9, 2 * 10**9))
def test_a_valid_v3_request_never_gets_a_diagnosis(params: dict[str, str], second: int) -> None:
    request = compose_v3(PAIR, "delTradeOrder", second, {**params, "order_id": 5}).request
    for situation in CORPUS.situations:
        if situation not in NO_KEY_KNOWN:
            assert diagnose(request, situation, PAIR, at_ns=second * 10**9) is None
    assert explain(request, PAIR.secret, at_ns=0).right


def test_two_mistakes_of_v3_are_both_named() -> None:
    request = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 5}).request
    text = '1700000000000{"order_id": 5}'
    found = judge(with_signature(request, PAIR.secret.mac(text.encode())))
    assert found is None or found.mistakes == ()  # three: nothing is guessed
    found = judge(with_signature(request, PAIR.secret.mac(b'1700000000{"order_id": 5}')))
    assert found is not None
    assert set(found.mistakes) == {"json-spacing", "timestamp-first"}
    assert found.fix.startswith("Write the body once")


def test_each_generation_is_told_apart_at_the_others_address() -> None:
    v3 = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 5}).request
    at_v2 = replace(v3, path=COMMAND_PATH + "delTradeOrder")
    assert mistakes(at_v2, situation_of(at_v2, PAIR)) == ("v3-request",)
    v2 = compose(PAIR, "delTradeOrder", 5, {"order_id": "5"}).request
    at_v3 = replace(v2, path=COMMAND_PATH_V3 + "delTradeOrder")
    for request in (at_v3, replace(at_v3, headers=(*at_v3.headers, ("X-NtApi-PublicKey", "public")))):
        assert mistakes(request, situation_of(request, PAIR)) == ("v2-request",)


@given(body=st.binary(max_size=60), stamp=st.text(max_size=20), signature=texts)
def test_whatever_comes_to_an_address_of_v3_there_is_an_answer(body: bytes, stamp: str, signature: str) -> None:
    headers = (("X-NtApi-PublicKey", "public"), ("X-NtApi-Timestamp", stamp), (SIGNATURE_HEADER, signature))
    for content in (body, b'{"order_id":' + body, b'{"a":{"b":[]},"order_id":null}'):
        request = Request("POST", "/api/delTradeOrder", headers, content)
        for situation in (situation_of(request, PAIR), "order-id-missing", "body-malformed", "timestamp-malformed"):
            found = diagnose(request, situation, PAIR, at_ns=NOW, earlier=[request])
            assert found is None or set(found.mistakes) <= set(CORPUS.mistakes)
