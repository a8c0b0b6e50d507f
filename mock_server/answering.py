"""Asks the broker, for the server and for Flask alike: there always is a reply, and it can be logged."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from mock_server.broker import Answer, Broker
from mock_server.harness import failed
from tn_contract.contract.wire import Request
from tn_contract.record.journal import timestamp

_log = logging.getLogger("mock_server")


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
            log(_line(answer, time.perf_counter() - started))
    return answer


def _line(answer: Answer, seconds: float) -> str:
    found = answer.assessment
    line: dict[str, object] = {"at": timestamp(time.time_ns()), "status": answer.reply.status}
    if found:
        line |= {"scheme": found.scheme, "situation": found.situation, "payload": found.payload}
        line |= {"order_id": found.order_id, "effect": found.effect}
    fault = answer.fault.kind if answer.fault else None
    return json.dumps({**line, "fault": fault, "ms": round(seconds * 1000, 3)})
