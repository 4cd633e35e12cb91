"""`pghot run` on a real kernel: the hot pages of a program come to the fast node, the cold ones stay."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import BALANCING, Pghot, Program, cpu_seconds, knobs, report, vmstat

from pghot.cli.main import run as run_pghot

pytestmark = pytest.mark.two_tiers


def bring(
    source: str,
    words: tuple[str, ...],
    wanted: float,
    journal: Path,
    options: tuple[str, ...] = (),
) -> dict[str, float]:
    """Run `pghot run --apply` until `wanted` of the hot pages are on node 0. How long it takes is reported."""
    before = knobs()
    with Program(128, 0.25, 1, *words) as program:
        with Pghot(
            "run",
            "--apply",
            "--source",
            source,
            "-p",
            str(program.pid),
            "--journal",
            str(journal),
            "--json",
            *options,
        ) as run:
            reached = program.arrives(wanted, run=run)
            cpu_s = cpu_seconds(run.process.pid)
            seconds = time.monotonic() - run.began
            code, out, err = run.finish()
        where = program.on(0)
    assert code == 130, err
    assert knobs() == before, "every knob is back"
    facts = json.loads(out)
    # What the interpreter takes to start under emulation is not pghot's to answer for.
    starting_s = seconds - facts["seconds"]
    counters = facts["sources"][0]["counters"]
    row = {
        "source": source,
        "coverage": where.hot,
        "cold_share": where.cold,
        "reached_s": reached - starting_s,
        "starting_s": starting_s,
        "cpu_s": cpu_s,
        "cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
        "promoted_pages": facts["moves"]["promoted_pages"],
        "lost": counters.get("hwhint_dropped_events", 0),
    }
    report("sources", row)
    return row


def test_hint_faults_bring_the_hot_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the log of the run has a row for each page that came."""
    log = tmp_path / "log.parquet"
    row = bring("faults", (), 0.95, tmp_path / "j.pghot-journal", ("--log", str(log)))
    assert row["coverage"] >= 0.95
    assert row["cold_share"] <= 0.02
    rows = pq.read_table(log).to_pylist()
    came = [each for each in rows if each["what"] == "promoted"]
    assert len(came) == row["promoted_pages"]
    assert {(each["source"], each["target"], each["why"], each["by"]) for each in came} == {
        (1, 0, "hot", "move_pages")
    }
    assert all(each["heat"] >= 2 for each in came), "hot from two accesses"
    assert run_pghot(["report", "explain", "-", "[anon]", "--log", str(log)]) == 0
    assert "promoted as hot from node 1 to node 0 by move_pages" in " ".join(capsys.readouterr().out.split())
    report("log", {"rows": len(rows), "bytes": log.stat().st_size})


def test_soft_dirty_brings_the_hot_pages_of_a_writer(tmp_path: Path) -> None:
    row = bring("softdirty", ("write", "calm"), 0.95, tmp_path / "j.pghot-journal")
    assert row["coverage"] >= 0.95
    assert row["cold_share"] <= 0.02


def test_damon_brings_most_hot_pages(tmp_path: Path) -> None:
    """It works in regions: most of the hot pages come, and its share of cold ones is reported, not judged.

    The program's accesses are such as the emulator shows: it sets accessed bits only when its TLB misses, and that is
    large by then. Between two samples a busy host may not let the program run at all.
    """
    options = (
        "--set",
        "damon.sample_us=50000",
        "--set",
        "damon.aggregate_us=1000000",
        "--set",
        "damon.min_regions=100",
    )
    row = bring("damon", ("flush", "run=1024"), 0.8, tmp_path / "j.pghot-journal", options)
    assert row["coverage"] >= 0.8


def test_the_kernels_own_mode_2_beside_them() -> None:
    """The yardstick: NUMA balancing's tiering mode promotes by itself."""
    rate = Path("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps")
    scan = Path("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms")
    old = {path: path.read_text() for path in (BALANCING, rate, scan)}
    promoted = vmstat("pgpromote_success")
    with Program(128, 0.25, 1) as program:
        try:
            scan.write_text("200")
            BALANCING.write_text("2")
            reached = program.arrives()
            where = program.on(0)
        finally:
            for path, text in old.items():
                path.write_text(text)
    report(
        "sources",
        {"source": "kernel mode 2", "coverage": where.hot, "cold_share": where.cold, "reached_s": reached,
         "promoted_pages": vmstat("pgpromote_success") - promoted},
    )  # fmt: skip
    # Of a counter each CPU holds some back.
    assert vmstat("pgpromote_success") - promoted >= 0.9 * program.hot().sum()
