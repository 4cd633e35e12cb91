"""The rows of a sample are those that a plain reference finds, in whatever batches they come."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.lab.sampled_rows import RowWeigher
from pghot.recording.trace import SliceBatch
from references.lab.sampled_rows import Row, weigh_rows_reference

PAGES = 6
NAMES = ("touches", "misses", "sequential", "strided", "dependent", "writes")


@st.composite
def rows_of_a_slice(draw: st.DrawFn) -> list[Row]:
    rows = []
    for page in sorted(draw(st.sets(st.integers(0, PAGES - 1)))):
        kinds = draw(st.lists(st.integers(0, 9), min_size=5, max_size=5))
        touches = sum(kinds)
        rows.append((page, touches, sum(kinds[:4]), *kinds[:3], draw(st.integers(0, touches))))
    return rows


def batch_of(slices: list[list[Row]]) -> SliceBatch:
    flat = [row for rows in slices for row in rows]
    columns = np.array(flat, np.uint32).reshape(-1, 7).T.copy()
    clock = np.arange(len(slices), dtype=np.uint64)
    return SliceBatch(
        start_ns=clock,
        instructions=clock * np.uint64(10),
        offsets=np.cumsum([0, *map(len, slices)]).astype(np.int64),
        page=columns[0],
        node=np.zeros(len(flat), np.int16),
        **dict(zip(NAMES, columns[1:], strict=True)),
    )


# Eighths are exact in binary: the reference's fractions and the kernel's floats then never part.
@given(
    st.lists(st.lists(rows_of_a_slice(), min_size=1, max_size=4), min_size=1, max_size=3),
    st.sets(st.integers(0, PAGES - 1), min_size=1),
    st.lists(st.integers(1, 40), min_size=PAGES, max_size=PAGES),
    st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_weighed_rows_are_those_of_the_reference(
    parts: list[list[list[Row]]], chosen: set[int], eighths: list[int], seed: int
) -> None:
    place = {page: at for at, page in enumerate(sorted(chosen))}
    number = np.array([place.get(page, -1) for page in range(PAGES)], np.int32)
    weight = np.array(eighths[: len(place)]) / 8
    weigher = RowWeigher(number, weight, 4.0, np.random.default_rng(seed))
    weigher._carry = np.floor(weigher._carry * 8) / 8
    begin = weigher._carry.tolist()
    found = [weigher.weigh(batch_of(slices)) for slices in parts]
    rows = [
        tuple(int(getattr(batch, name)[i]) for name in ("page", *NAMES))
        for batch in found
        for i in range(batch.rows)
    ]
    flat = [row for slices in parts for each in slices for row in each]
    assert rows == weigh_rows_reference(flat, place, weight.tolist(), begin)
    for batch, slices in zip(found, parts, strict=True):
        assert batch.slices == len(slices)
        assert batch.offsets[-1] == batch.rows
    instructions = sum(10 * at for slices in parts for at in range(len(slices)))
    assert abs(sum(int(batch.instructions.sum()) for batch in found) - instructions / 4) <= 1
