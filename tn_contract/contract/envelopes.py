"""The envelopes that a command travels in: who signs a request, over what, and what it asks for.

v2 puts everything into a form. v3 puts key and timestamp into headers, the command into the path, and the params
alone into a JSON body. What follows is common to both: see `validation.py`. v1 is recognised, and never carried out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, TypeAlias

from tn_contract.contract.corpus import Scheme
from tn_contract.contract.signing import ENCODING, ERRORS, canonical_string, canonical_string_v3
from tn_contract.contract.wire import (
    COMMAND_PATH_V3,
    FORM_TYPE,
    JSON_TYPE,
    PUBLIC_KEY_HEADER,
    TIMESTAMP_HEADER,
    Request,
    nest,
    parse_fields,
    read_body,
)


def _content_type(request: Request) -> str:
    given = request.header("Content-Type") or ""
    return given if given == FORM_TYPE else given.partition(";")[0].strip()


_PART = re.compile(rb'name="?([^"\r\n;]*)"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)\r?\n--', re.DOTALL)


def multipart_fields(body: bytes) -> list[tuple[str, str]]:
    """Read the names and values of a multipart body, for a diagnosis only."""
    return [(name.decode(ENCODING, ERRORS), value.decode(ENCODING, ERRORS)) for name, value in _PART.findall(body)]


def json_object(text: str | bytes) -> dict[str, object]:
    """Read a JSON object leniently, for a diagnosis only; empty for anything else."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {}


def holds_v1(request: Request) -> bool:
    """Return whether a request is in v1's envelope: `q` with JSON as a field or in the query, or that JSON alone."""
    places = [parse_fields(request.body), parse_fields(request.query.encode(ENCODING, ERRORS))]
    if b"form-data" in request.body:
        places.append(multipart_fields(request.body))
    if any(name == "q" and value.lstrip()[:1] == "{" for pairs in places for name, value in pairs):
        return True
    bare = request.path.rstrip("/") == COMMAND_PATH_V3.rstrip("/") and not request.header(TIMESTAMP_HEADER)
    return bare and request.body.lstrip()[:1] == b"{" and "cmd" in json_object(request.body)


class FormEnvelope:
    """v2: the form's fields `apiKey`, `cmd`, `nonce`, `params[...]`. Findings go into the `notes` given to it.

    `api_key` is None where there is none; `keyless` is the situation of such a request.
    """

    scheme: ClassVar[Scheme] = "v2"

    def __init__(self, request: Request, notes: list[str]) -> None:
        content_type = _content_type(request)
        is_form = content_type == FORM_TYPE or content_type.lower() == FORM_TYPE
        if not is_form:
            notes.append(f"Content-Type is {content_type or 'missing'}: only {FORM_TYPE} is read as a form")
        pairs = parse_fields(request.body) if is_form else []
        self.fields = nest(pairs)
        if len(dict(pairs)) != len(pairs):
            notes.append("a field was sent twice: the last one counts")
        if request.query:
            notes.append("the query string is ignored")
        api_key = self.fields["apiKey"] if "apiKey" in self.fields else request.header(PUBLIC_KEY_HEADER)
        self.api_key = api_key if isinstance(api_key, str) else None
        self.keyless = "key-missing" if is_form else "form"

    def string_to_sign(self) -> str:
        """The fields, sorted and raw."""
        return canonical_string(self.fields)

    def command(self) -> str | None:
        """The field `cmd`, which decides even where the path says otherwise."""
        command = self.fields.get("cmd")
        return command if isinstance(command, str) else None

    def params(self) -> Mapping[str, object] | None:
        """The map `params`."""
        params = self.fields.get("params")
        return params if isinstance(params, dict) else {}


class JsonEnvelope:
    """v3: key, timestamp and signature are headers; the body is the JSON of the params, or empty."""

    scheme: ClassVar[Scheme] = "v3"
    keyless = "key-missing"

    def __init__(self, request: Request, notes: list[str]) -> None:
        content_type = _content_type(request)
        if content_type.lower() != JSON_TYPE:
            # Not refused: nothing public tells whether the server looks at it.
            notes.append(f"Content-Type is {content_type or 'missing'}: {JSON_TYPE} is documented")
        if request.query:
            notes.append("the query string is ignored")
        self._request, self._notes = request, notes
        self.api_key = request.header(PUBLIC_KEY_HEADER)
        self.timestamp = request.header(TIMESTAMP_HEADER) or ""

    def string_to_sign(self) -> str:
        """The body as it came, then the timestamp as it came."""
        return canonical_string_v3(self._request.body, self.timestamp)

    def command(self) -> str | None:
        """What the path names."""
        return self._request.path.removeprefix(COMMAND_PATH_V3)

    def params(self) -> Mapping[str, object] | None:
        """The JSON object in the body; an empty body is none."""
        reading = read_body(self._request.body)
        if reading.form not in ("object", "empty"):
            return None
        if isinstance(reading.members.get("order_id"), str):
            self._notes.append("order_id is a text: a JSON number is documented")
        return reading.members


Envelope: TypeAlias = FormEnvelope | JsonEnvelope
