"""Reads what a client's program printed: its reports, in every spelling that leaves no doubt.

The protocol is one JSON object a line. Taken as well: UTF-16 and byte order marks, colours, text before and after an
object, objects over several lines or in an array, other line ends, other cases of names and outcomes, and what
languages print of a map or an object by default (`{'outcome': 'accepted'}`, `{ outcome: 'accepted' }`). What holds the
word `outcome` and cannot be read that way is told with the reason, instead of being passed over in silence.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from tn_contract.record.evidence import OUTCOMES, Reported

WORDS_KEPT = 200
# A program that prints this many more reports than it has orders is not read any further.
REPORTS_MOST = 1000
# So many braces may open nothing that can be read, before the rest is given up.
_FAILURES_MOST = 20_000

_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
          (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_FLAT = re.compile(r"\{[^{}\n]{1,1000}\}")
_PAIR = re.compile(
    r"""\s*(?P<q>["']?)(?P<name>[A-Za-z_-]+)(?P=q)\s*(?::|=>|=)\s*(?P<value>"[^"\\]*"|'[^'\\]*'|[\w.+-]+)\s*(?:,|$)"""
)
_JSON = json.JSONDecoder()


def decoded(raw: bytes) -> str:
    """Decode output: UTF-8, or what a byte order mark or the spelling of `outcome` says."""
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "")
    if not encoding:
        encoding = next(filter(None, (_wide(raw, bits) for bits in (32, 16))), "utf-8")
    if encoding != "utf-8" and b"outcome" in raw:
        encoding = "utf-8"  # both: what is plain is read
    return raw.decode(encoding, "backslashreplace" if encoding == "utf-8" else "replace").replace("\ufeff", "")


def _wide(raw: bytes, bits: int) -> str:
    """Recognise UTF-16 or UTF-32 by where the word `outcome` begins: big ends match a little-endian search one off."""
    at = raw.find("outcome".encode(f"utf-{bits}-le"))
    return "" if at < 0 else f"utf-{bits}-{'be' if at % (bits // 8) else 'le'}"


def read_reports(output: str, order_ids: tuple[str, ...]) -> list[Reported]:
    """Read the reports, the n-th for the n-th order unless it names one; an outcome that is none is kept as it is."""
    reports: list[Reported] = []
    for said in _objects(_ESCAPES.sub("", output)):
        if len(reports) >= REPORTS_MOST + len(order_ids):
            break
        place = order_ids[len(reports)] if len(reports) < len(order_ids) else "(one more than asked)"
        order_id = place if said.get("orderid") is None else str(said["orderid"])
        kind, code = said.get("kind"), said.get("code")
        reports.append(
            Reported(
                order_id[:WORDS_KEPT],
                _outcome(said["outcome"])[:WORDS_KEPT],
                kind[:WORDS_KEPT] if isinstance(kind, str) else None,
                code[:WORDS_KEPT] if isinstance(code, str) else code if type(code) is int else None,
            )
        )
    return reports


def _outcome(word: str) -> str:
    plain = re.sub(r"[\s_-]+", "-", word.strip().lower())
    plain = "not-sent" if plain == "notsent" else plain
    return plain if plain in OUTCOMES else word


def why_unread(output: str, errors: str, order_ids: tuple[str, ...]) -> str:
    """Say why output that speaks of outcomes holds no report; empty when it speaks of none."""
    if read_reports(errors, order_ids):
        return "the outcomes are on standard error: print them on standard output"
    line = next((line for line in output.splitlines() if re.search(r"outcome\W", line, re.IGNORECASE)), "")
    if not line:
        return ""
    shown = line.strip()[:WORDS_KEPT]
    if '\\"' in line:
        return f"the line {shown!r} is JSON within a string: print the object itself"
    return f'the line {shown!r} is no JSON object with a text under "outcome"'


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield every outermost object that has an outcome, its names without case and underscores."""
    at = failures = 0
    while (start := text.find("{", at)) >= 0 and failures < _FAILURES_MOST:
        try:
            found, at = _JSON.raw_decode(text, start)
        except (ValueError, RecursionError):
            failures += 1
            flat = _FLAT.match(text, start)
            found, at = (_loosely(flat[0]), flat.end()) if flat else (None, start + 1)
        if isinstance(found, dict):
            said = {re.sub("[_-]", "", name).lower(): value for name, value in found.items()}
            if isinstance(said.get("outcome"), str):
                yield said


def _loosely(text: str) -> dict[str, Any] | None:
    """Read `{'outcome': 'accepted'}`, `{ outcome: 'accepted', }` and the like: names and plain values alone."""
    inner, at = text[1:-1].strip(), 0
    found: dict[str, Any] = {}
    while at < len(inner):
        pair = _PAIR.match(inner, at)
        if pair is None:
            return None
        value = pair["value"]
        found[pair["name"]] = (
            int(value)
            if value.lstrip("-").isdecimal()
            else None
            if value in ("None", "null", "undefined")
            else value.strip("\"'")
        )
        at = pair.end()
    return found
