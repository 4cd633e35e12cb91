"""The records in a perf ring (include/uapi/linux/perf_event.h, enum perf_event_type), decoded into arrays.

A ring is a power of two of bytes; records may wrap around its end. A record whose size makes no sense ends the
pass: the rest of the ring is counted as corrupt and skipped, because nothing says where the next record begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel import perf_event as pe

RECORD_LOST = 2
RECORD_THROTTLE = 5
RECORD_SAMPLE = 9
RECORD_AUX = 11
RECORD_LOST_SAMPLES = 13

# Rows of `Samples.fields`.
PID, ADDR, CPU, TIME, WEIGHT, DATA_SRC, PHYS_ADDR, PERIOD, PAGE_SIZE = range(9)
_ROWS = 9
# What a pass counts.
TAIL, FOUND, LOST, THROTTLED, CORRUPT, OTHER, AUX_LOST = range(7)
_COUNTS = 7

# Flags of an AUX record: TRUNCATED, PARTIAL and COLLISION all mean that data is missing.
AUX_DATA_LOST = 0x1 | 0x4 | 0x8

# The words of a sample in their order, and the row each goes to (-1: none).
_ORDER = (
    (pe.SAMPLE_IP, -1), (pe.SAMPLE_TID, PID), (pe.SAMPLE_TIME, TIME), (pe.SAMPLE_ADDR, ADDR), (pe.SAMPLE_CPU, CPU),
    (pe.SAMPLE_PERIOD, PERIOD), (pe.SAMPLE_WEIGHT, WEIGHT), (pe.SAMPLE_WEIGHT_STRUCT, WEIGHT),
    (pe.SAMPLE_DATA_SRC, DATA_SRC), (pe.SAMPLE_PHYS_ADDR, PHYS_ADDR), (pe.SAMPLE_DATA_PAGE_SIZE, PAGE_SIZE),
)  # fmt: skip


@dataclass(slots=True)
class Samples:
    """Room for decoded samples, sized once.

    fields  uint64[9, K]  a row for each of PID (thread group), ADDR, CPU, TIME, WEIGHT, DATA_SRC, PHYS_ADDR,
                          PERIOD, PAGE_SIZE (bytes that the entry of the page table maps, 0: unknown); rows that the
                          sample type does not have stay as they were
    counts  int64[7]      of the last pass: new TAIL in bytes, FOUND samples, LOST by the kernel, times THROTTLED,
                          CORRUPT and OTHER records (EXIT, FORK, COMM, UNTHROTTLE, whole AUX, ...), and AUX_LOST
                          records that say that data is missing in the AUX area
    """

    fields: U64
    counts: npt.NDArray[np.int64]

    @classmethod
    def sized(cls, samples: int) -> Samples:
        return cls(np.zeros((_ROWS, samples), np.uint64), np.zeros(_COUNTS, np.int64))


def words_of(sample_type: int) -> npt.NDArray[np.int64]:
    """For each 64-bit word of a sample the row it goes to, -1 for none. Raises `ValueError` for a bit not decoded.

    >>> words_of(pe.SAMPLE_TID | pe.SAMPLE_ADDR).tolist()
    [0, 1]
    """
    unknown = sample_type & ~sum(bit for bit, _ in _ORDER)
    if unknown:
        raise ValueError(f"sample type bits {unknown:#x} are not decoded")
    return np.array([row for bit, row in _ORDER if sample_type & bit], np.int64)
