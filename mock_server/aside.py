"""Work that must not hold up the loop: done soon by one thread, in its order, and only so much of it is taken on."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from tn_contract.contract.errors import JournalUnavailable

SIZE = 256  # pieces of work that may wait
STOP_SECONDS = 5.0

_log = logging.getLogger("mock_server")


class Aside:
    """Does what it is given; its thread begins with the first piece of work."""

    def __init__(self, size: int = SIZE) -> None:
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(size)
        self._thread: threading.Thread | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Have something done. Raises `JournalUnavailable` when too much waits already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tn-mock-aside", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            limit = self._waiting.maxsize
            reason = f"{limit} unmatched requests wait to be written to the journal, and this one was left out"
            raise JournalUnavailable(reason) from None

    def _run(self) -> None:
        while work := self._waiting.get():
            try:
                work()
            except Exception as error:  # noqa: BLE001 # the thread has to go on; a secret may stand in the message
                _log.error("an unmatched request could not be recorded: %s", type(error).__name__)

    def close(self) -> None:
        """Finish what was taken on, for up to `STOP_SECONDS`."""
        if self._thread:
            with suppress(queue.Full):
                self._waiting.put(None, timeout=STOP_SECONDS)
            self._thread.join(STOP_SECONDS)
