"""tradernet-sdk's `cancel_all`: it lists what is active and cancels each by its `id`, also what is being cancelled."""

from __future__ import annotations

import json

import tradernet
from reporting import API_KEY, API_SECRET, https_host

Client = getattr(tradernet, "Tradernet", None) or tradernet.Trading
Client.DOMAIN = https_host()
print(json.dumps({"replies": Client(API_KEY, API_SECRET).cancel_all()}), flush=True)
