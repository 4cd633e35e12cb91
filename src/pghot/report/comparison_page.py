"""A comparison as one self-contained HTML page that works offline."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import METRICS
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison
from pghot.lab.stood_still import why_still
from pghot.lab.verdict import Verdict
from pghot.report.comparison_charts import all_charts
from pghot.report.comparison_text import (
    bound_lines,
    by_class,
    decisions_of,
    footnotes,
    seed_lines,
    setup_lines,
)
from pghot.report.html import drawn, listed, page
from pghot.report.regions_on_top_table import regions_on_top
from pghot.units import format_number
from pghot.version import __version__


def render(result: Comparison, command: Sequence[str]) -> str:
    """The page; every string from outside is escaped."""
    return page(
        result.setup.trace,
        f"Does moving pages pay? {result.setup.trace}",
        f"{_verdict(result.verdict)}<p>All figures are simulated.</p>"
        f"{listed([*setup_lines(result.setup), *seed_lines(result), *bound_lines(result), *result.setup.notes])}"
        f"{drawn(all_charts(result))}<h2>Runs</h2><p>"
        "Means over the seeds, ± the half-width of the 95 % confidence interval. "
        "Point at a column's head to see what it means; click on it to sort.</p>"
        f"<div class=wide>{_runs(result)}</div>{listed(footnotes(result))}{_regions(result)}"
        f"<h2>What the sources see</h2>{_sampling(result)}"
        f"<h2>What was assumed</h2>{_assumptions(result.setup)}"
        f"<h2>Reproduce</h2><pre>{escape(shlex.join(command))}</pre><p>pghot {__version__}, seeds "
        f"{result.setup.first_seed} to {result.setup.first_seed + result.setup.seeds - 1}</p>",
    )


def _verdict(verdict: Verdict) -> str:
    headline, *others = verdict.sentences
    return f"<div class=verdict><p><b>{escape(headline)}</b></p>{listed(others)}</div>"


def _runs(result: Comparison) -> str:
    head = "".join(
        f"<th title='{escape(f'{m.help} [{m.unit}]', quote=True)}'>{escape(m.title)}</th>" for m in METRICS
    )
    body = ""
    for title, rows in by_class(result.rows):
        for row in rows:
            cells = "".join(_cell(*row.cell(metric), metric.digits) for metric in METRICS)
            best = " class=best" if row.label in result.verdict.best_labels else ""
            body += (
                f"<tr{best}><td>{escape(row.label)}</td><td>{escape(title)}</td>"
                f"{_still(row, result.setup.footprint_pages)}{cells}</tr>"
            )
    return (
        "<table class='runs sortable'><thead><tr><th>policy/sources</th><th title='what it takes to have it'>takes</th>"
        "<th title='why a mover promoted next to nothing: the reason of most of its decisions not to move'>stood still"
        f"</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _regions(result: Comparison) -> str:
    table = regions_on_top([row for _, rows in by_class(result.rows) for row in rows])
    if table is None:
        return ""
    return (
        "<h2>Which regions each policy has on top</h2><p>Of the regions with most misses, most first: the share of "
        "their misses that the fast tier served after the warm-up, by where their pages were at the end of each "
        f"epoch, and the share of their pages that is there at the end. Means over the seeds.</p>{table}"
    )


def _still(row: SummaryRow, footprint_pages: int) -> str:
    reason = why_still(row, footprint_pages)
    return (
        f"<td title='{escape(decisions_of(row), quote=True)}'>{escape(reason)}</td>"
        if reason
        else "<td></td>"
    )


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
        f"<td>{node.capacity_pages:,}</td><td>{format_number(node.latency_ns)}</td>"
        f"<td>{format_number(node.bandwidth_gb_s)}</td></tr>"
        for node in setup.nodes
    )
    constants = {
        "threads": setup.similarity.threads,
        "mlp (cache misses in flight per core)": setup.mlp,
        **setup.costs,
    }
    texts = {
        **{f"latency curve of {node}": curve for node, curve in setup.curve.items()},
        **{name: format_number(value) for name, value in constants.items()},
    }
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in texts.items())
    return (
        f"<p>{escape(setup.tiers)}</p><table><tr><th>node</th><th>tier</th><th>pages</th>"
        f"<th>idle latency (ns)</th><th>bandwidth (GB/s)</th></tr>{nodes}</table>"
        f"<table><tr><th>constant</th><th>value</th></tr>{rows}</table>"
        "<p>The formulas and the source of each constant: docs/model.md of the project.</p>"
    )
