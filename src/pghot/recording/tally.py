"""What the slices of a recording add up to: a writer counts it and seals it, a reader counts it again and compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32, Int
from pghot.jit import njit
from pghot.recording.checks import check_runs
from pghot.recording.format import COUNTERS
from pghot.recording.run_batch import RunBatch

# The facts of a batch that `Tally.add` gives, but for `misses`, which has a number for each cache.
BATCH_COUNTS = (
    "number",
    "slices",
    "rows",
    "instructions",
    *COUNTERS,
    "footprint_pages",
    "first_ns",
    "last_ns",
)
# Those of them that add up over the batches.
SUMS = ("slices", "rows", "instructions", *COUNTERS)


@njit(cache=True)
def mark_touched(touched: npt.NDArray[np.uint8], page: U32, pages: U32) -> Int:
    """Set the flags of these runs of pages; returns how many were not set before."""
    fresh = 0
    for i in range(len(page)):
        if pages[i] == 1:
            if not touched[page[i]]:
                touched[page[i]] = 1
                fresh += 1
            continue
        own = touched[page[i] : page[i] + pages[i]]
        for at in range(len(own)):
            fresh += 1 - own[at]
        own[:] = 1
    return fresh


class Tally:
    """Totals over all batches so far.

    footprint_pages  distinct pages touched
    touched_end      one more than the last page touched
    """

    def __init__(self, caches: int, nodes: int) -> None:
        self.batches = 0
        self.totals = dict.fromkeys(SUMS, 0)
        self.misses = [0] * caches
        self.footprint_pages = 0
        self.touched_end = 0
        self._nodes = nodes
        self._touched = np.zeros(0, np.uint8)

    def add(self, runs: RunBatch, most_pages: int) -> dict[str, Any]:
        """Count a batch of rows as they are on disk; returns the facts that its header carries.

        Raises `PghotError` as `check_runs` does.
        """
        batch = runs.rows
        counters = check_runs(runs, most_pages, self._nodes).tolist()
        misses = counters[len(COUNTERS) :]
        sums = {
            "slices": batch.slices,
            "rows": runs.all_rows,
            "instructions": int(batch.instructions.sum(dtype=np.uint64)),
            **dict(zip(COUNTERS, counters, strict=False)),
        }
        self._mark(batch.page, runs.pages)
        number, self.batches = self.batches, self.batches + 1
        self.totals = {name: self.totals[name] + sums[name] for name in SUMS}
        self.misses = [before + more for before, more in zip(self.misses, misses, strict=True)]
        return {
            "number": number,
            **sums,
            "misses": misses,
            "footprint_pages": self.footprint_pages,
            "first_ns": int(batch.start_ns[0]),
            "last_ns": int(batch.start_ns[-1]),
        }

    def _mark(self, page: U32, pages: U32) -> None:
        end = int((page + pages).max(initial=1))  # checked: far from 2^32
        if end > len(self._touched):
            more = np.zeros(max(end, 2 * len(self._touched)) - len(self._touched), np.uint8)
            self._touched = np.concatenate([self._touched, more])
        self.footprint_pages += mark_touched(self._touched, page, pages)
        self.touched_end = max(self.touched_end, end if len(page) else 0)

    def facts(self) -> dict[str, Any]:
        """The totals by name, as the final facts carry them."""
        return {
            "batches": self.batches,
            **self.totals,
            "misses": self.misses,
            "footprint_pages": self.footprint_pages,
        }
