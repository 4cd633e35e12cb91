"""Where a run takes place, as a colour: one meaning on all pages and pictures.

Okabe and Ito's palette: told apart by colour-blind readers, and in print by lightness.
"""

from __future__ import annotations

from collections.abc import Mapping

from pghot.lab.outcomes import SummaryRow
from pghot.policies.runs_on import RunsOn

CLASS_COLOURS: Mapping[RunsOn, str] = {
    "kernel": "#0072b2",
    "user space": "#009e73",
    "to come": "#cc79a7",
    "nowhere": "#e69f00",
}
OTHER = "#888888"
LEGEND = "Blue: the kernel alone; green: pghot in user space; pink: to come; orange: the future known; grey: no mover."


def moves(row: SummaryRow) -> bool:
    """Whether it moves pages, or shows with knowledge of the future what moving them would bring."""
    return row.kind in ("mover", "oracle")


def colour_of(row: SummaryRow) -> str:
    """The colour of its class, or grey for what does not move pages."""
    return CLASS_COLOURS[row.runs_on] if moves(row) else OTHER
