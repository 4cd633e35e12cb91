"""Who moves, in figures worked by hand from docs/FACTS.md 8: what each mover takes, who pays, and what is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.policy_bed import Bed
from pghot.engine.accesses import Source
from pghot.errors import UsageError
from pghot.policies.decisions import DecisionCounts
from pghot.sim.machine.costs import Costs
from pghot.sim.machine.move_costs import HINT_FAULT
from pghot.sim.machine.movers import Copying, Mover, mover_named
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.moved_by import MovedBy, MoverThreads, ProcessContext, mover_thread
from pghot.sim.sources.hintfaults import HintFaults
from pghot.sim.sources.pebs import Pebs

LINK = 26.0  # GB/s of the CXL node
HUGE = 2 << 20
THREADS = 2


def machine(pages: int = 1_000, spare_cores: bool = True, **keys: Any) -> SimulatedMachine:
    """dram-cxl with all pages on the slow node, and room on the fast one for all but its reserve."""
    topology = load_topology("dram-cxl").model_copy(update={"spare_cores": spare_cores})
    subject = SimulatedMachine(topology, pages, 4096, np.array([pages + 2, 2 * pages]), THREADS, **keys)
    subject.place[:] = 1
    subject.free_pages[:] = [pages + 2, pages]
    subject.slice_ns = 1e9
    return subject


def mover(name: str) -> Mover:
    found = mover_named(name)
    assert found is not None
    return found


def threads(subject: SimulatedMachine, name: str) -> tuple[MoverThreads, DecisionCounts]:
    copying, decisions = mover(name).copying, DecisionCounts()
    assert copying is not None
    return MoverThreads(subject, copying, decisions), decisions


def first(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint32)


@pytest.mark.parametrize(
    ("name", "small_ns", "huge_ns"),
    [
        ("kthread", 1_240, 190_650),  # 4 KiB at 3.31 GB/s is published as 1.24 us; 2 MiB / 11.0 GB/s
        (
            "copy-threads:2",
            930 + 157.54,
            930 + 94_860,
        ),  # 310 / 2 = 155 is below 4,096 / 26; 189,720 / 2 is above
        ("copy-threads:4", 930 + 157.54, 930 + 80_659.7),  # 189,720 / 4 is below 2 MiB / 26 GB/s
        ("dma", 1_896.3, 165_782.8),  # 4,096 / 2.16 and 2 MiB / 12.65
    ],
)
def test_what_a_page_takes_by_who_copies(name: str, small_ns: float, huge_ns: float) -> None:
    copying = mover(name).copying
    assert copying is not None
    for page_bytes, expected in ((4096, small_ns), (HUGE, huge_ns)):
        assert copying.page_ns(Costs(), page_bytes, 1.0, LINK)[0] == pytest.approx(expected, rel=1e-4)


def test_whose_cpu_time_a_page_takes() -> None:
    """Four that share a copy take what one takes, and an engine leaves what is not the copy: 1,240 less a quarter."""
    for page_bytes, alone_ns in ((4096, 1_240.0), (HUGE, 190_650.2)):
        assert Copying(4).page_ns(Costs(), page_bytes, 1.0, LINK)[1] == pytest.approx(alone_ns)
        assert Copying(dma=True).page_ns(Costs(), page_bytes, 1.0, LINK)[1] == 930


def test_loaded_memory_slows_the_copy_whoever_copies() -> None:
    """Twice idle: 930 + 2 x 310, 930 + 2 x 157.54 and 930 + 2 x 966.3."""
    found = [Copying(*each).page_ns(Costs(), 4096, 2.0, LINK)[0] for each in ((1,), (4,), (1, True))]
    assert found == pytest.approx([1_550, 1_245.1, 2_862.6], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "lasts_ns", "cpu_ns"),
    [
        ("kthread", 512 * 1_240 + 4_000, 512 * 1_240 + 4_000),
        ("copy-threads:4", 512 * (930 + 157.538) + 4_000, 512 * 1_240 + 4_000),
        ("dma", 512 * 1_896.296 + 4_000, 512 * 930 + 4_000),
    ],
)
@pytest.mark.parametrize("spare_cores", [True, False])
def test_a_batch_of_512_takes_a_thread_its_pages_and_one_flush(
    name: str, lasts_ns: float, cpu_ns: float, spare_cores: bool
) -> None:
    """The program takes an interrupt on each of two threads; on shared CPUs also the CPU time, not the engine's."""
    subject = machine(spare_cores=spare_cores)
    moving, decisions = threads(subject, name)
    found = moving.migrate(first(512), 0, "any")
    assert (len(found.moved), len(found.failed), decisions.held_back()) == (512, 0, {})
    thread = subject.thread(mover_thread(1))
    assert (thread.free_at_ns, thread.used_ns) == pytest.approx((lasts_ns, cpu_ns))
    assert thread.copying.tolist() == [512 * 4096.0] * 2
    assert subject.ledger.moving_app_ns == THREADS * 1_000
    none = np.empty(0, np.uint32)
    subject.slice_ns = 0.0  # as if no copy fell into the next slice
    lost_ns = subject.run_slice(none, none, none, none, none, np.empty(0, np.int16), 0)
    debt_ns = THREADS * 1_000 + (0 if spare_cores else cpu_ns)
    assert lost_ns == pytest.approx(debt_ns / THREADS)


@pytest.mark.parametrize(("payer", "flush_ns"), [(HINT_FAULT, 0), ("hemem", 4_000 + THREADS * 1_000)])
@pytest.mark.parametrize(("folio", "remap_ns", "copy_ns"), [(4096, 930, 310), (HUGE, 930, 189_720)])
def test_in_process_context_the_program_pays_for_each_page(
    payer: str, flush_ns: int, folio: int, remap_ns: int, copy_ns: int
) -> None:
    """512 pages of 4 KiB: each is remapped, copied and flushed; as one of 2 MiB all that happens once."""
    subject = machine(folio_bytes=folio)
    ProcessContext(subject, in_fault=False).migrate(first(512), 0, payer)
    real = 512 * 4096 / folio
    assert subject.ledger.moving_app_ns == pytest.approx(real * (remap_ns + flush_ns))
    assert subject.timing.copy_ns.sum() == pytest.approx(real * copy_ns, rel=1e-4)
    assert subject.timing.moving_bytes.tolist() == [512 * 4096.0] * 2
    assert subject.kernel_threads == {}


@pytest.mark.parametrize(("thread", "flushes"), [(HINT_FAULT, 0), ("hemem", 3)])
def test_in_process_context_the_program_pays_for_demotions_too(thread: str, flushes: int) -> None:
    subject = machine()
    moving = ProcessContext(subject, in_fault=True)
    moving.migrate(first(3), 0, HINT_FAULT)
    assert moving.demote(first(3), 0, thread) == 3
    assert subject.ledger.moving_app_ns == 6 * 930 + flushes * (4_000 + THREADS * 1_000)


def test_in_process_context_all_threads_together_are_the_budget() -> None:
    """Two threads for 1 ms, each page 1,240 + 4,000 + 2 x 1,000 ns of them: 276.2, and the last may be begun. In a hint
    fault 1,240: 1,612.9."""
    subject = machine()
    subject.slice_ns = 1e6
    moving = ProcessContext(subject, in_fault=False)
    assert (moving.pages_in_budget("any"), moving.pages_in_budget("any", 2e6)) == (277, 553)
    assert ProcessContext(subject, in_fault=True).pages_in_budget("any") == 1_613


@pytest.mark.parametrize(
    ("sources", "flushes"), [([HintFaults], 0), ([HintFaults, Pebs], 2), ([Pebs], 2), ([], 2)]
)
def test_only_where_all_is_hint_faults_the_fault_that_makes_a_page_hot_promotes_it(
    sources: list[type[Source]], flushes: int
) -> None:
    """Two pages for a policy with a thread of its own, on one thread of the program."""
    bed = Bed("pghot-default", room=50, freq_threshold=1)
    bed.policy = MovedBy(bed.policy, mover("fault"), sources)
    bed.policy.start(bed.world)
    bed.see(1_000, 500, 501, latency_ms=5)
    bed.act(1_001)
    assert np.flatnonzero(bed.machine.place[500:] == 0).tolist() == [0, 1]
    assert bed.machine.ledger.moving_app_ns == 2 * 930 + flushes * (4_000 + 1_000)
    assert not any(thread.copying.any() for thread in bed.machine.kernel_threads.values())


def test_what_a_thread_cannot_start_in_time_is_dropped_and_counted() -> None:
    """A slice of 10 us is 8.06 pages of 1,240 ns, and the last may be begun: 9 of 12; the thread is busy then."""
    subject = machine()
    subject.slice_ns = 10_000
    moving, decisions = threads(subject, "kthread")
    assert moving.pages_in_budget("any") == 9
    found = moving.migrate(first(12), 0, "any")
    assert (found.moved.tolist(), found.failed.tolist()) == (list(range(9)), [])
    assert decisions.held_back() == {"busy": 3}
    assert moving.pages_in_budget("any") == 0
    assert len(moving.migrate(first(12), 0, "any").moved) == 0
    assert decisions.held_back() == {"busy": 6}
    subject.now_ns = subject.thread(mover_thread(1)).free_at_ns
    assert moving.pages_in_budget("any", 20_000) == 17, (
        "16.1 in the sleep of a policy that says how long it sleeps"
    )


def test_the_thread_of_a_node_moves_what_leaves_it() -> None:
    subject = machine()
    moving, _ = threads(subject, "kthread")
    moving.migrate(first(100), 0, "any")
    assert moving.demote(first(50), 0, "any") == 50
    used = {name: thread.used_ns for name, thread in subject.kernel_threads.items()}
    assert used == {mover_thread(0): 50 * 1_240 + 4_000, mover_thread(1): 100 * 1_240 + 4_000}
    assert np.flatnonzero(subject.place == 0).tolist() == list(range(50, 100))


def test_full_is_not_busy() -> None:
    subject = machine()
    subject.free_pages[0] = 7  # 3 of them are the reserve of a node of 1,002 pages
    moving, decisions = threads(subject, "dma")
    found = moving.migrate(first(8), 0, "any")
    assert (found.moved.tolist(), found.failed.tolist(), decisions.held_back()) == (
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        {},
    )


@pytest.mark.parametrize(
    ("name", "by_program", "by_thread"),
    [("fault", 2 * 930, 0), ("kthread", 1_000, 2 * 1_240 + 4_000), ("dma", 1_000, 2 * 930 + 4_000)],
)
def test_a_policy_decides_as_before_and_another_pays(name: str, by_program: int, by_thread: int) -> None:
    """TPP at its second fault promotes two pages: in the fault, or with one flush for both and its interrupt."""
    bed = Bed("tpp", room=50)
    bed.policy = MovedBy(bed.policy, mover(name), [HintFaults])
    bed.policy.start(bed.world)
    for at_ms in (1_000, 2_000):
        bed.see(at_ms, 500, 501, latency_ms=5)
    assert np.flatnonzero(bed.machine.place[500:] == 0).tolist() == [0, 1]
    assert bed.machine.ledger.moving_app_ns == by_program
    assert sum(thread.used_ns for thread in bed.machine.kernel_threads.values()) == by_thread
    assert bed.policy.counters() == {"numa_hint_faults": 4, "pgpromote_candidate": 2}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["kthread", "copy-threads:2", "copy-threads:64", "dma"]),
    st.lists(
        st.tuples(st.integers(1, 500_000), st.lists(st.integers(0, 199), unique=True), st.booleans()),
        max_size=12,
    ),
    st.sampled_from([4096, HUGE]),
)
def test_no_thread_copies_more_than_it_can_and_none_is_lost(
    name: str, steps: list[tuple[int, list[int], bool]], folio: int
) -> None:
    """By the end of a slice a thread has begun what fits in it, and a page more; and each page asked for is accounted
    for: moved, without room, dropped, or there before."""
    subject = machine(pages=200, folio_bytes=folio)
    subject.free_pages[0] = 60
    subject.capacity_pages[0] = 60
    moving, decisions = threads(subject, name)
    copying = mover(name).copying
    assert copying is not None
    page_ns = copying.page_ns(Costs(), folio, 1.0, LINK)[0] * 4096 / folio
    moved_by, asked, told = [0, 0], 0, 0
    for lasts_ns, pages, up in steps:
        subject.slice_ns = lasts_ns
        page, target = np.array(pages, np.uint32), 0 if up else 1
        before = subject.place.copy()
        found = moving.migrate(page, target, "any")
        there = int(np.count_nonzero(before[page] == target))
        asked += len(page)
        told += len(found.moved) + len(found.failed) + there
        moved_by[1 - target] += len(found.moved)
        assert (subject.place[found.moved] == target).all()
        assert np.array_equal(np.flatnonzero(before != subject.place), np.sort(found.moved))
        assert (np.bincount(subject.place, minlength=2) + subject.free_pages == [60, 400]).all()
        subject.now_ns += lasts_ns
        for count in moved_by:
            assert max(0, count - len(steps)) * page_ns <= subject.now_ns
    assert asked == told + decisions.held_back().get("busy", 0)


@pytest.mark.parametrize(
    "name", ["copy-threads:1", "copy-threads:65", "copy-threads:x", "copy-threads:", "copy-threads"]
)
def test_a_number_of_copiers_that_there_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--movers {name} does not say how many") as caught:
        mover_named(name)
    assert caught.value.hint == "give 2 to 64, as copy-threads:4; one thread that copies is kthread"


def test_an_unknown_mover_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown mover 'kthraed'"):
        mover_named("kthraed")
    assert mover_named("policy") is None
