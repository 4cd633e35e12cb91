"""`pghot compare`: a trace replayed over simulated tiers under many policies."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.importing import import_first
from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Duration, Json, StandsFor, Threads, Workers, words
from pghot.cli.stands_for import size_or_times
from pghot.units import parse_duration_ns, parse_share, parse_shares, parse_size

if TYPE_CHECKING:
    from pghot.lab.results import Comparison
    from pghot.lab.share_curves import ShareCurves


def _any_takes_sources(policies: str) -> bool:
    from pghot.sim.policies import POLICIES, expand

    return any(POLICIES.get(name).any_source for name in expand(words(policies)))


def _shares(fast_share: str) -> list[float]:
    return [] if fast_share == "as-file" else parse_shares(fast_share)


_GOES_WITH = (
    GoesWith("the table, not with --json", lambda of: not of["json_"], ("columns",)),
    GoesWith("--output or --log", lambda of: of["output"] or of["log"], ("force",)),
    GoesWith("one --fast-share", lambda of: len(_shares(of["fast_share"])) <= 1, ("log",)),
    GoesWith(
        "a policy that takes any source",
        lambda of: _any_takes_sources(of["policies"]),
        ("sources",),
    ),
)


def compare(
    ctx: typer.Context,
    recording: Annotated[
        str, typer.Argument(help="FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE")
    ],
    tiers: Annotated[str, typer.Option(help="shipped tiers or a .toml file")] = "dram-cxl",
    fast_share: Annotated[
        str,
        typer.Option(help="top tier's share of the footprint; several, as 5%..80%, give curves; or as-file"),
    ] = "20%",
    policies: Annotated[str, typer.Option(help="names or groups, comma-separated")] = "all",
    sources: Annotated[str, typer.Option(help="sources for policies that take any, comma-separated")] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="where runs take place: kernel, user-space, to-come; by default what can be had today"
        ),
    ] = "",
    movers: Annotated[
        str,
        typer.Option(
            help="who moves the pages: policy (its own mover), fault, kthread, copy-threads:N, dma; comma-separated"
        ),
    ] = "",
    access: Annotated[
        str,
        typer.Option(help="access rules of compressed memory, comma-separated; the tiers' own by default"),
    ] = "",
    stands_for: StandsFor = "",
    threads: Threads = None,
    spread: Annotated[
        bool, typer.Option("--spread", help="its threads run on all nodes with CPUs, not on the first")
    ] = False,
    duration: Duration = "300s",
    phases: Annotated[
        str, typer.Option(help="with more data: stretch, they last longer; hold, as long as recorded")
    ] = "stretch",
    slice_: Annotated[str, typer.Option("--slice", help="the longest slice of the replay")] = "50ms",
    seeds: Annotated[int, typer.Option(help="runs with different seeds")] = 3,
    sample: Annotated[
        str,
        typer.Option(help="share of the pages to replay, by heat, as 1%: many times faster, wider intervals"),
    ] = "",
    warmup: Annotated[str, typer.Option(help="share left out of steady figures")] = "",
    folio: Annotated[str, typer.Option(help="page size: 4KiB or larger")] = "4KiB",
    placement: Annotated[
        str, typer.Option(help="first-touch, slow, interleave or bind:NODE")
    ] = "first-touch",
    mlp: Annotated[float | None, typer.Option(help="cache misses in flight per core")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a policy or source; repeatable"),
    ] = None,
    columns: Annotated[str, typer.Option(help="metrics of the table, comma-separated, or all")] = "",
    bounds: Annotated[bool, typer.Option("--bounds", help="add LRU and CLOCK page-cache bounds")] = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            help="report.html, table.parquet, .csv, .arrow; of several shares curves.png, .svg, .pdf",
        ),
    ] = None,
    log: Annotated[
        str, typer.Option(help="FILE.parquet: the decisions of each run with the first seed")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="overwrite outputs")] = False,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Replay a trace over simulated tiers under many policies, and judge whether moving pages pays."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.report.files import EXTENSIONS, PICTURES, TABLES, check_output, write_output

    shares = _shares(fast_share)
    outputs = [Path(path) for path in output or []]
    for path in outputs:
        check_output(path, force, (*PICTURES, *TABLES) if len(shares) > 1 else EXTENSIONS)
    if log:
        check_output(Path(log), force, (".parquet",))
    from pghot.cli.compiling import announcing
    from pghot.lab.dealt import usable_cpus
    from pghot.lab.setting import Setting
    from pghot.report.comparison_text import chosen_columns, render

    size, times = size_or_times(stands_for)
    setting = Setting(
        fast_share=shares[0] if shares else None,
        stands_for=size,
        times=times,
        threads=threads,
        spread=spread,
        duration_s=None if duration == "one-pass" else parse_duration_ns(duration) / 1e9,
        phases=phases,
        slice_ms=parse_duration_ns(slice_) / 1e6,
        warmup=parse_share(warmup) if warmup else None,
        seeds=seeds,
        sample=parse_share(sample) if sample else None,
        page_bytes=parse_size(folio.replace(" ", "")),
        placement=placement,
        mlp=mlp,
    )
    import_first(recording)
    shown = chosen_columns(words(columns))
    asked = (recording, tiers, words(policies), words(sources))
    options: dict[str, Any] = {
        "setting": setting,
        "bounds": bounds,
        "options": set_ or (),
        "access": words(access),
        "classes": words(classes),
        "movers": words(movers),
        "workers": workers or usable_cpus(),
        "progress": announcing(progress_on_stderr("replaying")),
    }
    result: Comparison | ShareCurves
    if len(shares) <= 1:
        from pghot.lab.compare import compare as run
        from pghot.outputs import written_whole

        with written_whole(Path(log), force) if log else nullcontext() as part:
            result = run(*asked, **options, log=part)
        if log:
            print(f"wrote {log}", file=sys.stderr)
        text = "" if json_ else render(result, shown)
    else:
        from pghot.lab.share_curves import compare_shares
        from pghot.report.shares_text import render as render_curves

        result = compare_shares(shares, *asked, **options)
        text = "" if json_ else render_curves(result, shown)
    for path in outputs:
        write_output(result, path, ["pghot", *sys.argv[1:]], force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(result.to_dict(), allow_nan=False) if json_ else text)
