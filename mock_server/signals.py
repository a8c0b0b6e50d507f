"""Which signals a process stops at."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that a process stops at: a closed terminal's, too, unless it was started to outlive that."""
    usual = (signal.SIGTERM, signal.SIGINT)
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return usual
    return (*usual, signal.SIGHUP)
