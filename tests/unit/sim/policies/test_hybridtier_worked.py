"""HybridTier in figures worked by hand: its filters, who is promoted, who goes, and who gets a second chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.counting_bloom import BLOCK, CountingBloom, blocks_for, counter_of
from pghot.sim.policies.hybridtier import HybridTier
from references.sim.policies.hybridtier import HybridTierReference


def pages(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("hybridtier") == {"frequency": 5, "momentum": 3, "batch_samples": 100_000}
    for option, most in (("frequency", 15), ("momentum", 15)):
        POLICIES.make("hybridtier", **{option: most})
        for value in (0, most + 1):
            with pytest.raises(UsageError, match=f"hybridtier.{option}"):
                POLICIES.make("hybridtier", **{option: value})
    with pytest.raises(UsageError, match="batch_samples"):
        POLICIES.make("hybridtier", batch_samples=0)


def test_a_filter_is_sized_for_a_thousandth_of_false_positives() -> None:
    """-4 / ln(1 - 0.001 ** 0.25) = -4 / ln(0.82217) = 20.43 counters a page; a block has 128."""
    assert blocks_for(1) == blocks_for(8) == 1
    assert blocks_for(12.5) == 2  # 255 counters
    assert blocks_for(100_000) == 16_384  # 15,961 blocks
    assert CountingBloom(2, 1e9).nbytes == 128, "two counters a byte"


def test_a_page_has_four_counters_in_one_block_each_in_a_quarter_of_its_own() -> None:
    for page in range(200):
        counters = [counter_of(page, which, 8) for which in range(4)]
        assert len({counter // BLOCK for counter in counters}) == 1
        assert [counter % BLOCK // 32 for counter in counters] == [0, 1, 2, 3]
    assert {counter_of(page, 0, 8) // BLOCK for page in range(200)} == set(range(8))


def test_a_count_is_never_too_low_and_seldom_too_high() -> None:
    rng = np.random.default_rng(1)
    bloom = CountingBloom(blocks_for(1_000), 1e9)
    counted = rng.choice(1 << 31, 1_000, replace=False).astype(np.uint32)
    true = rng.integers(1, 5, 1_000).astype(np.uint32)
    bloom.add(counted, true)
    found = bloom.counts(counted)
    assert (found >= true).all()
    assert np.count_nonzero(found > true) < 30
    others = np.setdiff1d(rng.choice(1 << 31, 2_000).astype(np.uint32), counted)
    assert np.count_nonzero(bloom.counts(others)) < 30


def test_counters_end_at_15_and_are_halved_with_the_count_that_reaches_the_limit() -> None:
    bloom = CountingBloom(1, 30)
    assert bloom.add(pages(1), pages(20)).tolist() == [15]
    assert bloom.add(pages(2), pages(9)).tolist() == [9]
    assert bloom.add(pages(2), pages(1)).tolist() == [5], "10, halved"
    assert bloom.counts(pages(1, 2, 3)).tolist() == [7, 5, 0]
    assert bloom.size == 15
    bloom.take_one(pages(2))
    assert bloom.counts(pages(2)).tolist() == [4]


def bed_of(room: int = 0, **options: int) -> tuple[Bed, HybridTier]:
    bed = Bed("hybridtier", room=room, **{"batch_samples": 1, **options})
    policy: HybridTier = bed.policy  # type: ignore[assignment]
    return bed, policy


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def demoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[:100] == 1).tolist()  # type: ignore[no-any-return]


def test_momentum_or_frequency_promotes() -> None:
    """Momentum alone at 3 samples; without it, frequency at 5."""
    bed, _ = bed_of(room=50)
    bed.see(10, 500, count=2)
    bed.see(10, 501, count=3)
    assert bed.act(10) == {"threshold": 1}
    assert promoted(bed) == [401]
    bed, policy = bed_of(room=50, momentum=15)
    for at_ms in (10, 20):
        bed.see(at_ms, 500, count=2)
        bed.see(at_ms, 501, count=3)
        bed.act(at_ms)
    assert promoted(bed) == [401], "4 and 6"
    assert bed.machine.kernel_threads.keys() == {"hybridtier"}
    assert policy.tracker_bytes() == (4096 + 128) / 2, (
        "3,084 counters for 151 pages are 24 blocks, and 32 is next"
    )


def test_frequencies_are_halved_after_160_samples_for_each_page_of_the_fast_node() -> None:
    """It has 151 pages: 24,160 samples. Momentum is halved after 1.1 million."""
    _, policy = bed_of(room=50)
    assert policy._frequent.limit == 24_160
    assert policy._moving.limit == 1_100_000
    bed = Bed("hybridtier", room=50, group_pages=100)
    assert bed.policy._moving.limit == 11_000  # type: ignore[attr-defined]
    assert bed.policy._batch == 1_000  # type: ignore[attr-defined]


def test_it_waits_for_a_batch_and_counts_a_page_of_it_once() -> None:
    bed, _ = bed_of(room=50, batch_samples=10)
    bed.see(10, 500, 501, count=2)
    bed.see(20, 500, count=5)
    assert bed.act(20) == {}
    assert promoted(bed) == []
    bed.see(30, 502)
    assert bed.act(30) == {"threshold": 2}
    assert promoted(bed) == [400]


def test_at_one_in_80_free_it_looks_for_cold_pages_until_one_in_20_would_be() -> None:
    """Of 101 pages 1.25 % are 1.26, and 5 % are 5.05: 1 is free, so 4 go. Pages 0 and 2 have momentum."""
    bed, policy = bed_of()
    bed.see(10, 0, 2)
    bed.act(10)
    assert demoted(bed) == [1, 3, 4, 5]
    assert policy._cursor == 6
    bed.machine.free_pages[0] = 2
    bed.see(20, 0)
    bed.act(20)
    assert len(demoted(bed)) == 4, "2 are more than 1.26"
    bed.machine.free_pages[0] = 1
    bed.see(30, 0)
    bed.act(30)
    assert demoted(bed) == [1, 3, 4, 5, 6, 7, 8, 9], "on from where it stopped"


def test_at_the_end_of_the_pages_it_begins_at_the_first_again() -> None:
    bed, policy = bed_of()
    policy._cursor = 98
    bed.see(10, 0)
    bed.act(10)
    assert demoted(bed) == [98, 99]
    assert policy._cursor == 0


def test_a_frequent_page_without_momentum_goes_60_s_later_unless_it_is_counted_again() -> None:
    """Pages 0 to 2 have frequencies of 15, 7 and 7; 15 becomes 14, so that a sample would show."""
    bed, policy = bed_of()
    policy._frequent.add(pages(0, 1, 2), pages(15, 7, 7))
    bed.see(10, 50)
    bed.act(10)
    assert demoted(bed) == [3, 4, 5, 6]
    assert policy._second.tolist() == [0, 1, 2]
    assert policy._second_count.tolist() == [14, 7, 7]
    bed.machine.free_pages[0] = 1
    bed.see(60_000, 1)
    bed.act(60_000)
    assert demoted(bed) == [3, 4, 5, 6, 7, 8, 9, 10], "60 s are not over"
    bed.machine.free_pages[0] = 1
    bed.see(60_001, 50)
    bed.act(60_001)
    assert {0, 2} <= set(demoted(bed))
    assert 1 not in demoted(bed), "it was counted"
    assert len(policy._second) == 0


def test_not_more_than_10_000_wait_for_their_second_chance() -> None:
    bed = Bed("hybridtier", group_pages=5_000, batch_samples=1)
    policy: HybridTier = bed.policy  # type: ignore[assignment]
    policy._frequent.add(np.arange(10, dtype=np.uint32), np.full(10, 7, np.uint32))
    bed.see(10, 50)
    bed.act(10)
    assert policy._second.tolist() == [0, 1]


def test_half_a_place_to_wait_is_one_every_other_minute() -> None:
    """A page stands for 20,000: those that may wait are half a page of the lab."""
    bed = Bed("hybridtier", group_pages=20_000, batch_samples=1)
    policy: HybridTier = bed.policy  # type: ignore[assignment]
    waiting = []
    for minute in range(4):
        policy._frequent.add(np.arange(90, dtype=np.uint32), np.full(90, 7, np.uint32))
        bed.machine.free_pages[0], policy._cursor = 1, 0
        bed.see(10 + minute * 60_001, 150)
        bed.act(10 + minute * 60_001)
        waiting.append(len(policy._second))
    assert waiting == [0, 1, 0, 1]


def test_what_finds_no_room_or_no_time_is_told() -> None:
    bed, _ = bed_of(room=2)
    bed.see(10, *range(500, 505), count=3)
    assert bed.act(10) == {"free space": 3}
    bed, _ = bed_of(room=50)
    bed.machine.slice_ns = 1.0
    bed.machine.thread("hybridtier").run(0.0, 20e6 - 1.5 * 1_240)
    bed.see(10, *range(500, 505), count=3)
    assert bed.act(10) == {"busy": 3}
    assert promoted(bed) == [400, 401]


def test_a_batch_that_saw_nothing_below_is_told() -> None:
    bed, _ = bed_of(room=50)
    bed.see(10, 5)
    assert bed.act(10) == {"nothing seen": 1}


def test_in_the_reference_no_page_shares_all_its_counters() -> None:
    """What the comparison below rests on: each of the dozen pages has a counter for itself in a filter of one block."""
    taken = [counter_of(page, which, 1) for page in range(PAGES) for which in range(4)]
    for page in range(PAGES):
        assert any(taken.count(counter_of(page, which, 1)) == 1 for which in range(4))


steps = st.lists(
    st.tuples(
        st.integers(1, 50_000), st.dictionaries(st.integers(0, PAGES - 1), st.integers(1, 3), max_size=PAGES)
    ),
    max_size=25,
)


@given(steps, st.integers(0, 4), st.integers(0, 3), st.integers(1, 12), st.integers(20, 200))
def test_it_does_what_its_description_says(
    drawn: list[tuple[int, dict[int, int]]], on_top: int, room: int, batch: int, momentum_limit: int
) -> None:
    bed = SmallBed("hybridtier", on_top, room, batch_samples=batch)
    policy: HybridTier = bed.policy  # type: ignore[assignment]
    policy._moving.limit = momentum_limit
    plain = HybridTierReference(PAGES, range(on_top), on_top + room, on_top + room + 1, batch, momentum_limit)
    at_ms = 0
    for passed, sampled in drawn:
        at_ms += passed
        bed.see(at_ms, sampled)
        bed.act(at_ms)
        plain.see(sampled)
        plain.act(at_ms)
        assert bed.on_top() == plain.fast
