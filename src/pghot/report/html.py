"""A self-contained HTML page that works offline: its frame, and what all pages have: charts, lists and tables.

Plotly's own script is 4.8 MB, most of a page. It lies in the page compressed, and the browser unpacks it.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pghot.report.templates import asset, filled, inside_a_script

_TYPED = re.compile("`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Chart:
    """Title, note and keys are beside the figure and not in it: there they wrap on a narrow screen.

    keys  colour and name of what is drawn; none: the figure has its own legend, or needs none
    """

    title: str
    note: str
    figure: go.Figure
    keys: tuple[tuple[str, str], ...] = ()


def page(title: str, heading: str, body: str, extra: Sequence[str] = ()) -> str:
    """A whole page; title and heading are text, the body is HTML. extra: names of more styles and scripts."""
    styles = ["page.css", *(name for name in extra if name.endswith(".css"))]
    scripts = ["page.js", "sort.js", *(name for name in extra if name.endswith(".js"))]
    whole = filled(
        "page.html",
        title=title,
        heading=heading,
        body=Markup(body),
        style=Markup("").join(map(asset, styles)),
        scripts=list(map(asset, scripts)),
        plotly=packed(get_plotlyjs().encode()),
    )
    return str(whole)


def packed(data: bytes) -> str:
    """Bytes as the page's script unpacks them: gzip, in base64."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def drawn(charts: Sequence[Chart]) -> Markup:
    """Charts, one below the other. Each is as high as its figure before it is drawn, so that nothing jumps."""
    return Markup("").join(
        filled(
            "chart.html",
            chart=chart,
            height=chart.figure.layout.height,
            figure=inside_a_script(chart.figure.to_json()),
        )
        for chart in charts
    )


def listed(lines: Sequence[str]) -> Markup:
    """A list of texts; nothing without any. What stands in `backquotes` is to be typed."""
    items = (_TYPED.sub(r"<code>\1</code>", escape(line)) for line in lines)
    return Markup("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>" if lines else "")
