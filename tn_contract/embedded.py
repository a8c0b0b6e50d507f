"""The one place where this package reaches for `mock_server`, a top-level name that might be somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tn_contract.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType


def load_mock() -> ModuleType:
    """Import `mock_server.serve`.

    Raises `UsageError` when another distribution's `mock_server` stands in its way.
    """
    try:
        from mock_server import serve
    except ImportError as error:
        raise UsageError(f"the mock cannot be imported ({error}): reinstall tn-contract") from error
    ours = Path(__file__).parent.parent / "mock_server" / "serve.py"
    if Path(str(serve.__file__)).resolve() != ours.resolve():
        raise UsageError(f"another package's mock_server is in the way: {serve.__file__}. Remove it, or rename it")
    return serve
