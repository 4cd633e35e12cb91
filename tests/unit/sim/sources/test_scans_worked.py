"""The scanning sources on a few pages, worked by hand: marks and faults, walks of A-bits, hot lists."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.arrays import NOWHERE
from pghot.errors import UsageError
from pghot.sim.sources import SOURCES, clairvoyant
from pghot.sim.sources.abit import AbitScan, harvest_abits, set_abits
from pghot.sim.sources.chmu import Chmu, count_misses, fill_hot_list
from pghot.sim.sources.hintfaults import Faults, HintFaults, take_faults
from pghot.sim.sources.numa_scanner import (
    MAX_SCAN_WINDOW,
    UNMARKED,
    UNREACHED,
    mark_pages,
    note_scan,
    resident,
)
from pghot.sim.sources.simulated_source import SliceView, SourceSettings
from pghot.sim.sources.truth import Truth

LOWER = np.array([False, True])
MIB = 1 << 20


def u32(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def view(
    touched: dict[int, int], now_ms: float, dt_ms: float = 1.0, pages: int = 20, on_top: tuple[int, ...] = ()
) -> SliceView:
    """All pages on node 1, the slow one, except those `on_top`; every touch misses."""
    page = u32(*sorted(touched))
    touches = u32(*(touched[each] for each in sorted(touched)))
    place = np.ones(pages, np.uint8)
    place[list(on_top)] = 0
    return SliceView(
        page, touches, touches, 0 * touches, 0 * touches, np.zeros(len(page), np.int16), place, LOWER, now_ms,
        dt_ms * 1e6, 1, 0,
    )  # fmt: skip


# ---- hint faults


def test_marks_go_round_and_pass_over_what_is_marked_on_top_nowhere_or_unreached() -> None:
    place = np.array([1, 0, NOWHERE, 1, 1, 1], np.uint8)
    mark = np.array([UNMARKED, UNMARKED, UNMARKED, 7, UNREACHED, UNMARKED], np.int32)
    everything = u32(*range(6))
    assert mark_pages(mark, everything, place, LOWER, 4, 3, 50) == (1, 2)
    assert mark.tolist() == [50, -1, -1, 7, -2, 50]
    assert mark_pages(mark, everything, place, LOWER, 1, 5, 60) == (0, 0)
    mark[0] = UNMARKED
    assert mark_pages(mark, everything, place, LOWER, 0, 99, 70) == (0, 1), "a pass at most"


def test_pages_that_are_on_a_node_are_resident() -> None:
    assert resident(u32(0, 1, 2, 3, 4), np.array([0, 255, 1, 254, 255], np.uint8)) == 3
    assert resident(u32(1, 2), np.array([0, 255, 1, 254, 255], np.uint8)) == 1
    assert resident(u32(), np.empty(0, np.uint8)) == 0


def test_a_slice_of_days_takes_a_bounded_number_of_scan_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^30 ms are 12 days, in which the kernel takes ten million steps: after the first, all is marked."""
    source = HintFaults(SourceSettings(20, 4096, 2), scan_delay_ms=0.0)
    taken = []
    (scanner,) = source.scanners
    step = scanner.step
    monkeypatch.setattr(scanner, "step", lambda *given: taken.append(given) or step(*given))
    source.observe(view({}, float(1 << 30), float(1 << 30)))
    assert len(taken) == 1024
    assert source.counters()["numa_pte_updates"] == 20
    # On time again, and no page was lost: all fault in the next slice.
    seen = source.observe(view(dict.fromkeys(range(20), 3), (1 << 30) + 50.0, 50.0)).accesses
    assert seen.page.tolist() == list(range(20))
    assert len(taken) == 1024


def faults(
    page: list[int], touches: list[int], mark: list[int], place: list[int]
) -> tuple[list[list[int]], list[int]]:
    """Faults of a slice from 100 to 120 ms; the rows come from nodes 5, 6, 7 ... in order."""
    marks, out = np.array(mark, np.int32), Faults.sized(len(page))
    many = take_faults(
        u32(*page), u32(*touches), np.arange(5, 5 + len(page)).astype(np.int16), marks,
        np.array(place, np.uint8), LOWER, 100.0, 120.0, *out,
    )  # fmt: skip
    return [column[:many].tolist() for column in out], marks.tolist()


def test_the_first_of_n_touches_faults_after_a_part_of_the_slice() -> None:
    """Of one touch after a half of 20 ms, of three after a quarter. Marked at 90, 100 and 112 ms."""
    assert faults([0, 1, 2], [1, 3, 1], [90, 100, 112], [1, 1, 1]) == (
        [[0, 1, 2], [5, 6, 7], [20, 5, 0]],
        [-1] * 3,
    )
    assert faults([0], [1], [0], [1])[0] == [[0], [5], [110]]


def test_no_fault_of_what_is_not_marked_not_touched_or_moved_up() -> None:
    found, marks = faults([0, 1, 2, 3, 4], [1, 0, 1, 1, 1], [-1, 90, 90, 90, -2], [1, 1, 0, NOWHERE, 1])
    assert found == [[], [], []]
    assert marks == [-1, 90, -1, -1, -2]


def test_of_several_nodes_one_faults_in_proportion_to_its_touches() -> None:
    """Page 1, marked at 2: (1 + 2) x 2654435761 >> 8 = 31106669, and that modulo 4 is 1; of 10 touches 9."""
    assert 3 * 2_654_435_761 >> 8 == 31_106_669
    assert faults([1, 1], [1, 3], [-1, 2], [1, 1])[0][:2] == [[1], [6]]
    assert faults([1, 1], [2, 2], [-1, 2], [1, 1])[0][:2] == [[1], [5]]
    assert faults([1, 1, 1], [4, 5, 1], [-1, 2], [1, 1])[0][:2] == [[1], [7]]
    assert faults([1, 1, 1], [0, 5, 5], [-1, 2], [1, 1])[0] == [[1], [7], [int(100 + 20 / 11 - 2)]]


@pytest.mark.parametrize(
    ("gib", "least_ms", "most_ms"),
    [(0.1, 1_000, 60_000), (0.25, 1_000, 60_000), (0.3, 500, 30_000), (100, 100, 150)],
)
def test_a_pass_takes_its_time_but_a_step_at_least_100_ms(
    gib: float, least_ms: float, most_ms: float
) -> None:
    """400 steps in 1 s would be 2.5 ms; and 60 s by 400 are 150."""
    assert MAX_SCAN_WINDOW == 2_560 * MIB
    source = HintFaults(SourceSettings(20, 4096, 2))
    assert source.scanners[0].periods(int(gib * 262_144)) == (least_ms, most_ms)
    assert HintFaults(SourceSettings(20, 4096, 2), scan_bytes=8 << 30).scanners[0].periods(1) == (
        1_000,
        60_000,
    )


def test_a_step_costs_its_marks_a_flush_and_time_away() -> None:
    """20 pages at 44 ns and a flush of 4,000 ns with an interrupt on each of two threads. The next step is 32 x 880 ns
    later than the period, by two threads: 1,000 ms + 0.01408."""
    source = HintFaults(SourceSettings(20, 4096, 2, threads=2), scan_delay_ms=0.0)
    assert source.observe(view({}, 1.0)).app_ns == 20 * 44 + 4_000 + 2 * 1_000
    assert source.scanners[0].next_ms == pytest.approx(1_000 + 32 * 880e-6 / 2)
    assert source.observe(view({3: 1, 4: 1}, 2.0)).app_ns == 2 * 1_200
    assert source.tracker_bytes() == 0
    assert source.sampling() == (
        "256 MiB of address space marked at a time, a pass in 1 to 60 s but at most 2.5 GiB a second; "
        "one fault for each marked page"
    )


def test_periods_halve_after_faults_and_double_without() -> None:
    source = HintFaults(SourceSettings(20, 4096, 2), scan_delay_ms=0.0, period_max_ms=3_000.0, backoff=0.0)
    source.observe(view({}, 1.0))
    seen = []
    for now_ms, touched in ((1_000.5, {}), (3_000.5, {}), (6_000.5, {1: 1}), (9_000.5, {})):
        source.observe(view(touched, now_ms))  # type: ignore[arg-type]
        seen.append((source.scanners[0].period_ms, source.scanners[0].next_ms))
    assert seen == [(2_000, 3_000), (3_000, 6_000), (1_500, 7_500), (3_000, 10_500)]


def step(source: HintFaults, on_top: tuple[int, ...] = ()) -> int:
    return source.scanners[0].step(1, source._mark_ms, view({}, 1.0, on_top=on_top).place, LOWER)


def test_a_step_of_part_of_a_page_is_carried_and_empty_parts_are_skipped_eight_times() -> None:
    """Steps of 1 MiB, where a page stands for 1,000 of 4 KiB: 0.256 of a page."""
    source = HintFaults(SourceSettings(20, 4096, 2, group_pages=1_000.0), scan_bytes=MIB)
    marked = [step(source) for _ in range(8)]
    assert marked == [0, 0, 0, 1, 0, 0, 0, 1]
    source = HintFaults(SourceSettings(20, 4096, 2), scan_bytes=2 * 4096)
    top = tuple(range(15))
    assert step(source, top) == 1, "of the eighth part, 14 and 15, one is below the top"
    assert source.scanners[0].cursor == 16
    source = HintFaults(SourceSettings(20, 4096, 2), scan_bytes=2 * 4096, empty_span=7)
    assert step(source, top) == 0


def test_each_address_space_has_a_scanner_of_its_own() -> None:
    """A page is 64 MiB, so a step marks four. 15 of them are four steps, of 250 ms at least; five are two, of 500 ms.
    The page that faults is the first one's: its period halves to 250 ms, the other's doubles."""
    spaces = (u32(*range(15)), u32(19, 18, 17, 16, 15))
    settings = SourceSettings(20, 4096, 2, group_pages=16_384.0, threads=4, spaces=spaces)
    source = HintFaults(settings, scan_delay_ms=0.0, backoff=0.0, mark_ns=0.0)
    first, second = source.scanners
    report = source.observe(view({}, 0.5, 0.5 / 16_384))
    assert source.counters()["numa_pte_updates"] == 8, "256 MiB of each"
    assert np.flatnonzero(source._mark_ms != UNMARKED).tolist() == [0, 1, 2, 3, 16, 17, 18, 19]
    assert report.app_ns == pytest.approx(2 * (4_000 + 2 * 1_000) / 16_384), (
        "two of the threads are interrupted"
    )
    assert (first.next_ms, second.next_ms) == (500, 500)
    source.observe(view({2: 9}, 500.5, 500.0 / 16_384))
    assert (first.period_ms, second.period_ms) == (250, 1_000)
    assert [first.updates, second.updates] == [8, 5], "of the second only one was not marked"


def test_faults_come_in_the_order_of_the_scan() -> None:
    """Seed 1 begins at page 12 of 20."""
    source = HintFaults(SourceSettings(20, 4096, 2, seed=1), scan_delay_ms=0.0)
    source.observe(view({}, 1.0))
    seen = source.observe(view({3: 1, 12: 1, 15: 1}, 2.0)).accesses
    assert seen.page.tolist() == [12, 15, 3]
    assert seen.hint_fault
    assert seen.count.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("every_tier", "sees", "faulting"), [(False, "lower", [3]), (True, "any", [3, 12])])
def test_pages_of_the_top_tier_fault_too_if_asked(every_tier: bool, sees: str, faulting: list[int]) -> None:
    source = HintFaults(SourceSettings(20, 4096, 2), scan_delay_ms=0.0, every_tier=every_tier)
    assert source.sees == sees
    source.observe(view({}, 1.0, on_top=(12,)))
    assert source.counters()["numa_pte_updates"] == (20 if every_tier else 19)
    assert source.observe(view({3: 1, 12: 1}, 2.0, on_top=(12,))).accesses.page.tolist() == faulting


def test_a_scan_shifts_in_whether_a_page_was_accessed_since_the_last_one() -> None:
    """Two pages a step, of 5: 0 stays marked, 1 and 2 are not; 3 is on no node, and no scan reached 4."""
    place = np.array([1, 0, 1, NOWHERE, 1], np.uint8)
    mark = np.array([7, UNMARKED, UNMARKED, UNMARKED, UNREACHED], np.int32)
    history, scans = np.full(5, 0xFF, np.uint8), np.zeros(5, np.uint32)
    note_scan(history, scans, mark, np.arange(5, dtype=np.uint32), place, 0, 2)
    assert (history.tolist(), scans.tolist()) == ([0xFE, 0xFF, 0xFF, 0xFF, 0xFF], [1, 1, 0, 0, 0])
    note_scan(history, scans, mark, np.arange(5, dtype=np.uint32), place, 2, 4)
    assert (history.tolist(), scans.tolist()) == ([0xFC, 0xFF, 0xFF, 0xFF, 0xFF], [2, 1, 1, 0, 0])
    note_scan(history, scans, mark, u32(0, 2), place, 1, 99)
    assert scans.tolist() == [3, 1, 2, 0, 0], "a pass at most, over the pages of the address space"


def test_the_scanner_keeps_the_history_where_it_marks_every_tier() -> None:
    """Page 3 faults between the two passes, and the others do not."""
    source = HintFaults(
        SourceSettings(20, 4096, 2), scan_delay_ms=0.0, period_max_ms=1_000.0, every_tier=True
    )
    source.observe(view({}, 1.0, on_top=(12,)))
    assert (source.scans == 1).all()
    source.observe(view({3: 1}, 2.0, on_top=(12,)))
    source.observe(view({}, 1_002.0, on_top=(12,)))
    assert (source.scans == 2).all()
    assert source.history[[3, 4, 12]].tolist() == [0xFF, 0xFE, 0xFE]
    other = HintFaults(SourceSettings(20, 4096, 2), scan_delay_ms=0.0)
    other.observe(view({}, 1.0))
    assert not other.scans.any()


def test_mappings_are_reached_one_after_the_other() -> None:
    """Two processes of 10 pages and five idle mappings: 5,000 ms by 0.618 and 0.236 after the first step."""
    source = HintFaults(SourceSettings(20, 4096, 2), scan_delay_ms=1_000.0, processes=2, idle_mappings=5)
    source.observe(view({}, 0.0, 0.0))
    for scanned_ms, marks in ((1_180, 0), (1_181, 10), (3_090, 10), (3_091, 20)):
        source._reach(float(scanned_ms))
        assert np.count_nonzero(source._mark_ms == UNMARKED) == marks
    assert not source._unreached


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("scan_bytes", 4096, None), ("scan_delay_ms", 0.0, None), ("period_min_ms", 1.0, 60_000.0),
        ("period_max_ms", 1_000.0, None), ("empty_span", 1, 1_024), ("processes", 1, 1 << 16),
        ("idle_mappings", 0, 1 << 16), ("backoff", 0.0, None), ("fault_ns", 0.0, 1e9), ("mark_ns", 0.0, 1e9),
    ],
)  # fmt: skip
def test_limits_of_hint_faults(option: str, least: float, most: float | None) -> None:
    settings = SourceSettings(20, 4096, 2)
    for value in (least, most):
        if value is not None:
            SOURCES.make("hintfaults", settings, **{option: value})
    for value in (least - 1, None if most is None else most + 1):
        if value is not None:
            with pytest.raises(UsageError, match="hintfaults.period_m" if "period" in option else option):
                SOURCES.make("hintfaults", settings, **{option: value})


# ---- A-bits


def test_bits_are_set_below_the_top_and_cleared_by_the_walk() -> None:
    place, bits, out = (
        np.array([0, 1, NOWHERE, 1, 1], np.uint8),
        np.zeros(5, np.uint8),
        np.zeros(5, np.uint32),
    )
    set_abits(u32(0, 1, 2, 3), u32(1, 1, 1, 0), place, LOWER, bits)
    assert bits.tolist() == [0, 1, 0, 0, 0]
    bits[4] = 1
    assert harvest_abits(bits, place, LOWER, out) == (3, 2)
    assert (out[:2].tolist(), bits.tolist()) == ([1, 4], [0] * 5)


def test_a_walk_costs_its_pages_and_the_bits_that_are_set_again() -> None:
    """17 pages below the top at 25 ns; two that were touched at 200 ns. Seed 1 begins at page 12."""
    source = AbitScan(SourceSettings(20, 4096, 2, seed=1), period_ms=100.0)
    assert source.observe(view({3: 1}, 50.0, 50.0)).kernel_ns == 0
    report = source.observe(view({0: 1, 13: 5}, 100.0, 50.0, on_top=(0, 1, 2)))
    assert report.accesses.page.tolist() == [13, 3]
    assert (report.accesses.node.tolist(), report.accesses.count.tolist()) == ([-1, -1], [1, 1])
    assert (report.kernel_ns, report.app_ns) == (17 * 25, 2 * 200)
    assert source.sampling() == "one bit for a page, read every 100 kernel ms"
    assert source.tracker_bytes() == 0
    every = AbitScan(SourceSettings(20, 4096, 2), period_ms=100.0, every_tier=True)
    assert (every.sees, source.sees) == ("any", "lower")
    report = every.observe(view({0: 1}, 100.0, 100.0, on_top=(0, 1, 2)))
    assert (report.accesses.page.tolist(), report.kernel_ns) == ([0], 20 * 25)


def test_walks_stay_on_their_grid() -> None:
    source = AbitScan(SourceSettings(20, 4096, 2), period_ms=100.0)
    walked = []
    for now_ms in (50.0, 130.0, 199.0, 200.0, 430.0, 499.0, 500.0):
        source.observe(view({3: 1}, now_ms, 50.0))
        walked.append(source.counters()["pgtscan_walked"] // 20)
    assert walked == [0, 1, 1, 2, 3, 3, 4]
    for period_ms in (0.5, -1.0):
        with pytest.raises(UsageError, match=r"abit\.period_ms"):
            AbitScan(SourceSettings(20, 4096, 2), period_ms=period_ms)
    AbitScan(SourceSettings(20, 4096, 2), period_ms=1.0)


# ---- hotness units of devices


def test_only_misses_of_the_device_are_counted_and_rounding_is_by_chance() -> None:
    place, counts = np.array([0, 1, NOWHERE, 1], np.uint8), np.zeros(4, np.uint64)
    rng = np.array([7], np.uint64)
    count_misses(u32(0, 1, 2, 3, 1), u32(9, 5, 9, 0, 2), place, LOWER, 1, rng, counts)
    assert counts.tolist() == [0, 7, 0, 0]
    assert rng.tolist() == [7], "no number is drawn where all are counted"
    for _ in range(400):
        count_misses(u32(3), u32(6), place, LOWER, 4, rng, counts)
    assert 560 < counts[3] < 640  # 400 x 1.5
    counts[:] = 0
    count_misses(u32(3), u32(8), place, LOWER, 4, rng, counts)
    assert counts[3] == 2


def test_a_list_takes_what_exceeds_the_threshold_from_where_it_overflowed() -> None:
    counts = np.array([9, 4, 5, 6, 7, 8], np.uint64)
    place = np.array([1, 1, 1, 0, 1, 1], np.uint8)
    page, count = np.zeros(2, np.uint32), np.zeros(2, np.uint64)
    assert fill_hot_list(counts, place, 1, 4, 2, page, count) == (2, 2, 5)
    assert (page.tolist(), count.tolist()) == ([2, 4], [5, 7])
    assert fill_hot_list(counts, place, 1, 4, 5, page, count) == (2, 2, 2)
    assert page.tolist() == [5, 0]
    assert fill_hot_list(counts, place, 1, 7, 5, page, count) == (2, 0, 5)
    assert fill_hot_list(counts, place, 0, 5, 0, page, count) == (1, 0, 0)


def test_an_epoch_of_a_device_in_figures() -> None:
    """Three hot pages in a list of two: two entries at 500 ns, two interrupts of 2,000 ns, one for the overflow.

    An entry is 64 B over the link; 20 counters of 16 bits are read and cleared: 20 x 2 x 2 B.
    """
    source = Chmu(SourceSettings(20, 4096, 2), epoch_ms=100.0, threshold=4, ring_entries=2)
    assert source.observe(view({3: 3}, 50.0, 50.0)).kernel_ns == 0
    report = source.observe(view({3: 2, 7: 5, 9: 70_000, 11: 4}, 100.0, 50.0))
    assert report.accesses.page.tolist() == [3, 7]
    assert report.accesses.count.tolist() == [5, 5]
    assert report.kernel_ns == 2 * 500 + 2 * 2_000
    assert report.traffic == {1: 2 * 64 + 20 * 2 * 2}
    assert source.counters() == {
        "hwhint_total_events": 3, "hwhint_useful_events": 2, "hwhint_dropped_events": 1,
    }  # fmt: skip
    report = source.observe(view({9: 70_000}, 200.0, 100.0))
    assert (report.accesses.page.tolist(), report.accesses.count.tolist()) == ([9], [65_535])
    assert report.kernel_ns == 500 + 2_000
    assert source.observe(view({9: 4}, 300.0, 100.0)).kernel_ns == 0, "nothing is hot: no interrupt"
    assert source.tracker_bytes() == 20 * 2 + 2 * 8
    assert source.sampling() == (
        "every miss on the device; pages with more than 4 counts in 100 kernel ms, at most 2 for each device"
    )
    half = Chmu(SourceSettings(20, 4096, 2), downsampling=2)
    assert half.sampling().startswith(
        "1 of 2 misses on the device; pages with more than 16 counts in 1000 kernel ms"
    )


def test_a_slice_of_several_epochs_is_held_to_their_sum_and_epochs_stay_on_their_grid() -> None:
    """From 0 to 250 ms are two epochs of 100: more than 8 counts. The third ends at 300."""
    source = Chmu(SourceSettings(20, 4096, 2), epoch_ms=100.0, threshold=4)
    report = source.observe(view({3: 8, 7: 9}, 250.0, 250.0))
    assert report.accesses.page.tolist() == [7]
    assert report.traffic == {1: 64 + 2 * 20 * 2 * 2}
    assert source.observe(view({3: 5}, 299.0, 49.0)).accesses.page.tolist() == []
    assert source.observe(view({}, 300.0, 1.0)).accesses.page.tolist() == [3]


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("epoch_ms", 1.0, None), ("threshold", 0, None), ("counter_bits", 1, 32), ("ring_entries", 1, 1 << 24),
        ("entry_ns", 0.0, 1e9), ("interrupt_ns", 0.0, 1e9), ("entry_bytes", 0.0, 4096.0), ("downsampling", 1, 32_768),
    ],
)  # fmt: skip
def test_limits_of_hotness_units(option: str, least: float, most: float | None) -> None:
    for value in (least, most):
        if value is not None:
            SOURCES.make("chmu", SourceSettings(20, 4096, 2), **{option: value})
    for value in (least - 1, None if most is None else most + 1):
        if value is not None:
            with pytest.raises(UsageError, match=f"chmu.{option}"):
                SOURCES.make("chmu", SourceSettings(20, 4096, 2), **{option: value})


# ---- the yardstick


def test_the_truth_is_every_miss() -> None:
    source = Truth(SourceSettings(20, 4096, 2))
    seen = source.observe(view({3: 5, 4: 0, 9: 2}, 10.0)).accesses
    assert (seen.page.tolist(), seen.count.tolist(), seen.time_ms) == ([3, 9], [5, 2], 10)
    assert source.observe(view({1: 1}, 11.0)).accesses.page.tolist() == [1]
    assert (source.counters(), source.tracker_bytes(), source.sampling()) == (
        {"true_misses": 8},
        0,
        "every cache miss",
    )
    assert clairvoyant(["pebs", "truth"])
    assert not clairvoyant(["pebs", "chmu"])


# name: mechanism, in the program's context, a released kernel has it, what it sees, a yardstick
DECLARED = {
    "hintfaults": ("hint fault", True, True, "lower", False),
    "abit": ("page-table scan", False, True, "lower", False),
    "damon": ("page-table scan", False, True, "regions", False),
    "pebs": ("hardware", True, True, "any", False),
    "ibs": ("hardware", True, True, "any", False),
    "chmu": ("hardware", False, False, "lower", False),
    "truth": (None, False, False, "any", True),
}


@pytest.mark.parametrize("name", DECLARED)
def test_what_each_source_says_of_itself(name: str) -> None:
    source = SOURCES.get(name)
    said = (source.mechanism, source.inline, source.released, source.sees, source.clairvoyant)
    assert said == DECLARED[name]
    assert set(SOURCES.names()) == set(DECLARED)
