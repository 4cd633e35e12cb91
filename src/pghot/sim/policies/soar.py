"""Soar (OSDI 2025, "Tiered Memory Management Beyond Hotness"): objects are placed once, by the stall that they cause.

A profile of one run says for how long cores wait for each object: its misses times their latency, over the misses that
a core keeps in flight (amortised offcore latency). The objects are ranked by this stall for each of their bytes, and
the first ones are allocated in the fast tier, as many as fit. Nothing moves. A hot object that is read in order ranks
below a colder one that is chased from pointer to pointer.

An object is what was mapped at one site (`pghot record --stacks`), maybe by many calls. Where a recording knows no site
it is all regions of one name, and so is a mapped file, which the dynamic linker mapped. The lab knows the misses in
flight of each region from their pattern. Hardware cannot say it: Soar estimates an object's stall from the counters of
the whole program and the object's share of the samples, so this is what it could reach at best. The profile is of the
very run that is played; the paper profiles an earlier one, with everything in the fast tier.

Not modelled: objects that come and go, whose memory others take over. The last object that fits in part is placed in
part, its first pages in the fast tier.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64, I64
from pghot.policies.policy import Passive
from pghot.recording.trace import MemoryKind
from pghot.sim.lab_world import LabWorld
from pghot.sim.policies.fixed_placement import place_by_heat


class Soar(Passive[LabWorld]):
    """Ranks objects by the stall for each of their pages; knows no difference between the pages of an object."""

    name = "soar"
    summary = "Soar: whole objects are placed once, ranked by profiled stall for each byte"
    awaits = "Soar's profiler and its allocator"

    def start(self, world: LabWorld) -> None:
        machine = world.machine
        score = by_object(stalls(world), object_of(world))
        nodes = [
            int(node) for node in np.argsort(machine.latency_ns, kind="stable") if not machine.private[node]
        ]
        machine.preferred[:] = place_by_heat(score, nodes, [machine.room(node) for node in nodes])


def stalls(world: LabWorld) -> F64:
    """float64[pages]: latencies that cores wait for each page over the run."""
    machine, foresight = world.machine, world.foresight
    sequential = foresight.total_sequential()
    random = (foresight.total_misses() - sequential) * machine.overlap.astype(np.float64)
    stall: F64 = random + sequential / machine.costs.mlp_sequential
    return stall


def object_of(world: LabWorld) -> I64:
    """int64[pages]: the number of each page's object; what no region has is one more."""
    found = np.zeros(world.pages, np.int64)
    numbers: dict[str, int] = {}
    for region in world.regions:
        by_name = not region.site or region.kind is MemoryKind.FILE
        number = numbers.setdefault(region.name if by_name else region.site, len(numbers) + 1)
        found[region.first_page : region.first_page + region.pages] = number
    return found


def by_object(stall: F64, object_: I64) -> F64:
    """float64[pages]: the mean stall of the pages of each page's object.

    >>> by_object(np.array([4.0, 2.0, 9.0]), np.array([1, 1, 2])).tolist()
    [3.0, 3.0, 9.0]
    """
    mean: F64 = np.bincount(object_, stall) / np.maximum(1, np.bincount(object_))
    return mean[object_]
