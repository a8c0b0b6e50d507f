"""The nonce sequences of the corpus, played against the mock's default rule."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tn_contract.contract.corpus import NonceSequence, load_corpus
from tn_contract.contract.nonce import NonceLedger

FILE = load_corpus().nonces


@pytest.mark.parametrize("sequence", FILE.sequences, ids=lambda sequence: sequence.id)
def test_the_monotonic_ledger_answers_as_the_sequence_says(sequence: NonceSequence) -> None:
    ledgers: defaultdict[str, NonceLedger] = defaultdict(lambda: NonceLedger("monotonic"))
    answers = []
    for step in sequence.steps:
        # The signature is judged first: a forged request never reaches the ledger.
        refusal = "signature" if step.signature == "invalid" else ledgers[step.key].admit(step.nonce)
        answers.append(refusal or "accepted")
    assert answers == [step.expect for step in sequence.steps]


def test_every_flag_is_explained_and_every_explanation_used() -> None:
    assert {flag for sequence in FILE.sequences for flag in sequence.flags} == set(FILE.notes)
    assert all(sequence.flags for sequence in FILE.sequences)


def test_no_sequence_id_is_used_twice() -> None:
    ids = [sequence.id for sequence in FILE.sequences]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("sequence", FILE.sequences, ids=lambda sequence: sequence.id)
def test_a_sequence_that_must_not_burn_ends_with_the_key_still_usable(sequence: NonceSequence) -> None:
    answers = [step.expect for step in sequence.steps]
    if "no-burn" in sequence.flags:
        assert any(answer != "accepted" for answer in answers[:-1])
        assert "accepted" in answers[next(i for i, answer in enumerate(answers) if answer != "accepted") :]


def test_every_answer_of_the_rule_occurs() -> None:
    answers = {step.expect for sequence in FILE.sequences for step in sequence.steps}
    assert answers == {
        "accepted", "nonce-missing", "nonce-malformed", "nonce-replayed", "nonce-stale", "signature",
    }  # fmt: skip
