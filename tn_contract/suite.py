"""The checks as pytest tests: `pytest --pyargs tn_contract.suite --tn-target URL`. Test ids are check ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tn_contract.judge.server import catalogue
from tn_contract.pytest_plugin.judging import follow_verdict
from tn_contract.pytest_plugin.options import selected_checks

if TYPE_CHECKING:
    from tn_contract.judge.verdicts import Result


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each selected check."""
    checks = selected_checks(metafunc.config, catalogue())
    marks = {check.id: (pytest.mark.tn_check(check.id), pytest.mark.tn_effect(check.effect)) for check in checks}
    metafunc.parametrize(
        "tn_check_id", [pytest.param(check.id, id=check.id, marks=marks[check.id]) for check in checks]
    )


def test_check(tn_result: Result, pytestconfig: pytest.Config) -> None:
    """Let pytest's outcome follow the verdict; an error was raised during set-up already."""
    follow_verdict(tn_result, strict=pytestconfig.getoption("tn_strict"))
