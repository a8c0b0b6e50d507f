"""Secrets are found in every spelling, among any number of them, at a cost that their number does not change."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_contract.contract.redaction import Matcher, blank
from tn_contract.contract.signing import Secret
from tn_contract.contract.wire import Request
from tn_contract.record.journal import Redactor

SECRET = "tn-demo-secret"

Encode = Callable[[str], str]
secrets = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x4FF, exclude_characters="*"), min_size=12, max_size=40
)
noise = st.text(st.sampled_from("xyz 0&=%+;/"), max_size=8)


def chosen(text: str, marks: list[bool], encode: Callable[[str], str], always: str = "") -> str:
    """Encode some characters of a text and leave others."""
    return "".join(encode(char) if marks[at % len(marks)] or char in always else char for at, char in enumerate(text))


def percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def upper_or_lower(text: str, marks: list[bool]) -> str:
    return "".join(char.upper() if marks[at % len(marks)] else char for at, char in enumerate(text))


@st.composite
def encodings(draw: st.DrawFn) -> Encode:
    marks = draw(st.lists(st.booleans(), min_size=1, max_size=7))
    before, after = draw(st.binary(max_size=5)), draw(st.binary(max_size=5))

    width = draw(st.integers(16, 76))
    line_break = draw(st.sampled_from(["\n", "\r\n", "\r\n\t"]))

    def in_base64(text: str) -> str:
        return base64.b64encode(before + text.encode() + after).decode()

    def wrapped(text: str) -> str:
        return line_break.join(text[at : at + width] for at in range(0, len(text), width))

    some: list[Encode] = [
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: chosen(text, marks, percent),
        lambda text: chosen(text, marks, lambda char: percent(char).lower()),
        # A backslash that is left as it is before one of an escape would be read as an escaped backslash.
        lambda text: chosen(text, marks, lambda char: f"\\u{ord(char):04x}", always="\\"),
        lambda text: chosen(text, marks, lambda char: f"&#{ord(char)};"),
        lambda text: chosen(text, marks, lambda char: f"&#X{ord(char):x};"),
        lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;"),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        lambda text: upper_or_lower(text.encode().hex(), marks),
        in_base64,
        lambda text: in_base64(text).rstrip("="),
        lambda text: in_base64(text).replace("+", "-").replace("/", "_"),
        lambda text: wrapped(in_base64(text)),
        lambda text: text.encode().hex(":"),
        lambda text: wrapped(text.encode().hex(" ").upper()),
        # Text of which only a part is escaped is not looked for in UTF-16, unless it is ASCII.
        lambda text: base64.b64encode((text if text.isascii() else quote(text)).encode("utf-16-le")).decode(),
        lambda text: (text if text.isascii() else quote(text)).encode("utf-16-be").hex(),
    ]
    return draw(st.sampled_from(some))


@st.composite
def chains(draw: st.DrawFn) -> list[Encode]:
    """Two encodings, or Base32 with an escape around it."""
    if draw(st.booleans()):
        return draw(st.lists(encodings(), max_size=2))
    lower, width = draw(st.booleans()), draw(st.integers(16, 76))

    def in_base32(text: str) -> str:
        code = base64.b32encode(text.encode()).decode()
        lines = (code[at : at + width] for at in range(0, len(code), width))
        return "\n".join(line.lower() if lower else line for line in lines)

    return [in_base32, *draw(st.lists(st.sampled_from([quote_plus, lambda text: json.dumps(text)[1:-1]]), max_size=1))]


def test_separated_hex_is_found_within_another_encoding() -> None:
    separated = b"tn-demo-secret".hex(":")
    for spelled in (
        separated.encode().hex(),
        base64.b64encode(separated.encode()).decode(),
        b"tn-demo-secret".hex(" ").encode().hex(),
    ):
        assert blank(spelled, [Secret("tn-demo-secret")]).rstrip("=") == "***"


@given(secrets, chains(), noise, noise, st.booleans())
def test_every_chain_of_two_encodings_is_undone(
    secret: str, chain: list[Encode], before: str, after: str, many: bool
) -> None:
    spelled = secret
    for encode in chain:
        spelled = encode(spelled)
    text = before + spelled + after
    others = [Secret(f"{number:012x}") for number in range(50 if many else 0)]
    shown = blank(text, [*others, Secret(secret)])
    first, mark, last = shown.partition("***")
    assert mark, text
    while "***" in last:  # the noise may complete a second one
        last = last.partition("***")[2]
    assert text.startswith(first)
    assert text.endswith(last)
    # What is left of it is padding, and what was encoded together with it.
    assert len(text) - len(first) - len(last) >= len(spelled) * 0.7 - 40
    assert len(text) - len(first) - len(last) >= len(secret)


@pytest.mark.parametrize(
    "spelled",
    [
        "tn-demo%2Dsecret",
        "tn-demo%2dsecret",
        "tn-demo%252Dsecret",
        "tn-demo%25252Dsecret",
        "tn-demo\\u002dsecret",
        "tn-demo\\\\u002dsecret",
        "tn%2Ddemo\\u002dsecret",
        "tn&#45;demo&hyphen;secret".replace("&hyphen;", "&#x2D;"),
        "tn&amp;#45;demo-secret",
        "tn-demo%u002dsecret",
        "\\x74n-demo\\055secret",
        "746E2d64656D6f2d736563726574",
        "%37%34%36%65%32%64%36%34%36%35%36%64%36%66%32%64%37%33%36%35%36%33%37%32%36%35%37%34",
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        "dG4tZGVt\nby1zZWNyZXQ",
        "dG4tZGVt\r\n by1zZWNyZXQ",
        "dG4tZGVt\\nby1zZWNyZXQ",
        "dG4tZGVt%0D%0Aby1zZWNyZXQ",
        "74 6e 2d+64:65:6d:6f:2d:73:65:63:72:65:74",
        "ORXC2ZDFNVXS243FMNZGK5A",
        "orxc2zdfnvxs243fmnzgk5a",
        "ORXC2ZDFNVXS\n243FMNZGK5A",
        "\0".join(SECRET),
        "\\u0000".join(SECRET),
        "%00".join("tn-demo%2Dsecret"),
        base64.b64encode(SECRET.encode("utf-16-le")[:-1]).decode().rstrip("="),
        base64.b64encode("tn-demo%2Dsecret".encode("utf-16-le")[:-1]).decode().rstrip("="),
    ],
)
def test_a_secret_is_found_however_it_is_spelled(spelled: str) -> None:
    assert blank(f"a={spelled}&b", [Secret(SECRET)]) == "a=***&b"


@pytest.mark.parametrize("offset", range(6))
def test_a_secret_is_found_at_every_alignment(offset: int) -> None:
    plain = b"k" * offset + SECRET.encode() + b"\xff" * offset
    for encoded in (plain.hex(), "f" + plain.hex(), base64.b64encode(plain).decode(), "x" + plain.hex().upper()):
        assert "***" in blank(f"Basic {encoded}", [Secret(SECRET)])


@given(st.integers(0, 9_999), noise, noise)
def test_any_of_ten_thousand_secrets_is_found_and_nothing_else(number: int, before: str, after: str) -> None:
    assert blank(f"{before}{secret_of(number)}{after}", MANY) == f"{before}***{after}"
    assert blank(f"{before}{secret_of(number + 10_000)}{after}", MANY) == f"{before}{secret_of(number + 10_000)}{after}"


def secret_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:40]


MANY = Matcher([Secret(secret_of(number)) for number in range(10_000)])
ONE = Matcher([Secret(secret_of(0))])


@pytest.mark.parametrize("length", range(1, 41))
def test_secrets_of_every_length_are_found_at_every_place(length: int) -> None:
    secret = "s3cr-t5zqwx8vbn2mkl0poiuytrewqasdfghjklyx"[-length:]
    for matcher in (Matcher([Secret(secret)]), Matcher([*(Secret(f"{n:09x}") for n in range(9)), Secret(secret)])):
        for at in range(9):
            assert blank(" " * at + secret + " ", matcher) == " " * at + "*** "


@pytest.mark.parametrize("secret", ["a", "1", "123", "test", "secret"])
def test_a_short_secret_is_blanked_only_where_it_stands_alone(secret: str) -> None:
    shown = blank(f"latest1234a secrets banana {secret}, key={secret}&x", [Secret(secret)])
    assert shown == "latest1234a secrets banana ***, key=***&x"


def test_text_that_is_no_utf_8_keeps_its_other_characters() -> None:
    assert blank("\udcff é tn-demo-secret \ud800", [Secret(SECRET)]) == "\udcff é *** \ud800"
    assert blank("é\udcffß", [Secret("\udcffß-and-more")]) == "é\udcffß"


def test_parts_of_a_request_that_leak_are_named() -> None:
    request = Request("POST", "/a", (("X-A", "tn%2Ddemo-secret"), ("X-B", "1")), b"a=tn-demo%252Dsecret", "q")
    assert Redactor([Secret(SECRET)]).leaks(request) == ("body", "X-A")


@pytest.mark.parametrize(
    "text",
    [
        "apiKey=no-such-key&cmd=delTradeOrder&nonce=17953797860021223&params%5Border_id%5D=2929292929" * 4,
        "V" * 8_000,  # is text again in Base64, and once more
        "VVVV\n" * 1_600,
        "V\0" * 4_000,
        "%25" * 2_700,
        "/favicon.ico",
    ],
    ids=["form", "base64", "lines", "utf-16", "escapes", "path"],
)
@pytest.mark.slow
def test_ten_thousand_secrets_cost_no_more_than_one(text: str) -> None:
    def seconds(matcher: Matcher) -> float:
        best = 1e9
        for _ in range(9):
            started = time.process_time()
            for _ in range(max(1, 20_000 // len(text))):
                matcher.spans(text.encode())
            best = min(best, time.process_time() - started)
        return best

    assert seconds(MANY) < 10 * seconds(ONE)
