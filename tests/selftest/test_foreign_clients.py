"""Clients that are no Python: real programs, tried as users try theirs. The examples are the honest ones."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tn_contract.client_checks import catalogue
from tn_contract.client_checks.cases import cases
from tn_contract.trial import Trial

from .trying import found, judged

PROGRAMS = Path(__file__).with_name("programs")
EXAMPLES = Path(__file__).parent.parent.parent / "examples"

# Mistake → the checks that find it, which are also all that are looked at besides `ALWAYS`.
MISTAKES = {
    "node": {
        "none": [],
        "number-ids": ["sends/ids-to-63-bits"],
        "second-nonces": ["draws/rising"],
        "random-nonces": ["draws/whole-numbers"],
        "encoded-string": ["signs/each-request"],
        "json-body": ["sends/content-type"],
        "default-redirect": ["sends/nothing-after-redirects"],
        "truthy-object": ["reports/common-error"],
        "unguarded-json": ["reports/html", "reports/empty"],
        "not-sent-for-lost": ["reports/lost-replies"],
    },
    "php": {
        "none": [],
        "float-nonces": ["draws/whole-numbers"],
        "second-nonces": ["draws/rising"],
        "encoded-string": ["signs/each-request"],
        "bracketed-string": ["signs/each-request"],
        "multipart": ["sends/content-type"],
        "isset-error": ["reports/success-with-more"],
        "code-alone": ["reports/method-error"],
        "no-order-compared": ["reports/other-order"],
        "growing-address": ["sends/address"],
        "header-without-prefix": ["signs/each-request"],
        "follows-redirects": ["sends/nothing-after-redirects"],
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


@pytest.mark.parametrize("language", SUFFIXES)
def test_the_example_is_honest(language: str) -> None:
    need(language)
    program = EXAMPLES / f"judge_me.{SUFFIXES[language]}"
    assert try_program([language, str(program)], cases()) == {}
