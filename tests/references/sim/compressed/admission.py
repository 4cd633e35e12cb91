"""Slow, plain versions of the kernels of `pghot.sim.compressed.admission`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import I64, U32, Bool
from pghot.sim.compressed.admission import PEAK, USED, WARNED


def admit_reference(
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
    """Plain form of `admit_pages`."""
    for begin in range(0, len(page), batch):
        rows = list(range(begin, min(begin + batch, len(page))))
        left = max(0, int(limits[0] - state[USED]) // page_bytes)
        if heeds_warning and state[WARNED]:
            left = 0
        charged = dict.fromkeys(range(len(budget)), 0)
        taken: list[int] = []
        for row in rows:
            mine = int(tenant[page[row]])
            if len(taken) < left and used_by[mine] + charged[mine] + page_bytes <= budget[mine]:
                charged[mine] += page_bytes
                taken.append(row)
        for row in taken:
            came[row] = True
            stored[page[row]] = size[page[row]]
            state[USED] += size[page[row]]
            used_by[tenant[page[row]]] += size[page[row]]
        state[PEAK] = max(state[PEAK], state[USED])
        if state[USED] > limits[1]:
            state[WARNED] = 1
        elif state[USED] < limits[2]:
            state[WARNED] = 0


def write_reference(
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
    """`write_pages` with index arrays."""
    size[page] = rewritten[page]
    growth = rewritten[page] - stored[page]
    fits = used + np.cumsum(growth) <= real_bytes
    first = 0 if failed else len(fits) if fits.all() else int(np.argmin(fits))
    fits[first:] = growth[first:] <= 0
    lost[page[~fits]] = True
    kept, growth = page[fits], growth[fits]
    stored[kept] += growth
    np.add.at(used_by, tenant[kept], growth)
    return int(growth.sum()), int(growth[granted[kept]].sum()), len(page) - len(kept)


def grant_reference(page: U32, page_bytes: int, free: int, stored: I64, granted: Bool) -> tuple[int, int]:
    """`grant_pages` with index arrays."""
    growth = page_bytes - stored[page]
    let = page[np.cumsum(growth) <= free]
    granted[let] = True
    return len(let), int(growth[: len(let)].sum())


def release_reference(
    page: U32, page_bytes: int, stored: I64, granted: Bool, tenant: I64, used_by: I64
) -> tuple[int, int]:
    """`release_pages` with index arrays."""
    charged = int((page_bytes - stored[page[granted[page]]]).sum())
    granted[page] = False
    freed = int(stored[page].sum())
    np.subtract.at(used_by, tenant[page], stored[page])
    stored[page] = 0
    return freed, charged
