"""The default engine: as long as the process lives, and for it alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from mock_server import state
from mock_server.state import full, other_rule
from tn_contract.contract.nonce import Judgement, Ledger, NonceLedger, Policy
from tn_contract.contract.signing import Credentials, Secret


class _Names:
    """How many keys have a document of each name, and the lock of all documents."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def forget(self, names: Iterable[str]) -> None:
        """Count each name once less; the lock is held."""
        for name in names:
            self.counts[name] -= 1
            if not self.counts[name]:
                del self.counts[name]


class MemoryDocuments:
    """Orders in a dictionary."""

    def __init__(self, names: _Names | None = None) -> None:
        self._documents: dict[str, bytes] = {}
        self._closed = False
        self._names = names or _Names()

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""
        with self._names.lock:
            return dict(self._documents)

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""
        return self._documents.get(name)

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old`."""
        with self._names.lock:
            if self._closed or self._documents.get(name) != old:
                return False
            self._names.counts[name] += old is None
            self._documents[name] = new
        return True

    def swap_all(self, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        """Swap each document that still is its old text."""
        with self._names.lock:
            kept = {name: new for name, (old, new) in changes.items() if self._documents.get(name) == old}
            self._documents |= kept
        return len(kept) == len(changes)

    def remove(self, name: str, old: bytes) -> bool:
        """Remove a document if it still is `old`."""
        with self._names.lock:
            if self._documents.get(name) != old:
                return False
            del self._documents[name]
            self._names.forget([name])
        return True

    def elsewhere(self, name: str) -> bool:
        """Say if another key has a document of that name."""
        with self._names.lock:
            return self._names.counts[name] > (name in self._documents)

    def close(self) -> None:
        """Forget every document, and take none from now on."""
        with self._names.lock:
            self._closed = True
            self._names.forget(self._documents)
            self._documents = {}


@dataclass(slots=True)
class _Pair:
    secret: Secret
    ledger: NonceLedger
    orders: MemoryDocuments

    def close(self) -> None:
        self.orders.close()
        self.ledger.close()


class MemoryLedger(Ledger):
    """Leads to the nonces of a pair, also after it was closed and opened anew."""

    def __init__(self, pairs: dict[str, _Pair], pair: Credentials, policy: Policy) -> None:
        self.policy = policy
        self._pairs, self._pair = pairs, pair

    def _current(self) -> NonceLedger | None:
        kept = self._pairs.get(self._pair.api_key)
        secret = self._pair.secret
        return kept.ledger if kept and (kept.secret is secret or kept.secret == secret) else None

    @property
    def last(self) -> int | None:
        """The last nonce accepted."""
        current = self._current()
        return current.last if current else None

    def advance(self, nonce: int) -> Judgement:
        """Judge and remember a nonce."""
        current = self._current()
        return current.advance(nonce) if current else ("key-unknown", None)

    def known(self) -> bool:
        """Say if the pair is not closed."""
        return self._current() is not None


class MemoryState:
    """Key pairs in a dictionary."""

    engine = "memory"
    place = ""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._policy: Policy | None = None
        self._names = _Names()
        self._lock = threading.Lock()

    def open(self, pair: Credentials) -> bool:
        """Add a key pair; False when the key exists already."""
        with self._lock:
            if pair.api_key in self._pairs:
                return False
            if len(self._pairs) >= state.PAIRS_MOST:
                raise full()
            self._pairs[pair.api_key] = self._new(pair)
        return True

    def _new(self, pair: Credentials) -> _Pair:
        return _Pair(pair.secret, NonceLedger(self._policy or "monotonic"), MemoryDocuments(self._names))

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""
        pair = self._pairs.get(api_key)
        return None if pair is None else pair.secret

    def close(self, api_key: str) -> bool:
        """Forget a key; False when there was none."""
        with self._lock:
            pair = self._pairs.pop(api_key, None)
            if pair:
                pair.close()
        return pair is not None

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""
        return list(self._pairs)

    def pairs(self, most: int) -> list[Credentials]:
        """Return the key pairs opened last."""
        with self._lock:
            last = list(islice(reversed(self._pairs.items()), most))
        return [Credentials(key, pair.secret) for key, pair in last]

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self._pairs)

    def probe(self) -> None:
        """Memory can always be written."""

    def ledger(self, pair: Credentials, policy: Policy) -> MemoryLedger:
        """Return what watches over a pair's nonces. Raises `UsageError` for another rule than the first."""
        with self._lock:
            if self._policy is None:
                self._policy = policy
                for kept in self._pairs.values():
                    kept.ledger.policy = policy
            if self._policy != policy:
                raise other_rule("this mock", self._policy, policy)
        return MemoryLedger(self._pairs, pair, policy)

    def orders(self, api_key: str) -> MemoryDocuments:
        """Return a key's orders."""
        pair = self._pairs.get(api_key)
        if pair is None:
            closed = MemoryDocuments(self._names)
            closed.close()
            return closed
        return pair.orders

    def clear(self, *pairs: Credentials) -> None:
        """Forget everything, and have `pairs` alone from then on."""
        with self._lock:
            fresh = {pair.api_key: self._new(pair) for pair in pairs}
            forgotten = list(self._pairs.values())
            for api_key in self._pairs.keys() - fresh.keys():
                del self._pairs[api_key]
            self._pairs.update(fresh)
            for kept in forgotten:
                kept.close()

    def shut(self) -> None:
        """Nothing is held open."""
