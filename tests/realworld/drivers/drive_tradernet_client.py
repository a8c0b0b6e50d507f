"""tradernet-client: hands the decoded reply back, whatever it says. Its class attribute api_url says where it goes.

It sends prepared requests, so that requests reads no REQUESTS_CA_BUNDLE: the session's own setting counts.
"""

from __future__ import annotations

import os

from reporting import API_KEY, API_SECRET, BASE_URL, cancel_each
from tradernet_client import TraderNetAPIClient

TraderNetAPIClient.api_url = f"{BASE_URL}/api"
client = TraderNetAPIClient(secret_key=API_SECRET, public_key=API_KEY)
client._session.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)
cancel_each(lambda order_id: client.send_request("delTradeOrder", {"order_id": order_id}))
