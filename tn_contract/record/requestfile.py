"""Reads requests that somebody saved: raw HTTP, `.http` files, cURL commands and dumps, HAR files, journals."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tn_contract.contract.errors import UsageError
from tn_contract.contract.signing import ENCODING, ERRORS
from tn_contract.contract.text import quoted, utf8
from tn_contract.contract.wire import Request, scheme_of
from tn_contract.record.curl import is_curl, is_verbose, read_curl, read_fetch, read_verbose
from tn_contract.record.http_reader import dechunked, read_all
from tn_contract.record.recorded import Parts, Reading, Recorded, is_compressed, recorded

_REQUEST_LINE = re.compile(r"([A-Za-z]+) +(\S+)(?: +(HTTP/[0-9.]+))?")
_BEGINS_REQUEST = re.compile(rb"\s*[A-Z]{3,7} \S+ HTTP/[0-9]")
# A capture holds the replies too.
_REPLIES = re.compile(rb"(?:\r?\n)*HTTP/1\.[01] [1-5][0-9]{2}\b.*?(?=\r?\n[A-Z]{3,7} \S+ HTTP/1|\Z)", re.DOTALL)
_HTTP_FILE = re.compile(r"^(###|@\w+\s*=|// |# @)", re.MULTILINE)
_VARIABLE = re.compile(r"\{\{\s*(\S+?)\s*\}\}")
_SHAPE = "write a request line, headers, an empty line and the body, or give a HAR file, a cURL command or a journal"
_COMMANDS = re.compile(r"(?i)/api/v2\b|/cmd/|deltradeorder|getauthinfo")


@dataclass(frozen=True, slots=True)
class Recording:
    """The requests of a file. `in_order` says that they followed each other; `left_out` counts those to others."""

    requests: list[Recorded]
    in_order: bool = False
    left_out: int = 0


def read_recording(content: bytes) -> Recording:
    """Read every request of a file. Raises `UsageError` where none is found."""
    content = utf8(content)
    if content.lstrip()[:1] in (b"{", b"["):
        journal = _from_journal(content)
        return Recording(journal) if journal else _from_har(content)
    if content.lstrip().startswith(b"```"):
        content = re.sub(rb"(?m)^```.*\r?\n?", b"", content)  # pasted from a chat or an issue
    text = content.decode(ENCODING, ERRORS)
    if is_curl(text):
        return Recording(_numbered(read_curl(text)))
    if fetch := read_fetch(text):
        return Recording(_numbered(iter([fetch])))
    if is_verbose(text):
        return Recording(_numbered(read_verbose(text)))
    if _HTTP_FILE.search(text.partition("\n\n")[0]) or "\n###" in text or _VARIABLE.search(text):
        return Recording(_from_http_file(text))
    return _from_text(content)


def read_requests(content: bytes) -> list[Request]:
    """Read every request of a file, each as it is recorded. Raises `UsageError` where there is none."""
    found = [each.readings[0].request for each in read_recording(content).requests if each.readings]
    if not found:
        raise UsageError(f"no whole request was found: {_SHAPE}")
    return found


def _numbered(found: Iterator[Parts]) -> list[Recorded]:
    return [recorded(f"request {number}", _with_path(parts)) for number, parts in enumerate(found, 1)]


def _with_path(parts: Parts) -> Parts:
    """Write a request line as it goes out: a path alone, and the host as a header."""
    found = _REQUEST_LINE.fullmatch(parts.line)
    if not found:
        raise UsageError(f"{quoted(parts.line)} is no request line such as POST /api/v2/cmd/…: {_SHAPE}")
    try:
        url = urlsplit(found[2] if "://" in found[2] or found[2].startswith("/") else f"//{found[2]}")
    except ValueError:
        raise UsageError(f"{quoted(found[2], 80)} is no URL: {_SHAPE}") from None
    headers = [(name, value) for name, value in parts.headers if not name.startswith(":")]
    if url.netloc and not any(name.lower() == "host" for name, _ in headers):
        headers.append(("Host", url.netloc.rpartition("@")[2]))
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Parts(f"{found[1].upper()} {target} {found[3] or 'HTTP/1.1'}", headers, parts.body, parts.whole)


# ---- raw HTTP ----------------------------------------------------------------------------------------------


def _from_text(content: bytes) -> Recording:
    """Read what went over one connection, or what somebody wrote down of it."""
    content = content.lstrip(b"\r\n")
    requests, refusal = read_all(content)
    if requests and not refusal and not any(_is_unpacked(request) for request in requests):
        spelled = _names(content)
        whole = [
            Recorded(f"request {number}", "", (Reading(_as_spelled(request, spelled)),))
            for number, request in enumerate(requests, 1)
        ]
        return Recording(whole, in_order=True)
    found: list[Recorded] = []
    content = _REPLIES.sub(b"\r\n\r\n", content)
    while content:
        piece, content = _cut(content)
        found.append(_from_piece(f"request {len(found) + 1}", piece))
        if found[-1].refusal:
            break  # where the next one would begin is not known
        content = content.lstrip(b"\r\n")
    if not found:
        raise UsageError(f"the file does not begin with a request line such as POST /api/v2/cmd/…: {_SHAPE}")
    return Recording(found, in_order=True)


def _is_unpacked(request: Request) -> bool:
    encoding = (request.header("Content-Encoding") or "").lower()
    return encoding not in ("", "identity") and not is_compressed(request.body)


def _names(content: bytes) -> dict[str, str]:
    found = re.findall(r"(?m)^([!-9;-~]+):", content.decode("latin-1"))
    return {name.lower(): name for name in reversed(found)}


def _as_spelled(request: Request, names: dict[str, str]) -> Request:
    headers = tuple((names.get(name.lower(), name), value) for name, value in request.headers)
    return Request(request.method, request.path, headers, request.body, request.query)


def _head_end(content: bytes) -> int:
    found = re.search(rb"\r?\n\r?\n", content)
    return found.end() if found else len(content)


def _cut(content: bytes) -> tuple[bytes, bytes]:
    """Split off the first request: its body ends where its headers say, if another one begins there."""
    end = _head_end(content)
    head = content[:end].decode("latin-1")
    if lengths := re.findall(r"(?im)^content-length:[ \t]*([0-9]{1,9})[ \t\r]*$", head):
        at = end + int(lengths[0])
    elif re.search(r"(?im)^transfer-encoding:[ \t]*chunked[ \t\r]*$", head) and dechunked(content[end:]) is not None:
        last = re.search(rb"\r?\n0+\r?\n(?:\r?\n|$)|\A0+\r?\n(?:\r?\n|$)", content[end:])
        at = end + last.end() if last else len(content)
    else:
        return content, b""
    return (content[:at], content[at:]) if _BEGINS_REQUEST.match(content, at) else (content, b"")


def _from_piece(name: str, piece: bytes) -> Recorded:
    end = _head_end(piece)
    head, body = piece[:end], piece[end:]
    text = head.decode(ENCODING, ERRORS)
    lines = text.rstrip("\r\n").splitlines() if "\r" not in text.replace("\r\n", "\n") else []
    on_wire = head.count(b"\n") == head.count(b"\r\n") > 0  # as bytes go out; a text that was typed or edited has LF
    mixed = b"\r" in head and not on_wire
    try:
        parts = _parts_of(lines, body, on_wire)
    except UsageError:
        if not on_wire and not mixed:
            raise
        parts = None
    if parts is None or mixed or (on_wire and not head.endswith(b"\r\n\r\n")):
        _, refusal = read_all(piece)
        return Recorded(name, text.splitlines()[0] if text else "", refusal=refusal.reason if refusal else "no request")
    return recorded(name, parts)


def _parts_of(lines: list[str], body: bytes, on_wire: bool) -> Parts:
    found = _REQUEST_LINE.fullmatch(lines[0] if on_wire else lines[0].strip()) if lines else None
    if found is None or (on_wire and not found[3] and "://" not in found[2]):
        raise UsageError(f"the file does not begin with a request line such as POST /api/v2/cmd/…: {_SHAPE}")
    headers = []
    for text in lines[1:]:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or (on_wire and name != name.strip()):
            raise UsageError(f"{quoted(text, 40)} is no header: {_SHAPE}")
        headers.append((name.strip(), value.strip(" \t" if on_wire else None)))
    line = found[0]
    parts = Parts(line, headers, body)
    if not on_wire or not found[3]:
        return _with_path(parts)
    framed = bool(parts.values("Content-Length") or parts.values("Transfer-Encoding"))
    return parts._replace(exact=framed or not body)


def _from_http_file(text: str) -> list[Recorded]:
    """Read the requests of an `.http` file: ### stands between them, # and // begin comments, @ sets variables."""
    text = text.replace("\r\n", "\n")
    values = dict(re.findall(r"(?m)^@(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text))
    found: list[Recorded] = []
    for piece in re.split(r"(?m)^###.*$", text):
        piece = re.sub(r"\A(?:[ \t]*(?:(?:#|//|@).*)?\n)+", "", piece + "\n")
        piece = re.sub(r"(?m)^(?:> \{%(?:.|\n)*?%\}|<> .*|> \S+\.js)\s*$", "", piece).rstrip("\n")
        if not piece.strip():
            continue
        piece = _VARIABLE.sub(lambda each: values.get(each[1], each[0]), piece)
        head, _, body = re.sub(r"\n[ \t]+(?=[?&])", "", piece).partition("\n\n")
        lines = [line for line in head.splitlines() if not line.startswith(("#", "//"))]
        parts = _parts_of(lines, body.encode(ENCODING, ERRORS), on_wire=False)
        notes, open_ = [], _VARIABLE.search(piece)
        if open_ or re.match(r"< ?\S", body):
            missing = open_[0] if open_ else body.splitlines()[0]
            notes.append(f"{quoted(missing)} stands for something that the file does not hold")
            parts = parts._replace(whole=False)
        found.append(recorded(f"request {len(found) + 1}", parts, notes=notes))
    if not found:
        raise UsageError(f"the file does not begin with a request line such as POST /api/v2/cmd/…: {_SHAPE}")
    return found


# ---- journals ----------------------------------------------------------------------------------------------


def _from_journal(content: bytes) -> list[Recorded]:
    """Read what the mock recorded; an empty list for what is no journal."""
    try:
        documents = [json.loads(line) for line in content.splitlines() if line.strip()]
        exchanges = [each for document in documents for each in document.get("exchanges", ())]
        exchanges += [document["exchange"] for document in documents if "exchange" in document]
        return [_from_exchange(f"exchange {number}", each["request"]) for number, each in enumerate(exchanges, 1)]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, UsageError):
        return []


def _from_exchange(name: str, request: dict[str, Any]) -> Recorded:
    headers = [(str(key), str(value)) for key, value in request["headers"]]
    headers = [pair for pair in headers if pair[0].lower() != "transfer-encoding"]  # a journal keeps bodies joined
    body = str(request["body"])
    method, _, target = str(request["line"]).partition(" ")
    path, mark, query = target.partition("?")
    path = quote(path, safe="/:@!$&'()*+,;=~", encoding="latin-1", errors="replace")  # a journal holds it decoded
    parts = Parts(f"{method} {path}{mark}{query} HTTP/1.1", headers, body.encode(ENCODING, ERRORS))
    blanked = "***" in body or any("***" in value or "… (" in value for _, value in headers)
    if blanked or re.search(r"… \(\d+ bytes\)$", body):
        told = "the journal blanked a secret here" if blanked else "the journal keeps the beginning of this body only"
        return Recorded(name, parts.line, (), (told,), contradicts=True)
    return recorded(name, _with_path(parts))


# ---- HAR ---------------------------------------------------------------------------------------------------


def _from_har(content: bytes) -> Recording:
    try:
        har = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError(f"the file looks like JSON but is none: {_SHAPE}") from None
    entries = har
    if isinstance(har, dict):
        log = har.get("log")
        entries = log.get("entries") if isinstance(log, dict) else [har]
    try:
        requests = [(number, entry.get("request", entry), entry) for number, entry in enumerate(entries, 1)]
        sent = [each for each in requests if str(each[1]["method"]).upper() != "OPTIONS"]
        meant = [each for each in sent if _is_meant(each[1])]
        found = [_from_entry(_entry_name(number, len(requests), entry), each) for number, each, entry in meant]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(f"the JSON is no HAR, for its entries hold no requests: {_SHAPE}") from None
    if not found:
        others = f"{len(requests)} other requests, and " if requests else ""
        raise UsageError(f"the HAR holds {others}holds no POST to the API: export it again after the request was sent")
    return Recording(found, in_order=True, left_out=len(requests) - len(found))


def _entry_name(number: int, count: int, entry: dict[str, Any]) -> str:
    at = entry.get("startedDateTime")
    return f"entry {number} of {count}" + (f", {at}" if isinstance(at, str) else "")


def _is_meant(request: dict[str, Any]) -> bool:
    """Return whether a request is for the API: a browser records all that a page loads."""
    if any(str(each["name"]).lower().startswith("x-ntapi-") for each in request.get("headers", ())):
        return True
    try:
        path = urlsplit(str(request["url"])).path
    except ValueError:
        return False
    if request["method"] != "POST":
        return scheme_of(path) is not None and bool(_COMMANDS.search(path))
    return bool(_COMMANDS.search(path)) or path.rstrip("/") == "/api"


def _from_entry(name: str, request: dict[str, Any]) -> Recorded:
    headers = [(str(each["name"]), str(each["value"])) for each in request.get("headers", ())]
    size = request.get("bodySize")
    size = size if isinstance(size, int) and size >= 0 else None
    post = request.get("postData")
    post = post if isinstance(post, dict) else {}
    if post.get("mimeType") and not any(key.lower() == "content-type" for key, _ in headers):
        headers.append(("Content-Type", str(post["mimeType"])))
    bodies, note, doubt = _har_bodies(post)
    lengths = [value for key, value in headers if key.lower() == "content-length"]
    # Without a body, and with nothing that says that there was none, the tool left it out.
    whole = bool(bodies) or str(request["method"]).upper() != "POST" or size == 0 or lengths == ["0"]
    (body, _), *others = bodies or [(b"", "")]
    parts = _with_path(Parts(f"{request['method']} {request['url']}", headers, body, whole))
    fitting = [each for each, _ in bodies if len(each) == size]
    if fitting and len(body) != size:  # the one that was sent, by its length
        parts = parts._replace(body=fitting[0])
    return recorded(name, parts, size=size, others=others, notes=[note] if note else [], doubt=doubt)


def _har_bodies(post: dict[str, Any]) -> tuple[list[tuple[bytes, str]], str, str]:
    """List the bodies that `postData` may stand for, the most literal first; a note on it; what contradicts it."""
    text, params = post.get("text"), post.get("params") or ()
    if not text and params:
        pairs = [(str(each["name"]), str(each.get("value", ""))) for each in params]
        raw = "&".join(f"{name}={value}" for name, value in pairs)
        told = "the HAR holds the fields instead of the body: it was put together from them"
        return [(urlencode(pairs).encode(), ""), (raw.encode(ENCODING, ERRORS), "")], told, ""
    if not isinstance(text, str) or (not text and "text" not in post):
        return [], "", ""
    literal = text.encode(ENCODING, ERRORS)
    decoded = _from_base64(text)
    if post.get("encoding") == "base64" or post.get("_encoding") == "base64":
        if decoded is not None:
            return [(decoded, "")], "", ""
        return [(literal, "")], "", "encoding is base64, but the text is not"
    bodies = [(literal, "")]
    if decoded is not None:
        bodies.append((decoded, "the recording holds the body in base64"))
    if not text.isascii() and all(ord(char) < 256 for char in text):
        bodies.append((text.encode("latin-1"), "the recording holds a character for each byte of the body"))
    return bodies, "", ""


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if text else None
    except (binascii.Error, ValueError):
        return None
