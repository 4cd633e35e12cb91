"""Soar in figures worked by hand: objects ranked by the stall for each of their pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.recording.trace import MemoryKind, Region
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.policies import POLICIES
from references.sim.policies.soar import soar_reference


class Profile:
    """The misses of each page, and those of them that are sequential."""

    def __init__(self, misses: list[int], sequential: list[int]) -> None:
        self._misses, self._sequential = np.array(misses, np.int64), np.array(sequential, np.int64)

    def total_sequential(self) -> Any:
        return self._sequential

    def total_misses(self) -> Any:
        return self._misses


def region(first: int, pages: int, name: str, site: str = "") -> Region:
    return Region(first, pages, 0, first << 12, name, MemoryKind.ANON, site)


def placed(
    regions: list[Region],
    misses: list[int],
    in_flight: list[float],
    room: int,
    tiers: str = "dram-cxl",
    sequential: list[int] | None = None,
) -> list[int]:
    """The node of each page; the first node has so much room above its reserve of one page."""
    topology = load_topology(tiers)
    capacity = np.full(len(topology.nodes), 50)
    capacity[0] = room + 1
    machine = SimulatedMachine(topology, len(misses), 4096, capacity, 1, np.array(in_flight))
    profile: Any = Profile(misses, sequential or [0] * len(misses))
    world = LabWorld(machine, len(misses), 4096, 1.0, 0, profile, tuple(regions))
    POLICIES.make("soar").start(world)
    return machine.preferred.tolist()  # type: ignore[no-any-return]


def test_a_hot_object_whose_misses_overlap_ranks_below_a_colder_one_that_waits_for_each() -> None:
    """1,000 misses with 20 in flight are 50 latencies, 100 with one are 100."""
    regions = [region(0, 2, "array"), region(2, 2, "list")]
    assert placed(regions, [1_000, 1_000, 100, 100], [20, 20, 1, 1], room=2) == [1, 1, 0, 0]
    assert placed(regions, [1_000, 1_000, 100, 100], [4, 4, 1, 1], room=2) == [0, 0, 1, 1], "250 latencies"


def test_what_prefetchers_follow_waits_a_twentieth() -> None:
    """1,000 sequential misses are 50 latencies, and 60 dependent ones 60. Of 1,000 half of which are, 525 are left."""
    regions = [region(0, 1, "scan"), region(1, 1, "tree")]
    assert placed(regions, [1_000, 60], [1, 1], room=1, sequential=[1_000, 0]) == [1, 0]
    assert placed(regions, [1_000, 60], [1, 1], room=1, sequential=[500, 0]) == [0, 1]
    assert placed(regions, [1_000, 524], [1, 1], room=1, sequential=[500, 0]) == [0, 1]
    assert placed(regions, [1_000, 526], [1, 1], room=1, sequential=[500, 0]) == [1, 0]


def test_what_counts_is_the_stall_for_each_page() -> None:
    """The large object causes 4 x 30 = 120, the small one 50 on a single page."""
    regions = [region(0, 4, "large"), region(4, 1, "small")]
    assert placed(regions, [30, 30, 30, 30, 50], [1] * 5, room=1) == [1, 1, 1, 1, 0]


def test_all_pages_of_an_object_are_alike_and_its_first_ones_are_placed_when_it_fits_in_part() -> None:
    """One page of the first object is the hottest of all, but the object has 25 a page, the other 30."""
    regions = [region(0, 4, "uneven"), region(4, 2, "even")]
    assert placed(regions, [0, 0, 0, 100, 30, 30], [1] * 6, room=3) == [0, 1, 1, 1, 0, 0]


def test_what_was_allocated_at_one_site_is_one_object_whatever_its_region_is_called() -> None:
    """Together 20 a page, less than the 30 of the other; apart one of them has 40."""
    apart = [region(0, 1, "a"), region(1, 1, "b"), region(2, 1, "c")]
    assert placed(apart, [40, 0, 30], [1] * 3, room=1) == [0, 1, 1]
    same = [region(0, 1, "a", "grow < main"), region(1, 1, "b", "grow < main"), region(2, 1, "c")]
    assert placed(same, [40, 0, 30], [1] * 3, room=1) == [1, 1, 0]


def test_a_mapped_file_is_an_object_by_its_name_whoever_mapped_it() -> None:
    """Two files of one site, the dynamic linker's: 300 misses are the library's, and of none of the other's pages."""
    library, other = (
        Region(first, 2, 0, first << 12, name, MemoryKind.FILE, "mmap < open_file (ld.so)")
        for first, name in ((0, "/lib/hot.so"), (2, "/lib/cold.so"))
    )
    assert placed([other, library], [300, 0, 0, 0], [1] * 4, room=2) == [0, 0, 1, 1]
    one_site = [replace(each, kind=MemoryKind.ANON) for each in (other, library)]
    assert placed(one_site, [0, 300, 0, 0], [1] * 4, room=2) == [0, 0, 1, 1], "equals by their first page"
    assert placed([other, library], [0, 0, 0, 300], [1] * 4, room=2) == [1, 1, 0, 0]
    assert placed(one_site, [0, 0, 0, 300], [1] * 4, room=2) == [0, 0, 1, 1]


def test_memory_outside_of_all_regions_is_an_object_too() -> None:
    assert placed([region(1, 1, "a")], [10, 5, 10], [1] * 3, room=2) == [0, 1, 0]
    assert placed([], [10, 5, 10], [1] * 3, room=2) == [0, 0, 1]


def test_with_three_tiers_each_takes_the_best_that_is_left() -> None:
    """On hbm-dram-cxl node 0 is DRAM and node 1 HBM, which is a little slower when idle; node 2 is CXL."""
    regions = [region(page, 1, str(page)) for page in range(3)]
    topology = load_topology("hbm-dram-cxl")
    order = sorted(range(3), key=lambda node: topology.nodes[node].latency_ns)
    found = placed(regions, [10, 30, 20], [1] * 3, room=1, tiers="hbm-dram-cxl")
    assert found[1] == order[0]
    assert 2 not in found


def test_it_moves_nothing_and_waits_for_its_allocator() -> None:
    policy = POLICIES.get("soar")
    assert (policy.kind, policy.default_sources, policy.runs_live) == ("static", (), False)
    assert "allocator" in policy.awaits  # type: ignore[attr-defined]


twelve = st.lists(st.integers(0, 1_000), min_size=12, max_size=12)


@pytest.mark.parametrize("room", [0, 3, 12])
@given(
    st.lists(st.sampled_from("abcd"), min_size=12, max_size=12),
    twelve,
    twelve,
    st.lists(st.sampled_from([1.0, 2.0, 4.0, 8.0]), min_size=12, max_size=12),
)
def test_it_does_what_its_description_says(
    room: int, names: list[str], random: list[int], sequential: list[int], in_flight: list[float]
) -> None:
    regions = [region(page, 1, f"[{page}]", name) for page, name in enumerate(names)]
    misses = [one + other for one, other in zip(random, sequential, strict=True)]
    found = placed(regions, misses, in_flight, room, sequential=sequential)
    expected = soar_reference(names, misses, sequential, in_flight, room)

    def worth(pages: set[int]) -> float:
        """What the objects of these pages stall for each page: of equal objects either may be placed."""
        waits: dict[str, list[float]] = {}
        for page, name in enumerate(names):
            waits.setdefault(name, []).append(random[page] / in_flight[page] + sequential[page] / 20)
        return sum(sum(waits[names[page]]) / len(waits[names[page]]) for page in pages)

    on_top = {page for page, node in enumerate(found) if node == 0}
    assert len(on_top) == len(expected) == room
    assert worth(on_top) == pytest.approx(worth(expected))
