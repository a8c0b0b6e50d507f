"""A mock that is killed in the middle of a storm of requests has forgotten nothing that it accepted."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException

import pytest

from mock_server.broker import DEMO
from tests.durability.conftest import Mock, Nursery, cancel

pytestmark = pytest.mark.full

KILLS = 50
CLIENTS = 4


def storm(mock: Mock, nonces: Iterator[int], begun: threading.Event) -> list[int]:
    """Send until the mock is gone; return what it accepted."""
    accepted = []
    try:
        with closing(mock.connect()) as connection:
            for nonce in nonces:
                if cancel(connection, nonce) == "accepted":
                    accepted.append(nonce)
                    begun.set()
    except (OSError, HTTPException):
        pass
    return accepted


def test_fifty_kills_in_the_middle_of_a_storm(nursery: Nursery, state_url: str) -> None:
    accepted: list[int] = []
    nonces = itertools.count(2**60)
    chance = random.Random(7)
    mock = nursery.start(state=state_url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(KILLS):
            begun = threading.Event()
            storms = [pool.submit(storm, mock, nonces, begun) for _ in range(CLIENTS)]
            assert begun.wait(20)
            time.sleep(chance.uniform(0, 0.1))
            mock.kill()
            new = [nonce for ended in storms for nonce in ended.result(20)]
            mock = nursery.start(state=state_url)
            last = int(mock.control("GET", f"sessions/{DEMO.api_key}")["last_nonce"])
            assert last >= max(new)
            assert set(mock.cancel(*sorted(new)[-10:])) == {"refused"}
            accepted += new
    assert len(accepted) == len(set(accepted)) > 5 * KILLS
    assert set(mock.cancel(*accepted)) == {"refused"}
    assert mock.cancel(next(nonces)) == ["accepted"]
