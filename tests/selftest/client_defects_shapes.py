"""Broken clients that send every value right, and one of them in a wrong shape."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Callable

from .client_defects import (
    DEFECTS,
    FORM,
    UNNAMED,
    adding_header,
    changing_fields,
    defect,
    drawing,
    found_too,
    instead_of,
)
from .clients import Client, Fields, Got, LostError

# ---- names ---------------------------------------------------------------------------------------------------


def renaming(slug: str, *own: str, name: str, to: str, also: dict[str, str] | None = None, signed: bool = True) -> None:
    """Register another name for a field; with `signed`, the right one is signed."""

    def body(self: Client, fields: Fields) -> bytes:
        return Client.body(self, [(to if each == name else each, value) for each, value in fields])

    if signed:
        defect(slug, *own, body=body, also=also)
    else:
        changing_fields(slug, *own, change=lambda self, fields: [
            (to if each == name else each, value) for each, value in fields
        ], also=also)  # fmt: skip


BODILY = {"sends/nothing-else": "the name is no documented one", "signs/each-request": "what is signed is not sent"}
renaming("sends-the-nonce-as-a-list", "sends/fields", "draws/whole-numbers", name="nonce", to="nonce[]")
renaming("sends-the-key-as-a-list", "sends/fields", name="apiKey", to="apiKey[]")
renaming("sends-the-command-as-a-list", "sends/fields", name="cmd", to="cmd[]")
renaming("sends-the-order-as-a-list", "sends/fields", name="params[order_id]", to="params[order_id][]")
renaming("sends-params-as-a-list", "sends/fields", name="params[order_id]", to="params[][order_id]")
renaming("sends-the-nonce-by-index", "sends/fields", "draws/whole-numbers", name="nonce", to="nonce[0]")
renaming("sends-the-nonce-as-a-map", "sends/fields", "draws/whole-numbers", name="nonce", to="nonce[value]")
renaming("leaves-a-bracket-open", "sends/fields", name="params[order_id]", to="params[order_id")
renaming("joins-names-with-a-dot", "sends/fields", name="params[order_id]", to="params.order_id")
renaming("writes-apikey-in-small-letters", "sends/fields", name="apiKey", to="apikey")
renaming("writes-nonce-in-capitals", "sends/fields", name="nonce", to="NONCE")
renaming("writes-a-space-before-a-name", "sends/fields", name="nonce", to=" nonce")
renaming("quotes-the-name-in-brackets", "sends/fields", name="params[order_id]", to="params['order_id']")
renaming("writes-the-order-in-capitals", "sends/fields", name="params[order_id]", to="params[ORDER_ID]")
renaming("writes-a-byte-order-mark", "sends/fields", name="apiKey", to="\ufeffapiKey")


def doubling(slug: str, *own: str, fields: Callable[[Client, Fields], Fields]) -> None:
    """Register a body with fields besides the signed ones."""
    defect(slug, *own, body=lambda self, signed: Client.body(self, fields(self, signed)))


doubling("names-the-order-twice", "sends/fields", fields=lambda self, signed: [*signed, signed[3]])
doubling("names-two-orders", "sends/fields", fields=lambda self, signed: [("params[order_id]", "1"), *signed])
doubling("sends-two-nonces", "sends/fields", fields=lambda self, signed: [("nonce", "1"), *signed])
doubling("sends-two-commands", "sends/fields", fields=lambda self, signed: [("cmd", "getAuthInfo"), *signed])
doubling("sends-the-params-also-as-json", "sends/fields", fields=lambda self, signed: [("params", "{}"), *signed])


@instead_of("body", "sends/fields")
def escapes_the_ampersand_as_html_does(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields).replace(b"&", b"&amp;")


@instead_of("body", "sends/fields")
def separates_fields_by_semicolons(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields).replace(b"&", b";")


@instead_of("body", "sends/fields")
def separates_fields_by_lines(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields).replace(b"&", b"\r\n")


@instead_of("body", "sends/what-was-asked")
def ends_the_body_with_a_line_feed(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields) + b"\n"


@instead_of("body", "sends/fields")
def encodes_the_body_twice(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields).replace(b"%", b"%25")


@instead_of("body", "sends/fields")
def compresses_the_body(self: Client, fields: Fields) -> bytes:
    return gzip.compress(Client.body(self, fields), mtime=0)


DEFECTS["compresses-the-body"].attributes["headers"] = lambda self, fields: {
    **Client.headers(self, fields), "Content-Encoding": "gzip",
}  # fmt: skip


@instead_of("body", "sends/fields")
def sends_utf_16(self: Client, fields: Fields) -> bytes:
    return Client.body(self, fields).decode().encode("utf-16")


# ---- values --------------------------------------------------------------------------------------------------


def writing_ids(slug: str, text: Callable[[str], str], *own: str) -> None:
    """Register another spelling of order ids, signed as it is sent."""
    defect(slug, *(own or ("sends/what-was-asked",)), order_text=lambda self, order_id: text(order_id),
           also={"sends/ids-*": "they are not spelt so"})  # fmt: skip


writing_ids("writes-ids-with-a-sign", lambda order_id: f"+{order_id}")
writing_ids("writes-ids-with-a-space", lambda order_id: f" {order_id}")
writing_ids("writes-ids-with-a-fraction", lambda order_id: f"{order_id}.0")
writing_ids("writes-ids-with-zeros-before-them", lambda order_id: f"00{order_id}")
writing_ids("writes-ids-in-quotes", lambda order_id: f'"{order_id}"')
writing_ids("writes-ids-in-groups-of-digits", lambda order_id: f"{int(order_id):,}")
writing_ids("writes-ids-in-hexadecimal", lambda order_id: f"{int(order_id):#x}")
drawing("writes-nonces-with-a-sign", "draws/whole-numbers", nonce=lambda self: f"+{Client.next_nonce(self)}")
drawing("writes-nonces-with-a-space", "draws/whole-numbers", nonce=lambda self: f"{Client.next_nonce(self)} ")
drawing("writes-nonces-with-a-fraction", "draws/whole-numbers", nonce=lambda self: f"{Client.next_nonce(self)}.0")
drawing("draws-nonces-below-0", "draws/whole-numbers", nonce=lambda self: f"-{Client.next_nonce(self)}")
drawing("draws-nonces-beyond-63-bits", "draws/whole-numbers", nonce=lambda self: int(Client.next_nonce(self)) + 2**63)
drawing("sends-an-empty-nonce", "draws/whole-numbers", nonce=lambda self: "")
drawing("sends-a-nonce-of-null", "draws/whole-numbers", nonce=lambda self: "null")
changing_fields("writes-the-command-in-small-letters", "sends/what-was-asked", change=lambda self, fields: [
    (name, "deltradeorder" if name == "cmd" else value) for name, value in fields
], also={**UNNAMED})  # fmt: skip
changing_fields("writes-white-space-behind-the-key", "signs/each-request", change=lambda self, fields: [
    (name, value + "\n" if name == "apiKey" else value) for name, value in fields
])  # fmt: skip


# ---- headers -------------------------------------------------------------------------------------------------


@instead_of("send", "signs/each-request")
def sends_the_signature_header_twice(
    self: Client, method: str, address: str, headers: dict[str, str], body: bytes
) -> Got:
    return sending(self, method, address, [*headers.items(), ("X-NtApi-Sig", headers["X-NtApi-Sig"])], body)


@instead_of("send", "signs/each-request")
def declares_the_content_twice(self: Client, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
    return sending(self, method, address, [*headers.items(), ("Content-Type", "application/json")], body)


@instead_of("send", "signs/each-request")
def sends_a_wrong_signature_behind_the_right_one(
    self: Client, method: str, address: str, headers: dict[str, str], body: bytes
) -> Got:
    return sending(self, method, address, [*headers.items(), ("X-NtApi-Sig", "0" * 64)], body)


def sending(self: Client, method: str, address: str, headers: list[tuple[str, str]], body: bytes) -> Got:
    connection = self.connect()
    try:
        connection.putrequest(method, address)
        for name, value in [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]:
            connection.putheader(name, value)
        connection.endheaders(body)
        return self.receive(connection)
    except (OSError, http.client.HTTPException) as error:
        raise LostError(type(error).__name__) from error
    finally:
        connection.close()


defect("prefixes-the-signature", "signs/each-request", headers=lambda self, fields: {
    "Content-Type": FORM, "X-NtApi-Sig": f"sha256={self.signature(fields)}",
})  # fmt: skip
defect("lists-two-signatures", "signs/each-request", headers=lambda self, fields: {
    "Content-Type": FORM, "X-NtApi-Sig": f"{self.signature(fields)}, {self.signature(fields)}",
})  # fmt: skip
defect("declares-a-charset-that-is-not-sent", "sends/content-type", headers=lambda self, fields: {
    **Client.headers(self, fields), "Content-Type": f"{FORM}; charset=utf-16",
})  # fmt: skip
adding_header("sends-the-secret-with-its-key-in-a-header", "keeps/secret-out-of-headers", name="X-Auth",
              value=lambda self: f"{self.key}:{self.secret}")  # fmt: skip


# ---- found by others too --------------------------------------------------------------------------------------

UNREADABLE = {"sends/*": "no field is found where it belongs", "signs/each-request": "nor is what was signed"}
found_too(
    "compresses-the-body",
    "encodes-the-body-twice",
    "escapes-the-ampersand-as-html-does",
    "joins-names-with-a-dot",
    "leaves-a-bracket-open",
    "quotes-the-name-in-brackets",
    "sends-params-as-a-list",
    "sends-utf-16",
    "separates-fields-by-lines",
    "separates-fields-by-semicolons",
    "sends-the-order-as-a-list",
    "writes-the-order-in-capitals",
    also=UNREADABLE,
)
found_too(
    "sends-the-command-as-a-list",
    "sends-the-key-as-a-list",
    "sends-the-nonce-as-a-list",
    "sends-the-nonce-as-a-map",
    "sends-the-nonce-by-index",
    also={"signs/each-request": "what is signed is not what is sent"},
)
found_too(
    "writes-a-byte-order-mark",
    "writes-apikey-in-small-letters",
    "writes-nonce-in-capitals",
    also={
        "signs/each-request": "what is signed is not what is sent",
        "sends/nothing-else": "no such name is documented",
    },
)
found_too("declares-the-content-twice", also={"sends/content-type": "two types are none"})
found_too(
    "ends-the-body-with-a-line-feed",
    also={"signs/each-request": "it is not signed", "sends/ids-*": "it belongs to the id"},
)
found_too("sends-a-nonce-of-null", "sends-an-empty-nonce", also={"draws/anew-*": "it is the same each time"})
found_too("writes-the-command-in-small-letters", also={"sends/other-requests": "it is another command", **UNNAMED})
