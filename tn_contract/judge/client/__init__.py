"""Code that judges one clause each against a client, by what it did and said. `catalogue()` has them all."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tn_contract.judge.client.registry import REGISTRY, ClientCheck, ClientJudge

GROUPS = ("sends", "signs", "draws", "keeps", "reports", "resends", "runs")

__all__ = ["GROUPS", "ClientCheck", "ClientJudge", "catalogue"]


@cache
def catalogue() -> dict[str, ClientCheck]:
    """Every check by id, group by group."""
    for module in ("wire", "outcomes", "answers", "replies", "stalls", "flow"):
        import_module(f"tn_contract.judge.client.{module}")
    order = {group: place for place, group in enumerate(GROUPS)}
    return dict(sorted(REGISTRY.items(), key=lambda item: order[item[1].group]))
