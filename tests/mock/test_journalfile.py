"""The journal on disk: whole lines at any time, older files kept, no secret, and no acceptance without a record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mock_server.answering import answered
from mock_server.app import create_app
from mock_server.broker import Broker
from mock_server.journalfile import JournalFile
from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import FORM_TYPE, Request, compose

Opened = Callable[..., JournalFile]
NONCE = 17_953_797_860_021_223


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def cancel(broker: Broker, nonce: int, key: str = "tn-demo-key") -> None:
    session = broker.session(key)
    assert session is not None
    broker.handle(compose(session.credentials, "delTradeOrder", nonce, {"order_id": 7}).request)


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as journals:

        def open_journal(*arguments: Any, **options: Any) -> JournalFile:
            journal = JournalFile(*arguments, **options)
            journals.callback(journal.close)
            return journal

        yield open_journal


def test_every_exchange_is_there_when_its_reply_is(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    broker = Broker(sink=opened(path).write)
    for number in range(3):
        cancel(broker, NONCE + number)
        assert len(lines(path)) == number + 1
    broker.handle(Request("GET", "/"))
    written = lines(path)
    assert {line["line"] for line in written} == {"exchange"}
    exchanges = [line["exchange"] for line in written]
    assert [(each["session"], each["seq"]) for each in exchanges] == [  # type: ignore[index]
        ("tn-demo-key", 1), ("tn-demo-key", 2), ("tn-demo-key", 3), ("", 1)
    ]  # fmt: skip


def test_a_full_file_gives_way_to_a_new_one_and_the_oldest_goes(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    journal = opened(path, max_bytes=4000, kept=2)
    broker = Broker(sink=journal.write)
    for number in range(20):
        cancel(broker, NONCE + number)
    files = [path, path.with_suffix(".jsonl.1"), path.with_suffix(".jsonl.2")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    kept = [line["exchange"]["seq"] for file in reversed(files) for line in lines(file)]  # type: ignore[index]
    assert kept == list(range(kept[0], 21))
    assert all(file.stat().st_size <= 4000 for file in files)


def test_a_file_of_an_earlier_run_is_continued(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(2):
        journal = opened(path)
        cancel(Broker(sink=journal.write), NONCE + number)
        journal.close()
    assert len(lines(path)) == 2


def test_no_secret_is_written(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    broker = Broker(sink=opened(path).write)
    broker.open_session("public", "planted-secret")
    cancel(broker, NONCE, "public")
    signed = b"apiKey=public&cmd=delTradeOrder&secret=planted-secret"
    headers = (("Content-Type", "application/x-www-form-urlencoded"), ("X-Secret", "planted-secret"))
    broker.handle(Request("POST", "/api/v2/cmd/planted-secret", headers, signed, "s=planted-secret"))
    broker.handle(Request("POST", "/elsewhere", headers, b"planted-secret"))
    assert "planted-secret" not in path.read_text("utf-8")
    assert len(lines(path)) == 3


def test_no_secret_of_a_session_that_another_process_opened_is_written(tmp_path: Path, opened: Opened) -> None:
    path, state = tmp_path / "journal.jsonl", f"sqlite:{tmp_path / 'state.db'}"
    other, broker = Broker(state=state), Broker(state=state, sink=opened(path).write)
    other.open_session("public", "planted-secret")
    swapped = b"apiKey=planted-secret&cmd=delTradeOrder"
    broker.handle(Request("POST", "/api/v2/cmd/delTradeOrder", (("Content-Type", FORM_TYPE),), swapped))
    other.state.shut()
    broker.state.shut()
    assert "planted-secret" not in path.read_text("utf-8")


def test_threads_write_whole_lines(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    broker = Broker(sink=opened(path, max_bytes=50_000, kept=100).write)
    keys = [broker.open_session().credentials.api_key for _ in range(8)]
    threads = [
        threading.Thread(target=lambda key=key: [cancel(broker, NONCE + n, key) for n in range(50)]) for key in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(lines(file)) for file in tmp_path.iterdir()) == 8 * 50


def test_what_cannot_be_recorded_is_told_to_the_client_and_to_who_asks_if_the_mock_is_ready(opened: Opened) -> None:
    broker = Broker(sink=opened(Path("/dev/full")).write)
    request = compose(Broker.demo, "delTradeOrder", NONCE, {"order_id": 7}).request
    reply = answered(broker, request).reply
    told = json.loads(reply.body)
    assert reply.status == 599
    assert told["reason"] == "the journal /dev/full cannot be written (No space left on device)"
    assert told["hint"].startswith("it was carried out all the same")
    assert broker.counts["v2", "journal-unavailable"] == 1
    ready = create_app(broker).test_client().get("/__tn__/ready")
    assert ready.status_code == 503
    assert "No space left on device" in ready.text


def test_after_half_a_line_a_new_one_begins(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"line": "exch', "utf-8")
    cancel(Broker(sink=opened(path).write), NONCE)
    broken, whole = path.read_text("utf-8").splitlines()
    assert broken == '{"line": "exch'
    assert json.loads(whole)["exchange"]["seq"] == 1


def test_a_file_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        JournalFile(tmp_path / "no" / "folder" / "journal.jsonl")
