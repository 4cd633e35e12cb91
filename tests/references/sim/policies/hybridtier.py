"""HybridTier in plain Python, written from its description. It counts exactly, where the filters may count too much."""

from __future__ import annotations

from collections.abc import Iterable


class HybridTierReference:
    """Pages by number; `capacity` of them can be on the fast tier. Counters hold at most 15."""

    def __init__(
        self, pages: int, on_top: Iterable[int], capacity: int, node: int, batch: int, momentum_limit: float
    ) -> None:
        """node  size of the fast node in pages: `capacity` and a reserve"""
        self.pages, self.fast, self.capacity, self.node = pages, set(on_top), capacity, node
        self.batch, self.limits = batch, (160 * node, momentum_limit)
        self.counts = ([0] * pages, [0] * pages)  # frequency, momentum
        self.sizes = [0.0, 0.0]
        self.waiting: dict[int, int] = {}
        self.cursor = 0
        self.chances: dict[int, int] = {}
        self.chances_since = 0.0

    def see(self, sampled: dict[int, int]) -> None:
        for page, count in sampled.items():
            self.waiting[page] = self.waiting.get(page, 0) + count

    def act(self, now_ms: float) -> None:
        if not self.waiting or sum(self.waiting.values()) < self.batch:
            return
        hot = [page for page in sorted(self.waiting) if self.hot(page)]
        self.waiting = {}
        for page in hot:
            if page not in self.fast and len(self.fast) < self.capacity:
                self.fast.add(page)
        if self.node - len(self.fast) <= 0.0125 * self.node:
            self.demote(now_ms)

    def hot(self, page: int) -> bool:
        after = []
        for which in (0, 1):
            counts = self.counts[which]
            counts[page] = min(15, counts[page] + self.waiting[page])
            self.sizes[which] += self.waiting[page]
            after.append(counts[page])
            if self.sizes[which] >= self.limits[which]:
                counts[:] = [count // 2 for count in counts]
                self.sizes[which] /= 2
                after[-1] = counts[page]
        return after[0] >= 5 or after[1] >= 3

    def demote(self, now_ms: float) -> None:
        frequency, momentum = self.counts
        if self.chances and now_ms - self.chances_since > 60_000:
            self.fast -= {page for page, before in self.chances.items() if frequency[page] == before}
            self.chances, self.chances_since = {}, now_ms
        wanted = max(1, int(0.05 * self.node) - (self.node - len(self.fast)))
        for page in range(self.cursor, self.pages):
            if page not in self.fast or momentum[page]:
                continue
            if frequency[page] >= 5:
                if page not in self.chances:
                    frequency[page] = min(frequency[page], 14)
                    self.chances[page] = frequency[page]
                continue
            self.fast.remove(page)
            wanted -= 1
            if wanted == 0:
                self.cursor = page + 1
                return
        self.cursor = 0
