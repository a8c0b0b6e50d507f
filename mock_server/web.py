"""What the Flask views share: the mock behind the app, and how replies are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from flask import Response, current_app

from mock_server.broker import Broker, Session
from mock_server.guard import CONTROL, Guard
from mock_server.harness import harness_error
from tn_contract.contract.wire import Reply, status_line
from tn_contract.record.evidence import Evidence

# Judges what a session's client did: the rows of `GET …/verdicts`.
Judge: TypeAlias = Callable[[Evidence], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Served:
    """What an app serves: kept in `app.extensions["tn_contract"]`."""

    broker: Broker
    guard: Guard | None = None
    workers: int = 1
    judge: Judge | None = None


class Refused(Exception):
    """The control plane cannot do what it is asked; the reply says why and what to do."""

    def __init__(self, reason: str, hint: str, status: int) -> None:
        super().__init__(reason)
        self.reply = harness_error(reason, hint, status)


def served() -> Served:
    """Return what the current app serves."""
    found: Served = current_app.extensions["tn_contract"]
    return found


def mock() -> Broker:
    """Return the broker behind the current app."""
    return served().broker


def session_of(api_key: str) -> Session:
    """Return the session of a key. Raises `Refused` (404) when there is none."""
    session = mock().session(api_key)
    if session is None:
        raise Refused(f"no session has the key {api_key!r}", f"POST {CONTROL}sessions opens one", 404)
    return session


def respond(reply: Reply) -> Response:
    """Write a reply with its own headers and none of Flask's."""
    response = Response(reply.body, status_line(reply.status))
    del response.headers["Content-Type"]
    for name, value in reply.headers:
        response.headers.add(name, value)
    return response


def as_json(value: Any, status: int = 200) -> Response:
    """Write a value as JSON."""
    return Response(msgspec.json.encode(value), status, content_type="application/json")
