"""`pghot size`: how much fast memory keeps a slowdown, for each policy."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Json, words
from pghot.cli.stands_for import size_or_times
from pghot.units import parse_duration_ns, parse_share


def size(
    recording: Annotated[
        str, typer.Argument(help="FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE")
    ],
    slowdown: Annotated[str, typer.Option(help="how much longer than with fast memory alone")] = "5%",
    tiers: Annotated[str, typer.Option(help="shipped tiers or a .toml file")] = "dram-cxl",
    policies: Annotated[
        str, typer.Option(help="names or groups, comma-separated")
    ] = "none,oracle-static,numab2,pghot-default",
    sources: Annotated[str, typer.Option(help="sources for policies that take any, comma-separated")] = "",
    classes: Annotated[str, typer.Option(help="where runs take place: kernel, user-space, to-come")] = "",
    stands_for: Annotated[
        str, typer.Option(help="footprint of the real program: 100GiB, or 16x the recorded one")
    ] = "",
    threads: Annotated[
        int | None, typer.Option(help="threads of the real program; the CPUs of the tiers by default")
    ] = None,
    duration: Annotated[
        str, typer.Option(help="time of the real program when nothing moves, or one-pass")
    ] = "300s",
    seeds: Annotated[int, typer.Option(help="runs with different seeds")] = 3,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a policy or source; repeatable"),
    ] = None,
    json_: Json = False,
) -> None:
    """The fast memory that keeps the slowdown below a limit, for each policy."""
    from pghot.cli.compiling import announcing
    from pghot.lab.setting import Setting
    from pghot.lab.size import size as run
    from pghot.report.size_text import render

    stands, times = size_or_times(stands_for)
    setting = Setting(
        stands_for=stands,
        times=times,
        threads=threads,
        duration_s=None if duration == "one-pass" else parse_duration_ns(duration) / 1e9,
        seeds=seeds,
    )
    found = run(
        recording,
        tiers,
        words(policies),
        words(sources),
        slowdown=1 + parse_share(slowdown),
        setting=setting,
        classes=words(classes),
        options=set_ or (),
        progress=announcing(progress_on_stderr("replaying")),
    )
    print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
