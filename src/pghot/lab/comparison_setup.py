"""What a comparison states beside its figures: the trace, the machine, and how the two were scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeSetup:
    """A simulated node. rank: of its tier, 0 is the fastest."""

    name: str
    rank: int
    capacity_pages: int
    latency_ns: float
    bandwidth_gb_s: float


@dataclass(frozen=True, slots=True)
class Setup:
    """One seed of a comparison; another seed has the same, but for what a workload draws.

    verification     how far the recording can be believed (`recording.trace.Verification`); None: no recording
    touches, misses  over all repetitions of the trace
    slices, slice_ns of one repetition
    epochs           over all repetitions; `warmup_epochs` of them are left out of steady figures
    fast_share       None: capacities as in the tiers file
    costs            constants of the cost model, by name
    curve            the name of each node's latency curve
    compressibility  samples of page contents summed up, see `recording.ratios.describe`; None: not sampled
    contents         where the page sizes on a compressed node come from; None: no node compresses
    access           the access rules that were compared; empty, and not in `to_dict`: no node compresses
    """

    trace: str
    command: tuple[str, ...]
    source: str
    verification: str | None
    notes: tuple[str, ...]
    page_bytes: int
    llc_bytes: int
    llc_ways: int
    footprint_pages: int
    touches: int
    misses: int
    slices: int
    slice_ns: int
    epoch_slices: int
    warmup_epochs: int
    epochs: int
    repeat: int
    seeds: int
    first_seed: int
    threads: int
    mlp: float
    fast_share: float | None
    placement: str
    tiers: str
    nodes: tuple[NodeSetup, ...]
    costs: Mapping[str, float]
    curve: Mapping[str, str]
    scale_time: float
    scale_note: str
    compressibility: Mapping[str, Any] | None
    contents: str | None
    warnings: tuple[str, ...]
    access: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        facts = asdict(self)
        return facts if self.access else {name: value for name, value in facts.items() if name != "access"}
