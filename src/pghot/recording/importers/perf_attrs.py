"""The events of a perf recording: struct perf_event_attr (include/uapi/linux/perf_event.h), as its samples need it.

An event becomes a row of numbers from which the compiled pass (`perf_samples`) walks through its samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pghot.arrays import I64

# enum perf_event_sample_format
IP, TID, TIME, ADDR, READ, CALLCHAIN, ID, CPU, PERIOD, STREAM_ID, RAW = (1 << bit for bit in range(11))
BRANCH_STACK, REGS_USER, STACK_USER, WEIGHT, DATA_SRC, IDENTIFIER, TRANSACTION, REGS_INTR, PHYS_ADDR = (
    1 << bit for bit in range(11, 20)
)
WEIGHT_STRUCT = 1 << 24
_KNOWN = (1 << 25) - 1
# The fields of a sample in their order. Those of HEAD and TAIL take a word each; those between have lengths of their
# own, at least a word, and so has REGS_INTR, which stands before the last field that is read.
_HEAD = (IDENTIFIER, IP, TID, TIME, ADDR, ID, STREAM_ID, CPU, PERIOD)
_OF_ANY_LENGTH = (CALLCHAIN, RAW, BRANCH_STACK, REGS_USER, STACK_USER)
_TAIL = (WEIGHT | WEIGHT_STRUCT, DATA_SRC, TRANSACTION, REGS_INTR, PHYS_ADDR)

FREQ = 1 << 10  # of the flags: the period is a frequency
_BRANCH_HW_INDEX, _BRANCH_COUNTERS = 1 << 17, 1 << 19
_FORMAT_ENABLED, _FORMAT_RUNNING, _FORMAT_ID, FORMAT_GROUP, _FORMAT_LOST = 1, 2, 4, 8, 16
_SOFTWARE, _TRACEPOINT, _BREAKPOINT = 1, 2, 5  # enum perf_type_id
_PAGE_FAULTS = (2, 5, 6)  # enum perf_sw_ids: all, minor, major

SMALLEST_ATTR, LARGEST_ATTR = 64, 4096


class Kind(IntEnum):
    """What the samples of an event are.

    NONE        no accesses: the event has no addresses
    ACCESSES    accesses where `perf_mem_data_src` says load or store
    BARE        accesses that nothing tells apart: no DATA_SRC
    FAULTS      page faults
    REGIONS     damon:damon_aggregated
    """

    NONE = 0
    ACCESSES = 1
    BARE = 2
    FAULTS = 3
    REGIONS = 4


@dataclass(frozen=True, slots=True)
class Attr:
    """One event.

    period        events that a sample stands for; 0: each sample says it
    read_words    words of READ: {value, times, id, lost}, or of each member of a group
    group_words   words of READ before a group's members, 0 where it is no group
    """

    type: int
    config: int
    period: int
    sample_type: int
    read_words: int
    group_words: int
    branch_words: int
    branch_hw_index: bool
    user_regs: int
    intr_regs: int

    @property
    def kind(self) -> Kind:
        if self.type == _TRACEPOINT or not self.sample_type & (ADDR | PHYS_ADDR):
            return Kind.NONE  # damon's tracepoint is told by the format in the file
        if self.type == _SOFTWARE:
            return Kind.FAULTS if self.config in _PAGE_FAULTS else Kind.NONE
        bare = self.type == _BREAKPOINT or not self.sample_type & DATA_SRC
        return Kind.BARE if bare else Kind.ACCESSES

    @property
    def tracepoint(self) -> int:
        """The id of the tracepoint, -1 for other events."""
        return self.config if self.type == _TRACEPOINT else -1


def attr_from(content: bytes) -> Attr:
    """Of the bytes of a perf_event_attr of any size. Raises `ValueError` for one that cannot be."""
    if len(content) < SMALLEST_ATTR:
        raise ValueError(f"an event of {len(content)} bytes")
    full = content[:136].ljust(136, b"\0")
    kind, _, config, period, sample_type, read_format, flags = struct.unpack_from("<IIQQQQQ", full)
    branch, user_regs = struct.unpack_from("<QQ", full, 72)
    (intr_regs,) = struct.unpack_from("<Q", full, 96)
    if sample_type & ~_KNOWN:
        raise ValueError(f"samples with the unknown fields {sample_type & ~_KNOWN:#x}")
    if read_format >> 5:
        raise ValueError(f"an unknown read format {read_format:#x}")
    times = (read_format & (_FORMAT_ENABLED | _FORMAT_RUNNING)).bit_count()
    own = 1 + (read_format & (_FORMAT_ID | _FORMAT_LOST)).bit_count()
    group = bool(read_format & FORMAT_GROUP)
    each_says = flags & FREQ or sample_type & PERIOD
    return Attr(
        kind,
        config,
        0 if each_says else max(1, min(period, 0xFFFFFFFF)),
        sample_type,
        own if group else own + times,
        1 + times if group else 0,
        4 if branch & _BRANCH_COUNTERS else 3,
        bool(branch & _BRANCH_HW_INDEX),
        user_regs.bit_count(),
        intr_regs.bit_count(),
    )


# Columns of `row_of`. FIXED: the words that a sample has at least, as far as it is read.
(
    TYPES,
    FIXED,
    READ_WORDS,
    GROUP_WORDS,
    BRANCH_WORDS,
    BRANCH_INDEX,
    USER_REGS,
    INTR_REGS,
    OWN_PERIOD,
    KIND,
) = range(10)
TARGET_AT, START_AT, END_AT, ACCESSES_AT = range(10, 14)
# Words before a field, -1: there is none; of the first five from the sample's beginning on, of the others from what
# follows the fields with lengths of their own. HEAD_WORDS: words before those.
IP_AT, TID_AT, TIME_AT, ADDR_AT, PERIOD_AT, HEAD_WORDS, SRC_AT, REGS_AT, PHYS_AT = range(14, 23)
COLUMNS = 23


def row_of(attr: Attr, fields: tuple[tuple[int, int], ...] = ()) -> I64:
    """int64[23]: see the columns above.

    fields  (offset, bytes) of target_id, start, end and nr_accesses in the raw data, where it is damon's tracepoint
    """
    types = attr.sample_type
    fixed = sum(bool(types & bits) for bits in (*_HEAD, *_OF_ANY_LENGTH, *_TAIL))
    if types & READ:
        fixed += attr.group_words or attr.read_words
    raw_places = [offset * 16 + size for offset, size in fields] or [0] * 4
    head = [_place(types, _HEAD, bits) for bits in (IP, TID, TIME, ADDR, PERIOD)]
    tail = [_place(types, _TAIL, bits) for bits in (DATA_SRC, REGS_INTR, PHYS_ADDR)]
    return np.array(
        [
            types, fixed, attr.read_words, attr.group_words, attr.branch_words, attr.branch_hw_index,
            attr.user_regs, attr.intr_regs, attr.period, Kind.REGIONS if fields else attr.kind, *raw_places,
            *head, sum(bool(types & bits) for bits in _HEAD), *tail,
        ],
        np.int64,
    )  # fmt: skip


def _place(types: int, order: tuple[int, ...], field: int) -> int:
    """The words before a field among those of `order`, -1 when a sample does not have it."""
    return sum(bool(types & bits) for bits in order[: order.index(field)]) if types & field else -1
