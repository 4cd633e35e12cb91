"""Pages of a live run as one self-contained HTML page: what became of them in words, and over time."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from pghot.printable import printable
from pghot.recording.target import Target, extent
from pghot.report.chain_panels import panels, starts_s
from pghot.report.chains import Chain
from pghot.report.explain_page import chain_words
from pghot.report.html import Chart, drawn, listed, page
from pghot.report.recording_charts import look, rounded
from pghot.version import __version__


def render(
    target: Target, page_bytes: int, chains: Sequence[Chain], left_out: Sequence[str], command: Sequence[str]
) -> str:
    """The page; every string from outside is escaped. left_out: what the log has not, in words."""
    body = f"<p class=verdict>{escape(printable(extent(target, page_bytes)))}</p>{listed(left_out)}"
    for each in chains:
        label = escape(printable(each.facts["label"]))
        body += f"<h2>What {label} did about it</h2>{chain_words(each)}{drawn(_charts(each))}"
    body += f"<h2>Reproduce</h2><pre>{escape(shlex.join(command))}</pre><p>pghot {__version__}</p>"
    title = printable(target.title)
    return page(title, f"What became of {title}", body)


def _charts(chain: Chain) -> list[Chart]:
    charts = []
    for panel in panels(chain):
        figure = go.Figure()
        for number, (name, values) in enumerate(panel.lines.items()):
            figure.add_scatter(
                x=rounded(starts_s(chain)),
                y=rounded(values),
                name=escape(name),
                mode="lines",
                meta="ink",
                line={"dash": ("solid", "dash", "dot", "dashdot")[number % 4], "shape": "hv", "width": 1.5},
            )
        figure.update_xaxes(title="s since the run began")
        figure.update_yaxes(title=panel.unit, rangemode="tozero", exponentformat="SI")
        look(figure)
        figure.update_layout(showlegend=True)
        charts.append(Chart(panel.title, "", figure))
    return charts
