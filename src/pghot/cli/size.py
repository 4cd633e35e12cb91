"""`pghot size`: how much fast memory keeps a slowdown, for each policy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.importing import import_first
from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Duration, Json, StandsFor, Threads, Workers, words
from pghot.cli.stands_for import size_or_times
from pghot.outputs import write_bytes
from pghot.units import parse_duration_ns, parse_share

_GOES_WITH = (GoesWith("--output", lambda of: of["output"], ("force",)),)


def size(
    ctx: typer.Context,
    recording: Annotated[
        str, typer.Argument(help="FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE")
    ],
    slowdown: Annotated[str, typer.Option(help="how much longer than with fast memory alone")] = "5%",
    tiers: Annotated[
        list[str] | None,
        typer.Option(help="shipped tiers or a .toml file, dram-cxl by default; several are compared by cost"),
    ] = None,
    policies: Annotated[
        str, typer.Option(help="names or groups, comma-separated")
    ] = "none,oracle-static,numab2,pghot-default",
    sources: Annotated[str, typer.Option(help="sources for policies that take any, comma-separated")] = "",
    classes: Annotated[str, typer.Option(help="where runs take place: kernel, user-space, to-come")] = "",
    stands_for: StandsFor = "",
    threads: Threads = None,
    duration: Duration = "300s",
    seeds: Annotated[int, typer.Option(help="runs with different seeds")] = 3,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a policy or source; repeatable"),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output", "-o", help="cost against slowdown: cost.png, .svg, .pdf, .parquet, .csv, .arrow"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite outputs")] = False,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """The fast memory that keeps the slowdown below a limit, for each policy, and what it costs."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.report.files import PICTURES, TABLES, check_output

    outputs = [Path(path) for path in output or []]
    for path in outputs:
        check_output(path, force, (*PICTURES, *TABLES))
    from pghot.cli.compiling import announcing
    from pghot.lab.dealt import usable_cpus
    from pghot.lab.setting import Setting
    from pghot.lab.size import size as run
    from pghot.lab.size_tiers import load_tiers, need_prices, size_tiers
    from pghot.lab.sizes import Sizes
    from pghot.report.size_text import render, render_tiers

    named = load_tiers(tiers or ["dram-cxl"])
    if any(path.suffix in PICTURES for path in outputs):
        need_prices(named)
    stands, times = size_or_times(stands_for)
    setting = Setting(
        stands_for=stands,
        times=times,
        threads=threads,
        duration_s=None if duration == "one-pass" else parse_duration_ns(duration) / 1e9,
        seeds=seeds,
    )
    import_first(recording)
    chosen = (words(policies), words(sources))
    options: dict[str, Any] = {
        "slowdown": 1 + parse_share(slowdown),
        "setting": setting,
        "classes": words(classes),
        "options": set_ or (),
        "workers": workers or usable_cpus(),
        "progress": announcing(progress_on_stderr("replaying")),
    }
    found: list[Sizes]
    if len(named) == 1:
        ((tier, _),) = named.items()
        one = run(recording, tier, *chosen, **options)
        found, facts, text = [one], one.to_dict(), render(one)
    else:
        several = size_tiers(recording, named, *chosen, **options)
        found, facts, text = list(several.found), several.to_dict(), render_tiers(several)
    for path in outputs:
        _write(found, path, force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(facts, allow_nan=False) if json_ else text)


def _write(found: list[Any], path: Path, force: bool) -> None:
    from pghot.report.files import TABLES, write_table

    if path.suffix in TABLES:
        from pghot.lab.sizes import table

        write_table(table(found), path, force)
    else:
        from pghot.report.cost_picture import draw

        write_bytes(path, draw(found, path.suffix), force)
