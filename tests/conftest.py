"""For every test: hypothesis profiles, Ctrl-C for the programs under test, and a Redis."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# `pytest --hypothesis-profile=NAME` chooses one. In CI the examples are the same in each run.
_PARENT = settings.get_profile("ci" if os.environ.get("CI") else "default")
for _name, _examples in {"quick": 10, "default": 50, "thorough": 200}.items():
    settings.register_profile(f"tn-{_name}", parent=_PARENT, max_examples=_examples, deadline=None)
settings.load_profile("tn-default")

# A job started in the background ignores interrupts, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


class RedisServer:
    """Debian's redis-server in a folder of its own, that can be killed and started again on its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        quiet = ["--save", "", "--loglevel", "warning", "--logfile", str(self.folder / "log")]
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen([*command, *quiet, *options], stdin=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while self.ask(b"PING")[:5] not in (b"+PONG", b"-NOAU"):
            assert time.monotonic() < until, "redis-server does not start"
            time.sleep(0.01)

    def ask(self, line: bytes) -> bytes:
        """Send an inline command; b"" when nobody answers."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
                client.sendall(line + b"\r\n")
                return client.recv(65536)
            except OSError:
                return b""

    def kill(self) -> None:
        """End it as a power failure would, but for what the kernel has in its hands."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def _redis_server() -> Iterator[RedisServer]:
    if not shutil.which("redis-server") and not os.environ.get("CI"):
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="tn-redis-") as folder:  # short, for a socket's path has 108 bytes
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis that is not started yet."""
    with _redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a running Redis that tests share."""
    with _redis_server() as server:
        server.start()
        yield server.url
