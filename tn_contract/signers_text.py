"""How wrong signers of v2 write the fields as one text: other joiners, flat names, JSON, maps as languages print them.

The tables are data: a way to print a map is one row of `_PRINTED`, a way to join pairs is one row of `_JOINERS`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Container, Iterator
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

from tn_contract.signers import ASCII, COMPACT, Case, Choice, flat, written
from tn_contract.signers_values import component_encoded, form_encoded, lower_escapes, percent_encoded
from tn_contract.wire import Nested

_INDEX = re.compile(r"\[[0-9]+\]")


# ---- pairs -------------------------------------------------------------------------------------------------------


def _pairs(form: str, between: str = "&", equals: str = "=") -> Callable[[Nested], str]:
    return lambda tree: between.join([f"{name}{equals}{value}" for name, value in flat(tree, form)])


def _form(name: Callable[[str], str], value: Callable[[str], str], shape: str = "{}[{}]",
          between: str = "&") -> Callable[[Nested], str]:  # fmt: skip
    return lambda tree: between.join([f"{name(k)}={value(v)}" for k, v in flat(tree, shape)])


def _plain(text: str) -> str:
    return text


def _twice(text: str) -> str:
    return percent_encoded(percent_encoded(text))


def _joined(between: str, equals: str = "=", inner: str = "") -> Callable[[Nested], str]:
    """Join pairs at each level; `inner` stands around a nested text: 'before after'."""
    before, _, after = inner.partition(" ")

    def serialise(tree: Nested) -> str:
        parts = [f"{k}{equals}{v if isinstance(v, str) else f'{before}{serialise(v)}{after}'}" for k, v in tree.items()]
        return between.join(parts)

    return serialise


def _outer_joined(between: str, equals: str) -> Callable[[Nested], str | None]:
    """Join the top level otherwise, and nested maps as they should be."""
    return lambda tree: between.join([f"{k}{equals}{v if isinstance(v, str) else written(v)}" for k, v in tree.items()])


def _values_only(between: str) -> Callable[[Nested], str]:
    return lambda tree: between.join([value for _name, value in flat(tree)])


# ---- JSON --------------------------------------------------------------------------------------------------------

_quoted, _ascii_quoted = lru_cache(1024)(COMPACT), lru_cache(1024)(ASCII)


def is_number(value: str) -> bool:
    """Tell texts that JSON would write as whole numbers."""
    return value.isascii() and value.isdigit() and (value[0] != "0" or value == "0")


def numbers(tree: Nested) -> dict[str, Any]:
    """Read texts of digits as numbers."""
    return {
        name: numbers(value) if isinstance(value, dict) else int(value) if is_number(value) else value
        for name, value in tree.items()
    }


def _json(comma: str, colon: str, texts: Container[str] | None, quoted: Callable[[str], str] = _quoted,
          around: str = "{}") -> Callable[[Nested], str]:  # fmt: skip
    """Write JSON with numbers bare but for those named in `texts`, None: for all. Quicker than `json` by far."""
    before, after = around[: len(around) // 2], around[len(around) // 2 :]

    def write(tree: Nested) -> str:
        members = [
            f"{quoted(name)}{colon}{write(value)}"
            if isinstance(value, dict)
            else f"{quoted(name)}{colon}{value}"
            if texts is not None and name not in texts and is_number(value)
            else f"{quoted(name)}{colon}{quoted(value)}"
            for name, value in tree.items()
        ]
        return f"{before}{comma.join(members)}{after}"

    return write


def _pretty(indent: str, texts: Container[str] | None) -> Callable[[Nested], str]:
    """Write JSON on several lines. With an indent `json` runs in Python: twenty times as slow."""

    def write(tree: Nested, before: str = "\n") -> str:
        inside = before + indent
        members = [
            f"{inside}{_quoted(name)}: {write(value, inside)}"
            if isinstance(value, dict)
            else f"{inside}{_quoted(name)}: {value}"
            if texts is not None and name not in texts and is_number(value)
            else f"{inside}{_quoted(name)}: {_quoted(value)}"
            for name, value in tree.items()
        ]
        return f"{{{','.join(members)}{before}}}"

    return write


TIGHT, TIGHT_TEXTS, _TIGHT_MIXED = (_json(",", ":", texts) for texts in ((), None, ("nonce",)))
WIDE, WIDE_TEXTS, _WIDE_MIXED = (_json(", ", ": ", texts) for texts in ((), None, ("nonce",)))
_IN_JSON = (  # grade for params, grade for the whole, writer
    (1, 2, TIGHT),
    (2, 3, TIGHT_TEXTS),
    (1, 3, WIDE),
    (2, 3, WIDE_TEXTS),
    (4, 2, _TIGHT_MIXED),
    (4, 3, _WIDE_MIXED),
    (4, 4, _json(",", ":", (), _ascii_quoted)),
    (4, 4, _json(",", " : ", ())),
    (4, 4, _json(", ", ":", ())),
    (4, 4, _json(",", ": ", ())),
    (4, 4, _json(", ", ": ", (), around="{  }")),
    (4, 4, _json(", ", ": ", None, around="{  }")),
    (4, 4, _json(",", ":", (), around="[{}]")),
    (4, 4, _json(",", ":", None, around="[{}]")),
    *((4, grade, _pretty(indent, texts)) for indent, grade in (("  ", 3), ("    ", 4), ("\t", 4))
      for texts in (("nonce",), (), None)),
)  # fmt: skip


def _values_in_json(tree: Nested) -> str:
    return COMPACT(list(numbers(tree).values()))


def _pairs_in_json(tree: Nested) -> str:
    return COMPACT([[name, value] for name, value in numbers(tree).items()])


# ---- maps as languages print them --------------------------------------------------------------------------------


class Printed(NamedTuple):
    """How a map is printed: grades for params and for the whole, then what stands where."""

    language: str
    params: int
    whole: int  # 0: never
    open: str
    name: str  # quotation mark around names
    arrow: str
    value: str  # quotation mark around texts
    between: str
    close: str
    numbers: bool = False  # also with numbers bare


_PRINTED = (
    Printed("Python's repr", 2, 3, "{", "'", ": ", "'", ", ", "}", True),
    Printed("JavaScript's util.inspect", 3, 3, "{ ", "", ": ", "'", ", ", " }", True),
    Printed("Ruby's inspect", 2, 3, "{", '"', "=>", '"', ", ", "}", True),
    Printed("Ruby's inspect (symbols)", 3, 3, "{:", "", "=>", '"', ", :", "}", True),
    Printed("Ruby's inspect (3.4)", 4, 4, "{", '"', " => ", '"', ", ", "}", True),
    Printed("Ruby's inspect (3.4, symbols), Elixir or Rust", 4, 4, "{", "", ": ", '"', ", ", "}", True),
    Printed("Go's fmt", 1, 2, "map[", "", ":", "", " ", "]"),
    Printed("Go's fmt of url.Values", 4, 4, "map[", "", ":[", "", "] ", "]]"),
    Printed("Go's %#v", 4, 4, "map[string]string{", '"', ":", '"', ", ", "}"),
    Printed("Go's %#v", 4, 4, "map[string]interface {}{", '"', ":", '"', ", ", "}", True),
    Printed("Go's %#v of url.Values", 4, 4, "url.Values{", '"', ":[]string{", '"', "}, ", "}}"),
    Printed("Java's toString", 1, 2, "{", "", "=", "", ", ", "}"),
    Printed("Java's entry set or Lua", 4, 4, "[", "", "=", "", ", ", "]"),
    Printed("Lua", 4, 4, "{", "", "=", '"', ",", "}", True),
    Printed("Python's dict()", 4, 4, "dict(", "", "=", "'", ", ", ")", True),
    Printed("Python's namespace", 4, 4, "namespace(", "", "=", "'", ", ", ")", True),
    Printed("a data class", 4, 4, "Params(", "", "=", "", ", ", ")"),
    Printed("a data class", 4, 4, "Params(", "", "=", "'", ", ", ")", True),
    Printed("a record", 4, 4, "Params[", "", "=", "", ", ", "]"),
    Printed("C#'s anonymous types", 2, 3, "{ ", "", " = ", "", ", ", " }"),
    Printed("C#'s KeyValuePair", 3, 4, "[", "", ", ", "", "], [", "]"),
    Printed("C#'s KeyValuePair", 4, 4, "[", "", ", ", "", "],[", "]"),
    Printed("C#'s KeyValuePair", 4, 4, "[", "", ", ", "", "][", "]"),
    Printed("C# tuples or Kotlin's Pair", 4, 4, "(", "", ", ", "", "), (", ")"),
    Printed("a list of Kotlin's Pair", 4, 4, "[(", "", ", ", "", "), (", ")]"),
    Printed("Scala", 3, 4, "Map(", "", " -> ", "", ", ", ")"),
    Printed("Scala", 4, 4, "HashMap(", "", " -> ", "", ", ", ")"),
    Printed("Swift", 3, 3, "[", '"', ": ", '"', ", ", "]", True),
    Printed("Swift's AnyHashable", 4, 4, "[AnyHashable(", '"', "): ", '"', ", AnyHashable(", "]", True),
    Printed("Dart", 3, 3, "{", "", ": ", "", ", ", "}"),
    Printed("Elixir", 3, 4, "%{", '"', " => ", '"', ", ", "}", True),
    Printed("Elixir", 3, 4, "%{", "", ": ", '"', ", ", "}", True),
    Printed("Elixir's keyword lists", 4, 4, "[", "", ": ", '"', ", ", "]", True),
    Printed("Clojure", 4, 4, "{", '"', " ", '"', ", ", "}", True),
    Printed("Clojure", 4, 4, "{:", "", " ", '"', ", :", "}", True),
    Printed("Erlang", 4, 4, "#{", '"', " => ", '"', ",", "}", True),
    Printed("Haskell", 4, 4, "fromList [(", '"', ",", '"', "),(", ")]", True),
    Printed("Rust's Debug", 4, 4, "Params { ", "", ": ", '"', ", ", " }", True),
    Printed("R or Tcl", 4, 4, "", "", " ", "", " ", ""),
    Printed("Python's items()", 4, 4, "dict_items([(", "'", ", ", "'", "), (", ")])", True),
    Printed("Python's items()", 4, 3, "[(", "'", ", ", "'", "), (", ")]", True),
    Printed("Python's tuples", 4, 4, "((", "'", ", ", "'", "), (", "))", True),
    Printed("Python's tuples", 4, 4, "(", "'", ", ", "'", ", ", ")", True),
    Printed("Python's OrderedDict", 4, 4, "OrderedDict([(", "'", ", ", "'", "), (", ")])", True),
    Printed("Python's OrderedDict", 4, 4, "OrderedDict({", "'", ": ", "'", ", ", "})", True),
    Printed("PHP's array syntax", 4, 4, "[", "'", " => ", "'", ", ", "]", True),
    Printed("PHP's array syntax", 4, 4, "['", "", "'=>'", "", "','", "']"),
    Printed("PHP's array syntax", 4, 4, "array(", "'", " => ", "'", ", ", ")", True),
    Printed("PHP's array syntax", 4, 4, "array(", "'", "=>", "'", ",", ")", True),
    Printed("JavaScript's util.inspect of a Map", 4, 4, "Map(1) { ", "'", " => ", "'", ", ", " }", True),
    Printed("JavaScript's util.inspect of a Map", 4, 4, "Map(4) { ", "'", " => ", "'", ", ", " }", True),
    Printed("JavaScript's util.inspect", 4, 4, "URLSearchParams { ", "'", " => ", "'", ", ", " }"),
    Printed("JavaScript's entries", 4, 4, "", "", ",", "", ",", ""),
    Printed("JavaScript's util.inspect of entries", 4, 4, "[ [ ", "'", ", ", "'", " ], [ ", " ] ]", True),
    Printed("JavaScript, without quotation marks", 4, 3, "{", "", ":", "", ",", "}"),
    Printed("JavaScript, with single quotes", 4, 4, "{", "'", ":", "'", ",", "}", True),
    Printed("JavaScript, names without quotation marks", 4, 4, "{", "", ":", '"', ",", "}"),
    Printed("YAML", 4, 4, "", "", ": ", "", "\n", ""),
    Printed("YAML", 4, 4, "", "", ": ", "", "\n", "\n"),
    Printed("an INI file", 4, 4, "", "", " = ", "", "\n", "\n"),
    Printed("a map in braces", 2, 3, "{", "", "=", "", "&", "}"),
    Printed("a map in brackets", 4, 4, "[", "", "=", "", "&", "]"),
    Printed("a map in parentheses", 3, 4, "(", "", "=", "", "&", ")"),
    Printed("a map in angle brackets", 4, 4, "<", "", "=", "", "&", ">"),
    Printed("a map in quotation marks", 4, 4, '"', "", "=", "", "&", '"'),
    Printed("a map in quotation marks", 4, 4, "'", "", "=", "", "&", "'"),
    Printed("a map in braces", 4, 4, "{", "", "=", "", ",", "}"),
    Printed("a map in brackets", 4, 4, "[", "", ":", "", ",", "]"),
    Printed("a map in brackets", 4, 4, "[", "", ": ", "", ", ", "]"),
    Printed("a map in brackets", 4, 4, "[", "", "=>", "", ", ", "]"),
    Printed("a map in brackets", 4, 4, "[", "", " => ", "", ", ", "]"),
    Printed("a map in braces", 4, 4, "{", "", "=>", "", ", ", "}"),
    Printed("a map in braces", 4, 4, "{", "", "->", "", ", ", "}"),
    Printed("a map in parentheses", 4, 4, "(", "", ":", "", ",", ")"),
    Printed("a map in parentheses", 4, 4, "(", "", ": ", "", ", ", ")"),
    *(Printed("pairs", 4, 0, "", "", equals, "", "&", "") for equals in (*":,|-/_.; ", "=>", "->", ": ")),
)  # fmt: skip


def printer(row: Printed, texts: Container[str] | None) -> Callable[[Nested], str]:
    """Write a map as a language prints it, numbers bare but for those named in `texts`, None: for all."""
    quote, mark = row.name, row.value

    def write(tree: Nested) -> str:
        members = [
            f"{quote}{name}{quote}{row.arrow}{write(value)}"
            if isinstance(value, dict)
            else f"{quote}{name}{quote}{row.arrow}{value}"
            if texts is not None and name not in texts and is_number(value)
            else f"{quote}{name}{quote}{row.arrow}{mark}{value}{mark}"
            for name, value in tree.items()
        ]
        return f"{row.open}{row.between.join(members)}{row.close}"

    return write


def _php_serialized(tree: Nested, bare: bool = False) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return _php_serialized(value, bare)
        return f"i:{value};" if bare and is_number(value) else f's:{len(value.encode("utf-8", "replace"))}:"{value}";'

    return f"a:{len(tree)}:{{{''.join(text(name) + text(value) for name, value in tree.items())}}}"


def _php_exported(tree: Nested, bare: bool = False, indent: str = "") -> str:
    lines = []
    for name, value in tree.items():
        inner = f"\n{indent}  {_php_exported(value, bare, indent + '  ')}" if isinstance(value, dict) else (
            value if bare and is_number(value) else f"'{value}'")  # fmt: skip
        lines.append(f"{indent}  '{name}' => {inner},\n")
    return f"array (\n{''.join(lines)}{indent})"


def _php_printed(tree: Nested, indent: str = "") -> str:
    lines = []
    for name, value in tree.items():
        inner = _php_printed(value, indent + " " * 8) if isinstance(value, dict) else value
        lines.append(f"{indent}    [{name}] => {inner}\n")
    return f"Array\n{indent}(\n{''.join(lines)}{indent})\n" + ("" if not indent else "")


def _php_dumped(tree: Nested, indent: str = "") -> str:
    lines = []
    for name, value in tree.items():
        shown = _php_dumped(value, indent + "  ") if isinstance(value, dict) else (
            f'{indent}  string({len(value)}) "{value}"\n')  # fmt: skip
        lines.append(f'{indent}  ["{name}"]=>\n{shown}')
    return f"{indent}array({len(tree)}) {{\n{''.join(lines)}{indent}}}\n"


def _xml(tree: Nested) -> str:
    return "".join(f"<{k}>{_xml(v) if isinstance(v, dict) else v}</{k}>" for k, v in tree.items())


_WRITERS: tuple[tuple[str, int, Callable[[Nested], str]], ...] = (
    ("PHP's serialize", 2, _php_serialized),
    ("PHP's serialize", 3, lambda tree: _php_serialized(tree, True)),
    ("PHP's var_export", 3, _php_exported),
    ("PHP's var_export", 4, lambda tree: _php_exported(tree, True)),
    ("PHP's print_r", 3, _php_printed),
    ("PHP's var_dump", 4, _php_dumped),
    ("XML", 4, _xml),
    ("XML", 4, lambda tree: f"<params>{_xml(tree)}</params>"),
    ("Go's fmt of a struct", 3, lambda tree: f"{{{_values_only(' ')(tree)}}}"),
    ("Go's fmt of a pointer to a struct", 4, lambda tree: f"&{{{_values_only(' ')(tree)}}}"),
    ("Go's %+v of a struct", 4, lambda tree: f"{{{' '.join(f'{_go_name(k)}:{v}' for k, v in flat(tree))}}}"),
    ("Go's %+v of a struct", 4, lambda tree: f"&{{{' '.join(f'{_go_name(k)}:{v}' for k, v in flat(tree))}}}"),
    ("Python's values()", 4, lambda tree: f"dict_values({list(tree.values())!r})"),
    ("Python's values()", 4, lambda tree: f"dict_values({list(numbers(tree).values())!r})"),
    ("Python's values()", 4, lambda tree: repr(list(tree.values()))),
    ("Python's keys()", 4, lambda tree: f"dict_keys({list(tree)!r})"),
    ("a list of pairs in JSON", 4, _pairs_in_json),
    ("a list of values in JSON", 4, _values_in_json),
    ("a list of values in JSON", 4, lambda tree: COMPACT(list(tree.values()))),
    ("a list of values", 4, lambda tree: f"[{_values_only(', ')(tree)}]"),
    ("a list of pairs", 4, lambda tree: repr([f"{k}={v}" for k, v in flat(tree)])),
    ("a list of pairs in JSON", 4, lambda tree: COMPACT([f"{k}={v}" for k, v in flat(tree)])),
)
_CONSTANTS = (
    ("[object Object]", 1), ("Array", 2), ("", 3), ("{}", 3), ("[]", 4), ("null", 3), ("None", 4), ("undefined", 4),
    ("System.Collections.Generic.Dictionary`2[System.String,System.String]", 3),
    ("System.Collections.Generic.Dictionary`2[System.String,System.Object]", 4),
    ("System.Collections.Generic.Dictionary`2[System.String,System.Int64]", 4),
    ("System.Collections.Generic.SortedDictionary`2[System.String,System.String]", 4),
    ("System.Collections.Generic.SortedDictionary`2[System.String,System.Object]", 4),
    ("System.Collections.Generic.List`1[System.Collections.Generic.KeyValuePair`2[System.String,System.String]]", 4),
    ("System.Collections.Specialized.NameValueCollection", 4), ("System.Collections.Hashtable", 4),
    ("[object Map]", 4), ("[object FormData]", 4), ("[object URLSearchParams]", 4), ("[object Array]", 4),
    ("map[]", 4), ("nil", 4), ("<nil>", 4), ("NULL", 4), ("(null)", 4), ("Object", 4), ("Hash", 4), ("dict", 4),
    ("0", 4), ("1", 4), ("true", 4), ("True", 4), ("false", 4), ("params", 4), ("order_id", 4), ("NaN", 4),
    ("stdClass", 4), ("Dictionary", 4), ("object", 4), ("array", 4), ("ARRAY", 4),
)  # fmt: skip


def _go_name(name: str) -> str:
    return re.sub("Id$", "ID", re.sub("(?:^|_)(.)", lambda m: m[1].upper(), name))


def _shown(choice: str) -> str:
    return f"It is written as in {choice}." if choice[:1] != "a" else f"It is written as {choice}."


def _printed(whole: bool) -> Iterator[Choice]:
    """List the ways to print params, or the whole request."""
    mistake = "request-as-repr" if whole else "params-as-repr"
    for row in _PRINTED:
        told, grade = _shown(row.language), row.whole if whole else row.params
        if grade:
            yield Choice(mistake, grade, printer(row, None), told)
        if grade and row.numbers:
            yield Choice(mistake, 4 if whole else grade, printer(row, ()), told)
            if whole:
                yield Choice(mistake, grade, printer(row, ("nonce",)), told)
    for language, grade, write in _WRITERS:
        yield Choice(mistake, min(grade + whole, 4), write, _shown(language))
    for text, grade in _CONSTANTS:
        if not whole or grade < 3:
            yield Choice(mistake, 4 if whole else grade, lambda _tree, text=text: text)


# ---- tables ------------------------------------------------------------------------------------------------------

AS_SENT = _form(form_encoded, form_encoded)
_NESTINGS = (
    ("brackets", 1, "{}[{}]"), ("brackets", 4, "{}['{}']"), ("brackets", 4, '{}["{}"]'), ("brackets", 4, "{}[{}][]"),
    ("brackets", 4, "{}[][{}]"), ("brackets", 4, "{}[:{}]"),
    ("dotted-name", 1, "{}.{}"),
    ("other-nesting", 3, "{}_{}"), ("other-nesting", 4, "{}:{}"), ("other-nesting", 4, "{}/{}"),
    ("other-nesting", 4, "{}{}"), ("other-nesting", 4, "{}={}"), ("other-nesting", 4, "{}->{}"),
    ("other-nesting", 4, "{}-{}"), ("other-nesting", 4, "{}__{}"), ("other-nesting", 4, "{}({})"),
    ("other-nesting", 4, "{}{{{}}}"), ("other-nesting", 4, "{}::{}"), ("other-nesting", 4, "[{}][{}]"),
    ("other-nesting", 4, "{}|{}"), ("other-nesting", 4, "{}+{}"), ("other-nesting", 4, "{},{}"),
    ("other-nesting", 4, "{}[{}"), ("other-nesting", 4, "{} {}"), ("other-nesting", 4, "{}<{}>"),
    ("other-nesting", 4, "{}#{}"), ("other-nesting", 4, "{}[0][{}]"), ("other-nesting", 4, "{}[{}][0]"),
    ("other-nesting", 4, "{}&{}"), ("other-nesting", 4, "{}?{}"),
)  # fmt: skip
_COMMON_JOINERS = (",", ";", "|", "\n", ":", " ", "&amp;", ", ")
_JOINERS = (*_COMMON_JOINERS, "; ", "\r\n", "\t", "||", "/", "-", "_", ".", "+", "~", "#", "?", "%26", "&&", " & ", "*",
            "!", "@", "^", "$", "\\n", "\0", "\x01", "\x1f", " | ", " ; ", "::", "=")  # fmt: skip
_EQUALS = (":", "", " ", "=>", "->", " = ", ": ", " => ", "==", "|", ",", "-", "_", ".", "/", "%3D", "\t", ":=", "\n",
           " : ", "~", "+", "&", ";", "#")  # fmt: skip


def _joiner_choices() -> Iterator[Choice]:
    for between in _JOINERS:
        grade = 2 if between in ",;|\n" else 3 if between in _COMMON_JOINERS else 4
        yield Choice("other-separators", grade, _joined(between), f"Pairs are joined by {between!r}.")
        yield Choice("other-separators", 4, _outer_joined(between, "="), f"Pairs are joined by {between!r}.")
        for equals in ("", *_EQUALS[:9]) if between in _COMMON_JOINERS else (":", "", "|"):
            yield Choice("other-separators", 4, _joined(between, equals))
        yield Choice("other-separators", 4, lambda tree, between=between: _joined(between)(tree) + between,
                     f"Each pair ends with {between!r}.")  # fmt: skip
    for equals in _EQUALS:
        if equals:
            told = f"{equals!r} stands between name and value."
            yield Choice("other-separators", 2 if equals == ":" else 3 if equals in " =>" else 4,
                         _joined("&", equals), told)  # fmt: skip
            yield Choice("other-separators", 4, _outer_joined("&", equals), told)
            yield Choice("other-separators", 4, _joined("", equals), told)
    for inner in ("{ }", "[ ]", "( )", "< >", '" "', "' '"):
        yield Choice("other-separators", 4, _joined(",", "=", inner))
        yield Choice("other-separators", 4, _joined(",", ":", inner))
    yield Choice("other-separators", 4, _joined("&", ""))


def _encoded_choices() -> Iterator[Choice]:
    encoders = ((1, form_encoded), (2, percent_encoded), (3, component_encoded))
    for grade, encode in encoders:
        yield Choice("percent-encoded", grade, _form(encode, encode))
        yield Choice("percent-encoded", 3 if grade == 1 else 4, lambda tree, encode=encode: lower_escapes(_form(encode, encode)(tree)))
        yield Choice("percent-encoded", 3 if grade == 1 else 4, _form(_plain, encode))
        yield Choice("percent-encoded", 4, _form(encode, _plain))
        yield Choice("percent-encoded", 4, _form(encode, encode, between="&amp;"))
        yield Choice("percent-encoded", 4, _form(encode, encode, "{}.{}"))
    yield Choice("percent-encoded", 4, _form(_twice, _twice), "It is encoded twice.")
    yield Choice("percent-encoded", 4, _form(form_encoded, _twice), "The values are encoded twice.")


def _inner_choices() -> Iterator[Choice]:
    yield from (Choice("params-as-json", grade, write) for grade, _whole, write in _IN_JSON)
    for write in (TIGHT, TIGHT_TEXTS, WIDE, WIDE_TEXTS):
        yield Choice("params-as-json", 3, lambda tree, write=write: percent_encoded(write(tree)))
        yield Choice("params-as-json", 4, lambda tree, write=write: form_encoded(write(tree)))
        yield Choice("params-as-json", 4, lambda tree, write=write: COMPACT(write(tree)))
        yield Choice("params-as-json", 4, lambda tree, write=write: base64.b64encode(write(tree).encode()).decode())
    yield Choice("inner-equals-encoded", 2, lambda tree: percent_encoded(written(tree)))
    yield Choice("inner-equals-encoded", 4, lambda tree: lower_escapes(percent_encoded(written(tree))))
    yield Choice("inner-equals-encoded", 4, lambda tree: _twice(written(tree)))
    yield Choice("inner-equals-encoded", 4, lambda tree: percent_encoded(_pairs("{}[{}]")({"params": tree})))
    yield Choice("values-only", 2, _values_only("&"))
    yield Choice("values-only", 4, _values_only(","))
    yield from _printed(whole=False)
    yield Choice("params-as-repr", 4, lambda tree: ",".join(written({k: v}) for k, v in tree.items()))


# Ways to write params, where the top level is written as it should be.
INNER_FORMS = tuple(_inner_choices())
FORMS = (
    *(Choice(mistake, grade, _pairs(form)) for mistake, grade, form in _NESTINGS),
    *_encoded_choices(),
    *(Choice("request-as-json", grade, write) for _params, grade, write in _IN_JSON),
    Choice("request-as-json", 4, lambda tree: COMPACT(dict(flat(tree)))),
    Choice("request-as-json", 4, lambda tree: COMPACT(dict(flat(tree, "{}.{}")))),
    # params printed and then taken as text into JSON
    Choice("request-as-json", 4, lambda tree: COMPACT(
        {k: TIGHT(v) if isinstance(v, dict) else v for k, v in tree.items()})),
    Choice("request-as-json", 4, lambda tree: COMPACT(
        {k: written(v) if isinstance(v, dict) else v for k, v in tree.items()})),
    *_printed(whole=True),
    Choice("no-separators", 1, _joined("")),
    Choice("no-separators", 2, _joined("", "")),
    Choice("no-separators", 4, _outer_joined("", "=")),
    Choice("no-separators", 4, _outer_joined("", "")),
    *(Choice("no-separators", 4, _pairs(form, "", equals)) for _m, grade, form in _NESTINGS[:8] if grade < 4
      for equals in ("", "=", ":")),
    Choice("values-only", 1, _values_only("")),
    *(Choice("values-only", 2 if between == "&" else 4, _values_only(between)) for between in (
        "&", ",", "|", ":", "\n", " ", ";", "-", "_", ".", "/", "+", ", ", "\t", "~", "||", "\r\n", "#")),
    *_joiner_choices(),
    *(Choice(mistake, 4, _pairs(form, between, equals)) for mistake, grade, form in _NESTINGS if grade < 4
      for between, equals in ((",", "="), (";", "="), ("|", "="), ("\n", "="), ("&", ":"), (",", ":"), (", ", "="))),
    Choice("list-without-indexes", 3, lambda tree: _without_indexes(tree)),
    Choice("list-without-indexes", 4, lambda tree: "&".join(
        [f"{re.sub(_INDEX, '[]', name)}={value}" for name, value in flat(tree)])),
    Choice("list-without-indexes", 4, lambda tree: "&".join(
        [f"{re.sub(_INDEX, '', name)}={value}" for name, value in flat(tree)])),
)  # fmt: skip


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


def messages(case: Case) -> Iterator[Choice]:
    """List the strings that have little to do with the fields: some values in any order, and those of v3."""
    values = [case.nonce, case.key, case.command, case.order[1], case.path]
    values = [text for text in dict.fromkeys(values) if text]
    for count in range(1, len(values)):
        for picked in permutations(values, count):
            if count < 3 or case.path not in picked:
                yield _constant("values-only", "".join(picked))
                for between in ("&", ":", "|", "\n") if 1 < count < 4 and case.path not in picked else ():
                    yield _constant("values-only", between.join(picked))
    for picked in permutations((case.method, case.path, case.nonce), 3):
        for between in ("", "\n", "&", "|"):
            yield _constant("values-only", between.join(picked))
    for grade, stamp in enumerate(case.stamps):
        for write, more in ((TIGHT, 0), (TIGHT_TEXTS, 2), (WIDE, 2), (WIDE_TEXTS, 2)):
            yield Choice("v3-message", min(2 + grade + more, 4), _v3(write, stamp))
        yield Choice("v3-message", 4, lambda tree, stamp=stamp: None if "params" in tree else stamp)


def _constant(mistake: str, text: str) -> Choice:
    return Choice(mistake, 4, lambda _tree: text)


def _v3(write: Callable[[Nested], str], stamp: str) -> Callable[[Nested], str]:
    return lambda tree: write(p if isinstance(p := tree.get("params"), dict) else {}) + stamp
