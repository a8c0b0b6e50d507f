"""Contract tests, a reference client and the pytest face for the Tradernet command `delTradeOrder`.

Names are imported when first used, so that a pytest run that merely has this package installed pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tn_contract.client.client import Accepted, AsyncClient, AuthInfo, Client
    from tn_contract.contract.errors import CancelError, NotSent, OutcomeUnknown, Rejected, TnContractError
    from tn_contract.contract.nonce import NonceSource
    from tn_contract.contract.signing import Credentials, sign
    from tn_contract.record.orders import Order

__version__ = "0.1.0"

_HOMES = {
    "Accepted": "client.client",
    "AsyncClient": "client.client",
    "AuthInfo": "client.client",
    "Client": "client.client",
    "CancelError": "contract.errors",
    "NotSent": "contract.errors",
    "OutcomeUnknown": "contract.errors",
    "Rejected": "contract.errors",
    "TnContractError": "contract.errors",
    "NonceSource": "contract.nonce",
    "Order": "record.orders",
    "Credentials": "contract.signing",
    "sign": "contract.signing",
}

__all__ = [
    "Accepted",
    "AsyncClient",
    "AuthInfo",
    "CancelError",
    "Client",
    "Credentials",
    "NonceSource",
    "NotSent",
    "Order",
    "OutcomeUnknown",
    "Rejected",
    "TnContractError",
    "sign",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tn_contract' has no attribute {name!r}")
    return getattr(import_module(f"tn_contract.{_HOMES[name]}"), name)
