"""Key pairs, nonces and orders in one SQLite file, for every process of one machine and for the next start.

What was answered survives a killed process, for it is in the file's log by then; what a power failure may take is in
docs/engines.md. The file must lie on a disk of this machine: its locks do not reach further.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from mock_server import state
from mock_server.state import Patience, full, other_rule
from tn_contract.contract.errors import StateUnavailable, UsageError
from tn_contract.contract.files import unguessable
from tn_contract.contract.nonce import Judgement, Ledger, Policy
from tn_contract.contract.signing import Credentials, Secret

APPLICATION = int.from_bytes(b"tncs")
VERSION = 2
WAIT_SECONDS = 2.0

# The log comes last: what a file says of itself must stand in it, not in a log that may get lost.
_SCHEMA = """
BEGIN;
CREATE TABLE store (policy TEXT);
INSERT INTO store VALUES (NULL);
CREATE TABLE pair (id INTEGER PRIMARY KEY, api_key BLOB NOT NULL UNIQUE, api_secret BLOB NOT NULL, last INTEGER);
CREATE TABLE seen (pair INTEGER NOT NULL, nonce INTEGER NOT NULL, PRIMARY KEY (pair, nonce)) WITHOUT ROWID;
CREATE TABLE document (id INTEGER PRIMARY KEY, pair INTEGER NOT NULL, name BLOB NOT NULL, text BLOB NOT NULL,
                       UNIQUE (pair, name));
CREATE INDEX document_name ON document (name);
COMMIT;
PRAGMA journal_mode = WAL;
"""
_HEADER = 100  # bytes: https://www.sqlite.org/fileformat2.html#the_database_header

_files: WeakSet[_File] = WeakSet()
_abandoned: list[sqlite3.Connection] = []
_starting = threading.Lock()


def _leave_to_the_parent() -> None:
    for file in _files:
        file.abandon()
    _starting.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_leave_to_the_parent
    )


def _stored(text: str) -> bytes:
    # Bytes, because a request may hold lone surrogates, which have no UTF-8 form.
    return text.encode("utf-8", "surrogatepass")


def _read(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


class _File:
    """One connection, used by one thread at a time, and what goes wrong with it said in one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity = 0, 0
        self._patience = Patience()

    def start(self) -> None:
        """Make the file if there is none. Raises `UsageError` when it is none of ours or cannot be used."""
        try:
            if not self.path.exists():
                self._create()
            with _starting:
                _files.add(self)
                self._check()
                with self.transaction():
                    pass  # it can be locked and written
            problem = self.read("PRAGMA quick_check(1)")[0][0]
            if problem != "ok":
                raise UsageError(
                    f"the state file {self.path} is damaged ({problem}): name another; it was left as it is"
                )
        except (sqlite3.Error, OSError) as error:
            raise UsageError(self._explain(error)) from error
        except (StateUnavailable, UsageError) as error:
            self.close()
            raise UsageError(str(error)) from error

    def _create(self) -> None:
        # Made beside and linked into place when it is whole: two that start at once see none, or all of it.
        half = unguessable(self.path)  # only its owner may read it; SQLite makes the files beside it alike
        try:
            with closing(sqlite3.connect(half, isolation_level=None)) as connection:
                connection.execute("PRAGMA page_size = 1024")  # small, for each nonce writes a page into the log
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.executescript(_SCHEMA)
            with suppress(FileExistsError):
                os.link(half, self.path)
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                half.with_name(half.name + suffix).unlink(missing_ok=True)

    def _check(self) -> None:
        self._identity = self._found()
        # Closing a file gives up every lock that this process has on it: one in use is not read, and was checked.
        if any(file.holds(self._identity) for file in _files):
            return
        # Read as any file: a log may have to be carried over first, and somebody else's file must not even be locked.
        with self.path.open("rb") as file:
            header = file.read(_HEADER)
        version = int.from_bytes(header[60:64])
        if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72]) != APPLICATION:
            raise UsageError(f"{self.path} is no state file of this program: name another; it was left as it is")
        if version != VERSION:
            raise UsageError(
                f"the state file {self.path} has version {version}, this program has {VERSION}: "
                "name another; it was left as it is"
            )

    def _found(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    def holds(self, identity: tuple[int, int]) -> bool:
        """Say if this is the file of that device and number, and is open."""
        return self._connection is not None and self._identity == identity

    def _opened(self) -> sqlite3.Connection:
        self._patience.ask()
        try:
            replaced = self._found() != self._identity
        except OSError:
            replaced = True
        if replaced:  # what is accepted here, another mock on that path would accept again
            raise StateUnavailable(
                f"the state file {self.path} was removed or replaced while in use: put it back, or restart the mock"
            )
        if self._connection is None:
            uri = f"{self.path.absolute().as_uri()}?mode=rw"  # a file that is gone is not made anew without its nonces
            connection = sqlite3.connect(
                uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous = NORMAL")
            self._connection = connection
        return self._connection

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""
        with self._lock:
            try:
                return self._opened().execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def change(self, statement: str, *values: object) -> bool:
        """Carry out one statement by itself; say if it changed anything."""
        with self._lock:
            try:
                return self._opened().execute(statement, values).rowcount > 0
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Carry out several statements as one."""
        with self._lock:
            try:
                connection = self._opened()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection.execute
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def close(self) -> None:
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """Leave the connection to the process that this one was forked from: not even to be closed here."""
        if self._connection:
            _abandoned.append(self._connection)
        self._connection, self._lock = None, threading.Lock()

    def _unavailable(self, error: sqlite3.Error) -> StateUnavailable:
        reason = self._explain(error)
        if "locked" in reason:
            self._patience.lose(WAIT_SECONDS, reason)
        return StateUnavailable(reason)

    def _explain(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error)
        if "locked" in reason:
            return f"the state file {self.path} was locked by another process for more than {WAIT_SECONDS:g} s"
        return f"the state file {self.path} cannot be used ({reason}): check the path, its permissions and the disk"


_PAIR = "(SELECT id FROM pair WHERE api_key = ?)"
_REPLACE = f"UPDATE document SET text = ? WHERE pair = {_PAIR} AND name = ? AND text = ?"  # noqa: S608 # a constant


class SqliteDocuments:
    """Orders in a table."""

    def __init__(self, file: _File, key: bytes) -> None:
        self._file, self._key = file, key

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""
        rows = self._file.read(
            "SELECT name, text FROM document WHERE pair = (SELECT id FROM pair WHERE api_key = ?) ORDER BY id",
            self._key,
        )
        return {name.decode("utf-8", "surrogatepass"): text for name, text in rows}

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""
        rows = self._file.read(
            f"SELECT text FROM document WHERE pair = {_PAIR} AND name = ?",  # noqa: S608 # a constant
            self._key,
            _stored(name),
        )
        return rows[0][0] if rows else None

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old`."""
        if old is None:
            return self._file.change(
                "INSERT OR IGNORE INTO document (pair, name, text) SELECT id, ?, ? FROM pair WHERE api_key = ?",
                _stored(name),
                new,
                self._key,
            )
        return self._file.change(_REPLACE, new, self._key, _stored(name), old)

    def swap_all(self, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        """Swap each document that still is its old text, in one transaction."""
        with self._file.transaction() as execute:
            swapped = [
                execute(_REPLACE, (new, self._key, _stored(name), old)).rowcount for name, (old, new) in changes.items()
            ]
        return all(swapped)

    def remove(self, name: str, old: bytes) -> bool:
        """Remove a document if it still is `old`."""
        return self._file.change(
            f"DELETE FROM document WHERE pair = {_PAIR} AND name = ? AND text = ?",  # noqa: S608 # a constant
            self._key,
            _stored(name),
            old,
        )

    def elsewhere(self, name: str) -> bool:
        """Say if another key has a document of that name."""
        rows = self._file.read(
            f"SELECT 1 FROM document WHERE name = ? AND pair IS NOT {_PAIR} LIMIT 1",  # noqa: S608 # a constant
            _stored(name),
            self._key,
        )
        return bool(rows)


class SqliteLedger(Ledger):
    """One key's nonces: the last one beside the pair, and with the rule `unique` each one in a table."""

    def __init__(self, file: _File, pair: Credentials, policy: Policy) -> None:
        self.policy = policy
        self._file = file
        self._pair = _stored(pair.api_key), _stored(pair.secret.reveal())

    def _row(self) -> tuple[Any, ...] | None:
        rows = self._file.read("SELECT last FROM pair WHERE api_key = ? AND api_secret = ?", *self._pair)
        return rows[0] if rows else None

    @property
    def last(self) -> int | None:
        """The last nonce accepted."""
        row = self._row()
        return row[0] if row else None

    def known(self) -> bool:
        """Say if the pair is not closed."""
        return self._row() is not None

    def advance(self, nonce: int) -> Judgement:
        """Judge and remember a nonce in one statement or transaction."""
        if self.policy == "unique":
            accepted = self._add(nonce)
        else:
            accepted = self._file.change(
                "UPDATE pair SET last = ?1 WHERE api_key = ?2 AND api_secret = ?3 AND (last IS NULL OR last < ?1)",
                nonce,
                *self._pair,
            )
        if accepted:
            return None, None
        row = self._row()
        if row is None:
            return "key-unknown", None
        replayed = self.policy == "unique" or row[0] == nonce
        return ("nonce-replayed" if replayed else "nonce-stale"), row[0]

    def _add(self, nonce: int) -> bool:
        with self._file.transaction() as execute:
            row = execute("SELECT id FROM pair WHERE api_key = ? AND api_secret = ?", self._pair).fetchone()
            if row is None or not execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (row[0], nonce)).rowcount:
                return False
            execute("UPDATE pair SET last = ? WHERE id = ?", (nonce, row[0]))
        return True


class SqliteState:
    """Key pairs in a file that is made if there is none.

    Raises `UsageError` when the file is another program's, damaged, locked, or cannot be written.
    """

    engine = "sqlite"

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._policy: Policy | None = None
        self._file = _File(path)
        self._file.start()

    def open(self, pair: Credentials) -> bool:
        """Add a key pair; False when the key exists already."""
        opened = self._file.change(
            "INSERT OR IGNORE INTO pair (api_key, api_secret) SELECT ?, ? WHERE (SELECT count(*) FROM pair) < ?",
            _stored(pair.api_key),
            _stored(pair.secret.reveal()),
            state.PAIRS_MOST,
        )
        if not opened and self.secret(pair.api_key) is None:
            raise full()
        return opened

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""
        rows = self._file.read("SELECT api_secret FROM pair WHERE api_key = ?", _stored(api_key))
        return Secret(_read(rows[0][0])) if rows else None

    def close(self, api_key: str) -> bool:
        """Forget a key; False when there was none."""
        with self._file.transaction() as execute:
            row = execute("SELECT id FROM pair WHERE api_key = ?", (_stored(api_key),)).fetchone()
            if row is None:
                return False
            for table, column in (("seen", "pair"), ("document", "pair"), ("pair", "id")):
                execute(f"DELETE FROM {table} WHERE {column} = ?", row)  # noqa: S608 # names of ours
        return True

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""
        rows = self._file.read("SELECT api_key FROM pair ORDER BY id")
        return [_read(key) for (key,) in rows]

    def pairs(self, most: int) -> list[Credentials]:
        """Return the key pairs opened last."""
        rows = self._file.read("SELECT api_key, api_secret FROM pair ORDER BY id DESC LIMIT ?", most)
        return [Credentials(_read(key), Secret(_read(secret))) for key, secret in rows]

    def count(self) -> int:
        """Return how many keys there are."""
        return int(self._file.read("SELECT count(*) FROM pair")[0][0])

    def probe(self) -> None:
        """Write what stands there already."""
        self._file.change(f"PRAGMA user_version = {VERSION}")  # UPDATE does not write what is the same

    def ledger(self, pair: Credentials, policy: Policy) -> SqliteLedger:
        """Return what watches over a pair's nonces. Raises `UsageError` for another rule than the file's."""
        if policy != self._policy:
            self._file.change("UPDATE store SET policy = ? WHERE policy IS NULL", policy)
            kept = self._file.read("SELECT policy FROM store")[0][0]
            if kept != policy:
                raise other_rule(self.place, kept, policy)
            self._policy = policy
        return SqliteLedger(self._file, pair, policy)

    def orders(self, api_key: str) -> SqliteDocuments:
        """Return a key's orders."""
        return SqliteDocuments(self._file, _stored(api_key))

    def clear(self, *pairs: Credentials) -> None:
        """Forget everything, and have `pairs` alone from then on."""
        with self._file.transaction() as execute:
            for table in ("seen", "document", "pair"):
                execute(f"DELETE FROM {table}")  # noqa: S608 # names of ours
            for pair in pairs:
                execute(
                    "INSERT INTO pair (api_key, api_secret) VALUES (?, ?)",
                    (_stored(pair.api_key), _stored(pair.secret.reveal())),
                )

    def shut(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()
