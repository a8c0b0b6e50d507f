"""Every broken client is found by its own checks, and every check of clients finds one.

`test_a_broken_client_is_found_by_its_own_checks` tries each in the cases that those checks need. The full run tries
each in all cases, and compares all that is found with `client_matrix.json`.

`TN_SELFTEST_REWRITE=1 pytest tests/selftest/test_client_matrix.py` writes the file anew; look at the difference. An
entry lists the checks with verdict fail; those with warn are marked. Blocked checks are left out: what they wait for
is in the list.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client import catalogue

from .client_defects import DEFECTS, broken
from .golden import Matrix
from .trying import cases_needed_by, found, hurried, in_time, judged, try_in_process

MATRIX = Matrix("client_matrix.json", DEFECTS)

# Broken clients leave sockets open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _sockets_left_open() -> Iterator[None]:
    """Collect them here, so that no test of another module is warned of them."""
    yield
    gc.collect()


def kills_of(slug: str) -> list[str]:
    findings = found(judged(try_in_process(broken(slug))))
    return sorted(f"{check_id}{' (warn)' * told.startswith('warn')}" for check_id, told in findings.items())


def bare(kill: str) -> str:
    return kill.partition(" ")[0]


def levels() -> dict[str, str]:
    return {check.id: load_corpus().clauses[check.clause].level for check in catalogue().values()}


# Found because they hang, as late as at their deadline, or because a late reply comes in the right moment.
WAITING = {
    "keeps-the-connection-of-a-request-that-timed-out",
    "waits-for-ever", "never-ends-after-many-orders", "ends-its-time-limit-with-the-header",
    "ends-its-time-limit-with-the-first-byte", "connects-without-a-time-limit", "shakes-hands-without-a-time-limit",
    "connects-again-until-it-succeeds", "takes-the-status-line-for-the-reply",
}  # fmt: skip


def cover() -> list[str]:
    """For each check a broken client that it is there for, the one with the fewest own checks."""
    quick = sorted(set(DEFECTS) - WAITING, key=lambda slug: (len(DEFECTS[slug].own), list(DEFECTS).index(slug)))
    found_by: dict[str, str] = {}
    for slug in quick:
        for check_id in DEFECTS[slug].own:
            found_by.setdefault(check_id, slug)
    return sorted(set(found_by.values()))


COVER = cover()


def missed_by_its_own_checks(slug: str) -> dict[str, str]:
    """The checks of its own that did not find a broken client, and what they say instead."""
    defect = DEFECTS[slug]
    evidence = try_in_process(broken(slug), {*cases_needed_by(defect.own), *defect.tried_in})
    results = judged(evidence, defect.own)
    seen = found(results)
    return {each.check.id: f"{each.verdict}: {each.finding.actual}" for each in results if each.check.id not in seen}


@pytest.mark.parametrize("slug", DEFECTS)
def test_a_broken_client_is_found_by_its_own_checks(slug: str) -> None:
    assert in_time(lambda: missed_by_its_own_checks(slug), {}) == {}


@pytest.mark.quick
@pytest.mark.costly
def test_broken_clients_of_every_check_are_found() -> None:
    """All at a time, because they mostly wait."""

    def missed() -> dict[str, dict[str, str]]:
        with hurried(), ThreadPoolExecutor(8) as pool:
            return {
                slug: why for slug, why in zip(COVER, pool.map(missed_by_its_own_checks, COVER), strict=True) if why
            }

    assert in_time(missed, {}) == {}


@pytest.mark.full
@pytest.mark.parametrize("slug", DEFECTS)
def test_a_broken_client_is_found_by_its_checks(slug: str) -> None:
    if os.environ.get("TN_SELFTEST_REWRITE"):
        MATRIX.rewrite(slug, kills_of(slug))
        return
    expected = MATRIX.read()[slug]
    assert expected
    assert in_time(lambda: kills_of(slug), expected) == expected


@pytest.mark.parametrize("slug", DEFECTS)
def test_each_check_that_finds_a_broken_client_has_a_reason(slug: str) -> None:
    defect, kills = DEFECTS[slug], {bare(kill) for kill in MATRIX.read()[slug]}
    assert set(defect.own) <= kills, "its own checks find it"
    others = kills - set(defect.own)
    assert [kill for kill in others if not any(fnmatchcase(kill, pattern) for pattern in defect.also)] == []
    idle = [pattern for pattern in defect.also if not any(fnmatchcase(kill, pattern) for kill in kills)]
    assert idle == [], "a reason for nothing"


@pytest.mark.parametrize("slug", DEFECTS)
def test_what_is_only_warned_of_breaks_no_must(slug: str) -> None:
    for kill in MATRIX.read()[slug]:
        if not kill.endswith("(warn)"):
            assert levels()[kill] == "must"
        elif not kill.startswith("reports/"):  # where unknown in place of a settled outcome is a warning
            assert levels()[bare(kill)] == "should"


def test_the_matrix_knows_every_broken_client() -> None:
    assert sorted(MATRIX.read()) == sorted(DEFECTS)


@pytest.mark.quick
def test_every_check_finds_a_broken_client_that_it_is_there_for() -> None:
    own = {check_id for defect in DEFECTS.values() for check_id in defect.own}
    assert {check_id for check_id, level in levels().items() if level != "observed"} - own == set()
    assert own <= set(catalogue())


def test_every_check_finds_one_that_few_others_find() -> None:
    """A check that only ever fails among many others may fail for their reasons."""
    few = {bare(kill) for kills in MATRIX.read().values() if len(kills) <= 4 for kill in kills}
    assert {check_id for check_id, level in levels().items() if level != "observed"} - few == set()
