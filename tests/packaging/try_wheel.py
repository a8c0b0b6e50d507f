"""Build the wheel from the sdist, install it in an empty environment, and use it from another folder."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path) -> None:
    print("$", *map(str, command), flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


def check_contents(wheel: Path) -> None:
    """Everything that must ship is there, and nothing that would collide with other packages."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"tn_contract", "mock_server"}, tops
    corpus = {str(path.relative_to(ROOT / "fixtures")) for path in (ROOT / "fixtures").rglob("*.json")}
    missing = {name for name in corpus if f"tn_contract/fixtures/{name}" not in names}
    assert not missing, f"not in the wheel: {sorted(missing)}"
    for name in ("tn_contract/py.typed", "mock_server/py.typed", "tn_contract/templates/report.html"):
        assert name in names, name


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", ROOT, cwd=work)
        (sdist,) = (work / "dist").glob("*.tar.gz")
        with tarfile.open(sdist) as packed:
            shipped = {name.split("/")[1] for name in packed.getnames() if name.count("/") > 1}
        assert {"docs", "examples", "fixtures", "tests"} <= shipped, shipped  # the tests need all of them
        (wheel,) = (work / "dist").glob("*.whl")
        check_contents(wheel)
        venv.create(work / "empty", with_pip=True)
        python = work / "empty" / "bin" / "python"
        # The locked versions, but only those that the wheel itself asks for.
        pins = work / "pins.txt"
        lines = (ROOT / "requirements.lock").read_text().splitlines()
        pins.write_text("\n".join(line.rstrip(" \\") for line in lines if line[:1].isalpha()))
        run(python, "-m", "pip", "install", "--quiet", "--constraint", pins, wheel, cwd=work)
        elsewhere = work / "elsewhere"
        elsewhere.mkdir()
        program = work / "empty" / "bin" / "tn-contract"
        run(program, "list", cwd=elsewhere)
        run(program, "verify", cwd=elsewhere)
        run(python, "-m", "pytest", "-q", "--pyargs", "tn_contract.suite", "--tn-check", "control", cwd=elsewhere)


if __name__ == "__main__":
    main()
