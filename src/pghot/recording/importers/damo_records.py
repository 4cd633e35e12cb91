"""damo's records: JSON, as it is or compressed with zlib, of snapshots of DAMON's regions.

    [{"intervals": {...}, "target_id": ..., "snapshots": [{"start_time": ns, "end_time": ns, "regions":
      [{"start": "4,096", "end": "8,192", "nr_accesses": {"samples": 3, ...}, ...}]}]}]

The text is read by a compiled scanner that knows the keys it needs, block by block. What is kept is four numbers for
each region that was accessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U8, U64, Int
from pghot.jit import njit
from pghot.recording.importers.importer import MOST_SPACES, Clock, Found
from pghot.recording.importers.input import LONGEST_LINE_BYTES, Input
from pghot.recording.importers.regions_as_pages import LAST_ADDRESS, NOT_TOLD_APART

KEYS = ("start_time", "start", "end", "samples", "target_id", "aggr_intervals")
_START_TIME, _START, _END, _SAMPLES, _TARGET, _ = range(len(KEYS))

# The scanner's state, int64[9]: the numbers read last of each key (-1: none), then the depth of brackets, records so
# far, and regions that make no sense.
_DEPTH, _RECORDS, _STRANGE = range(len(KEYS), len(KEYS) + 3)
_MOST_GAP = 1024  # bytes between two numbers that are remembered


class DamoRecords:
    """A region that DAMON found accessed in n of its samples counts as n accesses of each of its pages."""

    name: ClassVar[str] = "damo"
    summary: ClassVar[str] = "damo record (JSON, plain or compressed)"
    clock = Clock.OWN
    slice_ns = 100_000_000
    every_access = False
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = (
        NOT_TOLD_APART,
        "writes and cache misses are not known",
    )

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return start.lstrip()[:1] in (b"[", b"{") and (b'"kdamond_idx"' in start or b'"snapshots"' in start)

    def regions(self) -> npt.NDArray[np.int64]:
        """int64[5, R]: time, start, end, samples and record of each region that was accessed, in the file's order."""
        state = np.full(len(KEYS) + 3, -1, np.int64)
        state[_DEPTH:] = 0
        parts = [np.empty((5, 0), np.int64)]
        for text in self._blocks():
            rows = np.empty((5, len(text) // 16 + 1), np.int64)
            words = np.frombuffer(text, np.uint64, len(text) >> 3)
            used = int(scan(np.frombuffer(text, np.uint8), words, _KEY_BYTES, _KEY_SIZES, state, rows))
            parts.append(rows[:, :used].copy())
        if state[_DEPTH]:
            self.found.sentences.append("how much is missing: the file ends in the middle of a record")
        if state[_STRANGE]:
            self.found.losses["regions of impossible addresses"] += int(state[_STRANGE])
        if state[_RECORDS] > MOST_SPACES:
            raise self._source.damaged(0, f"more than {MOST_SPACES:,} targets")
        return np.concatenate(parts, axis=1)

    def _blocks(self) -> Iterator[bytes]:
        """The text, cut behind closing braces."""
        rest = b""
        for block in self._source.blocks():
            cut = block.rfind(b"}") + 1
            if cut:
                yield b"".join((rest, memoryview(block)[:cut]))
                rest = b""
            rest += block[cut:]
            if len(rest) > LONGEST_LINE_BYTES:
                raise self._source.damaged(self._source.offset - len(rest), "no record of damo")
        if rest.strip():
            yield rest


_EIGHT_BLANKS = np.uint64(0x2020202020202020)
_KEY_SIZES = np.array([len(key) for key in KEYS], np.int64)
_KEY_BYTES = np.zeros((len(KEYS), 16), np.uint8)
for _number, _key in enumerate(KEYS):
    _KEY_BYTES[_number, : len(_key)] = np.frombuffer(_key.encode(), np.uint8)


@njit(cache=True)
def scan(text: U8, words: U64, key_bytes: U8, key_sizes: I64, state: I64, rows: I64) -> Int:
    """Take in a part of the text that ends behind a brace; returns how many accessed regions were found.

    The text between two numbers is nearly always that between the same two of the region before. What the scanner
    makes of it depends on nothing else, so where it is the same it is passed as a whole. For this the one number of a
    region that changes and is not needed, aggr_intervals, is a key too.

    words  the text, eight bytes at a time, without its rest: three of five bytes that damo writes indent a line
    state  see above; carried from part to part
    rows   int64[5, R]  filled in: time, start, end, samples, record
    """
    gaps = np.zeros((len(key_sizes), _MOST_GAP), np.uint8)  # behind the number of each key
    known = np.zeros(
        (len(key_sizes), 3), np.int64
    )  # of each: its length, the next key, brackets that it opens
    at, used, last = 0, 0, -1
    while True:
        gap = known[last, 0] if last >= 0 else 0
        if gap and same(text, at, gaps[last], gap):
            key, place = known[last, 1], at + gap
            state[_DEPTH] += known[last, 2]
        else:
            key, place, opened = next_number(text, words, at, key_bytes, key_sizes)
            state[_DEPTH] += opened
            if key < 0:
                return used
            gap = place - at
            if last >= 0 and gap <= _MOST_GAP:
                gaps[last, :gap] = text[at:place]
                known[last, 0], known[last, 1], known[last, 2] = gap, key, opened
        value, at = number_at(text, place)
        last = key
        if key == _TARGET:
            state[_RECORDS] += 1
        if key != _SAMPLES:
            state[key] = value
            continue
        if state[_START] >= 0 and state[_END] >= 0:
            if not state[_START] <= state[_END] < LAST_ADDRESS or state[_START_TIME] < 0:
                state[_STRANGE] += 1
            elif 0 < value < 1 << 32:
                rows[0, used], rows[1, used], rows[2, used] = state[_START_TIME], state[_START], state[_END]
                rows[3, used], rows[4, used] = value, max(0, state[_RECORDS] - 1)
                used += 1
        state[_START] = state[_END] = -1


@njit(cache=True)
def same(text: U8, at: Int, gap: U8, size: Int) -> bool:
    """Whether these bytes are there, with a number behind them: no blank or colon, of which a key may have more."""
    if at + size >= len(text) or text[at + size] in (32, 58):
        return False
    here = text[at : at + size]
    different = np.uint8(0)
    for i in range(size):
        different |= here[i] ^ gap[i]
    return bool(different == 0)


@njit(cache=True)
def next_number(text: U8, words: U64, at: Int, key_bytes: U8, key_sizes: I64) -> tuple[Int, Int, Int]:
    """The next key that is needed, -1: none; where its number begins; and how many more brackets opened than closed."""
    opened, size = 0, len(text)
    while at < size:
        c = text[at]
        if c == 32:
            at = blanks_end(text, words, at)
            continue
        if c == 123 or c == 91:
            opened += 1
        elif c == 125 or c == 93:
            opened -= 1
        if c != 34:
            at += 1
            continue
        begin = at + 1
        at = string_end(text, begin)
        key = key_of(text, begin, at, key_bytes, key_sizes)
        at += 1
        if key < 0:
            continue
        place = at
        while place < size and text[place] in (32, 58):  # blanks and the colon
            place += 1
        if place > at:
            return key, place, opened
    return -1, size, opened


@njit(cache=True)
def blanks_end(text: U8, words: U64, at: Int) -> Int:
    """Where the blanks end that begin there."""
    while at < len(text) and text[at] == 32:
        at += 1
        if not at & 7:
            while at >> 3 < len(words) and words[at >> 3] == _EIGHT_BLANKS:
                at += 8
    return at


@njit(cache=True)
def string_end(text: U8, at: Int) -> Int:
    """Where the quotation mark is that ends a string; a newline ends it too."""
    while at < len(text) and text[at] != 34 and text[at] != 10:
        at += 2 if text[at] == 92 else 1
    return min(at, len(text))


@njit(cache=True)
def key_of(text: U8, begin: Int, end: Int, key_bytes: U8, key_sizes: I64) -> Int:
    """Which key the string is, -1: none of them."""
    for key in range(len(key_sizes)):
        if key_sizes[key] == end - begin:
            same = True
            for i in range(end - begin):
                same = same and text[begin + i] == key_bytes[key, i]
            if same:
                return key
    return -1


@njit(cache=True)
def number_at(text: U8, at: Int) -> tuple[Int, Int]:
    """The number there, in quotation marks or not, with commas or not, and the place after it; -1 for anything else."""
    size = len(text)
    quoted = at < size and text[at] == 34
    at += 1 if quoted else 0
    value, digits = np.int64(0), 0
    while at < size:
        digit = np.int64(text[at]) - 48
        if 0 <= digit <= 9:
            value = value * 10 + digit
            digits += 1
        elif not quoted or text[at] != 44:
            break
        at += 1
    if quoted:
        closed = at < size and text[at] == 34
        at = string_end(text, at) + 1
        return (value if closed and 0 < digits <= 19 and value >= 0 else -1), at
    whole = at < size and 0 < digits <= 19 and value >= 0  # at the end it may have been cut
    return (value if whole else -1), at
