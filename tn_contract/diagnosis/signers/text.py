"""How wrong signers of v2 write the fields as one text: other joiners, flat names, JSON, maps as languages print them.

The tables are data: a way to print a map is one row of `_PRINTED`, a way to join pairs is one row of `_JOINERS`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Container, Iterator
from functools import lru_cache
from itertools import permutations

from tn_contract.contract.wire import Nested
from tn_contract.diagnosis.signers import ASCII, COMPACT, Case, Choice, encoded, flat, is_number, values_only, written
from tn_contract.diagnosis.signers.printed import printed
from tn_contract.diagnosis.signers.values import component_encoded, form_encoded, lower_escapes, percent_encoded

_INDEX = re.compile(r"\[[0-9]+\]")


# ---- pairs -------------------------------------------------------------------------------------------------------


def _pairs(form: str, between: str = "&", equals: str = "=") -> Callable[[Nested], str]:
    return lambda tree: between.join([f"{name}{equals}{value}" for name, value in flat(tree, form)])


def _form(name: Callable[[str], str], value: Callable[[str], str], shape: str = "{}[{}]",
          between: str = "&") -> Callable[[Nested], str]:  # fmt: skip
    return lambda tree: between.join([f"{name(k)}={value(v)}" for k, v in flat(tree, shape)])


def _plain(text: str) -> str:
    return text


def _lowered(encode: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: lower_escapes(encode(text))


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


# ---- JSON --------------------------------------------------------------------------------------------------------

_quoted, _ascii_quoted = lru_cache(1024)(COMPACT), lru_cache(1024)(ASCII)


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
    *((4, 3 if (indent, texts) == ("  ", ("nonce",)) else 4, _pretty(indent, texts)) for indent in ("  ", "    ", "\t")
      for texts in (("nonce",), (), None)),
)  # fmt: skip


# ---- tables ------------------------------------------------------------------------------------------------------

AS_SENT = _form(form_encoded, form_encoded)
_NESTINGS = (
    ("brackets", 1, "{}[{}]"), ("brackets", 4, "{}['{}']"), ("brackets", 4, '{}["{}"]'), ("brackets", 4, "{}[{}][]"),
    ("brackets", 4, "{}[][{}]"), ("brackets", 4, "{}[[{}]]"), ("brackets", 4, "{}[:{}]"),
    ("dotted-name", 2, "{}.{}"),
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
        for equals in ("", *_EQUALS[:9]) if between in _COMMON_JOINERS else (":", "", "|", " = ", ": "):
            yield Choice("other-separators", 3 if between + equals in (",:", "\n:", ";:") else 4,
                         _joined(between, equals))  # fmt: skip
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
        yield Choice(
            "percent-encoded",
            3 if grade == 1 else 4,
            lambda tree, encode=encode: lower_escapes(_form(encode, encode)(tree)),
        )
        yield Choice("percent-encoded", 3 if grade == 1 else 4, _form(_plain, encode))
        yield Choice("percent-encoded", 4, _form(encode, _plain))
        yield Choice("percent-encoded", 4, _form(encode, encode, between="&amp;"))
        yield Choice("percent-encoded", 4, _form(encode, encode, "{}.{}"))
    yield Choice("percent-encoded", 4, _form(_twice, _twice), "It is encoded twice.")
    yield Choice("percent-encoded", 4, _form(form_encoded, _twice), "The values are encoded twice.")


def _inner_choices() -> Iterator[Choice]:
    yield from (Choice("params-as-json", grade, write) for grade, _whole, write in _IN_JSON)
    for write in (TIGHT, TIGHT_TEXTS, WIDE, WIDE_TEXTS):
        yield Choice("params-as-json", 4, lambda tree, write=write: percent_encoded(write(tree)))
        yield Choice("params-as-json", 2, lambda tree, write=write: form_encoded(write(tree)))
        yield Choice("params-as-json", 4, lambda tree, write=write: COMPACT(write(tree)))
    yield Choice("inner-equals-encoded", 2, lambda tree: percent_encoded(written(tree)))
    yield Choice("inner-equals-encoded", 4, lambda tree: lower_escapes(percent_encoded(written(tree))))
    yield Choice("inner-equals-encoded", 4, lambda tree: _twice(written(tree)))
    yield Choice("inner-equals-encoded", 4, lambda tree: percent_encoded(_pairs("{}[{}]")({"params": tree})))
    yield Choice("values-only", 2, values_only("&"))
    yield Choice("values-only", 4, values_only(","))
    yield from printed(whole=False)
    for choice in printed(whole=False):
        if choice.grade < 3:
            told = f"{choice.how} It is percent-encoded.".strip()
            for grade, encode in ((2 if "Python" in choice.how else 4, form_encoded), (4, percent_encoded)):
                yield Choice("params-as-repr", grade, lambda tree, write=choice.apply, encode=encode: encode(
                    write(tree)), told)  # fmt: skip
    yield Choice("params-as-repr", 4, lambda tree: ",".join(written({k: v}) for k, v in tree.items()))


def _digested_choices() -> Iterator[Choice]:
    for write in (written, TIGHT, TIGHT_TEXTS, WIDE, WIDE_TEXTS):
        mistake = "text-in-base64" if write is written else "params-as-json"
        yield Choice(mistake, 4, lambda tree, write=write: base64.b64encode(encoded(write(tree))).decode())
        for name in ("sha256", "md5", "sha1"):
            yield Choice("text-hashed-first", 4, lambda tree, write=write, name=name: hashlib.new(
                name, encoded(write(tree))).hexdigest(), "It is params that is hashed.")  # fmt: skip


# Ways to write params that no value shows through.
DIGESTED_FORMS = tuple(_digested_choices())
# Ways to write params, where the top level is written as it should be.
INNER_FORMS = tuple(_inner_choices())
# Ways to write the whole request as maps are written.
WHOLE_FORMS = (
    *(Choice("request-as-json", grade, write) for _params, grade, write in _IN_JSON),
    *printed(whole=True),
)
FORMS = (
    *(Choice(mistake, grade, _pairs(form)) for mistake, grade, form in _NESTINGS),
    *_encoded_choices(),
    *WHOLE_FORMS,
    Choice("request-as-json", 4, lambda tree: COMPACT(dict(flat(tree)))),
    Choice("request-as-json", 4, lambda tree: COMPACT(dict(flat(tree, "{}.{}")))),
    # params printed and then taken as text into JSON
    Choice("request-as-json", 4, lambda tree: COMPACT(
        {k: TIGHT(v) if isinstance(v, dict) else v for k, v in tree.items()})),
    Choice("request-as-json", 4, lambda tree: COMPACT(
        {k: written(v) if isinstance(v, dict) else v for k, v in tree.items()})),
    Choice("request-as-json", 4, lambda tree: COMPACT(
        {k: TIGHT_TEXTS(v) if isinstance(v, dict) else v for k, v in tree.items()})),
    # Printed when the names were flat already.
    *(Choice(choice.mistake, 4, lambda tree, write=choice.apply: write(dict(flat(tree))), choice.how)
      for choice in printed(whole=True)),
    *(Choice("request-as-repr", 4, lambda tree, write=write: write(tree)) for write in (
        lambda tree: str(flat(tree)), lambda tree: COMPACT([value for _name, value in flat(tree)]),
        lambda tree: COMPACT(flat(tree)), lambda tree: repr([value for _name, value in flat(tree)]),
        lambda tree: "&".join(f"[{name}, {value}]" for name, value in flat(tree)),
        lambda tree: "&".join(f"({name}, {value})" for name, value in flat(tree)),
        lambda tree: "map[" + " ".join(f"{name}:[{value}]" for name, value in flat(tree)) + "]",
        lambda tree: "{" + ", ".join(f"{name}=[{value}]" for name, value in flat(tree)) + "}",
        lambda tree: COMPACT({name: [value] for name, value in flat(tree)}),
        lambda tree: COMPACT(list(tree.items())),
    )),
    Choice("no-separators", 1, _joined("")),
    Choice("no-separators", 2, _joined("", "")),
    Choice("no-separators", 4, _outer_joined("", "=")),
    Choice("no-separators", 4, _outer_joined("", "")),
    *(Choice("no-separators", 4, _pairs(form, "", equals)) for _m, grade, form in _NESTINGS[:8] if grade < 4
      for equals in ("", "=", ":")),
    Choice("values-only", 1, values_only("")),
    *(Choice("values-only", grade, values_only(between)) for grade, between in ((2, "|"), (2, ":"), (3, "&"), (3, ","),
      (3, "\n"))),
    *(Choice("values-only", 4, values_only(between)) for between in (
        " ", ";", "-", "_", ".", "/", "+", ", ", "\t", "~", "||", "\r\n", "#")),
    *_joiner_choices(),
    # Values alone, params written before.
    *(Choice("values-only", 3 if not between else 4, lambda tree, write=write, between=between: between.join(
        [value if isinstance(value, str) else write(value) for value in tree.values()]))
      for write in (TIGHT, TIGHT_TEXTS, WIDE, written, AS_SENT) for between in ("", "&", "|", ":", ",", "\n")),
    # Values in quotation marks, as in the header of OAuth 1.
    *(Choice("values-quoted", 4, lambda tree, form=form, between=between: between.join(
        [f'{name}="{value}"' for name, value in flat(tree, form)]))
      for form in ("{}[{}]", "{}.{}", "{1}") for between in ("&", ",", ", ", " ", "")),
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
