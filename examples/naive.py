"""A client with typical mistakes, for the README: `tn-contract judge` finds them."""

import hashlib, hmac, json, os, time
import httpx

key, secret = os.environ["TN_API_KEY"], os.environ["TN_API_SECRET"]

for order_id in os.environ["TN_ORDER_IDS"].split(","):
    fields = {"apiKey": key, "cmd": "delTradeOrder", "nonce": str(int(time.time())), "params[order_id]": order_id}
    string = f"apiKey={key}&cmd=delTradeOrder&nonce={fields['nonce']}&params=order_id={order_id}"
    signature = hmac.new(secret.encode(), string.encode(), hashlib.sha256).hexdigest()
    try:
        reply = httpx.post(
            os.environ["TN_BASE_URL"] + "/api/v2/cmd/delTradeOrder",
            data=fields,
            headers={"X-NtApi-Sig": signature},
        )
        print(json.dumps({"outcome": "accepted" if reply.status_code == 200 else "rejected"}), flush=True)
    except httpx.HTTPError:
        print(json.dumps({"outcome": "rejected"}), flush=True)
