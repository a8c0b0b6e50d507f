"""Reads requests that somebody saved: raw HTTP text, a HAR file as browsers export it, or a journal of the mock."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from tn_contract.errors import UsageError
from tn_contract.wire import Request

_REQUEST_LINE = re.compile(r"([A-Za-z]+) +(\S+)(?: +HTTP/[0-9.]+)?")
_SHAPE = "write a request line, headers, an empty line and the body, or give a HAR file or a journal"


def read_requests(content: bytes) -> list[Request]:
    """Read every request of a file: one of raw HTTP, each POST of a HAR, or all of a journal (one document, or lines).

    Line ends may be LF or CRLF, the request line may hold a whole URL. Raises `UsageError` for anything else.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] in (b"{", b"["):
        return _from_journal(content) or _from_har(content)
    return [_from_text(content)]


def _from_text(content: bytes) -> Request:
    content = content.lstrip(b"\r\n")
    # Within headers line ends are alike; the body is kept byte for byte.
    parts = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    lines = parts[0].decode("utf-8", "surrogateescape").splitlines()
    line = _REQUEST_LINE.fullmatch(lines[0].strip()) if lines else None
    if line is None:
        raise UsageError(f"the file does not begin with a request line such as POST /api/v2/cmd/…: {_SHAPE}")
    headers = []
    for text in lines[1:]:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{text[:40]!r} is no header: {_SHAPE}")
        headers.append((name.strip(), value.strip()))
    body = parts[1] if len(parts) > 1 else b""
    length = next((int(value) for name, value in headers if name.lower() == "content-length" and value.isdigit()), None)
    if length is not None and len(body) >= length:
        body = body[:length]
    elif b"\n" not in body.rstrip(b"\r\n"):
        body = body.rstrip(b"\r\n")  # an editor's line end; a body of several lines keeps all of its own
    return _request(line[1], line[2], headers, body)


def _request(method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Request:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UsageError(f"{url[:80]!r} is no URL: {_SHAPE}") from None
    if parts.netloc and not any(name.lower() == "host" for name, _ in headers):
        headers.append(("Host", parts.netloc))
    return Request(method.upper(), parts.path or "/", tuple(headers), body, parts.query)


def _from_journal(content: bytes) -> list[Request]:
    """Read what the mock recorded; an empty list for what is no journal."""
    try:
        documents = [json.loads(line) for line in content.splitlines() if line.strip()]
        exchanges = [each for document in documents for each in document.get("exchanges", ())]
        exchanges += [document["exchange"] for document in documents if "exchange" in document]
        recorded = [exchange["request"] for exchange in exchanges]
        return [_from_text(_as_text(request).encode("utf-8", "surrogateescape")) for request in recorded]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return []


def _as_text(request: dict[str, Any]) -> str:
    headers = "".join(f"{name}: {value}\n" for name, value in request["headers"] if name.lower() != "content-length")
    return f"{request['line']}\n{headers}\n{request['body']}"


def _from_har(content: bytes) -> list[Request]:
    try:
        har = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError(f"the file looks like JSON but is none: {_SHAPE}") from None
    entries = har
    if isinstance(har, dict):
        log = har.get("log")
        entries = log.get("entries") if isinstance(log, dict) else [har]
    try:
        found = [each for each in map(_from_entry, entries) if each.method == "POST"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(f"the JSON is no HAR, for its entries hold no requests: {_SHAPE}") from None
    if not found:
        raise UsageError("the HAR holds no POST: export it again after the request was sent")
    return found


def _from_entry(entry: dict[str, Any]) -> Request:
    request = entry.get("request", entry)
    post = request.get("postData") or {}
    text = post.get("text")
    if text is None:
        text = urlencode([(each["name"], each.get("value", "")) for each in post.get("params", ())])
    headers = [(str(each["name"]), str(each["value"])) for each in request.get("headers", ())]
    # HTTP/2 writes what was the request line as headers of its own.
    headers = [(name, value) for name, value in headers if not name.startswith(":")]
    if post.get("mimeType") and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", str(post["mimeType"])))
    return _request(request["method"], request["url"], headers, str(text).encode("utf-8", "surrogateescape"))
