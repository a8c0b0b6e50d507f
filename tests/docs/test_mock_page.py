"""docs/mock.md: every address of the control plane that it lists exists, and its shell examples run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import httpx
import pytest

from mock_server.broker import Broker
from mock_server.serve import running
from tests.docs.pages import blocks, read
from tn_contract.judge.client import live_verdicts

ROWS = re.findall(r"^\| (`[A-Z].*?/__tn__/.*?) \| ", read("docs/mock.md"), re.MULTILINE)
BODIES = {"scenario": {"rule": []}, "orders": {}}


def _calls() -> list[tuple[str, str]]:
    """Return method and path of each call in the table, without those that a row shortens with an ellipsis."""
    found = []
    for row in ROWS:
        methods = re.findall(r"\b(GET|POST|PUT|PATCH|DELETE)\b", row.partition("/__tn__")[0])
        [path] = re.findall(r"(/__tn__/[^`…]*)", row)
        found += [(method, path) for method in methods if method != "PATCH"]
    return found


@pytest.mark.parametrize(("method", "path"), _calls())
def test_every_address_in_the_table_exists(method: str, path: str) -> None:
    with running(Broker(orders="book")) as mock, httpx.Client(base_url=mock.base_url) as client:
        body = BODIES.get(path.rpartition("/")[2])
        if method == "GET" or body is None:
            reply = client.request(method, path.replace("<api_key>", "tn-demo-key"))
        else:
            reply = client.request(method, path.replace("<api_key>", "tn-demo-key"), json=body)
    assert reply.status_code not in (404, 405, 599), reply.text


def test_the_table_lists_the_control_plane() -> None:
    assert len(_calls()) >= 15


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("page", ["docs/mock.md", "docs/signing.md", "docs/judge.md"])
def test_the_curl_examples_return_json(page: str) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("curl ")]
    assert lines
    with running(Broker(), judge=live_verdicts) as mock:
        for line in lines:
            script = line.replace("http://127.0.0.1:8787", mock.base_url)
            ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=20)
            assert "tn_mock" not in json.loads(ran.stdout), ran.stdout
