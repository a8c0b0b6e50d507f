"""The shipped suite in a process of its own: what users run, and the exit codes that they see."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mock_server.broker import Broker
from mock_server.serve import running

from . import defects  # noqa: F401 # importing registers them
from .defect import broken
from .honest import Server, serving

Suite = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # From an empty folder, so that it is the installed suite and not this project's settings.
        command = [sys.executable, "-m", "pytest", "--pyargs", "tn_contract.suite", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(  # the command is ours
            [*command, *arguments], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=300
        )

    return run


def test_an_honest_server_is_0(suite: Suite) -> None:
    with serving(Server()) as url:
        run = suite("--tn-target", url)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_broken_server_is_1_and_named(suite: Suite) -> None:
    with serving(broken("compares-the-first-8-digits")) as url:
        run = suite("--tn-target", url, "--tn-check", "control", "--tn-check", "signature")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "signature/refuses-modified breaks clause signature-required" in run.stdout
    assert "selftest-secret-1" not in run.stdout + run.stderr


def test_a_server_that_refuses_everything_is_3(suite: Suite) -> None:
    with serving(broken("refuses-everything")) as url:
        run = suite("--tn-target", url)
    assert run.returncode == 3, run.stdout + run.stderr


def test_a_server_that_only_warns_is_1_when_strict(suite: Suite) -> None:
    with serving(broken("grants-no-origin")) as url:
        assert suite("--tn-target", url, "--tn-check", "request/answers-preflight", "--tn-strict").returncode == 1


def test_nobody_there_is_3(suite: Suite) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        run = suite("--tn-target", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert run.returncode == 3, run.stdout + run.stderr


def test_a_live_host_is_4_without_a_second_word(suite: Suite) -> None:
    run = suite("--tn-target", "https://tradernet.com")
    assert run.returncode == 4, run.stdout + run.stderr
    assert "known to be live" in run.stdout + run.stderr


def test_a_server_that_hangs_up_is_found_over_a_socket_too(suite: Suite) -> None:
    with serving(broken("hangs-up-on-a-bad-signature")) as url:
        run = suite("--tn-target", url, "--tn-check", "signature/refuses-absent*")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "no reply" in run.stdout


@pytest.mark.full
def test_a_mock_with_an_order_book_is_judged_with_orders_of_its_own(suite: Suite, tmp_path: Path) -> None:
    with running(Broker(orders="book")) as mock:
        run = suite("--tn-target", mock.base_url, "--tn-json", str(tmp_path / "report.json"))
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((tmp_path / "report.json").read_text("utf-8"))["checks"]
    # They would name orders of their choice, or spend several.
    assert {each["id"] for each in results if each["verdict"] == "skipped"} == {
        "request/keeps-long-order-ids",
        "request/keeps-63-bit-order-ids",
        "request/keeps-or-refuses-huge-order-ids",
        "signature/ignores-field-order-on-cancel",
        "signature/acts-on-signed-value",
        "signature/acts-on-signed-command",
        "nonce/accepted-once-in-a-race-on-cancel",
        "reply/echoes-own-order-in-a-race",
        "v3/takes-bytes-as-sent-on-cancel",
        "v3/keeps-long-order-ids",
        "v3/get-on-cancel",
        "v3/order-id-as-text",
        "signature/forgery-cancels-nothing",
        "v3/acts-on-signed-order",
        "v3/opens-session-cancels-nothing",
    }
