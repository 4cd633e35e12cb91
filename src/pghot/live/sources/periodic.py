"""Sources that look at each program once in a period: what `idle` and `softdirty` share.

A look clears what it reads, so each program has its own due time for the next look.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pghot.arrays import U64
from pghot.engine.accesses import Sees
from pghot.kernel.needs import Need, require
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Space, Watched
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.parameters import check_number


class PeriodicSource(ABC):
    """A subclass says what one look at a program saw.

    SCANS  the name of the counter of looks

    Raises `UsageError` for a period below 1 ms.
    """

    name: str
    sees: Sees
    SCANS: str

    def __init__(self, root: SysRoot, period_ms: int, other_counters: Sequence[str]) -> None:
        self._root = root
        check_number(self.name, "period_ms", period_ms, 1)
        self._period_ms = period_ms
        self._effort = 1.0
        self._spaces: dict[int, Space] = {}
        self._due_ms: dict[int, float] = {}
        self._counts = dict.fromkeys((self.SCANS, *other_counters), 0)

    @abstractmethod
    def needs(self) -> list[Need]: ...

    @abstractmethod
    def look(self, space: Space) -> U64:
        """Addresses (uint64[K]) of the pages touched since the last look; none at the first one. Raises `OSError`."""

    @abstractmethod
    def forget(self, number: int) -> None:
        """The space with this number is no longer watched."""

    @property
    def period_ms(self) -> float:
        """Time between two looks at one program, at the present effort."""
        return self._period_ms / self._effort

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        before, self._spaces = self._spaces, {space.number: space for space in watched.spaces}
        for number in before.keys() - self._spaces.keys():
            self._due_ms.pop(number, None)
            self.forget(number)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        found = []
        for number, space in self._spaces.items():
            if now_ms < self._due_ms.get(number, 0):
                continue
            self._due_ms[number] = now_ms + self.period_ms
            try:
                address = self.look(space)
            except ShortageError:
                continue  # its next look sees what this one would have seen
            except OSError:
                continue  # the process ended; the next `watch` leaves it out
            self._counts[self.SCANS] += 1
            if len(address):
                found.append(sightings_of(space.pid, address, write=self.sees == "writes"))
        return found

    def set_effort(self, share: float) -> None:
        self._effort = share

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._spaces = {}
