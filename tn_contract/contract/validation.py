"""The order of validation, written once: a request → the situation of `fixtures/situations.json` that it ends in.

address → method → form → key → signature → nonce (v3: timestamp) → body (v3) → command → parameters. The first step
that fails decides (itself a clause, `validation-order`). What needs state is handed in: who has which secret, and
which nonces were used. The mock's broker and `explain-request` both walk through here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from tn_contract.contract.corpus import Scheme
from tn_contract.contract.envelopes import Envelope, FormEnvelope, JsonEnvelope, holds_v1
from tn_contract.contract.nonce import Ledger
from tn_contract.contract.signing import Credentials, signature_of
from tn_contract.contract.wire import COMMAND_PATH, ORDER_ID_MAX, SIGNATURE_HEADER, Request, scheme_of

TIMESTAMP_TOLERANCE = 300  # seconds; ours, because nothing public settles it

# Situations without a payload: the mock answers them with a marked error of its own.
UNANSWERED = {
    "address": "The path is not an address of the API.",
    "http": "The bytes are not an HTTP request that the mock reads.",
    "recording": "What was sent cannot be known from this recording.",
}

_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,18}")
_ORDER_ID = re.compile(r"[1-9][0-9]{0,18}")


class Account(Protocol):
    """What a server knows of a key: its secret, and the nonces that it used."""

    @property
    def credentials(self) -> Credentials:
        """The key pair."""

    @property
    def ledger(self) -> Ledger:
        """Its nonces."""


CheckSignature = Callable[[Request, Envelope, "Account", "Findings"], str]
# Finds the account of a key and checks it, perhaps twice; gives the situation that refuses, or "".
Admit = Callable[[str, Callable[[Account], str]], str]


class Rules(NamedTuple):
    """What a server is free to choose. A tolerance of 0 or None admits every timestamp."""

    strict_path: bool = False
    timestamp_tolerance: float | None = TIMESTAMP_TOLERANCE


class Asked(NamedTuple):
    """What a request that passed all steps asks for."""

    command: str
    params: Mapping[str, object]


@dataclass(slots=True)
class Findings:
    """What was found on the way."""

    notes: list[str] = field(default_factory=list)
    string_to_sign: str = ""
    expected_signature: str = ""
    last_nonce: str = ""


def address_of(request: Request) -> Scheme | Literal["v1", ""]:
    """Return the generation of the protocol that a request belongs to; "" for what is not an address of the API."""
    if request.path.rstrip("/") == "/api":  # v1's own address
        return "v1" if holds_v1(request) else ""
    return scheme_of(request.path) or ""


def verify_signature(request: Request, envelope: Envelope, account: Account, found: Findings) -> str:
    """Compare the signature in constant time: the situation that refuses, or ""."""
    found.string_to_sign = envelope.string_to_sign()
    found.expected_signature = signature_of(found.string_to_sign, account.credentials.secret)
    signature = request.header(SIGNATURE_HEADER)
    if not signature:
        return "signature-missing"
    if not (signature.isascii() and hmac.compare_digest(found.expected_signature, signature)):
        return "signature-invalid"
    return ""


def validate(
    request: Request,
    scheme: Scheme,
    admit: Admit,
    found: Findings,
    rules: Rules,
    now_ns: Callable[[], int],
    check_signature: CheckSignature = verify_signature,
) -> tuple[str, Asked | None]:
    """Return the situation that refuses a request, or "" and what it asks for."""
    # v3 signs no query, so a GET would let anybody who saw one signature name another order: refused as in v2.
    if request.method != "POST":
        return "method", None
    envelope = FormEnvelope(request, found.notes) if scheme == "v2" else JsonEnvelope(request, found.notes)
    if not envelope.api_key:
        return envelope.keyless, None

    def check(account: Account) -> str:
        if refused := check_signature(request, envelope, account, found):
            return refused
        if isinstance(envelope, FormEnvelope):
            return _check_nonce(envelope, account.ledger, found)
        return _check_timestamp(envelope, found, rules.timestamp_tolerance, now_ns)

    refused = admit(envelope.api_key, check)
    if refused:
        return refused, None
    params = envelope.params()
    if params is None:
        return "body-malformed", None
    command = envelope.command()
    if not command:
        return "command-missing", None
    if scheme == "v2" and request.path != COMMAND_PATH + command:
        found.notes.append(f"the path does not name the command: {COMMAND_PATH}{command} does")
        if rules.strict_path:
            return "command-unknown", None
    return "", Asked(command, params)


def _check_nonce(envelope: FormEnvelope, ledger: Ledger, found: Findings) -> str:
    nonce = envelope.fields.get("nonce")
    refused: str | None = "nonce-malformed"
    if isinstance(nonce, dict):
        last = ledger.last
    else:
        refused, last = ledger.judge(nonce)
    found.last_nonce = "" if last is None else str(last)
    return refused or ""


def _check_timestamp(
    envelope: JsonEnvelope, found: Findings, tolerance: float | None, now_ns: Callable[[], int]
) -> str:
    if not envelope.timestamp:
        return "timestamp-missing"
    if not _TIMESTAMP.fullmatch(envelope.timestamp):
        return "timestamp-malformed"
    if not tolerance:
        return ""
    ahead = int(envelope.timestamp) - now_ns() // 10**9
    if abs(ahead) <= tolerance:
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    found.notes.append(f"the timestamp is {abs(ahead)} s {direction} the mock's clock")
    return "timestamp-ahead" if ahead > 0 else "timestamp-stale"


def outcome_of(asked: Asked) -> tuple[str, str]:
    """Return the situation that a command ends in where no order is kept, and the digits of its order id."""
    if asked.command == "getAuthInfo":
        return "session-opened", ""
    if asked.command != "delTradeOrder":
        return "command-unknown", ""
    refused, order_id = order_asked(asked.params)
    return refused or "cancel-accepted", order_id


def order_asked(params: Mapping[str, object]) -> tuple[str, str]:
    """Read the order id of a cancel: the situation if there is none, and its digits."""
    order_id = params.get("order_id")
    if order_id is None:
        return "order-id-missing", ""
    text = str(order_id) if type(order_id) is int else order_id  # not isinstance: true is an int as well
    if not isinstance(text, str) or not _ORDER_ID.fullmatch(text) or int(text) > ORDER_ID_MAX:
        return "order-id-malformed", ""
    return "", text
