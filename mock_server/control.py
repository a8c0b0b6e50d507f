"""The control plane under `/__tn__/`: sessions, journals, verdicts, scenarios, metrics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from flask import Blueprint, Response, current_app, request

from mock_server.broker import REPORTS_KEPT, Session
from mock_server.guard import CONTROL
from mock_server.scenario import SCENARIO_LARGEST, read_toml, too_large
from mock_server.web import Refused, as_json, mock, served, session_of
from tn_contract import __version__
from tn_contract.contract.errors import JournalUnavailable, StateUnavailable, UsageError
from tn_contract.contract.text import read_text
from tn_contract.record.evidence import Evidence, Reported, of_session, to_lines

SESSION = "/sessions/<path:api_key>"

control = Blueprint("control", __name__, url_prefix=CONTROL.rstrip("/"))


def of_one_process(view: Callable[..., Response]) -> Callable[..., Response]:
    """Refuse where several workers serve: none of them knows the whole, and a part would pass for it."""

    @wraps(view)
    def refuse_part(**parameters: str) -> Response:
        workers = served().workers
        if workers > 1:
            reason = f"each of the {workers} workers keeps this for itself, and none knows the whole"
            hint = "start the mock with one worker; of several, --journal FILE and --access-log tell what they did"
            raise Refused(reason, hint, 409)
        return view(**parameters)

    refuse_part.of_one_process = True  # type: ignore[attr-defined] # for the list of addresses
    return refuse_part


# ---- the mock ----------------------------------------------------------------------------------------------


@control.get("/health")
def health() -> Response:
    """Say what runs here."""
    broker, workers = mock(), served().workers
    try:
        sessions = broker.state.count()
    except StateUnavailable:
        sessions = None  # the mock is alive all the same; `ready` is another question
    return as_json(
        {
            "mock": "tn-contract",
            "version": __version__,
            "corpus": broker.corpus.manifest.version,
            "magic_orders": True,
            "orders": "book" if broker.book else "replay",
            "nonce_policy": broker.policy,
            "timestamp_tolerance": broker.timestamp_tolerance,
            "state": broker.state.engine,
            "sessions": sessions,
            "workers": workers,
            "left_out": broker.left_out,
            "pid": os.getpid(),
            "control": _addresses(),
        }
    )


def _addresses() -> list[str]:
    """List what can be asked here, such as `GET|POST /__tn__/sessions`."""
    methods: dict[str, set[str]] = {}
    for rule in current_app.url_map.iter_rules():
        view = current_app.view_functions[rule.endpoint]
        blueprint = rule.endpoint.partition(".")[0]
        hidden = hasattr(view, "of_one_process") and served().workers > 1
        hidden = hidden or (view.__name__ == "verdicts" and served().judge is None)
        if (blueprint == "control" and not hidden) or (blueprint == "book" and mock().book):
            path = rule.rule.replace("<path:", "<")
            methods.setdefault(path, set()).update((rule.methods or set()) - {"HEAD", "OPTIONS"})
    return [f"{'|'.join(sorted(names))} {path}" for path, names in methods.items()]


@control.get("/ready")
def ready() -> Response:
    """Say whether the next command could be remembered and recorded."""
    try:
        mock().ready()  # a state that cannot be written is a harness error
    except JournalUnavailable as error:
        hint = "make room; the mock is ready again once an exchange was written"
        raise Refused(str(error), hint, 503) from error
    return as_json({"ready": True, "sessions": mock().state.count()})


@control.get("/metrics")
@of_one_process
def metrics() -> Response:
    """Count what became of requests, for Prometheus."""
    from mock_server.metrics import CONTENT_TYPE, exposition

    try:
        return Response(exposition(mock()), content_type=CONTENT_TYPE)
    except ImportError as error:
        raise Refused("metrics need prometheus-client", "pip install 'tn-contract[metrics]'", 501) from error


@control.post("/reset")
def reset() -> Response:
    """Go back to the start."""
    mock().reset()
    return as_json({"sessions": mock().keys})


@control.get("/unmatched")
@of_one_process
def unmatched() -> Response:
    """Show the requests that belong to no session."""
    return as_json({"exchanges": mock().unmatched.exchanges()})


# ---- sessions ----------------------------------------------------------------------------------------------


@control.get("/sessions")
def list_sessions() -> Response:
    """List the sessions, without their secrets."""
    broker = mock()
    return as_json({"sessions": [_shown(session) for key in broker.keys if (session := broker.session(key))]})


@control.post("/sessions")
def open_session() -> Response:
    """Open a session: with a new key pair, or with the one in the body."""
    try:
        wanted = msgspec.json.decode(request.get_data() or b"{}")
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict) or not set(wanted) <= {"api_key", "api_secret"}:
        raise Refused("the body is not understood", 'send nothing, or {"api_key": "…", "api_secret": "…"}', 400)
    if not all(isinstance(value, str) and value for value in wanted.values()):
        raise Refused("api_key and api_secret are texts", "leave out what the mock shall choose", 400)
    try:
        credentials = mock().open_session(**wanted).credentials
    except UsageError as error:
        raise Refused(str(error), f"GET {CONTROL}sessions lists the keys in use", 409) from error
    return as_json(
        {
            "base_url": request.host_url.rstrip("/"),
            "api_key": credentials.api_key,
            "api_secret": credentials.secret.reveal(),
            "control_url": f"{request.host_url}{CONTROL[1:]}sessions/{quote(credentials.api_key)}",
        },
        201,
    )


@control.get(SESSION)
def show_session(api_key: str) -> Response:
    """Show one session."""
    return as_json(_shown(session_of(api_key)))


@control.delete(SESSION)
def close_session(api_key: str) -> Response:
    """Forget a key pair with its nonces and its journal."""
    if not mock().close_session(api_key):
        session_of(api_key)  # says that there is none
    return as_json({"closed": api_key})


def _shown(session: Session) -> dict[str, Any]:
    last = session.ledger.last
    shown = {"api_key": session.credentials.api_key, "last_nonce": None if last is None else str(last)}
    return {**shown, "exchanges": len(session.journal)} if served().workers == 1 else shown


# ---- what clients did --------------------------------------------------------------------------------------

_Short = Annotated[str, msgspec.Meta(max_length=200)]


class _Report(msgspec.Struct, forbid_unknown_fields=True):
    """What a client's test tells of one cancel: as a line of `judge`, and the order that it is about."""

    order_id: _Short | int
    outcome: Literal["accepted", "rejected", "unknown", "not-sent"]
    kind: _Short | None = None
    code: int | _Short | None = None


@control.get(f"{SESSION}/journal")
@of_one_process
def journal(api_key: str) -> Response:
    """Show the exchanges of a session."""
    return as_json({"exchanges": session_of(api_key).journal.exchanges()})


@control.get(f"{SESSION}/journal.jsonl")
@of_one_process
def journal_lines(api_key: str) -> Response:
    """Show the journal as a file for `judge --journal`."""
    return Response(to_lines(_evidence(session_of(api_key))), content_type="application/jsonl")


@control.get(f"{SESSION}/verdicts")
@of_one_process
def verdicts(api_key: str) -> Response:
    """Judge what the session's client did so far. `unmatched` came without a known key, and belong to no session."""
    session, judge = session_of(api_key), served().judge
    if judge is None:
        hint = "start it by `tn-contract serve`, or give create_app(judge=tn_contract.judge.client.live_verdicts)"
        raise Refused("this mock has no judge", hint, 501)
    rows = judge(_evidence(session))
    counts = Counter(row["verdict"] for row in rows)
    return as_json({"unmatched": len(mock().unmatched), "counts": counts, "verdicts": rows})


@control.post(f"{SESSION}/reports")
@of_one_process
def report(api_key: str) -> Response:
    """Take what a client reports of an order, so that the judge can compare it with the reply."""
    session = session_of(api_key)
    try:
        received = msgspec.json.decode(request.get_data(), type=_Report)
    except (ValueError, RecursionError) as error:
        hint = 'send {"order_id": "…", "outcome": "accepted", "rejected", "unknown" or "not-sent"}'
        raise Refused(f"the report is not understood ({error})", hint, 400) from error
    if len(session.reports) >= REPORTS_KEPT:
        reason = f"the session has {REPORTS_KEPT} reports, and that is the limit"
        raise Refused(reason, f"POST {CONTROL}sessions opens another session", 409)
    session.reports.append(Reported(str(received.order_id), received.outcome, received.kind, received.code))
    return as_json({"reports": len(session.reports)}, 201)


def _evidence(session: Session) -> Evidence:
    return of_session(session.credentials.api_key, session.journal.exchanges(), session.reports)


# ---- scenarios ---------------------------------------------------------------------------------------------


@control.route("/scenario", methods=["GET", "PUT", "DELETE"])
@of_one_process
def scenario() -> Response:
    """Show, replace or end the scenario of all sessions that have none of their own."""
    return _scenario_of(None)


@control.route(f"{SESSION}/scenario", methods=["GET", "PUT", "DELETE"])
@of_one_process
def scenario_of_session(api_key: str) -> Response:
    """Show, replace or end the scenario of a session."""
    return _scenario_of(session_of(api_key))


def _scenario_of(session: Session | None) -> Response:
    place = session or mock()
    if request.method == "PUT":
        try:
            mock().play(_decoded(), session)
        except UsageError as error:
            raise Refused(f"the scenario is not understood: {error}", "docs/scenarios.md shows one", 400) from error
    elif request.method == "DELETE":
        place.scenario = None
    played = place.scenario
    if played is None:
        return as_json({"rules": [], "unused": []})
    return as_json({"seed": played.script.seed, "rules": played.played(), "unused": played.unused()})


def _decoded() -> object:
    """Read a body of TOML or JSON. Raises `UsageError`."""
    content = request.get_data()
    if len(content) > SCENARIO_LARGEST:
        raise UsageError(too_large(len(content)))
    try:
        if request.mimetype == "application/toml":
            return read_toml(read_text(content, "the body"))
        return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{error} (TOML goes by Content-Type application/toml)") from None
