"""Chrono in plain Python, written from its description: two short idle times in a row, a threshold, a queue."""

from __future__ import annotations

from collections.abc import Iterable


class ChronoReference:
    """Pages by number. `rate` pages a second are promoted; nothing is demoted."""

    def __init__(self, on_top: Iterable[int], room: int, rate: float, threshold_ms: int, rounds: int) -> None:
        self.fast, self.room, self.rate, self.rounds = set(on_top), room, rate, rounds
        self.threshold = self.first_threshold = threshold_ms
        self.in_a_row: dict[int, int] = {}
        self.queue: list[int] = []
        self.short, self.judged_ms = 0, 0
        self.saved, self.last_ms = 0.0, 0.0

    def fault(self, now_ms: int, idle_ms: dict[int, int]) -> None:
        in_a_minute = 60 * self.rate
        many = self.short > 1.1 * in_a_minute
        if many or now_ms - self.judged_ms > 60_000:
            if many:
                self.threshold = max(1, min(int(self.threshold * 9 / 10), self.threshold - 1))
            elif self.short < 0.9 * in_a_minute:
                tenths, least = (15, 10) if self.short < 0.2 * in_a_minute else (11, 1)
                grown = max(int(self.threshold * tenths / 10), self.threshold + least)
                self.threshold = min(grown, 2 * self.first_threshold)
            self.short, self.judged_ms = 0, now_ms
        for page, idle in idle_ms.items():
            if idle > self.threshold:
                self.in_a_row[page] = 0
                continue
            self.short += 1
            self.in_a_row[page] = self.in_a_row.get(page, 0) + 1
            if self.in_a_row[page] >= self.rounds and page not in self.queue:
                self.queue.append(page)

    def act(self, now_ms: float) -> None:
        self.saved = self.saved % 1 + self.rate * (now_ms - self.last_ms) / 1000
        self.last_ms = now_ms
        for _ in range(int(self.saved)):
            if not self.queue:
                return
            page = self.queue.pop(0)
            if self.room > 0:
                self.room -= 1
                self.fast.add(page)
                self.in_a_row[page] = 0
