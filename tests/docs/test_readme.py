"""The commands and numbers in the README are right: each command runs as written, against a mock on its own port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server.serve import RunningMock
from tests.docs.pages import ROOT, blocks, read
from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server import catalogue

pytestmark = pytest.mark.slow

README = read("README.md")
URL = "http://127.0.0.1:8787"


def _one(language: str, part: str) -> str:
    [block] = [block for block in blocks("README.md", language) if part in block]
    return block


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which the README's commands run: it contains the checkout, and a program `tn-contract`."""
    (tmp_path / "tn-contract").symlink_to(ROOT)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "tn-contract").write_text(f'#!/bin/sh\nexec {sys.executable} -m tn_contract.cli "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


def _run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment},
    )  # fmt: skip


def test_the_readme_has_at_most_1200_words() -> None:
    assert len(README.split()) <= 1200


def test_the_installation_ends_with_a_run_without_failures(folder: Path) -> None:
    *install, verify = _one("sh", "pip install").splitlines()
    assert install == ["python3 -m venv venv", ". venv/bin/activate", "pip install ./tn-contract"]
    ran = _run(verify, folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is not installed")
def test_the_first_cancel_is_accepted_and_is_in_the_journal(tn_mock: RunningMock, folder: Path) -> None:
    tn_mock.broker.reset()  # the demo key must not have a nonce yet
    script = _one("sh", "openssl").replace(URL, tn_mock.base_url).replace("curl ", "curl -s ")
    ran = _run(script, folder)
    assert ran.stdout == '{ "order_id" : 2929292929 }' or re.sub(r"\s", "", ran.stdout) == '{"order_id":2929292929}'
    journal = _run(_one("sh", "/journal").replace(URL, tn_mock.base_url), folder)
    assert "string_to_sign" in journal.stdout


def test_serve_prints_the_line_that_is_shown(folder: Path) -> None:
    line = next(line for line in _one("console", "tn-contract serve").splitlines() if "mock at" in line)
    started = _run(
        "tn-contract serve --port 0 > said & until [ -s said ]; do sleep 0.1; done; kill $!; wait $!", folder
    )
    assert started.returncode == 0, started.stderr
    said = (folder / "said").read_text("utf-8").splitlines()[0]
    assert re.sub(r":[0-9]+", ":PORT", said) == re.sub(r":[0-9]+", ":PORT", line)


def test_judge_finds_the_three_mistakes_that_are_shown(folder: Path) -> None:
    command, *shown = _one("console", "tn-contract judge").splitlines()
    ran = _run(command.removeprefix("$ "), folder)
    assert ran.returncode == 1, ran.stdout + ran.stderr

    def verdicts(lines: list[str]) -> list[str]:
        return [" ".join(line.split()[1:3]) for line in lines if re.match(r". (pass|fail) +[a-z]+/\S+ +\S", line)]

    assert verdicts(ran.stdout.splitlines()) == verdicts(shown)
    assert len(verdicts(shown)) == 5
    details = shown[shown.index("✘ fail reports/method-error") : shown.index("…")]
    assert "\n".join(details) in ran.stdout
    assert "3 fail · 2 pass" in ran.stdout
    assert "3 fail · 2 pass" in shown[-1]


def test_the_verify_example_judges_a_sandbox(tn_mock: RunningMock, folder: Path) -> None:
    script = _one("sh", "sandbox.example").replace("https://sandbox.example", tn_mock.base_url)
    assert script.startswith("TN_API_KEY=… TN_API_SECRET=… tn-contract verify ")
    ran = _run(script.rstrip() + " --quick", folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("works", [True, False])
def test_the_ci_job_waits_for_the_mock_and_stops_without_it(works: bool, folder: Path) -> None:
    script = re.search(r"- run: \|\n((?:    .*\n)+)", _one("yaml", "--ready-file"))
    assert script
    if not works:
        (folder / "bin/tn-contract").write_text("#!/bin/sh\nexit 1\n")
    ran = _run(script[1] + "cat mock.json && kill $!\n", folder)
    assert ran.returncode == (0 if works else 1)
    assert ('"base_url": "http://127.0.0.1:' in ran.stdout) == works


def test_explain_knows_the_check_that_is_shown(folder: Path) -> None:
    assert _run(_one("sh", "tn-contract explain"), folder).returncode == 0


def test_the_pytest_example_passes(folder: Path) -> None:
    (folder / "my_program.py").write_text(
        "from tn_contract import Client\n\n\n"
        "def cancel(order_id, base_url, key, secret):\n"
        "    with Client(key, secret, base_url=base_url) as client:\n"
        "        client.cancel_order(order_id)\n"
    )
    (folder / "test_it.py").write_text(_one("python", "my_program"))
    ran = _run("python -m pytest -q -p no:cacheprovider test_it.py", folder, PYTEST_ADDOPTS="")
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_magic_orders_shown_are_the_corpus() -> None:
    corpus = load_corpus()
    rows = re.findall(r"^\| (99\d+) \| [^|]+ \| (\w+) \|", README, re.MULTILINE)
    assert len(rows) == 8
    for order_id, outcome in rows:
        assert corpus.expected_report(order_id)[0] == outcome


def test_the_numbers_are_counted() -> None:
    corpus = load_corpus()
    words = " ".join(README.split())
    assert f"{len(corpus.vectors)} signing vectors and {len(corpus.nonces.sequences)} nonce" in words
    assert f"over {len(corpus.mistakes) // 10 * 10} mistakes" in words
    assert f"{len(corpus.mistakes)} mistakes" in read("CHANGELOG.md")
    assert f"{len(catalogue()) // 10 * 10}-odd checks" in words
