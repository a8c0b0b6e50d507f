"""Which fields wrong signers of v2 sign: others than are sent, under other names, in another order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, permutations
from typing import Final
from urllib.parse import unquote

from tn_contract.contract.signing import key_order
from tn_contract.contract.wire import Nested, nest
from tn_contract.diagnosis.signers import SECONDS, Case, Choice, from_json, leaves, sorted_tree, written
from tn_contract.diagnosis.signers.values import ANY_VALUE_CHOICES, CASE_CHOICES, PLAIN, VALUE_CHOICES

_KNOWN: Final = {"apiKey": "no-api-key", "cmd": "no-cmd", "nonce": "no-nonce", "params": "no-params"}

# Other names for fields, each tried alone: (right name, its other names, how many of these are
# seen often, and how many at times).
_OTHER_NAMES = (
    ("apiKey", "api_key apikey key publicKey public_key ApiKey API_KEY api-key Apikey APIKey api_token token "
               "accessKey access_key user login X-NtApi-PublicKey", (1, 6)),
    ("cmd", "command method action Cmd CMD func name op", (1, 3)),
    ("nonce", "timestamp ts time Nonce nounce t NONCE tonce _nonce date", (1, 3)),
    ("params", "param data Params parameters args PARAMS body payload None q params[]", (0, 4)),
    ("order_id", "orderId id orderid orderID order OrderId order-id ORDER_ID OrderID order_ids oid "
                 "orderNumber", (1, 4)),
)  # fmt: skip
# Names changed together, and all names by one rule.
_RESPELT = (
    (2, {"apiKey": "api_key", "order_id": "order_id"}),
    (2, {"apiKey": "api_key", "cmd": "command"}),
    (3, {"apiKey": "key", "cmd": "command"}),
    (4, {"apiKey": "public_key", "cmd": "command"}),
    (4, {"apiKey": "key", "cmd": "method"}),
    (4, {"apiKey": "k", "cmd": "c", "nonce": "n", "params": "p"}),
)

_EXTRA_NAMES = {
    "secret": "secret apiSecret api_secret secretKey secret_key apiSecretKey privateKey private_key apisecret sec_key "
    "secKey password",
    "other": "lang language locale v version apiVersion api_version ver format type source client app platform sid "
    "user login account id",
    "signature": "sig sign signature hash X-NtApi-Sig hmac",
}
# What changes names, and so may come before or after sorting.
NAMES_CHANGED = frozenset((
    "names-respelt", "names-in-other-case", "extra-field-signed", "secret-as-field", "params-lifted",
    "empty-signature-signed", "empty-params-signed", "key-not-in-body",
))  # fmt: skip
# Orders of fields as programs build them: the seed page's sample, the vendor's clients, common sense.
_BUILT: Final[dict[tuple[str, ...], int]] = {
    ("cmd", "apiKey", "nonce", "params"): 2, ("cmd", "params", "nonce", "apiKey"): 3,
    ("cmd", "params", "apiKey", "nonce"): 2, ("apiKey", "cmd", "params", "nonce"): 2,
    ("apiKey", "nonce", "cmd", "params"): 2, ("nonce", "apiKey", "cmd", "params"): 3,
    ("params", "apiKey", "cmd", "nonce"): 3,
}  # fmt: skip


def changes(case: Case) -> list[Choice]:
    """List the ways to sign other fields, or other values of them, than were sent."""
    return [
        *_chosen(case),
        *_renamed(),
        *_added(case),
        *_replaced(case),
        *ANY_VALUE_CHOICES,
        *(VALUE_CHOICES if PLAIN.search(case.expected) else ()),
    ]


def changes_by_request(case: Case) -> list[Choice]:
    """List the changes that depend on more of the request than its names: how it was sent, and what came before it."""
    return [*_meant(case), *_of_others(case), *CASE_CHOICES]


# ---- fields ----------------------------------------------------------------------------------------------------


def _without(*names: str) -> Callable[[Nested], Nested | None]:
    return lambda tree: {k: v for k, v in tree.items() if k not in names} if all(n in tree for n in names) else None


def _inner(change: Callable[..., Nested]) -> Callable[[Nested], Nested | None]:
    return lambda tree: {**tree, "params": change(p)} if isinstance(p := tree.get("params"), dict) else None


def _adds(name: str, value: str, over: bool = False) -> Callable[[Nested], Nested | None]:
    return lambda tree: {**tree, name: value} if over or name not in tree else None


def lifted(tree: Nested) -> Nested | None:
    """Put what is in params at the top level."""
    params = tree.get("params")
    return {**{k: v for k, v in tree.items() if k != "params"}, **params} if isinstance(params, dict) else None


def _chosen(case: Case) -> Iterator[Choice]:
    """Sign some of the fields only."""
    for name, mistake in _KNOWN.items():
        yield Choice(mistake, 1, _without(name))
    for name in case.fields:
        if name not in _KNOWN:
            yield Choice("field-left-out", 2, _without(name))
    yield Choice("only-params", 2, lambda tree: p if isinstance(p := tree.get("params"), dict) else None)
    yield Choice("params-lifted", 1, lifted)
    yield Choice("params-lifted", 4, lambda tree: both if (both := lifted(tree)) is None else {**both, **tree})
    yield Choice("empty-params-signed", 2, _adds("params", ""))
    for empty in ("[]", "{}", "null", "None"):
        yield Choice("empty-params-signed", 4, _adds("params", empty))
    yield Choice("empty-value-dropped", 2, lambda tree: leaves(tree, lambda value: value or None))
    for count in (2, 3):
        for names in combinations(_KNOWN, count):
            yield Choice("few-fields-signed", 4, _without(*names), _told_few(names))
    if isinstance(params := case.fields.get("params"), dict) and len(params) > 1:
        for name in list(params)[:8]:
            yield Choice("param-left-out", 2, _inner(lambda p, name=name: {k: v for k, v in p.items() if k != name}))


def _told_few(left_out: Iterable[str]) -> str:
    kept = [name for name in _KNOWN if name not in left_out]
    return f"Of the four fields only {' and '.join(kept)} {'was' if len(kept) == 1 else 'were'} signed."


def _renamed() -> Iterator[Choice]:
    """Sign the fields under other names."""

    def named(names: Callable[..., str]) -> Callable[[Nested], Nested]:
        def change(tree: Nested) -> Nested:
            return {names(k): change(v) if isinstance(v, dict) and k == "params" else v for k, v in tree.items()}

        return change

    def top(names: Callable[..., str]) -> Callable[[Nested], Nested]:
        return lambda tree: {names(k): v for k, v in tree.items()}

    yield Choice("names-in-other-case", 2, top(str.lower))
    for grade, rule in ((4, str.upper), (3, _capital), (3, _snake), (4, _camel), (3, _pascal), (4, _kebab), (3, _go)):
        yield Choice("names-in-other-case", grade, named(rule))
        yield Choice("names-in-other-case", 4, top(rule))
    for name, others, (often, at_times) in _OTHER_NAMES:
        for position, other in enumerate(others.split()):
            grade = 2 if position < often else 3 if position < at_times else 4
            yield Choice("names-respelt", grade, named(lambda each, name=name, other=other: _to(each, {name: other})))
    for grade, table in _RESPELT:
        yield Choice("names-respelt", grade, named(lambda each, table=table: _to(each, table)))
    for quote in ('"', "'"):
        yield Choice("names-respelt", 4, named(lambda each, quote=quote: f"{quote}{each}{quote}"))
    for around in ("${}", ":{}", "@{}", "{}[]"):
        yield Choice("names-respelt", 4, named(lambda each, around=around: around.format(each)))


def _to(name: str, table: dict[str, str]) -> str:
    return table.get(name, name)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z])([A-Z])", lambda m: f"_{m[1].lower()}", name)


def _camel(name: str) -> str:
    return re.sub("[_-](.)", lambda m: m[1].upper(), name)


def _pascal(name: str) -> str:
    return _capital(_camel(name))


def _go(name: str) -> str:
    return re.sub("Id$", "ID", re.sub("^Api(?=[A-Z])", "API", _pascal(name)))


def _kebab(name: str) -> str:
    return _snake(name).replace("_", "-")


def _added(case: Case) -> Iterator[Choice]:
    """Sign fields that are not sent."""
    for position, name in enumerate(_EXTRA_NAMES["secret"].split()):
        yield Choice("secret-as-field", 2 if position < 2 else 3 if position < 5 else 4, _adds(name, case.secret))
    for name in _EXTRA_NAMES["signature"].split():
        yield Choice("empty-signature-signed", 3 if name[:3] == "sig" else 4, _adds(name, ""))
    stamps, now = case.stamps, str(case.at_ns // 10**9) if case.at_ns else ""
    order_name, order_id = case.order
    for name, value, grade in (
        ("method", case.method, 3), ("path", case.path, 3), ("host", case.host, 3),
        *((name, stamp, 2 if (name, len(stamp)) == ("timestamp", SECONDS) else 4)
          for stamp in dict.fromkeys((*stamps, now, case.nonce)) if stamp
          for name in ("timestamp", "ts", "time", "date")),
        ("url", f"https://{case.host}{case.path}", 4), ("uri", case.path, 4), ("endpoint", case.path, 4),
        ("method", case.command, 4), ("command", case.command, 4), ("action", case.command, 4),
        ("httpMethod", case.method, 4), ("http_method", case.method, 4), ("Host", case.host, 4),
        ("version", "2", 4), ("version", "v2", 4), ("v", "2", 4), ("api_version", "2", 4), ("format", "json", 4),
        ("sid", "", 4), ("SID", "", 4), ("id", order_id, 4), (order_name, order_id, 4), ("orderId", order_id, 4),
        ("key", case.key, 4), ("user", case.key, 4), ("publicKey", case.key, 4), ("api_key", case.key, 4),
        ("recvWindow", "5000", 4), ("login", "", 4), ("password", "", 4), ("algorithm", "HmacSHA256", 4),
        ("body", "", 4), ("query", "", 4), ("params[order_id]", order_id, 4), ("content_type", "application/json", 4),
        ("Content-Type", "application/x-www-form-urlencoded", 4), ("signature_method", "HMAC-SHA256", 4),
        ("X-NtApi-PublicKey", case.key, 4),
    ):  # fmt: skip
        if name and (value or name in ("sid", "SID", "login", "password", "body", "query")):
            yield Choice("extra-field-signed", grade, _adds(name, value), f"It is {name}.")
    for name in _EXTRA_NAMES["other"].split():
        for value in ("", "1", "2", "en", "json", case.key):
            yield Choice("extra-field-signed", 4, _adds(name, value), f"It is {name}.")
    if "apiKey" not in case.fields:
        yield Choice("key-not-in-body", 1, _adds("apiKey", case.key))


def _replaced(case: Case) -> Iterator[Choice]:
    """Sign another value of a field than was sent."""
    fields = case.fields
    if "apiKey" in fields:
        yield Choice("secret-signed-as-key", 2, _adds("apiKey", case.secret, True))
        for form in ("{}\n", " {}", "{} ", '"{}"', "'{}'", "<{}>"):
            yield Choice("other-key-signed", 4, _adds("apiKey", form.format(case.key), True))
        for text in ("", "None", "null", "undefined", "<apiKey>"):
            yield Choice("other-key-signed", 4, _adds("apiKey", text, True))
    yield Choice("other-command", 3, _adds("cmd", "getAuthInfo", True))
    sent = case.command
    others = ["cancelOrder", case.path.rpartition("/")[2], "putTradeOrder", "", sent.lower(), sent.upper()]
    others += [_capital(sent), _snake(sent), "delTradeOrder", "deleteTradeOrder", "None", "null", "undefined"]
    for command in others:
        yield Choice("other-command", 4, _adds("cmd", command, True))


def _of_others(case: Case) -> Iterator[Choice]:
    """Sign the key of another pair, or the fields of an earlier request."""
    keys = [pair.api_key for pair in case.others[:4]]
    for text in (*keys, case.key.upper(), case.key.lower()) if "apiKey" in case.fields else ():
        yield Choice("other-key-signed", 4, _adds("apiKey", text, True))
    for earlier in case.earlier:
        yield Choice("other-request-signed", 2, lambda _tree, earlier=earlier: earlier)
        if isinstance(wrong := earlier.get("params"), dict):
            yield Choice("other-order-id", 2, _inner(lambda _params, wrong=wrong: wrong))


# ---- what was meant by fields that came otherwise ------------------------------------------------------------------


def _meant(case: Case) -> Iterator[Choice]:
    return (
        Choice(mistake, 1, lambda _tree, tree=tree: tree, how)
        for mistake, tree, how in _readings(case)
        if tree and tree != case.fields
    )  # fmt: skip


_NAMES_LIKE_ORDER_ID = re.compile("id|order|num", re.IGNORECASE)


def _readings(case: Case) -> Iterator[tuple[str, Nested, str]]:
    """Read the fields as a client may have meant them, where it sent them otherwise than it signed them."""
    fields, params = case.fields, case.fields.get("params")
    if isinstance(params, str) and (meant := from_json(params)) is not None:
        yield "params-sent-as-json", {**fields, "params": meant}, ""
        yield "params-sent-as-json", {**fields, **meant}, ""
    if isinstance(params, str) and "=" in params:
        yield "params-sent-as-text", {**fields, "params": nest(_split(params))}, ""
    if any("." in name for name, _ in case.pairs):
        yield "dotted-name-sent", nest((re.sub(r"\.(\w+)", r"[\1]", name), value) for name, value in case.pairs), ""
        yield "dotted-name-sent", dict(case.pairs), ""
    if any("%" in name for name, _ in case.pairs):
        yield "names-encoded-twice", nest((unquote(name), value) for name, value in case.pairs), ""
        yield "names-encoded-twice", dict(case.pairs), ""
    known = {name: value for name, value in fields.items() if name in _KNOWN}
    odd = {name: value for name, value in fields.items() if name not in _KNOWN}
    if odd and not isinstance(params, dict):
        yield "params-sent-lifted", {**known, "params": odd}, ""
    for name, value in odd.items():
        rest = {k: v for k, v in fields.items() if k != name}
        if "params" not in fields:
            yield "params-misspelt", {**rest, "params": value}, f"It came as {name}."
        for right, mistake in (("apiKey", "key-misspelt"), ("cmd", "cmd-misspelt"), ("nonce", "nonce-misspelt")):
            if right not in fields and isinstance(value, str):
                yield mistake, {**rest, right: value}, f"It came as {name}."
        if name == "q" and isinstance(value, str) and (meant := from_json(value)) is not None:
            yield "v1-envelope", meant, ""
            yield "v1-envelope", {**rest, **meant}, ""
            both = {k: v for k, v in {**rest, **meant}.items() if k in ("cmd", "params")}
            yield "v1-envelope", both, ""
        if name.lower() in ("apikey", "api_key"):
            yield "names-in-other-case", {"apiKey" if k == name else k: v for k, v in fields.items()}, ""
    yield from _inner_readings(case)
    names = [name for name, _ in case.pairs]
    if len(set(names)) < len(names):
        yield "field-sent-twice", nest(reversed(case.pairs)), ""
    if "cmd" not in fields and (command := case.path.rpartition("/")[2]):
        yield "cmd-only-in-path", {**fields, "cmd": command}, ""


def _inner_readings(case: Case) -> Iterator[tuple[str, Nested, str]]:
    fields, params = case.fields, case.fields.get("params")
    if isinstance(params, dict):
        for name, value in params.items():
            rest = {k: v for k, v in params.items() if k != name}
            if "order_id" not in params and _NAMES_LIKE_ORDER_ID.search(name):
                yield "order-id-misspelt", {**fields, "params": {**rest, "order_id": value}}, f"It came as {name}."
            if isinstance(value, dict):
                where = f"It came as params[{name}][{next(iter(value), '')}]."
                yield "order-id-too-deep", {**fields, "params": {**rest, **value}}, where
                if len(value) == 1:
                    yield "order-id-nested", {**fields, "params": {**rest, name: next(iter(value.values()))}}, where
    elif isinstance(params, str) and params:
        yield "params-sent-as-text", {**fields, "params": {"order_id": params}}, ""
        yield "params-sent-as-text", {**fields, "order_id": params}, ""
    query = nest(case.query)
    if query:
        missing = {name: value for name, value in query.items() if name not in fields and name != "sid"}
        if missing:
            yield "fields-in-query", {**fields, **missing}, f"In the query: {', '.join(missing)}."
    if "params" not in fields:
        ids = [str(value) for value in query.values() if isinstance(value, str) and value.isdigit()]
        ids += [tail for tail in case.path.split("/") if tail.isdigit()]
        ids += [text for tree in case.earlier if isinstance(p := tree.get("params"), dict)
                if isinstance(text := p.get("order_id"), str)]  # fmt: skip
        for order_id in (*dict.fromkeys(ids), "2929292929"):
            yield "params-not-sent", {**fields, "params": {"order_id": order_id}}, ""


def _split(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&"))]


# ---- order -------------------------------------------------------------------------------------------------------


def _ordered(tree: Nested, names: Callable[[Nested], Iterable[str]]) -> Nested:
    return {
        name: _ordered(value, names) if isinstance(value := tree[name], dict) else value for name in names(tree)
    }  # fmt: skip


def _level(tree: Nested, names: Iterable[str]) -> Nested:
    """Order the top level only; below it is sorted."""
    return {name: sorted_tree(value) if isinstance(value := tree[name], dict) else value for name in names}


def _by(key: Callable[[str, Nested], object], reverse: bool = False) -> Callable[[Nested], Nested]:
    return lambda tree: _level(tree, sorted(tree, key=lambda name: key(name, tree), reverse=reverse))  # type: ignore[arg-type,return-value]


def _text_of(name: str, tree: Nested) -> str:
    value = tree[name]
    return written(sorted_tree(value)) if isinstance(value, dict) else value


def _maps_last(name: str, tree: Nested) -> tuple[bool, str]:
    return isinstance(tree[name], dict), _text_of(name, tree)  # as PHP's asort and most languages compare


def _moved(name: str, last: bool) -> Callable[[Nested], Nested | None]:
    """Put one field first or last, the others sorted."""

    def arrange(tree: Nested) -> Nested | None:
        if name not in tree:
            return None
        rest = [each for each in key_order(tree) if each != name]
        return _level(tree, [*rest, name] if last else [name, *rest])

    return arrange


def _pair_order(tree: Nested) -> Nested:
    written_pairs = {name: _sorted_pairs(value) if isinstance(value, dict) else value for name, value in tree.items()}
    return {name: _pair_order(value) if isinstance(value := tree[name], dict) else value
            for name in sorted(tree, key=lambda name: f"{name}={written_pairs[name]}")}  # fmt: skip


def _sorted_pairs(tree: Nested) -> str:
    return "&".join(
        sorted(f"{k}={_sorted_pairs(v) if isinstance(v, dict) else v}" for k, v in tree.items())
    )  # fmt: skip


_ORDERS = (
    Choice("inner-unsorted", 3, lambda tree: {name: tree[name] for name in key_order(tree)}),
    Choice("unsorted", 1, lambda tree: tree),
    Choice("unsorted", 3, lambda tree: _level(tree, tree)),
    Choice("reverse-sorted", 2, lambda tree: _ordered(tree, lambda names: key_order(names)[::-1])),
    Choice("reverse-sorted", 3, lambda tree: _level(tree, key_order(tree)[::-1])),
    Choice("reverse-sorted", 4, lambda tree: _ordered(tree, reversed), "It is the order as sent, reversed."),
    Choice("pairs-sorted", 3, _pair_order),
    Choice("list-order-as-text", 3, lambda tree: _ordered(tree, sorted)),
    Choice("case-insensitive-order", 3, lambda tree: _ordered(tree, lambda names: sorted(names, key=str.lower))),
    Choice("case-insensitive-order", 4, lambda tree: _ordered(tree, lambda names: sorted(names, key=str.swapcase))),
    Choice("utf-16-order", 3, lambda tree: _ordered(
        tree, lambda names: sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass")))),
    *(Choice("unsorted", 3 if name == "params" else 4, _moved(name, last))
      for name in _KNOWN for last in (False, True)),
)  # fmt: skip
_BY_VALUE = tuple(
    Choice("sorted-by-value", grade, _by(key, reverse)) for grade, reverse, key in (
        (3, False, _maps_last), (4, False, _text_of), (4, True, _text_of),
        (3, False, lambda name, _tree: (len(name), name)), (4, True, lambda name, _tree: (len(name), name)),
        (4, True, lambda name, _tree: len(name)), (4, False, lambda name, _tree: len(name)),
        (4, False, lambda name, tree: (len(_text_of(name, tree)), name)),
        (4, True, lambda name, tree: (len(_text_of(name, tree)), name)),
        (4, False, lambda name, _tree: name[::-1])))  # fmt: skip


def orders(case: Case) -> list[Choice]:
    """List the ways to arrange the fields, except the right one."""
    return [*_ORDERS, *_arrangements(case)]


def orders_by_value(case: Case) -> list[Choice]:
    """List the orders that depend on the values. An order that programs are known to build explains more."""
    built = [each.apply(case.fields) for each in (*_ORDERS, *(each for each in _arrangements(case) if each.grade < 3))]
    known = {tuple(tree) for tree in built if tree}
    return [each for each in _BY_VALUE if tuple(each.apply(case.fields)) not in known]


def _arrangements(case: Case) -> Iterator[Choice]:
    # All 24 orders of four fields; of more, only those that are known to be built.
    every = permutations(case.fields) if len(case.fields) <= 4 else iter(_BUILT)
    for names in sorted(every, key=lambda names: _BUILT.get(names, 4)):
        yield Choice("unsorted", _BUILT.get(names, 4), lambda tree, names=names: _level(tree, [
            *(name for name in names if name in tree), *(name for name in tree if name not in names)]))  # fmt: skip
