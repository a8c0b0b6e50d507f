"""Are signing mistakes named? Measured on wrong signers that were written without a look at the search's tables.

One pair of mistakes comes for six single ones, as in the sets of real clients that were tried. No name may be wrong:
a name is wrong when it contradicts what the signer is known to do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import pytest

from tests.selftest.signer_habits import HABITS, HABITS_V3, Habit, Program, ProgramV3
from tests.selftest.signer_habits_held_out import HELD_OUT
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request, compose, compose_v3, replace, with_signature
from tn_contract.diagnosis.diagnose import diagnose, situation_of
from tn_contract.record.journal import Diagnosis

NAMED_AT_LEAST = 0.95
# While a mock answers, rare pairs are not searched for.
NAMED_QUICKLY = 0.9
PAIRS = {"v2": 54, "v3": 32}


class Signer(NamedTuple):
    """A wrong signer, and the names that are right for what it does."""

    habits: tuple[str, ...]
    allowed: frozenset[str]
    request: Request
    pair: Credentials


def signers(scheme: str, habits: Mapping[str, Habit], pairs: int, seed: int) -> Iterator[Signer]:
    """Yield one signer for each habit, then pairs of habits at random."""
    rng = random.Random(seed)
    for name in habits:
        yield from signer(scheme, habits, (name,), rng)
    left = pairs
    while left:
        two = tuple(rng.sample(sorted(habits), 2))
        if habits[two[0]][0] != habits[two[1]][0]:
            left -= 1
            yield from signer(scheme, habits, two, rng)


def signer(scheme: str, habits: Mapping[str, Habit], names: tuple[str, ...], rng: random.Random) -> Iterator[Signer]:
    key, secret = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(160):040x}"
    order_id = str(rng.choice([rng.randrange(10**8, 10**10), rng.randrange(2**53, 2**63)]))
    pair = Credentials(key, Secret(secret))
    program: Program | ProgramV3
    if scheme == "v2":
        program = Program(key, secret, str(rng.randrange(16_500_000_000_000_000, 18_200_000_000_000_000)), order_id)
        fields = {"cmd": "delTradeOrder", "apiKey": key, "nonce": program.nonce, "params[order_id]": order_id}
        right = compose(pair, "delTradeOrder", program.nonce, {"order_id": order_id}).request
        request = replace(right, body=urlencode(fields).encode())  # in the order in which the client built it
    else:
        program = ProgramV3(key, secret, str(rng.randrange(1_700_000_000, 1_800_000_000)), order_id)
        request = compose_v3(pair, "delTradeOrder", int(program.timestamp), {"order_id": int(order_id)}).request
    for name in names:
        step, how, _allowed = habits[name]
        setattr(program, step, how)
    wrong = with_signature(request, program.signature())
    if situation_of(wrong, pair) == "signature-invalid":  # not every mistake shows in every request
        yield Signer(names, frozenset().union(*(habits[name][2] for name in names)), wrong, pair)


def judged(signer: Signer, *, thorough: bool) -> tuple[str, Diagnosis | None]:
    """Say whether a signer is named, and by what."""
    found = diagnose(signer.request, "signature-invalid", signer.pair, at_ns=0, thorough=thorough)
    assert signer.pair.secret.reveal() not in repr(found)
    named = set(found.mistakes) if found else set()
    return ("unnamed" if not named else "named" if named <= signer.allowed else "wrong"), found


def measure(signers: Iterator[Signer], *, thorough: bool) -> tuple[Counter[str], list[object]]:
    results: Counter[str] = Counter()
    others: list[object] = []
    for each in signers:
        result, found = judged(each, thorough=thorough)
        results[result] += 1
        if result != "named":
            others.append((result, each.habits, found.mistakes if found else ()))
    return results, others


@pytest.mark.parametrize(("scheme", "habits"), [("v2", HABITS), ("v3", HABITS_V3)], ids=["v2", "v3"])
@pytest.mark.parametrize(
    ("thorough", "share"), [(False, NAMED_QUICKLY), (True, NAMED_AT_LEAST)], ids=["quick", "thorough"]
)
@pytest.mark.full
def test_wrong_signers_are_named(scheme: str, habits: Mapping[str, Habit], thorough: bool, share: float) -> None:
    results, others = measure(signers(scheme, habits, PAIRS[scheme], 20261130), thorough=thorough)
    assert results["wrong"] == 0, others
    assert results["named"] >= share * results.total(), (results, others)


@pytest.mark.parametrize(("scheme", "habits"), [("v2", HABITS), ("v3", HABITS_V3)], ids=["v2", "v3"])
def test_single_mistakes_are_all_named_while_a_mock_answers(scheme: str, habits: Mapping[str, Habit]) -> None:
    _results, others = measure(signers(scheme, habits, 0, 7), thorough=False)
    assert not others


@pytest.mark.full
def test_signers_that_were_written_after_the_search_are_named() -> None:
    results, others = measure(signers("v2", HELD_OUT, 16, 11), thorough=True)
    assert results["wrong"] == 0, others
    assert results["named"] >= 0.9 * results.total(), (results, others)


def test_right_signers_of_v3_are_not_named() -> None:
    rng = random.Random(1)
    for _ in range(50):
        pair = Credentials(f"{rng.getrandbits(128):032x}", Secret(f"{rng.getrandbits(160):040x}"))
        request = compose_v3(
            pair, "delTradeOrder", rng.randrange(10**9, 2 * 10**9), {"order_id": rng.randrange(1, 2**63)}
        )
        assert diagnose(request.request, "signature-invalid", pair, at_ns=0, thorough=True) is None
