"""What tracking costs the tracked program, and pghot itself, by source: measured and reported, hardly judged.

All emulated, with as many CPUs as the host lends: the slow-down of the program is a ratio within one run.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import Pghot, Program, report, wait_until

pytestmark = pytest.mark.two_tiers
SECONDS = 8


@pytest.mark.parametrize("source", ["faults", "softdirty", "damon"])
def test_what_tracking_costs(source: str, tmp_path: Path) -> None:
    """A dry run over 256 MiB of which a quarter is touched without a pause."""
    with Program(256, 0.25, 1, "write") as program:
        before = program.passes_per_s(SECONDS)
        with Pghot(
            "run", "--source", source, "-p", str(program.pid), "--json", "--journal", str(tmp_path / "j.pghot-journal")
        ) as run:  # fmt: skip
            assert wait_until(lambda: "sightings" in run.said(), 60) is not None
            tracked = program.passes_per_s(SECONDS)
            _, out, _ = run.finish()
        after = program.passes_per_s(SECONDS)
        assert (program.nodes() == 1).all()
    facts = json.loads(out)
    untracked = (before + after) / 2
    report(
        "overhead",
        {
            "source": source,
            "program_slowdown": untracked / tracked,
            "noise": max(before, after) / min(before, after),
            "own_cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
            "own_resident_mib": facts["counters"]["pghot_resident_bytes"] / (1 << 20),
            "bytes_per_tracked_page": facts["tracking"]["bytes_per_tracked_page"],
        },
    )
    assert tracked > 0
