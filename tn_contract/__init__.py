"""Contract tests, a reference client and the pytest face for the Tradernet command `delTradeOrder`.

Names are imported when first used, so that a pytest run that merely has this package installed pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tn_contract.client import Accepted, AsyncClient, AuthInfo, Client
    from tn_contract.errors import CancelError, NotSent, OutcomeUnknown, Rejected, TnContractError
    from tn_contract.nonce import NonceSource
    from tn_contract.orders import Order
    from tn_contract.signing import Credentials, sign

__version__ = "0.1.0"

_HOMES = {
    "Accepted": "client",
    "AsyncClient": "client",
    "AuthInfo": "client",
    "Client": "client",
    "CancelError": "errors",
    "NotSent": "errors",
    "OutcomeUnknown": "errors",
    "Rejected": "errors",
    "TnContractError": "errors",
    "NonceSource": "nonce",
    "Order": "orders",
    "Credentials": "signing",
    "sign": "signing",
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
