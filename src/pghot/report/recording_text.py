"""What `pghot record` recorded, in the emulator or live, as lines and as JSON facts."""

from __future__ import annotations

from typing import Any

from pghot.printable import printable
from pghot.recorder.recorder import Outcome
from pghot.recorder.status_line import Totals, describe
from pghot.report.facts import Facts

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
    )
    return [
        describe(state).replace("recording", "recorded", 1),
        f"the program: {outcome.ended}, {outcome.threads} working thread(s)",
        *(f"not followed: {printable(name)} (use --follow-children)" for name in outcome.not_followed),
    ]


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
        "footprint_pages": outcome.footprint,
        "file_bytes": outcome.file_bytes,
        "threads": outcome.threads,
        "not_followed": list(outcome.not_followed),
    }


def live_line(facts: Facts) -> str:
    """How much live sources recorded, and where to."""
    return f"recorded {facts['slices']:,} slices, {facts['rows']:,} rows to {printable(facts['recording'])}"


def live_facts(facts: Facts) -> dict[str, Any]:
    """A `pghot.record/1` document."""
    return {"schema": SCHEMA, **facts}
