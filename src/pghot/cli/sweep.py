"""`pghot sweep`: a study over many recordings, tiers, sizes and seeds, on all cores or a cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Json
from pghot.units import counted

_GOES_WITH = (
    GoesWith("workers of this machine, not with --cluster", lambda of: not of["cluster"], ("workers",)),
)


def sweep(
    ctx: typer.Context,
    study: Annotated[Path, typer.Argument(help="a study: a .toml file that names the axes")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="folder of the cells; by default the study's name, .cells"),
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="a Dask scheduler, as tcp://HOST:8786; by default processes on this machine")
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="processes; by default as many as CPUs")
    ] = None,
    json_: Json = False,
) -> None:
    """Compare over every combination of a study's axes; what is finished is kept, and not computed again."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.cli.compiling import announcing
    from pghot.lab.code_version import code_version
    from pghot.lab.dealt import usable_cpus
    from pghot.lab.sweep.driver import client_at, local_client, run_cells
    from pghot.lab.sweep.study import cells_of, read_study
    from pghot.lab.sweep.sweep_findings import Sweep, points_of
    from pghot.lab.sweep.sweep_folder import Store
    from pghot.report.sweep_text import render

    cells = cells_of(read_study(study))
    store = Store(output or study.with_suffix(".cells"), code_version())
    missing = [cell for cell in cells if cell.key not in store.keys]
    failures = []
    if missing:
        count = min(workers or usable_cpus(), len(missing))
        where = f"at {cluster}" if cluster else f"with {count} worker process{'es' * (count > 1)}"
        print(
            f"{len(missing)} of {counted(len(cells), 'cell')} to compute, {where}",
            file=sys.stderr,
            flush=True,
        )
        with client_at(cluster) if cluster else local_client(count) as client:
            try:
                failures = run_cells(
                    client,
                    missing,
                    lambda cell, table: store.keep(cell.key, table),
                    announcing(progress_on_stderr("computing", says_left=True)),
                )
            except KeyboardInterrupt:
                kept = sum(cell.key in store.keys for cell in cells)
                print(
                    f"stopped: {kept} of {counted(len(cells), 'cell')} are kept, the same command goes on from there",
                    file=sys.stderr,
                    flush=True,
                )
                raise
    found = Sweep(
        study=str(study),
        folder=str(store.folder),
        code=code_version(),
        cells=len(cells),
        computed=len(missing) - len(failures),
        there=len(cells) - len(missing),
        others=store.others,
        failures=failures,
        points=points_of(
            [cell for cell in cells if cell.key in store.keys], store.read, progress_on_stderr("reading")
        ),
    )
    print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
    if failures:
        raise typer.Exit(1)
