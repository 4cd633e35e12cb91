"""Rows of slices in the order of their pages, as columns."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32, U64, Int
from pghot.jit import kernel

_FEW_ROWS = 24  # from here on passes over bytes are faster than moving rows one by one


def columns_in_order(row_page: U32, rows: U32, offsets: I64) -> tuple[U32, U32]:
    """uint32[R] pages and uint32[4, R] counts of the rows of slices, each slice by page.

    row_page  uint32[R or more]     a page has one row in a slice
    rows      uint32[R or more, 4]
    offsets   int64[S + 1]          first row of each slice, and the end of the last
    """
    count = int(offsets[-1])
    page, columns = np.empty(count, np.uint32), np.empty((4, count), np.uint32)
    longest = int(np.diff(offsets).max())
    room, starts = np.empty((2, longest), np.uint64), np.empty(256, np.int64)
    put_in_order(row_page, rows, offsets, room, starts, page, columns)
    return page, columns


@kernel
def put_in_order(
    row_page: U32, rows: U32, offsets: I64, room: U64, starts: I64, page: U32, columns: U32
) -> None:
    """Fill in `page` and `columns`, as `columns_in_order` has them.

    room    uint64[2, longest slice]
    starts  int64[256]
    """
    for s in range(len(offsets) - 1):
        begin, size = offsets[s], offsets[s + 1] - offsets[s]
        sorted_already, differing, before = True, np.uint32(0), np.uint32(0)
        for i in range(size):
            p = row_page[begin + i]
            room[0, i] = np.uint64(p) << np.uint64(32) | np.uint64(begin + i)
            sorted_already = sorted_already and p >= before
            differing |= p ^ row_page[begin]
            before = p
        side = 0
        if not sorted_already:
            if size <= _FEW_ROWS:
                sort_few(room, size)
            else:
                side = sort_by_bytes(room, size, differing, starts)
        for i in range(size):
            key = room[side, i]
            row = np.int64(key & np.uint64(0xFFFFFFFF))
            page[begin + i] = np.uint32(key >> np.uint64(32))
            for c in range(4):
                columns[c, begin + i] = rows[row, c]


@kernel
def sort_few(room: U64, size: Int) -> None:
    """Sort the first `size` of `room[0]` by insertion."""
    for i in range(1, size):
        key, at = room[0, i], i
        while at > 0 and room[0, at - 1] > key:
            room[0, at] = room[0, at - 1]
            at -= 1
        room[0, at] = key


@kernel
def sort_by_bytes(room: U64, size: Int, differing: Int, starts: I64) -> Int:
    """Sort the first `size` keys of `room[0]` by their upper halves, byte by byte; returns the side that has them.

    differing  the bits in which the upper halves differ at all: a byte without any needs no pass
    """
    side = 0
    for b in range(4):
        if not (np.uint64(differing) >> np.uint64(8 * b)) & np.uint64(255):
            continue
        shift = np.uint64(32 + 8 * b)
        starts[:] = 0
        for i in range(size):
            starts[(room[side, i] >> shift) & np.uint64(255)] += 1
        place = 0
        for v in range(256):
            count = starts[v]
            starts[v] = place
            place += count
        for i in range(size):
            v = (room[side, i] >> shift) & np.uint64(255)
            room[1 - side, starts[v]] = room[side, i]
            starts[v] += 1
        side = 1 - side
    return side
