"""The ring beside an AUX area: PMUs that write their own format into the AUX area put only notes about it there."""

from __future__ import annotations

from pghot.kernel.perf_event import Ring
from pghot.kernel.perf_records import AUX_LOST, CORRUPT, TAIL, Samples, decode_samples, words_of

RING_BYTES = 1 << 14  # 400 notes; one comes with every reading


class AuxNotes:
    """Reads the notes, for what they say about losses."""

    def __init__(self) -> None:
        self._words, self._samples = words_of(0), Samples.sized(1)

    def take(self, ring: Ring, counts: dict[str, int]) -> None:
        """Empty the ring; adds to `perf_aux_gaps` and `perf_corrupt_records` of `counts`."""
        decode_samples(ring.data, ring.tail, ring.head, self._words, self._samples)
        ring.consume(int(self._samples.counts[TAIL]))
        counts["perf_aux_gaps"] += int(self._samples.counts[AUX_LOST])
        counts["perf_corrupt_records"] += int(self._samples.counts[CORRUPT])
