"""DynamoRIO's drmemtrace, a thread's offline trace: entries of 12 bytes, a header first and a footer last.

uint16 type | uint16 size | uint64 address, thread, process or value (DynamoRIO, drcachesim/common/trace_entry.h)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.arrays import U32, U64, Bool, Int
from pghot.jit import kernel
from pghot.recording.importers.importer import NS_PER_INSTRUCTION, Accesses, Clock, Found, accesses
from pghot.recording.importers.input import Input

ENTRY = np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
_WORDS = ENTRY.itemsize // 4
_WRITE, _BUNDLE, HEADER, FOOTER = 1, 17, 25, 26  # 0 is a read
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
            words = np.frombuffer(block, np.uint32).reshape(-1, _WORDS)
            address, write = np.empty(len(words), np.uint64), np.empty(len(words), np.bool_)
            time_ns = np.empty(len(words), np.uint64)
            used, instructions, wrong = sort_out(
                words, IS_INSTRUCTION, NS_PER_INSTRUCTION, instructions, address, write, time_ns
            )
            if wrong >= 0:
                raise self._source.damaged(
                    at + int(wrong) * ENTRY.itemsize, f"an entry of type {int(words[wrong, 0]) & 0xFFFF}"
                )
            ended = bool(words[-1, 0] & 0xFFFF == FOOTER)
            yield accesses(address[:used], time_ns[:used], write[:used])
        if not ended:
            self.found.sentences.append("how much is missing at the end: the trace has no footer")


IS_INSTRUCTION = np.zeros(_LAST_TYPE + 1, np.bool_)
IS_INSTRUCTION[list(_INSTRUCTIONS)] = True


@kernel
def sort_out(
    words: U32, is_instruction: Bool, ns_per_instruction: float, instructions: Int, address: U64, write: Bool,
    time_ns: U64,
) -> tuple[Int, Int, Int]:  # fmt: skip
    """The loads and stores among entries: how many, the instructions by then, and the first entry of no known type, -1
    when there is none.

    words                    uint32[N, 3]  the entries
    address, write, time_ns  [N]           filled in; the time is that of the instructions up to the access
    """
    used = 0
    for i in range(len(words)):
        kind = words[i, 0] & np.uint32(0xFFFF)
        if kind >= len(is_instruction):
            return used, instructions, i
        if kind <= _WRITE:
            address[used] = np.uint64(words[i, 2]) << np.uint64(32) | np.uint64(words[i, 1])
            write[used], time_ns[used] = kind == _WRITE, np.uint64(instructions * ns_per_instruction)
            used += 1
        elif kind == _BUNDLE:  # of `size` instructions
            instructions += np.int64(words[i, 0] >> np.uint32(16))
        else:
            instructions += is_instruction[kind]
    return used, instructions, -1
