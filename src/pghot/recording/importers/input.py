"""The bytes of a foreign file, unpacked, in blocks: never the whole file at once."""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from pghot.errors import NotPermittedError, PghotError, UsageError

BLOCK_BYTES = 1 << 20
START_BYTES = 4096
LONGEST_LINE_BYTES = 1 << 16

_ZLIB = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


class Input:
    """A local file; gzip, xz, zstd and zlib are unpacked on the way.

    offset  bytes given so far, unpacked
    """

    def __init__(self, path: str | Path, file: Any, packed: IO[bytes]) -> None:
        """file, packed  what gives its bytes, and the file itself, of which they are unpacked"""
        self.name = str(path)
        self._file, self._packed = file, packed
        self._start = b""
        self.offset = 0

    def progress(self) -> tuple[int, int]:
        """How far the file was read, and how far it goes, bytes. A pipe has no end that is known: both are the same."""
        done = self._packed.tell() if self._packed.seekable() else 0
        return done, max(done, os.fstat(self._packed.fileno()).st_size)

    def start(self) -> bytes:
        """The first `START_BYTES`; they are given again by `blocks`."""
        while len(self._start) < START_BYTES and (more := self._read(START_BYTES - len(self._start))):
            self._start += more
        return self._start

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """All of it, in blocks of that size; the last is shorter."""
        rest, self._start = self._start, b""
        while True:
            while len(rest) < block_bytes and (more := self._read(block_bytes - len(rest))):
                rest += more
            if not rest:
                return
            self.offset += len(rest)
            yield rest
            rest = b""

    def fill(self, room: memoryview) -> int:
        """Put what comes next into `room`; the number of bytes, fewer than there is room for only at the end."""
        count = min(len(self._start), len(room))
        room[:count], self._start = self._start[:count], self._start[count:]
        while count < len(room) and (more := self._read_into(room[count:])):
            count += more
        self.offset += count
        return count

    def records(self, record_bytes: int) -> Iterator[tuple[int, memoryview]]:
        """(offset, whole records); what is left at the end, with its offset, is no whole one. Each takes the room of
        the one before."""
        room = memoryview(bytearray(BLOCK_BYTES // record_bytes * record_bytes))
        while count := self.fill(room):
            whole = count // record_bytes * record_bytes
            at = self.offset - count
            if whole:
                yield at, room[:whole]
            if whole < count:
                yield at + whole, room[whole:count]

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(offset, whole lines), each block with a newline at its end. Raises `PghotError` for an endless line."""
        rest = b""
        for block in self.blocks():
            cut = block.rfind(b"\n") + 1
            at = self.offset - len(block) - len(rest)
            if cut:
                yield at, rest + block[:cut]
                rest = block[cut:]
            else:
                rest += block
            if len(rest) > LONGEST_LINE_BYTES:
                raise self.damaged(
                    self.offset - len(rest), f"a line of more than {LONGEST_LINE_BYTES:,} bytes"
                )
        if rest:
            yield self.offset - len(rest), rest + b"\n"

    def damaged(self, offset: int, what: str) -> PghotError:
        """The error for a place that makes no sense."""
        return PghotError(f"{self.name} is damaged at byte {offset:,}: {what}", "make the file again")

    def _read(self, most: int) -> bytes:
        with self._unpacking():
            data: bytes = self._file.read(most)
            return data

    def _read_into(self, room: memoryview) -> int:
        with self._unpacking():
            return int(self._file.readinto(room))

    @contextmanager
    def _unpacking(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError, pa.ArrowException) as error:
            reason = (str(error).splitlines() or ["?"])[0]
            raise PghotError(
                f"{self.name} cannot be unpacked after byte {self.offset:,}: {reason}", "make the file again"
            ) from None


class _Inflated:
    """A zlib stream, unpacked."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()

    def read(self, most: int) -> bytes:
        """At most so many bytes, at least one before the end. Raises `EOFError` when the end is missing."""
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(BLOCK_BYTES >> 2)
            if not packed:
                raise EOFError("its end is missing")
            if data := self._inflate.decompress(packed, most):
                return data
        return b""

    def readinto(self, room: memoryview) -> int:
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)


@contextmanager
def opened(path: str | Path) -> Iterator[Input]:
    """Open a file for an importer. Raises `UsageError` when there is none, `NotPermittedError` when it may not be
    read."""
    try:
        file: Any = open(path, "rb")  # noqa: SIM115
    except PermissionError:
        raise NotPermittedError(f"may not read {path}", "ask its owner for read permission") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}", "check the path") from None
    with file as packed:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(_GZIP):
            file = gzip.GzipFile(fileobj=file)
        elif magic.startswith(_XZ):
            file = lzma.LZMAFile(file)  # noqa: SIM115
        elif magic.startswith(_ZSTD):
            file = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        elif magic.startswith(_ZLIB):
            file = _Inflated(file)
        yield Input(path, file, packed)
