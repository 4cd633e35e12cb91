"""What perf's samples are as accesses, whether they come as records or as text, and what they do not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from pghot.arrays import U16, U64, Bool, Int
from pghot.jit import inlined_kernel, kernel
from pghot.mem_data_src import OP_STORE, is_memory_hit, is_unknown_level
from pghot.recording.importers.importer import Accesses, Found, accesses
from pghot.recording.importers.regions_as_pages import LAST_ADDRESS, NOT_TOLD_APART

FAULTS_ONLY: Final = (
    "only page faults were seen: neither how often a page is accessed after it, nor writes or cache misses"
)
NO_SOURCES: Final = "writes and cache misses are not known: the samples do not say where their data came from"
OF_REGIONS: Final = (NOT_TOLD_APART, "of regions, writes and cache misses are not known")
NO_ADDRESS: Final = "samples without an address"
NO_ACCESS: Final = "samples that are neither loads nor stores"

_MOST_REGION_BYTES = 16 << 30  # each of its pages becomes a row


class PerfAccesses:
    """Makes accesses of samples, and counts for the end."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._samples = self._counted = self._no_level = 0

    def of_samples(
        self, time_ns: U64, address: U64, source: U64, told: Bool, count: U64, space: U16
    ) -> Accesses:
        """Each sample is `count` accesses. told: whether it has a `source`, perf_mem_data_src; without one, and without
        a level in it, it counts as a miss. All [N]."""
        missed, write = np.empty(len(address), np.bool_), np.empty(len(address), np.bool_)
        self._samples += len(address)
        self._counted += int(count.sum())
        self._no_level += judge(source, told, missed, write)
        return accesses(address, time_ns, write, count.astype(np.uint32), space, missed)

    def accessed(self, start: U64, end: U64, samples: U64) -> Bool:
        """Which regions of DAMON, [start, end) in bytes, were accessed; those that cannot be are counted as lost."""
        good = (
            (start <= end) & (end < LAST_ADDRESS) & (samples < 1 << 32) & (end - start <= _MOST_REGION_BYTES)
        )
        if not good.all():
            lost = int(np.count_nonzero(~good))
            self._found.losses["regions of impossible addresses, or of more than 16 GiB"] += lost
        return np.asarray(good & (samples > 0), np.bool_)

    def close(self, said: Iterator[str]) -> None:
        """Tell at the end what is known of all. said: what the kinds of samples that came do not say."""
        self._found.period = max(1, round(self._counted / self._samples)) if self._samples else 1
        self._found.sentences += said
        if self._no_level:
            self._found.sentences.append(
                f"{self._no_level:,} of {self._samples:,} samples say no level of memory, and count as misses"
            )


_hit, _unknown = inlined_kernel(is_memory_hit), inlined_kernel(is_unknown_level)


@kernel
def judge(source: U64, told: Bool, missed: Bool, write: Bool) -> Int:
    """Fill in which samples are misses and writes; returns how many have a source without a level. All [N]."""
    no_level = 0
    for i in range(len(source)):
        unknown = told[i] & _unknown(source[i])
        no_level += unknown
        missed[i] = (not told[i]) | unknown | _hit(source[i])
        write[i] = told[i] & (source[i] & np.uint64(OP_STORE) != 0)
    return no_level
