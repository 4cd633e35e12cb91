"""DAMOS with the two schemes of the tiering sample in plain Python, written from its description; pages by number."""

from __future__ import annotations

from collections.abc import Iterable


class DamosReference:
    """`node` pages are the fast node, of which one stays free. A page is a region of 4096 bytes."""

    def __init__(self, pages: int, on_top: Iterable[int], node: int, quota_pages: int) -> None:
        self.pages, self.fast, self.node, self.most = pages, set(on_top), node, quota_pages
        self.accesses = [0] * pages
        self.age = [0] * pages
        self.hot_bytes = self.cold_bytes = 1.0

    def report(self, counts: dict[int, int]) -> None:
        """One aggregation: a count that stays about as it is grows older."""
        threshold = max(counts.values(), default=0) // 10
        for page in range(self.pages):
            now, before = counts.get(page, 0), self.accesses[page]
            stays = abs(now - before) <= threshold and bool(now) == bool(before)
            self.age[page] = self.age[page] + 1 if stays else 0
            self.accesses[page] = now

    def hotness(self, page: int) -> int:
        frequency = self.accesses[page] * 5  # of 20
        seconds, steps = self.age[page] // 10, 0
        while seconds and steps < 32:
            seconds, steps = seconds // 2, steps + 1
        age = (32 + (steps if frequency else -steps)) * 100 // 64
        return (frequency + age) // 2 * 99 // 100

    def apply(self) -> None:
        free = (self.node - len(self.fast)) / self.node
        self.cold_bytes = self.tuned(self.cold_bytes, free / 0.005)
        self.hot_bytes = self.tuned(self.hot_bytes, (1 - free) / 0.997)
        cold = {page: 99 - self.hotness(page) for page in self.fast if not self.accesses[page]}
        gone = self.first(cold, self.cold_bytes)
        self.fast -= gone
        hot = {
            page: self.hotness(page)
            for page in range(self.pages)
            if page not in self.fast and self.accesses[page]
        }
        come = self.first(hot, self.hot_bytes)
        for page in gone | come:
            self.age[page] = 0
        self.fast |= set(sorted(come)[: max(0, self.node - 1 - len(self.fast))])

    @staticmethod
    def tuned(last: float, reached: float) -> float:
        """By as much as the goal is missed; at twice the goal it begins anew."""
        return 1.0 if reached >= 2 else max(1.0, last * (1 + (1 - reached)))

    def first(self, score: dict[int, int], size: float) -> set[int]:
        """The best of them, in the order of addresses where the quota cuts through equals."""
        quota = min(int(size // 4096), self.most, len(score))
        least = 99
        while least and sum(each >= least for each in score.values()) < quota:
            least -= 1
        return set(sorted(page for page in score if score[page] >= least)[:quota])
