"""pagemap and soft-dirty bits, on a tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scan_trees import Process, get, put, watched, words
from pghot.errors import UnsupportedError
from pghot.kernel import pagemap
from pghot.kernel.maps import Mappings
from pghot.kernel.pagemap import PFN_MASK, PRESENT, SOFT_DIRTY, flagged, pfns
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources import softdirty
from pghot.live.sources.softdirty import SoftDirty, unchanged, within

PERIOD_MS = 1000
entries = st.lists(
    st.builds(lambda frame, bits: frame | bits << 55, st.integers(0, 2**20), st.integers(0, 2**9 - 1)),
    max_size=60,
)


@settings(deadline=None)
@given(entry=entries, first=st.integers(0, 70), pages=st.integers(0, 70), chunk=st.integers(1, 70))
def test_entries_are_found_across_chunks_and_past_the_end(
    tmp_path_factory: pytest.TempPathFactory, entry: list[int], first: int, pages: int, chunk: int
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    words(tree, "/proc/9/pagemap", 0, entry)
    asked = [page for page in range(first, first + pages) if page < len(entry)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pagemap, "_CHUNK_PAGES", chunk)
        root, span = SysRoot(tree), (first * 4096, (first + pages) * 4096)
        dirty = flagged(root, 9, *span, SOFT_DIRTY)
        address, frame = pfns(root, 9, *span)
    both = SOFT_DIRTY | PRESENT
    assert dirty.tolist() == [4096 * page for page in asked if entry[page] & both == both]
    held = [page for page in asked if entry[page] & PRESENT]
    assert address.tolist() == [4096 * page for page in held]
    assert frame.tolist() == [entry[page] & PFN_MASK for page in held]


def looks(process: Process) -> SoftDirty:
    """A source that has looked once. `start` is left out: it tries the running kernel, see below."""
    source = SoftDirty(SysRoot(process.tree), PERIOD_MS)
    source.watch(watched(process))
    assert source.poll(0) == [], "what was written before the first clearing says nothing"
    return source


def written(source: SoftDirty, now_ms: int) -> list[int]:
    found = source.poll(now_ms)
    assert all(sightings.write.all() for sightings in found)
    return [address for sightings in found for address in sightings.address.tolist()]


def test_it_reports_what_was_written_and_clears(tmp_path: Path) -> None:
    process = Process(tmp_path, 100, 1, 16, 64)
    process.flags = [SOFT_DIRTY] * 16
    process.write()
    source = looks(process)
    assert get(tmp_path, "/proc/100/clear_refs") == "4"
    process.flags = [SOFT_DIRTY if page in (3, 9) else 0 for page in range(16)]
    process.write()
    assert written(source, PERIOD_MS) == process.address(3, 9)
    assert source.counters() == {"softdirty_scans": 2, "softdirty_unknown_pages": 0}


def test_it_waits_for_its_period(tmp_path: Path) -> None:
    process = Process(tmp_path, 100, 1, 4, 64)
    source = looks(process)
    process.flags = [SOFT_DIRTY] * 4
    process.write()
    source.set_effort(0.5)
    assert written(source, PERIOD_MS - 1) == []
    assert len(written(source, PERIOD_MS)) == 4, "the period was fixed when it began"
    assert written(source, 3 * PERIOD_MS - 1) == []
    assert len(written(source, 3 * PERIOD_MS)) == 4


def test_a_mapping_that_grew_says_nothing_for_one_period(tmp_path: Path) -> None:
    """The kernel marks all of it; before, half of a growing heap was taken for written."""
    process = Process(tmp_path, 100, 1, 16, 64)
    other = (process.start + 8 * 4096, process.start + 16 * 4096)
    process.map([(process.start, process.start + 6 * 4096), other])
    source = looks(process)
    process.map([(process.start, process.start + 7 * 4096), other])
    process.flags = [SOFT_DIRTY if page < 7 or page == 12 else 0 for page in range(16)]
    process.write()
    assert written(source, PERIOD_MS) == process.address(12), "the other mapping is as it was"
    assert source.counters()["softdirty_unknown_pages"] == 7
    process.flags = [SOFT_DIRTY if page == 2 else 0 for page in range(16)]
    process.write()
    assert written(source, 2 * PERIOD_MS) == process.address(2)


def test_a_program_that_ended_is_passed_over(tmp_path: Path) -> None:
    process = Process(tmp_path, 100, 1, 4, 64)
    source = looks(process)
    (tmp_path / "proc/100/maps").unlink()
    assert source.poll(PERIOD_MS) == []


def test_a_program_that_execs_begins_anew(tmp_path: Path) -> None:
    source = looks(Process(tmp_path, 100, 1, 4, 64))
    after = Process(tmp_path, 100, 2, 4, 64)
    after.flags = [SOFT_DIRTY] * 4
    after.write()
    source.watch(watched(after))
    assert source.poll(PERIOD_MS) == []


@pytest.mark.parametrize("seen, works", [("neither", False), ("both", False), ("the written one", True)])
def test_the_bits_are_tried_before_they_are_believed(
    monkeypatch: pytest.MonkeyPatch, seen: str, works: bool
) -> None:
    """A kernel without CONFIG_MEM_SOFT_DIRTY never sets bit 55, or never clears it."""

    def two_pages(root: SysRoot, pid: int, start: int, end: int, flags: int) -> np.ndarray:
        assert end - start == 8192
        found = {"neither": [], "both": [start, start + 4096], "the written one": [start + 4096]}[seen]
        return np.array(found, np.uint64)

    monkeypatch.setattr(softdirty, "flagged", two_pages)
    monkeypatch.setattr(softdirty, "clear_soft_dirty", lambda root, pid: None)
    (need,) = SoftDirty(SysRoot()).needs()
    assert need.met is works
    if not works:
        assert "CONFIG_MEM_SOFT_DIRTY" in need.remedy


def test_this_kernel_is_tried_not_asked() -> None:
    """Whatever this kernel is, the verdict and a look at our own memory agree."""
    (need,) = SoftDirty(SysRoot()).needs()
    if not need.met:
        with pytest.raises(UnsupportedError):
            SoftDirty(SysRoot()).start(watched(), lambda path, value: None)
        return
    assert softdirty._try_on_ourselves(SysRoot())


def test_a_captured_tree_is_no_kernel_to_try_on(tmp_path: Path) -> None:
    put(tmp_path, "/proc/1/stat")
    (need,) = SoftDirty(SysRoot(tmp_path)).needs()
    assert need.verdict == "unsupported"


ranges = st.sets(st.integers(0, 40), max_size=12).map(sorted)


@given(edges=ranges, address=st.lists(st.integers(0, 45), unique=True).map(sorted))
def test_within(edges: list[int], address: list[int]) -> None:
    mappings = list(zip(edges[::2], edges[1::2], strict=False))
    start, end = (np.array([pair[i] for pair in mappings], np.uint64) for i in (0, 1))
    found = within(np.array(address, np.uint64), start, end)
    assert found.tolist() == [at for at in address if any(start <= at < end for start, end in mappings)]


@given(before=ranges, now=ranges)
def test_mappings_that_are_unchanged_are_in_both(before: list[int], now: list[int]) -> None:
    pairs = [set(zip(edges[::2], edges[1::2], strict=False)) for edges in (before, now)]
    made = []
    for each in pairs:
        start, end = (np.array([pair[i] for pair in sorted(each)], np.uint64) for i in (0, 1))
        made.append(
            Mappings(start, end, np.ones(len(start), np.uint8), *np.zeros((3, len(start)), np.uint64))
        )
    start, end = unchanged(*made)
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == sorted(pairs[0] & pairs[1])
