"""`pghot daemon`, `status` and `hot`: the service and its consumers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.daemon.paths import CONFIG, SOCKET
from pghot.errors import UsageError

Socket = Annotated[str, typer.Option(help="the daemon's socket")]
Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]
Interval = Annotated[float, typer.Argument(min=0, max=1e6, help="seconds between two reports; 0: one report")]
Count = Annotated[int, typer.Argument(min=0, help="reports; 0: without end")]

_COUNTED = GoesWith("an INTERVAL", lambda of: of["interval"], ("count",))
_DAEMON_GOES_WITH = (
    GoesWith(
        "a configuration of your own, not with --example", lambda of: not of["example"], ("config", "check")
    ),
)
_STATUS_GOES_WITH = (
    GoesWith("reports as text, not with --watch", lambda of: not of["watch"], ("count", "json_")),
    _COUNTED,
)
_HOT_GOES_WITH = (
    GoesWith("reports as text, not with --arrow", lambda of: not of["arrow"], ("json_",)),
    _COUNTED,
)


def daemon(
    ctx: typer.Context,
    config: Annotated[str, typer.Option("--config", "-c", help="TOML file")] = CONFIG,
    example: Annotated[bool, typer.Option("--example", help="print an example configuration")] = False,
    check: Annotated[bool, typer.Option("--check", help="check the configuration and end")] = False,
) -> None:
    """Run as a service: SIGHUP reloads, SIGTERM puts everything back."""
    refuse_unused(ctx, _DAEMON_GOES_WITH)
    if example:
        from importlib import resources

        print(resources.files("pghot").joinpath("data/service/pghot.toml").read_text("utf-8"), end="")
        return
    if check:
        from pghot.daemon.config import load_config

        load_config(Path(config))
        print(f"{config} is correct")
        return
    import asyncio

    from pghot.daemon.daemon import Daemon
    from pghot.kernel.sysroot import SysRoot

    asyncio.run(_served(Path(config), Daemon, SysRoot()))


async def _served(path: Path, kind: Any, root: Any) -> None:
    await kind(path, root).run()


def status(
    ctx: typer.Context,
    interval: Interval = 0,
    count: Count = 0,
    watch: Annotated[bool, typer.Option("--watch", help="full-screen live view, new every INTERVAL")] = False,
    socket: Socket = SOCKET,
    json_: Json = False,
) -> None:
    """What the daemon does now: sources, rates, losses, tiers, moves."""
    refuse_unused(ctx, _STATUS_GOES_WITH)
    if watch:
        _watch(Path(socket), interval or 1.0)
        return
    from pghot.daemon.sockets import ask
    from pghot.report.live_text import render_status

    before: dict[str, Any] = {}
    for _ in _times(interval, count):
        facts, _body = ask(Path(socket), {"get": "status"})
        print(json.dumps(facts) if json_ else render_status(facts, before), flush=True)
        before = facts


def _watch(socket: Path, interval: float) -> None:
    from pghot.cli.view import require_terminal, watch

    require_terminal("--watch", "`pghot status 1` prints a report a second, with --json one object a line")
    watch(socket, interval)


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
    refuse_unused(ctx, _HOT_GOES_WITH)
    from pghot.daemon.sockets import ask
    from pghot.report.live_text import render_hot

    if by not in ("page", "region"):
        raise UsageError(f"pages cannot be ranked by '{by}' (--by)", "give page or region")
    form = "arrow" if arrow else "json"
    for _ in _times(interval, count):
        facts, body = ask(Path(socket), {"get": "hot", "top": top, "by": by, "form": form})
        if arrow:
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        else:
            print(json.dumps(facts) if json_ else render_hot(facts), flush=True)


def _times(interval: float, count: int) -> Iterator[int]:
    done = 0
    while True:
        yield done
        done += 1
        if not interval or done == count:
            return
        time.sleep(interval)
