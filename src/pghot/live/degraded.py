"""The degraded state: pghot runs on, but something keeps it from seeing or moving what it should.

Whoever shows it (screen, status, log, metrics) gets it from `Live.degraded`, which is looked up once a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

KNOBS, TARGETS, DEMOTION, GUESTS = "knobs", "targets", "demotion", "guests"
JOURNAL, HUGETLB, SHORTAGE = "journal", "hugetlb", "shortage"


@dataclass(frozen=True, slots=True)
class Degraded:
    """One thing that is wrong.

    part     who has the trouble: a source by name, or one of those above; one of a few, as it labels a metric
    problem  one line: what is wrong; what to do. The same words for as long as it lasts
    """

    part: str
    problem: str


class Changed(NamedTuple):
    """What began and what ended since the last look."""

    begun: list[Degraded]
    ended: list[Degraded]


class DegradedSoFar:
    """Remembers the last look, so that each state is told once when it begins and once when it ends."""

    def __init__(self) -> None:
        self._last: tuple[Degraded, ...] = ()

    def look(self, now: Sequence[Degraded]) -> Changed:
        """
        >>> seen, full = DegradedSoFar(), Degraded("idle", "the bitmap is full; empty it")
        >>> len(seen.look([full]).begun), len(seen.look([full]).begun), len(seen.look([]).ended)
        (1, 0, 1)
        """
        changed = Changed(
            [each for each in now if each not in self._last], [each for each in self._last if each not in now]
        )
        self._last = tuple(now)
        return changed
