"""The access rules: what each lets a program do, and that one more is one instance."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from builders.accesses import trace_from_accesses
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.compare import DEVICE_MOVER, RunSpec, compare
from pghot.recording.trace import MemoryTrace
from pghot.report.comparison_text import render
from pghot.rules import RULES, AccessRule, device_rules, rule_named, warnings_of
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.search import run_named
from pghot.safety.margin import Host, margins
from pghot.sim.compressed.device import CompressedDevice, load_device
from pghot.sim.compressed.node import CompressedNode, Contents
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import Node, Topology, load_topology

PAGE = 4096
DRAM, DEVICE = 0, 1
GIB = 1 << 30

# Each page takes 1024 B on the device, and 2048 B once it was written.
FIRST, WRITTEN = 1024, 2048


def machine(rule: str) -> tuple[SimulatedMachine, CompressedNode]:
    """20 pages of DRAM; a device with 64 pages of room and a medium of 40. Pages 0 and 1 of 10 are on the device."""
    pages = 10
    held = Contents(
        np.full(pages, FIRST, np.uint32), np.full(pages, WRITTEN, np.uint32), np.zeros(pages, np.uint16)
    )
    nodes = (
        Node(name="dram", cpus=4, capacity=20 * PAGE, latency_ns=100, bandwidth_gb_s=200),
        Node(
            name="device",
            capacity=64 * PAGE,
            latency_ns=400,
            bandwidth_gb_s=26,
            compressed=CompressedDevice(),
            real_capacity=40 * PAGE,
            access=rule,
        ),
    )
    made = SimulatedMachine(
        Topology(nodes=nodes), pages, PAGE, np.array([20, 64]), 2, group_pages=512.0, contents=held
    )
    access(made, range(pages))
    made.migrate(np.array([0, 1], np.uint32), DEVICE, "kswapd0")
    assert made.compressed is not None
    assert made.place[:2].tolist() == [DEVICE, DEVICE]
    return made, made.compressed


def access(made: SimulatedMachine, page: range | list[int], write: bool = False) -> None:
    touched = np.array(page, np.uint32)
    ones = np.ones(len(touched), np.uint32)
    made.run_slice(touched, ones, ones, 0 * ones, ones * write, np.zeros(len(touched), np.int16), 1000)


# Where the page is after the access, what the device then stores of it, faults, grants.
WRITES = {
    "writable": (DEVICE, WRITTEN, 0, 0),
    "ro-cow": (DEVICE, WRITTEN, 1, 1),
    "promote-on-write": (DRAM, 0, 1, 0),
    "contained": (DEVICE, WRITTEN, 0, 0),
    "swap": (DRAM, 0, 1, 0),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_store_does(rule: str) -> None:
    made, tier = machine(rule)
    access(made, [0], write=True)
    found = (int(made.place[0]), int(tier.stored[0]), tier.counts.write_faults, tier.counts.granted)
    assert found == WRITES[rule]
    assert (made.place[1], tier.stored[1]) == (DEVICE, FIRST), "nobody touched the other"


@pytest.mark.parametrize("rule", RULES)
def test_reads_are_direct_but_from_swap(rule: str) -> None:
    made, tier = machine(rule)
    access(made, [0])
    assert (made.place[0], tier.counts.write_faults) == ((DRAM, 1) if rule == "swap" else (DEVICE, 0))


def test_a_store_that_could_not_be_absorbed_is_promoted() -> None:
    """A granted page could grow by 3072 B. One byte less is free, beside what is stored."""
    made, tier = machine("ro-cow")
    tier.real_bytes = tier.used + PAGE - FIRST - 1
    access(made, [0], write=True)
    assert (made.place[0], tier.counts.granted) == (DRAM, 0)
    tier.real_bytes = tier.used + PAGE - FIRST
    access(made, [1], write=True)
    assert (made.place[1], tier.counts.granted) == (DEVICE, 1)


# A warning moves both pages away, or none.
DRAINED = {"writable": 2, "ro-cow": 0, "promote-on-write": 0, "contained": 2, "swap": 0}


@pytest.mark.parametrize("rule", RULES)
def test_who_moves_pages_away_when_the_device_warns(rule: str) -> None:
    made, tier = machine(rule)
    tier.warned, made.slice_ns = True, 1e6
    access(made, [9])
    assert tier.counts.drained == DRAINED[rule]
    assert np.count_nonzero(made.place == DEVICE) == 2 - DRAINED[rule]


@pytest.mark.parametrize("rule", RULES)
def test_who_comes_while_the_device_warns(rule: str) -> None:
    """Nobody for whom no program waits; the last resort, unless the rule is safe only if nothing comes any more."""
    _, tier = machine(rule)
    tier.warned = True
    assert tier.admit(np.array([2], np.uint32)).tolist() == []
    tier.warned = True  # so empty a device takes its warning back
    assert tier.admit(np.array([2], np.uint32), last_resort=True).tolist() == (
        [] if rule == "writable" else [2]
    )


@pytest.mark.parametrize("rule", RULES)
def test_who_is_killed_over_a_budget(rule: str) -> None:
    """A byte less than what both pages take after one was written."""
    made, tier = machine(rule)
    tier.budget[:] = FIRST + WRITTEN - 1
    access(made, [0], write=True)
    assert tier.counts.killed == (1 if rule == "contained" else 0)


def test_only_writable_endangers_the_data_of_others() -> None:
    assert warnings_of(RULES.values()) == [RULES["writable"].warning]
    assert "anyone's data" in RULES["writable"].warning


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown access rule 'ro-cov'") as caught:
        rule_named("ro-cov")
    assert "did you mean 'ro-cow'" in caught.value.hint


# ---- compare

COMPRESSED = "dram-cxl-compressed"


def small_trace() -> MemoryTrace:
    """60,000 accesses of 3000 pages, some much hotter than others; three in ten are stores."""
    rng = np.random.default_rng(0)
    page = (rng.zipf(1.2, 60_000) % 3000).astype(np.uint32)
    return trace_from_accesses(page, write=rng.random(len(page)) < 0.3, accesses_per_slice=1000)


TRACE = small_trace()
# The pass takes 5 ms: in slices of a millisecond, pages are written after the slice that touched them first.
short = partial(compare, duration_s=None, seeds=1, slice_ms=1)


def test_every_mover_runs_under_every_rule_beside_baselines_of_the_same() -> None:
    found = short(TRACE, COMPRESSED, [DEVICE_MOVER], access=["ro-cow", "contained"])
    rows = found.summary.to_pylist()
    movers = ("none", "all-fast", "pghot-default/chmu")
    assert [row["label"] for row in rows] == [
        f"{mover} [{rule}]" for mover in movers for rule in ("ro-cow", "contained")
    ]
    by_label = {row["label"]: row for row in rows}
    for row in rows:
        none, fast = (by_label[f"{name} [{row['access']}]"] for name in ("none", "all-fast"))
        assert row["speedup"] == none["steady_time_s"] / row["steady_time_s"]
        assert row["slowdown"] == row["steady_time_s"] / fast["steady_time_s"]
    times = {rule: by_label[f"none [{rule}]"]["steady_time_s"] for rule in ("ro-cow", "contained")}
    assert times["ro-cow"] != times["contained"], "so that it matters which of them is divided by"


def test_the_tiers_own_rule_needs_no_name() -> None:
    own = short(TRACE, COMPRESSED, [DEVICE_MOVER])
    named = short(TRACE, COMPRESSED, [DEVICE_MOVER], access=["promote-on-write"])
    assert named.to_dict() == own.to_dict()
    assert own.setup.access == ("promote-on-write",)
    assert [row["label"] for row in own.summary.to_pylist()] == ["none", "all-fast", "pghot-default/chmu"]
    assert {row["access"] for row in own.summary.to_pylist()} == {"promote-on-write"}
    other = short(TRACE, COMPRESSED, [DEVICE_MOVER], access=["contained"])
    assert other.summary.to_pylist()[-1]["label"] == "pghot-default/chmu [contained]"
    assert other.summary.to_pylist()[-1]["write_faults"] == 0 < own.summary.to_pylist()[-1]["write_faults"]


def test_a_run_that_names_its_rule_keeps_it_and_has_its_baselines() -> None:
    found = short(TRACE, COMPRESSED, [RunSpec("numab2", access="contained")])
    assert [row["label"] for row in found.summary.to_pylist()] == [
        "none [contained]",
        "all-fast [contained]",
        "none",
        "all-fast",
        "numab2 [contained]",
    ]


def test_all_policies_on_tiers_that_compress_include_a_mover_with_the_devices_own_source() -> None:
    labels = short(TRACE, COMPRESSED).summary["label"].to_pylist()
    assert {"pghot-default/chmu", "pghot-default/hintfaults", "numab2/hintfaults"} <= set(labels)
    assert "pghot-default/chmu" not in short(TRACE, "dram-cxl").summary["label"].to_pylist()


def test_text_names_the_rule_and_its_danger() -> None:
    shown = " ".join(render(short(TRACE, COMPRESSED, ["none"], access=["writable"]), []).split())
    assert "; access writable" in shown
    assert "none [writable]" in shown
    assert "warning: under 'writable' a hostile program may destroy anyone's data" in shown
    shown = " ".join(render(short(TRACE, COMPRESSED, ["none"]), []).split())
    assert "; access promote-on-write" in shown
    assert "hostile" not in shown


def test_tiers_without_compression_have_no_rule() -> None:
    found = short(TRACE, "dram-cxl", ["none"])
    assert "access" not in found.to_dict()["setup"]
    assert "access" not in found.summary.column_names
    with pytest.raises(UsageError, match="no node of these tiers compresses") as caught:
        compare(TRACE, "dram-cxl", ["none"], access=["ro-cow"])
    assert "--tiers dram-cxl-compressed" in caught.value.hint


# ---- a rule from outside

LENT = AccessRule(
    "lent",
    "as ro-cow, within a budget for each tenant",
    writes="granted",
    budgets=True,
    danger="who overruns a budget is killed",
)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> AccessRule:
    monkeypatch.setitem(RULES, "lent", LENT)
    return LENT


def test_a_rule_of_ones_own_is_one_instance(lent: AccessRule, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "rules"]) == 0
    assert lent.summary in capsys.readouterr().out
    found = short(TRACE, COMPRESSED, [DEVICE_MOVER], access=["lent", "ro-cow"])
    rows = {row["label"]: row for row in found.summary.to_pylist()}
    ours, theirs = (rows[f"pghot-default/chmu [{rule}]"] for rule in ("lent", "ro-cow"))
    assert ours["write_faults"] > 0
    assert theirs["write_faults"] > 0
    assert "under 'lent' who overruns a budget is killed" in found.setup.warnings


def test_its_fields_combine(lent: AccessRule) -> None:
    """A granted store faults like one of ro-cow, and is killed over the budget like one of contained."""
    made, tier = machine("lent")
    tier.budget[:] = FIRST + WRITTEN
    access(made, [0], write=True)
    assert (tier.counts.write_faults, tier.counts.granted, tier.counts.killed) == (1, 1, 0)
    access(made, [1], write=True)
    assert (tier.counts.granted, tier.counts.killed) == (2, 1)


@pytest.mark.heavy  # it compiles the attacks
def test_its_reserve_is_computed_and_attacked(lent: AccessRule, capsys: pytest.CaptureFixture[str]) -> None:
    assert lent in device_rules()
    found = margins(load_device("ocp-4k"), Host(), 256 * GIB, 512 * GIB)
    assert found.rules["lent"].reserve_bytes == 0
    assert found.rules["lent"].terms == found.rules["ro-cow"].terms
    scene = Scene(load_device("ocp-4k"), Host(llc=1 << 16, batch_pages=2), 1 << 22, 1 << 23, lent, 0)
    assert not run_named(scene, ["shrink-and-regrow", "line-after-line", "budget-overrun"]).lost
    assert run(["margin", "--adversary", "last-batch", "--access", "lent", "--reserve", "0"]) == 0
    assert "under attack: lent" in capsys.readouterr().out


def test_a_rule_that_stops_nobody_has_no_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "open", AccessRule("open", "a store goes to the device", writes="in place"))
    margin = margins(load_device("ocp-4k"), Host(), 256 * GIB, 512 * GIB).rules["open"]
    assert (margin.fits, margin.reason) == (False, "nothing stops tenants that write")


def test_a_tiers_file_names_it(lent: AccessRule) -> None:
    held = load_topology("dram-cxl-compressed").compression
    assert held is not None
    node = Node.model_validate(
        {
            "name": "device",
            "capacity": 2 * GIB,
            "latency_ns": 400,
            "bandwidth_gb_s": 26,
            "compressed": "ocp-4k",
            "real_capacity": GIB,
            "access": "lent",
        }
    )
    assert node.access == lent
    assert node.model_dump()["access"] == "lent"
