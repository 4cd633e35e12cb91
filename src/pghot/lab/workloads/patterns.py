"""The access patterns: which pages a slice touches, and how often.

A *touch* is one visit to a cache line. Random patterns have no cache in front of them, so that each of their
touches is a miss of the last-level cache. A read-modify-write of one word is one touch; that its line goes
back to memory is what `write_share` says.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pghot.arrays import F64, Bool
from pghot.errors import UsageError
from pghot.lab.workloads import keys as p
from pghot.lab.workloads.rows import Draws, RandomField, Rows, merge_rows, random_rows, shift_rows
from pghot.lab.workloads.walks import StridedWalk
from pghot.recording.trace import Region
from pghot.units import format_size

# Where a workload's regions begin: any page-aligned address will do, this one is easy to recognise.
BASE_ADDRESS = 1 << 32


# A pattern keeps a few float64 for each page: this many fit into the memory of a workstation.
MAX_PAGES = 1 << 27


def page_count(size_bytes: int, page_bytes: int) -> int:
    """Pages that `size_bytes` need. Raises `UsageError` when they are too many to simulate."""
    pages = -(-size_bytes // page_bytes)
    if pages > MAX_PAGES:
        raise UsageError(
            f"{format_size(size_bytes)} are {pages} pages, more than {MAX_PAGES}",
            "take larger pages (page_bytes = '2 MiB') or a smaller footprint",
        )
    return pages


class AccessPattern(Protocol):
    """A pattern in the middle of a run: `draw` is called once for each slice, in order.

    pages  size of its dense index space
    mlp    misses that one core keeps in flight where they are not dependent
    """

    pages: int
    mlp: float

    def regions(self, name: str) -> list[Region]: ...

    def dependent(self) -> Bool:
        """bool[pages]: where each access needs the line that the one before loaded, so that one is in flight."""

    def chance(self) -> F64:
        """float64[pages]: how the touches of the first slices are spread, for the order of the
        initialisation."""

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        """The rows of the slice at `progress` (share of the run, 0..1) with about this many touches."""


class OneRegion:
    """What patterns over a single footprint have in common."""

    def __init__(self, parameters: p.PatternParameters, page_bytes: int) -> None:
        self.pages = page_count(parameters.footprint, page_bytes)
        self.mlp = parameters.mlp
        self._write_share = parameters.write_share

    def regions(self, name: str) -> list[Region]:
        return [Region(0, self.pages, 0, BASE_ADDRESS, name)]

    def dependent(self) -> Bool:
        return np.full(self.pages, self.mlp == 1)

    def chance(self) -> F64:
        return np.full(self.pages, 1 / self.pages)


class RandomPattern(OneRegion):
    """Independent accesses with a fixed chance for each page."""

    def __init__(self, parameters: p.PatternParameters, page_bytes: int) -> None:
        super().__init__(parameters, page_bytes)
        self._field = RandomField(self.chance())

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        page, touches = self._field.draw(accesses, draws)
        return random_rows(page, touches, self._write_share, draws)


class ZipfPattern(RandomPattern):
    def __init__(self, parameters: p.ZipfParameters, page_bytes: int, seed: int) -> None:
        self._alpha, self._seed = parameters.alpha, seed
        super().__init__(parameters, page_bytes)

    def chance(self) -> F64:
        weight = np.arange(1, self.pages + 1, dtype=np.float64) ** -self._alpha
        return np.random.default_rng(self._seed).permutation(weight / weight.sum())


class GupsPattern(OneRegion):
    """A hot set that may move."""

    def __init__(self, parameters: p.GupsParameters, page_bytes: int, seed: int) -> None:
        super().__init__(parameters, page_bytes)
        self._parameters = parameters
        self._choice = np.random.default_rng(seed)
        self._hot_pages = round(parameters.hot_share * self.pages)
        self._moves = sorted(parameters.moves_at)
        self._moved = 0
        self._hot = self._first_hot()
        self._field = RandomField(self.chance())

    def _first_hot(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        hot = np.zeros(self.pages, np.bool_)
        if self._parameters.scatter:
            hot[self._choice.choice(self.pages, self._hot_pages, replace=False)] = True
        else:
            start = int(self._choice.integers(0, self.pages - self._hot_pages + 1))
            hot[start : start + self._hot_pages] = True
        return hot

    def chance(self) -> F64:
        cold_pages = self.pages - self._hot_pages
        if not self._hot_pages or not cold_pages:
            return np.full(self.pages, 1 / self.pages)
        traffic = self._parameters.hot_traffic
        return np.where(self._hot, traffic / self._hot_pages, (1 - traffic) / cold_pages)

    def _move(self) -> None:
        """Cool part of the hot set, heat as many pages that were cold."""
        hot, cold = np.flatnonzero(self._hot), np.flatnonzero(~self._hot)
        if self._parameters.scatter:
            moving = min(round(self._parameters.move_share * len(hot)), len(cold))
            self._hot[self._choice.choice(hot, moving, replace=False)] = False
            self._hot[self._choice.choice(cold, moving, replace=False)] = True
        else:
            self._hot = np.roll(self._hot, round(self._parameters.move_share * len(hot)))
        self._field = RandomField(self.chance())

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        while self._moved < len(self._moves) and progress >= self._moves[self._moved]:
            self._move()
            self._moved += 1
        page, touches = self._field.draw(accesses, draws)
        return random_rows(page, touches, self._write_share, draws)


class SequentialPattern(OneRegion):
    def __init__(self, parameters: p.SequentialParameters, page_bytes: int) -> None:
        super().__init__(parameters, page_bytes)
        self._walk = StridedWalk(parameters.footprint, page_bytes, parameters.stride, parameters.write_share)

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        return self._walk.draw(accesses, draws)


class PhasesPattern:
    """Patterns in turn, in the same pages; `progress` counts from each phase's own beginning."""

    def __init__(self, parts: list[tuple[int, AccessPattern]]) -> None:
        self._parts = parts
        self.slices = sum(slices for slices, _ in parts)
        self.pages = max(pattern.pages for _, pattern in parts)
        self.mlp = self.slices / sum(slices / pattern.mlp for slices, pattern in parts)
        self._slice = 0

    def regions(self, name: str) -> list[Region]:
        return [Region(0, self.pages, 0, BASE_ADDRESS, name)]

    def dependent(self) -> Bool:
        """Nowhere: the phases use the same pages, and `mlp` is the mean of their times."""
        return np.zeros(self.pages, np.bool_)

    def chance(self) -> F64:
        first = self._parts[0][1].chance()
        return np.pad(first, (0, self.pages - len(first)))

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        at = self._slice % self.slices
        self._slice += 1
        for slices, pattern in self._parts:
            if at < slices:
                return pattern.draw(at / slices, accesses, draws)
            at -= slices
        raise AssertionError("a slice number below the sum of the phases lies in one of them")


class MixturePattern:
    """Tenants side by side, each with its share of the accesses and its own address space."""

    def __init__(self, tenants: list[tuple[str, float, AccessPattern]]) -> None:
        total = sum(weight for _, weight, _ in tenants)
        self._tenants = [(name, weight / total, pattern) for name, weight, pattern in tenants]
        self._first = np.cumsum([0, *(pattern.pages for _, _, pattern in tenants)]).tolist()
        self.pages = self._first[-1]
        others = [(share, pattern.mlp) for _, share, pattern in self._tenants if pattern.mlp != 1]
        self.mlp = (
            sum(share for share, _ in others) / sum(share / mlp for share, mlp in others) if others else 1.0
        )

    def regions(self, name: str) -> list[Region]:
        found = []
        for space, (tenant, _, pattern) in enumerate(self._tenants):
            found += [
                Region(part.first_page + self._first[space], part.pages, space, part.start_address, part.name)
                for part in pattern.regions(tenant)
            ]
        return found

    def dependent(self) -> Bool:
        return np.concatenate([pattern.dependent() for _, _, pattern in self._tenants])

    def chance(self) -> F64:
        return np.concatenate([share * pattern.chance() for _, share, pattern in self._tenants])

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        return merge_rows(
            [
                shift_rows(pattern.draw(progress, round(accesses * share), draws), first)
                for (_, share, pattern), first in zip(self._tenants, self._first, strict=False)
            ]
        )


def make_pattern(parameters: p.Pattern, page_bytes: int, seed: int) -> AccessPattern:
    """The pattern at the beginning of a run; the parts of a composite get seeds of their own."""
    match parameters:
        case p.GupsParameters():
            return GupsPattern(parameters, page_bytes, seed)
        case p.ZipfParameters():
            return ZipfPattern(parameters, page_bytes, seed)
        case p.SequentialParameters():
            return SequentialPattern(parameters, page_bytes)
        case p.PhasesParameters():
            return PhasesPattern(
                [
                    (phase.slices, make_pattern(phase.pattern, page_bytes, seed + i))
                    for i, phase in enumerate(parameters.phase)
                ]
            )
        case p.MixtureParameters():
            return MixturePattern(
                [
                    (tenant.name, tenant.weight, make_pattern(tenant.pattern, page_bytes, seed + i))
                    for i, tenant in enumerate(parameters.tenant)
                ]
            )
        case _:
            return RandomPattern(parameters, page_bytes)
