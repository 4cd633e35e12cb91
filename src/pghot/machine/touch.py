"""The kernels that a slice runs through: allocation of first-touched pages, and who served which miss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.machine.lru import UNPLACED

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@njit(cache=True)
def allocate(page: U32, node: I16, place: U8, preferred: I16, free: I64, floor: I64, fallback: I64) -> int:
    """Place the untouched pages among `page`; returns how many found no room anywhere.

    page, node  rows of a slice: who touches which page
    place       uint8[pages]   updated
    preferred   int16[pages]   node a policy wants for the page, -1 for the toucher's own zonelist
    free        int64[nodes]   free pages, updated; allocation leaves `floor` pages of each node alone
    fallback    int64[nodes, nodes]  zonelist of each node
    """
    failed = 0
    nodes = fallback.shape[1]
    for row in range(len(page)):
        index = page[row]
        if place[index] != UNPLACED:
            continue
        wanted = preferred[index]
        if wanted >= 0 and free[wanted] > floor[wanted]:
            place[index] = wanted
            free[wanted] -= 1
            continue
        placed = False
        for k in range(nodes):
            candidate = fallback[node[row], k]
            if free[candidate] > floor[candidate]:
                place[index] = candidate
                free[candidate] -= 1
                placed = True
                break
        if not placed:
            failed += 1
    return failed


def allocate_reference(
    page: U32, node: I16, place: U8, preferred: I16, free: I64, floor: I64, fallback: I64
) -> int:
    """Plain form of `allocate`."""
    failed = 0
    for index, initiator in zip(page.tolist(), node.tolist(), strict=True):
        if place[index] != UNPLACED:
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


@njit(cache=True)
def serve(
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    place: U8,
    young: U8,
    served: F64,
) -> int:
    """Add up which node served the slice's misses; returns how many rows are not placed yet.

    served  float64[initiators, nodes, 3]  random misses, sequential misses, misses that dirty a line; set.
    young   uint8[pages]  A-bits, set for touched pages

    A row's dirty misses are its misses times the share of its touches that are stores. When rows are not
    placed, nothing but their count is to be used: allocate and call again.
    """
    served[:] = 0.0
    unplaced = 0
    for row in range(len(page)):
        index = page[row]
        home = place[index]
        if home == UNPLACED:
            unplaced += 1
            continue
        young[index] = 1
        missed = misses[row]
        if missed == 0:
            continue
        initiator = node[row]
        served[initiator, home, 0] += missed - sequential[row]
        served[initiator, home, 1] += sequential[row]
        if writes[row]:
            served[initiator, home, 2] += missed * (writes[row] / touches[row])
    return unplaced


def serve_reference(
    page: U32,
    touches: U32,
    misses: U32,
    sequential: U32,
    writes: U32,
    node: I16,
    place: U8,
    young: U8,
    served: F64,
) -> int:
    """Plain form of `serve`."""
    served[:] = 0.0
    home = place[page]
    placed = home != UNPLACED
    young[page[placed]] = 1
    where = (node[placed], home[placed])
    missed = misses[placed].astype(np.float64)
    share = np.divide(writes[placed], touches[placed], out=np.zeros(placed.sum()), where=touches[placed] > 0)
    np.add.at(served[..., 0], where, missed - sequential[placed])
    np.add.at(served[..., 1], where, sequential[placed].astype(np.float64))
    np.add.at(served[..., 2], where, missed * share)
    return int((~placed).sum())


@njit(cache=True)
def written_pages(page: U32, writes: U32, out: U32) -> int:
    """The pages that were written to, each once, into `out` (uint32[rows]); returns how many.

    page, writes  rows of a slice, ascending by page; a page has a row for each node that accessed it
    """
    found = 0
    for row in range(len(page)):
        if writes[row] and (found == 0 or out[found - 1] != page[row]):
            out[found] = page[row]
            found += 1
    return found


def written_pages_reference(page: U32, writes: U32, out: U32) -> int:
    """Plain form of `written_pages`."""
    found = np.unique(page[writes > 0])
    out[: len(found)] = found
    return len(found)
