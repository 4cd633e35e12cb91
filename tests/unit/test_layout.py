"""The shape of the source tree: no import goes round in a circle, and a module's name says which one is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import pghot

PACKAGE = Path(pghot.__file__).parent
Graph = dict[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Dotted name and file of each module below a package, itself included."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(package: Path) -> Graph:
    """The modules of the package that each of its modules imports, wherever the statement stands."""
    files = modules(package)
    graph: Graph = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                # `from a.b import c` means the module a.b.c where there is one, else a name in a.b.
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {each if each in files else node.module for each in inner}
    return graph


def rooms(graph: Mapping[str, Iterable[str]]) -> Graph:
    """The same between the top-level packages and modules; the root, which only opens them, is left out."""
    between: Graph = {}
    for name, targets in graph.items():
        if "." in name:
            room = name.split(".")[1]
            between.setdefault(room, set()).update(
                target.split(".")[1] for target in targets if "." in target
            )
            between[room].discard(room)
    return between


def circles(graph: Graph) -> list[str]:
    """The shortest way round from each node that is on a circle, one for each set of nodes."""
    found = {}
    for start in sorted(graph):
        before: dict[str, str] = {}
        queue = [start]
        while queue and start not in before:
            node = queue.pop(0)
            for target in sorted(graph[node]):
                if target not in before:
                    before[target] = node
                    queue.append(target)
        if start in before:
            way = [start]
            while before[way[0]] != start:
                way.insert(0, before[way[0]])
            found.setdefault(frozenset(way), " -> ".join([start, *way]))
    return list(found.values())


def test_a_circle_is_found_and_named(tmp_path: Path) -> None:
    """Through an import inside a function, and through one for types only; a chain is no circle."""
    root = tmp_path / "tree"
    for name, text in {
        "__init__": "from tree.one import a",
        "one/__init__": "",
        "one/a": "def f():\n    from tree.two import b",
        "two/__init__": "",
        "two/b": "if TYPE_CHECKING:\n    from tree.one.c import C",
        "one/c": "import tree.one.a",
        "three": "from tree.two.b import f",
    }.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = imports(root)
    assert circles(graph) == ["tree.one.a -> tree.two.b -> tree.one.c -> tree.one.a"]
    assert circles(rooms(graph)) == ["one -> two -> one"]
    assert rooms(graph)["three"] == {"two"}


def test_no_module_imports_itself_through_others() -> None:
    """Also not for types only: a reader meets the circle all the same."""
    found = circles(imports(PACKAGE))
    assert not found, "circles of imports:\n  " + "\n  ".join(found)


def test_no_room_imports_itself_through_others() -> None:
    found = circles(rooms(imports(PACKAGE)))
    assert not found, "circles of top-level packages:\n  " + "\n  ".join(found)


def may_share_a_name(places: list[str]) -> bool:
    """A verb and the module that does its work; a source of the lab and the live source of the same hardware."""
    folders = {str(Path(place).parent) for place in places}
    return len(places) == 2 and ("cli" in folders or folders == {"sim/sources", "live/sources"})


def test_a_module_has_its_name_to_itself() -> None:
    by_name = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        by_name[path.name].append(path.relative_to(PACKAGE).as_posix())
    del by_name["__init__.py"]
    shared = [places for places in by_name.values() if len(places) > 1 and not may_share_a_name(places)]
    assert not shared, f"modules of one name: {shared}"


@pytest.mark.parametrize(
    ("places", "may"),
    [
        (["cli/run.py", "live/run.py"], True),
        (["live/sources/ibs.py", "sim/sources/ibs.py"], True),
        (["cli/run.py", "live/run.py", "lab/run.py"], False),
        (["engine/settings.py", "live/settings.py"], False),
    ],
)
def test_who_may_share_a_name(places: list[str], may: bool) -> None:
    assert may_share_a_name(places) == may
