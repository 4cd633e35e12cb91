"""The gate's kernel against its reference, and what no sequence of rounds may do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.engine import gate
from pghot.engine.gate import DEMAND, FREE_SPACE, RATE_OK, TH, TH_START, adjust_threshold, judge, new_state
from references.engine.gate import judge_reference

NODES = 3
rounds = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(st.integers(0, 200), st.integers(900, 1100), st.integers(50_000, 200_000)),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=12,
)


def arguments(rng, state, rows, pages_per_s, window_ms, now, max_pages, count_refused, totals):
    return [
        rng.integers(0, NODES, rows).astype(np.int16),
        rng.integers(0, 2 * window_ms + 2, rows),
        state,
        rng.integers(0, 30, NODES),
        rng.integers(0, 40, NODES),
        pages_per_s,
        pages_per_s * int(rng.integers(1, 3)),
        window_ms,
        now,
        max_pages,
        count_refused,
        np.empty(rows, np.uint8),
        totals,
    ]


@given(st.integers(0, 2**32 - 1), rounds, st.integers(0, 12), st.integers(1, 5000), st.booleans())
def test_judge_equals_its_reference(seed, schedule, pages_per_s, window_ms, count_refused):
    rng = np.random.default_rng(seed)
    state, totals, now = new_state(NODES), np.zeros(4, np.int64), 0
    state2, totals2 = state.copy(), totals.copy()
    for rows, gap, max_pages in schedule:
        now += gap
        args = arguments(rng, state, rows, pages_per_s, window_ms, now, max_pages, count_refused, totals)
        args2 = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
        args2[2], args2[12] = state2, totals2
        judge(*args)
        judge_reference(*args2)
        for mine, reference in zip(args, args2, strict=True):
            np.testing.assert_array_equal(mine, reference)


@given(st.integers(0, 2**32 - 1), rounds, st.integers(1, 12))
def test_no_second_exceeds_the_rate_limit(seed, schedule, pages_per_s):
    """Between two openings of a node's rate window never more pages than one window grants."""
    rng = np.random.default_rng(seed)
    state, totals, now = new_state(NODES), np.zeros(4, np.int64), 0
    opened: dict[int, list[int]] = {node: [-(10**9), 0] for node in range(NODES)}
    for rows, gap, _ in schedule:
        now += gap
        args = arguments(rng, state, rows, pages_per_s, 5000, now, 10**6, False, totals)
        args[6] = pages_per_s
        judge(*args)
        for node in range(NODES):
            admitted = int(((args[0] == node) & (args[11] == RATE_OK)).sum())
            if now - opened[node][0] >= gate.RATE_WINDOW_MS and admitted:
                opened[node] = [now, 0]
            opened[node][1] += admitted
            assert opened[node][1] <= pages_per_s


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 60))
def test_admissions_respect_free_space_and_the_callers_limit(seed, rows, max_pages):
    """The bypass ends where the free space does, and no more than `max_pages` get through."""
    rng = np.random.default_rng(seed)
    args = arguments(rng, new_state(NODES), rows, 0, 5000, 0, max_pages, False, np.zeros(4, np.int64))
    before = args[3].copy()
    judge(*args)
    admitted = args[11] <= RATE_OK
    assert admitted.sum() <= max_pages
    for node in range(NODES):
        bypassed = int(((args[0] == node) & (args[11] == FREE_SPACE)).sum())
        assert bypassed <= max(0, before[node] - args[4][node])
        assert args[3][node] == before[node] - bypassed
    assert not (args[11] == RATE_OK).any(), "a rate limit of 0 admits nothing"


@pytest.mark.parametrize(
    "threshold, demand, expected",
    [
        (0, 6601, 4375),  # more than 1.1 x 100 pages a second x 60 s: a unit of 625 ms down
        (0, 6600, 5000),
        (0, 5400, 5000),
        (0, 5399, 5625),
        (1000, 9999, 625),
        (625, 9999, 625),
        (9900, 0, 10_000),
    ],
)
def test_threshold_moves_a_sixteenth_of_twice_the_window_each_minute(threshold, demand, expected):
    state = new_state(1)[0]
    state[[TH, TH_START, DEMAND]] = threshold, 0, demand
    adjust_threshold(state, 100, 5000, 59_999)
    assert state[[TH, TH_START, DEMAND]].tolist() == [threshold, 0, demand]
    adjust_threshold(state, 100, 5000, 60_000)
    assert state[[TH, TH_START, DEMAND]].tolist() == [expected, 60_000, 0]
