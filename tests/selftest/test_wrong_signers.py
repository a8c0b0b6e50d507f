"""Is the diagnosis any good? Wrong signers that know nothing of its stages make one mistake or two."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import SIGNATURE_HEADER, compose, with_signature
from tn_contract.diagnosis.diagnose import diagnose, situation_of

COUNT = 300
NAMED_AT_LEAST = 0.95


@dataclass
class Program:
    """A client that signs in its own way: each step can be replaced."""

    key: str
    secret: str
    nonce: str
    order_id: str
    comment: str = ""
    choose: Callable[[dict[str, Any]], dict[str, Any]] = dict
    arrange: Callable[[dict[str, Any]], list[str]] = sorted
    write: Callable[[list[tuple[str, Any]]], str] = field(default=lambda items: join(items))
    after: list[Callable[[str, Program], str]] = field(default_factory=list)
    keyed: Callable[[Program], bytes] = field(default=lambda program: program.secret.encode())
    digest: Callable[[bytes, bytes], bytes] = field(default=lambda key, text: hmac.digest(key, text, "sha256"))
    spell: Callable[[bytes], str] = bytes.hex

    def signature(self) -> str:
        params = {"order_id": self.order_id, **({"comment": self.comment} if self.comment else {})}
        request = {"cmd": "delTradeOrder", "apiKey": self.key, "nonce": self.nonce, "params": params}
        chosen = self.choose(request)

        def arranged(fields: dict[str, Any]) -> list[tuple[str, Any]]:
            return [
                (name, arranged(value) if isinstance(value := fields[name], dict) else value)
                for name in self.arrange(fields)
            ]

        text = self.write(arranged(chosen))
        for change in self.after:
            text = change(text, self)
        return self.spell(self.digest(self.keyed(self), text.encode()))


def join(items: list[tuple[str, Any]], between: str = "&") -> str:
    return between.join(f"{name}={join(value, between) if isinstance(value, list) else value}" for name, value in items)


def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: plain(value) if isinstance(value, list) else value for name, value in items}


def flat(items: list[tuple[str, Any]], shape: str) -> list[tuple[str, str]]:
    pairs = []
    for name, value in items:
        pairs += (
            [(shape % (name, inner), text) for inner, text in value] if isinstance(value, list) else [(name, value)]
        )
    return pairs


def numbers(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {inner: numbers(item, inner) for inner, item in value.items()}
    return int(value) if name == "order_id" else value


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def with_params(write: Callable[[Any], str]) -> Callable[[list[tuple[str, Any]]], str]:
    return lambda items: join([(n, write(numbers(plain(v))) if isinstance(v, list) else v) for n, v in items])


def number(old: str, change: Callable[[int], str]) -> Callable[[str, Program], str]:
    """Write a number otherwise behind its name, whatever stands between them."""

    def apply(text: str, program: Program) -> str:
        value: str = getattr(program, old)
        begin = text.find(old)
        at = text.find(value, max(begin, 0))
        return text if at < 0 else text[:at] + change(int(value)) + text[at + len(value) :]

    return apply


def float_of_php(value: int) -> str:
    mantissa, exponent = f"{float(value):.13e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E+{int(exponent)}"


COMPACT = (",", ":")
PATH = "/api/v2/cmd/delTradeOrder"
# What a signer does wrong: the step, how, and the ids that name it (several where two mistakes give the same).
WRONG: dict[str, tuple[str, Any, set[str]]] = {
    "forgets apiKey": ("choose", without("apiKey"), {"no-api-key"}),
    "forgets cmd": ("choose", without("cmd"), {"no-cmd"}),
    "forgets nonce": ("choose", without("nonce"), {"no-nonce"}),
    "forgets params": ("choose", without("params"), {"no-params"}),
    "signs params alone": ("choose", lambda fields: fields["params"], {"only-params"}),
    "lifts params": ("choose", lambda fields: {**without("params")(fields), **fields["params"]}, {"params-lifted"}),
    "does not sort": ("arrange", list, {"unsorted", "inner-unsorted"}),
    "sorts downwards": ("arrange", lambda names: sorted(names, reverse=True), {"reverse-sorted"}),
    "builds a query": ("write", lambda items: urlencode(flat(items, "%s[%s]")), {"percent-encoded"}),
    "builds a query with %20": (
        "write", lambda items: urlencode(flat(items, "%s[%s]"), quote_via=quote), {"percent-encoded"}),
    "writes brackets": (
        "write", lambda items: "&".join(f"{n}={v}" for n, v in flat(items, "%s[%s]")), {"brackets"}),
    "writes dots": ("write", lambda items: "&".join(f"{n}={v}" for n, v in flat(items, "%s.%s")), {"dotted-name"}),
    "params as compact JSON": (
        "write", with_params(lambda value: json.dumps(value, separators=COMPACT, ensure_ascii=False)),
        {"params-as-json"}),
    "params as JSON": ("write", with_params(lambda value: json.dumps(value, ensure_ascii=False)), {"params-as-json"}),
    "params as Python prints it": ("write", with_params(str), {"params-as-repr"}),
    "everything as compact JSON": (
        "write", lambda items: json.dumps(numbers(plain(items)), separators=COMPACT, ensure_ascii=False),
        {"request-as-json"}),
    "everything as JSON": (
        "write", lambda items: json.dumps(numbers(plain(items)), ensure_ascii=False), {"request-as-json"}),
    "joins with nothing": ("write", lambda items: join(items, ""), {"no-separators"}),
    "values alone": ("write", lambda items: "".join(value for _, value in flat(items, "%s%s")), {"values-only"}),
    "nonce as a float": ("after", number("nonce", lambda n: f"{n}.0"), {"nonce-as-float"}),
    "nonce as PHP prints floats": ("after", number("nonce", float_of_php), {"nonce-in-exponent"}),
    "nonce in ms": ("after", number("nonce", lambda n: str(n // 10_000)), {"nonce-in-other-unit"}),
    "nonce in s": ("after", number("nonce", lambda n: str(n // 10_000_000)), {"nonce-in-other-unit"}),
    "next nonce": ("after", number("nonce", lambda n: str(n + 1)), {"other-nonce", "nonce-rounded"}),
    "order id as a float": ("after", number("order_id", lambda n: f"{n}.0"), {"order-id-as-float"}),
    "next order id": ("after", number("order_id", lambda n: str(n + 1)), {"other-order-id", "order-id-rounded"}),
    "& at the end": ("after", lambda text, _: text + "&", {"trailing-ampersand"}),
    "? at the beginning": ("after", lambda text, _: "?" + text, {"question-mark"}),
    "echo": ("after", lambda text, _: text + "\n", {"line-feed"}),
    "path first": ("after", lambda text, _: PATH + text, {"path-signed"}),
    "path and ?": ("after", lambda text, _: f"{PATH}?{text}", {"path-signed"}),
    "method first": ("after", lambda text, _: "POST" + text, {"method-signed"}),
    "secret at the end": (
        "after", lambda text, program: text + program.secret, {"secret-in-string", "secret-appended"}),
    "secret at the beginning": (
        "after", lambda text, program: program.secret + text, {"secret-in-string", "secret-appended"}),
    "key as secret": ("keyed", lambda program: program.key.encode(), {"key-as-secret"}),
    "secret from hex": ("keyed", lambda program: bytes.fromhex(program.secret), {"secret-hex-decoded"}),
    "secret from base64": ("keyed", lambda program: base64.b64decode(program.secret), {"secret-base64-decoded"}),
    "secret hashed": (
        "keyed", lambda program: hashlib.sha256(program.secret.encode()).hexdigest().encode(), {"secret-hashed"}),
    "secret in capitals": ("keyed", lambda program: program.secret.upper().encode(), {"secret-upper-cased"}),
    "secret with line feed": ("keyed", lambda program: f"{program.secret}\n".encode(), {"secret-line-feed"}),
    "no secret": ("keyed", lambda program: b"", {"secret-empty"}),
    "key and secret": ("keyed", lambda program: (program.key + program.secret).encode(), {"key-and-secret-joined"}),
    "sha1": ("digest", lambda key, text: hmac.digest(key, text, "sha1"), {"hmac-sha1"}),
    "md5": ("digest", lambda key, text: hmac.digest(key, text, "md5"), {"hmac-md5"}),
    "sha512": ("digest", lambda key, text: hmac.digest(key, text, "sha512"), {"hmac-sha512"}),
    "sha384": ("digest", lambda key, text: hmac.digest(key, text, "sha384"), {"hmac-sha384"}),
    "plain sha256": ("digest", lambda key, text: hashlib.sha256(text).digest(), {"plain-hash", "secret-appended"}),
    "sha256 with the secret behind": (
        "digest", lambda key, text: hashlib.sha256(text + key).digest(), {"secret-appended", "plain-hash"}),
    "v1": ("digest", lambda key, text: hashlib.md5(text + key).digest(), {"v1-rule"}),
    "key and message swapped": (
        "digest", lambda key, text: hmac.digest(text, key, "sha256"), {"message-and-secret-swapped"}),
    "base64": ("spell", lambda digest: base64.b64encode(digest).decode(), {"base64"}),
    "base64 of the hex": ("spell", lambda digest: base64.b64encode(digest.hex().encode()).decode(), {"base64-of-hex"}),
    "capitals": ("spell", lambda digest: digest.hex().upper(), {"upper-case-hex"}),
    "half of it": ("spell", lambda digest: digest.hex()[: len(digest)], {"truncated"}),
    "a prefix": ("spell", lambda digest: f"sha256={digest.hex()}", {"signature-prefixed"}),
    "quotes": ("spell", lambda digest: f'"{digest.hex()}"', {"signature-quoted"}),
}  # fmt: skip
# Pairs that no search can tell apart: one of the two leaves no trace in what is sent.
LEAVE_NO_TRACE = {
    "keyed": {"plain sha256"},
    "arrange": {"signs params alone"},
}


def leaves_no_trace(first: str, second: str) -> bool:
    """A mistake that another one hides, such as a wrong secret of a digest that takes none."""
    return any(
        WRONG[a][0] == step and b in others
        for step, others in LEAVE_NO_TRACE.items()
        for a, b in ((first, second), (second, first))
    )


def programs(rng: random.Random) -> Program:
    return Program(
        key=f"{rng.getrandbits(128):032x}",
        secret=f"{rng.getrandbits(160):040x}",
        nonce=str(rng.randrange(16_500_000_000_000_000, 18_200_000_000_000_000)),
        order_id=str(rng.choice([rng.randrange(10**8, 10**10), rng.randrange(1, 10**5), rng.randrange(2**53, 2**63)])),
        comment=rng.choice(["", "", "", "two words"]),
    )


def wrong_signers() -> list[tuple[tuple[str, ...], Program]]:
    rng = random.Random(20261122)
    names = list(WRONG)
    found: list[tuple[tuple[str, ...], Program]] = []
    while len(found) < COUNT:
        mistakes: tuple[str, ...] = (names[len(found)],) if len(found) < len(names) else tuple(rng.sample(names, 2))
        steps = [WRONG[each][0] for each in mistakes]
        if len(set(steps)) < len(steps) or (len(mistakes) == 2 and leaves_no_trace(*mistakes)):
            continue
        program = programs(rng)
        for each in mistakes:
            step, how, _ids = WRONG[each]
            setattr(program, step, [how] if step == "after" else how)
        found.append((mistakes, program))
    return found


def judged(program: Program) -> tuple[str, ...] | None:
    credentials = Credentials(program.key, Secret(program.secret))
    params = {"order_id": program.order_id, **({"comment": program.comment} if program.comment else {})}
    request = compose(credentials, "delTradeOrder", program.nonce, params).request
    # The body comes in the order in which the client built its fields.
    names = [("cmd", "delTradeOrder"), ("apiKey", program.key), ("nonce", program.nonce)]
    body = urlencode([*names, *((f"params[{name}]", value) for name, value in params.items())]).encode()
    request = with_signature(type(request)(request.method, request.path, request.headers, body), program.signature())
    if situation_of(request, credentials) == "cancel-accepted":
        return None
    found = diagnose(request, "signature-invalid", credentials, at_ns=0)
    return found.mistakes if found else ()


def is_named(mistakes: tuple[str, ...], named: tuple[str, ...] | None) -> bool:
    """Every mistake made is among those named, and none is named that was not made."""
    if named is None:
        return True  # the mistake changes nothing in this request
    allowed = set().union(*(WRONG[each][2] for each in mistakes))
    return bool(named) and set(named) <= allowed and len(named) <= len(mistakes)


@pytest.mark.full
def test_nearly_every_wrong_signer_is_named() -> None:
    missed = [
        (mistakes, named) for mistakes, program in wrong_signers() if not is_named(mistakes, named := judged(program))
    ]
    assert len(missed) <= COUNT * (1 - NAMED_AT_LEAST), missed


@pytest.mark.parametrize("mistake", WRONG)
def test_each_single_mistake_is_named(mistake: str) -> None:
    named = [judged(program) for mistakes, program in wrong_signers() if mistakes == (mistake,)]
    assert named
    assert all(is_named((mistake,), each) for each in named), named


def test_a_signer_that_does_nothing_wrong_has_a_valid_request() -> None:
    rng = random.Random(1)
    assert Counter(judged(programs(rng)) for _ in range(100)) == {None: 100}


@seed(3)
@settings(max_examples=2 * settings().max_examples, deadline=None, database=None)
@given(
    key=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.strip() == text),
    secret=st.text(st.characters(codec="utf-8"), min_size=1, max_size=50),
    nonce=st.integers(0, 2**63 - 1),
    order_id=st.integers(1, 2**63 - 1),
    mistake=st.sampled_from(sorted(set(WRONG) - {"secret from hex", "secret from base64"})),
)
def test_whatever_key_and_secret_a_refused_request_is_never_diagnosed_with_the_secret_in_it(
    key: str, secret: str, nonce: int, order_id: int, mistake: str
) -> None:
    program = Program(key, f"planted-{secret}-planted", str(nonce), str(order_id))
    step, how, _ids = WRONG[mistake]
    setattr(program, step, [how] if step == "after" else how)
    credentials = Credentials(program.key, Secret(program.secret))
    request = compose(credentials, "delTradeOrder", nonce, {"order_id": str(order_id)}).request
    request = with_signature(request, program.signature())
    found = diagnose(request, "signature-invalid", credentials, at_ns=0)
    assert program.secret not in repr(found)
    assert SIGNATURE_HEADER in dict(request.headers)
