"""A comparison as one self-contained HTML page that works offline."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import METRICS
from pghot.lab.results import Comparison
from pghot.report.charts import all_charts
from pghot.report.text import bound_lines, footnotes, setup_lines
from pghot.version import __version__

_STYLE = """body{font:16px/1.5 sans-serif;color:#111;background:#fff;max-width:1100px;margin:2em auto;
padding:0 1em}h1,h2{line-height:1.2}
.verdict{border-left:5px solid #0072b2;padding:.5em 1em;background:#f2f7fb}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:1em 0}
td,th{padding:4px 8px;border-bottom:1px solid #ccc;text-align:right}
td{white-space:nowrap}td:first-child,th:first-child,.words :last-child{text-align:left}
.words td:last-child{white-space:normal;min-width:24em}
.runs th{cursor:pointer}.best td{background:#f2f7fb;font-weight:bold}
@media print{table{font-size:7px}td,th{padding:2px 3px}.js-plotly-plot{break-inside:avoid}}
pre{white-space:pre-wrap;background:#f5f5f5;padding:1em}"""

# A click on a column's head sorts by it; another turns the order round. Cells carry their value.
_SORT = """document.querySelectorAll('.runs th').forEach((head,i)=>head.onclick=()=>{
const body=head.closest('table').tBodies[0],up=head.dataset.up!=='1';head.dataset.up=up?'1':'0';
const key=row=>row.cells[i].dataset.v??row.cells[i].textContent;
[...body.rows].sort((a,b)=>{const x=key(a),y=key(b),n=x-y;return (isNaN(n)?x.localeCompare(y):n)*(up?1:-1)})
.forEach(row=>body.append(row))})"""


def render(result: Comparison, command: Sequence[str]) -> str:
    """The page; every string from outside is escaped."""
    return page(
        result.setup.trace,
        f"Does moving pages pay? {result.setup.trace}",
        f"<p class=verdict>{escape(str(result.verdict))}</p><p>All figures are simulated.</p>"
        f"{listed([*setup_lines(result.setup), *bound_lines(result), *result.setup.notes])}"
        f"{drawn(all_charts(result))}<h2>Runs</h2><p>"
        "Means over the seeds, ± the half-width of the 95 % confidence interval. "
        "A column's head explains it, and sorts by it.</p>"
        f"<div class=wide>{_runs(result)}</div>{listed(footnotes(result))}"
        f"<h2>What the sources see</h2>{_sampling(result)}"
        f"<h2>What was assumed</h2>{_assumptions(result.setup)}"
        f"<h2>Reproduce</h2><pre>{escape(shlex.join(command))}</pre><p>pghot {__version__}, seeds "
        f"{result.setup.first_seed} to {result.setup.first_seed + result.setup.seeds - 1}</p>"
        f"<script>{_SORT}</script>",
    )


def page(title: str, heading: str, body: str) -> str:
    """A whole page; title and heading are text, the body is HTML."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>pghot: {escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>{escape(heading)}</h1>{body}</html>"
    )


def drawn(figures: Sequence[go.Figure]) -> str:
    """Charts, one below the other."""
    return "".join(
        figure.to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        for figure in figures
    )


def listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _runs(result: Comparison) -> str:
    head = "".join(
        f"<th title='{escape(f'{m.help} [{m.unit}]', quote=True)}'>{escape(m.title)}</th>" for m in METRICS
    )
    body = ""
    for row in result.rows:
        cells = "".join(_cell(*row.cell(metric), metric.digits) for metric in METRICS)
        best = " class=best" if row.label == result.verdict.best else ""
        body += f"<tr{best}><td>{escape(row.label)}</td>{cells}</tr>"
    return f"<table class=runs><thead><tr><th>policy/sources</th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: float | None, half: float | None, digits: int) -> str:
    if value is None:
        return "<td data-v='-1'>–</td>"
    spread = f" ± {half:,.{digits}f}" if half and half >= 0.5 * 10**-digits else ""
    return f"<td data-v='{value!r}'>{value:,.{digits}f}{spread}</td>"


def _sampling(result: Comparison) -> str:
    said = {text for row in result.rows for text in row.sampling}
    return listed(sorted(said)) or "<p>No run listens to a source.</p>"


def _assumptions(setup: Setup) -> str:
    """Nodes, latency curve and cost constants; docs/model.md has the formulas and the sources of the numbers."""
    nodes = "".join(
        f"<tr><td>{escape(node.name)}</td><td>{node.rank}</td>"
        f"<td>{node.capacity_pages:,}</td><td>{node.latency_ns:g}</td>"
        f"<td>{node.bandwidth_gb_s:g}</td></tr>"
        for node in setup.nodes
    )
    constants = {
        "threads": setup.threads,
        "mlp (cache misses in flight per core)": setup.mlp,
        **{f"latency curve {name}": value for name, value in setup.curve.items()},
        **setup.costs,
    }
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{value:g}</td></tr>" for name, value in constants.items())
    return (
        f"<p>{escape(setup.tiers)}</p><table><tr><th>node</th><th>tier</th><th>pages</th>"
        f"<th>idle latency (ns)</th><th>bandwidth (GB/s)</th></tr>{nodes}</table>"
        f"<table><tr><th>constant</th><th>value</th></tr>{rows}</table>"
        "<p>The formulas and the source of each constant: docs/model.md of the project.</p>"
    )
