"""Tiers files and devices that compress: what is shipped loads, what is impossible names the key and the line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builders.accesses import trace_from_accesses
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.compare import DEVICE_MOVER, RunSpec, compare
from pghot.sim.compressed.device import DEVICES, CompressedDevice, load_device
from pghot.sim.machine.topology import load_topology

SMALL = trace_from_accesses(np.arange(40_000, dtype=np.uint32) % 1_000, accesses_per_slice=1_000)
GOOD = """
[[nodes]]
name = "dram"
cpus = 4
capacity = "1 GiB"
latency_ns = 100
bandwidth_gb_s = 100

[[nodes]]
name = "device"
compressed = "ocp-4k"
capacity = "4 GiB"
real_capacity = "2 GiB"
reserve = "1 GiB"
latency_ns = 400
bandwidth_gb_s = 26
"""


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tiers.toml"
    path.write_text(text)
    load_topology(str(path))


def test_what_is_shipped_loads() -> None:
    assert {"ocp-4k", "line-64", "multi-mode", "dedup"} <= set(DEVICES.names())
    for name in DEVICES.names():
        assert load_device(name).line_growth_bytes > 0
    assert load_topology("dram-cxl-compressed").ranks() == [0, 1]


def test_a_compressed_node_is_the_last_tier_however_fast(tmp_path: Path) -> None:
    load(tmp_path, GOOD.replace("latency_ns = 400", "latency_ns = 90"))
    assert load_topology(str(tmp_path / "tiers.toml")).ranks() == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('capacity = "4 GiB"', 'capacity = "1 GiB"', "is below real_capacity"),
        ('real_capacity = "2 GiB"\n', "", "needs real_capacity"),
        ('reserve = "1 GiB"', 'reserve = "2 GiB"', "reserve must be below real_capacity"),
        ('compressed = "ocp-4k"', 'compressed = "ocp-5k"', "ocp-4k"),
        ('compressed = "ocp-4k"', "compressed = {block = 32}", "must hold at least one line"),
        (
            'compressed = "ocp-4k"',
            "compressed = {low_share = 0.2, high_share = 0.1}",
            "must be below high_share",
        ),
        ('compressed = "ocp-4k"', "compressed = {block = 3000}", "multiple of line"),
        ('compressed = "ocp-4k"\n', "", "are for nodes with 'compressed'"),
        ('name = "device"', 'name = "device"\naccess = "rw"', "access"),
        ("latency_ns = 400", "latency_ns = 400\nwrite_latency_ns = 900", "no write_latency_ns"),
        ("latency_ns = 400", "latency_ns = inf", "finite"),
        ("latency_ns = 400", 'latency_ns = 400\nremote_ns = {"0" = -1.0}', "greater than or equal to 0"),
        ("latency_ns = 400", 'latency_ns = 400\nremote_ns = {"0" = inf}', "finite"),
        ('compressed = "ocp-4k"', "compressed = {line = 0}", "line must be 1 B"),
        ('compressed = "ocp-4k"', "compressed = {miss_ns = inf}", "finite"),
        ('capacity = "4 GiB"', 'capacity = "99999999 TiB"', "too much"),
    ],
)
def test_impossible_devices(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert message in f"{caught.value} {caught.value.hint}"
    assert "tiers.toml" in str(caught.value)


def test_how_far_a_written_line_reaches() -> None:
    assert load_device("ocp-4k").line_growth_bytes == 4096
    assert load_device("line-64").line_growth_bytes == 128
    assert load_device("multi-mode").line_growth_bytes == 4096 - 15 * 128
    assert load_device("dedup").line_growth_bytes == 4096
    plain = CompressedDevice(zero_flag=False)
    assert (plain.smallest_bytes, plain.line_growth_bytes) == (64, 4032)


def test_rules_want_a_node_that_compresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "workload:zipf", "--access", "ro-cow"]) == 2
    assert "--tiers dram-cxl-compressed" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no node of these tiers compresses"):
        compare(SMALL, "dram-cxl", [RunSpec("numab2", access="ro-cow")])


def test_the_stream_of_an_adversary(capsys: pytest.CaptureFixture[str]) -> None:
    """`writable` loses data; under the others somebody is killed at worst, and that is said."""
    rules = "writable,ro-cow,promote-on-write,contained"
    words = ["--tiers", "dram-cxl-compressed", "--policies", "pghot-default", "--sources", "chmu", "--json"]
    words += ["--duration", "one-pass", "--seeds", "1"]
    assert run(["compare", "workload:adversary-stream", *words, "--access", rules]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["access"]: row for row in result["summary"] if row["policy"] == "pghot-default"}
    assert list(rows) == rules.split(",")
    assert rows["writable"]["lost_pages"] > 0
    for rule in ("ro-cow", "promote-on-write", "contained"):
        assert rows[rule]["lost_pages"] == 0
        assert rows[rule]["killed_tenants"] == 1
        assert rows[rule]["speedup"] is None
    assert "lost" in " ".join(result["verdict"]["sentences"])


def test_without_samples_the_assumption_is_a_warning() -> None:
    result = compare(SMALL, "dram-cxl-compressed", [DEVICE_MOVER], times=100.0, duration_s=None, seeds=1)
    assert any("assumed" in text for text in result.setup.warnings)
    row = next(row for row in result.summary.to_pylist() if row["policy"] == DEVICE_MOVER.policy)
    assert 0 < row["saved_share"] < 1
    assert row["lost_pages"] == 0


def test_tiers_without_compression_have_no_such_figures() -> None:
    row = compare(SMALL, "dram-cxl", ["none"], duration_s=None, seeds=1).summary.to_pylist()[0]
    assert row["saved_share"] is None
