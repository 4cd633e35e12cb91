"""The `default` store: one byte for each page (pghot v4..v8, FACTS section 2).

Bits 0-1 frequency (at most 3) · 2-6 time in 128 ms buckets · 7 READY. No node: all pages go to `target_nid`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U32, Bool, Int
from pghot.engine.accesses import Accesses
from pghot.engine.packed import SECTION_SHIFT, PackedStore, Records
from pghot.engine.prefetch import AHEAD, prefetch
from pghot.engine.settings import EngineSettings
from pghot.jit import njit


class DefaultStore(PackedStore):
    """256 MiB for a TiB of 4 KiB pages."""

    name = "default"
    summary = "one byte a page: frequency to 3, time in 128 ms, no node (pghot v4 and later)"
    TIME_SHIFT = 2
    TIME_BITS = 5
    TICK_SHIFT = 7
    MAX_FREQUENCY = 3
    READY = 0x80
    WINDOW_MS = 3000

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings, np.zeros(settings.pages, np.uint8))
        self._target = settings.target_nid
        # 32 KiB for any number of pages: an update depends only on the time modulo 32 ticks.
        self._tables = [update_table(tick, self.window_ms, self._threshold) for tick in range(32)]

    def _update(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        table = self._tables[(accesses.time_ms >> self.TICK_SHIFT) & 31]
        return int(
            record_default(
                accesses.page, accesses.count, place, eligible, table, self.records, self.hot, self.held
            )
        )

    def _node(self, record: Records) -> npt.NDArray[np.int16]:
        return np.full(len(record), self._target, np.int16)

    def _frequency(self, record: Records) -> npt.NDArray[Any]:
        return record & 3


def update_table(tick: int, window_ms: int, threshold: int) -> U8:
    """The update of every possible record by every possible count at one time: uint8[1024], by count << 8 | record.

    A count of 0 keeps the record; a count of 3 stands for 3 or more.
    tick  kernel ms >> 7
    """
    old = np.arange(256, dtype=np.int64)
    count = np.arange(4, dtype=np.int64)[:, None]
    latency_ms = ((tick - (old >> 2)) & 31) << 7
    frequency = np.where(latency_ms > window_ms, count, np.minimum((old & 3) + count, 3))
    new = frequency | (tick & 31) << 2 | np.where(frequency >= threshold, 0x80, 0)
    new[0] = old
    return new.astype(np.uint8).ravel()


@njit(cache=True)
def record_default(
    page: U32, count: U32, place: U8, eligible: Bool, table: U8, records: U8, hot: U8, held: U8
) -> int:
    """Enter accesses of eligible pages through the table of their time; return how many accesses those were.

    page, count  uint32[K]
    place        uint8[pages]   index into eligible, bool[256]
    table        uint8[1024]  from `update_table`
    records      uint8[pages]
    hot          uint8[sections], set where a record is READY
    held         uint8[sections], set for each of the pages
    """
    # A source reports eligible and other pages in no order, so a branch on `eligible` would be mispredicted every
    # other time. Instead the count of other pages becomes 0, which keeps the record: three times as fast.
    # Integers, not bools: the compiler turns a product with a bool back into the branch.
    factor = eligible.astype(np.uint32)
    recorded = 0
    last = page.shape[0] - 1
    for i in range(page.shape[0]):
        ahead = page[min(i + AHEAD, last)]
        prefetch(records, ahead)
        prefetch(place, ahead)
        p = page[i]
        nr = count[i] * factor[place[p]]
        old: Int = np.int64(records[p])
        new = table[np.int64(min(nr, np.uint32(3))) << 8 | old]
        records[p] = new
        entered: Int = np.int64(nr)
        recorded += entered
        held[p >> SECTION_SHIFT] = 1  # whatever came of it: asking would cost more
        # Only where READY is new: otherwise the flag is set already, and it seldom is new.
        if new > old | 0x7F:
            hot[p >> SECTION_SHIFT] = 1
    return recorded
