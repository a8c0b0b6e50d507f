"""The one place where this package reaches for `mock_server`, a top-level name that might be somebody else's."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tn_contract.contract.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from tn_contract.record.evidence import Evidence

NONCE_POLICIES = ("monotonic", "unique", "none")
ORDERS = ("replay", "book")


class _Option(NamedTuple):
    """What the mock calls an option, what its value must be, and how it is handed on."""

    name: str
    kinds: tuple[type, ...]
    choices: Sequence[str] = ()
    convert: Callable[[Any], Any] = lambda value: value


# The names are those of `tn-contract serve`, with underscores.
OPTIONS = {
    "host": _Option("host", (str,)),
    "port": _Option("port", (int,)),
    "nonces": _Option("policy", (str,), NONCE_POLICIES),
    "strict_path": _Option("strict_path", (bool,)),
    "timestamp_tolerance": _Option("timestamp_tolerance", (int, float)),
    "reply": _Option("replies", (Mapping,)),
    "orders": _Option("orders", (str,), ORDERS),
    "cancel_seconds": _Option("cancel_seconds", (int, float)),
    "seed": _Option("seed", (int,)),
    "scenario": _Option("scenario_file", (str, Path), convert=Path),
    "journal": _Option("journal_file", (str, Path), convert=Path),
    "control_token": _Option("token", (str,)),
    "state": _Option("state", (str,)),
    "tls": _Option("tls", (list, tuple)),
    "ca_file": _Option("ca_file", (str, Path), convert=Path),
    # These two the command line has not: a test's own clock, and how many exchanges a session keeps.
    "clock": _Option("clock", (Callable,)),  # type: ignore[arg-type] # isinstance takes it
    "journal_size": _Option("journal_size", (int,)),
}
# What the mock calls them inside.
_INNER = {option.name: name for name, option in OPTIONS.items()}


def mock_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Translate options with the names of `tn-contract serve` for `load_mock().listen`; None stands for the default.

    Raises `UsageError` for an unknown name or a value of the wrong kind.
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"the options of the mock are a dict, not {type(given).__name__}")
    translated = {}
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None:
            raise UsageError(f"the mock has no option {name!r}{_did_you_mean(name)}")
        if value is None:
            continue
        wrong_bool = isinstance(value, bool) and bool not in option.kinds
        if wrong_bool or not isinstance(value, option.kinds):
            kinds = " or ".join(kind.__name__ for kind in option.kinds)
            raise UsageError(f"the mock's option {name} must be {kinds}, not {type(value).__name__}")
        if option.choices and value not in option.choices:
            raise UsageError(f"the mock's option {name} cannot be {value!r}: choose {', '.join(option.choices)}")
        translated[option.name] = option.convert(value)
    return translated


def _did_you_mean(name: object) -> str:
    close = difflib.get_close_matches(str(name), [*OPTIONS, *_INNER], 1)
    if not close:
        return f": it has {', '.join(OPTIONS)}"
    return f": did you mean {_INNER.get(close[0], close[0])!r}?"


def judge(evidence: Evidence) -> list[dict[str, Any]]:
    """Judge what a session's client did: what a mock's control plane is given, for the mock imports no judge."""
    from tn_contract.judge.client import live_verdicts  # not otherwise: a mock starts quicker without

    return live_verdicts(evidence)


def load_mock() -> ModuleType:
    """Import `mock_server.serve`.

    Raises `UsageError` when another distribution's `mock_server` stands in its way.
    """
    try:
        from mock_server import serve
    except ImportError as error:
        raise UsageError(f"the mock cannot be imported ({error}): reinstall tn-contract") from error
    ours = Path(__file__).parents[2] / "mock_server" / "serve.py"
    if Path(str(serve.__file__)).resolve() != ours.resolve():
        raise UsageError(f"another package's mock_server is in the way: {serve.__file__}. Remove it, or rename it")
    return serve
