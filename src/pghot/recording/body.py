"""The buffers of one record batch; each is decompressed only once its size is known to be possible."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from pghot.recording import format as fmt
from pghot.recording.buffers import BUFFER_COUNT, NODES, Buffer, Buffers
from pghot.recording.framing import BatchHeader, ByteSource, DamageError, Message, batch_header

_ZSTD = 1

# Arrow may pad a buffer before it compresses it.
_PADDING_BYTES = 64

_MOST_ITEMS = {
    "start_ns": fmt.MAX_SLICES,
    "instructions": fmt.MAX_SLICES,
    "rows": fmt.MAX_ROWS,
    "carries": fmt.MAX_ROWS,
    "node": fmt.MAX_ROWS,
    "regions": fmt.MAX_REGIONS,
}


@cache
def _codec() -> pa.Codec:
    return pa.Codec("zstd")


def read_buffers(source: ByteSource, message: Message, which: Iterable[Buffer]) -> Buffers:
    """The named buffers of a record batch as read-only arrays.

    Raises `DamageError` when a size contradicts the headers or exceeds the format's limits, before anything is
    allocated.
    """
    header = batch_header(message)
    if len(header.nodes) != NODES or len(header.buffers) != BUFFER_COUNT:
        raise DamageError("a batch whose columns are not those of a recording")
    if header.codec != _ZSTD:
        raise DamageError("a batch that is not compressed with zstd")
    return {buffer.name: _read(source, message, header, buffer) for buffer in which}


def _read(source: ByteSource, message: Message, header: BatchHeader, buffer: Buffer) -> np.ndarray[Any, Any]:
    length, nulls = header.nodes[buffer.node]
    if nulls or not 0 <= length <= _MOST_ITEMS[buffer.name.split(".")[0]]:
        raise DamageError(f"{length} items of {buffer.name}, more than a recording may have")
    offset, stored_bytes = header.buffers[buffer.index]
    stored = source.read(message.body_offset + offset, stored_bytes)
    if len(stored) != stored_bytes:
        raise DamageError("a file that became shorter")
    data = _inflate(stored, buffer, length) if stored_bytes else memoryview(b"")
    if buffer.kind == "text":
        return np.frombuffer(data, np.uint8)
    items = length + 1 if buffer.kind == "offsets" else length
    if buffer.kind == "offsets" and not length and not len(data):
        return np.zeros(1, buffer.dtype)
    if len(data) < items * buffer.dtype.itemsize:
        raise DamageError(f"{buffer.name} is too short")
    return np.frombuffer(data, buffer.dtype, items)


def _inflate(stored: memoryview, buffer: Buffer, length: int) -> memoryview:
    """Decompress one buffer: its size in eight bytes, then zstd; after the size -1, the bytes themselves."""
    if len(stored) < 8:
        raise DamageError(f"{buffer.name} is too short")
    size: int = struct.unpack_from("<q", stored)[0]
    if size == -1:
        return stored[8:]
    most = fmt.MAX_NAME_BYTES if buffer.kind == "text" else (length + 1) * buffer.dtype.itemsize
    if not 0 <= size <= most + _PADDING_BYTES:
        raise DamageError(f"{buffer.name} claims {size} bytes where at most {most} belong")
    try:
        return memoryview(_codec().decompress(stored[8:], size))
    except (OSError, pa.ArrowException):
        raise DamageError(f"{buffer.name} does not decompress") from None
