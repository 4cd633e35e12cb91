"""Which pages a compressed node admits: the loop over demotion batches, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

USED, WARNED, PEAK = range(3)


@njit(cache=True)
def admit_pages(
    page: U32,
    size: I64,
    stored: I64,
    tenant: I64,
    room_of: I64,
    limits: I64,
    page_bytes: int,
    batch: int,
    state: I64,
    came: Bool,
) -> None:
    """Take in pages batch by batch; sets `came` (bool[K]) for those that found room.

    page     uint32[K]      distinct pages that are not on the node
    size     int64[pages]   bytes that each will take
    stored   int64[pages]   bytes that each takes; updated
    tenant   int64[pages]
    room_of  int64[T]       bytes that each tenant may still take; updated
    limits   int64[3]       most bytes that may be used with every page of a batch at its worst, and the bytes of use
                            above which the device warns and below which it takes that back
    state    int64[3]       USED bytes, WARNED, PEAK of USED; updated

    A batch is charged `page_bytes` for each of its pages until it has settled.
    """
    used, warned, peak = state[USED], state[WARNED], state[PEAK]
    for begin in range(0, len(page), batch):
        left = 0 if warned else max(0, (limits[0] - used) // page_bytes)
        end = min(begin + batch, len(page))
        first = begin
        while first < end and left > 0:
            # Of each tenant, as many as fit its room at their worst, as the batch begins.
            mine = tenant[page[first]]
            if room_of[mine] >= page_bytes:
                room_of[mine] -= page_bytes
                came[first] = True
                left -= 1
            first += 1
        for row in range(begin, end):
            if came[row]:
                index = page[row]
                stored[index] = size[index]
                used += size[index]
                room_of[tenant[index]] += page_bytes - size[index]
        peak = max(peak, used)
        if used > limits[1]:
            warned = 1
        elif used < limits[2]:
            warned = 0
    state[USED], state[WARNED], state[PEAK] = used, warned, peak


def admit_reference(
    page: U32,
    size: I64,
    stored: I64,
    tenant: I64,
    room_of: I64,
    limits: I64,
    page_bytes: int,
    batch: int,
    state: I64,
    came: Bool,
) -> None:
    """Plain form of `admit_pages`."""
    for begin in range(0, len(page), batch):
        rows = list(range(begin, min(begin + batch, len(page))))
        left = 0 if state[WARNED] else max(0, int(limits[0] - state[USED]) // page_bytes)
        charged = dict.fromkeys(range(len(room_of)), 0)
        taken: list[int] = []
        for row in rows:
            mine = int(tenant[page[row]])
            if len(taken) < left and room_of[mine] - charged[mine] >= page_bytes:
                charged[mine] += page_bytes
                taken.append(row)
        for row in taken:
            came[row] = True
            stored[page[row]] = size[page[row]]
            state[USED] += size[page[row]]
            room_of[tenant[page[row]]] -= size[page[row]]
        state[PEAK] = max(state[PEAK], state[USED])
        if state[USED] > limits[1]:
            state[WARNED] = 1
        elif state[USED] < limits[2]:
            state[WARNED] = 0
