"""A machine with a compressed node under random programs: nothing is lost, nothing is miscounted, nobody gets in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.arrays import NOWHERE
from pghot.rules import RO_COW, RULES
from pghot.sim.compressed.admission import admit_pages, grant_pages, release_pages, write_pages
from pghot.sim.compressed.device import CompressedDevice
from pghot.sim.compressed.node import CompressedNode, Contents
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Node, Topology
from references.sim.compressed.admission import (
    admit_reference,
    grant_reference,
    release_reference,
    write_reference,
)

PAGES = 64
DRAM, DEVICE = 0, 1
SAFE = ("ro-cow", "promote-on-write", "swap")
sizes = st.lists(st.integers(0, 4096), min_size=PAGES, max_size=PAGES)


def topology(rule: str, real_pages: int, reserve_pages: int, device: CompressedDevice) -> Topology:
    return Topology(
        nodes=(
            Node(name="dram", cpus=4, capacity=24 * 4096, latency_ns=100, bandwidth_gb_s=100),
            Node(
                name="device",
                compressed=device,
                capacity=128 * 4096,
                real_capacity=real_pages * 4096,
                reserve=reserve_pages * 4096,
                access=rule,
                latency_ns=400,
                bandwidth_gb_s=26,
            ),
        )
    )


def machine_of(rule: str, first: list[int], again: list[int], tenants: int, real: int) -> SimulatedMachine:
    contents = Contents(
        np.array(first, np.uint32), np.array(again, np.uint32), (np.arange(PAGES) % tenants).astype(np.uint16)
    )
    device = CompressedDevice(low_share=0.01, high_share=0.02)
    made = topology(rule, real, 1, device)
    # A page stands for 512: batches are single pages, as the machine is so small.
    machine = SimulatedMachine(
        made, PAGES, 4096, np.array([24, 128]), 1, group_pages=512.0, contents=contents
    )
    machine.preferred[:] = DEVICE  # whatever a policy asks for
    machine.demotion_enabled = True
    return machine


def run(machine: SimulatedMachine, pages: list[int], writes: list[bool]) -> None:
    page = np.array(sorted(set(pages)), np.uint32)
    wrote = np.array([writes[index % len(writes)] for index in page.tolist()])
    ones = np.ones(len(page), np.uint32)
    machine.run_slice(
        page, ones, ones, 0 * ones, wrote.astype(np.uint32), np.zeros(len(page), np.int16), 1000
    )


def check(machine: SimulatedMachine) -> CompressedNode:
    """What is true after every slice, counted anew."""
    tier = machine.compressed
    assert tier is not None
    held = machine.place == DEVICE
    assert tier.used == tier.stored.sum() <= tier.real_bytes
    assert (tier.stored[~held] == 0).all()
    assert tier.pages == np.count_nonzero(held)
    assert not (tier.granted & ~held).any()
    assert tier.granted_growth == (4096 - tier.stored[tier.granted]).sum()
    for node, capacity in ((DRAM, 24), (DEVICE, 128)):
        assert machine.free_pages[node] == capacity - np.count_nonzero(machine.place == node) >= 0
    return tier


steps = st.lists(
    st.tuples(
        st.sampled_from(["run", "promote", "demote", "age"]),
        st.lists(st.integers(0, PAGES - 1), min_size=1, max_size=24),
        st.lists(st.booleans(), min_size=1, max_size=5),
    ),
    max_size=30,
)


@given(st.sampled_from(list(RULES)), sizes, sizes, st.integers(1, 4), st.integers(8, 128), steps)
def test_accounts_are_exact_and_safe_rules_lose_nothing(rule, first, again, tenants, real, steps):
    machine = machine_of(rule, first, again, tenants, real)
    admitted: set[int] = set()
    admit = machine.compressed.admit

    def noted(page, last_resort):
        came = admit(page, last_resort)
        admitted.update(came.tolist())
        return came

    machine.compressed.admit = noted
    for what, pages, writes in steps:
        before = machine.place.copy()
        chosen = np.array(sorted(set(pages)), np.uint32)
        if what == "run":
            run(machine, pages, writes)
            # Who was not there before and was not anywhere else came by no demotion.
            assert not (
                (machine.place == DEVICE) & (before == NOWHERE) & ~np.isin(np.arange(PAGES), chosen)
            ).any()
        elif what == "promote":
            machine.migrate(chosen[machine.place[chosen] == DEVICE], DRAM, "kmigrated")
        elif what == "demote":
            asked = chosen[machine.place[chosen] == DRAM]
            refused = machine.compressed.counts.refused
            moves = machine.migrate(asked, DEVICE, "kswapd0")
            stayed = np.setdiff1d(asked, moves.moved)
            assert (machine.place[stayed] == before[stayed]).all(), "a refused page stays where it was"
            assert machine.compressed.counts.refused - refused >= min(len(stayed), 128 - len(moves.moved))
        else:
            machine.age_generations("kswapd0")
        tier = check(machine)
        came = np.flatnonzero((machine.place == DEVICE) & (before != DEVICE))
        assert set(came.tolist()) <= admitted, "nothing is on the node that the control plane did not admit"
        admitted.clear()
        if rule in SAFE:
            assert tier.counts.lost == 0
            assert not tier.failed


def test_writable_with_too_little_in_reserve_loses_data() -> None:
    machine = machine_of("writable", [64] * PAGES, [4096] * PAGES, 1, 8)
    run(machine, list(range(24)), [False])
    run(machine, list(range(24, 48)), [False])
    run(machine, list(range(PAGES)), [False])
    tier = check(machine)
    assert tier.pages > 8
    on_device = np.flatnonzero(machine.place == DEVICE).tolist()
    run(machine, on_device, [True])
    assert check(machine).counts.lost > 0
    assert tier.failed


def test_a_tenant_over_its_budget_is_killed_and_nobody_else() -> None:
    again = [4096 if index % 2 else 64 for index in range(PAGES)]
    machine = machine_of("contained", [64] * PAGES, again, 2, 16)
    run(machine, list(range(24)), [False])
    run(machine, list(range(PAGES)), [False])
    on_device = np.flatnonzero(machine.place == DEVICE).tolist()
    run(machine, on_device, [True])
    tier = check(machine)
    assert (tier.counts.killed, tier.counts.lost) == (1, 0)
    assert (machine.place[1::2] == NOWHERE).all()
    assert (machine.place[::2] != NOWHERE).all()
    run(machine, list(range(PAGES)), [True])  # the dead touch nothing
    assert (machine.place[1::2] == NOWHERE).all()


@pytest.mark.parametrize("rule", SAFE)
def test_a_program_that_compresses_no_more_is_killed_rather_than_lost(rule: str) -> None:
    machine = machine_of(rule, [64] * PAGES, [4096] * PAGES, 1, 8)
    for _ in range(3):
        run(machine, list(range(PAGES)), [True])
    tier = check(machine)
    assert (tier.counts.lost, tier.counts.killed) == (0, 1)


def test_swapped_pages_come_back_when_they_are_read() -> None:
    machine = machine_of("swap", [1024] * PAGES, [2048] * PAGES, 1, 64)
    run(machine, list(range(24)), [False])
    run(machine, list(range(PAGES)), [False])
    tier = check(machine)
    on_device = np.flatnonzero(machine.place == DEVICE)[:4].tolist()
    before = tier.counts.write_faults
    run(machine, on_device, [False])
    assert (machine.place[on_device] == DRAM).all()
    assert check(machine).counts.write_faults == before + 4


def test_the_margin_check_lets_through_what_can_be_absorbed() -> None:
    machine = machine_of("ro-cow", [1024] * PAGES, [2048] * PAGES, 1, 64)
    run(machine, list(range(24)), [False])
    run(machine, list(range(PAGES)), [False])
    tier = check(machine)
    on_device = np.flatnonzero(machine.place == DEVICE)[:4].tolist()
    run(machine, on_device, [True])
    assert tier.counts.granted == tier.counts.write_faults == 4
    assert (machine.place[on_device] == DEVICE).all()
    assert (tier.stored[on_device] == 2048).all()
    run(machine, on_device, [True])
    assert tier.counts.write_faults == 4, "granted pages fault no more"
    check(machine)


def test_admission_leaves_what_granted_pages_may_still_grow() -> None:
    contents = Contents(
        np.full(PAGES, 64, np.uint32), np.full(PAGES, 4096, np.uint32), np.zeros(PAGES, np.uint16)
    )
    device = CompressedDevice(low_share=0.001, high_share=0.002)
    tier = CompressedNode(
        device,
        RO_COW,
        real_bytes=8 * 4096,
        reserve_bytes=0,
        contents=contents,
        page_bytes=4096,
        group_pages=512.0,
    )
    granted = tier.grant(tier.admit(np.arange(7, dtype=np.uint32)))
    assert granted.tolist() == list(range(7))
    assert tier.admit(np.arange(7, 20, dtype=np.uint32)).tolist() == [7]
    tier.write(granted)
    assert (tier.counts.lost, tier.used) == (0, 7 * 4096 + 64)
    tier.revoke(granted)
    assert tier.granted_growth == 0


@given(
    st.lists(st.integers(0, 4096), min_size=40, max_size=40),
    st.lists(st.integers(0, 2), min_size=40, max_size=40),
    st.lists(st.integers(-5000, 60_000), min_size=3, max_size=3),
    st.tuples(st.integers(0, 150_000), st.integers(0, 150_000), st.integers(0, 150_000)),
    st.integers(1, 45),
    st.booleans(),
    st.booleans(),
)
def test_admission_is_as_the_plain_form_says(sizes, tenants, rooms, limits, batch, warned, heeds):
    results = []
    for admit in (admit_pages, admit_reference):
        size, stored, tenant = np.array(sizes), np.zeros(40, np.int64), np.array(tenants)
        budget, used_by = np.array(rooms), np.array([7, 0, 5000])
        state, came = np.array([1000, int(warned), 1000]), np.zeros(40, np.bool_)
        page = np.arange(39, -1, -1).astype(np.uint32)
        admit(page, size, stored, tenant, budget, used_by, np.array(limits), 4096, batch, heeds, state, came)
        results.append([each.tolist() for each in (stored, used_by, state, came)])
    assert results[0] == results[1]


def stored_pages(rng):
    """Some distinct of 20 pages; what each takes and would take, who is granted, whose it is, who takes how much."""
    page = rng.permutation(20)[: rng.integers(0, 21)].astype(np.uint32)
    stored, rewritten = rng.integers(0, 4097, 20), rng.integers(0, 4097, 20)
    return page, stored, rewritten, rng.random(20) < 0.5, rng.integers(0, 3, 20), rng.integers(0, 9999, 3)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30_000), st.booleans())
def test_writes_are_stored_and_lost_as_by_the_plain_form(seed, spare, failed):
    page, stored, rewritten, granted, tenant, used_by = stored_pages(np.random.default_rng(seed))
    used = int(stored.sum())
    results = []
    for write in (write_pages, write_reference):
        changed = [np.zeros(20, np.int64), stored.copy(), granted.copy(), np.zeros(20, np.bool_)]
        by = used_by.copy()
        counts = write(page, rewritten, *changed, tenant, by, used + spare, used, failed)
        results.append([counts, by.tolist(), *(each.tolist() for each in changed)])
        assert counts[0] == changed[1].sum() - used <= spare
    assert results[0] == results[1]


@given(st.integers(0, 2**32 - 1), st.integers(-5000, 40_000))
def test_grants_and_leaving_are_as_the_plain_forms_say(seed, free):
    page, stored, _, granted, tenant, used_by = stored_pages(np.random.default_rng(seed))
    results = []
    for grant, release in ((grant_pages, release_pages), (grant_reference, release_reference)):
        now, writable, by = stored.copy(), granted.copy(), used_by.copy()
        counts = grant(page, 4096, free, now, writable)
        after = writable.tolist()
        freed = release(page, 4096, now, writable, tenant, by)
        results.append([counts, after, freed, now.tolist(), writable.tolist(), by.tolist()])
    assert results[0] == results[1]
