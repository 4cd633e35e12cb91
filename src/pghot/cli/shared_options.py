"""Options that several verbs share: their names, types and help texts."""

from __future__ import annotations

from typing import Annotated

import typer

# Programs by what they are, as parameters of a verb.
CHOSEN = ("cgroup", "name", "user", "min_size", "leave_out_name", "leave_out_user", "leave_out_cgroup")

NODES = ("fast_nodes", "slow_nodes", "leave_out_nodes")

Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]

StandsFor = Annotated[
    str, typer.Option(help="footprint of the real program: 100GiB, or 16x the recorded one")
]
Threads = Annotated[
    int | None, typer.Option(help="threads of the real program; the CPUs of the tiers by default")
]
Duration = Annotated[str, typer.Option(help="time of the real program when nothing moves, or one-pass")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="processes that replay side by side; as many as there are CPUs by default"),
]

Pids = Annotated[list[int] | None, typer.Option("--pid", "-p", help="running process; may be repeated")]
Cgroup = Annotated[
    list[str] | None,
    typer.Option(help="programs in a cgroup v2, by path or pattern; may be repeated, as all below"),
]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="programs by name: a pattern, such as 'post*'")
]
Users = Annotated[list[str] | None, typer.Option("--user", help="programs of a user")]
MinSize = Annotated[str | None, typer.Option(help="programs with at least so much resident memory")]
LeaveOutName = Annotated[list[str] | None, typer.Option(help="but not those of this name or pattern")]
LeaveOutUser = Annotated[list[str] | None, typer.Option(help="but not those of this user")]
LeaveOutCgroup = Annotated[
    list[str] | None, typer.Option(help="but not those in this cgroup, path or pattern")
]
Children = Annotated[bool, typer.Option(help="follow the children of the processes")]
Sources = Annotated[
    str | None,
    typer.Option("--source", "--sources", help="live sources, comma-separated: see `pghot doctor`"),
]
Kinds = Annotated[
    str | None,
    typer.Option(
        help="kinds of memory to move, comma-separated: anon, shmem, file, hugetlb; one that is named also where "
        "programs map it that are not tracked. Without: anon and shmem of tracked programs alone",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a source or policy; may be repeated"),
]

FastNodes = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="memory nodes that are fast, such as 0-1,4; default: the kernel's"),
]
SlowNodes = Annotated[str | None, typer.Option(metavar="LIST", help="memory nodes that are slow")]
LeaveOutNodes = Annotated[
    str | None, typer.Option(metavar="LIST", help="memory nodes from and to which nothing is moved")
]

Socket = Annotated[str, typer.Option(help="the daemon's socket")]
Interval = Annotated[float, typer.Argument(min=0, max=1e6, help="seconds between two reports; 0: one report")]
Count = Annotated[int, typer.Argument(min=0, help="number of reports; 0: no limit")]


def words(text: str) -> list[str]:
    """What an option lists, separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
