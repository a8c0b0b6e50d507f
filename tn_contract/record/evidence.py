"""What a client did: the requests that the mock saw and the outcomes that the client reported, case by case.

As objects for the checks, and as JSON lines for files: a header, then for each case its processes with their
exchanges, reports and end, then a footer, so that a file that breaks off is noticed. A session's own journal has one
nameless case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from tn_contract import __version__
from tn_contract.contract.corpus import Scheme, load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.nonce import parse_nonce
from tn_contract.contract.text import utf8
from tn_contract.contract.wire import is_redirected, nest, parse_fields, read_body
from tn_contract.record.journal import PLAYED, Exchange

OUTCOMES = ("accepted", "rejected", "unknown", "not-sent")
CANCEL = "delTradeOrder"
V3_TIMESTAMP = "x-ntapi-timestamp"


# ---- lines -------------------------------------------------------------------------------------------------


class Header(Struct, frozen=True, tag="journal", tag_field="line"):
    """First line: what this file is, and whose deeds it records."""

    agent: str
    started: str
    format: Literal[1] = 1
    kit: str = __version__
    corpus: str = ""


class CaseLine(Struct, frozen=True, tag="case", tag_field="line"):
    """A case begins; `skipped` says why it could not be arranged."""

    id: str
    skipped: str = ""


class ProcessLine(Struct, frozen=True, tag="process", tag_field="line"):
    """A process of the client begins, asked to cancel these orders."""

    order_ids: tuple[str, ...]


class ExchangeLine(Struct, frozen=True, tag="exchange", tag_field="line"):
    """The mock saw a request."""

    exchange: Exchange


class Reported(Struct, frozen=True, tag="reported", tag_field="line", omit_defaults=True):
    """The client reported what became of an order: one of `OUTCOMES`, or a word of its own that is none."""

    order_id: str
    outcome: str
    kind: str | None = None
    code: int | str | None = None


class Ended(Struct, frozen=True, tag="ended", tag_field="line", omit_defaults=True):
    """The process ended: by itself with a status, by a signal, or because its time was up after `limit` seconds.

    It hung if it had nothing to wait for any more, or had waited long; else it is unfinished, and may have a longer
    limit of its own.
    `told` are its last words; `leaked` says that the secret stood in what it printed; `unread` says why output that
    speaks of outcomes holds no report. `at` is when it was seen to have ended.
    """

    how: Literal["exited", "crashed", "hung", "unfinished"]
    status: int | None = None
    told: str = ""
    leaked: bool = False
    unread: str = ""
    limit: float = 0.0
    at: str = ""


class Footer(Struct, frozen=True, tag="end", tag_field="line"):
    """Last line: how many came before it."""

    lines: int


Line = Header | CaseLine | ProcessLine | ExchangeLine | Reported | Ended | Footer


# ---- one request, on its face ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What a recorded request says on its face, whatever the mock made of it."""

    exchange: Exchange

    @cached_property
    def scheme(self) -> Scheme:
        """The generation of the protocol, by its headers and its address."""
        assessed = self.exchange.assessment.scheme if self.exchange.assessment else "v2"
        return "v3" if self.header(V3_TIMESTAMP) is not None else assessed

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.exchange.request.line.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path, without the query."""
        return self.exchange.request.line.partition(" ")[2].partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.exchange.request.line.partition(" ")[2].partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first header of that name (in lower case), or None."""
        return next((value for key, value in self.exchange.request.headers if key.lower() == name), None)

    @cached_property
    def fields(self) -> list[tuple[str, str]]:
        """The form's names and values, in order."""
        return parse_fields(self.exchange.request.body.encode("utf-8", "surrogateescape"))

    @property
    def query_fields(self) -> list[tuple[str, str]]:
        """The query's names and values, in order."""
        return parse_fields(self.query.encode("utf-8", "surrogateescape"))

    @cached_property
    def members(self) -> dict[str, Any]:
        """The body as a tree: of a form all fields, of v3 its JSON under params."""
        if self.scheme == "v3":
            return {"params": read_body(self.exchange.request.body.encode("utf-8", "surrogateescape")).members}
        return dict(nest(self.fields))

    @property
    def command(self) -> str:
        """The command: the field cmd, else the last part of the path."""
        named = self.members.get("cmd")
        return named if isinstance(named, str) and named else unquote(self.path).rstrip("/").rpartition("/")[2]

    @property
    def order_id(self) -> str | None:
        """The text of the order id, where there is one."""
        params = self.members.get("params")
        order_id = params.get("order_id") if isinstance(params, dict) else None
        return None if order_id is None or isinstance(order_id, dict) else str(order_id)

    @property
    def nonce(self) -> str | None:
        """The text of the nonce, where there is one."""
        nonce = self.members.get("nonce")
        return nonce if isinstance(nonce, str) else None

    @property
    def is_cancel(self) -> bool:
        """Whether it asks to cancel an order; a browser's question whether it may (OPTIONS) does not."""
        return self.command == CANCEL and self.method != "OPTIONS"

    @property
    def follows_redirect(self) -> bool:
        """Whether it went where the mock's redirect points: one fault, which has a check of its own."""
        return is_redirected(self.query)

    @property
    def situation(self) -> str:
        """What the mock made of it."""
        return self.exchange.assessment.situation if self.exchange.assessment else ""

    @property
    def payload(self) -> str:
        """The id of the payload that answered it, where the journal says so."""
        return self.exchange.assessment.payload if self.exchange.assessment else ""

    @property
    def fault(self) -> str:
        """The fault that was played on its reply; empty without one."""
        return self.exchange.failure.removeprefix(PLAYED) if self.exchange.failure.startswith(PLAYED) else ""

    @property
    def accepted(self) -> bool:
        """Whether it passed all of the mock's tests, so that the order's own reply came."""
        return self.situation == "cancel-accepted"

    @property
    def told(self) -> str:
        """The request in a few words."""
        return f"{self.exchange.request.line} (request {self.exchange.seq})"


def rising(sent: Iterable[Sent]) -> tuple[Sent, Sent] | None:
    """Find the first two neighbours whose nonces do not rise; requests without a readable nonce are passed over."""
    before: tuple[int, Sent] | None = None
    for each in sent:
        nonce = parse_nonce(each.nonce or "")
        if nonce is None:
            continue
        if before is not None and nonce <= before[0]:
            return before[1], each
        before = (nonce, each)
    return None


# ---- cases -------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """One process of the client: what it was asked (nothing is known for a bare journal), did and said."""

    order_ids: tuple[str, ...] = ()
    sent: list[Sent] = field(default_factory=list)
    reports: list[Reported] = field(default_factory=list)
    ended: Ended | None = None

    def cancels(self, order_id: str | None = None) -> list[Sent]:
        """The cancels, or those of one order."""
        return [sent for sent in self.sent if sent.is_cancel and order_id in (None, sent.order_id)]

    def waited(self, sent: Sent) -> float:
        """How many seconds passed from a request to the next one, or to the end; 0 where that is not known."""
        following = self.sent[self.sent.index(sent) + 1 :]
        until = following[0].exchange.at if following else self.ended.at if self.ended else ""
        return (
            (datetime.fromisoformat(until) - datetime.fromisoformat(sent.exchange.at)).total_seconds() if until else 0.0
        )

    def report(self, order_id: str) -> Reported | None:
        """What was reported of an order."""
        return next((report for report in self.reports if report.order_id == order_id), None)


@dataclass
class Case:
    """One case with its processes, one after the other with one key pair."""

    id: str = ""
    processes: list[Process] = field(default_factory=list)
    skipped: str = ""

    @property
    def sent(self) -> list[Sent]:
        """All requests, in order."""
        return [sent for process in self.processes for sent in process.sent]


@dataclass
class Evidence:
    """All that is known of one client."""

    agent: str
    cases: list[Case] = field(default_factory=list)
    started: str = ""

    @property
    def processes(self) -> list[Process]:
        """Every process of every case."""
        return [process for case in self.cases for process in case.processes]

    @property
    def sent(self) -> list[Sent]:
        """Every request."""
        return [sent for process in self.processes for sent in process.sent]

    @property
    def cancels(self) -> list[Sent]:
        """Every cancel."""
        return [sent for sent in self.sent if sent.is_cancel]

    @cached_property
    def speaks(self) -> bool:
        """Whether the client reported anything at all."""
        return any(process.reports for process in self.processes)

    def case(self, case_id: str) -> Case | None:
        """The case of that id, if it was run."""
        return next((case for case in self.cases if case.id == case_id), None)

    def cancelling(self, order_id: str) -> list[Process]:
        """The processes that were asked to cancel an order, or that did so."""
        return [each for each in self.processes if order_id in each.order_ids or each.cancels(order_id)]


def of_session(agent: str, exchanges: Iterable[Exchange], reports: Iterable[Reported] = ()) -> Evidence:
    """Make evidence of a session's journal: one nameless case, one process."""
    process = Process(sent=list(map(Sent, exchanges)), reports=list(reports))
    started = process.sent[0].exchange.at if process.sent else ""
    return Evidence(agent, [Case(processes=[process])], started)


# ---- files -------------------------------------------------------------------------------------------------


def to_lines(evidence: Evidence) -> Iterator[bytes]:
    """Write evidence as JSON lines."""
    count = 0
    for line in _lines(evidence):
        count += 1
        yield msgspec.json.encode(line) + b"\n"
    yield msgspec.json.encode(Footer(count)) + b"\n"


def _lines(evidence: Evidence) -> Iterator[Line]:
    yield Header(evidence.agent, evidence.started, corpus=load_corpus().manifest.version)
    for case in evidence.cases:
        yield CaseLine(case.id, case.skipped)
        for process in case.processes:
            yield ProcessLine(process.order_ids)
            yield from (ExchangeLine(sent.exchange) for sent in process.sent)
            yield from process.reports
            if process.ended:
                yield process.ended


_DECODER = msgspec.json.Decoder(Line)


def from_lines(content: bytes, name: str) -> Evidence:
    """Read JSON lines; `name` is for the messages. Raises `UsageError` for anything but a whole journal."""
    raw = utf8(content).split(b"\n")
    if raw and not raw[-1]:
        raw.pop()
    if not raw:
        raise UsageError(f"{name} is empty: a journal begins with a header line")
    lines: list[Line] = []
    for number, text in enumerate(raw, 1):
        try:
            lines.append(_read(text))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if number == len(raw) and number > 1:
                raise UsageError(f"{name} breaks off in line {number}: copy it again when it is complete") from error
            raise UsageError(f"{name}, line {number}: no line of a journal ({error})") from error
    header, *middle = lines
    if not isinstance(header, Header):
        raise UsageError(f"{name} does not begin with a journal's header line")
    footer = middle.pop() if middle else None
    if not isinstance(footer, Footer):
        raise UsageError(f"{name} has no end line: copy it again when it is complete")
    if footer.lines != len(raw) - 1:
        raise UsageError(
            f"{name} has {len(raw) - 1} lines before its end, which says {footer.lines}: lines are missing"
        )
    return _assemble(header, middle, name)


def _read(text: bytes) -> Line:
    line: Line = _DECODER.decode(text)
    # The checks compare these times, so that one without a zone would be as bad as none.
    if isinstance(line, ExchangeLine) and datetime.fromisoformat(line.exchange.at).tzinfo is None:
        raise ValueError(f"the time {line.exchange.at!r} has no zone")
    return line


def _assemble(header: Header, lines: list[Line], name: str) -> Evidence:
    evidence = Evidence(header.agent, started=header.started)
    for number, line in enumerate(lines, 2):
        case = evidence.cases[-1] if evidence.cases else None
        process = case.processes[-1] if case and case.processes else None
        match line:
            case CaseLine():
                evidence.cases.append(Case(line.id, skipped=line.skipped))
            case ProcessLine() if case:
                case.processes.append(Process(line.order_ids))
            case ExchangeLine() if process:
                process.sent.append(Sent(line.exchange))
            case Reported() if process:
                process.reports.append(line)
            case Ended() if process:
                process.ended = line
            case _:
                raise UsageError(f"{name}, line {number}: a {type(line).__name__} cannot stand here")
    return evidence
