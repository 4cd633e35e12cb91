"""What the pictures have in common: their axes, their colours, and how they become files."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pghot.units import format_size

# Okabe and Ito's palette: told apart by colour-blind readers. Every line has a dash and a mark of its own besides.
COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GREY = "#888888"
DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def over_shares(axes: Axes, footprint_bytes: float) -> None:
    """The lower axis is the fast tier's share of the footprint, in percent, the upper one the same in bytes."""
    axes.set_xlim(0, 100)
    axes.set_xlabel("fast memory, % of the footprint")
    upper = axes.secondary_xaxis("top")
    ticks = range(0, 101, 25)
    upper.set_xticks(ticks, [format_size(footprint_bytes * tick / 100) for tick in ticks], fontsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["right"]].set_visible(False)


def saved(figure: Figure, suffix: str) -> bytes:
    """The figure as one of `files.PICTURES`; the same figure gives the same bytes."""
    sink = io.BytesIO()
    dates = {".svg": "Date", ".pdf": "CreationDate"}
    undated = {dates[suffix]: None} if suffix in dates else {}
    with rc_context({"svg.hashsalt": "pghot"}):
        figure.savefig(sink, format=suffix.removeprefix("."), dpi=150, metadata=undated)
    return sink.getvalue()
