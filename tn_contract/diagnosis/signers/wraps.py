"""What wrong signers do to the finished string: put something beside it, encode it, hash it, quote it."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator
from typing import TypeAlias
from urllib.parse import quote, unquote

from tn_contract.contract.signing import ERRORS
from tn_contract.diagnosis.signers import COMPACT, SECONDS, Case, Choice, Text, atoms, encoded
from tn_contract.diagnosis.signers.text import AS_SENT
from tn_contract.diagnosis.signers.values import component_encoded, form_encoded, lower_escapes, percent_encoded

_BEHIND = (
    ("trailing-ampersand", 2, "&"), ("line-feed", 1, "\n"), ("crlf", 2, "\r\n"), ("white-space", 2, " "),
    ("white-space", 4, "\t"), ("white-space", 4, "\0"), ("white-space", 4, "\r"), ("white-space", 4, "\\n"),
    ("white-space", 4, "\n\n"), ("white-space", 4, "  "), ("white-space", 4, "\u00a0"), ("white-space", 4, "\\r\\n"),
    *(("other-separators", 4, text) for text in (";", ",", "?", "|", ":", "=", ".", "#", "/", "&&", "-", "+")),
    ("other-separators", 4, "&="),
)  # fmt: skip
_BEFORE = (
    ("leading-ampersand", 2, "&"), ("question-mark", 2, "?"), ("white-space", 3, " "), ("white-space", 4, "\n"),
    ("white-space", 3, "\ufeff"), ("white-space", 4, "\t"), ("white-space", 4, "\r\n"),
    *(("other-separators", 4, text) for text in (";", ",", "|", ":", "/", "#", ".", "=", "/?", "-")),
    *(("extra-field-signed", 4, text) for text in ("q=", "data=", "msg=", "body=", "query=", "params=", "payload=",
                                                   "message=", "string=")),
)  # fmt: skip
_AROUND = (
    ("text-quoted", 2, '"', '"'), ("text-quoted", 3, "'", "'"), ("text-quoted", 3, "{", "}"),
    ("text-quoted", 4, "[", "]"), ("text-quoted", 4, "b'", "'"), ("text-quoted", 4, "(", ")"),
    ("text-quoted", 4, "<", ">"), ("text-quoted", 4, "`", "`"), ("text-quoted", 4, 'b"', '"'),
    ("text-quoted", 4, '{"', '"}'), ("text-quoted", 4, '["', '"]'), ("text-quoted", 4, "['", "']"),
    ("text-quoted", 4, "\u201c", "\u201d"), ("text-quoted", 4, "u'", "'"), ("text-quoted", 4, '\\"', '\\"'),
    ("other-separators", 4, "&", "&"), ("other-separators", 4, "|", "|"), ("white-space", 4, " ", " "),
    ("white-space", 4, "\n", "\n"), ("question-mark", 4, "?", "&"),
)  # fmt: skip
# What stands between the string and what is put beside it.
_BETWEEN = ("", "&", "\n", "?", ":", "|", " ", ".", ",", ";", "-", "_", "/", "+", "#")
_HOW_MANY = {2: 15, 3: 8, 4: 4}  # of them, by the grade of what is put there
# Together with it, as other exchanges want it; the placeholders are `atoms` by name.
_Forms: TypeAlias = "tuple[tuple[str, int, tuple[str, ...]], ...]"
_BESIDE: _Forms = (
    ("method-signed", 2, ("{method}{path}", "{method}\n{path}\n")),
    ("method-signed", 3, ("{method}{path}?", "{method} {path}\n", "{nonce}{method}{path}", "{method}{path}{nonce}")),
    ("method-signed", 4, ("{method} {path} ", "{method}:{path}:", "{method}|{path}|",
                          "{method}&{quoted}&")),
    ("method-signed", 4, ("{method}\n{host}\n{path}\n", "{method}&{path}&", "{method} {path}?", "{method} {path}",
                          "{method}\n{path}\n\n", "{method}{host}{path}", "{method}{host}{path}?",
                          "{method},{path},", "{method}/{path}/", "{method}{path}&", "{method}{path}\n",
                          "{method};{path};", "{method} {path} HTTP/1.1\n", "{method}{url}", "{method}{url}?",
                          "{method}&{quoted_url}&", "{method}\n{url}\n", "{method}&{url}&", "{method} {url}?",
                          "{method}.{path}.", "{lower}{path}", "GET{path}",
                          "GET\n{path}\n", "GET {path}", "{lower}", "{lower}&", "{lower}\n", "{lower} ",
                          "{path}{method}", "{path}\n{method}\n", "{path}&{method}&", "{path}|{method}|",
                          "{nonce}{method}",
                          "{nonce}\n{method}\n{path}\n", "{method}\n{path}\n{nonce}\n", "{key}{method}{path}",
                          "{method}|{path}|{nonce}|", "{nonce}|{method}|{path}|")),
    ("path-signed", 4, ("{path}{nonce}", "{nonce}{path}", "{path}\n{nonce}\n", "{host}{path}?", "{host}\n{path}\n",
                        "{host}{path}", "{key}{path}", "{path}{key}")),
    ("url-signed", 4, ("{url}?", "{url}\n", "{url}&", "http://{host}{path}?", "https://{host}?", "{host}?")),
    ("key-or-nonce-added", 3, ("{nonce}{key}", "{key}{nonce}")),
    ("key-or-nonce-added", 4, ("{key}:{nonce}:", "{nonce}:{key}:", "{key}|{nonce}|", "{nonce}|{key}|", "{key}&{nonce}&",
                               "{nonce}&{key}&", "{command}?", "{key}\n{nonce}\n", "{nonce}\n{key}\n", "{stamp}{key}",
                               "{stamp}{key}5000", "apiKey={key}&", "nonce={nonce}&")),
    ("secret-in-string", 4, ("secret={secret}&", "{key}{secret}", "{secret}{key}", "{secret}{nonce}",
                             "apiSecret={secret}&", "{key}:{secret}:", "api_secret={secret}&")),
)  # fmt: skip
_SUFFIXES: _Forms = (
    ("secret-in-string", 2, ("&secret={secret}",)),
    ("secret-in-string", 3, ("&key={secret}",)),
    ("secret-in-string", 4, ("&apiSecret={secret}", "&api_secret={secret}",
                             "&apiSecretKey={secret}", "{key}{secret}", "{secret}{key}", "&secretKey={secret}",
                             "{nonce}{secret}", "{secret}{nonce}", "&secret_key={secret}", "&sign={secret}",
                             "&private_key={secret}", "&sig={secret}")),
    ("key-or-nonce-added", 4, ("{nonce}{key}", "{key}{nonce}", "&timestamp={stamp}", "&ts={stamp}", "&time={stamp}",
                               "&key={key}", "&apiKey={key}", "&nonce={nonce}", "&api_key={key}", "&cmd={command}",
                               ":{key}:{nonce}", "|{key}|{nonce}", "\n{key}\n{nonce}")),
    ("method-signed", 4, ("{method}{path}", "&method={method}", "{path}{method}", "\n{method}\n{path}")),
    ("path-signed", 4, ("&path={path}", "&url={path}")),
    ("empty-signature-signed", 4, ("&sig=", "&sign=", "&signature=", "&hash=", "&X-NtApi-Sig=")),
)  # fmt: skip
_HASHES = (("sha256", 2), ("md5", 2), ("sha1", 4), ("sha512", 4), ("sha384", 4), ("sha224", 4), ("sha3_256", 4))
_CHARSETS = (
    ("utf-16-le", 2), ("utf-16", 4), ("utf-16-be", 3), ("latin-1", 4), ("cp1251", 4), ("utf-32-le", 4), ("utf-32", 4),
    ("utf-32-be", 4), ("utf-7", 4), ("cp1252", 4), ("koi8-r", 4), ("cp866", 4), ("cp037", 4),
)  # fmt: skip


def additions(case: Case) -> Iterator[Choice]:
    """List what may have been put beside the finished string."""
    for mistake, grade, text in _BEHIND:
        yield Choice(mistake, grade, lambda signed, text=text: signed + text)
    for mistake, grade, text in _BEFORE:
        yield Choice(mistake, grade, lambda signed, text=text: text + signed)
    for mistake, grade, before, after in _AROUND:
        yield Choice(mistake, grade, lambda signed, before=before, after=after: before + signed + after)
    yield from _beside(case)


def encodings(case: Case) -> Iterator[Choice]:
    """List what else may have been done to the finished string."""
    yield from _ENCODED
    yield Choice("nothing-signed", 3, lambda _text: "")
    oauth = f"{case.method}&{quote(f'https://{case.host}{case.path}', safe='')}&"
    yield Choice("method-signed", 4, lambda text: oauth + percent_encoded(text), "It is the base string of OAuth 1.")
    path = f"{case.method}&{quote(case.path, safe='')}&"
    yield Choice("method-signed", 4, lambda text: path + percent_encoded(text), "It is the base string of OAuth 1.")
    for between in ("", "&", "|"):  # as Kraken does
        for write in (lambda digest: digest, lambda digest: digest.hex().encode()):
            yield Choice("text-hashed-first", 4, lambda text, between=between, write=write: encoded(case.path) + write(
                hashlib.sha256(encoded(case.nonce + between + text)).digest()),
                "The path stands before the SHA-256 of nonce and string.")  # fmt: skip


def _appended(text: str) -> Callable[[str], str]:
    return lambda signed: signed + text


def _prepended(text: str) -> Callable[[str], str]:
    return lambda signed: text + signed


def _beside(case: Case) -> Iterator[Choice]:
    for mistake, name, grade, text in atoms(case):
        for position, between in enumerate(_BETWEEN[: _HOW_MANY[grade]]):
            seen = 3 if position < 3 and grade == 2 else 4
            usual = grade if position == 0 else 2 if between == "&" and name == "the secret" else seen
            behind = max(usual, 3) if mistake in ("method-signed", "path-signed") else usual
            first = usual if name != "the path" or between != "?" else 2
            told = f"It is {name}."
            yield Choice(mistake, first, lambda signed, text=text + between: text + signed, told)
            yield Choice(mistake, behind, lambda signed, text=between + text: signed + text, told)
    parts = {
        "method": case.method, "lower": case.method.lower(), "path": case.path, "host": case.host, "key": case.key,
        "url": f"https://{case.host}{case.path}", "nonce": case.nonce, "command": case.command, "secret": case.secret,
        "quoted": quote(case.path, safe=""), "quoted_url": quote(f"https://{case.host}{case.path}", safe=""),
        "stamp": next((stamp for stamp in case.stamps if len(stamp) == SECONDS), ""),
    }  # fmt: skip
    for table, behind in ((_BESIDE, False), (_SUFFIXES, True)):
        for mistake, grade, forms in table:
            for form in forms:
                text = form.format_map(parts)
                yield Choice(mistake, grade, _appended(text) if behind else _prepended(text))
    yield Choice("secret-in-string", 4, lambda text: f"{case.secret}{text}{case.secret}")
    yield Choice("secret-in-string", 4, lambda text: f"{case.secret}&{text}&{case.secret}")
    body = AS_SENT(case.fields)
    for between in ("", "&", "\n", "?"):
        yield Choice("string-altered", 4, lambda text, between=between: text + between + text)
        yield Choice("body-signed", 4, lambda text, between=between: text + between + body)
        yield Choice("body-signed", 4, lambda text, between=between: body + between + text)


def _encoded() -> Iterator[Choice]:
    yield Choice("text-in-other-case", 2, str.lower)
    yield Choice("text-in-other-case", 2, str.upper)
    yield Choice("text-in-other-case", 4, str.swapcase)
    for name, grade in _HASHES:
        told = f"The hash is {name.upper().replace('_', '-')}"
        forms: tuple[tuple[int, str, Callable[[bytes], Text]], ...] = (
            (0, "in hex.", lambda digest: digest.hex()),
            (grade - 2, "as bytes.", bytes),
            (2, "in base64.", base64.b64encode),
            (2, "in upper-case hex.", lambda digest: digest.hex().upper()),
        )
        for more, form, write in forms:
            yield Choice("text-hashed-first", min(grade + more, 4), lambda text, name=name, write=write: write(
                hashlib.new(name, encoded(text)).digest()), f"{told} {form}")  # fmt: skip
    yield Choice("text-in-base64", 2, lambda text: base64.b64encode(encoded(text)))
    yield Choice("text-in-base64", 3, lambda text: encoded(text).hex())
    yield Choice("text-in-base64", 4, lambda text: encoded(text).hex().upper())
    yield Choice("text-in-base64", 4, lambda text: base64.urlsafe_b64encode(encoded(text)))
    yield Choice("text-in-base64", 4, lambda text: base64.b64encode(encoded(text)).rstrip(b"="))
    yield Choice("text-in-base64", 4, lambda text: base64.urlsafe_b64encode(encoded(text)).rstrip(b"="))
    yield Choice("text-in-base64", 4, lambda text: base64.encodebytes(encoded(text)))
    yield Choice("text-in-base64", 4, lambda text: base64.b64encode(encoded(text)) + b"\n")
    yield Choice("text-in-base64", 4, lambda text: base64.b64encode(base64.b64encode(encoded(text))))
    yield Choice("text-encoded-whole", 2, percent_encoded)
    yield Choice("text-encoded-whole", 3, form_encoded)
    yield Choice("text-encoded-whole", 4, component_encoded)
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, safe="=&", errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: lower_escapes(percent_encoded(text)))
    yield Choice("text-encoded-whole", 4, lambda text: percent_encoded(percent_encoded(text)))
    yield Choice("text-encoded-whole", 4, html.escape)
    yield Choice("text-encoded-whole", 4, unquote)
    yield Choice("text-encoded-whole", 4, lambda text: text.replace("=", "%3D"))
    yield Choice("text-encoded-whole", 4, lambda text: text.replace("&", "%26"))
    for header in ('{"alg":"HS256","typ":"JWT"}', '{"typ":"JWT","alg":"HS256"}'):
        start = base64.urlsafe_b64encode(header.encode()).rstrip(b"=") + b"."
        yield Choice("text-in-base64", 4, lambda text, start=start: start + base64.urlsafe_b64encode(
            encoded(text)).rstrip(b"="), "It is signed as a JSON Web Token.")  # fmt: skip
    yield Choice("text-quoted", 3, COMPACT)
    yield Choice("text-quoted", 4, lambda text: COMPACT(COMPACT(text)))
    yield Choice("text-quoted", 4, lambda text: text.replace("&", "\\u0026"))
    yield Choice("text-quoted", 4, lambda text: text.replace("&", "\\u0026").replace("=", "\\u003d"))
    yield Choice("text-quoted", 4, lambda text: text.replace("/", "\\/"))
    for name, grade in _CHARSETS:
        yield Choice("other-charset", grade, lambda text, name=name: text.encode(name, "replace"), f"It is {name}.")
    yield Choice("other-charset", 4, lambda text: encoded(encoded(text).decode("latin-1")))
    for size in (64, 128, 255):
        yield Choice("string-altered", 4, lambda text, size=size: text[:size] if len(text) > size else None)
    yield Choice("string-altered", 4, lambda text: text[:-1])
    yield Choice("string-altered", 4, lambda text: text[1:])
    yield Choice("string-altered", 4, lambda text: "".join(text.split()))
    yield Choice("string-altered", 4, lambda text: text[::-1])


_ENCODED = tuple(_encoded())
