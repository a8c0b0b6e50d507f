"""Sends one request once, and says in which phase it failed. The only room that knows httpx.

No retries, no redirects followed, no cookies kept, TLS verified (against SSL_CERT_FILE or SSL_CERT_DIR where set). The
system's proxy settings count, except for addresses of this machine.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tn_contract import __version__
from tn_contract.errors import TnContractError, UsageError
from tn_contract.wire import Headers, Reply, Request

Phase = Literal["connect", "send", "receive"]

# A reply to a cancel has some hundred bytes: whoever sends a megabyte is not the API.
REPLY_LIMIT = 1024 * 1024
USER_AGENT = f"tn-contract/{__version__}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to send, between two parts of the reply, and in all until the reply is there."""

    connect: float = 5.0
    send: float = 5.0
    receive: float = 10.0
    total: float = 30.0


class TransportFailure(TnContractError):
    """No complete reply. `phase` is "connect" when the request cannot have left this machine."""

    def __init__(self, phase: Phase, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.phase = phase
        self.kind = kind


class Unsendable(TransportFailure):
    """The request cannot be written down as one."""


def is_loopback(base_url: str) -> bool:
    """Say if the address is this machine's own, by name or number; names are not looked up."""
    try:
        host = (urlsplit(base_url).hostname or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_base_url(base_url: str) -> str:
    """Return the address without trailing slash. Raises `UsageError` when it is no plain http(s) address."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{base_url!r} is no address of a server: write it like https://host or http://127.0.0.1:8080")
    if parts.query or parts.fragment or "@" in parts.netloc or parts.path.strip("/"):
        raise UsageError(f"{base_url!r} must end after host and port: the kit adds the documented path itself")
    return f"{parts.scheme}://{parts.netloc}"


def _failure(error: httpx.HTTPError | httpx.InvalidURL | ValueError) -> TransportFailure:
    detail = str(error)
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.UnsupportedProtocol():
            return TransportFailure("connect", type(error).__name__, detail)
        case httpx.ProxyError():
            return TransportFailure("connect", type(error).__name__, detail)
        case httpx.WriteError() | httpx.WriteTimeout():
            return TransportFailure("send", type(error).__name__, detail)
        case _:
            return TransportFailure("receive", type(error).__name__, detail)


class _Reader:
    """Collects a reply's body within its limits; the time begins before its request is sent."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._deadline = time.monotonic() + timeouts.total
        self._body = bytearray()

    def feed(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > REPLY_LIMIT:
            raise TransportFailure("receive", "too-large", f"the reply passed {REPLY_LIMIT} bytes")
        if time.monotonic() > self._deadline:
            raise TransportFailure("receive", "too-slow", "the reply was not complete in time")

    def reply(self, response: httpx.Response) -> Reply:
        headers: Headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
        )
        return Reply(response.status_code, headers, bytes(self._body))


class _Transport:
    def __init__(self, base_url: str, timeouts: Timeouts | None = None) -> None:
        self.base_url = check_base_url(base_url)
        self.timeouts = timeouts or Timeouts()

    @property
    def _timeout(self) -> httpx.Timeout:
        limits = self.timeouts
        return httpx.Timeout(connect=limits.connect, write=limits.send, read=limits.receive, pool=limits.connect)

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "headers": {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"},
            "cookies": _no_cookies(),
            "timeout": self._timeout,
            # httpx means both by this: proxies and the variables of trust. The latter count everywhere.
            "trust_env": not is_loopback(self.base_url),
            "verify": _trusted(),
        }

    def _build(self, client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
        url = f"{self.base_url}{request.path}" + (f"?{request.query}" if request.query else "")
        try:
            if request.path[:1] != "/":  # it would be part of the host
                raise ValueError(f"{request.path!r} is no path")
            return client.build_request(
                request.method, _read_url(url), headers=list(request.headers), content=request.body
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise Unsendable("connect", type(error).__name__, str(error)) from error


@lru_cache(maxsize=64)
def _read_url(url: str) -> httpx.URL:
    """Read an address. Commands are few, and this would be a tenth of what a call costs."""
    return httpx.URL(url)


def _trusted() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise UsageError(
            f"the certificates to trust cannot be read ({error.strerror or error}): "
            "let SSL_CERT_FILE name a PEM file, or unset it"
        ) from error


def _no_cookies() -> CookieJar:
    # A session cookie would outrank the key on the real server and might cancel under another identity.
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # Not only HTTPError: httpx reads the Location of a redirect even when it shall not follow it.
        raise _failure(error) from error


class Transport(_Transport):
    """A connection pool to one server."""

    def __init__(self, base_url: str, timeouts: Timeouts | None = None) -> None:
        """`base_url` ends after host and port. Raises `UsageError` when it does not."""
        super().__init__(base_url, timeouts)
        self._client = httpx.Client(**self._options)

    def send(self, request: Request) -> Reply:
        """Send once. Raises `TransportFailure`."""
        built = self._build(self._client, request)
        reader = _Reader(self.timeouts)
        with _translated(), closing(self._client.send(built, stream=True)) as response:
            for part in response.iter_bytes():
                reader.feed(part)
            return reader.reply(response)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncTransport(_Transport):
    """The same for asyncio."""

    def __init__(self, base_url: str, timeouts: Timeouts | None = None) -> None:
        """`base_url` ends after host and port. Raises `UsageError` when it does not."""
        super().__init__(base_url, timeouts)
        self._client = httpx.AsyncClient(**self._options)

    async def send(self, request: Request) -> Reply:
        """Send once. Raises `TransportFailure`."""
        built = self._build(self._client, request)
        reader = _Reader(self.timeouts)
        with _translated():
            response = await self._client.send(built, stream=True)
            try:
                async for part in response.aiter_bytes():
                    reader.feed(part)
                return reader.reply(response)
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
