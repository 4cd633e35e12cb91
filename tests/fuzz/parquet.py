"""Recordings as Parquet tables: bytes, metadata, columns and rows changed; sealed, without a seal, or sealed anew.

What pghot makes of a table is compared with what Arrow reads in it; verified may only be what was sealed.
"""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.damage import damaged_bytes, damaged_json, odd_number, odd_value
from fuzz.harness import Silent
from fuzz.recording import originals, use
from pghot.recording import format as fmt
from pghot.recording.batches import concatenate
from pghot.recording.convert import convert
from pghot.recording.digest import digest
from pghot.recording.header import info_from_facts, regions_from_facts
from pghot.recording.parquet import EMPTY_KEY, REGIONS_KEY, SEAL_KEY
from pghot.recording.places import PLACE_SCHEMA, Places
from pghot.recording.reader import open_recording
from pghot.recording.trace import SliceBatch, Verification

NAME = "parquet"
QUICK = 100

_JSON_KEYS = (fmt.INFO_KEY, fmt.FINAL_KEY, REGIONS_KEY, EMPTY_KEY)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table as pghot writes it: its rows, its metadata, its file."""

    table: pa.Table
    metadata: dict[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """A damaged table. `forged`: its seal fits what it is now."""

    path: Path
    original: Sealed
    forged: bool


@cache
def tables() -> list[Sealed]:
    """The recordings of the kind `recording`, converted."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for at, original in enumerate(originals()):
            source, path = folder / f"{at}.pghot", folder / f"{at}.parquet"
            source.write_bytes(original.content)
            convert(source, path)
            metadata = pq.read_metadata(path).metadata
            texts = {key.decode(): text.decode() for key, text in metadata.items() if key != b"ARROW:schema"}
            table = pq.read_table(path).replace_schema_metadata(None)
            found.append(Sealed(table, texts, path.read_bytes()))
    return found


tables()


# ---- making


def make(rng: random.Random, folder: Path) -> Made:
    """A table with one or two kinds of damage; one in fifty has none."""
    original = rng.choice(tables())
    path = folder / "a.parquet"
    if rng.randrange(50) == 0:
        path.write_bytes(original.content)
        return Made(path, original, False)
    if rng.randrange(4) == 0:
        path.write_bytes(damaged_bytes(rng, original.content))
        return Made(path, original, False)
    table, metadata = original.table, dict(original.metadata)
    for way in rng.sample(
        (_other_metadata, _other_rows, _other_values, _other_columns), rng.choice((1, 1, 2))
    ):
        table, metadata = way(rng, table, metadata)
    if rng.randrange(2):
        table = _with_words_that_follow(table, metadata)
    forged = _other_seal(rng, table, metadata)
    _write(rng, table, metadata, path)
    return Made(path, original, forged)


def _other_metadata(
    rng: random.Random, table: pa.Table, metadata: dict[str, str]
) -> tuple[pa.Table, dict[str, str]]:
    key = rng.choice(_JSON_KEYS)
    match rng.randrange(6):
        case 0:
            metadata.pop(key)
        case 1:
            metadata[key] = rng.choice(("", "[", "null", "0", "[" * 5000, json.dumps(odd_value(rng))))
        case 2:
            empty = json.loads(metadata[EMPTY_KEY])
            last = len(table)
            empty.append([rng.choice((0, last, last + 1, odd_number(rng))) for _ in range(3)])
            metadata[EMPTY_KEY] = json.dumps(empty)
        case _:
            metadata[key] = json.dumps(damaged_json(rng, json.loads(metadata[key])))
    return table, metadata


def _other_rows(
    rng: random.Random, table: pa.Table, metadata: dict[str, str]
) -> tuple[pa.Table, dict[str, str]]:
    rows = list(range(len(table)))
    if rows:
        at = rng.randrange(len(rows))
        match rng.randrange(5):
            case 0:
                del rows[at : at + rng.choice((1, 3, 1 << 20))]
            case 1:
                rows.insert(at, rng.choice(rows))
            case 2:
                rng.shuffle(rows)
            case 3:
                rows += rows
            case _:
                rows[at : at + 2] = reversed(rows[at : at + 2])
    return table.take(pa.array(rows, pa.int64())), metadata


def _other_values(
    rng: random.Random, table: pa.Table, metadata: dict[str, str]
) -> tuple[pa.Table, dict[str, str]]:
    """One value of a column, in a type that holds it."""
    if not len(table):
        return table, metadata
    place = rng.randrange(table.num_columns)
    values = table.column(place).to_pylist()
    at = rng.randrange(len(values))
    nudged = (values[at] + 1, max(0, values[at] - 1)) if isinstance(values[at], int) else ()
    values[at] = rng.choice((*nudged, odd_number(rng), None))
    for kind in (table.field(place).type, pa.int64(), pa.float64(), pa.string()):
        try:
            texts = [str(value) for value in values] if kind == pa.string() else values
            column = pa.array(texts, kind)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
        return table.set_column(place, table.field(place).name, column), metadata
    return table, metadata


_TYPES = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("ns"), pa.decimal128(30, 3)),
    *(pa.dictionary(pa.int32(), pa.uint32()), pa.list_(pa.uint32()), pa.struct({"a": pa.int64()}), pa.null()),
)


def _other_columns(
    rng: random.Random, table: pa.Table, metadata: dict[str, str]
) -> tuple[pa.Table, dict[str, str]]:
    """A column missing, doubled, of another name, type or place."""
    names = table.column_names
    place = rng.randrange(len(names))
    match rng.randrange(6):
        case 0:
            return table.remove_column(place), metadata
        case 1:
            return table.append_column(names[place], table.column(rng.randrange(len(names)))), metadata
        case 2:
            names[place] = rng.choice(("", "slice", "x", "misses_in_5", "a\nb\x1b[2J"))
            return table.rename_columns(names), metadata
        case 3:
            rng.shuffle(names)
            return table.select(names), metadata
    kind = rng.choice(_TYPES)
    values = table.column(place).to_pylist()
    if pa.types.is_list(kind):
        values = [[value] for value in values]
    elif pa.types.is_struct(kind):
        values = [{"a": value} for value in values]
    try:
        column = pa.array(map(str, values)) if kind == pa.string() else pa.array(values, kind)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        column = pa.array([None] * len(values), kind)
    return table.set_column(place, names[place], column), metadata


def _with_words_that_follow(table: pa.Table, metadata: dict[str, str]) -> pa.Table:
    """The words as a forger would make them, where the numbers and metadata are still good enough."""
    try:
        info = info_from_facts(json.loads(metadata[fmt.INFO_KEY]))
        places = Places(info, regions_from_facts(json.loads(metadata[REGIONS_KEY])))
        numbers = (table[name].to_numpy() for name in ("page", "process", "thread"))
        for name, column in zip(PLACE_SCHEMA.names, places.table(*numbers).columns, strict=True):
            table = table.set_column(table.schema.get_field_index(name), name, column)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        IndexError,
        pa.ArrowException,
    ):
        pass
    return table


def _other_seal(rng: random.Random, table: pa.Table, metadata: dict[str, str]) -> bool:
    """The seal kept, left out, garbled or computed anew; whether it fits. Sometimes all metadata goes."""
    match rng.randrange(6):
        case 0:
            metadata.pop(SEAL_KEY)
        case 1:
            metadata.clear()
        case 2:
            metadata[SEAL_KEY] = json.dumps(damaged_json(rng, json.loads(metadata[SEAL_KEY])))
        case 3:
            return False
        case _:
            metadata[SEAL_KEY] = json.dumps(
                {**json.loads(metadata[SEAL_KEY]), "rows": len(table), "digest": _digest(table, metadata)}
            )
            return True
    return False


def _digest(table: pa.Table, metadata: dict[str, str]) -> str:
    """The digest that docs/recording-format.md describes, of the columns of numbers."""
    keys = (fmt.INFO_KEY, fmt.FINAL_KEY, REGIONS_KEY, EMPTY_KEY, fmt.SAMPLES_KEY)
    parts = [digest(metadata.get(key, "").encode()) for key in keys]
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if name in PLACE_SCHEMA.names:
            continue
        if not pa.types.is_integer(column.type) or column.null_count:
            return "0" * 32
        parts.append(digest(np.ascontiguousarray(column.to_numpy()).tobytes()))
    return digest(*parts).hex()


def _write(rng: random.Random, table: pa.Table, metadata: dict[str, str], path: Path) -> None:
    """In one of the many ways in which other programs write Parquet."""
    strict = rng.randrange(2)
    if strict:
        fields = [
            pa.field(each.name, each.type, nullable=column.null_count > 0 or pa.types.is_null(each.type))
            for each, column in zip(table.schema, table.columns, strict=True)
        ]
        table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
    encoded = {key: text.encode(errors="surrogatepass") for key, text in metadata.items()}
    pq.write_table(
        table.replace_schema_metadata(encoded),
        path,
        row_group_size=rng.choice((1, 7, 1 << 20)),
        compression=rng.choice(("none", "snappy", "zstd", "gzip")),
        use_dictionary=rng.random() < 0.5,
        write_statistics=rng.random() < 0.5,
        data_page_version=rng.choice(("1.0", "2.0")),
        store_schema=rng.random() < 0.5,
    )


# ---- checking


def check(made: Made) -> str:
    """Convert it, and compare the recording with the table."""
    target = made.path.with_suffix(".pghot")
    conversion = convert(made.path, target)
    recording = open_recording(target, verify=True)
    found = concatenate(list(recording.batches(by_thread=True)), len(recording.info.cache_bytes))
    if (conversion.slices, conversion.rows) != (found.slices, found.rows):
        raise Silent("the conversion says other numbers of slices and rows than it wrote")
    if recording.info.verification is not conversion.verification:
        raise Silent("the recording is believed more or less than the conversion said")
    try:
        _compare(found, made.path, recording.info.cache_bytes)
    except (OSError, pa.ArrowException):  # this reader of Arrow's looks at more than the one that pghot uses
        _compare_with_original(found, made)
    is_verified = recording.info.verification is Verification.VERIFIED
    if is_verified and not made.forged:
        _compare_with_original(found, made)
    use(recording, found)
    return "accepted" if is_verified else "unverified"


def _compare(found: SliceBatch, path: Path, caches: tuple[int, ...]) -> None:
    """The same slices and rows as in the table, the empty slices from its metadata."""
    table = pq.read_table(path)
    names = ["page", "node", "process", "thread", "touches", "writes", "sequential", "strided", "dependent"]
    names += ["misses", *(f"misses_in_{size}" for size in caches[1:])]
    columns = {name: _integers(table, name) for name in ("slice", "start_ns", "instructions", *names)}
    stored = pq.read_metadata(path).metadata or {}
    metadata = {key.decode(errors="replace"): text for key, text in stored.items()}
    expected: dict[int, tuple[tuple[int, int], list[list[int]]]] = {}
    for number, start_ns, instructions, *row in zip(*columns.values(), strict=True):
        expected.setdefault(number, ((start_ns, instructions), []))[1].append(row)
    if fmt.INFO_KEY in metadata:
        for number, start_ns, instructions in json.loads(metadata[EMPTY_KEY]):
            if number in expected:
                raise Silent(f"slice {number} is empty and has rows, or is empty twice")
            expected[number] = ((start_ns, instructions), [])
    single = [getattr(found, name).tolist() for name in names[:9]] + found.misses_by_cache.tolist()
    rows = [list(row) for row in zip(*single, strict=True)]
    offsets = found.offsets.tolist()
    slices = [
        ((start_ns, instructions), rows[begin:end])
        for start_ns, instructions, begin, end in zip(
            found.start_ns.tolist(), found.instructions.tolist(), offsets[:-1], offsets[1:], strict=True
        )
    ]
    if slices != [expected[number] for number in sorted(expected)]:
        raise Silent("other slices than the table has")


def _integers(table: pa.Table, name: str) -> list[int]:
    if table.column_names.count(name) > 1:
        raise Silent(f"two columns {name}")
    if name not in table.column_names:
        return [0] * len(table)
    values: list[Any] = table[name].to_pylist()
    numbers = [int(value) for value in values]
    if any(
        not isinstance(value, str) and number != value for number, value in zip(numbers, values, strict=True)
    ):
        raise Silent(f"{name} has values that are no whole numbers")
    return numbers


def _compare_with_original(found: SliceBatch, made: Made) -> None:
    whole = made.original.table
    for name in ("touches", "page", "misses"):
        if getattr(found, name).tolist() != whole[name].to_pylist():
            raise Silent(f"verified, and {name} is not what was sealed")
