"""Text from outside: how its files are read, and how it is shown.

The author of a request, a reply or a file chooses its characters. Shown raw, they could control a terminal (ESC, OSC),
reorder a line (bidi controls), or make two different names look alike (zero width, byte order mark).
"""

from __future__ import annotations

import codecs
import re

from tn_contract.contract.errors import UsageError

# Letters and marks by category, yet invisible: Unicode's default ignorable code points, and the blank Braille cell.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_IGNORABLE = re.compile(f"[{_INVISIBLE}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def escape(text: str, keep: str = "") -> str:
    r"""Write out every character that could not be seen, as `\n`, `\x1b`, `\u202e`; those in `keep` stay.

    Bytes that were not UTF-8 (surrogate escapes) are shown as `\xNN`. Printable text comes back unchanged.
    """
    if text.isprintable() and (text.isascii() or not _IGNORABLE.search(text)):
        return text
    return "".join(char if char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char.isprintable() and not _IGNORABLE.match(char):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was not UTF-8
    if code < 0x100:
        return _SHORT.get(char) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str, limit: int = 60) -> str:
    """Show a text in quotation marks, escaped, and cut after `limit` characters."""
    return f"'{escape(text[:limit])}{'…' if len(text) > limit else ''}'"


def utf8(content: bytes) -> bytes:
    """Return the UTF-8 bytes of a text file: without byte order mark, converted from UTF-16 or UTF-32.

    Windows tools write UTF-16 by default. What is in no Unicode encoding comes back as it is.
    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", _unmarked(content))
    )
    content = content[len(mark) :]
    if encoding == "utf-8":
        return content
    try:
        return content.decode(encoding).encode("utf-8")
    except UnicodeError:
        return content


def _unmarked(content: bytes) -> str:
    """Tell UTF-16 without a mark by the zero bytes that each ASCII character has there."""
    start = content[:64]
    if len(start) >= 4 and not len(content) % 2:
        if not any(start[1::2]) and all(start[::2]):
            return "utf-16-le"
        if not any(start[::2]) and all(start[1::2]):
            return "utf-16-be"
    return "utf-8"


def read_text(content: bytes, name: str) -> str:
    """Read a text file, whatever Unicode encoding and line ends it has. Raises `UsageError` that names the file."""
    try:
        text = utf8(content).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not a text file in UTF-8: byte {error.start} does not belong there") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
