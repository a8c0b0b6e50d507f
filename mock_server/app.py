"""Flask: raw bytes in, bytes out, and the control plane under `/__tn__/`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from flask import Flask, Response, request
from flask import Request as FlaskRequest
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from mock_server.book.control import ADDRESSES, add_book_control
from mock_server.broker import (
    HARNESS_STATUS,
    READ_LIMIT,
    REPORTS_KEPT,
    TOO_LARGE,
    Broker,
    Session,
    failed,
    harness_error,
    unavailable,
)
from mock_server.door import CONTROL, EARLY_END, Door, replied
from mock_server.guard import Guard
from mock_server.scenario import SCENARIO_LARGEST, read_toml, too_large
from tn_contract import __version__
from tn_contract.contract.errors import JournalUnavailable, StateUnavailable, UsageError
from tn_contract.contract.text import read_text
from tn_contract.contract.wire import Reply, status_line
from tn_contract.record.evidence import Evidence, Reported, of_session, to_lines
from tn_contract.record.journal import Journal


def create_app(
    broker: Broker | None = None,
    *,
    control: bool = True,
    guard: Guard | None = None,
    workers: int = 1,
    **options: Any,
) -> Flask:
    """Build the WSGI app over `broker`, or over a new `Broker(**options)`.

    Without `control` it has no control plane: it is built in a tenth of the time, and a client cannot find it. With
    one, `guard` says who may use it; by default everybody who reaches the app. As one of several `workers` it does not
    tell what it knows of its own requests alone.
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
            probe = request.path in (f"{CONTROL}health", f"{CONTROL}ready")
            refusal = guard.refusal(request.environ, probe=probe) if guard else None
            return _respond(refusal) if refusal else None
        body = request.get_data(cache=False)
        if len(body) < (request.content_length or 0):
            raise ClientDisconnected
        return _respond(replied(mock, request.environ, body))

    @app.errorhandler(Exception)
    def mark_harness_error(error: Exception) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            return _respond(TOO_LARGE)
        if isinstance(error, StateUnavailable):
            return _respond(unavailable(error))
        if isinstance(error, ClientDisconnected):
            return _respond(EARLY_END)
        if isinstance(error, HTTPException):
            hint = f"see {CONTROL}health for the control plane's addresses"
            return _respond(harness_error(error.name, hint, error.code or HARNESS_STATUS))
        app.logger.error("the mock failed", exc_info=error)  # and not on what: a secret may stand anywhere in it
        return _respond(failed(error))

    if control:
        _add_control_plane(app, mock, workers)
    app.wsgi_app = Door(mock, app.wsgi_app)  # type: ignore[method-assign] # the documented way to wrap it
    return app


def _respond(reply: Reply) -> Response:
    response = Response(reply.body, status_line(reply.status))
    del response.headers["Content-Type"]
    for name, value in reply.headers:
        response.headers.add(name, value)
    return response


def _decoded(received: FlaskRequest) -> object:
    """Read a body of TOML or JSON. Raises `UsageError`."""
    content = received.get_data()
    if len(content) > SCENARIO_LARGEST:
        raise UsageError(too_large(len(content)))
    try:
        if received.mimetype == "application/toml":
            return read_toml(read_text(content, "the body"))
        return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{error} (TOML goes by Content-Type application/toml)") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


_Short = Annotated[str, msgspec.Meta(max_length=200)]


class _Report(msgspec.Struct, forbid_unknown_fields=True):
    """What a client's test tells of one cancel: as a line of `judge`, and the order that it is about."""

    order_id: _Short | int
    outcome: Literal["accepted", "rejected", "unknown", "not-sent"]
    kind: _Short | None = None
    code: int | _Short | None = None


def _evidence(session: Session) -> Evidence:
    return of_session(session.credentials.api_key, session.journal.exchanges(), session.reports)


def _verdicts(session: Session, strays: int) -> dict[str, Any]:
    """Judge what the session's client did so far. `strays` came without a known key, and belong to no session."""
    from tn_contract.judge.client import ClientJudge, catalogue

    judge = ClientJudge(_evidence(session), catalogue())
    results = [judge.judge(check_id) for check_id in catalogue()]
    return {
        "strays": strays,
        "counts": Counter(result.verdict for result in results),
        "verdicts": [
            {
                "check": result.check.id,
                "verdict": result.verdict,
                "title": result.check.title,
                "clause": result.check.clause,
                "expected": result.finding.expected,
                "actual": result.finding.actual,
                "requests": [exchange.seq for exchange in result.exchanges],
            }
            for result in results
        ],
    }


def _journal(journal: Journal) -> Response:
    return _json({"exchanges": journal.exchanges()})


# What each process keeps for itself.
_OF_ONE_PROCESS = [
    f"GET {CONTROL}sessions/<api_key>/journal",
    f"GET {CONTROL}sessions/<api_key>/journal.jsonl",
    f"GET {CONTROL}sessions/<api_key>/verdicts",
    f"POST {CONTROL}sessions/<api_key>/reports",
    f"GET|PUT|DELETE {CONTROL}scenario",
    f"GET|PUT|DELETE {CONTROL}sessions/<api_key>/scenario",
    f"GET {CONTROL}strays",
    f"GET {CONTROL}metrics",
]


def _add_control_plane(app: Flask, mock: Broker, workers: int) -> None:
    def refuse(reason: str, hint: str, status: int) -> Response:
        return _respond(harness_error(reason, hint, status))

    def unknown(api_key: str) -> Response:
        return refuse(f"no session has the key {api_key!r}", f"POST {CONTROL}sessions opens one", 404)

    def of_one_process(view: Callable[..., Response]) -> Callable[..., Response]:
        """Refuse where there are several: none of them knows the whole, and a part would pass for it."""

        @wraps(view)
        def refuse_part(**_parameters: str) -> Response:
            reason = f"each of the {workers} workers keeps this for itself, and none knows the whole"
            hint = "start the mock with one worker; of several, --journal FILE and --access-log tell what they did"
            return refuse(reason, hint, 409)

        return view if workers == 1 else refuse_part

    def shown(session: Session) -> dict[str, Any]:
        last = session.ledger.last
        told = {"api_key": session.credentials.api_key, "last_nonce": None if last is None else str(last)}
        return {**told, "exchanges": len(session.journal)} if workers == 1 else told

    def known_sessions() -> int | None:
        try:
            return mock.state.count()
        except StateUnavailable:
            return None  # the mock is alive all the same; `ready` is another question

    add_book_control(app, mock, refuse, unknown)

    @app.get(f"{CONTROL}health")
    def health() -> Response:
        return _json(
            {
                "mock": "tn-contract",
                "version": __version__,
                "corpus": mock.corpus.manifest.version,
                "magic_orders": True,
                "orders": "book" if mock.book else "replay",
                "nonce_policy": mock.policy,
                "timestamp_tolerance": mock.timestamp_tolerance,
                "state": mock.state.engine,
                "sessions": known_sessions(),
                "workers": workers,
                "left_out": mock.left_out,
                "pid": os.getpid(),
                "control": [
                    f"GET {CONTROL}health",
                    f"GET {CONTROL}ready",
                    f"GET|POST {CONTROL}sessions",
                    f"GET|DELETE {CONTROL}sessions/<api_key>",
                    *(_OF_ONE_PROCESS if workers == 1 else ()),
                    *(ADDRESSES if mock.book else ()),
                    f"POST {CONTROL}reset",
                ],
            }
        )

    @app.get(f"{CONTROL}ready")
    def ready() -> Response:
        try:
            mock.ready()  # a state that cannot be written is a harness error
        except JournalUnavailable as error:
            return refuse(str(error), "make room; the mock is ready again once an exchange was written", 503)
        return _json({"ready": True, "sessions": mock.state.count()})

    @app.get(f"{CONTROL}sessions")
    def list_sessions() -> Response:
        return _json({"sessions": [shown(session) for key in mock.keys if (session := mock.session(key))]})

    @app.post(f"{CONTROL}sessions")
    def open_session() -> Response:
        try:
            wanted = msgspec.json.decode(request.get_data() or b"{}")
        except (ValueError, RecursionError):
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
        return _json(shown(session)) if session else unknown(api_key)

    @app.delete(f"{CONTROL}sessions/<path:api_key>")
    def close_session(api_key: str) -> Response:
        return _json({"closed": api_key}) if mock.close_session(api_key) else unknown(api_key)

    @app.get(f"{CONTROL}sessions/<path:api_key>/journal")
    @of_one_process
    def show_journal(api_key: str) -> Response:
        session = mock.session(api_key)
        return _journal(session.journal) if session else unknown(api_key)

    @app.get(f"{CONTROL}sessions/<path:api_key>/journal.jsonl")
    @of_one_process
    def show_journal_lines(api_key: str) -> Response:
        session = mock.session(api_key)
        if session is None:
            return unknown(api_key)
        return Response(to_lines(_evidence(session)), content_type="application/jsonl")

    @app.get(f"{CONTROL}sessions/<path:api_key>/verdicts")
    @of_one_process
    def show_verdicts(api_key: str) -> Response:
        session = mock.session(api_key)
        return _json(_verdicts(session, len(mock.strays))) if session else unknown(api_key)

    @app.post(f"{CONTROL}sessions/<path:api_key>/reports")
    @of_one_process
    def take_report(api_key: str) -> Response:
        session = mock.session(api_key)
        if session is None:
            return unknown(api_key)
        try:
            report = msgspec.json.decode(request.get_data(), type=_Report)
        except (ValueError, RecursionError) as error:
            hint = 'send {"order_id": "…", "outcome": "accepted", "rejected", "unknown" or "not-sent"}'
            return refuse(f"the report is not understood ({error})", hint, 400)
        if len(session.reports) >= REPORTS_KEPT:
            reason = f"the session has {REPORTS_KEPT} reports, and that is the limit"
            return refuse(reason, f"POST {CONTROL}sessions opens another session", 409)
        session.reports.append(Reported(str(report.order_id), report.outcome, report.kind, report.code))
        return _json({"reports": len(session.reports)}, 201)

    def scenario_at(session: Session | None) -> Response:
        """Show, replace or end the scenario of a session, or of all that have none of their own."""
        place = session or mock
        if request.method == "PUT":
            try:
                mock.play(_decoded(request), session)
            except UsageError as error:
                return refuse(f"the scenario is not understood: {error}", "docs/scenarios.md shows one", 400)
        elif request.method == "DELETE":
            place.scenario = None
        played = place.scenario
        if played is None:
            return _json({"rules": [], "unused": []})
        return _json({"seed": played.script.seed, "rules": played.played(), "unused": played.unused()})

    @app.route(f"{CONTROL}scenario", methods=["GET", "PUT", "DELETE"])
    @of_one_process
    def scenario_of_all() -> Response:
        return scenario_at(None)

    @app.route(f"{CONTROL}sessions/<path:api_key>/scenario", methods=["GET", "PUT", "DELETE"])
    @of_one_process
    def scenario_of_session(api_key: str) -> Response:
        session = mock.session(api_key)
        return scenario_at(session) if session else unknown(api_key)

    @app.get(f"{CONTROL}metrics")
    @of_one_process
    def show_metrics() -> Response:
        from mock_server.metrics import CONTENT_TYPE, exposition

        try:
            return Response(exposition(mock), content_type=CONTENT_TYPE)
        except ImportError:
            return refuse("metrics need prometheus-client", "pip install 'tn-contract[metrics]'", 501)

    @app.get(f"{CONTROL}strays")
    @of_one_process
    def show_strays() -> Response:
        return _journal(mock.strays)

    @app.post(f"{CONTROL}reset")
    def reset() -> Response:
        mock.reset()
        return _json({"sessions": mock.keys})
