"""Clients that are no Python: real programs, tried as users try theirs. The examples are the honest ones."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tn_contract.judge.client import catalogue
from tn_contract.judge.client.cases import cases
from tn_contract.trial.trial import Trial, _find_faketime

from .trying import found, judged

PROGRAMS = Path(__file__).with_name("programs")
EXAMPLES = Path(__file__).parent.parent.parent / "examples"

# Mistake → the checks that find it, which are also all that are looked at besides `ALWAYS`.
MISTAKES = {
    "node": {
        "none": [],
        "number-ids": ["sends/ids-to-63-bits"],
        "second-nonces": ["draws/rising"],
        "millisecond-nonces": ["draws/rising"],
        "milliseconds-as-ticks": ["draws/rising"],
        "random-nonces": ["draws/whole-numbers"],
        "encoded-string": ["signs/each-request"],
        "json-body": ["sends/content-type"],
        "default-redirect": ["sends/nothing-after-redirects", "sends/no-get-after-redirects"],
        "truthy-object": ["reports/common-error"],
        "unguarded-json": ["reports/html", "reports/empty"],
        "not-sent-for-lost": ["reports/lost-replies"],
    },
    "php": {
        "none": [],
        "float-nonces": ["draws/whole-numbers"],
        "second-nonces": ["draws/rising"],
        "millisecond-nonces": ["draws/rising"],
        "encoded-string": ["signs/each-request"],
        "bracketed-string": ["signs/each-request"],
        "multipart": ["sends/content-type"],
        "isset-error": ["reports/success-with-more"],
        "code-alone": ["reports/method-error"],
        "no-order-compared": ["reports/other-order"],
        "growing-address": ["sends/address"],
        "header-without-prefix": ["signs/each-request"],
        "follows-redirects": ["sends/nothing-after-redirects", "sends/no-get-after-redirects"],
    },
}
SUFFIXES = {"node": "mjs", "php": "php"}
# Found besides by the wire as a whole: a reader finds each in the mistake's own words.
BESIDES = {
    "json-body": {"sends/fields", "sends/nothing-else", "signs/each-request", "sends/ids-beyond-32-bits",
                  "sends/ids-to-63-bits"},
    "multipart": {"sends/fields", "sends/nothing-else", "signs/each-request", "sends/ids-beyond-32-bits",
                  "sends/ids-to-63-bits"},
}  # fmt: skip


def need(language: str) -> None:
    if shutil.which(language) is None:
        pytest.skip(f"{language} is not installed")
    if language == "php" and "curl" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout:
        pytest.skip("php has no curl extension: install php-curl")


def try_program(words: list[str], wanted: Iterable[str]) -> dict[str, str]:
    evidence = Trial(shlex.join(words)).run([cases()[case_id] for case_id in wanted])
    results = judged(evidence)
    # A check whose cases were not all run would speak of those that were.
    return found(result for result in results if set(catalogue()[result.check.id].cases) <= set(wanted))


@pytest.mark.parametrize(
    ("language", "mistake"), [(language, mistake) for language, mistakes in MISTAKES.items() for mistake in mistakes]
)
def test_a_broken_program_is_found_by_its_checks(language: str, mistake: str) -> None:
    need(language)
    own = MISTAKES[language][mistake]
    wanted = dict.fromkeys(["plain", *(case_id for check_id in own for case_id in catalogue()[check_id].cases)])
    program = PROGRAMS / f"client.{SUFFIXES[language]}"
    findings = try_program([language, str(program), mistake], wanted)
    assert set(findings) - BESIDES.get(mistake, set()) == set(own), findings


@pytest.mark.timed
@pytest.mark.full  # tests/docs tries the examples by the command line
@pytest.mark.parametrize("language", SUFFIXES)
def test_the_example_is_honest(language: str) -> None:
    need(language)
    program = EXAMPLES / f"judge_me.{SUFFIXES[language]}"
    assert try_program([language, str(program)], cases()) == {}


CLOCK_CASES = ("plain", "clock-steps-back", "clock-stands-still")


def draws(words: list[str]) -> dict[str, tuple[str, str]]:
    """What the checks of nonces find of a program in the cases that set its clock."""
    results = judged(Trial(shlex.join(words)).run([cases()[case_id] for case_id in CLOCK_CASES]))
    return {each.check.id: (each.verdict, each.finding.actual) for each in results if each.check.group == "draws"}


@pytest.mark.skipif(not _find_faketime(), reason="faketime is not installed")
@pytest.mark.parametrize(
    ("language", "mistake", "verdict"),
    [
        ("node", "none", "pass"),
        ("node", "milliseconds-as-ticks", "warn"),
        ("node", "monotonic-nonces", "skipped"),
        ("php", "none", "pass"),
        ("php", "millisecond-nonces", "warn"),
    ],
)
def test_clock_is_set_back_where_that_shows(language: str, mistake: str, verdict: str) -> None:
    need(language)
    found = draws([language, str(PROGRAMS / f"client.{SUFFIXES[language]}"), mistake])
    assert found["draws/rising-after-clock-step"][0] == verdict
    assert found["draws/rising"][0] == ("fail" if "millisecond" in mistake else "pass")


@pytest.mark.full
@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
@pytest.mark.parametrize("linked", ["statically", "dynamically"])
def test_clock_of_a_go_program_cannot_be_set(tmp_path: Path, linked: str) -> None:
    program = tmp_path / "client"
    environment = {**os.environ, "CGO_ENABLED": "0" if linked == "statically" else "1", "GOCACHE": str(tmp_path / "go")}
    built = subprocess.run(
        ["go", "build", "-o", str(program), str(PROGRAMS / "client.go")],
        env=environment,
        capture_output=True,
        text=True,
    )
    if built.returncode:
        pytest.skip(f"go cannot build here: {built.stderr[:200]}")
    found = draws([str(program)])
    assert found["draws/rising"][0] == "pass"
    verdict, why = found["draws/rising-after-clock-step"]
    assert verdict == "skipped"
    assert "cannot be set" in why


@pytest.mark.full
@pytest.mark.skipif(not _find_faketime(), reason="faketime is not installed")
@pytest.mark.skipif(shutil.which("javac") is None, reason="java is not installed")
def test_clock_of_a_java_program_is_set(tmp_path: Path) -> None:
    subprocess.run(["javac", "-d", str(tmp_path), str(PROGRAMS / "Client.java")], check=True)
    found = draws(["java", "-cp", str(tmp_path), "Client"])
    assert found["draws/rising"][0] == "fail"
    assert found["draws/rising-after-clock-step"][0] == "warn"
