"""Memory-level parallelism of a trace: how many misses a core keeps in flight, region by region."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F64
from pghot.recording.trace import Trace
from pghot.sim.machine.costs import Costs


def misses_in_flight(trace: Trace, costs: Costs) -> F64:
    """float64[pages]: misses that a core keeps in flight, of those that are not sequential, in the mean of their times.

    A dependent miss waits alone; strided ones overlap as prefetched ones do; all others as the trace says, or by
    default `costs.mlp_random`. Each region has one figure, because its pages are used by the same code. A trace in
    which nobody looked for patterns has one for all of it.
    """
    usual = trace.info.mlp or costs.mlp_random
    if not {"strided", "dependent"} & set(trace.info.patterns):
        return np.full(trace.pages, usual)
    region_of = np.full(trace.pages, len(trace.regions))
    for number, region in enumerate(trace.regions):
        region_of[region.first_page : region.first_page + region.pages] = number
    counts = np.zeros((3, len(trace.regions) + 1))
    for batch in trace.batches():
        where = region_of[batch.page]
        counts[0] += np.bincount(where, batch.misses.astype(np.float64) - batch.sequential, counts.shape[1])
        counts[1] += np.bincount(where, batch.strided, counts.shape[1])
        counts[2] += np.bincount(where, batch.dependent, counts.shape[1])
    missed, strided, dependent = counts
    waits = dependent + strided / costs.mlp_strided + (missed - strided - dependent) / usual
    by_region: F64 = np.divide(missed, waits, out=np.full(len(missed), usual), where=missed > 0)
    pages: F64 = by_region[region_of]
    return pages
