"""Flask: raw bytes in, bytes out, and the control plane under `/__tn__/`."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from mock_server.broker import DISTURB, HARNESS_STATUS, READ_LIMIT, TOO_LARGE, Broker, Session, harness_error
from tn_contract import __version__
from tn_contract.errors import UsageError
from tn_contract.journal import Journal
from tn_contract.wire import Headers, Reply, Request

CONTROL = "/__tn__/"
DELAY_SECONDS = 1.0


def create_app(broker: Broker | None = None, *, control: bool = True, **options: Any) -> Flask:
    """Build the WSGI app over `broker`, or over a new `Broker(**options)`.

    Without `control` it has no control plane: it is built in a tenth of the time, and a client cannot find it.
    """
    mock = broker or Broker(**options)
    app = Flask("mock_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = READ_LIMIT
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # no redirects: every reply is the API's or ours
    app.extensions["tn_broker"] = mock

    @app.before_request
    def answer_api() -> Response | None:
        # Before routing errors are raised, so that any method and any path reaches the broker.
        if request.path.startswith(CONTROL):
            return None
        answer = mock.handle(_received())
        if answer.fault == "delay":
            time.sleep(DELAY_SECONDS)
        elif answer.fault:
            disturb = request.environ.get(DISTURB)
            if disturb is None:
                return _respond(harness_error("no connection to lose the reply on", "use `serve`, which has one"))
            disturb(answer.fault, answer.reply)
        return _respond(answer.reply)

    @app.errorhandler(Exception)
    def mark_harness_error(error: Exception) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            return _respond(TOO_LARGE)
        if isinstance(error, ClientDisconnected):
            return _respond(harness_error("the body ends early", "mend Content-Length or the chunks", 400))
        if isinstance(error, HTTPException):
            hint = f"see {CONTROL}health for the control plane's addresses"
            return _respond(harness_error(error.name, hint, error.code or HARNESS_STATUS))
        app.logger.error("the mock failed on %s %s", request.method, request.path, exc_info=error)
        return _respond(harness_error(f"the mock itself failed: {type(error).__name__}", "please report this as a bug"))

    if control:
        _add_control_plane(app, mock)
    return app


def _received() -> Request:
    environ = request.environ
    headers: Headers = tuple(request.headers.items())
    path = environ.get("PATH_INFO", "")
    body = request.get_data(cache=False)
    if len(body) < (request.content_length or 0):
        raise ClientDisconnected
    return Request(environ["REQUEST_METHOD"], path, headers, body, environ.get("QUERY_STRING", ""))


def _respond(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    del response.headers["Content-Type"]
    for name, value in reply.headers:
        response.headers.add(name, value)
    return response


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def _shown(session: Session) -> dict[str, Any]:
    last = session.ledger.last
    return {
        "api_key": session.credentials.api_key,
        "last_nonce": None if last is None else str(last),
        "exchanges": len(session.journal),
    }


def _journal(journal: Journal) -> Response:
    return _json({"exchanges": journal.exchanges()})


def _add_control_plane(app: Flask, mock: Broker) -> None:
    def refuse(reason: str, hint: str, status: int) -> Response:
        return _respond(harness_error(reason, hint, status))

    def unknown(api_key: str) -> Response:
        return refuse(f"no session has the key {api_key!r}", f"POST {CONTROL}sessions opens one", 404)

    @app.get(f"{CONTROL}health")
    def health() -> Response:
        return _json(
            {
                "mock": "tn-contract",
                "version": __version__,
                "corpus": mock.corpus.manifest.version,
                "magic_orders": True,
                "nonce_policy": mock.policy,
                "sessions": len(mock.keys),
                "control": [
                    f"GET {CONTROL}health",
                    f"GET|POST {CONTROL}sessions",
                    f"GET|DELETE {CONTROL}sessions/<api_key>",
                    f"GET {CONTROL}sessions/<api_key>/journal",
                    f"GET {CONTROL}strays",
                    f"POST {CONTROL}reset",
                ],
            }
        )

    @app.get(f"{CONTROL}sessions")
    def list_sessions() -> Response:
        return _json({"sessions": [_shown(session) for key in mock.keys if (session := mock.session(key))]})

    @app.post(f"{CONTROL}sessions")
    def open_session() -> Response:
        try:
            wanted = msgspec.json.decode(request.get_data() or b"{}")
        except (msgspec.DecodeError, RecursionError):
            wanted = None
        if not isinstance(wanted, dict) or not set(wanted) <= {"api_key", "api_secret"}:
            return refuse("the body is not understood", 'send nothing, or {"api_key": "…", "api_secret": "…"}', 400)
        if not all(isinstance(value, str) and value for value in wanted.values()):
            return refuse("api_key and api_secret are texts", "leave out what the mock shall choose", 400)
        try:
            credentials = mock.open_session(**wanted).credentials
        except UsageError as error:
            return refuse(str(error), f"GET {CONTROL}sessions lists the keys in use", 409)
        return _json(
            {
                "base_url": request.host_url.rstrip("/"),
                "api_key": credentials.api_key,
                "api_secret": credentials.secret.reveal(),
                "control_url": f"{request.host_url}{CONTROL[1:]}sessions/{quote(credentials.api_key)}",
            },
            201,
        )

    @app.get(f"{CONTROL}sessions/<path:api_key>")
    def show_session(api_key: str) -> Response:
        session = mock.session(api_key)
        return _json(_shown(session)) if session else unknown(api_key)

    @app.delete(f"{CONTROL}sessions/<path:api_key>")
    def close_session(api_key: str) -> Response:
        return _json({"closed": api_key}) if mock.close_session(api_key) else unknown(api_key)

    @app.get(f"{CONTROL}sessions/<path:api_key>/journal")
    def show_journal(api_key: str) -> Response:
        session = mock.session(api_key)
        return _journal(session.journal) if session else unknown(api_key)

    @app.get(f"{CONTROL}strays")
    def show_strays() -> Response:
        return _journal(mock.strays)

    @app.post(f"{CONTROL}reset")
    def reset() -> Response:
        mock.reset()
        return _json({"sessions": mock.keys})
