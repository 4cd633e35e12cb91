"""The working set of windows, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.small_recordings import missing, recorded
from pghot.errors import UsageError
from pghot.recording.reader import Recording
from pghot.recording.time_bins import windows
from pghot.recording.totals import read_once
from pghot.recording.trace import Region
from pghot.recording.working_set import WorkingSet, WorkingSets

HEAP = Region(0, 9, 0, 0x10000, "[heap]")


def working_set(recording: Recording, window_ns: int | None = None) -> WorkingSet:
    sets = WorkingSets(recording, windows(recording, window_ns))
    read_once(recording, sets)
    return sets.result()


def test_pages_are_counted_once_a_window_and_misses_decide_what_takes_most(tmp_path: Path) -> None:
    slices = [missing((0, 2), (1, 3), (2, 1)), missing((0, 3), (3, 1), (4, 0)), missing((8, 4)), {}]
    found = working_set(recorded(tmp_path / "a.pghot", slices, [HEAP]), 2_000_000)
    # First window: pages 0 to 4 with 5, 3, 1, 1 and 0 misses, 10 in all. Half is 5: page 0. 9 are 5 + 3 + 1: three
    # pages. 99 % of 10 is 9.9, so all 10: four pages.
    assert found.touched.tolist() == [5, 1]
    assert found.taking.tolist() == [[1, 1], [3, 1], [4, 1]]
    assert found.misses.tolist() == [10, 4]


def test_a_window_may_lie_across_batches_and_one_without_misses_takes_nothing(tmp_path: Path) -> None:
    slices = [missing((0, 1)), missing((1, 0)), missing((0, 1))]
    found = working_set(recorded(tmp_path / "a.pghot", slices, [HEAP], gap=1), 2_000_000)
    assert found.touched.tolist() == [2, 1]
    found = working_set(recorded(tmp_path / "b.pghot", slices, [HEAP], gap=3), 1_000_000)
    assert found.touched.tolist() == [1, 1, 0, 0, 0, 1]
    assert found.taking[0].tolist() == [1, 0, 0, 0, 0, 1]
    assert found.recorded.tolist() == [True, True, False, False, False, True]


def test_windows_are_whole_slices(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.pghot", [missing((0, 1))] * 450, [HEAP])
    assert windows(recording, 2_600_000).bin_ns == 3_000_000
    # 450 slices of 1 ms: at most 200 windows are 225 of 2 ms, which is too many, or 90 of 5 ms.
    usual = windows(recording, None)
    assert (usual.bin_ns, usual.bins) == (5_000_000, 90)
    with pytest.raises(UsageError, match="shorter than a slice"):
        windows(recording, 999_999)
