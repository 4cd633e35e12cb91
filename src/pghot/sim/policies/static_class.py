"""Chosen classes of memory stay in the fast tier or out of it; nothing moves.

The discussion of the patch series asked not to put certain classes of memory on CXL at all (stacks, page
tables, latency-critical heaps), or to put only some there. A class is a region name: exact ("[heap]"), a
glob ("*.so*") or a kind ("anon", "file", "stack", "heap").
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
        # "[" opens a character set in a glob; region names such as [heap] mean it literally.
        if fnmatchcase(region.name, KINDS.get(name, name).replace("[", "[[]")):
            return True
    return False


class StaticClass(Passive[LabWorld]):
    """Classes in `fast` are allocated on the top tier first, classes in `slow` on the lowest.

    With neither given, memory that programs touch most per page by nature goes first: heap and stack fast,
    mapped files slow.
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
        """Keep room for the fast classes: other memory may only fill what they will not need."""
        machine = world.machine
        reserved = np.count_nonzero(machine.preferred == world.fast_node)
        room = max(0, int(machine.room(world.fast_node)) - int(reserved))
        rest = np.flatnonzero(machine.preferred < 0)[room:]
        for node in np.argsort(machine.rank, kind="stable"):  # the next fastest first, as far as each reaches
            if node != world.fast_node:
                fits = machine.room(int(node)) - int(np.count_nonzero(machine.preferred == node))
                machine.preferred[rest[: max(0, fits)]] = node
                rest = rest[max(0, fits) :]
