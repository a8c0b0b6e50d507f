"""TLS on a transport that stays in our hands: it can still be reset, or answered in plain text."""

from __future__ import annotations

import ssl
from asyncio import WriteTransport
from contextlib import suppress

_BLOCK = 64 * 1024


class NotTls(Exception):
    """What the client says is no TLS, or none that it may speak here."""

    def __init__(self, error: ssl.SSLError, heard: bytes) -> None:
        super().__init__(str(error))
        self.plain_text = heard if error.reason == "HTTP_REQUEST" else b""


class Tls:
    """The server's side of one connection."""

    def __init__(self, context: ssl.SSLContext, transport: WriteTransport) -> None:
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False
        self._heard = b""  # until there is a handshake

    def read(self, data: bytes) -> tuple[bytes, bool]:
        """Return what the client said, and whether it has said all. Raises `NotTls`."""
        said = []
        self._incoming.write(data)
        try:
            if not self._established:
                self._heard += data
                self._object.do_handshake()
                self._established, self._heard = True, b""
            while chunk := self._object.read(_BLOCK):
                said.append(chunk)
        except ssl.SSLWantReadError:
            return b"".join(said), False
        except ssl.SSLError as error:
            raise NotTls(error, self._heard) from error
        finally:
            self._flush()
        return b"".join(said), True

    def write(self, data: bytes) -> None:
        """Send data."""
        try:
            self._object.write(data)
        except ssl.SSLError:  # the client has broken the rules of TLS: there is no way to tell it anything
            self._transport.abort()
        else:
            self._flush()

    def say_goodbye(self) -> None:
        """Tell the client that this was all."""
        if not self._established:
            return
        with suppress(ssl.SSLError):  # also when the client has not answered the goodbye: nobody waits for that
            self._object.unwrap()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
