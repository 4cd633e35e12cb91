"""Regions that were accessed as a whole become slices, whose rows are runs of pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pghot.arrays import I64, U32, Int
from pghot.errors import PghotError
from pghot.jit import njit
from pghot.recording import format as fmt
from pghot.recording.importers.importer import LATEST_NS, NS_PER_INSTRUCTION, GivesRegions, times_too_far
from pghot.recording.importers.page_numbers import EXTENT_BITS, PageNumbers, regions_of
from pghot.recording.run_batch import RunBatch
from pghot.recording.trace import SliceBatch
from pghot.recording.writer import RecordingWriter

_MOST = np.uint64(0xFFFFFFFF)
_EXTENTS_AT_A_TIME = 1 << 18


class RegionStream:
    """The regions of an importer on their way into a writer of runs.

    A page counts the accesses of all regions of a slice that it is in: where they overlap, the runs are cut. They are
    cut too where the memory that follows has other numbers.
    """

    def __init__(self, importer: GivesRegions, writer: RecordingWriter, name: str) -> None:
        self._importer, self._writer, self._name = importer, writer, name
        self.numbers = PageNumbers(EXTENT_BITS)

    def sentences(self) -> tuple[str, ...]:
        return ()

    def taken(self) -> Iterator[None]:
        """Takes in all, and stops on the way to tell that it goes on.

        Raises `PghotError` for times that no recording can have, and for more pages than one can have.
        """
        time_ns, first, pages, count, space = _in_order(self._importer.regions())
        yield
        if not len(time_ns):
            return
        time_ns = time_ns - time_ns[0]
        if time_ns[-1] > LATEST_NS:
            raise times_too_far()
        self._check_sizes(time_ns, pages)
        slice_ = time_ns // self._importer.slice_ns
        begins = np.append(np.flatnonzero(np.diff(slice_, prepend=-1)), len(slice_))
        start_ns = np.append(slice_[begins[:-1]] * self._importer.slice_ns, 0)
        start_ns[-1] = max(time_ns[-1] + 1, start_ns[-2] + 1)
        extents = np.append(0, np.cumsum(_last_extent(first, pages) - (first >> EXTENT_BITS) + 1))[begins]
        for at, stop in _parts(extents):
            own = slice(int(begins[at]), int(begins[stop]))
            number = np.repeat(np.arange(stop - at), np.diff(begins[at : stop + 1]))
            cut = self._numbered(number, first[own], pages[own], count[own], space[own])
            self._writer.append(_slices(start_ns[at : stop + 1], *cut))
            yield

    def _check_sizes(self, time_ns: I64, pages: I64) -> None:
        """Raise `PghotError` for a snapshot with more pages than a slice may have rows."""
        firsts = np.flatnonzero(np.diff(time_ns, prepend=-1))
        most = int(np.add.reduceat(pages.astype(np.float64), firsts).max())
        if most > fmt.MAX_ROWS:
            raise PghotError(
                f"{self._name} has a snapshot with {most:,} accessed pages, more than the "
                f"{fmt.MAX_ROWS:,} that a slice may have",
                "record fewer targets, or smaller ones",
            )

    def _numbered(
        self, number: I64, first: I64, pages: I64, count: I64, space: I64
    ) -> tuple[I64, I64, I64, I64]:
        """The regions as runs of dense pages: slice, first page, end, and count of each, all int64[N]."""
        extents = _last_extent(first, pages) - (first >> EXTENT_BITS) + 1
        region = np.repeat(np.arange(len(first)), extents)
        within = np.arange(len(region)) - np.repeat(np.cumsum(extents) - extents, extents)
        edge = ((first >> EXTENT_BITS)[region] + within) << EXTENT_BITS
        begin = np.maximum(edge, first[region])
        end = np.minimum(edge + (1 << EXTENT_BITS), (first + pages)[region])
        before = self.numbers.pages >> EXTENT_BITS
        page = begin.astype(np.uint64) | (space[region].astype(np.uint64) << np.uint64(52))
        dense, fresh = self.numbers.number(page)
        self._writer.announce(regions_of(fresh, before, EXTENT_BITS))
        at = dense.astype(np.int64)
        after = at + end - begin
        goes_on = np.zeros(len(at), np.bool_)
        goes_on[1:] = (within[1:] > 0) & (at[1:] == after[:-1])
        starts = np.flatnonzero(~goes_on)
        ends = after[np.append(starts[1:], len(at)) - 1]
        of = region[starts]
        return number[of], at[starts], ends, count[of]


def _in_order(regions: I64) -> I64:
    """int64[5, N]: time, first page, pages, count and space of each region that has a page, in the order of time."""
    time_ns, start, end, count, space = regions
    first, pages = start >> 12, (end >> 12) - (start >> 12)
    order = np.argsort(time_ns, kind="stable")
    order = order[pages[order] > 0]
    return np.stack([column[order] for column in (time_ns, first, pages, count, space)])


def _last_extent(first: I64, pages: I64) -> I64:
    return (first + pages - 1) >> EXTENT_BITS


def _parts(extents: I64) -> Iterator[tuple[int, int]]:
    """[begin, end) of slices that have about `_EXTENTS_AT_A_TIME` extents together; int64[S+1], those before each."""
    begin = 0
    while begin < len(extents) - 1:
        end = int(np.searchsorted(extents, extents[begin] + _EXTENTS_AT_A_TIME))
        end = min(max(begin + 1, end), len(extents) - 1)
        yield begin, end
        begin = end


def _slices(edges_ns: I64, number: I64, first: I64, end: I64, count: I64) -> RunBatch:
    """The slices of these runs, which may overlap.

    edges_ns  int64[S+1]  when each slice begins, and the one behind the last
    number    int64[N]    which of the slices it is
    """
    by_first, by_end = np.argsort(number << 32 | first), np.argsort(number << 32 | end)
    room = 2 * len(number)
    page, pages, touches = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room, np.uint32)
    offsets = np.zeros(len(edges_ns), np.int64)
    rows = int(
        cut_up(
            number[by_first], first[by_first], count[by_first], number[by_end], end[by_end], count[by_end],
            offsets, page, pages, touches,
        )
    )  # fmt: skip
    touches, none = touches[:rows], np.zeros(rows, np.uint32)
    batch = SliceBatch(
        start_ns=edges_ns[:-1].astype(np.uint64),
        instructions=(np.diff(edges_ns) / NS_PER_INSTRUCTION).astype(np.uint64),
        offsets=offsets,
        page=page[:rows],
        touches=touches,
        misses=touches,
        sequential=none,
        writes=none,
        node=np.zeros(rows, np.int16),
    )
    return RunBatch(batch, pages[:rows])


@njit(cache=True)
def cut_up(
    slice_by_first: I64,
    first: I64,
    count_by_first: I64,
    slice_by_end: I64,
    end: I64,
    count_by_end: I64,
    offsets: I64,
    page: U32,
    pages: U32,
    touches: U32,
) -> Int:
    """Cut the runs of each slice where others begin or end, and add up those of a piece, to 2^32 - 1 at most.

    slice_by_first, first, count_by_first  int64[N]  in the order of slice and first page
    slice_by_end, end, count_by_end        int64[N]  the same runs in the order of slice and end
    offsets                                int64[S+1]  filled in: where the rows of each slice begin
    page, pages, touches                   uint32[2N]  filled in

    Returns how many rows there are.
    """
    rows, begun, ended = 0, 0, 0
    for s in range(len(offsets) - 1):
        open_runs, total, at = 0, np.uint64(0), np.int64(0)
        while ended < len(end) and slice_by_end[ended] == s:
            begins = begun < len(first) and slice_by_first[begun] == s and first[begun] < end[ended]
            edge = first[begun] if begins else end[ended]
            if open_runs > 0 and edge > at:
                page[rows], pages[rows], touches[rows] = at, edge - at, min(total, _MOST)
                rows += 1
            at = edge
            if begins:
                open_runs += 1
                total += np.uint64(count_by_first[begun])
                begun += 1
            else:
                open_runs -= 1
                total -= np.uint64(count_by_end[ended])
                ended += 1
        offsets[s + 1] = rows
    return rows
