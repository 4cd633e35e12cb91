"""PACT in plain Python, written from its description: stall shared among samples, bins of equal width, a queue.

For so few samples that the reservoir keeps them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class PactReference:
    """Pages by number. `many` are promoted in a window; nothing is demoted."""

    def __init__(self, on_top: Iterable[int], room: int, bins: int, many: int) -> None:
        self.fast, self.room, self.bins, self.many = set(on_top), room, bins, many
        self.criticality: dict[int, int] = {}
        self.counted: list[int] = []
        self.queue: list[int] = []
        self.width = 1000.0

    def window(self, samples: Mapping[int, int], stall_ns: float) -> None:
        """The samples of each page below the top tier, and for how long cores waited for that tier."""
        if samples:
            each = min(262_143, int(stall_ns / sum(samples.values())))
            for page in sorted(samples):
                for _ in range(samples[page]):
                    self.criticality[page] = self.criticality.get(page, 0) + each
                    self.counted.append(self.criticality[page])
        for page in sorted(samples):
            if self.criticality[page] // self.width >= self.bins - 1 and page not in self.queue:
                self.queue.append(page)
        self._set_width()
        for _ in range(min(self.many, len(self.queue))):
            page = self.queue.pop(0)
            if self.room > 0:
                self.room -= 1
                self.fast.add(page)

    def _set_width(self) -> None:
        many = len(self.counted)
        ordered = sorted(self.counted)
        if many < 4 or ordered[3 * many // 4] == ordered[many // 4]:
            return
        self.width = 2 * (ordered[3 * many // 4] - ordered[many // 4]) / len(self.criticality) ** (1 / 3)
        if self.queue:
            self.width *= 2 if len(self.criticality) / len(self.queue) > 0.7 else 0.5
