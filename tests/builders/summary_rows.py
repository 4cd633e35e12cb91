"""Rows of a comparison's summary and its setup, made up: what verdicts and reports are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pghot.lab.comparison_setup import NodeSetup, Setup, Timing
from pghot.lab.metrics import METRICS, Figures, mean_and_interval
from pghot.lab.outcomes import SummaryRow
from pghot.lab.similarity import Similarity
from pghot.policies.runs_on import RunsOn

SETUP = Setup(
    trace="tiny",
    command=("redis-server", "--port", "0"),
    source="qemu",
    verification="truncated",
    notes=(),
    page_bytes=4096,
    llc_bytes=1 << 20,
    llc_ways=16,
    footprint_pages=1000,
    touches=5000,
    misses=3000,
    slices=600,
    slice_ns=1_000_000,
    epoch_slices=10,
    warmup_epochs=20,
    epochs=60,
    seeds=2,
    first_seed=0,
    similarity=Similarity(32.0, 32 * 1000 * 4096, 16, 1, 32 << 20, 60 << 20, measured=False),
    timing=Timing(passes=2.5, pass_s=120.0, phases="stretch", slice_ms=50.0, slices=2400, cut=0, joined=590),
    mlp=4.0,
    fast_share=0.2,
    placement="first-touch",
    tiers="a node of DRAM, a node of CXL",
    nodes=(NodeSetup("dram", 0, 200, 100.0, 200.0, 0.1), NodeSetup("cxl", 1, 2000, 250.0, 26.0, 0.4)),
    costs={},
    curve={},
    compressibility=None,
    contents=None,
    warnings=("damaged",),
)


def summary_row(
    label: str,
    speedup: float | Sequence[float] | None,
    kind: str = "mover",
    options: tuple[str, ...] = (),
    access: str | None = None,
    runs_on: RunsOn | None = None,
    held_back: Mapping[str, int] | None = None,
    **figures: Any,
) -> SummaryRow:
    """A run `POLICY/SOURCE` that took 1 s, promoted 500 pages and did well.

    speedup  one for each seed; a number: of the only seed
    access   with a rule it is labelled as one of several: `POLICY/SOURCE [RULE]`
    runs_on  where not given: "nowhere" for an oracle, "user space" for a mover, "kernel" for what else there is
    """
    policy, _, source = label.partition("/")
    label = f"{label} [{access}]" if access else label
    speedups = tuple(speedup) if isinstance(speedup, Sequence) else () if speedup is None else (speedup,)
    mean, half = mean_and_interval(speedups)
    if runs_on is None:
        knows = kind == "oracle" or source == "truth"
        runs_on = "nowhere" if knows else "user space" if kind == "mover" else "kernel"
    values = {
        "time_s": 1.0,
        "steady_time_s": 1.0,
        "warmup_time_s": 0.0,
        "fast_miss_share": 0.5,
        "promotions": 500.0,
        "demotions": 0.0,
        "pingpong": 0.0,
        "moved_mb": 0.0,
        "tracking_app_share": 0.0,
        "moving_app_share": 0.0,
        "kernel_share": 0.0,
        "coverage": 0.9,
        "accuracy": 0.9,
        "tracker_bytes_per_page": 0.0,
        "speedup": mean,
        "slowdown": 1.5 / mean if mean else None,
    }
    return SummaryRow(
        label,
        policy,
        kind,
        runs_on,
        (source,) if source else (),
        options,
        seeds=max(1, len(speedups)),
        figures=Figures(**{**values, **figures}),
        speedups=speedups,
        ci95={**dict.fromkeys(metric.name for metric in METRICS), "speedup": half},
        node_shares={"dram": 0.5, "cxl": 0.5},
        sampling=(),
        held_back=held_back or {},
        access=access,
    )
