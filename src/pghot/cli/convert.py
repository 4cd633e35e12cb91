"""`pghot convert`: a recording as Parquet, and back; other tools' recordings as one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pghot.cli.progress import after_a_while, progress_on_stderr
from pghot.errors import PghotError
from pghot.units import counted


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC")],
    target: Annotated[str, typer.Argument(metavar="DST")],
    accesses_per_us: Annotated[
        float | None,
        typer.Option(
            "--accesses-per-us", metavar="N", help="accesses a microsecond, where SRC has no time (600)"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite DST")] = False,
) -> None:
    """Convert a recording to Parquet and back, or another tool's recording to one."""
    from pghot.recording import bundled
    from pghot.recording.convert import convert as run

    path = bundled.path(source) if source.startswith(bundled.PREFIX) else source
    progress = after_a_while(progress_on_stderr("importing"))
    done = run(path, target, force, accesses_per_us, progress=progress)
    print(
        f"wrote {target}: {counted(done.slices, 'slice')}, {counted(done.rows, 'row')}, {done.verification}",
        file=sys.stderr,
    )
    if done.doubt:
        print(f"warning: {done.doubt}", file=sys.stderr)
    for sentence in done.not_known:
        print(f"not known: {sentence}", file=sys.stderr)
    if done.damage:
        raise PghotError(
            f"{source} is damaged: {done.damage}; {counted(done.dropped_bytes, 'byte')} were left out",
            f"{target} holds the good slices",
        )
