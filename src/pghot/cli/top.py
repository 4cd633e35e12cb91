"""`pghot top`: the live view of a daemon, or a recording played."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.daemon.paths import SOCKET


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
    from pghot.cli.play import play_recording

    play_recording(what, speed)
