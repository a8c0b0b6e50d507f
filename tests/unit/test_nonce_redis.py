"""The nonces of a key in Redis: one holder at a time, on whatever machine, and a lease that ends by itself."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import RedisServer
from tn_contract.client.nonce_redis import LEASE_SECONDS, RedisNonces
from tn_contract.contract.errors import NonceUnavailable, UsageError
from tn_contract.contract.nonce import NONCE_MAX, NonceSource
from tn_contract.transport import Timeouts

pytestmark = pytest.mark.slow

_numbers = itertools.count()


@pytest.fixture
def url(redis_url: str) -> str:
    """A prefix of its own for each test."""
    return f"{redis_url}?prefix=nonces-{os.getpid()}-{next(_numbers)}"


def source(url: str, name: str = "key", *, lease: float = 20, **options: Any) -> NonceSource:
    return NonceSource(store=RedisNonces(url, name, lease=lease), **options)


def test_nonces_rise_over_sources_and_clocks_that_step_back(url: str) -> None:
    first, second = source(url, clock=lambda: 2**53 * 100 + 100), source(url, clock=lambda: 0)
    assert [first.next(), second.next(), first.next()] == [2**53 + 1, 2**53 + 2, 2**53 + 3]
    assert source(url, "another key", clock=lambda: 500).next() == 5
    first.close()
    assert first.next() == 2**53 + 4


def test_after_the_highest_nonce_the_key_is_exhausted(url: str) -> None:
    assert source(url, clock=lambda: NONCE_MAX * 100).next() == NONCE_MAX
    for _ in range(2):
        with pytest.raises(NonceUnavailable, match=r"would pass 2\^63-1"):
            source(url, wait=5).next()


def test_one_at_a_time_holds_the_key(url: str) -> None:
    events: list[tuple[str, int]] = []
    start = threading.Barrier(4)

    def reserve(_: int) -> None:
        mine = source(url, wait=30)
        start.wait()
        for _ in range(25):
            with mine.reserve() as nonce:
                events.append(("start", nonce))
                time.sleep(0)
                events.append(("end", nonce))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(reserve, range(4)))
    assert [name for name, _ in events] == ["start", "end"] * 100
    nonces = [nonce for _, nonce in events]
    assert nonces[::2] == nonces[1::2] == sorted(set(nonces))


def test_a_source_waits_only_so_long_for_another_holder(url: str) -> None:
    holder, waiter = source(url), source(url, wait=0.1)
    with holder.reserve() as held:
        started = time.monotonic()
        with pytest.raises(NonceUnavailable, match=r"held by another client for more than 0\.1 s"):
            waiter.next()
        assert time.monotonic() - started < 5
    assert waiter.next() > held


STAY = """
import sys
from tn_contract.contract.nonce import NonceSource
from tn_contract.client.nonce_redis import RedisNonces
with NonceSource(store=RedisNonces(sys.argv[1], "key", lease=2)).reserve() as nonce:
    print(nonce, flush=True)
    sys.stdin.read()
"""


def test_the_lease_of_a_killed_holder_ends(url: str) -> None:
    command = [sys.executable, "-c", STAY, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        held = int(holder.stdout.readline())
        holder.kill()
    assert source(url, wait=20).next() > held


def test_who_lost_the_lease_neither_saves_nor_ends_the_lease_of_another(url: str, redis_url: str) -> None:
    late, other = RedisNonces(url, "key", lease=1), RedisNonces(url, "key", lease=20)
    assert late.acquire(5) is None
    assert other.acquire(5) is None
    with pytest.raises(NonceUnavailable, match="ended before the request was sent"):
        late.save(7)
    late.release()
    with pytest.raises(NonceUnavailable, match="held by another client"):
        late.acquire(0.05)
    other.save(8)
    other.release()
    assert late.acquire(5) == 8


def test_a_lease_is_longer_than_a_request_may_take() -> None:
    limits = Timeouts()
    assert limits.connect + limits.send + limits.receive + limits.total < LEASE_SECONDS


def test_a_redis_that_is_gone_gives_no_nonce_and_is_used_again(redis_server: RedisServer) -> None:
    redis_server.start()
    nonces = source(redis_server.url)
    first = nonces.next()
    redis_server.kill()
    for _ in range(2):
        with pytest.raises(NonceUnavailable, match="Redis at unix://"):
            nonces.next()
    redis_server.start()
    assert nonces.next() > first


def test_what_cannot_be_a_store_is_refused(tmp_path: Any) -> None:
    for name, lease in (("", 20.0), ("key", 0.5)):
        with pytest.raises(UsageError, match="name of the key, and a lease"):
            RedisNonces("redis://localhost", name, lease=lease)
    with pytest.raises(UsageError, match="pass path or store"):
        NonceSource(tmp_path / "nonces", store=RedisNonces("redis://localhost", "key"))
