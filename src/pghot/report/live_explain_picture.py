"""Pages of a live run as a picture: when they were seen, decided on, and in the top tier."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pghot.printable import elided, printable
from pghot.report.chain_panels import panels, starts_s
from pghot.report.chains import Chain
from pghot.report.pictures import COLOURS, DASHES, saved

_NAME = 80


def draw(title: str, chain: Chain, suffix: str) -> bytes:
    """One panel for each of `panels`, or a line that says that there is none; `suffix` is one of `files.PICTURES`."""
    shown = panels(chain)
    figure = Figure(figsize=(10, 1 + 2.2 * max(1, len(shown))), layout="constrained")
    figure.suptitle(printable(elided(f"{title}: {chain.facts['label']}", _NAME)), fontsize=11)
    if not shown:
        figure.text(0.5, 0.4, "nobody saw it, and nothing was decided about it", ha="center")
        return saved(figure, suffix)
    ends_s = chain.lasts_ms / 1000
    for axes, panel in zip(np.ravel(figure.subplots(len(shown), 1, sharex=True)), shown, strict=True):
        for number, (name, values) in enumerate(panel.lines.items()):
            axes.step(
                [*starts_s(chain), ends_s], [*values, values[-1]], where="post", label=name,
                color=COLOURS[number % len(COLOURS)], linestyle=DASHES[number % len(DASHES)],
            )  # fmt: skip
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_ylabel(panel.unit)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlim(0, ends_s)
    axes.set_xlabel("s since the run began")
    return saved(figure, suffix)
