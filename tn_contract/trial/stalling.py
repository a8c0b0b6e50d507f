"""Servers that stall before HTTP begins: a connection that is never made, a handshake that is never answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

# A connection to this machine that is not made in this many seconds is not made.
PROBE_SECONDS = 0.2
_MOST = 64  # connections that fill a queue, which is one or two long
_HANDSHAKE = b"\x16"  # what the first record of TLS begins with


@dataclass(frozen=True)
class Stalling:
    """A port whose owner takes no connection from its queue. `works` says if it stalls as was asked."""

    listening: socket.socket
    works: bool = True

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.listening.getsockname()[1]}"

    @property
    def heard(self) -> bool:
        """Whether a client began TLS, or asked a proxy to lead it to a server."""
        self.listening.setblocking(False)
        while True:
            try:
                connection = self.listening.accept()[0]
            except BlockingIOError:
                return False
            with connection:
                connection.settimeout(PROBE_SECONDS)
                try:
                    begun = connection.recv(8)
                except OSError:
                    continue
                if begun.startswith((_HANDSHAKE, b"CONNECT ")):
                    return True


@contextmanager
def stalling(phase: Literal["", "connect", "handshake"]) -> Iterator[Stalling]:
    """Bind a port that stalls in a phase, until the block ends; without one it refuses."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        if not phase:
            yield Stalling(listening)
            return
        listening.listen(0 if phase == "connect" else 128)
        yield Stalling(listening, phase != "connect" or _filled(listening, opened))


def _filled(listening: socket.socket, opened: ExitStack) -> bool:
    """Fill the queue until a connection is not made any more, or say that this system has no such end."""
    for _ in range(_MOST):
        filler = opened.enter_context(socket.socket())
        filler.settimeout(PROBE_SECONDS)
        try:
            filler.connect(listening.getsockname())
        except TimeoutError:
            return True
        except OSError:
            return False
    return False
