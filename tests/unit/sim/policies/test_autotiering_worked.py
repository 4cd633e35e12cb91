"""AutoTiering in figures worked by hand: levels of 8 scans, what goes for a page that faults, and who pays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import pghot
from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.lab.workloads.workload_files import make_workload
from pghot.sim.policies import POLICIES
from pghot.sim.policies.autotiering import AutoTiering, exchanged
from references.sim.policies.autotiering import AutoTieringReference


def bed_of(room: int = 0, **options: float) -> tuple[Bed, AutoTiering]:
    """`room` pages fit above the high watermark. A scan has just found every page accessed."""
    bed = Bed("autotiering", room=50, **options)
    bed.machine.high_pages[0] = bed.machine.free_pages[0] - room
    policy: AutoTiering = bed.policy  # type: ignore[assignment]
    policy.scans[:] = 1
    return bed, policy


def moved(bed: Bed) -> tuple[list[int], list[int]]:
    """Pages that came up, and that went down."""
    up, down = bed.machine.place[100:] == 0, bed.machine.place[:100] == 1
    return (np.flatnonzero(up) + 100).tolist(), np.flatnonzero(down).tolist()


def scan(policy: AutoTiering, *accessed: int) -> None:
    """A scan comes to all pages, and finds these accessed."""
    policy.history[:] = policy.history << 1
    policy.history[list(accessed)] |= 1
    policy.scans[:] += 1


def test_the_option() -> None:
    assert POLICIES.options("autotiering") == {"opportunistic": True}


def test_the_first_fault_promotes_down_to_the_high_watermark() -> None:
    bed, policy = bed_of(room=2)
    bed.see(1_000, 500, 501, 502, latency_ms=5)
    assert moved(bed) == ([500, 501], [])
    assert bed.world.decisions.held_back() == {"threshold": 1}, "no page there has a lower level"
    assert policy.counters() == {"numa_hint_faults": 3, "pgpromote_candidate": 2}
    assert policy.tracker_bytes() == 32_000


def test_beyond_it_a_page_of_a_lower_level_goes_for_one_that_faults() -> None:
    """Page 500 was accessed in 4 of 8 scans, 501 in 2; on top 7 in 3, 8 in 2, and the others in 8."""
    bed, policy = bed_of()
    policy.history[[500, 501, 7, 8]] = [0b1111, 0b11, 0b111, 0b11]
    bed.see(1_000, 500, latency_ms=5)
    assert moved(bed) == ([500], [8])
    bed.see(1_001, 501, 502, latency_ms=5)
    assert moved(bed) == ([500, 502], [7, 8]), "3 is not below 2, but below the 8 of page 502"
    bed.see(1_002, 503, latency_ms=5)
    assert moved(bed) == ([500, 502], [7, 8])
    assert bed.world.decisions.held_back() == {"threshold": 2}


def test_the_conservative_one_demotes_nothing() -> None:
    bed, policy = bed_of(room=1, opportunistic=False)
    policy.history[7] = 0
    bed.see(1_000, 500, 501, latency_ms=5)
    assert moved(bed) == ([500], [])
    assert bed.world.decisions.held_back() == {"free space": 1}


def test_of_a_level_what_the_last_scan_found_untouched_goes_first() -> None:
    bed, policy = bed_of()
    policy.history[[3, 4, 5]] = [0b1, 0b10, 0b1]
    bed.see(1_000, 500, 501, latency_ms=5)
    assert moved(bed) == ([500, 501], [3, 4])


def test_a_lower_level_goes_first_though_it_was_touched_last() -> None:
    bed, policy = bed_of()
    policy.history[[2, 3]] = [0b110, 0b1]
    bed.see(1_000, 500, latency_ms=5)
    assert moved(bed) == ([500], [3])


def test_a_page_that_went_and_came_back_since_the_last_scan_does_not_go_again() -> None:
    bed, policy = bed_of()
    policy.history[[8, 9]] = [0b11, 0b111]
    bed.see(1_000, 500, latency_ms=5)
    bed.machine.high_pages[0] -= 1
    bed.see(1_001, 8, latency_ms=5)
    assert moved(bed) == ([500], [])
    bed.see(1_002, 501, latency_ms=5)
    assert moved(bed) == ([500, 501], [9])


def test_a_page_that_came_since_the_last_scan_does_not_go() -> None:
    bed, policy = bed_of(room=1)
    policy.history[500] = 0
    bed.see(1_000, 500, latency_ms=5)
    bed.see(1_001, 501, latency_ms=5)
    assert moved(bed) == ([500], [])
    scan(policy, *range(100), 501)
    bed.see(1_003, 501, latency_ms=5)
    assert moved(bed) == ([501], [])
    assert bed.machine.place[500] == 1


def test_what_no_scan_came_to_is_not_demoted() -> None:
    bed, policy = bed_of()
    policy.history[[7, 8]] = [0, 1]
    policy.scans[7] = 0
    bed.see(1_000, 500, latency_ms=5)
    assert moved(bed) == ([500], [8])


def test_in_a_run_of_the_lab_the_history_is_the_scanners() -> None:
    """A quarter on top, where one page in ten is touched: the others go."""
    trace = make_workload(
        "gups", 0, footprint="16 MiB", slices=200, accesses_per_slice=20_000, hot_traffic="99%"
    )
    result = pghot.compare(
        trace, policies=["autotiering"], fast_share=0.25, times=100.0, threads=1, duration_s=None, seeds=1
    )
    (row,) = [row for row in result.summary.to_pylist() if row["policy"] == "autotiering"]
    assert row["demotions"] > 0


def test_the_program_pays_in_its_fault_and_flushes_for_what_goes_down() -> None:
    """930 ns to remap either way; what goes down is mapped, so 4,000 ns for a flush, and 1,000 for an interrupt."""
    bed, policy = bed_of()
    policy.history[3] = 0
    bed.see(1_000, 500, latency_ms=5)
    assert moved(bed) == ([500], [3])
    assert bed.machine.ledger.moving_app_ns == 2 * 930 + 5_000
    assert bed.machine.kernel_threads == {}


def test_each_that_takes_a_place_has_a_higher_level_than_the_first_that_is_left() -> None:
    def pairs(level: list[int], cold: list[int]) -> list[int]:
        return exchanged(np.array(level, np.uint8), np.array(cold, np.uint8)).tolist()

    assert pairs([3, 1, 5], [0, 2, 4]) == [0, 2]
    assert pairs([1, 3, 3, 5], [0, 2, 4]) == [0, 1, 3]
    assert pairs([8, 8], [0]) == [0]
    assert pairs([], [0]) == pairs([2], []) == pairs([2], [2]) == []


def test_a_round_in_which_nothing_faulted_below_is_told() -> None:
    bed, _ = bed_of()
    bed.see(100, 3, latency_ms=5)
    assert bed.act(100) == {"nothing seen": 1}


steps = st.lists(
    st.tuples(st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES), st.booleans()), max_size=25
)


@given(steps, st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_it_does_what_its_description_says(
    drawn: list[tuple[list[int], bool]], on_top: int, free: int, opportunistic: bool
) -> None:
    bed = SmallBed("autotiering", on_top, 8, opportunistic=opportunistic)
    machine = bed.machine
    machine.high_pages[0] = machine.free_pages[0] - free
    policy: AutoTiering = bed.policy  # type: ignore[assignment]
    plain = AutoTieringReference(PAGES, range(on_top), free, opportunistic)
    for at, (pages, scanned) in enumerate(drawn, 1):
        bed.fault(1_000 * at, dict.fromkeys(pages, 5))
        plain.faults(pages)
        assert bed.on_top() == plain.fast
        bed.act(1_000 * at)
        if scanned:
            scan(policy, *plain.accessed)
            plain.scan()
