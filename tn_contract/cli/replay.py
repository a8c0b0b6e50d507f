"""`tn-contract replay`: send the requests of a journal again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tn_contract.cli.output import fail, say


@click.command(short_help="Send a journal's requests again, and compare the replies.")
@click.argument("journal", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each request.")
@click.option("--pauses/--no-pauses", default=True, help="Wait between requests as recorded?  [default: pauses]")
def replay(journal: Path, url: str, as_json: bool, pauses: bool) -> None:
    """Send the requests of a JOURNAL again, in order, to a mock at URL, and compare the replies.

    A mock that begins as the recorded one did (same keys, --seed and --scenario) answers the same. URL must be on this
    machine, for a recorded cancel is a cancel. Exit code 0 when all replies are the same, 1 when one differs, 5 when
    nothing could be sent.
    """
    import msgspec

    from tn_contract.contract.text import escape
    from tn_contract.transport import TransportFailure
    from tn_contract.trial.playback import play_back, read_journal

    counts = {"same": 0, "differs": 0, "not sent": 0}
    try:
        recorded = read_journal(journal.read_bytes(), str(journal))
        for number in recorded.halves:
            say(f"{journal}, line {number} breaks off, and is left out", err=True)
        for played in play_back(recorded.exchanges, url, pauses=pauses):
            counts[played.verdict] += 1
            if as_json:
                click.echo(json.dumps(msgspec.to_builtins(played)))
            elif played.verdict != "same":
                say(f"{played.seq:5} {escape(played.line)}")
                say(f"      recorded  {escape(played.recorded)}\n      now       {escape(played.now)}")
                if played.hint:
                    say(f"      hint      {played.hint}")
    except TransportFailure as failure:
        untrusted = "let SSL_CERT_FILE name the file of `serve --ca-file`"
        advice = untrusted if "CERTIFICATE_VERIFY_FAILED" in str(failure) else "start the mock first"
        fail(f"{url} cannot be reached ({failure}): {advice}", 3)
    click.echo(" · ".join(f"{count} {verdict}" for verdict, count in counts.items()), err=as_json)
    sys.exit(1 if counts["differs"] else 0 if counts["same"] else 5)
