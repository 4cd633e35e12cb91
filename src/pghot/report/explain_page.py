"""The life of a page or a region on a recording's page, and what each policy did about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from pghot.printable import printable
from pghot.recording.life import COLUMNS, Life
from pghot.report.chains import Chain
from pghot.report.explain_text import figures
from pghot.report.html import Chart, listed
from pghot.report.recording_charts import known, look, mark_unseen, unseen_words
from pghot.units import format_duration


@dataclass(frozen=True, slots=True)
class Explained:
    """chains: of each run of a log; none without one."""

    life: Life
    chains: Sequence[Chain]


def explained_section(explained: Explained) -> dict[str, Any]:
    """What the template needs; every text is escaped there or in `listed`."""
    title, *others = figures(explained.life)
    return {
        "title": title,
        "figures": listed(others),
        "runs": [
            {
                "label": printable(each.facts["label"]),
                "lines": chain_words(each),
            }
            for each in explained.chains
        ],
    }


def chain_words(chain: Chain) -> Markup:
    """What a run did, as a list. A time is told from its words; a bar, which may begin empty, is one piece."""
    lines = (line.strip() for line in chain.lines)
    return listed([line if line.startswith("|") else ": ".join(line.split("  ", 1)) for line in lines])


def life_chart(found: Life) -> list[Chart]:
    """Touches, misses and writes over time; nothing of what was never touched."""
    if not found.touched_pages:
        return []
    figure = go.Figure()
    for number, (column, counts) in enumerate(zip(COLUMNS, found.counts, strict=True)):
        if counts.any():
            figure.add_scatter(
                x=found.time.seconds,
                y=known(counts / (found.time.bin_ns / 1e9), found.recorded),
                name=column,
                mode="lines",
                meta="ink",
                line={"dash": ("solid", "dash", "dot")[number], "shape": "hv", "width": 1.5},
            )
    figure.update_xaxes(title="s")
    figure.update_yaxes(title="per second", type="log", exponentformat="SI")
    look(figure)
    mark_unseen(figure, found.time, found.recorded)
    note = f"Per second, in columns of {format_duration(found.time.bin_ns)}, on a logarithmic scale."
    return [Chart("What it did over time", f"{note}{unseen_words(found.recorded)}", figure)]
