"""The published clients, and an environment for each: exact versions by hash, built once, then reused."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / ".build" / "realworld"
# The hosts that these clients have in their code: the mock answers in their names.
HOSTS = ("tradernet.com", "tradernet.ru", "freedom24.com")

JQUERY = "jquery@3.7.1"
JQUERY_SHA512 = "m4avr8yL8kmFN8psrbFFFmB/If14iN5o9nw/NgnnM+kybDJpRsAynV2BsfpTYrTRysYUdADVD7CkUUizgkpLfg=="


@dataclass(frozen=True)
class RealClient:
    """A client that somebody can install, the script that drives it, and how it is led to the mock."""

    id: str
    driver: str
    led_by: str
    package: str = ""

    def command(self) -> list[str]:
        """The command that drives it, its environment built if need be.

        Fails with one sentence when something that it needs is not there and cannot be had.
        """
        script = str(HERE / "drivers" / self.driver)
        with _alone():
            if self.package:
                return [str(_environment(self.package)), script]
            if self.driver.endswith(".php"):
                return [_php(), script]
            return [sys.executable, script, str(_jquery())]


_DOMAIN = "class attribute `DOMAIN = 'HOST:PORT'`, always https"
CLIENTS = {
    client.id: client
    for client in (
        RealClient("tradernet-sdk-0.4.4", "drive_sdk.py", _DOMAIN, "tradernet-sdk==0.4.4"),
        RealClient("tradernet-sdk-1.3.0", "drive_sdk.py", _DOMAIN, "tradernet-sdk==1.3.0"),
        RealClient("tradernet-sdk-2.2.0", "drive_sdk.py", _DOMAIN, "tradernet-sdk==2.2.0"),
        RealClient(
            "PublicApiClient-0.1.3.2", "drive_public_api_client.py", "`setApiUrl(base_url + '/api')`",
            "publicapiclient==0.1.3.2",
        ),
        RealClient(
            "tradernet-api-1.1.2", "drive_tradernet_api.py", "the tunnel: `https://tradernet.ru` is a constant",
            "tradernet-api==1.1.2",
        ),
        RealClient(
            "tradernet-cli-1.0.5", "drive_tradernet_cli.py", "argument `api_url`, `--api_url` of its command",
            "tradernet-cli==1.0.5",
        ),
        RealClient(
            "tradernet-client-0.7.0", "drive_tradernet_client.py",
            "class attribute `api_url`, and `_session.verify` for TLS", "tradernet-client==0.7.0",
        ),
        RealClient("php-documented-flow", "documented_flow.php", "its address is ours to choose"),
        RealClient("browser-sample", "drive_browser.py", "the tunnel, as `--proxy-server` of Chromium"),
    )
}  # fmt: skip
SAMPLES = {
    f"page-sample-{version}": RealClient(
        f"page-sample-{version}", "seed_sample.py", _DOMAIN, f"tradernet-sdk=={version}"
    )
    for version in ("0.4.4", "1.3.0", "2.2.0")
}


class NotAvailable(Exception):
    """Something that a client needs is not installed and cannot be had."""


@contextmanager
def _alone() -> Iterator[None]:
    """Let one test process at a time build what others need too."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment(package: str) -> Path:
    """The Python of a virtual environment that has this one client, and the libraries that all of them use."""
    libraries = _venv("libraries", (HERE / "libraries.txt").read_text("utf-8"))
    pins = re.split(r"\n(?! )", (HERE / "clients.txt").read_text("utf-8"))
    (pin,) = (pin for pin in pins if pin.startswith(f"{package} "))
    return _venv(package, pin, libraries)


def _venv(name: str, pins: str, shared: Path | None = None) -> Path:
    python = BUILD / name / "bin" / "python"
    stamp = BUILD / name / "pins.txt"
    if stamp.exists() and stamp.read_text("utf-8") == pins:
        return python
    shutil.rmtree(BUILD / name, ignore_errors=True)
    venv.create(BUILD / name, with_pip=shared is None, symlinks=True)
    pip = [shared or python, "-m", "pip"]
    if shared is not None:
        (packages,) = (BUILD / name / "lib").glob("python*/site-packages")
        (others,) = shared.parent.parent.glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(f"{others}\n")
        pip += ["--python", python]
    half = stamp.with_suffix(".half")
    half.write_text(pins, "utf-8")
    _run(
        [*pip, "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", half],
        f"{name} cannot be installed: it comes from the package index, so this needs the network once",
    )
    half.replace(stamp)  # last, so that what was broken off is built anew
    return python


def _php() -> str:
    php = shutil.which("php")
    if php is None or "curl" not in subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout:
        raise NotAvailable("PHP with its curl extension is not installed: apt-get install php-cli php-curl")
    return php


def _jquery() -> Path:
    file = BUILD / JQUERY / "jquery.min.js"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            raise NotAvailable("npm is not installed, and jquery comes from there: apt-get install npm")
        _run(
            [npm, "pack", "--silent", JQUERY],
            f"{JQUERY} cannot be fetched: it comes with npm, so this needs the network once",
            file.parent,
        )
        (packed,) = file.parent.glob("*.tgz")
        digest = hashlib.sha512(packed.read_bytes()).digest()
        if base64.b64encode(digest).decode() != JQUERY_SHA512:
            raise NotAvailable(f"what npm fetched as {JQUERY} is another file than the one that is pinned")
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/dist/jquery.min.js")
            assert member
            file.write_bytes(member.read())
    return file


def _run(command: list[str | Path], complaint: str, folder: Path | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=600, env=_own_environment()
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise NotAvailable(f"{complaint}\n{error.stderr}") from None


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("TN_", "PYTHON", "COVERAGE"))}
