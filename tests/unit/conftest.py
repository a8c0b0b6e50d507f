"""A server that says anything at all, for tests of what a client makes of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest


class RawServer:
    """Notes each request and answers it with `reply`, byte for byte; then it closes the connection."""

    def __init__(self) -> None:
        self.reply = b""
        self.received: list[bytes] = []
        self.arrived = threading.Event()
        self.silent_until = threading.Event()
        self.silent_until.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def base_url(self) -> str:
        return f"http://{self.address}"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._closing:
                    return
                try:
                    self._answer(connection)
                except OSError:
                    continue  # the client went away, which is its right

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        received = b""
        while part := connection.recv(65536):
            received += part
            head, end, body = received.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if end and len(body) >= int(lengths[0].partition(b":")[2] if lengths else 0):
                break
        if received:
            self.received.append(received)
            self.arrived.set()
            self.silent_until.wait(20)
            connection.sendall(self.reply)

    def close(self) -> None:
        self._closing = True
        self.silent_until.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()
