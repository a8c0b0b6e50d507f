"""The journal on disk: one JSON line for each exchange, on its way before the reply is, and readable meanwhile."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from tn_contract.contract.errors import JournalUnavailable, UsageError
from tn_contract.contract.files import unguessable
from tn_contract.record.evidence import ExchangeLine
from tn_contract.record.journal import Exchange

MAX_BYTES = 64 * 1024 * 1024
KEPT = 4
_PROBED = 64 * 1024  # bytes: as much as an exchange may need


class _Handler(RotatingFileHandler):
    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 # the library's name
        raise  # by default it prints the error and goes on


def _breaks_off(path: Path) -> bool:
    """Say if the last line is half a line, as a full disk leaves it."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


class JournalFile:
    """Appends to `path`; at `max_bytes` it becomes `path.1`, and so on up to `kept` older files. Threads may share it.

    What is written survives the end of the process, however it ends; what the machine was about to write to its disk
    it may lose with its power. Raises `UsageError` when the file cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path = path
        try:
            self._file = _Handler(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")
            if _breaks_off(path) and self._file.stream:
                self._file.stream.write("\n")
        except OSError as error:
            raise UsageError(f"the journal {path} cannot be written ({error.strerror}): choose another file") from None

    def write(self, exchange: Exchange) -> None:
        """Append one exchange. Raises `JournalUnavailable` when the disk is full or gone."""
        line = msgspec.json.encode(ExchangeLine(exchange)).decode()
        try:
            self._file.handle(logging.LogRecord("", logging.INFO, "", 0, line, None, None))
        except OSError as error:
            raise JournalUnavailable(f"the journal {self._path} cannot be written ({error.strerror})") from error

    def probe(self) -> None:
        """Write something that leaves no trace. Raises `JournalUnavailable` where an exchange could not be written."""
        try:
            if not self._path.is_file():  # a device, or a pipe
                self._file.handle(logging.LogRecord("", logging.INFO, "", 0, "", None, None))
                return
            beside = unguessable(self._path)
            try:
                with beside.open("wb") as file:
                    file.write(bytes(_PROBED))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                beside.unlink()
        except PermissionError:
            pass  # only the file itself may be written: what happens to it shows with the next exchange
        except OSError as error:
            raise JournalUnavailable(f"the journal {self._path} cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # told already, when it could not be written
            self._file.close()
