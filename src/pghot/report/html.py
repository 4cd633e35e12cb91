"""A self-contained HTML page that works offline: its frame, and what all pages have: charts and lists.

Plotly's own script is 4.8 MB, most of a page. It lies in the page compressed, and the browser unpacks it.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_STYLE = """:root{color-scheme:light dark;--ink:#111;--paper:#fff;--line:#ccc;--tint:#f2f7fb;--code:#f5f5f5}
@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#16181b;--line:#45494f;--tint:#1d2a35;--code:#22262b}}
@media print{:root{color-scheme:light;--ink:#111;--paper:#fff;--line:#ccc;--tint:#f2f7fb;--code:#f5f5f5}}
body{font:16px/1.5 sans-serif;color:var(--ink);background:var(--paper);max-width:1100px;margin:2em auto;padding:0 1em;
overflow-wrap:anywhere}h1,h2{line-height:1.2}
.verdict{border-left:5px solid #0072b2;padding:.5em 1em;background:var(--tint)}.wide{overflow-x:auto}
h3{margin:2em 0 0}h3+p{margin:0;font-size:14px}.chart{position:relative}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:1em 0}
td,th{padding:4px 8px;border-bottom:1px solid var(--line);text-align:right}
td{white-space:nowrap}td:first-child,th:first-child,.words :last-child{text-align:left}
.words td:last-child{white-space:normal;min-width:24em}
.runs th{cursor:pointer}.runs :nth-child(2){text-align:left}
.best td{background:var(--tint);font-weight:bold}
@media print{table{font-size:7px}td,th{padding:2px 3px}.chart{break-inside:avoid}
h3,h3+p{break-after:avoid}}
pre{white-space:pre-wrap;background:var(--code);padding:1em}"""

# Each chart's figure is the script beside it. Its colours are those of the page, also when the scheme changes and in
# print.
_DRAW = """(async()=>{
const packed=Uint8Array.from(atob(document.getElementById('plotly').textContent),c=>c.charCodeAt(0));
const script=document.createElement('script');
script.textContent=await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
document.head.append(script);
const charts=[...document.querySelectorAll('.chart')];
const colours=layout=>{const ink=getComputedStyle(document.documentElement).getPropertyValue('--ink');
const clear='rgba(0,0,0,0)',all={'font.color':ink,paper_bgcolor:clear,plot_bgcolor:clear};
for(const axis of Object.keys(layout).filter(key=>/^[xy]axis\\d*$/.test(key)))
for(const part of ['linecolor','tickcolor','zerolinecolor'])all[axis+'.'+part]=ink;
return all};
for(const chart of charts){const figure=JSON.parse(chart.nextElementSibling.textContent);chart.textContent='';
await Plotly.newPlot(chart,figure.data,figure.layout,{displayModeBar:false,responsive:true});
await Plotly.relayout(chart,colours(figure.layout))}
for(const media of ['(prefers-color-scheme:dark)','print'])matchMedia(media).addEventListener('change',
()=>charts.forEach(chart=>Plotly.relayout(chart,colours(chart.layout))));
})()"""


@dataclass(frozen=True, slots=True)
class Chart:
    """Title and note are text, beside the figure and not in it: there they wrap on a narrow screen."""

    title: str
    note: str
    figure: go.Figure


def page(title: str, heading: str, body: str) -> str:
    """A whole page; title and heading are text, the body is HTML."""
    plotly = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>pghot: {escape(title)}</title><style>{_STYLE}</style><h1>{escape(heading)}</h1>{body}"
        f"<script type='text/plain' id=plotly>{plotly}</script><script>{_DRAW}</script></html>"
    )


def drawn(charts: Sequence[Chart]) -> str:
    """Charts, one below the other. Each is as high as its figure before it is drawn, so that nothing jumps."""
    return "".join(
        f"<h3>{escape(chart.title)}</h3><p>{escape(chart.note)}</p>"
        f"<div class=chart style='height:{chart.figure.layout.height}px'>"
        "This chart needs JavaScript, and a browser of 2023 or later.</div>"
        f"<script type='application/json'>{_inside_a_script(chart.figure.to_json())}</script>"
        for chart in charts
    )


def _inside_a_script(json: str) -> str:
    """The same JSON, in which nothing ends the script or begins a comment."""
    return json.replace("<", "\\u003c")


def listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
