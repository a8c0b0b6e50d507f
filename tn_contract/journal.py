"""The ordered record of exchanges. Secrets are taken out where a record is written, not afterwards."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from urllib.parse import quote, quote_plus

from msgspec import Struct, structs

from tn_contract.corpus import Scheme
from tn_contract.signing import Secret, blank
from tn_contract.wire import FAILURE_KEYS, SIGNATURE_HEADER, Headers, Reply, Request, read_body, replace

# A record keeps this much of a body; a mock that runs for weeks must not keep what strangers send it.
BODY_KEPT = 4096
STRANGE_BODY_KEPT = 200
# How the mock begins to tell of a fault that it played on a reply.
PLAYED = "the mock's fault: "
# A diagnosis looks this far back.
EARLIER_SEEN = 16

_HEX_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

_CONTRACT_MEMBERS = {"order_id", "result", "code", *FAILURE_KEYS}

# Headers that another party's record may hold as they are; all others are dropped there.
_PLAIN_HEADERS = {"content-type", "content-length", "date", "retry-after", "location", "allow"}


class Assessment(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the mock made of a request: the situation, and what it would have accepted.

    `scheme` is the generation of the protocol that the request's address belongs to.
    """

    situation: str
    payload: str = ""
    notes: tuple[str, ...] = ()
    string_to_sign: str = ""
    expected_signature: str = ""
    last_nonce: str = ""
    order_id: str = ""
    effect: Literal["none", "cancelled"] = "none"
    scheme: Scheme = "v2"


class Message(Struct, frozen=True, omit_defaults=True):
    """One side of a recorded exchange: a request has `line`, a reply has `status`."""

    headers: list[tuple[str, str]]
    body: str
    line: str = ""
    status: int = 0


class Diagnosis(Struct, frozen=True, omit_defaults=True):
    """What a client did wrong: `mistakes` are ids of `fixtures/mistakes.json`, empty when none was found.

    `signed` and `expected` are the strings to sign, the client's and the right one; they first differ at the index
    `difference`, -1 when they do not. `hint` tells what the shape of the signature says when nothing was found.
    """

    mistakes: tuple[str, ...] = ()
    told: str = ""
    fix: str = ""
    signed: str = ""
    expected: str = ""
    difference: int = -1
    hint: str = ""


def comparison(diagnosis: Diagnosis) -> list[str]:
    """Show both strings, one above the other, and a mark under the first difference; empty when there is none."""
    if diagnosis.difference < 0:
        return []
    at = len(repr(diagnosis.signed[: diagnosis.difference])) - 1
    return [
        f"signed    {diagnosis.signed!r}",
        f"wanted    {diagnosis.expected!r}",
        " " * (10 + at) + "^ differs from here",
    ]


class Exchange(Struct, frozen=True, omit_defaults=True):
    """One request with its reply or failure, the assessment of it, and what the client did wrong.

    `leaks` names the parts of the request that held the secret: `address`, `body`, or a header's name.
    """

    seq: int
    at: str
    session: str
    request: Message
    reply: Message | None = None
    failure: str = ""
    assessment: Assessment | None = None
    diagnosis: Diagnosis | None = None
    leaks: tuple[str, ...] = ()


# Names what a client did wrong: of a request, its assessment, when it came (ns), and the requests before it.
Diagnose: TypeAlias = Callable[[Request, Assessment, int, Sequence[Request]], Diagnosis | None]


@dataclass(frozen=True, slots=True)
class Redactor:
    """Takes secrets and `private_keys` out of what is written.

    With `private`, for a server that is not ours, also signatures, other headers, and of replies all but the
    contract's own members.
    """

    secrets: tuple[Secret, ...] = ()
    private_keys: tuple[str, ...] = ()
    private: bool = False

    def text(self, text: str) -> str:
        """Blank every secret, in each spelling that it may travel in; in private records signatures as well."""
        text = self._without_secrets(text)
        # Misplaced on purpose, a signature may still be good for a replay.
        return _HEX_DIGEST.sub("<signature>", text) if self.private else text

    def _without_secrets(self, text: str) -> str:
        text = blank(text, self.secrets)
        for key in self.private_keys:
            for spelling in {key, quote(key, safe=""), quote_plus(key)}:
                text = text.replace(spelling, "<api key>")
        return text

    def reveals(self, text: str) -> bool:
        """Say if a secret stands in the text, in any spelling that it may travel in."""
        return blank(text, self.secrets) != text

    def leaks(self, request: Request) -> tuple[str, ...]:
        """Name the parts of a request in which a secret stands."""
        parts = [("address", f"{request.path}?{request.query}"), ("body", _legible(request.body))]
        parts += [(name, f"{name}: {value}") for name, value in request.headers]
        return tuple(self.text(part) for part, text in parts if self.reveals(text))

    def headers(self, headers: Headers) -> list[tuple[str, str]]:
        """Keep headers; in private records only the harmless ones, and of the signature its shape."""
        kept = []
        for name, value in headers:
            if not self.private or name.lower() in _PLAIN_HEADERS:
                kept.append((self.text(name), self.text(value)))
            elif name.lower() == SIGNATURE_HEADER.lower():
                kept.append((name, f"{self._without_secrets(value)[:8]}… ({len(value)} characters)"))
        return kept

    def body(self, body: bytes) -> str:
        """Show the beginning of a body as text."""
        # Redacted before it is cut, for half a secret is a leak too.
        text = self.text(_legible(body))
        note = f"… ({len(body)} bytes)"
        return text if len(text) <= BODY_KEPT else text[: BODY_KEPT - len(note)] + note

    def reply_body(self, body: bytes) -> str:
        """Show a reply's body; in private records only the contract's own members keep their values."""
        if not self.private:
            return self.body(body)
        reading = read_body(body)
        if reading.form != "object":
            return self.body(body[:STRANGE_BODY_KEPT])
        shown = {name: value if name in _CONTRACT_MEMBERS else "…" for name, value in reading.members.items()}
        return self.body(json.dumps(shown, ensure_ascii=False).encode("utf-8", "backslashreplace"))

    def record(
        self,
        seq: int,
        at_ns: int,
        session: str,
        request: Request,
        reply: Reply | None,
        failure: str = "",
        assessment: Assessment | None = None,
        diagnosis: Diagnosis | None = None,
    ) -> Exchange:
        """Write one exchange."""
        target = request.path + (f"?{request.query}" if request.query else "")
        return Exchange(
            seq,
            timestamp(at_ns),
            self.text(session),
            Message(self.headers(request.headers), self.body(request.body), self.text(f"{request.method} {target}")),
            None if reply is None else self._reply(reply),
            self.text(failure),
            None if assessment is None else self._assessment(assessment),
            diagnosis,
            self.leaks(request),
        )  # fmt: skip

    def _reply(self, reply: Reply) -> Message:
        return Message(self.headers(reply.headers), self.reply_body(reply.body), status=reply.status)

    def _assessment(self, assessment: Assessment) -> Assessment:
        return Assessment(
            assessment.situation,
            assessment.payload,
            tuple(map(self.text, assessment.notes)),
            self.text(assessment.string_to_sign),
            assessment.expected_signature,
            assessment.last_nonce,
            assessment.order_id,
            assessment.effect,
            assessment.scheme,
        )


def _legible(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


def timestamp(nanoseconds: int) -> str:
    """RFC 3339, UTC, microseconds."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Space:
    """How many exchanges several journals may keep together: the one not written to for longest gives way."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.used = 0
        self._journals: OrderedDict[Journal, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, journal: Journal) -> None:
        """Make room for one more exchange of `journal`."""
        with self._lock:
            kept = self._journals.setdefault(journal, 0)
            self._journals.move_to_end(journal)
            if kept == journal.size:
                return
            while self.used >= self._size and len(self._journals) > 1:
                oldest, size = self._journals.popitem(last=False)
                oldest.forget()
                self.used -= size
            self._journals[journal] = kept + 1
            self.used += 1

    def leave(self, journal: Journal) -> None:
        """Give all the room of `journal` back."""
        with self._lock:
            self.used -= self._journals.pop(journal, 0)


class _Entry(Struct, gc=False):
    seq: int
    at_ns: int
    request: Request
    reply: Reply | None
    assessment: Assessment
    failure: str
    diagnosable: bool
    diagnosis: Diagnosis | None = None
    leaks: tuple[str, ...] = ()


class Journal:
    """The last `size` exchanges of one session, in order. Cheap to write, rendered when read.

    `secrets` tells which secrets may stand in what is recorded, `diagnose` names what clients did wrong, `space` is
    shared with other journals, `sink` is given every exchange at once, without a diagnosis.
    """

    def __init__(
        self,
        session: str,
        secrets: Callable[[], Iterable[Secret]] = tuple,
        size: int = 1000,
        diagnose: Diagnose | None = None,
        space: Space | None = None,
        sink: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.size = size
        self._session = session
        self._diagnose = diagnose
        self._secrets = secrets
        self._entries: deque[_Entry] = deque(maxlen=size)
        self._seq = itertools.count(1)
        self._space = space
        self._sink = sink
        self._lock = threading.Lock()

    def add(self, at_ns: int, request: Request, reply: Reply | None, assessment: Assessment, failure: str = "") -> None:
        """Append one exchange; the oldest gives way. `failure` says why the reply was lost or late."""
        entry = _Entry(0, at_ns, request, reply, assessment, failure, diagnosable=True)
        if len(request.body) > BODY_KEPT:
            redactor = self._redactor()
            entry.leaks = redactor.leaks(request)  # now, for what is kept does not show it any more
            entry.request = replace(request, body=redactor.body(request.body).encode())
            entry.diagnosable = False
        if reply and len(reply.body) > BODY_KEPT:
            entry.reply = replace(reply, body=self._redactor().body(reply.body).encode())
        if self._space:
            self._space.take(self)
        with self._lock:
            entry.seq = next(self._seq)
            self._entries.append(entry)
        if self._sink:
            self._sink(self._rendered(entry, self._redactor(), None))

    def clear(self) -> None:
        """Forget everything, and number from 1 again."""
        if self._space:
            self._space.leave(self)
        self._entries.clear()
        self._seq = itertools.count(1)

    def forget(self) -> None:
        """Let the exchanges go, and number on."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _redactor(self) -> Redactor:
        return Redactor(tuple(self._secrets()))

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges kept, oldest first; `seq` starts above 1 when older ones are gone."""
        redactor, entries = self._redactor(), tuple(self._entries)
        return [
            self._rendered(entry, redactor, entries[max(0, index - EARLIER_SEEN) : index])
            for index, entry in enumerate(entries)
        ]

    def _rendered(self, entry: _Entry, redactor: Redactor, before: Sequence[_Entry] | None) -> Exchange:
        record = redactor.record(
            entry.seq,
            entry.at_ns,
            self._session,
            entry.request,
            entry.reply,
            entry.failure,
            entry.assessment,
            None if before is None else self._diagnosis(entry, before),
        )
        return structs.replace(record, leaks=entry.leaks) if entry.leaks else record

    def _diagnosis(self, entry: _Entry, before: Sequence[_Entry]) -> Diagnosis | None:
        # Once per entry and only when somebody reads: it costs a hundred times what answering does.
        if entry.diagnosable and self._diagnose:
            requests = [each.request for each in before]
            entry.diagnosis = self._diagnose(entry.request, entry.assessment, entry.at_ns, requests)
            entry.diagnosable = False
        return entry.diagnosis
