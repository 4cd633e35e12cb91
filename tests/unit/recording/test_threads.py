"""Rows of several threads and processes: kept on disk, added up for the lab, named in tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError
from pghot.lab.traces import trace_warnings
from pghot.recording.coarsen import coarsen
from pghot.recording.reader import open_recording
from pghot.recording.summary import summarise
from pghot.recording.trace import MemoryTrace, Process, SliceBatch, Task, TraceInfo, memory_kind
from pghot.recording.writer import RecordingWriter, write_recording

PROCESSES = (Process(100, "server"), Process(101, "helper"))
TASKS = (Task(100, 0, "server"), Task(102, 0, "io"), Task(101, 1, "helper"))
U32_MOST = 2**32 - 1


def two_threads(touches: tuple[int, int] = (5, 7), misses: tuple[int, int] = (2, 3)) -> SliceBatch:
    """Page 4, touched by thread 0 of process 0 and by thread 2 of process 1 in one slice."""
    counted, missed = np.array(touches, np.uint32), np.array(misses, np.uint32)
    return SliceBatch(
        start_ns=np.zeros(1, np.uint64),
        instructions=np.array([23], np.uint64),
        offsets=np.array([0, 2], np.int64),
        page=np.array([4, 4], np.uint32),
        touches=counted,
        misses=missed,
        sequential=missed // 2,
        writes=np.array([1, 0], np.uint32),
        node=np.zeros(2, np.int16),
        process=np.array([0, 1], np.uint16),
        thread=np.array([0, 2], np.uint16),
        strided=missed - missed // 2,
    )


def test_a_reader_adds_threads_up_unless_it_is_asked_for_them(tmp_path: Path) -> None:
    """5 + 7 touches, 2 + 3 misses of which 1 + 1 sequential and 1 + 2 strided, 1 + 0 writes."""
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 10, (), [two_threads()]))
    recording = open_recording(tmp_path / "a.pghot")
    (batch,) = recording.batches()
    counters = (batch.touches, batch.misses, batch.sequential, batch.strided, batch.writes)
    assert [column.tolist() for column in counters] == [[12], [5], [2], [3], [1]]
    assert (batch.page.tolist(), batch.thread.tolist(), batch.process.tolist()) == ([4], [0], [0])
    (batch,) = recording.batches(by_thread=True)
    assert_same_slices(batch, two_threads())
    assert (recording.rows, recording.footprint_pages, recording.cut_rows) == (2, 1, 0)


def test_one_thread_that_is_not_the_first_is_0_when_nobody_asks(tmp_path: Path) -> None:
    batch = random_batch()
    one = replace(batch, thread=batch.thread + np.uint16(3), process=batch.process + np.uint16(1))
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 1536, REGIONS, [one]))
    assert_same_slices(all_slices(open_recording(tmp_path / "a.pghot")), batch)


@pytest.mark.parametrize(
    ("touches", "misses", "stored", "cut"),
    [
        ((U32_MOST, 0), (U32_MOST, 0), (U32_MOST, U32_MOST), 0),
        ((U32_MOST, 1), (2, 1), (U32_MOST, 3), 1),
        ((U32_MOST, U32_MOST), (U32_MOST, U32_MOST), (U32_MOST, U32_MOST), 1),
    ],
)
def test_sums_that_do_not_fit_are_cut_and_told(
    tmp_path: Path, touches: tuple[int, int], misses: tuple[int, int], stored: tuple[int, int], cut: int
) -> None:
    batch = replace(two_threads(touches, misses), writes=np.zeros(2, np.uint32))
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, 10, (), [batch]))
    recording = open_recording(tmp_path / "a.pghot")
    (summed,) = recording.batches()
    assert (int(summed.touches[0]), int(summed.misses[0])) == stored
    assert int(summed.sequential[0]) + int(summed.strided[0]) <= stored[1]
    assert recording.cut_rows == cut
    assert len(trace_warnings(recording)) == cut
    coarse = coarsen(recording, 1 << 21)
    list(coarse.batches())
    assert len(trace_warnings(coarse)) == cut


def test_regrouping_that_cuts_says_so() -> None:
    """Two pages of one folio with 3,000,000,000 touches each."""
    batch = random_batch(slices=1, rows=2, pages=2)
    many = np.full(2, 3_000_000_000, np.uint32)
    coarse = coarsen(MemoryTrace(INFO, 2, (), [replace(batch, touches=many)]), 8192)
    (merged,) = coarse.batches()
    assert merged.touches.tolist() == [U32_MOST]
    (warning,) = trace_warnings(coarse)
    assert (
        warning == "1 rows count more than 4,294,967,295 accesses of a page in one slice and were cut to that"
    )


def test_names_survive_a_killed_recorder(tmp_path: Path) -> None:
    """What was named before the last flush is in the file; a later table replaces an earlier one."""
    writer = RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=7)
    writer.name_tasks(PROCESSES[:1], TASKS[:1])
    writer.append(random_batch(seed=0), REGIONS)
    writer.name_tasks(PROCESSES, TASKS)
    writer.append(random_batch(seed=1))
    writer.name_tasks(PROCESSES, (*TASKS, Task(103, 1, "late")))
    recording = open_recording(tmp_path / "a.pghot")
    assert (recording.info.processes, recording.info.tasks) == (PROCESSES, TASKS)
    assert recording.info.verification == "truncated"
    writer.finish()
    assert open_recording(tmp_path / "a.pghot").info.tasks[3].name == "late"


def test_the_summary_tells_threads_apart(tmp_path: Path) -> None:
    info = replace(INFO, processes=PROCESSES, tasks=TASKS)
    write_recording(tmp_path / "a.pghot", MemoryTrace(info, 10, (), [two_threads()]))
    summary = summarise(open_recording(tmp_path / "a.pghot"))
    found = [(task["name"], task["touches"], task["misses"]) for task in summary["tasks"]]
    assert found == [("server", 5, 2), ("io", 0, 0), ("helper", 7, 3)]
    assert summary["processes"] == [{"pid": 100, "name": "server"}, {"pid": 101, "name": "helper"}]
    assert summary["misses"] == 5
    assert summary["patterns"] == {"sequential": None, "strided": None, "dependent": None}
    counted = replace(info, patterns=("sequential", "strided"))
    write_recording(tmp_path / "b.pghot", MemoryTrace(counted, 10, (), [two_threads()]))
    patterns = summarise(open_recording(tmp_path / "b.pghot"))["patterns"]
    assert patterns == {"sequential": 2, "strided": 3, "dependent": None}


def test_several_caches_are_kept_and_counted(tmp_path: Path) -> None:
    info = replace(INFO, llc_bytes=1 << 18, cache_bytes=(1 << 18, 1 << 20, 1 << 22))
    trace = random_trace(parts=2, info=info, caches=3, threads=3)
    write_recording(tmp_path / "a.pghot", trace)
    recording, whole = open_recording(tmp_path / "a.pghot"), all_slices(trace)
    assert recording.misses_by_cache == tuple(whole.misses_by_cache.sum(axis=1).tolist())
    assert recording.total_misses == recording.misses_by_cache[0]
    caches = summarise(recording)["caches"]
    assert [cache["bytes"] for cache in caches] == [1 << 18, 1 << 20, 1 << 22]
    assert [cache["misses"] for cache in caches] == list(recording.misses_by_cache)


def test_rows_with_another_number_of_caches_are_refused(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.pghot", INFO)
    writer.append(random_batch(caches=2))
    with pytest.raises(PghotError, match="misses of 2 caches where 1 were announced"):
        writer.flush()


@pytest.mark.parametrize("seed", [0, 1])
def test_slices_out_of_order_are_refused(tmp_path: Path, seed: int) -> None:
    writer = RecordingWriter(tmp_path / "a.pghot", INFO, flush_slices=7)
    writer.append(random_batch(seed=1))
    with pytest.raises(PghotError, match=f"a slice at {7_000_000 * seed} ns after one at 13000000 ns"):
        writer.append(random_batch(seed=seed))


def test_a_space_that_is_too_sparse_is_refused(tmp_path: Path) -> None:
    """Two pages touched: 2^20 pages to spare and a section of 32768 for each."""
    most = (1 << 20) + 2 * 32768
    batch = random_batch(slices=1, rows=2)
    write_recording(tmp_path / "a.pghot", MemoryTrace(INFO, most, (), [batch]))
    assert open_recording(tmp_path / "a.pghot").pages == most
    with pytest.raises(PghotError, match="too sparse"):
        write_recording(tmp_path / "b.pghot", MemoryTrace(INFO, most + 1, (), [batch]))


def test_facts_that_no_reader_would_believe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PghotError, match="page_bytes must be"):
        RecordingWriter(tmp_path / "a.pghot", replace(INFO, page_bytes=1))
    writer = RecordingWriter(tmp_path / "b.pghot", INFO)
    with pytest.raises(PghotError, match="threads must be a whole number from 1 to 65536"):
        writer.finish(threads=0)


@pytest.mark.parametrize("column", ["thread", "strided", "misses_by_cache"])
def test_columns_of_another_length_are_refused(tmp_path: Path, column: str) -> None:
    batch = random_batch()
    writer = RecordingWriter(tmp_path / "a.pghot", INFO)
    writer.append(replace(batch, **{column: getattr(batch, column)[..., 1:]}))
    with pytest.raises(PghotError, match=f"the columns {column} are not as long"):
        writer.flush()


@pytest.mark.parametrize(
    ("column", "most"), [("thread", 2**16 - 1), ("touches", 2**32 - 1), ("node", 2**15 - 1)]
)
def test_values_that_a_column_cannot_hold_do_not_wrap(tmp_path: Path, column: str, most: int) -> None:
    batch = random_batch(slices=1, rows=1)
    info = replace(INFO, nodes=1 << 15)
    write_recording(
        tmp_path / "a.pghot", MemoryTrace(info, 1536, (), [replace(batch, **{column: np.array([most])})])
    )
    (kept,) = open_recording(tmp_path / "a.pghot").batches(by_thread=True)
    assert getattr(kept, column).tolist() == [most]
    with pytest.raises(PghotError, match=f"{column} has values beyond"):
        write_recording(
            tmp_path / "b.pghot",
            MemoryTrace(info, 1536, (), [replace(batch, **{column: np.array([most + 1])})]),
        )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("[heap]", "heap"),
        ("[stack]", "stack"),
        ("[stack:12]", "stack"),
        ("[anon]", "anon"),
        ("[anon:pool]", "anon"),
        ("", "anon"),
        ("/usr/lib/libc.so.6", "file"),
        ("/dev/shm/ring", "shared memory"),
        ("/memfd:pool (deleted)", "shared memory"),
        ("/SYSV00000000 (deleted)", "shared memory"),
        ("/dev/zero (deleted)", "shared memory"),
        ("/dev/shmem", "file"),
    ],
)
def test_the_kind_of_memory_by_the_mapping_s_name(name: str, kind: str) -> None:
    assert memory_kind(name) == kind


def test_a_cache_that_is_not_named_is_the_last_level_one() -> None:
    assert TraceInfo("t", "test", 1, llc_bytes=5).cache_bytes == (5,)
