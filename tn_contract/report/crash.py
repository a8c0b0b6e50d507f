"""What to say about an exception that is a mistake of this kit, and not of a client or a server."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from itertools import pairwise

from tn_contract.contract.redaction import blank
from tn_contract.contract.signing import Secret

_USER = re.compile(r"//[^/@\s]*@")


def unexpected(error: BaseException) -> str:
    """One sentence that says what to do; with TN_DEBUG set (by `--debug`), the traceback too. Secrets are taken out."""
    told = f"unexpected {type(error).__name__}" + (f": {error}".rstrip(".") if str(error) else "")
    ours = not (isinstance(error, OSError) and (error.filename is not None or error.errno == errno.ENOSPC))
    if not ours and isinstance(error, OSError):
        told = f"{error.filename} cannot be used ({error.strerror})" if error.filename else str(error.strerror)
    if os.environ.get("TN_DEBUG"):
        told += "\n" + "".join(traceback.format_exception(error))
    elif ours:
        told += ". This is a bug of tn-contract: run it again with --debug (in pytest: TN_DEBUG=1) and report what "
        told += "it prints"
    return _USER.sub("//***@", blank(told, [Secret(value) for value in _secrets() if value]))


def _secrets() -> list[str]:
    words = sys.argv
    given = [value for option, value in pairwise(words) if option == "--control-token"]
    given += [word.partition("=")[2] for word in words if word.startswith("--control-token=")]
    return given + [value for name, value in os.environ.items() if re.fullmatch(r"TN_.*(SECRET|TOKEN).*", name)]
