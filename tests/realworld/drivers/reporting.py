"""What a plain user of a client would take its behaviour for, as one JSON line for each order.

Runs in the client's own environment: only the standard library and requests, which all these clients are built on.

    nothing raised                accepted: the client hands a result back, and its documentation checks nothing more
    logged as an error            rejected: the client itself says on the terminal that it failed
    its own error, or HTTP 4xx    rejected: the exception says so
    could not connect             not-sent
    anything else that is raised  unknown: a crash in the middle says nothing about the order
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import requests

BASE_URL = os.environ["TN_BASE_URL"]
API_KEY = os.environ["TN_API_KEY"]
API_SECRET = os.environ["TN_API_SECRET"]
NO_WAY_THERE = ("NewConnectionError", "ConnectTimeoutError")


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += 1


def https_host() -> str:
    """Host and port of the mock, for clients that put https:// before it themselves."""
    if not BASE_URL.startswith("https://"):
        sys.exit(f"this client speaks https only, and the mock is at {BASE_URL}: start it with --tls")
    return urlsplit(BASE_URL).netloc


def cancel_each(cancel: Callable[[int], object], refusals: tuple[type[Exception], ...] = ()) -> None:
    """Call `cancel` for each order and print what became of it. `refusals` are the client's own exceptions."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    for order_id in os.environ["TN_ORDER_IDS"].split(","):
        errors.seen = 0
        try:
            cancel(int(order_id))
            outcome = "rejected" if errors.seen else "accepted"
        except refusals:
            outcome = "rejected"
        except requests.HTTPError as error:
            outcome = "rejected" if error.response.status_code < 500 else "unknown"
        except requests.ConnectionError as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            reason = getattr(reason, "original_error", reason)  # of a ProxyError, which may come later as well
            outcome = "not-sent" if type(reason).__name__ in NO_WAY_THERE else "unknown"
        except Exception as error:  # noqa: BLE001 # whatever a client raises is what its user gets
            print(f"{order_id}: {type(error).__name__}", file=sys.stderr)
            outcome = "unknown"
        print(json.dumps({"outcome": outcome}), flush=True)
