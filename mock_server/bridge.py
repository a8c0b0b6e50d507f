"""A WSGI app that answers requests of ours: how Flask is reached from a server that knows no WSGI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tn_contract.contract.wire import Reply, Request

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def call(app: WSGIApplication, request: Request, scheme: str, address: tuple[str, int]) -> Reply:
    """Let the app answer, as if it was served at that address. Raises what the app raises."""
    started: list[Any] = []
    written: list[bytes] = []

    def start(status: str, headers: Sequence[tuple[str, str]], _error: Any = None) -> Any:
        started[:] = status, headers
        return written.append

    parts = app(_environ(request, scheme, address), start)
    try:
        written += parts
    finally:
        if close := getattr(parts, "close", None):
            close()
    return Reply(int(started[0][:3]), tuple(started[1]), b"".join(written))


def _environ(request: Request, scheme: str, address: tuple[str, int]) -> dict[str, Any]:
    environ = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "SERVER_NAME": address[0],
        "SERVER_PORT": str(address[1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ
