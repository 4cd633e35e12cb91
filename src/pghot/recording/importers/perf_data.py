"""perf.data: samples with an address of PEBS, IBS, SPE and page faults, and DAMON's tracepoint."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.arrays import U64
from pghot.errors import UnsupportedError
from pghot.recording.importers import perf_samples as ps
from pghot.recording.importers.importer import Accesses, Clock, Found
from pghot.recording.importers.input import Input
from pghot.recording.importers.page_numbers import PageNumbers
from pghot.recording.importers.perf_accesses import (
    FAULTS_ONLY,
    NO_ACCESS,
    NO_ADDRESS,
    NO_SOURCES,
    OF_REGIONS,
    PerfAccesses,
)
from pghot.recording.importers.perf_attrs import Kind
from pghot.recording.importers.perf_file import (
    FIRST_VERSION,
    HEADER_ATTR,
    HEADER_TRACING_DATA,
    MAGIC,
    SWAPPED,
    PerfFile,
    has_time,
)
from pghot.recording.importers.regions_as_pages import page_accesses
from pghot.recording.importers.time_order import TimeOrder

_AUXTRACE, _COMPRESSED, _COMPRESSED2 = 71, 81, 83
_HANDLED = (HEADER_ATTR, HEADER_TRACING_DATA, _AUXTRACE, _COMPRESSED, _COMPRESSED2)
_WANTED = np.zeros(2, np.uint64)
for _type in _HANDLED:
    _WANTED[_type >> 6] |= np.uint64(1 << (_type & 63))
_KIND_MASK = np.uint64((1 << int(ps.KIND_BITS)) - 1)
_REGIONS = np.uint64(1 << 34)  # as a process: the first target of DAMON


class PerfData:
    """A sample stands for as many accesses as its period says; whether it missed the cache, `perf_mem_data_src` does.

    A process is an address space, the kernel's addresses are one, and so are physical ones where an event has no
    others.
    """

    name: ClassVar[str] = "perf"
    summary: ClassVar[str] = "perf.data (samples with addresses, damon:damon_aggregated)"
    clock = Clock.OWN
    slice_ns = 1_000_000
    every_access = False
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ()

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()
        self._file = PerfFile(source)
        if self._file.knows_regions:
            self.slice_ns = 100_000_000
        if not has_time(self._file.attrs):
            self.clock = Clock.DECLARED
        self._state = np.zeros(ps.STATE, np.int64)
        self._state[ps.PREVIOUS_EVENT] = -1
        self._spaces = PageNumbers(0)
        self._order = TimeOrder(ps.FOUND_ROWS)
        self._accesses = PerfAccesses(self.found)
        self._has_aux = 0

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return start.startswith((MAGIC, SWAPPED, FIRST_VERSION))

    def accesses(self) -> Iterator[Accesses]:
        for found in self._found():
            ready = self._order.add(found, int(self._state[ps.ROUND_LIMIT]))
            yield from self._given(ready)
        yield from self._given(self._order.rest())
        self._close()

    def _found(self) -> Iterator[U64]:
        """uint64[5, N]: what the records at hand have, as the compiled pass gives it."""
        cursor = self._file.cursor
        tables = (self._file.rows(), *self._file.ids())
        found = np.empty(
            (ps.FOUND_ROWS, 0), np.uint64
        )  # one room for all passes: new memory is slow to touch
        while True:
            words = cursor.words()
            if found.shape[1] <= len(words) // 2:
                found = np.empty((ps.FOUND_ROWS, len(words) // 2 + 1), np.uint64)
            done, used, why = ps.take_records(words, 0, _WANTED, *tables, self._state, found, 0)
            cursor.drop(8 * int(done))
            yield found[:, :used].copy()
            if why == ps.WRONG:
                raise self._source.damaged(cursor.at, "no record of perf")
            if why == ps.FOR_PYTHON and cursor.have(8) and cursor.have(_size(cursor.peek(8))):
                at = cursor.at
                if self._handle(cursor.take(_size(cursor.peek(8))), at):
                    tables = (self._file.rows(), *self._file.ids())
            elif not cursor.more():
                return

    def _handle(self, record: bytes, at: int) -> bool:
        """Take in a record that the compiled pass leaves; whether the events may be others after it."""
        kind = struct.unpack_from("<I", record)[0]
        if kind == HEADER_ATTR:
            self._file.add_attr(record, at)
        elif kind == HEADER_TRACING_DATA and len(record) >= 12:
            (size,) = struct.unpack_from("<I", record, 8)
            content = self._file.cursor.take(-(-size // 8) * 8) if size <= 64 << 20 else b""
            if len(content) < size:
                raise self._source.damaged(at, f"tracing data of {size:,} bytes")
            self._file.add_tracing(content[:size])
        elif kind == _AUXTRACE and len(record) >= 16:
            (size,) = struct.unpack_from("<Q", record, 8)
            if self._file.cursor.drop(size) < size:
                self.found.sentences.append(
                    "how much is missing: the file ends in the middle of its AUX area"
                )
            self._has_aux = 1
        elif kind in (_COMPRESSED, _COMPRESSED2):
            raise UnsupportedError(
                f"{self._source.name} has compressed records, at byte {at:,}", "record without `-z`"
            )
        else:
            raise self._source.damaged(at, f"a record of {len(record)} bytes that needs more")
        return kind in (HEADER_ATTR, HEADER_TRACING_DATA)

    def _given(self, found: U64) -> Iterator[Accesses]:
        """Samples in the order of time, as accesses."""
        if not found.shape[1]:
            return
        if self._state[ps.KINDS] >> Kind.REGIONS & 1:
            regions = found[ps.S_WHAT] & _KIND_MASK == Kind.REGIONS
            yield from self._regions(found[:, regions])
            found = found[:, ~regions]
        if found.shape[1]:
            yield self._samples_of(found)

    def _samples_of(self, found: U64) -> Accesses:
        what = found[ps.S_WHAT]
        told = what & _KIND_MASK == Kind.ACCESSES
        owners = self._spaces_of(what >> ps.KIND_BITS)
        return self._accesses.of_samples(
            found[ps.S_TIME], found[ps.S_ADDR], found[ps.S_MORE], told, found[ps.S_COUNT], owners
        )

    def _regions(self, found: U64) -> Iterator[Accesses]:
        accessed = self._accesses.accessed(found[ps.S_ADDR], found[ps.S_MORE], found[ps.S_COUNT])
        used = found[:, accessed]
        targets = self._spaces_of((used[ps.S_WHAT] >> ps.KIND_BITS) ^ (_REGIONS << np.uint64(8)))
        yield from page_accesses(used[ps.S_TIME], used[ps.S_ADDR], used[ps.S_MORE], used[ps.S_COUNT], targets)

    def _spaces_of(self, owner: U64) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
        numbers, _ = self._spaces.number(owner)
        return np.minimum(numbers, 0xFFFF).astype(np.uint16)

    def _close(self) -> None:
        """What is known at the end, in words."""
        state, found, cursor = self._state, self.found, self._file.cursor
        for what, row in _LOSSES.items():
            if state[row]:
                found.losses[what] += int(state[row])
        if cursor.held:
            found.losses["bytes at the end that are no whole record"] += cursor.held
        missing = (cursor.end or cursor.at) - cursor.at - cursor.held
        if missing > 0:
            found.sentences.append(f"what was in {missing:,} bytes at the end, which are missing")
        if self._file.unended:
            found.sentences.append(
                "how much is missing at the end: perf was stopped before it finished the file"
            )
        found.lost = max(int(state[ps.N_LOST]), int(state[ps.N_LOST_SAMPLES]))
        self._accesses.close(_about(int(state[ps.KINDS])))
        if self._has_aux:
            found.sentences.append(
                "what is in the AUX area is not decoded: `perf inject --itrace` makes samples of it"
            )


_LOSSES = {
    "samples that do not fit their event": ps.N_MALFORMED,
    "samples of events that the file does not name": ps.N_UNKNOWN,
    "samples of guests": ps.N_GUEST,
    NO_ADDRESS: ps.N_NO_ADDRESS,
    NO_ACCESS: ps.N_NO_ACCESS,
    "samples of an access that another event has too": ps.N_REPEATED,
}


def _about(kinds: int) -> Iterator[str]:
    """What the samples of these kinds, a bit for each, do not say."""
    if kinds >> Kind.FAULTS & 1:
        yield FAULTS_ONLY
    if kinds >> Kind.BARE & 1:
        yield NO_SOURCES
    if kinds >> Kind.REGIONS & 1:
        yield from OF_REGIONS


def _size(header: bytes) -> int:
    return int(struct.unpack_from("<H", header, 6)[0])
