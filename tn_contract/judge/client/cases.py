"""What a client is asked to do: the cases of `judge`, each with a key pair of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from tn_contract.contract.corpus import load_corpus

ORDINARY = "2929292929"
BEYOND_32_BITS = (ORDINARY, "4982349829328")
BEYOND_53_BITS = ("9007199254740993", "9223372036854775807")
# The order whose cancel is answered for its neighbour, and the payload: as floating-point numbers the two are equal.
ROUNDED, NEIGHBOUR = BEYOND_53_BITS[0], "other-order-as-double"
# What a client is asked to wait for a reply, in seconds: more than the delayed one takes, less than the deadline.
REPLY_TIMEOUT = 3
# Out of order by number, text and length, for who sorts them cancels in another one; so many processes that nonces
# drawn at random rise but rarely.
RESTARTED = (("1000007", "20002", "1000005"), ("1000001",), ("1000006",), ("1000003",), ("1000004",))

# So many that random last digits do not rise by chance, and that two come within a millisecond where no clock is held.
CLOSE = tuple(str(order_id) for order_id in range(3000001, 3000041))


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """Processes to start one after the other, each with the orders that it shall cancel.

    A `clock` that steps back is an hour behind from the first order's cancel on, until the second's puts it ahead; one
    that stands still goes on by a tenth of a millisecond from cancel to cancel. Without `server` nothing listens;
    a `certificate` is for HTTPS: a good one, or one that is wrong in a certain way; with `stalls` a connection is never
    made, or HTTPS never begun; a `slow` case has a reply that comes late or never. `reply` is the payload that answers
    every cancel of an order without magic.
    """

    id: str
    title: str
    processes: tuple[tuple[str, ...], ...]
    clock: Literal["", "steps-back", "stands-still"] = ""
    server: bool = True
    certificate: Literal["", "trusted", "untrusted", "misnamed", "expired", "self-signed"] = ""
    stalls: Literal["", "connect", "handshake"] = ""
    slow: bool = False
    reply: str = "success"

    @property
    def unreachable(self) -> bool:
        """Whether an honest client cannot send anything there."""
        return not self.server or bool(self.stalls) or self.certificate not in ("", "trusted")


def case_of(order_id: str) -> str:
    """The id of the case in which a magic order is cancelled."""
    return f"order-{order_id}"


def _after_others() -> tuple[tuple[str, ...], ...]:
    """Processes in which a refusal follows a success, an unclear reply a success, and an unclear reply a refusal."""
    refused, unclear = (load_corpus().replies[payload] for payload in ("method-error", "other-json"))
    return (ORDINARY, refused), (ORDINARY, unclear), (refused, unclear)


@cache
def cases() -> dict[str, CaseSpec]:
    """Every case by id: the special ones, then one for each magic order, followed by an ordinary one.

    Where the connection breaks, a second process ends with that, and a third has it break when it was used before;
    what is remembered of the breaks before may be wrong. After other doubts a second process cancels another order.
    """
    corpus = load_corpus()
    only = ((ORDINARY,),)
    late, dribbled = (
        next(order.order_id for order in corpus.magic_orders.values() if order.fault == fault)
        for fault in ("delay", "dribble")
    )
    specs = [
        CaseSpec("plain", "ordinary orders, small and large", (("1", *BEYOND_32_BITS, *BEYOND_53_BITS),)),
        CaseSpec("restart", "five processes, one after the other", RESTARTED),
        CaseSpec(
            "clock-steps-back",
            "the clock is set back by an hour",
            ((late, ORDINARY, "1000007"),),
            "steps-back",
            slow=True,
        ),
        CaseSpec("clock-stands-still", "the clock is held between cancels", (CLOSE,), "stands-still", slow=True),
        CaseSpec("in-turn", "slow replies among ordinary ones", ((ORDINARY, late, "1000007", dribbled, "1000005"),),
                 slow=True),
        CaseSpec("accepted-first", "refusals and unclear replies after a success", _after_others()),
        CaseSpec("neighbour", "a success that names the neighbour of an order beyond 2^53", ((ROUNDED,),),
                 reply=NEIGHBOUR),
        CaseSpec("no-server", "nothing listens at the address", only, server=False),
        CaseSpec("stalled-connect", "no connection is ever made", only, stalls="connect", slow=True),
        CaseSpec("stalled-handshake", "HTTPS is never begun", only, stalls="handshake", slow=True),
        CaseSpec("trusted", "HTTPS with a good certificate", only, certificate="trusted"),
        CaseSpec("expired", "HTTPS with a certificate that has expired", only, certificate="expired"),
        CaseSpec("self-signed", "HTTPS with a certificate that is its own authority", only, certificate="self-signed"),
        CaseSpec("untrusted", "HTTPS with a certificate that nobody vouches for", only, certificate="untrusted"),
        CaseSpec("misnamed", "HTTPS with the certificate of another host", only, certificate="misnamed"),
    ]  # fmt: skip
    for order in corpus.magic_orders.values():
        title = f"{order.fault} on the way" if order.fault else corpus.payloads[order.payload].title
        slow = order.fault in ("delay", "dribble", "silence", "late") or (order.fault or "").startswith("stall")
        again: tuple[tuple[str, ...], ...] = ()
        if order.fault in ("drop", "reset"):
            again = ((order.order_id,), (ORDINARY, order.order_id))
        elif order.fault == "cut-off" or order.payload in ("http-503", "empty"):
            again = ((ORDINARY,),)
        specs.append(CaseSpec(case_of(order.order_id), title, ((order.order_id, ORDINARY), *again), slow=slow))
    return {spec.id: spec for spec in specs}
