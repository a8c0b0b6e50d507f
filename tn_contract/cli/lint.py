"""`tn-contract lint`: check the corpus."""

from __future__ import annotations

import time

import click

from tn_contract.cli.output import fail, say


@click.command("lint", short_help="Check the corpus.")
def lint_() -> None:
    """Check the corpus: schemas, ids, digests, sources, and that clauses and checks belong together."""
    from tn_contract.contract.corpus import load_corpus
    from tn_contract.judge.server import catalogue
    from tn_contract.lint import lint

    started = time.perf_counter()
    corpus = load_corpus()
    problems = lint(corpus)
    for problem in problems:
        say(problem)
    if problems:
        fail(f"{len(problems)} problems in the corpus", 1)
    from tn_contract.judge import client as client_checks

    provenance: dict[str, int] = {}
    for payload in corpus.payloads.values():
        provenance[payload.provenance] = provenance.get(payload.provenance, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in provenance.items())
    click.echo(
        f"corpus {corpus.manifest.version}: {len(corpus.clauses)} clauses, {len(catalogue())} checks of servers, "
        f"{len(client_checks.catalogue())} of clients, "
        f"{len(corpus.payloads)} payloads ({told}), {len(corpus.vectors)} vectors, "
        f"{len(corpus.nonces.sequences)} nonce sequences, no problem found in {time.perf_counter() - started:.1f} s"
    )
