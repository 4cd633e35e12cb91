"""A recording as a flat Parquet table, for DuckDB, Polars, pandas and Spark, and back from there.

One row for each row on disk, sorted by slice, page, node, process and thread, and behind its numbers where that is and
whose, in words. What is not a row (facts, regions, slices that touched nothing) sits in the file's metadata, and beside
it a seal: the totals, and a digest over the metadata and the numbers as decoded, from which the words follow. A table
without a seal, such as another program wrote, is read as *unverified*.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pghot.arrays import U64
from pghot.errors import PghotError, UsageError
from pghot.outputs import create
from pghot.recording import format as fmt
from pghot.recording import header
from pghot.recording.batches import ROW_DTYPES
from pghot.recording.compressibility import Compressibility
from pghot.recording.digest import DIGEST_BYTES, digest
from pghot.recording.places import PLACE_SCHEMA, Places
from pghot.recording.reader import Recording
from pghot.recording.sample_text import from_text, to_text
from pghot.recording.trace import PATTERNS, Region, SliceBatch, TraceInfo, Verification
from pghot.sealed import json_object

EMPTY_KEY: Final = "pghot.empty_slices"
REGIONS_KEY: Final = "pghot.regions"
SEAL_KEY: Final = "pghot.seal"

# What the seal covers, in this order.
_METADATA_KEYS: Final = (fmt.INFO_KEY, fmt.FINAL_KEY, REGIONS_KEY, EMPTY_KEY, fmt.SAMPLES_KEY)
_SLICE_COLUMNS: Final = ("slice", "start_ns", "instructions")
_NEEDED: Final = (*_SLICE_COLUMNS, "page", "touches", "misses")
# Of a table without facts whose slices do not tell.
_USUAL_SLICE_NS: Final = 1_000_000

ROWS_AT_A_TIME: Final = 1 << 20


def table_schema(info: TraceInfo) -> pa.Schema:
    """The columns of a recording's table: the misses of the smallest cache are `misses`, the others say their bytes."""
    kinds = {name: pa.uint64() for name in _SLICE_COLUMNS}
    kinds |= {name: pa.from_numpy_dtype(dtype) for name, dtype in ROW_DTYPES.items()}
    kinds |= {name: pa.uint32() for name in _larger_caches(info)}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def _larger_caches(info: TraceInfo) -> list[str]:
    return [f"misses_in_{size}" for size in info.cache_bytes[1:]]


def _with_places(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *PLACE_SCHEMA], schema.metadata)


def _spelled_out(schema: pa.Schema) -> pa.Schema:
    """Without metadata and dictionaries, which other programs that write a table again may leave out."""
    return pa.schema(
        [
            each.with_type(each.type.value_type) if pa.types.is_dictionary(each.type) else each
            for each in schema
        ]
    )


class _Digest:
    """The digest of a table: of its metadata, then of each column's digest, whatever pieces it is read in."""

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = {name: hashlib.blake2b(digest_size=DIGEST_BYTES) for name in schema.names}

    def add(self, table: pa.Table) -> None:
        for name, state in self._columns.items():
            for chunk in table[name].chunks:
                state.update(np.ascontiguousarray(chunk.to_numpy()).view(np.uint8).data)

    def result(self, metadata: Mapping[str, str]) -> str:
        texts = [digest(metadata.get(key, "").encode()) for key in _METADATA_KEYS]
        return digest(*texts, *(state.digest() for state in self._columns.values())).hex()


def write_table(recording: Recording, final: Mapping[str, Any], path: Path) -> None:
    """Write a recording's table. `final` are its final facts. Raises as `Recording.batches` does."""
    metadata = {
        fmt.INFO_KEY: json.dumps(header.info_to_facts(recording.info)),
        fmt.FINAL_KEY: json.dumps({**final, "pages": recording.pages}),
        REGIONS_KEY: json.dumps(header.regions_to_facts(recording.regions)),
    }
    if recording.compressibility is not None:
        metadata[fmt.SAMPLES_KEY] = to_text(recording.compressibility)
    plain = table_schema(recording.info)
    found = _Digest(plain)
    empty: list[tuple[int, int, int]] = []
    schema = plain.with_metadata(metadata)
    places = Places(recording.info, recording.regions)
    with (
        os.fdopen(create(path, private=True), "wb") as file,
        pq.ParquetWriter(file, _with_places(schema), compression="zstd", write_page_checksum=True) as writer,
    ):
        at = 0
        for batch in recording.batches(by_thread=True):
            table = _flat(batch, at, schema)
            found.add(table)
            whole = [*table.columns, *places.table(batch.page, batch.process, batch.thread).columns]
            writer.write_table(
                pa.Table.from_arrays(whole, schema=_with_places(schema)), row_group_size=ROWS_AT_A_TIME
            )
            empty += _empty_slices(batch, at)
            at += batch.slices
        metadata[EMPTY_KEY] = json.dumps(empty)
        seal = {"format": fmt.FORMAT, "rows": recording.rows, "digest": found.result(metadata)}
        writer.add_key_value_metadata({EMPTY_KEY: metadata[EMPTY_KEY], SEAL_KEY: json.dumps(seal)})


def _flat(batch: SliceBatch, first_slice: int, schema: pa.Schema) -> pa.Table:
    counts = np.diff(batch.offsets)
    slices = np.repeat(np.arange(first_slice, first_slice + batch.slices, dtype=np.uint64), counts)
    per_slice = [slices, np.repeat(batch.start_ns, counts), np.repeat(batch.instructions, counts)]
    columns = [*per_slice, *(getattr(batch, name) for name in ROW_DTYPES), *batch.misses_by_cache[1:]]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)


def _empty_slices(batch: SliceBatch, first_slice: int) -> list[tuple[int, int, int]]:
    """(slice, start_ns, instructions) of the slices that touched nothing: the flat table cannot show them."""
    empty = np.flatnonzero(np.diff(batch.offsets) == 0)
    starts, instructions = batch.start_ns[empty].tolist(), batch.instructions[empty].tolist()
    return list(zip((empty + first_slice).tolist(), starts, instructions, strict=True))


@dataclass(slots=True)
class Table:
    """A table that was opened: what its metadata says, and its rows.

    final  final facts, without the size of the dense space, which is `pages`
    """

    name: str
    file: pq.ParquetFile
    info: TraceInfo
    final: dict[str, Any]
    pages: int
    regions: list[Region]
    empty: U64
    samples: Compressibility | None
    metadata: dict[str, str]

    def batches(self) -> Iterator[SliceBatch]:
        """Whole slices from the flat rows, the empty ones put back where they were.

        Raises `PghotError` when a column holds what it cannot, and at the end when the seal does not agree.
        """
        schema = table_schema(self.info)
        found = _Digest(schema)
        places = Places(self.info, self.regions)
        rest, empty = schema.empty_table(), self.empty
        for piece in self.file.iter_batches(ROWS_AT_A_TIME):
            fitted = self._fitted(piece, schema)
            found.add(fitted)
            self._check_places(piece, fitted, places)
            table = pa.concat_tables([rest, fitted])
            number = table["slice"].to_numpy()
            if (number[1:] < number[:-1]).any():
                raise PghotError(f"{self.name} has slices in no order", "sort its rows by slice and page")
            last = int(number[-1])
            whole = int(np.searchsorted(number, last))
            before = int(np.searchsorted(empty[:, 0], last))
            if whole or before:
                yield _regroup(table.slice(0, whole), empty[:before], self.info)
            rest, empty = table.slice(whole), empty[before:]
        if len(rest) or len(empty):
            yield _regroup(rest, empty, self.info)
        self._check_seal(found)

    def _fitted(self, piece: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
        """The piece in the columns of a recording; those that a table without a seal lacks are zeros."""
        columns = []
        for wanted in schema:
            if wanted.name in piece.schema.names:
                columns.append(_fitting(self.name, piece, wanted.name, wanted.type))
            else:
                columns.append(pa.array(np.zeros(piece.num_rows, wanted.type.to_pandas_dtype())))
        return pa.Table.from_arrays(columns, schema=schema)

    def _check_seal(self, found: _Digest) -> None:
        if SEAL_KEY not in self.metadata:
            return
        try:
            sealed = json.loads(self.metadata[SEAL_KEY])["digest"]
        except (ValueError, KeyError, TypeError, RecursionError):
            sealed = None
        if sealed != found.result(self.metadata):
            raise self._not_as_sealed()

    def _check_places(self, piece: pa.RecordBatch, rows: pa.Table, places: Places) -> None:
        """The words of a sealed table are those that follow from its numbers."""
        if SEAL_KEY not in self.metadata:
            return
        numbers = (rows[name].to_numpy() for name in ("page", "process", "thread"))
        for name, wanted in zip(PLACE_SCHEMA.names, places.table(*numbers).columns, strict=True):
            if not _in_full(piece.column(name)).equals(_in_full(wanted.combine_chunks())):
                raise self._not_as_sealed()

    def _not_as_sealed(self) -> PghotError:
        return PghotError(
            f"{self.name} is sealed, and its data is not what was sealed", "convert the recording again"
        )


@contextmanager
def open_table(path: str | Path) -> Iterator[Table]:
    """Open a recording's table. Raises `UsageError` when it is none, `PghotError` when it is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield _opened(str(path), file)
    except FileNotFoundError:
        raise UsageError(f"no file {path}", "check the path") from None
    except (OSError, MemoryError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise PghotError(f"cannot read {path} as Parquet: {reason}", "convert the recording again") from None


def _opened(name: str, file: pq.ParquetFile) -> Table:
    texts = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (file.metadata.metadata or {}).items()
    }
    if fmt.LOG_KEY in texts:
        raise UsageError(
            f"{name} is a log of decisions, no recording",
            f"`pghot report explain RECORDING WHAT --log {name}` reads it",
        )
    missing = [column for column in _NEEDED if column not in file.schema_arrow.names]
    if missing:
        raise UsageError(
            f"{name} is not a recording in Parquet: it has no column {missing[0]}",
            f"a recording needs {', '.join(_NEEDED)}",
        )
    doubled = [column for column, count in Counter(file.schema_arrow.names).items() if count > 1]
    if doubled:
        raise UsageError(f"{name} has more than one column {doubled[0]}", "keep one of them")
    if SEAL_KEY not in texts and fmt.INFO_KEY not in texts:
        info = _derived_info(name, file)
        return Table(name, file, info, {}, 0, [], np.empty((0, 3), np.uint64), None, {})
    try:
        info = header.info_from_facts(json_object(texts[fmt.INFO_KEY]))
        final = json_object(texts[fmt.FINAL_KEY])
        pages = final.pop("pages")
        if not header.is_count(pages, fmt.MAX_PAGES):
            raise ValueError(f"a dense space of {pages} pages")
        regions = header.regions_from_facts(json.loads(texts[REGIONS_KEY]))
        empty = _empty_from(json.loads(texts[EMPTY_KEY]))
        samples = from_text(texts[fmt.SAMPLES_KEY]) if fmt.SAMPLES_KEY in texts else None
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise PghotError(f"{name} has damaged metadata: {error}", "convert the recording again") from None
    if SEAL_KEY not in texts:
        info = header.judged(info, Verification.UNVERIFIED, _NO_SEAL)
    elif _spelled_out(file.schema_arrow).equals(_spelled_out(_with_places(table_schema(info)))):
        info = header.judged(info, Verification.VERIFIED)  # `Table.batches` checks it
    else:
        raise PghotError(
            f"{name} is sealed, and its columns are not those sealed", "convert the recording again"
        )
    return Table(name, file, info, final, pages, regions, empty, samples, texts)


def _in_full(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _empty_from(listed: Any) -> U64:
    """uint64[E, 3] of what `_empty_slices` gave. Raises `ValueError` for anything else."""
    if not isinstance(listed, list) or any(
        not isinstance(each, list) or len(each) != 3 or not all(map(header.is_count, each)) for each in listed
    ):
        raise ValueError("empty slices that are none")
    empty = np.array(listed, np.uint64).reshape(-1, 3)
    return empty[np.argsort(empty[:, 0], kind="stable")]


_NO_SEAL: Final = "it was made from Parquet without a seal, which cannot be checked"


def _derived_info(name: str, file: pq.ParquetFile) -> TraceInfo:
    """What can be known of a table that says nothing of itself: the length of its slices, and how many nodes."""
    nodes, slice_ns, before = 1, 1 << 53, None
    wanted = [column for column in ("start_ns", "node") if column in file.schema_arrow.names]
    for piece in file.iter_batches(ROWS_AT_A_TIME, columns=wanted):
        starts = _fitting(name, piece, "start_ns", pa.int64()).to_numpy()
        steps = np.diff(starts) if before is None else np.diff(starts, prepend=before)
        slice_ns = min(slice_ns, int(steps[steps > 0].min(initial=slice_ns)))
        before = starts[-1]
        if "node" in wanted:
            node = _fitting(name, piece, "node", pa.int16()).to_numpy()
            nodes = max(nodes, int(node.max(initial=0)) + 1)
    return TraceInfo(
        Path(name).stem,
        "import",
        slice_ns if slice_ns < 1 << 53 else _USUAL_SLICE_NS,
        nodes=nodes,
        patterns=tuple(name for name in PATTERNS if name in file.schema_arrow.names),
        verification=Verification.UNVERIFIED,
        doubt=_NO_SEAL,
    )


def _fitting(name: str, piece: pa.RecordBatch, column: str, kind: pa.DataType) -> pa.Array:
    """A column in another type, in which each of its values is the same. Raises `PghotError` where one is not."""
    given = piece.column(column)
    if given.null_count:
        raise PghotError(f"{name} has no value in some rows of {column}", "fill them")
    try:
        return given.cast(kind)
    except pa.ArrowException as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise PghotError(
            f"{name} has values of {column} that are no {kind}: {reason}", "write whole numbers that fit"
        ) from None


def _regroup(table: pa.Table, empty: U64, info: TraceInfo) -> SliceBatch:
    column = {name: table[name].to_numpy() for name in table.column_names}
    present, first, place = np.unique(column["slice"], return_index=True, return_inverse=True)
    if any((column[name] != column[name][first][place]).any() for name in ("start_ns", "instructions")):
        raise PghotError(
            "rows of one slice differ in start_ns or instructions", "give each slice one of both"
        )
    number = np.concatenate([present, empty[:, 0]])
    order = np.argsort(number, kind="stable")
    number = number[order]
    if (number[1:] == number[:-1]).any():
        raise PghotError("a slice is said to be empty and is there already", "list each empty slice once")
    ends = np.searchsorted(column["slice"], number, side="right")
    misses_by_cache = np.stack([column[name] for name in ("misses", *_larger_caches(info))])
    rows = {name: column[name] for name in ROW_DTYPES if name != "misses"}
    return SliceBatch(
        start_ns=np.concatenate([column["start_ns"][first], empty[:, 1]])[order],
        instructions=np.concatenate([column["instructions"][first], empty[:, 2]])[order],
        offsets=np.concatenate([[0], ends]).astype(np.int64),
        misses=misses_by_cache[0],
        misses_by_cache=misses_by_cache,
        **rows,
    )
