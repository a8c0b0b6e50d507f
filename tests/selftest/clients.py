"""An honest client, written from the seed page and the rules of the README alone: it shares no code with the kit.

Every step is a small method, so that a broken client (`client_defects.py`) is this one with one step replaced. It
speaks the line protocol through `say`, and reads its clock through the file with which a trial sets clocks.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Fields = list[tuple[str, str]]

FORM = "application/x-www-form-urlencoded"
FAILURES = ("errMsg", "error", "errorMsg")
FALSY = ("", "0", 0, False, None, [])


class NotSentError(Exception):
    """No connection came about."""


class LostError(Exception):
    """The request was sent, and no whole reply came."""


@dataclass
class Got:
    """A reply."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


class Client:
    """Cancels the orders that its environment names, one after the other."""

    def __init__(self, environment: dict[str, str], say: Callable[[str], None]) -> None:
        self.base_url = environment["TN_BASE_URL"]
        self.key = environment["TN_API_KEY"]
        self.secret = environment["TN_API_SECRET"]
        self.timeout = float(environment["TN_TIMEOUT"])
        self.asked = environment["TN_ORDER_IDS"].split(",")
        self.ca_file = environment.get("SSL_CERT_FILE")
        self.clock_file = environment.get("FAKETIME_TIMESTAMP_FILE")
        self.say = say
        self.last_nonce = 0
        self.memory: dict[str, Any] = {}  # for defects that remember too much

    # ---- what to do ----------------------------------------------------------------------------------------

    def run(self) -> None:
        for order_id in self.order_ids():
            self.report(order_id, self.cancel(order_id))

    def order_ids(self) -> list[str]:
        return self.asked

    def cancel(self, order_id: str) -> dict[str, Any]:
        try:
            got = self.exchange(self.fields(order_id))
        except NotSentError:
            return self.on_not_sent(order_id)
        except LostError:
            return self.on_lost(order_id)
        return self.judge(order_id, got)

    def on_not_sent(self, order_id: str) -> dict[str, Any]:
        return {"outcome": "not-sent"}

    def on_lost(self, order_id: str) -> dict[str, Any]:
        return {"outcome": "unknown"}

    def report(self, order_id: str, outcome: dict[str, Any]) -> None:
        self.say(json.dumps(outcome))

    # ---- the request ---------------------------------------------------------------------------------------

    def fields(self, order_id: str) -> Fields:
        return [
            ("apiKey", self.key),
            ("cmd", "delTradeOrder"),
            ("nonce", self.next_nonce()),
            ("params[order_id]", self.order_text(order_id)),
        ]

    def order_text(self, order_id: str) -> str:
        return order_id

    def now_ns(self) -> int:
        text = Path(self.clock_file).read_text().strip() if self.clock_file else "+0"
        if text[0] in "+-":
            return time.time_ns() + int(text) * 10**9
        seconds, _point, fraction = text.partition(".")
        return int(time.mktime(time.strptime(seconds, "%Y-%m-%d %H:%M:%S"))) * 10**9 + int(fraction)

    def ticks(self) -> int:
        return self.now_ns() // 100

    def next_nonce(self) -> str:
        self.last_nonce = max(self.ticks(), self.last_nonce + 1)
        return str(self.last_nonce)

    def string_to_sign(self, fields: Fields) -> str:
        flat = sorted((name, value) for name, value in fields if "[" not in name)
        nested = sorted((name[len("params[") : -1], value) for name, value in fields if name.startswith("params["))
        params = "&".join(f"{name}={value}" for name, value in nested)
        return "&".join(f"{name}={value}" for name, value in sorted([*flat, *([("params", params)] if params else [])]))

    def digest(self, string: str) -> str:
        return hmac.new(self.secret.encode(), string.encode(), hashlib.sha256).hexdigest()

    def signature(self, fields: Fields) -> str:
        return self.digest(self.string_to_sign(fields))

    def headers(self, fields: Fields) -> dict[str, str]:
        return {"Content-Type": FORM, "X-NtApi-Sig": self.signature(fields)}

    def body(self, fields: Fields) -> bytes:
        return urllib.parse.urlencode(fields).encode()

    def method(self) -> str:
        return "POST"

    def address(self, fields: Fields) -> str:
        return "/api/v2/cmd/delTradeOrder"

    # ---- the wire ------------------------------------------------------------------------------------------

    def exchange(self, fields: Fields) -> Got:
        return self.send(self.method(), self.address(fields), self.headers(fields), self.body(fields))

    def send(self, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
        """Send one request once. Raises `NotSentError` or `LostError`."""
        connection = self.connect()
        try:
            connection.request(method, address, body, {"Connection": "close", **headers})
            return self.receive(connection)
        except (OSError, http.client.HTTPException) as error:
            raise LostError(type(error).__name__) from error
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        address = urllib.parse.urlsplit(self.base_url)
        assert address.hostname
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            connection = http.client.HTTPSConnection(
                address.hostname, address.port, timeout=self.patience(), context=self.trust()
            )
        else:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=self.patience())
        try:
            connection.connect()
        except OSError as error:
            raise NotSentError(type(error).__name__) from error
        return connection

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def patience(self) -> float | None:
        return self.timeout

    def receive(self, connection: http.client.HTTPConnection) -> Got:
        with connection.getresponse() as reply:
            text = self.read(reply).decode("utf-8", "replace")
        return Got(reply.status, text, {name.lower(): value for name, value in reply.getheaders()})

    def read(self, reply: http.client.HTTPResponse) -> bytes:
        return reply.read()

    # ---- the reply -----------------------------------------------------------------------------------------

    def judge(self, order_id: str, got: Got) -> dict[str, Any]:
        if self.is_server_error(got):
            return {"outcome": "unknown"}
        said = self.parse(got.text)
        if self.is_failure(said) or self.is_rate_limit(got):
            return {"outcome": "rejected", **self.code_of(said)}
        confirmed = self.is_status_good(got.status) and self.is_success(order_id, said)
        return {"outcome": "accepted" if confirmed else "unknown"}

    def is_server_error(self, got: Got) -> bool:
        return got.status >= 500

    def is_rate_limit(self, got: Got) -> bool:
        return got.status == 429

    def is_status_good(self, status: int) -> bool:
        return 200 <= status < 300

    def parse(self, text: str) -> dict[str, Any]:
        """Read a JSON object; anything else, and one with a name twice, is an empty one."""
        try:
            said = json.loads(text, object_pairs_hook=self.object_of)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def object_of(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    def is_failure(self, said: dict[str, Any]) -> bool:
        return any(said.get(name) not in FALSY for name in FAILURES)

    def code_of(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"code": said["code"]} if isinstance(said.get("code"), int | str) else {}

    def is_success(self, order_id: str, said: dict[str, Any]) -> bool:
        if "order_id" in said:
            return type(said["order_id"]) is int and str(said["order_id"]) == order_id
        return type(said.get("result")) is int


def pairs_of(query: str) -> Fields:
    """Split a form into names and values."""
    return urllib.parse.parse_qsl(query, keep_blank_values=True)


def bracket_free(name: str) -> str:
    """`params[order_id]` → `order_id`."""
    return re.sub(r"^params\[(.*)\]$", r"\1", name)
