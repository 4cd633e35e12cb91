"""The shortest run that there is, found by trying every placement: for traces of a handful of pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np

from pghot.sim.machine.simulated import SimulatedMachine

Slice = tuple[Any, ...]  # the arguments of `SimulatedMachine.run_slice`
Placement = tuple[int, ...]  # the node of each page


def placements(machine: SimulatedMachine, pages: int) -> Iterator[Placement]:
    """Every placement that fits."""
    nodes = range(len(machine.lower))
    room = [machine.room(node) for node in nodes]
    for placement in product(nodes, repeat=pages):
        if all(placement.count(node) <= room[node] for node in nodes):
            yield placement


def best_fixed_ns(make: Callable[[], SimulatedMachine], pages: int, slices: Sequence[Slice]) -> float:
    """The shortest run in which no page moves."""
    return min(_run_ns(make(), [placement], [slices]) for placement in placements(make(), pages))


def best_moving_ns(
    make: Callable[[], SimulatedMachine], pages: int, epochs: Sequence[Sequence[Slice]]
) -> float:
    """The shortest run in which pages move at the ends of epochs, each paid for as an oracle pays for it.

    Epoch by epoch, the shortest way to each placement: what an epoch takes follows from where the pages were in the one
    before, and where they are. (What a machine remembers for longer is how loaded it was.)
    """
    each = list(placements(make(), pages))
    shortest = {place: _run_ns(make(), [place], epochs[:1]) for place in each}
    for before, epoch in pairwise(epochs):
        alone = {place: _run_ns(make(), [place], [before]) for place in each}
        shortest = {
            to: min(
                shortest[start] + _run_ns(make(), [start, to], [before, epoch]) - alone[start]
                for start in each
            )
            for to in each
        }
    return min(shortest.values())


def _run_ns(
    machine: SimulatedMachine, sequence: Sequence[Placement], epochs: Sequence[Sequence[Slice]]
) -> float:
    """A run with one placement in each epoch."""
    machine.place[: len(sequence[0])] = sequence[0]
    machine.free_pages -= np.bincount(sequence[0], minlength=len(machine.free_pages))
    for placement, slices in zip(sequence, epochs, strict=True):
        _move(machine, np.array(placement, np.uint8))
        for one in slices:
            machine.run_slice(*one)
    return float(machine.ledger.elapsed_ns)


def _move(machine: SimulatedMachine, wanted: Any) -> None:
    page = np.flatnonzero((machine.place[: len(wanted)] != wanted) & (machine.place[: len(wanted)] != 255))
    down = machine.rank[wanted[page]] > machine.rank[machine.place[page]]
    for moves in (page[down], page[~down]):
        for node in np.unique(wanted[moves]):
            machine.migrate(moves[wanted[moves] == node].astype(np.uint32), int(node), "oracle")
