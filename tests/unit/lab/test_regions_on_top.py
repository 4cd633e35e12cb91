"""Which regions a run has in the top tier, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from pghot.lab.epochs import Epoch
from pghot.lab.regions_on_top import (
    OTHERS,
    TOLD_APART,
    RegionOnTop,
    RegionsOnTop,
    mean_over_seeds,
    region_names,
)
from pghot.recording.trace import Region
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology

HEAP, ANON = Region(0, 2, 0, 4096, "[heap]"), Region(2, 3, 0, 1 << 20, "[anon]")


def test_shares_of_pages_and_of_misses() -> None:
    """Page 0 is on top from the second epoch on, page 2 always, page 4 never touched.

    After the warm-up of one epoch [heap] misses 6 times, of which page 0 does 2; [anon] 4 times, page 2 3 of them.
    """
    machine = SimulatedMachine(load_topology("dram-cxl"), 5, 4096, np.array([8, 8]), 1)
    machine.place[:4] = [1, 1, 0, 1]
    found = RegionsOnTop(region_names([HEAP, ANON], np.array([3, 5, 3, 1, 0])), machine, first_epoch=1)
    found.end_epoch(0, Epoch(np.array([0, 1], np.uint32), np.array([1, 1])))
    machine.place[0] = 0
    found.end_epoch(1, Epoch(np.array([0, 1, 2, 3], np.uint32), np.array([2, 4, 3, 1])))
    assert found.result() == (
        RegionOnTop("[heap]", miss_share=8 / 12, top_share=1 / 2, fast_miss_share=2 / 6),
        RegionOnTop("[anon]", miss_share=4 / 12, top_share=1 / 2, fast_miss_share=3 / 4),
    )


def test_a_region_without_misses_has_no_share_of_them_and_an_untouched_one_is_left_out() -> None:
    machine = SimulatedMachine(load_topology("dram-cxl"), 5, 4096, np.array([8, 8]), 1)
    machine.place[:2] = 0
    found = RegionsOnTop(region_names([HEAP, ANON], np.zeros(5, np.int64)), machine, first_epoch=0)
    assert found.result() == (RegionOnTop("[heap]", 0.0, 1.0, None),)


def test_many_regions_are_counted_together() -> None:
    regions = [Region(page, 1, 0, page << 20, f"/lib{page:02}") for page in range(TOLD_APART + 3)]
    found = region_names(regions, np.ones(TOLD_APART + 3, np.int64))
    assert (len(found.names), found.names[-1]) == (TOLD_APART + 1, OTHERS)
    assert found.of_page[TOLD_APART:].tolist() == [TOLD_APART] * 3
    assert found.miss_share[-1] == pytest.approx(3 / 23)


def test_means_are_over_the_seeds_that_know_a_share() -> None:
    first = [RegionOnTop("[heap]", 0.5, 0.2, None), RegionOnTop("[anon]", 0.5, 1.0, 0.5)]
    other = [RegionOnTop("[heap]", 0.5, 0.4, 0.6)]
    assert mean_over_seeds([first, other]) == (
        RegionOnTop("[heap]", 0.5, pytest.approx(0.3), 0.6),
        RegionOnTop("[anon]", 0.5, 1.0, 0.5),
    )


def test_a_comparison_has_them_and_all_fast_has_everything_on_top() -> None:
    pages = np.random.default_rng(0).zipf(1.3, 60_000) % 2_000
    found = pghot.compare(
        trace_from_accesses(pages.astype(np.uint32), accesses_per_slice=1_000),
        policies=["hemem"],
        seeds=1,
        duration_s=5.0,
    )
    by_label = {row["label"]: row for row in found.to_dict()["summary"]}
    assert by_label["all-fast"]["regions"] == [
        {"name": "accesses", "miss_share": 1.0, "top_share": 1.0, "fast_miss_share": 1.0}
    ]
    none = by_label["none"]
    assert none["regions"][0]["fast_miss_share"] == pytest.approx(none["fast_miss_share"], abs=0.02)
