"""`tn-contract explain`: what an id means and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tn_contract.cli.output import say

if TYPE_CHECKING:
    from tn_contract.contract.corpus import Evidence
    from tn_contract.judge.verdicts import BaseCheck


@click.command(short_help="Tell what a thing is and where it comes from.")
@click.argument("name", metavar="ID")
def explain(name: str) -> None:
    """Explain a check, clause, payload, situation, mistake, vector or magic order, and where it comes from."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge import client as client_checks
    from tn_contract.judge import server as checks

    corpus = load_corpus()
    catalogue: dict[str, BaseCheck] = {**checks.catalogue(), **client_checks.catalogue()}
    lines: list[str] = []
    magic = corpus.magic_orders.get(name)
    if magic and not magic.fault:
        lines.append(f"{name}: the mock answers a cancel of this order with")
        name = magic.payload
    if magic and magic.fault:
        lines += [f"magic order {name}: the mock spoils its reply", f"fault       {magic.fault}: {magic.told}"]
        lines += [f"outcome     {corpus.expected_report(name)[0]}, as the client must report", "provenance  synthetic"]
    elif name in catalogue:
        lines += _explain_check(catalogue[name])
        lines += ["", *_explain_clause(catalogue[name].clause)]
    elif name in corpus.clauses:
        judged_by = [check.id for check in catalogue.values() if check.clause == name]
        lines += [*_explain_clause(name), f"judged by   {', '.join(judged_by)}"]
    elif name.strip("()") in corpus.situations:
        situation = corpus.situations[name.strip("()")]
        lines += [f"situation {situation.id}: {situation.statement}", f"answered by {situation.payload} by default"]
        lines += [f"            {situation.payload_v3} on v3"] if situation.payload_v3 else []
        lines += [f"            or {', '.join(situation.also)}"] if situation.also else []
        lines += [f"choose      tn-contract serve --reply {situation.id}=PAYLOAD"]
    elif name in corpus.mistakes:
        mistake = corpus.mistakes[name]
        lines += [f"mistake {mistake.id}: {mistake.title}", f"fix         {mistake.fix}"]
        lines += [f"shown by    {', '.join(mistake.vectors) or 'its example in fixtures/mistakes.json'}"]
        lines += [f"provenance  {mistake.provenance}", *_explain_evidence(mistake.evidence)]
    elif name in corpus.payloads:
        payload = corpus.payloads[name]
        outcome = f"{payload.outcome}{f' ({payload.kind})' if payload.kind else ''}"
        lines += [f"payload {payload.id}: {payload.title}", f"outcome     {outcome}"]
        lines += [f"provenance  {payload.provenance}", *_explain_evidence(payload.evidence)]
        lines += [f"HTTP {payload.status} {payload.headers}", payload.body or "(empty body)"]
    else:
        group, vector = next(((g, v) for g, v in corpus.vectors if v.id == name), (None, None))
        if group is None or vector is None:
            raise click.UsageError(
                f"nothing is called {name!r}: see `tn-contract list` and `tn-contract list --replies`"
            )
        lines += [f"vector {vector.id}: {vector.comment} ({group.scheme}, {vector.result})"]
        lines += [f"key {group.credentials.api_key!r}"]
        lines += [f"secret {group.credentials.secret!r}", f"string to sign  {vector.string_to_sign!r}"]
        lines += [f"signature       {vector.signature}", f"body            {vector.body}"]
        lines += [f"provenance      {group.provenance}", *_explain_evidence(group.evidence)]
    say("\n".join(lines))


def _explain_check(check: BaseCheck) -> list[str]:
    from tn_contract.judge.client import ClientCheck
    from tn_contract.judge.server import Check

    lines = [f"check {check.id}: {check.title}", f"does        {check.does}"]
    if isinstance(check, Check):
        lines.append(f"effect      {check.effect}")
        lines += [f"requires    {', '.join(check.requires)}"] if check.requires else []
        lines.append(f"repeat      tn-contract verify [URL] --check {check.id}")
    if isinstance(check, ClientCheck):
        lines.append(f"cases       {', '.join(check.cases) if len(check.cases) < 12 else f'{len(check.cases)} cases'}")
        lines.append(f"repeat      tn-contract judge --exec CMD --check {check.id}")
    return lines


def _explain_clause(clause_id: str) -> list[str]:
    from tn_contract.contract.corpus import load_corpus

    clause = load_corpus().clauses[clause_id]
    return [
        f"clause {clause.id}: {clause.statement}",
        f"level       {clause.level}",
        f"scheme      {'v2 and v3' if clause.scheme == 'any' else clause.scheme}",
        f"provenance  {clause.provenance}",
        *_explain_evidence(clause.evidence),
        *([f"open        {clause.open_question}"] if clause.open_question else []),
    ]


def _explain_evidence(evidence: list[Evidence]) -> list[str]:
    from tn_contract.contract.corpus import load_corpus

    lines = []
    for each in evidence:
        source = load_corpus().sources[each.source]
        told = " · ".join(part for part in (each.locator, each.quote and f"“{each.quote}”", each.note) if part)
        lines += [f"  {source.provenance}: {source.title}, {source.publisher}", f"    {told}"]
        if source.provenance != "synthetic":
            lines.append(f"    {source.url}")
    return lines
