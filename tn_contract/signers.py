"""What wrong signers of v2 do to the string: stages with one right choice each, and named wrong ones.

fields → order → serialisation → numbers → wrapping. The names are those of `fixtures/mistakes.json`; `search.py`
looks for the choices that were taken.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, quote_plus, unquote

from tn_contract.signing import ENCODING, ERRORS, Credentials, canonical_string, key_order
from tn_contract.wire import COMMAND_PATH, Nested, nest

Text: TypeAlias = "str | bytes"
Swaps: TypeAlias = "tuple[str, str, list[tuple[str, int, str]]]"

COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
SPACED = json.JSONEncoder(ensure_ascii=False).encode
ASCII = json.JSONEncoder(separators=(",", ":")).encode
_INDEX = re.compile(r"\[[0-9]+\]")


class Choice(NamedTuple):
    """A wrong choice at one stage: what it makes of that stage's input, None where it cannot apply.

    `grade` says how often it is seen: 1 every day, 2 often, 3 seldom, 4 hardly ever.
    """

    mistake: str
    grade: int
    apply: Callable[..., Any]  # of one argument; lambdas bind more by default


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
    def secret(self) -> str:
        """The secret of the key pair."""
        return self.credentials.secret.reveal()

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
        yield Choice("secret-as-field", 3 if name == "secret" else 4, adds(name, case.secret))
    for name in ("sig", "sign", "signature", "hash"):
        yield Choice("empty-signature-signed", 4, adds(name, ""))
    if "apiKey" not in case.fields:
        yield Choice("key-not-in-body", 1, adds("apiKey", case.key))
    else:
        yield Choice("secret-signed-as-key", 3, adds("apiKey", case.secret, True))
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
    return as_texts(value) if isinstance(value, dict) else None


def as_texts(value: Any) -> Any:
    """Write every number and word of a JSON value as its text, and lists as maps of their indexes."""
    if isinstance(value, dict):
        return {name: as_texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return {str(index): as_texts(inner) for index, inner in enumerate(value)}
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


def latin(text: str) -> str:
    """Take the UTF-8 bytes of a text for characters."""
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
    ("encoded-twice", 2, latin),
    ("unicode-escaped", 2, lambda text: ASCII(text)[1:-1]),
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


def changes(case: Case) -> list[Choice]:
    """List the ways to sign other fields, or other values of them, than were sent."""
    return [*_fields(case), *_ANY_VALUE_CHOICES, *(_VALUE_CHOICES if _PLAIN.search(case.expected) else ())]


# ---- order ---------------------------------------------------------------------------------------------------


def _ordered(tree: Nested, names: Callable[[Nested], Iterable[str]]) -> Nested:
    return {
        name: _ordered(value, names) if isinstance(value := tree[name], dict) else value for name in names(tree)
    }  # fmt: skip


def sorted_tree(tree: Nested) -> Nested:
    """Sort each level as it should be."""
    return {
        name: sorted_tree(value) if isinstance(value := tree[name], dict) else value
        for name in (key_order(tree) if len(tree) > 1 else tree)
    }


def _level(tree: Nested, names: Iterable[str]) -> Nested:
    """Order the top level only; below it is sorted."""
    return {name: sorted_tree(value) if isinstance(value := tree[name], dict) else value for name in names}


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
    Choice("inner-unsorted", 3, lambda tree: {name: tree[name] for name in key_order(tree)}),
    Choice("unsorted", 1, _same),
    Choice("unsorted", 3, lambda tree: _level(tree, tree)),
    Choice("reverse-sorted", 2, lambda tree: _ordered(tree, lambda names: key_order(names)[::-1])),
    Choice("reverse-sorted", 3, lambda tree: _level(tree, key_order(tree)[::-1])),
    Choice("pairs-sorted", 3, _pair_order),
    Choice("list-order-as-text", 3, lambda tree: _ordered(tree, sorted)),
    Choice("case-insensitive-order", 3, lambda tree: _ordered(tree, lambda names: sorted(names, key=str.lower))),
    Choice("utf-16-order", 3, lambda tree: _ordered(
        tree, lambda names: sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass")))),
    Choice("sorted-by-value", 4, lambda tree: _level(tree, sorted(tree, key=lambda name: str(tree[name])))),
    Choice("sorted-by-value", 4, lambda tree: _level(tree, sorted(tree, key=lambda name: (len(name), name)))),
)  # fmt: skip


def orders(case: Case) -> list[Choice]:
    """List the ways to arrange the fields, but for the right one."""
    return [*_ORDERS, *_arrangements(case)]


def _arrangements(case: Case) -> Iterator[Choice]:
    # All 24 orders of four fields; of more, only those that are known to be built.
    for names in permutations(case.fields) if len(case.fields) <= 4 else _BUILT:
        yield Choice("unsorted", 3 if names in _BUILT else 4, lambda tree, names=names: _level(tree, [
            *(name for name in names if name in tree), *(name for name in tree if name not in names)]))  # fmt: skip


# ---- serialisation -------------------------------------------------------------------------------------------


def written(tree: Nested) -> str:
    """Write a tree as it stands: name=value joined by &, a nested map as name= and its own string."""
    return "&".join([f"{k}={v if type(v) is str else written(v)}" for k, v in tree.items()])  # type: ignore[arg-type]


def _flat(tree: Nested, path: str = "", form: str = "{}[{}]") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in tree.items():
        full = form.format(path, name) if path else name
        if isinstance(value, dict):
            pairs += _flat(value, full, form)
        else:
            pairs.append((full, value))
    return pairs


def _pairs(form: str) -> Callable[[Nested], str | None]:
    return lambda tree: "&".join([f"{name}={value}" for name, value in _flat(tree, "", form)])


def _form(name: Callable[[str], str], value: Callable[[str], str]) -> Callable[[Nested], str]:
    return lambda tree: "&".join([f"{name(k)}={value(v)}" for k, v in _flat(tree)])


@lru_cache(1024)  # the same few names and values, over and over
def _plus(text: str) -> str:
    return quote_plus(text, errors=ERRORS)


@lru_cache(1024)  # the same few names and values, over and over
def percent_encoded(text: str) -> str:
    """Percent-encode a text as RFC 3986 says."""
    return quote(text, safe="", errors=ERRORS)


def _component(text: str) -> str:
    return quote(text, safe="!'()*", errors=ERRORS)  # as JavaScript's encodeURIComponent


def _lower(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def _plain(text: str) -> str:
    return text


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and (value[0] != "0" or value == "0")


def _numbers(tree: Nested) -> dict[str, Any]:
    return {
        name: _numbers(value) if isinstance(value, dict) else int(value) if _is_number(value) else value
        for name, value in tree.items()
    }


def _mixed(tree: Nested) -> dict[str, Any]:
    """Numbers as numbers, but the nonce as text."""
    return {**_numbers(tree), **({"nonce": tree["nonce"]} if "nonce" in tree else {})}


_quoted, _ascii_quoted = lru_cache(1024)(COMPACT), lru_cache(1024)(ASCII)


def _json(
    spaced: bool, texts: Container[str] | None, quoted: Callable[[str], str] = _quoted
) -> Callable[[Nested], str]:
    """Write JSON with numbers bare but for those named in `texts`, None: for all. Quicker than `json` by far."""
    comma, colon = (", ", ": ") if spaced else (",", ":")

    def write(tree: Nested) -> str:
        members = [
            f"{quoted(name)}{colon}{write(value)}"
            if isinstance(value, dict)
            else f"{quoted(name)}{colon}{value}"
            if texts is not None and name not in texts and _is_number(value)
            else f"{quoted(name)}{colon}{quoted(value)}"
            for name, value in tree.items()
        ]
        return f"{{{comma.join(members)}}}"

    return write


_TIGHT, _TIGHT_TEXTS, _TIGHT_MIXED = _json(False, ()), _json(False, None), _json(False, ("nonce",))
_WIDE, _WIDE_TEXTS, _WIDE_MIXED = _json(True, ()), _json(True, None), _json(True, ("nonce",))
_TIGHT_ASCII = _json(False, (), _ascii_quoted)


def _inner_json(write: Callable[[Nested], str]) -> Callable[[Nested], str | None]:
    return lambda tree: written({**tree, "params": write(p)}) if isinstance(p := tree.get("params"), dict) else None


def _nested_as(write: Callable[[Nested], str]) -> Callable[[Nested], str | None]:
    """Write the nested maps otherwise, and the top level as it should be."""

    def serialise(tree: Nested) -> str | None:
        if not any(isinstance(value, dict) for value in tree.values()):
            return None
        return "&".join([f"{k}={v if isinstance(v, str) else write(v)}" for k, v in tree.items()])

    return serialise


def java_map(tree: Nested) -> str:
    """Print a map as Java does."""
    return "{" + ", ".join(f"{k}={java_map(v) if isinstance(v, dict) else v}" for k, v in tree.items()) + "}"


def _joined(between: str, equals: str = "=") -> Callable[[Nested], str]:
    def serialise(tree: Nested) -> str:
        return between.join([f"{k}{equals}{v if isinstance(v, str) else serialise(v)}" for k, v in tree.items()])

    return serialise


def _values_only(between: str) -> Callable[[Nested], str]:
    return lambda tree: between.join([value for _name, value in _flat(tree)])


AS_SENT = _form(_plus, _plus)
FORMS = (
    Choice("brackets", 2, _pairs("{}[{}]")),
    Choice("percent-encoded", 1, AS_SENT),
    Choice("percent-encoded", 2, _form(percent_encoded, percent_encoded)),
    Choice("percent-encoded", 3, _form(_component, _component)),
    Choice("percent-encoded", 3, lambda tree: _lower(_form(_plus, _plus)(tree))),
    Choice("percent-encoded", 4, lambda tree: _lower(_form(percent_encoded, percent_encoded)(tree))),
    Choice("percent-encoded", 3, _form(_plain, _plus)),
    Choice("percent-encoded", 4, _form(_plain, percent_encoded)),
    Choice("percent-encoded", 4, _form(_plus, _plain)),
    Choice("brackets", 4, _pairs("{}['{}']")),
    Choice("brackets", 4, _pairs('{}["{}"]')),
    Choice("dotted-name", 2, _pairs("{}.{}")),
    *(Choice("other-nesting", 4, _pairs(form)) for form in (
        "{}_{}", "{}:{}", "{}/{}", "{}{}", "{}={}")),
    Choice("inner-equals-encoded", 3, _nested_as(lambda tree: percent_encoded(written(tree)))),
    Choice("params-as-json", 2, _inner_json(_TIGHT)),
    Choice("params-as-json", 3, _inner_json(_TIGHT_TEXTS)),
    Choice("params-as-json", 2, _inner_json(_WIDE)),
    Choice("params-as-json", 3, _inner_json(_WIDE_TEXTS)),
    Choice("params-as-json", 4, _inner_json(_TIGHT_ASCII)),
    Choice("params-as-json", 3, _nested_as(lambda tree: percent_encoded(_TIGHT(tree)))),
    Choice("params-as-json", 4, _nested_as(lambda tree: _plus(_WIDE(tree)))),
    Choice("request-as-json", 2, _TIGHT),
    Choice("request-as-json", 2, _TIGHT_MIXED),
    Choice("request-as-json", 3, _TIGHT_TEXTS),
    Choice("request-as-json", 3, _WIDE),
    Choice("request-as-json", 2, _WIDE_MIXED),
    Choice("request-as-json", 3, _WIDE_TEXTS),
    Choice("request-as-json", 4, _TIGHT_ASCII),
    Choice("request-as-json", 4, lambda tree: json.dumps(_numbers(tree), indent=2, ensure_ascii=False)),
    Choice("params-as-repr", 2, _nested_as(lambda tree: repr(_numbers(tree)))),
    Choice("params-as-repr", 3, _nested_as(repr)),
    Choice("request-as-repr", 3, lambda tree: repr(_mixed(tree))),
    Choice("request-as-repr", 3, repr),
    Choice("request-as-repr", 4, lambda tree: repr(_numbers(tree))),
    Choice("request-as-repr", 4, lambda tree: repr(list(_mixed(tree).items()))),
    Choice("params-as-repr", 3, _nested_as(java_map)),
    Choice("request-as-repr", 4, java_map),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "{" + written(tree) + "}")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "[" + written(tree) + "]")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: "(" + written(tree) + ")")),
    Choice("params-as-repr", 3, _nested_as(lambda _tree: "[object Object]")),
    Choice("params-as-repr", 3, _nested_as(lambda _tree: "Array")),
    Choice("params-as-repr", 4, _nested_as(lambda tree: ",".join(written({k: v}) for k, v in tree.items()))),
    Choice("values-only", 3, _nested_as(_values_only("&"))),
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


def messages(case: Case) -> Iterator[Choice]:
    """List the strings that have little to do with the fields: parts of them, and those of v3."""
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
        yield Choice("v3-message", min(2 + grade, 4), _v3(_TIGHT, stamp))
        yield Choice("v3-message", 4, _v3(_TIGHT_TEXTS, stamp))
        yield Choice("v3-message", 4, _v3(_WIDE, stamp))
        yield Choice("v3-message", 4, _v3(_WIDE_TEXTS, stamp))
        yield Choice("v3-message", 4, lambda tree, stamp=stamp: None if "params" in tree else stamp)


def _v3(write: Callable[[Nested], str], stamp: str) -> Callable[[Nested], str]:
    return lambda tree: write(p if isinstance(p := tree.get("params"), dict) else {}) + stamp


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
            yield "other-nonce", 3, str(number - step)
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


def other_orders(case: Case) -> Iterator[tuple[str, int, str]]:
    """List other order ids that a client may have signed: the mistake, its grade, the text."""
    _name, text = case.order
    if text.isascii() and text.isdigit() and len(text) < 30:
        for step in (1, -1, 2, -2, 10, -10):
            yield "other-order-id", 2 if step == 1 else 3 if step == -1 else 4, str(int(text) + step)
        for other in (text[:-1], text[1:], text + "0", text[::-1]):
            yield "other-order-id", 4, other
    for other in ("0", "1", "", "None", "null", "undefined", "NaN", "2929292929"):
        yield "other-order-id", 4, other


def numbers_changed(case: Case) -> Iterator[Swaps]:
    """Name and text of each number, and what may have been signed instead: mistake, grade, text."""
    if nonce := case.nonce:
        forms = [(f"nonce-{kind}", grade, text) for kind, grade, text in number_forms(nonce)]
        yield "nonce", nonce, [*forms, *_nonces(case)]
    name, order = case.order
    if order:
        # Few languages print a number as short as most ids in scientific notation.
        forms = [
            (f"order-id-{kind}", 3 if kind == "in-exponent" and grade == 2 else grade, text)
            for kind, grade, text in number_forms(order)
        ]
        yield name, order, [*forms, *other_orders(case)]


def gap_of(text: str, name: str, number: str) -> tuple[str, str] | None:
    """Cut a number out of a text, behind its name if that is there: short numbers also stand elsewhere."""
    at = text.find(number, max(text.find(name), 0))
    return None if at < 0 else (text[:at], text[at + len(number) :])


# ---- wrapping: what was done to the finished text -------------------------------------------------------------


def encoded(text: Text) -> bytes:
    """Return the bytes that are digested."""
    return text if isinstance(text, bytes) else text.encode(ENCODING, ERRORS)


def wrappings(case: Case) -> Iterator[Choice]:
    """List what may have been done to the finished string."""

    def behind(mistake: str, grade: int, *added: str) -> Iterator[Choice]:
        for text in added:
            yield Choice(mistake, grade, lambda signed, text=text: signed + text)

    def before(mistake: str, grade: int, *added: str) -> Iterator[Choice]:
        for text in added:
            yield Choice(mistake, grade, lambda signed, text=text: text + signed)

    secret, key, nonce, path = case.secret, case.key, case.nonce, case.path
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
            "text-hashed-first", grade, lambda text, name=name: getattr(hashlib, name)(encoded(text)).hexdigest()
        )
        yield Choice("text-hashed-first", grade, lambda text, name=name: getattr(hashlib, name)(encoded(text)).digest())
    yield Choice("text-in-base64", 3, lambda text: base64.b64encode(encoded(text)))
    yield Choice("text-in-base64", 4, lambda text: encoded(text).hex())
    yield Choice("text-encoded-whole", 3, percent_encoded)
    yield Choice("text-encoded-whole", 3, _plus)
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: quote(text, safe="=&", errors=ERRORS))
    yield Choice("text-encoded-whole", 4, lambda text: _lower(percent_encoded(text)))
    yield Choice("text-encoded-whole", 4, html.escape)
    yield Choice("text-quoted", 3, lambda text: f'"{text}"')
    yield Choice("text-quoted", 4, lambda text: f"'{text}'")
    yield Choice("text-quoted", 4, COMPACT)
    yield Choice("text-quoted", 4, lambda text: "{" + text + "}")
    yield Choice("text-quoted", 4, lambda text: f"b'{text}'")
    yield Choice("other-charset", 3, lambda text: text.encode("utf-16-le", "surrogatepass"))
    yield Choice("other-charset", 4, lambda text: text.encode("utf-16", "surrogatepass"))
    yield Choice("other-charset", 4, lambda text: text.encode("utf-16-be", "surrogatepass"))
    yield Choice("other-charset", 3, lambda text: text.encode("latin-1", "replace"))
    yield Choice("other-charset", 3, lambda text: text.encode("cp1251", "replace"))
    yield Choice("nothing-signed", 3, lambda _text: "")


def stamps_of(fields: Mapping[str, Any], sent: str = "") -> tuple[str, ...]:
    """List the times that a v3 message may end with: the header's, or the nonce in whole seconds."""
    nonce = fields.get("nonce")
    found = [sent] if sent else []
    if isinstance(nonce, str) and nonce.isascii() and nonce.isdigit() and 9 < len(nonce) < 20:
        found += [nonce, nonce[:10]]
        found += [nonce[:-7]] if len(nonce) > 16 else []
    return tuple(dict.fromkeys(found))
