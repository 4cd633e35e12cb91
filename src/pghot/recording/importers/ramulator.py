"""Ramulator's traces of loads and stores: "bubble_count load_addr [store_addr]", decimal or hexadecimal after 0x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pghot.arrays import U8, U64, Bool, Int
from pghot.jit import njit
from pghot.recording.importers.access_lines import (
    any_number,
    at_end,
    line_end,
    mostly,
    parsed,
    skip_blanks,
)
from pghot.recording.importers.importer import Accesses, Clock, Found
from pghot.recording.importers.input import Input

_NUMBER = rb"(0x[0-9a-fA-F]+|[0-9]+)"
_LINE = re.compile(rb"[0-9]+ " + _NUMBER + rb"( " + _NUMBER + rb")?")
_MOST_BUBBLES = 1 << 40


class Ramulator:
    """`bubble_count` instructions that do not access memory, then a load, then perhaps the store of a line that the
    load drives out of the cache. These traces were filtered by a cache: all accesses are misses."""

    name: ClassVar[str] = "ramulator"
    summary: ClassVar[str] = 'Ramulator ("bubble_count load_addr [store_addr]" a line)'
    clock = Clock.INSTRUCTIONS
    slice_ns = 250_000
    every_access = False
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = (
        "a cache that is not known has filtered the accesses: writes are those of lines that it drove out",
    )

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return mostly(start, _LINE)

    def accesses(self) -> Iterator[Accesses]:
        yield from parsed(self._source, parse_ramulator, self.found)


@njit(cache=True)
def parse_ramulator(
    text: U8, instructions: Int, address: U64, write: Bool, before: U64
) -> tuple[Int, Int, Int]:
    """See `access_lines.Parser`. The load is an instruction of its own; the store is none."""
    at, used, strange = 0, 0, 0
    while at < len(text):
        bubbles, place = any_number(text, skip_blanks(text, at))
        load_place, store_place = -1, -1
        load = store = bubbles
        if place >= 0 and bubbles <= _MOST_BUBBLES:
            load, load_place = any_number(text, skip_blanks(text, place))
        if load_place >= 0 and not at_end(text, load_place):
            store, store_place = any_number(text, skip_blanks(text, load_place))
        if load_place >= 0 and (at_end(text, load_place) or (store_place >= 0 and at_end(text, store_place))):
            instructions += int(bubbles) + 1
            address[used], write[used], before[used] = load, False, instructions
            used += 1
            if store_place >= 0:
                address[used], write[used], before[used] = store, True, instructions
                used += 1
        elif not at_end(text, at):
            strange += 1
        at = line_end(text, at) + 1
    return used, instructions, strange
