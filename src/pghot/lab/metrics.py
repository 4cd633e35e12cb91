"""The figures of a run. `METRICS` declares each: name, unit, meaning. Tables, JSON and reports derive from it.

All are simulated. "Steady" figures leave the warm-up out; the others cover the whole run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pghot.lab.measures import EpochSample
from pghot.lab.replay import Run


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the results. `digits` is for people; JSON and Arrow carry full precision."""

    name: str
    unit: str
    help: str
    digits: int = 2
    title: str = ""


METRICS = (
    Metric("time_s", "s", "run time, warm-up included", 3, "time s"),
    Metric("steady_time_s", "s", "run time after the warm-up", 3, "steady s"),
    Metric("warmup_time_s", "s", "run time of the warm-up", 3, "warm-up s"),
    Metric("speedup", "x", "steady run time of 'none' divided by this policy's", 3, "speed-up"),
    Metric("speedup_warmup", "x", "the same for the warm-up", 3, "in warm-up"),
    Metric("slowdown", "x", "steady run time divided by that of 'all-fast'", 3, "slowdown"),
    Metric("over_demotion", "x", "steady run time of 'demotion' over this policy's: promotion's part", 3, "/demotion"),
    Metric("over_fixed", "x", "steady run time of 'oracle-static' over this policy's: moving's part", 3, "/fixed"),
    Metric("fast_miss_share", "share", "steady cache misses served by the top tier", 3, "fast misses"),
    Metric("promotions", "pages", "pages moved to a higher tier", 0, "promoted"),
    Metric("demotions", "pages", "pages moved to a lower tier", 0, "demoted"),
    Metric("pingpong", "pages", "promotions of pages that had been promoted before", 0, "ping-pong"),
    Metric("moved_mb", "MB", "bytes migrated, both ways, 10**6 bytes", 1, "moved MB"),
    Metric("tracking_app_share", "share", "thread time of the program spent on tracking", 4, "tracking"),
    Metric("moving_app_share", "share", "thread time of the program spent on moves", 4, "moving"),
    Metric("kernel_share", "share", "time of kernel threads, in cores", 4, "kernel"),
    Metric("coverage", "share", "share of the true hot set in the top tier, steady mean of the epochs", 3, "coverage"),
    Metric("accuracy", "share", "share of promotions that were of truly hot pages", 3, "accuracy"),
    Metric("response_p50_ms", "ms", "median wait of a page from turning hot to its promotion", 1, "p50 ms"),
    Metric("response_p95_ms", "ms", "95th percentile of that wait; none: more than 5 % never were", 1, "p95 ms"),
    Metric("responded_share", "share", "share of pages turning hot in a lower tier that were promoted", 3, "answered"),
    Metric("saved_share", "share", "share of the footprint that compression saves, steady mean", 3, "saved"),
    Metric("device_peak_share", "share", "most of the compressed node's medium that was ever in use", 3, "peak"),
    Metric("refused_pages", "pages", "demotions that the compressed node refused", 0, "refused"),
    Metric("write_faults", "pages", "writes to read-only pages of the compressed node", 0, "faults"),
    Metric("lost_pages", "pages", "pages whose data the compressed node could not store", 0, "LOST"),
    Metric("killed_tenants", "tenants", "tenants killed: over budget, or out of memory", 0, "killed"),
    Metric("tracker_bytes_per_page", "B", "bytes of tracking for each page of the footprint", 2, "B/page"),
)  # fmt: skip

RATIOS = ("speedup", "speedup_warmup", "slowdown", "over_demotion", "over_fixed")


@dataclass(frozen=True, slots=True)
class Figures:
    """A value for each of `METRICS`, which say what it means: of a run, or the mean of a run over its seeds.

    None where there is nothing to tell: accuracy without promotions, for example, or compression without a node that
    compresses. The ratios compare with the baselines: they are None until all runs are known, and stay None where a run
    or its baseline did not do all its work.
    """

    time_s: float
    steady_time_s: float
    warmup_time_s: float
    fast_miss_share: float | None
    promotions: float
    demotions: float
    pingpong: float
    moved_mb: float
    tracking_app_share: float
    moving_app_share: float
    kernel_share: float
    coverage: float | None
    accuracy: float | None
    tracker_bytes_per_page: float
    saved_share: float | None = None
    device_peak_share: float | None = None
    refused_pages: float | None = None
    write_faults: float | None = None
    lost_pages: float | None = None
    killed_tenants: float | None = None
    response_p50_ms: float | None = None
    response_p95_ms: float | None = None
    responded_share: float | None = None
    speedup: float | None = None
    speedup_warmup: float | None = None
    slowdown: float | None = None
    over_demotion: float | None = None
    over_fixed: float | None = None


def run_figures(run: Run, warmup_epochs: int, footprint_pages: int) -> Figures:
    """The figures of one finished run, without the ratios."""
    samples, machine, responses = run.measures.samples, run.world.machine, run.measures.responses
    last, warm = samples[-1], EpochSample.at_the_start(len(samples[-1].served))
    if warmup_epochs:
        warm = samples[warmup_epochs - 1]
    thread_ns = max(last.elapsed_ns * machine.threads, 1e-9)
    tracker = run.policy.tracker_bytes() + sum(source.tracker_bytes() for source in run.sources)
    figures = Figures(
        time_s=last.elapsed_ns / 1e9,
        steady_time_s=(last.elapsed_ns - warm.elapsed_ns) / 1e9,
        warmup_time_s=warm.elapsed_ns / 1e9,
        fast_miss_share=_top_share(warm, last, machine.lower.tolist()),
        promotions=last.promoted,
        demotions=last.demoted,
        pingpong=last.pingpong,
        moved_mb=last.moved_bytes / 1e6,
        tracking_app_share=last.tracking_app_ns / thread_ns,
        moving_app_share=last.moving_app_ns / thread_ns,
        kernel_share=last.kernel_ns / max(last.elapsed_ns, 1e-9),
        coverage=_mean([sample.coverage for sample in samples[warmup_epochs:]]),
        accuracy=last.promoted_hot / last.promoted if last.promoted else None,
        tracker_bytes_per_page=tracker / max(1, footprint_pages),
        response_p50_ms=_ms(responses.percentile_ns(0.5), machine.group_pages),
        response_p95_ms=_ms(responses.percentile_ns(0.95), machine.group_pages),
        responded_share=responses.promoted_share(),
    )
    if (node := machine.compressed) is None:
        return figures
    saved = _mean([sample.saved_bytes for sample in samples[warmup_epochs:]]) or 0.0
    footprint_bytes = footprint_pages * machine.page_bytes * machine.group_pages
    return replace(
        figures,
        saved_share=saved / footprint_bytes if footprint_bytes else None,
        device_peak_share=node.counts.peak_bytes / node.real_bytes,
        refused_pages=node.counts.refused * machine.group_pages,
        write_faults=node.counts.write_faults * machine.group_pages,
        lost_pages=node.counts.lost * machine.group_pages,
        killed_tenants=node.counts.killed,
    )


def _top_share(warm: EpochSample, last: EpochSample, lower: Sequence[bool]) -> float | None:
    served = np.array(last.served) - np.array(warm.served)
    total = served.sum()
    return float(served[~np.array(lower)].sum() / total) if total else None


def node_shares(samples: Sequence[EpochSample], names: Sequence[str]) -> dict[str, float]:
    """Share of all misses that each node served, over the whole run."""
    served = np.array(samples[-1].served)
    total = max(1.0, float(served.sum()))
    return {name: float(value / total) for name, value in zip(names, served, strict=True)}


def _ms(wait_ns: float | None, group_pages: float) -> float | None:
    """Real ms for ns of the machine's clock, which real time runs K times as long as."""
    return None if wait_ns is None else wait_ns * group_pages / 1e6


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else None


# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond 30 the normal 1.96 is near enough.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def mean_and_interval(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean over seeds and half-width of its 95 % confidence interval (None with fewer than two seeds).

    A figure that some seed does not have (a page that was never promoted) has no mean.

    >>> mean_and_interval([1.0, 3.0])
    (2.0, 12.706)
    """
    if any(value is None for value in values) or not values:
        return None, None
    data = np.array(values, float)
    if len(data) < 2:
        return float(data[0]), None
    degrees = len(data) - 1
    t = _T95[degrees - 1] if degrees <= len(_T95) else 1.96
    return float(data.mean()), float(t * data.std(ddof=1) / np.sqrt(len(data)))
