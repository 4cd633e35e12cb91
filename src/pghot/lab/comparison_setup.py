"""What a comparison states beside its figures: the trace, the machine, and the real system that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pghot.lab.similarity import Similarity


@dataclass(frozen=True, slots=True)
class NodeSetup:
    """A simulated node.

    rank        of its tier, 0 is the fastest
    used_share  of its bandwidth when nothing moves
    """

    name: str
    rank: int
    capacity_pages: int
    latency_ns: float
    bandwidth_gb_s: float
    used_share: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How the time of the real system is replayed.

    passes      how often the recording is played; the last pass may be a part
    pass_s      real seconds of a pass when nothing moves
    phases      "stretch" or "hold": see `lab.setting.Setting`
    slice_ms    the longest slice, real ms
    slices      slices of a pass as they are played
    cut, joined recorded slices that were cut into several, and those that were joined with others
    """

    passes: float
    pass_s: float
    phases: str
    slice_ms: float
    slices: int
    cut: int
    joined: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The share of a recording that was replayed; each seed drew its own.

    pages        that were replayed
    whole_pages  that the recording touches
    """

    pages: int
    whole_pages: int


@dataclass(frozen=True, slots=True)
class Setup:
    """One seed of a comparison; another seed has the same, but for what a workload draws.

    verification     how far the recording can be believed (`recording.trace.Verification`); None: no recording
    similarity       what the recording stands for: footprint, touches, misses and capacities are the real system's
    timing           how its time is replayed
    llc_bytes        the recorded cache
    touches, misses  over all passes
    slices, slice_ns of the recording
    epochs           over all passes; `warmup_epochs` of them are left out of steady figures
    fast_share       None: capacities as in the tiers file
    costs            constants of the cost model, by name
    curve            the name of each node's latency curve
    compressibility  samples of page contents summed up, see `recording.ratios.describe`; None: not sampled
    contents         where the page sizes on a compressed node come from; None: no node compresses
    access           the access rules that were compared; empty, and not in `to_dict`: no node compresses
    sample           see `Sample`; None, and not in `to_dict`: all pages were replayed
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
    seeds: int
    first_seed: int
    similarity: Similarity
    timing: Timing
    mlp: float
    fast_share: float | None
    placement: str
    tiers: str
    nodes: tuple[NodeSetup, ...]
    costs: Mapping[str, float]
    curve: Mapping[str, str]
    compressibility: Mapping[str, Any] | None
    contents: str | None
    warnings: tuple[str, ...]
    access: tuple[str, ...] = ()
    sample: Sample | None = None

    def to_dict(self) -> dict[str, Any]:
        said = {"access": self.access, "sample": self.sample}
        return {name: value for name, value in asdict(self).items() if said.get(name, True)}
