"""Which of its recorded caches a recording is replayed with: the one that is most like the real system's."""

from __future__ import annotations

import numpy as np

from pghot.recording.caches import with_cache
from pghot.recording.reader import Recording
from pghot.recording.trace import Trace


def seen_by_the_real_cache(
    trace: Trace, llc_bytes: float | None, stands_for: float | None, times: float | None
) -> Trace:
    """`trace` with the misses of the recorded cache that stands, times K, for a cache nearest to `llc_bytes`.

    stands_for, times  F in bytes, or K itself; without both, the smallest cache is the one that stands for the real
                       one, and K follows from it (`similarity`)

    A trace with one cache, and tiers that do not say how large theirs is, leave no choice.
    """
    if len(trace.info.cache_bytes) == 1 or not llc_bytes or (stands_for is None and times is None):
        return trace
    recorded = footprint_pages(trace) * trace.info.page_bytes
    group = times if times is not None else (stands_for or 0) / max(recorded, 1)
    return with_cache(trace, llc_bytes / max(group, 1.0))


def footprint_pages(trace: Trace) -> int:
    """Distinct pages touched: known of a recording, counted of others."""
    if isinstance(trace, Recording):
        return trace.footprint_pages
    touched = np.zeros(trace.pages, np.bool_)
    for batch in trace.batches():
        touched[batch.page] = True
    return int(np.count_nonzero(touched))
