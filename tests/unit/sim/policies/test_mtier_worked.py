"""DAMOS in figures worked by hand: quotas that goals tune, priorities, and what each scheme takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.mtier import Damos, by_priority, hotness, next_quota
from references.sim.policies.mtier import DamosReference

PAGE_MIB = 4096 / (1 << 20)


def bed_of(room: int = 0, quota_pages: float = 51_200, **options: float) -> tuple[Bed, Damos]:
    """Both quotas are tuned to a GiB already."""
    bed = Bed("damos", room=room, quota_mb_s=quota_pages * PAGE_MIB, **options)
    policy: Damos = bed.policy  # type: ignore[assignment]
    policy._hot_bytes = policy._cold_bytes = float(1 << 30)
    return bed, policy


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def demoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[:100] == 1).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("damos") == {"used": 0.997, "free": 0.005, "quota_mb_s": 200.0}
    for option, least, most in (("used", 0.0001, 1.0), ("free", 0.0001, 1.0), ("quota_mb_s", 0.0, 1e9)):
        for value in (least, most):
            POLICIES.make("damos", **{option: value})
        for value in (least - 0.1, most * 1.1):
            with pytest.raises(UsageError, match=f"damos.{option}"):
                POLICIES.make("damos", **{option: value})


def test_a_quota_changes_by_as_much_as_its_goal_is_missed() -> None:
    assert next_quota(1_000, 0) == 2_000
    assert next_quota(1_000, 9_000) == 1_100
    assert next_quota(1_000, 10_000) == 1_000
    assert next_quota(1_000, 11_000) == 900
    assert next_quota(1_000, 19_999) == 1
    assert next_quota(1e9, 20_000) == 1, "at twice the goal it begins anew"


@pytest.mark.parametrize(
    ("accesses", "age", "expected"),
    [
        (20, 0, 74),  # (100 + 32 x 100 / 32 / 2 = 50) / 2 = 75, of 99
        (20, 9, 74),  # 0.9 s are no second
        (20, 10, 74),  # 1 s is one step: 33 x 100 // 32 // 2 = 51; 151 // 2 = 75
        (20, 20, 75),  # 2 s are two: 53; 76 of 99 are 75
        (0, 0, 24),  # (0 + 50) / 2 = 25
        (0, 10, 23),  # 31 x 100 // 32 // 2 = 48; 24 of 99 are 23
        (0, 640, 18),  # 64 s are seven steps: 25 x 100 // 32 // 2 = 39; 19 of 99 are 18.8
        (10, 0, 49),  # (50 + 50) / 2 = 50
    ],
)
def test_accesses_and_age_count_alike(accesses: int, age: int, expected: int) -> None:
    assert hotness(np.array([accesses]), np.array([age])).tolist() == [expected]


def test_what_has_the_last_priority_within_the_quota_goes_by_address() -> None:
    page, score = np.arange(6, dtype=np.uint32), np.array([5, 9, 5, 1, 5, 9])
    expected = {0: [], 1: [1], 2: [1, 5], 3: [0, 1, 2], 5: [0, 1, 2, 4, 5], 9: [0, 1, 2, 3, 4, 5]}
    for pages, chosen in expected.items():
        assert by_priority(page, score, pages).tolist() == chosen


def test_a_count_that_stays_within_a_tenth_of_the_largest_grows_older() -> None:
    bed, policy = bed_of()
    bed.see(100, 500, 501, 502, count=20)
    bed.see(200, 500, count=18)
    assert policy._age[[500, 501, 502, 503]].tolist() == [0, 0, 0, 2], (
        "18 is within 1 of 20 no more; 0 stays 0"
    )
    bed.see(300, 500, count=19)
    assert policy._age[[500, 501]].tolist() == [1, 1]
    bed.see(400, 501, count=1)
    assert policy._age[[500, 501]].tolist() == [0, 0], "between none and some it begins anew, however few"


def test_each_scheme_takes_what_fits_its_pattern_once_a_second() -> None:
    """All but pages 10 and 20 of the fast node were accessed, and 500 and 501 of the slow one."""
    bed, policy = bed_of(room=1, free=0.05)
    bed.see(900, *sorted({*range(100), 500, 501} - {10, 20}), count=5)
    assert bed.act(999) == {}
    assert (demoted(bed), promoted(bed)) == ([], [])
    bed.act(1_000)
    assert demoted(bed) == [10, 20]
    assert promoted(bed) == [400, 401]
    assert policy._age[[10, 20, 500, 501]].tolist() == [0, 0, 0, 0]
    assert bed.machine.kernel_threads.keys() == {"damon"}
    assert policy.tracker_bytes() == 0
    assert policy.counters() == {}


def test_quotas_begin_with_a_byte_and_double_while_nothing_of_the_goal_is_reached() -> None:
    """After 12 seconds it is 4096 bytes, a page. Of the fast node nothing is in use."""
    bed, policy = bed_of(room=900)
    policy._hot_bytes = policy._cold_bytes = 0.0
    bed.machine.free_pages[0] = bed.machine.capacity_pages[0]
    for second in range(1, 12):
        bed.see(1_000 * second, *range(500, 510), count=5)
        bed.act(1_000 * second)
    assert policy._hot_bytes == 2_048
    assert promoted(bed) == []
    bed.see(12_000, *range(500, 510), count=5)
    bed.act(12_000)
    assert promoted(bed) == [400]
    assert bed.world.decisions.held_back() == {"rate": 11 * 10 + 9}
    assert policy._cold_bytes == 1.0, "far more than half a percent is free"


def test_the_goals_are_the_share_in_use_and_the_share_free() -> None:
    """Of 1,001 pages 101 are in use: 10.1 % of 99.7 %, so 1.8988 times; 89.9 % are free, far beyond 0.5 %."""
    bed, policy = bed_of(room=900)
    bed.machine.free_pages[0] = 900
    policy._hot_bytes = policy._cold_bytes = 1e6
    bed.act(1_000)
    assert policy._hot_bytes == pytest.approx(1e6 * (2 - 101 / 1_001 / 0.997))
    assert policy._cold_bytes == 1
    bed.machine.free_pages[0] = 2  # 0.2 % of them
    policy._hot_bytes = policy._cold_bytes = 1e6
    bed.act(2_000)
    assert policy._hot_bytes == pytest.approx(1e6 * (2 - 999 / 1_001 / 0.997))
    assert policy._cold_bytes == pytest.approx(1e6 * (2 - 2 / 1_001 / 0.005))


def test_no_more_than_the_quota_goes_in_a_second_the_hottest_first() -> None:
    bed, _ = bed_of(room=50, quota_pages=2)
    bed.see(100, 500, 501, count=5)
    bed.see(200, 500, count=5)
    bed.see(200, 501, count=5)  # the newest report counts
    bed.see(300, 500, 501, 502, 503, count=5)
    bed.see(400, 500, 501, 502, 503, count=5)
    policy: Damos = bed.policy  # type: ignore[assignment]
    policy._accesses[[502, 503]] = 9
    assert bed.act(1_000) == {"rate": 2}
    assert promoted(bed) == [402, 403]
    bed.act(2_000)
    assert promoted(bed) == [400, 401, 402, 403]


def test_of_what_is_not_accessed_the_oldest_goes_first() -> None:
    """Page 7 was accessed until 3.1 s ago, page 3 has not been for 6.3 s; all others are."""
    bed, policy = bed_of(quota_pages=1, free=0.05)
    policy._accesses[:100], policy._age[:100] = 5, 50
    policy._accesses[[3, 7]], policy._age[[3, 7]] = 0, [63, 31]
    bed.act(1_000)
    assert demoted(bed) == [3]
    bed, policy = bed_of(quota_pages=1, free=0.05)
    policy._accesses[:100], policy._age[:100] = 5, 50
    policy._accesses[[3, 7]], policy._age[[3, 7]] = 0, [31, 63]
    bed.act(1_000)
    assert demoted(bed) == [7]


def test_a_quota_below_a_page_moves_nothing_and_what_a_group_takes_is_carried_on() -> None:
    bed, policy = bed_of(room=50, quota_pages=0.9)
    bed.see(900, 500, count=5)
    for second in (1, 2, 3):
        bed.act(1_000 * second)
    assert promoted(bed) == []
    bed = Bed("damos", room=50, group_pages=10, quota_mb_s=4 * PAGE_MIB)
    policy = bed.policy  # type: ignore[assignment]
    policy._hot_bytes = float(1 << 30)
    bed.see(900, 500, count=5)
    for second in (1, 2):
        bed.act(1_000 * second)
        assert promoted(bed) == [], "4 and 8 of 10 real pages"
    bed.act(3_000)
    assert promoted(bed) == [400]


def test_what_finds_no_room_and_a_second_without_a_report_are_told() -> None:
    bed, _ = bed_of(room=1)
    bed.see(900, *range(100), 500, 501, count=5)
    assert bed.act(1_000) == {"free space": 1}
    assert promoted(bed) == [400]
    assert bed.act(2_000) == {"free space": 2, "nothing seen": 1}


reports = st.dictionaries(st.integers(0, PAGES - 1), st.integers(1, 20), max_size=PAGES)


@given(
    st.lists(st.lists(reports, max_size=4), max_size=20),
    st.integers(0, 6),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([1.0, 1e3, 4e3, 1e5]),
)
def test_it_does_what_its_description_says(
    seconds: list[list[dict[int, int]]], on_top: int, room: int, quota: int, first_bytes: float
) -> None:
    bed = SmallBed("damos", on_top, room, quota_mb_s=quota * PAGE_MIB)
    policy: Damos = bed.policy  # type: ignore[assignment]
    plain = DamosReference(PAGES, range(on_top), on_top + room + 1, quota)
    policy._hot_bytes = policy._cold_bytes = plain.hot_bytes = plain.cold_bytes = first_bytes
    for number, second in enumerate(seconds):
        for part, counts in enumerate(second):
            if counts:  # DAMON reports nothing where nothing was accessed
                bed.see(1_000 * number + 100 * part, counts, "damon")
                plain.report(counts)
        bed.act(1_000 * number + 1_000)
        plain.apply()
        assert policy._age.tolist() == plain.age
        assert policy._hot_bytes == pytest.approx(plain.hot_bytes)
        assert bed.on_top() == plain.fast
