"""Exception families: whose fault is it, and may the order have been touched?

TnContractError
├── CancelError                  raised by the client; `applied` is "no" or "unknown"
│   ├── NotSent                  nothing left this machine: the order is untouched
│   │   ├── InvalidRequest       the arguments cannot be sent
│   │   ├── NonceUnavailable     no nonce could be drawn
│   │   └── ConnectFailed        no connection to the server
│   ├── Rejected                 the server refused; one subclass for each kind in fixtures/errors.json
│   └── OutcomeUnknown           sent, and no answer that settles it: look the order up before anything else
│       └── OtherOrderEchoed     the reply speaks of another order
├── CorpusError                  fixtures/ is missing or broken
├── UsageError                   the kit was called wrongly
├── StateUnavailable             what the mock must not forget cannot be read or written
├── WorkerLost                   a process of the mock ended by itself
└── TargetError                  the server under judgement could not be judged
    ├── TargetRefused            a safety rule forbids it
    ├── TargetUnreachable        it does not answer, or not in its own words
    └── BudgetExceeded           the run used up its request budget
ContractViolation(AssertionError)  a finding about the target: a clause is broken
"""

from __future__ import annotations

from typing import ClassVar, Literal

Applied = Literal["no", "unknown"]


class TnContractError(Exception):
    """Base of everything this kit raises on purpose."""


class CancelError(TnContractError):
    """A cancel (or session) request that was not accepted; `applied` says if the order may be touched."""

    applied: ClassVar[Applied] = "unknown"


class NotSent(CancelError):
    """Nothing was sent, so nothing changed; trying again is safe."""

    applied: ClassVar[Applied] = "no"


class InvalidRequest(NotSent, ValueError):
    """The arguments cannot be put into a request."""


class NonceUnavailable(NotSent):
    """No nonce: the store is held by another process, unreadable, or past 2^63-1."""


class ConnectFailed(NotSent):
    """No connection: name, port, TLS or pool failed before the first byte of the request."""


class Rejected(CancelError):
    """The server answered with a failure reply (seed: "We get an answer in case of failure").

    `kind` is the id in fixtures/errors.json, `code` and `message` are the server's own (the message is
    localised: show it, never match it), `status` is the HTTP status.
    """

    applied: ClassVar[Applied] = "no"

    def __init__(self, kind: str, code: int | str | None, message: str, status: int) -> None:
        super().__init__(f"the server refused: {message!r} (kind {kind}, code {code}, HTTP {status})")
        self.kind = kind
        self.code = code
        self.message = message
        self.status = status


class CommonError(Rejected):
    """The request was not understood (seed: "Common error", `errMsg` with code 2)."""


class MethodError(Rejected):
    """The command itself failed (seed: "Method error", `error` with code 0)."""


class AccessDenied(Rejected):
    """The key may not do this (seed: "insufficient rights", code 12; attested also for bad credentials)."""


class SignatureRejected(Rejected):
    """The signature does not match (official code table: 4)."""


class UnknownCommand(Rejected):
    """No such command (official code table: 3)."""


class ParametersRejected(Rejected):
    """Parameters missing or malformed (official code table: 5)."""


class NonceRejected(Rejected):
    """The nonce was refused. Synthetic: nothing public shows how the real server says this."""


class RateLimited(Rejected):
    """Too many requests (attested: HTTP 429, or code 429 in a 200). `retry_after` in seconds, if given."""

    retry_after: float | None = None


class UnknownRejection(Rejected):
    """A failure reply whose code is in no public table."""


class OutcomeUnknown(CancelError):
    """Sent, but no reply settles what happened. Look the order up before anything else; never just resend.

    `reason` is one of: no-reply, too-slow, too-large, server-error, status, empty, not-json, not-object,
    no-evidence, other-order. `status` and `body` hold what came back, if anything did.
    """

    def __init__(self, reason: str, detail: str, status: int | None = None, body: str = "") -> None:
        super().__init__(f"{detail}. The order may or may not be cancelled: look it up before anything else.")
        self.reason = reason
        self.status = status
        self.body = body


class OtherOrderEchoed(OutcomeUnknown):
    """The reply confirms another order than the one asked for."""


class CorpusError(TnContractError):
    """The corpus in fixtures/ is missing, incomplete or inconsistent."""


class UsageError(TnContractError):
    """The kit was called with arguments or surroundings that cannot work."""


class StateUnavailable(TnContractError):
    """A mock's key pairs, nonces and orders cannot be read or written; nothing was accepted."""


class JournalUnavailable(TnContractError):
    """A mock's journal on disk cannot be written; what was asked for may have been done."""


class WorkerLost(TnContractError):
    """One of the mock's processes ended that nobody had told to."""


class TargetError(TnContractError):
    """The server under judgement could not be judged."""


class TargetRefused(TargetError):
    """A safety rule forbids to judge this target this way."""


class TargetUnreachable(TargetError):
    """The target does not answer, or answers in a way that says nothing about the contract."""


class BudgetExceeded(TargetError):
    """The run used up the number of requests it was allowed."""
