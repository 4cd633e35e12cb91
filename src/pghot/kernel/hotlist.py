"""Hot lists of CXL hotness monitoring units (CXL 3.2, section 8.2.8) in the form in which their perf driver delivers
them.

The driver is a proposal (drivers/cxl/hmu.c of the series "CXL Hotness Monitoring Unit perf driver", November 2024), in
no released kernel. It copies a device's list into the AUX area in blocks of 64-bit words: two words of header, the
first with the number of entries (bits 0-15) and the width of the counters (bits 16-23), the second a fixed marker,
then the entries: the count in the low `width` bits, the number of the unit of memory above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import I64, U64

MARKER = 0xDEADBEEF
UNIT, COUNT = range(2)
TAIL, FOUND, CORRUPT = range(3)
_COUNTS = 3


@dataclass(slots=True)
class HotList:
    """Room for entries, sized once.

    fields  uint64[2, K]  rows UNIT (number of the unit of device memory) and COUNT
    counts  int64[3]      of the last pass: new TAIL in bytes, FOUND entries, CORRUPT blocks
    """

    fields: U64
    counts: I64

    @classmethod
    def sized(cls, entries: int) -> HotList:
        return cls(np.zeros((2, entries), np.uint64), np.zeros(_COUNTS, np.int64))
