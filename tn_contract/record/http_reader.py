"""Bytes → requests, strictly and without I/O: the mock's connections and `explain-request` share this reader.

What is not HTTP is refused with a reason, and so is what is too large. A refusal ends the reading: where the next
request would begin is not known.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Protocol

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from tn_contract.contract.wire import Request, decoded_path

MAX_BODY = 64 * 1024
# This much is read of a body that is too large: who still sends when the connection closes never sees the reply.
READ_LIMIT = 16 * MAX_BODY
HEADER_LIMIT = 32 * 1024
HEADER_FIELDS = 256
_MEND = "the request never reached the API: mend the HTTP"
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?(\r?\n)")
_ORIGIN = re.compile(rb"(?i)https?://([^/?#]+)")
# RFC 9110, section 7.2: a name, an IPv4 address or an IPv6 address in brackets, perhaps with a port. Of a header that
# came twice both values are joined by a comma and a space, and no host has a space.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?")
_USUAL_TARGET, _USUAL_NAME = 256, 64  # longer ones are not remembered: a stranger chooses them


class Refusal(NamedTuple):
    """Why bytes are not a request, and the HTTP status that says so."""

    reason: str
    status: int = 400
    hint: str = _MEND


TOO_LARGE = Refusal("the body is too large", 413, f"a command needs a few hundred bytes; the limit is {MAX_BODY}")


class Listener(Protocol):
    """Who is told what came."""

    def request_begins(self) -> None:
        """Take note that headers are to come."""

    def body_begins(self) -> None:
        """Take note that headers are whole; `Reader.uninvited` says if the client waits to be asked for the body."""

    def request_came(self, request: Request, connection: str) -> None:
        """Take a request. `connection` is what the reply has to say in the header of that name: "" for nothing."""

    def refuse(self, refusal: Refusal) -> None:
        """Take note that what came is no request; nothing after it can be understood."""


class Reader:
    """Reads the requests of one connection."""

    __slots__ = (
        "_body", "_connection", "_fed", "_head_size", "_headers", "_in_head", "_keep", "_listener", "_method",
        "_parser", "_path", "_query", "_size", "_target", "deaf", "parts", "uninvited",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._parser = HttpRequestParser(self)
        self.deaf = False  # what is said is thrown away
        self.parts = 0  # of bodies, so far: tiny chunks cost much more than their bytes
        self.uninvited = False  # the client waits with its body until it is asked for it
        self._headers: dict[str, str] | None = None  # of the request that is being read
        self._target = b""
        self._method = self._path = self._query = self._connection = ""
        self._body = bytearray()
        self._in_head = False
        self._head_size = 0
        self._size = 0  # of the headers, then of the body
        self._fed = 0  # bytes since the block it began in, framing and all
        self._keep = True

    @property
    def within(self) -> str:
        """What has begun and is not whole: "request" or "body", or "" for nothing."""
        if self._headers is None:
            return ""
        return "request" if self._in_head else "body"

    @property
    def held(self) -> int:
        """How many bytes of an unfinished request are kept."""
        return 0 if self._headers is None else self._head_size + self._size

    def stop(self) -> None:
        """Hear no more."""
        self.deaf = True
        self._headers = None
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Read on."""
        reading = self._headers
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._feed_body(data[upgrade.args[0] :])
        except HttpParserError as error:
            if not self.deaf:  # or else it comes after the last request, which concerns nobody
                self._listener.refuse(_complaint(error))
        if reading is not None and reading is self._headers:
            self._fed += len(data)
            if self._fed > (HEADER_LIMIT if self._in_head else 8 * READ_LIMIT):  # chunks count with their framing
                self._listener.refuse(Refusal("the request is too large", 431 if self._in_head else 413))

    def _feed_body(self, data: bytes) -> None:
        """Read on where the parser stopped, because the client offers to change to another protocol."""
        if self._headers is not None:
            chunked = "Transfer-Encoding" in self._headers
            length = self._headers.get("Content-Length", "0")
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
            self._parser = HttpRequestParser(_BodyOnly(self))
            self.feed(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("ascii") + data)

    # ---- the parser's callbacks ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self.deaf:
            self._headers, self._target, self._body, self._in_head = {}, b"", bytearray(), True
            self._size = self._fed = self._head_size = 0
            self._listener.request_begins()

    def on_url(self, part: bytes) -> None:
        """Take the address, or a part of it."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Those after a chunked body mean nothing here."""
        headers = self._headers
        if headers is None or not self._in_head:
            return
        self._size += len(name) + len(value)
        if known := _usual_header_name(name) if len(name) <= _USUAL_NAME else _header_name(name):
            if len(headers) == HEADER_FIELDS:
                raise _Refused(Refusal(f"there are more than {HEADER_FIELDS} header fields", 431))
            text = value.decode("latin-1").strip(" \t")
            headers[known] = f"{headers[known]}, {text}" if known in headers else text

    def on_headers_complete(self) -> None:
        """Check what the parser lets pass, and say that the body may come."""
        headers, parser = self._headers, self._parser
        if headers is None:
            return
        self._in_head = False
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise _Refused(Refusal(f"HTTP/{version} is not spoken here", 505))
        self._head_size = self._size + len(self._target)
        if self._head_size > HEADER_LIMIT:
            raise _Refused(Refusal("the request line and the headers are too large", 431))
        if "Host" not in headers and version == "1.1":
            raise _Refused(Refusal("HTTP/1.1 needs a Host header, and there is none"))
        if not _HOST.fullmatch(headers.get("Host", "")):
            raise _Refused(Refusal("the Host header names no host, or there are two of them"))
        target = self._target
        if target[:1] != b"/" and (origin := _ORIGIN.match(target)):  # as proxies are asked: it outweighs Host
            headers["Host"] = origin[1].decode("latin-1")
            if not _HOST.fullmatch(headers["Host"]):
                raise _Refused(Refusal("the address names no host"))
            target = b"/" + target[origin.end() :].removeprefix(b"/")
        self._path, self._query = (_usual_address if len(target) <= _USUAL_TARGET else _address)(target)
        self._method = parser.get_method().decode("ascii")
        if self._method == "CONNECT":
            raise _Refused(Refusal("CONNECT was refused: this is no proxy"))
        if "Transfer-Encoding" in headers and (headers["Transfer-Encoding"].lower() != "chunked" or version == "1.0"):
            raise _Refused(Refusal("Transfer-Encoding can only be chunked, and only in HTTP/1.1", 501))
        if int(headers.get("Content-Length", 0)) > READ_LIMIT:
            raise _Refused(TOO_LARGE)
        self._keep = parser.should_keep_alive() and not parser.should_upgrade()
        if not self._keep:
            self._connection = "close"
        else:
            self._connection = "keep-alive" if version == "1.0" else ""
        self._size = 0
        self.uninvited = "Expect" in headers and headers["Expect"].lower() == "100-continue" and version == "1.1"
        self._listener.body_begins()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if self._headers is not None:
            self.parts += 1
            self._size += len(part)
            if self._size > READ_LIMIT:
                raise _Refused(TOO_LARGE)
            self._body += part

    def on_message_complete(self) -> None:
        """Hand the request over."""
        headers = self._headers
        if headers is None or (not self._keep and self._parser.should_upgrade()):  # then the body is yet to come
            return
        self._headers, self.uninvited = None, False
        self.deaf = not self._keep
        request = Request(self._method, self._path, tuple(headers.items()), bytes(self._body), self._query)
        self._listener.request_came(request, self._connection)


class _BodyOnly:
    """Takes from a parser what follows a head that was read before."""

    def __init__(self, reader: Reader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete


class _Refused(Exception):
    """Comes out of the parser's callbacks for what the parser itself would let pass."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _complaint(error: HttpParserError) -> Refusal:
    """Put the parser's complaint, or ours, into words."""
    cause = error.__context__
    if isinstance(cause, _Refused):
        return cause.refusal
    if isinstance(error, HttpParserCallbackError) and cause:
        return broken(cause)
    return Refusal(f"this is no HTTP: {error}")


def broken(error: BaseException) -> Refusal:
    """Refuse a request because of the reader's or the server's own fault."""
    return Refusal(f"the mock itself failed: {type(error).__name__}", 599, "please report this as a bug")


def ends_early(within: str) -> Refusal:
    """Refuse a "request" or "body" of which the end never came."""
    return Refusal(f"the {within} ends early", hint="mend Content-Length or the chunks")


class _Collector:
    """Keeps what a reader finds."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refusal: Refusal | None = None

    def request_begins(self) -> None: ...

    def body_begins(self) -> None: ...

    def request_came(self, request: Request, _connection: str) -> None:
        self.requests.append(request)

    def refuse(self, refusal: Refusal) -> None:
        self.refusal = self.refusal or refusal


def read_all(content: bytes) -> tuple[list[Request], Refusal | None]:
    """Read all that one connection carried: its requests, and why the rest is none."""
    found = _Collector()
    reader = Reader(found)
    reader.feed(content)
    if found.refusal is None and reader.within and not reader.deaf:
        found.refusal = ends_early(reader.within)
    return found.requests, found.refusal


def _address(target: bytes) -> tuple[str, str]:
    """Split what a request line names into path and query."""
    text = target.decode("latin-1")
    path, _, query = text.partition("?")
    if path[:1] != "/" or "#" in text:
        raise _Refused(Refusal(f"{text[:200]} is no path: an address here begins with a slash"))
    return decoded_path(path.encode("latin-1")), query


_usual_address = lru_cache(256)(_address)


def _header_name(name: bytes) -> str:
    """Write every header's name in one way, as WSGI would hand it on; "" if `_` is in it.

    WSGI could not tell `X_NtApi_Sig` from `X-NtApi-Sig`, and a usual PHP server never sees the former.
    """
    return "" if b"_" in name else name.decode("ascii").title()


_usual_header_name = lru_cache(1024)(_header_name)


def dechunked(body: bytes) -> bytes | None:
    """Join the chunks of a body whose line ends may have become LF; None where they are not whole."""
    joined, at = b"", 0
    while head := CHUNK.match(body, at):
        size, end = int(head[1], 16), head[2]
        at = head.end() + size
        if not size:
            return joined
        if body[at : at + len(end)] != end:
            return None
        joined += body[head.end() : at]
        at += len(end)
    return None
