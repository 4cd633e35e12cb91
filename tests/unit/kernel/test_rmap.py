"""From addresses of CXL devices to page frames, and from page frames to programs."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.machine_trees import cxl_tree, put
from pghot.kernel.cxl_regions import Extent, extents_of, frame_ranges, frames_of_units, host_addresses
from pghot.kernel.pagemap import pfns
from pghot.kernel.process import read_stat
from pghot.kernel.rmap import ReverseMap, frames_need
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched
from pghot.live.sources.frame_owners import REFRESH_MS, FrameOwners

PAGE = 4096
GIB = 1 << 30


def test_extents_of_an_interleaved_region(tmp_path: Path) -> None:
    cxl_tree(tmp_path)
    root = SysRoot(tmp_path)
    assert extents_of(root, "mem0") == [Extent(1 << 28, GIB, 64 * GIB, 2, 0, 4096)]
    assert extents_of(root, "mem1") == [Extent(1 << 28, GIB, 64 * GIB, 2, 1, 4096)]
    assert extents_of(root, "mem2") == []
    assert frame_ranges(extents_of(root, "mem1")) == [(64 * GIB // PAGE, 66 * GIB // PAGE)]


def test_a_region_without_memory_behind_it_has_no_extents(tmp_path: Path) -> None:
    cxl_tree(tmp_path, ways=1)
    put(tmp_path, "/sys/bus/cxl/devices/decoder4.0/dpa_size", "0x0")
    assert extents_of(SysRoot(tmp_path), "mem0") == []
    assert extents_of(SysRoot(tmp_path / "none"), "mem0") == []


@given(
    st.integers(1, 6),
    st.sampled_from([256, 1024, 4096, 16384]),
    st.lists(st.integers(0, (1 << 20) - 1), max_size=40),
)
def test_host_addresses_are_what_the_decoder_deals_out(ways, granularity, offsets):
    """The other way round: host bytes in turns, each device's next bytes in order."""
    extents = [Extent(1 << 28, 1 << 20, 64 * GIB, ways, position, granularity) for position in range(ways)]
    for extent in extents:
        dpa = np.array(offsets, np.uint64) + np.uint64(extent.dpa)
        hpa, known = host_addresses([extent], dpa)
        assert known.all()
        for offset, address in zip(offsets, hpa.tolist(), strict=True):
            turn, within = divmod(address - extent.hpa, granularity)
            assert turn % ways == extent.position
            assert turn // ways * granularity + within == offset


def test_addresses_outside_the_region_have_no_frame() -> None:
    extents = [Extent(1 << 28, GIB, 64 * GIB)]
    frame, index = frames_of_units(extents, np.array([0, (1 << 28) // PAGE + 3], np.uint64), PAGE)
    assert frame.tolist() == [64 * GIB // PAGE + 3]
    assert index.tolist() == [1]


@pytest.mark.parametrize(
    ("unit_bytes", "ways", "granularity", "frames"),
    [
        (4096, 1, 4096, [5]),
        (256, 1, 4096, [0]),
        (16384, 1, 4096, [20, 21, 22, 23]),
        (4096, 2, 4096, [11]),
        (4096, 2, 256, [10, 11]),
        (4096, 4, 1024, [20, 21, 22, 23]),
    ],
    ids=["page", "part-of-a-page", "large", "turns-of-a-page", "turns-of-256", "four-turns"],
)
def test_frames_of_the_sixth_unit(unit_bytes: int, ways: int, granularity: int, frames: list[int]) -> None:
    extents = [Extent(0, GIB, 0, ways, ways - 1, granularity)]
    frame, index = frames_of_units(extents, np.array([5], np.uint64), unit_bytes)
    assert frame.tolist() == frames
    assert index.tolist() == [0] * len(frames)


def space_of_ourselves(start: int, end: int) -> Space:
    identity = read_stat(SysRoot(), os.getpid()).identity
    return Space(1, identity, "pytest", np.array([start], np.uint64), np.array([end], np.uint64))


def test_frames_of_our_own_pages_lead_back_to_them() -> None:
    need = frames_need(SysRoot())
    if not need.met:
        pytest.skip(f"no {need.what}: {need.why}")
    pages = 509
    with mmap.mmap(-1, 2 * pages * PAGE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        start = np.frombuffer(memory, np.uint8).ctypes.data
        for page in range(0, 2 * pages, 2):  # every other one is there
            memory[page * PAGE] = 1
        space = space_of_ourselves(start, start + 2 * pages * PAGE)
        address, frame = pfns(SysRoot(), os.getpid(), start, start + 2 * pages * PAGE)
        rmap = ReverseMap()
        rmap.build(SysRoot(), [space])
        asked = np.concatenate([frame[::-1], np.array([0, 1 << 50], np.uint64)])
        pid, found, index = rmap.find(asked)
        assert len(rmap) == pages
        assert rmap.bytes_total == 20 * pages
        assert set(pid.tolist()) == {os.getpid()}
        assert found.tolist() == address[::-1].tolist()
        assert index.tolist() == list(range(pages))
        first = int(np.sort(frame)[0])
        rmap.build(SysRoot(), [space], [(first, first + 1)])
        assert len(rmap) == 1


def test_a_map_of_nothing_finds_nothing() -> None:
    rmap = ReverseMap()
    gone = Space(
        1, read_stat(SysRoot(), os.getpid()).identity, "x", np.empty(0, np.uint64), np.empty(0, np.uint64)
    )
    rmap.build(SysRoot(Path("/no/such/tree")), [gone, space_of_ourselves(PAGE, 2 * PAGE)])
    assert [len(part) for part in rmap.find(np.array([1, 2], np.uint64))] == [0, 0, 0]


def test_owners_are_read_again_when_their_picture_is_old() -> None:
    need = frames_need(SysRoot())
    if not need.met:
        pytest.skip(f"no {need.what}: {need.why}")
    with mmap.mmap(-1, 2 * PAGE) as memory:
        memory[0] = 1
        start = np.frombuffer(memory, np.uint8).ctypes.data
        owners = FrameOwners(SysRoot())
        owners.watch(Watched((space_of_ourselves(start, start + 2 * PAGE),)))
        assert len(owners.find(np.array([1], np.uint64), 10_000)[0]) == 0
        memory[PAGE] = 1
        _, frame = pfns(SysRoot(), os.getpid(), start + PAGE, start + 2 * PAGE)
        assert len(owners.find(frame, 10_000 + REFRESH_MS - 1)[0]) == 0
        assert owners.find(frame, 10_000_000)[1].tolist() == [start + PAGE]
