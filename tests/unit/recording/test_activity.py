"""What regions and threads did over time, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.recordings import INFO
from builders.small_recordings import TWO_THREADS, recorded
from pghot.recording import activity
from pghot.recording.activity import Activities, Activity
from pghot.recording.reader import Recording
from pghot.recording.time_bins import at_most
from pghot.recording.totals import read_once
from pghot.recording.trace import Region

REGIONS = [
    Region(0, 2, 0, 0x1000, "[heap]"),
    Region(2, 1, 0, 0x9000, "[stack]"),
    Region(4, 1, 0, 0xF000, "[heap]"),
]
SLICES = [
    {(0, 0): (9, 5, 2), (0, 1): (4, 1, 0), (2, 1): (7, 2, 7)},
    {(4, 0): (3, 3, 3), (3, 0): (1, 0, 0)},
    {(1, 1): (2, 1, 0)},
]


def active(recording: Recording, bins: int) -> Activity:
    found = Activities(recording, at_most(recording, bins))
    read_once(recording, found)
    return found.result()


def test_counts_by_region_and_thread(tmp_path: Path) -> None:
    found = active(recorded(tmp_path / "a.pghot", SLICES, REGIONS, TWO_THREADS), 3)
    # Two mappings of one name are one region. Page 3 belongs to none.
    assert found.regions == ("[heap]", "[stack]", "[no region]")
    assert found.by_region.tolist() == [
        [[13, 3, 2], [7, 0, 0], [0, 1, 0]],
        [[6, 3, 1], [2, 0, 0], [0, 0, 0]],
        [[2, 3, 0], [7, 0, 0], [0, 0, 0]],
    ]
    assert found.threads == ("7 main", "8 worker")
    assert found.by_thread[1].tolist() == [[5, 3, 0], [3, 0, 1]]
    assert found.threads_at_work.tolist() == [[2, 1, 1], [1, 0, 0], [0, 1, 0]]
    # Both touched the heap in a bin that holds all: two threads, not four.
    assert active(recorded(tmp_path / "b.pghot", SLICES, REGIONS, TWO_THREADS), 1).threads_at_work[
        0
    ].tolist() == [2]


def test_without_threads_there_is_no_line_for_one(tmp_path: Path) -> None:
    slices = [{(0, 0): (9, 5, 2)}]
    found = active(recorded(tmp_path / "a.pghot", slices, REGIONS, INFO), 3)
    assert found.threads == ()
    assert found.by_thread.shape == (3, 0, 1)


def test_beyond_the_most_that_are_told_apart_all_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "TOLD_APART", 1)
    found = active(recorded(tmp_path / "a.pghot", SLICES, REGIONS, TWO_THREADS), 1)
    assert found.regions == ("[heap]", "others", "[no region]")
    assert found.threads == ("7 main", "others")
    assert found.by_region[1].sum() == found.by_thread[1].sum() == 12
