"""`tn-contract explain-request`: what is wrong with a saved request."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from tn_contract.cli.output import on_a_terminal

if TYPE_CHECKING:
    from tn_contract.diagnosis.explain import Explanation


@click.command("explain-request", short_help="Name what a client did wrong in a saved request.")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_request(file: Any, as_json: bool) -> None:
    """Judge saved requests: are they right, and if not, what did the client do wrong?

    FILE (- for standard input) is raw HTTP, an .http file, a "copy as cURL" command, a HAR file (only requests to the
    API are judged) or a journal of the mock. The secret comes from TN_API_SECRET, the key from TN_API_KEY, else from
    the request. Exit code 0 when every request is right, 1 when one would be refused, 4 when a recording leaves open
    what was sent.
    """
    from tn_contract.contract.signing import Credentials, Secret
    from tn_contract.diagnosis.explain import Explainer
    from tn_contract.record.requestfile import read_recording

    secret, key = os.environ.get("TN_API_SECRET"), os.environ.get("TN_API_KEY")
    if not secret:
        raise click.UsageError("set TN_API_SECRET: the secret is never an option, for process lists show those")
    pair = Credentials(key, Secret(secret)) if key else None
    recording = read_recording(file.read())
    explained = Explainer(Secret(secret), pair, at_ns=time.time_ns()).explain(recording)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(explained), indent=2))
    else:
        named = len(explained) + recording.left_out > 1
        for number, each in enumerate(explained):
            lines, compared = _explanation_lines(each, named=named)
            click.echo("\n" * bool(number) + "\n".join([*on_a_terminal(lines), *compared]))
    if recording.left_out:
        click.echo(f"{recording.left_out} requests to other addresses were left out", err=as_json)
    refused = any(each.judged and not each.right for each in explained)
    sys.exit(1 if refused else 0 if all(each.judged for each in explained) else 4)


def _explanation_lines(explained: Explanation, *, named: bool) -> tuple[list[str], list[str]]:
    """The lines to read, and those to compare, one above the other."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.contract.text import escape
    from tn_contract.contract.validation import UNANSWERED
    from tn_contract.record.journal import comparison

    situation = explained.situation
    statement = UNANSWERED.get(situation) or load_corpus().situations[situation].statement
    verdict = click.style("right", fg="green") if explained.right else click.style("refused", fg="red")
    if not explained.judged:
        verdict = click.style("not judged", fg="yellow")
    lines = [f"{explained.name}: {explained.line}" if named else explained.line]
    lines += [f"recording {note}" for note in explained.recording]
    lines.append(f"verdict   {verdict} ({situation}): {statement}")
    if explained.reason:
        lines.append(f"reason    {explained.reason}")
    diagnosis = explained.diagnosis
    if diagnosis is None:
        return lines, []
    if diagnosis.mistakes:
        lines += [
            f"mistake   {', '.join(diagnosis.mistakes)}",
            f"          {diagnosis.told}",
            f"fix       {diagnosis.fix}",
        ]
    else:
        lines.append("mistake   none that is known gives this")
    if diagnosis.hint:
        lines.append(f"hint      {diagnosis.hint}")
    if diagnosis.expected and not diagnosis.signed and not diagnosis.mistakes:
        lines.append(f"wanted    '{escape(diagnosis.expected)}'")
    if compared := comparison(diagnosis):
        signed, expected, mark = compared
        at = mark.index("^")
        coloured = ((signed, "red"), (expected, "green"))
        marked = [text[:at] + click.style(text[at:], fg=colour) for text, colour in coloured]
        return lines, [*marked, mark]
    return lines, []
