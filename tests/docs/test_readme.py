"""What the README shows is true and runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server.serve import RunningMock
from tn_contract.checks import catalogue
from tn_contract.corpus import load_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCS = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_table_of_magic_orders_is_the_corpus() -> None:
    spec = importlib.util.spec_from_file_location("manifest", ROOT / "fixtures/generators/manifest.py")
    assert spec
    assert spec.loader
    manifest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(manifest)
    assert manifest.magic_table(load_corpus()) in README


def test_the_node_example_is_the_file_in_examples() -> None:
    assert _blocks("js") == [(ROOT / "examples/cancel.mjs").read_text("utf-8")]


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_node_example_cancels(tn_mock: RunningMock) -> None:
    ran = _run(["node", str(ROOT / "examples/cancel.mjs"), "12345"], tn_mock)
    assert re.fullmatch(r'200 \{\s*"order_id" : 12345\s*\}\n', ran)


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is not installed")
def test_the_shell_example_cancels(tn_new_demo_mock: RunningMock) -> None:
    example = next(block for block in _blocks("sh") if "openssl" in block)
    script = example.replace("http://127.0.0.1:8787", tn_new_demo_mock.base_url).replace("curl ", "curl -s ")
    assert re.sub(r"\s", "", _run(["sh", "-c", script], tn_new_demo_mock)) == '{"order_id":2929292929}'


@pytest.fixture
def tn_new_demo_mock(tn_mock: RunningMock) -> RunningMock:
    """A mock whose demo key has sent no nonce yet."""
    tn_mock.broker.reset()
    return tn_mock


def _run(command: list[str], mock: RunningMock) -> str:
    credentials = mock.broker.open_session().credentials
    environment = {
        **os.environ,
        "TN_BASE_URL": mock.base_url,
        "TN_API_KEY": credentials.api_key,
        "TN_API_SECRET": credentials.secret.reveal(),
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=20).stdout


def test_the_numbers_are_counted() -> None:
    corpus = load_corpus()
    assert f"{len(corpus.vectors)} signing vectors and {len(corpus.nonces.sequences)} nonce" in " ".join(README.split())
    assert f"over {len(corpus.mistakes) // 10 * 10} mistakes" in README
    assert f"{len(corpus.mistakes)} mistakes" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"{len(catalogue()) // 10 * 10}-odd checks" in README


def test_every_option_and_check_named_exists() -> None:
    program = [sys.executable, "-m", "tn_contract.cli"]
    helps = "".join(
        subprocess.run([*program, verb, "--help"], capture_output=True, text=True, check=True).stdout
        for verb in ("serve", "verify", "list", "explain", "sign", "lint")
    )
    pages = README + "".join((ROOT / page).read_text("utf-8") for page in DOCS)
    commands = "\n".join(re.findall(r"tn-contract (?:serve|verify|list|sign)[^\n`]*", pages))
    for option in set(re.findall(r"--[a-z-]+", commands)):
        assert option in helps, option
    for check in re.findall(r"explain ([a-z]+/[a-z-]+)", README):
        assert check in catalogue()


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "fixtures/README.md", *DOCS])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"`((?:tn_contract|mock_server|fixtures|tests|examples|benchmarks)/[\w./-]*)`", text)
    for path in (*((ROOT / page).parent / link for link in links), *(ROOT / path for path in paths)):
        assert path.exists(), path


@pytest.mark.parametrize("works", [True, False])
def test_the_ci_job_waits_for_the_mock_and_fails_at_once_without_it(works: bool, tmp_path: Path) -> None:
    job = next(block for block in _blocks("yaml") if "--ready-file" in block)
    script = re.search(r"- run: \|\n((?:    .*\n)+)", job)
    assert script
    program = f"{sys.executable} -m tn_contract.cli" if works else "false"
    commands = script[1].replace("tn-contract", program) + "cat mock.json && kill $!\n"
    ran = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == (0 if works else 1)
    assert ('"base_url": "http://127.0.0.1:' in ran.stdout) == works
