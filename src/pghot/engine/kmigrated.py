"""kmigrated: the consumer of the packed stores. Walks the HOT sections and takes the READY records.

One kernel thread for each lower-tier node does this every 100 ms (FACTS section 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U8, U32, U64

SLEEP_MS = 100
BATCH_NR = 512
SECTION_PAGES = 1 << 15
GROUP, BLOCK = 8, 64  # records that are looked at together


def take_ready(records: npt.NDArray[Any], hot: U8, ready: int) -> tuple[U32, npt.NDArray[Any]]:
    """Pages and records of all READY records, in address order; the records are zeroed, the flags cleared.

    records  uint8[pages] or uint32[pages]
    hot      uint8[sections]: sections without the flag are skipped
    ready    the READY bit
    """
    # Few records of a HOT section are READY: eight are looked at together, as the words of 64 bits that they are.
    words = records[: len(records) // GROUP * GROUP].view(np.uint64)
    bits = 8 * records.itemsize
    mask = np.uint64(sum(ready << shift for shift in range(0, 64, bits)))
    count = count_ready(records, words, hot, ready, mask)
    page = np.empty(count + 1, np.uint32)
    record = np.empty(count + 1, records.dtype)
    if count:
        move_ready(records, words, hot, ready, mask, page, record)
    return page[:count], record[:count]


@njit(cache=True)
def count_ready(records: npt.NDArray[Any], words: U64, hot: U8, ready: int, mask: np.uint64) -> int:
    """How many records of HOT sections are READY. Sections without any lose the flag.

    words  uint64[W]  the records again, all but those after the last whole group
    mask   the READY bits of a word
    """
    in_word = 8 // records.itemsize
    count = 0
    for section in range(hot.shape[0]):
        if hot[section]:
            before = count
            start = section * SECTION_PAGES
            end = min(start + SECTION_PAGES, records.shape[0])
            for w in range(start // in_word, min(end // in_word, words.shape[0])):
                bits = words[w] & mask
                while bits:  # compiled to an instruction that counts bits
                    bits &= bits - np.uint64(1)
                    count += 1
            for i in range(max(start, words.shape[0] * in_word), end):
                count += (records[i] & ready) != 0
            hot[section] = count > before
    return count


@njit(cache=True)
def move_ready(
    records: npt.NDArray[Any],
    words: U64,
    hot: U8,
    ready: int,
    mask: np.uint64,
    page: U32,
    record: npt.NDArray[Any],
) -> None:
    """Move the READY records of HOT sections to `page` and `record` in address order, and clear the flags.

    `page` and `record` have room for one more than there are.
    """
    k = 0
    for section in range(hot.shape[0]):
        if hot[section]:
            start = section * SECTION_PAGES
            end = min(start + SECTION_PAGES, records.shape[0])
            for block in range(start, end, BLOCK):
                if block + BLOCK <= end and not any_ready(records, words, block, BLOCK, mask):
                    continue
                for first in range(block, min(block + BLOCK, end), GROUP):
                    if first + GROUP <= end and not any_ready(records, words, first, GROUP, mask):
                        continue
                    for i in range(first, min(first + GROUP, end)):
                        # Without branches: where one record is READY, others are as good as at random.
                        old = records[i]
                        is_ready = (old & ready) != 0
                        page[k] = i
                        record[k] = old
                        records[i] = 0 if is_ready else old
                        k += is_ready
            hot[section] = 0


@njit(cache=True)
def any_ready(records: npt.NDArray[Any], words: U64, first: int, count: int, mask: np.uint64) -> bool:
    """Whether one of so many records (whole groups) from `first` on is READY."""
    size = records.itemsize  # a group has as many words as a record has bytes
    begin = first // GROUP * size
    some = np.uint64(0)
    for w in range(begin, begin + count // GROUP * size):
        some |= words[w]
    return bool(some & mask != 0)
