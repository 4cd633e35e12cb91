"""Nomad in plain Python, written from its description: candidates, a queue, and shadows. Nothing is demoted."""

from __future__ import annotations

from collections.abc import Iterable


class NomadReference:
    """Pages by number. Below are so many free pages for shadows at first; what is promoted leaves one more."""

    def __init__(self, on_top: Iterable[int], room: int, looks: int, free: int) -> None:
        self.fast, self.room, self.looks, self.free = set(on_top), room, looks, free
        self.candidates: list[list[int]] = []  # [page, looks at it]
        self.queue: list[int] = []
        self.shadowed: set[int] = set()

    def fault(self, page: int) -> None:
        for candidate in self.candidates:
            candidate[1] += 1
        for candidate in [each for each in self.candidates if each[1] == self.looks]:
            self.candidates.remove(candidate)
            if candidate[0] not in self.queue and candidate[0] not in self.fast:
                self.queue.append(candidate[0])
        self.candidates.append([page, 0])

    def act(self, written: Iterable[int]) -> None:
        self.shadowed -= set(written)
        for page in self.queue:
            if self.room > 0:
                self.room, self.free = self.room - 1, self.free + 1
                self.fast.add(page)
                self.shadowed.add(page)
        self.queue = []
        while len(self.shadowed) > max(0, self.free):
            self.shadowed.remove(min(self.shadowed))
