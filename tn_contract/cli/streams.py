"""Standard output and error that no text and no reader can make fail.

A verdict must not depend on where its report is written to. Characters that the encoding lacks become `?` (Windows
pipes and LANG=C have little more than ASCII), and a reader that goes away early (`| head`) changes nothing. Only output
that is lost for another reason (a full disk) is an error, raised once.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputLost(OSError):
    """Standard output cannot be written, so the report is lost."""


class _Raw(io.FileIO):
    """A file descriptor to write to; after a failure it swallows everything."""

    def __init__(self, descriptor: int, *, may_be_lost: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._may_be_lost = may_be_lost
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or pretend to."""
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data) or 0
        except OSError as error:
            self._failed = True
            if self._may_be_lost or isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise OutputLost(error.errno, error.strerror) from error


def harden() -> None:
    """Replace the process's own output streams, not those that a test put in their place; give it an input."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 # stays open, as its own would
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or stream is not getattr(sys, f"__{name}__"):
            continue  # none at all (closed), or captured
        raw = _Raw(stream.fileno(), may_be_lost=name == "stderr")
        replaced = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors="replace" if stream.errors in ("strict", "surrogateescape") else stream.errors,
            line_buffering=name == "stderr" or raw.isatty(),
        )
        setattr(sys, name, replaced)
