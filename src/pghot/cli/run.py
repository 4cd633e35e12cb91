"""`pghot run`: promote for real, or say what would be promoted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.shared_options import (
    CHOSEN,
    NODES,
    Cgroup,
    Children,
    FastNodes,
    Json,
    Kinds,
    LeaveOutCgroup,
    LeaveOutName,
    LeaveOutNodes,
    LeaveOutUser,
    MinSize,
    Names,
    Pids,
    Set,
    SlowNodes,
    Users,
    words,
)
from pghot.printable import printable
from pghot.units import parse_duration_ns, parse_share, parse_size

if TYPE_CHECKING:
    from pghot.cli.named import Named
    from pghot.live.live_settings import LiveSettings
    from pghot.live.run import RunSettings, Summary

_GOES_WITH = (
    GoesWith("--what-if", lambda of: of["what_if"] is not None, ("fast_share", "policies", "output")),
    GoesWith(
        "--what-if with the emulator: --source qemu",
        lambda of: of["what_if"] is not None and of["source"] in (None, "qemu"),
        ("llc",),
    ),
    GoesWith("--output or --log", lambda of: of["output"] or of["log"], ("force",)),
    GoesWith("a run without --policies, which names them", lambda of: of["policies"] is None, ("policy",)),
    GoesWith(
        "a run on the tiers of this machine, not with --what-if",
        lambda of: of["what_if"] is None,
        (
            "apply", "rate", "target", "free_floor", "batch", "demotion", "mover", "compressed", "cold_after",
            "config", "interval", "journal", "kinds", "restore", "log", "max_cpu", "tracked", *NODES,
        ),
    ),
    GoesWith(
        "a live source, which --source qemu is not",
        lambda of: of["what_if"] is None or of["source"] != "qemu",
        ("pid", *CHOSEN, "set_"),
    ),
    GoesWith(
        "--mover move_pages: with damos the kernel's DAMON finds and moves the pages",
        lambda of: of["mover"] != "damos",
        ("source", "sources", "policy", "config", "compressed", "batch", "log", "max_cpu", "kinds", "target"),
    ),
    GoesWith(
        "a run without --config, which names them",
        lambda of: of["config"] is None,
        ("source", "sources", "policy"),
    ),
    GoesWith(
        "a run without --source, which means the same, or --what-if",
        lambda of: of["source"] is None or of["what_if"] is not None,
        ("sources",),
    ),
    GoesWith("--compressed", lambda of: of["compressed"], ("cold_after",)),
    # A dry run keeps to --rate and --free-floor, but nothing makes room: demotion needs --apply.
    GoesWith("--apply", lambda of: of["apply"], ("batch", "restore")),
    GoesWith("--apply, or --mover damos", lambda of: of["apply"] or of["mover"] == "damos", ("demotion",)),
    GoesWith("--pid, or a command", lambda of: not any(of[each] for each in CHOSEN), ("children",)),
)  # fmt: skip


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD [ARGS]...]", help="program to start")
    ] = None,
    pid: Pids = None,
    cgroup: Cgroup = None,
    name: Names = None,
    user: Users = None,
    min_size: MinSize = None,
    leave_out_name: LeaveOutName = None,
    leave_out_user: LeaveOutUser = None,
    leave_out_cgroup: LeaveOutCgroup = None,
    children: Children = True,
    apply: Annotated[
        bool, typer.Option("--apply", help="promote for real; without it nothing is changed")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(help="live sources, comma-separated: see `pghot doctor`; what-if: what records"),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(help="as --source; what-if: what the simulated policies hear, as in `pghot compare`"),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="pghot-default, pghot-precise, pghot-hashed, hemem; as published: pghot-default-f1, "
            "pghot-precise-f1, pghot-hashed-f1"
        ),
    ] = "pghot-default",
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="TOML with sources, policy and options, as of `pghot tune`"
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="promotion rate limit, MiB/s")] = 256.0,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="GOAL", help="moves the rate between 0 and --rate: fast-used=90% or hot-on-fast=95%"
        ),
    ] = None,
    free_floor: Annotated[str, typer.Option(help="share of a fast node that stays free")] = "1%",
    batch: Annotated[int, typer.Option(help="pages in one move_pages call")] = 512,
    demotion: Annotated[
        str,
        typer.Option(
            help="who picks what makes room on a full node: auto, move_pages, reclaim, lru_gen, off"
        ),
    ] = "auto",
    mover: Annotated[
        str,
        typer.Option(
            help="who moves pages: move_pages (pghot), or damos (the kernel's DAMON finds and moves)"
        ),
    ] = "move_pages",
    kinds: Kinds = None,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="use compressed swap, zram or zswap, as one more tier")
    ] = False,
    cold_after: Annotated[
        str, typer.Option(help="with --compressed: pages not seen for this long go there")
    ] = "30s",
    fast_nodes: FastNodes = None,
    slow_nodes: SlowNodes = None,
    leave_out_nodes: LeaveOutNodes = None,
    interval: Annotated[str, typer.Option(help="time between rounds")] = "100 ms",
    duration: Annotated[str | None, typer.Option(help="end after this time")] = None,
    journal: Annotated[
        str | None, typer.Option(help="file that records what was changed, for `pghot undo`")
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="FILE.parquet: what is decided about each page, and why"),
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="put the pages back at the end")] = False,
    what_if: Annotated[
        str | None,
        typer.Option(metavar="TIERS", help="without a slow tier: replay what was seen on simulated tiers"),
    ] = None,
    fast_share: Annotated[str, typer.Option(help="what-if: top tier's share of the footprint")] = "20%",
    policies: Annotated[
        str | None, typer.Option(help="what-if: names or groups to simulate, as in `pghot compare`")
    ] = None,
    llc: Annotated[
        str | None, typer.Option(metavar="SIZE", help="what-if: caches that the emulator models, by comma")
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option("--output", "-o", help="what-if: report.html, table.parquet, .csv, .arrow"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite outputs")] = False,
    max_cpu: Annotated[
        float, typer.Option(min=0, max=1e6, help="sample less above this share of a CPU, percent")
    ] = 0.0,
    tracked: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="address space that may be tracked at once; default: by the memory"
        ),
    ] = None,
    view: Annotated[
        bool,
        typer.Option("--view", help="full-screen live view while it runs; what-if: plays what was recorded"),
    ] = False,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Track programs, rank their pages and say what would be promoted; with --apply promote.

    pghot run --apply -p 1234 --duration 60s

    pghot run --what-if dram-cxl --fast-share 20% -- ./server
    """
    refuse_unused(ctx, _GOES_WITH)
    from pghot.cli.live_options import (
        damos_settings,
        kinds_of,
        live_settings,
        mover_settings,
        status_on_stderr,
    )
    from pghot.cli.named import named
    from pghot.cli.node_options import node_choice
    from pghot.daemon.config import load_policy_config
    from pghot.kernel.sysroot import SysRoot
    from pghot.live.machine.rate_goal import parse_goal
    from pghot.live.owner import refuse_second
    from pghot.live.run import RunSettings, run_live
    from pghot.report.files import check_output
    from pghot.report.live_text import render_run

    if log is not None:
        check_output(Path(log), force, (".parquet",))
    programs = named(command, ctx.params)
    duration_s = 0.0 if duration is None else parse_duration_ns(duration) / 1e9
    if what_if is not None:
        from pghot.cli.what_if import WhatIf
        from pghot.cli.what_if import what_if as simulate

        asked = WhatIf(
            what_if,
            parse_share(fast_share),
            policy,
            source,
            policies=None if policies is None else tuple(words(policies)),
            sources=tuple(words(sources or "")),
            cache_bytes=None if llc is None else tuple(map(parse_size, llc.split(","))),
            options=tuple(set_ or ()),
            duration_s=duration_s,
            outputs=tuple(map(Path, output or ())),
            force=force,
            view=view,
        )
        simulate(asked, programs, json_)
        return
    moving = mover_settings(
        kind=mover,
        rate_limit_mb_s=rate,
        target=None if target is None else parse_goal(target),
        free_floor=parse_share(free_floor),
        batch_pages=batch,
        demotion=demotion,
        compressed=compressed,
        cold_after_s=parse_duration_ns(cold_after) / 1e9,
    )
    nodes = node_choice(ctx.params)
    how = RunSettings(
        interval_ms=max(1, parse_duration_ns(interval) // 1_000_000),
        duration_s=duration_s,
        journal=None if journal is None else Path(journal),
        restore=restore,
        log=None if log is None else Path(log),
        force=force,
    )
    if mover == "damos":
        settings = damos_settings(set_ or [], moving, bool(programs.running.whole_cgroups), nodes)
    else:
        names, configured = next(given for given in (source, sources, "faults") if given is not None), None
        if config is not None:
            configured = load_policy_config(Path(config))
            names, policy = ",".join(configured.sources), configured.policy
        settings = live_settings(
            names, policy, set_ or [], moving, max_cpu, nodes, kinds_of(kinds),
            configured.options if configured else {},
        )  # fmt: skip
    settings = replace(settings, apply=apply, tracked_bytes=None if tracked is None else parse_size(tracked))
    refuse_second(SysRoot(), settings)
    if view:
        summary = _viewed(settings, how, programs, json_)
    else:
        with programs.targets(json_) as targets:
            summary = run_live(SysRoot(), replace(settings, targets=targets), how, status_on_stderr())
    for problem in summary.problems:
        print(f"note: {printable(problem)}", file=sys.stderr)
    print(json.dumps(summary.facts) if json_ else render_run(summary.facts))
    if summary.interrupted:
        raise typer.Exit(130)
    if not summary.restored:
        raise typer.Exit(1)


def _viewed(settings: LiveSettings, how: RunSettings, programs: Named, as_json: bool) -> Summary:
    from pghot.cli.run_viewed import run_viewed
    from pghot.cli.view import output_held, require_terminal, screen
    from pghot.kernel.sysroot import SysRoot

    require_terminal("--view", "leave it out: then a status line goes to stderr", stdout_too=not as_json)
    with (
        output_held(programs.command) as held,
        programs.targets(as_json, held) as targets,
    ):
        return run_viewed(SysRoot(), replace(settings, targets=targets), how, screen)
