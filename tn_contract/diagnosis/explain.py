"""Judges the requests of a recording: what `explain-request` prints."""

from __future__ import annotations

from msgspec import Struct

from tn_contract.contract.nonce import NonceLedger
from tn_contract.contract.redaction import blank
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.text import escape
from tn_contract.contract.wire import Request
from tn_contract.diagnosis.diagnose import ACCEPTED, diagnose, meant_key, situation_of
from tn_contract.record.journal import EARLIER_SEEN, Diagnosis
from tn_contract.record.recorded import Recorded
from tn_contract.record.requestfile import Recording

# Where a request ends before its key is known, and before its signature was found to be right.
_UNKNOWN = {"address", "v1", "method", "form", "key-missing", "key-unknown"}
_UNPROVEN = {*_UNKNOWN, "signature-missing", "signature-invalid"}
RECORDING = "recording"
# So many signing mistakes are searched for without haste: half a second each.
_SEARCHED_THOROUGHLY = 5


class Explanation(Struct, frozen=True, omit_defaults=True):
    """One recorded request: the situation that it ends in, and what the client did wrong.

    `name` says where it stands in the file. `recording` is what is odd about the recording, not about the client;
    without `judged` it leaves open what was sent. `reason` is why the bytes are not an HTTP request.
    """

    line: str
    situation: str
    right: bool
    diagnosis: Diagnosis | None = None
    name: str = ""
    recording: tuple[str, ...] = ()
    judged: bool = True
    reason: str = ""


class Explainer:
    """Judges requests in order, under a secret; `pair` is the key pair if its key is known too.

    Without `pair` the key is taken from each request, so that a wrong one is not noticed. The mistakes of the first
    `thorough` refused requests are searched for without haste.
    """

    def __init__(
        self, secret: Secret, pair: Credentials | None = None, *, at_ns: int, thorough: int = _SEARCHED_THOROUGHLY
    ) -> None:
        self._secret, self._pair, self._at_ns = secret, pair, at_ns
        self._before: list[Request] = []
        self._ledgers: dict[str, NonceLedger] = {}
        self._thorough = thorough

    def explain(self, recording: Recording) -> list[Explanation]:
        """Judge all requests of a recording."""
        return [self._explain(each, in_order=recording.in_order) for each in recording.requests]

    def _explain(self, each: Recorded, *, in_order: bool) -> Explanation:
        notes = each.notes
        if each.refusal:
            line, reason = self._shown(each.line), self._shown(each.refusal)
            return Explanation(line, "http", False, None, each.name, self._all_shown(notes), reason=reason)
        proven = (reading for reading in each.readings if self._situation(reading.request) not in _UNPROVEN)
        reading = next(proven, each.readings[0] if each.readings and not each.contradicts else None)
        if reading is None:
            line = self._shown(each.line)
            return Explanation(line, RECORDING, False, None, each.name, self._all_shown(notes), judged=False)
        if reading.note:
            notes = (*notes, reading.note)
        return self.judge(reading.request, each.name, notes, in_order=in_order)

    def judge(
        self, request: Request, name: str = "", notes: tuple[str, ...] = (), *, in_order: bool = False
    ) -> Explanation:
        """Judge one request. With `in_order` a nonce must be greater than those of the requests before."""
        credentials = self._credentials(request)
        ledger = NonceLedger()
        if in_order and credentials:
            ledger = self._ledgers.setdefault(credentials.api_key, ledger)
        last = ledger.last
        situation = situation_of(request, credentials, ledger)
        known = None if situation in _UNKNOWN else credentials
        diagnosis = diagnose(
            request,
            situation,
            known,
            at_ns=self._at_ns,
            last_nonce=None if last is None else str(last),
            earlier=tuple(self._before[-EARLIER_SEEN:]) if known else (),
            others=(credentials,) if credentials else (),
            thorough=self._thorough > 0,
        )
        self._thorough -= situation not in ACCEPTED
        if known:
            self._before.append(request)
        line = self._shown(f"{request.method} {request.path}" + (f"?{request.query}" if request.query else ""))
        return Explanation(line, situation, situation in ACCEPTED, diagnosis, name, self._all_shown(notes))

    def _situation(self, request: Request) -> str:
        return situation_of(request, self._credentials(request))

    def _credentials(self, request: Request) -> Credentials | None:
        if self._pair:
            return self._pair
        key = meant_key(request)
        return Credentials(key, self._secret) if key else None

    def _shown(self, text: str) -> str:
        return escape(blank(text, [self._secret]))

    def _all_shown(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self._shown, texts))


def explain(request: Request, secret: Secret, pair: Credentials | None = None, *, at_ns: int) -> Explanation:
    """Judge one request by itself."""
    return Explainer(secret, pair, at_ns=at_ns).judge(request)
