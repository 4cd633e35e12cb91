"""The compiled kernels that process a slice: first touches, A-bits, writes, and which node served which miss."""

from __future__ import annotations

from typing import NamedTuple

from pghot.arrays import F32, F64, I16, I64, NOWHERE, U8, U32, Bool
from pghot.jit import njit


class Rows(NamedTuple):
    """A slice's rows, as in `recording.trace.SliceBatch`: arrays of one length.

    Kernels take its columns one by one: Numba needs 3 us to unpack a named tuple, which matters for a short slice.
    """

    page: U32
    touches: U32
    misses: U32
    sequential: U32
    writes: U32
    node: I16

    def only(self, kept: Bool) -> Rows:
        """The rows for which `kept` is True."""
        return Rows(
            self.page[kept], self.touches[kept], self.misses[kept],
            self.sequential[kept], self.writes[kept], self.node[kept],
        )  # fmt: skip


@njit(cache=True)
def allocate(page: U32, node: I16, place: U8, preferred: I16, free: I64, floor: I64, fallback: I64) -> int:
    """Place those pages of `page` that were never touched before; returns how many found no room anywhere.

    page, node  rows of a slice: the page, and the node of the CPU that touches it
    place       uint8[pages]   updated
    preferred   int16[pages]   node that a policy wants for the page; -1: the zonelist of the toucher's node
    free        int64[nodes]   free pages, updated; allocation leaves `floor` pages of each node free
    fallback    int64[nodes, nodes]  zonelist of each node
    """
    failed = 0
    nodes = fallback.shape[1]
    for row in range(len(page)):
        index = page[row]
        if place[index] != NOWHERE:
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
    overlap: F32,
    served: F64,
) -> int:
    """Add up which node served the slice's misses; returns how many rows are not placed yet.

    served   float64[initiators, nodes, 4]  set: random misses, sequential misses, misses that dirty a line, and the
             latencies that a core waits for the random ones
    young    uint8[pages]    A-bits, set for touched pages
    overlap  float32[pages]  latencies that a core waits for one random miss there: 1 over the misses in flight

    A row's dirty misses are its misses times the share of its touches that are stores. If some rows are not placed
    yet, use only their count: allocate, and call again.
    """
    served[:] = 0.0
    unplaced = 0
    for row in range(len(page)):
        index = page[row]
        home = place[index]
        if home == NOWHERE:
            unplaced += 1
            continue
        young[index] = 1
        missed = misses[row]
        if missed == 0:
            continue
        initiator = node[row]
        random = missed - sequential[row]
        served[initiator, home, 0] += random
        served[initiator, home, 3] += random * overlap[index]
        served[initiator, home, 1] += sequential[row]
        if writes[row]:
            served[initiator, home, 2] += missed * (writes[row] / touches[row])
    return unplaced


@njit(cache=True)
def touch(page: U32, place: U8, young: U8, first: Bool) -> int:
    """Set the A-bits of the touched pages; returns how many rows are not placed yet.

    page   uint32[rows]  of a slice
    young  uint8[pages]  set for pages that are placed
    first  bool[pages]   set for pages that are not: this is their first touch
    """
    unplaced = 0
    for row in range(len(page)):
        if place[page[row]] == NOWHERE:
            unplaced += 1
            first[page[row]] = True
        else:
            young[page[row]] = 1
    return unplaced


@njit(cache=True)
def note_writes(
    page: U32, writes: U32, first: Bool, rewritten: I64, size: I64, place: U8, node: int, out: U32
) -> int:
    """Give rewritten pages the size of their new contents; returns how many of them are on `node`.

    page, writes  uint32[rows]   of a slice, ascending by page; a page has a row for each node that accessed it
    first         bool[pages]    the writes are the page's first contents. They came before kswapd could demote it in
                                 this slice, so they change no size and reach no node that compresses
    rewritten     int64[pages]   bytes that each page takes once it has been written
    size          int64[pages]   bytes that each will take; updated
    out           uint32[rows]   set: the rewritten pages on `node` come first, each once
    """
    found = 0
    for row in range(len(page)):
        index = page[row]
        if not writes[row] or first[index]:
            continue
        size[index] = rewritten[index]
        if place[index] == node and (found == 0 or out[found - 1] != index):
            out[found] = index
            found += 1
    return found
