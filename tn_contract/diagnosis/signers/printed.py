"""Maps as languages print them: one row of `_PRINTED` for each way, functions only where a format is nested oddly."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

from tn_contract.contract.wire import Nested
from tn_contract.diagnosis.signers import COMPACT, Choice, flat, is_number, values_only, with_numbers


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
    Printed("Go's fmt", 2, 3, "map[", "", ":", "", " ", "]"),
    Printed("Go's fmt of url.Values", 4, 4, "map[", "", ":[", "", "] ", "]]"),
    Printed("Go's %#v", 4, 4, "map[string]string{", '"', ":", '"', ", ", "}"),
    Printed("Go's %#v", 4, 4, "map[string]interface {}{", '"', ":", '"', ", ", "}", True),
    Printed("Go's %#v of url.Values", 4, 4, "url.Values{", '"', ":[]string{", '"', "}, ", "}}"),
    Printed("Java's toString", 2, 3, "{", "", "=", "", ", ", "}"),
    Printed("Java's entry set or Lua", 4, 4, "[", "", "=", "", ", ", "]"),
    Printed("Lua", 4, 4, "{", "", "=", '"', ",", "}", True),
    Printed("Python's dict()", 4, 4, "dict(", "", "=", "'", ", ", ")", True),
    Printed("Python's namespace", 4, 4, "namespace(", "", "=", "'", ", ", ")", True),
    Printed("a data class", 4, 4, "Params(", "", "=", "", ", ", ")"),
    Printed("a data class", 4, 4, "Params(", "", "=", "'", ", ", ")", True),
    Printed("a record", 4, 4, "Params[", "", "=", "", ", ", "]"),
    Printed("C#'s anonymous types", 2, 3, "{ ", "", " = ", "", ", ", " }"),
    Printed("C#'s KeyValuePair", 4, 4, "[", "", ", ", "", "], [", "]"),
    Printed("C#'s KeyValuePair", 4, 4, "[", "", ", ", "", "],[", "]"),
    Printed("C#'s KeyValuePair", 4, 4, "[", "", ", ", "", "][", "]"),
    Printed("C# tuples or Kotlin's Pair", 4, 4, "(", "", ", ", "", "), (", ")"),
    Printed("a list of Kotlin's Pair", 4, 4, "[(", "", ", ", "", "), (", ")]"),
    Printed("Scala", 4, 4, "Map(", "", " -> ", "", ", ", ")"),
    Printed("Scala", 4, 4, "HashMap(", "", " -> ", "", ", ", ")"),
    Printed("Swift", 4, 4, "[", '"', ": ", '"', ", ", "]", True),
    Printed("Swift's AnyHashable", 4, 4, "[AnyHashable(", '"', "): ", '"', ", AnyHashable(", "]", True),
    Printed("Dart", 3, 4, "{", "", ": ", "", ", ", "}"),
    Printed("Elixir", 4, 4, "%{", '"', " => ", '"', ", ", "}", True),
    Printed("Elixir", 4, 4, "%{", "", ": ", '"', ", ", "}", True),
    Printed("Elixir's keyword lists", 4, 4, "[", "", ": ", '"', ", ", "]", True),
    Printed("Clojure", 4, 4, "{", '"', " ", '"', ", ", "}", True),
    Printed("Clojure", 4, 4, "{:", "", " ", '"', ", :", "}", True),
    Printed("Erlang", 4, 4, "#{", '"', " => ", '"', ",", "}", True),
    Printed("Haskell", 4, 4, "fromList [(", '"', ",", '"', "),(", ")]", True),
    Printed("Rust's Debug", 4, 4, "Params { ", "", ": ", '"', ", ", " }", True),
    Printed("R or Tcl", 4, 4, "", "", " ", "", " ", ""),
    Printed("Python's items()", 4, 4, "dict_items([(", "'", ", ", "'", "), (", ")])", True),
    Printed("Python's items()", 4, 4, "[(", "'", ", ", "'", "), (", ")]", True),
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
    Printed("JavaScript, without quotation marks", 4, 4, "{", "", ":", "", ",", "}"),
    Printed("JavaScript, with single quotes", 4, 4, "{", "'", ":", "'", ",", "}", True),
    Printed("JavaScript, names without quotation marks", 4, 4, "{", "", ":", '"', ",", "}"),
    Printed("YAML", 4, 4, "", "", ": ", "", "\n", ""),
    Printed("YAML", 4, 4, "", "", ": ", "", "\n", "\n"),
    Printed("an INI file", 4, 4, "", "", " = ", "", "\n", "\n"),
    Printed("a map in braces", 3, 4, "{", "", "=", "", "&", "}"),
    Printed("a map in brackets", 4, 4, "[", "", "=", "", "&", "]"),
    Printed("a map in parentheses", 4, 4, "(", "", "=", "", "&", ")"),
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
    *(Printed("pairs", 4, 0, "", "", equals, "", "&", "") for equals in ("", *":,|-/_.; ", "=>", "->", ": ")),
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


def _php_serialized(tree: Nested, texts: Container[str] | None = None) -> str:
    def text(value: Any, bare: bool = False) -> str:
        if isinstance(value, dict):
            return _php_serialized(value, texts)
        return f"i:{value};" if bare and is_number(value) else f's:{len(value.encode("utf-8", "replace"))}:"{value}";'

    members = [text(name) + text(value, texts is not None and name not in texts) for name, value in tree.items()]
    return f"a:{len(tree)}:{{{''.join(members)}}}"


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
    return f"Array\n{indent}(\n{''.join(lines)}{indent})\n"


def _php_dumped(tree: Nested, indent: str = "") -> str:
    lines = []
    for name, value in tree.items():
        shown = _php_dumped(value, indent + "  ") if isinstance(value, dict) else (
            f'{indent}  string({len(value)}) "{value}"\n')  # fmt: skip
        lines.append(f'{indent}  ["{name}"]=>\n{shown}')
    return f"{indent}array({len(tree)}) {{\n{''.join(lines)}{indent}}}\n"


def _objective_c(tree: Nested, quote: str) -> str:
    return "{\n" + "".join(f"    {quote}{name}{quote} = {value};\n" for name, value in flat(tree)) + "}"


def _xml(tree: Nested) -> str:
    return "".join(f"<{k}>{_xml(v) if isinstance(v, dict) else v}</{k}>" for k, v in tree.items())


def _values_in_json(tree: Nested) -> str:
    return COMPACT(list(with_numbers(tree).values()))


def _pairs_in_json(tree: Nested) -> str:
    return COMPACT([[name, value] for name, value in with_numbers(tree).items()])


_WRITERS: tuple[tuple[str, int, Callable[[Nested], str]], ...] = (
    ("PHP's serialize", 2, _php_serialized),
    ("PHP's serialize", 3, lambda tree: _php_serialized(tree, ())),
    ("PHP's serialize", 3, lambda tree: _php_serialized(tree, ("nonce",))),
    ("PHP's var_export", 4, _php_exported),
    ("PHP's var_export", 4, lambda tree: _php_exported(tree, True)),
    ("PHP's print_r", 3, _php_printed),
    ("PHP's var_dump", 4, _php_dumped),
    ("XML", 4, _xml),
    ("Objective-C's description", 4, lambda tree: _objective_c(tree, '"')),
    ("Objective-C's description", 4, lambda tree: _objective_c(tree, "")),
    ("XML", 4, lambda tree: f"<params>{_xml(tree)}</params>"),
    ("Go's fmt of a struct", 3, lambda tree: f"{{{values_only(' ')(tree)}}}"),
    ("Go's fmt of a pointer to a struct", 4, lambda tree: f"&{{{values_only(' ')(tree)}}}"),
    ("Go's %+v of a struct", 4, lambda tree: f"{{{' '.join(f'{_go_name(k)}:{v}' for k, v in flat(tree))}}}"),
    ("Go's %+v of a struct", 4, lambda tree: f"&{{{' '.join(f'{_go_name(k)}:{v}' for k, v in flat(tree))}}}"),
    ("Python's values()", 4, lambda tree: f"dict_values({list(tree.values())!r})"),
    ("Python's values()", 4, lambda tree: f"dict_values({list(with_numbers(tree).values())!r})"),
    ("Python's values()", 4, lambda tree: repr(list(tree.values()))),
    ("Python's keys()", 4, lambda tree: f"dict_keys({list(tree)!r})"),
    ("a list of pairs in JSON", 4, _pairs_in_json),
    ("a list of values in JSON", 4, _values_in_json),
    ("a list of values in JSON", 4, lambda tree: COMPACT(list(tree.values()))),
    ("a list of values", 4, lambda tree: f"[{values_only(', ')(tree)}]"),
    ("a list of pairs", 4, lambda tree: repr([f"{k}={v}" for k, v in flat(tree)])),
    ("a list of pairs in JSON", 4, lambda tree: COMPACT([f"{k}={v}" for k, v in flat(tree)])),
)
_CONSTANTS = (
    ("[object Object]", 1), ("Array", 2), ("", 3), ("{}", 4), ("[]", 4), ("null", 4), ("None", 4), ("undefined", 4),
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


def printed(whole: bool) -> Iterator[Choice]:
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
