"""How a client's nonces relate to time: whether they are read from a clock, in which unit, and what that clock did.

The unit is recognised by the value (seconds to nanoseconds since 1970, or since the years 1 and 1601, as .NET and
Windows count), else by how fast the nonces rise over the whole trial. The *grain* is the smallest step that they show:
`milliseconds * 10000` has the unit 100 ns and the grain 1 ms. Two cancels within one grain get one nonce, unless the
client counts on from its last nonce, so a coarse grain must be tried with a clock that is held.
All distances are wide: seconds against the milliseconds for which load can delay a request.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from tn_contract.contract.nonce import parse_nonce
from tn_contract.judge.client.cases import cases
from tn_contract.record.evidence import Case, Evidence, Sent

HELD = "clock-stands-still"
COARSE = 0.0005  # seconds: two cancels can be closer than this grain
SECONDS_LIKE = 0.01  # a program can end and start again within this grain
PACED = 0.25  # a client that never sends two cancels within this time waits on purpose
SET_BACK_BY = 15.0  # a reading that is off by more was taken from a clock that the trial had set
HELD_STEP = 0.005  # two nonces that are closer in time than this, and rise, are counted on

_DAY = 86400.0
_EPOCHS = (0, 62_135_596_800, 11_644_473_600)  # 1970, the year 1 (.NET), 1601 (Windows), as seconds before 1970
_SHORTEST = 3.0  # seconds that a trial must take before its nonces' speed says anything
_Reading = tuple[int, float]


@dataclass(frozen=True)
class Clock:
    """What nonces count: `unit` seconds each, `grain` seconds at a time, `ahead` of the mock's clock on average.

    `epoch` is how many seconds before 1970 they begin, where the value says so.
    """

    unit: float
    grain: float
    ahead: float
    epoch: int | None

    def off(self, reading: _Reading) -> float:
        """By how many seconds the clock was off, against how it usually is, when this nonce was drawn."""
        return reading[0] * self.unit - reading[1] - self.ahead

    @property
    def told(self) -> str:
        """The grain in words."""
        names = {0: "seconds", -1: "tenths of a second", -2: "hundredths of a second", -3: "milliseconds"}
        return names.get(round(math.log10(self.grain)), f"steps of {self.grain:g} s")


def steady(evidence: Evidence) -> list[Case]:
    """The cases in which nothing was done to the client's clock."""
    specs = cases()
    return [case for case in evidence.cases if case.id not in specs or not specs[case.id].clock]


def readings(sent: Iterable[Sent]) -> list[_Reading]:
    """Return the nonces that were drawn, each with the time at which the mock saw it."""
    parsed = [(parse_nonce(each.nonce or ""), each) for each in sent if not each.follows_redirect]
    return [
        (nonce, datetime.fromisoformat(each.exchange.at).timestamp()) for nonce, each in parsed if nonce is not None
    ]


def clock_of(evidence: Evidence) -> Clock | None:
    """Recognise the clock behind a client's nonces; None when they are counted, random, or too few."""
    drawn = readings(sent for case in steady(evidence) for sent in case.sent)
    if len({nonce for nonce, _at in drawn}) < 2:
        return None
    unit, epoch = _by_value(drawn) or (_by_speed(drawn), None)
    if unit is None:
        return None
    grain = unit
    step = math.gcd(*(nonce - drawn[0][0] for nonce, _at in drawn))
    while step % 10 == 0 and grain < 1:
        step //= 10
        grain *= 10
    return Clock(unit, grain, median(nonce * unit - at for nonce, at in drawn), epoch)


def _by_value(drawn: list[_Reading]) -> tuple[float, int] | None:
    for digits in range(13):
        unit = 10.0**-digits
        for epoch in _EPOCHS:
            if all(abs(nonce * unit - epoch - at) < _DAY for nonce, at in drawn):
                return unit, epoch
    return None


def _by_speed(drawn: list[_Reading]) -> float | None:
    times = [at for _nonce, at in drawn]
    elapsed = max(times) - min(times)
    if elapsed < _SHORTEST:
        return None
    for digits in range(13):
        ahead = [nonce * 10.0**-digits - at for nonce, at in drawn]
        if max(ahead) - min(ahead) < elapsed / 5:
            return 10.0**-digits
    return None


def is_paced(evidence: Evidence) -> bool:
    """Whether the client waits between cancels, so that a coarse grain does it no harm."""
    gaps = [
        after - before
        for case in steady(evidence)
        for process in case.processes
        for (_, before), (_, after) in pairwise(readings(process.sent))
    ]
    return bool(gaps) and min(gaps) >= PACED


def counts_on(evidence: Evidence, clock: Clock) -> bool:
    """Whether the client was seen to count on from its last nonce where its clock had not gone on.

    A clock that is only read gives no nonce before its time, and while it is held none that rises by so little.
    """
    if clock.epoch is not None:
        for nonce, at in readings(sent for case in steady(evidence) for sent in case.sent):
            if nonce * clock.unit - clock.epoch - at > 0.6 * clock.grain:  # more than rounding up gives
                return True
    held = evidence.case(HELD)
    for process in held.processes if held else ():
        first = next((place for place, sent in enumerate(process.sent) if sent.is_cancel), 0)  # then it was stopped
        at_rest = [reading for reading in readings(process.sent[first + 1 :]) if clock.off(reading) < -SET_BACK_BY]
        steps = [(after[0] - before[0]) * clock.unit for before, after in pairwise(at_rest)]
        if len(steps) > 1 and all(0 < step <= HELD_STEP for step in steps):
            return True
    return False


def untried(evidence: Evidence, clock: Clock | None) -> str:
    """Say why nothing shows whether two cancels within one grain get two nonces; empty where that was tried."""
    if clock is None or clock.grain < COARSE or is_paced(evidence) or counts_on(evidence, clock):
        return ""
    held = evidence.case(HELD)
    if held is None or held.skipped:
        reason = held.skipped if held else f"the case {HELD} was not run"
    else:
        reason = "this program's clock cannot be held, and no two cancels came close enough"
    return f"its nonces count {clock.told}, so two cancels may get one: {reason}"
