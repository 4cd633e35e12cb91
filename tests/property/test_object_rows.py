"""Which mapping of a file an address lies in, against a plain reference; and addresses and offsets both ways."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pghot.live.machine.object_rows import Rows, find_rows
from references.live.machine.object_rows import find_rows_reference

# Gap before it, pages, file (0: none that is tracked), page in the file.
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(0, 2), st.integers(0, 9)), max_size=5
)


def rows_of(space: int, parts: list[tuple[int, int, int, int]]) -> Rows:
    first, last, at = [], [], 0
    for gap, pages, _, _ in parts:
        first.append(at + gap)
        last.append(at := at + gap + pages)
    begin = np.array(first, np.uint64)
    shift = np.array([part[3] for part in parts], np.int64) - begin.astype(np.int64)
    number = np.array([part[2] for part in parts], np.int64)
    whose = np.full(len(parts), space, np.int64)
    return Rows(whose, begin, np.array(last, np.uint64), number, shift, np.zeros(len(parts), np.bool_))


@given(st.dictionaries(st.integers(1, 4), ROWS), st.data())
def test_addresses_are_found_as_by_the_reference(of_space: dict[int, list], data: st.DataObject) -> None:
    rows = Rows.joined({space: rows_of(space, parts) for space, parts in of_space.items()})
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40) | st.sampled_from([1 << 45, (1 << 52) - 1])))
    )
    space = np.array([pair[0] for pair in pairs], np.int64)
    address = np.array([pair[1] << 12 | 5 for pair in pairs], np.uint64)
    above = rows.space.astype(np.uint64) << np.uint64(45)
    got, expected = np.empty(len(pairs), np.int64), np.empty(len(pairs), np.int64)
    find_rows_reference(above | rows.first, above | rows.last, space, address, expected)
    if len(rows):
        find_rows(above | rows.first, above | rows.last, space, address, got)
        assert got.tolist() == expected.tolist()
    assert rows.find(space, address).tolist() == expected.tolist()


@given(ROWS, st.integers(1, 4))
def test_an_offset_leads_back_to_an_address_that_shows_it(parts: list, space: int) -> None:
    rows = Rows.joined({space: rows_of(space, parts), space + 1: rows_of(space + 1, parts)})
    address = np.arange(50, dtype=np.uint64) << np.uint64(12)
    row = rows.find(np.full(50, space, np.int64), address)
    for file in (1, 2):
        here = np.flatnonzero((row >= 0) & (rows.number[row] == file)) if len(rows) else row[:0]
        offset = rows.offsets(row[here], address[here])
        back, found = rows.addresses(space, file, offset)
        assert found.all()
        again = rows.find(np.full(len(back), space, np.int64), back)
        assert rows.offsets(again, back).tolist() == offset.tolist()
        assert (rows.number[again] == file).all()
    nowhere = rows.addresses(space + 2, 1, address)[1]
    assert not nowhere.any()
