"""What people see: no text from outside controls their terminal, and no stream changes a verdict."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from mock_server.serve import RunningMock
from tn_contract.cli import listing, output, streams
from tn_contract.cli import root as cli
from tn_contract.judge.server import catalogue
from tn_contract.judge.verdicts import Verdict
from tn_contract.report import html as report_html
from tn_contract.report import junit as report_junit
from tn_contract.report import rows as report_rows
from tn_contract.report import text as report_text
from tn_contract.report.rows import Row, Subject

PROGRAM = [sys.executable, "-m", "tn_contract.cli"]
# Clipboard (OSC 52), title, clear screen, C1 controls, bidi controls, rich's markup, line ends, NUL.
HOSTILE = (
    "\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x07\x1b[2J\x1b[H\x9b2J\u202egnihtemos\u2066[red]x[/red]\r\nfake\x00\x08\u200b"
)
ROW = Row(
    "http://127.0.0.1", "nonce/refuses-replay", "refuses a replay", "fail", "nonce-once", "once", "must", "documented",
    "none", "a refusal", "accepted", 0.25, "tn-contract verify", (),
)  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TN_", "PYTHONIO", "LC_"))}
    return {**kept, "COLUMNS": "100", **more}


def on_a_terminal(*arguments: str, **more: str) -> tuple[int, str]:
    """Run the program on a pseudo terminal; return its exit code and what the terminal would get."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm", **more)
    )
    os.close(theirs)
    received = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        try:
            part = os.read(ours, 65536) if ready else b""
        except OSError:
            part = b""  # how Linux says that the other side is closed
        if not part:
            break
        received += part
    os.close(ours)
    return process.wait(60), received.decode()


def harmful(shown: str) -> set[str]:
    """The characters that control a terminal, but for colours and the progress bar's own moves."""
    own = re.sub(r"\x1b\[[0-9;]*m|\x1b\[\d*[AKG]|\x1b\[2K|\x1b\[\?25[lh]|\r\n|\r", "", shown)
    return {char for char in own if not char.isprintable() and char != "\n"}


# ---- text from outside ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hostile_server_cannot_control_the_terminal(raw_server: Any) -> None:
    body = HOSTILE.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    raw_server.reply = head.encode() + body
    code, shown = on_a_terminal(
        "verify", raw_server.base_url, "--check", "control/opens-session", TN_API_KEY="k", TN_API_SECRET="s" * 12
    )
    assert code == 3
    assert harmful(shown) == set()
    assert r"\x1b]52;c;" in shown, "it is shown, written out"
    assert "[red]x[/red]" in re.sub(r"\s", "", re.sub(r"\x1b\[[0-9;]*m", "", shown)), "markup is text"


@pytest.mark.parametrize("head", [f"HTTP/1.1 200 {HOSTILE}\r\n", f"HTTP/1.1 200 OK\r\nX-A: {HOSTILE}\r\n", HOSTILE])
@pytest.mark.slow
def test_a_hostile_head_of_a_reply_cannot_control_the_terminal(head: str, raw_server: Any) -> None:
    raw_server.reply = f"{head}\r\n\r\n{{}}".encode()
    code, shown = on_a_terminal(
        "verify", raw_server.base_url, "--check", "control/opens-session", TN_API_KEY="k", TN_API_SECRET="s" * 12
    )
    assert code == 3
    assert harmful(shown) == set()


@pytest.mark.slow
def test_a_hostile_word_of_the_command_line_cannot_control_the_terminal() -> None:
    for arguments in (["explain", HOSTILE.replace("\x00", "")], ["verify", "http://" + HOSTILE.replace("\x00", "")]):
        code, shown = on_a_terminal(*arguments)
        assert code == 4
        assert harmful(shown) == set()


HOSTILE_PROGRAM = f"""
import json, os, sys
sys.stderr.write({HOSTILE!r})
for _ in os.environ["TN_ORDER_IDS"].split(","):
    print(json.dumps(dict.fromkeys(["outcome", "code", "kind", "order_id"], {HOSTILE!r})))
    print({HOSTILE!r})
sys.exit(3)
"""


@pytest.mark.slow
def test_a_hostile_client_cannot_control_the_terminal(tmp_path: Path) -> None:
    program = tmp_path / "hostile.py"
    program.write_text(HOSTILE_PROGRAM, "utf-8")
    command = f"{sys.executable} -S {program} '\x1b[2J\u202e[red]'"
    code, shown = on_a_terminal(
        "judge", "--exec", command, "--check", "runs/reports-each-order", "--check", "sends/post"
    )
    assert code == 1
    assert harmful(shown) == set()
    assert r"\x1b]52;c;" in shown


def report_with(text: str, verdict: Any = "fail", name: str = "http://127.0.0.1") -> report_rows.Report:
    from msgspec.structs import replace

    row = replace(ROW, subject=name, actual=text, expected=text, verdict=verdict)
    return report_rows.build([row], Subject(name, "loopback"), started="2026-01-01T00:00:00Z", elapsed=1.0, code=1)


@pytest.mark.parametrize("verdict", ["fail", "warn", "info", "blocked", "skipped", "error", "pass"])
def test_no_report_holds_a_control_character_of_foreign_text(verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_with(HOSTILE, verdict, f"client {HOSTILE}")
    report_text.print_text(report)
    for written in (capsys.readouterr().out, report_html.to_html(report), report_junit.to_junit(report).decode()):
        assert harmful(written) == set()


@pytest.mark.slow
def test_pytest_shows_foreign_text_written_out(tmp_path: Path, raw_server: Any) -> None:
    body = HOSTILE.encode()
    raw_server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "tn_contract.suite", "-rA", "-p", "no:cacheprovider", "-c",
         os.devnull, "--rootdir", str(tmp_path), "--tn-target", raw_server.base_url, "--tn-check",
         "control/opens-session"],
        capture_output=True, check=False, cwd=tmp_path, timeout=240,
        env=environment(TN_API_KEY="k", TN_API_SECRET="s" * 12),
    )  # fmt: skip
    assert harmful(ran.stdout.decode()) == set()
    assert rb"\x1b]52;c;" in ran.stdout


# ---- JUnit ---------------------------------------------------------------------------------------------------


def test_junit_names_suite_and_cases_by_verb_target_group_and_slug() -> None:
    root = ET.fromstring(report_junit.to_junit(report_with("accepted")))
    (suite,) = root
    assert suite.attrib == {
        "name": "tn-contract verify http://127.0.0.1", "tests": "1", "failures": "1", "errors": "0", "skipped": "0",
        "time": "0.250", "timestamp": "2026-01-01T00:00:00",
    }  # fmt: skip
    (case,) = suite
    assert case.attrib == {"classname": "tn-contract.verify.nonce", "name": "refuses-replay", "time": "0.250"}
    assert [element.tag for element in case] == ["failure"]
    assert case[0].attrib == {"message": "accepted"}


@pytest.mark.parametrize(
    ("verdict", "strict", "tag"),
    [
        ("pass", False, None), ("info", True, "system-out"), ("warn", False, "system-out"), ("warn", True, "failure"),
        ("fail", False, "failure"), ("error", False, "error"), ("blocked", False, "skipped"),
        ("skipped", False, "skipped"),
    ],
)  # fmt: skip
def test_junit_has_one_element_for_each_verdict(verdict: str, strict: bool, tag: str | None) -> None:
    root = ET.fromstring(report_junit.to_junit(report_with("what came", verdict), strict=strict))
    assert [element.tag for element in root[0][0]] == ([tag] if tag else [])
    assert not list(root.iter("properties")), "Jenkins' schema has no properties inside a test case"


# What Jenkins' xUnit plugin (its junit-10.xsd) takes of each element: attributes, those it demands, children, and
# whether text may stand in it. Earlier editions took three decimals of a time at most.
JENKINS: dict[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}, False),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package",
         "file", "log", "url"},
        {"name", "tests", "failures", "errors"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        False,
    ),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"name"},
        {"skipped", "error", "failure", "system-out", "system-err"},
        False,
    ),
    **dict.fromkeys(("skipped", "error", "failure"), ({"type", "message"}, set(), set(), True)),
    **dict.fromkeys(("system-out", "system-err"), (set(), set(), set(), True)),
}  # fmt: skip
JENKINS_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")


def refused_by_jenkins(element: ET.Element) -> list[str]:
    allowed, demanded, children, text = JENKINS[element.tag]
    given = set(element.attrib)
    refused = [f"{element.tag} {name}" for name in (given - allowed) | (demanded - given)]
    refused += [f"{element.tag}/{child.tag}" for child in element if child.tag not in children]
    if not text and "".join([element.text or "", *(child.tail or "" for child in element)]).strip():
        refused.append(f"text in {element.tag}")
    if not JENKINS_TIME.fullmatch(element.get("time", "0")):
        refused.append(f"time {element.get('time')}")
    return refused + [each for child in element if child.tag in JENKINS for each in refused_by_jenkins(child)]


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1234.5678, 1e6])
@pytest.mark.parametrize("strict", [False, True])
def test_junit_follows_the_schema_of_jenkins(strict: bool, seconds: float) -> None:
    from msgspec.structs import replace

    rows = [
        replace(ROW, subject=name, verdict=verdict, actual=HOSTILE, elapsed=seconds)
        for name in ("one", HOSTILE)
        for verdict in get_args(Verdict)
    ]
    report = report_rows.build(rows, Subject("one", "loopback"), started="2026-01-01T00:00:00Z", elapsed=1.0, code=1)
    root = ET.fromstring(report_junit.to_junit(report, strict=strict))
    assert root.tag == "testsuites"
    assert refused_by_jenkins(root) == []
    assert [len(suite) for suite in root] == [len(get_args(Verdict))] * 2


@pytest.mark.parametrize(
    "xml",
    [
        "<testsuites><testcase name='a'/></testsuites>",
        "<testsuite name='a' tests='1' failures='0'/>",
        "<testcase name='a'><properties/></testcase>",
        "<testcase name='a' time='1,5.0000'/>",
        "<testcase name='a'>text</testcase>",
        "<testcase name='a' file='b'/>",
    ],
)
def test_what_jenkins_refuses_is_noticed(xml: str) -> None:
    assert refused_by_jenkins(ET.fromstring(xml))


# ---- streams -------------------------------------------------------------------------------------------------


VERIFY = ("verify", "--check", "control/opens-session", "--check", "nonce/of-failed-command")


@pytest.mark.parametrize(
    "encoding", ["cp1251", *(pytest.param(each, marks=pytest.mark.full) for each in ("ascii", "latin-1", "utf-16"))]
)
@pytest.mark.slow
def test_an_encoding_without_our_marks_changes_no_verdict(encoding: str) -> None:
    ran = subprocess.run(
        [*PROGRAM, *VERIFY], capture_output=True, check=False, env=environment(PYTHONIOENCODING=encoding), timeout=240
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "control/opens-session" in ran.stdout.decode(encoding)


@pytest.mark.slow
def test_json_loses_nothing_in_an_encoding_that_lacks_characters() -> None:
    narrow, wide = (
        subprocess.run(
            [*PROGRAM, "sign", "--key", "k", "--nonce", "1", "--param", "text=✔", "--json"], capture_output=True,
            check=True, timeout=240, env=environment(PYTHONIOENCODING=encoding, TN_API_SECRET="s" * 12),
        ).stdout
        for encoding in ("ascii", "utf-8")
    )  # fmt: skip
    assert narrow == wide
    assert json.loads(narrow)["string_to_sign"].endswith("text=✔")


@pytest.mark.slow
def test_the_plain_locale_changes_no_verdict() -> None:
    plain = environment(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    ran = subprocess.run([*PROGRAM, *VERIFY], capture_output=True, check=False, env=plain, timeout=240)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    "arguments", [VERIFY, ("list",), ("list", "--json"), ("explain", "order-cancelled"), ("--help",)]
)
@pytest.mark.parametrize("to", ["a closed pipe", "nothing", "a full disk"])
@pytest.mark.slow
def test_a_reader_that_went_away_changes_nothing_and_lost_output_is_an_error(
    arguments: tuple[str, ...], to: str
) -> None:
    if arguments[0] == "explain":
        arguments = ("explain", next(iter(catalogue())))
    shell = {"a closed pipe": '"$@" | true', "nothing": '"$@" >&-', "a full disk": '"$@" >/dev/full'}[to]
    script = f"set -o pipefail; {shell}"
    ran = subprocess.run(
        ["bash", "-c", script, "bash", *PROGRAM, *arguments],
        capture_output=True, check=False, env=environment(), timeout=240, text=True,
    )  # fmt: skip
    assert ran.returncode == (3 if to == "a full disk" else 0), ran.stderr
    said = ran.stderr.strip()
    assert said == ("tn-contract: the output cannot be written (No space left on device)" if ran.returncode else "")


def test_what_is_written_after_the_reader_went_away_is_swallowed() -> None:
    read, write = os.pipe()
    raw = streams._Raw(write, may_be_lost=False)
    os.close(read)
    assert raw.write(b"gone") == 4
    assert raw.write(b"still gone") == 10
    os.close(write)


# ---- mistakes of our own -------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return int(ended.value.code or 0)


def broken(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("verb", cli.main.list_commands(click.Context(cli.main)))
@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), BrokenPipeError(32, "Broken pipe"), MemoryError()])
def test_an_unexpected_exception_in_any_verb_is_exit_3_and_one_sentence(
    verb: str, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = cli.main.get_command(click.Context(cli.main), verb)
    monkeypatch.setattr(command, "parse_args", lambda *_: [])
    monkeypatch.setattr(command, "invoke", broken(error))
    monkeypatch.delenv("TN_DEBUG", raising=False)
    assert run(verb) == 3
    said = capsys.readouterr().err
    assert re.match(rf"tn-contract: unexpected {type(error).__name__}(: .+)?\. This is a bug", said)
    assert said.endswith("run it again with --debug (in pytest: TN_DEBUG=1) and report what it prints\n")
    assert said.count("\n") == 1


def ran(*arguments: str, **more: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", '"$@" <&-', "bash", *PROGRAM, *arguments],
        capture_output=True, check=False, env=environment(**more), timeout=240, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["judge", "--exec", "true", "--check", "sends/post", "--journal", "/dev/full"], 3, "No space left on device"),
        (["judge", "--exec", "true", "--check", "sends/post", "--journal", "/proc/x"], 3, "/proc/x cannot be used ("),
        (
            ["verify", "--check", "control", "--junit", "/dev/full"],
            3,
            "cannot write /dev/full (No space left on device)",
        ),
        (["explain-request", "-"], 4, "request line"),
        (["sign", "--key", "k", "-"], 4, "holds no JSON object"),
    ],
)
@pytest.mark.slow
def test_files_that_cannot_be_used_and_a_closed_input_are_one_sentence(
    arguments: list[str], code: int, said: str
) -> None:
    secret = {"TN_API_SECRET": "s" * 12} if arguments[0] in ("explain-request", "sign") else {}
    found, stderr = ran(*arguments, **secret)
    assert found == code
    assert said in stderr
    assert "Traceback" not in stderr
    assert "INTERNALERROR" not in stderr
    assert "bug" not in stderr


def test_an_interrupt_is_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_check_rows", broken(KeyboardInterrupt()))
    assert run("list") == 2


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_the_traceback_is_shown_on_demand_without_secrets(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TN_API_SECRET", "planted/secret")
    monkeypatch.setenv("TN_DEBUG", "" if options else "1")  # and set back afterwards
    monkeypatch.setattr(
        sys, "argv", ["tn-contract", "serve", "--control-token", "planted-token", "--control-token=other-one"]
    )
    error = ValueError("planted/secret planted%2Fsecret planted-token other-one redis://me:planted-password@host")
    monkeypatch.setattr(listing, "_check_rows", broken(error))
    assert run("list", *options) == 3
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "raise error" in said
    assert "planted" not in said.replace("test_the_traceback", "")
    assert "other-one" not in said


@pytest.mark.slow
def test_a_check_that_breaks_is_an_error_and_the_others_still_count(
    tn_mock: RunningMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # as the command sets it, and set back afterwards
    check = catalogue()["nonce/refuses-replay"]
    right = check.run
    object.__setattr__(check, "run", broken(ZeroDivisionError("planted")))
    try:
        code = run("verify", tn_mock.base_url, "--check", "control", "--check", check.id)
    finally:
        object.__setattr__(check, "run", right)
    shown = capsys.readouterr().out
    assert code == 3
    assert "unexpected ZeroDivisionError: planted. This is a bug of tn-contract" in shown
    assert "✔ pass   control/opens-session" in shown


@pytest.mark.slow
def test_a_server_that_never_answers_is_one_sentence() -> None:
    done = subprocess.run(
        [*PROGRAM, "verify", "https://no-such-host.invalid"],
        capture_output=True, check=False, text=True, timeout=240,
        env=environment(TN_API_KEY="k", TN_API_SECRET="s" * 12),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert re.fullmatch(r"tn-contract: https://no-such-host\.invalid does not answer \(.*\)\n", done.stderr)


@pytest.mark.slow
def test_a_terminal_wraps_between_words_and_a_log_keeps_its_rows() -> None:
    _, shown = on_a_terminal("list", COLUMNS="80")
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).split("\r\n")]
    assert max(map(len, lines)) <= 80
    assert "…" not in shown
    words = {word for check in catalogue().values() for word in (*check.title.split(), check.id)}
    shown_words = {word for line in lines[1:] for word in line.split()}
    levels = {
        "must",
        "should",
        "observed",
        "documented",
        "official",
        "attested",
        "synthetic",
        "none",
        "attempt",
        "cancel",
    }
    effects = {"none", "attempt", "cancel"}
    assert shown_words <= words | levels | effects, "no word is broken"
    logged = subprocess.run(
        [*PROGRAM, "list"], capture_output=True, text=True, check=True, env=environment(COLUMNS="80")
    )
    rows = logged.stdout.splitlines()[1:]
    assert len(rows) == len(catalogue())
    assert not any(row.endswith(" ") for row in rows)
    assert all(check.title in row for check, row in zip(catalogue().values(), rows, strict=True))


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_wrapped_text_stands_under_its_text(width: int) -> None:
    line = "does        " + "Send an accepted request again, byte for byte, after others and from elsewhere. " * 3
    wrapped = output.wrapped(line.strip(), width).split("\n")
    assert all(len(part) <= width for part in wrapped)
    assert all(part.startswith(" " * 12) for part in wrapped[1:]) or width <= 24
    assert " ".join(" ".join(wrapped).split()) == " ".join(line.split())
