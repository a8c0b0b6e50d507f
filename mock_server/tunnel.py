"""A proxy that leads to the mock alone, for clients whose code holds `https://tradernet.com`.

`CONNECT` for one of the names that the mock has a certificate for is piped to the mock, whatever its port; everything
else is refused. It looks no name up and connects to no other address, so that no test can reach a live broker by it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

HEAD_SECONDS = 10
HEAD_LIMIT = 32 * 1024
_BLOCK = 64 * 1024
_OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@contextmanager
def running_tunnel(hosts: Iterable[str], target: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Run a tunnel to `target` in a thread until the block ends; yields the address it listens on.

    It listens on the host of `target`, at any free port. Tunnels still open at the end are cut.
    """
    tunnel = _Tunnel(hosts, target)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(tunnel.serve, target[0], 0, limit=HEAD_LIMIT, backlog=128))
    thread = threading.Thread(target=loop.run_forever, name="tn-tunnel", daemon=True)
    thread.start()
    try:
        host, port, *_ = server.sockets[0].getsockname()
        yield host, port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(tunnel.close())
        loop.close()


class _Tunnel:
    def __init__(self, hosts: Iterable[str], target: tuple[str, int]) -> None:
        self._hosts = tuple(map(_plain, hosts))
        self._target = target
        self._clients: set[asyncio.Task[None]] = set()

    def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def close(self) -> None:
        clients = tuple(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports let go of their sockets in the loop's next round

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            refusal = self._refusal(head)
            if refusal:
                writer.write(_refused(refusal))
                await writer.drain()
            else:
                await self._lead(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # gone, silent (TimeoutError is an OSError), or no HTTP: there is nobody to talk to
        finally:
            writer.close()

    def _refusal(self, head: bytes) -> str:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        if method != "CONNECT":
            return f"{method} {target} was refused: this tunnel takes only CONNECT, for https"
        host, colon, port = target.rpartition(":")
        if colon and port.isdigit() and _plain(host) in self._hosts:
            return ""
        return (
            f"CONNECT {target} was refused: this tunnel leads to the mock alone, in the name of "
            f"{', '.join(self._hosts)}. For another name start the mock with --tls NAME as well"
        )

    async def _lead(self, reader: StreamReader, writer: StreamWriter) -> None:
        mock_reader, mock_writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(_OPEN)
            outward = asyncio.create_task(_pipe(reader, mock_writer))
            try:
                # A client that has said all may still listen; when the mock has said all, nothing more can come.
                await _pipe(mock_reader, writer)
            except ConnectionResetError:
                _reset(writer)
                raise
            finally:
                outward.cancel()
                await asyncio.gather(outward, return_exceptions=True)
        finally:
            mock_writer.close()


async def _pipe(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _reset(writer: StreamWriter) -> None:
    """Break the client's connection off as the mock's was, which is not the same to it as an end."""
    client = writer.get_extra_info("socket")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _refused(text: str) -> bytes:
    body = f"tn-contract: {text}\n".encode()
    head = (
        "HTTP/1.1 403 Refused by the tn-contract tunnel\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Tn-Mock: harness-error\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
