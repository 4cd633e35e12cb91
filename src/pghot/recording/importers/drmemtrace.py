"""DynamoRIO's drmemtrace, a thread's offline trace: entries of 12 bytes, a header first and a footer last.

uint16 type | uint16 size | uint64 address, thread, process or value (DynamoRIO, drcachesim/common/trace_entry.h)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numba import njit

from pghot.arrays import U16, U64, Bool, Int
from pghot.recording.importers.importer import NS_PER_INSTRUCTION, Accesses, Clock, Found, accesses
from pghot.recording.importers.input import Input

ENTRY = np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
HEADER, FOOTER = 25, 26
# 10 to 16 are instructions; 31 is sysenter, 48 and 49 are conditional jumps. 29 repeats the one before.
_INSTRUCTIONS = (*range(10, 17), 31, 48, 49)
_LAST_TYPE = 60  # newer versions append a few
_VERSIONS = range(1, 64)


class Drmemtrace:
    """Loads and stores of a thread. Instructions make the time, their fetches do not count; nor do prefetches."""

    name: ClassVar[str] = "drmemtrace"
    summary: ClassVar[str] = "DynamoRIO drmemtrace (offline trace of a thread, uncompressed or .gz)"
    clock = Clock.INSTRUCTIONS
    slice_ns = 250_000
    every_access = True
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ("fetches of instructions and prefetches do not count as accesses",)

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        entries = np.frombuffer(start, ENTRY, len(start) // ENTRY.itemsize)
        if not len(entries) or entries["type"][0] != HEADER or entries["size"][0]:
            return False
        return int(entries["value"][0]) in _VERSIONS and bool((entries["type"] <= _LAST_TYPE).all())

    def accesses(self) -> Iterator[Accesses]:
        instructions, ended = 0, False
        for at, block in self._source.records(ENTRY.itemsize):
            if len(block) < ENTRY.itemsize:
                self.found.losses["bytes at the end that are no whole entry"] += len(block)
                break
            entries = np.frombuffer(block, ENTRY)
            kind, value = np.ascontiguousarray(entries["type"]), np.ascontiguousarray(entries["value"])
            address, write = np.empty(len(kind), np.uint64), np.empty(len(kind), np.bool_)
            before = np.empty(len(kind), np.uint64)
            used, instructions, wrong = sort_out(
                kind, entries["size"].copy(), value, IS_INSTRUCTION, instructions, address, write, before
            )
            if wrong >= 0:
                raise self._source.damaged(
                    at + int(wrong) * ENTRY.itemsize, f"an entry of type {int(kind[wrong])}"
                )
            ended = bool(kind[-1] == FOOTER)
            time_ns = (before[:used] * NS_PER_INSTRUCTION).astype(np.uint64)
            yield accesses(address[:used], time_ns, write[:used])
        if not ended:
            self.found.sentences.append("how much is missing at the end: the trace has no footer")


IS_INSTRUCTION = np.zeros(_LAST_TYPE + 1, np.bool_)
IS_INSTRUCTION[list(_INSTRUCTIONS)] = True


@njit(cache=True)
def sort_out(
    kind: U16, size: U16, value: U64, is_instruction: Bool, instructions: Int, address: U64, write: Bool,
    before: U64,
) -> tuple[Int, Int, Int]:  # fmt: skip
    """The loads and stores among entries: how many, the instructions by then, and the first entry of no known type, -1
    when there is none.

    kind, size, value       [N]  of each entry
    address, write, before  [N]  filled in; `before` is the number of instructions up to the access
    """
    used = 0
    for i in range(len(kind)):
        k = kind[i]
        if k <= 1:
            address[used], write[used], before[used] = value[i], k == 1, instructions
            used += 1
        elif k >= len(is_instruction):
            return used, instructions, i
        elif is_instruction[k]:
            instructions += 1
        elif k == 17:  # a bundle: `size` instructions
            instructions += size[i]
    return used, instructions, -1
