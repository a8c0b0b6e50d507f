"""Who may use the control plane: whoever has the token; without one, this machine alone, and no web page on it."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mock_server.harness import harness_error
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Reply

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


CONTROL = "/__tn__/"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on that host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Guard:
    """With a `token`, asks for it; without one, lets in what names this machine or one of `hosts`."""

    token: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.token.isascii():  # clients write other characters into headers in different ways
            raise UsageError("the control token has other characters than ASCII: choose letters and digits")

    def refusal(self, environ: WSGIEnvironment, *, probe: bool = False) -> Reply | None:
        """Answer a request that may not come in; None when it may. A `probe` needs no token, and no name."""
        # A GET needs no Origin, so a page of another site could make the mock work by an image or a link.
        if (probe or not self.token) and environ.get("HTTP_SEC_FETCH_SITE", "").lower() == "cross-site":
            return _foreign()
        if probe:
            return None
        if self.token:
            # Compared as bytes: a header may hold any character.
            given = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ").encode("utf-8", "replace")
            if hmac.compare_digest(given, self.token.encode()):
                return None
            return harness_error("the control plane asks for its token", "send Authorization: Bearer <token>", 401)
        named = _name(environ.get("HTTP_HOST", ""))
        if not (is_loopback(named) or named in self.hosts):
            # A name of somebody else's that leads here (DNS rebinding) would let his page in.
            return harness_error(f"the control plane is not called {named!r}", "ask for it as localhost", 403)
        origin = environ.get("HTTP_ORIGIN")
        if origin and _name(urlsplit(origin).netloc) != named:
            return _foreign()
        return None


def _foreign() -> Reply:
    return harness_error("the control plane is not for other sites' pages", "ask from a program", 403)


def _name(host: str) -> str:
    """Return the name in `name:port` or `[name]:port`."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
