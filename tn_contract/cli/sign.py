"""`tn-contract sign`: show every stage of a signature."""

from __future__ import annotations

import json
import os
import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from tn_contract.cli.options import DEFAULT_PORT, pair
from tn_contract.cli.output import say

if TYPE_CHECKING:
    from tn_contract.contract.signing import Secret
    from tn_contract.contract.wire import SignedRequest


@click.command(short_help="Show every stage of a signature.")
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--scheme", type=click.Choice(("v2", "v3")), default="v2", show_default=True, help="Form or JSON.")
@click.option("--command", "cmd", default="delTradeOrder", show_default=True, help="The command.")
@click.option("--key", envvar="TN_API_KEY", help="The public key (default: TN_API_KEY).")
@click.option("--nonce", help="v2: the field nonce (default: a fresh one of the documented unit).")
@click.option("--timestamp", help="v3: X-NtApi-Timestamp (default: the time in Unix seconds).")
@click.option("--param", metavar="NAME=VALUE", multiple=True, help="One of params, such as order_id=2929292929.")
@click.option(
    "--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Server for the curl command."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sign(
    file: Any,
    scheme: str,
    cmd: str,
    key: str | None,
    nonce: str | None,
    timestamp: str | None,
    param: tuple[str, ...],
    url: str,
    as_json: bool,
) -> None:
    """Show every stage of a signature, for people who write a client in another language.

    The secret comes from TN_API_SECRET only. With v2, FILE (- for standard input) holds the form's fields as a JSON
    object instead of the options, nested maps included; numbers in it are signed as their digits. With v3, FILE is
    the body, byte for byte; a --param of digits alone becomes a JSON number.
    """
    from tn_contract.contract.signing import Secret

    if not os.environ.get("TN_API_SECRET"):
        raise click.UsageError("set TN_API_SECRET: the secret is never an option, for process lists show those")
    if (nonce if scheme == "v3" else timestamp) is not None:
        raise click.UsageError("v2 signs a --nonce, v3 a --timestamp: choose the one of your --scheme")
    if not key and not (file and scheme == "v2"):
        raise click.UsageError("name the key with --key or TN_API_KEY (the mock's demo key is tn-demo-key)")
    secret, params = Secret(os.environ["TN_API_SECRET"]), dict(pair(text, "--param") for text in param)
    if scheme == "v3":
        signed = _sign_v3(file, str(key), secret, cmd, timestamp, params)
    else:
        signed = _sign_v2(file, str(key), secret, cmd, nonce, params)
    _show_stages(signed, url, as_json)


def _sign_v2(file: Any, key: str, secret: Secret, cmd: str, nonce: str | None, params: dict[str, str]) -> SignedRequest:
    from tn_contract.contract.nonce import NonceSource
    from tn_contract.contract.signing import sign as compute
    from tn_contract.contract.wire import SignedRequest, dress

    fields: dict[str, Any] = (
        _fields_from(file) if file else {"apiKey": key, "cmd": cmd, "nonce": nonce or str(NonceSource().next())}
    )
    if params and not file:
        fields["params"] = params
    computed = compute(fields, secret)
    request = dress(str(fields.get("cmd", cmd)), fields, computed.signature)
    return SignedRequest(fields, computed.string_to_sign, computed.signature, request)


def _sign_v3(
    file: Any, key: str, secret: Secret, cmd: str, timestamp: str | None, params: dict[str, str]
) -> SignedRequest:
    from tn_contract.contract.signing import Credentials
    from tn_contract.contract.wire import encode_json, sign_body

    typed = {name: int(value) if value.isascii() and value.isdigit() else value for name, value in params.items()}
    body = file.read() if file else encode_json(typed)
    return sign_body(Credentials(key, secret), cmd, timestamp or int(time.time()), body)


def _show_stages(signed: SignedRequest, url: str, as_json: bool) -> None:

    from tn_contract.contract.signing import legible
    from tn_contract.contract.text import escape
    from tn_contract.contract.wire import FORM_TYPE, SIGNATURE_HEADER

    request = signed.request
    body = request.body.decode("utf-8", "backslashreplace")
    # curl declares a form by itself.
    headers = [f"{name}: {value}" for name, value in request.headers if value != FORM_TYPE]
    curl = ["curl", url + request.path, *(part for header in headers for part in ("-H", header)), "--data-raw", body]
    stages = {
        "string_to_sign": legible(signed.string_to_sign),
        "signature": signed.signature,
        "method": request.method,
        "path": request.path,
        "headers": dict(request.headers),
        "body": body,
        "curl": shlex.join(curl),
    }
    if as_json:
        click.echo(json.dumps(stages, indent=2))
        return
    others = [header for header in headers if not header.startswith(f"{SIGNATURE_HEADER}:")]
    lines = [
        f"1 string to sign   {stages['string_to_sign']}",
        f"2 signature        {signed.signature}   (lower-case hex HMAC-SHA256 of 1 under the secret)",
        f"3 header           {SIGNATURE_HEADER}: {signed.signature}",
        *(f"                   {header}" for header in others),
        f"4 body             {body}",
        f"5 request          POST {request.path}",
        f"6 try it           {stages['curl']}",
    ]
    for line in lines:
        say(escape(line), wrap=False)  # to be copied


def _fields_from(file: Any) -> dict[str, Any]:
    from tn_contract.contract.text import utf8
    from tn_contract.contract.wire import read_body

    reading = read_body(utf8(file.read()))
    if reading.form != "object":
        raise click.UsageError(f'{file.name} holds no JSON object: write {{"apiKey": …, "cmd": …, "nonce": …}}')
    return reading.members
