"""A recording as CSV for other programs: a line for each row, with its address, region, process and thread in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pghot.arrays import I64, U64
from pghot.recording.batches import cut
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
        ("process", pa.string()),
        ("thread", pa.string()),
        ("tid", pa.uint32()),
        ("node", pa.int16()),
        *((name, pa.uint32()) for name in _COUNTERS),
    ]
)


def write_csv(recording: Recording, path: Path) -> None:
    """Write all rows, threads told apart. What is not known is left empty: the address and region of a page that no
    region has, process and thread where they were not recorded. Raises `PghotError` where the recording is damaged,
    and `OSError`."""
    region_of, address = _places(recording)
    with open(path, "wb") as file, pacsv.CSVWriter(file, SCHEMA) as writer:
        for batch in recording.batches(by_thread=True):
            for piece in cut(batch, batch.slices, _ROWS_AT_A_TIME):
                writer.write_table(_table(recording, piece, region_of, address))


def _places(recording: Recording) -> tuple[I64, U64]:
    """Of each page its region's position, -1 for none, and its address."""
    region_of = np.full(recording.pages, -1, np.int64)
    address = np.zeros(recording.pages, np.uint64)
    for number, region in enumerate(recording.regions):
        own = slice(region.first_page, min(region.first_page + region.pages, recording.pages))
        region_of[own] = number
        nth = np.arange(own.stop - own.start, dtype=np.uint64)
        address[own] = np.uint64(region.start_address) + nth * np.uint64(recording.info.page_bytes)
    return region_of, address


def _table(recording: Recording, batch: SliceBatch, region_of: I64, address: U64) -> pa.Table:
    info, regions = recording.info, recording.regions
    region = region_of[batch.page]
    unknown = region < 0
    hexadecimal = [
        None if not_one else f"{at:#x}" for at, not_one in zip(address[batch.page], unknown, strict=True)
    ]
    columns: list[Any] = [
        np.repeat(batch.start_ns, np.diff(batch.offsets)),
        batch.page,
        hexadecimal,
        _named([each.name for each in regions], region),
        _named([str(each.kind) for each in regions], region),
        _named([each.name for each in info.processes], batch.process.astype(np.int64)),
        _named([each.name for each in info.tasks], batch.thread.astype(np.int64)),
        _numbered([each.tid for each in info.tasks], batch.thread.astype(np.int64)),
        batch.node,
        *(getattr(batch, name) for name in _COUNTERS),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _named(names: list[str], which: I64) -> list[str | None]:
    """The name of each, None for one that is none of them."""
    return [names[each] if 0 <= each < len(names) else None for each in which.tolist()]


def _numbered(numbers: list[int], which: I64) -> list[int | None]:
    return [numbers[each] if 0 <= each < len(numbers) else None for each in which.tolist()]
