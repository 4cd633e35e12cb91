"""`pghot doctor`: what this machine can do, and how to make it do more."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.shared_options import FastNodes, Json, LeaveOutNodes, SlowNodes
from pghot.errors import UsageError


def doctor(
    ctx: typer.Context,
    root: Annotated[
        str, typer.Option(help="a captured tree of /proc and /sys instead of this machine")
    ] = "/",
    fast_nodes: FastNodes = None,
    slow_nodes: SlowNodes = None,
    leave_out_nodes: LeaveOutNodes = None,
    json_: Json = False,
) -> None:
    """Tiers and nodes; every live source and mover: yes, or why not and the remedy.

    Changes nothing, and ends with 0 whatever it finds, unless nodes are named that are not there.
    """
    from pghot.cli.node_options import node_choice
    from pghot.kernel.sysroot import SysRoot
    from pghot.live.doctor import diagnose
    from pghot.report.findings import render_doctor

    if not Path(root).is_dir():
        raise UsageError(f"no directory '{root}'", "name a tree with proc and sys below it")
    facts = diagnose(SysRoot(Path(root)), node_choice(ctx.params))
    print(
        json.dumps(facts)
        if json_
        else render_doctor(facts, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    )
