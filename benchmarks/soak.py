"""Millions of requests, and what they leave: `soak.py [--requests N]` writes docs/reliability.md; exit 1 if it grows.

wrk signs every request afresh (1,024 keys); a scenario loses, delays, dribbles and refuses some of them, clients that
say nothing come and go, and strangers send what is no HTTP. Memory, file descriptors and threads are read from /proc
after each slice. Needs wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from figures import here, put
from peers import CONNECTIONS, HERE, PATH, PORT, STUBS, answers

SLICES = 20
# Of what the mock holds after the first tenth, how much more it may hold at the end: its journals are full by then.
GROWTH = 1.05
STORM = """
seed = 1
[[rule]]
fault = "drop"
chance = 0.001
[[rule]]
fault = "reset"
when = "after-apply"
chance = 0.001
[[rule]]
fault = "cut-off"
chance = 0.001
[[rule]]
fault = "dribble"
seconds = 0.02
chance = 0.001
[[rule]]
payload = "rate-limited-http-429"
chance = 0.01
[[rule]]
latency = { median = 0.002, p99 = 0.02 }
chance = 0.01
"""


def strangers(stop: threading.Event) -> None:
    """Come and go: say nothing, half of something, or no HTTP."""
    chance = random.Random(1)
    said = [
        b"",
        b"POST ",
        b"POST /api/v2/cmd/delTradeOrder HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        b"\x16\x03",
    ]
    while not stop.wait(0.01):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 1) as connection:
            connection.sendall(chance.choice(said) or chance.randbytes(chance.randrange(200)))
            if chance.random() < 0.5:
                connection.settimeout(0.05)
                connection.recv(100)


def held(pid: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    return {
        "MB": int(status.partition("VmRSS:")[2].split()[0]) / 1024,
        "threads": int(status.partition("Threads:")[2].split()[0]),
        "files": len(list((process / "fd").iterdir())),
    }


def requests_sent(seconds: float) -> int:
    """Let wrk send for a while; return how many requests were answered."""
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(STUBS / "signed.lua"),
         f"http://127.0.0.1:{PORT}{PATH}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    words = next(line.split() for line in ran.stdout.splitlines() if " requests in " in line)
    return int(words[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000_000)
    wanted = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        storm = Path(folder, "storm.toml")
        storm.write_text(STORM)
        process = subprocess.Popen(
            [sys.executable, str(HERE / "ours.py"), str(PORT), str(storm)], stdout=subprocess.PIPE, text=True
        )
        stop = threading.Event()
        visitors = threading.Thread(target=strangers, args=(stop,))
        try:
            while not answers():
                time.sleep(0.01)
            visitors.start()
            samples, sent, started, slice_seconds = [(0, held(process.pid))], 0, time.monotonic(), 2.0
            while sent < wanted:
                sent += requests_sent(slice_seconds)
                slice_seconds = min(60.0, wanted / SLICES / (sent / (time.monotonic() - started)))
                samples.append((sent, held(process.pid)))
                print(f"{sent:>12,} {samples[-1][1]}", file=sys.stderr)
            elapsed = time.monotonic() - started
        finally:
            stop.set()
            if visitors.ident:
                visitors.join()
            time.sleep(1)
            after = held(process.pid)
            process.send_signal(signal.SIGTERM)
            told, _ = process.communicate(timeout=60)
    counts = json.loads(told.splitlines()[-1])
    early = next(each for sent_then, each in samples if sent_then >= wanted / 10)
    last = samples[-1][1]
    grown = {name: last[name] / early[name] for name in ("MB", "threads")}
    grown["files"] = after["files"] / samples[0][1]["files"]
    rows = "\n".join(f"| {n:,} | {s['MB']:.1f} | {s['threads']:.0f} | {s['files']:.0f} |" for n, s in samples)
    verdict = "flat" if max(grown["MB"], grown["threads"]) <= GROWTH and grown["files"] <= 1.5 else "it grows"
    became = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda row: -row[1]))
    text = f"""`python benchmarks/soak.py --requests {wanted}`, {here()}: {sent:,} requests in {elapsed:,.0f} s.
**{verdict[0].upper()}{verdict[1:]}**: of what it held after the first tenth, at the end it held {grown["MB"]:.3f} times
the memory and {grown["threads"]:.2f} times the threads; at rest, {grown["files"]:.2f} times the files of the start.

What became of them: {became}.

| requests | MB | threads | open files |
|---:|---:|---:|---:|
{rows}
"""
    put("reliability.md", "soak", text)
    return 0 if verdict == "flat" else 1


if __name__ == "__main__":
    sys.exit(main())
