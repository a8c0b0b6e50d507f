"""A matrix as a golden file: by each broken one's name, the checks that find it.

Tests that run side by side share the file, so that it is locked where it is read and where it is written.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Collection
from pathlib import Path


class Matrix:
    """A golden file beside the tests, and the names that may stand in it."""

    def __init__(self, name: str, slugs: Collection[str]) -> None:
        self._path = Path(__file__).with_name(name)
        self._slugs = slugs

    def read(self) -> dict[str, list[str]]:
        with self._path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # somebody may be rewriting it
            loaded: dict[str, list[str]] = json.load(file)
        return loaded

    def rewrite(self, slug: str, kills: list[str]) -> None:
        """Write one entry anew, and drop those of names that are gone."""
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            entries: dict[str, list[str]] = json.loads(file.read() or "{}")
            entries = {name: entry for name, entry in {**entries, slug: kills}.items() if name in self._slugs}
            file.truncate(0)
            file.write(json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
