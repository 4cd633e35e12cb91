"""What a writer counts as it goes: the totals of the final facts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.recording.format import COUNTERS
from pghot.recording.trace import Region, SliceBatch


class Tally:
    """Totals over all slices so far.

    pages  size of the dense space: the end of the last region or of the last touched page
    """

    def __init__(self) -> None:
        self.slices = 0
        self.rows = 0
        self.pages = 0
        self._totals = dict.fromkeys(COUNTERS, 0)
        self._touched = np.zeros(0, np.bool_)

    def add(self, batch: SliceBatch, regions: Sequence[Region]) -> dict[str, int]:
        """Count a batch; returns its own summary, the facts that its header carries."""
        sums = {name: int(getattr(batch, name).sum(dtype=np.uint64)) for name in COUNTERS}
        ends = [region.first_page + region.pages for region in regions]
        self.pages = max([self.pages, *ends, int(batch.page.max(initial=0)) + 1 if batch.rows else 0])
        self.slices += batch.slices
        self.rows += batch.rows
        for name, value in sums.items():
            self._totals[name] += value
        self._mark(batch)
        return {
            "slices": batch.slices,
            "rows": batch.rows,
            **sums,
            "pages": self.pages,
            "first_ns": int(batch.start_ns[0]),
            "last_ns": int(batch.start_ns[-1]),
        }

    def _mark(self, batch: SliceBatch) -> None:
        top = int(batch.page.max(initial=0)) + 1
        if top > len(self._touched):
            self._touched = np.concatenate([self._touched, np.zeros(max(top, len(self._touched)), np.bool_)])
        self._touched[batch.page] = True

    def facts(self) -> dict[str, int]:
        """The totals by name, with `footprint_pages`: how many distinct pages were touched."""
        return {
            "slices": self.slices,
            "rows": self.rows,
            **self._totals,
            "pages": self.pages,
            "footprint_pages": int(np.count_nonzero(self._touched)),
        }
