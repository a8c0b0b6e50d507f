"""The seam of the mock: the broker finds out who asks, a room behind this does what is asked for.

`replay.py` keeps no orders and replays the corpus, `book.py` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import Struct

from mock_server.faults import Fault
from tn_contract.contract.corpus import Payload, Scheme

# For each generation of the protocol, the payload that answers a situation.
Replies = Mapping[Scheme, Mapping[str, Payload]]


class Call(Struct, frozen=True):
    """A command from the holder of a key: signature and time were right.

    `redirected` says that it came to where the mock's redirect points.
    """

    api_key: str
    scheme: Scheme
    command: str
    params: Mapping[str, object]
    redirected: bool = False


class Done(Struct, frozen=True):
    """What became of a request.

    `payload` outdoes the situation's own, `values` fill its `$names`; `order_id` is the order that the request names,
    `cancelled` says that it set the cancel going. A `fault` spoils the reply on its way.
    """

    situation: str
    order_id: str = ""
    payload: Payload | None = None
    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    cancelled: bool = False
    fault: Fault | None = None


class Commands(Protocol):
    """Carries out commands. Called from several threads."""

    def answer(self, call: Call) -> Done:
        """Do what is asked for; `command-unknown` is the situation of what it does not know."""
