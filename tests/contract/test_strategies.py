"""What the published strategies promise."""

from __future__ import annotations

import pytest
from hypothesis import given

from mock_server.broker import Broker
from tn_contract import strategies
from tn_contract.client.client import cancel_outcome
from tn_contract.contract.errors import OutcomeUnknown
from tn_contract.contract.nonce import NONCE_MAX
from tn_contract.contract.signing import Credentials, Parameters, Secret, canonical_string, sign, verify
from tn_contract.contract.wire import ORDER_ID_MAX, Reply, SignedRequest, encode_form, nest, parse_fields

KEYS = Credentials("strategy-key", Secret("strategy-secret"))


def _situation(request: strategies.Request) -> str:
    broker = Broker()
    broker.open_session(KEYS.api_key, KEYS.secret.reveal())
    assessment = broker.handle(request).assessment
    return assessment.situation if assessment else "not the API"


@given(strategies.cancels(KEYS))
def test_a_valid_cancel_is_accepted(cancel: SignedRequest) -> None:
    assert _situation(cancel.request) == "cancel-accepted"


@given(strategies.cancels_v3(KEYS))
def test_a_valid_v3_cancel_is_accepted(cancel: SignedRequest) -> None:
    broker = Broker(timestamp_tolerance=None)
    broker.open_session(KEYS.api_key, KEYS.secret.reveal())
    assessment = broker.handle(cancel.request).assessment
    assert assessment is not None
    assert (assessment.situation, assessment.scheme) == ("cancel-accepted", "v3")


@given(strategies.faulty_cancels(KEYS))
def test_a_cancel_with_one_fault_is_refused_for_that_fault(faulty: strategies.FaultyRequest) -> None:
    situation = _situation(faulty.request)
    expected = {
        "method": "method",
        "signature missing": "signature-missing",
        "key missing": "key-missing",
        "nonce missing": "nonce-missing",
        "nonce malformed": "nonce-malformed",
        "command missing": "command-missing",
        "command unknown": "command-unknown",
        "order id missing": "order-id-missing",
        "order id malformed": "order-id-malformed",
    }
    if faulty.fault == "signature truncated":
        assert situation in ("signature-invalid", "signature-missing")
    else:
        assert situation == expected.get(faulty.fault, "signature-invalid"), faulty.fault
    assert _situation(faulty.valid.request) == "cancel-accepted"


@given(strategies.hostile_replies())
def test_a_hostile_reply_leaves_the_outcome_unknown(reply: Reply) -> None:
    with pytest.raises(OutcomeUnknown):
        cancel_outcome(2929292929, reply)


@given(strategies.parameters(), strategies.credentials())
def test_parameters_can_be_signed_sent_and_read_back(parameters: Parameters, keys: Credentials) -> None:
    signed = sign(parameters, keys.secret)
    assert canonical_string(nest(parse_fields(encode_form(parameters)))) == signed.string_to_sign
    assert verify(signed.string_to_sign, keys.secret, signed.signature)


@given(strategies.nonces(), strategies.order_ids())
def test_numbers_are_in_range(nonce: int, order_id: int) -> None:
    assert 0 <= nonce <= NONCE_MAX
    assert 1 <= order_id <= ORDER_ID_MAX
