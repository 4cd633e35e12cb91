"""Recordings whose rows are of several pages: the same rows, and the same reports, as with a row for each page."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.foreign import damo_records, imported, rows_of
from builders.recordings import INFO
from pghot.recording import writer
from pghot.recording.activity import Activities
from pghot.recording.batches import concatenate
from pghot.recording.heat import Heat
from pghot.recording.reader import Recording, open_recording
from pghot.recording.run_batch import RunBatch, joined
from pghot.recording.summary import summarise
from pghot.recording.time_bins import at_most
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import SliceBatch
from pghot.recording.working_set import WorkingSets
from references.recording.run_batch import by_page_reference, region_rows_reference

MS = 1_000_000
SLICE_NS = 100 * MS
Region = tuple[int, int, int]

# Pages of neighbouring extents of 512, some far away; edges need not be those of pages.
edges = st.one_of(st.integers(0, 12), st.integers(500, 520), st.just(1 << 30)).map(lambda page: page * 4096)
region = st.builds(
    lambda start, pages, odd, samples: (start + odd, start + odd + pages * 4096, samples),
    edges,
    st.one_of(st.integers(0, 6), st.just(600)),
    st.sampled_from([0, 0, 0, 17]),
    st.sampled_from([0, 1, 1, 3, 20, 2**32 - 1]),
)
snapshot = st.tuples(st.integers(0, 12).map(lambda at: 5 * MS + at * 30 * MS), st.lists(region, max_size=6))
targets = st.lists(st.lists(snapshot, max_size=4), min_size=1, max_size=3)


@contextmanager
def recorded(found: list[list[tuple[int, list[Region]]]]) -> Iterator[Recording]:
    """The recording that an import makes of these targets; a page is always touched first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damon.data"
        path.write_text(json.dumps(damo_records([[(0, [(0, 4096, 1)])], *found])))
        yield imported(path)


def given_regions(found: list[list[tuple[int, list[Region]]]]) -> list[tuple[int, int, int, int, int]]:
    """(time, start, end, samples, target) of each that was accessed."""
    whole = [[(0, [(0, 4096, 1)])], *found]
    return [
        (time_ns, start, end, samples, target)
        for target, snapshots in enumerate(whole)
        for time_ns, regions in snapshots
        for start, end, samples in regions
        if samples
    ]


def by_address(recording: Recording) -> list[tuple[int, int, int, int]]:
    """(slice, address space, page of the address, touches) of each row."""
    place = {}
    for each in recording.regions:
        for i in range(each.pages):
            place[each.first_page + i] = (each.space, each.start_address // 4096 + i)
    return sorted(
        (start_ns // SLICE_NS, *place[page], touches) for start_ns, page, touches, _, _ in rows_of(recording)
    )


@settings(deadline=None)
@given(targets)
def test_an_import_has_the_pages_of_its_regions(found: list[list[tuple[int, list[Region]]]]) -> None:
    with recorded(found) as recording:
        assert recording.runs
        assert by_address(recording) == region_rows_reference(given_regions(found), SLICE_NS)
        assert recording.rows == len(rows_of(recording))


@settings(deadline=None)
@given(targets, st.integers(1, 5))
def test_reports_are_those_of_single_pages(found: list[list[tuple[int, list[Region]]]], columns: int) -> None:
    with recorded(found) as recording:
        plain = as_single_pages(recording)
        assert not plain.runs
        assert rows_of(plain) == rows_of(recording)
        assert reports(plain, columns) == reports(recording, columns)


def as_single_pages(recording: Recording) -> Recording:
    path = Path(recording.path).with_name("plain.pghot")
    writer.write_recording(path, recording)
    return open_recording(path, verify=True)


def reports(recording: Recording, columns: int) -> list[Any]:
    time = at_most(recording, columns)
    totals, heat = PageTotals(recording.pages), Heat(recording, "touches", time)
    sets, lives = WorkingSets(recording, time), Activities(recording, time)
    read_once(recording, totals, heat, sets, lives)
    shown = [heat.map(totals, 7), sets.result(), lives.result()]
    facts = summarise(recording)
    same = ("rows", "slices", "touches", "footprint_pages", "regions")
    return [*map(repr_of, shown), {name: facts[name] for name in same}]


def repr_of(result: Any) -> dict[str, Any]:
    """All fields but the name of the recording."""
    fields = {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "name"}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()
    }


@st.composite
def run_batches(draw: st.DrawFn) -> RunBatch:
    """Slices of runs that do not overlap."""
    slices, page, pages = draw(st.integers(1, 5)), [], []
    offsets = [0]
    for _ in range(slices):
        at = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70_000)), max_size=4)):
            page.append(at + gap)
            pages.append(length)
            at += gap + length
        offsets.append(len(page))
    rows = len(page)
    touches = np.array([draw(st.sampled_from([1, 3, 2**32 - 1])) for _ in range(rows)], np.uint32)
    none = np.zeros(rows, np.uint32)
    batch = SliceBatch(
        np.arange(slices, dtype=np.uint64),
        np.ones(slices, np.uint64),
        np.array(offsets, np.int64),
        np.array(page, np.uint32),
        touches,
        touches // np.uint32(2),
        none,
        none,
        np.zeros(rows, np.int16),
    )
    return RunBatch(batch, np.array(pages, np.uint32))


@settings(deadline=None, max_examples=40)
@given(run_batches())
def test_runs_are_unrolled_as_by_the_reference(runs: RunBatch) -> None:
    found = concatenate(list(runs.by_page()))
    expected = by_page_reference(runs.rows, runs.pages.tolist())
    for name in SliceBatch.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(deadline=None, max_examples=40)
@given(run_batches(), st.sampled_from([1, 1 << 18]))
def test_runs_are_written_and_read(runs: RunBatch, flush_slices: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pghot"
        with writer.RecordingWriter(path, INFO, flush_slices=flush_slices, runs=True) as made:
            made.append(runs)
        recording = open_recording(path, verify=True)
        found = joined(list(recording.run_batches()), 1)
        assert (recording.sealed, recording.rows) == (True, runs.all_rows)
    np.testing.assert_array_equal(found.pages, runs.pages)
    for name in SliceBatch.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found.rows, name), getattr(runs.rows, name))
