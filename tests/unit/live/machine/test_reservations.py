"""What looking at a real program costs: what it has in memory, never what it reserves. Counted in calls and bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reserving import GIB, PAGE, Reserving, reserving
from pghot.arrays import I32, U64
from pghot.kernel import pagemap
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.pagemap import PRESENT, flagged, held_pages
from pghot.kernel.pagemap_scan import PagemapScan
from pghot.kernel.process import resident_bytes
from pghot.kernel.ranges import bridged, overlap, pages_of
from pghot.kernel.smaps import mappings_in_use
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine import placement as placement_module
from pghot.live.machine.placement import Placement
from pghot.live.machine.spaces import Spaces

ROOT = SysRoot()
TIB = 1024 * GIB
# Each has 503 pages (a prime), thinly spread, in one reservation: bytes, distance of the pages, and if all is writable.
SHAPES = {
    "256 GiB, as Go reserves it": (256 * GIB, 512 << 20, False),
    "1 TiB, all writable": (TIB, 2 * GIB, True),
    "20 TiB with guard pages": (20 * TIB, 8 * PAGE, False),
    "20 TiB, all writable, as a sanitizer's shadow": (20 * TIB, 40 * GIB, True),
}
PAGES = 503


@dataclass
class Asked:
    """What the kernel was asked for: pages of move_pages, entries of pagemap, ioctls of PAGEMAP_SCAN."""

    pages: int = 0
    entries: int = 0
    scans: int = 0
    calls: list[int] = field(default_factory=list)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    counted, scan, pread = Asked(), PagemapScan._scan, os.pread

    def query(pid: int, address: U64) -> I32:
        counted.pages += len(address)
        counted.calls.append(len(address))
        return query_nodes(pid, address)

    def scanned(self: PagemapScan, *range_: int) -> int:
        counted.scans += 1
        return scan(self, *range_)

    def read(fd: int, length: int, offset: int) -> bytes:
        counted.entries += length // 8
        return pread(fd, length, offset)

    monkeypatch.setattr(placement_module, "query_nodes", query)
    monkeypatch.setattr(PagemapScan, "_scan", scanned)
    monkeypatch.setattr(os, "pread", read)
    return counted


@pytest.fixture
def scans() -> None:
    fd = pagemap.open_pagemap(ROOT, os.getpid())
    if not PagemapScan(fd).supported():
        pytest.skip("the kernel has no PAGEMAP_SCAN")
    os.close(fd)


def movable_pages(program: Reserving) -> int:
    """Pages that the program has in movable mappings, by an independent count: those of smaps, most of them."""
    text = ROOT.read(f"/proc/{program.pid}/smaps_rollup")
    return next(int(line.split()[1]) // 4 for line in text.split("\n") if line.startswith("Anonymous:"))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_survey_asks_for_what_is_resident(shape: str, asked: Asked, scans: None) -> None:
    reserved, stride, committed = SHAPES[shape]
    with reserving(reserved, PAGES, stride, committed) as program:
        spaces = Spaces(ROOT, 2 * PAGES)
        spaces.refresh([program.pid])
        found = Placement(ROOT, spaces)
        pages = sum(len(page) for page in found.survey(spaces.spaces[0]))
        page = spaces.table.lookup(np.full(PAGES, program.pid, np.int32), np.array(program.wrote, np.uint64))
        assert (spaces.pages.place[page] != 255).all()
        resident = movable_pages(program)
        assert PAGES <= pages <= asked.pages <= resident + PAGES
        # Each call of the kernel reports 4096 parts; there is one for each group of ranges near each other.
        assert asked.scans <= 2 * PAGES
        assert asked.entries == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_look_at_the_entries_reads_what_is_resident(shape: str, asked: Asked, scans: None) -> None:
    """What softdirty, idle, damon and the map of frames do in each period."""
    reserved, stride, committed = SHAPES[shape]
    with reserving(reserved, PAGES, stride, committed) as program:
        start, end = np.array([program.start], np.uint64), np.array([program.end], np.uint64)
        assert flagged(ROOT, program.pid, start, end, PRESENT).tolist() == program.wrote
        assert asked.entries <= PAGES * min(stride // PAGE, pagemap._NEAR_PAGES)


def test_an_older_kernel_is_not_asked_for_mappings_without_pages(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 TiB of which 503 pages 32 KiB apart may be used: smaps names them, and 503 entries say they are there."""
    monkeypatch.setattr(PagemapScan, "supported", lambda self: False)
    with reserving(20 * TIB, PAGES, 8 * PAGE, committed=False) as program:
        start, end = np.array([program.start], np.uint64), np.array([program.end], np.uint64)
        parts = list(held_pages(ROOT, program.pid, start, end, 100))
        assert np.concatenate(parts).tolist() == program.wrote
        assert max(len(part) for part in parts) <= 100
        assert asked.entries <= 8 * PAGES
        used = mappings_in_use(ROOT, program.pid)
        assert set(program.wrote) <= set(used[0].tolist())
        assert (used[0] < used[1]).all()


def test_an_older_kernel_finds_the_pages_of_a_sparse_mapping(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 GiB in one writable mapping: 2^21 entries are read, but only the pages that are there are named."""
    monkeypatch.setattr(PagemapScan, "supported", lambda self: False)
    with reserving(8 * GIB, PAGES, 16 << 20) as program:
        start, end = np.array([program.start], np.uint64), np.array([program.end], np.uint64)
        found = np.concatenate(list(held_pages(ROOT, program.pid, start, end, 1 << 15)))
        assert found.tolist() == program.wrote
        assert asked.entries == 8 * GIB // PAGE


def test_on_an_older_kernel_a_program_that_uses_what_it_has_is_read_without_smaps(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PagemapScan, "supported", lambda self: False)
    monkeypatch.setattr(pagemap, "mappings_in_use", None)
    with reserving(GIB, PAGES, PAGE) as program:
        start = np.array([program.start], np.uint64)
        end = start + np.uint64(2 * PAGES * PAGE)
        named = np.concatenate(list(held_pages(ROOT, program.pid, start, end, 64)))
        assert named.tolist() == [program.start + i * PAGE for i in range(2 * PAGES)]


def test_pages_of_many_mappings_come_in_whole_batches(asked: Asked, scans: None) -> None:
    """1,009 mappings of one page: not a call for each of them."""
    with reserving(4 * GIB, 1009, 8 * PAGE, committed=False) as program:
        spaces = Spaces(ROOT, 64)
        spaces.refresh([program.pid])
        list(Placement(ROOT, spaces).survey(spaces.spaces[0]))
        assert len(asked.calls) <= 2 + asked.pages // 4096


def test_a_file_that_is_no_pagemap_and_a_process_that_is_gone(tmp_path: Any) -> None:
    with open(tmp_path / "x", "w") as file:
        assert not PagemapScan(file.fileno()).supported()
    none = np.array([0], np.uint64), np.array([PAGE], np.uint64)
    with pytest.raises(OSError, match="No such file"):
        list(held_pages(SysRoot(tmp_path), 7, *none, 5))
    assert resident_bytes(ROOT) > 0


# ---- ranges, against sets of pages

RANGES = st.lists(st.integers(1, 6), max_size=12).map(
    lambda steps: np.cumsum(np.array([0, *steps], np.uint64))[: len(steps) // 2 * 2].reshape(-1, 2)
)


def page_set(ranges: np.ndarray) -> list[int]:
    return [page for start, end in ranges.tolist() for page in range(start, end)]


def columns(ranges: np.ndarray) -> tuple[U64, U64]:
    pages = ranges * np.uint64(PAGE)
    return pages[:, 0], pages[:, 1]


@given(RANGES, RANGES, st.integers(0, 4), st.integers(1, 7))
def test_ranges_are_sets_of_pages(one: np.ndarray, other: np.ndarray, gap: int, most: int) -> None:
    both = np.stack(overlap(*columns(one), *columns(other)), 1) // np.uint64(PAGE)
    assert page_set(both) == sorted(set(page_set(one)) & set(page_set(other)))
    parts = list(pages_of(*columns(one), most))
    assert [page * PAGE for page in page_set(one)] == [each for part in parts for each in part.tolist()]
    assert all(len(part) == most for part in parts[:-1])
    joined = np.stack(bridged(*columns(one), gap * PAGE), 1) // np.uint64(PAGE)
    filled = [
        page for a, b in zip(one[:-1, 1], one[1:, 0], strict=True) if b - a <= gap for page in range(a, b)
    ]
    assert page_set(joined) == sorted([*page_set(one), *filled])
    assert (joined[1:, 0] > joined[:-1, 1] + np.uint64(gap)).all()
