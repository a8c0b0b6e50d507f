"""An honest server, written from the seed page and the rules of DESIGN alone: it shares no code with the kit.

Every step is a small method, so that a broken server (`defects.py`) is this one with one step replaced. Order ids
are unlimited, key pairs are given, and there is no control plane: to the judge it is anybody's server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from cheroot import wsgi

Members = dict[str, Any]

FORM = "application/x-www-form-urlencoded"
PAIRS = {"selftest-key-1": "selftest-secret-1", "selftest-key-2": "selftest-secret-2"}

# What went wrong → the key of its text, the text, the code. The first is the page's own; the others are this
# server's, for the page names no reply for them.
FAILURES: dict[str, tuple[str, str, int | None]] = {
    "method": ("errMsg", "Unsupported query method", 2),
    "address": ("errMsg", "No such address", 1),
    "form": ("errMsg", "The body is no form", 1),
    "key": ("error", "Who are you?", 12),
    "signature": ("errMsg", "The signature does not fit", 4),
    "nonce": ("error", "The nonce is missing, no integer, or too low", 1),
    "command": ("errMsg", "No such command", 3),
    "parameters": ("error", "order_id is missing or no integer", 5),
    "v3-key": ("error", "No such key", None),
    "v3-signature": ("error", "The signature does not fit body and timestamp", None),
    "timestamp": ("error", "The timestamp is missing, no integer, or too far from the clock", None),
    "json": ("errMsg", "The body is no JSON object", 2),
}


class Refusal(Exception):
    """A step refuses the request; the argument is a key of `FAILURES`."""


@dataclass
class Call:
    """One request, and what the steps have learned of it so far."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    connection: int = 0
    headers_as_sent: dict[str, str] = field(default_factory=dict)
    header_pairs: tuple[tuple[str, str], ...] = ()
    fields: Members = field(default_factory=dict)
    key: str = ""
    command: str = ""
    nonce: int = 0
    order_id: int = 0
    v3: bool = False


def pairs_of(text: bytes | str) -> list[tuple[str, str]]:
    """Split a form into decoded names and values, duplicates kept."""
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    return parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="surrogateescape")


def nested(pairs: list[tuple[str, str]]) -> Members:
    """Read `a[b]=c` as {"a": {"b": "c"}}; the last of two equal names wins."""
    tree: Members = {}
    for name, value in pairs:
        *parents, last = re.findall(r"[^\[\]]+", name) or [""]
        branch = tree
        for parent in parents:
            if not isinstance(branch.get(parent), dict):
                branch[parent] = {}
            branch = branch[parent]
        branch[last] = value
    return tree


def canonical(fields: Members) -> str:
    """Write the string to sign: sorted by name on each level, raw, never percent-encoded."""
    return "&".join(
        f"{name}={canonical(fields[name]) if isinstance(fields[name], dict) else fields[name]}"
        for name in sorted(fields)
    )


class Server:
    """The WSGI app."""

    steps: tuple[str, ...] = (
        "check_method",
        "check_address",
        "check_form",
        "check_key",
        "check_signature",
        "check_nonce",
        "check_command",
    )
    steps_v3: tuple[str, ...] = (
        "check_method",
        "check_v3_key",
        "check_v3_signature",
        "check_timestamp",
        "check_body",
        "check_v3_command",
    )
    status_of_failure = 200
    status_of_v3_stranger = 403
    tolerance = 30

    def __init__(self, pairs: dict[str, str] | None = None) -> None:
        self.pairs = dict(PAIRS if pairs is None else pairs)
        self.last: dict[Hashable, Any] = {}
        self.lock = threading.Lock()
        self.memory: dict[str, Any] = {}  # for defects that remember too much

    # ---- the steps -----------------------------------------------------------------------------------------

    def check_method(self, call: Call) -> None:
        if call.method != "POST":
            raise Refusal("method")

    def check_address(self, call: Call) -> None:
        if not re.match(r"/api/v2(/|$)", call.path):
            raise Refusal("address")

    def check_form(self, call: Call) -> None:
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise Refusal("form")
        call.fields = self.read_fields(call)

    def read_fields(self, call: Call) -> Members:
        return nested(pairs_of(call.body))

    def check_key(self, call: Call) -> None:
        key = self.read_key(call)
        if not isinstance(key, str) or not self.knows(key):
            raise Refusal("key")
        call.key = key

    def read_key(self, call: Call) -> Any:
        return call.fields.get("apiKey")

    def knows(self, key: str) -> bool:
        return key in self.pairs

    def check_signature(self, call: Call) -> None:
        given = self.read_signature(call)
        if not given or not any(self.same(given, right) for right in self.right_signatures(call)):
            raise Refusal("signature")

    def read_signature(self, call: Call) -> str | None:
        return call.headers.get("x-ntapi-sig")

    def right_signatures(self, call: Call) -> list[str]:
        return [self.digest(self.secret_of(call), self.string_to_sign(call))]

    def secret_of(self, call: Call) -> str:
        return self.pairs[call.key]

    def string_to_sign(self, call: Call) -> str:
        return canonical(call.fields)

    def digest(self, secret: str, string: str) -> str:
        text = string.encode("utf-8", "surrogateescape")
        return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()

    def same(self, given: str, right: str) -> bool:
        return hmac.compare_digest(given.encode("latin-1", "replace"), right.encode())

    def check_nonce(self, call: Call) -> None:
        text = call.fields.get("nonce")
        nonce = self.read_nonce(text) if isinstance(text, str) else None
        if nonce is None:
            raise Refusal("nonce")
        call.nonce = nonce
        if not self.admit(self.ledger_of(call), nonce):
            raise Refusal("nonce")

    def read_nonce(self, text: str) -> Any:
        return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,18}", text) and int(text) < 2**63 else None

    def ledger_of(self, call: Call) -> Hashable:
        return call.key

    def admit(self, ledger: Hashable, nonce: Any) -> bool:
        with self.lock:
            if ledger in self.last and not self.rises(self.last[ledger], nonce):
                return False
            self.last[ledger] = nonce
            return True

    def rises(self, last: Any, nonce: Any) -> bool:
        return bool(nonce > last)

    def check_command(self, call: Call) -> None:
        command = self.read_command(call)
        if command not in ("getAuthInfo", "delTradeOrder"):
            raise Refusal("command")
        call.command = command

    def read_command(self, call: Call) -> Any:
        return call.fields.get("cmd")

    def read_order_id(self, call: Call) -> int:
        params = call.fields.get("params")
        text = self.find_order_id(params if isinstance(params, dict) else {}, call)
        order_id = self.parse_order_id(text) if isinstance(text, str) else None
        if order_id is None:
            raise Refusal("parameters")
        return order_id

    def find_order_id(self, params: Members, call: Call) -> Any:
        return params.get("order_id")

    def parse_order_id(self, text: str) -> Any:
        return int(text) if re.fullmatch(r"[1-9][0-9]{0,18}", text) and int(text) < 2**63 else None

    # ---- the steps of v3 -----------------------------------------------------------------------------------

    def speaks_v3(self, call: Call) -> bool:
        return bool(re.fullmatch(r"/api/(?!v2$)[^/]+", call.path))

    def check_v3_key(self, call: Call) -> None:
        key = self.read_v3_key(call)
        if not key or not self.knows_v3(key):
            raise Refusal("v3-key")
        call.key = key

    def read_v3_key(self, call: Call) -> str | None:
        return call.headers.get("x-ntapi-publickey")

    def knows_v3(self, key: str) -> bool:
        return key in self.pairs

    def check_v3_signature(self, call: Call) -> None:
        given = self.read_v3_signature(call)
        if not given or not any(self.same_v3(given, right) for right in self.right_v3_signatures(call)):
            raise Refusal("v3-signature")

    def read_v3_signature(self, call: Call) -> str | None:
        return call.headers.get("x-ntapi-sig")

    def right_v3_signatures(self, call: Call) -> list[str]:
        return [self.digest_v3(self.secret_of(call), self.message(call))]

    def message(self, call: Call) -> bytes:
        return call.body + self.read_timestamp(call).encode("latin-1")

    def read_timestamp(self, call: Call) -> str:
        return call.headers.get("x-ntapi-timestamp", "")

    def digest_v3(self, secret: str, message: bytes) -> str:
        return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()

    def same_v3(self, given: str, right: str) -> bool:
        return hmac.compare_digest(given.encode("latin-1", "replace"), right.encode())

    def check_timestamp(self, call: Call) -> None:
        seconds = self.parse_timestamp(self.read_timestamp(call))
        if seconds is None or abs(time.time() - seconds) > self.tolerance:
            raise Refusal("timestamp")

    def parse_timestamp(self, text: str) -> Any:
        return int(text) if re.fullmatch(r"[1-9][0-9]{0,17}", text) else None

    def check_body(self, call: Call) -> None:
        members = self.read_json(call) if call.body else {}
        if not isinstance(members, dict):
            raise Refusal("json")
        call.fields = members

    def read_json(self, call: Call) -> Any:
        def no_constant(name: str) -> Any:
            raise ValueError(name)

        try:
            return json.loads(call.body.decode(), parse_constant=no_constant)
        except (ValueError, RecursionError):
            return None

    def check_v3_command(self, call: Call) -> None:
        command = self.read_v3_command(call)
        if command not in ("getAuthInfo", "delTradeOrder"):
            raise Refusal("command")
        call.command = command

    def read_v3_command(self, call: Call) -> str:
        return call.path.removeprefix("/api/")

    def find_v3_order_id(self, call: Call) -> Any:
        return call.fields.get("order_id")

    def parse_v3_order_id(self, value: Any) -> Any:
        return value if type(value) is int and 0 < value < 2**63 else None

    def cancel_v3(self, call: Call) -> Any:
        call.order_id = self.parse_v3_order_id(self.find_v3_order_id(call))
        if call.order_id is None:
            raise Refusal("parameters")
        return self.success_v3(call)

    def success_v3(self, call: Call) -> Any:
        return {"order_id": call.order_id}

    # ---- the replies ---------------------------------------------------------------------------------------

    def answer(self, call: Call) -> tuple[int, bytes]:
        call.v3 = self.speaks_v3(call)
        try:
            for step in self.steps_v3 if call.v3 else self.steps:
                getattr(self, step)(call)
            return 200, self.encode(self.carry_out(call))
        except Refusal as refusal:
            return self.refuse(str(refusal), call)

    def carry_out(self, call: Call) -> Any:
        return self.open_session(call) if call.command == "getAuthInfo" else self.cancel(call)

    def open_session(self, call: Call) -> Any:
        return {"sess_id": hashlib.sha256(call.key.encode()).hexdigest()[:26]}

    def cancel(self, call: Call) -> Any:
        if call.v3:
            return self.cancel_v3(call)
        call.order_id = self.read_order_id(call)
        return self.success(call)

    def success(self, call: Call) -> Any:
        return {"order_id": call.order_id}

    def refuse(self, why: str, call: Call) -> tuple[int, bytes]:
        stranger = why in ("v3-key", "v3-signature", "timestamp")
        status = self.status_of_v3_stranger if stranger else self.status_of_failure
        return status, self.encode(self.failure(why, call))

    def failure(self, why: str, call: Call) -> Any:
        key, text, code = FAILURES[why]
        return {key: text, "code": code}

    def encode(self, members: Any) -> bytes:
        return json.dumps(members).encode()

    def headers(self, call: Call) -> dict[str, str]:
        return {"Content-Type": "application/json", **self.cors(call)}

    def cors(self, call: Call) -> dict[str, str]:
        if "origin" not in call.headers:
            return {}
        return {"Access-Control-Allow-Origin": call.headers["origin"], "Access-Control-Allow-Credentials": "true"}

    def preflight(self, call: Call) -> tuple[int, dict[str, str]]:
        return 204, {
            **self.cors(call),
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": call.headers.get("access-control-request-headers", ""),
        }

    # ---- WSGI ----------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        call = Call(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"},
            environ["wsgi.input"].read(),
            environ["selftest.connection"],
            dict(environ.get("selftest.headers", ())),
            tuple(environ.get("selftest.headers", ())),
        )
        call.headers["content-type"] = environ.get("CONTENT_TYPE", "")
        if call.method == "OPTIONS" and "access-control-request-method" in call.headers:
            (status, headers), body = self.preflight(call), b""
        else:
            status, body = self.answer(call)
            headers = self.headers(call)
        return self.respond(call, status, {"Content-Length": str(len(body)), **headers}, body, start_response)

    def respond(
        self, call: Call, status: int, headers: dict[str, str], body: bytes, start_response: Callable[..., Any]
    ) -> list[bytes]:
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [body]


class HungUp(Exception):
    """Leave the connection without a reply."""


def hang_up() -> NoReturn:
    raise HungUp


class _Gateway(wsgi.Gateway_10):
    """Cuts the connection when the app says so, which WSGI itself cannot."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "selftest.connection": self.req.conn.remote_port}

    def respond(self) -> None:
        try:
            super().respond()
        except HungUp:
            self.req.close_connection = self.req.sent_headers = True
            self.req.conn.socket.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(app: Server) -> Iterator[str]:
    """Serve the app on a free port of this machine; yields its address."""
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=8, request_queue_size=64, shutdown_timeout=2)
    server.gateway = _Gateway
    server.error_log = lambda *_arguments, **_named: None
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()
