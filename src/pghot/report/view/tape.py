"""A recording as `pghot top` replays it: what one moment of it looks like. Pure functions of what was read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from rich.text import Text

from pghot.printable import elided, printable
from pghot.recording.activity import Activity
from pghot.recording.heat import Heat, HeatMap
from pghot.recording.time_bins import TimeBins
from pghot.recording.totals import PageTotals
from pghot.report.heat_levels import Levels, heat_of, levels_of, short
from pghot.report.heat_text import bins_for, render
from pghot.report.terminal import bars
from pghot.report.view.parts import TITLE, cut
from pghot.units import format_share

REGIONS = 8  # at most, and at most a third of the lines
_NAME, _NUMBERS = 24, 20


@dataclass(frozen=True, slots=True)
class Tape:
    """A recording that was read.

    activity  in the same bins of time as the heat
    """

    name: str
    time: TimeBins
    heat: Heat
    totals: PageTotals
    activity: Activity
    _maps: dict[int, tuple[HeatMap, Levels]] = field(default_factory=dict)  # the last one, by its rows

    def map(self, rows: int) -> tuple[HeatMap, Levels]:
        """The map of the whole recording, and its colours: they mean the same at every moment."""
        if rows not in self._maps:
            whole = self.heat.map(self.totals, rows)
            self._maps.clear()
            self._maps[rows] = whole, levels_of(whole, heat_of(whole))
        return self._maps[rows]

    @property
    def seconds(self) -> float:
        return self.time.bins * self.time.bin_ns / 1e9

    def bin_at(self, second: float) -> int:
        """The bin that is shown at this second."""
        return max(0, min(self.time.bins - 1, int(second * 1e9 / self.time.bin_ns)))


def frame(tape: Tape, at: int, width: int, height: int, colour: bool) -> list[Text]:
    """The regions that are hot in bin `at`, and the heat map up to it, in `height` lines or fewer."""
    regions = _regions(tape, at, width, max(1, min(REGIONS, height // 3)))
    legend = 3  # axis, scale and notes below a map
    rows = max(1, height - len(regions) - legend - 1)
    whole, levels = tape.map(rows)
    first = max(0, at + 1 - bins_for(width))
    shown = render(_up_to(whole, first, at + 1), colour, levels, first * tape.time.bin_ns)
    return [cut(line, width) for line in [*regions, Text(), *shown]]


def _up_to(found: HeatMap, first: int, end: int) -> HeatMap:
    """The columns [first, end) of a map."""
    time = TimeBins(found.time.first_ns, found.time.bin_ns, end - first)
    return replace(found, time=time, cells=found.cells[:, first:end], recorded=found.recorded[first:end])


def _regions(tape: Tape, at: int, width: int, most: int) -> list[Text]:
    """The regions that miss most in this bin, or without misses are touched most, with how they did before."""
    touches, misses, _ = tape.activity.by_region
    what, counts = ("misses", misses) if misses.any() else ("touches", touches)
    now = counts[:, at].astype(np.float64) / (tape.time.bin_ns / 1e9)
    head = Text(f"{'region':{_NAME}}{what + ' /s':>11}{'share':>9}  up to now", TITLE)
    columns = max(1, width - _NAME - _NUMBERS - 2)
    lines = [head]
    for number in np.argsort(-now, kind="stable")[:most].tolist():
        before = counts[number, max(0, at + 1 - columns) : at + 1]
        name = elided(printable(tape.activity.regions[number]), _NAME - 1)
        share = format_share(float(now[number] / now.sum())) if now.any() else "–"
        curve = bars(before, most=float(counts[number].max()) or None)[0].rstrip()
        lines.append(Text(f"{name:{_NAME}}{short(float(now[number])):>11}{share:>9}  {curve}"))
    return lines
