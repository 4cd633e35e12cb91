"""`pghot top`: the live view of a daemon, or a recording played."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.daemon.paths import SOCKET
from pghot.errors import UsageError

BINS = 512  # of time, of a recording
USUAL_S = 60.0  # in which a recording is played


def _is_socket(what: str) -> bool:
    """Whether it is a daemon's socket, or would be if there were one."""
    if what.endswith(".sock"):
        return True
    try:
        return stat.S_ISSOCK(os.stat(what).st_mode)
    except (OSError, ValueError):
        return False


_GOES_WITH = (
    GoesWith("a daemon's socket", lambda of: _is_socket(of["what"]), ("interval",)),
    GoesWith("a recording", lambda of: not _is_socket(of["what"]), ("speed",)),
)


def top(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="[SOCKET | FILE]", help="a daemon's socket, FILE or bundled:NAME")
    ] = SOCKET,
    interval: Annotated[
        float, typer.Option(min=0.1, max=1e6, help="seconds between two looks at a daemon")
    ] = 1.0,
    speed: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1e6, help="of a recording's time; default: all of it in a minute"),
    ] = None,
) -> None:
    """A full screen: what the daemon does now, or a recording played like a film."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.cli.view import require_terminal, watch

    if _is_socket(what):
        require_terminal(
            "pghot top", "`pghot status 1` prints one report a second, or with --json one object per line"
        )
        watch(Path(what), interval)
        return
    require_terminal("pghot top", "`pghot report heatmap` prints what it would show")
    _play(what, speed)


def _play(recording: str, speed: float | None) -> None:
    from pghot.cli.report_options import opened, read
    from pghot.cli.screen import Screen
    from pghot.recording.activity import Activities
    from pghot.recording.heat import Heat, measure_of
    from pghot.recording.time_bins import at_most
    from pghot.recording.totals import PageTotals
    from pghot.report.view.replay_screen import play
    from pghot.report.view.tape import Tape

    trace = opened(recording)
    if not trace.footprint_pages:
        raise UsageError(f"{trace.info.name} has nothing to play: no page was touched", "record for longer")
    time = at_most(trace, BINS)
    heat, lives, totals = (
        Heat(trace, measure_of(trace), time),
        Activities(trace, time),
        PageTotals(trace.pages),
    )
    read(trace, heat, lives, totals)
    tape = Tape(trace.info.name, time, heat, totals, lives.result())
    play(tape, speed or tape.seconds / USUAL_S, Screen().colour)
