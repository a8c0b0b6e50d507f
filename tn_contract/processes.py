"""Ends what a client's program leaves behind: its process group, and what left that group (`setsid`, daemons).

Those are found by a variable of their environment, which children inherit. That works where there is `/proc`; elsewhere
the group alone is ended.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_TRIES = 10
_PAUSE = 0.05


def running() -> frozenset[str]:
    """The processes that run now: those need not be looked at again."""
    return frozenset(path.name for path in _PROC.glob("[0-9]*"))


def end_marked(marker: str, but: frozenset[str] = frozenset()) -> None:
    """Kill every process whose environment holds `NAME=value`, except those that ran before."""
    if not marker.partition("=")[2]:
        return
    for _again in range(_TRIES):  # for one may start another meanwhile
        found = [pid for pid in running() - but if _is_marked(pid, marker.encode())]
        if not found:
            return
        for pid in found:
            _kill(int(pid), marker.encode())
        time.sleep(_PAUSE)


def _is_marked(pid: str, marker: bytes) -> bool:
    try:
        return int(pid) != os.getpid() and marker in (_PROC / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _kill(pid: int, marker: bytes) -> None:
    with suppress(OSError):
        handle = os.pidfd_open(pid)  # so that no other process of the same number is hit
        try:
            if _is_marked(str(pid), marker):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
