"""On an account that is not ours: no effects, a budget, a pause, no nonce ahead of the clock, no secrets in reports.

The mock plays the sandbox: its address is made to look like a foreign host, and its control plane is closed.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from mock_server.broker import Broker
from mock_server.serve import RunningMock, running
from tn_contract.contract import address
from tn_contract.contract.errors import BudgetExceeded, TargetRefused, UsageError
from tn_contract.contract.wire import parse_fields
from tn_contract.judge.server import Judge, catalogue
from tn_contract.judge.server import target as targets
from tn_contract.judge.server.target import Target, TargetOptions
from tn_contract.judge.verdicts import Result
from tn_contract.record.journal import Exchange
from tn_contract.report import html as report_html
from tn_contract.report import rows as report_rows
from tn_contract.report.rows import row_of, target_subject

pytestmark = pytest.mark.slow

KEY, SECRET = "sandbox-public-key-0123456789", "planted+secret/with=odd&characters 0123456789"
SECOND_KEY, SECOND_SECRET = "second-public-key-0123456789", "second-planted-secret-0123456789"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningMock]:
    broker = Broker()
    broker.open_session(KEY, SECRET)
    broker.open_session(SECOND_KEY, SECOND_SECRET)
    monkeypatch.setattr(address, "is_loopback", lambda _host: False)
    monkeypatch.setenv("no_proxy", "*")
    for name, value in {"TN_API_KEY": KEY, "TN_API_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    with running(broker) as mock:
        yield mock


@pytest.fixture
def two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TN_API_KEY_2", SECOND_KEY)
    monkeypatch.setenv("TN_API_SECRET_2", SECOND_SECRET)


def _judge_all(options: TargetOptions) -> tuple[Target, list[Result]]:
    judge = Judge(Target(options), catalogue())
    try:
        return judge.target, [judge.judge(check_id) for check_id in catalogue()]
    finally:
        judge.close()


def _quick(mock: RunningMock, **more: object) -> TargetOptions:
    return TargetOptions(mock.base_url, pause=0.0, **more)  # type: ignore[arg-type] # the caller names fields


def _received(mock: RunningMock) -> list[Exchange]:
    session = mock.broker.session(KEY)
    assert session
    return [*session.journal.exchanges(), *mock.broker.unmatched.exchanges()]


def test_only_checks_without_effect_run_by_default(sandbox: RunningMock) -> None:
    target, results = _judge_all(_quick(sandbox))
    assert target.target_class == "sandbox"
    assert not target.disposable
    for result in results:
        assert (result.verdict == "skipped") >= (result.check.effect != "none")
        assert result.verdict not in ("fail", "error", "blocked"), (result.check.id, result.finding)
    ran = [result for result in results if result.verdict != "skipped"]
    assert len(ran) >= 30
    for exchange in _received(sandbox):
        assert "2929292929" not in exchange.request.body, "no request names an order"


def test_nothing_is_cancelled_and_no_order_named_unless_allowed(sandbox: RunningMock) -> None:
    _judge_all(_quick(sandbox, effects="attempt", order_ids=(4242424242,), budget=2000))
    cancelled = [each for each in _received(sandbox) if each.assessment and each.assessment.effect == "cancelled"]
    assert cancelled == []


def test_no_order_is_named_unless_the_user_names_it(sandbox: RunningMock) -> None:
    _target, results = _judge_all(_quick(sandbox, effects="attempt", budget=2000))
    assert {result.verdict for result in results if result.check.effect == "attempt"} == {"skipped"}
    assert all("2929292929" not in exchange.request.body for exchange in _received(sandbox))


def test_one_cancel_serves_every_check_that_needs_one(sandbox: RunningMock) -> None:
    _target, results = _judge_all(_quick(sandbox, effects="cancel", order_ids=(4242424242,), budget=2000))
    cancelled = [each for each in _received(sandbox) if each.assessment and each.assessment.effect == "cancelled"]
    assert {each.assessment.order_id for each in cancelled if each.assessment} == {"4242424242"}
    # The cancel itself, and the observed check that asks what a second one answers.
    assert len(cancelled) == 2
    verdicts = {result.check.id: result.verdict for result in results}
    assert verdicts["control/accepts-cancel"] == verdicts["reply/success-echoes-order-id"] == "pass"


def test_no_nonce_is_ahead_of_the_clock(sandbox: RunningMock, two_keys: None) -> None:
    _judge_all(_quick(sandbox, effects="attempt", order_ids=(4242424242,), budget=2000))
    limit = time.time_ns() // 100
    session = sandbox.broker.session(KEY)
    assert session
    for exchange in session.journal.exchanges():
        nonce = dict(parse_fields(exchange.request.body.encode())).get("nonce", "")
        # As the most careless reader might take it: all digits before a point or an exponent, in any script.
        digits = re.sub(r"[^0-9]", "", unicodedata.normalize("NFKC", re.split(r"[.eE]", nonce)[0]))
        assert int(digits or 0) <= limit, nonce
    assert session.ledger.last is not None
    assert session.ledger.last <= limit


def test_the_default_budget_is_enough_and_the_pause_is_kept(
    sandbox: RunningMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(targets.time, "sleep", naps.append)
    target, results = _judge_all(TargetOptions(sandbox.base_url))
    assert target.requests <= targets.SANDBOX_BUDGET
    assert naps.count(targets.SANDBOX_PAUSE) >= target.requests - 1
    assert all(result.verdict != "error" for result in results)


def test_no_two_requests_are_sent_together_where_a_pause_is_promised(
    sandbox: RunningMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets.time, "sleep", lambda _seconds: None)

    def verdict(options: TargetOptions) -> str:
        judge = Judge(Target(options), catalogue())
        try:
            return judge.judge("nonce/accepted-once-in-a-race").verdict
        finally:
            judge.close()

    assert verdict(TargetOptions(sandbox.base_url)) == "skipped"
    assert verdict(_quick(sandbox)) == "pass"


def test_the_budget_ends_the_run_as_an_error(sandbox: RunningMock) -> None:
    target, results = _judge_all(_quick(sandbox, budget=3))
    assert target.requests == 3
    assert {result.verdict for result in results} >= {"error"}
    rows = [row_of(result, target.base_url, "tn-contract verify") for result in results]
    assert report_rows.exit_code(rows, strict=False) == 3
    with pytest.raises(BudgetExceeded):
        target.send(targets.Request("GET", "/"))


def test_the_control_plane_of_a_foreign_host_is_not_looked_for(sandbox: RunningMock) -> None:
    _judge_all(_quick(sandbox))
    assert all("__tn__" not in each.request.line for each in _received(sandbox))


def test_reports_hold_no_secret_no_key_and_no_signature(sandbox: RunningMock, two_keys: None, tmp_path: Path) -> None:
    target, results = _judge_all(_quick(sandbox, effects="cancel", order_ids=(4242424242,), budget=3000))
    rows = [row_of(result, target.base_url, "tn-contract verify") for result in results]
    report = report_rows.build(rows, target_subject(target), started="2026-01-01T00:00:00Z", elapsed=1.0, code=0)
    written = report_rows.to_json(report).decode() + report_html.to_html(report)
    for text in (SECRET, SECOND_SECRET, "planted", KEY, SECOND_KEY):
        assert text not in written
    signatures = [
        value
        for exchange in _received(sandbox)
        for name, value in exchange.request.headers
        if name.lower() == "x-ntapi-sig" and len(value) == 64 and len(set(value)) > 8
    ]
    assert signatures
    assert not [signature for signature in signatures if signature in written]


def test_a_clause_of_our_own_is_only_noted(sandbox: RunningMock) -> None:
    sandbox.broker.policy = "none"
    session = sandbox.broker.session(KEY)
    assert session
    session.ledger.policy = "none"
    _target, results = _judge_all(_quick(sandbox))
    verdicts = {result.check.id: result for result in results}
    replay = verdicts["nonce/refuses-replay"]
    assert replay.verdict == "info"
    assert replay.finding.expected.startswith("(synthetic, so no more than noted)")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "loopback"),
        ("http://[::1]:8080", "loopback"),
        ("http://localhost", "loopback"),
        ("https://tradernet.com", "live"),
        ("https://wss.tradernet.com.", "live"),
        ("https://TRADERNET.com", "live"),
        ("https://mytradernet.com", "sandbox"),
        ("http://tradernet-mock:8787", "sandbox"),
        ("https://demo.tradernet.example", "live"),
        ("https://freedom24.example", "live"),
        ("https://xn--tradernet-9za.example", "live"),
        ("https://freedomfinance.eu", "live"),
        ("https://api.tradernet-demo.example", "live"),
        ("http://tradernet", "live"),
        ("http://any.name.localhost:1", "loopback"),
        ("https://sandbox.example", "sandbox"),
        ("http://127.0.0.1.example", "sandbox"),
    ],
)
def test_hosts_have_classes(url: str, expected: str) -> None:
    assert address.parse_address(url).target_class == expected


def test_a_live_host_must_be_named_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TN_API_KEY", KEY)
    monkeypatch.setenv("TN_API_SECRET", SECRET)
    with pytest.raises(TargetRefused, match=r"--allow-live tradernet\.com"):
        Target(TargetOptions("https://tradernet.com"))
    with pytest.raises(TargetRefused):
        Target(TargetOptions("https://tradernet.com", allow_live="tradernet.kz"))
    allowed = Target(TargetOptions("https://tradernet.com", allow_live="tradernet.com"))
    assert allowed.effects == "none"
    allowed.close()


def test_a_foreign_server_without_credentials_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "_find_control_plane", lambda _self: {})
    for name in ("TN_API_KEY", "TN_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="set TN_API_KEY and TN_API_SECRET"):
        Target(TargetOptions("http://127.0.0.1:9"))
