"""The pages, their links and their commands, for the tests in this folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "fixtures/README.md"],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [text for found, text in _FENCE.findall(read(page)) if found == language]


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(page: str) -> list[str]:
    """Return the relative links of a page, with their anchors."""
    found = _LINK.findall(prose(read(page)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    names: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(read(page)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(name if name not in names else f"{name}-1")
    return names


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each `tn-contract` command that a page shows, without what the shell does with them."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    lines += [line.strip().removeprefix("- run: ") for block in blocks(page, "yaml") for line in block.splitlines()]
    lines += re.findall(r"`(tn-contract [^`]+)`", prose(read(page)))
    for line in lines:
        if "tn-contract " not in line:
            continue
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_0-9]+=", words[0]):
            words.pop(0)
        for end in ("|", "&", ">", "…"):
            if end in words:
                words = words[: words.index(end)]
        if words[:1] == ["tn-contract"] and len(words) > 1:
            yield words[1:]
