"""Event sampling shared by the IBS and PEBS sources: which events of a slice are sampled, and what a full ring keeps.

In the program the events of all pages are mixed, so which of them a counter or a tag falls on is a matter of chance:
every event is sampled by itself, with the chance 1 / period. Rows come in the order of pages. Counting along them, as
a counter counts along time, would give a hot page its share of the samples in each slice without any scatter, so that
what a policy sees would depend on how long slices are.

The distance to the next sample is carried from slice to slice. Numbers come from a seeded generator of the sampler's
own, so the same seed gives the same samples.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pghot.jit import njit

_MULTIPLIER = 0x2545F4914F6CDD1D  # xorshift64*, Vigna 2016
_MASK = (1 << 64) - 1


@njit(cache=True)
def next_state(x: np.uint64) -> np.uint64:
    """The state of the xorshift64* generator after this one."""
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    return x


@njit(cache=True)
def unit_of(x: np.uint64) -> float:
    """The number in [0, 1) that the generator gives in this state."""
    return float((x * np.uint64(_MULTIPLIER)) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def next_unit(rng: npt.NDArray[np.uint64]) -> float:
    """The next number of the generator with state uint64[1]."""
    rng[0] = next_state(rng[0])
    return float(unit_of(rng[0]))


@njit(cache=True)
def _to_next(unit: float, per_event: float) -> float:
    """Events up to and including the next sample: geometric, from a number in [0, 1) and log(1 - 1 / period)."""
    return 1.0 + math.floor(math.log(1.0 - unit) / per_event)


@njit(cache=True)
def sample_events(
    events: npt.NDArray[np.uint32],
    unit_pages: float,
    per_event: float,
    rng: npt.NDArray[np.uint64],
    ahead: npt.NDArray[np.float64],
    out_row: npt.NDArray[np.int64],
    out_count: npt.NDArray[np.uint32],
) -> int:
    """Sample the events of each row; returns the number of rows hit. The out arrays get those rows and their samples.

    unit_pages   each event of a row stands for so many
    per_event    log(1 - 1 / period); -inf if each event is sampled
    rng          uint64[1], state of the generator
    ahead        float64[1], carried over: events up to and including the next sample
    """
    hit = 0
    state, wait = rng[0], ahead[0]  # in registers: of two arrays none may be the other
    for row in range(len(events)):
        left = events[row] * unit_pages
        count = 0
        while wait <= left:
            left -= wait
            count += 1
            state = next_state(state)
            wait = _to_next(unit_of(state), per_event)
        wait -= left
        if count:
            out_row[hit] = row
            out_count[hit] = count
            hit += 1
    rng[0], ahead[0] = state, wait
    return hit


class Sampler:
    """A seeded sampler of rows' events, with the carry between slices.

    unit_pages  pages whose samples are counted together: their events are alike, and each row stands for all of them
    """

    def __init__(self, period: int, seed: int, unit_pages: float = 1.0) -> None:
        self._unit_pages = unit_pages
        self._per_event = math.log(1.0 - 1.0 / period) if period > 1 else -math.inf
        mixed = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & _MASK
        self._rng = np.array([mixed or 1], np.uint64)
        for _ in range(8):  # the first numbers of seeds that are alike are alike too
            first = next_unit(self._rng)
        self._ahead = np.array([_to_next(first, self._per_event)], np.float64)

    def draw(self, events: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Rows hit (int64[H], ascending) and samples in each (uint32[H])."""
        row, count = np.empty(len(events), np.int64), np.empty(len(events), np.uint32)
        hit = sample_events(events, self._unit_pages, self._per_event, self._rng, self._ahead, row, count)
        return row[:hit], count[:hit]


def keep_evenly(
    row: npt.NDArray[np.int64], count: npt.NDArray[np.uint32], capacity: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """The `capacity` samples that a full ring keeps, evenly spread over all samples.

    Rows are in page order, but samples come in no such order: cutting off the tail would favour low addresses.
    """
    single = np.repeat(row, count)
    kept, times = np.unique(single[np.arange(capacity) * len(single) // capacity], return_counts=True)
    return kept, times.astype(np.uint32)
