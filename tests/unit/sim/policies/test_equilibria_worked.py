"""Equilibria-like shares in figures worked by hand: whose faults are heeded, and when."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.recording.trace import Region
from pghot.sim.policies import POLICIES
from references.sim.policies.equilibria import EquilibriaReference

# A has 60 of its 600 pages on the top tier, B 40 of its 400.
REGIONS = (
    Region(0, 60, 0, 0, "a"), Region(100, 540, 0, 1 << 30, "a"),
    Region(60, 40, 1, 0, "b"), Region(640, 360, 1, 1 << 30, "b"),
)  # fmt: skip
OF_A, OF_B = range(100, 640), range(640, 1000)


def pressed(sure_of_a: float, **options: float) -> Bed:
    """51 pages are free on the top tier; the promotion watermark is 61, as far above the high one as that is above low.
    B is within its protection."""
    bed = Bed("equilibria", room=50, regions=REGIONS, **options)
    assert bed.machine.local_low is not None
    bed.machine.local_low.protected = np.array([sure_of_a, 40.0])
    bed.machine.low_pages[0], bed.machine.high_pages[0] = 59, 60
    return bed


def held_by_rate(bed: Bed) -> int:
    return bed.world.decisions.held_back().get("rate", 0)


def drawn(share: float, many: int) -> int:
    """How many of so many draws with the run's seed are heeded."""
    return int((np.random.default_rng(0).random(many) < share).sum())


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("equilibria") == {"low": 1.0, "least_scan": 0.0625}
    for option in ("low", "least_scan"):
        for value in (0.0, 1.0):
            POLICIES.make("equilibria", **{option: value})
        for value in (-0.1, 1.1):
            with pytest.raises(UsageError, match=f"equilibria.{option}"):
                POLICIES.make("equilibria", **{option: value})


@pytest.mark.parametrize(
    ("sure", "share"),
    [
        (60.0, Fraction(1)),  # not over
        (59.0, Fraction(59, 61) ** 4),  # 0.875; one page more in the divisor, as in the patch
        (40.0, Fraction(40, 61) ** 4),  # 50 % over: 0.185
        (31.0, Fraction(31, 61) ** 4),  # 0.067
        (30.0, Fraction(1, 16)),  # 100 % over: 0.058, and a sixteenth is the least
        (0.0, Fraction(1, 16)),
    ],
)
def test_who_is_over_its_share_is_scanned_by_the_fourth_power_of_it(sure: float, share: Fraction) -> None:
    bed = pressed(sure)
    bed.see(1_000, *OF_A, latency_ms=5)
    heeded = drawn(float(share), len(OF_A))
    assert abs(heeded / len(OF_A) - share) < 0.05
    assert held_by_rate(bed) == len(OF_A) - heeded
    assert bed.policy.counters()["numa_hint_faults"] == heeded


def test_who_is_within_its_share_is_scanned_in_full_beside_it() -> None:
    bed = pressed(0.0)
    bed.see(1_000, *OF_B, latency_ms=5)
    assert held_by_rate(bed) == 0
    assert bed.policy.counters()["numa_hint_faults"] == len(OF_B)


def test_with_the_promotion_watermark_free_all_are_scanned_in_full() -> None:
    bed = pressed(0.0)
    bed.machine.free_pages[0] = 61
    bed.see(1_000, *OF_A, latency_ms=5)
    assert held_by_rate(bed) == 0
    bed.machine.free_pages[0] = 60
    bed.see(2_000, *OF_A, latency_ms=5)
    assert held_by_rate(bed) > 0


def test_the_least_scan_is_an_option() -> None:
    bed = pressed(0.0, least_scan=0.5)
    bed.see(1_000, *OF_A, latency_ms=5)
    assert held_by_rate(bed) == len(OF_A) - drawn(0.5, len(OF_A))


def test_what_is_heeded_is_judged_by_mode_2() -> None:
    """Later than the hot threshold of a second is not hot."""
    bed = pressed(60.0)
    bed.see(5_000, 100, 101, latency_ms=5)
    bed.see(5_000, 102, latency_ms=1_500)
    assert np.flatnonzero(bed.machine.place[100:640] == 0).tolist() == [0, 1]
    assert bed.world.decisions.held_back() == {"threshold": 1}


def test_a_round_in_which_nothing_faulted_is_told() -> None:
    assert pressed(60.0).act(100) == {"nothing seen": 1}


def test_pages_of_no_region_are_the_first_processs() -> None:
    bed = Bed("equilibria")
    assert bed.machine.local_low is not None
    assert set(bed.machine.local_low.tenant.tolist()) == {0}
    assert bed.policy.tracker_bytes() == 0


@given(
    st.lists(
        st.dictionaries(st.integers(0, PAGES - 1), st.sampled_from([5, 999, 1_000]), min_size=4, max_size=PAGES),
        min_size=1, max_size=12,
    ),
    st.lists(st.integers(0, 2), min_size=PAGES, max_size=PAGES),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(2, 12),
    st.lists(st.fractions(0, 6, max_denominator=4), min_size=3, max_size=3),
    st.sampled_from([Fraction(0), Fraction(1, 16), Fraction(1, 2)]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_it_does_what_its_description_says(
    wanted: list[dict[int, int]],
    tenant: list[int],
    on_top: int,
    room: int,
    watermark: int,
    sure: list[Fraction],
    least: Fraction,
    seed: int,
) -> None:
    regions = [Region(page, 1, space, page << 12, "") for page, space in enumerate(tenant)]
    bed = SmallBed("equilibria", on_top, room, regions=regions, seed=seed, least_scan=float(least))
    machine = bed.machine
    machine.demotion_enabled = False
    machine.low_pages[0], machine.high_pages[0] = watermark - 2, watermark - 1
    assert machine.local_low is not None
    number = dict(zip(tenant, machine.local_low.tenant.tolist(), strict=True))
    sure = sure[: len(number)]
    machine.local_low.protected = np.array(sure, np.float64)
    reference = EquilibriaReference(
        [number[space] for space in tenant], set(range(on_top)), room + 1, watermark, sure, least,
        np.random.default_rng(seed).random,
    )  # fmt: skip
    for at, faults in enumerate(wanted):
        latency_ms = {page: ms for page, ms in faults.items() if page not in bed.on_top()}
        bed.fault(1_000 * at, latency_ms)
        reference.fault(latency_ms)
        assert bed.on_top() == reference.fast
