"""Tiers files and costs: defaults, limits on both sides, and figures worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pghot.errors import UsageError
from pghot.sim.machine.costs import Costs
from pghot.sim.machine.curves import CurveFile, ReadShare
from pghot.sim.machine.topology import Antagonist, Node, Topology, Watermarks, load_topology

MIB = 1 << 20


def node(name: str = "dram", **keys: Any) -> dict[str, Any]:
    return {"name": name, "capacity": "1 MiB", "latency_ns": 100, "bandwidth_gb_s": 200, **keys}


def device(**keys: Any) -> dict[str, Any]:
    return node("device", **{"compressed": {}, "real_capacity": "512 KiB", "latency_ns": 400, **keys})


def tiers(*nodes: dict[str, Any], **keys: Any) -> Topology:
    return Topology.model_validate({"nodes": list(nodes), **keys})


CPUS = node(cpus=4)


def test_what_a_file_does_not_say() -> None:
    found = Node.model_validate(node())
    assert (found.device, found.cpus, found.capacity, found.reserve) == ("dram", 0, MIB, 0)
    assert (found.compressed, found.real_capacity, found.write_latency_ns, found.curve) == (
        None,
        None,
        None,
        "",
    )
    assert found.access.name == "promote-on-write"
    assert Antagonist().model_dump() == {
        "node": 0, "cores": 0, "lines_in_flight_per_core": 20.0, "read_share": 1.0
    }  # fmt: skip
    assert Watermarks().model_dump() == {"min": 0.002, "low": 0.003, "high": 0.004}
    assert tiers(CPUS).spare_cores
    assert (tiers(CPUS).llc_bytes, tiers(CPUS).cpu_vendor) == (None, None)


@pytest.mark.parametrize(
    ("said", "curve"),
    [("hbm", "hbm"), ("cxl", "cxl"), ("compressed cxl", "cxl"), ("dram", "ddr5"), ("pmem", "ddr5")],
)
def test_a_node_has_the_curve_of_its_device(said: str, curve: str) -> None:
    assert Node.model_validate(node(device=said)).curve_name == curve
    assert Node.model_validate(node(device=said, curve="ddr4")).curve_name == "ddr4"


@pytest.mark.parametrize(
    ("nodes", "keys", "said"),
    [
        ((CPUS, node()), {}, "two nodes have the same name"),
        ((node(),), {}, "no node has cpus"),
        ((node(cpus=-1),), {}, "cpus"),
        ((node(cpus=1, latency_ns=0),), {}, "latency_ns"),
        ((node(cpus=1, bandwidth_gb_s=0),), {}, "bandwidth_gb_s"),
        ((node(cpus=1, capacity=0),), {}, "capacity"),
        ((node(cpus=1, write_latency_ns=0),), {}, "write_latency_ns"),
        ((node(cpus=1, remote_ns={"0": -1}),), {}, "remote_ns"),
        ((node(cpus=1, remote_ns={"1": 5}),), {}, "names node 1, which does not exist"),
        ((node(cpus=1, remote_ns={"x": 5}),), {}, "names node x"),
        ((CPUS,), {"distances": ((10, 20),)}, "1 x 1 matrix"),
        ((CPUS, node("b")), {"distances": ((10, 20),)}, "2 x 2 matrix"),
        ((CPUS, node("b")), {"distances": ((10, 20), (10,))}, "2 x 2 matrix"),
        ((CPUS,), {"antagonist": {"node": 1}}, "antagonist.node 1 does not exist"),
        ((CPUS,), {"antagonist": {"node": 2}}, "antagonist.node 2 does not exist"),
        ((CPUS,), {"antagonist": {"node": -1}}, "antagonist"),
        ((CPUS,), {"antagonist": {"cores": -1}}, "antagonist"),
        ((CPUS,), {"antagonist": {"read_share": 0}}, "antagonist"),
        ((CPUS,), {"antagonist": {"read_share": 1.01}}, "antagonist"),
        ((CPUS,), {"antagonist": {"lines_in_flight_per_core": -1}}, "antagonist"),
        ((CPUS,), {"watermarks": {"min": 0.01}}, "min <= low <= high"),
        ((CPUS,), {"watermarks": {"low": 0.01}}, "min <= low <= high"),
        ((CPUS,), {"watermarks": {"min": -0.1}}, "min"),
        ((CPUS,), {"watermarks": {"high": 0.5}}, "high"),
        ((), {}, "nodes"),
        (tuple(node(str(number), cpus=1) for number in range(65)), {}, "nodes"),
        ((device(cpus=1), CPUS), {}, "a compressed node has no cpus"),
        ((device(), node("b", compressed={}, real_capacity=4096), CPUS), {}, "more than one node compresses"),
        ((device(real_capacity=None), CPUS), {}, "needs real_capacity"),
        ((device(real_capacity="1.5 MiB"), CPUS), {}, "is below real_capacity"),
        ((device(reserve="512 KiB"), CPUS), {}, "reserve must be below"),
        ((device(write_latency_ns=500), CPUS), {}, "no write_latency_ns"),
        ((node(cpus=1, reserve=4096),), {}, "are for nodes with 'compressed'"),
        ((node(cpus=1, real_capacity=4096),), {}, "are for nodes with 'compressed'"),
        ((node(cpus=1, curve="none such"),), {}, "none such"),
        ((device(access="none such"), CPUS), {}, "none such"),
        ((device(compressed="none such"), CPUS), {}, "none such"),
        ((CPUS,), {"llc": 0}, "llc"),
    ],
)  # fmt: skip
def test_impossible_machines(nodes: tuple[dict[str, Any], ...], keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        tiers(*nodes, **keys)


@pytest.mark.parametrize(
    ("nodes", "keys"),
    [
        ((node(cpus=1),), {}),
        ((node(cpus=1, remote_ns={"0": 0}),), {}),
        ((CPUS, node("b")), {"distances": ((10, 20), (20, 10)), "antagonist": {"node": 1, "read_share": 1}}),
        ((CPUS,), {"watermarks": {"min": 0, "low": 0, "high": 0}}),
        ((CPUS,), {"watermarks": {"min": 0.4, "low": 0.4, "high": 0.4}}),
        (tuple(node(str(number), cpus=1) for number in range(64)), {}),
        ((device(real_capacity=MIB), CPUS), {}),
        ((device(reserve=512 * 1024 - 1, access="ro-cow"), CPUS), {}),
    ],
)
def test_possible_machines(nodes: tuple[dict[str, Any], ...], keys: dict[str, Any]) -> None:
    tiers(*nodes, **keys)


def test_a_compressed_node_alone_and_what_is_said_of_it() -> None:
    made = tiers(CPUS, device(reserve=4096, bandwidth_gb_s=26, access="ro-cow"))
    held = made.compression
    assert held is not None
    assert (held.node, held.promised, held.real, held.reserve) == (1, MIB, MIB // 2, 4096)
    assert (held.latency_ns, held.bandwidth_gb_s, held.access.name) == (400, 26, "ro-cow")
    changed = made.with_compressed_node(reserve=0).compression
    assert changed is not None
    assert changed.reserve == 0
    assert made.nodes[1].reserve == 4096
    assert tiers(CPUS).compression is None
    with pytest.raises(UsageError, match="no node of these tiers compresses"):
        tiers(CPUS).with_compressed_node(reserve=0)


def test_distances_and_tiers_are_relative_to_the_node_with_most_cpus() -> None:
    """Beside 100 ns and 200 GB/s: 576 x 2 x 4 = 4608, tier 36; and a node with CPUs is DRAM whatever its figures."""
    made = tiers(
        node(cpus=2, latency_ns=300), node("big", cpus=4), node("far", latency_ns=200, bandwidth_gb_s=50)
    )
    assert made.adistances() == [576, 576, 4608]
    assert made.ranks() == [0, 0, 1]
    assert (made.top_nodes(), made.with_cpus()) == ((0, 1), (0, 1))
    assert made.distance_matrix() == [[10, 11, 20], [30, 10, 20], [30, 11, 10]]
    assert tiers(CPUS, node("b"), distances=((10, 99), (98, 10))).distance_matrix() == [[10, 99], [98, 10]]
    # A compressed node is last, however fast.
    assert tiers(CPUS, device(latency_ns=50), node("far", latency_ns=200)).ranks() == [0, 2, 1]


def test_what_looks_odd_is_told() -> None:
    assert load_topology("hbm-dram-cxl").warnings() == []
    assert tiers(CPUS, node("far", latency_ns=300)).warnings() == []
    told = tiers(CPUS, node("wide", latency_ns=99, bandwidth_gb_s=10)).warnings()
    assert [line.split(" although")[0] for line in told] == ["'wide' (99 ns) is ranked below 'dram' (100 ns)"]
    assert tiers(CPUS, node("wide", latency_ns=100, bandwidth_gb_s=10)).warnings() == []
    told = tiers(CPUS, node("near", latency_ns=50)).warnings()
    assert len(told) == 1
    assert "'near' has no CPUs and is faster than the DRAM" in told[0]
    assert tiers(CPUS).warnings() == ["all nodes are in one tier: nothing can be promoted"]


def test_a_migration_is_remapping_and_a_copy_that_load_slows() -> None:
    """4 KiB: 1,240 ns, of which a quarter is the copy. 2 MiB at 11 GB/s: 190,650 ns, all copy but for the 930."""
    costs = Costs()
    assert costs.migrate_parts_ns(4096) == (930, 310)
    assert costs.migrate_ns(4096) == 1_240
    assert costs.migrate_ns(4096, 3.0) == 930 + 3 * 310
    huge_ns = (2 << 20) / 11
    assert costs.migrate_parts_ns(2 << 20) == pytest.approx((930, huge_ns - 930))
    assert costs.migrate_ns(2 << 20, 2.0) == pytest.approx(930 + 2 * (huge_ns - 930))
    assert costs.migrate_parts_ns(8192) == pytest.approx((8192 / 11, 0))  # 745 ns: less than remapping alone


def share(**keys: Any) -> ReadShare:
    return ReadShare(**{"percent": 50, "gb_s": (0, 10, 15), "ns": (100, 110, 200), **keys})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"percent": -1}, "percent"), ({"percent": 101}, "percent"), ({"ns": (100, 110)}, "3 bandwidths, but 2"),
        ({"gb_s": (1, 10, 15)}, "first point must be idle"), ({"gb_s": (0, 10, 5)}, "must rise"),
        ({"gb_s": (0, 10, 5.5)}, "must rise"), ({"ns": (100, 99, 200)}, "must not fall"),
        ({"gb_s": (0,), "ns": (1,)}, "gb_s"), ({"gb_s": (0, -1, 15)}, "gb_s"), ({"ns": (0, 110, 200)}, "ns"),
    ],
)  # fmt: skip
def test_impossible_curves(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        share(**keys)


def test_possible_curves() -> None:
    share(percent=0)
    share(percent=100, ns=(100, 100, 200))
    share(gb_s=(0, 10, 5.6))
    CurveFile(description="", source="x", reads=(share(), share(percent=60)))
    for reads in ((share(), share()), (share(percent=60), share()), ()):
        with pytest.raises(ValidationError, match=r"reads|ascend"):
            CurveFile(description="", source="x", reads=reads)
    with pytest.raises(ValidationError, match="source"):
        CurveFile(description="", source="", reads=(share(),))
