"""The linter of the corpus finds each kind of damage to the corpus, and names place and remedy."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.generators.lint import lint, main, meaning
from tn_contract.contract.corpus import LAYOUT, Corpus, count_records, load_corpus

Damage = Callable[[Any], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(load_corpus().root, tmp_path / "fixtures")
    return tmp_path / "fixtures"


def _change(folder: Path, path: str, damage: Damage, *, keep_manifest: bool = False) -> None:
    file = folder / path
    content = json.loads(file.read_text("utf-8"))
    damaged = damage(content)
    # A damage either changes the content where it is, or returns what shall stand instead.
    file.write_text(json.dumps(damaged if isinstance(damaged, list) else content, ensure_ascii=False), "utf-8")
    if keep_manifest or path == "MANIFEST.json":
        return
    corpus = Corpus(folder)
    manifest = json.loads((folder / "MANIFEST.json").read_text("utf-8"))
    for entry in manifest["files"]:
        if entry["path"] == path:
            entry["sha256"] = corpus.digest(path)
            entry["count"] = count_records(corpus.read(path, LAYOUT[path]))
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), "utf-8")


def test_the_corpus_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(load_corpus()) == []
    assert main() == 0
    assert re.match(
        r"corpus \S+: \d+ clauses, \d+ checks of servers, \d+ of clients, \d+ payloads .* no problem found",
        capsys.readouterr().out,
    )


def test_a_damaged_corpus_is_exit_code_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "orders.json").write_text("[]")
    monkeypatch.setattr("fixtures.generators.lint.load_corpus", lambda: Corpus(folder))
    assert main() == 1
    shown = capsys.readouterr().out
    assert "orders.json: changed since MANIFEST.json was written" in shown
    assert "problems in the corpus" in shown


def _append(index: int = 0, **changes: Any) -> Damage:
    return lambda records: records.append({**records[index], **changes})


def _set(index: int, **changes: Any) -> Damage:
    return lambda records: records[index].update(changes)


FINDINGS: dict[str, tuple[str, Damage, str]] = {
    "an id used twice": ("clauses.json", _append(), r"clauses.json: the id session-opens occurs 2 times"),
    "a clause without a check": ("clauses.json", _append(id="brand-new"), r"no check judges brand-new"),
    "a clause that a check misses": ("clauses.json", lambda c: c.pop(0), r"the clause session-opens is not in"),
    "an unknown source": (
        "payloads.json",
        lambda c: c[0]["evidence"][0].update(source="hearsay"),
        r"the source hearsay is not in sources.json",
    ),
    "a claim that no source supports": (
        "payloads.json",
        lambda c: next(p for p in c if p["id"] == "list").update(provenance="documented"),
        r"claimed to be documented, but none of its sources is",
    ),
    "an unreachable payload": ("payloads.json", _append(id="lonely"), r"leads to lonely"),
    "a payload of the wrong kind": (
        "payloads.json",
        lambda c: next(p for p in c if p["id"] == "common-error").update(kind="method-error"),
        r"common-error is said to be method-error, errors.json makes it common-error",
    ),
    "an accepted payload with a kind": ("payloads.json", _set(0, kind="method-error"), r"success is accepted and has"),
    "an order that leads nowhere": ("orders.json", _set(0, payload="gone"), r"the payload gone is not in payloads"),
    "an order id out of range": ("orders.json", _set(0, order_id="9" * 25), r"999 is no order id"),
    "a situation that leads nowhere": ("situations.json", _set(0, payload="gone"), r"the payload gone is not in"),
    "a kind without a class": ("errors.json", _set(0, class_name="Nothing"), r"Nothing must be an exception class"),
    "a class without a kind": ("errors.json", _set(0, class_name="Nothing"), r"no kind is reported by RateLimited"),
    "a kind that matches all": ("errors.json", _set(0, match=[{}]), r"rate-limited would match every failure"),
    "a fallback with conditions": ("errors.json", _set(-1, match=[{"code": 1}]), r"the last kind is the fallback"),
    "a wrong vector": (
        "vectors/v2.json",
        lambda c: c["groups"][0]["vectors"][0].update(signature="0" * 64),
        r"is said to be valid, its signature says otherwise",
    ),
    "an invalid vector without a reason": (
        "vectors/v2-invalid.json",
        lambda c: c["groups"][0]["vectors"][0].pop("violates"),
        r"is invalid and must name a flag and the clause",
    ),
    "a v2 vector that begins nowhere": (
        "vectors/v2.json",
        lambda c: c["groups"][0]["vectors"][0].pop("parameters"),
        r"is of v2 and needs parameters",
    ),
    "a v3 vector whose string is another": (
        "vectors/v3.json",
        lambda c: c["groups"][0]["vectors"][0].update(timestamp="1700000009"),
        r"v3-cancel is of v3, so its string to sign is body and timestamp",
    ),
    "a check of another generation than its clause": (
        "clauses.json",
        lambda c: next(clause for clause in c if clause["id"] == "v3-replay").update(scheme="v2"),
        r"check v3/replay: it speaks v3, its clause v3-replay does not",
    ),
    "a v3 reply that leads nowhere": (
        "situations.json",
        lambda c: next(each for each in c if "payload_v3" in each).update(payload_v3="gone"),
        r"the payload gone is not in payloads.json",
    ),
    "a flag without a note": (
        "vectors/v2.json",
        lambda c: c["groups"][0]["vectors"][0]["flags"].append("Unheard"),
        r"the flag Unheard is used without a note",
    ),
    "a nonce flag without a note": (
        "nonces.json",
        lambda c: c["sequences"][0]["flags"].append("Unheard"),
        r"nonces.json: the flag Unheard",
    ),
    "a passage covered by nothing": ("seed.json", _set(0, covered_by=["nobody"]), r"nothing is called nobody"),
    "a documented payload that no passage covers": (
        "seed.json",
        lambda c: [p for p in c if "method-error" not in p["covered_by"]],
        r"the documented payload method-error is covered by no passage",
    ),
    "a retired id that is used again": (
        "MANIFEST.json",
        lambda c: c["retired"].append({"id": "success", "since": "1.0.0", "reason": "was wrong"}),
        r"the id success is retired",
    ),
    "a file that the manifest misses": ("MANIFEST.json", lambda c: c["files"].pop(0), r"sources.json is not listed"),
    "a file that is none": (
        "MANIFEST.json",
        lambda c: c["files"].append({**c["files"][0], "path": "stray.json"}),
        r"stray.json is no file of the corpus",
    ),
    "a count that is off": ("MANIFEST.json", lambda c: c["files"][0].update(count=1), r"records, MANIFEST.json says 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FINDINGS)
def test_damage_is_found(name: str, folder: Path) -> None:
    path, damage, expected = FINDINGS[name]
    _change(folder, path, damage)
    problems = lint(Corpus(folder))
    assert any(re.search(expected, problem) for problem in problems), problems


def test_a_changed_file_is_found_by_its_digest(folder: Path) -> None:
    _change(folder, "targets.json", _set(0, host="elsewhere.example"), keep_manifest=True)
    assert lint(Corpus(folder)) == [
        "targets.json: changed since MANIFEST.json was written; run fixtures/generators/manifest.py"
    ]


def test_a_file_of_the_wrong_shape_is_named_first(folder: Path) -> None:
    _change(folder, "orders.json", lambda c: c[0].pop("payload"), keep_manifest=True)
    assert lint(Corpus(folder)) == ["orders.json: Object missing required field `payload` - at `$[0]`"]


def test_a_schema_out_of_step_is_found(folder: Path) -> None:
    (folder / "schemas/orders.schema.json").write_text("{}")
    (folder / "schemas/seed.schema.json").unlink()
    problems = "\n".join(lint(Corpus(folder)))
    assert "schemas/orders.schema.json: out of step" in problems
    assert "schemas/seed.schema.json: cannot be read" in problems


# ---- schemas are compared by meaning ---------------------------------------------------------------------------


SCHEMA = {
    "title": "x",
    "description": "A thing.\n\n    Indented.",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["title", "kind"],
    "$defs": {"Kind": {"enum": ["a", "b"], "description": "One of two."}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"description": "A thing.\n\nIndented."},
        {"required": ["kind", "title"]},
        {"$comment": "new"},
        {"$defs": {"Kind": {"enum": ["b", "a"]}}},
        {
            "properties": {
                "kind": {"default": None, "anyOf": [{"type": "null"}, {"type": "string"}]},
                "title": {"type": "string"},
            }
        },
    ],
)
def test_prose_and_order_do_not_change_what_a_schema_means(change: dict[str, Any]) -> None:
    assert meaning({**SCHEMA, **change}) == meaning(SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"required": ["title"]},
        {"$defs": {"Kind": {"enum": ["a"]}}},
        {"properties": {"kind": SCHEMA["properties"]["kind"]}},  # type: ignore[index] # a property named as an annotation
        {"additionalProperties": False},
        {"prefixItems": [{"type": "string"}]},
    ],
)
def test_another_demand_changes_what_a_schema_means(change: dict[str, Any]) -> None:
    assert meaning({**SCHEMA, **change}) != meaning(SCHEMA)


def test_an_edited_schema_file_is_found(folder: Path) -> None:
    file = folder / "schemas" / "orders.schema.json"
    schema = json.loads(file.read_text("utf-8"))
    schema["$defs"]["MagicOrder"]["required"].pop()
    file.write_text(json.dumps(schema), "utf-8")
    assert lint(Corpus(folder)) == [
        "schemas/orders.schema.json: out of step with the records; run fixtures/generators/manifest.py"
    ]
