"""Broken servers: something takes the place of what a lookup does not find, and falsy values count as none."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

from .defect import also, instead_of, setting
from .honest import Call, Refusal, Server

FALLBACK = "request/refuses-fallback-secrets"
COMMAND = "request/refuses-other-commands-with-order"


def verifies_unknown_keys_by(slug: str, secret: Callable[[str], str | None], kills: str = FALLBACK) -> None:
    """Register a server that finds a secret for a key that it does not know (None: it finds none)."""
    both = {"knows": True, "knows_v3": True}
    setting(
        slug,
        f"{kills} {kills.replace('request/', 'v3/')}",
        **{
            name: lambda server, key: key in server.pairs or secret(key) is not None
            for name in both
        },
        secret_of=lambda server, call: server.pairs.get(call.key, secret(call.key)),
    )  # fmt: skip


verifies_unknown_keys_by("verifies-unknown-keys-by-nothing", lambda key: "", f"{FALLBACK} {FALLBACK}-on-cancel")
verifies_unknown_keys_by("verifies-unknown-keys-by-themselves", lambda key: key)
verifies_unknown_keys_by("verifies-unknown-keys-by-null", lambda key: "null")
verifies_unknown_keys_by("verifies-unknown-keys-by-undefined", lambda key: "undefined")
verifies_unknown_keys_by("verifies-unknown-keys-by-none", lambda key: "None")
verifies_unknown_keys_by("verifies-unknown-keys-by-false", lambda key: "false")
verifies_unknown_keys_by("verifies-unknown-keys-by-0", lambda key: "0")
verifies_unknown_keys_by("verifies-unknown-keys-by-a-default", lambda key: "secret")
verifies_unknown_keys_by("verifies-unknown-keys-by-test", lambda key: "test")
verifies_unknown_keys_by("verifies-unknown-keys-by-their-md5", lambda key: hashlib.md5(key.encode()).hexdigest())
verifies_unknown_keys_by("verifies-unknown-keys-by-their-reverse", lambda key: key[::-1])
verifies_unknown_keys_by("verifies-unknown-keys-by-their-base64", lambda key: base64.b64encode(key.encode()).decode())
verifies_unknown_keys_by(
    "finds-what-every-object-has",
    lambda key: "function Object() { [native code] }" if key == "constructor" else None,
)
verifies_unknown_keys_by("knows-a-key-of-testing", lambda key: "test" if key == "test" else None)
verifies_unknown_keys_by("knows-a-key-null", lambda key: "" if key == "null" else None)


@instead_of("check_key", kills="request/refuses-unknown-key")
def verifies_unknown_keys_by_the_last_secret(server: Server, call: Call) -> None:
    key = call.fields.get("apiKey")
    if not key or not isinstance(key, str):
        raise Refusal("key")
    call.key = key if key in server.pairs else server.memory.get("last key", key)
    if call.key not in server.pairs:
        raise Refusal("key")
    server.memory["last key"] = call.key


@instead_of("read_key", kills=FALLBACK)
def verifies_a_missing_key_by_nothing(server: Server, call: Call) -> Any:
    return call.fields.get("apiKey") or "nobody"


also(
    "verifies-a-missing-key-by-nothing",
    knows=lambda server, key: key in (*server.pairs, "nobody"),
    secret_of=lambda server, call: server.pairs.get(call.key, ""),
)


@instead_of("read_v3_key", kills="v3/refuses-fallback-secrets")
def v3_verifies_a_missing_key_by_null(server: Server, call: Call) -> str:
    return Server.read_v3_key(server, call) or "nobody"


also(
    "v3-verifies-a-missing-key-by-null",
    knows_v3=lambda server, key: key in (*server.pairs, "nobody"),
    secret_of=lambda server, call: server.pairs.get(call.key, "null"),
)


def also_by(slug: str, secret: Callable[[Call], str], kills: str = FALLBACK) -> None:
    """Register a server that verifies by a secret that anybody can derive, besides the right one."""
    setting(
        slug,
        kills,
        right_signatures=lambda server, call: [
            *Server.right_signatures(server, call),
            server.digest(secret(call), server.string_to_sign(call)),
        ],
    )


also_by("accepts-null-as-the-secret", lambda call: "null")
also_by("accepts-undefined-as-the-secret", lambda call: "undefined")
also_by("accepts-a-default-secret", lambda call: "changeme")
also_by("accepts-the-md5-of-the-key-as-the-secret", lambda call: hashlib.md5(call.key.encode()).hexdigest())
also_by("accepts-the-key-in-reverse-as-the-secret", lambda call: call.key[::-1])

# ---- commands ------------------------------------------------------------------------------------------------


def takes_commands(slug: str, read: Callable[[Call, Any], Any], kills: str = COMMAND) -> None:
    """Register how a command is read, given what cmd holds."""
    setting(slug, kills, read_command=lambda server, call: read(call, call.fields.get("cmd")))


def has_order(call: Call) -> bool:
    params = call.fields.get("params")
    return isinstance(params, dict) and "order_id" in params


KNOWN = ("getAuthInfo", "delTradeOrder")
takes_commands("takes-unknown-commands-with-an-order-for-cancels", lambda call, cmd: (
    cmd if not has_order(call) or cmd in KNOWN else "delTradeOrder"
))  # fmt: skip
takes_commands("takes-any-request-with-an-order-for-a-cancel", lambda call, cmd: (
    "delTradeOrder" if has_order(call) else cmd
), "signature/acts-on-signed-command")  # fmt: skip
takes_commands("takes-no-command-with-an-order-for-a-cancel", lambda call, cmd: (
    cmd if cmd is not None or not has_order(call) else "delTradeOrder"
))  # fmt: skip
takes_commands("takes-an-empty-command-with-an-order-for-a-cancel", lambda call, cmd: (
    "delTradeOrder" if cmd == "" and has_order(call) else cmd
))  # fmt: skip
takes_commands("takes-the-first-of-a-list-of-commands", lambda call, cmd: (
    next(iter(cmd.values())) if isinstance(cmd, dict) else cmd
))  # fmt: skip
takes_commands(
    "takes-the-names-of-a-map-for-commands", lambda call, cmd: next(iter(cmd)) if isinstance(cmd, dict) else cmd
)
takes_commands("obeys-commands-that-begin-with-del", lambda call, cmd: (
    "delTradeOrder" if str(cmd)[:3] == "del" and isinstance(cmd, str) else cmd
))  # fmt: skip
takes_commands("obeys-commands-that-hold-cancel", lambda call, cmd: (
    "delTradeOrder" if isinstance(cmd, str) and "cancel" in cmd else cmd
))  # fmt: skip
takes_commands("obeys-commands-without-underscores", lambda call, cmd: (
    "delTradeOrder" if cmd == "del_trade_order" else cmd
))  # fmt: skip
takes_commands("obeys-the-last-part-of-a-command", lambda call, cmd: (
    cmd.rpartition("/")[2] if isinstance(cmd, str) else cmd
))  # fmt: skip
takes_commands("obeys-an-unknown-command-by-its-address", lambda call, cmd: (
    cmd if cmd in KNOWN or not has_order(call) else call.path.rpartition("/")[2]
))  # fmt: skip


@instead_of("read_v3_command", kills="v3/refuses-other-commands-with-order")
def v3_takes_unknown_commands_with_an_order_for_cancels(server: Server, call: Call) -> str:
    command = Server.read_v3_command(server, call)
    return "delTradeOrder" if command not in KNOWN and b"order_id" in call.body else command


@instead_of("read_v3_command", kills="v3/refuses-other-commands-with-order")
def v3_obeys_commands_that_begin_with_del(server: Server, call: Call) -> str:
    command = Server.read_v3_command(server, call)
    return "delTradeOrder" if command.startswith("del") else command


@instead_of("read_v3_command", kills="v3/opens-session-cancels-nothing")
def v3_takes_a_session_with_an_order_for_a_cancel(server: Server, call: Call) -> str:
    return "delTradeOrder" if b'"order_id"' in call.body else Server.read_v3_command(server, call)


@instead_of("read_v3_command", kills="v3/opens-session-cancels-nothing")
def v3_obeys_a_command_in_the_body(server: Server, call: Call) -> str:
    return call.fields.get("cmd") or Server.read_v3_command(server, call)


# ---- falsy values --------------------------------------------------------------------------------------------


@instead_of("rises", kills="nonce/compares-whole-numbers nonce/compares-whole-numbers-on-cancel")
def takes_nonce_0_for_none(server: Server, last: Any, nonce: Any) -> bool:
    return not nonce or nonce > last


also("takes-nonce-0-for-none", admit=lambda server, ledger, nonce: not nonce or Server.admit(server, ledger, nonce))


def takes_for_no_nonce(slug: str, nothing: Callable[[str], bool], kills: str = "nonce/refuses-malformed") -> None:
    """Register texts that pass as if there were no nonce to check."""

    def check_nonce(server: Server, call: Call) -> None:
        text = call.fields.get("nonce")
        if not (isinstance(text, str) and nothing(text)):
            Server.check_nonce(server, call)

    setting(slug, kills, check_nonce=check_nonce)


takes_for_no_nonce("takes-zeros-for-no-nonce", lambda text: bool(re.fullmatch("00+", text)))
takes_for_no_nonce("takes-false-for-no-nonce", lambda text: text == "false")
takes_for_no_nonce("takes-python-none-for-no-nonce", lambda text: text == "None")
takes_for_no_nonce("takes-undefined-for-no-nonce", lambda text: text == "undefined")
takes_for_no_nonce("takes-a-space-for-no-nonce", lambda text: text == " ")
takes_for_no_nonce("takes-minus-0-for-no-nonce", lambda text: text == "-0")
takes_for_no_nonce("takes-0-point-0-for-no-nonce", lambda text: text == "0.0")
takes_for_no_nonce("takes-minus-1-for-no-nonce", lambda text: text == "-1")


def takes_for_an_order(slug: str, texts: tuple[str, ...]) -> None:
    """Register falsy order ids that are cancelled."""
    setting(
        slug,
        "request/refuses-malformed-order-id",
        parse_order_id=lambda server, text: 0 if text in texts else Server.parse_order_id(server, text),
    )


takes_for_an_order("takes-zeros-for-an-order", ("00", "000"))
takes_for_an_order("takes-false-for-an-order", ("false",))
takes_for_an_order("takes-python-none-for-an-order", ("None",))
takes_for_an_order("takes-minus-1-for-an-order", ("-1",))


@instead_of("find_v3_order_id", kills="v3/refuses-missing-order-id")
def v3_takes_false_for_the_last_order(server: Server, call: Call) -> Any:
    asked = call.fields.get("order_id")
    last = server.memory.get("last order", 1)
    server.memory["last order"] = asked or last
    return last if asked is False else asked


@instead_of("find_v3_order_id", kills="v3/refuses-missing-order-id")
def v3_takes_0_for_the_last_order(server: Server, call: Call) -> Any:
    asked = call.fields.get("order_id")
    return 1 if asked == 0 and asked is not False and asked != [] else asked


@instead_of("find_v3_order_id", kills="v3/refuses-missing-order-id")
def v3_takes_an_empty_list_for_all_orders(server: Server, call: Call) -> Any:
    asked = call.fields.get("order_id")
    return 1 if asked == [] else asked
