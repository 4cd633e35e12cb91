"""The last minutes of status documents, and how fast their counts rose."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pghot.live.hot import HotRow
    from pghot.live.status_facts import StatusFacts

SPAN_S = 300.0


class Seen(NamedTuple):
    """A `pghot.status/1` document, and the rows of a `pghot.hot/1` of the same time, hottest first."""

    status: StatusFacts
    hot: Sequence[HotRow]


def totals(facts: StatusFacts) -> dict[str, float]:
    """Every count of a document by its name. The counts of a source are named `SOURCE/COUNTER`."""
    moves = facts["moves"]
    return {
        **facts["counters"],
        "promoted_pages": moves["promoted_pages"],
        "demoted_pages": moves["demoted_pages"],
        "promoted_by_the_kernel_pages": moves["promoted_by_the_kernel_pages"],
        **{
            f"{source['name']}/{name}": value
            for source in facts["sources"]
            for name, value in source["counters"].items()
        },
    }


class StatusHistory:
    """Keeps `SPAN_S` seconds. A document older than the last one is from another run: all before it is dropped."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque()
        self._totals: deque[dict[str, float]] = deque()

    def add(self, facts: StatusFacts) -> None:
        """Take the next document."""
        seconds = facts["seconds"]
        if self._seconds and seconds < self._seconds[-1]:
            self._seconds.clear()
            self._totals.clear()
        if self._seconds and seconds == self._seconds[-1]:
            return
        self._seconds.append(seconds)
        self._totals.append(totals(facts))
        # Keep one document older than the span: the left edge of the first column lies between it and the next.
        while len(self._seconds) > 2 and self._seconds[1] < seconds - SPAN_S:
            self._seconds.popleft()
            self._totals.popleft()

    def rate(self, name: str) -> float | None:
        """Rise per second between the last two documents; None until there are two."""
        if len(self._seconds) < 2:
            return None
        rise = self._totals[-1].get(name, 0) - self._totals[-2].get(name, 0)
        return rise / (self._seconds[-1] - self._seconds[-2])

    def series(self, name: str, columns: int, span_s: float) -> list[float | None]:
        """Mean rise per second in each of `columns` equal parts of the last `span_s`, oldest first; None: unknown.

        The parts begin at multiples of their length, so that a column keeps its value as time goes on.
        """
        if len(self._seconds) < 2:
            return [None] * columns
        step = span_s / columns
        last = int(self._seconds[-1] // step)
        edges = [(last - columns + 1 + i) * step for i in range(columns + 1)]
        times, values = list(self._seconds), [each.get(name, 0.0) for each in self._totals]
        return [_slope(times, values, low, high) for low, high in pairwise(edges)]


def _slope(times: list[float], values: list[float], low: float, high: float) -> float | None:
    low, high = max(low, times[0]), min(high, times[-1])
    if high <= low:
        return None
    return (_at(times, values, high) - _at(times, values, low)) / (high - low)


def _at(times: list[float], values: list[float], when: float) -> float:
    """Between two documents a count is taken to rise evenly."""
    right = min(max(bisect_left(times, when), 1), len(times) - 1)
    t0, t1 = times[right - 1], times[right]
    return values[right - 1] + (values[right] - values[right - 1]) * (when - t0) / (t1 - t0)
