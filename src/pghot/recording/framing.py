"""Arrow IPC messages, read with distrust.

A stream is a row of messages: a continuation marker, the length of the metadata, the metadata (a
flatbuffer), the body. Arrow's own reader allocates whatever the file's headers ask for. This one
accepts a length only when that many bytes are there, and finds the buffers without decompressing any.
Layouts: Arrow columnar format, "Encapsulated message format", and its Message.fbs and Schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from pghot.recording.format import DIGEST_KEY, MAX_METADATA_BYTES

CONTINUATION = b"\xff\xff\xff\xff"

# A message's marker, length and metadata usually fit one read of this size.
_PROBE_BYTES = 16 << 10


class DamageError(ValueError):
    """The bytes are not those of a recording; the message says what is wrong with them."""


class ByteSource(Protocol):
    """Random access to the bytes of a file."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> memoryview:
        """At most `length` bytes; fewer at the end of the file."""


class Kind(IntEnum):
    """Message header types that a recording uses."""

    SCHEMA = 1
    RECORD_BATCH = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `raw` is all of it up to the body; `header` is the table inside its metadata.

    custom       its own metadata; of the schema's message, the schema's
    digest_at    where in `raw` the value of `DIGEST_KEY` begins; -1 when it has none
    offset       where the message begins in the file
    body_offset  where its body begins
    end          where the next message begins
    """

    kind: int
    raw: memoryview
    header: Table
    custom: dict[str, str]
    digest_at: int
    offset: int
    body_offset: int
    end: int


class Table:
    """A flatbuffer table: `field(slot)` is the position of a field's value, or None when it is absent."""

    __slots__ = ("_at", "_data", "_vtable", "_vtable_bytes")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - _unpack("<i", data, at)
        self._vtable_bytes = _unpack("<H", data, self._vtable)

    def field(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_bytes:
            return None
        offset = _unpack("<H", self._data, self._vtable + entry)
        return self._at + offset if offset else None

    def number(self, slot: int, code: str, default: int = 0) -> int:
        """A scalar field; `code` as in `struct`."""
        at = self.field(slot)
        return default if at is None else _unpack("<" + code, self._data, at)

    def table(self, slot: int) -> Table | None:
        at = self.field(slot)
        return None if at is None else Table(self._data, at + _unpack("<I", self._data, at))

    def text(self, slot: int) -> str:
        at, length = self._vector(slot, 1)
        return bytes(self._data[at : at + length]).decode(errors="replace")

    def place(self, slot: int) -> int:
        """Where a text begins in the data of the table."""
        return self._vector(slot, 1)[0]

    def pairs(self, slot: int) -> list[tuple[int, int]]:
        """A vector of structs of two int64: field nodes (length, nulls) or buffers (offset, length)."""
        at, length = self._vector(slot, 16)
        return list(struct.iter_unpack("<qq", self._data[at : at + 16 * length]))

    def tables(self, slot: int) -> list[Table]:
        at, length = self._vector(slot, 4)
        places = range(at, at + 4 * length, 4)
        return [Table(self._data, place + _unpack("<I", self._data, place)) for place in places]

    def _vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Position and length of a vector, whose items are known to be there."""
        at = self.field(slot)
        if at is None:
            return 0, 0
        at += _unpack("<I", self._data, at)
        length = _unpack("<I", self._data, at)
        if at + 4 + length * item_bytes > len(self._data):
            raise DamageError("a vector that reaches beyond its message")
        return at + 4, length


def _unpack(code: str, data: memoryview, at: int) -> int:
    if at < 0 or at + struct.calcsize(code) > len(data):
        raise DamageError("a field outside its message")
    value: int = struct.unpack_from(code, data, at)[0]
    return value


def messages(source: ByteSource) -> Iterator[Message]:
    """The messages of a stream, up to its end mark or the end of the file.

    Raises `DamageError` at the first message that is not whole; every message yielded before it is.
    """
    offset = 0
    while offset < source.size:
        message = _message(source, offset)
        if message is None:
            if offset + 8 < source.size:
                raise DamageError("something after the end of the recording")
            return
        yield message
        offset = message.end


class InMemory:
    """A `ByteSource` of bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = memoryview(data)

    def read(self, offset: int, length: int) -> memoryview:
        return self._data[offset : offset + length]


def _message(source: ByteSource, offset: int) -> Message | None:
    probe = source.read(offset, _PROBE_BYTES)
    if len(probe) < 8 or bytes(probe[:4]) != CONTINUATION:
        raise DamageError("no message where one should begin")
    length = _unpack("<i", probe, 4)
    if length == 0:
        return None
    if not 0 < length <= min(MAX_METADATA_BYTES, source.size - offset - 8) or length % 8:
        raise DamageError("a message that reaches beyond the end of the file")
    whole = probe[: 8 + length] if len(probe) >= 8 + length else source.read(offset, 8 + length)
    raw = memoryview(bytes(whole))  # a copy, so that a kept message does not keep the probe
    table = Table(raw[8:], _unpack("<I", raw, 8))
    body_bytes = table.number(3, "q")
    body_offset = offset + 8 + length
    if not 0 <= body_bytes <= source.size - body_offset:
        raise DamageError("a message that reaches beyond the end of the file")
    header = table.table(2)
    if header is None:
        raise DamageError("a message without a header")
    kind = table.number(1, "B")
    pairs = {pair.text(0): pair for pair in (header.tables(2) if kind == Kind.SCHEMA else table.tables(4))}
    custom = {key: pair.text(1) for key, pair in pairs.items()}
    digest_at = 8 + pairs[DIGEST_KEY].place(1) if DIGEST_KEY in pairs else -1
    return Message(kind, raw, header, custom, digest_at, offset, body_offset, body_offset + body_bytes)


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Where the buffers of a record batch lie in its body.

    length   rows of the batch as Arrow sees it: a recording's slices
    nodes    (length, nulls) of each array
    buffers  (offset, length) of each buffer, in the body
    codec    None, or 0 (LZ4) or 1 (zstd)
    """

    length: int
    nodes: list[tuple[int, int]]
    buffers: list[tuple[int, int]]
    codec: int | None


def batch_header(message: Message) -> BatchHeader:
    """The header of a record batch message. Raises `DamageError` where a buffer lies outside the body."""
    table = message.header
    compression = table.table(3)
    codec = None if compression is None else compression.number(0, "b")
    buffers = table.pairs(2)
    body_bytes = message.end - message.body_offset
    if any(offset < 0 or length < 0 or offset + length > body_bytes for offset, length in buffers):
        raise DamageError("a buffer outside its message")
    return BatchHeader(table.number(0, "q"), table.pairs(1), buffers, codec)
