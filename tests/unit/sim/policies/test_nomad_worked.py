"""Nomad in figures worked by hand: which fault queues a page, who pays, and what a shadow saves and costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.policy_bed import Bed
from builders.small_bed import PAGES, SmallBed
from pghot.arrays import NOWHERE
from pghot.errors import UsageError
from pghot.sim.machine.remap import remap
from pghot.sim.policies import POLICIES
from pghot.sim.policies.nomad import Nomad
from references.sim.policies.nomad import NomadReference


def bed_of(room: int = 50, group_pages: float = 1.0, **options: float) -> tuple[Bed, Nomad]:
    """kswapd sleeps: no watermark is missed."""
    bed = Bed("nomad", room=room, group_pages=group_pages, **options)
    bed.machine.low_pages[0] = 0
    policy: Nomad = bed.policy  # type: ignore[assignment]
    return bed, policy


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[100:] == 0).tolist()  # type: ignore[no-any-return]


def promote(bed: Bed, *page: int, at_ms: int = 1_000) -> None:
    """Fault these pages and three more, and let the thread work."""
    bed.see(at_ms, *page, 997, 998, 999, latency_ms=5)
    bed.act(at_ms)


def test_the_options_and_their_limits() -> None:
    assert POLICIES.options("nomad") == {"demote_scale": 0.02, "looks": 3, "queue_pages": 512}
    for option, least, most in (("demote_scale", 0.0, 0.1), ("looks", 1, 255), ("queue_pages", 1, 1 << 20)):
        for value in (least, most):
            POLICIES.make("nomad", **{option: value})
        for value in (least - 1, most + 1):
            with pytest.raises(UsageError, match=f"nomad.{option}"):
                POLICIES.make("nomad", **{option: value})


def test_the_third_fault_after_its_own_queues_a_page() -> None:
    bed, policy = bed_of()
    for at_ms, page in enumerate((500, 501, 502), 1_000):
        bed.see(at_ms, page, latency_ms=5)
        bed.act(at_ms)
    assert promoted(bed) == []
    assert bed.world.decisions.held_back() == {"threshold": 1 + 2 + 3}
    bed.see(1_003, 503, latency_ms=5)
    bed.act(1_003)
    assert promoted(bed) == [400]
    assert policy.counters() == {"numa_hint_faults": 4, "pgpromote_candidate": 1}
    bed.see(1_004, 504, 505, latency_ms=5)
    bed.act(1_004)
    assert promoted(bed) == [400, 401, 402]


def test_the_thread_promotes_and_the_program_pays_the_interrupts() -> None:
    """Two pages in one batch: one flush, for which one thread is interrupted for 1,000 ns."""
    bed, _ = bed_of()
    promote(bed, 500, 501)
    assert promoted(bed) == [400, 401]
    assert bed.machine.ledger.moving_app_ns == 1_000
    assert bed.machine.kernel_threads["nomad"].used_ns == 2 * 1_240 + 4_000


def test_what_finds_no_room_needs_a_fault_of_its_own_again() -> None:
    bed, policy = bed_of(room=1)
    promote(bed, 500, 501)
    assert promoted(bed) == [400]
    assert bed.world.decisions.held_back()["free space"] == 1
    bed.machine.free_pages[0] += 10
    bed.act(1_100)
    assert promoted(bed) == [400]
    assert len(policy._queue) == 0
    promote(bed, 501, at_ms=2_000)
    assert 401 in promoted(bed)


def test_of_what_waits_for_the_thread_512_stay() -> None:
    """The slice lasts as long as 9.5 pages take. Of 900 the 10 first go, 512 wait, and 378 are dropped."""
    bed, policy = bed_of(room=899)
    bed.machine.slice_ns = 9.5 * 1_240
    bed.see(1_000, *range(100, 1_000), latency_ms=5)
    bed.act(1_000)
    assert len(promoted(bed)) == 10
    assert len(policy._queue) == 512
    assert bed.world.decisions.held_back()["busy"] == 900 - 3 - 10 - 512
    assert np.count_nonzero(policy._queued) == 512


def test_a_page_that_a_group_stands_for_takes_as_many_places_in_the_queue() -> None:
    bed, policy = bed_of(room=899, group_pages=128)
    bed.machine.slice_ns = 1
    bed.see(1_000, *range(100, 120), latency_ms=5)
    bed.act(1_000)
    assert len(policy._queue) == 4


def test_the_fraction_of_a_page_in_which_the_queue_ends_is_carried_on() -> None:
    """512 real pages are 1.6 groups of 320: 1.6, 2.2, 1.8, 2.4, 2.0 with what was carried on."""
    bed, policy = bed_of(room=899, group_pages=320)
    bed.machine.slice_ns = 1
    waiting = []
    for at_ms in range(1_000, 1_005):
        bed.see(at_ms, *range(100 + 20 * (at_ms - 1_000), 120 + 20 * (at_ms - 1_000)), latency_ms=5)
        bed.act(at_ms)
        waiting.append(len(policy._queue))
    assert waiting == [1, 2, 1, 2, 2]


def test_a_page_is_queued_once_though_it_faulted_twice() -> None:
    bed, policy = bed_of()
    bed.see(1_000, 500, 501, 500, 502, 503, 504, latency_ms=5)
    assert policy._queue.tolist() == [500, 501]


def test_a_page_that_waits_for_the_thread_is_not_queued_again() -> None:
    bed, policy = bed_of()
    bed.machine.slice_ns = 1
    promote(bed, 500, 501)
    assert (promoted(bed), policy._queue.tolist()) == ([400], [501])
    bed.see(1_001, 501, 995, 996, 997, latency_ms=5)
    assert policy._queue.tolist() == [501, 997, 998, 999]


def test_kswapd_makes_room_while_the_thread_promotes() -> None:
    """Room for 1 above the reserve, and kswapd frees up to 4: 3 at a time, until all 7 that faulted are up."""
    bed, policy = bed_of(room=1)
    bed.machine.low_pages[0] = bed.machine.high_pages[0] = bed.machine.min_pages[0] + 3
    bed.machine.generations.sequence = 5
    promote(bed, *range(500, 507))
    assert promoted(bed) == [*range(400, 407)]
    assert np.flatnonzero(bed.machine.place[:100] == 1).tolist() == [*range(9)], "so that 3 are free at last"
    assert not policy._queued.any()


def test_only_what_fits_is_mapped_to_its_copies() -> None:
    bed, _ = bed_of()
    bed.machine.free_pages[1] = bed.machine.min_pages[1] + 1
    remap(bed.machine, np.array([3, 4], np.uint32), 1, "kswapd0")
    assert np.flatnonzero(bed.machine.place[:100] == 1).tolist() == [3]


def test_a_promoted_page_has_a_shadow_until_it_is_written_and_the_write_faults() -> None:
    bed, policy = bed_of()
    promote(bed, 500, 501)
    assert np.flatnonzero(policy._shadow == 1).tolist() == [500, 501]
    assert policy.tracker_bytes() == 16
    assert bed.machine.written is not None
    bed.machine.written[[500, 600]] = True
    bed.act(1_001)
    assert np.flatnonzero(policy._shadow != NOWHERE).tolist() == [501]
    assert bed.machine.ledger.tracking_app_ns == 1_200
    assert not bed.machine.written.any()


def test_the_machine_says_what_the_program_writes() -> None:
    bed, _ = bed_of()
    machine = bed.machine
    page, touches = np.array([3, 4, 500], np.uint32), np.array([2, 2, 2], np.uint32)
    machine.run_slice(
        page, touches, touches, 0 * touches, np.array([0, 1, 2], np.uint32), np.zeros(3, np.int16), 1
    )
    assert machine.written is not None
    assert np.flatnonzero(machine.written).tolist() == [4, 500]


def test_shadows_take_what_is_free_below_above_the_high_watermark() -> None:
    bed, policy = bed_of()
    promote(bed, 500, 501, 502)
    bed.machine.free_pages[1] = bed.machine.high_pages[1] + 2
    bed.act(1_001)
    assert np.flatnonzero(policy._shadow == 1).tolist() == [501, 502]


def demoted(bed: Bed, *shadowed: int) -> Bed:
    """kswapd takes six pages, the first on the fast node; these have a shadow."""
    policy: Nomad = bed.policy  # type: ignore[assignment]
    bed.machine.low_pages[0] = bed.machine.high_pages[0] = 10
    bed.machine.free_pages[0] = 4
    bed.machine.generations.sequence = 5
    policy._shadow[list(shadowed)] = 1
    before = bed.machine.timing.moving_bytes.sum() + bed.machine.thread("kswapd0").copying.sum()
    bed.act(1_000)
    assert np.flatnonzero(bed.machine.place[:100] == 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert before == 0
    return bed


def test_kswapd_demotes_early_and_copies_what_has_no_shadow() -> None:
    """Six pages: 1,240 ns each with a copy of 4 KiB that is read and written, 930 ns without; a flush for each kind."""
    plain, some = demoted(bed_of()[0]), demoted(bed_of()[0], 1, 4)
    assert plain.machine.thread("kswapd0").copying.tolist() == [6 * 4096, 6 * 4096]
    assert some.machine.thread("kswapd0").copying.tolist() == [4 * 4096, 4 * 4096]
    assert plain.machine.thread("kswapd0").used_ns == 6 * 1_240 + 4_000
    assert some.machine.thread("kswapd0").used_ns == 4 * 1_240 + 2 * 930 + 2 * 4_000
    assert plain.machine.ledger.demoted == some.machine.ledger.demoted == 6
    assert some.machine.ledger.exchanged_bytes == 4 * 4096
    policy: Nomad = some.policy  # type: ignore[assignment]
    assert (policy._shadow == NOWHERE).all(), "the shadow is the page now"


def test_it_keeps_two_percent_free_as_tpp_does() -> None:
    assert (
        Bed("nomad", room=900).machine.low_pages.tolist() == Bed("tpp", room=900).machine.low_pages.tolist()
    )


def test_a_round_in_which_nothing_faulted_is_told() -> None:
    bed, _ = bed_of()
    assert bed.act(100) == {"nothing seen": 1}


slices = st.lists(
    st.tuples(
        st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES),
        st.lists(st.integers(0, PAGES - 1), unique=True, max_size=PAGES),
    ),
    max_size=12,
)


@given(slices, st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(-3, 4))
def test_it_does_what_its_description_says(
    drawn: list[tuple[list[int], list[int]]], on_top: int, room: int, looks: int, free: int
) -> None:
    bed = SmallBed("nomad", on_top, room, looks=looks)
    machine = bed.machine
    machine.low_pages[0] = 0
    machine.high_pages[1] = machine.free_pages[1] - free
    policy: Nomad = bed.policy  # type: ignore[assignment]
    plain = NomadReference(range(on_top), room, looks, free)
    for at, (faulting, written) in enumerate(drawn, 1):
        below = [page for page in faulting if page not in plain.fast]
        bed.fault(1_000 * at, dict.fromkeys(below, 5))
        assert machine.written is not None
        machine.written[written] = True
        bed.act(1_000 * at)
        for page in below:
            plain.fault(page)
        plain.act(written)
        assert bed.on_top() == plain.fast
        assert set(np.flatnonzero(policy._shadow == 1).tolist()) == plain.shadowed
