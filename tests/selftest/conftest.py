"""Key pairs for every server here, by the way that users give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .honest import PAIRS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all of this folder out of `make quick`, except what asks for it."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("quick") is None:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix, (key, secret) in zip(("", "_2"), PAIRS.items(), strict=True):
        monkeypatch.setenv(f"TN_API_KEY{suffix}", key)
        monkeypatch.setenv(f"TN_API_SECRET{suffix}", secret)
