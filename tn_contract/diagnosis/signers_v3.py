"""What wrong signers of v3 do: another body or timestamp than is sent, put together in another way."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from typing import Any, NamedTuple

from tn_contract.contract.signing import ENCODING, ERRORS, canonical_string_v3
from tn_contract.diagnosis.signers import (
    ASCII,
    COMPACT,
    SECONDS,
    SPACED,
    Case,
    as_texts,
    atoms,
    gap_of,
    latin,
    sorted_tree,
    written,
)
from tn_contract.diagnosis.signers.numbers import number_forms, other_orders
from tn_contract.diagnosis.signers.text import AS_SENT, FORMS, INNER_FORMS
from tn_contract.diagnosis.signers.values import form_encoded, percent_encoded

# A body without params, as programs write it.
_EMPTY = ("{}", "", "[]", "null")
_STAMP_FORMS = {"as-float", "in-exponent", "quoted", "padded"}


@dataclass(frozen=True)
class CaseV3(Case):
    """One v3 request whose signature is sought. `fields` are those that the same request has in v2.

    `body` and `timestamp` are as they came; `before` the bodies and timestamps of earlier requests with this key.
    """

    body: bytes = b""
    timestamp: str = ""
    before: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", canonical_string_v3(self.body, self.timestamp))

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(ENCODING, ERRORS)

    @property
    def stamp(self) -> str:
        """The timestamp as text."""
        return canonical_string_v3(b"", self.timestamp)

    @cached_property
    def nonce(self) -> str:
        """What stands in the place of v2's nonce."""
        return self.stamp

    @cached_property
    def value(self) -> Any:
        """What the body says as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Part(NamedTuple):
    """What was signed instead of a part, or of the whole: the mistakes, their grade, the text, particulars."""

    mistakes: str  # ids joined by blanks
    grade: int
    text: str
    how: str = ""


class Join(NamedTuple):
    """Another way to put body and timestamp together."""

    mistakes: str
    grade: int
    apply: Callable[[str, str], str]
    how: str = ""


def bodies(case: CaseV3) -> Iterator[Part]:
    """List the bodies that may have been signed instead of the one that was sent."""
    text, value = case.text, case.value
    if text.strip() in _EMPTY:
        yield from (Part("empty-body-otherwise", 1, empty) for empty in _EMPTY)
    if isinstance(value, dict):
        yield from (Part(mistakes, grade, write(value)) for mistakes, grade, write in _WRITINGS)
        name, order = case.order
        if order and (gap := gap_of(text, f'"{name}"', order)):
            forms = [(f"order-id-{kind}", grade, form) for kind, grade, form in number_forms(order)]
            for mistake, grade, other in (*forms, *other_orders(case)):
                yield Part(mistake, grade, gap[0] + other + gap[1])
            yield Part("order-id-unquoted", 1, text.replace(f'"{order}"', order))
            for spelled in ("orderId", "id", "order", "orderid", "OrderId"):
                yield Part("names-respelt", 4, text.replace(f'"{name}"', f'"{spelled}"'))
        yield from _as_other_things(case, value)
    yield Part("json-spacing", 2, text.strip())
    yield Part("json-spacing", 3, re.sub(r"\s+", "", text))
    for more in ("\n", "\r\n", " "):
        yield Part("json-spacing", 2 if more == "\n" else 4, text + more, "The body is signed with more behind it.")
    yield Part("json-encoded-twice", 1, COMPACT(text))
    yield Part("json-encoded-twice", 3, ASCII(text))
    yield Part("json-escaped", 2, text.replace("/", "\\/"))
    yield Part("json-escaped", 2, text.replace("\\/", "/"))
    yield Part("json-escaped", 3, text.replace('"', '\\"'))
    yield Part("params-as-repr", 3, text.replace('"', "'"))
    yield Part("params-as-repr", 4, text.replace('"', ""))
    yield Part("encoded-twice", 2, latin(text))
    yield Part("text-in-other-case", 3, text.lower())
    yield Part("text-in-other-case", 3, text.upper())
    for grade, encode in ((2, percent_encoded), (3, form_encoded)):
        yield Part("text-encoded-whole", grade, encode(text), "It is the body that is encoded.")
    raw = text.encode(ENCODING, ERRORS)
    for name, grade in (("sha256", 2), ("md5", 2), ("sha1", 4), ("sha512", 4)):
        digest = hashlib.new(name, raw)
        told = "It is the body that is hashed."
        yield Part("text-hashed-first", grade, digest.hexdigest(), told)
        yield Part("text-hashed-first", 4, digest.hexdigest().upper(), told)
        yield Part("text-hashed-first", 4, base64.b64encode(digest.digest()).decode(), told)
        yield Part("text-hashed-first", 4, digest.digest().decode(ENCODING, ERRORS), told)
    yield Part("text-in-base64", 2, base64.b64encode(raw).decode(), "It is the body that is encoded.")
    yield Part("text-in-base64", 4, raw.hex(), "It is the body that is encoded.")
    for around in ('" "', "' '", "[ ]", "( )", "b' '"):
        before, _, after = around.partition(" ")
        yield Part("text-quoted", 3, before + text + after, "It is the body that is quoted.")
    yield Part("text-quoted", 4, text.strip("{}"), "The braces of the body were left out.")
    for body, _stamp in case.before:
        yield Part("other-request-signed", 2, body)


def _html_safe(value: Any) -> str:
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", COMPACT(value))  # as Go writes JSON


def _sorted(value: Any, separators: tuple[str, str] = (",", ":")) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=separators)


_WRITINGS: tuple[tuple[str, int, Callable[[dict[str, Any]], str]], ...] = (
    ("json-spacing", 1, SPACED),
    ("json-spacing", 1, COMPACT),
    ("json-pretty-printed", 1, lambda value: json.dumps(value, indent=2, ensure_ascii=False)),
    ("json-pretty-printed", 2, lambda value: json.dumps(value, indent=4, ensure_ascii=False)),
    ("json-pretty-printed", 3, lambda value: json.dumps(value, indent="\t", ensure_ascii=False)),
    ("json-pretty-printed", 4, lambda value: json.dumps(value, indent=3, ensure_ascii=False)),
    ("json-pretty-printed", 4, lambda value: json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\r\n")),
    ("json-pretty-printed", 4, lambda value: json.dumps(value, indent=2, ensure_ascii=False).replace('":', '" :')),
    ("json-pretty-printed", 4, lambda value: json.dumps(value, indent=2, ensure_ascii=False) + "\n"),
    ("json-escaped", 1, ASCII),
    ("json-escaped", 3, _html_safe),
    ("json-escaped json-spacing", 1, json.dumps),
    ("json-reordered", 1, _sorted),
    ("json-reordered json-spacing", 2, lambda value: _sorted(value, (", ", ": "))),
    ("json-reordered", 3, lambda value: COMPACT(dict(reversed(value.items())))),
    *(
        (
            "json-spacing",
            3,
            lambda value, separators=separators: json.dumps(value, ensure_ascii=False, separators=separators),
        )
        for separators in ((",", ": "), (", ", ":"), (",", " : "), (" , ", " : "), (",", " :"))
    ),
    ("json-spacing", 3, lambda value: f"{{ {SPACED(value)[1:-1]} }}"),
    ("json-spacing", 4, lambda value: f"{{ {COMPACT(value)[1:-1]} }}"),
    ("params-as-repr", 1, repr),
    ("params-as-repr", 2, lambda _value: "[object Object]"),
    ("params-as-repr", 3, lambda _value: "Array"),
)


def _as_other_things(case: CaseV3, value: dict[str, Any]) -> Iterator[Part]:
    params = as_texts(value)
    yield Part("values-quoted", 3, COMPACT(params))
    yield Part("values-quoted", 4, SPACED(params))
    yield Part("params-as-form", 1, AS_SENT(params))
    yield Part("params-as-form", 2, written(params))
    yield Part("params-as-form", 2, written(sorted_tree(params)))
    yield Part("params-as-form", 3, f"params={written(sorted_tree(params))}")
    yield Part("params-as-form", 4, AS_SENT({"params": params}))
    yield Part("values-only", 2, "".join(v for v in params.values() if isinstance(v, str)))
    yield Part("empty-body-otherwise", 3, "{}")
    yield Part("empty-body-otherwise", 4, "[]")
    for choice in INNER_FORMS:
        if choice.mistake == "params-as-repr":
            yield Part("params-as-repr", max(choice.grade, 2), choice.apply(params), choice.how)
    for choice in FORMS:
        if choice.mistake in ("other-separators", "no-separators") and choice.grade < 4:
            yield Part(choice.mistake, 4, choice.apply(params) or "", choice.how)
    command = case.command
    for grade, whole in (
        (1, {"cmd": command, "params": value}),
        (2, {"apiKey": case.key, "cmd": command, "params": value}),
        (3, {"cmd": command, "apiKey": case.key, "params": value}),
        (3, {"params": value}), (4, {"data": value}), (4, {"body": value}), (4, {"command": command, "params": value}),
        (4, {"cmd": command, **value}), (4, {"apiKey": case.key, **value}), (4, {**value, "cmd": command}),
        (4, {**value, "apiKey": case.key}),
        (4, {"apiKey": case.key, "cmd": command, **value}),
        *((4, {"apiKey": case.key, "cmd": command, "nonce": nonce, "params": value})
          for nonce in (case.stamp, f"{case.stamp}0000")),
        *((4, {**value, name: stamp}) for name in ("timestamp", "nonce", "ts")
          for stamp in (case.stamp, int(case.stamp) if case.stamp.isdigit() and len(case.stamp) < 20 else 0)),
    ):  # fmt: skip
        yield Part("request-as-json", grade, COMPACT(whole))
        yield Part("request-as-json", 4, SPACED(whole))


_DATES = (
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d",
    "%Y%m%dT%H%M%SZ", "%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d", "%Y-%m-%d %H:%M:%S+00:00", "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S+0000", "%Y-%m-%dT%H:%M:%S.000000Z", "%Y-%m-%dT%H:%M:%S.000000", "%Y-%m-%dT%H:%M:%S.000000+00:00",
    "%Y-%m-%d %H:%M:%S UTC", "%m/%d/%Y %H:%M:%S", "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)",
    "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S UTC %Y", "%Y/%m/%d %H:%M:%S", "%H:%M:%S", "%Y-%m-%d %H:%M:%S +0000 UTC",
)  # fmt: skip
_WORDS = ("", "0", "null", "None", "undefined", "NaN", "timestamp", "<timestamp>", "{timestamp}", "-1", "now",
          "Date.now()", "[object Object]")  # fmt: skip


def stamps(case: CaseV3) -> Iterator[Part]:
    """List the timestamps that may have been signed instead of the one that was sent."""
    stamp = case.stamp
    for _body, earlier in case.before:
        yield Part("other-timestamp", 2, earlier)
    for word in _WORDS[1:]:
        yield Part("other-timestamp", 4, word)
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 20:
        return
    number = int(stamp)
    for power, grade in ((3, 1), (6, 2), (7, 3), (9, 2)):
        yield Part("timestamp-in-other-unit", grade, str(number * 10**power))
        if len(stamp) == SECONDS + power:
            yield Part("timestamp-in-other-unit", 1, stamp[:SECONDS])
    for short in (60, 3600, 86400):
        yield Part("timestamp-in-other-unit", 4, str(number // short))
    yield Part("nonce-as-timestamp", 1, str(number * 10**4))
    for step in (1, -1, 2, -2, 3, -3, 4, 5, 10, -10, 30, -30, 60, -60, 3600, -3600, 7200, -7200, 10800, -10800,
                 18000, -18000, 86400, -86400):  # fmt: skip
        yield Part("other-timestamp", 1 if abs(step) == 1 else 3 if abs(step) in (3600, 10800) else 4,
                   str(number + step))  # fmt: skip
    for other in (number // 60 * 60, number // 10 * 10, number // 86400 * 86400):
        yield Part("other-timestamp", 4, str(other))
    for kind, grade, text in number_forms(stamp):
        if kind in _STAMP_FORMS:
            yield Part(f"timestamp-{kind}", grade, text)
        else:
            yield Part("other-timestamp", 4, text)
    if len(stamp) == SECONDS:
        date = datetime.fromtimestamp(number, UTC)
        for position, form in enumerate(_DATES):
            yield Part("timestamp-as-date", 3 if position < 4 else 4, date.strftime(form))
        yield Part("timestamp-as-date", 3, format_datetime(date, usegmt=True))
        yield Part("timestamp-as-date", 4, format_datetime(date))


def any_millisecond(case: CaseV3) -> Iterator[str]:
    """List each millisecond of the second sent: a client that reads the clock so signs one."""
    if case.stamp.isascii() and case.stamp.isdigit() and len(case.stamp) == SECONDS:
        yield from (f"{case.stamp}{after:03d}" for after in range(1, 1000))


# What a join is made of, beside constant texts.
_BODY, _STAMP = "{body}", "{timestamp}"
_BETWEEN_THEM = (
    (1, ("\n",)), (2, (" ", "&", ":", ".", "|", ",")),
    (4, (";", "\r\n", "?", "-", "_", "/", "+", "=", "\t", "#", "@", "~", "\\n", "\0", "||", "::", ", ", "\n\n", ": ",
         "&timestamp=", "?timestamp=", "timestamp=", "&ts=", "&t=", "&nonce=", "timestamp:", "timestamp",
         "&X-NtApi-Timestamp=")),
)  # fmt: skip
_BEFORE_BODY = (
    "v0:{timestamp}:{body}",
    "v1:{timestamp}:{body}",
    "timestamp={timestamp}&{body}",
    "ts={timestamp}&{body}",
    "timestamp={timestamp}{body}",
)
_IN_ONE = (
    '{"body":{body},"timestamp":{timestamp}}', '{"timestamp":{timestamp},"body":{body}}',
    '{"params":{body},"timestamp":{timestamp}}', '{"params":{body},"timestamp":"{timestamp}"}',
    "body={body}&timestamp={timestamp}", "timestamp={timestamp}&body={body}", "params={body}&timestamp={timestamp}",
    "[{body},{timestamp}]", '["{body}","{timestamp}"]', "({body}, {timestamp})",
)  # fmt: skip


def _join(form: str) -> Callable[[str, str], str]:
    """Fill a form in: what is not body or timestamp stays as it is, braces too."""
    parts = re.split(r"(\{body\}|\{timestamp\})", form)
    return lambda body, stamp: "".join([body if part == _BODY else stamp if part == _STAMP else part for part in parts])


def joins(case: CaseV3) -> Iterator[Join]:
    """List the other ways in which body and timestamp may have been put together."""
    yield Join("timestamp-first", 1, _join(_STAMP + _BODY))
    yield Join("timestamp-left-out", 1, _join(_BODY))
    if case.text.strip() not in _EMPTY:
        yield Join("only-timestamp", 1, _join(_STAMP))
    for grade, texts in _BETWEEN_THEM:
        for between in texts:
            told = f"It is {between!r}."
            yield Join("separator-between", grade, _join(_BODY + between + _STAMP), told)
            yield Join("timestamp-first separator-between", max(grade, 2), _join(_STAMP + between + _BODY), told)
    for form in _BEFORE_BODY:
        yield Join("timestamp-first separator-between", 4, _join(form))
    for form in _IN_ONE:
        yield Join("separator-between", 4, _join(form))
    for form in (_STAMP + _BODY + _STAMP, _BODY + _STAMP + _STAMP):
        yield Join("string-altered", 4, _join(form), "The timestamp stands there twice.")
    yield from _with_atoms(case)
    yield from _with_method(case)


def _with_atoms(case: CaseV3) -> Iterator[Join]:
    """List joins with one thing more, as other exchanges want it."""
    for mistake, name, grade, text in atoms(case):
        if name == "the order id":  # it may be a time by chance
            continue
        told, first, bare = f"It is {name}.", f"timestamp-first {mistake}", f"timestamp-left-out {mistake}"
        for between in ("", "\n", "&", ":", "|", ".") if grade < 4 else ("",):
            each = 4 if between else 2 if name == "the key" else max(grade, 3)
            for kind, parts in (
                (first, (_STAMP, text, _BODY)), (first, (text, _STAMP, _BODY)), (mistake, (_BODY, text, _STAMP)),
                (bare, (text, _BODY)), (bare, (_BODY, text)),
                *(((mistake, (text, _BODY, _STAMP)), (mistake, (_BODY, _STAMP, text))) if between else ()),
            ):  # fmt: skip
                yield Join(kind, 4 if kind is bare else each, _join(between.join(parts)), told)
    yield Join("key-or-nonce-added timestamp-first", 3, _join(f"{_STAMP}{case.key}5000{_BODY}"))
    for mistake, text in (("key-or-nonce-added", case.key), ("path-signed", case.path),
                          ("key-or-nonce-added", case.command)):  # fmt: skip
        for between in ("", "&", ":"):
            for parts in ((text, _STAMP), (_STAMP, text)):
                yield Join(f"only-timestamp {mistake}", 4, _join(between.join(parts)))


def _with_method(case: CaseV3) -> Iterator[Join]:
    method, path = case.method, case.path
    for between in ("", "\n", "&", " ", ":", "|", "."):
        for heads in (
            (method, path),
            (method.lower(), path),
            (path, method),
            (method, case.host, path),
            (case.key, path),
            (path, case.key),
        ):
            kind = "method-signed" if heads[0] != case.key and heads != (path, case.key) else "path-signed"
            head = between.join(heads)
            for mistakes, grade, parts in (
                (f"{kind} timestamp-first", 4 if between not in ("", "\n") else 2, (_STAMP, head, _BODY)),
                (f"{kind} timestamp-first", 4 if between else 2, (head, _STAMP, _BODY)),
                (kind, 4 if between else 2, (head, _BODY, _STAMP)),
                (f"timestamp-left-out {kind}", 4, (head, _BODY)), (f"timestamp-left-out {kind}", 4, (_BODY, head)),
            ):  # fmt: skip
                yield Join(mistakes, grade, _join(between.join(parts)))
    for form in (f"{_STAMP}{method}{path}?{_BODY}", f"{_STAMP}\n{method}\n{path}\n\n{_BODY}"):
        yield Join("method-signed timestamp-first", 4, _join(form))


def wholes(case: CaseV3) -> Iterator[Part]:
    """List the strings of another generation that may have been signed instead."""
    fields, stamp = case.fields, case.stamp
    nonces = [stamp, *(f"{stamp}{'0' * power}" for power in (4, 3, 6, 7, 9))] if stamp.isdigit() else [stamp]
    for number, nonce in enumerate(nonces):
        yield Part("v2-string", 1 if number < 2 else 3, written(sorted_tree({**fields, "nonce": nonce})))
    yield Part("v2-string", 2, written(sorted_tree(fields)))
    without_key = {name: value for name, value in fields.items() if name != "apiKey"}
    yield Part("v2-string", 3, written(sorted_tree(without_key)))
    yield Part("v2-string", 3, written(sorted_tree({**without_key, "nonce": stamp})))
    yield Part("v2-string", 3, written(sorted_tree({**fields, "timestamp": stamp})))
    params = as_texts(case.value) if isinstance(case.value, dict) else {}
    yield Part("v2-string", 3, written(sorted_tree({**params, "timestamp": stamp})))
    yield Part("v2-string", 4, written({**params, "timestamp": stamp}))
    yield Part("v2-string", 3, written(sorted_tree(params)) + stamp)
    yield Part("v2-string", 3, written(sorted_tree({**fields, "nonce": stamp})) + stamp)
    yield Part("v2-string", 3, written(sorted_tree(fields)) + stamp)
