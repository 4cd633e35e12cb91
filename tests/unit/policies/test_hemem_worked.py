"""HeMem in figures worked by hand: how it counts, what is hot, what it moves in a round, and what goes out for it."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import Bed
from pghot.errors import UsageError
from pghot.policies.hemem import HeMem, count_samples


def counted(samples: list[int], count: list[int]) -> tuple[list[int], int]:
    counts = np.array(count, np.int32)
    clock = np.zeros(len(count), np.int32)
    halved = count_samples(
        np.array(samples, np.int64), counts, clock, np.zeros(len(count), np.bool_), 0, 8, 18
    )
    assert not clock.any()
    return counts.tolist(), halved


def test_all_counts_are_halved_when_one_reaches_18() -> None:
    assert counted([0], [16, 7]) == ([17, 7], 0)
    assert counted([0, 0], [16, 7]) == ([9, 3], 1)


def test_the_samples_of_a_long_batch_are_not_counted_up_before_they_are_halved() -> None:
    # 0 counts up to 18, falls to 9, and needs nine more each time: 36 samples halve at the 18th, 27th and 36th.
    assert counted([0] * 36, [0, 17]) == ([9, 2], 3)


def test_what_was_sampled_between_two_halvings_is_halved_once() -> None:
    assert counted([0] * 18 + [1] * 4 + [0] * 9, [0, 8]) == ([9, 4], 2)  # 8 / 2 + 4 = 8, halved


def test_a_count_that_was_halved_32_times_is_nothing() -> None:
    """18 samples halve once, and each nine more once more: 18 + 31 x 9 are 32 halvings. Shifts end at 31 places."""
    assert counted([0] * (18 + 31 * 9), [0, 17]) == ([9, 0], 32)
    assert counted([0] * (18 + 31 * 9) + [1], [0, 17]) == ([9, 1], 32)


@pytest.mark.parametrize(("rounds", "hot"), [(0, []), (1, [0]), (2, [0, 1]), (3, [0, 1]), (30, [0, 1])])
def test_a_unit_that_was_hot_when_a_round_was_due_is_hot_though_it_was_halved_since(
    rounds: int, hot: list[int]
) -> None:
    """Unit 1 has the first eight of 30 samples, and is halved with the eighteenth of unit 0: the 26th of all. Of two
    rounds one is due after 15 samples."""
    samples = [1] * 8 + [0] * 22
    units, was_hot = np.array(samples, np.int64), np.zeros(2, np.bool_)
    count, clock = np.zeros(2, np.int32), np.zeros(2, np.int32)
    count_samples(units, count, clock, was_hot, rounds, 8, 18)
    assert count.tolist() == [13, 4]
    assert np.flatnonzero(was_hot).tolist() == hot


def test_rounds_inside_a_long_batch_move_what_was_hot_then() -> None:
    """Ten units with half of the samples of the hottest: their counts go up and down between 4 and 9. In the hundred
    milliseconds of one batch ten rounds are due, and nearly all of them are hot in one; at its end, three or four."""
    bed = Bed("hemem", room=50, group_pages=512)
    units = range(500, 510)
    samples = [*[400] * 400, *[page for page in units for _ in range(200)]]
    bed.see(100, *samples)
    hot = np.count_nonzero(bed.policy.count[500:510] >= 8)  # type: ignore[attr-defined]
    assert hot <= 5
    bed.act(100)
    assert len(set(fast(bed)) & set(units)) >= 8
    bed.act(110)
    assert not bed.policy.hot()[501] or bed.policy.count[501] >= 8, "what was hot then is not hot for ever"  # type: ignore[attr-defined]


def fast(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place == 0).tolist()  # type: ignore[no-any-return]


def test_a_page_is_hot_from_eight_samples_on() -> None:
    bed = Bed("hemem", room=5, group_pages=512)
    bed.see(5, 500, count=7)
    bed.see(5, 501, count=8)
    bed.act(10)
    assert fast(bed)[100:] == [501]


def test_rounds_are_10_ms_apart_after_the_last_one() -> None:
    bed = Bed("hemem", room=5, group_pages=512)
    hot = iter(range(500, 510))

    def moved(at_ms: float) -> bool:
        before = len(fast(bed))
        bed.see(5, next(hot), count=8)
        bed.act(at_ms)
        return len(fast(bed)) > before

    assert [moved(at_ms) for at_ms in (9.9, 10, 19.9, 23, 32.9, 33)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_what_a_rate_of_10_gb_a_second_leaves_over_is_carried_on() -> None:
    """10 ms of the kernel are 19.53 us here, in which 195,312.5 bytes may move: 47.68 pages. Then 48.37."""
    bed = Bed("hemem", room=200, group_pages=512)
    bed.see(5, *range(300, 500), count=8)
    found = []
    for at_ms in (10, 20, 30):
        bed.see(at_ms, 0)
        bed.act(at_ms)
        found.append(len(fast(bed)) - 100)
    assert found == [47, 47 + 48, 47 + 48 + 48]  # 0.68 + 47.68 = 48.37, 0.37 + 47.68 = 48.05


def test_a_thread_without_time_moves_less_than_the_rate_allows() -> None:
    """The rate is 47 pages in 10 ms, but it is busy except for the time of two and a half: it moves three."""
    bed = Bed("hemem", room=60, group_pages=512)
    bed.machine.slice_ns = 0.0
    bed.see(5, *range(300, 400), count=8)
    # The thread has as long as since its last round, 10 ms.
    bed.machine.thread("hemem").run(0.0, 2 * 10e6 / 512 - 2.5 * 1_240)
    bed.act(10)
    assert len(fast(bed)) == 103


def test_the_hottest_go_first_and_of_equals_the_first_from_where_the_seed_begins() -> None:
    bed = Bed("hemem", group_pages=512)
    policy: HeMem = bed.policy  # type: ignore[assignment]
    policy.count[[7, 400, 500, 600, 700, 950]] = [17, 8, 8, 10, 9, 8]  # 7 is in the fast tier
    assert policy.hot_below(bed.world).tolist() == [600, 700, 400, 500, 950]
    bed.world.seed = 3  # 3 x 0.618 = 1.854: begins at page 854
    assert policy.hot_below(bed.world).tolist() == [600, 700, 950, 400, 500]


@pytest.mark.parametrize(("hot", "out"), [(5, 1), (6, 1), (7, 2), (8, 2), (12, 4)])
def test_each_page_that_comes_in_beyond_the_room_pushes_out_the_coldest(hot: int, out: int) -> None:
    """Room for four. Of the pages beyond, each needs a demotion as well: half of them, rounded up, come in."""
    bed = Bed("hemem", room=4, group_pages=512)
    bed.policy.count[:100] = 7  # type: ignore[attr-defined]
    bed.policy.count[[40, 60, 80, 81]] = [5, 2, 6, 6]  # type: ignore[attr-defined]
    bed.see(5, *range(500, 500 + hot), count=8)
    held = bed.act(10)
    gone = [60, 40, 80, 81][:out]
    assert fast(bed) == sorted(set(range(100)) - set(gone)) + list(range(500, 504 + out))
    assert held.get("free space", 0) == hot - 4 - out


def test_only_what_is_not_hot_goes_out() -> None:
    """Of the fast tier only page 7 is below eight samples. Three hot pages: two may come, one does."""
    bed = Bed("hemem", group_pages=512)
    bed.policy.count[:100] = 8  # type: ignore[attr-defined]
    bed.policy.count[7] = 7  # type: ignore[attr-defined]
    bed.see(5, 500, 501, 502, count=8)
    held = bed.act(10)
    assert fast(bed) == sorted({*range(100), 500} - {7})
    assert held == {"free space": 2}


def test_pages_of_a_unit_move_together_and_are_forgotten_together() -> None:
    """512 pages are a unit, so 1,000 are two, each with a count of 4 bytes. The second has eight samples of two pages.

    The 100 pages of the fast tier are cold. They make room, and with the five that are free 105 of the unit come in.
    """
    bed = Bed("hemem", room=5)
    assert bed.policy.tracker_bytes() == 8
    bed.see(5, 512, 999, count=4)
    assert bed.policy.count.tolist() == [0, 8]  # type: ignore[attr-defined]
    bed.act(10)
    assert fast(bed) == list(range(512, 512 + 105))
    bed.policy.forget(np.array([600], np.uint32))  # type: ignore[attr-defined]
    assert bed.policy.count.tolist() == [0, 0]  # type: ignore[attr-defined]


def test_reports_of_the_fast_tier_are_no_reports_of_what_could_be_promoted() -> None:
    bed = Bed("hemem", group_pages=512)
    bed.see(5, 7, count=3)
    assert bed.act(10) == {"nothing seen": 1}
    bed.see(15, 500)
    assert bed.act(20) == {"nothing seen": 1, "threshold": 1}
    assert bed.act(30) == {"nothing seen": 2, "threshold": 1}
    assert bed.policy.counters() == {}


def test_it_demotes_by_itself() -> None:
    bed = Bed("hemem")
    bed.machine.demotion_enabled = True
    HeMem().start(bed.world)
    assert not bed.machine.demotion_enabled


def test_another_threshold_and_another_cooling() -> None:
    bed = Bed("hemem", room=5, group_pages=512, freq_threshold=4, cooling_samples=6)
    bed.see(5, 500, count=3)
    bed.see(5, 501, count=4)
    bed.see(5, 502, count=5)
    bed.act(10)
    assert fast(bed)[100:] == [501, 502]
    bed.see(15, 502)  # its sixth halves all: 1, 2 and 3
    assert bed.policy.count[500:503].tolist() == [1, 2, 3]  # type: ignore[attr-defined]


def test_another_period_and_another_rate() -> None:
    """20 ms of the kernel are 39.06 us here, in which 1 GB/s moves 39,062.5 bytes: 9.54 pages; then 10.07."""
    bed = Bed("hemem", room=200, group_pages=512, period_ms=20.0, rate_gb_s=1.0)
    bed.see(5, *range(300, 500), count=8)
    found = []
    for at_ms in (19, 20, 39, 40):
        bed.see(at_ms, 0)
        bed.act(at_ms)
        found.append(len(fast(bed)) - 100)
    assert found == [0, 9, 9, 9 + 10]


def test_a_threshold_that_no_count_can_reach_is_refused() -> None:
    """Counts are halved when one reaches `cooling_samples`: 17 of 18 can be seen, 18 cannot."""
    HeMem(freq_threshold=17)
    with pytest.raises(UsageError, match="counts are halved before any is hot") as refused:
        HeMem(freq_threshold=18)
    assert refused.value.hint == "give a cooling_samples above 18"
