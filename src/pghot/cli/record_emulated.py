"""`pghot record --source qemu`: a command that runs in the emulator, which sees every access."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pghot.cli.streams import stdout_kept_for_data
from pghot.errors import PghotError
from pghot.printable import printable

if TYPE_CHECKING:
    from pghot.recorder.record_settings import RecordSettings
    from pghot.recorder.recorder import Outcome

_SCHEMA = "pghot.record/1"


def record_emulated(command: Sequence[str], path: Path, settings: RecordSettings, as_json: bool) -> None:
    """Record the command into `path`, and say what was recorded.

    Raises `PghotError` when the command died at once, `typer.Exit` when the user interrupted it.
    """
    from pghot.recorder.recorder import record
    from pghot.recorder.status_line import Progress

    with stdout_kept_for_data(as_json):
        outcome = record(list(command), path, settings, Progress())
    _report(outcome, as_json)
    if outcome.died_at_once:
        raise PghotError(
            f"'{command[0]}' died at once: {outcome.ended}",
            "its own messages are above; does it run without pghot?",
        )
    if outcome.interrupted:
        raise typer.Exit(130)


def _report(outcome: Outcome, as_json: bool) -> None:
    from pghot.recorder.status_line import State, describe

    state = State(
        outcome.wall_s,
        outcome.virtual_ns,
        outcome.references,
        outcome.slices,
        outcome.footprint,
        outcome.file_bytes,
    )
    print(describe(state).replace("recording", "recorded", 1), file=sys.stderr)
    print(f"the program: {outcome.ended}, {outcome.threads} working thread(s)", file=sys.stderr)
    for name in outcome.not_followed:
        print(f"not followed: {printable(name)} (use --follow-children)", file=sys.stderr)
    if as_json:
        print(json.dumps(_facts(outcome)))


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
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
