"""kmigrated: the consumer of the packed stores. Walks the HOT sections and takes the READY records.

One kernel thread for each lower-tier node does this every 100 ms (FACTS section 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U8, U32

SLEEP_MS = 100
BATCH_NR = 512
SECTION_PAGES = 1 << 15


def take_ready(records: npt.NDArray[Any], hot: U8, ready: int) -> tuple[U32, npt.NDArray[Any]]:
    """Pages and records of all READY records, in address order; the records are zeroed, the flags cleared.

    records  uint8[pages] or uint32[pages]
    hot      uint8[sections]: sections without the flag are skipped
    ready    the READY bit
    """
    if not hot.any():
        return np.empty(0, np.uint32), np.empty(0, records.dtype)
    count = count_ready(records, hot, ready)
    page = np.empty(count, np.uint32)
    record = np.empty(count, records.dtype)
    move_ready(records, hot, ready, page, record)
    return page, record


@njit(cache=True)
def count_ready(records: npt.NDArray[Any], hot: U8, ready: int) -> int:
    """How many records of HOT sections are READY."""
    count = 0
    for section in range(hot.shape[0]):
        if hot[section]:
            start = section * SECTION_PAGES
            for i in range(start, min(start + SECTION_PAGES, records.shape[0])):
                count += (records[i] & ready) != 0
    return count


@njit(cache=True)
def move_ready(records: npt.NDArray[Any], hot: U8, ready: int, page: U32, record: npt.NDArray[Any]) -> None:
    """Move the READY records of HOT sections to `page` and `record` in address order, and clear the flags."""
    k = 0
    for section in range(hot.shape[0]):
        if hot[section]:
            start = section * SECTION_PAGES
            for i in range(start, min(start + SECTION_PAGES, records.shape[0])):
                if records[i] & ready:
                    page[k] = i
                    record[k] = records[i]
                    records[i] = 0
                    k += 1
            hot[section] = 0
