"""A comparison as plain text: what was simulated, a row for each run, the bounds, the verdict."""

from __future__ import annotations

import shlex
from typing import Any

from pghot.lab.results import Comparison
from pghot.units import format_share, format_size

COLUMNS = ("speedup", "slowdown", "fast_miss_share", "promotions", "demotions", "coverage", "accuracy")


def render(result: Comparison) -> str:
    """The text that `pghot compare` prints."""
    return "\n".join(
        [*setup_lines(result.setup), "", *_table(result), "", *bound_lines(result), str(result.verdict)]
    )


def setup_lines(setup: dict[str, Any]) -> list[str]:
    """What was simulated, in sentences."""
    footprint = setup["footprint_pages"] * setup["page_bytes"]
    nodes = ", ".join(
        f"{n['name']} {format_size(n['capacity_pages'] * setup['page_bytes'])} at {n['latency_ns']:g} ns"
        for n in setup["nodes"]
    )
    cache = ""
    if setup["llc_bytes"]:
        cache = (
            f"; last-level cache {format_size(setup['llc_bytes'])}, {setup['llc_ways']} ways "
            f"(footprint is {footprint / setup['llc_bytes']:.1f} times that)"
        )
    share = (
        "capacities as in the tiers file"
        if setup["fast_share"] is None
        else (f"fast share {format_share(setup['fast_share'])}")
    )
    return [
        f"SIMULATED: {setup['trace']}" + (f" ({shlex.join(setup['command'])})" if setup["command"] else ""),
        f"footprint {format_size(footprint)}{cache}",
        f"tiers: {nodes}; {share}",
        f"{setup['scale_note']}; {setup['repeat']} pass(es), {setup['seeds']} seed(s), steady after "
        f"{setup['warmup_epochs']} of {setup['epochs']} epochs",
        *(f"warning: {text}" for text in setup["warnings"]),
    ]


def bound_lines(result: Comparison) -> list[str]:
    """What a recency policy with free moves would get."""
    return [
        f"seed {bound['seed']}: a page cache of the fast tier's size with free moves would miss "
        f"{bound['lru_miss_ratio']:.3g} (LRU) and {bound['clock_miss_ratio']:.3g} (CLOCK) of all last-level "
        "cache misses"
        for bound in result.bounds
    ]


def _table(result: Comparison) -> list[str]:
    from pghot.lab.metrics import METRICS

    metrics = [metric for name in COLUMNS for metric in METRICS if metric.name == name]
    lines = [f"  {'policy/sources':26}" + "".join(f"{metric.title:>12}" for metric in metrics)]
    for row in result.summary.to_pylist():
        mark = "*" if row["label"] == result.verdict.best else " "
        cells = "".join(
            f"{'-' if row[m.name] is None else format(row[m.name], f',.{m.digits}f'):>12}" for m in metrics
        )
        lines.append(f"{mark} {row['label'][:26]:26}{cells}")
    lines.append("* best mover")
    if any("/truth" in line for line in lines):
        lines.append("the source 'truth' sees every cache miss at no cost: no machine has it")
    return lines
