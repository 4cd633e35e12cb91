"""Runs inside the guest: a dry run over 256 MiB of which a quarter is written without a pause, once for each source."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "guest" / "inside"))

from forked import start_server
from helpers import FORK_SERVER, Pghot, Program, report

from waiting import until

REPORTS = 16  # two in a second
SOURCES = ("faults", "softdirty", "damon")


def measure(source: str) -> None:
    """The second of two runs over one program.

    The emulator gives a program with many pages a larger TLB whenever it is flushed, and sources flush it: after a
    first run of `softdirty` the program is three times as fast for good. Only then is there something to compare.
    """
    with Program(256, 0.25, 1, "write", "busy") as program:
        tracked_run(source, program)
        before = passes_per_s(program)
        tracked, out = tracked_run(source, program)
        after = passes_per_s(program)
    facts = json.loads(out)
    report(
        "overhead",
        {
            "source": source,
            "program_slowdown": (before + after) / 2 / tracked,
            "noise": max(before, after) / min(before, after),
            "own_cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
            "own_resident_mib": facts["counters"]["pghot_resident_bytes"] / (1 << 20),
            "bytes_per_tracked_page": facts["tracking"]["bytes_per_tracked_page"],
        },
    )


def tracked_run(source: str, program: Program) -> tuple[float, str]:
    """Passes of the program in a second while it is tracked, and what the run prints."""
    journal = f"/run/{source}.pghot-journal"
    with Pghot("run", "--source", source, "-p", str(program.pid), "--json", "--journal", journal) as run:
        until(lambda: "sightings" in run.said(), f"sightings of {source}", run.said, 0.5)
        passes = passes_per_s(program)
        _, out, _ = run.finish()
    return passes, out


def passes_per_s(program: Program) -> float:
    """Passes of the program in a second, over some seconds."""
    program.goes_on()
    before, then = program.passes()
    program.goes_on(REPORTS)
    after, now = program.passes()
    return (after - before) / (now - then)


def main() -> None:
    server = start_server(FORK_SERVER)
    try:
        for source in SOURCES:
            measure(source)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
