"""How much memory is hot, and how much of that is on the fast tier: now and over the last minutes."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from pghot.report.view.bars import chart
from pghot.report.view.parts import CHART, LABEL, PanelRoom, Picture, cut
from pghot.units import format_share, format_short_size


def level_lines(picture: Picture, room: PanelRoom) -> list[Text]:
    """Two charts of what is so, where the panel of moves has charts of what happens."""
    return [
        *_level(picture, room, "hot", "hot_bytes", format_short_size, None),
        *_level(picture, room, "on fast", "hot_on_fast", format_share, 1.0),
    ]


def _level(
    picture: Picture, room: PanelRoom, label: str, key: str, form: Callable[[float], str], full: float | None
) -> list[Text]:
    """full: what fills a column; None: the most in the time of the chart."""
    across = max(8, room.width - LABEL - 13 - 34)
    values = picture.history.levels(key, across, room.span_s)
    known = [value for value in values if value is not None]
    now = picture.history.level(key)
    fronts = [
        f"{label:<{LABEL}}{'-' if now is None else form(now):>12} ",
        *[" " * (LABEL + 13)] * (room.chart_rows - 1),
    ]
    ends = f" least {form(min(known)):>9}  most {form(max(known)):>10}" if known else ""
    notes = [ends, *[""] * (room.chart_rows - 1)]
    drawn = chart(values, room.chart_rows, full or max(known, default=0.0))
    return [
        cut(Text.assemble(front, (line, CHART), note), room.width)
        for front, line, note in zip(fronts, drawn, notes, strict=True)
    ]
