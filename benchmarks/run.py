"""Speed, side by side in one run, as ratios; writes docs/speed.md.

    python benchmarks/run.py [--quick]

Each pair is measured in turns (A B A B …) and compared turn by turn, so that a machine that slows down slows both.
Loads go to this machine only, and are bounded in number.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from figures import here, put
from ours import bare

from mock_server.broker import Broker
from mock_server.serve import listen
from tn_contract import AsyncClient, Client, NonceSource
from tn_contract.contract.signing import Credentials, Secret, sign
from tn_contract.contract.wire import compose, with_signature
from tn_contract.diagnosis.diagnose import diagnose
from tn_contract.diagnosis.search import find_counted
from tn_contract.diagnosis.signers import Case

ROOT = Path(__file__).parent
BATCH = 20  # calls that are measured as one
Row = tuple[str, str, str, str]


def turns(first: Callable[[], float], second: Callable[[], float], count: int) -> tuple[float, float, list[float]]:
    """Measure two things in turns; return both medians and the ratios first/second, turn by turn."""
    first(), second()  # warm
    pairs = [(first(), second()) for _ in range(count)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        [pair[0] / pair[1] for pair in pairs],
    )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def microseconds(call: Callable[[], object], repeat: int) -> Callable[[], float]:
    """Time one call: the best of five runs of `repeat`, for whatever else the machine does only adds."""

    def measure() -> float:
        return min(timeit.repeat(call, number=repeat, repeat=5)) / repeat * 1e6

    return measure


# ---- signing -----------------------------------------------------------------------------------------------


def signing(quick: bool) -> Row:
    secret = Secret("s" * 40)
    fields = {"apiKey": "k" * 32, "cmd": "delTradeOrder", "nonce": "17953797860021223", "params": {"order_id": "1"}}
    message = sign(fields, secret).string_to_sign.encode()
    ours, bare, ratios = turns(
        microseconds(lambda: sign(fields, secret), 2_000),
        microseconds(lambda: hmac.new(b"s" * 40, message, hashlib.sha256).hexdigest(), 2_000),
        5 if quick else 15,
    )
    return "sign a cancel, every stage | bare hmac + hashlib", f"{ours:.1f} µs", f"{bare:.1f} µs", spread(ratios)


def diagnosing(quick: bool) -> Row:
    """The worst case: nothing that a wrong signer is known to do gives the signature, so everything is tried."""
    pair = Credentials("k" * 32, Secret("0123456789abcdef" * 2 + "01234567"))
    request = compose(pair, "delTradeOrder", 17_953_797_860_021_223, {"order_id": "2929292929"}).request
    unknown = with_signature(request, "ab" * 32)
    unsorted = b"cmd=delTradeOrder&apiKey=" + b"k" * 32 + b"&nonce=17953797860021223&params=order_id=2929292929"
    usual = with_signature(request, pair.secret.mac(unsorted))
    worst, typical, ratios = turns(
        microseconds(lambda: diagnose(unknown, "signature-invalid", pair, at_ns=0), 20),
        microseconds(lambda: diagnose(usual, "signature-invalid", pair, at_ns=0), 20),
        5 if quick else 15,
    )
    _found, digests = find_counted(Case({"cmd": "delTradeOrder", "apiKey": pair.api_key, "nonce": "17953797860021223",
                                         "params": {"order_id": "2929292929"}}, pair), "ab" * 32)  # fmt: skip
    return (
        f"name a wrong signature's mistake, none found ({digests} digests) | one found (unsorted)",
        f"{worst / 1000:.2f} ms",
        f"{typical / 1000:.2f} ms",
        spread(ratios),
    )


# ---- the mock ----------------------------------------------------------------------------------------------


def loaded(broker: Broker) -> Broker:
    """Open the key pairs that `load.py` uses."""
    for number in range(64):
        broker.open_session(f"load-{number}", "load-secret")
    return broker


@contextmanager
def bare_server() -> Any:
    listening = socket.create_server(("127.0.0.1", 0))
    server = bare(loaded(Broker()), listening)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.stop()
    thread.join()


def load(base_url: str, seconds: float, connections: int) -> float:
    """Send signed cancels over keep-alive connections, each with a key of its own; return requests per second."""
    script = Path(__file__).parent / "load.py"
    ran = subprocess.run(
        [sys.executable, script, base_url, str(seconds), str(connections)], capture_output=True, text=True, check=True
    )
    return float(ran.stdout)


def mock_rate(quick: bool) -> Row:
    with served_process("app") as ours, served_process("bare") as bare:
        seconds = 1.0 if quick else 3.0
        count = 3 if quick else 7
        rate, bare_rate, ratios = turns(lambda: load(ours, seconds, 4), lambda: load(bare, seconds, 4), count)
    return (
        "mock, full work, 4 connections | the same work as a bare WSGI callable on the same server",
        f"{rate:,.0f} requests/s",
        f"{bare_rate:,.0f} requests/s",
        spread(ratios),
    )


@contextmanager
def served_process(kind: str) -> Any:
    """Serve in a process of its own, so that client and server do not share an interpreter."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def serve_forever(kind: str) -> None:
    from mock_server.serve import run_until_stopped

    if kind == "bare":
        with bare_server() as url:
            print(url, flush=True)
            threading.Event().wait()
    mock = listen(loaded(Broker()))
    print(mock.base_url, flush=True)
    run_until_stopped(mock)


# ---- the client --------------------------------------------------------------------------------------------


def client_cost(quick: bool) -> Row:
    count = 50 if quick else 100
    with served_process("app") as url, Client("load-0", "load-secret", base_url=url) as client, httpx.Client() as bare:
        ours, theirs, ratios = turns(
            microseconds(lambda: client.cancel_order(1), count),
            microseconds(lambda: bare.post(**signed_by_hand(url)).json(), count),
            5 if quick else 11,
        )
    name = "cancel_order | bare httpx, same request signed by hand"
    return name, f"{ours:,.0f} µs", f"{theirs:,.0f} µs", spread(ratios)


BY_HAND, NONCES = Credentials("load-1", Secret("load-secret")), NonceSource()


def signed_by_hand(url: str) -> dict[str, Any]:
    """What somebody who has no client passes to `post` of httpx."""
    request = compose(BY_HAND, "delTradeOrder", NONCES.next(), {"order_id": 1}).request
    return {"url": url + request.path, "headers": dict(request.headers), "content": request.body}


@contextmanager
def no_network() -> Any:
    """Let httpx answer by itself, whoever sends: sockets cost more than what is measured, and never the same."""

    def answer(_transport: object, _request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=b'{"order_id": 1}')

    async def answer_later(transport: object, request: httpx.Request) -> httpx.Response:
        return answer(transport, request)

    with (
        patch.object(httpx.HTTPTransport, "handle_request", answer),
        patch.object(httpx.AsyncHTTPTransport, "handle_async_request", answer_later),
    ):
        yield


def client_above_httpx(quick: bool) -> Row:
    url = "http://127.0.0.1:8787"
    with no_network(), Client("load-0", "load-secret", base_url=url) as client, httpx.Client() as bare:

        def ours() -> None:
            for _ in range(BATCH):
                client.cancel_order(1)

        def theirs() -> None:
            for _ in range(BATCH):
                bare.post(**signed_by_hand(url)).json()

        return "`Client.cancel_order` | bare httpx, processor time, no network", *above(ours, theirs, quick)


def async_client_above_httpx(quick: bool) -> Row:
    url = "http://127.0.0.1:8787"
    with no_network(), asyncio.Runner() as runner:
        client, bare = AsyncClient("load-0", "load-secret", base_url=url), httpx.AsyncClient()

        async def ours() -> None:
            for _ in range(BATCH):
                await client.cancel_order(1)

        async def theirs() -> None:
            for _ in range(BATCH):
                (await bare.post(**signed_by_hand(url))).json()

        measured = above(lambda: runner.run(ours()), lambda: runner.run(theirs()), quick)
        runner.run(client.close())
        runner.run(bare.aclose())
    return "`AsyncClient.cancel_order` | bare httpx, processor time, no network", *measured


def above(ours: Callable[[], object], theirs: Callable[[], object], quick: bool) -> tuple[str, str, str]:
    """Measure what the processor spends on a call, in turns; the last is the difference, the least and the median."""

    def spent(batch: Callable[[], object]) -> float:
        started = time.process_time()
        batch()
        return (time.process_time() - started) / BATCH * 1e6

    ours(), theirs()  # warm
    pairs = [(spent(ours), spent(theirs)) for _ in range(100 if quick else 500)]
    our_least, their_least = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    median = statistics.median(pair[0] - pair[1] for pair in pairs)
    return (
        f"{our_least:.0f} µs",
        f"{their_least:.0f} µs",
        f"{our_least - their_least:+.0f} µs at the least, {median:+.0f} µs in the median",
    )


# ---- whole processes ---------------------------------------------------------------------------------------


def first_reply(_quick: bool) -> Row:
    """From starting the process to the first reply of the API, polled every 2 ms."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as folder:
            ready = Path(folder) / "ready"
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "tn_contract.cli", "serve", "--port", "0", "--ready-file", str(ready)],
                stdout=subprocess.DEVNULL,
            )
            try:
                while not ready.exists():
                    time.sleep(0.002)
                address = json.loads(ready.read_text())["base_url"].removeprefix("http://")
                connection = http.client.HTTPConnection(address)
                connection.request("POST", "/api/v2/cmd/delTradeOrder")
                connection.getresponse().read()
                connection.close()
                return (time.perf_counter() - started) * 1e3
            finally:
                process.terminate()
                process.wait()

    def bare() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import flask"], check=True)
        return (time.perf_counter() - started) * 1e3

    ours, imports, ratios = turns(once, bare, 7)
    name = "`serve` to the first reply | importing flask alone"
    return name, f"{ours:.0f} ms", f"{imports:.0f} ms", spread(ratios)


def verify_time(_quick: bool) -> Row:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tn_contract.cli", "verify"], check=True, stdout=subprocess.DEVNULL, env=_clean()
        )
        return time.perf_counter() - started

    def bare() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import pytest, httpx, flask, rich.table"], check=True)
        return time.perf_counter() - started

    ours, imports, ratios = turns(once, bare, 5)
    name = "`verify` on the embedded mock | importing what it needs"
    return name, f"{ours:.2f} s", f"{imports:.2f} s", spread(ratios)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TN_")}


def memory(quick: bool) -> Row:
    """Resident memory after the first tenth of the requests, and after all of them."""
    total = 100_000 if quick else 1_000_000
    code = f"""
import resource, sys
from mock_server.broker import Broker
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose
broker, keys = Broker(), Credentials("tn-demo-key", Secret("tn-demo-secret"))
for number in range(1, {total} + 1):
    broker.handle(compose(keys, "delTradeOrder", number, {{"order_id": number}}).request)
    if number in ({total} // 10, {total}):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = map(float, ran.stdout.split())
    name = f"memory after {total:,} requests | after {total // 10:,}"
    return name, f"{late:.1f} MB", f"{early:.1f} MB", f"{late / early:.3f}"


MEASURES = (
    signing,
    diagnosing,
    mock_rate,
    client_cost,
    client_above_httpx,
    async_client_above_httpx,
    first_reply,
    verify_time,
    memory,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", choices=("app", "bare"))
    arguments = parser.parse_args()
    if arguments.serve:
        serve_forever(arguments.serve)
        return
    rows = []
    for measure in MEASURES:
        rows.append(measure(arguments.quick))
        print(" · ".join(rows[-1]), flush=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("flask", "werkzeug", "httptools", "httpx", "msgspec"))
    lines = [
        f"`python benchmarks/run.py{' --quick' if arguments.quick else ''}`, {here()}, {packages}.",
        "",
        "| what | measured | against | ratio |",
        "|---|---|---|---|",
        *(f"| {name.replace('|', 'against')} | {ours} | {theirs} | {ratio} |" for name, ours, theirs, ratio in rows),
    ]
    put("speed.md", "bench", "\n".join(lines))


if __name__ == "__main__":
    main()
