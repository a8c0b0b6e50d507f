"""The default engine: as long as the process lives, and for it alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tn_contract.nonce import Ledger, NonceLedger, Policy
from tn_contract.signing import Credentials, Secret


class MemoryDocuments:
    """Orders in a dictionary."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""
        with self._lock:
            return dict(self._documents)

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""
        return self._documents.get(name)

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old`."""
        with self._lock:
            if self._documents.get(name) != old:
                return False
            self._documents[name] = new
        return True


@dataclass(slots=True)
class _Pair:
    secret: Secret
    ledger: Ledger | None = None
    orders: MemoryDocuments = field(default_factory=MemoryDocuments)


class MemoryState:
    """Key pairs in a dictionary."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._lock = threading.Lock()

    def open(self, pair: Credentials) -> bool:
        """Add a key pair; False when the key exists already."""
        with self._lock:
            if pair.api_key in self._pairs:
                return False
            self._pairs[pair.api_key] = _Pair(pair.secret)
        return True

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""
        pair = self._pairs.get(api_key)
        return None if pair is None else pair.secret

    def close(self, api_key: str) -> bool:
        """Forget a key; False when there was none."""
        return self._pairs.pop(api_key, None) is not None

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""
        return list(self._pairs)

    def ledger(self, api_key: str, policy: Policy) -> Ledger:
        """Return what watches over a key's nonces, one object for all who ask."""
        pair = self._pairs[api_key]
        with self._lock:
            pair.ledger = pair.ledger or NonceLedger(policy)
        return pair.ledger

    def orders(self, api_key: str) -> MemoryDocuments:
        """Return a key's orders; of one that was closed meanwhile, none that anybody sees."""
        pair = self._pairs.get(api_key)
        return MemoryDocuments() if pair is None else pair.orders

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._pairs = {}

    def shut(self) -> None:
        """Nothing is held open."""
