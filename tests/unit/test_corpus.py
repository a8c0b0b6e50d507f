"""The corpus: its loader, its schemas, and the catalogue of errors."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_contract.contract import corpus as corpus_module
from tn_contract.contract import errors
from tn_contract.contract.corpus import (
    LAYOUT,
    Clause,
    Corpus,
    ErrorKind,
    Manifest,
    Match,
    Source,
    find_root,
    load_corpus,
)
from tn_contract.contract.errors import CorpusError
from tn_contract.contract.wire import FAILURE_KEYS

CORPUS = load_corpus()
CONTENT = {path: json.loads((CORPUS.root / path).read_text("utf-8")) for path in LAYOUT}


def schema_path(path: str) -> Path:
    return CORPUS.root / "schemas" / f"{path.removesuffix('.json').replace('/', '-').lower()}.schema.json"


VALIDATORS = {
    path: jsonschema.Draft202012Validator(json.loads(schema_path(path).read_text("utf-8"))) for path in LAYOUT
}


# ---- loader and schemas agree ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LAYOUT)
def test_a_schema_on_disk_is_the_one_of_its_records(path: str) -> None:
    schema = json.loads(schema_path(path).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == msgspec.to_builtins(corpus_module.schema_of(LAYOUT[path], path))


def test_no_schema_is_left_over() -> None:
    assert {schema_path(path) for path in LAYOUT} == set((CORPUS.root / "schemas").iterdir())


@pytest.mark.parametrize("path", LAYOUT)
def test_every_file_of_the_corpus_passes_both(path: str, tmp_path: Path) -> None:
    assert VALIDATORS[path].is_valid(CONTENT[path])
    assert accepts(path, CONTENT[path], tmp_path)


def accepts(path: str, content: Any, folder: Path) -> bool:
    """Say if the loader takes the content."""
    file = folder / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content), "utf-8")
    try:
        Corpus(folder).read(path, LAYOUT[path])
    except CorpusError:
        return False
    return True


def shortened(content: Any) -> Any:
    """The content with at most four records in each list: enough to change, and quick to judge."""
    if isinstance(content, dict):
        return {key: shortened(value) for key, value in content.items()}
    return [shortened(value) for value in content[:4]] if isinstance(content, list) else content


def places(content: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    members = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in members:
        yield from places(value, (*place, key))


WRONG: list[Any] = [
    None, True, False, 0, -1, 7, 2**70, 0.5, "", "Bad Id!", "good-id", "-bad", "bad-", "a--b", "0", "01", "12", "live",
    "documented", "a" * 64, "A" * 64, "Name", "hex", "node", [], ["x"], [{}], {}, {"unknown-field": 1}, {"x": "y"},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.parametrize("path", LAYOUT)
@given(data=st.data())
def test_the_loader_refuses_exactly_what_the_schema_refuses(path: str, data: st.DataObject, folder: Path) -> None:
    mutated = [shortened(CONTENT[path])]
    holder: Any = mutated
    place = data.draw(st.sampled_from(list(places(mutated[0]))))
    action = data.draw(st.sampled_from(["replace", "drop", "add"]))
    for key in (0, *place[:-1]) if place else ():
        holder = holder[key]
    last = place[-1] if place else 0
    if action == "add" and isinstance(holder[last], dict):
        holder[last]["unknown-field"] = data.draw(st.sampled_from(WRONG))
    elif action == "drop" and place:
        del holder[last]
    else:
        holder[last] = data.draw(st.sampled_from(WRONG))
    assert accepts(path, mutated[0], folder) == VALIDATORS[path].is_valid(mutated[0])


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("clauses.json", {"level": "may"}),
        ("clauses.json", {"side": "both"}),
        ("clauses.json", {"provenance": "invented"}),
        ("clauses.json", {"evidence": []}),
        ("clauses.json", {"id": "Not An Id"}),
        ("payloads.json", {"outcome": "maybe"}),
        ("payloads.json", {"status": "200"}),
        ("payloads.json", {"status": True}),
        ("payloads.json", {"headers": {"X": 1}}),
        ("errors.json", {"class_name": "lower_case"}),
        ("errors.json", {"match": [{"key": "message"}]}),
        ("orders.json", {"order_id": "007"}),
        ("orders.json", {"order_id": 7}),
        ("targets.json", {"target_class": "production"}),
        ("sources.json", {"unknown": "field"}),
    ],
)
def test_both_refuse_a_broken_record(path: str, change: dict[str, Any], tmp_path: Path) -> None:
    content = [{**CONTENT[path][0], **change}]
    assert not VALIDATORS[path].is_valid(content)
    assert not accepts(path, content, tmp_path)


@pytest.mark.parametrize("path", [path for path in LAYOUT if isinstance(CONTENT[path], list) and CONTENT[path]])
def test_both_demand_every_field_that_has_no_default(path: str, tmp_path: Path) -> None:
    (record_type,) = LAYOUT[path].__args__
    for field in msgspec.structs.fields(record_type):
        record = {name: value for name, value in CONTENT[path][0].items() if name != field.encode_name}
        assert accepts(path, [record], tmp_path) == VALIDATORS[path].is_valid([record]) == (not field.required)


# ---- errors of the loader ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"[", b"\xff", b'[{"id":"\xff"}]', b"\xef\xbb\xbf[]", b"[" * 100_000, b"null", b"NaN", b"[] []"]
)
def test_a_broken_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "sources.json").write_bytes(content)
    with pytest.raises(CorpusError, match=r"^sources\.json: "):
        _ = Corpus(tmp_path).sources


@given(content=st.binary())
def test_any_bytes_are_read_or_refused(content: bytes, folder: Path) -> None:
    (folder / "clauses.json").write_bytes(content)
    try:
        assert Corpus(folder).read("clauses.json", list[Clause]) == []
    except CorpusError:
        assert content.strip() != b"[]"


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^sources\.json cannot be read: No such file"):
        _ = Corpus(tmp_path).sources


def test_the_message_says_where_in_the_file_the_fault_is(tmp_path: Path) -> None:
    records = copy.deepcopy(CONTENT["clauses.json"])
    records[2]["level"] = "may"
    (tmp_path / "clauses.json").write_text(json.dumps(records), "utf-8")
    with pytest.raises(CorpusError, match=r"^clauses\.json: Invalid enum value 'may' - at `\$\[2\]\.level`"):
        _ = Corpus(tmp_path).clauses


def test_a_corpus_reads_a_file_only_when_it_is_asked_for(tmp_path: Path) -> None:
    shutil.copy(CORPUS.root / "sources.json", tmp_path)
    assert Corpus(tmp_path).sources == CORPUS.sources
    assert all(isinstance(source, Source) for source in CORPUS.sources.values())


# ---- the manifest ------------------------------------------------------------------------------------------


def test_the_manifest_names_every_file_with_its_digest_and_count() -> None:
    assert [entry.path for entry in CORPUS.manifest.files] == [path for path in LAYOUT if path != "MANIFEST.json"]
    for entry in CORPUS.manifest.files:
        assert entry.sha256 == CORPUS.digest(entry.path), entry.path
        assert entry.count == corpus_module.count_records(CORPUS.read(entry.path, LAYOUT[entry.path])), entry.path
    on_disk = {str(path.relative_to(CORPUS.root)) for path in CORPUS.root.glob("**/*.json")}
    assert {path for path in on_disk if not path.startswith(("schemas/", "generators/"))} == set(LAYOUT)


def test_a_digest_does_not_depend_on_line_ends(tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_bytes((CORPUS.root / "orders.json").read_bytes().replace(b"\n", b"\r\n"))
    assert Corpus(tmp_path).digest("orders.json") == CORPUS.digest("orders.json")


def test_what_is_counted_are_vectors_sequences_and_records() -> None:
    assert corpus_module.count_records(CORPUS.manifest) == 1
    assert corpus_module.count_records(CORPUS.nonces) == len(CORPUS.nonces.sequences)
    assert sum(map(corpus_module.count_records, CORPUS.vector_files.values())) == len(CORPUS.vectors)


@pytest.mark.parametrize("path", ["sources", "clauses", "payloads", "situations"])
def test_no_id_is_used_twice(path: str) -> None:
    assert len(getattr(CORPUS, path)) == len(CONTENT[f"{path}.json"])


def test_the_writer_of_the_manifest_would_change_nothing(tmp_path: Path) -> None:
    copied = tmp_path / "fixtures"
    shutil.copytree(CORPUS.root, copied)
    (tmp_path / "docs").mkdir()
    shutil.copy(CORPUS.root.parent / "docs/magic-orders.md", tmp_path / "docs")  # the writer updates its table
    script = copied / "generators" / "manifest.py"
    spec = importlib.util.spec_from_file_location("manifest_writer", script)
    assert spec
    assert spec.loader
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    writer.main()
    for path in ("MANIFEST.json", *(f"schemas/{schema_path(path).name}" for path in LAYOUT)):
        assert (copied / path).read_bytes() == (CORPUS.root / path).read_bytes(), path


# ---- finding the corpus ------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package without a corpus."""
    package = tmp_path / "site-packages" / "tn_contract"
    package.mkdir(parents=True)
    monkeypatch.setattr("tn_contract.contract.corpus.resources.files", lambda _: package)
    return package


def put(folder: Path, manifest: bytes) -> Path:
    folder.mkdir()
    (folder / "MANIFEST.json").write_bytes(manifest)
    return folder


OURS = b'{"corpus": "tn-contract", "format": 1}'
FOREIGN = [b"", b"{}", b'{"corpus": "another"}', b'{"name": "tn-contract"}', b'\xff\xfe{"corpus"']


def test_without_a_corpus_the_message_names_the_folders_and_what_to_do(package: Path) -> None:
    with pytest.raises(CorpusError, match="reinstall tn-contract") as caught:
        find_root()
    assert str(package / "fixtures") in str(caught.value)
    assert str(package.parent / "fixtures") in str(caught.value)


@pytest.mark.parametrize("manifest", FOREIGN)
def test_a_folder_of_that_name_that_is_not_ours_is_refused(manifest: bytes, package: Path) -> None:
    put(package.parent / "fixtures", manifest)
    with pytest.raises(CorpusError, match="no corpus found"):
        find_root()


@pytest.mark.parametrize("manifest", FOREIGN)
def test_a_stray_folder_does_not_hide_the_corpus_of_a_checkout(manifest: bytes, package: Path) -> None:
    put(package / "fixtures", manifest)
    ours = put(package.parent / "fixtures", OURS)
    assert find_root() == ours


def test_the_corpus_inside_the_package_comes_first(package: Path) -> None:
    ours = put(package / "fixtures", OURS)
    put(package.parent / "fixtures", OURS)
    assert find_root() == ours


def test_a_folder_without_a_manifest_is_no_corpus(package: Path) -> None:
    (package / "fixtures" / "MANIFEST.json").mkdir(parents=True)
    with pytest.raises(CorpusError, match="no corpus found"):
        find_root()


def test_the_corpus_is_loaded_once() -> None:
    assert load_corpus() is CORPUS
    assert CORPUS.root == find_root()
    assert isinstance(CORPUS.manifest, Manifest)
    assert CORPUS.clauses is CORPUS.clauses


# ---- the catalogue of errors -------------------------------------------------------------------------------


def catalogue(*kinds: tuple[str, list[Match]]) -> Corpus:
    corpus = Corpus(Path("nowhere"))
    corpus.__dict__["errors"] = [ErrorKind(kind, "Name", match, "", "synthetic", []) for kind, match in kinds]
    return corpus


def test_the_first_kind_that_matches_wins() -> None:
    corpus = catalogue(
        ("both", [Match(status=200, code=1)]),
        ("code", [Match(code=1), Match(code=2)]),
        ("status", [Match(status=200)]),
        ("key", [Match(key="errMsg")]),
        ("fallback", []),
    )
    assert corpus.classify(200, 1, ()).kind == "both"
    assert corpus.classify(403, 1, ()).kind == "code"
    assert corpus.classify(200, 2, ()).kind == "code"
    assert corpus.classify(200, 3, ("errMsg",)).kind == "status"
    assert corpus.classify(403, None, ("error", "errMsg")).kind == "key"
    assert corpus.classify(403, None, ("error",)).kind == "fallback"


@given(
    st.integers(100, 599),
    st.none() | st.integers() | st.text(),
    st.lists(st.sampled_from(FAILURE_KEYS), unique=True).map(tuple),
)
def test_every_failure_reply_has_one_kind(status: int, code: int | str | None, keys: tuple[str, ...]) -> None:
    kind = CORPUS.classify(status, code, keys)
    assert kind in CORPUS.errors
    assert kind == CORPUS.classify(status, code, keys[::-1])  # the order of the texts says nothing


@pytest.mark.parametrize("code", ["", "abc", "12x", 7777, -1, None])
def test_a_code_that_is_in_no_table_falls_back(code: int | str | None) -> None:
    assert CORPUS.classify(200, code, ("error",)).kind == "unknown-rejection"


def test_only_the_last_kind_has_no_conditions() -> None:
    assert [bool(kind.match) for kind in CORPUS.errors] == [True] * (len(CORPUS.errors) - 1) + [False]
    assert all(match != Match() for kind in CORPUS.errors for match in kind.match)


def test_each_rejection_class_has_one_kind_and_each_kind_one_class() -> None:
    classes = {
        name
        for name, member in vars(errors).items()
        if inspect.isclass(member) and issubclass(member, errors.Rejected) and member is not errors.Rejected
    }
    named = [kind.class_name for kind in CORPUS.errors]
    kinds = [kind.kind for kind in CORPUS.errors]
    assert len(set(named)) == len(named)
    assert len(set(kinds)) == len(kinds)
    assert set(named) == classes


def test_every_kind_gives_advice_and_every_rejected_payload_a_known_kind() -> None:
    assert all(kind.advice for kind in CORPUS.errors)
    kinds = {kind.kind for kind in CORPUS.errors}
    for payload in CORPUS.payloads.values():
        assert (payload.kind in kinds) if payload.outcome == "rejected" else (payload.kind is None), payload.id


def test_filling_a_payload_puts_the_order_id_in_every_place() -> None:
    assert CORPUS.payloads["success"].fill("2929292929") == b'{\n    "order_id" : 2929292929\n}'
    assert CORPUS.payloads["success-with-falsy-error"].fill("7").count(b"7") == 2
