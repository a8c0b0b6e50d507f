"""One recorded request, as far as its recording can be trusted.

A recording is not what was sent: tools join chunks, decompress, convert line ends and charsets, wrap lines, or cut
copies short, and leave the headers as they were. So a recorded request has `readings`, what may have been sent, the
most literal first. Each is written as bytes again and read by the strict reader that the mock's server uses. Where
headers contradict the body at hand, only a reading is judged that its own signature proves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tn_contract.contract.signing import ENCODING, ERRORS
from tn_contract.contract.wire import FORM_TYPE, Request, replace
from tn_contract.record.http_reader import CHUNK, Refusal, dechunked, read_all

_COMPRESSED = (b"\x1f\x8b", b"\x1f\xef\xbf\xbd", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_CHARSETS = ("latin-1", "cp1251", "utf-16-le", "utf-16")
_OWN_NOTATION = re.compile(r"HTTP/[23]|", re.IGNORECASE)
# HTTP/1.1 demands Host. HTTP libraries write it, so that a text without it was typed, or shortened by a tool.
_DEFAULT_HOST = "tradernet.com"

Headers = list[tuple[str, str]]


class Reading(NamedTuple):
    """What may have been sent, and what the recording then did to it."""

    request: Request
    note: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request of a file. `name` says where it stands, `notes` what is odd about the recording.

    With `refusal` the bytes are no HTTP. With `contradicts` no mistake is the client's unless a signature proves it.
    """

    name: str
    line: str
    readings: tuple[Reading, ...] = ()
    notes: tuple[str, ...] = ()
    contradicts: bool = False
    refusal: str = ""


class Parts(NamedTuple):
    """A request taken apart: `line` is the request line. `whole` is false where a recording leaves the body out.

    `exact` ones are recorded byte for byte, as far as can be seen.
    """

    line: str
    headers: Headers
    body: bytes
    whole: bool = True
    exact: bool = False

    def values(self, name: str) -> list[str]:
        """Return the values of every header of that name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


def is_compressed(body: bytes) -> bool:
    """Return whether a body begins as gzip, zlib or zstd do, or holds bytes that no text has."""
    return body.startswith(_COMPRESSED) or b"\x00" in body[:64] or body.count(b"\xef\xbf\xbd") > 2


def recorded(
    name: str,
    parts: Parts,
    *,
    size: int | None = None,
    others: Sequence[tuple[bytes, str]] = (),
    notes: Sequence[str] = (),
    doubt: str = "",
) -> Recorded:
    """Read a request that was taken apart.

    `size` is the length of the body as the recording tool gives it, `others` are further bodies that may have been
    sent, with a note on each; `doubt` is a contradiction that is known already.
    """
    bodies, problem = _bodies(parts, others)
    told = [*notes]
    problem = problem or doubt
    if not problem and size is not None and size != len(bodies[0][0]) and not _is_encoded(parts):
        problem = f"bodySize is {size}, but the recorded body has {len(bodies[0][0])} bytes"
    if problem:
        told.append(problem)
    readings, refusal = [], ""
    for body, note in bodies:
        request = _strictly(parts, body)
        if isinstance(request, Request):
            readings.append(Reading(request, note))
        else:
            refusal = refusal or request.reason
    if not readings and not problem:
        return Recorded(name, parts.line, (), tuple(told), False, refusal)
    return Recorded(name, parts.line, tuple(readings), tuple(told), bool(problem))


def _is_encoded(parts: Parts) -> bool:
    return any(value.lower() not in ("", "identity") for value in parts.values("Content-Encoding"))


def _bodies(parts: Parts, others: Sequence[tuple[bytes, str]]) -> tuple[list[tuple[bytes, str]], str]:
    """List the bodies that may have been sent, and name what contradicts the recorded one."""
    body, lengths = parts.body, parts.values("Content-Length")
    if not parts.whole or (not body and lengths and lengths[0].strip() not in ("", "0")):
        return [], "the recording does not hold the body: record it again, with the body"
    chunked = [value.lower() for value in parts.values("Transfer-Encoding")] == ["chunked"]
    if chunked and not parts.line.endswith("HTTP/1.0"):
        joined = dechunked(body)
        if joined is not None and not lengths:
            return [(joined, "")], ""
        if joined is None and CHUNK.match(body):
            return [], "Transfer-Encoding is chunked, but the recorded chunks are not whole: the recording was cut off"
        told = "Transfer-Encoding is chunked, but the recorded body is not: the recording tool joined the chunks"
        if not lengths:
            return [(body, ""), *_trimmed(body), *others], told
        # With two lengths no server may read it, unless the tool added the second.
        return ([], told) if lengths == [str(len(body))] else ([(body, "")], "")
    if _is_encoded(parts):
        encoding = parts.values("Content-Encoding")[0]
        if is_compressed(body):
            return [(body, "")], ""
        told = f"Content-Encoding is {encoding}, but the recorded body is not compressed"
        return [(body, ""), *_trimmed(body), *others], told
    if len(lengths) == 1 and re.fullmatch("[0-9]{1,9}", lengths[0]):
        return _of_length(body, int(lengths[0]), others)
    return [*_unmeasured(parts, body), *others], ""


def _trimmed(body: bytes) -> Iterator[tuple[bytes, str]]:
    if body.endswith((b"\r", b"\n")):
        yield body.rstrip(b"\r\n"), ""


def _unmeasured(parts: Parts, body: bytes) -> Iterator[tuple[bytes, str]]:
    """Read a body that nothing tells the length of: a file ends with a line end that was not sent."""
    lines = body.rstrip(b"\r\n").splitlines()
    if len(lines) <= 1:
        yield body.rstrip(b"\r\n"), ""
        return
    yield body, ""
    yield body.rstrip(b"\r\n"), ""
    if any(FORM_TYPE in value.lower() for value in parts.values("Content-Type")):
        yield b"".join(line.strip() for line in lines), "the recording wraps the body into lines"


def _of_length(body: bytes, length: int, others: Sequence[tuple[bytes, str]]) -> tuple[list[tuple[bytes, str]], str]:
    if len(body) == length or (len(body) > length and not body[length:].strip(b"\r\n")):
        return [(body[:length], "")], ""
    problem = f"Content-Length is {length}, but the recorded body has {len(body)} bytes"
    if len(body) < length:
        problem += ": the recording was cut off or converted"
    lines = body.splitlines()
    converted = [
        (b"\r\n".join(lines), "the recording has other line ends than were sent"),
        (b"\r\n".join([*lines, b""]), "the recording has other line ends than were sent"),
        (b"".join(line.strip() for line in lines), "the recording wraps the body into lines"),
        *((text, f"the body was sent in {charset}") for charset, text in _in_charsets(body)),
        *others,
    ]
    return [(text, note) for text, note in converted if len(text) == length], problem


def _in_charsets(body: bytes) -> Iterator[tuple[str, bytes]]:
    text = body.decode(ENCODING, ERRORS)
    for charset in _CHARSETS:
        try:
            yield charset, text.encode(charset)
        except UnicodeEncodeError:
            continue


def _strictly(parts: Parts, body: bytes) -> Request | Refusal:
    """Write the request as bytes, with the framing that belongs to `body`, and read it as the mock's server does."""
    line = parts.line
    first, _, version = line.rpartition(" ")
    if _OWN_NOTATION.fullmatch(version):
        line = f"{first} HTTP/1.1"  # HTTP/2 has no request line: tools write one
    framed = len(parts.values("Transfer-Encoding")) + len(parts.values("Content-Length"))
    broken = framed > 1 or any(value.lower() != "chunked" for value in parts.values("Transfer-Encoding"))
    broken = broken or (framed > 0 and line.endswith("HTTP/1.0") and bool(parts.values("Transfer-Encoding")))
    broken = broken or not all(re.fullmatch("[0-9]{1,19}", value) for value in parts.values("Content-Length"))
    framing = ("content-length", "transfer-encoding")
    kept = parts.headers if broken else [pair for pair in parts.headers if pair[0].lower() not in framing]
    added = [] if parts.values("Host") or parts.exact else [("Host", _DEFAULT_HOST)]
    added += [] if broken else [("Content-Length", str(len(body)))]
    head = "".join(f"{text}\r\n" for text in (line, *(f"{key}: {value}" for key, value in (*kept, *added)), ""))
    requests, refusal = read_all(head.encode(ENCODING, ERRORS) + body)
    if refusal or len(requests) != 1:
        return refusal or Refusal("this is not one request")
    return _as_spelled(requests[0], parts.headers, {name.lower() for name, _ in added} - {"content-length"})


def _as_spelled(request: Request, headers: Headers, added: set[str]) -> Request:
    """Give headers the names that they have in the recording, and leave out what was added."""
    names = {name.lower(): name for name, _ in reversed(headers)}
    if "content-length" not in names:
        added = {*added, "content-length"}
    spelled = [(names.get(name.lower(), name), value) for name, value in request.headers if name.lower() not in added]
    return replace(request, headers=tuple(spelled))
