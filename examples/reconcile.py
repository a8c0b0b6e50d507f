"""Cancels one order and does not stop before it knows what became of it. A lost reply is looked up, never sent again.

    TN_BASE_URL=… TN_API_KEY=… TN_API_SECRET=… python reconcile.py ORDER_ID

Exit code 0: cancelled, at least what was left of it; 1: not cancelled, a person decides; 2: not known yet; 64: wrong
usage, nothing was sent.
"""

import os, sys, time
from tn_contract import Client, NotSent, Order, OutcomeUnknown, Rejected

PATIENCE = float(os.environ.get("TN_PATIENCE", "60"))  # one recorded cancel took nine seconds, another two minutes
PAUSE = float(os.environ.get("TN_PAUSE", "1"))


def cancel(client: Client, order_id: int) -> str:
    """Cancel, and say how that went; whatever it says, the order's status has the last word."""
    try:
        client.cancel_order(order_id)
    except NotSent as error:
        return f"not sent: {error}"  # the one case in which sending again is safe
    except Rejected as refusal:
        return f"refused: {refusal.message}"  # perhaps because an earlier cancel got through
    except OutcomeUnknown as unknown:
        return f"unknown: {unknown.reason}"
    return "accepted"  # cancelling has begun, and no more


def look_up(client: Client, order_id: int, sent: bool) -> Order | None:
    """Find the order, and wait for what was sent to take effect; None when no list has it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:  # all orders: one that has ended is among the active ones no more
            found = next((order for order in client.orders(active_only=False) if order.order_id == order_id), None)
        except (NotSent, OutcomeUnknown):
            found = None  # a list changes nothing, so it may be asked for again
        settled = found and found.status != 2 and (not sent or found.ended or found.status == 75)
        if settled or time.monotonic() > deadline:
            return found
        time.sleep(PAUSE)


def main(order_id: int) -> int:
    account = os.environ["TN_API_KEY"], os.environ["TN_API_SECRET"]
    with Client(*account, base_url=os.environ["TN_BASE_URL"]) as client:
        told = cancel(client, order_id)
        order = look_up(client, order_id, sent=told.startswith(("accepted", "unknown")))
    if order is None:
        print(f"{told}; the order is in no list")
        return 2
    print(f"{told}; status {order.status}, {order.meaning}, {order.remaining} of {order.quantity} left")
    if order.status in (30, 31):
        return 0
    if order.status == 2:
        return 2  # still under way: look again later, and do not cancel again
    return 1  # 75: the cancel failed and the order may still work; 21: it came too late; else nothing was done


if __name__ == "__main__":
    if len(sys.argv) != 2 or not {"TN_BASE_URL", "TN_API_KEY", "TN_API_SECRET"} <= os.environ.keys():
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    try:
        sys.exit(main(int(sys.argv[1])))
    except Rejected as refusal:  # of the list: the cancel before it may have got through
        print(f"the list was refused: {refusal}", file=sys.stderr)
        sys.exit(2)
