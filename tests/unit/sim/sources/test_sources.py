"""What each simulated source sees, misses and costs, on slices small enough to work out by hand."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.sim.sources import SOURCES
from pghot.sim.sources.abit import AbitScan
from pghot.sim.sources.chmu import Chmu
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.ibs import Ibs
from pghot.sim.sources.pebs import Pebs
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings
from pghot.sim.sources.truth import Truth

PAGES = 1000
SETTINGS = SourceSettings(pages=PAGES, page_bytes=4096, nodes=2, threads=2)


def view(events: dict[int, int], now_ms: float, dt_ms: float = 100.0, node: int = 0) -> SliceView:
    """A slice with these touches, all of them misses; pages 0..99 are on top (node 0), the rest on node 1."""
    page = np.array(sorted(events), np.uint32)
    touches = np.array([events[p] for p in sorted(events)], np.uint32)
    none = np.zeros(len(page), np.uint32)
    place = np.where(np.arange(PAGES) < 100, 0, 1).astype(np.uint8)
    nodes = np.full(len(page), node, np.int16)
    return SliceView(
        page, touches, touches, none, none, nodes, place, np.array([False, True]),
        now_ms, dt_ms * 1e6, 2, int(touches.sum()) * 10,
    )  # fmt: skip


def test_hint_faults_find_a_marked_page_once_with_its_latency():
    source = HintFaults(SETTINGS)
    assert len(source.observe(view({50: 9, 500: 9}, 1000.0, 1000.0)).accesses) == 0  # marks at 1000 ms
    assert source.counters() == {"numa_pte_updates": 900, "numa_hint_faults": 0}
    report = source.observe(view({50: 9, 500: 9}, 1100.0))
    seen = report.accesses
    assert (seen.page.tolist(), seen.node.tolist(), seen.count.tolist()) == ([500], [0], [1])
    assert seen.hint_fault
    assert seen.latency_ms is not None
    assert seen.latency_ms.tolist() == [10]  # the first of 9 touches spread over 100 ms
    assert report.app_ns == 1200.0
    assert len(source.observe(view({500: 9}, 1200.0)).accesses) == 0


def test_hint_fault_scan_costs_the_application_44_ns_a_page_and_a_flush():
    report = HintFaults(SETTINGS).observe(view({}, 1000.0, 1000.0))
    flush_ns = 4000.0 + 2 * 1000.0  # the scanning thread waits; both threads are interrupted
    assert (report.app_ns, report.kernel_ns) == (900 * 44.0 + flush_ns, 0.0)
    group = HintFaults(replace(SETTINGS, group_pages=4.0)).observe(view({}, 1000.0, 1000.0))
    assert group.app_ns == 900 * 44.0 + flush_ns / 4, "one flush for all the real pages of the step"


@pytest.mark.parametrize(
    "gib, step_ms, pass_s",
    [
        (1, 250.0, 1.0),  # 4 steps: 1000 ms / 4
        (2.5, 100.0, 1.0),  # 10 steps
        (100, 100.0, 40.0),  # 400 steps of at least 100 ms
    ],
)
def test_hint_fault_scan_period_follows_the_resident_memory(gib, step_ms, pass_s):
    """A thousand pages stand for so many GiB, all of it resident."""
    group = gib * (1 << 30) / (PAGES * 4096)
    source = HintFaults(replace(SETTINGS, group_pages=group))
    least, most = source.scanners[0].periods(PAGES)
    assert least == pytest.approx(step_ms)
    assert least * gib * 4 / 1e3 == pytest.approx(pass_s)
    assert most == pytest.approx(max(step_ms, 60_000.0 / (gib * 4)))


def test_hint_fault_scan_step_shrinks_with_the_scale():
    source = HintFaults(replace(SETTINGS, group_pages=1000.0))  # 65.536 pages a step
    source.observe(view({}, 1000.0, 1.0))
    source.observe(view({}, 2100.0, 1.1))
    # 0..64 are on top: the first step goes on and marks 100..129; the second, of 66 pages, marks 130..195.
    assert source.counters()["numa_pte_updates"] == 30 + 66


def test_hint_fault_scan_skips_what_has_nothing_to_mark_up_to_eight_steps():
    source = HintFaults(SETTINGS, scan_bytes=20 * 4096)
    source.observe(view({}, 1000.0, 1000.0))
    assert source.counters()["numa_pte_updates"] == 20  # five steps over the top tier, then one that marks


def test_hint_fault_period_doubles_without_faults_and_comes_back_with_them():
    source = HintFaults(SETTINGS, backoff=0.0)
    source.observe(view({}, 1000.0, 1000.0))
    for now in range(2000, 100_000, 1000):
        source.observe(view({}, float(now), 1000.0))
    assert source.scanners[0].period_ms == 60000.0
    source.observe(view({700: 1}, 100_000.0, 1000.0))
    source.observe(view({}, 200_000.0, 100_000.0))
    assert source.scanners[0].period_ms == 30000.0


def test_hint_fault_scanner_takes_at_most_three_percent_of_each_thread():
    source = HintFaults(SETTINGS, mark_ns=1e6, flush_ns=0.0, interrupt_ns=0.0)
    report = source.observe(view({}, 1000.0, 1000.0))
    assert report.app_ns == 900e6, "900 pages below the top tier, 1 ms each"
    # The thread that scanned stays away for 32 times as long; the other of the two scans after half of that.
    assert source.scanners[0].next_ms == 1000.0 + 1000.0 + 32 * 900.0 / 2


def test_scanners_come_to_the_memory_of_each_process_at_another_time():
    """Ten mappings of no interest, one looked at each second after the first step at 1 s. With the golden ratio one
    scanner needs 6.18 of them, the other 2.36."""
    source = HintFaults(SETTINGS, processes=2, idle_mappings=10, period_max_ms=1000.0, backoff=0.0)
    marked = {}
    for second in range(1, 9):
        source.observe(view({}, 1000.0 * second, 1000.0))
        marked[second] = source.counters()["numa_pte_updates"]
    assert marked == {1: 0, 2: 0, 3: 0, 4: 500, 5: 500, 6: 500, 7: 500, 8: 900}, (
        "of the first half 100 are on top"
    )
    assert len(source.observe(view({550: 9}, 8100.0)).accesses) == 1


def test_hint_fault_mark_is_lost_when_the_page_has_moved_up():
    source = HintFaults(SETTINGS)
    source.observe(view({}, 1000.0, 1000.0))
    moved = view({500: 3}, 1100.0)
    moved.place[500] = 0
    report = source.observe(moved)
    assert (len(report.accesses), report.app_ns) == (0, 0.0)
    assert len(source.observe(view({500: 3}, 1200.0)).accesses) == 0


def test_hint_faults_of_shared_pages_are_shared_by_their_accessing_nodes():
    source = HintFaults(SETTINGS, scan_bytes=1 << 30)
    one = view(dict.fromkeys(range(100, 900), 1), 1100.0)
    both = replace(
        one,
        page=np.repeat(one.page, 2),
        touches=np.tile(np.array([3, 1], np.uint32), 800),
        node=np.tile(np.array([0, 1], np.int16), 800),
    )
    source.observe(view({}, 1000.0, 1000.0))
    share = source.observe(both).accesses.node.mean()
    assert 0.2 < share < 0.3


def test_abits_report_each_touched_lower_page_once_a_walk_and_clear():
    source = AbitScan(SETTINGS)
    assert len(source.observe(view({50: 1, 500: 7, 600: 1}, 1000.0, 1000.0)).accesses) == 0
    report = source.observe(view({500: 2}, 2000.0, 1000.0))
    assert report.accesses.page.tolist() == [500, 600]
    assert report.accesses.node.tolist() == [-1, -1]
    assert report.accesses.count.tolist() == [1, 1]
    assert (report.app_ns, report.kernel_ns) == (2 * 200.0, 900 * 25.0)
    assert len(source.observe(view({}, 4000.0, 2000.0)).accesses) == 0


def test_a_slice_of_many_periods_gets_one_walk():
    source = AbitScan(SETTINGS)
    source.observe(view({500: 1}, 50_000.0, 50_000.0))
    assert source.counters() == {"pgtscan_walked": 900, "pgtscan_accessed": 1}


def test_pebs_takes_one_of_its_period_and_charges_each():
    source = Pebs(SETTINGS, period_misses=100, ring_entries=10_000)
    report = source.observe(view({50: 5000, 500: 5000}, 100.0))
    taken = int(report.accesses.count.sum())
    assert abs(taken - 100) < 50, "five standard deviations"
    assert report.app_ns == taken * 250.0
    assert set(report.accesses.page.tolist()) == {50, 500}


def test_pebs_is_unbiased_over_seeds():
    """Each page's mean number of samples is its share of the misses, rare pages included."""
    events = {100: 3, 200: 30, 300: 300, 400: 3000}
    total = dict.fromkeys(events, 0)
    for seed in range(400):
        source = Pebs(replace(SETTINGS, seed=seed), period_misses=97, ring_entries=10_000)
        for number in range(10):
            seen = source.observe(view(events, 100.0 * (number + 1))).accesses
            for page, count in zip(seen.page.tolist(), seen.count.tolist(), strict=True):
                total[page] += count
    for page, misses in events.items():
        expected = misses * 10 * 400 / 97
        assert abs(total[page] - expected) < 5 * expected**0.5 + 5


@pytest.mark.parametrize("slices", [4000, 40_000])
def test_how_often_a_page_is_sampled_is_a_matter_of_chance_however_time_is_cut(slices):
    """Misses of all pages come mixed: of 800,000 of a page, 1 in 10 is a sample. What has 20 on average in a
    4,000th of the time has a variance of 20 * 0.9 there."""
    source = Pebs(SETTINGS, period_misses=10, ring_entries=1 << 20)
    each = 800_000 // slices
    seen = [
        source.observe(view({50: 3 * each, 500: each, 600: each}, float(number), 1.0)).accesses
        for number in range(1, slices + 1)
    ]
    counts = np.array([int(accesses.count[accesses.page == 500].sum()) for accesses in seen])
    together = counts.reshape(4000, -1).sum(axis=1)
    assert together.mean() == pytest.approx(20, rel=0.02)
    assert together.var() == pytest.approx(18, rel=0.12), "five standard deviations of a variance"


def test_a_full_ring_drops_and_counts():
    source = Ibs(SETTINGS, period_ops=1)
    report = source.observe(view({50: 1000, 500: 1000}, 5.0, 5.0))
    assert int(report.accesses.count.sum()) == 300  # 150 on each of the two CPUs, one drain
    assert source.counters() == {
        "hwhint_total_events": 2000, "hwhint_useful_events": 150, "hwhint_dropped_events": 1700,
    }  # fmt: skip
    assert report.app_ns == 2000 * 2500.0
    # A page that stands for 400 has a 400th of the rings: three quarters of an entry in 10 ms.
    group = Ibs(replace(SETTINGS, group_pages=400.0), period_ops=1)
    kept = [int(group.observe(view({500: 9}, 5.0, 1 / 400)).accesses.count.sum()) for _ in range(4)]
    assert kept == [0, 1, 1, 1]


def test_ibs_without_the_filter_pays_for_every_tagged_op():
    events = {500: 20_000}  # 200 000 instructions
    filtered = Ibs(SETTINGS, period_ops=1000).observe(view(events, 5.0)).app_ns
    unfiltered = Ibs(SETTINGS, period_ops=1000, l3_miss_only=False).observe(view(events, 5.0)).app_ns
    assert filtered < 40 * 2500.0
    assert unfiltered == 200 * 2500.0


def test_chmu_reports_only_hot_pages_of_its_own_device():
    source = Chmu(SETTINGS)
    assert len(source.observe(view({50: 99, 500: 10, 600: 16}, 500.0, 500.0)).accesses) == 0
    report = source.observe(view({50: 99, 500: 7}, 1000.0, 500.0))
    assert (report.accesses.page.tolist(), report.accesses.count.tolist()) == ([500], [17])
    assert report.accesses.node.tolist() == [-1]
    # One entry is read, after one interrupt. 64 bytes go over the link; 900 counters of 2 bytes are read and cleared.
    assert report.kernel_ns == 500.0 + 2_000.0
    assert report.traffic == {1: 64.0 + 900 * 2 * 2}
    assert len(source.observe(view({600: 5}, 2000.0, 1000.0)).accesses) == 0  # the epoch's end cleared 16


def test_chmu_counters_saturate_and_overflow_is_counted():
    source = Chmu(SETTINGS, counter_bits=6, ring_entries=2)
    report = source.observe(view({300: 70, 400: 20, 500: 20}, 1000.0, 1000.0))
    assert report.accesses.count.tolist() == [63, 20]
    assert source.counters()["hwhint_dropped_events"] == 1
    assert report.kernel_ns == 2 * 500.0 + 2 * 2_000.0  # the list is there to read, and it overflowed
    again = source.observe(view({300: 70, 400: 20, 500: 20}, 2000.0, 1000.0))
    assert again.accesses.page.tolist() == [500, 300]  # resumes where the ring was full


def test_chmu_long_slice_is_judged_by_its_mean_epoch():
    source = Chmu(SETTINGS)
    seen = source.observe(view({300: 160, 400: 161}, 10_000.0, 10_000.0)).accesses
    assert seen.page.tolist() == [400]


def test_chmu_downsampling_must_be_a_power_of_two():
    with pytest.raises(UsageError, match="downsampling is 3"):
        Chmu(SETTINGS, downsampling=3)


def test_truth_is_exact_and_free():
    slice_view = view({50: 3, 500: 1}, 5.0)
    slice_view.misses = np.array([3, 0], np.uint32)
    report = Truth(SETTINGS).observe(slice_view)
    assert (report.accesses.page.tolist(), report.accesses.count.tolist()) == ([50], [3])
    assert report.app_ns == report.kernel_ns == 0.0


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_registered_source_works_on_an_empty_slice(name):
    source = SOURCES.make(name, SETTINGS)
    assert source.name == name
    for now in (1000.0, 2000.0, 3000.0):
        assert len(source.observe(view({}, now, 1000.0)).accesses) == 0
    assert source.sampling()
    assert SOURCES.get(name).summary


def test_unknown_source_suggests_the_nearest():
    with pytest.raises(UsageError) as caught:
        SOURCES.make("hintfault", SETTINGS)
    assert "'hintfaults'" in caught.value.hint


class CountingSource:
    """A source from outside the package."""

    name = "counting"
    summary = "counts slices"
    mechanism = None
    sees = "any"
    inline = released = clairvoyant = False

    def __init__(self, settings: SourceSettings) -> None:
        self.slices = 0

    def observe(self, view: SliceView) -> Report:
        self.slices += 1
        return Truth(SETTINGS).observe(view)


def test_outside_source_joins_through_its_entry_point(tmp_path, monkeypatch):
    """As an installed package would: a dist-info directory on sys.path that names the class."""
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pghot.sources]\ncounting = {__name__}:CountingSource\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert "counting" in SOURCES.names()
    source = SOURCES.make("counting", SETTINGS)
    assert len(source.observe(view({1: 1}, 1.0)).accesses) == 1


def test_a_walk_that_takes_longer_than_its_period_puts_off_the_next():
    source = AbitScan(SETTINGS)
    source.observe(view({500: 1}, 1000.0, 1000.0))
    assert len(source.observe(view({500: 1}, 2000.0, 1000.0)).accesses) == 1
    busy = view({500: 1}, 4000.0, 2000.0)
    busy.busy = True
    assert len(source.observe(busy).accesses) == 0
    assert len(source.observe(view({}, 4100.0, 100.0)).accesses) == 1, "the bit stayed set"


def test_chmu_costs_the_same_where_a_page_stands_for_many():
    """A K-th of the interrupts' time in an epoch that lasts a K-th; counters and entries are a K-th as many."""
    one, many = (Chmu(replace(SETTINGS, group_pages=k)) for k in (1.0, 10.0))
    first = one.observe(view({500: 99}, 1000.0, 1000.0))
    second = many.observe(view({500: 99}, 1000.0, 100.0))
    assert second.kernel_ns == 500.0 + 2_000.0 / 10
    assert second.traffic == first.traffic
