"""What oracles may ask of the future of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pghot.arrays import F64, I64, NOWHERE, U8, U32
from pghot.lab.epochs import Epochs
from pghot.lab.schedule import Schedule
from pghot.recording.trace import SliceBatch
from pghot.sim.lab_world import Tried
from pghot.sim.machine.simulated import SimulatedMachine


@dataclass(slots=True)
class Future:
    """The `Foresight` of an oracle.

    fresh     makes a machine like the run's, on which nothing has been placed
    position  number of the present epoch, over all passes
    """

    epochs: Epochs
    schedule: Schedule
    fresh: Callable[[], SimulatedMachine]
    position: int = 0
    _later: F64 = field(default_factory=lambda: np.empty(0))
    _later_from: int = 0  # `_later` counts the misses of this epoch and those after it
    _scratch: SimulatedMachine | None = None

    def total_misses(self) -> I64:
        return self.epochs.total

    def total_sequential(self) -> I64:
        total = np.zeros(len(self.epochs.total), np.int64)
        for batch in self.epochs.batches():
            total += np.bincount(batch.page, batch.sequential, len(total)).astype(np.int64)
        return total

    def next_epoch(self) -> tuple[U32, I64]:
        if self.position + 1 >= self.schedule.epochs:
            return np.empty(0, np.uint32), np.empty(0, np.int64)
        return self._missed_in(self.position + 1)

    def later_misses(self) -> F64:
        if not len(self._later):
            self._later = np.zeros(len(self.epochs.total))
            for number in range(self.schedule.epochs):
                page, misses = self._missed_in(number)
                self._later[page] += misses
        while self._later_from < min(self.position + 2, self.schedule.epochs):
            page, misses = self._missed_in(self._later_from)
            self._later[page] -= misses
            self._later_from += 1
        return self._later

    def epochs_of_a_pass(self) -> Iterator[tuple[U32, I64]]:
        return (self._missed_in(number) for number in range(len(self.epochs.epochs)))

    def try_pass(self, place: U8) -> Tried:
        machine = self.fresh()
        machine.preferred[:] = place
        price_ns = np.zeros((len(self.epochs.epochs), len(machine.lower)))
        used_ns, position = np.zeros(len(machine.lower)), 0
        weight = np.zeros((len(self.epochs.epochs), 1))
        for batch in self.epochs.batches():
            for index in range(batch.slices):
                used_ns += machine.used_share * _run(machine, batch, index)
                rows = slice(batch.offsets[index], batch.offsets[index + 1])
                epoch, misses = position // self.epochs.epoch_slices, int(batch.misses[rows].sum())
                price_ns[epoch] += misses * machine.marginal_ns()
                weight[epoch] += misses
                position += 1
        ns = machine.ledger.elapsed_ns
        return Tried(ns, float(used_ns.max()) / max(ns, 1e-9), price_ns / np.maximum(weight, 1.0))

    def next_epoch_ns(self, place: U8) -> float:
        if self._scratch is None:
            self._scratch = self.fresh()
        machine = self._scratch
        machine.place[:] = place
        held = np.bincount(place[place != NOWHERE], minlength=len(machine.lower))
        machine.free_pages[:] = machine.capacity_pages - held
        began_ns = machine.ledger.elapsed_ns
        for batch in self.schedule.slices_of(self.position + 1):
            for index in range(batch.slices):
                _run(machine, batch, index)
        return machine.ledger.elapsed_ns - began_ns

    def _missed_in(self, number: int) -> tuple[U32, I64]:
        epoch = self.epochs.epochs[number % len(self.epochs.epochs)]
        return epoch.page, epoch.misses


def _run(machine: SimulatedMachine, batch: SliceBatch, index: int) -> float:
    """Run one slice; returns how long it took, ns."""
    rows = slice(batch.offsets[index], batch.offsets[index + 1])
    return machine.run_slice(
        batch.page[rows], batch.touches[rows], batch.misses[rows], batch.sequential[rows],
        batch.writes[rows], batch.node[rows], int(batch.instructions[index]),
    )  # fmt: skip
