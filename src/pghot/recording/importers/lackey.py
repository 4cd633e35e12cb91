"""valgrind's lackey with --trace-mem=yes: "I  addr,size" for an instruction, " L", " S" and " M" for data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.arrays import U8, U64, Bool, Int
from pghot.jit import njit
from pghot.recording.importers.access_lines import (
    at_end,
    decimal_number,
    hex_number,
    line_end,
    mostly,
    parsed,
)
from pghot.recording.importers.importer import Accesses, Clock, Found
from pghot.recording.importers.input import Input

_LINE = re.compile(rb"(I | [LSM]) [0-9a-f]+,[0-9]+")
_OTHER = (b"==", b"--")  # what valgrind itself says


class Lackey:
    """Data accesses; a modify is a load and a store. Instructions make the time, their fetches do not count."""

    name: ClassVar[str] = "lackey"
    summary: ClassVar[str] = "valgrind --tool=lackey --trace-mem=yes"
    clock = Clock.INSTRUCTIONS
    slice_ns = 250_000
    every_access = True
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ("fetches of instructions do not count as accesses",)

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return mostly(start, _LINE, _OTHER)

    def accesses(self) -> Iterator[Accesses]:
        yield from parsed(self._source, parse_lackey, self.found)


@njit(cache=True)
def parse_lackey(text: U8, instructions: Int, address: U64, write: Bool, before: U64) -> tuple[Int, Int, Int]:
    """See `access_lines.Parser`. Lines of valgrind itself (==, --) are no accesses and not strange."""
    at, used, strange = 0, 0, 0
    while at < len(text):
        first = text[at]
        kind = text[at + 1] if first == 32 else first
        known = kind in (76, 83, 77) if first == 32 else kind == 73 and text[at + 1] == 32  # L, S, M; I
        value, place = np.uint64(0), -1
        if known and text[at + 2] == 32:
            value, place = hex_number(text, at + 3)
        if place >= 0 and text[place] == 44:
            _, place = decimal_number(text, place + 1)
        else:
            place = -1
        if place >= 0 and at_end(text, place):
            if kind == 73:
                instructions += 1
            else:
                for store in range(2):
                    if kind == 77 or (kind == 83) == (store == 1):
                        address[used], write[used], before[used] = value, store == 1, instructions
                        used += 1
        elif not (first in (61, 45) and text[at + 1] == first) and not at_end(text, at):
            strange += 1
        at = line_end(text, at) + 1
    return used, instructions, strange
