"""Broken clients: each is the honest one with one step replaced by a mistake that somebody really makes.

`@instead_of("step", "own/check")` registers a function in place of that method of `clients.Client`; the function's
name is the defect's. The checks named are those that are there to find it. `also` names others that find it too,
with the reason: a check that fails for no reason that a reader can see is a bug of the judge.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client.cases import case_of, cases

from .clients import FAILURES, FALSY, FORM, Client, Fields, Got, LostError, NotSentError

Also = dict[str, str]


@dataclass(frozen=True)
class Defect:
    """What is put in place of what, the checks that are there to find it, and why others do.

    `tried_in` are cases that show it besides those that its own checks need; a check that needs all cases gets these.
    """

    attributes: dict[str, Any]
    own: tuple[str, ...]
    also: Also = field(default_factory=dict)
    tried_in: tuple[str, ...] = ()


DEFECTS: dict[str, Defect] = {}


def instead_of(step: str, *own: str, also: Also | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(mistake: Callable[..., Any]) -> Callable[..., Any]:
        defect(mistake.__name__.replace("_", "-"), *own, also=also, **{step: mistake})
        return mistake

    return register


def defect(slug: str, *own: str, also: Also | None = None, **attributes: Any) -> None:
    """Register a defect of several steps, or of one that is told in a line."""
    assert slug not in DEFECTS, slug
    assert own, slug
    assert all(hasattr(Client, step) for step in attributes), slug
    DEFECTS[slug] = Defect(attributes, own, dict(also or {}))


def found_too(*slugs: str, also: Also) -> None:
    """Add reasons why other checks find these."""
    for slug in slugs:
        DEFECTS[slug].also.update(also)


def tried(slug: str, *replies: str) -> None:
    """Name payloads or faults whose cases show a defect, or cases, where its own checks look at all cases."""
    orders = {case_id: case_id for case_id in cases()} | {
        order.fault or order.payload: case_of(order.order_id) for order in load_corpus().magic_orders.values()
    }
    DEFECTS[slug] = replace(DEFECTS[slug], tried_in=tuple(orders[reply] for reply in replies))


def broken(slug: str) -> type[Client]:
    """Build the client with this defect."""
    return type(slug, (Client,), DEFECTS[slug].attributes)


# ---- method and address --------------------------------------------------------------------------------------

NO_BODY = {
    "sends/fields": "the fields are not in the body",
    "sends/what-was-asked": "no order is named in the body",
    "sends/ids-*": "no order is named in the body",
}
defect("sends-get-with-a-body", "sends/post", method=lambda self: "GET")
defect(
    "sends-get-with-a-query", "sends/post",
    method=lambda self: "GET",
    address=lambda self, fields: f"/api/v2/cmd/delTradeOrder?{urllib.parse.urlencode(fields)}",
    body=lambda self, fields: b"",
    also={**NO_BODY, "keeps/key-out-of-address": "the key is a field"},
)  # fmt: skip
defect("sends-put", "sends/post", method=lambda self: "PUT")
defect("fills-no-template", "sends/address", address=lambda self, fields: "/api/v2/cmd/{cmd}")
defect("leaves-the-command-out-of-the-address", "sends/address", address=lambda self, fields: "/api/v2/")
defect("leaves-the-version-out-of-the-address", "sends/address", address=lambda self, fields: "/cmd/delTradeOrder")


@instead_of("address", "sends/address")
def appends_to_its_address(self: Client, fields: Fields) -> str:
    self.memory["address"] = self.memory.get("address", "/api/v2") + "/cmd/delTradeOrder"
    return str(self.memory["address"])


# ---- body ----------------------------------------------------------------------------------------------------

NO_FORM = {
    **NO_BODY,
    "sends/nothing-else": "read as a form, the body is one strange name",
    "signs/each-request": "a body that is no form has no key",
}


def as_json(self: Client, fields: Fields) -> bytes:
    params = {"order_id": int(dict(fields)["params[order_id]"])}
    return json.dumps({**{name: value for name, value in fields if "[" not in name}, "params": params}).encode()


def declaring(content_type: str) -> Callable[[Client, Fields], dict[str, str]]:
    return lambda self, fields: {**Client.headers(self, fields), "Content-Type": content_type}


defect("sends-json", "sends/content-type", headers=declaring("application/json"), body=as_json, also=NO_FORM)
defect("sends-json-declared-as-a-form", "sends/fields", body=as_json, also=NO_FORM)
UNREAD = {"signs/each-request": "what is not declared as a form is not read as one, so it has no key"}
defect("declares-a-form-as-text", "sends/content-type", headers=declaring("text/plain"), also=UNREAD)


@instead_of("headers", "sends/content-type", also=UNREAD)
def declares_nothing(self: Client, fields: Fields) -> dict[str, str]:
    return {"X-NtApi-Sig": self.signature(fields)}


@instead_of("body", "sends/content-type", also=NO_FORM)
def sends_multipart(self: Client, fields: Fields) -> bytes:
    parts = [f'--tn\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    return ("".join(parts) + "--tn--\r\n").encode()


DEFECTS["sends-multipart"].attributes["headers"] = declaring("multipart/form-data; boundary=tn")


def changing_fields(slug: str, *own: str, change: Callable[[Client, Fields], Fields], also: Also | None = None) -> None:
    """Register other fields, all of them signed."""
    defect(slug, *own, fields=lambda self, order_id: change(self, Client.fields(self, order_id)), also=also)


def without(name: str) -> Callable[[Client, Fields], Fields]:
    return lambda self, fields: [each for each in fields if each[0] != name]


UNNAMED = {"sends/what-was-asked": "the order is not named where it is looked for", "sends/ids-*": "likewise"}
changing_fields("sends-no-key", "sends/fields", "signs/each-request", change=without("apiKey"))
changing_fields("sends-no-command", "sends/fields", change=without("cmd"))
changing_fields("sends-no-nonce", "sends/fields", change=without("nonce"))
changing_fields("sends-no-order", "sends/fields", change=without("params[order_id]"), also=UNNAMED)
changing_fields(
    "flattens-params", "sends/fields",
    change=lambda self, fields: [*fields[:3], ("order_id", fields[3][1])],
    also={**UNNAMED, "sends/nothing-else": "order_id does not belong at the top"},
)  # fmt: skip
changing_fields(
    "sends-params-as-json", "sends/fields",
    change=lambda self, fields: [*fields[:3], ("params", json.dumps({"order_id": fields[3][1]}))],
    also=UNNAMED,
)  # fmt: skip
changing_fields(
    "sends-the-order-in-camel-case", "sends/fields",
    change=lambda self, fields: [*fields[:3], ("params[orderId]", fields[3][1])],
    also={**UNNAMED, "sends/nothing-else": "params[orderId] is no documented name"},
)  # fmt: skip
changing_fields("adds-a-field", "sends/nothing-else", change=lambda self, fields: [*fields, ("version", "2")])
changing_fields("adds-a-parameter", "sends/nothing-else", change=lambda self, fields: [*fields, ("params[force]", "1")])


defect("adds-a-field-to-the-query", "sends/nothing-else",
       address=lambda self, fields: "/api/v2/cmd/delTradeOrder?force=1")  # fmt: skip


@instead_of("body", "sends/fields")
def sends_a_field_twice(self: Client, fields: Fields) -> bytes:
    return Client.body(self, [*fields, ("cmd", "delTradeOrder")])


# ---- secrets -------------------------------------------------------------------------------------------------

defect(
    "puts-the-key-into-the-address", "keeps/key-out-of-address",
    address=lambda self, fields: f"/api/v2/cmd/delTradeOrder?apiKey={self.key}",
)  # fmt: skip
changing_fields(
    "sends-the-secret-as-a-field", "keeps/secret-out-of-body",
    change=lambda self, fields: [*fields, ("apiSecret", self.secret)],
    also={"sends/nothing-else": "it is one more field"},
)  # fmt: skip
changing_fields(
    "sends-the-secret-in-hex", "keeps/secret-out-of-body",
    change=lambda self, fields: [*fields, ("token", self.secret.encode().hex())],
    also={"sends/nothing-else": "it is one more field"},
)  # fmt: skip
changing_fields(
    "swaps-key-and-secret", "keeps/secret-out-of-body", "signs/each-request",
    change=lambda self, fields: [("apiKey", self.secret), *fields[1:]],
)  # fmt: skip
defect(
    "puts-the-secret-into-the-address", "keeps/secret-out-of-address",
    address=lambda self, fields: f"/api/v2/cmd/delTradeOrder?secret={self.secret}",
    also={"sends/nothing-else": "it is one more field"},
)  # fmt: skip


def adding_header(slug: str, *own: str, name: str, value: Callable[[Client], str]) -> None:
    defect(
        slug, *own, headers=lambda self, fields: {**Client.headers(self, fields), name: value(self)}
    )  # fmt: skip


adding_header("sends-the-secret-in-a-header", "keeps/secret-out-of-headers", name="X-Api-Secret",
              value=lambda self: self.secret)  # fmt: skip
adding_header(
    "authenticates-by-basic", "keeps/secret-out-of-headers", name="Authorization",
    value=lambda self: "Basic " + base64.b64encode(f"{self.key}:{self.secret}".encode()).decode(),
)  # fmt: skip


defect("trusts-any-certificate", "keeps/to-trusted-servers", trust=lambda self: ssl._create_unverified_context())


@instead_of("trust", "keeps/to-trusted-servers")
def trusts_the_certificate_of_any_host(self: Client) -> ssl.SSLContext:
    context = Client.trust(self)
    context.check_hostname = False
    return context


@instead_of("connect", "keeps/to-trusted-servers", also={"sends/address": "that begins with https"})
def falls_back_to_plain_text(self: Client) -> http.client.HTTPConnection:
    try:
        return Client.connect(self)
    except NotSentError as error:
        if not self.base_url.startswith("https") or not isinstance(error.__cause__, ssl.SSLError):
            raise
    address = urllib.parse.urlsplit(self.base_url)
    assert address.hostname
    return http.client.HTTPConnection(address.hostname, address.port, timeout=self.patience())


@instead_of("report", "keeps/secret-out-of-output")
def logs_its_environment(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    self.say(f"DEBUG key={self.key} secret={self.secret}")
    Client.report(self, order_id, outcome)


# ---- signature -----------------------------------------------------------------------------------------------


def signing(slug: str, string: Callable[[Client, Fields], str]) -> None:
    """Register another string to sign."""
    defect(slug, "signs/each-request", string_to_sign=string)


signing("signs-in-reverse", lambda self, fields: "&".join(reversed(Client.string_to_sign(self, fields).split("&"))))
signing("signs-unsorted", lambda self, fields: "&".join(
    [f"nonce={fields[2][1]}", *Client.string_to_sign(self, [*fields[:2], fields[3]]).split("&")]
))  # fmt: skip
signing("signs-the-encoded-form", lambda self, fields: urllib.parse.urlencode(fields))
signing("signs-with-brackets", lambda self, fields: "&".join(f"{name}={value}" for name, value in sorted(fields)))
signing("signs-the-params-alone", lambda self, fields: Client.string_to_sign(self, fields[3:]))
signing("signs-without-params", lambda self, fields: Client.string_to_sign(self, fields[:3]))
signing("signs-json", lambda self, fields: as_json(self, fields).decode())
signing("signs-a-second-nonce", lambda self, fields: Client.string_to_sign(
    self, [("nonce", self.next_nonce()) if name == "nonce" else (name, value) for name, value in fields]
))  # fmt: skip
defect("signs-in-base64", "signs/each-request",
       digest=lambda self, string: base64.b64encode(bytes.fromhex(Client.digest(self, string))).decode())  # fmt: skip
defect("signs-in-capitals", "signs/each-request", digest=lambda self, string: Client.digest(self, string).upper())
defect("keeps-its-first-signature", "signs/each-request",
       signature=lambda self, fields: self.memory.setdefault("first", Client.signature(self, fields)))  # fmt: skip
defect("sends-no-signature", "signs/each-request", headers=lambda self, fields: {"Content-Type": FORM})
defect("sends-the-signature-in-another-header", "signs/each-request",
       headers=lambda self, fields: {"Content-Type": FORM, "X-Signature": self.signature(fields)})  # fmt: skip


@instead_of("body", "signs/each-request", also={"sends/nothing-else": "sig is one more field"})
def sends_the_signature_as_a_field(self: Client, fields: Fields) -> bytes:
    return Client.body(self, [*fields, ("sig", self.signature(fields))])


DEFECTS["sends-the-signature-as-a-field"].attributes["headers"] = lambda self, fields: {"Content-Type": FORM}


# ---- nonces --------------------------------------------------------------------------------------------------

ALWAYS_REPEATS = {
    "draws/rising*": "it does not rise here either",
    "draws/anew-*": "a nonce that repeats also repeats after a failure",
}


def drawing(slug: str, *own: str, nonce: Callable[[Client], object], also: Also | None = None) -> None:
    """Register another nonce."""
    defect(slug, *own, next_nonce=lambda self: str(nonce(self)), also=also)


drawing("draws-a-constant", "draws/rising", nonce=lambda self: 12345, also=ALWAYS_REPEATS)
# In a coarse unit a nonce may come twice for that alone, so one check judges it.
SET_BACK = {"draws/rising-after-clock-step": "it is read from the clock"}
drawing("draws-seconds", "draws/rising", nonce=lambda self: self.now_ns() // 10**9, also=SET_BACK)
drawing("draws-milliseconds", "draws/rising", nonce=lambda self: self.now_ns() // 10**6, also=SET_BACK)
drawing("draws-milliseconds-as-ticks", "draws/rising", nonce=lambda self: self.now_ns() // 10**6 * 10**4, also=SET_BACK)
drawing("draws-milliseconds-with-random-digits", "draws/rising",
        nonce=lambda self: self.now_ns() // 10**6 * 10**4 + random.randrange(10**4), also=SET_BACK)  # fmt: skip
drawing("draws-a-float", "draws/whole-numbers", nonce=lambda self: self.ticks() / 1e7)
drawing("draws-in-scientific-notation", "draws/whole-numbers", nonce=lambda self: f"{self.ticks():.15e}")
drawing("draws-hexadecimal", "draws/whole-numbers", nonce=lambda self: f"{self.ticks():x}a")
drawing("draws-quoted", "draws/whole-numbers", nonce=lambda self: f'"{Client.next_nonce(self)}"')
drawing("draws-by-the-clock-alone", "draws/rising-after-clock-step", nonce=lambda self: self.ticks())
drawing(
    "draws-from-a-counter", "draws/rising-after-restart",
    nonce=lambda self: self.memory.update(nonce=self.memory.get("nonce", 0) + 1) or self.memory["nonce"],
    also={"draws/anew-after-*": "the next process starts at 1 again"},
)  # fmt: skip


@instead_of("next_nonce", "draws/rising", also={
    "draws/rising-after-*": "it falls here too", "draws/anew-after-*": "each process throws the same dice",
})  # fmt: skip
def draws_at_random(self: Client) -> str:
    # Always the same dice, so that this test is one; with them the second throw is higher than the first and the third.
    dice: random.Random = self.memory.setdefault("dice", random.Random(5))
    return str(dice.randrange(2**60))


def from_a_random_start(self: Client) -> int:
    # Of these dice the second process has a higher start than the first: to compare those two would not be enough.
    nonce = self.memory.get("nonce") or random.Random(f"1 {self.asked[0]}").randrange(2**60)
    self.memory["nonce"] = nonce + 1
    return int(nonce)


drawing("counts-from-a-random-start", "draws/rising-after-restart", nonce=from_a_random_start,
        also={"draws/anew-after-*": "each process that cancels this order starts alike"})  # fmt: skip


@instead_of("next_nonce", "draws/rising", also={"draws/rising-after-*": "it falls here too"})
def counts_down(self: Client) -> str:
    return str(2**62 - self.ticks())


NOR_RISES = {"draws/rising": "a nonce that repeats does not rise"}


def reusing_nonces(slug: str, *own: str, when: Callable[[dict[str, Any], Got | None], bool]) -> None:
    """Register a client that takes a nonce for used only by some outcomes."""

    def next_nonce(self: Client) -> str:
        if not self.memory.get("again"):
            self.memory["nonce"] = Client.next_nonce(self)
        return str(self.memory["nonce"])

    def cancel(self: Client, order_id: str) -> dict[str, Any]:
        self.memory["got"] = None
        outcome = Client.cancel(self, order_id)
        self.memory["again"] = when(outcome, self.memory["got"])
        return outcome

    def judge(self: Client, order_id: str, got: Got) -> dict[str, Any]:
        self.memory["got"] = got
        return Client.judge(self, order_id, got)

    defect(slug, *own, next_nonce=next_nonce, cancel=cancel, judge=judge, also=NOR_RISES)


reusing_nonces("reuses-nonces-after-refusals", "draws/anew-after-refusals",
               when=lambda outcome, got: outcome["outcome"] == "rejected")  # fmt: skip
reusing_nonces("reuses-nonces-after-lost-replies", "draws/anew-after-lost-replies",
               when=lambda outcome, got: outcome["outcome"] == "unknown" and got is None)  # fmt: skip
reusing_nonces("reuses-nonces-after-unclear-replies", "draws/anew-after-unclear-replies",
               when=lambda outcome, got: outcome["outcome"] == "unknown" and got is not None)  # fmt: skip


NONCES_BY_KEY: dict[str, int] = {}  # as a file would keep them


@instead_of("cancel", "draws/anew-after-lost-replies")
def saves_nonces_after_a_success_alone(self: Client, order_id: str) -> dict[str, Any]:
    outcome = Client.cancel(self, order_id)
    if outcome["outcome"] == "accepted":
        NONCES_BY_KEY[self.key] = self.memory["nonce"]
    return outcome


def after_the_saved_one(self: Client) -> str:
    self.memory["nonce"] = self.memory.get("nonce", NONCES_BY_KEY.get(self.key, 0)) + 1
    return str(self.memory["nonce"])


DEFECTS["saves-nonces-after-a-success-alone"].attributes["next_nonce"] = after_the_saved_one


@instead_of("cancel", "draws/rising", also={"draws/rising-after-clock-step": "the pair repeats here too"})
def opens_a_session_with_the_nonce_of_the_cancel(self: Client, order_id: str) -> dict[str, Any]:
    fields = self.fields(order_id)
    opening: Fields = [("apiKey", self.key), ("cmd", "getAuthInfo"), fields[2]]
    try:
        self.send("POST", "/api/v2/cmd/getAuthInfo", self.headers(opening), self.body(opening))
        got = self.exchange(fields)
    except NotSentError:
        return self.on_not_sent(order_id)
    except LostError:
        return self.on_lost(order_id)
    return self.judge(order_id, got)


# ---- which orders, how often -----------------------------------------------------------------------------------

OTHER_ORDERS = {
    "sends/ids-to-63-bits": "who loses 32 bits loses 63",
    "sends/once": "several orders become one, which gets the requests of all",
    "sends/what-was-asked": "most magic orders lose bits too",
}
defect("passes-order-ids-through-a-float", "sends/ids-to-63-bits",
       order_text=lambda self, order_id: str(int(float(order_id))))  # fmt: skip
defect("cuts-order-ids-to-32-bits", "sends/ids-beyond-32-bits",
       order_text=lambda self, order_id: str(int(order_id) & 0xFFFFFFFF), also=OTHER_ORDERS)  # fmt: skip
defect("saturates-order-ids-at-31-bits", "sends/ids-beyond-32-bits",
       order_text=lambda self, order_id: str(min(int(order_id), 2**31 - 1)), also=OTHER_ORDERS)  # fmt: skip


def naming_orders(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    self.say(json.dumps({"order_id": order_id, **outcome}))


defect("cancels-in-reverse", "sends/what-was-asked", order_ids=lambda self: self.asked[::-1], report=naming_orders)
defect("sorts-its-orders", "sends/what-was-asked", order_ids=lambda self: sorted(self.asked), report=naming_orders)
defect("sorts-its-orders-by-length", "sends/what-was-asked",
       order_ids=lambda self: sorted(self.asked, key=len), report=naming_orders)  # fmt: skip
LAST_ONE_MISSING = {"sends/ids-to-63-bits": "the largest id is the last"}
defect("skips-the-last-order", "sends/what-was-asked", "runs/reports-each-order",
       order_ids=lambda self: self.asked[:-1] or self.asked, also=LAST_ONE_MISSING)  # fmt: skip
defect("cancels-the-first-order-each-time", "sends/what-was-asked",
       order_text=lambda self, order_id: self.asked[0],
       also={"sends/once": "the first order gets the requests of all", "sends/ids-*": "the others are not cancelled",
             "resends/*": "the first order gets the second's request"})  # fmt: skip
defect("cancels-a-neighbour", "sends/what-was-asked", order_text=lambda self, order_id: str(int(order_id) - 1),
       also={"sends/ids-*": "all are changed"})  # fmt: skip

DOUBTED_BY_KEY: dict[str, set[str]] = {}  # as a file would keep them


@instead_of("cancel", "sends/what-was-asked")
def takes_lost_orders_for_cancelled_at_its_next_start(self: Client, order_id: str) -> dict[str, Any]:
    doubted = self.memory.setdefault("doubted", set(DOUBTED_BY_KEY.get(self.key, ())))
    return {"outcome": "accepted"} if order_id in doubted else Client.cancel(self, order_id)


def doubts_and_remembers(self: Client, order_id: str) -> dict[str, Any]:
    DOUBTED_BY_KEY.setdefault(self.key, set()).add(order_id)
    return {"outcome": "unknown"}


DEFECTS["takes-lost-orders-for-cancelled-at-its-next-start"].attributes["on_lost"] = doubts_and_remembers


@instead_of("run", "sends/what-was-asked")
def reports_what_is_left_after_a_failure_as_rejected(self: Client) -> None:
    failed = False
    for order_id in self.order_ids():
        outcome = {"outcome": "rejected"} if failed else self.cancel(order_id)
        failed = outcome["outcome"] != "accepted"
        self.report(order_id, outcome)


TWICE = {"resends/*": "who sends everything twice sends it again here too"}


@instead_of("exchange", "sends/once", also={**TWICE, "draws/*": "the same bytes hold the same nonce"})
def sends_the_same_bytes_twice(self: Client, fields: Fields) -> Got:
    Client.exchange(self, fields)
    return Client.exchange(self, fields)


@instead_of("cancel", "sends/once", also=TWICE)
def cancels_twice_to_be_sure(self: Client, order_id: str) -> dict[str, Any]:
    Client.cancel(self, order_id)
    return Client.cancel(self, order_id)


def trying_again(
    slug: str,
    *own: str,
    after: Callable[[dict[str, Any], Got | None, BaseException | None], bool],
    pause: float = 0,
    afresh: bool = True,
    also: Also | None = None,
) -> None:
    """Register a client that sends once more after some replies or losses; `afresh` with a new nonce."""

    def exchange(self: Client, fields: Fields) -> Got:
        got, lost = None, None
        try:
            got = Client.exchange(self, fields)
        except LostError as error:
            lost = error
        if after({}, got, lost.__cause__ if lost else None):
            time.sleep(pause)
            again = [("nonce", self.next_nonce()) if name == "nonce" else (name, value) for name, value in fields]
            return Client.exchange(self, again if afresh else fields)
        if lost:
            raise lost
        assert got
        return got

    defect(slug, *own, exchange=exchange, also=also)


def refuses(got: Got) -> bool:
    said = to_object(got.text)
    return isinstance(said, dict) and texts(*FAILURES)(said)


trying_again("tries-again-after-a-timeout", "resends/nothing-after-lost-replies",
             after=lambda _, got, lost: isinstance(lost, TimeoutError))  # fmt: skip
trying_again("tries-again-with-the-same-nonce", "resends/nothing-after-lost-replies",
             after=lambda _, got, lost: lost is not None, afresh=False,
             also={"draws/anew-after-lost-replies": "the same nonce follows the lost reply", **NOR_RISES})  # fmt: skip
trying_again("tries-again-after-a-reset", "resends/nothing-after-lost-replies",
             after=lambda _, got, lost: isinstance(lost, ConnectionResetError))  # fmt: skip
trying_again("tries-again-after-a-result-below-0", "sends/once",
             after=lambda _, got, lost: got is not None and '"result": -1' in got.text)  # fmt: skip


@instead_of("send", "resends/nothing-after-lost-replies",
            also={"draws/anew-after-lost-replies": "the same bytes hold the same nonce", **NOR_RISES})  # fmt: skip
def tries_again_when_a_kept_connection_breaks(
    self: Client, method: str, address: str, headers: dict[str, str], body: bytes
) -> Got:
    kept = self.memory.pop("kept", None)
    connection = kept or self.connect()
    try:
        connection.request(method, address, body, headers)
        got = self.receive(connection)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        if kept:
            return self.send(method, address, headers, body)
        raise LostError(type(error).__name__) from error
    self.memory["kept"] = connection
    return got


def run_and_hang_up(self: Client) -> None:
    Client.run(self)
    if "kept" in self.memory:
        self.memory["kept"].close()


DEFECTS["tries-again-when-a-kept-connection-breaks"].attributes["run"] = run_and_hang_up


@instead_of("run", "resends/nothing-after-lost-replies", also={"sends/what-was-asked": "nor was it asked for again"})
def sends_lost_orders_again_at_its_next_start(self: Client) -> None:
    for order_id in LOST_BY_KEY.pop(self.key, []):
        self.cancel(order_id)
    Client.run(self)


LOST_BY_KEY: dict[str, list[str]] = {}  # as a file would keep them
DEFECTS["sends-lost-orders-again-at-its-next-start"].attributes["on_lost"] = lambda self, order_id: (
    LOST_BY_KEY.setdefault(self.key, []).append(order_id) or {"outcome": "unknown"}
)
trying_again("tries-again-after-server-errors", "resends/nothing-after-server-errors",
             after=lambda _, got, lost: got is not None and got.status >= 500)  # fmt: skip
trying_again("tries-again-after-503-alone", "resends/nothing-after-server-errors",
             after=lambda _, got, lost: got is not None and got.status == 503)  # fmt: skip
trying_again("tries-again-after-html", "resends/nothing-after-unclear-replies",
             after=lambda _, got, lost: got is not None and got.status < 500 and got.text.startswith("<"))  # fmt: skip
trying_again("tries-again-after-an-empty-reply", "resends/nothing-after-unclear-replies",
             after=lambda _, got, lost: got is not None and got.status == 200 and not got.text)  # fmt: skip
trying_again("tries-again-at-once-after-429", "resends/after-429", "resends/after-retry-after",
             after=lambda _, got, lost: got is not None and got.status == 429)  # fmt: skip
trying_again("waits-a-second-whatever-retry-after-says", "resends/after-retry-after", pause=1.05,
             after=lambda _, got, lost: got is not None and got.status == 429)  # fmt: skip


@instead_of("exchange", "sends/nothing-after-redirects")
def follows_redirects(self: Client, fields: Fields) -> Got:
    got = Client.exchange(self, fields)
    if 300 <= got.status < 400:
        target = urllib.parse.urlsplit(got.headers["location"])
        address = urllib.parse.urlunsplit(("", "", target.path, target.query, ""))
        return self.send("POST", address, self.headers(fields), self.body(fields))
    return got


@instead_of("exchange", "sends/no-get-after-redirects")
def follows_what_other_libraries_take_for_a_get(self: Client, fields: Fields) -> Got:
    got = Client.exchange(self, fields)
    return self.send("GET", got.headers["location"], {}, b"") if got.status == 302 else got


@instead_of("exchange", "sends/no-get-after-redirects")
def follows_by_get_with_its_headers(self: Client, fields: Fields) -> Got:
    got = Client.exchange(self, fields)
    return self.send("GET", got.headers["location"], self.headers(fields), b"") if got.status == 307 else got


trying_again("tries-again-after-refusals", "resends/nothing-after-refusals",
             after=lambda _, got, lost: got is not None and got.status not in (429, 500) and refuses(got))  # fmt: skip


@instead_of("exchange", "keeps/no-cookies")
def keeps_cookies(self: Client, fields: Fields) -> Got:
    got = Client.exchange(self, fields)
    if "set-cookie" in got.headers:
        self.memory["cookie"] = got.headers["set-cookie"].partition(";")[0]
    return got


DEFECTS["keeps-cookies"].attributes["headers"] = lambda self, fields: {
    **Client.headers(self, fields),
    **({"Cookie": self.memory["cookie"]} if "cookie" in self.memory else {}),
}


# ---- what is a failure ---------------------------------------------------------------------------------------


def failing_by(slug: str, *own: str, test: Callable[[dict[str, Any]], bool], also: Also | None = None) -> None:
    """Register another test for a refusal."""
    defect(slug, *own, is_failure=lambda self, said: test(said), also=also)


def texts(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda said: any(said.get(name) not in FALSY for name in names)


failing_by(
    "knows-errmsg-alone", "reports/method-error", "reports/insufficient-rights", "reports/errormsg-alone",
    "reports/failure-beside-id", "reports/unknown-codes", "reports/refusals", "reports/http-failures",
    test=texts("errMsg"),
)  # fmt: skip
failing_by(
    "knows-error-alone", "reports/common-error", "reports/errormsg-alone", "reports/unknown-codes",
    "reports/refusals",
    test=texts("error"),
)  # fmt: skip
failing_by("knows-no-errormsg", "reports/errormsg-alone", test=texts("errMsg", "error"))
failing_by(
    "takes-codes-beyond-0-for-failures", "reports/method-error", "reports/unknown-codes",
    "reports/failure-beside-id", "reports/refusals", "reports/http-failures",
    test=lambda said: said.get("code", 0) not in (0, None),
)  # fmt: skip
failing_by(
    "takes-any-code-for-a-failure", "reports/other-json",
    "reports/unknown-codes",
    test=lambda said: "code" in said,
)  # fmt: skip
failing_by(
    "knows-only-the-codes-of-the-table", "reports/unknown-codes",
    test=lambda said: texts(*FAILURES)(said) and said.get("code") in {0, 1, 2, 3, 4, 5, 7, 12, 429},
    also={"reports/refusals": "one has a code of no table", "reports/http-failures": "their code is null"},
)  # fmt: skip
failing_by(
    "takes-the-presence-of-error-for-a-failure", "reports/success-with-more",
    test=lambda said: any(name in said for name in FAILURES),
)  # fmt: skip
failing_by(
    "takes-an-error-that-is-false-for-a-failure", "reports/success-with-more",
    test=lambda said: any(said.get(name) is not None and said.get(name) != "" for name in FAILURES),
)  # fmt: skip
failing_by(
    "takes-an-error-that-is-0-for-a-failure", "reports/success-with-more",
    test=lambda said: any(said.get(name) not in ("", None, []) and said.get(name) is not False for name in FAILURES),
)  # fmt: skip
failing_by(
    "takes-a-nested-error-for-a-failure", "reports/success-with-more",
    test=lambda said: texts(*FAILURES)(said)
    or any(isinstance(part, dict) and texts(*FAILURES)(part) for part in said.values()),
)  # fmt: skip
failing_by(
    "searches-the-text-for-error", "reports/success-with-more",
    test=lambda said: "error" in json.dumps(said).lower() or "errmsg" in json.dumps(said).lower(),
)  # fmt: skip
failing_by(
    "takes-code-0-for-no-failure", "reports/method-error",
    test=lambda said: texts(*FAILURES)(said) and said.get("code") != 0,
    also={"reports/refusals": "one has code 0", "reports/failure-beside-id": "it has code 0"},
)  # fmt: skip
failing_by(
    "takes-code-12-for-a-session-that-ended", "reports/insufficient-rights",
    test=lambda said: texts(*FAILURES)(said) and said.get("code") != 12,
    also={"reports/refusals": "several have code 12", "reports/errormsg-alone": "it has code 12"},
)  # fmt: skip
failing_by("knows-no-failures", *(
    f"reports/{what}" for what in (
        "common-error", "method-error", "insufficient-rights", "errormsg-alone", "unknown-codes", "failure-beside-id",
        "refusals", "http-failures", "rate-limits",
    )
), test=lambda said: False)  # fmt: skip


@instead_of("judge", "reports/failure-beside-id")
def looks_for_success_first(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    if got.status == 200 and self.is_success(order_id, self.parse(got.text)):
        return {"outcome": "accepted"}
    return Client.judge(self, order_id, got)


@instead_of("judge", "reports/failure-beside-id")
def looks_for_a_result_first(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    confirmed = got.status == 200 and type(self.parse(got.text).get("result")) is int
    return {"outcome": "accepted"} if confirmed else Client.judge(self, order_id, got)


DEFECTS["looks-for-a-result-first"].also["reports/other-order"] = "one has a result beside it"


@instead_of("judge", "reports/http-failures")
def raises_for_4xx_and_doubts(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "unknown"} if 400 <= got.status < 500 else Client.judge(self, order_id, got)


DEFECTS["raises-for-4xx-and-doubts"].also["reports/rate-limits"] = "429 is a 4xx"


@instead_of("judge", "reports/odd-statuses")
def takes_any_4xx_for_a_refusal(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "rejected"} if 400 <= got.status < 500 else Client.judge(self, order_id, got)


defect("knows-no-rate-limit-by-status", "reports/rate-limits", is_rate_limit=lambda self, got: False)


# ---- what is a success ---------------------------------------------------------------------------------------


@instead_of("judge", *(
    f"reports/{what}" for what in (
        "common-error", "method-error", "insufficient-rights", "errormsg-alone", "unknown-codes", "failure-beside-id",
        "refusals", "rate-limits", "other-order", "empty", "html", "other-json", "server-errors", "odd-statuses",
    )
))  # fmt: skip
def believes_the_status_alone(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "accepted" if got.status == 200 else "rejected"}


def succeeding_by(slug: str, *own: str, test: Callable[[str, dict[str, Any]], bool], also: Also | None = None) -> None:
    """Register another test for a success."""
    defect(slug, *own, is_success=lambda self, order_id, said: test(order_id, said), also=also)


succeeding_by("trusts-whatever-is-no-failure", "reports/other-order", "reports/empty", "reports/html",
              "reports/other-json", test=lambda order_id, said: True)  # fmt: skip
succeeding_by("trusts-any-object", "reports/other-order", "reports/other-json",
              test=lambda order_id, said: bool(said))  # fmt: skip
succeeding_by("trusts-any-order-id", "reports/other-order",
              test=lambda order_id, said: "order_id" in said or type(said.get("result")) is int)  # fmt: skip
succeeding_by("compares-32-bits-of-order-ids", "reports/other-order",
              test=lambda order_id, said: (said["order_id"] if type(said.get("order_id")) is int else -1) % 2**32
              == int(order_id) % 2**32 or ("order_id" not in said and type(said.get("result")) is int))  # fmt: skip
succeeding_by("trusts-a-result-whatever-the-id", "reports/other-order",
              test=lambda order_id, said: str(said.get("order_id")) == order_id or type(said.get("result")) is int,
              )  # fmt: skip
defect("trusts-the-id-of-any-order-asked-for", "reports/other-order",
       is_success=lambda self, order_id, said: Client.is_success(self, order_id, said)
       or str(said.get("order_id")) in self.asked)  # fmt: skip
succeeding_by("knows-no-result", "reports/success-by-result",
              test=lambda order_id, said: str(said.get("order_id")) == order_id)  # fmt: skip
succeeding_by("wants-a-positive-result", "reports/success-by-result",
              test=lambda order_id, said: str(said.get("order_id", order_id)) == order_id
              and ("order_id" in said or (type(said.get("result")) is int and said["result"] > 0)))  # fmt: skip
succeeding_by("knows-result-alone", "reports/success",
              test=lambda order_id, said: type(said.get("result")) is int,
              also={"reports/other-order": "one has a result beside it"})  # fmt: skip
succeeding_by("takes-code-0-for-success", "reports/other-json",
              test=lambda order_id, said: said.get("code") == 0 or str(said.get("order_id", said.get("result")))
              in (order_id, "1", "-1"))  # fmt: skip


@instead_of("judge", "reports/empty")
def takes_silence_for_success(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "accepted"} if got.status == 200 and not got.text else Client.judge(self, order_id, got)


@instead_of(
    "judge", "reports/other-order", "reports/other-json", "reports/server-errors", "reports/failure-beside-id",
    also={"reports/refusals": "the text of one says that order_id is missing", "reports/odd-statuses": "so say two"},
)  # fmt: skip
def searches_the_text_for_order_id(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "accepted"} if "order_id" in got.text else Client.judge(self, order_id, got)


defect("believes-broken-servers", "reports/server-errors", is_server_error=lambda self, got: False,
       is_status_good=lambda self, status: True, also={"reports/odd-statuses": "no status counts"})  # fmt: skip
defect("believes-any-status-below-500", "reports/odd-statuses", is_status_good=lambda self, status: status < 500)
defect("takes-redirects-for-success", "reports/odd-statuses",
       judge=lambda self, order_id, got: {"outcome": "accepted"} if got.status == 307
       else Client.judge(self, order_id, got))  # fmt: skip
defect("takes-server-errors-for-refusals", "reports/server-errors",
       judge=lambda self, order_id, got: {"outcome": "rejected"} if got.status >= 500
       else Client.judge(self, order_id, got))  # fmt: skip
defect("takes-html-for-a-refusal", "reports/html", "reports/odd-statuses",
       judge=lambda self, order_id, got: {"outcome": "rejected"} if got.status < 500 and got.text.startswith("<")
       else Client.judge(self, order_id, got))  # fmt: skip


# ---- replies that do not come --------------------------------------------------------------------------------

LOST = ("reports/lost-replies", "reports/silence")
defect("takes-lost-replies-for-refusals", *LOST, on_lost=lambda self, order_id: {"outcome": "rejected"})
defect("takes-lost-replies-for-not-sent", *LOST, on_lost=lambda self, order_id: {"outcome": "not-sent"})
defect("takes-lost-replies-for-success", *LOST, on_lost=lambda self, order_id: {"outcome": "accepted"})
defect("doubts-what-it-could-not-send", "reports/not-sent", on_not_sent=lambda self, order_id: {"outcome": "unknown"})
defect("takes-what-it-could-not-send-for-refused", "reports/not-sent",
       on_not_sent=lambda self, order_id: {"outcome": "rejected"})  # fmt: skip
defect("takes-a-bad-certificate-for-a-refusal", "reports/not-sent",
       on_not_sent=lambda self, order_id: {"outcome": "rejected" if "s:" in self.base_url else "not-sent"})  # fmt: skip
defect("waits-for-ever", "reports/silence", patience=lambda self: None)
defect("waits-too-short-a-time", "reports/slow-replies", patience=lambda self: 0.6)


@instead_of("read", "reports/lost-replies")
def takes_half_a_body_for_success(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except http.client.IncompleteRead:
        return b'{"result": 1}'


@instead_of("read", "reports/lost-replies")
def takes_what_came_of_a_reply_for_all_of_it(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except http.client.IncompleteRead as error:
        return error.partial  # a body that was cut off is no JSON; one that only promised more looks whole


@instead_of("read", "reports/slow-replies", also={"reports/lost-replies": "what was promised besides is not missed"})
def takes_the_first_piece_for_the_whole(self: Client, reply: http.client.HTTPResponse) -> bytes:
    return reply.read1()


@instead_of("send", *(
    f"reports/{what}" for what in (
        "common-error", "method-error", "insufficient-rights", "errormsg-alone", "unknown-codes", "failure-beside-id",
        "refusals", "http-failures", "rate-limits", "other-order", "empty", "html", "other-json", "server-errors",
        "odd-statuses", "lost-replies", "silence",
    )
))  # fmt: skip
def never_looks_at_the_reply(self: Client, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
    connection = self.connect()
    connection.request(method, address, body, headers)
    time.sleep(0.15)
    connection.close()
    return Got(200, '{"result": 1}')


# ---- the program ---------------------------------------------------------------------------------------------


def parsing(slug: str, *own: str, parse: Callable[[str], Any], also: Also | None = None) -> None:
    """Register another reading of the body."""
    defect(slug, *own, parse=lambda self, text: parse(text), also=also)


def to_object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


parsing(
    "crashes-on-what-is-no-json",
    "runs/to-the-end",
    "reports/html",
    "reports/empty",
    parse=json.loads,
    also={"reports/*": "other replies are no JSON either"},
)
parsing(
    "reads-json-as-far-as-it-goes", "reports/other-json",
    parse=lambda text: json.JSONDecoder().raw_decode(text)[0] if text.startswith("{") and to_object(text + "}") == {}
    and text.count("}") else to_object(text) or {},
)  # fmt: skip
parsing(
    "crashes-on-a-list", "runs/to-the-end", "reports/other-json",
    parse=lambda text: {} if to_object(text) is None else to_object(text),
)  # fmt: skip
parsing(
    "crashes-on-null", "runs/to-the-end", "reports/other-json",
    parse=lambda text: {} if isinstance(to_object(text), list) else to_object(text),
)  # fmt: skip


@instead_of("code_of", "runs/to-the-end", "reports/unknown-codes", "reports/http-failures")
def crashes_on_what_is_no_code(self: Client, said: dict[str, Any]) -> dict[str, Any]:
    return {"code": int(said["code"])}


DEFECTS["crashes-on-what-is-no-code"].also["reports/rate-limits"] = "HTTP 429 without a body has no code"


@instead_of("on_lost", "runs/to-the-end", *LOST)
def crashes_on_a_lost_reply(self: Client, order_id: str) -> dict[str, Any]:
    raise RuntimeError("the reply was lost")


@instead_of("on_not_sent", "runs/to-the-end", "reports/not-sent")
def crashes_without_a_server(self: Client, order_id: str) -> dict[str, Any]:
    raise RuntimeError("nobody listens")


@instead_of("run", "runs/to-the-end")
def never_ends_after_many_orders(self: Client) -> None:
    Client.run(self)
    while len(self.asked) > 2:
        time.sleep(0.5)


@instead_of("run", "runs/reports-each-order")
def stops_at_the_first_that_is_not_accepted(self: Client) -> None:
    for order_id in self.order_ids():
        outcome = self.cancel(order_id)
        self.report(order_id, outcome)
        if outcome["outcome"] != "accepted":
            return


@instead_of("report", "runs/reports-each-order")
def reports_accepted_orders_alone(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    if outcome["outcome"] == "accepted":
        naming_orders(self, order_id, outcome)


DEFECTS["reports-accepted-orders-alone"].also["reports/*"] = "nothing is said of the others"


@instead_of("report", "runs/reports-each-order")
def reports_each_order_twice(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    naming_orders(self, order_id, outcome)
    naming_orders(self, order_id, outcome)


@instead_of("run", "runs/reports-each-order")
def prints_a_line_too_many(self: Client) -> None:
    Client.run(self)
    self.say('{"outcome": "accepted"}')


@instead_of("report", "runs/reports-each-order", also={"reports/*": "a word that is no outcome fits no reply"})
def reports_in_words_of_its_own(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    words = {"accepted": "cancelled", "rejected": "error", "unknown": "maybe", "not-sent": "offline"}
    self.say(json.dumps({"outcome": words[outcome["outcome"]]}))


@instead_of("judge", "reports/codes-as-sent")
def reports_the_status_as_the_code(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    outcome = Client.judge(self, order_id, got)
    return {**outcome, "code": got.status} if outcome["outcome"] == "rejected" else outcome


@instead_of("judge", "reports/codes-as-sent")
def reports_one_kind_for_all(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    outcome = Client.judge(self, order_id, got)
    return {**outcome, "kind": "method-error"} if outcome["outcome"] == "rejected" else outcome


# ---- the newer generation ------------------------------------------------------------------------------------


@instead_of("exchange", "draws/timestamps-in-seconds")
def sends_timestamps_in_milliseconds(self: Client, fields: Fields) -> Got:
    body = f'{{"order_id":{dict(fields)["params[order_id]"]}}}'
    stamp = str(self.now_ns() // 10**6)
    headers = {
        "Content-Type": "application/json",
        "X-NtApi-PublicKey": self.key,
        "X-NtApi-Timestamp": stamp,
        "X-NtApi-Sig": self.digest(body + stamp),
    }
    return self.send("POST", "/api/delTradeOrder", headers, body.encode())


# ---- what is said of refused requests ------------------------------------------------------------------------

defect(
    "takes-refused-requests-for-accepted", "reports/refused-requests", "signs/each-request",
    string_to_sign=lambda self, fields: "&".join(f"{name}={value}" for name, value in sorted(fields)),
    judge=lambda self, order_id, got: {"outcome": "accepted"},
)  # fmt: skip


tried("stops-at-the-first-that-is-not-accepted", "method-error")
tried("reports-accepted-orders-alone", "method-error")

# ---- found by others too --------------------------------------------------------------------------------------

found_too(
    "believes-the-status-alone",
    also={
        "reports/other-statuses": "202 is not 200",
        "reports/nested-failures": "its status is 200",
        "reports/failures-of-other-types": "their status is 200",
    },
)
found_too("cancels-the-first-order-each-time", also={"reports/each-order-for-itself": "the reply is the first order's"})
found_too(
    "crashes-on-a-lost-reply",
    "takes-lost-replies-for-not-sent",
    "takes-lost-replies-for-refusals",
    also={"reports/stalled-*": "a stall loses the reply"},
)
found_too("takes-lost-replies-for-success", also={"reports/stalled-*": "a stall loses the reply"})
found_too(
    "crashes-without-a-server",
    "takes-what-it-could-not-send-for-refused",
    also={"reports/stalled-connect": "no connection comes about there", "reports/stalled-handshake": "nor there"},
)
found_too(
    "takes-a-bad-certificate-for-a-refusal", also={"reports/stalled-handshake": "HTTPS does not come about there"}
)
found_too(
    "saves-nonces-after-a-success-alone",
    also={
        f"draws/anew-after-{replies}": "the next process starts from the nonce before"
        for replies in ("refusals", "unclear-replies")
    },
)
found_too(
    "follows-redirects",
    also={"runs/to-the-end": "it crashes on a redirect without a Location", "reports/odd-statuses": "it crashes there"},
)
found_too("knows-errmsg-alone", "knows-no-failures", also={"reports/failures-of-other-types": "they are called error"})
found_too("knows-only-the-codes-of-the-table", also={"runs/to-the-end": "it crashes on a code that is an object"})
found_too(
    "never-looks-at-the-reply",
    also={
        "reports/stalled-*": "it waits for nothing",
        "reports/nested-failures": "it reads nothing",
        "reports/failures-of-other-types": "it reads nothing",
        "sends/one-at-a-time": "it waits for nothing",
    },
)
found_too("reads-json-as-far-as-it-goes", also={"runs/to-the-end": "text is not an object"})
found_too("searches-the-text-for-order-id", also={"reports/nested-failures": "the list names it"})
found_too("takes-html-for-a-refusal", also={"reports/other-json": "one reply begins with HTML"})
found_too("takes-the-first-piece-for-the-whole", also={"reports/framings": "long and chunked replies come in pieces"})
found_too(
    "trusts-any-object",
    "trusts-whatever-is-no-failure",
    also={"reports/nested-failures": "it is an object without a failure at the top"},
)
found_too("trusts-any-order-id", also={"reports/other-json": "null and a list stand for an id there"})
found_too("waits-for-ever", also={"reports/stalled-*": "nothing limits them either"})


# ---- further kinds, each in a file of its own ----------------------------------------------------------------

for _kind in ("flow", "replies", "sessions", "shapes", "stalls", "v3"):
    import_module(f"{__package__}.client_defects_{_kind}")
