"""What docs/judge.md shows is true, and the example clients come out clean."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tn_contract.judge.client import catalogue
from tn_contract.judge.client.cases import cases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/judge.md").read_text("utf-8")
EXAMPLES = {"python": "judge_me.py", "node": "judge_me.mjs", "php": "judge_me.php"}


def test_the_examples_have_fewer_than_40_lines() -> None:
    for name in EXAMPLES.values():
        assert f"../examples/{name}" in PAGE
        assert len((ROOT / "examples" / name).read_text("utf-8").splitlines()) < 40


# Node and Python start slowly, a hundred times each.
MARKS = {name: [pytest.mark.full, pytest.mark.timed] for name in ("python", "node")}


@pytest.mark.parametrize(
    ("language", "name"), [pytest.param(*each, id=each[0], marks=MARKS.get(each[0], [])) for each in EXAMPLES.items()]
)
def test_judge_finds_the_example_right(language: str, name: str) -> None:
    program = sys.executable if language == "python" else shutil.which(language)
    if program is None:
        pytest.skip(f"{language} is not installed")
    if language == "php" and "curl" not in _run(program, "-m"):
        pytest.skip("PHP has no curl extension")
    command = f"{program} {ROOT / 'examples' / name}"
    _run(sys.executable, "-m", "tn_contract.cli", "judge", "--strict", "--exec", command)


def _run(*arguments: str) -> str:
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_special_cases_are_described() -> None:
    special = {case for case in cases() if not case.startswith("order-")}
    assert special <= set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))


def test_the_checks_named_exist() -> None:
    groups = {check.group for check in catalogue().values()}
    for pattern in re.findall(r"--check '?([a-z/*-]+)", PAGE):
        assert pattern.partition("/")[0] in groups
    assert "reports/silence" in catalogue()
