"""Lines of a journal made few: the same pages, first nodes and sharing as before, each page once, in bounded steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.live import journal_merge
from pghot.live.journal_merge import merged
from pghot.live.journal_runs import LINE_PAGES, RUN, Line, packed_line, unpack

seeds = st.integers(0, 2**32 - 1)


def line(*runs: tuple[int, int, int], shared: bool = False) -> Line:
    return packed_line(np.array(list(runs), RUN), shared)


def few(lines: list[Line]) -> list[Line]:
    return [each for each in merged(lines) if each is not None]


def said(lines: list[Line]) -> list[tuple[list[tuple[int, int, int]], bool]]:
    return [(unpack(each.packed).tolist(), each.shared) for each in lines]


def pages_of(lines: list[Line]) -> tuple[dict[int, int], set[int], int]:
    """The first node of each page, the pages that moved shared, and how many pages are named in all."""
    node: dict[int, int] = {}
    shared: set[int] = set()
    count = 0
    for each in lines:
        for first, pages, where in unpack(each.packed).tolist():
            count += pages
            for page in range(first, first + pages):
                node.setdefault(page, where)
                if each.shared:
                    shared.add(page)
    return node, shared, count


def test_the_oldest_node_of_a_page_stays_and_neighbours_are_one_run() -> None:
    lines = [line((10, 3, 1), (20, 1, 2)), line((9, 3, 0), (20, 2, 0)), line((13, 1, 1)), line((22, 1, 0))]
    # 10 to 12 were on 1 first, 13 is too; 20 was on 2; 21 came with the second line, 22 with the last.
    assert said(few(lines)) == [([(9, 1, 0), (10, 4, 1), (20, 1, 2), (21, 2, 0)], False)]


def test_pages_that_moved_shared_later_are_told_apart_and_keep_their_first_node() -> None:
    lines = [line((10, 3, 1)), line((11, 1, 0), (30, 1, 0), shared=True)]
    assert said(few(lines)) == [([(10, 1, 1), (12, 1, 1)], False), ([(11, 1, 1), (30, 1, 0)], True)]


def test_nothing_is_nothing() -> None:
    assert few([]) == []


@given(seeds, st.integers(1, 12), st.integers(1, 40))
def test_any_lines_say_the_same_after_it(seed: int, count: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        number = int(rng.integers(1, 20))
        gaps, pages = rng.choice([0, 1, 2, 30], number), rng.choice([1, 1, 2, 60], number)
        runs = np.empty(number, RUN)
        runs["first"] = rng.integers(0, 300) + np.cumsum(gaps + pages) - pages
        runs["pages"], runs["node"] = pages, rng.choice([0, 1, 254], number)
        lines.append(packed_line(runs, bool(rng.random() < 0.3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_merge, "STEP_RUNS", step)
        found = few(lines)
    node, shared, named = pages_of(found)
    assert (node, shared) == pages_of(lines)[:2]
    assert named == len(node)  # each page once
    for each in found:
        runs = unpack(each.packed)
        assert (runs["first"][1:] >= (runs["first"] + runs["pages"])[:-1]).all()


def test_a_line_never_has_more_pages_than_one_may() -> None:
    """12 TiB in a row, said in three lines of the longest kind: as many again, of which undo can read each."""
    most = LINE_PAGES
    found = few([line((k * most, most, 1)) for k in range(3)])
    assert sum(each.pages for each in found) == 3 * most
    assert max(each.pages for each in found) <= most
    assert [each.first for each in found[1:]] == [each.end for each in found[:-1]]


def test_thousands_of_short_lines_become_full_ones() -> None:
    """Each round of a daemon writes a few scattered pages: 3000 lines of 20."""
    rng = np.random.default_rng(23)
    pages = rng.permutation(1 << 20)[: 3000 * 20].reshape(3000, 20)
    lines = [line(*((int(page), 1, 1) for page in sorted(batch))) for batch in pages]
    found = few(lines)
    assert pages_of(found)[0] == dict.fromkeys(pages.ravel().tolist(), 1)
    assert len(found) <= 5
    assert sum(len(each.packed) for each in found) < 1.3 * 60_000
