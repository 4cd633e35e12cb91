"""The compiled pass over the records of a perf recording: samples become columns.

A sample has the fields that its event's `sample_type` names, in the order of the bits' documentation in
include/uapi/linux/perf_event.h; several have a length of their own.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, I64, U64, Int
from pghot.jit import inlined_kernel, kernel
from pghot.recording.importers.perf_attrs import (
    ACCESSES_AT,
    ADDR,
    ADDR_AT,
    BRANCH_INDEX,
    BRANCH_STACK,
    BRANCH_WORDS,
    CALLCHAIN,
    END_AT,
    FIXED,
    GROUP_WORDS,
    HEAD_WORDS,
    INTR_REGS,
    IP_AT,
    KIND,
    OWN_PERIOD,
    PERIOD_AT,
    PHYS_ADDR,
    PHYS_AT,
    RAW,
    READ,
    READ_WORDS,
    REGS_AT,
    REGS_INTR,
    REGS_USER,
    SRC_AT,
    STACK_USER,
    START_AT,
    TARGET_AT,
    TID_AT,
    TIME,
    TIME_AT,
    TYPES,
    USER_REGS,
)

# Record types (enum perf_event_type; tools/lib/perf/include/perf/event.h from 64 on).
LOST, SAMPLE, LOST_SAMPLES = 2, 9, 13
FINISHED_ROUND = 68
_LAST_TYPE = 127
_GUEST_KERNEL, _GUEST_USER = 4, 5  # PERF_RECORD_MISC_CPUMODE

# Rows of the samples found: uint64[5, N]. S_WHAT: whose addresses they are, above three bits for `perf_attrs.Kind`.
# S_MORE: perf_mem_data_src, and of a region its end. Of the number of a target 61 bits are kept.
S_TIME, S_ADDR, S_WHAT, S_COUNT, S_MORE = range(5)
FOUND_ROWS = 5
KIND_BITS = np.uint64(3)

# The state of the pass, int64[18]. Times are those of the file. KINDS: a bit for each `perf_attrs.Kind` that came.
LAST_TIME, TOP_TIME, ROUND_TOP, ROUND_LIMIT = range(4)
PREVIOUS_TID, PREVIOUS_ADDR, PREVIOUS_IP, PREVIOUS_EVENT = range(4, 8)
N_LOST, N_LOST_SAMPLES, N_MALFORMED, N_UNKNOWN, N_GUEST, N_NO_ADDRESS, N_NO_ACCESS, N_REPEATED, N_OTHER = (
    range(8, 17)
)
KINDS = 17
STATE = 18

_KIND_NONE, _KIND_ACCESSES, _KIND_REGIONS = 0, 1, 4  # perf_attrs.Kind
PHYSICAL = np.uint64(1 << 32)  # as a process: the address is physical
KERNEL = np.uint64(1 << 33)  # as a process: addresses that all share
_OP_LOAD_STORE = np.uint64(0x02 | 0x04)  # perf_mem_data_src.mem_op
_MOST_COUNT = np.uint64(0xFFFFFFFF)

# What a pass ended at.
MORE, FOR_PYTHON, WRONG = range(3)


@kernel
def take_records(
    words: U64, at: Int, wanted: U64, events: I64, id_keys: U64, id_events: I32, id_at: Int, state: I64, found: U64,
    used: Int,
) -> tuple[Int, Int, Int]:  # fmt: skip
    """Take in the records from word `at` on: (word behind the last, samples found, why it ended).

    wanted     uint64[2]    bits of the record types that the caller handles itself: the pass ends at them
    events     int64[E, 23] see `perf_attrs.row_of`
    id_keys    uint64[I]    ids of the events, ascending; `id_events` is the event of each
    id_at      word of a sample that has the id, -1: all are of the first event
    found      uint64[5, N] filled in from `used` on; has room for a sample of two words each
    """
    end = len(words)
    last_id: Int = np.uint64(0)
    last_event: Int = -1
    while at < end:
        header = words[at]
        kind = np.int64(header & np.uint64(0xFFFFFFFF))
        size = np.int64(header >> np.uint64(48))
        if kind == 0 or kind > _LAST_TYPE or size < 8:
            return at, used, WRONG
        if (wanted[kind >> 6] >> np.uint64(kind & 63)) & np.uint64(1):
            return at, used, FOR_PYTHON
        if size & 7:
            return at, used, WRONG
        after = at + (size >> 3)
        if after > end:
            return at, used, MORE
        if kind == SAMPLE:
            event = 0
            if id_at >= 0 and at + 1 + id_at < after:
                key = words[at + 1 + id_at]
                if last_event < 0 or key != last_id:
                    place = np.searchsorted(id_keys, key)
                    last_id, last_event = key, -1
                    if place < len(id_keys) and id_keys[place] == key:
                        last_event = np.int64(id_events[place])
                event = last_event
            if event < 0 or event >= len(events):
                state[N_UNKNOWN] += 1
            else:
                mode = np.int64((header >> np.uint64(32)) & np.uint64(7))
                used = take_sample(words, at + 1, after, mode, event, events, state, found, used)
        elif kind == LOST and size >= 24:
            state[N_LOST] += np.int64(words[at + 2] & np.uint64(0xFFFFFFFFFFFF))
        elif kind == LOST_SAMPLES and size >= 16:
            state[N_LOST_SAMPLES] += np.int64(words[at + 1] & np.uint64(0xFFFFFFFFFFFF))
        elif kind == FINISHED_ROUND:
            state[ROUND_LIMIT] = state[ROUND_TOP]
            state[ROUND_TOP] = state[TOP_TIME]
        else:
            state[N_OTHER] += 1
        at = after
    return at, used, MORE


@inlined_kernel
def take_sample(
    words: U64, w: Int, end: Int, mode: Int, event: Int, events: I64, state: I64, found: U64, used: Int
) -> Int:
    """Take in the sample in words [w, end); returns how many are found."""
    types, kind = events[event, TYPES], events[event, KIND]
    room = end - w - events[event, FIXED]
    if room < 0:
        state[N_MALFORMED] += 1
        return used
    tail: Int = w + events[event, HEAD_WORDS]
    raw_at, raw_bytes = -1, 0
    if types & (READ | CALLCHAIN | RAW | BRANCH_STACK | REGS_USER | STACK_USER):
        tail, room, raw_at, raw_bytes = skip_variable(words, tail, room, events, event)
    physical_at = events[event, PHYS_AT]
    if room >= 0 and types & REGS_INTR:
        registers = events[event, INTR_REGS] if words[tail + events[event, REGS_AT]] else 0
        physical_at, room = physical_at + registers, room - registers
    if room < 0:
        state[N_MALFORMED] += 1
        return used
    time = state[LAST_TIME]
    if types & TIME:
        time = np.int64(words[w + events[event, TIME_AT]] & np.uint64(0x7FFFFFFFFFFFFFFF))
    state[LAST_TIME], state[TOP_TIME] = time, max(state[TOP_TIME], time)
    if kind == _KIND_REGIONS:
        return take_region(words, raw_at, raw_bytes, events, event, time, state, found, used)
    ids = word_at(words, w, events[event, TID_AT])
    pid = ids & np.uint64(0xFFFFFFFF)
    address = word_at(words, w, events[event, ADDR_AT])
    if not types & ADDR:
        pid = PHYSICAL
        if types & PHYS_ADDR:
            address = words[tail + physical_at]
    if kind == _KIND_NONE or address == 0:
        state[N_NO_ADDRESS] += 1
        return used
    if mode in (_GUEST_KERNEL, _GUEST_USER):
        state[N_GUEST] += 1
        return used
    source = word_at(words, tail, events[event, SRC_AT])
    if kind == _KIND_ACCESSES and not source & _OP_LOAD_STORE:
        state[N_NO_ACCESS] += 1
        return used
    if is_repeated(ids, address, word_at(words, w, events[event, IP_AT]), time, event, state):
        state[N_REPEATED] += 1
        return used
    period = word_at(words, w, events[event, PERIOD_AT])
    if events[event, OWN_PERIOD]:
        period = np.uint64(events[event, OWN_PERIOD])
    if address >> np.uint64(63):
        pid = KERNEL
    state[KINDS] |= 1 << kind
    found[S_TIME, used], found[S_ADDR, used], found[S_MORE, used] = np.uint64(time), address, source
    found[S_WHAT, used] = pid << KIND_BITS | np.uint64(kind)
    found[S_COUNT, used] = min(max(period, np.uint64(1)), _MOST_COUNT)
    return used + 1


@inlined_kernel
def word_at(words: U64, w: Int, place: Int) -> np.uint64:
    """A field, `place` words behind `w`; 0 where a sample does not have it."""
    return words[w + place] if place >= 0 else np.uint64(0)


@inlined_kernel
def is_repeated(ids: Int, address: Int, ip: Int, time: Int, event: Int, state: I64) -> bool:
    """Whether the sample before was of the same access, for another event: perf makes several of one record of SPE."""
    key = np.int64(address ^ (np.uint64(time) << np.uint64(1)))
    same = (
        state[PREVIOUS_TID] == np.int64(ids)
        and state[PREVIOUS_ADDR] == key
        and state[PREVIOUS_IP] == np.int64(ip)
        and state[PREVIOUS_EVENT] != event
    )
    if not same:
        state[PREVIOUS_TID], state[PREVIOUS_ADDR], state[PREVIOUS_IP] = np.int64(ids), key, np.int64(ip)
        state[PREVIOUS_EVENT] = event
    return bool(same)


@kernel
def take_region(
    words: U64,
    raw_at: Int,
    raw_bytes: Int,
    events: I64,
    event: Int,
    time: Int,
    state: I64,
    found: U64,
    used: Int,
) -> Int:
    """Take in a sample of damon:damon_aggregated."""
    for column in (TARGET_AT, START_AT, END_AT, ACCESSES_AT):
        if raw_at < 0 or (events[event, column] >> 4) + (events[event, column] & 15) > raw_bytes:
            state[N_MALFORMED] += 1
            return used
    state[KINDS] |= 1 << _KIND_REGIONS
    found[S_TIME, used] = np.uint64(time)
    target = raw_number(words, raw_at, events[event, TARGET_AT])
    found[S_WHAT, used] = target << KIND_BITS | np.uint64(_KIND_REGIONS)
    found[S_ADDR, used] = raw_number(words, raw_at, events[event, START_AT])
    found[S_MORE, used] = raw_number(words, raw_at, events[event, END_AT])
    found[S_COUNT, used] = raw_number(words, raw_at, events[event, ACCESSES_AT])
    return used + 1


@kernel
def raw_number(words: U64, raw_at: Int, place: Int) -> np.uint64:
    """A field of 4 or 8 bytes, of raw data that begins at the byte `raw_at`."""
    value = np.uint64(0)
    for i in range(place & 15):
        byte = raw_at + (place >> 4) + i
        one = (words[byte >> 3] >> np.uint64(8 * (byte & 7))) & np.uint64(0xFF)
        value |= one << np.uint64(8 * i)
    return value


@kernel
def skip_variable(words: U64, w: Int, room: Int, events: I64, event: Int) -> tuple[Int, Int, Int, Int]:
    """Past READ to STACK_USER: the word behind them, the room that is left (below 0: they do not fit), and the byte
    where the raw data begins (-1: none) with its length."""
    types: Int = events[event, TYPES]
    raw_at: Int = -1
    raw_bytes: Int = 0
    if types & READ:
        if events[event, GROUP_WORDS]:
            more = length(words[w], room, events[event, READ_WORDS])
            w, room = w + events[event, GROUP_WORDS] + more, room - more
        else:
            w += events[event, READ_WORDS]
    if room >= 0 and types & CALLCHAIN:
        more = length(words[w], room, 1)
        w, room = w + 1 + more, room - more
    if room >= 0 and types & RAW:
        raw_at, raw_bytes = 8 * w + 4, np.int64(words[w] & np.uint64(0xFFFFFFFF))
        more = (raw_bytes + 11) // 8 - 1
        w, room = w + 1 + more, room - more
    if room >= 0 and types & BRANCH_STACK:
        more = length(words[w], room, events[event, BRANCH_WORDS]) + events[event, BRANCH_INDEX]
        w, room = w + 1 + more, room - more
    if room >= 0 and types & REGS_USER:
        w, room = skip_registers(words, w, room, events[event, USER_REGS])
    if room >= 0 and types & STACK_USER:
        more = length((words[w] + np.uint64(7)) >> np.uint64(3), room, 1)
        more += 1 if more else 0
        w, room = w + 1 + more, room - more
    return w, room, raw_at, raw_bytes


@kernel
def skip_registers(words: U64, w: Int, room: Int, registers: Int) -> tuple[Int, Int]:
    """Past the registers: none where their ABI is 0."""
    more = registers if words[w] else 0
    return w + 1 + more, room - more


@kernel
def length(count: Int, room: Int, each: Int) -> Int:
    """Words that so many things take; more than there is room for where they do not fit."""
    return np.int64(count) * each if count <= np.uint64(room) else room + 1
