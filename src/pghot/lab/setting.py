"""What all runs of a comparison share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pghot.errors import UsageError, unknown_name
from pghot.lab.phases import PHASES
from pghot.parameters import checked_options

PLACEMENTS = ("first-touch", "slow", "interleave", "bind:NODE")


@dataclass(frozen=True, slots=True)
class Setting:
    """The real system that the recording stands for, and how its time is replayed.

    fast_share   share of the footprint in the top tier; None: capacities as in the tiers file
    stands_for   footprint F of the real system, bytes; None: so large that the recorded cache stands for the one in the
                 tiers file
    times        the same as a multiple K of the recorded footprint; give one of the two
    threads      threads T of the real system, each on a core; None: its CPUs
    spread       the threads run on all nodes that have CPUs, although the recording ran on one (`lab.spread`)
    duration_s   seconds D that the real system runs when nothing moves; None: the recording once
    phases       "stretch": with more data phases last longer; "hold": they last as long as they were recorded
    slice_ms     the longest slice of a replay, real ms: recorded slices are cut or joined to it
    warmup       share of the run that steady figures leave out; None: a third
    page_bytes   4096, or the size of a folio that is tracked and moved as a whole
    placement    where first-touched pages go unless a policy says otherwise: "first-touch" (the toucher's
                 node, then its zonelist), "slow" (the lowest tier), "interleave" (by bandwidth) or "bind:NODE"
                 (that node alone, by its name in the tiers file, as numactl --membind)
    mlp          cache misses a core keeps in flight; None: as the trace says, else the cost model's default
    sample       share of the pages that is replayed, a sample for each seed (`lab.page_sample`); None: all
    epoch_slices recorded slices in an epoch; None: chosen by `lab.epochs.measure_epochs`
    """

    fast_share: float | None = 0.2
    stands_for: float | None = None
    times: float | None = None
    threads: int | None = None
    spread: bool = False
    duration_s: float | None = 300.0
    phases: str = "stretch"
    slice_ms: float = 50.0
    warmup: float | None = None
    seeds: int = 3
    first_seed: int = 0
    page_bytes: int = 4096
    placement: str = "first-touch"
    mlp: float | None = None
    sample: float | None = None
    epoch_slices: int | None = None

    def __post_init__(self) -> None:
        checks = [
            (self.page_bytes >= 4096 and self.page_bytes & (self.page_bytes - 1) == 0,
             f"a folio (--folio) of {self.page_bytes} bytes does not exist", "give 4KiB or a larger power of two"),
            (self.stands_for is None or self.times is None,
             "the real system has one size (--stands-for)", "give its footprint, or a multiple such as 16x"),
            (self.duration_s is None or 0 < self.duration_s <= 1e6,
             f"a run cannot take {self.duration_s} s (--duration)", "give up to 1000000s, or one-pass"),
            (1 <= self.slice_ms <= 1e6, f"slices of {self.slice_ms} ms (--slice) cannot be played", "give 1ms or more"),
            (1 <= self.seeds <= 1000, f"cannot run with {self.seeds} seeds (--seeds)", "give 1 to 1000"),
            (self.warmup is None or 0 <= self.warmup < 1,
             f"a warm-up (--warmup) of {self.warmup} of the run cannot be left out", "give 0 or more, and less than 1"),
            (self.threads is None or 1 <= self.threads <= 65536,
             f"the program cannot have {self.threads} threads (--threads)", "give 1 to 65536"),
            (self.mlp is None or 1 <= self.mlp <= 1000,
             f"a core cannot keep {self.mlp} cache misses in flight (--mlp)", "give 1 to 1000"),
            (self.sample is None or 0 < self.sample < 1,
             f"a sample cannot be {self.sample} of the pages (--sample)", "give a share such as 1%, or leave it out"),
            (self.sample is None or self.seeds > 1,
             "one sample does not tell how far off it is (--sample)", "give --seeds 2 or more"),
        ]  # fmt: skip
        for ok, message, hint in checks:
            if not ok:
                raise UsageError(message, hint)
        if self.phases not in PHASES:
            raise unknown_name("treatment of phases", self.phases, list(PHASES))
        if self.placement not in PLACEMENTS and not self.placement.startswith("bind:"):
            raise unknown_name("placement", self.placement, list(PLACEMENTS))

    def warmup_share(self) -> float:
        """Share of the run that steady figures leave out."""
        return 1 / 3 if self.warmup is None else self.warmup


def checked_setting(owner: str, given: Mapping[str, Any]) -> Setting:
    """The setting with these fields. Raises `UsageError` for an unknown field or a value of the wrong kind."""
    kinds = {each.name: 0.0 if each.default is None else each.default for each in fields(Setting)}
    checked_options(owner, {name: value for name, value in given.items() if value is not None}, kinds)
    return Setting(**given)
