"""The rules that the rows of a slice batch must keep, whoever made them, and what the rows add up to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.arrays import I16, I64, U16, U32, U64, Int
from pghot.errors import PghotError
from pghot.jit import njit
from pghot.recording import format as fmt
from pghot.recording.batches import ROW_DTYPES
from pghot.recording.run_batch import RunBatch
from pghot.recording.trace import SliceBatch

PROBLEMS = (
    "",
    "a page outside the dense index space",
    "rows that do not ascend by page, node, process and thread",
    "more misses than touches",
    "more sequential, strided and dependent misses than misses",
    "more writes than touches",
    "a node that does not exist",
)


@njit(cache=True)
def first_problem(
    offsets: I64,
    page: U32,
    node: I16,
    process: U16,
    thread: U16,
    touches: U32,
    writes: U32,
    sequential: U32,
    strided: U32,
    dependent: U32,
    misses_by_cache: U32,
    pages: Int,
    nodes: Int,
    totals: U64,
) -> tuple[Int, Int]:
    """The first row that breaks a rule, and the rule's index in `PROBLEMS`; (-1, 0) when all hold.

    Arrays as in `SliceBatch`; `offsets` must be ascending from 0 to the number of rows.
    totals  uint64[5 + C]  the sums of touches, writes, the three patterns and the misses of each cache are added
    """
    caches = len(misses_by_cache)
    for s in range(len(offsets) - 1):
        page_before, rest_before = np.int64(-1), np.int64(-1)
        for i in range(offsets[s], offsets[s + 1]):
            if page[i] >= pages:
                return i, 1
            if node[i] < 0 or node[i] >= nodes:
                return i, 6
            rest = (np.int64(node[i]) << 32) | (np.int64(process[i]) << 16) | np.int64(thread[i])
            if page[i] < page_before or (page[i] == page_before and rest <= rest_before):
                return i, 2
            page_before, rest_before = np.int64(page[i]), rest
            for c in range(caches):
                if misses_by_cache[c, i] > touches[i]:
                    return i, 3
                totals[5 + c] += np.uint64(misses_by_cache[c, i])
            patterns = np.uint64(sequential[i]) + np.uint64(strided[i]) + np.uint64(dependent[i])
            if patterns > misses_by_cache[0, i]:
                return i, 4
            if writes[i] > touches[i]:
                return i, 5
            totals[0] += np.uint64(touches[i])
            totals[1] += np.uint64(writes[i])
            totals[2] += np.uint64(sequential[i])
            totals[3] += np.uint64(strided[i])
            totals[4] += np.uint64(dependent[i])
    return -1, 0


def check_batch(batch: SliceBatch, pages: int, nodes: int) -> U64:
    """What the rows add up to, as `first_problem` has it.

    Raises a `PghotError` that names the slice and the rule when a row breaks one, or the column that has another
    length or type than `SliceBatch` says.
    """
    _check_shapes(batch)
    caches = len(batch.misses_by_cache)
    totals = np.zeros(5 + caches, np.uint64)
    row, rule = first_problem(
        batch.offsets,
        batch.page,
        batch.node,
        batch.process,
        batch.thread,
        batch.touches,
        batch.writes,
        batch.sequential,
        batch.strided,
        batch.dependent,
        batch.misses_by_cache,
        pages,
        nodes,
        totals,
    )
    if row >= 0:
        inside = int(np.searchsorted(batch.offsets, row, side="right")) - 1
        raise PghotError(
            f"slice at {int(batch.start_ns[inside])} ns has {PROBLEMS[rule]} (page {int(batch.page[row])})",
            "correct the rows, and sort those of a slice by page, node, process and thread",
        )
    return totals


def check_runs(runs: RunBatch, pages: int, nodes: int) -> U64:
    """What the rows add up to, each as often as it has pages. Raises as `check_batch` does."""
    batch = runs.rows
    totals = check_batch(batch, pages, nodes)
    if not _is(runs.pages, np.uint32, (batch.rows,)):
        raise PghotError("the numbers of pages are not one of 32 bits for each row", "see `RunBatch`")
    if runs.all_rows == batch.rows and runs.pages.all():
        return totals
    end = batch.page.astype(np.int64) + runs.pages
    before = np.zeros(batch.rows, np.int64)
    before[1:] = end[:-1]
    before[batch.offsets[:-1][batch.offsets[:-1] < batch.rows]] = 0  # the first of a slice has none before it
    wrong = (runs.pages == 0) | (end > pages) | (batch.page < before)
    if wrong.any():
        raise PghotError(
            f"a run of {int(runs.pages[wrong][0])} pages from page {int(batch.page[wrong][0])} is empty, overlaps "
            "another, or leaves the dense index space",
            "correct the rows",
        )
    if runs.all_rows > fmt.MAX_ROWS:
        raise PghotError(
            f"runs of {runs.all_rows:,} pages, more than the {fmt.MAX_ROWS:,} rows of a batch", "cut it"
        )
    columns = (batch.touches, batch.writes, batch.sequential, batch.strided, batch.dependent)
    weight = runs.pages.astype(np.uint64)
    return np.array(
        [(column * weight).sum(dtype=np.uint64) for column in (*columns, *batch.misses_by_cache)], np.uint64
    )


def _check_shapes(batch: SliceBatch) -> None:
    offsets = batch.offsets
    if (
        len(offsets) != batch.slices + 1
        or len(batch.instructions) != batch.slices
        or offsets[0] != 0
        or offsets[-1] != batch.rows
        or (np.diff(offsets) < 0).any()
    ):
        raise PghotError(
            "the slice offsets do not ascend from 0 to the number of rows", "correct the offsets"
        )
    wrong = [
        name for name, dtype in ROW_DTYPES.items() if not _is(getattr(batch, name), dtype, (batch.rows,))
    ]
    by_cache = batch.misses_by_cache
    if not _is(by_cache, np.uint32, (len(by_cache), batch.rows)) or not np.array_equal(
        by_cache[0], batch.misses
    ):
        wrong.append("misses_by_cache")
    if wrong:
        raise PghotError(
            f"the columns {', '.join(wrong)} are not as long or of the type that they should be",
            "see `SliceBatch` for their shapes and dtypes",
        )
    if (batch.start_ns[1:] <= batch.start_ns[:-1]).any():
        raise PghotError("slices that do not ascend in time", "sort them by start_ns")


def _is(array: npt.NDArray[np.generic], dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape
