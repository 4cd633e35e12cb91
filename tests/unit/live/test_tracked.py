"""How much address space may be tracked: by the machine, or as told."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine_trees import Node, machine
from pghot.errors import UsageError
from pghot.live.live_settings import sections_for
from pghot.live.machine.nodes import LiveTopology, read_nodes


def of(tree: Path, gib: int) -> LiveTopology:
    """Two nodes of so many GiB together."""
    half = gib << 9
    return read_nodes(machine(tree, Node(0, "10 30", "0", half, 4), Node(1, "30 10", "", half, 45)))


@pytest.mark.parametrize(
    ("gib", "sections"),
    # A section is an eighth of a GiB. Twice 6,000 GiB are below 16 TiB, twice 10,240 are not.
    [(2, 64 * 8), (40, 2 * 40 * 8), (1024, 2 * 1024 * 8), (6000, 2 * 6000 * 8), (10_240, 131_071)],
)
def test_by_default_it_follows_the_memory(tmp_path: Path, gib: int, sections: int) -> None:
    assert sections_for(None, of(tmp_path, gib)) == sections


@pytest.mark.parametrize(("size", "sections"), [(1 << 30, 8), (1, 1), ((1 << 27) * 131_071, 131_071)])
def test_what_is_told_holds(tmp_path: Path, size: int, sections: int) -> None:
    assert sections_for(size, of(tmp_path, 1024)) == sections


def test_more_than_pages_have_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"16\.0 TiB cannot be tracked"):
        sections_for(1 << 44, of(tmp_path, 2))
