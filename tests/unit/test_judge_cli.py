"""`tn-contract judge`, run as people run it: exit codes, reports, journals, one clear sentence for each mistake."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tn_contract.judge.client import catalogue
from tn_contract.record.evidence import from_lines
from tn_contract.trial import trial

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "tn_contract.cli", "judge"]
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "judge_me.py"

# Reports success without sending anything; without an argument it says nothing either.
IDLE = """
import os, sys
for _ in os.environ["TN_ORDER_IDS"].split(","):
    print('{"outcome": "accepted"}' if sys.argv[1:] else "")
"""


def judge(*arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=timeout, check=False, env=_environment()
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TN_")}


@pytest.fixture
def idle(tmp_path: Path) -> str:
    """A quick client that does nothing."""
    path = tmp_path / "idle.py"
    path.write_text(IDLE)
    return shlex.join([sys.executable, "-S", str(path)])


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example did in the cases of a few checks, recorded by `judge` itself."""
    path = tmp_path_factory.mktemp("journals") / "example.jsonl"
    ran = judge(
        "--exec", shlex.join([sys.executable, str(EXAMPLE)]), "--agent", "the example",
        *("--check", "sends", "--check", "signs", "--check", "reports/method-error"), "--journal", str(path),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return path


def verdicts(report: Path) -> dict[tuple[str, str], str]:
    rows = json.loads(report.read_text("utf-8"))["checks"]
    return {(row["subject"], row["id"]): row["verdict"] for row in rows}


# ---- exit codes --------------------------------------------------------------------------------------------


def test_an_honest_client_is_0(journal: Path) -> None:
    ran = judge(str(journal), "--check", "sends", "--check", "signs")
    assert ran.returncode == 0, ran.stdout
    assert "the example:" in ran.stdout
    assert "sends/address" in ran.stdout


def test_a_broken_client_is_1_and_told_what_to_repeat(idle: str) -> None:
    command = f"{idle} talk"
    ran = judge("--exec", command, "--check", "sends/what-was-asked")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "client-cancels-what-was-asked (must, documented)" in ran.stdout
    assert f"tn-contract judge --exec {shlex.quote(command)} --check sends/what-was-asked" in ran.stdout


def test_a_warning_is_1_only_when_strict(idle: str) -> None:
    arguments = ["--exec", f"{idle} talk", "--check", "sends/ids-to-63-bits"]
    assert judge(*arguments).returncode == 0
    assert judge(*arguments, "--strict").returncode == 1


def test_what_no_reply_came_for_is_3(idle: str) -> None:
    ran = judge("--exec", f"{idle} talk", "--check", "reports/html")
    assert ran.returncode == 3, ran.stdout
    assert "the client sent no cancel of order" in ran.stdout


def test_nothing_judged_is_5(idle: str) -> None:
    ran = judge("--exec", idle, "--check", "reports/html", "--check", "sends/post")
    assert ran.returncode == 5, ran.stdout
    assert "judged on the wire alone" in ran.stdout or "sent no such request" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a program with --exec, or a journal"),
        (["--exec", "no-such-program"], "there is no program 'no-such-program' to start"),
        (["--exec", "sh 'x"], "mind its quotes"),
        (["--exec", "true", "--check", "no/such-check"], "no check matches 'no/such-check'"),
        (["--exec", "true", "--check", "sends/post", "--journal", "/no/such/folder/file"], "folder that exists"),
        (["--exec", "true", "--deadline", "0"], "--deadline"),
        (["/no/such/journal"], "does not exist"),
        (["--journal", "out.jsonl"], "name a program with --exec"),
        ([__file__, "--journal", "out.jsonl"], "there is no program to try"),
        ([__file__], "line 1: no line of a journal"),
        ([os.devnull], "is empty: a journal begins with a header line"),
    ],
)
def test_a_mistake_is_4_and_one_sentence(arguments: list[str], sentence: str) -> None:
    ran = judge(*arguments)
    assert ran.returncode == 4, ran.stdout + ran.stderr
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_inside_pytest_nobody_to_judge_is_4_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "tn_contract.client_suite"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert ran.returncode == 4, ran.stdout + ran.stderr
    assert "no client to judge: --tn-exec CMD tries one" in ran.stdout + ran.stderr


def test_leaving_out_what_was_chosen_is_5(idle: str) -> None:
    ran = judge("--exec", idle, "--check", "sends/post", "--exclude", "sends")
    assert ran.returncode == 5
    assert "no check is left to judge" in ran.stderr


def test_a_journal_that_breaks_off_is_4_and_one_sentence(journal: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.jsonl"
    half.write_bytes(journal.read_bytes()[:-100])
    ran = judge(str(half))
    assert ran.returncode == 4
    assert "copy it again when it is complete" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_journal_that_may_not_be_read_is_4(journal: Path, tmp_path: Path) -> None:
    missing = tmp_path / "folder"
    missing.mkdir()
    ran = judge(str(missing))
    assert ran.returncode == 4
    assert "is a directory" in ran.stderr


def test_interrupted_is_2_and_leaves_no_program(tmp_path: Path) -> None:
    path = tmp_path / "sleeper.py"
    path.write_text("import os, sys, time\nopen(sys.argv[0] + '.pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    arguments = ["--exec", shlex.join([sys.executable, "-S", str(path)]), "--check", "sends/post", "--deadline", "60"]
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    pid = Path(f"{path}.pid")
    deadline = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, out + err
    assert "Traceback" not in out + err
    assert not Path("/proc", pid.read_text()).exists()


# ---- selection and reports ---------------------------------------------------------------------------------


def test_checks_are_chosen_by_id_group_or_glob_and_left_out(journal: Path, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    chosen = ["--check", "signs", "--check", "sends/*s*", "--exclude", "sends/post"]
    judge(str(journal), *chosen, "--json", str(report))
    expected = {
        check_id
        for check_id in catalogue()
        if check_id.startswith("signs/") or (check_id.startswith("sends/") and "s" in check_id[6:])
    } - {"sends/post"}
    assert {check_id for _, check_id in verdicts(report)} == expected


def test_reports_are_written_in_three_forms(journal: Path, tmp_path: Path) -> None:
    junit, report, page = tmp_path / "out.xml", tmp_path / "out.json", tmp_path / "out.html"
    files = ["--junit", str(junit), "--json", str(report), "--html", str(page)]
    ran = judge(str(journal), "--check", "signs", "--check", "sends/post", *files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(list(ET.parse(junit).getroot().iter("testcase"))) == 2
    told = json.loads(report.read_text("utf-8"))
    assert told["subject"]["kind"] == "client"
    assert {row["id"] for row in told["checks"]} == {"signs/each-request", "sends/post"}
    assert all(row["id"] in page.read_text("utf-8") for row in told["checks"])


def test_a_journal_gives_the_same_verdicts_as_the_trial_that_wrote_it(idle: str, tmp_path: Path) -> None:
    tried, again, recorded = tmp_path / "tried.json", tmp_path / "again.json", tmp_path / "idle.jsonl"
    chosen = ["--check", "sends", "--check", "runs", "--check", "reports/h*"]
    first = judge(
        "--exec", f"{idle} talk", "--agent", "idle", *chosen, "--journal", str(recorded), "--json", str(tried)
    )
    second = judge(str(recorded), *chosen, "--json", str(again))
    assert first.returncode == second.returncode == 1
    assert verdicts(tried) == verdicts(again)
    evidence = from_lines(recorded.read_bytes(), "it")
    assert evidence.agent == "idle"
    assert evidence.case("plain")


def test_several_journals_are_a_matrix(journal: Path, idle: str, tmp_path: Path) -> None:
    recorded, report = tmp_path / "idle.jsonl", tmp_path / "out.json"
    judge("--exec", f"{idle} talk", "--agent", "idle", "--check", "sends/what-was-asked", "--journal", str(recorded))
    ran = judge(str(journal), str(recorded), "--check", "sends/what-was-asked", "--json", str(report))
    assert ran.returncode == 1
    assert verdicts(report) == {
        ("the example", "sends/what-was-asked"): "pass",
        ("idle", "sends/what-was-asked"): "fail",
    }
    head = next(line for line in ran.stdout.splitlines() if line.startswith("check"))
    assert head.split("  ", 1)[1].split() == ["the", "example", "idle"]
    assert "idle: sends/what-was-asked" in ran.stdout


def test_journals_of_the_same_name_are_told_apart_by_their_files(journal: Path, tmp_path: Path) -> None:
    copy, report = tmp_path / "copy.jsonl", tmp_path / "out.json"
    copy.write_bytes(journal.read_bytes())
    assert judge(str(journal), str(copy), "--check", "sends/post", "--json", str(report)).returncode == 0
    assert {subject for subject, _ in verdicts(report)} == {"the example", str(copy)}


def test_a_program_and_a_journal_stand_side_by_side(journal: Path, idle: str, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    ran = judge(str(journal), "--exec", idle, "--agent", "idle", "--check", "sends/post", "--json", str(report))
    assert ran.returncode == 0, ran.stdout
    assert verdicts(report) == {("idle", "sends/post"): "skipped", ("the example", "sends/post"): "pass"}


# ---- HTTPS -----------------------------------------------------------------------------------------------------


PHP = Path(__file__).parent.parent.parent / "examples" / "judge_me.php"
# Trusts a certificate of nobody's; or one that it is given.
DISTRUSTFUL = """
import os, ssl, sys, urllib.request
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
if sys.argv[1:] and sys.argv[1]:
    context.load_verify_locations(sys.argv[1])
for _ in os.environ["TN_ORDER_IDS"].split(","):
    try:
        urllib.request.urlopen(os.environ["TN_BASE_URL"] + "/api/v2/cmd/delTradeOrder", b"a=b", context=context)
    except OSError:
        pass
    print('{"outcome": "not-sent"}')
"""


@pytest.fixture
def distrustful(tmp_path: Path) -> str:
    path = tmp_path / "distrustful.py"
    path.write_text(DISTRUSTFUL)
    return shlex.join([sys.executable, "-S", str(path)])


def test_a_program_that_does_not_trust_the_mock_is_told_so(distrustful: str) -> None:
    ran = judge("--tls", "tradernet.com", "--check", "sends/post", "--exec", distrustful)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "no request arrived; " in ran.stderr
    assert "unknown ca" in ran.stderr
    assert "_ssl.c" not in ran.stderr
    assert "--exec 'php -d curl.cainfo=$SSL_CERT_FILE" in ran.stderr


@pytest.mark.parametrize("placeholder", ["$SSL_CERT_FILE", "${SSL_CERT_FILE}"])
def test_the_command_may_name_the_certificate(placeholder: str, distrustful: str) -> None:
    ran = judge("--tls", "tradernet.com", "--check", "sends/post", "--exec", f"{distrustful} {placeholder}")
    assert "no request arrived" not in ran.stderr
    assert "sends/post" in ran.stdout


@pytest.mark.skipif(not shutil.which("php"), reason="PHP is not installed")
def test_php_is_judged_over_tls_by_the_documented_command() -> None:
    trust = "-d curl.cainfo=$SSL_CERT_FILE -d openssl.cafile=$SSL_CERT_FILE"
    ran = judge("--tls", "tradernet.com", "--check", "sends/post", "--exec", f"php {trust} {PHP}")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_only_documented_variables_are_put_into_a_command() -> None:
    environment = {"TN_BASE_URL": "http://127.0.0.1:1", "TN_API_SECRET": "secret", "TN_TIMEOUT": "3"}
    words = trial._expanded(
        "a $TN_BASE_URL/x '$TN_API_SECRET' $TN_TIMEOUTS ${TN_TIMEOUT}s $SSL_CERT_FILE $1 $$", environment
    )
    assert words == ["a", "http://127.0.0.1:1/x", "$TN_API_SECRET", "$TN_TIMEOUTS", "3s", "", "$1", "$$"]
