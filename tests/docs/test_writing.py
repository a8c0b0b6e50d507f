"""The word list: words and phrases that the documentation avoids, with better ones.

Readers are developers, and most are not native speakers. To check more files, add their globs to `SCOPE`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import NAMES, ROOT

SCOPE = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "docs/*.md", "examples/*"]

# Each is a regular expression, searched without regard to case.
FORBIDDEN = {
    # archaic, poetic, or not what a reader searches for
    r"\bbefall\w*|\bbefell\b": "happens to; fails",
    r"\bspoil\w*\b": "damage; mutation",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\banew\b|\bafresh\b": "again; new",
    r"\bnobody\b": "no one, or name who",
    r"\bwho(m|so)?ever\b": "any client that",
    r"\bwhereupon|\bthereof|\bwherein|\btherein|\bthereby|\bhence\b|\bthus\b": "so",
    r"\blest\b|\bshall\b|\baught\b|\bupon\b": "plain English",
    r"\bever\b": "leave it out",
    r"\blikewise\b": "also",
    r"\bnotwithstanding\b|\ball the same\b": "anyway",
    r"\bin vain\b": "without success",
    r"\bwant(s)? a word\b|\bhas the last word\b": "say it plainly",
    r"\bat once\b": "immediately; at the same time",
    r"\bby itself\b|\bby themselves\b": "automatically; alone",
    r"\bbears?\b|\bborne\b|\berrs\b": "plain English",
    r"\bcame of it\b|\bbecame of it\b|\bcomes of it\b": "the outcome",
    r"\bturned? round\b": "reversed",
    r"\bwhite of\b|\bheed\w*\b": "read; follow",
    # personification and metaphors
    r"\bstrangers?\b|\bvisitors?\b|\bnewcomers?\b": "client; connection; new user",
    r"\bgoodbye\b|\bfarewell\b": "close",
    r"\bentrances?\b|\bdoors?\b": "endpoint; entry point",
    r"\bfloors?\b|\brooms?\b|\bhouses?\b|\bnursery\b": "layer; package; module",
    r"\bfaces\b": "user interfaces",
    r"\bdeaf\b|\bsated\b|\bspeechless\b": "say the state",
    r"\bstorms?\b": "heavy load",
    r"\b(hears?|heard) (of|from)\b": "receives",
    r"\bwalks?\b": "reads; traverses",
    # grammar that is hard to read
    r"(?<!there\s)\b(is|are|was|were) no (?!one\b|longer\b|more\b)": "is not a",
    r"\b(is|are|was|were) (?-i:none)\b": "does not exist",
    r"\bfor ever\b": "without a timeout",
    r"\bis told\b|\bthe told\b|\btells? of\b|\btold\b": "is reported; message",
    r"\bspeaks? of\b": "names; is about",
    r"\b(spoken|speaks) here\b": "supported",
    r", for (it|they|that|this|nothing) (is|are|was|may|might|can|would|does|has|had)\b": "because",
    r"\bsettles nothing\b": "is not evidence",
    r"\bmake of it\b|\bmakes of each\b|\bmakes of it\b": "report",
    r"\bgives? up\b": "times out",
}

GAP = r"\s+(?:(?:#|//)\s+)?"  # between the words of a phrase: a line may end there, also in a comment

# What code or fixtures generate stays out until their words are checked at their source; so do identifiers and output.
GENERATED = re.compile(r"<!-- ([a-z ]+)(?::.*?)?-->\n.*?<!-- /\1 -->", re.DOTALL)
OUTPUT = re.compile(r"^```(?:console|text)\n.*?^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")


def files() -> list[Path]:
    return sorted({path for pattern in SCOPE for path in ROOT.glob(pattern) if path.is_file()})


def text_of(path: Path) -> str:
    """Return what people wrote in a file; what is left out keeps its line breaks, so that line numbers are right."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        for pattern in (GENERATED, OUTPUT, CODE):
            text = pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
    return text


def found_in(text: str) -> list[str]:
    """Return each forbidden word with its line and a better word; a phrase may go on in the next line."""
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {' '.join(match[0].split())!r}: better: {better}"
        for words, better in FORBIDDEN.items()
        for match in re.finditer(words.replace(" ", GAP), text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_forbidden_word_is_used(path: Path) -> None:
    assert found_in(text_of(path)) == []


def test_every_page_is_in_scope() -> None:
    assert set(NAMES) - {"fixtures/README.md"} <= {path.relative_to(ROOT).as_posix() for path in files()}


@pytest.mark.parametrize(
    "text",
    ["what befalls it", "It is no\nstring", "Mend the header", "answered at\nonce", "He is told so", "the doors"],
)
def test_forbidden_words_are_found_also_across_lines(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is no longer open",
        "recommended",
        "there is no list",
        "x is None",
        "no one",
        "however",
        "the message",
        "twofold",
    ],
)
def test_similar_words_are_allowed(text: str) -> None:
    assert found_in(text) == []
