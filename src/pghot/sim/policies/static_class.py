"""Chosen classes of memory stay in the fast tier or out of it; nothing moves.

In the discussion of the patch series people asked to keep certain classes of memory off CXL (stacks, page tables,
latency-critical heaps), or to put only certain classes there. A class is a kind of memory ("anon", "file", "stack",
"heap", "shared memory", ...: `recording.trace.MemoryKind`), or names regions: exactly ("[heap]") or by a glob
("*.so*").
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from pghot.policies.policy import Passive
from pghot.recording.trace import MemoryKind, Region
from pghot.sim.lab_world import LabWorld


def in_class(region: Region, classes: Sequence[str]) -> bool:
    """Whether the region belongs to one of the classes. The word for a kind is never taken for a region's name.

    >>> library = Region(0, 1, 0, 0, "/lib/libc.so.6", MemoryKind.FILE)
    >>> in_class(library, ["file"]), in_class(library, ["*.so*"]), in_class(library, ["anon"])
    (True, True, False)
    """
    return any(
        region.kind == name
        if name in set(MemoryKind)
        # In a glob "[" opens a character set, but in region names such as [heap] it is literal.
        else fnmatchcase(region.name, name.replace("[", "[[]"))
        for name in classes
    )


class StaticClass(Passive[LabWorld]):
    """Classes in `fast` are allocated on the top tier first, classes in `slow` on the lowest.

    By default the memory that programs usually touch most per page comes first: heap and stack go to the top tier,
    mapped files to the lowest.
    """

    name = "static-class"
    summary = "chosen regions never leave, or never enter, the fast tier (default: heap, stack in; files out)"

    def __init__(self, fast: Sequence[str] = ("heap", "stack"), slow: Sequence[str] = ("file",)) -> None:
        self.fast, self.slow = tuple(fast), tuple(slow)

    def start(self, world: LabWorld) -> None:
        machine = world.machine
        for region in world.regions:
            pages = slice(region.first_page, region.first_page + region.pages)
            if in_class(region, self.fast):
                machine.preferred[pages] = world.fast_node
            elif in_class(region, self.slow):
                machine.preferred[pages] = world.slow_node
        self._reserve(world)

    def _reserve(self, world: LabWorld) -> None:
        """Keep room for the fast classes: other memory may use only the room that they will not need."""
        machine = world.machine
        reserved = np.count_nonzero(machine.preferred == world.fast_node)
        room = max(0, int(machine.room(world.fast_node)) - int(reserved))
        rest = np.flatnonzero(machine.preferred < 0)[room:]
        for node in np.argsort(machine.rank, kind="stable"):  # the next fastest first, until it is full
            if node != world.fast_node:
                fits = machine.room(int(node)) - int(np.count_nonzero(machine.preferred == node))
                machine.preferred[rest[: max(0, fits)]] = node
                rest = rest[max(0, fits) :]
