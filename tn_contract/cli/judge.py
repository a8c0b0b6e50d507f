"""`tn-contract judge`: judge a client."""

from __future__ import annotations

import sys

import click

from tn_contract.cli.options import REPORT_FILE, Number, judging
from tn_contract.cli.running import given, repeated, run_suite


@click.command(short_help="Judge a client: a program, or journals.")
@click.argument("journals", nargs=-1, metavar="[JOURNAL]...", type=click.Path(exists=True, dir_okay=False))
@click.option("--exec", "command", metavar="CMD", help="Program to try, such as 'node cancel.mjs'.")
@click.option("--agent", metavar="NAME", help="What the program is called in reports (default: CMD).")
@click.option("--tls", metavar="HOST", multiple=True, help="Speak HTTPS in the name of HOST, as `serve --tls` does.")
@click.option("--deadline", metavar="SECONDS", type=Number(5), help="Time for each process (default: 20).")
@click.option("--jobs", metavar="N", type=click.IntRange(1), help="Cases to run at a time.")
@click.option("--journal", "save", type=REPORT_FILE, help="Write what the program did, to be judged again later.")
@judging
def judge(
    journals: tuple[str, ...],
    command: str | None,
    agent: str | None,
    tls: tuple[str, ...],
    deadline: float | None,
    jobs: int | None,
    checks: tuple[str, ...],
    exclude: tuple[str, ...],
    strict: bool,
    save: str | None,
    junit: str | None,
    json_file: str | None,
    html: str | None,
) -> None:
    """Judge a client: by trying a program against the mock (--exec), or by JOURNALs of what clients did.

    The program finds TN_BASE_URL, TN_API_KEY, TN_API_SECRET, TN_ORDER_IDS (one or more, comma-separated) and TN_TIMEOUT
    (seconds to wait for a reply) in its environment, cancels these orders one after the other, and prints one JSON line
    for each: {"outcome": "accepted" | "rejected" | "unknown" | "not-sent"}. CMD is started without a shell; it may name
    $TN_BASE_URL, $TN_API_KEY, $TN_ORDER_IDS, $TN_TIMEOUT, $SSL_CERT_FILE and $HTTPS_PROXY. Several journals are shown
    side by side.
    """
    if not (command or journals):
        raise click.UsageError("name a program with --exec, or a journal: `tn-contract judge --exec 'node cancel.mjs'`")
    if save and not command:
        raise click.UsageError("--journal writes what --exec does: there is no program to try")
    arguments = [
        *given("--tn-exec", command),
        *repeated("--tn-journal", journals),
        *given("--tn-agent", agent),
        *repeated("--tn-tls", tls),
        *given("--tn-deadline", deadline),
        *given("--tn-jobs", jobs),
        *given("--tn-save-journal", save),
        *repeated("--tn-check", checks),
        *repeated("--tn-exclude", exclude),
        *given("--tn-json", json_file),
        *given("--tn-html", html),
        *given("--tn-junit", junit),
        *(["--tn-strict"] if strict else []),
    ]
    sys.exit(run_suite(arguments, "tn_contract.client_suite"))
