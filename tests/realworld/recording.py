"""What each client sends and reports, as data: the golden file `seen.json`, and the table made of it.

`python -m tests.realworld.recording` writes both anew, and `verdicts.json` with them (`make realworld-seen`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from mock_server.broker import Broker, Session
from mock_server.serve import RunningMock, running
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.wire import parse_fields
from tn_contract.record.journal import Exchange

from .clients import BUILD, CLIENTS, HOSTS, SAMPLES, RealClient
from .verdicts import VERDICTS, Verdicts, record_verdicts, table

SEEN = Path(__file__).parent / "seen.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "real-clients.md"
PATIENCE = 120  # seconds for one process
ORDINARY = (2929292929, 4982349829328)
# One of each kind of reply: clients are asked these, so that the golden file does not change when the corpus grows.
QUESTIONS = (
    9900000000, 9900000002, 9900000012, 9900000022, 9900000024, 9900000029, 9900000404, 9900000429,
    9900000200, 9900000201, 9900000202, 9900000203,
    9900000307, 9900000500, 9900000502, 9900000900, 9900000901, 9900000902, 9900000905, 9900000906, 9900000909,
    9900000910,
)  # fmt: skip
DOCUMENTED_FAILURES = {"9900000000": "error", "9900000002": "errMsg", "9900000012": "errorMsg with error"}

Seen = dict[str, Any]


# ---- recording ---------------------------------------------------------------------------------------------


def record(client: RealClient) -> Seen:
    """Let a client cancel ordinary orders under the strict nonce rule, and then ask it every kind of reply."""
    ordinary, exchanges = drive(client, ORDINARY, policy="monotonic")
    answers, asked = drive(client, QUESTIONS, policy="none")
    corpus = load_corpus()
    sent = [exchange.request.body for exchange in asked]
    misread, again = {}, {}
    for order_id, outcome in zip(map(str, QUESTIONS), _outcomes(answers), strict=True):
        expected = corpus.payloads[corpus.magic_orders[order_id].payload].outcome
        if outcome != expected:
            misread[order_id] = f"{expected}, reported as {outcome}"
        if (count := sum(order_id in body for body in sent)) > 1:
            again[order_id] = count
    return {
        "requests": [_request(exchange) for exchange in exchanges],
        "nonces": _nonces(exchanges),
        "outcomes": _outcomes(ordinary),
        "misread": misread,
        "sent_again": again,
    }


def record_sample(client: RealClient) -> list[dict[str, str]]:
    """Run the page's Python sample and return what became of each statement."""
    lines, _ = drive(client, ORDINARY[:1], policy="none")
    return [line for line in lines if "statement" in line]


def drive(client: RealClient, orders: tuple[int, ...], policy: Any) -> tuple[list[dict[str, str]], list[Exchange]]:
    """Run a client's driver against a mock of its own: the JSON lines it printed, and the mock's journal."""
    client.command()  # built before the mock starts
    with running(Broker(policy=policy), tls=HOSTS) as mock:
        session = mock.broker.open_session()
        return drive_at(mock, session, client, orders), session.journal.exchanges()


def drive_at(mock: RunningMock, session: Session, client: RealClient, orders: tuple[int, ...]) -> list[Any]:
    """Run a client's driver against a mock: the JSON lines it printed."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "TN_BASE_URL": mock.base_url,
            "TN_API_KEY": session.credentials.api_key,
            "TN_API_SECRET": session.credentials.secret.reveal(),
            "TN_ORDER_IDS": ",".join(map(str, orders)),
            **mock.environment,
        }
        process = subprocess.Popen(
            client.command(), env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            printed, complaints = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise AssertionError(f"{client.id} did not end within {PATIENCE} seconds") from None
        assert process.returncode == 0, f"{client.id} ended with {process.returncode}:\n{complaints}"
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def _outcomes(lines: list[dict[str, str]]) -> list[str]:
    return [line["outcome"] for line in lines if "outcome" in line]


def _fields(exchange: Exchange) -> dict[str, str]:
    body = exchange.request.body
    if body.startswith("{"):
        return {name: str(value) for name, value in json.loads(body).items()}
    return dict(parse_fields(body.encode()))


def _nonce(exchange: Exchange) -> str:
    headers = {name.lower(): value for name, value in exchange.request.headers}
    return _fields(exchange).get("nonce", headers.get("x-ntapi-timestamp", ""))


def _nonces(exchanges: list[Exchange]) -> str:
    nonces = [_nonce(exchange) for exchange in exchanges]
    if any(exchange.assessment and exchange.assessment.scheme == "v3" for exchange in exchanges):
        return "a timestamp"  # of seconds: equal or not, as it happens
    if not any(nonces):
        return "none"
    shapes = {f"{len(nonce)} digits" if nonce.isdecimal() else nonce for nonce in nonces}
    order = "increasing" if all(int(a) < int(b) for a, b in pairwise(nonces)) else "repeated"
    return f"{', '.join(sorted(shapes))}, {order}"


def _request(exchange: Exchange) -> Seen:
    """One request, without what changes from run to run."""
    assessment = exchange.assessment
    assert assessment
    method, _, target = exchange.request.line.partition(" ")
    path, _, query = target.partition("?")
    names = {exchange.session: "<key>", _nonce(exchange) or "<none>": "<nonce>"}
    return {
        "line": f"{method} {path}",
        "query": "&".join(f"{name}={names.get(value, value)}" for name, value in parse_qsl(query)),
        "headers": sorted(
            f"{name}: {value}" if name in ("Content-Type", "Nt-Jqp") else name
            for name, value in exchange.request.headers
            if name in ("Content-Type", "Cookie", "Origin", "Nt-Jqp", "X-Requested-With") or name.startswith("X-Nt")
        ),
        "fields": list(_fields(exchange)),
        "escaped": quote("[") in exchange.request.body,
        "situation": assessment.situation,
        "notes": list(assessment.notes),
    }


# ---- findings ----------------------------------------------------------------------------------------------


def _lines(seen: Seen, wanted: str) -> str:
    return next((request["line"] for request in seen["requests"] if wanted in request["line"]), "")


def _queries(seen: Seen, wanted: str) -> str:
    return next((request["query"] for request in seen["requests"] if wanted in request["query"]), "")


def _misread(seen: Seen, expected: str, reported: str) -> str:
    return ", ".join(order for order, text in seen["misread"].items() if text == f"{expected}, reported as {reported}")


def _documented(seen: Seen) -> str:
    taken = _misread(seen, "rejected", "accepted")
    missed = [spelling for order, spelling in DOCUMENTED_FAILURES.items() if order in taken]
    return f"reports success for `{'`, `'.join(missed)}`" if missed else ""


def _accumulated(seen: Seen) -> str:
    line = next((request["line"] for request in seen["requests"] if request["line"].count("/cmd/") > 1), "")
    return f"`{line}`" if line else ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


FINDINGS: dict[str, tuple[str, Callable[[Seen], str]]] = {
    "URL accumulates": (
        "every call appends the command's path to the address of the call before",
        _accumulated,
    ),
    "template never filled": (
        "the placeholder for the command is sent as it is",
        lambda seen: _code(_lines(seen, "{command}")),
    ),
    "no nonce": (
        "the v2 request has no nonce, so a server that checks them refuses it",
        lambda seen: seen["requests"][0]["situation"] if seen["nonces"] == "none" else "",
    ),
    "refusal of an ordinary cancel missed": (
        "the mock refused each request, and the client reports success",
        lambda seen: (
            f"{', '.join(seen['outcomes'])}"
            if "accepted" in seen["outcomes"] and seen["requests"][-1]["situation"] != "cancel-accepted"
            else ""
        ),
    ),
    "key in the URL": (
        "the whole form is in the query string too, and so the API key in every access log",
        lambda seen: _code(_queries(seen, "<key>")),
    ),
    "order in the URL": (
        "the parameters are in the query string too, where nothing signs them",
        lambda seen: "" if _queries(seen, "<key>") else _code(_queries(seen, "order_id")),
    ),
    "documented failures missed": (
        "a failure that the page documents is handed back like a success",
        _documented,
    ),
    "other failures missed": (
        "so are other refusals",
        lambda seen: ", ".join(
            order for order in _misread(seen, "rejected", "accepted").split(", ") if order not in DOCUMENTED_FAILURES
        ),
    ),
    "successes missed": (
        "a cancel that was accepted is reported as refused, or as nothing at all",
        lambda seen: ", ".join(filter(None, (_misread(seen, "accepted", each) for each in ("rejected", "unknown")))),
    ),
    "nothing taken for success": (
        "a reply that settles nothing is handed back like a success",
        lambda seen: _misread(seen, "unknown", "accepted"),
    ),
    "sent again": (
        "a redirect makes it send the signed cancel again",
        lambda seen: ", ".join(f"{order}: {count} times" for order, count in seen["sent_again"].items()),
    ),
}


def findings(seen: Seen) -> dict[str, str]:
    """What is wrong with a client, each with its evidence, derived from what was recorded and nothing else."""
    if not seen["requests"]:
        return {}
    return {name: evidence for name, (_, find) in FINDINGS.items() if (evidence := find(seen))}


# ---- the page ----------------------------------------------------------------------------------------------


def ways() -> str:
    """How each client is led to the mock."""
    rows = [f"| {client.id} | {client.led_by} |" for client in CLIENTS.values()]
    return "\n".join(["| client | led by |", "|---|---|", *rows]) + "\n"


def recorded(seen: Seen) -> str:
    """What the golden file says."""
    clients = seen["clients"]
    lines = ["| client | requests of two cancels | nonce | the mock's verdict |", "|---|---|---|---|"]
    for name, client in clients.items():
        counts = Counter(request["line"] for request in client["requests"])
        shown = "<br>".join(f"{count}x `{line}`" for line, count in counts.items()) or "none"
        verdicts = ", ".join(dict.fromkeys(request["situation"] for request in client["requests"]))
        lines.append(f"| {name} | {shown} | {client['nonces']} | {verdicts} |")
    lines += ["", "| found | in | evidence |", "|---|---|---|"]
    for finding, (meaning, _) in FINDINGS.items():
        rows = [(name, evidence) for name, client in clients.items() if (evidence := findings(client).get(finding))]
        for number, (name, evidence) in enumerate(rows):
            lines.append(f"| {f'**{finding}**: {meaning}' if number == 0 else ''} | {name} | {evidence} |")
    lines += ["", "| the page's Python sample, with tradernet-sdk | raises | goes on with |", "|---|---|---|"]
    for name, statements in seen["samples"].items():
        lines.append(f"| **{name.removeprefix('page-sample-')}** | | |")
        for row in statements:
            lines.append(f"| {' | '.join(_code(row[key]) for key in ('statement', 'raised', 'instead'))} |")
    return "\n".join(lines) + "\n"


def in_page(page: str, mark: str, text: str) -> str:
    """The page with what stands between two marks made anew."""
    before, opening, rest = page.partition(f"<!-- {mark}: ")
    comment, newline, rest = rest.partition("\n")
    _, closing, after = rest.partition(f"<!-- /{mark} -->")
    assert all((opening, newline, closing)), f"the page has no marks for {mark}"
    return before + opening + comment + newline + text + closing + after


def whole_page(page: str, seen: Seen, verdicts: dict[str, Verdicts]) -> str:
    """The page with all of its made parts anew."""
    for mark, text in (("ways", ways()), ("judged", table(verdicts)), ("recorded", recorded(seen))):
        page = in_page(page, mark, text)
    return page


def main() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    seen = {
        "clients": {name: record(client) for name, client in CLIENTS.items()},
        "samples": {name: record_sample(client) for name, client in SAMPLES.items()},
    }
    verdicts = record_verdicts()
    for file, content in ((SEEN, seen), (VERDICTS, verdicts)):
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(whole_page(PAGE.read_text("utf-8"), seen, verdicts), "utf-8")


if __name__ == "__main__":
    main()
