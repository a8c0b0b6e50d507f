"""Hypothesis strategies for people who test a client or a server of their own, and `CancelSession`.

from hypothesis import given
from tn_contract import strategies as tn

@given(tn.hostile_replies())
def test_my_client_never_takes_a_hostile_reply_for_success(reply): ...

TestMyServer = tn.cancel_session("http://127.0.0.1:8787", [Credentials("key", Secret("secret"))])
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tn_contract.contract.address import parse_address
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import TargetRefused
from tn_contract.contract.nonce import NONCE_MAX, NonceSource
from tn_contract.contract.signing import Credentials, Parameters, Secret, Value, sign
from tn_contract.contract.wire import (
    ORDER_ID_MAX,
    Reply,
    Request,
    SignedRequest,
    compose,
    dress,
    encode_form,
    read_body,
    replace,
    sign_body,
    with_signature,
)
from tn_contract.judge.server.target import CANCEL, SANDBOX_BUDGET, SESSION
from tn_contract.transport import Transport

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
_NAME = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="[] .=&"), min_size=1, max_size=12)


def credentials() -> st.SearchStrategy[Credentials]:
    """Key pairs: of the real shape (32 and 40 characters, attested) and with any text in them."""
    hexadecimal = "0123456789abcdef"
    real = st.builds(
        lambda key, secret: Credentials(key, Secret(secret)),
        st.text(hexadecimal, min_size=32, max_size=32),
        st.text(hexadecimal, min_size=40, max_size=40),
    )
    return real | st.builds(lambda key, secret: Credentials(key, Secret(secret)), _TEXT, _TEXT)


def order_ids() -> st.SearchStrategy[int]:
    """Order ids from 1 to 2^63-1, with those that careless number types lose. No magic orders."""
    magic = {int(order_id) for order_id in load_corpus().magic_orders}
    edges = st.sampled_from([1, 2929292929, 2**31, 2**32, 2**53 + 1, 4982349829328, ORDER_ID_MAX])
    return (edges | st.integers(1, ORDER_ID_MAX)).filter(lambda order_id: order_id not in magic)


def nonces() -> st.SearchStrategy[int]:
    """Nonces in every unit that real clients use, from milliseconds to ticks of 100 ns, and at the edges."""
    units = st.sampled_from([10**9, 10**6, 10**5, 10**3, 10**2])
    clock = st.builds(lambda unit, past: (1_800_000_000 * 10**9 + past) // unit, units, st.integers(0, 10**16))
    return clock | st.sampled_from([0, 1, 2**53, 2**53 + 1, NONCE_MAX]) | st.integers(0, NONCE_MAX)


def parameters() -> st.SearchStrategy[dict[str, Value]]:
    """Parameters that can be signed: texts, integers, maps and lists of these, up to three levels."""
    leaves: st.SearchStrategy[Value] = _TEXT | st.integers(-(2**63), 2**63 - 1)

    def deeper(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
        return st.dictionaries(_NAME, inner, min_size=1, max_size=4) | st.lists(inner, min_size=1, max_size=12)

    return st.dictionaries(_NAME, st.recursive(leaves, deeper, max_leaves=8), min_size=1, max_size=5)


def cancels(keys: Credentials | None = None) -> st.SearchStrategy[SignedRequest]:
    """Valid signed cancels, of one key pair or of any."""
    pairs = credentials() if keys is None else st.just(keys)
    return st.builds(
        lambda pair, nonce, order_id: compose(pair, CANCEL, nonce, {"order_id": order_id}), pairs, nonces(), order_ids()
    )


def timestamps() -> st.SearchStrategy[int]:
    """Unix seconds of this century, as v3 sends them."""
    return st.integers(946_684_800, 4_102_444_799)


def cancels_v3(keys: Credentials | None = None) -> st.SearchStrategy[SignedRequest]:
    """Valid signed v3 cancels, of one key pair or of any that a header carries; the JSON is written in any way."""
    pairs = credentials().filter(lambda pair: pair.api_key.isalnum() and pair.api_key.isascii())
    writings = st.sampled_from(
        ['{"order_id":%d}', '{"order_id": %d}', ' {\n\t"order_id" : %d\r\n}', '{"order\\u005fid":%d}']
    )
    return st.builds(
        lambda pair, stamp, writing, order_id: sign_body(pair, CANCEL, stamp, (writing % order_id).encode()),
        pairs if keys is None else st.just(keys),
        timestamps(),
        writings,
        order_ids(),
    )


@dataclass(frozen=True)
class FaultyRequest:
    """A request with exactly one fault: `fault` names it, `valid` is what it was before."""

    fault: str
    request: Request
    valid: SignedRequest


def _resign(keys: Credentials, command: str, fields: Parameters) -> Request:
    return dress(command, fields, sign(fields, keys.secret).signature)


@st.composite
def faulty_cancels(draw: st.DrawFn, keys: Credentials | None = None) -> FaultyRequest:
    """Cancels with one fault: in the method, the key, the signature, the nonce, the command or the order id."""
    pair = draw(credentials()) if keys is None else keys
    valid = draw(cancels(pair))
    fields, signature = valid.fields, valid.signature

    def change_digit() -> Request:
        place = draw(st.integers(0, len(signature) - 1))
        other = draw(st.sampled_from([digit for digit in "0123456789abcdef" if digit != signature[place]]))
        return with_signature(valid.request, signature[:place] + other + signature[place + 1 :])

    def other_field(name: str, value: st.SearchStrategy[Any]) -> Request:
        changed = draw(value.filter(lambda drawn: drawn != fields[name]))
        return dress(CANCEL, {**fields, name: changed}, signature)

    def without(name: str) -> Request:
        return _resign(pair, CANCEL, {key: value for key, value in fields.items() if key != name})

    malformed = st.sampled_from(["", "abc", "1.5", "-1", "+1", "1e3", " 1", "0x10", "null", "9" * 25])
    makers: dict[str, Callable[[], Request]] = {
        "method": lambda: replace(valid.request, method=draw(st.sampled_from(["GET", "PUT", "DELETE"]))),
        "signature missing": lambda: with_signature(valid.request, None),
        "signature changed": change_digit,
        "signature truncated": lambda: with_signature(valid.request, signature[: draw(st.integers(0, 63))]),
        "signature of another secret": lambda: with_signature(
            valid.request, sign(fields, pair.secret.reveal() + draw(_TEXT)).signature
        ),
        "signature over the encoded body": lambda: with_signature(
            valid.request, sign({"": encode_form(fields).decode()}, pair.secret).signature
        ),
        "nonce changed after signing": lambda: other_field("nonce", nonces().map(str)),
        "order id changed after signing": lambda: other_field(
            "params", order_ids().map(lambda number: {"order_id": number})
        ),
        "key missing": lambda: without("apiKey"),
        "nonce missing": lambda: without("nonce"),
        "nonce malformed": lambda: _resign(pair, CANCEL, {**fields, "nonce": draw(malformed)}),
        "command missing": lambda: without("cmd"),
        "command unknown": lambda: _resign(pair, CANCEL, {**fields, "cmd": "tnContractNoSuchCommand"}),
        "order id missing": lambda: without("params"),
        "order id malformed": lambda: _resign(pair, CANCEL, {**fields, "params": {"order_id": draw(malformed)}}),
    }
    fault = draw(st.sampled_from(sorted(makers)))
    return FaultyRequest(fault, makers[fault](), valid)


def hostile_replies(order_id: int = 2929292929) -> st.SearchStrategy[Reply]:
    """Replies to a cancel of `order_id` that a client must not take for success or for a refusal.

    The corpus's own, and broken statuses, cut-off bodies and arbitrary bytes.
    """
    corpus = load_corpus()
    known = [
        Reply(payload.status, tuple(payload.headers.items()), payload.fill(str(order_id)))
        for payload in corpus.payloads.values()
        if payload.outcome == "unknown"
    ]
    # Some speak of an order of their own, which may be this one.
    known = [reply for reply in known if reply.status != 200 or read_body(reply.body).order_id != order_id]
    success = corpus.payloads["success"].fill(str(order_id))
    headers = (("Content-Type", "application/json"),)
    broken = st.builds(lambda status: Reply(status, headers, success), st.integers(500, 599))
    cut = st.builds(lambda end: Reply(200, headers, success[:end]), st.integers(0, len(success) - 1))
    others = order_ids().filter(lambda other: other != order_id)
    echo = st.builds(lambda other: Reply(200, headers, b'{"order_id": %d}' % other), others)
    noise = st.binary(max_size=60).filter(lambda body: read_body(body).form != "object")
    return st.sampled_from(known) | broken | cut | echo | st.builds(lambda body: Reply(200, headers, body), noise)


# ---- the state machine -------------------------------------------------------------------------------------


@dataclass
class _Model:
    """What a server that keeps the contract remembers of one key."""

    keys: Credentials
    last: int = -1
    nonces: NonceSource = field(default_factory=NonceSource)


Expectation = Literal["accepted", "refused"]


class CancelSession(RuleBasedStateMachine):
    """Random histories of valid, replayed, tampered and reordered requests, held against a model.

    Made for one server by `cancel_session`. Needs a server that keeps the documented nonce rule of this kit
    (strictly greater for each key) and lets any order be cancelled.
    """

    base_url: str
    pairs: Iterator[Credentials]
    order_id: int = 2929292929

    drawn = Bundle("drawn")
    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.transport = Transport(self.base_url)
        self.model = _Model(next(self.pairs))

    @initialize()
    def open_session(self) -> None:
        """Show first that the server accepts a valid session request."""
        self._expect("accepted", compose(self.model.keys, SESSION, self._next()).request, "a valid getAuthInfo")

    def _next(self) -> int:
        nonce = self.model.nonces.next()
        self.model.last = max(self.model.last, nonce)
        return nonce

    def _expect(self, expected: Expectation, request: Request, what: str) -> None:
        reply = self.transport.send(request)
        reading = read_body(reply.body)
        accepted = 200 <= reply.status < 300 and reading.form == "object" and not reading.failed
        refused = reply.status < 500 and reading.failed
        held = accepted if expected == "accepted" else refused
        assert held, f"{what} must be {expected}; HTTP {reply.status} {reply.body[:200]!r}"  # noqa: S101 # the machine's verdict

    @rule(target=drawn)
    def draw_nonce(self) -> int:
        """Draw a nonce now, use it later: others may overtake it."""
        return self.model.nonces.next()

    @rule(target=sent, command=st.sampled_from([CANCEL, SESSION]))
    def send_valid(self, command: str) -> Request:
        """A valid request is accepted."""
        request = compose(self.model.keys, command, self._next(), self._params(command)).request
        self._expect("accepted", request, f"a valid {command}")
        return request

    @rule(nonce=consumes(drawn), command=st.sampled_from([CANCEL, SESSION]))
    def send_reordered(self, nonce: int, command: str) -> None:
        """A nonce drawn earlier is accepted only if no greater one was."""
        request = compose(self.model.keys, command, nonce, self._params(command)).request
        expected: Expectation = "accepted" if nonce > self.model.last else "refused"
        self._expect(expected, request, f"nonce {nonce} after {self.model.last}")
        self.model.last = max(self.model.last, nonce)

    @rule(request=sent)
    def replay(self, request: Request) -> None:
        """A request that was accepted is refused ever after."""
        self._expect("refused", request, "a replayed request")

    @rule(data=st.data())
    def send_tampered(self, data: st.DataObject) -> None:
        """A request with a wrong signature is refused and moves nothing."""
        valid = compose(self.model.keys, CANCEL, self.model.nonces.next(), self._params(CANCEL))
        place = data.draw(st.integers(0, 63))
        digit = "0" if valid.signature[place] != "0" else "1"
        forged = valid.signature[:place] + digit + valid.signature[place + 1 :]
        self._expect("refused", with_signature(valid.request, forged), "a forged signature")

    @rule(other=order_ids())
    def send_other_order(self, other: int) -> None:
        """An order id that was changed after signing is refused and moves nothing."""
        valid = compose(self.model.keys, CANCEL, self.model.nonces.next(), {"order_id": self.order_id})
        changed = dress(CANCEL, {**valid.fields, "params": {"order_id": other}}, valid.signature)
        if other != self.order_id:
            self._expect("refused", changed, "another order than was signed")

    def _params(self, command: str) -> Parameters | None:
        return {"order_id": self.order_id} if command == CANCEL else None

    @invariant()
    def clock_is_not_overtaken(self) -> None:
        """No nonce is ahead of the clock."""
        assert self.model.last <= time.time_ns() // 100 + 1_000_000  # noqa: S101 # the machine's verdict

    def teardown(self) -> None:
        """Close the connection."""
        self.transport.close()


def cancel_session(base_url: str, pairs: Sequence[Credentials] | Callable[[], Credentials]) -> Any:
    """Build the test case of `CancelSession` for one server.

    `pairs` are key pairs to take turns with, or a function that opens a fresh one for each history. Off this
    machine it never shrinks, and sends at most a handful of short histories; a live host is refused.
    """
    target_class = parse_address(base_url).target_class
    if target_class == "live":
        raise TargetRefused(f"{base_url} is known to be live: random histories cancel real orders")
    source = iter(pairs, object()) if callable(pairs) else cycle(pairs)
    machine: Any = type("CancelSession", (CancelSession,), {"base_url": base_url, "pairs": source})
    case: Any = machine.TestCase
    quiet = [HealthCheck.too_slow]
    if target_class == "sandbox":
        steps = 5
        case.settings = settings(
            max_examples=min(3, SANDBOX_BUDGET // steps),
            stateful_step_count=steps,
            phases=(Phase.explicit, Phase.generate),
            database=None,
            deadline=None,
            suppress_health_check=quiet,
        )
    else:
        case.settings = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=quiet)
    return case
