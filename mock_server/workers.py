"""Several processes on the same sockets: this one forks them, watches over them, and answers nothing itself.

They live and die together. Whoever supervises the mock starts it again; nothing here does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from mock_server.signals import stop_signals
from tn_contract.contract.errors import TnContractError, UsageError, WorkerLost

STOP_SECONDS = 10.0  # longer than a request may take that is under way, state and all

T = TypeVar("T")
Work = Callable[[int, Callable[[T], object]], object]


class SharedSocket(socket.socket):
    """A listening socket that a loop takes one connection from at a time.

    By default it takes all that wait, and leaves the other workers none.
    """

    _sated = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept every other time; say between that nobody waits."""
        if self._sated:
            self._sated = False
            raise BlockingIOError
        accepted = super().accept()
        self._sated = True
        return accepted


def run(count: int, work: Work[T], announce: Callable[[T], object]) -> None:
    """Run `work(number, ready)` in each of `count` processes until one of `stop_signals`, which is passed on to them.

    Each calls `ready` when it can answer; when all have, `announce` is given what the first one told. If this process
    is killed, they stop as by a signal.

    Raises what a worker raised before it was ready, `UsageError` where a process cannot be forked, and `WorkerLost`
    when a worker ends by itself; the others are stopped before.
    """
    if not hasattr(os, "fork"):
        raise UsageError("this system cannot fork processes: start the mock with one worker")
    context = get_context("fork")
    life, held = context.Pipe(duplex=False)  # only this process holds `held`: the kernel closes it, whatever happens
    workers: list[BaseProcess] = []
    lines: list[Connection] = []
    stopping, signals = False, stop_signals()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for worker in workers:
            worker.terminate()

    try:
        for number in range(1, count + 1):
            line, told = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(number, work, told, life, held), name=f"worker {number}")
            worker.start()
            told.close()
            workers.append(worker)
            lines.append(line)
        first, *_ = [_heard(worker, line) for worker, line in zip(workers, lines, strict=True)]
        for name in signals:  # only now: before, the death of this process ends the others
            signal.signal(name, stop)
        announce(first)
        ended = wait([worker.sentinel for worker in workers])
        lost = None if stopping else next(worker for worker in workers if worker.sentinel in ended)
    finally:
        stuck = _end(workers)
    for name in signals:  # one that comes now does not change how the process ends
        signal.signal(name, signal.SIG_IGN)
    if lost:
        raise _lost(lost)
    if stuck:
        names = ", ".join(f"{worker.name} (process {worker.pid})" for worker in stuck)
        raise WorkerLost(f"{names} had not stopped after {STOP_SECONDS:g} s and had to be killed")


def _work(number: int, work: Work[Any], told: Connection, life: Connection, held: Connection) -> None:
    for name in stop_signals()[1:]:  # a terminal sends them to all: let the parent tell what they mean
        signal.signal(name, signal.SIG_IGN)
    held.close()
    threading.Thread(target=_follow, args=(life,), daemon=True).start()
    try:
        work(number, told.send)
    except TnContractError as error:
        told.send(error)


def _follow(life: Connection) -> None:
    life.poll(None)  # nobody writes: this ends with the parent
    os.kill(os.getpid(), signal.SIGTERM)


def _heard(worker: BaseProcess, line: Connection) -> Any:
    try:
        told = line.recv()
    except EOFError:
        raise _lost(worker) from None
    if isinstance(told, TnContractError):
        raise told
    return told


def _end(workers: list[BaseProcess]) -> list[BaseProcess]:
    """Stop all, and return those that had to be killed."""
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + STOP_SECONDS
    for worker in workers:
        worker.join(max(0, until - time.monotonic()))
    stuck = [worker for worker in workers if worker.exitcode is None]
    for worker in stuck:
        worker.kill()
        worker.join()
    return stuck


def _lost(worker: BaseProcess) -> WorkerLost:
    worker.join()
    code = worker.exitcode or 0
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return WorkerLost(
        f"{worker.name} (process {worker.pid}) {how}, so all workers were stopped: start the mock again; "
        "what the worker said of it, if anything, stands above"
    )
