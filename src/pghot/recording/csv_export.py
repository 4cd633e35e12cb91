"""A recording as CSV for other programs: a line for each row, with its address, region, process and thread in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pghot.recording.batches import cut
from pghot.recording.places import Places
from pghot.recording.reader import Recording
from pghot.recording.trace import SliceBatch

_ROWS_AT_A_TIME: Final = 1 << 18
_COUNTERS: Final = ("touches", "misses", "writes", "sequential", "strided", "dependent")
SCHEMA: Final = pa.schema(
    [
        ("start_ns", pa.uint64()),
        ("page", pa.uint32()),
        ("address", pa.string()),
        ("region", pa.string()),
        ("kind", pa.string()),
        ("site", pa.string()),
        ("process", pa.string()),
        ("thread", pa.string()),
        ("tid", pa.uint32()),
        ("node", pa.int16()),
        *((name, pa.uint32()) for name in _COUNTERS),
    ]
)


def write_csv(recording: Recording, path: Path) -> None:
    """Write all rows, threads told apart. What is not known is left empty, see `Places`. Raises `PghotError` where the
    recording is damaged, and `OSError`."""
    places = Places(recording.info, recording.regions)
    with open(path, "wb") as file, pacsv.CSVWriter(file, SCHEMA) as writer:
        for batch in recording.batches(by_thread=True):
            for piece in cut(batch, batch.slices, _ROWS_AT_A_TIME):
                writer.write_table(_table(piece, places.table(piece.page, piece.process, piece.thread)))


def _table(batch: SliceBatch, place: pa.Table) -> pa.Table:
    columns: list[Any] = [
        np.repeat(batch.start_ns, np.diff(batch.offsets)),
        batch.page,
        [None if at is None else f"{at:#x}" for at in place["address"].to_pylist()],
        *(
            place[name].cast(pa.string())
            for name in ("region", "kind", "site", "process_name", "thread_name")
        ),
        place["tid"],
        batch.node,
        *(getattr(batch, name) for name in _COUNTERS),
    ]
    arrays = [
        column if isinstance(column, pa.ChunkedArray) else pa.array(column, field.type)
        for column, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
