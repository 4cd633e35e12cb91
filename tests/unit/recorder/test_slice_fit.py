"""Slices that are joined: everything conserved, and the file as small as was asked for."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pghot.recorder.slice_fit import fit, joined
from pghot.recorder.slice_rows import Rows, added_up, to_batch
from pghot.recording.reader import open_recording
from pghot.recording.trace import Process, Region, SliceBatch, Task, TraceInfo
from pghot.recording.writer import RecordingWriter

SLICE_NS = 1000
Key = tuple[int, int, int, int]


def batch_of(slices: dict[int, list[tuple[int, int, int]]]) -> SliceBatch:
    """Slice number -> rows of page, thread, touches; half of them misses of the small cache, a quarter of the large."""
    parts = []
    for rows in slices.values():
        page, thread, touches = np.array(rows, np.uint32).reshape(-1, 3).T
        none = 0 * touches
        counters = np.stack(
            [touches, touches // 3, touches // 8, none, touches // 8, touches // 2, touches // 4]
        )
        parts.append(added_up([Rows(page, 0, thread, counters)]))
    starts = np.array(list(slices), np.uint64) * np.uint64(SLICE_NS)
    return to_batch(starts, np.arange(1, len(slices) + 1, dtype=np.uint64), parts)


def sums(batches: list[SliceBatch], group_ns: int) -> dict[Key, list[int]]:
    """Group, page, process, thread -> the sum of every counter; written plainly."""
    found: dict[Key, list[int]] = defaultdict(lambda: [0] * 7)
    for batch in batches:
        for i, start in enumerate(batch.start_ns.tolist()):
            for row in range(int(batch.offsets[i]), int(batch.offsets[i + 1])):
                key = (
                    start // group_ns,
                    int(batch.page[row]),
                    int(batch.process[row]),
                    int(batch.thread[row]),
                )
                columns = (batch.touches, batch.writes, batch.sequential, batch.strided, batch.dependent)
                for at, column in enumerate([*columns, *batch.misses_by_cache]):
                    found[key][at] += int(column[row])
    return found


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(1, 1000)), min_size=1, max_size=8)


@given(
    st.lists(st.dictionaries(st.integers(0, 30), ROWS, min_size=1), min_size=1, max_size=4), st.integers(1, 9)
)
def test_every_column_is_conserved_by_page_and_thread(parts: list[dict[int, object]], factor: int) -> None:
    batches, begin = [], 0
    for slices in parts:
        numbers = sorted(slices)
        batches.append(batch_of({begin + number: slices[number] for number in numbers}))  # type: ignore[misc]
        begin += numbers[-1] + 1
    got = list(joined(iter(batches), SLICE_NS, factor))
    group_ns = SLICE_NS * factor
    assert sums(got, group_ns) == sums(batches, group_ns)
    starts = np.concatenate([batch.start_ns for batch in got])
    assert np.all(np.diff(starts.astype(np.int64)) > 0)
    assert np.all(starts % np.uint64(group_ns) == 0)
    assert sum(int(b.instructions.sum()) for b in got) == sum(int(b.instructions.sum()) for b in batches)


def test_a_recording_is_joined_until_it_is_small_enough(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    info = TraceInfo("it", "qemu", SLICE_NS, llc_bytes=1 << 20, cache_bytes=(1 << 20, 4 << 20))
    rng = np.random.default_rng(1)
    slices = {
        number: [(page, 0, int(touches)) for page, touches in enumerate(rng.integers(1, 60000, 50))]
        for number in range(256)
    }
    batch = batch_of(slices)  # type: ignore[arg-type]
    with RecordingWriter(path, info) as writer:
        writer.name_tasks([Process(7, "/bin/it")], [Task(7, 0, "it")])
        writer.append(batch, [Region(0, 64, 0, 1 << 30, "[heap]")])
        writer.finish(exit_status=3)
    before, size = open_recording(path), path.stat().st_size
    factor = fit(path, size // 3)
    after = open_recording(path)
    assert factor in (4, 8)
    assert path.stat().st_size <= size // 3
    assert after.info.slice_ns == SLICE_NS * factor
    assert after.slices == 256 // factor
    assert (after.total_touches, after.misses_by_cache) == (before.total_touches, before.misses_by_cache)
    assert (after.info.tasks, after.regions, after.final["exit_status"]) == (
        before.info.tasks,
        before.regions,
        3,
    )
    assert list(tmp_path.iterdir()) == [path]
    assert fit(path, size) == 1
