"""Broken clients that misread replies of an unusual form: falsy values, other types, wrappings, statuses, framing."""

from __future__ import annotations

import http.client
import re
import ssl
from typing import Any

from .client_defects import DEFECTS, defect, failing_by, found_too, instead_of, parsing, succeeding_by, to_object, tried
from .clients import FAILURES, FALSY, Client, Got

# ---- what is a success ---------------------------------------------------------------------------------------


def int_result(said: dict[str, Any]) -> bool:
    return type(said.get("result")) is int


succeeding_by("takes-an-order-id-of-0-for-none", "reports/other-order", test=lambda order_id, said: (
    str(said["order_id"]) == order_id if said.get("order_id") else int_result(said)
))  # fmt: skip
succeeding_by("looks-for-the-id-in-a-longer-one", "reports/other-order", test=lambda order_id, said: (
    order_id in str(said["order_id"]) if "order_id" in said else int_result(said)
))  # fmt: skip
succeeding_by("drops-the-sign-of-ids", "reports/other-order", test=lambda order_id, said: (
    str(said["order_id"]).lstrip("-") == order_id if "order_id" in said else int_result(said)
))  # fmt: skip
succeeding_by("drops-the-fraction-of-ids", "reports/other-order", test=lambda order_id, said: (
    isinstance(said["order_id"], int | float) and int(said["order_id"]) == int(order_id)
    if "order_id" in said else int_result(said)
))  # fmt: skip
succeeding_by("compares-the-first-digits-of-ids", "reports/other-order", test=lambda order_id, said: (
    str(said["order_id"]).startswith(order_id) if "order_id" in said else int_result(said)
))  # fmt: skip


def anywhere(said: object, order_id: str) -> bool:
    if isinstance(said, dict):
        if str(said.get("order_id")) == order_id:
            return True
        return any(anywhere(each, order_id) for each in said.values())
    return isinstance(said, list) and any(anywhere(each, order_id) for each in said)


succeeding_by("finds-the-id-at-any-depth", "reports/nested-failures", test=lambda order_id, said: (
    anywhere(said, order_id) or int_result(said)
))  # fmt: skip
succeeding_by("takes-one-of-a-list-of-ids", "reports/other-json", test=lambda order_id, said: (
    int(order_id) in said["order_id"] if isinstance(said.get("order_id"), list)
    else Client.is_success(None, order_id, said)  # type: ignore[arg-type]
))  # fmt: skip
succeeding_by("takes-success-true-for-success", "reports/other-json", test=lambda order_id, said: (
    said.get("success") is True or Client.is_success(None, order_id, said)  # type: ignore[arg-type]
))  # fmt: skip
succeeding_by("takes-an-id-of-null-for-success", "reports/other-json", test=lambda order_id, said: (
    ("order_id" in said and said["order_id"] is None) or Client.is_success(None, order_id, said)  # type: ignore[arg-type]
))  # fmt: skip
parsing("unwraps-a-list", "reports/other-json", parse=lambda text: (
    to_object(text)[0] if isinstance(to_object(text), list) and to_object(text)
    else to_object(text) if isinstance(to_object(text), dict) else {}
))  # fmt: skip


def twice(text: str) -> Any:
    said = to_object(text)
    said = to_object(said) if isinstance(said, str) else said
    return said if isinstance(said, dict) else {}


parsing("decodes-json-in-json", "reports/other-json", parse=twice)


def braced(text: str) -> Any:
    found = re.search(r"\{[^{}]*\}", text)
    said = to_object(found.group()) if found else {}
    return said if isinstance(said, dict) else {}


def behind_more(text: str) -> Any:
    said = to_object(text[text.find("{") :] if "{" in text else text)
    return said if isinstance(said, dict) else {}


parsing("cuts-the-json-out-of-a-page", "reports/other-json", parse=braced,
        also={"reports/success-with-more": "the first braces are the inner ones"})  # fmt: skip
parsing("skips-what-stands-before-the-json", "reports/other-json", parse=behind_more)


# ---- what is a failure ---------------------------------------------------------------------------------------

failing_by("knows-failures-in-text-alone", "reports/failure-beside-id", "reports/failures-of-other-types",
           test=lambda said: any(isinstance(said.get(name), str) and said[name] not in FALSY for name in FAILURES),
           )  # fmt: skip
failing_by("knows-failures-in-text-and-objects", "reports/failures-of-other-types",
           test=lambda said: any(isinstance(said.get(name), str | dict) and said[name] not in FALSY
                                 for name in FAILURES))  # fmt: skip


@instead_of("is_failure", "runs/to-the-end", "reports/failures-of-other-types")
def crashes_on_a_failure_that_is_no_text(self: Client, said: dict[str, Any]) -> bool:
    return any((said.get(name) or "").strip() not in FALSY for name in FAILURES)


DEFECTS["crashes-on-a-failure-that-is-no-text"].also["reports/failure-beside-id"] = "one is an object"


@instead_of("code_of", "runs/to-the-end")
def crashes_on_a_code_that_is_an_object(self: Client, said: dict[str, Any]) -> dict[str, Any]:
    return {"code": said["code"]} if said.get("code") in {0, 2, 12} else {}


@instead_of("report", "reports/unknown-codes")
def writes_its_lines_by_hand(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    words = self.memory.pop("words", "")
    self.say(f'{{"outcome": "{outcome["outcome"]}", "message": "{words}"}}')


def judge_and_keep_the_words(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    said = self.parse(got.text)
    self.memory["words"] = next((str(said[name]) for name in FAILURES if said.get(name)), "")
    return Client.judge(self, order_id, got)


DEFECTS["writes-its-lines-by-hand"].attributes["judge"] = judge_and_keep_the_words


@instead_of("report", "runs/reports-each-order")
def prints_the_servers_words_as_they_are(self: Client, order_id: str, outcome: dict[str, Any]) -> None:
    self.say(f"the server says: {self.memory.pop('words', '')}")
    Client.report(self, order_id, outcome)


DEFECTS["prints-the-servers-words-as-they-are"].attributes["judge"] = judge_and_keep_the_words


# ---- statuses ------------------------------------------------------------------------------------------------


@instead_of("is_status_good", "reports/other-statuses")
def knows_no_other_status_than_200(self: Client, status: int) -> bool:
    return status == 200


@instead_of("judge", "reports/other-statuses")
def takes_other_statuses_for_refusals(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "rejected"} if 200 < got.status < 300 else Client.judge(self, order_id, got)


@instead_of("judge", "reports/empty")
def takes_no_content_for_success(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    return {"outcome": "accepted"} if got.status == 204 else Client.judge(self, order_id, got)


@instead_of("judge", "runs/to-the-end")
def crashes_without_a_location(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    if 300 <= got.status < 400:
        self.memory["location"] = got.headers["location"]
    return Client.judge(self, order_id, got)


@instead_of("is_server_error", "reports/server-errors")
def knows_four_server_errors(self: Client, got: Got) -> bool:
    return got.status in (500, 502, 503, 504)


DEFECTS["knows-four-server-errors"].attributes["is_status_good"] = lambda self, status: status < 300 or status > 504


@instead_of("judge", "runs/to-the-end")
def crashes_on_a_date_in_retry_after(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    if "retry-after" in got.headers:
        self.memory["pause"] = float(got.headers["retry-after"])
    return Client.judge(self, order_id, got)


# ---- framing and charsets ------------------------------------------------------------------------------------


@instead_of("read", "reports/framings")
def reads_4096_bytes(self: Client, reply: http.client.HTTPResponse) -> bytes:
    return reply.read(4096)


@instead_of("receive", "reports/framings")
def reads_no_chunks(self: Client, connection: http.client.HTTPConnection) -> Got:
    reply = connection.getresponse()
    if reply.chunked:
        return Got(reply.status, reply.fp.read().decode(), {})
    return Got(reply.status, self.read(reply).decode(), {name.lower(): value for name, value in reply.getheaders()})


@instead_of("receive", "reports/other-types-of-content")
def wants_json_declared(self: Client, connection: http.client.HTTPConnection) -> Got:
    reply = connection.getresponse()
    text = self.read(reply).decode("utf-8", "replace")
    declared = reply.getheader("Content-Type", "").startswith("application/json")
    return Got(reply.status, text if declared else "", {name.lower(): value for name, value in reply.getheaders()})


@instead_of("receive", "runs/to-the-end", "reports/other-types-of-content")
def crashes_on_an_unknown_charset(self: Client, connection: http.client.HTTPConnection) -> Got:
    reply = connection.getresponse()
    charset = reply.headers.get_content_charset() or "utf-8"
    text = self.read(reply).decode(charset, "replace")
    return Got(reply.status, text, {name.lower(): value for name, value in reply.getheaders()})


@instead_of("judge", "reports/other-types-of-content")
def takes_whatever_is_declared_as_html_for_refused(self: Client, order_id: str, got: Got) -> dict[str, Any]:
    declared = got.headers.get("content-type", "").startswith("text/html") and got.status == 200
    return {"outcome": "rejected"} if declared and got.text[:1] == "{" else Client.judge(self, order_id, got)


@instead_of("parse", "runs/to-the-end")
def crashes_on_a_byte_order_mark(self: Client, text: str) -> dict[str, Any]:
    if text.startswith("\ufeff"):
        raise RuntimeError("unexpected byte order mark")
    return Client.parse(self, text)


# ---- trust ---------------------------------------------------------------------------------------------------


def trusting_after(slug: str, *codes: int) -> None:
    """Register a client that does not mind some faults of certificates."""

    def connect(self: Client) -> http.client.HTTPConnection:
        try:
            return Client.connect(self)
        except Exception as error:
            cause = error.__cause__
            if not isinstance(cause, ssl.SSLCertVerificationError) or cause.verify_code not in codes:
                raise
        blind = type("Blind", (type(self),), {"trust": lambda self: ssl._create_unverified_context()})
        self.__class__, kept = blind, self.__class__
        try:
            return Client.connect(self)
        finally:
            self.__class__ = kept

    defect(slug, "keeps/to-trusted-servers", connect=connect)


trusting_after("trusts-certificates-that-have-expired", 10)
trusting_after("trusts-certificates-signed-by-themselves", 18)
trusting_after("trusts-certificates-of-unknown-authorities", 19, 20)


tried("crashes-on-a-code-that-is-an-object", "code-as-object")
tried("prints-the-servers-words-as-they-are", "failure-with-quotes")
tried("crashes-without-a-location", "http-301-without-location")
tried("crashes-on-a-date-in-retry-after", "rate-limited-http-429-date")
tried("crashes-on-a-byte-order-mark", "byte-order-mark")


# ---- found by others too --------------------------------------------------------------------------------------

found_too("crashes-on-a-code-that-is-an-object", also={"reports/unknown-codes": "nothing is said of it"})
found_too("crashes-on-a-date-in-retry-after", also={"reports/rate-limits": "nothing is said of it"})
found_too("crashes-without-a-location", also={"reports/odd-statuses": "nothing is said of it"})
found_too(
    "cuts-the-json-out-of-a-page",
    also={
        "reports/success-with-more": "the first braces are the inner ones",
        "reports/*": "inner braces speak of something else",
    },
)
found_too("finds-the-id-at-any-depth", also={"reports/other-order": "a result counts beside any id"})
found_too("looks-for-the-id-in-a-longer-one", also={"reports/other-json": "a list of ids, as text, holds it"})
found_too("prints-the-servers-words-as-they-are", also={"reports/*": "the forged line is read as a report"})
found_too("reads-4096-bytes", also={"reports/lost-replies": "the library misses nothing when it is asked for less"})
found_too("takes-other-statuses-for-refusals", also={"reports/empty": "HTTP 204 is one"})
