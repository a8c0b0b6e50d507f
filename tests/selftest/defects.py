"""Broken servers: each is the honest one with one step replaced by a mistake that somebody could really make.

`@instead_of("step", kills="check/id")` registers a function in place of that method of `honest.Server`; the function's
name is the defect's, and `kills` names the checks that must find it. What it leaves alone it gets from `Server` itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Hashable
from typing import Any

from .defect import also, instead_of, setting
from .honest import FAILURES, FORM, Call, Members, Refusal, Server, canonical, hang_up, nested, pairs_of

# ---- method, address, form -----------------------------------------------------------------------------------


@instead_of("check_method", kills="request/refuses-get")
def accepts_get_with_a_body(server: Server, call: Call) -> None:
    if call.method not in ("POST", "GET"):
        raise Refusal("method")


@instead_of("check_form", kills="request/refuses-get")
def accepts_get_with_a_query(server: Server, call: Call) -> None:
    if call.method == "GET" and call.query:
        call.headers["content-type"], call.body = FORM, call.query.encode()
    Server.check_form(server, call)


also(
    "accepts-get-with-a-query",
    check_method=lambda server, call: (
        None if call.method == "GET" and call.query else Server.check_method(server, call)
    ),
)


@instead_of("check_method", kills="request/refuses-get-on-cancel")
def accepts_get_for_cancels(server: Server, call: Call) -> None:
    if b"delTradeOrder" not in call.body:
        Server.check_method(server, call)


def runs_by(slug: str, allowed: Callable[[Call], bool], kills: str) -> None:
    """Register what else than POST a command may come by."""
    setting(slug, kills, check_method=lambda server, call: None if allowed(call) else Server.check_method(server, call))


runs_by("runs-commands-by-put", lambda call: call.method == "PUT", kills="request/refuses-get")
runs_by("runs-commands-by-delete", lambda call: call.method == "DELETE", kills="request/refuses-get")
for _method in ("HEAD", "PATCH", "OPTIONS", "TRACE", "QUERY"):
    runs_by(
        f"runs-commands-by-{_method.lower()}",
        lambda call, method=_method: call.method in ("POST", method),  # type: ignore[misc]
        kills="request/refuses-get request/refuses-get-on-cancel",
    )
runs_by("runs-commands-by-any-method-but-get", lambda call: call.method != "GET", kills="request/refuses-get")
runs_by(
    "cancels-by-head",
    lambda call: call.method == "POST" or (call.method == "HEAD" and b"delTradeOrder" in call.body),
    kills="request/refuses-get-on-cancel",
)
# Its replies to HEAD say nothing of their length.
runs_by(
    "runs-commands-by-head-without-a-length",
    lambda call: call.method in ("POST", "HEAD"),
    kills="request/refuses-get request/refuses-get-on-cancel",
)
also(
    "runs-commands-by-head-without-a-length",
    respond=lambda server, call, status, headers, body, start: Server.respond(
        server, call, status, {name: value for name, value in headers.items() if name != "Content-Length"}, body, start
    ),
)
runs_by("lets-a-field-override-the-method", lambda call: "_method=POST" in call.query, kills="request/refuses-get")
runs_by(
    "lets-another-header-override-the-method",
    lambda call: "POST" in (call.headers.get("x-http-method"), call.headers.get("x-method-override")),
    kills="request/refuses-get",
)
runs_by(
    "lets-a-header-override-the-method",
    lambda call: call.headers.get("x-http-method-override") == "POST",
    kills="request/refuses-get",
)


@instead_of("check_form", kills="request/accepts-browser-sample")
def wants_content_type_without_charset(server: Server, call: Call) -> None:
    if call.headers["content-type"] != FORM:
        raise Refusal("form")
    call.fields = server.read_fields(call)


@instead_of("check_form", kills="control/opens-session")
def reads_only_json(server: Server, call: Call) -> None:
    if call.headers["content-type"] != "application/json":
        raise Refusal("form")
    call.fields = json.loads(call.body)


@instead_of("read_fields", kills="signature/ignores-field-order-on-cancel")
def understands_only_encoded_brackets(server: Server, call: Call) -> Members:
    return nested(pairs_of(call.body.replace(b"[", b"(").replace(b"]", b")")))


@instead_of("read_fields", kills="control/accepts-cancel")
def understands_only_literal_brackets(server: Server, call: Call) -> Members:
    return nested(pairs_of(call.body.replace(b"%5B", b"(").replace(b"%5D", b")")))


@instead_of("read_fields", kills="signature/ignores-field-order-on-cancel")
def understands_only_upper_case_escapes(server: Server, call: Call) -> Members:
    return nested(pairs_of(re.sub(rb"%(?=[0-9A-Fa-f]?[a-f])", b"%25", call.body)))


@instead_of("read_fields", kills="signature/takes-values-raw-on-cancel")
def keeps_plus_as_plus(server: Server, call: Call) -> Members:
    return nested(pairs_of(call.body.replace(b"+", b"%2B")))


@instead_of("read_fields", kills="signature/takes-values-raw-on-cancel")
def decodes_latin_1(server: Server, call: Call) -> Members:
    return nested(urllib.parse.parse_qsl(call.body.decode(), keep_blank_values=True, encoding="latin-1"))


@instead_of("read_fields", kills="signature/takes-values-raw-on-cancel")
def decodes_twice(server: Server, call: Call) -> Members:
    return nested(pairs_of(urllib.parse.unquote(call.body.decode())))


@instead_of("read_fields", kills="signature/takes-values-raw-on-cancel")
def strips_values(server: Server, call: Call) -> Members:
    return nested([(name, value.strip()) for name, value in pairs_of(call.body)])


@instead_of("read_fields", kills="signature/acts-on-signed-value")
def merges_the_query_before_verifying_params(server: Server, call: Call) -> Members:
    signed = nested(pairs_of(call.body))
    server.memory[f"query {threading.get_ident()}"] = nested(pairs_of(call.query))
    return signed


also(
    "merges-the-query-before-verifying-params",
    find_order_id=lambda server, params, call: {
        **params,
        **(server.memory[f"query {threading.get_ident()}"].get("params") or {}),
    }.get("order_id"),
)


@instead_of("read_command", kills="signature/acts-on-signed-command")
def lets_the_query_name_the_command(server: Server, call: Call) -> Any:
    return {**call.fields, **nested(pairs_of(call.query))}.get("cmd")


@instead_of("check_nonce", kills="nonce/refuses-replay-beside-fresh nonce/refuses-replay-beside-fresh-on-cancel")
def lets_the_query_name_the_nonce(server: Server, call: Call) -> None:
    call.fields.update({name: value for name, value in pairs_of(call.query) if name == "nonce"})
    Server.check_nonce(server, call)


@instead_of("string_to_sign", kills="signature/ignores-field-order")
def signs_the_fields_in_the_order_of_the_body(server: Server, call: Call) -> str:
    def unsorted(fields: Members) -> str:
        return "&".join(f"{k}={unsorted(v) if isinstance(v, dict) else v}" for k, v in fields.items())

    return unsorted(call.fields)


def first_wins(call: Call) -> Members:
    return nested(list(reversed(pairs_of(call.body))))


@instead_of("string_to_sign", kills="signature/acts-on-signed-value")
def signs_the_first_and_acts_on_the_last(server: Server, call: Call) -> str:
    return canonical(first_wins(call))


@instead_of("check_nonce", kills="signature/acts-on-signed-value")
def signs_the_last_and_acts_on_the_first(server: Server, call: Call) -> None:
    call.fields = first_wins(call)
    Server.check_nonce(server, call)


@instead_of("read_command", kills="signature/acts-on-signed-command")
def signs_the_last_and_obeys_the_first_command(server: Server, call: Call) -> Any:
    return first_wins(call).get("cmd")


@instead_of("check_nonce", kills="nonce/refuses-replay-beside-fresh")
def signs_the_first_nonce_and_admits_the_last(server: Server, call: Call) -> None:
    call.fields["nonce"] = nested(pairs_of(call.body)).get("nonce")
    Server.check_nonce(server, call)


also(
    "signs-the-first-nonce-and-admits-the-last",
    string_to_sign=lambda server, call: canonical({**call.fields, "nonce": first_wins(call).get("nonce")}),
)


@instead_of("string_to_sign", kills="signature/acts-on-signed-value")
def signs_only_the_fields_it_knows(server: Server, call: Call) -> str:
    return canonical({name: value for name, value in call.fields.items() if name != "order_id"})


also(
    "signs-only-the-fields-it-knows",
    find_order_id=lambda server, params, call: call.fields.get("order_id") or params.get("order_id"),
)


# ---- key -----------------------------------------------------------------------------------------------------


@instead_of("check_key", kills="request/refuses-unknown-key")
def takes_unknown_keys_for_the_first(server: Server, call: Call) -> None:
    key = call.fields.get("apiKey")
    if not key:
        raise Refusal("key")
    call.key = key if key in server.pairs else next(iter(server.pairs))


@instead_of("check_key", kills="request/refuses-missing-key")
def takes_a_missing_key_for_the_first(server: Server, call: Call) -> None:
    call.key = call.fields.get("apiKey") or next(iter(server.pairs))
    if call.key not in server.pairs:
        raise Refusal("key")


def finds_keys_by(slug: str, alike: Callable[[str, str], bool], kills: str) -> None:
    """Register a lookup that finds more keys than it should."""

    def check_key(server: Server, call: Call) -> None:
        asked = call.fields.get("apiKey")
        found = next((key for key in server.pairs if isinstance(asked, str) and asked and alike(key, asked)), None)
        if found is None:
            raise Refusal("key")
        call.key = found

    setting(slug, kills, check_key=check_key)


finds_keys_by(
    "ignores-the-letter-case-of-keys",
    lambda key, asked: key.lower() == asked.lower(),
    kills="request/refuses-unknown-key",
)
finds_keys_by(
    "ignores-spaces-around-keys", lambda key, asked: key == asked.strip(), kills="request/refuses-unknown-key"
)
finds_keys_by(
    "ignores-line-ends-after-keys",
    lambda key, asked: key == asked.removesuffix("\n"),
    kills="request/refuses-unknown-key",
)
finds_keys_by(
    "finds-the-first-of-several-keys",
    lambda key, asked: key == asked.split(",")[0],
    kills="request/refuses-unknown-key",
)
finds_keys_by(
    "finds-keys-up-to-a-nul", lambda key, asked: key == asked.split("\0")[0], kills="request/refuses-unknown-key"
)
finds_keys_by(
    "decodes-keys-twice",
    lambda key, asked: key == urllib.parse.unquote(asked),
    kills="request/refuses-unknown-key request/refuses-unknown-key-on-cancel",
)
finds_keys_by(
    "finds-keys-by-pasted-sql",
    lambda key, asked: key == asked or "' or '1'='1" in asked,
    kills="request/refuses-unknown-key",
)
finds_keys_by(
    "finds-keys-by-their-beginning", lambda key, asked: asked.startswith(key), kills="request/refuses-unknown-key"
)
finds_keys_by("finds-keys-by-a-part", lambda key, asked: asked in key, kills="request/refuses-unknown-key")
finds_keys_by(
    "finds-keys-by-sql-like",
    lambda key, asked: re.fullmatch(re.escape(asked).replace("%", ".*"), key) is not None,
    kills="request/refuses-unknown-key",
)


@instead_of("read_key", kills="control/opens-session")
def wants_the_key_in_a_header(server: Server, call: Call) -> Any:
    return call.headers.get("x-ntapi-publickey")


@instead_of("check_key", kills="request/refuses-missing-key")
def breaks_without_a_key(server: Server, call: Call) -> None:
    if "apiKey" not in call.fields:
        raise KeyError("apiKey")
    Server.check_key(server, call)


def remembers(
    slug: str, step: str, known: Callable[[Call], str | None], put: Callable[[Call, str], None], kills: str
) -> None:
    """Register a server that fills in what a request lacks from the one before it on the same connection."""

    def check(server: Server, call: Call) -> None:
        earlier = server.memory.get(f"{slug} {call.connection}")
        if not known(call) and earlier:
            put(call, earlier)
        server.memory[f"{slug} {call.connection}"] = known(call)
        getattr(Server, step)(server, call)

    setting(slug, kills, **{step: check})


remembers(
    "remembers-the-command-of-a-connection",
    "check_command",
    lambda call: call.fields.get("cmd"),
    lambda call, earlier: call.fields.update(cmd=earlier),
    kills="request/refuses-missing-command",
)
remembers(
    "v3-remembers-the-key-of-a-connection",
    "check_v3_key",
    lambda call: call.headers.get("x-ntapi-publickey"),
    lambda call, earlier: call.headers.update({"x-ntapi-publickey": earlier}),
    kills="v3/refuses-missing-key v3/refuses-missing-key-on-cancel",
)
remembers(
    "v3-remembers-the-timestamp-of-a-connection",
    "check_v3_key",
    lambda call: call.headers.get("x-ntapi-timestamp"),
    lambda call, earlier: call.headers.update({"x-ntapi-timestamp": earlier}),
    kills="v3/refuses-missing-timestamp v3/refuses-missing-timestamp-on-cancel",
)


@instead_of("read_key", kills="request/refuses-missing-key request/refuses-missing-key-on-cancel")
def remembers_the_key_of_a_connection(server: Server, call: Call) -> Any:
    named = call.fields.get("apiKey") or server.memory.get(f"key {call.connection}")
    server.memory[f"key {call.connection}"] = named
    return named


# ---- signature: is it there? ---------------------------------------------------------------------------------


def verifies_only_when(slug: str, verified: Callable[[Server, Call], bool], kills: str) -> None:
    """Register a server that skips the signature for some requests."""

    def check_signature(server: Server, call: Call) -> None:
        if verified(server, call):
            Server.check_signature(server, call)

    setting(slug, kills, check_signature=check_signature)


@instead_of("read_signature", kills="signature/refuses-absent")
def takes_the_signature_from_authorization(server: Server, call: Call) -> str | None:
    return Server.read_signature(server, call) or call.headers.get("authorization", "").rpartition(" ")[2]


@instead_of("read_signature", kills="signature/refuses-absent")
def takes_the_signature_from_a_cookie(server: Server, call: Call) -> str | None:
    found = re.search(r"\bsig=(\w+)", call.headers.get("cookie", ""))
    return Server.read_signature(server, call) or (found[1] if found else None)


verifies_only_when("never-verifies", lambda server, call: False, kills="signature/refuses-absent")
verifies_only_when(
    "lets-pass-without-signature-header",
    lambda server, call: "x-ntapi-sig" in call.headers,
    kills="signature/refuses-absent",
)
verifies_only_when(
    "lets-pass-an-empty-signature",
    lambda server, call: call.headers.get("x-ntapi-sig") != "",
    kills="signature/refuses-absent",
)
verifies_only_when(
    "verifies-only-sessions",
    lambda server, call: call.fields.get("cmd") == "getAuthInfo",
    kills="signature/refuses-absent-on-cancel signature/covers-nonce-on-cancel",
)
verifies_only_when(
    "verifies-only-cancels",
    lambda server, call: call.fields.get("cmd") == "delTradeOrder",
    kills="signature/refuses-absent signature/covers-nonce",
)
verifies_only_when(
    "verifies-only-requests-with-params", lambda server, call: "params" in call.fields, kills="signature/refuses-absent"
)
verifies_only_when(
    "trusts-a-signature-of-zeros",
    lambda server, call: call.headers.get("x-ntapi-sig") != "0" * 64,
    kills="signature/refuses-constant",
)
verifies_only_when(
    "trusts-the-placeholder-of-the-sample",
    lambda server, call: call.headers.get("x-ntapi-sig") != "<hash>",
    kills="signature/refuses-constant",
)


def takes_the_secret_of(slug: str, named: Callable[[Call], str | None], kills: str) -> None:
    """Register a server that verifies by the secret of a key that is not the one acted for."""
    setting(slug, kills, secret_of=lambda server, call: server.pairs.get(named(call) or "", server.pairs[call.key]))


takes_the_secret_of(
    "takes-the-secret-of-the-key-in-a-header",
    lambda call: call.headers.get("x-ntapi-publickey"),
    kills="signature/refuses-other-key",
)
takes_the_secret_of(
    "takes-the-secret-of-the-key-in-the-query",
    lambda call: dict(pairs_of(call.query)).get("apiKey"),
    kills="signature/refuses-other-key",
)
takes_the_secret_of(
    "takes-the-secret-of-the-first-key",
    lambda call: first_wins(call).get("apiKey"),
    kills="signature/refuses-other-key",
)


@instead_of("check_key", kills="signature/refuses-other-key")
def takes_the_secret_of_the_last_key(server: Server, call: Call) -> None:
    server.memory[f"last {call.connection}"] = call.fields.get("apiKey")
    call.fields = first_wins(call)
    Server.check_key(server, call)


also(
    "takes-the-secret-of-the-last-key",
    secret_of=lambda server, call: server.pairs.get(server.memory.pop(f"last {call.connection}", call.key), ""),
)


def verifies_once_for_each_connection(check: str) -> Callable[[Server, Call], None]:
    def check_signature(server: Server, call: Call) -> None:
        trusted = server.memory.setdefault("trusted", set())
        if (call.connection, call.key) not in trusted:
            getattr(Server, check)(server, call)
            trusted.add((call.connection, call.key))

    return check_signature


setting(
    "verifies-once-for-each-connection",
    check_signature=verifies_once_for_each_connection("check_signature"),
    kills="signature/refuses-modified",
)
setting(
    "v3-verifies-once-for-each-connection",
    check_v3_signature=verifies_once_for_each_connection("check_v3_signature"),
    kills="v3/refuses-modified",
)


@instead_of("check_signature", kills="signature/refuses-absent")
def trusts_a_key_that_signed_once(server: Server, call: Call) -> None:
    if call.key not in server.memory:
        Server.check_signature(server, call)
        server.memory[call.key] = True


@instead_of("check_signature", kills="signature/refuses-modified")
def wants_only_some_signature(server: Server, call: Call) -> None:
    if not server.read_signature(call):
        raise Refusal("signature")


@instead_of("check_signature", kills="signature/refuses-modified")
def wants_only_64_hexadecimal_digits(server: Server, call: Call) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", server.read_signature(call) or ""):
        raise Refusal("signature")


@instead_of("read_signature", kills="signature/refuses-absent")
def takes_the_signature_from_the_query(server: Server, call: Call) -> str | None:
    return Server.read_signature(server, call) or dict(pairs_of(call.query)).get("sign")


@instead_of("read_fields", kills="signature/refuses-absent")
def takes_the_signature_from_a_field(server: Server, call: Call) -> Members:
    fields = nested(pairs_of(call.body))
    found = [fields.pop(name, None) for name in ("sig", "sign", "signature", "X-NtApi-Sig")]
    call.headers.setdefault("x-ntapi-sig", found[0] or "")
    return fields


@instead_of("read_signature", kills="signature/refuses-absent")
def takes_headers_that_begin_like_the_signature(server: Server, call: Call) -> str | None:
    return next((value for name, value in call.headers.items() if name.startswith("x-ntapi-sig")), None)


@instead_of("read_signature", kills="request/header-names-any-case")
def reads_header_names_only_as_the_page_writes_them(server: Server, call: Call) -> str | None:
    return call.headers_as_sent.get("X-NtApi-Sig")


@instead_of("read_signature", kills="signature/refuses-absent")
def breaks_without_signature(server: Server, call: Call) -> str | None:
    return call.headers["x-ntapi-sig"]


# ---- signature: is it right? ---------------------------------------------------------------------------------


def compares(slug: str, same: Callable[[str, str], bool], kills: str) -> None:
    """Register a comparison of the given signature (first) with the right one."""
    setting(slug, kills, same=lambda server, given, right: same(given, right))


compares("compares-nothing", lambda given, right: True, kills="signature/refuses-modified")
compares("compares-the-lengths", lambda given, right: len(given) == len(right), kills="signature/refuses-modified")
compares("compares-the-first-8-digits", lambda given, right: given[:8] == right[:8], kills="signature/refuses-modified")
compares(
    "compares-the-first-32-digits", lambda given, right: given[:32] == right[:32], kills="signature/refuses-modified"
)
compares(
    "compares-the-last-32-digits", lambda given, right: given[-32:] == right[-32:], kills="signature/refuses-modified"
)
compares(
    "compares-all-but-one-digit",
    lambda given, right: given[:21] + given[22:] == right[:21] + right[22:],
    kills="signature/refuses-modified",
)
compares(
    "compares-every-second-digit", lambda given, right: given[::2] == right[::2], kills="signature/refuses-modified"
)
compares(
    "accepts-a-beginning",
    lambda given, right: len(given) > 1 and right.startswith(given),
    kills="signature/refuses-truncated signature/refuses-truncated-on-cancel",
)
compares("accepts-a-longer-one", lambda given, right: given.startswith(right), kills="signature/refuses-truncated")
compares("accepts-an-end", lambda given, right: given.endswith(right), kills="signature/refuses-truncated")
compares("accepts-a-part", lambda given, right: len(given) > 1 and given in right, kills="signature/refuses-truncated")
compares(
    "compares-up-to-the-shorter",
    lambda given, right: len(given) > 1 and given[:64] == right[: len(given)],
    kills="signature/refuses-truncated",
)
compares(
    "compares-as-patterns",
    lambda given, right: re.fullmatch(re.escape(given).replace(r"\*", ".*"), right) is not None,
    kills="signature/refuses-constant signature/refuses-constant-on-cancel",
)
compares(
    "compares-as-numbers",
    lambda given, right: re.fullmatch(r"(0x)?[0-9a-f]+", given) is not None and int(given, 16) == int(right, 16),
    kills="signature/refuses-truncated",
)
compares(
    "compares-any-of-a-list",
    lambda given, right: right in re.split(r"[ ,]+", given),
    kills="signature/refuses-truncated",
)
compares(
    "compares-the-first-of-a-list",
    lambda given, right: given.split(",")[0] == right,
    kills="signature/refuses-truncated",
)
compares(
    "compares-up-to-a-semicolon", lambda given, right: given.split(";")[0] == right, kills="signature/refuses-truncated"
)
compares(
    "compares-the-last-word", lambda given, right: given.split()[-1:] == [right], kills="signature/refuses-truncated"
)
compares("compares-without-quotes", lambda given, right: given.strip('"') == right, kills="signature/refuses-truncated")
compares(
    "compares-without-dashes", lambda given, right: given.replace("-", "") == right, kills="signature/refuses-truncated"
)
compares(
    "compares-percent-decoded",
    lambda given, right: urllib.parse.unquote(given) == right,
    kills="signature/refuses-modified",
)
compares(
    "compares-without-spaces", lambda given, right: given.replace(" ", "") == right, kills="signature/refuses-modified"
)
compares(
    "compares-halves",
    lambda given, right: {given[:32], given[32:]} == {right[:32], right[32:]},
    kills="signature/refuses-modified signature/refuses-modified-on-cancel",
)
compares(
    "compares-sorted-digits", lambda given, right: sorted(given) == sorted(right), kills="signature/refuses-modified"
)
compares(
    "compares-as-sets-of-digits",
    lambda given, right: set(given) == set(right) and given[:4] == right[:4],
    kills="signature/refuses-modified",
)


# ---- signature: by whom, how, over what? ---------------------------------------------------------------------


def also_accepts(slug: str, others: Callable[[Server, Call, str, str], list[str]], kills: str) -> None:
    """Register a server that accepts other signatures besides the right one, given the secret and the string."""

    def right_signatures(server: Server, call: Call) -> list[str]:
        secret, string = server.secret_of(call), server.string_to_sign(call)
        return [server.digest(secret, string), *others(server, call, secret, string)]

    setting(slug, kills, right_signatures=right_signatures)


@instead_of(
    "right_signatures",
    kills="signature/acts-on-signed-command signature/covers-command signature/covers-command-on-cancel",
)
def accepts_the_signature_of_another_command(server: Server, call: Call) -> list[str]:
    commands = (call.fields.get("cmd"), "getAuthInfo", "delTradeOrder")
    strings = [canonical({**call.fields, "cmd": command} if command else call.fields) for command in commands]
    return [server.digest(server.secret_of(call), string) for string in strings]


@instead_of("same", kills="signature/refuses-earlier signature/refuses-earlier-on-cancel")
def accepts_a_signature_that_it_saw_before(server: Server, given: str, right: str) -> bool:
    seen = server.memory.setdefault("seen", set())
    if Server.same(server, given, right):
        seen.add(given)
    return given in seen


def keyed(name: str, secret: str, string: str) -> str:
    return hmac.new(secret.encode(), string.encode(), name).hexdigest()


def plain(name: str, string: str) -> str:
    return hashlib.new(name, string.encode()).hexdigest()


also_accepts(
    "accepts-any-known-secret",
    lambda server, call, _, string: [server.digest(s, string) for s in server.pairs.values()],
    kills="signature/refuses-other-key",
)
also_accepts(
    "accepts-the-key-as-secret",
    lambda server, call, _, string: [server.digest(call.key, string)],
    kills="signature/refuses-other-key",
)
also_accepts(
    "accepts-an-empty-secret",
    lambda server, call, _, string: [server.digest("", string)],
    kills="signature/refuses-other-key signature/refuses-other-key-on-cancel",
)
also_accepts(
    "accepts-the-secret-with-a-line-end",
    lambda server, call, s, string: [server.digest(s + "\n", string)],
    kills="signature/refuses-other-key",
)
also_accepts(
    "accepts-the-secret-in-capitals",
    lambda server, call, s, string: [server.digest(s.upper(), string)],
    kills="signature/refuses-other-key",
)
also_accepts(
    "accepts-hmac-sha384",
    lambda server, call, secret, string: [keyed("sha384", secret, string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-hmac-sha3",
    lambda server, call, secret, string: [keyed("sha3_256", secret, string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-the-digest-of-a-digest",
    lambda server, call, s, string: [keyed("sha256", s, plain("sha256", string))],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-base64url",
    lambda server, call, s, string: [
        base64.urlsafe_b64encode(bytes.fromhex(keyed("sha256", s, string))).decode().rstrip("=")
    ],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-hmac-sha1",
    lambda server, call, secret, string: [keyed("sha1", secret, string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-hmac-md5",
    lambda server, call, secret, string: [keyed("md5", secret, string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-hmac-sha512",
    lambda server, call, secret, string: [keyed("sha512", secret, string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-plain-sha256",
    lambda server, call, secret, string: [plain("sha256", string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-sha256-with-the-secret-after",
    lambda server, call, s, string: [plain("sha256", string + s)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-sha256-with-the-secret-before",
    lambda server, call, s, string: [plain("sha256", s + string)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-md5-as-v1",
    lambda server, call, secret, string: [plain("md5", string + secret)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-swapped-key-and-message",
    lambda server, call, s, string: [keyed("sha256", string, s)],
    kills="signature/refuses-other-digest",
)
also_accepts(
    "accepts-base64",
    lambda server, call, s, string: [base64.b64encode(bytes.fromhex(keyed("sha256", s, string))).decode()],
    kills="signature/refuses-other-digest signature/refuses-other-digest-on-cancel",
)
also_accepts(
    "accepts-the-digest-of-nothing",
    lambda server, call, secret, _: [keyed("sha256", secret, "")],
    kills="signature/refuses-other-digest",
)


def accepts_the_string(slug: str, write: Callable[[Call, Members], str], kills: str) -> None:
    """Register a server that accepts the signature over another string too."""
    also_accepts(slug, lambda server, call, secret, _: [server.digest(secret, write(call, dict(call.fields)))], kills)


def without(fields: Members, *names: str) -> Members:
    return {name: value for name, value in fields.items() if name not in names}


accepts_the_string(
    "accepts-an-unsigned-key",
    lambda call, fields: canonical(without(fields, "apiKey")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-an-unsigned-command",
    lambda call, fields: canonical(without(fields, "cmd")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-an-unsigned-nonce",
    lambda call, fields: canonical(without(fields, "nonce")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-unsigned-params",
    lambda call, fields: canonical(without(fields, "params")),
    kills="signature/covers-order-id-on-cancel",
)
accepts_the_string(
    "accepts-a-signed-command-alone",
    lambda call, fields: str(fields.get("cmd")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-a-signed-nonce-alone",
    lambda call, fields: str(fields.get("nonce")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-signed-params-alone",
    lambda call, fields: canonical(p) if isinstance(p := fields.get("params"), dict) else "none",
    kills="signature/refuses-other-string-on-cancel",
)
accepts_the_string(
    "accepts-the-signed-path",
    lambda call, fields: call.path + canonical(fields),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-signed-json",
    lambda call, fields: json.dumps(fields, separators=(",", ":")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-the-signed-body",
    lambda call, fields: "&".join(sorted(call.body.decode().split("&"))),
    kills="signature/refuses-percent-encoded-on-cancel",
)
accepts_the_string(
    "accepts-signed-literal-brackets", lambda call, fields: canonical(fields).replace("params=", "params[", 1)
    .replace("[order_id=", "[order_id]="), kills="signature/refuses-percent-encoded-on-cancel"
)  # fmt: skip
accepts_the_string(
    "accepts-a-trailing-ampersand", lambda call, fields: canonical(fields) + "&", kills="signature/refuses-other-string"
)
accepts_the_string(
    "accepts-a-line-end", lambda call, fields: canonical(fields) + "\n", kills="signature/refuses-other-string"
)
accepts_the_string(
    "accepts-a-string-in-lower-case",
    lambda call, fields: canonical(fields).lower(),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-semicolons",
    lambda call, fields: canonical(fields).replace("&", ";"),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-no-separators",
    lambda call, fields: canonical(fields).replace("&", ""),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-values-without-names",
    lambda call, fields: "".join(part.partition("=")[2] for part in canonical(fields).split("&")),
    kills="signature/refuses-other-string",
)
accepts_the_string(
    "accepts-the-reverse-order",
    lambda call, fields: "&".join(reversed(canonical(fields).split("&"))),
    kills="signature/refuses-other-string",
)
accepts_the_string("accepts-params-signed-as-json", lambda call, fields: canonical(
    {**fields, "params": json.dumps({"order_id": int(o)}, separators=(",", ":"))}
    if isinstance(p := fields.get("params"), dict) and re.fullmatch("[0-9]{1,19}", str(o := p.get("order_id")))
    else fields
), kills="signature/refuses-other-string-on-cancel")  # fmt: skip


def leaves_out(field: str, kills: str) -> None:
    """Register a server whose string to sign lacks a field: an honest client cannot please it."""
    setting(
        f"leaves-{field.lower()}-out-of-the-string",
        kills,
        string_to_sign=lambda server, call: canonical(without(call.fields, field)),
    )


for name in ("apiKey", "cmd", "nonce"):
    leaves_out(name, kills="control/opens-session")
leaves_out("params", kills="control/accepts-cancel")


@instead_of("string_to_sign", kills="signature/takes-values-raw-on-cancel")
def signs_percent_encoded_values(server: Server, call: Call) -> str:
    def quoted(fields: Members) -> Members:
        return {
            k: quoted(v) if isinstance(v, dict) else urllib.parse.quote_plus(v, errors="replace")
            for k, v in fields.items()
        }

    return canonical(quoted(call.fields))


@instead_of("string_to_sign", kills="signature/covers-order-id-on-cancel")
def signs_the_number_it_read(server: Server, call: Call) -> str:
    params = call.fields.get("params")
    order_id = params.get("order_id") if isinstance(params, dict) else None
    if not isinstance(order_id, str) or not order_id.isdecimal():
        return canonical(call.fields)
    return canonical({**call.fields, "params": {**params, "order_id": str(int(order_id))}})


also("signs-the-number-it-read", parse_order_id=lambda server, text: int(text) if text.isdecimal() else None)


@instead_of("digest", kills="control/opens-session")
def writes_signatures_in_upper_case(server: Server, secret: str, string: str) -> str:
    return Server.digest(server, secret, string).upper()


@instead_of("check_signature", kills="signature/ignores-field-order")
def verifies_only_the_first_field_order_of_a_key(server: Server, call: Call) -> None:
    order = tuple(name for name, _ in pairs_of(call.body) if name in ("apiKey", "cmd", "nonce"))
    if order != ("apiKey", "cmd", "nonce"):
        raise Refusal("signature")
    Server.check_signature(server, call)


# ---- nonce: is it there, is it one? --------------------------------------------------------------------------


@instead_of("check_nonce", kills="nonce/refuses-replay")
def ignores_nonces(server: Server, call: Call) -> None:
    pass


@instead_of("check_nonce", kills="nonce/refuses-missing nonce/refuses-missing-on-cancel")
def lets_pass_without_nonce(server: Server, call: Call) -> None:
    if "nonce" in call.fields:
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-missing")
def lets_pass_an_empty_nonce(server: Server, call: Call) -> None:
    if call.fields.get("nonce") != "":
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-replay-on-cancel")
def checks_nonces_only_of_sessions(server: Server, call: Call) -> None:
    if call.fields.get("cmd") != "delTradeOrder":
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-missing")
def checks_nonces_only_of_cancels(server: Server, call: Call) -> None:
    if call.fields.get("cmd") == "delTradeOrder":
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-missing")
def breaks_on_a_malformed_nonce(server: Server, call: Call) -> None:
    int(call.fields["nonce"])
    Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-malformed")
def takes_what_is_no_number_for_no_nonce(server: Server, call: Call) -> None:
    if re.fullmatch(r"[0-9]+", call.fields.get("nonce") or "0"):
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-malformed")
def takes_a_list_for_no_nonce(server: Server, call: Call) -> None:
    if not isinstance(call.fields.get("nonce"), dict):
        Server.check_nonce(server, call)


@instead_of("check_nonce", kills="nonce/refuses-malformed")
def takes_the_first_nonce_of_a_list(server: Server, call: Call) -> None:
    nonce = call.fields.get("nonce")
    call.fields["nonce"] = next(iter(nonce.values())) if isinstance(nonce, dict) else nonce
    Server.check_nonce(server, call)


def reads_nonces(slug: str, read: Callable[[str], Any], kills: str) -> None:
    """Register a parser of nonces; a ValueError means that it is none."""

    def read_nonce(server: Server, text: str) -> Any:
        try:
            return read(text)
        except (ValueError, OverflowError):
            return None

    setting(slug, kills, read_nonce=read_nonce)


def leading_digits(text: str) -> int:
    return int((re.match(r"[0-9]+", text) or [""])[0])


reads_nonces("reads-nonces-by-int", int, kills="nonce/refuses-malformed")
reads_nonces("reads-nonces-by-int-of-any-base", lambda text: int(text, 0), kills="nonce/refuses-malformed")
reads_nonces("reads-nonces-by-float", float, kills="nonce/compares-exactly")
reads_nonces("reads-nonces-by-int-of-float", lambda text: int(float(text)), kills="nonce/compares-exactly")
reads_nonces("reads-nonces-up-to-the-first-letter", leading_digits, kills="nonce/refuses-malformed")
reads_nonces(
    "reads-the-digits-of-a-nonce", lambda text: int(re.sub(r"[^0-9]", "", text)), kills="nonce/refuses-malformed"
)
reads_nonces(
    "reads-stripped-nonces",
    lambda text: int(text) if text.strip().isdecimal() else None,
    kills="nonce/refuses-malformed",
)
reads_nonces(
    "reads-nonces-by-a-pattern-with-dollar",
    lambda text: int(text) if re.match(r"[0-9]+$", text) else None,
    kills="nonce/refuses-malformed",
)
reads_nonces(
    "reads-nonces-without-sign",
    lambda text: abs(int(text)) if re.fullmatch(r"-?[0-9]+", text) else None,
    kills="nonce/refuses-malformed",
)
reads_nonces("reads-nonces-as-json", json.loads, kills="nonce/refuses-malformed")
reads_nonces("reads-nonces-without-tabs", lambda text: decimal(text.rstrip("\t")), kills="nonce/refuses-malformed")
reads_nonces("reads-nonces-up-to-a-nul", lambda text: decimal(text.split("\0")[0]), kills="nonce/refuses-malformed")
reads_nonces(
    "reads-nonces-without-no-break-spaces", lambda text: decimal(text.rstrip("\u00a0")), kills="nonce/refuses-malformed"
)
reads_nonces(
    "reads-nonces-before-a-zero-fraction",
    lambda text: decimal(text.removesuffix(".0")),
    kills="nonce/refuses-malformed",
)
reads_nonces("reads-nonces-in-parentheses", lambda text: decimal(text.strip("()")), kills="nonce/refuses-malformed")
reads_nonces("reads-nonces-with-marks-around", lambda text: decimal(text.strip("#;'")), kills="nonce/refuses-malformed")
reads_nonces(
    "reads-nonces-without-invisible-signs",
    lambda text: decimal(text.strip("\u200b\ufeff\v")),
    kills="nonce/refuses-malformed",
)
reads_nonces(
    "reads-nonces-before-a-line-end", lambda text: decimal(text.removesuffix("\r\n")), kills="nonce/refuses-malformed"
)
reads_nonces("reads-nonces-with-separators", lambda text: int(text.replace(",", "")), kills="nonce/refuses-malformed")


@instead_of("read_nonce", kills="nonce/refuses-malformed")
def breaks_on_thousands_of_digits(server: Server, text: str) -> Any:
    return int(text) and Server.read_nonce(server, text) if text.isdigit() and text.isascii() else None


@instead_of("read_nonce", kills="nonce/refuses-malformed nonce/refuses-malformed-on-cancel")
def breaks_on_a_superscript_digit(server: Server, text: str) -> Any:
    return int(text) if text.isdigit() and text.isascii() | ("\u00b2" in text) else None


# ---- nonce: does it rise? ------------------------------------------------------------------------------------


def rises(slug: str, rule: Callable[[int, int], bool], kills: str) -> None:
    """Register a comparison of the last nonce (first) with the new one."""
    setting(slug, kills, rises=lambda server, last, nonce: rule(last, nonce))


rises("accepts-equal-nonces", lambda last, nonce: nonce >= last, kills="nonce/accepted-once-in-a-race")
rises("accepts-any-other-nonce", lambda last, nonce: nonce != last, kills="nonce/refuses-replay")
rises(
    "accepts-slightly-lower-nonces",
    lambda last, nonce: nonce > last - 5 and nonce != last,
    kills="nonce/compares-whole-numbers nonce/compares-whole-numbers-on-cancel",
)
rises("compares-nonces-as-text", lambda last, nonce: str(nonce) > str(last), kills="nonce/compares-whole-numbers")
rises("compares-nonces-as-floats", lambda last, nonce: float(nonce) > float(last), kills="nonce/compares-exactly")
rises("compares-nonces-in-microseconds", lambda last, nonce: nonce // 10 > last // 10, kills="nonce/compares-exactly")
rises(
    "compares-nonces-in-32-bits", lambda last, nonce: nonce % 2**32 > last % 2**32, kills="nonce/compares-whole-numbers"
)
rises(
    "compares-the-last-12-digits-of-nonces",
    lambda last, nonce: nonce % 10**12 > last % 10**12,
    kills="nonce/compares-whole-numbers",
)
rises("wants-the-very-next-nonce", lambda last, nonce: nonce == last + 1, kills="control/accepts-cancel")
rises("refuses-nonces-that-jump", lambda last, nonce: last < nonce <= last + 1_000_000, kills="nonce/accepts-jump")
rises("wants-falling-nonces", lambda last, nonce: nonce < last, kills="control/accepts-cancel")


def nonces_for(slug: str, scope: Callable[[Call], Hashable], kills: str) -> None:
    """Register what a nonce is kept for."""
    setting(slug, kills, ledger_of=lambda server, call: scope(call))


nonces_for("keeps-nonces-for-all-keys-together", lambda call: "all", kills="nonce/is-per-key")
nonces_for(
    "keeps-nonces-for-each-command",
    lambda call: (call.key, call.fields.get("cmd")),
    kills="nonce/refuses-equal-of-other-command",
)
nonces_for("keeps-nonces-for-each-connection", lambda call: (call.key, call.connection), kills="nonce/refuses-replay")
nonces_for(
    "keeps-nonces-for-each-signature",
    lambda call: (call.key, call.headers.get("x-ntapi-sig")),
    kills="nonce/refuses-equal-of-other-command",
)
nonces_for(
    "keeps-nonces-for-each-path", lambda call: (call.key, call.path), kills="nonce/refuses-equal-of-other-command"
)
nonces_for("keeps-nonces-for-each-query", lambda call: (call.key, call.query), kills="nonce/refuses-replay")


def nonces_for_each(header: str) -> None:
    nonces_for(
        f"keeps-nonces-for-each-{header}",
        lambda call: (call.key, call.headers.get(header)),
        kills="nonce/refuses-replay",
    )


for header in ("cookie", "referer", "accept", "accept-language", "x-real-ip", "forwarded"):
    nonces_for_each(header)
nonces_for(
    "keeps-nonces-for-each-version",
    lambda call: (call.key, dict(pairs_of(call.query)).get("v")),
    kills="nonce/refuses-replay",
)
nonces_for(
    "keeps-nonces-for-each-user-agent",
    lambda call: (call.key, call.headers.get("user-agent")),
    kills="nonce/refuses-replay",
)
nonces_for(
    "keeps-nonces-for-each-origin", lambda call: (call.key, call.headers.get("origin")), kills="nonce/refuses-replay"
)
nonces_for(
    "keeps-nonces-for-each-address",
    lambda call: (call.key, call.headers.get("x-forwarded-for")),
    kills="nonce/refuses-replay",
)


def forgets_nonces_after(slug: str, forgotten: Callable[[str, Call], bool], kills: str) -> None:
    """Register a refusal after which nobody's last nonce is known."""

    def refuse(server: Server, why: str, call: Call) -> tuple[int, bytes]:
        if forgotten(why, call):
            server.last.clear()
        return Server.refuse(server, why, call)

    setting(slug, kills, refuse=refuse)


forgets_nonces_after(
    "forgets-nonces-after-an-unknown-command", lambda why, call: why == "command", kills="nonce/refuses-replay"
)
forgets_nonces_after(
    "forgets-nonces-after-a-bad-order", lambda why, call: why == "parameters", kills="nonce/refuses-replay"
)
forgets_nonces_after(
    "forgets-nonces-after-a-malformed-one",
    lambda why, call: why == "nonce" and not call.nonce,
    kills="nonce/refuses-replay",
)
forgets_nonces_after(
    "forgets-nonces-after-an-unknown-key", lambda why, call: why == "key", kills="nonce/refuses-replay"
)
forgets_nonces_after(
    "forgets-nonces-after-a-bad-signature", lambda why, call: why == "signature", kills="nonce/refuses-replay"
)


@instead_of("admit", kills="nonce/is-per-key")
def takes_no_nonce_of_another_key(server: Server, ledger: Hashable, nonce: Any) -> bool:
    return Server.admit(server, ledger, nonce) and server.memory.setdefault(f"nonce {nonce}", ledger) == ledger


@instead_of("admit", kills="nonce/refuses-replay")
def remembers_the_nonce_of_one_key_alone(server: Server, ledger: Hashable, nonce: Any) -> bool:
    server.last = {key: last for key, last in server.last.items() if key == ledger}
    return Server.admit(server, ledger, nonce)


@instead_of("admit", kills="nonce/refuses-lower nonce/refuses-lower-on-cancel")
def remembers_only_that_a_nonce_was_used(server: Server, ledger: Hashable, nonce: Any) -> bool:
    with server.lock:
        used = server.last.setdefault(ledger, set())
        return nonce not in used and not used.add(nonce)


@instead_of("admit", kills="memory/refuses-first-requests")
def remembers_only_the_last_two_nonces(server: Server, ledger: Hashable, nonce: Any) -> bool:
    with server.lock:
        recent = server.last.setdefault(ledger, [])
        known = nonce in recent
        server.last[ledger] = [*recent, nonce][-2:]
        return not known


@instead_of("admit", kills="nonce/accepted-once-in-a-race nonce/accepted-once-in-a-race-on-cancel")
def checks_then_sets_nonces(server: Server, ledger: Hashable, nonce: Any) -> bool:
    if ledger in server.last and nonce <= server.last[ledger]:
        return False
    time.sleep(0.003)
    server.last[ledger] = nonce
    return True


@instead_of("admit", kills="nonce/compares-whole-numbers")
def moves_the_nonce_even_when_it_refuses(server: Server, ledger: Hashable, nonce: Any) -> bool:
    with server.lock:
        last, server.last[ledger] = server.last.get(ledger, -1), nonce
        return bool(nonce > last)


@instead_of("admit", kills="nonce/refuses-replay")
def remembers_no_nonce_after_a_refusal(server: Server, ledger: Hashable, nonce: Any) -> bool:
    admitted = Server.admit(server, ledger, nonce)
    if not admitted:
        server.last.pop(ledger)
    return admitted


@instead_of("admit", kills="nonce/recovers-after-stale")
def locks_a_key_after_a_low_nonce(server: Server, ledger: Hashable, nonce: Any) -> bool:
    if not Server.admit(server, ledger, nonce):
        server.last[ledger] = 2**70
        return False
    return True


@instead_of("check_command", kills="nonce/accepted-once-in-a-race")
def moves_the_nonce_only_after_a_cancel(server: Server, call: Call) -> None:
    Server.check_command(server, call)
    if call.command == "delTradeOrder" and not server.admit(call.key, call.nonce):
        raise Refusal("nonce")


also(
    "moves-the-nonce-only-after-a-cancel",
    check_nonce=lambda server, call: Server.check_nonce(
        type("Reader", (Server,), {"admit": lambda *_: True})(server.pairs), call
    ),
)

_EARLY = list(Server.steps)
_EARLY.insert(_EARLY.index("check_signature"), _EARLY.pop(_EARLY.index("check_nonce")))
setting("burns-nonces-on-bad-signatures", steps=tuple(_EARLY), kills="nonce/not-burned-by-bad-signature")


@instead_of("check_signature", kills="signature/recovers-after-bad")
def locks_a_key_after_a_bad_signature(server: Server, call: Call) -> None:
    try:
        Server.check_signature(server, call)
    except Refusal:
        server.last[call.key] = 2**70
        raise


# ---- command and parameters ----------------------------------------------------------------------------------


@instead_of("read_command", kills="signature/acts-on-signed-command")
def obeys_the_path(server: Server, call: Call) -> Any:
    return call.path.rpartition("/")[2]


@instead_of("read_command", kills="request/refuses-missing-command")
def takes_a_missing_command_from_the_path(server: Server, call: Call) -> Any:
    return call.fields.get("cmd") or call.path.rpartition("/")[2]


@instead_of("read_command", kills="request/refuses-missing-command")
def takes_an_empty_command_for_a_session(server: Server, call: Call) -> Any:
    return "getAuthInfo" if call.fields.get("cmd") == "" else call.fields.get("cmd")


@instead_of("read_command", kills="request/refuses-unknown-command")
def obeys_commands_that_begin_right(server: Server, call: Call) -> Any:
    command = call.fields.get("cmd") or ""
    return next((known for known in ("getAuthInfo", "delTradeOrder") if command.startswith(known)), None)


@instead_of("read_command", kills="request/refuses-unknown-command")
def obeys_commands_that_hold_a_right_one(server: Server, call: Call) -> Any:
    command = call.fields.get("cmd") or ""
    return next((known for known in ("getAuthInfo", "delTradeOrder") if known in command), None)


@instead_of("read_command", kills="request/refuses-unknown-command")
def obeys_commands_with_spaces(server: Server, call: Call) -> Any:
    return (call.fields.get("cmd") or "").strip()


@instead_of("read_command", kills="request/refuses-unknown-command")
def obeys_commands_with_an_extension(server: Server, call: Call) -> Any:
    return (call.fields.get("cmd") or "").removesuffix(".php")


@instead_of("read_command", kills="request/refuses-unknown-command")
def obeys_commands_up_to_a_nul(server: Server, call: Call) -> Any:
    return (call.fields.get("cmd") or "").split("\0")[0]


CASES = "request/refuses-other-case"


def obeys_in_other_case(
    slug: str, known_as: Callable[[str], str | None], kills: str = f"{CASES} {CASES}-on-cancel"
) -> None:
    """Register a server that knows commands by names in another letter case, of either generation."""
    setting(
        slug,
        kills,
        read_command=lambda server, call: known_as(cmd) if isinstance(cmd := call.fields.get("cmd"), str) else cmd,
    )
    v3 = " ".join(kill.replace("request/", "v3/") for kill in kills.split())
    setting(f"v3-{slug}", v3, read_v3_command=lambda server, call: known_as(Server.read_v3_command(server, call)))


obeys_in_other_case(
    "obeys-commands-in-any-case",
    lambda cmd: {"getauthinfo": "getAuthInfo", "deltradeorder": "delTradeOrder"}.get(cmd.lower(), cmd),
)
obeys_in_other_case("obeys-commands-with-a-capital", lambda cmd: cmd[:1].lower() + cmd[1:])
obeys_in_other_case(
    "cancels-by-a-command-in-any-case",
    lambda cmd: "delTradeOrder" if cmd.lower() == "deltradeorder" else cmd,
    kills=f"{CASES}-on-cancel",
)


@instead_of("check_command", kills="request/refuses-missing-command")
def answers_unknown_commands_with_an_empty_object(server: Server, call: Call) -> None:
    call.command = server.read_command(call) or ""


also(
    "answers-unknown-commands-with-an-empty-object",
    carry_out=lambda server, call: (
        Server.carry_out(server, call) if call.command in ("getAuthInfo", "delTradeOrder") else {}
    ),
)


@instead_of("read_command", kills="request/refuses-unknown-command")
def takes_unknown_commands_for_a_session(server: Server, call: Call) -> Any:
    command = call.fields.get("cmd")
    return command if command in (None, "", "delTradeOrder") else "getAuthInfo"


def finds_order_ids(slug: str, find: Callable[[Members, Call], Any], kills: str) -> None:
    """Register where else an order id is looked for."""
    setting(
        slug,
        kills,
        find_order_id=lambda server, params, call: params["order_id"] if params.get("order_id") else find(params, call),
    )


finds_order_ids(
    "takes-the-order-id-at-the-top-level",
    lambda params, call: call.fields.get("order_id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-under-id", lambda params, call: params.get("id"), kills="request/refuses-misplaced-order-id"
)
finds_order_ids(
    "takes-the-order-id-in-camel-case",
    lambda params, call: params.get("orderId"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-from-the-query",
    lambda params, call: (nested(pairs_of(call.query)).get("params") or {}).get("order_id"),
    kills="request/refuses-misplaced-order-id",
)


finds_order_ids(
    "takes-the-order-id-in-any-letter-case",
    lambda params, call: params.get("Order_ID"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-under-a-name-with-a-space",
    lambda params, call: params.get("order_id "),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-with-a-hyphen",
    lambda params, call: params.get("order-id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-first-of-order-ids",
    lambda params, call: below(params.get("order_ids"), "0"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-id-of-an-order",
    lambda params, call: below(params.get("order"), "id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-below-data",
    lambda params, call: below(params.get("data"), "order_id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-users-order-id",
    lambda params, call: params.get("user_order_id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "takes-the-order-id-under-a-dotted-name",
    lambda params, call: call.fields.get("params.order_id"),
    kills="request/refuses-misplaced-order-id",
)


def below(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def text_of_params(call: Call) -> str:
    params = call.fields.get("params")
    return params if isinstance(params, str) else ""


finds_order_ids(
    "takes-the-order-id-under-params-twice",
    lambda params, call: below(params.get("params"), "order_id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "reads-params-as-a-form",
    lambda params, call: nested(pairs_of(text_of_params(call))).get("order_id"),
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "reads-params-as-the-order-id",
    lambda params, call: text_of_params(call) or None,
    kills="request/refuses-misplaced-order-id",
)
finds_order_ids(
    "reads-params-as-json",
    lambda params, call: (re.findall(r'^\{"order_id":([0-9]+)\}$', text_of_params(call)) or [None])[0],
    kills="request/refuses-misplaced-order-id",
)


@instead_of("find_order_id", kills="request/refuses-malformed-order-id")
def takes_the_first_of_a_list(server: Server, params: Members, call: Call) -> Any:
    order_id = params.get("order_id")
    return next(iter(order_id.values())) if isinstance(order_id, dict) else order_id


@instead_of("read_order_id", kills="request/refuses-missing-order-id")
def cancels_without_an_order_id(server: Server, call: Call) -> Any:
    params = call.fields.get("params")
    if not isinstance(params, dict) or not params.get("order_id"):
        return None
    return Server.read_order_id(server, call)


@instead_of("read_order_id", kills="request/refuses-missing-order-id")
def takes_a_missing_order_id_for_all(server: Server, call: Call) -> Any:
    return Server.read_order_id(server, call) if "params" in call.fields else 0


@instead_of("read_order_id", kills="request/refuses-missing-order-id")
def breaks_without_an_order_id(server: Server, call: Call) -> Any:
    int(call.fields["params"]["order_id"])
    return Server.read_order_id(server, call)


def reads_order_ids(slug: str, read: Callable[[str], Any], kills: str) -> None:
    """Register a parser of order ids; a ValueError means that it is none."""

    def parse_order_id(server: Server, text: str) -> Any:
        try:
            return read(text)
        except (ValueError, OverflowError):
            return None

    setting(slug, kills, parse_order_id=parse_order_id)


def decimal(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(text)
    return int(text)


reads_order_ids("reads-order-ids-by-int", int, kills="request/refuses-malformed-order-id")
reads_order_ids(
    "reads-order-ids-by-int-of-any-base", lambda text: int(text, 0), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-by-int-of-float", lambda text: int(float(text)), kills="request/keeps-63-bit-order-ids"
)
reads_order_ids("reads-order-ids-up-to-the-first-letter", leading_digits, kills="request/refuses-malformed-order-id")
reads_order_ids(
    "reads-order-ids-without-sign",
    lambda text: abs(int(text)) if text[:1] != "+" else None,
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "reads-quoted-order-ids",
    lambda text: int(text.strip('"')) if text.strip('"').isdecimal() else None,
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "takes-any-text-for-an-order-id",
    lambda text: int(text) if text.isdecimal() else text or None,
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "takes-zero-for-an-order-id",
    lambda text: 0 if text == "0" else decimal(text),
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "reads-order-ids-without-spaces-after",
    lambda text: decimal(text.rstrip(" ")),
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "reads-order-ids-without-tabs", lambda text: decimal(text.strip("\t")), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-up-to-a-nul", lambda text: decimal(text.split("\0")[0]), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-up-to-a-dot", lambda text: decimal(text.rstrip(".")), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-up-to-a-semicolon",
    lambda text: decimal(text.rstrip(";")),
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "reads-order-ids-up-to-a-bar", lambda text: decimal(text.split("|")[0]), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-after-a-hash", lambda text: decimal(text.lstrip("#")), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-in-parentheses", lambda text: decimal(text.strip("()")), kills="request/refuses-malformed-order-id"
)
reads_order_ids(
    "reads-order-ids-without-invisible-signs",
    lambda text: decimal(text.strip("\u200b\ufeff\v")),
    kills="request/refuses-malformed-order-id",
)
reads_order_ids(
    "reads-order-ids-before-a-line-end",
    lambda text: decimal(text.removesuffix("\r\n")),
    kills="request/refuses-malformed-order-id",
)
reads_order_ids("cuts-order-ids-to-32-bits", lambda text: decimal(text) % 2**32, kills="request/keeps-long-order-ids")
reads_order_ids(
    "saturates-order-ids-at-31-bits", lambda text: min(decimal(text), 2**31 - 1), kills="reply/success-echoes-order-id"
)
reads_order_ids(
    "saturates-order-ids-at-63-bits",
    lambda text: min(decimal(text), 2**63 - 1),
    kills="request/keeps-or-refuses-huge-order-ids",
)
reads_order_ids(
    "refuses-order-ids-beyond-32-bits",
    lambda text: n if (n := decimal(text)) < 2**32 else None,
    kills="request/keeps-long-order-ids",
)
reads_order_ids(
    "refuses-order-ids-beyond-53-bits",
    lambda text: n if (n := decimal(text)) < 2**53 else None,
    kills="request/keeps-63-bit-order-ids",
)
reads_order_ids(
    "rounds-order-ids-to-53-bits", lambda text: int(float(decimal(text))), kills="request/keeps-63-bit-order-ids"
)
reads_order_ids(
    "refuses-short-order-ids",
    lambda text: int(text) if re.fullmatch(r"[1-9][0-9]{9,18}", text) else None,
    kills="request/keeps-long-order-ids",
)


@instead_of("parse_order_id", kills="request/refuses-malformed-order-id")
def breaks_on_a_superscript_digit_of_an_order(server: Server, text: str) -> Any:
    return int(text) if "\u00b2" in text else Server.parse_order_id(server, text)


# ---- success -------------------------------------------------------------------------------------------------


def succeeds_with(slug: str, members: Callable[[int], Any], kills: str) -> None:
    """Register what a cancel of an order answers."""
    setting(slug, kills, success=lambda server, call: members(call.order_id))


succeeds_with("echoes-text", lambda order_id: {"order_id": str(order_id)}, kills="reply/success-echoes-order-id")
succeeds_with("echoes-a-float", lambda order_id: {"order_id": float(order_id)}, kills="reply/success-echoes-order-id")
succeeds_with("echoes-true", lambda order_id: {"order_id": True}, kills="reply/success-echoes-order-id")
succeeds_with("echoes-null", lambda order_id: {"order_id": None}, kills="reply/success-echoes-order-id")
succeeds_with("echoes-a-list", lambda order_id: {"order_id": [order_id]}, kills="reply/success-echoes-order-id")
succeeds_with("echoes-nothing", lambda order_id: {}, kills="reply/success-echoes-order-id")
succeeds_with(
    "echoes-under-another-name", lambda order_id: {"orderId": order_id}, kills="reply/success-echoes-order-id"
)
succeeds_with("echoes-nested", lambda order_id: {"data": {"order_id": order_id}}, kills="reply/success-echoes-order-id")
succeeds_with(
    "echoes-as-result", lambda order_id: {"result": {"order_id": order_id}}, kills="reply/success-echoes-order-id"
)
succeeds_with(
    "echoes-the-next-order", lambda order_id: {"order_id": order_id + 1}, kills="signature/acts-on-signed-value"
)
succeeds_with(
    "echoes-the-documented-order-always",
    lambda order_id: {"order_id": 2929292929},
    kills="request/keeps-long-order-ids",
)
succeeds_with("says-ok", lambda order_id: {"status": "ok"}, kills="reply/success-echoes-order-id")
succeeds_with("says-success-true", lambda order_id: {"success": True}, kills="reply/success-echoes-order-id")
succeeds_with("answers-with-a-list", lambda order_id: [{"order_id": order_id}], kills="reply/success-is-json-object")
succeeds_with("answers-with-a-number", lambda order_id: order_id, kills="reply/success-is-json-object")
succeeds_with("answers-with-true", lambda order_id: True, kills="reply/success-is-json-object")
succeeds_with("answers-with-null", lambda order_id: None, kills="reply/success-is-json-object")
succeeds_with(
    "adds-an-error-to-success",
    lambda order_id: {"order_id": order_id, "error": "OK"},
    kills="reply/success-is-json-object",
)
succeeds_with(
    "adds-an-errmsg-to-success",
    lambda order_id: {"order_id": order_id, "errMsg": "Success", "code": 0},
    kills="reply/success-is-json-object",
)


@instead_of("cancel", kills="reply/echoes-own-order-in-a-race")
def echoes_the_order_of_another_thread(server: Server, call: Call) -> Any:
    server.memory["order"] = server.read_order_id(call)
    time.sleep(0.003)
    return {"order_id": server.memory["order"]}


@instead_of("open_session", kills="reply/session-has-sess-id")
def opens_sessions_without_sess_id(server: Server, call: Call) -> Any:
    return {"session": "open"}


@instead_of("open_session", kills="reply/session-has-sess-id")
def opens_sessions_with_an_empty_sess_id(server: Server, call: Call) -> Any:
    return {"sess_id": ""}


@instead_of("open_session", kills="reply/keeps-signature-secret")
def tells_the_secret_in_a_session(server: Server, call: Call) -> Any:
    return {"sess_id": "1", "basic": base64.b64encode(f"{call.key}:{server.pairs[call.key]}".encode()).decode()}


@instead_of("success", kills="reply/keeps-signature-secret")
def tells_the_secret_in_a_cancel(server: Server, call: Call) -> Any:
    return {"order_id": call.order_id, "by": server.pairs[call.key].encode().hex()}


@instead_of("open_session", kills="reply/session-has-sess-id")
def opens_sessions_with_an_error(server: Server, call: Call) -> Any:
    return {"sess_id": "1", "error": "none"}


def writes_cancels(slug: str, write: Callable[[bytes], bytes], kills: str) -> None:
    """Register how the reply to an accepted cancel is written."""
    setting(slug, kills, encode=lambda server, members: (
        write(Server.encode(server, members))
        if isinstance(members, dict) and "order_id" in members else Server.encode(server, members)
    ))  # fmt: skip


writes_cancels(
    "answers-cancels-with-html",
    lambda body: b"<!doctype html><title>Order cancelled</title>",
    kills="reply/success-is-json-object",
)
writes_cancels("answers-cancels-with-text", lambda body: b"OK", kills="reply/success-is-json-object")
writes_cancels("answers-cancels-with-nothing", lambda body: b"", kills="reply/success-is-json-object")
writes_cancels(
    "answers-cancels-in-single-quotes", lambda body: body.replace(b'"', b"'"), kills="reply/success-is-json-object"
)
writes_cancels(
    "answers-cancels-after-a-warning",
    lambda body: b"<br />\n<b>Warning</b>: Undefined index\n" + body,
    kills="reply/success-is-json-object",
)
writes_cancels("answers-cancels-with-half-a-body", lambda body: body[:-1], kills="reply/success-is-json-object")
writes_cancels("answers-cancels-with-a-bom", lambda body: b"\xef\xbb\xbf" + body, kills="reply/success-is-json-object")
writes_cancels(
    "answers-cancels-in-utf-16", lambda body: body.decode().encode("utf-16"), kills="reply/success-is-json-object"
)
writes_cancels(
    "answers-cancels-as-jsonp", lambda body: b"callback(" + body + b")", kills="reply/success-is-json-object"
)
writes_cancels(
    "answers-cancels-with-json-in-json",
    lambda body: json.dumps(body.decode()).encode(),
    kills="reply/success-is-json-object",
)
writes_cancels(
    "answers-cancels-with-a-name-twice",
    lambda body: b'{"order_id": 1, ' + body[1:],
    kills="reply/success-is-json-object",
)
writes_cancels(
    "answers-cancels-with-nan", lambda body: body[:-1] + b', "price": NaN}', kills="reply/success-is-json-object"
)


def answers_cancels_by(slug: str, status: int, kills: str) -> None:
    """Register an HTTP status for accepted cancels."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        usual, body = Server.answer(server, call)
        return (status if call.order_id else usual), body

    setting(slug, kills, answer=answer)


answers_cancels_by("answers-cancels-by-403", 403, kills="reply/success-is-json-object")
answers_cancels_by("answers-cancels-by-500", 500, kills="reply/success-is-json-object")
answers_cancels_by("answers-cancels-by-302", 302, kills="reply/success-is-json-object")


# ---- failure -------------------------------------------------------------------------------------------------


def fails_with(slug: str, members: Callable[[str, int], Any], *kinds: str, kills: str) -> None:
    """Register the members of failures (of some kinds, or of all), given text and code."""

    def failure(server: Server, why: str, call: Call) -> Any:
        _key, text, code = FAILURES[why]
        return members(text, code) if not kinds or why in kinds else Server.failure(server, why, call)

    setting(slug, kills, failure=failure)


fails_with("names-failures-message", lambda text, code: {"message": text, "code": code}, kills="request/refuses-get")
fails_with("says-ok-false", lambda text, code: {"ok": False}, kills="request/refuses-get")
fails_with("says-only-a-code", lambda text, code: {"code": code}, kills="request/refuses-get")
fails_with("nests-failures", lambda text, code: {"data": {"error": text}, "code": code}, kills="request/refuses-get")
fails_with(
    "puts-failures-in-an-object",
    lambda text, code: {"error": {"message": text}, "code": code},
    kills="reply/failure-names-itself",
)
fails_with("puts-failures-in-a-list", lambda text, code: [{"error": text, "code": code}], kills="request/refuses-get")
fails_with(
    "says-error-true",
    lambda text, code: {"error": True, "code": code},
    kills="reply/failure-names-itself v3/failure-names-itself",
)
fails_with("says-nothing-in-error", lambda text, code: {"error": "", "code": code}, kills="request/refuses-get")
fails_with(
    "gives-no-code", lambda text, code: {"error": text}, kills="reply/documented-common-error reply/failure-has-code"
)
fails_with(
    "gives-codes-as-text", lambda text, code: {"error": text, "code": str(code)}, kills="reply/documented-common-error"
)
fails_with(
    "gives-codes-as-floats",
    lambda text, code: {"error": text, "code": (code or 0) + 0.5},
    kills="reply/documented-common-error",
)
fails_with(
    "gives-null-as-code", lambda text, code: {"error": text, "code": None}, kills="reply/documented-common-error"
)
fails_with(
    "gives-false-as-code", lambda text, code: {"error": text, "code": False}, kills="reply/documented-common-error"
)
fails_with(
    "gives-codes-under-another-name",
    lambda text, code: {"error": text, "error_code": code},
    kills="reply/documented-common-error",
)
fails_with(
    "swaps-the-code-of-the-common-error",
    lambda text, code: {"errMsg": text, "code": 12},
    "method",
    kills="reply/documented-common-error",
)
fails_with(
    "swaps-the-key-of-the-common-error",
    lambda text, code: {"error": text, "code": code},
    "method",
    kills="reply/documented-common-error",
)
fails_with(
    "swaps-the-codes-of-the-method-error",
    lambda text, code: {"error": "Type of security not identified. Please contact Support.", "code": 12},
    "parameters",
    kills="reply/documented-method-error",
)
fails_with(
    "forgets-one-key-of-insufficient-rights",
    lambda text, code: {
        "errorMsg": "This order may only be cancelled by a Cancellation Order or through traders",
        "code": 12,
    },
    "parameters",
    kills="reply/documented-insufficient-rights",
)
fails_with(
    "names-only-bad-nonces-otherwise",
    lambda text, code: {"message": text, "code": code},
    "nonce",
    kills="nonce/refuses-replay",
)
fails_with(
    "names-only-bad-parameters-otherwise",
    lambda text, code: {"detail": text, "code": code},
    "parameters",
    kills="request/refuses-missing-order-id",
)
fails_with(
    "names-only-unknown-commands-otherwise",
    lambda text, code: {"message": text, "code": code},
    "command",
    kills="request/refuses-missing-command",
)
fails_with(
    "names-only-unknown-keys-otherwise",
    lambda text, code: {"message": text, "code": code},
    "key",
    kills="request/refuses-missing-key",
)


def refuses_by(slug: str, status: int, body: bytes | None = None, *kinds: str, kills: str) -> None:
    """Register the HTTP reply of refusals (of some kinds, or of all)."""

    def refuse(server: Server, why: str, call: Call) -> tuple[int, bytes]:
        if kinds and why not in kinds:
            return Server.refuse(server, why, call)
        return status, server.encode(server.failure(why, call)) if body is None else body

    setting(slug, kills, refuse=refuse)


refuses_by("refuses-by-500", 500, kills="request/refuses-get")
refuses_by("refuses-by-302", 302, b"", kills="request/refuses-get")
refuses_by("refuses-with-html", 200, b"<html><body><h1>Error</h1></body></html>", kills="request/refuses-get")
refuses_by("refuses-with-text", 200, b"Invalid signature", kills="request/refuses-get")
refuses_by("refuses-with-nothing", 200, b"", kills="request/refuses-get")
refuses_by("refuses-by-401-with-text", 401, b"Unauthorized", kills="reply/failure-names-itself")
refuses_by(
    "refuses-by-400-with-html",
    400,
    b"<!doctype html><title>400 Bad Request</title>",
    kills="reply/failure-names-itself",
)
refuses_by(
    "refuses-get-by-405-with-html",
    405,
    b"<!doctype html><title>405</title>",
    "method",
    kills="reply/failure-names-itself",
)
refuses_by(
    "breaks-on-bad-parameters", 500, b"Internal Server Error", "parameters", kills="request/refuses-missing-order-id"
)
refuses_by(
    "breaks-on-an-unknown-key",
    500,
    b'{"error": "NoneType has no secret", "code": 1}',
    "key",
    kills="request/refuses-missing-key",
)


@instead_of("refuse", kills="signature/refuses-absent")
def hangs_up_on_a_bad_signature(server: Server, why: str, call: Call) -> tuple[int, bytes]:
    if why == "signature":
        hang_up()
    return Server.refuse(server, why, call)


@instead_of("failure", kills="v3/refuses-missing-order-id")
def v3_names_bad_parameters_otherwise(server: Server, why: str, call: Call) -> Any:
    return {"message": FAILURES[why][1]} if call.v3 and why == "parameters" else Server.failure(server, why, call)


@instead_of("failure", kills="reply/keeps-signature-secret")
def tells_the_secret_when_the_order_is_bad(server: Server, why: str, call: Call) -> Any:
    traced = {"trace": f"cancel({server.pairs[call.key]!r})"} if why == "parameters" else {}
    return {**Server.failure(server, why, call), **traced}


@instead_of("failure", kills="reply/keeps-signature-secret")
def tells_the_expected_signature_in_base64(server: Server, why: str, call: Call) -> Any:
    members = Server.failure(server, why, call)
    if why == "signature":
        members["debug"] = base64.b64encode(bytes.fromhex(server.right_signatures(call)[0])).decode()
    return members


@instead_of("failure", kills="reply/keeps-signature-secret")
def tells_the_expected_signature(server: Server, why: str, call: Call) -> Any:
    members = Server.failure(server, why, call)
    return {**members, "expected": server.right_signatures(call)[0]} if why == "signature" else members


@instead_of("headers", kills="reply/keeps-signature-secret")
def tells_the_expected_signature_in_a_header(server: Server, call: Call) -> dict[str, str]:
    return {**Server.headers(server, call), **({"X-Debug": server.right_signatures(call)[0]} if call.key else {})}


@instead_of("failure", kills="reply/keeps-signature-secret")
def tells_the_secret_when_the_signature_is_missing(server: Server, why: str, call: Call) -> Any:
    missing = why == "signature" and not call.headers.get("x-ntapi-sig")
    return {**Server.failure(server, why, call), **({"debug": vars(server)["pairs"][call.key]} if missing else {})}


# ---- headers -------------------------------------------------------------------------------------------------


@instead_of("headers", kills="reply/is-declared-json")
def declares_html(server: Server, call: Call) -> dict[str, str]:
    return {**Server.headers(server, call), "Content-Type": "text/html; charset=utf-8"}


@instead_of("headers", kills="reply/is-declared-json")
def declares_nothing(server: Server, call: Call) -> dict[str, str]:
    return server.cors(call)


@instead_of("headers", kills="reply/is-declared-json")
def declares_html_when_it_refuses(server: Server, call: Call) -> dict[str, str]:
    kind = "application/json" if call.command else "text/html"
    return {**Server.headers(server, call), "Content-Type": kind}


@instead_of("headers", kills="reply/is-declared-json")
def declares_text_for_bad_nonces(server: Server, call: Call) -> dict[str, str]:
    named = Server.headers(server, call)
    return {**named, "Content-Type": "text/plain"} if call.fields.get("nonce") == "abc" else named


@instead_of("headers", kills="reply/is-declared-json")
def declares_html_for_cancels(server: Server, call: Call) -> dict[str, str]:
    named = Server.headers(server, call)
    return {**named, "Content-Type": "text/html"} if call.order_id else named


@instead_of("headers", kills="request/answers-preflight")
def grants_no_origin_to_refusals(server: Server, call: Call) -> dict[str, str]:
    refused = call.command == "delTradeOrder" and not call.order_id
    return {"Content-Type": "application/json"} if refused else Server.headers(server, call)


@instead_of("preflight", kills="request/answers-preflight")
def refuses_the_preflight_of_a_cancel(server: Server, call: Call) -> tuple[int, dict[str, str]]:
    return (405, {}) if call.path.endswith("delTradeOrder") else Server.preflight(server, call)


@instead_of("cors", kills="request/answers-preflight")
def grants_no_origin(server: Server, call: Call) -> dict[str, str]:
    return {}


@instead_of("cors", kills="request/answers-preflight")
def grants_any_origin_by_a_star(server: Server, call: Call) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"}


@instead_of("cors", kills="request/answers-preflight")
def grants_no_credentials(server: Server, call: Call) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": call.headers.get("origin", "*")}


@instead_of("headers", kills="request/answers-preflight")
def grants_the_origin_only_in_the_preflight(server: Server, call: Call) -> dict[str, str]:
    return {"Content-Type": "application/json"}


@instead_of("preflight", kills="request/answers-preflight")
def grants_only_usual_headers(server: Server, call: Call) -> tuple[int, dict[str, str]]:
    return 204, {**Server.preflight(server, call)[1], "Access-Control-Allow-Headers": "Content-Type"}


@instead_of("preflight", kills="request/answers-preflight")
def grants_no_post(server: Server, call: Call) -> tuple[int, dict[str, str]]:
    return 204, {**Server.preflight(server, call)[1], "Access-Control-Allow-Methods": "GET"}


@instead_of("preflight", kills="request/answers-preflight")
def refuses_preflights(server: Server, call: Call) -> tuple[int, dict[str, str]]:
    return 405, {}


# ---- the server as a whole -----------------------------------------------------------------------------------


@instead_of("answer", kills="control/opens-session")
def refuses_everything(server: Server, call: Call) -> tuple[int, bytes]:
    return server.refuse("signature", call)


@instead_of("answer", kills="request/refuses-get")
def accepts_everything(server: Server, call: Call) -> tuple[int, bytes]:
    fields = nested(pairs_of(call.body))
    if "params" in fields:
        return 200, server.encode({"order_id": 2929292929})
    return 200, server.encode({"sess_id": "1"})


@instead_of("answer", kills="reply/session-has-sess-id")
def breaks_on_everything(server: Server, call: Call) -> tuple[int, bytes]:
    return 500, b"Internal Server Error"


@instead_of("answer", kills="reply/session-has-sess-id")
def answers_html_to_everything(server: Server, call: Call) -> tuple[int, bytes]:
    return 200, b"<!doctype html><title>Maintenance</title>"


@instead_of("answer", kills="request/refuses-get")
def answers_an_empty_object_to_everything(server: Server, call: Call) -> tuple[int, bytes]:
    return 200, b"{}"


@instead_of("answer", kills="control/opens-session")
def accepts_only_the_first_request(server: Server, call: Call) -> tuple[int, bytes]:
    if server.memory.setdefault("first", call) is not call:
        return server.refuse("nonce", call)
    return Server.answer(server, call)


@instead_of("answer", kills="control/opens-session")
def limits_the_rate_at_once(server: Server, call: Call) -> tuple[int, bytes]:
    return 429, server.encode({"error": "Too many requests", "code": 429})


@instead_of("answer", kills="control/accepts-cancel")
def hangs_up_on_cancels(server: Server, call: Call) -> tuple[int, bytes]:
    if nested(pairs_of(call.body)).get("cmd") == "delTradeOrder":
        hang_up()
    return Server.answer(server, call)


@instead_of("respond", kills="reply/session-has-sess-id")
def promises_longer_bodies_than_it_sends(
    server: Server, call: Call, status: int, headers: dict[str, str], body: bytes, start_response: Callable[..., Any]
) -> list[bytes]:
    longer = {**headers, "Content-Length": str(int(headers["Content-Length"]) + 5)}
    return Server.respond(server, call, status, longer, body, start_response)


# ---- v3: signature -------------------------------------------------------------------------------------------


@instead_of("check_v3_signature", kills="v3/refuses-absent")
def v3_signature_is_optional(server: Server, call: Call) -> None:
    if server.read_v3_signature(call):
        Server.check_v3_signature(server, call)


@instead_of("check_v3_signature", kills="v3/refuses-absent-on-cancel")
def v3_signature_is_optional_for_cancels(server: Server, call: Call) -> None:
    if server.read_v3_signature(call) or call.path != "/api/delTradeOrder":
        Server.check_v3_signature(server, call)


@instead_of("read_v3_signature", kills="v3/refuses-absent")
def v3_takes_the_signature_from_the_query(server: Server, call: Call) -> str | None:
    return Server.read_v3_signature(server, call) or dict(pairs_of(call.query)).get("sign")


@instead_of("read_v3_signature", kills="v3/refuses-absent")
def v3_takes_another_header_for_the_signature(server: Server, call: Call) -> str | None:
    return Server.read_v3_signature(server, call) or call.headers.get("x-ntapi-signature")


@instead_of("read_v3_signature", kills="v3/refuses-absent")
def v3_takes_the_signature_from_authorization(server: Server, call: Call) -> str | None:
    return Server.read_v3_signature(server, call) or call.headers.get("authorization", "").rpartition(" ")[2]


@instead_of("same_v3", kills="v3/refuses-modified")
def v3_compares_percent_decoded(server: Server, given: str, right: str) -> bool:
    return urllib.parse.unquote(given) == right


@instead_of("same_v3", kills="v3/refuses-modified v3/refuses-modified-on-cancel")
def v3_compares_32_digits(server: Server, given: str, right: str) -> bool:
    return given[:32] == right[:32]


@instead_of("same_v3", kills="v3/refuses-modified")
def v3_compares_as_far_as_the_signature_goes(server: Server, given: str, right: str) -> bool:
    return right.startswith(given)


@instead_of("same_v3", kills="v3/refuses-modified")
def v3_looks_for_the_signature_in_the_header(server: Server, given: str, right: str) -> bool:
    return right in given


@instead_of("right_v3_signatures", kills="v3/refuses-other-key")
def v3_accepts_the_public_key_as_the_secret(server: Server, call: Call) -> list[str]:
    return [server.digest_v3(secret, server.message(call)) for secret in (server.secret_of(call), call.key)]


@instead_of("right_v3_signatures", kills="v3/refuses-other-key v3/refuses-other-key-on-cancel")
def v3_accepts_an_empty_secret(server: Server, call: Call) -> list[str]:
    return [server.digest_v3(secret, server.message(call)) for secret in (server.secret_of(call), "")]


@instead_of("right_v3_signatures", kills="v3/refuses-other-digest")
def v3_accepts_sha1_and_sha512(server: Server, call: Call) -> list[str]:
    secret, message = server.secret_of(call).encode(), server.message(call)
    return [hmac.new(secret, message, name).hexdigest() for name in ("sha256", "sha1", "sha512")]


@instead_of("right_v3_signatures", kills="v3/refuses-other-digest v3/refuses-other-digest-on-cancel")
def v3_accepts_a_plain_digest(server: Server, call: Call) -> list[str]:
    return [*Server.right_v3_signatures(server, call), hashlib.sha256(server.message(call)).hexdigest()]


@instead_of("right_v3_signatures", kills="v3/refuses-other-digest")
def v3_accepts_base64(server: Server, call: Call) -> list[str]:
    right = Server.right_v3_signatures(server, call)
    return [*right, base64.b64encode(bytes.fromhex(right[0])).decode()]


@instead_of("right_v3_signatures", kills="v3/refuses-other-key")
def v3_accepts_any_known_secret(server: Server, call: Call) -> list[str]:
    return [server.digest_v3(secret, server.message(call)) for secret in server.pairs.values()]


@instead_of("right_v3_signatures", kills="v3/refuses-other-key")
def v3_accepts_the_secret_with_a_line_end(server: Server, call: Call) -> list[str]:
    secret = server.secret_of(call)
    return [server.digest_v3(each, server.message(call)) for each in (secret, f"{secret}\n")]


takes_the_secret_of(
    "v3-takes-the-secret-of-the-key-in-the-query",
    lambda call: dict(pairs_of(call.query)).get("apiKey") if call.v3 else None,
    kills="v3/refuses-other-key",
)


@instead_of("right_v3_signatures", kills="v3/refuses-other-digest")
def v3_accepts_sha256_with_the_secret_before(server: Server, call: Call) -> list[str]:
    joined = server.secret_of(call).encode() + server.message(call)
    return [*Server.right_v3_signatures(server, call), hashlib.sha256(joined).hexdigest()]


@instead_of("same_v3", kills="v3/refuses-modified")
def v3_compares_the_first_of_a_list(server: Server, given: str, right: str) -> bool:
    return given.split(",")[0] == right


def also_over(*messages: Callable[[Call, str], bytes]) -> Callable[[Server, Call], list[str]]:
    """Accept the signature over another message too, given the call and its timestamp."""

    def right(server: Server, call: Call) -> list[str]:
        others = (message(call, server.read_timestamp(call)) for message in messages)
        return [
            *Server.right_v3_signatures(server, call),
            *(server.digest_v3(server.secret_of(call), other) for other in others),
        ]

    return right


setting(
    "v3-accepts-a-signed-timestamp",
    right_v3_signatures=also_over(lambda _call, stamp: stamp.encode()),
    kills="v3/refuses-other-message",
)
setting(
    "v3-accepts-a-signed-body",
    right_v3_signatures=also_over(lambda call, _stamp: call.body),
    kills="v3/refuses-other-message",
)
setting(
    "v3-accepts-the-timestamp-first",
    right_v3_signatures=also_over(lambda call, stamp: stamp.encode() + call.body),
    kills="v3/refuses-other-message",
)
setting(
    "v3-accepts-a-signed-path",
    right_v3_signatures=also_over(lambda call, stamp: call.path.encode() + call.body + stamp.encode()),
    kills="v3/refuses-other-message",
)
setting(
    "v3-accepts-milliseconds",
    right_v3_signatures=also_over(lambda call, stamp: call.body + stamp.encode() + b"000"),
    kills="v3/refuses-other-message",
)
setting("v3-accepts-a-dot-after-the-timestamp", right_v3_signatures=also_over(
    lambda call, stamp: stamp.encode() + b"." + call.body
), kills="v3/refuses-other-message v3/refuses-other-message-on-cancel")  # fmt: skip


def v3_cleans(slug: str, clean: Callable[[bytes], bytes], kills: str) -> None:
    """Register a server that cleans the body before it is verified and read."""

    def check_v3_signature(server: Server, call: Call) -> None:
        call.body = clean(call.body)
        Server.check_v3_signature(server, call)

    setting(slug, kills, check_v3_signature=check_v3_signature)


v3_cleans("v3-drops-what-is-not-utf-8", lambda body: body.decode("utf-8", "ignore").encode(), kills="v3/covers-body")
v3_cleans("v3-drops-a-bom", lambda body: body.removeprefix(b"\xef\xbb\xbf"), kills="v3/covers-body")
setting(
    "v3-verifies-only-short-bodies",
    check_v3_signature=lambda server, call: (
        None if len(call.body) > 10_000 else Server.check_v3_signature(server, call)
    ),
    kills="v3/covers-body",
)
v3_cleans("v3-drops-nuls", lambda body: body.replace(b"\0", b""), kills="v3/covers-body")
setting(
    "v3-strips-the-body-too",
    right_v3_signatures=also_over(lambda call, stamp: call.body.strip() + stamp.encode()),
    kills="v3/covers-body",
)


def compact(call: Call) -> bytes:
    try:
        return json.dumps(json.loads(call.body), separators=(",", ":")).encode() if call.body else b""
    except (ValueError, RecursionError):
        return call.body


@instead_of("message", kills="v3/takes-bytes-as-sent")
def v3_verifies_the_body_written_anew(server: Server, call: Call) -> bytes:
    return compact(call) + server.read_timestamp(call).encode()


setting(
    "v3-verifies-the-body-written-anew-too",
    right_v3_signatures=also_over(lambda call, stamp: compact(call) + stamp.encode()),
    kills="v3/covers-body",
)


@instead_of("message", kills="v3/takes-bytes-as-sent-on-cancel")
def v3_verifies_the_names_without_escapes(server: Server, call: Call) -> bytes:
    body = call.body.decode("unicode_escape").encode() if b"\\u" in call.body else call.body
    return body + server.read_timestamp(call).encode()


@instead_of("message", kills="v3/takes-bytes-as-sent")
def v3_verifies_a_stripped_body(server: Server, call: Call) -> bytes:
    return call.body.strip() + server.read_timestamp(call).encode()


@instead_of("message", kills="v3/opens-session")
def v3_verifies_the_body_alone(server: Server, call: Call) -> bytes:
    return call.body


@instead_of("right_v3_signatures", kills="v3/covers-timestamp v3/covers-timestamp-on-cancel")
def v3_tries_the_seconds_around(server: Server, call: Call) -> list[str]:
    stamp = server.read_timestamp(call)
    seconds = [str(int(stamp) + away) for away in range(-10, 11)] if stamp.isdecimal() else [stamp]
    return [server.digest_v3(server.secret_of(call), call.body + second.encode()) for second in seconds]


@instead_of("right_v3_signatures", kills="v3/covers-body-on-cancel")
def v3_does_not_cover_the_order(server: Server, call: Call) -> list[str]:
    stamp, right = server.read_timestamp(call).encode(), Server.right_v3_signatures(server, call)
    found = re.fullmatch(rb'\{"order_id":(\d+)\}', call.body)
    other = b'{"order_id":%d}' % (int(found[1]) + 1) if found else call.body
    return [*right, server.digest_v3(server.secret_of(call), other + stamp)]


@instead_of("check_v3_signature", kills="v3/refuses-unsigned-get v3/refuses-unsigned-get-on-cancel")
def v3_needs_no_signature_for_get(server: Server, call: Call) -> None:
    if call.method != "GET":
        Server.check_v3_signature(server, call)


also(
    "v3-needs-no-signature-for-get",
    check_method=lambda server, call: None if call.v3 and call.method == "GET" else Server.check_method(server, call),
    find_v3_order_id=lambda server, call: (
        int(dict(pairs_of(call.query)).get("order_id", 0)) if call.method == "GET" else call.fields.get("order_id")
    ),
)


# ---- v3: key and timestamp -----------------------------------------------------------------------------------


@instead_of("read_v3_key", kills="v3/refuses-missing-key")
def v3_takes_the_key_from_the_query(server: Server, call: Call) -> str | None:
    return Server.read_v3_key(server, call) or dict(pairs_of(call.query)).get("apiKey")


@instead_of("read_v3_key", kills="v3/refuses-missing-key")
def v3_takes_the_key_from_authorization(server: Server, call: Call) -> str | None:
    return Server.read_v3_key(server, call) or call.headers.get("authorization", "").removeprefix("Bearer ")


@instead_of("read_v3_key", kills="v3/refuses-missing-key")
def v3_takes_the_key_from_the_body(server: Server, call: Call) -> str | None:
    return Server.read_v3_key(server, call) or below(server.read_json(call), "apiKey")


@instead_of("read_v3_key", kills="v3/refuses-missing-key")
def v3_takes_a_missing_key_for_the_first(server: Server, call: Call) -> str | None:
    return Server.read_v3_key(server, call) or next(iter(server.pairs))


@instead_of("read_v3_key", kills="v3/refuses-unknown-key")
def v3_takes_unknown_keys_for_the_first(server: Server, call: Call) -> str | None:
    key = Server.read_v3_key(server, call)
    return key if not key or key in server.pairs else next(iter(server.pairs))


@instead_of("read_v3_key", kills="v3/refuses-unknown-key v3/refuses-unknown-key-on-cancel")
def v3_ignores_the_letter_case_of_keys(server: Server, call: Call) -> str | None:
    return (Server.read_v3_key(server, call) or "").lower()


@instead_of("read_v3_key", kills="v3/refuses-unknown-key")
def v3_takes_the_first_of_several_keys(server: Server, call: Call) -> str | None:
    return (Server.read_v3_key(server, call) or "").split(",")[0]


@instead_of("read_v3_key", kills="v3/refuses-unknown-key")
def v3_looks_for_keys_by_their_beginning(server: Server, call: Call) -> str | None:
    key = Server.read_v3_key(server, call)
    return next((known for known in server.pairs if key and known.startswith(key)), None)


@instead_of("read_v3_key", kills="v3/opens-session")
def v3_expects_the_key_in_another_header(server: Server, call: Call) -> str | None:
    return call.headers.get("x-ntapi-key")


@instead_of("check_timestamp", kills="v3/refuses-missing-timestamp")
def v3_timestamp_is_optional(server: Server, call: Call) -> None:
    if server.read_timestamp(call):
        Server.check_timestamp(server, call)


@instead_of("read_timestamp", kills="v3/refuses-missing-timestamp")
def v3_takes_the_timestamp_from_the_query(server: Server, call: Call) -> str:
    return Server.read_timestamp(server, call) or dict(pairs_of(call.query)).get("timestamp", "")


@instead_of("check_timestamp", kills="v3/refuses-missing-timestamp")
def v3_checks_no_timestamp(server: Server, call: Call) -> None:
    pass


def number_or_none(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@instead_of("parse_timestamp", kills="v3/refuses-malformed-timestamp")
def v3_reads_timestamps_as_floats(server: Server, text: str) -> Any:
    return number_or_none(text)


@instead_of("parse_timestamp", kills="v3/refuses-malformed-timestamp")
def v3_reads_the_digits_of_a_timestamp(server: Server, text: str) -> Any:
    return number_or_none(re.sub(r"\D", "", text))


@instead_of("parse_timestamp", kills="v3/refuses-malformed-timestamp")
def v3_reads_as_many_digits_as_there_are(server: Server, text: str) -> Any:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None


@instead_of("parse_timestamp", kills="v3/refuses-malformed-timestamp")
def v3_reads_dates_for_timestamps(server: Server, text: str) -> Any:
    dated = re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+Z", text)
    return time.time() if dated else Server.parse_timestamp(server, text)


@instead_of("parse_timestamp", kills="v3/opens-session")
def v3_expects_milliseconds(server: Server, text: str) -> Any:
    return int(text) / 1000 if text.isdecimal() else None


# ---- v3: command and params ----------------------------------------------------------------------------------


@instead_of("read_v3_command", kills="v3/refuses-unknown-command")
def v3_takes_unknown_commands_for_sessions(server: Server, call: Call) -> str:
    command = Server.read_v3_command(server, call)
    return command if command == "delTradeOrder" else "getAuthInfo"


@instead_of("read_v3_command", kills="v3/refuses-unknown-command")
def v3_looks_for_commands_by_their_end(server: Server, call: Call) -> str:
    command = Server.read_v3_command(server, call)
    return "getAuthInfo" if command.endswith("getAuthInfo") else command


@instead_of("read_v3_command", kills="v3/refuses-unknown-command")
def v3_obeys_commands_with_an_extension(server: Server, call: Call) -> str:
    return Server.read_v3_command(server, call).removesuffix(".php")


@instead_of("check_body", kills="v3/accepts-no-params")
def v3_needs_a_body(server: Server, call: Call) -> None:
    if not call.body:
        raise Refusal("json")
    Server.check_body(server, call)


@instead_of("check_body", kills="v3/opens-session")
def v3_needs_params(server: Server, call: Call) -> None:
    Server.check_body(server, call)
    if not call.fields:
        raise Refusal("parameters")


@instead_of("check_body", kills="v3/refuses-malformed-body")
def v3_reads_broken_json_as_nothing(server: Server, call: Call) -> None:
    members = server.read_json(call)
    call.fields = members if isinstance(members, dict) else {}


@instead_of("read_json", kills="v3/takes-bytes-as-sent")
def v3_reads_json_as_far_as_it_goes(server: Server, call: Call) -> Any:
    try:
        return json.JSONDecoder().raw_decode(call.body.decode())[0]
    except ValueError:
        return None


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_json_in_json(server: Server, call: Call) -> Any:
    members = Server.read_json(server, call)
    try:
        return json.loads(members) if isinstance(members, str) else members
    except ValueError:
        return None


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_json_with_comments(server: Server, call: Call) -> Any:
    call.body = re.sub(rb"/\*.*?\*/", b"", call.body)
    return Server.read_json(server, call)


def v3_reads_json_after(slug: str, clean: Callable[[str], str], kills: str) -> None:
    """Register a reader of something that is nearly JSON."""

    def read_json(server: Server, call: Call) -> Any:
        call.body = clean(call.body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return Server.read_json(server, call)

    setting(slug, kills, read_json=read_json)


v3_reads_json_after(
    "v3-reads-json-with-names-unquoted",
    lambda text: re.sub(r"([{,])(\w+):", r'\1"\2":', text),
    kills="v3/refuses-malformed-body",
)
v3_reads_json_after("v3-reads-json-up-to-a-semicolon", lambda text: text.rstrip(";"), kills="v3/refuses-malformed-body")
v3_reads_json_after(
    "v3-reads-json-with-hash-comments", lambda text: re.sub(r"#.*", "", text), kills="v3/refuses-malformed-body"
)
v3_reads_json_after(
    "v3-reads-json-with-other-numbers", lambda text: re.sub(r":(\+|0x)", ":", text), kills="v3/refuses-malformed-body"
)
v3_reads_json_after(
    "v3-reads-false-as-nothing", lambda text: "{}" if text == "false" else text, kills="v3/refuses-malformed-body"
)
v3_reads_json_after(
    "v3-reads-json-with-bytes-replaced",
    lambda text: re.sub("[\udc80-\udcff]", "?", text),
    kills="v3/refuses-malformed-body",
)


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_breaks_on_deep_json(server: Server, call: Call) -> Any:
    if call.body.count(b"[") > 500:
        raise RecursionError
    return Server.read_json(server, call)


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_null_as_nothing(server: Server, call: Call) -> Any:
    return {} if call.body == b"null" else Server.read_json(server, call)


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_an_empty_list_as_nothing(server: Server, call: Call) -> Any:
    return {} if call.body == b"[]" else Server.read_json(server, call)


@instead_of("read_json", kills="v3/refuses-malformed-body-on-cancel")
def v3_reads_the_first_of_a_list(server: Server, call: Call) -> Any:
    members = Server.read_json(server, call)
    return members[0] if isinstance(members, list) and members else members


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_forms_too(server: Server, call: Call) -> Any:
    form = nested(pairs_of(call.body)) if b"=" in call.body else {}
    form = form.get("params", form)
    if "order_id" in form:
        return {"order_id": int(form["order_id"])}
    return form or Server.read_json(server, call)


@instead_of("read_json", kills="v3/refuses-malformed-body")
def v3_reads_python(server: Server, call: Call) -> Any:
    return Server.read_json(server, call) or json.loads(call.body.decode().replace("'", '"').replace(",}", "}"))


also("v3-reads-python", check_body=lambda server, call: _or_no_json(lambda: Server.check_body(server, call)))


def _or_no_json(check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError:
        raise Refusal("json") from None


@instead_of("cancel_v3", kills="v3/refuses-missing-order-id")
def v3_cancels_nothing(server: Server, call: Call) -> Any:
    return Server.cancel_v3(server, call) if call.fields.get("order_id") else {"result": 0}


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_below_params(server: Server, call: Call) -> Any:
    params = call.fields.get("params")
    return {**(params if isinstance(params, dict) else {}), **call.fields}.get("order_id")


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_of_another_name(server: Server, call: Call) -> Any:
    return next((call.fields[name] for name in ("order_id", "id", "orderId") if name in call.fields), None)


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_from_the_query(server: Server, call: Call) -> Any:
    return call.fields.get("order_id", int(dict(pairs_of(call.query)).get("order_id", 0)) or None)


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_with_a_hyphen(server: Server, call: Call) -> Any:
    return call.fields.get("order_id", call.fields.get("order-id"))


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_the_first_of_order_ids(server: Server, call: Call) -> Any:
    return call.fields.get("order_id", (call.fields.get("order_ids") or [None])[0])


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_in_any_letter_case(server: Server, call: Call) -> Any:
    return {name.lower(): value for name, value in call.fields.items()}.get("order_id")


@instead_of("find_v3_order_id", kills="v3/refuses-misplaced-order-id")
def v3_takes_an_order_of_any_depth(server: Server, call: Call) -> Any:
    return call.fields.get("order_id", below(call.fields.get("data"), "order_id"))


def decimal_or_0(text: str) -> int:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,18}", text) else 0


def v3_reads_order_texts(slug: str, read: Callable[[str], Any], kills: str) -> None:
    """Register a reader of order ids in quotes."""
    setting(
        slug,
        kills,
        parse_v3_order_id=lambda server, value: Server.parse_v3_order_id(
            server, read(value) if isinstance(value, str) else value
        ),
    )


v3_reads_order_texts(
    "v3-reads-order-texts-with-a-space",
    lambda text: int(text) if re.fullmatch("[0-9]+ ", text) else 0,
    kills="v3/refuses-malformed-order-id",
)
v3_reads_order_texts(
    "v3-reads-order-texts-with-a-dollar",
    lambda text: int(text) if re.match("[1-9][0-9]*$", text) else 0,
    kills="v3/refuses-malformed-order-id",
)


v3_reads_order_texts(
    "v3-reads-order-texts-without-minus",
    lambda text: decimal_or_0(text.lstrip("-")),
    kills="v3/refuses-malformed-order-id",
)
v3_reads_order_texts(
    "v3-reads-order-texts-with-marks",
    lambda text: decimal_or_0(text.strip("#;'")),
    kills="v3/refuses-malformed-order-id",
)
v3_reads_order_texts(
    "v3-reads-order-texts-up-to-a-comma",
    lambda text: decimal_or_0(text.split(",")[0]),
    kills="v3/refuses-malformed-order-id",
)
v3_reads_order_texts(
    "v3-reads-order-texts-up-to-a-nul",
    lambda text: decimal_or_0(text.split("\0")[0]),
    kills="v3/refuses-malformed-order-id",
)
v3_reads_order_texts(
    "v3-reads-order-texts-without-spaces",
    lambda text: decimal_or_0(text.strip("\u00a0\v")),
    kills="v3/refuses-malformed-order-id",
)


@instead_of("parse_v3_order_id", kills="v3/refuses-malformed-order-id")
def v3_breaks_on_a_superscript_digit(server: Server, value: Any) -> Any:
    return int(value) if isinstance(value, str) and "\u00b2" in value else Server.parse_v3_order_id(server, value)


@instead_of("parse_v3_order_id", kills="v3/refuses-malformed-order-id")
def v3_wraps_huge_order_ids(server: Server, value: Any) -> Any:
    return Server.parse_v3_order_id(server, value % 2**64 if type(value) is int else value)


@instead_of("parse_v3_order_id", kills="v3/refuses-malformed-order-id")
def v3_rounds_order_ids(server: Server, value: Any) -> Any:
    return int(value) if type(value) in (int, float) and value > 0 else None


@instead_of("parse_v3_order_id", kills="v3/refuses-malformed-order-id")
def v3_takes_true_for_an_order(server: Server, value: Any) -> Any:
    return value if isinstance(value, int) and 0 < value < 2**63 else None


@instead_of("parse_v3_order_id", kills="v3/refuses-malformed-order-id")
def v3_converts_texts_to_order_ids(server: Server, value: Any) -> Any:
    try:
        return int(value, 0) if isinstance(value, str) else Server.parse_v3_order_id(server, value)
    except ValueError:
        return None


@instead_of("parse_v3_order_id", kills="v3/keeps-long-order-ids")
def v3_reads_order_ids_as_floats(server: Server, value: Any) -> Any:
    right = Server.parse_v3_order_id(server, value)
    return right and int(float(right))


@instead_of("parse_v3_order_id", kills="v3/keeps-long-order-ids")
def v3_keeps_32_bits_of_order_ids(server: Server, value: Any) -> Any:
    right = Server.parse_v3_order_id(server, value)
    return right and right % 2**32


@instead_of("success_v3", kills="v3/keeps-signature-secret")
def v3_tells_the_secret_in_a_cancel(server: Server, call: Call) -> Any:
    return {"order_id": call.order_id, "secret": server.pairs[call.key]}


@instead_of("success_v3", kills="v3/accepts-cancel")
def v3_echoes_the_next_order(server: Server, call: Call) -> Any:
    return {"order_id": call.order_id + 1}


def v3_succeeds_with(slug: str, members: Callable[[int], Any], kills: str) -> None:
    """Register what a cancel over v3 answers."""
    setting(slug, kills, success_v3=lambda server, call: members(call.order_id))


v3_succeeds_with("v3-echoes-text", lambda order_id: {"order_id": str(order_id)}, kills="v3/keeps-long-order-ids")
v3_succeeds_with("v3-echoes-a-float", lambda order_id: {"order_id": float(order_id)}, kills="v3/keeps-long-order-ids")
v3_succeeds_with("v3-echoes-null", lambda order_id: {"order_id": None}, kills="v3/keeps-long-order-ids")
v3_succeeds_with("v3-echoes-nothing", lambda order_id: {}, kills="v3/keeps-long-order-ids")
v3_succeeds_with("v3-echoes-under-another-name", lambda order_id: {"id": order_id}, kills="v3/keeps-long-order-ids")


@instead_of("success_v3", kills="v3/accepts-cancel")
def v3_wants_a_security_session(server: Server, call: Call) -> Any:
    raise Refusal("v3-key")


# ---- v3: replies ---------------------------------------------------------------------------------------------


@instead_of("failure", kills="v3/keeps-signature-secret")
def v3_tells_the_expected_signature(server: Server, why: str, call: Call) -> Any:
    members = Server.failure(server, why, call)
    return {**members, "expected": server.right_v3_signatures(call)[0]} if why == "v3-signature" else members
