"""What goes over the wire instead of a reply, step by step. Pure: whoever owns the connection plays the steps."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tn_contract import corpus

DELAY_SECONDS = 1.0
SILENCE_SECONDS = 60.0
_PIECE = 16  # bytes of a dribbled reply that come at a time

Kind: TypeAlias = corpus.Fault  # scenarios and magic orders have the same


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a reply is spoilt on its way.

    `seconds`: how late a delayed reply comes, how long a dribbled one takes, how long silence lasts; with the others,
    how long after what is sent of the reply the connection ends. `after`: how many bytes of the reply, its head
    included, are sent before it goes wrong; of a dribbled reply, how many come at a time.
    """

    kind: Kind
    seconds: Annotated[float, Meta(ge=0)] | None = None
    after: Annotated[int, Meta(ge=0)] | None = None

    @property
    def loses_reply(self) -> bool:
        """Whether the client never gets the whole reply."""
        return self.kind not in ("delay", "dribble")

    @property
    def late(self) -> float:
        """How many seconds after its time a reply has come whole, if it does."""
        return DELAY_SECONDS if self.seconds is None else self.seconds


class Send(Struct, frozen=True):
    """Send bytes."""

    data: bytes


class Wait(Struct, frozen=True):
    """Do nothing for a time."""

    seconds: float


class Keep(Struct, frozen=True):
    """End as if nothing had happened: the connection takes the next request."""


class Close(Struct, frozen=True):
    """End the connection in order (FIN)."""


class Reset(Struct, frozen=True):
    """Break the connection off (RST)."""


class Hang(Struct, frozen=True):
    """Say nothing more until the client leaves, or the time has passed."""

    seconds: float


End: TypeAlias = Keep | Close | Reset | Hang
Step: TypeAlias = Send | Wait | End


def script(fault: Fault, reply: bytes) -> tuple[Step, ...]:
    """Return the steps that replace `reply`, a whole HTTP reply. The last one, and no other, is an `End`."""
    match fault.kind:
        case "delay":
            return (Wait(fault.late), Send(reply), Keep())
        case "dribble":
            return (*_dribbled(reply, max(1, _or(fault.after, _PIECE)), fault.late), Keep())
        case "silence":
            return (*_begun(fault, reply), Hang(_or(fault.seconds, SILENCE_SECONDS)))
        case "drop":
            return (*_begun(fault, reply), *_pause(fault), Close())
        case "reset":
            return (*_begun(fault, reply), *_pause(fault), Reset())
        case "cut-off":
            return (*_begun(fault, reply, _middle(reply)), *_pause(fault), Close())
        case "wrong-length":
            promising = _promising_more(reply)
            return (*_sent(promising[: fault.after]), *_pause(fault), Close())
        case "garbage":
            return (Send(b"\x15\x03\x01\x00\x02\x02\x28 this is no HTTP\r\n"), *_pause(fault), Close())


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _begun(fault: Fault, reply: bytes, usual: int = 0) -> tuple[Step, ...]:
    """Send the reply's first bytes. Never the whole reply, however short: that would be no fault."""
    return _sent(reply[: min(int(_or(fault.after, usual)), len(reply) - 1)])


def _sent(data: bytes) -> tuple[Step, ...]:
    return (Send(data),) if data else ()


def _pause(fault: Fault) -> tuple[Step, ...]:
    return (Wait(fault.seconds),) if fault.seconds else ()


def _dribbled(reply: bytes, size: float, seconds: float) -> tuple[Step, ...]:
    pieces = [reply[at : at + int(size)] for at in range(0, len(reply), int(size))]
    pause = Wait(seconds / max(1, len(pieces) - 1))
    return tuple(step for piece in pieces for step in (pause, Send(piece)))[1:]


def _middle(reply: bytes) -> int:
    """Where the first half of the body ends."""
    body = reply.find(b"\r\n\r\n") + 4
    return body + (len(reply) - body) // 2


def _promising_more(reply: bytes) -> bytes:
    """Let `Content-Length` say more than there is."""
    head, separator, body = reply.partition(b"\r\n\r\n")
    head = re.sub(rb"(?i)\r\nContent-Length:[^\r]*", b"", head)
    return head + b"\r\nContent-Length: %d" % (2 * len(body) + 1) + separator + body
