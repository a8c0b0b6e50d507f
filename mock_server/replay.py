"""The default: no order is kept, every cancel is accepted, and magic orders choose their reply."""

from __future__ import annotations

from collections.abc import Mapping

from mock_server.commands import Call, Done, Replies
from mock_server.faults import Fault
from tn_contract.contract.corpus import Corpus
from tn_contract.contract.validation import Asked, outcome_of


class Replay:
    """Replays payloads of the corpus."""

    def __init__(self, corpus: Corpus, replies: Replies, fault_seconds: Mapping[str, float] | None = None) -> None:
        self.magic = {order_id: corpus.payloads[order.payload] for order_id, order in corpus.magic_orders.items()}
        self._faulty = {order.order_id: order for order in corpus.magic_orders.values() if order.fault}
        self._replies = replies
        self._seconds = fault_seconds or {}

    def answer(self, call: Call) -> Done:
        """Open a session, or accept the cancel as its order id wants it."""
        situation, order_id = outcome_of(Asked(call.command, call.params))
        if situation != "cancel-accepted":
            return Done(situation)
        payload = self.magic.get(order_id)
        if payload and call.redirected and "Location" in payload.headers:
            payload = None  # redirected once only
        faulty = self._faulty.get(order_id)
        accepted = (payload or self._replies[call.scheme]["cancel-accepted"]).outcome == "accepted"
        applied = faulty is None or faulty.applied
        fault = Fault(faulty.fault, self._seconds.get(faulty.fault)) if faulty and faulty.fault else None
        return Done("cancel-accepted", order_id, payload, cancelled=accepted and applied, fault=fault)
