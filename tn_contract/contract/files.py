"""Files that are written whole: readers see the old content or the new, never a part, and nothing is left behind."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tn_contract.contract.errors import UsageError

_DEVICES = (Path("/dev"), Path("/proc"))


def write_whole(path: str | Path, content: bytes | str, *, private: bool = False) -> tuple[int, int]:
    """Do as `replace_file`. Raises `UsageError`."""
    try:
        return replace_file(path, content, private=private)
    except OSError as error:
        advice = "name a file in a folder that exists and may be written to"
        raise UsageError(f"cannot write {path} ({error.strerror or error}): {advice}") from error


def replace_file(path: str | Path, content: bytes | str, *, private: bool = False) -> tuple[int, int]:
    """Replace a file; a `private` one is its owner's alone, whatever was there before. Return its device and number.

    The new file has a name that cannot be guessed until it takes the place of the old one, so a symbolic link that
    waits there is replaced and not followed. A device or a pipe is written to. Raises `OSError`, which names `path`.
    """
    path, data = Path(path), content.encode() if isinstance(content, str) else content
    try:
        if not _is_device(path):
            return _identity(_replace(path, data, 0o600 if private else 0o666 & ~_umask()))
        path.write_bytes(data)
        return _identity(path.stat())
    except OSError as error:
        error.filename = str(path)
        raise


class ReadyFile:
    """The file that says where a mock is, from when it answers until it stops. Without a path it is none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def remove_stale(self) -> None:
        """Remove one that was left behind: it would lead to an old port. That of a mock that answers stays."""
        if self._path and self._path.is_file() and not _answers(self._path):
            with suppress(OSError):
                self._path.unlink()

    def write(self, content: str, *, private: bool) -> None:
        """Write it. Raises `UsageError`."""
        if self._path:
            self._identity = write_whole(self._path, content, private=private)

    def remove(self) -> None:
        """Remove what was written, unless another mock's file has taken its place."""
        with suppress(OSError):
            if self._path and _identity(self._path.lstat()) == self._identity:
                self._path.unlink()


def _answers(ready_file: Path) -> bool:
    """Say if somebody listens where a ready file points to."""
    try:
        with ready_file.open("rb") as file:
            url = urlsplit(str(json.loads(file.read(64 * 1024))["base_url"]))
        socket.create_connection((url.hostname or "", url.port or 0), timeout=1).close()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return True


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def unguessable(path: Path) -> Path:
    """Make an empty file beside `path` that only its owner may read, and return where. Raises `OSError`."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    os.close(handle)
    return Path(name)


def _replace(path: Path, data: bytes, mode: int) -> os.stat_result:
    new = unguessable(path)
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a full disk may say so only now
        new.chmod(mode)
        found = new.stat()
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return found


def _is_device(path: Path) -> bool:
    absolute = path.absolute()
    return any(absolute.is_relative_to(folder) for folder in _DEVICES) or (path.exists() and not path.is_file())


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by being set
    os.umask(mask)
    return mask
