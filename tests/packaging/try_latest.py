"""Run the unit and contract tests with the newest versions of all dependencies, on each Python that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OLDEST = (3, 11)
TESTS = ["-n", "auto", "--dist", "worksteal", "--hypothesis-profile=tn-quick", "tests/unit", "tests/contract"]


def pythons() -> dict[tuple[int, int], Path]:
    """Find one interpreter for each minor version: on the PATH, or beside this one as pyenv keeps them."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path(sys.executable).resolve().parents[2].glob("*/bin"))
    found: dict[tuple[int, int], Path] = {(sys.version_info.major, sys.version_info.minor): Path(sys.executable)}
    for folder in folders:
        for path in folder.glob("python3.*") if folder.is_dir() else ():
            named = re.fullmatch(r"python3\.(\d+)", path.name)
            if named and (3, int(named[1])) >= OLDEST and works(path, int(named[1])):
                found.setdefault((3, int(named[1])), path)
    return dict(sorted(found.items()))


def works(python: Path, minor: int) -> bool:
    """Return whether it starts: a pyenv shim of a version that is not selected does not."""
    program = f"import sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return subprocess.run([python, "-c", program], capture_output=True, check=False).returncode == 0


def run(*command: str | Path) -> None:
    print("$", *map(str, command), flush=True)
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = ",".join(project["project"]["optional-dependencies"])
    needed = [each for each in project["dependency-groups"]["dev"] if not each.startswith(("ruff", "mypy", "types-"))]
    for version, python in pythons().items():
        folder = ROOT / ".build" / "latest" / ".".join(map(str, version))
        shutil.rmtree(folder, ignore_errors=True)
        run(python, "-m", "venv", folder)
        inside = folder / "bin" / "python"
        pip = (inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade")
        run(*pip, "pip")
        run(*pip, "--upgrade-strategy", "eager", "-e", f".[{extras}]", *needed)
        # What starts processes differs little from Python to Python and takes most of the time.
        left_out = "timed or full" if version == sys.version_info[:2] else "slow or timed or full"
        run(inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", f"not ({left_out})", *TESTS)


if __name__ == "__main__":
    main()
