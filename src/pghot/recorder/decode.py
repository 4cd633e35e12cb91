"""Frames of the plugin, from bytes to arrays. The other half of plugin.c's `send_frame`.

A frame is u32 type, u32 payload bytes, payload; all little-endian, in the machine's own alignment.

    HELLO  u32 pid, parent, flags (1 main process, 2 forked, 4 same process again), then the program's path
    NAME   u32 id, 0, 0, then a mapping's name
    SLICE  u64 slice, lost, E extents, G regions, C vCPUs, R rows, M caches, instructions that only waited, sites lost;
           u64[E] address >> 21 · u64[G][4] first page, pages, name id, site id · u64[C] instructions ·
           u32[7 + M][R] page, vCPU, touches, sequential, strided, dependent, stores, misses of each cache
    NOTE   u32 kind, pid, 0, then a path
    END    nothing: the process ended regularly
    BASE   u64 what qemu adds to the program's addresses: where they are in the process
    THREAD u32 vCPU, tid, 0, then the name of the thread that runs as that vCPU from now on
    SITE   u32 id (from 1), F frames; of each, the innermost first: u64[F] return address · u64[F] where that is in its
           file · u32[F] name id of the file, 0 for none
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pghot.arrays import U32, U64
from pghot.errors import PghotError

# A frame of more was not sent by the plugin: it holds the rows of one slice, 44 bytes each at most.
_MAX_FRAME_BYTES = 1 << 31

# plugin_sites.h MAX_SITES, plugin_stacks.h CHAIN
_MAX_SITES = 1 << 13
_MAX_FRAMES = 16

# The plugin's columns in the order of a recording's counters, without the caches.
_COUNTERS = [2, 6, 3, 4, 5]


class NoteKind(IntEnum):
    """What a NOTE says about another process or program."""

    CHILD_NOT_FOLLOWED = 1
    EXEC_NOT_FOLLOWED = 2
    EXEC = 3


@dataclass(frozen=True, slots=True)
class Hello:
    pid: int
    parent: int
    main: bool
    forked: bool
    again: bool
    program: str


@dataclass(frozen=True, slots=True)
class Name:
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    kind: NoteKind
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class End:
    pass


@dataclass(frozen=True, slots=True)
class Base:
    guest_base: int


@dataclass(frozen=True, slots=True)
class Thread:
    """The thread that runs as vCPU `index` from now on."""

    index: int
    tid: int
    name: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where memory was mapped: return addresses, the innermost first.

    frames  address, the bytes from the start of its file, and that file's name id, 0 where it is in no file
    """

    id: int
    frames: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class SliceFrame:
    """One process's part of a slice. Pages are the process's own numbers: extent number * 512 + page in it.

    index         which slice of the virtual clock
    waited        instructions that only waited for another thread; they are not among the others
    sites_lost    how often there was no room for a site, or for the addresses that are of it
    extents       uint64[E]     address >> 21 of the extents touched for the first time
    regions       uint64[G, 4]  first page, pages, name id, site id or 0
    instructions  uint64[C]     of each vCPU
    page, cpu     uint32[R]     ascending by vCPU, then page
    counters      uint32[5 + M, R]  touches, writes, sequential, strided, dependent, misses of each cache
    """

    index: int
    lost: int
    waited: int
    sites_lost: int
    extents: U64
    regions: U64
    instructions: U64
    page: U32
    cpu: U32
    counters: U32


Frame = Hello | Name | Note | End | Base | Thread | Site | SliceFrame


class FrameReader:
    """Cuts one connection's bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """The frames completed by `data`. Raises `PghotError` for a stream that is not the plugin's."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= 8:
            kind, length = struct.unpack_from("<II", self._buffer, start)
            if length > _MAX_FRAME_BYTES or kind not in _DECODE:
                raise PghotError(
                    f"the plugin sent a frame of kind {kind}, {length} bytes", "report this as a bug"
                )
            end = start + 8 + length
            if len(self._buffer) < end:
                break
            yield _decoded(kind, bytes(self._buffer[start + 8 : end]))
            start = end
        del self._buffer[:start]


def _decoded(kind: int, payload: bytes) -> Frame:
    try:
        return _DECODE[kind](payload)
    except (ValueError, OverflowError, struct.error):
        raise PghotError(
            f"the plugin sent a frame of kind {kind}, {len(payload)} bytes, that is none",
            "report this as a bug",
        ) from None


def _text(payload: bytes) -> str:
    return payload[12:].decode("utf-8", "replace")


def _hello(payload: bytes) -> Hello:
    pid, parent, flags = struct.unpack_from("<III", payload)
    return Hello(pid, parent, bool(flags & 1), bool(flags & 2), bool(flags & 4), _text(payload))


def _name(payload: bytes) -> Name:
    return Name(struct.unpack_from("<I", payload)[0], _text(payload))


def _note(payload: bytes) -> Note:
    kind, pid = struct.unpack_from("<II", payload)
    return Note(NoteKind(kind), pid, _text(payload))


def _end(payload: bytes) -> End:
    return End()


def _base(payload: bytes) -> Base:
    return Base(struct.unpack_from("<Q", payload)[0])


def _thread(payload: bytes) -> Thread:
    index, tid = struct.unpack_from("<II", payload)
    return Thread(index, tid, _text(payload))


def _site(payload: bytes) -> Site:
    number, frames = struct.unpack_from("<II", payload)
    if not 0 < number <= _MAX_SITES or frames > _MAX_FRAMES or len(payload) != 8 + 20 * frames:
        raise ValueError("a site that is none")
    address, offset = np.frombuffer(payload, "<u8", 2 * frames, 8).reshape(2, frames).tolist()
    names = np.frombuffer(payload, "<u4", frames, 8 + 16 * frames).tolist()
    return Site(number, tuple(zip(address, offset, names, strict=True)))


def _slice(payload: bytes) -> SliceFrame:
    index, lost, extents, regions, cpus, rows, caches, waited, sites_lost = struct.unpack_from("<9Q", payload)
    words = np.frombuffer(payload, "<u8", extents + 4 * regions + cpus, 72)
    columns = np.frombuffer(payload, "<u4", (7 + caches) * rows, 72 + words.nbytes).reshape(7 + caches, rows)
    return SliceFrame(
        index,
        lost,
        waited,
        sites_lost,
        words[:extents],
        words[extents : extents + 4 * regions].reshape(regions, 4),
        words[extents + 4 * regions :],
        columns[0],
        columns[1],
        columns[_COUNTERS + list(range(7, 7 + caches))],
    )


_DECODE: dict[int, Callable[[bytes], Frame]] = {
    1: _hello,
    2: _name,
    3: _slice,
    4: _note,
    5: _end,
    6: _base,
    7: _thread,
    8: _site,
}
