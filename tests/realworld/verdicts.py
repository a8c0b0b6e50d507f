"""What the kit's own judge says of each client, as data: the golden file `verdicts.json`, and the table made of it."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from unittest import mock

from tn_contract.judge.client import ClientJudge, catalogue
from tn_contract.judge.client.cases import case_of, cases
from tn_contract.judge.verdicts import Result
from tn_contract.record.evidence import Evidence
from tn_contract.report.text import MARKS
from tn_contract.trial.trial import DEADLINE, Trial

from .clients import CLIENTS, HOSTS, NotAvailable, RealClient

VERDICTS = Path(__file__).parent / "verdicts.json"
SPECIAL = (
    "plain", "restart", "in-turn", "accepted-first", "neighbour", "clock-steps-back", "clock-stands-still", "no-server",
    "stalled-connect", "stalled-handshake", "trusted", "untrusted", "self-signed", "expired", "misnamed",
)  # fmt: skip
# One or two of each kind of reply, so that every check has evidence and all clients together take minutes. Named one
# by one, so that the golden file does not change when the corpus grows.
REPLIES = (
    9900000000, 9900000002, 9900000008, 9900000012, 9900000021, 9900000022, 9900000024, 9900000029, 9900000404,
    9900000429, 9900000430, 9900000200, 9900000201, 9900000203, 9900000204,
    9900000307, 9900000406, 9900000500, 9900000900, 9900000901, 9900000902, 9900000906, 9900000908, 9900000909,
    9900000910, 9900000950, 9900000952, 9900000953, 9900000954, 9900000957,
    9900000027, 9900000919, 9900000926,
)  # fmt: skip
# A browser takes seconds to start, and does not at all with a clock that is led astray. It believes the mock because it
# is told to believe anybody (drive_browser.py), so that `misnamed` would accuse the wrong one.
BROWSER = "browser-sample"
SPECIAL_IN_BROWSER = ("plain", "restart", "no-server", "trusted", "untrusted")
REPLIES_IN_BROWSER = (
    9900000000, 9900000002, 9900000022, 9900000404, 9900000429, 9900000200, 9900000204, 9900000307, 9900000500,
    9900000901, 9900000906, 9900000909, 9900000950, 9900000952, 9900000954, 9900000957,
)  # fmt: skip

# Check → verdict; all but a pass with what was seen: "fail: accepted".
Verdicts = dict[str, str]


def judge(client: RealClient) -> Verdicts:
    """Try a client and judge it by every check, but for those whose case cannot be arranged here (no faketime)."""
    evidence = _try(client)
    not_arranged = {case.id for case in evidence.cases if case.skipped}
    trial = ClientJudge(evidence, catalogue())
    return {
        name: _told(trial.judge(name), evidence)
        for name, check in catalogue().items()
        if not not_arranged.issuperset(check.cases)
    }


def record_verdicts() -> dict[str, Verdicts]:
    """Judge every client. Raises `NotAvailable` when a case cannot be arranged here."""
    found = {name: judge(client) for name, client in CLIENTS.items()}
    if any(set(verdicts) != set(catalogue()) for verdicts in found.values()):
        raise NotAvailable("a clock cannot be set back here, and what is recorded is to be whole: install faketime")
    return found


def differences(name: str, recorded: Verdicts, found: Verdicts) -> list[str]:
    """One line for each check that says something new. What was not judged here is no difference."""
    return [
        f"{name}, {check}: {told} (recorded: {recorded.get(check, 'nothing')})"
        for check, told in found.items()
        if told != recorded.get(check)
    ]


def chosen(client: RealClient) -> set[str]:
    """The ids of the cases that a client is tried in."""
    slow = client.id == BROWSER
    special, replies = (SPECIAL_IN_BROWSER, REPLIES_IN_BROWSER) if slow else (SPECIAL, REPLIES)
    return {*special, *(case_of(str(order_id)) for order_id in replies)}


def _try(client: RealClient) -> Evidence:
    command = shlex.join(client.command())
    trial = Trial(command, client.id, tls=HOSTS)
    if client.id == BROWSER:
        trial = Trial(command, client.id, deadline=2 * DEADLINE, jobs=2, tls=HOSTS)
    wanted = chosen(client)
    # Nothing of this machine's own, such as the authorities that it trusts, may reach the client.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        mock.patch.dict(os.environ, {"PATH": os.environ["PATH"], "HOME": home}, clear=True),
    ):
        return trial.run(spec for spec in cases().values() if spec.id in wanted)


def _told(result: Result, evidence: Evidence) -> str:
    return (
        result.verdict if result.verdict == "pass" else f"{result.verdict}: {_stable(result.finding.actual, evidence)}"
    )


def _stable(text: str, evidence: Evidence) -> str:
    """The text without what changes from run to run."""
    for sent in evidence.sent:
        for value, name in ((sent.exchange.session, "<key>"), (sent.nonce, "<nonce>")):
            if value:
                text = text.replace(value, name)
    text = re.sub(r" \(request \d+\)", "", text)
    text = re.sub(r"^(<nonce> after <nonce>): .*", r"\1", text)  # when the clock steps is a matter of milliseconds
    return re.sub(r"\b\d+\.\d+ s\b", "<time>", text)


# ---- the page ----------------------------------------------------------------------------------------------


def table(verdicts: dict[str, Verdicts]) -> str:
    """Checks against clients, a mark each, and below it what was seen where it failed."""
    lines = [f"| | {' | '.join(verdicts)} |", f"|---|{':-:|' * len(verdicts)}"]
    for name, check in catalogue().items():
        marks = [MARKS[told[name].partition(":")[0]] for told in verdicts.values()]  # type: ignore[index]
        lines.append(f"| `{name}` {check.title} | {' | '.join(marks)} |")
    failed = [str(sum(told.startswith("fail") for told in each.values())) for each in verdicts.values()]
    return "\n".join([*lines, f"| **✘ in all** | {' | '.join(failed)} |"]) + "\n"
