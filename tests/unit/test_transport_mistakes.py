"""What happens to a rightly signed request between its signature and the wire is named."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import Request, compose, compose_v3, replace, with_header
from tn_contract.diagnosis.diagnose import diagnose, situation_of
from tn_contract.record.journal import Diagnosis

PAIR = Credentials("my-key", Secret("my-secret"))
V2 = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"order_id": 2929292929}).request
NOTED = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"note": "a b", "order_id": 5}).request
ACCENTED = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"note": "été", "order_id": 5}).request
CYRILLIC = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"note": "заявка", "order_id": 5}).request
AMPERSAND = compose(PAIR, "delTradeOrder", 17_000_000_000_000, {"note": "a&b", "order_id": 5}).request
V3 = compose_v3(PAIR, "delTradeOrder", 1_700_000_000, {"order_id": 2929292929}).request


def body(request: Request, change: Callable[[bytes], bytes]) -> Request:
    return replace(request, body=change(request.body))


def text(request: Request, change: Callable[[str], str], encoding: str = "utf-8") -> Request:
    return replace(request, body=change(request.body.decode()).encode(encoding))


def named(request: Request) -> Diagnosis:
    situation = situation_of(request, PAIR)
    known = None if situation in ("form", "key-missing", "key-unknown", "address", "method") else PAIR
    found = diagnose(request, situation, known, at_ns=1_700_000_000_000_000_000, others=[PAIR])
    assert found is not None, situation
    return found


def chunked(whole: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(whole), whole)


RAW = replace(V2, body=V2.body.replace(b"%5B", b"[").replace(b"%5D", b"]"))
TWICE = with_header(
    V2, "X-NtApi-Sig", f"{V2.header('X-NtApi-Sig')}, {V2.header('X-NtApi-Sig')}"
)  # as servers join them
QUERY = "params%5Border_id%5D=2929292929"
JSON = b'{"apiKey": "my-key", "cmd": "delTradeOrder", "nonce": 17000000000000, "params": {"order_id": 2929292929}}'
ON_THE_WAY = {
    "BOM": (body(V2, lambda sent: b"\xef\xbb\xbf" + sent), "byte-order-mark"),
    "BOM of v3": (body(V3, lambda sent: b"\xef\xbb\xbf" + sent), "byte-order-mark"),
    "UTF-16": (text(V2, str, "utf-16"), "body-in-utf-16"),
    "UTF-16 without a mark": (text(V2, str, "utf-16-le"), "body-in-utf-16"),
    "UTF-16 of v3": (text(V3, str, "utf-16-be"), "body-in-utf-16"),
    "UTF-32": (text(V2, str, "utf-32"), "body-in-utf-16"),
    "gzip": (body(V2, gzip.compress), "body-compressed"),
    "gzip of v3": (body(V3, gzip.compress), "body-compressed"),
    "zlib": (body(V2, zlib.compress), "body-compressed"),
    "deflate": (body(V2, lambda sent: zlib.compress(sent)[2:-4]), "body-compressed"),
    "gzip, cut off": (body(V2, lambda sent: gzip.compress(sent)[:-9]), "body-compressed"),
    "&amp;": (body(V2, lambda sent: sent.replace(b"&", b"&amp;")), "fields-html-escaped"),
    ";": (body(V2, lambda sent: sent.replace(b"&", b";")), "fields-joined-otherwise"),
    ", ": (body(V2, lambda sent: sent.replace(b"&", b", ")), "fields-joined-otherwise"),
    "line ends between": (body(V2, lambda sent: sent.replace(b"&", b"\r\n")), "fields-joined-otherwise"),
    "blanks between": (body(V2, lambda sent: sent.replace(b"&", b" ")), "fields-joined-otherwise"),
    "LF": (body(V2, lambda sent: sent + b"\n"), "body-ends-otherwise"),
    "CR LF": (body(V2, lambda sent: sent + b"\r\n"), "body-ends-otherwise"),
    "NUL": (body(V2, lambda sent: sent + b"\0"), "body-ends-otherwise"),
    "LF of v3": (body(V3, lambda sent: sent + b"\n"), "body-ends-otherwise"),
    "chunks": (body(V2, chunked), "chunks-in-body"),
    "chunks of v3": (body(V3, chunked), "chunks-in-body"),
    "quotes": (text(V2, json.dumps), "body-quoted"),
    "single quotes": (text(V2, lambda sent: f"'{sent}'"), "body-quoted"),
    "bytes of Python": (text(V2, lambda sent: f"b'{sent}'"), "body-quoted"),
    "base64": (body(V2, base64.b64encode), "body-in-base64"),
    "base64url": (body(V2, base64.urlsafe_b64encode), "body-in-base64"),
    "base64 of v3": (body(V3, base64.b64encode), "body-in-base64"),
    "JSON as a form": (body(V2, lambda _: JSON), "json-body"),
    "?": (body(V2, lambda sent: b"?" + sent), "body-begins-as-query"),
    "encoded twice": (text(V2, lambda sent: quote(sent, safe="")), "form-encoded-twice"),
    "raw, encoded as one": (text(RAW, lambda sent: quote_plus(sent)), "form-encoded-twice"),
    "names encoded twice": (body(V2, lambda sent: sent.replace(b"%", b"%25")), "names-encoded-twice"),
    "all encoded twice": (body(ACCENTED, lambda sent: sent.replace(b"%", b"%25")), "names-encoded-twice"),
    "latin-1": (body(ACCENTED, lambda sent: sent.replace(b"%C3%A9", b"%E9")), "wrong-charset"),
    "raw latin-1": (body(ACCENTED, lambda sent: sent.replace(b"%C3%A9", b"\xe9")), "wrong-charset"),
    "cp1251": (text(CYRILLIC, lambda sent: sent.replace(quote("заявка"), quote("заявка".encode("cp1251")))),
               "wrong-charset"),
    "mojibake": (text(ACCENTED, lambda sent: sent.replace("%C3%A9", quote("Ã©"))), "utf-8-twice"),
    "a raw &": (body(AMPERSAND, lambda sent: sent.replace(b"%26", b"&")), "values-not-encoded"),
    "zero width": (text(V2, lambda sent: sent.replace("apiKey", "api\u200bKey")), "invisible-characters"),
    "a BOM in a name": (text(V2, lambda sent: sent.replace("cmd=", "%EF%BB%BFcmd=")), "invisible-characters"),
    "a BOM before the key": (text(V2, lambda sent: sent.replace("my-key", "\ufeffmy-key")), "invisible-characters"),
    "params in the query": (replace(V2, body=V2.body.rpartition(b"&")[0], query=QUERY), "field-only-in-query"),
    "two signatures": (TWICE, "header-sent-twice"),
    "two signatures joined": (with_header(V2, "X-NtApi-Sig", f"{'ab' * 32}, {V2.header('X-NtApi-Sig')}"),
                              "header-sent-twice"),
    "two signatures of v3": (with_header(V3, "X-NtApi-Sig", f"{V3.header('X-NtApi-Sig')}, {V3.header('X-NtApi-Sig')}"),
                             "header-sent-twice"),
    "two keys": (with_header(V3, "X-NtApi-PublicKey", "my-key, my-key"), "header-sent-twice"),
    "two timestamps": (with_header(V3, "X-NtApi-Timestamp", "1700000000, 1700000000"), "header-sent-twice"),
    "two content types": (with_header(V2, "Content-Type", "application/x-www-form-urlencoded, application/json"),
                          "header-sent-twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_what_happened_on_the_way_is_named(name: str) -> None:
    request, mistake = ON_THE_WAY[name]
    assert named(request).mistakes == (mistake,)


COMBINED = {
    "gzip and LF": (body(V2, lambda sent: gzip.compress(sent + b"\n")), {"body-compressed", "body-ends-otherwise"}),
    "BOM and &amp;": (text(V2, lambda sent: "\ufeff" + sent.replace("&", "&amp;")),
                      {"byte-order-mark", "fields-html-escaped"}),
    "UTF-16 and ;": (text(V2, lambda sent: sent.replace("&", ";"), "utf-16"),
                     {"body-in-utf-16", "fields-joined-otherwise"}),
    "quotes and LF": (text(V2, lambda sent: json.dumps(sent + "\n")), {"body-quoted", "body-ends-otherwise"}),
    "two signatures and LF": (body(TWICE, lambda sent: sent + b"\n"), {"header-sent-twice", "body-ends-otherwise"}),
}  # fmt: skip


@pytest.mark.parametrize("name", COMBINED)
def test_two_things_that_happened_are_both_named(name: str) -> None:
    request, mistakes = COMBINED[name]
    assert set(named(request).mistakes) == mistakes


def test_a_mistake_in_the_signature_is_named_beside_it() -> None:
    signed = PAIR.secret.mac(b"cmd=delTradeOrder&apiKey=my-key&nonce=17000000000000&params=order_id=2929292929")
    request = body(with_header(V2, "X-NtApi-Sig", signed), lambda sent: b"\xef\xbb\xbf" + sent.replace(b"&", b"&amp;"))
    found = named(request)
    assert set(found.mistakes[:2]) == {"byte-order-mark", "fields-html-escaped"}
    assert found.mistakes[2:]


def test_the_strings_are_compared() -> None:
    found = named(ON_THE_WAY["&amp;"][0])
    assert found.signed == "apiKey=my-key&cmd=delTradeOrder&nonce=17000000000000&params=order_id=2929292929"
    assert found.expected.startswith("amp;cmd=")


@pytest.mark.parametrize("request_", [V2, NOTED, ACCENTED, CYRILLIC, AMPERSAND, RAW, V3])
def test_a_right_request_has_had_no_accident(request_: Request) -> None:
    assert diagnose(request_, "signature-invalid", PAIR, at_ns=0, others=[PAIR]) is None


@pytest.mark.parametrize("request_", [V2, NOTED, ACCENTED, CYRILLIC, AMPERSAND, RAW, V3])
def test_a_signature_at_random_blames_nothing_on_the_way(request_: Request) -> None:
    found = diagnose(with_header(request_, "X-NtApi-Sig", "ab" * 32), "signature-invalid", PAIR, at_ns=0, others=[PAIR])
    assert found is not None
    assert found.mistakes == ()


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/delTradeOrder/", "of v3 it is /api/delTradeOrder."),
        ("/api/v3/cmd/delTradeOrder", "of v3 it is /api/delTradeOrder."),
        ("/API/deltradeorder", "of v3 it is /api/delTradeOrder."),
        ("//api/delTradeOrder", "of v3 it is /api/delTradeOrder."),
        ("/api/", "of v3 it is /api/delTradeOrder."),
        ("/getAuthInfo", "of v3 it is /api/getAuthInfo."),
    ],
)
def test_the_address_that_was_meant_is_told_by_the_headers(path: str, meant: str) -> None:
    found = named(replace(V3, path=path))
    assert found.mistakes == ("wrong-address",)
    assert meant in found.told
    v2 = named(replace(V2, path=path if path != "/api/" else "/v2/cmd"))
    assert v2.mistakes == ("wrong-address",)
    assert "of v2 it is /api/v2/cmd/delTradeOrder." in v2.told


@pytest.mark.parametrize(
    ("number", "mistake"),
    [("2.929292929e9", "in-exponent"), ("2929292929.0", "as-float"), ("29292929290000000000000", "too-great")],
)
def test_numbers_of_v3_are_told_as_they_came(number: str, mistake: str) -> None:
    sent = f'{{"order_id": {number}}}'.encode()
    request = replace(V3, body=sent)
    request = with_header(request, "X-NtApi-Sig", PAIR.secret.mac(sent + b"1700000000"))
    found = named(request)
    assert found.mistakes == (f"order-id-sent-{mistake}",)
    assert f"'{number}'" in found.told


def test_a_body_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert named(replace(V2, body=bomb)).mistakes == ("body-compressed",)
