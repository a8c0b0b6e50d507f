"""The WSGI app: every path and method reaches the broker, the control plane answers or says why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import pytest
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from mock_server import create_app
from mock_server.broker import DEMO, Answer, Broker
from tn_contract.contract.signing import Credentials, Secret
from tn_contract.contract.wire import FORM_TYPE, Request, compose
from tn_contract.judge.client import live_verdicts
from tn_contract.record.http_reader import MAX_BODY, READ_LIMIT

PATH = "/api/v2/cmd/delTradeOrder"
HARNESS = ("X-Tn-Mock", "harness-error")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def client(broker: Broker) -> Iterator[FlaskClient]:
    with create_app(broker, judge=live_verdicts).test_client() as client:
        yield client


def send(client: FlaskClient, request: Request) -> TestResponse:
    query = f"?{request.query}" if request.query else ""
    return client.open(
        request.path + query, method=request.method, headers=list(request.headers), data=request.body or None
    )


def cancel(nonce: int = 1, order_id: int = 2929292929, credentials: Credentials = DEMO) -> Request:
    return compose(credentials, "delTradeOrder", nonce, {"order_id": order_id}).request


def assert_harness_error(reply: TestResponse, status: int) -> dict[str, str]:
    assert reply.status_code == status
    assert HARNESS in list(reply.headers)
    assert reply.headers["Content-Type"] == "application/json"
    body: dict[str, str] = json.loads(reply.data)
    assert body["tn_mock"] == "harness-error"
    assert body["reason"]
    assert body["hint"]
    assert "Traceback" not in reply.text
    return body


# ---- the API -----------------------------------------------------------------------------------------------


def test_a_signed_cancel_gets_the_documented_reply_and_nothing_of_flasks(client: FlaskClient) -> None:
    reply = send(client, cancel())
    assert (reply.status_code, reply.data) == (200, b'{\n    "order_id" : 2929292929\n}')
    assert dict(reply.headers) == {"Content-Type": "application/json", "Content-Length": str(len(reply.data))}


def test_the_app_takes_the_brokers_options_or_a_broker() -> None:
    app = create_app(replies={"key-missing": "key-rejected"}, seed=1)
    assert app.test_client().post(PATH, headers={"Content-Type": FORM_TYPE}).json == {
        "error": "Invalid credentials",
        "code": 12,
    }
    mine = Broker()
    assert create_app(mine).extensions["tn_contract"].broker is mine


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X-Y"])
def test_any_method_reaches_the_broker(client: FlaskClient, method: str) -> None:
    reply = client.open(PATH, method=method)
    assert reply.json == {"errMsg": "Unsupported query method", "code": 2}


def test_head_has_no_body(client: FlaskClient) -> None:
    reply = client.head(PATH)
    assert (reply.status_code, reply.data, reply.headers["Content-Type"]) == (200, b"", "application/json")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/",
        "/api/v2//cmd//delTradeOrder",
        "/api/v2/cmd/delTradeOrder/",
        "/api/v2/cmd/../cmd/delTradeOrder",
        "/api/v2/cmd/delTradeOrder;x=1",
        "/%61pi/v2/cmd/del%54radeOrder",
        "/api/v2/%ff%00%0a",
        "/api/v2/%E2%82%AC",
        "/api/v2/__tn__/health",
    ],
)
def test_odd_paths_below_the_api_are_the_apis(client: FlaskClient, broker: Broker, path: str) -> None:
    request = cancel()
    reply = client.post(path, headers=list(request.headers), data=request.body)
    assert reply.json == {"order_id": 2929292929}
    session = broker.session(DEMO.api_key)
    assert session is not None
    assert client.get("/__tn__/sessions/tn-demo-key/journal").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1/", "/__tn__", "/favicon.ico", "/%ff", "/static/x", "/api%2fv3/cmd/x"]
)
def test_other_addresses_are_marked(client: FlaskClient, path: str) -> None:
    body = assert_harness_error(client.post(path), 599)
    assert "is no address of the API" in body["reason"]


@pytest.mark.parametrize("size", [MAX_BODY + 1, READ_LIMIT, READ_LIMIT + 1])
@pytest.mark.parametrize("path", [PATH, "/"])
def test_a_body_beyond_64_kilobytes_is_refused(client: FlaskClient, path: str, size: int) -> None:
    body = assert_harness_error(client.post(path, headers={"Content-Type": FORM_TYPE}, data=b"x" * size), 413)
    assert body["reason"] == "the body is too large"
    assert str(MAX_BODY) in body["hint"]


def test_a_control_request_has_a_limit_too(client: FlaskClient) -> None:
    assert_harness_error(client.post("/__tn__/sessions", data=b" " * (READ_LIMIT + 1)), 413)


def test_a_body_of_64_kilobytes_is_read(client: FlaskClient) -> None:
    reply = client.post(PATH, headers={"Content-Type": FORM_TYPE}, data=b"x" * MAX_BODY)
    assert reply.json is not None
    assert reply.json["code"] == 12


def test_a_body_shorter_than_its_length_is_not_taken_for_a_request(client: FlaskClient) -> None:
    request = cancel()
    longer = {"CONTENT_LENGTH": str(len(request.body) + 10)}
    reply = client.post(PATH, headers=list(request.headers), data=request.body, environ_overrides=longer)
    assert_harness_error(reply, 400)


def test_a_bug_in_the_broker_is_a_marked_599_and_is_logged(
    client: FlaskClient, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_request: Request) -> Answer:
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr(broker, "handle", fail)
    with caplog.at_level(logging.ERROR):
        body = assert_harness_error(send(client, cancel()), 599)
    assert "ZeroDivisionError" in body["reason"]
    assert "inner detail" not in json.dumps(body)
    assert "report this" in body["hint"]
    assert "the mock failed" in caplog.text
    assert "ZeroDivisionError: inner detail" in caplog.text


# ---- browsers ----------------------------------------------------------------------------------------------

PAGE = "https://shop.example"
# What jQuery sends for the seed's sample: X_REQUESTED_WITH, X-NtApi-Sig and Nt-Jqp, with credentials.
ASKED = "nt-jqp,x-ntapi-sig,x_requested_with"


def test_the_preflight_of_the_seeds_browser_sample_is_granted(client: FlaskClient, broker: Broker) -> None:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ASKED}
    reply = client.options(PATH, headers=headers)
    assert (reply.status_code, reply.data) == (204, b"")
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Access-Control-Allow-Headers"] == ASKED
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert reply.headers["Vary"] == "Origin"
    assert (len(broker.unmatched), broker.keys) == (0, [DEMO.api_key])


def test_a_preflight_that_names_no_headers_is_told_the_samples(client: FlaskClient) -> None:
    reply = client.options(PATH, headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})
    allowed = {name.strip().lower() for name in reply.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= set(ASKED.split(","))


@pytest.mark.parametrize("nonce", [1, 0], ids=["accepted", "refused"])
def test_a_page_of_another_origin_may_read_the_reply(client: FlaskClient, nonce: int) -> None:
    send(client, cancel(0))
    request = cancel(nonce)
    extra = [("Origin", PAGE), ("X_REQUESTED_WITH", "XMLHttpRequest"), ("Nt-Jqp", "true")]
    reply = client.post(PATH, headers=[*request.headers, *extra], data=request.body)
    assert reply.json == ({"order_id": 2929292929} if nonce else reply.json)
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Vary"] == "Origin"


def test_without_an_origin_there_are_no_cors_headers(client: FlaskClient) -> None:
    assert not [name for name, _ in send(client, cancel()).headers if name.startswith("Access-Control")]


# ---- the control plane -------------------------------------------------------------------------------------


def test_health_says_what_runs_here(client: FlaskClient, broker: Broker) -> None:
    reply = client.get("/__tn__/health")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/json")
    health = reply.json
    assert health is not None
    assert (health["mock"], health["nonce_policy"], health["sessions"]) == ("tn-contract", "monotonic", 1)
    assert health["corpus"] == broker.corpus.manifest.version


def test_health_lists_addresses_that_exist(client: FlaskClient) -> None:
    health = client.get("/__tn__/health").json
    assert health is not None
    for line in health["control"]:
        methods, path = line.split(" ")
        for method in methods.split("|"):
            reply = client.open(path.replace("<api_key>", DEMO.api_key), method=method)
            assert reply.status_code in (200, 201, 400), line  # 400: a report must say something
            client.post("/__tn__/reset")


def test_without_a_judge_there_are_no_verdicts_and_the_reply_says_how_to_get_them() -> None:
    with create_app().test_client() as client:
        body = assert_harness_error(client.get(f"/__tn__/sessions/{DEMO.api_key}/verdicts"), 501)
        assert "live_verdicts" in body["hint"]
        assert not any("verdicts" in line for line in client.get("/__tn__/health").json["control"])


def test_a_new_session_works_at_once(client: FlaskClient) -> None:
    reply = client.post("/__tn__/sessions")
    assert reply.status_code == 201
    opened = reply.json
    assert opened is not None
    assert opened["base_url"] == "http://localhost"
    assert opened["control_url"] == f"http://localhost/__tn__/sessions/{opened['api_key']}"
    credentials = Credentials(opened["api_key"], Secret(opened["api_secret"]))
    assert send(client, cancel(5, credentials=credentials)).json == {"order_id": 2929292929}
    shown = client.get(opened["control_url"]).json
    assert shown == {"api_key": opened["api_key"], "last_nonce": "5", "exchanges": 1}


@pytest.mark.parametrize("key", ["mine", "two words", "a/b", "a//b", "ключ", "50%", "a?b#c", "x" * 200])
def test_a_chosen_key_can_be_found_again_at_its_control_url(client: FlaskClient, key: str) -> None:
    opened = client.post("/__tn__/sessions", json={"api_key": key, "api_secret": "s"}).json
    assert opened is not None
    assert (opened["api_key"], opened["api_secret"]) == (key, "s")
    shown = client.get(opened["control_url"]).json
    assert shown is not None
    assert shown["api_key"] == key
    assert client.get(f"{opened['control_url']}/journal").json == {"exchanges": []}
    assert client.delete(opened["control_url"]).json == {"closed": key}
    assert_harness_error(client.get(opened["control_url"]), 404)


def test_sessions_are_listed_without_their_secrets(client: FlaskClient) -> None:
    client.post("/__tn__/sessions", json={"api_key": "mine", "api_secret": "my-secret"})
    reply = client.get("/__tn__/sessions")
    assert reply.json == {
        "sessions": [
            {"api_key": DEMO.api_key, "last_nonce": None, "exchanges": 0},
            {"api_key": "mine", "last_nonce": None, "exchanges": 0},
        ]
    }


def test_a_nonce_is_shown_as_text_for_many_languages_keep_numbers_as_floats(client: FlaskClient) -> None:
    send(client, cancel(2**63 - 1))
    shown = client.get("/__tn__/sessions/tn-demo-key").json
    assert shown is not None
    assert shown["last_nonce"] == "9223372036854775807"


def test_the_journal_of_a_session_and_the_unmatched(client: FlaskClient) -> None:
    send(client, cancel(7, 9900000012))
    send(client, cancel(1, credentials=Credentials("nobody", Secret("x"))))
    journal = client.get("/__tn__/sessions/tn-demo-key/journal").json
    unmatched = client.get("/__tn__/unmatched").json
    assert journal is not None
    assert unmatched is not None
    [mine], [unmatched] = journal["exchanges"], unmatched["exchanges"]
    assert mine["assessment"]["payload"] == "insufficient-rights"
    assert mine["request"]["line"] == f"POST {PATH}"
    assert unmatched["assessment"]["situation"] == "key-unknown"


def test_the_journal_is_readable_after_bytes_that_are_no_text(client: FlaskClient) -> None:
    client.post(PATH, headers={"Content-Type": FORM_TYPE, "X-NtApi-Sig": "é"}, data=b"apiKey=tn-demo-key&%ff=%fe\xfd")
    client.post(f"{PATH}%ff", headers={"Content-Type": FORM_TYPE}, data=b"apiKey=%ff")
    assert client.get("/__tn__/sessions/tn-demo-key/journal").status_code == 200
    assert client.get("/__tn__/unmatched").status_code == 200


def test_reset_goes_back_to_the_start(client: FlaskClient) -> None:
    client.post("/__tn__/sessions")
    send(client, cancel())
    assert client.post("/__tn__/reset").json == {"sessions": [DEMO.api_key]}
    assert send(client, cancel()).json == {"order_id": 2929292929}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("key", ["nobody", "a/b", "%ff", "%22"])
def test_an_unknown_key_is_a_marked_404(client: FlaskClient, method: str, key: str) -> None:
    body = assert_harness_error(client.open(f"/__tn__/sessions/{key}", method=method), 404)
    assert "no session has the key" in body["reason"]


def test_the_journal_of_an_unknown_key_is_a_marked_404(client: FlaskClient) -> None:
    assert_harness_error(client.get("/__tn__/sessions/nobody/journal"), 404)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"api_key=a",
        b"\xff",
        b"[" * 60_000,
        b'{"api_key": "a", "more": 1}',
        b'{"api_key": 1}',
        b'{"api_key": ""}',
        b'{"api_key": null}',
        b'{"api_secret": ["a"]}',
        b'{"api_key": "\\ud800"}',
        b'{"api_secret": "\\udcff"}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_a_body_that_opens_no_session_is_a_marked_400(client: FlaskClient, broker: Broker, body: bytes) -> None:
    assert_harness_error(client.post("/__tn__/sessions", data=body), 400)
    assert broker.keys == [DEMO.api_key]


def test_a_key_in_use_is_a_marked_409(client: FlaskClient) -> None:
    body = assert_harness_error(client.post("/__tn__/sessions", json={"api_key": DEMO.api_key}), 409)
    assert "exists already" in body["reason"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/__tn__/health"),
        ("OPTIONS", "/__tn__/health"),
        ("DELETE", "/__tn__/sessions"),
        ("PUT", "/__tn__/sessions/tn-demo-key"),
        ("POST", "/__tn__/sessions/tn-demo-key/journal"),
        ("GET", "/__tn__/reset"),
        ("BREW", "/__tn__/unmatched"),
    ],
)
def test_a_wrong_method_is_a_marked_405(client: FlaskClient, method: str, path: str) -> None:
    assert_harness_error(client.open(path, method=method), 405)


@pytest.mark.parametrize(
    "path",
    [
        "/__tn__/",
        "/__tn__/nothing",
        "/__tn__/health/",
        "/__tn__//health",
        "/__tn__/sessions/",
        "/__tn__/%ff",
        "/__tn__/..",
    ],
)
def test_an_unknown_control_address_is_a_marked_404(client: FlaskClient, path: str) -> None:
    body = assert_harness_error(client.get(path), 404)
    assert "/__tn__/health" in body["hint"]


# ---- property ----------------------------------------------------------------------------------------------

SEGMENT = st.sampled_from(
    ["api", "v2", "cmd", "__tn__", "sessions", "health", "journal", "tn-demo-key", "", "..", "%2f"]
)
PATHS = st.lists(SEGMENT | st.binary(max_size=6).map(lambda data: "".join(f"%{byte:02x}" for byte in data)), max_size=6)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]) | st.text(
    "ABCXYZ-_", min_size=1
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "X-NtApi-Sig", "Origin", "Host", "Access-Control-Request-Method", "Cookie", "Range"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
    | st.sampled_from([FORM_TYPE, "application/json", "multipart/form-data; boundary=x"]),
)


@settings(max_examples=6 * settings().max_examples)
@given(METHODS, PATHS, HEADERS, st.binary(max_size=100), st.text(st.characters(max_codepoint=255), max_size=20))
@example("POST", ["api", "v2"], {"Content-Type": "multipart/form-data"}, b"--x\r\n", "")
@example("GET", ["__tn__", "", "health"], {}, b"", "")
@example("GET", ["__tn__", "health"], {"Host": "é é"}, b"", "")
@example("GET", ["", ".."], {}, b"", "")
def test_nothing_makes_the_app_answer_in_words_that_are_not_its_own(
    method: str, segments: list[str], headers: dict[str, str], body: bytes, query: str
) -> None:
    app = create_app(Broker(seed=1))
    payloads = {(payload.status, payload.body) for payload in Broker().corpus.payloads.values()}
    path = unquote_to_bytes("/" + "/".join(segments)).decode("latin-1")  # as PEP 3333 wants it from a server
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    reply = app.test_client().open("/", method=method, headers=headers, data=body, environ_overrides=environ)
    words = reply.data.decode("utf-8")
    assert "Traceback" not in words
    assert "<html" not in words
    if HARNESS in list(reply.headers):
        assert reply.status_code >= 400
    elif path.startswith("/__tn__"):
        assert reply.status_code in (200, 201)
        assert reply.headers["Content-Type"] == "application/json"
    else:
        preflight = method == "OPTIONS" and reply.status_code == 204
        assert preflight or method == "HEAD" or (reply.status_code, words) in payloads
