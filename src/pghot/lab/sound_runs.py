"""The runs of a comparison that can be judged, each with what it gains over 'none'.

Gains are rounded to what the table shows, a thousandth. So every figure of the verdict can be computed from the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.lab.metrics import Figures, mean_and_interval
from pghot.lab.outcomes import SummaryRow
from pghot.units import format_share

MATTERS = 0.02  # a gain, or a difference between gains, of at most this counts as none


@dataclass(frozen=True, slots=True)
class SoundRun:
    """A run that did all its work and kept all its data, as did 'none' under the same access rule.

    gain  speed-up over 'none' - 1
    half  half-width of the 95 % interval of the gain, over the differences that each seed shows; 0 with one seed
    base  label of that 'none'
    """

    row: SummaryRow
    gain: float
    half: float
    base: str

    @property
    def label(self) -> str:
        return self.row.label

    @property
    def figures(self) -> Figures:
        return self.row.figures

    @property
    def saved(self) -> float:
        """Share of the run time of 'none' that it saves."""
        return 1 - 1 / (1 + self.gain)

    def more_than(self, other: SoundRun) -> float:
        """Difference of the gains, as the table shows it."""
        return _shown(self.gain - other.gain)

    def ties_with(self, other: SoundRun) -> bool:
        """Whether the two do not differ: by at most `MATTERS`, or within the interval of what each seed shows."""
        pairs = [mine - theirs for mine, theirs in zip(self.row.speedups, other.row.speedups, strict=True)]
        _, half = mean_and_interval(pairs)
        return abs(self.more_than(other)) <= max(MATTERS, half or 0.0)


def sound_runs(summary: Sequence[SummaryRow]) -> list[SoundRun]:
    """In the order of the table."""
    kept = [row for row in summary if row.figures.speedup is not None and not row.figures.lost_pages]
    nones = {row.access: row.label for row in kept if row.policy == "none" and not row.sources}
    return [
        SoundRun(
            row,
            _shown((row.figures.speedup or 0.0) - 1),
            _shown(row.ci95["speedup"] or 0.0),
            nones[row.access],
        )
        for row in kept
        if row.access in nones
    ]


def _shown(value: float) -> float:
    return float(np.round(value, 3))


def is_mover(row: SummaryRow) -> bool:
    """Whether it moves pages, and could do so on a real machine."""
    return row.kind == "mover" and not row.needs_foresight


def beside(run: SoundRun, sound: Sequence[SoundRun]) -> list[SoundRun]:
    """What a run is compared with: the runs under the same access rule."""
    return [other for other in sound if other.row.access == run.row.access]


def find(sound: Sequence[SoundRun], policy: str) -> SoundRun | None:
    """The run of a policy that listens to no source."""
    return next((run for run in sound if run.row.policy == policy and not run.row.sources), None)


def best_of(runs: Sequence[SoundRun]) -> SoundRun | None:
    return max(runs, key=lambda run: run.gain, default=None)


def percent(share: float) -> str:
    """
    >>> percent(0.2504), percent(-0.003)
    ('+25.0 %', '-0.3 %')
    """
    return format_share(share, sign="+")


def gain_text(run: SoundRun) -> str:
    """The gain, with its interval where there are several seeds: "+25.0 % ± 1.2"."""
    return percent(run.gain) + (f" ± {100 * run.half:.1f}" if run.row.seeds > 1 else "")


def points(run: SoundRun, base: SoundRun) -> str:
    """How much more a run gains: "7.0 points more"."""
    more = 100 * run.more_than(base)
    return f"{abs(more):.1f} points {'more' if more >= 0 else 'less'}"
