"""Nonces: drawn by a client, one at a time for each key, and admitted by a server."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_contract.contract import nonce as nonce_module
from tn_contract.contract.errors import NonceUnavailable
from tn_contract.contract.nonce import NONCE_MAX, NonceLedger, NonceSource, Policy, parse_nonce, shared_source

YEAR_2026 = 1_790_000_000 * 10**9  # nanoseconds


def frozen() -> int:
    return YEAR_2026


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(index)` in `count` threads that start at the same moment."""
    start = threading.Barrier(count)

    def begin(index: int) -> Any:
        start.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


# ---- one source --------------------------------------------------------------------------------------------


def test_a_nonce_counts_ticks_of_100_ns_as_the_documented_sample_does() -> None:
    milliseconds = YEAR_2026 // 10**6
    assert NonceSource(clock=frozen).next() == milliseconds * 10000 == 17_900_000_000_000_000
    assert 1.7e16 < NonceSource().next() < 3e16


@given(st.lists(st.integers(-(10**12), NONCE_MAX), min_size=1))
def test_nonces_rise_whatever_the_clock_does(times: list[int]) -> None:
    clock = iter(times)
    source = NonceSource(clock=lambda: next(clock))
    drawn = [source.next() for _ in times]
    assert all(type(nonce) is int and nonce >= 0 for nonce in drawn)
    assert all(later > earlier for earlier, later in itertools.pairwise(drawn))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([500, 500, 599], [5, 6, 7], id="standing still"),
        pytest.param([500, 100, 700], [5, 6, 7], id="stepping back"),
        pytest.param([500, 90000, 600], [5, 900, 901], id="jumping"),
    ],
)
def test_a_nonce_is_the_clock_or_the_last_one_plus_one(times: list[int], expected: list[int]) -> None:
    clock = iter(times)
    source = NonceSource(clock=lambda: next(clock))
    assert [source.next() for _ in times] == expected


def test_a_large_nonce_is_not_rounded_as_a_float_would_be() -> None:
    source = NonceSource(clock=lambda: (2**53 + 1) * 100)
    assert source.next() == 2**53 + 1


def test_threads_never_share_a_nonce_and_each_sees_them_rise() -> None:
    source = NonceSource(clock=frozen)
    per_thread = together(16, lambda _: [source.next() for _ in range(500)])
    assert all(nonces == sorted(nonces) for nonces in per_thread)
    assert len(set(itertools.chain(*per_thread))) == 16 * 500


def test_one_thread_at_a_time_holds_the_key() -> None:
    source = NonceSource()
    events: list[tuple[str, int]] = []

    def reserve(_: int) -> None:
        for _ in range(50):
            with source.reserve() as nonce:
                events.append(("start", nonce))
                time.sleep(0)
                events.append(("end", nonce))

    together(8, reserve)
    assert_one_at_a_time(events, 8 * 50)


def assert_one_at_a_time(events: list[tuple[str, int]], count: int) -> None:
    """No block begins before the last one ended, and the nonces are in the order of the blocks."""
    assert len(events) == 2 * count
    assert [name for name, _ in events] == ["start", "end"] * count
    nonces = [nonce for _, nonce in events]
    assert nonces[::2] == nonces[1::2] == sorted(set(nonces))


def test_an_error_inside_the_block_gives_the_key_back() -> None:
    source = NonceSource(wait=5)
    with pytest.raises(ZeroDivisionError), source.reserve() as first:
        raise ZeroDivisionError
    assert source.next() > first


def test_a_broken_clock_gives_the_key_back(tmp_path: Path) -> None:
    def broken_once() -> int:
        source._clock = frozen
        raise OSError("no clock")

    for path in (None, tmp_path / "nonces"):
        source = NonceSource(path, clock=broken_once, wait=5)
        with pytest.raises(OSError, match="no clock"):
            source.next()
        assert source.next() == frozen() // 100


def test_waiting_for_the_key_has_an_end() -> None:
    source = NonceSource(wait=0.01)
    with source.reserve(), pytest.raises(NonceUnavailable, match=r"under way for 0\.01 s"):
        source.next()
    assert source.next()


@pytest.mark.parametrize("stored", [False, True])
def test_after_the_highest_nonce_the_key_is_exhausted(stored: bool, tmp_path: Path) -> None:
    path = tmp_path / "nonces" if stored else None
    source = NonceSource(path, clock=lambda: NONCE_MAX * 100, wait=5)
    assert source.next() == NONCE_MAX == 2**63 - 1
    sources = [source, source] + ([NonceSource(path, clock=frozen, wait=5)] if stored else [])
    for exhausted in sources:
        with pytest.raises(NonceUnavailable, match=r"would pass 2\^63-1: this key needs a new pair"):
            exhausted.next()


# ---- one source for a key in a process ---------------------------------------------------------------------


def test_a_key_has_one_shared_source_and_another_key_another() -> None:
    first = shared_source("key a")
    assert shared_source("key a") is first
    assert shared_source("key b") is not first


def test_threads_that_ask_at_once_get_the_same_shared_source() -> None:
    assert len({id(source) for source in together(16, lambda _: shared_source("key c"))}) == 1


def test_a_shared_source_is_forgotten_with_its_last_user() -> None:
    source = shared_source("key d")
    assert "key d" in nonce_module._shared
    del source
    gc.collect()
    assert "key d" not in nonce_module._shared


# ---- the store ---------------------------------------------------------------------------------------------


def test_the_store_survives_a_restart_and_a_clock_that_stepped_back(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    first = NonceSource(path, clock=frozen).next()
    assert NonceSource(str(path), clock=lambda: 0).next() == first + 1
    assert NonceSource(path, clock=frozen).next() == first + 2


def test_a_nonce_is_stored_before_it_is_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    with NonceSource(path).reserve() as nonce:
        reader = sqlite3.connect(path)
        assert reader.execute("SELECT last FROM nonce").fetchall() == [(nonce,)]
        reader.close()


def test_two_sources_on_one_path_never_share_a_nonce(tmp_path: Path) -> None:
    sources = [NonceSource(tmp_path / "nonces", clock=frozen) for _ in range(2)]
    drawn = together(4, lambda index: [sources[index % 2].next() for _ in range(20)])
    assert len(set(itertools.chain(*drawn))) == 4 * 20


def test_a_source_waits_only_so_long_for_another_holder_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    holder, waiter = NonceSource(path), NonceSource(path, wait=0.01)
    with holder.reserve() as held, pytest.raises(NonceUnavailable, match=r"nonces was held by another process"):
        waiter.next()
    assert waiter.next() > held


def rubbish(path: Path) -> None:
    path.write_bytes(b"this is no database, but somebody's notes\n" * 200)


def cut(path: Path) -> None:
    writer = sqlite3.connect(path)
    writer.execute("CREATE TABLE nonce (last INTEGER NOT NULL)")
    writer.close()
    path.write_bytes(path.read_bytes()[:4096])


@pytest.mark.parametrize("spoil", [rubbish, cut])
def test_a_spoilt_store_is_refused_with_advice_and_left_as_it_is(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    spoil(path)
    before = path.read_bytes()
    source = NonceSource(path, wait=5)
    for _ in range(2):
        with pytest.raises(NonceUnavailable) as caught:
            source.next()
        assert str(path) in str(caught.value)
        assert "check the path and its permissions; the file was left as it is" in str(caught.value)
        assert caught.value.applied == "no"
    assert path.read_bytes() == before


def test_a_store_that_holds_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    NonceSource(path).next()
    editor = sqlite3.connect(path, isolation_level=None)
    editor.execute("UPDATE nonce SET last = 'yesterday'")
    editor.close()
    source = NonceSource(path, wait=5)
    for _ in range(2):
        with pytest.raises(NonceUnavailable, match=r"nonces cannot be used \(.*yesterday"):
            source.next()


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NonceUnavailable, match="check the path and its permissions"):
        NonceSource(tmp_path / "missing" / "nonces").next()
    assert not (tmp_path / "missing").exists()


def test_a_store_that_was_mended_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    rubbish(path)
    source = NonceSource(path, wait=5)
    with pytest.raises(NonceUnavailable):
        source.next()
    path.unlink()
    assert source.next()


# ---- processes ---------------------------------------------------------------------------------------------

RESERVE_MANY = """
import os, sys
from tn_contract.contract.nonce import NonceSource
source = NonceSource(sys.argv[1], clock=lambda: 0)
marks = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
sys.stdin.readline()
for _ in range(25):
    with source.reserve() as nonce:
        os.write(marks, f"start {nonce}\\n".encode())
        os.write(marks, f"end {nonce}\\n".encode())
"""

RESERVE_AND_STAY = """
import sys
from tn_contract.contract.nonce import NonceSource
with NonceSource(sys.argv[1]).reserve() as nonce:
    print(nonce, flush=True)
    sys.stdin.read()
"""

FORK = """
import os, sys
from tn_contract.contract.nonce import NonceSource
source = NonceSource(sys.argv[1], clock=lambda: 0, wait=20)
def draw():
    os.write(1, "".join(f"{source.next()}\\n" for _ in range(20)).encode())
draw()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        draw()
        os._exit(0)
    children.append(child)
draw()
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
draw()
sys.exit(any(codes))
"""


@contextmanager
def python(code: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_processes_exclude_each_other_from_the_first_moment_of_a_new_store(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.touch()
    with ExitStack() as stack:
        processes = [stack.enter_context(python(RESERVE_MANY, tmp_path / "nonces", marks)) for _ in range(8)]
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0] * 8
    events = [(name, int(nonce)) for name, nonce in map(str.split, marks.read_text().splitlines())]
    assert_one_at_a_time(events, 8 * 25)


@pytest.mark.slow
def test_a_killed_process_gives_the_key_back(tmp_path: Path) -> None:
    with python(RESERVE_AND_STAY, tmp_path / "nonces") as holder:
        assert holder.stdout
        held = int(holder.stdout.readline())
        with pytest.raises(NonceUnavailable, match="held by another process"):
            NonceSource(tmp_path / "nonces", wait=0.01).next()
        holder.kill()
        holder.wait()
    assert NonceSource(tmp_path / "nonces", wait=20).next() > held


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_shares_the_store_and_no_nonce(tmp_path: Path) -> None:
    with python(FORK, tmp_path / "nonces") as process:
        drawn, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(set(drawn.split())) == len(drawn.split()) == (1 + 3 + 1 + 1) * 20


# ---- asyncio -----------------------------------------------------------------------------------------------


class AnnouncedLock:
    """A lock that says when somebody begins to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.asked = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self.asked.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


def announced_source(path: Path | None = None) -> tuple[NonceSource, threading.Event]:
    source, lock = NonceSource(path, wait=20), AnnouncedLock()
    source._turn = lock  # type: ignore[assignment]
    return source, lock.asked


async def reserve_once(source: NonceSource) -> int:
    async with source.areserve() as nonce:
        return nonce


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("stored", [False, True])
def test_one_task_at_a_time_holds_the_key(stored: bool, tmp_path: Path) -> None:
    events: list[tuple[str, int]] = []

    async def reserve(source: NonceSource) -> None:
        async with source.areserve() as nonce:
            events.append(("start", nonce))
            await asyncio.sleep(0)
            events.append(("end", nonce))

    async def main() -> None:
        source = NonceSource(tmp_path / "nonces" if stored else None)
        await asyncio.gather(*(reserve(source) for _ in range(100)))

    asyncio.run(main())
    assert_one_at_a_time(events, 100)


def test_tasks_of_two_loops_in_two_threads_share_one_source() -> None:
    source = NonceSource()
    events: list[tuple[str, int]] = []

    async def reserve() -> None:
        async with source.areserve() as nonce:
            events.append(("start", nonce))
            await asyncio.sleep(0)
            events.append(("end", nonce))

    async def main() -> None:
        await asyncio.gather(*(reserve() for _ in range(100)))

    together(2, lambda _: asyncio.run(main()))
    assert_one_at_a_time(events, 200)


def test_a_waiting_task_does_not_block_its_loop() -> None:
    async def main() -> None:
        source, asked = announced_source()
        with source.reserve() as held:
            waiting = asyncio.create_task(reserve_once(source))
            await asyncio.to_thread(asked.wait)  # the loop turns while somebody else holds the key
            assert not waiting.done()
        assert await waiting > held

    asyncio.run(main())


def test_a_task_that_need_not_wait_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
        source = NonceSource()
        assert await reserve_once(source) < await reserve_once(source)

    asyncio.run(main())


@pytest.mark.parametrize("stored", [False, True])
def test_a_task_cancelled_while_it_waits_leaves_the_key_free(stored: bool, tmp_path: Path) -> None:
    async def main() -> None:
        source, asked = announced_source(tmp_path / "nonces" if stored else None)
        with source.reserve() as held:
            waiting = asyncio.create_task(reserve_once(source))
            await asyncio.to_thread(asked.wait)
            await cancelled(waiting)
        assert await reserve_once(source) > held
        assert await asyncio.to_thread(source.next) > held

    asyncio.run(main())


def test_a_task_cancelled_behind_another_task_leaves_the_key_free() -> None:
    async def main() -> None:
        source = NonceSource(wait=20)
        async with source.areserve() as held:
            first, second = (asyncio.create_task(reserve_once(source)) for _ in range(2))
            await asyncio.sleep(0)
            await cancelled(first)
        assert await second > held

    asyncio.run(main())


def test_a_task_cancelled_before_a_thread_is_free_leaves_the_key_free() -> None:
    async def main() -> None:
        source, done = NonceSource(wait=20), threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        occupied = loop.run_in_executor(None, done.wait)
        with source.reserve():
            waiting = asyncio.create_task(reserve_once(source))
            await asyncio.sleep(0)
            await cancelled(waiting)
        done.set()
        await occupied
        assert await reserve_once(source)

    asyncio.run(main())


def test_a_task_cancelled_while_it_holds_the_key_gives_it_back() -> None:
    async def main() -> None:
        source, holds = NonceSource(wait=20), asyncio.Event()

        async def hold() -> None:
            async with source.areserve():
                holds.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        await holds.wait()
        await cancelled(holding)
        assert source.next()

    asyncio.run(main())


def test_a_loop_that_ends_while_a_task_waits_leaves_the_key_free() -> None:
    source, asked = announced_source()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        asyncio.ensure_future(reserve_once(source))  # noqa: RUF006 # all_tasks() finds it
        await asyncio.to_thread(asked.wait)

    with source.reserve() as held:
        loop.run_until_complete(main())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:  # as asyncio.run does at its end
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
    assert source.next() > held


def test_a_refusal_reaches_the_task_and_leaves_the_key_free() -> None:
    async def main() -> None:
        source = NonceSource(clock=lambda: (NONCE_MAX + 1) * 100, wait=20)
        for _ in range(2):
            with pytest.raises(NonceUnavailable, match="would pass"):
                await reserve_once(source)

    asyncio.run(main())


# ---- the ledger of a server --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "1", "9", "10", "17900000000000000", str(2**63 - 1)])
def test_a_plain_decimal_is_a_nonce(text: str) -> None:
    assert parse_nonce(text) == int(text)


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", " 1", "1 ", "1\n", "01", "00", "1.0", "1e3", "1_000", "٣", "²", "\udcff", str(2**63), "9" * 30],
)
def test_anything_else_is_no_nonce(text: str) -> None:
    assert parse_nonce(text) is None
    for policy in ("monotonic", "unique"):
        ledger = NonceLedger(policy)
        assert ledger.admit(text) == "nonce-malformed"
        assert ledger.last is None


@given(st.text())
def test_a_nonce_has_one_spelling_only(text: str) -> None:
    nonce = parse_nonce(text)
    assert nonce is None or (str(nonce) == text and 0 <= nonce <= NONCE_MAX)


@given(st.lists(st.integers(0, 20)), st.none() | st.integers(0, 20))
def test_the_monotonic_ledger_admits_what_is_higher_than_all_before(nonces: list[int], last: int | None) -> None:
    ledger = NonceLedger("monotonic", last)
    for nonce in nonces:
        expected = None
        if last is not None and nonce <= last:
            expected = "nonce-replayed" if nonce == last else "nonce-stale"
        assert ledger.admit(str(nonce)) == expected
        last = nonce if expected is None else last
        assert ledger.last == last


@given(st.lists(st.integers(0, 20)))
def test_the_unique_ledger_admits_each_nonce_once_in_any_order(nonces: list[int]) -> None:
    ledger = NonceLedger("unique")
    for index, nonce in enumerate(nonces):
        assert ledger.admit(str(nonce)) == ("nonce-replayed" if nonce in nonces[:index] else None)


def test_the_ledger_without_a_rule_admits_everything() -> None:
    ledger = NonceLedger("none")
    assert [ledger.admit(text) for text in ("5", "5", "1", "rubbish", "", None)] == [None] * 6


@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_a_missing_nonce_is_told_from_a_malformed_one(policy: Policy) -> None:
    assert NonceLedger(policy).admit(None) == "nonce-missing"
    assert NonceLedger(policy).admit("") == "nonce-malformed"


@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_of_threads_that_race_with_one_nonce_exactly_one_is_admitted(policy: Policy) -> None:
    threads, rounds = 8, 300
    ledger, turn = NonceLedger(policy), threading.Barrier(threads)

    def race(_: int) -> list[bool]:
        admitted = []
        for nonce in range(rounds):
            turn.wait()
            admitted.append(ledger.admit(str(nonce)) is None)
        return admitted

    answers = together(threads, race)
    assert [sum(answer) for answer in zip(*answers, strict=True)] == [1] * rounds
    assert ledger.last == rounds - 1


def test_a_closed_source_opens_its_store_again(tmp_path: Path) -> None:
    source = NonceSource(tmp_path / "nonces")
    first = source.next()
    source.close()
    source.close()
    assert source.next() > first
    source.close()


def test_a_source_without_a_store_has_nothing_to_close() -> None:
    source = NonceSource()
    source.close()
    assert source.next() > 0
