"""The only room that knows redis-py: one script, one round trip, and never a second try.

A command whose reply was lost may have been carried out. So nothing is sent twice, waiting is short, and whatever goes
wrong is one exception that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tn_contract.contract.errors import TnContractError, UsageError
from tn_contract.contract.text import escape

if TYPE_CHECKING:
    import redis

CONNECT_SECONDS = 1.0
REPLY_SECONDS = 1.0

_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_YES_OR_NO = {"true": True, "false": False}
# What the query of an address may hold for TLS, and which values: () for the name of a file.
_TLS_OPTIONS: dict[str, tuple[str, ...]] = {
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": tuple(_YES_OR_NO),
}


class Link:
    """Connections to the Redis of `url`; `failure` is what is raised when it does not answer, or answers no.

    `url` is redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], the same with rediss:// for TLS, or
    unix://[…@]/PATH; in its query, `prefix` begins the name of everything that is kept there (default: tn-contract),
    and the options of `_TLS_OPTIONS` are for rediss://. `place` is the address without user and password. `attach` is
    called with each new connection before it is used, and may refuse it by `refuse`.
    """

    def __init__(
        self,
        url: str,
        failure: type[TnContractError],
        attach: Callable[[redis.connection.AbstractConnection], None] | None = None,
        *,
        reply_seconds: float = REPLY_SECONDS,
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise UsageError("state in Redis needs redis-py: pip install 'tn-contract[redis]'") from error
        options, self.place, self.prefix = _read(url)
        self._failure = failure
        self._attach = attach
        self._errors = redis.RedisError
        self.denied = redis.ResponseError
        self.late = redis.TimeoutError
        secured = options.pop("secured", False)
        kind: Any = redis.SSLConnection if secured else redis.Connection
        if "path" in options:
            kind = redis.UnixDomainSocketConnection
        self._pool = redis.ConnectionPool(
            connection_class=kind,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=reply_seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            redis_connect_func=self._connected,
            **options,
        )
        self._client = redis.Redis(connection_pool=self._pool)
        self._scripts: dict[str, Any] = {}

    def _connected(self, connection: redis.connection.AbstractConnection) -> None:
        connection.on_connect()  # type: ignore[no-untyped-call]
        if self._attach:
            self._attach(connection)

    def refuse(self, reason: str) -> Exception:
        """Return what `attach` raises so that a connection is not used."""
        return self._errors(reason)

    def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """Run a script on the prefix as its one key. It is sent again only where Redis says that it has no such one."""
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = self._client.register_script(script)
        return self.call(lambda _client: known(keys=[self.prefix], args=arguments))

    def call(self, command: Callable[[redis.Redis], Any]) -> Any:
        """Do something with the client."""
        try:
            return command(self._client)
        except (self._errors, OSError) as error:
            raise self._failure(f"Redis at {self.place}: {error}") from error

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._pool.disconnect()


def _read(url: str) -> tuple[dict[str, Any], str, str]:
    """Take an address apart. No message shows it, for it may hold a password."""
    wanted = "write redis://HOST:PORT/DATABASE?prefix=NAME"
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError as error:
        raise UsageError(f"this is no address of a Redis: {wanted}") from error
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise UsageError(f"an option stands twice in the address of a Redis: {wanted}")
    prefix = query.pop("prefix", "tn-contract")
    if not _PREFIX.fullmatch(prefix):
        raise UsageError("a prefix is 1 to 64 letters, digits, dots, hyphens and underscores")
    database = query.pop("db", "") if parts.scheme == "unix" else parts.path.strip("/")
    if not re.fullmatch("[0-9]{0,9}", database) or parts.fragment or (parts.scheme == "unix" and parts.hostname):
        raise UsageError(f"the database is not understood in the address of a Redis: {wanted}")
    options: dict[str, Any] = {"db": int(database or 0), **_tls_options(query, parts.scheme)}
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme == "unix":
        options["path"] = unquote(parts.path)
        return options, f"unix://{parts.path}?db={options['db']}&prefix={prefix}", prefix
    options |= {"host": parts.hostname or "localhost", "port": port}
    if parts.scheme == "rediss":
        options["secured"] = True
    host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
    return options, f"{parts.scheme}://{host}:{port}/{options['db']}?prefix={prefix}", prefix


def _tls_options(query: dict[str, str], scheme: str) -> dict[str, Any]:
    """Check what is left of an address' query. No message shows a value, for it may be a password."""
    allowed = ("prefix", *(["db"] if scheme == "unix" else []), *(_TLS_OPTIONS if scheme == "rediss" else []))
    options: dict[str, Any] = {}
    for name, value in query.items():
        if name not in allowed:
            if name in _TLS_OPTIONS:
                raise UsageError(f"the option {name} of the state is for TLS: write rediss:// instead of {scheme}://")
            near = get_close_matches(name, allowed, 1, 0.5)
            advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(allowed)}"
            raise UsageError(f"no option {escape(name[:60])!r} in the address of a Redis: {advice}")
        choices = _TLS_OPTIONS[name]
        if not value or (choices and value not in choices):
            raise UsageError(f"the option {name} of a Redis: choose {' or '.join(choices) or 'the name of a file'}")
        options[name] = _YES_OR_NO.get(value, value) if choices else value
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False  # a name is only checked in a certificate that is
    return options
