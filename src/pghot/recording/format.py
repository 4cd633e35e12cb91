"""The recording format: schema, metadata, limits. docs/recording-format.md is its specification.

A recording is an Arrow IPC *stream*: a schema message, record batches of one row for each slice, and a last
empty batch with the final facts. All metadata of pghot's own is JSON, sealed with a CRC-32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

import pyarrow as pa

from pghot.recording.trace import TraceInfo

FORMAT: Final = 1
SUFFIX: Final = ".pghot"

INFO_KEY: Final = "pghot"
BATCH_KEY: Final = "pghot.batch"
FINAL_KEY: Final = "pghot.final"
# Samples of page contents, on any batch; a reader that does not know them skips them.
SAMPLES_KEY: Final = "pghot.samples"

# What a reader accepts in one batch, whatever its headers say: 2^24 rows decode to 370 MB. A slice cannot
# span batches, so this is also the most rows of a slice: 64 GiB of 4 KiB pages touched in one slice.
MAX_ROWS: Final = 1 << 24
MAX_SLICES: Final = 1 << 20
# 1 TiB of 4 KiB pages: readers keep arrays of this length.
MAX_PAGES: Final = 1 << 28
MAX_REGIONS: Final = 1 << 20
MAX_NAME_BYTES: Final = 1 << 26
MAX_METADATA_BYTES: Final = 1 << 24

COUNTERS: Final = ("touches", "misses", "sequential", "writes")
COLUMNS: Final = ("page", *COUNTERS)

# Two byte planes for each column: zstd does 1.1x to 1.2x better on them than on 16-bit integers
# (docs/recording-format.md, "Why byte planes").
PLANES: Final = tuple(f"{column}_{byte}" for column in COLUMNS for byte in (0, 1))

SCHEMA: Final = pa.schema(
    [
        pa.field("start_ns", pa.uint64(), nullable=False),
        pa.field("instructions", pa.uint64(), nullable=False),
        pa.field(
            "rows",
            pa.list_(
                pa.field(
                    "item",
                    pa.struct([pa.field(plane, pa.uint8(), nullable=False) for plane in PLANES]),
                    nullable=False,
                )
            ),
            nullable=False,
        ),
        pa.field(
            "carries",
            pa.list_(
                pa.field(
                    "item",
                    pa.struct(
                        [
                            pa.field("row", pa.uint32(), nullable=False),
                            pa.field("column", pa.uint8(), nullable=False),
                            pa.field("upper", pa.uint16(), nullable=False),
                        ]
                    ),
                    nullable=False,
                )
            ),
            nullable=False,
        ),
        pa.field("node", pa.list_(pa.field("item", pa.int16(), nullable=False)), nullable=False),
        pa.field(
            "regions",
            pa.list_(
                pa.field(
                    "item",
                    pa.struct(
                        [
                            pa.field("first_page", pa.uint32(), nullable=False),
                            pa.field("pages", pa.uint32(), nullable=False),
                            pa.field("space", pa.uint32(), nullable=False),
                            pa.field("start_address", pa.uint64(), nullable=False),
                            pa.field("name", pa.utf8(), nullable=False),
                        ]
                    ),
                    nullable=False,
                )
            ),
            nullable=False,
        ),
    ]
)


def info_to_facts(info: TraceInfo) -> dict[str, Any]:
    """What the schema metadata says: the format's version and all of `TraceInfo`."""
    return {"format": FORMAT, **asdict(info)}


def info_from_facts(facts: Mapping[str, Any]) -> TraceInfo:
    """`TraceInfo` from `info_to_facts`. Unknown keys are ignored, missing ones keep their defaults.

    Raises `ValueError` when a value has the wrong type.
    """
    known = {f.name: facts[f.name] for f in fields(TraceInfo) if f.name in facts}
    try:
        for name in {"command", "notes"} & set(known):
            known[name] = tuple(known[name])
        info = TraceInfo(**known)
    except TypeError as error:
        raise ValueError(str(error)) from None
    _check_info(info)
    return info


def with_final_facts(info: TraceInfo, final: Mapping[str, Any]) -> TraceInfo:
    """`info` after the recording: a final fact with a field's name (threads, lost) replaces it."""
    names = {f.name for f in fields(TraceInfo)} & set(final)
    if not names:
        return info
    return info_from_facts({**asdict(info), **{name: final[name] for name in names}})


def _check_info(info: TraceInfo) -> None:
    """Raise `ValueError` for the values that readers divide by or allocate from."""
    whole = (info.slice_ns, info.threads, info.page_bytes, info.nodes, info.sampling_period)
    if any(not isinstance(value, int) or isinstance(value, bool) or value < 1 for value in whole):
        raise ValueError("slice_ns, threads, page_bytes, nodes and sampling_period must be at least 1")
    counts = (info.llc_bytes, info.llc_ways, info.lost)
    if any(not isinstance(value, int) or value < 0 for value in counts):
        raise ValueError("llc_bytes, llc_ways and lost must be whole and not negative")
    rates = (info.ns_per_instruction, info.mlp)
    if any(not isinstance(value, (int, float)) or not 0 <= value < 1e9 for value in rates):
        raise ValueError("ns_per_instruction and mlp must be finite and not negative")
    words = (info.name, info.source, info.kernel, *info.command, *info.notes)
    if any(not isinstance(word, str) for word in words):
        raise ValueError("name, source, kernel, command and notes must be text")
    if info.nodes > 1 << 15 or info.page_bytes & (info.page_bytes - 1):
        raise ValueError("at most 32768 nodes, and page_bytes a power of two")
