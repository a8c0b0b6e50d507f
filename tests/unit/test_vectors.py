"""The signing vectors: judged by our own signer, and recomputed by programs that share no code with it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tn_contract.contract import signing, wire
from tn_contract.contract.corpus import KeyPair, Mistake, Vector, VectorFile, load_corpus

CORPUS = load_corpus()
GENERATORS = CORPUS.root / "generators"
PATHS = [CORPUS.root / path for path in CORPUS.vector_files]
ALL = [(vector, group.credentials) for group, vector in CORPUS.vectors]
V3 = [(vector, group.credentials) for group, vector in CORPUS.vectors if group.scheme == "v3"]
V2 = [case for case in ALL if case not in V3]
VALID = [(vector, keys) for vector, keys in V2 if vector.result == "valid"]
INVALID = [(vector, keys) for vector, keys in V2 if vector.result == "invalid"]
WITH_BODY = [(vector, keys) for vector, keys in V2 if vector.body]

Case = tuple[Vector, KeyPair]


def name(case: Case) -> str:
    return case[0].id


def run(program: str, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run(
        [found, *arguments], input=stdin, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


# ---- our signer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", VALID, ids=name)
def test_signing_gives_every_stage_of_a_valid_vector(case: Case) -> None:
    vector, keys = case
    signed = signing.sign(vector.parameters, keys.secret)
    assert signed.string_to_sign == vector.string_to_sign
    assert signed.signature == vector.signature
    assert signing.verify(vector.string_to_sign, signing.Secret(keys.secret), vector.signature)


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_the_signature_of_an_invalid_vector_is_refused(case: Case) -> None:
    vector, keys = case
    assert signing.canonical_string(vector.parameters) == vector.string_to_sign
    assert not signing.verify(vector.string_to_sign, signing.Secret(keys.secret), vector.signature)


@pytest.mark.parametrize("case", WITH_BODY, ids=name)
def test_the_form_body_is_written_as_in_the_vector(case: Case) -> None:
    vector, _ = case
    assert wire.encode_form(vector.parameters) == vector.body.encode("ascii")


@pytest.mark.parametrize("case", WITH_BODY, ids=name)
def test_the_parsed_body_leads_back_to_the_string_to_sign(case: Case) -> None:
    vector, _ = case
    parsed = wire.nest(wire.parse_fields(vector.body.encode("ascii")))
    assert signing.canonical_string(parsed) == vector.string_to_sign


@pytest.mark.parametrize("case", V3, ids=name)
def test_a_v3_vector_is_the_request_that_the_kit_composes_but_for_a_wrong_signature(case: Case) -> None:
    vector, keys = case
    credentials = signing.Credentials(keys.api_key, signing.Secret(keys.secret))
    signed = wire.sign_body(credentials, "delTradeOrder", vector.timestamp, vector.body.encode())
    assert signed.string_to_sign == vector.string_to_sign == vector.body + vector.timestamp
    assert signed.request.body == vector.body.encode()
    assert (signed.signature == vector.signature) == (vector.result == "valid")
    composed = wire.with_signature(signed.request, vector.signature)
    assert dict(composed.headers) == vector.headers


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b'{"order_id":2929292929}', "7d188036d889f8a318f324a7bf1d32cb7019c7d8c6701d2cf3bc0eaf92d80062"),
        (b"{}", "8fb127cc8c5b6431435f5b344626a2223f2a364e6e5a8af0c4fca32b31d2eb52"),
        (b"", "4b227f8831b3763d066901751ad4c583ed08832bf1924a4ec50c2e871b1e8586"),
    ],
)
def test_the_corpus_holds_the_signatures_that_others_computed_from_the_published_rule(
    body: bytes, signature: str
) -> None:
    signatures = [
        vector.signature for vector, _ in V3 if (vector.body.encode(), vector.timestamp) == (body, "1700000000")
    ]
    assert signature in signatures


# ---- foreign generators ------------------------------------------------------------------------------------

CHECKERS = [("node", "sign.mjs"), ("php", "sign.php")]


@pytest.mark.slow
@pytest.mark.parametrize(("program", "script"), CHECKERS)
def test_a_foreign_program_recomputes_every_vector(program: str, script: str) -> None:
    result = run(program, GENERATORS / script, "check", *PATHS)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(ALL)} vectors, 0 differences" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("program", "script"), CHECKERS)
@pytest.mark.parametrize(
    ("scheme", "stage"),
    [
        *(("v2", stage) for stage in ("string_to_sign", "signature", "body", "headers")),
        *(("v3", stage) for stage in ("string_to_sign", "signature", "timestamp", "headers")),
    ],
)
def test_a_foreign_program_names_a_vector_that_was_changed(
    program: str, script: str, scheme: str, stage: str, tmp_path: Path
) -> None:
    file = json.loads((CORPUS.root / f"vectors/{scheme}.json").read_text("utf-8"))
    vector = file["groups"][0]["vectors"][3]
    if stage == "headers":
        vector["headers"]["X-NtApi-Sig"] = "0" * 64
    else:
        vector[stage] += "0"
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(file), "utf-8")
    result = run(program, GENERATORS / script, "check", changed)
    assert result.returncode == 1
    named = "string_to_sign" if stage == "timestamp" else stage.removesuffix("s")
    assert f"{vector['id']}: {named}" in result.stdout


def key_of(mistake: Mistake) -> bytes:
    if mistake.secret_form == "hex":
        return bytes.fromhex(mistake.secret)
    return (
        base64.b64decode(mistake.secret) if mistake.secret_form == "base64" else mistake.secret.encode() or b"\0"
    )  # HMAC pads with zeros


ENCODINGS: dict[str, Callable[[str], str]] = {
    "hex": str,
    "upper-hex": str.upper,
    "base64": lambda digest: base64.b64encode(bytes.fromhex(digest)).decode(),
    "hex-truncated-32": lambda digest: digest[:32],
    "hex-last-digit-changed": lambda digest: digest[:-1] + f"{(int(digest[-1], 16) + 1) % 16:x}",
}


@pytest.mark.slow
def test_openssl_recomputes_every_signature(tmp_path: Path) -> None:
    mistakes = {vector.id: vector.mistake or Mistake(vector.string_to_sign, keys.secret) for vector, keys in ALL}
    together: dict[tuple[str, bytes], list[str]] = {}
    for vector_id, mistake in mistakes.items():
        (tmp_path / vector_id).write_bytes(mistake.signed.encode())
        together.setdefault((mistake.digest, key_of(mistake)), []).append(vector_id)
    computed = {}
    for (digest, key), vector_ids in together.items():
        keyed = ["-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"] if digest.startswith("hmac-") else []
        files = [tmp_path / vector_id for vector_id in vector_ids]
        result = run("openssl", "dgst", f"-{digest.removeprefix('hmac-')}", *keyed, "-r", *files)
        assert result.returncode == 0, result.stderr
        for vector_id, line in zip(vector_ids, result.stdout.splitlines(), strict=True):
            computed[vector_id] = ENCODINGS[mistakes[vector_id].encoding](line.partition(" ")[0])
    assert computed == {vector.id: vector.signature for vector, _ in ALL}


def test_the_openssl_script_signs_as_the_vectors_say() -> None:
    vector, keys = next((vector, keys) for vector, keys in V2 if vector.result == "valid")
    result = run("sh", GENERATORS / "openssl.sh", "hmac-sha256", "hex", keys.secret, vector.string_to_sign)
    assert result.stdout.strip() == vector.signature


@pytest.mark.slow
def test_the_vector_files_are_what_the_inputs_give(tmp_path: Path) -> None:
    result = run("node", GENERATORS / "sign.mjs", "write", tmp_path)
    assert result.returncode == 0, result.stderr
    for path in ("v2.json", "v2-invalid.json", "v3.json", "v3-invalid.json"):
        assert (tmp_path / path).read_text("utf-8") == (CORPUS.root / "vectors" / path).read_text("utf-8")


# ---- the files themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CORPUS.vector_files)
def test_every_flag_is_explained_and_every_explanation_used(path: str) -> None:
    file: VectorFile = CORPUS.vector_files[path]
    used = {flag for group in file.groups for vector in group.vectors for flag in vector.flags}
    assert used == set(file.notes)
    assert all(vector.flags for group in file.groups for vector in group.vectors)


def test_no_id_is_used_twice() -> None:
    vectors = [vector.id for vector, _ in ALL]
    groups = [group.id for file in CORPUS.vector_files.values() for group in file.groups]
    assert len(set(vectors)) == len(vectors)
    assert len(set(groups)) == len(groups)


def no_big_integer(text: str) -> int:
    assert abs(int(text)) < 2**53, f"{text} would be rounded by readers that use floats: write it as text"
    return int(text)


def no_float(text: str) -> Any:
    pytest.fail(f"{text} is a float: write it as text")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_no_number_in_a_vector_file_can_be_rounded(path: Path) -> None:
    json.loads(path.read_text("utf-8"), parse_int=no_big_integer, parse_float=no_float)


@pytest.mark.parametrize("case", ALL, ids=name)
def test_result_mistake_and_clause_go_together(case: Case) -> None:
    vector, keys = case
    if vector.result == "valid":
        assert vector.mistake is None
        assert vector.violates is None
    else:
        assert vector.mistake is not None
        assert vector.mistake != Mistake(vector.string_to_sign, keys.secret)
        assert vector.violates in CORPUS.clauses


@pytest.mark.parametrize("case", WITH_BODY, ids=name)
def test_a_vector_with_a_body_is_a_request_of_its_group(case: Case) -> None:
    vector, keys = case
    assert vector.parameters["apiKey"] == keys.api_key
    assert vector.headers == {"Content-Type": wire.FORM_TYPE, wire.SIGNATURE_HEADER: vector.signature}


def test_nothing_separates_a_v3_body_from_its_timestamp() -> None:
    twins = [vector for vector, _ in V3 if vector.result == "valid" and vector.string_to_sign == "1700000000"]
    assert len({(vector.body, vector.timestamp) for vector in twins}) == 2
    assert len({vector.signature for vector in twins}) == 1


def test_an_ambiguous_vector_shares_its_string_with_another() -> None:
    for vector, _ in VALID:
        twins = [other for other, _ in VALID if other.string_to_sign == vector.string_to_sign]
        different = [other.id for other in twins if other.parameters != vector.parameters]
        assert bool(different) == ("ambiguous" in vector.flags), vector.id


def test_other_spellings_of_one_letter_have_other_signatures() -> None:
    signatures = [vector.signature for vector, _ in VALID if "normalisation" in vector.flags]
    assert len(set(signatures)) == len(signatures) > 1
