"""Loads `fixtures/` into typed records. The corpus is data for any language; this is its one reader in Python.

`fixtures/README.md` explains the words; `fixtures/schemas/` is generated from the records below.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tn_contract.contract.errors import CorpusError

Provenance = Literal["documented", "official", "attested", "synthetic"]
Level = Literal["must", "should", "observed"]
Side = Literal["server", "client"]
Scheme = Literal["v2", "v3"]
Outcome = Literal["accepted", "rejected", "unknown"]
TargetClass = Literal["loopback", "sandbox", "live"]
Fault = Literal[
    "delay", "dribble", "chunked", "long", "closing", "silence", "late", "stall-status", "stall-header",
    "stall-body", "stall-chunk", "drop", "reset", "cut-off", "wrong-length", "garbage",
]  # fmt: skip

Id = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Decimal = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]*)$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

_NAME = re.compile(r"\$([a-z_]+)")


class Record(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every record: an unknown field is an error."""


class Source(Record):
    """One place that facts come from; everything else refers to it by `id`."""

    id: Id
    provenance: Provenance
    title: str
    publisher: str
    url: str
    retrieved: str


class Evidence(Record):
    """Where in a source a fact stands, with the words as printed (or what we changed)."""

    source: Id
    locator: str
    quote: str = ""
    note: str = ""


class Clause(Record):
    """One sentence of the contract; `scheme` is the generation of the protocol that it speaks of."""

    id: Id
    statement: str
    level: Level
    side: Side
    scheme: Literal["v2", "v3", "any"]
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]
    open_question: str = ""


class Payload(Record, kw_only=True):
    """One reply of the server. `$order_id` in `body` stands for the digits that were asked for.

    Other names with a dollar stand for what the mock's order book says: see `fixtures/README.md`.
    """

    id: Id
    title: str
    outcome: Outcome
    kind: Id | None = None
    status: int = 200
    headers: dict[str, str] = msgspec.field(default_factory=lambda: {"Content-Type": "application/json"})
    body: str
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]

    def fill(self, order_id: str, values: Mapping[str, str] | None = None) -> bytes:
        """Return the body for the order asked for; `values` are texts for its other names, null for those without."""
        body = self.body.replace("$order_id", order_id or "null")
        if "$" in body:
            body = _NAME.sub(lambda name: (values or {}).get(name[1], "null"), body)
        return body.encode()


class Match(Record):
    """Conditions on a failure reply that must all hold: HTTP status, `code`, one of the failure keys."""

    status: int | None = None
    code: int | None = None
    key: Literal["errMsg", "error", "errorMsg"] | None = None


class ErrorKind(Record):
    """A kind of rejection: how to recognise it, which class reports it, what to do."""

    kind: Id
    class_name: Annotated[str, Meta(pattern=r"^[A-Z][A-Za-z]+$")]
    match: list[Match]
    advice: str
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]


class Situation(Record):
    """Why the mock refuses a request by itself, and the payload that it answers with by default.

    `payload_v3` is what it answers to a v3 request, where that is another payload; `also` are others worth choosing.
    """

    id: Id
    statement: str
    payload: Id
    payload_v3: Id | None = None
    also: list[Id] = []

    def payload_for(self, scheme: Scheme) -> str:
        """Return the id of the payload for one generation of the protocol."""
        return (scheme == "v3" and self.payload_v3) or self.payload


# What the mock does instead of answering, in words.
FAULTS: dict[Fault, str] = {
    "delay": "documented success, a second late",
    "dribble": "documented success, piece by piece, for a second",
    "chunked": "documented success in chunks, with a trailer",
    "long": "documented success behind 100 kB of white space",
    "closing": "documented success on a connection that closes after it",
    "silence": "nothing for a minute",
    "late": "documented success four seconds late, after most time limits",
    "stall-status": "stalls in the status line",
    "stall-header": "stalls in the headers",
    "stall-body": "stalls in the middle of the body",
    "stall-chunk": "stalls before the last chunk",
    "drop": "hangs up without a reply",
    "reset": "resets the connection (RST)",
    "cut-off": "hangs up in the middle of the body",
    "wrong-length": "documented success with a length that promises more, then hangs up",
    "garbage": "bytes that are no HTTP",
}


# Those after which the whole reply has come, to a client that waits a second.
WHOLE: frozenset[Fault] = frozenset(("delay", "dribble", "chunked", "long", "closing"))


class MagicOrder(Record):
    """An order id that makes the mock answer a cancel with one payload, perhaps spoilt on its way by a fault.

    `applied`: whether the order was cancelled before its reply was lost.
    """

    order_id: Decimal
    payload: Id
    fault: Fault | None = None
    applied: bool = True

    @property
    def loses_reply(self) -> bool:
        """Whether no complete reply arrives."""
        return self.fault is not None and self.fault not in WHOLE

    @property
    def told(self) -> str:
        """What its fault does, in words; empty without one."""
        return f"{FAULTS[self.fault]}; the order {'is' if self.applied else 'is not'} cancelled" if self.fault else ""


class Status(Record):
    """What a number in `stat` means. `ended`: nothing more happens to the order."""

    status: int
    meaning: str
    ended: bool
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]


class Target(Record):
    """A known host and what stands behind it. One that is not listed is treated as `address.classify` says."""

    host: str
    target_class: TargetClass
    evidence: Annotated[list[Evidence], Meta(min_length=1)]


class Passage(Record):
    """One statement of the seed page, and the ids that cover it."""

    locator: str
    says: str
    covered_by: Annotated[list[str], Meta(min_length=1)]


class Flag(Record):
    """What a flag on a vector means."""

    description: str
    effect: str


class Generator(Record):
    """A program that is not this package and gives the same values."""

    name: Literal["node", "php", "openssl", "published"]
    version: str
    command: str


class KeyPair(Record):
    """Throw-away credentials of a vector group."""

    api_key: str
    secret: str


class Mistake(Record):
    """What a wrong signer did: `digest` of `signed` under `secret`, written in `encoding`.

    Plain digests ignore `secret`; `secret_form` tells how its text is to be read. `hex-last-digit-changed`: the
    last digit plus one, `f` becomes `0`.
    """

    signed: str
    secret: str
    digest: Literal[
        "hmac-sha256", "hmac-sha1", "hmac-md5", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha3-256",
        "sha256", "md5"
    ] = "hmac-sha256"  # fmt: skip
    secret_form: Literal["utf8", "hex", "base64"] = "utf8"  # noqa: S105 # no secret
    encoding: Literal["hex", "upper-hex", "base64", "hex-truncated-32", "hex-last-digit-changed"] = "hex"


class Vector(Record, kw_only=True):
    """One signing example with every stage. `result` is `invalid` when `signature` must be refused.

    v2 starts from `parameters`, v3 from the `body` as it is sent and the `timestamp` (Unix seconds as text).
    """

    id: Id
    comment: str
    flags: list[str]
    result: Literal["valid", "invalid"]
    parameters: dict[str, Any] = {}
    timestamp: str = ""
    string_to_sign: str
    signature: str
    body: str = ""
    headers: dict[str, str] = {}
    mistake: Mistake | None = None
    violates: Id | None = None


class VectorGroup(Record):
    """Vectors that share credentials and origin."""

    id: Id
    scheme: Scheme
    credentials: KeyPair
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]
    generators: Annotated[list[Generator], Meta(min_length=1)]
    vectors: Annotated[list[Vector], Meta(min_length=1)]


class VectorFile(Record):
    """A file of vectors; every flag used is explained in `notes`."""

    notes: dict[str, Flag]
    groups: Annotated[list[VectorGroup], Meta(min_length=1)]


class Example(Record):
    """A raw HTTP request that is refused: in which situation, and what the server knew.

    Its key is `public` with the secret `secret`; `at` (ns since 1970) is when it came, `earlier` what came before.
    """

    request: str
    situation: Id
    last_nonce: Decimal | None = None
    at: Decimal | None = None
    earlier: list[str] = []


class NamedMistake(Record, kw_only=True):
    """What a client may do wrong, by name; shown by invalid vectors or by an example.

    `fix_v3` is what to do about it in v3, where that is something else.
    """

    id: Id
    group: Literal[
        "header", "fields", "order", "text", "value", "secret", "digest", "writing", "nonce", "body"
    ]  # fmt: skip
    title: str
    fix: str
    fix_v3: str = ""
    vectors: list[Id] = []
    example: Example | None = None
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]

    def fix_for(self, scheme: Scheme) -> str:
        """Return what to do about it in one generation of the protocol."""
        return (scheme == "v3" and self.fix_v3) or self.fix


class NonceStep(Record, kw_only=True):
    """One request of a sequence: `nonce` is its text, None when the field is missing."""

    key: str = "a"
    nonce: str | None
    signature: Literal["valid", "invalid"] = "valid"
    expect: Literal["accepted", "nonce-missing", "nonce-malformed", "nonce-replayed", "nonce-stale", "signature"]


class NonceSequence(Record):
    """Requests in order, and what a server that demands strictly rising nonces answers."""

    id: Id
    comment: str
    flags: list[str]
    steps: Annotated[list[NonceStep], Meta(min_length=1)]


class NonceFile(Record):
    """The nonce sequences; every flag used is explained in `notes`."""

    notes: dict[str, Flag]
    provenance: Provenance
    evidence: Annotated[list[Evidence], Meta(min_length=1)]
    sequences: Annotated[list[NonceSequence], Meta(min_length=1)]


class FileEntry(Record):
    """One file of the corpus as the manifest knows it."""

    path: str
    sha256: Digest
    count: int


class Retired(Record):
    """An id that was used once and must never be used again."""

    id: str
    since: str
    reason: str


class Manifest(Record):
    """MANIFEST.json: what belongs to the corpus."""

    corpus: Literal["tn-contract"]
    format: Literal[1]
    version: str
    files: list[FileEntry]
    retired: list[Retired]


T = TypeVar("T")

# File (or folder of files) → the type of its content. The schemas are generated from this table.
LAYOUT: dict[str, Any] = {
    "MANIFEST.json": Manifest,
    "sources.json": list[Source],
    "clauses.json": list[Clause],
    "payloads.json": list[Payload],
    "errors.json": list[ErrorKind],
    "situations.json": list[Situation],
    "orders.json": list[MagicOrder],
    "statuses.json": list[Status],
    "mistakes.json": list[NamedMistake],
    "targets.json": list[Target],
    "seed.json": list[Passage],
    "nonces.json": NonceFile,
    "vectors/published.json": VectorFile,
    "vectors/v2.json": VectorFile,
    "vectors/v2-invalid.json": VectorFile,
    "vectors/v3.json": VectorFile,
    "vectors/v3-invalid.json": VectorFile,
}


def count_records(content: Any) -> int:
    """Count what a corpus file holds: vectors, sequences, or the entries of its list."""
    if isinstance(content, VectorFile):
        return sum(len(group.vectors) for group in content.groups)
    if isinstance(content, NonceFile):
        return len(content.sequences)
    return len(content) if isinstance(content, list) else 1


def find_root() -> Path:
    """Find the corpus: inside the installed package, else beside it in a checkout.

    A folder counts only if its manifest is ours. Raises `CorpusError` when there is none.
    """
    package = Path(str(resources.files("tn_contract")))
    candidates = (package / "fixtures", package.parent / "fixtures")
    for root in candidates:
        manifest = root / "MANIFEST.json"
        if manifest.is_file() and re.search(rb'"corpus":\s*"tn-contract"', manifest.read_bytes()):
            return root
    raise CorpusError(f"no corpus found in {' or '.join(map(str, candidates))}: reinstall tn-contract")


def schema_of(kind: Any, title: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record type."""
    schema = msgspec.json.schema(kind)
    for definition in schema.get("$defs", {}).values():
        if "description" in definition:  # some versions of msgspec keep the indentation of a docstring
            definition["description"] = inspect.cleandoc(definition["description"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


@dataclass(frozen=True)
class Corpus:
    """The corpus under `root`; each file is read when first asked for. Raises `CorpusError` on bad content."""

    root: Path

    def read(self, path: str, kind: type[T] | Any) -> Any:
        """Read and validate one file."""
        try:
            return msgspec.json.decode((self.root / path).read_bytes(), type=kind)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}: {error}") from error

    @cached_property
    def manifest(self) -> Manifest:
        """What belongs to the corpus, with digests."""
        manifest: Manifest = self.read("MANIFEST.json", Manifest)
        return manifest

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The provenance registry by id."""
        return {source.id: source for source in self.read("sources.json", list[Source])}

    @cached_property
    def clauses(self) -> dict[str, Clause]:
        """The contract by clause id."""
        return {clause.id: clause for clause in self.read("clauses.json", list[Clause])}

    @cached_property
    def payloads(self) -> dict[str, Payload]:
        """The replies by id."""
        return {payload.id: payload for payload in self.read("payloads.json", list[Payload])}

    @cached_property
    def errors(self) -> list[ErrorKind]:
        """The error catalogue in order of precedence."""
        kinds: list[ErrorKind] = self.read("errors.json", list[ErrorKind])
        return kinds

    @cached_property
    def situations(self) -> dict[str, Situation]:
        """Why the mock refuses by itself, by id."""
        return {situation.id: situation for situation in self.read("situations.json", list[Situation])}

    @cached_property
    def magic_orders(self) -> dict[str, MagicOrder]:
        """The magic orders by order id."""
        return {order.order_id: order for order in self.read("orders.json", list[MagicOrder])}

    @cached_property
    def statuses(self) -> dict[int, Status]:
        """What the numbers in `stat` mean."""
        return {status.status: status for status in self.read("statuses.json", list[Status])}

    @property
    def replies(self) -> dict[str, str]:
        """For each payload that a magic order provokes undisturbed, that order's id."""
        return {order.payload: order.order_id for order in self.magic_orders.values() if not order.fault}

    def expected_report(self, order_id: str) -> tuple[Outcome, str | None]:
        """What a client must report of a cancel of this order: the outcome, and the kind of a rejection."""
        order = self.magic_orders.get(order_id)
        if order is None:
            return "accepted", None
        payload = self.payloads[order.payload]
        return ("unknown", None) if order.loses_reply else (payload.outcome, payload.kind)

    @cached_property
    def mistakes(self) -> dict[str, NamedMistake]:
        """What clients do wrong, by id."""
        return {mistake.id: mistake for mistake in self.read("mistakes.json", list[NamedMistake])}

    @cached_property
    def targets(self) -> list[Target]:
        """The known hosts."""
        targets: list[Target] = self.read("targets.json", list[Target])
        return targets

    @cached_property
    def nonces(self) -> NonceFile:
        """The nonce sequences."""
        nonces: NonceFile = self.read("nonces.json", NonceFile)
        return nonces

    @cached_property
    def vector_files(self) -> dict[str, VectorFile]:
        """The vector files by path."""
        return {path: self.read(path, VectorFile) for path in sorted(LAYOUT) if path.startswith("vectors/")}

    @property
    def vectors(self) -> list[tuple[VectorGroup, Vector]]:
        """Every vector with its group."""
        return [
            (group, vector) for file in self.vector_files.values() for group in file.groups for vector in group.vectors
        ]

    def classify(self, status: int, code: int | str | None, keys: tuple[str, ...]) -> ErrorKind:
        """Find the kind of a failure reply: the first whose conditions hold, else the fallback (no conditions).

        Codes decide, then HTTP status; the text never does, for it is localised.
        """
        for kind in self.errors:
            for match in kind.match:
                if (
                    match.status in (None, status)
                    and match.code in (None, code)
                    and (match.key is None or match.key in keys)
                ):
                    return kind
        return self.errors[-1]

    def digest(self, path: str) -> str:
        """SHA-256 of one file, line ends as in the repository."""
        return hashlib.sha256((self.root / path).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@cache
def load_corpus() -> Corpus:
    """Return the corpus that belongs to this package."""
    return Corpus(find_root())
