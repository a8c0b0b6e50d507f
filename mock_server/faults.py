"""What goes over the wire instead of a reply, step by step. Pure: whoever owns the connection plays the steps."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tn_contract.contract import corpus

DELAY_SECONDS = 1.0
LATE_SECONDS = 4.0
SILENCE_SECONDS = 60.0
_PIECE = 16  # bytes of a dribbled reply that come at a time
_PADDING = 100 * 1024  # bytes of white space before a long reply

Kind: TypeAlias = corpus.Fault  # scenarios and magic orders have the same


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a reply is spoilt on its way.

    `seconds`: how late a delayed reply comes, how long a dribbled one takes, how long silence or a stall lasts; with
    the others, how long after what is sent of the reply the connection ends. `after`: how many bytes of the reply, its
    head included, are sent before it goes wrong; of a dribbled reply, how many come at a time.
    """

    kind: Kind
    seconds: Annotated[float, Meta(ge=0)] | None = None
    after: Annotated[int, Meta(ge=0)] | None = None

    @property
    def loses_reply(self) -> bool:
        """Whether the client never gets the whole reply."""
        return self.kind not in corpus.WHOLE

    @property
    def late(self) -> float:
        """How many seconds after its time a reply has come whole, if it does."""
        return _or(self.seconds, DELAY_SECONDS) if self.kind in ("delay", "dribble") else 0.0


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
        case "chunked":
            return (Send(_chunked(reply) + b"0\r\nX-Trailer: 1\r\n\r\n"), Keep())
        case "long":
            return (Send(_padded(reply)), Keep())
        case "closing":
            return (Send(_announcing_the_end(reply)), *_pause(fault), Close())
        case "late":
            return (Wait(_or(fault.seconds, LATE_SECONDS)), Send(reply), Keep())
        case "stall-status":
            return (*_begun(fault, reply, len("HTTP/1.1 20")), Hang(_or(fault.seconds, SILENCE_SECONDS)))
        case "stall-header":
            return (*_begun(fault, reply, reply.find(b"\r\n") + 4), Hang(_or(fault.seconds, SILENCE_SECONDS)))
        case "stall-body":
            return (*_begun(fault, reply, _middle(reply)), Hang(_or(fault.seconds, SILENCE_SECONDS)))
        case "stall-chunk":
            return (
                *_begun(fault, whole := _chunked(reply) + b"0", len(whole) - 1),
                Hang(_or(fault.seconds, SILENCE_SECONDS)),
            )
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
    head, body = _parts(reply)
    return _joined(head, b"Content-Length: %d" % (2 * len(body) + 1), body)


def _chunked(reply: bytes) -> bytes:
    """Write the body in two chunks; the last one, which is empty, is not among them."""
    head, body = _parts(reply)
    pieces = [piece for piece in (body[: len(body) // 2], body[len(body) // 2 :]) if piece]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return _joined(head, b"Transfer-Encoding: chunked", chunks)


def _padded(reply: bytes) -> bytes:
    head, body = _parts(reply)
    body = b" " * _PADDING + body
    return _joined(head, b"Content-Length: %d" % len(body), body)


def _announcing_the_end(reply: bytes) -> bytes:
    head, separator, body = reply.partition(b"\r\n\r\n")
    head = re.sub(rb"(?i)\r\nConnection:[^\r]*", b"", head)
    return head + b"\r\nConnection: close" + separator + body


def _parts(reply: bytes) -> tuple[bytes, bytes]:
    """Split a reply into the head, without what it says of the length, and the body."""
    head, _separator, body = reply.partition(b"\r\n\r\n")
    return re.sub(rb"(?i)\r\nContent-Length:[^\r]*", b"", head), body


def _joined(head: bytes, header: bytes, body: bytes) -> bytes:
    return head + b"\r\n" + header + b"\r\n\r\n" + body
