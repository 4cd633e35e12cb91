"""The buffers of one record batch; each is decompressed only once its size is known to be possible."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from pghot.recording import format as fmt
from pghot.recording.buffers import Buffer, Buffers, layout
from pghot.recording.framing import BatchHeader, DamageError, Message, batch_header

_ZSTD = 1

# Arrow may pad a buffer before it compresses it.
_PADDING_BYTES = 64


@cache
def _codec() -> pa.Codec:
    return pa.Codec("zstd")


def read_buffers(body: memoryview, message: Message, caches: int, runs: bool) -> Buffers:
    """The buffers of a record batch as read-only arrays.

    Raises `DamageError` when a size contradicts the headers or its siblings, or exceeds the format's limits, before
    anything is allocated.
    """
    header = batch_header(message)
    expected = layout(caches, runs)
    if len(header.nodes) != expected.nodes or len(header.buffers) != expected.buffer_count:
        raise DamageError("a batch whose columns are not those of a recording")
    if header.codec != _ZSTD:
        raise DamageError("a batch that is not compressed with zstd")
    # Of the rows as a whole, too: Arrow has no row where one is left out, whatever its columns hold.
    if any(nulls for _, nulls in header.nodes):
        raise DamageError("a batch with values left out")
    return {buffer.name: _read(body, header, buffer) for buffer in expected.buffers}


def _read(body: memoryview, header: BatchHeader, buffer: Buffer) -> np.ndarray[Any, Any]:
    length, _ = header.nodes[buffer.node]
    most = fmt.MAX_SLICES if buffer.parent < 0 else fmt.MAX_ROWS
    if not 0 <= length <= most:
        raise DamageError(f"{length} items of {buffer.name}, more than a recording may have")
    if length != (header.length if buffer.parent < 0 else header.nodes[buffer.parent][0]):
        raise DamageError(f"{buffer.name} is not as long as the columns beside it")
    offset, stored_bytes = header.buffers[buffer.index]
    stored = body[offset : offset + stored_bytes]
    items = length + 1 if buffer.offsets else length
    data = _inflate(stored, buffer, items) if stored_bytes else memoryview(b"")
    if buffer.offsets and not length and not len(data):
        return np.zeros(1, buffer.dtype)
    if len(data) < items * buffer.dtype.itemsize:
        raise DamageError(f"{buffer.name} is too short")
    return np.frombuffer(data, buffer.dtype, items)


def _inflate(stored: memoryview, buffer: Buffer, items: int) -> memoryview:
    """Decompress one buffer: its size in eight bytes, then zstd; after the size -1, the bytes themselves."""
    if len(stored) < 8:
        raise DamageError(f"{buffer.name} is too short")
    size: int = struct.unpack_from("<q", stored)[0]
    if size == -1:
        return stored[8:]
    most = items * buffer.dtype.itemsize
    if not 0 <= size <= most + _PADDING_BYTES:
        raise DamageError(f"{buffer.name} claims {size} bytes where at most {most} belong")
    try:
        return memoryview(_codec().decompress(stored[8:], size))
    except (OSError, pa.ArrowException):
        raise DamageError(f"{buffer.name} does not decompress") from None
