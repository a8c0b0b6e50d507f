"""Coverage-guided fuzzing, without end or with `-runs`: `fuzz.py form|http|broker [libFuzzer options]`.

Whatever comes, nothing is raised, nothing takes a second of processor time or ten by the clock, no answer of 500 or
more is without the mock's mark, and no cancel is accepted: the fuzzer never learns a secret. Its inputs begin from
requests that are right in all but that.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["tn_contract.contract.wire", "tn_contract.contract.signing", "mock_server"]):
    from mock_server.door import answered

    from mock_server.broker import Broker
    from mock_server.connection import Connection
    from mock_server.server import Server
    from tn_contract.contract.signing import Credentials, Secret
    from tn_contract.contract.wire import Request, compose, compose_v3, nest, parse_fields

KEY = Broker.demo.api_key
NOBODY = Credentials(KEY, Secret("not the mock's"))
BROKER = Broker(journal_size=10)
V2 = compose(NOBODY, "delTradeOrder", 17_953_797_860_021_223, {"order_id": 2929292929}).request
V3 = compose_v3(NOBODY, "delTradeOrder", 1_795_379_786, {"order_id": 2929292929}).request


def raw(request: Request) -> bytes:
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(request.body)}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in request.headers) + "\r\n").encode() + request.body


def fuzz_form(data: bytes) -> None:
    tree = nest(parse_fields(data))
    assert isinstance(tree, dict)


def fuzz_broker(data: bytes) -> None:
    head, _, body = data.partition(b"\n\n")
    line, *lines = head.decode("latin-1").split("\n")
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    headers = tuple((name, value) for name, _, value in (each.partition(": ") for each in lines))
    answer = BROKER.handle(Request(method, path, headers, body, query))
    expect_refusal(answer.reply.status, dict(answer.reply.headers))
    assert answer.assessment is None or answer.assessment.effect == "none"
    if BROKER.counts.total() % 1000 == 0:  # reading costs a hundred times what writing does
        for journal in (BROKER.unmatched, *(session.journal for session in (BROKER.session(KEY),) if session)):
            assert Broker.demo.secret.reveal() not in str(journal.exchanges())


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


SERVER = Server(lambda request: answered(BROKER, request))
LOOP = asyncio.new_event_loop()


def fuzz_http(data: bytes) -> None:
    LOOP.run_until_complete(converse(data))


async def converse(data: bytes) -> None:
    wire, connection = Wire(), Connection(SERVER)
    connection.connection_made(wire)  # type: ignore[arg-type]
    cut = len(data) // 2 if len(data) % 2 else len(data)
    for part in (data[:cut], data[cut:]):
        if part:
            connection.take(part)
    connection.eof_received()
    await asyncio.sleep(0)
    connection.connection_lost(None)
    for answer in wire.written.split(b"HTTP/1.1 ")[1:]:
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        status = int(head[0].split()[0])
        expect_refusal(status, dict(line.partition(": ")[::2] for line in head[1:]))
    assert not BROKER.counts["v2", "cancel-accepted"]
    assert not BROKER.counts["v3", "cancel-accepted"]


def expect_refusal(status: int, headers: dict[str, str]) -> None:
    assert status < 500 or headers.get("X-Tn-Mock") == "harness-error", status


TARGETS = {"form": fuzz_form, "broker": fuzz_broker, "http": fuzz_http}
SEEDS = {
    "form": [V2.body, b"a[b][]=c&a[b][1]=%00&a.b=+", b"params[order_id]=1&params=2"],
    "broker": [
        f"{each.method} {each.path}\n".encode()
        + "\n".join(f"{name}: {value}" for name, value in each.headers).encode() + b"\n\n" + each.body
        for each in (V2, V3)
    ],
    "http": [
        raw(V2), raw(V3), raw(V2) + raw(V3),
        b"POST /api/v2/cmd/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        b"POST /api/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    ],
}  # fmt: skip


def in_a_second(take: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Hold one input to a second of the processor, for the clock also counts what other programs do meanwhile."""

    def timed(data: bytes) -> None:
        started = time.process_time()
        take(data)
        taken = time.process_time() - started
        assert taken < 1, taken

    return timed


def main() -> None:
    target = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[target]):
            Path(folder, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-timeout=10", "-max_len=4096", folder], in_a_second(TARGETS[target]))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
