"""Where a lookup fails, nothing takes its place: no default secret, no default command, no falsy nonce.

A key that is not known has no secret; what many languages make of "nothing" (an empty text, `null`, `undefined`,
`None`, the key itself) must not verify a request, because anybody can compute that signature.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial

from tn_contract.contract.signing import Secret, Value, sign, signature_of
from tn_contract.contract.wire import (
    COMMAND_PATH_V3,
    PUBLIC_KEY_HEADER,
    Request,
    SignedRequest,
    compose,
    dress,
    encode_form,
    encode_json,
    replace,
    sign_body,
    with_header,
    with_signature,
)
from tn_contract.judge.server import registry
from tn_contract.judge.server.registry import CONTROLS, carries_out_none, check
from tn_contract.judge.server.target import CANCEL, SESSION, Probe, Spoil
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, passed

on_both = registry.on_both_commands
on_both_v3 = partial(registry.on_both_commands, twin_requires=(CONTROLS["v3"][0],))

NOTHING = ("", "null", "undefined", "None", "nil", "NULL", "false", "False", "0", "[]", "{}", "NaN")
DEFAULTS = ("secret", "test", "demo", "default", "changeme", "password", "admin", "key", "api_secret", "tradernet")
# Names that JavaScript finds in every object, and what it makes of their values.
OBJECTS = ("__proto__", "constructor", "toString", "hasOwnProperty")
OF_OBJECTS = ("[object Object]", "function Object() { [native code] }", "function toString() { [native code] }")
NO_KEYS = ("tn-contract-nobodys-key", "null", "undefined", "0", "1", "-1", "true", "admin", "test", "default", " ")


def public_secrets(api_key: str) -> tuple[str, ...]:
    """Secrets that anybody can derive from a key."""
    raw = api_key.encode()
    derived = (
        api_key,
        api_key[::-1],
        api_key.upper(),
        api_key.lower(),
        base64.b64encode(raw).decode(),
        raw.hex(),
        *(hashlib.new(name, raw, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")),
    )
    return (*NOTHING, *DEFAULTS, *derived)


def _unknown(probe: Probe) -> list[tuple[str, str]]:
    """Keys that nobody has, each with secrets that a server may fall back to."""
    first = NO_KEYS[0]
    if not probe.target.disposable:
        return [(first, secret) for secret in (*NOTHING[:2], first)]
    pairs = [(first, secret) for secret in public_secrets(first)]
    pairs += [(key, secret) for key in NO_KEYS[1:] for secret in ("", key)]
    return pairs + [(key, secret) for key in OBJECTS for secret in ("undefined", *OF_OBJECTS)]


def _absent(probe: Probe) -> tuple[str, ...]:
    return (*NOTHING, *DEFAULTS[:3]) if probe.target.disposable else ("",)


@on_both(
    "request/refuses-fallback-secrets",
    "verifies no unknown key by a fallback secret",
    clause="key-required",
)
def refuses_fallback_secrets(probe: Probe, command: str) -> Finding:
    """Name keys that nobody has, or none, and sign with what a failed lookup may yield: nothing, the key, a default."""

    def naming(key: str | None, secret: str) -> Spoil:
        def spoil(_probe: Probe, valid: SignedRequest) -> Request:
            fields: dict[str, Value] = {name: value for name, value in valid.fields.items() if name != "apiKey"}
            fields |= {} if key is None else {"apiKey": key}
            return dress(command, fields, sign(fields, Secret(secret)).signature)

        return spoil

    variants = {f"the key {key!r} and the secret {secret!r}": naming(key, secret) for key, secret in _unknown(probe)}
    for key in (None, ""):
        variants |= {f"the key {key!r} and the secret {secret!r}": naming(key, secret) for secret in _absent(probe)}
    own = public_secrets(probe.credentials.api_key) if probe.target.disposable else NOTHING[:2]
    variants |= {
        f"the own key and the secret {place} of those that anybody knows": naming(probe.credentials.api_key, secret)
        for place, secret in enumerate(own, 1)
        if secret != probe.credentials.secret.reveal()
    }
    return carries_out_none(probe, command, variants)


@on_both_v3(
    "v3/refuses-fallback-secrets",
    "verifies no unknown v3 key by a fallback secret",
    clause="v3-key-required",
)
def refuses_fallback_secrets_v3(probe: Probe, command: str) -> Finding:
    """Name keys that nobody has, or none, and sign with what a failed lookup may yield: nothing, the key, a default."""

    def naming(key: str | None, secret: str) -> Spoil:
        def spoil(_probe: Probe, valid: SignedRequest) -> Request:
            signature = signature_of(valid.string_to_sign, Secret(secret))
            return with_header(with_signature(valid.request, signature), PUBLIC_KEY_HEADER, key)

        return spoil

    unknown = [(key, secret) for key, secret in _unknown(probe) if key.strip()]
    variants = {f"the key {key!r} and the secret {secret!r}": naming(key, secret) for key, secret in unknown}
    for key in (None, ""):
        variants |= {f"the key {key!r} and the secret {secret!r}": naming(key, secret) for secret in _absent(probe)}
    own = public_secrets(probe.credentials.api_key) if probe.target.disposable else NOTHING[:2]
    variants |= {
        f"the own key and the secret {place} of those that anybody knows": naming(probe.credentials.api_key, secret)
        for place, secret in enumerate(own, 1)
        if secret != probe.credentials.secret.reveal()
    }
    return carries_out_none(probe, command, variants)


# ---- commands ------------------------------------------------------------------------------------------------

# None of them is delTradeOrder; letter case and white space are looser, but plain.
NO_COMMANDS = (
    "tnContractNoSuchCommand",
    "delTradeOrders",
    "delTradeOrderX",
    "XdelTradeOrder",
    "delTradeOrder.php",
    "delTradeOrder,x",
    "delTradeOrder()",
    "delTradeOrder\0",
    "del",
    "cancel",
    "cancelTradeOrder",
    "deleteTradeOrder",
    "cancelOrder",
    "del_trade_order",
    "delTrade",
    "putTradeOrder2",
    "null",
    "0",
    "false",
    "*",
    "",
    "v2/cmd/delTradeOrder",
    "../delTradeOrder",
)


def _with_cmd(command: object) -> Spoil:
    """A cancel whose cmd is another one, properly signed, at the address of a cancel."""

    def spoil(probe: Probe, valid: SignedRequest) -> Request:
        fields: dict[str, Value] = {name: value for name, value in valid.fields.items() if name != "cmd"}
        if command is not None:
            fields["cmd"] = command  # type: ignore[assignment] # a text, a list or a map
        return dress(CANCEL, fields, sign(fields, probe.credentials.secret).signature)

    return spoil


@check(
    "request/refuses-other-commands-with-order",
    "cancels by no other command",
    clause="command-known",
    effect="attempt",
    requires=(),
)
def refuses_unknown_command_with_an_order(probe: Probe) -> Finding:
    """Name an order beside no command, an unknown one, one that is nearly right, and beside lists of commands."""
    commands: tuple[object, ...] = (*NO_COMMANDS, None, [CANCEL], [SESSION, CANCEL], {"x": CANCEL}, {CANCEL: "1"})

    def at_its_own(command: str) -> Spoil:
        return lambda inner, _valid: (
            compose(inner.credentials, command, inner.nonces.next(), {"order_id": inner.order_id}).request
        )

    if not probe.target.disposable:
        commands = (*NO_COMMANDS[:5], None, [CANCEL])
    variants = {f"the command {command!r}": _with_cmd(command) for command in commands}
    variants |= {f"the command {name!r}, at its own address": at_its_own(name) for name in NO_COMMANDS[:3]}
    return carries_out_none(probe, CANCEL, variants)


@check(
    "v3/refuses-other-commands-with-order",
    "cancels by no other v3 command",
    clause="v3-command-known",
    effect="attempt",
    requires=(CONTROLS["v3"][0],),
)
def refuses_unknown_command_with_an_order_v3(probe: Probe) -> Finding:
    """Send the body of a cancel, properly signed, to addresses of commands that do not exist."""

    def at(name: str) -> Spoil:
        return lambda _probe, valid: replace(valid.request, path=COMMAND_PATH_V3 + name)

    names = [name for name in NO_COMMANDS if name and name.isascii() and name.isalnum()]
    return carries_out_none(probe, CANCEL, {f"the command {name!r}": at(name) for name in names})


@check(
    "v3/opens-session-cancels-nothing",
    "cancels nothing by getAuthInfo over v3",
    clause="v3-command-known",
    effect="cancel",
)
def session_cancels_nothing(probe: Probe) -> Finding:
    """Send getAuthInfo with the body of a cancel, and delTradeOrder named in the body and in the query string."""
    if not probe.target.free_orders:
        raise NotApplicable("it names an order that is not the user's")
    expected, told = f"refused, or {SESSION} carried out", ""
    for more in ({}, {"cmd": CANCEL, "command": CANCEL, "method": CANCEL}):
        body = encode_json({"order_id": probe.order_id, **more})
        signed = sign_body(probe.credentials, SESSION, probe.timestamp(), body).request
        for query in ("", encode_form({**more, "order_id": probe.order_id}).decode()):
            observed = probe.send(replace(signed, query=query))
            told = observed.told
            if observed.understood and (observed.reading.order_id, observed.reading.result) != (None, None):
                return failed(f"{expected}: the body {body.decode()}", told)
    return passed(expected, told)
