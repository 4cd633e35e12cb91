"""Slow, plain versions of the kernels of `pghot.recording.heat`."""

from __future__ import annotations

from pghot.arrays import I64, U32
from pghot.recording.totals import Counts


def add_cells_reference(
    offsets: I64, bins: I64, page: U32, amount: U32, row_of_page: U32, cells: Counts
) -> None:
    """`add_cells`, a slice at a time in Python's numbers."""
    for s, b in enumerate(bins.tolist()):
        for i in range(int(offsets[s]), int(offsets[s + 1])):
            row = int(row_of_page[page[i]])
            cells[b, row] = int(cells[b, row]) + int(amount[i])
