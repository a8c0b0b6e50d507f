"""Key pairs, nonces and orders in Redis, for any number of mocks on any number of machines.

Every step is one script and one round trip. A reply that does not come within a second is `StateUnavailable`, and
nothing is asked twice: the nonce is then used up or free, but never accepted twice.

A Redis that goes back to an older snapshot has forgotten nonces. The name of its process (`run_id`) is therefore kept
beside the data and looked at by every new connection: another name means a restart, and everything is refused until
`clear`, unless each write was on disk before it was answered (`appendonly yes` and `appendfsync always`). A mock also
notices that the data was wiped while it ran. What nobody can know: whether a Redis without data, met by a mock that has
just started, once had some; and whether data went back while the same process ran (`DEBUG RELOAD`). Even then a mock
does not accept again what it itself accepted, by the rule `monotonic`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mock_server import state
from mock_server.state import Patience, full, other_rule
from tn_contract.contract.errors import StateUnavailable, UsageError
from tn_contract.contract.nonce import Judgement, Ledger, Policy, Refusal
from tn_contract.contract.redislink import REPLY_SECONDS, Link
from tn_contract.contract.signing import Credentials, Secret

if TYPE_CHECKING:
    import redis

VERSION = "2"

# The hash named by the prefix: version, birth (names one life of the data, and begins the names of everything in it),
# reset (this life began by `clear`), run_id, durable, policy, opened (counts pairs).
_ATTACH = """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'hash' and kind ~= 'none' then return {'foreign', ''} end
local kept = redis.call('HMGET', KEYS[1], 'version', 'birth', 'reset', 'run_id', 'durable')
local birth, run_id, durable, fresh, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not kept[1] then
    if kind == 'hash' then return {'foreign', ''} end
    if birth ~= '' then return {'wiped', ''} end
    redis.call('HSET', KEYS[1], 'version', version, 'birth', fresh, 'reset', '0', 'run_id', run_id, 'durable', durable)
    return {'', fresh}
end
if kept[1] ~= version then return {'version', kept[1]} end
if birth ~= '' and kept[2] ~= birth and kept[3] ~= '1' then return {'wiped', ''} end
if kept[4] ~= run_id and not (kept[5] == '1' and durable == '1') then return {'restarted', ''} end
if kept[4] ~= run_id or kept[5] ~= durable then
    redis.call('HSET', KEYS[1], 'run_id', run_id, 'durable', durable)
end
return {'', kept[2]}
"""

_CLEAR = """
local kept = redis.call('HMGET', KEYS[1], 'birth', 'policy')
local home = KEYS[1] .. ':' .. ARGV[1]
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[4], 'birth', ARGV[1], 'reset', '1', 'run_id', ARGV[2], 'durable', ARGV[3])
local policy = kept[2] or ARGV[5]
if policy ~= '' then redis.call('HSET', KEYS[1], 'policy', policy) end
for index = 6, #ARGV, 2 do
    redis.call('HSET', home .. ':pair:' .. ARGV[index], 'secret', ARGV[index + 1], 'id', ARGV[1] .. index)
    redis.call('ZADD', home .. ':keys', index - #ARGV, ARGV[index])
end
return kept[1] or ''
"""

# What the others begin with. ARGV[1] is the life of the data that this mock knows, ARGV[2] its rule.
_HOME = """
local kept = redis.call('HMGET', KEYS[1], 'birth', 'reset', 'policy')
if not kept[1] or (kept[1] ~= ARGV[1] and kept[2] ~= '1') then
    return redis.error_reply('WIPED the data was wiped while this mock ran, so nonces are forgotten: '
        .. 'POST /__tn__/reset starts afresh')
end
if ARGV[2] ~= '' and kept[3] ~= ARGV[2] then
    if kept[3] then
        return redis.error_reply('RULE nonces are judged by the rule ' .. kept[3] .. ' here by now, this mock has '
            .. ARGV[2] .. ': restart it with --nonces ' .. kept[3] .. ', or keep its state elsewhere')
    end
    redis.call('HSET', KEYS[1], 'policy', ARGV[2])
end
local home, key = KEYS[1] .. ':' .. kept[1], ARGV[3]
local pair, seen, orders = home .. ':pair:' .. key, home .. ':seen:' .. key, home .. ':orders:' .. key
local names = home .. ':names'
local function forget(name)
    if redis.call('HINCRBY', names, name, -1) == 0 then redis.call('HDEL', names, name) end
end
"""

_OPEN = f"""{_HOME}
if redis.call('EXISTS', pair) == 1 then return 0 end
if redis.call('ZCARD', home .. ':keys') >= tonumber(ARGV[5]) then return -1 end
local count = redis.call('HINCRBY', KEYS[1], 'opened', 1)
redis.call('HSET', pair, 'secret', ARGV[4], 'id', kept[1] .. ':' .. count)
redis.call('ZADD', home .. ':keys', count, key)
return 1
"""

_SECRET = f"{_HOME} return redis.call('HGET', pair, 'secret')"
_LAST = f"{_HOME} return redis.call('HMGET', pair, 'secret', 'last')"
_KEYS = f"{_HOME} return redis.call('ZRANGE', home .. ':keys', 0, -1)"
_PAIRS = f"""{_HOME}
local found = {{}}
for _, each in ipairs(redis.call('ZREVRANGE', home .. ':keys', 0, ARGV[4] - 1)) do
    table.insert(found, {{each, redis.call('HGET', home .. ':pair:' .. each, 'secret')}})
end
return found
"""
_COUNT = f"{_HOME} return redis.call('ZCARD', home .. ':keys')"
_RULE = f"{_HOME} redis.call('HSETNX', KEYS[1], 'policy', ARGV[3]) return redis.call('HGET', KEYS[1], 'policy')"
_PROBE = f"{_HOME} return redis.call('HSETNX', KEYS[1], 'version', '{VERSION}')"
_CLOSE = f"""{_HOME}
redis.call('ZREM', home .. ':keys', key)
for _, name in ipairs(redis.call('HKEYS', orders)) do forget(name) end
redis.call('UNLINK', seen, orders)
return redis.call('UNLINK', pair)
"""

# Decimal texts are compared by length and then in two parts: a Lua number is exact to 2^53 only, and < on texts asks
# the locale. ARGV[6] and ARGV[7]: the highest nonce that this mock itself accepted, and the pair's id it was for.
_ADMIT = f"""{_HOME}
local nonce, unique = ARGV[5], ARGV[2] == 'unique'
local function above(a, b)
    if #a ~= #b then return #a > #b end
    local x, y = tonumber(string.sub(a, 1, 10)), tonumber(string.sub(b, 1, 10))
    if x ~= y then return x > y end
    return tonumber('0' .. string.sub(a, 11)) > tonumber('0' .. string.sub(b, 11))
end
local known = redis.call('HMGET', pair, 'secret', 'id', 'last')
if known[1] ~= ARGV[4] then return {{'key-unknown', '', ''}} end
local last = known[3] or ''
if unique then
    if redis.call('SADD', seen, nonce) == 0 then return {{'nonce-replayed', last, known[2]}} end
else
    if known[2] == ARGV[7] and above(ARGV[6], last) then last = ARGV[6] end
    if nonce == last then return {{'nonce-replayed', last, known[2]}} end
    if not above(nonce, last) then return {{'nonce-stale', last, known[2]}} end
end
redis.call('HSET', pair, 'last', nonce)
return {{'', '', known[2]}}
"""

# A document is its number, in twelve digits, and its text: a hash has no order. `names` counts who has one of a name.
_DOCUMENTS = f"{_HOME} return redis.call('HGETALL', orders)"
_DOCUMENT = f"{_HOME} return redis.call('HGET', orders, ARGV[4])"
_INSERT = f"""{_HOME}
if redis.call('EXISTS', pair) == 0 or redis.call('HEXISTS', orders, ARGV[4]) == 1 then return 0 end
local number = redis.call('HINCRBY', pair, 'documents', 1)
redis.call('HSET', orders, ARGV[4], string.format('%012d', number) .. ARGV[5])
redis.call('HINCRBY', names, ARGV[4], 1)
return 1
"""
_REPLACE = f"""{_HOME}
local complete = 1
for index = 4, #ARGV, 3 do
    local now = redis.call('HGET', orders, ARGV[index])
    if now and string.sub(now, 13) == ARGV[index + 1] then
        redis.call('HSET', orders, ARGV[index], string.sub(now, 1, 12) .. ARGV[index + 2])
    else
        complete = 0
    end
end
return complete
"""
_REMOVE = f"""{_HOME}
local now = redis.call('HGET', orders, ARGV[4])
if not now or string.sub(now, 13) ~= ARGV[5] then return 0 end
forget(ARGV[4])
return redis.call('HDEL', orders, ARGV[4])
"""
_ELSEWHERE = f"""{_HOME}
return tonumber(redis.call('HGET', names, ARGV[4]) or '0') - redis.call('HEXISTS', orders, ARGV[4])
"""

_RESET = "POST /__tn__/reset starts afresh"
_REFUSALS = {
    "wiped": f"its data was wiped while this mock ran, so nonces are forgotten: {_RESET}",
    "restarted": f"Redis was restarted and may have forgotten nonces: {_RESET}; "
    "with `appendonly yes` and `appendfsync always` it forgets none",
    "evicting": "it evicts data when its memory is full, and with it nonces: set `maxmemory-policy noeviction`",
    "foreign": "somebody else's data has this prefix: choose another, ?prefix=NAME",
    "version": "another version of this program has this prefix: choose another, ?prefix=NAME",
}


def _stored(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


class _Store:
    """Runs scripts on data of which it is known that it forgets no nonce."""

    def __init__(self, url: str) -> None:
        self._birth = ""
        self.policy: Policy | None = None  # looked at by every script, for data that was wiped may get another
        self._refusal = ""
        self._life = ("", 0)  # the Redis process last connected to, and whether it forgets nothing when it ends
        self._patience = Patience()
        self._link = Link(url, StateUnavailable, self._attach)
        self._unchecked = Link(url, StateUnavailable)
        self.place = self._link.place
        try:
            self._link.call(lambda client: client.ping())
        except StateUnavailable as error:
            if self._refusal != "restarted":  # which a reset mends
                raise UsageError(str(error)) from error

    def _attach(self, connection: redis.connection.AbstractConnection) -> None:
        """Look whose process this is and whose data, each time that a connection is made."""

        def ask(*command: str | int) -> Any:
            connection.send_command(*command)  # type: ignore[no-untyped-call]
            return connection.read_response()

        lines = ask("INFO").decode("utf-8", "replace").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        durable = facts.get("aof_enabled") == "1"
        if durable:
            try:
                durable = ask("CONFIG", "GET", "appendfsync")[1:] == [b"always"]
            except self._link.denied:
                durable = False  # not ours to know: then it is not taken for granted
        self._life = (facts.get("run_id", ""), int(durable))
        evicting = facts.get("maxmemory", "0") != "0" and facts.get("maxmemory_policy", "").startswith("allkeys")
        told = [b"evicting", b""]
        if not evicting:
            told = ask("EVAL", _ATTACH, 1, self._link.prefix, self._birth, *self._life, secrets.token_hex(8), VERSION)
        self._refusal = told[0].decode()
        if self._refusal:
            raise self._link.refuse(_REFUSALS[self._refusal])
        self._birth = told[1].decode()

    def run(self, script: str, *arguments: bytes | str) -> Any:
        """Run a script, after `_HOME`."""
        self._patience.ask()
        try:
            return self._link.run(script, self._birth, self.policy or "", *arguments)
        except StateUnavailable as error:
            if isinstance(error.__cause__, self._link.late):
                self._patience.lose(REPLY_SECONDS, str(error))
            raise

    def clear(self, *pairs: Credentials) -> None:
        """Begin another life of the data, whatever became of the last one, and remove what is left of that."""
        self._link.close()
        with suppress(StateUnavailable):  # connecting tells which process this is, even where it refuses
            self._link.call(lambda client: client.ping())
        birth = secrets.token_hex(8)
        texts = [_stored(text) for pair in pairs for text in (pair.api_key, pair.secret.reveal())]
        old = self._unchecked.run(_CLEAR, birth, *self._life, VERSION, self.policy or "", *texts).decode()
        self._birth = birth
        if old:
            with suppress(StateUnavailable):  # nothing refers to it any more
                self._unchecked.call(lambda client: self._remove(client, old))

    def _remove(self, client: redis.Redis, birth: str) -> None:
        names: list[bytes] = []
        for name in client.scan_iter(f"{self._link.prefix}:{birth}:*", 1000):
            names.append(name)
            if len(names) == 1000:
                client.unlink(*names)
                names.clear()
        if names:
            client.unlink(*names)

    def shut(self) -> None:
        """Close the connections; the next use opens others."""
        self._link.close()
        self._unchecked.close()


class RedisDocuments:
    """Orders in a hash."""

    def __init__(self, store: _Store, key: bytes) -> None:
        self._store, self._key = store, key

    def all(self) -> dict[str, bytes]:
        """Return every document, the oldest first."""
        flat = self._store.run(_DOCUMENTS, self._key)
        numbered = sorted(zip(flat[1::2], flat[::2], strict=True))
        return {name.decode("utf-8", "surrogatepass"): text[12:] for text, name in numbered}

    def get(self, name: str) -> bytes | None:
        """Return one document, None when there is none of that name."""
        text: bytes | None = self._store.run(_DOCUMENT, self._key, _stored(name))
        return None if text is None else text[12:]

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace a document if it still is `old`."""
        if old is None:
            return bool(self._store.run(_INSERT, self._key, _stored(name), new))
        return self.swap_all({name: (old, new)})

    def swap_all(self, changes: Mapping[str, tuple[bytes, bytes]]) -> bool:
        """Swap each document that still is its old text, in one script."""
        flat = [text for name, (old, new) in changes.items() for text in (_stored(name), old, new)]
        return bool(self._store.run(_REPLACE, self._key, *flat))

    def remove(self, name: str, old: bytes) -> bool:
        """Remove a document if it still is `old`."""
        return bool(self._store.run(_REMOVE, self._key, _stored(name), old))

    def elsewhere(self, name: str) -> bool:
        """Say if another key has a document of that name."""
        return bool(self._store.run(_ELSEWHERE, self._key, _stored(name)))


class RedisLedger(Ledger):
    """One key's nonces: the last one beside the secret, and with the rule `unique` each one in a set."""

    def __init__(self, store: _Store, pair: Credentials, policy: Policy) -> None:
        self.policy = policy
        self._store = store
        self._pair = _stored(pair.api_key), _stored(pair.secret.reveal())
        self._highest, self._highest_of = 0, b""
        self._lock = threading.Lock()

    @property
    def last(self) -> int | None:
        """The last nonce accepted."""
        secret, last = self._store.run(_LAST, self._pair[0])
        return int(last) if last and secret == self._pair[1] else None

    def known(self) -> bool:
        """Say if the pair is not closed."""
        return bool(self._store.run(_LAST, self._pair[0])[0] == self._pair[1])

    def advance(self, nonce: int) -> Judgement:
        """Judge and remember a nonce in one script."""
        with self._lock:
            own = str(self._highest), self._highest_of
        refusal, last, opened = self._store.run(_ADMIT, *self._pair, str(nonce), *own)
        if refusal:
            return _refusal(refusal), int(last) if last else None
        with self._lock:
            if opened != self._highest_of or nonce > self._highest:
                self._highest, self._highest_of = nonce, opened
        return None, None


def _refusal(name: bytes) -> Refusal:
    refusal: Refusal = name.decode()  # type: ignore[assignment] # the script knows no other names
    return refusal


class RedisState:
    """Key pairs under a prefix; see `Link` for what the address may hold.

    Raises `UsageError` when this Redis cannot be reached, or not be used.
    """

    engine = "redis"

    def __init__(self, url: str) -> None:
        self._store = _Store(url)
        self.place = self._store.place

    def open(self, pair: Credentials) -> bool:
        """Add a key pair; False when the key exists already."""
        opened = self._store.run(_OPEN, _stored(pair.api_key), _stored(pair.secret.reveal()), str(state.PAIRS_MOST))
        if opened < 0:
            raise full()
        return bool(opened)

    def secret(self, api_key: str) -> Secret | None:
        """Return a key's secret, None when there is no such key."""
        secret = self._store.run(_SECRET, _stored(api_key))
        return None if secret is None else Secret(_read(secret))

    def close(self, api_key: str) -> bool:
        """Forget a key; False when there was none."""
        return bool(self._store.run(_CLOSE, _stored(api_key)))

    def keys(self) -> list[str]:
        """Return every key, the oldest first."""
        return [_read(key) for key in self._store.run(_KEYS, "")]

    def pairs(self, most: int) -> list[Credentials]:
        """Return the key pairs opened last."""
        told = self._store.run(_PAIRS, "", str(most))
        return [Credentials(_read(key), Secret(_read(secret))) for key, secret in told]

    def count(self) -> int:
        """Return how many keys there are."""
        return int(self._store.run(_COUNT, ""))

    def probe(self) -> None:
        """Ask for a write of what stands there already."""
        self._store.run(_PROBE, "")

    def ledger(self, pair: Credentials, policy: Policy) -> RedisLedger:
        """Return what watches over a pair's nonces. Raises `UsageError` for another rule than the data's."""
        if policy != self._store.policy:
            kept = self._store.run(_RULE, policy).decode()
            if kept != policy:
                raise other_rule(self.place, kept, policy)
            self._store.policy = policy
        return RedisLedger(self._store, pair, policy)

    def orders(self, api_key: str) -> RedisDocuments:
        """Return a key's orders."""
        return RedisDocuments(self._store, _stored(api_key))

    def clear(self, *pairs: Credentials) -> None:
        """Forget everything, and have `pairs` alone from then on."""
        self._store.clear(*pairs)

    def shut(self) -> None:
        """Close the connections; the next use opens others."""
        self._store.shut()
