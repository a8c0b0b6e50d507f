"""Processes that race with the same keys and nonces, on one place."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from mock_server.state import open_state
from tn_contract.contract.signing import Credentials, Secret

pytestmark = pytest.mark.full

PROCESSES = 6
NONCES = 300
PAIRS = [Credentials("one", Secret("1")), Credentials("two", Secret("2"))]

RACE = """
import json, random, sys
from mock_server.state import open_state
from tn_contract.contract.signing import Credentials, Secret
url, policy, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
state = open_state(url)
ledgers = [state.ledger(Credentials(*pair), policy) for pair in (("one", Secret("1")), ("two", Secret("2")))]
nonces = [2**62 + number for number in range(count)]
if policy == "unique":
    random.shuffle(nonces)
print("ready", flush=True)
sys.stdin.readline()
accepted = [[], []]
for nonce in nonces:
    for ledger, mine in zip(ledgers, accepted):
        if ledger.admit(str(nonce)) is None:
            mine.append(nonce)
state.shut()
print(json.dumps(accepted))
"""


@pytest.mark.parametrize("policy", ["monotonic", "unique"])
def test_each_nonce_is_accepted_by_exactly_one_of_the_processes(policy: Any, state_url: str) -> None:
    state = open_state(state_url)
    for pair in PAIRS:
        state.open(pair)
    ledgers = [state.ledger(pair, policy) for pair in PAIRS]
    with ExitStack() as stack:
        processes = []
        for _ in range(PROCESSES):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RACE, state_url, policy, str(NONCES)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        seen: list[list[int]] = [[], []]
        while any(process.poll() is None for process in processes):
            for ledger, values in zip(ledgers, seen, strict=True):
                values.append(ledger.last or 0)
        accepted = [json.loads(process.stdout.read()) for process in processes if process.stdout]
    expected = {2**62 + number: 1 for number in range(NONCES)}
    for index in range(len(PAIRS)):
        assert Counter(itertools.chain.from_iterable(each[index] for each in accepted)) == expected
        if policy == "monotonic":
            assert all(each[index] == sorted(each[index]) for each in accepted)
            assert seen[index] == sorted(seen[index])
            assert ledgers[index].last == 2**62 + NONCES - 1
    state.shut()
