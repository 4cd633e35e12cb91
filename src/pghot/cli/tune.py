"""`pghot tune`: better values for the knobs of a policy, judged on what they were not tuned on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.importing import import_first
from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Duration, Json, StandsFor, Threads, Workers
from pghot.cli.stands_for import size_or_times
from pghot.units import parse_duration_ns, parse_share

_GOES_WITH = (GoesWith("--output", lambda of: of["output"], ("force",)),)


def tune(
    ctx: typer.Context,
    recordings: Annotated[
        list[str],
        typer.Argument(help="what to tune on: FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE"),
    ],
    policy: Annotated[str, typer.Option(help="whose knobs are turned")] = "pghot-default",
    sources: Annotated[
        str, typer.Option(help="sources for a policy that takes any, joined by +; its own by default")
    ] = "",
    classes: Annotated[str, typer.Option(help="where it runs: kernel, user-space or to-come")] = "",
    tiers: Annotated[str, typer.Option(help="shipped tiers or a .toml file")] = "dram-cxl",
    fast_share: Annotated[str, typer.Option(help="top tier's share of the footprint")] = "20%",
    budget: Annotated[int, typer.Option(help="trials, the first with the defaults")] = 100,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="recording to judge by, not tuned on; repeatable; by default the same, other seeds"
        ),
    ] = None,
    stands_for: StandsFor = "",
    threads: Threads = None,
    duration: Duration = "300s",
    seeds: Annotated[
        int, typer.Option(help="runs with different seeds in each trial, and as many held out")
    ] = 3,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="of what is tried: the same tries the same")
    ] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option that is not tuned; repeatable"),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="tuned.toml, a configuration for `pghot run -c`")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite the output")] = False,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Tune a policy's knobs on recordings, and judge them on what they were not tuned on."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.cli.compiling import announcing
    from pghot.lab.dealt import usable_cpus
    from pghot.lab.setting import Setting
    from pghot.lab.tuning import one_run
    from pghot.lab.tuning import tune as run
    from pghot.outputs import write_bytes
    from pghot.report.files import check_output
    from pghot.report.tuned_text import render
    from pghot.report.tuned_toml import check_writable
    from pghot.report.tuned_toml import render as render_toml
    from pghot.sim.machine.topology import load_topology

    path = Path(output) if output else None
    topology = load_topology(tiers)
    if path:
        check_output(path, force, (".toml",))
        check_writable(one_run(policy, sources, classes, set_ or (), topology))
    stands, times = size_or_times(stands_for)
    setting = Setting(
        fast_share=parse_share(fast_share),
        stands_for=stands,
        times=times,
        threads=threads,
        duration_s=None if duration == "one-pass" else parse_duration_ns(duration) / 1e9,
        seeds=seeds,
    )
    import_first(*recordings, *(held_out or ()))
    found = run(
        recordings,
        policy,
        topology,
        sources,
        budget=budget,
        held_out=held_out or (),
        setting=setting,
        where=classes,
        options=set_ or (),
        seed=seed,
        workers=workers or usable_cpus(),
        progress=announcing(progress_on_stderr("tuning", says_left=True)),
    )
    if path:
        write_bytes(path, render_toml(found).encode(), force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
    if found.held_out is None:
        raise typer.Exit(130)
