"""union perf_mem_data_src (include/uapi/linux/perf_event.h): where the data of a sampled access came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from pghot.arrays import U64, Bool

# mem_op, bits 0-4
OP_LOAD, OP_STORE = 0x02, 0x04
# mem_lvl, bits 5-18: the older naming of levels
LVL_SHIFT, LVL_BITS = 5, 0x3FFF
LVL_NA, LVL_HIT, LVL_MISS, LVL_L1, LVL_L3 = 0x01, 0x02, 0x04, 0x08, 0x40
LVL_LOC_RAM, LVL_REM_RAM1, LVL_REM_RAM2 = 0x80, 0x100, 0x200
# mem_lvl_num, bits 33-36: the newer one (Linux >= 4.14); 0 where the kernel fills in mem_lvl only
LVL_NUM_SHIFT = 33
NUM_L3, NUM_CXL, NUM_RAM, NUM_PMEM, NUM_NA = 0x3, 0x9, 0xD, 0xE, 0xF
# mem_remote, bit 37, and mem_hops, bits 43-45, tell remote from near memory: either is memory.


def memory_hits(data_src: U64) -> Bool:
    """Which accesses were answered by memory: DRAM, CXL or persistent memory, near or remote, or missed the L3.

    Data out of another core's or socket's cache did not come from memory.

    data_src  uint64[K]
    """
    return np.asarray(is_memory_hit(data_src), np.bool_)


def unknown_levels(data_src: U64) -> Bool:
    """Which accesses carry no level at all: AMD's IBS has none for stores."""
    return np.asarray(is_unknown_level(data_src), np.bool_)


def is_memory_hit(data_src: Any) -> Any:
    """`memory_hits` of an array or, in a kernel, of one."""
    level = data_src >> np.uint64(LVL_SHIFT)
    number = (data_src >> np.uint64(LVL_NUM_SHIFT)) & np.uint64(0xF)
    ram = level & np.uint64(LVL_LOC_RAM | LVL_REM_RAM1 | LVL_REM_RAM2) != 0
    memory = (number == NUM_RAM) | (number == NUM_CXL) | (number == NUM_PMEM)
    # Intel reports a miss whose source it does not know as L3 MISS.
    l3 = (number == NUM_L3) | (level & np.uint64(LVL_L3) != 0)
    return ram | memory | ((level & np.uint64(LVL_MISS) != 0) & l3)


def is_unknown_level(data_src: Any) -> Any:
    """`unknown_levels` of an array or, in a kernel, of one."""
    level = (data_src >> np.uint64(LVL_SHIFT)) & np.uint64(LVL_BITS)
    number = (data_src >> np.uint64(LVL_NUM_SHIFT)) & np.uint64(0xF)
    none = level & ~np.uint64(LVL_NA | LVL_HIT | LVL_MISS) == 0
    return none & ((number == 0) | (number == NUM_NA))


def stores(data_src: U64) -> Bool:
    """Which accesses were stores."""
    return np.asarray(data_src & np.uint64(OP_STORE) != 0, np.bool_)


def stores_that_missed_l1(data_src: U64) -> Bool:
    """Intel's stores say no more than whether they hit the L1."""
    level = data_src >> np.uint64(LVL_SHIFT)
    missed = (level & np.uint64(LVL_L1) != 0) & (level & np.uint64(LVL_MISS) != 0)
    return np.asarray(stores(data_src) & missed, np.bool_)
