"""The lab's predictions beside what happened in the guest: a slow CXL node, and compressed swap."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from suites import Suites
from vm import CACHE

import pghot

pytestmark = pytest.mark.timeout(0)  # as in test_guest.py
SHARED = CACHE / "shared-one_node"
TEST = "tests/guest/inside/test_cxl.py::test_promotion_makes_a_program_faster_and_undo_slower_again"
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


@pytest.mark.parametrize("kind, test", [("one_node", TEST)], ids=["cxl"])
def test_the_lab_predicts_what_promotion_brings(
    kind: str, test: str, suites: Suites, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Direction and rough size. Measured after the promotion, so beside the simulated run in which all is fast."""
    result = suites.result(kind, test)
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


ZRAM = """
description = "the guest's DRAM and its zram"
[[nodes]]
name = "dram"
cpus = 1
capacity = "1 GiB"
latency_ns = 100
bandwidth_gb_s = 100
[[nodes]]
name = "zram"
compressed = {algorithm = "lz4"}
access = "swap"
capacity = "4 GiB"
real_capacity = "4 GiB"
latency_ns = 2000
bandwidth_gb_s = 26
"""
ZRAM_TEST = "tests/guest/inside/test_compressed.py::test_cold_pages_go_to_zram_and_nothing_is_lost"
COLD_SHARE = 0.75


@pytest.mark.parametrize("kind, test", [("one_node", ZRAM_TEST)], ids=["zram"])
def test_the_lab_predicts_what_compressed_swap_saves(
    kind: str, test: str, suites: Suites, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same program, half as large, recorded under user emulation with samples of its contents.

    For some 4 s of its own time: in less, bringing the memory out is most of what the recording shows.
    """
    result = suites.result(kind, test)
    if result.outcome == "skipped":
        pytest.skip(result.text)
    assert result.outcome == "passed", "the live run that this compares with failed"
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("no qemu-x86_64 to record the program with (package qemu-user)")
    lines = (SHARED / "compressed.jsonl").read_text().splitlines()
    live = next(row for row in map(json.loads, lines) if str(row.get("program", "")).startswith("64 MiB"))
    recording, tiers = tmp_path / "program.pghot", tmp_path / "zram.toml"
    program = [str(SHARED / "program"), "32", "0.25", "0", "write", "text", "passes=48000"]
    words = ["record", "--compressibility", "--llc", "1MiB", "-o", str(recording), "--", *program]
    command = [str(Path(sys.executable).with_name("pghot")), *words]
    subprocess.run(command, check=True, capture_output=True)
    tiers.write_text(ZRAM)
    in_memory = 1 - COLD_SHARE * live["cold_out"]
    predicted = pghot.compare(
        pghot.open(recording),
        tiers=str(tiers),
        policies=["demotion"],
        fast_share=in_memory + 0.01,
        duration_s=None,  # the program starts once: a second pass would bring all its memory in again
    )
    row = next(row for row in predicted.summary.to_pylist() if row["policy"] == "demotion")
    measured = live["saved_mib"] / 64
    with capsys.disabled():
        print(
            f"\nzram: saved of the program's memory simulated {row['saved_share']:.1%}, measured {measured:.1%}; "
            f"slowdown simulated {row['slowdown']:.2f}x, measured {live['slowdown']:.2f}x (noise {live['noise']:.2f}x)"
        )
    assert 0.7 < row["saved_share"] / measured < 1.4
    assert row["slowdown"] < 1.2
