"""Names what happened to a request between the client's signature and the wire.

Each mistake is undone by a repair: a byte order mark is cut off, a compressed body unpacked, `&amp;` written as `&`.
A repair is borne out if the repaired request passes the check of its signature: then the right string was signed, and
another body was sent. Some repairs are certain without that, because what they undo stands in the request.
Repairs are combined, nearest the wire first, so that two mistakes at once are both named.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tn_contract.contract.signing import ENCODING, ERRORS
from tn_contract.contract.text import quoted, utf8
from tn_contract.contract.wire import (
    FORM_TYPE,
    MAX_FIELDS,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Request,
    encode_fields,
    encode_form,
    parse_fields,
    replace,
    scheme_of,
)
from tn_contract.record.http_reader import dechunked

_NAMES = rb"(?:apiKey|cmd|nonce|params)"
_OWN_HEADERS = (SIGNATURE_HEADER, PUBLIC_KEY_HEADER, TIMESTAMP_HEADER, "Content-Type")
_JOINED_OTHERWISE = re.compile(rb"(?<![&=])(?:\s*[;,|]\s*|\s+)(?=" + _NAMES + rb"(?:=|\[|%3D|%5B))", re.IGNORECASE)
_CHARSETS = ("cp1251", "latin-1", "cp1250", "koi8-r", "gb18030", "shift_jis")
_UNPACKED = 64 * 1024  # no command is longer, and what unpacks to more may unpack to gigabytes
_DEPTH = 3
_TRIED = 64


class Repair(NamedTuple):
    """One mistake undone. `certain` ones stand in the request, others must be borne out by the signature."""

    mistake: str
    detail: str
    request: Request
    certain: bool = True


class Repaired(NamedTuple):
    """The request as it was meant, and what had happened to it."""

    request: Request
    mistakes: tuple[str, ...]
    details: tuple[str, ...]
    proven: bool


def find_repairs(request: Request, passes: Callable[[Request], bool]) -> Repaired | None:
    """Find the fewest repairs after which a request `passes` the check of its signature, else the certain ones."""
    if passes(request):
        return None
    waiting, tried = [Repaired(request, (), (), False)], 0
    for _ in range(_DEPTH):
        following: list[Repaired] = []
        for base in waiting:
            for repair in _repairs(base.request):
                if repair.mistake in base.mistakes or tried == _TRIED:
                    continue
                tried += 1
                mended = Repaired(
                    repair.request,
                    (*base.mistakes, repair.mistake),
                    (*base.details, *([repair.detail] if repair.detail else [])),
                    passes(repair.request),
                )
                if mended.proven:
                    return mended
                following.append(mended)
        waiting = following
    return _certain(request)


def _certain(request: Request) -> Repaired | None:
    found = Repaired(request, (), (), False)
    for _ in range(_DEPTH):
        repair = next((each for each in _repairs(found.request) if each.certain), None)
        if repair is None or repair.mistake in found.mistakes:
            break
        details = (*found.details, *([repair.detail] if repair.detail else []))
        found = Repaired(repair.request, (*found.mistakes, repair.mistake), details, False)
    return found if found.mistakes else None


def _repairs(request: Request) -> Iterator[Repair]:
    """Undo each thing that may have happened last; only what changes something."""
    yield from _of_headers(request)
    for mistake, detail, body, certain in (*_of_bytes(request), *_of_form(request)):
        if body != request.body:
            yield Repair(mistake, detail, replace(request, body=body), certain)
    yield from _of_query(request)


def _of_headers(request: Request) -> Iterator[Repair]:
    for name in _OWN_HEADERS:
        values = [value for key, value in request.headers if key.lower() == name.lower()]
        parts = [part.strip() for value in values for part in value.split(",")]
        if len(parts) > 1 and all(parts):
            others = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
            detail = f"The header {name} came {len(parts)} times."
            different = list(dict.fromkeys(parts))
            certain = (
                len(values) > 1 or len(different) == 1 or all(re.fullmatch("[0-9a-fA-F]{64}", each) for each in parts)
            )
            for part in different:
                yield Repair("header-sent-twice", detail, replace(request, headers=(*others, (name, part))), certain)


_Change = tuple[str, str, bytes, bool]


def _of_bytes(request: Request) -> Iterator[_Change]:
    """Undo what was done to the body as a whole, whatever it holds."""
    body = request.body
    if not body:
        return
    if body.startswith(b"\xef\xbb\xbf"):
        yield "byte-order-mark", f"It begins with {quoted(body[:20].decode(ENCODING, ERRORS))}.", body[3:], True
    elif (text := utf8(body)) != body:
        yield "body-in-utf-16", "", text, True
    if body.startswith((b"\x1f\x8b", b"\x1f\xef\xbf\xbd")) or _unpacked(body):
        yield "body-compressed", "", _unpacked(body) or b"", True  # nothing, where a copy or a trailer is damaged
    if re.match(rb"[0-9A-Fa-f]+\r?\n", body) and (joined := dechunked(body)) is not None:
        yield "chunks-in-body", "", joined, True
    if (bare := _unquoted(body)) is not None:
        yield "body-quoted", f"It begins with {quoted(body[:20].decode(ENCODING, ERRORS))}.", bare, True
    if (decoded := _decoded(body)) is not None:
        yield "body-in-base64", "", decoded, True
    if (trimmed := body.rstrip(b"\r\n\0 ")) != body and trimmed:
        ending = body[len(trimmed) :].decode("latin-1")
        yield "body-ends-otherwise", f"It ends with {quoted(ending)}.", trimmed, _is_form(request)


def _is_form(request: Request) -> bool:
    return (request.header("Content-Type") or "").partition(";")[0].strip().lower() == FORM_TYPE


def _of_form(request: Request) -> Iterator[_Change]:
    """Undo what was done to a form's fields."""
    body = request.body
    if b"&amp;" in body:
        yield "fields-html-escaped", "", body.replace(b"&amp;", b"&"), True
    if _JOINED_OTHERWISE.search(body):
        found = _JOINED_OTHERWISE.search(body)
        between = quoted(found[0].decode("latin-1")) if found else ""
        yield "fields-joined-otherwise", f"Between fields stands {between}.", _JOINED_OTHERWISE.sub(b"&", body), True
    if re.match(rb"[?&]+" + _NAMES, body):
        yield "body-begins-as-query", "", body.lstrip(b"?&"), body.startswith(b"?")
    if re.match(_NAMES + rb"(?i:%3D|%253D)", body):
        yield "form-encoded-twice", "", unquote_to_bytes(body), True
    if not _is_form(request) or len(body) > _UNPACKED:
        return
    if body.lstrip()[:1] == b"{" and scheme_of(request.path) == "v2" and not request.header(TIMESTAMP_HEADER):
        yield "json-body", "", _as_form(body), True
    fields = parse_fields(body)
    if len(fields) == MAX_FIELDS:
        return
    if any("%5b" in name.lower() for name, _ in fields):
        once = [(name, unquote_to_bytes(value).decode(ENCODING, ERRORS)) for name, value in fields]
        for pairs in (fields, once):
            renamed = [(unquote_to_bytes(name).decode(ENCODING, ERRORS), value) for name, value in pairs]
            yield "names-encoded-twice", "", encode_fields(renamed), False
    clean = [(_visible(name), _visible(value)) for name, value in fields]
    if clean != fields:
        odd = next(text for pair, kept in zip(fields, clean, strict=True) for text in pair if text not in kept)
        in_name = any(name != kept for (name, _), (kept, _) in zip(fields, clean, strict=True))
        yield "invisible-characters", f"It came as {quoted(odd)}.", encode_fields(clean), in_name
    for mistake, respelt, certain in _in_other_charsets(fields):
        yield mistake, "", encode_fields(respelt), certain
    yield "values-not-encoded", "", re.sub(rb"&(?!" + _NAMES + rb"\b)", b"%26", body), False


def _visible(text: str) -> str:
    """Leave out what could not be seen, but not what a client may send on purpose."""
    return text if text.isprintable() else "".join(char for char in text if char.isprintable() or char in "\r\n\t")


_Fields = list[tuple[str, str]]


def _in_other_charsets(fields: _Fields) -> Iterator[tuple[str, _Fields, bool]]:
    values = [value for _, value in fields if not value.isascii()]
    if not values:
        return
    raw = [value.encode(ENCODING, ERRORS) for value in values]
    if any("\udc80" <= char <= "\udcff" for value in values for char in value):
        for charset in _CHARSETS:
            yield "wrong-charset", [(name, _from(value, charset)) for name, value in fields], True
    for charset in ("latin-1", "cp1252", "cp1251"):
        try:
            twice = {value: value.encode(charset).decode("utf-8") for value in values}
        except UnicodeError:
            continue
        if any(twice[value].encode() != text for value, text in zip(values, raw, strict=True)):
            yield "utf-8-twice", [(name, twice.get(value, value)) for name, value in fields], False


def _from(value: str, charset: str) -> str:
    try:
        return value.encode(ENCODING, ERRORS).decode(charset)
    except UnicodeError:
        return value


def _as_form(body: bytes) -> bytes:
    """Write a JSON object as a form; the body itself where it is none."""
    try:
        value = json.loads(body, parse_int=str, parse_float=str)
        return encode_form(value) if isinstance(value, dict) else body
    except (ValueError, RecursionError):
        return body


def _of_query(request: Request) -> Iterator[Repair]:
    """Put fields that came in the query into the body."""
    if not request.query or not request.body or not _is_form(request):
        return
    fields = parse_fields(request.body)
    present = {name for name, _ in fields}
    own = re.compile(_NAMES.decode() + r"(\[.*)?")
    others = parse_fields(request.query.encode(ENCODING, ERRORS))
    missing = [(name, value) for name, value in others if own.fullmatch(name) and name not in present]
    if missing:
        detail = f"The query alone holds {', '.join(quoted(name) for name, _ in missing[:4])}."
        yield Repair("field-only-in-query", detail, replace(request, body=encode_fields([*fields, *missing])), False)


def _unpacked(body: bytes) -> bytes | None:
    """Unpack gzip, zlib or a raw deflate stream; None for anything else, and for too much."""
    if body.isascii():  # then it is text: what is compressed has other bytes, too
        return None
    for bits in (47, -15):
        unpacker = zlib.decompressobj(bits)
        try:
            text = unpacker.decompress(body, _UNPACKED)
        except zlib.error:
            continue
        if text and unpacker.eof and not unpacker.unconsumed_tail:
            return text
    return None


def _unquoted(body: bytes) -> bytes | None:
    text = body.strip()
    if found := re.fullmatch(rb"""[bu]?(["'])(.*)\1""", text, re.DOTALL):
        try:
            value = json.loads(text) if text[:1] == b'"' else found[2].decode("utf-8")
        except ValueError:
            return None
        if isinstance(value, str) and re.search(r"=|^\s*\{", value):
            return value.encode(ENCODING, "replace")
    return None


def _decoded(body: bytes) -> bytes | None:
    text = body.strip()
    if len(text) < 16 or not re.fullmatch(rb"[A-Za-z0-9+/_-]+=*", text):
        return None
    try:
        decoded = base64.b64decode(text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return decoded if re.match(rb"\s*\{|" + _NAMES + rb"\b", decoded) else None
