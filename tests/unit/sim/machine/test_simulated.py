"""The simulated machine: tiers as the kernel forms them, placement, reclaim, costs and who pays them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pghot.documents import shipped_text
from pghot.errors import PghotError, UsageError
from pghot.policies import tiers
from pghot.sim.machine.lru import AGEING_MS, Generations
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import TOPOLOGIES, Topology, load_topology


def node(name: str, latency_ns: float, bandwidth_gb_s: float, cpus: int = 0, **more: Any) -> dict[str, Any]:
    facts = {"name": name, "cpus": cpus, "latency_ns": latency_ns, "bandwidth_gb_s": bandwidth_gb_s}
    return {"capacity": "1 GiB", **facts, **more}


TWO = {"nodes": [node("dram", 100, 200, cpus=2), node("cxl", 271, 26)]}

ONE_NODE = """
[[nodes]]
name = "dram"
cpus = 4
capacity = "1 GiB"
latency_ns = 100
bandwidth_gb_s = 100
"""


def machine(
    table: dict[str, Any] = TWO, pages: int = 100, capacity: tuple[int, ...] = (20, 200), **more: Any
):
    return SimulatedMachine(
        Topology.model_validate(table), pages, more.pop("page_bytes", 4096), np.array(capacity), 2, **more
    )


def touch(
    subject: SimulatedMachine, pages: Any, misses: int = 10, sequential: int = 0, from_node: int = 0
) -> float:
    page = np.array(sorted(pages), np.uint32)
    full = np.full(len(page), 1, np.uint32)
    return subject.run_slice(
        page,
        full * misses,
        full * misses,
        full * sequential,
        full * 0,
        np.full(len(page), from_node, np.int16),
        0,
    )


def test_the_three_nodes_of_the_kernels_documentation() -> None:
    """DRAM with CPUs, HBM without, PMEM: HBM on top, and each demotes to the nearest lower tier first."""
    table = {
        "nodes": [
            node("dram", 100, 100, cpus=8),
            node("hbm", 110, 300, device="hbm"),
            node("pmem", 300, 30, device="pmem"),
        ],
        "distances": [[10, 20, 30], [20, 10, 40], [30, 40, 10]],
    }
    topology = Topology.model_validate(table)
    assert topology.ranks() == [1, 0, 2]
    assert topology.top_nodes() == (1,)
    assert topology.warnings() == []
    subject = machine(table, capacity=(50, 50, 50))
    assert subject.demotion_targets == [[2], [0, 2], []]
    assert [targets[0] for targets in subject.promotion_targets] == [1, 1, 1]
    touch(subject, range(10))
    assert (subject.place[:10] == 0).all(), "allocation is local to the CPU, not to the top tier"


def test_tiers_come_from_abstract_distance() -> None:
    assert tiers.tier_number(tiers.adistance(100, 200, 100, 200)) == 4
    assert tiers.adistance(271, 26, 100, 200) == int(576 * 2.71 * 200 / 26)
    assert tiers.ranks([4, 4, 94]) == [0, 0, 1]


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_every_shipped_machine_says_whose_cache_it_has_and_who_says_so(name: str) -> None:
    line = next(line for line in shipped_text("tiers", name).splitlines() if line.startswith("llc = "))
    assert re.search(
        r"# .*(Xeon|Zen 5|as the published argument).*\((unverified|FACTS \d+|[\w.]+, .+)\)", line
    )
    assert load_topology(name).llc_bytes >= 60 << 20


def test_a_tiers_file_need_not_know_the_cache(tmp_path) -> None:
    path = tmp_path / "tiers.toml"
    path.write_text(ONE_NODE)
    assert load_topology(str(path)).llc_bytes is None
    path.write_text('llc = "1.5 MiB"\n' + ONE_NODE)
    assert load_topology(str(path)).llc_bytes == 3 << 19
    path.write_text("llc = 0\n" + ONE_NODE)
    with pytest.raises(UsageError, match=r"tiers\.toml:1: llc: .*greater than 0"):
        load_topology(str(path))


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_every_shipped_machine_has_two_tiers_and_no_oddities(name: str) -> None:
    topology = load_topology(name)
    assert max(topology.ranks()) >= 1
    assert topology.warnings() == []
    assert topology.description


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("latency_ns = 271", "latency_ns = -1", ":13: nodes.1.latency_ns"),
        ("latency_ns = 271", "latency = 271", ":13: nodes.1.latency"),
        ('capacity = "512 GiB"', 'capacity = "-5 GiB"', "capacity"),
        ("latency_ns = 271", 'latency_ns = "fast"', ":13: nodes.1.latency_ns"),
        ("cpus = 64", "cpus = 0", "no node has cpus"),
    ],
)
def test_impossible_tiers_are_named_with_their_line(tmp_path, old: str, new: str, said: str) -> None:
    text = """description = "mine"

[[nodes]]
name = "dram"
cpus = 64
capacity = "128 GiB"
latency_ns = 100
bandwidth_gb_s = 200

[[nodes]]
name = "cxl"
capacity = "512 GiB"
latency_ns = 271
bandwidth_gb_s = 26
"""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_topology(path).ranks() == [0, 1]
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match="mine") as caught:
        load_topology(path)
    assert said in str(caught.value)


def test_a_fast_tier_that_is_slower_is_a_warning() -> None:
    table = {"nodes": [node("dram", 300, 200, cpus=2), node("cxl", 271, 26)]}
    assert "latency is lower" in Topology.model_validate(table).warnings()[0]


def test_first_touch_fills_the_local_node_then_its_zonelist() -> None:
    subject = machine()
    touch(subject, range(30))
    reserve = int(subject.min_pages[0])
    assert np.count_nonzero(subject.place == 0) == 20 - reserve
    assert np.count_nonzero(subject.place == 1) == 10 + reserve
    subject.preferred[30:] = 1
    touch(subject, range(30, 40))
    assert (subject.place[30:40] == 1).all()


def test_memory_that_does_not_hold_the_program_is_an_error() -> None:
    with pytest.raises(PghotError, match="ran out"):
        touch(machine(capacity=(20, 30)), range(100))


@pytest.mark.parametrize("slice_ms", [10, 25, 50, 100])
def test_reclaim_ages_once_in_100_kernel_ms_however_short_the_slices_are(slice_ms: int) -> None:
    """All pages are touched in every slice, so each look for old ones wants another walk. K = 4."""
    generations = Generations(8, AGEING_MS * 1e6 / 4)
    place = np.zeros(8, np.uint8)
    walks = 0
    for number in range(2000 // slice_ms):
        generations.young[:] = 1
        cold, walked = generations.oldest(place, 0, 2, number * slice_ms * 1e6 / 4)
        assert not len(cold)
        walks += walked
    assert walks == 20


def test_kswapd_demotes_the_oldest_generation_and_spares_the_youngest_two() -> None:
    subject = machine(capacity=(40, 200))
    subject.demotion_enabled = True
    touch(subject, range(30))
    for hot in (range(20, 30), range(10, 30), range(10, 30)):
        subject.age_generations("kswapd0")
        touch(subject, hot)
    subject.age_generations("kswapd0")
    subject.slice_ns = 1e9
    assert subject.reclaim(0, 5) >= 5
    gone = np.flatnonzero(subject.place[:30] == 1)
    assert len(gone) >= 5
    assert gone.max() < 10, "pages 0..9 were never young again"
    assert subject.ledger.demoted == len(gone)


def test_the_faulting_threads_pay_for_each_page_and_a_kernel_thread_for_each_batch() -> None:
    costs = Topology.model_validate(TWO).costs
    app, thread = machine(capacity=(200, 200)), machine(capacity=(200, 200))
    for subject, payer in ((app, "app"), (thread, "kmigrated")):
        subject.preferred[:] = 1
        touch(subject, range(100))
        moved = subject.migrate(np.arange(100, dtype=np.uint32), 0, payer).moved
        assert len(moved) == subject.ledger.promoted == 100
    interrupts_ns = costs.shootdown_ipi_ns * 2  # two threads run
    page_ns = costs.migrate_ns(4096, thread.latency_ns.max() / 271)  # the copy waits for the loaded link
    assert costs.migrate_4k_ns < page_ns < 1.05 * costs.migrate_4k_ns
    # Of 1240 ns a quarter is the copy: 930 ns are paid at once.
    assert app.ledger.moving_app_ns == pytest.approx(100 * (930 + costs.shootdown_ns + interrupts_ns))
    assert thread.ledger.moving_app_ns == pytest.approx(interrupts_ns), "one batch of up to 512"
    assert thread.thread("kmigrated").used_ns == pytest.approx(100 * page_ns + costs.shootdown_ns)
    assert thread.pages_in_budget("kmigrated", 1.0) == 0, "busy"
    paid_ns = app.ledger.moving_app_ns
    before = touch(app, range(100))
    copies_ns = 100 * 310 * app.latency_ns[1] / 271
    assert app.ledger.moving_app_ns - paid_ns == pytest.approx(copies_ns), "they wait as the slice lets them"
    assert before > touch(app, range(100)), "what moving took is part of the next slice only"


def test_a_slice_in_which_nothing_ran_takes_no_time_even_as_the_first() -> None:
    subject = machine(capacity=(200, 200))
    assert touch(subject, range(0)) == 0
    assert touch(subject, range(100)) > 0


def test_kernel_threads_copies_take_the_mean_of_the_last_100_ms() -> None:
    """Slices without load, which take their compute time alone: after the first, each of 10 ms counts a tenth of what
    it differs by."""
    subject = machine(capacity=(200, 200), group_pages=64.0)
    subject._slowdown[:] = 3.0
    subject.now_ns = 10**12
    nothing = np.zeros(0, np.uint32)
    instructions = int(10e6 / 64 * subject.threads / subject.instruction_ns)
    took = subject.run_slice(nothing, nothing, nothing, nothing, nothing, np.zeros(0, np.int16), instructions)
    assert took * 64 == pytest.approx(10e6)
    assert subject._slowdown == pytest.approx([2.8, 2.8]), "3 less a tenth of 2"


def test_without_a_spare_core_the_program_pays_for_kernel_threads() -> None:
    times = []
    for spare in (True, False):
        wide = {"nodes": [TWO["nodes"][0], node("cxl", 271, 260)], "spare_cores": spare}
        subject = machine(wide, capacity=(200, 200))
        subject.preferred[:] = 1
        touch(subject, range(100))
        subject.migrate(np.arange(100, dtype=np.uint32), 0, "kmigrated")
        times.append(touch(subject, range(100)))
    assert times[1] > times[0] + 100 * 1240 / 2


def test_a_page_that_stands_for_many_takes_part_of_a_flush() -> None:
    times = []
    for scale in (1.0, 64.0):
        subject = machine(capacity=(200, 200), group_pages=scale)
        subject.preferred[:] = 1
        touch(subject, range(100))
        subject.migrate(np.arange(8, dtype=np.uint32), 0, "kmigrated", batch_pages=512)
        times.append(subject.ledger.moving_app_ns)
    assert times[1] == pytest.approx(times[0] / 64)


def test_huge_folios_move_at_their_own_rate() -> None:
    costs = Topology.model_validate(TWO).costs
    assert costs.migrate_ns(2 << 20) == pytest.approx((2 << 20) / 11.0)
    assert costs.migrate_ns(2 << 20) < 512 * costs.migrate_ns(4096)


def test_sequential_misses_are_cheaper_and_remote_ones_dearer() -> None:
    random, sequential = machine(), machine()
    for subject, run in ((random, 0), (sequential, 10)):
        touch(subject, range(10), sequential=run)
    assert sequential.now_ns < random.now_ns
    sockets = {"nodes": [node("a", 100, 200, cpus=1, remote_ns={"1": 80}), node("b", 100, 200, cpus=1)]}
    times = []
    for initiator in (0, 1):
        subject = machine(sockets, capacity=(200, 200))
        subject.preferred[:] = 0
        times.append(touch(subject, range(50), from_node=initiator))
    assert times[1] == pytest.approx(1.8 * times[0], rel=0.06)


def test_background_load_makes_its_node_slower() -> None:
    quiet, loaded = machine(), machine({**TWO, "antagonist": {"node": 0, "cores": 20}})
    for subject in (quiet, loaded):
        touch(subject, range(10))
    assert loaded.latency_ns[0] > 1.2 * quiet.latency_ns[0]
    assert loaded.now_ns > quiet.now_ns


def test_pages_touched_in_every_slice_survive_any_number_of_reclaims_in_one() -> None:
    """Ageing twice at one time would make the hottest pages look old."""
    subject = machine(capacity=(40, 200))
    subject.demotion_enabled = True
    touch(subject, range(30))
    for _ in range(5):
        touch(subject, range(30))
        subject.slice_ns = 1e9
        subject.now_ns += AGEING_MS * 1e6
        for _ in range(5):
            subject.reclaim(0, 5)
    assert (subject.place[:30] == 0).all()
    for _ in range(3):
        touch(subject, range(10))
        subject.slice_ns = 1e9
        subject.now_ns += AGEING_MS * 1e6
        subject.reclaim(0, 5)
    assert (subject.place[:10] == 0).all()
    assert (subject.place[10:30] == 1).any(), "pages that went cold are demoted"
