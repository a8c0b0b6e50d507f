"""The pytest plugin: options, fixtures, markers, a summary.

It is loaded in every project that has this package installed, so it imports nothing but pytest until it is used.
"""

from tn_contract.pytest_plugin.fixtures import (
    pytest_runtest_setup,
    tn_client,
    tn_mock,
    tn_mock_options,
    tn_new_session,
    tn_session,
)
from tn_contract.pytest_plugin.judging import (
    pytest_collection_finish,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    tn_client_result,
    tn_result,
)
from tn_contract.pytest_plugin.options import pytest_addoption

__all__ = [
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "tn_client",
    "tn_client_result",
    "tn_mock",
    "tn_mock_options",
    "tn_new_session",
    "tn_result",
    "tn_session",
]
