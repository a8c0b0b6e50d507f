"""The Flask app: the documented endpoint (`api.py`) and the control plane under `/__tn__/` (`control.py`)."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from mock_server.api import api, reply_to_request
from mock_server.broker import Broker
from mock_server.guard import CONTROL, Guard
from mock_server.harness import EARLY_END, HARNESS_STATUS, TOO_LARGE, failed, harness_error, unavailable
from mock_server.web import Judge, Refused, Served, respond, served
from tn_contract.contract.errors import StateUnavailable
from tn_contract.record.http_reader import READ_LIMIT


def create_app(
    broker: Broker | None = None,
    *,
    control: bool = True,
    guard: Guard | None = None,
    workers: int = 1,
    judge: Judge | None = None,
    **options: Any,
) -> Flask:
    """Build the WSGI app over `broker`, or over a new `Broker(**options)`.

    Without `control` it has no control plane, so that a client cannot find it. With one, `guard` says who may use it;
    by default everybody who reaches the app. As one of several `workers` it does not tell what it knows of its own
    requests alone. `judge` gives the control plane its verdicts on clients: `tn_contract.judge.client.live_verdicts`.
    """
    app = Flask("mock_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = READ_LIMIT
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # no redirects: every reply is the API's or ours
    app.extensions["tn_contract"] = Served(broker or Broker(**options), guard, workers, judge)
    app.before_request(_guard)
    app.register_error_handler(Exception, _explain)
    app.register_blueprint(api)
    if control:
        from mock_server.book.control import book
        from mock_server.control import control as plane

        app.register_blueprint(plane)
        app.register_blueprint(book)
    return app


def _guard() -> Response | None:
    """Let into the control plane only who may use it."""
    guard = served().guard
    if guard is None or not request.path.startswith(CONTROL):
        return None
    probe = request.path in (f"{CONTROL}health", f"{CONTROL}ready")
    refusal = guard.refusal(request.environ, probe=probe)
    return respond(refusal) if refusal else None


def _explain(error: Exception) -> Response:
    """Answer for every error in the mock's own words; addresses and methods that have no route are the broker's."""
    try:
        if isinstance(error, NotFound | MethodNotAllowed) and not request.path.startswith(CONTROL):
            return respond(reply_to_request())
    except Exception as other:  # noqa: BLE001 # of an error in here Flask would tell in its own words
        error = other
    match error:
        case Refused():
            return respond(error.reply)
        case RequestEntityTooLarge():
            return respond(TOO_LARGE)
        case StateUnavailable():
            return respond(unavailable(error))
        case ClientDisconnected():
            return respond(EARLY_END)
        case HTTPException():
            hint = f"see {CONTROL}health for the control plane's addresses"
            return respond(harness_error(error.name, hint, error.code or HARNESS_STATUS))
    current_app.logger.error("the mock failed", exc_info=error)  # and not on what: a secret may stand anywhere in it
    return respond(failed(error))
