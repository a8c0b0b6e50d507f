"""The ordered record of exchanges. Secrets are taken out where a record is written, not afterwards."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, TypeAlias, overload

from msgspec import Struct

from tn_contract.contract.corpus import Scheme
from tn_contract.contract.redaction import MARK, Matcher, Span, encoded, matcher_of, replaced
from tn_contract.contract.signing import Secret
from tn_contract.contract.text import escape
from tn_contract.contract.wire import FAILURE_KEYS, SIGNATURE_HEADER, Headers, Reply, Request, read_body, replace

# A record keeps this much of a body; a mock that runs for weeks must not keep what strangers send it.
BODY_KEPT = 4096
STRANGE_BODY_KEPT = 200
# How the mock begins to tell of a fault that it played on a reply.
PLAYED = "the mock's fault: "
# So much of a body is searched for secrets: one that begins in what is shown ends in this.
BODY_EXAMINED = 7 * 1024
HEAD_KEPT = 8 * 1024  # of an address, and of all headers together
# A diagnosis looks this far back.
EARLIER_SEEN = 16
# So many exchanges are diagnosed when a journal is read, the newest first; the next reading goes on.
DIAGNOSED = 100
IN_VAIN = 8  # of those that find no mistake, which cost most

_HEX_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_CLEARED = "\0"  # in place of a header's name
_CLEAN = 256  # texts of at most so many characters are remembered to hold no secret, and so many of them

_CONTRACT_MEMBERS = {"order_id", "result", "code", *FAILURE_KEYS}

# Headers that another party's record may hold as they are; all others are dropped there.
_PLAIN_HEADERS = {"content-type", "content-length", "date", "retry-after", "location", "allow"}


class Assessment(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the mock made of a request: the situation, and what it would have accepted.

    `scheme` is the generation of the protocol that the request's address belongs to; the whole reply is sent `late`
    seconds after the request came, if not sooner.
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
    late: float = 0.0


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
    at = len(escape(diagnosis.signed[: diagnosis.difference])) + 1
    return [
        f"signed    '{escape(diagnosis.signed)}'",
        f"wanted    '{escape(diagnosis.expected)}'",
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


class Deferred(Sequence[Exchange]):
    """Exchanges that are written when they are first looked at, because those of checks that pass mostly never are."""

    def __init__(self, records: Iterable[Callable[[], Exchange]] = ()) -> None:
        self._records = tuple(records)

    @cached_property
    def _written(self) -> tuple[Exchange, ...]:
        return tuple(record() for record in self._records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Exchange: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Exchange]: ...
    def __getitem__(self, index: int | slice) -> Exchange | Sequence[Exchange]:
        return self._written[index]


class Redactor:
    """Takes secrets and `private_keys` out of what is written, in whatever way they are spelled there.

    With `private`, for a server that is not ours, also signatures, other headers, and of replies all but the
    contract's own members.
    """

    __slots__ = ("_clean", "_hides", "_marked", "_matcher", "_version", "private")

    def __init__(
        self, secrets: Matcher | Iterable[Secret] = (), private_keys: Iterable[str] = (), private: bool = False
    ) -> None:
        self.private = private
        self._matcher = matcher_of(secrets)
        keys = matcher_of(map(Secret, private_keys))
        self._marked = [(self._matcher.spans, MARK), (keys.spans, "<api key>")]
        self._hides = private or bool(keys)
        self._clean: set[tuple[str, str]] = set()
        self._version = self._matcher.version

    def text(self, text: str, limit: int | None = None) -> str:
        """Blank every secret; in private records signatures as well. Show no more than `limit` characters of it."""
        if not (self._hides or self._matcher):
            return text if limit is None else text[:limit]
        if self._is_clean("", text):
            return text if limit is None else text[:limit]
        # Misplaced on purpose, a signature may still be good for a replay.
        marked = [*self._marked, (_digests, "<signature>")] if self.private else self._marked
        shown = replaced(text, marked)
        if shown == text:
            self._keep_clean([("", text)])
        return shown if limit is None else replaced(text, marked, limit)

    def reveals(self, text: str) -> bool:
        """Say if a secret stands in the text, in any spelling that it may travel in."""
        # Remembered apart from `text`, which looks for private keys too.
        if self._is_clean("", text) or self._is_clean(_CLEARED, text):
            return False
        found = bool(self._matcher.spans(encoded(text)[0]))
        if not found:
            self._keep_clean([(_CLEARED, text)])
        return found

    def _is_clean(self, name: str, text: str) -> bool:
        """Return whether these were searched before, for all that is searched now, and nothing was found."""
        if self._version != self._matcher.version:
            self._version = self._matcher.version
            self._clean.clear()
        return (name, text) in self._clean

    def _keep_clean(self, pairs: Iterable[tuple[str, str]]) -> None:
        if len(self._clean) > _CLEAN:
            self._clean.clear()
        self._clean.update((name, text) for name, text in pairs if len(name) + len(text) <= _CLEAN)

    def leaks(self, request: Request) -> tuple[str, ...]:
        """Name the parts of a request in which a secret stands."""
        parts = [("address", f"{request.path}?{request.query}"), ("body", _examined(request.body))]
        parts += [(name, f"{name}: {value}") for name, value in request.headers]
        return tuple(self.text(part) for part, text in parts if self.reveals(text))

    def headers(self, headers: Headers) -> list[tuple[str, str]]:
        """Keep headers; in private records only the harmless ones, and of the signature its shape."""
        if not (self._hides or self._matcher):
            return list(headers)
        kept = []
        for name, value in headers:
            if not self.private or name.lower() in _PLAIN_HEADERS:
                kept.append((self.text(name), self.text(value)))
            elif name.lower() == SIGNATURE_HEADER.lower():
                kept.append((name, f"{replaced(value, self._marked)[:8]}… ({len(value)} characters)"))
        return kept

    def body(self, body: bytes, size: int = 0, kept: int = BODY_KEPT) -> str:
        """Show the beginning of a body as text; `size` is that of the whole body, if `body` is its beginning."""
        size = max(size, len(body))
        text = _examined(body)
        if size == len(body) and _whole(body, text):
            shown = self.text(text)
            if len(shown) <= kept:
                return shown
        note = f"… ({size} bytes)"
        return self.text(text, kept)[: kept - len(note)] + note

    def reply_body(self, body: bytes, size: int = 0) -> str:
        """Show a reply's body; in private records only the contract's own members keep their values."""
        if not self.private:
            return self.body(body, size)
        reading = read_body(body)
        if reading.form != "object":
            return self.text(_examined(body), STRANGE_BODY_KEPT)[:STRANGE_BODY_KEPT]
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
        sizes: tuple[int, int] = (0, 0),
    ) -> Exchange:
        """Write one exchange; `sizes` are those of both bodies, where only their beginnings are at hand."""
        line = f"{request.method} {request.path}" + (f"?{request.query}" if request.query else "")
        # Mostly there is no secret anywhere, and that is found out quicker for everything together.
        texts = [_examined(request.body)]
        usual = [("", text) for text in (session, line, failure) if text]
        if assessment:
            texts.append(assessment.string_to_sign)
            usual += [("", note) for note in assessment.notes]
        if reply:
            texts.append(_examined(reply.body))
        found = self._hides_something(texts, (*usual, *request.headers, *(reply.headers if reply else ())))
        use = self if found else _NOTHING_HIDDEN
        return Exchange(
            seq,
            timestamp(at_ns),
            use.text(session),
            Message(use.headers(request.headers), use.body(request.body, sizes[0]), use.text(line)),
            None if reply is None else use.reply(reply, sizes[1]),
            use.text(failure),
            None if assessment is None else use.assessment(assessment),
            diagnosis,
            self.leaks(request) if found else (),
        )  # fmt: skip

    def _hides_something(self, texts: list[str], usual: Headers) -> bool:
        """Say if there is anything to take out; `usual` are pairs of texts that mostly come again."""
        if self.private:
            return True
        fresh = [pair for pair in usual if not self._is_clean(*pair)]
        data = encoded("\n".join([*texts, *(text for pair in fresh for text in pair)]))[0]
        if any(find(data) for find, _ in self._marked):
            return True
        self._keep_clean(fresh)
        return False

    def reply(self, reply: Reply, size: int = 0) -> Message:
        """Keep a reply; `size` is that of its whole body."""
        return Message(self.headers(reply.headers), self.reply_body(reply.body, size), status=reply.status)

    def assessment(self, assessment: Assessment) -> Assessment:
        """Keep an assessment."""
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
            assessment.late,
        )


_NOTHING_HIDDEN = Redactor()


def _digests(data: bytes) -> list[Span]:
    return [match.span() for match in _HEX_DIGEST.finditer(data)]


def _examined(body: bytes) -> str:
    return body[: 4 * BODY_EXAMINED].decode("utf-8", "backslashreplace")[:BODY_EXAMINED]


def _whole(body: bytes, examined: str) -> bool:
    return len(body) <= BODY_EXAMINED or (len(body) <= 4 * BODY_EXAMINED and len(examined) < BODY_EXAMINED)


def _beginning(body: bytes) -> bytes:
    """Return of a body what is kept of it."""
    text = _examined(body)
    return body if _whole(body, text) else text.encode()


def _usual_head(request: Request) -> Request:
    """Leave out what is too long to keep: not cut, for half a secret is a leak too."""
    address = len(request.path) + len(request.query)
    if address > HEAD_KEPT:
        request = replace(request, path=f"({address} characters: too long to keep)", query="")
    if sum(map(len, itertools.chain.from_iterable(request.headers))) > HEAD_KEPT:
        request = replace(request, headers=tuple(map(_usual_header, request.headers[:64])))
    return request


def _usual_header(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    return name[:64], value if len(value) <= 64 else f"({len(value)} characters: too long to keep)"


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
    sizes: tuple[int, int] = (0, 0)


class Journal:
    """The last `size` exchanges of one session, in order. Cheap to write, rendered when read.

    `secrets` tells which secrets may stand in what is recorded, `diagnose` names what clients did wrong, `space` is
    shared with other journals, `sink` is given every exchange, without a diagnosis: at once, or by `aside`, which is
    given the work.
    """

    def __init__(
        self,
        session: str,
        secrets: Callable[[], Matcher | Iterable[Secret]] = tuple,
        size: int = 1000,
        diagnose: Diagnose | None = None,
        space: Space | None = None,
        sink: Callable[[Exchange], None] | None = None,
        aside: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.size = size
        self._session = session
        self._diagnose = diagnose
        self._secrets = secrets
        self._redactor = Redactor()
        self._matcher: Matcher | None = None
        self._entries: deque[_Entry] = deque(maxlen=size)
        self._seq = itertools.count(1)
        self._space = space
        self._sink = sink
        self._aside = aside
        self._lock = threading.Lock()

    def add(self, at_ns: int, request: Request, reply: Reply | None, assessment: Assessment, failure: str = "") -> None:
        """Append one exchange; the oldest gives way. `failure` says why the reply was lost or late."""
        kept = _usual_head(request)
        sizes = len(request.body), len(reply.body) if reply else 0
        if sizes[0] > BODY_KEPT:
            kept = replace(kept, body=_beginning(request.body))
        if reply and sizes[1] > BODY_KEPT:
            reply = replace(reply, body=_beginning(reply.body))
        entry = _Entry(0, at_ns, kept, reply, assessment, failure, diagnosable=kept is request, sizes=sizes)
        if self._space:
            self._space.take(self)
        with self._lock:
            entry.seq = next(self._seq)
            self._entries.append(entry)
        if self._sink and self._aside:
            self._aside(lambda: self._write(entry))
        elif self._sink:
            self._write(entry)

    def _write(self, entry: _Entry) -> None:
        if self._sink:
            self._sink(self._rendered(entry, self._current_redactor()))

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

    def _current_redactor(self) -> Redactor:
        matcher = matcher_of(self._secrets())
        if matcher is not self._matcher:
            self._redactor, self._matcher = Redactor(matcher), matcher
        return self._redactor

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges kept, oldest first; `seq` starts above 1 when older ones are gone."""
        redactor, entries = self._current_redactor(), tuple(self._entries)
        self._diagnose_newest(entries)
        return [self._rendered(entry, redactor) for entry in entries]

    def _rendered(self, entry: _Entry, redactor: Redactor) -> Exchange:
        return redactor.record(
            entry.seq,
            entry.at_ns,
            self._session,
            entry.request,
            entry.reply,
            entry.failure,
            entry.assessment,
            entry.diagnosis,
            entry.sizes,
        )

    def _diagnose_newest(self, entries: Sequence[_Entry]) -> None:
        # Once per entry and only when somebody reads: it costs a hundred times what answering does.
        if not self._diagnose:
            return
        waiting = [index for index, entry in enumerate(entries) if entry.diagnosable]
        in_vain = 0
        for index in reversed(waiting[-DIAGNOSED:]):
            if in_vain == IN_VAIN:
                break
            entry = entries[index]
            earlier = [each.request for each in entries[max(0, index - EARLIER_SEEN) : index]]
            entry.diagnosis = self._diagnose(entry.request, entry.assessment, entry.at_ns, earlier)
            entry.diagnosable = False
            in_vain += entry.diagnosis is not None and not entry.diagnosis.mistakes
