"""`pghot record --source faults ...`: what live sources of this machine see of running programs."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from pghot.errors import PghotError
from pghot.printable import printable

if TYPE_CHECKING:
    from pghot.live.live_settings import LiveSettings
    from pghot.live.record_live import RecordingPlan
    from pghot.live.targets import Targets


def record_live(
    plan: RecordingPlan, settings: LiveSettings, targets: AbstractContextManager[Targets], as_json: bool
) -> None:
    """Record the targets, and say what was recorded. Entering the context starts a command, if that is the target.

    Raises `PghotError` when nothing was seen, and `typer.Exit` when the user interrupted it.
    """
    from pghot.cli.live_options import status_on_stderr
    from pghot.kernel.sysroot import SysRoot
    from pghot.live.owner import refuse_second
    from pghot.live.record_live import record_live as record
    from pghot.report.recording_text import live_facts, live_line

    refuse_second(SysRoot(), settings)
    with targets as found:
        recorded = record(SysRoot(), replace(settings, targets=found), plan, status_on_stderr())
    for problem in recorded.problems:
        print(f"note: {printable(problem)}", file=sys.stderr)
    if why := recorded.nothing_seen:
        raise PghotError(
            f"nothing was recorded, because {'; '.join(why)}",
            "see to that, or name another --source: `pghot doctor`",
        )
    print(live_line(recorded.facts), file=sys.stderr)
    if as_json:
        print(json.dumps(live_facts(recorded.facts)))
    if recorded.facts["interrupted"]:
        raise typer.Exit(130)
