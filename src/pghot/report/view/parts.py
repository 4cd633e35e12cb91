"""What the panels of the live view share: the picture they draw, styles, titles and trends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from pghot.report.view.bars import chart
from pghot.report.view.history import StatusHistory
from pghot.report.view.hot_history import HotHistory, Range

if TYPE_CHECKING:
    from pghot.live.hot import HotRow
    from pghot.live.status_facts import StatusFacts

GOOD, WARN, TITLE, DIM, CHART = "green", "bold yellow", "bold", "dim", "cyan"
LABEL = 10  # width of a line's label


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be shown.

    status   a `pghot.status/1` document
    hot      the rows of `pghot.hot/1`, hottest first
    history  the documents before, this one included
    regions  the hot regions of these documents
    chosen   the region that the user chose; None: none
    """

    status: StatusFacts
    hot: Sequence[HotRow]
    history: StatusHistory
    regions: HotHistory = field(default_factory=HotHistory)
    chosen: Range | None = None


@dataclass(frozen=True, slots=True)
class PanelRoom:
    """The room of a panel: columns, lines of a chart, and the time that a chart shows."""

    width: int
    chart_rows: int = 1
    span_s: float = 120.0

    @property
    def span(self) -> str:
        return f"last {self.span_s / 60:.0f} min"


def cut(text: Text, width: int) -> Text:
    """At most `width` columns; an ellipsis shows that there was more."""
    text.truncate(width, overflow="ellipsis")
    return text


def said(label: str, *parts: tuple[str, str] | str) -> Text:
    """A line with its label in front."""
    return Text.assemble(f"{label:<{LABEL}}", *parts)


def title(name: str, note: str | Text, width: int) -> Text:
    """A rule with a name at its left and a note at its right end."""
    rule = "─" * max(1, width - len(name) - len(note) - 4)
    return cut(Text.assemble(("─ ", DIM), (name, TITLE), (f" {rule} ", DIM), note), width)


def trend(
    picture: Picture, room: PanelRoom, label: str, key: str, form: Callable[[float], str], total: str
) -> list[Text]:
    """How fast a count rises (now, over the time of the chart, at most), and its total. `form` prints a rate."""
    rate = picture.history.rate(key)
    one_line = room.chart_rows == 1
    across = max(8, room.width - LABEL - 13 - 17 - (17 if one_line else 0))
    values = picture.history.series(key, across, room.span_s)
    peak = max((value for value in values if value is not None), default=0.0)
    notes = [f"  peak {form(peak):>10}", f"  total {total:>9}"]
    if one_line:
        notes = ["".join(notes)]
    now = "-" if rate is None else form(rate)
    fronts = [f"{label:<{LABEL}.{LABEL}}{now:>12} "] + [" " * (LABEL + 13)] * (room.chart_rows - 1)
    notes += [""] * room.chart_rows
    return [
        cut(Text.assemble(front, (drawn, CHART), note), room.width)
        for front, drawn, note in zip(fronts, chart(values, room.chart_rows, peak), notes, strict=False)
    ]


def short_count(count: float) -> str:
    """
    >>> short_count(1234), short_count(7_654_321)
    ('1,234', '7.65 M')
    """
    for unit, scale in (("G", 1e9), ("M", 1e6)):
        if abs(count) >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count:,.0f}"
