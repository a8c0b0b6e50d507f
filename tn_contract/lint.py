"""Does the corpus hold together, and does it agree with the checks?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import msgspec

from tn_contract.contract import errors
from tn_contract.contract.corpus import LAYOUT, Corpus, Record, Scheme, Side, VectorFile, count_records, schema_of
from tn_contract.contract.errors import CorpusError, Rejected
from tn_contract.contract.signing import Secret, verify
from tn_contract.contract.validation import UNANSWERED
from tn_contract.contract.wire import ORDER_ID_MAX, read_body
from tn_contract.judge.server import catalogue

# Statements of the seed page may also be covered by the README's list of what the kit does not do.
README_REFERENCE = "readme-does-not-do"


def lint(corpus: Corpus) -> list[str]:
    """Return every problem found, each with its place and what to do; an empty list when there is none."""
    unreadable = list(_readable(corpus))
    if unreadable:
        return unreadable  # the other rules need every file
    return [problem for rule in _RULES for problem in rule(corpus)]


def _readable(corpus: Corpus) -> Iterator[str]:
    for path, kind in LAYOUT.items():
        try:
            corpus.read(path, kind)
        except CorpusError as error:
            yield str(error)


def _manifest(corpus: Corpus) -> Iterator[str]:
    listed = {entry.path: entry for entry in corpus.manifest.files}
    for path in sorted(set(LAYOUT) - {"MANIFEST.json"} - set(listed)):
        yield f"MANIFEST.json: {path} is not listed"
    for path, entry in listed.items():
        if path not in LAYOUT:
            yield f"MANIFEST.json: {path} is no file of the corpus"
            continue
        if corpus.digest(path) != entry.sha256:
            yield f"{path}: changed since MANIFEST.json was written; run fixtures/generators/manifest.py"
        count = count_records(corpus.read(path, LAYOUT[path]))
        if count != entry.count:
            yield f"{path}: {count} records, MANIFEST.json says {entry.count}"


def _schemas(corpus: Corpus) -> Iterator[str]:
    for path, kind in LAYOUT.items():
        name = f"schemas/{path.removesuffix('.json').replace('/', '-').lower()}.schema.json"
        try:
            written = json.loads((corpus.root / name).read_bytes())
        except (OSError, ValueError) as error:
            yield f"{name}: cannot be read ({error})"
            continue
        if meaning(written) != meaning(msgspec.to_builtins(schema_of(kind, path))):
            yield f"{name}: out of step with the records; run fixtures/generators/manifest.py"


_ANNOTATIONS = {"$schema", "$comment", "title", "description", "examples", "deprecated"}
_MAPS = {"properties", "patternProperties", "$defs", "dependentSchemas"}  # names → schemas
_SETS = {"enum", "required", "anyOf", "oneOf", "allOf", "type"}


def meaning(schema: Any) -> Any:
    """Return what a JSON Schema demands: without its prose, and with what has no order in one order.

    Each version of the library that writes schemas may write the same demands in its own way.
    """
    if not isinstance(schema, dict):
        return schema
    demands: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _ANNOTATIONS:
            continue
        if key in _MAPS and isinstance(value, dict):
            demands[key] = {name: meaning(each) for name, each in value.items()}
        elif isinstance(value, list):
            parts = [meaning(each) for each in value]
            in_order = key not in _SETS
            demands[key] = parts if in_order else sorted(parts, key=lambda each: json.dumps(each, sort_keys=True))
        else:
            demands[key] = value if key in ("default", "const") else meaning(value)
    return demands


def _ids(corpus: Corpus) -> dict[str, list[str]]:
    return {
        "sources.json": [source.id for source in corpus.read("sources.json", LAYOUT["sources.json"])],
        "clauses.json": [clause.id for clause in corpus.read("clauses.json", LAYOUT["clauses.json"])],
        "payloads.json": [payload.id for payload in corpus.read("payloads.json", LAYOUT["payloads.json"])],
        "errors.json": [kind.kind for kind in corpus.errors],
        "situations.json": [each.id for each in corpus.read("situations.json", LAYOUT["situations.json"])],
        "orders.json": [order.order_id for order in corpus.read("orders.json", LAYOUT["orders.json"])],
        "statuses.json": [str(each.status) for each in corpus.read("statuses.json", LAYOUT["statuses.json"])],
        "mistakes.json": [each.id for each in corpus.read("mistakes.json", LAYOUT["mistakes.json"])],
        "targets.json": [target.host for target in corpus.targets],
        "nonces.json": [sequence.id for sequence in corpus.nonces.sequences],
        "vectors": [vector.id for _group, vector in corpus.vectors],
    }


def _unique_ids(corpus: Corpus) -> Iterator[str]:
    retired = {each.id for each in corpus.manifest.retired}
    for path, ids in _ids(corpus).items():
        for name, count in Counter(ids).items():
            if count > 1:
                yield f"{path}: the id {name} occurs {count} times; ids are for ever and for one thing"
            if name in retired:
                yield f"{path}: the id {name} is retired; choose another"


def _provenance(corpus: Corpus) -> Iterator[str]:
    for path, record in _records(corpus):
        for evidence in getattr(record, "evidence", ()):
            if evidence.source not in corpus.sources:
                yield f"{path}: the source {evidence.source} is not in sources.json"
        claimed = getattr(record, "provenance", None)
        if claimed and hasattr(record, "evidence"):
            kinds = {
                corpus.sources[each.source].provenance for each in record.evidence if each.source in corpus.sources
            }
            if claimed != "synthetic" and claimed not in kinds:
                yield f"{path}: claimed to be {claimed}, but none of its sources is: {record.evidence[0].locator}"


def _records(corpus: Corpus) -> Iterator[tuple[str, Record]]:
    for path, kind in LAYOUT.items():
        content = corpus.read(path, kind)
        for record in content if isinstance(content, list) else [content]:
            yield path, record
            if isinstance(record, VectorFile):
                yield from ((path, group) for group in record.groups)


def _clauses_and_checks(corpus: Corpus) -> Iterator[str]:
    try:
        from tn_contract.judge import client as client_checks
        from tn_contract.judge.client.cases import cases
    except KeyError as missing:  # its cases are made of the corpus
        yield f"the checks of clients need the payload {missing}, which no magic order provokes undisturbed"
        return
    sides: dict[Side, dict[str, Any]] = {"server": catalogue(), "client": client_checks.catalogue()}
    judged = {check.clause for checks in sides.values() for check in checks.values()}
    for clause in corpus.clauses.values():
        if clause.id not in judged:
            yield f"clauses.json: no check judges {clause.id}"
    for side, checks in sides.items():
        for check in checks.values():
            if check.clause not in corpus.clauses:
                yield f"check {check.id}: the clause {check.clause} is not in clauses.json"
            elif corpus.clauses[check.clause].side != side:
                yield f"check {check.id}: it judges a {side}, the clause {check.clause} binds the other side"
            if not check.does:
                yield f"check {check.id}: its function has no docstring that says what it does"
            if len(check.title) > 70:
                yield f"check {check.id}: its title has more than 70 characters"
    for server_check in catalogue().values():
        bound_by = corpus.clauses.get(server_check.clause)
        if bound_by and bound_by.scheme not in ("any", server_check.scheme):
            yield f"check {server_check.id}: it speaks {server_check.scheme}, its clause {bound_by.id} does not"
        for control in set(server_check.requires) - set(catalogue()):
            yield f"check {server_check.id}: it requires {control}, which does not exist"
    for client_check in client_checks.catalogue().values():
        for case in set(client_check.cases) - set(cases()):
            yield f"check {client_check.id}: its case {case} does not exist"


def _payloads(corpus: Corpus) -> Iterator[str]:
    from tn_contract.judge.client.cases import cases

    reachable = {order.payload for order in corpus.magic_orders.values()}
    reachable |= {
        situation.payload_for(scheme) for situation in corpus.situations.values() for scheme in get_args(Scheme)
    }
    reachable |= {payload for situation in corpus.situations.values() for payload in situation.also}
    with suppress(KeyError):  # its cases are made of the corpus
        reachable |= {spec.reply for spec in cases().values()}
    for payload in corpus.payloads.values():
        if payload.id not in reachable:
            yield f"payloads.json: no magic order or situation leads to {payload.id}"
        if payload.outcome == "rejected":
            reading = read_body(payload.fill("1"))
            kind = corpus.classify(payload.status, reading.code, reading.failure_keys)
            if kind.kind != payload.kind:
                yield f"payloads.json: {payload.id} is said to be {payload.kind}, errors.json makes it {kind.kind}"
        elif payload.kind:
            yield f"payloads.json: {payload.id} is {payload.outcome} and has a kind of rejection"
    for name in sorted(reachable - set(corpus.payloads)):
        yield f"orders.json or situations.json: the payload {name} is not in payloads.json"
    for order_id in corpus.magic_orders:
        if not 0 < int(order_id) <= ORDER_ID_MAX:
            yield f"orders.json: {order_id} is no order id"


def _error_kinds(corpus: Corpus) -> Iterator[str]:
    classes = {cls.__name__ for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Rejected)}
    named = Counter(kind.class_name for kind in corpus.errors)
    for name in sorted(classes - {"Rejected"} - set(named)):
        yield f"errors.json: no kind is reported by {name}"
    for name, count in named.items():
        if name not in classes or count > 1:
            yield f"errors.json: {name} must be an exception class of one kind"
    for kind in corpus.errors[:-1]:
        if not kind.match or any(match == type(match)() for match in kind.match):
            yield f"errors.json: {kind.kind} would match every failure; only the last kind may"
    if corpus.errors[-1].match:
        yield "errors.json: the last kind is the fallback and has no conditions"


def _vectors(corpus: Corpus) -> Iterator[str]:
    for path, file in corpus.vector_files.items():
        used = {flag for group in file.groups for vector in group.vectors for flag in vector.flags}
        for flag in sorted(used ^ set(file.notes)):
            yield f"{path}: the flag {flag} is used without a note, or noted without use"
    for group, vector in corpus.vectors:
        good = verify(vector.string_to_sign, Secret(group.credentials.secret), vector.signature)
        if good != (vector.result == "valid"):
            yield f"vectors: {vector.id} is said to be {vector.result}, its signature says otherwise"
        if group.scheme == "v2" and not vector.parameters:
            yield f"vectors: {vector.id} is of v2 and needs parameters"
        if group.scheme == "v3" and vector.string_to_sign != vector.body + vector.timestamp:
            yield f"vectors: {vector.id} is of v3, so its string to sign is body and timestamp"
        if vector.result == "invalid" and (vector.violates not in corpus.clauses or not vector.flags):
            yield f"vectors: {vector.id} is invalid and must name a flag and the clause it violates"
    used = {flag for sequence in corpus.nonces.sequences for flag in sequence.flags}
    for flag in sorted(used ^ set(corpus.nonces.notes)):
        yield f"nonces.json: the flag {flag} is used without a note, or noted without use"


def _mistakes(corpus: Corpus) -> Iterator[str]:
    invalid = {vector.id for _group, vector in corpus.vectors if vector.result == "invalid"}
    shown = Counter(name for mistake in corpus.mistakes.values() for name in mistake.vectors)
    for mistake in corpus.mistakes.values():
        if bool(mistake.vectors) == (mistake.example is not None):
            yield f"mistakes.json: {mistake.id} must be shown by vectors or by an example, one of them"
        for name in set(mistake.vectors) - invalid:
            yield f"mistakes.json: {mistake.id}: no invalid vector is called {name}"
        if mistake.example and mistake.example.situation not in {*corpus.situations, *UNANSWERED}:
            yield f"mistakes.json: {mistake.id}: no situation is called {mistake.example.situation}"
    for name in sorted(invalid):
        if shown[name] != 1:
            yield f"mistakes.json: {shown[name]} mistakes are shown by the vector {name}; there must be one"


def _seed(corpus: Corpus) -> Iterator[str]:
    known = set(corpus.clauses) | set(corpus.payloads) | set(catalogue()) | {README_REFERENCE}
    known |= {vector.id for _group, vector in corpus.vectors}
    passages = corpus.read("seed.json", LAYOUT["seed.json"])
    for passage in passages:
        for name in passage.covered_by:
            if name not in known:
                yield f"seed.json: {passage.locator}: nothing is called {name}"
    covered = {name for passage in passages for name in passage.covered_by}
    for payload in corpus.payloads.values():
        if payload.provenance == "documented" and payload.id not in covered:
            yield f"seed.json: the documented payload {payload.id} is covered by no passage"


_RULES = (
    _manifest,
    _schemas,
    _unique_ids,
    _provenance,
    _clauses_and_checks,
    _payloads,
    _error_kinds,
    _vectors,
    _mistakes,
    _seed,
)
