"""PublicApiClient, the vendor's first: hands back the HTTP response as it is, so its user calls `.json()`.

The page's flow, with one object: `getAuthInfo` opens the session, then the cancels. Its method setApiUrl says where.
"""

from __future__ import annotations

from functools import cache

from reporting import API_KEY, API_SECRET, BASE_URL, cancel_each
from TradernetPublicApiClient import PublicApiClient

client = PublicApiClient(API_KEY, API_SECRET, PublicApiClient.V2)
client.setApiUrl(f"{BASE_URL}/api")


@cache
def open_session() -> None:
    client.sendRequest("getAuthInfo")


def cancel(order_id: int) -> object:
    open_session()
    return client.sendRequest("delTradeOrder", {"order_id": order_id}).json()


cancel_each(cancel)
