"""Ten thousand cancels of one key from eight processes: not one nonce is refused."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from mock_server.broker import DEMO
from tests.durability.conftest import Nursery

pytestmark = pytest.mark.full

PROCESSES = 8
CANCELS = 1_250

CANCEL = """
import sys
from tn_contract import Client, NonceSource
from tn_contract.client.nonce_redis import RedisNonces
base_url, key, secret, place, count = sys.argv[1:]
source = NonceSource(store=RedisNonces(place, key)) if "://" in place else NonceSource(place)
with Client(key, secret, base_url=base_url, nonces=source) as client:
    for number in range(1, int(count) + 1):
        assert client.cancel_order(number).order_id == number
"""


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_processes_that_share_a_key_have_no_nonce_refused(
    kind: str, nursery: Nursery, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = str(tmp_path / "nonces")
    if kind == "redis":
        place = f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"
    mock = nursery.start()
    command = [sys.executable, "-c", CANCEL, mock.base_url, DEMO.api_key, DEMO.secret.reveal(), place, str(CANCELS)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) for _ in range(PROCESSES)
        ]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            _, told = process.communicate(timeout=400)
            assert process.returncode == 0, told
    assert mock.control("GET", f"sessions/{DEMO.api_key}")["exchanges"] == 1000  # as many as a journal keeps
    exchanges = mock.control("GET", f"sessions/{DEMO.api_key}/journal")["exchanges"]
    assert exchanges[-1]["seq"] == PROCESSES * CANCELS
    assert {exchange["assessment"]["situation"] for exchange in exchanges} == {"cancel-accepted"}
