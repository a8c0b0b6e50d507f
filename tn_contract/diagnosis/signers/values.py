"""What wrong signers do to values before they sign them: encoding, trimming, escaping, printing of lists."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

from tn_contract.contract.signing import ERRORS
from tn_contract.contract.wire import Nested
from tn_contract.diagnosis.signers import ASCII, Choice, latin, leaves


@lru_cache(1024)  # the same few names and values, over and over
def form_encoded(text: str) -> str:
    """Percent-encode a text as forms do, a space as +."""
    return quote_plus(text, errors=ERRORS)


@lru_cache(1024)  # the same few names and values, over and over
def percent_encoded(text: str) -> str:
    """Percent-encode a text as RFC 3986 says."""
    return quote(text, safe="", errors=ERRORS)


def component_encoded(text: str) -> str:
    """Percent-encode a text as JavaScript's encodeURIComponent does."""
    return quote(text, safe="!'()*", errors=ERRORS)


def lower_escapes(text: str) -> str:
    """Write the hex digits of percent escapes in lower case."""
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def _words(table: dict[str, str]) -> Callable[[str], str]:
    return lambda text: table.get(text, text)


_VALUES: list[tuple[str, int, Callable[[str], str]]] = [
    ("space-as-plus", 1, lambda text: text.replace(" ", "+")),
    ("space-as-percent", 1, lambda text: text.replace(" ", "%20")),
    ("values-encoded", 1, percent_encoded),
    ("values-encoded", 2, form_encoded),
    ("values-encoded", 2, lambda text: quote(text, errors=ERRORS)),
    ("values-encoded", 3, component_encoded),
    ("values-encoded", 4, lambda text: lower_escapes(percent_encoded(text))),
    ("values-encoded", 4, lambda text: lower_escapes(form_encoded(text))),
    ("values-encoded", 4, lambda text: percent_encoded(percent_encoded(text))),
    ("values-encoded", 4, lambda text: form_encoded(form_encoded(text))),
    ("trimmed", 1, str.strip),
    ("trimmed", 3, lambda text: re.sub(r"\s+", " ", text).strip()),
    ("trimmed", 3, lambda text: re.sub(r"\s+", "", text)),
    ("trimmed", 4, str.rstrip),
    ("trimmed", 4, str.lstrip),
    ("percent-decoded", 2, lambda text: unquote(text, errors=ERRORS)),
    ("percent-decoded", 3, lambda text: unquote(text.replace("+", " "), errors=ERRORS)),
    ("percent-decoded", 3, lambda text: text.replace("+", " ")),
    ("normalised", 2, lambda text: unicodedata.normalize("NFC", text)),
    ("normalised", 2, lambda text: unicodedata.normalize("NFD", text)),
    ("normalised", 3, lambda text: unicodedata.normalize("NFKC", text)),
    ("encoded-twice", 2, latin),
    ("unicode-escaped", 2, lambda text: ASCII(text)[1:-1]),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "backslashreplace").decode()),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "ignore").decode()),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "replace").decode()),
    ("unicode-escaped", 4, lambda text: text.encode("ascii", "xmlcharrefreplace").decode()),
    ("unicode-escaped", 4, lambda text: unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()),
    ("other-charset", 3, lambda text: text.encode("latin-1", "replace").decode("latin-1").replace("\x00", "")),
    ("html-escaped", 3, html.escape),
    ("html-escaped", 4, lambda text: html.escape(text, quote=False)),
    ("line-ends-changed", 2, lambda text: text.replace("\r\n", "\n")),
    ("line-ends-changed", 2, lambda text: re.sub("\r?\n", "\r\n", text)),
    ("values-quoted", 4, lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")),
    ("values-quoted", 4, lambda text: ASCII(text)),
    *(("printed-as-word", 3 if "" in table and "true" not in table else 2, _words(table)) for table in (
        {"1": "True", "0": "False"}, {"1": "true", "0": "false"},
        {"True": "true", "False": "false", "None": "null"}, {"true": "True", "false": "False", "null": "None"},
        {"true": "1", "false": "", "null": ""}, {"true": "1", "false": "0", "null": ""},
        {"": "None", "1": "True", "0": "False"}, {"": "null", "1": "true", "0": "false"},
        {"": "False", "1": "True"}, {"": "false", "1": "true"}, {"": "undefined"}, {"": "nil"}, {"": "NULL"},
        {"": "<nil>"}, {"": "0"}, {"": "None", "true": "True", "false": "False"},
    )),
]  # fmt: skip
_ANY_VALUES: list[tuple[str, int, Callable[[str], str]]] = [
    ("values-quoted", 2, lambda text: f'"{text}"'),
    ("values-quoted", 3, lambda text: f"'{text}'"),
    ("values-quoted", 4, lambda text: f"[{text}]"),
    ("values-quoted", 4, lambda text: f"b'{text}'"),
    ("values-quoted", 4, lambda text: f"['{text}']"),
    ("values-quoted", 4, lambda text: f'["{text}"]'),
    ("values-quoted", 4, lambda text: f" {text}"),
    ("values-quoted", 4, lambda text: f"{text} "),
]
_LISTS = [
    ("list-as-repr", 1, repr),
    ("list-as-repr", 2, lambda items: json.dumps(items, ensure_ascii=False)),
    ("list-as-repr", 2, lambda items: json.dumps(items, ensure_ascii=False, separators=(",", ":"))),
    ("list-as-repr", 3, lambda items: f"[{', '.join(items)}]"),
    ("list-as-repr", 3, lambda items: f"[{' '.join(items)}]"),
    ("list-as-repr", 3, lambda items: f"[{','.join(items)}]"),
    ("list-as-repr", 3, lambda items: f"{{{', '.join(items)}}}"),
    ("list-as-repr", 4, lambda items: f"[ {', '.join(map(repr, items))} ]"),
    ("list-as-repr", 4, lambda items: repr(tuple(items))),
    ("list-as-repr", 3, lambda _items: "Array"),
    ("list-as-repr", 4, lambda _items: "System.String[]"),
    *(("list-joined", grade, between.join) for grade, between in (
        (1, ","), (2, ", "), (3, "+"), (3, ""), (3, "&"), (3, ";"), (3, "|"), (3, " "), (4, ":"), (4, "\n"), (4, "-"),
    )),
]  # fmt: skip


def _lists(tree: Nested, change: Callable[[list[str]], str | Nested]) -> Nested | None:
    """Change every list of texts; None when there is none."""
    changed: Nested = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            items = list(value.values())
            is_list = all(map(str.isdigit, value)) and all(isinstance(item, str) for item in items)
            changed[name] = change([str(item) for item in items]) if is_list else _lists(value, change) or value
        else:
            changed[name] = value
    return None if changed == tree else changed


def _valued(choices: list[tuple[str, int, Callable[[str], str]]]) -> list[Choice]:
    return [Choice(name, grade, lambda tree, change=change: leaves(tree, change)) for name, grade, change in choices]


ANY_VALUE_CHOICES = _valued(_ANY_VALUES)
CASE_CHOICES = _valued([("values-in-other-case", 4, str.lower), ("values-in-other-case", 4, str.upper)])
VALUE_CHOICES = [
    *_valued(_VALUES),
    *(Choice(mistake, grade, lambda tree, write=write: _lists(tree, write)) for mistake, grade, write in _LISTS),
]
# What these change: anything but plain letters, empty values, lists, and words that stand for something.
PLAIN = re.compile(r"[^\w.&=-]|[^\x00-\x7f]|=(&|$)|[&=]\d+=|=([01]|true|false|null|none)(&|$)", re.IGNORECASE)
