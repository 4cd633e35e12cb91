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
        **{f"held_back/{why}": count for why, count in moves["held_back"].items()},
        **{f"failed/{error}": count for error, count in moves["failed"].items()},
        **{
            f"{source['name']}/{name}": value
            for source in facts["sources"]
            for name, value in source["counters"].items()
        },
    }


def levels_of(facts: StatusFacts) -> dict[str, float]:
    """What is so at the time of a document.

    hot_bytes    hot memory on all nodes
    hot_on_fast  the share of it on the fast tier; not there while nothing is hot
    """
    hot = sum(node["hot_bytes"] for node in facts["nodes"])
    fast = sum(node["hot_bytes"] for node in facts["nodes"] if node["tier"] == 0)
    return {"hot_bytes": hot, **({"hot_on_fast": fast / hot} if hot else {})}


class StatusHistory:
    """Keeps `SPAN_S` seconds. A document older than the last one is from another run: all before it is dropped."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque()
        self._totals: deque[dict[str, float]] = deque()
        self._levels: deque[dict[str, float]] = deque()

    def add(self, facts: StatusFacts) -> None:
        """Take the next document."""
        seconds = facts["seconds"]
        if self._seconds and seconds < self._seconds[-1]:
            self._seconds.clear()
            self._totals.clear()
            self._levels.clear()
        if self._seconds and seconds == self._seconds[-1]:
            return
        self._seconds.append(seconds)
        self._totals.append(totals(facts))
        self._levels.append(levels_of(facts))
        # Keep one document older than the span: the left edge of the first column lies between it and the next.
        while len(self._seconds) > 2 and self._seconds[1] < seconds - SPAN_S:
            self._seconds.popleft()
            self._totals.popleft()
            self._levels.popleft()

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

    def level(self, name: str) -> float | None:
        """What is so now; None: not known."""
        return self._levels[-1].get(name) if self._levels else None

    def levels(self, name: str, columns: int, span_s: float) -> list[float | None]:
        """What was so in the last document of each of `columns` equal parts of the last `span_s`, see `series`."""
        found: list[float | None] = [None] * columns
        if self._seconds:
            step = span_s / columns
            last = int(self._seconds[-1] // step)
            for seconds, levels in zip(self._seconds, self._levels, strict=True):
                place = columns - 1 - last + int(seconds // step)
                if place >= 0:
                    found[place] = levels.get(name)
        return found


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
