"""The page's Python sample, line by line as written; where a line cannot run, the reason, and what replaces it.

Prints one JSON line for each statement: {"statement", "raised", "instead"}, and the outcome as any driver.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import requests
from reporting import API_KEY, API_SECRET, cancel_each, https_host

STATEMENTS = (
    "from tradernet import Trading, TraderNetCore",
    "config = TraderNetCore.from_config('tradernet.ini')",
    "trade = Trading.from_instance(config)",
    "result = order.cancel(order_id=28533222)",
)
# What lets the sample go on. A statement without one ends it.
INSTEAD = {
    STATEMENTS[2]: "trade = Trading(config.public, config._private)",
    STATEMENTS[3]: "result = trade.cancel(order_id=28533222)",
}


def main() -> None:
    # The page does not say what is in the file; these are the names that the SDKs read.
    pair, login = f"public = {API_KEY}\nprivate = {API_SECRET}\n", "login = nobody\npassword = none\n"
    Path("tradernet.ini").write_text(f"[auth]\n{pair}{login}[sid]\n{login}")
    names: dict[str, object] = {}

    def run(statement: str, order_id: int) -> None:
        exec(statement.replace("28533222", str(order_id)), names)

    for statement in STATEMENTS[:3]:
        attempt(run, statement)
        if statement == STATEMENTS[0]:
            names["TraderNetCore"].DOMAIN = https_host()  # type: ignore[attr-defined]
    first = int(os.environ["TN_ORDER_IDS"].partition(",")[0])
    attempt(run, STATEMENTS[3], first, go_on=False)
    cancel_each(lambda order_id: run(INSTEAD[STATEMENTS[3]], order_id))


def attempt(run, statement: str, order_id: int = 0, go_on: bool = True) -> None:  # type: ignore[no-untyped-def]
    raised = instead = ""
    try:
        run(statement, order_id)
    except requests.HTTPError as error:
        # Its own text would change from run to run, and holds the password that the SDK puts into the address.
        address = urlsplit(error.response.url)
        names = ", ".join(name for name, _ in parse_qsl(address.query))
        raised = f"HTTPError: {error.response.status_code} for {address.path}, in the address: {names}"
    except Exception as error:  # noqa: BLE001 # what a statement raises is what is asked
        raised = f"{type(error).__name__}: {error}"
    if raised:
        instead = INSTEAD.get(statement, "")
    print(json.dumps({"statement": statement, "raised": raised, "instead": instead}), flush=True)
    if instead and go_on:
        run(instead, order_id)


if __name__ == "__main__":
    main()
