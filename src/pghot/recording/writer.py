"""Writing a recording: append slices, flush whole batches, lose at most the last flush when killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from pghot.errors import PghotError, UsageError, not_written
from pghot.outputs import create
from pghot.recording import codec
from pghot.recording import format as fmt
from pghot.recording.batches import concatenate, cut
from pghot.recording.buffers import to_record_batch
from pghot.recording.checks import check_batch
from pghot.recording.compressibility import Compressibility, compressibility_of
from pghot.recording.compressibility import concatenate as joined_samples
from pghot.recording.regions import checked_regions
from pghot.recording.sample_text import MAX_SAMPLES, to_text
from pghot.recording.tally import Tally
from pghot.recording.trace import Region, SliceBatch, Trace, TraceInfo
from pghot.sealed import seal

DEFAULT_LEVEL = 9

# A batch is closed at this many rows too: 6 MB decoded, and already enough context for zstd.
FLUSH_ROWS = 1 << 18


class RecordingWriter:
    """Appends slices to a new recording.

    `info` is what is known at the start. Facts known only at the end go to `finish`; one with the name of a field
    of `TraceInfo`, such as `threads` or `lost`, replaces that field on reading. As a context manager it finishes
    on a normal exit. On an exception it keeps what was appended, and the recording stays marked incomplete.

    Raises `UsageError` when `path` exists (without `force`) or cannot be created, `PghotError` when a batch
    is not valid or the file cannot be written (disk full); what was flushed before stays readable.
    """

    def __init__(
        self,
        path: str | Path,
        info: TraceInfo,
        force: bool = False,
        flush_slices: int = 256,
        level: int = DEFAULT_LEVEL,
    ) -> None:
        self.path = Path(path)
        self._info = info
        self._flush_slices = flush_slices
        self._waiting: list[SliceBatch] = []
        self._waiting_slices = 0
        self._waiting_rows = 0
        self._regions: list[tuple[int, Region]] = []
        self._samples: list[Compressibility] = []
        self._tally = Tally()
        self._slices_on_disk = 0
        self._sink = _Sink(self.path, force)
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", level), use_threads=False)
        schema = fmt.SCHEMA.with_metadata({fmt.INFO_KEY: seal(fmt.info_to_facts(info))})
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), schema, options=options)
        self._commit()

    @property
    def bytes_written(self) -> int:
        """Bytes in the file so far."""
        return self._sink.committed

    @property
    def slices(self) -> int:
        """Slices appended so far."""
        return self._tally.slices + self._waiting_slices

    @property
    def rows(self) -> int:
        """Rows appended so far."""
        return self._tally.rows + self._waiting_rows

    def append(self, batch: SliceBatch, regions: Sequence[Region] = ()) -> None:
        """Add slices and the regions first seen in them. They are written once there are enough."""
        self.announce(regions)
        for piece in cut(batch, self._flush_slices, FLUSH_ROWS):
            self._waiting.append(piece)
            self._waiting_slices += piece.slices
            self._waiting_rows += piece.rows
            if self._waiting_slices >= self._flush_slices or self._waiting_rows >= FLUSH_ROWS:
                self.flush()

    def announce(self, regions: Sequence[Region]) -> None:
        """Regions first seen in the next slice to be appended, or after the last one."""
        self._regions += [(self._waiting_slices, region) for region in regions]

    def add_samples(self, samples: Compressibility) -> None:
        """Samples of page contents; they go into the file with the slices that are written next."""
        if len(samples):
            self._samples.append(samples)

    def flush(self) -> None:
        """Write what waits: a recorder that is killed later does not lose it."""
        if not self._waiting:
            return
        batch = concatenate(self._waiting)
        regions = [(min(at, batch.slices - 1), region) for at, region in self._regions]
        self._waiting, self._waiting_slices, self._waiting_rows, self._regions = [], 0, 0, []
        if batch.rows > fmt.MAX_ROWS:
            raise PghotError(f"a slice with {batch.rows} rows is too big", "record with shorter slices")
        check_batch(batch, fmt.MAX_PAGES, self._info.nodes)
        _check_regions(regions)
        summary = self._tally.add(batch, [region for _, region in regions])
        buffers = codec.encode(batch, regions)
        checksums = {"rows_crc32": codec.rows_crc32(buffers), "regions_crc32": codec.regions_crc32(buffers)}
        self._write(to_record_batch(buffers), fmt.BATCH_KEY, {**summary, **checksums})
        self._slices_on_disk = self._tally.slices

    def finish(self, **final_facts: Any) -> None:
        """Write what waits and the final facts (JSON values), then close. Calling it again does nothing."""
        if self._sink.closed:
            return
        self.flush()
        _check_regions(self._regions)
        facts = {"complete": True, **final_facts, **self._tally.facts()}
        _check_facts(self._info, facts)
        facts["pages"] = max(self._tally.pages, int(final_facts.get("pages", 0)))
        facts["regions"] = [
            (r.first_page, r.pages, r.space, r.start_address, r.name) for _, r in self._regions
        ]
        empty = codec.encode(concatenate([]), [])
        self._write(to_record_batch(empty), fmt.FINAL_KEY, facts)
        self._stream.close()
        self._commit()
        self._sink.close()

    def _write(self, record: pa.RecordBatch, key: str, facts: Mapping[str, Any]) -> None:
        if self._sink.closed:
            raise PghotError(f"{self.path} is closed", "open a new recording")
        metadata = {key: seal(facts)}
        if self._samples:
            metadata[fmt.SAMPLES_KEY] = _samples_text(self._samples)
            self._samples = []
        self._stream.write_batch(record, custom_metadata=metadata)
        self._commit()

    def _commit(self) -> None:
        try:
            self._sink.commit()
        except OSError as error:
            self._sink.close()
            failure = not_written(self.path, error)
            if self._slices_on_disk:
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


def _check_facts(info: TraceInfo, facts: Mapping[str, Any]) -> None:
    try:
        fmt.with_final_facts(info, facts)
    except ValueError as error:
        raise PghotError(f"the recorder's final facts are wrong: {error}", "report this as a bug") from None


def _samples_text(parts: list[Compressibility]) -> str:
    samples = joined_samples(parts)
    if len(samples) > MAX_SAMPLES:
        raise PghotError(
            f"{len(samples)} samples of page contents at once are too many", f"give {MAX_SAMPLES} at most"
        )
    return to_text(samples)


def _check_regions(regions: Sequence[tuple[int, Region]]) -> None:
    try:
        checked_regions([region for _, region in regions])
    except ValueError as error:
        raise PghotError(str(error), "record with larger pages") from None


class _Sink:
    """The file under the Arrow stream: a message reaches it whole or, when the disk is full, not at all."""

    def __init__(self, path: Path, force: bool) -> None:
        try:
            self._fd = create(path, force, private=True)
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

    def flush(self) -> None:
        """Called by Arrow; `commit` is what writes."""

    def commit(self) -> None:
        """Append what is pending. On `OSError` the file is cut back to the last whole message."""
        data = memoryview(b"".join(self._pending))
        self._pending = []
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            os.ftruncate(self._fd, self.committed)
            raise
        self.committed += written

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)


def write_recording(
    path: str | Path, trace: Trace, level: int = DEFAULT_LEVEL, force: bool = False, **final_facts: Any
) -> None:
    """Write a whole trace. Raises as `RecordingWriter` does."""
    with RecordingWriter(path, trace.info, force=force, level=level) as writer:
        samples = compressibility_of(trace)
        if samples is not None:
            writer.add_samples(samples)
        regions = trace.regions
        for batch in trace.batches():
            writer.append(batch, regions)
            regions = ()
        writer.announce(regions)
        writer.finish(pages=trace.pages, **final_facts)
