"""Redis restarted, emptied, cut off: a marked harness error, and never a nonce twice."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from mock_server.app import create_app
from mock_server.broker import DEMO, Broker
from mock_server.harness import HARNESS_HEADER
from mock_server.state import open_state
from tests.conftest import RedisServer
from tests.durability.conftest import Nursery
from tn_contract.contract.errors import StateUnavailable, UsageError
from tn_contract.contract.nonce import Policy
from tn_contract.contract.redislink import REPLY_SECONDS
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose, compose_v3

pytestmark = pytest.mark.full

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


def ask(broker: Broker, nonce: int) -> str:
    """Send one cancel: its situation, or the reason of a harness error."""
    request = compose(DEMO, "delTradeOrder", nonce, {"order_id": 2929292929}).request
    answer = broker.handle(request)
    if HARNESS_HEADER in answer.reply.headers:
        assert answer.reply.status == 599
        assert answer.assessment is None
        return str(json.loads(answer.reply.body)["reason"])
    assert answer.assessment
    return answer.assessment.situation


@pytest.fixture
def brokers() -> Iterator[list[Broker]]:
    """To be filled; their connections are closed in the end."""
    brokers: list[Broker] = []
    yield brokers
    for broker in brokers:
        broker.state.shut()


def test_a_restart_from_a_snapshot_is_refused_until_a_reset(redis_server: RedisServer, brokers: list[Broker]) -> None:
    redis_server.start("--save", "3600 1")
    brokers += [Broker(state=redis_server.url), Broker(state=redis_server.url)]
    assert ask(brokers[0], 5) == "cancel-accepted"
    assert redis_server.ask(b"SAVE") == b"+OK\r\n"
    assert ask(brokers[1], 6) == "cancel-accepted"
    redis_server.kill()
    assert redis_server.url in ask(brokers[0], 7)
    redis_server.start("--save", "3600 1")
    brokers.append(Broker(state=redis_server.url))  # starts, for only a running mock can be reset
    for broker in brokers:
        for nonce in (6, 7):
            assert "Redis was restarted and may have forgotten nonces" in ask(broker, nonce)
        with pytest.raises(StateUnavailable, match="restarted"):
            broker.open_session()
    brokers[1].reset()
    assert [ask(brokers[0], 6), ask(brokers[1], 6), ask(brokers[2], 7)] == [
        "cancel-accepted",
        "nonce-replayed",
        "cancel-accepted",
    ]


@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_a_restart_that_can_forget_nothing_goes_on(
    policy: Policy, redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start(*ALWAYS)
    brokers.append(Broker(state=redis_server.url, policy=policy))
    for nonce in range(1, 30):
        assert ask(brokers[0], nonce) == "cancel-accepted"
        if nonce % 10 == 0:
            redis_server.kill()
            redis_server.start(*ALWAYS)
            brokers.append(Broker(state=redis_server.url, policy=policy))
            assert {ask(broker, nonce) for broker in brokers} == {"nonce-replayed"}


def test_a_restart_that_forgets_nothing_now_but_may_have_before_is_refused(
    redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start("--appendonly", "yes", "--appendfsync", "everysec")
    brokers.append(Broker(state=redis_server.url))
    time.sleep(1.5)  # until the first things are on disk
    redis_server.kill()
    redis_server.start(*ALWAYS)
    assert "Redis was restarted" in ask(brokers[0], 1)


def test_data_wiped_under_a_running_mock_is_refused_until_a_reset(
    redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    assert ask(brokers[0], 5) == "cancel-accepted"
    redis_server.ask(b"FLUSHALL")
    assert "data was wiped while this mock ran" in ask(brokers[0], 5)
    brokers.append(Broker(state=redis_server.url))  # cannot know, and begins afresh
    assert ask(brokers[1], 4) == "cancel-accepted"
    assert "data was wiped while this mock ran" in ask(brokers[0], 5)
    brokers[0].state.shut()
    assert "data was wiped while this mock ran" in ask(brokers[0], 5)
    brokers[0].reset()
    assert [ask(brokers[1], 4), ask(brokers[0], 4)] == ["cancel-accepted", "nonce-replayed"]


def test_a_reset_after_a_wipe_leaves_no_other_mock_another_rule(
    redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    redis_server.ask(b"FLUSHALL")
    brokers[0].reset()
    with pytest.raises(UsageError, match="keep to --nonces monotonic"):
        Broker(state=redis_server.url, policy="unique")
    assert ask(brokers[0], 5) == "cancel-accepted"


@pytest.mark.parametrize("resets", [0, 1])
def test_a_mock_whose_data_got_another_rule_accepts_nothing(
    resets: int, redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    assert ask(brokers[0], 5) == "cancel-accepted"
    redis_server.ask(b"FLUSHALL")
    brokers.append(Broker(state=redis_server.url, policy="unique"))
    brokers[resets].reset()
    assert ask(brokers[1], 6) == "cancel-accepted"
    for nonce in (6, 7):
        assert "restart it with --nonces unique" in ask(brokers[0], nonce)
    with pytest.raises(StateUnavailable, match="judged by the rule unique"):
        brokers[0].open_session()
    assert brokers[0].handle(compose_v3(DEMO, "delTradeOrder", 1, {}).request).reply.status == 599
    assert create_app(brokers[0]).test_client().get("/__tn__/ready").status_code == 599
    assert [ask(brokers[1], 7), ask(brokers[1], 7)] == ["cancel-accepted", "nonce-replayed"]


def test_a_reset_by_a_mock_that_has_no_rule_yet_leaves_one_to_the_first(
    redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start("--save", "3600 1")
    brokers.append(Broker(state=redis_server.url))
    redis_server.ask(b"SAVE")
    redis_server.kill()
    redis_server.start("--save", "3600 1")
    brokers.append(Broker(state=redis_server.url, policy="unique"))  # not refused yet, for it cannot ask
    redis_server.ask(b"FLUSHALL")
    brokers[1].reset()
    assert ask(brokers[0], 5) == "cancel-accepted"
    assert "keep to --nonces monotonic" in ask(brokers[1], 5)


def test_data_that_went_back_does_not_make_a_mock_accept_its_own_nonces_again(
    redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    assert ask(brokers[0], 5) == "cancel-accepted"
    redis_server.ask(b"SAVE")
    assert ask(brokers[0], 2**53 + 3) == "cancel-accepted"
    redis_server.ask(b"DEBUG RELOAD NOSAVE")
    assert [ask(brokers[0], 2**53 + 2), ask(brokers[0], 2**53 + 3)] == ["nonce-stale", "nonce-replayed"]
    assert ask(brokers[0], 2**53 + 4) == "cancel-accepted"


def test_a_reset_removes_what_it_forgets(redis_server: RedisServer, brokers: list[Broker]) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url, policy="unique"))
    for number in range(2000):
        brokers[0].state.open(Credentials(f"key {number}", Secret("secret")))
    assert ask(brokers[0], 5) == "cancel-accepted"
    brokers[0].reset()
    assert redis_server.ask(b"DBSIZE") == b":3\r\n"  # the store, its keys, the demo pair


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (b"SET tn-contract somebody-elses", "somebody else's data has this prefix"),
        (b"HSET tn-contract some body", "somebody else's data has this prefix"),
        (b"HSET tn-contract version 9 birth b", "another version of this program"),
        (b"CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru", "set `maxmemory-policy noeviction`"),
        (b"CONFIG SET requirepass hidden", "Authentication required"),
    ],
)
def test_a_redis_that_cannot_be_used_is_refused(spoil: bytes, told: str, redis_server: RedisServer) -> None:
    redis_server.start()
    assert redis_server.ask(spoil)[:1] in (b"+", b":")
    before = redis_server.ask(b"KEYS *")
    with pytest.raises(UsageError, match=told):
        open_state(redis_server.url)
    assert redis_server.ask(b"KEYS *") == before


def test_a_password_is_used_and_not_shown(redis_server: RedisServer, brokers: list[Broker]) -> None:
    redis_server.start("--requirepass", "hidden")
    with pytest.raises(UsageError, match="invalid") as caught:
        open_state(redis_server.url.replace("://", "://:hiddenhere@"))
    assert "hiddenhere" not in str(caught.value)
    brokers.append(Broker(state=redis_server.url.replace("://", "://:hidden@")))
    assert ask(brokers[0], 5) == "cancel-accepted"
    assert "hidden" not in brokers[0].state.place


class Proxy:
    """Stands before a Redis and loses what it is told to."""

    def __init__(self, server: RedisServer) -> None:
        self.loses: Literal["nothing", "replies", "requests", "connections"] = "nothing"
        self.path = server.folder / "proxy"
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server.socket))
            threading.Thread(target=self._pump, args=(client, server, "requests"), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, "replies"), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, kind: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.loses == "connections" and kind == "replies":
                    break
                if self.loses != kind:
                    target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("loses", ["replies", "requests", "connections"])
def test_a_reply_of_redis_that_is_lost_is_no_acceptance_and_no_second_try(
    loses: Literal["replies", "requests", "connections"], redis_server: RedisServer, brokers: list[Broker]
) -> None:
    redis_server.start()
    proxy = Proxy(redis_server)
    brokers += [Broker(state=proxy.url), Broker(state=redis_server.url)]
    ledger = brokers[0].state.ledger(DEMO, "monotonic")
    assert ask(brokers[0], 1) == "cancel-accepted"
    proxy.loses = loses
    started = time.monotonic()
    with pytest.raises(StateUnavailable, match="Redis at unix://"):
        ledger.admit("2")
    assert "Redis at unix://" in ask(brokers[0], 3)
    assert time.monotonic() - started < 5
    proxy.loses = "nothing"
    time.sleep(REPLY_SECONDS)
    arrived = loses != "requests"
    assert brokers[1].state.ledger(DEMO, "monotonic").last == (2 if arrived else 1)
    assert ask(brokers[0], 2) == ("nonce-replayed" if arrived else "cancel-accepted")
    assert [ask(broker, 2) for broker in brokers] == ["nonce-replayed"] * 2
    assert ask(brokers[0], 3) == "cancel-accepted"
    proxy.close()


def test_a_redis_of_a_hundred_hours_is_answered_for_at_once(redis_server: RedisServer, brokers: list[Broker]) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    redis_server.ask(b"CLIENT PAUSE 60000")
    started = time.monotonic()
    for nonce in range(10):
        assert "Timeout" in ask(brokers[0], nonce)
    assert time.monotonic() - started < 3


def test_a_redis_that_takes_no_writes_any_more_is_not_ready(redis_server: RedisServer, brokers: list[Broker]) -> None:
    redis_server.start()
    brokers.append(Broker(state=redis_server.url))
    client = create_app(brokers[0]).test_client()
    assert client.get("/__tn__/ready").get_json() == {"ready": True, "sessions": 1}
    assert redis_server.ask(b"REPLICAOF 127.0.0.1 1") == b"+OK\r\n"
    reply = client.get("/__tn__/ready")
    assert (reply.status_code, reply.headers["X-Tn-Mock"]) == (599, "harness-error")
    assert "read only replica" in reply.get_json()["reason"]
    assert redis_server.ask(b"REPLICAOF NO ONE") == b"+OK\r\n"
    assert client.get("/__tn__/ready").status_code == 200


def test_mocks_on_one_redis_share_keys_at_once(nursery: Nursery, redis_url: str, tmp_path: Path) -> None:
    state = f"{redis_url}?prefix={tmp_path.name}-{os.getpid()}"
    first, second = (nursery.start(state=state) for _ in range(2))
    opened = first.control("POST", "sessions")
    pair = Credentials(opened["api_key"], Secret(opened["api_secret"]))
    assert second.cancel(2**63 - 1, pair=pair) == ["accepted"]
    assert first.cancel(2**63 - 1, 2**63 - 2, pair=pair) == ["refused"] * 2
    assert first.control("GET", f"sessions/{pair.api_key}")["last_nonce"] == str(2**63 - 1)
    assert first.control("DELETE", f"sessions/{pair.api_key}") == {"closed": pair.api_key}
    assert second.cancel(2**63 - 1, pair=pair) == ["refused"]
    assert "no session has the key" in second.control("GET", f"sessions/{pair.api_key}")["reason"]
    unmatched = second.control("GET", "unmatched")["exchanges"]
    assert [exchange["assessment"]["situation"] for exchange in unmatched] == ["key-unknown"]
    assert second.control("GET", "health")["state"] == "redis"
