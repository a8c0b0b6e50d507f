"""Reads cURL commands as browsers copy them ("copy as cURL", bash and cmd), and what `curl -v` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote_plus

from tn_contract.contract.errors import UsageError
from tn_contract.contract.wire import FORM_TYPE, JSON_TYPE
from tn_contract.record.recorded import Headers, Parts

_BASH = re.compile(
    r"""(?P<gap>(?:\s|\\\r?\n)+)|\$'(?P<ansi>(?:\\.|[^'\\])*)'|'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|"""
    r"""\\(?P<escaped>.)|(?P<plain>[^\s'"\\$]+|\$)""",
    re.DOTALL,
)
_ANSI = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|(.))", re.DOTALL)
_ANSI_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b", "E": "\x1b"}
_CMD = re.compile(r"""(?P<gap>\s+)|"(?P<double>(?:\\.|""|[^"\\])*)"|(?P<plain>[^\s"]+)""", re.DOTALL)

_DATA = {"-d", "--data", "--data-ascii", "--data-raw", "--data-binary", "--data-urlencode", "--json"}
_WITH_VALUE = {
    "-X", "--request", "-H", "--header", "--url", "-A", "--user-agent", "-b", "--cookie", "-e", "--referer", "-o",
    "--output", "-m", "--max-time", "--connect-timeout", "-x", "--proxy", "--cacert", "--cert", "-E", "--key", "-w",
    "--write-out", "--retry", "--resolve", "-u", "--user", "-c", "--cookie-jar", "-F", "--form", "-T", "--upload-file",
    "-D", "--dump-header", "--trace", "--trace-ascii", "--interface", "--limit-rate", *_DATA,
}  # fmt: skip


def is_curl(text: str) -> bool:
    """Return whether a text begins with a cURL command."""
    return re.match(r"\s*(?:\$ |> |[A-Za-z]:\\[^>\n]*>)?curl(?:\.exe)?\s", text) is not None


def read_curl(text: str) -> Iterator[Parts]:
    """Read every cURL command of a text. Raises `UsageError` for one that names no URL."""
    text = re.sub(r"^\s*(?:\$ |> |[A-Za-z]:\\[^>\n]*>)", "", text)
    words = _words_of_cmd(text) if re.search(r'\^\r?\n|\^"', text) else _words_of_bash(text)
    command: list[str] = []
    for word in [*words, ";"]:
        if word in (";", "&", "&&", "|"):
            if command:
                yield _parts(command)
            command = []
        else:
            command.append(word)


def _words_of_bash(text: str) -> list[str]:
    words, word, begun = [], "", False
    for found in _BASH.finditer(text):
        if found["gap"] is not None:
            if begun:
                words.append(word)
            word, begun = "", False
            continue
        begun = True
        if found["ansi"] is not None:
            word += _ANSI.sub(_ansi, found["ansi"])
        elif found["double"] is not None:
            word += re.sub(r'\\(\r?\n|["\\$`])', lambda each: each[1].strip("\r\n"), found["double"])
        else:
            word += found["single"] or found["escaped"] or found["plain"] or ""
    return [*words, word] if begun else words


def _ansi(found: re.Match[str]) -> str:
    if code := found[1] or found[2] or found[3]:
        return chr(min(int(code, 16), 0x10FFFF))
    return chr(int(found[4], 8) & 255) if found[4] else _ANSI_SHORT.get(found[5], found[5])


def _words_of_cmd(text: str) -> list[str]:
    text = re.sub(r"\^\r?\n(\r?\n)?", lambda end: "\n" if end[1] else " ", text)  # a line end is written as ^ and two
    if '^"' in text:
        text = re.sub(r"\^(.)", r"\1", text, flags=re.DOTALL)
    words, word, begun = [], "", False
    for found in _CMD.finditer(text):
        if found["gap"] is not None:
            if begun:
                words.append(word)
            word, begun = "", False
            continue
        begun = True
        quoted = found["double"]
        word += found["plain"] if quoted is None else re.sub(r'\\(["\\])|""', lambda each: each[1] or '"', quoted)
    return [*words, word] if begun else words


def _parts(words: list[str]) -> Parts:
    """Take a command's words as curl does."""
    headers: Headers = []
    method, url, data, whole, in_query = "", "", [], True, False
    rest = iter(words[1:])
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not equals and len(word) > 2 and word[0] == "-" and word[1] != "-" and word[:2] in _WITH_VALUE:
            option, value = word[:2], word[2:]  # -XPOST
        elif option in _WITH_VALUE and not equals:
            value = next(rest, "")
        match option:
            case "-X" | "--request":
                method = value
            case "-H" | "--header":
                name, colon, text = value.partition(":")
                if colon and text.strip():
                    headers.append((name.strip(), text.strip()))
                elif value.endswith(";"):
                    headers.append((value[:-1].strip(), ""))
            case "--url":
                url = value
            case "-A" | "--user-agent" | "-b" | "--cookie" | "-e" | "--referer":
                own = {"A": "User-Agent", "u": "User-Agent", "b": "Cookie", "c": "Cookie"}
                headers.append((own.get(option.lstrip("-")[0], "Referer"), value))
            case "-G" | "--get":
                in_query = True
            case "-I" | "--head":
                method = method or "HEAD"
            case "-F" | "--form" | "-T" | "--upload-file":
                whole, method = False, method or "POST"
            case _ if option in _DATA:
                whole = whole and not (value.startswith("@") and option != "--data-raw")
                data.append(_urlencoded(value) if option == "--data-urlencode" else value)
                if option == "--json" and not any(name.lower() == "content-type" for name, _ in headers):
                    headers.append(("Content-Type", JSON_TYPE))
            case _ if not word.startswith("-"):
                url = url or word
    if not url:
        raise UsageError("the curl command names no URL: copy it again, from its beginning to its end")
    body = "&".join(data)
    if in_query:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", ""
    elif data and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", FORM_TYPE))
    method = method or ("POST" if data and not in_query else "GET")
    return Parts(f"{method} {url} HTTP/1.1", headers, body.encode("utf-8", "surrogateescape"), whole)


def _urlencoded(value: str) -> str:
    name, equals, text = value.partition("=")
    return f"{name}{equals if name else ''}{quote_plus(text)}" if equals else quote_plus(value)


def is_verbose(text: str) -> bool:
    """Return whether a text is what `curl -v` or `curl --trace-ascii` prints."""
    return re.search(r"(?m)^(?:> [A-Z]+ \S+ HTTP/|=> Send header)", text) is not None


def read_verbose(text: str) -> Iterator[Parts]:
    """Read what `curl -v` (headers alone) or `curl --trace-ascii` (bodies too) prints."""
    if re.search(r"(?m)^=> Send header", text):
        yield from _traced(text)
        return
    for dump in re.split(r"(?m)^(?=> [A-Z]+ \S+ HTTP/)", text)[1:]:
        lines = [line[2:].strip() for line in dump.splitlines() if line.startswith("> ")]
        yield _head(lines, b"", whole=False)


def _traced(text: str) -> Iterator[Parts]:
    for exchange in re.split(r"(?m)^(?==> Send header)", text)[1:]:
        lines: list[str] = []
        body, where = "", "header"
        for line in exchange.splitlines():
            if section := re.match(r"(=>|<=|==) ?(Send (header|data))?", line):
                where = section[3] or ""
            elif piece := re.match(r"[0-9a-f]{4,}: ?(.*)", line):
                if where == "header" and piece[1]:
                    lines.append(piece[1])
                elif where == "data":
                    body += piece[1]
        yield _head(lines, body.encode("utf-8", "surrogateescape"), whole=True)


def _head(lines: list[str], body: bytes, *, whole: bool) -> Parts:
    pairs = [line.partition(":") for line in lines[1:] if ":" in line]
    return Parts(lines[0] if lines else "", [(name.strip(), value.strip()) for name, _, value in pairs], body, whole)


def read_fetch(text: str) -> Parts | None:
    """Read "copy as fetch", where its options are JSON; None for anything else."""
    found = re.match(r'\s*(?:await )?fetch\(\s*"([^"\n]+)"\s*,\s*(\{.*\})\s*\)\s*;?\s*$', text, re.DOTALL)
    try:
        options = json.loads(found[2]) if found else None
    except (ValueError, RecursionError):
        return None
    if not found or not isinstance(options, dict):
        return None
    headers = options.get("headers") if isinstance(options.get("headers"), dict) else {}
    body = options.get("body")
    pairs = [(str(name), str(value)) for name, value in (headers or {}).items()]
    line = f"{options.get('method', 'GET')} {found[1]} HTTP/1.1"
    return Parts(line, pairs, body.encode("utf-8", "surrogateescape") if isinstance(body, str) else b"")
