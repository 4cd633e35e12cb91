"""Writing a recording: append slices, flush whole batches, seal; lose at most the last flush when killed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pghot.errors import PghotError, UsageError, not_written
from pghot.outputs import check_free, create_beside, take_name
from pghot.recording import format as fmt
from pghot.recording import header
from pghot.recording.batches import cut_at
from pghot.recording.buffers import to_record_batch
from pghot.recording.codec import encode
from pghot.recording.compressibility import Compressibility, compressibility_of
from pghot.recording.compressibility import concatenate as joined_samples
from pghot.recording.digest import BLANK, START, with_digests
from pghot.recording.run_batch import RunBatch, joined
from pghot.recording.sample_text import MAX_SAMPLES, to_text
from pghot.recording.tally import Tally
from pghot.recording.trace import Process, Region, SliceBatch, Task, Trace, TraceInfo

DEFAULT_LEVEL = 9

# A recorder flushes after so many slices, for the case that it is killed. What exists already is written in batches as
# large as they may be: each one costs a reader some time for each column.
FLUSH_SLICES = 256
WHOLE_BATCHES = fmt.MAX_SLICES

# A batch is closed at this many rows too: 6 MB decoded, and already enough context for zstd.
FLUSH_ROWS = 1 << 18
# And at 16 times as many rows of one page, where rows are of several.
_PAGES_A_ROW = 16


class RecordingWriter:
    """Appends slices to a new recording, which has its name once its first batch is on disk.

    `info` is what is known at the start; its `cache_bytes` says how many caches the batches must have. Facts known
    only at the end go to `finish`; one with the name of a field of `TraceInfo`, such as `threads` or `lost`, replaces
    that field on reading. As a context manager it finishes on a normal exit. On an exception it keeps what was
    appended, and the recording stays without its seal: readers call it truncated.

    whole  it has its name only when it is finished; without a finish there is no file
    runs   rows may be of several pages in succession (`RUN_FORMAT`)

    Raises `UsageError` when `path` exists (without `force`) or cannot be created, `PghotError` when a batch
    is not valid or the file cannot be written (disk full); what was flushed before stays readable. When nothing was,
    there is no file, and with `force` the former one stays.
    """

    def __init__(
        self,
        path: str | Path,
        info: TraceInfo,
        force: bool = False,
        flush_slices: int = FLUSH_SLICES,
        level: int = DEFAULT_LEVEL,
        whole: bool = False,
        runs: bool = False,
    ) -> None:
        self.path = Path(path)
        self._whole, self._runs = whole, runs
        self._info = _checked(info, {})
        self._caches = len(info.cache_bytes)
        self._flush_slices = flush_slices
        self._waiting: list[RunBatch] = []
        self._waiting_slices = 0
        self._waiting_rows = self._waiting_room = 0
        self._regions: list[Region] = []
        self._tasks: dict[str, Any] = {}
        self._samples: list[Compressibility] = []
        self._tally = Tally(self._caches, info.nodes)
        self._pages = 0
        self._chain = START
        self._last_ns = -1
        self._slices_on_disk = 0
        self._sink = _Sink(self.path, force)
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", level), use_threads=False)
        facts = {**header.info_to_facts(info), "format": fmt.RUN_FORMAT if runs else fmt.FORMAT}
        metadata = {fmt.INFO_KEY: _text(facts), fmt.DIGEST_KEY: BLANK}
        schema = fmt.schema(self._caches, runs).with_metadata(metadata)
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), schema, options=options)

    @property
    def bytes_written(self) -> int:
        """Bytes in the file so far."""
        return self._sink.committed

    @property
    def slices(self) -> int:
        """Slices appended so far."""
        return self._tally.totals["slices"] + self._waiting_slices

    @property
    def rows(self) -> int:
        """Rows of one page appended so far."""
        return self._tally.totals["rows"] + self._waiting_rows

    def append(self, batch: SliceBatch | RunBatch, regions: Sequence[Region] = ()) -> None:
        """Add slices and the regions first seen in them. They are written once there are enough. Runs need a writer of
        runs."""
        self.announce(regions)
        runs = batch if isinstance(batch, RunBatch) else RunBatch.single(batch)
        before = runs.all_offsets if runs is batch else runs.rows.offsets
        room = np.maximum(runs.rows.offsets, before // _PAGES_A_ROW)
        for begin, end in cut_at(room, self._flush_slices, FLUSH_ROWS):
            pages = int(before[end] - before[begin])
            if self._waiting_rows + pages > fmt.MAX_ROWS:
                self.flush()
            self._waiting.append(runs.part(begin, end))
            self._waiting_slices += end - begin
            self._waiting_rows += pages
            self._waiting_room += int(room[end] - room[begin])
            if self._waiting_slices >= self._flush_slices or self._waiting_room >= FLUSH_ROWS:
                self.flush()

    def announce(self, regions: Sequence[Region]) -> None:
        """Regions first seen in the slices that are written next, or after the last ones."""
        self._regions += regions

    def name_tasks(self, processes: Sequence[Process], tasks: Sequence[Task]) -> None:
        """All processes and threads known so far. They go into the file with the slices that are written next."""
        self._tasks = header.tasks_to_facts(processes, tasks)

    def add_samples(self, samples: Compressibility) -> None:
        """Samples of page contents; they go into the file with the slices that are written next."""
        if len(samples):
            self._samples.append(samples)

    def flush(self) -> None:
        """Write what waits: a recorder that is killed later does not lose it."""
        if not self._waiting:
            return
        runs = joined(self._waiting, self._caches)
        regions, tasks = self._regions, self._tasks
        self._waiting, self._waiting_slices, self._waiting_rows, self._waiting_room = [], 0, 0, 0
        self._regions, self._tasks = [], {}
        self._check(runs)
        facts = self._tally.add(runs, fmt.MAX_PAGES)
        self._last_ns = facts["last_ns"]
        self._write(runs, fmt.BATCH_KEY, {**facts, **tasks, **self._placed(regions)})
        self._slices_on_disk += runs.rows.slices

    def finish(self, **final_facts: Any) -> None:
        """Write what waits and the final facts (JSON values), then close. Calling it again does nothing."""
        if self._sink.closed:
            return
        self.flush()
        self._pages = max(self._pages, int(final_facts.get("pages", 0)))
        facts = {**final_facts, **self._tasks, **self._tally.facts()}
        facts |= self._placed(self._regions)
        _checked(self._info, facts)
        if self._pages > fmt.most_pages(self._tally.footprint_pages):
            raise PghotError(
                f"{self._pages} dense pages of which {self._tally.footprint_pages} were touched are too sparse",
                "number only memory that is touched",
            )
        self._write(joined([], self._caches), fmt.FINAL_KEY, facts)
        self._stream.close()
        self._commit(last=True)
        self._sink.close()

    def discard(self) -> None:
        """Close without what waits; a recording without any batch on disk never gets its name."""
        self._sink.close()

    def _check(self, runs: RunBatch) -> None:
        batch = runs.rows
        if runs.all_rows > fmt.MAX_ROWS:
            raise PghotError(f"a slice with {runs.all_rows} rows is too big", "record with shorter slices")
        if runs.all_rows != batch.rows and not self._runs:
            raise PghotError("rows of several pages in a recording of single pages", "open it with `runs`")
        if len(batch.misses_by_cache) != self._caches:
            raise PghotError(
                f"slices with misses of {len(batch.misses_by_cache)} caches where {self._caches} were announced",
                "name each cache in `TraceInfo.cache_bytes`",
            )
        if int(batch.start_ns[0]) <= self._last_ns:
            raise PghotError(
                f"a slice at {int(batch.start_ns[0])} ns after one at {self._last_ns} ns",
                "append slices in order",
            )
        if not header.is_time_ns(int(batch.start_ns[-1])):
            raise PghotError(
                f"a slice at {int(batch.start_ns[-1])} ns, which is beyond what a reader accepts",
                "count the time from the start of the recording",
            )

    def _placed(self, regions: Sequence[Region]) -> dict[str, Any]:
        """The facts of new regions, and the size of the dense space with them."""
        try:
            header.checked_regions(regions)
        except ValueError as error:
            raise PghotError(str(error), "record with larger pages") from None
        ends = [region.first_page + region.pages for region in regions]
        self._pages = max([self._pages, self._tally.touched_end, *ends])
        return {"pages": self._pages, "regions": header.regions_to_facts(regions)}

    def _write(self, batch: RunBatch, key: str, facts: Mapping[str, Any]) -> None:
        if self._sink.closed:
            raise PghotError(f"{self.path} is closed", "open a new recording")
        metadata = {key: _text(facts), fmt.DIGEST_KEY: BLANK}
        if self._samples:
            metadata[fmt.SAMPLES_KEY] = _samples_text(self._samples)
            self._samples = []
        if sum(map(len, metadata.values())) > fmt.MAX_METADATA_BYTES // 2:
            raise PghotError("too many regions, or samples of page contents, at once", "flush more often")
        columns = to_record_batch(encode(batch, self._runs), self._caches, self._runs)
        self._stream.write_batch(columns, custom_metadata=metadata)
        # Arrow writes the schema only with the first batch: these may be two messages.
        message, self._chain = with_digests(self._sink.take(), self._chain)
        self._sink.write(message)
        self._commit()

    def _commit(self, last: bool = False) -> None:
        try:
            self._sink.commit(named=last or not self._whole)
        except OSError as error:
            self._sink.close()
            failure = not_written(self.path, error)
            if self._slices_on_disk and not self._whole:
                failure.hint += f"; the {self._slices_on_disk:,} slices before are kept and readable"
            raise failure from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif not self._sink.closed:
            with contextlib.suppress(PghotError):  # the error that is being raised is the one to show
                self.flush()
            self._sink.close()


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, separators=(",", ":"))


def _checked(info: TraceInfo, facts: Mapping[str, Any]) -> TraceInfo:
    """`info` when a reader will believe it together with these final facts."""
    try:
        header.with_final_facts(header.info_from_facts(header.info_to_facts(info)), facts)
    except ValueError as error:
        raise PghotError(f"the facts of the recording are wrong: {error}", "correct them") from None
    return info


def _samples_text(parts: list[Compressibility]) -> str:
    samples = joined_samples(parts)
    if len(samples) > MAX_SAMPLES:
        raise PghotError(
            f"{len(samples)} samples of page contents at once are too many", f"give {MAX_SAMPLES} at most"
        )
    return to_text(samples)


class _Sink:
    """The file under the Arrow stream: a message reaches it whole or, when the disk is full, not at all."""

    def __init__(self, path: Path, force: bool) -> None:
        check_free(path, force)
        self._path, self._force = path, force
        self._part: Path | None  # its name until there is a message in it
        try:
            self._fd, self._part = create_beside(path, private=True)
        except OSError as error:
            raise UsageError(
                f"cannot create {path}: {error.strerror}", "name a file that you may write"
            ) from None
        self._pending: list[bytes] = []
        self.committed = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Called by Arrow with parts of a message."""
        self._pending.append(bytes(data))
        return len(self._pending[-1])

    def take(self) -> bytes:
        """What is pending; nothing is afterwards."""
        data, self._pending = b"".join(self._pending), []
        return data

    def flush(self) -> None:
        """Called by Arrow; `commit` is what writes."""

    def commit(self, named: bool) -> None:
        """Append what is pending, in a file that has its name from now on or not yet. On `OSError` it is cut back to
        the last whole message."""
        data = memoryview(self.take())
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            os.ftruncate(self._fd, self.committed)
            raise
        if self._part is not None and named:
            take_name(self._part, self._path, self._force)
            self._part = None
        self.committed += written

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)
            if self._part is not None:
                self._part.unlink(missing_ok=True)


def write_recording(
    path: str | Path, trace: Trace, level: int = DEFAULT_LEVEL, force: bool = False, **final_facts: Any
) -> None:
    """Write a whole trace. Raises as `RecordingWriter` does."""
    with RecordingWriter(path, trace.info, force, WHOLE_BATCHES, level) as writer:
        samples = compressibility_of(trace)
        if samples is not None:
            writer.add_samples(samples)
        regions = trace.regions
        for batch in trace.batches():
            writer.append(batch, regions)
            regions = ()
        writer.announce(regions)
        writer.finish(pages=trace.pages, **final_facts)
