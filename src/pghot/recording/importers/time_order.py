"""Samples of several CPUs in the order of time: perf writes each CPU's in order, and says when a round is done."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U64

MOST_HELD = 1 << 20


class TimeOrder:
    """Holds samples back until none with an earlier time can follow, or there are `MOST_HELD`.

    After that the older half is given; what comes later than it should has an earlier time than the ones before.
    """

    def __init__(self, columns: int, most_held: int = MOST_HELD) -> None:
        self._none = np.empty((columns, 0), np.uint64)
        self._parts: list[U64] = []
        self._held = 0
        self._most = most_held

    def add(self, found: U64, limit_ns: int) -> U64:
        """uint64[C, N] samples, the first row their times: those up to `limit_ns` that were held back or came now."""
        if found.shape[1]:
            self._parts.append(found)
            self._held += found.shape[1]
        if self._held > self._most:
            times = np.concatenate([part[0] for part in self._parts])
            limit_ns = max(limit_ns, int(np.partition(times, self._held // 2)[self._held // 2]))
        elif not self._parts or min(int(part[0, 0]) for part in self._parts) > limit_ns:
            return self._none
        return self._release(limit_ns)

    def rest(self) -> U64:
        """All that is held back."""
        return self._release((1 << 64) - 1) if self._parts else self._none

    def _release(self, limit_ns: int) -> U64:
        held = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts, axis=1)
        held = in_order(held)
        ready = int(np.searchsorted(held[0], np.uint64(limit_ns), "right"))
        late = held[:, ready:]
        self._parts, self._held = ([late], late.shape[1]) if late.shape[1] else ([], 0)
        return held[:, :ready]


def in_order(found: U64) -> U64:
    """The samples by time; those of one time stay as they are."""
    if not (found[0, 1:] < found[0, :-1]).any():
        return found
    return np.ascontiguousarray(found[:, np.argsort(found[0], kind="stable")])
