"""Broken mocks of this kit: what only a server with a control plane and magic orders can get wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from mock_server import create_app
from mock_server.broker import Answer, Broker, Session
from mock_server.harness import no_address
from tn_contract.contract.corpus import Payload
from tn_contract.contract.nonce import NonceLedger
from tn_contract.contract.signing import canonical_string, signature_of
from tn_contract.contract.wire import SIGNATURE_HEADER, Reply, Request

from .judging import App


class Mutant(NamedTuple):
    """How to build it, the group of checks that judges it, and those of them that must find it."""

    make: Callable[[], Broker]
    group: str
    kills: tuple[str, ...]


MUTANTS: dict[str, Mutant] = {}

DOCUMENTED = ("common-error", "method-error", "insufficient-rights")


def mutant(group: str, *, kills: str) -> Callable[[Callable[[], Broker]], Callable[[], Broker]]:
    def register(make: Callable[[], Broker]) -> Callable[[], Broker]:
        MUTANTS[f"mock-{make.__name__.replace('_', '-')}"] = Mutant(make, group, tuple(kills.split()))
        return make

    return register


def broken_mock(slug: str) -> App:
    """Build the mock with this defect."""
    app: App = create_app(MUTANTS[slug].make())
    return app


# ---- payloads ------------------------------------------------------------------------------------------------


def with_magic(change: Callable[[Payload], Payload], *payload_ids: str) -> Broker:
    """Change what the magic orders of some payloads answer."""
    broker = Broker()
    for order_id, payload in broker._commands.magic.items():
        if payload.id in payload_ids:
            broker._commands.magic[order_id] = change(payload)
    return broker


def rewritten(old: str, new: str) -> Callable[[Payload], Payload]:
    def change(payload: Payload) -> Payload:
        assert old in payload.body
        return msgspec.structs.replace(payload, body=payload.body.replace(old, new))

    return change


@mutant("reply", kills="reply/documented-method-error")
def swaps_the_common_and_the_method_error() -> Broker:
    payloads = Broker().corpus.payloads
    swapped = {"common-error": payloads["method-error"], "method-error": payloads["common-error"]}
    return with_magic(lambda payload: swapped[payload.id], *swapped)


@mutant("reply", kills="reply/replays-magic-orders")
def gives_the_common_error_code_1() -> Broker:
    return with_magic(rewritten(": 2", ": 1"), "common-error")


@mutant("reply", kills="reply/documented-method-error")
def gives_the_method_error_code_12() -> Broker:
    return with_magic(rewritten(": 0", ": 12"), "method-error")


@mutant("reply", kills="reply/documented-method-error")
def gives_the_method_error_false_as_code() -> Broker:
    return with_magic(rewritten(": 0", ": false"), "method-error")


@mutant("reply", kills="reply/documented-insufficient-rights")
def gives_insufficient_rights_code_0() -> Broker:
    return with_magic(rewritten(": 12", ": 0"), "insufficient-rights")


@mutant("reply", kills="reply/documented-insufficient-rights")
def forgets_errormsg_of_insufficient_rights() -> Broker:
    return with_magic(rewritten("errorMsg", "errorText"), "insufficient-rights")


@mutant("reply", kills="reply/documented-insufficient-rights")
def answers_documented_errors_by_400() -> Broker:
    return with_magic(lambda payload: msgspec.structs.replace(payload, status=400), *DOCUMENTED)


@mutant("reply", kills="reply/replays-magic-orders")
def changes_a_byte_of_a_magic_payload() -> Broker:
    return with_magic(rewritten("Maintenance", "maintenance"), "html")


@mutant("reply", kills="reply/replays-magic-orders")
def answers_a_magic_order_by_another_status() -> Broker:
    return with_magic(lambda payload: msgspec.structs.replace(payload, status=503), "http-502")


@mutant("reply", kills="reply/replays-magic-orders")
def forgets_a_header_of_a_magic_payload() -> Broker:
    return with_magic(lambda payload: msgspec.structs.replace(payload, headers={}), "rate-limited-http-429")


@mutant("reply", kills="reply/replays-magic-orders")
def forgets_a_magic_order() -> Broker:
    broker = Broker()
    broker._commands.magic.pop(
        next(order for order, payload in broker._commands.magic.items() if payload.id == "empty")
    )
    return broker


@mutant("reply", kills="reply/success-is-json-object")
def answers_cancels_by_403() -> Broker:
    broker = Broker()
    payloads = broker._payloads["v2"]
    payloads["cancel-accepted"] = msgspec.structs.replace(payloads["cancel-accepted"], status=403)
    return broker


@mutant("reply", kills="reply/success-echoes-order-id")
def answers_cancels_with_result_true() -> Broker:
    return Broker(replies={"cancel-accepted": "result-true"})


@mutant("reply", kills="reply/success-echoes-order-id")
def answers_cancels_with_text() -> Broker:
    return Broker(replies={"cancel-accepted": "order-id-as-text"})


@mutant("nonce", kills="nonce/refuses-replay")
def answers_stale_nonces_by_502() -> Broker:
    return Broker(replies={"nonce-stale": "http-502", "nonce-replayed": "http-502"})


# ---- nonces --------------------------------------------------------------------------------------------------


class _Ledgers(Broker):
    """A mock whose sessions have another ledger of nonces."""

    make: Callable[[Broker], Any]

    def open_session(self, api_key: str | None = None, api_secret: str | None = None) -> Session:
        session = super().open_session(api_key, api_secret)
        session.ledger = self.make()
        return session


def with_ledger(make: Callable[[Broker], Any]) -> Broker:
    return type("Mutant", (_Ledgers,), {"make": make})()


class _Float(NonceLedger):
    def judge(self, text: str | None) -> Any:
        if text and text.isdecimal() and self.last is not None and float(text) <= float(self.last):
            return "nonce-stale", self.last
        return super().judge(text)


class _Digits(NonceLedger):
    """Takes no more digits than today's clock has."""

    def judge(self, text: str | None) -> Any:
        return ("nonce-malformed", self.last) if text and len(text) > 17 else super().judge(text)


class _Steps(NonceLedger):
    """Allows no more than a tenth of a second between two nonces."""

    def judge(self, text: str | None) -> Any:
        if text and text.isdecimal() and self.last is not None and int(text) > self.last + 1_000_000:
            return "nonce-stale", self.last
        return super().judge(text)


class _Microseconds(NonceLedger):
    """Compares in a coarser unit than the documented one."""

    def judge(self, text: str | None) -> Any:
        if text and text.isdecimal() and self.last is not None and int(text) // 10 <= self.last // 10:
            return "nonce-stale", self.last
        return super().judge(text)


class _Expiring(NonceLedger):
    """Allows only nonces of the last hour of the documented clock."""

    def judge(self, text: str | None) -> Any:
        if text and text.isdecimal() and abs(int(text) - time.time_ns() // 100) > 36_000_000_000:
            return "nonce-stale", self.last
        return super().judge(text)


@mutant("nonce", kills="nonce/accepts-full-range")
def compares_nonces_as_floats() -> Broker:
    return with_ledger(lambda _broker: _Float())


@mutant("nonce", kills="nonce/accepts-full-range")
def reads_17_digits_of_a_nonce() -> Broker:
    return with_ledger(lambda _broker: _Digits())


@mutant("nonce", kills="nonce/accepts-jump")
def refuses_nonces_that_jump() -> Broker:
    return with_ledger(lambda _broker: _Steps())


@mutant("nonce", kills="nonce/accepts-full-range")
def compares_nonces_in_microseconds() -> Broker:
    return with_ledger(lambda _broker: _Microseconds())


@mutant("nonce", kills="nonce/accepts-full-range")
def refuses_nonces_far_from_its_clock() -> Broker:
    return with_ledger(lambda _broker: _Expiring())


@mutant("nonce", kills="nonce/is-per-key")
def keeps_nonces_for_all_sessions_together() -> Broker:
    shared = NonceLedger()
    return with_ledger(lambda _broker: shared)


@mutant("nonce", kills="nonce/refuses-replay")
def keeps_no_nonces() -> Broker:
    return Broker(policy="none")


@mutant("nonce", kills="nonce/refuses-lower")
def keeps_unique_nonces() -> Broker:
    return Broker(policy="unique")


# ---- signatures ----------------------------------------------------------------------------------------------


class _Percent(Broker):
    """Verifies the percent-encoded values."""

    @staticmethod
    def _check_signature(request: Request, envelope: Any, session: Session, found: Any) -> str | None:
        def quoted(values: Any) -> Any:
            return {k: quoted(v) if isinstance(v, dict) else quote(v, errors="replace") for k, v in values.items()}

        string = canonical_string(quoted(envelope.fields))
        right = signature_of(string, session.credentials.secret) == request.header(SIGNATURE_HEADER)
        return None if right else "signature-invalid"


@mutant("signature", kills="signature/reads-raw-values")
def verifies_percent_encoded_values() -> Broker:
    return _Percent()


class _Loud(Broker):
    def handle(self, request: Request) -> Answer:
        answer = super().handle(request)
        expected = answer.assessment.expected_signature if answer.assessment else ""
        return Answer(
            Reply(answer.reply.status, (*answer.reply.headers, ("X-Expected", expected)), answer.reply.body),
            answer.assessment,
        )


@mutant("reply", kills="reply/keeps-signature-secret")
def tells_the_expected_signature() -> Broker:
    return _Loud()


class _Hospitable(Broker):
    """Opens sessions for keys that nobody has."""

    def handle(self, request: Request) -> Answer:
        if b"nobodys" in request.body:
            return Answer(Reply(200, (("Content-Type", "application/json"),), b'{"sess_id": "1"}'), None)
        return super().handle(request)


@mutant("request", kills="request/refuses-unknown-key")
def knows_nobodys_key() -> Broker:
    return _Hospitable()


# ---- v3 ------------------------------------------------------------------------------------------------------


class _Old(Broker):
    """Knows nothing of v3, as an earlier mock of this kit."""

    def handle(self, request: Request) -> Answer:
        return super().handle(request) if request.path.startswith("/api/v2") else Answer(no_address(request.path), None)


@mutant("v3", kills="v3/opens-session")
def speaks_no_v3() -> Broker:
    return _Old()


@mutant("v3", kills="v3/opens-session")
def takes_v3_timestamps_for_milliseconds() -> Broker:
    return Broker(clock=lambda: time.time_ns() * 1000)
