"""`pghot hot`: the hottest pages or regions that the daemon knows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.repeating import COUNTED, times
from pghot.cli.shared_options import Count, Interval, Json, Socket
from pghot.daemon.paths import SOCKET
from pghot.errors import UsageError

_GOES_WITH = (
    GoesWith("reports as text, not with --arrow", lambda of: not of["arrow"], ("json_",)),
    COUNTED,
)


def hot(
    ctx: typer.Context,
    top: Annotated[int, typer.Option(min=1, help="how many")] = 20,
    by: Annotated[str, typer.Option(help="page or region")] = "region",
    interval: Interval = 0,
    count: Count = 0,
    socket: Socket = SOCKET,
    json_: Json = False,
    arrow: Annotated[bool, typer.Option("--arrow", help="write an Arrow IPC stream to stdout")] = False,
) -> None:
    """The ranked hot pages or regions, hottest first."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.daemon.client import ask, ask_hot
    from pghot.report.live_text import render_hot

    if by not in ("page", "region"):
        raise UsageError(f"pages cannot be ranked by '{by}' (--by)", "give page or region")
    for _ in times(interval, count):
        if arrow:
            _, body = ask(Path(socket), {"get": "hot", "top": top, "by": by, "form": "arrow"})
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        else:
            facts = ask_hot(Path(socket), top, by)
            print(json.dumps(facts) if json_ else render_hot(facts), flush=True)
