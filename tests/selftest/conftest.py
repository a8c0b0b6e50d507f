"""Key pairs for every server here, by the way that users give them."""

from __future__ import annotations

import pytest

from .honest import PAIRS


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix, (key, secret) in zip(("", "_2"), PAIRS.items(), strict=True):
        monkeypatch.setenv(f"TN_API_KEY{suffix}", key)
        monkeypatch.setenv(f"TN_API_SECRET{suffix}", secret)
