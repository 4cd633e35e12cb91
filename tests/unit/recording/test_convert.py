"""Recordings to Parquet and back, read by other programs, repaired."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError, UsageError
from pghot.recording import parquet
from pghot.recording.batches import part
from pghot.recording.bytesource import open_source
from pghot.recording.convert import convert
from pghot.recording.framing import messages
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace
from pghot.recording.writer import RecordingWriter, write_recording


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three batches of seven slices, one slice in five empty, final facts of a recorder."""
    path = tmp_path / "a.pghot"
    info = replace(INFO, nodes=2)
    with RecordingWriter(path, info, flush_slices=7) as writer:
        for batch in random_trace(parts=3, nodes=2, largest=2**32 - 1).batches():
            writer.append(batch, REGIONS)
        writer.finish(exit_status=3, threads=5)
    return path


def same_recording(a: Path, b: Path) -> None:
    """Everything that a user can see of two recordings is equal."""
    left, right = open_recording(a), open_recording(b)
    assert (left.info, left.regions, left.pages) == (right.info, right.regions, right.pages)
    assert left.final == right.final
    assert left.complete == right.complete
    assert_same_slices(all_slices(left), all_slices(right))


@pytest.mark.parametrize("rows_at_a_time", [1, 23, 1 << 20])
def test_parquet_and_back_is_loss_free(
    recording: Path, tmp_path: Path, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", rows_at_a_time)
    convert(recording, tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    same_recording(recording, tmp_path / "b.pghot")


@pytest.mark.parametrize("slices", [0, 1, 5])
def test_slices_without_rows_survive(tmp_path: Path, slices: int) -> None:
    batch = random_batch(slices=slices, rows=0)
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 1536, REGIONS, [batch]))
    convert(tmp_path / "a.pghot", tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    same_recording(tmp_path / "a.pghot", tmp_path / "b.pghot")


def test_duckdb_and_pandas_agree_with_the_recording(recording: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    convert(recording, target)
    total = open_recording(recording).total_touches
    assert duckdb.sql(f"select sum(touches) from '{target}'").fetchall() == [(total,)]
    frame = pd.read_parquet(target)
    assert int(frame["touches"].sum()) == total
    by_slice = frame.groupby("slice")["touches"].sum()
    slices = all_slices(open_recording(recording))
    for i in range(slices.slices):
        expected = slices.touches[slices.offsets[i] : slices.offsets[i + 1]].sum()
        assert by_slice.get(i, 0) == expected


def test_parquet_rows_are_sorted(recording: Path, tmp_path: Path) -> None:
    convert(recording, tmp_path / "a.parquet")
    frame = pd.read_parquet(tmp_path / "a.parquet", columns=["slice", "page", "node"])
    assert frame.equals(frame.sort_values(["slice", "page", "node"], ignore_index=True))


def test_a_damaged_recording_is_repaired_and_the_loss_counted(recording: Path, tmp_path: Path) -> None:
    whole, content = all_slices(open_recording(recording)), bytearray(recording.read_bytes())
    content[list(messages(open_source(recording)))[2].body_offset + 40] ^= 1
    recording.write_bytes(content)
    result = convert(recording, tmp_path / "b.pghot")
    assert (result.slices, result.dropped_slices) == (7, 7)
    repaired = open_recording(tmp_path / "b.pghot", verify=True)
    assert not repaired.damage
    assert not repaired.complete
    assert repaired.final["losses_before_conversion"]["dropped_bytes"] == result.dropped_bytes > 0
    assert_same_slices(all_slices(repaired), part(whole, 0, 7))


def test_an_incomplete_recording_stays_incomplete(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.pghot", INFO)
    writer.append(random_batch(), REGIONS)
    writer.flush()
    convert(tmp_path / "a.pghot", tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    assert not open_recording(tmp_path / "b.pghot").complete


@pytest.mark.parametrize(("src", "dst"), [("a.pghot", "a.txt"), ("a.parquet", "b.parquet")])
def test_unknown_extensions(tmp_path: Path, src: str, dst: str) -> None:
    with pytest.raises(UsageError, match="cannot convert") as caught:
        convert(tmp_path / src, tmp_path / dst)
    assert ".parquet" in caught.value.hint


def test_will_not_overwrite(recording: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    target.write_text("precious")
    with pytest.raises(UsageError, match="will not overwrite"):
        convert(recording, target)
    assert target.read_text() == "precious"
    convert(recording, target, force=True)
    assert pq.read_metadata(target).num_rows == open_recording(recording).rows


def test_a_recording_can_be_repaired_in_place(recording: Path) -> None:
    before = all_slices(open_recording(recording))
    convert(recording, recording, force=True)
    assert_same_slices(all_slices(open_recording(recording)), before)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1", b"text"])
def test_a_file_that_is_no_parquet_leaves_nothing_behind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(PghotError, match="as Parquet"):
        convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="not a recording in Parquet"):
        convert(tmp_path / "a.parquet", tmp_path / "b.pghot")


def test_what_duckdb_filtered_is_a_recording_that_is_not_verified(recording: Path, tmp_path: Path) -> None:
    """DuckDB loses all metadata. What is left says how long a slice is, and which nodes there are."""
    convert(recording, tmp_path / "a.parquet")
    filtered = tmp_path / "b.parquet"
    duckdb.sql(f"copy (select * from '{tmp_path / 'a.parquet'}' where page < 800) to '{filtered}'")
    done = convert(filtered, tmp_path / "b.pghot")
    assert (done.verification, done.doubt) == (
        "unverified",
        "it was made from Parquet without a seal, which cannot be checked",
    )
    made, whole = open_recording(tmp_path / "b.pghot", verify=True), all_slices(open_recording(recording))
    assert (made.info.name, made.info.source, made.info.nodes, made.info.slice_ns) == (
        "b",
        "import",
        2,
        1_000_000,
    )
    assert made.info.verification == "unverified"
    assert made.total_touches == whole.touches[whole.page < 800].sum()
    assert made.total_strided == whole.strided[whole.page < 800].sum()


def bare(tmp_path: Path, **columns: object) -> Path:
    """A table of another program: two slices, three rows, signed integers as pandas has them."""
    data = {
        "slice": [0, 0, 1],
        "start_ns": [0, 0, 500],
        "instructions": [9, 9, 8],
        "page": [1, 4, 4],
        "touches": [5, 6, 7],
        "misses": [1, 2, 3],
        **columns,
    }
    pd.DataFrame({name: values for name, values in data.items() if values is not None}).to_parquet(
        tmp_path / "a.parquet"
    )
    return tmp_path / "a.parquet"


def test_the_fewest_columns_of_a_table(tmp_path: Path) -> None:
    convert(bare(tmp_path), tmp_path / "a.pghot")
    recording = open_recording(tmp_path / "a.pghot")
    assert (recording.info.slice_ns, recording.info.nodes, recording.info.patterns) == (500, 1, ())
    assert (recording.pages, recording.footprint_pages, recording.slices) == (5, 2, 2)
    batch = all_slices(recording)
    assert (batch.misses.tolist(), batch.writes.tolist(), batch.node.tolist()) == (
        [1, 2, 3],
        [0] * 3,
        [0] * 3,
    )
    assert (batch.start_ns.tolist(), batch.instructions.tolist()) == ([0, 500], [9, 8])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"misses": None}, "it has no column misses"),
        ({"page": [1, None, 4]}, "has no value in some rows of page"),
        ({"page": [-1, 4, 4]}, "Integer value -1 not in range"),
        ({"misses": [1, 2**33, 3]}, "Integer value 8589934592 not in range"),
        ({"misses": ["a", "b", "c"]}, "values of misses that are no uint32: Failed to parse"),
        ({"misses": [1, 2, 30]}, "more misses than touches"),
        ({"page": [4, 1, 4]}, "do not ascend by page"),
        ({"start_ns": [600, 600, 500]}, "a slice at 500 ns after one at|do not ascend in time"),
        ({"node": [0, 40_000, 0]}, "must be a whole number|not in range"),
        ({"page": [1, 4, 2**27]}, "too sparse"),
        ({"slice": [0, 1, 0]}, "slices in no order"),
        ({"start_ns": [0, 1, 500]}, "rows of one slice differ"),
        ({"instructions": [9, 8, 8]}, "rows of one slice differ"),
    ],
)
def test_tables_that_are_no_recording(tmp_path: Path, columns: dict[str, object], reason: str) -> None:
    with pytest.raises(PghotError, match=reason) as caught:
        convert(bare(tmp_path, **columns), tmp_path / "a.pghot")
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.pghot").exists()


def test_parquet_rows_that_cannot_be_are_refused(recording: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    convert(recording, target)
    table = pq.read_table(target)
    touches = pa.array(np.zeros(len(table), np.uint32))
    place = table.schema.get_field_index("touches")
    changed = table.set_column(place, table.schema.field("touches"), touches)
    pq.write_table(changed.replace_schema_metadata(_metadata(target)), target)
    with pytest.raises(PghotError, match="its data is not what was sealed"):
        convert(target, tmp_path / "b.pghot")
    pq.write_table(table.drop_columns("site").replace_schema_metadata(_metadata(target)), target)
    with pytest.raises(PghotError, match="its columns are not those sealed"):
        convert(target, tmp_path / "b.pghot")
    convert(recording, target, force=True)
    bare = {key: value for key, value in _metadata(target).items() if key != b"pghot.seal"}
    pq.write_table(changed.replace_schema_metadata(bare), target)
    with pytest.raises(PghotError, match="more misses than touches"):
        convert(target, tmp_path / "b.pghot")


def _metadata(path: Path) -> dict[bytes, bytes]:
    return {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
