"""The options of the live verbs that say which programs, and how sources and policies are set."""

from __future__ import annotations

from typing import Annotated

import typer

Pids = Annotated[list[int] | None, typer.Option("--pid", "-p", help="running process; may be repeated")]
Cgroup = Annotated[str, typer.Option(help="all processes of a cgroup v2")]
Children = Annotated[bool, typer.Option(help="follow the children of the processes")]
Sources = Annotated[
    str | None, typer.Option("--source", "--sources", help="live sources by comma: see `pghot doctor`")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a source or policy; may be repeated"),
]
