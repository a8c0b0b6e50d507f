"""tradernet-api: hands back the HTTP response as it is, so its user calls `.json()`.

Its address is a constant, https://tradernet.ru/api: only the tunnel in HTTPS_PROXY leads it to the mock.
"""

from __future__ import annotations

import os
import sys

from reporting import API_KEY, API_SECRET, cancel_each
from tradernet_api.api import API

if "HTTPS_PROXY" not in os.environ:
    sys.exit("this client goes to https://tradernet.ru: start the mock with --tls tradernet.ru and set its environment")
api = API(api_key=API_KEY, secret_key=API_SECRET)
cancel_each(lambda order_id: api.delete_order(order_id=order_id).json())
