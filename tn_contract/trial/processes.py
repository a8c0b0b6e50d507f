"""Ends what a client's program leaves behind: its process group, and what left that group (`setsid`, daemons).

Children inherit the session and the environment of the program, so three traces lead to them:

- the session, unless they began one of their own;
- a variable of their environment, unless they cleared it;
- their parent: on Linux this process adopts what loses its parent while a trial runs (`PR_SET_CHILD_SUBREAPER`).
  Adopted processes name no program, so they are ended when no trial runs any more.

All three need `/proc`; where there is none, the group alone is ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROC = Path("/proc")
_TRIES = 10
_PAUSE = 0.05
_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37

_lock = threading.Lock()
_trials = 0
_children: frozenset[str] = frozenset()  # of this process, before the first of the trials that run now
_was_subreaper = False


def running() -> frozenset[str]:
    """The processes that run now: those need not be looked at again."""
    return frozenset(path.name for path in _PROC.glob("[0-9]*"))


def end_left(session: int, marker: str, but: frozenset[str] = frozenset()) -> None:
    """Kill every process of a session, or whose environment holds `NAME=value`, except those that ran before."""
    if marker.partition("=")[2]:
        _end_all(lambda pid: _in_session(pid, session) or _is_marked(pid, marker.encode()), but)


@contextmanager
def adopting() -> Iterator[None]:
    """Adopt what loses its parent meanwhile; end what was adopted when the last of the trials of this process ends."""
    global _trials, _children, _was_subreaper  # a process has one list of children
    with _lock:
        if not _trials:
            _children = frozenset(filter(_is_child, running()))
            _was_subreaper = _be_subreaper()
        _trials += 1
    try:
        yield
    finally:
        with _lock:
            _trials -= 1
            if not _trials:
                _end_all(_is_adopted, _children)
                _be_subreaper(_was_subreaper)


def _be_subreaper(wanted: bool = True) -> bool:
    """Set whether this process adopts, and return whether it did so before."""
    before = ctypes.c_int()
    with suppress(AttributeError, OSError):  # only Linux has it
        prctl = ctypes.CDLL(None).prctl
        prctl(_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
        prctl(_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
    return bool(before.value)


def _end_all(wanted: Callable[[str], bool], but: frozenset[str]) -> None:
    for _again in range(_TRIES):  # because one may start another meanwhile
        found = [pid for pid in running() - but if wanted(pid)]
        if not found:
            return
        for pid in found:
            _kill(int(pid), wanted)
        time.sleep(_PAUSE)
        for pid in filter(_is_adopted, found):
            with suppress(OSError):
                os.waitpid(int(pid), os.WNOHANG)


def _is_child(pid: str) -> bool:
    try:
        return int((_PROC / pid / "stat").read_text("latin-1").rpartition(")")[2].split()[1]) == os.getpid()
    except OSError:
        return False


def _is_adopted(pid: str) -> bool:
    """Whether a child of this process is in another session: the kit's programs are, and what they left behind."""
    return _is_child(pid) and not _in_session(pid, os.getsid(0))


def _in_session(pid: str, session: int) -> bool:
    try:
        return os.getsid(int(pid)) == session
    except OSError:
        return False


def _is_marked(pid: str, marker: bytes) -> bool:
    try:
        return int(pid) != os.getpid() and marker in (_PROC / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _kill(pid: int, wanted: Callable[[str], bool]) -> None:
    with suppress(OSError):
        handle = os.pidfd_open(pid)  # so that no other process of the same number is hit
        try:
            if wanted(str(pid)):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
