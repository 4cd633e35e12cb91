"""Page contents to samples: how many bytes LZ4 and zstd make of each, and what is special about it.

Mirrors what swap in memory looks for: zswap's same-filled pages (mm/zswap.c) and the merging of equal pages
(mm/ksm.c). The codecs are those of Arrow.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from pghot.arrays import U32
from pghot.recording.compressibility import (
    CODINGS,
    DUPLICATE,
    SAME_FILLED,
    ZERO,
    Bytes,
    Coding,
    Compressibility,
)
from pghot.units import PAGE_BYTES

ZSTD_LEVEL = 1


def measure(page: U32, time_ns: int, contents: Bytes) -> Compressibility:
    """Samples of pages that were read at one time.

    page      uint32[K]
    contents  uint8[K, 4096]
    """
    words = contents.view(np.uint64)
    same = (words == words[:, :1]).all(axis=1)
    zero = same & (words[:, 0] == 0)
    special = np.where(zero, ZERO, np.where(same, SAME_FILLED, 0)).astype(np.uint8)
    repeated = _repeated(contents) & ~same
    return Compressibility(
        page.astype(np.uint32),
        np.full(len(page), time_ns, np.uint64),
        special | np.where(repeated, DUPLICATE, 0).astype(np.uint8),
        np.array([[stored_bytes(row, coding) for row in contents] for coding in CODINGS], np.uint16).reshape(
            len(CODINGS), len(page)
        ),
    )


def _repeated(contents: Bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which pages occur more than once."""
    whole = np.ascontiguousarray(contents).view(f"V{PAGE_BYTES}").ravel()
    _, number, count = np.unique(whole, return_inverse=True, return_counts=True)
    return np.asarray(count[number] > 1)


def stored_bytes(contents: Bytes, coding: Coding) -> int:
    """Bytes of one page, uint8[4096], in blocks; a block that does not shrink is stored as it is."""
    data = contents.tobytes()
    size = coding.block_bytes
    codec = _codec(coding.algorithm)
    return sum(
        min(size, len(codec.compress(data[at : at + size], asbytes=True)))
        for at in range(0, PAGE_BYTES, size)
    )


@cache
def _codec(algorithm: str) -> pa.Codec:
    return pa.Codec("lz4_raw") if algorithm == "lz4" else pa.Codec(algorithm, ZSTD_LEVEL)
