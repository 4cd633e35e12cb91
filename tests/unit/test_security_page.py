"""docs/security.md: each line about an attacker names a test, and there is each test that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_test_that_the_page_names_is_there(path: str, name: str) -> None:
    assert name in functions(ROOT / path)


def test_each_line_about_an_attacker_names_a_test() -> None:
    tables = [block for block in re.split(r"\n\s*\n", TEXT) if block.startswith("| what it tries")]
    lines = [line for table in tables for line in table.splitlines()[2:]]
    assert len(tables) == 5
    assert [line for line in lines if not re.search(r"`tests/[\w/]+\.py::\w+`[^|]*\|$", line)] == []
    assert len(NAMED) >= len(lines)
