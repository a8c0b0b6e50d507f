"""The server under judgement: what kind of target it is, what may be done to it, and how a check reaches it."""

from __future__ import annotations

import codecs
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from tn_contract.contract.address import parse_address
from tn_contract.contract.corpus import Scheme
from tn_contract.contract.errors import BudgetExceeded, TargetRefused, TargetUnreachable, UsageError
from tn_contract.contract.nonce import TICK_NS
from tn_contract.contract.signing import Credentials, Parameters, Secret
from tn_contract.contract.wire import Reading, Reply, Request, SignedRequest, compose, compose_v3, read_body, replace
from tn_contract.judge.verdicts import Blocked, Effect, NotApplicable
from tn_contract.record.journal import Exchange, Redactor
from tn_contract.transport import Timeouts, Transport, TransportFailure

EFFECTS: tuple[Effect, ...] = ("none", "attempt", "cancel")

DOCUMENTED_ORDER_ID = 2929292929
# Where orders are free, each cancel names a new one, in digits as the page's: a server may cancel an order only once.
_FRESH_ORDERS, _ORDER_STEP = (2_300_000_000, 4_200_000_000), 100
HUGE_ORDER_IDS = (2**63, 2**64 + DOCUMENTED_ORDER_ID, int("9" * 25))
CONTROL = "/__tn__/"
CANCEL, SESSION = "delTradeOrder", "getAuthInfo"

# On an account that is not ours: enough for every check of effect `none`, slow enough not to be a load.
SANDBOX_BUDGET = 600
SANDBOX_PAUSE = 0.5

# How long one run waits for a target that limits the rate, in all; how long it waits when the reply does not say.
PATIENCE, _RETRY_AFTER, _WAITS = 30.0, 0.5, 3

_EVIDENCE = ("sess_id", "order_id", "result")
_TIMEOUTS = Timeouts(connect=5, send=5, receive=5, total=10)


@dataclass(frozen=True, slots=True)
class Observation:
    """What came back for one request, and what it says; `told` is its description for people."""

    reply: Reply | None
    reading: Reading
    told: str
    tells_secret: bool = False

    @property
    def understood(self) -> bool:
        """A 2xx JSON object without a failure text."""
        return (
            self.reply is not None
            and 200 <= self.reply.status < 300
            and self.reading.form == "object"
            and not self.reading.failed
        )

    @property
    def refused(self) -> bool:
        """A JSON object with a failure text; a server that broke (5xx) refused nothing."""
        return self.reply is not None and self.reply.status < 500 and self.reading.failed

    @property
    def denied(self) -> bool:
        """Refused, or at least denied by an HTTP status that says so (4xx): its shape is another check's business."""
        # 501 is what plain servers answer to a method that they do not know.
        return self.refused or (self.reply is not None and (400 <= self.reply.status < 500 or self.reply.status == 501))

    @property
    def succeeded(self) -> bool:
        """Accepted by positive evidence: what an empty object says is left to other checks."""
        return self.understood and not self.reading.members.keys().isdisjoint(_EVIDENCE)

    @property
    def carried_out(self) -> bool:
        """Accepted, and something came of it: a session's id, an order's, a result; null or an empty text is none."""
        members = self.reading.members
        return self.understood and any(members.get(name) not in (None, "", False) for name in _EVIDENCE)

    @property
    def outcome(self) -> tuple[object, ...]:
        """What it says, to tell two refusals from each other."""
        return self.denied, self.reading.failure_keys, self.reading.message, self.reading.code

    @property
    def rate_limited(self) -> bool:
        """The target wants fewer requests, which says nothing about the clause."""
        return self.reply is not None and (self.reply.status == 429 or self.reading.code == 429)


class Nonces:
    """Nonces in steps of a tenth of a millisecond, from the clock of a moment ago: never ahead of it, and never closer
    together or further apart than that, so that no verdict depends on how quick target and machine are."""

    STEP = 1000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = time.time_ns() // TICK_NS - 200 * 10 * self.STEP

    def next(self) -> int:
        """Draw the next one."""
        return self.skip(self.STEP)

    def skip(self, ticks: int) -> int:
        """Draw one that is so many ticks later than the last."""
        with self._lock:
            self._last += ticks
            return self._last


@dataclass(frozen=True)
class TargetOptions:
    """What the user allows: see `tn-contract verify --help`."""

    base_url: str
    effects: Effect | None = None
    order_ids: tuple[int, ...] = ()
    budget: int | None = None
    pause: float | None = None
    allow_live: str = ""
    control_host: str = ""


def _refuse_live(host: str, allowed: str) -> None:
    name = host.removesuffix(".")
    if allowed.lower().removesuffix(".") != name:
        raise TargetRefused(
            f"{name} is known to be live, or carries the vendor's brand: real orders and money. Judge the mock or a "
            f"sandbox instead; if you mean it, name the host a second time with --allow-live {name}"
        )


class Target:
    """A server, the keys to it, and the limits of this run.

    A target is *disposable* when nothing real can be hurt: it is on this machine, or it is a mock of this kit.
    Then each check gets a key pair of its own and every effect is allowed.
    """

    def __init__(self, options: TargetOptions) -> None:
        """Raises `UsageError`, `TargetRefused` or `TargetUnreachable`."""
        address = parse_address(options.base_url)
        self.base_url, self.target_class = address.base_url, address.target_class
        if self.target_class == "live":
            _refuse_live(address.host, options.allow_live)
        named = options.control_host.lower().removesuffix(".")
        self._transport = Transport(self.base_url, _TIMEOUTS)
        self._may_hold_token = self.target_class == "loopback" or address.host.removesuffix(".") == named
        self.own = Credentials.from_environment()
        self.second = Credentials.from_environment("_2")
        self._nonces = Nonces()
        health = self._find_control_plane()
        self.is_kit_mock = health.get("mock") == "tn-contract"
        self.has_book = self.is_kit_mock and health.get("orders") == "book"
        self.disposable = self.target_class == "loopback" or self.is_kit_mock
        if self.own is None and not self.is_kit_mock:
            raise UsageError(
                "no credentials: set TN_API_KEY and TN_API_SECRET for this target (it is no mock of this kit, "
                "which would hand out its own)"
            )
        self.effects: Effect = options.effects or ("cancel" if self.disposable else "none")
        self.order_ids = list(options.order_ids)
        self.budget = options.budget if options.budget is not None else (None if self.disposable else SANDBOX_BUDGET)
        self.pause = options.pause if options.pause is not None else (0.0 if self.disposable else SANDBOX_PAUSE)
        self.requests = 0
        self.answered = self.is_kit_mock  # whether anything ever came back
        self.shown: tuple[object, ...] = ()  # by which control, and after how many requests
        self.exhausted = False  # whether a request was refused for the budget
        self._spent: dict[Scheme, Observation] = {}
        self.refusals: dict[
            Scheme, tuple[dict[str, Observation], list[Callable[[], Exchange]]]
        ] = {}  # as they were provoked once
        self.takes_no_replay = False  # as v3's control finds out
        self.patience = PATIENCE
        self.first: dict[str, Request] = {}  # what the controls sent and had accepted, to be sent again at the end
        self._kept: list[Credentials] = []  # the keys of these requests
        self._redactors: dict[tuple[tuple[str, str], ...], Redactor] = {}
        # The clock, because a server that still runs may remember the orders of an earlier run.
        lowest, highest = _FRESH_ORDERS
        self._orders = itertools.count(lowest + time.time_ns() // 10**5 * _ORDER_STEP % (highest - lowest), _ORDER_STEP)

    def _find_control_plane(self) -> dict[str, Any]:
        # A real server is not asked for addresses that are none of its own.
        if self.target_class == "live" or (self.target_class == "sandbox" and self.own):
            return {}
        try:
            reply = self._transport.send(Request("GET", f"{CONTROL}health"))  # which asks for no token
        except TransportFailure as failure:
            if failure.phase != "connect":
                return {}  # something listens: the checks will tell what is wrong with it
            raise TargetUnreachable(f"{self.base_url} does not answer ({failure}): is the server running?") from failure
        return read_body(reply.body).members

    def redactor_of(self, pairs: list[Credentials]) -> Redactor:
        """Return what keeps these key pairs out of records; it remembers what it found clean."""
        known = tuple((pair.api_key, pair.secret.reveal()) for pair in pairs)
        if known not in self._redactors:
            self._redactors[known] = Redactor(
                [pair.secret for pair in pairs],
                () if self.is_kit_mock else [pair.api_key for pair in pairs],
                private=not self.disposable,
            )
        return self._redactors[known]

    @property
    def free_orders(self) -> bool:
        """Whether any order id may be cancelled any number of times."""
        return self.disposable and not self.order_ids and not self.has_book and self.allows("cancel")

    def fresh_order_id(self) -> int:
        """Draw an order id that this run has not named; the next 99 are its caller's as well."""
        return next(self._orders)

    @property
    def magic_orders(self) -> bool:
        """Whether magic orders may be asked for their replies."""
        return self.is_kit_mock and not self.order_ids and self.allows("cancel")

    def open_order(self, credentials: Credentials) -> int | None:
        """Put an order that may be cancelled into the book of a mock of this kit; None on any other target."""
        if not self.has_book or self.order_ids:
            return None
        address = f"{CONTROL}sessions/{quote(credentials.api_key, safe='')}/orders"
        reply = self._control("POST", address)
        order_id = read_body(reply.body).members.get("order_id")
        if not isinstance(order_id, str) or not order_id.isdecimal():
            raise TargetUnreachable(f"the mock at {self.base_url} takes no order (HTTP {reply.status})")
        return int(order_id)

    def allows(self, effect: Effect) -> bool:
        """Whether checks of this effect may run."""
        return EFFECTS.index(effect) <= EFFECTS.index(self.effects)

    def new_credentials(self, api_key: str | None = None) -> Credentials | None:
        """Open a key pair on a mock of this kit; None on any other target."""
        if not self.is_kit_mock:
            return None
        body = json.dumps({"api_key": api_key}).encode() if api_key else b""
        try:
            reply = self._control("POST", f"{CONTROL}sessions", body)
        except TransportFailure as failure:
            raise TargetUnreachable(f"the mock at {self.base_url} opens no session ({failure})") from failure
        if reply.status == 401:
            raise TargetUnreachable(self._asks_for_token())
        members = read_body(reply.body).members
        key, secret = members.get("api_key"), members.get("api_secret")
        if reply.status != 201 or not isinstance(key, str) or not isinstance(secret, str):
            raise TargetUnreachable(f"the mock at {self.base_url} opens no session (HTTP {reply.status})")
        return Credentials(key, Secret(secret))

    def close_credentials(self, credentials: Credentials) -> None:
        """Forget a key pair that `new_credentials` opened."""
        self._control("DELETE", f"{CONTROL}sessions/{quote(credentials.api_key, safe='')}")

    def _control(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Ask the control plane of a mock of this kit, with the token of TN_CONTROL_TOKEN where it may go.

        Any server can claim to be a mock, so off this machine the token goes only to a host that the user named.
        """
        token = os.environ.get("TN_CONTROL_TOKEN") if self._may_hold_token else ""
        headers = (("Content-Type", "application/json"), *((("Authorization", f"Bearer {token}"),) if token else ()))
        return self._transport.send(Request(method, path, headers, body))

    def _asks_for_token(self) -> str:
        host = self._transport.address.host
        todo = "set TN_CONTROL_TOKEN"
        if not self._may_hold_token:
            todo += f" and name the host that may get it: --control-host {host}, or TN_CONTROL_HOST={host}"
        return f"the mock at {self.base_url} asks for its control token: {todo}"

    @contextmanager
    def probe(self, scheme: Scheme = "v2") -> Iterator[Probe]:
        """Yield a check's way to the server: with a key pair of its own where there are any."""
        opened = self.new_credentials()
        credentials = opened or self.own
        assert credentials is not None  # noqa: S101 # the constructor saw to it
        probe = Probe(self, credentials, Nonces() if opened else self._nonces, scheme)
        try:
            yield probe
        finally:
            for each in (*probe.opened, *([opened] if opened else ())):
                if each not in self._kept:
                    self.close_credentials(each)

    def send(self, request: Request, *, keep: bool = False) -> Reply:
        """Send within the budget, and `keep` the connection. Raises `TransportFailure`, `BudgetExceeded`."""
        if self.budget is not None and self.requests >= self.budget:
            self.exhausted = True
            raise BudgetExceeded(
                f"the budget of {self.budget} requests is used up: raise --budget or judge fewer checks"
            )
        if self.pause and self.requests:
            time.sleep(self.pause)
        self.requests += 1
        if not (self.is_kit_mock or keep):
            # A server that has just broken may close a kept connection under the next request.
            request = replace(request, headers=(*request.headers, ("Connection", "close")))
        reply = self._transport.send(request)
        self.answered = True
        return reply

    def keep(self, what: str, probe: Probe, request: Request) -> None:
        """Keep the first accepted request of a kind, and its key, until the end of the run."""
        self.first.setdefault(what, request)
        self._kept.append(probe.credentials)

    def cancel_once(self, probe: Probe) -> Observation:
        """Cancel an order that may be cancelled; where orders are scarce, one cancel of each scheme serves all."""
        opened = self.open_order(probe.credentials) if self.allows("cancel") else None
        if opened is not None:
            probe.order_id = opened
        if self.free_orders or opened is not None:
            return probe.send(probe.compose(CANCEL).request)
        if probe.scheme not in self._spent:
            if len(self._spent) >= len(self.order_ids):
                raise NotApplicable(f"no order left to cancel with {probe.scheme}: name another one with --order-id")
            probe.order_id = self.order_ids[len(self._spent)]
            self._spent[probe.scheme] = probe.send(probe.compose(CANCEL).request)
        return self._spent[probe.scheme]

    def waits(self, reply: Reply | None) -> bool:
        """Wait as long as a rate-limited reply asks; False when it asks for more than is left."""
        asked = (reply.header("Retry-After") or "") if reply else ""
        seconds = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else _RETRY_AFTER
        if seconds > self.patience:
            return False
        self.patience -= seconds
        time.sleep(seconds)
        return True

    def close(self) -> None:
        """Close the keys that were kept, and the connections."""
        for each in self._kept if self.is_kit_mock else ():
            with suppress(TransportFailure):
                self.close_credentials(each)
        self._transport.close()


@dataclass
class Probe:
    """One check's way to the target: composes, sends, remembers what was exchanged. `order_id` is what cancels name."""

    target: Target
    credentials: Credentials
    nonces: Nonces
    scheme: Scheme = "v2"
    records: list[Callable[[], Exchange]] = field(default_factory=list)
    opened: list[Credentials] = field(default_factory=list)
    others: list[Credentials] = field(default_factory=list)
    order_id: int = field(init=False)

    def __post_init__(self) -> None:
        if self.target.order_ids:
            self.order_id = self.target.order_ids[0]
        elif self.target.free_orders:
            self.order_id = self.target.fresh_order_id()
        else:
            self.order_id = self.target.open_order(self.credentials) or DOCUMENTED_ORDER_ID

    @property
    def redactor(self) -> Redactor:
        """What keeps secrets out of everything this check writes."""
        # Those of the environment always: a check may send what another one composed with them.
        known = (self.credentials, *self.others, self.target.own, self.target.second)
        return self.target.redactor_of([pair for pair in known if pair])

    def params(self, command: str) -> Parameters | None:
        """The documented parameters of a command; where orders are free, each cancel gets a new one."""
        if command != CANCEL:
            return None
        if self.target.free_orders:
            self.order_id = self.target.fresh_order_id()
        return {"order_id": self.order_id}

    def compose(self, command: str, nonce: int | str | None = None) -> SignedRequest:
        """Compose a valid request, by default with a fresh nonce (v3: the time); neither is ahead of the clock."""
        if self.scheme == "v3":
            return compose_v3(self.credentials, command, self.timestamp(), self.params(command))
        drawn = self.nonces.next() if nonce is None else nonce
        return compose(self.credentials, command, drawn, self.params(command))

    def timestamp(self) -> int:
        """Return the time in whole Unix seconds; a target that takes no request twice gets a new second each time."""
        if self.target.takes_no_replay:
            time.sleep(1 - time.time() % 1)
        return int(time.time())

    def send(self, request: Request, *, keep: bool = False, patient: bool = True) -> Observation:
        """Send and say what came back; again, if the target limits the rate and the wait is short.

        Raises `TargetUnreachable` when nothing listens.
        """
        observed = self._send(request, keep)
        for _again in range(_WAITS if patient else 0):
            if not observed.rate_limited or not self.target.waits(observed.reply):
                return observed
            observed = self._send(request, keep)
        if patient and observed.rate_limited:
            self.target.patience = 0.0  # it does not pass by waiting
        return observed

    def _send(self, request: Request, keep: bool) -> Observation:
        reply, failure = None, ""
        try:
            reply = self.target.send(request, keep=keep)
        except TransportFailure as error:
            if error.phase == "connect":
                raise TargetUnreachable(f"{self.target.base_url} does not answer ({error})") from error
            failure = str(error)
        record, number = self.redactor.record, len(self.records) + 1
        self.records.append(partial(record, number, time.time_ns(), self.credentials.api_key, request, reply, failure))
        return self._observe(reply, failure)

    def _observe(self, reply: Reply | None, failure: str) -> Observation:
        if reply is None:
            return Observation(None, read_body(b""), f"no reply ({failure})")
        shown = " ".join(self.redactor.reply_body(reply.body).split())
        told = f"HTTP {reply.status}{_flaw_of(reply.body)} {shown[:300] or '(empty body)'}"
        return Observation(reply, read_body(reply.body), told, self._tells_secret(reply))

    def _tells_secret(self, reply: Reply) -> bool:
        # A short secret may stand anywhere by chance.
        if len(self.credentials.secret.reveal()) < 8:
            return False
        text = repr(reply.headers) + reply.body.decode("utf-8", "backslashreplace")
        return self.target.redactor_of([self.credentials]).reveals(text)

    def race(self, requests: list[Request]) -> list[Observation]:
        """Send all at the same moment, each on a connection of its own.

        Raises `NotApplicable` where requests are spaced.
        """
        if self.target.pause:
            raise NotApplicable(f"requests are {self.target.pause:g} s apart here, and a race needs --pause 0")
        start = threading.Barrier(len(requests) + 1)

        def send(request: Request) -> Observation:
            start.wait()
            return self.send(request)

        with ThreadPoolExecutor(len(requests)) as pool:
            observed = pool.map(send, requests)
            start.wait()  # from outside, so that those that wait go on in turn: with rising nonces
            return list(observed)

    def control(self, command: str) -> None:
        """Show that the target accepts a valid request right now. Raises `Blocked` when it does not.

        Within a budget, nothing is sent if the last request of the run has just shown it.
        Where orders are scarce, a cancel is shown by its session request, which spends none.
        """
        if command == CANCEL and not self.target.free_orders:
            command = SESSION
        shown = (self.credentials, self.scheme, command)
        if self.target.budget is not None and self.target.shown == (*shown, self.target.requests):
            return
        observed = self.send(self.compose(command).request)
        if not observed.understood:
            raise Blocked(f"a valid {command} was not accepted: {observed.told}")
        self.target.shown = (*shown, self.target.requests)

    def other(self, api_key: str | None = None) -> Probe:
        """Open a probe with a second key pair. Raises `NotApplicable` when there is none."""
        credentials = self.target.new_credentials(api_key)
        if credentials:
            self.opened.append(credentials)
        elif api_key is None:
            credentials = self.target.second
        if credentials is None and api_key is not None:
            raise NotApplicable("only a mock of this kit opens a key of a given name")
        if credentials is None:
            raise NotApplicable("no second key pair: set TN_API_KEY_2 and TN_API_SECRET_2")
        self.others.append(credentials)
        return Probe(self.target, credentials, self.nonces, self.scheme, self.records, others=[self.credentials])


def _flaw_of(body: bytes) -> str:
    """Name what hides in a body that looks like JSON when it is shown."""
    if body.startswith(codecs.BOM_UTF8):
        return " (no JSON: it begins with a BOM)"
    try:
        body.decode()
    except UnicodeDecodeError:
        return " (no JSON: it is not UTF-8)"
    return ""


Spoil = Callable[[Probe, SignedRequest], Request]
