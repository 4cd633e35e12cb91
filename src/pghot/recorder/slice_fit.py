"""Slices joined until the recording is small enough: as fine as the file's size allows, and no finer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pghot.recorder.slice_rows import SortedRows, pack, sum_by_key, to_batch
from pghot.recording.batches import concatenate, part
from pghot.recording.compressibility import compressibility_of
from pghot.recording.reader import Recording, open_recording
from pghot.recording.threads import stacked_counters
from pghot.recording.trace import SliceBatch
from pghot.recording.writer import DEFAULT_LEVEL, RecordingWriter

_MOST_FACTOR = 1 << 12


def joined(batches: Iterable[SliceBatch], slice_ns: int, factor: int) -> Iterator[SliceBatch]:
    """The slices in groups of `factor`, by the multiples of `factor * slice_ns` that they begin in.

    Everything is conserved: instructions and every column are the sums, by page, process and thread.
    """
    rest: SliceBatch | None = None
    for batch in batches:
        whole = batch if rest is None else concatenate([rest, batch])
        group = whole.start_ns // np.uint64(slice_ns * factor)
        complete = int(np.searchsorted(group, group[-1])) if whole.slices else 0
        if complete:
            yield _join(part(whole, 0, complete), slice_ns * factor)
        rest = part(whole, complete, whole.slices)
    if rest is not None and rest.slices:
        yield _join(rest, slice_ns * factor)


def _join(batch: SliceBatch, group_ns: int) -> SliceBatch:
    group = batch.start_ns // np.uint64(group_ns)
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    bounds = batch.offsets[[*first.tolist(), batch.slices]]
    key = pack(batch.page, batch.process, batch.thread)
    counters = stacked_counters(batch)
    slices: list[SortedRows] = [
        sum_by_key(key[begin:end], counters[:, begin:end])
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    instructions = np.add.reduceat(batch.instructions, first)
    return to_batch(group[first] * np.uint64(group_ns), instructions, slices)


def write_joined(recording: Recording, path: Path, factor: int, level: int = DEFAULT_LEVEL) -> int:
    """Write the recording with slices `factor` times as long; returns the bytes of the file."""
    info = replace(recording.info, slice_ns=recording.info.slice_ns * factor)
    with RecordingWriter(path, info, force=True, level=level) as writer:
        writer.name_tasks(info.processes, info.tasks)
        writer.announce(recording.regions)
        if (samples := compressibility_of(recording)) is not None:
            writer.add_samples(samples)
        for batch in joined(recording.batches(by_thread=True), recording.info.slice_ns, factor):
            writer.append(batch)
        writer.finish(**{**recording.final, "pages": recording.pages})
    return writer.bytes_written


def fit(path: Path, max_bytes: int) -> int:
    """Join the slices of a recording in place, in twos, fours, ... until it fits; returns how many became one."""
    factor = 1
    while path.stat().st_size > max_bytes and factor < _MOST_FACTOR:
        step = 2
        while path.stat().st_size > 3 * step * max_bytes:  # joining slices never more than divides the size
            step *= 2
        smaller = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            write_joined(open_recording(path), smaller, step)
            os.replace(smaller, path)
        finally:
            smaller.unlink(missing_ok=True)
        factor *= step
    return factor
