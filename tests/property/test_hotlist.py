"""Hot lists of CXL devices, decoded."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.rings import hot_list, ring_of
from pghot.kernel import hotlist
from pghot.kernel.hotlist import COUNT, UNIT, HotList
from pghot.kernel.hotlist_decode import decode, decode_hotlist
from references.kernel.hotlist_decode import decode_reference

AREA = 1 << 13
LARGEST = 0xFFFF
tails = st.integers(0, 3 * AREA // 8).map(lambda word: 8 * word)


def decoded(ring: np.ndarray, tail: int, head: int, room: int = LARGEST) -> HotList:
    """The kernel's result, after checking it against the reference."""
    fast, plain = HotList.sized(room), HotList.sized(room)
    decode(ring.view(np.uint64), tail, head, fast.fields, fast.counts)
    decode_reference(ring.view(np.uint64), tail, head, plain.fields, plain.counts)
    np.testing.assert_array_equal(fast.counts, plain.counts)
    np.testing.assert_array_equal(fast.fields, plain.fields)
    return fast


@st.composite
def blocks(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    width = draw(st.integers(1, 40))
    entry = st.tuples(st.integers(0, (1 << 64 - width) - 1), st.integers(0, (1 << width) - 1))
    return width, draw(st.lists(entry, min_size=1, max_size=40))


@given(st.lists(blocks(), max_size=12), tails)
def test_entries_come_out_as_they_went_in(given_blocks, tail):
    data = b"".join(hot_list(entries, width) + b"\0" * 16 for width, entries in given_blocks)
    out = decoded(ring_of(data, tail, AREA), tail, tail + len(data))
    expected = [pair for _, entries in given_blocks for pair in entries]
    found = int(out.counts[hotlist.FOUND])
    assert list(zip(*out.fields[[UNIT, COUNT], :found].tolist(), strict=True)) == expected
    assert out.counts[[hotlist.TAIL, hotlist.CORRUPT]].tolist() == [tail + len(data), 0]


def test_the_example_of_the_driver_s_documentation() -> None:
    """Counter width 16: the low 16 bits are the count, the others the unit."""
    words = [0x0283, 0x10364, 0x20366]
    data = struct.pack("<5Q", 3 | 0x10 << 16, 0xDEADBEEF, *words)
    out = HotList.sized(LARGEST)
    assert decode_hotlist(ring_of(data, 0, AREA), 0, len(data), out) == 3
    assert out.fields[:, :3].tolist() == [[0, 1, 2], [0x283, 0x364, 0x366]]


words = st.sampled_from([0, 0xDEADBEEF, 1 | 16 << 16, 2 | 16 << 16, 40 | 16 << 16, 3]) | st.integers(
    0, (1 << 64) - 1
)


@given(st.lists(words, min_size=32, max_size=32), st.integers(0, 99), st.integers(0, 32))
def test_any_words_end_and_equal_the_reference(content, tail, length):
    out = decoded(np.array(content, np.uint64).view(np.uint8), 8 * tail, 8 * (tail + length), room=3)
    assert 8 * tail <= out.counts[hotlist.TAIL] <= 8 * (tail + length)
    assert out.counts[hotlist.FOUND] <= 3


@pytest.mark.parametrize("damage", ["marker", "cut", "width"])
def test_a_damaged_block_is_counted_and_the_rest_skipped(damage: str) -> None:
    good = hot_list([(7, 100)])
    bad = bytearray(hot_list([(8, 101), (9, 102)]))
    if damage == "marker":
        bad[8] ^= 1
    elif damage == "width":
        bad[2] = 0
    else:
        del bad[-8:]
    data = good + bytes(bad)
    out = decoded(ring_of(data, 0, AREA), 0, len(data))
    assert out.counts.tolist() == [len(data), 1, 1]
    assert out.fields[UNIT, 0] == 7


def test_room_for_the_largest_list_is_asked_for() -> None:
    with pytest.raises(ValueError, match="65535"):
        decode_hotlist(np.zeros(AREA, np.uint8), 0, 0, HotList.sized(8192))


def test_a_block_that_does_not_fit_waits_for_the_next_pass() -> None:
    first, second = hot_list([(1, 1)]), hot_list([(2, 2), (3, 3)])
    data = first + second
    out = decoded(ring_of(data, 0, AREA), 0, len(data), room=2)
    assert out.counts.tolist() == [len(first), 1, 0]
