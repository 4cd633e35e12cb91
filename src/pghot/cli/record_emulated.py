"""`pghot record --source qemu`: a command that runs in the emulator, which sees every access."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pghot.cli.streams import stdout_kept_for_data
from pghot.errors import PghotError

if TYPE_CHECKING:
    from pghot.recorder.record_settings import RecordSettings


def record_emulated(command: Sequence[str], path: Path, settings: RecordSettings, as_json: bool) -> None:
    """Record the command into `path`, and say what was recorded.

    Raises `PghotError` when the command died at once, `typer.Exit` when the user interrupted it.
    """
    from pghot.recorder.recorder import record
    from pghot.recorder.status_line import Progress
    from pghot.report.recording_text import emulated_facts, emulated_lines

    with stdout_kept_for_data(as_json):
        outcome = record(list(command), path, settings, Progress())
    print("\n".join(emulated_lines(outcome)), file=sys.stderr)
    if as_json:
        print(json.dumps(emulated_facts(outcome)))
    if outcome.died_at_once:
        raise PghotError(
            f"'{command[0]}' died at once: {outcome.ended}",
            "its own messages are above; does it run without pghot?",
        )
    if outcome.interrupted:
        raise typer.Exit(130)
