"""Which regions a run has in the top tier: how much of each, and of its misses, lies there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.arrays import I64, NOWHERE, U16
from pghot.lab.epochs import Epoch
from pghot.recording.spans import spans_of
from pghot.recording.trace import Region
from pghot.sim.machine.simulated import SimulatedMachine

TOLD_APART = 20
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class RegionOnTop:
    """A region under one run.

    name             of all mappings of that name; `OTHERS` stands for those with fewest misses
    miss_share       of all misses, those that it has
    top_share        of its touched pages, those in the top tier at the end
    fast_miss_share  of its misses after the warm-up, those of pages that were in the top tier at the end of the epoch;
                     None: it has none
    """

    name: str
    miss_share: float
    top_share: float
    fast_miss_share: float | None


@dataclass(frozen=True, slots=True)
class RegionNames:
    """names: most misses first; of_page: uint16[pages], which of them; miss_share: of each."""

    names: tuple[str, ...]
    of_page: U16
    miss_share: tuple[float, ...]


def region_names(regions: Sequence[Region], misses: I64) -> RegionNames:
    """The names of a trace's regions, the first `TOLD_APART` of them told apart. misses: int64[pages]

    >>> found = region_names([Region(0, 2, 0, 4096, "[heap]"), Region(2, 1, 0, 16384, "[anon]")], np.array([0, 1, 3]))
    >>> found.names, found.of_page.tolist(), found.miss_share
    (('[anon]', '[heap]'), [1, 1, 0], (0.75, 0.25))
    """
    spans = spans_of(regions, len(misses))
    totals: dict[str, int] = {}
    for span in spans:
        own = int(misses[span.first_page : span.first_page + span.pages].sum())
        totals[span.name] = totals.get(span.name, 0) + own
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    named, left = ranked[:TOLD_APART], ranked[TOLD_APART:]
    of_page = np.zeros(len(misses), np.uint16)
    for span in spans:
        number = named.index(span.name) if span.name in named else TOLD_APART
        of_page[span.first_page : span.first_page + span.pages] = number
    counts = [totals[name] for name in named] + [sum(totals[name] for name in left)] * bool(left)
    total = max(1, sum(counts))
    return RegionNames(
        (*named, *([OTHERS] if left else [])), of_page, tuple(count / total for count in counts)
    )


class RegionsOnTop:
    """Counts during one run; the epochs before `first_epoch` are its warm-up."""

    def __init__(self, regions: RegionNames, machine: SimulatedMachine, first_epoch: int) -> None:
        self._regions, self._machine, self._first = regions, machine, first_epoch
        self._misses = np.zeros((2, len(regions.names)))  # all, and those in the top tier
        self._on_top = np.zeros(NOWHERE + 1, np.bool_)
        self._on_top[: len(machine.lower)] = ~machine.lower

    def end_epoch(self, number: int, epoch: Epoch) -> None:
        """What missed in the epoch that ends, where its pages are now."""
        if number < self._first:
            return
        region, many = self._regions.of_page[epoch.page], len(self._regions.names)
        served = epoch.misses * self._on_top[self._machine.place[epoch.page]]
        self._misses[0] += np.bincount(region, epoch.misses, many)
        self._misses[1] += np.bincount(region, served, many)

    def result(self) -> tuple[RegionOnTop, ...]:
        """Once the run is over; most misses first, without what was not touched."""
        place, many = self._machine.place, len(self._regions.names)
        there = place != NOWHERE
        pages = np.bincount(self._regions.of_page[there], minlength=many)
        top = np.bincount(self._regions.of_page[self._on_top[place]], minlength=many)
        return tuple(
            RegionOnTop(
                name,
                share,
                top_share=int(top[number]) / int(pages[number]),
                fast_miss_share=float(served / total) if total else None,
            )
            for number, (name, share, total, served) in enumerate(
                zip(self._regions.names, self._regions.miss_share, *self._misses, strict=True)
            )
            if pages[number]
        )


def mean_over_seeds(runs: Sequence[Sequence[RegionOnTop]]) -> tuple[RegionOnTop, ...]:
    """The means of each region over the runs that have it, in the order of the first run."""
    by_name: dict[str, list[RegionOnTop]] = {}
    for run in runs:
        for region in run:
            by_name.setdefault(region.name, []).append(region)
    return tuple(
        RegionOnTop(
            name,
            _mean([each.miss_share for each in same]),
            _mean([each.top_share for each in same]),
            _mean(known)
            if (known := [s for each in same if (s := each.fast_miss_share) is not None])
            else None,
        )
        for name, same in by_name.items()
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
