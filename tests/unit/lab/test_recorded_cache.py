"""The recorded cache that stands for the real one, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders.recordings import INFO, random_trace
from pghot.lab.compare import compare
from pghot.lab.recorded_cache import footprint_pages, seen_by_the_real_cache
from pghot.recording.coarsen import coarsen
from pghot.recording.reader import open_recording
from pghot.recording.writer import write_recording

THREE = replace(INFO, llc_bytes=1 << 18, cache_bytes=(1 << 18, 1 << 20, 1 << 22))
TRACE = random_trace(parts=2, info=THREE, caches=3, rows=100)


@pytest.mark.parametrize(
    ("times", "chosen"),
    [(1, 1 << 22), (16, 1 << 22), (32, 1 << 20), (64, 1 << 20), (256, 1 << 18), (1e6, 1 << 18)],
)
def test_times_k_it_is_nearest_to_the_real_cache(times: float, chosen: int) -> None:
    """A real cache of 64 MiB: at K = 32 a recorded one of 2 MiB would be right, half way between 1 and 4."""
    assert seen_by_the_real_cache(TRACE, 64 << 20, None, times).info.llc_bytes == chosen


def test_k_follows_from_the_footprint() -> None:
    stands_for = 64.0 * footprint_pages(TRACE) * 4096
    assert seen_by_the_real_cache(TRACE, 64 << 20, stands_for, None).info.llc_bytes == 1 << 20


def test_without_k_or_a_real_cache_there_is_no_choice() -> None:
    assert seen_by_the_real_cache(TRACE, 64 << 20, None, None) is TRACE
    assert seen_by_the_real_cache(TRACE, None, None, 64.0) is TRACE
    one = random_trace()
    assert seen_by_the_real_cache(one, 64 << 20, None, 64.0) is one


def test_the_footprint_of_a_recording_is_known_and_of_others_counted(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.pghot", TRACE)
    assert footprint_pages(open_recording(tmp_path / "a.pghot")) == footprint_pages(TRACE)
    # One folio for each region, and one for the pages between two regions.
    assert footprint_pages(coarsen(TRACE, 1 << 21)) == 4


def test_a_comparison_is_made_with_the_cache_that_fits(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.pghot", TRACE)
    found = {}
    for times in (1.0, 1e4):
        result = compare(tmp_path / "a.pghot", policies=["none"], times=times, seeds=1)
        found[times] = (result.setup.llc_bytes, result.setup.misses)
    assert found[1.0][0] > found[1e4][0] == 1 << 18
