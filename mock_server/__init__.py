"""A mock of the Tradernet command `delTradeOrder`: a pure broker, and thin doors to reach it.

`create_app()` is the WSGI app; `tn-contract serve` and the pytest fixture `tn_mock` are the usual ways in.
"""

from __future__ import annotations

from typing import Any

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from mock_server.app import create_app

        return create_app
    raise AttributeError(f"module 'mock_server' has no attribute {name!r}")
