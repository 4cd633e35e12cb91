"""A compressed node among others: where room is made, what protection costs, what a killed tenant does to figures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from builders.accesses import trace_from_accesses
from pghot.arrays import NOWHERE
from pghot.errors import UsageError
from pghot.lab.compare import DEVICE_MOVER, compare
from pghot.lab.contents import contents_of
from pghot.lab.measures import Measures
from pghot.lab.traces import load_trace
from pghot.policies.hemem import HeMem
from pghot.rules import RULES
from pghot.sim.compressed.device import CompressedDevice, load_device
from pghot.sim.compressed.node import CompressedNode, Contents
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Node, Topology, load_topology

PAGE = 4096
SMALL = trace_from_accesses(np.arange(20_000, dtype=np.uint32) % 1_000, accesses_per_slice=1_000)


def contents(stored: list[int], rewritten: list[int], tenant: list[int] | None = None) -> Contents:
    return Contents(
        np.array(stored, np.uint32),
        np.array(rewritten, np.uint32),
        np.array(tenant or [0] * len(stored), np.uint16),
    )


def tier(rule: str, real_pages: int, held: Contents, reserve_pages: int = 0) -> CompressedNode:
    return node(CompressedDevice(low_share=0.001, high_share=0.002), rule, real_pages, held, reserve_pages)


def node(
    device: CompressedDevice, rule: str, real_pages: int, held: Contents, reserve_pages: int, page: int = PAGE
) -> CompressedNode:
    return CompressedNode(
        device,
        RULES[rule],
        real_bytes=real_pages * PAGE,
        reserve_bytes=reserve_pages * PAGE,
        contents=held,
        page_bytes=page,
        group_pages=512.0,
    )


def pages(*index: int) -> np.ndarray:
    return np.array(index, np.uint32)


def machine(capacity: dict[str, int], rule: str, held: Contents, real_pages: int) -> SimulatedMachine:
    """Nodes by name: "hbm" is the top tier, "dram" has the CPUs, "device" compresses."""
    speed = {"dram": (100, 200), "hbm": (120, 600), "device": (400, 26)}
    nodes = [
        Node(
            name=name,
            device=name,
            cpus=4 if name == "dram" else 0,
            capacity=size * PAGE,
            latency_ns=speed[name][0],
            bandwidth_gb_s=speed[name][1],
            **({"compressed": CompressedDevice(), "real_capacity": real_pages * PAGE, "access": rule}
               if name == "device" else {}),
        )
        for name, size in capacity.items()
    ]  # fmt: skip
    sizes = np.array(list(capacity.values()))
    topology = Topology(nodes=tuple(nodes))
    return SimulatedMachine(topology, len(held.stored), PAGE, sizes, 2, group_pages=512.0, contents=held)


def run(machine: SimulatedMachine, page: range | list[int], write: bool = False) -> None:
    touched = np.array(page, np.uint32)
    ones = np.ones(len(touched), np.uint32)
    machine.run_slice(touched, ones, ones, 0 * ones, ones * write, np.zeros(len(touched), np.int16), 1000)


def test_room_for_a_promotion_is_made_on_the_node_that_it_goes_to() -> None:
    """HBM on top is full, and so is the DRAM below: nobody is to be killed for that."""
    held = contents([64] * 60, [64] * 60)
    made = machine({"dram": 20, "hbm": 8, "device": 64}, "promote-on-write", held, 40)
    run(made, range(19))
    made.migrate(np.arange(7, dtype=np.uint32), 1, "kmigrated")
    run(made, range(19, 60))
    out = np.flatnonzero(made.place == 2)[:2].tolist()
    run(made, out, write=True)
    assert made.compressed is not None
    assert made.compressed.counts.killed == 0
    assert (made.place[out] == 1).all()


def test_direct_reclaim_spares_what_this_slice_touched() -> None:
    held = contents([64] * 40, [64] * 40)
    made = machine({"dram": 20, "device": 64}, "promote-on-write", held, 40)
    run(made, range(15))
    made.age_generations("kswapd0")
    run(made, range(15, 30))
    assert (made.place[15:30] == 0).all()


def test_after_a_loss_what_shrinks_is_still_stored() -> None:
    held = tier("writable", 2, contents([64, 4032, 4096], [4096, 64, 4096]))
    held.stored[:] = [64, 4032, 4096]
    held.used, held.pages = 8192, 3
    held.write(pages(0, 1))
    assert (held.counts.lost, held.failed) == (1, True)
    assert held.stored.tolist() == [64, 64, 4096]
    assert held.used == held.stored.sum()


def test_a_tenant_over_its_budget_for_a_moment_is_killed_before_others_lose_data() -> None:
    """Page 0 grows before page 1 shrinks: with the other tenant at its budget that is more than there is."""
    held = tier("contained", 4, contents([1024, 4096, 4096, 4096], [4096, 64, 4096, 4096], [0, 0, 1, 1]))
    held.stored[:] = [4096, 4096, 4096, 4096]
    held.stored[0] = 1024
    held.used, held.pages = int(held.stored.sum()), 4
    held.used_by[:] = [5120, 8192]
    held.budget[:] = [5120, 8192]
    held.real_bytes = 5120 + 8192
    assert held.write(pages(0, 1)) == [0]
    assert (held.counts.lost, held.failed) == (0, False)


def test_the_warning_comes_when_the_reserve_is_touched() -> None:
    held = tier("writable", 100, contents([64] * 100, [4096] * 100), reserve_pages=40)
    held.admit(np.arange(50, dtype=np.uint32))
    assert not held.warned
    held.write(np.arange(50, dtype=np.uint32))
    assert not held.warned
    held.admit(np.arange(50, 60, dtype=np.uint32))
    held.write(np.arange(50, 60, dtype=np.uint32))
    assert not held.warned, "what is free is the reserve, exactly"
    held.admit(pages(60))
    assert held.counts.refused == 1
    held.stored[60], held.pages = 64, 61
    held.used += 64
    held.write(pages(60))
    assert held.warned


def test_protecting_granted_pages_again_is_paid_for() -> None:
    """Their page-table entries, their cache lines, and an interrupt on each thread."""
    made = machine({"dram": 20, "device": 64}, "ro-cow", contents([64] * 40, [64] * 40), 60)
    run(made, range(19))
    run(made, range(19, 40))
    out = np.flatnonzero(made.place == 1)[:4].tolist()
    run(made, out, write=True)
    assert made.compressed is not None
    assert np.count_nonzero(made.compressed.granted) == 4
    app_ns, kernel_ns = made.ledger.tracking_app_ns, made.ledger.tracking_kernel_ns
    assert made._access._protect_all() == 4
    flushes = 4 / 512  # each page stands for 512, one batch
    assert made.ledger.tracking_app_ns - app_ns == flushes * 2 * made.costs.shootdown_ipi_ns
    per_page = made.costs.age_pte_ns + made.costs.flush_4k_ns
    assert made.ledger.tracking_kernel_ns - kernel_ns == flushes * made.costs.shootdown_ns + 4 * per_page


def test_pages_of_a_killed_tenant_wait_for_no_promotion() -> None:
    held = contents([64] * 40, [64] * 40, [0] * 20 + [1] * 20)
    made = machine({"dram": 20, "device": 64}, "promote-on-write", held, 40)
    run(made, range(19))
    run(made, range(19, 40))
    measures = Measures(made)
    out = np.flatnonzero(made.place == 1).astype(np.uint32)
    measures.begin_epoch(out)
    made._access._kill(0)
    made._access._kill(1)
    measures.end_epoch(out)
    measures.begin_epoch(out)
    measures.finish()
    assert measures.responses.never == 0


def test_hemem_passes_over_pages_that_are_nowhere() -> None:
    place = np.array([0, 1, NOWHERE], np.uint8)
    world = SimpleNamespace(
        pages=3,
        page_bytes=PAGE,
        group_pages=512.0,
        seed=0,
        first_page=0,
        machine=SimpleNamespace(place=place, lower=np.array([False, True]), demotion_enabled=True),
    )
    policy = HeMem()
    policy.start(world)
    policy.count[:] = 9
    assert policy.hot_below(world).tolist() == [1]


def test_what_a_workload_says_of_its_pages_is_for_4_kib() -> None:
    small = load_trace("workload:adversary-stream", 0, PAGE)
    large = load_trace("workload:adversary-stream", 0, 512 * PAGE)
    device = load_device("ocp-4k")
    before, after = contents_of(small, device, 0), contents_of(large, device, 0)
    assert after.stored[0] == 512 * before.stored[0]
    assert after.rewritten[0] == 512 * before.rewritten[0] == 512 * PAGE


def test_an_adversary_of_large_folios_is_one_as_well() -> None:
    """The stream writes 112 folios that do not compress. DRAM has 14; the device promises 175 (144 and a tenth, and 16
    to spare) and has memory for 87.5. Of the 98 folios that are on it, at least ten do not fit."""
    found = compare(
        "workload:adversary-stream",
        "dram-cxl-compressed",
        [DEVICE_MOVER, "hemem"],
        access=["writable"],
        page_bytes=2 << 20,
        fast_share=0.1,
        duration_s=None,
        seeds=1,
    )
    row = next(row for row in found.summary.to_pylist() if row["policy"] == DEVICE_MOVER.policy)
    assert row["lost_pages"] >= 10


@pytest.mark.parametrize("placement", ["slow", "bind:cxl-compressed"])
def test_no_placement_leads_to_a_private_node(placement: str) -> None:
    with pytest.raises(UsageError, match=r"can be placed|takes demotions only"):
        compare(SMALL, "dram-cxl-compressed", ["none"], placement=placement, fast_share=None)


def test_slow_placement_is_the_lowest_tier_that_takes_programs() -> None:
    plain = load_topology("dram-cxl")
    device = load_topology("dram-cxl-compressed").nodes[1]
    tiers = plain.model_copy(update={"nodes": (*plain.nodes, device), "distances": ()})
    found = compare(SMALL, tiers, ["none"], placement="slow", fast_share=None, duration_s=None, seeds=1)
    row = next(row for row in found.summary.to_pylist() if row["policy"] == "none")
    assert row["node_shares"][plain.nodes[1].name] > 0.9


def test_a_page_that_leaves_the_device_is_decompressed() -> None:
    """Two promotions by the faulting thread: each pays at once for its remapping (three quarters of 1240 ns), its
    shootdown, and one miss of the device."""
    made = machine({"dram": 20, "device": 64}, "promote-on-write", contents([64] * 15, [64] * 15), 40)
    run(made, range(10))
    made.migrate(pages(0, 1), 1, "kswapd0")
    before = made.ledger.moving_app_ns
    made.migrate(pages(0, 1), 0, "app")
    costs = made.costs
    plain = 930 + costs.shootdown_ns + 2 * costs.shootdown_ipi_ns
    assert made.ledger.moving_app_ns - before == pytest.approx(2 * (plain + CompressedDevice().miss_ns))


@pytest.mark.parametrize(("rule", "came"), [("ro-cow", [5]), ("contained", [5]), ("writable", [])])
def test_a_warning_refuses_what_nobody_waits_for_and_the_reserve_everybody(
    rule: str, came: list[int]
) -> None:
    """8 pages of medium, of which 2 are reserve; it warns above 4."""
    device = CompressedDevice(low_share=0.5, high_share=0.6)
    held = node(device, rule, 8, contents([PAGE] * 8, [PAGE] * 8), 2)
    assert held.admit(pages(0, 1, 2, 3, 4, 5)).tolist() == [0, 1, 2, 3, 4]
    assert held.admit(pages(5, 6)).tolist() == []
    assert held.admit(pages(5, 6), last_resort=True).tolist() == came
    assert held.remaining >= held.reserve_bytes
    assert held.counts.refused == 1 + 2 + 2 - len(came)


def test_nobody_is_killed_while_the_device_has_room_though_it_warns() -> None:
    """40 pages of medium, which warn above 38, and 19 of DRAM for 59 pages that do not compress."""
    made = machine({"dram": 20, "device": 64}, "promote-on-write", contents([PAGE] * 60, [PAGE] * 60), 40)
    run(made, range(19))
    run(made, range(19, 38))
    run(made, range(38, 57))
    run(made, range(57, 59))
    assert made.compressed is not None
    assert made.compressed.warned
    assert (made.compressed.counts.killed, made.compressed.remaining) == (0, 0)
    run(made, [59])
    assert made.compressed.counts.killed == 1


def test_what_was_written_on_the_device_has_its_new_size_when_it_comes_again() -> None:
    held = tier("writable", 4, contents([64], [2048]))
    held.admit(pages(0))
    held.write(pages(0))
    held.release(pages(0))
    held.admit(pages(0))
    assert held.used == 2048


def test_an_empty_device_takes_its_warning_back_whatever_the_reserve() -> None:
    held = node(CompressedDevice(), "writable", 100, contents([64], [16000]), 98, page=4 * PAGE)
    held.admit(pages(0))
    held.used = held.stored[0] = 99 * PAGE
    held.write(pages(0))
    held.warned = True
    held.release(pages(0))
    assert (held.used, held.warned) == (0, False)


def test_what_kswapd_demotes_in_the_slice_of_its_first_write_was_not_rewritten() -> None:
    """Eight pages that compress to 64 bytes are first written in one slice, beside three pages of DRAM. Most are
    demoted in that slice; they came to the device with their first contents, and cost no write fault."""
    held = contents([64] * 8, [PAGE] * 8)
    subject = machine({"dram": 3, "device": 16}, "promote-on-write", held, 8)
    subject.demotion_enabled = True
    run(subject, range(8), write=True)
    node = subject.compressed
    assert node is not None
    on_device = int(np.count_nonzero(subject.place == 1))
    assert on_device >= 5, "DRAM has three pages"
    assert (node.used, node.counts.write_faults) == (64 * on_device, 0)
    run(subject, [int(np.flatnonzero(subject.place == 1)[0])], write=True)
    assert node.counts.write_faults == 1
