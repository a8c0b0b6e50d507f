"""Mocks to be killed, and clients that note every acceptance."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mock_server.broker import DEMO
from tn_contract.contract.signing import Credentials
from tn_contract.contract.wire import compose


class Mock:
    """A mock in a process of its own."""

    def __init__(self, pid: int, base_url: str) -> None:
        self.pid, self.base_url = pid, base_url

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.base_url.removeprefix("http://"), timeout=20)

    def cancel(self, *nonces: int, pair: Credentials = DEMO) -> list[str]:
        """Send cancels over one connection: "accepted", "refused", or the mock's own reason."""
        connection = self.connect()
        try:
            return [cancel(connection, nonce, pair) for nonce in nonces]
        finally:
            connection.close()

    def control(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        connection = self.connect()
        try:
            connection.request(method, f"/__tn__/{path}", json.dumps(body) if body else None)
            told: dict[str, Any] = json.loads(connection.getresponse().read())
            return told
        finally:
            connection.close()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def cancel(connection: http.client.HTTPConnection, nonce: int, pair: Credentials = DEMO) -> str:
    request = compose(pair, "delTradeOrder", nonce, {"order_id": 2929292929}).request
    connection.request(request.method, request.path, request.body, dict(request.headers))
    reply = connection.getresponse()
    body = json.loads(reply.read())
    if reply.getheader("X-Tn-Mock") == "harness-error":
        assert reply.status == 599
        return str(body["reason"])
    return "accepted" if "order_id" in body else "refused"


class Nursery:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # so that all of them can be ended at once
        )

    def start(self, **options: object) -> Mock:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(options) + "\n")
        self.process.stdin.flush()
        return Mock(*json.loads(self.process.stdout.readline()))


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    with nursery.process:
        try:
            yield nursery
        finally:
            os.killpg(nursery.process.pid, signal.SIGKILL)


@pytest.fixture(params=["sqlite", "redis"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new place for state that processes can share."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'state.db'}"
    return f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"
