"""Each file of the kernel is named once, in the module of pghot.kernel that is about it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import pghot

SOURCES = Path(pghot.__file__).parent


def paths_in(tree: ast.AST) -> Iterator[str]:
    """String literals below /proc or /sys that are no docstrings; what an f-string fills in is "{}"."""
    passed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(node.value)  # a docstring
        if isinstance(node, ast.JoinedStr):
            passed |= set(node.values)  # seen as a whole
    for node in ast.walk(tree):
        if node in passed:
            continue
        text = template(node)
        if text.startswith(("/proc", "/sys")):
            yield text


def template(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) if isinstance(part, ast.Constant) else "{}" for part in parts)
    return ""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""/proc/a"""\nx = "/proc/b"', ["/proc/b"]),
        ('x = f"/proc/{pid}/stat"', ["/proc/{}/stat"]),
        ('x = f"{NODES}/node"\ny = "no /sys here"', []),
    ],
)
def test_paths_are_found(source: str, found: list[str]) -> None:
    assert list(paths_in(ast.parse(source))) == found


def test_each_path_stands_once_and_in_pghot_kernel() -> None:
    found = Counter[str]()
    for file in sorted(SOURCES.rglob("*.py")):
        paths = list(paths_in(ast.parse(file.read_text())))
        if file.parent != SOURCES / "kernel":
            assert paths == [], f"{file}: belongs to pghot.kernel"
        found.update(paths)
    assert [path for path, times in found.items() if times > 1] == []
    assert len(found) > 30
