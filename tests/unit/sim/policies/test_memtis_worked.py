"""MEMTIS in figures worked by hand: bins, thresholds, cooling, and whom a round demotes and promotes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.machine.movers import ONE_THREAD
from pghot.sim.policies import POLICIES
from pghot.sim.policies.memtis import Memtis, bins, thresholds
from references.sim.policies.memtis import MemtisReference


def bed_of(room: int = 0, group_pages: float = 512, **options: float) -> tuple[Bed, Memtis]:
    bed = Bed("memtis", room=room, group_pages=group_pages, **options)
    policy: Memtis = bed.policy  # type: ignore[assignment]
    return bed, policy


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("memtis") == {
        "cooling_samples": 2_000_000, "adaptation_samples": 100_000, "period_ms": 500.0, "warm_below": 0.75,
    }  # fmt: skip
    for option, least in (
        ("cooling_samples", 1),
        ("adaptation_samples", 1),
        ("period_ms", 1.0),
        ("warm_below", 0.0),
    ):
        POLICIES.make("memtis", **{option: least})
        with pytest.raises(UsageError, match=f"memtis.{option}"):
            POLICIES.make("memtis", **{option: least - 1})
    with pytest.raises(UsageError, match="warm_below"):
        POLICIES.make("memtis", warm_below=1.1)


def test_bins_begin_at_powers_of_two_less_one() -> None:
    counts = np.array([0, 1, 2, 3, 6, 7, 14, 15, 32_766, 32_767, 1 << 40])
    assert bins(counts).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 14, 15, 15]


def histogram(**pages: int) -> np.ndarray:
    """Pages by the name of their bin: b3=10."""
    found = np.zeros(16, np.int64)
    for name, count in pages.items():
        found[int(name[1:])] = count
    return found


@pytest.mark.parametrize(
    ("pages", "fits", "expected"),
    [
        ({"b5": 40, "b4": 40, "b3": 40}, 100, (4, 4)),  # 80 of 100 are hot, more than 75
        ({"b5": 40, "b4": 30, "b3": 40}, 100, (4, 3)),  # 70 are less: bin 3 is warm
        ({"b5": 40, "b4": 60, "b3": 1}, 100, (4, 4)),  # exactly full
        ({"b5": 40, "b4": 61, "b3": 1}, 100, (5, 4)),
        (
            {"b2": 10, "b0": 500},
            100,
            (1, 0),
        ),  # bins 1 to 2 fit, with room for more: what was seen once is warm
        ({"b2": 10, "b0": 80}, 100, (1, 1)),  # all fits
        ({"b15": 101}, 100, (15, 14)),  # not even the hottest fit
    ],
)
def test_hot_is_the_lowest_bin_from_which_on_all_fits(
    pages: dict[str, int], fits: int, expected: tuple[int, int]
) -> None:
    assert thresholds(histogram(**pages), fits, 0.75) == expected


def test_counts_are_halved_after_each_2_million_samples() -> None:
    bed, policy = bed_of()
    bed.see(1, 500, count=1_999_998)
    bed.see(2, 501)
    assert policy.count[[500, 501]].tolist() == [1_999_998, 1]
    bed.see(3, 501)
    assert policy.count[[500, 501]].tolist() == [999_999, 1], (
        "2 is halved with the sample that completes the period"
    )
    bed.see(4, 502, count=4_000_000)
    assert policy.count[[500, 502]].tolist() == [249_999, 1_000_000], "two periods at once: halved twice"


def test_a_page_of_the_lab_stands_for_many_whose_samples_count_too() -> None:
    """Pages of 4 MiB: each sample is one of two huge pages. Pages of 4 KiB: 512 share a unit, each sample is one."""
    _, policy = (bed := bed_of(group_pages=1024))
    bed[0].see(1, 500, count=1_000_000)
    assert policy.count[500] == 500_000
    _, policy = (bed := bed_of(group_pages=1))
    bed[0].see(1, 500, 511, 512, count=3)
    assert policy.count.tolist() == [6, 3]


def test_the_thresholds_follow_the_histogram_of_what_is_placed_after_100_000_samples() -> None:
    """The node has 101 pages, of which 3 stay free: 98 fit. 60 pages with 3 samples, 50 with 1: bin 2 is hot."""
    bed, policy = bed_of(adaptation_samples=230)
    bed.machine.place[:20] = 255  # their program is gone
    policy.count[:20] = 1_000
    bed.see(1, *range(100, 160), count=3)
    bed.see(2, *range(160, 209))
    assert (policy.hot, policy.warm) == (1, 1), "229 samples"
    bed.see(3, 209)
    assert (policy.hot, policy.warm) == (2, 1), "60 are less than 73.5: bin 1 is warm"


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def demoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[:100] == 1).tolist()  # type: ignore[no-any-return]


def test_a_round_makes_room_of_cold_pages_for_the_hot_ones_and_3_percent_beyond() -> None:
    """1 page is free. 4 hot ones and the 3 that stay free need 6 more; 5 of those there are cold."""
    bed, policy = bed_of(period_ms=500)
    policy.count[:100] = 7
    policy.count[[10, 20, 30, 40, 50]] = [0, 1, 2, 1, 0]
    policy.hot = policy.warm = 2
    bed.see(100, 500, 501, 502, 503, count=3)
    bed.see(100, 504, count=2)
    assert bed.act(499) == {"threshold": 1}
    assert bed.act(500) == {"threshold": 1, "free space": 1}
    assert demoted(bed) == [10, 20, 30, 40, 50]
    assert promoted(bed) == [400, 401, 402]
    assert bed.machine.kernel_threads.keys() == {"memtis"}
    assert bed.act(999) == {"threshold": 1, "free space": 1}
    assert bed.act(1_000) == {"threshold": 1, "free space": 2, "nothing seen": 1}


def test_only_as_many_cold_pages_go_as_are_needed_and_no_warm_ones() -> None:
    """10 are free: 8 hot pages and 3 need 1 more. Page 0 is warm, so page 1 goes."""
    bed, policy = bed_of(room=9)
    policy.count[0] = 1
    policy.hot, policy.warm = 2, 1
    bed.see(100, *range(500, 508), count=3)
    bed.act(500)
    assert demoted(bed) == [1]
    assert promoted(bed) == list(range(400, 408))


@pytest.mark.parametrize(("free", "gone"), [(3, 0), (2, 0), (1, 2)])
def test_with_nothing_to_promote_demotion_starts_below_2_percent_and_frees_3(free: int, gone: int) -> None:
    """2 and 3 of 101 pages."""
    bed, _ = bed_of(room=0)
    bed.machine.free_pages[0] = free
    bed.act(500)
    assert len(demoted(bed)) == gone


def test_at_most_1000_mb_stay_free() -> None:
    """3 % of 101 pages of 2 GiB are 3 of them; 1000 MB are less than one."""
    _, policy = (bed := bed_of(group_pages=1 << 19))
    assert policy._free(bed[0].world, 0.03) == 0
    _, policy = (bed := bed_of(group_pages=512))
    assert policy._free(bed[0].world, 0.03) == 3


def test_the_thread_moves_as_many_as_it_has_time_for() -> None:
    """It is busy but for 3.5 pages of the 500 ms until its next round. To make room takes of that time too."""
    bed, policy = bed_of(room=90)
    policy.count[500:550] = 7
    policy._seen = 1
    bed.machine.slice_ns = 1.0
    bed.machine.thread("memtis").run(
        0.0, 1e6 * 1_000 / 512 - 3.5 * bed.machine.move_costs.thread_ns(ONE_THREAD, 1.0)[0]
    )
    bed.act(500)
    assert len(promoted(bed)) == 4
    assert bed.world.decisions.held_back() == {"busy": 46}
    bed, policy = bed_of(room=2)
    policy.count[500:550] = 7
    policy._seen = 1
    bed.machine.slice_ns = 1.0
    bed.machine.thread("memtis").run(
        0.0, 1e6 * 1_000 / 512 - 3.5 * bed.machine.move_costs.thread_ns(ONE_THREAD, 1.0)[0]
    )
    bed.act(500)
    assert (len(demoted(bed)), len(promoted(bed))) == (4, 0)


reports = st.dictionaries(st.integers(0, PAGES - 1), st.integers(1, 9), max_size=PAGES)


@given(
    st.lists(st.tuples(reports, st.booleans()), max_size=15),
    st.integers(0, 6),
    st.integers(0, 5),
    st.integers(1, 60),
    st.integers(1, 20),
)
def test_it_does_what_its_description_says(
    slices: list[tuple[dict[int, int], bool]], on_top: int, room: int, cooling: int, adaptation: int
) -> None:
    bed = SmallBed(
        "memtis", on_top, room, group_pages=512.0, cooling_samples=cooling, adaptation_samples=adaptation
    )
    plain = MemtisReference(PAGES, range(on_top), on_top + room + 1, 1, cooling, adaptation)
    at_ms = 0
    for sampled, round_due in slices:
        at_ms += 500 if round_due else 1
        bed.see(at_ms, sampled)
        plain.see(sampled)
        policy: Memtis = bed.policy  # type: ignore[assignment]
        assert policy.count.tolist() == list(plain.samples.values())
        assert (policy.hot, policy.warm) == (plain.hot, plain.warm)
        if round_due:
            bed.act(at_ms)
            plain.migrate()
            assert bed.on_top() == plain.fast
