"""Every page: links, anchors, files, and the options of each command that it shows."""

from __future__ import annotations

import fnmatch
import re
from itertools import pairwise

import click
import pytest

from tests.docs.pages import NAMES, ROOT, anchors, commands, links, prose, read
from tn_contract.cli.root import main
from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client import catalogue as client_catalogue
from tn_contract.judge.server import catalogue

CONTEXT = click.Context(main)
VERBS = {name: verb for name in main.list_commands(CONTEXT) if (verb := main.get_command(CONTEXT, name))}


@pytest.mark.parametrize("page", NAMES)
def test_every_link_and_anchor_exists(page: str) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT).as_posix()), link


@pytest.mark.parametrize("page", NAMES)
def test_every_file_named_exists(page: str) -> None:
    paths = re.findall(r"`((?:tn_contract|mock_server|fixtures|tests|examples|benchmarks|docs)/[\w./-]*)`", read(page))
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_index_lists_every_page() -> None:
    listed = {link.partition("#")[0] for link in links("docs/index.md")}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= listed


def _parse(words: list[str]) -> click.Command:
    """Check a command's verb and the names of its options, as the command line does."""
    verb = VERBS[words[0]]
    options = {
        name for each in verb.params if isinstance(each, click.Option) for name in (*each.opts, *each.secondary_opts)
    }
    for word in words[1:]:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in options | {"--help", "-h"}, word
    return verb


@pytest.mark.parametrize("page", NAMES)
def test_every_command_has_a_known_verb_and_known_options(page: str) -> None:
    for words in commands(page):
        if not words[0].startswith("-"):
            _parse(words)


@pytest.mark.parametrize("page", NAMES)
def test_every_id_in_a_command_exists(page: str) -> None:
    corpus = load_corpus()
    checks = {**catalogue(), **client_catalogue()}
    known = {*checks, *(check.group for check in checks.values())}
    for words in commands(page):
        for option, value in pairwise(words):
            if option in ("--check", "--exclude"):
                assert fnmatch.filter(known, value), value
            if option == "--reply":
                situation, _, payload = value.partition("=")
                assert value == "SITUATION=PAYLOAD" or (situation in corpus.situations and payload in corpus.payloads)
        if words[0] == "explain" and words[1:] not in ([], ["CHECK"]):
            assert words[1] in checks or words[1] in corpus.magic_orders or words[1] in corpus.mistakes, words


def test_options_in_prose_exist() -> None:
    known = {
        name
        for verb in VERBS.values()
        for each in verb.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
    }
    for page in ("README.md", "docs/mock.md", "docs/verify.md", "docs/judge.md", "docs/signing.md"):
        for option in re.findall(r"`(?:serve |verify )?(--[a-z-]+)", prose(read(page))):
            assert option in known or option.startswith("--tn-"), (page, option)
