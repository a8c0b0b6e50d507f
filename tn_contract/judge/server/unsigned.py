"""No request is carried out unsigned, however it is written and wherever it goes.

A second parser, a second address or a trusted header in front of the check of the signature opens the account to
anyone. So requests without a right signature are sent in other bodies, to other addresses, by other methods and with
claims to be privileged. None may be carried out; how they are refused, the page does not say.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote
from xml.sax.saxutils import escape

from tn_contract.contract.signing import Value
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    FORM_TYPE,
    JSON_TYPE,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    Request,
    SignedRequest,
    encode_form,
    encode_json,
    replace,
    with_header,
    with_signature,
)
from tn_contract.judge.server import registry
from tn_contract.judge.server.registry import CONTROLS, carries_out_none
from tn_contract.judge.server.target import CANCEL, SESSION, Probe, Spoil
from tn_contract.judge.verdicts import Finding

# What stands in place of the signature: nothing, and what only looks like one.
FORGED: dict[str, str | None] = {"no signature": None, "a signature of zeros": "0" * 64}
# How many shapes a server gets that is not disposable: its budget ends.
_FEW = 1

Change = Callable[[SignedRequest], Request]
_Shape = TypeVar("_Shape")

on_both = registry.on_both_commands
on_both_v3 = partial(registry.on_both_commands, twin_requires=(CONTROLS["v3"][0],))


def _few(probe: Probe, shapes: Mapping[str, _Shape]) -> dict[str, _Shape]:
    return dict(list(shapes.items())[: None if probe.target.disposable else _FEW])


def forged(probe: Probe, changes: Mapping[str, Change], instead: Mapping[str, str | None] = FORGED) -> dict[str, Spoil]:
    """Each change of a request, with each thing in place of its signature."""

    def spoil(change: Change, signature: str | None) -> Spoil:
        return lambda _probe, valid: with_signature(change(valid), signature)

    return {
        f"{what}, {name}": spoil(change, signature)
        for what, change in _few(probe, changes).items()
        for name, signature in instead.items()
    }


# ---- other bodies --------------------------------------------------------------------------------------------


def _written(kind: str | None, body: bytes | Callable[[], bytes], **headers: str) -> Change:
    def change(valid: SignedRequest) -> Request:
        text = body if isinstance(body, bytes) else body()
        request = with_header(replace(valid.request, body=text), "Content-Type", kind)
        return replace(request, headers=(*request.headers, *((k.replace("_", "-"), v) for k, v in headers.items())))

    return change


def _xml(fields: Mapping[str, Value]) -> str:
    return "".join(
        f"<{name}>{_xml(value) if isinstance(value, dict) else escape(str(value))}</{name}>"
        for name, value in fields.items()
    )


def _multipart(form: list[tuple[str, str]]) -> bytes:
    parts = [f'--tn\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form]
    return "".join((*parts, "--tn--\r\n")).encode()


def other_bodies(fields: Mapping[str, Any]) -> dict[str, Change]:
    """Write the fields of a request in other ways; `params` are nested."""
    params: dict[str, Value] = dict(fields.get("params") or {})
    flat = {name: value for name, value in fields.items() if name != "params"} | params
    form, as_json = encode_form(fields), encode_json(fields)
    pairs = [(name, str(value)) for name, value in fields.items() if name != "params"]
    pairs += [(f"params[{name}]", str(value)) for name, value in params.items()]
    signs = dict.fromkeys(("sig", "sign", "signature", SIGNATURE_HEADER), True)

    def xml() -> bytes:
        return f"<?xml version='1.0'?><request>{_xml(fields)}</request>".encode()

    in_q = encode_form({"q": as_json.decode()})
    return {
        "JSON": _written(JSON_TYPE, as_json),
        "no Content-Type": _written(None, form),
        "multipart": _written("multipart/form-data; boundary=tn", lambda: _multipart(pairs)),
        "JSON of one level": _written(JSON_TYPE, encode_json(flat)),
        "JSON of the params alone": _written(JSON_TYPE, encode_json(params)),
        "JSON with a charset": _written(f"{JSON_TYPE}; charset=utf-8", as_json),
        "JSON in a list": _written(JSON_TYPE, b"[" + as_json + b"]"),
        "JSON with signatures of true": _written(JSON_TYPE, encode_json({**fields, **signs})),
        "JSON with signatures of []": _written(JSON_TYPE, encode_json({**fields, **{name: [] for name in signs}})),
        "JSON declared as text": _written("text/plain", as_json),
        "JSON declared as text/json": _written("text/json", as_json),
        "JSON of a vendor's type": _written("application/vnd.api+json", as_json),
        "JSON declared as a form": _written(FORM_TYPE, as_json),
        "JSON without Content-Type": _written(None, as_json),
        "JSON in UTF-16": _written(f"{JSON_TYPE}; charset=utf-16", as_json.decode().encode("utf-16")),
        "JSON in a field q, as in v1": _written(FORM_TYPE, in_q),
        "JSON in fields of other names": _written(
            FORM_TYPE, encode_form(dict.fromkeys(("data", "json", "payload", "request", "body"), as_json.decode()))
        ),
        "XML": _written("application/xml", xml),
        "XML declared as text/xml": _written("text/xml; charset=utf-8", xml),
        "a form declared as text": _written("text/plain", form),
        "a form declared as bytes": _written("application/octet-stream", form),
        "a form declared as JSON": _written(JSON_TYPE, form),
        "a form of an unknown type": _written("x/x", form),
        "a form of another charset": _written(f"{FORM_TYPE}; charset=utf-16", form.decode().encode("utf-16")),
        "a form of UTF-7": _written(f"{FORM_TYPE}; charset=utf-7", form),
        "a form in capitals": _written(FORM_TYPE.upper(), form),
        "a form of two types": _written(f"{JSON_TYPE}, {FORM_TYPE}", form),
        "a form in one line each": _written("text/plain", b"\r\n".join(f"{k}={v}".encode() for k, v in pairs)),
        "a compressed form": _written(FORM_TYPE, lambda: gzip.compress(form, mtime=0), Content_Encoding="gzip"),
        "a deflated form": _written(FORM_TYPE, lambda: zlib.compress(form), Content_Encoding="deflate"),
        "compressed JSON": _written(JSON_TYPE, lambda: gzip.compress(as_json, mtime=0), Content_Encoding="gzip"),
        "a form of an unknown encoding": _written(FORM_TYPE, form, Content_Encoding="identity, x"),
        "a form in the query string": lambda valid: replace(valid.request, query=form.decode(), body=b""),
        "a flat form": _written(FORM_TYPE, encode_form(flat)),
        "q in the query string": lambda valid: replace(valid.request, query=in_q.decode(), body=b""),
        "JSON in the query string": lambda valid: replace(valid.request, query=quote(as_json), body=b""),
    }


@on_both(
    "signature/refuses-unsigned-bodies",
    "carries out no unsigned request in another body",
    clause="signature-required",
)
def refuses_absent_in_other_bodies(probe: Probe, command: str) -> Finding:
    """Write the fields as JSON, XML, text, multipart, compressed, in the URL: without a signature, with a wrong one."""
    names = list(other_bodies(probe.compose(command).fields))
    return carries_out_none(probe, command, forged(probe, {name: _late(name) for name in names}))


def _late(name: str) -> Change:
    return lambda valid: other_bodies(valid.fields)[name](valid)


@on_both_v3(
    "v3/refuses-unsigned-bodies",
    "carries out no unsigned v3 request in another body",
    clause="v3-signature-required",
)
def refuses_absent_in_other_bodies_v3(probe: Probe, command: str) -> Finding:
    """Write key, command and params as a form, JSON, XML, text, compressed: without a signature, with a wrong one."""
    names = list(other_bodies({"params": probe.params(command) or {}}))
    kinds = (None, "text/plain", FORM_TYPE, "application/xml", "multipart/form-data; boundary=tn", "*/*")

    def late(name: str) -> Change:
        def change(valid: SignedRequest) -> Request:
            fields = {"apiKey": probe.credentials.api_key, "cmd": command, "nonce": str(probe.nonces.next())}
            return other_bodies({**fields, **({"params": valid.fields} if valid.fields else {})})[name](valid)

        return change

    declared: dict[str, Change] = {
        f"its own body declared as {kind}": lambda valid, kind=kind: with_header(valid.request, "Content-Type", kind)  # type: ignore[misc]
        for kind in kinds
    }
    return carries_out_none(probe, command, forged(probe, declared | {name: late(name) for name in names}))


# ---- other addresses, methods and claims ---------------------------------------------------------------------


def _at(path: str) -> Change:
    return lambda valid: replace(valid.request, path=path)


def _claiming(headers: Mapping[str, str] = {}, query: str = "", **more: str) -> Change:  # never changed
    return lambda valid: replace(
        valid.request,
        headers=(*valid.request.headers, *headers.items()),
        query=query,
        body=valid.request.body if valid.request.body[:1] in (b"{", b"") else valid.request.body + encode_more(more),
    )


def encode_more(fields: Mapping[str, str]) -> bytes:
    """More fields of a form."""
    return b"&" + encode_form(fields) if fields else b""


def other_addresses(root: str, command: str) -> dict[str, Change]:
    """Spell an address otherwise, and name those beside it."""
    first = f"%{ord(command[0]):02x}{command[1:]}"
    other = SESSION if command == CANCEL else CANCEL
    paths = (
        f"{root}{command}/",
        f"/{root}{command}",
        f"{root}/{command}",
        root.replace("/api/", "/api//") + command,
        f"{root}{first}",
        f"{root}x%2f%2e%2e%2f{command}",
        f"{root}%2e/{command}",
        f"{root}{command.lower()}",
        f"{root}{command.upper()}",
        f"{root.upper()}{command}",
        f"{root}{command}.json",
        f"{root}{command}.php",
        f"{root}{command};x=1",
        f"{root}{command}%20",
        f"{root}{command}%00",
        f"{root}{command}/index",
        f"{root}{other}",
        f"{root}tnContractNoSuchCommand",
        root,
        root.rstrip("/"),
        "/api/v2",
        "/api/v2/",
        "/api",
        "/api/",
        "/",
        *(f"{prefix}{command}" for prefix in _PREFIXES if prefix != root),
    )
    return {f"at {path}": _at(path) for path in dict.fromkeys(paths)}


_PREFIXES = (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    "/api/v1/cmd/",
    "/api/v3/cmd/",
    "/api/v3/",
    "/api/v2/",
    "/api/v2/command/",
    "/api/internal/cmd/",
    "/api/admin/",
    "/api/test/cmd/",
    "/v2/cmd/",
    "/cmd/",
    "/internal/api/v2/cmd/",
)
_METHODS = ("PUT", "PATCH", "DELETE", "OPTIONS", "GET", "PROPFIND", "TN")
_LOCAL = "127.0.0.1"
_CLAIMS: dict[str, Change] = {
    "as from the server itself": _claiming(
        dict.fromkeys(
            ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Remote-Addr"),
            _LOCAL,
        )
        | {"Forwarded": f"for={_LOCAL};proto=https", "X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"}
    ),
    "as internal": _claiming(
        dict.fromkeys(
            ("X-Internal", "X-Debug", "X-Test", "X-Admin", "X-Trusted", "X-Authenticated", "X-Skip-Signature"), "true"
        )
        | {"X-Authenticated-User": "admin", "X-User-Id": "1", "X-Original-URL": "/", "X-Rewrite-URL": "/"}
    ),
    "as a browser of the vendor's own page": _claiming(
        {
            "Origin": "https://tradernet.com",
            "Referer": "https://tradernet.com/",
            "X-Requested-With": "XMLHttpRequest",
            "X_REQUESTED_WITH": "XMLHttpRequest",
            "Nt-Jqp": "true",
            "Sec-Fetch-Site": "same-origin",
        }
    ),
    "as a health check": _claiming({"User-Agent": "kube-probe/1.30 ELB-HealthChecker/2.0 curl/8 internal"}),
    "with cookies": _claiming({"Cookie": "SID=1; sid=1; session=1; admin=1; debug=1; auth=true; logged_in=1"}),
    "with Authorization: Bearer": _claiming({"Authorization": "Bearer null"}),
    "with Authorization: Basic": _claiming({"Authorization": "Basic YWRtaW46YWRtaW4="}),
    "as a test": _claiming(query="debug=1&test=1&dev=1&sandbox=1&demo=1&nosign=1&skip_signature=1&admin=1"),
    "as a test, in fields": _claiming(debug="1", test="1", dev="1", sandbox="1", demo="1", nosign="1", dry_run="1"),
    "as v1": _claiming({"X-NtApi-Version": "1", "X-Api-Version": "1", "Accept-Version": "1"}, "v=1&version=1"),
    "as JSONP": _claiming(query="callback=x&format=jsonp&jsonp=1"),
    "with a method to override": _claiming({"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "OPTIONS"}),
}


def _elsewhere(probe: Probe, root: str, command: str) -> dict[str, Spoil]:
    methods: dict[str, Change] = {
        f"by {method}": lambda valid, method=method: replace(valid.request, method=method)  # type: ignore[misc]
        for method in _METHODS
    }
    addresses = other_addresses(root, command)
    return forged(probe, _CLAIMS | methods) | forged(probe, addresses, {"no signature": None})


@on_both(
    "signature/refuses-misplaced",
    "carries out no unsigned request by another way",
    clause="signature-required",
)
def refuses_absent_elsewhere(probe: Probe, command: str) -> Finding:
    """Leave the signature out, or send a wrong one: by other methods, at other addresses, with claims of privilege."""
    return carries_out_none(probe, command, _elsewhere(probe, COMMAND_PATH, command))


@on_both_v3(
    "v3/refuses-misplaced",
    "carries out no unsigned v3 request by another way",
    clause="v3-signature-required",
)
def refuses_absent_elsewhere_v3(probe: Probe, command: str) -> Finding:
    """Leave the signature out, or send a wrong one: by other methods, at other addresses, with claims of privilege."""
    return carries_out_none(probe, command, _elsewhere(probe, COMMAND_PATH_V3, command))


# ---- odd fields and headers ----------------------------------------------------------------------------------


def _twice(name: str, *values: str) -> Change:
    def change(valid: SignedRequest) -> Request:
        bare = with_header(valid.request, name, None)
        return replace(bare, headers=(*bare.headers, *((name, value) for value in values)))

    return change


def _odd_fields(command: str) -> dict[str, Change]:
    names = ("apiKey", "cmd", "nonce", *(("params[order_id]",) if command == CANCEL else ()))
    changes: dict[str, Change] = {}

    def written_as(name: str, *suffixes: str) -> Change:
        def change(valid: SignedRequest) -> Request:
            written = encode_form({name: "x"}).decode().removesuffix("=x")
            parts = valid.request.body.decode().split("&")
            value = next(part.partition("=")[2] for part in parts if part.startswith(f"{written}="))
            others = [part for part in parts if not part.startswith(f"{written}=")]
            return replace(
                valid.request, body="&".join((*others, *(f"{written}{s}={value}" for s in suffixes))).encode()
            )

        return change

    for name in names:
        shapes = {"a list": ("[]",), "a map": ("[x]",), "twice": ("", ""), "text and list": ("", "[]")}
        changes |= {f"{name} as {what}": written_as(name, *suffixes) for what, suffixes in shapes.items()}
        changes[f"{name} as list and text"] = written_as(name, "[]", "")
        changes[f"{name} as a list of lists"] = written_as(name, "[][]")
    many = "&".join(f"x{place}=1" for place in range(1200))

    def around(before: str, after: str) -> Change:
        return lambda valid: replace(valid.request, body=before.encode() + valid.request.body + after.encode())

    return changes | {
        "1200 fields after it": around("", f"&{many}"),
        "1200 fields before it": around(f"{many}&", ""),
        "100 kB after it": around("", "&x=" + "1" * 100_000),
    }


_WRONG_TWICE: dict[str, tuple[str, ...]] = {
    "two wrong signatures": ("0" * 64, "1" * 64),
    "one wrong signature twice": ("0" * 64, "0" * 64),
    "an empty signature and a wrong one": ("", "0" * 64),
    "a wrong signature and an empty one": ("0" * 64, ""),
    "two empty signatures": ("", ""),
    "three wrong signatures": ("0" * 64, "1" * 64, "2" * 64),
    "[]": ("[]",),
    "Array": ("Array",),
    "a list of wrong signatures": ("0" * 64 + ",", "1" * 64),
}


def _as_spoils(changes: Mapping[str, Change]) -> dict[str, Spoil]:
    return {what: (lambda _probe, valid, change=change: change(valid)) for what, change in changes.items()}  # type: ignore[misc]


@on_both(
    "signature/refuses-odd-shapes",
    "carries out no badly signed request of an odd shape",
    clause="signature-required",
)
def refuses_bad_in_odd_shapes(probe: Probe, command: str) -> Finding:
    """Send wrong signatures twice, and beside fields that are lists, maps, doubled or very many."""
    twice = {what: _twice(SIGNATURE_HEADER, *values) for what, values in _WRONG_TWICE.items()}
    return carries_out_none(probe, command, _few(probe, _as_spoils(twice)) | forged(probe, _odd_fields(command)))


@on_both_v3(
    "v3/refuses-odd-shapes",
    "carries out no badly signed v3 request of an odd shape",
    clause="v3-signature-required",
)
def refuses_bad_in_odd_shapes_v3(probe: Probe, command: str) -> Finding:
    """Send wrong signatures twice; a key, a timestamp twice with a wrong signature; members twice or nested."""
    twice = {what: _twice(SIGNATURE_HEADER, *values) for what, values in _WRONG_TWICE.items()}
    key = probe.credentials.api_key

    def stamped(valid: SignedRequest) -> Request:
        stamp = valid.request.header("X-NtApi-Timestamp") or ""
        return _twice("X-NtApi-Timestamp", stamp, stamp)(valid)

    odd: dict[str, Change] = {
        "the key twice": _twice(PUBLIC_KEY_HEADER, key, key),
        "an empty key and the key": _twice(PUBLIC_KEY_HEADER, "", key),
        "the timestamp twice": stamped,
        "a body in a list": lambda valid: replace(valid.request, body=b"[" + valid.request.body + b"]"),
        "100 kB more": lambda valid: replace(valid.request, body=encode_json({**valid.fields, "note": "1" * 100_000})),
    }
    return carries_out_none(probe, command, _few(probe, _as_spoils(twice)) | forged(probe, odd))
