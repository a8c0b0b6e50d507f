"""Broken clients whose patience has a hole: a server that stalls in one phase holds or misleads them."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.parse
from typing import Any

from .client_defects import DEFECTS, defect, found_too, instead_of, trying_again
from .clients import Client, Got, LostError, NotSentError


def peek(line: socket.socket, size: int = 1) -> bytes:
    """Look at what has come, and leave it; TLS cannot do that."""
    return b"\r\n" if isinstance(line, ssl.SSLSocket) else line.recv(size, socket.MSG_PEEK)


@instead_of("receive", "reports/stalled-body")
def ends_its_time_limit_with_the_header(self: Client, connection: http.client.HTTPConnection) -> Got:
    line = connection.sock
    reply = connection.getresponse()
    line.settimeout(None)
    return Got(reply.status, self.read(reply).decode("utf-8", "replace"), dict(reply.getheaders()))


@instead_of("receive", "reports/stalled-header", also={"reports/stalled-body": "nor is the body limited"})
def ends_its_time_limit_with_the_first_byte(self: Client, connection: http.client.HTTPConnection) -> Got:
    line = connection.sock
    peek(line)
    line.settimeout(None)
    return Client.receive(self, connection)


@instead_of("connect", "reports/stalled-connect")
def connects_without_a_time_limit(self: Client) -> http.client.HTTPConnection:
    patience, self.memory["patience"] = self.timeout, None
    try:
        connection = Client.connect(self)
    finally:
        self.memory["patience"] = patience
    connection.sock.settimeout(patience)
    return connection


DEFECTS["connects-without-a-time-limit"].attributes["patience"] = lambda self: self.memory.get("patience", self.timeout)
DEFECTS["connects-without-a-time-limit"].also["reports/stalled-handshake"] = "the handshake is part of it"


@instead_of("connect", "reports/stalled-handshake")
def shakes_hands_without_a_time_limit(self: Client) -> http.client.HTTPConnection:
    address = urllib.parse.urlsplit(self.base_url)
    if address.scheme != "https":
        return Client.connect(self)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=self.trust())
    try:
        line = socket.create_connection((address.hostname, address.port), self.timeout)
        line.settimeout(None)
        connection.sock = self.trust().wrap_socket(line, server_hostname=address.hostname)
        connection.sock.settimeout(self.timeout)
    except OSError as error:
        raise NotSentError(type(error).__name__) from error
    return connection


def on_stalls(slug: str, *own: str, outcome: str, also: dict[str, str] | None = None) -> None:
    """Register what is made of a connection that does not come about in time."""

    def on_not_sent(self: Client, order_id: str) -> dict[str, Any]:
        timed_out = self.memory.pop("timed out", False)
        return {"outcome": outcome if timed_out else "not-sent"}

    def connect(self: Client) -> http.client.HTTPConnection:
        try:
            return Client.connect(self)
        except NotSentError as error:
            self.memory["timed out"] = isinstance(error.__cause__, TimeoutError)
            raise

    defect(slug, *own, on_not_sent=on_not_sent, connect=connect, also=also)


on_stalls("takes-a-connect-that-stalls-for-refused", "reports/stalled-connect", outcome="rejected",
          also={"reports/stalled-handshake": "it ends like a connect"})  # fmt: skip
on_stalls("takes-a-connect-that-stalls-for-success", "reports/stalled-connect", outcome="accepted",
          also={"reports/stalled-handshake": "it ends like a connect"})  # fmt: skip


@instead_of("connect", "reports/stalled-connect", also={"reports/stalled-handshake": "it ends like a connect"})
def crashes_when_a_connect_stalls(self: Client) -> http.client.HTTPConnection:
    try:
        return Client.connect(self)
    except NotSentError as error:
        if isinstance(error.__cause__, TimeoutError):
            raise RuntimeError("no connection in time") from error
        raise


DEFECTS["crashes-when-a-connect-stalls"].also["runs/to-the-end"] = "a crash is no end"


@instead_of("connect", "reports/stalled-connect", also={"reports/stalled-handshake": "it ends like a connect"})
def connects_again_until_it_succeeds(self: Client) -> http.client.HTTPConnection:
    while True:
        try:
            return Client.connect(self)
        except NotSentError as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            time.sleep(0.05)


@instead_of("read", "reports/stalled-body")
def takes_what_came_before_a_stall_for_the_whole(self: Client, reply: http.client.HTTPResponse) -> bytes:
    """As PHP's streams do, which end in silence when their time is up."""
    got = b""
    try:
        while piece := reply.read1():
            got += piece
    except TimeoutError:
        pass
    return got


@instead_of("read", "reports/stalled-body")
def takes_a_good_status_for_success_when_the_body_stalls(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except TimeoutError:
        return b'{"result": 1}'


@instead_of("read", "reports/stalled-body")
def takes_a_body_that_stalls_for_refused(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except TimeoutError:
        return b'{"error": "timeout"}'


@instead_of("read", "reports/stalled-body")
def takes_a_body_that_stalls_for_not_sent(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except TimeoutError as error:
        raise NotSentError("timeout") from error


@instead_of("read", "reports/stalled-body", also={"runs/to-the-end": "a crash is no end"})
def crashes_when_the_body_stalls(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except TimeoutError as error:
        raise RuntimeError("the body stalls") from error


@instead_of("receive", "reports/stalled-header")
def takes_a_header_that_stalls_for_not_sent(self: Client, connection: http.client.HTTPConnection) -> Got:
    line = connection.sock
    peek(line)
    try:
        reply = connection.getresponse()
    except TimeoutError as error:
        raise NotSentError("timeout") from error
    return Got(reply.status, self.read(reply).decode("utf-8", "replace"), dict(reply.getheaders()))


@instead_of("receive", "reports/stalled-header")
def takes_the_status_line_for_the_reply(self: Client, connection: http.client.HTTPConnection) -> Got:
    line = connection.sock
    begun = b""
    try:
        while b"\r\n" not in begun:
            begun = peek(line, 4096)
            if not begun:
                raise LostError("closed")
        return Client.receive(self, connection)
    except TimeoutError:
        if begun.startswith(b"HTTP/1.1 200"):
            return Got(200, '{"result": 1}')
        raise


trying_again("tries-again-when-the-body-stalls", "resends/nothing-after-lost-replies",
             after=lambda _, got, lost: isinstance(lost, TimeoutError) and bool(STALLED.pop("body", False)),
             )  # fmt: skip
STALLED: dict[str, bool] = {}


def read_and_remember(self: Client, reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read()
    except TimeoutError:
        STALLED["body"] = True
        raise


DEFECTS["tries-again-when-the-body-stalls"].attributes["read"] = read_and_remember


# ---- found by others too --------------------------------------------------------------------------------------

found_too("ends-its-time-limit-with-the-first-byte", also={"reports/stalled-body": "nor is the body limited"})
found_too("takes-the-status-line-for-the-reply", also={"reports/stalled-body": "the status line has come there too"})
found_too(
    "takes-what-came-before-a-stall-for-the-whole",
    also={"reports/lost-replies": "what was promised besides is not missed"},
)
