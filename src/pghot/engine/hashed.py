"""The `hashed` store: records in a hash table keyed by page, hot ones in a max-heap per top-tier node.

The first design of pghot (v2, FACTS section 1). Record: bits 0-2 frequency · 3-12 accessing node (1023 =
unknown) · 13-31 time of the last access in ms. The kernel chains records in lists; here they are in one
open-addressing table. When the table is full, an access is dropped and counted. When a heap is full, the record
stays in the table and is tried again at the page's next access.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pghot.arrays import I16, I32, U8, U32, Bool, Int
from pghot.carry import Carry
from pghot.engine import heap
from pghot.engine.accesses import Accesses
from pghot.engine.ageing import Ageing
from pghot.engine.heap import POSITION
from pghot.engine.kpromoted import BATCH_NR, SLEEP_MS, pop_hottest
from pghot.engine.precise import NO_NODE, targets_by_nid
from pghot.engine.prefetch import AHEAD, prefetch
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates, hottest_first, no_candidates
from pghot.engine.table import HEAP, KEY, RECORD, HashedArrays, delete, find, home
from pghot.errors import UsageError
from pghot.jit import njit

WINDOW_MS = 5000
TIME_MASK = (1 << 19) - 1
MAX_FREQUENCY = 7
# Records of a full table on each of the published version's hash lists.
LIST_RECORDS = 1024
# Linear probing needs room: a full store fills its table to this share.
LOAD = 0.75

# Entries of the store's int64 totals.
LIVE, DROPPED, HEAP_FULL, PRUNED, CAPACITY, UNHEARD = range(6)


class Hotness(NamedTuple):
    """When a page counts as hot.

    window_ms  accesses further apart than this open a new window
    threshold  the frequency from which on a page is hot
    wraps      the frequency wraps to 0 after 7 (published) instead of staying there
    """

    window_ms: int
    threshold: int
    wraps: bool


class HashedStore:
    """About 21 bytes for each record that the table can hold, 8 for each place in a heap.

    list_steps  records that the reports so far would have walked past in the published version's hash lists;
                0 without "long-hash-lists"
    """

    name = "hashed"
    summary = "hash table and one max-heap for each top-tier node (pghot v2 and v3)"
    own_settings: tuple[str, ...] = ("table_share", "heap_share")
    sleep_ms = SLEEP_MS

    def __init__(self, settings: EngineSettings) -> None:
        self.window_ms = settings.window_ms or WINDOW_MS
        self.batch_nr = settings.batch_nr or BATCH_NR
        self._batch_pages = self.batch_nr / settings.group_pages
        self._granted = Carry()
        _check(settings, self.window_ms)
        capacity = max(1, int(settings.pages * settings.table_share))
        heap_entries = max(1, int(capacity * settings.heap_share))
        heap_of_node = {node: index for index, node in enumerate(settings.top_nodes)}
        self.arrays = HashedArrays(
            table=np.zeros((int(capacity / LOAD) + 2, 4), np.uint32),
            heaps=np.zeros((len(settings.top_nodes), heap_entries), np.int64),
            sizes=np.zeros(len(settings.top_nodes), np.int64),
            heap_of=np.array([heap_of_node[node] for node in targets_by_nid(settings).tolist()], np.int16),
            totals=np.array([0, 0, 0, 0, capacity, 0], np.int64),
        )
        wraps = "frequency-wrap" in settings.faithful
        self._hotness = Hotness(self.window_ms, settings.freq_threshold, wraps)
        self._top_nodes = np.array(settings.top_nodes, np.int16)
        self._expires = "never-expire" not in settings.faithful
        self._ageing = Ageing(self.window_ms, TIME_MASK, settings.prune_age)
        self._long_lists = "long-hash-lists" in settings.faithful
        self.list_steps = 0

    def record(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        """See `HotnessStore.record`."""
        self._prune(accesses.time_ms)
        self._ageing.recorded(accesses.time_ms)
        if self._long_lists:
            # On average a hit walks half of its list.
            totals = self.arrays.totals
            self.list_steps += len(accesses) * int(1 + LIST_RECORDS / 2 * totals[LIVE] / totals[CAPACITY])
        return int(
            record_hashed(
                accesses.page,
                accesses.node,
                accesses.count,
                place,
                eligible,
                self.arrays,
                self._hotness,
                accesses.time_ms & TIME_MASK,
                accesses.hint_fault,
            )
        )

    def take(self, now_ms: int, rounds: int) -> Candidates:
        """Up to `batch_nr` pages a round from each heap, divided by `group_pages`; hottest first."""
        self._prune(now_ms)
        limit = self._granted.whole(self._batch_pages * rounds)
        most = int(np.minimum(self.arrays.sizes, limit).sum())
        if most == 0:
            return no_candidates()
        page, record = np.empty(most, np.uint32), np.empty(most, np.uint32)
        heap_of = np.empty(most, np.int16)
        pop_hottest(self.arrays, limit, page, record, heap_of)
        self.arrays.totals[LIVE] -= most
        age = (now_ms - (record.astype(np.int64) >> 13)) & TIME_MASK
        candidates = Candidates(page, self._top_nodes[heap_of], age, record)
        return hottest_first(candidates, record & 7)

    def restore(self, candidates: Candidates, waiting: bool) -> None:
        """See `HotnessStore.restore`."""
        restore_hashed(candidates.page, candidates.record, waiting, self.arrays)

    def records_of(self, page: U32) -> U32:
        """See `HotnessStore.records_of`."""
        record = np.zeros(len(page), np.uint32)
        look_up(page, self.arrays.table, record)
        return record

    def frequency(self, record: U32) -> I32:
        """See `HotnessStore.frequency`."""
        return (record & 7).astype(np.int32)

    def forget(self, pages: U32) -> None:
        """See `HotnessStore.forget`."""
        forget_hashed(pages, self.arrays)

    def bytes_total(self) -> int:
        """Table and heaps."""
        return self.arrays.table.nbytes + self.arrays.heaps.nbytes

    def counters(self) -> dict[str, int]:
        """See `HotnessStore.counters`."""
        totals = self.arrays.totals
        return {
            "pghot_records_hash": int(totals[LIVE]),
            "pghot_records_heap": int(self.arrays.sizes.sum()),
            "pghot_dropped_accesses": int(totals[UNHEARD]),
            "pghot_records_dropped": int(totals[DROPPED]),
            "pghot_heap_full": int(totals[HEAP_FULL]),
            "pghot_records_pruned": int(totals[PRUNED]),
        }

    def _prune(self, now_ms: int) -> None:
        ageing = self._ageing
        if not self._expires or not ageing.overdue(now_ms):
            return
        limit = ageing.keep - (now_ms - ageing.stamp)
        prune_hashed(self.arrays, ageing.stamp & TIME_MASK, limit)
        ageing.swept(now_ms)


def _check(settings: EngineSettings, window_ms: int) -> None:
    if settings.freq_threshold > MAX_FREQUENCY:
        raise UsageError(
            f"freq_threshold {settings.freq_threshold} is out of the 'hashed' store's reach",
            f"give {MAX_FREQUENCY} at most: its frequency field ends there",
        )
    if window_ms >= TIME_MASK:
        raise UsageError(
            f"a window of {window_ms} ms does not fit the 'hashed' store's timestamps",
            f"choose less than {TIME_MASK} ms",
        )


@njit(cache=True)
def leave_heap(slot: int, arrays: HashedArrays) -> None:
    """Take the slot out of the heap that it is in, if any."""
    table, heaps, sizes = arrays.table, arrays.heaps, arrays.sizes
    position: Int = np.int64(table[slot, POSITION])
    if position:
        h = table[slot, HEAP]
        sizes[h] = heap.remove(heaps[h], sizes[h], position - 1, table)


@njit(cache=True)
def enter_heap(slot: int, h: int, frequency: int, arrays: HashedArrays) -> None:
    """Put the slot, which is in no heap, into heap `h`, unless that is full."""
    table, heaps, sizes = arrays.table, arrays.heaps, arrays.sizes
    if sizes[h] < heaps.shape[1]:
        table[slot, HEAP] = h
        sizes[h] = heap.push(heaps[h], sizes[h], slot, frequency, table)
    else:
        arrays.totals[HEAP_FULL] += 1


@njit(cache=True)
def settle(slot: int, h: int, frequency: int, threshold: int, arrays: HashedArrays) -> None:
    """Put the slot where a record with this target heap and frequency belongs."""
    table, heaps, sizes = arrays.table, arrays.heaps, arrays.sizes
    position: Int = np.int64(table[slot, POSITION])
    if position and table[slot, HEAP] == h and frequency >= threshold:
        if heaps[h, position - 1] >> 32 != frequency:
            heap.change(heaps[h], sizes[h], position - 1, frequency, table)
        return
    leave_heap(slot, arrays)
    if frequency >= threshold:
        enter_heap(slot, h, frequency, arrays)


@njit(cache=True)
def record_hashed(
    page: U32,
    node: I16,
    count: U32,
    place: U8,
    eligible: Bool,
    arrays: HashedArrays,
    hotness: Hotness,
    now: int,
    hint_fault: bool,
) -> int:
    """Enter accesses of eligible pages; return how many accesses those were.

    page, node, count  uint32[K], int16[K], uint32[K]; a node of -1 leaves the record's node as it is
    place              uint8[pages]   index into eligible, bool[256]
    now                kernel ms modulo 2**19
    hint_fault         time opens no new window
    """
    table, totals = arrays.table, arrays.totals
    window_ms, threshold, wraps = hotness
    saturated = -1 if wraps else MAX_FREQUENCY | now << 13
    recorded = 0
    last = page.shape[0] - 1
    for i in range(page.shape[0]):
        ahead: Int = np.int64(page[min(i + AHEAD, last)])
        prefetch(table, home(ahead, table.shape[0]))
        prefetch(place, ahead)
        p: Int = np.int64(page[i])
        nr: Int = np.int64(count[i])
        if nr == 0 or not eligible[place[p]]:
            continue
        nid: Int = np.int64(node[i])
        slot = find(table, p)
        old: Int = np.int64(table[slot, RECORD])
        in_heap = table[slot, POSITION] != 0
        # The hottest pages are saturated: within one millisecond nothing about them changes.
        if old == (saturated | nid << 3) and in_heap:
            recorded += nr
            continue
        frequency = old & 7
        if table[slot, KEY] == 0:
            if totals[LIVE] >= totals[CAPACITY]:
                totals[UNHEARD] += nr
                continue
            totals[LIVE] += 1
            table[slot, KEY] = p + 1
            frequency = 0
            if nid < 0:
                nid = NO_NODE
        else:
            known = (old >> 3) & NO_NODE
            late = not hint_fault and ((now - (old >> 13)) & TIME_MASK) > window_ms
            if nid < 0:
                nid = known
            if late or (nid != known and known != NO_NODE):
                frequency = 0
        recorded += nr
        frequency = (frequency + nr) & 7 if wraps else min(frequency + nr, MAX_FREQUENCY)
        new = frequency | nid << 3 | now << 13
        table[slot, RECORD] = new
        # A heap depends on frequency and node, not on the time.
        if in_heap != (frequency >= threshold) or (in_heap and (new ^ old) & ((1 << 13) - 1)):
            h: Int = np.int64(arrays.heap_of[nid])
            settle(slot, h, frequency, threshold, arrays)
    return recorded


@njit(cache=True)
def look_up(page: U32, table: U32, record: U32) -> None:
    """Write the record of each page that has one to `record`: uint32[K]."""
    for i in range(len(page)):
        slot = find(table, page[i])
        if table[slot, KEY]:
            record[i] = table[slot, RECORD]


@njit(cache=True)
def restore_hashed(page: U32, record: U32, waiting: bool, arrays: HashedArrays) -> None:
    """Insert taken records again, into their heap too when `waiting`. A page that has a record keeps it."""
    table, totals = arrays.table, arrays.totals
    for i in range(page.shape[0]):
        p: Int = np.int64(page[i])
        slot = find(table, p)
        if table[slot, KEY] != 0:
            continue
        if totals[LIVE] >= totals[CAPACITY]:
            totals[DROPPED] += 1
            continue
        totals[LIVE] += 1
        table[slot, KEY] = page[i] + 1
        table[slot, RECORD] = record[i]
        if waiting:
            old: Int = np.int64(record[i])
            h: Int = np.int64(arrays.heap_of[(old >> 3) & NO_NODE])
            enter_heap(slot, h, old & 7, arrays)


@njit(cache=True)
def forget_hashed(pages: U32, arrays: HashedArrays) -> None:
    """Delete the records of these pages where there are any."""
    table, totals = arrays.table, arrays.totals
    for i in range(pages.shape[0]):
        p: Int = np.int64(pages[i])
        slot = find(table, p)
        if table[slot, KEY] != 0:
            leave_heap(slot, arrays)
            delete(table, arrays.heaps, slot)
            totals[LIVE] -= 1


@njit(cache=True)
def prune_hashed(arrays: HashedArrays, stamp: int, limit: int) -> None:
    """Delete the records that were older than `limit` ms at time `stamp`; `totals[PRUNED]` counts them."""
    table, totals = arrays.table, arrays.totals
    for slot in range(table.shape[0]):
        # A deletion may shift the next entry into this slot: look again until one may stay.
        while table[slot, KEY] != 0 and ((stamp - (np.int64(table[slot, RECORD]) >> 13)) & TIME_MASK) > limit:
            leave_heap(slot, arrays)
            delete(table, arrays.heaps, slot)
            totals[LIVE] -= 1
            totals[PRUNED] += 1
