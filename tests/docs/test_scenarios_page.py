"""docs/scenarios.md describes the scenarios that the mock accepts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from mock_server.faults import Kind
from mock_server.scenario import Rule, read_scenario
from tests.docs.pages import blocks, read
from tn_contract.contract.corpus import load_corpus

PAGE = read("docs/scenarios.md")


def test_the_example_is_a_valid_scenario(tmp_path: Path) -> None:
    [example] = blocks("docs/scenarios.md", "toml")
    file = tmp_path / "storm.toml"
    file.write_text(example, "utf-8")
    assert len(read_scenario(file, load_corpus()).unused()) == 3


def test_the_table_lists_every_fault() -> None:
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|[^|]+\|[^|]*\|[^|]*\|$", PAGE, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall("`([a-z-]+)`", row)) == sorted(get_args(Kind))


def test_the_tables_list_every_member_of_a_rule() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    assert set(Rule.__struct_fields__) - {"name", "seconds", "after"} <= rows


def test_the_pytest_example_compiles() -> None:
    [example] = blocks("docs/scenarios.md", "python")
    compile(example, "docs/scenarios.md", "exec")
