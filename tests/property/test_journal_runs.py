"""What a journal says of pages: the same when it is read, whatever it was, a piece at a time, and in few bytes."""

from __future__ import annotations

import base64
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.live import journal_runs
from pghot.live.journal import runs_of
from pghot.live.journal_runs import LINE_RUNS, RUN, Line, line_of, pack, pages_of, pieces, unpack

seeds = st.integers(0, 2**32 - 1)


def text(runs: np.ndarray) -> str:
    return base64.b64encode(pack(runs)).decode()


def random_runs(rng: np.random.Generator, most: int) -> np.ndarray:
    """Ascending runs, far apart or side by side, one page long or many sections."""
    count = int(rng.integers(1, most))
    gaps = rng.choice([0, 1, 2, 300, 1 << 14, 1 << 33], count).astype(np.uint64)
    runs = np.empty(count, RUN)
    runs["pages"] = rng.choice([1, 1, 2, 700, 40_000], count)
    runs["node"] = rng.choice([0, 1, 254], count)
    runs["first"] = np.cumsum(gaps + runs["pages"]) - runs["pages"]
    return runs


@given(seeds)
def test_runs_are_read_as_they_were_written(seed: int) -> None:
    runs = random_runs(np.random.default_rng(seed), 40)
    assert unpack(pack(runs)).tolist() == runs.tolist()


@given(seeds, st.integers(1, 6), st.sampled_from([1 << 12, 1 << 15, 99_999, 1 << 20]))
def test_pieces_are_all_pages_once_with_their_first_node(seed: int, lines: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    all_runs = [random_runs(rng, 8) for _ in range(lines)]
    shared = rng.integers(0, 2, lines).astype(np.bool_).tolist()
    first: dict[int, int] = {}
    of_shared = set()
    for runs, together in zip(all_runs, shared, strict=True):
        nodes = np.repeat(runs["node"], runs["pages"].astype(np.int64)).tolist()
        for page, node in zip(pages_of(runs).tolist(), nodes, strict=True):
            first.setdefault(page, node)
            if together:
                of_shared.add(page)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_runs, "WINDOW_PAGES", window)
        found = list(pieces([line_of(text(runs), each) for runs, each in zip(all_runs, shared, strict=True)]))
    expected = sorted(first)
    np.testing.assert_array_equal(np.concatenate([part.vpn for part in found]), expected)
    assert np.concatenate([part.node for part in found]).tolist() == [first[page] for page in expected]
    assert np.concatenate([part.shared for part in found]).tolist() == [
        page in of_shared for page in expected
    ]


@given(st.binary(max_size=60), st.booleans())
def test_what_is_no_line_is_refused_and_nothing_else_happens(data: bytes, packed: bool) -> None:
    import zlib

    data = zlib.compress(data) if packed else data
    try:
        runs = unpack(data)
    except (ValueError, zlib.error):
        return
    assert pack(runs) == data or unpack(pack(runs)).tolist() == runs.tolist()


def test_a_line_that_unpacks_to_more_than_a_line_is_refused() -> None:
    import zlib

    with pytest.raises(ValueError, match="not the runs of a line"):
        unpack(zlib.compress(bytes(13 * (LINE_RUNS + 1))))


def moved_at_random(tracked: int) -> tuple[list[Line], int, int]:
    """The lines when a random tenth of so many tracked pages moved, the bytes of their text, and the pages."""
    rng = np.random.default_rng(23)
    page = np.flatnonzero(rng.random(tracked) < 0.1).astype(np.uint64) + np.uint64(0x7F0000000)
    runs = runs_of(page, np.ones(len(page), np.uint8))
    texts = [text(runs[begin : begin + LINE_RUNS]) for begin in range(0, len(runs), LINE_RUNS)]
    return [line_of(each) for each in texts], sum(map(len, texts)), len(page)


def test_a_random_tenth_takes_less_than_a_tenth_of_a_byte_a_tracked_page_and_eight_to_read() -> None:
    tracked = 1 << 24
    lines, size, moved = moved_at_random(tracked)
    assert size < 0.09 * tracked
    tracemalloc.start()
    try:
        assert sum(len(part.vpn) for part in pieces(lines)) == moved
        peak = tracemalloc.get_traced_memory()[1] + sum(len(line.packed) for line in lines)
    finally:
        tracemalloc.stop()
    assert peak < 6 * moved  # undo adds 2 more for what it asks the kernel
