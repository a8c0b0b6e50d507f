"""Bytes ↔ request and reply: PHP's form rules, the documented request, and what a reply body says."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_contract.contract import wire
from tn_contract.contract.errors import InvalidRequest
from tn_contract.contract.signing import Credentials, Secret, canonical_string, sign
from tn_contract.contract.wire import (
    Nested,
    Reply,
    Request,
    compose,
    compose_v3,
    dress,
    encode_fields,
    encode_form,
    nest,
    parse_fields,
    read_body,
    sign_body,
    with_header,
)

KEYS = Credentials("public key", Secret("secret"))


def parsed(body: bytes) -> Nested:
    return nest(parse_fields(body))


# ---- PHP is the measure of form parsing --------------------------------------------------------------------

PARSE_STR = """
function told($value) {
    if (!is_array($value)) return bin2hex($value);
    $members = [];
    foreach ($value as $key => $inner) $members[] = [is_int($key), bin2hex((string) $key), told($inner)];
    return $members;
}
while (($line = fgets(STDIN)) !== false) {
    $answers = [];
    foreach (json_decode($line) as $body) {
        $fields = [];
        parse_str(base64_decode($body), $fields);
        $answers[] = told($fields);
    }
    echo json_encode($answers), "\\n";
}
"""

Php = Callable[[list[bytes]], list[Any]]


@pytest.fixture(scope="module")
def php() -> Iterator[Php]:
    program = shutil.which("php")
    if program is None:
        pytest.skip("php is not installed")
    command = [program, "-n", "-d", "display_errors=0", "-d", "log_errors=0", "-r", PARSE_STR]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(bodies: list[bytes]) -> list[Any]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([base64.b64encode(body).decode() for body in bodies]) + "\n")
            process.stdin.flush()
            answers: list[Any] = json.loads(process.stdout.readline())
            return answers

        yield ask


def told(value: str | Nested) -> Any:
    """Write our reading as the PHP program writes its own: order of keys, and which of them are numbers."""
    if isinstance(value, str):
        return as_hex(value)
    return [[wire._is_array_index(key), as_hex(key), told(inner)] for key, inner in value.items()]


def as_hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()


PIECES = [
    b"\0", b"a", b"b", b"[", b"]", b"[", b"]", b"[]", b"[b]", b"=", b"&", b"=1&", b" ", b".", b"_", b"+", b"%5B",
    b"%5D", b"%00", b"%zz", b"%", b"1", b"0", b"-1", b"-", b"01", b"\xc3\xa9", b"\xff", b"%ff", b"\t", b"%0a", b"%0b",
    b"%0c", b"%0d", b";", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"a[0]=1&a[]=",
    b"a[b]=",
]  # fmt: skip


def split(drawn: bytes) -> list[bytes]:
    # Many bodies in one drawing, for each drawing has its cost. parse_str itself stops at a zero byte; a form does not.
    return drawn.split(b"\0")


@given(st.binary(min_size=200, max_size=600).map(lambda drawn: b"".join(PIECES[byte % len(PIECES)] for byte in drawn)))
def test_a_form_is_read_as_php_reads_it(php: Php, drawn: bytes) -> None:
    for body, answer in zip(split(drawn), php(split(drawn)), strict=True):
        assert told(parsed(body)) == answer, body


@given(st.binary(max_size=600))
def test_any_bytes_are_read_as_php_reads_them(php: Php, drawn: bytes) -> None:
    for body, answer in zip(split(drawn), php(split(drawn)), strict=True):
        assert told(parsed(body)) == answer, body


@pytest.mark.parametrize("levels", [1, 63, 64, 65, 66])
@pytest.mark.parametrize("before", [b"", b"a=1&"])
def test_the_depth_limit_is_php_s_own(php: Php, levels: int, before: bytes) -> None:
    body = before + b"a" + b"[b]" * levels + b"=1&c=2"
    assert [told(parsed(body))] == php([body])


@pytest.mark.parametrize("count", [999, 1000, 1001, 1500])
@pytest.mark.parametrize("separator", [b"&", b"&&"])
def test_the_field_limit_is_php_s_own(php: Php, count: int, separator: bytes) -> None:
    body = separator.join(b"f%d=1" % number for number in range(count))
    assert [told(parsed(body))] == php([body])
    assert len(parse_fields(body)) == min(count, 1000)


# ---- the same rules, as examples ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a", {"a": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a[x]=1&a[x]=2&a[y]=3", {"a": {"x": "2", "y": "3"}}),
        (b"a=1&a[x]=2", {"a": {"x": "2"}}),
        (b"a[x]=1&a=2", {"a": "2"}),
        (b"a[]=x&a[]=y", {"a": {"0": "x", "1": "y"}}),
        (b"a[5]=x&a[]=y&a[-9]=z&a[]=w", {"a": {"5": "x", "6": "y", "-9": "z", "7": "w"}}),
        (b"a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        (b"a[b]c[d]=1", {"a": {"b": "1"}}),
        (b"a[b=1", {"a_b": "1"}),
        (b"a.b=1&c d=2&%20e=3", {"a_b": "1", "c_d": "2", "e": "3"}),
        (b"=1&[x]=2&[=3", {}),
        (b"a%00b=1", {"a": "1"}),
        (b"a+b=c+d%2B", {"a_b": "c d+"}),
        (b"params%5Border_id%5D=7", {"params": {"order_id": "7"}}),
    ],
)
def test_a_form_nests_by_its_brackets_and_the_last_duplicate_wins(php: Php, body: bytes, expected: Nested) -> None:
    assert [told(parsed(body))] == php([body])
    assert parsed(body) == expected


def test_fields_keep_their_order_and_their_duplicates() -> None:
    assert parse_fields(b"b=1&a=2&b=3&c") == [("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]


@given(st.lists(st.sampled_from(["a[]", "a[][]", "a[7]", "a[7][]", "a[x]"]), min_size=100, max_size=100))
def test_each_key_is_looked_at_once_for_the_next_index(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        looks = Mock(side_effect=wire._is_array_index)
        patch.setattr(wire, "_is_array_index", looks)
        nest((name, "") for name in names)
    assert looks.call_count <= 2 * len(names)  # no name has more than two keys in brackets


def test_an_element_after_the_highest_index_is_dropped() -> None:
    assert parsed(b"a[9223372036854775807]=1&a[]=2&b=3") == {"a": {"9223372036854775807": "1"}, "b": "3"}


@given(st.binary())
def test_bytes_that_are_no_utf_8_reach_the_signature_unharmed(raw: bytes) -> None:
    body = b"a=" + b"".join(b"%%%02x" % byte for byte in raw)
    assert canonical_string(parsed(body)).encode("utf-8", "surrogateescape") == b"a=" + raw


@given(st.binary())
def test_any_bytes_are_read_as_some_form(body: bytes) -> None:
    for name, value in parse_fields(body):
        assert encode_fields([(name, value)])
    assert isinstance(parsed(body), dict)


# ---- writing forms -----------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
outer_names = texts.filter(lambda name: name and not set(name) & set(" .[\0"))  # PHP would rewrite these
inner_names = texts.filter(lambda name: name.strip(" \t\n\r\v\f") and not set(name) & set("]\0"))
values = texts | st.integers()
trees = st.dictionaries(
    outer_names,
    st.recursive(
        values,
        lambda inner: st.dictionaries(inner_names, inner, min_size=1, max_size=4) | st.lists(inner, min_size=1),
        max_leaves=8,
    ),
    max_size=5,
)


def as_received(value: Any) -> Any:
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    return {key: as_received(item) for key, item in value.items()} if isinstance(value, dict) else str(value)


@given(trees)
def test_a_written_form_is_read_back_as_it_was(tree: dict[str, Any]) -> None:
    body = encode_form(tree)
    assert parsed(body) == as_received(tree)
    assert canonical_string(parsed(body)) == canonical_string(tree)


@pytest.mark.slow
@given(st.lists(trees, min_size=1, max_size=4))
def test_a_written_form_means_the_same_to_php(php: Php, drawn: list[dict[str, Any]]) -> None:
    assert php([encode_form(tree) for tree in drawn]) == [told(as_received(tree)) for tree in drawn]


@given(st.lists(st.tuples(texts, texts).filter(lambda field: field != ("", ""))))
def test_written_fields_are_read_back_with_order_and_duplicates(fields: list[tuple[str, str]]) -> None:
    assert parse_fields(encode_fields(fields)) == fields


def test_a_form_is_written_in_the_order_given_and_in_plain_ascii() -> None:
    assert encode_form({"b": "é &=+/~", "a": {"x": [1, "y"]}}) == (
        b"b=%C3%A9+%26%3D%2B%2F~&a%5Bx%5D%5B0%5D=1&a%5Bx%5D%5B1%5D=y"
    )


# ---- the documented request --------------------------------------------------------------------------------


def test_the_cancel_of_the_seed_page_is_composed_byte_for_byte() -> None:
    composed = compose(KEYS, "delTradeOrder", 17000000000000000, {"order_id": 2929292929})
    assert composed.string_to_sign == (
        "apiKey=public key&cmd=delTradeOrder&nonce=17000000000000000&params=order_id=2929292929"
    )
    assert composed.signature == sign(composed.fields, KEYS.secret).signature
    assert composed.request == Request(
        "POST",
        "/api/v2/cmd/delTradeOrder",
        (("Content-Type", "application/x-www-form-urlencoded"), ("X-NtApi-Sig", composed.signature)),
        b"apiKey=public+key&cmd=delTradeOrder&nonce=17000000000000000&params%5Border_id%5D=2929292929",
    )


@pytest.mark.parametrize("params", [None, {}])
def test_empty_params_are_neither_signed_nor_sent(params: dict[str, Any] | None) -> None:
    composed = compose(KEYS, "getAuthInfo", 1, params)
    assert composed.string_to_sign == "apiKey=public key&cmd=getAuthInfo&nonce=1"
    assert composed.request.body == b"apiKey=public+key&cmd=getAuthInfo&nonce=1"
    assert composed.request.path == "/api/v2/cmd/getAuthInfo"


@given(st.integers(0, 2**63 - 1))
def test_a_nonce_goes_out_with_every_digit(nonce: int) -> None:
    composed = compose(KEYS, "getAuthInfo", nonce)
    assert compose(KEYS, "getAuthInfo", str(nonce)) == composed
    assert parsed(composed.request.body)["nonce"] == str(nonce)


@given(st.dictionaries(inner_names, values | st.lists(values, min_size=1), min_size=1))
def test_what_is_sent_verifies_against_what_was_signed(params: dict[str, Any]) -> None:
    composed = compose(KEYS, "delTradeOrder", 1, params)
    assert canonical_string(parsed(composed.request.body)) == composed.string_to_sign


@pytest.mark.parametrize("value", [None, True, 1.5, {}, []])
def test_parameters_that_cannot_be_signed_are_not_composed(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^params\[order_id\] is "):
        compose(KEYS, "delTradeOrder", 1, {"order_id": value})


def test_a_wrong_signature_can_be_dressed_on_purpose() -> None:
    request = dress("delTradeOrder", {"a": "b"}, "wrong")
    assert request.header("X-NtApi-Sig") == "wrong"
    assert request.body == b"a=b"


@pytest.mark.parametrize("message", [Request("POST", "/", (("X-A", "1"), ("x-a", "2"))), Reply(200, (("x-A", "1"),))])
def test_a_header_is_found_in_any_case_and_the_first_one_counts(message: Request | Reply) -> None:
    assert message.header("x-a") == message.header("X-A") == "1"
    assert message.header("x-b") is None


# ---- reply bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_a_body_without_a_word_is_empty(body: bytes) -> None:
    assert read_body(body).form == "empty"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"{", b'{"a": 1', b'{"a": 1} x', b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}',
        b'\xef\xbb\xbf{"a": 1}', b'{"a": "\xff"}', b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}',
        b'{"a": ' + b"1" * 5000 + b"}", b'{"a": "\n"}', '{"a": 1}'.encode("utf-16"), b'{"a": 01}', b"\0",
        b'[{"a": 1, "a": 1}]',
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_not_json(body: bytes) -> None:
    reading = read_body(body)
    assert (reading.form, reading.members, reading.failed) == ("not-json", {}, False)


@pytest.mark.parametrize("body", [b"null", b"1", b"true", b'"order_id"', b"[]", b'[{"order_id": 1}]', b"1e999"])
def test_json_that_is_no_object_has_no_members(body: bytes) -> None:
    reading = read_body(body)
    assert (reading.form, reading.members, reading.order_id, reading.code) == ("other-json", {}, None, None)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"error":['])
def test_nesting_without_end_is_no_reply(opening: bytes) -> None:
    assert read_body(opening * 100_000).form == "not-json"


@pytest.mark.parametrize("falsy", ["", "0", None, False, 0, 0.0, -0.0, [], {}])
@pytest.mark.parametrize("key", ["error", "errMsg", "errorMsg"])
def test_a_failure_text_that_is_falsy_to_php_is_no_failure(key: str, falsy: Any) -> None:
    reading = read_body(json.dumps({"order_id": 1, key: falsy}).encode())
    assert not reading.failed
    assert reading.message == ""
    assert reading.order_id == 1


@pytest.mark.parametrize("truthy", ["x", " ", "00", "0.0", "false", True, 1, -1, 0.5, [0], {"a": None}, [[]]])
@pytest.mark.parametrize("key", ["error", "errMsg", "errorMsg"])
def test_any_other_failure_text_is_a_failure(key: str, truthy: Any) -> None:
    reading = read_body(json.dumps({key: truthy}).encode())
    assert reading.failed
    assert reading.failure_keys == (key,)
    assert reading.message == str(truthy)


@given(st.sampled_from(["error", "errMsg", "errorMsg"]), st.sampled_from(["x", 1, True, [0]]))
def test_a_nested_failure_text_is_no_failure(key: str, text: Any) -> None:
    assert not read_body(json.dumps({"order": {key: text}, "orders": [{key: text}], "code": 12}).encode()).failed


@pytest.mark.parametrize("key", ["Error", "ERRMSG", "errmsg", "error_msg", "message"])
def test_names_of_failure_texts_are_exact(key: str) -> None:
    assert not read_body(json.dumps({key: "text"}).encode()).failed


def test_the_first_failure_text_is_the_message() -> None:
    reading = read_body(b'{"code": 12, "errorMsg": "c", "error": "b", "errMsg": ""}')
    assert reading.failure_keys == ("error", "errorMsg")
    assert reading.message == "b"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("0", 0), ("12", 12), ("-1", -1), ('"2"', 2), ('"-3"', -3), ('"E7"', "E7"), ('""', ""), ('"1.5"', "1.5"),
        ('"1234567890123"', "1234567890123"), ('"²"', "²"), ("null", None), ("true", None), ("1.0", None),
    ],
)  # fmt: skip
def test_a_code_is_a_number_if_it_spells_one(written: str, code: int | str | None) -> None:
    read = read_body(f'{{"code": {written}}}'.encode()).code
    assert read == code
    assert type(read) is type(code)


@pytest.mark.parametrize("written", ["true", "1.0", '"1"', "null", "[1]", "{}", "1e0"])
def test_only_an_integer_is_an_order_id_or_a_result(written: str) -> None:
    reading = read_body(f'{{"order_id": {written}, "result": {written}}}'.encode())
    assert (reading.form, reading.order_id, reading.result) == ("object", None, None)


@given(st.integers(-(2**100), 2**100))
def test_an_integer_keeps_every_digit(number: int) -> None:
    reading = read_body(f'{{"order_id": {number}, "result": {number}, "code": {number}}}'.encode())
    assert reading.order_id == reading.result == reading.code == number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "order_id"]) | st.text(), inner),
    max_leaves=10,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    reading = read_body(body)
    assert reading.form in ("object", "other-json", "not-json", "empty")
    assert isinstance(reading.message, str)
    assert reading.failed == bool(reading.failure_keys)
    assert isinstance(reading.code, int | str | None)
    assert reading.form == "object" or not reading.members


# ---- v3 ----------------------------------------------------------------------------------------------------

KEYS_V3 = Credentials("public", Secret("secret"))


def test_a_v3_cancel_is_the_official_sdks_request() -> None:
    signed = compose_v3(KEYS_V3, "delTradeOrder", 1700000000, {"order_id": 2929292929})
    assert signed.request == Request(
        "POST",
        "/api/delTradeOrder",
        (
            ("Content-Type", "application/json"),
            ("X-NtApi-PublicKey", "public"),
            ("X-NtApi-Timestamp", "1700000000"),
            ("X-NtApi-Sig", "7d188036d889f8a318f324a7bf1d32cb7019c7d8c6701d2cf3bc0eaf92d80062"),
        ),
        b'{"order_id":2929292929}',
    )
    assert signed.fields == {"order_id": 2929292929}
    assert signed.string_to_sign == '{"order_id":2929292929}1700000000'


@pytest.mark.parametrize("params", [None, {}])
def test_no_v3_params_are_sent_as_braces(params: Any) -> None:
    signed = compose_v3(KEYS_V3, "getAuthInfo", "1700000000", params)
    assert signed.request.body == b"{}"
    assert signed.signature == "8fb127cc8c5b6431435f5b344626a2223f2a364e6e5a8af0c4fca32b31d2eb52"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), st.integers(0, 2**40))
def test_v3_params_come_back_from_the_body_and_the_bytes_sent_are_the_bytes_signed(params: Any, stamp: int) -> None:
    signed = compose_v3(KEYS_V3, "x", stamp, params)
    assert json.loads(signed.request.body) == params
    assert signed.request.body.isascii()
    assert signed.string_to_sign.encode() == signed.request.body + str(stamp).encode()
    assert sign_body(KEYS_V3, "x", stamp, signed.request.body).request == signed.request


@given(st.binary())
def test_a_v3_body_of_any_bytes_is_signed_as_it_is(body: bytes) -> None:
    signed = sign_body(KEYS_V3, "x", 1, body)
    assert signed.request.body == body
    assert signed.string_to_sign.encode("utf-8", "surrogateescape") == body + b"1"


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"bytes"])
def test_v3_params_without_a_json_text_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="no JSON text"):
        compose_v3(KEYS_V3, "x", 1, {"order_id": value})


def test_a_header_is_replaced_or_left_out() -> None:
    request = Request("POST", "/", (("A", "1"), ("B", "2")))
    assert with_header(request, "A", "3").headers == (("B", "2"), ("A", "3"))
    assert with_header(request, "A", None).headers == (("B", "2"),)
