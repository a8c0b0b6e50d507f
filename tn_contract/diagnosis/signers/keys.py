"""Which keys wrong signers use for the HMAC instead of the secret as text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from tn_contract.contract.signing import ENCODING, ERRORS
from tn_contract.diagnosis.signers import Case, Text, encoded
from tn_contract.diagnosis.signers.values import percent_encoded


class Key(NamedTuple):
    """A wrong key of the HMAC; `how` is a sentence with the particulars."""

    mistake: str
    grade: int
    key: Text
    how: str = ""


_PLACEHOLDERS = (
    "<YOUR_API_SECRET_KEY>", "YOUR_API_SECRET_KEY", "YOUR_API_SECRET", "YOUR_SECRET", "YOUR_SECRET_KEY", "your-secret",
    "your_secret", "your-secret-key", "your_secret_key", "your-api-secret", "your_api_secret", "<YOUR_SECRET>",
    "<secret>", "<SECRET>", "<your-secret>", "<API_SECRET>", "***", "**********", "Secret('***')", "********",
    "SecretStr('**********')", "None", "null", "undefined", "nil", "NULL", "<nil>", "(null)", "NaN", "false", "true",
    "True", "False", "0", "1", "{}", "[]", "[object Object]", "[object Promise]", "Array", "secret", "Secret", "SECRET",
    "secretKey", "secret_key", "SECRET_KEY", "secret-key", "apiSecret", "api_secret", "API_SECRET", "api-secret",
    "apiSecretKey", "API_SECRET_KEY", "privateKey", "private_key", "PRIVATE_KEY", "TN_API_SECRET", "$TN_API_SECRET",
    "${TN_API_SECRET}", "%TN_API_SECRET%", "{{TN_API_SECRET}}", "$API_SECRET", "${API_SECRET}", "$SECRET", "${SECRET}",
    "process.env.TN_API_SECRET", "$(TN_API_SECRET)", "{secret}", "{{secret}}", "{api_secret}", "{{ secret }}",
    "env:TN_API_SECRET", "os.environ['TN_API_SECRET']", "TRADERNET_SECRET", "TRADERNET_API_SECRET",
    "changeme", "password", "test", "demo", "xxx", "XXX", "TODO", "REDACTED", "[REDACTED]", "[FILTERED]", "<redacted>",
    "apiKey", "api_key", "API_KEY", "TN_API_KEY", "key", "tn-demo-secret", "tn-demo-key", "<hash>", "hash", "123",
    "123456", "foo", "default", "example", "sha256", "HmacSHA256", "delTradeOrder", "tradernet", "Tradernet", " ",
)  # fmt: skip
# What a variable that is not set becomes.
_MISSING = ("undefined", "null", "None")
_NOUNS = ("secret", "secret key", "api secret", "api secret key", "private key", "secret here", "api secret here")
_STYLES: tuple[Callable[[str], str], ...] = (
    lambda words: words.replace(" ", "_"),
    lambda words: words.replace(" ", "-"),
    lambda words: words.replace(" ", "_").upper(),
    lambda words: f"<{words.replace(' ', '_').upper()}>",
    lambda words: f"<{words.replace(' ', '-')}>",
    lambda words: words,
    lambda words: words.replace(" ", "-").upper(),
    lambda words: f"<{words}>",
    lambda words: f"{{{words.replace(' ', '_')}}}",
    *(
        lambda words, form=form: form.format(words.replace(" ", "_").upper())
        for form in (
            "process.env.{}",
            "os.environ['{}']",
            "ENV['{}']",
            "$_ENV['{}']",
            "getenv('{}')",
            "${}",
            "${{{}}}",
            "%{}%",
            "{{{{{}}}}}",
            "${{{{ secrets.{} }}}}",
        )
    ),
)
# The same few words in the spellings of samples: your_secret, YOUR_API_SECRET_HERE, <my-secret>.
_WRITTEN_OUT = tuple(
    dict.fromkeys(
        style(f"{owner}{noun}")
        for owner in ("your ", "my ", "the ", "")
        for noun in _NOUNS
        for style in (_STYLES if not owner else _STYLES[:9])
    )
)
_CONSTANT = [
    Key("placeholder-secret", 2 if text in _MISSING else 4, text.encode(), f"It is {text!r}.")
    for text in dict.fromkeys((*_PLACEHOLDERS, *_WRITTEN_OUT, *("x" * size for size in (4, 6, 8, 16, 32, 40, 64))))
]
_BEHIND = (
    ("secret-line-feed", 1, "\n"), ("secret-line-feed", 2, "\r\n"), ("secret-line-feed", 2, " "),
    ("secret-line-feed", 4, "\r"), ("secret-line-feed", 3, "\t"), ("secret-line-feed", 4, "\0"),
    ("secret-line-feed", 4, "\\n"), ("secret-line-feed", 4, "\\r\\n"), ("secret-line-feed", 4, "\n\n"),
    ("secret-line-feed", 4, "\u200b"), ("secret-line-feed", 4, "\u00a0"), ("secret-line-feed", 4, "  "),
    ("secret-line-feed", 4, "\ufeff"), ("secret-with-more", 2, "&"),
    *(("secret-with-more", 4, text) for text in (":", ";", ",", ".", "=", "==", "/", "|", "#", "-", "_", "+", "?", "!",
                                                 "%0A", "0", "1", "v2", "\\0", "256")),
    ("secret-quoted", 3, '"'), ("secret-quoted", 4, "'"),
)  # fmt: skip
_BEFORE = (
    ("secret-line-feed", 3, " "), ("secret-line-feed", 3, "\ufeff"), ("secret-line-feed", 3, "\n"),
    ("secret-line-feed", 4, "\t"), ("secret-line-feed", 4, "\r\n"), ("secret-line-feed", 4, "\0"),
    ("secret-line-feed", 4, "\u200b"),
    *(("secret-with-more", 4, text) for text in ("&", ":", "=", "AWS4", "TN4", "TN", "Bearer ", "Basic ", "secret:",
                                                 "secret=", "0x", "base64:", "hex:", "sha256:", "$", "sk_", "-",
                                                 "TN_API_SECRET=", "key=", "Token ", "TN_API_SECRET: ",
                                                 "secret_key=", "apiSecret=", "api_secret=", "API_SECRET=", "SECRET=")),
    ("secret-quoted", 4, '"'), ("secret-quoted", 4, "'"),
)  # fmt: skip
_AROUND = ('" "', "' '", "b' '", "Secret( )",
           "< >", "` `", '\\" \\"', "{ }", "[ ]", "( )", 'b" "', "u' '", '[" "]', "[' ']",
           "Secret(' ')", 'Optional(" ")', 'Some(" ")', "Some( )", "Just ( )", "{{ }}", "${ }", "\u201c \u201d",
           "* *", "% %",
           "SecretStr(' ')", "\\' \\'", "<Buffer  >", "Optional[ ]", "(' ',)")  # fmt: skip
_BETWEEN = ("", ":", "&", ".", "|", ",", "-", "_", "+", "\n", " ", "/", ";", "=", "#", "@", "::")
_HASHES = (("sha256", 2), ("md5", 2), ("sha1", 3), ("sha512", 3), ("sha384", 4), ("sha224", 4), ("sha3_256", 4))
# Chains of HMACs that begin with the secret, as AWS derives its keys.
_CHAINS = (
    ("nonce",), ("key",), ("cmd",), ("date",), ("path",), ("host",), ("stamp",), ("method",), ("order",), ("",),
    ("date", "cmd"), ("date", "host"), ("date", "key"), ("date", "nonce"), ("nonce", "cmd"), ("key", "nonce"),
    ("nonce", "key"), ("key", "cmd"), ("cmd", "nonce"), ("date", "path"), ("date", "tradernet"),
    ("date", "=aws4_request"), ("key", "nonce", "cmd"), ("nonce", "cmd", "key"), ("date", "cmd", "=aws4_request"),
    ("date", "=tradernet", "=aws4_request"), ("date", "=tradernet", "cmd"), ("date", "=api", "=aws4_request"),
    ("date", "=tradernet", "=api", "=aws4_request"), ("date", "=us-east-1", "=tradernet", "=aws4_request"),
    ("date", "=us-east-1", "=execute-api", "=aws4_request"), ("date", "=eu-central-1", "=tradernet", "=aws4_request"),
    ("date", "=us-east-1", "=api", "=aws4_request"), ("date", "host", "=tradernet", "=aws4_request"),
    ("date", "=us-east-1", "=s3", "=aws4_request"), ("date", "=eu", "=tradernet", "=aws4_request"),
    ("date", "=ru", "=tradernet", "=aws4_request"), ("date", "=tradernet", "=trading"),
    ("date", "=tradernet", "cmd", "=aws4_request"), ("date", "cmd", "=tn_request"), ("date", "host", "cmd"),
)  # fmt: skip


def secrets(case: Case) -> Iterator[Key]:
    """List the keys that a wrong signer may have used, the usual ones first."""
    yield from _of_pair(case.key, case.secret)
    for pair in case.others:
        yield Key("other-secret", 1, pair.secret.reveal())
        yield Key("other-secret", 3, pair.api_key, "It is the key of that pair.")
    yield from _joined_with_more(case)
    yield from _derived(case, encoded(case.secret))
    yield from _CONSTANT
    for name, text in (("the nonce", case.nonce), ("the command", case.command), ("the order id", case.order[1]),
                       ("the path", case.path), ("the host", case.host), ("a time", next(iter(case.stamps), "")),
                       ("the method", case.method)):  # fmt: skip
        if text:
            yield Key("other-text-as-secret", 4, text, f"It is {name}.")


@lru_cache(32)
def _of_pair(key: str, secret: str) -> tuple[Key, ...]:
    """List the keys that are made of a key pair alone."""
    return tuple(each._replace(key=encoded(each.key)) for each in _made_of_pair(key, secret))


def _made_of_pair(key: str, secret: str) -> Iterator[Key]:
    raw = encoded(secret)
    yield Key("key-as-secret", 1, key)
    yield Key("secret-empty", 1, "")
    yield Key("secret-trimmed", 1, secret.strip())
    yield Key("secret-trimmed", 3, secret.strip(" \t\r\n\"'\ufeff\0"))
    for mistake, grade, text in _BEHIND:
        yield Key(mistake, grade, secret + text)
    for mistake, grade, text in _BEFORE:
        yield Key(mistake, grade, text + secret)
    for space in (" ", "\n"):
        yield Key("secret-line-feed", 4, space + secret + space)
    yield from _recased(secret)
    yield from _decoded(secret)
    yield from _hashed(raw, "secret-hashed", "the secret", 0)
    yield from _encoded(secret, raw)
    for position, around in enumerate(_AROUND):
        before, _, after = around.partition(" ")
        yield Key("secret-quoted", 2 if position == 0 else 3 if position < 2 else 4, before + secret + after)
    yield from _joined(key, secret)
    yield from _cut(raw)
    for text in ("WebAppData", "tradernet", "Tradernet", "HMAC", "TN", "secret", "auth"):  # the first as in Telegram
        yield Key("secret-derived", 4, _mac(encoded(text), raw), f"It is the HMAC of the secret under {text!r}.")
    yield from (each._replace(mistake="key-as-secret", grade=4) for each in (
        *_recased(key), *_decoded(key), *_hashed(encoded(key), "key-as-secret", "the key", 1),
        Key("", 4, key + "\n"), Key("", 4, f"{key}&"), Key("", 4, encoded(key).hex()),
        Key("", 4, base64.b64encode(encoded(key)))))  # fmt: skip


def _recased(text: str) -> Iterator[Key]:
    for grade, changed in ((2, text.upper()), (2, text.lower()), (3, text.swapcase()), (3, text.capitalize()),
                           (4, text.title())):  # fmt: skip
        yield Key("secret-upper-cased", grade, changed)


def _decoded(text: str) -> Iterator[Key]:
    for mistake, grade, decoded in (
        ("secret-hex-decoded", 1, _from_hex(text)),
        ("secret-base64-decoded", 1, _from_base64(text)),
        ("secret-base64-decoded", 4, _from_base64(text[: len(text) // 4 * 4])),
        ("secret-hex-decoded", 4, _from_hex("".join(each for each in text if each in "0123456789abcdefABCDEF"))),
        ("secret-hex-decoded", 4, _from_hex(f"0{text}")),
    ):
        if decoded is not None:
            yield Key(mistake, grade, decoded)
            if grade == 1:
                yield Key(mistake, 4, encoded(decoded.decode("latin-1")), "Its bytes were taken for characters.")
                yield Key(mistake, 4, encoded(decoded.decode(ENCODING, "replace")), "Its bytes were read as text.")
                yield Key(mistake, 4, decoded[::-1], "The bytes are reversed.")


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _from_base64(text: str) -> bytes | None:
    # As Node and PHP do: what is not of the alphabet is passed over.
    kept = "".join(each for each in text.translate(str.maketrans("-_", "+/")) if each.isascii() and
                   (each.isalnum() or each in "+/"))  # fmt: skip
    kept = kept if len(kept) % 4 != 1 else kept[:-1]
    try:
        return base64.b64decode(kept + "=" * (-len(kept) % 4))
    except (binascii.Error, ValueError):
        return None


def _hashed(raw: bytes, mistake: str, what: str, more: int) -> Iterator[Key]:
    for name, grade in _HASHES:
        digest = hashlib.new(name, raw).digest()
        told = f"It is the {name.upper().replace('_', '-')} of {what},"
        usual = min(grade + more, 4)
        yield Key(mistake, usual, digest.hex(), f"{told} in hex.")
        yield Key(mistake, usual if name == "sha256" else min(usual + 1, 4), digest, f"{told} as bytes.")
        yield Key(mistake, min(usual + 1, 4), digest.hex().upper(), f"{told} in upper-case hex.")
        yield Key(mistake, min(usual + 1, 4), base64.b64encode(digest), f"{told} in base64.")
        for size in (16, 32) if not more else ():
            if len(digest) * 2 > size:
                yield Key(mistake, 4, digest.hex()[:size], f"{told} in hex, truncated.")
            if len(digest) > size:
                yield Key(mistake, 4, digest[:size], f"{told} as bytes, truncated.")
    if not more:
        twice = hashlib.sha256(hashlib.sha256(raw).digest()).digest()
        yield Key(mistake, 4, twice, "It was hashed twice.")
        yield Key(mistake, 4, twice.hex(), "It was hashed twice.")
        again = hashlib.sha256(hashlib.sha256(raw).hexdigest().encode()).digest()
        yield Key(mistake, 4, again, "It was hashed twice.")
        yield Key(mistake, 4, again.hex(), "It was hashed twice.")
        yield Key(mistake, 4, hashlib.md5(hashlib.md5(raw).hexdigest().encode()).hexdigest(), "It was hashed twice.")  # noqa: S324


def _encoded(secret: str, raw: bytes) -> Iterator[Key]:
    in_base64 = base64.b64encode(raw)
    for grade, changed, form in (
        (2, in_base64, "base64"), (3, raw.hex(), "hex"), (3, raw.hex().upper(), "upper-case hex"),
        (3, base64.urlsafe_b64encode(raw).rstrip(b"="), "base64 for URLs"), (3, in_base64.rstrip(b"="), "base64"),
        (4, base64.urlsafe_b64encode(raw), "base64 for URLs"), (3, in_base64 + b"\n", "base64 with a line feed"),
        (4, base64.b64encode(in_base64), "base64 twice"), (4, base64.b64encode(raw.hex().encode()), "base64 of hex"),
        (4, base64.b64encode(raw + b"\n"), "base64, with a line feed"), (4, in_base64.hex(), "hex of base64"),
        (4, base64.b32encode(raw), "base32"), (4, percent_encoded(secret), "percent escapes"),
        (4, unquote(secret, errors=ERRORS), "percent escapes, decoded"), (4, raw.hex().encode().hex(), "hex twice"),
        (3, secret.encode("utf-16-le", "surrogatepass"), "UTF-16"),
        (4, secret.encode("utf-16", "surrogatepass"), "UTF-16"),
        (4, secret.encode("utf-16-be", "surrogatepass"), "UTF-16"),
        (4, secret.encode("utf-32-le", "surrogatepass"), "UTF-32"), (4, "0x" + raw.hex(), "hex"),
        (4, secret.encode("latin-1", "replace"), "Latin-1"), (4, secret.encode("cp1251", "replace"), "Windows-1251"),
        (4, "".join(f"{byte:08b}" for byte in raw), "binary digits"), (4, str(int.from_bytes(raw, "big")), "a number"),
        (4, encoded(raw.decode("latin-1")), "UTF-8 twice"), (4, ",".join(map(str, raw)), "a list of bytes"),
        (4, str(list(raw)), "a list of bytes"), (4, raw.hex(" "), "hex in groups"), (4, raw.hex(":"), "hex in groups"),
        (4, _rot13(secret), "ROT13"),
    ):  # fmt: skip
        yield Key("secret-encoded", grade, changed, f"It was written in {form}.")
    for odd in "-_ :.":
        if odd in secret:
            yield Key("secret-cut", 4, secret.replace(odd, ""), f"{odd!r} was removed.")
    for old, new in (("-", "_"), ("_", "-"), ("+", " "), (" ", "+"), ("/", "_"), ("+", "-"), ("=", "")):
        if old in secret:
            yield Key("secret-encoded", 4, secret.replace(old, new), f"{old!r} was replaced by {new!r}.")


def _rot13(text: str) -> str:
    return "".join(chr((ord(c) - base + 13) % 26 + base) if (base := 97 if "a" <= c <= "z" else 65 if "A" <= c <= "Z"
                   else 0) else c for c in text)  # fmt: skip


def _joined(key: str, secret: str) -> Iterator[Key]:
    for position, between in enumerate(_BETWEEN):
        grade = 2 if position < 2 else 4
        yield Key("key-and-secret-joined", grade, key + between + secret)
        yield Key("key-and-secret-joined", min(grade, 3) if position < 2 else 4, secret + between + key)
    joined = encoded(key + secret)
    for both in (joined, encoded(secret + key), encoded(f"{key}:{secret}")):
        for name in ("sha256", "md5", "sha1"):
            digest = hashlib.new(name, both).digest()
            yield Key("key-and-secret-joined", 4, digest.hex(), "The two are hashed.")
            yield Key("key-and-secret-joined", 4, digest, "The two are hashed.")
    for grade, text in ((4, base64.b64encode(encoded(f"{key}:{secret}"))),
                        (4, f"Basic {base64.b64encode(encoded(f'{key}:{secret}')).decode()}")):  # fmt: skip
        yield Key("key-and-secret-joined", grade, text)


def _joined_with_more(case: Case) -> Iterator[Key]:
    secret, key, nonce = case.secret, case.key, case.nonce
    for grade, name, text in (
        (2, "the nonce", nonce), (4, "the command", case.command), (4, "the order id", case.order[1]),
        (4, "the path", case.path), (4, "the host", case.host), (4, "the method", case.method),
        *((4, "a time", stamp) for stamp in case.stamps), *((4, "a date", date) for date in case.dates),
    ):  # fmt: skip
        if text:
            for position, between in enumerate(_BETWEEN[:6]):
                told = f"It is {name}."
                yield Key("secret-with-more", grade if position == 0 else 4, secret + between + text, told)
                yield Key(
                    "secret-with-more", 3 if name == "the nonce" and not between else 4, text + between + secret, told
                )
    for text in (secret + nonce + key, secret + key + nonce, nonce + key + secret, key + nonce + secret,
                 nonce + secret + key, key + secret + nonce):  # fmt: skip
        yield Key("secret-with-more", 4, text, "It is key and nonce.")
    for text in (secret + nonce, nonce + secret):
        for name in ("sha256", "md5"):
            digest = hashlib.new(name, encoded(text)).digest()
            yield Key("secret-with-more", 4, digest.hex(), "It is the nonce, and both are hashed.")
            yield Key("secret-with-more", 4, digest, "It is the nonce, and both are hashed.")


def _cut(raw: bytes) -> Iterator[Key]:
    size = len(raw)
    for length in range(1, size):
        yield Key("secret-cut", 3 if length in (32, 64, size - 1, size // 2, 16) else 4, raw[:length])
        yield Key("secret-cut", 4, raw[length:])
    yield Key("secret-cut", 4, raw[::-1], "It is reversed.")
    yield Key("secret-cut", 4, raw * 2, "It is repeated.")
    yield Key("secret-cut", 4, raw[1:-1])
    for width in (16, 24, 32, 64):
        if size < width:
            for pad in (b" ", b"0", b"\x04", bytes([width - size])):
                yield Key("secret-with-more", 4, raw.ljust(width, pad), "It is padded.")
            yield Key("secret-with-more", 4, raw.rjust(width, b"0"), "It is padded.")
            yield Key("secret-with-more", 4, raw.rjust(width, b"\0"), "It is padded.")


def _derived(case: Case, raw: bytes) -> Iterator[Key]:
    known = {"nonce": case.nonce, "key": case.key, "cmd": case.command, "path": case.path, "host": case.host, "": "",
             "stamp": next(iter(case.stamps), ""), "method": case.method, "order": case.order[1]}  # fmt: skip
    for name, text in known.items():
        if text:
            yield Key(
                "secret-derived", 3 if name in ("nonce", "key") else 4, _mac(encoded(text), raw), "HMAC of the secret."
            )
            yield Key("secret-derived", 4, _mac(encoded(text), raw).hex(), "HMAC of the secret, in hex.")
    macs: dict[tuple[bytes, str], bytes] = {}
    for chain in _CHAINS:
        told = "The chain is " + " → ".join(step.lstrip("=") or "nothing" for step in chain) + "."
        for date in case.dates or ([""] if "date" not in chain else []):
            texts = [
                date if step == "date" else step[1:] if step[:1] == "=" else known.get(step, step) for step in chain
            ]
            for start in (
                (raw, b"AWS4" + raw)
                if "date" in chain or len(chain) > 1 or chain in (("nonce",), ("stamp",))
                else (raw,)
            ):
                mac = start
                for text in texts:
                    if (mac, text) not in macs:
                        macs[mac, text] = _mac(mac, encoded(text))
                    mac = macs[mac, text]
                yield Key("secret-derived", 3 if chain in (("nonce",), ("key",), ("cmd",)) else 4, mac, told)
                if len(chain) == 1:
                    yield Key("secret-derived", 4, mac.hex(), f"{told[:-1]}, in hex.")
            if "date" not in chain:
                break


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
