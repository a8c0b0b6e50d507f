"""Honest clients of many habits: none of them is failed, nor warned."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.parse
from typing import Any

import pytest

from tn_contract.contract.corpus import load_corpus
from tn_contract.judge.client import catalogue

from .client_defects import naming_orders
from .client_defects_v3 import NewerClient
from .clients import FORM, Client, Fields, Got, LostError, NotSentError
from .trying import found, judged, try_in_process

HEADER = "X-NtApi-Sig"


def with_headers(**changed: Any) -> dict[str, Any]:
    return {"headers": lambda self, fields: {**Client.headers(self, fields), **changed}}


class OpensASessionFirst(Client):
    """The page's own flow."""

    def run(self) -> None:
        self.open()
        super().run()

    def open(self: Client) -> None:
        opening: Fields = [("apiKey", self.key), ("cmd", "getAuthInfo"), ("nonce", self.next_nonce())]
        with contextlib.suppress(NotSentError):
            self.send("POST", "/api/v2/cmd/getAuthInfo", self.headers(opening), self.body(opening))


class KeepsItsConnection(Client):
    """Keep-alive: one connection for all requests, until it breaks."""

    kept: http.client.HTTPConnection | None = None

    def run(self) -> None:
        super().run()
        if self.kept:
            self.kept.close()

    def send(self, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
        connection = self.kept = self.kept or self.connect()
        try:
            connection.request(method, address, body, headers)
            return self.receive(connection)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.kept = None
            raise LostError(type(error).__name__) from error


class SendsInChunks(Client):
    """Transfer-Encoding: chunked, as streaming libraries do."""

    def send(self, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
        connection = self.connect()
        try:
            connection.request(method, address, iter([body[:7], body[7:]]), headers, encode_chunked=True)
            return self.receive(connection)
        except (OSError, http.client.HTTPException) as error:
            raise LostError(type(error).__name__) from error
        finally:
            connection.close()

    def headers(self, fields: Fields) -> dict[str, str]:
        return {**super().headers(fields), "Transfer-Encoding": "chunked"}


class TriesToConnectTwice(Client):
    """Nothing was sent the first time, so this is no second cancel."""

    def connect(self) -> http.client.HTTPConnection:
        try:
            return super().connect()
        except NotSentError:
            time.sleep(0.05)
            return super().connect()


class WaitsAfter429(Client):
    """Sends again when the server's pause is over."""

    def exchange(self, fields: Fields) -> Got:
        got = super().exchange(fields)
        if got.status == 429:
            pause = got.headers.get("retry-after", "1")
            time.sleep(float(pause) + 0.1 if pause.isdecimal() else 1.1)  # a date, or nothing
            return super().exchange([(name, self.next_nonce() if name == "nonce" else value) for name, value in fields])
        return got


class OpensASessionEachTime(Client):
    """For each cancel a session of its own."""

    def cancel(self, order_id: str) -> dict[str, Any]:
        OpensASessionFirst.open(self)
        return super().cancel(order_id)


class LooksLostOrdersUp(Client):
    """By a signed POST, whatever comes of it."""

    def on_lost(self, order_id: str) -> dict[str, Any]:
        fields: Fields = [("apiKey", self.key), ("cmd", "getNotifyOrderJson"), ("nonce", self.next_nonce())]
        with contextlib.suppress(NotSentError, LostError):
            self.send("POST", "/api/v2/cmd/getNotifyOrderJson", self.headers(fields), self.body(fields))
        return {"outcome": "unknown"}


class SaysHelloFirst(Client):
    """Asks for something public, without a key; and as browsers do, whether it may send."""

    def run(self) -> None:
        for method, address in (("GET", "/time"), ("OPTIONS", "/api/v2/cmd/delTradeOrder")):
            with contextlib.suppress(NotSentError, LostError):
                self.send(method, address, {}, b"")
        super().run()


class StopsAfterAServerError(Client):
    """A circuit breaker: what is left is not sent, and reported so."""

    def cancel(self, order_id: str) -> dict[str, Any]:
        return {"outcome": "not-sent"} if self.memory.get("broken") else super().cancel(order_id)

    def is_server_error(self, got: Got) -> bool:
        self.memory["broken"] = self.memory.get("broken") or got.status >= 500
        return super().is_server_error(got)


class SpeaksHTTP10(Client):
    """As old libraries do."""

    def connect(self) -> http.client.HTTPConnection:
        connection = super().connect()
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
        return connection


class SendsItsHeadFirst(Client):
    """The body follows a little later, in pieces."""

    def send(self, method: str, address: str, headers: dict[str, str], body: bytes) -> Got:
        connection = self.connect()
        try:
            connection.putrequest(method, address)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            for start in range(0, len(body), 40):
                time.sleep(0.002)
                connection.send(body[start : start + 40])
            return self.receive(connection)
        except (OSError, http.client.HTTPException) as error:
            raise LostError(type(error).__name__) from error
        finally:
            connection.close()


class HasADeadline(Client):
    """One time limit from the connection to the last byte, and pieces as small as they come."""

    def read(self, reply: http.client.HTTPResponse) -> bytes:
        started, got = time.monotonic(), b""
        while piece := reply.read(512):
            got += piece
            if time.monotonic() - started > self.timeout:
                raise TimeoutError
        if reply.length:  # which the library does not mind where it reads in pieces
            raise http.client.IncompleteRead(got)
        return got


class PrintsOtherLines(Client):
    """Logs around its reports, some of them JSON."""

    def report(self, order_id: str, outcome: dict[str, Any]) -> None:
        self.say(f"DEBUG cancelling {order_id}: ok, {{not json}}")
        self.say('{"event": "reply", "outcomes": 1}')
        self.say("[1, 2]")
        super().report(order_id, outcome)
        self.say("")


def remembering_refusals(self: Client) -> http.client.HTTPConnection:
    try:
        return Client.connect(self)
    except NotSentError as error:
        self.memory["refused"] = isinstance(error.__cause__, ConnectionRefusedError)
        raise


VARIANTS: dict[str, type[Client]] = {
    "as-it-is": Client,
    "opens-a-session-first": OpensASessionFirst,
    "keeps-its-connection": KeepsItsConnection,
    "sends-in-chunks": SendsInChunks,
    "tries-to-connect-twice": TriesToConnectTwice,
    "waits-after-429": WaitsAfter429,
    "opens-a-session-each-time": OpensASessionEachTime,
    "looks-lost-orders-up": LooksLostOrdersUp,
    "says-hello-first": SaysHelloFirst,
    "stops-after-a-server-error": StopsAfterAServerError,
    "speaks-http-1.0": SpeaksHTTP10,
    "sends-its-head-first": SendsItsHeadFirst,
    "has-a-deadline": HasADeadline,
    "prints-other-lines": PrintsOtherLines,
    "speaks-the-newer-generation": NewerClient,
}


def variant(slug: str, **attributes: Any) -> None:
    VARIANTS[slug] = type(slug, (Client,), attributes)


variant("declares-a-charset", **with_headers(**{"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}))
variant("declares-the-form-in-capitals", **with_headers(**{"Content-Type": "Application/X-WWW-Form-Urlencoded"}))
variant("sends-browser-headers", **with_headers(Origin="https://example.org", Accept="*/*"))
variant("expects-to-be-told-to-continue", **with_headers(Expect="100-continue"))
for _name, _case in {"lower": str.lower, "upper": str.upper}.items():
    variant(
        f"writes-header-names-in-{_name}-case",
        headers=lambda self, fields, case=_case: {
            case(name): value for name, value in Client.headers(self, fields).items()
        },
    )
variant("sends-fields-in-another-order", body=lambda self, fields: Client.body(self, fields[::-1]))
variant(
    "leaves-brackets-as-they-are",
    body=lambda self, fields: "&".join(f"{name}={value}" for name, value in fields).encode(),
)
variant("encodes-more-than-it-must", body=lambda self, fields: "&".join(
    f"{name}={''.join(f'%{byte:02x}' for byte in value.encode())}" for name, value in fields
).encode())  # fmt: skip
variant("repeats-the-params-in-the-query", address=lambda self, fields: (
    f"/api/v2/cmd/delTradeOrder?{urllib.parse.urlencode(fields[3:])}"
))  # fmt: skip
variant("encodes-names-and-values-whole", body=lambda self, fields: "&".join(
    "=".join("".join(f"%{byte:02X}" for byte in part.encode()) for part in field) for field in fields
).encode())  # fmt: skip
variant("sends-its-headers-backwards", headers=lambda self, fields: dict(
    reversed(Client.headers(self, fields).items())
))  # fmt: skip
variant("writes-spaces-around-header-values", headers=lambda self, fields: {
    "Content-Type": f" {FORM} ", "X-NtApi-Sig": f"  {self.signature(fields)} ",
})  # fmt: skip
variant("declares-another-charset", **with_headers(**{"Content-Type": f"{FORM};charset=windows-1251"}))
variant("takes-compressed-replies", **with_headers(**{"Accept-Encoding": "gzip, deflate, br"}))
variant("counts-nanoseconds", next_nonce=lambda self: str(self.memory.update(
    nonce=self.memory.get("nonce", time.time_ns()) + 1) or self.memory["nonce"]
))  # fmt: skip
variant("waits-longer-than-it-is-asked-to", patience=lambda self: self.timeout * 1.6)
variant("doubts-what-it-could-not-connect-to-in-time", on_not_sent=lambda self, order_id: {
    "outcome": "not-sent" if self.memory.get("refused") else "unknown"
}, connect=lambda self: remembering_refusals(self))  # fmt: skip
variant("ignores-a-byte-order-mark", parse=lambda self, text: Client.parse(self, text.removeprefix("\ufeff")))
variant("draws-microseconds", ticks=lambda self: self.now_ns() // 1000)
variant("draws-nanoseconds", ticks=lambda self: self.now_ns())
variant("takes-its-time", cancel=lambda self, order_id: (time.sleep(0.15), Client.cancel(self, order_id))[1])
variant("reports-no-codes", code_of=lambda self, said: {})
variant("names-the-orders", report=naming_orders)
variant(
    "orders-its-members-differently",
    report=lambda self, order_id, outcome: self.say(
        json.dumps(
            dict(reversed({"order_id": int(order_id), **outcome, "note": "Größe \u2028"}.items())), ensure_ascii=False
        )
    ),
)
variant("ends-lines-as-windows-does", report=lambda self, order_id, outcome: self.say(json.dumps(outcome) + "\r"))


@pytest.mark.full
@pytest.mark.parametrize("slug", VARIANTS)
def test_an_honest_client_is_clean(slug: str) -> None:
    assert found(judged(try_in_process(VARIANTS[slug]))) == {}


def test_of_an_honest_client_every_check_of_a_must_passes() -> None:
    results = judged(try_in_process(Client))
    judging = {check.id for check in catalogue().values() if load_corpus().clauses[check.clause].level != "observed"}
    passed = {result.check.id for result in results if result.verdict == "pass"}
    # One speaks of the newer generation, the other of requests that are no cancels.
    assert judging - passed == {"draws/timestamps-in-seconds", "sends/other-requests"}


def test_a_client_that_prints_nothing_is_judged_on_the_wire_alone() -> None:
    results = judged(try_in_process(type("Silent", (Client,), {"report": lambda self, order_id, outcome: None})))
    assert found(results) == {}
    verdicts = {result.check.id: result.verdict for result in results}
    for check_id, verdict in verdicts.items():
        told_by_outcomes = check_id.startswith("reports/") or check_id == "runs/reports-each-order"
        untried = check_id in ("draws/timestamps-in-seconds", "sends/other-requests")
        assert verdict == ("skipped" if told_by_outcomes or untried else "pass"), check_id
