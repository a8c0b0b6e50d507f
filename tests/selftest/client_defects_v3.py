"""Broken clients of the newer generation: an honest one of its own, with one step replaced."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any

from .client_defects import DEFECTS, Also, Defect, found_too
from .clients import Client, Fields, Got


class NewerClient(Client):
    """Signs body and timestamp."""

    def body_text(self, order_id: str) -> str:
        return f'{{"order_id":{order_id}}}'

    def stamp(self) -> str:
        return str(self.now_ns() // 10**9)

    def newer_headers(self, body: str, stamp: str) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-NtApi-PublicKey": self.key,
            "X-NtApi-Timestamp": stamp,
            "X-NtApi-Sig": self.digest(body + stamp),
        }

    def newer_address(self) -> str:
        return "/api/delTradeOrder"

    def sent_body(self, body: str) -> str:
        return body

    def exchange(self, fields: Fields) -> Got:
        body = self.body_text(dict(fields)["params[order_id]"])
        headers = self.newer_headers(body, self.stamp())
        return self.send(self.method(), self.newer_address(), headers, self.sent_body(body).encode())


def newer(slug: str, *own: str, also: Also | None = None, **steps: Callable[..., Any]) -> None:
    """Register a broken client of the newer generation."""
    assert slug not in DEFECTS, slug
    assert all(hasattr(NewerClient, step) for step in steps), slug
    whole = {name: value for name, value in vars(NewerClient).items() if not name.startswith("__")}
    DEFECTS[slug] = Defect({**whole, **steps}, own, dict(also or {}))


def headers_with(**changed: Callable[[Client, str, str], str | None]) -> Callable[[NewerClient, str, str], Any]:
    def headers(self: NewerClient, body: str, stamp: str) -> dict[str, str]:
        given: dict[str, str | None] = dict(NewerClient.newer_headers(self, body, stamp))
        for name, value in changed.items():
            given[name.replace("_", "-")] = value(self, body, stamp)
        return {name: value for name, value in given.items() if value is not None}

    return headers


newer("v3-sends-get", "sends/post", method=lambda self: "GET")
newer("v3-at-the-address-of-v2", "sends/address", newer_address=lambda self: "/api/v2/cmd/delTradeOrder")
newer("v3-at-an-address-with-a-slash-behind-it", "sends/address", newer_address=lambda self: "/api/delTradeOrder/")
newer("v3-declares-a-form", "sends/content-type", newer_headers=headers_with(
    Content_Type=lambda self, body, stamp: "application/x-www-form-urlencoded"
))  # fmt: skip
newer("v3-declares-nothing", "sends/content-type",
      newer_headers=headers_with(Content_Type=lambda self, body, stamp: None))  # fmt: skip
newer("v3-sends-ids-as-floats", "sends/what-was-asked", body_text=lambda self, order_id: f'{{"order_id":{order_id}.0}}')
newer("v3-sends-ids-as-a-list", "sends/what-was-asked", body_text=lambda self, order_id: f'{{"order_id":[{order_id}]}}')
newer("v3-names-the-order-twice", "sends/what-was-asked",
      body_text=lambda self, order_id: f'{{"order_id":1,"order_id":{order_id}}}')  # fmt: skip
newer("v3-names-it-in-camel-case", "sends/what-was-asked", body_text=lambda self, order_id: f'{{"orderId":{order_id}}}')
newer(
    "v3-wraps-its-params",
    "sends/what-was-asked",
    body_text=lambda self, order_id: f'{{"params":{{"order_id":{order_id}}}}}',
)
newer("v3-sends-a-list", "sends/what-was-asked", body_text=lambda self, order_id: f'[{{"order_id":{order_id}}}]')
newer("v3-sends-a-form", "sends/what-was-asked", body_text=lambda self, order_id: f"order_id={order_id}")
newer("v3-adds-a-member", "sends/nothing-else", body_text=lambda self, order_id: f'{{"order_id":{order_id},"force":1}}')
newer("v3-adds-its-key-to-the-body", "sends/nothing-else",
      body_text=lambda self, order_id: f'{{"order_id":{order_id},"apiKey":"{self.key}"}}')  # fmt: skip
newer("v3-writes-the-body-again", "signs/each-request", sent_body=lambda self, body: body.replace(":", ": "))
newer("v3-ends-the-body-with-a-line-feed", "signs/each-request", sent_body=lambda self, body: body + "\n")
newer("v3-signs-the-body-alone", "signs/each-request",
      newer_headers=headers_with(X_NtApi_Sig=lambda self, body, stamp: self.digest(body)))  # fmt: skip
newer("v3-signs-the-timestamp-first", "signs/each-request",
      newer_headers=headers_with(X_NtApi_Sig=lambda self, body, stamp: self.digest(stamp + body)))  # fmt: skip
newer(
    "v3-signs-another-timestamp",
    "signs/each-request",
    newer_headers=headers_with(X_NtApi_Sig=lambda self, body, stamp: self.digest(body + str(int(stamp) + 1))),
)
newer("v3-sends-no-key", "signs/each-request",
      newer_headers=headers_with(X_NtApi_PublicKey=lambda self, body, stamp: None))  # fmt: skip
newer("v3-sends-no-timestamp", "draws/timestamps-in-seconds",
      newer_headers=headers_with(X_NtApi_Timestamp=lambda self, body, stamp: None))  # fmt: skip
newer("v3-stamps-with-a-fraction", "draws/timestamps-in-seconds", stamp=lambda self: f"{self.now_ns() / 1e9:.3f}")
newer("v3-stamps-in-local-time", "draws/timestamps-in-seconds", stamp=lambda self: str(self.now_ns() // 10**9 + 10800))
newer("v3-stamps-with-a-date", "draws/timestamps-in-seconds", stamp=lambda self: "2026-01-01T00:00:00Z")
newer("v3-stamps-with-a-constant", "draws/timestamps-in-seconds", stamp=lambda self: "1700000000")
newer("v3-puts-its-key-into-the-address", "keeps/key-out-of-address",
      newer_address=lambda self: f"/api/delTradeOrder?apiKey={self.key}")  # fmt: skip
newer("v3-puts-its-signature-into-the-address", "sends/nothing-else", newer_address=lambda self: (
    f"/api/delTradeOrder?{urllib.parse.urlencode({'sig': self.digest('x')})}"
))  # fmt: skip
newer("v3-sends-its-secret-as-a-bearer", "keeps/secret-out-of-headers", newer_headers=headers_with(
    Authorization=lambda self, body, stamp: f"Bearer {self.secret}"
))  # fmt: skip
newer("v3-sends-a-nonce-besides", "sends/nothing-else",
      body_text=lambda self, order_id: f'{{"order_id":{order_id},"nonce":{self.next_nonce()}}}')  # fmt: skip
newer(
    "v3-rounds-ids", "sends/ids-to-63-bits", body_text=lambda self, order_id: f'{{"order_id":{int(float(order_id))}}}'
)


# ---- found by others too --------------------------------------------------------------------------------------

found_too(
    "v3-names-it-in-camel-case",
    "v3-wraps-its-params",
    also={"sends/ids-*": "no order is named", "sends/nothing-else": "no such member is documented"},
)
found_too(
    "v3-names-the-order-twice",
    "v3-sends-a-form",
    "v3-sends-a-list",
    "v3-sends-ids-as-a-list",
    "v3-sends-ids-as-floats",
    also={"sends/ids-*": "no order is named"},
)
found_too("v3-at-the-address-of-v2", also={"signs/each-request": "there a form is wanted"})
found_too("v3-sends-no-timestamp", also={"signs/each-request": "it belongs to what is signed"})
