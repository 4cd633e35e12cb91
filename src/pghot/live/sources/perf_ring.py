"""Emptying perf rings, the same way for every source of samples (`aux_area` is for sources with an AUX area)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pghot.kernel.perf_event import Ring
from pghot.kernel.perf_records import CORRUPT, LOST, TAIL, THROTTLED, Samples


def drain(ring: Ring, words: npt.NDArray[np.int64], out: Samples, counts: dict[str, int]) -> Iterator[int]:
    """Decode what is in the ring now into `out`, as much at a time as fits; yields how many samples each pass found.

    Stops at what was there at the start: a busy ring must not keep the other CPUs waiting. Losses are added to
    `hwhint_dropped_events`, `perf_corrupt_records` and, where the source counts it, `perf_throttled` of `counts`.
    """
    from pghot.kernel.perf_decode import decode_samples

    tail, head = ring.tail, ring.head
    while tail < head:
        found = decode_samples(ring.data, tail, head, words, out)
        tail = int(out.counts[TAIL])
        ring.consume(tail)
        counts["hwhint_dropped_events"] += int(out.counts[LOST])
        counts["perf_corrupt_records"] += int(out.counts[CORRUPT])
        if "perf_throttled" in counts:
            counts["perf_throttled"] += int(out.counts[THROTTLED])
        yield found
