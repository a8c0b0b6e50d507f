"""Kinds of options, and those that several commands have."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

DEFAULT_PORT = 8787
NONCE_POLICIES = ("monotonic", "unique", "none")


class Number(click.FloatRange):
    """A number within bounds, which NaN would slip through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert as click does, and refuse NaN and infinity."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to count with", param, ctx)
        return number


class OrderId(click.ParamType[int]):
    """An order id, whose range would fill a line of the help."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the id. Fails for what is no whole number from 1 to 2^63-1."""
        text = str(value)
        if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
            self.fail(f"{text!r} is not an order id: a whole number from 1 to {2**63 - 1}", param, ctx)
        return int(text)


class _ReportFile(click.Path):
    """A file to be written at the end of a run: its folder is looked at before."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if not os.access(Path(os.fsdecode(path)).parent, os.W_OK):
            self.fail(f"cannot write {value}: name a file in a folder that exists", param, ctx)
        return path


REPORT_FILE = _ReportFile()


def pair(text: str, option: str) -> tuple[str, str]:
    """Split `NAME=VALUE`, which was given to `option`. Raises `click.BadParameter`."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name.strip("()"), value


def judging(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every judging command takes: which checks to run, how strict to be, which reports to write."""
    for option in reversed(
        (
            click.option(
                "--check", "checks", metavar="ID", multiple=True, help="Judge only this check, group or glob."
            ),
            click.option("--exclude", metavar="ID", multiple=True, help="Leave this check, group or glob out."),
            click.option("--strict", is_flag=True, help="Let warnings fail."),
            click.option("--junit", type=REPORT_FILE, help="Write a JUnit report."),
            click.option("--json", "json_file", type=REPORT_FILE, help="Write the report as JSON, exchanges included."),
            click.option("--html", type=REPORT_FILE, help="Write the report as one HTML page."),
        )
    ):
        command = option(command)
    return command
