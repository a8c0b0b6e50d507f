"""`tn-contract serve`: run the mock."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tn_contract.cli.options import DEFAULT_PORT, NONCE_POLICIES, Number, pair

if TYPE_CHECKING:
    from mock_server.serve import Entrance
    from tn_contract.contract.files import ReadyFile


@click.command()
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    metavar="PORT",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the connection details as JSON.")
@click.option(
    "--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Write them to this file when ready."
)
@click.option("--nonces", type=click.Choice(NONCE_POLICIES), default="monotonic", show_default=True, help="Nonce rule.")
@click.option("--strict-path", is_flag=True, help="Refuse a path that does not name the command.")
@click.option(
    "--timestamp-tolerance",
    type=Number(0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How far a v3 timestamp may be from the clock; 0: any.",
)
@click.option("--reply", metavar="SITUATION=PAYLOAD", multiple=True, help="Answer a situation with another payload.")
@click.option(
    "--orders",
    type=click.Choice(("replay", "book")),
    default="replay",
    show_default=True,
    help="Replay replies, or keep an order book.",
)
@click.option(
    "--cancel-seconds",
    metavar="SECONDS",
    type=Number(0, 10**9),
    default=2,
    show_default=True,
    help="How long a cancel takes in the book.",
)
@click.option("--seed", metavar="N", type=int, help="Make the keys of new sessions, and their order ids, repeatable.")
@click.option(
    "--scenario", type=click.Path(dir_okay=False, path_type=Path), help="Rules for faults and other replies (TOML)."
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append every exchange to this file, as JSON lines; full files are kept beside it.",
)
@click.option("--access-log", is_flag=True, help="Print a JSON line to stderr for each answer of the API.")
@click.option(
    "--control-token",
    envvar="TN_CONTROL_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="Ask for it on the control plane (default: this machine needs none, others a random one).",
)
@click.option(
    "--state",
    metavar="ENGINE",
    envvar="TN_STATE",
    show_envvar=True,
    default="memory",
    show_default=True,
    help="Where keys, nonces and orders are kept: memory, sqlite:PATH or redis://HOST:PORT.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that answer on the one port; several need a --state that they share.",
)
@click.option(
    "--tls",
    metavar="[HOST]",
    multiple=True,
    is_flag=False,
    flag_value="localhost",
    help="Speak HTTPS, also in the name of HOST, and open a tunnel for clients that have it in their code. Repeatable.",
)
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the certificate to trust, anew at each start (default: a folder removed at the end).",
)
def serve(
    host: str,
    port: int,
    as_json: bool,
    ready_file: Path | None,
    nonces: str,
    strict_path: bool,
    timestamp_tolerance: float,
    reply: tuple[str, ...],
    orders: str,
    cancel_seconds: float,
    seed: int | None,
    scenario: Path | None,
    journal: Path | None,
    access_log: bool,
    control_token: str | None,
    state: str,
    workers: int,
    tls: tuple[str, ...],
    ca_file: Path | None,
) -> None:
    """Run the mock until SIGTERM or Ctrl-C.

    Its demo key works at once; POST /__tn__/sessions opens more. `tn-contract list --replies` shows the magic
    orders and the situations.
    """
    from tn_contract.contract.files import ReadyFile
    from tn_contract.trial.embedded import judge, load_mock, mock_options

    source = click.get_current_context().get_parameter_source("cancel_seconds")
    if orders != "book" and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--cancel-seconds speaks of the order book: add --orders book")
    server = load_mock()
    ready = ReadyFile(ready_file)
    ready.remove_stale()
    replies = dict(pair(text, "--reply") for text in reply)
    options = mock_options(
        {
            "host": host,
            "port": port,
            "tls": tls,
            "ca_file": ca_file,
            "control_token": control_token,
            "scenario": scenario,
            "journal": journal,
            "nonces": nonces,
            "strict_path": strict_path,
            "timestamp_tolerance": timestamp_tolerance,
            "reply": replies,
            "orders": orders,
            "cancel_seconds": cancel_seconds,
            "seed": seed,
            "state": state,
        }
    )
    options["judge"] = judge
    if access_log:
        options["log"] = partial(click.echo, err=True)
    announce = partial(_announce, workers=workers, token_given=bool(control_token), as_json=as_json, ready=ready)
    try:
        if workers > 1:
            server.run_workers(workers, announce, **options)
            return
        mock = server.listen(**options)
        try:
            server.run_until_stopped(mock, lambda: announce(mock, mock.broker.state.place))
            if unused := mock.broker.idle_rules():
                click.echo(f"these rules of scenarios hit nothing: {', '.join(unused)}", err=True)
        finally:
            mock.stop()
    finally:
        ready.remove()


def _announce(mock: Entrance, place: str, *, workers: int, token_given: bool, as_json: bool, ready: ReadyFile) -> None:
    demo = mock.demo
    facts: dict[str, Any] = {
        "base_url": mock.base_url,
        "control_url": mock.control_url,
        "api_key": demo.api_key,
        "api_secret": demo.secret.reveal(),
    }
    token = "" if token_given else mock.token  # whoever gave one knows it, and this line is kept in logs
    if token:
        facts["control_token"] = token
    if mock.certificates:
        facts |= {"ca_file": str(mock.certificates.ca_file), "environment": mock.environment}
    if place:
        facts["state"] = place
    if workers > 1:
        facts["workers"] = workers
    line = json.dumps(facts)
    ready.write(line + "\n", private=bool(token))
    sentence = (
        f"tn-contract mock at {mock.base_url} · key {demo.api_key} · secret {demo.secret.reveal()} · "
        f"control {mock.control_url}health · {f'{workers} workers · ' if workers > 1 else ''}Ctrl-C stops it"
    )
    if mock.token:
        sentence += f"\nthe control plane asks for Authorization: Bearer {token or 'and the token given'}"
    if mock.certificates:
        exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in mock.environment.items())
        sentence += f"\nlead a client here:\n{exports}\n  php {mock.certificates.php_options} …"
        sentence += "\n  Node before 24 has no proxy of its own: docs/tls.md"
    if place:
        sentence += f"\nkeys, nonces and orders are kept in {place}"
    click.echo(line if as_json else sentence)
