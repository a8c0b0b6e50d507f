"""Scenarios: rules, in a TOML file or a control-plane call, for what the mock does instead of what it would have done.

Pure: the clock is an argument, and whatever is drawn at random is drawn under the scenario's seed, so the same
requests in the same order meet the same fate.
"""

from __future__ import annotations

import math
import random
import re
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from mock_server.faults import Fault, Kind
from tn_contract.contract.corpus import WHOLE, Corpus, Payload
from tn_contract.contract.errors import UsageError
from tn_contract.contract.text import read_text
from tn_contract.contract.validation import order_asked
from tn_contract.contract.wire import ORDER_ID_MAX

SCENARIO_LARGEST = 256 * 1024
RULES_MOST = 500  # each command is compared with all of them
_DEEPEST = 8  # parts of a dotted key; what is read needs three
# Strings and comments of TOML, in which dots mean nothing.
_OPAQUE = re.compile(r'''"""(?:\\.|[^\\])*?"""|\'{3}.*?\'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*''', re.DOTALL)
DAY = 86_400.0  # for ever is a slip of the pen, and would hang a client
Seconds = Annotated[float, Meta(ge=0, le=DAY)]
Lateness = Annotated[float, Meta(ge=1e-6, le=DAY)]
Count = Annotated[int, Meta(ge=1)]
When = Literal["before-apply", "after-apply"]

_COMMANDS = {
    name.lower(): name
    for name in ("delTradeOrder", "getAuthInfo", "getNotifyOrderJson", "getOrdersHistory", "putTradeOrder")
}

_BOOK_NAME = re.compile(r"\$(?!order_id)[a-z]")  # in a payload, what only a command that was done can fill in

# Of a normal distribution, 99 % lie below the mean and this many standard deviations.
_P99 = 2.3263478740408408


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """How late replies are, in seconds: log-normal, as latencies are, by its median and its 99th percentile."""

    median: Lateness
    p99: Lateness

    def draw(self, chance: random.Random) -> float:
        """Draw one latency."""
        return min(DAY, self.median * math.exp(math.log(self.p99 / self.median) / _P99 * chance.gauss(0, 1)))


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """A token bucket: `burst` requests pass at once, and `per_second` more as time goes by. The rule hits the rest."""

    per_second: Annotated[float, Meta(gt=0, le=1e9)]
    burst: Annotated[int, Meta(ge=1, le=10**9)] = 1


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which commands (all of those conditions given), from which to which, and what befalls them.

    `order_id`, `command` and `session` (an API key) say which; of those, the first `skip` pass, then `times` are hit
    (by default all), each with a `chance`, and with a `rate` only what is too much. `when` says if the command is done
    nevertheless. `fault` with `seconds` and `after` is as in `mock_server.faults`. `twice` delivers the request a
    second time, and answers what came of that.
    """

    name: str = ""
    order_id: int | str | None = None
    command: Annotated[str, Meta(min_length=1)] | None = None
    session: Annotated[str, Meta(min_length=1)] | None = None
    skip: Annotated[int, Meta(ge=0)] = 0
    times: Count | None = None
    chance: Annotated[float, Meta(gt=0, le=1)] = 1.0
    rate: Rate | None = None
    when: When | None = None
    payload: str | None = None
    fault: Kind | None = None
    seconds: Seconds | None = None
    after: Annotated[int, Meta(ge=0)] | None = None
    latency: Latency | None = None
    twice: bool = False

    @property
    def applied(self) -> bool:
        """Whether the command is done: by default when its reply is late or double, not when another one comes."""
        if self.when:
            return self.when == "after-apply"
        return self.payload is None and (self.fault is None or self.fault in WHOLE)

    def flaw(self, corpus: Corpus) -> str:
        """Say what is wrong with the rule as a whole; "" when nothing is."""
        if self.order_id not in (None, "") and order_asked({"order_id": self.order_id})[0]:
            return f"no order has the id {self.order_id!r}: choose one from 1 to {ORDER_ID_MAX}"
        known = _COMMANDS.get((self.command or "").lower(), self.command)
        if self.command != known:
            return f"no command is written {self.command!r}: write {known}"
        if self.payload is not None and self.payload not in corpus.payloads:
            return f"no payload is called {self.payload!r}: `tn-contract list --replies` shows them"
        shows = _BOOK_NAME.search(corpus.payloads[self.payload].body) if self.payload else None
        if shows and not self.applied:
            return f'the payload {self.payload!r} shows what the command came to: give it when = "after-apply"'
        if not (self.payload or self.fault or self.latency or self.twice):
            return "nothing happens by it: give it a payload, a fault, a latency, or twice = true"
        if self.fault and self.latency:
            return "it has a fault and a latency: a fault has seconds of its own"
        if not self.fault and (self.seconds is not None or self.after is not None):
            return "seconds and after belong to a fault"
        if self.twice and (self.payload or self.fault or self.latency or self.when):
            return "what is delivered twice is done and answered as it deserves: leave everything else out"
        if self.when == "before-apply" and self.payload is None and (self.fault is None or self.fault in WHOLE):
            return "a command that is not done needs another answer: give it a payload, or a fault that loses the reply"
        if self.latency and self.latency.p99 < self.latency.median:
            return "the 99th percentile lies below the median"
        return ""

    def matches(self, session: str, command: str, order_id: str) -> bool:
        """Say if the rule speaks of this command."""
        return (
            (self.order_id is None or str(self.order_id) == order_id)
            and (self.command is None or self.command == command)
            and (self.session is None or self.session == session)
        )


class Script(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scenario as it is written down."""

    rule: list[Rule]
    seed: int = 0


# What may be written at a place of a scenario: at a member the values, in a table its members.
_CHOICES: dict[str, tuple[str, ...]] = {
    "fault": get_args(Kind),
    "when": get_args(When),
    "latency": Latency.__struct_fields__,
    "rate": Rate.__struct_fields__,
    "rule": Rule.__struct_fields__,
    "": Script.__struct_fields__,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What befalls one command: another payload, a fault of its reply, neither or both."""

    told: str
    payload: Payload | None = None
    fault: Fault | None = None
    applied: bool = True
    twice: bool = False


@dataclass(slots=True)
class _Played:
    """How far a rule has come. It draws by itself, so that what befalls others changes nothing for its commands."""

    random: random.Random
    seen: int = 0
    hit: int = 0
    tokens: float = 0.0
    at_ns: int | None = None


class Scenario:
    """Rules and how far each has come. The first rule that matches, and has turns left, decides.

    Safe to call from several threads.
    """

    def __init__(self, script: Script, corpus: Corpus) -> None:
        self.script, self.corpus = script, corpus
        self._played = [
            # To be repeatable is the purpose.
            _Played(random.Random(f"{script.seed} {number}"), tokens=rule.rate.burst if rule.rate else 0)  # noqa: S311
            for number, rule in enumerate(script.rule)
        ]
        self._lock = threading.Lock()
        self._idle = set(range(len(script.rule)))

    def afresh(self) -> Scenario:
        """Return the same scenario from its beginning."""
        again = Scenario(self.script, self.corpus)
        again._idle = self._idle
        return again

    def turn(self, session: str, command: str, order_id: str, now_ns: int) -> Turn | None:
        """Say what befalls a command; None when no rule speaks of it."""
        with self._lock:
            for number, (rule, played) in enumerate(zip(self.script.rule, self._played, strict=True), 1):
                if rule.matches(session, command, order_id) and self._hits(rule, played, now_ns):
                    self._idle.discard(number - 1)
                    return self._turn(rule, _name(rule, number), played.random)
        return None

    def _hits(self, rule: Rule, played: _Played, now_ns: int) -> bool:
        played.seen += 1
        if played.seen <= rule.skip or played.hit == rule.times:
            return False
        if rule.rate and _passes(rule.rate, played, now_ns):
            return False
        if rule.chance < 1 and played.random.random() >= rule.chance:
            return False
        played.hit += 1
        return True

    def _turn(self, rule: Rule, name: str, chance: random.Random) -> Turn:
        fault = None
        if rule.fault:
            fault = Fault(rule.fault, rule.seconds, rule.after)
        elif rule.latency:
            fault = Fault("delay", rule.latency.draw(chance))
        payload = self.corpus.payloads[rule.payload] if rule.payload else None
        return Turn(name, payload, fault, rule.applied, rule.twice)

    def played(self) -> list[dict[str, Any]]:
        """Return, for each rule, how many commands it spoke of and how many it hit."""
        with self._lock:
            return [
                {"rule": _name(rule, number), "matched": played.seen, "hit": played.hit}
                for number, (rule, played) in enumerate(zip(self.script.rule, self._played, strict=True), 1)
            ]

    def unused(self) -> list[str]:
        """Name the rules that hit nothing, since the scenario began."""
        return [str(each["rule"]) for each in self.played() if not each["hit"]]

    def idle(self) -> list[str]:
        """Name the rules that never hit anything, not before it began afresh either."""
        return [_name(self.script.rule[number], number + 1) for number in sorted(self._idle)]


def _passes(rate: Rate, played: _Played, now_ns: int) -> bool:
    """Take a token, if there is one."""
    if played.at_ns is not None:
        earned = max(0, now_ns - played.at_ns) / 1e9 * rate.per_second
        played.tokens = min(rate.burst, played.tokens + earned)
    played.at_ns = now_ns
    if played.tokens < 1:
        return False
    played.tokens -= 1
    return True


def _name(rule: Rule, number: int) -> str:
    return rule.name or f"rule {number}"


def scenario_of(content: object, corpus: Corpus) -> Scenario:
    """Make a scenario of decoded TOML or JSON. Raises `UsageError`, which names the rule."""
    rules = content.get("rule") if isinstance(content, dict) else None
    if isinstance(rules, list) and len(rules) > RULES_MOST:
        raise UsageError(f"{len(rules)} rules are too many: write at most {RULES_MOST}")
    try:
        script = msgspec.convert(content, Script)
    except msgspec.ValidationError as error:
        raise UsageError(_told(str(error))) from None
    for number, rule in enumerate(script.rule, 1):
        if flaw := rule.flaw(corpus):
            raise UsageError(f"rule {number}: {flaw}")
    return Scenario(script, corpus)


def too_large(size: int) -> str:
    """Say that a scenario is too large to be read."""
    return f"{size} bytes are too many: write at most {SCENARIO_LARGEST}"


def read_toml(text: str) -> dict[str, Any]:
    """Read TOML, whose deep keys take a time that grows with the square of their depth. Raises `ValueError`."""
    parts = re.split(r"[=\[\]{},\n]", _OPAQUE.sub("s", text))
    if max(part.count(".") for part in parts) >= _DEEPEST:
        raise ValueError(f"a key has more than {_DEEPEST} parts, where rules are flat")
    return tomllib.loads(text)


def read_scenario(path: Path, corpus: Corpus) -> Scenario:
    """Read a scenario file. Raises `UsageError`, which names the file and the line."""
    try:
        size = path.stat().st_size
        if size > SCENARIO_LARGEST:
            raise UsageError(f"the scenario {path} cannot be read: {too_large(size)}")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the scenario {path} cannot be read: {error.strerror}") from None
    text = read_text(content, f"the scenario {path}")
    try:
        return scenario_of(read_toml(text), corpus)
    except RecursionError:
        raise UsageError(f"the scenario {path} is no TOML: it is nested too deep, where rules are flat") from None
    except ValueError as error:  # what is no TOML, and an integer of thousands of digits
        raise UsageError(f"the scenario {path} is no TOML: {error}") from None
    except UsageError as error:
        line = _line(text, str(error))
        raise UsageError(f"the scenario {path}{f', line {line}' if line else ''}: {error}") from None


def _told(error: str) -> str:
    """Turn msgspec's `… - at `$.rule[1].times`` into `rule 2, times: …`, and tell what may be written there."""
    message, _, place = error.partition(" - at `$")
    rule = re.match(r"\.rule\[(\d+)\]", place)
    member = place[rule.end() if rule else 0 :].strip(".`")
    if message.startswith(("Invalid enum value", "Object contains unknown field")):
        message += f": choose from {', '.join(_CHOICES[member or ('rule' if rule else '')])}"
    elif member == "rule":
        message += ": each rule begins with [[rule]], in two brackets"
    where = ([f"rule {int(rule[1]) + 1}"] if rule else []) + ([member] if member else [])
    return f"{', '.join(where)}: {message}" if where else message


def _line(text: str, told: str) -> int:
    """Find the line that a refusal speaks of; 0 when it names none."""
    lines = text.split("\n")
    rule = re.match(r"rule (\d+)", told)
    heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)]
    first, last = 0, len(lines)
    if rule and int(rule[1]) <= len(heads):
        first, last = (*heads, last)[int(rule[1]) - 1 : int(rule[1]) + 1]
    place = re.match(r"(?:rule \d+, )?([\w.]+): ", told)
    names = [*re.findall(r"unknown field `(\w+)`", told), *reversed(place[1].split(".") if place else [])]
    for name in names:
        for number in range(first, last):
            if re.search(rf"(^|[\s{{,.\[]){name}\s*[=\].]", lines[number]):
                return number + 1
    return first + 1 if rule and heads else 0
