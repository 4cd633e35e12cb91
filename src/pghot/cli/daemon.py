"""`pghot daemon`: pghot as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.daemon.paths import CONFIG
from pghot.units import counted, format_number

_GOES_WITH = (
    GoesWith(
        "a configuration of your own, not with --example", lambda of: not of["example"], ("config", "check")
    ),
)


def daemon(
    ctx: typer.Context,
    config: Annotated[str, typer.Option("--config", "-c", help="TOML file")] = CONFIG,
    example: Annotated[bool, typer.Option("--example", help="print an example configuration")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="check configuration, targets and sources, and end")
    ] = False,
) -> None:
    """Run as a service: SIGHUP reloads, SIGTERM puts everything back."""
    refuse_unused(ctx, _GOES_WITH)
    if example:
        from importlib import resources

        print(resources.files("pghot").joinpath("data/service/pghot.toml").read_text("utf-8"), end="")
        return
    if check:
        _check(config)
        return
    import asyncio

    from pghot.daemon.daemon import Daemon
    from pghot.kernel.sysroot import SysRoot

    asyncio.run(Daemon(Path(config), SysRoot()).run())


def _check(config: str) -> None:
    from pghot.daemon.config import load_config
    from pghot.daemon.daemon import live_settings
    from pghot.kernel.sysroot import SysRoot
    from pghot.live.groups import GroupMembers
    from pghot.live.live_settings import check_sources

    settings, root = live_settings(load_config(Path(config))), SysRoot()
    members = GroupMembers(root, settings.all_groups)
    members.check()
    check_sources(root, settings)
    members.now()
    print(f"{config} is correct, and this machine can do it")
    for group, programs in zip(settings.all_groups, members.counts, strict=True):
        rate = (
            "left alone"
            if group.left_alone
            else f"{group.policy}, to {format_number(group.rate_limit_mb_s)} MiB/s"
        )
        print(f"{group.name or 'all'}: {counted(programs, 'program')} now; {rate}")
