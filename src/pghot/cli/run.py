"""`pghot run` and `pghot undo`: promote for real or as a dry run, and put back."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pghot.cli.targets import Cgroup, Children, Pids, Set, Sources
from pghot.errors import UsageError, unknown_name
from pghot.printable import printable
from pghot.units import parse_duration_ns, parse_share

if TYPE_CHECKING:
    from pghot.service.live_settings import LiveSettings
    from pghot.service.run import RunSettings, Summary

Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]


def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD [ARGS]...]", help="program to start")
    ] = None,
    pid: Pids = None,
    cgroup: Cgroup = "",
    children: Children = True,
    apply: Annotated[bool, typer.Option("--apply", help="promote for real; else nothing is changed")] = False,
    source: Sources = "",
    policy: Annotated[
        str, typer.Option(help="pghot-default, pghot-precise, pghot-hashed, hemem")
    ] = "pghot-default",
    rate: Annotated[float, typer.Option(min=0.001, max=1e6, help="promotion rate limit, MiB/s")] = 256.0,
    free_floor: Annotated[str, typer.Option(help="share of a fast node that stays free")] = "1%",
    batch: Annotated[int, typer.Option(min=1, max=65536, help="pages in one move_pages call")] = 512,
    demotion: Annotated[
        str, typer.Option(help="who makes room on a full node: move_pages, reclaim, lru_gen or off")
    ] = "move_pages",
    mover: Annotated[
        str,
        typer.Option(
            help="who moves pages: move_pages (pghot), or damos (the kernel's DAMON finds and moves)"
        ),
    ] = "move_pages",
    compressed: Annotated[
        bool, typer.Option("--compressed", help="compressed swap is one more tier: zram or zswap")
    ] = False,
    cold_after: Annotated[
        str, typer.Option(help="with --compressed: pages unseen for so long go there")
    ] = "30s",
    interval: Annotated[str, typer.Option(help="time between rounds")] = "100 ms",
    duration: Annotated[str, typer.Option(help="end after this time")] = "",
    journal: Annotated[str, typer.Option(help="file that remembers what was changed, for `pghot undo`")] = "",
    restore: Annotated[bool, typer.Option("--restore", help="put the pages back at the end")] = False,
    what_if: Annotated[
        str, typer.Option(metavar="TIERS", help="no slow tier here: replay what was seen on simulated tiers")
    ] = "",
    fast_share: Annotated[str, typer.Option(help="what-if: top tier's share of the footprint")] = "20%",
    max_cpu: Annotated[
        float, typer.Option(min=0, max=1e6, help="sample less above this share of a CPU, percent")
    ] = 0.0,
    view: Annotated[bool, typer.Option("--view", help="full-screen live view while it runs")] = False,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Track programs, rank their pages and say what would be promoted; with --apply promote.

    pghot run --apply -p 1234 --duration 60s

    pghot run --what-if dram-cxl --fast-share 20% -- ./server
    """
    from pghot.cli.live import check_one_kind, damos_settings, live_settings, status_on_stderr, targets_of
    from pghot.kernel.sysroot import SysRoot
    from pghot.machine.demotion import DEMOTIONS
    from pghot.machine.linux import MOVERS, MoverSettings
    from pghot.report.live import render_run
    from pghot.service.run import RunSettings, run_live

    check_one_kind(command, pid, cgroup)
    if what_if:
        if apply:
            raise UsageError("--what-if only simulates", "leave --apply out")
        if view:
            raise UsageError("--what-if has no live view", "leave --view out")
        if compressed or mover != "move_pages":
            raise UsageError("--what-if moves nothing here", "leave --compressed and --mover out")
        _what_if(
            what_if, fast_share, policy, command, pid, cgroup, children, source, duration, set_ or [], json_
        )
        return
    if demotion not in DEMOTIONS:
        raise unknown_name("--demotion", demotion, list(DEMOTIONS))
    if mover not in MOVERS:
        raise unknown_name("--mover", mover, list(MOVERS))
    cold_s = parse_duration_ns(cold_after) / 1e9
    moving = MoverSettings(apply, rate, parse_share(free_floor), batch, demotion, mover, compressed, cold_s)
    how = RunSettings(
        interval_ms=max(1, parse_duration_ns(interval) // 1_000_000),
        duration_s=parse_duration_ns(duration) / 1e9 if duration else 0.0,
        journal=Path(journal) if journal else None,
        restore=restore,
    )
    if mover == "damos":
        settings = damos_settings(source, policy, set_ or [], moving, bool(cgroup))
    else:
        settings = live_settings(source or "faults", policy, set_ or [], moving, max_cpu)
    if view:
        summary = _viewed(settings, how, command, pid, cgroup, children, json_)
    else:
        with targets_of(command, pid, cgroup, children, json_) as targets:
            summary = run_live(SysRoot(), replace(settings, targets=targets), how, status_on_stderr())
    for problem in summary.problems:
        print(f"note: {printable(problem)}", file=sys.stderr)
    print(json.dumps(summary.facts) if json_ else render_run(summary.facts))
    if summary.interrupted:
        raise typer.Exit(130)
    if not summary.restored:
        raise typer.Exit(1)


def _viewed(
    settings: LiveSettings,
    how: RunSettings,
    command: list[str] | None,
    pid: list[int] | None,
    cgroup: str,
    children: bool,
    as_json: bool,
) -> Summary:
    from pghot.cli.live import targets_of
    from pghot.cli.view import output_held, require_terminal, screen
    from pghot.kernel.sysroot import SysRoot
    from pghot.service.viewed import run_viewed

    require_terminal("--view", "leave it out: a status line goes to stderr then", stdout_too=not as_json)
    with (
        output_held(command) as held,
        targets_of(command, pid, cgroup, children, as_json, held) as targets,
    ):
        return run_viewed(SysRoot(), replace(settings, targets=targets), how, screen)


def _what_if(
    tiers: str,
    fast_share: str,
    policy: str,
    command: list[str] | None,
    pid: list[int] | None,
    cgroup: str,
    children: bool,
    source: str,
    duration: str,
    options: list[str],
    as_json: bool,
) -> None:
    """Record what the programs do, with whatever can see it here, and replay that on simulated tiers."""
    import tempfile

    from pghot.cli.lab import compare
    from pghot.cli.record import record
    from pghot.cli.streams import stdout_kept_for_data
    from pghot.machine.topology import load_topology
    from pghot.service.what_if import NOTE, check_simulation, choose_source, policies_beside
    from pghot.trusted import temporary_place

    check_simulation(load_topology(tiers), policy, parse_share(fast_share))
    chosen = source or choose_source(bool(command))
    with tempfile.TemporaryDirectory(prefix="pghot-what-if", dir=temporary_place()) as place:
        path = str(Path(place, "seen.pghot"))
        print(f"recording with {chosen}; then {tiers} is simulated", file=sys.stderr)
        with stdout_kept_for_data(as_json):
            record(
                command, output=path, source=chosen, pid=pid, cgroup=cgroup, children=children, set_=options,
                max_duration=duration, follow_children=children,
            )  # fmt: skip
        compare(path, tiers=tiers, fast_share=fast_share, policies=policies_beside(policy), json_=as_json)
    print(NOTE.format(source=chosen), file=sys.stderr)


def undo(
    journal: Annotated[str, typer.Argument(metavar="FILE.pghot-journal", help="what `pghot run` wrote")],
    if_any: Annotated[bool, typer.Option("--if-any", help="no such file is no error")] = False,
    json_: Json = False,
) -> None:
    """Put pages back to the nodes they came from and kernel knobs back to their values."""
    from pghot.cli.progress import progress_on_stderr
    from pghot.kernel.sysroot import SysRoot
    from pghot.report.live import render_undo
    from pghot.service.journal_file import read_journal
    from pghot.service.undo import undo as put_back

    if if_any and not Path(journal).exists():
        return
    result = put_back(read_journal(Path(journal)), SysRoot(), progress_on_stderr("moving pages back"))
    print(json.dumps(result.facts()) if json_ else render_undo(result.facts()))
    if not result.complete:
        raise typer.Exit(1)
