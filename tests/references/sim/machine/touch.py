"""Slow, plain versions of the kernels of `pghot.sim.machine.touch`."""

from __future__ import annotations

import numpy as np

from pghot.arrays import F32, F64, I16, I64, NOWHERE, U8, U32, Bool


def allocate_reference(
    page: U32, node: I16, place: U8, preferred: I16, free: I64, floor: I64, fallback: I64
) -> int:
    """Plain form of `allocate`."""
    failed = 0
    for index, initiator in zip(page.tolist(), node.tolist(), strict=True):
        if place[index] != NOWHERE:
            continue
        choices = [int(preferred[index])] if preferred[index] >= 0 else []
        choices += fallback[initiator].tolist()
        room = [choice for choice in choices if free[choice] > floor[choice]]
        if not room:
            failed += 1
            continue
        place[index] = room[0]
        free[room[0]] -= 1
    return failed


def serve_reference(
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    place: U8,
    young: U8,
    overlap: F32,
    served: F64,
) -> int:
    """Plain form of `serve`."""
    served[:] = 0.0
    home = place[page]
    placed = home != NOWHERE
    young[page[placed]] = 1
    where = (node[placed], home[placed])
    missed = misses[placed].astype(np.float64)
    share = np.divide(writes[placed], touches[placed], out=np.zeros(placed.sum()), where=touches[placed] > 0)
    np.add.at(served[..., 0], where, missed - sequential[placed])
    np.add.at(served[..., 1], where, sequential[placed].astype(np.float64))
    np.add.at(served[..., 2], where, missed * share)
    np.add.at(served[..., 3], where, (missed - sequential[placed]) * overlap[page[placed]])
    return int((~placed).sum())


def touch_reference(page: U32, place: U8, young: U8, first: Bool) -> int:
    """`touch` with index arrays."""
    placed = place[page] != NOWHERE
    young[page[placed]] = 1
    first[page[~placed]] = True
    return int(np.count_nonzero(~placed))


def note_writes_reference(
    page: U32, writes: U32, first: Bool, rewritten: I64, size: I64, place: U8, node: int, out: U32
) -> int:
    """`note_writes` with index arrays."""
    written = np.unique(page[writes > 0])
    again = written[~first[written]]
    size[again] = rewritten[again]
    here = again[place[again] == node]
    out[: len(here)] = here
    return len(here)
