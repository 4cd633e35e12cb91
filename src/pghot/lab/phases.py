"""Phases that are held: a program driven by requests has more data, and its phases do not last longer for that.

A recording that stands for K times its data takes K times the misses, so its phases stretch. Held, each slice is cut
into as many parts as the pass is stretched. A pass plays the first part of every slice, the next pass the second, and
so on: what one leaves out the others play, and all of them together are what was recorded.
"""

from __future__ import annotations

from pghot.lab.thinning import Piece, cut_slice
from pghot.recording.trace import MemoryTrace, SliceBatch, Trace

PHASES = ("stretch", "hold")
MOST_PARTS = 1024


def parts_to_hold(pass_s: float, recorded_s: float) -> int:
    """Into how many parts the slices of a pass are cut, so that it lasts about as long as it was recorded.

    1 where the real system is as fast as the recorded one, or faster: its phases are as short as that makes them.

    >>> parts_to_hold(pass_s=40.0, recorded_s=9.0), parts_to_hold(pass_s=2.0, recorded_s=9.0)
    (4, 1)
    """
    return min(MOST_PARTS, max(1, round(pass_s / recorded_s)))


def hold_phases(trace: Trace, parts: int, seed: int) -> MemoryTrace:
    """The trace played so many times, each time with another part of every slice."""
    played: list[list[SliceBatch]] = [[] for _ in range(parts)]
    position = 0
    for batch in trace.batches():
        for index in range(batch.slices):
            cut = cut_slice(batch, index, parts, seed * 7919 + position)
            for part, batches in enumerate(played):
                batches.append(Piece(cut, part, part + 1).alone())
            position += 1
    return MemoryTrace(trace.info, trace.pages, trace.regions, [batch for each in played for batch in each])
