"""Samples of page contents as text for a message's metadata, and back; the reader trusts nothing.

{"codings": [["lz4", 4096], ...], "rounds": [[time_ns, samples], ...], "columns": base64 of zstd of
 page uint32[K] · flags uint8[K] · bytes under each coding uint16[K], little-endian}, sealed
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pghot.recording.compressibility import DUPLICATE, SAME_FILLED, ZERO, Coding, Compressibility
from pghot.recording.format import MAX_PAGES
from pghot.sealed import seal, unseal
from pghot.units import PAGE_BYTES

# Samples of one message: 10 MB of text at most. `sampler` keeps a year of recording below it.
MAX_SAMPLES: Final = 1 << 19
_MAX_CODINGS = 16
_ALL_FLAGS = ZERO | SAME_FILLED | DUPLICATE


def to_text(samples: Compressibility) -> str:
    """The sealed line of these samples."""
    data = b"".join(
        [
            samples.page.astype("<u4").tobytes(),
            samples.flags.tobytes(),
            samples.stored.astype("<u2").tobytes(),
        ]
    )
    return seal(
        {
            "codings": [[coding.algorithm, coding.block_bytes] for coding in samples.codings],
            "rounds": _rounds(samples),
            "columns": base64.b64encode(pa.Codec("zstd").compress(data, asbytes=True)).decode(),
        }
    )


def from_text(text: str) -> Compressibility:
    """The samples of `to_text`. Raises `ValueError` for anything else."""
    facts = unseal(text)
    codings = _codings(facts.get("codings"))
    times, counts = _times_and_counts(facts.get("rounds"))
    number = sum(counts)
    if number > MAX_SAMPLES:
        raise ValueError(f"{number} samples in one message, more than a recording may have")
    data = _inflated(facts.get("columns"), number * (5 + 2 * len(codings)))
    page = np.frombuffer(data, "<u4", number).astype(np.uint32)
    flags = np.frombuffer(data, np.uint8, number, 4 * number)
    stored = np.frombuffer(data, "<u2", -1, 5 * number).astype(np.uint16).reshape(len(codings), number)
    if (page >= MAX_PAGES).any() or (flags > _ALL_FLAGS).any() or (stored > PAGE_BYTES).any():
        raise ValueError("samples of pages that cannot be")
    return Compressibility(page, np.repeat(np.array(times, np.uint64), counts), flags, stored, codings)


def _rounds(samples: Compressibility) -> list[tuple[int, int]]:
    """(time_ns, samples) of each run of samples of the same time."""
    starts = np.flatnonzero(np.diff(samples.time_ns, prepend=samples.time_ns[:1] + np.uint64(1)))
    ends = [*starts.tolist(), len(samples)]
    return [(int(samples.time_ns[begin]), end - begin) for begin, end in pairwise(ends)]


def _codings(listed: Any) -> tuple[Coding, ...]:
    try:
        codings = tuple(Coding(algorithm, block) for algorithm, block in listed)
    except (TypeError, ValueError):
        raise ValueError("samples without their codings") from None
    known = all(isinstance(coding.algorithm, str) and _is_count(coding.block_bytes) for coding in codings)
    if not known or not 0 < len(codings) <= _MAX_CODINGS:
        raise ValueError("samples without their codings")
    return codings


def _times_and_counts(listed: Any) -> tuple[Sequence[int], Sequence[int]]:
    try:
        rounds = [(time_ns, count) for time_ns, count in listed]
    except (TypeError, ValueError):
        raise ValueError("samples without their times") from None
    if not all(_is_count(time_ns) and _is_count(count) for time_ns, count in rounds):
        raise ValueError("samples without their times")
    return [time_ns for time_ns, _ in rounds], [count for _, count in rounds]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _inflated(text: Any, size: int) -> bytes:
    """Exactly `size` bytes from base64 and zstd."""
    try:
        packed = base64.b64decode(text, validate=True)
        return bytes(pa.Codec("zstd").decompress(packed, size, asbytes=True))
    except (TypeError, binascii.Error, OSError, pa.ArrowException):
        raise ValueError("samples that do not decompress") from None
