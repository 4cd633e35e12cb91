"""Rows of a comparison's summary, made up: what verdicts and reports are tested on."""

from __future__ import annotations

from typing import Any

from pghot.lab.metrics import METRICS, Figures
from pghot.lab.outcomes import SummaryRow


def summary_row(
    label: str,
    speedup: float | None,
    kind: str = "mover",
    half: float | None = None,
    options: tuple[str, ...] = (),
    **figures: Any,
) -> SummaryRow:
    """A run `POLICY/SOURCE` that took 1 s, promoted 500 pages and did well. half: of the speed-up's interval."""
    policy, _, source = label.partition("/")
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
        "speedup": speedup,
        "slowdown": 1.5 / speedup if speedup else None,
    }
    return SummaryRow(
        label,
        policy,
        kind,
        (source,) if source else (),
        options,
        seeds=1,
        figures=Figures(**{**values, **figures}),
        ci95={**dict.fromkeys(metric.name for metric in METRICS), "speedup": half},
        node_shares={"dram": 0.5, "cxl": 0.5},
        sampling=(),
    )
