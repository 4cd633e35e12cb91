"""AUX areas and the ring beside each: such a PMU writes its own format to the AUX area, and only notes to the ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pghot.kernel.perf_event import Ring
from pghot.kernel.perf_records import AUX_LOST, CORRUPT, TAIL, Samples, words_of

RING_BYTES = 1 << 14  # 400 notes; one comes with every reading

# What every source with an AUX area counts.
AUX_COUNTERS = (
    "hwhint_total_events", "hwhint_useful_events", "perf_aux_gaps", "perf_corrupt_records", "perf_not_running_ms",
)  # fmt: skip


class Decoded(Protocol):
    """What a decoder fills: `counts` (int64) says how far the pass got and how many records were corrupt."""

    counts: npt.NDArray[np.int64]


Out = TypeVar("Out", bound=Decoded)


def drain_aux(
    ring: Ring,
    decode: Callable[[npt.NDArray[np.uint8], int, int, Out], int],
    out: Out,
    tail_row: int,
    corrupt_row: int,
    counts: dict[str, int],
) -> Iterator[int]:
    """Decode an AUX area into `out` until it is empty; yields how many records each pass found.

    tail_row, corrupt_row  the rows of `out.counts` with the new tail and the corrupt records; the latter are
                           added to `counts`
    """
    tail, head = ring.aux_tail, ring.aux_head
    while tail < head:
        found = decode(ring.aux, tail, head, out)
        tail = int(out.counts[tail_row])
        ring.consume_aux(tail)
        counts["perf_corrupt_records"] += int(out.counts[corrupt_row])
        yield found


class AuxNotes:
    """Reads the notes, which report losses."""

    def __init__(self) -> None:
        self._words, self._samples = words_of(0), Samples.sized(1)

    def take(self, ring: Ring, counts: dict[str, int]) -> None:
        """Empty the ring; adds to `perf_aux_gaps` and `perf_corrupt_records` of `counts`."""
        from pghot.kernel.perf_decode import decode_samples

        decode_samples(ring.data, ring.tail, ring.head, self._words, self._samples)
        ring.consume(int(self._samples.counts[TAIL]))
        counts["perf_aux_gaps"] += int(self._samples.counts[AUX_LOST])
        counts["perf_corrupt_records"] += int(self._samples.counts[CORRUPT])
