"""Every broken server is found, by the checks that `matrix.json` says, and every check finds one.

`TN_SELFTEST_REWRITE=1 pytest tests/selftest/test_kill_matrix.py` writes the file anew; look at the difference.
An entry lists the checks with verdict fail; those with warn or error are marked. Blocked checks are left out: what
they wait for is in the list.
"""

from __future__ import annotations

import os

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server import GROUPS, catalogue
from tn_contract.judge.server.registry import CONTROLS
from tn_contract.report.rows import EXIT_BROKEN, EXIT_ERROR

from .golden import Matrix
from .judging import judged
from .mutants import MUTANTS
from .servers import BROKEN, JUDGING, app_of

pytestmark = pytest.mark.full
MATRIX = Matrix("matrix.json", BROKEN)

# Who accepts these accepts any signature, for a digest cannot be undone: such a server breaks other checks as well.
NEVER_ALONE = {"signature/covers-nonce", "signature/covers-nonce-on-cancel"}


def all_kills_of(slug: str) -> tuple[list[str], int]:
    groups = ("control", MUTANTS[slug].group) if slug in MUTANTS else GROUPS
    results, code = judged(app_of(slug), groups=groups)
    marks = {"fail": "", "warn": " (warn)", "error": " (error)"}
    kills = [f"{result.check.id}{marks[result.verdict]}" for result in results if result.verdict in marks]
    return sorted(kills), code


@pytest.mark.parametrize("slug", BROKEN)
def test_a_broken_server_is_found_by_its_checks(slug: str) -> None:
    kills, code = all_kills_of(slug)
    if os.environ.get("TN_SELFTEST_REWRITE"):
        MATRIX.rewrite(slug, kills)
    expected = MATRIX.read().get(slug)
    assert kills == expected
    if all(kill.endswith(" (warn)") for kill in kills):
        clauses = load_corpus().clauses
        levels = {clauses[catalogue()[kill.partition(" ")[0]].clause].level for kill in kills}
        assert levels == {"should"}, "only a clause of level should may be broken with no more than a warning"
        assert code == 0
    else:
        assert code in (EXIT_BROKEN, EXIT_ERROR)


def test_the_matrix_knows_every_broken_server() -> None:
    assert sorted(MATRIX.read()) == sorted(BROKEN)
    assert all(MATRIX.read().values())


def test_every_check_finds_a_broken_server() -> None:
    # A control cannot tell a broken server from wrong keys, so its verdict is an error, never a fail.
    controls = {control for pair in CONTROLS.values() for control in pair}
    found = {
        kill.removesuffix(" (warn)").replace(" (error)", "" if kill.partition(" ")[0] in controls else " (error)")
        for kills in MATRIX.read().values()
        for kill in kills
    }
    assert JUDGING - found == set()


def test_every_check_finds_one_that_few_others_find() -> None:
    """A check that only ever fails among many others may fail for their reasons."""
    few = {kill.partition(" ")[0] for kills in MATRIX.read().values() if len(kills) <= 4 for kill in kills}
    assert JUDGING - few == NEVER_ALONE
