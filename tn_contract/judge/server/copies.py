"""What is acted on is what was signed: copies of a field that nothing signs must not count.

A framework may merge the query string, cookies, headers, path segments or a second parser's result into the fields.
Each check signs one value, names another one in such a place, and looks at which of the two was acted on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tn_contract.contract.signing import Value
from tn_contract.contract.wire import (
    COMMAND_PATH,
    PUBLIC_KEY_HEADER,
    Request,
    SignedRequest,
    compose,
    encode_fields,
    parse_fields,
    replace,
    with_header,
)
from tn_contract.judge.server.registry import check
from tn_contract.judge.server.target import CANCEL, SESSION, Observation, Probe
from tn_contract.judge.verdicts import Blocked, Finding, NotApplicable, failed, passed

Place = Callable[[Request], Request]


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """Add headers."""
    return replace(request, headers=(*request.headers, *headers.items()))


def with_cookies(request: Request, names: tuple[str, ...], value: str) -> Request:
    """Name a value in cookies of several names."""
    return with_header(request, "Cookie", "; ".join(f"{name}={value}" for name in names))


def outside_the_body(names: tuple[str, ...], value: str) -> dict[str, Place]:
    """Name a value in every place outside the body, under each of the names."""
    plain = tuple(name for name in names if name.isidentifier())
    dashed = {name.replace("_", "-").title() for name in plain}
    headers = {f"{prefix}{name}": value for prefix in ("", "X-", "X-NtApi-") for name in dashed}
    segment = f";{plain[0]}={value}"
    return {
        "in the query string": lambda request: replace(
            request, query=encode_fields([(name, value) for name in names]).decode()
        ),
        "in the query string, with literal brackets": lambda request: replace(
            request, query="&".join(f"{name}={value}" for name in names)
        ),
        "in cookies": lambda request: with_cookies(request, names, value),
        "in headers": lambda request: with_headers(request, headers),
        "in one more segment of the path": lambda request: replace(request, path=f"{request.path}/{value}"),
        "in a parameter of the path": lambda request: replace(request, path=request.path + segment),
    }


def _fields_replaced(request: Request, name: str, *fields: tuple[str, str]) -> Request:
    kept = [pair for pair in parse_fields(request.body) if pair[0] != name]
    return replace(request, body=encode_fields([*kept, *fields]))


def _and(request: Request, text: str) -> Request:
    return replace(request, body=request.body + f"&{text}".encode())


@check(
    "signature/acts-on-signed-value",
    "acts on no order that was not signed",
    clause="signed-value-is-used",
    effect="cancel",
)
def acts_on_signed_value(probe: Probe) -> Finding:
    """Name a second order beside the signed one, wherever a framework may look: it must not be acted on."""
    if not probe.target.free_orders:
        raise NotApplicable("it names two orders")
    name = "params[order_id]"
    expected, observed = "refused, or the signed order acted on", None

    def places(signed: str, other: str) -> dict[str, Place]:
        return {
            "after the signed one": lambda request: _fields_replaced(request, name, (name, signed), (name, other)),
            "before the signed one": lambda request: _fields_replaced(request, name, (name, other), (name, signed)),
            "after the signed one, with literal brackets": lambda request: _and(request, f"{name}={other}"),
            "at the top level": lambda request: _and(request, f"order_id={other}"),
            "in a list": lambda request: _and(request, f"{name}[]={other}"),
            "in params as JSON": lambda request: _and(request, f'params={{"order_id":{other}}}'),
            "in params under another name": lambda request: _and(request, f"params[orderId]={other}"),
            "in params as an id": lambda request: _and(request, f"params[id]={other}"),
            "at the top level under another name": lambda request: _and(request, f"orderId={other}"),
            "at the top level as an id": lambda request: _and(request, f"id={other}"),
            **outside_the_body((name, "order_id", "orderId", "id"), other),
        }

    for where in places("", ""):
        valid = probe.compose(CANCEL)
        signed, other = str(probe.order_id), str(probe.order_id + 1)
        observed = probe.send(places(signed, other)[where](valid.request))
        if observed.understood and observed.reading.order_id == int(other):
            return failed(f"{expected}: another one {where}", observed.told)
    return passed(expected, observed.told if observed else "")


@check(
    "signature/acts-on-signed-command",
    "carries out no command that was not signed",
    clause="signed-value-is-used",
    effect="cancel",
)
def acts_on_signed_command(probe: Probe) -> Finding:
    """Sign getAuthInfo with an order, then name delTradeOrder beside it, wherever a framework may look."""
    if not probe.target.free_orders:
        raise NotApplicable("it names an order that is not the user's")
    places: dict[str, Place] = {
        "nowhere": lambda request: request,
        "in a second cmd": lambda request: _fields_replaced(request, "cmd", ("cmd", SESSION), ("cmd", CANCEL)),
        "in a first cmd": lambda request: _fields_replaced(request, "cmd", ("cmd", CANCEL), ("cmd", SESSION)),
        "in a list": lambda request: _and(request, f"cmd[]={CANCEL}"),
        "in a field command": lambda request: _and(request, f"command={CANCEL}"),
        "in a field action": lambda request: _and(request, f"action={CANCEL}"),
        "in a field method": lambda request: _and(request, f"method={CANCEL}"),
        "in the path": lambda request: replace(request, path=COMMAND_PATH + CANCEL),
        "in a second cmd and the path": lambda request: replace(
            _fields_replaced(request, "cmd", ("cmd", SESSION), ("cmd", CANCEL)), path=COMMAND_PATH + CANCEL
        ),
        **outside_the_body(("cmd", "command", "action", "method"), CANCEL),
    }
    expected, observed = f"refused, or the signed {SESSION} carried out", None
    for where, place in places.items():
        params: dict[str, Value] = {"order_id": probe.order_id}
        observed = probe.send(place(compose(probe.credentials, SESSION, probe.nonces.next(), params).request))
        if observed.understood and (observed.reading.order_id, observed.reading.result) != (None, None):
            return failed(f"{expected}: a cancel {where}", observed.told)
    return passed(expected, observed.told if observed else "")


def _session_of(observed: Observation) -> Any:
    return observed.reading.members.get("sess_id")


@check(
    "signature/acts-for-signing-key",
    "acts for no other key than the one that signed",
    clause="signed-value-is-used",
)
def acts_for_signing_key(probe: Probe) -> Finding:
    """Sign with one key and name another known one beside it: the first key's nonce is used up, not the other's."""
    other = probe.other()
    name = other.credentials.api_key
    field = ("apiKey", name)
    places: dict[str, Place] = {
        "in X-NtApi-PublicKey": lambda request: with_headers(request, {PUBLIC_KEY_HEADER: name}),
        "in a last apiKey": lambda request: replace(request, body=request.body + b"&" + encode_fields([field])),
        "in a first apiKey": lambda request: replace(request, body=encode_fields([field]) + b"&" + request.body),
        "in Authorization": lambda request: with_headers(request, {"Authorization": f"Bearer {name}"}),
        **outside_the_body(("apiKey", "api_key", "publicKey", "uid"), name),
    }
    if not probe.target.disposable:  # its budget ends
        places = dict(list(places.items())[:2])
    probe.control(SESSION)
    ids = [_session_of(each.send(each.compose(SESSION).request)) for each in (probe, probe, other)]
    telling = ids[0] == ids[1] != ids[2]  # whether a session's id tells whose it is
    first = probe.compose(SESSION).request
    if not probe.send(first).understood or not probe.send(first).denied:
        raise Blocked("a replay of a valid request is not refused, so nonces do not tell whose request it was")
    expected = "refused, or carried out for the key that signed"
    for where, place in places.items():
        lower, mine = probe.nonces.next(), probe.compose(SESSION)
        observed = probe.send(place(mine.request))
        if not observed.understood:
            continue
        told = f"another key named {where}: {observed.told}"
        if telling and _session_of(observed) == ids[2]:
            return failed(expected, f"{told}, the session of the other key")
        if probe.send(mine.request).understood:
            return failed(expected, f"{told}; then the same request without it was accepted too")
        if not other.send(other.compose(SESSION, lower).request).understood:
            return failed(expected, f"{told}; then a lower nonce of the other key was refused")
    return passed(expected, f"named {', '.join(places)}")


@check(
    "v3/acts-on-signed-order",
    "acts on no v3 order that was not signed",
    clause="v3-signature-covers-body",
    effect="cancel",
)
def acts_on_signed_order(probe: Probe) -> Finding:
    """Name a second order beside the signed body, wherever a framework may look: it must not be acted on."""
    if not probe.target.free_orders:
        raise NotApplicable("it names two orders")
    expected, observed = "refused, or the signed order acted on", None
    for where in outside_the_body(("order_id", "orderId", "id"), ""):
        valid: SignedRequest = probe.compose(CANCEL)
        other = probe.order_id + 1
        place = outside_the_body(("order_id", "orderId", "id", "params[order_id]"), str(other))[where]
        observed = probe.send(place(valid.request))
        if observed.understood and observed.reading.order_id == other:
            return failed(f"{expected}: another one {where}", observed.told)
    return passed(expected, observed.told if observed else "")
