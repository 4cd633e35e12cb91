"""Intel processor event-based sampling of last-level-cache misses, simulated.

Constants: FACTS sections 4 and 8.
"""

from __future__ import annotations

from pghot.parameters import check_number
from pghot.sim.sources.hwsample import MissSampler
from pghot.sim.sources.sampling import Sampler
from pghot.sim.sources.simulated_source import SourceSettings


class Pebs(MissSampler):
    """The PEBS source of the lab.

    period_misses  misses between two samples (10007, a prime)
    sample_ns      application time of one sample (FACTS 8: 200..300 ns, est.)
    """

    name = "pebs"
    live = "pebs"
    period_option = "period_misses"
    summary = "Intel event sampling: page and node of 1 in 10007 misses"

    def __init__(
        self,
        settings: SourceSettings,
        *,
        period_misses: int = 10007,
        sample_ns: float = 250.0,
        ring_entries: int = 150,
        drain_ms: float = 10.0,
    ) -> None:
        check_number(self.name, "period_misses", period_misses, 1)
        super().__init__(
            settings,
            Sampler(period_misses, settings.seed, settings.unit_pages),
            sample_ns,
            ring_entries,
            drain_ms,
        )
        self._period_misses = period_misses

    def sampling(self) -> str:
        return f"1 of {self._period_misses} cache misses"
