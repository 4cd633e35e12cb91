"""Recordings to Parquet and back, lossless and streamed, for DuckDB, Polars, pandas and Spark.

The Parquet table is flat: one row for each slice and touched page, sorted by slice, page and node. What is
not a row (facts, regions, slices that touched nothing) sits in the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pghot.arrays import U64
from pghot.errors import PghotError, UsageError
from pghot.outputs import create, written_whole
from pghot.recording import format as fmt
from pghot.recording.batches import ROW_DTYPES
from pghot.recording.compressibility import Compressibility
from pghot.recording.reader import Recording, open_recording
from pghot.recording.sample_text import from_text, to_text
from pghot.recording.tally import Tally
from pghot.recording.trace import Region, SliceBatch
from pghot.recording.writer import RecordingWriter

EMPTY_KEY = "pghot.empty_slices"
REGIONS_KEY = "pghot.regions"

PARQUET_SCHEMA = pa.schema(
    [
        pa.field("slice", pa.uint64(), nullable=False),
        pa.field("start_ns", pa.uint64(), nullable=False),
        pa.field("instructions", pa.uint64(), nullable=False),
        *(pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name, dtype in ROW_DTYPES.items()),
    ]
)

_ROWS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, and what of the source could not be read: see `Recording`."""

    slices: int
    rows: int
    dropped_bytes: int = 0
    dropped_slices: int = 0
    damage: str = ""


def convert(src: str | Path, dst: str | Path, force: bool = False) -> Conversion:
    """Convert by extension: `.pghot` to `.parquet` and back; `.pghot` to `.pghot` keeps the good slices.

    `src` may be a URI (`.pghot` only); `dst` is a local path and appears only once it is complete. Raises
    `UsageError` for unknown extensions, an existing `dst` without `force`, or a `src` that is not ours;
    `PghotError` when the data is damaged or `dst` cannot be written.
    """
    steps: dict[tuple[str, str], Callable[[str | Path, Path], Conversion]] = {
        (fmt.SUFFIX, ".parquet"): _to_parquet,
        (".parquet", fmt.SUFFIX): _from_parquet,
        (fmt.SUFFIX, fmt.SUFFIX): _copy,
    }
    step = steps.get((Path(str(src)).suffix.lower(), Path(dst).suffix.lower()))
    if step is None:
        raise UsageError(
            f"cannot convert {src} to {dst}", "one must end in .pghot, the other in .parquet or .pghot"
        )
    with written_whole(Path(dst), force) as part:
        return step(src, part)


def _copy(src: str | Path, dst: Path) -> Conversion:
    recording = open_recording(src, verify=True)
    with RecordingWriter(dst, recording.info) as writer:
        _add_samples(writer, recording.compressibility)
        regions = recording.regions
        for batch in recording.batches():
            writer.append(batch, regions)
            regions = ()
        _finish(writer, recording.pages, _final_after_losses(recording), regions)
    return _conversion(recording)


def _to_parquet(src: str | Path, dst: Path) -> Conversion:
    recording = open_recording(src, verify=True)
    facts = {
        fmt.INFO_KEY: fmt.info_to_facts(recording.info),
        fmt.FINAL_KEY: {**_final_after_losses(recording), "pages": recording.pages},
        REGIONS_KEY: [(r.first_page, r.pages, r.space, r.start_address, r.name) for r in recording.regions],
    }
    metadata = {key: json.dumps(value) for key, value in facts.items()}
    if recording.compressibility is not None:
        metadata[fmt.SAMPLES_KEY] = to_text(recording.compressibility)
    schema = PARQUET_SCHEMA.with_metadata(metadata)
    empty: list[tuple[int, int, int]] = []
    with (
        os.fdopen(create(dst, private=True), "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        at = 0
        for batch in recording.batches():
            writer.write_table(_flat(batch, at, schema), row_group_size=_ROWS_AT_A_TIME)
            empty += _empty_slices(batch, at)
            at += batch.slices
        writer.add_key_value_metadata({EMPTY_KEY: json.dumps(empty)})
    return _conversion(recording)


def _flat(batch: SliceBatch, first_slice: int, schema: pa.Schema) -> pa.Table:
    counts = np.diff(batch.offsets)
    slices = np.repeat(np.arange(first_slice, first_slice + batch.slices, dtype=np.uint64), counts)
    per_slice = [slices, np.repeat(batch.start_ns, counts), np.repeat(batch.instructions, counts)]
    columns = [*per_slice, *(getattr(batch, name) for name in ROW_DTYPES)]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)


def _empty_slices(batch: SliceBatch, first_slice: int) -> list[tuple[int, int, int]]:
    """(slice, start_ns, instructions) of the slices that touched nothing: the flat table cannot show them."""
    empty = np.flatnonzero(np.diff(batch.offsets) == 0)
    starts, instructions = batch.start_ns[empty].tolist(), batch.instructions[empty].tolist()
    return list(zip((empty + first_slice).tolist(), starts, instructions, strict=True))


def _from_parquet(src: str | Path, dst: Path) -> Conversion:
    try:
        with pq.ParquetFile(src) as file:
            return _read_parquet(str(src), file, dst)
    except FileNotFoundError:
        raise UsageError(f"no file {src}", "check the path") from None
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise PghotError(f"cannot read {src} as Parquet: {reason}", "convert the recording again") from None


def _read_parquet(name: str, file: pq.ParquetFile, dst: Path) -> Conversion:
    metadata = file.metadata.metadata or {}
    if fmt.INFO_KEY.encode() not in metadata or not file.schema_arrow.equals(PARQUET_SCHEMA):
        raise UsageError(
            f"{name} is not a recording in Parquet", "only files from `pghot convert` convert back"
        )
    try:
        info = fmt.info_from_facts(json.loads(metadata[fmt.INFO_KEY.encode()]))
        final = json.loads(metadata[fmt.FINAL_KEY.encode()])
        regions = [Region(*region) for region in json.loads(metadata[REGIONS_KEY.encode()])]
        empty = np.array(json.loads(metadata[EMPTY_KEY.encode()]), np.uint64).reshape(-1, 3)
        text = metadata.get(fmt.SAMPLES_KEY.encode())
        samples = None if text is None else from_text(text.decode(errors="replace"))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PghotError(f"{name} has damaged metadata: {error}", "convert the recording again") from None
    with RecordingWriter(dst, info) as writer:
        _add_samples(writer, samples)
        for batch in _slices(file, empty):
            writer.append(batch, regions)
            regions = []
        _finish(writer, int(final.pop("pages")), final, tuple(regions))
        return Conversion(writer.slices, writer.rows)


def _slices(file: pq.ParquetFile, empty: U64) -> Iterator[SliceBatch]:
    """Whole slices from the flat rows, the empty ones put back where they were."""
    rest = pa.table({name: [] for name in PARQUET_SCHEMA.names}, schema=PARQUET_SCHEMA)
    for piece in file.iter_batches(_ROWS_AT_A_TIME):
        table = pa.concat_tables([rest, pa.Table.from_batches([piece], PARQUET_SCHEMA)])
        number = table["slice"].to_numpy()
        last = int(number[-1])
        whole = int(np.searchsorted(number, last))
        before = int(np.searchsorted(empty[:, 0], last))
        if whole or before:
            yield _regroup(table.slice(0, whole), empty[:before])
        rest, empty = table.slice(whole), empty[before:]
    if len(rest) or len(empty):
        yield _regroup(rest, empty)


def _regroup(table: pa.Table, empty: U64) -> SliceBatch:
    column = {name: table[name].to_numpy() for name in table.column_names}
    present, first = np.unique(column["slice"], return_index=True)
    number = np.concatenate([present, empty[:, 0]])
    order = np.argsort(number, kind="stable")
    number = number[order]
    ends = np.searchsorted(column["slice"], number, side="right")
    return SliceBatch(
        start_ns=np.concatenate([column["start_ns"][first], empty[:, 1]])[order],
        instructions=np.concatenate([column["instructions"][first], empty[:, 2]])[order],
        offsets=np.concatenate([[0], ends]).astype(np.int64),
        **{name: column[name] for name in ROW_DTYPES},
    )


def _add_samples(writer: RecordingWriter, samples: Compressibility | None) -> None:
    if samples is not None:
        writer.add_samples(samples)


def _final_after_losses(recording: Recording) -> dict[str, Any]:
    """The final facts; a recording that lost something stays incomplete, and says how much it lost."""
    if recording.complete:
        return recording.final
    facts: dict[str, Any] = {"complete": False}
    if recording.damage:
        losses = {"dropped_bytes": recording.dropped_bytes, "dropped_slices": recording.dropped_slices}
        facts["losses_before_conversion"] = losses
    return {**recording.final, **facts}


def _finish(writer: RecordingWriter, pages: int, final: dict[str, Any], regions: tuple[Region, ...]) -> None:
    """Finish with `regions` that no slice carried and the final facts that the writer does not count."""
    writer.announce(regions)
    counted = set(Tally().facts())
    writer.finish(**{key: value for key, value in final.items() if key not in counted}, pages=pages)


def _conversion(recording: Recording) -> Conversion:
    losses = (recording.dropped_bytes, recording.dropped_slices, recording.damage)
    return Conversion(recording.slices, recording.rows, *losses)
