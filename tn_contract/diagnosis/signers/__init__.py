"""What the grammar of wrong signers is made of: one request, and wrong choices at the stages of signing it.

A signer goes through stages: which fields, in which order, written how, with which numbers, put together with what,
under which key, by which digest, written how. Each stage has one right choice; the modules `signers_*` list the wrong
ones as data where they are formats. `search.py` looks for the choices that give the signature that came.
The names are those of `fixtures/mistakes.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from tn_contract.contract.signing import ENCODING, ERRORS, Credentials, canonical_string, key_order
from tn_contract.contract.wire import COMMAND_PATH, Nested

Text: TypeAlias = "str | bytes"

COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
SPACED = json.JSONEncoder(ensure_ascii=False).encode
ASCII = json.JSONEncoder(separators=(",", ":")).encode

# Digits of a time in seconds; with more it counts something smaller.
SECONDS = 10
_METHODS = ("GET", "PUT", "DELETE", "post")
# The longest number that is read as one.
_DIGITS = 20


class Choice(NamedTuple):
    """A wrong choice at one stage: what it makes of that stage's input, None where it cannot apply.

    `grade` says how often it is seen: 1 every day, 2 often, 3 seldom, 4 hardly ever. `how` is a sentence with the
    particulars, "" where the signed text shows them.
    """

    mistake: str
    grade: int
    apply: Callable[..., Any]  # of one argument; lambdas bind more by default
    how: str = ""


@dataclass(frozen=True)
class Case:
    """One request whose signature is sought: its fields as they came, and what a client may have mixed in.

    `pairs` are the fields as sent, before brackets nest; `query` those in the query string; `earlier` the fields of
    earlier requests with this key; `others` further key pairs; `stamps` times that a v3 message may end with;
    `at_ns` when the request came.
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
    query: tuple[tuple[str, str], ...] = ()
    at_ns: int = 0
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

    @cached_property
    def nonce(self) -> str:
        """The nonce as sent, "" when it has no text."""
        nonce = self.fields.get("nonce", "")
        return nonce if isinstance(nonce, str) else ""

    @property
    def command(self) -> str:
        """The command as sent, "" when it has no text."""
        command = self.fields.get("cmd", "")
        return command if isinstance(command, str) else ""

    @cached_property
    def order(self) -> tuple[str, str]:
        """Name and text of the order id: the first of params that is `order_id` or a number."""
        params = self.fields.get("params")
        texts = [(k, v) for k, v in params.items() if isinstance(v, str)] if isinstance(params, dict) else []
        numbers = [(k, v) for k, v in texts if k == "order_id" or (v.isascii() and v.isdigit())]
        return next((pair for pair in numbers if pair[0] == "order_id"), numbers[0] if numbers else ("", ""))

    @cached_property
    def dates(self) -> list[str]:
        """Dates that may have been signed: those of the nonce, read as a time, and of the request."""
        seconds = [int(stamp) for stamp in self.stamps if stamp.isdigit() and len(stamp) == SECONDS]
        seconds += [self.at_ns // 10**9] if self.at_ns > 0 else []
        days = [datetime.fromtimestamp(second, UTC) for second in seconds if second < 2**32]
        return list(dict.fromkeys(day.strftime(form) for form in ("%Y%m%d", "%Y-%m-%d") for day in days))


def stamps_of(fields: Mapping[str, Any], sent: str = "") -> tuple[str, ...]:
    """List the times that a v3 message may end with: the header's, or the nonce in whole seconds."""
    nonce = fields.get("nonce")
    found = [sent] if sent else []
    if isinstance(nonce, str) and nonce.isascii() and nonce.isdigit() and SECONDS <= len(nonce) < _DIGITS:
        found += [nonce, nonce[:SECONDS]]
        found += [nonce[:-7], nonce[:13]] if len(nonce) > 16 else []
    return tuple(dict.fromkeys(found))


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


def encoded(text: Text) -> bytes:
    """Return the bytes that are digested."""
    return text if isinstance(text, bytes) else text.encode(ENCODING, ERRORS)


def latin(text: str) -> str:
    """Take the UTF-8 bytes of a text for characters."""
    return text.encode(ENCODING, ERRORS).decode("latin-1")


def sorted_tree(tree: Nested) -> Nested:
    """Sort each level as it should be."""
    return {
        name: sorted_tree(value) if isinstance(value := tree[name], dict) else value
        for name in (key_order(tree) if len(tree) > 1 else tree)
    }


def written(tree: Nested) -> str:
    """Write a tree as it stands: name=value joined by &, a nested map as name= and its own string."""
    return "&".join([f"{k}={v if type(v) is str else written(v)}" for k, v in tree.items()])  # type: ignore[arg-type]


def flat(tree: Nested, form: str = "{}[{}]", path: str = "") -> list[tuple[str, str]]:
    """List names and values without nesting, where `form` makes one name of an outer and an inner one."""
    pairs: list[tuple[str, str]] = []
    for name, value in tree.items():
        full = form.format(path, name) if path else name
        if isinstance(value, dict):
            pairs += flat(value, form, full)
        else:
            pairs.append((full, value))
    return pairs


def values_only(between: str) -> Callable[[Nested], str]:
    """Write the values alone."""
    return lambda tree: between.join([value for _name, value in flat(tree)])


def is_number(value: str) -> bool:
    """Tell texts that JSON would write as whole numbers."""
    return value.isascii() and value.isdigit() and (value[0] != "0" or value == "0")


def with_numbers(tree: Nested) -> dict[str, Any]:
    """Read texts of digits as numbers."""
    return {
        name: with_numbers(value) if isinstance(value, dict) else int(value) if is_number(value) else value
        for name, value in tree.items()
    }


def leaves(tree: Nested, change: Callable[[str], str | None]) -> Nested | None:
    """Change every value (None drops it); None when that changes nothing."""
    changed: Nested = {}
    for name, value in tree.items():
        new = (leaves(value, change) or value) if isinstance(value, dict) else change(value)
        if new is not None:
            changed[name] = new
    return None if changed == tree else changed


def gap_of(text: str, name: str, number: str) -> tuple[str, str] | None:
    """Cut a number out of a text, behind its name if that is there: short numbers also stand elsewhere."""
    at = text.find(number, max(text.find(name), 0))
    return None if at < 0 else (text[:at], text[at + len(number) :])


def atoms(case: Case) -> Iterator[tuple[str, str, int, str]]:
    """List what signers put beside a string or a secret: the mistake, its grade, what it is, its text."""
    path, host = case.path, case.host
    for mistake, name, grade, text in (
        ("method-signed", "the method", 2, case.method),
        ("path-signed", "the path", 2, path),
        ("url-signed", "the URL", 3, f"https://{host}{path}"),
        ("url-signed", "the host", 3, host),
        ("key-or-nonce-added", "the key", 2, case.key),
        ("key-or-nonce-added", "the nonce", 2, case.nonce),
        ("key-or-nonce-added", "the command", 4, case.command),
        ("key-or-nonce-added", "the order id", 4, case.order[1]),
        ("secret-in-string", "the secret", 2, case.secret),
        *(("method-signed", "another method", 4, each) for each in _METHODS if each != case.method),
        ("path-signed", "the path without its slash", 4, path.lstrip("/")),
        ("path-signed", "the path below /api", 4, path.removeprefix("/api")),
        ("path-signed", "the path below /api/v2", 4, path.removeprefix("/api/v2")),
        ("path-signed", "the beginning of the path", 4, "/api/v2"),
        ("path-signed", "the beginning of the path", 4, "/api"),
        ("path-signed", "the beginning of the path", 4, path.rpartition("/")[0]),
        ("url-signed", "the URL", 4, f"http://{host}{path}"),
        ("url-signed", "the URL", 4, f"https://tradernet.com{path}"),
        ("url-signed", "the URL without its scheme", 4, host + path),
        ("url-signed", "the base URL", 4, f"https://{host}"),
        *(("key-or-nonce-added", "a time", 3, stamp) for stamp in case.stamps),
        *(("key-or-nonce-added", "a date", 4, date) for date in case.dates),
    ):
        if text:
            yield mistake, name, grade, text
