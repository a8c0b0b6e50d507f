"""Nonces on both sides: `NonceSource` draws them for a client, `NonceLedger` admits them for a server.

Documented (seed, browser sample): `new Date().getTime() * 10000`, that is, ticks of 100 ns. Nothing public says
what the real server enforces; the ledger's default, strictly greater than the last one of the same key, is ours.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from tn_contract.contract.errors import NonceUnavailable, UsageError

if TYPE_CHECKING:
    import asyncio

NONCE_MAX = 2**63 - 1
TICK_NS = 100

Policy = Literal["monotonic", "unique", "none"]
Refusal = Literal["nonce-missing", "nonce-malformed", "nonce-replayed", "nonce-stale", "key-unknown"]
Judgement = tuple[Refusal | None, int | None]

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def parse_nonce(text: str) -> int | None:
    """Read a nonce in plain ASCII digits, 0 to 2^63-1; None for anything else (signs, spaces, leading zeros)."""
    if not _DECIMAL.fullmatch(text):
        return None
    nonce = int(text)
    return nonce if nonce <= NONCE_MAX else None


class Ledger(ABC):
    """What a server remembers of one key's nonces, wherever it keeps them. Safe to call from several threads."""

    policy: Policy

    @property
    @abstractmethod
    def last(self) -> int | None:
        """The last nonce accepted, None when there is none."""

    def admit(self, text: str | None) -> Refusal | None:
        """Accept and remember the nonce (None), or name the reason and remember nothing."""
        return self.judge(text)[0]

    def judge(self, text: str | None) -> Judgement:
        """Do as `admit`; a refusal comes with the last nonce accepted."""
        if self.policy == "none":
            return (None if self.known() else "key-unknown"), None
        nonce = None if text is None else parse_nonce(text)
        if nonce is None:
            return ("nonce-missing" if text is None else "nonce-malformed"), self.last
        return self.advance(nonce)

    @abstractmethod
    def advance(self, nonce: int) -> Judgement:
        """Judge and remember a nonce in one step: nobody can come between, and nothing can undo it."""

    @abstractmethod
    def known(self) -> bool:
        """Say if the key is still one of the server's: a closed one has no nonce accepted."""


class NonceLedger(Ledger):
    """Keeps the nonces in memory. Once `closed`, it accepts none."""

    last: int | None = None
    closed = False

    def __init__(self, policy: Policy = "monotonic", last: int | None = None) -> None:
        self.policy = policy
        self.last = last
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def advance(self, nonce: int) -> Judgement:
        """Judge and remember a nonce under a lock."""
        with self._lock:
            if self.closed:
                return "key-unknown", None
            last = self.last
            if self.policy == "unique":
                if nonce in self._seen:
                    return "nonce-replayed", last
                self._seen.add(nonce)
            elif last is not None and nonce <= last:
                return ("nonce-replayed" if nonce == last else "nonce-stale"), last
            self.last = nonce
        return None, None

    def known(self) -> bool:
        """Say if it is not closed."""
        return not self.closed

    def close(self) -> None:
        """Accept nothing from now on."""
        with self._lock:
            self.closed = True


class Store(Protocol):
    """Where a source keeps a key's last nonce, and the lock that all sources of the key wait for."""

    def acquire(self, wait: float) -> int | None:
        """Lock out every other source and return the last nonce. Raises `NonceUnavailable` after `wait` seconds."""

    def save(self, nonce: int) -> None:
        """Make the nonce the last one, safely. Raises `NonceUnavailable`: then it must not be sent."""

    def release(self) -> None:
        """Let the others go on."""

    def close(self) -> None:
        """Let go of files and connections until the next `acquire`."""


class _FileStore:
    """The last nonce in an SQLite file, and a second file that is locked while a request is under way.

    Two files, for the nonce must be safe on disk before it is sent, while the lock outlives that transaction.
    A process that dies releases its lock.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wait = path, 0.0
        self._nonces: sqlite3.Connection
        self._lock: sqlite3.Connection
        self._abandoned: list[sqlite3.Connection] = []
        self._owner = 0
        self._ready = False

    def _open(self, path: str | Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=self._wait, isolation_level=None, check_same_thread=False)

    def _open_lock(self) -> None:
        # SQLite connections must not cross a fork: a child opens its own and leaves the parent's alone.
        if self._owner != os.getpid():
            if self._owner:
                self._abandoned.append(self._lock)
            if self._ready:
                self._abandoned.append(self._nonces)
                self._ready = False
            self._lock = self._open(f"{self._path}.lock")
            self._owner = os.getpid()

    def _open_nonces(self) -> None:
        # Only under the lock: the change to WAL does not wait for another process that does the same.
        if not self._ready:
            self._nonces = self._open(self._path)
            try:
                self._nonces.execute("PRAGMA journal_mode=WAL")
                self._nonces.execute("PRAGMA synchronous=NORMAL")
                self._nonces.execute("CREATE TABLE IF NOT EXISTS nonce (last INTEGER NOT NULL)")
            except sqlite3.Error:
                self._nonces.close()
                raise
            self._ready = True

    def acquire(self, wait: float) -> int | None:
        self._wait = wait
        try:
            self._open_lock()
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            raise NonceUnavailable(self._explain(error)) from error
        try:
            self._open_nonces()
            row = self._nonces.execute("SELECT max(last) FROM nonce").fetchone()
            return None if row[0] is None else int(row[0])
        except (sqlite3.Error, ValueError) as error:
            self.release()
            raise NonceUnavailable(self._explain(error)) from error

    def save(self, nonce: int) -> None:
        try:
            self._nonces.execute("BEGIN IMMEDIATE")
            self._nonces.execute("DELETE FROM nonce")
            self._nonces.execute("INSERT INTO nonce VALUES (?)", (nonce,))
            self._nonces.execute("COMMIT")
        except sqlite3.Error as error:
            if self._nonces.in_transaction:
                self._nonces.execute("ROLLBACK")
            raise NonceUnavailable(self._explain(error)) from error

    def release(self) -> None:
        self._lock.execute("ROLLBACK")

    def close(self) -> None:
        if self._owner == os.getpid():
            self._lock.close()
            if self._ready:
                self._nonces.close()
            self._owner, self._ready = 0, False

    def __del__(self) -> None:
        # Since Python 3.13 a connection that is collected open is a ResourceWarning.
        self.close()

    def _explain(self, error: Exception) -> str:
        if "locked" in str(error):
            return (
                f"the nonce store {self._path} was held by another process for more than {self._wait:g} s: "
                "wait for its request to end, or stop it"
            )
        return (
            f"the nonce store {self._path} cannot be used ({error}): check the path and its permissions; "
            "the file was left as it is"
        )


class NonceSource:
    """Strictly increasing integer nonces for one key, and the lock that keeps its requests in order.

    `reserve()` yields a nonce and lets nobody else have one until its block ends, because nonces that leave in
    order need not arrive in order. Works across threads; with `path`, across processes and restarts too (one
    file for one key); with another `store` (`client.nonce_redis`), across machines. `clock` gives nanoseconds
    since 1970; it may stand still or step back. `wait` is how many seconds to wait for another holder before
    `NonceUnavailable` is raised.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        clock: Callable[[], int] = time.time_ns,
        wait: float = 60.0,
    ) -> None:
        if path is not None and store is not None:
            raise UsageError("a nonce source has one store: pass path or store")
        self._clock = clock
        self._wait = wait
        self._last = -1
        self._turn = threading.Lock()
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._store: Store | None = store if path is None else _FileStore(Path(path))

    def _acquire(self) -> int:
        if not self._turn.acquire(timeout=self._wait):
            raise NonceUnavailable(f"another request with this key has been under way for {self._wait:g} s")
        return self._draw()

    def _draw(self) -> int:
        """Draw a nonce, now that it is our turn; the turn is given back when there is none."""
        try:
            stored = self._store.acquire(self._wait) if self._store else None
            try:
                nonce = max(self._clock() // TICK_NS, self._last + 1, (stored or 0) + 1)
                if nonce > NONCE_MAX:
                    raise NonceUnavailable("the next nonce would pass 2^63-1: this key needs a new pair")
                if self._store:
                    self._store.save(nonce)
                self._last = nonce
            except BaseException:
                if self._store:
                    self._store.release()
                raise
        except BaseException:
            self._turn.release()
            raise
        return nonce

    def _release(self) -> None:
        try:
            if self._store:
                self._store.release()
        finally:
            self._turn.release()

    @contextmanager
    def reserve(self) -> Iterator[int]:
        """Yield the next nonce and hold the key until the block ends. Raises `NonceUnavailable`."""
        nonce = self._acquire()
        try:
            yield nonce
        finally:
            self._release()

    @asynccontextmanager
    async def areserve(self) -> AsyncIterator[int]:
        """Do as `reserve` without blocking the event loop."""
        import asyncio

        # One gate for each loop: at most one waiter occupies a thread of the loop's pool.
        gate = self._gates.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with gate:
            # Where there is nothing to wait for, a thread would cost more than all the rest.
            at_once = self._store is None and self._turn.acquire(blocking=False)
            nonce = self._draw() if at_once else await self._acquire_in_thread()
            try:
                yield nonce
            finally:
                self._release()

    async def _acquire_in_thread(self) -> int:
        import asyncio

        # Not a future of the loop: the thread may outlive both the task and the loop.
        acquiring: Future[int] = Future()
        running = asyncio.get_running_loop().run_in_executor(None, self._acquire_into, acquiring)
        try:
            return await asyncio.wrap_future(acquiring)
        except BaseException:
            # The thread may go on and hold the key: give it back as soon as it has it.
            running.cancel()
            acquiring.add_done_callback(self._give_back)
            raise

    def _acquire_into(self, acquiring: Future[int]) -> None:
        if acquiring.set_running_or_notify_cancel():
            try:
                acquiring.set_result(self._acquire())
            except BaseException as error:  # noqa: BLE001 # handed on to the waiter
                acquiring.set_exception(error)

    def _give_back(self, acquired: Future[int]) -> None:
        if not acquired.cancelled() and acquired.exception() is None:
            self._release()

    def close(self) -> None:
        """Close what the store has open, if there is one; the next reservation opens it again."""
        if self._store:
            with self._turn:
                self._store.close()

    def next(self) -> int:
        """Draw one nonce without holding the key."""
        with self.reserve() as nonce:
            return nonce


_shared: WeakValueDictionary[str, NonceSource] = WeakValueDictionary()
_shared_lock = threading.Lock()


def shared_source(api_key: str) -> NonceSource:
    """Return this process's one source for a key, so that two clients of one key keep their order."""
    with _shared_lock:
        source = _shared.get(api_key)
        if source is None:
            source = _shared[api_key] = NonceSource()
        return source
