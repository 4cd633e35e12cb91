"""The kernels of pghot in user space as the lab simulates it, against their plain forms."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pghot.policies.below_top import others, take_below
from pghot.policies.live_rules import OLDEST
from pghot.sim.user_space.unseen import longest_unseen, note_seen
from references.sim.user_space.unseen import longest_unseen_reference, note_seen_reference


@given(st.integers(0, 2**32 - 1))
def test_pages_seen_as_in_the_plain_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = rng.integers(0, 9, rng.integers(0, 12)).astype(np.uint32)
    seen = rng.integers(-OLDEST, 50, 9).astype(np.int32)
    plain, last = seen.copy(), rng.integers(0, 12, 9).astype(np.uint32)
    assert note_seen(page, 50, seen, last) == note_seen_reference(page, 50, plain)
    assert seen.tolist() == plain.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_the_longest_unseen_as_in_the_plain_form(seed: int, pages: int) -> None:
    rng = np.random.default_rng(seed)
    place = rng.choice(np.array([0, 1, 255], np.uint8), 40)
    seen = rng.choice([100, 99, 98, 71, 70, 69, 0, -200, -OLDEST], 40).astype(np.int32)
    promoted, demoted = rng.random(40) < 0.5, rng.random(40) < 0.5
    arguments = (0, pages, 100, place, seen, promoted, demoted)
    assert longest_unseen(*arguments).tolist() == longest_unseen_reference(*arguments)


@given(st.lists(st.integers(0, 5)))
def test_pages_below_the_top_are_those_on_a_lower_node(page: list[int]) -> None:
    place, lower = np.array([0, 1, 2, 255, 1, 0], np.uint8), np.array([False, True, True])
    out = np.empty(len(page), np.uint32)
    found = take_below(np.array(page, np.uint32), place, lower, out)
    assert out[:found].tolist() == [each for each in page if each in (1, 2, 4)]


@given(st.lists(st.integers(0, 5)), st.lists(st.booleans(), min_size=6, max_size=6))
def test_others_are_the_pages_that_are_not_marked(page: list[int], marked: list[bool]) -> None:
    found = others(np.array(page, np.uint32), np.array(marked))
    assert found.tolist() == [each for each in page if not marked[each]]
