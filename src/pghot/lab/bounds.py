"""What a recency policy with free, instant moves would get: exact LRU and CLOCK page caches over a trace.

A page cache of the fast tier's size that fetches a page at every miss is a kind of bound for promotion by
recency: it reacts at once and pays nothing. It does not bound policies that know frequencies or the future.

CLOCK is FIFO with one reference bit: a hit sets the bit; the hand clears set bits, and evicts at the first
clear one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import U32
from pghot.errors import UsageError
from pghot.jit import njit
from pghot.recording.trace import Trace

_ABSENT, _RESIDENT, _REFERENCED = 0, 1, 2


@njit(cache=True)
def lru_feed(pages: U32, capacity: int, link: npt.NDArray[np.int32], used: npt.NDArray[np.int64]) -> int:
    """Run requests through an LRU cache of `capacity` pages; returns the misses.

    link  int32[n + 1, 2], carried over: newer and older neighbour of each resident page, -1 for an absent
          one; row n is the list's anchor: its older side is the newest page, its newer side the oldest
    used  int64[1], carried over: pages resident
    """
    anchor = len(link) - 1
    misses = 0
    for page in pages:
        newer, older = link[page, 0], link[page, 1]
        if newer == anchor:
            continue
        if newer >= 0:
            link[newer, 1] = older
            link[older, 0] = newer
        else:
            misses += 1
            if used[0] == capacity:
                oldest = link[anchor, 0]
                second = link[oldest, 0]
                link[anchor, 0] = second
                link[second, 1] = anchor
                link[oldest, 0] = -1
            else:
                used[0] += 1
        newest = link[anchor, 1]
        link[page, 0], link[page, 1] = anchor, newest
        link[newest, 0] = page
        link[anchor, 1] = page
    return misses


@njit(cache=True)
def clock_feed(
    pages: U32,
    state: npt.NDArray[np.uint8],
    ring: npt.NDArray[np.uint32],
    hand: npt.NDArray[np.int64],
) -> int:
    """Run requests through a CLOCK cache of `len(ring)` pages; returns the misses.

    state  uint8[n], carried over: absent, resident or referenced
    ring   uint32[capacity], carried over: the resident pages
    hand   int64[2], carried over: the hand's slot; slots filled so far
    """
    capacity = len(ring)
    misses = 0
    for page in pages:
        if state[page] != _ABSENT:
            state[page] = _REFERENCED
            continue
        misses += 1
        state[page] = _RESIDENT
        if hand[1] < capacity:
            ring[hand[1]] = page
            hand[1] += 1
            continue
        slot = hand[0]
        while state[ring[slot]] == _REFERENCED:
            state[ring[slot]] = _RESIDENT
            slot = slot + 1 if slot + 1 < capacity else 0
        state[ring[slot]] = _ABSENT
        ring[slot] = page
        hand[0] = slot + 1 if slot + 1 < capacity else 0
    return misses


class LruCache:
    """An LRU cache of pages 0..n-1 that is fed in parts."""

    def __init__(self, capacity: int, n: int) -> None:
        _check(capacity)
        self._capacity = capacity
        self._link = np.full((n + 1, 2), -1, np.int32)
        self._link[n] = n
        self._used = np.zeros(1, np.int64)

    def feed(self, pages: U32) -> int:
        """Misses of these requests."""
        return int(lru_feed(pages, self._capacity, self._link, self._used))


class ClockCache:
    """A CLOCK cache of pages 0..n-1 that is fed in parts."""

    def __init__(self, capacity: int, n: int) -> None:
        _check(capacity)
        self._state = np.zeros(n, np.uint8)
        self._ring = np.zeros(capacity, np.uint32)
        self._hand = np.zeros(2, np.int64)

    def feed(self, pages: U32) -> int:
        """Misses of these requests."""
        return int(clock_feed(pages, self._state, self._ring, self._hand))


def _check(capacity: int) -> None:
    if capacity < 1:
        raise UsageError(
            f"a page cache of {capacity} pages holds nothing", "give the fast tier at least one page"
        )


def lru_misses(pages: U32, capacity: int, n: int) -> int:
    """Misses of an LRU cache of `capacity` pages on the requests uint32[N], all below `n`."""
    return LruCache(capacity, n).feed(pages)


def clock_misses(pages: U32, capacity: int, n: int) -> int:
    """Misses of a CLOCK cache of `capacity` pages on the requests uint32[N], all below `n`."""
    return ClockCache(capacity, n).feed(pages)


@dataclass(frozen=True, slots=True)
class TraceBounds:
    """Misses of a page cache of `capacity_pages` pages, of `requests`. A page's first request is a miss too."""

    seed: int
    capacity_pages: int
    requests: int
    lru_misses: int
    clock_misses: int

    @property
    def lru_miss_ratio(self) -> float:
        return self.lru_misses / self.requests if self.requests else 0.0

    @property
    def clock_miss_ratio(self) -> float:
        return self.clock_misses / self.requests if self.requests else 0.0

    def to_dict(self) -> dict[str, float]:
        return {
            **asdict(self),
            "lru_miss_ratio": self.lru_miss_ratio,
            "clock_miss_ratio": self.clock_miss_ratio,
        }


def trace_bounds(trace: Trace, capacity_pages: int, seed: int = 0) -> TraceBounds:
    """LRU and CLOCK misses of a whole trace in a fast tier of `capacity_pages` pages.

    seed  of the trace, for the result to name

    The stream of requests: the last-level cache misses, the slices in order, in each the rows in page order,
    the misses of a row one after another. So at most the first of a row misses the fast tier, and 1 - the
    miss ratio compares with `fast_miss_share`.
    """
    lru, clock = LruCache(capacity_pages, trace.pages), ClockCache(capacity_pages, trace.pages)
    requests = lru_missed = clock_missed = 0
    for batch in trace.batches():
        requests += int(batch.misses.sum(dtype=np.int64))
        # Beyond the second request of a row nothing changes: the page is newest, its reference bit is set.
        stream = np.repeat(batch.page, np.minimum(batch.misses, 2))
        lru_missed += lru.feed(stream)
        clock_missed += clock.feed(stream)
    return TraceBounds(seed, capacity_pages, requests, lru_missed, clock_missed)
