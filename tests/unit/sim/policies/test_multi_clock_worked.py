"""MULTI-CLOCK in figures worked by hand: how a page climbs from list to list, and how far a round looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import MS, Bed
from builders.small_bed import PAGES, SmallBed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES
from pghot.sim.policies.multi_clock import MultiClock
from references.sim.policies.multi_clock import MultiClockReference


def bed_of(room: int = 50, group_pages: float = 1.0, **options: float) -> tuple[Bed, MultiClock]:
    bed = Bed("multi-clock", room=room, group_pages=group_pages, **options)
    policy: MultiClock = bed.policy  # type: ignore[assignment]
    return bed, policy


def touched(bed: Bed, at_ms: float, *page: int) -> dict[str, int]:
    """A round at `at_ms`, after these pages were touched."""
    bed.machine.generations.young[list(page)] = 1
    return bed.act(at_ms)


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("multi-clock") == {"scan_pages": 1024, "period_ms": 1000.0}
    for option in ("scan_pages", "period_ms"):
        POLICIES.make("multi-clock", **{option: 1})
        with pytest.raises(UsageError, match=f"multi-clock.{option}"):
            POLICIES.make("multi-clock", **{option: 0})


def test_the_second_access_between_looks_promotes_however_late() -> None:
    bed, policy = bed_of()
    assert touched(bed, 1_000, 500, 501) == {"threshold": 2}
    assert promoted(bed) == []
    assert policy._lists[1].active.tolist() == [500, 501]
    assert touched(bed, 2_000, 500, 502) == {"threshold": 3}
    assert promoted(bed) == [400]
    touched(bed, 60_000, 501)
    assert promoted(bed) == [400, 401]
    assert policy.counters() == {"pgpromote_candidate": 2}
    assert policy.tracker_bytes() == 0


def test_accesses_between_two_looks_count_once() -> None:
    bed, _ = bed_of()
    bed.machine.generations.young[500] = 1
    touched(bed, 1_000, 500)
    assert bed.act(2_000) == {"threshold": 1, "nothing seen": 1}
    assert promoted(bed) == []


def test_a_bit_that_kswapd_took_is_not_lost() -> None:
    """Its walk clears all bits, but says in the generations which were set."""
    bed, _ = bed_of()
    touched(bed, 1_000, 500)
    bed.machine.generations.young[500] = 1
    bed.machine.generations.age(bed.machine.now_ns)
    bed.act(2_000)
    assert promoted(bed) == [400]
    bed.machine.generations.age(bed.machine.now_ns)
    bed.act(3_000)
    assert promoted(bed) == [400], "a walk that finds no bit set says nothing"


def test_a_page_whose_bit_it_took_is_as_young_to_reclaim_as_before() -> None:
    bed, _ = bed_of()
    bed.machine.generations.sequence = 5
    touched(bed, 1_000, 500)
    assert bed.machine.generations.generation[[500, 501]].tolist() == [5, 0]


def test_a_page_goes_to_the_top_tier_node_that_is_nearest_to_it() -> None:
    """Of two sockets that are as far from it, the first."""
    bed = SmallBed("multi-clock", tiers="two-socket-cxl")
    assert bed.machine.promotion_targets[2] == [0, 1]
    for at_ms in (1_000, 2_000):
        bed.machine.generations.young[7] = 1
        bed.act(at_ms)
    assert bed.machine.place[7] == 0


def test_it_takes_no_bits_of_pages_on_top() -> None:
    bed, _ = bed_of()
    assert touched(bed, 1_000, 3) == {"nothing seen": 1}
    assert bed.machine.generations.young[3] == 1


def test_a_round_looks_at_so_many_of_each_list_and_the_next_goes_on_there() -> None:
    """Three a second: 100 to 102, then 103 to 105. 900 pages are below, so 100 comes round after 300 s."""
    bed, policy = bed_of(scan_pages=3)
    touched(bed, 1_000, 100, 103, 106)
    assert policy._lists[1].active.tolist() == [100]
    bed.act(2_000)
    assert policy._lists[1].active.tolist() == [100, 103]
    assert policy._lists[1].inactive[[0, 1, -2, -1]].tolist() == [106, 107, 104, 105]
    touched(bed, 3_000, 100)
    assert promoted(bed) == [0]
    assert policy._lists[1].active.tolist() == [103, 106]


def test_a_round_that_comes_late_looks_at_more() -> None:
    """At 2.5 s: two and a half periods of a page. The half is carried on: at 4 s, 0.5 + 1.5 are two more."""
    bed, policy = bed_of(scan_pages=1)
    touched(bed, 2_500, *range(100, 120))
    assert policy._lists[1].active.tolist() == [100, 101]
    bed.act(3_400)
    assert len(policy._lists[1].active) == 2, "a period has not passed"
    bed.act(4_000)
    assert policy._lists[1].active.tolist() == [102, 103, 100, 101], "the first two have been looked at again"


def test_where_a_page_stands_for_512_a_second_looks_at_two() -> None:
    bed, policy = bed_of(group_pages=512)
    touched(bed, 1_000, *range(100, 120))
    assert policy._lists[1].active.tolist() == [100, 101]


def test_its_thread_pays_for_looks_and_moves_and_the_program_for_bits() -> None:
    """900 pages at 100 ns; two bits at 200 ns, which the program sets again."""
    bed, _ = bed_of()
    touched(bed, 1_000, 500, 501)
    ledger = bed.machine.ledger
    assert ledger.tracking_kernel_ns == 902 * 100, "the two that became active are looked at twice"
    assert ledger.tracking_app_ns == 2 * 200
    assert bed.machine.kernel_threads.keys() == {"multi-clock"}


def test_what_finds_no_room_stays_on_the_promote_list() -> None:
    bed, policy = bed_of(room=1)
    touched(bed, 1_000, 500, 501)
    assert touched(bed, 2_000, 500, 501) == {"threshold": 2, "free space": 1}
    assert promoted(bed) == [400]
    assert policy._lists[1].promote.tolist() == [501]
    bed.machine.free_pages[0] += 1
    bed.act(3_000)
    assert promoted(bed) == [400, 401], "it needs no further access"


def test_the_thread_moves_as_many_as_it_has_time_for() -> None:
    """A period of 1 ms in which a page takes 1,240 ns: with 807 pages it is full, and 900 looks take 90 us of it."""
    bed, policy = bed_of(room=899, period_ms=1, scan_pages=900)
    bed.machine.slice_ns = 1
    touched(bed, 1, *range(100, 1_000))
    held = touched(bed, 2, *range(100, 1_000))
    assert held["busy"] == len(policy._lists[1].promote) == 900 - len(promoted(bed))
    assert 600 < len(promoted(bed)) < 807


def test_a_page_that_comes_back_begins_on_the_inactive_list() -> None:
    bed, policy = bed_of()
    for at_ms in (1_000, 2_000):
        touched(bed, at_ms, 500)
    bed.machine.demote(np.array([500], np.uint32), 0, "kswapd0")
    touched(bed, 3_000, 500)
    assert promoted(bed) == []
    assert policy._lists[1].active.tolist() == [500]


def test_a_page_that_another_thread_moved_away_is_on_no_list() -> None:
    bed, policy = bed_of()
    touched(bed, 1_000, 500, 501)
    bed.machine.migrate(np.array([500], np.uint32), 0, "app")
    bed.act(2_000)
    assert policy._lists[1].active.tolist() == [501]


def test_kswapd_works_between_the_rounds() -> None:
    bed, _ = bed_of()
    bed.policy.start(bed.world)
    assert bed.machine.demotion_enabled
    bed.machine.free_pages[0] = 0
    bed.machine.generations.sequence = 5
    bed.machine.slice_ns = MS
    bed.act(100)
    assert np.count_nonzero(bed.machine.place[:100] == 1) > 0


rounds = st.lists(
    st.tuples(st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES), st.booleans()), max_size=15
)


@given(rounds, st.integers(0, 6), st.integers(0, 6), st.integers(1, PAGES))
def test_it_does_what_its_description_says(
    drawn: list[tuple[list[int], bool]], on_top: int, room: int, many: int
) -> None:
    """In some rounds kswapd walks as well."""
    bed = SmallBed("multi-clock", on_top, room, scan_pages=many)
    bed.machine.demotion_enabled = False
    policy: MultiClock = bed.policy  # type: ignore[assignment]
    plain = MultiClockReference(PAGES, range(on_top), room)
    for at, (pages, walk) in enumerate(drawn, 1):
        bed.machine.generations.young[pages] = 1
        if walk:
            bed.machine.generations.age(bed.machine.now_ns)
        bed.act(1_000 * at)
        plain.touch(pages)
        plain.round(many)
        assert policy._lists[1].inactive.tolist() == plain.inactive
        assert policy._lists[1].active.tolist() == plain.active
        assert policy._lists[1].promote.tolist() == plain.promote
        assert bed.on_top() == plain.fast
