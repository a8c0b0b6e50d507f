"""What commands print: for people on a terminal, in a log, and when they give up."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

import click


def fail(sentence: str, code: int) -> NoReturn:
    """Say why there is no result, and exit."""
    say(f"tn-contract: {sentence}", err=True)
    sys.exit(code)


def say(text: str, *, err: bool = False, wrap: bool = True) -> None:
    """Print lines for people; what came from outside cannot control their terminal, which wraps between words."""
    from tn_contract.contract.text import escape

    text = escape(text, keep="\n")
    click.echo("\n".join(on_a_terminal(text.split("\n"), err=err)) if wrap else text, err=err)


def on_a_terminal(lines: list[str], *, err: bool = False) -> list[str]:
    """Wrap lines between words where they go to a terminal."""
    stream = sys.stderr if err else sys.stdout
    if not (stream and stream.isatty()):
        return lines
    import shutil

    return [wrapped(line, shutil.get_terminal_size().columns) for line in lines]


def wrapped(line: str, width: int) -> str:
    """Wrap a line; what follows stands under its text, not under its label (`fix       …`)."""
    if len(line) <= width:
        return line
    import textwrap

    label = re.match(r"\s*(?:\S+\s{2,})?", line)
    indent = " " * (label.end() if label and label.end() < width // 2 else 0)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
