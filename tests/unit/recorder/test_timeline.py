"""Merging the slices of one or several processes: nothing lost, nothing twice, rows in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.errors import PghotError
from pghot.recorder.decode import SliceFrame, Thread
from pghot.recorder.timeline import Process, Timeline
from pghot.recording.reallocations import Reallocation
from pghot.recording.trace import MemoryKind, Region, SliceBatch, Task

SLICE_NS = 1000


def make_frame(
    index: int,
    rows: dict[int, int],
    extents: tuple[int, ...] = (),
    regions: tuple[tuple[int, int, int, int], ...] = (),
    instructions: tuple[int, ...] = (10,),
    cpu: int = 0,
) -> SliceFrame:
    """Pages touched `rows[page]` times by one vCPU; of these half missed, a quarter in order, a third stores."""
    page = np.array(sorted(rows), np.uint32)
    touches = np.array([rows[number] for number in sorted(rows)], np.uint32)
    return SliceFrame(
        index,
        0,
        5,
        0,
        np.array(extents, np.uint64),
        np.array(regions, np.uint64).reshape(-1, 4),
        np.array(instructions, np.uint64),
        page,
        np.full(len(page), cpu, np.uint32),
        np.stack([touches, touches // 3, touches // 4, 0 * touches, 0 * touches, touches // 2, touches // 3]),
    )


def rows_of(batch: SliceBatch) -> dict[int, dict[int, int]]:
    """{start: {page: touches}}"""
    found: dict[int, dict[int, int]] = {}
    for i, start in enumerate(batch.start_ns.tolist()):
        part = slice(batch.offsets[i], batch.offsets[i + 1])
        key = batch.page[part].astype(np.int64) << 16 | batch.thread[part]
        assert np.all(np.diff(key) > 0)
        found[start] = dict(zip(batch.page[part].tolist(), batch.touches[part].tolist(), strict=True))
    return found


def test_one_process_gives_every_slice_but_the_newest() -> None:
    timeline, process = Timeline(SLICE_NS), Process(1, 0, "a")
    timeline.add(process, make_frame(0, {3: 4}, extents=(8,)))
    assert timeline.take(1) is None
    timeline.add(process, make_frame(1, {3: 5, 600: 6}, extents=(9,)))
    taken = timeline.take(1)
    assert taken is not None
    assert rows_of(taken[0]) == {0: {3: 4}}
    rest = timeline.take(0)
    assert rest is not None
    assert rows_of(rest[0]) == {1000: {3: 5, 600: 6}}
    assert timeline.take(0) is None
    assert (timeline.references, timeline.footprint, timeline.pages) == (15, 2, 1024)


def test_the_rest_of_a_slice_is_added_to_it() -> None:
    timeline, process = Timeline(SLICE_NS), Process(1, 0, "a")
    timeline.add(process, make_frame(5, {1: 4, 2: 8}, extents=(8,), instructions=(10, 1)))
    timeline.add(process, make_frame(5, {2: 8, 3: 4}, instructions=(5, 2)))
    taken = timeline.take(0)
    assert taken is not None
    batch, _ = taken
    assert rows_of(batch) == {5000: {1: 4, 2: 16, 3: 4}}
    assert batch.instructions.tolist() == [18]
    assert (batch.misses.tolist(), batch.sequential.tolist(), batch.writes.tolist()) == (
        [2, 8, 2],
        [1, 4, 1],
        [1, 4, 1],
    )
    assert process.instructions == {0: 15, 1: 3}


def test_threads_have_rows_of_their_own_and_keep_their_number() -> None:
    timeline, process = Timeline(SLICE_NS), Process(10, 0, "/usr/bin/program-with-a-long-name")
    timeline.name_thread(process, Thread(0, 10, "main"))
    timeline.name_thread(process, Thread(1, 11, "qemu-x86_64"))
    timeline.add(process, make_frame(0, {1: 4, 2: 8}, extents=(8,), cpu=1))
    timeline.add(process, make_frame(0, {1: 6}, cpu=0))
    timeline.name_thread(process, Thread(1, 12, "later"))  # another thread runs as the second vCPU
    timeline.name_thread(process, Thread(0, 10, "renamed"))
    timeline.add(process, make_frame(0, {1: 2}, cpu=1))
    taken = timeline.take(0)
    assert taken is not None
    batch = taken[0]
    rows = zip(batch.page.tolist(), batch.thread.tolist(), batch.touches.tolist(), strict=True)
    assert list(rows) == [(1, 0, 6), (1, 1, 4), (1, 2, 2), (2, 1, 8)]
    assert timeline.tasks == [Task(10, 0, "renamed"), Task(11, 0, "program-with-a-"), Task(12, 0, "later")]
    assert batch.misses_by_cache.tolist() == [[3, 2, 1, 4], [2, 1, 0, 2]]
    assert timeline.waited == 15


def test_processes_have_pages_and_regions_of_their_own() -> None:
    timeline, one, two = Timeline(SLICE_NS), Process(1, 0, "a"), Process(2, 1, "b")
    one.names[0], two.names[0] = "[heap]", "[stack]"
    timeline.add(one, make_frame(0, {1: 4}, extents=(8,), regions=((1, 3, 0, 0),)))
    timeline.add(two, make_frame(0, {1: 6}, extents=(8,), regions=((0, 9, 0, 0),)))
    timeline.add(one, make_frame(0, {513: 2}, extents=(11,), regions=((513, 1, 0, 0),)))
    taken = timeline.take(0)
    assert taken is not None
    assert rows_of(taken[0]) == {0: {1: 4, 513: 6, 1025: 2}}
    assert taken[1] == [
        Region(1, 3, 0, (8 << 21) + 4096, "[heap]", MemoryKind.HEAP),
        Region(512, 9, 1, 8 << 21, "[stack]", MemoryKind.STACK),
        Region(1025, 1, 0, (11 << 21) + 4096, "[heap]", MemoryKind.HEAP),
    ]


def test_a_region_has_its_first_site_and_later_ones_are_listed_with_their_time() -> None:
    timeline, one = Timeline(SLICE_NS, stacks=True), Process(1, 0, "a")
    one.names[0], one.sites[1], one.sites[2] = "[anon]", "f+0x1 (a)", "g+0x2 (a)"
    timeline.add(one, make_frame(0, {1: 4}, extents=(8,), regions=((1, 3, 0, 1), (4, 2, 0, 0))))
    timeline.add(one, make_frame(3, {1: 4}, regions=((0, 3, 0, 2), (3, 1, 0, 1), (5, 1, 0, 7))))
    taken = timeline.take(0)
    assert taken is not None
    start = 8 << 21
    assert taken[1] == [
        Region(1, 3, 0, start + 4096, "[anon]", MemoryKind.ANON, "f+0x1 (a)"),
        Region(4, 2, 0, start + 4 * 4096, "[anon]", MemoryKind.ANON, ""),
        Region(0, 1, 0, start, "[anon]", MemoryKind.ANON, "g+0x2 (a)"),
    ]
    assert timeline.sites is not None
    assert timeline.sites.later == [Reallocation(3000, 1, 2, "g+0x2 (a)")]
    assert timeline.sites.lost == 0


def test_pieces_that_go_on_are_one_region() -> None:
    """Three extents touched in order are one piece of 3 MiB; one with another site, or elsewhere, is its own."""
    timeline, one = Timeline(SLICE_NS, stacks=True), Process(1, 0, "a")
    one.names[0], one.sites[1], one.sites[2] = "[anon]", "f", "g"
    pieces = ((256, 256, 0, 1), (512, 512, 0, 1), (1024, 10, 0, 1), (1034, 5, 0, 2), (1536, 5, 0, 2))
    timeline.add(one, make_frame(0, {256: 1}, extents=(8, 9, 10, 20), regions=pieces))
    taken = timeline.take(0)
    assert taken is not None
    assert [(region.first_page, region.pages, region.site) for region in taken[1]] == [
        (256, 778, "f"),
        (1034, 5, "g"),
        (1536, 5, "g"),
    ]


@pytest.mark.parametrize("piece", [(510, 3, 0, 0), (0, 1 << 60, 0, 0), (512, 1, 0, 0), (1 << 62, 1, 0, 0)])
def test_pages_that_no_extent_has_are_refused(piece: tuple[int, int, int, int]) -> None:
    timeline, one = Timeline(SLICE_NS, stacks=True), Process(1, 0, "a")
    with pytest.raises(PghotError, match="the plugin named"):
        timeline.add(one, make_frame(0, {1: 1}, extents=(8,), regions=(piece,)))


def test_counts_that_come_after_their_slice_was_written_are_kept() -> None:
    timeline, process = Timeline(SLICE_NS), Process(1, 0, "a")
    timeline.add(process, make_frame(0, {1: 4}, extents=(8,)))
    timeline.add(process, make_frame(9, {1: 4}))
    assert timeline.take(1) is not None
    timeline.add(process, make_frame(0, {2: 7}))
    taken = timeline.take(0)
    assert taken is not None
    assert rows_of(taken[0]) == {1000: {2: 7}, 9000: {1: 4}}
    assert timeline.late_rows == 1


@settings(max_examples=60)
@given(st.data())
def test_no_count_is_lost_however_processes_interleave(data: st.DataObject) -> None:
    timeline = Timeline(SLICE_NS)
    processes = [Process(number, number, "p") for number in range(data.draw(st.integers(1, 3)))]
    for process in processes:
        timeline.add(process, make_frame(0, {}, extents=(8, 9)))
    expected: dict[tuple[int, int], int] = {}
    got: dict[int, int] = {}
    last = -1
    for _ in range(data.draw(st.integers(0, 40))):
        process = data.draw(st.sampled_from(processes))
        rows = data.draw(st.dictionaries(st.integers(0, 1023), st.integers(1, 1000), max_size=5))
        timeline.add(process, make_frame(data.draw(st.integers(0, 60)), rows))
        for page, count in rows.items():
            expected[process.space, page] = expected.get((process.space, page), 0) + count
        last = collect(timeline.take(len(processes)), got, last)
    collect(timeline.take(0), got, last)
    assert got == {space * 1024 + page: count for (space, page), count in expected.items()}


def collect(taken: tuple[SliceBatch, list[Region]] | None, got: dict[int, int], last: int) -> int:
    """Add the rows to `got`; the start of the newest slice. Slices never go back in time."""
    if taken is None:
        return last
    starts = taken[0].start_ns.tolist()
    assert starts == sorted(set(starts))
    assert starts[0] > last
    for rows in rows_of(taken[0]).values():
        for page, count in rows.items():
            got[page] = got.get(page, 0) + count
    return int(starts[-1])
