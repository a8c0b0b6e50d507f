"""The checks of clients as pytest tests: `pytest --pyargs tn_contract.client_suite --tn-exec CMD`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tn_contract.contract.errors import UsageError
from tn_contract.judge.client import catalogue
from tn_contract.pytest_plugin.judging import client_names, follow_verdict
from tn_contract.pytest_plugin.options import selected_checks

if TYPE_CHECKING:
    from tn_contract.judge.verdicts import Result


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each selected check and client."""
    try:
        names = client_names(metafunc.config)
    except UsageError:
        names = []  # to be told when everything is collected: here an exit would look like an interruption
    metafunc.parametrize(
        ("tn_agent", "tn_client_check_id"),
        [
            pytest.param(name, check.id, id=check.id if len(names) == 1 else f"{name}-{check.id}")
            for name in names
            for check in selected_checks(metafunc.config, catalogue())
        ],
    )


def test_client_check(tn_client_result: Result, pytestconfig: pytest.Config) -> None:
    """Let pytest's outcome follow the verdict."""
    follow_verdict(tn_client_result, strict=pytestconfig.getoption("tn_strict"))
