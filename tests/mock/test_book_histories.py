"""Random histories of two sessions at one book, in both generations of the protocol, held against a model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from mock_server.book.book import Change, NewOrder
from mock_server.broker import Broker
from mock_server.state.memory import MemoryState
from tn_contract.client.client import cancel_outcome, orders_outcome
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import Rejected
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Reply, compose, compose_v3
from tn_contract.record.orders import Order

pytestmark = pytest.mark.slow

STATUSES = load_corpus().statuses
ENDED = {number for number, status in STATUSES.items() if status.ended}
KEYS = [Credentials(name, Secret(name)) for name in ("one", "two")]
DELAY, DAY = 2, 24 * 3600
NOW = 1_795_402_277
OWNERS, SCHEMES = st.sampled_from([0, 1]), st.sampled_from(["v2", "v3"])


@dataclass
class Modelled:
    """What one order should be: written down anew, and not by the mock's own code."""

    owner: int
    quantity: int
    placed: int
    for_a_day: bool
    left: int
    ends: int | None = None
    stat: int = 10
    due: int = 0
    seen: list[int] = field(default_factory=list)

    def at(self, now: int) -> int:
        if self.stat == 2 and now >= self.due:
            self.stat = self.ends or (31 if self.left == self.quantity else 30)
        if self.for_a_day and self.stat in (10, 12, 75) and now >= self.placed + DAY:
            self.stat = 71 if self.left == self.quantity else 72
        return self.stat


class Histories(RuleBasedStateMachine):
    """Two mocks over one state serve both sessions, so that nothing may hide in a process."""

    placed = Bundle("placed")

    def __init__(self) -> None:
        super().__init__()
        state = MemoryState()
        self.mocks = [
            Broker(orders="book", state=state, clock=lambda: NOW * 10**9, cancel_seconds=DELAY, seed=seed)
            for seed in (1, 2)
        ]
        self.nonces = itertools.count(1)
        self.now = [0, 0]
        self.model: dict[int, Modelled] = {}

    @initialize()
    def open(self) -> None:
        for keys in KEYS:
            self.mocks[0].open_session(keys.api_key, keys.secret.reveal())

    def ask(self, owner: int, scheme: str, command: str, params: dict[str, Any]) -> Reply:
        nonce = next(self.nonces)
        if scheme == "v3":
            request = compose_v3(KEYS[owner], command, NOW, params).request
        else:
            request = compose(KEYS[owner], command, nonce, params).request
        return self.mocks[nonce % 2].handle(request).reply

    def book(self) -> Any:
        return self.mocks[next(self.nonces) % 2].book

    def listed(self, owner: int, scheme: str = "v3", active_only: int = 0) -> dict[int, Order]:
        orders = orders_outcome(self.ask(owner, scheme, "getNotifyOrderJson", {"active_only": active_only}))
        assert len({order.order_id for order in orders}) == len(orders)
        return {order.order_id: order for order in orders}

    @rule(target=placed, owner=OWNERS, scheme=SCHEMES, quantity=st.integers(1, 9), expiration=st.integers(1, 3))
    def place(self, owner: int, scheme: str, quantity: int, expiration: int) -> int:
        """A new order works, under an id that nobody had."""
        params = {
            "instr_name": "AAPL.US", "action_id": 1, "order_type_id": 1, "qty": quantity, "expiration_id": expiration,
        }  # fmt: skip
        reply = self.ask(owner, scheme, "putTradeOrder", params)
        (order_id,) = self.listed(owner).keys() - self.model.keys()
        assert f'"order_id": {order_id}'.encode() in reply.body
        self.model[order_id] = Modelled(owner, quantity, self.now[owner], expiration != 3, quantity)
        return order_id

    @rule(target=placed, owner=OWNERS, ends=st.sampled_from([None, 21, 30, 31, 75]), left=st.integers(1, 5))
    def put(self, owner: int, ends: Any, left: int) -> int:
        """A test may begin with an order that is partly executed."""
        stat = 10 if left == 5 else 12
        wanted = NewOrder(stat=stat, q=5, leaves_qty=left, cancel_ends=ends)
        order_id = int(self.book().put(KEYS[owner].api_key, wanted).order_id)
        self.model[order_id] = Modelled(owner, 5, self.now[owner], False, left, ends, stat)
        return order_id

    @rule(order_id=placed, who=OWNERS, scheme=SCHEMES)
    def cancel(self, order_id: int, who: int, scheme: str) -> None:
        """Only the owner's cancel is accepted, and only of an order that works."""
        order = self.model[order_id]
        reply = self.ask(who, scheme, "delTradeOrder", {"order_id": order_id})
        working = order.at(self.now[order.owner]) not in {*ENDED, 2}
        if working and who == order.owner:
            assert cancel_outcome(order_id, reply).evidence == "order_id"
            order.stat, order.due = 2, self.now[who] + DELAY
        else:
            with pytest.raises(Rejected) as refusal:
                cancel_outcome(order_id, reply)
            assert (refusal.value.code == 12) == (who != order.owner)

    @rule(order_id=placed)
    def execute(self, order_id: int) -> None:
        """The exchange may be quicker than a cancel."""
        order = self.model[order_id]
        if order.at(self.now[order.owner]) in ENDED:
            return
        self.book().change(KEYS[order.owner].api_key, str(order_id), Change(stat=21))
        order.stat, order.left = 21, 0

    @rule(owner=OWNERS, seconds=st.sampled_from([1, 2, 3, DAY // 2, DAY]))
    def advance(self, owner: int, seconds: int) -> None:
        """Time passes for one session alone."""
        self.book().advance(KEYS[owner].api_key, seconds)
        self.now[owner] += seconds

    @invariant()
    def every_list_tells_what_the_model_knows(self) -> None:
        if not self.mocks[0].session(KEYS[0].api_key):
            return
        for owner in (0, 1):
            everything, active = self.listed(owner), self.listed(owner, "v2", 1)
            mine = {order_id: order for order_id, order in self.model.items() if order.owner == owner}
            assert {order_id: order.status for order_id, order in everything.items()} == {
                order_id: order.at(self.now[owner]) for order_id, order in mine.items()
            }
            assert active == {order_id: order for order_id, order in everything.items() if order.status not in ENDED}
            for order_id, order in mine.items():
                if order.seen[-1:] != [order.stat]:
                    order.seen.append(order.stat)
                assert not ENDED & set(order.seen[:-1]), f"{order_id} left a final status: {order.seen}"


Histories.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestHistories = pytest.mark.costly(Histories.TestCase)
