"""Where a mock keeps what it must not forget: key pairs, nonces, orders. One interface, an engine a file.

Every method is one atomic step, for the threads of a process and, where the engine is shared, for all processes
and machines. Journals are no part of it: they stay with the process that wrote them.
"""

from __future__ import annotations

from typing import Protocol

from tn_contract.nonce import Ledger, Policy
from tn_contract.signing import Credentials, Secret


class Documents(Protocol):
    """One session's orders as JSON texts, by order id."""

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old` (None: if there is none); False when it is not."""


class State(Protocol):
    """What the broker asks of an engine."""

    def open(self, pair: Credentials) -> bool:
        """Add a key pair without nonces and orders; False when the key exists already."""

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""

    def close(self, api_key: str) -> bool:
        """Forget a key with its nonces and orders; False when there was none."""

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""

    def ledger(self, api_key: str, policy: Policy) -> Ledger:
        """Return what watches over a key's nonces. Its `admit` accepts nothing once the key is closed."""

    def orders(self, api_key: str) -> Documents:
        """Return a key's orders."""

    def clear(self) -> None:
        """Forget everything."""

    def shut(self) -> None:
        """Let go of files and connections; what is kept stays kept."""
