"""The rules that the rows of a slice batch must keep, whoever made them."""

from __future__ import annotations

import numpy as np
from numba import njit

from pghot.arrays import I16, I64, U32
from pghot.errors import PghotError
from pghot.recording.trace import SliceBatch

PROBLEMS = (
    "",
    "a page outside the dense index space",
    "rows that do not ascend by page and node",
    "more misses than touches",
    "more sequential misses than misses",
    "more writes than touches",
    "a node that does not exist",
)


@njit(cache=True)
def first_problem(
    offsets: I64,
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    pages: int,
    nodes: int,
) -> tuple[int, int]:
    """The first row that breaks a rule, and the rule's index in `PROBLEMS`; (-1, 0) when all hold.

    Arrays as in `SliceBatch`; `offsets` must be ascending from 0 to the number of rows.
    """
    for s in range(len(offsets) - 1):
        before = np.int64(-1)
        for i in range(offsets[s], offsets[s + 1]):
            if page[i] >= pages:
                return i, 1
            if node[i] < 0 or node[i] >= nodes:
                return i, 6
            key = (np.int64(page[i]) << 16) | np.int64(node[i])
            if key <= before:
                return i, 2
            before = key
            if misses[i] > touches[i]:
                return i, 3
            if sequential[i] > misses[i]:
                return i, 4
            if writes[i] > touches[i]:
                return i, 5
    return -1, 0


def check_batch(batch: SliceBatch, pages: int, nodes: int) -> None:
    """Raise a `PghotError` that names the slice and the rule when a row breaks one."""
    offsets = batch.offsets
    if (
        len(offsets) != batch.slices + 1
        or offsets[0] != 0
        or offsets[-1] != batch.rows
        or (np.diff(offsets) < 0).any()
    ):
        raise PghotError(
            "the slice offsets do not ascend from 0 to the number of rows", "correct the offsets"
        )
    row, rule = first_problem(
        offsets,
        batch.page,
        batch.touches,
        batch.misses,
        batch.sequential,
        batch.writes,
        batch.node,
        pages,
        nodes,
    )
    if row >= 0:
        inside = int(np.searchsorted(offsets, row, side="right")) - 1
        raise PghotError(
            f"slice at {int(batch.start_ns[inside])} ns has {PROBLEMS[rule]} (page {int(batch.page[row])})"
        )
