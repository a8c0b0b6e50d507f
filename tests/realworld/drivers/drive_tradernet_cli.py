"""tradernet-cli: raises TraderNetAPIError when the reply has a `code`, else hands back the HTTP response."""

from __future__ import annotations

from reporting import API_KEY, API_SECRET, BASE_URL, cancel_each
from tradernet_cli.tradernet_client import PublicApiClient, TraderNetAPIError

client = PublicApiClient(f"{BASE_URL}/api", API_KEY, API_SECRET)
cancel_each(lambda order_id: client.send_request("delTradeOrder", {"order_id": order_id}).json(), (TraderNetAPIError,))
