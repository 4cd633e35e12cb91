"""Each row of a recording with its address, region, process and thread, as CSV and as Parquet."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from builders.small_recordings import TWO_THREADS, recorded
from pghot.errors import UsageError
from pghot.recording.convert import convert
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryKind, Region


def two_threads(path: Path, site: str = "") -> None:
    """Page 3 is the second of the region that begins at 0x7000 with page 2; page 0 is of no region."""
    regions = [Region(2, 2, 0, 0x7000, "[heap]", MemoryKind.HEAP, site)]
    rows = [{(3, 0): (5, 4, 3), (3, 1): (2, 1, 0)}, {(0, 1): (1, 1, 1)}]
    recorded(path, rows, regions, TWO_THREADS)


def test_a_line_says_where_and_who(tmp_path: Path) -> None:
    two_threads(tmp_path / "a.pghot")
    convert(tmp_path / "a.pghot", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().replace('"', "").splitlines() == [
        "start_ns,page,address,region,kind,site,process,thread,tid,node,touches,misses,writes,sequential,strided,dependent",
        "0,3,0x8000,[heap],heap,,demo,main,7,0,5,4,3,0,0,0",
        "0,3,0x8000,[heap],heap,,demo,worker,8,0,2,1,0,0,0,0",
        "1000000,0,,,,,demo,worker,8,0,1,1,1,0,0,0",
    ]


def test_its_csv_is_no_trace_of_accesses(tmp_path: Path) -> None:
    """Read as one, each row would be a single access, at a declared rate."""
    two_threads(tmp_path / "a.pghot")
    convert(tmp_path / "a.pghot", tmp_path / "a.csv")
    with pytest.raises(UsageError, match="is a recording as pghot writes it for other programs") as refused:
        convert(tmp_path / "a.csv", tmp_path / "b.pghot")
    assert ".parquet" in refused.value.hint
    assert not (tmp_path / "b.pghot").exists()


def test_which_region_is_hot_is_one_line_of_sql(tmp_path: Path) -> None:
    two_threads(tmp_path / "a.pghot")
    convert(tmp_path / "a.pghot", tmp_path / "a.parquet")
    found = duckdb.sql(
        "select address, region, kind, process_name, thread_name, tid, sum(touches) from "
        f"'{tmp_path / 'a.parquet'}' group by all order by sum(touches) desc"
    ).fetchall()
    assert found == [
        (0x8000, "[heap]", "heap", "demo", "main", 7, 5),
        (0x8000, "[heap]", "heap", "demo", "worker", 8, 2),
        (None, None, None, "demo", "worker", 8, 1),
    ]


def test_the_calls_that_mapped_a_page_are_a_column(tmp_path: Path) -> None:
    """Page 3 is of the region, page 0 of none; the table is taken back as it was sealed."""
    site = "grow+0x2 (demo) < main+0x9 (demo)"
    two_threads(tmp_path / "a.pghot", site)
    for name in ("a.csv", "a.parquet"):
        convert(tmp_path / "a.pghot", tmp_path / name)
    csv = f"read_csv('{tmp_path / 'a.csv'}', types={{'site': 'varchar'}})"
    for table in (csv, f"'{tmp_path / 'a.parquet'}'"):
        found = duckdb.sql(
            f"select page, site, sum(touches) from {table} group by all order by page"
        ).fetchall()
        assert found == [(0, None, 1), (3, site, 7)]
    convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    assert [region.site for region in open_recording(tmp_path / "b.pghot").regions] == [site]
