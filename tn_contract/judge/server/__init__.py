"""Code that judges one clause each against a server. `catalogue()` has them all."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tn_contract.judge.server.registry import REGISTRY, Check, Judge

GROUPS = ("control", "request", "signature", "nonce", "reply", "order", "v3", "memory")
# Files that hold checks of several groups.
_MORE = ("unsigned", "fallbacks", "copies", "writings")

__all__ = ["GROUPS", "Check", "Judge", "catalogue"]


@cache
def catalogue() -> dict[str, Check]:
    """Every check by id, group by group."""
    for module in (*GROUPS, *_MORE):
        import_module(f"tn_contract.judge.server.{module}")
    order: dict[str, float] = {group: place for place, group in enumerate(GROUPS)}

    def place(check: Check) -> float:
        # First of all whether a refusal leaves the key usable: every other check sends some.
        return 0.5 if "/recovers-after-" in check.id else order[check.group]

    return dict(sorted(REGISTRY.items(), key=lambda item: place(item[1])))
