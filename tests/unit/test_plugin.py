"""The pytest plugin as users meet it: their own test files, run by a pytest of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server.serve import RunningMock
from tn_contract.cli.serve import serve
from tn_contract.contract.errors import UsageError
from tn_contract.judge.server import catalogue
from tn_contract.trial import embedded

pytestmark = pytest.mark.slow


def _pytest(folder: Path, *arguments: str, source: str = "") -> subprocess.CompletedProcess[str]:
    if source:
        (folder / "test_mine.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_users_get_a_mock_a_session_and_a_client(tmp_path: Path) -> None:
    source = """
import pytest
import tn_contract
from tn_contract.contract.errors import UsageError

def test_cancels(tn_client, tn_session):
    assert tn_client.cancel_order(2929292929).order_id == 2929292929
    assert tn_session.cancelled() == [2929292929]
    [exchange] = tn_session.journal()
    assert exchange.assessment.situation == "cancel-accepted"

def test_refuses(tn_client, tn_session):
    with pytest.raises(tn_contract.Rejected) as refusal:
        tn_client.cancel_order(9900000012)
    assert refusal.value.code == 12
    assert tn_session.cancelled() == []

def test_sessions_are_apart(tn_session, tn_new_session):
    with tn_new_session() as other:
        assert other.api_key != tn_session.api_key
        assert other.api_secret not in repr(other)
        assert other.base_url == tn_session.base_url

def test_a_closed_session_is_gone(tn_new_session, tn_mock):
    with tn_new_session() as session:
        assert tn_mock.broker.session(session.api_key)
    assert tn_mock.broker.session(session.api_key) is None
    assert session.journal() == []
    with pytest.raises(UsageError, match=f"{session.api_key} is closed.*tn_new_session"):
        session.play({"fault": "drop"})
    assert tn_mock.broker.scenario is None
"""
    ran = _pytest(tmp_path, "-q", "-W", "error", source=source)
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout


SCENARIO = """
import pytest
import tn_contract

@pytest.mark.tn_scenario({"fault": "drop", "when": "after-apply", "times": 1})
def test_lost(tn_client, tn_session):
    with pytest.raises(tn_contract.OutcomeUnknown):
        tn_client.cancel_order(5)
    assert tn_session.cancelled() == [5]
    tn_client.cancel_order(6)

def test_unmarked(tn_client):
    tn_client.cancel_order(5)

def test_by_hand(tn_client, tn_session):
    scenario = tn_session.play({"payload": "method-error"})
    with pytest.raises(tn_contract.Rejected):
        tn_client.cancel_order(5)
    assert scenario.unused() == []
"""


def test_a_marker_says_what_befalls_a_tests_commands(tmp_path: Path) -> None:
    ran = _pytest(tmp_path, "-q", "-W", "error", "--strict-markers", source=SCENARIO)
    assert ran.returncode == 0, ran.stdout


def test_a_rule_that_hits_nothing_is_a_warning_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    source = """
import pytest

@pytest.mark.tn_scenario({"name": "never", "fault": "drop", "order_id": 7})
def test_unused(tn_session):
    pass

@pytest.mark.tn_scenario({"fault": "explode"})
def test_wrong(tn_session):
    pass
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert "tn_scenario: never hit nothing" in ran.stdout
    assert "rule 1, fault: Invalid enum value 'explode'" in ran.stdout
    assert "1 passed" in ran.stdout
    assert "1 error" in ran.stdout


def test_a_mark_of_a_whole_module_leaves_tests_without_a_session_alone(tmp_path: Path) -> None:
    source = """
import pytest
import tn_contract

pytestmark = pytest.mark.tn_scenario({"payload": "method-error"})

def test_plain():
    pass

def test_refused(tn_client):
    with pytest.raises(tn_contract.Rejected):
        tn_client.cancel_order(5)
"""
    ran = _pytest(tmp_path, "-q", "-W", "error", source=source)
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


MARKED_WRONG = {
    "no_session": ('@pytest.mark.tn_scenario({"fault": "drop"})', "tn_new_session", "which this test does not use"),
    "stacked": (
        '@pytest.mark.tn_scenario({"fault": "drop"})\n@pytest.mark.tn_scenario({"fault": "reset"})',
        "tn_session",
        "tn_scenario stands here twice: give all rules to one",
    ),
    "bare": ("@pytest.mark.tn_scenario()", "tn_session", "tn_scenario has no rule"),
    "keywords": (
        '@pytest.mark.tn_scenario(fault="drop")',
        "tn_session",
        "tn_scenario does not know fault: a rule is a dict",
    ),
    "text": ('@pytest.mark.tn_scenario("drop")', "tn_session", "rule 1: Expected `object`, got `str`"),
}


@pytest.mark.parametrize("name", MARKED_WRONG)
def test_a_wrong_marker_is_an_error_in_its_own_words(tmp_path: Path, name: str) -> None:
    marker, fixture, told = MARKED_WRONG[name]
    ran = _pytest(tmp_path, "-q", source=f"import pytest\n\n{marker}\ndef test_marked({fixture}):\n    pass\n")
    assert told in ran.stdout
    assert "1 error" in ran.stdout
    assert "INTERNALERROR" not in ran.stdout
    assert "_pytest" not in ran.stdout


def test_a_tests_own_marker_goes_before_that_of_its_class(tmp_path: Path) -> None:
    source = """
import pytest
import tn_contract

@pytest.mark.tn_scenario({"fault": "drop"})
class TestAll:
    @pytest.mark.tn_scenario({"payload": "method-error"})
    def test_own(self, tn_client):
        with pytest.raises(tn_contract.Rejected):
            tn_client.cancel_order(5)

    def test_inherited(self, tn_client):
        with pytest.raises(tn_contract.OutcomeUnknown):
            tn_client.cancel_order(5)
"""
    ran = _pytest(tmp_path, "-q", "-W", "error", source=source)
    assert "2 passed" in ran.stdout, ran.stdout


def test_a_failing_test_shows_what_the_mock_saw(tmp_path: Path) -> None:
    source = """
def test_seen(tn_client, tn_session):
    tn_client.cancel_order(5)
    assert tn_session.cancelled() == [6]

def test_nothing_seen(tn_session):
    assert tn_session.cancelled() == [6]
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert ran.returncode == 1
    assert ran.stdout.count("what the mock saw") == 2
    assert '"situation": "cancel-accepted"' in ran.stdout
    assert "no request with this test's key" in ran.stdout


def test_a_fresh_session_for_each_example_is_safe_under_given(tmp_path: Path) -> None:
    source = """
from hypothesis import given, settings
from tn_contract import Client, strategies

@settings(max_examples=20, deadline=None)
@given(strategies.order_ids())
def test_any_order_is_cancelled(tn_new_session, order_id):
    with tn_new_session() as session, Client(session.api_key, session.api_secret, base_url=session.base_url) as client:
        client.cancel_order(order_id)
        assert session.cancelled() == [order_id]
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert ran.returncode == 0, ran.stdout


def test_the_mock_is_configured_by_overriding_a_fixture(tmp_path: Path) -> None:
    source = """
import pytest
from tn_contract import Client

@pytest.fixture(scope="session")
def tn_mock_options():
    return {"reply": {"cancel-accepted": "success-result-1"}, "nonces": "unique"}

def test_the_attested_success(tn_client):
    assert tn_client.cancel_order(5).evidence == "result"
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert ran.returncode == 0, ran.stdout


def test_the_suite_runs_beside_a_users_own_tests(tmp_path: Path, tn_mock: RunningMock) -> None:
    source = "def test_mine(): pass\n"
    options = ["--tn-target", tn_mock.base_url, "--tn-check", "control", "-v"]
    ran = _pytest(tmp_path, "--pyargs", "tn_contract.suite", "test_mine.py", *options, source=source)
    assert ran.returncode == 0, ran.stdout
    assert "test_check[control/opens-session] PASSED" in ran.stdout
    assert "3 passed" in ran.stdout
    assert f"{tn_mock.base_url}: 2 pass · 4 requests" in ran.stdout


@pytest.mark.full
def test_the_suite_may_be_split_among_workers(tmp_path: Path, tn_mock: RunningMock) -> None:
    report = tmp_path / "report.json"
    options = ["-n", "2", "--tn-check", "request", "--tn-json", str(report), "--tn-html", str(tmp_path / "r.html")]
    ran = _pytest(tmp_path, "--pyargs", "tn_contract.suite", "--tn-target", tn_mock.base_url, "-q", *options)
    assert ran.returncode == 0, ran.stdout
    judged = [row["id"] for row in json.loads(report.read_text("utf-8"))["checks"]]
    assert judged == [check.id for check in catalogue().values() if check.group == "request"]
    assert (tmp_path / "r.html").stat().st_size > 1000


def test_markers_select_checks_by_effect(tmp_path: Path) -> None:
    options = ["--collect-only", "-q", "-m", "tn_effect"]
    ran = _pytest(tmp_path, "--pyargs", "tn_contract.suite", "--strict-markers", *options)
    assert ran.stdout.count("test_check[") == len(catalogue())


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--tn-target", "https://tradernet.com"], 4, "known to be live"),
        (["--tn-target", "http://127.0.0.1:1"], 3, "does not answer"),
        (["--tn-check", "nothing"], 4, "no check matches"),
        (["--tn-check", "control", "--tn-exclude", "control"], 5, "no check is left"),
        (["--tn-check", "control/accepts-cancel", "--tn-effects", "none"], 5, "1 skipped"),
    ],
    ids=["live", "unreachable", "no match", "nothing left", "all skipped"],
)
def test_exit_codes_are_pytests_own(tmp_path: Path, options: list[str], code: int, sentence: str) -> None:
    ran = _pytest(tmp_path, "--pyargs", "tn_contract.suite", *options)
    assert ran.returncode == code, ran.stdout
    assert sentence in ran.stdout


def test_an_unused_plugin_imports_nothing_but_pytest(tmp_path: Path) -> None:
    source = """
import sys

def test_nothing_was_imported():
    heavy = {"flask", "httpx", "hypothesis", "httptools", "msgspec", "rich", "jinja2", "click", "mock_server"}
    assert not heavy & set(sys.modules)
    ours = {name for name in sys.modules if name.startswith("tn_contract")}
    assert {name for name in ours if not name.startswith("tn_contract.pytest_plugin")} == {"tn_contract"}
"""
    ran = _pytest(tmp_path, "-q", "-p", "no:respx", source=source)
    assert ran.returncode == 0, ran.stdout


def test_another_packages_mock_server_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mock_server import serve

    monkeypatch.setattr(serve, "__file__", str(tmp_path / "mock_server" / "serve.py"))
    with pytest.raises(UsageError, match=r"another package's mock_server is in the way"):
        embedded.load_mock()


def test_a_missing_mock_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mock_server", None)
    with pytest.raises(UsageError, match=r"the mock cannot be imported"):
        embedded.load_mock()


# ---- options of the mock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ('{"nonce": "unique"}', "the mock has no option 'nonce': did you mean 'nonces'?"),
        ('{"policy": "unique"}', "the mock has no option 'policy': did you mean 'nonces'?"),
        ('{"replies": {}}', "the mock has no option 'replies': did you mean 'reply'?"),
        ('{"journal_file": "x"}', "the mock has no option 'journal_file': did you mean 'journal'?"),
        ('{"strict-path": True}', "the mock has no option 'strict-path': did you mean 'strict_path'?"),
        ('{"zzz": 1}', "the mock has no option 'zzz': it has host, port, nonces,"),
        ('{"nonces": "uniqe"}', "the mock's option nonces cannot be 'uniqe': choose monotonic, unique, none"),
        ('{"orders": "boook"}', "the mock's option orders cannot be 'boook': choose replay, book"),
        ('{"strict_path": "yes"}', "the mock's option strict_path must be bool, not str"),
        ('{"seed": True}', "the mock's option seed must be int, not bool"),
        ('{"reply": "cancel-accepted=success"}', "the mock's option reply must be Mapping, not str"),
        ('{"reply": {"cancel-acepted": "success"}}', "no situation is called 'cancel-acepted'"),
        ("None", "the options of the mock are a dict, not NoneType"),
    ],
)
def test_options_of_the_mock_that_are_not_understood_are_named_in_one_sentence(
    options: str, sentence: str, tmp_path: Path
) -> None:
    source = f"""
import pytest

@pytest.fixture(scope="session")
def tn_mock_options():
    return {options}

def test_it(tn_session):
    pass
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert ran.returncode == 1
    assert f"tn_mock_options is not understood: {sentence}" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "TypeError" not in ran.stdout


def test_the_options_of_the_mock_have_the_names_of_the_command_line() -> None:
    names = {parameter.name for parameter in serve.params}
    of_the_command_alone = {"as_json", "debug", "ready_file", "access_log", "workers"}
    assert names - of_the_command_alone == set(embedded.OPTIONS) - {"clock", "journal_size"}


def test_an_option_of_the_mock_that_is_none_is_its_default() -> None:
    assert embedded.mock_options({"seed": None, "nonces": "none", "journal": "x.jsonl"}) == {
        "policy": "none",
        "journal_file": Path("x.jsonl"),
    }


@pytest.mark.timed
def test_the_first_example_imports_nothing(tmp_path: Path) -> None:
    source = """
import sys
import tn_contract
from hypothesis import given, strategies as st

loaded = []

@given(st.integers(1, 10**9))
def test_it(tn_new_session, order):
    before = set(sys.modules)
    with tn_new_session() as s, tn_contract.Client(s.api_key, s.api_secret, base_url=s.base_url) as client:
        client.cancel_order(order)
        assert s.cancelled() == [order]
    loaded.append(set(sys.modules) - before)

def test_what_was_imported():
    assert loaded and not any(loaded), loaded
"""
    ran = _pytest(tmp_path, "-q", source=source)
    assert ran.returncode == 0, ran.stdout
