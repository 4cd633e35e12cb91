"""MEMTIS in plain Python, written from its description: bins of powers of two, and what fits the fast tier is hot."""

from __future__ import annotations

from collections.abc import Iterable


class MemtisReference:
    """Pages of 2 MiB by number. `capacity` pages are on the fast tier, of which `reserve` stay free."""

    def __init__(
        self, pages: int, on_top: Iterable[int], capacity: int, reserve: int, cooling: int, adaptation: int
    ) -> None:
        self.samples = dict.fromkeys(range(pages), 0)
        self.fast = set(on_top)
        self.capacity, self.reserve = capacity, reserve
        self.cooling, self.adaptation = cooling, adaptation
        self.seen = 0
        self.hot = self.warm = 1

    def bin_of(self, page: int) -> int:
        found, least = 0, 2
        while found < 15 and self.samples[page] + 1 >= least:
            found, least = found + 1, 2 * least
        return found

    def see(self, sampled: dict[int, int]) -> None:
        """Samples that arrive together."""
        before, self.seen = self.seen, self.seen + sum(sampled.values())
        for page, count in sampled.items():
            self.samples[page] += count
        for sample in range(before + 1, self.seen + 1):
            if sample % self.cooling == 0:
                self.samples = {page: count // 2 for page, count in self.samples.items()}
        if any(sample % self.adaptation == 0 for sample in range(before + 1, self.seen + 1)):
            self.adapt()

    def adapt(self) -> None:
        """The lowest bin such that it and all above it fit."""
        by_bin = [[page for page in self.samples if self.bin_of(page) == each] for each in range(16)]
        sizes = [sum(len(pages) for pages in by_bin[each:]) for each in range(17)]
        lowest = min(each for each in range(17) if sizes[each] <= self.capacity)
        self.hot = max(1, min(15, lowest))
        self.warm = self.hot - 1 if sizes[lowest] < 0.75 * self.capacity else self.hot

    def migrate(self) -> None:
        """One round: cold pages leave as far as hot ones need room, then these come."""
        hot = [page for page in self.samples if page not in self.fast and self.bin_of(page) >= self.hot]
        short = len(self.fast) + len(hot) - self.capacity
        cold = [page for page in sorted(self.fast) if self.bin_of(page) < self.warm]
        self.fast -= set(cold[: max(0, short)])
        room = max(0, self.capacity - self.reserve - len(self.fast))
        self.fast |= set(hot[:room])
