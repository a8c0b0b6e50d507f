"""WSGI: the API's requests go straight to the broker, all others into Flask.

Flask's routing and contexts cost more than answering does, so its documented `app.wsgi_app` is wrapped for the one
thing that has to be quick. What either way in makes of a request, and of an answer, is said here once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from mock_server.broker import READ_LIMIT, Answer, Broker, failed, harness_error, refused
from tn_contract.contract.wire import Headers, Reply, Request, status_line
from tn_contract.record.http_reader import ends_early
from tn_contract.record.journal import timestamp

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CONTROL = "/__tn__/"

_BODILESS = {204, 304}
_log = logging.getLogger("mock_server")


class Door:
    """Answers for the API by itself, and opens Flask for the rest: the control plane, and what is not plain."""

    def __init__(self, broker: Broker, flask: WSGIApplication) -> None:
        self._broker, self._flask = broker, flask

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        length = environ.get("CONTENT_LENGTH") or "0"
        # Chunks, and bodies too large to read, are rare: Flask knows what to do about them.
        if (
            environ.get("PATH_INFO", "").startswith(CONTROL)
            or "HTTP_TRANSFER_ENCODING" in environ
            or not (length.isascii() and length.isdigit() and int(length) <= READ_LIMIT)
        ):
            return self._flask(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        reply = EARLY_END if len(body) < int(length) else replied(self._broker, environ, body)
        start_response(status_line(reply.status), [*_length(reply), *reply.headers])
        return [] if environ["REQUEST_METHOD"] == "HEAD" or reply.status in _BODILESS else [reply.body]


def answered(broker: Broker, request: Request, log: Callable[[str], object] | None = None) -> Answer:
    """Let the broker answer. Never raises.

    `log` is given a line of JSON: what was asked and what became of it, nothing that a client wrote but the digits of
    its order.
    """
    try:
        started = time.perf_counter()
        answer = broker.handle(request)
    except Exception as error:  # noqa: BLE001 # whatever it is, the client gets a marked answer
        _log.exception("the mock failed")  # and not on what: a secret may stand anywhere in it
        return Answer(failed(error), None)
    if log:
        with suppress(OSError):  # who reads the log may be gone; what was done is to be answered
            log(_logged(answer, time.perf_counter() - started))
    return answer


def replied(broker: Broker, environ: WSGIEnvironment, body: bytes) -> Reply:
    """Let the broker answer where there is no connection to spoil a reply on. Never raises."""
    answer = answered(broker, _received(environ, body))
    if answer.fault is None:
        return answer.reply
    if answer.fault.loses_reply:
        return harness_error("no connection to lose the reply on", "use `serve`, which has one")
    time.sleep(answer.fault.late)
    return answer.reply


def _logged(answer: Answer, seconds: float) -> str:
    found = answer.assessment
    line: dict[str, object] = {"at": timestamp(time.time_ns()), "status": answer.reply.status}
    if found:
        line |= {"scheme": found.scheme, "situation": found.situation, "payload": found.payload}
        line |= {"order_id": found.order_id, "effect": found.effect}
    fault = answer.fault.kind if answer.fault else None
    return json.dumps({**line, "fault": fault, "ms": round(seconds * 1000, 3)})


EARLY_END = refused(ends_early("body"))


def _length(reply: Reply) -> Headers:
    return () if reply.status in _BODILESS else (("Content-Length", str(len(reply.body))),)


def _received(environ: WSGIEnvironment, body: bytes) -> Request:
    """Read a request's headers in the order in which they came, without the marks of WSGI."""
    headers = [
        (name, value)
        for key, value in environ.items()
        if (name := _header_name(key)) and (value or not key.startswith("CONTENT_"))
    ]
    path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
    return Request(environ["REQUEST_METHOD"], path, tuple(headers), body, query)


@lru_cache(256)  # strangers may send any header, the usual client always the same
def _header_name(key: str) -> str:
    """Write `HTTP_X_NTAPI_SIG` as `X-Ntapi-Sig`; "" for what is no header."""
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return key.replace("_", "-").title()
    if key.startswith("HTTP_") and key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
        return key[5:].replace("_", "-").title()
    return ""
