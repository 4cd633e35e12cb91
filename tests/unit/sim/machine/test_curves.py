"""Curve files: what is shipped is sound and named with its source, what is impossible is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.sim.machine.curves import CURVES, load_curve, stack_curves
from pghot.sim.machine.topology import TOPOLOGIES, load_topology

GOOD = """
description = "mine"
source = "me"
[[reads]]
percent = 50
gb_s = [0, 50, 80]
ns = [100, 120, 200]
[[reads]]
percent = 100
gb_s = [0, 60, 100, 90]
ns = [100, 110, 150, 200]
"""


@pytest.mark.parametrize("name", CURVES.names())
def test_shipped_curves_begin_idle_and_never_grow_faster(name: str) -> None:
    curve = load_curve(name)
    assert (curve.growth[:, 0] == 1).all()
    assert (np.diff(curve.load) > 0).all()
    assert (np.diff(curve.growth, axis=1) >= -1e-12).all()
    assert max(curve.load / curve.growth[-1]) == pytest.approx(1), "reads reach the peak"


@pytest.mark.parametrize("name", ["ddr4", "ddr4-zen2", "ddr5", "lpddr5x"])
def test_dram_bends_as_measured(name: str) -> None:
    """Reads only, at 60 % of the peak: within 20 to 35 % of idle. Writes lower the peak of every one."""
    curve = load_curve(name)
    used = curve.load / curve.growth[-1]
    assert np.interp(0.6, used, curve.growth[-1]) < 1.35
    assert max(curve.load / curve.growth[0]) < 1.03


def test_a_file_becomes_loads_and_growths(tmp_path) -> None:
    """Peak 100 GB/s at 100 ns: 10000. The loads are 0, .5*1.2, .6*1.1, .8*2, 1*1.5, .9*2, sorted."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    curve = load_curve(str(path))
    assert curve.load.tolist() == pytest.approx([0, 0.6, 0.66, 1.5, 1.6, 1.8])
    assert curve.growth[1].tolist() == pytest.approx([1, 1 + 0.1 * 0.6 / 0.66, 1.1, 1.5, 1.5 + 0.5 / 3, 2])
    assert curve.growth[0][-1] == pytest.approx(2 * 1.8 / 1.6), (
        "past its last point it serves what it did there"
    )


def test_curves_of_several_nodes_keep_their_shapes() -> None:
    names = ["ddr4", "cxl-fpga"]
    share, load, growth = stack_curves([load_curve(name) for name in names])
    for node, name in enumerate(names):
        curve = load_curve(name)
        points, shares = len(curve.load), len(curve.share)
        np.testing.assert_array_equal(load[node, :points], curve.load)
        np.testing.assert_array_equal(growth[node, :shares, :points], curve.growth)
        assert share[node, -1] == curve.share[-1]
        np.testing.assert_allclose(
            (load / growth[:, -1])[node, points:], curve.load[-1] / curve.growth[-1, -1]
        )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gb_s = [0, 50, 80]", "gb_s = [5, 50, 80]", "must be idle"),
        ("gb_s = [0, 50, 80]", "gb_s = [0, 50]", "2 bandwidths, but 3 latencies"),
        ("ns = [100, 110, 150, 200]", "ns = [100, 110, 150, 160]", "must rise from point to point"),
        ("ns = [100, 120, 200]", "ns = [100, 120, 110]", "must not fall"),
        ("percent = 50", "percent = 100", "must ascend"),
        ("percent = 50", "percent = 500", "less than or equal to 100"),
        ('source = "me"', 'source = ""', "at least 1 character"),
    ],
)
def test_impossible_curves_are_refused(tmp_path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_curve(str(path))


def test_nodes_take_the_curve_of_their_device(tmp_path) -> None:
    assert [node.curve_name for node in load_topology("hbm-dram-cxl").nodes] == ["ddr5", "hbm", "cxl"]
    assert load_topology("dram-cxl-compressed").nodes[1].curve_name == "cxl"
    for name in TOPOLOGIES.names():
        load_topology(name)
    text = """[[nodes]]
name = "dram"
cpus = 4
capacity = "1 GiB"
latency_ns = 100
bandwidth_gb_s = 100
curve = "ddr4"
"""
    path = tmp_path / "tiers.toml"
    path.write_text(text)
    assert load_topology(str(path)).nodes[0].curve_name == "ddr4"
    path.write_text(text.replace("ddr4", "ddr9"))
    with pytest.raises(UsageError, match=r"tiers\.toml:7: nodes\.0\.curve: .*ddr9"):
        load_topology(str(path))
