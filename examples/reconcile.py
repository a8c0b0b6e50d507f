"""Cancel one order and wait until its outcome is known. After a lost reply, look the order up; never cancel it again.

    TN_BASE_URL=… TN_API_KEY=… TN_API_SECRET=… python reconcile.py ORDER_ID

Exit codes: 0 cancelled, at least the part that was open; 1 not cancelled, a person decides; 2 not known yet; 64 wrong
usage, nothing was sent.
"""

import os, sys, time
from tn_contract import Client, NotSent, Order, OutcomeUnknown, Rejected

MAX_WAIT = float(os.environ.get("TN_PATIENCE", "60"))  # one recorded cancel took nine seconds, another two minutes
PAUSE = float(os.environ.get("TN_PAUSE", "1"))


def cancel(client: Client, order_id: int) -> str:
    """Cancel, and return what the reply says. The order's status decides, not this text."""
    try:
        client.cancel_order(order_id)
    except NotSent as error:
        return f"not sent: {error}"  # the one case in which sending again is safe
    except Rejected as error:
        return f"refused: {error.message}"  # perhaps because an earlier cancel succeeded
    except OutcomeUnknown as error:
        return f"unknown: {error.reason}"
    return "accepted"  # cancelling has begun, but is not finished


def look_up(client: Client, order_id: int, sent: bool) -> Order | None:
    """Find the order, and wait until the cancel has taken effect. Returns None if no list contains the order."""
    deadline = time.monotonic() + MAX_WAIT
    while True:
        try:  # all orders, because ended ones are not among the active ones
            found = next((order for order in client.orders(active_only=False) if order.order_id == order_id), None)
        except (NotSent, OutcomeUnknown):
            found = None  # a list changes nothing, so it can be requested again
        settled = found and found.status != 2 and (not sent or found.ended or found.status == 75)
        if settled or time.monotonic() > deadline:
            return found
        time.sleep(PAUSE)


def main(order_id: int) -> int:
    account = os.environ["TN_API_KEY"], os.environ["TN_API_SECRET"]
    with Client(*account, base_url=os.environ["TN_BASE_URL"]) as client:
        answer = cancel(client, order_id)
        order = look_up(client, order_id, sent=answer.startswith(("accepted", "unknown")))
    if order is None:
        print(f"{answer}; the order is in no list")
        return 2
    print(f"{answer}; status {order.status}, {order.meaning}, {order.remaining} of {order.quantity} left")
    if order.status in (30, 31):
        return 0
    if order.status == 2:
        return 2  # in progress: look again later, and do not cancel again
    return 1  # 75: the cancel failed, the order may be active; 21: too late; else nothing happened


if __name__ == "__main__":
    if len(sys.argv) != 2 or not {"TN_BASE_URL", "TN_API_KEY", "TN_API_SECRET"} <= os.environ.keys():
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    try:
        sys.exit(main(int(sys.argv[1])))
    except Rejected as error:  # the list was refused; the cancel before it may have succeeded
        print(f"the list was refused: {error}", file=sys.stderr)
        sys.exit(2)
