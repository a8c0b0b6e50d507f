"""The pure server: request in, reply and effect out. No sockets, no files; clock and seed are arguments.

It finds out who asks, and keeps for each key pair the last nonce and a journal; what a command does is the business of
`Commands`. It tells one wrong request from another in this order (itself a clause, `validation-order`): method, form,
key, signature, nonce (v3: timestamp, body), command, parameters, order.
"""

from __future__ import annotations

import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from msgspec import Struct

from mock_server.book.book import CANCEL_SECONDS, Book
from mock_server.commands import Call, Commands, Done
from mock_server.faults import Fault
from mock_server.harness import TOO_LARGE, no_address, unavailable, unrecorded
from mock_server.replay import Replay
from mock_server.scenario import Scenario, scenario_of
from mock_server.sessions import KnownPairs
from mock_server.state import State, open_state
from tn_contract.contract.corpus import Corpus, Payload, Scheme, load_corpus
from tn_contract.contract.errors import JournalUnavailable, StateUnavailable, UsageError
from tn_contract.contract.nonce import Ledger, Policy
from tn_contract.contract.signing import Credentials, Secret, legible
from tn_contract.contract.text import quoted
from tn_contract.contract.validation import (
    TIMESTAMP_TOLERANCE,
    Account,
    Asked,
    Findings,
    Rules,
    address_of,
    order_asked,
    validate,
    verify_signature,
)
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATHS,
    Reply,
    Request,
    is_redirected,
    replace,
)
from tn_contract.record.evidence import Reported
from tn_contract.record.http_reader import MAX_BODY
from tn_contract.record.journal import BODY_KEPT, PLAYED, Assessment, Diagnose, Diagnosis, Exchange, Journal, Space

DEMO = Credentials("tn-demo-key", Secret("tn-demo-secret"))

# All journals together keep this many exchanges, some 20 MB, and so many sessions have one, or more with scenarios.
JOURNAL_SPACE = 10_000
SESSIONS_KEPT = 10_000

SECRET_LONGEST = 1024
REPORTS_KEPT = 1000  # of one session

# Keys whose address in the control plane is theirs alone, and stays so on the way: no slash at an end, no segment of
# dots, and behind a slash no name of what the control plane has for a session.
_KEY = re.compile(
    r"(?!/)(?!(?:.*/)?\.{1,2}(?:/|\Z))(?!.*/(?:journal|journal\.jsonl|verdicts|reports|scenario|orders|clock)?\Z)"
    r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}"
)
_BROWSER_HEADERS = (
    "Content-Type, X_REQUESTED_WITH, X-Requested-With, X-NtApi-Sig, X-NtApi-PublicKey, X-NtApi-Timestamp, Nt-Jqp"
)


UNAVAILABLE = "state-unavailable"
Aside: TypeAlias = Callable[[Callable[[], None]], None]
Orders = Literal["replay", "book"]


@dataclass
class Session:
    """One key pair with its own nonces and journal: the unit of isolation. `reports` are what its client told."""

    credentials: Credentials
    ledger: Ledger
    journal: Journal
    scenario: Scenario | None = None
    reports: list[Reported] = field(default_factory=list)


class Answer(Struct, frozen=True, gc=False):
    """What the broker did with one request. A door that has a connection does `fault` to it instead of replying."""

    reply: Reply
    assessment: Assessment | None
    fault: Fault | None = None


@dataclass(slots=True)
class _Examination(Findings):
    """Findings collected while a request passes the steps."""

    session: Session | None = None
    begun: bool = False
    twice: bool = False


class Broker:
    """Sessions and the rules. Safe to call from several threads.

    `policy` is the nonce rule; `strict_path` refuses a path that does not name the command (real clients get it
    wrong, and the real server seems not to mind); `timestamp_tolerance` is how many seconds a v3 timestamp may be
    from the clock, either way (None or 0: any); `replies` names another payload for a situation; `clock` gives
    nanoseconds since 1970; `seed` makes new key pairs repeatable; `journal_size` bounds each session's journal;
    `state` keeps key pairs, nonces and orders: an engine, or what `open_state` makes of a text; `orders` says whether
    there is an order book, in which a cancel takes `cancel_seconds`; `sink` is given every exchange before it is
    answered, of unmatched requests by `aside`, if given, which has the work done soon; `scenario` says what happens to
    the commands of sessions that have none of their own; `fault_seconds` says how long the faults of magic orders take;
    `diagnose` names mistakes in place of `tn_contract.diagnosis.diagnose.diagnose`.
    """

    demo = DEMO
    _check_signature = staticmethod(verify_signature)

    def __init__(
        self,
        *,
        corpus: Corpus | None = None,
        policy: Policy = "monotonic",
        strict_path: bool = False,
        timestamp_tolerance: float | None = TIMESTAMP_TOLERANCE,
        replies: Mapping[str, str] | None = None,
        clock: Callable[[], int] = time.time_ns,
        seed: int | None = None,
        journal_size: int = 1000,
        state: State | str = "memory",
        sink: Callable[[Exchange], None] | None = None,
        aside: Aside | None = None,
        probe: Callable[[], None] = lambda: None,
        scenario: Scenario | None = None,
        orders: Orders = "replay",
        cancel_seconds: float = CANCEL_SECONDS,
        fault_seconds: Mapping[str, float] | None = None,
        diagnose: Callable[..., Diagnosis | None] | None = None,
    ) -> None:
        self.corpus = corpus or load_corpus()
        self.policy: Policy = policy
        self.strict_path = strict_path
        self.timestamp_tolerance = timestamp_tolerance
        self._clock = clock
        self._random = random.Random(seed) if seed is not None else secrets.SystemRandom()  # noqa: S311 # repeatable on request
        self._journal_size = journal_size
        self._payloads: dict[Scheme, dict[str, Payload]] = {
            "v2": self._resolve(replies or {}, "v2"),
            "v3": self._resolve(replies or {}, "v3"),
        }
        self._state = open_state(state) if isinstance(state, str) else state
        self._begun = False
        replay = Replay(self.corpus, self._payloads, fault_seconds)
        self.book: Book | None = None
        if orders == "book":
            number = secrets.randbits(64) if seed is None else seed
            self.book = Book(
                self.corpus, self._state, replay, clock=clock, seed=number, cancel_seconds=cancel_seconds
            )  # fmt: skip
        elif orders != "replay":
            raise UsageError(f"orders are not {orders!r}: choose replay or book")
        self._commands: Commands = self.book or replay
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._known = KnownPairs(self._state, SESSIONS_KEPT)
        self._space = Space(max(JOURNAL_SPACE, journal_size))
        self._sink = sink
        self._diagnose = diagnose
        self._probe = probe
        self.left_out = 0  # unmatched requests that the journal on disk has not, because too many came
        self.missing = ""  # why the journal on disk has not the last exchange
        self.scenario = scenario
        # What became of requests, by generation and situation: for metrics.
        self.counts: Counter[tuple[str, str]] = Counter()
        self.unmatched = Journal(
            "",
            self._known.matcher,
            journal_size,
            self._diagnoser(None),
            sink=sink,
            aside=aside and partial(self._set_aside, aside),
        )
        with suppress(StateUnavailable):  # each request will say so until it is available, or was reset
            self._begin()

    def _begin(self) -> None:
        self._state.open(DEMO)
        self._state.ledger(DEMO, self.policy)  # now and not at the first request, for it may be refused
        self._begun = True

    def _resolve(self, replies: Mapping[str, str], scheme: Scheme) -> dict[str, Payload]:
        situations, payloads = self.corpus.situations, self.corpus.payloads
        for situation, payload in replies.items():
            if situation not in situations:
                raise UsageError(f"no situation is called {situation!r}: choose from {', '.join(sorted(situations))}")
            if payload not in payloads:
                raise UsageError(f"no payload is called {payload!r}: choose from {', '.join(sorted(payloads))}")
        return {
            name: payloads[replies.get(name, situation.payload_for(scheme))] for name, situation in situations.items()
        }

    # ---- sessions ------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Try whether the next command could be remembered and recorded.

        Raises `StateUnavailable` or `JournalUnavailable`, this also while the journal lacks the last exchange.
        """
        self._state.probe()
        self._probe()
        if self.missing:
            raise JournalUnavailable(self.missing)

    def open_session(self, api_key: str | None = None, api_secret: str | None = None) -> Session:
        """Add a key pair, by default a new one of the real shape (32 and 40 characters).

        Raises `UsageError` when the key exists already, and when key or secret cannot be ones.
        """
        if api_key and not _KEY.fullmatch(api_key):
            raise UsageError(
                f"the key {quoted(api_key)} could not be part of an address: choose 1 to 256 characters, best letters "
                "and digits"
            )
        if api_secret and len(api_secret) > SECRET_LONGEST:
            raise UsageError(f"the secret has {len(api_secret)} characters: choose at most {SECRET_LONGEST}")
        credentials = self._draw(api_key, api_secret)
        while not self._state.open(credentials):
            if api_key:
                raise UsageError(f"the session {api_key!r} exists already: choose another key")
            credentials = self._draw(api_key, api_secret)  # a seed draws what the state has kept since the last start
        self._forget(credentials.api_key)  # what another thread adopted while the last one of this name was closed
        return self._adopt(credentials)

    def _draw(self, api_key: str | None, api_secret: str | None) -> Credentials:
        return Credentials(
            api_key or f"{self._random.getrandbits(128):032x}",
            Secret(api_secret or f"{self._random.getrandbits(160):040x}"),
        )

    def _adopt(self, credentials: Credentials) -> Session:
        """Give a key pair that the state knows a journal in this process."""
        ledger = self._state.ledger(credentials, self.policy)
        secrets = (credentials.secret,)
        self._known.add(credentials)
        journal = Journal(
            credentials.api_key,
            lambda: secrets,
            self._journal_size,
            self._diagnoser(credentials),
            self._space,
            self._sink,
        )
        with self._lock:
            if len(self._sessions) >= SESSIONS_KEPT and credentials.api_key not in self._sessions:
                # A journal may be lost, a scenario not: it is nowhere else.
                spare = next((key for key, session in self._sessions.items() if not session.scenario), None)
                if spare is not None:
                    self._drop(spare)
            return self._sessions.setdefault(credentials.api_key, Session(credentials, ledger, journal))

    def _drop(self, api_key: str) -> None:
        session = self._sessions.pop(api_key, None)
        if session:
            session.journal.clear()

    def _forget(self, api_key: str) -> None:
        with self._lock:
            self._drop(api_key)

    def _set_aside(self, aside: Aside, work: Callable[[], None]) -> None:
        """Have an unmatched request recorded, unless too many wait: who sends them must not make the mock unready."""
        try:
            aside(partial(self._noting, work))
        except JournalUnavailable:
            self.left_out += 1

    def _noting(self, work: Callable[[], None]) -> None:
        """Do work off the path of the reply; remember what went wrong with it."""
        try:
            work()
            self.missing = ""
        except (JournalUnavailable, StateUnavailable) as error:
            self.missing = str(error)

    def _diagnoser(self, credentials: Credentials | None) -> Diagnose:
        def name(request: Request, assessment: Assessment, at_ns: int, earlier: Sequence[Request]) -> Diagnosis | None:
            from tn_contract.diagnosis.diagnose import diagnose  # late: a mock starts quicker without

            return (self._diagnose or diagnose)(
                request,
                assessment.situation,
                credentials,
                at_ns=at_ns,
                last_nonce=assessment.last_nonce or None,
                earlier=earlier if credentials else (),
                others=self._known.pairs(),
            )

        return name

    def close_session(self, api_key: str) -> bool:
        """Forget a key pair; False when there was none."""
        closed = self._state.close(api_key)
        self._forget(api_key)
        return closed

    def session(self, api_key: str) -> Session | None:
        """Return the session of a key, or None."""
        if not self._begun:
            try:
                self._begin()
            except UsageError as error:  # told at the start, had it been available then
                raise StateUnavailable(str(error)) from error
        secret = self._state.secret(api_key)
        session = self._sessions.get(api_key)
        if secret is None:
            if session is not None:  # closed by another process
                self._forget(api_key)
            return None
        if session is not None:
            known = session.credentials.secret
            if known is secret or known.reveal() == secret.reveal():
                return session
            self._forget(api_key)  # closed by another process, and opened anew
        return self._adopt(Credentials(api_key, secret))

    def play(self, content: object, session: Session | None = None) -> Scenario:
        """Let a scenario (decoded TOML or JSON) befall one session, or all that have none of their own.

        Raises `UsageError` when it is not understood; the old one stays then.
        """
        scenario = scenario_of(content, self.corpus)
        if session:
            session.scenario = scenario
        else:
            self.scenario = scenario
        return scenario

    @property
    def exchanges_kept(self) -> int:
        """How many exchanges all sessions' journals hold."""
        return self._space.used

    @property
    def state(self) -> State:
        """The engine that keeps key pairs, nonces and orders."""
        return self._state

    @property
    def keys(self) -> list[str]:
        """The API keys of all sessions."""
        return self._state.keys()

    def reset(self) -> None:
        """Go back to the start: only the demo session, no nonces, empty journals, the scenario from its beginning."""
        with self._lock:
            if self.scenario:
                self.scenario = self.scenario.afresh()
            self._state.clear(DEMO)
            for session in self._sessions.values():
                session.journal.clear()
            self._sessions = {}
            self.unmatched.clear()

    def idle_rules(self) -> list[str]:
        """Name the rules that hit nothing, of the scenario and of those that sessions have."""
        idle = self.scenario.idle() if self.scenario else []
        for session in tuple(self._sessions.values()):
            if session.scenario:
                idle += [f"{name} (session {session.credentials.api_key})" for name in session.scenario.idle()]
        return idle

    # ---- requests ------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Answer one request, whatever it is, and write it into the journal of its session."""
        if len(request.body) > MAX_BODY:
            return Answer(TOO_LARGE, None)
        scheme = address_of(request)
        if scheme and request.method == "OPTIONS" and request.header("Access-Control-Request-Method"):
            return Answer(Reply(204, _cors(request)), None)
        try:
            if scheme == "v1" or not scheme:
                return self._answer_unmatched(request, scheme or "address")
            answer, twice = self._handle(request, scheme, scripted=True)
            return self._handle(request, scheme, scripted=False)[0] if twice else answer
        except StateUnavailable as error:
            self._count(scheme or "", UNAVAILABLE)
            return Answer(unavailable(error), None)
        except JournalUnavailable as error:
            self.missing = str(error)
            self._count(scheme or "", "journal-unavailable")
            return Answer(unrecorded(error), None)

    def _answer_unmatched(self, request: Request, situation: str) -> Answer:
        """Answer what belongs to no generation that is carried out here."""
        payload = self._payloads["v2"].get(situation)
        reply = no_address(request.path)
        if payload:
            reply = Reply(payload.status, (*payload.headers.items(), *_cors(request)), payload.fill(""))
        assessment = Assessment(situation, payload.id if payload else "")
        self.unmatched.add(self._clock(), request, reply, assessment)
        self._count("", situation)
        return Answer(reply, assessment if payload else None)

    def _handle(self, request: Request, scheme: Scheme, *, scripted: bool) -> tuple[Answer, bool]:
        """Handle what is for the API; say also if a scenario wants it delivered twice."""
        examination = _Examination()
        try:
            done = self._examine(request, scheme, examination, scripted)
        except StateUnavailable as error:
            session = examination.session
            if session is None:  # whose secrets a stranger's request may hold is not known either
                raise
            reply = unavailable(error, begun=examination.begun)
            session.journal.add(self._clock(), request, reply, Assessment(UNAVAILABLE, scheme=scheme))
            self._count(scheme, UNAVAILABLE)
            return Answer(reply, None), False
        payload = done.payload or self._payloads[scheme][done.situation]
        assessment = Assessment(
            done.situation,
            payload.id,
            tuple(map(_kept, examination.notes)),
            _kept(examination.string_to_sign),
            examination.expected_signature,
            examination.last_nonce,
            done.order_id,
            "cancelled" if done.cancelled else "none",
            scheme,
            done.fault.late if done.fault else 0.0,
        )
        reply = Reply(
            payload.status,
            (*_headers(payload, scheme), *_cors(request)),
            payload.fill(done.order_id, done.values),
        )
        journal = examination.session.journal if examination.session else self.unmatched
        lost = done.fault is not None and done.fault.loses_reply
        failure = f"{PLAYED}{done.fault.kind}" if done.fault else ""
        journal.add(self._clock(), request, None if lost else reply, assessment, failure)
        self.missing = ""
        self._count(scheme, done.situation)
        return Answer(reply, assessment, done.fault), examination.twice

    def _count(self, scheme: str, situation: str) -> None:
        with self._lock:
            self.counts[scheme, situation] += 1

    def _examine(self, request: Request, scheme: Scheme, found: _Examination, scripted: bool) -> Done:
        """Walk the steps in order: return where they end, or do the command."""
        rules = Rules(self.strict_path, self.timestamp_tolerance)

        def admit(api_key: str, check: Callable[[Account], str]) -> str:
            return self._admit(scheme, found, api_key, check)

        situation, asked = validate(request, scheme, admit, found, rules, self._clock, self._check_signature)
        session = found.session
        if asked is None or session is None:
            return Done(situation)
        return self._carry_out(request, asked, scheme, session, found, scripted)

    def _admit(self, scheme: Scheme, found: _Examination, api_key: str, check: Callable[[Account], str]) -> str:
        """Find the key's session, and let it be checked."""
        # A session met before is tried as it is, for remembering a nonce also asks if the pair is still the state's.
        session = self._sessions.get(api_key) if scheme == "v2" else None
        refused = ""
        while session is None or (refused := check(session)):
            known = self.session(api_key)
            if known is session:
                break
            session = known  # closed since it was met, perhaps opened anew
            found.string_to_sign = found.expected_signature = found.last_nonce = ""
        found.session = session
        return refused if session else "key-unknown"

    def _carry_out(
        self, request: Request, asked: Asked, scheme: Scheme, session: Session, found: _Examination, scripted: bool
    ) -> Done:
        command, params = asked
        found.begun = True
        call = Call(session.credentials.api_key, scheme, command, params, is_redirected(request.query))
        scenario = (session.scenario or self.scenario) if scripted else None
        _, order_id = order_asked(params) if scenario else ("", "")
        turn = scenario.turn(call.api_key, command, order_id, self._clock()) if scenario else None
        if turn is None:
            return self._commands.answer(call)
        found.notes.append(f"a scenario decides: {turn.told}")
        found.twice = turn.twice
        if turn.twice:
            found.notes.append("delivered twice")
            return self._commands.answer(call)
        done = self._commands.answer(call) if turn.applied else Done("scenario", order_id)
        payload = turn.payload or done.payload or self._payloads[call.scheme][done.situation]
        # Whoever cancels an order that loses its reply is told nothing, whatever else is done to the reply.
        lost = done.fault if done.fault and done.fault.loses_reply else None
        return replace(done, situation="scenario", payload=payload, fault=lost or turn.fault or done.fault)


def _kept(text: str) -> str:
    """Make text fit for a journal: legible, and what nobody would read is left out."""
    if len(text) > 2 * BODY_KEPT:
        return f"({len(text)} characters: too long to keep)"  # not cut, for half a secret is a leak too
    return legible(text)


def _headers(payload: Payload, scheme: Scheme) -> list[tuple[str, str]]:
    """Return a payload's headers; its redirect points to the address of the generation that was asked."""
    path = COMMAND_PATHS[scheme]
    return [(name, value.replace(COMMAND_PATH, path, 1)) for name, value in payload.headers.items()]


def _cors(request: Request) -> tuple[tuple[str, str], ...]:
    """Let the seed's browser sample in: any origin, with credentials and its own headers."""
    origin = request.header("Origin")
    if origin is None:
        return ()
    allowed = (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin"),
    )
    if request.method != "OPTIONS":
        return allowed
    return (
        *allowed,
        ("Access-Control-Allow-Methods", "POST, OPTIONS"),
        (
            "Access-Control-Allow-Headers",
            request.header("Access-Control-Request-Headers") or _BROWSER_HEADERS,
        ),
        ("Access-Control-Max-Age", "600"),
    )
