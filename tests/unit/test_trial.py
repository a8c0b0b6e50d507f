"""Trying a program: what it finds in its environment, and what is made of whatever it does."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from mock_server.serve import running
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.judge.client.cases import ORDINARY, CaseSpec, cases
from tn_contract.record.evidence import Case, Evidence, Process, to_lines
from tn_contract.trial import trial
from tn_contract.trial.reportlines import WORDS_KEPT, read_reports
from tn_contract.trial.trial import Trial

pytestmark = pytest.mark.slow

ONE = CaseSpec("one", "one order", ((ORDINARY,),))
TWO = CaseSpec("two", "two orders", (("1", "2"),))
PLAIN = CaseSpec("plain", "an ordinary order", ((ORDINARY,),))
FAKETIME = trial._find_faketime()
SILENT = next(
    cases()[f"order-{order.order_id}"] for order in load_corpus().magic_orders.values() if order.fault == "silence"
)

CANCEL = """
import hashlib, hmac, os, time, urllib.parse, urllib.request
def cancel(order_id, nonce=None, more=()):
    key, secret = os.environ["TN_API_KEY"], os.environ["TN_API_SECRET"]
    fields = [("apiKey", key), ("cmd", "delTradeOrder"), ("nonce", nonce or time.time_ns())]
    text = "&".join(f"{name}={value}" for name, value in fields) + f"&params=order_id={order_id}"
    body = urllib.parse.urlencode([*fields, ("params[order_id]", order_id)]).encode()
    headers = {"X-NtApi-Sig": hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()}
    url = os.environ["TN_BASE_URL"] + "/api/v2/cmd/delTradeOrder"
    return urllib.request.urlopen(urllib.request.Request(url, body, dict(headers, **dict(more))), timeout=5).read()
"""


def program(tmp_path: Path, source: str) -> str:
    """Write a program; return the command that runs it."""
    path = tmp_path / "client.py"
    path.write_text(f"import json, os, sys, time\n{source}\n")
    return shlex.join([sys.executable, "-S", str(path)])


def run_case(tmp_path: Path, source: str, spec: CaseSpec = ONE, deadline: float = 10) -> Case:
    [case] = Trial(program(tmp_path, source), deadline=deadline).run([spec]).cases
    return case


def run(tmp_path: Path, source: str, spec: CaseSpec = ONE, deadline: float = 10) -> Process:
    return run_case(tmp_path, source, spec, deadline).processes[0]


# ---- the environment ---------------------------------------------------------------------------------------


def test_a_program_finds_what_it_needs_and_nothing_of_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TN_API_KEY", "the user's own")
    monkeypatch.setenv("TN_SOMETHING", "else")
    monkeypatch.setenv("PATH_OF_MINE", "kept")
    source = """
found = {name: value for name, value in os.environ.items() if name.startswith(("TN_", "PATH_OF", "no_", "NO_"))}
found["TN_API_SECRET"] = len(found["TN_API_SECRET"])
json.dump(found, open(sys.argv[0] + ".json", "w"))
"""
    run(tmp_path, source, TWO)
    found: dict[str, Any] = json.loads((tmp_path / "client.py.json").read_text())
    assert found.pop("TN_BASE_URL").startswith("http://127.0.0.1:")
    assert len(found.pop("TN_API_KEY")) == 32
    assert found == {
        "TN_API_SECRET": 40,
        "TN_ORDER_IDS": "1,2",
        "TN_TIMEOUT": "3",
        "PATH_OF_MINE": "kept",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def test_what_it_sends_is_evidence_of_its_own_case_and_process(tmp_path: Path) -> None:
    source = CANCEL + 'cancel(os.environ["TN_ORDER_IDS"]); print(\'{"outcome": "accepted", "code": 0}\')'
    twice = CaseSpec("restart", "two processes", (("11",), ("12",)))
    evidence = Trial(program(tmp_path, source), "me").run([ONE, twice])
    assert evidence.agent == "me"
    assert [case.id for case in evidence.cases] == ["one", "restart"]
    for case, orders in zip(evidence.cases, ([ORDINARY], ["11", "12"]), strict=True):
        assert [process.order_ids for process in case.processes] == [(order,) for order in orders]
        assert [[sent.order_id for sent in process.sent] for process in case.processes] == [[o] for o in orders]
        assert all(sent.accepted for sent in case.sent)
        assert len({sent.exchange.session for sent in case.sent}) == 1
    first, second = evidence.cases
    assert first.sent[0].exchange.session != second.sent[0].exchange.session


def test_requests_without_a_known_key_or_address_are_evidence_too(tmp_path: Path) -> None:
    source = """
import urllib.request
for path in ("/api/v2/cmd/delTradeOrder", "/cmd/delTradeOrder"):
    try:
        urllib.request.urlopen(os.environ["TN_BASE_URL"] + path, b"cmd=delTradeOrder", timeout=5).read()
    except OSError:
        pass
"""
    assert [sent.situation for sent in run(tmp_path, source).sent] == ["key-missing", "address"]


def test_a_client_cannot_reach_the_mock_s_controls(tmp_path: Path) -> None:
    source = """
import urllib.error, urllib.request
try:
    urllib.request.urlopen(os.environ["TN_BASE_URL"] + "/__tn__/health", timeout=5)
except urllib.error.HTTPError as error:
    print(json.dumps({"outcome": "unknown", "code": error.code}))
"""
    [report] = run(tmp_path, source).reports
    assert report.code == 404


def test_cases_are_told_as_they_end_and_kept_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    specs = [ONE, TWO, CaseSpec("slow", "begins first", (("1",),), slow=True)]
    evidence = Trial(program(tmp_path, ""), jobs=1).run(specs, told.append)
    assert told == ["slow", "one", "two"]
    assert [case.id for case in evidence.cases] == ["one", "two", "slow"]


def test_nothing_listens_where_there_is_no_server(tmp_path: Path) -> None:
    source = """
import socket
host, port = os.environ["TN_BASE_URL"].removeprefix("http://").split(":")
try:
    socket.create_connection((host, int(port)), 5)
except ConnectionRefusedError:
    print('{"outcome": "not-sent"}')
"""
    [report] = run(tmp_path, source, cases()["no-server"]).reports
    assert report.outcome == "not-sent"


# ---- reports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "reports"),
    [
        ('{"outcome": "accepted"}\n{"outcome": "rejected", "kind": "k", "code": 5}\n',
         [("1", "accepted", None, None), ("2", "rejected", "k", 5)]),
        ('{"outcome": "accepted", "order_id": 2}\n{"order_id": "1", "outcome": "unknown"}',
         [("2", "accepted", None, None), ("1", "unknown", None, None)]),
        ('starting\n{"outcome": "accepted"}\n{"a": 1}\n[1]\nnull\n"outcome"\n{"outcome": 5}\n\n',
         [("1", "accepted", None, None)]),
        ('{"outcome": "rejected", "code": "2", "kind": 7, "more": [1]}\r\n', [("1", "rejected", None, "2")]),
        ('{"outcome": "rejected", "code": true}\n{"outcome": "rejected", "code": 2.5}\n',
         [("1", "rejected", None, None), ("2", "rejected", None, None)]),
        ('{"outcome": "unknown", "note": "\u2028\u0085\x0b"}'.replace("\x0b", ""), [("1", "unknown", None, None)]),
        ('{"outcome": "cancelled"}\n', [("1", "cancelled", None, None)]),
        ('{"outcome": "accepted"}\n' * 3,
         [("1", "accepted", None, None), ("2", "accepted", None, None),
          ("(one more than asked)", "accepted", None, None)]),
        ("[" * 5000 + "\n", []),
        ('{"outcome": "accep', []),
        ("", []),
    ],
)  # fmt: skip
def test_only_lines_that_speak_the_protocol_are_reports(printed: str, reports: list[Any]) -> None:
    found = [(each.order_id, each.outcome, each.kind, each.code) for each in read_reports(printed, ("1", "2"))]
    assert found == reports


def test_a_report_of_unreasonable_length_is_cut() -> None:
    [report] = read_reports(json.dumps({"outcome": "x" * 10_000, "order_id": "y" * 10_000}), ("1",))
    assert len(report.outcome) == len(report.order_id) == WORDS_KEPT


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    source = """sys.stdout.buffer.write(b'\\xff\\x00\\n{"outcome": "accepted"}\\n\\xfe')"""
    assert [report.outcome for report in run(tmp_path, source).reports] == ["accepted"]


def test_of_a_long_output_the_end_is_read(tmp_path: Path) -> None:
    source = """
for _ in range(40): print("x" * 100_000)
print('{"outcome": "accepted"}')
"""
    process = run(tmp_path, source)
    assert [report.outcome for report in process.reports] == ["accepted"]


def test_who_floods_its_output_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "OUTPUT_MOST", 100_000)
    started = time.monotonic()
    process = run(tmp_path, "while True: print('x' * 10_000)", deadline=30)
    assert time.monotonic() - started < 20
    assert process.ended
    assert (process.ended.how, process.ended.told) == ("crashed", "ended by SIGXFSZ")


# ---- ends --------------------------------------------------------------------------------------------------


def test_an_exit_status_after_a_report_is_the_program_s_way_to_say_no(tmp_path: Path) -> None:
    ended = run(tmp_path, """print('{"outcome": "rejected"}'); sys.exit(3)""").ended
    assert ended
    assert (ended.how, ended.status) == ("exited", 3)


def test_an_exit_status_instead_of_a_report_is_a_crash_and_its_last_words_are_told(tmp_path: Path) -> None:
    ended = run(tmp_path, "int('x')", PLAIN).ended
    assert ended
    assert (ended.how, ended.status) == ("crashed", 1)
    assert ended.told.endswith("ValueError: invalid literal for int() with base 10: 'x'")


def test_a_crash_without_words_tells_its_status(tmp_path: Path) -> None:
    ended = run(tmp_path, "sys.exit(7)", PLAIN).ended
    assert ended
    assert (ended.how, ended.told) == ("crashed", "exit status 7")


def test_who_never_speaks_may_end_with_any_status_when_a_reply_was_bad(tmp_path: Path) -> None:
    ended = run(tmp_path, "sys.exit(1)", cases()["order-9900000012"]).ended
    assert ended
    assert ended.how == "exited"


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (9, "SIGKILL"), (40, "signal 40")])
def test_a_signal_is_a_crash(tmp_path: Path, number: int, name: str) -> None:
    ended = run(tmp_path, f"sys.stderr.write('oh'); sys.stderr.flush(); os.kill(os.getpid(), {number})").ended
    assert ended
    assert (ended.how, ended.told) == ("crashed", f"ended by {name}; oh")


def test_a_hung_program_is_ended_at_its_deadline(tmp_path: Path) -> None:
    started = time.monotonic()
    source = (
        """print('{"outcome": "accepted"}', flush=True); sys.stderr.write("zzz"); sys.stderr.flush(); time.sleep(60)"""
    )
    process = run(tmp_path, source, deadline=1)
    assert time.monotonic() - started < 20
    assert process.ended
    assert (process.ended.how, process.ended.told) == ("hung", "zzz")
    assert [report.outcome for report in process.reports] == ["accepted"]


def test_who_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    source = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[0] + ".pid", "w").write(str(os.getpid()))
time.sleep(60)
"""
    process = run(tmp_path, source, deadline=1)
    assert process.ended
    assert process.ended.how == "hung"
    assert not _lives(tmp_path / "client.py.pid")


def test_children_that_are_left_behind_are_ended(tmp_path: Path) -> None:
    source = """
child = os.fork()
if child == 0:
    time.sleep(60)
open(sys.argv[0] + ".pid", "w").write(str(child))
"""
    process = run(tmp_path, source)
    assert process.ended
    assert process.ended.how == "exited"
    assert not _lives(tmp_path / "client.py.pid")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to look in")
@pytest.mark.parametrize("environment", ["None", "{}"], ids=["kept", "cleared"])
@pytest.mark.parametrize("leave", ["start_new_session=True", "process_group=0"])
def test_children_that_left_the_process_group_are_ended(tmp_path: Path, leave: str, environment: str) -> None:
    source = f"""
import signal, subprocess
code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
pid = sys.argv[0] + ".pid"
subprocess.Popen([sys.executable, "-c", code, pid], {leave}, env={environment}, stdout=subprocess.DEVNULL)
while not (os.path.exists(pid) and open(pid).read()): time.sleep(0.01)
"""
    process = run(tmp_path, source)
    assert process.ended
    assert process.ended.how == "exited"
    assert not Path("/proc", (tmp_path / "client.py.pid").read_text()).exists(), "neither alive nor a zombie"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to look in")
def test_children_of_others_outlive_a_trial(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as before:
        run(tmp_path, "pass")
        assert before.poll() is None
        before.kill()


def test_program_that_waits_for_the_mock_is_unfinished_and_one_that_does_not_hung(tmp_path: Path) -> None:
    waiting = CANCEL + 'cancel(os.environ["TN_ORDER_IDS"].split(",")[0])'
    ended = run(tmp_path, waiting.replace("timeout=5", "timeout=50"), SILENT, deadline=1).ended
    assert ended
    assert (ended.how, ended.limit) == ("unfinished", 1)
    ended = run(tmp_path, CANCEL + "cancel(1); time.sleep(50)", deadline=1).ended
    assert ended
    assert ended.how == "hung"


def test_program_that_waits_longer_than_anybody_should_hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENT", 1.0)
    waiting = CANCEL.replace("timeout=5", "timeout=50") + 'cancel(os.environ["TN_ORDER_IDS"].split(",")[0])'
    ended = run(tmp_path, waiting, SILENT, deadline=1).ended
    assert ended
    assert ended.how == "hung"


def _lives(file: Path) -> bool:
    stat = Path("/proc", file.read_text(), "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_interrupted_trial_ends_its_programs_at_once(tmp_path: Path) -> None:
    source = "open(f'{sys.argv[0]}.pid', 'w').write(str(os.getpid())); time.sleep(60)"
    started = time.monotonic()

    def interrupt(case: str) -> None:
        raise KeyboardInterrupt

    specs = [CaseSpec("quick", "ends", ((),), slow=True), ONE]
    command = program(tmp_path, f"if os.environ['TN_ORDER_IDS']: {source}\nelse: time.sleep(1)")
    with pytest.raises(KeyboardInterrupt):
        Trial(command, deadline=60, jobs=2).run(specs, interrupt)
    assert time.monotonic() - started < 20
    assert not _lives(tmp_path / "client.py.pid")


def test_nothing_is_left_running_after_a_trial(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    run(tmp_path, "")
    assert set(threading.enumerate()) <= before


# ---- commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "  ", "no-such-program --now", "/no/such/file"])
def test_a_program_that_is_not_there_is_told_before_anything_runs(command: str) -> None:
    with pytest.raises(UsageError, match="there is no program"):
        Trial(command)


def test_unbalanced_quotes_are_told() -> None:
    with pytest.raises(UsageError, match="mind its quotes"):
        Trial("node 'cancel.mjs")


def test_a_file_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    path = tmp_path / "client"
    path.write_text("no program")
    path.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be started"):
        Trial(str(path)).run([ONE])


def test_a_client_is_called_by_its_command_unless_it_has_a_name() -> None:
    assert Trial("true").name == "true"
    assert Trial("true", "my client").name == "my client"


# ---- secrets -----------------------------------------------------------------------------------------------


def test_a_secret_that_the_client_prints_or_sends_is_nowhere_in_the_evidence(tmp_path: Path) -> None:
    source = (
        CANCEL
        + """
import base64
secret = os.environ["TN_API_SECRET"]
open(sys.argv[0] + ".secret", "w").write(secret)
basic = base64.b64encode(b"me:" + secret.encode()).decode()
cancel(os.environ["TN_ORDER_IDS"], more={"X-Secret": secret, "Authorization": basic})
print(secret)
print(json.dumps({"outcome": secret, "kind": secret, "code": secret.encode().hex()}))
sys.exit("failed with " + secret + " " + "x" * 50)
"""
    )
    evidence = Trial(program(tmp_path, source)).run([PLAIN])
    secret = (tmp_path / "client.py.secret").read_text()
    assert len(secret) == 40
    written = b"".join(to_lines(evidence)).decode()
    for spelling in (secret, secret.encode().hex(), secret[:20]):
        assert spelling not in written
        assert spelling not in repr(evidence)
    [process] = evidence.processes
    assert process.sent[0].exchange.leaks == ("X-Secret", "Authorization")
    assert process.reports[0].outcome == "***"
    assert process.ended
    assert process.ended.leaked


def test_who_keeps_the_secret_is_not_said_to_print_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "print(os.environ['TN_API_KEY'])").ended
    assert ended
    assert not ended.leaked


# ---- clocks ------------------------------------------------------------------------------------------------


CLOCKS = pytest.mark.skipif(not FAKETIME, reason="faketime is not installed")


@CLOCKS
def test_clock_is_set_before_the_reply_leaves(tmp_path: Path) -> None:
    source = (
        CANCEL
        + """
started = time.time()
for order_id in os.environ["TN_ORDER_IDS"].split(","):
    cancel(order_id)
    print(json.dumps({"outcome": "accepted", "code": round(time.time() - started)}))
"""
    )
    [process] = run_case(tmp_path, source, CaseSpec("clock", "", (("1", "2", "3"),), "steps-back")).processes
    offsets = [int(str(report.code)) for report in process.reports]
    assert offsets[0] < -3500
    assert all(20 < offset < 60 for offset in offsets[1:])


@CLOCKS
def test_held_clock_stays_within_a_millisecond(tmp_path: Path) -> None:
    source = CANCEL + 'for order_id in os.environ["TN_ORDER_IDS"].split(","): cancel(order_id)'
    orders = cases()["clock-stands-still"].processes[0][:8]
    [process] = run_case(tmp_path, source, CaseSpec("clock", "", (orders,), "stands-still")).processes
    nonces = [int(str(sent.nonce)) for sent in process.sent][1:]
    assert len(nonces) == 7
    assert {nonce // 10**6 for nonce in nonces} == {nonces[0] // 10**6}, "one millisecond"
    steps = [after - before for before, after in itertools.pairwise(nonces)]
    assert all(110_000 < step < 130_000 for step in steps)


@CLOCKS
def test_held_clock_goes_on_for_who_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial._Clock, "WAITS", 0.3)
    source = (
        CANCEL
        + """
last = 0
for order_id in os.environ["TN_ORDER_IDS"].split(","):
    while time.time_ns() // 10**6 <= last: pass
    last = time.time_ns() // 10**6
    cancel(order_id)
print('{"outcome": "accepted"}')
"""
    )
    process = run(tmp_path, source, CaseSpec("clock", "", (("1", "2", "3"),), "stands-still"))
    assert process.reports


def test_without_faketime_the_case_is_skipped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_FAKETIME", ("/no/such/*.so",))
    case = run_case(tmp_path, "", cases()["clock-steps-back"])
    assert "install faketime" in case.skipped
    assert case.processes == []


# ---- the mock that it uses ---------------------------------------------------------------------------------


def test_a_mock_without_controls_answers_the_api_alone() -> None:
    with running(control=False) as mock:
        assert httpx.get(f"{mock.base_url}/__tn__/health").status_code == 404
        assert httpx.post(f"{mock.base_url}/api/v2/cmd/delTradeOrder").status_code == 200


def test_crashes_are_told_apart_only_where_the_client_speaks_or_the_order_is_ordinary() -> None:
    evidence = Evidence("nobody", [Case("plain", [Process(("1",))])])
    trial._find_crashes(evidence)
    assert evidence.processes[0].ended is None
