"""ChampSim's traces: a record of 64 bytes for each instruction (ChampSim, inc/trace_instruction.h).

uint64 ip | uint8 is_branch, branch_taken, 2 destination and 4 source registers | uint64 destination_memory[2] |
uint64 source_memory[4]; an address of 0 is none
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.recording.importers.importer import NS_PER_INSTRUCTION, Accesses, Clock, Found, accesses
from pghot.recording.importers.input import Input

RECORD = np.dtype(
    [("ip", "<u8"), ("flags", "u1", 2), ("registers", "u1", 6), ("stores", "<u8", 2), ("loads", "<u8", 4)]
)
_LAST_ADDRESS = 1 << 57  # user memory with five levels of page tables


class Champsim:
    """The loads of an instruction, then its stores. Instructions make the time."""

    name: ClassVar[str] = "champsim"
    summary: ClassVar[str] = "ChampSim (64 bytes an instruction)"
    clock = Clock.INSTRUCTIONS
    slice_ns = 250_000
    every_access = True
    objects = False
    guessed = 2
    not_known: tuple[str, ...] = ("fetches of instructions do not count as accesses",)

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        records = np.frombuffer(start, RECORD, len(start) // RECORD.itemsize)
        if not len(records):
            return False
        addresses = np.concatenate([records["ip"][:, None], records["stores"], records["loads"]], axis=1)
        plausible = (addresses < _LAST_ADDRESS).all() and (records["flags"] <= 1).all()
        return bool(plausible and records["ip"].all() and addresses[:, 1:].any())

    def accesses(self) -> Iterator[Accesses]:
        instructions = 0
        for at, block in self._source.records(RECORD.itemsize):
            if len(block) < RECORD.itemsize:
                self.found.losses["bytes at the end that are no whole record"] += len(block)
                return
            records = np.frombuffer(block, RECORD)
            wrong = np.flatnonzero((records["flags"] > 1).any(axis=1))
            if len(wrong):
                raise self._source.damaged(at + int(wrong[0]) * RECORD.itemsize, "no instruction")
            places = np.concatenate([records["loads"], records["stores"]], axis=1)
            number, place = np.nonzero(places)
            time_ns = ((instructions + number + 1) * NS_PER_INSTRUCTION).astype(np.uint64)
            yield accesses(places[number, place], time_ns, place >= 4)
            instructions += len(records)
