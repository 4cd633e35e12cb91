"""What all runs of a seed play: the slices of a trace, cut or joined to at most `slice_ms`, pass after pass.

A probe says how long each recorded slice takes the real system when nothing moves. Longer slices are cut, shorter ones
joined, never over the end of an epoch. A mechanism that acts each 100 ms then meets slices that are shorter, and a
replay has no more of them than it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import numpy as np

from pghot.arrays import F64, I64
from pghot.lab.epochs import RESIDENT_ROWS, Epochs
from pghot.lab.thinning import Joiner, Piece, cut_slice
from pghot.recording.trace import SliceBatch

MOST_PASSES = 1000  # over a recording of a few ms, which would be played for ever
MOST_PARTS = 1 << 15
MOST_TOUCHES = 1 << 31  # of a joined slice: columns are uint32


@dataclass(frozen=True, slots=True)
class Step:
    """Slices to play, all of one epoch.

    epoch   its number, counted over all passes
    begins, ends  the first of them begins the epoch; the last one ends it
    """

    batch: SliceBatch
    epoch: int
    begins: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class _Planned:
    """So many slices of an epoch that are played one after the other, made of so many recorded ones.

    One is cut or several are joined by `make`: what is not played needs no cutting.
    """

    epoch: int
    slices: int
    recorded: int
    make: Callable[[], SliceBatch]


class Schedule:
    """The slices of a replay.

    slice_kernel_ms  float64[slices]  what each recorded slice takes the real system when nothing moves
    passes           how often the trace is played, at most 1000 times; the last pass may be a part
    epochs           epochs over all passes, at least one
    slices           slices of one pass as they are played
    cut, joined      recorded slices that were cut, and those that were joined with others
    """

    def __init__(
        self,
        table: Epochs,
        slice_kernel_ms: F64,
        *,
        slice_ms: float,
        duration_s: float | None,
        seed: int,
        nodes: tuple[int, ...],
    ) -> None:
        """duration_s  kernel seconds that a run takes when nothing moves; None: one pass
        nodes       the machine's node for each recorded one
        """
        self._table, self._kernel_ms, self._slice_ms = table, slice_kernel_ms, slice_ms
        self._seed = seed
        self._node_map = np.array(nodes, np.int16)
        self._same_nodes = nodes == tuple(range(len(nodes)))
        self.pass_s = float(slice_kernel_ms.sum()) / 1e3
        per_pass = len(table.epochs)
        wanted = 1.0 if duration_s is None else min(MOST_PASSES, duration_s / max(self.pass_s, 1e-9))
        self.epochs = max(1, round(wanted * per_pass))
        self.passes = self.epochs / per_pass
        self.slices = self.cut = self.joined = 0
        self._kept: list[list[SliceBatch]] | None = None
        self._arrange()

    def _arrange(self) -> None:
        """Count the slices of a pass, and keep those that are played if they fit in memory."""
        kept: list[list[SliceBatch]] = [[] for _ in self._table.epochs]
        rows = 0
        for planned in self._plan():
            self.slices += planned.slices
            self.cut += planned.slices > 1
            self.joined += planned.recorded if planned.recorded > 1 else 0
            if planned.epoch < self.epochs and rows <= RESIDENT_ROWS:
                batch = planned.make()
                rows += batch.rows
                kept[planned.epoch].append(batch)
        if rows <= RESIDENT_ROWS:
            self._kept = kept

    def steps(self) -> Iterator[Step]:
        """All slices in order."""
        done = 0
        while done < self.epochs:
            for epoch, batches in self._epochs():
                for place, batch in enumerate(batches):
                    yield Step(batch, done + epoch, place == 0, place == len(batches) - 1)
                if done + epoch + 1 == self.epochs:
                    return
            done += len(self._table.epochs)

    def slices_of(self, epoch: int) -> list[SliceBatch]:
        """The slices of one epoch, by its number over all passes; none after the last."""
        if epoch >= self.epochs:
            return []
        place = epoch % len(self._table.epochs)
        if self._kept is not None:
            return self._kept[place]
        until = takewhile(lambda planned: planned.epoch <= place, self._plan())
        return [planned.make() for planned in until if planned.epoch == place]

    def _epochs(self) -> Iterator[tuple[int, list[SliceBatch]]]:
        """The batches of each epoch of a pass."""
        if self._kept is not None:
            yield from enumerate(self._kept)
            return
        batches: list[SliceBatch] = []
        current = 0
        for planned in self._plan():
            if planned.epoch != current:
                yield current, batches
                batches, current = [], planned.epoch
            batches.append(planned.make())
        yield current, batches

    def _plan(self) -> Iterator[_Planned]:
        """All of a pass, in order."""
        joiner = Joiner(self._table.trace.pages, len(self._node_map))
        waiting: list[Piece] = []
        waiting_ms = waiting_touches = 0.0
        position = current = 0
        for batch in self._table.batches():
            touches = slice_touches(batch)
            for index in range(batch.slices):
                epoch, lasts_ms = position // self._table.epoch_slices, float(self._kernel_ms[position])
                more = (
                    waiting_ms + lasts_ms > self._slice_ms or waiting_touches + touches[index] > MOST_TOUCHES
                )
                if waiting and (more or epoch != current):
                    yield self._joined(current, waiting, joiner)
                    waiting, waiting_ms, waiting_touches = [], 0.0, 0.0
                current = epoch
                if lasts_ms > self._slice_ms:
                    parts = min(MOST_PARTS, math.ceil(lasts_ms / self._slice_ms))
                    yield _Planned(current, parts, 1, partial(self._cut, batch, index, parts, position))
                else:
                    waiting.append(Piece(batch, index, index + 1))
                    waiting_ms += lasts_ms
                    waiting_touches += touches[index]
                position += 1
        if waiting:
            yield self._joined(current, waiting, joiner)

    def _cut(self, batch: SliceBatch, index: int, parts: int, position: int) -> SliceBatch:
        return self._placed(cut_slice(batch, index, parts, self._seed * 7919 + position))

    def _joined(self, epoch: int, pieces: list[Piece], joiner: Joiner) -> _Planned:
        one = pieces[0].alone if len(pieces) == 1 else partial(joiner.join, pieces)
        return _Planned(epoch, 1, len(pieces), lambda: self._placed(one()))

    def _placed(self, batch: SliceBatch) -> SliceBatch:
        """The same slices, with the machine's nodes."""
        if self._same_nodes:
            return batch
        return replace(batch, node=self._node_map[batch.node])


def slice_touches(batch: SliceBatch) -> I64:
    """Touches of each slice."""
    running = np.concatenate([[0], np.cumsum(batch.touches, dtype=np.int64)])
    return np.diff(running[batch.offsets])
