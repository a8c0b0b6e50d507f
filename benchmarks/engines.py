"""What an engine of the mock's state costs, side by side in one run; writes the tables of docs/engines.md.

    python benchmarks/engines.py [--quick]

Each engine is measured in turns (A B C D A …) and compared with memory turn by turn, so that a machine that slows down
slows all; so are numbers of workers, with one of the same engine. Redis is this machine's `redis-server`, started for
the run. Workers need wrk, and have a core each; wrk and Redis take what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import here, put
from ours import KEYS
from peers import CONNECTIONS, PATH, STUBS

from mock_server.broker import DEMO, SESSIONS_KEPT, Broker
from mock_server.state import open_state
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    folder.mkdir()
    path = folder / "socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def places() -> Iterator[dict[str, str]]:
    """Where each engine keeps its things."""
    with tempfile.TemporaryDirectory(prefix="tn-") as name, ExitStack() as stack:
        folder = Path(name)
        urls = {"memory": "memory", "sqlite": f"sqlite:{folder / 'state.db'}"}
        if shutil.which("redis-server"):
            urls["redis"] = stack.enter_context(redis_server(folder / "r"))
            always = ("--appendonly", "yes", "--appendfsync", "always")
            urls["redis, fsync always"] = stack.enter_context(redis_server(folder / "a", *always))
        yield urls


def step(url: str) -> Callable[[int], None]:
    """Return what an accepted request asks of the engine when its key was met before: the nonce rule."""
    state = open_state(url)
    state.open(DEMO)
    ledger = state.ledger(DEMO, "monotonic")

    def ask(nonce: int) -> None:
        if ledger.admit(str(nonce)):
            sys.exit("refused")

    return ask


def request(url: str) -> Callable[[int], None]:
    """Return one whole request, without a socket."""
    broker = Broker(state=url)

    def ask(nonce: int) -> None:
        composed = compose(DEMO, "delTradeOrder", nonce, {"order_id": nonce}).request
        if broker.handle(composed).reply.status != 200:
            sys.exit("refused")

    return ask


def measure(kind: Callable[[str], Callable[[int], None]], urls: dict[str, str], turns: int) -> dict[str, list[float]]:
    """Return microseconds a request, turn by turn."""
    asks = {name: kind(url) for name, url in urls.items()}
    nonce = time.time_ns() // 100
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(turns + 1):
        for name, ask in asks.items():
            count = 100 if "redis" in name else 1_000
            started = time.perf_counter()
            for _ in range(count):
                nonce += 1
                ask(nonce)
            if turn:  # the first warms
                taken[name].append((time.perf_counter() - started) / count * 1e6)
    return taken


def cost(taken: dict[str, list[float]], name: str) -> str:
    """The median and the least, and the median of the ratios to memory."""
    ratios = [mine / memory for mine, memory in zip(taken[name], taken["memory"], strict=True)]
    return (
        f"{statistics.median(taken[name]):.1f} µs (least {min(taken[name]):.1f}), {statistics.median(ratios):.1f} times"
    )


@contextmanager
def served(url: str, workers: int) -> Iterator[str]:
    """Run `serve`, each worker on a core of its own; yield its address."""
    command = [sys.executable, "-m", "tn_contract.cli", "serve", "--json", "--port", "0", "--state", url]
    with subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            facts = json.loads(process.stdout.readline())
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for core, pid in enumerate(children if workers > 1 else [process.pid]):
                os.sched_setaffinity(int(pid), {core})
            yield facts["base_url"]
        finally:
            process.terminate()


def rate(base_url: str, url: str, seconds: int) -> float:
    """Return requests per second, all of them accepted."""
    state = open_state(url)
    pairs = [Credentials(f"load-{number}", Secret(f"load-secret-{number}")) for number in range(KEYS)]
    for pair in pairs:
        state.open(pair)
    ledgers = [state.ledger(pair, "monotonic") for pair in pairs]
    before = [ledger.last or 0 for ledger in ledgers]
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(STUBS / "signed.lua"), f"{base_url}{PATH}"]
    ran = subprocess.run(load, check=True, capture_output=True, text=True)
    measured = json.loads(ran.stdout.splitlines()[-1])
    if measured["errors"] or any((ledger.last or 0) <= last for ledger, last in zip(ledgers, before, strict=True)):
        sys.exit(f"refused: {measured}")
    state.shut()
    return float(measured["rate"])


def by_workers(urls: dict[str, str], quick: bool) -> Iterator[str]:
    """Measure one worker and several, in turns; give the rows of a table."""
    cores = os.cpu_count() or 1
    counts = [count for count in (1, 2, 4) if count <= max(2, cores)]
    turns, seconds = (3, 2) if quick else (9, 5)
    for name in ("sqlite", "redis"):
        if name not in urls:
            continue
        rates: dict[int, list[float]] = {count: [] for count in counts}
        with ExitStack() as stack:
            mocks = {count: stack.enter_context(served(urls[name], count)) for count in counts}
            for turn in range(turns + 1):
                for count, base_url in mocks.items():
                    measured = rate(base_url, urls[name], seconds)
                    if turn:  # the first warms
                        rates[count].append(measured)
        for count in counts:
            ratios = [mine / one for mine, one in zip(rates[count], rates[1], strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            yield f"| {name} | {count} | {statistics.median(rates[count]):,.0f} | " + (
                f"{statistics.median(ratios):.2f} ({spread}) |"
            )


MANY = """
import resource, sqlite3, sys
from mock_server.broker import Broker
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import compose

engine, place, keys, used = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
broker = Broker(state=place)
if engine == "sqlite":
    with sqlite3.connect(place.partition(":")[2]) as filler:
        filler.executemany(
            "INSERT INTO pair (api_key, api_secret) VALUES (?, ?)",
            ((f"key-{number:028}".encode(), b"s" * 40) for number in range(keys)),
        )
else:
    for number in range(keys):
        broker.state.open(Credentials(f"key-{number:028}", Secret("s" * 40)))
secret = Secret("s" * 40)
for number in range(used):
    pair = Credentials(f"key-{number * (keys // used):028}", secret)
    assert broker.handle(compose(pair, "delTradeOrder", 1, {"order_id": 1}).request).reply.status == 200
    if number + 1 in (used // 5, used):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def many_keys(engine: str, keys: int, used: int) -> str:
    """Resident memory with so many keys, after a fifth of the requests and after all of them, one for a key."""
    with tempfile.TemporaryDirectory() as folder:
        place = "memory" if engine == "memory" else f"sqlite:{folder}/state.db"
        command = [sys.executable, "-c", MANY, engine, place, str(keys), str(used)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
    early, late = map(float, ran.stdout.split())
    return f"| {engine} | {keys:,} | {early:.0f} MB | {late:.0f} MB | {late / early:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with places() as urls:
        turns = 5 if quick else 21
        steps, whole = measure(step, urls, turns), measure(request, urls, turns)
        workers = list(by_workers(urls, quick)) if shutil.which("wrk") else ["(wrk is not installed)"]
    costs = "\n".join(f"| {name} | {cost(steps, name)} | {cost(whole, name)} |" for name in urls)
    keys, used = (100_000, 30_000) if quick else (1_000_000, 5 * SESSIONS_KEPT)
    put(
        "engines.md",
        "costs",
        f"""`python benchmarks/engines.py{" --quick" if quick else ""}`, {here()}.

| engine | the nonce, beside memory | whole request without a socket, beside memory |
|---|---|---|
{costs}

| engine | workers | requests/s over sockets | beside one worker |
|---|---|---|---|
{chr(10).join(workers)}

| engine | keys | after {used // 5:,} requests | after {used:,} requests | ratio |
|---|---|---|---|---|
{chr(10).join(many_keys(engine, keys, used) for engine in ("memory", "sqlite"))}
""",
    )


if __name__ == "__main__":
    main()
