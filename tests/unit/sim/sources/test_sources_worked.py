"""Figures of the simulated sources that a mutation left unnoticed: published constants, limits, and small slices."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.sim.sources import SOURCES
from pghot.sim.sources.abit import IDLE_LOOK_NS, AbitScan
from pghot.sim.sources.chmu import Chmu
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.ibs import Ibs
from pghot.sim.sources.simulated_source import SliceView, SourceSettings

SETTINGS = SourceSettings(pages=20, page_bytes=4096, nodes=2)

# docs/FACTS.md 4 and 8, and the estimates that the sources' own texts name.
CONSTANTS: dict[str, dict[str, Any]] = {
    "hintfaults": {
        "scan_bytes": 256 * 1024 * 1024, "scan_delay_ms": 1000, "period_min_ms": 1000, "period_max_ms": 60_000,
        "empty_span": 8, "fault_ns": 1200, "mark_ns": 44, "flush_ns": 4000, "interrupt_ns": 1000, "backoff": 32,
        "processes": 1, "idle_mappings": 0, "every_tier": False,
    },
    "abit": {"period_ms": 2000, "walk_ns": 25, "set_ns": 200, "every_tier": False},
    "damon": {
        "sample_ms": 5, "aggregate_ms": 100, "min_regions": 10, "max_regions": 1000, "check_ns": 200, "set_ns": 200,
    },
    "pebs": {"period_misses": 10_007, "sample_ns": 250, "ring_entries": 150, "drain_ms": 10},
    "ibs": {
        "period_ops": 10_000, "sample_ns": 2500, "ring_entries": 150, "drain_ms": 10, "l3_miss_only": True,
    },
    "chmu": {
        "epoch_ms": 1000, "threshold": 16, "counter_bits": 16, "ring_entries": 8192, "downsampling": 1,
        "entry_ns": 500, "interrupt_ns": 2000, "entry_bytes": 64,
    },
}  # fmt: skip


def view(touched: dict[int, int], now_ms: float, dt_ms: float, instructions: int = 0) -> SliceView:
    """20 pages, all on node 1, which is the slow one; every touch misses."""
    page = np.array(sorted(touched), np.uint32)
    touches = np.array([touched[p] for p in sorted(touched)], np.uint32)
    none = np.zeros(len(page), np.uint32)
    return SliceView(
        page, touches, touches, none, none, np.zeros(len(page), np.int16), np.ones(20, np.uint8),
        np.array([False, True]), now_ms, dt_ms * 1e6, 1, instructions,
    )  # fmt: skip


def options_of(name: str) -> dict[str, Any]:
    parameters = inspect.signature(SOURCES.get(name)).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_constants_are_the_published_ones(name: str) -> None:
    assert options_of(name) == CONSTANTS[name]


def test_a_look_of_the_idle_bitmap_is_the_sum_of_its_parts() -> None:
    """36 ns pagemap, 500 kpageflags, 250 to find the bits, 200 for the kernel's walks."""
    assert IDLE_LOOK_NS == 36 + 500 + 250 + 200
    assert AbitScan.live_options == {"walk_ns": 986, "every_tier": True}
    steps = {"scan_bytes": 64 << 20, "period_min_ms": 200, "period_max_ms": 200}
    assert HintFaults.live_options == {**steps, "fault_ns": 1200 + 100}


def test_what_released_kernels_have() -> None:
    released = {name: SOURCES.get(name).released for name in [*CONSTANTS, "truth"]}
    assert [name for name, yes in released.items() if yes] == ["hintfaults", "abit", "damon", "pebs", "ibs"]


@pytest.mark.parametrize(
    "name, option",
    [(name, option) for name, options in CONSTANTS.items() for option in options if option.endswith("_ns")],
)
def test_a_cost_may_be_nothing_but_not_less(name: str, option: str) -> None:
    SOURCES.make(name, SETTINGS, **{option: 0})
    with pytest.raises(UsageError, match=f"{name}.{option}"):
        SOURCES.make(name, SETTINGS, **{option: -0.5})


def test_limits_of_the_options() -> None:
    SOURCES.make("pebs", SETTINGS, drain_ms=0.001)
    SOURCES.make("chmu", SETTINGS, downsampling=32_768)
    with pytest.raises(UsageError, match="not a power of two up to 32768"):
        Chmu(SETTINGS, downsampling=65_536)


@pytest.mark.parametrize("at_ms", [0, 1])
def test_a_page_that_is_marked_in_the_first_milliseconds_faults(at_ms: int) -> None:
    """The time of a mark is never taken for "not marked"."""
    source = HintFaults(SETTINGS, scan_delay_ms=float(at_ms))
    source.observe(view({}, 1.0, 1.0))
    assert source.counters() == {"numa_pte_updates": 20, "numa_hint_faults": 0}
    # One touch in 10 ms falls, on average, in their middle: at 6 ms.
    seen = source.observe(view({7: 1}, 11.0, 10.0)).accesses
    assert seen.page.tolist() == [7]
    assert seen.latency_ms is not None
    assert seen.latency_ms.tolist() == [6 - at_ms]


def test_walks_of_the_page_tables_are_a_period_apart() -> None:
    source = AbitScan(SETTINGS)
    walks = [
        now_ms
        for now_ms in range(500, 6_500, 500)
        if source.observe(view({3: 1}, float(now_ms), 500.0)).accesses.page.tolist() == [3]
    ]
    assert walks == [2_000, 4_000, 6_000]
    assert source.counters() == {"pgtscan_walked": 3 * 20, "pgtscan_accessed": 3}


def test_ibs_without_the_filter_pays_for_parts_of_an_interrupt() -> None:
    """15,000 ops hold one and a half tags: 1.5 x 2,500 ns."""
    source = Ibs(SETTINGS, l3_miss_only=False)
    assert source.observe(view({}, 10.0, 10.0, instructions=15_000)).app_ns == 3_750.0
