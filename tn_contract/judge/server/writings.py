"""One string is signed: other writings of the same fields are refused, also where most requests hide the difference.

A cancel's fields come in sorted order and hold digits, so percent-encoded, unsorted or nested otherwise they look the
same. Here they come in another order, with values and names for which every writing differs.
"""

from __future__ import annotations

import html
import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from tn_contract.contract.signing import Secret, canonical_string, sign, signature_of
from tn_contract.contract.wire import Request, SignedRequest, dress, encode_form, with_signature
from tn_contract.judge.server.registry import carries_out_none, check, on_both_commands
from tn_contract.judge.server.target import CANCEL, Probe, Spoil
from tn_contract.judge.verdicts import Blocked, Finding, NotApplicable, passed

Fields = dict[str, Any]
Write = Callable[[Fields], str]

# A name that is a prefix of another, one in capitals, values to encode, to trim, to escape, and none at all.
MORE: dict[str, str] = {"note": "Ä b+c%41&d=e/f<g>'\"", "Zeta": "1", "a1": " x ", "a": "TRUE", "empty": ""}


def _joined(
    fields: Mapping[str, Any],
    *,
    order: Callable[[Mapping[str, Any]], list[str]] = sorted,
    value: Callable[[str], str] = str,
    between: str = "&",
    equals: str = "=",
) -> str:
    def written(each: Any) -> str:
        if isinstance(each, dict):
            return _joined(each, order=order, value=value, between=between, equals=equals)
        return value(str(each))

    return between.join(f"{name}{equals}{written(fields[name])}" for name in order(fields))


def _with_params(write: Callable[[Fields], str]) -> Write:
    return lambda fields: canonical_string({**fields, "params": write(fields.get("params") or {})})


def _each(value: Callable[[str], str]) -> Write:
    return lambda fields: _joined(fields, value=value)


def _flat(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name != "params"} | dict(fields.get("params") or {})


def _unsorted(fields: Mapping[str, Any]) -> list[str]:
    return list(fields)


def _bracketed(fields: Fields) -> Fields:
    params = {f"params[{name}]": value for name, value in (fields.get("params") or {}).items()}
    return params | {name: value for name, value in fields.items() if name != "params"}


# Without more fields than a request needs, an order of the body is all that can be told apart.
ORDERS: dict[str, Write] = {
    "in the order of the body": lambda fields: _joined(fields, order=_unsorted),
    "in descending order": lambda fields: _joined(fields, order=lambda each: sorted(each, reverse=True)),
    "as the body itself": lambda fields: encode_form(fields).decode(),
    "separated by line ends": lambda fields: _joined(fields, between="\n"),
    "separated by commas": lambda fields: _joined(fields, between=","),
    "separated by bars": lambda fields: _joined(fields, between="|"),
    "with colons": lambda fields: _joined(fields, equals=":"),
    "names and values without a sign": lambda fields: _joined(fields, equals=""),
    "after a question mark": lambda fields: f"?{canonical_string(fields)}",
    "after the method": lambda fields: f"POST&{canonical_string(fields)}",
    "twice": lambda fields: canonical_string(fields) * 2,
    "with single quotes": lambda fields: _joined(fields, value=lambda text: f"'{text}'"),
    "as indented JSON": lambda fields: json.dumps(fields, indent=4),
    "as JSON in the order of names": lambda fields: json.dumps(fields, sort_keys=True, separators=(",", ":")),
    "as JSON with spaces": json.dumps,
}
WRITINGS: dict[str, Write] = ORDERS | {
    "percent-encoded": _each(lambda text: quote(text, safe="")),
    "percent-encoded, slashes kept": _each(quote),
    "percent-encoded, spaces as +": _each(quote_plus),
    "percent-encoded in lower case": _each(lambda text: quote(text, safe="").lower()),
    "with brackets": lambda fields: canonical_string(_bracketed(fields)),
    "with brackets, in the order of the body": lambda fields: _joined(_bracketed(fields), order=_unsorted),
    "flat": lambda fields: canonical_string(_flat(fields)),
    "params flat after the others": lambda fields: _joined(_flat(fields), order=_unsorted),
    "params in the order of the body": _with_params(lambda params: _joined(params, order=_unsorted)),
    "params as JSON": _with_params(lambda params: json.dumps(params, separators=(",", ":"))),
    "params as JSON with spaces": _with_params(json.dumps),
    "params as sorted JSON": _with_params(lambda params: json.dumps(params, sort_keys=True, separators=(",", ":"))),
    "params as Python writes them": _with_params(str),
    "params as a form": _with_params(lambda params: encode_form(params).decode()),
    "params as values": _with_params(lambda params: "".join(str(params[name]) for name in sorted(params))),
    "params as names": _with_params(lambda params: "".join(sorted(params))),
    "params empty": _with_params(lambda _params: ""),
    "params as Array": _with_params(lambda _params: "Array"),
    "params as [object Object]": _with_params(lambda _params: "[object Object]"),
    "without letter case in the order": lambda fields: _joined(fields, order=lambda each: sorted(each, key=str.lower)),
    "in lower case": _each(str.lower),
    "without white space": _each(str.strip),
    "with + as a space": _each(lambda text: text.replace("+", " ")),
    "decoded twice": _each(lambda text: text.replace("%41", "A")),
    "escaped for HTML": _each(html.escape),
    "in ASCII escapes": _each(lambda text: json.dumps(text)[1:-1]),
    "without what is not ASCII": _each(lambda text: text.encode("ascii", "ignore").decode()),
    "with what is not ASCII replaced": _each(lambda text: text.encode("ascii", "replace").decode()),
    "in another Unicode form": _each(lambda text: unicodedata.normalize("NFD", text)),
    "up to the first &": _each(lambda text: text.partition("&")[0]),
    "without empty values": lambda fields: canonical_string(
        {**fields, "params": {name: value for name, value in (fields.get("params") or {}).items() if value}}
    ),
}


@on_both_commands(
    "signature/refuses-other-writings",
    "refuses signatures over other writings of the fields",
    clause="signature-required",
)
def refuses_other_writings(probe: Probe, command: str) -> Finding:
    """Send fields in reverse order, with more params than needed if they may be; sign other writings of them."""

    def fields_of(valid: SignedRequest, more: Mapping[str, str]) -> Fields:
        params = {**more, **(valid.fields.get("params") or {})}  # type: ignore[dict-item] # a map, as composed
        fields: Fields = {name: valid.fields[name] for name in ("nonce", "cmd", "apiKey")}
        return {"params": params, **fields} if params else fields

    def written(write: Write, more: Mapping[str, str]) -> Spoil:
        def spoil(_probe: Probe, valid: SignedRequest) -> Request:
            fields = fields_of(valid, more)
            right = sign(fields, probe.credentials.secret).signature
            wrong = signature_of(write(fields), probe.credentials.secret)
            # Where the two are the same, there is nothing to refuse.
            return dress(command, fields, wrong if wrong != right else "0" * 64)

        return spoil

    more: Mapping[str, str] = MORE if probe.target.disposable else {}
    fields = fields_of(probe.compose(command), more)
    if more and not probe.send(dress(command, fields, sign(fields, probe.credentials.secret).signature)).understood:
        more = {}  # its right: nothing says that other params are ignored
    writings = {f"signed {what}": written(write, {}) for what, write in ORDERS.items()}
    if not probe.target.disposable:
        writings = dict(list(writings.items())[:2])
    elif more:
        writings |= {f"signed {what}, with more params": written(write, more) for what, write in WRITINGS.items()}
    return carries_out_none(probe, command, writings)


@check(
    "signature/forgery-cancels-nothing",
    "leaves an order alone that a forged request named",
    clause="signature-required",
    effect="cancel",
)
def forgery_cancels_nothing(probe: Probe) -> Finding:
    """Cancel an order by forged requests, then properly: it must still be there to be cancelled."""
    if not probe.target.free_orders:
        raise NotApplicable("it would spend several orders")
    probe.control(CANCEL)
    expected = "a valid cancel is accepted after forged ones of the same order"
    observed = None
    for signature in ("0" * 64, "", None):
        valid = probe.compose(CANCEL)
        probe.send(with_signature(valid.request, signature))
        again = dress(CANCEL, fields := {**valid.fields, "nonce": str(probe.nonces.next())}, _signed(fields, probe))
        observed = probe.send(again)
        if observed.rate_limited:
            raise Blocked(f"the target limits the rate: {observed.told}")
        if not observed.understood:
            return Finding("fail", expected, observed.told)
    return passed(expected, observed.told if observed else "")


def _signed(fields: Mapping[str, Any], probe: Probe) -> str:
    secret: Secret = probe.credentials.secret
    return sign(fields, secret).signature
