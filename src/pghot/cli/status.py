"""`pghot status`: what the daemon does now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.repeating import COUNTED, times
from pghot.cli.shared_options import Count, Interval, Json, Socket
from pghot.daemon.paths import SOCKET

if TYPE_CHECKING:
    from pghot.live.status_facts import StatusFacts

_GOES_WITH = (COUNTED,)


def status(
    ctx: typer.Context,
    interval: Interval = 0,
    count: Count = 0,
    socket: Socket = SOCKET,
    json_: Json = False,
) -> None:
    """What the daemon does now: sources, rates, losses, tiers, moves."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.daemon.client import ask_status
    from pghot.report.live_text import render_status

    before: StatusFacts | None = None
    for _ in times(interval, count):
        facts = ask_status(Path(socket))
        print(json.dumps(facts) if json_ else render_status(facts, before), flush=True)
        before = facts
