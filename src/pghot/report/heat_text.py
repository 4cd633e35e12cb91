"""A heat map for the terminal: rows of memory, columns of time; in colour, or in shades where there is none."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from pghot.printable import elided, printable
from pghot.recording.address_rows import Row
from pghot.recording.heat import HeatMap
from pghot.report.heat_colours import hexadecimal
from pghot.report.heat_colours import scale as colour_scale
from pghot.report.heat_levels import Levels, heat_of, levels_of, short
from pghot.report.terminal import SHADES, axis
from pghot.units import format_duration, format_short_size

LABEL = 24  # columns of the names
NOT_RECORDED = "?"
EDGE, GAP = "│", "┆"


def bins_for(width: int) -> int:
    """How many columns of time fit beside the names."""
    return max(10, width - LABEL - 1)


def render(found: HeatMap, colour: bool, scale: Levels | None = None, begin_ns: int = 0) -> list[Text]:
    """The map with its axis and legend.

    colour    the terminal shows colours, on whatever ground it has
    scale     of the colours; None: the map's own
    begin_ns  where the time axis begins
    """
    if not found.rows:
        return [Text("no heat map: nothing was touched")]
    heat = heat_of(found)
    levels = scale or levels_of(found, heat)
    if not levels.most:
        return [Text(f"no heat map: no {found.measure} were recorded")]
    steps = levels.of(heat, len(_COLOURS) if colour else len(SHADES))
    lines = []
    for number, row in enumerate(found.rows):
        before = found.rows[number - 1] if number else None
        line = Text(_label(row, before, found.page_bytes).ljust(LABEL) + (EDGE if _follows(row) else GAP))
        for step, recorded in zip(steps[number].tolist(), found.recorded.tolist(), strict=True):
            if not recorded:
                line.append(NOT_RECORDED)
            elif step < 0:
                line.append(" ")
            else:
                line.append(*((" ", _COLOURS[step]) if colour else (SHADES[step],)))
        lines.append(line)
    width = len(found.recorded)
    whole_ns = found.time.bins * found.time.bin_ns
    times_ns = (begin_ns + part * whole_ns for part in (0, 0.5, 1))
    ends = [format_duration(at_ns) if at_ns else "0 s" for at_ns in times_ns]
    lines.append(Text(" " * (LABEL + 1) + axis(ends, width)))
    return [*lines, *_legend(found, levels, colour)]


# The outermost colours would not be seen on a terminal whose ground is as dark or as light.
_COLOURS = [Style(bgcolor=hexadecimal(colour)) for colour in colour_scale(dark=True)[24:-16:12]]


def _follows(row: Row) -> bool:
    return row.gap_bytes == 0


def _label(row: Row, before: Row | None, page_bytes: int) -> str:
    """The region's name where it begins, an address where it goes on after a gap, and what else is in the row."""
    if row.folded:
        return f"  cold, {format_short_size(row.pages * page_bytes)}"
    same = before is not None and not before.folded and (before.space, before.name) == (row.space, row.name)
    if same and row.regions == 1:
        return "" if _follows(row) or row.start_address is None else f"  {row.start_address:#x}"
    more = f" +{row.regions - 1}" if row.regions > 1 else ""
    return elided(printable(row.name), LABEL - 1 - len(more)) + more


def _legend(found: HeatMap, levels: Levels, colour: bool) -> list[Text]:
    lines = [Text(f"{levels.unit}: ")]
    if colour:
        bounds = levels.bounds(len(_COLOURS))
        lines[0].append(f"{short(levels.least)} ")
        for style in _COLOURS:
            lines[0].append(" ", style)
        lines[0].append(f" {short(bounds[-1])}")
    else:
        bounds = levels.bounds(len(SHADES))
        lines[0].append(
            "  ".join(f"{shade} from {short(least)}" for shade, least in zip(SHADES, bounds, strict=False))
        )
    what = [f"a column is {format_duration(found.time.bin_ns)}", "+N: with N smaller regions"]
    if any(not _follows(row) for row in found.rows[1:]):
        what.append(f"{GAP} addresses left out above")
    if not found.recorded.all():
        what.append(f"{NOT_RECORDED} nobody looked")
    return [*lines, Text("; ".join(what))]
