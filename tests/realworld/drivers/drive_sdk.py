"""tradernet-sdk, the vendor's own: `cancel` hands the decoded reply back, whatever it says.

It logs `errMsg` (and only that) as an error. Its class attribute DOMAIN says where it goes, always by https.
"""

from __future__ import annotations

import tradernet
from reporting import API_KEY, API_SECRET, cancel_each, https_host

# Since 2.0 the class is called Tradernet; before it was Trading.
Client = getattr(tradernet, "Tradernet", None) or tradernet.Trading
Client.DOMAIN = https_host()
cancel_each(Client(API_KEY, API_SECRET).cancel)
