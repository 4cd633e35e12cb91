"""What tenants are sure of on the top tier: figures worked by hand, and a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.recording.trace import Region
from pghot.sim.machine.local_low import LocalLow
from references.sim.machine.local_low import reclaimed

# A has 60 of its 600 pages on the top tier, B 40 of its 400. B's are older.
REGIONS = (
    Region(0, 60, 0, 0, "a"), Region(100, 540, 0, 1 << 30, "a"),
    Region(60, 40, 1, 0, "b"), Region(640, 360, 1, 1 << 30, "b"),
)  # fmt: skip


@pytest.fixture
def bed() -> Bed:
    made = Bed("equilibria", regions=REGIONS)
    made.machine.generations.sequence = 5
    made.machine.generations.generation[:60] = 1
    return made


def low_of(bed: Bed) -> LocalLow:
    assert bed.machine.local_low is not None
    return bed.machine.local_low


def on_top(bed: Bed) -> tuple[int, int]:
    return int((bed.machine.place[:60] == 0).sum()), int((bed.machine.place[60:100] == 0).sum())


def test_protection_is_memory_low_times_the_top_tiers_share_of_all_memory(bed: Bed) -> None:
    """101 of 2,101 pages are on top: 28.8 of A's 600, 19.2 of B's 400."""
    low = low_of(bed)
    assert low.protected.tolist() == pytest.approx([600 * 101 / 2101, 400 * 101 / 2101])
    assert low.used(bed.machine).tolist() == [60, 40]
    assert low.over(bed.machine).tolist() == [32, 21]
    assert LocalLow(bed.machine, low.tenant, 0.5).over(bed.machine).tolist() == [46, 31]


def test_the_oldest_go_until_their_tenant_is_at_its_protection_then_those_of_others(bed: Bed) -> None:
    """Of 30 the 21 that B is over, although its other 19 are older than all of A's."""
    assert low_of(bed).reclaim(bed.machine, 0, 30, "kswapd0") == 30
    assert on_top(bed) == (60 - 9, 40 - 21)


def test_who_is_within_its_protection_loses_pages_only_if_nobody_is_over(bed: Bed) -> None:
    low_of(bed).protected = np.array([59.5, 40.0])
    assert low_of(bed).reclaim(bed.machine, 0, 30, "kswapd0") == 1
    assert on_top(bed) == (59, 40)
    assert low_of(bed).reclaim(bed.machine, 0, 30, "kswapd0") == 30
    assert on_top(bed) == (59, 10), "B's kept their place in the queue, and are the oldest"


def test_kswapd_heeds_it_on_the_top_tier(bed: Bed) -> None:
    """10 pages are free and 40 are to be."""
    bed.machine.demotion_enabled = True
    bed.machine.free_pages[0] = 10
    bed.machine.low_pages[0] = bed.machine.high_pages[0] = 40
    bed.act(1_000)
    assert on_top(bed) == (51, 19)
    assert bed.machine.free_pages[0] == 40


@given(
    st.lists(st.integers(0, 2), min_size=PAGES, max_size=PAGES),
    st.permutations(range(PAGES)),
    st.lists(st.one_of(st.integers(0, PAGES), st.floats(0, PAGES)), min_size=3, max_size=3),
    st.integers(1, PAGES),
    st.integers(1, PAGES),
)
def test_it_takes_what_a_plain_reference_takes(
    tenant: list[int], age: list[int], sure: list[float], top: int, pages: int
) -> None:
    bed = SmallBed("none", top)
    machine = bed.machine
    machine.generations.generation[:] = age
    machine.generations.sequence = PAGES + 2
    low = LocalLow(machine, np.array([*tenant, 2], np.uint16)[:PAGES], 1.0)
    low.protected = np.array(sure)
    low.reclaim(machine, 0, pages, "kswapd0")
    machine.account()
    oldest_first = sorted(range(top), key=lambda page: age[page])
    assert set(range(top)) - bed.on_top() == reclaimed(oldest_first, tenant, sure, pages)
