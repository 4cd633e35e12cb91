"""Options that several verbs share: their names, types and help texts."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]

Pids = Annotated[list[int] | None, typer.Option("--pid", "-p", help="running process; may be repeated")]
Cgroup = Annotated[str, typer.Option(help="all processes of a cgroup v2")]
Children = Annotated[bool, typer.Option(help="follow the children of the processes")]
Sources = Annotated[
    str | None,
    typer.Option("--source", "--sources", help="live sources, comma-separated: see `pghot doctor`"),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a source or policy; may be repeated"),
]

Socket = Annotated[str, typer.Option(help="the daemon's socket")]
Interval = Annotated[float, typer.Argument(min=0, max=1e6, help="seconds between two reports; 0: one report")]
Count = Annotated[int, typer.Argument(min=0, help="number of reports; 0: no limit")]
