"""`serve --workers`: several processes on one port and one state, which live and die together."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mock_server.broker import DEMO
from tests.durability.conftest import Mock, cancel
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose

pytestmark = pytest.mark.full

PATIENCE = 20
NONCE = 17_953_797_860_021_223
PROGRAM = "from tn_contract.cli.root import main; main()"


class Served(Mock):
    """A mock that `serve --workers` runs, and what its first line told."""

    def __init__(self, process: subprocess.Popen[str], facts: dict[str, Any]) -> None:
        super().__init__(process.pid, facts["base_url"])
        self.process, self.facts = process, facts

    def ended(self) -> tuple[int, str]:
        """Wait until the last process that writes to our pipes is gone: the exit code, and what it said."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def workers(self, count: int) -> list[int]:
        """Every worker's process: those that have answered are halted until all have."""
        pids: list[int] = []
        try:
            for _ in range(count):
                pids.append(self.control("GET", "health")["pid"])
                halt(pids[-1])
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert len({*pids, self.pid}) == count + 1
        return pids


@contextmanager
def alone(pid: int, pids: list[int]) -> Iterator[None]:
    """Let one worker answer, and no other."""
    others = [each for each in pids if each != pid]
    for each in others:
        halt(each)
    try:
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


def halt(pid: int) -> None:
    """Stop a process, and wait until it has: before, it may still accept a connection."""
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + PATIENCE
    while not status(pid).startswith("T"):
        assert time.monotonic() < until


def lives(pid: int) -> bool:
    return status(pid)[:1] not in ("", "Z")


def status(pid: int) -> str:
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()


@contextmanager
def serving(*arguments: object, program: str = PROGRAM) -> Iterator[Served]:
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--json", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TN_")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, env=environment
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, process.communicate(timeout=PATIENCE)[1]
            yield Served(process, json.loads(line))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def refusal(*arguments: object, program: str = PROGRAM, code: int = 4) -> str:
    """What `serve` says that does not start."""
    command = [sys.executable, "-c", program, "serve", "--port", "0", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout) == (code, "")
    return ran.stderr


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'state.db'}"


# ---- what several workers cannot do ------------------------------------------------------------------------


def test_without_a_state_that_they_share_workers_are_refused() -> None:
    told = refusal("--workers", 2)
    assert "would accept the same nonce 2 times: keep the state where they share it, --state sqlite:PATH" in told


def test_one_worker_needs_nothing() -> None:
    with serving("--workers", 1) as mock:
        assert mock.cancel(NONCE) == ["accepted"]
        assert mock.control("GET", "health")["workers"] == 1
        assert "workers" not in mock.facts


@pytest.mark.parametrize("option", ["scenario", "seed"])
def test_what_goes_by_the_order_of_all_requests_is_refused(option: str, place: str) -> None:
    told = refusal("--workers", 2, "--state", place, f"--{option}", 5)
    assert f"--{option} goes by the order of requests" in told
    assert "start the mock with one worker" in told


def test_a_system_that_cannot_fork_is_told(place: str) -> None:
    told = refusal("--workers", 2, "--state", place, program=f"import os; del os.fork; {PROGRAM}")
    assert told == "tn-contract: this system cannot fork processes: start the mock with one worker\n"


def test_a_state_that_cannot_be_used_is_told_once_and_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("somebody else's")
    told = refusal("--workers", 3, "--state", f"sqlite:{tmp_path / 'other'}")
    assert told.count("\n") == 1
    assert "is no state file of this program" in told


def test_a_ready_file_that_cannot_be_written_leaves_no_worker_behind(place: str, tmp_path: Path) -> None:
    told = refusal("--workers", 2, "--state", place, "--ready-file", tmp_path / "no" / "folder")
    assert "name a file in a folder that exists" in told


def test_a_port_in_use_is_told(place: str) -> None:
    with serving("--workers", 2, "--state", place) as mock:
        port = mock.base_url.rpartition(":")[2]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal("--workers", 2, "--state", place, "--port", port)


# ---- one port, one state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4])
def test_one_request_sent_sixty_times_is_accepted_once(count: int, state_url: str) -> None:
    with serving("--workers", count, "--state", state_url) as mock, ThreadPoolExecutor(12) as pool:
        assert mock.facts["workers"] == count
        mock.workers(count)
        for nonce in (NONCE, NONCE + 1):
            outcomes = Counter(outcome for [outcome] in pool.map(lambda _, nonce=nonce: mock.cancel(nonce), range(60)))
            assert outcomes == {"accepted": 1, "refused": 59}


def test_what_one_worker_did_the_others_know(state_url: str) -> None:
    with serving("--workers", 3, "--state", state_url) as mock:
        one, two, three = pids = mock.workers(3)
        with alone(one, pids):
            opened = mock.control("POST", "sessions", {"api_key": "mine", "api_secret": "hidden"})
            pair = Credentials(opened["api_key"], Secret(opened["api_secret"]))
            assert mock.cancel(NONCE, pair=pair) == ["accepted"]
        with alone(two, pids):
            assert mock.control("GET", "health")["pid"] == two
            assert mock.cancel(NONCE, pair=pair) == ["refused"]
            assert mock.control("GET", "sessions/mine") == {"api_key": "mine", "last_nonce": str(NONCE)}
            assert mock.control("DELETE", "sessions/mine") == {"closed": "mine"}
        with alone(one, pids):
            assert mock.cancel(NONCE + 1, pair=pair) == ["refused"]
            mock.control("POST", "sessions", {"api_key": "mine", "api_secret": "another"})
        with alone(three, pids):
            assert mock.cancel(NONCE, pair=Credentials("mine", Secret("another"))) == ["accepted"]
            assert mock.cancel(NONCE) == ["accepted"]
            assert mock.control("POST", "reset") == {"sessions": [DEMO.api_key]}
        with alone(one, pids):
            assert mock.cancel(NONCE, pair=Credentials("mine", Secret("another"))) == ["refused"]
            assert mock.cancel(NONCE) == ["accepted"]
        with alone(three, pids):
            assert mock.cancel(NONCE) == ["refused"]


def test_an_order_placed_with_one_worker_is_cancelled_and_listed_with_others(place: str) -> None:
    order = {
        "instr_name": "AAPL.US", "action_id": 1, "order_type_id": 2, "qty": 10, "limit_price": 5, "expiration_id": 3
    }  # fmt: skip

    def ask(command: str, nonce: int, params: dict[str, Any]) -> dict[str, Any]:
        request = compose(DEMO, command, nonce, params).request
        with closing(mock.connect()) as connection:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            told: dict[str, Any] = json.loads(connection.getresponse().read())
            return told

    with serving("--workers", 2, "--state", place, "--orders", "book", "--cancel-seconds", 1000) as mock:
        one, two = pids = mock.workers(2)
        with alone(one, pids):
            first = ask("putTradeOrder", NONCE, order)["order_id"]
        with alone(two, pids):
            second = ask("putTradeOrder", NONCE + 1, order)["order_id"]
            assert ask("delTradeOrder", NONCE + 2, {"order_id": first}) == {"order_id": first}
        with alone(one, pids):
            assert "error" in ask("delTradeOrder", NONCE + 3, {"order_id": first})
            mock.control("POST", f"sessions/{DEMO.api_key}/clock", {"advance": 2000})  # type: ignore[dict-item]
        with alone(two, pids):
            listed = mock.control("GET", f"sessions/{DEMO.api_key}/orders")["orders"]
        assert [(each["order_id"], each["stat"]) for each in listed] == [(str(first), 31), (str(second), 10)]


OF_ONE_PROCESS = [
    ("GET", "sessions/tn-demo-key/journal"),
    ("GET", "sessions/tn-demo-key/journal.jsonl"),
    ("GET", "sessions/tn-demo-key/verdicts"),
    ("POST", "sessions/tn-demo-key/reports"),
    ("GET", "sessions/tn-demo-key/scenario"),
    ("PUT", "sessions/tn-demo-key/scenario"),
    ("GET", "scenario"),
    ("PUT", "scenario"),
    ("DELETE", "scenario"),
    ("GET", "unmatched"),
    ("GET", "metrics"),
]


def test_no_part_is_told_as_the_whole(place: str) -> None:
    with serving("--workers", 2, "--state", place) as mock:
        for method, address in OF_ONE_PROCESS:
            told = mock.control(method, address)
            assert told["tn_mock"] == "harness-error", address
            assert "each of the 2 workers keeps this for itself" in told["reason"]
            assert "start the mock with one worker" in told["hint"]
        health = mock.control("GET", "health")
        assert health["workers"] == 2
        for line in health["control"]:
            methods, _, path = line.partition(" ")
            for method in methods.split("|"):
                address = path.removeprefix("/__tn__/").replace("<api_key>", DEMO.api_key)
                assert (method, address) not in OF_ONE_PROCESS
        assert mock.control("GET", "ready") == {"ready": True, "sessions": 1}
        assert mock.control("GET", "sessions") == {"sessions": [{"api_key": DEMO.api_key, "last_nonce": None}]}


def test_each_worker_writes_a_journal_and_whole_lines_of_the_access_log(place: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with serving("--workers", 2, "--state", place, "--journal", journal, "--access-log") as mock:
        one, two = pids = mock.workers(2)
        with alone(one, pids):
            assert mock.cancel(NONCE) == ["accepted"]
        with alone(two, pids):
            assert mock.cancel(NONCE) == ["refused"]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: mock.cancel(*range(number, number + 20)), range(1, 161, 20)))
        mock.process.send_signal(signal.SIGTERM)
        code, logged = mock.ended()
    assert code == 0
    assert [json.loads(line)["status"] for line in logged.splitlines()] == [200] * 162
    files = [tmp_path / f"journal-{number}.jsonl" for number in (1, 2)]
    written = [[json.loads(line)["exchange"] for line in file.read_text("utf-8").splitlines()] for file in files]
    assert sorted(tmp_path.glob("journal*")) == files
    assert sum(map(len, written)) == 162
    assert sorted(exchanges[0]["assessment"]["situation"] for exchanges in written) == [
        "cancel-accepted",
        "nonce-replayed",
    ]


def test_a_mock_of_several_workers_keeps_the_contract(place: str) -> None:
    with serving("--workers", 2, "--state", place) as mock:
        verify = [sys.executable, "-m", "tn_contract.cli", "verify", mock.base_url]
        ran = subprocess.run(verify, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


def test_workers_share_the_certificate_and_the_tunnel(place: str) -> None:
    pytest.importorskip("trustme")
    with serving("--workers", 2, "--state", place, "--tls", "tradernet.example") as mock:
        ca_file = Path(mock.facts["ca_file"])
        trust = ssl.create_default_context(cafile=str(ca_file))
        host, port = mock.base_url.removeprefix("https://").split(":")
        proxy = mock.facts["environment"]["HTTPS_PROXY"].removeprefix("http://").split(":")
        pids = []
        for tunnelled in (False, True, False, True):
            there = (proxy[0], int(proxy[1])) if tunnelled else (host, int(port))
            with closing(http.client.HTTPSConnection(*there, timeout=PATIENCE, context=trust)) as connection:
                if tunnelled:
                    connection.set_tunnel("tradernet.example", 443)
                connection.request("GET", "/__tn__/health")
                pids.append(json.loads(connection.getresponse().read())["pid"])
            if pids.count(pids[-1]) == 2 and len(set(pids)) == 1:  # it has answered both ways: now the other one
                halt(pids[-1])
        os.kill(pids[0], signal.SIGCONT)
        mock.process.send_signal(signal.SIGTERM)
        assert mock.ended() == (0, "")
        assert len(set(pids)) == 2
        assert not ca_file.exists()


# ---- together to the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
@pytest.mark.parametrize("to", ["the parent", "all, as a terminal does"])
def test_a_signal_lets_the_requests_under_way_be_answered(how: signal.Signals, to: str, place: str) -> None:
    late = next(order.order_id for order in load_corpus().magic_orders.values() if order.fault == "delay")
    # A busy machine may take more than the second that they have.
    patient = "from mock_server import faults, server; faults.DELAY_SECONDS, server.STOP_SECONDS = 0.6, 5"
    with serving("--workers", 2, "--state", place, program=f"{patient}; {PROGRAM}") as mock:
        pids = mock.workers(2)
        connections = []
        for pid in pids:
            with alone(pid, pids):
                opened = mock.control("POST", "sessions")
                pair = Credentials(opened["api_key"], Secret(opened["api_secret"]))
                request = compose(pair, "delTradeOrder", NONCE + 1, {"order_id": int(late)}).request
                connection = mock.connect()
                assert cancel(connection, NONCE, pair) == "accepted"
                connection.request(request.method, request.path, request.body, dict(request.headers))
                connections.append(connection)
        time.sleep(0.1)
        (os.kill if to == "the parent" else os.killpg)(mock.pid, how)
        for connection in connections:
            assert json.loads(connection.getresponse().read()) == {"order_id": int(late)}
            connection.close()
        assert mock.ended() == (0, "")
        assert not any(map(lives, pids))
        with pytest.raises(ConnectionRefusedError):
            mock.control("GET", "health")


def test_a_worker_that_is_killed_ends_all_with_a_sentence(place: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with serving("--workers", 3, "--state", place, "--ready-file", ready) as mock:
        pids = mock.workers(3)
        assert ready.exists()
        assert mock.cancel(NONCE) == ["accepted"]
        os.kill(pids[1], signal.SIGKILL)
        code, told = mock.ended()
        assert code == 3
        assert f"(process {pids[1]}) was ended by SIGKILL, so all workers were stopped: start the mock again" in told
        assert told.count("\n") == 1
        assert not any(map(lives, pids))
        assert not ready.exists()
    with serving("--workers", 2, "--state", place) as mock:
        assert mock.cancel(NONCE, NONCE + 1) == ["refused", "accepted"]


def test_a_worker_that_ends_before_it_is_ready_is_told(place: str) -> None:
    program = f"import mock_server.serve as s, os; s.Broker = lambda **options: os._exit(9); {PROGRAM}"
    told = refusal("--workers", 2, "--state", place, program=program, code=3)
    assert "worker 1 (process " in told
    assert "ended with exit code 9, so all workers were stopped" in told


def test_a_worker_that_ends_of_its_own_is_told(place: str) -> None:
    ends = "s.run_until_stopped = lambda mock, ready: (ready(), os._exit(9))"
    program = f"import mock_server.serve as s, os; {ends}; {PROGRAM}"
    with serving("--workers", 2, "--state", place, program=program) as mock:
        code, told = mock.ended()
    assert code == 3
    assert "ended with exit code 9, so all workers were stopped" in told


def test_no_worker_outlives_a_parent_that_is_killed(place: str) -> None:
    with serving("--workers", 4, "--state", place) as mock:
        pids = mock.workers(4)
        os.kill(mock.pid, signal.SIGKILL)
        assert mock.ended() == (-signal.SIGKILL, "")
        until = time.monotonic() + PATIENCE
        while any(map(lives, pids)):
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            mock.control("GET", "health")


def test_a_worker_that_does_not_stop_is_killed_and_told(place: str) -> None:
    program = f"import mock_server.workers as w; w.STOP_SECONDS = 0.5; {PROGRAM}"
    with serving("--workers", 2, "--state", place, program=program) as mock:
        pids = mock.workers(2)
        halt(pids[0])
        mock.process.send_signal(signal.SIGTERM)
        code, told = mock.ended()
        assert code == 3
        assert f"(process {pids[0]}) had not stopped after 0.5 s and had to be killed" in told
        assert not any(map(lives, pids))


def test_what_was_accepted_before_a_stop_in_a_storm_is_refused_after_it(place: str) -> None:
    accepted: list[int] = []

    def storm(first: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            for nonce in range(first, first + 10_000_000, 8):
                accepted.extend([nonce] * mock.cancel(nonce).count("accepted"))

    with serving("--workers", 2, "--state", place) as mock:
        threads = [threading.Thread(target=storm, args=(NONCE + offset,)) for offset in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        mock.process.send_signal(signal.SIGTERM)
        assert mock.ended() == (0, "")
        for thread in threads:
            thread.join(PATIENCE)
    assert len(accepted) == len(set(accepted)) > 0
    with serving("--workers", 2, "--state", place) as mock:
        assert set(mock.cancel(*accepted)) == {"refused"}
