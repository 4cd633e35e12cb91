"""A recording as CSV: each row with its address, region, process and thread."""

from __future__ import annotations

from pathlib import Path

from builders.small_recordings import TWO_THREADS, recorded
from pghot.recording.convert import convert
from pghot.recording.trace import MemoryKind, Region


def test_a_line_says_where_and_who(tmp_path: Path) -> None:
    regions = [Region(2, 2, 0, 0x7000, "[heap]", MemoryKind.HEAP)]
    rows = [{(3, 0): (5, 4, 3), (3, 1): (2, 1, 0)}, {(0, 1): (1, 1, 1)}]
    recorded(tmp_path / "a.pghot", rows, regions, TWO_THREADS)
    convert(tmp_path / "a.pghot", tmp_path / "a.csv")
    # Page 3 is the second of the region that begins at 0x7000 with page 2; page 0 is of no region.
    assert (tmp_path / "a.csv").read_text().replace('"', "").splitlines() == [
        "start_ns,page,address,region,kind,process,thread,tid,node,touches,misses,writes,sequential,strided,dependent",
        "0,3,0x8000,[heap],heap,demo,main,7,0,5,4,3,0,0,0",
        "0,3,0x8000,[heap],heap,demo,worker,8,0,2,1,0,0,0,0",
        "1000000,0,,,,demo,worker,8,0,1,1,1,0,0,0",
    ]
