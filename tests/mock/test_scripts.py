"""Faults as scripts: what goes over the wire instead of a reply, whatever the reply."""

from __future__ import annotations

from typing import get_args

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import faults
from mock_server.faults import Close, End, Fault, Hang, Keep, Kind, Reset, Send, Wait, script
from tn_contract.contract import corpus

pytestmark = pytest.mark.slow

bodies = st.binary(max_size=200)
replies = bodies.map(lambda body: b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
seconds = st.none() | st.floats(0, 1e6)
kinds = st.sampled_from(get_args(Kind))
spoilt = st.builds(Fault, kinds, seconds, st.none() | st.integers(0, 500))


def sent(steps: tuple[faults.Step, ...]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def waited(steps: tuple[faults.Step, ...]) -> float:
    return sum(step.seconds for step in steps if isinstance(step, Wait))


@given(spoilt, replies)
def test_a_script_ends_and_does_so_once(fault: Fault, reply: bytes) -> None:
    *before, last = script(fault, reply)
    assert isinstance(last, End)
    assert not any(isinstance(step, End) for step in before)
    assert all(step.data for step in before if isinstance(step, Send))


@given(spoilt, replies)
def test_a_reply_arrives_as_it_is_or_changed_in_its_framing_alone_or_not_at_all(fault: Fault, reply: bytes) -> None:
    steps = script(fault, reply)
    kept = fault.kind in ("delay", "dribble", "chunked", "long", "late")
    assert isinstance(steps[-1], Keep) is kept
    if fault.kind in ("delay", "dribble", "late"):
        assert sent(steps) == reply
    if fault.kind in corpus.WHOLE:
        assert body_of(sent(steps)).strip() == reply.partition(b"\r\n\r\n")[2].strip()


def body_of(told: bytes) -> bytes:
    """What a reader of HTTP makes of a reply's body."""
    reader = Parsed(told)
    return b"".join(reader.parts)


class Parsed:
    def __init__(self, told: bytes) -> None:
        self.parts: list[bytes] = []
        httptools.HttpResponseParser(self).feed_data(told)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)


@given(st.sampled_from(["stall-status", "stall-header", "stall-body", "stall-chunk"]), replies, seconds)
def test_what_stalls_never_ends_a_reply(kind: Kind, reply: bytes, pause: float | None) -> None:
    steps = script(Fault(kind, pause), reply)
    assert isinstance(steps[-1], Hang)
    ended: list[bool] = []
    listener = type("Listener", (), {"on_message_complete": lambda self: ended.append(True)})()
    httptools.HttpResponseParser(listener).feed_data(sent(steps))
    assert not ended


@given(st.sampled_from(["silence", "drop", "reset", "cut-off"]), replies, seconds, st.integers(0, 500))
def test_what_breaks_off_never_sends_all(kind: Kind, reply: bytes, pause: float | None, after: int) -> None:
    told = sent(script(Fault(kind, pause, after), reply))
    assert reply.startswith(told)
    assert len(told) == min(after, len(reply) - 1)


@given(replies)
def test_a_reply_that_is_cut_off_is_never_whole(reply: bytes) -> None:
    told = sent(script(Fault("cut-off"), reply))
    assert len(told) < len(reply)
    body = reply.partition(b"\r\n\r\n")[2]
    if len(body) > 1:
        assert 0 < len(told.partition(b"\r\n\r\n")[2]) < len(body)


@given(replies, seconds, st.none() | st.integers(0, 500))
def test_a_dribbled_reply_takes_its_time_between_the_pieces(
    reply: bytes, pause: float | None, after: int | None
) -> None:
    *steps, _ = script(Fault("dribble", pause, after), reply)
    pieces = [step.data for step in steps if isinstance(step, Send)]
    assert all(len(piece) == max(1, 16 if after is None else after) for piece in pieces[:-1])
    assert [isinstance(step, Send) for step in steps] == [nth % 2 == 0 for nth in range(2 * len(pieces) - 1)]
    if len(pieces) > 1:
        assert waited(tuple(steps)) == pytest.approx(faults.DELAY_SECONDS if pause is None else pause)


@given(replies)
def test_a_wrong_length_is_greater_than_the_body_and_said_once(reply: bytes) -> None:
    head, _, body = sent(script(Fault("wrong-length"), reply)).partition(b"\r\n\r\n")
    [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    assert int(length.partition(b":")[2]) > len(body)
    assert body == reply.partition(b"\r\n\r\n")[2]


@given(replies)
def test_garbage_is_nothing_of_the_reply(reply: bytes) -> None:
    assert b"HTTP/1" not in sent(script(Fault("garbage"), reply))


@pytest.mark.parametrize(
    ("kind", "end"), [("silence", Hang(60.0)), ("drop", Close()), ("reset", Reset()), ("garbage", Close())]
)
def test_how_the_connection_ends(kind: Kind, end: End) -> None:
    assert script(Fault(kind), b"HTTP/1.1 200 OK\r\n\r\n")[-1] == end


def test_the_usual_times_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "DELAY_SECONDS", 0.25)
    monkeypatch.setattr(faults, "SILENCE_SECONDS", 5.0)
    assert script(Fault("delay"), b"x") == (Wait(0.25), Send(b"x"), Keep())
    assert script(Fault("silence"), b"x") == (Hang(5.0),)
    assert script(Fault("silence", 0.5, 1), b"xy") == (Send(b"x"), Hang(0.5))


def test_every_fault_of_the_corpus_has_a_script() -> None:
    assert set(get_args(corpus.Fault)) <= set(get_args(Kind))


@pytest.mark.parametrize("wrong", [{"kind": "x"}, {"kind": "drop", "after": -1}, {"kind": "delay", "seconds": -1}])
def test_a_fault_in_a_file_is_validated(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Fault)
    assert msgspec.convert({"kind": "cut-off", "after": 3}, Fault) == Fault("cut-off", None, 3)
