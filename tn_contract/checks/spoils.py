"""How a valid request is spoilt: the wrong signatures that both generations of the protocol must refuse."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import quote

from tn_contract.checks.target import Probe, Spoil
from tn_contract.signing import Credentials, Secret, signature_of
from tn_contract.wire import SIGNATURE_HEADER, Request, SignedRequest, replace, with_header, with_signature

NOBODY = Secret("tn-contract: nobody's secret")


def rewritten(write: Callable[[str], str | None]) -> Spoil:
    """Spoil the signature's text, given the right one; None leaves the header out."""
    return lambda _probe, valid: with_signature(valid.request, write(valid.signature))


def other_digit(place: int) -> Spoil:
    """Change one digit of the signature."""
    return rewritten(lambda right: right[:place] + ("0" if right[place] != "0" else "1") + right[place + 1 :])


def in_query_string(_probe: Probe, valid: SignedRequest) -> Request:
    """Put the right signature into the query string instead of the header."""
    bare = with_signature(valid.request, None)
    return replace(bare, query=f"sign={valid.signature}&{SIGNATURE_HEADER}={valid.signature}")


def under_other_name(_probe: Probe, valid: SignedRequest) -> Request:
    """Put the right signature under a header's name that only looks like the documented one."""
    return with_header(with_signature(valid.request, None), "X-NtApi-Signature", valid.signature)


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
