"""No false alarms: honest servers are clean, and where the seed is silent they may differ."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from mock_server import create_app
from mock_server.broker import Broker
from mock_server.serve import running
from tn_contract.contract.corpus import Payload, load_corpus
from tn_contract.contract.wire import Reply, Request, parse_fields, read_body
from tn_contract.judge.server import Judge, catalogue
from tn_contract.judge.server.target import DOCUMENTED_ORDER_ID, SANDBOX_BUDGET, Target, TargetOptions

from .honest import Call, Refusal, Server, canonical, pairs_of, serving
from .judging import Called, all_results, exit_code_of, findings, judged

COMPLAINTS = "fail", "warn", "error", "blocked"


# ---- over a socket -------------------------------------------------------------------------------------------


def judged_at(url: str) -> tuple[dict[str, str], dict[str, str], int]:
    """Return complaints, skipped checks and the exit code."""
    judge = Judge(Target(TargetOptions(url)), catalogue())
    try:
        results = all_results(judge)
        return findings(results, *COMPLAINTS), findings(results, "skipped"), exit_code_of(judge, results, strict=True)
    finally:
        judge.close()


# What a server without control plane, magic orders and documented texts cannot be asked.
NOT_APPLICABLE = {
    "signature/reads-raw-values",
    "nonce/accepts-full-range",
    "reply/documented-method-error",
    "reply/documented-insufficient-rights",
    "reply/replays-magic-orders",
}


def test_an_independent_honest_server_is_clean() -> None:
    with serving(Server()) as url:
        complaints, skipped, code = judged_at(url)
    assert (complaints, code) == ({}, 0)
    assert skipped.keys() == NOT_APPLICABLE
    called, _code = judged(Server())
    assert findings(called, "skipped", *COMPLAINTS) == skipped, "calling and sending come to the same"


def test_an_honest_server_is_clean_with_one_key_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TN_API_KEY_2")
    monkeypatch.delenv("TN_API_SECRET_2")
    with serving(Server()) as url:
        complaints, skipped, code = judged_at(url)
    assert (complaints, code) == ({}, 0)
    assert skipped.keys() == {*NOT_APPLICABLE, "nonce/is-per-key", "signature/acts-for-signing-key"}


def test_our_own_mock_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TN_API_KEY", "TN_API_SECRET", "TN_API_KEY_2", "TN_API_SECRET_2"):
        monkeypatch.delenv(name)
    with running() as mock_server:
        complaints, skipped, code = judged_at(mock_server.base_url)
    assert (complaints, skipped, code) == ({}, {}, 0)


# ---- honest, but different -----------------------------------------------------------------------------------

VARIANTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}


def variant(slug: str, expected: dict[str, str] | None = None, **steps: Any) -> None:
    """Register an honest server that differs in some steps, and the complaints to expect: by default none."""
    assert all(hasattr(Server, step) for step in steps)
    VARIANTS[slug] = steps, expected or {}


def of_kind(status: int, *kinds: str) -> Callable[[Server, str, Call], tuple[int, bytes]]:
    def refuse(server: Server, why: str, call: Call) -> tuple[int, bytes]:
        return (status if why in kinds else 200), server.encode(server.failure(why, call))

    return refuse


def headers_and(more: dict[str, str]) -> Callable[[Server, Call], dict[str, str]]:
    return lambda server, call: {**Server.headers(server, call), **more}


variant("refuses authentication by 401", refuse=of_kind(401, "key", "signature"))
variant("refuses authentication by 403", refuse=of_kind(403, "key", "signature", "nonce"))
variant("refuses everything by 400", status_of_failure=400)
variant("refuses by 404, 405 and 422", refuse=of_kind(404, "address", "command", "parameters"))
variant("refuses GET by 405", refuse=of_kind(405, "method"))
variant(
    "knows no PUT and no DELETE",
    answer=lambda server, call: (
        (501, b"<h1>501</h1>") if call.method in ("PUT", "DELETE") else Server.answer(server, call)
    ),
)
variant("one text for all failures", failure=lambda server, why, call: {"error": "No.", "code": 1})
variant("both spellings in failures", failure=lambda server, why, call: {"error": why, "errMsg": why, "code": 7777})
variant("only errorMsg in failures", failure=lambda server, why, call: {"errorMsg": why, "code": -1})
variant("a Cyrillic text", failure=lambda server, why, call: {"error": "Неверная подпись", "code": 12})
variant("failures with more members", failure=lambda server, why, call: {"code": 5, "error": why, "trace": {"id": 1}})
variant(
    "failures that tell the time", failure=lambda server, why, call: {"error": f"{why} {time.time_ns()}", "code": 1}
)
variant("success with more members", success=lambda server, call: {"order_id": call.order_id, "stat": 2, "code": 0})
variant(
    "success with falsy errors",
    success=lambda server, call: {"order_id": call.order_id, "error": "", "errMsg": None, "errorMsg": False},
)
variant(
    "success with a nested error", success=lambda server, call: {"order_id": call.order_id, "order": {"error": "x"}}
)
variant("a session with more members", open_session=lambda server, call: {"sess_id": "1", "userId": 1, "error": ""})
variant("a session whose id is a number", open_session=lambda server, call: {"sess_id": 12345})
variant("success by 201", answer=lambda server, call: (lambda status, body: (201, body))(*Server.answer(server, call)))
variant("indented JSON", encode=lambda server, members: json.dumps(members, indent=4).encode() + b"\n")
variant("JSON in UTF-8", encode=lambda server, members: json.dumps(members, ensure_ascii=False).encode())
variant("a charset in Content-Type", headers=headers_and({"Content-Type": "application/json; charset=UTF-8"}))
variant("connections that close", headers=headers_and({"Connection": "close"}))
variant("a session cookie", headers=headers_and({"Set-Cookie": "SID=1; Path=/; HttpOnly"}))
variant(
    "header names in lower case",
    respond=lambda server, call, status, headers, body, start: Server.respond(
        server, call, status, {name.lower(): value for name, value in headers.items()}, body, start
    ),
)
variant("a preflight by 200", preflight=lambda server, call: (200, Server.preflight(server, call)[1]))
variant("upper-case signatures too", same=lambda server, given, right: given.lower() == right)
variant(
    "the key in a header too",
    read_key=lambda server, call: call.fields.get("apiKey", call.headers.get("x-ntapi-publickey")),
)


def _written_out(server: Server, call: Call) -> str:
    fields = call.fields
    string = f"apiKey={fields.get('apiKey')}&cmd={fields.get('cmd')}&nonce={fields.get('nonce')}"
    params = fields.get("params")
    return f"{string}&params=order_id={params.get('order_id')}" if isinstance(params, dict) else string


variant("a string to sign written out by hand", string_to_sign=_written_out)
variant("nonces without an upper limit", read_nonce=lambda server, text: int(text) if re.fullmatch(r"[0-9]+", text, re.ASCII) and text[0] != "0" else None)  # fmt: skip  # noqa: E501
variant("order ids without an upper limit", parse_order_id=lambda server, text: int(text) if re.fullmatch(r"[1-9][0-9]*", text) else None)  # fmt: skip  # noqa: E501


def _path_must_name_the_command(server: Server, call: Call) -> None:
    Server.check_command(server, call)
    if call.path != f"/api/v2/cmd/{call.command}":
        raise Refusal("address")


variant("a path that must name the command", check_command=_path_must_name_the_command)


def _steps(*order: str) -> tuple[str, ...]:
    assert sorted(order) == sorted(Server.steps)
    return order


variant(
    "the command before the nonce",
    steps=_steps(
        "check_method", "check_address", "check_form", "check_key", "check_signature", "check_command", "check_nonce"
    ),
)
variant(
    "the command before the key",
    steps=_steps(
        "check_address", "check_method", "check_form", "check_command", "check_key", "check_signature", "check_nonce"
    ),
)

variant("v3 strangers refused by 401", status_of_v3_stranger=401)
variant("v3 strangers refused by 200", status_of_v3_stranger=200)
variant("v3 timestamps of any time", tolerance=10**18)
variant("v3 timestamps of this minute only", tolerance=2)
variant(
    "v3 order ids in quotes too",
    parse_v3_order_id=lambda server, value: Server.parse_v3_order_id(
        server, int(value) if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,18}", value) else value
    ),
)
variant("v3 success as attested for v2", success_v3=lambda server, call: {"result": 1})
variant("v2 alone, v3 by 404", speaks_v3=lambda server, call: False, refuse=of_kind(404, "address"))
variant("v2 alone, v3 as an unknown address", speaks_v3=lambda server, call: False)
variant(
    "v2 alone, at every address below /api/",
    speaks_v3=lambda server, call: False,
    check_address=lambda server, call: None,
)
variant(
    "v2 alone, and failures that tell address and time",
    speaks_v3=lambda server, call: False,
    failure=lambda server, why, call: {"error": f"{why} at {call.path}, {time.time_ns()}", "code": 1},
)
variant(
    "v2 alone, and one text for all failures",
    speaks_v3=lambda server, call: False,
    failure=lambda server, why, call: {"error": "No.", "code": 1},
)
variant(
    "HEAD answered as a health check",
    answer=lambda server, call: (200, b"") if call.method == "HEAD" else Server.answer(server, call),
)
variant(
    "OPTIONS and TRACE answered by the framework",
    answer=lambda server, call: (
        (200, b"GET, POST") if call.method in ("OPTIONS", "TRACE") else Server.answer(server, call)
    ),
)

# Where the seed speaks, or common sense does: a warning.
variant(
    "the attested success",
    {"reply/success-echoes-order-id": "warn"},
    success=lambda server, call: {"result": 1},
)
variant("no CORS", {"request/answers-preflight": "warn"}, cors=lambda server, call: {})
variant("JSON declared as text", {"reply/is-declared-json": "warn"}, headers=headers_and({"Content-Type": "text/html"}))
variant(
    "nonces read by isdecimal",
    {"nonce/refuses-malformed": "warn", "nonce/refuses-malformed-on-cancel": "warn"},
    read_nonce=lambda server, text: int(text) if text.isdecimal() and len(text) < 30 else None,
)

variant(
    "order ids read by isdecimal",
    {"request/refuses-malformed-order-id": "warn"},
    parse_order_id=lambda server, text: int(text) if text.isdecimal() and len(text) < 30 and int(text) else None,
)
variant(
    "v3 order ids in quotes read by isdecimal",
    {"v3/refuses-malformed-order-id": "warn"},
    parse_v3_order_id=lambda server, value: Server.parse_v3_order_id(
        server, int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 30 else value
    ),
)


def _in_session(server: Server, call: Call) -> bool:
    """Whether a request carries the id that getAuthInfo answers, as a cookie or as a field."""
    known = Server.open_session(server, call)["sess_id"]
    return f"SID={known}" in (call.headers.get("cookie"), call.query)


def _signature_or_session(step: str) -> Callable[[Server, Call], None]:
    return lambda server, call: None if _in_session(server, call) else getattr(Server, step)(server, call)


variant(
    "a session's cookie in place of a signature",
    {
        f"{check_id}{twin}": "warn"
        for check_id in ("signature/refuses-absent", "v3/refuses-absent")
        for twin in ("", "-on-cancel")
    },
    check_signature=_signature_or_session("check_signature"),
    check_v3_signature=_signature_or_session("check_v3_signature"),
)


def _in_its_case(command: Any) -> Any:
    known = {name.lower(): name for name in ("getAuthInfo", "delTradeOrder")}
    return known.get(command.lower(), command) if isinstance(command, str) else command


def page(status: int, *kinds: str) -> Callable[[Server, str, Call], tuple[int, bytes]]:
    """Refuse some kinds by a page, as a proxy or a framework does."""
    body = f"<!doctype html><title>{status}</title>".encode()
    return lambda server, why, call: (status, body) if why in kinds else Server.refuse(server, why, call)


# What the page shows no refusal of may be refused by a page: a warning, for clients look for a text.
_NAMED = {"reply/failure-names-itself": "warn", "reply/failure-has-code": "warn"}
_NAMED_V3 = {"v3/failure-names-itself": "warn"}
variant("authentication refused by a page of 403", _NAMED, refuse=page(403, "key", "signature"))
variant("nonces refused by a page of 409", _NAMED, refuse=page(409, "nonce"))
variant("bad parameters refused by a page of 400", _NAMED | _NAMED_V3, refuse=page(400, "parameters"))
variant("unknown commands refused by a page of 404", _NAMED | _NAMED_V3, refuse=page(404, "command"))
variant("other content types refused by a page of 415", _NAMED, refuse=page(415, "form"))
variant("v3 timestamps refused by a page", _NAMED_V3, refuse=page(403, "timestamp"))
variant("v3 strangers refused by a page", _NAMED_V3, refuse=page(403, "v3-key", "v3-signature"))
variant("broken JSON refused by a page", _NAMED_V3, refuse=page(400, "json"))
variant(
    "v3 strangers refused without a word",
    _NAMED_V3,
    failure=lambda server, why, call: {} if call.v3 and why.startswith("v3-") else Server.failure(server, why, call),
)
variant(
    "codes of null where the page is silent",
    {"reply/failure-has-code": "warn"},
    failure=lambda server, why, call: {
        **Server.failure(server, why, call),
        **({} if why == "method" else {"code": None}),
    },
)
variant("bad signatures refused by 429", refuse=of_kind(429, "signature"))
variant("every reply in ASCII escapes", encode=lambda server, members: "".join(
    f"\\u{ord(char):04x}" if char.isalpha() and char not in "nulltrefaslsessidorcrMmgx_" else char
    for char in json.dumps(members)
).encode())  # fmt: skip
variant("spaces around JSON", encode=lambda server, members: b"\r\n " + json.dumps(members).encode() + b"\t\n")
variant("replies without a length", respond=lambda server, call, status, headers, body, start: Server.respond(
    server, call, status, {name: value for name, value in headers.items() if name != "Content-Length"}, body, start
))  # fmt: skip
variant("a session and a cancel with many members", open_session=lambda server, call: {
    "sess_id": "a" * 26, "SID": "a" * 26, "result": None, "order_id": None, "settings": {"error": "x"}, "list": [{}]
}, success=lambda server, call: {"order_id": call.order_id, "result": 1, "message": "ok", "errors": [], "status": 2})  # fmt: skip  # noqa: E501


def _limited(every: int, headers: dict[str, str]) -> dict[str, Any]:
    """Limit the rate now and then, and say how long to wait."""

    def answer(server: Server, call: Call) -> tuple[int, bytes]:
        with server.lock:
            server.memory["count"] = server.memory.get("count", 0) + 1
            limited = server.memory["count"] % every == 0
        if not limited:
            return Server.answer(server, call)
        server.memory[f"limited {call.connection}"] = True
        return 429, server.encode({"error": "Too many requests", "code": 429})

    def with_retry_after(server: Server, call: Call) -> dict[str, str]:
        limited = server.memory.pop(f"limited {call.connection}", False)
        return {**Server.headers(server, call), **(headers if limited else {})}

    return {"answer": answer, "headers": with_retry_after}


variant("a rate that is limited now and then", **_limited(7, {"Retry-After": "0"}))


def _once(server: Server, call: Call) -> Any:
    answer = Server.cancel(server, call)
    with server.lock:
        if server.memory.setdefault(f"order {call.order_id}", call) is not call:
            raise Refusal("parameters")
    return answer


variant("each order is cancelled once", cancel=_once)


def _in_a_session(server: Server, call: Call) -> Any:
    if call.command == "getAuthInfo":
        server.memory[f"session {call.key}"] = True
    elif f"session {call.key}" not in server.memory:
        raise Refusal("key")
    return Server.carry_out(server, call)


variant("no cancel before a session", carry_out=_in_a_session)


def _strict_about_fields(server: Server, call: Call) -> None:
    Server.check_command(server, call)
    params = call.fields.get("params", {})
    if set(call.fields) - {"apiKey", "cmd", "nonce", "params"} or call.query or set(params or {}) - {"order_id"}:
        raise Refusal("parameters")


variant("no field, no param and no query more than is documented", check_command=_strict_about_fields)


def _strict_about_form(server: Server, call: Call) -> None:
    Server.check_form(server, call)
    names = [name for name, _ in pairs_of(call.body)]
    if len(set(names)) < len(names) or len(names) > 50 or len(call.body) > 10_000:
        raise Refusal("form")


variant("no field twice, and no large form", check_form=_strict_about_form)
variant("the body first, then the key", steps=_steps(
    "check_form", "check_key", "check_signature", "check_nonce", "check_command", "check_method", "check_address"
))  # fmt: skip
variant("v3 at its addresses alone", speaks_v3=lambda server, call: call.path in (
    "/api/getAuthInfo", "/api/delTradeOrder"
))  # fmt: skip
variant("v3 not known, answered by a page", {}, speaks_v3=lambda server, call: False, refuse=page(404, "address"))
variant(
    "no other address than the documented ones",
    _NAMED,
    check_address=lambda server, call: _only_documented(call),
    refuse=page(404, "address"),
)


def _only_documented(call: Call) -> None:
    if call.path not in ("/api/v2/cmd/getAuthInfo", "/api/v2/cmd/delTradeOrder"):
        raise Refusal("address")


variant(
    "a front page at every other address",
    answer=lambda server, call: (
        Server.answer(server, call)
        if call.path.startswith("/api/")
        else (200, b"<!doctype html><title>Welcome</title>")
    ),
)
variant("an empty object for what is not known", refuse=lambda server, why, call: (
    (200, b"{}") if why == "address" else Server.refuse(server, why, call)
))  # fmt: skip
_LOWER = {"nonce/refuses-lower": "warn", "nonce/refuses-lower-on-cancel": "warn"}
variant(
    "unique nonces within the clock's last minute",
    _LOWER,
    admit=lambda server, ledger, nonce: (
        abs(time.time_ns() // 100 - nonce) <= 600_000_000 and _unique(server, ledger, nonce)
    ),
)
variant("unique nonces", _LOWER, admit=lambda server, ledger, nonce: _unique(server, ledger, nonce))


def _unique(server: Server, ledger: Any, nonce: int) -> bool:
    with server.lock:
        used = server.last.setdefault(ledger, set())
        return not (nonce in used or used.add(nonce))


# Our own rule, or the seed's: not honest by the contract, and each named by its own check alone.
variant(
    "commands in any letter case",
    {f"{scheme}/refuses-other-case{twin}": "fail" for scheme in ("request", "v3") for twin in ("", "-on-cancel")},
    read_command=lambda server, call: _in_its_case(call.fields.get("cmd")),
    read_v3_command=lambda server, call: _in_its_case(Server.read_v3_command(server, call)),
)
variant(
    "codes of null",
    {"reply/failure-has-code": "fail", "reply/documented-common-error": "fail"},
    failure=lambda server, why, call: {**Server.failure(server, why, call), "code": None},
)


@pytest.mark.full
@pytest.mark.parametrize("slug", VARIANTS)
def test_an_honest_variant_is_no_broken_server(slug: str) -> None:
    steps, expected = VARIANTS[slug]
    results, code = judged(type("Variant", (Server,), steps)())
    assert {r.check.id: f"{r.verdict} {r.finding.actual}" for r in results if r.verdict in COMPLAINTS}.keys() == (
        expected.keys()
    )
    assert findings(results, *COMPLAINTS) == expected
    assert code == int("fail" in expected.values())


@pytest.mark.parametrize("slug", [slug for slug in VARIANTS if slug.startswith("v2 alone")])
def test_a_server_that_speaks_no_v3_is_not_judged_by_it(slug: str) -> None:
    steps, _expected = VARIANTS[slug]
    results, code = judged(type("Old", (Server,), steps)(), groups=("control", "v3"))
    skipped = findings(results, "skipped")
    assert code == 0
    assert skipped.keys() == {check_id for check_id in catalogue() if check_id.startswith("v3/")}
    reasons = {result.finding.actual for result in results if result.verdict == "skipped"}
    assert all("speaks no v3 (HTTP " in reason for reason in reasons)


class NoReplays(Server):
    """Takes no v3 request a second time."""

    tolerance = 10**6  # for the judge's clock runs ahead in this test

    def check_timestamp(self, call: Call) -> None:
        super().check_timestamp(call)
        with self.lock:
            if self.memory.setdefault(call.headers["x-ntapi-sig"], call) is not call:
                raise Refusal("timestamp")


class Clock:
    """A clock whose naps take no time."""

    def __init__(self) -> None:
        self.napped = 0.0

    def time(self) -> float:
        return time.time() + self.napped

    def time_ns(self) -> int:
        return int(self.time() * 10**9)

    def sleep(self, seconds: float) -> None:
        self.napped += seconds


def test_a_server_that_takes_no_v3_request_twice_is_clean() -> None:
    with mock.patch("tn_contract.judge.server.target.time", Clock()):
        results, code = judged(NoReplays(), groups=("control", "v3"))
    assert (findings(results, *COMPLAINTS), code) == ({}, 0)
    told = {result.check.id: result.finding.actual for result in results}
    assert "the second not accepted" in told["v3/replay"]


class OrderBook(Server):
    """Knows a few orders, and cancels each once."""

    def __init__(self, *order_ids: int) -> None:
        super().__init__()
        self.open = set(order_ids)

    def cancel(self, call: Call) -> Any:
        answer = super().cancel(call)
        with self.lock:
            if call.order_id not in self.open:
                raise Refusal("parameters")
            self.open.remove(call.order_id)
        return answer


def test_a_server_with_an_order_book_is_clean_when_told_an_order() -> None:
    results, code = judged(OrderBook(77), TargetOptions("http://127.0.0.1:1", order_ids=(77,)))
    assert (findings(results, *COMPLAINTS), code) == ({}, 0)
    passed = findings(results, "pass")
    assert "control/accepts-cancel" in passed
    assert "reply/success-echoes-order-id" in passed


# ---- manners on a server that is not ours --------------------------------------------------------------------


class Watched(Called):
    """Keeps what it sends."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.sent: list[tuple[int, Request]] = []

    def send(self, request: Request) -> Reply:
        self.sent.append((time.time_ns() // 100, request))
        return super().send(request)


def judge_sandbox(server: Server, **options: Any) -> tuple[Watched, dict[str, str], dict[str, str], int]:
    transport = Watched(server)
    with mock.patch("tn_contract.judge.server.target.Transport", return_value=transport):
        judge = Judge(Target(TargetOptions("https://sandbox.example", pause=0.0, **options)), catalogue())
    results = all_results(judge)
    judge.close()
    return transport, findings(results, *COMPLAINTS), findings(results, "pass"), exit_code_of(judge, results)


@pytest.mark.parametrize(
    ("effects", "order_ids"), [(None, ()), ("none", ()), ("attempt", (77,)), ("cancel", (77,)), ("cancel", ())]
)
def test_on_a_foreign_server_the_judge_keeps_its_manners(effects: Any, order_ids: tuple[int, ...]) -> None:
    server = OrderBook(77, DOCUMENTED_ORDER_ID)
    budget = SANDBOX_BUDGET if effects in (None, "none") else 10 * SANDBOX_BUDGET
    transport, complaints, passed, code = judge_sandbox(server, effects=effects, order_ids=order_ids, budget=budget)
    assert (complaints, code) == ({}, 0)
    assert passed
    named = {name for _now, request in transport.sent for name in orders_named(request)}
    assert named <= (set(order_ids or (DOCUMENTED_ORDER_ID,)) if effects in ("attempt", "cancel") else set())
    assert server.open == {DOCUMENTED_ORDER_ID} | (set() if effects == "cancel" and order_ids else {77})
    for now, request in transport.sent:
        nonce = dict(parse_fields(request.body)).get("nonce", "")
        assert not nonce.isdecimal() or int(nonce) <= now
        stamp = request.header("X-NtApi-Timestamp") or ""
        assert int(re.sub(r"\..*|[^0-9]", "", stamp) or 0) <= now // 10**7, stamp


def orders_named(request: Request) -> set[int]:
    """The orders that a server may take a request to name: of a form, of JSON, of a query string."""
    form = dict(parse_fields(request.body)).get("params[order_id]", "")
    loose = re.findall(rb"order_?[iI]d\W{0,3}(\d+)\W*$", request.body) if request.path.startswith("/api/del") else []
    query = re.findall(r"order_id=(\d+)$", request.query)
    return {int(text) for text in (form, *loose, *query) if text.isdigit() and int(text)}


def test_an_unreachable_order_is_no_clean_bill() -> None:
    results, code = judged(OrderBook(), TargetOptions("http://127.0.0.1:1"))
    assert code == 3
    assert findings(results, "fail") == {}
    errors = {result.check.id: result.finding.actual for result in results if result.verdict == "error"}
    assert errors.keys() == {"control/accepts-cancel", "v3/accepts-cancel"}
    assert all(told.endswith("name an open one with --order-id") for told in errors.values())


@pytest.mark.parametrize(
    ("write", "flaw"),
    [(lambda body: b"\xef\xbb\xbf" + body, "it begins with a BOM"), (lambda body: b"\xd0", "it is not UTF-8")],
)
def test_a_refusal_that_only_looks_like_json_is_told_its_flaw(write: Callable[[bytes], bytes], flaw: str) -> None:
    def refuse(server: Server, why: str, call: Call) -> tuple[int, bytes]:
        status, body = Server.refuse(server, why, call)
        return status, write(body)

    results, _code = judged(type("Flawed", (Server,), {"refuse": refuse})(), groups=("control", "request"))
    told = {result.check.id: result.finding.actual for result in results}
    assert told["request/refuses-get"].startswith(f"HTTP 200 (no JSON: {flaw})")


def test_the_honest_server_is_honest_about_the_published_string() -> None:
    assert canonical({"key2": "value2", "key": "value"}) == "key=value&key2=value2"
    assert Server().digest("123", "key=value&key2=value2") == (
        "f2cbb400e9fcb40a1ab38cc987e2887ee88278731d83a4df4c65d38ae1d7cbee"
    )


def test_our_mock_is_clean_when_called() -> None:
    results, code = judged(create_app())
    assert (findings(results, *COMPLAINTS), code) == ({}, 0)


def has_texts(payload: Payload) -> bool:
    """The page shows failures as texts only, so another type is not what it is silent about."""
    reading = read_body(payload.body.encode())
    return all(isinstance(reading.members[key], str) for key in reading.failure_keys)


# Replies that refuse. HTTP 429 is left out: it asks for patience.
REFUSALS = {
    payload.id
    for payload in load_corpus().payloads.values()
    if has_texts(payload)
    and (
        (400 <= payload.status < 500 and payload.status != 429 and "success" not in payload.id)
        or (payload.status == 200 and read_body(payload.body.encode()).failed and "429" not in payload.body)
    )
}
# The page shows the refusal of "method"; the others it is silent about.
SILENT = [
    situation.id
    for situation in load_corpus().situations.values()
    if situation.id.startswith(("form", "key-", "signature-", "nonce-", "timestamp-", "body-", "command-", "order-id-"))
]


def told_by_mock(replies: dict[str, str]) -> dict[str, str]:
    results, _code = judged(create_app(Broker(replies=replies)))
    return findings(results, "fail", "error", "blocked")


@pytest.mark.quick
def test_a_bad_signature_may_be_refused_as_the_readme_shows() -> None:
    assert told_by_mock({"signature-invalid": "signature-rejected-http-403"}) == {}


@pytest.mark.full
@pytest.mark.parametrize("payload", sorted(REFUSALS))
def test_any_refusal_will_do_where_the_page_is_silent(payload: str) -> None:
    assert told_by_mock(dict.fromkeys(SILENT, payload)) == {}


@pytest.mark.full
@pytest.mark.parametrize("situation", SILENT)
def test_each_silent_situation_may_be_refused_by_a_page(situation: str) -> None:
    assert told_by_mock({situation: "http-403-html"}) == {}
