"""A comparison as plain text: what was simulated, a row for each run, the bounds, the verdict."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

import numpy as np

from pghot.errors import unknown_name
from pghot.lab.comparison_setup import Setup
from pghot.lab.metrics import METRICS, Metric
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import SAMPLE_ERROR, Comparison
from pghot.lab.stood_still import why_still
from pghot.lab.verdict import TITLES
from pghot.policies.runs_on import policy_awaits, source_awaits
from pghot.printable import printable
from pghot.sim.machine.movers import mover_named
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES
from pghot.units import counted, format_number, format_share, format_size

COLUMNS = ("speedup", "slowdown", "fast_miss_share", "promotions", "demotions", "coverage", "accuracy")
COMPRESSED_COLUMNS = (
    "slowdown", "fast_miss_share", "promotions", "demotions", "saved_share", "lost_pages", "killed_tenants",
)  # fmt: skip
COLUMNS_IN_A_LINE = 7
PHASES = {"stretch": "phases longer with more data", "hold": "phases as long as recorded"}


def chosen_columns(names: list[str]) -> list[str]:
    """The metrics that `--columns` asks for; none of them leaves the choice to `render`.

    Raises `UsageError` for unknown ones.
    """
    known = [metric.name for metric in METRICS]
    for name in names:
        if name not in [*known, "all"]:
            raise unknown_name("metric", name, [*known, "all"])
    return known if "all" in names else names


def default_columns(result: Comparison) -> list[str]:
    """The metrics that are shown when none was asked for."""
    return list(COLUMNS if result.setup.contents is None else COMPRESSED_COLUMNS)


def render(result: Comparison, columns: list[str]) -> str:
    """The text that `pghot compare` prints: setup, a table in parts that fit 100 columns, bounds, verdict."""
    lines = _wrapped([*setup_lines(result.setup), *seed_lines(result)])
    columns = columns or default_columns(result)
    for first in range(0, len(columns), COLUMNS_IN_A_LINE):
        lines += ["", *_table(result, columns[first : first + COLUMNS_IN_A_LINE])]
    if still := still_lines(result):
        lines += ["", *still]
    lines += ["", *_wrapped([*footnotes(result), *bound_lines(result)]), "", *_wrapped(verdict_lines(result))]
    return "\n".join(lines)


def verdict_lines(result: Comparison) -> list[str]:
    """The verdict: its headline, then a line for each class and each note."""
    headline, *others = result.verdict.sentences
    return [headline, *(f"- {sentence}" for sentence in others)]


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]


def setup_lines(setup: Setup) -> list[str]:
    """What was simulated, in sentences."""
    nodes = ", ".join(
        f"{node.name} {format_size(node.capacity_pages * setup.page_bytes)} at {format_number(node.latency_ns)} ns"
        for node in setup.nodes
    )
    share = (
        "capacities as in the tiers file"
        if setup.fast_share is None
        else f"fast share {format_share(setup.fast_share)}"
    )
    return [
        f"SIMULATED: {setup.trace}"
        + (f" ({shlex.join(setup.command)})" if setup.command else "")
        + (f", {setup.verification}" if setup.verification else ""),
        *similarity_lines(setup),
        f"tiers: {nodes}; {share}" + (f"; access {', '.join(setup.access)}" if setup.access else ""),
        f"{counted(setup.seeds, 'seed')}, steady after {setup.warmup_epochs} of {counted(setup.epochs, 'epoch')}",
        *(f"warning: {text}" for text in setup.warnings),
    ]


def seed_lines(result: Comparison) -> list[str]:
    """How far the seeds are apart; nothing with one seed."""
    rows = [row for row in result.rows if len(row.speedups) > 1]
    spreads = {row.label: len(row.speedups) * np.ptp(row.speedups) / sum(row.speedups) for row in rows}
    if not spreads:
        return []
    widest = max(spreads, key=lambda label: spreads[label])
    return [
        "seeds differ in what is sampled, in how slices are cut and in the order among equals: speed-ups are at most "
        f"{format_number(100 * spreads[widest], 2)} % apart ({widest})"
    ]


def similarity_lines(setup: Setup) -> list[str]:
    """What the recording stands for, and how its time is replayed."""
    similar, timing = setup.similarity, setup.timing
    kept = setup.sample.pages / setup.sample.whole_pages if setup.sample else 1.0
    recorded_pages = similar.group_pages * kept
    itself = "itself" if recorded_pages == 1 else f"a program of {format_size(similar.footprint_bytes)}"
    each = "" if recorded_pages == 1 else f", {counted(recorded_pages, 'page')} for each recorded one"
    where = "" if similar.cpu_nodes == 1 else f" on {counted(similar.cpu_nodes, 'node')}"
    cache = ""
    if similar.cache_bytes:
        cache = f"; its cache of {format_size(setup.llc_bytes)} stands for {format_size(similar.cache_bytes)}"
    changed = [f"{timing.cut:,} of the recording's cut"] if timing.cut else []
    changed += [f"{timing.joined:,} joined"] if timing.joined else []
    busy = ", ".join(f"{node.name} {format_share(node.used_share, 0)}" for node in setup.nodes)
    return [
        f"stands for {itself} with {counted(similar.threads, 'thread')}{where}{each}{cache}",
        *sample_lines(setup),
        f"{counted(timing.passes, 'pass')} of {format_number(timing.pass_s, 3)} s, {PHASES[timing.phases]}, "
        f"in slices of at most {format_number(timing.slice_ms)} ms"
        + (f" ({', '.join(changed)})" if changed else "")
        + f"; bandwidth in use without moves: {busy}",
        *(
            [
                "a pass is one epoch: what changes inside it no oracle knows; a larger --stands-for makes a pass longer"
            ]
            if 1 < setup.epochs <= timing.passes
            else []
        ),
    ]


def sample_lines(setup: Setup) -> list[str]:
    """That a sample was replayed, and how its intervals are meant; nothing where all pages were."""
    if (of := setup.sample) is None:
        return []
    share = format_number(100 * of.pages / of.whole_pages, 2)
    return [
        f"a sample of {share} % of the pages, by heat: {of.pages:,} of {of.whole_pages:,}, for each seed others; "
        f"each stands for {counted(setup.similarity.group_pages, 'page')}; "
        f"intervals are those of the seeds and {format_number(100 * SAMPLE_ERROR)} % of the figure"
    ]


def bound_lines(result: Comparison) -> list[str]:
    """What a recency policy with free moves would get."""
    return [
        f"seed {bound.seed}: a page cache of the fast tier's size with free moves would miss "
        f"{format_number(bound.lru_miss_ratio, 3)} (LRU) and {format_number(bound.clock_miss_ratio, 3)} "
        "(CLOCK) of all last-level "
        "cache misses"
        for bound in result.bounds
    ]


def by_class(rows: Sequence[SummaryRow]) -> list[tuple[str, list[SummaryRow]]]:
    """The rows that share a class, under its title; the classes in order, without those that no run is of."""
    titles = {**TITLES, "nowhere": "What no machine can do: it knows the future"}
    groups = [(title, [row for row in rows if row.runs_on == runs_on]) for runs_on, title in titles.items()]
    return [(title, members) for title, members in groups if members]


def table_rows(result: Comparison, columns: list[str]) -> list[tuple[str, list[str]]]:
    """A head, and a row for each run below its class, which has no cells: (label, the cells of these metrics).

    The speed-up is with the half-width of its 95 % interval when there are several seeds.
    """
    metrics = [metric for name in columns for metric in METRICS if metric.name == name]
    lines = [("  policy/sources", [metric.title or metric.name for metric in metrics])]
    for title, rows in by_class(result.rows):
        lines += [(f"{title}:", []), *(_line(row, metrics, result.verdict.best_labels) for row in rows)]
    return lines


def _table(result: Comparison, columns: list[str]) -> list[str]:
    lines = table_rows(result, columns)
    widths = [max(len(cells[i]) for _, cells in lines if cells) for i in range(len(columns))]
    wide = max(len(label) for label, cells in lines if cells)
    return [
        (
            f"{label:{wide}}" + "".join(f"  {c:>{width}}" for c, width in zip(cells, widths, strict=False))
        ).rstrip()
        for label, cells in lines
    ]


def still_lines(result: Comparison) -> list[str]:
    """A line for each mover that stood still: the reason of most of its decisions, and how many had each reason."""
    still = [row for row in result.rows if why_still(row, result.setup.footprint_pages)]
    if not still:
        return []
    wide = max(len(row.label) for row in still)
    return ["Stood still, and its decisions not to move:"] + [
        part
        for row in still
        for part in textwrap.wrap(
            f"  {row.label:{wide}}  {decisions_of(row)}", 100, subsequent_indent=" " * (wide + 4)
        )
    ]


def decisions_of(row: SummaryRow) -> str:
    """The decisions of a run not to move, by reason, the most frequent first.

    >>> from types import SimpleNamespace
    >>> decisions_of(SimpleNamespace(held_back={"rate": 12345, "threshold": 7}))
    'rate 12,345, threshold 7'
    """
    return ", ".join(f"{reason} {count:,}" for reason, count in row.held_back.items()) or "not told"


def _line(row: SummaryRow, metrics: Sequence[Metric], best: set[str]) -> tuple[str, list[str]]:
    return f"{'*' if row.label in best else ' '} {row.label}", [_cell(row, metric) for metric in metrics]


def _cell(row: SummaryRow, metric: Metric) -> str:
    value, half = row.cell(metric)
    if value is None:
        return "-"
    spread = f" ±{half:,.{metric.digits}f}" if half is not None and metric.name == "speedup" else ""
    return f"{value:,.{metric.digits}f}{spread}"


def footnotes(result: Comparison) -> list[str]:
    """What a reader of the table has to know and the table cannot say."""
    notes = ["* best mover of its class"] if result.verdict.best_labels else []
    heard = dict.fromkeys(source for row in result.rows for source in row.sources)
    notes += [text for name in heard if (text := _about_source(name))]
    awaited = {
        row.policy: policy_awaits(POLICIES.get(row.policy)) for row in result.rows if row.runs_on == "to come"
    }
    notes += [f"'{policy}' awaits {what}" for policy, what in awaited.items() if what]
    named = dict.fromkeys(row.mover for row in result.rows if row.mover)
    notes += [f"[{name}]: {mover.summary}" for name in named if (mover := mover_named(name))]
    return [*notes, *sorted({_options(row, result.rows) for row in result.rows if row.options})]


def _about_source(name: str) -> str:
    source = SOURCES.get(name)
    if source.clairvoyant:
        return f"the source '{name}' is {source.summary}"
    awaits = source_awaits(source)
    return f"the source '{name}' needs {awaits}" if awaits else ""


def _options(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """The options of a run, for its policy when all runs of that have the same, else for this run alone."""
    same = all(other.options == row.options for other in rows if other.policy == row.policy)
    return f"{row.policy if same else row.label}: {', '.join(row.options)}"
