"""Published clients do what was recorded. A difference is nobody's defect before it is explained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .clients import CLIENTS, SAMPLES, NotAvailable, RealClient
from .recording import SEEN, record, record_sample
from .verdicts import VERDICTS, Verdicts, differences, judge

EXPLAIN = "explain the change, then write it down with `make realworld-seen`"


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(SEEN.read_text("utf-8"))
    return recorded


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdicts]:
    recorded: dict[str, Verdicts] = json.loads(VERDICTS.read_text("utf-8"))
    return recorded


def ready(client: RealClient) -> RealClient:
    unavailable = ""
    try:
        client.command()
    except NotAvailable as reason:
        unavailable = str(reason)
    if unavailable:  # outside of the handler, for pytest would show the whole chain
        pytest.fail(unavailable, pytrace=False)
    return client


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sends_and_reports_what_was_recorded(name: str, seen: dict[str, Any]) -> None:
    assert record(ready(CLIENTS[name])) == seen["clients"][name], EXPLAIN


@pytest.mark.parametrize("name", CLIENTS)
def test_the_judge_finds_in_a_client_what_was_recorded(name: str, verdicts: dict[str, Verdicts]) -> None:
    found = differences(name, verdicts[name], judge(ready(CLIENTS[name])))
    if found:
        pytest.fail("\n".join([*found, EXPLAIN]), pytrace=False)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_pages_python_sample_gets_as_far_as_was_recorded(name: str, seen: dict[str, Any]) -> None:
    assert record_sample(ready(SAMPLES[name])) == seen["samples"][name], EXPLAIN


def test_everything_recorded_is_still_looked_at(seen: dict[str, Any]) -> None:
    assert (set(seen["clients"]), set(seen["samples"])) == (set(CLIENTS), set(SAMPLES))
