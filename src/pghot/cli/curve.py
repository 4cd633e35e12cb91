"""`pghot curve`: how much fast memory a program needs, at a glance."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.importing import import_first
from pghot.cli.shared_options import Json, StandsFor, Threads
from pghot.cli.stands_for import size_or_times
from pghot.outputs import write_bytes
from pghot.units import parse_shares, parse_size

_GOES_WITH = (GoesWith("--output", lambda of: of["output"], ("force",)),)


def curve(
    ctx: typer.Context,
    recording: Annotated[
        str, typer.Argument(help="FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE")
    ],
    tiers: Annotated[str, typer.Option(help="shipped tiers or a .toml file")] = "dram-cxl",
    fast_share: Annotated[
        str, typer.Option(help="top tier's shares of the footprint: a range or a list")
    ] = "2%..90%",
    stands_for: StandsFor = "",
    threads: Threads = None,
    folio: Annotated[str, typer.Option(help="page size: 4KiB or larger")] = "4KiB",
    mlp: Annotated[float | None, typer.Option(help="cache misses in flight per core")] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", help="curve.png, .svg, .pdf, .parquet, .csv, .arrow")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite outputs")] = False,
    json_: Json = False,
) -> None:
    """Misses and predicted slowdown over the size of the fast tier, from one pass: the first answer."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.report.files import PICTURES, TABLES, check_output, write_table

    outputs = [Path(path) for path in output or []]
    for path in outputs:
        check_output(path, force, (*PICTURES, *TABLES))
    from pghot.cli.compiling import CURVE, announce_compilation
    from pghot.lab.curve import curve as run
    from pghot.lab.setting import Setting
    from pghot.report.curve_text import render

    size, times = size_or_times(stands_for)
    setting = Setting(
        stands_for=size, times=times, threads=threads, mlp=mlp, page_bytes=parse_size(folio.replace(" ", ""))
    )
    import_first(recording)
    found = run(
        recording, tiers, parse_shares(fast_share), setting, begins=lambda: announce_compilation(CURVE)
    )
    for path in outputs:
        if path.suffix in TABLES:
            write_table(found.table(), path, force)
        else:
            from pghot.report.curve_picture import draw

            write_bytes(path, draw(found, path.suffix), force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
