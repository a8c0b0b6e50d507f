"""Tries clients in this process: over real sockets to the real mock, with everything that waits shortened."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from unittest import mock

from tn_contract.judge.client import ClientJudge, catalogue
from tn_contract.judge.client.cases import cases
from tn_contract.judge.verdicts import Result
from tn_contract.record.evidence import Evidence
from tn_contract.trial import trial
from tn_contract.trial.trial import Ran, Trial

from .clients import Client

T = TypeVar("T")

# Seconds: a delayed reply comes well before the client is told to give up, that well before its deadline.
DELAY, PATIENCE, DEADLINE = 0.9, 1.5, 6.0
LATER = 0.8  # than the client's patience comes a late reply


@dataclass(frozen=True)
class InProcess(Trial):
    """Tries a class instead of a program, in a thread for each process."""

    client: type[Client] = Client

    def __post_init__(self) -> None:
        """Nothing needs to be on the PATH."""

    def _execute(self, _words: list[str], environment: dict[str, str], tick: Callable[[], None]) -> Ran:
        lines: list[str] = []
        errors: list[str] = []

        def main() -> None:
            try:
                self.client(environment, lines.append).run()
            except BaseException:  # noqa: BLE001 # what an interpreter makes of it
                errors.append(traceback.format_exc())

        thread = threading.Thread(target=main, daemon=True)
        thread.start()
        deadline = time.monotonic() + self.deadline
        while thread.is_alive() and time.monotonic() < deadline:
            tick()
            thread.join(0.02)
        status = None if thread.is_alive() else len(errors)
        return Ran(status, "\n".join(lines), "".join(errors))


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Let mock and trial wait for less, and set clocks without the library that real programs need."""
    with (
        mock.patch.object(trial, "DELAY", DELAY),
        mock.patch.object(trial, "PATIENT", DEADLINE),
        mock.patch.object(trial, "LATER", LATER),
        mock.patch.object(trial, "REPLY_TIMEOUT", PATIENCE),
        mock.patch.object(trial, "_find_faketime", return_value="none is needed"),
    ):
        yield


def try_in_process(client: type[Client], wanted: Iterable[str] = ()) -> Evidence:
    """Try a client, in all cases or in those named."""
    chosen = set(wanted) or set(cases())
    specs = [spec for spec in cases().values() if spec.id in chosen]
    with hurried():
        return InProcess("", client.__name__, DEADLINE, client=client).run(specs)


# A check that looks at more cases than this is tried in these, and in those that the broken client names.
FEW = 60
COMMON = ("plain", "restart")


def cases_needed_by(check_ids: Iterable[str]) -> set[str]:
    """The cases in which these checks can find something, and the ordinary ones that their controls need."""
    needed = [set(catalogue()[check_id].cases) for check_id in check_ids]
    return set(COMMON).union(*(each for each in needed if len(each) <= FEW))


# Seconds: a machine that lets a thread wait longer than it asked for may have made any client late.
LATE = 0.1


class Pace(threading.Thread):
    """Measures how late a thread is let go on, at worst."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self.worst = 0.0

    def run(self) -> None:
        asked = 0.02
        while not self._ended.is_set():
            before = time.monotonic()
            self._ended.wait(asked)
            self.worst = max(self.worst, time.monotonic() - before - asked)

    def __enter__(self) -> Pace:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self.join()


def in_time(attempt: Callable[[], T], expected: T, most: int = 6) -> T:
    """Return what an attempt gives. What differs from `expected` counts if the machine kept time, twice over."""
    in_vain = 0
    for _again in range(most):
        with Pace() as pace:
            given = attempt()
        in_vain += pace.worst < LATE
        if given == expected or in_vain == 2:
            break
    return given


def judged(evidence: Evidence, check_ids: Iterable[str] = ()) -> list[Result]:
    """What every check finds, or those named."""
    judge = ClientJudge(evidence, catalogue())
    return [judge.judge(check_id) for check_id in check_ids or catalogue()]


def found(results: Iterable[Result]) -> dict[str, str]:
    """The checks that hold something against the client, and what."""
    return {
        result.check.id: f"{result.verdict}: {result.finding.expected} / {result.finding.actual}"
        for result in results
        if result.verdict in ("fail", "warn", "error")
    }
