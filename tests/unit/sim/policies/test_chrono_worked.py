"""Chrono in figures worked by hand: two rounds, the threshold that follows demand, and the queue with its limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import MS, Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.chrono import Chrono
from references.sim.policies.chrono import ChronoReference

PAGE_MIB = 4096 / (1 << 20)


def bed_of(room: int = 50, pages_a_second: float = 7_680, **options: float) -> tuple[Bed, Chrono]:
    bed = Bed("chrono", room=room, rate_limit_mb_s=pages_a_second * PAGE_MIB, **options)
    policy: Chrono = bed.policy  # type: ignore[assignment]
    return bed, policy


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("chrono") == {"rate_limit_mb_s": 30.0, "hot_threshold_ms": 1000, "rounds": 2}
    for option, least, most in (
        ("rate_limit_mb_s", 0.0, 1e9),
        ("hot_threshold_ms", 1, 1_000_000),
        ("rounds", 1, 255),
    ):
        for value in (least, most):
            POLICIES.make("chrono", **{option: value})
        for value in (least - 1, most + 1):
            with pytest.raises(UsageError, match=f"chrono.{option}"):
                POLICIES.make("chrono", **{option: value})


def test_two_short_idle_times_in_a_row_promote() -> None:
    """500 is short twice, 501 is short, long, short, and 502 exactly at the threshold twice."""
    bed, policy = bed_of()
    bed.see(1_000, 500, 501, 502, latency_ms=1_000)
    assert bed.act(1_000) == {"threshold": 3}
    bed.see(2_000, 501, latency_ms=1_001)
    bed.see(2_000, 500, 502, latency_ms=1_000)
    bed.act(2_000)
    assert promoted(bed) == [0, 2]
    bed.see(3_000, 501, latency_ms=5)
    bed.act(3_000)
    assert promoted(bed) == [0, 2]
    bed.see(4_000, 501, latency_ms=5)
    bed.act(4_000)
    assert promoted(bed) == [0, 1, 2]
    assert policy.counters() == {"numa_hint_faults": 8, "pgpromote_candidate": 7}
    assert policy.tracker_bytes() == 4_000
    assert bed.machine.kernel_threads.keys() == {"chrono"}, "its thread, and not the program, promotes"


def test_what_was_promoted_needs_two_rounds_again() -> None:
    bed, _ = bed_of()
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, latency_ms=5)
        bed.act(at_ms)
    bed.machine.demote(np.array([500], np.uint32), 0, "kswapd0")
    bed.see(3_000, 500, latency_ms=5)
    bed.act(3_000)
    assert promoted(bed) == []


def test_the_queue_goes_at_the_rate_limit_and_saves_no_more_than_a_part_of_a_page() -> None:
    """2 pages a second."""
    bed, _ = bed_of(pages_a_second=2, rounds=1)
    bed.see(900, *range(500, 505), latency_ms=5)
    bed.act(900)
    assert promoted(bed) == [0], "1.8"
    bed.act(1_000)
    assert promoted(bed) == [0, 1], "0.8 and 0.2"
    bed.see(1_400, 503, 504, latency_ms=5)
    assert bed.act(1_400) == {"nothing seen": 1, "rate": 1}
    bed.act(5_000)
    assert promoted(bed) == [0, 1, 2, 3, 4], "each only once, though some were seen again"
    bed.see(9_000, *range(505, 510), latency_ms=5)
    bed.act(9_100)
    assert len(promoted(bed)) == 10, "the 4.1 s since the last round count"


def test_what_finds_no_room_leaves_the_queue() -> None:
    bed, policy = bed_of(room=1)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, 501, latency_ms=5)
    assert bed.act(2_000) == {"threshold": 2, "free space": 1}
    assert len(policy._queue) == 0
    bed.machine.free_pages[0] += 1
    bed.see(3_000, 501, latency_ms=5)
    bed.act(3_000)
    assert promoted(bed) == [0, 1], "it was short twice in a row before"


def judged(
    candidates: int, at_ms: int = 60_001, threshold_ms: int = 1_000, pages_a_second: float = 10
) -> int:
    """The threshold after so many faults within it; 10 pages a second are 600 in a minute."""
    _, policy = bed_of(pages_a_second=pages_a_second)
    policy._since_judged, policy.threshold_ms = candidates, threshold_ms
    policy._judge_threshold(at_ms)
    return policy.threshold_ms


def test_the_threshold_follows_the_demand() -> None:
    assert judged(661) == 900, "more than 660"
    assert judged(660) == judged(540) == 1_000
    assert judged(539) == judged(120) == 1_100
    assert judged(119) == 1_500
    assert judged(119, threshold_ms=1_400) == judged(539, threshold_ms=1_990) == 2_000, (
        "at most twice the first"
    )
    assert judged(661, threshold_ms=2) == judged(661, threshold_ms=1) == 1
    assert judged(119, threshold_ms=5) == 15, "by 10 ms at least"
    assert judged(539, threshold_ms=5) == 6
    assert judged(661, at_ms=1) == 900, "at once, if there are too many"
    assert judged(0, at_ms=60_000) == 1_000, "else after a minute"


def test_each_judgement_counts_anew() -> None:
    _, policy = bed_of(pages_a_second=10)
    policy._since_judged = 661
    policy._judge_threshold(5_000)
    assert (policy._since_judged, policy._judged_ms) == (0, 5_000)
    policy._judge_threshold(65_000)
    assert policy.threshold_ms == 900
    policy._judge_threshold(65_001)
    assert policy.threshold_ms == 1_350


def test_a_slice_is_judged_before_its_own_faults() -> None:
    bed, policy = bed_of(pages_a_second=0.01)  # 0.6 in a minute
    bed.see(1_000, 500, latency_ms=1_000)
    assert (policy.threshold_ms, policy._since_judged) == (1_000, 1)
    bed.see(2_000, 500, latency_ms=901)
    assert policy.threshold_ms == 900
    assert policy._short[500] == 0


def test_a_round_in_which_nothing_faulted_is_told_and_kswapd_works() -> None:
    bed, _ = bed_of(room=0)
    machine = bed.machine
    bed.policy.start(bed.world)
    assert machine.demotion_enabled
    machine.generations.sequence = 5
    bed.see(100, 500)  # no fault
    assert bed.act(100) == {"nothing seen": 1}
    assert np.count_nonzero(machine.place[:100] == 1) > 0


def test_the_thread_moves_as_many_as_it_has_time_for() -> None:
    """The slice lasts as long as 1.5 pages take, so two are begun."""
    bed, _ = bed_of(rounds=1)
    bed.see(1_000, *range(500, 505), latency_ms=5)
    bed.machine.slice_ns = 1.5 * 1_240
    bed.act(1_000)
    assert promoted(bed) == [0, 1]
    bed.machine.slice_ns = MS
    bed.act(1_001)
    assert promoted(bed) == [0, 1, 2, 3, 4]


steps = st.lists(
    st.tuples(
        st.integers(1, 40_000),
        st.dictionaries(st.integers(0, PAGES - 1), st.integers(0, 2_500), max_size=PAGES),
    ),
    max_size=20,
)


@given(
    steps, st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.01, 0.1, 1.0, 50.0]), st.integers(1, 3)
)
def test_it_does_what_its_description_says(
    drawn: list[tuple[int, dict[int, int]]], on_top: int, room: int, rate: float, rounds: int
) -> None:
    bed = SmallBed("chrono", on_top, room, rate_limit_mb_s=rate * PAGE_MIB, rounds=rounds)
    bed.machine.demotion_enabled = False
    policy: Chrono = bed.policy  # type: ignore[assignment]
    plain = ChronoReference(range(on_top), room, rate, 1_000, rounds)
    at_ms = 0
    for passed, drawn_idle in drawn:
        at_ms += passed
        idle = {page: ms for page, ms in drawn_idle.items() if page not in plain.fast}
        bed.fault(at_ms, idle)
        bed.act(at_ms)
        if idle:
            plain.fault(at_ms, idle)
        plain.act(at_ms)
        assert policy.threshold_ms == plain.threshold
        assert policy._queue.tolist() == plain.queue
        assert bed.on_top() == plain.fast
