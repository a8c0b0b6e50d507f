"""Judges servers: by calling them (fast: the matrix has hundreds of servers), or over a socket."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import unquote
from wsgiref.util import setup_testing_defaults

from tn_contract.contract.wire import Reply, Request
from tn_contract.judge.server import GROUPS, Judge, catalogue
from tn_contract.judge.server.target import Target, TargetOptions
from tn_contract.judge.verdicts import Result
from tn_contract.report.rows import exit_code, row_of
from tn_contract.transport import TransportFailure

from .honest import HungUp

App = Callable[..., Iterable[bytes]]


class Called:
    """A transport that calls a WSGI app instead of sending, each time on a new "connection" unless one was kept."""

    _ports = itertools.count(40_000)

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: int | None = None

    def send(self, request: Request) -> Reply:
        connection = self._kept or next(self._ports)
        self._kept = None if request.header("Connection") == "close" else connection
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": unquote(request.path),
            "QUERY_STRING": request.query,
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.input": io.BytesIO(request.body),
            "selftest.connection": connection,
            "selftest.headers": request.headers,
        }
        for name, value in request.headers:
            plain = name.upper().replace("-", "_")
            place = "CONTENT_TYPE" if plain == "CONTENT_TYPE" else f"HTTP_{plain}"
            environ[place] = f"{environ[place]}, {value}" if place in environ else value  # as servers join them
        setup_testing_defaults(environ)
        started: list[Any] = []
        try:
            body = b"".join(self._app(environ, lambda status, headers: started.extend((status, headers))))
        except HungUp:
            raise TransportFailure("receive", "HungUp", "the server left without a reply") from None
        except Exception as error:  # noqa: BLE001 # what a WSGI server makes of it
            return Reply(500, (("Content-Type", "text/plain"),), type(error).__name__.encode())
        status, headers = started
        if request.method == "HEAD":
            return Reply(int(status[:3]), tuple(headers), b"")
        if int(dict(headers).get("Content-Length", 0)) > len(body):
            raise TransportFailure("receive", "incomplete", "the reply is shorter than its Content-Length")
        return Reply(int(status[:3]), tuple(headers), body)

    def close(self) -> None:
        pass


@contextmanager
def judge_of(app: App, options: TargetOptions | None = None) -> Iterator[Judge]:
    """Yield a judge that calls the app."""
    with mock.patch("tn_contract.judge.server.target.Transport", return_value=Called(app)):
        judge = Judge(Target(options or TargetOptions("http://127.0.0.1:1")), catalogue())
    yield judge
    judge.close()


def all_results(judge: Judge, groups: Container[str] = GROUPS) -> list[Result]:
    return [judge.judge(check.id) for check in catalogue().values() if check.group in groups]


def exit_code_of(judge: Judge, results: list[Result], *, strict: bool = False) -> int:
    rows = [row_of(result, judge.target.base_url, "tn-contract verify") for result in results]
    return exit_code(rows, strict=strict)


def findings(results: list[Result], *verdicts: str) -> dict[str, str]:
    return {result.check.id: result.verdict for result in results if result.verdict in verdicts}


def judged(app: App, options: TargetOptions | None = None, groups: Container[str] = GROUPS) -> tuple[list[Result], int]:
    """All results for an app (or those of some groups of checks), and the exit code they make."""
    with judge_of(app, options) as judge:
        results = all_results(judge, groups)
        return results, exit_code_of(judge, results)


def judged_by(app: App, check_ids: Iterable[str]) -> list[Result]:
    """The results of a few checks alone, before which their controls run."""
    with judge_of(app) as judge:
        return [judge.judge(check_id) for check_id in check_ids]
