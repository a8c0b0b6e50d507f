"""Code that judges one clause each against a client, by what it did and said. `catalogue()` has them all."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tn_contract.judge.client.registry import REGISTRY, ClientCheck, ClientJudge

if TYPE_CHECKING:
    from tn_contract.record.evidence import Evidence

GROUPS = ("sends", "signs", "draws", "keeps", "reports", "resends", "runs")

__all__ = ["GROUPS", "ClientCheck", "ClientJudge", "catalogue", "live_verdicts"]


@cache
def catalogue() -> dict[str, ClientCheck]:
    """Every check by id, group by group."""
    for module in ("wire", "outcomes", "answers", "replies", "stalls", "flow"):
        import_module(f"tn_contract.judge.client.{module}")
    order = {group: place for place, group in enumerate(GROUPS)}
    return dict(sorted(REGISTRY.items(), key=lambda item: order[item[1].group]))


def live_verdicts(evidence: Evidence) -> list[dict[str, Any]]:
    """Judge what a client did so far, by every check: for `mock_server.create_app(judge=live_verdicts)`."""
    judge = ClientJudge(evidence, catalogue())
    results = [judge.judge(check_id) for check_id in catalogue()]
    return [
        {
            "check": result.check.id,
            "verdict": result.verdict,
            "title": result.check.title,
            "clause": result.check.clause,
            "expected": result.finding.expected,
            "actual": result.finding.actual,
            "requests": [exchange.seq for exchange in result.exchanges],
        }
        for result in results
    ]
