"""A comparison as plain text: what was simulated, a row for each run, the bounds, the verdict."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

from pghot.errors import unknown_name
from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import METRICS, Metric
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison
from pghot.printable import printable
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES, clairvoyant
from pghot.units import format_share, format_size

COLUMNS = ("speedup", "slowdown", "fast_miss_share", "promotions", "demotions", "coverage", "accuracy")
COMPRESSED_COLUMNS = (
    "slowdown", "fast_miss_share", "promotions", "demotions", "saved_share", "lost_pages", "killed_tenants",
)  # fmt: skip
COLUMNS_IN_A_LINE = 7


def chosen_columns(names: list[str]) -> list[str]:
    """The metrics that `--columns` asks for; none of them leaves the choice to `render`.

    Raises `UsageError` for unknown ones.
    """
    known = [metric.name for metric in METRICS]
    for name in names:
        if name not in [*known, "all"]:
            raise unknown_name("metric", name, [*known, "all"])
    return known if "all" in names else names


def render(result: Comparison, columns: list[str]) -> str:
    """The text that `pghot compare` prints: setup, a table in parts that fit 100 columns, bounds, verdict."""
    lines = _wrapped(setup_lines(result.setup))
    columns = columns or list(COLUMNS if result.setup.contents is None else COMPRESSED_COLUMNS)
    for first in range(0, len(columns), COLUMNS_IN_A_LINE):
        lines += ["", *_table(result, columns[first : first + COLUMNS_IN_A_LINE])]
    lines += [*_wrapped(footnotes(result)), "", *_wrapped([*bound_lines(result), str(result.verdict)])]
    return "\n".join(lines)


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]


def setup_lines(setup: Setup) -> list[str]:
    """What was simulated, in sentences."""
    footprint = setup.footprint_pages * setup.page_bytes
    nodes = ", ".join(
        f"{node.name} {format_size(node.capacity_pages * setup.page_bytes)} at {node.latency_ns:g} ns"
        for node in setup.nodes
    )
    cache = ""
    if setup.llc_bytes:
        cache = (
            f"; last-level cache {format_size(setup.llc_bytes)}, {setup.llc_ways} ways "
            f"(footprint is {footprint / setup.llc_bytes:.1f} times that)"
        )
    share = (
        "capacities as in the tiers file"
        if setup.fast_share is None
        else f"fast share {format_share(setup.fast_share)}"
    )
    return [
        f"SIMULATED: {setup.trace}" + (f" ({shlex.join(setup.command)})" if setup.command else ""),
        f"footprint {format_size(footprint)}{cache}",
        f"tiers: {nodes}; {share}" + (f"; access {', '.join(setup.access)}" if setup.access else ""),
        f"{setup.scale_note}; {setup.repeat} pass(es), {setup.seeds} seed(s), steady after "
        f"{setup.warmup_epochs} of {setup.epochs} epochs",
        *(f"warning: {text}" for text in setup.warnings),
    ]


def bound_lines(result: Comparison) -> list[str]:
    """What a recency policy with free moves would get."""
    return [
        f"seed {bound.seed}: a page cache of the fast tier's size with free moves would miss "
        f"{bound.lru_miss_ratio:.3g} (LRU) and {bound.clock_miss_ratio:.3g} (CLOCK) of all last-level "
        "cache misses"
        for bound in result.bounds
    ]


def _table(result: Comparison, columns: list[str]) -> list[str]:
    """One row for each run; the speed-up with the half-width of its 95 % interval when there are several seeds."""
    metrics = [metric for name in columns for metric in METRICS if metric.name == name]
    cells = [[metric.title or metric.name for metric in metrics]]
    cells += [[_cell(row, metric) for metric in metrics] for row in result.rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(metrics))]
    labels = ["  policy/sources"]
    labels += [("* " if row.label == result.verdict.best else "  ") + row.label for row in result.rows]
    wide = max(len(label) for label in labels)
    return [
        f"{label:{wide}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        for label, line in zip(labels, cells, strict=True)
    ]


def _cell(row: SummaryRow, metric: Metric) -> str:
    value, half = row.cell(metric)
    if value is None:
        return "-"
    spread = f" ±{half:,.{metric.digits}f}" if half is not None and metric.name == "speedup" else ""
    return f"{value:,.{metric.digits}f}{spread}"


def footnotes(result: Comparison) -> list[str]:
    """What a reader of the table has to know and the table cannot say."""
    notes = ["* best mover"] if result.verdict.best else []
    heard = dict.fromkeys(source for row in result.rows for source in row.sources)
    notes += [f"the source '{name}' is {SOURCES.get(name).summary}" for name in heard if clairvoyant([name])]
    starved = [row.policy for row in result.rows if _is_starved(row, result.setup.footprint_pages)]
    if starved:
        notes.append(
            f"{', '.join(dict.fromkeys(starved))} with hint faults promote almost nothing: "
            "a page must fault twice inside the window, "
            f"and a scan pass takes longer; the published benchmarks used --set {starved[0]}.freq_threshold=1"
        )
    return [*notes, *sorted({_options(row, result.rows) for row in result.rows if row.options})]


def _is_starved(row: SummaryRow, footprint_pages: int) -> bool:
    """Whether hint faults, under the kernel's threshold, let one of pghot's stores promote hardly anything."""
    return (
        [SOURCES.get(name).mechanism for name in row.sources] == ["hint fault"]
        and "freq_threshold" in POLICIES.options(row.policy)
        and row.figures.promotions < 0.01 * footprint_pages
        and not any(option.startswith("freq_threshold=") for option in row.options)
    )


def _options(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """The options of a run, for its policy when all runs of that have the same, else for this run alone."""
    same = all(other.options == row.options for other in rows if other.policy == row.policy)
    return f"{row.policy if same else row.label}: {', '.join(row.options)}"
