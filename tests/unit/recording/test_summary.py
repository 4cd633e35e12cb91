"""The summary's figures and the importer of raw accesses, on examples worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builders.accesses import trace_from_accesses
from builders.recordings import INFO, random_batch, random_trace
from pghot.recording.reader import open_recording
from pghot.recording.summary import hot_set, region_totals, site_totals, summarise
from pghot.recording.trace import MemoryKind, Region
from pghot.recording.writer import RecordingWriter, write_recording


def test_summary_of_a_recording(tmp_path: Path) -> None:
    trace = random_trace(slices=5, rows=23)
    write_recording(tmp_path / "a.pghot", trace, exit_status=0)
    summary = summarise(open_recording(tmp_path / "a.pghot"))
    batch = trace.parts[0]
    assert summary["slices"] == 5
    assert summary["duration_ns"] == 5_000_000
    assert summary["rows"] == 4 * 23
    assert summary["touches"] == batch.touches.sum()
    assert summary["writes"] == batch.writes.sum()
    assert summary["footprint_bytes"] == 4096 * len(np.unique(batch.page))
    assert summary["llc"] == {"bytes": 1 << 20, "ways": 16}
    assert summary["command"] == ["redis-server", "--port", "0"]
    assert summary["verification"] == "verified"
    assert summary["seal"] == open_recording(tmp_path / "a.pghot").seal != ""
    assert summary["losses"] == {"lost": 0, "dropped_bytes": 0, "dropped_slices": 0, "damage": ""}
    named = sum(region["touches"] for region in summary["regions"])
    outside = batch.touches[(batch.page >= 812) & (batch.page < 1024)].sum()
    assert named == batch.touches.sum() - outside
    json.dumps(summary)


def test_an_interrupted_recording_says_so(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.pghot", INFO) as writer:
        writer.append(random_batch())
        writer.flush()
        content = (tmp_path / "a.pghot").read_bytes()
    (tmp_path / "b.pghot").write_bytes(content + b"half a message")
    summary = summarise(open_recording(tmp_path / "b.pghot"))
    assert (summary["verification"], summary["seal"]) == ("truncated", "")
    assert summary["losses"]["dropped_bytes"] == len(b"half a message")


def test_memory_of_one_site_is_added_up_but_not_files() -> None:
    """Pages 0 and 3 to 4 by grow(), page 1 by nobody that is known, page 2 a file."""
    grow = "malloc+0x1 (libc.so.6) < grow+0x2 (demo)"
    regions = (
        Region(0, 1, 0, 0, "[heap]", MemoryKind.HEAP, grow),
        Region(1, 1, 0, 1 << 20, "[anon]"),
        Region(2, 1, 0, 2 << 20, "/lib/a.so", MemoryKind.FILE, "open+0x1 (ld.so)"),
        Region(3, 2, 0, 3 << 20, "[anon]", MemoryKind.ANON, grow),
        Region(5, 1, 0, 4 << 20, "[anon]", MemoryKind.ANON, "fill+0x3 (demo)"),
    )
    touches, misses = np.array([5, 9, 9, 0, 2, 6], np.uint64), np.array([4, 9, 9, 0, 1, 6], np.uint64)
    writes = np.array([3, 9, 9, 0, 1, 0], np.uint64)
    assert site_totals(regions, touches, misses, writes) == [
        {"frames": ["fill+0x3 (demo)"], "pages": 1, "touches": 6, "misses": 6, "writes": 0},
        {
            "frames": ["malloc+0x1 (libc.so.6)", "grow+0x2 (demo)"],
            "pages": 2,
            "touches": 7,
            "misses": 5,
            "writes": 4,
        },
    ]


def test_regions_of_one_name_are_added_up() -> None:
    regions = (
        Region(0, 2, 0, 0, "libc"),
        Region(2, 2, 0, 1 << 20, "[heap]", MemoryKind.HEAP),
        Region(4, 1, 0, 2 << 20, "libc"),
    )
    touches, misses = np.array([5, 0, 1, 1, 7], np.uint64), np.array([1, 0, 1, 1, 3], np.uint64)
    first, second = region_totals(regions, touches, misses, np.zeros(5, np.uint64))
    assert first == {"name": "libc", "kind": "anon", "pages": 2, "touches": 12, "misses": 4, "writes": 0}
    assert second == {"name": "[heap]", "kind": "heap", "pages": 2, "touches": 2, "misses": 2, "writes": 0}


def test_hot_set_of_a_hundred_pages() -> None:
    """One page has 100 misses, the other 99 have one each."""
    curve = {point["pages"]: point["misses"] for point in hot_set(np.array([1] * 99 + [100], np.uint64))}
    assert curve == {0.01: 100 / 199, 0.05: 104 / 199, 0.1: 109 / 199, 0.2: 119 / 199, 0.5: 149 / 199}


@pytest.mark.parametrize("misses", [[], [0, 0]])
def test_hot_set_without_misses(misses: list[int]) -> None:
    assert {point["misses"] for point in hot_set(np.array(misses, np.uint64))} == {0.0}


def test_accesses_become_rows() -> None:
    page = np.array([3, 1, 3, 2, 2, 2, 9], np.uint32)
    write = np.array([1, 0, 0, 0, 1, 1, 0], np.bool_)
    trace = trace_from_accesses(page, write, accesses_per_slice=3, name="hand")
    (batch,) = trace.parts
    assert trace.pages == 10
    assert batch.offsets.tolist() == [0, 2, 3, 4]
    assert batch.page.tolist() == [1, 3, 2, 9]
    assert batch.touches.tolist() == [1, 2, 3, 1]
    assert batch.misses.tolist() == [1, 2, 3, 1]
    assert batch.writes.tolist() == [0, 1, 2, 0]
    assert batch.instructions.tolist() == [3, 3, 1]
    assert batch.start_ns.tolist() == [0, 1_000_000, 2_000_000]


def test_accesses_that_hit_the_cache() -> None:
    page = np.array([3, 3, 3, 1], np.uint32)
    (batch,) = trace_from_accesses(page, miss=np.array([1, 0, 1, 0], np.bool_)).parts
    assert batch.touches.tolist() == [1, 3]
    assert batch.misses.tolist() == [0, 2]


def test_no_accesses_is_an_empty_trace() -> None:
    trace = trace_from_accesses(np.empty(0, np.uint32))
    assert (trace.pages, trace.regions, trace.parts) == (0, (), [])
