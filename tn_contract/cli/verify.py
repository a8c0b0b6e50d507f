"""`tn-contract verify`: judge a server."""

from __future__ import annotations

import sys

import click

from tn_contract.cli.options import Number, OrderId, judging
from tn_contract.cli.running import given, repeated, run_suite


@click.command()
@click.argument("url", required=False)
@click.option(
    "--effects",
    type=click.Choice(("none", "attempt", "cancel")),
    help="How far checks may go: none (no order named), attempt (must be refused), cancel.",
)
@click.option("--order-id", type=OrderId(), multiple=True, help="An open order that may be cancelled. Repeatable.")
@click.option("--quick", is_flag=True, help="Judge one check of each clause, for a server that is slow.")
@click.option("--budget", metavar="N", type=click.IntRange(1), help="Most requests to send.")
@click.option("--pause", metavar="SECONDS", type=Number(0), help="Pause between requests.")
@click.option("--allow-live", metavar="HOST", default="", help="Judge a host known to be live: name it a second time.")
@click.option(
    "--control-host",
    metavar="HOST",
    envvar="TN_CONTROL_HOST",
    show_envvar=True,
    help="Send TN_CONTROL_TOKEN to the mock on this host too; without it only to one on this machine.",
)
@judging
def verify(
    url: str | None,
    checks: tuple[str, ...],
    exclude: tuple[str, ...],
    effects: str | None,
    order_id: tuple[int, ...],
    quick: bool,
    budget: int | None,
    pause: float | None,
    allow_live: str,
    control_host: str | None,
    strict: bool,
    junit: str | None,
    json_file: str | None,
    html: str | None,
) -> None:
    """Judge the server at URL, or the embedded mock.

    Credentials come from TN_API_KEY and TN_API_SECRET; TN_API_KEY_2 and TN_API_SECRET_2 enable the checks that
    need two keys. A mock of this kit hands out its own; if it asks for a control token, TN_CONTROL_TOKEN is sent.
    On any other host than this machine only checks without any effect run unless --effects and --order-id say more.
    """
    arguments = [
        *repeated("--tn-check", checks),
        *repeated("--tn-exclude", exclude),
        *repeated("--tn-order-id", order_id),
        *given("--tn-target", url),
        *given("--tn-effects", effects),
        *given("--tn-budget", budget),
        *given("--tn-pause", pause),
        *given("--tn-allow-live", allow_live or None),
        *given("--tn-control-host", control_host),
        *given("--tn-json", json_file),
        *given("--tn-html", html),
        *given("--tn-junit", junit),
        *(["--tn-quick"] if quick else []),
        *(["--tn-strict"] if strict else []),
    ]
    sys.exit(run_suite(arguments, "tn_contract.suite"))
