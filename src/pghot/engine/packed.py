"""What the two packed stores share: one small record for each page, in sections with a HOT flag.

Mirrors the design of pghot v4..v8 (FACTS section 2). A section is 32768 pages (128 MiB of 4 KiB pages); its
flag tells kmigrated that some record in it is READY. A second flag, that there may be records at all, keeps sweeps
from looking at the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I32, U8, U32, Bool
from pghot.engine.accesses import Accesses
from pghot.engine.ageing import Ageing
from pghot.engine.kmigrated import BATCH_NR, SLEEP_MS, take_ready
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates, hottest_first, no_candidates
from pghot.errors import UsageError
from pghot.jit import njit
from pghot.ties import order_from

SECTION_SHIFT = 15
Records = npt.NDArray[Any]


class PackedStore(ABC):
    """Records and sections. A subclass is a layout: its constants, its update and its decoding.

    TIME_SHIFT, TIME_BITS  where the time field is
    TICK_SHIFT             a tick of that field is 1 << TICK_SHIFT ms
    MAX_FREQUENCY          the frequency field saturates here
    READY                  the bit of a hot record
    """

    name: str
    own_settings: tuple[str, ...] = ()
    sleep_ms = SLEEP_MS
    batch_nr = BATCH_NR
    TIME_SHIFT: int
    TIME_BITS: int
    TICK_SHIFT: int
    MAX_FREQUENCY: int
    READY: int
    WINDOW_MS: int

    def __init__(self, settings: EngineSettings, records: Records) -> None:
        self.window_ms = settings.window_ms or self.WINDOW_MS
        self._settings = settings
        self._threshold = settings.freq_threshold
        self._aliases = "time-aliasing" in settings.faithful
        self._check()
        self.records = records
        self.hot = np.zeros((settings.pages >> SECTION_SHIFT) + 1, np.uint8)
        self._ageing = Ageing(
            self.window_ms >> self.TICK_SHIFT, (1 << self.TIME_BITS) - 1, settings.prune_age
        )
        self.held = np.zeros_like(self.hot)  # sections that may have records: a sweep looks at no others
        self._pruned = 0

    def _check(self) -> None:
        if self._threshold > self.MAX_FREQUENCY:
            raise UsageError(
                f"freq_threshold {self._threshold} is out of the '{self.name}' store's reach",
                f"give {self.MAX_FREQUENCY} at most: its frequency field ends there",
            )
        longest = ((1 << self.TIME_BITS) - 1) << self.TICK_SHIFT
        if self.window_ms >= longest and not self._aliases:
            raise UsageError(
                f"a window of {self.window_ms} ms does not fit the '{self.name}' store's timestamps",
                f"choose less than {longest} ms, or another store",
            )

    @abstractmethod
    def _update(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        """Enter the accesses; return how many those were."""

    @abstractmethod
    def _node(self, record: Records) -> npt.NDArray[np.int16]:
        """The target of each record."""

    @abstractmethod
    def _frequency(self, record: Records) -> npt.NDArray[Any]:
        """The frequency of each record."""

    def record(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        """See `HotnessStore.record`."""
        self._sweep(accesses.time_ms)
        self._ageing.recorded(accesses.time_ms >> self.TICK_SHIFT)
        return self._update(accesses, place, eligible)

    def take(self, now_ms: int, rounds: int) -> Candidates:
        """All READY records (a round of kmigrated has no limit), hottest first unless "address-order"."""
        self._sweep(now_ms)
        page, record = take_ready(self.records, self.hot, self.READY)
        if len(page) == 0:
            return no_candidates()
        if self._settings.first_page:
            order = order_from(page, self._settings.first_page)
            page, record = page[order], record[order]
        tick, mask = now_ms >> self.TICK_SHIFT, (1 << self.TIME_BITS) - 1
        age = ((tick - (record.astype(np.int64) >> self.TIME_SHIFT)) & mask) << self.TICK_SHIFT
        candidates = Candidates(page, self._node(record), age, record.astype(np.uint32))
        if "address-order" in self._settings.faithful:
            return candidates
        return hottest_first(candidates, self._frequency(record))

    def restore(self, candidates: Candidates, waiting: bool) -> None:
        """See `HotnessStore.restore`."""
        free = self.records[candidates.page] == 0
        page = candidates.page[free]
        record = candidates.record[free]
        self.records[page] = record if waiting else record & np.uint32(~self.READY & 0xFFFFFFFF)
        self.held[page >> SECTION_SHIFT] = 1
        if waiting:
            self.hot[page >> SECTION_SHIFT] = 1

    def records_of(self, page: U32) -> U32:
        """See `HotnessStore.records_of`."""
        return self.records[page].astype(np.uint32)

    def frequency(self, record: U32) -> I32:
        """See `HotnessStore.frequency`."""
        return self._frequency(record).astype(np.int32)

    def forget(self, pages: U32) -> None:
        """See `HotnessStore.forget`."""
        self.records[pages] = 0

    def bytes_total(self) -> int:
        """Records and section flags."""
        return int(self.records.nbytes + self.hot.nbytes + self.held.nbytes)

    def counters(self) -> dict[str, int]:
        """See `HotnessStore.counters`."""
        return {"pghot_records_pruned": self._pruned}

    def _sweep(self, now_ms: int) -> None:
        now = now_ms >> self.TICK_SHIFT
        ageing = self._ageing
        if self._aliases or not ageing.overdue(now):
            return
        mask = (1 << self.TIME_BITS) - 1
        # The age that is still allowed at the time of the latest record; below zero, everything is too old.
        limit = ageing.keep - (now - ageing.stamp)
        self._pruned += sweep_held(self.records, self.held, self.TIME_SHIFT, mask, ageing.stamp & mask, limit)
        ageing.swept(now)


@njit(cache=True)
def sweep_held(records: Records, held: U8, time_shift: int, mask: int, stamp: int, limit: int) -> int:
    """`sweep` the sections that have records; return how many were dropped.

    records  uint8[pages] or uint32[pages]
    held     uint8[sections]: sections without the flag have no records; those that have none any more lose it
    """
    dropped = 0
    for section in range(held.shape[0]):
        if held[section]:
            start = section << SECTION_SHIFT
            part = records[start : min(start + (1 << SECTION_SHIFT), records.shape[0])]
            dropped += sweep(part, time_shift, mask, stamp, limit)
            held[section] = part.any()
    return dropped


@njit(cache=True)
def sweep(records: Records, time_shift: int, mask: int, stamp: int, limit: int) -> int:
    """Zero the records that were older than `limit` ticks at time `stamp`; return how many those were.

    records  uint8[pages] or uint32[pages]
    """
    # Times are compared where they stand in a record, in its own width and without branches: so the compiler can take
    # many records in one instruction.
    kind = records.dtype.type
    field, now = kind(mask << time_shift), kind(stamp << time_shift)
    oldest, all_of_them = kind(max(0, min(limit, mask)) << time_shift), limit < 0
    dropped = 0
    for i in range(records.shape[0]):
        record = records[i]
        age = kind(kind(now - kind(record & field)) & field)
        old = (age > oldest) | all_of_them
        dropped += old & (record != 0)
        records[i] = kind(0) if old else record
    return dropped
