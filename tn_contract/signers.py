"""What wrong signers do: a pipeline of stages with named wrong choices, and the search for those that were taken.

fields → order → serialisation → numbers → wrapping gives a text; a secret and a digest make the signature; how it
was written is decoded from what came. Every stage has one right choice. The search tries no wrong choice, then one,
then two; ids are those of `fixtures/mistakes.json`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import permutations
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, quote_plus, unquote

from tn_contract.signing import ENCODING, ERRORS, Credentials, canonical_string, key_order
from tn_contract.wire import COMMAND_PATH, Nested, nest

Text: TypeAlias = "str | bytes"
_Swaps: TypeAlias = "tuple[str, str, list[tuple[str, int, str]]]"
Mac: TypeAlias = Callable[..., bytes]  # of the message

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SPACED = json.JSONEncoder(ensure_ascii=False).encode
_ASCII = json.JSONEncoder(separators=(",", ":")).encode
_INDEX = re.compile(r"\[[0-9]+\]")

# Two wrong choices are tried together when their grades add up to no more than this: 1 is seen every day, 2 often,
# 3 seldom, 4 hardly ever, and then alone.
_GRADES = 4
# A longer string is searched for single mistakes only: each try costs its length.
_LONG = 2000
# Fewer bytes of a cut digest would prove nothing.
_LEAST = 8


class Choice(NamedTuple):
    """A wrong choice at one stage: what it makes of that stage's input, None where it cannot apply."""

    mistake: str
    grade: int
    apply: Callable[..., Any]  # of one argument; lambdas bind more by default


class Finding(NamedTuple):
    """What was found: the mistakes and what was signed (the secret may stand in it)."""

    mistakes: tuple[str, ...]
    signed: str


@dataclass(frozen=True)
class Case:
    """One request whose signature is sought: its fields as they came, and what a client may have mixed in.

    `pairs` are the fields as sent, before brackets nest; `earlier` the fields of earlier requests with this key;
    `others` further key pairs; `stamps` times that a v3 message may end with.
    """

    fields: Nested
    credentials: Credentials
    pairs: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    path: str = COMMAND_PATH + "delTradeOrder"
    host: str = "tradernet.com"
    earlier: tuple[Nested, ...] = ()
    others: tuple[Credentials, ...] = ()
    stamps: tuple[str, ...] = ()
    expected: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", canonical_string(self.fields))

    @property
    def key(self) -> str:
        """The key of the request."""
        return self.credentials.api_key

    @property
    def nonce(self) -> str:
        """The nonce as sent, "" when it has no text."""
        nonce = self.fields.get("nonce", "")
        return nonce if isinstance(nonce, str) else ""

    @property
    def order(self) -> tuple[str, str]:
        """Name and text of the order id: the first of params that is `order_id` or a number."""
        params = self.fields.get("params")
        texts = [(k, v) for k, v in params.items() if isinstance(v, str)] if isinstance(params, dict) else []
        numbers = [(k, v) for k, v in texts if k == "order_id" or (v.isascii() and v.isdigit())]
        return next((pair for pair in numbers if pair[0] == "order_id"), numbers[0] if numbers else ("", ""))


# ---- fields: which of them were signed, and with which values --------------------------------------------------

_KNOWN = {"apiKey": "no-api-key", "cmd": "no-cmd", "nonce": "no-nonce", "params": "no-params"}
_RESPELT = {"apiKey": "api_key", "cmd": "command"}, {"apiKey": "key"}, {"apiKey": "publicKey"}, {"apiKey": "public_key"}
_SECRET_NAMES = ("secret", "apiSecret", "api_secret", "apiSecretKey", "secretKey")


def _fields(case: Case) -> Iterator[Choice]:
    def without(name: str) -> Callable[[Nested], Nested | None]:
        return lambda tree: {k: v for k, v in tree.items() if k != name} if name in tree else None

    def renamed(names: Callable[..., str]) -> Callable[[Nested], Nested]:
        return lambda tree: {names(k): v for k, v in tree.items()}

    def inner(change: Callable[..., Nested]) -> Callable[[Nested], Nested | None]:
        return lambda tree: {**tree, "params": change(p)} if isinstance(p := tree.get("params"), dict) else None

    def adds(name: str, value: str, over: bool = False) -> Callable[[Nested], Nested | None]:
        return lambda tree: {**tree, name: value} if over or name not in tree else None

    for name, mistake in _KNOWN.items():
        yield Choice(mistake, 2, without(name))
    for name in case.fields:
        if name not in _KNOWN:
            yield Choice("field-left-out", 2, without(name))
    yield Choice("only-params", 2, lambda tree: p if isinstance(p := tree.get("params"), dict) else None)
    yield Choice("params-lifted", 2, _lifted)
    yield Choice("empty-params-signed", 2, adds("params", ""))
    yield Choice("empty-value-dropped", 2, lambda tree: _leaves(tree, lambda value: value or None))
    yield Choice("names-in-other-case", 3, renamed(str.lower))
    yield Choice("names-in-other-case", 4, renamed(str.upper))
    yield Choice("names-in-other-case", 4, renamed(lambda name: name[:1].upper() + name[1:]))
    for spelling in _RESPELT:
        yield Choice("names-respelt", 4, renamed(lambda name, to=spelling: to.get(name, name)))
    yield Choice(
        "names-respelt", 4, inner(lambda p: {re.sub("_(.)", lambda m: m[1].upper(), k): v for k, v in p.items()})
    )
    for name in _SECRET_NAMES:
        yield Choice("secret-as-field", 3 if name == "secret" else 4, adds(name, _reveal(case.credentials)))
    for name in ("sig", "sign", "signature", "hash"):
        yield Choice("empty-signature-signed", 4, adds(name, ""))
    if "apiKey" not in case.fields:
        yield Choice("key-not-in-body", 1, adds("apiKey", case.key))
    else:
        yield Choice("secret-signed-as-key", 3, adds("apiKey", _reveal(case.credentials), True))
        for pair in case.others[:4]:
            yield Choice("other-key-signed", 4, adds("apiKey", pair.api_key, True))
    yield Choice("other-command", 3, adds("cmd", "getAuthInfo", True))
    for command in ("cancelOrder", case.path.rpartition("/")[2], "putTradeOrder"):
        yield Choice("other-command", 4, adds("cmd", command, True))
    sent = case.fields.get("cmd")
    if isinstance(sent, str):
        yield Choice("other-command", 4, adds("cmd", sent.lower(), True))
        yield Choice("other-command", 4, adds("cmd", sent.upper(), True))
    if isinstance(params := case.fields.get("params"), dict) and len(params) > 1:
        for name in list(params)[:8]:
            yield Choice("param-left-out", 2, inner(lambda p, name=name: {k: v for k, v in p.items() if k != name}))
    for earlier in case.earlier:
        yield Choice("other-request-signed", 2, lambda _tree, earlier=earlier: earlier)
        if isinstance(wrong := earlier.get("params"), dict):
            yield Choice("other-order-id", 2, inner(lambda _params, wrong=wrong: wrong))
    yield from (Choice(mistake, 1, lambda _tree, tree=tree: tree) for mistake, tree in _other_readings(case))


def _lifted(tree: Nested) -> Nested | None:
    params = tree.get("params")
    return {**{k: v for k, v in tree.items() if k != "params"}, **params} if isinstance(params, dict) else None


def _other_readings(case: Case) -> Iterator[tuple[str, Nested]]:
    """What the client may have meant by fields that PHP reads otherwise."""
    fields, params = case.fields, case.fields.get("params")
    if isinstance(params, str) and params[:1] == "{":
        meant = from_json(params)
        if meant is not None:
            yield "params-sent-as-json", {**fields, "params": meant}
    if any("." in name for name, _ in case.pairs):
        yield "dotted-name-sent", nest((re.sub(r"\.(\w+)", r"[\1]", name), value) for name, value in case.pairs)
        yield "dotted-name-sent", dict(case.pairs)
    if any("%" in name for name, _ in case.pairs):
        yield "names-encoded-twice", nest((unquote(name), value) for name, value in case.pairs)
        yield "names-encoded-twice", dict(case.pairs)
    top = {name: value for name, value in fields.items() if name not in _KNOWN}
    if top and not isinstance(params, dict):
        yield "params-sent-lifted", {**{k: v for k, v in fields.items() if k in _KNOWN}, "params": top}
    names = [name for name, _ in case.pairs]
    if len(set(names)) < len(names):
        yield "field-sent-twice", nest(reversed(case.pairs))
    for name in names:
        if name not in _KNOWN and name.lower() in ("apikey", "api_key"):
            yield "names-in-other-case", {"apiKey" if k == name else k: v for k, v in fields.items()}


def from_json(text: str) -> Nested | None:
    """Read a JSON object with every number and word as its text; None for anything else."""
    try:
        value = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return _as_texts(value) if isinstance(value, dict) else None


def _as_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return {str(index): _as_texts(inner) for index, inner in enumerate(value)}
    return value if isinstance(value, str) else json.dumps(value)


def _leaves(tree: Nested, change: Callable[[str], str | None]) -> Nested | None:
    """Change every value (None drops it); None when that changes nothing."""
    changed: Nested = {}
    for name, value in tree.items():
        new = (_leaves(value, change) or value) if isinstance(value, dict) else change(value)
        if new is not None:
            changed[name] = new
    return None if changed == tree else changed


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


def _latin(text: str) -> str:
    return text.encode(ENCODING, ERRORS).decode("latin-1")


def _words(table: dict[str, str]) -> Callable[[str], str]:
    return lambda text: table.get(text, text)


_VALUES = [
    ("space-as-plus", 1, lambda text: text.replace(" ", "+")),
    ("space-as-percent", 1, lambda text: text.replace(" ", "%20")),
    ("values-encoded", 1, lambda text: quote(text, safe="", errors=ERRORS)),
    ("values-encoded", 2, lambda text: quote_plus(text, errors=ERRORS)),
    ("values-encoded", 2, lambda text: quote(text, errors=ERRORS)),
    ("values-encoded", 3, lambda text: quote(text, safe="!'()*~-._", errors=ERRORS)),
    ("trimmed", 1, str.strip),
    ("percent-decoded", 2, lambda text: unquote(text, errors=ERRORS)),
    ("percent-decoded", 3, lambda text: unquote(text.replace("+", " "), errors=ERRORS)),
    ("normalised", 2, lambda text: unicodedata.normalize("NFC", text)),
    ("normalised", 2, lambda text: unicodedata.normalize("NFD", text)),
    ("normalised", 3, lambda text: unicodedata.normalize("NFKC", text)),
    ("encoded-twice", 2, _latin),
    ("unicode-escaped", 2, lambda text: _ASCII(text)[1:-1]),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "backslashreplace").decode()),
    ("other-charset", 3, lambda text: text.encode("latin-1", "replace").decode("latin-1").replace("\x00", "")),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "ignore").decode()),
    ("unicode-escaped", 3, lambda text: text.encode("ascii", "replace").decode()),
    ("html-escaped", 3, html.escape),
    ("line-ends-changed", 2, lambda text: text.replace("\r\n", "\n")),
    ("line-ends-changed", 2, lambda text: re.sub("\r?\n", "\r\n", text)),
    ("printed-as-word", 2, _words({"1": "True", "0": "False"})),
    ("printed-as-word", 2, _words({"1": "true", "0": "false"})),
    ("printed-as-word", 2, _words({"True": "true", "False": "false", "None": "null"})),
    ("printed-as-word", 2, _words({"true": "True", "false": "False", "null": "None"})),
    ("printed-as-word", 2, _words({"true": "1", "false": "", "null": ""})),
    ("printed-as-word", 2, _words({"true": "1", "false": "0", "null": ""})),
    ("printed-as-word", 2, _words({"": "None", "1": "True", "0": "False"})),
    ("printed-as-word", 2, _words({"": "null", "1": "true", "0": "false"})),
    ("printed-as-word", 3, _words({"": "False", "1": "True"})),
    ("printed-as-word", 3, _words({"": "false", "1": "true"})),
    ("printed-as-word", 3, _words({"": "undefined"})),
]
_ANY_VALUES = [
    ("values-quoted", 3, lambda text: f'"{text}"'),
    ("values-quoted", 4, lambda text: f"'{text}'"),
    ("values-in-other-case", 4, str.lower),
    ("values-in-other-case", 4, str.upper),
]  # fmt: skip
_LISTS = [
    ("list-as-repr", 1, repr),
    ("list-as-repr", 2, lambda items: json.dumps(items, ensure_ascii=False)),
    ("list-as-repr", 2, lambda items: json.dumps(items, ensure_ascii=False, separators=(",", ":"))),
    ("list-as-repr", 3, lambda items: f"[{', '.join(items)}]"),
    ("list-as-repr", 3, lambda _items: "Array"),
    ("list-joined", 1, ",".join),
    ("list-joined", 2, ", ".join),
    ("list-joined", 3, "+".join),
    ("list-joined", 3, "".join),
    ("list-joined", 3, "&".join),
    ("list-joined", 3, ";".join),
    ("list-joined", 3, "|".join),
]  # fmt: skip


def _valued(choices: list[tuple[str, int, Callable[[str], str]]]) -> list[Choice]:
    return [Choice(name, grade, lambda tree, change=change: _leaves(tree, change)) for name, grade, change in choices]


_ANY_VALUE_CHOICES = _valued(_ANY_VALUES)
_VALUE_CHOICES = [
    *_valued(_VALUES),
    *(Choice(mistake, grade, lambda tree, write=write: _lists(tree, write)) for mistake, grade, write in _LISTS),
]
# What these change: anything but plain letters, empty values, lists, and words that stand for something.
_PLAIN = re.compile(r"[^\w.&=-]|[^\x00-\x7f]|=(&|$)|[&=]\d+=|=([01]|true|false|null|none)(&|$)", re.IGNORECASE)


# ---- order ---------------------------------------------------------------------------------------------------


def _ordered(tree: Nested, names: Callable[[Nested], Iterable[str]]) -> Nested:
    return {
        name: _ordered(value, names) if isinstance(value := tree[name], dict) else value for name in names(tree)
    }  # fmt: skip


def _sorted(tree: Nested) -> Nested:
    return _ordered(tree, key_order)


def _level(tree: Nested, names: Iterable[str]) -> Nested:
    """Order the top level only; below it is sorted."""
    return {name: _sorted(value) if isinstance(value := tree[name], dict) else value for name in names}


def _pair_order(tree: Nested) -> Nested:
    written = {name: _sorted_pairs(value) if isinstance(value, dict) else value for name, value in tree.items()}
    return {name: _pair_order(value) if isinstance(value := tree[name], dict) else value
            for name in sorted(tree, key=lambda name: f"{name}={written[name]}")}  # fmt: skip


def _sorted_pairs(tree: Nested) -> str:
    return "&".join(
        sorted(f"{k}={_sorted_pairs(v) if isinstance(v, dict) else v}" for k, v in tree.items())
    )  # fmt: skip


def _same(tree: Nested) -> Nested:
    return tree


# Orders of fields as programs build them: the seed page's sample, the vendor's clients, common sense.
_BUILT = {
    ("cmd", "apiKey", "nonce", "params"), ("cmd", "params", "nonce", "apiKey"), ("cmd", "params", "apiKey", "nonce"),
    ("apiKey", "cmd", "params", "nonce"), ("apiKey", "nonce", "cmd", "params"), ("nonce", "apiKey", "cmd", "params"),
}  # fmt: skip


_ORDERS = (
    Choice("inner-unsorted", 2, lambda tree: {name: tree[name] for name in key_order(tree)}),
    Choice("unsorted", 1, _same),
    Choice("unsorted", 3, lambda tree: _level(tree, tree)),
    Choice("reverse-sorted", 2, lambda tree: _ordered(tree, lambda names: key_order(names)[::-1])),
    Choice("reverse-sorted", 3, lambda tree: _level(tree, key_order(tree)[::-1])),
    Choice("pairs-sorted", 2, _pair_order),
    Choice("list-order-as-text", 3, lambda tree: _ordered(tree, sorted)),
    Choice("case-insensitive-order", 3, lambda tree: _ordered(tree, lambda names: sorted(names, key=str.lower))),
    Choice("utf-16-order", 3, lambda tree: _ordered(
        tree, lambda names: sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass")))),
    Choice("sorted-by-value", 4, lambda tree: _level(tree, sorted(tree, key=lambda name: str(tree[name])))),
    Choice("sorted-by-value", 4, lambda tree: _level(tree, sorted(tree, key=lambda name: (len(name), name)))),
)  # fmt: skip


def _orders(case: Case) -> Iterator[Choice]:
    yield from _ORDERS
    # All 24 orders of four fields; of more, only those that are known to be built.
    for names in permutations(case.fields) if len(case.fields) <= 4 else _BUILT:
        yield Choice("unsorted", 3 if names in _BUILT else 4, lambda tree, names=names: _level(tree, [
            *(name for name in names if name in tree), *(name for name in tree if name not in names)]))  # fmt: skip


# ---- serialisation -------------------------------------------------------------------------------------------


def _write(tree: Nested) -> str:
    return "&".join([f"{k}={v if type(v) is str else _write(v)}" for k, v in tree.items()])  # type: ignore[arg-type]


def _flat(tree: Nested, path: str = "", form: str = "{}[{}]") -> list[tuple[str, str]]:
    pairs = []
    for name, value in tree.items():
        full = form.format(path, name) if path else name
        pairs += _flat(value, full, form) if isinstance(value, dict) else [(full, value)]
    return pairs


def _pairs(form: str) -> Callable[[Nested], str | None]:
    return lambda tree: "&".join([f"{name}={value}" for name, value in _flat(tree, "", form)])


def _form(name: Callable[[str], str], value: Callable[[str], str]) -> Callable[[Nested], str]:
    return lambda tree: "&".join([f"{name(k)}={value(v)}" for k, v in _flat(tree)])


@lru_cache(1024)  # the same few names and values, over and over
def _plus(text: str) -> str:
    return quote_plus(text, errors=ERRORS)


@lru_cache(1024)  # the same few names and values, over and over
def _raw(text: str) -> str:
    return quote(text, safe="", errors=ERRORS)


def _component(text: str) -> str:
    return quote(text, safe="!'()*", errors=ERRORS)  # as JavaScript's encodeURIComponent


def _lower(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def _plain(text: str) -> str:
    return text


def _number(value: str) -> int | str:
    return int(value) if value.isascii() and value.isdigit() and (value == "0" or value[0] != "0") else value


def _numbers(tree: Nested) -> dict[str, Any]:
    return {name: _numbers(value) if isinstance(value, dict) else _number(value) for name, value in tree.items()}


def _mixed(tree: Nested) -> dict[str, Any]:
    """Numbers as numbers, but the nonce as text."""
    return {name: value if name == "nonce" else number for (name, value), number in
            zip(tree.items(), _numbers(tree).values(), strict=True)}  # fmt: skip


def _inner_json(write: Callable[[Any], str], typed: Callable[[Nested], Any]) -> Callable[[Nested], str | None]:
    def serialise(tree: Nested) -> str | None:
        if not isinstance(params := tree.get("params"), dict):
            return None
        return _write({**tree, "params": write(typed(params))})

    return serialise


def _whole_json(write: Callable[[Any], str], typed: Callable[[Nested], Any]) -> Callable[[Nested], str]:
    return lambda tree: write(typed(tree))


def _nested_as(write: Callable[[Nested], str]) -> Callable[[Nested], str | None]:
    """Write the nested maps otherwise, and the top level as it should be."""

    def serialise(tree: Nested) -> str | None:
        if not any(isinstance(value, dict) for value in tree.values()):
            return None
        return "&".join([f"{k}={v if isinstance(v, str) else write(v)}" for k, v in tree.items()])

    return serialise


def _java(tree: Nested) -> str:
    return "{" + ", ".join(f"{k}={_java(v) if isinstance(v, dict) else v}" for k, v in tree.items()) + "}"


def _joined(between: str, equals: str = "=") -> Callable[[Nested], str]:
    def serialise(tree: Nested) -> str:
        return between.join([f"{k}{equals}{v if isinstance(v, str) else serialise(v)}" for k, v in tree.items()])

    return serialise


def _values_only(between: str) -> Callable[[Nested], str]:
    return lambda tree: between.join([value for _name, value in _flat(tree)])


_BODY = _form(_plus, _plus)
_FORMS = (
    Choice("brackets", 2, _pairs("{}[{}]")),
    Choice("percent-encoded", 1, _BODY),
    Choice("percent-encoded", 2, _form(_raw, _raw)),
    Choice("percent-encoded", 3, _form(_component, _component)),
    Choice("percent-encoded", 3, lambda tree: _lower(_form(_plus, _plus)(tree))),
    Choice("percent-encoded", 4, lambda tree: _lower(_form(_raw, _raw)(tree))),
    Choice("percent-encoded", 3, _form(_plain, _plus)),
    Choice("percent-encoded", 4, _form(_plain, _raw)),
    Choice("percent-encoded", 4, _form(_plus, _plain)),
    Choice("brackets", 4, _pairs("{}['{}']")),
    Choice("brackets", 4, _pairs('{}["{}"]')),
    Choice("dotted-name", 2, _pairs("{}.{}")),
    *(Choice("other-nesting", 4, _pairs(form)) for form in (
        "{}_{}", "{}:{}", "{}/{}", "{}{}", "{}={}")),
    Choice("inner-equals-encoded", 2, _nested_as(lambda tree: _raw(_write(tree)))),
    Choice("params-as-json", 2, _inner_json(_COMPACT, _numbers)),
    Choice("params-as-json", 3, _inner_json(_COMPACT, _same)),
    Choice("params-as-json", 2, _inner_json(_SPACED, _numbers)),
    Choice("params-as-json", 3, _inner_json(_SPACED, _same)),
    Choice("params-as-json", 4, _inner_json(_ASCII, _numbers)),
    Choice("params-as-json", 3, _nested_as(lambda tree: _raw(_COMPACT(_numbers(tree))))),
    Choice("params-as-json", 4, _nested_as(lambda tree: _plus(_SPACED(_numbers(tree))))),
    Choice("request-as-json", 2, _whole_json(_COMPACT, _numbers)),
    Choice("request-as-json", 2, _whole_json(_COMPACT, _mixed)),
    Choice("request-as-json", 3, _whole_json(_COMPACT, _same)),
    Choice("request-as-json", 3, _whole_json(_SPACED, _numbers)),
    Choice("request-as-json", 2, _whole_json(_SPACED, _mixed)),
    Choice("request-as-json", 3, _whole_json(_SPACED, _same)),
    Choice("request-as-json", 4, _whole_json(_ASCII, _numbers)),
    Choice("request-as-json", 4, lambda tree: json.dumps(_numbers(tree), indent=2, ensure_ascii=False)),
    Choice("params-as-repr", 2, _nested_as(lambda tree: repr(_numbers(tree)))),
    Choice("params-as-repr", 3, _nested_as(repr)),
    Choice("request-as-repr", 3, lambda tree: repr(_mixed(tree))),
    Choice("request-as-repr", 3, repr),
    Choice("request-as-repr", 4, lambda tree: repr(_numbers(tree))),
    Choice("request-as-repr", 4, lambda tree: repr(list(_mixed(tree).items()))),
    Choice("params-as-repr", 3, _nested_as(_java)),
    Choice("request-as-repr", 4, _java),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "{" + _write(tree) + "}")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "[" + _write(tree) + "]")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "(" + _write(tree) + ")")),
    Choice("params-as-repr", 3, _nested_as(lambda _tree: "[object Object]")),
    Choice("params-as-repr", 3, _nested_as(lambda _tree: "Array")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: ",".join(_write({k: v}) for k, v in tree.items()))),
    Choice("params-as-repr", 3, _nested_as(_values_only("&"))),
    Choice("no-separators", 2, _joined("")),
    Choice("no-separators", 3, _joined("", "")),
    Choice("values-only", 2, _values_only("")),
    *(Choice("values-only", 4, _values_only(between)) for between in "&,|:\n "),
    *(Choice("other-separators", 3 if between in ",;|\n" else 4, _joined(between)) for between in (
        ",", ";", "|", "\n", " ", "&amp;", ", ", ":")),
    *(Choice("other-separators", 4, _joined("&", equals)) for equals in (":", "", " ")),
    Choice("other-separators", 4, _joined(",", ":")),
    Choice("other-separators", 4, _joined("\n", ":")),
    Choice("list-without-indexes", 3, lambda tree: _without_indexes(tree)),
    Choice("list-without-indexes", 4, lambda tree: "&".join(
        [f"{re.sub(_INDEX, '[]', name)}={value}" for name, value in _flat(tree)])),
)  # fmt: skip


def _messages(case: Case) -> Iterator[Choice]:
    key, nonce = case.key, case.nonce
    for text in (
        nonce,
        key,
        nonce + key,
        key + nonce,
        f"{nonce}{case.fields.get('cmd')}",
        case.path,
        nonce + case.path,
    ):
        yield Choice("values-only", 4, lambda _tree, text=text: text)
    for grade, stamp in enumerate(case.stamps):
        yield Choice("v3-message", min(2 + grade, 4), _v3(_COMPACT, _numbers, stamp))
        yield Choice("v3-message", 4, _v3(_COMPACT, _same, stamp))
        yield Choice("v3-message", 4, _v3(_SPACED, _numbers, stamp))
        yield Choice("v3-message", 4, _v3(_SPACED, _same, stamp))
        yield Choice("v3-message", 4, lambda tree, stamp=stamp: None if "params" in tree else stamp)


def _v3(write: Callable[[Any], str], typed: Callable[[Nested], Any], stamp: str) -> Callable[[Nested], str]:
    return lambda tree: write(typed(p if isinstance(p := tree.get("params"), dict) else {})) + stamp


def _without_indexes(tree: Nested, name: str = "") -> str | None:
    parts = []
    for key, value in tree.items():
        shown = name if name and key.isdigit() else key
        if isinstance(value, dict):
            inner = _without_indexes(value, key) or ""
            parts.append(inner if value and all(map(str.isdigit, value)) else f"{shown}={inner}")
        else:
            parts.append(f"{shown}={value}")
    return "&".join(parts)


# ---- numbers: a nonce or an order id that was signed otherwise than sent --------------------------------------


def number_forms(text: str) -> Iterator[tuple[str, int, str]]:
    """Other texts of a whole number as programs write it: the kind of change, its grade, the text."""
    if not (text.isascii() and text.isdigit()) or len(text) > 30:
        return
    number = int(text)
    real = float(number)
    yield "as-float", 2, f"{text}.0"
    yield "as-float", 4, f"{text}.00"
    mantissa, _, exponent = f"{real:.16e}".partition("e")
    digits, power = mantissa.rstrip("0").rstrip("."), int(exponent)
    short = next((form for places in range(17) if float(form := f"{real:.{places}e}") == real), mantissa).partition(
        "e"
    )[0]
    # PHP prints 14 digits and a capital E, Python and JavaScript as many as it takes.
    php = f"{real:.13e}".partition("e")[0].rstrip("0").rstrip(".")
    for base in dict.fromkeys((short, php, digits)):
        whole = base if "." in base else f"{base}.0"
        yield "in-exponent", 2 if base is short else 4, f"{base}e+{power:02d}"
        yield "in-exponent", 2 if base == php else 4, f"{whole}E+{power}"
        yield "in-exponent", 3 if base is short else 4, f"{base}E+{power}"
        yield "in-exponent", 4, f"{whole}e+{power:02d}"
        yield "in-exponent", 4, f"{base}e{power}"
    yield "in-exponent", 4, f"{real:e}"
    yield "in-exponent", 4, f"{real:g}"
    yield "rounded", 2, str(int(real))
    for kept in (17, 15, 14, 7):
        if len(text) > kept:
            yield "rounded", 4, str(int(float(f"{real:.{kept - 1}e}")))
    for bits in (32, 31):
        low = number % 2**bits
        yield "wrapped", 3, str(low - 2**bits if bits == 32 and low >= 2**31 else low)
        yield "wrapped", 4, str(low)
    yield "wrapped", 4, str(2**31 - 1)
    yield "quoted", 3, f'"{text}"'
    yield "quoted", 4, f"'{text}'"
    yield "padded", 4, f" {text}"
    yield "padded", 4, f"+{text}"
    yield "padded", 4, f"-{text}"
    yield "padded", 4, f"0{text}"
    yield "padded", 4, f"{text}L"
    yield "padded", 4, f"{text}n"
    yield "grouped", 4, f"{number:,}"
    yield "grouped", 4, f"0x{number:x}"
    yield "grouped", 4, f"{number:x}"


def _nonces(case: Case) -> Iterator[tuple[str, int, str]]:
    """Other nonces that a client may have signed."""
    if case.nonce.isascii() and case.nonce.isdigit() and len(case.nonce) < 30:
        number = int(case.nonce)
        for power in (3, 4, 6, 7, 9):
            if number >= 10 ** (power + 8):
                yield "nonce-in-other-unit", 2 if power in (4, 7) else 3, str(number // 10**power)
                yield "nonce-in-other-unit", 4, str(number // 10**power * 10**power)
        for power in (3, 4, 6, 7):
            yield "nonce-in-other-unit", 4, str(number * 10**power)
        for step in (1, 2, 4, 10, 100, 1000, 10_000, 10_000_000):
            yield "other-nonce", 2 if step == 1 else 4, str(number + step)
            yield "other-nonce", 2 if step == 1 else 3, str(number - step)
        if number >= 10**15:
            yield "nonce-in-other-unit", 4, f"{number / 10**7:.6f}"
            yield "nonce-in-other-unit", 4, repr(number / 10**7)
    for stamp in case.stamps:
        yield "other-nonce", 4, stamp
    for earlier in case.earlier:
        if isinstance(nonce := earlier.get("nonce"), str):
            yield "other-nonce", 2, nonce
    for text in ("0", "", "None", "null", "undefined", "NaN", "<nonce>"):
        yield "other-nonce", 4, text


def _other_orders(case: Case) -> Iterator[tuple[str, int, str]]:
    _name, text = case.order
    if text.isascii() and text.isdigit() and len(text) < 30:
        for step in (1, -1, 2, -2, 10, -10):
            yield "other-order-id", 2 if step == 1 else 3 if step == -1 else 4, str(int(text) + step)
        for other in (text[:-1], text[1:], text + "0", text[::-1]):
            yield "other-order-id", 4, other
    for other in ("0", "1", "", "None", "null", "undefined", "NaN", "2929292929"):
        yield "other-order-id", 4, other


def _numbers_changed(case: Case) -> Iterator[_Swaps]:
    """Name and text of each number, and what may have been signed instead: mistake, grade, text."""
    if nonce := case.nonce:
        forms = [(f"nonce-{kind}", grade, text) for kind, grade, text in number_forms(nonce)]
        yield "nonce", nonce, [*forms, *_nonces(case)]
    name, order = case.order
    if order:
        forms = [(f"order-id-{kind}", grade, text) for kind, grade, text in number_forms(order)]
        yield name, order, [*forms, *_other_orders(case)]


def _gap(text: str, name: str, number: str) -> tuple[str, str] | None:
    """Cut a number out of a text, behind its name if that is there: short numbers also stand elsewhere."""
    at = text.find(number, max(text.find(name), 0))
    return None if at < 0 else (text[:at], text[at + len(number) :])


# ---- wrapping: what was done to the finished text -------------------------------------------------------------


def _encoded(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode(ENCODING, ERRORS)


def _wrappings(case: Case) -> Iterator[Choice]:
    def behind(mistake: str, grade: int, *added: str) -> Iterator[Choice]:
        for text in added:
            yield Choice(mistake, grade, lambda signed, text=text: signed + text)

    def before(mistake: str, grade: int, *added: str) -> Iterator[Choice]:
        for text in added:
            yield Choice(mistake, grade, lambda signed, text=text: text + signed)

    secret, key, nonce, path = _reveal(case.credentials), case.key, case.nonce, case.path
    yield from behind("trailing-ampersand", 2, "&")
    yield from before("leading-ampersand", 3, "&")
    yield from before("question-mark", 2, "?")
    yield from behind("line-feed", 2, "\n")
    yield from behind("crlf", 3, "\r\n")
    yield from behind("white-space", 3, " ")
    yield from before("white-space", 4, " ", "\n")
    yield from behind("white-space", 4, "\t", "\0", "\r", "\\n")
    yield from before("white-space", 4, "\ufeff")
    yield from behind("other-separators", 4, ";", ",", "?")
    yield from before("path-signed", 2, f"{path}?", path)
    yield from before("path-signed", 4, f"{path}\n", f"{path}&")
    yield from before("path-signed", 4, path.lstrip("/"), f"{path}:", f"{path}|", "/api/v2", "/api/v2?", "/api")
    yield from before("path-signed", 4, path.removeprefix("/api"), path.removeprefix("/api") + "?")
    yield from behind("path-signed", 4, path)
    yield from before("url-signed", 3, f"https://{case.host}{path}?", f"https://{case.host}{path}")
    yield from before(
        "url-signed", 4, f"https://{case.host}{path}\n", f"http://{case.host}{path}?", f"http://{case.host}{path}"
    )
    if case.host != "tradernet.com":
        yield from before("url-signed", 4, f"https://tradernet.com{path}?", f"https://tradernet.com{path}")
    method = case.method
    yield from before("method-signed", 2, method)
    yield from before(
        "method-signed", 3, f"{method}\n", f"{method}&", f"{method} ", f"{method}{path}", f"{method}\n{path}\n"
    )
    yield from before("method-signed", 4, f"{method} {path} ", f"{method}{path}?", f"{method} {path}\n",
                      f"{method}:{path}:", f"{method}&{quote(path, safe='')}&", f"{method}|{path}|",
                      f"{method}:")  # fmt: skip
    yield from behind("secret-in-string", 2, secret)
    yield from behind("secret-in-string", 3, f"&{secret}")
    yield from before("secret-in-string", 2, secret)
    yield from before("secret-in-string", 4, f"{secret}&")
    yield from behind(
        "secret-in-string", 4, f":{secret}", f"&key={secret}", f"&secret={secret}", f"&apiSecret={secret}"
    )
    yield from before("secret-in-string", 4, f"{secret}:", f"secret={secret}&")
    yield Choice("secret-in-string", 4, lambda text: f"{secret}{text}{secret}")
    yield from behind("key-or-nonce-added", 3, key, nonce)
    yield from before("key-or-nonce-added", 3, key, nonce)
    yield from behind(
        "key-or-nonce-added", 4, f"&{key}", f"&{nonce}", f":{nonce}", nonce + key, key + nonce, *case.stamps
    )
    yield from before(
        "key-or-nonce-added", 4, f"{key}&", f"{nonce}&", f"{nonce}:", nonce + key, key + nonce, *case.stamps
    )
    command = case.fields.get("cmd")
    if isinstance(command, str):
        yield from before("key-or-nonce-added", 4, command, f"{command}?", f"{command}&")
    yield Choice("text-in-other-case", 3, str.lower)
    yield Choice("text-in-other-case", 3, str.upper)
    for name, grade in (("sha256", 3), ("md5", 3), ("sha1", 4)):
        yield Choice(
            "text-hashed-first", grade, lambda text, name=name: getattr(hashlib, name)(_encoded(text)).hexdigest()
        )
        yield Choice(
            "text-hashed-first", grade, lambda text, name=name: getattr(hashlib, name)(_encoded(text)).digest()
        )
    yield Choice("text-in-base64", 3, lambda text: base64.b64encode(_encoded(text)))
    yield Choice("text-in-base64", 4, lambda text: _encoded(text).hex())
    yield Choice("text-encoded-whole", 3, _raw)
    yield Choice("text-encoded-whole", 3, _plus)
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, safe="=&", errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: _lower(_raw(text)))
    yield Choice("text-encoded-whole", 4, html.escape)
    yield Choice("text-quoted", 3, lambda text: f'"{text}"')
    yield Choice("text-quoted", 4, lambda text: f"'{text}'")
    yield Choice("text-quoted", 4, _COMPACT)
    yield Choice("text-quoted", 4, lambda text: "{" + text + "}")
    yield Choice("text-quoted", 4, lambda text: f"b'{text}'")
    yield Choice("other-charset", 3, lambda text: text.encode("utf-16-le", "surrogatepass"))
    yield Choice("other-charset", 4, lambda text: text.encode("utf-16", "surrogatepass"))
    yield Choice("other-charset", 4, lambda text: text.encode("utf-16-be", "surrogatepass"))
    yield Choice("other-charset", 3, lambda text: text.encode("latin-1", "replace"))
    yield Choice("other-charset", 3, lambda text: text.encode("cp1251", "replace"))
    yield Choice("nothing-signed", 3, lambda _text: "")


# ---- secrets ---------------------------------------------------------------------------------------------------


def _reveal(credentials: Credentials) -> str:
    return credentials.secret.reveal()


def _hexed(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _unbased(text: str) -> bytes | None:
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


_PLACEHOLDERS = (
    "<YOUR_API_SECRET_KEY>",
    "YOUR_API_SECRET_KEY",
    "YOUR_API_SECRET",
    "***",
    "Secret('***')",
    "None",
    "null",
    "undefined",
    "secret",
    "<hash>",
)  # fmt: skip


def _secrets(case: Case) -> Iterator[tuple[str, int, Text | None]]:
    """The keys that a wrong signer may have used."""
    secret, key = _reveal(case.credentials), case.key
    raw = secret.encode(ENCODING, ERRORS)
    yield "key-as-secret", 1, key
    yield "secret-hex-decoded", 2, _hexed(secret)
    yield "secret-base64-decoded", 2, _unbased(secret)
    yield "secret-hashed", 2, hashlib.sha256(raw).hexdigest()
    yield "secret-hashed", 3, hashlib.sha256(raw).digest()
    yield "secret-hashed", 3, hashlib.md5(raw).hexdigest()  # noqa: S324 # what clients do
    yield "secret-hashed", 4, hashlib.md5(raw).digest()  # noqa: S324
    for name in ("sha1", "sha512"):
        yield "secret-hashed", 4, hashlib.new(name, raw).hexdigest()
        yield "secret-hashed", 4, hashlib.new(name, raw).digest()
    yield "secret-hashed", 4, hashlib.sha256(raw).hexdigest().upper()
    yield "secret-hashed", 4, base64.b64encode(hashlib.sha256(raw).digest())
    yield "secret-encoded", 3, base64.b64encode(raw)
    yield "secret-encoded", 3, raw.hex()
    yield "secret-encoded", 4, raw.hex().upper()
    yield "secret-encoded", 4, base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield "secret-encoded", 4, _raw(secret)
    yield "secret-encoded", 4, unquote(secret, errors=ERRORS)
    yield "secret-encoded", 4, secret.encode("utf-16-le", "surrogatepass")
    yield "secret-upper-cased", 2, secret.upper()
    yield "secret-upper-cased", 2, secret.lower()
    yield "secret-upper-cased", 4, secret.swapcase()
    yield "secret-trimmed", 2, secret.strip()
    yield "secret-line-feed", 2, secret + "\n"
    yield "secret-line-feed", 3, secret + "\r\n"
    yield "secret-line-feed", 3, secret + " "
    yield "secret-line-feed", 4, " " + secret
    for odd in ("\t", "\0", "\r"):
        yield "secret-line-feed", 4, secret + odd
    yield "secret-line-feed", 4, "\ufeff" + secret
    yield "secret-quoted", 3, f'"{secret}"'
    yield "secret-quoted", 4, f"'{secret}'"
    yield "secret-quoted", 4, f"b'{secret}'"
    yield "secret-quoted", 4, f"<{secret}>"
    yield "secret-empty", 2, ""
    yield "key-and-secret-joined", 2, key + secret
    yield "key-and-secret-joined", 3, secret + key
    yield "key-and-secret-joined", 3, f"{key}:{secret}"
    for joined in (
        f"{secret}:{key}",
        f"{key}&{secret}",
        f"{secret}&{key}",
        f"{key}.{secret}",
        f"{key}|{secret}",
        f"{key},{secret}",
    ):
        yield "key-and-secret-joined", 4, joined
    yield "secret-with-more", 3, f"{secret}&"
    if case.nonce:
        yield "secret-with-more", 3, secret + case.nonce
        yield "secret-with-more", 4, case.nonce + secret
        yield "secret-with-more", 4, _mac("sha256", raw)(case.nonce.encode(ENCODING, ERRORS))
        yield "secret-with-more", 4, case.nonce
    for length in (64, 32, 16, 20, 24, 40, 63, len(raw) - 1, len(raw) // 2):
        if 0 < length < len(raw):
            yield "secret-cut", 3 if length in (64, 32, len(raw) - 1) else 4, raw[:length]
    if len(raw) > 1:
        yield "secret-cut", 4, raw[1:]
        yield "secret-cut", 4, raw[::-1]
    for pair in case.others:
        yield "other-secret", 1, _reveal(pair)
    for text in _PLACEHOLDERS:
        yield "placeholder-secret", 4, text


# ---- digests ---------------------------------------------------------------------------------------------------

_BLOCKS = {"md5": 64, "sha1": 64, "sha224": 64, "sha256": 64, "sha384": 128, "sha512": 128, "sha3_256": 136,
           "sha3_512": 72, "blake2s": 64, "blake2b": 128}  # fmt: skip
_SIZES = {16: "md5", 20: "sha1", 28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}
_XOR = {value: bytes(byte ^ value for byte in range(256)) for value in (0x36, 0x5C)}


def _mac(name: str, key: bytes) -> Mac:
    """HMAC, keyed once: half the time of `hmac.HMAC.copy`."""
    start = getattr(hashlib, name)
    if len(key) > _BLOCKS[name]:
        key = start(key).digest()
    key = key.ljust(_BLOCKS[name], b"\0")
    inner, outer = start(key.translate(_XOR[0x36])).copy, start(key.translate(_XOR[0x5C])).copy

    def mac(message: bytes) -> bytes:
        first = inner()
        first.update(message)
        second = outer()
        second.update(first.digest())
        digest: bytes = second.digest()
        return digest

    return mac


def _digests(size: int, key: bytes) -> Iterator[tuple[str, int, Mac]]:
    """The wrong digests of at least `size` bytes."""
    exact = _SIZES.get(size)
    for name in dict.fromkeys(filter(None, (exact, "sha256", "sha512", "sha384", "sha1", "md5"))):
        start = getattr(hashlib, name)
        if start().digest_size < size:
            continue
        usual = name in (exact, "sha256")
        grade = 2 if usual else 4
        if name != "sha256":
            yield f"hmac-{name}", grade, lambda text, name=name: _mac(name, key)(text)
        yield "plain-hash", grade, lambda text, start=start: start(text).digest()
        appended = "v1-rule" if name == "md5" else "secret-appended"
        yield appended, grade, lambda text, start=start: start(text + key).digest()
        yield "secret-appended", 2 if usual else 4, lambda text, start=start: start(key + text).digest()
        if usual:
            yield appended, 4, lambda text, start=start: start(text + b"&" + key).digest()
            yield "secret-appended", 4, lambda text, start=start: start(text + b":" + key).digest()
            yield "secret-appended", 4, lambda text, start=start: start(key + b"&" + text).digest()
            yield "secret-appended", 4, lambda text, start=start: start(key + text + key).digest()
            yield "message-and-secret-swapped", 2, lambda text, name=name: _mac(name, text)(key)

            def once(text: bytes, name: str = name) -> bytes:
                return _mac(name, key)(text)

            yield "digest-twice", 3, lambda text, once=once: once(once(text).hex().encode())
            yield "digest-twice", 4, lambda text, once=once: once(once(text))
            yield "digest-twice", 3, lambda text, once=once, start=start: start(once(text).hex().encode()).digest()
            yield "digest-twice", 4, lambda text, once=once, start=start: start(once(text)).digest()
            yield "digest-twice", 4, lambda text, start=start: start(start(text).digest()).digest()
            yield "digest-twice", 4, lambda text, start=start: start(start(text).hexdigest().encode()).digest()
            yield "digest-twice", 4, lambda text, once=once, start=start: once(start(text).digest())
            yield "digest-twice", 4, lambda text, start=start: start(start(text).hexdigest().encode() + key).digest()
    if size <= 32:
        yield "hmac-sha3", 3, lambda text: _mac("sha3_256", key)(text)
        yield "hmac-sha3", 4, lambda text: _mac("blake2s", key)(text)
        yield "plain-hash", 4, lambda text: hashlib.sha3_256(text).digest()
        yield "plain-hash", 4, lambda text: hashlib.blake2s(text).digest()
        yield "hmac-sha3", 4, lambda text: hashlib.blake2s(text, key=key[:32]).digest()
        yield "hmac-sha3", 4, lambda text: hashlib.blake2b(text, key=key[:64], digest_size=32).digest()
    if size <= 64:
        yield "hmac-sha3", 4, lambda text: _mac("sha3_512", key)(text)
        yield "hmac-sha3", 4, lambda text: _mac("blake2b", key)(text)


# ---- writing: how the digest was put into the header -----------------------------------------------------------


class Reading(NamedTuple):
    """One way to read a received signature: what is wrong with its writing, its bytes, and how they compare."""

    mistakes: tuple[str, ...]
    size: int
    matches: Callable[[bytes], bool]

    @property
    def doubtful(self) -> bool:
        """Every digest can be read so: only the right one, read so, tells anything."""
        return "bytes-reversed" in self.mistakes


_DIGEST = re.compile(r"[0-9a-fA-F]+")
_BASED = re.compile(r"[0-9A-Za-z+/_-]+={0,2}")
_SIGN_EXTENDED = re.compile(r"(?:ffffff[89a-f][0-9a-f]|[0-7]?[0-9a-f])+")


def _unpadded(digest: bytes) -> str:
    return "".join([f"{byte:x}" for byte in digest])


def _equals(raw: bytes) -> Callable[[bytes], bool]:
    size = len(raw)
    return lambda digest: digest[:size] == raw


def read_signature(text: str) -> list[Reading]:
    """Decode what came in the header, in each way that it may have been written; empty when it is no digest."""
    found: list[Reading] = []
    for mistakes, core in _unwrapped(text):
        found += [Reading((*mistakes, *more), size, matches) for more, size, matches in _decoded(core)]
    return found


def _unwrapped(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    mistakes: list[str] = []
    if text != text.strip():
        text, mistakes = text.strip(), ["signature-padded"]
    if "%" in text:
        text = unquote(text).strip()
        mistakes.append("signature-encoded")
    numbers = re.findall(r"-?\d+", text)
    if 16 <= len(numbers) <= 64 and "," in text:
        yield (*mistakes, "signature-as-numbers"), bytes(int(number) % 256 for number in numbers).hex()
    literal = re.fullmatch(r"b(['\"])(.*)\1", text)
    bare = text[2:-1] if literal else text.strip("\"'<>[](){} \\nrt") if text[:1] in "\"'<[({" else text
    if bare != text:
        text = bare
        mistakes.append("signature-quoted")
    grouped = re.sub(r"[:\s-]", "", text)
    if grouped != text and re.fullmatch(r"(?:[0-9a-fA-F]{2,8}[:\s-]+)+[0-9a-fA-F]{2,8}", text):
        yield (*mistakes, "signature-grouped"), grouped
    if "\\x" in text:
        raw = text.encode("latin-1", "replace").decode("unicode_escape", "replace").encode("latin-1", "replace")
        yield (*mistakes, "signature-as-numbers"), raw.hex()
    elif len(text) in _SIZES and not text.isascii():
        yield (*mistakes, "signature-as-numbers"), text.encode("latin-1", "replace").hex()
    # A prefix ends before the digest does: `sha256=…`, `Bearer …`, `key:…`, 0x….
    prefix = re.fullmatch(r"(0x|.*[\s:=,;|\"'.](?=.))?([0-9A-Za-z+/_-]{16,}={0,2})", text, re.DOTALL)
    if prefix and prefix[1]:
        yield (*mistakes, "signature-prefixed"), prefix[2]
    suffix = re.fullmatch(r"([0-9A-Za-z+/_-]{16,}={0,2})[\s:,;|&.\"'].*", text, re.DOTALL)
    if suffix:
        yield (*mistakes, "signature-prefixed"), suffix[1]
    if not (prefix and prefix[1]) and not suffix:
        yield tuple(mistakes), text


def _decoded(text: str, nested: bool = False) -> Iterator[tuple[tuple[str, ...], int, Callable[[bytes], bool]]]:
    if not text.isascii() or len(text) > 1000:
        return
    if _DIGEST.fullmatch(text):
        case: tuple[str, ...] = () if text == text.lower() else ("upper-case-hex",)
        length, text = len(text), text.lower()
        raw = bytes.fromhex(text[: length // 2 * 2])
        if length % 2 == 0 and len(raw) >= _LEAST:
            yield (*case, *(() if len(raw) in _SIZES else ("truncated",))), len(raw), _equals(raw)
            if len(raw) in _SIZES and len(raw) > 32:
                inner = raw.decode("ascii", "replace")
                if not nested and _DIGEST.fullmatch(inner):
                    yield from (
                        (("signature-encoded-twice", *more), size, match) for more, size, match in _decoded(inner, True)
                    )
        for size in _SIZES:
            if 0 < 2 * size - length <= 3:
                yield (*case, "leading-zero-dropped"), size, _equals(bytes.fromhex(text.zfill(2 * size)))
        if 48 <= length < 64:
            yield (
                (*case, "bytes-unpadded"),
                32,
                lambda digest: text[0] == f"{digest[0]:x}"[0] and _unpadded(digest) == text,
            )
        if length % 2 and len(raw) >= _LEAST:
            yield (*case, "truncated"), len(raw), _equals(raw)
        if "ffffff" in text and length > 64 and _SIGN_EXTENDED.fullmatch(text):
            short = re.sub("ffffff(?=[89a-f][0-9a-f])", "", text)
            yield (*case, "bytes-unpadded"), 32, lambda digest: digest.hex() == short or _unpadded(digest) == short
        elif length > 64 and len(raw) not in _SIZES:
            yield (*case, "signature-too-long"), 32, _equals(raw[:32])
        if len(raw) == 32:
            yield (*case, "bytes-reversed"), 32, _equals(raw[::-1])
    elif _BASED.fullmatch(text):
        safe = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        kept = safe if len(safe) % 4 != 1 else safe[:-1]
        raw = base64.b64decode(kept + "=" * (-len(kept) % 4))
        inner = raw.decode("ascii", "replace")
        if _DIGEST.fullmatch(inner) and not nested:
            yield from ((("base64-of-hex", *more), size, match) for more, size, match in _decoded(inner, True))
        elif len(raw) >= _LEAST:
            yield ("base64", *(() if len(raw) in _SIZES else ("truncated",))), len(raw), _equals(raw)


WRITINGS: dict[str, Callable[[bytes], str]] = {
    "upper-case-hex": lambda digest: digest.hex().upper(),
    "base64": lambda digest: base64.b64encode(digest).decode(),
    "base64-of-hex": lambda digest: base64.b64encode(digest.hex().encode()).decode(),
    "truncated": lambda digest: digest.hex()[:32],
    "signature-prefixed": lambda digest: f"sha256={digest.hex()}",
    "signature-quoted": lambda digest: f'"{digest.hex()}"',
    "signature-encoded-twice": lambda digest: digest.hex().encode().hex(),
    "bytes-reversed": lambda digest: digest[::-1].hex(),
}


# ---- the search ------------------------------------------------------------------------------------------------


class _Written(NamedTuple):
    """What a wrong signer may have signed."""

    mistakes: tuple[str, ...]
    grade: int
    text: bytes


class Search:
    """The texts of one case, by number of wrong choices; what is alike is listed once."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.right = _Written((), 0, _encoded(case.expected))
        self._seen: set[bytes] = {self.right.text}
        self._singles: list[_Written] = []
        # What pairs start from: changed fields (as they came, and sorted), and texts before numbers and wrapping.
        self._trees: list[tuple[str, int, Nested, Nested]] = []
        self._formed: list[tuple[tuple[str, ...], int, str]] = []

    @cached_property
    def singles(self) -> list[_Written]:
        """Texts with one wrong choice."""
        case = self._case
        self._orders, self._forms = [*_orders(case)], [*_FORMS, *_messages(case)]
        self._swaps, self._wraps = [*_numbers_changed(case)], [*_wrappings(case)]
        self._changes = [*_fields(case), *_ANY_VALUE_CHOICES, *(_VALUE_CHOICES if _PLAIN.search(case.expected) else ())]
        self._try_singles()
        return self._singles

    def _add(self, mistakes: tuple[str, ...], grade: int, text: Text | None) -> bool:
        if text is None:
            return False
        raw = text if type(text) is bytes else text.encode(ENCODING, ERRORS)  # type: ignore[union-attr]
        if raw in self._seen:
            return False
        self._seen.add(raw)
        self._singles.append(_Written(mistakes, grade, raw))
        return True

    def _try_singles(self) -> None:
        tree, right = self._case.fields, self._case.expected
        inner = _sorted(tree)
        formed: list[tuple[str, int, str | None]] = []
        for mistake, grade, change in self._changes:
            changed = change(tree)
            if changed is not None:
                ordered = _sorted(changed)
                self._trees.append((mistake, grade, changed, ordered))
                formed.append((mistake, grade, _write(ordered)))
        formed += [(mistake, grade, _write(arrange(tree))) for mistake, grade, arrange in self._orders]
        formed += [(mistake, grade, form(inner)) for mistake, grade, form in self._forms]
        for mistake, grade, text in formed:
            if text is not None and self._add((mistake,), grade, text):
                self._formed.append(((mistake,), grade, text))
        # The body as it is sent has two mistakes, and yet is what comes to mind first.
        body, both = _BODY(tree), ("unsorted", "percent-encoded")
        if self._add(both, 1, body):
            self._formed.append((both, 1, body))
        for name, number, wrong in self._swaps:
            if gap := _gap(right, name, number):
                for mistake, grade, text in wrong:
                    self._add((mistake,), grade, gap[0] + text + gap[1])
        for mistake, grade, wrap in self._wraps:
            self._add((mistake,), grade, wrap(right))

    def pairs(self) -> Iterator[_Written]:
        """Texts with two wrong choices; those with one are tried before."""
        seen = {self.right.text, *(written.text for written in self.singles)}
        for first, second, text in self._pairs():
            if text is not None:
                raw = text if type(text) is bytes else text.encode(ENCODING, ERRORS)  # type: ignore[union-attr]
                if raw not in seen:
                    seen.add(raw)
                    yield _Written((*first, second), 0, raw)

    def _pairs(self) -> Iterator[tuple[tuple[str, ...], str, Text | None]]:
        tree = self._case.fields
        changes, orders, forms, wraps = map(_by_room, (self._changes, self._orders, self._forms, self._wraps))
        swaps = [(name, number, _by_room(wrong)) for name, number, wrong in self._swaps]
        for wrong, grade, given, ordered in self._trees:
            for mistake, _grade, form in forms[grade]:
                yield (wrong,), mistake, form(ordered)
            for mistake, _grade, arrange in orders[grade]:
                yield (wrong,), mistake, _write(arrange(given))
            for mistake, _grade, change in changes[grade]:
                changed = change(given) if mistake > wrong else None
                if changed is not None:
                    yield (wrong,), mistake, _write(_sorted(changed))
        for wrong, grade, arrange in self._orders:
            if forms[grade]:
                ordered = arrange(tree)
                for mistake, _grade, form in forms[grade]:
                    yield (wrong,), mistake, form(ordered)
        for wrongs, grade, text in self._formed:
            for name, number, others in swaps:
                if others[grade] and (gap := _gap(text, name, number)):
                    for mistake, _grade, other in others[grade]:
                        yield wrongs, mistake, gap[0] + other + gap[1]
            for mistake, _grade, wrap in wraps[grade]:
                yield wrongs, mistake, wrap(text)
        right = self._case.expected
        for index, (name, number, choices) in enumerate(self._swaps):
            gap = _gap(right, name, number) or ("", "")
            for wrong, grade, changed_number in choices:
                if wraps[grade]:
                    text = gap[0] + changed_number + gap[1]
                    for mistake, _grade, wrap in wraps[grade]:
                        yield (wrong,), mistake, wrap(text)
                    for name, number, others in swaps[index + 1 :]:
                        if second := _gap(text, name, number):
                            for mistake, _grade, other in others[grade]:
                                yield (wrong,), mistake, second[0] + other + second[1]
        for wrong, grade, wrap in self._wraps:
            for mistake, _grade, again in wraps[grade]:
                once = wrap(right) if mistake != wrong else None
                if isinstance(once, str):
                    yield (wrong,), mistake, again(once)


def _by_room(choices: list[Any]) -> dict[int, list[Any]]:
    """For each grade, the choices that are tried together with one of it."""
    return {grade: [choice for choice in choices if choice[1] + grade <= _GRADES] for grade in (1, 2, 3, 4)}


def find(case: Case, received: str) -> Finding | None:
    """Find what the client signed, and how: None when no wrong choice, nor any two, give what was received.

    A right signature that is written wrongly has the mistakes of its writing.
    """
    readings = read_signature(received)
    right = _mac("sha256", _encoded(_reveal(case.credentials)))(_encoded(case.expected))
    for reading in readings:
        if reading.matches(right):
            cut = ("truncated",) if reading.size < 32 else ()
            return Finding(tuple(dict.fromkeys((*reading.mistakes, *cut))), case.expected)
    if _damaged(received.strip(), right.hex()):
        return Finding(("signature-damaged",), case.expected)
    search = Search(case) if readings else None
    for number, reading in enumerate(readings):
        # The first reading is the likely one: only under it two wrong choices are tried.
        found = _find(search, case, reading, 1 if number else 2) if search and not reading.doubtful else None
        if found:
            return found
    return None


def _damaged(received: str, right: str) -> bool:
    """A few digits differ, or one is missing or too many: no digest gives that by chance."""
    if len(received) == len(right):
        return 0 < sum(map(str.__ne__, received, right)) <= 4
    begin = next((at for at, (a, b) in enumerate(zip(received, right, strict=False)) if a != b), len(received))
    longer, shorter = sorted((received, right), key=len, reverse=True)
    return len(longer) - len(shorter) == 1 and begin < len(shorter) and longer[begin + 1 :] == shorter[begin:]


def _find(search: Search, case: Case, reading: Reading, most: int) -> Finding | None:
    matches = reading.matches
    for mistakes, mac, texts in _attempts(search, case, reading.size, most):
        for written in texts:
            if matches(mac(written.text)):
                named = dict.fromkeys((*written.mistakes, *mistakes, *reading.mistakes))
                return Finding(tuple(named), written.text.decode(ENCODING, ERRORS))
    return None


def _attempts(
    search: Search, case: Case, size: int, most: int
) -> Iterator[tuple[tuple[str, ...], Mac, Iterable[_Written]]]:
    """Digests under keys and the texts to try them on, first with one wrong choice, then with two."""
    secret, right = _encoded(_reveal(case.credentials)), [search.right]
    # The length tells the digest, so the search goes on under it as if it were the right one.
    name = _SIZES.get(size, "sha256")
    told: dict[str, tuple[str, ...]] = {name: () if name == "sha256" else (f"hmac-{name}",)}
    if size < 32:
        told["sha256"] = ("truncated",)
    macs = [(named, name, _mac(name, secret)) for name, named in told.items()]
    digests = list(_digests(size, secret))
    keys: dict[bytes, tuple[str, int]] = {}
    for mistake, grade, wrong in _secrets(case):
        if wrong is not None and (key := _encoded(wrong)) != secret:
            keys.setdefault(key, (mistake, grade))

    for named, _name, mac in macs:
        yield named, mac, right
    for mistake, _grade, digest in digests:
        yield (mistake,), digest, right
    for named, name, mac in macs:
        for key, (mistake, _grade) in keys.items():
            yield (mistake, *named), _mac(name, key), right
        yield named, mac, search.singles
    if most == 1 or len(search.right.text) > _LONG:
        return
    beside = {grade: [each for each in search.singles if each.grade + grade <= _GRADES] for grade in (1, 2, 3, 4)}
    for key, (mistake, grade) in keys.items():
        if grade < 3:
            for wrong_digest, other, digest in _digests(size, key):
                if other == 2:
                    yield (mistake, wrong_digest), digest, right
    for mistake, grade, digest in digests:
        yield (mistake,), digest, beside[grade]
    for named, name, _mac_of_secret in macs:
        for key, (mistake, grade) in keys.items():
            if beside[grade]:
                yield (mistake, *named), _mac(name, key), beside[grade]
    for named, _name, mac in macs:
        yield named, mac, search.pairs()
    if size == 16:  # v1 itself is without key and separators
        yield ("v1-rule",), lambda text: hashlib.md5(text + secret).digest(), search.pairs()  # noqa: S324 # its rule


def wrong_signatures(fields: Mapping[str, Any], credentials: Credentials) -> Iterator[tuple[str, str]]:
    """What each single mistake makes of a request: its id and the signature that a client would send.

    An id comes once for each of its variants; whatever gives the right signature is left out.
    """
    case = Case(_as_texts(dict(fields)), credentials, stamps=stamps_of(fields))
    secret = _encoded(_reveal(credentials))
    right = _mac("sha256", secret)
    zero = _encoded(case.expected)
    correct = right(zero).hex()
    candidates: list[tuple[str, str]] = []
    candidates += [(written.mistakes[0], right(written.text).hex()) for written in Search(case).singles]
    candidates += [
        (mistake, _mac("sha256", _encoded(key))(zero).hex()) for mistake, _g, key in _secrets(case) if key is not None
    ]
    for size in _SIZES:
        candidates += [(mistake, digest(zero).hex()) for mistake, _g, digest in _digests(size, secret)]
    candidates += [(mistake, write(right(zero))) for mistake, write in WRITINGS.items()]
    seen = {correct}
    for mistake, signature in candidates:
        if signature not in seen:
            seen.add(signature)
            yield mistake, signature


def stamps_of(fields: Mapping[str, Any], sent: str = "") -> tuple[str, ...]:
    """List the times that a v3 message may end with: the header's, or the nonce in whole seconds."""
    nonce = fields.get("nonce")
    found = [sent] if sent else []
    if isinstance(nonce, str) and nonce.isascii() and nonce.isdigit() and 9 < len(nonce) < 20:
        found += [nonce, nonce[:10]]
        found += [nonce[:-7]] if len(nonce) > 16 else []
    return tuple(dict.fromkeys(found))
