"""Two million malformed requests: `fuzz.py [--share PARTS]` writes docs/reliability.md; exit 1 when one is not borne.

Each target of tests/fuzz/fuzz.py has a process of its own; `--share 10` gives a tenth of the runs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import here, put

PROGRAM = Path(__file__).parent.parent / "tests" / "fuzz" / "fuzz.py"
RUNS = {"form": 1_000_000, "http": 700_000, "broker": 300_000}
READS = {
    "form": "bytes → form fields → nested arrays",
    "http": "bytes on a connection, in one or two parts → requests → replies",
    "broker": "a request of any method, address, headers and body → a reply and a journal",
}


def fuzzed(target: str, runs: int) -> tuple[str, bool]:
    """Run a target; return its row and whether all was borne."""
    started = time.monotonic()
    ran = subprocess.run([sys.executable, PROGRAM, target, f"-atheris_runs={runs}"], capture_output=True, text=True)
    told = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", ran.stderr)
    coverage = told[-1][0] if told else "?"
    found = "nothing" if ran.returncode == 0 else f"exit code {ran.returncode}"
    if ran.returncode:
        print(f"{target}: {ran.stderr[-4000:]}", file=sys.stderr)
    row = f"| `{target}` | {READS[target]} | {runs:,} | {time.monotonic() - started:,.0f} s | {coverage} | {found} |"
    return row, ran.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=1)
    share = parser.parse_args().share
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda target: fuzzed(target, RUNS[target] // share), RUNS))
    rows = "\n".join(row for row, _ in results)
    total = sum(RUNS.values()) // share
    put(
        "reliability.md",
        "fuzz",
        f"{total:,} inputs, {here()}:\n\n| target | what it reads | inputs | time | branches met | found |\n"
        f"|---|---|---:|---:|---:|---|\n{rows}",
    )
    return 0 if all(borne for _, borne in results) else 1


if __name__ == "__main__":
    sys.exit(main())
