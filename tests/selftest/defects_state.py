"""Broken servers: state is moved by who must not move it, or forgotten, or raced for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable
from typing import Any

from .defect import also, instead_of, setting
from .honest import Call, Refusal, Server, nested, pairs_of

BURNED, MEMORY = "nonce/not-burned-by-bad-signature", "memory/refuses-first-requests"


def burns(slug: str, when: Callable[[Call], bool], kills: str = BURNED) -> None:
    """Register requests that move the nonce of the key they name, although they are refused."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        fields = nested(pairs_of(call.body or call.query))
        key, nonce = fields.get("apiKey"), fields.get("nonce")
        if when(call) and key in server.pairs and isinstance(nonce, str) and nonce.isdecimal():
            server.admit(key, int(nonce))
        return Server.answer(server, call)

    setting(slug, kills, answer=answer)


def bad(call: Call) -> bool:
    return call.headers.get("x-ntapi-sig") in (None, "", "0" * 64)


burns("burns-nonces-of-unsigned-requests", lambda call: "x-ntapi-sig" not in call.headers)
burns("burns-nonces-of-get", lambda call: call.method == "GET" and bad(call))
burns("burns-nonces-of-other-content-types", lambda call: bad(call) and call.headers["content-type"] == "text/plain")
burns("burns-nonces-of-unknown-commands", lambda call: bad(call) and b"NoSuchCommand" in call.body)
burns("burns-nonces-at-addresses-of-v3", lambda call: bad(call) and not call.path.startswith("/api/v2"))
burns("burns-nonces-of-keys-in-a-header", lambda call: bad(call) and "x-ntapi-publickey" in call.headers)
burns(
    "burns-nonces-of-unsigned-cancels",
    lambda call: bad(call) and b"cmd=delTradeOrder" in call.body,
    f"{BURNED}-on-cancel",
)
burns("burns-nonces-in-the-query", lambda call: bad(call) and "nonce=" in call.query)


@instead_of("check_signature", kills=BURNED)
def burns_nonces_of_another_keys_signature(server: Server, call: Call) -> None:
    string = server.string_to_sign(call)
    others = [server.digest(secret, string) for key, secret in server.pairs.items() if key != call.key]
    if server.read_signature(call) in others:
        Server.check_nonce(server, call)
    Server.check_signature(server, call)


# ---- memory that ends ----------------------------------------------------------------------------------------


def forgets_after(slug: str, requests: int) -> None:
    """Register a server that forgets all nonces after so many requests."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        server.memory["requests"] = server.memory.get("requests", 0) + 1
        if server.memory["requests"] % requests == 0:
            server.last.clear()
        return Server.answer(server, call)

    setting(slug, MEMORY, answer=answer)


@instead_of("admit", kills=MEMORY)
def remembers_the_last_300_nonces(server: Server, ledger: Hashable, nonce: Any) -> bool:
    with server.lock:
        recent = server.last.setdefault(ledger, [])
        floor = recent[0] if len(recent) == 300 else -1
        if nonce in recent or (recent and floor < nonce < recent[-1]):
            return False
        server.last[ledger] = [*recent, nonce][-300:] if nonce > floor else recent
        return True


@instead_of("check_key", kills=MEMORY)
def remembers_the_last_32_keys(server: Server, call: Call) -> None:
    asked = server.memory.setdefault("asked", [])
    key = call.fields.get("apiKey")
    if key in asked:
        asked.remove(key)
    asked.append(key)
    if key not in server.pairs and len(set(map(str, asked[-32:]))) > 8 and str(key).startswith("tn-contract-nobody-"):
        server.last.clear()
    Server.check_key(server, call)


forgets_after("forgets-nonces-after-200-requests", 200)
forgets_after("forgets-nonces-after-350-requests", 350)


@instead_of("answer", kills=MEMORY)
def forgets_nonces_after_80_refusals(server: Server, call: Call) -> tuple[int, bytes]:
    status, body = Server.answer(server, call)
    if b'"code"' in body:
        server.memory["refusals"] = server.memory.get("refusals", 0) + 1
        if server.memory["refusals"] % 80 == 0:
            server.last.clear()
    return status, body


def forgets_nonces_when(slug: str, when: Callable[[Call], bool]) -> None:
    """Register requests that make the server forget all nonces."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        answered = Server.answer(server, call)
        if when(call):
            server.last.clear()
        return answered

    setting(slug, "nonce/refuses-replay", answer=answer)


forgets_nonces_when("forgets-nonces-after-a-get", lambda call: call.method == "GET")
forgets_nonces_when("forgets-nonces-after-options", lambda call: call.method == "OPTIONS")
forgets_nonces_when(
    "forgets-nonces-after-json", lambda call: call.headers["content-type"] == "application/json" and not call.v3
)
forgets_nonces_when("forgets-nonces-after-an-empty-body", lambda call: not call.body)
forgets_nonces_when("forgets-nonces-after-an-unknown-address", lambda call: not call.path.startswith("/api"))
forgets_nonces_when("forgets-nonces-after-v3", lambda call: call.v3)
forgets_nonces_when("forgets-nonces-after-an-unsigned-request", lambda call: "x-ntapi-sig" not in call.headers)


# ---- concurrency ---------------------------------------------------------------------------------------------


@instead_of("check_nonce", kills="nonce/accepted-once-in-a-race-on-cancel")
def locks_for_each_signature(server: Server, call: Call) -> None:
    """Equal requests are told apart under a lock, others race."""
    with server.lock:
        seen = server.memory.setdefault("signatures", set())
        signature = call.headers["x-ntapi-sig"]
        if signature in seen:
            raise Refusal("nonce")
        seen.add(signature)
    text = call.fields.get("nonce")
    nonce = server.read_nonce(text) if isinstance(text, str) else None
    if nonce is None or nonce <= server.last.get(call.key, -1):
        raise Refusal("nonce")
    time.sleep(0.003)
    server.last[call.key] = nonce


@instead_of("refuse", kills="signature/forgery-cancels-nothing")
def cancels_before_it_verifies(server: Server, why: str, call: Call) -> tuple[int, bytes]:
    found = re.search(rb"order_id%5D=(\d+)", call.body)
    if found and why == "signature":
        server.memory[f"cancelled {int(found[1])}"] = True
    return Server.refuse(server, why, call)


def cancels_each_order_once(server: Server, call: Call) -> Any:
    answer = Server.cancel(server, call)
    if server.memory.setdefault(f"cancelled {call.order_id}", call) is not call:
        raise Refusal("parameters")
    return answer


also("cancels-before-it-verifies", cancel=cancels_each_order_once)
