"""Whose secrets may be in a request that belongs to no session: those of all sessions, for keys are easily swapped.

The pairs are followed as they are opened, here or by another process on the same state: what an unmatched request costs
does not depend on how many there are.
"""

from __future__ import annotations

import threading

from mock_server.state import State
from tn_contract.contract.redaction import Matcher
from tn_contract.contract.signing import Credentials


class KnownPairs:
    """The key pairs that `state` has or had, the last `most` at least, and what finds their secrets."""

    def __init__(self, state: State, most: int) -> None:
        self._state, self._most = state, most
        self._pairs: dict[Credentials, None] = {}
        self._followed: set[Credentials] = set()
        self._matcher = Matcher()
        self._list: tuple[Credentials, ...] = ()
        self._lock = threading.Lock()

    def add(self, pair: Credentials) -> None:
        """Take note of a pair. It stays known when it is closed: its client may not know of that."""
        with self._lock:
            self._add(pair)

    def matcher(self) -> Matcher:
        """Return what finds the secrets of all pairs. Raises `StateUnavailable`."""
        with self._lock:
            self._follow()
            return self._matcher

    def pairs(self) -> tuple[Credentials, ...]:
        """Return all pairs, in the order in which they became known. Raises `StateUnavailable`."""
        with self._lock:
            self._follow()
            if len(self._list) != len(self._pairs):
                self._list = tuple(self._pairs)
            return self._list

    def _add(self, pair: Credentials) -> None:
        if pair in self._pairs:
            return
        if len(self._pairs) >= 2 * self._most:
            self._pairs = dict.fromkeys(list(self._pairs)[-self._most :])
            self._followed &= self._pairs.keys()
            self._matcher = Matcher(known.secret for known in self._pairs)
        self._pairs[pair] = None
        self._matcher.add(pair.secret)

    def _follow(self) -> None:
        # The newest come first, and whatever is older than one that was followed was followed too.
        wanted, fresh = 1, []
        while True:
            found = self._state.pairs(wanted)
            fresh = [pair for pair in found if pair not in self._followed]
            if len(fresh) < len(found) or len(found) < wanted or wanted >= self._most:
                break
            wanted = min(self._most, 16 * wanted)
        for pair in reversed(fresh):
            self._followed.add(pair)
            self._add(pair)
