"""A client for `tn-contract judge`: cancels the orders in TN_ORDER_IDS and prints one JSON line for each."""

import hashlib, hmac, json, os, time
import httpx

url = os.environ["TN_BASE_URL"] + "/api/v2/cmd/delTradeOrder"
timeout = float(os.environ.get("TN_TIMEOUT", "10"))
nonce = 0


def judge(order_id, reply):
    if reply.status_code >= 500:
        return {"outcome": "unknown"}  # it failed, perhaps after the cancel
    try:
        said = reply.json()
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    failed = any(said.get(name) not in (None, "", "0", 0, [], {}) for name in ("errMsg", "error", "errorMsg"))
    if failed or reply.status_code == 429:
        return {"outcome": "rejected", "code": said.get("code")}
    confirmed = said["order_id"] == int(order_id) if "order_id" in said else type(said.get("result")) is int
    return {"outcome": "accepted" if reply.is_success and confirmed else "unknown"}


for order_id in os.environ["TN_ORDER_IDS"].split(","):
    nonce = max(time.time_ns() // 100, nonce + 1)  # always greater, even if the clock goes back
    fields = {"apiKey": os.environ["TN_API_KEY"], "cmd": "delTradeOrder", "nonce": str(nonce)}
    string = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&params=order_id={order_id}"
    signature = hmac.new(os.environ["TN_API_SECRET"].encode(), string.encode(), hashlib.sha256).hexdigest()
    try:  # httpx.post follows no redirect, keeps no cookie and never retries
        form = {**fields, "params[order_id]": order_id}
        outcome = judge(order_id, httpx.post(url, data=form, headers={"X-NtApi-Sig": signature}, timeout=timeout))
    except httpx.ConnectError:
        outcome = {"outcome": "not-sent"}
    except httpx.HTTPError:
        outcome = {"outcome": "unknown"}  # sent, but the reply was lost
    print(json.dumps(outcome), flush=True)
