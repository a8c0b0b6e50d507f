"""An address is judged by the host that is connected to, or refused."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tn_contract.contract.address import BRANDS, parse_address
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import Request
from tn_contract.transport import Timeouts, Transport, TransportFailure

LIVE = [target.host for target in load_corpus().targets if target.target_class == "live"]


@pytest.mark.parametrize(
    ("address", "base_url", "target_class"),
    [
        ("https://tradernet.com", "https://tradernet.com", "live"),
        ("https://tradernet.com/", "https://tradernet.com", "live"),
        ("HTTP://Tradernet.com:443//", "http://tradernet.com:443", "live"),
        ("https://TRADERNET.COM.", "https://tradernet.com.", "live"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "loopback"),
        ("http://127.255.255.254", "http://127.255.255.254", "loopback"),
        ("http://[::1]:8080/", "http://[::1]:8080", "loopback"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]", "loopback"),
        ("http://LOCALHOST:1", "http://localhost:1", "loopback"),
        ("http://localhost.", "http://localhost.", "loopback"),
        ("http://mock.localhost", "http://mock.localhost", "loopback"),
        ("http://127.0.0.1.evil.example", "http://127.0.0.1.evil.example", "sandbox"),
        ("http://localhost.evil.example", "http://localhost.evil.example", "sandbox"),
        ("http://evillocalhost", "http://evillocalhost", "sandbox"),
        ("http://0.0.0.0", "http://0.0.0.0", "sandbox"),
        ("http://10.0.0.1:00080", "http://10.0.0.1:80", "sandbox"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]", "sandbox"),
        ("http://a_mock:8787", "http://a_mock:8787", "sandbox"),
    ],
)
def test_an_address_has_one_form_and_one_class(address: str, base_url: str, target_class: str) -> None:
    parsed = parse_address(address)
    assert (parsed.base_url, parsed.target_class) == (base_url, target_class)
    assert parse_address(base_url) == parsed


@pytest.mark.parametrize(
    "address",
    [
        "", "tradernet.com", "//tradernet.com", "ftp://tradernet.com", "http://", "https:///api", "http://:80",
        "http://[::1", "http://host:0", "http://host:65536", "http://host:port", "http://host:-1", "http://host:",
        "javascript:alert(1)", "localhost", "127.0.0.1", "file:///localhost", "http://host:٣", "http://host:1_0",
        # IPv4 in other forms than four decimal numbers
        "http://127.1", "http://2130706433", "http://0x7f.1", "http://0x7f000001", "http://0177.0.0.1", "http://127.0.0.01",
        "http://127.0.0.1.", "http://1.2.3.4.5", "http://127.0.0.256", "http://evil.example.1", "http://0x",
        # IPv6 with a zone, or with an IPv4 address inside
        "http://[::1%25lo]", "http://[::1%lo]", "http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", "http://[::ffff:1.2.3.4]",
        "http://[v1.x]", "http://[]", "http://[127.0.0.1]", "http://[::1].evil.example", "http://::1",
        # other letters, escapes, spaces, control characters, backslashes
        "https://tradernet。com", "https://tradernet\uff0ecom", "https://tradernet｡com", "https://\uff54radernet.com",
        "https://tradernet\u00ad.com", "https://traderne\u0442.com", "https://tradernet%2ecom", "https://%74radernet.com",
        "https://tradernet.com\\.evil.example", "https:\\\\tradernet.com", "https:/\\tradernet.com", " https://tradernet.com",
        "https://tradernet.com ", "https://tradernet.com\n", "https://trader\tnet.com", "https://tradernet.com\x00",
        "https://tradernet..com", "https://.tradernet.com", "https://tradernet.com..", "https://-a.example", "https://a-.example",
        f"https://{'a' * 64}.example", f"https://{'a.' * 127}example",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_server_or_an_ambiguous_one_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"is not the address of a server|is not an IPv4 address|ASCII|in disguise"):
        parse_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://tradernet.com/api/v2", "https://tradernet.com/?a=b", "https://tradernet.com#x", "http://user@host",
        "http://user:password@host", "http://:password@host", "http://@host", "http://127.0.0.1@evil.example",
        "http://127.0.0.1:80@evil.example", "http://evil.example\\@127.0.0.1", "http://evil.example#@127.0.0.1",
        "http://evil.example/127.0.0.1", "http://evil.example?127.0.0.1",
    ],
)  # fmt: skip
def test_an_address_that_goes_on_or_hides_its_host_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must end after host and port") as caught:
        parse_address(address)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("host", LIVE)
def test_a_live_host_is_live_however_it_is_written(host: str) -> None:
    for name in (host, host.upper(), f"{host}.", f"x.{host}", f"WSS-beta.{host}."):
        assert parse_address(f"https://{name}:8443").target_class == "live"


@pytest.mark.parametrize("host", LIVE)
def test_every_live_host_carries_a_known_brand(host: str) -> None:
    assert any(label.startswith(BRANDS) for label in host.split("."))


# ---- what is judged is what is connected to ------------------------------------------------------------------

PARTS = st.sampled_from(
    [
        "http://", "https://", "HTTPS://", "https:/", "tradernet", "freedom24", "com", "ru", "localhost", "evil",
        "example", "127.0.0.1", "0x7f", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "::1", "%lo", "%2e",
        "@", ".", "\u3002", "\uff0e", ":", ":80", ":0", "/", "//", "\\", "?", "#", " ", "\t", "\n", "\x00",
        "\u00ad", "-", "_", "xn--", "ß", "K", "A",
    ]
)  # fmt: skip
URLS = st.one_of(
    st.lists(PARTS, max_size=8).map("".join),
    st.lists(st.one_of(PARTS, st.text(max_size=2)), max_size=6).map(lambda parts: "http://" + "".join(parts)),
    st.text(max_size=20),
)


@given(url=URLS)
@example(url="https://tradernet。com")
@example(url="https://xn--tradernet-9za.com")
@example(url="http://x.localhost.")
def test_any_text_is_refused_or_judged_by_the_host_that_is_connected_to(url: str) -> None:
    try:
        address = parse_address(url)
    except UsageError:
        return
    connected: list[str] = []

    def record(to: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(to[0])
        raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setattr("tn_contract.transport._trusted", lambda: False)  # reading them takes long
        patch.setattr(socket, "create_connection", record)
        try:
            transport = Transport(url, Timeouts())
        except UsageError:
            return
        with pytest.raises(TransportFailure):
            transport.send(Request("GET", "/@127.0.0.1/"))
        transport.close()
    assert connected
    for host in connected:
        if address.target_class == "loopback":
            assert ip_address(host).is_loopback
        else:
            assert host == address.host
        known = [live for live in LIVE if f".{host}".removesuffix(".").endswith(f".{live}")]
        assert not known or address.target_class == "live"
