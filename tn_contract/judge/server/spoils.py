"""How a valid request is spoilt: the wrong signatures that both generations of the protocol must refuse."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable
from urllib.parse import quote

from tn_contract.contract.signing import Credentials, Secret, Value, signature_of
from tn_contract.contract.wire import (
    FORM_TYPE,
    SIGNATURE_HEADER,
    Request,
    SignedRequest,
    replace,
    with_header,
    with_signature,
)
from tn_contract.judge.server.target import SESSION, Probe, Spoil

# What languages write for a value that is not there.
NO_VALUES = ("null", "None", "undefined", "0")
NOBODY = Secret("tn-contract: nobody's secret")


def rewritten(write: Callable[[str], str | None]) -> Spoil:
    """Spoil the signature's text, given the right one; None leaves the header out."""
    return lambda _probe, valid: with_signature(valid.request, write(valid.signature))


def other_digit(place: int) -> Spoil:
    """Change one digit of the signature."""
    return rewritten(lambda right: right[:place] + ("0" if right[place] != "0" else "1") + right[place + 1 :])


def instead_of_header(put: Callable[[Request, str], Request]) -> Spoil:
    """Put the right signature somewhere else than into its header."""
    return lambda _probe, valid: put(with_signature(valid.request, None), valid.signature)


# Where a signature does not belong: the same places for both generations of the protocol.
UNSIGNED: dict[str, Spoil] = {
    "no signature header": rewritten(lambda _right: None),
    "an empty signature": rewritten(lambda _right: ""),
    "the signature in the query string": instead_of_header(
        lambda bare, right: replace(bare, query=f"sign={right}&{SIGNATURE_HEADER}={right}")
    ),
    "the signature under other headers' names": instead_of_header(
        lambda bare, right: replace(
            bare,
            headers=(
                *bare.headers,
                *((name, right) for name in ("X-NtApi-Signature", "X-NtApi-Sign", "X-Signature")),
            ),
        )
    ),
    "the signature in Authorization": instead_of_header(
        lambda bare, right: with_header(bare, "Authorization", f"HMAC {right}")
    ),
    "the signature in a cookie": instead_of_header(
        lambda bare, right: with_header(bare, "Cookie", f"sig={right}; sign={right}; {SIGNATURE_HEADER}={right}")
    ),
}


def by_session_id(probe: Probe, command: str) -> dict[str, Spoil]:
    """Name the id of a session that was just opened instead of signing; nothing where it could be a real one.

    An SDK knows of such a cookie, so that whoever takes it for a signature is loose, not broken.
    """

    def spoil(inner: Probe, _valid: SignedRequest) -> Request:
        opened = inner.send(inner.compose(SESSION).request).reading.members.get("sess_id")
        field = f"SID={quote(str(opened), safe='')}"
        bare = with_header(with_signature(inner.compose(command).request, None), "Cookie", field)
        form = bare.header("Content-Type") == FORM_TYPE
        return replace(bare, query=field, body=bare.body + f"&{field}".encode() if form else bare.body)

    return {"the session's id instead of a signature": spoil} if probe.target.disposable else {}


# The right digits of a signature, written otherwise.
OTHER_WRITINGS: dict[str, Spoil] = {
    "percent-encoded digits": rewritten(lambda right: "".join(f"%{ord(digit):02X}" for digit in right)),
    "its halves exchanged": rewritten(lambda right: right[32:] + right[:32]),
    "spaces between its digits": rewritten(" ".join),
}
# The same, for targets whose budget does not end.
RARE_WRITINGS: dict[str, Spoil] = {
    "its digits in reverse": rewritten(lambda right: right[::-1]),
    "its letters exchanged": rewritten(lambda right: right.translate(str.maketrans("abcdef", "bcdefa"))),
    "its digits below ten exchanged": rewritten(
        lambda right: right.translate(str.maketrans("0123456789", "1234567890"))
    ),
    "its letters alone": rewritten(lambda right: "".join(filter(str.isalpha, right))),
    "its digits below ten alone": rewritten(lambda right: "".join(filter(str.isdigit, right))),
    "in JSON": rewritten(lambda right: f'["{right}"]'),
    "in braces": rewritten(lambda right: f"{{{right}}}"),
}


def signed_over(write: Callable[[SignedRequest], str]) -> Spoil:
    """Sign another string than the request's own."""
    return lambda probe, valid: with_signature(valid.request, signature_of(write(valid), probe.credentials.secret))


def signed_by(secret: Secret) -> Spoil:
    """Sign the right string with another secret."""
    return lambda _probe, valid: with_signature(valid.request, signature_of(valid.string_to_sign, secret))


def signed_by_other(other: Credentials) -> dict[str, Spoil]:
    """Sign the right string with the secret of another known key, which is not named, or not where it counts."""
    signed = signed_by(other.secret)
    query = f"apiKey={quote(other.api_key, safe='')}"
    return {
        "the secret of another known key": signed,
        "the secret of another known key, named in the query string": lambda probe, valid: replace(
            signed(probe, valid), query=query
        ),
    }


def digested(compute: Callable[[bytes, bytes], str]) -> Spoil:
    """Digest the right string (second argument) under the secret (first) in another way."""
    return lambda probe, valid: with_signature(
        valid.request, compute(probe.credentials.secret.reveal().encode(), valid.string_to_sign.encode())
    )


def keyed(name: str) -> Spoil:
    """Digest the right string by HMAC with another hash function."""
    return digested(lambda secret, string: hmac.new(secret, string, name).hexdigest())


def plain(name: str, join: Callable[[bytes, bytes], bytes]) -> Spoil:
    """Digest without a key what is made of secret (first) and string (second)."""
    return digested(lambda secret, string: hashlib.new(name, join(secret, string), usedforsecurity=False).hexdigest())


def _in_base64(encode: Callable[[bytes], bytes]) -> Spoil:
    return digested(lambda secret, string: encode(hmac.digest(secret, string, "sha256")).decode())


DERIVED_SECRETS: dict[str, Callable[[bytes], bytes]] = {
    "secret's SHA-256": lambda secret: hashlib.sha256(secret).digest(),
    "secret's SHA-256 in hex": lambda secret: hashlib.sha256(secret).hexdigest().encode(),
    "secret's MD5 in hex": lambda secret: hashlib.md5(secret, usedforsecurity=False).hexdigest().encode(),
    "secret in base64": base64.b64encode,
    "secret in hex": lambda secret: secret.hex().encode(),
    "secret in reverse": lambda secret: secret[::-1],
    "secret's first half": lambda secret: secret[: len(secret) // 2],
    "secret's first 8 characters": lambda secret: secret[:8],
    "secret without its last character": lambda secret: secret[:-1],
    "secret twice": lambda secret: secret + secret,
    "secret in quotes": lambda secret: b'"' + secret + b'"',
    "secret and a space": lambda secret: secret + b" ",
}

OTHER_DIGESTS: dict[str, Spoil] = {
    **{f"HMAC-{name.upper()}": keyed(name) for name in ("sha1", "md5", "sha384", "sha512", "sha3_256")},
    "plain SHA-256": plain("sha256", lambda _secret, string: string),
    "SHA-256 of string and secret": plain("sha256", lambda secret, string: string + secret),
    "SHA-256 of secret and string": plain("sha256", lambda secret, string: secret + string),
    "HMAC-SHA256 of the string's SHA-256": digested(
        lambda secret, string: hmac.new(secret, hashlib.sha256(string).hexdigest().encode(), "sha256").hexdigest()
    ),
    "base64 instead of hex": _in_base64(base64.b64encode),
    "base64url instead of hex": _in_base64(lambda digest: base64.urlsafe_b64encode(digest).rstrip(b"=")),
}
# The same, for targets whose budget does not end.
RARE_DIGESTS: dict[str, Spoil] = {
    **{
        f"HMAC-SHA256 with the {what}": digested(
            lambda secret, string, derive=derive: hmac.new(derive(secret), string, "sha256").hexdigest()  # type: ignore[misc]
        )
        for what, derive in DERIVED_SECRETS.items()
    },
    "HMAC-SHA256 of the string's raw SHA-256": digested(
        lambda secret, string: hmac.new(secret, hashlib.sha256(string).digest(), "sha256").hexdigest()
    ),
    "SHA-256 of secret, string and secret": plain("sha256", lambda secret, string: secret + string + secret),
    "MD5 of secret and string": plain("md5", lambda secret, string: secret + string),
    "MD5 of string and secret": plain("md5", lambda secret, string: string + secret),
    "SHA-1 of string and secret": plain("sha1", lambda secret, string: string + secret),
    "SHA-512 of string and secret": plain("sha512", lambda secret, string: string + secret),
    "HMAC-SHA-512 cut to 64 digits": digested(
        lambda secret, string: hmac.new(secret, string, "sha512").hexdigest()[:64]
    ),
    "HMAC-SHA512/256": digested(lambda secret, string: hmac.new(secret, string, "sha512_256").hexdigest()),
    "HMAC-SHA256 in reverse": digested(lambda secret, string: hmac.new(secret, string, "sha256").hexdigest()[::-1]),
    "the hex of the hex": digested(
        lambda secret, string: hmac.new(secret, string, "sha256").hexdigest().encode().hex()
    ),
    "base64 of the hex": digested(
        lambda secret, string: base64.b64encode(hmac.new(secret, string, "sha256").hexdigest().encode()).decode()
    ),
    "CRC-32": digested(lambda secret, string: f"{zlib.crc32(string + secret):08x}"),
}


def keys_like(known: str, *, disposable: bool) -> tuple[str, ...]:
    """Keys that nobody has, some of them much like a known one."""
    alike: tuple[str, ...] = (
        "tn-contract-nobodys-key",
        f"{known}0",
        known[:-1] or "-",
        known.swapcase(),
        "%",
        "*",
    )
    if disposable:  # elsewhere a guard may take the last for an attack, and the budget ends
        alike += (f"{known},x", f"%{ord(known[0]):02X}{known[1:]}", f'"{known}"', "x' or '1'='1")
    return tuple(key for key in alike if key != known)


# ---- commands and names --------------------------------------------------------------------------------------

BAD_COMMANDS = ("getAuthInfo.php", "getAuthInfo,x")
# Some servers read these alike.
ALIKE_COMMANDS = ("getAuthInfo;x",)


def in_other_case(command: str, *, disposable: bool) -> tuple[str, ...]:
    """Write a command in other letter cases, as some languages compare names."""
    names = (command.lower(), command.upper(), command.swapcase(), command[:1].upper() + command[1:])
    return names if disposable else names[:1]


def misplaced(order_id: int | str) -> tuple[dict[str, Value], ...]:
    """Params that name an order by something else than their order_id."""
    return (
        {"id": order_id},
        {"orderId": order_id},
        {"Order_ID": order_id},
        {"order_id ": order_id},
        {"order-id": order_id},
        {"order.id": order_id},
        {"order_ids": [order_id]},
        {"order": {"id": order_id}},
        {"user_order_id": order_id},
        {"params": {"order_id": order_id}},
        {"data": {"order_id": order_id}},
    )


# ---- numbers -------------------------------------------------------------------------------------------------

# Writings of a number that are no plain integer. Whoever reads one nevertheless reads that number, or none.
NO_INTEGERS: dict[str, str] = {
    "letters after it": "{}abc",
    "a minus sign": "-{}",
    "a plus sign": "+{}",
    "a space before it": " {}",
    "a space after it": "{} ",
    "a line end after it": "{}\n",
    "a tab after it": "{}\t",
    "a NUL after it": "{}\0",
    "a no-break space after it": "{}\u00a0",
    "quotes": '"{}"',
    "hexadecimal": "0x{0:x}",
    "a fraction": "{}.5",
    "null": "null",
}
# What careless readers take for nothing, for false or for zero.
FALSE_LIKE = ("00", "0.0", "-0", "+0", "0x0", "0e0", "000000000000000000", "false", "False", "null", "None", "undefined", " ", "[]", "{}", "-1")  # fmt: skip  # noqa: E501
# The same, of a rarer kind.
RARE_NO_INTEGERS: dict[str, str] = {
    "a decimal point": "{}.0",
    "parentheses": "({})",
    "a # before it": "#{}",
    "a semicolon after it": "{};",
    "single quotes": "'{}'",
    "a zero-width space after it": "{}\u200b",
    "a vertical tab after it": "{}\v",
    "CR and LF after it": "{}\r\n",
    "a BOM before it": "\ufeff{}",
}
# Beyond the form of a number: no order is named by these, or one is named twice.
NO_ORDERS: dict[str, str] = {
    "letters": "abc",
    "zero": "0",
    "two numbers": "{0},{0}",
    "a bar between two": "{0}|{0}",
    "a NUL and letters after it": "{}\0abc",
    "a dot after it": "{}.",
}
# Whoever stops at the first separator, or reads the last digit, reads another number.
OTHER_INTEGERS: dict[str, str] = {
    "an underscore": "{0:_}",
    "commas": "{0:,}",
}
# Some read the first two as another number, and all three break careless servers.
HARMFUL_INTEGERS: dict[str, str] = {
    "infinity": "Infinity",
    "a superscript digit": "{}\u00b2",
    "5000 zeros": "0" * 5000,  # Python's int() raises beyond 4300 digits
}


def _in_digits_from(zero: int) -> Callable[[int], str]:
    return lambda number: str(number).translate({ord(str(digit)): zero + digit for digit in range(10)})


# Loose, but plain.
SOFT_INTEGERS: dict[str, Callable[[int], str]] = {
    "a leading zero": lambda number: f"0{number}",
    "full-width digits": _in_digits_from(0xFF10),
    "Devanagari digits": _in_digits_from(0x0966),
}
