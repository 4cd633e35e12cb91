"""The recording format: schema, metadata, limits. docs/recording-format.md is its specification.

A recording is an Arrow IPC *stream*: a schema message, record batches of one row for each slice, and a last,
empty batch with the final facts, the seal. All metadata of pghot's own is JSON. Each message carries a digest of
itself that takes in the digest of the message before it (`chain`).
"""

from __future__ import annotations

from functools import cache
from typing import Final

import pyarrow as pa

FORMAT: Final = 2
RUN_FORMAT: Final = (
    3  # as `FORMAT`, and a row may be of several pages in succession: the column `pages` comes last
)
SUFFIX: Final = ".pghot"

INFO_KEY: Final = "pghot"
LOG_KEY: Final = "pghot.decisions"  # of a log of decisions, a Parquet file too but no recording
BATCH_KEY: Final = "pghot.batch"
FINAL_KEY: Final = "pghot.final"
# Samples of page contents, on any batch.
SAMPLES_KEY: Final = "pghot.samples"
# On every message, the schema's too.
DIGEST_KEY: Final = "pghot.digest"

# What a reader accepts in one batch, whatever its headers say: 2^24 rows decode to 0.7 GB with one cache. A slice
# cannot span batches, so this is also the most rows of a slice: 64 GiB of 4 KiB pages touched in one slice.
MAX_ROWS: Final = 1 << 24
MAX_SLICES: Final = 1 << 20
# 1 TiB of 4 KiB pages: readers keep arrays of this length.
MAX_PAGES: Final = 1 << 28
# Recorders number memory in sections of at most 32768 pages, and only where some page of it was touched. So a recording
# has at most so many pages for each page touched, and some to spare: a small file cannot ask for arrays of MAX_PAGES.
_SECTION_PAGES: Final = 1 << 15
_SPARE_PAGES: Final = 1 << 20
MAX_REGIONS: Final = 1 << 20
MAX_METADATA_BYTES: Final = 1 << 24
MAX_CACHES: Final = 8

# Order of the columns on disk. The misses of each cache follow.
KEY_COLUMNS: Final = ("page", "node", "process", "thread")
COUNTERS: Final = ("touches", "writes", "sequential", "strided", "dependent")


def most_pages(touched: int) -> int:
    """How large the dense index space of a recording may be that touched so many pages.

    >>> most_pages(23)
    1802240
    """
    return min(MAX_PAGES, _SPARE_PAGES + _SECTION_PAGES * touched)


def columns(caches: int, runs: bool = False) -> tuple[str, ...]:
    """The columns on disk of a recording with so many caches; of one in `RUN_FORMAT`, if `runs`.

    >>> columns(2)[-3:]
    ('dependent', 'misses0', 'misses1')
    """
    return (*KEY_COLUMNS, *COUNTERS, *(f"misses{cache}" for cache in range(caches)), *(["pages"] * runs))


@cache
def schema(caches: int, runs: bool = False) -> pa.Schema:
    """The Arrow schema of such a recording.

    Two byte planes for each column: zstd does 1.1x to 1.2x better on them than on 16-bit integers
    (docs/recording-format.md, "Why byte planes").
    """
    planes = {f"{column}_{half}": pa.uint8() for column in columns(caches, runs) for half in ("lo", "hi")}
    carry = {"row": pa.uint32(), "column": pa.uint8(), "upper": pa.uint16()}
    return pa.schema(
        [
            pa.field("start_ns", pa.uint64(), nullable=False),
            pa.field("instructions", pa.uint64(), nullable=False),
            pa.field("rows", _list_of(planes), nullable=False),
            pa.field("carries", _list_of(carry), nullable=False),
        ]
    )


def _list_of(children: dict[str, pa.DataType]) -> pa.DataType:
    struct = pa.struct([pa.field(name, kind, nullable=False) for name, kind in children.items()])
    return pa.list_(pa.field("item", struct, nullable=False))
