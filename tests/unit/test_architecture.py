"""The floors of ARCHITECTURE.md: imports go down only, and each outside package has its rooms."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

FLOORS = {
    "tn_contract": 0,  # the package itself: its version, and names imported when first used
    "tn_contract.errors": 0,
    "tn_contract.signing": 0,
    "tn_contract.nonce": 0,
    "tn_contract.text": 0,
    "tn_contract.streams": 0,
    "tn_contract.crash": 2,
    "tn_contract.redislink": 1,
    "tn_contract.nonce_redis": 2,
    "tn_contract.files": 1,
    "tn_contract.redaction": 1,
    "tn_contract.wire": 1,
    "tn_contract.corpus": 1,
    "tn_contract.http_reader": 2,
    "tn_contract.envelopes": 2,
    "tn_contract.validation": 2,
    "tn_contract.signers": 2,
    "tn_contract.signers_v3": 2,
    "tn_contract.digests": 2,
    "tn_contract.candidates": 2,
    "tn_contract.sheets": 2,
    "tn_contract.search": 2,
    "tn_contract.diagnosis": 3,
    "tn_contract.recorded": 3,
    "tn_contract.curl": 4,
    "tn_contract.requestfile": 5,
    "tn_contract.transport_mistakes": 3,
    "tn_contract.explaining": 6,
    "tn_contract.journal": 2,
    "tn_contract.orders": 2,
    "tn_contract.address": 2,
    "tn_contract.transport": 2,
    "tn_contract.verdicts": 3,
    "tn_contract.evidence": 3,
    "tn_contract.client": 3,
    "tn_contract.playback": 3,
    "tn_contract.checks": 4,
    "tn_contract.client_checks": 4,
    "mock_server.state": 3,
    "mock_server.faults": 3,
    "mock_server.signals": 3,
    "mock_server.aside": 4,
    "mock_server.commands": 4,
    "mock_server.known": 4,
    "mock_server.replay": 4,
    "mock_server.orders": 4,
    "mock_server.book": 4,
    "mock_server.broker": 4,
    "mock_server": 4,
    "mock_server.scenario": 4,
    "mock_server.journalfile": 4,
    "mock_server.door": 5,
    "mock_server.guard": 5,
    "mock_server.metrics": 5,
    "mock_server.inprocess": 5,
    "mock_server.certificates": 5,
    "mock_server.tls": 5,
    "mock_server.server": 5,
    "mock_server.connection": 5,
    "mock_server.bridge": 5,
    "mock_server.tunnel": 5,
    "mock_server.book_control": 5,
    "mock_server.app": 5,
    "mock_server.workers": 5,
    "tn_contract.strategies": 5,
    "tn_contract.lint": 5,
    "tn_contract.report": 5,
    "mock_server.serve": 6,
    "tn_contract.embedded": 7,
    "tn_contract.processes": 0,
    "tn_contract.reportlines": 4,
    "tn_contract.stalling": 7,
    "tn_contract.trial": 8,
    "tn_contract.plugin": 9,
    "tn_contract.suite": 9,
    "tn_contract.client_suite": 9,
    "tn_contract.cli": 10,
}
# Neighbours that may know each other.
SAME_FLOOR = {
    ("tn_contract.signing", "tn_contract.errors"),
    ("tn_contract.nonce", "tn_contract.errors"),
    ("tn_contract.text", "tn_contract.errors"),
    ("tn_contract.signers_v3", "tn_contract.signers"),
    ("tn_contract.signers", "tn_contract.signers"),
    ("tn_contract.signers", "tn_contract.digests"),
    ("tn_contract.candidates", "tn_contract.signers"),
    ("tn_contract.candidates", "tn_contract.signers_v3"),
    ("tn_contract.candidates", "tn_contract.sheets"),
    ("tn_contract.sheets", "tn_contract.signers"),
    ("tn_contract.sheets", "tn_contract.signers_v3"),
    ("tn_contract.search", "tn_contract.candidates"),
    ("tn_contract.search", "tn_contract.sheets"),
    ("tn_contract.search", "tn_contract.signers"),
    ("tn_contract.search", "tn_contract.signers_v3"),
    ("tn_contract.search", "tn_contract.digests"),
    ("tn_contract.transport", "tn_contract.address"),
    ("tn_contract.validation", "tn_contract.envelopes"),
    ("tn_contract.diagnosis", "tn_contract.transport_mistakes"),
    ("tn_contract.suite", "tn_contract.plugin"),
    ("tn_contract.checks", "tn_contract.checks"),
    ("tn_contract.client_checks", "tn_contract.client_checks"),
    ("tn_contract.client_suite", "tn_contract.plugin"),
    ("mock_server.broker", "mock_server.commands"),
    ("mock_server.broker", "mock_server.known"),
    ("mock_server.broker", "mock_server.replay"),
    ("mock_server.broker", "mock_server.book"),
    ("mock_server.book", "mock_server.commands"),
    ("mock_server.book", "mock_server.orders"),
    ("mock_server.book", "mock_server.replay"),
    ("mock_server.replay", "mock_server.commands"),
    ("mock_server.app", "mock_server.book_control"),
    ("mock_server.book_control", "mock_server.door"),
    ("mock_server.state", "mock_server.state"),
    ("mock_server.app", "mock_server.door"),
    ("mock_server.app", "mock_server.guard"),
    ("mock_server.app", "mock_server.metrics"),
    ("mock_server.tunnel", "mock_server.server"),
    ("mock_server.broker", "mock_server.scenario"),
    ("mock_server.scenario", "mock_server.commands"),
    ("mock_server.connection", "mock_server.server"),
    ("mock_server.connection", "mock_server.tls"),
}
OUTSIDE = {
    "msgspec": {"tn_contract.signing", "tn_contract.wire", "tn_contract.corpus", "tn_contract.explaining",
                "tn_contract.journal", "tn_contract.evidence", "tn_contract.playback", "tn_contract.lint",
                "tn_contract.report", "tn_contract.trial", "tn_contract.plugin", "tn_contract.cli",
                "mock_server.faults", "mock_server.commands", "mock_server.scenario", "mock_server.book",
                "mock_server.orders", "mock_server.broker", "mock_server.journalfile", "mock_server.book_control",
                "mock_server.app"},
    "httpx": {"tn_contract.transport", "mock_server.inprocess"},
    "hypothesis": {"tn_contract.strategies"},
    "flask": {"mock_server.app", "mock_server.book_control"},
    "werkzeug": {"mock_server.app"},
    "respx": {"mock_server.inprocess"},
    "httptools": {"tn_contract.http_reader"},
    "prometheus_client": {"mock_server.metrics"},
    "trustme": {"mock_server.certificates"},
    "pytest": {"tn_contract.plugin", "tn_contract.suite", "tn_contract.client_suite", "tn_contract.cli"},
    "redis": {"tn_contract.redislink"},
    "click": {"tn_contract.cli"},
    "rich": {"tn_contract.report", "tn_contract.cli"},
    "jinja2": {"tn_contract.report"},
}  # fmt: skip
FORBIDDEN = {
    ("tn_contract.checks", "tn_contract.client"),
    ("tn_contract.checks", "mock_server"),
    ("mock_server", "tn_contract.client"),
    ("mock_server", "tn_contract.transport"),
    ("mock_server", "tn_contract.checks"),
    ("tn_contract.client_checks", "tn_contract.client"),
    ("tn_contract.client_checks", "mock_server"),
}

FILES = sorted([*(ROOT / "tn_contract").rglob("*.py"), *(ROOT / "mock_server").rglob("*.py")])


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _room(module: str) -> str:
    packages = ("tn_contract.checks", "tn_contract.client_checks", "mock_server.state")
    if module == "tn_contract.signers" or module.startswith("tn_contract.signers."):
        return "tn_contract.signers"
    return next((package for package in packages if module.startswith(package)), module)


@cache
def _imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every module that a file imports, and whether only type checkers do."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += ((name, id(node) in typing_only) for name in names)
    return tuple(found)


def _known(name: str) -> str:
    """The room that an imported name lives in."""
    while name not in FLOORS and _room(name) not in FLOORS:
        name, dot, _rest = name.rpartition(".")
        assert dot, "a module without a floor"
    return _room(name)


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_imports_go_down(path: Path) -> None:
    room = _room(_module(path))
    for name, typing_only in _imports(path):
        if name.split(".")[0] not in ("tn_contract", "mock_server") or typing_only:
            continue
        other = _known(name)
        lower = FLOORS[other] < FLOORS[room]
        package = other in ("tn_contract", "mock_server") and FLOORS[other] <= FLOORS[room]
        # Names that a package re-exports lazily are imported when used, not when loaded.
        lazy = path.name == "__init__.py" and room in ("tn_contract", "mock_server")
        assert lower or package or lazy or (room, other) in SAME_FLOOR, f"{room} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_the_judge_shares_no_code_with_the_judged(path: Path) -> None:
    room = _room(_module(path))
    for name, _typing_only in _imports(path):
        for judge, judged in FORBIDDEN:
            inside = name == judged or name.startswith(f"{judged}.")
            assert not (room.startswith(judge) and inside), f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_outside_packages_have_their_rooms(path: Path) -> None:
    room = _room(_module(path))
    for name, typing_only in _imports(path):
        top = name.split(".")[0]
        if top in ("tn_contract", "mock_server") or top in sys.stdlib_module_names or typing_only:
            continue
        assert room in OUTSIDE[top], f"{room} imports {top}"


def test_the_mock_is_imported_in_one_guarded_function() -> None:
    importers = {
        _module(path)
        for path in FILES
        for name, typing_only in _imports(path)
        if name.startswith("mock_server") and not typing_only and path.parent.name == "tn_contract"
    }
    assert importers == {"tn_contract.embedded"}


def test_every_module_has_a_floor() -> None:
    assert {_room(_module(path)) for path in FILES} == set(FLOORS)
