"""`pghot run` and `pghot undo`: promote for real or as a dry run, and put back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pghot.units import parse_duration_ns, parse_share

if TYPE_CHECKING:
    pass

Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]
Pids = Annotated[list[int] | None, typer.Option("--pid", "-p", help="running process; may be repeated")]
Cgroup = Annotated[str, typer.Option(help="all processes of a cgroup v2")]
Children = Annotated[bool, typer.Option(help="follow the children of the processes")]
Sources = Annotated[
    str, typer.Option("--source", "--sources", help="live sources by comma: see `pghot doctor`")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a source or policy; may be repeated"),
]


def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD [ARGS]...]", help="program to start")
    ] = None,
    pid: Pids = None,
    cgroup: Cgroup = "",
    children: Children = True,
    apply: Annotated[bool, typer.Option("--apply", help="promote for real; else nothing is changed")] = False,
    source: Sources = "faults",
    policy: Annotated[
        str, typer.Option(help="pghot-default, pghot-precise, pghot-hashed, hemem")
    ] = "pghot-default",
    rate: Annotated[float, typer.Option(min=0.001, help="promotion rate limit, MiB/s")] = 256.0,
    free_floor: Annotated[str, typer.Option(help="share of a fast node that stays free")] = "1%",
    batch: Annotated[int, typer.Option(min=1, max=65536, help="pages in one move_pages call")] = 512,
    demotion: Annotated[str, typer.Option(help="move_pages, reclaim, lru_gen or off")] = "move_pages",
    interval: Annotated[str, typer.Option(help="time between rounds")] = "100 ms",
    duration: Annotated[str, typer.Option(help="end after this time")] = "",
    journal: Annotated[str, typer.Option(help="file that remembers what was changed, for `pghot undo`")] = "",
    restore: Annotated[bool, typer.Option("--restore", help="put the pages back at the end")] = False,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Track programs, rank their pages and say what would be promoted; with --apply promote.

    pghot run --apply -p 1234 --duration 60s
    """
    from pghot.cli.live import check_one_target, live_settings, status_on_stderr
    from pghot.kernel.sysroot import SysRoot
    from pghot.machine.linux import MoverSettings
    from pghot.report.live import render_run
    from pghot.service.run import RunSettings, run_live

    mover = MoverSettings(apply, rate, parse_share(free_floor), batch, demotion)
    how = RunSettings(
        interval_ms=max(1, parse_duration_ns(interval) // 1_000_000),
        duration_s=parse_duration_ns(duration) / 1e9 if duration else 0.0,
        journal=Path(journal) if journal else None,
        restore=restore,
    )
    with check_one_target(command, pid, cgroup, children) as targets:
        settings = live_settings(targets, source, policy, set_ or [], mover)
        summary = run_live(SysRoot(), settings, how, status_on_stderr())
    for problem in summary.problems:
        print(f"note: {problem}", file=sys.stderr)
    print(json.dumps(summary.facts) if json_ else render_run(summary.facts))
    if summary.interrupted:
        raise typer.Exit(130)


def undo(
    journal: Annotated[str, typer.Argument(metavar="FILE.pghot-journal", help="what `pghot run` wrote")],
    json_: Json = False,
) -> None:
    """Put pages back to the nodes they came from and kernel knobs back to their values."""
    from pghot.cli.progress import progress_on_stderr
    from pghot.kernel.sysroot import SysRoot
    from pghot.report.live import render_undo
    from pghot.service.journal import read_journal
    from pghot.service.undo import undo as put_back

    result = put_back(read_journal(Path(journal)), SysRoot(), progress_on_stderr("moving pages back"))
    print(json.dumps(result.facts()) if json_ else render_undo(result.facts()))
    if not result.complete:
        raise typer.Exit(1)
