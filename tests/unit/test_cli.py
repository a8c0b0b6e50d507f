"""The command line, run as people run it: real processes, exit codes, one clear sentence for each mistake."""

from __future__ import annotations

import hmac
import http.client
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mock_server.serve import RunningMock
from tn_contract.cli import running
from tn_contract.client.client import Client
from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server import catalogue

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "tn_contract.cli"]


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TN_")}
    return {**kept, **more}


def _run(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=_environment(**environment),
    )


@contextmanager
def _serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True, env=_environment()
    )
    try:
        assert process.stdout
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_the_summary_of_each_verb_fits_a_line_of_80_columns() -> None:
    summaries = _run("--help", COLUMNS="80").stdout.partition("Commands:")[2]
    assert "judge " in summaries
    assert "..." not in summaries


# ---- verify ------------------------------------------------------------------------------------------------


def test_verify_without_a_url_judges_the_embedded_mock() -> None:
    ran = _run("verify")
    assert ran.returncode == 0, ran.stdout
    for check_id in catalogue():
        assert check_id in ran.stdout
    assert re.search(r"http://127.0.0.1:\d+: \d+ pass · \d+ info · \d+ requests in", ran.stdout)


def test_verify_writes_junit_json_and_html(tmp_path: Path, tn_mock: RunningMock) -> None:
    junit, report, page = tmp_path / "out.xml", tmp_path / "out.json", tmp_path / "out.html"
    files = ["--junit", str(junit), "--json", str(report), "--html", str(page)]
    ran = _run("verify", tn_mock.base_url, "--check", "signature", *files)
    assert ran.returncode == 0, ran.stderr
    cases = ET.parse(junit).getroot().iter("testcase")
    expected = {check.id for check in catalogue().values() if check.group == "signature"}
    assert {
        f"{case.attrib['classname'].removeprefix('tn-contract.verify.')}/{case.attrib['name']}" for case in cases
    } == expected
    told = json.loads(report.read_text("utf-8"))
    assert {row["id"] for row in told["checks"]} == expected
    assert told["subject"]["name"] == tn_mock.base_url
    assert told["counts"]["pass"] + told["counts"]["info"] == len(expected)
    assert all(row["exchanges"] for row in told["checks"])
    html = page.read_text("utf-8")
    assert all(f'id="{check_id}"' in html for check_id in expected)
    assert not re.search(r'(src|href)="?(https?:)?//', html), "the page needs nothing from elsewhere"


def test_check_and_exclude_take_ids_groups_and_globs() -> None:
    ran = _run(
        "verify",
        "--check",
        "control",
        "--check",
        "*-on-cancel",
        "--exclude",
        "nonce",
        "--exclude",
        "signature/*",
        "--exclude",
        "v3",
    )
    judged = set(re.findall(r"^\S+ pass +(\S+)", ran.stdout, re.MULTILINE))
    wanted = {name for name in catalogue() if name.endswith("-on-cancel") and name.startswith("request/")}
    assert judged == wanted | {"control/opens-session", "control/accepts-cancel"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["verify", "https://tradernet.com"], 4, "known to be live"),
        (["verify", "https://api.tradernet.kz", "--allow-live", "tradernet.kz"], 4, "--allow-live api.tradernet.kz"),
        (["verify", "http://127.0.0.1:1"], 3, "does not answer"),
        (["verify", "https://sandbox.example"], 3, "does not answer"),
        (["verify", "ftp://127.0.0.1"], 4, "not the address of a server"),
        (["verify", "https://tradernet\u3002com"], 4, "characters other than ASCII"),
        (["verify", "https://demo.tradernet.example"], 4, "known to be live, or carries the vendor's brand"),
        (["verify", "http://127.0.0.1:80/api/v2"], 4, "must end after host and port"),
        (["verify", "--check", "nothing/like-it"], 4, "no check matches"),
        (["verify", "--check", "control", "--exclude", "control"], 5, "no check is left"),
        (["verify", "--effects", "some"], 4, "Invalid value for '--effects'"),
        (["verify", "--order-id", "0"], 4, "Invalid value for '--order-id'"),
        (["verify", "--junit", "."], 4, "is a directory"),
        (["verify", "--junit", "no/such/folder/x.xml"], 4, "name a file in a folder that exists"),
        (["verify", "--html", "no/such/folder/x.html"], 4, "name a file in a folder that exists"),
        (["verify", "--check", "control", "--json", "/proc/x.json"], 3, "cannot write"),
        (["explain", "nothing"], 4, "nothing is called 'nothing'"),
        (["serve", "--reply", "signature-invalid"], 4, "is not NAME=VALUE"),
        (["serve", "--reply", "no-such=success", "--port", "0"], 4, "no situation is called 'no-such'"),
        (["serve", "--reply", "method=nope", "--port", "0"], 4, "no payload is called 'nope'"),
        (["serve", "--cancel-seconds", "3", "--port", "0"], 4, "add --orders book"),
        (["serve", "--port", "0", "--ready-file", "no/such/folder/ready"], 4, "cannot write"),
        (["serve", "--orders", "book", "--cancel-seconds", "nan"], 4, "nan is no number to count with"),
        (["serve", "--timestamp-tolerance", "inf"], 4, "inf is no number to count with"),
        (["serve", "--tls", "https://tradernet.com", "--port", "0"], 4, "is no host name"),
        (["serve", "--tls", "tradernet.com", "--ca-file", "no/such/folder/ca", "--port", "0"], 4, "cannot write"),
        (["serve", "--ca-file", "ca.pem", "--port", "0"], 4, "a CA file belongs to TLS"),
        (["serve", "--host", "192.0.2.1", "--port", "0"], 4, "cannot listen on 192.0.2.1:0"),
        (["frobnicate"], 4, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_mistake_is_one_sentence_with_its_exit_code(arguments: list[str], code: int, sentence: str) -> None:
    ran = _run(*arguments)
    assert ran.returncode == code, ran.stderr
    assert sentence in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr + ran.stdout


def test_half_a_key_pair_is_a_usage_error(tn_mock: RunningMock) -> None:
    ran = _run("verify", tn_mock.base_url, TN_API_KEY="only-the-key")
    assert ran.returncode == 4
    assert "only TN_API_KEY is set" in ran.stderr


def test_verify_ignores_the_pytest_settings_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('not mine')\n")
    ran = subprocess.run(
        [*PROGRAM, "verify", "--check", "control"],
        cwd=tmp_path,
        env=_environment(PYTEST_ADDOPTS="--no-such-option"),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_skipped_run_is_not_a_success(tn_mock: RunningMock) -> None:
    ran = _run("verify", tn_mock.base_url, "--check", "control/accepts-cancel", "--effects", "none")
    assert ran.returncode == 5
    assert "effect cancel is not allowed" in ran.stdout


def test_an_interrupted_run_says_so_in_its_reports(tmp_path: Path, tn_mock: RunningMock) -> None:
    report = tmp_path / "out.json"
    before = len(tn_mock.broker.keys)
    process = subprocess.Popen(
        [*PROGRAM, "verify", tn_mock.base_url, "--pause", "0.05", "--json", str(report)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    while len(tn_mock.broker.keys) == before:  # until the first check has opened its key pair
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "interrupted" in errors
    assert "INTERRUPTED" in shown
    told = json.loads(report.read_text("utf-8"))
    assert told["exit_code"] == 2
    assert told["unjudged"] == len(catalogue()) - len(told["checks"]) > 0


# ---- explain-request ---------------------------------------------------------------------------------------

SAVED = """POST https://tradernet.com/api/v2/cmd/delTradeOrder HTTP/1.1
Content-Type: application/x-www-form-urlencoded
X-NtApi-Sig: {signature}

cmd=delTradeOrder&apiKey=public&nonce=17000000000000&params%5Border_id%5D=2929292929
"""
RIGHT = "apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params=order_id=2929292929"


def _saved(folder: Path, signed: str, secret: str = "planted-secret") -> str:
    file = folder / "request.http"
    file.write_text(SAVED.format(signature=hmac.new(secret.encode(), signed.encode(), "sha256").hexdigest()))
    return str(file)


def test_explain_request_says_that_a_request_is_right(tmp_path: Path) -> None:
    ran = _run("explain-request", _saved(tmp_path, RIGHT), TN_API_SECRET="planted-secret")
    assert ran.returncode == 0, ran.stderr
    assert "verdict   right" in ran.stdout


def test_explain_request_names_the_mistake_and_marks_the_first_difference(tmp_path: Path) -> None:
    file = _saved(tmp_path, RIGHT.replace("params=order_id", "params[order_id]") + "planted-secret")
    ran = _run("explain-request", file, TN_API_SECRET="planted-secret")
    assert ran.returncode == 1
    assert "brackets, secret-in-string" in ran.stdout
    assert "planted-secret" not in ran.stdout
    signed, expected, caret = ran.stdout.splitlines()[-3:]
    at = caret.index("^")
    assert signed[:at].split()[1:] == expected[:at].split()[1:]
    assert (signed[at], expected[at]) == ("[", "=")


def test_explain_request_gives_json_and_reads_standard_input(tmp_path: Path) -> None:
    file = _saved(tmp_path, RIGHT, "public")
    ran = subprocess.run(
        [*PROGRAM, "explain-request", "-", "--json"],
        input=Path(file).read_text("utf-8"),
        env=_environment(TN_API_SECRET="planted-secret"),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 1, ran.stderr
    (explained,) = json.loads(ran.stdout)
    assert explained["situation"] == "signature-invalid"
    assert explained["diagnosis"]["mistakes"] == ["key-as-secret"]


def test_explain_request_judges_v3_as_well(tmp_path: Path) -> None:
    file = tmp_path / "request.http"
    body, stamp = '{"order_id":2929292929}', "1700000000"
    for signed, told in ((body + stamp, "verdict   right"), (stamp + body, "mistake   timestamp-first")):
        signature = hmac.new(b"planted-secret", signed.encode(), "sha256").hexdigest()
        headers = f"X-NtApi-PublicKey: public\nX-NtApi-Timestamp: {stamp}\nX-NtApi-Sig: {signature}"
        file.write_text(f"POST /api/delTradeOrder HTTP/1.1\n{headers}\n\n{body}\n")
        ran = _run("explain-request", str(file), TN_API_SECRET="planted-secret")
        assert told in ran.stdout, ran.stderr
        assert ran.returncode == (0 if "right" in told else 1)


def test_explain_request_notices_another_key_than_the_given_one(tmp_path: Path) -> None:
    ran = _run("explain-request", _saved(tmp_path, RIGHT), TN_API_SECRET="planted-secret", TN_API_KEY="mine")
    assert ran.returncode == 1
    assert "key-unknown" in ran.stdout


@pytest.mark.parametrize(("content", "secret"), [(SAVED, ""), ("hello", "planted-secret"), ("{}", "planted-secret")])
def test_explain_request_wants_a_secret_and_a_request(tmp_path: Path, content: str, secret: str) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    ran = _run("explain-request", str(file), TN_API_SECRET=secret)
    assert ran.returncode == 4
    assert "Traceback" not in ran.stderr


# ---- serve -------------------------------------------------------------------------------------------------


def test_serve_prints_one_line_for_people() -> None:
    with _serving() as (_process, line):
        assert re.fullmatch(
            r"tn-contract mock at http://127\.0\.0\.1:\d+ · key tn-demo-key · secret tn-demo-secret · "
            r"control http://\S+/__tn__/health · Ctrl-C stops it\n",
            line,
        )


def test_serve_shows_the_token_that_it_chose_and_none_that_it_was_given() -> None:
    with _serving("--host", "0.0.0.0", "--json") as (_, line):
        assert len(json.loads(line)["control_token"]) > 30
    with _serving("--host", "0.0.0.0", "--json", "--control-token", "planted-token") as (_, line):
        assert "base_url" in line
        assert "planted" not in line
    with _serving("--host", "0.0.0.0", "--control-token", "planted-token") as (process, line):
        process.terminate()
        assert "planted" not in line + process.communicate(timeout=20)[0]


def test_a_ready_file_that_holds_a_token_is_its_owners_alone(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with _serving("--host", "0.0.0.0", "--ready-file", str(ready)):
        assert "control_token" in json.loads(ready.read_text())
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600


def test_a_second_mock_that_cannot_start_leaves_the_first_ones_ready_file_alone(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with _serving("--json", "--ready-file", str(ready)) as (_process, line):
        port = json.loads(line)["base_url"].rpartition(":")[2]
        command = [sys.executable, "-m", "tn_contract.cli", "serve", "--port", port, "--ready-file", str(ready)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_environment())
        assert (ran.returncode, ran.stdout) == (4, "")
        assert "cannot listen" in ran.stderr
        assert json.loads(ready.read_text()) == json.loads(line)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_serve_tells_machines_where_it_is_and_stops_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    with _serving("--json", "--ready-file", str(ready)) as (process, line):
        facts = json.loads(line)
        assert json.loads(ready.read_text()) == facts
        assert set(facts) == {"base_url", "control_url", "api_key", "api_secret"}
        assert _get(facts["base_url"], "/__tn__/health")["mock"] == "tn-contract"
        process.send_signal(stop)
        assert process.wait(10) == 0
        assert not ready.exists(), "it would lead the next run to an old port"


def test_serve_heeds_a_signal_that_comes_as_soon_as_it_has_told_where_it_is(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    program = (
        "import os, signal, click, tn_contract.cli.root as cli\n"
        "echo = click.echo\n"
        "click.echo = lambda *said, **options: (echo(*said, **options), os.kill(os.getpid(), signal.SIGTERM))\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--ready-file", str(ready)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_environment())
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "tn-contract mock at" in ran.stdout
    assert not ready.exists()


def test_serve_takes_its_rules_from_options() -> None:
    options = ["--json", "--nonces", "none", "--strict-path", "--seed", "7", "--timestamp-tolerance", "60"]
    with _serving(*options) as (_process, line):
        base_url = json.loads(line)["base_url"]
        health = _get(base_url, "/__tn__/health")
        assert (health["nonce_policy"], health["timestamp_tolerance"]) == ("none", 60)
        first = _get(base_url, "/__tn__/sessions", method="POST")["api_key"]
    with _serving(*options) as (_process, line):
        assert _get(json.loads(line)["base_url"], "/__tn__/sessions", method="POST")["api_key"] == first


def test_serve_keeps_orders_when_told_to() -> None:
    with _serving("--json", "--orders", "book", "--cancel-seconds", "0") as (_process, line):
        facts = json.loads(line)
        base_url, key, secret = facts["base_url"], facts["api_key"], facts["api_secret"]
        order_id = int(_get(base_url, f"/__tn__/sessions/{key}/orders", method="POST")["order_id"])
        with Client(key, secret, base_url=base_url) as client:
            assert client.cancel_order(order_id).order_id == order_id
            assert client.orders() == []
            assert [order.meaning for order in client.orders(active_only=False)] == ["canceled"]


@pytest.mark.parametrize(("options", "host"), [(["--tls"], "localhost"), (["--tls", "tradernet.com"], "tradernet.com")])
def test_serve_with_tls_tells_how_to_trust_it_and_where_the_tunnel_is(options: list[str], host: str) -> None:
    with _serving("--json", *options) as (process, line):
        facts = json.loads(line)
        tunnel = http.client.HTTPSConnection(
            facts["environment"]["HTTPS_PROXY"].removeprefix("http://"),
            context=ssl.create_default_context(cafile=facts["ca_file"]),
        )
        tunnel.set_tunnel(host)
        tunnel.request("GET", "/__tn__/health")
        assert json.loads(tunnel.getresponse().read())["mock"] == "tn-contract"
        tunnel.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert facts["base_url"].startswith("https://127.0.0.1:")
    assert not Path(facts["ca_file"]).exists()


def test_serve_with_tls_prints_lines_to_paste_into_a_shell(tmp_path: Path) -> None:
    ca_file = tmp_path / "the ca.pem"
    with _serving("--tls", "tradernet.com", "--ca-file", str(ca_file)) as (process, _line):
        assert process.stdout
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("  php"):
            lines.append(process.stdout.readline())
        pasted = "".join(line for line in lines if line.startswith("  export ")) + "printenv"
        environment = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=True).stdout
        assert f"SSL_CERT_FILE={ca_file}\n" in environment
        assert "https_proxy=http://127.0.0.1:" in environment
        assert lines[-1].startswith("  php -d curl.cainfo=")
    assert ca_file.exists(), "a file that was asked for stays"


def _get(base_url: str, path: str, method: str = "GET") -> Any:
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"))
    try:
        connection.request(method, path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


# ---- list, explain, sign, lint -----------------------------------------------------------------------------


def test_list_shows_every_check() -> None:
    listed = json.loads(_run("list", "--json").stdout)
    assert [row["id"] for row in listed] == list(catalogue())
    shown = _run("list").stdout
    assert all(check_id in shown for check_id in catalogue())


def test_list_shows_every_magic_order_and_situation() -> None:
    corpus = load_corpus()
    listed = {row["order_id"]: row for row in json.loads(_run("list", "--replies", "--json").stdout)}
    on_v3 = {f"({name}) on v3" for name, situation in corpus.situations.items() if situation.payload_v3}
    assert on_v3
    assert set(listed) == set(corpus.magic_orders) | {f"({name})" for name in corpus.situations} | on_v3
    for order in corpus.magic_orders.values():
        outcome, kind = corpus.expected_report(order.order_id)
        assert listed[order.order_id]["outcome"] == (kind or outcome)
    lost = listed["9900000950"]
    assert (lost["http"], lost["provenance"]) == ("drop", "synthetic")
    assert lost["body"] == "hangs up without a reply; the order is not cancelled"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "signature/refuses-absent",
            ["effect", "clause signature-required", "official", "tn-contract verify [URL] --check"],
        ),
        ("nonce-increases", ["should", "synthetic", "judged by", "Nothing public shows"]),
        ("insufficient-rights", ["rejected (access-denied)", "documented", "through traders"]),
        ("signature-invalid", ["signature-rejected by default", "signature-rejected-http-403 on v3", "--reply"]),
        ("v3-replay", ["clause v3-replay", "scheme      v3"]),
        ("success-is-json-object", ["scheme      v2 and v3"]),
        ("9900000012", ["the mock answers a cancel of this order with", "payload insufficient-rights"]),
        ("9900000950", ["hangs up without a reply; the order is not cancelled", "outcome     unknown", "synthetic"]),
        (
            "9900000957",
            ["documented success, a second late; the order is cancelled", "outcome     accepted", "synthetic"],
        ),
        ("v2-seed-request", ["string to sign", "params=order_id=2929292929", "synthetic"]),
    ],
)
def test_explain_tells_what_a_thing_is_and_where_it_comes_from(name: str, told: list[str]) -> None:
    ran = _run("explain", name)
    assert ran.returncode == 0
    for text in told:
        assert text in ran.stdout


def test_sign_shows_every_stage_of_the_seeds_request() -> None:
    arguments = ["sign", "--key", "public", "--nonce", "17000000000000", "--param", "order_id=2929292929"]
    stages = json.loads(_run(*arguments, "--json", TN_API_SECRET="secret").stdout)
    assert stages["string_to_sign"] == "apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params=order_id=2929292929"
    assert stages["signature"] == "2ff389e24dac1085805b1999cb314a197697c79122927167df046b4eb4ea7c21"
    assert stages["body"] == "apiKey=public&cmd=delTradeOrder&nonce=17000000000000&params%5Border_id%5D=2929292929"
    text = _run(*arguments, TN_API_SECRET="secret").stdout
    assert all(str(stages[name]) in text for name in ("string_to_sign", "signature", "body", "curl"))


def test_the_curl_command_of_sign_is_accepted(tn_mock: RunningMock) -> None:
    keys = tn_mock.broker.open_session().credentials
    arguments = ["sign", "--key", keys.api_key, "--param", "order_id=77", "--url", tn_mock.base_url, "--json"]
    stages = json.loads(_run(*arguments, TN_API_SECRET=keys.secret.reveal()).stdout)
    ran = subprocess.run(["sh", "-c", stages["curl"] + " -s"], capture_output=True, text=True, check=True, timeout=20)
    assert json.loads(ran.stdout) == {"order_id": 77}


def test_sign_shows_every_stage_of_a_v3_request() -> None:
    arguments = ["sign", "--scheme", "v3", "--key", "public", "--timestamp", "1700000000"]
    stages = json.loads(_run(*arguments, "--param", "order_id=2929292929", "--json", TN_API_SECRET="secret").stdout)
    assert stages["string_to_sign"] == '{"order_id":2929292929}1700000000'
    assert stages["signature"] == "7d188036d889f8a318f324a7bf1d32cb7019c7d8c6701d2cf3bc0eaf92d80062"
    assert (stages["path"], stages["body"]) == ("/api/delTradeOrder", '{"order_id":2929292929}')
    assert stages["headers"]["X-NtApi-Timestamp"] == "1700000000"
    text = _run(*arguments, "--command", "getAuthInfo", TN_API_SECRET="secret").stdout
    assert "8fb127cc8c5b6431435f5b344626a2223f2a364e6e5a8af0c4fca32b31d2eb52" in text
    assert "X-NtApi-PublicKey: public" in text


def test_the_v3_curl_command_of_sign_is_accepted(tn_mock: RunningMock) -> None:
    keys = tn_mock.broker.open_session().credentials
    arguments = ["sign", "--scheme", "v3", "--key", keys.api_key, "--url", tn_mock.base_url, "--json", "-"]
    body = '{"order_id": 77,\n "note": "it\'s ü"}\n'
    stages = json.loads(_run(*arguments, stdin=body, TN_API_SECRET=keys.secret.reveal()).stdout)
    assert stages["body"] == body
    ran = subprocess.run(["sh", "-c", stages["curl"] + " -s"], capture_output=True, text=True, check=True, timeout=20)
    assert json.loads(ran.stdout) == {"order_id": 77}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scheme", "v3", "--key", "k", "--nonce", "1"], "v3 a --timestamp"),
        (["--key", "k", "--timestamp", "1"], "v2 signs a --nonce"),
        (["--scheme", "v3", "-"], "name the key"),
    ],
)
def test_sign_names_the_option_that_does_not_fit_the_scheme(arguments: list[str], told: str) -> None:
    ran = _run("sign", *arguments, stdin="{}", TN_API_SECRET="s")
    assert ran.returncode == 4
    assert told in ran.stderr


def test_sign_reads_fields_from_a_file_or_standard_input(tmp_path: Path) -> None:
    fields = {"apiKey": "k", "cmd": "x", "nonce": 1, "params": {"b": ["x", "y"], "a": {"z": "1"}}}
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    from_file = _run("sign", str(tmp_path / "fields.json"), "--json", TN_API_SECRET="s").stdout
    from_stdin = _run("sign", "-", "--json", stdin=json.dumps(fields), TN_API_SECRET="s").stdout
    assert from_file == from_stdin
    assert json.loads(from_file)["string_to_sign"] == "apiKey=k&cmd=x&nonce=1&params=a=z=1&b=0=x&1=y"


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        ("[1]", "holds no JSON object"),
        ('{"a": 1.5}', "a is a float"),
        ('{"params": {"on": true}}', "params[on] is a bool"),
        ('{"params": {}}', "params is empty"),
    ],
)
def test_sign_refuses_what_has_no_agreed_text(stdin: str, sentence: str) -> None:
    ran = _run("sign", "-", stdin=stdin, TN_API_SECRET="s")
    assert ran.returncode == 4
    assert sentence in ran.stderr


def test_sign_takes_the_secret_from_the_environment_only() -> None:
    ran = _run("sign", "--key", "k")
    assert ran.returncode == 4
    assert "set TN_API_SECRET" in ran.stderr
    planted = "planted-secret-0123456789"
    ran = _run("sign", "--key", "k", "--param", "order_id=5", TN_API_SECRET=planted)
    assert planted not in ran.stdout + ran.stderr


def test_sign_needs_a_key() -> None:
    ran = _run("sign", TN_API_SECRET="s")
    assert ran.returncode == 4
    assert "name the key" in ran.stderr


def test_quick_judges_one_check_of_each_clause(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    ran = _run("verify", "--quick", "--check", "control", "--check", "nonce", "--json", str(report))
    assert ran.returncode == 0, ran.stderr
    clauses = [row["clause"] for row in json.loads(report.read_text("utf-8"))["checks"]]
    assert len(clauses) == len(set(clauses))
    assert {"session-opens", "cancel-accepted", "nonce-increases"} <= set(clauses)


def test_a_run_without_a_terminal_says_how_far_it_is() -> None:
    heartbeat = running.Heartbeat()
    heartbeat.start(4, lambda: 0)
    heartbeat.begins("nonce/refuses-lower")
    assert heartbeat.line(7) == "0 of 4 checks, 7 requests: nonce/refuses-lower"
    heartbeat.ends()
    assert heartbeat.line(9).startswith("1 of 4 checks, 9 requests: nonce/refuses-lower, about ")
    heartbeat.stop()


def test_progress_comes_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat = running.Heartbeat(every=0.01)
    heartbeat.start(4, lambda: 3)
    deadline = time.monotonic() + 30
    while not (said := capsys.readouterr().err) and time.monotonic() < deadline:
        time.sleep(0.01)
    heartbeat.stop()
    assert said.startswith("0 of 4 checks, 3 requests")
