"""Broken servers: the right signature passes, *or* one over another writing of the fields, or by another digest."""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import zlib
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from .defect import setting
from .honest import Call, Members, Server, canonical, pairs_of

WRITINGS, DIGESTS, MODIFIED = (
    "signature/refuses-other-writings",
    "signature/refuses-other-digest",
    "signature/refuses-modified",
)


def also_over(slug: str, write: Callable[[Call, Members], str], kills: str = WRITINGS) -> None:
    """Register a server that accepts the signature over another string too."""
    setting(
        slug,
        kills,
        right_signatures=lambda server, call: [
            *Server.right_signatures(server, call),
            server.digest(server.secret_of(call), write(call, dict(call.fields))),
        ],
    )


def deep(fields: Members, value: Callable[[str], str], order: Callable[[Members], list[str]] = sorted) -> str:
    return "&".join(
        f"{name}={deep(each, value, order) if isinstance(each := fields[name], dict) else value(str(each))}"
        for name in order(fields)
    )


def params(fields: Members) -> Members:
    found = fields.get("params")
    return found if isinstance(found, dict) else {}


def keep(text: str) -> str:
    return text


also_over(
    "accepts-the-order-of-the-body-too",
    lambda call, fields: deep(fields, keep, list),
    f"{WRITINGS} {WRITINGS}-on-cancel",
)
also_over("accepts-the-body-as-sent-too", lambda call, fields: call.body.decode("latin-1"))
also_over(
    "accepts-percent-encoded-values-too",
    lambda call, fields: deep(fields, lambda text: quote(text, safe="", errors="replace")),
)
also_over(
    "accepts-values-encoded-with-plus-too",
    lambda call, fields: deep(fields, lambda text: quote_plus(text, errors="replace")),
)
also_over(
    "accepts-lower-case-escapes-too",
    lambda call, fields: deep(fields, lambda text: quote(text, safe="", errors="replace").lower()),
)
also_over(
    "accepts-flat-params-too",
    lambda call, fields: canonical({k: v for k, v in fields.items() if k != "params"} | params(fields)),
)
also_over(
    "accepts-unsorted-params-too",
    lambda call, fields: canonical({**fields, "params": deep(params(fields), keep, list)}),
)
also_over(
    "accepts-params-as-sorted-json-too",
    lambda call, fields: canonical(
        {**fields, "params": json.dumps(params(fields), sort_keys=True, separators=(",", ":"))}
    ),
)
also_over(
    "accepts-params-as-spaced-json-too",
    lambda call, fields: canonical({**fields, "params": json.dumps(params(fields))}),
)
also_over("accepts-params-as-python-too", lambda call, fields: canonical({**fields, "params": str(params(fields))}))
also_over(
    "accepts-values-of-params-too",
    lambda call, fields: canonical(
        {**fields, "params": "".join(str(params(fields)[k]) for k in sorted(params(fields)))}
    ),
)
also_over("accepts-array-for-params-too", lambda call, fields: canonical({**fields, "params": "Array"}))
also_over("accepts-objects-for-params-too", lambda call, fields: canonical({**fields, "params": "[object Object]"}))
also_over(
    "accepts-an-order-without-letter-case-too",
    lambda call, fields: deep(fields, keep, lambda each: sorted(each, key=str.lower)),
)
also_over("accepts-stripped-values-too", lambda call, fields: deep(fields, str.strip))
also_over("accepts-values-escaped-for-html-too", lambda call, fields: deep(fields, html.escape))
also_over(
    "accepts-ascii-alone-too", lambda call, fields: deep(fields, lambda text: text.encode("ascii", "ignore").decode())
)
also_over("accepts-plus-as-a-space-too", lambda call, fields: deep(fields, lambda text: text.replace("+", " ")))
also_over(
    "accepts-no-empty-values-too",
    lambda call, fields: canonical({**fields, "params": {k: v for k, v in params(fields).items() if v}}),
)
also_over(
    "accepts-brackets-too",
    lambda call, fields: canonical(
        {k: v for k, v in fields.items() if k != "params"} | {f"params[{k}]": v for k, v in params(fields).items()}
    ),
)
also_over("accepts-line-ends-between-too", lambda call, fields: canonical(fields).replace("&", "\n"))
also_over("accepts-bars-between-too", lambda call, fields: canonical(fields).replace("&", "|"))
also_over("accepts-colons-too", lambda call, fields: canonical(fields).replace("=", ":"))
also_over("accepts-the-method-before-too", lambda call, fields: f"POST&{canonical(fields)}")
also_over(
    "accepts-pairs-in-the-order-of-the-body-too",
    lambda call, fields: "&".join(f"{k}={v}" for k, v in pairs_of(call.body)),
)


# ---- fields and values that are not signed -------------------------------------------------------------------

STRINGS = "signature/refuses-other-string"


def valued(fields: Members, value: str, *names: str) -> str:
    def written(each: object) -> object:
        return dict.fromkeys(each, value) if isinstance(each, dict) else value

    return canonical({name: written(each) if name in names else each for name, each in fields.items()})


for _name in ("apiKey", "cmd", "nonce"):
    also_over(
        f"accepts-no-value-of-{_name.lower()}-too",
        lambda call, fields, name=_name: valued(fields, "", name),  # type: ignore[misc]
        f"{STRINGS} {STRINGS}-on-cancel",
    )
also_over("accepts-no-value-of-params-too", lambda call, fields: valued(fields, "", "params"), f"{STRINGS}-on-cancel")
also_over("accepts-no-values-too", lambda call, fields: valued(fields, "", *fields), STRINGS)
also_over("accepts-none-for-the-nonce-too", lambda call, fields: valued(fields, "None", "nonce"), STRINGS)
also_over(
    "accepts-null-for-the-order-too", lambda call, fields: valued(fields, "null", "params"), f"{STRINGS}-on-cancel"
)
also_over("accepts-undefined-for-the-key-too", lambda call, fields: valued(fields, "undefined", "apiKey"), STRINGS)
also_over(
    "accepts-command-and-params-alone-too",
    lambda call, fields: canonical({k: v for k, v in fields.items() if k in ("cmd", "params")}),
    STRINGS,
)
also_over("accepts-no-value-of-key-and-nonce-too", lambda call, fields: valued(fields, "", "apiKey", "nonce"), STRINGS)

MESSAGES = "v3/refuses-other-message"


def v3_also_over(slug: str, write: Callable[[Call], str], kills: str = f"{MESSAGES} {MESSAGES}-on-cancel") -> None:
    """Register a server that accepts the v3 signature over another message too."""
    setting(
        slug,
        kills,
        right_v3_signatures=lambda server, call: [
            *Server.right_v3_signatures(server, call),
            server.digest_v3(server.secret_of(call), write(call).encode("latin-1")),
        ],
    )


def stamp(call: Call) -> str:
    return call.headers.get("x-ntapi-timestamp", "")


v3_also_over("v3-accepts-a-timestamp-of-0-too", lambda call: call.body.decode("latin-1") + "0")
v3_also_over("v3-accepts-none-for-the-timestamp-too", lambda call: call.body.decode("latin-1") + "None")
v3_also_over("v3-accepts-null-for-the-body-too", lambda call: "null" + stamp(call))
v3_also_over(
    "v3-accepts-an-order-without-value-too",
    lambda call: re.sub(rb":[0-9]+", b":null", call.body).decode("latin-1") + stamp(call),
    f"{MESSAGES}-on-cancel",
)


# ---- digests and comparisons ---------------------------------------------------------------------------------


def also_by(slug: str, digest: Callable[[bytes, bytes], str], kills: str = DIGESTS) -> None:
    """Register a server that accepts another digest too, of secret (first) and string."""
    setting(
        slug,
        kills,
        right_signatures=lambda server, call: [
            *Server.right_signatures(server, call),
            digest(server.secret_of(call).encode(), server.string_to_sign(call).encode("utf-8", "surrogateescape")),
        ],
    )


def keyed(secret: bytes, string: bytes) -> str:
    return hmac.new(secret, string, "sha256").hexdigest()


also_by("accepts-the-digested-secret", lambda secret, string: keyed(hashlib.sha256(secret).digest(), string))
also_by("accepts-the-md5-of-the-secret", lambda secret, string: keyed(hashlib.md5(secret).hexdigest().encode(), string))
also_by("accepts-the-secret-in-hex", lambda secret, string: keyed(secret.hex().encode(), string))
also_by("accepts-half-the-secret", lambda secret, string: keyed(secret[: len(secret) // 2], string))
also_by("accepts-the-secret-in-reverse", lambda secret, string: keyed(secret[::-1], string))
also_by("accepts-the-beginning-of-sha512", lambda secret, string: hmac.new(secret, string, "sha512").hexdigest()[:64])
also_by("accepts-sha512-256", lambda secret, string: hmac.new(secret, string, "sha512_256").hexdigest())
also_by("accepts-the-reverse-digest", lambda secret, string: keyed(secret, string)[::-1])
also_by("accepts-the-raw-digest-of-a-digest", lambda secret, string: keyed(secret, hashlib.sha256(string).digest()))
also_by("accepts-a-checksum", lambda secret, string: f"{zlib.crc32(string + secret):08x}")
also_by("accepts-md5-with-the-secret-before", lambda secret, string: hashlib.md5(secret + string).hexdigest())


def compares(slug: str, same: Callable[[str, str], bool], kills: str = MODIFIED) -> None:
    """Register a comparison of the given signature (first) with the right one."""
    setting(slug, kills, same=lambda server, given, right: same(given, right))


compares(
    "compares-the-digits-below-ten",
    lambda given, right: [c for c in given if c.isdigit()] == [c for c in right if c.isdigit()] and bool(given),
)
compares(
    "compares-the-letters",
    lambda given, right: [c for c in given if c.isalpha()] == [c for c in right if c.isalpha()] and bool(given),
)
compares("compares-either-way-round", lambda given, right: given in (right, right[::-1]))
compares("compares-without-brackets", lambda given, right: given.strip('[]"{}') == right)
compares(
    "takes-magic-hashes-for-zero",
    lambda given, right: given == right or (given[:2] == "0e" and given[2:].isdigit()),
    "signature/refuses-constant",
)
compares("takes-true-for-right", lambda given, right: given in (right, "1"), "signature/refuses-constant")
compares("takes-ok-for-right", lambda given, right: given in (right, "valid"), "signature/refuses-constant")
compares(
    "takes-the-digest-of-nothing-for-right",
    lambda given, right: given in (right, hashlib.sha256(b"").hexdigest()),
    "signature/refuses-constant",
)
