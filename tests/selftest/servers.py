"""All broken servers, whichever file declares them: how to build each, and the checks that must find it."""

from __future__ import annotations

from collections.abc import Iterable

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.server import catalogue

from . import (  # noqa: F401 # importing registers them
    defects,
    defects_copies,
    defects_fallbacks,
    defects_parsers,
    defects_state,
    defects_strings,
)
from .defect import DEFECTS, broken
from .judging import App
from .mutants import MUTANTS, broken_mock

BROKEN: tuple[str, ...] = (*DEFECTS, *MUTANTS)
# Checks of level `observed` judge nothing, so no server breaks them.
JUDGING = {check.id for check in catalogue().values() if load_corpus().clauses[check.clause].level != "observed"}


def app_of(slug: str) -> App:
    return broken(slug) if slug in DEFECTS else broken_mock(slug)


def kills_of(slug: str) -> tuple[str, ...]:
    return DEFECTS[slug].kills if slug in DEFECTS else MUTANTS[slug].kills


def cover(slugs: Iterable[str]) -> set[str]:
    """For each check the first server that names it: a few servers that touch every check."""
    first: dict[str, str] = {}
    for slug in slugs:
        for check_id in kills_of(slug):
            first.setdefault(check_id, slug)
    return set(first.values())
