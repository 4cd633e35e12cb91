"""Rows of slices in the order of their pages, against Python's own sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.recording.importers.row_order import columns_in_order


@pytest.mark.parametrize("most_page", [40, 1 << 12, 1 << 28])
@given(st.data())
def test_each_slice_is_sorted_by_page_with_its_counts(most_page: int, data: st.DataObject) -> None:
    seed, sizes = data.draw(
        st.tuples(st.integers(0, 999), st.lists(st.integers(1, 41), min_size=1, max_size=5))
    )
    random = np.random.default_rng(seed)
    pages = [random.permutation(np.unique(random.integers(0, most_page, size))) for size in sizes]
    page = np.concatenate(pages).astype(np.uint32)
    offsets = np.cumsum([0, *map(len, pages)])
    # The counts of a row tell where it was.
    rows = np.arange(4 * len(page), dtype=np.uint32).reshape(-1, 4)
    found_page, columns = columns_in_order(page, rows, offsets)
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        expected = sorted((int(page[i]), *rows[i].tolist()) for i in range(begin, end))
        found = zip(found_page[begin:end].tolist(), *columns[:, begin:end].tolist(), strict=True)
        assert list(found) == expected


def test_a_long_slice_whose_pages_differ_in_every_byte() -> None:
    page = (np.arange(5000, dtype=np.uint64) * 2_654_435_769 % (1 << 32)).astype(np.uint32)
    rows = np.arange(20_000, dtype=np.uint32).reshape(-1, 4)
    found, columns = columns_in_order(page, rows, np.array([0, 5000]))
    order = np.argsort(page)
    assert np.array_equal(found, page[order])
    assert np.array_equal(columns, rows[order].T)
