"""Rows of several pages: what a writer and a reader refuse, and reports worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builders.foreign import damo_records, imported, rows_of
from builders.forged import forging
from builders.recordings import INFO
from pghot.errors import PghotError
from pghot.recording import convert, reader, writer
from pghot.recording.heat import Heat
from pghot.recording.run_batch import RunBatch
from pghot.recording.time_bins import at_most
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import SliceBatch
from pghot.recording.working_set import WorkingSets

MS = 1_000_000
KB = 1024
# 4 pages with 3 samples and, over the last 2 of them and 6 more, 1 sample: runs of 2, 2 and 6 pages with 3, 4 and 1.
# Then a snapshot of a second target, of 600 pages that lie in three extents of 512: 2 samples each.
RECORDS = [
    [(0, [(0, 16 * KB, 3), (8 * KB, 40 * KB, 1), (40 * KB, 80 * KB, 0)])],
    [(100 * MS, [(2000 * KB, 4400 * KB, 2)])],
]


def recorded(tmp_path: Path) -> reader.Recording:
    path = tmp_path / "damon.data"
    path.write_text(json.dumps(damo_records(RECORDS)))
    return imported(path)


def test_where_regions_overlap_they_are_cut_and_added_up(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    first, second = (
        list(zip(at.rows.page.tolist(), at.pages.tolist(), at.rows.touches.tolist(), strict=True))
        for batch in recording.run_batches()
        for at in (batch.part(0, 1), batch.part(1, 2))
    )
    assert first == [(0, 2, 3), (2, 2, 4), (4, 6, 1)]
    assert second == [(512 + 500, 600, 2)]  # three extents with numbers that follow each other
    assert (recording.rows, recording.total_touches) == (10 + 600, 2 * 3 + 2 * 4 + 6 + 600 * 2)
    assert (recording.footprint_pages, recording.pages) == (610, 4 * 512)


def test_a_heat_map_and_a_working_set_of_runs(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    time = at_most(recording, 2)
    totals, heat, sets = (
        PageTotals(recording.pages),
        Heat(recording, "touches", time),
        WorkingSets(recording, time),
    )
    read_once(recording, totals, heat, sets)
    assert heat.map(totals, 100).cells.sum(axis=0).tolist() == [20, 1200]
    found = sets.result()
    assert found.touched.tolist() == [10, 600]
    # Of the 20 misses half is 10: the 2 pages with 4 have 8, with one of 3 it is 11. 18 are 8 + 6 + 4: 8 pages. 99 %
    # are all 20. Of the 1200 that 600 pages share, 300 pages take half, 540 take 90 % and 594 take 99 %.
    assert found.taking.tolist() == [[3, 300], [8, 540], [10, 594]]


def test_a_conversion_keeps_runs_and_parquet_has_a_row_for_each_page(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    convert.convert(recording.path, tmp_path / "b.pghot")
    again = reader.open_recording(tmp_path / "b.pghot", verify=True)
    assert (again.runs, rows_of(again)) == (True, rows_of(recording))
    convert.convert(recording.path, tmp_path / "b.parquet")
    convert.convert(tmp_path / "b.parquet", tmp_path / "c.pghot")
    single = reader.open_recording(tmp_path / "c.pghot", verify=True)
    assert (single.runs, rows_of(single)) == (False, rows_of(recording))


def runs(page: list[int], pages: list[int]) -> RunBatch:
    rows, none = len(page), np.zeros(len(page), np.uint32)
    times = np.zeros(1, np.uint64)
    offsets, touched = np.array([0, rows]), np.ones(rows, np.uint32)
    batch = SliceBatch(
        times, times, offsets, np.array(page, np.uint32), touched, none, none, none, np.zeros(rows, np.int16)
    )
    return RunBatch(batch, np.array(pages, np.uint32))


def write(made: writer.RecordingWriter, batch: RunBatch) -> None:
    made.append(batch)
    made.flush()


WRONG = [
    ([0, 3], [4, 1], "a run of 1 pages from page 3 is empty, overlaps"),
    ([0, 3], [2, 0], "a run of 0 pages from page 3 is empty"),
    ([0, (1 << 28) - 1], [2, 2], "a run of 2 pages from page 268435455 .* leaves the dense index space"),
    ([0], [(1 << 24) + 1], "a slice with 16777217 rows is too big"),
]


@pytest.mark.parametrize(("page", "pages", "said"), WRONG)
def test_a_writer_refuses_runs_that_cannot_be(
    tmp_path: Path, page: list[int], pages: list[int], said: str
) -> None:
    made = writer.RecordingWriter(tmp_path / "a.pghot", INFO, runs=True)
    with pytest.raises(PghotError, match=said):
        write(made, runs(page, pages))
    made.discard()


def test_a_writer_of_single_pages_refuses_runs(tmp_path: Path) -> None:
    made = writer.RecordingWriter(tmp_path / "a.pghot", INFO)
    made.append(runs([0], [1]))
    made.append(runs([5], [2]))
    with pytest.raises(PghotError, match="rows of several pages in a recording of single pages"):
        made.flush()
    made.discard()


def test_a_slice_that_fills_a_batch_does_not_join_the_one_before(tmp_path: Path) -> None:
    """2^24 rows are as many as a batch may have: one more page waits from the slice before."""
    with writer.RecordingWriter(tmp_path / "a.pghot", INFO, runs=True) as made:
        made.append(runs([0], [1]))
        later = runs([0], [1 << 24])
        later.rows.start_ns[:] = 5
        made.append(later)
    assert [batch.all_rows for batch in reader.open_recording(tmp_path / "a.pghot").run_batches()] == [
        1,
        1 << 24,
    ]


def test_a_reader_believes_no_number_of_pages(tmp_path: Path) -> None:
    """Two rows of two pages each; the seal and the batch say that there are five."""
    path = tmp_path / "a.pghot"
    with writer.RecordingWriter(path, INFO, runs=True) as made:
        made.append(runs([0, 2], [2, 2]))
    with forging(path) as it:
        for facts in it.facts:
            facts["rows"] = 5
    with pytest.raises(PghotError, match="not as many slices and rows as it says"):
        list(reader.open_recording(path).batches())
