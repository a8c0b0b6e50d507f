"""Cancels orders as `tn-contract judge` asks for it: one JSON line for each order. Python's standard library only."""

import hashlib
import hmac
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments):
        return None  # a signed body goes nowhere else


BASE, KEY, SECRET = (os.environ[name] for name in ("TN_BASE_URL", "TN_API_KEY", "TN_API_SECRET"))
TIMEOUT = float(os.environ.get("TN_TIMEOUT", "10"))
OPENER = urllib.request.build_opener(NoRedirects)
last_nonce = 0


def next_nonce():
    global last_nonce  # never the same again, even if the clock steps back
    last_nonce = max(time.time_ns() // 100, last_nonce + 1)
    return str(last_nonce)


def send(order_id):
    fields = {"apiKey": KEY, "cmd": "delTradeOrder", "nonce": next_nonce()}
    string = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&params=order_id={order_id}"
    signature = hmac.new(SECRET.encode(), string.encode(), hashlib.sha256).hexdigest()
    body = urllib.parse.urlencode({**fields, "params[order_id]": order_id}).encode()
    request = urllib.request.Request(f"{BASE}/api/v2/cmd/delTradeOrder", body, {"X-NtApi-Sig": signature})
    try:
        with OPENER.open(request, timeout=TIMEOUT) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def judge(order_id, status, body):
    if status >= 500:
        return {"outcome": "unknown"}  # it broke, and may have acted first
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    failed = any(said.get(name) not in (None, "", "0", 0, False, [], {}) for name in ("errMsg", "error", "errorMsg"))
    if failed or status == 429:
        return {"outcome": "rejected", "code": said.get("code")}
    confirmed = said.get("order_id") == int(order_id) if "order_id" in said else type(said.get("result")) is int
    return {"outcome": "accepted" if 200 <= status < 300 and confirmed else "unknown"}


for order_id in os.environ["TN_ORDER_IDS"].split(","):
    try:
        outcome = judge(order_id, *send(order_id))
    except urllib.error.URLError as error:
        refused = isinstance(error.reason, ConnectionRefusedError)
        outcome = {"outcome": "not-sent" if refused else "unknown"}
    except (OSError, http.client.HTTPException):
        outcome = {"outcome": "unknown"}  # sent, and the reply was lost
    print(json.dumps(outcome), flush=True)
