"""Regrouping pages into folios by their virtual addresses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders.recordings import INFO, all_slices, assert_same_slices, random_trace
from pghot.errors import UsageError
from pghot.recording.coarsen import coarsen
from pghot.recording.trace import MemoryTrace, Region, SliceBatch

MIB_2 = 2 << 20


def one_slice(page: list[int], node: list[int] | None = None) -> SliceBatch:
    """A slice in which row i has 10 * (i + 1) touches, half of them misses."""
    touches = np.arange(1, len(page) + 1, dtype=np.uint32) * np.uint32(10)
    return SliceBatch(
        start_ns=np.zeros(1, np.uint64),
        instructions=np.ones(1, np.uint64),
        offsets=np.array([0, len(page)], np.int64),
        page=np.array(page, np.uint32),
        touches=touches,
        misses=touches // 2,
        sequential=touches // 5,
        writes=touches // 10,
        node=np.array(node or [0] * len(page), np.int16),
    )


def test_folios_follow_virtual_not_dense_alignment() -> None:
    """Dense pages 0..3 straddle a 2 MiB boundary of their addresses after page 1."""
    regions = (Region(0, 4, 0, MIB_2 - 2 * 4096, "[heap]"),)
    coarse = coarsen(MemoryTrace(INFO, 4, regions, [one_slice([0, 1, 2, 3])]), MIB_2)
    (batch,) = coarse.batches()
    assert coarse.pages == 2
    assert coarse.info.page_bytes == MIB_2
    assert coarse.regions == (Region(0, 2, 0, 0, "[heap]"),)
    assert batch.page.tolist() == [0, 1]
    assert batch.touches.tolist() == [30, 70]
    assert batch.misses.tolist() == [15, 35]
    assert batch.sequential.tolist() == [6, 14]
    assert batch.writes.tolist() == [3, 7]


def test_address_spaces_do_not_share_folios() -> None:
    regions = (Region(0, 1, 0, MIB_2, "[heap]"), Region(1, 1, 1, MIB_2, "[heap]"))
    coarse = coarsen(MemoryTrace(INFO, 2, regions, [one_slice([0, 1])]), MIB_2)
    assert coarse.pages == 2
    assert [region.space for region in coarse.regions] == [0, 1]


def test_nodes_stay_apart() -> None:
    regions = (Region(0, 2, 0, 0, "[heap]"),)
    trace = MemoryTrace(replace(INFO, nodes=2), 2, regions, [one_slice([0, 0, 1], [0, 1, 0])])
    (batch,) = coarsen(trace, MIB_2).batches()
    assert batch.page.tolist() == [0, 0]
    assert batch.node.tolist() == [0, 1]
    assert batch.touches.tolist() == [40, 20]


def test_a_folio_is_named_after_its_largest_region() -> None:
    regions = (Region(0, 1, 0, 0, "small"), Region(1, 3, 0, 4096, "large"))
    coarse = coarsen(MemoryTrace(INFO, 4, regions, []), MIB_2)
    assert coarse.regions == (Region(0, 1, 0, 0, "large"),)


def test_pages_without_a_region_are_grouped_by_index() -> None:
    coarse = coarsen(MemoryTrace(INFO, 1025, (), [one_slice([0, 511, 512, 1024])]), MIB_2)
    (batch,) = coarse.batches()
    assert batch.page.tolist() == [0, 1, 2]
    assert batch.touches.tolist() == [30, 30, 40]


def test_totals_are_kept_and_the_trace_is_reiterable() -> None:
    trace = random_trace(parts=3)
    coarse = coarsen(trace, MIB_2)
    first, again, fine = all_slices(coarse), all_slices(coarse), all_slices(trace)
    assert_same_slices(first, again)
    for name in ("touches", "misses", "sequential", "writes"):
        assert getattr(first, name).sum() == getattr(fine, name).sum()
    assert first.start_ns.tolist() == fine.start_ns.tolist()


def test_the_same_page_size_is_the_same_trace() -> None:
    trace = random_trace()
    assert coarsen(trace, 4096) is trace


@pytest.mark.parametrize("page_bytes", [0, 2048, 3 << 20])
def test_impossible_sizes(page_bytes: int) -> None:
    with pytest.raises(UsageError, match="cannot regroup"):
        coarsen(random_trace(), page_bytes)
