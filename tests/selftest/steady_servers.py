"""Judge ten broken and honest servers again and again on a busy machine: `python -m tests.selftest.steady_servers`.

No verdict may differ from run to run; what does is printed, and the exit code is 1.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable

from .honest import PAIRS, Server
from .judging import App, judged
from .servers import app_of

SERVERS = (
    "compares-nonces-in-microseconds",
    "compares-nonces-in-32-bits",
    "compares-the-last-12-digits-of-nonces",
    "refuses-nonces-that-jump",
    "checks-then-sets-nonces",
    "locks-for-each-signature",
    "echoes-the-order-of-another-thread",
    "mock-compares-nonces-in-microseconds",
    "forgets-nonces-after-200-requests",
)


def busy() -> None:
    while True:
        sum(range(10_000))


def verdicts(make: Callable[[], App]) -> frozenset[tuple[str, str]]:
    return frozenset((result.check.id, result.verdict) for result in judged(make())[0])


def main(times: int) -> int:
    for suffix, (key, secret) in zip(("", "_2"), PAIRS.items(), strict=True):
        os.environ |= {f"TN_API_KEY{suffix}": key, f"TN_API_SECRET{suffix}": secret}
    load = [multiprocessing.Process(target=busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in load:
        process.start()
    differing = 0
    makers: dict[str, Callable[[], App]] = {slug: (lambda slug=slug: app_of(slug)) for slug in SERVERS}
    for name, make in {"honest": Server, **makers}.items():
        seen = Counter(verdicts(make) for _ in range(times))
        usual = seen.most_common(1)[0][0]
        differing += len(seen) > 1
        print(f"{name}: {times} runs, {len(seen)} sets of verdicts", flush=True)
        for other in seen:
            for check_id, verdict in sorted(other - usual):
                print(f"  {check_id}: {verdict}, usually {dict(usual)[check_id]}")
    for process in load:
        process.terminate()
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
