"""Where measured figures stand: between two marks in a document of docs/, written anew by each run."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def put(document: str, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`."""
    path = DOCS / document
    before, opening, rest = path.read_text("utf-8").partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not closing:
        raise ValueError(f"{path} has no place for {name}")
    path.write_text(f"{before}{opening}{text.strip()}\n{closing}{after}", "utf-8")
    print(text)


def here() -> str:
    """Say on what and when something was measured."""
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
