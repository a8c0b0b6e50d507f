"""What wrong signers of v3 do: another body or timestamp than is sent, put together in another way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

from tn_contract.signers import (
    AS_SENT,
    ASCII,
    COMPACT,
    SPACED,
    Case,
    as_texts,
    gap_of,
    java_map,
    latin,
    number_forms,
    other_orders,
    sorted_tree,
    written,
)
from tn_contract.signing import ENCODING, ERRORS, canonical_string_v3

# A body without params, as programs write it.
_EMPTY = ("{}", "", "[]", "null")
_STAMP_FORMS = {"as-float", "in-exponent", "quoted", "padded"}
# Digits of a timestamp in seconds; with more it counts something smaller.
_SECONDS = 10


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

    @property
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
    """What was signed instead of a part, or of the whole: the mistakes, their grade, the text."""

    mistakes: tuple[str, ...]
    grade: int
    text: str


class Join(NamedTuple):
    """Another way to put body and timestamp together."""

    mistakes: tuple[str, ...]
    grade: int
    apply: Callable[[str, str], str]


def bodies(case: CaseV3) -> Iterator[Part]:
    """List the bodies that may have been signed instead of the one that was sent."""
    text, value = case.text, case.value
    if text.strip() in _EMPTY:
        yield from (Part(("empty-body-otherwise",), 1, empty) for empty in _EMPTY)
    if isinstance(value, dict):
        yield from (Part(mistakes, grade, write(value)) for mistakes, grade, write in _WRITINGS)
        name, order = case.order
        if order and (gap := gap_of(text, f'"{name}"', order)):
            forms = [(f"order-id-{kind}", grade, form) for kind, grade, form in number_forms(order)]
            for mistake, grade, other in (*forms, *other_orders(case)):
                yield Part((mistake,), grade, gap[0] + other + gap[1])
            yield Part(("order-id-unquoted",), 1, text.replace(f'"{order}"', order))
        yield from _as_other_things(case, value)
    yield Part(("json-spacing",), 2, text.strip())
    yield Part(("json-spacing",), 3, re.sub(r"\s+", "", text))
    yield Part(("json-encoded-twice",), 1, COMPACT(text))
    yield Part(("json-encoded-twice",), 3, ASCII(text))
    yield Part(("json-escaped",), 2, text.replace("/", "\\/"))
    yield Part(("json-escaped",), 2, text.replace("\\/", "/"))
    yield Part(("encoded-twice",), 2, latin(text))
    yield Part(("text-encoded-whole",), 3, quote(text, safe="", errors=ERRORS))
    for body, _stamp in case.before:
        yield Part(("other-request-signed",), 2, body)


def _html_safe(value: Any) -> str:
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", COMPACT(value))  # as Go writes JSON


def _sorted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_WRITINGS: tuple[tuple[tuple[str, ...], int, Callable[[dict[str, Any]], str]], ...] = (
    (("json-spacing",), 1, SPACED),
    (("json-spacing",), 1, COMPACT),
    (("json-pretty-printed",), 1, lambda value: json.dumps(value, indent=2, ensure_ascii=False)),
    (("json-pretty-printed",), 2, lambda value: json.dumps(value, indent=4, ensure_ascii=False)),
    (("json-pretty-printed",), 3, lambda value: json.dumps(value, indent="\t", ensure_ascii=False)),
    (("json-escaped",), 1, ASCII),
    (("json-escaped",), 3, _html_safe),
    (("json-escaped", "json-spacing"), 1, json.dumps),
    (("json-reordered",), 1, _sorted),
    (("json-reordered", "json-spacing"), 2, lambda value: json.dumps(value, ensure_ascii=False, sort_keys=True)),
    (("json-reordered",), 3, lambda value: COMPACT(dict(reversed(value.items())))),
    (("params-as-repr",), 1, repr),
    (("params-as-repr",), 3, lambda value: java_map(as_texts(value))),
    (("params-as-repr",), 2, lambda _value: "[object Object]"),
    (("params-as-repr",), 3, lambda _value: "Array"),
)


def _as_other_things(case: CaseV3, value: dict[str, Any]) -> Iterator[Part]:
    params = as_texts(value)
    yield Part(("values-quoted",), 2, COMPACT(params))
    yield Part(("params-as-form",), 1, AS_SENT(params))
    yield Part(("params-as-form",), 2, written(params))
    yield Part(("params-as-form",), 2, written(sorted_tree(params)))
    command = case.fields.get("cmd", "")
    for grade, whole in (
        (1, {"cmd": command, "params": value}),
        (2, {"apiKey": case.key, "cmd": command, "params": value}),
        (3, {"cmd": command, "apiKey": case.key, "params": value}),
        (3, {"params": value}),
    ):
        yield Part(("request-as-json",), grade, COMPACT(whole))
        yield Part(("request-as-json",), 4, SPACED(whole))


def stamps(case: CaseV3) -> Iterator[Part]:
    """List the timestamps that may have been signed instead of the one that was sent."""
    stamp = case.stamp
    for _body, earlier in case.before:
        yield Part(("other-timestamp",), 2, earlier)
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 20:
        return
    number = int(stamp)
    for power, grade in ((3, 1), (6, 3), (7, 3), (9, 3)):
        yield Part(("timestamp-in-other-unit",), grade, str(number * 10**power))
        if len(stamp) == _SECONDS + power:
            yield Part(("timestamp-in-other-unit",), 1, stamp[:_SECONDS])
    yield Part(("nonce-as-timestamp",), 1, str(number * 10**4))
    for step in (1, -1, 2, -2, 3, -3, 4, 5, 3600, -3600, 7200, -7200, 10800, -10800):
        yield Part(("other-timestamp",), 1 if abs(step) == 1 else 4, str(number + step))
    for kind, grade, text in number_forms(stamp):
        if kind in _STAMP_FORMS:
            yield Part((f"timestamp-{kind}",), grade, text)
    if len(stamp) == _SECONDS:
        date = datetime.fromtimestamp(number, UTC)
        for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S"):
            yield Part(("timestamp-as-date",), 3, date.strftime(form))


def in_any_millisecond(case: CaseV3) -> Iterator[str]:
    """List the strings over each millisecond of the second sent: a client that reads the clock so signs one."""
    if case.stamp.isascii() and case.stamp.isdigit() and len(case.stamp) == _SECONDS:
        start = case.text + case.stamp
        yield from (f"{start}{after:03d}" for after in range(1, 1000))


def joins(case: CaseV3) -> Iterator[Join]:
    """List the other ways in which body and timestamp may have been put together."""
    method, path = case.method, case.path
    yield Join(("timestamp-first",), 1, lambda body, stamp: stamp + body)
    yield Join(("timestamp-left-out",), 1, lambda body, _stamp: body)
    if case.text.strip() not in _EMPTY:
        yield Join(("only-timestamp",), 1, lambda _body, stamp: stamp)
    for between in (" ", "\n", "&", ":", ".", "|", ",", ";", "\r\n", "?", "&timestamp="):
        grade = 1 if between in " \n&" else 3
        yield Join(("separator-between",), grade, _joined(between))
        yield Join(("timestamp-first", "separator-between"), 3, _joined(between, first=True))
    # As other exchanges want it.
    yield Join(("timestamp-first", "method-signed"), 2, lambda body, stamp: f"{stamp}{method}{path}{body}")
    yield Join(("timestamp-first", "path-signed"), 3, lambda body, stamp: f"{stamp}{path}{body}")
    yield Join(("timestamp-first", "key-or-nonce-added"), 3, lambda body, stamp: f"{stamp}{case.key}{body}")
    yield Join(("key-or-nonce-added",), 3, lambda body, stamp: f"{body}{case.key}{stamp}")


def wholes(case: CaseV3) -> Iterator[Part]:
    """List the strings of another generation that may have been signed instead."""
    fields, stamp = case.fields, case.stamp
    nonces = [stamp, *(f"{stamp}{'0' * power}" for power in (4, 3, 6, 7, 9))] if stamp.isdigit() else [stamp]
    for number, nonce in enumerate(nonces):
        yield Part(("v2-string",), 1 if number < 2 else 3, written(sorted_tree({**fields, "nonce": nonce})))
    yield Part(("v2-string",), 2, written(sorted_tree(fields)))


def _joined(between: str, *, first: bool = False) -> Callable[[str, str], str]:
    return lambda body, stamp: f"{stamp}{between}{body}" if first else f"{body}{between}{stamp}"
