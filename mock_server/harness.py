"""Replies of the mock itself, with a mark that the broker's replies do not have."""

from __future__ import annotations

import json

from tn_contract.contract.errors import JournalUnavailable, StateUnavailable
from tn_contract.contract.wire import COMMAND_PATH, COMMAND_PATH_V3, Reply
from tn_contract.record import http_reader
from tn_contract.record.http_reader import Refusal, broken, ends_early

HARNESS_STATUS = 599
HARNESS_HEADER = ("X-Tn-Mock", "harness-error")


def harness_error(reason: str, hint: str, status: int = HARNESS_STATUS) -> Reply:
    """Say what is wrong and what to do about it, in JSON."""
    body = json.dumps({"tn_mock": "harness-error", "reason": reason, "hint": hint}).encode()
    return Reply(status, (("Content-Type", "application/json"), HARNESS_HEADER), body)


def no_address(path: str) -> Reply:
    """Answer for a path that is neither v2's nor v3's, or a whole address: what came in plain text to a TLS port."""
    if path.startswith("http://"):
        return harness_error("this port speaks TLS only", "write https:// instead of http://", 400)
    hint = f"POST to {COMMAND_PATH}delTradeOrder, or with v3 to {COMMAND_PATH_V3}delTradeOrder"
    return harness_error(f"{path} is no address of the API", hint)


def refused(refusal: Refusal) -> Reply:
    """Answer bytes that are not a request."""
    return harness_error(refusal.reason, refusal.hint, refusal.status)


def failed(error: BaseException) -> Reply:
    """Answer for the mock's own fault."""
    return refused(broken(error))


def unavailable(error: StateUnavailable, *, begun: bool = False) -> Reply:
    """Answer when the mock cannot know what it accepted before: then it accepts nothing, unless it has `begun`."""
    if begun:
        return harness_error(str(error), "the command was begun, perhaps carried out: look at the order")
    return harness_error(str(error), "nothing was accepted; the nonce of this request may be used up")


def unrecorded(error: JournalUnavailable) -> Reply:
    """Answer when the journal on disk misses what was done."""
    return harness_error(str(error), "it was carried out all the same, only not recorded: look at the order")


TOO_LARGE = refused(http_reader.TOO_LARGE)
EARLY_END = refused(ends_early("body"))
