"""Lines of an operation and an address: "l 0x1fff8 4", "LD 0x7f00", "W 7f0040"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pghot.arrays import U8, U64, Bool, Int
from pghot.jit import njit
from pghot.recording.importers.access_lines import at_end, hex_number, line_end, mostly, parsed, skip_blanks
from pghot.recording.importers.importer import Accesses, Clock, Found
from pghot.recording.importers.input import Input

_LINE = re.compile(
    rb"\s*(l|s|r|w|ld|st|load|store|read|write)\s+(0x)?[0-9a-f]+(\s+[0-9]+)?\s*", re.IGNORECASE
)


class Addresses:
    """An operation that begins with l or r reads, one with s or w writes. The address is hexadecimal. What follows it
    does not count."""

    name: ClassVar[str] = "addresses"
    summary: ClassVar[str] = 'text of an operation and an address a line ("l 0xADDR", "LD ADDR", "ST ADDR")'
    clock = Clock.DECLARED
    slice_ns = 250_000
    every_access = True
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ()

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return mostly(start, _LINE, (b"#",))

    def accesses(self) -> Iterator[Accesses]:
        yield from parsed(self._source, parse_addresses, self.found)


@njit(cache=True)
def parse_addresses(
    text: U8, instructions: Int, address: U64, write: Bool, before: U64
) -> tuple[Int, Int, Int]:
    """See `access_lines.Parser`. Lines that begin with # are comments."""
    at, used, strange = 0, 0, 0
    while at < len(text):
        begin = skip_blanks(text, at)
        place = begin
        while 65 <= text[place] & 0xDF <= 90:
            place += 1
        operation = text[begin] & 0xDF
        after = skip_blanks(text, place)
        good = place > begin and after > place and operation in (76, 82, 83, 87)  # L, R, S, W
        if good:
            value, place = hex_number(text, after)
            good = place >= 0 and text[place] in (9, 10, 13, 32)
        if good:
            address[used], write[used], before[used] = value, operation in (83, 87), 0
            used += 1
        elif text[begin] != 35 and not at_end(text, at):
            strange += 1
        at = line_end(text, at) + 1
    return used, instructions, strange
