"""Judges programs again and again, under load, and prints every verdict that is not the same each time.

`make steady`: ten programs, twenty times each, five at a time, which keeps two cores busy. The goal is no difference:
a result that depends on load or luck is not a verdict.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = {
    "python": [sys.executable, "examples/judge_me.py"],
    "node": ["node", "examples/judge_me.mjs"],
    "php": ["php", "examples/judge_me.php"],
    **{
        f"node {mistake}": ["node", "tests/selftest/programs/client.mjs", mistake]
        for mistake in ("milliseconds-as-ticks", "second-nonces", "monotonic-nonces", "default-redirect")
    },
    **{
        f"php {mistake}": ["php", "tests/selftest/programs/client.php", mistake]
        for mistake in ("millisecond-nonces", "follows-redirects", "bracketed-string")
    },
}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def verdicts(words: list[str], checks: list[str]) -> dict[str, str]:
    """Judge a program once."""
    chosen = [word for check in checks for word in ("--check", check)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        command = [sys.executable, "-m", "tn_contract.cli", "judge", "--exec", shlex.join(words), "--json", str(file)]
        subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, check=False)
        rows = json.loads(file.read_bytes())["checks"]
    return {row["id"]: row["verdict"] for row in rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=5, help="runs at a time")
    parser.add_argument("--busy", type=int, default=0, help="processes that take processor time besides")
    parser.add_argument("--check", action="append", default=[], help="as of `tn-contract judge`")
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(PROGRAMS)}, or commands")
    options = parser.parse_args()
    different = 0
    with busy(options.busy), ThreadPoolExecutor(options.jobs) as pool:
        for name in options.programs or PROGRAMS:
            words = PROGRAMS.get(name) or shlex.split(name)
            if shutil.which(words[0]) is None:
                sys.stdout.write(f"{name}: {words[0]} is not installed\n")
                continue
            runs = list(pool.map(lambda words: verdicts(words, options.check), [words] * options.runs))
            seen = {check: Counter(run.get(check, "absent") for run in runs) for run in runs for check in run}
            unsteady = {check: dict(counts) for check, counts in seen.items() if len(counts) > 1}
            different += len(unsteady)
            sys.stdout.write(f"{name}: {len(runs)} runs, {len(seen)} checks, {unsteady or 'no difference'}\n")
            sys.stdout.flush()
    return bool(different)


if __name__ == "__main__":
    raise SystemExit(main())
