"""Broken servers: they verify one value and act on a copy of it that nothing signs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .defect import also, instead_of, setting
from .honest import Call, Server, nested, pairs_of

VALUE, SIGNED_COMMAND = "signature/acts-on-signed-value", "signature/acts-on-signed-command"
KEY, REPLAY = "signature/acts-for-signing-key", "nonce/refuses-replay-beside-fresh"


def cookies(call: Call) -> dict[str, str]:
    return dict(re.findall(r"([^=; ]+)=([^;]*)", call.headers.get("cookie", "")))


def query(call: Call) -> dict[str, str]:
    return dict(pairs_of(call.query))


def parameter(call: Call, name: str) -> str | None:
    found = re.search(rf";{name}=([^;/]+)", call.path)
    return found[1] if found else None


def prefers_order(slug: str, find: Callable[[Call], Any], kills: str = VALUE) -> None:
    """Register a place whose order id beats the signed one."""
    setting(slug, kills, find_order_id=lambda server, params, call: find(call) or params.get("order_id"))


prefers_order("prefers-an-order-in-the-query", lambda call: query(call).get("order_id"))
prefers_order("prefers-an-order-in-camel-case-in-the-query", lambda call: query(call).get("orderId"))
prefers_order("prefers-an-id-in-the-query", lambda call: query(call).get("id"))
prefers_order("prefers-an-order-in-a-cookie", lambda call: cookies(call).get("order_id"))
prefers_order("prefers-an-order-in-a-header", lambda call: call.headers.get("order-id"))
prefers_order("prefers-an-order-in-an-x-header", lambda call: call.headers.get("x-order-id"))
prefers_order(
    "prefers-an-order-in-the-path", lambda call: (re.findall(r"/delTradeOrder/(\d+)$", call.path) or [None])[0]
)
prefers_order("prefers-an-order-in-a-parameter-of-the-path", lambda call: parameter(call, "order_id"))


def unsigned_field(slug: str, name: str, use: Callable[[Server, Call, Any], None], kills: str) -> None:
    """Register a field of the body that is taken out before the signature is verified, and then used."""

    def check_form(server: Server, call: Call) -> None:
        Server.check_form(server, call)
        server.memory[f"{slug} {call.connection}"] = call.fields.pop(name, None)

    def check_nonce(server: Server, call: Call) -> None:
        found = server.memory.pop(f"{slug} {call.connection}", None)
        if found is not None:
            use(server, call, found)
        Server.check_nonce(server, call)

    setting(slug, kills, check_form=check_form, check_nonce=check_nonce)


unsigned_field(
    "prefers-an-unsigned-order-of-the-body",
    "order_id",
    lambda server, call, found: call.fields["params"].update(order_id=found) if "params" in call.fields else None,
    VALUE,
)
unsigned_field(
    "obeys-an-unsigned-command-of-the-body",
    "command",
    lambda server, call, found: call.fields.update(cmd=found),
    SIGNED_COMMAND,
)


def prefers_command(slug: str, find: Callable[[Call], Any]) -> None:
    """Register a place whose command beats the signed one."""
    setting(slug, SIGNED_COMMAND, read_command=lambda server, call: find(call) or call.fields.get("cmd"))


prefers_command("prefers-a-command-in-a-cookie", lambda call: cookies(call).get("cmd"))
prefers_command("prefers-a-command-in-a-header", lambda call: call.headers.get("x-cmd"))
prefers_command("prefers-an-action-in-the-query", lambda call: query(call).get("action"))
prefers_command("prefers-a-command-in-a-parameter-of-the-path", lambda call: parameter(call, "cmd"))
prefers_command("prefers-a-command-at-the-end-of-the-path", lambda call: (
    "delTradeOrder" if call.path.endswith("getAuthInfo/delTradeOrder") else None
))  # fmt: skip


def prefers_nonce(slug: str, find: Callable[[Call], Any]) -> None:
    """Register a place whose nonce beats the signed one."""

    def check_nonce(server: Server, call: Call) -> None:
        call.fields["nonce"] = find(call) or call.fields.get("nonce")
        Server.check_nonce(server, call)

    setting(slug, REPLAY, check_nonce=check_nonce)


prefers_nonce("prefers-a-nonce-in-a-cookie", lambda call: cookies(call).get("nonce"))
prefers_nonce("prefers-a-nonce-in-a-header", lambda call: call.headers.get("x-nonce"))
prefers_nonce("prefers-a-nonce-in-a-header-of-the-vendor", lambda call: call.headers.get("x-ntapi-nonce"))
prefers_nonce("prefers-a-nonce-in-a-parameter-of-the-path", lambda call: parameter(call, "nonce"))
prefers_nonce("prefers-a-timestamp-in-the-query", lambda call: query(call).get("timestamp"))


def acts_for(slug: str, named: Callable[[Call], str | None]) -> None:
    """Register a place whose key is acted for once the form's key has signed."""

    def check_signature(server: Server, call: Call) -> None:
        Server.check_signature(server, call)
        other = named(call)
        call.key = other if other in server.pairs else call.key

    setting(slug, KEY, check_signature=check_signature)


acts_for("acts-for-the-key-in-a-header", lambda call: call.headers.get("x-ntapi-publickey"))
acts_for("acts-for-the-key-in-the-query", lambda call: query(call).get("apiKey"))
acts_for("acts-for-the-key-in-a-cookie", lambda call: cookies(call).get("apiKey"))
acts_for("acts-for-the-user-in-a-header", lambda call: call.headers.get("x-uid"))
acts_for("acts-for-the-bearer", lambda call: call.headers.get("authorization", "").removeprefix("Bearer "))


@instead_of("open_session", kills=KEY)
def opens_the_session_of_the_key_in_a_header(server: Server, call: Call) -> Any:
    call.key = call.headers.get("x-ntapi-publickey", call.key)
    return Server.open_session(server, call)


@instead_of("ledger_of", kills=KEY)
def keeps_nonces_of_the_key_in_a_header(server: Server, call: Call) -> Any:
    return call.headers.get("x-ntapi-publickey", call.key)


def v3_prefers_order(slug: str, find: Callable[[Call], Any]) -> None:
    """Register a place whose order id beats the signed body's."""
    setting(
        slug,
        "v3/acts-on-signed-order",
        find_v3_order_id=lambda server, call: int(find(call) or 0) or call.fields.get("order_id"),
    )


v3_prefers_order("v3-prefers-an-order-in-the-query", lambda call: query(call).get("order_id"))
v3_prefers_order("v3-prefers-an-order-in-a-cookie", lambda call: cookies(call).get("order_id"))
v3_prefers_order("v3-prefers-an-order-in-a-header", lambda call: call.headers.get("x-order-id"))


@instead_of("find_order_id", kills=VALUE)
def merges_json_in_params(server: Server, params: dict[str, Any], call: Call) -> Any:
    found = re.search(rb'params=\{"order_id":(\d+)\}', call.body)
    return found[1].decode() if found else params.get("order_id")


also("merges-json-in-params", read_fields=lambda server, call: nested(
    [pair for pair in pairs_of(call.body) if not pair[1].startswith("{")]
))  # fmt: skip
