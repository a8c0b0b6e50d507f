"""Sends one request once, and says in which phase it failed. The only room that knows httpx.

No retries, no redirects followed, no cookies kept, TLS verified (against SSL_CERT_FILE or SSL_CERT_DIR where set). The
system's proxy settings count, except for addresses of this machine. It connects to the host that `address` judged, and
to no other: names of this machine are not looked up, its loopback addresses are tried one after the other.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from urllib.request import getproxies

import httpx

from tn_contract import __version__
from tn_contract.contract.address import Address, classify, parse_address
from tn_contract.contract.errors import TnContractError, UsageError
from tn_contract.contract.wire import Headers, Reply, Request

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
        self.address: Address = parse_address(base_url)
        self.base_url = self.address.base_url
        self.timeouts = timeouts or Timeouts()
        if self.address.target_class == "sandbox":
            _refuse_live_proxies()
        self._routes = self.address.routes
        for route, host in zip(self._routes, self.address.connects_to, strict=True):
            if not _leads_to(route, host):
                raise UsageError(f"{base_url!r} is not the address of a server: its name cannot exist")

    @property
    def _direct(self) -> bool:
        """Whether the address itself is connected to, and not what its name stands for."""
        return self.address.connects_to == (self.address.host,)

    @property
    def _timeout(self) -> httpx.Timeout:
        limits = self.timeouts
        return httpx.Timeout(connect=limits.connect, write=limits.send, read=limits.receive, pool=limits.connect)

    @property
    def _options(self) -> dict[str, Any]:
        here = self.address.target_class == "loopback"
        return {
            "headers": {
                **({} if self._direct else {"Host": self.address.authority}),
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            "cookies": _no_cookies(),
            "timeout": self._timeout,
            # httpx means both by this: proxies and the variables of trust. The latter count everywhere.
            "trust_env": not here,
            # To read the certificates takes 20 ms: most of what a client costs that never needs them.
            "verify": _trusted() if self.address.scheme == "https" or not here else False,
        }

    def _build(self, client: httpx.Client | httpx.AsyncClient, request: Request, route: str) -> httpx.Request:
        url = f"{route}{request.path}" + (f"?{request.query}" if request.query else "")
        try:
            if request.path[:1] != "/":  # it would be part of the host
                raise ValueError(f"{request.path!r} is no path")
            return client.build_request(
                request.method,
                _read_url(url),
                headers=list(request.headers),
                content=request.body,
                # The name that its certificate must have.
                extensions=None if self._direct else {"sni_hostname": self.address.host},
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise Unsendable("connect", type(error).__name__, str(error)) from error


@lru_cache(maxsize=64)
def _read_url(url: str) -> httpx.URL:
    """Read an address. Commands are few, and this would be a tenth of what a call costs."""
    return httpx.URL(url)


def _refuse_live_proxies() -> None:
    """Raise `UsageError` when a proxy of the environment is a live host: what is for a sandbox would be sent there."""
    for scheme, proxy in getproxies().items():
        try:
            host = httpx.URL(proxy if "://" in proxy else f"http://{proxy}").raw_host.decode()
        except (httpx.InvalidURL, ValueError):
            continue  # httpx says so when it is used
        if scheme != "no" and classify(host.lower()) == "live":
            raise UsageError(
                f"the proxy for {scheme} is {host}, which is known to be live: unset {scheme.upper()}_PROXY"
            )


def _leads_to(url: str, host: str) -> bool:
    """Whether httpx reads the same host, and can write it into a request."""
    try:
        parsed = httpx.URL(url)
        return parsed.raw_host == host.encode() and bool(parsed.host)
    except (httpx.InvalidURL, ValueError):
        return False


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
        try:
            return self._send(request, self._routes[0])
        except TransportFailure as failure:
            if failure.phase != "connect" or len(self._routes) == 1:
                raise
            try:
                return self._send(request, self._routes[1])
            except TransportFailure as other:
                raise (failure if other.phase == "connect" else other) from None

    def _send(self, request: Request, route: str) -> Reply:
        built = self._build(self._client, request, route)
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
        try:
            return await self._send(request, self._routes[0])
        except TransportFailure as failure:
            if failure.phase != "connect" or len(self._routes) == 1:
                raise
            try:
                return await self._send(request, self._routes[1])
            except TransportFailure as other:
                raise (failure if other.phase == "connect" else other) from None

    async def _send(self, request: Request, route: str) -> Reply:
        built = self._build(self._client, request, route)
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
