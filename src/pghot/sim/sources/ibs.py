"""AMD instruction-based sampling of ops that miss the last-level cache (drivers of pghot), simulated.

Every 10000th op is tagged. With the L3-miss filter (Zen 4 and later) a tagged op that does not miss raises no
interrupt. So each miss is reported with a probability of 1 in 10000. Constants: FACTS sections 4 and 8.
"""

from __future__ import annotations

from pghot.parameters import check_number
from pghot.sim.sources.hwsample import MissSampler
from pghot.sim.sources.sampling import Sampler
from pghot.sim.sources.simulated_source import SliceView, SourceSettings


class Ibs(MissSampler):
    """The IBS source of the lab.

    period_ops    ops (instructions of the trace) between two tags
    sample_ns     application time of one interrupt (FACTS 8: 1..4 us, est.)
    l3_miss_only  the hardware filter; without it every tagged op raises an interrupt, whether it missed or not
    """

    name = "ibs"
    live = "ibs"
    summary = "AMD instruction sampling: page and node of 1 in 10000 misses"

    def __init__(
        self,
        settings: SourceSettings,
        *,
        period_ops: int = 10000,
        sample_ns: float = 2500.0,
        ring_entries: int = 150,
        drain_ms: float = 10.0,
        l3_miss_only: bool = True,
    ) -> None:
        check_number(self.name, "period_ops", period_ops, 1)
        super().__init__(
            settings,
            Sampler(period_ops, settings.seed, settings.unit_pages),
            sample_ns,
            ring_entries,
            drain_ms,
        )
        self._period_ops, self._l3_miss_only = period_ops, l3_miss_only

    def _interrupts(self, view: SliceView, taken: float) -> float:
        return taken if self._l3_miss_only else max(taken, view.instructions / self._period_ops)

    def sampling(self) -> str:
        return f"1 of {self._period_ops} ops, kept if it missed the last-level cache"
