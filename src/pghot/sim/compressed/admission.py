"""What a compressed node stores: compiled kernels for pages that arrive in batches, grow, and leave."""

from __future__ import annotations

from pghot.arrays import I64, U32, Bool
from pghot.jit import njit

USED, WARNED, PEAK = range(3)


@njit(cache=True)
def admit_pages(
    page: U32,
    size: I64,
    stored: I64,
    tenant: I64,
    budget: I64,
    used_by: I64,
    limits: I64,
    page_bytes: int,
    batch: int,
    heeds_warning: bool,
    state: I64,
    came: Bool,
) -> None:
    """Take in pages batch by batch; sets `came` (bool[K]) for those that found room.

    page     uint32[K]      distinct pages that are not on the node
    size     int64[pages]   bytes that each will take
    stored   int64[pages]   bytes that each takes now; updated
    tenant   int64[pages]   owner of each
    budget   int64[T]       bytes that each tenant may take
    used_by  int64[T]       bytes that each tenant takes now; updated
    limits   int64[3]       the most bytes that may be in use with every page of a batch at its worst; the bytes in use
                            above which the device warns; those below which it takes the warning back
    heeds_warning           no page is taken in while the device warns
    state    int64[3]       USED bytes, WARNED, PEAK of USED; updated

    A batch is charged `page_bytes` for each of its pages until it has settled.
    """
    used, warned, peak = state[USED], state[WARNED], state[PEAK]
    for begin in range(0, len(page), batch):
        left = 0 if warned and heeds_warning else max(0, (limits[0] - used) // page_bytes)
        end = min(begin + batch, len(page))
        first = begin
        while first < end and left > 0:
            # As the batch begins, each tenant gets in as many pages as fit its budget at their worst.
            mine = tenant[page[first]]
            if used_by[mine] + page_bytes <= budget[mine]:
                used_by[mine] += page_bytes
                came[first] = True
                left -= 1
            first += 1
        for row in range(begin, end):
            if came[row]:
                index = page[row]
                stored[index] = size[index]
                used += size[index]
                used_by[tenant[index]] -= page_bytes - size[index]
        peak = max(peak, used)
        if used > limits[1]:
            warned = 1
        elif used < limits[2]:
            warned = 0
    state[USED], state[WARNED], state[PEAK] = used, warned, peak


@njit(cache=True)
def write_pages(
    page: U32,
    rewritten: I64,
    size: I64,
    stored: I64,
    granted: Bool,
    lost: Bool,
    tenant: I64,
    used_by: I64,
    real_bytes: int,
    used: int,
    failed: bool,
) -> tuple[int, int, int]:
    """Pages on the node take the size of their new contents, one after the other, as long as the medium can hold them.

    page       uint32[K]       distinct
    rewritten  int64[pages]    bytes that each takes once it has been written
    size       int64[pages]    bytes that each will take the next time it is demoted; updated
    stored     int64[pages]    bytes that each takes now; updated
    granted    bool[pages]
    lost       bool[pages]     pages whose data could not be stored; updated
    tenant     int64[pages]    owner of each
    used_by    int64[T]        bytes that each tenant takes; updated
    used       bytes of `real_bytes` that are taken
    failed     data has been lost before: after the first loss no page may grow

    Returns how many more bytes are taken, how many of those by granted pages, and how many of the pages lost data.
    """
    grown = charged = gone = 0
    for row in range(len(page)):
        index = page[row]
        size[index] = rewritten[index]
        growth = rewritten[index] - stored[index]
        if growth > 0 and (failed or used + grown + growth > real_bytes):
            failed = True
            lost[index] = True
            gone += 1
            continue
        stored[index] += growth
        used_by[tenant[index]] += growth
        grown += growth
        if granted[index]:
            charged += growth
    return grown, charged, gone


@njit(cache=True)
def grant_pages(page: U32, page_bytes: int, free: int, stored: I64, granted: Bool) -> tuple[int, int]:
    """Grant pages in order while their whole growth fits into `free` bytes; returns how many, and their growth.

    page     uint32[K]       distinct
    stored   int64[pages]    bytes that each takes
    granted  bool[pages]     updated
    """
    growth = 0
    for row in range(len(page)):
        more = page_bytes - stored[page[row]]
        if growth + more > free:
            return row, growth
        growth += more
        granted[page[row]] = True
    return len(page), growth


@njit(cache=True)
def release_pages(
    page: U32, page_bytes: int, stored: I64, granted: Bool, tenant: I64, used_by: I64
) -> tuple[int, int]:
    """Pages leave the node; returns the bytes they took, and the growth that was charged for the granted ones.

    page     uint32[K]       distinct
    stored   int64[pages]    bytes that each takes; updated
    granted  bool[pages]     updated
    tenant   int64[pages]
    used_by  int64[T]        bytes that each tenant takes; updated
    """
    freed = charged = 0
    for row in range(len(page)):
        index = page[row]
        if granted[index]:
            granted[index] = False
            charged += page_bytes - stored[index]
        freed += stored[index]
        used_by[tenant[index]] -= stored[index]
        stored[index] = 0
    return freed, charged
