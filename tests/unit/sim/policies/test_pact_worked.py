"""PACT in figures worked by hand: the stall of a sample, the width of the bins, the queue, the kernel's demotion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.pact import Pact, bin_width
from references.sim.policies.pact import PactReference


def bed_of(
    room: int = 50, waits: float = 0.0, group_pages: float = 1.0, **options: float
) -> tuple[Bed, Pact]:
    """In each slice cores wait for so many latencies of the slow node, of 271 ns, and for 100 of the fast one."""
    bed = Bed("pact", room=room, group_pages=group_pages, **options)
    wait(bed, waits)
    policy: Pact = bed.policy  # type: ignore[assignment]
    return bed, policy


def wait(bed: Bed | SmallBed, waits: float) -> None:
    bed.machine.timing.served[:] = 0
    bed.machine.timing.served[0, 1] = [4 * waits, waits, 0, waits]
    bed.machine.timing.served[0, 0] = [400, 0, 0, 100]


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("pact") == {"bins": 20, "promotions": 4096, "demotion_margin": 0, "cooling": 1.0}
    for option, least in (("bins", 2), ("promotions", 1), ("demotion_margin", 0), ("cooling", 0)):
        POLICIES.make("pact", **{option: least})
        with pytest.raises(UsageError, match=rf"pact\.{option}"):
            POLICIES.make("pact", **{option: least - 1})
    assert Pact.period_events == 400


def test_the_stall_of_a_window_is_shared_among_its_samples() -> None:
    """8 latencies of 271 ns are 2,168 ns, for 4 samples 542 each."""
    bed, policy = bed_of(waits=8)
    bed.see(1, 500, count=3)
    bed.see(2, 501, 3)
    bed.act(20)
    assert policy.criticality[[500, 501, 3]].tolist() == [1_626, 542, 0]
    assert policy.tracker_bytes() == 2 * 128


def test_a_window_takes_20_ms_and_adds_the_slices_in_it() -> None:
    bed, policy = bed_of(waits=1)
    bed.see(1, 500)
    bed.act(10)
    bed.act(19.9)
    assert policy.criticality[500] == 0
    bed.act(20)
    assert policy.criticality[500] == 3 * 271
    bed.act(39)
    bed.see(39, 500)
    bed.act(40)
    assert policy.criticality[500] == 5 * 271, "the next begins anew"


def test_a_sample_stalls_for_whole_ns_and_18_bits_at_most() -> None:
    bed, policy = bed_of(waits=1)
    bed.see(1, 500, 501)
    bed.act(20)
    assert policy.criticality[500] == 135, "271 / 2"
    wait(bed, 1e6)
    bed.see(21, 501)
    bed.act(40)
    assert policy.criticality[501] == 135 + 262_143


@pytest.mark.parametrize(("waits", "many"), [(70, 0), (71, 1)])
def test_the_last_of_20_bins_begins_at_19_widths(waits: int, many: int) -> None:
    """70 x 271 = 18,970 and 71 x 271 = 19,241, with bins of 1,000 at first."""
    bed, _ = bed_of(waits=waits)
    bed.see(1, 500)
    held = bed.act(20)
    assert len(promoted(bed)) == many
    assert held == ({} if many else {"threshold": 1})
    assert (bed.machine.thread("pact").used_ns > 0) == bool(many)


def test_the_width_is_that_of_freedman_and_diaconis() -> None:
    """Of 12 values the quartiles are the 3rd and the 9th from 0: 30 and 90. 27 pages: 2 x 60 / 3 = 40."""
    values = np.arange(0, 120, 10.0)[::-1]
    assert bin_width(values, 27, 0) == pytest.approx(40)
    assert bin_width(values, 27, 1) == bin_width(values, 27, 38) == pytest.approx(80), "27 / 38 = 0.71"
    assert bin_width(values, 27, 39) == pytest.approx(20), "27 / 39 = 0.69"
    assert bin_width(values[:3], 27, 0) == 0
    assert bin_width(np.ones(8), 27, 0) == 0


def test_the_width_of_a_run_is_that_of_its_real_pages_and_stays_where_quartiles_do_not_tell() -> None:
    """4 pages of 2 real ones; of 1,000 x 271 ns each of 3 samples in a window stalls 90,333.

    Counted were once that for 500 to 502, and one, two and three times that for 503: the quartiles are one and two
    times. 2 x 90,333 over the cube root of 8, and twice that as 503 waits for promotion.
    """
    bed, policy = bed_of(waits=1_000, group_pages=2)
    bed.see(1, 500, 501, 502)
    bed.act(20)
    assert policy.width == 1_000
    bed.see(21, 503, count=3)
    bed.act(40)
    assert policy.width == pytest.approx(2 * 90_333)


def test_the_reservoir_is_a_fair_draw() -> None:
    _, policy = bed_of()
    policy._draw(np.zeros(100), np.array([100]), 1)
    assert policy._reservoir.tolist() == [*range(1, 101)]
    policy._draw(np.full(9_900, 100.0), np.array([9_900]), 1)
    assert len(policy._reservoir) == 100
    assert policy._reservoir.max() <= 10_000
    assert 4_000 < policy._reservoir.mean() < 6_000
    assert np.count_nonzero(policy._reservoir <= 100) < 10
    policy._draw(np.full(100, 20_000.0), np.array([100]), 1)
    assert np.count_nonzero(policy._reservoir > 20_000) < 10, "a hundredth of all"


def test_as_many_as_the_limit_says_are_promoted_in_20_ms() -> None:
    bed, policy = bed_of(waits=1_000, promotions=2)
    bed.see(1, 500, 501, 502, 503, 504)
    assert bed.act(20) == {"rate": 1}, "a round in which some wait"
    assert promoted(bed) == [0, 1]
    bed.see(21, 503)
    bed.act(50)
    assert promoted(bed) == [0, 1, 2, 3, 4], "one and a half windows: 3, and 503 was in the queue before"
    assert not policy._queued.any()


def test_the_thread_promotes_what_it_has_time_for() -> None:
    """20 ms are 16,129 pages of 1,240 ns; busy for 19.9985 ms of it, it begins two."""
    bed, _ = bed_of(waits=1_000)
    bed.machine.slice_ns = 1
    bed.see(20, 500, 501, 502, 503)
    bed.machine.thread("pact").run(20e6, 20e6 - 1.5 * 1_240)
    assert bed.act(20) == {"busy": 1}
    assert promoted(bed) == [0, 1]


def test_what_finds_no_room_comes_back_with_its_next_sample() -> None:
    bed, _ = bed_of(room=1, waits=1_000)
    bed.see(1, 500, 501)
    assert bed.act(20) == {"free space": 1}
    bed.machine.free_pages[0] += 1
    bed.act(40)
    assert promoted(bed) == [0]
    bed.see(41, 501)
    bed.act(60)
    assert promoted(bed) == [0, 1]


def test_a_page_that_was_promoted_meanwhile_is_not_queued() -> None:
    bed, policy = bed_of(waits=1_000)
    bed.see(1, 500)
    bed.machine.migrate(np.array([500], np.uint32), 0, "app")
    bed.act(20)
    assert policy.criticality[500] > 0
    assert bed.machine.thread("pact").used_ns == 0
    assert not policy._queued.any()


def test_only_samples_of_the_slow_tier_count() -> None:
    bed, policy = bed_of(waits=1)
    bed.see(1, 3, count=5)
    bed.machine.demote(np.array([3], np.uint32), 0, "kswapd0")
    bed.see(2, 3)
    bed.machine.migrate(np.array([3], np.uint32), 0, "app")
    assert bed.act(20) == {}, "it is not held back either: it is on top"
    assert policy.criticality[3] == 271


def test_the_kernel_demotes_while_no_more_is_free_than_at_the_first_promotion_and_the_margin() -> None:
    """10 were free before it. 14 are fewer than 10 + 5, and 15 are not."""
    bed, _ = bed_of(demotion_margin=5)
    machine = bed.machine
    for at_ms, free, promoted_pages, demotes in (
        (1_000, 40, 0, True), (2_000, 10, 0, True), (2_999, 15, 1, True), (3_000, 15, 1, False),
        (3_999, 14, 2, False), (4_000, 14, 2, True),
    ):  # fmt: skip
        machine.ledger.promoted, machine.free_pages[0] = promoted_pages, free
        if at_ms == 1_000:
            machine.demotion_enabled = True
        bed.act(at_ms)
        assert machine.demotion_enabled == demotes, at_ms


def test_the_high_watermark_counts_as_free_at_first() -> None:
    bed, policy = bed_of()
    bed.machine.free_pages[0], bed.machine.high_pages[0] = 2, 6
    policy._balance(bed.world)
    bed.machine.ledger.promoted = 1
    for free, demotes in ((5, True), (6, False)):
        bed.machine.free_pages[0] = free
        policy._balance(bed.world)
        assert bed.machine.demotion_enabled == demotes


def test_a_margin_is_in_real_pages() -> None:
    bed, policy = bed_of(demotion_margin=8, group_pages=4)
    bed.machine.ledger.promoted, policy._free_at_first = 1, 10  # type: ignore[attr-defined]
    for free, demotes in ((11, True), (12, False)):
        bed.machine.free_pages[0] = free
        policy._balance(bed.world)
        assert bed.machine.demotion_enabled == demotes


def test_it_cools_after_200_000_samples_if_told_to() -> None:
    bed, policy = bed_of(waits=1_000, cooling=0.5)
    bed.see(1, 500, count=199_999)
    bed.act(20)
    before = policy.criticality[500]
    assert before == 199_999, "271,000 / 199,999 is 1"
    wait(bed, 0)
    bed.see(21, 501, count=1)
    bed.act(40)
    assert policy.criticality[500] == 99_999


def test_it_cools_twice_where_a_window_has_400_000_samples() -> None:
    bed, policy = bed_of(waits=1e4, cooling=0.5)
    bed.see(1, 500, count=400_000)
    bed.act(20)
    assert policy.criticality[500] == 400_000 * 6 / 4, "2,710,000 / 400,000 is 6"


def test_else_it_does_not_cool() -> None:
    bed, policy = bed_of(waits=1_000)
    bed.see(1, 500, count=200_000)
    bed.act(20)
    assert policy.criticality[500] == 200_000


def test_a_window_without_a_sample_is_told() -> None:
    bed, _ = bed_of()
    bed.see(1, 3)
    assert bed.act(20) == {"nothing seen": 1}
    assert bed.act(30) == {"nothing seen": 1}
    assert bed.act(40) == {"nothing seen": 2}


windows = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, PAGES - 1), st.integers(1, 2), max_size=PAGES), st.integers(0, 200)
    ),
    max_size=4,
)


@given(windows, st.integers(0, 6), st.integers(0, 6), st.integers(2, 6), st.integers(1, 6))
def test_it_does_what_its_description_says(
    drawn: list[tuple[dict[int, int], int]], on_top: int, room: int, bins: int, many: int
) -> None:
    bed = SmallBed("pact", on_top, room, bins=bins, promotions=many)
    bed.machine.demotion_enabled = False
    policy: Pact = bed.policy  # type: ignore[assignment]
    plain = PactReference(range(on_top), room, bins, many)
    for at, (seen, waits) in enumerate(drawn, 1):
        wait(bed, waits)
        below = {page: samples for page, samples in seen.items() if page not in plain.fast}
        bed.see(20 * at, below)
        bed.act(20 * at)
        plain.window(below, waits * 271.0)
        assert policy.width == pytest.approx(plain.width)
        assert policy.criticality.tolist() == [plain.criticality.get(page, 0) for page in range(PAGES)]
        assert policy._queue.tolist() == plain.queue
        assert bed.on_top() == plain.fast
