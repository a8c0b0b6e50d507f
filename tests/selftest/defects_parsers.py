"""Broken servers: a second parser, address or method in front of the check of the signature."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

from .defect import also, setting
from .honest import FORM, Call, Members, Refusal, Server, nested, pairs_of

BODIES = "signature/refuses-unsigned-bodies"
ELSEWHERE = "signature/refuses-misplaced"
SHAPES = "signature/refuses-odd-shapes"


def texts(value: Any) -> Any:
    """JSON's values as a form would have them."""
    if isinstance(value, dict):
        return {name: texts(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def unsigned(server: Server, call: Call, fields: Members) -> tuple[int, bytes]:
    """Do everything but verify the signature."""
    call.fields, call.v3 = fields, False
    try:
        for step in ("check_key", "check_nonce", "check_command"):
            getattr(server, step)(call)
        return 200, server.encode(server.carry_out(call))
    except Refusal as refusal:
        return server.refuse(str(refusal), call)


def in_front(slug: str, read: Callable[[Call], Any], kills: str = BODIES) -> None:
    """Register a server that reads some requests in another way first, and carries those out unsigned."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        try:
            fields = texts(read(call))
        except (ValueError, OSError, zlib.error, EOFError):
            fields = None
        if isinstance(fields, dict) and {"apiKey", "cmd"} <= fields.keys():
            return unsigned(server, call, fields)
        return Server.answer(server, call)

    setting(slug, kills, answer=answer)


def kind(call: Call) -> str:
    return call.headers["content-type"].partition(";")[0].strip().lower()


def form(body: bytes | str) -> Members:
    return nested(pairs_of(body))


def xml(text: str) -> Members:
    def inner(part: str) -> Any:
        found = re.findall(r"<(\w+)>(.*?)</\1>", part, re.DOTALL)
        return {name: inner(value) for name, value in found} if found else part

    found = inner(text)
    return found.get("request", {}) if isinstance(found, dict) else {}


def multipart(body: bytes) -> Members:
    return nested(re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n', body.decode()))


def nest_order(fields: Members) -> Members:
    order = {name: fields[name] for name in ("order_id",) if name in fields}
    return {**fields, "params": order} if order else fields


in_front("carries-out-json-unsigned", lambda call: json.loads(call.body) if kind(call) == "application/json" else None)
in_front("carries-out-json-of-one-level-unsigned", lambda call: (
    nest_order(json.loads(call.body)) if kind(call) == "application/json" and b"params" not in call.body else None
), f"{BODIES}-on-cancel")  # fmt: skip
in_front("carries-out-any-json-unsigned", lambda call: json.loads(call.body) if call.body[:1] == b"{" else None)
in_front("carries-out-json-declared-as-text-unsigned", lambda call: (
    json.loads(call.body) if kind(call) in ("text/plain", "text/json") else None
))  # fmt: skip
in_front("carries-out-json-of-a-vendors-type-unsigned", lambda call: (
    json.loads(call.body) if kind(call).endswith("+json") else None
))  # fmt: skip
in_front("carries-out-json-in-utf-16-unsigned", lambda call: (
    json.loads(call.body.decode("utf-16")) if "utf-16" in call.headers["content-type"] else None
))  # fmt: skip
in_front("carries-out-json-in-a-list-unsigned", lambda call: (
    json.loads(call.body)[0] if call.body[:1] == b"[" and len(call.body) > 5 else None
))  # fmt: skip
in_front("carries-out-json-with-a-true-signature", lambda call: (
    read if kind(call) == "application/json" and (read := json.loads(call.body)).get("sig") is True else None
))  # fmt: skip
in_front("carries-out-v1-unsigned", lambda call: json.loads(form(call.body).get("q", "")))
in_front("carries-out-v1-in-the-query-unsigned", lambda call: json.loads(form(call.query).get("q", "")))
in_front("carries-out-json-in-a-field-unsigned", lambda call: json.loads(form(call.body).get("data", "")))
in_front("carries-out-json-in-the-query-unsigned", lambda call: (
    json.loads(next(iter(dict(pairs_of(call.query + "=")).keys()))) if call.query[:3] == "%7B" else None
))  # fmt: skip
in_front("carries-out-xml-unsigned", lambda call: xml(call.body.decode()) if kind(call).endswith("/xml") else None)
in_front("carries-out-multipart-unsigned", lambda call: (
    multipart(call.body) if kind(call) == "multipart/form-data" else None
))  # fmt: skip
in_front("carries-out-text-unsigned", lambda call: form(call.body) if kind(call) == "text/plain" else None)
in_front("carries-out-bytes-unsigned", lambda call: (
    form(call.body) if kind(call) == "application/octet-stream" else None
))  # fmt: skip
in_front("carries-out-forms-without-a-type-unsigned", lambda call: form(call.body) if not kind(call) else None)
in_front("carries-out-forms-of-unknown-types-unsigned", lambda call: (
    form(call.body) if kind(call) not in (FORM, "application/json") else None
))  # fmt: skip
in_front("carries-out-forms-declared-as-json-unsigned", lambda call: (
    form(call.body) if kind(call) == "application/json" and call.body[:1] != b"{" else None
))  # fmt: skip
in_front("carries-out-forms-in-utf-16-unsigned", lambda call: (
    form(call.body.decode("utf-16")) if "charset=utf-16" in call.headers["content-type"] else None
))  # fmt: skip
in_front("carries-out-forms-of-other-charsets-unsigned", lambda call: (
    form(call.body) if re.search("charset=(?!utf-8)", call.headers["content-type"].lower()) else None
))  # fmt: skip
in_front("carries-out-forms-in-capitals-unsigned", lambda call: (
    form(call.body) if call.headers["content-type"] == FORM.upper() else None
))  # fmt: skip
in_front("carries-out-compressed-forms-unsigned", lambda call: (
    form(gzip.decompress(call.body)) if call.headers.get("content-encoding") == "gzip" else None
))  # fmt: skip
in_front("carries-out-deflated-forms-unsigned", lambda call: (
    form(zlib.decompress(call.body)) if call.headers.get("content-encoding") == "deflate" else None
))  # fmt: skip
in_front("carries-out-encoded-forms-unsigned", lambda call: (
    form(call.body) if "content-encoding" in call.headers else None
))  # fmt: skip
in_front("carries-out-the-query-unsigned", lambda call: form(call.query) if not call.body else None)

# ---- methods and addresses -----------------------------------------------------------------------------------


def elsewhere(slug: str, open_to_all: Callable[[Call], bool], kills: str = ELSEWHERE) -> None:
    """Register a server that carries out unsigned forms in some circumstances."""
    in_front(slug, lambda call: form(call.body) if open_to_all(call) else None, kills)


elsewhere("carries-out-put-unsigned", lambda call: call.method == "PUT")
elsewhere("carries-out-patch-unsigned", lambda call: call.method == "PATCH")
elsewhere("carries-out-options-unsigned", lambda call: call.method == "OPTIONS")
elsewhere("carries-out-unknown-methods-unsigned", lambda call: call.method == "TN")
elsewhere("guards-one-address-alone", lambda call: not re.match(r"/api/v2/cmd/\w+$", call.path))
elsewhere("guards-no-address-with-a-slash", lambda call: call.path.endswith("/") and len(call.path) > 13)
elsewhere("guards-no-address-with-two-slashes", lambda call: "//" in call.path)
elsewhere("guards-no-address-with-dots", lambda call: "/./" in call.path or "/../" in call.path)
elsewhere("guards-no-address-in-capitals", lambda call: call.path[:8] == "/API/V2/")
elsewhere("guards-no-address-in-lower-case", lambda call: call.path[12:] in ("getauthinfo", "deltradeorder"))
elsewhere("guards-no-address-with-an-extension", lambda call: call.path.endswith(".json"))
elsewhere("guards-no-address-with-a-parameter", lambda call: ";" in call.path)
elsewhere("guards-no-address-with-a-space", lambda call: call.path.endswith(" "))
elsewhere("guards-no-root", lambda call: call.path == "/api/v2")
elsewhere("guards-no-address-of-v1", lambda call: call.path.startswith("/api/v1/"))
elsewhere("guards-no-internal-address", lambda call: "/internal/" in call.path)
elsewhere("guards-no-unknown-address", lambda call: call.path.endswith("NoSuchCommand"))
elsewhere("trusts-requests-from-itself", lambda call: call.headers.get("x-forwarded-for") == "127.0.0.1")
elsewhere("trusts-real-ips", lambda call: call.headers.get("x-real-ip") == "127.0.0.1")
elsewhere("trusts-a-header-of-debugging", lambda call: bool(call.headers.get("x-debug")))
elsewhere("trusts-internal-requests", lambda call: bool(call.headers.get("x-internal")))
elsewhere("trusts-the-samples-header", lambda call: call.headers.get("nt-jqp") == "true" and "referer" in call.headers)
elsewhere("trusts-the-vendors-origin", lambda call: call.headers.get("origin") == "https://tradernet.com")
elsewhere("trusts-any-session-cookie", lambda call: "SID=" in call.headers.get("cookie", "") and "admin=1" in call.headers["cookie"])  # fmt: skip  # noqa: E501
elsewhere("trusts-any-bearer", lambda call: call.headers.get("authorization", "").startswith("Bearer "))
elsewhere("trusts-health-checks", lambda call: "kube-probe" in call.headers.get("user-agent", ""))
elsewhere("trusts-debug-in-the-query", lambda call: "debug=1" in call.query)
elsewhere(
    "trusts-a-field-of-testing",
    lambda call: form(call.body).get("sandbox") == "1",
    f"{ELSEWHERE} {ELSEWHERE}-on-cancel",
)
elsewhere("trusts-other-versions", lambda call: dict(pairs_of(call.query)).get("version") == "1")

# ---- v3 ------------------------------------------------------------------------------------------------------


def v3_lets_pass(slug: str, allowed: Callable[[Call], bool], kills: str) -> None:
    """Register a server that verifies v3 requests only in some circumstances."""
    setting(
        slug,
        kills,
        check_v3_signature=lambda server, call: None if allowed(call) else Server.check_v3_signature(server, call),
    )


v3_lets_pass("v3-verifies-json-alone", lambda call: kind(call) != "application/json", "v3/refuses-unsigned-bodies")
v3_lets_pass("v3-lets-text-pass", lambda call: kind(call) == "text/plain", "v3/refuses-unsigned-bodies")
v3_lets_pass("v3-lets-undeclared-bodies-pass", lambda call: not kind(call), "v3/refuses-unsigned-bodies-on-cancel")
v3_lets_pass("v3-trusts-requests-from-itself", lambda call: "x-forwarded-for" in call.headers, "v3/refuses-misplaced")
v3_lets_pass("v3-trusts-debugging", lambda call: "debug=1" in call.query, "v3/refuses-misplaced-on-cancel")
v3_lets_pass("v3-trusts-any-cookie", lambda call: "SID=1" in call.headers.get("cookie", ""), "v3/refuses-misplaced")
v3_lets_pass("v3-carries-out-put-unsigned", lambda call: call.method == "PUT", "v3/refuses-misplaced")
also("v3-carries-out-put-unsigned", check_method=lambda server, call: (
    None if call.v3 and call.method == "PUT" else Server.check_method(server, call)
))  # fmt: skip
v3_lets_pass("v3-guards-no-address-with-a-slash", lambda call: call.path.endswith("/"), "v3/refuses-misplaced")
also(
    "v3-guards-no-address-with-a-slash",
    speaks_v3=lambda server, call: bool(re.fullmatch(r"/api/(?!v2)[^/]+/?", call.path)),
    read_v3_command=lambda server, call: call.path.removeprefix("/api/").rstrip("/"),
)


def v2_forms_at_v3(server: Server, call: Call) -> bool:
    return Server.speaks_v3(server, call) and kind(call) != FORM


in_front(
    "v3-carries-out-forms-unsigned",
    lambda call: form(call.body) if not call.path.startswith("/api/v2") and kind(call) == FORM else None,
    "v3/refuses-unsigned-bodies v3/refuses-unsigned-bodies-on-cancel",
)

# ---- text or list --------------------------------------------------------------------------------------------


def signatures(call: Call) -> list[str]:
    return [value for name, value in call.header_pairs if name.lower() == "x-ntapi-sig"]


def lets_pass(slug: str, allowed: Callable[[Call], bool], kills: str = SHAPES) -> None:
    """Register a server that verifies forms only in some circumstances."""
    setting(
        slug,
        kills,
        check_signature=lambda server, call: None if allowed(call) else Server.check_signature(server, call),
    )


lets_pass("compares-no-signature-sent-twice", lambda call: len(signatures(call)) > 1, f"{SHAPES} {SHAPES}-on-cancel")
lets_pass("compares-no-three-signatures", lambda call: len(signatures(call)) == 3)
lets_pass("takes-equal-signatures-for-right", lambda call: len(s := signatures(call)) == 2 and len(set(s)) == 1)
lets_pass(
    "takes-an-empty-signature-first-for-none", lambda call: signatures(call)[:1] == [""] and len(signatures(call)) > 1
)
lets_pass("compares-no-signature-in-brackets", lambda call: signatures(call) == ["[]"])
lets_pass("verifies-no-doubled-nonce", lambda call: len(re.findall(rb"(?:^|&)nonce=", call.body)) > 1)
lets_pass("verifies-no-doubled-key", lambda call: len(re.findall(rb"(?:^|&)apiKey=", call.body)) > 1)
lets_pass("verifies-no-doubled-command", lambda call: len(re.findall(rb"(?:^|&)cmd=", call.body)) > 1)
lets_pass("verifies-no-doubled-order", lambda call: call.body.count(b"order_id%5D=") > 1, f"{SHAPES}-on-cancel")
lets_pass("verifies-only-short-forms", lambda call: len(call.body) > 50_000)
lets_pass("verifies-only-few-fields", lambda call: call.body.count(b"&") > 1000)
setting("takes-listed-fields-and-verifies-only-texts", SHAPES, check_signature=lambda server, call: (
    Server.check_signature(server, call)
    if all(isinstance(call.fields.get(name), str) for name in ("apiKey", "cmd", "nonce")) else None
), read_key=lambda server, call: first_of(call.fields.get("apiKey")), check_form=lambda server, call: flattened(server, call))  # fmt: skip  # noqa: E501


def first_of(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) and value else value


def flattened(server: Server, call: Call) -> None:
    Server.check_form(server, call)


also(
    "takes-listed-fields-and-verifies-only-texts",
    read_command=lambda server, call: first_of(call.fields.get("cmd")),
)
v3_lets_pass(
    "v3-compares-no-signature-sent-twice",
    lambda call: len(signatures(call)) > 1,
    "v3/refuses-odd-shapes v3/refuses-odd-shapes-on-cancel",
)
v3_lets_pass(
    "v3-compares-nothing-for-a-key-sent-twice",
    lambda call: sum(name.lower() == "x-ntapi-publickey" for name, _ in call.header_pairs) > 1,
    "v3/refuses-odd-shapes",
)
also(
    "v3-compares-nothing-for-a-key-sent-twice",
    read_v3_key=lambda server, call: call.headers.get("x-ntapi-publickey", "").split(", ")[-1],
)
v3_lets_pass("v3-verifies-no-long-body", lambda call: len(call.body) > 90_000, "v3/refuses-odd-shapes")
