"""How a broken server is declared: the honest one with some steps replaced, and the checks that must find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .honest import Server

Step = Callable[..., Any]


class Defect(NamedTuple):
    """What stands in place of which step, and the checks that must find the server."""

    steps: dict[str, Any]
    kills: tuple[str, ...]


DEFECTS: dict[str, Defect] = {}


def setting(slug: str, kills: str, **steps: Any) -> None:
    """Register a broken server; `kills` are ids of checks, with spaces between them."""
    assert slug not in DEFECTS, slug
    assert kills, slug
    DEFECTS[slug] = Defect({}, tuple(kills.split()))
    also(slug, **steps)


def also(slug: str, **steps: Any) -> None:
    """Replace more steps of a broken server."""
    assert all(hasattr(Server, step) for step in steps), steps
    DEFECTS[slug].steps.update(steps)


def instead_of(step: str, *, kills: str, name: str = "") -> Callable[[Step], Step]:
    """Register a function in place of a step; its name is the defect's."""

    def register(mistake: Step) -> Step:
        setting(name or mistake.__name__.strip("_").replace("_", "-"), kills, **{step: mistake})
        return mistake

    return register


def broken(slug: str) -> Server:
    """Build the server with this defect."""
    server: Server = type("Broken", (Server,), DEFECTS[slug].steps)()
    return server
