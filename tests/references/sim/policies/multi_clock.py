"""MULTI-CLOCK in plain Python, written from its description: three lists, and pages climb when they were accessed."""

from __future__ import annotations

from collections.abc import Iterable


class MultiClockReference:
    """Pages by number, all of them below the top tier but those in `fast`. Nothing is demoted."""

    def __init__(self, pages: int, on_top: Iterable[int], room: int) -> None:
        self.fast, self.room = set(on_top), room
        self.inactive = [page for page in range(pages) if page not in self.fast]
        self.active: list[int] = []
        self.promote: list[int] = []
        self.accessed: set[int] = set()

    def touch(self, pages: Iterable[int]) -> None:
        self.accessed |= set(pages)

    def round(self, many: int) -> None:
        for _ in range(min(many, len(self.inactive))):
            page = self.inactive.pop(0)
            (self.active if self._take(page) else self.inactive).append(page)
        for _ in range(min(many, len(self.active))):
            page = self.active.pop(0)
            (self.promote if self._take(page) else self.active).append(page)
        for _ in range(min(many, len(self.promote))):
            page = self.promote.pop(0)
            if self.room == 0:
                self.promote.append(page)
            else:
                self.room -= 1
                self.fast.add(page)

    def _take(self, page: int) -> bool:
        """Was it accessed since its last look? From now on it was not."""
        if page in self.accessed:
            self.accessed.remove(page)
            return True
        return False
