"""Where a mock keeps what it must not forget: key pairs, nonces, orders. One interface, an engine a file.

Every method is one atomic step, for the threads of a process and, where the engine is shared, for all processes
and machines; it raises `StateUnavailable` when it cannot be taken, and then nothing was accepted. Journals are no part
of it: they stay with the process that wrote them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from tn_contract.contract.errors import StateUnavailable, UsageError
from tn_contract.contract.nonce import Ledger, Policy
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.text import quoted

PAIRS_MOST = 100_000  # some 200 MB in memory


class Documents(Protocol):
    """One session's orders as JSON texts, by order id. Those of a closed key are none, and stay none."""

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old` (None: if there is none); False when it is not."""

    def swap_all(self, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        """Swap documents as one step, each from its old text to its new one; False when any was not swapped."""

    def remove(self, name: str, old: bytes) -> bool:
        """Remove a document if it still is `old`; False when it is not."""

    def elsewhere(self, name: str) -> bool:
        """Say if another key has a document of that name: one look-up, however many keys there are."""


class State(Protocol):
    """What the broker asks of an engine. `place` says where it keeps things, without passwords; "": nowhere."""

    engine: str
    place: str

    def open(self, pair: Credentials) -> bool:
        """Add a key pair without nonces and orders; False when the key exists already.

        Raises `UsageError` when there are `PAIRS_MOST` already.
        """

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""

    def close(self, api_key: str) -> bool:
        """Forget a key with its nonces and orders; False when there was none."""

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""

    def pairs(self, most: int) -> list[Credentials]:
        """Return the key pairs opened last, at most so many."""

    def count(self) -> int:
        """Return how many keys there are."""

    def probe(self) -> None:
        """Write something that changes nothing: raises `StateUnavailable` where a nonce could not be remembered."""

    def ledger(self, pair: Credentials, policy: Policy) -> Ledger:
        """Return what watches over a pair's nonces: it accepts nothing once the pair is closed.

        Raises `UsageError` when other nonces here were judged by another rule: what that one remembered says
        nothing about this one.
        """

    def orders(self, api_key: str) -> Documents:
        """Return a key's orders."""

    def clear(self, *pairs: Credentials) -> None:
        """Forget everything, and have `pairs` alone from then on."""

    def shut(self) -> None:
        """Let go of files and connections; what is kept stays kept, and the next use opens them again."""


class Patience:
    """Waits for an engine once, not once for each request: they are answered one after another.

    For as long as somebody waited in vain, the others are told the same at once.
    """

    def __init__(self) -> None:
        self._until, self._reason = 0.0, ""

    def lose(self, seconds: float, reason: str) -> None:
        """Remember what was waited for in vain."""
        self._until, self._reason = time.monotonic() + seconds, reason

    def ask(self) -> None:
        """Raise `StateUnavailable` if waiting is of no use now."""
        if time.monotonic() < self._until:
            raise StateUnavailable(self._reason)


def open_state(url: str) -> State:
    """Open an engine: `memory`, `sqlite:PATH`, `redis://HOST:PORT/DATABASE?prefix=NAME`.

    Raises `UsageError` when there is no such engine, or when it cannot be used.
    """
    engine, _, rest = url.partition(":")
    if url == "memory":
        from mock_server.state.memory import MemoryState

        return MemoryState()
    if engine == "sqlite" and rest:
        from mock_server.state.sqlite import SqliteState

        return SqliteState(_path(rest))
    if engine in ("redis", "rediss", "unix"):
        from mock_server.state.redis import RedisState

        return RedisState(url)
    # Only the beginning is shown: there may be a password in the rest.
    near = get_close_matches(engine, ("memory", "sqlite", "redis", "rediss", "unix"), 1)
    meant = f" (did you mean {near[0]}?)" if near and near[0] != engine else ""
    raise UsageError(f"{quoted(engine)} keeps no state: write memory, sqlite:PATH or redis://HOST:PORT{meant}")


def _path(text: str) -> Path:
    """Read the path of a state file: options are refused, not read as part of the name."""
    if text == ":memory:":
        raise UsageError("sqlite::memory: would be forgotten with the process: write --state memory, or sqlite:PATH")
    if re.match("file:|//[^/]", text) or re.search(r"\?[A-Za-z_]+=|\0", text):
        raise UsageError(f"sqlite:{quoted(text)} is no path: write sqlite:PATH, which has no options")
    return Path(text)


def full() -> UsageError:
    """Return what to raise when there are as many key pairs as may be kept."""
    return UsageError(f"the mock has {PAIRS_MOST} sessions, and that is the limit: close some, or reset it")


def other_rule(place: str, kept: str, wanted: Policy) -> UsageError:
    """Return what to raise when nonces were judged by the rule `kept` so far."""
    return UsageError(
        f"{place} has judged nonces by the rule {kept!r}, which tells {wanted!r} nothing: "
        f"keep to --nonces {kept}, or keep state elsewhere"
    )
