"""docs/orders.md says what the corpus says, and its shell example runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mock_server.book.book import ORDERS_KEPT
from mock_server.broker import Broker
from mock_server.serve import running
from tn_contract.client.client import Client
from tn_contract.contract.corpus import load_corpus

PAGE = (Path(__file__).parent.parent.parent / "docs/orders.md").read_text("utf-8")
CORPUS = load_corpus()


def test_the_table_of_statuses_is_the_corpus() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| (yes|no) \|", PAGE, re.MULTILINE)
    assert rows == [
        (str(status.status), status.meaning, "yes" if status.ended else "no") for status in CORPUS.statuses.values()
    ]


def test_the_table_of_situations_is_the_corpus() -> None:
    rows = re.findall(r"^\| `(book-[a-z-]+)` \| ([^|]+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == [name for name in CORPUS.situations if name.startswith("book-")]
    for name, payloads, provenance in rows:
        situation = CORPUS.situations[name]
        assert re.findall("`([a-z-]+)`", payloads) == [situation.payload, *situation.also]
        assert provenance.split(", ") == [
            CORPUS.payloads[each].provenance for each in (situation.payload, *situation.also)
        ]


def test_the_page_says_how_many_orders_are_kept() -> None:
    assert f"A session keeps {ORDERS_KEPT:,} orders." in PAGE


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_shell_example_shows_a_whole_life() -> None:
    before, after = next(re.finditer(r"```sh\n(orders=.*?)# … [^\n]*\n(.*?)```", PAGE, re.DOTALL)).groups()
    with running(Broker(orders="book")) as mock:

        def run(script: str) -> str:
            address = before.splitlines()[0]
            script = f"{address}\n{script}".replace("http://127.0.0.1:8787", mock.base_url)
            return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=20).stdout

        assert '"stat":10' in run(before)
        with Client("tn-demo-key", "tn-demo-secret", base_url=mock.base_url) as client:
            client.cancel_order(2929292929)
        assert '"stat":75' in run(after)
