"""What a sweep found, as text: the best mover at each point of the study, and what failed."""

from __future__ import annotations

import textwrap

from pghot.lab.sweep.sweep_findings import PointFound, Sweep
from pghot.printable import printable
from pghot.units import counted, format_number, format_percent

_HEAD = ("recording", "tiers", "stands for", "fast", "seeds", "moving pages", "gain", "best mover")


def render(found: Sweep) -> str:
    """The text that `pghot sweep` prints."""
    rows = [_HEAD, *map(_row, found.points)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows
    ]
    told = [
        f"{counted(found.cells, 'cell')}: {found.computed} computed, {found.there} were there, "
        f"{len(found.failures)} failed."
    ]
    if found.others:
        told.append(
            f"not used, as of another version of pghot: {counted(found.others, 'cell')} in the folder"
        )
    told += [f"failed: {each.cell}: {each.reason}" for each in found.failures]
    told.append(
        f"Every run of every cell is a row of the table {found.folder}/**/*.parquet. All figures are simulated."
    )
    return "\n".join([*(lines if found.points else []), *([""] if found.points else []), *_wrapped(told)])


def _row(found: PointFound) -> tuple[str, ...]:
    point, verdict = found.point, found.verdict
    best = verdict.decisive.best
    half = f" ± {100 * best.half:.1f}" if best and best.row.seeds > 1 else ""
    return tuple(
        map(
            printable,
            (
                point.recording,
                point.tiers,
                point.stands_for or "-",
                "as-file" if point.fast_share is None else f"{format_number(100 * point.fast_share)}%",
                str(len(found.seeds)),
                verdict.outcome,
                f"{format_percent(best.gain, sign='+')}{half} %" if best else "-",
                f"{best.label} ({verdict.decisive.runs_on})" if best else "-",
            ),
        )
    )


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
