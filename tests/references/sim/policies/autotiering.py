"""AutoTiering in plain Python, written from its description: levels of 8 scans, and a page that goes for another."""

from __future__ import annotations

from collections.abc import Iterable


class AutoTieringReference:
    """Pages by number. `free` pages fit on the fast node above its high watermark, and `reserve` more below it."""

    def __init__(self, pages: int, on_top: Iterable[int], free: int, opportunistic: bool) -> None:
        self.fast, self.free, self.opportunistic = set(on_top), free, opportunistic
        self.scans = {page: [1] * 8 for page in range(pages)}  # the latest last
        self.accessed: set[int] = set()
        self.listed: set[int] = set()

    def level(self, page: int) -> int:
        return sum(self.scans[page])

    def faults(self, pages: Iterable[int]) -> None:
        below = [page for page in pages if page not in self.fast]
        came = set()
        for page in below:
            if self.free > 0:
                self.free -= 1
                came.add(page)
            elif self.opportunistic and self.listed:
                coldest = min(self.listed, key=lambda each: (self.level(each), self.scans[each][-1], each))
                if self.level(coldest) < self.level(page):
                    self.listed.remove(coldest)
                    self.fast.remove(coldest)
                    came.add(page)
        self.fast |= came
        self.accessed |= set(pages)

    def scan(self) -> None:
        for page, bits in self.scans.items():
            self.scans[page] = [*bits[1:], int(page in self.accessed)]
        self.accessed = set()
        self.listed = set(self.fast)
