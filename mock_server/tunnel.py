"""A proxy that leads to the mock alone, for clients whose code holds `https://tradernet.com`.

`CONNECT` for one of the names that the mock has a certificate for makes the connection one of the mock's own, whatever
its port; everything else is refused. It looks no name up and connects to nothing, so that no test can reach a live
broker by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mock_server.server import Server, Visitor
from tn_contract.record.http_reader import HEADER_LIMIT

_OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Tunnel(Visitor):
    """A client that has yet to say where it wants to go; `connection` makes what it is led to."""

    __slots__ = ("_connection", "_head", "_hosts")

    def __init__(self, server: Server, connection: Callable[[], Visitor], hosts: Iterable[str]) -> None:
        super().__init__(server)
        self._connection = connection
        self._hosts = tuple(map(_plain, hosts))
        self._head = b""

    def take(self, data: bytes) -> None:
        """Read on until it is said, and then lead there or refuse."""
        self._head += data
        head, said, rest = self._head.partition(b"\r\n\r\n")
        if said and (refusal := self._refusal(head)):
            self.server.turned_away.append(refusal)
            self.transport.write(_refused(refusal))
            self.transport.close()
        elif said:
            self._lead(rest)
        elif len(head) > HEADER_LIMIT:
            self.transport.close()

    def _lead(self, rest: bytes) -> None:
        self.transport.write(_OPEN)
        connection = self._connection()
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        self.server.leave(self)
        if rest:
            connection.data_received(rest)

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


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _refused(text: str) -> bytes:
    body = f"tn-contract: {text}\n".encode()
    head = (
        "HTTP/1.1 403 Refused by the tn-contract tunnel\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Tn-Mock: harness-error\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
