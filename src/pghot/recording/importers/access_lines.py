"""What the formats of lines share: blocks of text go through a compiled parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from pghot.arrays import U8, U64, Bool, Int
from pghot.jit import njit
from pghot.recording.importers.importer import NS_PER_INSTRUCTION, Accesses, Found, accesses
from pghot.recording.importers.input import Input

NEWLINE, CARRIAGE_RETURN, SPACE, TAB = 10, 13, 32, 9
_SHORTEST_ACCESS_BYTES = 2  # of text: no format needs fewer for one

# (text, instructions so far, address, write, instructions before each access) -> accesses, instructions, lines that
# are no access
Parser = Callable[[U8, int, U64, Bool, U64], tuple[int, int, int]]


def parsed(source: Input, parse: Parser, found: Found) -> Iterator[Accesses]:
    """The accesses in the lines of a file, each at the time of the instructions before it."""
    instructions = 0
    for _, text in source.lines():
        bytes_ = np.frombuffer(text, np.uint8)
        most = len(bytes_) // _SHORTEST_ACCESS_BYTES + 1
        address, write = np.empty(most, np.uint64), np.empty(most, np.bool_)
        before = np.empty(most, np.uint64)
        used, instructions, strange = parse(bytes_, instructions, address, write, before)
        if strange:
            found.losses["lines that are no access"] += strange
        yield accesses(address[:used], (before[:used] * NS_PER_INSTRUCTION).astype(np.uint64), write[:used])


def mostly(start: bytes, line: re.Pattern[bytes], beside: tuple[bytes, ...] = ()) -> bool:
    """Whether most of the lines match; blank lines and those that begin with one of `beside` do not count. The last
    line may be cut."""
    lines = [each.rstrip() for each in start.split(b"\n")]
    lines = [each for each in (lines[:-1] or lines) if each.strip() and not each.startswith(beside)]
    return bool(lines) and 2 * sum(line.fullmatch(each) is not None for each in lines) > len(lines)


@njit(cache=True)
def skip_blanks(text: U8, at: Int) -> Int:
    """The first place that is no blank; text ends with a newline."""
    while text[at] in (SPACE, TAB):
        at += 1
    return at


@njit(cache=True)
def line_end(text: U8, at: Int) -> Int:
    """Where the newline is."""
    while text[at] != NEWLINE:
        at += 1
    return at


@njit(cache=True)
def at_end(text: U8, at: Int) -> bool:
    """Whether only blanks follow in the line."""
    at = skip_blanks(text, at)
    return bool(text[at] in (NEWLINE, CARRIAGE_RETURN))


@njit(cache=True)
def hex_number(text: U8, at: Int) -> tuple[np.uint64, Int]:
    """The number from hexadecimal digits, with or without 0x, and the place after it; -1 when there is none, or it has
    more than 64 bits."""
    if text[at] == 48 and text[at + 1] in (120, 88):
        at += 2
    value, digits = np.uint64(0), 0
    while True:
        c = np.int64(text[at])
        if 48 <= c <= 57:
            digit = c - 48
        elif 97 <= c <= 102:
            digit = c - 87
        elif 65 <= c <= 70:
            digit = c - 55
        else:
            break
        if value >> np.uint64(60):
            return np.uint64(0), -1
        value = (value << np.uint64(4)) | np.uint64(digit)
        digits += 1
        at += 1
    return value, at if digits else -1


@njit(cache=True)
def decimal_number(text: U8, at: Int) -> tuple[np.uint64, Int]:
    """As `hex_number`, of at most 19 decimal digits."""
    value, digits = np.uint64(0), 0
    while 48 <= text[at] <= 57:
        value = value * np.uint64(10) + np.uint64(text[at] - 48)
        digits += 1
        at += 1
    return value, at if 0 < digits <= 19 else -1


@njit(cache=True)
def any_number(text: U8, at: Int) -> tuple[np.uint64, Int]:
    """A decimal number, or a hexadecimal one after 0x."""
    if text[at] == 48 and text[at + 1] in (120, 88):
        return hex_number(text, at)
    return decimal_number(text, at)
