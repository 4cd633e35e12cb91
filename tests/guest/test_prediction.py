"""The lab's prediction beside what happened: a live recording of the guest's slow CXL node on simulated tiers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from suites import Suites
from vm import CACHE

import pghot

SHARED = CACHE / "shared-cxl"
TEST = "test_promotion_makes_a_program_faster_and_undo_slower_again"
TIERS = """
description = "the guest's DRAM and CXL node, as its test program measured them"
[[nodes]]
name = "dram"
cpus = 1
capacity = "1 GiB"
latency_ns = 100
bandwidth_gb_s = 100
[[nodes]]
name = "cxl"
capacity = "1 GiB"
latency_ns = {latency_ns}
bandwidth_gb_s = 100
"""


def test_the_lab_predicts_what_promotion_brings(
    suites: Suites, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Direction and rough size. Measured after the promotion, so beside the simulated run in which all is fast."""
    result = suites.result("cxl", f"tests/guest/inside/test_cxl.py::{TEST}")
    if result.outcome == "skipped":
        pytest.skip(result.text)
    assert result.outcome == "passed", "the live run that this compares with failed"
    live = json.loads((SHARED / "cxl.jsonl").read_text().splitlines()[-1])
    tiers = tmp_path / "guest.toml"
    tiers.write_text(TIERS.format(latency_ns=100 / live["speed_on_cxl"]))
    recording = pghot.open(SHARED / "cxl.pghot")
    policies = ["none", "all-fast", "pghot-default"]
    predicted = pghot.compare(
        recording,
        tiers=str(tiers),
        policies=policies,
        sources=["abit"],
        fast_share=None,
        placement="slow",
        repeat=4,
    )
    rows = {row["policy"]: row for row in predicted.summary.to_pylist()}
    simulated = rows["all-fast"]["speedup"]
    measured = live["speed_promoted"] / live["speed_on_cxl"]
    with capsys.disabled():
        print(
            f"\ncxl: with all hot pages in DRAM simulated {simulated:.2f}x, measured {measured:.2f}x; "
            f"simulated while pghot promotes {rows['pghot-default']['speedup']:.2f}x"
        )
    assert simulated > 1.1
    assert measured > 1.1
    assert 0.5 < (simulated - 1) / (measured - 1) < 2
