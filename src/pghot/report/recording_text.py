"""What `pghot record` recorded, in the emulator or live, as lines and as JSON facts."""

from __future__ import annotations

from typing import Any

from pghot.printable import printable
from pghot.recorder.recorder import Outcome
from pghot.recorder.status_line import Totals, describe
from pghot.report.facts import Facts
from pghot.units import counted, format_duration, format_share

SCHEMA = "pghot.record/1"


def emulated_lines(outcome: Outcome) -> list[str]:
    """How much was recorded, how the program ended, and which of its children were not followed."""
    state = Totals(
        outcome.wall_s,
        outcome.virtual_ns,
        outcome.references,
        outcome.slices,
        outcome.footprint,
        outcome.file_bytes,
        outcome.threads,
    )
    waiting = (
        f", {format_share(outcome.waiting_share, 0)} of the instructions only waited"
        if outcome.waiting_share >= 0.005
        else ""
    )
    return [
        describe(state).replace("recording", "recorded", 1),
        f"the program: {outcome.ended}, {counted(outcome.threads, 'working thread')}{waiting}",
        _slice_line(outcome),
        *(f"not followed: {printable(name)} (--children follows them)" for name in outcome.not_followed),
    ]


def _slice_line(outcome: Outcome) -> str:
    length = f"slices of {format_duration(outcome.slice_ns)}"
    return (
        length
        if outcome.joined == 1
        else f"{length}: {outcome.joined} each were joined to keep the file small"
    )


def emulated_facts(outcome: Outcome) -> dict[str, Any]:
    """A `pghot.record/1` document."""
    return {
        "schema": SCHEMA,
        "recording": str(outcome.path),
        "exit_status": outcome.status,
        "interrupted": outcome.interrupted,
        "virtual_ns": outcome.virtual_ns,
        "wall_s": outcome.wall_s,
        "references": outcome.references,
        "slices": outcome.slices,
        "slice_ns": outcome.slice_ns,
        "waiting_share": outcome.waiting_share,
        "footprint_pages": outcome.footprint,
        "file_bytes": outcome.file_bytes,
        "threads": outcome.threads,
        "not_followed": list(outcome.not_followed),
    }


def live_line(facts: Facts) -> str:
    """How much live sources recorded, and where to."""
    rows = counted(facts["rows"], "row")
    return f"recorded {counted(facts['slices'], 'slice')}, {rows} to {printable(facts['recording'])}"


def live_facts(facts: Facts) -> dict[str, Any]:
    """A `pghot.record/1` document."""
    return {"schema": SCHEMA, **facts}
