"""Equilibria-like promotion in plain Python: who is over its share is scanned less while the fast tier is short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

HOT_MS = 1_000


@dataclass
class EquilibriaReference:
    """The fast tier, from which nothing is demoted.

    tenant     the number of each page's
    fast       the pages on it
    free       pages that it has free, the one of its reserve among them
    watermark  with less free than this it is short
    sure       pages that each tenant is sure of
    least      the smallest part of the scan size
    draw       a number from 0 to 1 for each fault
    """

    tenant: Sequence[int]
    fast: set[int]
    free: int
    watermark: int
    sure: list[Fraction]
    least: Fraction
    draw: Callable[[], float]

    def fault(self, latency_ms: Mapping[int, int]) -> None:
        """Pages below the fast tier fault, in order, each so long after it was marked."""
        scanned = [self._scanned(number) for number in range(len(self.sure))]
        for page, latency in latency_ms.items():
            heeded = self.draw() < scanned[self.tenant[page]]
            if heeded and latency < HOT_MS and self.free > 1:
                self.fast.add(page)
                self.free -= 1

    def _scanned(self, number: int) -> Fraction:
        used = sum(self.tenant[page] == number for page in self.fast)
        if self.free >= self.watermark or used <= self.sure[number]:
            return Fraction(1)
        return max(self.least, (self.sure[number] / (used + 1)) ** 4)
