"""The signature is there, is right, and covers every field. Each refusal differs in one thing from a valid request."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import combinations
from typing import Any

from tn_contract.contract.signing import Secret, Value, canonical_string
from tn_contract.contract.wire import (
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    Request,
    SignedRequest,
    compose,
    dress,
    encode_fields,
    encode_form,
    parse_fields,
    replace,
    with_header,
    with_signature,
)
from tn_contract.judge.server.registry import (
    accepts,
    all_pass,
    check,
    on_both_commands,
    refuses,
    refuses_forgery_after_a_right_one,
)
from tn_contract.judge.server.spoils import (
    NO_VALUES,
    NOBODY,
    OTHER_DIGESTS,
    OTHER_WRITINGS,
    RARE_DIGESTS,
    RARE_WRITINGS,
    UNSIGNED,
    by_session_id,
    digested,
    instead_of_header,
    other_digit,
    plain,
    rewritten,
    signed_by,
    signed_by_other,
    signed_over,
)
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe, Spoil
from tn_contract.judge.verdicts import Blocked, Finding, NotApplicable, failed, noticed, passed

REQUIRED, COVERS = "signature-required", "signature-covers-fields"


def _without(*fields: str) -> Callable[[SignedRequest], str]:
    return lambda valid: canonical_string({name: value for name, value in valid.fields.items() if name not in fields})


def _valued(value: str, *fields: str) -> Callable[[SignedRequest], str]:
    """Write the string with another value in these fields, as a server does that looks for it in a wrong place."""
    return lambda valid: canonical_string(
        {**valid.fields, **{field: _all_of(valid.fields[field], value) for field in fields}}
    )


def _all_of(written: Value, value: str) -> Value:
    return dict.fromkeys(written, value) if isinstance(written, Mapping) else value


def _incomplete(names: tuple[str, ...], *, disposable: bool) -> dict[str, Callable[[SignedRequest], str]]:
    """Strings that leave fields out, or their values: each field, and where requests are free each set of fields."""
    sets: list[tuple[str, ...]] = [(name,) for name in names]
    wrong = {f"without the value of {name}": _valued("", name) for name in names}
    if disposable:
        sets = [group for size in range(1, len(names)) for group in combinations(names, size)]
        for group in sets:
            wrong[f"without the values of {', '.join(group)}"] = _valued("", *group)
        for value in NO_VALUES:
            wrong |= {f"with {value!r} for {name}": _valued(value, name) for name in names}
        wrong["without any value"] = _valued("", *names)
    return wrong | {f"without {', '.join(group)}": _without(*group) for group in sets}


def _order_of(valid: SignedRequest) -> int:
    return int(_fields_of(valid)["params"]["order_id"])


def _fields_of(valid: SignedRequest) -> dict[str, Any]:
    return dict(valid.fields)


@check(
    "signature/recovers-after-bad", "accepts a valid request after one with a bad signature", clause="nonce-not-burned"
)
def recovers_after_bad(probe: Probe) -> Finding:
    """Send a valid request, one with a bad signature, and a valid one with a fresh nonce: the key is still in use."""
    probe.control(SESSION)
    probe.send(with_signature(probe.compose(SESSION).request, "0" * 64))
    return accepts("a valid request after a bad signature", probe.send(probe.compose(SESSION).request))


@on_both_commands("signature/refuses-absent", "refuses a request without a signature", clause=REQUIRED)
def refuses_absent(probe: Probe, command: str) -> Finding:
    """Leave the header out or empty; put the right signature, or a session's id, where it does not belong."""

    def in_a_field(bare: Request, right: str) -> Request:
        names = ("sig", "sign", "signature", SIGNATURE_HEADER)
        return replace(bare, body=b"&".join((bare.body, *(f"{name}={right}".encode() for name in names))))

    variants = UNSIGNED | {"the signature in the body": instead_of_header(in_a_field)}
    return refuses(probe, command, variants, by_session_id(probe, command))


@on_both_commands("signature/refuses-modified", "refuses a signature with one digit changed", clause=REQUIRED)
def refuses_modified(probe: Probe, command: str) -> Finding:
    """Change one digit: at both ends and between; write the digits otherwise; be wrong after having been right.

    On a session of a disposable target each of the 64 digits is changed.
    """
    every = probe.target.disposable and command == SESSION
    places = range(64) if every else (0, 1, 7, 8, 15, 16, 31, 32, 47, 48, 55, 56, 62, 63)
    variants = {f"digit {place + 1} of 64 changed": other_digit(place) for place in places} | OTHER_WRITINGS
    if probe.target.disposable:
        variants |= RARE_WRITINGS
    finding = refuses(probe, command, variants)
    return refuses_forgery_after_a_right_one(probe, command) if finding.verdict == "pass" else finding


@on_both_commands("signature/refuses-truncated", "refuses a signature cut short or made longer", clause=REQUIRED)
def refuses_truncated(probe: Probe, command: str) -> Finding:
    """Send the beginning or the end of the right signature, or the right one with something around it."""
    return refuses(
        probe,
        command,
        {
            "the first 63 digits": rewritten(lambda right: right[:63]),
            "the first 32 digits": rewritten(lambda right: right[:32]),
            "the first 8 digits": rewritten(lambda right: right[:8]),
            "the first digit": rewritten(lambda right: right[:1]),
            "the last 32 digits": rewritten(lambda right: right[32:]),
            "one digit more": rewritten(lambda right: f"{right}0"),
            "the signature twice": rewritten(lambda right: right + right),
            "a prefix before it": rewritten(lambda right: f"sha256={right}"),
            "0x before it": rewritten(lambda right: f"0x{right}"),
            "a zero before it": rewritten(lambda right: f"0{right}"),
            "a wrong one before it": rewritten(lambda right: f"{'0' * 64}, {right}"),
            "a wrong one after it": rewritten(lambda right: f"{right}, {'0' * 64}"),
            "something after a semicolon": rewritten(lambda right: f"{right};x"),
            "a word before it": rewritten(lambda right: f"HMAC {right}"),
            "quotes around it": rewritten(lambda right: f'"{right}"'),
            "a dash in it": rewritten(lambda right: f"{right[:32]}-{right[32:]}"),
            "its digits sorted": rewritten(lambda right: "".join(sorted(right))),
        },
    )


@on_both_commands("signature/refuses-constant", "refuses signatures that fit no request", clause=REQUIRED)
def refuses_constant(probe: Probe, command: str) -> Finding:
    """Send fixed texts that careless comparisons let through."""
    texts: tuple[str, ...] = ("0" * 64, "f" * 64, "<hash>", "null", "0", "true", "%", "*")
    if probe.target.disposable:
        texts += ("0e" + "1" * 62, "1", "-1", "false", "undefined", "None", "[]", "{}", "Array", "NaN", ".", "-", ".*")
        texts += (
            ".{64}",
            "?" * 64,
            "_" * 64,
            "%" * 64,
            "sha256=",
            "HMAC",
            "test",
            "debug",
            "none",
            "skip",
            "valid",
            "ok",
        )
        texts += (hashlib.sha256(b"").hexdigest(), probe.credentials.api_key, "[object Object]")
    return refuses(probe, command, {f"the signature {text[:20]!r} ({len(text)})": _constant(text) for text in texts})


def _constant(text: str) -> Spoil:
    return rewritten(lambda _right: text)


@on_both_commands("signature/refuses-other-key", "refuses the signature of another secret", clause=REQUIRED)
def refuses_other_key(probe: Probe, command: str) -> Finding:
    """Sign with a secret that is not this key's: guessed, empty, the public key, that of another known key.

    The other key is named where it does not count: in the header of v3, in the query string, in a second apiKey.
    """
    secret = probe.credentials.secret.reveal()
    keys: dict[str, Secret] = {
        "an unknown secret": NOBODY,
        "an empty secret": Secret(""),
        "the public key as the secret": Secret(probe.credentials.api_key),
        "the secret with a line end": Secret(f"{secret}\n"),
        "the secret in capitals": Secret(secret.upper()),
    }
    variants = {what: signed_by(key) for what, key in keys.items() if key.reveal() != secret}
    with suppress(NotApplicable):
        other = probe.other().credentials
        field = encode_form({"apiKey": other.api_key})

        def beside(change: Callable[[Request], Request]) -> Spoil:
            return lambda inner, valid: change(signed_by(other.secret)(inner, valid))

        variants |= signed_by_other(other) | {
            "the secret of another known key, named in a header": beside(
                lambda request: with_header(request, PUBLIC_KEY_HEADER, other.api_key)
            ),
            "the secret of another known key, named in a first apiKey": beside(
                lambda request: replace(request, body=field + b"&" + request.body)
            ),
            "the secret of another known key, named in a last apiKey": beside(
                lambda request: replace(request, body=request.body + b"&" + field)
            ),
        }
    return refuses(probe, command, variants)


@on_both_commands("signature/refuses-other-digest", "refuses another digest than HMAC-SHA256 in hex", clause=REQUIRED)
def refuses_other_digest(probe: Probe, command: str) -> Finding:
    """Digest the right string with other functions, without a key, or write the right digest in base64."""

    return refuses(
        probe,
        command,
        OTHER_DIGESTS
        | (RARE_DIGESTS if probe.target.disposable else {})
        | {
            "MD5 of string and secret, as in v1": plain("md5", lambda secret, string: string + secret),
            "key and message swapped": digested(lambda secret, string: hmac.new(string, secret, "sha256").hexdigest()),
            "HMAC-SHA256 of nothing": digested(lambda secret, _string: hmac.new(secret, b"", "sha256").hexdigest()),
        },
    )


@on_both_commands("signature/refuses-other-string", "refuses the signature over another string", clause=REQUIRED)
def refuses_other_string(probe: Probe, command: str) -> Finding:
    """Sign what people sign by mistake: without a field or its value, in another order, in another format."""
    names = ("apiKey", "cmd", "nonce", *(("params",) if command == CANCEL else ()))
    wrong: dict[str, Callable[[SignedRequest], str]] = _incomplete(names, disposable=probe.target.disposable) | {
        "only the command": lambda valid: str(valid.fields["cmd"]),
        "only the nonce": lambda valid: str(valid.fields["nonce"]),
        "an empty string": lambda _valid: "",
        "reverse order": lambda valid: "&".join(reversed(valid.string_to_sign.split("&"))),
        "a line end after it": lambda valid: f"{valid.string_to_sign}\n",
        "in lower case": lambda valid: valid.string_to_sign.lower(),
        "; for &": lambda valid: valid.string_to_sign.replace("&", ";"),
        "a trailing &": lambda valid: f"{valid.string_to_sign}&",
        "values without names": lambda valid: "".join(
            part.partition("=")[2] for part in valid.string_to_sign.split("&")
        ),
        "no separator": lambda valid: valid.string_to_sign.replace("&", ""),
        "JSON": lambda valid: json.dumps(_fields_of(valid), separators=(",", ":")),
        "the path and the string": lambda valid: valid.request.path + valid.string_to_sign,
    }
    if command == CANCEL:
        wrong |= {
            "only the params": lambda _valid: f"order_id={probe.order_id}",
            "params as JSON": lambda valid: valid.string_to_sign.replace(
                f"params=order_id={probe.order_id}", f'params={{"order_id":{probe.order_id}}}'
            ),
        }
    return refuses(probe, command, {f"signed {what}": signed_over(write) for what, write in wrong.items()})


@check(
    "signature/refuses-percent-encoded-on-cancel",
    "refuses the signature over the encoded body",
    clause="signature-over-raw-values",
    effect="attempt",
    requires=(),
)
def refuses_percent_encoded(probe: Probe) -> Finding:
    """Sign the body itself: brackets percent-encoded, or literal."""
    return refuses(
        probe,
        CANCEL,
        {
            "signed the percent-encoded body": signed_over(
                lambda valid: encode_form(dict(sorted(valid.fields.items()))).decode()
            ),
            "signed with literal brackets": signed_over(
                lambda valid: valid.string_to_sign.replace("params=order_id=", "params[order_id]=")
            ),
        },
    )


@check(
    "signature/reads-raw-values", "accepts a signature over raw special characters", clause="signature-over-raw-values"
)
def reads_raw_values(probe: Probe) -> Finding:
    """Use a key full of special characters: encoded in the body, raw in the string to sign."""
    special = probe.other(api_key="tn check+%41&cmd=x;ü~" + str(probe.nonces.next()))
    return accepts("raw characters signed", special.send(special.compose(SESSION).request))


@check(
    "signature/takes-values-raw-on-cancel",
    "takes special characters raw into the string to sign",
    clause="signature-over-raw-values",
)
def takes_values_raw(probe: Probe) -> Finding:
    """Cancel "orders" of special characters, rightly signed: what is refused is the order id, not the signature."""
    probe.control(SESSION)

    def answer(order_id: str, signature: str = "") -> Observation:
        valid = compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": order_id})
        return probe.send(with_signature(valid.request, signature or valid.signature))

    known, forged = answer("abc"), answer("abc", "0" * 64)
    if known.outcome == forged.outcome:
        raise NotApplicable("its refusals do not tell a bad signature from a bad order id")
    expected = f"refused for the order id ({known.told}), not for the signature"
    for order_id in (" a", "a ", "a b", "a+b", "a%41", "a/b", "a=b", "a&b", "a;b", "a[b]", "~!*'()", "ü", "№"):
        observed = answer(order_id)
        if observed.outcome == forged.outcome:
            return failed(f"{expected}: {order_id!r}", observed.told)
    return passed(expected, known.told)


@on_both_commands("signature/covers-nonce", "refuses a nonce that was changed after signing", clause=COVERS)
def covers_nonce(probe: Probe, command: str) -> Finding:
    """Sign with one nonce and send another fresh one."""

    def spoil(inner: Probe, valid: SignedRequest) -> Request:
        return dress(command, {**valid.fields, "nonce": str(inner.nonces.next())}, valid.signature)

    return refuses(probe, command, {"another nonce than was signed": spoil})


@on_both_commands("signature/covers-command", "refuses a command that was changed after signing", clause=COVERS)
def covers_command(probe: Probe, command: str) -> Finding:
    """Sign another command with the same parameters, then send this one."""

    other = SESSION if command == CANCEL else CANCEL
    spoil = signed_over(lambda valid: canonical_string({**valid.fields, "cmd": other}))
    return refuses(probe, command, {"another command than was signed": spoil})


@check(
    "signature/covers-order-id-on-cancel",
    "refuses an order id that was changed after signing",
    clause=COVERS,
    effect="attempt",
    requires=(),
)
def covers_order_id(probe: Probe) -> Finding:
    """Sign another order's cancel, then send this one; sign none, then add it; add a zero to the signed one."""

    def signed_for(other: Callable[[int], Mapping[str, Value]]) -> Spoil:
        def string(valid: SignedRequest) -> str:
            fields = {name: value for name, value in valid.fields.items() if name != "params"}
            params = other(_order_of(valid))
            return canonical_string({**fields, "params": params} if params else fields)

        return signed_over(string)

    return refuses(
        probe,
        CANCEL,
        {
            "another order than was signed": signed_for(lambda order_id: {"order_id": order_id + 1}),
            "an order id in other digits": signed_for(lambda order_id: {"order_id": f"0{order_id}"}),
            "an order although none was signed": signed_for(lambda _order_id: {}),
            "a zero before the order that was signed": lambda _probe, valid: dress(
                CANCEL, {**valid.fields, "params": {"order_id": f"0{_order_of(valid)}"}}, valid.signature
            ),
        },
    )


@on_both_commands("signature/refuses-earlier", "refuses the signature of an earlier request", clause=COVERS)
def refuses_earlier(probe: Probe, command: str) -> Finding:
    """Reuse the signature of a request that was accepted a moment ago."""
    earlier = probe.compose(SESSION if not probe.target.free_orders else command)
    if not probe.send(earlier.request).understood:
        raise Blocked("the earlier request was not accepted")
    return refuses(probe, command, {"the signature of an earlier request": rewritten(lambda _right: earlier.signature)})


@check(
    "signature/ignores-field-order",
    "accepts the fields in any order",
    clause="signature-ignores-field-order",
)
def ignores_field_order(probe: Probe) -> Finding:
    """Send the same fields sorted, reversed and rotated; the signature stays the same."""
    return _in_any_order(probe, SESSION)


@check(
    "signature/ignores-field-order-on-cancel",
    "accepts the fields of a cancel in any order",
    clause="signature-ignores-field-order",
    effect="cancel",
)
def ignores_field_order_on_cancel(probe: Probe) -> Finding:
    """Send the same fields sorted, reversed and rotated, brackets encoded (%5B, %5b) or literal."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend several orders")
    return _in_any_order(probe, CANCEL)


def _in_any_order(probe: Probe, command: str) -> Finding:
    probe.control(command)
    finding = passed("", "")
    for arrange in (sorted, lambda pairs: sorted(pairs, reverse=True), lambda pairs: [*pairs[2:], *pairs[:2]]):
        valid = probe.compose(command)
        body = encode_fields(arrange(parse_fields(valid.request.body)))
        finding = accepts("the fields in another order", probe.send(replace(valid.request, body=body)))
        if finding.verdict != "pass":
            return finding
    if command == SESSION:
        return finding

    def with_brackets(opening: bytes, closing: bytes) -> Request:
        valid = probe.compose(command).request
        return replace(valid, body=valid.body.replace(b"%5B", opening).replace(b"%5D", closing))

    writings = {"brackets that are not percent-encoded": (b"[", b"]"), "%5b and %5d in lower case": (b"%5b", b"%5d")}
    return all_pass(accepts(what, probe.send(with_brackets(*pair))) for what, pair in writings.items())


@check("signature/letter-case", "which letter case of the signature is accepted", clause="signature-letter-case")
def letter_case(probe: Probe) -> Finding:
    """Send the right signature in upper-case hex."""
    valid = probe.compose(SESSION)
    observed = probe.send(with_signature(valid.request, valid.signature.upper()))
    return noticed(f"upper-case hex is {'accepted' if observed.understood else 'not accepted'}: {observed.told}")
