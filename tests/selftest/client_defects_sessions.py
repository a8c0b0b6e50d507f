"""Broken clients whose cancels are right, and whose other requests are not."""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from .client_defects import FORM, found_too, instead_of, tried
from .clients import Client, Fields, Got, LostError, NotSentError

AUTH = "/api/v2/cmd/getAuthInfo"


def opening(
    slug: str,
    *own: str,
    send: Callable[[Client, Fields], object],
    fields: Callable[[Client], Fields] | None = None,
    also: dict[str, str] | None = None,
) -> None:
    """Register a client that sends something before its first cancel."""

    def run(self: Client) -> None:
        given = fields(self) if fields else auth_info(self)
        with contextlib.suppress(NotSentError, LostError):
            send(self, given)
        Client.run(self)

    run.__name__ = slug
    instead_of("run", *own, also=also)(run)


def auth_info(self: Client) -> Fields:
    return [("apiKey", self.key), ("cmd", "getAuthInfo"), ("nonce", self.next_nonce())]


def by_get(self: Client, fields: Fields) -> Got:
    return self.send("GET", f"{AUTH}?{urllib.parse.urlencode(fields)}", self.headers(fields), b"")


def by_post(self: Client, fields: Fields) -> Got:
    return self.send("POST", AUTH, self.headers(fields), self.body(fields))


KEY_TOO = {"keeps/key-out-of-address": "the key is a field"}
opening("opens-a-session-by-get", "sends/other-requests", send=by_get, also=KEY_TOO)
opening("opens-a-session-by-get-with-its-key-in-a-header", "sends/other-requests", send=lambda self, fields: self.send(
    "GET", AUTH, {"X-NtApi-PublicKey": self.key}, b""
))  # fmt: skip
opening("opens-a-session-by-put", "sends/other-requests",
        send=lambda self, fields: self.send("PUT", AUTH, self.headers(fields), self.body(fields)))  # fmt: skip
opening("opens-a-session-unsigned", "signs/each-request",
        send=lambda self, fields: self.send("POST", AUTH, {"Content-Type": FORM}, self.body(fields)))  # fmt: skip
opening("opens-a-session-with-json", "sends/other-requests", send=lambda self, fields: self.send(
    "POST", AUTH, {**self.headers(fields), "Content-Type": "application/json"}, json.dumps(dict(fields)).encode()
), also={"signs/each-request": "a body that is no form has no key"})  # fmt: skip
opening("opens-a-session-at-the-cancels-address", "sends/other-requests", send=lambda self, fields: self.send(
    "POST", "/api/v2/cmd/delTradeOrder", self.headers(fields), self.body(fields)
))  # fmt: skip
opening("opens-a-session-without-a-command-in-the-address", "sends/other-requests", send=lambda self, fields: self.send(
    "POST", "/api/v2/cmd/", self.headers(fields), self.body(fields)
))  # fmt: skip
opening("opens-a-session-without-a-nonce", "sends/other-requests", send=by_post,
        fields=lambda self: [field for field in auth_info(self) if field[0] != "nonce"])  # fmt: skip
opening("opens-a-session-with-a-float-for-a-nonce", "draws/whole-numbers", send=by_post,
        fields=lambda self: [*auth_info(self)[:2], ("nonce", f"{self.next_nonce()}.5")])  # fmt: skip
opening("opens-a-session-with-its-nonce-as-a-list", "sends/other-requests", send=by_post,
        fields=lambda self: [*auth_info(self)[:2], ("nonce[]", self.next_nonce())])  # fmt: skip
opening("opens-a-session-with-more-fields", "sends/other-requests", send=by_post,
        fields=lambda self: [*auth_info(self), ("version", "2")])  # fmt: skip
opening("sends-its-secret-to-open-a-session", "keeps/secret-out-of-body", send=by_post,
        fields=lambda self: [*auth_info(self), ("apiSecret", self.secret)],
        )  # fmt: skip
opening("opens-a-session-with-the-key-in-the-address", "keeps/key-out-of-address", send=lambda self, fields: self.send(
    "POST", f"{AUTH}?apiKey={self.key}", self.headers(fields), self.body(fields)
))  # fmt: skip
opening("shows-its-secret-when-it-asks-for-the-time", "keeps/secret-out-of-address",
        send=lambda self, fields: self.send("GET", f"/time?token={self.secret}", {}, b""))  # fmt: skip
opening("shows-its-key-when-it-asks-for-the-time", "keeps/key-out-of-address",
        send=lambda self, fields: self.send("GET", f"/time?user={self.key}", {}, b""))  # fmt: skip
opening("warms-up-with-an-unsigned-cancel", "signs/each-request", send=lambda self, fields: self.send(
    "POST", "/api/v2/cmd/delTradeOrder", {"Content-Type": FORM}, b"apiKey=" + self.key.encode()
), also={"sends/*": "the cancel names no order"})  # fmt: skip


@instead_of("exchange", "resends/nothing-after-refusals")
def opens_a_session_and_tries_again(self: Client, fields: Fields) -> Got:
    """What the vendor's SDK warns of: after HTTP 403 it logs in, and sends the command once more."""
    got = Client.exchange(self, fields)
    if got.status in (401, 403) and got.text.startswith("{"):
        by_post(self, auth_info(self))
        again = [("nonce", self.next_nonce()) if name == "nonce" else (name, value) for name, value in fields]
        return Client.exchange(self, again)
    return got


@instead_of("on_lost", "keeps/key-out-of-address", also={})
def looks_lost_orders_up_by_get(self: Client, order_id: str) -> dict[str, Any]:
    fields = [("apiKey", self.key), ("cmd", "getNotifyOrderJson"), ("nonce", self.next_nonce())]
    with contextlib.suppress(NotSentError, LostError):
        self.send("GET", f"/api/v2/cmd/getNotifyOrderJson?{urllib.parse.urlencode(fields)}", self.headers(fields), b"")
    return {"outcome": "unknown"}


tried("looks-lost-orders-up-by-get", "drop")


# ---- found by others too --------------------------------------------------------------------------------------

found_too("looks-lost-orders-up-by-get", also={"sends/other-requests": "it goes by GET"})
found_too(
    "opens-a-session-with-its-nonce-as-a-list",
    also={"signs/each-request": "what is signed is not what is sent", "draws/whole-numbers": "a list is no number"},
)
found_too("sends-its-secret-to-open-a-session", also={"sends/other-requests": "it is one more field"})
