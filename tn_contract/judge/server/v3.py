"""The current generation of the protocol: a JSON body, a timestamp, and a signature over the two as they are sent.

A target that does not speak it is not judged by it. No timestamp is ever sent ahead of the clock to a target that is
not disposable. Each refusal differs in one thing from a valid request.
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from tn_contract.contract.signing import Secret, canonical_string, canonical_string_v3, signature_of
from tn_contract.contract.wire import (
    COMMAND_PATH,
    COMMAND_PATH_V3,
    JSON_TYPE,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Request,
    SignedRequest,
    compose,
    encode_json,
    replace,
    sign_body,
    with_header,
    with_signature,
)
from tn_contract.judge.server import registry
from tn_contract.judge.server.registry import (
    CONTROLS,
    accepts,
    accepts_order,
    all_pass,
    asks_for_an_order,
    carries_out_none,
    check,
    gives_away,
    keeps_or_refuses,
    keeps_secret,
    names_failures,
    refusals,
    refuses,
    refuses_after_a_right_one,
    refuses_forgery_after_a_right_one,
    replies,
)
from tn_contract.judge.server.spoils import (
    ALIKE_COMMANDS,
    BAD_COMMANDS,
    FALSE_LIKE,
    HARMFUL_INTEGERS,
    NO_INTEGERS,
    NO_ORDERS,
    NO_VALUES,
    NOBODY,
    OTHER_DIGESTS,
    OTHER_INTEGERS,
    OTHER_WRITINGS,
    RARE_DIGESTS,
    RARE_NO_INTEGERS,
    RARE_WRITINGS,
    SOFT_INTEGERS,
    UNSIGNED,
    by_session_id,
    in_other_case,
    keys_like,
    misplaced,
    other_digit,
    rewritten,
    signed_by,
    signed_by_other,
    signed_over,
)
from tn_contract.judge.server.target import CANCEL, HUGE_ORDER_IDS, SESSION, Observation, Probe, Spoil
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, noticed

OPENS, _ACCEPTS = CONTROLS["v3"]
REQUIRED, COVERS_BODY, COVERS_TIMESTAMP = (
    "v3-signature-required",
    "v3-signature-covers-body",
    "v3-signature-covers-timestamp",
)

# An address of neither generation.
NO_ADDRESS = "/api/tnContractNoSuchPlace/tnContractNoSuchCommand"
# Bodies from which a reader gets no order.
NO_ORDER = ("{}", '{"order_id":}', '{"order_id":""}', '{"order_id":null}', '{"order_id":0}')

on_both_commands = partial(registry.on_both_commands, twin_requires=(OPENS,))


def _message(write: Callable[[bytes, str], str]) -> Spoil:
    """Sign another message than body and timestamp, given these two."""
    return signed_over(lambda valid: write(valid.request.body, _timestamp(valid)))


def _body(command: str, body: bytes) -> Spoil:
    """Send another body, properly signed."""
    return lambda probe, _valid: _signed(probe, command, body)


def _signed(probe: Probe, command: str, body: bytes) -> Request:
    return sign_body(probe.credentials, command, probe.timestamp(), body).request


def _tampered(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the body after signing."""
    return lambda _probe, valid: replace(valid.request, body=change(valid.request.body))


def _signed_for(body: bytes) -> Spoil:
    """Send the valid body with the signature of another one."""
    return _message(lambda _body, timestamp: body.decode() + timestamp)


def _timestamp(valid: SignedRequest) -> str:
    return valid.request.header(TIMESTAMP_HEADER) or ""


# ---- controls ------------------------------------------------------------------------------------------------


@check(OPENS, "opens a session over v3", clause="v3-session-opens", requires=())
def opens_session(probe: Probe) -> Finding:
    """Send a valid getAuthInfo to /api/getAuthInfo, twice. Where nothing answers there, the target speaks no v3."""
    request = probe.compose(SESSION).request
    observed = probe.send(request)
    status = observed.reply.status if observed.reply else 0
    silent = status in (404, 405, 410, 501) or (observed.reading.form == "not-json" and status < 500)
    if not probe.target.is_kit_mock and (silent or (observed.refused and _knows_no_v3(probe, request, observed))):
        raise NotApplicable(f"the target speaks no v3 ({observed.told})")
    if observed.understood:
        # Its right, for nothing public settles it; but then no two valid requests may be the same.
        probe.target.takes_no_replay = probe.send(request).denied
    return accepts("a valid getAuthInfo over v3", observed)


def _knows_no_v3(probe: Probe, request: Request, refused: Observation) -> bool:
    """Whether a request is refused as if v3 did not exist, by a target that accepts the keys over v2.

    Key, timestamp and signature change nothing then, and at an address that is not of v3 the reply is the same.
    """
    valid = compose(probe.credentials, SESSION, probe.nonces.next()).request
    if not probe.send(valid).understood:
        return False

    def text_of(observed: Observation, path: str) -> tuple[object, ...]:
        message = str(observed.reading.message).replace(path, "").replace(path.rpartition("/")[2], "")
        status = observed.reply.status if observed.reply else 0
        return status, observed.reading.failure_keys, observed.reading.code, re.sub(r"[0-9]+", "", message)

    bare = replace(request, headers=(("Content-Type", JSON_TYPE),))
    told = text_of(refused, request.path)
    if text_of(probe.send(bare), bare.path) != told:
        return False
    elsewhere = (replace(request, path=path) for path in (NO_ADDRESS, COMMAND_PATH + SESSION))
    return any(text_of(probe.send(other), other.path) == told for other in elsewhere)


@check(_ACCEPTS, "accepts a cancel over v3", clause="v3-cancel-accepted", effect="cancel", requires=(OPENS,))
def accepts_cancel(probe: Probe) -> Finding:
    """Send a valid delTradeOrder to /api/delTradeOrder; no other order may come back."""
    observed = probe.target.cancel_once(probe)
    if observed.understood and observed.reading.order_id not in (probe.order_id, None):
        return failed(f"order_id {probe.order_id} comes back", observed.told)
    return asks_for_an_order(probe, accepts("a valid delTradeOrder over v3", observed), observed)


# ---- signature -----------------------------------------------------------------------------------------------


@on_both_commands("v3/refuses-absent", "refuses v3 without a signature", clause=REQUIRED)
def refuses_absent(probe: Probe, command: str) -> Finding:
    """Leave the header out or empty; put the right signature, or a session's id, where it does not belong."""
    return refuses(probe, command, UNSIGNED, by_session_id(probe, command))


@on_both_commands("v3/refuses-modified", "refuses v3 with a changed signature", clause=REQUIRED)
def refuses_modified(probe: Probe, command: str) -> Finding:
    """Change a digit, cut it short, make it longer, write it otherwise, send a fixed text; first be right."""
    finding = refuses(
        probe,
        command,
        {
            **{f"digit {place + 1} of 64 changed": other_digit(place) for place in (0, 16, 31, 32, 63)},
            "the first 63 digits": rewritten(lambda right: right[:63]),
            "the first 32 digits": rewritten(lambda right: right[:32]),
            "one digit more": rewritten(lambda right: f"{right}0"),
            "a wrong one after it": rewritten(lambda right: f"{right}, {'0' * 64}"),
            "64 zeros": rewritten(lambda _right: "0" * 64),
            **OTHER_WRITINGS,
            **(RARE_WRITINGS if probe.target.disposable else {}),
        },
    )
    return refuses_forgery_after_a_right_one(probe, command) if finding.verdict == "pass" else finding


@on_both_commands("v3/refuses-other-key", "refuses the v3 signature of another secret", clause=REQUIRED)
def refuses_other_key(probe: Probe, command: str) -> Finding:
    """Sign with an unknown secret, an empty one, the public key, and the secret of another known key."""
    variants = {
        "an unknown secret": signed_by(NOBODY),
        "an empty secret": signed_by(Secret("")),
        "the public key as the secret": signed_by(Secret(probe.credentials.api_key)),
        "the secret with a line end": signed_by(Secret(probe.credentials.secret.reveal() + "\n")),
    }
    with suppress(NotApplicable):
        variants |= signed_by_other(probe.other().credentials)
    return refuses(probe, command, variants)


@on_both_commands("v3/refuses-other-digest", "refuses another digest on v3", clause=REQUIRED)
def refuses_other_digest(probe: Probe, command: str) -> Finding:
    """Digest the right message with other functions, without a key, or write the right digest in base64."""
    return refuses(probe, command, OTHER_DIGESTS | (RARE_DIGESTS if probe.target.disposable else {}))


@on_both_commands("v3/refuses-other-message", "refuses the v3 signature over another message", clause=REQUIRED)
def refuses_other_message(probe: Probe, command: str) -> Finding:
    """Sign what people sign by mistake: one of the two, the wrong order, something between, the string of v2."""

    def as_v2(body: bytes, timestamp: str) -> str:
        params = {"params": json.loads(body)} if body != b"{}" else {}
        return canonical_string(
            {"apiKey": probe.credentials.api_key, "cmd": command, "nonce": timestamp + "0000", **params}
        )

    def instead_of_timestamp(value: str) -> Callable[[bytes, str], str]:
        return lambda body, _timestamp: body.decode() + value

    def instead_of_body(value: str) -> Callable[[bytes, str], str]:
        return lambda _body, timestamp: value + timestamp

    wrong: dict[str, Callable[[bytes, str], str]] = {
        "only the timestamp": lambda _body, timestamp: timestamp,
        "only the body": lambda body, _timestamp: body.decode(),
        "nothing": lambda _body, _timestamp: "",
        "the timestamp first": lambda body, timestamp: timestamp + body.decode(),
        "the timestamp and a dot first": lambda body, timestamp: f"{timestamp}.{body.decode()}",
        "a line end between": lambda body, timestamp: f"{body.decode()}\n{timestamp}",
        "the path as well": lambda body, timestamp: COMMAND_PATH_V3 + command + body.decode() + timestamp,
        "milliseconds": lambda body, timestamp: f"{body.decode()}{timestamp}000",
        "a pretty-printed body": lambda body, timestamp: body.decode().replace("}", "\n}") + timestamp,
        "the string of v2": as_v2,
    }
    if probe.target.disposable:
        wrong |= {f"{value!r} for the timestamp": instead_of_timestamp(value) for value in NO_VALUES}
        empty = (*NO_VALUES, "[]", *(NO_ORDER if command == CANCEL else ()))
        wrong |= {f"{value!r} for the body": instead_of_body(value) for value in empty}
    return refuses(probe, command, {f"signed {what}": _message(write) for what, write in wrong.items()})


@on_both_commands("v3/refuses-unsigned-get", "refuses an unsigned GET on v3", clause=REQUIRED)
def refuses_unsigned_get(probe: Probe, command: str) -> Finding:
    """Send the command by GET, params in the query string: without a signature, and with one of nobody's secret."""
    query = "" if command == SESSION else f"order_id={probe.order_id}"

    def get(write: Callable[[str], str | None]) -> Spoil:
        def spoil(_probe: Probe, valid: SignedRequest) -> Request:
            bare = with_header(with_signature(valid.request, write(_timestamp(valid))), "Content-Type", None)
            return replace(bare, method="GET", query=query, body=b"")

        return spoil

    return refuses(
        probe,
        command,
        {
            "GET without a signature": get(lambda _timestamp: None),
            "GET with the signature of another secret": get(lambda timestamp: signature_of(timestamp, NOBODY)),
        },
    )


@on_both_commands("v3/covers-body", "refuses a body that was changed after signing", clause=COVERS_BODY)
def covers_body(probe: Probe, command: str) -> Finding:
    """Add to the signed body what JSON ignores, and what it does not; sign another order, or none."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "a space after the body": lambda body: body + b" ",
        "a line end before the body": lambda body: b"\n" + body,
        "a NUL after the body": lambda body: body + b"\0",
        "a byte after the body that is not UTF-8": lambda body: body + b"\xff",
        "a BOM before the body": lambda body: codecs.BOM_UTF8 + body,
        "a space inside the body": lambda body: body.replace(b"}", b" }"),
    }
    if command == SESSION:
        changes["a member more"] = lambda _body: b'{"note":1}'

    def long(note: str) -> bytes:
        return encode_json({**(probe.params(command) or {}), "note": "x" * 20_000 + note})

    variants = {what: _tampered(change) for what, change in changes.items()}
    variants["another end of 20 kB"] = lambda inner, _valid: replace(_signed(inner, command, long("a")), body=long("b"))
    # The message stays the same, for nothing separates body and timestamp.
    variants["a digit moved from the timestamp into the body"] = lambda _probe, valid: replace(
        with_header(valid.request, TIMESTAMP_HEADER, _timestamp(valid)[1:]),
        body=valid.request.body + _timestamp(valid)[:1].encode(),
    )
    if command == CANCEL:
        # Signed for another order and sent for this one, so that a server that falls for it cancels no stranger's.
        variants["another order than was signed"] = _message(
            lambda body, timestamp: encode_json({"order_id": json.loads(body)["order_id"] + 1}).decode() + timestamp
        )
        variants["an order although none was signed"] = _signed_for(b"{}")
    return refuses(probe, command, variants)


@on_both_commands("v3/covers-timestamp", "refuses a timestamp changed after signing", clause=COVERS_TIMESTAMP)
def covers_timestamp(probe: Probe, command: str) -> Finding:
    """Sign one second, send another one that is no less in time."""

    def earlier(seconds: int) -> Spoil:
        return lambda _probe, valid: with_header(valid.request, TIMESTAMP_HEADER, str(int(_timestamp(valid)) - seconds))

    return refuses(probe, command, {"one second earlier": earlier(1), "five seconds earlier": earlier(5)})


@check("v3/takes-bytes-as-sent", "verifies the bytes of a v3 body as they were sent", clause="v3-signature-over-bytes")
def takes_bytes_as_sent(probe: Probe) -> Finding:
    """Open sessions with white space in, before and after the braces; with escapes, if members may be added at all."""
    bodies: tuple[bytes, ...] = (b"{ }", b" {}", b"{}\n", b"{\r\n\t}\r\n")
    if probe.send(_signed(probe, SESSION, b'{"note":"e/"}')).understood:
        bodies += ('{"note":"é\\/"}'.encode(),)
    return _accepts_bodies(probe, SESSION, bodies)


@check(
    "v3/takes-bytes-as-sent-on-cancel",
    "verifies the bytes of a v3 cancel as they were sent",
    clause="v3-signature-over-bytes",
    effect="cancel",
)
def takes_bytes_as_sent_on_cancel(probe: Probe) -> Finding:
    """Cancel with spaces, pretty-printed, with an escape in the name."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend several orders")
    number = probe.order_id
    texts = (
        f'{{"order_id": {number}}}',
        f'{{\n    "order_id" : {number + 1}\n}}\n',
        f'{{"order\\u005fid":{number + 2}}}',
    )
    return _accepts_bodies(probe, CANCEL, tuple(text.encode() for text in texts))


@check("v3/accepts-no-params", "accepts an empty v3 body as it does {}", clause="v3-no-params")
def accepts_no_params(probe: Probe) -> Finding:
    """Open a session with an empty body, as the PHP SDK does, and with {}, as the Python SDK does."""
    return _accepts_bodies(probe, SESSION, (b"", b"{}"))


def _accepts_bodies(probe: Probe, command: str, bodies: tuple[bytes, ...]) -> Finding:
    return all_pass(
        accepts(f"the signed body {body.decode()!r}", probe.send(_signed(probe, command, body))) for body in bodies
    )


# ---- key and timestamp ---------------------------------------------------------------------------------------


@on_both_commands("v3/refuses-missing-key", "refuses v3 without a key", clause="v3-key-required")
def refuses_missing_key(probe: Probe, command: str) -> Finding:
    """Leave X-NtApi-PublicKey out (also after a right request) or empty; put it into query, Authorization or body."""
    key = probe.credentials.api_key

    def without(query: str = "") -> Spoil:
        return lambda _probe, valid: replace(with_header(valid.request, PUBLIC_KEY_HEADER, None), query=query)

    def in_body(inner: Probe, _valid: SignedRequest) -> Request:
        body = encode_json({"apiKey": key, **(inner.params(command) or {})})
        return with_header(_signed(inner, command, body), PUBLIC_KEY_HEADER, None)

    finding = refuses(
        probe,
        command,
        {
            "no key": without(),
            "an empty key": lambda _probe, valid: with_header(valid.request, PUBLIC_KEY_HEADER, ""),
            "the key in the query string": without(f"apiKey={key}"),
            "the key in Authorization": lambda probe, valid: with_header(
                without()(probe, valid), "Authorization", f"Bearer {key}"
            ),
            "the key in the body": in_body,
        },
    )
    if finding.verdict != "pass":
        return finding
    return refuses_after_a_right_one(probe, "no key", lambda _right: without()(probe, probe.compose(command)))


@on_both_commands("v3/refuses-unknown-key", "refuses a v3 key that it does not know", clause="v3-key-required")
def refuses_unknown_key(probe: Probe, command: str) -> Finding:
    """Name keys that nobody has, some of them much like this one; the signature is made with this key's secret."""
    unknown = keys_like(probe.credentials.api_key, disposable=probe.target.disposable)

    def naming(key: str) -> Spoil:
        return lambda _probe, valid: with_header(valid.request, PUBLIC_KEY_HEADER, key)

    return refuses(probe, command, {f"unknown key {place}": naming(key) for place, key in enumerate(unknown, 1)})


@on_both_commands("v3/refuses-missing-timestamp", "refuses v3 without a timestamp", clause="v3-timestamp-required")
def refuses_missing_timestamp(probe: Probe, command: str) -> Finding:
    """Leave X-NtApi-Timestamp out or empty and sign the body alone; put it into the query string; let it be known."""

    def absent(_probe: Probe, valid: SignedRequest) -> Request:
        return with_header(
            sign_body(probe.credentials, command, "", valid.request.body).request, TIMESTAMP_HEADER, None
        )

    def empty(_probe: Probe, valid: SignedRequest) -> Request:
        return sign_body(probe.credentials, command, "", valid.request.body).request

    def in_query(_probe: Probe, valid: SignedRequest) -> Request:
        query = f"{TIMESTAMP_HEADER}={_timestamp(valid)}&timestamp={_timestamp(valid)}"
        return replace(with_header(valid.request, TIMESTAMP_HEADER, None), query=query)

    def known(right: SignedRequest) -> Request:
        body = encode_json(probe.params(command) or {})
        signed = sign_body(probe.credentials, command, _timestamp(right), body)
        return with_header(signed.request, TIMESTAMP_HEADER, None)

    finding = refuses(
        probe,
        command,
        {"no timestamp": absent, "an empty timestamp": empty, "the timestamp in the query string": in_query},
    )
    return refuses_after_a_right_one(probe, "no timestamp", known) if finding.verdict == "pass" else finding


@check("v3/refuses-malformed-timestamp", "refuses a v3 timestamp that is no integer", clause="v3-timestamp-is-integer")
def refuses_malformed_timestamp(probe: Probe) -> Finding:
    """Send the time in other writings, each properly signed; none is ahead of the clock."""
    writings = ("abc", "{}abc", "-{}", "+{}", "{}.0", "{}.5", "0x{0:x}", "{0:,}", "{0:_}", '"{}"', "null", "NaN", "1e9")

    def written(pattern: str) -> Spoil:
        def spoil(_probe: Probe, valid: SignedRequest) -> Request:
            text = pattern.format(int(_timestamp(valid)) - 1)
            return sign_body(probe.credentials, SESSION, text, valid.request.body).request

        return spoil

    variants = {f"the timestamp {pattern!r}": written(pattern) for pattern in writings}
    if probe.target.disposable:  # read as a number, its digits would be ahead of the clock
        variants["an ISO date"] = lambda _probe, valid: (
            sign_body(
                probe.credentials, SESSION, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), valid.request.body
            ).request
        )
    return refuses(probe, SESSION, variants)


# ---- command and params --------------------------------------------------------------------------------------


@check("v3/refuses-unknown-command", "refuses an unknown command over v3", clause="v3-command-known")
def refuses_unknown_command(probe: Probe) -> Finding:
    """Send commands that cannot exist, properly signed, to their own paths."""
    names = ("tnContractNoSuchCommand", "getAuthInfoTnContract", "tnContractgetAuthInfo", *BAD_COMMANDS)

    def commanding(names: tuple[str, ...]) -> dict[str, Spoil]:
        return {f"the command {name!r}": _body(name, b"{}") for name in names}

    return refuses(probe, SESSION, commanding(names), commanding(ALIKE_COMMANDS))


@on_both_commands(
    "v3/refuses-other-case",
    "carries out no v3 command in another letter case",
    clause="v3-command-letter-case",
)
def refuses_command_in_other_case(probe: Probe, command: str) -> Finding:
    """Write the command in the address in other letter cases."""

    def at(name: str) -> Spoil:
        return lambda _probe, valid: replace(valid.request, path=COMMAND_PATH_V3 + name)

    names = in_other_case(command, disposable=probe.target.disposable)
    return carries_out_none(probe, command, {f"the command {name!r}": at(name) for name in names})


@check("v3/refuses-malformed-body", "refuses a v3 body that is no JSON", clause="v3-body-is-json")
def refuses_malformed_body(probe: Probe) -> Finding:
    """Open sessions with bodies that are no JSON object, properly signed."""
    texts = ("{", "{}}", "{'a':1}", '{"a":1,}', '{"a":NaN}', "no JSON", '"text"', "1", "cmd=getAuthInfo")
    more = ("null", "[]", '"{}"', "{/* x */}")
    bodies = tuple(text.encode() for text in (*texts, *more))
    if probe.target.disposable:  # more than the budget of others allows
        rare = ("false", "{};", "{a:1}", '{"a":0x1}', '{"a":+1}', "{} # x", "[" * 1000 + "]" * 1000)
        bodies += (*(text.encode() for text in rare), b'{"a":"\xff"}')
    return _refuses_bodies(probe, SESSION, bodies)


@check(
    "v3/refuses-malformed-body-on-cancel",
    "refuses a v3 cancel that is no JSON",
    clause="v3-body-is-json",
    effect="attempt",
    requires=(OPENS,),
)
def refuses_malformed_body_on_cancel(probe: Probe) -> Finding:
    """Cancel with a body cut short, in single quotes, as a form, as a list: each properly signed."""
    number = probe.order_id
    texts = (
        f'{{"order_id":{number}',
        f"{{'order_id':{number}}}",
        f'{{"order_id":{number},}}',
        f'{{"order_id":{number}}} x',
        f"order_id={number}",
        f"params[order_id]={number}",
        f'[{{"order_id":{number}}}]',
        f'"{{\\"order_id\\":{number}}}"',
        f'{{"order_id":{number}/* x */}}',
        str(number),
    )
    return _refuses_bodies(probe, CANCEL, tuple(text.encode() for text in texts))


def _refuses_bodies(probe: Probe, command: str, bodies: tuple[bytes, ...]) -> Finding:
    return refuses(
        probe, command, {f"the body {body.decode('latin-1')[:40]!r}": _body(command, body) for body in bodies}
    )


@check(
    "v3/refuses-missing-order-id",
    "refuses a v3 cancel that names no order",
    clause="v3-order-id-required",
    requires=(OPENS,),
)
def refuses_missing_order_id(probe: Probe) -> Finding:
    """Cancel with an empty body, without order_id, with null, and with what careless readers take for nothing."""
    nothing = ("null", '""', "0", "false", "[]", "{}", '"0"', "0.0", "[[]]", '" "')
    bodies = (b"", b"{}", b'{"note":"no order"}', *(f'{{"order_id":{value}}}'.encode() for value in nothing))
    return _refuses_bodies(probe, CANCEL, bodies)


@check(
    "v3/refuses-misplaced-order-id",
    "refuses a v3 cancel whose order_id is elsewhere",
    clause="v3-order-id-required",
    effect="attempt",
    requires=(OPENS,),
)
def refuses_misplaced_order_id(probe: Probe) -> Finding:
    """Put order_id below params as v2 does, under another name, and into the query string, which is not signed."""
    number = probe.order_id

    def in_query(_probe: Probe, _valid: SignedRequest) -> Request:
        return replace(_signed(probe, CANCEL, b"{}"), query=f"order_id={number}")

    return refuses(
        probe,
        CANCEL,
        {
            **{f"the body {params}": _body(CANCEL, encode_json(params)) for params in misplaced(number)},
            "order_id in the query string": in_query,
        },
    )


@check(
    "v3/refuses-malformed-order-id",
    "refuses a v3 order id that is no integer",
    clause="v3-order-id-is-integer",
    effect="attempt",
    requires=(OPENS,),
)
def refuses_malformed_order_id(probe: Probe) -> Finding:
    """Send order ids that careless readers turn into an order's number, properly signed; and huge ones."""
    number = probe.order_id
    values = (
        f"{number}.5",
        f"-{number}",
        "0",
        "true",
        f"[{number}]",
        f'{{"id":{number}}}',
    )
    writings = NO_INTEGERS | RARE_NO_INTEGERS | NO_ORDERS
    if probe.target.free_orders:  # some may read another order's number
        writings |= OTHER_INTEGERS | HARMFUL_INTEGERS | {"an exponent": "1e9"}

    def naming(values: Mapping[str, str]) -> dict[str, Spoil]:
        return {what: _body(CANCEL, f'{{"order_id":{value}}}'.encode()) for what, value in values.items()}

    malformed = {value: value for value in values}
    if probe.target.disposable:
        malformed |= {f"the text {text!r}": json.dumps(text) for text in FALSE_LIKE}
    malformed |= {f"{what} in a text": json.dumps(pattern.format(number)) for what, pattern in writings.items()}
    soft = {what: json.dumps(write(number)) for what, write in SOFT_INTEGERS.items()}
    finding = refuses(probe, CANCEL, naming(malformed), naming(soft))
    if finding.verdict != "pass" or not probe.target.free_orders:
        return finding
    return all_pass(
        keeps_or_refuses(order_id, probe.send(_signed(probe, CANCEL, encode_json({"order_id": order_id}))))
        for order_id in HUGE_ORDER_IDS
    )


@check(
    "v3/keeps-long-order-ids",
    "keeps v3 order ids up to 2^63-1",
    clause="order-ids-exact-to-63-bits",
    effect="cancel",
)
def keeps_long_order_ids(probe: Probe) -> Finding:
    """Cancel ids beyond 32 bits, and ids that floating-point numbers cannot hold."""
    if not probe.target.free_orders:
        raise NotApplicable("it names orders that are not the user's")
    more = probe.order_id // 100 % 10**6 * 2  # another order each time: a server may cancel each only once
    return all_pass(
        accepts_order(order_id, probe.send(_signed(probe, CANCEL, encode_json({"order_id": order_id}))))
        for order_id in (
            2_929_000_000 + more,
            2**32 + more,
            4_982_349_000_000 + more,
            2**53 + 1 + more,
            2**63 - 1 - more,
        )
    )


# ---- replies -------------------------------------------------------------------------------------------------


@check("v3/failure-names-itself", "says what is wrong in a v3 refusal", clause="failure-names-itself")
def failure_names_itself(probe: Probe) -> Finding:
    """Provoke refusals of every kind: each is a JSON object with a text in errMsg, error or errorMsg."""
    return names_failures(refusals(probe, _refused))


def _refused(probe: Probe) -> dict[str, Request]:
    """Refusals of every kind, none of which names an order."""
    valid = probe.compose(SESSION).request
    return {
        "a bad signature": with_signature(valid, "0" * 64),
        "no signature": with_signature(valid, None),
        "an unknown key": with_header(valid, PUBLIC_KEY_HEADER, "tn-contract-nobodys-key"),
        "no key": with_header(valid, PUBLIC_KEY_HEADER, None),
        "no timestamp": with_header(valid, TIMESTAMP_HEADER, None),
        "a malformed timestamp": sign_body(probe.credentials, SESSION, "abc", b"{}").request,
        "an unknown command": _signed(probe, "tnContractNoSuchCommand", b"{}"),
        "no JSON": _signed(probe, SESSION, b"{"),
        "a cancel without order": _signed(probe, CANCEL, b"{}"),
        "a cancel of no integer": _signed(probe, CANCEL, b'{"order_id":"abc"}'),
    }


@check("v3/keeps-signature-secret", "does not tell the expected v3 signature", clause="expected-signature-kept-secret")
def keeps_signature_secret(probe: Probe) -> Finding:
    """Send no signature and a bad one; look for the right one in the replies, and in all replies for the secret."""
    expected = "neither the expected signature nor the secret in the reply"
    for signature in (None, "0" * 64):
        valid = probe.compose(SESSION)
        observed = probe.send(with_signature(valid.request, signature))
        if gives_away(valid, observed):
            return failed(expected, "a reply tells it")
    return keeps_secret(replies(probe, _refused))


# ---- what nothing public settles -----------------------------------------------------------------------------


def _distances(probe: Probe, seconds: tuple[int, ...]) -> Finding:
    told = []
    for away in seconds:
        observed = probe.send(sign_body(probe.credentials, SESSION, probe.timestamp() + away, b"{}").request)
        told.append(f"{away:+} s: {'accepted' if observed.understood else 'not accepted'}")
    return noticed("; ".join(told))


@check("v3/stale-timestamp", "how old a v3 timestamp may be", clause="v3-timestamp-tolerance")
def stale_timestamp(probe: Probe) -> Finding:
    """Send timestamps that are seconds, minutes, hours and a day old."""
    return _distances(probe, (-5, -60, -600, -3600, -86400))


@check("v3/timestamp-ahead", "how far ahead a v3 timestamp may be", clause="v3-timestamp-tolerance")
def timestamp_ahead(probe: Probe) -> Finding:
    """Send timestamps that are ahead of the clock by seconds, minutes, hours and a day."""
    if not probe.target.disposable:
        raise NotApplicable("no timestamp is sent ahead of the clock to a server that is not ours")
    return _distances(probe, (5, 60, 600, 3600, 86400))


@check("v3/replay", "whether a v3 request may be sent again", clause="v3-replay")
def replay(probe: Probe) -> Finding:
    """Send the same session request twice, byte for byte."""
    request = probe.compose(SESSION).request
    first, second = probe.send(request), probe.send(request)
    return noticed(
        f"the first {'accepted' if first.understood else 'not accepted'}, "
        f"the second {'accepted' if second.understood else 'not accepted'}: {second.told}"
    )


def _signed_get(probe: Probe, command: str, query: str) -> Request:
    timestamp = str(probe.timestamp())
    signature = signature_of(canonical_string_v3(b"", timestamp), probe.credentials.secret)
    headers = (
        (PUBLIC_KEY_HEADER, probe.credentials.api_key),
        (TIMESTAMP_HEADER, timestamp),
        (SIGNATURE_HEADER, signature),
    )
    return Request("GET", COMMAND_PATH_V3 + command, headers, query=query)


@check("v3/get", "whether a v3 GET is carried out", clause="v3-get-signed-without-query")
def get(probe: Probe) -> Finding:
    """Send getAuthInfo by GET, the timestamp alone signed, with something in the query string."""
    observed = probe.send(_signed_get(probe, SESSION, "note=1"))
    return noticed(f"a GET is {'carried out' if observed.understood else 'not carried out'}: {observed.told}")


@check("v3/get-on-cancel", "whether a v3 GET cancels", clause="v3-get-signed-without-query", effect="cancel")
def get_on_cancel(probe: Probe) -> Finding:
    """Send delTradeOrder by GET, the timestamp alone signed, the order in the query string."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend another order")
    observed = probe.send(_signed_get(probe, CANCEL, f"order_id={probe.order_id}"))
    return noticed(f"a GET {'cancels' if observed.understood else 'does not cancel'}: {observed.told}")


@check("v3/order-id-as-text", "whether a v3 order id may be a text", clause="v3-order-id-as-text", effect="cancel")
def order_id_as_text(probe: Probe) -> Finding:
    """Cancel with the order id in quotes, as the PHP SDK does when it is given a text."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend another order")
    body = encode_json({"order_id": str(probe.order_id)})
    observed = probe.send(_signed(probe, CANCEL, body))
    return noticed(f"a text is {'accepted' if observed.understood else 'not accepted'}: {observed.told}")


@check("v3/on-v2-path", "what a v3 request to the v2 path is answered", clause="v3-envelope-on-v2-path")
def on_v2_path(probe: Probe) -> Finding:
    """Send a valid v3 getAuthInfo to /api/v2/cmd/getAuthInfo."""
    return noticed(probe.send(replace(probe.compose(SESSION).request, path=COMMAND_PATH + SESSION)).told)
