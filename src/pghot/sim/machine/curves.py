"""Curve files: how the latency of a kind of memory grows with its load, as measured, by the share of reads.

A curve file holds points (bandwidth, latency) for several shares of reads in the traffic, from idle to saturation and
beyond, in the order of rising load. Each file names its source. A node of a tiers file names a curve, and scales it
to its own idle latency and peak bandwidth.

Throughput cannot be the variable: a device that serves less past saturation has two latencies for one throughput. Lines
in flight can. They grow all along a curve, and are the product of throughput and latency (Little's law).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from pghot.arrays import F64
from pghot.documents import Shipped, Strict
from pghot.quantities import LatencyNs


class ReadShare(Strict):
    """The points for one share of reads. The first one is idle, at 0 GB/s.

    percent  of the traffic that is reads; the rest is writes
    gb_s     bandwidth of reads and writes together, 10**9 bytes/s
    ns       load-to-use latency of a read
    """

    percent: float = Field(ge=0, le=100)
    gb_s: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = Field(min_length=2)
    ns: tuple[LatencyNs, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rising(self) -> ReadShare:
        if len(self.gb_s) != len(self.ns):
            raise ValueError(f"{len(self.gb_s)} bandwidths, but {len(self.ns)} latencies")
        if self.gb_s[0] != 0:
            raise ValueError("the first point must be idle, at 0 GB/s")
        if min(self.gb_s[1:]) < 1e-3:
            raise ValueError("only the first point is idle: the others have 0.001 GB/s or more")
        lines = [width * latency for width, latency in zip(self.gb_s, self.ns, strict=True)]
        if any(after <= before for before, after in pairwise(lines)):
            raise ValueError("bandwidth times latency, the lines in flight, must rise from point to point")
        if any(after < before for before, after in pairwise(self.ns)):
            raise ValueError("latency must not fall as the load rises")
        return self


class CurveFile(Strict):
    """A kind of memory. source: who measured it, and where it was published."""

    description: str
    source: str = Field(min_length=1)
    reads: tuple[ReadShare, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> CurveFile:
        percents = [each.percent for each in self.reads]
        if percents != sorted(set(percents)):
            raise ValueError("the shares of reads must ascend, each once")
        return self


CURVES = Shipped(CurveFile, "curve", "curves")


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve without units, so that it can be scaled.

    share   float64[S]     shares of reads, ascending
    load    float64[K]     lines in flight over those of an idle latency at peak bandwidth, ascending from 0
    growth  float64[S, K]  latency over idle latency at that load

    Between loads and between shares growth is linear; past the last load throughput stays as it is there. The peak is
    that of the largest share of reads.
    """

    share: F64
    load: F64
    growth: F64


@lru_cache(maxsize=64)
def load_curve(name: str) -> Curve:
    """The curve of a shipped name or a file. Raises `UsageError`."""
    given = CURVES.load(name)
    peak = max(given.reads[-1].gb_s)
    lines = [np.array(each.gb_s) * np.array(each.ns) / (peak * each.ns[0]) for each in given.reads]
    load = np.unique(np.concatenate(lines))
    growth = [
        np.where(load <= at[-1], np.interp(load, at, grown), load * (grown[-1] / at[-1]))
        for at, grown in zip(lines, (np.array(each.ns) / each.ns[0] for each in given.reads), strict=True)
    ]
    return Curve(np.array([each.percent / 100 for each in given.reads]), load, np.array(growth))


def stack_curves(curves: list[Curve]) -> tuple[F64, F64, F64]:
    """The curves of all nodes as the solver takes them.

    Returns share float64[nodes, S], load float64[nodes, K] and growth float64[nodes, S, K]. Shorter curves repeat
    their largest share, and go on at their last throughput.
    """
    shares = max(len(curve.share) for curve in curves)
    loads = max(len(curve.load) for curve in curves)
    share = np.empty((len(curves), shares))
    load = np.empty((len(curves), loads))
    growth = np.empty((len(curves), shares, loads))
    for node, curve in enumerate(curves):
        missing = loads - len(curve.load)
        further = 1 + np.arange(1, missing + 1) / 8
        share[node] = np.pad(curve.share, (0, shares - len(curve.share)), mode="edge")
        load[node] = np.concatenate([curve.load, curve.load[-1] * further])
        wide = np.hstack([curve.growth, curve.growth[:, -1:] * further])
        growth[node] = np.pad(wide, ((0, shares - len(curve.share)), (0, 0)), mode="edge")
    return share, load, growth
