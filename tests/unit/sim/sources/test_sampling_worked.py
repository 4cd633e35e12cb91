"""Event sampling in figures worked by hand: which events are sampled, what a full ring keeps, what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.sim.sources import SOURCES
from pghot.sim.sources.hwsample import SAMPLE_BYTES
from pghot.sim.sources.ibs import Ibs
from pghot.sim.sources.pebs import Pebs
from pghot.sim.sources.sampling import Sampler, keep_evenly, next_unit, sample_events
from pghot.sim.sources.simulated_source import SliceView, SourceSettings

MASK = (1 << 64) - 1


def view(misses: dict[int, int], dt_ms: float = 1.0, instructions: int = 0) -> SliceView:
    """Pages from 10 on are on node 1, the slow one."""
    page = np.array(sorted(misses), np.uint32)
    count = np.array([misses[each] for each in sorted(misses)], np.uint32)
    return SliceView(
        page, count, count, 0 * count, 0 * count, np.full(len(page), 1, np.int16),
        np.array([0] * 10 + [1] * 10, np.uint8), np.array([False, True]), 10.0, dt_ms * 1e6, 1, instructions,
    )  # fmt: skip


def test_random_numbers_are_those_of_xorshift64star() -> None:
    """Written out in whole numbers of Python."""
    state = np.array([88_172_645_463_325_252], np.uint64)
    x = int(state[0])
    for _ in range(3):
        x ^= x >> 12
        x = (x ^ x << 25) & MASK
        x ^= x >> 27
        with np.errstate(over="ignore"):
            found = next_unit(state)
        assert found == ((x * 0x2545F4914F6CDD1D & MASK) >> 11) / 2**53
        assert int(state[0]) == x


def sampled(
    events: list[int], ahead: float, period: int, unit_pages: float = 1.0
) -> tuple[list[int], list[int], float, list[float]]:
    """Rows, counts, what is carried, and the numbers that were drawn."""
    rng, twin = np.array([12_345], np.uint64), np.array([12_345], np.uint64)
    carried, row, count = np.array([ahead]), np.zeros(9, np.int64), np.zeros(9, np.uint32)
    per_event = np.log(1 - 1 / period) if period > 1 else -np.inf
    with np.errstate(over="ignore"):
        hit = sample_events(np.array(events, np.uint32), unit_pages, per_event, rng, carried, row, count)
        drawn = []
        while twin[0] != rng[0]:
            drawn.append(next_unit(twin))
    return row[:hit].tolist(), count[:hit].tolist(), float(carried[0]), drawn


def test_a_sample_falls_on_each_event_with_the_same_chance() -> None:
    """The distance to the next is geometric: 1 + log(1 - u) / log(1 - 1 / period), rounded down."""
    row, count, ahead, drawn = sampled([5, 0], 5.0, 100)
    assert (row, count) == ([0], [1])
    assert ahead == 1 + int(np.log(1 - drawn[0]) / np.log(0.99))
    assert sampled([3], 4.0, 10) == ([], [], 1.0, [])
    assert sampled([5, 2], 1.0, 1)[:2] == ([0, 1], [5, 2]), "a period of 1 samples all"
    # Each event stands for four: the first row has 12, the sample is the 4th of them.
    assert sampled([3], 4.0, 1_000, unit_pages=4.0)[:2] == ([0], [1])


def test_the_first_sample_is_as_far_away_as_any_other() -> None:
    """Of 400 seeds one in e, 147, begins beyond a whole period; and its sample is the event that was said."""
    first = [int(Sampler(1_000, seed)._ahead[0]) for seed in range(400)]
    assert 1 <= min(first) < 30
    assert sum(each > 1_000 for each in first) == pytest.approx(147, abs=40)
    assert np.mean(first) == pytest.approx(1_000, rel=0.2)
    assert Sampler(1, 3)._ahead.tolist() == [1.0]
    row, count = Sampler(1_000, 3).draw(np.array([first[3] - 1, 1, 0], np.uint32))
    assert (row.tolist(), count.tolist()) == ([1], [1])


def test_a_full_ring_keeps_samples_that_are_spread_evenly() -> None:
    """Seven samples, of rows 0, 0, 2, 2, 2, 5, 6. Of three the 0th, 2nd and 4th stay: 0, 7 / 3, and 14 / 3."""
    row, count = np.array([0, 2, 5, 6]), np.array([2, 3, 1, 1], np.uint32)
    kept, times = keep_evenly(row, count, 3)
    assert (kept.tolist(), times.tolist()) == ([0, 2], [1, 2])
    kept, times = keep_evenly(row, count, 7)
    assert (kept.tolist(), times.tolist()) == ([0, 2, 5, 6], [2, 3, 1, 1])


def every(period_misses: int = 1, **settings: float) -> Pebs:
    return Pebs(SourceSettings(20, 4096, 2, **settings), period_misses=period_misses, ring_entries=4)  # type: ignore[arg-type]


def test_each_sample_costs_its_interrupt_also_if_it_is_lost() -> None:
    source = every()
    report = source.observe(view({3: 2, 12: 6}))
    assert report.app_ns == 8 * 250
    assert (report.accesses.page.tolist(), report.accesses.count.tolist()) == ([3, 12], [1, 3])
    assert report.accesses.node.tolist() == [1, 1]
    assert source.counters() == {
        "hwhint_total_events": 8, "hwhint_useful_events": 3, "hwhint_dropped_events": 4,
    }  # fmt: skip
    assert source.observe(view({3: 4})).accesses.count.tolist() == [4], "just full"
    assert source.counters()["hwhint_dropped_events"] == 4
    assert source.observe(view({})).app_ns == 0


@pytest.mark.parametrize(("dt_ms", "entries"), [(1.0, 4), (10.0, 4), (10.1, 8), (30.0, 12)])
def test_rings_are_drained_each_slice_and_every_10_ms(dt_ms: float, entries: int) -> None:
    assert every()._capacity(dt_ms * 1e6) == entries
    assert every(threads=3)._capacity(dt_ms * 1e6) == 3 * entries


def test_where_a_page_stands_for_many_rings_hold_a_part_and_the_rest_is_carried() -> None:
    """Four entries of which a page has an 8th. 512 kernel ms are 52 drains, and of a unit all entries count."""
    source = every(group_pages=8.0)
    assert [source._capacity(1e6) for _ in range(4)] == [0, 1, 0, 1]
    assert source.tracker_bytes() == 4 * SAMPLE_BYTES // 8
    assert SAMPLE_BYTES == 48
    whole = every(group_pages=512.0, unit_pages=512.0)
    assert whole._capacity(1e6) == 4 * 52


def test_samples_of_a_unit_are_counted_as_those_of_a_page() -> None:
    """Every miss of 8 pages is sampled, of which the counters and the program see one page's."""
    source = Pebs(
        SourceSettings(20, 4096, 2, group_pages=8.0, unit_pages=8.0), period_misses=1, ring_entries=1_000
    )
    report = source.observe(view({12: 5}))
    assert report.accesses.count.tolist() == [40]
    assert report.app_ns == 5 * 250
    assert source.counters() == {
        "hwhint_total_events": 5, "hwhint_useful_events": 5, "hwhint_dropped_events": 0,
    }  # fmt: skip


def test_ibs_pays_for_what_it_keeps_or_for_every_tag() -> None:
    settings = SourceSettings(20, 4096, 2)
    assert Ibs(settings, period_ops=1).observe(view({12: 3}, instructions=100)).app_ns == 3 * 2_500
    every_tag = Ibs(settings, period_ops=1, l3_miss_only=False)
    assert every_tag.observe(view({12: 3}, instructions=100)).app_ns == 100 * 2_500
    assert every_tag.observe(view({12: 3}, instructions=2)).app_ns == 3 * 2_500
    assert Ibs(settings).sampling() == "1 of 10000 ops, kept if it missed the last-level cache"
    assert Pebs(settings).sampling() == "1 of 10007 cache misses"
    assert (Pebs.period_option, Pebs.live, Ibs.live) == ("period_misses", "pebs", "ibs")
    assert Pebs.live_options == Ibs.live_options == {"ring_entries": 13_000, "drain_ms": 100}


@pytest.mark.parametrize(("name", "period"), [("pebs", "period_misses"), ("ibs", "period_ops")])
def test_limits_of_samplers(name: str, period: str) -> None:
    settings = SourceSettings(20, 4096, 2)
    for option, least, most in ((period, 1, None), ("ring_entries", 1, 1 << 24), ("sample_ns", 0, 1e9)):
        for value in (least, most):
            if value is not None:
                SOURCES.make(name, settings, **{option: value})
        for value in (least - 1, None if most is None else most + 1):
            if value is not None:
                with pytest.raises(UsageError, match=f"{name}.{option}"):
                    SOURCES.make(name, settings, **{option: value})
    with pytest.raises(UsageError, match=f"{name}.drain_ms"):
        SOURCES.make(name, settings, drain_ms=0.0005)


def test_a_view_without_some_rows() -> None:
    seen = view({3: 2, 12: 6, 14: 1})
    seen.keep(np.array([True, False, True]))
    assert (seen.page.tolist(), seen.misses.tolist(), seen.touches.tolist()) == ([3, 14], [2, 1], [2, 1])
    assert [len(column) for column in (seen.sequential, seen.writes, seen.node)] == [2, 2, 2]
