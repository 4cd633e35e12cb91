"""kmigrated: the consumer of the packed stores. Walks the HOT sections and takes the READY records.

One kernel thread for each lower-tier node does this every 100 ms (FACTS section 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U8, U32, U64
from pghot.jit import njit

SLEEP_MS = 100
BATCH_NR = 512
SECTION_PAGES = 1 << 15
# Few records of a HOT section are READY. So many are looked at together, as the words of 64 bits that they are.
WIDE, BLOCK = 1024, 32
_WORD = 8  # bytes


def take_ready(records: npt.NDArray[Any], hot: U8, ready: int) -> tuple[U32, npt.NDArray[Any]]:
    """Pages and records of all READY records, in address order; the records are zeroed, the flags cleared.

    records  uint8[pages] or uint32[pages]
    hot      uint8[sections]: sections without the flag are skipped
    ready    the READY bit
    """
    words = records[: len(records) // _WORD * _WORD].view(np.uint64)
    mask = np.uint64(sum(ready << shift for shift in range(0, 64, 8 * records.itemsize)))
    block = np.empty(int(np.count_nonzero(hot)) * (SECTION_PAGES // BLOCK) + 1, np.int64)
    block = block[: find_ready(records, words, hot, mask, block)]
    page = np.empty(len(block) * BLOCK + 1, np.uint32)
    record = np.empty(len(page), records.dtype)
    count = move_ready(records, block, ready, page, record)
    return page[:count], record[:count]


@njit(cache=True)
def find_ready(records: npt.NDArray[Any], words: U64, hot: U8, mask: np.uint64, block: I64) -> int:
    """Fill in the first pages of those blocks in HOT sections that have READY records, or fewer records than others;
    return how many. The flags are cleared.

    words  uint64[W]  the records again, all but those after the last whole word
    mask   the READY bits of a word
    block  has room for one more than there can be
    """
    in_word = _WORD // records.itemsize
    found = 0
    for section in range(hot.shape[0]):
        if hot[section]:
            start = section * SECTION_PAGES
            end = min(start + SECTION_PAGES, records.shape[0])
            for wide in range(start, end, WIDE):
                stop = min(wide + WIDE, end)
                if stop == wide + WIDE and not any_ready(words[wide // in_word : stop // in_word], mask):
                    continue
                for begin in range(wide, stop, BLOCK):
                    # Without branches: where some blocks have READY records, others are as good as at random.
                    block[found] = begin
                    part = words[begin // in_word : min(begin + BLOCK, stop) // in_word]
                    found += any_ready(part, mask) | (begin + BLOCK > stop)
            hot[section] = 0
    return found


@njit(cache=True)
def any_ready(words: U64, mask: np.uint64) -> bool:
    """Whether a record of these words is READY."""
    some = np.uint64(0)
    for w in range(words.shape[0]):
        some |= words[w]
    return bool(some & mask != 0)


@njit(cache=True)
def move_ready(records: npt.NDArray[Any], block: I64, ready: int, page: U32, record: npt.NDArray[Any]) -> int:
    """Move the READY records of these blocks to `page` and `record` in address order; return how many.

    `page` and `record` have room for one more than there can be.
    """
    k = 0
    for begin in block:
        part = records[begin : begin + BLOCK]
        for i in range(part.shape[0]):
            old = part[i]
            is_ready = (old & ready) != 0
            page[k] = begin + i
            record[k] = old
            part[i] = 0 if is_ready else old
            k += is_ready
    return k
