"""The cells of docs/evidence.md and docs/outcomes.md as one packed file, which is under version control.

With it anyone renders the pages without computing the cells again, and a later run goes on where an earlier one, on
another machine, stopped.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from pathlib import Path

from kept_cells import Kept


def read_archive(path: Path) -> list[Kept]:
    """All cells in it; none where there is no such file."""
    if not path.exists():
        return []
    with lzma.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def write_archive(path: Path, cells: Iterable[Kept]) -> None:
    """Replace the file: a line for each cell, so that the same cells give the same bytes."""
    with lzma.open(path, "wt", preset=9) as file:
        for cell in cells:
            file.write(json.dumps(cell, sort_keys=True) + "\n")
