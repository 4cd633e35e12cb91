"""docs/architecture.md against the code: the files and names that it sends a newcomer to are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pghot

SOURCE = Path(pghot.__file__).parent
DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
TEXT = DOCUMENT.read_text("utf-8")
ROW = re.compile(
    r"^\| (Where|When|Which|What|Who|How|In which)[^|]*\? \| `([\w/.]+)` \| `(\w+)` \|$", re.MULTILINE
)
TASKS = [(match[2], match[3]) for match in ROW.finditer(TEXT)]


def names_in(path: Path) -> set[str]:
    """What a module defines at its top level."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_there_are_twenty_tasks_or_more() -> None:
    assert len(TASKS) >= 20
    assert len({file for file, _ in TASKS}) == len(TASKS)  # one file each


@pytest.mark.parametrize("file, name", TASKS)
def test_the_file_that_a_question_leads_to_has_the_answer(file: str, name: str) -> None:
    assert name in names_in(SOURCE / file)


def test_every_file_that_is_named_exists() -> None:
    section = TEXT[: TEXT.index("## Settled decisions")]
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", section)) - {"policies/NAME.py", "sim/policies/NAME.py"}
    missing = [
        name
        for name in named
        if "NAME" not in name and not (SOURCE / name).exists() and not (DOCUMENT.parents[1] / name).exists()
    ]
    assert not missing


def test_every_room_has_a_row() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(re.findall(r"^\| `(\w+)/` \|", TEXT, re.MULTILINE))


def test_every_kernel_is_compiled_as_jit_says() -> None:
    """Whoever takes Numba's own decorator would compile what nobody calls."""
    direct = [
        path.name
        for path in SOURCE.rglob("*.py")
        if path.name != "jit.py"
        and re.search(r"from numba import .*\bnjit|numba\.njit", path.read_text("utf-8"))
    ]
    assert not direct
