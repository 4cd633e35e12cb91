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
class Window:
    """float64[pages]: misses of each page in the epochs from `begin` on, before `end`. It slides as the run goes on."""

    begin: int
    end: int
    misses: F64


@dataclass(slots=True)
class Future:
    """The `Foresight` of an oracle.

    fresh     makes a machine like the run's, on which nothing has been placed
    position  number of the present epoch, over all passes; -1: the run has not begun
    """

    epochs: Epochs
    schedule: Schedule
    fresh: Callable[[], SimulatedMachine]
    position: int = -1
    _windows: dict[int | None, Window] = field(default_factory=dict)
    _scratch: SimulatedMachine | None = None

    def total_misses(self) -> I64:
        return self.epochs.total

    def total_sequential(self) -> I64:
        total = np.zeros(len(self.epochs.total), np.int64)
        for batch in self.epochs.batches():
            total += np.bincount(batch.page, batch.sequential, len(total)).astype(np.int64)
        return total

    def epochs_left(self) -> int:
        return self.schedule.epochs - self.position - 1

    def coming_misses(self, epochs: int | None) -> F64:
        first, left = self.position + 1, self.epochs_left()
        window = self._windows.setdefault(epochs, Window(first, first, np.zeros(len(self.epochs.total))))
        for number in range(window.end, first + (left if epochs is None else min(epochs, left))):
            page, misses = self._missed_in(number)
            window.misses[page] += misses
            window.end = number + 1
        for number in range(window.begin, first):
            page, misses = self._missed_in(number)
            window.misses[page] -= misses
            window.begin = number + 1
        return window.misses

    def epochs_of_a_pass(self) -> Iterator[tuple[U32, I64]]:
        return (self._missed_in(number) for number in range(len(self.epochs.epochs)))

    def try_pass(self, place: U8) -> Tried:
        machine = self.fresh()
        machine.preferred[:] = place
        epochs = len(self.epochs.epochs)
        price_ns, byte_ns, used_ns = np.zeros((3, epochs, len(machine.lower)))
        weight, lasts_ns, position = np.zeros((epochs, 1)), np.zeros((epochs, 1)), 0
        for batch in self.epochs.batches():
            for index in range(batch.slices):
                epoch, took_ns = position // self.epochs.epoch_slices, _run(machine, batch, index)
                lasts_ns[epoch] += took_ns
                used_ns[epoch] += machine.used_share * took_ns
                rows = slice(batch.offsets[index], batch.offsets[index + 1])
                misses = int(batch.misses[rows].sum())
                price_ns[epoch] += misses * machine.marginal_ns()
                byte_ns[epoch] += misses * machine.timing.marginal_byte_ns()
                weight[epoch] += misses
                position += 1
        ns = machine.ledger.elapsed_ns
        return Tried(
            ns,
            float(used_ns.sum(axis=0).max()) / max(ns, 1e-9),
            float((used_ns / np.maximum(lasts_ns, 1e-9)).max()),
            price_ns / np.maximum(weight, 1.0),
            byte_ns / np.maximum(weight, 1.0),
        )

    def next_epoch_ns(self, place: U8, move: Callable[[SimulatedMachine], None] | None = None) -> float:
        if self._scratch is None:
            self._scratch = self.fresh()
            self._scratch.demotion_enabled = False
        machine = self._scratch
        machine.place[:] = place
        held = np.bincount(place[place != NOWHERE], minlength=len(machine.lower))
        machine.free_pages[:] = machine.capacity_pages - held
        machine.kernel_threads.clear()
        if move is not None:
            move(machine)
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
