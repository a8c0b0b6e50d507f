"""The unit and the container in examples/: what they name exists, and they keep what they promise."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from mock_server.broker import Broker
from mock_server.serve import running
from mock_server.workers import STOP_SECONDS
from tn_contract.cli.options import DEFAULT_PORT
from tn_contract.cli.root import main
from tn_contract.cli.serve import serve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
UNIT = (ROOT / "examples/tn-contract-mock.service").read_text("utf-8")
CONTAINER = (ROOT / "examples/Containerfile").read_text("utf-8").replace("\\\n", "")


def parsed(command: list[str], monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Let the command line itself read a command."""
    program, verb, *arguments = command
    assert program.rpartition("/")[2] == "tn-contract"
    assert main.get_command(click.Context(main), verb) is serve
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return serve.make_context(verb, arguments).params


def settings() -> dict[str, list[str]]:
    """What the unit sets, by name; a name may come more than once."""
    found: dict[str, list[str]] = {}
    for line in UNIT.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.+)$", CONTAINER, re.MULTILINE)


def test_the_units_command_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    [command] = settings()["ExecStart"]
    options = parsed(shlex.split(command), monkeypatch, TN_CONTROL_TOKEN="hidden")
    [folder] = settings()["StateDirectory"]
    assert options["state"] == f"sqlite:%S/{folder}/state.db"
    assert options["workers"] == 1, "several know no verdicts and no metrics"
    assert options["access_log"]
    assert options["port"] == DEFAULT_PORT
    assert options["control_token"] == "hidden"  # as the EnvironmentFile has it
    assert "TN_CONTROL_TOKEN" in UNIT


def test_the_unit_gives_workers_the_time_that_they_may_take() -> None:
    [seconds] = settings()["TimeoutStopSec"]
    assert int(seconds) > STOP_SECONDS
    assert settings()["KillMode"] == ["mixed"]
    assert settings()["Restart"] == ["on-failure"]
    told = subprocess.run([sys.executable, "-m", "tn_contract.cli", "serve", "--workers", "0"], capture_output=True)
    assert settings()["RestartPreventExitStatus"] == [str(told.returncode)]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_is_one_that_systemd_understands_and_holds_for_safe(tmp_path: Path) -> None:
    unit = tmp_path / "tn-contract-mock.service"
    unit.write_text(UNIT.replace("/opt/tn-contract/bin/tn-contract", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert unit.name not in verified.stderr, verified.stderr
    rated = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True)
    if rated.returncode == 0:  # older ones cannot
        exposure = re.search(r"Overall exposure level .*: ([0-9.]+)", rated.stdout)
        assert exposure
        assert float(exposure[1]) < 2, rated.stdout


def test_the_containers_command_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    [entry], [variable] = instructions("ENTRYPOINT"), instructions("ENV")
    name, _, value = variable.partition("=")
    options = parsed(json.loads(entry), monkeypatch, **{name: value})
    [folder], [port] = instructions("VOLUME"), instructions("EXPOSE")
    assert options["state"] == f"sqlite:{folder}/state.db"
    assert f"--home-dir {folder} " in CONTAINER
    assert options["workers"] == 1, "several know no verdicts and no metrics"
    assert options["access_log"]
    assert (options["host"], options["port"]) == ("0.0.0.0", int(port))
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_the_container_is_built_of_what_is_there_and_runs_as_nobody_in_particular() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extras in re.findall(r"\[([a-z,]+)\]'", CONTAINER):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for copied in instructions("COPY"):
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists(), source
    for version in re.findall(r"^FROM python:3\.([0-9]+)-slim", CONTAINER, re.MULTILINE):
        assert int(version) >= int(project["requires-python"].removeprefix(">=3."))
    [user] = instructions("USER")
    assert int(user) > 0
    assert f"--uid {user} " in CONTAINER


def test_the_container_is_healthy_only_while_its_state_can_be_asked(tmp_path: Path) -> None:
    [check] = instructions("HEALTHCHECK")
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"

    def healthy(port: str) -> bool:
        command = [sys.executable, *(each.replace(f":{DEFAULT_PORT}/", f":{port}/") for each in arguments)]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0

    state = tmp_path / "state.db"
    with running(Broker(state=f"sqlite:{state}"), token="hidden") as mock:
        port = mock.base_url.rpartition(":")[2]
        assert healthy(port)
        mock.broker.state.shut()
        state.unlink()
        assert not healthy(port)
    assert not healthy(port)
