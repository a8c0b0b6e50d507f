"""What developers do wrong when they sign, written from the habits of ten languages and not from the kit's tables.

Each habit replaces one step of a `Program`: `choose` the fields, `arrange` their names, `write` them as a text, what is
done `after`, how it is `keyed`, the `digest`, and how that is spelled. With it stand the names that are right for it:
several where two habits leave the same trace. What Node, PHP, Go and Java print was taken from these, not from memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

Fields = dict[str, Any]
Items = list[tuple[str, Any]]


@dataclass
class Program:
    """A client that signs in its own way: each step can be replaced."""

    key: str
    secret: str
    nonce: str
    order_id: str
    choose: Callable[[Fields, Program], Fields] = lambda fields, _: fields
    arrange: Callable[[Fields], list[str]] = sorted
    write: Callable[[Items], str] = field(default=lambda items: rule(items))
    after: Callable[[str, Program], str | bytes] = lambda text, _: text
    keyed: Callable[[Program], str | bytes] = lambda program: program.secret
    digest: Callable[[bytes, bytes, Program], bytes] = lambda key, text, _: mac("sha256", key, text)
    spell: Callable[[bytes], str] = bytes.hex

    def signature(self) -> str:
        """Sign one cancel."""
        request = {
            "cmd": "delTradeOrder",
            "apiKey": self.key,
            "nonce": self.nonce,
            "params": {"order_id": self.order_id},
        }

        def arranged(fields: Fields) -> Items:
            return [(n, arranged(v) if isinstance(v := fields[n], dict) else v) for n in self.arrange(fields)]

        text = self.after(self.write(arranged(self.choose(request, self))), self)
        return self.spell(self.digest(raw(self.keyed(self)), raw(text), self))


def raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def mac(name: str, key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, name).digest()


def rule(items: Items, between: str = "&", equals: str = "=") -> str:
    return between.join(f"{n}{equals}{rule(v, between, equals) if isinstance(v, list) else v}" for n, v in items)


def tree(items: Items) -> Fields:
    return {name: tree(value) if isinstance(value, list) else value for name, value in items}


def counted(items: Items) -> Fields:
    """The same, with the order id as the number that it is in most programs."""
    return {
        n: counted(v) if isinstance(v, list) else int(v) if n == "order_id" and v.isdigit() else v for n, v in items
    }


def pairs(items: Items, shape: str = "%s[%s]") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in items:
        found += [(shape % (name, k), v) for k, v in value] if isinstance(value, list) else [(name, value)]
    return found


def params_by(show: Callable[[Any], str], read: Callable[[Items], Any] = tree) -> Callable[[Items], str]:
    return lambda items: rule([(n, show(read(v)) if isinstance(v, list) else v) for n, v in items])


def inner(fields: Fields) -> Fields:
    params: Fields = fields["params"]
    return params


def less(*names: str) -> Callable[[Fields, Program], Fields]:
    return lambda fields, _: {k: v for k, v in fields.items() if k not in names}


def more(**extra: str) -> Callable[[Fields, Program], Fields]:
    return lambda fields, program: {**fields, **{k: v.format(p=program) for k, v in extra.items()}}


def call(**names: str) -> Callable[[Fields, Program], Fields]:
    return lambda fields, _: {
        names.get(k, k): {names.get(i, i): w for i, w in v.items()} if isinstance(v, dict) else v
        for k, v in fields.items()
    }


def each_name(change: Callable[[str], str]) -> Callable[[Fields, Program], Fields]:
    return lambda fields, _: {
        change(k): {change(i): w for i, w in v.items()} if isinstance(v, dict) else v for k, v in fields.items()
    }


def set_to(name: str, change: Callable[[str], str]) -> Callable[[Fields, Program], Fields]:
    def choose(fields: Fields, _: Program) -> Fields:
        if name in fields:
            return {**fields, name: change(fields[name])}
        return {**fields, "params": {k: change(v) if k == name else v for k, v in inner(fields).items()}}

    return choose


def put(form: str) -> Callable[[str, Program], str]:
    """Put the string into a form: `{t}` is the string, `{p.…}` the program's."""
    return lambda text, program: form.format(t=text, p=program, path=PATH, host=HOST, url=f"https://{HOST}{PATH}")


def key(form: str) -> Callable[[Program], str]:
    return lambda program: form.format(p=program)


def hashed(name: str, form: str = "hex") -> Callable[[Program], str | bytes]:
    def keyed(program: Program) -> str | bytes:
        return as_form(hashlib.new(name, raw(program.secret)).digest(), form)

    return keyed


def as_form(digest: bytes, form: str) -> str | bytes:
    return {"hex": digest.hex(), "HEX": digest.hex().upper(), "raw": digest, "b64": base64.b64encode(digest)}[form]


def plain(name: str, form: str) -> Callable[[bytes, bytes, Program], bytes]:
    """A plain hash over a form of k(ey) and t(ext)."""
    parts = form.split("+")

    def digest(secret: bytes, text: bytes, program: Program) -> bytes:
        known = {"k": secret, "t": text, "a": raw(program.key), "n": raw(program.nonce)}
        return hashlib.new(name, b"".join(known.get(part, raw(part)) for part in parts)).digest()

    return digest


def by(name: str) -> Callable[[bytes, bytes, Program], bytes]:
    return lambda secret, text, _: mac(name, secret, text)


def inspect_ruby(value: Any, arrow: str = "=>") -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{k}"{arrow}{inspect_ruby(v, arrow)}' for k, v in value.items()) + "}"
    return str(value) if isinstance(value, int) else f'"{value}"'


def symbols_ruby(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f":{k}=>{symbols_ruby(v)}" for k, v in value.items()) + "}"
    return inspect_ruby(value)


def fmt_go(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{fmt_go(value[k])}" for k in sorted(value)) + "]"
    return str(value)


def to_string_java(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={to_string_java(v)}" for k, v in value.items()) + "}"
    return str(value)


def inspect_node(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k}: {inspect_node(v)}" for k, v in value.items()) + " }"
    return str(value) if isinstance(value, int) else f"'{value}'"


def serialize_php(value: Any) -> str:
    if isinstance(value, dict):
        members = "".join(serialize_php(k) + serialize_php(v) for k, v in value.items())
        return f"a:{len(value)}:{{{members}}}"
    return f"i:{value};" if isinstance(value, int) else f's:{len(value)}:"{value}";'


def print_r_php(value: Any, indent: str = "") -> str:
    if not isinstance(value, dict):
        return str(value)
    rows = "".join(f"{indent}    [{k}] => {print_r_php(v, indent + '        ')}\n" for k, v in value.items())
    return f"Array\n{indent}(\n{rows}{indent})\n"


def dump_swift(value: Any) -> str:
    if isinstance(value, dict):
        return "[" + ", ".join(f'"{k}": {dump_swift(v)}' for k, v in value.items()) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def base58(digest: bytes) -> str:
    alphabet, number, text = (
        "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
        int.from_bytes(digest, "big"),
        "",
    )
    while number:
        number, rest = divmod(number, 58)
        text = alphabet[rest] + text
    return text


def signed_bytes(digest: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in digest]


def hand_made(hex_inner: bool = False, swap: bool = False, block: int = 64) -> Callable[[bytes, bytes, Program], bytes]:
    def digest(secret: bytes, text: bytes, _: Program) -> bytes:
        padded = secret.ljust(block, b"\0")
        pads = [bytes(b ^ x for b in padded) for x in ((0x5C, 0x36) if swap else (0x36, 0x5C))]
        first = hashlib.sha256(pads[0] + text)
        return hashlib.sha256(pads[1] + (first.hexdigest().encode() if hex_inner else first.digest())).digest()

    return digest


@dataclass
class ProgramV3:
    """A client of v3: the body and the timestamp are sent as they are, and signed in its own way."""

    key: str
    secret: str
    timestamp: str
    order_id: str
    spoken: Callable[[Fields], str] = compact
    time: Callable[[str], str] = lambda stamp: stamp
    join: Callable[[str, str, ProgramV3], str | bytes] = lambda body, stamp, _: body + stamp
    keyed: Callable[[ProgramV3], str | bytes] = lambda program: program.secret
    digest: Callable[[bytes, bytes, ProgramV3], bytes] = lambda key, text, _: mac("sha256", key, text)
    spell: Callable[[bytes], str] = bytes.hex

    @property
    def nonce(self) -> str:
        """What the habits of v2 call the nonce."""
        return self.timestamp

    def signature(self) -> str:
        """Sign one cancel."""
        text = self.join(self.spoken({"order_id": int(self.order_id)}), self.time(self.timestamp), self)
        return self.spell(self.digest(raw(self.keyed(self)), raw(text), self))


def joined(form: str) -> Callable[[str, str, ProgramV3], str]:
    return lambda body, stamp, p: form.format(
        b=body, t=stamp, k=p.key, s=p.secret, path=PATH_V3, host=HOST, url=f"https://{HOST}{PATH_V3}")  # fmt: skip


def utc(form: str) -> Callable[[str], str]:
    return lambda stamp: datetime.fromtimestamp(int(stamp), UTC).strftime(form)


HOST = "tradernet.com"
PATH_V3 = "/api/delTradeOrder"
PATH = "/api/v2/cmd/delTradeOrder"
FORM, REPR, WHOLE = {"percent-encoded"}, {"params-as-repr"}, {"request-as-repr"}
SEPARATORS = {"other-separators"}
JSON_PARAMS, JSON_WHOLE = {"params-as-json"}, {"request-as-json"}
RESPELT = {"names-respelt", "names-in-other-case"}
ADDED = {"extra-field-signed", "key-or-nonce-added", "names-respelt"}
NONCE, ORDER_ID = {"other-nonce", "nonce-in-other-unit", "nonce-rounded"}, {"other-order-id", "order-id-rounded"}
INSIDE = {"secret-in-string", "secret-appended", "secret-as-field"}
BESIDE = {"method-signed", "path-signed", "url-signed"}
APPENDED = {"key-or-nonce-added"}
PADDED, JOINED, MORE = {"secret-line-feed"}, {"key-and-secret-joined"}, {"secret-with-more"}
PLAIN, WITH_SECRET = {"plain-hash"}, {"secret-appended", "plain-hash", "secret-in-string"}
TWICE = {"digest-twice", "text-hashed-first"}
NUMBERS, PREFIXED, OTHER_BASE = {"signature-as-numbers"}, {"signature-prefixed"}, {"signature-in-other-base"}

Habit = tuple[str, Any, set[str]]
HABITS: dict[str, Habit] = {
    # ---- which fields
    "key travels in a header, so it is not signed": ("choose", less("apiKey"), {"no-api-key"}),
    "the command is in the path, so it is not signed": ("choose", less("cmd"), {"no-cmd"}),
    "nonce appended after signing": ("choose", less("nonce"), {"no-nonce"}),
    "only scalars are signed": ("choose", less("params"), {"no-params"}),
    "signs cmd and params alone": (
        "choose", less("apiKey", "nonce"), {"few-fields-signed", "no-api-key", "no-nonce"}),
    "signs apiKey and nonce alone": ("choose", less("cmd", "params"), {"few-fields-signed", "no-cmd", "no-params"}),
    "signs nonce and params alone": ("choose", less("cmd", "apiKey"), {"few-fields-signed", "no-cmd", "no-api-key"}),
    "signs cmd alone": ("choose", less("apiKey", "nonce", "params"), {"few-fields-signed"}),
    "signs nonce alone": ("choose", less("apiKey", "cmd", "params"), {"few-fields-signed"}),
    "signs params alone": ("choose", lambda fields, _: inner(fields), {"only-params"}),
    "spreads params": (
        "choose", lambda fields, _: {**less("params")(fields, _), **inner(fields)}, {"params-lifted"}),
    "signs apiSecret as a field": ("choose", more(apiSecret="{p.secret}"), INSIDE),
    "signs secretKey as a field": ("choose", more(secretKey="{p.secret}"), INSIDE),
    "signs a version": ("choose", more(version="2"), {"extra-field-signed"}),
    "signs a timestamp": ("choose", lambda fields, p: {**fields, "timestamp": p.nonce[:10]}, ADDED),
    "signs the method as a field": ("choose", more(method="POST"), ADDED),
    "signs the path as a field": ("choose", more(path=PATH), ADDED),
    "signs an empty sign": ("choose", more(sign=""), {"empty-signature-signed"}),
    "signs an empty sid": ("choose", more(sid=""), {"extra-field-signed"}),
    "secret in the place of the key": (
        "choose", lambda fields, p: {**fields, "apiKey": p.secret}, {"secret-signed-as-key"}),
    "signs getAuthInfo by copy and paste": ("choose", set_to("cmd", lambda _: "getAuthInfo"), {"other-command"}),
    "signs the command in lower case": ("choose", set_to("cmd", str.lower), {"other-command", "values-in-other-case"}),
    # ---- names
    "api_key as in Python": ("choose", call(apiKey="api_key"), RESPELT),
    "apikey": ("choose", call(apiKey="apikey"), RESPELT),
    "key for apiKey": ("choose", call(apiKey="key"), RESPELT),
    "publicKey for apiKey": ("choose", call(apiKey="publicKey"), RESPELT),
    "command for cmd": ("choose", call(cmd="command"), RESPELT),
    "action for cmd": ("choose", call(cmd="action"), RESPELT),
    "timestamp for nonce": ("choose", call(nonce="timestamp"), RESPELT),
    "param for params": ("choose", call(params="param"), RESPELT),
    "orderId as in Java": ("choose", call(order_id="orderId"), RESPELT),
    "id for order_id": ("choose", call(order_id="id"), RESPELT),
    "PascalCase of a C# record": (
        "choose", each_name(lambda n: "".join(part[:1].upper() + part[1:] for part in n.split("_"))), RESPELT),
    "upper-case names": ("choose", each_name(str.upper), RESPELT),
    "lower-case names": ("choose", each_name(str.lower), RESPELT),
    # ---- order
    "as built": ("arrange", list, {"unsorted", "inner-unsorted"}),
    "arsort": ("arrange", lambda fields: sorted(fields, reverse=True), {"reverse-sorted"}),
    "asort sorts by value": (
        "arrange", lambda fields: sorted(fields, key=lambda n: str(fields[n]) if not isinstance(fields[n], dict) else
                                         rule(list(fields[n].items()))), {"sorted-by-value", "unsorted"}),
    "by length": ("arrange", lambda fields: sorted(fields, key=lambda n: (len(n), n)), {"sorted-by-value", "unsorted"}),
    "params first": ("arrange", lambda fields: sorted(fields, key=lambda n: (n != "params", n)), {"unsorted"}),
    "nonce first": ("arrange", lambda fields: sorted(fields, key=lambda n: (n != "nonce", n)), {"unsorted"}),
    "apiKey last": ("arrange", lambda fields: sorted(fields, key=lambda n: (n == "apiKey", n)), {"unsorted"}),
    "nonce, key, command": (
        "arrange", lambda fields: sorted(fields, key=lambda n: "nonce apiKey cmd params".find(n)), {"unsorted"}),
    # ---- one text
    "http_build_query": ("write", lambda items: urlencode(pairs(items)), FORM),
    "http_build_query with RFC 3986": ("write", lambda items: urlencode(pairs(items), quote_via=quote), FORM),
    "C# HttpUtility.UrlEncode writes %5b": (
        "write", lambda items: urlencode(pairs(items)).replace("%5B", "%5b").replace("%5D", "%5d"), FORM),
    "http_build_query, decoded": ("write", lambda items: "&".join(f"{n}={v}" for n, v in pairs(items)), {"brackets"}),
    "dots of Spring": ("write", lambda items: "&".join(f"{n}={v}" for n, v in pairs(items, "%s.%s")), {"dotted-name"}),
    "underscore between": (
        "write", lambda items: "&".join(f"{n}={v}" for n, v in pairs(items, "%s_%s")), {"other-nesting"}),
    "arrow between": (
        "write", lambda items: "&".join(f"{n}={v}" for n, v in pairs(items, "%s->%s")), {"other-nesting"}),
    "colon between": (
        "write", lambda items: "&".join(f"{n}={v}" for n, v in pairs(items, "%s:%s")), {"other-nesting"}),
    "encodes twice": ("write", lambda items: quote_plus(urlencode(pairs(items)), safe="=&"), FORM),
    "inner query is escaped by the outer": (
        "write", lambda items: urlencode([(n, rule(v) if isinstance(v, list) else v) for n, v in items]),
        {"inner-equals-encoded", "percent-encoded", "values-encoded"}),
    "json_encode of params": ("write", params_by(compact), JSON_PARAMS),
    "json_encode of params with a number": ("write", params_by(compact, counted), JSON_PARAMS),
    "json.dumps of params": ("write", params_by(json.dumps), JSON_PARAMS),
    "json.dumps of params with a number": ("write", params_by(json.dumps, counted), JSON_PARAMS),
    "json of params, escaped": ("write", params_by(lambda v: quote(compact(v), safe="")), JSON_PARAMS),
    "json of params, pretty": ("write", params_by(lambda v: json.dumps(v, indent=2)), JSON_PARAMS),
    "json of everything": ("write", lambda items: compact(counted(items)), JSON_WHOLE),
    "json of everything as texts": ("write", lambda items: compact(tree(items)), JSON_WHOLE),
    "json.dumps of everything": ("write", lambda items: json.dumps(counted(items)), JSON_WHOLE),
    "json.dumps of everything as texts": ("write", lambda items: json.dumps(tree(items)), JSON_WHOLE),
    "JSON_PRETTY_PRINT": ("write", lambda items: json.dumps(tree(items), indent=4), JSON_WHOLE),
    "JSON.stringify with 2": ("write", lambda items: json.dumps(tree(items), indent=2), JSON_WHOLE),
    "json of a flat map": ("write", lambda items: compact(dict(pairs(items))), JSON_WHOLE),
    "Python str of params": ("write", params_by(str), REPR),
    "Python str of params with a number": ("write", params_by(str, counted), REPR),
    "Python str of items": ("write", params_by(lambda v: str(list(v.items()))), REPR),
    "Python str of everything": ("write", lambda items: str(counted(items)), WHOLE),
    "Python str of dict_items": ("write", params_by(lambda v: str(v.items())), REPR),
    "Go Sprint of params": ("write", params_by(fmt_go), REPR),
    "Go Sprint of everything": ("write", lambda items: fmt_go(tree(items)), WHOLE),
    "Go Sprint of url.Values": ("write", params_by(lambda v: f"map[order_id:[{v['order_id']}]]"), REPR),
    "Go Sprint of a struct": ("write", params_by(lambda v: f"{{{v['order_id']}}}"), REPR | {"values-only"}),
    "Go %+v of a struct": ("write", params_by(lambda v: f"{{OrderID:{v['order_id']}}}"), REPR),
    "Java toString of params": ("write", params_by(to_string_java), REPR),
    "Java toString of everything": ("write", lambda items: to_string_java(tree(items)), WHOLE),
    "Ruby to_s of params": ("write", params_by(inspect_ruby), REPR),
    "Ruby to_s of params with a number": ("write", params_by(inspect_ruby, counted), REPR),
    "Ruby symbols": ("write", params_by(symbols_ruby, counted), REPR),
    "Ruby 3.4": ("write", params_by(lambda v: inspect_ruby(v, " => ")), REPR),
    "Ruby 3.4 symbols": ("write", params_by(lambda v: f"{{order_id: {v['order_id']}}}"), REPR),
    "Ruby to_s of everything": ("write", lambda items: inspect_ruby(tree(items)), WHOLE),
    "Node inspect of params": ("write", params_by(inspect_node), REPR),
    "Node inspect of params with a number": ("write", params_by(inspect_node, counted), REPR),
    "template literal of an object": ("write", params_by(lambda _: "[object Object]"), REPR),
    "String(Object.entries)": ("write", params_by(lambda v: f"order_id,{v['order_id']}"), REPR | SEPARATORS),
    "PHP array to string": ("write", params_by(lambda _: "Array"), REPR),
    "PHP serialize": ("write", params_by(serialize_php), REPR),
    "PHP serialize with a number": ("write", params_by(serialize_php, counted), REPR),
    "PHP serialize of everything": ("write", lambda items: serialize_php(tree(items)), WHOLE),
    "PHP print_r": ("write", params_by(print_r_php), REPR),
    "PHP print_r of everything": ("write", lambda items: print_r_php(tree(items)), WHOLE),
    "PHP var_export": ("write", params_by(lambda v: f"array (\n  'order_id' => '{v['order_id']}',\n)"), REPR),
    "PHP implode": ("write", params_by(lambda v: ",".join(v.values())), {"values-only"}),
    "C# Dictionary": (
        "write", params_by(lambda _: "System.Collections.Generic.Dictionary`2[System.String,System.String]"), REPR),
    "C# Dictionary of objects": (
        "write", params_by(lambda _: "System.Collections.Generic.Dictionary`2[System.String,System.Object]"), REPR),
    "C# anonymous type": ("write", params_by(lambda v: f"{{ order_id = {v['order_id']} }}"), REPR),
    "C# KeyValuePair": ("write", params_by(lambda v: f"[order_id, {v['order_id']}]"), REPR),
    "Swift dictionary": ("write", params_by(dump_swift), REPR),
    "Scala Map": ("write", params_by(lambda v: f"Map(order_id -> {v['order_id']})"), REPR),
    "Elixir inspect": ("write", params_by(lambda v: f'%{{"order_id" => {v["order_id"]}}}'), REPR),
    "Kotlin data class": ("write", params_by(lambda v: f"Params(order_id={v['order_id']})"), REPR),
    "Dart Map": ("write", params_by(lambda v: f"{{order_id: {v['order_id']}}}"), REPR),
    "braces around the inner string": ("write", params_by(lambda v: f"{{order_id={v['order_id']}}}"), REPR),
    "parentheses around the inner string": ("write", params_by(lambda v: f"(order_id={v['order_id']})"), REPR),
    "only the id": ("write", params_by(lambda v: str(v["order_id"])), {"values-only"}),
    "params as null": ("write", params_by(lambda _: "null"), REPR | {"empty-params-signed"}),
    "params as nothing": ("write", params_by(lambda _: ""), REPR | {"empty-params-signed", "empty-value-dropped"}),
    "commas": ("write", lambda items: rule(items, ","), SEPARATORS),
    "semicolons": ("write", lambda items: rule(items, ";"), SEPARATORS),
    "pipes": ("write", lambda items: rule(items, "|"), SEPARATORS),
    "lines": ("write", lambda items: rule(items, "\n"), SEPARATORS),
    "colons and lines": ("write", lambda items: rule(items, "\n", ":"), SEPARATORS),
    "colons and commas": ("write", lambda items: rule(items, ",", ":"), SEPARATORS),
    "blanks": ("write", lambda items: rule(items, " "), SEPARATORS),
    "commas and blanks": ("write", lambda items: rule(items, ", "), SEPARATORS),
    "arg_separator of PHP": ("write", lambda items: rule(items, "&amp;"), SEPARATORS),
    "colon for =": ("write", lambda items: rule(items, "&", ":"), SEPARATORS),
    "nothing for =": ("write", lambda items: rule(items, "&", ""), SEPARATORS | {"no-separators"}),
    "nothing at all": ("write", lambda items: rule(items, "", ""), {"no-separators"}),
    "pairs without &": ("write", lambda items: rule(items, ""), {"no-separators"}),
    "brackets without &": (
        "write", lambda items: "".join(f"{n}={v}" for n, v in pairs(items)), {"no-separators", "brackets"}),
    "brackets and commas": ("write", lambda items: ",".join(f"{n}={v}" for n, v in pairs(items)),
                            SEPARATORS | {"brackets"}),
    "each pair ends with ;": ("write", lambda items: "".join(f"{n}={rule(v) if isinstance(v, list) else v};"
                                                            for n, v in items), SEPARATORS),
    "=> and a comma": ("write", lambda items: rule(items, ", ", " => "), SEPARATORS | WHOLE),
    "values": ("write", lambda items: "".join(v for _, v in pairs(items)), {"values-only"}),
    "values and |": ("write", lambda items: "|".join(v for _, v in pairs(items)), {"values-only"}),
    "values and :": ("write", lambda items: ":".join(v for _, v in pairs(items)), {"values-only"}),
    "values and lines": ("write", lambda items: "\n".join(v for _, v in pairs(items)), {"values-only"}),
    # ---- numbers
    "nonce of the next call": ("choose", set_to("nonce", lambda n: str(int(n) + 1)), NONCE),
    "nonce of the call before": ("choose", set_to("nonce", lambda n: str(int(n) - 1)), NONCE),
    "nonce in milliseconds": ("choose", set_to("nonce", lambda n: str(int(n) // 10_000)), NONCE),
    "nonce in seconds": ("choose", set_to("nonce", lambda n: n[:10]), NONCE),
    "nonce as a float": ("choose", set_to("nonce", lambda n: f"{n}.0"), {"nonce-as-float"}),
    "nonce as Java prints doubles": (
        "choose", set_to("nonce", lambda n: repr(float(n)).replace("e+", "E")), {"nonce-in-exponent"}),
    "nonce in quotes": ("choose", set_to("nonce", lambda n: f'"{n}"'), {"nonce-quoted"}),
    "nonce with separators": ("choose", set_to("nonce", lambda n: f"{int(n):,}"), {"nonce-grouped"}),
    "nonce in hex": ("choose", set_to("nonce", lambda n: f"{int(n):x}"), {"nonce-grouped"}),
    "nonce of 0": ("choose", set_to("nonce", lambda _: "0"), NONCE),
    "nonce that is None": ("choose", set_to("nonce", lambda _: "None"), NONCE),
    "order id of the sample": ("choose", set_to("order_id", lambda _: "2929292929"), ORDER_ID),
    "order id off by one": ("choose", set_to("order_id", lambda n: str(int(n) + 1)), ORDER_ID),
    "order id as a float": ("choose", set_to("order_id", lambda n: f"{n}.0"), {"order-id-as-float"}),
    "order id in quotes": ("choose", set_to("order_id", lambda n: f'"{n}"'), {"order-id-quoted"}),
    "order id in a list": ("choose", set_to("order_id", lambda n: f"[{n}]"), {"order-id-quoted", "values-quoted"}),
    "order id with a zero": ("choose", set_to("order_id", lambda n: f"0{n}"), {"order-id-padded"}),
    "order id as int32": ("choose", set_to("order_id", lambda n: str((int(n) + 2**31) % 2**32 - 2**31)),
                          {"order-id-wrapped"}),
    "order id undefined": ("choose", set_to("order_id", lambda _: "undefined"), ORDER_ID),
    "values in quotes": ("choose", lambda fields, _: {
        k: {i: f'"{w}"' for i, w in v.items()} if isinstance(v, dict) else f'"{v}"' for k, v in fields.items()},
        {"values-quoted"}),
    # ---- afterwards
    "a loop that leaves &": ("after", put("{t}&"), {"trailing-ampersand"}),
    "a loop that begins with &": ("after", put("&{t}"), {"leading-ampersand"}),
    "?": ("after", put("?{t}"), {"question-mark"}),
    "echo": ("after", put("{t}\n"), {"line-feed"}),
    "echo on Windows": ("after", put("{t}\r\n"), {"crlf"}),
    "path": ("after", put("{path}{t}"), BESIDE),
    "path and ?": ("after", put("{path}?{t}"), BESIDE),
    "path and a line": ("after", put("{path}\n{t}"), BESIDE),
    "string, then path": ("after", put("{t}{path}"), BESIDE),
    "method": ("after", put("POST{t}"), BESIDE),
    "method and &": ("after", put("POST&{t}"), BESIDE),
    "method and path": ("after", put("POST{path}{t}"), BESIDE),
    "method, path, lines": ("after", put("POST\n{path}\n{t}"), BESIDE),
    "method, host, path, lines": ("after", put("POST\n{host}\n{path}\n{t}"), BESIDE),
    "URL": ("after", put("{url}{t}"), BESIDE),
    "URL and ?": ("after", put("{url}?{t}"), BESIDE),
    "host": ("after", put("{host}{t}"), BESIDE),
    "nonce first, as Bitstamp": ("after", put("{p.nonce}{t}"), APPENDED),
    "key first": ("after", put("{p.key}{t}"), APPENDED),
    "nonce and key first": ("after", put("{p.nonce}{p.key}{t}"), APPENDED),
    "nonce last": ("after", put("{t}{p.nonce}"), APPENDED),
    "nonce and | first": ("after", put("{p.nonce}|{t}"), APPENDED),
    "command first": ("after", put("delTradeOrder{t}"), APPENDED),
    "secret last": ("after", put("{t}{p.secret}"), INSIDE),
    "secret first": ("after", put("{p.secret}{t}"), INSIDE),
    "secret last as a field": ("after", put("{t}&secret={p.secret}"), INSIDE),
    "secret last with &": ("after", put("{t}&{p.secret}"), INSIDE),
    "lower case": ("after", lambda text, _: text.lower(), {"text-in-other-case"}),
    "upper case": ("after", lambda text, _: text.upper(), {"text-in-other-case"}),
    "base64 of the string": ("after", lambda text, _: base64.b64encode(text.encode()), {"text-in-base64"}),
    "hex of the string": ("after", lambda text, _: text.encode().hex(), {"text-in-base64"}),
    "sha256 of the string": ("after", lambda text, _: hashlib.sha256(text.encode()).hexdigest(), TWICE),
    "sha256 bytes of the string": ("after", lambda text, _: hashlib.sha256(text.encode()).digest(), TWICE),
    "md5 of the string": ("after", lambda text, _: hashlib.md5(text.encode()).hexdigest(), TWICE),
    "sha512 of the string": ("after", lambda text, _: hashlib.sha512(text.encode()).hexdigest(), TWICE),
    "encodeURIComponent of the string": ("after", lambda text, _: quote(text, safe=""), {"text-encoded-whole"}),
    "json string": ("after", lambda text, _: json.dumps(text), {"text-quoted"}),
    "UTF-16 of .NET": ("after", lambda text, _: text.encode("utf-16-le"), {"other-charset"}),
    "BOM": ("after", put("\ufeff{t}"), {"white-space"}),
    "string twice": ("after", put("{t}{t}"), {"string-altered"}),
    "blank behind": ("after", put("{t} "), {"white-space"}),
    "nothing": ("after", lambda _text, _: "", {"nothing-signed"}),
    # ---- keys
    "public key": ("keyed", key("{p.key}"), {"key-as-secret"}),
    "empty": ("keyed", key(""), {"secret-empty"}),
    "readline": ("keyed", key("{p.secret}\n"), PADDED),
    "readline of CRLF": ("keyed", key("{p.secret}\r\n"), PADDED),
    "CR of a split file": ("keyed", key("{p.secret}\r"), PADDED),
    "blank behind the secret": ("keyed", key("{p.secret} "), PADDED),
    "blank before the secret": ("keyed", key(" {p.secret}"), PADDED),
    "BOM before the secret": ("keyed", key("\ufeff{p.secret}"), PADDED),
    ".env quotes": ("keyed", key('"{p.secret}"'), {"secret-quoted"}),
    ".env single quotes": ("keyed", key("'{p.secret}'"), {"secret-quoted"}),
    "str of bytes": ("keyed", key("b'{p.secret}'"), {"secret-quoted"}),
    "Swift Optional": ("keyed", key('Optional("{p.secret}")'), {"secret-quoted"}),
    "upper-case secret": ("keyed", lambda p: p.secret.upper(), {"secret-upper-cased"}),
    "hex2bin": ("keyed", lambda p: bytes.fromhex(p.secret), {"secret-hex-decoded"}),
    "base64_decode": ("keyed", lambda p: base64.b64decode(p.secret), {"secret-base64-decoded"}),
    "bin2hex": ("keyed", lambda p: p.secret.encode().hex(), {"secret-encoded"}),
    "btoa": ("keyed", lambda p: base64.b64encode(p.secret.encode()), {"secret-encoded"}),
    "UTF-16 secret": ("keyed", lambda p: p.secret.encode("utf-16-le"), {"secret-encoded"}),
    "sha256 of the secret": ("keyed", hashed("sha256"), {"secret-hashed"}),
    "sha256 bytes of the secret": ("keyed", hashed("sha256", "raw"), {"secret-hashed"}),
    "sha256 of the secret in base64": ("keyed", hashed("sha256", "b64"), {"secret-hashed"}),
    "md5 of the secret": ("keyed", hashed("md5"), {"secret-hashed"}),
    "MD5 of the secret in capitals": ("keyed", hashed("md5", "HEX"), {"secret-hashed"}),
    "sha1 of the secret": ("keyed", hashed("sha1"), {"secret-hashed"}),
    "sha512 of the secret": ("keyed", hashed("sha512"), {"secret-hashed"}),
    "key and secret": ("keyed", key("{p.key}{p.secret}"), JOINED),
    "secret and key": ("keyed", key("{p.secret}{p.key}"), JOINED),
    "key:secret": ("keyed", key("{p.key}:{p.secret}"), JOINED),
    "key&secret": ("keyed", key("{p.key}&{p.secret}"), JOINED),
    "OAuth 1": ("keyed", key("{p.secret}&"), MORE),
    "secret and nonce": ("keyed", key("{p.secret}{p.nonce}"), MORE),
    "nonce and secret": ("keyed", key("{p.nonce}{p.secret}"), MORE),
    "secret and command": ("keyed", key("{p.secret}delTradeOrder"), MORE),
    "placeholder of the page": ("keyed", key("YOUR_API_SECRET"), {"placeholder-secret"}),
    "variable's name": ("keyed", key("TN_API_SECRET"), {"placeholder-secret"}),
    "undefined secret": ("keyed", key("undefined"), {"placeholder-secret"}),
    "None": ("keyed", key("None"), {"placeholder-secret"}),
    "secret": ("keyed", key("secret"), {"placeholder-secret"}),
    "your_secret_key": ("keyed", key("your_secret_key"), {"placeholder-secret"}),
    "${SECRET}": ("keyed", key("${{SECRET}}"), {"placeholder-secret"}),
    "first 32 characters": ("keyed", lambda p: p.secret[:32], {"secret-cut"}),
    "last character lost": ("keyed", lambda p: p.secret[:-1], {"secret-cut"}),
    "first character lost": ("keyed", lambda p: p.secret[1:], {"secret-cut"}),
    "first 10 characters": ("keyed", lambda p: p.secret[:10], {"secret-cut"}),
    "secret reversed": ("keyed", lambda p: p.secret[::-1], {"secret-cut"}),
    "secret twice": ("keyed", lambda p: p.secret * 2, {"secret-cut"}),
    "key derived with the nonce": ("keyed", lambda p: mac("sha256", raw(p.secret), raw(p.nonce)), {"secret-derived"}),
    "key derived with the command": (
        "keyed", lambda p: mac("sha256", raw(p.secret), b"delTradeOrder"), {"secret-derived"}),
    "key derived with the key": ("keyed", lambda p: mac("sha256", raw(p.secret), raw(p.key)), {"secret-derived"}),
    "key derived with key, then nonce": (
        "keyed", lambda p: mac("sha256", mac("sha256", raw(p.secret), raw(p.key)), raw(p.nonce)), {"secret-derived"}),
    "nonce as key": ("keyed", lambda p: p.nonce, {"other-text-as-secret", "key-or-nonce-added", "plain-hash"}),
    # ---- digests
    **{f"HMAC {name}": ("digest", by(name), {f"hmac-{name}"}) for name in (
        "sha1", "md5", "sha224", "sha384", "sha512")},
    **{f"HMAC {name}": ("digest", by(name), {"hmac-sha3"}) for name in (
        "sha512_256", "sha3_256", "sha3_512", "blake2s", "ripemd160", "sha3_384")},
    "plain sha256": ("digest", plain("sha256", "t"), PLAIN),
    "plain md5": ("digest", plain("md5", "t"), PLAIN),
    "plain sha1": ("digest", plain("sha1", "t"), PLAIN),
    "plain sha512": ("digest", plain("sha512", "t"), PLAIN),
    "sha256 with the secret behind": ("digest", plain("sha256", "t+k"), WITH_SECRET),
    "sha256 with the secret before": ("digest", plain("sha256", "k+t"), WITH_SECRET),
    "sha256 with the secret on both sides": ("digest", plain("sha256", "k+t+k"), WITH_SECRET),
    "sha256 with & and the secret": ("digest", plain("sha256", "t+&+k"), WITH_SECRET),
    "sha256 with : and the secret": ("digest", plain("sha256", "t+:+k"), WITH_SECRET),
    "sha1 with the secret behind": ("digest", plain("sha1", "t+k"), WITH_SECRET),
    "md5 with the secret behind": ("digest", plain("md5", "t+k"), {"v1-rule"}),
    "md5 with the secret before": ("digest", plain("md5", "k+t"), WITH_SECRET),
    "sha512 with the secret behind": ("digest", plain("sha512", "t+k"), WITH_SECRET),
    "arguments swapped": ("digest", lambda k, t, _: mac("sha256", t, k), {"message-and-secret-swapped"}),
    "arguments swapped, sha1": ("digest", lambda k, t, _: mac("sha1", t, k), {"message-and-secret-swapped"}),
    "HMAC of the hex HMAC": ("digest", lambda k, t, _: mac("sha256", k, mac("sha256", k, t).hex().encode()), TWICE),
    "sha256 of the hex HMAC": (
        "digest", lambda k, t, _: hashlib.sha256(mac("sha256", k, t).hex().encode()).digest(), TWICE),
    "sha256 of the HMAC": ("digest", lambda k, t, _: hashlib.sha256(mac("sha256", k, t)).digest(), TWICE),
    "md5 of the hex HMAC": ("digest", lambda k, t, _: hashlib.md5(mac("sha256", k, t).hex().encode()).digest(), TWICE),
    "own HMAC, hex inside": ("digest", hand_made(hex_inner=True), {"hmac-built-wrongly"}),
    "own HMAC, pads swapped": ("digest", hand_made(swap=True), {"hmac-built-wrongly"}),
    "own HMAC, block of SHA-512": ("digest", hand_made(block=128), {"hmac-built-wrongly"}),
    # ---- spelling
    "capitals": ("spell", lambda d: d.hex().upper(), {"upper-case-hex"}),
    "base64": ("spell", lambda d: base64.b64encode(d).decode(), {"base64"}),
    "base64url": ("spell", lambda d: base64.urlsafe_b64encode(d).decode().rstrip("="), {"base64"}),
    "base64, escaped": ("spell", lambda d: quote(base64.b64encode(d).decode(), safe=""),
                        {"base64", "signature-encoded"}),
    "base64 of hex": ("spell", lambda d: base64.b64encode(d.hex().encode()).decode(), {"base64-of-hex"}),
    "hex of base64": ("spell", lambda d: base64.b64encode(d).hex(), {"signature-encoded-twice"}),
    "base64 twice": ("spell", lambda d: base64.b64encode(base64.b64encode(d)).decode(), {"signature-encoded-twice"}),
    "hex of hex": ("spell", lambda d: d.hex().encode().hex(), {"signature-encoded-twice"}),
    "first half": ("spell", lambda d: d.hex()[: len(d)], {"truncated"}),
    "last half": ("spell", lambda d: d.hex()[len(d):], {"truncated"}),
    "first 40": ("spell", lambda d: d.hex()[:40], {"truncated", "hmac-sha1"}),
    "0x": ("spell", lambda d: f"0x{d.hex()}", PREFIXED),
    "sha256=": ("spell", lambda d: f"sha256={d.hex()}", PREFIXED),
    "Bearer": ("spell", lambda d: f"Bearer {d.hex()}", PREFIXED),
    "HMAC-SHA256 Signature=": ("spell", lambda d: f"HMAC-SHA256 Signature={d.hex()}", PREFIXED),
    "openssl's output": ("spell", lambda d: f"(stdin)= {d.hex()}", PREFIXED),
    "v1=": ("spell", lambda d: f"v1={d.hex()}", PREFIXED),
    "in quotes": ("spell", lambda d: f'"{d.hex()}"', {"signature-quoted"}),
    "b''": ("spell", lambda d: f"b'{d.hex()}'", {"signature-quoted"}),
    "in a list": ("spell", lambda d: f"['{d.hex()}']", {"signature-quoted"}),
    "BitConverter": ("spell", lambda d: d.hex("-").upper(), {"signature-grouped", "upper-case-hex"}),
    "with colons": ("spell", lambda d: d.hex(":"), {"signature-grouped"}),
    "with blanks, % x of Go": ("spell", lambda d: d.hex(" "), {"signature-grouped"}),
    "xxd's groups": ("spell", lambda d: d.hex(" ", 4), {"signature-grouped"}),
    "Java Arrays.toString": ("spell", lambda d: str(signed_bytes(d)), NUMBERS),
    "Uint8Array": ("spell", lambda d: ",".join(map(str, d)), NUMBERS),
    "Go's []byte": ("spell", lambda d: "[" + " ".join(map(str, d)) + "]", NUMBERS),
    "JSON of a Buffer": ("spell", lambda d: compact({"type": "Buffer", "data": list(d)}), NUMBERS),
    "repr of bytes": ("spell", repr, NUMBERS | {"signature-quoted"}),
    "raw bytes": ("spell", lambda d: d.decode("latin-1"), NUMBERS),
    "BigInteger": ("spell", lambda d: str(int.from_bytes(d, "big")), OTHER_BASE),
    "base32": ("spell", lambda d: base64.b32encode(d).decode(), OTHER_BASE),
    "base58": ("spell", base58, OTHER_BASE),
    "bits": ("spell", lambda d: "".join(f"{byte:08b}" for byte in d), OTHER_BASE),
    "bytes reversed": ("spell", lambda d: d[::-1].hex(), {"bytes-reversed"}),
    "digits reversed": ("spell", lambda d: d.hex()[::-1], {"bytes-reversed"}),
    "twice": ("spell", lambda d: d.hex() * 2, {"signature-too-long"}),
    "%x without padding": ("spell", lambda d: "".join(f"{byte:x}" for byte in d),
                           {"bytes-unpadded", "leading-zero-dropped"}),
    "int in hex": ("spell", lambda d: f"{int.from_bytes(d, 'big'):x}", {"leading-zero-dropped"}),
    "percent-encoded bytes": ("spell", lambda d: quote(d, safe=""), {"signature-encoded"}),
    "ellipsis": ("spell", lambda d: f"{d.hex()[:20]}...", {"truncated"}),
}  # fmt: skip
SPACING, TIME, UNIT = {"json-spacing"}, {"other-timestamp"}, {"timestamp-in-other-unit"}
FIRST, BETWEEN = {"timestamp-first"}, {"separator-between"}
V2_STRING = {"v2-string", "params-as-form"}

HABITS_V3: dict[str, Habit] = {
    "json.dumps signs, requests sends compact": ("spoken", json.dumps, SPACING),
    "pretty": ("spoken", lambda v: json.dumps(v, indent=2), {"json-pretty-printed"}),
    "JSON_PRETTY_PRINT": ("spoken", lambda v: json.dumps(v, indent=4), {"json-pretty-printed"}),
    "id as a text": ("spoken", lambda v: compact({k: str(w) for k, w in v.items()}),
                     {"order-id-quoted", "values-quoted"}),
    "id as a float": ("spoken", lambda v: compact(v)[:-1] + ".0}", {"order-id-as-float"}),
    "id of the sample": ("spoken", lambda _: '{"order_id":2929292929}', {"other-order-id"}),
    "orderId": ("spoken", lambda v: compact(v).replace("order_id", "orderId"), {"names-respelt"}),
    "str of a dict": ("spoken", str, REPR),
    "Go map": ("spoken", fmt_go, REPR),
    "Java map": ("spoken", to_string_java, REPR),
    "Ruby hash": ("spoken", inspect_ruby, REPR),
    "object": ("spoken", lambda _: "[object Object]", REPR),
    "form": ("spoken", urlencode, {"params-as-form"}),
    "params=form": ("spoken", lambda v: f"params={urlencode(v)}", {"params-as-form", "v2-string"}),
    "envelope": ("spoken", lambda v: compact({"cmd": "delTradeOrder", "params": v}), {"request-as-json"}),
    "envelope, wide": ("spoken", lambda v: json.dumps({"cmd": "delTradeOrder", "params": v}), {"request-as-json"}),
    "only params around": ("spoken", lambda v: compact({"params": v}), {"request-as-json"}),
    "empty": ("spoken", lambda _: "", {"only-timestamp"}),
    "{}": ("spoken", lambda _: "{}", {"empty-body-otherwise"}),
    "line after the body": ("spoken", lambda v: compact(v) + "\n", SPACING | BETWEEN),
    "JSON of JSON": ("spoken", lambda v: json.dumps(compact(v)), {"json-encoded-twice"}),
    "body in base64": ("spoken", lambda v: base64.b64encode(compact(v).encode()).decode(), {"text-in-base64"}),
    "sha256 of the body": ("spoken", lambda v: hashlib.sha256(compact(v).encode()).hexdigest(), {"text-hashed-first"}),
    "md5 of the body": ("spoken", lambda v: hashlib.md5(compact(v).encode()).hexdigest(), {"text-hashed-first"}),
    "body percent-encoded": ("spoken", lambda v: quote(compact(v), safe=""), {"text-encoded-whole"}),
    "only the id": ("spoken", lambda v: str(v["order_id"]), {"values-only"}),
    "milliseconds": ("time", lambda t: f"{t}000", UNIT),
    "microseconds": ("time", lambda t: f"{t}000000", UNIT),
    "nanoseconds": ("time", lambda t: f"{t}000000000", UNIT),
    "one second later": ("time", lambda t: str(int(t) + 1), TIME),
    "one second earlier": ("time", lambda t: str(int(t) - 1), TIME),
    "Moscow's hour": ("time", lambda t: str(int(t) + 10800), TIME),
    "time.time()": ("time", lambda t: f"{t}.0", {"timestamp-as-float"}),
    "ISO": ("time", utc("%Y-%m-%dT%H:%M:%SZ"), {"timestamp-as-date"}),
    "toISOString": ("time", utc("%Y-%m-%dT%H:%M:%S.000Z"), {"timestamp-as-date"}),
    "isoformat": ("time", utc("%Y-%m-%dT%H:%M:%S+00:00"), {"timestamp-as-date"}),
    "Date header": ("time", utc("%a, %d %b %Y %H:%M:%S GMT"), {"timestamp-as-date"}),
    "SQL": ("time", utc("%Y-%m-%d %H:%M:%S"), {"timestamp-as-date"}),
    "in quotes": ("time", lambda t: f'"{t}"', {"timestamp-quoted"}),
    "undefined": ("time", lambda _: "undefined", TIME),
    "nonce of v2": ("time", lambda t: f"{t}0000", {"nonce-as-timestamp", "timestamp-in-other-unit"}),
    "time first": ("join", joined("{t}{b}"), FIRST),
    "no time": ("join", joined("{b}"), {"timestamp-left-out"}),
    "no body": ("join", joined("{t}"), {"only-timestamp"}),
    **{f"{sep!r} between": ("join", joined("{b}" + sep + "{t}"), BETWEEN) for sep in (
        "\n", ":", "|", ".", ",", "&", " ", "-")},
    **{f"time first, {sep!r} between": ("join", joined("{t}" + sep + "{b}"), BETWEEN | FIRST) for sep in (
        "\n", ".", ":", "|")},
    "Coinbase": ("join", joined("{t}POST{path}{b}"), FIRST | BESIDE),
    "OKX without time": ("join", joined("POST{path}{b}"), {"timestamp-left-out"} | BESIDE),
    "Bybit": ("join", joined("{t}{k}{b}"), FIRST | APPENDED),
    "Bybit with a window": ("join", joined("{t}{k}5000{b}"), FIRST | APPENDED),
    "KuCoin lines": ("join", joined("{t}\nPOST\n{path}\n{b}"), FIRST | BESIDE | BETWEEN),
    "path and body": ("join", joined("{path}{b}{t}"), BESIDE),
    "path, time, body": ("join", joined("{path}{t}{b}"), BESIDE | FIRST),
    "method": ("join", joined("POST{b}{t}"), BESIDE),
    "URL": ("join", joined("{url}{b}{t}"), BESIDE),
    "key first": ("join", joined("{k}{b}{t}"), APPENDED),
    "key, time, body": ("join", joined("{k}{t}{b}"), APPENDED | FIRST),
    "key between": ("join", joined("{b}{k}{t}"), APPENDED),
    "secret last": ("join", joined("{b}{t}{s}"), INSIDE),
    "&timestamp=": ("join", joined("{b}&timestamp={t}"), BETWEEN),
    "line at the end": ("join", joined("{b}{t}\n"), {"line-feed"}),
    "one JSON": ("join", joined('{{"body":{b},"timestamp":{t}}}'), BETWEEN),
    "the rule of v2": (
        "join", lambda b, t, p: f"apiKey={p.key}&cmd=delTradeOrder&nonce={t}&params=order_id={p.order_id}", V2_STRING),
    "form and time": ("join", lambda b, t, p: f"order_id={p.order_id}&timestamp={t}", V2_STRING),
}  # fmt: skip
# Steps that are the same in both generations.
HABITS_V3 |= {name: habit for name, habit in HABITS.items() if habit[0] in ("keyed", "digest", "spell")
              and "delTradeOrder" not in name and "command" not in name}  # fmt: skip
