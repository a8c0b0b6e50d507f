"""Reads the address of a server, once, and decides what may be done there.

Two parsers may read two hosts from one text: what one of them judged safe, the other would connect to. So only texts
are accepted that every parser reads alike (ASCII, no user name, no path, addresses in their one usual form), and the
class of a host is decided on the very host that the transport connects to. Names of this machine are never looked up:
`localhost` and `*.localhost` lead to its loopback addresses, whatever a resolver says (RFC 6761, section 6.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from tn_contract.contract.corpus import TargetClass, load_corpus
from tn_contract.contract.errors import UsageError

_SHAPE = re.compile(r"(?i:(https?))://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+)(?::([0-9]{1,5}))?/*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Programs read 127.1, 0177.0.0.1 or 0x7f000001 as IPv4 addresses; a name may not end like one.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_EXAMPLE = "write it like https://host or http://127.0.0.1:8080"
LOOPBACK = ("127.0.0.1", "::1")  # in this order, for that is where the mock listens
# The vendor has more hosts than those of fixtures/targets.json: their labels begin with these.
BRANDS = ("tradernet", "freedom", "wisdompoint")


@dataclass(frozen=True, slots=True)
class Address:
    """A server: `host` is in lower case, IPv6 without brackets; `connects_to` are the hosts to try, in this order."""

    scheme: str
    host: str
    port: int | None
    target_class: TargetClass
    connects_to: tuple[str, ...]

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return self._authority(self.host)

    @property
    def base_url(self) -> str:
        """The address without trailing slash."""
        return f"{self.scheme}://{self.authority}"

    @property
    def routes(self) -> tuple[str, ...]:
        """`base_url` for each host to try."""
        return tuple(f"{self.scheme}://{self._authority(host)}" for host in self.connects_to)

    def _authority(self, host: str) -> str:
        host = f"[{host}]" if ":" in host else host
        return host if self.port is None else f"{host}:{self.port}"


def parse_address(base_url: str) -> Address:
    """Read an address that ends after host and port. Raises `UsageError` for any other, and for ambiguous ones."""
    shown = repr(re.sub(r"//[^/]*@", "//…@", base_url))  # a password may stand before the @
    match = _SHAPE.fullmatch(base_url)
    if match is None:
        rest = re.match(r"(?i:https?)://[^/?#]*[^/?#:][/?#]", base_url)
        if base_url.isascii() and ("@" in base_url or rest):
            raise UsageError(f"{shown} must end after host and port: the kit adds the documented path itself")
        if not base_url.isascii():
            raise UsageError(f"{shown} has characters other than ASCII: write an international name as xn--…")
        raise UsageError(f"{shown} is not the address of a server: {_EXAMPLE}")
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    number = None if port is None else int(port)
    if number is not None and not 0 < number < 65536:
        raise UsageError(f"{shown} is not the address of a server (port {port}): {_EXAMPLE}")
    host = _ipv6(host, shown) if host.startswith("[") else _ipv4_or_name(host, shown)
    target_class = classify(host)
    named = target_class == "loopback" and not _is_literal(host)
    return Address(scheme, host, number, target_class, LOOPBACK if named else (host,))


def _ipv6(host: str, shown: str) -> str:
    try:
        address = IPv6Address(host[1:-1])
    except ValueError:
        raise UsageError(f"{shown} is not the address of a server: {_EXAMPLE}") from None
    if address.ipv4_mapped:
        raise UsageError(f"{shown} is an IPv4 address in disguise: write {address.ipv4_mapped}")
    return str(address)


def _ipv4_or_name(host: str, shown: str) -> str:
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if not _is_literal(host):
            raise UsageError(f"{shown} is not an IPv4 address of four decimal numbers: {_EXAMPLE}")
    elif len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise UsageError(f"{shown} is not the address of a server (its name cannot exist): {_EXAMPLE}")
    return host


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host, as `Address` has it, is this machine."""
    name = host.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or (_is_literal(host) and ip_address(host).is_loopback)


def classify(host: str) -> TargetClass:
    """Return what stands behind a host: this machine, what is known of it, or else a sandbox.

    A name that carries the vendor's brand counts as live unless it is known to be a sandbox.
    """
    if is_loopback(host):
        return "loopback"
    name = host.removesuffix(".")
    for target in sorted(load_corpus().targets, key=lambda target: -len(target.host)):
        if name == target.host or name.endswith(f".{target.host}"):
            return target.target_class
    return "live" if _carries_brand(name) else "sandbox"


def _carries_brand(name: str) -> bool:
    parts = [part for label in name.split(".") for part in label.split("-")]
    if "." not in name:
        parts = [name] if "-" not in name else []  # `tradernet-mock`, a name within a private network
    return any(part.startswith(BRANDS) for part in parts)
