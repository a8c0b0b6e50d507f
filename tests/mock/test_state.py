"""Every engine behaves as a plain model does, is refused where it cannot be used, and never accepts by mistake."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mock_server import broker as broker_module
from mock_server import state as state_module
from mock_server.app import create_app
from mock_server.book import book as book_module
from mock_server.book.book import NewOrder
from mock_server.broker import DEMO, Broker
from mock_server.harness import HARNESS_HEADER, HARNESS_STATUS
from mock_server.serve import running
from mock_server.state import State, open_state
from mock_server.state import sqlite as sqlite_engine
from tn_contract.contract.errors import StateUnavailable, UsageError
from tn_contract.contract.nonce import NONCE_MAX, Policy
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request, compose, compose_v3, with_signature

pytestmark = pytest.mark.slow

ENGINES = ["memory", "sqlite", "redis"]
Opener = Callable[[], State]
_numbers = itertools.count()


@pytest.fixture
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Opener]]:
    """Give new places for state; what is called opens the same place each time, as another instance would."""
    opened: list[State] = []

    def new_place() -> Opener:
        number = next(_numbers)
        if request.param == "memory":
            state = open_state("memory")
            return lambda: state
        if request.param == "sqlite":
            url = f"sqlite:{tmp_path / f'{number}.db'}"
        else:
            url = f"{request.getfixturevalue('redis_url')}?prefix=test-{os.getpid()}-{number}"

        def open_it() -> State:
            opened.append(open_state(url))
            return opened[-1]

        return open_it

    yield new_place
    for state in opened:
        state.shut()


every_engine = pytest.mark.parametrize("opener", ENGINES, indirect=True)
kept_engines = pytest.mark.parametrize("opener", ENGINES[1:], indirect=True)

# What is difficult to store: separators, NUL, no UTF-8 form, one key that begins like another.
_keys = st.sampled_from(["a", "a:b", "a\0", "ключ", "\ud800", "A"])
_nonces = st.one_of(
    st.integers(0, 30),
    st.integers(2**53 - 3, 2**53 + 3),
    st.integers(10**16 - 2, 10**16 + 2),
    st.integers(NONCE_MAX - 3, NONCE_MAX),
    st.integers(0, NONCE_MAX),
)


_names = st.sampled_from(["1", "22", "\0"])


class Model(RuleBasedStateMachine):
    """Two instances on one place, and a model of what it holds."""

    new_place: Callable[[], Opener]

    @initialize(policy=st.sampled_from(["monotonic", "unique", "none"]))
    def begin(self, policy: Policy) -> None:
        open_it = self.new_place()
        self.instances = [open_it(), open_it()]
        self.policy = policy
        self.pairs: dict[str, str] = {}
        self.accepted: dict[str, list[int]] = {}
        self.documents: dict[str, dict[str, bytes]] = {}
        # As a mock's sessions do, these outlive the pair that they were made for.
        self.ledgers: dict[tuple[int, str, str], Any] = {}
        self.stores: dict[tuple[int, str], Any] = {}

    @rule(at=st.integers(0, 1), key=_keys, secret=st.sampled_from("xyя"))
    def open(self, at: int, key: str, secret: str) -> None:
        assert self.instances[at].open(Credentials(key, Secret(secret))) == (key not in self.pairs)
        if key not in self.pairs:
            self.pairs[key] = secret
            self.accepted[key] = []
            self.documents[key] = {}

    @rule(at=st.integers(0, 1), key=_keys)
    def close(self, at: int, key: str) -> None:
        assert self.instances[at].close(key) == (key in self.pairs)
        self.pairs.pop(key, None)

    @rule(at=st.integers(0, 1), key=_keys, secret=st.sampled_from("xyя"), nonce=_nonces)
    def admit(self, at: int, key: str, secret: str, nonce: int) -> None:
        ledger = self.ledgers.get((at, key, secret))
        if ledger is None:
            ledger = self.instances[at].ledger(Credentials(key, Secret(secret)), self.policy)
            self.ledgers[at, key, secret] = ledger
        known = self.pairs.get(key) == secret
        accepted = self.accepted.get(key, [])
        refusal, last = ledger.judge(str(nonce))
        if not known:
            assert (refusal, last) == ("key-unknown", None)
            assert ledger.last is None
        elif self.policy == "none" or self._fits(nonce, accepted):
            assert (refusal, last) == (None, None)
            accepted.append(nonce)
        else:
            replayed = self.policy == "unique" or nonce == accepted[-1]
            assert (refusal, last) == ("nonce-replayed" if replayed else "nonce-stale", accepted[-1])
        if known and self.policy != "none":
            assert ledger.last == accepted[-1]

    def _fits(self, nonce: int, accepted: list[int]) -> bool:
        return nonce not in accepted if self.policy == "unique" else all(nonce > other for other in accepted)

    @rule(
        at=st.integers(0, 1),
        key=_keys,
        name=_names,
        old=st.sampled_from([None, b"", b"{}"]),
        new=st.sampled_from([b"", b"{}", b"\xff"]),
    )
    def swap(self, at: int, key: str, name: str, old: bytes | None, new: bytes) -> None:
        orders = self.instances[at].orders(key)
        documents = self.documents.get(key, {}) if key in self.pairs else {}
        fits = key in self.pairs and documents.get(name) == old
        assert orders.get(name) == documents.get(name)
        assert orders.swap(name, old, new) == fits
        if fits:
            documents[name] = new
        assert list(orders.all().items()) == list(documents.items())

    @rule(
        at=st.integers(0, 1),
        key=_keys,
        changes=st.dictionaries(_names, st.tuples(st.sampled_from([b"", b"{}"]), st.sampled_from([b"", b"{}", b"x"]))),
    )
    def swap_all(self, at: int, key: str, changes: dict[str, tuple[bytes, bytes]]) -> None:
        orders = self.instances[at].orders(key)
        documents = self.documents.get(key, {}) if key in self.pairs else {}
        fitting = {name: new for name, (old, new) in changes.items() if documents.get(name) == old}
        assert orders.swap_all(changes) == (len(fitting) == len(changes))
        documents.update(fitting)
        assert list(orders.all().items()) == list(documents.items())

    @rule(at=st.integers(0, 1), key=_keys)
    def clear(self, at: int, key: str) -> None:
        self.instances[at].clear(Credentials(key, Secret("x")))
        self.pairs, self.accepted, self.documents = {key: "x"}, {key: []}, {key: {}}

    @precondition(lambda self: self.instances[0] is not self.instances[1])
    @rule(at=st.integers(0, 1))
    def shut(self, at: int) -> None:
        self.instances[at].shut()

    @rule(at=st.integers(0, 1), key=_keys, name=_names, old=st.sampled_from([b"", b"{}"]))
    def remove(self, at: int, key: str, name: str, old: bytes) -> None:
        orders = self.instances[at].orders(key)
        documents = self.documents.get(key, {}) if key in self.pairs else {}
        fits = documents.get(name) == old
        assert orders.remove(name, old) == fits
        if fits:
            del documents[name]
        assert list(orders.all().items()) == list(documents.items())

    @rule(at=st.integers(0, 1), key=_keys, name=_names)
    def look_elsewhere(self, at: int, key: str, name: str) -> None:
        others = [self.documents[other] for other in self.pairs if other != key]
        assert self.instances[at].orders(key).elsewhere(name) == any(name in documents for documents in others)

    @invariant()
    def both_know_the_same_keys(self) -> None:
        for state in self.instances:
            assert state.keys() == list(self.pairs)
            assert state.count() == len(self.pairs)
            newest = [(pair.api_key, pair.secret.reveal()) for pair in state.pairs(2)]
            assert newest == list(reversed(self.pairs.items()))[:2]
            for key in ("a", "\ud800"):
                secret = state.secret(key)
                assert (secret and secret.reveal()) == self.pairs.get(key)


@every_engine
def test_every_engine_behaves_as_the_model(opener: Callable[[], Opener]) -> None:
    class Machine(Model):
        new_place = staticmethod(opener)

    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))  # type: ignore[no-untyped-call]


PAIR = Credentials("key", Secret("secret"))


@every_engine
def test_key_pairs_are_limited(opener: Callable[[], Opener], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "PAIRS_MOST", 2)
    state = opener()()
    assert state.open(Credentials("a", Secret("x")))
    assert state.open(Credentials("b", Secret("x")))
    with pytest.raises(UsageError, match="2 sessions, and that is the limit: close some"):
        state.open(Credentials("c", Secret("x")))
    assert not state.open(Credentials("a", Secret("x"))), "it exists"
    assert state.close("a")
    assert state.open(Credentials("c", Secret("x")))
    assert state.keys() == ["b", "c"]


@kept_engines
def test_what_was_kept_is_there_after_a_restart(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    first = open_it()
    assert first.open(PAIR)
    assert first.ledger(PAIR, "monotonic").admit(str(NONCE_MAX - 1)) is None
    assert first.orders("key").swap("1", None, b"{}")
    first.shut()
    second = open_it()
    assert second.secret("key") == PAIR.secret
    assert second.ledger(PAIR, "monotonic").judge(str(NONCE_MAX - 1)) == ("nonce-replayed", NONCE_MAX - 1)
    assert second.orders("key").all() == {"1": b"{}"}
    assert second.orders("another").elsewhere("1")
    assert not second.orders("key").elsewhere("1")


@every_engine
def test_nonces_judged_by_one_rule_are_not_judged_by_another(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    Broker(state=open_it())
    with pytest.raises(UsageError, match="keep to --nonces monotonic"):
        Broker(state=open_it(), policy="unique")
    assert Broker(state=open_it()).keys == [DEMO.api_key]


@every_engine
def test_a_seed_draws_no_key_that_is_kept_already(opener: Callable[[], Opener]) -> None:
    open_it, afresh = opener(), Broker(seed=7)
    drawn = [afresh.open_session().credentials for _ in range(4)]
    first, second = (Broker(state=open_it(), seed=7) for _ in range(2))
    assert [broker.open_session().credentials for broker in (first, first, second, first)] == drawn
    with pytest.raises(UsageError, match="exists already"):
        second.open_session(drawn[3].api_key)


@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:", "redsi://:hidden@host", "postgres://hidden@host", "Memory"])
def test_what_is_no_engine_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(UsageError, match="keeps no state: write memory, sqlite:PATH or redis://HOST:PORT") as caught:
        open_state(url)
    assert "hidden" not in str(caught.value)


def cancel(nonce: int, pair: Credentials = DEMO) -> Request:
    return compose(pair, "delTradeOrder", nonce, {"order_id": 2929292929}).request


def send(base_url: str, request: Request) -> None:
    asked = urllib.request.Request(base_url + request.path, request.body, dict(request.headers))
    with suppress(OSError):
        urllib.request.urlopen(asked, timeout=20).close()


@every_engine
def test_brokers_share_sessions_nonces_and_resets(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    first, second = Broker(state=open_it()), Broker(state=open_it())
    pair = first.open_session().credentials

    def situation(broker: Broker, nonce: int, pair: Credentials = pair) -> str:
        assessment = broker.handle(cancel(nonce, pair)).assessment
        assert assessment
        return assessment.situation

    assert [situation(second, 5), situation(first, 5), situation(first, 4)] == [
        "cancel-accepted",
        "nonce-replayed",
        "nonce-stale",
    ]
    assert second.close_session(pair.api_key)
    assert situation(first, 6) == "key-unknown"
    first.open_session(pair.api_key, pair.secret.reveal())
    assert situation(second, 1) == situation(first, 2) == "cancel-accepted"
    other = Credentials(pair.api_key, Secret("other"))
    first.close_session(pair.api_key)
    second.open_session(other.api_key, "other")
    assert situation(first, 3) == "signature-invalid"
    assert situation(first, 3, other) == "cancel-accepted"
    assert situation(second, 9, DEMO) == "cancel-accepted"
    first.reset()
    assert second.keys == [DEMO.api_key]
    assert [situation(second, 3, DEMO), situation(first, 3, DEMO)] == ["cancel-accepted", "nonce-replayed"]


@every_engine
def test_an_accepted_cancel_is_one_step_of_the_engine_but_for_the_first(opener: Callable[[], Opener]) -> None:
    state = opener()()
    broker = Broker(state=state)
    assert broker.handle(cancel(1)).reply.status == 200
    with patch.object(state, "secret", side_effect=AssertionError("the secret was asked for again")):
        answer = broker.handle(cancel(2)).assessment
    assert answer
    assert answer.situation == "cancel-accepted"


@every_engine
@pytest.mark.parametrize("policy", get_args(Policy))
def test_a_pair_that_another_mock_closed_is_unknown_at_once(opener: Callable[[], Opener], policy: Policy) -> None:
    open_it = opener()
    first, second = (Broker(state=open_it(), policy=policy) for _ in range(2))
    pair = first.open_session().credentials
    wrong = with_signature(cancel(3, pair), "ab" * 32)
    for nonce, request in enumerate((cancel(9, pair), wrong, compose_v3(pair, "delTradeOrder", 1, {}).request), 1):
        assert first.handle(cancel(nonce, pair)).reply.status == 200
        second.close_session(pair.api_key)
        answer = first.handle(request).assessment
        assert answer
        assert (answer.situation, answer.string_to_sign, answer.effect) == ("key-unknown", "", "none")
        assert len(first.unmatched.exchanges()) == nonce
        second.open_session(pair.api_key, pair.secret.reveal())


ORDER = {"instr_name": "AAPL.US", "action_id": "1", "order_type_id": "1", "qty": "1", "expiration_id": "3"}


@every_engine
def test_mocks_know_whose_order_it_is(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    first, second = (Broker(state=open_it(), orders="book", policy="none") for _ in range(2))
    owner = first.open_session("owner", "x").credentials

    def situation(broker: Broker, order_id: int, pair: Credentials = DEMO) -> str:
        assessment = broker.handle(compose(pair, "delTradeOrder", 1, {"order_id": order_id}).request).assessment
        assert assessment
        return assessment.situation

    placed = json.loads(first.handle(compose(owner, "putTradeOrder", 1, ORDER).request).reply.body)["order_id"]
    assert [situation(mock, placed) for mock in (first, second)] == ["book-order-foreign"] * 2
    assert second.book
    second.book.put(DEMO.api_key, NewOrder(order_id=placed))  # both have one of this name
    assert situation(first, placed) == "cancel-accepted"
    first.close_session(owner.api_key)
    assert situation(second, placed) == "book-order-cancelling"
    again = second.open_session("owner", "x").credentials
    assert situation(second, placed, again) == "book-order-foreign"
    first.reset()
    assert situation(second, placed) == "book-order-unknown"


@every_engine
def test_orders_that_mocks_place_at_once_have_ids_of_their_own_and_make_room(
    opener: Callable[[], Opener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "ORDERS_KEPT", 40)
    open_it = opener()
    mocks = [Broker(state=open_it(), orders="book", policy="none", cancel_seconds=0) for _ in range(2)]

    def place_and_cancel(number: int) -> int:
        mock = mocks[number % 2]
        order_id = json.loads(mock.handle(compose(DEMO, "putTradeOrder", 1, ORDER).request).reply.body)["order_id"]
        cancelled = mock.handle(compose(DEMO, "delTradeOrder", 1, {"order_id": order_id}).request).assessment
        assert cancelled
        assert cancelled.situation == "cancel-accepted"
        return int(order_id)

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(place_and_cancel, range(120)))
    assert len(set(ids)) == 120
    book = mocks[0].book
    assert book
    assert len(book.orders(DEMO.api_key)) <= 40 + 2 * 4  # each thread may be placing one and cancelling another


@every_engine
def test_health_names_the_engine(opener: Callable[[], Opener], request: pytest.FixtureRequest) -> None:
    state = opener()()
    health = create_app(Broker(state=state)).test_client().get("/__tn__/health").get_json()
    assert health["state"] == state.engine == request.node.callspec.params["opener"]
    assert health["sessions"] == 1


# ---- SQLite ------------------------------------------------------------------------------------------------


def rubbish(path: Path) -> None:
    path.write_bytes(b"this is no database, but somebody's notes\n" * 200)


def empty(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()


def somebody_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("PRAGMA journal_mode = WAL; CREATE TABLE pair (id)")


def newer(path: Path) -> None:
    open_state(f"sqlite:{path}").shut()
    with closing(sqlite3.connect(path)) as editor:
        editor.executescript("PRAGMA journal_mode = DELETE; PRAGMA user_version = 9")


def cut(path: Path) -> None:
    state = open_state(f"sqlite:{path}")
    for number in range(200):
        state.open(Credentials(f"key {number}", Secret("s" * 100)))
    state.shut()
    path.write_bytes(path.read_bytes()[:6000])


def scratched(path: Path) -> None:
    state = open_state(f"sqlite:{path}")
    for number in range(200):
        state.open(Credentials(f"key {number}", Secret("s" * 100)))
    state.shut()
    path.write_bytes(path.read_bytes()[:8192] + b"\x55" * 4096 + path.read_bytes()[12288:])


@pytest.mark.parametrize("spoil", [rubbish, empty, folder, somebody_elses, newer, cut, scratched])
def test_a_file_that_is_not_ours_or_spoilt_is_refused_and_left_as_it_is(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "state ?#%.db"
    spoil(path)
    before = path.is_file() and path.read_bytes()
    with pytest.raises(UsageError, match="state") as caught:
        open_state(f"sqlite:{path}")
    assert str(path) in str(caught.value)
    assert before == (path.is_file() and path.read_bytes())
    if spoil in (rubbish, empty, somebody_elses, newer):
        assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_left_in_the_middle_of_a_checkpoint_is_whole_again(tmp_path: Path) -> None:
    path, left = tmp_path / "state.db", tmp_path / "left.db"
    state = open_state(f"sqlite:{path}")
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as reader:
        for number in range(100):
            state.open(Credentials(f"key {number}", Secret("s" * 100)))
        # Page 1 goes first, and tells of pages that the file does not have yet.
        left.write_bytes(reader.serialize()[:1024] + before[1024:])
        (tmp_path / "left.db-wal").write_bytes((tmp_path / "state.db-wal").read_bytes())
    state.shut()
    again = open_state(f"sqlite:{left}")
    assert again.keys() == [f"key {number}" for number in range(100)]
    again.shut()


def test_a_link_that_leads_nowhere_is_refused_and_its_target_not_made(tmp_path: Path) -> None:
    (tmp_path / "state.db").symlink_to(tmp_path / "target.db")
    with pytest.raises(UsageError, match="check the path"):
        open_state(f"sqlite:{tmp_path / 'state.db'}")
    assert [found.name for found in tmp_path.iterdir()] == ["state.db"]


OPEN_AND_SHUT = "import sys; from mock_server.state import open_state; open_state(sys.argv[1]).shut()"


def test_a_second_state_in_a_process_does_not_give_up_the_locks_of_the_first(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}"
    first = open_state(url)
    first.open(DEMO)
    open_state(url).shut()
    subprocess.run([sys.executable, "-c", OPEN_AND_SHUT, url], check=True, timeout=60)
    assert (tmp_path / "state.db-wal").exists()  # the last one to leave removes it: that is not this other process
    assert first.ledger(DEMO, "monotonic").admit("1") is None
    first.shut()


@pytest.mark.skipif(sys.platform == "win32", reason="this system has other permissions")
def test_a_file_with_secrets_is_nobody_elses_to_read(tmp_path: Path) -> None:
    state = open_state(f"sqlite:{tmp_path / 'state.db'}")
    state.open(DEMO)
    modes = {found.name: found.stat().st_mode & 0o777 for found in tmp_path.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    state.shut()


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="check the path, its permissions and the disk"):
        open_state(f"sqlite:{tmp_path / 'missing' / 'state.db'}")
    assert not list(tmp_path.iterdir())


def test_a_locked_file_is_a_marked_harness_error_and_no_acceptance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "WAIT_SECONDS", 0.05)
    path = tmp_path / "state.db"
    broker = Broker(state=f"sqlite:{path}")
    client = create_app(broker).test_client()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        reply = broker.handle(cancel(5)).reply
        assert (reply.status, HARNESS_HEADER in reply.headers) == (HARNESS_STATUS, True)
        assert b"was locked by another process for more than 0.05 s" in reply.body
        opened = client.post("/__tn__/sessions")
        assert (opened.status_code, opened.headers["X-Tn-Mock"]) == (HARNESS_STATUS, "harness-error")
        with pytest.raises(UsageError, match="was locked by another process"):
            open_state(f"sqlite:{path}")
    assert broker.handle(cancel(5)).reply.status == 200
    broker.state.shut()


def test_a_locked_file_is_waited_for_once_and_not_by_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "WAIT_SECONDS", 0.4)
    path = tmp_path / "state.db"
    state = open_state(f"sqlite:{path}")
    state.open(DEMO)
    ledger = state.ledger(DEMO, "monotonic")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        for nonce in range(10):
            with pytest.raises(StateUnavailable, match=r"was locked by another process for more than 0\.4 s"):
                ledger.admit(str(nonce))
        assert 0.4 <= time.monotonic() - started < 0.8
    time.sleep(0.4)
    assert ledger.admit("0") is None
    state.shut()


def test_a_signal_while_the_file_is_locked_stops_the_mock_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    command = [sys.executable, "-m", "tn_contract.cli", "serve", "--port", "0", "--json", "--state", f"sqlite:{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = json.loads(process.stdout.readline())["base_url"]
        with closing(sqlite3.connect(path, isolation_level=None)) as holder, ThreadPoolExecutor(4) as clients:
            holder.execute("BEGIN IMMEDIATE")
            for nonce in range(4):
                clients.submit(send, url, cancel(nonce))
            time.sleep(0.5)
            process.terminate()
            output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_file_that_vanished_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    broker = Broker(state=f"sqlite:{path}")
    assert broker.handle(cancel(5)).reply.status == 200
    broker.state.shut()
    path.unlink()
    assert broker.handle(cancel(5)).reply.status == HARNESS_STATUS
    assert not path.exists()


@pytest.mark.parametrize("shut", [False, True])
def test_a_file_that_was_removed_or_replaced_while_in_use_takes_no_more_nonces(tmp_path: Path, shut: bool) -> None:
    path = tmp_path / "state.db"
    first = Broker(state=f"sqlite:{path}")
    assert first.handle(cancel(5)).reply.status == 200
    if shut:
        first.state.shut()
    aside = tmp_path / "aside"
    aside.mkdir()
    for file in tmp_path.glob("state.db*"):
        file.rename(aside / file.name)
    assert b"was removed or replaced while in use" in first.handle(cancel(6)).reply.body
    second = Broker(state=f"sqlite:{path}")
    assert second.handle(cancel(6)).reply.status == 200
    assert b"put it back, or restart the mock" in first.handle(cancel(6)).reply.body
    assert create_app(first).test_client().get("/__tn__/ready").status_code == HARNESS_STATUS
    second.state.shut()
    first.state.shut()


@every_engine
def test_a_reset_does_not_change_the_rule(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    Broker(state=open_it(), policy="unique").reset()
    with pytest.raises(UsageError, match="keep to --nonces unique"):
        Broker(state=open_it())


FULL = """
import resource, signal, sys
from mock_server.state import open_state
from tn_contract.contract.errors import StateUnavailable
from tn_contract.contract.signing import Credentials, Secret
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
pair = Credentials("key", Secret("secret"))
state = open_state(sys.argv[1])
state.open(pair)
ledger = state.ledger(pair, sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
accepted, refused = [], None
for nonce in range(10_000):
    try:
        assert ledger.admit(str(nonce)) is None
    except StateUnavailable as error:
        refused = nonce
        print(error)
        try:
            state.probe()
        except StateUnavailable:
            break
        raise AssertionError("it is said to be writable") from None
    accepted.append(nonce)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert ledger.admit(str(accepted[-1])) == "nonce-replayed"
state.probe()
assert ledger.admit(str(refused + 1)) is None
"""


@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_a_full_disk_accepts_nothing_and_is_used_again_when_there_is_room(policy: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'state.db'}"
    ran = subprocess.run([sys.executable, "-c", FULL, url, policy], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "state.db cannot be used (" in ran.stdout


FORK = """
import os, sys
from mock_server.state import open_state
from tn_contract.contract.signing import Credentials, Secret
pair = Credentials("key", Secret("secret"))
state = open_state(sys.argv[1])
state.open(pair)
ledger = state.ledger(pair, "monotonic")
assert ledger.admit("1") is None
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        os.write(1, "".join(f"{nonce}\\n" for nonce in range(2, 300) if ledger.admit(str(nonce)) is None).encode())
        state.shut()
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert ledger.judge("299") == ("nonce-replayed", 299)
sys.exit(any(codes))
"""


@kept_engines
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_accept_no_nonce_twice(opener: Callable[[], Opener], request: pytest.FixtureRequest) -> None:
    url = opener()().place
    url = url if "://" in url else f"sqlite:{url}"
    ran = subprocess.run([sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    accepted = ran.stdout.split()
    assert len(set(accepted)) == len(accepted)
    assert "299" in accepted


# ---- Redis -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["h/x", "h?retry_on_timeout=yes", "h:port", "h?prefix=", "h?prefix=a*", "h#f", "[::1"],
)
def test_an_address_that_is_not_understood_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_state(f"redis://:hidden@{address}")
    assert "hidden" not in str(caught.value)


def test_a_redis_that_does_not_answer_is_refused_without_its_password() -> None:
    with pytest.raises(UsageError, match=r"redis://127\.0\.0\.1:1/2\?prefix=tn-contract") as caught:
        open_state("redis://somebody:hidden@127.0.0.1:1/2")
    assert "hidden" not in str(caught.value)
    assert "somebody" not in str(caught.value)


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UsageError, match=r"pip install 'tn-contract\[redis\]'"):
        open_state("redis://localhost")


# ---- the command, and memory -------------------------------------------------------------------------------


def test_serve_says_where_state_lives_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    command = [sys.executable, "-m", "tn_contract.cli", "serve", "--port", "0", "--json", "--state", f"sqlite:{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        facts = json.loads(process.stdout.readline())
        urllib.request.urlopen(facts["control_url"] + "health", timeout=20).close()
        process.terminate()
    assert facts["state"] == str(path)
    assert not path.with_name("state.db-wal").exists()  # closed, and so written back
    state = open_state(f"sqlite:{path}")
    assert state.keys() == [DEMO.api_key]
    state.shut()


def test_a_mock_that_stops_lets_go_of_its_state(tmp_path: Path) -> None:
    with running(state=f"sqlite:{tmp_path / 'state.db'}") as mock:
        assert mock.broker.handle(cancel(1)).reply.status == 200
    assert [found.name for found in tmp_path.iterdir()] == ["state.db"]


@pytest.mark.full
def test_fifty_thousand_keys_on_sqlite_leave_the_process_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "SESSIONS_KEPT", 500)
    broker = Broker(state=f"sqlite:{tmp_path / 'state.db'}", journal_size=10)
    with sqlite3.connect(tmp_path / "state.db") as filler:
        rows = ((f"key-{number}".encode(), b"secret") for number in range(50_000))
        filler.executemany("INSERT INTO pair (api_key, api_secret) VALUES (?, ?)", rows)
    filler.close()
    secret = Secret("secret")

    def use(keys: range) -> int:
        for number in keys:
            broker.handle(cancel(1, Credentials(f"key-{number}", secret)))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early, late = use(range(0, 50_000, 25)), use(range(1, 50_000, 25))
    finally:
        tracemalloc.stop()
    assert broker.state.count() == 50_001
    assert late - early < 2**20
    broker.state.shut()
