"""Chosen classes of memory stay in the fast tier or out of it; nothing moves.

In the discussion of the patch series people asked to keep certain classes of memory off CXL (stacks, page tables,
latency-critical heaps), or to put only certain classes there. A class is a region name: exact ("[heap]"), a glob
("*.so*") or a kind ("anon", "file", "stack", "heap").
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from pghot.policies.policy import Passive
from pghot.recording.trace import Region
from pghot.sim.lab_world import LabWorld

KINDS = {"anon": "[anon*", "stack": "[stack*", "heap": "[heap*"}


def in_class(region: Region, classes: Sequence[str]) -> bool:
    """Whether the region belongs to one of the classes.

    >>> in_class(Region(0, 1, 0, 0, "/lib/libc.so.6"), ["file"])
    True
    """
    for name in classes:
        if name == "file" and region.name.startswith("/"):
            return True
        # In a glob "[" opens a character set, but in region names such as [heap] it is literal.
        if fnmatchcase(region.name, KINDS.get(name, name).replace("[", "[[]")):
            return True
    return False


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
