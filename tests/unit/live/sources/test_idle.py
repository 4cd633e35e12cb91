"""The idle page bitmap as a source, on a tree that behaves as the kernel's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scan_trees import ALL_CAPABILITIES, FRAMES, IdleBitmap, Process, put, watched
from pghot.errors import UnsupportedError
from pghot.kernel.kpageflags import KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL, KPF_LRU
from pghot.kernel.needs import require
from pghot.kernel.page_idle import (
    BITMAP,
    mark_idle,
    still_idle,
    tracked_frames,
)
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources.access_source import Sightings
from pghot.live.sources.idle import Idle

PERIOD_MS = 1000


def no_knob(path: str, value: str) -> None:
    raise AssertionError(f"{path} = {value}")


def addresses(found: list[Sightings] | tuple[Sightings, ...]) -> list[int]:
    return [address for sightings in found for address in sightings.address.tolist()]


class Run:
    """A source over processes, one period after the other."""

    def __init__(self, bitmap: IdleBitmap, *processes: Process) -> None:
        self.source, self.now_ms = Idle(bitmap.root, PERIOD_MS), 0
        self.source.start(watched(*processes), no_knob)

    def poll(self) -> list[int]:
        found = self.source.poll(self.now_ms)
        self.now_ms += PERIOD_MS
        return addresses(list(found))

    def settle(self) -> None:
        """The two looks in which it makes sure that it is alone."""
        assert self.poll() == []
        assert self.poll() == []


def test_it_reports_what_was_accessed_and_nothing_else(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    process = Process(tmp_path, 100, 1, 128, 64)
    run = Run(bitmap, process)
    run.settle()
    assert run.poll() == [], "nothing was accessed"
    bitmap.touch(64, 100, 191)
    assert run.poll() == process.address(0, 36, 127)
    assert run.poll() == []


def test_between_two_periods_it_does_not_look(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    run = Run(bitmap, Process(tmp_path, 100, 1, 64, 64))
    run.settle()
    bitmap.touch(70)
    assert run.source.poll(run.now_ms - 1) == []
    assert len(run.poll()) == 1


def test_less_effort_is_a_longer_period(tmp_path: Path) -> None:
    source = Idle(IdleBitmap(tmp_path).root, 1000)
    source.set_effort(0.25)
    assert "every 4000 ms" in source.sampling()


def test_a_page_that_moved_says_nothing(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    process = Process(tmp_path, 100, 1, 64, 64)
    run = Run(bitmap, process)
    run.settle()
    process.frames[5] = 1000  # whose bit is clear: as if it had been accessed
    process.write()
    assert run.poll() == []
    assert run.source.counters()["idle_moved_pages"] == 1
    bitmap.touch(1000)
    assert run.poll() == process.address(5), "from its new frame on it is tracked again"


def test_a_large_folio_is_accessed_as_a_whole(tmp_path: Path) -> None:
    """The bits of its tails read 0 always; without its head they would look hot for ever."""
    bitmap = IdleBitmap(tmp_path)
    for frame in range(512, 528):
        kind = KPF_COMPOUND_HEAD if frame == 512 else KPF_COMPOUND_TAIL
        bitmap.flags(frame, kind | (KPF_LRU if frame == 512 else 0))
    process = Process(tmp_path, 100, 1, 16, 512)
    run = Run(bitmap, process)
    run.settle()
    assert run.poll() == []
    bitmap.touch(512)
    assert run.poll() == process.address(*range(16))


def test_pages_on_no_lru_list_are_counted_not_reported(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    bitmap.flags(70, 0)
    run = Run(bitmap, Process(tmp_path, 100, 1, 64, 64))
    run.settle()
    bitmap.touch(70)
    assert run.poll() == []
    assert run.source.counters()["idle_untracked_pages"] == 3


def test_somebody_else_at_work_is_refused(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    run = Run(bitmap, Process(tmp_path, 100, 1, 64, 64))
    run.poll()
    bitmap.mark(80, 81)
    with pytest.raises(UnsupportedError, match="2 pages were marked"):
        run.poll()


def test_marks_that_an_earlier_owner_left_are_no_reason_to_refuse(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    bitmap.mark(80, 81)
    run = Run(bitmap, Process(tmp_path, 100, 1, 64, 64))
    run.settle()
    bitmap.touch(80)
    assert len(run.poll()) == 1


def test_of_two_programs_none_is_reported_before_it_was_marked(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    one, two = Process(tmp_path, 100, 1, 64, 64), Process(tmp_path, 200, 2, 64, 640)
    run = Run(bitmap, one, two)
    run.settle()
    assert run.poll() == []
    bitmap.touch(640)
    found = run.source.poll(run.now_ms)
    assert [set(sightings.pid.tolist()) for sightings in found] == [{200}]


def test_a_program_that_ended_is_passed_over(tmp_path: Path) -> None:
    bitmap = IdleBitmap(tmp_path)
    run = Run(bitmap, Process(tmp_path, 100, 1, 64, 64))
    run.settle()
    (tmp_path / "proc/100/pagemap").unlink()
    assert run.poll() == []


def test_a_kernel_without_the_bitmap_is_named(tmp_path: Path) -> None:
    put(tmp_path, "/proc/self/status", ALL_CAPABILITIES)
    with pytest.raises(UnsupportedError, match="bitmap") as caught:
        require("idle", Idle(SysRoot(tmp_path)).needs())
    assert "CONFIG_IDLE_PAGE_TRACKING" in str(caught.value.hint)


def test_without_rights_to_frame_numbers_it_says_which(tmp_path: Path) -> None:
    IdleBitmap(tmp_path)
    put(tmp_path, "/proc/self/status", "CapEff:\t0000000000000000\n")
    needs = Idle(SysRoot(tmp_path)).needs()
    assert [need.verdict for need in needs] == ["yes", "not permitted"]
    assert "CAP_SYS_ADMIN" in needs[1].remedy


frames = st.lists(st.integers(0, FRAMES - 1), unique=True, max_size=200)


@settings(deadline=None)
@given(marked=frames, asked=frames)
def test_marks_are_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, marked: list[int], asked: list[int]
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    put(tree, BITMAP)
    mark_idle(SysRoot(tree), np.array(marked, np.uint64))
    idle = still_idle(SysRoot(tree), np.array(asked, np.uint64))
    assert idle.tolist() == [frame in marked for frame in asked]


@settings(deadline=None)
@given(
    orders=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    asked=frames,
    on_lru=st.integers(0, 2**40 - 1),
)
def test_every_frame_finds_its_head(
    tmp_path_factory: pytest.TempPathFactory, orders: list[int], asked: list[int], on_lru: int
) -> None:
    """Folios of all sizes, aligned to their size as the buddy allocator makes them."""
    bitmap = IdleBitmap(tmp_path_factory.mktemp("tree"))
    head, lru = list(range(FRAMES)), [True] * FRAMES
    at = 0
    for number, order in enumerate(orders):
        size = 1 << order
        at = -(-at // size) * size
        if at + size > FRAMES:
            break
        for frame in range(at, at + size):
            head[frame], lru[frame] = at, bool(on_lru >> number & 1)
            kind = 0 if size == 1 else KPF_COMPOUND_HEAD if frame == at else KPF_COMPOUND_TAIL
            bitmap.flags(frame, kind | (KPF_LRU if lru[frame] and frame == at else 0))
        at += size
    found, tracked = tracked_frames(bitmap.root, np.array(asked, np.uint64))
    assert found.tolist() == [head[frame] for frame in asked]
    assert tracked.tolist() == [lru[frame] for frame in asked]
