"""Honest clients of many habits: none of them is failed, nor warned."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.parse
from typing import Any

import pytest

from tn_contract.client_checks import catalogue
from tn_contract.corpus import load_corpus

from .client_defects import naming_orders
from .clients import Client, Fields, Got, LostError, NotSentError
from .trying import found, judged, try_in_process

HEADER = "X-NtApi-Sig"


def with_headers(**changed: Any) -> dict[str, Any]:
    return {"headers": lambda self, fields: {**Client.headers(self, fields), **changed}}


class OpensASessionFirst(Client):
    """The page's own flow."""

    def run(self) -> None:
        opening: Fields = [("apiKey", self.key), ("cmd", "getAuthInfo"), ("nonce", self.next_nonce())]
        with contextlib.suppress(NotSentError):
            self.send("POST", "/api/v2/cmd/getAuthInfo", self.headers(opening), self.body(opening))
        super().run()


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
            time.sleep(float(got.headers.get("retry-after", 1)) + 0.1)
            return super().exchange([(name, self.next_nonce() if name == "nonce" else value) for name, value in fields])
        return got


class PrintsOtherLines(Client):
    """Logs around its reports, some of them JSON."""

    def report(self, order_id: str, outcome: dict[str, Any]) -> None:
        self.say(f"DEBUG cancelling {order_id}: ok, {{not json}}")
        self.say('{"event": "reply", "outcomes": 1}')
        self.say("[1, 2]")
        super().report(order_id, outcome)
        self.say("")


VARIANTS: dict[str, type[Client]] = {
    "as-it-is": Client,
    "opens-a-session-first": OpensASessionFirst,
    "keeps-its-connection": KeepsItsConnection,
    "sends-in-chunks": SendsInChunks,
    "tries-to-connect-twice": TriesToConnectTwice,
    "waits-after-429": WaitsAfter429,
    "prints-other-lines": PrintsOtherLines,
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


@pytest.mark.parametrize("slug", VARIANTS)
def test_an_honest_client_is_clean(slug: str) -> None:
    assert found(judged(try_in_process(VARIANTS[slug]))) == {}


def test_of_an_honest_client_every_check_of_a_must_passes() -> None:
    results = judged(try_in_process(Client))
    judging = {check.id for check in catalogue().values() if load_corpus().clauses[check.clause].level != "observed"}
    passed = {result.check.id for result in results if result.verdict == "pass"}
    assert judging - passed == {"draws/timestamps-in-seconds"}  # which speaks of the newer generation


def test_a_client_that_prints_nothing_is_judged_on_the_wire_alone() -> None:
    results = judged(try_in_process(type("Silent", (Client,), {"report": lambda self, order_id, outcome: None})))
    assert found(results) == {}
    verdicts = {result.check.id: result.verdict for result in results}
    for check_id, verdict in verdicts.items():
        told_by_outcomes = check_id.startswith("reports/") or check_id == "runs/reports-each-order"
        assert verdict == ("skipped" if told_by_outcomes or check_id == "draws/timestamps-in-seconds" else "pass")
