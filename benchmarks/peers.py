"""The mock beside its peers, one after the other: `peers.py [NAME…] [--rounds N]` writes docs/speed.md.

Each server has one core, wrk the other, 16 connections. The peers give one static reply; ours does all of its work
(parse, sort, HMAC, nonce, journal), for requests that are each signed afresh. Rounds go forth and back through the
list, so that a machine that gets slower does so for all. What cannot be installed or started is told with its reason.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures import here, put

HERE = Path(__file__).parent
HOME = HERE.parent / ".build" / "peers"
STUBS = HERE / "stubs"
PORT = 18180
PATH = "/api/v2/cmd/delTradeOrder"
BODY = b"cmd=delTradeOrder&apiKey=load-0&nonce=1&params%5Border_id%5D=2929292929"
ANSWER = {"order_id": 2929292929}
SERVER_CORE, LOAD_CORE = "0", "1"
CONNECTIONS = 16
WARM_SECONDS, MEASURED_SECONDS = 20, 5
START_LIMIT = 60


@dataclass(frozen=True)
class Peer:
    """How a server is installed and started. `jar` is the pattern of what Java runs.

    One that is `signed` does all of our work, and is `told` to print at its end what became of the requests.
    """

    name: str
    command: tuple[str, ...]
    npm: str = ""
    pip: str = ""
    jar: str = ""
    files: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    signed: bool = False
    told: bool = True


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


IMPOSTER = {
    "port": PORT,
    "protocol": "http",
    "stubs": [{"responses": [{"is": {"headers": {"Content-Type": "application/json", "Connection": "keep-alive"},
                                     "body": json.dumps(ANSWER)}}]}],
}  # fmt: skip
MOCKOON = {
    "uuid": "b7c1d1b0-0000-4000-8000-000000000001", "lastMigration": 33, "name": "one", "port": PORT,
    "hostname": "127.0.0.1", "endpointPrefix": "", "latency": 0, "folders": [], "proxyMode": False, "proxyHost": "",
    "proxyRemovePrefix": False, "cors": False, "headers": [], "proxyReqHeaders": [], "proxyResHeaders": [], "data": [],
    "callbacks": [], "tlsOptions": {"enabled": False, "type": "CERT", "pfxPath": "", "certPath": "", "keyPath": "",
                                    "caPath": "", "passphrase": ""},
    "rootChildren": [{"type": "route", "uuid": "b7c1d1b0-0000-4000-8000-000000000002"}],
    "routes": [{
        "uuid": "b7c1d1b0-0000-4000-8000-000000000002", "type": "http", "documentation": "", "method": "post",
        "endpoint": PATH[1:], "responseMode": None, "streamingMode": None, "streamingInterval": 0,
        "responses": [{
            "uuid": "b7c1d1b0-0000-4000-8000-000000000003", "body": json.dumps(ANSWER), "latency": 0,
            "statusCode": 200, "label": "", "headers": [{"key": "Content-Type", "value": "application/json"}],
            "bodyType": "INLINE", "filePath": "", "databucketID": "", "sendFileAsBody": False, "rules": [],
            "rulesOperator": "OR", "disableTemplating": True, "fallbackTo404": False, "default": True, "crudKey": "id",
            "callbacks": [],
        }],
    }],
}  # fmt: skip
STATIC = {"Content-Type": "application/json"}

PEERS = [
    Peer("tn-contract", python(str(HERE / "ours.py"), str(PORT)), signed=True),
    Peer("tn-contract, its work as a bare callable", python(str(HERE / "ours.py"), str(PORT), "bare"), signed=True),
    Peer(
        "tn-contract, its WSGI app on granian 2.8.7",
        ("{venv}/bin/granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(PORT), "--workers", "1",
         "--blocking-threads", "16", "--no-access-log", "--log-level", "error", "our_app:app"),
        pip="granian==2.8.7", environment={"PYTHONPATH": f"{STUBS}:{sysconfig.get_path('purelib')}:{HERE.parent}"},
        signed=True, told=False,
    ),
    Peer(
        "mountebank 2.9.1, no log",
        ("{bin}/mb", "--port", str(PORT + 1), "--configfile", "{work}/imposters.json", "--nologfile",
         "--loglevel", "error", "--localOnly", "--pidfile", "{work}/mb.pid"),
        npm="mountebank@2.9.1", files={"imposters.json": {"imposters": [IMPOSTER]}},
    ),
    Peer(
        "json-server 0.17.4, quiet",
        ("{bin}/json-server", "--quiet", "--host", "127.0.0.1", "--port", str(PORT), "--middlewares",
         str(STUBS / "json_server.js"), "--", "{work}/db.json"),
        npm="json-server@0.17.4", files={"db.json": {"none": []}},
    ),
    Peer(
        "Prism 5.14.2, silent",
        ("{bin}/prism", "mock", "-v", "silent", "-p", str(PORT), "-h", "127.0.0.1", str(STUBS / "prism.yaml")),
        npm="@stoplight/prism-cli@5.14.2",
    ),
    Peer(
        "Mockoon CLI 9.9.0, no logs",
        ("{bin}/mockoon-cli", "start", "-d", "{work}/mockoon.json", "-l", "127.0.0.1", "-X", "--disable-admin-api",
         "--max-transaction-logs", "1"),
        npm="@mockoon/cli@9.9.0", files={"mockoon.json": MOCKOON},
    ),
    Peer(
        "WireMock 3.13.2, no journal",
        ("java", "-jar", "{jar}", "--port", str(PORT), "--bind-address", "127.0.0.1", "--root-dir", "{work}",
         "--no-request-journal", "--disable-request-logging", "--disable-banner"),
        npm="wiremock@3.13.2", jar="wiremock/build/wiremock-standalone-*.jar",
        files={"mappings/one.json": {"request": {"method": "POST", "urlPath": PATH},
                                     "response": {"status": 200, "headers": STATIC, "body": json.dumps(ANSWER)}}},
    ),
    Peer(
        "MockServer 8.0.0, log off",
        ("java", "-jar", "{jar}", "-p", str(PORT), "--init={work}/one.json", "-l", "OFF", "--dev"),
        npm="mockserver-node@8.0.0", jar="mockserver-node/mockserver-netty-*-jar-with-dependencies.jar",
        files={"one.json": [{"httpRequest": {"method": "POST", "path": PATH},
                             "httpResponse": {"headers": {"Content-Type": ["application/json"]},
                                              "body": json.dumps(ANSWER)}}]},
        environment={"MOCKSERVER_LOCAL_BOUND_IP": "127.0.0.1"},
    ),
    Peer(
        "pytest-httpserver 1.2.0", ("{venv}/bin/python", str(STUBS / "one_reply.py"), str(PORT)),
        pip="pytest-httpserver==1.2.0",
    ),
]  # fmt: skip
SKIPPED = {"moto": "serves no reply of one's own, only those of AWS"}


class CannotRunError(Exception):
    """A server could not be installed or started."""


def prepared(peer: Peer) -> tuple[list[str], Path]:
    """Install a peer, write its files; return its command and its folder. Raises `CannotRunError`."""
    work = HOME / re.sub(r"[^a-z0-9]+", "-", peer.name.lower())
    work.mkdir(parents=True, exist_ok=True)
    for name, content in peer.files.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(json.dumps(content))
    values = {"work": str(work), "bin": str(work / "node_modules" / ".bin"), "venv": str(work / "venv"), "jar": ""}
    if peer.npm and not (work / "node_modules").exists():
        (work / "package.json").write_text("{}")
        install(["npm", "install", "--no-audit", "--no-fund", "--silent", peer.npm], work)
    if peer.pip and not (work / "venv").exists():
        install([sys.executable, "-m", "venv", "venv"], work)
        install(["venv/bin/pip", "install", "--quiet", peer.pip], work)
    if peer.jar:
        if not shutil.which("java"):
            raise CannotRunError("there is no Java here")
        values["jar"] = next(map(str, (work / "node_modules").glob(peer.jar)), "")
    return [part.format(**values) for part in peer.command], work


def install(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotRunError(f"{' '.join(command[:2])} failed: {type(error).__name__}") from error


def answers() -> bool:
    """Ask once."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(head.encode() + BODY)
        return connection.recv(65536).startswith(b"HTTP/1.")
    return False


@contextlib.contextmanager
def started(peer: Peer) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """Start a server on its core; yield it and the seconds to its first reply. Raises `CannotRunError`."""
    command, work = prepared(peer)
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, *command], cwd=work, env={**os.environ, **peer.environment},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while not answers():
            if process.poll() is not None or time.perf_counter() - begun > START_LIMIT:
                raise CannotRunError("it did not start")
            time.sleep(0.002)
        yield process, time.perf_counter() - begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        told, _ = process.communicate(timeout=30)
        if peer.signed and peer.told and told:
            counts = json.loads(told.splitlines()[-1])
            refused = sum(counts.values()) - counts.get("cancel-accepted", 0)
            if refused > 1 + len(counts) + sum(counts.values()) // 10_000:  # our own unsigned questions
                raise CannotRunError(f"{refused} requests were refused: {counts}")


def load(peer: Peer, seconds: int) -> dict[str, float]:
    """Send as many requests as are answered."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s"]
    script = STUBS / ("signed.lua" if peer.signed else "static.lua")
    ran = subprocess.run(
        [*command, str(script), f"http://127.0.0.1:{PORT}{PATH}"], check=True, capture_output=True, text=True
    )
    measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    if measured["errors"]:
        raise CannotRunError(f"{measured['errors']} errors under load")
    return measured


def memory(process: subprocess.Popen[str]) -> float:
    """Megabytes of a process and its children; `taskset` becomes what it starts."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    statuses = [Path(f"/proc/{each}/status").read_text() for each in (process.pid, *children)]
    return sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses) / 1024


def measured(peer: Peer) -> dict[str, float]:
    with started(peer) as (process, first_reply):
        cold = load(peer, 1)
        load(peer, WARM_SECONDS)
        warm = load(peer, MEASURED_SECONDS)
        return {
            "first reply ms": 1000 * first_reply,
            "cold req/s": cold["rate"],
            "req/s": warm["rate"],
            "p50 ms": warm["p50"] / 1000,
            "p99 ms": warm["p99"] / 1000,
            "MB": memory(process),
        }


def table(results: dict[str, list[dict[str, float]]], skipped: dict[str, str]) -> str:
    columns = ["first reply ms", "cold req/s", "req/s", "p50 ms", "p99 ms", "MB"]
    lines = [f"| server | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]

    def cell(rounds: list[dict[str, float]], column: str) -> str:
        values = [each[column] for each in rounds]
        digits = 2 if column.startswith("p") else 0
        return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"

    for name, rounds in sorted(results.items(), key=lambda row: -statistics.median(each["req/s"] for each in row[1])):
        lines.append(f"| {name} | {' | '.join(cell(rounds, column) for column in columns)} |")
    return "\n".join([*lines, *(f"\n{name}: not measured, {reason}." for name, reason in skipped.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only servers whose name holds one of these")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.names or any(name in peer.name for name in options.names)]
    results: dict[str, list[dict[str, float]]] = {}
    skipped = dict(SKIPPED)
    for number in range(options.rounds):
        for peer in chosen if number % 2 == 0 else reversed(chosen):
            if peer.name in skipped:
                continue
            try:
                results.setdefault(peer.name, []).append(measured(peer))
                print(peer.name, results[peer.name][-1], file=sys.stderr)
            except CannotRunError as error:
                results.pop(peer.name, None)
                skipped[peer.name] = str(error)
    text = f"""`python benchmarks/peers.py --rounds {options.rounds}`, {here()}; medians of {options.rounds}
rounds, with the least and the greatest.

{table(results, skipped)}
"""
    put("speed.md", "peers", text)


if __name__ == "__main__":
    main()
