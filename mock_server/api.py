"""The documented endpoint, as Flask routes: `POST /api/v2/cmd/delTradeOrder`, and v3's `POST /api/delTradeOrder`.

Every other address and method is the broker's to refuse, too. `tn-contract serve` calls the same `Broker.handle`
without Flask, for speed.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response, request
from werkzeug.exceptions import ClientDisconnected

from mock_server.answering import answered
from mock_server.harness import harness_error
from mock_server.web import mock, respond
from tn_contract.contract.wire import Reply, Request

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

api = Blueprint("api", __name__)


@api.route("/api/v2/cmd/<command>", methods=METHODS)
@api.route("/api/<command>", methods=METHODS)
def command(**_address: str) -> Response:
    """Answer a command; the broker reads its name from the form, or from the address."""
    return respond(reply_to_request())


def reply_to_request() -> Reply:
    """Let the broker answer the request that Flask handles. Raises `ClientDisconnected` if its body breaks off."""
    body = request.get_data(cache=False)
    if len(body) < (request.content_length or 0):
        raise ClientDisconnected
    path, query = request.environ["PATH_INFO"], request.environ.get("QUERY_STRING", "")
    answer = answered(mock(), Request(request.method, path, tuple(request.headers.items()), body, query))
    if answer.fault is None:
        return answer.reply
    if answer.fault.loses_reply:
        return harness_error("no connection to lose the reply on", "use `serve`, which has one")
    time.sleep(answer.fault.late)
    return answer.reply
