"""Parameters → string to sign → signature, and secrets that do not show."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tn_contract.client.client import AsyncClient, Client
from tn_contract.contract import signing
from tn_contract.contract.errors import InvalidRequest, TnContractError, UsageError
from tn_contract.contract.signing import Credentials, Secret, canonical_string, sign, signature_of, verify

PLANTED = "planted-5ecret-0123456789"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
leaves = texts | st.integers(-(2**70), 2**70)
parameters = st.recursive(
    st.dictionaries(names, leaves, min_size=1, max_size=5),
    lambda inner: st.dictionaries(names, leaves | inner | st.lists(leaves, min_size=1, max_size=3), min_size=1),
    max_leaves=10,
)


def shuffled(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}


# ---- the string to sign ------------------------------------------------------------------------------------


def test_names_are_sorted_and_joined_with_their_raw_values() -> None:
    assert canonical_string({"nonce": "1", "apiKey": "k", "cmd": "a b&c=d/é"}) == "apiKey=k&cmd=a b&c=d/é&nonce=1"


def test_a_nested_map_is_its_own_sorted_string() -> None:
    assert canonical_string({"params": {"b": 2, "a": {"z": 1, "y": ""}}, "cmd": "x"}) == "cmd=x&params=a=y=&z=1&b=2"


def test_a_list_is_a_map_of_its_indexes_in_the_order_of_numbers() -> None:
    assert canonical_string({"l": list(range(11))}) == "l=" + "&".join(f"{n}={n}" for n in range(11))
    assert canonical_string({"l": ("a", "b")}) == canonical_string({"l": {"1": "b", "0": "a"}}) == "l=0=a&1=b"


def test_names_that_are_not_all_indexes_sort_by_their_bytes() -> None:
    assert canonical_string({"10": "a", "9": "b", "x": "c"}) == "10=a&9=b&x=c"
    assert canonical_string({"10": "a", "09": "b"}) == "09=b&10=a"
    assert canonical_string({"a": "1", "B": "2", "_": "3", "é": "4", "Z": "5"}) == "B=2&Z=5&_=3&a=1&é=4"


def test_names_sort_by_utf_8_and_not_by_utf_16() -> None:
    assert canonical_string({"\U0001f600": "2", "\uff5e": "1"}) == "\uff5e=1&\U0001f600=2"


def test_no_parameters_give_the_empty_string() -> None:
    assert canonical_string({}) == ""


@given(st.data(), parameters)
def test_the_order_of_insertion_does_not_matter(data: st.DataObject, given_parameters: dict[str, Any]) -> None:
    assert canonical_string(shuffled(given_parameters, data.draw)) == canonical_string(given_parameters)


@given(st.integers())
def test_an_int_is_signed_as_its_decimal_text(number: int) -> None:
    assert canonical_string({"n": number}) == canonical_string({"n": str(number)}) == f"n={number}"


# ---- what cannot be signed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False, None, 1.0, float("nan"), b"bytes", {1}, object()])
def test_a_value_without_an_agreed_text_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"^params\[a\]\[0\] is a {type(value).__name__}: send a str"):
        canonical_string({"params": {"a": [value]}})


@pytest.mark.parametrize("value", [{}, [], ()])
def test_an_empty_map_or_list_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^params\[a\] is empty: leave it out"):
        canonical_string({"params": {"a": value}})


@pytest.mark.parametrize("name", [1, None, b"a", True, ("a",)])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(InvalidRequest, match="is no text: names are str"):
        canonical_string({"params": {"a": "b", name: "c"}})


@pytest.mark.parametrize(
    "given_parameters", [{"a": "\ud800"}, {"\ud800": "a"}, {"a": {"\udfff": "b"}}, {"a": "b", "c": ["\ud800x"]}]
)
def test_a_lone_surrogate_is_refused_in_names_and_values(given_parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="lone surrogate"):
        sign(given_parameters, "s")


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too many digits"):
        sign({"a": 10**5000}, "s")


def test_bytes_that_are_no_utf_8_are_signed_as_they_came() -> None:
    received = b"\xff\xfe".decode(signing.ENCODING, signing.ERRORS)
    expected = hmac.new(b"s", b"a=\xff\xfe", hashlib.sha256).hexdigest()
    assert sign({"a": received}, "s").signature == expected


# ---- the signature -----------------------------------------------------------------------------------------


@given(parameters, texts)
def test_the_signature_is_lower_case_hex_hmac_sha256_of_the_string(given_parameters: dict[str, Any], key: str) -> None:
    signed = sign(given_parameters, key)
    assert signed.parameters is given_parameters
    assert signed.string_to_sign == canonical_string(given_parameters)
    assert signed.signature == hmac.new(key.encode(), signed.string_to_sign.encode(), hashlib.sha256).hexdigest()
    assert sign(given_parameters, Secret(key)) == signed


@given(texts, texts, texts.filter(bool))
def test_a_signature_verifies_for_its_own_string_and_no_other(string: str, other: str, key: str) -> None:
    signature = signature_of(string, Secret(key))
    assert verify(string, Secret(key), signature)
    assert verify(other, Secret(key), signature) == (other == string)


@given(texts, texts, texts)
def test_a_signature_verifies_under_its_own_secret_and_no_other(string: str, key: str, other: str) -> None:
    assume(key.rstrip("\0") != other.rstrip("\0"))  # HMAC fills short keys with zero bytes
    assert not verify(string, Secret(other), signature_of(string, Secret(key)))


@given(st.dictionaries(names, texts, min_size=1), st.data())
def test_a_changed_name_or_value_changes_the_signature(flat: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(flat)))
    changed = dict(flat)
    changed[name] = data.draw(texts)
    assume(canonical_string(changed) != canonical_string(flat))
    renamed = {(key + "x" if key == name else key): value for key, value in flat.items()}
    assume(canonical_string(renamed) != canonical_string(flat))
    signature = sign(flat, "s").signature
    assert not verify(canonical_string(changed), Secret("s"), signature)
    assert not verify(canonical_string(renamed), Secret("s"), signature)


@given(st.data())
def test_a_signature_with_any_one_character_changed_is_refused(data: st.DataObject) -> None:
    signature = signature_of("a=b", Secret("s"))
    position = data.draw(st.integers(0, len(signature) - 1))
    character = data.draw(st.characters().filter(lambda drawn: drawn != signature[position]))
    assert not verify("a=b", Secret("s"), signature[:position] + character + signature[position + 1 :])


@pytest.mark.parametrize("signature", ["", "0" * 64, "é" * 64, "\ud800"])
def test_a_signature_of_another_shape_is_refused_without_an_error(signature: str) -> None:
    assert not verify("a=b", Secret("s"), signature)


def test_an_upper_case_signature_is_refused() -> None:
    assert not verify("a=b", Secret("s"), signature_of("a=b", Secret("s")).upper())


def test_verify_compares_whole_signatures_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr("tn_contract.contract.signing.hmac.compare_digest", spy)
    expected = signature_of("a=b", Secret("s"))
    for signature in (expected, "0" * 64, "short"):
        compared.clear()
        assert verify("a=b", Secret("s"), signature) == (signature == expected)
        assert compared == [(expected.encode(), signature.encode())]


# ---- secrets do not show -----------------------------------------------------------------------------------


def test_a_secret_gives_its_text_only_when_asked_to() -> None:
    secret = Secret(PLANTED)
    assert secret.reveal() == PLANTED
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, format(secret), ascii(secret)):  # noqa: UP031
        assert shown == "Secret('***')"
    assert not hasattr(secret, "__dict__")


def test_credentials_and_signed_show_no_secret() -> None:
    credentials = Credentials("key", Secret(PLANTED))
    for shown in (repr(credentials), str(credentials), f"{credentials}", repr({"c": [credentials]})):
        assert PLANTED not in shown
        assert "key" in shown
    assert PLANTED not in repr(sign({"a": "b"}, PLANTED))


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def shown_by_a_traceback(call: Callable[[], object]) -> str:
    """Every word of a traceback that shows local variables, and of the exceptions themselves."""
    with pytest.raises((TnContractError, TypeError, AttributeError)) as caught:
        call()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    error: BaseException | None = caught.value
    while error is not None:
        shown += f"{error!r} {error.args!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__
    return shown


UNSIGNABLE: list[dict[Any, Any]] = [
    {"a": None}, {"a": {"b": 1.5}}, {"a": {}}, {1: "a"}, {"a": "\ud800"}, {"\ud800": "a"},
]  # fmt: skip


@pytest.mark.parametrize("unsignable", UNSIGNABLE, ids=lambda unsignable: ascii(unsignable)[:20])
def test_an_error_in_sign_shows_no_secret(unsignable: dict[Any, Any]) -> None:
    assert PLANTED not in shown_by_a_traceback(lambda: sign(unsignable, PLANTED))
    assert PLANTED not in shown_by_a_traceback(lambda: sign(unsignable, Secret(PLANTED)))


def test_a_secret_that_has_no_utf_8_form_is_refused_without_showing_it() -> None:
    ending = "\ud800"
    for shown in (
        shown_by_a_traceback(lambda: Credentials("key", Secret(PLANTED + ending))),
        shown_by_a_traceback(lambda: sign({"a": "b"}, PLANTED + ending)),
        shown_by_a_traceback(lambda: Client("key", PLANTED + ending, base_url="http://127.0.0.1:1")),
    ):
        assert "lone surrogate" in shown
        assert PLANTED not in shown


def test_an_error_in_credentials_shows_no_secret() -> None:
    shown = shown_by_a_traceback(lambda: Credentials("", Secret(PLANTED)))
    assert "the API key is empty" in shown
    assert PLANTED not in shown
    assert "the API secret is empty" in shown_by_a_traceback(lambda: Credentials("key", Secret("")))


@pytest.mark.parametrize("client_type", [Client, AsyncClient])
def test_an_error_in_a_client_shows_no_secret(client_type: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client_type("", PLANTED, base_url="http://127.0.0.1:1"),
        lambda: client_type("key", PLANTED, base_url="no address"),
        lambda: client_type("key", PLANTED, base_url="http://127.0.0.1:1", timeouts=object()),
        lambda: client_type("key", PLANTED, base_url="http://127.0.0.1:1", wrong="argument"),
        lambda: client_type("key", PLANTED),
    ]
    for call in calls:
        assert PLANTED not in shown_by_a_traceback(call)


# ---- credentials from the environment ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TN_API_KEY", "TN_API_SECRET", "TN_API_KEY_2", "TN_API_SECRET_2"):
        monkeypatch.delenv(name, raising=False)


def test_both_variables_give_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TN_API_KEY", "key")
    monkeypatch.setenv("TN_API_SECRET", "secret")
    assert Credentials.from_environment() == Credentials("key", Secret("secret"))
    assert Credentials.from_environment("_2") is None


def test_a_suffix_names_the_second_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TN_API_KEY_2", "key two")
    monkeypatch.setenv("TN_API_SECRET_2", "secret two")
    assert Credentials.from_environment("_2") == Credentials("key two", Secret("secret two"))
    assert Credentials.from_environment() is None


def test_neither_variable_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Credentials.from_environment() is None
    monkeypatch.setenv("TN_API_KEY", "")
    monkeypatch.setenv("TN_API_SECRET", "")
    assert Credentials.from_environment() is None


@pytest.mark.parametrize(("name", "value"), [("TN_API_KEY", "key"), ("TN_API_SECRET", PLANTED)])
def test_one_variable_alone_is_refused_by_name_and_without_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"only {name} is set: set both TN_API_KEY and TN_API_SECRET") as caught:
        Credentials.from_environment()
    assert PLANTED not in str(caught.value)
