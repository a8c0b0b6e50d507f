"""A key's nonces in Redis, for clients on several machines that share the key."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import Any

from tn_contract.contract.errors import NonceUnavailable, UsageError
from tn_contract.contract.redislink import REPLY_SECONDS, Link

# A client's limits together are 50 s; a lease outlives them, so that nobody comes between a request and its reply.
LEASE_SECONDS = 55.0

_NAMES = "local lock, last, wake = KEYS[1] .. ':lock:' .. ARGV[1], KEYS[1] .. ':last:' .. ARGV[1], "
_NAMES += "KEYS[1] .. ':wake:' .. ARGV[1]\n"
_ACQUIRE = f"""{_NAMES}
if redis.call('SET', lock, ARGV[2], 'NX', 'PX', ARGV[3]) then return {{1, redis.call('GET', last)}} end
return {{0, redis.call('PTTL', lock)}}
"""
_SAVE = f"""{_NAMES}
if redis.call('GET', lock) ~= ARGV[2] then return 0 end
redis.call('SET', last, ARGV[3])
redis.call('PEXPIRE', lock, ARGV[4])
return 1
"""
# One waiter at most is woken for each release; the note expires, for there may be none.
_RELEASE = f"""{_NAMES}
if redis.call('GET', lock) ~= ARGV[2] then return 0 end
redis.call('DEL', lock, wake)
redis.call('RPUSH', wake, 1)
redis.call('PEXPIRE', wake, 1000)
return 1
"""


class RedisNonces:
    """A store for `NonceSource(store=…)`: the last nonce of the key `name`, and a lease held by one source at a time.

    `url` is that of `redislink.Link`. A holder that dies keeps the others waiting until its lease ends;
    `lease` must be longer than a request with its reply may take. What a Redis forgets when it is restarted costs at
    worst a refused nonce, for the clock has gone on. Raises `UsageError` where redis-py is not installed.
    """

    def __init__(self, url: str, name: str, *, lease: float = LEASE_SECONDS) -> None:
        if not name or lease < 1:
            raise UsageError("nonces in Redis need the name of the key, and a lease of a second or more")
        self._name = name.encode("utf-8", "surrogatepass")
        self._lease = int(lease * 1000)
        self._link = Link(url, NonceUnavailable, reply_seconds=REPLY_SECONDS + 1)
        self._token = ""

    def _run(self, script: str, *arguments: str | int) -> Any:
        return self._link.run(script, self._name, *arguments)

    def acquire(self, wait: float) -> int | None:
        """Take the lease and return the last nonce. Raises `NonceUnavailable` after `wait` seconds."""
        until = time.monotonic() + wait
        token = secrets.token_hex(16)
        while True:
            try:
                taken, answer = self._run(_ACQUIRE, token, self._lease)
            except NonceUnavailable:
                self._give_back(token)  # it may have been taken although the answer was lost
                raise
            if taken:
                self._token = token
                return None if answer is None else int(answer)
            left = until - time.monotonic()
            if left <= 0:
                raise NonceUnavailable(
                    f"the nonces at {self._link.place} were held by another client for more than {wait:g} s: "
                    "wait for its request to end, or for its lease"
                )
            self._sleep(min(left, answer / 1000, REPLY_SECONDS))

    def _sleep(self, seconds: float) -> None:
        """Wait for a release, or for some time to pass."""
        wake = self._link.prefix.encode() + b":wake:" + self._name
        self._link.call(lambda client: client.blpop([wake], timeout=max(seconds, 0.01)))

    def save(self, nonce: int) -> None:
        """Keep the nonce and begin the lease anew, unless it has ended. Raises `NonceUnavailable`."""
        if not self._run(_SAVE, self._token, str(nonce), self._lease):
            raise NonceUnavailable(
                f"the lease on the nonces at {self._link.place} ended before the request was sent: try again"
            )

    def release(self) -> None:
        """Give the lease back, if it is still this one; otherwise it has ended by itself."""
        self._give_back(self._token)

    def _give_back(self, token: str) -> None:
        with suppress(NonceUnavailable):  # it ends by itself
            self._run(_RELEASE, token)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
