"""The reference client as a program for `tn-contract judge`: `python reference_program.py v2|v3 [async]`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Literal

from tn_contract import AsyncClient, Client, NotSent, OutcomeUnknown, Rejected
from tn_contract.transport import Timeouts

ENV = os.environ
SCHEME: Literal["v2", "v3"] = "v3" if "v3" in sys.argv else "v2"
PATIENCE = Timeouts(connect=3, send=3, receive=float(ENV["TN_TIMEOUT"]), total=float(ENV["TN_TIMEOUT"]))
PAIR = (ENV["TN_API_KEY"], ENV["TN_API_SECRET"])
OPTIONS: dict[str, Any] = {"base_url": ENV["TN_BASE_URL"], "timeouts": PATIENCE, "scheme": SCHEME}


def told(error: Exception) -> dict[str, Any]:
    match error:
        case Rejected():
            return {"outcome": "rejected", "kind": error.kind, "code": error.code}
        case NotSent():
            return {"outcome": "not-sent"}
        case OutcomeUnknown():
            return {"outcome": "unknown"}
    raise error


def report(order_id: str, outcome: dict[str, Any]) -> None:
    print(json.dumps({"order_id": order_id, **outcome}), flush=True)


def blocking() -> None:
    with Client(*PAIR, **OPTIONS) as client:
        for order_id in ENV["TN_ORDER_IDS"].split(","):
            try:
                client.cancel_order(int(order_id))
                report(order_id, {"outcome": "accepted"})
            except Exception as error:  # noqa: BLE001 # what is no outcome is raised again
                report(order_id, told(error))


async def waiting() -> None:
    async with AsyncClient(*PAIR, **OPTIONS) as client:
        for order_id in ENV["TN_ORDER_IDS"].split(","):
            try:
                await client.cancel_order(int(order_id))
                report(order_id, {"outcome": "accepted"})
            except Exception as error:  # noqa: BLE001 # what is no outcome is raised again
                report(order_id, told(error))


if __name__ == "__main__":
    if "async" in sys.argv:
        asyncio.run(waiting())
    else:
        blocking()
