"""Method, key, command and parameters: what a request must have, and what a browser asks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tn_contract.contract.signing import Parameters, Value, sign
from tn_contract.contract.wire import (
    COMMAND_PATH,
    FORM_TYPE,
    PUBLIC_KEY_HEADER,
    Reply,
    Request,
    SignedRequest,
    compose,
    dress,
    encode_form,
    replace,
    with_header,
)
from tn_contract.judge.server.registry import (
    accepts,
    accepts_order,
    all_pass,
    carries_out_none,
    check,
    keeps_or_refuses,
    on_both_commands,
    refuses,
    refuses_after_a_right_one,
)
from tn_contract.judge.server.spoils import (
    ALIKE_COMMANDS,
    BAD_COMMANDS,
    FALSE_LIKE,
    HARMFUL_INTEGERS,
    NO_INTEGERS,
    NO_ORDERS,
    OTHER_INTEGERS,
    RARE_NO_INTEGERS,
    SOFT_INTEGERS,
    in_other_case,
    keys_like,
    misplaced,
)
from tn_contract.judge.server.target import CANCEL, HUGE_ORDER_IDS, SESSION, Observation, Probe, Spoil
from tn_contract.judge.verdicts import Finding, NotApplicable, failed, noticed, passed

ORIGIN = "https://app.example"
BROWSER_HEADERS = "nt-jqp,x-ntapi-sig,x_requested_with"


def _resigned(probe: Probe, command: str, fields: Parameters) -> Request:
    """Sign exactly what is sent, so that nothing but the missing thing is wrong."""
    return dress(command, fields, sign(fields, probe.credentials.secret).signature)


@on_both_commands("request/refuses-get", "refuses a command sent by GET", clause="post-only")
def refuses_get(probe: Probe, command: str) -> Finding:
    """Send the signed form by GET, in the query string and in the body, as an overridden POST, and by other methods.

    A reply to HEAD has no body. So a HEAD counts as carried out if its reply is as long as a success, or if it uses
    up its nonce although a GET does not.
    """

    def in_query(_probe: Probe, valid: SignedRequest) -> Request:
        return replace(valid.request, method="GET", query=valid.request.body.decode(), body=b"")

    def untyped(inner: Probe, valid: SignedRequest) -> Request:
        return with_header(in_query(inner, valid), "Content-Type", None)

    def overridden(_probe: Probe, valid: SignedRequest) -> Request:
        return replace(valid.request, method="GET", query="_method=POST")

    def by(method: str, **headers: str) -> Spoil:
        more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return lambda _probe, valid: replace(valid.request, method=method, headers=(*valid.request.headers, *more))

    finding = refuses(
        probe,
        command,
        {
            "GET with a query string": untyped,
            "GET with a query string and the form's Content-Type": in_query,
            "GET with a body": by("GET"),
            "GET with headers that override the method": by(
                "GET", X_HTTP_Method_Override="POST", X_HTTP_Method="POST", X_Method_Override="POST"
            ),
            "GET with _method=POST": overridden,
            "PUT": by("PUT"),
            "DELETE": by("DELETE"),
        },
    )
    if finding.verdict != "pass":
        return finding
    # A page, or a list of what is allowed, is a fair reply to these.
    others = ("PATCH", "OPTIONS", "TRACE", "QUERY", "TN") if probe.target.disposable else ("PATCH",)
    finding = carries_out_none(probe, command, {method: by(method) for method in others})
    return _carries_out_no_head(probe, command) if finding.verdict == "pass" else finding


def _carries_out_no_head(probe: Probe, command: str) -> Finding:
    expected = "not carried out: HEAD"

    def sent(method: str) -> tuple[Observation, bool]:
        """Send by a method; return the reply, and whether the nonce was used up."""
        valid = probe.compose(command)
        observed = probe.send(replace(valid.request, method=method))
        again = probe.compose(SESSION, str(valid.fields["nonce"])).request
        return observed, not probe.send(again).understood

    head, used_up = sent("HEAD")
    if head.reply is None or not 200 <= head.reply.status < 300:
        return passed(expected, head.told)
    get, used_up_by_get = sent("GET")
    length = head.reply.header("Content-Length")
    if probe.target.free_orders or command == SESSION:
        accepted = probe.send(probe.compose(command).request)
        if length == _length(accepted) != _length(get):
            return failed(expected, f"{head.told}, as long as the reply to a POST: {accepted.told}")
    if used_up and not used_up_by_get:
        return failed(expected, f"{head.told}; it used up its nonce, which a refused GET does not")
    return passed(expected, head.told)


def _length(observed: Observation) -> str:
    return str(len(observed.reply.body)) if observed.reply else ""


@on_both_commands("request/refuses-missing-key", "refuses a request without a key", clause="key-required")
def refuses_missing_key(probe: Probe, command: str) -> Finding:
    """Leave apiKey out, or leave it empty, also after a right request; the signature is right for what is sent."""

    def absent(_probe: Probe, valid: SignedRequest) -> Request:
        return _resigned(probe, command, {name: value for name, value in valid.fields.items() if name != "apiKey"})

    def empty(_probe: Probe, valid: SignedRequest) -> Request:
        return _resigned(probe, command, {**valid.fields, "apiKey": ""})

    finding = refuses(probe, command, {"no apiKey": absent, "an empty apiKey": empty})
    if finding.verdict != "pass":
        return finding
    return refuses_after_a_right_one(probe, "no apiKey", lambda _right: absent(probe, probe.compose(command)))


@on_both_commands("request/refuses-unknown-key", "refuses a key that it does not know", clause="key-required")
def refuses_unknown_key(probe: Probe, command: str) -> Finding:
    """Name keys that nobody has, some of them much like this one; the signature is made with this key's secret."""
    known = probe.credentials.api_key
    unknown = (*keys_like(known, disposable=probe.target.disposable), f"{known} ", f"{known}\n")
    if probe.target.disposable:
        unknown += (f"{known}\0x", f"\t{known}", f"{known}' -- ")

    def naming(key: str) -> Spoil:
        return lambda _probe, valid: _resigned(probe, command, {**valid.fields, "apiKey": key})

    return refuses(probe, command, {f"unknown key {place}": naming(key) for place, key in enumerate(unknown, 1)})


@check("request/refuses-unknown-command", "refuses an unknown command", clause="command-known")
def refuses_unknown_command(probe: Probe) -> Finding:
    """Send commands that cannot exist, properly signed: to their own paths, and in the body alone."""

    def commanding(command: str) -> Spoil:
        return lambda inner, _valid: compose(inner.credentials, command, inner.nonces.next()).request

    names = (
        "tnContractNoSuchCommand",
        "tnContractNoSuchCommand/delTradeOrder",
        "getAuthInfoTnContract",
        "tnContractgetAuthInfo",
    )

    def in_body(command: str) -> Spoil:
        return lambda inner, valid: _resigned(inner, SESSION, {**valid.fields, "cmd": command})

    def all_in_body(names: tuple[str, ...]) -> dict[str, Spoil]:
        return {f"the command {name!r}": in_body(name) for name in names}

    variants = {f"the command {name!r}": commanding(name) for name in names}
    variants |= all_in_body(("getAuthInfo ", "getAuthInfo\0x", *BAD_COMMANDS))
    return refuses(probe, SESSION, variants, all_in_body(ALIKE_COMMANDS))


@on_both_commands(
    "request/refuses-other-case",
    "carries out no command in another letter case",
    clause="command-letter-case",
)
def refuses_command_in_other_case(probe: Probe, command: str) -> Finding:
    """Write the command in other letter cases, properly signed: in the body, and in the address as well."""

    def written(name: str, path: str) -> Spoil:
        return lambda inner, valid: replace(
            _resigned(inner, command, {**valid.fields, "cmd": name}), path=COMMAND_PATH + path
        )

    names = in_other_case(command, disposable=probe.target.disposable)
    variants = {f"the command {name!r}": written(name, command) for name in names}
    if probe.target.disposable:
        variants |= {f"the command {name!r}, at its own address": written(name, name) for name in names}
    return carries_out_none(probe, command, variants)


@check("request/refuses-missing-command", "refuses a request without cmd", clause="command-required")
def refuses_missing_command(probe: Probe) -> Finding:
    """Leave cmd out, also after a right request, or leave it empty; the path names it, and what is sent is signed."""

    def absent(_probe: Probe, valid: SignedRequest) -> Request:
        return _resigned(probe, SESSION, {name: value for name, value in valid.fields.items() if name != "cmd"})

    def empty(_probe: Probe, valid: SignedRequest) -> Request:
        return _resigned(probe, SESSION, {**valid.fields, "cmd": ""})

    finding = refuses(probe, SESSION, {"no cmd": absent, "an empty cmd": empty})
    if finding.verdict != "pass":
        return finding
    return refuses_after_a_right_one(probe, "no cmd", lambda _right: absent(probe, probe.compose(SESSION)))


def _with_params(probe: Probe, params: Parameters | None, more: Parameters | None = None) -> Spoil:
    def spoil(_probe: Probe, valid: SignedRequest) -> Request:
        fields = {name: value for name, value in valid.fields.items() if name != "params"}
        return _resigned(probe, CANCEL, {**fields, **({"params": params} if params else {}), **(more or {})})

    return spoil


@check(
    "request/refuses-missing-order-id",
    "refuses a cancel that names no order",
    clause="order-id-required",
    requires=(),
)
def refuses_missing_order_id(probe: Probe) -> Finding:
    """Send delTradeOrder without params, with other parameters, with an empty order_id."""
    return refuses(
        probe,
        CANCEL,
        {
            "no params": _with_params(probe, None),
            "params without order_id": _with_params(probe, {"note": "no order"}),
            "an empty order_id": _with_params(probe, {"order_id": ""}),
        },
    )


@check(
    "request/refuses-misplaced-order-id",
    "refuses a cancel whose order_id is not in params",
    clause="order-id-required",
    effect="attempt",
    requires=(),
)
def refuses_misplaced_order_id(probe: Probe) -> Finding:
    """Send order_id at the top level, under other names, in a text that is signed alike, and in the query string."""
    order_id = str(probe.order_id)

    def in_query(inner: Probe, valid: SignedRequest) -> Request:
        bare = _with_params(probe, None)(inner, valid)
        return replace(bare, query=encode_form({"params": {"order_id": order_id}}).decode())

    return refuses(
        probe,
        CANCEL,
        {
            "order_id at the top level": _with_params(probe, None, {"order_id": order_id}),
            **{f"in params: {params}": _with_params(probe, params) for params in misplaced(order_id)},
            "params.order_id": _with_params(probe, None, {"params.order_id": order_id}),
            "params as the text order_id=…": _with_params(probe, None, {"params": f"order_id={order_id}"}),
            "params as a JSON text": _with_params(probe, None, {"params": f'{{"order_id":{order_id}}}'}),
            "params as the number": _with_params(probe, None, {"params": order_id}),
            "order_id only in the query string": in_query,
        },
    )


@check(
    "request/refuses-malformed-order-id",
    "refuses an order id that is no integer",
    clause="order-id-is-integer",
    effect="attempt",
    requires=(),
)
def refuses_malformed_order_id(probe: Probe) -> Finding:
    """Send order ids that careless readers turn into an order's number, properly signed."""
    number = probe.order_id
    writings = NO_INTEGERS | RARE_NO_INTEGERS | NO_ORDERS
    if probe.target.free_orders:  # some may read another order's number
        writings |= OTHER_INTEGERS | HARMFUL_INTEGERS | {"an exponent": "3e9"}
    malformed: dict[str, Value] = {what: pattern.format(number) for what, pattern in writings.items()}
    if probe.target.disposable:
        malformed |= {f"the text {text!r}": text for text in FALSE_LIKE}
    malformed |= {"a list": [str(number)], "a map": {"id": str(number)}}
    soft = {what: write(number) for what, write in SOFT_INTEGERS.items()}

    def naming(values: Mapping[str, Value]) -> dict[str, Spoil]:
        return {what: _with_params(probe, {"order_id": value}) for what, value in values.items()}

    return refuses(probe, CANCEL, naming(malformed), naming(soft))


def _echoes(probe: Probe, order_ids: tuple[int, ...]) -> Finding:
    if not probe.target.free_orders:
        raise NotApplicable("it names orders that are not the user's")
    probe.control(CANCEL)

    def cancel(order_id: int) -> Request:
        return compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": order_id}).request

    return all_pass(accepts_order(order_id, probe.send(cancel(order_id))) for order_id in order_ids)


@check(
    "request/keeps-long-order-ids", "keeps order ids beyond 32 bits", clause="order-ids-exceed-32-bits", effect="cancel"
)
def keeps_long_order_ids(probe: Probe) -> Finding:
    """Cancel ids in the digits of those that the vendor's pages print, just beyond 2^31 and 2^32, and a short one."""
    more = probe.order_id % 10**6  # another order each time: a server may cancel each only once
    return _echoes(probe, (2_929_000_000 + more, 4_982_349_000_000 + more, 2**31 + more, 2**32 + more, 1 + more % 999))


@check(
    "request/keeps-63-bit-order-ids",
    "keeps order ids up to 2^63-1",
    clause="order-ids-exact-to-63-bits",
    effect="cancel",
)
def keeps_63_bit_order_ids(probe: Probe) -> Finding:
    """Cancel ids that floating-point numbers cannot hold."""
    more = probe.order_id // 100 % 10**6 * 2
    return _echoes(probe, (2**53 + 1 + more, 2**63 - 1 - more))


@check("request/header-names-any-case", "reads header names in any letter case", clause="header-names-ignore-case")
def header_names_any_case(probe: Probe) -> Finding:
    """Send the headers in lower and in upper case."""

    def written(write: Callable[[str], str]) -> Request:
        valid = probe.compose(SESSION).request
        return replace(valid, headers=tuple((write(name), value) for name, value in valid.headers))

    probe.control(SESSION)
    return all_pass(
        accepts("the documented headers in another letter case", probe.send(written(write)))
        for write in (str.lower, str.upper)
    )


@check(
    "request/keeps-or-refuses-huge-order-ids",
    "refuses an order id beyond 64 bits, or keeps it",
    clause="order-id-is-integer",
    effect="cancel",
)
def keeps_or_refuses_huge_order_ids(probe: Probe) -> Finding:
    """Cancel ids that no 64-bit integer holds: another number must not come back."""
    if not probe.target.free_orders:
        raise NotApplicable("it names orders that are not the user's")

    def cancel(order_id: int) -> Request:
        params = {"order_id": str(order_id)}
        return compose(probe.credentials, CANCEL, probe.nonces.next(), params).request

    return all_pass(keeps_or_refuses(order_id, probe.send(cancel(order_id))) for order_id in HUGE_ORDER_IDS)


@check(
    "request/accepts-browser-sample",
    "accepts what the browser sample sends",
    clause="session-opens",
)
def accepts_browser_sample(probe: Probe) -> Finding:
    """Send getAuthInfo as jQuery writes it: its order of fields, a charset in Content-Type, the sample's headers."""
    probe.control(SESSION)
    valid = probe.compose(SESSION)
    fields: dict[str, Value] = {name: valid.fields[name] for name in ("cmd", "apiKey", "nonce")}
    headers = (
        ("Content-Type", f"{FORM_TYPE}; charset=UTF-8"),
        ("Accept", "application/json, text/javascript, */*; q=0.01"),
        ("Origin", ORIGIN),
        ("X_REQUESTED_WITH", "XMLHttpRequest"),
        ("X-NtApi-Sig", valid.signature),
        ("Nt-Jqp", "true"),
    )
    sample = replace(valid.request, headers=headers, body=encode_form(fields))
    return accepts("the browser sample's getAuthInfo", probe.send(sample))


@check("request/answers-preflight", "grants the browser sample's preflight", clause="browser-preflight", requires=())
def answers_preflight(probe: Probe) -> Finding:
    """Ask as a browser does before each of the sample's cross-origin POSTs, then look at replies with an Origin."""
    expected = f"2xx; origin {ORIGIN} and credentials granted, headers {BROWSER_HEADERS} allowed"
    headers = (
        ("Origin", ORIGIN),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", BROWSER_HEADERS),
    )
    for command in (SESSION, CANCEL):
        reply = probe.send(Request("OPTIONS", COMMAND_PATH + command, headers)).reply
        missing = ["any reply"] if reply is None else _not_granted(reply)
        if missing:
            status = f"HTTP {reply.status}; " if reply else ""
            return failed(expected, f"{status}not granted for {command}: {', '.join(missing)}")
    requests = {
        "a session": probe.compose(SESSION).request,
        "a refused cancel": compose(probe.credentials, CANCEL, probe.nonces.next(), {"order_id": "abc"}).request,
    }
    if probe.target.free_orders:
        requests["a cancel"] = probe.compose(CANCEL).request
    for what, request in requests.items():
        answered = probe.send(replace(request, headers=(*request.headers, ("Origin", ORIGIN)))).reply
        if answered is None or answered.header("Access-Control-Allow-Origin") != ORIGIN:
            return failed(expected, f"not granted: origin in the reply to {what}")
    return passed(expected, f"granted for {SESSION}, {CANCEL} and the replies to {', '.join(requests)}")


def _not_granted(reply: Reply) -> list[str]:
    allowed = {name.strip().lower() for name in (reply.header("Access-Control-Allow-Headers") or "").split(",")}
    methods = {name.strip().upper() for name in (reply.header("Access-Control-Allow-Methods") or "POST").split(",")}
    granted = {
        "status": 200 <= reply.status < 300,
        "origin": reply.header("Access-Control-Allow-Origin") == ORIGIN,
        "credentials": (reply.header("Access-Control-Allow-Credentials") or "").lower() == "true",
        "headers": set(BROWSER_HEADERS.split(",")) <= allowed,
        "method": "POST" in methods,
    }
    return [name for name, held in granted.items() if not held]


@check("request/key-in-header", "whether the key may come in a header", clause="key-in-header")
def key_in_header(probe: Probe) -> Finding:
    """Send the key as X-NtApi-PublicKey instead of the field apiKey."""
    fields = {name: value for name, value in probe.compose(SESSION).fields.items() if name != "apiKey"}
    bare = _resigned(probe, SESSION, fields)
    observed = probe.send(replace(bare, headers=(*bare.headers, (PUBLIC_KEY_HEADER, probe.credentials.api_key))))
    return noticed(
        f"the key in the header {'suffices' if observed.understood else 'does not suffice'}: {observed.told}"
    )


@check("request/query-copy", "whether a copy of the form in the URL is tolerated", clause="query-copy-tolerated")
def query_copy(probe: Probe) -> Finding:
    """Repeat the whole form in the query string, as the vendor's Python client does."""
    valid = probe.compose(SESSION).request
    observed = probe.send(replace(valid, query=valid.body.decode()))
    return noticed(f"a copy in the URL is {'tolerated' if observed.understood else 'not tolerated'}: {observed.told}")


@check("request/command-from-body", "whether path or body names the command", clause="command-from-body")
def command_from_body(probe: Probe) -> Finding:
    """Send getAuthInfo in the body to a path whose tail names nothing."""
    valid = probe.compose(SESSION).request
    observed = probe.send(replace(valid, path=f"{COMMAND_PATH}%7Bcommand%7D"))
    return noticed(
        f"with another path tail the body's cmd is {'obeyed' if observed.understood else 'not obeyed'}: {observed.told}"
    )
