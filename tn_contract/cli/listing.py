"""`tn-contract list`: the checks, and what the mock can be made to answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import click

if TYPE_CHECKING:
    from tn_contract.contract.corpus import MagicOrder, Payload
    from tn_contract.judge.verdicts import BaseCheck


@click.command("list", short_help="List checks, or what the mock can be made to answer.")
@click.option("--clients", is_flag=True, help="List the checks of clients instead of those of servers.")
@click.option("--replies", is_flag=True, help="List magic orders and situations instead of checks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(clients: bool, replies: bool, as_json: bool) -> None:
    """List the checks of servers, of clients, or with --replies what the mock can be made to answer."""
    rows = _reply_rows() if replies else _check_rows(clients)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from tn_contract.report.text import print_rows

    print_rows(rows, elastic="body" if replies else "title")


def _check_rows(clients: bool) -> list[dict[str, Any]]:
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge import client as client_checks
    from tn_contract.judge import server as checks

    clauses = load_corpus().clauses
    catalogue: dict[str, BaseCheck] = {**(client_checks if clients else checks).catalogue()}
    return [
        {
            "id": check.id,
            "title": check.title,
            "level": clauses[check.clause].level,
            "provenance": clauses[check.clause].provenance,
            **({} if clients else {"effect": check.effect}),
        }
        for check in catalogue.values()
    ]


def _reply_rows() -> list[dict[str, Any]]:
    from tn_contract.contract.corpus import Scheme, load_corpus

    corpus = load_corpus()

    def row(cause: str, payload: Payload) -> dict[str, Any]:
        return {
            "order_id": cause,
            "payload": payload.id,
            "http": payload.status,
            "outcome": payload.kind or payload.outcome,
            "provenance": payload.provenance,
            "body": " ".join(payload.body.split()) or "(empty)",
        }

    def spoilt(order: MagicOrder) -> dict[str, Any]:
        outcome = corpus.expected_report(order.order_id)[0]
        return {"http": order.fault, "outcome": outcome, "provenance": "synthetic", "body": order.told}

    magic = [
        {**row(order.order_id, corpus.payloads[order.payload]), **(spoilt(order) if order.fault else {})}
        for order in corpus.magic_orders.values()
    ]
    refusals = [
        row(f"({each.id})" + (" on v3" if scheme == "v3" else ""), corpus.payloads[each.payload_for(scheme)])
        for each in corpus.situations.values()
        for scheme in get_args(Scheme)
        if scheme == "v2" or each.payload_v3
    ]
    return [*magic, *refusals]
